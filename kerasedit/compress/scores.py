"""How much each channel counts, by the weights that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

from ..errors import EditError
from ..graph.model_graph import LayerId
from .channels import Role
from .groups import Channels

Value = Callable[[LayerId, int], np.ndarray]
"""The latest value of a variable: of a layer, by its position among the layer's variables."""

CRITERIA = ("l1", "l2", "bn_scale", "geometric_median", "activation", "taylor", "random")


def by_weights(channels: Channels, criterion: str, value: Value) -> np.ndarray:
    """Scores by the weights alone."""
    rule = {"l1": _l1, "l2": _l2, "geometric_median": _from_others, "bn_scale": _l1}[criterion]

    places = _scales(channels) if criterion == "bn_scale" else _along(channels, "makes")

    def parts() -> Iterator[Part]:
        for layer, index, axis, numbers in places:
            own, inverse = np.unique(numbers, return_inverse=True)
            yield own, rule(_rows(value(layer, index), axis), inverse, len(own))

    return together(channels, parts())


def by_gradients(channels: Channels, value: Value, gradients: Iterable[Value]) -> np.ndarray:
    """Scores by how much the loss would change, to the first order, if a channel were zero.

    Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019): the square of a
    channel times its gradient, summed over the batches. Where layers take it, that is the sum of
    their weights for it times the gradients of these. Not so with the weights that make it: a batch
    normalization behind them takes their scale out, and the sum is zero. Those tell only of
    channels that no layer has weights to take.

    Raises:
        EditError: there is no batch.
    """
    size = len(channels.number)
    roles: tuple[Role, ...] = ("makes", "takes")
    places = {role: list(_along(channels, role)) for role in roles}
    squares: dict[Role, np.ndarray] = {}
    for gradient in gradients:
        for role in roles:
            change = np.zeros(size)
            for layer, index, axis, numbers in places[role]:
                product = _rows(value(layer, index), axis) * _rows(gradient(layer, index), axis)
                np.add.at(change, numbers, product.sum(axis=1))
            squares[role] = squares.get(role, 0) + change**2
    if not squares:
        raise EditError("criterion='taylor' needs data= with at least one batch.")
    scores = np.full(size, np.nan)
    for role in roles:
        for *_, numbers in places[role]:
            scores[numbers] = squares[role][numbers]
    found = [np.unique(numbers) for numbers in channels.makers.values()]
    found = [own[~np.isnan(scores[own])] for own in found]
    return together(channels, ((own, scores[own]) for own in found if len(own)))


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


Place = tuple[LayerId, int, int, np.ndarray]
"""A weight by its layer and position, one of its axes, and the channels along that."""


def _along(channels: Channels, role: Role) -> Iterator[Place]:
    """The axes of weights along which layers make channels, or take them."""
    for (layer, index), axes in channels.tracker.axes.items():
        for number, axis in enumerate(axes):
            if not isinstance(axis.label, str) and axis.role == role:
                yield layer, index, number, channels.number[axis.label]


def _scales(channels: Channels) -> Iterator[Place]:
    """The factors of batch normalizations."""
    graph = channels.graph
    for (layer, index), axes in channels.tracker.axes.items():
        spec = graph.layers[layer]
        is_scale = (spec.variables or ())[index].name == "gamma"
        if is_scale and issubclass(spec.cls, keras.layers.BatchNormalization):
            for number, axis in enumerate(axes):
                if not isinstance(axis.label, str):
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
