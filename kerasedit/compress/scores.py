"""How much each channel counts, by the weights that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np

from ..errors import EditError
from ..graph.model_graph import LayerId
from .groups import Channels

Value = Callable[[LayerId, int], np.ndarray]
"""The latest value of a variable: of a layer, by its position among the layer's variables."""

CRITERIA = ("l1", "l2", "bn_scale", "geometric_median", "random")


def scores(channels: Channels, criterion: str, value: Value, seed: int | None = None) -> np.ndarray:
    """A score for each channel: the lower, the sooner it goes. NaN where it has none.

    In each weight the mean is 1, so that layers can be compared; a channel that several layers make
    has the mean of its scores.
    """
    if criterion == "random":
        return np.random.default_rng(seed).random(len(channels.number))
    rule = {"l1": _l1, "l2": _l2, "geometric_median": _from_others, "bn_scale": _l1}[criterion]
    total = np.zeros(len(channels.number))
    times = np.zeros(len(channels.number))
    for layer, index, axis, numbers in _scored(channels, criterion == "bn_scale"):
        weight = np.moveaxis(_plain(value(layer, index)), axis, 0)
        own, inverse = np.unique(numbers, return_inverse=True)
        found = rule(weight.reshape(len(numbers), -1), inverse, len(own))
        mean = found.mean()
        total[own] += found / mean if mean > 0 else 1.0
        times[own] += 1
    with np.errstate(invalid="ignore"):
        return np.where(times > 0, total / times, np.nan)


def given(channels: Channels, layer: LayerId, values: Iterable[float]) -> np.ndarray:
    """The scores of a layer's channels as somebody gave them.

    Raises:
        EditError: there is another number of them than of channels.
    """
    numbers = channels.makers[layer]
    array = np.asarray(list(values), float)
    if array.shape != numbers.shape:
        raise EditError(
            f"'{channels.graph.paths[layer]}' has {len(numbers)} channels and {array.size} scores were "
            "given. Give one for each."
        )
    if np.isnan(array).any():
        raise EditError("A score is a number: some that were given are NaN.")
    total = np.zeros(len(channels.number))
    times = np.zeros(len(channels.number))
    np.add.at(total, numbers, array)
    np.add.at(times, numbers, 1)
    with np.errstate(invalid="ignore"):
        return np.where(times > 0, total / times, np.nan)


def _scored(channels: Channels, of_scales: bool) -> Iterable[tuple[LayerId, int, int, np.ndarray]]:
    """The weights that tell how much channels count: which axis is that of the channels, and which."""
    graph = channels.graph
    for (layer, index), axes in channels.tracker.axes.items():
        spec = graph.layers[layer]
        if of_scales:
            is_scale = (spec.variables or ())[index].name == "gamma"
            if not is_scale or not issubclass(spec.cls, keras.layers.BatchNormalization):
                continue
        for number, axis in enumerate(axes):
            if not isinstance(axis.label, str) and (of_scales or axis.role == "makes"):
                yield layer, index, number, channels.number[axis.label]


def _plain(value: np.ndarray) -> np.ndarray:
    array = np.asarray(value)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _l1(rows: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """The sum of what a channel's values are without their sign."""
    return np.bincount(which, np.abs(rows).sum(axis=1), count)


def _l2(rows: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """The length of a channel's values as a vector."""
    return np.sqrt(np.bincount(which, np.einsum("ij,ij->i", rows, rows), count))


def _from_others(rows: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """How far a channel is from the others in all: one in their midst can be replaced by them."""
    square = np.einsum("ij,ij->i", rows, rows)
    apart = square[:, None] + square[None, :] - 2 * (rows @ rows.T)
    return np.bincount(which, np.sqrt(np.maximum(apart, 0)).sum(axis=1), count)
