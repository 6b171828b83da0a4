"""`plot_histograms` draws what it is given."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from kerasedit.plotting import plot_histograms
from kerasedit.weights.histogram import histogram

NORMAL = np.random.default_rng(0).normal(0, 0.05, 1000).astype(np.float32)
SOURCE = histogram(NORMAL, 16)
COPY = histogram(NORMAL * 2, 16)


def steps(axes: Any) -> list[StepPatch]:
    return [patch for patch in axes.patches if isinstance(patch, StepPatch)]


def texts(thing: Any) -> list[str]:
    return [text.get_text() for text in thing.texts]


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def test_source_and_copy_are_overlaid_on_one_scale() -> None:
    figure = plot_histograms({"dense/kernel": (SOURCE, COPY)})
    (axes,) = figure.axes
    source, copy = steps(axes)
    assert source.get_fill()
    assert not copy.get_fill()
    areas = []
    for patch, drawn in ((source, SOURCE), (copy, COPY)):
        heights, edges, _ = patch.get_data()
        assert np.array_equal(edges, drawn.edges)
        assert np.argmax(heights) == np.argmax(drawn.counts)
        areas.append((heights * np.diff(edges)).sum())
    assert areas[0] == pytest.approx(areas[1])
    assert axes.get_xlim()[0] < COPY.min < COPY.max < axes.get_xlim()[1]


def test_the_legend_is_drawn_once_and_only_where_there_are_two_sides() -> None:
    both = plot_histograms({"a": (SOURCE, None), "b": (None, COPY), "c": (SOURCE, COPY)})
    (legend,) = both.legends
    assert [text.get_text() for text in legend.get_texts()] == ["source", "copy"]
    assert plot_histograms({"a": (None, COPY), "b": (None, COPY)}).legends == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 26, 200])
def test_panels_keep_apart_and_on_the_figure(count: int) -> None:
    figure = plot_histograms({f"layer_{i}/kernel": (SOURCE, COPY) for i in range(count)})
    assert len(figure.axes) == count
    titles = [texts(axes)[0] for axes in figure.axes]
    assert titles == [f"layer_{i}/kernel" for i in range(count)]
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 < b.x0 < b.x1 < 1 and 0 < b.y0 < b.y1 < 1 for b in boxes)
    assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0


def test_what_is_drawn_stays_within_the_figure_and_its_panel() -> None:
    path = "backbone/stage_4/block_17_expand/depthwise_kernel"
    figure = plot_histograms({f"{path}_{i}": (SOURCE, COPY) for i in range(8)})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer: Any = canvas.get_renderer()
    boxes: list[Any] = [axes.get_tightbbox(renderer) for axes in figure.axes]
    page = figure.bbox
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 for b in boxes)
    assert all(page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)
    assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0


def test_long_paths_lose_their_middle() -> None:
    path = "backbone/a_very_long_stage_name/block_17_expand/depthwise_kernel"
    (axes,) = plot_histograms({path: (SOURCE, None)}).axes
    head, tail = texts(axes)[0].split("…")
    assert path.startswith(head)
    assert path.endswith(tail)
    assert tail.endswith("depthwise_kernel")
    assert len(head + tail) < 40


def test_names_are_no_mathematics() -> None:
    figure = plot_histograms({r"cost_$\frac$": (SOURCE, None), "$x_$": (None, COPY)})
    assert all(not text.get_parse_math() for axes in figure.axes for text in axes.texts)
    assert texts(figure.axes[0])[0] == r"cost_$\frac$"
    png(figure)  # would fail to parse


def test_figures_are_the_copys_and_alarms_are_told() -> None:
    broken = NORMAL.copy()
    broken[:3], broken[3], broken[4:504] = np.nan, np.inf, 0
    (axes,) = plot_histograms({"a": (SOURCE, histogram(broken))}).axes
    words = " ".join(texts(axes))
    assert "3 NaN\n1 Inf" in words
    assert "50 % zeros" in words
    assert f"std {histogram(broken).std:.4g}" in words
    (axes,) = plot_histograms({"a": (SOURCE, None)}).axes
    assert f"std {SOURCE.std:.4g}" in " ".join(texts(axes))
    assert "NaN" not in " ".join(texts(axes))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "empty"),
        ([np.nan], "no finite values"),
        (np.zeros(3), "100 % zeros"),
        (np.array([-3e38, 3e38], np.float32), "std 3e+38"),
        (np.array([0, 1e-45], np.float32), "mean"),
        ([1e-300, 0.0], "mean 5e-301"),
        (np.array([1e9 + 1e-3, 1e9]), "mean 1e+09"),
    ],
)
def test_odd_values(values: Any, words: str) -> None:
    odd = histogram(values)
    figure = plot_histograms({"a": (odd, odd), "b": (None, odd), "c": (SOURCE, odd)})
    assert all(words in " ".join(texts(axes)) for axes in figure.axes)
    assert png(figure).startswith(b"\x89PNG")


def test_nothing_to_plot() -> None:
    figure = plot_histograms({})
    assert texts(figure) == ["No weights to plot"]
    assert png(figure).startswith(b"\x89PNG")
    (axes,) = plot_histograms({"a": (None, None)}).axes
    assert steps(axes) == []


def test_a_figure_shows_itself_without_pyplot() -> None:
    """Nor is matplotlib imported before there is something to plot."""
    code = (
        "import sys\n"
        "from kerasedit.plotting import plot_histograms\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figure = plot_histograms({})\n"
        "assert figure._repr_png_().startswith(b'\\x89PNG')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert isinstance(plot_histograms({}), Figure)
