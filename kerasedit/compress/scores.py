"""How much each channel counts, by the weights that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

from ..errors import EditError
from ..graph.model_graph import LayerId
from .groups import Channels

Value = Callable[[LayerId, int], np.ndarray]
"""The latest value of a variable: of a layer, by its position among the layer's variables."""

CRITERIA = ("l1", "l2", "bn_scale", "geometric_median", "activation", "taylor", "random")


def by_weights(channels: Channels, criterion: str, value: Value) -> np.ndarray:
    """Scores by the weights alone."""
    rule = {"l1": _l1, "l2": _l2, "geometric_median": _from_others, "bn_scale": _l1}[criterion]

    def parts() -> Iterator[Part]:
        for layer, index, axis, numbers in _scored(channels, criterion == "bn_scale"):
            own, inverse = np.unique(numbers, return_inverse=True)
            yield own, rule(_rows(value(layer, index), axis), inverse, len(own))

    return together(channels, parts())


def by_gradients(channels: Channels, value: Value, gradients: Iterable[Value]) -> np.ndarray:
    """Scores by how much the loss would change, to the first order, without what makes a channel.

    Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019): the square of the
    sum of weights times their gradients, in the mean of the batches.

    Raises:
        EditError: there is no batch.
    """
    places = list(_scored(channels, False))
    found: list[Part] = []
    for gradient in gradients:
        first = not found
        for number, (layer, index, axis, numbers) in enumerate(places):
            own, inverse = np.unique(numbers, return_inverse=True)
            change = _rows(value(layer, index), axis) * _rows(gradient(layer, index), axis)
            square = np.bincount(inverse, change.sum(axis=1), len(own)) ** 2
            if first:
                found.append((own, square))
            else:
                found[number][1][:] += square
    if not found:
        raise EditError("criterion='taylor' needs data= with at least one batch.")
    return together(channels, found)


def at_random(channels: Channels, seed: int | None) -> np.ndarray:
    return np.random.default_rng(seed).random(len(channels.number))


Part = tuple[np.ndarray, np.ndarray]
"""The channels of a weight, and the score of each."""


def together(channels: Channels, parts: Iterable[Part]) -> np.ndarray:
    """A score for each channel: the lower, the sooner it goes. NaN where it has none.

    In each part the mean is 1, so that layers can be compared; a channel of several parts has the
    mean of its scores.
    """
    total = np.zeros(len(channels.number))
    times = np.zeros(len(channels.number))
    for own, found in parts:
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


def _rows(value: np.ndarray, axis: int) -> np.ndarray:
    """The values of a weight, with a row for each position of an axis."""
    array = np.asarray(value)
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


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
