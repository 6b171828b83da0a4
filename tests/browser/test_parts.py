"""The parts that stand alone, put together in a notebook."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, expect

from .lab import Jupyter, Lab, NotebookPage, open_lab
from .test_accessibility import AXE, check
from .test_editor_story import TRAIN
from .widget import button, messages, python, row, toggle

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

PARTS = """
import ipywidgets, traitlets
ed = kerasedit.Editor(model)
table = kerasedit.LayerTable(ed, height=240)
weights = kerasedit.WeightHistograms(ed, height=300)
switches = kerasedit.TrainableToggles(ed, height=240)
history = kerasedit.EditHistory(ed, height=150)
traitlets.link((table, "selected"), (weights, "paths"))
ipywidgets.VBox([table, weights, switches, history])
"""


def part(output: Locator, name: str) -> Locator:
    found = output.get_by_role("region", name=name, exact=True)
    expect(found).to_be_visible()
    return found


def drawn(histograms: Locator, path: str) -> Locator:
    """The histogram of a weight."""
    return histograms.get_by_role("img", name=f"Weights of {path}: mean")


@pytest.fixture
def trained(lab: Lab) -> Lab:
    lab.new_notebook()
    lab.run_cell(TRAIN, timeout=180_000)
    return lab


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Lab, id="JupyterLab"),
        pytest.param(NotebookPage, id="Notebook 7", marks=pytest.mark.slow),
    ],
)
def test_parts_stay_in_step(kind: type[Lab], browser: Browser, jupyter: Jupyter) -> None:
    with open_lab(browser, jupyter, kind) as lab:
        lab.new_notebook()
        lab.run_cell(TRAIN, timeout=180_000)
        stay_in_step(lab)


def stay_in_step(lab: Lab) -> None:
    output = lab.run_cell(PARTS)
    table, histograms = part(output, "Layer table"), part(output, "Weight histograms")
    switches, history = part(output, "Trainable toggles"), part(output, "Edit history")

    # What is selected in one is shown in another.
    expect(drawn(histograms, "conv1/kernel")).to_be_visible()
    row(table, "conv2").click()
    expect(drawn(histograms, "conv2/kernel")).to_be_visible()
    expect(drawn(histograms, "conv2/bias")).to_be_visible()
    expect(drawn(histograms, "conv1/kernel")).to_have_count(0)
    assert python(lab, "print(weights.paths, table.value)") == "['conv2'] ['conv2']"
    lab.run_cell('table.selected = ["norm", "head"]\nNone')
    expect(row(table, "head")).to_have_attribute("aria-selected", "true")
    expect(drawn(histograms, "norm/gamma")).to_be_visible()
    lab.run_cell('weights.paths = ["head/bias"]\nNone')
    expect(drawn(histograms, "head/bias")).to_be_visible()
    expect(drawn(histograms, "head/kernel")).to_have_count(0)

    # The table is only looked at.
    expect(table.get_by_role("switch")).to_have_count(0)
    for name in ("Remove head", "Insert after head", "More actions for head"):
        expect(button(table, name)).to_have_count(0)
    row(table, "drop").click()
    for key in ("Delete", "Space", "F2", "Control+z", "Shift+F10"):
        lab.page.keyboard.press(key)
    expect(row(table, "drop")).to_be_focused()
    expect(lab.page.get_by_role("menu")).to_have_count(0)

    # A switch acts on the copy, and Python hears of it.
    lab.run_cell(
        "heard = []\nswitches.observe(lambda change: heard.append(change.new), 'trainable')"
    )
    toggle(switches, "conv1").click()
    expect(toggle(switches, "conv1")).to_have_attribute("aria-checked", "false")
    expect(row(table, "conv1").get_by_role("img", name="Frozen")).to_be_visible()
    switches.get_by_role("searchbox", name="Filter layers").fill("type:Dense")
    expect(row(switches, "conv1")).to_have_count(0)
    button(switches, "Freeze shown").click()
    expect(toggle(switches, "head")).to_have_attribute("aria-checked", "false")
    for _ in range(20):  # what is typed goes to Python a moment later
        if python(lab, "print(switches.filter)"):
            break
    assert python(lab, "print(switches.filter, heard)") == (
        "type:Dense [['norm', 'conv2', 'hidden', 'head'], ['norm', 'conv2']]"
    )
    assert python(lab, "print(ed.model.get_layer('head').trainable, model.trainable)") == (
        "False True"
    )

    # The way back.
    expect(button(history, "Undo to 1")).to_be_visible()
    button(history, "Undo to 0").click()
    expect(toggle(switches, "head")).to_have_attribute("aria-checked", "true")
    expect(button(history, "Redo to 2")).to_be_visible()
    assert python(lab, "print(history.done, history.undone, switches.trainable)") == (
        "0 2 ['conv1', 'norm', 'conv2', 'hidden', 'head']"
    )
    lab.run_cell('ed.remove("drop")\nNone')
    expect(row(table, "drop")).to_have_count(0)

    # A link that needs no kernel.
    lab.run_cell("filters = ipywidgets.jslink((table, 'filter'), (switches, 'filter'))\nNone")
    expect(row(switches, "conv1")).to_be_visible()
    table.get_by_role("searchbox", name="Filter layers").fill("hidden")
    for shown in (table, switches):
        expect(row(shown, "hidden")).to_be_visible()
        expect(row(shown, "conv1")).to_have_count(0)

    # Logarithms, from both sides.
    scale = histograms.get_by_role("checkbox", name="Log scale")
    expect(scale).not_to_be_checked()
    lab.run_cell("weights.log = True\nNone")
    expect(scale).to_be_checked()
    scale.uncheck()
    assert python(lab, "print(weights.log)") == "False"


def test_a_layer_alone(trained: Lab) -> None:
    lab = trained
    output = lab.run_cell(
        "layer = model.layers[3]\n"
        "switch = kerasedit.TrainableToggles(layer)\n"
        "ipywidgets = __import__('ipywidgets')\n"
        "ipywidgets.VBox([switch, kerasedit.WeightHistograms(switch.editor)])"
    )
    expect(drawn(part(output, "Weight histograms"), "conv2/kernel")).to_be_visible()
    toggle(part(output, "Trainable toggles"), "conv2").click()
    expect(toggle(output, "conv2")).to_have_attribute("aria-checked", "false")
    expect(toggle(output, "conv2")).not_to_have_attribute("aria-busy", "true")
    assert python(lab, "print(layer.trainable, model.layers[0].trainable)") == "False True"


def test_of_many_histograms_those_in_sight_are_drawn(lab: Lab) -> None:
    lab.new_notebook()
    output = lab.run_cell(
        "import keras, kerasedit\n"
        "chain = [keras.layers.Dense(4, name=f'd{n}') for n in range(60)]\n"
        "kerasedit.WeightHistograms(keras.Sequential([keras.Input((4,)), *chain]), bins=8)",
        timeout=180_000,
    )
    histograms = part(output, "Weight histograms")
    expect(drawn(histograms, "d0/kernel")).to_be_visible()
    expect(drawn(histograms, "d59/kernel")).to_have_count(0)
    assert histograms.get_by_role("img").count() < 20
    gallery = histograms.get_by_role("group", name="Histograms")
    # What comes into sight may be taller than its place was.
    for _ in range(20):
        gallery.press("End")
        lab.page.wait_for_timeout(500)
        if drawn(histograms, "d59/kernel").is_visible():
            break
    expect(histograms.get_by_role("heading", name="d59", exact=True)).to_be_in_viewport()
    expect(drawn(histograms, "d59/kernel")).to_be_visible()
    expect(drawn(histograms, "d0/kernel")).to_have_count(0)


def test_the_widget_is_shown_and_not_what_stands_in(trained: Lab) -> None:
    lab = trained
    output = lab.run_cell("ed = kerasedit.Editor(model)\ned")
    expect(output.get_by_role("region", name="Keras model editor")).to_be_visible()
    expect(output.locator("table")).to_have_count(0)
    kinds = lab.page.evaluate(
        """() => Object.keys(window.jupyterapp.shell.currentWidget.content
            .model.sharedModel.cells.at(1).toJSON().outputs[0].data)"""
    )
    assert set(kinds) == {
        "application/vnd.jupyter.widget-view+json",
        "text/html",
        "text/plain",
    }


def test_without_a_kernel_the_last_state_stays(trained: Lab) -> None:
    lab = trained
    output = lab.run_cell(PARTS)
    table, history = part(output, "Layer table"), part(output, "Edit history")
    lab.run_cell('ed.rename("head", "classes")\nNone')
    expect(button(history, "Undo to 0")).to_be_visible()
    lab.restart_kernel()
    expect(messages(table)).to_contain_text("not live")
    expect(messages(history)).to_contain_text("not live")
    expect(row(table, "classes")).to_be_visible()
    expect(history.get_by_role("list", name="History")).to_contain_text("classes")
    expect(button(history, "Undo to 0")).to_have_count(0)


def test_the_dashboard_trains(lab: Lab) -> None:
    notebook = nbformat.read(NOTEBOOKS / "dashboard.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    lab.new_notebook(*cells[:-1])
    lab.run_all(timeout=180_000)
    shown = lab.show_cell(len(cells) - 2)
    switches = part(shown, "Trainable toggles")
    expect(toggle(switches, "digit")).to_have_attribute("aria-checked", "true")
    lab.screenshots("dashboard", shown)

    # A switch while it trains.
    shown.get_by_label("Epochs").fill("40")
    lab.page.keyboard.press("Enter")
    shown.get_by_role("button", name="Train", exact=True).click()
    toggle(switches, "conv3").click()
    expect(toggle(switches, "conv3")).to_have_attribute("aria-checked", "true")
    expect(shown.get_by_text("noisy pictures:")).to_be_visible(timeout=120_000)
    told = python(lab, "print(len(losses), switches.trainable, history.done, ed.training())")
    assert told == "40 ['conv3', 'digit'] 3 None"
    lab.screenshot("dashboard-trained", shown)


def test_axe_finds_nothing_in_the_parts(trained: Lab) -> None:
    lab = trained
    lab.page.set_viewport_size({"width": 1400, "height": 2200})
    output = lab.run_cell(PARTS)
    lab.run_cell('ed.freeze("conv1").remove("drop").undo()\ntable.selected = ["conv1"]')
    expect(drawn(part(output, "Weight histograms"), "conv1/bias")).to_be_visible()
    expect(button(part(output, "Edit history"), "Redo to 2")).to_be_visible()
    button(part(output, "Layer table"), "Details of norm").click()
    lab.page.add_script_tag(path=AXE)
    check(lab, "parts")
    lab.screenshot("parts", output)
    lab.run_cell('table.selected = ["drop"]')
    expect(output.get_by_text("No weights here.")).to_be_visible()
    lab.restart_kernel()
    expect(messages(part(output, "Edit history"))).to_contain_text("not live")
    check(lab, "parts without a kernel")
    lab.screenshot("parts-without-a-kernel", output)
