"""Toggles while `fit` runs, in each front end, with and without subshells, on several kernels.

marimo, and a notebook with the old widgets of Colab, have tests of their own.

`make test` takes the installed kernel; the slow tier all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.kernels.kernel import INSTALLED, install

from .lab import Jupyter, Lab, NotebookPage, install_jupyterlab, jupyter_server, open_lab
from .test_editor_story import TRAIN
from .widget import python, region, row, toggle

# The last of 6, and 7 before and after messages of comms went where the comm was used last.
OTHERS = [pytest.param(v, marks=pytest.mark.slow) for v in ("6.31.0", "7.3.0", "7.4.0")]

FIT = """
noted = {}
class Note(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        for name in ("conv1", "hidden"):
            layer = ed.model.get_layer(name)
            if not layer.trainable:
                noted.setdefault(name, layer.get_weights())
ed.model.fit(images, labels, batch_size=64, epochs=100_000, verbose=0, callbacks=[ed.live(), Note()])
"""


FRONT_ENDS = [
    "JupyterLab",
    "without subshells",
    "Notebook 7",
    pytest.param("JupyterLab 4.4", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def old_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """The oldest JupyterLab that is promised."""
    home, root = tmp_path_factory.mktemp("old-jupyter-home"), tmp_path_factory.mktemp("notebooks")
    with jupyter_server(home, root, install_jupyterlab("4.4")) as server:
        yield server


@pytest.fixture(params=FRONT_ENDS)
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(request: pytest.FixtureRequest, front_end: str) -> Jupyter:
    return request.getfixturevalue("old_jupyter" if "4.4" in front_end else "jupyter")


@pytest.fixture(params=[INSTALLED, *OTHERS])
def kernel(request: pytest.FixtureRequest, server: Jupyter) -> str:
    """The name of a kernel with a version of ipykernel, which the server knows now."""
    folders = install(request.param)
    if not folders:
        return "python3"
    name = f"ipykernel-{request.param}"
    server.add_kernel(name, {"PYTHONPATH": ":".join(map(str, folders))})
    return name


@pytest.fixture
def page(front_end: str, server: Jupyter, browser: Browser, kernel: str) -> Iterator[Lab]:
    kind = NotebookPage if front_end == "Notebook 7" else Lab
    with open_lab(browser, server, kind) as opened:
        opened.kernel = kernel
        opened.new_notebook()
        if front_end == "without subshells":
            opened.use_subshells(False)
        yield opened


def shown(page: Lab) -> Locator:
    page.run_cell(TRAIN, timeout=180_000)
    widget = region(page.run_cell("ed = kerasedit.Editor(model)\ned"))
    expect(row(widget, "conv1")).to_be_visible()
    return widget


def advances(widget: Locator) -> None:
    bar = widget.get_by_role("progressbar", name="Training progress")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"Epoch \d+"), timeout=60_000)
    expect(bar).not_to_have_attribute("aria-valuetext", bar.get_attribute("aria-valuetext") or "")


def test_a_click_holds_while_the_cell_runs(page: Lab, front_end: str, kernel: str) -> None:
    if "4.4" in front_end:
        version = page.page.evaluate("() => window.jupyterapp.version")
        assert version.startswith("4.4.")
    widget = shown(page)
    page.run_cell(FIT, wait=False)
    advances(widget)
    for name in ("conv1", "hidden"):
        switch = toggle(widget, name)
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "false")
        expect(switch).to_have_attribute("aria-busy", "false")
    advances(widget)
    page.interrupt()
    page.cells_done()
    expect(widget.get_by_role("region", name="Training")).to_contain_text("Stopped")
    told = python(
        page,
        "import ipykernel\n"
        "same = [all(map(np.array_equal, noted[n], ed.model.get_layer(n).get_weights()))"
        " for n in noted]\n"
        "print(ipykernel.__version__, sorted(noted), same, ed.training())\n",
    )
    version, _, rest = told.partition(" ")
    assert rest == "['conv1', 'hidden'] [True, True] None"
    assert kernel == "python3" or version == kernel.removeprefix("ipykernel-")
    # And training goes on.
    assert python(page, "ed.model.fit(images, labels, verbose=0, callbacks=[ed.live()])\nprint(1)")


def test_a_kernel_spec_has_what_it_was_given(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.add_kernel("other", {"A": "b"})
    specs = jupyter.request("GET", "kernelspecs")["kernelspecs"]
    assert specs["other"]["spec"]["env"] == {"A": "b"}
