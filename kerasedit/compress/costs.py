"""What a model costs, and what it would cost without some channels: nothing is cut to know it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import EditError
from ..graph.flops import Shapes, Unknown, operations
from ..graph.model_graph import LayerId, Ref
from ..views import bytes_of, count_bytes, count_params
from .channels import Labels
from .groups import Channels

NOUNS = {"params": "parameters", "flops": "operations", "size": "bytes"}
"""What there is to be less of, by the argument that says which share of it stays."""


@dataclass(frozen=True)
class Cost:
    """What there is of something that gets less with the channels, and how much of it would be left.

    Attributes:
        noun: what it is, in the plural.
        total: how much there is.
        left: what is left, by whether each channel goes.
    """

    noun: str
    total: int
    left: Callable[[np.ndarray], int]


def _params(channels: Channels) -> Cost:
    total = count_params(channels.graph, channels.graph.root)
    return Cost(NOUNS["params"], total, _of_weights(channels, total, lambda dtype, size: size))


def _bytes(channels: Channels) -> Cost:
    total = count_bytes(channels.graph)
    return Cost(NOUNS["size"], total, _of_weights(channels, total, bytes_of))


def _flops(channels: Channels) -> Cost:
    after = _Remaining(channels)

    def left(gone: np.ndarray) -> int:
        after.without(gone)
        return operations(after)

    try:
        total = operations(after)
    except Unknown as problem:
        raise EditError(
            f"flops= needs the operations of the whole model, and some are not known: {problem}. Take "
            "params= or size=, or where a size is open, ed.set_input."
        ) from problem
    return Cost(NOUNS["flops"], total, left)


COSTS: dict[str, Callable[[Channels], Cost]] = {
    "params": _params,
    "flops": _flops,
    "size": _bytes,
}
"""The costs by the same arguments."""


def _of_weights(
    channels: Channels, total: int, each: Callable[[str, int], int]
) -> Callable[[np.ndarray], int]:
    """What is left of a cost that each weight has by its dtype and its number of values."""
    graph, after = channels.graph, _Remaining(channels)
    weights = [
        (layer, index, partial(each, variable.dtype), math.prod(variable.shape))
        for layer, index in channels.tracker.axes
        if (variable := (graph.layers[layer].variables or ())[index]).weight
    ]

    def left(gone: np.ndarray) -> int:
        after.without(gone)
        return total - sum(
            cost(before) - cost(math.prod(after.weight(layer, index)))
            for layer, index, cost, before in weights
        )

    return left


class _Remaining(Shapes):
    """The shapes of a graph without some channels."""

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels.graph)
        tracker = channels.tracker
        self._tensors = tracker.tensors
        self._weights: dict[tuple[LayerId, int], Labels] = {
            key: tuple(axis.label for axis in axes) for key, axes in tracker.axes.items()
        }
        # Many axes are of one label: each is counted once.
        every = [label for labels in self._weights.values() for label in labels]
        every += [label for labels in self._tensors.values() for label in labels]
        self._numbers = {
            id(label): channels.number[label] for label in every if not isinstance(label, str)
        }
        self._sizes: dict[int, int] = {}

    def without(self, gone: np.ndarray) -> None:
        """Lets channels go, those that went before being there again."""
        stays = ~gone
        self._sizes = {
            key: int(np.count_nonzero(stays[numbers])) for key, numbers in self._numbers.items()
        }

    def tensor(self, ref: Ref) -> tuple[int | None, ...]:
        return self._left(super().tensor(ref), self._tensors.get(ref, ()))

    def weight(self, layer: LayerId, index: int) -> tuple[int, ...]:
        return self._left(super().weight(layer, index), self._weights.get((layer, index), ()))

    def _left(self, shape: tuple, labels: Labels) -> tuple:
        sizes = [self._sizes.get(id(label)) for label in labels] or [None] * len(shape)
        return tuple(
            before if after is None else after for before, after in zip(shape, sizes, strict=True)
        )
