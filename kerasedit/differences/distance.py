"""How far two arrays are from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHUNK = 1 << 18  # values that are looked at together: nothing of an array's own size is made


@dataclass(frozen=True)
class Distance:
    """How far `b` is from `a`.

    Attributes:
        relative: `||b - a|| / ||a||` (L2); None where `a` is zero, or the values are no numbers.
        max_abs: the largest difference; None where the values are no numbers.
        changed: the share of values that differ, above 0 and up to 1.
        nonfinite: how many of those are NaN or infinite on a side. The two distances leave them out.
    """

    relative: float | None
    max_abs: float | None
    changed: float
    nonfinite: int


def distance(a: np.ndarray, b: np.ndarray) -> Distance | None:
    """The distance between two arrays of one shape; None where no value differs.

    NaN equals NaN. Any dtypes do, also two different ones: booleans count as 0 and 1, bfloat16 and
    the 8-bit floats as what they stand for; of texts only the number that differ is known.
    """
    a, b = a.reshape(-1), b.reshape(-1)
    kinds = {a.dtype.kind, b.dtype.kind}
    if kinds & set("OSU"):
        changed = int(np.count_nonzero(a != b))
        return Distance(None, None, changed / a.size, 0) if changed else None
    if a.dtype == b.dtype and all(
        x.tobytes() == y.tobytes() for x, y in zip(_chunks(a), _chunks(b), strict=True)
    ):
        return None
    wide: Any = np.complex128 if "c" in kinds else np.float64
    exact = kinds <= set("biu")  # float64 cannot tell large whole numbers apart
    changed = nonfinite = 0
    moved = length = furthest = 0.0
    with np.errstate(all="ignore"):
        for x, y in zip(_chunks(a), _chunks(b), strict=True):
            before, after = x.astype(wide), y.astype(wide)
            other = x != y if exact else before != after
            other &= ~(np.isnan(before) & np.isnan(after))
            finite = np.isfinite(before) & np.isfinite(after)
            step = np.abs(after - before)[finite]
            changed += int(np.count_nonzero(other))
            nonfinite += int(np.count_nonzero(other & ~finite))
            moved += float(step @ step)
            length += float(np.square(np.abs(before[finite])).sum())
            furthest = max(furthest, float(step.max(initial=0.0)))
    if not changed:
        return None
    relative = math.sqrt(moved) / math.sqrt(length) if length else None
    return Distance(relative, furthest, changed / a.size, nonfinite)


def _chunks(array: np.ndarray) -> list[np.ndarray]:
    return [array[start : start + _CHUNK] for start in range(0, array.size, _CHUNK)]
