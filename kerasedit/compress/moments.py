"""The mean and variance of what batch normalizations take on data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from .. import _keras
from ..errors import EditError, reason
from .gradients import batches


def moments(model: keras.Model, data: Any) -> dict[int, np.ndarray]:
    """New values for the moving means and variances of a model, by the `id` of the variable.

    As in Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3: each normalization works
    with the mean and variance of the batch, as in training, and all else as in `predict`. Those of all
    batches are then taken together.

    Args:
        model: one that nobody else uses: its normalizations are others afterwards.
        data: inputs, a tuple `(x, y)`, or batches of either form.

    Raises:
        EditError: the model does not take the data, there is none, or it is not of numbers.
    """
    sums: dict[int, np.ndarray] = {}
    layers = [x for x in _keras.all_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    for layer in layers:
        _watch(layer, sums)
    for x in _inputs(data):
        try:
            model(x, training=False)
        except Exception as problem:
            raise EditError(
                f"The model does not take the data given. Keras said: {reason(problem)}"
            ) from problem
    if layers and not sums:
        raise EditError("recalibrate_batchnorm needs data: at least one batch.")
    found: dict[int, np.ndarray] = {}
    for layer in layers:
        if id(layer) in sums:
            count, first, second = sums[id(layer)]
            mean = first / count
            variance = np.maximum(second / count - mean**2, 0)
            if not np.isfinite([mean, variance]).all():
                raise EditError(f"On this data, '{layer.name}' takes values that are no numbers.")
            found |= {id(layer.moving_mean): mean, id(layer.moving_variance): variance}
    return found


def _watch(layer: Any, sums: dict[int, np.ndarray]) -> None:
    """Lets a normalization work as in training, and sums up what it takes.

    Of each channel `sums` has the number of values, their sum and that of their squares.
    """
    layer.trainable, layer.momentum = True, 0.0  # so that what it keeps is of the last batch
    for variable in (layer.moving_mean, layer.moving_variance):
        variable.assign(keras.ops.zeros_like(variable))
    layer.call = partial(_called, layer, layer.call, sums)


def _called(layer: Any, call: Any, sums: dict[int, np.ndarray], inputs: Any, **options: Any) -> Any:
    given = call(inputs, **{**options, "training": True})
    mean, variance = (
        keras.ops.convert_to_numpy(variable).astype(np.float64)
        for variable in (layer.moving_mean, layer.moving_variance)
    )
    count = np.prod(inputs.shape) / len(mean)
    mask = options.get("mask")
    if mask is not None:
        count *= keras.ops.convert_to_numpy(mask).mean()
    own = np.stack([np.full_like(mean, count), count * mean, count * (variance + mean**2)])
    sums[id(layer)] = sums.get(id(layer), 0) + own
    return given


def _inputs(data: Any) -> Iterator[Any]:
    """What the model takes, batch by batch."""
    if hasattr(data, "shape") or isinstance(data, Mapping):
        data = (data, None)
    if isinstance(data, tuple) and len(data) == 2:
        yield from (x for x, _ in batches(data))
        return
    try:
        for batch in data:
            yield batch[0] if isinstance(batch, (tuple, list)) else batch
    except TypeError as problem:
        raise EditError(
            "data is what the model takes, a tuple (x, y), or goes through batches of either form."
        ) from problem
