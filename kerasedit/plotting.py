"""Histograms as a picture, for notebooks and files."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .names import shortened
from .weights.histogram import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_class", "plot_histograms"]

# Grey against blue keeps its contrast in print and for every kind of colour vision.
_SOURCE = "#b8bcc4"
_COPY = "#0b61a4"
_ALARM = "#b3261e"
_QUIET = "#5f6368"

_COLUMNS = 5
_TITLE = 36  # characters that fit over a panel

# Inches.
_PANEL = (2.5, 1.05)
_GAP = (0.3, 0.72)
_MARGIN = 0.25
_HEAD = 0.62  # over the top row: the legend, and the titles of the row
_FOOT = 0.36  # under the last row: the numbers of its axis


def plot_histograms(
    panels: Mapping[str, tuple[Histogram | None, Histogram | None]],
) -> Figure:
    """A grid of small panels, each with the histogram of one weight before and after.

    The source is drawn filled, the copy as a line over it, both as densities, so that they compare
    also where sizes or edges differ. The figures are the copy's, or the source's where there is no
    copy; NaN and Inf are said in red.

    Args:
        panels: by path, the histogram in the source and in the copy. None where a side has no such
            weight, or is not to be shown.

    Returns:
        A figure that belongs to no pyplot state: nothing needs closing. It shows in a notebook
        whether pyplot was imported there or not.
    """
    from matplotlib.patches import Patch

    count = len(panels)
    # Few columns for few panels, a grid about as wide as a page for many.
    columns = max(1, min(_COLUMNS, count if count <= 3 else math.ceil(math.sqrt(count))))
    rows = max(1, math.ceil(count / columns))
    width = columns * _PANEL[0] + (columns - 1) * _GAP[0] + 2 * _MARGIN
    height = _HEAD + rows * _PANEL[1] + (rows - 1) * _GAP[1] + _FOOT
    figure = figure_class()(figsize=(width, height), dpi=110)
    if not panels:
        figure.text(0.5, 0.5, "No weights to plot", ha="center", va="center", color=_QUIET)
        return figure

    for position, (path, (source, copy)) in enumerate(panels.items()):
        row, column = divmod(position, columns)
        left = _MARGIN + column * (_PANEL[0] + _GAP[0])
        bottom = height - _HEAD - row * (_PANEL[1] + _GAP[1]) - _PANEL[1]
        axes = figure.add_axes(
            (left / width, bottom / height, _PANEL[0] / width, _PANEL[1] / height)
        )
        _draw(axes, path, source, copy)

    handles = []
    if any(source is not None for source, _ in panels.values()):
        handles.append(Patch(facecolor=_SOURCE, label="source"))
    if any(copy is not None for _, copy in panels.values()):
        handles.append(Patch(facecolor="none", edgecolor=_COPY, label="copy"))
    if len(handles) == 2:
        figure.legend(
            handles=handles,
            loc="upper right",
            bbox_to_anchor=(1 - _MARGIN / width, 1 - 0.04 / height),
            borderaxespad=0,
            ncols=2,
            frameon=False,
            fontsize=7,
            handlelength=1.2,
        )
    return figure


@functools.cache
def figure_class() -> type[Figure]:
    """The class of the figures here. It needs matplotlib, which is imported when one is drawn."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that IPython can show before pyplot has told it how."""

        def _repr_png_(self) -> bytes:
            png = io.BytesIO()
            self.savefig(png, format="png")
            return png.getvalue()

    return ShownFigure


def _draw(axes: Axes, path: str, source: Histogram | None, copy: Histogram | None) -> None:
    """One panel."""
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    axes.tick_params(labelsize=6, colors=_QUIET, length=2, pad=2)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.get_offset_text().set_fontsize(6)

    unit = max((_span(side) for side in (source, copy) if side is not None), default=1.0)
    if source is not None:
        axes.stairs(_density(source, unit), source.edges, fill=True, color=_SOURCE)
    if copy is not None:
        axes.stairs(_density(copy, unit), copy.edges, color=_COPY, linewidth=0.9)
    axes.margins(x=0.02)
    axes.set_ylim(bottom=0)

    def text(x: float, y: float, words: str, **style: Any) -> None:
        # Names are not mathematics: "$" and "_" are taken as they are.
        axes.text(x, y, words, transform=axes.transAxes, parse_math=False, **style)

    text(0, 1.16, shortened(path, _TITLE), fontsize=7, fontweight="bold", va="bottom")
    shown = copy if copy is not None else source
    if shown is None:
        return
    text(0, 1.03, _figures(shown), fontsize=6, color=_QUIET, va="bottom")
    text(1, 0.97, _alarm(shown), fontsize=6, color=_ALARM, fontweight="bold", ha="right", va="top")


def _span(histogram: Histogram) -> float:
    return float(histogram.edges[-1] - histogram.edges[0])


def _density(histogram: Histogram, unit: float) -> np.ndarray:
    """The height of each bar, for an area of `unit`, or of 0 where nothing was counted.

    Measured in the panel's own `unit`, the bars of tiny weights do not become infinitely high.
    """
    total = max(int(histogram.counts.sum()), 1)
    return histogram.counts / total * (unit / np.diff(histogram.edges))


def _figures(histogram: Histogram) -> str:
    """The line under a title."""
    if math.isnan(histogram.mean):
        return "no finite values" if histogram.size else "empty"
    words = f"mean {histogram.mean:.4g}   std {histogram.std:.4g}"
    if histogram.zeros:
        words += f"   {100 * histogram.zeros / histogram.size:.3g} % zeros"
    return words


def _alarm(histogram: Histogram) -> str:
    """What is wrong with the values, one line each."""
    counts = {"NaN": histogram.nans, "Inf": histogram.infs}
    return "\n".join(f"{count} {name}" for name, count in counts.items() if count)
