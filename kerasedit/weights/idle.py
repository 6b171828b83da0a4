"""Channels of a layer that do nothing: filters, units and rows that are zero or all the same.

Importing this module imports no Keras: its layers go by the names of their classes.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..names import listed

Array = NDArray[Any]
Classes = tuple[str, ...]

_CHUNK = 1 << 18
# A scale this small all but switches its channel off.
FAINT = 1e-3

# The axes of a weight that its channels are counted along, and what a channel is called.
_KERNELS: tuple[tuple[Classes, str, tuple[int, ...], str], ...] = (
    (
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        "kernel",
        (-2,),
        "filter",
    ),
    (("Conv1D", "Conv2D", "Conv3D"), "kernel", (-1,), "filter"),
    (("DepthwiseConv1D", "DepthwiseConv2D"), "kernel", (-2, -1), "channel"),
    (
        ("SeparableConv1D", "SeparableConv2D"),
        "depthwise_kernel",
        (-2, -1),
        "channel",
    ),
    (("SeparableConv1D", "SeparableConv2D"), "pointwise_kernel", (-1,), "filter"),
    (("Dense",), "kernel", (-1,), "unit"),
    (("Embedding",), "embeddings", (0,), "row"),
)
_NORMS: Classes = (
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
)


def idle_channels(cls: type, name: str, values: Array) -> list[str]:
    """What there is to say of a weight's channels that do nothing, in lines.

    Args:
        cls: the class of the layer. Of those whose channels are not known nothing is said.
        name: of the weight in the layer, say `"kernel"`.
        values: the weight.
    """
    ours = {base.__name__ for base in cls.__mro__ if base.__module__.startswith("keras.")}
    return idle_channels_of(ours, name, values)


def idle_channels_of(classes: Container[str], name: str, values: Array) -> list[str]:
    """The same for a layer that is not there.

    Args:
        classes: the names of Keras's classes that it is of.
        name: of the weight in the layer, say `"kernel"`.
        values: the weight.
    """
    if name == "gamma" and any(known in classes for known in _NORMS):
        faint = np.flatnonzero(np.abs(values.astype(np.float64).reshape(-1)) <= FAINT)
        return _line(faint, values.size, "channel", f"a gamma within {FAINT} of zero")
    if not values.size or values.ndim < 2:
        return []
    for kinds, weight, axes, noun in _KERNELS:
        if name == weight and any(kind in classes for kind in kinds):
            return _of_kernel(values, axes, noun)
    return []


def _of_kernel(values: Array, axes: tuple[int, ...], noun: str) -> list[str]:
    if axes == (0,):
        least, most = _ranges(values.reshape(values.shape[0], -1), of_rows=True)
    else:
        ends = tuple(range(-len(axes), 0))
        last = np.moveaxis(values, axes, ends)
        total = int(np.prod(last.shape[-len(axes) :]))
        least, most = _ranges(last.reshape(-1, total), of_rows=False)
    same = least == most  # not where one is NaN
    zero = np.flatnonzero(same & (least == 0))
    lines = _line(zero, least.size, noun, "nothing but zeros")
    if values.size > least.size:  # a single value is always the same
        flat = np.flatnonzero(same & (least != 0))
        lines += _line(flat, least.size, noun, "one and the same value throughout")
    return lines


def _ranges(table: Array, of_rows: bool) -> tuple[Array, Array]:
    """The least and the most value of each row of a table, or of each column; NaN where one is."""
    step = max(1, _CHUNK // max(1, table.shape[1]))
    work = np.float32 if np.can_cast(table.dtype, np.float32) else np.float64
    chunks = (table[i : i + step].astype(work, copy=False) for i in range(0, len(table), step))
    axis = 1 if of_rows else 0
    least, most = zip(*((chunk.min(axis), chunk.max(axis)) for chunk in chunks), strict=True)
    if of_rows:
        return np.concatenate(least), np.concatenate(most)
    return np.minimum.reduce(least), np.maximum.reduce(most)


def _line(places: Array, total: int, noun: str, what: str) -> list[str]:
    if not places.size:
        return []
    has = "has" if places.size == 1 else "have"
    return [f"{places.size:,} of {total:,} {noun}s {has} {what}: {listed(map(str, places))}."]
