"""Figures of weights as JSON, which has no NaN. Importing this module imports no Keras."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .extremes import Extremes, Found
from .histogram import Histogram


def is_numeric(values: np.ndarray) -> bool:
    """Strings of a vocabulary and the like are no values to draw."""
    return values.dtype.kind not in "OUSc"


def figures_data(h: Histogram) -> dict[str, Any]:
    """The figures of a histogram; one that there is none of is null."""
    figures = {"min": h.min, "max": h.max, "mean": h.mean, "std": h.std}
    return {
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        **{"zeros": h.zeros, "nans": h.nans, "infs": h.infs, "size": h.size},
    }


def ends_data(ends: Extremes) -> dict[str, Any]:
    """The smallest and largest values with their places, and where the first NaN or Inf is."""
    return {
        "smallest": list(map(_found, ends.smallest)),
        "largest": list(map(_found, ends.largest)),
        "first_bad": None if ends.first_bad is None else list(ends.first_bad),
    }


def _found(found: Found) -> list[Any]:
    return [found.value, list(found.place)]
