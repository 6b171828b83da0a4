"""The widget on EfficientNetB7, in a real JupyterLab and a real Chromium."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import Result
from tests.browser.lab import Lab, chromium, jupyter_server, open_lab
from tests.browser.widget import fling, python, region

REPEAT = 5
BUILD = """
import os
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import json, keras, kerasedit
b7 = keras.applications.EfficientNetB7(weights=None)
"""
SHOW = "kerasedit.Editor(b7)"
SENT = """
from kerasedit.widgets.editor_widget import EditorWidget
shown = EditorWidget(b7)
print(len(json.dumps(shown.rows)))
"""

# Seconds from the start of the active cell to the frames that have the row and its histogram.
_SHOW = """async index => {
    const start = performance.now();
    const cell = `.jp-Cell[data-windowed-list-index="${index}"]`;
    const seen = name => new Promise(done => {
        const look = () => {
            if (document.querySelector(`${cell} ${name}`)) done((performance.now() - start) / 1000);
            else requestAnimationFrame(look);
        };
        look();
    });
    void window.jupyterapp.commands.execute("notebook:run-cell");
    return [
        await seen("[role=row][aria-label=stem_conv]"),
        await seen("[role=img][aria-label^='Weights of stem_conv']"),
    ];
}"""


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    yield from bundle()
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as root,
        jupyter_server(Path(home), Path(root)) as jupyter,
        chromium() as browser,
        open_lab(browser, jupyter) as lab,
    ):
        lab.new_notebook()
        lab.run_cell(BUILD, timeout=300_000)
        yield from opening(lab)
        yield from scrolling(lab)
        sent = int(python(lab, SENT))
        yield Result("B7: rows sent when the widget opens, as JSON", f"{sent / 1024:.0f} KiB")


def bundle() -> Iterator[Result]:
    static = Path(__file__).parents[1] / "kerasedit" / "widgets" / "static"
    for name, limit in (("widget.js", 60), ("widget.css", None)):
        size = len(gzip.compress((static / name).read_bytes())) / 1000
        target, met = (f"≤ {limit} kB", size <= limit) if limit else ("", None)
        yield Result(f"{name}, gzipped", f"{size:.1f} kB", target, met)


def opening(lab: Lab) -> Iterator[Result]:
    """The very first one also loads the widget's code."""
    lists, histograms = [], []
    for _ in range(REPEAT):
        index = lab.add_cell(SHOW)
        listed, drawn = lab.page.evaluate(_SHOW, index)
        lab.kernel_idle()
        lists.append(listed)
        histograms.append(drawn)
    best, worst = min(lists), max(lists)
    yield Result("B7: from the cell's start to the list", f"{best:.2f} s", "≤ 1.5 s", best <= 1.5)
    yield Result("B7: the same, the worst", f"{worst:.2f} s", "≤ 1.5 s", worst <= 1.5)
    yield Result(
        "B7: from the cell's start to the first histogram",
        f"{min(histograms):.2f} s, the worst {max(histograms):.2f} s",
    )


def scrolling(lab: Lab) -> Iterator[Result]:
    for step in (120, 450):
        seen = fling(region(lab.output()), step)
        name = f"B7: scrolling {step} px a frame"
        value = f"{seen.blank} of {seen.frames} frames"
        yield Result(f"{name}, frames with a gap", value, "0", seen.blank == 0)
        yield Result(f"{name}, frames a second", f"{seen.frames / seen.seconds:.0f}")


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
