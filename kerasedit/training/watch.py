"""How the weights of each layer move in training, from samples taken between two batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .gather import gatherer, sizes_of

BINS = 64


@dataclass(frozen=True)
class Moment:
    """The weights of a layer at a step.

    Attributes:
        step: the number of batches trained before.
        counts: `(bins,)` float32, an estimate from samples of how many values are in each bin.
        figures: `min, max, mean, std, zeros, nans, infs, size` of the sampled values, counts scaled to
            the layer's size, as the histogram of a layer has them.
        changed: the share of sampled values that are not as they were when `fit` began.
        update: the size of the last steps' updates against that of the weights, per step:
            `norm(w - w_before) / norm(w_before) / steps`; NaN at the first look.
        gradient: the norm of the gradient's moving average, where the optimizer has one, else NaN.
    """

    step: int
    counts: np.ndarray
    figures: np.ndarray
    changed: float
    update: float
    gradient: float

    def pack(self) -> np.ndarray:
        """Little-endian float32 `(bins + 11,)`: the counts, the figures, and the three others."""
        rest = [self.changed, self.update, self.gradient]
        with np.errstate(over="ignore"):
            return np.concatenate([self.counts, self.figures, rest]).astype("<f4")


class Watch:
    """Looks at the weights of layers.

    Args:
        rows: the weights of each layer, by its path; all of a row are pooled.
        gradients: gives the moving averages of gradients that an optimizer has now, by
            `id(variable)`.
    """

    def __init__(
        self, rows: Mapping[str, Sequence[Any]], gradients: Callable[[], Mapping[int, Any]]
    ) -> None:
        variables = {id(v): v for row in rows.values() for v in row}
        place = {identity: number for number, identity in enumerate(variables)}
        self._rows = {path: [place[id(v)] for v in row] for path, row in rows.items()}
        self._ids = list(variables)
        self._whole = [math.prod(v.shape) for v in variables.values()]
        self._edges = np.cumsum([0, *sizes_of(list(variables.values()))])
        self._gather = gatherer(list(variables.values()))
        self._gradients = gradients
        self._gathers: dict[tuple[int, ...], tuple[Callable[[], np.ndarray], list[Any]]] = {}
        self._first: np.ndarray | None = None
        self._before: tuple[int, np.ndarray] | None = None

    @property
    def paths(self) -> list[str]:
        """The layers that are looked at."""
        return list(self._rows)

    def look(self, step: int, paths: Iterable[str]) -> dict[str, Moment]:
        """The weights of some layers as they are now; those that are not known are left out."""
        values = self._gather()
        if self._first is None:
            self._first = values
        norms = self._gradient_norms()
        before = self._before
        self._before = (step, values)
        return {
            path: self._moment(path, step, values, self._first, before, norms)
            for path in paths
            if path in self._rows
        }

    def broken(self, step: int) -> list[str]:
        """The layers that hold NaN or Inf, as the last look saw them."""
        if self._before is None:
            return []
        bad = ~np.isfinite(self._before[1])
        if not bad.any():
            return []
        return [
            path
            for path, places in self._rows.items()
            if any(bad[self._edges[p] : self._edges[p + 1]].any() for p in places)
        ]

    def _moment(
        self,
        path: str,
        step: int,
        values: np.ndarray,
        first: np.ndarray,
        before: tuple[int, np.ndarray] | None,
        norms: Mapping[int, float],
    ) -> Moment:
        places = self._rows[path]
        spans = [slice(self._edges[p], self._edges[p + 1]) for p in places]
        scale = [
            self._whole[p] / max(1, s.stop - s.start) for p, s in zip(places, spans, strict=True)
        ]
        weights = np.concatenate(
            [np.full(s.stop - s.start, f) for s, f in zip(spans, scale, strict=True)] or [[]]
        )

        def pick(whole: np.ndarray) -> np.ndarray:
            return np.concatenate([whole[s] for s in spans] or [np.zeros(0, "float32")])

        now = pick(values)
        counts, figures = _histogram(now, weights)
        update = math.nan
        if before is not None and step > before[0]:
            old = pick(before[1]).astype("float64")
            norm = math.sqrt(float(np.sum(weights * old**2)))
            moved = math.sqrt(float(np.sum(weights * (now - old) ** 2)))
            update = moved / norm / (step - before[0]) if norm else math.nan
        known = [norms[p] for p in places if p in norms]
        total = float(np.sum(weights))
        changed = float(np.sum(weights * (now != pick(first)))) / total if total else 0.0
        gradient = math.sqrt(sum(n**2 for n in known)) if known else math.nan
        return Moment(step, counts, figures, changed, update, gradient)

    def _gradient_norms(self) -> dict[int, float]:
        """The norms of the gradients' averages, by the variable's number."""
        averages = self._gradients()
        places = [place for place, identity in enumerate(self._ids) if identity in averages]
        slots = [averages[self._ids[place]] for place in places]
        key = tuple(map(id, slots))
        if key not in self._gathers:
            self._gathers = {key: (gatherer(slots), slots)}
        flat = self._gathers[key][0]().astype("float64")
        edges = np.cumsum([0, *sizes_of(slots)])
        found = {}
        for number, place in enumerate(places):
            part = flat[edges[number] : edges[number + 1]]
            mean = float(np.mean(part**2)) if part.size else 0.0
            found[place] = math.sqrt(mean * self._whole[place])
        return found


def _histogram(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted counts over the range of the finite values, and the figures of a packed histogram."""
    finite = np.isfinite(values)
    nans = float(weights[np.isnan(values)].sum())
    size = float(weights.sum())
    infs = float(weights[~finite].sum()) - nans
    kept, share = values[finite].astype("float64"), weights[finite]
    total = float(share.sum())
    if not total:
        nothing = [math.nan] * 4
        return np.zeros(BINS, "float32"), np.array([*nothing, 0, nans, infs, size], "float64")
    low, high = float(kept.min()), float(kept.max())
    mean = float((share * kept).sum()) / total
    std = math.sqrt(max(0.0, float((share * (kept - mean) ** 2).sum()) / total))
    zeros = float(share[kept == 0].sum())
    # As NumPy does with equal values: half a unit around them.
    start, width = (low, high - low) if high > low else (low - 0.5, 1.0)
    places = np.minimum(((kept - start) / width * BINS).astype("int64"), BINS - 1)
    counts = np.bincount(places, share, BINS).astype("float32")
    return counts, np.array([low, high, mean, std, zeros, nans, infs, size])
