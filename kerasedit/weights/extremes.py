"""The smallest and the largest values of an array, and where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Place = tuple[int, ...]

# Few enough for a chunk and its scratch arrays to stay in the cache.
_CHUNK = 1 << 18


class Found(NamedTuple):
    """A value of an array and where it is: its index."""

    value: float
    place: Place


@dataclass(frozen=True)
class Extremes:
    """The finite values at either end, the most extreme one first; of equal ones the first.

    `first_bad` is the index of the first value that is not finite.
    """

    smallest: tuple[Found, ...]
    largest: tuple[Found, ...]
    first_bad: Place | None


def extremes(array: Array, count: int = 5) -> Extremes:
    """The `count` smallest and largest finite values of an array of real numbers, in one pass."""
    work = np.float32 if np.can_cast(array.dtype, np.float32) else np.float64
    flat = array.reshape(-1)
    low, high = _Least(count, work), _Least(count, work)
    bad: int | None = None
    for start in range(0, flat.size, _CHUNK):
        values = flat[start : start + _CHUNK].astype(work, copy=False)
        places = None
        # A NaN is both the least and the most.
        if not (math.isfinite(values.min()) and math.isfinite(values.max())):
            finite = np.isfinite(values)
            bad = start + int(finite.argmin()) if bad is None else bad
            places = np.flatnonzero(finite)
            values = values[places]
        low.add(values, places, start)
        high.add(-values, places, start)

    def told(place: int) -> Place:
        return tuple(map(int, np.unravel_index(place, array.shape)))

    return Extremes(
        tuple(Found(0.0 + float(v), told(p)) for v, p in low.found()),
        tuple(Found(0.0 - float(v), told(p)) for v, p in high.found()),
        None if bad is None else told(bad),
    )


class _Least:
    """The smallest values of what was added, in order, and their places."""

    def __init__(self, count: int, dtype: Any) -> None:
        self._count = count
        self._values = np.empty(0, dtype)
        self._places = np.empty(0, np.int64)

    def add(self, values: Array, places: Array | None, start: int) -> None:
        """Adds values, which stand at `start` and after it, or at these `places` after it."""
        full = self._values.size == self._count
        if not values.size or (full and values.min() >= self._values[-1]):
            return
        at = self._choose(values)
        self._values = np.concatenate([self._values, values[at]])
        self._places = np.concatenate(
            [self._places, start + (at if places is None else places[at])]
        )
        best = self._choose(self._values)
        self._values, self._places = self._values[best], self._places[best]

    def _choose(self, values: Array) -> Array:
        """Where the smallest values are, in order; of equal ones the first."""
        if values.size > self._count:
            limit = np.partition(values, self._count - 1)[self._count - 1]
            below, equal = np.flatnonzero(values < limit), np.flatnonzero(values == limit)
            at = np.concatenate([below, equal[: self._count - below.size]])
        else:
            at = np.arange(values.size)
        return at[np.argsort(values[at], kind="stable")]

    def found(self) -> zip[tuple[Any, Any]]:
        return zip(self._values, self._places, strict=True)
