"""The versions that Colab has: ipywidgets 7.7 and anywidget 0.9, real ones, in classic Notebook 6.

Neither Colab nor VS Code can be had in a test. What they have in common is here: an old front end,
a model of widgets of another major version, and no subshells.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_notebook
from playwright.sync_api import Browser, Locator, Page, expect

from .lab import ARTIFACTS, SCREENSHOTS, WAIT, Jupyter, free_port, own_environment, running
from .test_editor_story import TRAIN
from .test_front_ends import FIT, advances
from .widget import apply, button, messages, palette, region, row, toggle

pytestmark = pytest.mark.slow

WIDGETS = ["ipywidgets==7.7.*", "anywidget==0.9.18"]
FRONT_END = ["notebook==6.5.*", "setuptools<81", *WIDGETS]
KERNEL = [*WIDGETS, "ipython_genutils"]


def _install() -> tuple[Path, Path]:
    """The Python of the front end, and the folder of what the kernel has in other versions."""
    pip = ["-m", "pip", "install", "--quiet"]
    front_end, kernel = Path(sys.prefix) / "classic", Path(sys.prefix) / "labs" / "old-widgets"
    python = front_end / "bin" / "python"
    if not (front_end / "bin" / "jupyter-notebook").exists():
        subprocess.run([sys.executable, "-m", "venv", str(front_end)], check=True)
        subprocess.run([str(python), *pip, *FRONT_END], check=True)
    if not (kernel / "anywidget").is_dir():
        command = [sys.executable, *pip, "--no-deps", "--target", str(kernel), *KERNEL]
        subprocess.run(command, check=True)
    return python, kernel


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    python, kernel = _install()
    home, root = tmp_path_factory.mktemp("classic-home"), tmp_path_factory.mktemp("notebooks")
    port = free_port()
    server = Jupyter(f"http://127.0.0.1:{port}", "token", root, home)
    command = [
        *(str(python), "-m", "notebook", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", f"--NotebookApp.token={server.token}", f"--notebook-dir={root}"),
    ]
    environment = own_environment(home)
    server.add_kernel("old-widgets", {"PYTHONPATH": str(kernel)})
    with running(command, environment, root, ARTIFACTS / "classic.log", server.status):
        yield server


class Classic:
    """A page on a notebook of classic Notebook."""

    def __init__(self, page: Page, jupyter: Jupyter) -> None:
        self.page = page
        notebook = new_notebook()
        notebook.metadata["kernelspec"] = {"name": "old-widgets", "display_name": "old-widgets"}
        nbformat.write(notebook, jupyter.root / "test.ipynb")
        page.goto(f"{jupyter.url}/notebooks/test.ipynb?token={jupyter.token}")
        page.wait_for_function(
            "() => window.IPython?.notebook?.kernel?.info_reply?.status === 'ok'", timeout=WAIT
        )

    def run_cell(self, source: str, *, wait: bool = True) -> Locator:
        """Adds a cell at the end and runs it; its output."""
        index = self.page.evaluate(
            """source => {
                const cell = IPython.notebook.insert_cell_at_bottom("code");
                cell.set_text(source);
                cell.execute();
                cell.element[0].scrollIntoView();
                return IPython.notebook.ncells() - 1;
            }""",
            source,
        )
        if wait:
            self.page.wait_for_function(
                "() => IPython.notebook.get_cells().at(-1).element.is(':not(.running)')"
                " && IPython.notebook.get_cells().at(-1).input_prompt_number !== '*'",
                timeout=180_000,
            )
        return self.page.locator("#notebook .code_cell").nth(index).locator(".output_wrapper")

    def python(self, source: str) -> str:
        return self.run_cell(source).locator(".output_stdout").inner_text().strip()


@pytest.fixture
def page(classic: Jupyter, browser: Browser) -> Iterator[Classic]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(15_000)
    try:
        yield Classic(context.new_page(), classic)
    finally:
        context.close()
        classic.shut_down_kernels()


def test_old_widgets(page: Classic) -> None:
    page.run_cell(TRAIN)
    widget = region(page.run_cell("ed = kerasedit.Editor(model)\ned"))
    versions = "import ipywidgets, anywidget; print(ipywidgets.__version__, anywidget.__version__)"
    assert page.python(versions).startswith("7.7.") and page.python(versions).endswith(" 0.9.18")
    expect(row(widget, "conv1")).to_be_visible()
    expect(widget.get_by_role("img", name="Weights of conv1: mean")).to_be_visible()

    toggle(widget, "norm").click()
    expect(toggle(widget, "norm")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "norm")).to_have_attribute("aria-busy", "false")
    apply(palette(widget, "Insert after hidden", "Dropout", rate="0.25"))
    expect(row(widget, "dropout")).to_be_visible()
    row(widget, "dropout").focus()
    # Delete and `x` are shortcuts of the notebook, too.
    page.page.keyboard.press("Delete")
    expect(row(widget, "dropout")).to_have_count(0)
    page.page.keyboard.press("x")
    widget.get_by_role("textbox", name="Variable name").fill("tuned")
    button(widget, "Hand back").click()
    expect(messages(widget)).to_contain_text("tuned")
    assert page.python("print(tuned.get_layer('norm').trainable)") == "False"

    # Another view of the same, and the cell of the first run again.
    again = region(page.run_cell("ed"))
    toggle(again, "norm").click()
    expect(toggle(widget, "norm")).to_have_attribute("aria-checked", "true")

    # While a cell trains.
    page.run_cell("ed.model.compile('adam', 'sparse_categorical_crossentropy')")
    page.run_cell(FIT, wait=False)
    advances(widget)
    for name in ("conv1", "hidden"):
        toggle(widget, name).click()
        expect(toggle(widget, name)).to_have_attribute("aria-checked", "false")
        expect(toggle(widget, name)).to_have_attribute("aria-busy", "false")
    image = widget.get_by_role("img", name="Weights of head:")
    expect(image).to_have_attribute("aria-label", re.compile(r"update [\d.e-]+ % a step"))
    expect(image).not_to_have_attribute("aria-label", image.get_attribute("aria-label") or "")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    widget.screenshot(path=SCREENSHOTS / "old-widgets.png")
    page.page.evaluate("() => IPython.notebook.kernel.interrupt()")
    expect(widget.get_by_role("region", name="Training")).to_contain_text("Stopped")

    # The kernel goes.
    page.page.evaluate("() => IPython.notebook.kernel.restart()")
    page.page.wait_for_function("() => IPython.notebook.kernel.is_connected()", timeout=WAIT)
    row(widget, "pool").hover()
    expect(messages(widget)).to_contain_text("not live")
