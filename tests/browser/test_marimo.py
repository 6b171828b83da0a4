"""The editor in marimo: a notebook that is edited, and the app that it makes.

marimo has a kernel of its own, puts what a cell shows into a shadow root, and closes the widgets of
a cell that is run again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from .lab import ARTIFACTS, SCREENSHOTS, free_port, own_environment, running
from .test_parts import drawn, part
from .widget import apply, button, messages, palette, region, row, toggle

MODEL = """
import marimo

app = marimo.App()


@app.cell
def _():
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import marimo as mo
    import keras
    import numpy as np
    import kerasedit
    from keras import layers

    return keras, kerasedit, layers, mo, np


@app.cell
def _(keras, kerasedit, layers):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(4, activation="softmax", name="head"),
        ],
        name="small",
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    ed = kerasedit.Editor(model)
    return ed, model
"""

LOOK = """

@app.cell
def _(mo):
    look = mo.ui.button(label="Look", value=0, on_click=lambda value: value + 1)
    look
    return (look,)
"""

END = """

if __name__ == "__main__":
    app.run()
"""

EDITOR = """

@app.cell
def _(ed, again):
    again.value
    ed
    return


@app.cell
def _(mo):
    again = mo.ui.run_button(label="Show again")
    rename = mo.ui.run_button(label="Rename")
    train = mo.ui.run_button(label="Train")
    thread = mo.ui.run_button(label="Train in a thread")
    mo.hstack([again, rename, train, thread])
    return again, rename, thread, train


@app.cell
def _(ed, keras, look, mo, model):
    state = {
        "layers": [view.path for view in ed.layers],
        "frozen": [view.path for view in ed.layers if view.trainable is False],
        "tuned": isinstance(globals().get("tuned"), keras.Model),
        "source": model.layers[0].trainable,
        "widgets": len(ed._subscribers),
    }
    mo.md(f"look {look.value}: {state}")
    return


@app.cell
def _(ed, rename):
    if rename.value:
        ed.rename("hidden", "features")
    return


@app.cell
def _(np):
    x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    y = np.arange(256) % 4
    return x, y


@app.cell
def _(ed, train, x, y):
    if train.value:
        ed.model.fit(x, y, epochs=40, verbose=0, callbacks=[ed.live()])
    return


@app.cell
def _(ed, mo, thread, x, y):
    def fit():
        ed.model.fit(x, y, epochs=100_000, verbose=0, callbacks=[ed.live()])

    if thread.value:
        mo.Thread(target=fit, daemon=True).start()
    return
"""

PARTS = """

@app.cell
def _(ed, kerasedit, mo):
    import traitlets

    table = kerasedit.LayerTable(ed, height=150)
    weights = kerasedit.WeightHistograms(ed, height=300)
    switches = kerasedit.TrainableToggles(ed, height=150)
    steps = kerasedit.EditHistory(ed, height=120)
    traitlets.link((table, "selected"), (weights, "paths"))
    mo.vstack([table, weights, switches, steps])
    return steps, switches, table, weights


@app.cell
def _(look, mo, steps, switches, weights):
    state = {"paths": weights.paths, "trainable": switches.trainable, "done": steps.done}
    mo.md(f"look {look.value}: {state}")
    return
"""


@dataclass
class Marimo:
    """A page on a marimo notebook."""

    page: Page
    url: str
    looks: int = 0

    def open(self) -> Locator:
        self.page.goto(self.url)
        expect(row(self.body, "first").first).to_be_visible(timeout=120_000)
        return self.body

    @property
    def body(self) -> Locator:
        return self.page.locator("body")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def state(self) -> str:
        """What Python knows; the cell that tells it runs when the button is pressed."""
        self.press("Look")
        self.looks += 1
        said = self.page.get_by_text(re.compile(f"^look {self.looks}: ")).first
        expect(said).to_be_visible()
        return said.inner_text().partition(": ")[2]

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"marimo-{name}.png")


@contextmanager
def marimo_server(mode: str, cells: str, folder: Path) -> Iterator[str]:
    """marimo on the loopback interface, with this Python; the address of the notebook."""
    notebook = folder / "notebook.py"
    notebook.write_text(MODEL + LOOK + cells + END)
    (folder / "pyproject.toml").write_text("[tool.marimo.runtime]\nauto_instantiate = true\n")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        *(sys.executable, "-m", "marimo", "--quiet", mode, "--headless", "--no-token"),
        *(f"--port={port}", "--host=127.0.0.1", str(notebook)),
    ]
    environment = own_environment(folder / "home")
    with running(command, environment, folder, ARTIFACTS / f"marimo-{mode}.log", f"{url}/health"):
        yield url


@pytest.fixture
def cells() -> str:
    """What comes after the model in the notebook."""
    return EDITOR


@pytest.fixture(params=["edit", pytest.param("run", marks=pytest.mark.slow)])
def marimo(
    request: pytest.FixtureRequest, browser: Browser, cells: str, tmp_path: Path
) -> Iterator[Marimo]:
    with marimo_server(request.param, cells, tmp_path) as url:
        context = browser.new_context(viewport={"width": 1400, "height": 1300})
        context.set_default_timeout(15_000)
        try:
            yield Marimo(context.new_page(), url)
        finally:
            context.close()


def test_the_editor_in_marimo(marimo: Marimo) -> None:
    widget, keys = region(marimo.open()), marimo.page.keyboard

    # Rows, histograms, which come as buffers, and styles, which are the shadow root's own.
    expect(widget.get_by_role("img", name=re.compile(r"^Weights of first: mean"))).to_be_visible()
    assert row(widget, "first").evaluate("it => getComputedStyle(it).height") == "30px"

    # A click, a key, and the palette, a dialog of its own.
    toggle(widget, "first").click()
    expect(toggle(widget, "first")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "first")).to_have_attribute("aria-busy", "false")
    row(widget, "hidden").focus()
    keys.press("Space")
    expect(toggle(widget, "hidden")).to_have_attribute("aria-checked", "false")
    keys.press("Control+z")
    expect(toggle(widget, "hidden")).to_have_attribute("aria-checked", "true")
    apply(palette(widget, "Insert after hidden", "Dropout", rate="0.25"))
    expect(row(widget, "dropout")).to_be_visible()
    expect(button(widget, "Insert after hidden")).to_be_focused()
    keys.press("ArrowDown")
    expect(row(widget, "dropout")).to_be_focused()
    keys.press("Delete")
    expect(row(widget, "dropout")).to_have_count(0)
    expect(row(widget, "head")).to_be_focused()
    button(widget, "Undo").click()
    expect(row(widget, "dropout")).to_be_visible()
    marimo.screenshot("edit")

    # Handed back to the variables of the notebook.
    widget.get_by_role("textbox", name="Variable name").fill("tuned")
    button(widget, "Hand back").click()
    expect(messages(widget)).to_contain_text("tuned")
    assert marimo.state() == str(
        {
            "layers": ["input_layer", "first", "hidden", "dropout", "head"],
            "frozen": ["first"],
            "tuned": True,
            "source": True,
            "widgets": 1,
        }
    )

    # An edit in Python is seen, and a cell that is run again shows another widget.
    marimo.press("Rename")
    expect(row(widget, "features")).to_be_visible()
    widget.evaluate("it => it.dataset.old = 'yes'")
    marimo.press("Show again")
    expect(marimo.body.locator("[data-old]")).to_have_count(0)
    expect(region(marimo.body)).to_have_count(1)
    expect(row(widget, "features")).to_be_visible()
    toggle(widget, "features").click()
    expect(toggle(widget, "features")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "features")).to_have_attribute("aria-busy", "false")
    state = marimo.state()
    assert "'frozen': ['first', 'features']" in state and "'widgets': 1" in state

    # A cell that trains shows how it goes; what is clicked meanwhile is done at its end.
    marimo.press("Train")
    training = widget.get_by_role("region", name="Training")
    expect(training).to_contain_text("Trained Epoch 40 of 40", timeout=60_000)


def test_a_training_in_a_thread_is_steered(marimo: Marimo) -> None:
    widget = region(marimo.open())
    marimo.press("Train in a thread")
    bar = widget.get_by_role("progressbar", name="Training progress")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"Epoch \d+"), timeout=60_000)
    expect(bar).not_to_have_attribute("aria-valuetext", bar.get_attribute("aria-valuetext") or "")
    toggle(widget, "first").click()
    expect(toggle(widget, "first")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "first")).to_have_attribute("aria-busy", "false")
    image = widget.get_by_role("img", name="Weights of first:")
    expect(image).to_have_attribute("aria-label", re.compile("update 0 % a step"))
    image = widget.get_by_role("img", name="Weights of head:")
    expect(image).to_have_attribute("aria-label", re.compile(r"update [\d.e-]+ % a step"))
    expect(image).not_to_have_attribute("aria-label", image.get_attribute("aria-label") or "")
    marimo.screenshot("training")


@pytest.mark.parametrize("cells", [PARTS], ids=["parts"])
def test_the_parts_in_marimo(marimo: Marimo) -> None:
    body = marimo.open()
    table, histograms = part(body, "Layer table"), part(body, "Weight histograms")
    switches, steps = part(body, "Trainable toggles"), part(body, "Edit history")

    # What is selected in one is shown in another.
    row(table, "hidden").click()
    expect(drawn(histograms, "hidden/kernel")).to_be_visible()
    expect(drawn(histograms, "first/kernel")).to_have_count(0)

    # A switch is seen in all parts, and so is the way back.
    toggle(switches, "first").click()
    expect(toggle(switches, "first")).to_have_attribute("aria-checked", "false")
    expect(row(table, "first").get_by_role("img", name="Frozen")).to_be_visible()
    switches.get_by_role("searchbox", name="Filter layers").fill("head")
    button(switches, "Freeze shown").click()
    expect(toggle(switches, "head")).to_have_attribute("aria-checked", "false")
    assert marimo.state() == str({"paths": ["hidden"], "trainable": ["hidden"], "done": 2})
    marimo.screenshot("parts")
    button(steps, "Undo to 1").click()
    expect(toggle(switches, "head")).to_have_attribute("aria-checked", "true")
    told = {"paths": ["hidden"], "trainable": ["hidden", "head"], "done": 1}
    assert marimo.state() == str(told)
