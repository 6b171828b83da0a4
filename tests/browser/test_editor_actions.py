"""What a person does in the widget, one action a test; its effect is read from the kernel.

All tests share one page and one kernel, which costs seconds to start: each opens an editor on its
own small model in a new cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Locator, expect

from .lab import Jupyter, Lab, open_lab
from .widget import apply, button, messages, palette, python, region, row, toggle

BUILD = """
import os, threading, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, numpy as np, kerasedit
from keras import layers
inputs = keras.Input((8, 8, 1), name="image")
x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
x = layers.MaxPooling2D(name="pool")(x)
left = layers.Conv2D(4, 3, padding="same", name="left")(x)
right = layers.Conv2D(4, 1, name="right")(x)
x = layers.Add(name="add")([left, right])
x = layers.Flatten(name="flat")(x)
x = layers.Dense(16, activation="relu", name="hidden")(x)
model = keras.Model(inputs, layers.Dense(10, name="head")(x), name="small")
image = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
def weights(name, of=None):
    return (of or ed.model).get_layer(name).get_weights()
def equal(*names):
    return all(np.array_equal(a, b) for n in names for a, b in zip(weights(n), weights(n, model)))
def names():
    print(*(view.path for view in ed.layers))
ed = kerasedit.Editor(model)
ed
"""
NAMES = "image conv pool left right add flat hidden head"


class Shown(NamedTuple):
    """An editor in a notebook."""

    lab: Lab
    widget: Locator

    def python(self, source: str) -> str:
        return python(self.lab, source)


@pytest.fixture(scope="module")
def lab(jupyter: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, jupyter) as opened:
        opened.new_notebook()
        yield opened


@pytest.fixture
def shown(lab: Lab) -> Shown:
    lab.page.keyboard.press("Escape")  # a dialog that a failed test left open
    widget = region(lab.run_cell(BUILD, timeout=120_000))
    expect(row(widget, "conv")).to_be_visible()
    return Shown(lab, widget)


def type_name(widget: Locator, path: str, name: str) -> Locator:
    field = widget.get_by_role("textbox", name=f"New name of {path}", exact=True)
    expect(field).to_be_focused()
    field.fill(name)
    return field


def test_replace_through_the_palette(shown: Shown) -> None:
    apply(palette(shown.widget, "Replace pool", "AveragePooling2D", pool_size="2"))

    replacement = row(shown.widget, "average_pooling2d")
    expect(replacement).to_contain_text("AveragePooling2D")
    expect(replacement).to_be_focused()
    expect(replacement).to_have_attribute("aria-selected", "true")
    expect(row(shown.widget, "pool")).to_have_count(0)
    assert shown.python("names()") == NAMES.replace("pool", "average_pooling2d")
    assert shown.python("print(equal('conv', 'left', 'right', 'hidden', 'head'))") == "True"


def test_insert_before(shown: Shown) -> None:
    apply(palette(shown.widget, "Insert before flat", "BatchNormalization"))

    expect(row(shown.widget, "batch_normalization")).to_be_visible()
    assert shown.python("names()") == NAMES.replace("flat", "batch_normalization flat")
    assert shown.python("print(ed.model.get_layer('batch_normalization').input.shape)") == (
        "(None, 4, 4, 4)"
    )


def test_rename_in_place(shown: Shown) -> None:
    widget, keys = shown.widget, shown.lab.page.keyboard

    row(widget, "left").get_by_text("left", exact=True).dblclick()
    type_name(widget, "left", "west").press("Enter")
    expect(row(widget, "west")).to_be_focused()
    keys.press("F2")
    type_name(widget, "west", "nothing").press("Escape")
    expect(row(widget, "west")).to_be_focused()
    button(widget, "Rename right").click()
    type_name(widget, "right", "east").press("Enter")
    expect(row(widget, "east")).to_be_focused()
    assert shown.python("names()") == NAMES.replace("left", "west").replace("right", "east")

    keys.press("Escape")
    button(widget, "Rename head").click()
    type_name(widget, "head", "west").press("Enter")
    expect(widget.get_by_role("alert")).to_contain_text("'west'")
    expect(row(widget, "head")).to_be_visible()
    assert shown.python("print(len(ed.history), ed.layers[-1].path)") == "2 head"
    keys.press("Escape")

    # What a filter found stays in sight under a name that it does not find.
    search = widget.get_by_role("searchbox", name="Filter layers")
    search.fill("w")
    expect(row(widget, "conv")).to_have_count(0)
    button(widget, "Rename west").click()
    type_name(widget, "west", "left").press("Enter")
    expect(row(widget, "left")).to_be_focused()
    search.fill("x")
    expect(row(widget, "left")).to_have_count(0)


def test_a_row_keeps_the_focus_under_another_name(shown: Shown) -> None:
    """Whoever renames it: the next key is for the same layer."""
    widget, keys = shown.widget, shown.lab.page.keyboard

    def is_at(path: str, trains: str) -> None:
        expect(row(widget, path)).to_be_focused()
        expect(row(widget, path)).to_have_attribute("aria-selected", "true")
        expect(
            widget.get_by_role("gridcell", name=f"Details of {path}", exact=True)
        ).to_be_visible()
        expect(toggle(widget, path)).to_have_attribute("aria-checked", trains)

    row(widget, "hidden").click()
    keys.press("Enter")
    is_at("hidden", "true")
    # In Python, while the focus is here.
    shown.python(
        "names = ['features']\n"
        "def rename(event):\n"
        "    if names: threading.Thread(target=ed.rename, args=('hidden', names.pop())).start()\n"
        "end = ed.subscribe(rename)"
    )
    row(widget, "hidden").focus()
    keys.press("Space")
    is_at("features", "false")
    keys.press("Space")
    is_at("features", "true")
    assert shown.python("print(len(ed.history), ed.layers[-2].trainable)") == "3 True"

    row(widget, "features").focus()
    keys.press("Control+z")
    keys.press("Control+z")
    is_at("hidden", "false")
    keys.press("Control+y")
    is_at("features", "false")


@pytest.mark.parametrize(
    ("choice", "head"),
    [
        ("start afresh", "not np.array_equal(new[:8], old[:8]) and np.abs(new).max() > 0"),
        ("copy what overlaps", "np.array_equal(new[:8], old[:8])"),
    ],
)
def test_an_insertion_that_does_not_fit_offers_what_would(
    shown: Shown, choice: str, head: str
) -> None:
    dialog = palette(shown.widget, "Insert after hidden", "Dense", units="8")
    preview = dialog.get_by_role("status", name="Preview")
    expect(preview).to_contain_text("head")
    expect(button(dialog, "Apply")).to_be_disabled()

    dialog.get_by_label("Weights of other layers that no longer fit").select_option(choice)
    apply(dialog)

    expect(row(shown.widget, "dense")).to_be_visible()
    assert shown.python("print(equal('conv', 'left', 'right', 'hidden'))") == "True"
    assert (
        shown.python(
            "old, new = weights('head', model)[0], weights('head')[0]\n"
            f"print(old.shape, new.shape, {head}, ed.model(image).shape)"
        )
        == "(16, 10) (8, 10) True (4, 10)"
    )


def test_removing_a_layer_that_does_not_fit_offers_what_would(shown: Shown) -> None:
    button(shown.widget, "Remove pool").click()

    alert = shown.widget.get_by_role("alert")
    expect(alert).to_contain_text("hidden")
    shown.lab.screenshots("action-mismatch", shown.widget)
    button(alert, "Copy what overlaps").click()
    expect(row(shown.widget, "pool")).to_have_count(0)
    expect(alert).to_have_count(0)
    assert shown.python("print(weights('hidden')[0].shape, equal('conv', 'head'))") == (
        "(256, 16) True"
    )


def test_removing_a_merge_asks_what_to_keep(shown: Shown) -> None:
    widget = shown.widget
    button(widget, "Remove add").click()

    alert = widget.get_by_role("alert")
    expect(button(alert, "Keep left")).to_be_visible()
    ways = alert.get_by_role("listitem")
    expect(ways.first).to_contain_text(
        re.compile(r"Keep left\s*Parameters \u2212\d+; dropped: right")
    )
    expect(ways.nth(1)).to_contain_text("dropped: left")
    shown.lab.screenshot("action-keep", widget)
    assert shown.python("print(ed.history)") == "()"
    button(alert, "Keep right").click()

    expect(row(widget, "add")).to_have_count(0)
    expect(alert).to_have_count(0)
    assert (
        shown.python(
            "y = image\nfor n in 'conv pool right flat hidden head'.split():\n"
            "    y = model.get_layer(n)(y)\n"
            "print(np.allclose(y, ed.model(image), atol=1e-6))"
        )
        == "True"
    )


def test_a_duplicate(shown: Shown) -> None:
    widget = shown.widget
    button(widget, "Duplicate hidden").click()
    # A second layer takes what the first puts out, which its kernel does not fit.
    expect(widget.get_by_role("alert")).to_contain_text("'hidden_1/kernel'")
    button(widget, "Duplicate conv").click()
    alert = widget.get_by_role("alert")
    expect(alert).to_contain_text("'conv_1/kernel'")
    button(widget, "Duplicate flat").click()
    expect(row(widget, "flat_1")).to_be_visible()
    assert shown.python("print(ed.history[-1].to_code())") == "ed.duplicate('flat')"


def test_undo_and_redo(shown: Shown) -> None:
    widget = shown.widget
    toggle(widget, "conv").click()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    apply(palette(widget, "Insert after hidden", "Dropout", rate="0.5"))
    expect(row(widget, "dropout")).to_be_visible()

    button(widget, "Undo").click()
    button(widget, "Undo").click()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "true")
    expect(row(widget, "dropout")).to_have_count(0)
    expect(button(widget, "Undo")).to_be_disabled()
    assert shown.python("print(ed.history, ed.model.get_layer('conv').trainable)") == "() True"

    button(widget, "Redo").click()
    button(widget, "Redo").click()
    expect(row(widget, "dropout")).to_be_visible()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    expect(button(widget, "Redo")).to_be_disabled()
    assert (
        shown.python("print(ed.model.get_layer('dropout').rate, weights('conv') is not None)")
        == "0.5 True"
    )


def hand_back(widget: Locator, name: str) -> None:
    widget.get_by_role("textbox", name="Variable name").fill(name)
    button(widget, "Hand back").click()


def test_a_variable_is_only_replaced_when_asked_to(shown: Shown) -> None:
    widget = shown.widget
    shown.python("old, number = model, 7")
    toggle(widget, "conv").click()

    hand_back(widget, "old")
    alert = widget.get_by_role("alert")
    expect(alert).to_contain_text("old")
    shown.lab.screenshots("hand-back", widget)
    assert shown.python("print(old is model)") == "True"
    inside, around = alert.bounding_box(), widget.bounding_box()
    assert inside and around and inside["x"] >= around["x"]
    # Whoever goes on has not said yes.
    button(alert, "Keep variable").focus()
    widget.get_by_role("searchbox", name="Filter layers").focus()
    expect(alert).to_have_count(0)
    button(widget, "Hand back").click()
    button(alert, "Keep variable").click()
    expect(alert).to_have_count(0)
    assert shown.python("print(old is model)") == "True"

    # Anything but a model cannot be replaced from here.
    hand_back(widget, "number")
    expect(alert).to_contain_text("number")
    expect(button(alert, "Replace variable")).to_have_count(0)
    button(alert, "Choose another name").click()
    assert shown.python("print(number)") == "7"

    hand_back(widget, "not a name")
    expect(alert).to_contain_text("not a name")

    hand_back(widget, "old")
    button(alert, "Replace variable").click()
    expect(messages(widget)).to_contain_text("old")
    expect(button(widget, "Hand back")).to_be_focused()
    assert shown.python("print(old is model, old.get_layer('conv').trainable)") == "False False"


def test_a_file_is_only_replaced_when_asked_to(shown: Shown) -> None:
    widget = shown.widget
    shown.python("from pathlib import Path\nfile = Path('there.keras')\nfile.write_text('mine')")
    button(widget, "Save").click()
    widget.get_by_role("textbox", name="File name").fill("there.keras")

    button(widget, "Write file").click()
    alert = widget.get_by_role("alert")
    button(alert, "Keep file").click()
    expect(alert).to_have_count(0)
    expect(widget.get_by_role("textbox", name="File name")).to_be_focused()
    assert shown.python("print(file.read_text())") == "mine"

    button(widget, "Write file").click()
    button(alert, "Replace file").click()
    expect(messages(widget)).to_contain_text("there.keras")
    assert shown.python("print(keras.saving.load_model(file).name)") == "small"


@pytest.fixture(params=[True, False], ids=["subshell", "queue"])
def subshells(lab: Lab, request: pytest.FixtureRequest) -> Iterator[bool]:
    """With and without a kernel that handles messages while a cell runs."""
    lab.use_subshells(request.param)
    yield request.param
    lab.use_subshells(True)


def test_clicks_while_the_kernel_is_busy_are_applied(subshells: bool, shown: Shown) -> None:
    lab, widget = shown
    lab.run_cell("time.sleep(4)", wait=False)

    for path in ("conv", "left"):
        toggle(widget, path).click()
        # What was asked for is shown at once.
        expect(toggle(widget, path)).to_have_attribute("aria-checked", "false", timeout=500)
    if subshells:
        expect(toggle(widget, "left")).to_have_attribute("aria-busy", "false", timeout=3000)
    else:
        expect(messages(widget)).to_contain_text("waiting for the kernel")
        expect(toggle(widget, "conv")).to_have_attribute("aria-busy", "true")
        lab.screenshot("waiting", widget)
    assert widget.get_by_role("alert").count() == 0

    expect(toggle(widget, "left")).to_have_attribute("aria-busy", "false")
    expect(messages(widget)).not_to_contain_text("waiting")
    expect(widget.get_by_role("alert")).to_have_count(0)
    assert shown.python("print(*(v.path for v in ed.layers if v.trainable is False))") == (
        "conv left"
    )


@pytest.mark.parametrize("subshells", [False], indirect=True)
def test_a_click_that_python_was_faster_than_is_refused(subshells: bool, shown: Shown) -> None:
    lab, widget = shown
    lab.run_cell("time.sleep(2); ed.rename('hidden', 'features')", wait=False)

    toggle(widget, "conv").click()

    expect(widget.get_by_role("alert")).to_contain_text("has changed since")
    expect(row(widget, "features")).to_be_visible()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "true")
    toggle(widget, "conv").click()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    expect(widget.get_by_role("alert")).to_have_count(0)
    assert shown.python("print(len(ed.history))") == "2"


def test_a_restarted_kernel_leaves_a_list_that_can_be_read(shown: Shown) -> None:
    lab, widget = shown
    toggle(widget, "conv").click()
    expect(toggle(widget, "conv")).to_have_attribute("aria-busy", "false")
    button(widget, "Details of pool").click()
    detail = widget.get_by_role("gridcell", name="Details of pool", exact=True)
    detail.get_by_label("pool_size", exact=True).focus()

    lab.restart_kernel()

    row(widget, "conv").hover()
    expect(messages(widget)).to_contain_text("not live")
    # The field that had the focus can no longer be used.
    expect(detail.get_by_label("pool_size", exact=True)).to_be_disabled()
    assert detail.evaluate("cell => cell.contains(document.activeElement)")
    button(widget, "Details of pool").click()
    for path in NAMES.split():
        expect(row(widget, path)).to_be_visible()
    for name in ("Hand back", "Save", "Undo", "Freeze shown", "Remove pool", "Insert after pool"):
        expect(button(widget, name)).to_be_disabled()
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "conv")).to_be_disabled()
    toggle(widget, "conv").click(force=True)
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    widget.get_by_role("searchbox", name="Filter layers").fill("conv")
    expect(row(widget, "pool")).to_have_count(0)
    lab.screenshot("not-live", widget)
