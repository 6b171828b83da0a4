"""How the layers' weights went through a training: a history of bounded size, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..plotting import figure_class
from .watch import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LayerHistory:
    """Moments of layers in the order of their steps.

    When there are more than `most` of a layer, every second is dropped and from then on half as many
    are kept, so that the whole training stays in sight.
    """

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._moments: dict[str, list[Moment]] = {}
        self._gap: dict[str, int] = {}  # at least so many steps lie between two

    def add(self, moments: Mapping[str, Moment]) -> None:
        """Keeps moments, but for those too close to the ones before."""
        for path, moment in moments.items():
            kept, gap = self._moments.setdefault(path, []), self._gap.get(path, 1)
            if kept and kept[-1].step + gap > moment.step >= kept[-1].step:
                continue
            kept.append(moment)
            if len(kept) > self._most:
                self._moments[path] = kept[::2]
                span = kept[-1].step - kept[0].step
                self._gap[path] = max(1, 2 * span // self._most)

    @property
    def paths(self) -> list[str]:
        """The layers that there is something of."""
        return list(self._moments)

    def __getitem__(self, path: str) -> tuple[Moment, ...]:
        return tuple(self._moments[path])

    def at(self, path: str, step: int) -> Moment:
        """The moment of a layer that is nearest to a step."""
        return min(self._moments[path], key=lambda moment: abs(moment.step - step))

    def plot(self, *paths: str) -> Figure:
        """A matplotlib figure: for each layer its histograms over the steps, and its updates.

        Args:
            paths: the layers; all of which there is something if none is given.
        """
        shown = paths or tuple(self.paths)
        figure = figure_class()(figsize=(9, 1.8 * max(1, len(shown)) + 0.6), layout="constrained")
        if not shown:
            figure.text(0.5, 0.5, "No training was watched", ha="center", va="center")
            return figure
        grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(2, 1), sharex=True)
        for (left, right), path in zip(grid, shown, strict=True):
            moments = self[path]
            steps = np.array([m.step for m in moments])
            low = min(m.figures[0] for m in moments if m.figures[0] == m.figures[0])
            high = max(m.figures[1] for m in moments if m.figures[1] == m.figures[1])
            image = np.stack([_on_one_range(m, low, high) for m in moments], axis=1)
            edges = np.append(
                steps, steps[-1] + max(1, steps[-1] - steps[-2] if len(steps) > 1 else 1)
            )
            left.pcolormesh(edges, np.linspace(low, high, len(image) + 1), image, cmap="Blues")
            left.set_title(path, fontsize=9, loc="left")
            left.tick_params(labelsize=7)
            right.semilogy(steps, [m.update if m.update > 0 else np.nan for m in moments], lw=1)
            right.set_title("update / weight, per step", fontsize=8, loc="left")
            right.tick_params(labelsize=7)
        for axes in grid[-1]:
            axes.set_xlabel("step", fontsize=8)
        return figure


def _on_one_range(moment: Moment, low: float, high: float, bins: int = 80) -> np.ndarray:
    """A histogram on common edges, as the share of its highest bin, the root taken to show tails."""
    counts, (start, end) = moment.counts, moment.figures[:2]
    if not counts.any() or not high > low:
        return np.ones(bins) if counts.any() else np.zeros(bins)
    start, end = (start, end) if end > start else (start - 0.5, start + 0.5)
    # By the sums up to each edge: bins that are wider than the common ones leave no gaps.
    sums = np.append(0.0, np.cumsum(counts, dtype="float64"))
    own = np.linspace(start, end, len(sums))
    found = np.diff(np.interp(np.linspace(low, high, bins + 1), own, sums))
    return np.sqrt(found / max(found.max(), 1e-9))
