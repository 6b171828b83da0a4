"""The Changes panel, what is told of an edit before it is made, several rows at once, the filter.

All tests share one page and one kernel: each opens an editor on its own small model in a new cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import pytest
from playwright.sync_api import Browser, Locator, Position, expect

from .lab import DARK, LIGHT, Jupyter, Lab, open_lab
from .test_accessibility import AXE, check
from .widget import apply, button, messages, palette, python, region, row, toggle

BUILD = """
import os, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, numpy as np, kerasedit
from keras import layers
part = keras.Input((16,), name="part")
y = layers.Dense(16, name="first")(part)
block = keras.Model(part, layers.ReLU(name="relu")(y), name="block")
inputs = keras.Input((8, 8, 1), name="image")
x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
x = layers.MaxPooling2D(name="pool")(x)
left = layers.Conv2D(4, 3, padding="same", name="left")(x)
right = layers.Conv2D(4, 1, name="right")(x)
x = layers.Flatten(name="flat")(layers.Add(name="add")([left, right]))
x = layers.Dropout(0.5, name="drop")(layers.Dense(16, activation="relu", name="hidden")(x))
model = keras.Model(inputs, layers.Dense(10, name="head")(block(x)), name="small")
def names(): print(*(view.path for view in ed.layers))
def labels(): print([edit.describe() for edit in ed.history])
ed = kerasedit.Editor(model)
"""
NAMES = (
    "image conv pool left right add flat hidden drop block block/part block/first block/relu head"
)


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


def show(lab: Lab, edits: str = "") -> Shown:
    lab.page.mouse.move(0, 0)
    widget = region(lab.run_cell(f"{BUILD}\n{edits}\ned", timeout=120_000))
    expect(widget.get_by_role("treegrid")).to_be_visible()
    return Shown(lab, widget)


FREE: Position = {"x": 400, "y": 12}  # where a row has no button


def pick(widget: Locator, path: str, *keys: Literal["ControlOrMeta"]) -> None:
    row(widget, path).click(position=FREE, modifiers=keys)


def focused(widget: Locator) -> str | None:
    """The accessible name of what has the focus."""
    return widget.page.evaluate("() => document.activeElement?.ariaLabel")


def told(widget: Locator) -> Locator:
    """What an edit would do, shown before it is made."""
    return widget.get_by_role("tooltip")


# -- changes -----------------------------------------------------------------------------------------

FIVE = """
ed.freeze("conv").remove("drop").rename("hidden", "features")
ed.insert(layers.ReLU(name="act"), after="flat").freeze("head")
"""


def steps(widget: Locator) -> Locator:
    return widget.get_by_role("list", name="History").get_by_role("listitem")


def test_undo_to_a_step_and_redo_to_another(lab: Lab) -> None:
    shown = show(lab, FIVE)
    widget = shown.widget
    button(widget, "Changes").click()
    expect(button(widget, "Changes")).to_have_attribute("aria-expanded", "true")
    expect(steps(widget)).to_have_count(6)
    expect(steps(widget).nth(3)).to_contain_text("ed.rename('hidden', 'features')")
    expect(steps(widget).nth(5)).to_have_attribute("aria-current", "step")

    button(widget, "Undo to 2").click()
    expect(steps(widget).nth(2)).to_have_attribute("aria-current", "step")
    expect(row(widget, "hidden")).to_be_visible()
    expect(row(widget, "act")).to_have_count(0)
    assert shown.python("labels()") == """["freeze 'conv'", "remove 'drop'"]"""
    expect(steps(widget).nth(4)).to_contain_text("undone")
    lab.screenshots("changes-history", widget)

    button(widget, "Redo to 4").click()
    expect(steps(widget).nth(4)).to_have_attribute("aria-current", "step")
    expect(row(widget, "act")).to_be_visible()
    expect(toggle(widget, "head")).to_have_attribute("aria-checked", "true")
    assert shown.python("print(len(ed.history), ed.layers[-1].trainable)") == "4 True"

    # A step made in Python is listed, and takes the place of what was undone.
    shown.python("ed.rename('head', 'classes')")
    expect(steps(widget).nth(5)).to_contain_text("ed.rename('head', 'classes')")
    button(widget, "Undo to 0").click()
    expect(steps(widget).nth(0)).to_have_attribute("aria-current", "step")
    assert shown.python("names()") == NAMES


def test_the_history_by_keyboard(lab: Lab) -> None:
    shown = show(lab, FIVE)
    widget, keys = shown.widget, lab.page.keyboard
    button(widget, "Changes").focus()
    keys.press("Enter")
    expect(steps(widget)).to_have_count(6)
    widget.get_by_role("tab", name="History").focus()
    keys.press("Tab")
    assert focused(widget) == "Close changes"
    keys.press("Tab")
    assert focused(widget) == "Now at 5"
    for name in ("Undo to 4", "Undo to 3"):
        keys.press("ArrowUp")
        assert focused(widget) == name
    keys.press("Enter")
    expect(steps(widget).nth(3)).to_have_attribute("aria-current", "step")
    # The focus stays where it was, on what is now the present step.
    expect(button(widget, "Now at 3")).to_be_focused()
    keys.press("End")
    assert focused(widget) == "Redo to 5"
    keys.press("Enter")
    expect(button(widget, "Now at 5")).to_be_focused()
    assert shown.python("print(len(ed.history))") == "5"

    button(widget, "Now at 5").focus()
    keys.press("Escape")
    expect(steps(widget)).to_have_count(0)
    expect(button(widget, "Changes")).to_be_focused()
    expect(button(widget, "Changes")).to_have_attribute("aria-expanded", "false")


def test_differences_lead_to_their_rows(lab: Lab) -> None:
    edits = FIVE + "ed.freeze('block/first').configure('pool', pool_size=4, on_mismatch='reinit')"
    shown = show(lab, edits)
    widget = shown.widget
    widget.get_by_role("searchbox", name="Filter layers").fill("conv")
    expect(row(widget, "act")).to_have_count(0)
    button(widget, "Changes").click()
    widget.get_by_role("tab", name="History").focus()
    lab.page.keyboard.press("ArrowRight")
    expect(widget.get_by_role("tab", name="Differences")).to_be_focused()

    def lines(kind: str) -> Locator:
        return widget.get_by_role("list", name=kind, exact=True).get_by_role("listitem")

    expect(lines("Added")).to_have_count(1)
    expect(lines("Removed")).to_contain_text("drop")
    expect(lines("Renamed")).to_contain_text("is now features")
    expect(lines("Other arguments")).to_contain_text("pool_size")
    expect(lines("Trainable flags")).to_have_count(3)
    expect(widget.get_by_text("Operations for a sample")).to_be_visible()
    lab.screenshots("changes-diff", widget)

    # A row that the filter hides, and one inside a folded model.
    button(lines("Added"), "act").click()
    expect(row(widget, "act")).to_be_focused()
    expect(row(widget, "act")).to_have_attribute("aria-selected", "true")
    button(widget, "block/first").click()
    expect(row(widget, "block/first")).to_be_focused()

    shown.python("ed.undo(len(ed.history))")
    expect(widget.get_by_text("Nothing differs from the source.")).to_be_visible()


def test_the_code_in_both_styles(lab: Lab) -> None:
    shown = show(lab, FIVE)
    widget = shown.widget
    button(widget, "Code").click()
    code = widget.get_by_label("Python code")
    expect(code).to_contain_text("rename")
    assert code.inner_text().strip() == shown.python("print(ed.to_code(weights=False))")
    widget.get_by_role("combobox", name="Style of the code").select_option("keras")
    expect(code).to_contain_text("in plain Keras")
    assert code.inner_text().strip() == shown.python("print(ed.to_code('keras', weights=False))")
    button(widget, "Copy code").click()
    expect(messages(widget)).to_contain_text("Code copied")
    lab.screenshot("changes-code", widget)
    button(widget, "Code").click()
    expect(code).to_have_count(0)


# -- before an edit ----------------------------------------------------------------------------------


def test_an_edit_is_told_to_the_pointer_before_it_is_made(lab: Lab) -> None:
    shown = show(lab)
    widget = shown.widget
    remove = button(widget, "Remove drop")
    remove.hover()
    expect(told(widget)).to_contain_text("ed.remove('drop')")
    expect(told(widget)).to_contain_text("(no change)")
    expect(remove).to_have_accessible_description(re.compile(r"ed\.remove\('drop'\)"))
    box, over = told(widget).bounding_box(), remove.bounding_box()
    assert box and over
    assert box["x"] + box["width"] <= over["x"] or box["y"] >= over["y"] + over["height"]
    lab.screenshot("preview-remove-light")

    # It may be looked at, and goes when it was left.
    told(widget).hover()
    lab.page.wait_for_timeout(500)
    expect(told(widget)).to_be_visible()
    row(widget, "image").hover(position=FREE)
    expect(told(widget)).to_have_count(0)
    expect(remove).to_have_accessible_description("")

    # Of the next button something else is told; what does not fit says that there is a choice.
    button(widget, "Remove pool").hover()
    expect(told(widget)).to_contain_text("'hidden/kernel'")
    expect(told(widget)).to_contain_text("choose")
    lab.set_theme(DARK)
    button(widget, "Remove add").hover()
    expect(told(widget)).to_contain_text("takes 2 tensors")
    lab.screenshot("preview-remove-dark")
    lab.set_theme(LIGHT)
    button(widget, "Remove add").hover()
    expect(told(widget)).to_contain_text("takes 2 tensors")
    lab.page.keyboard.press("Escape")
    expect(told(widget)).to_have_count(0)
    assert shown.python("print(ed.revision, ed.history)") == "0 ()"

    button(widget, "Remove pool").click()
    expect(widget.get_by_role("alert")).to_contain_text("'hidden/kernel'")
    expect(told(widget)).to_have_count(0)
    button(widget, "Copy what overlaps").click()
    expect(row(widget, "pool")).to_have_count(0)


def test_an_edit_is_told_to_the_keyboard_before_it_is_made(lab: Lab) -> None:
    shown = show(lab)
    widget, keys = shown.widget, lab.page.keyboard
    pick(widget, "flat")
    for _ in range(10):
        if (focused(widget) or "").startswith("Duplicate"):
            break
        keys.press("ArrowRight")
    expect(told(widget)).to_contain_text("ed.duplicate('flat')")
    expect(button(widget, "Duplicate flat")).to_be_focused()
    # Escape takes it away, and neither the focus nor the selection.
    keys.press("Escape")
    expect(told(widget)).to_have_count(0)
    expect(button(widget, "Duplicate flat")).to_be_focused()
    expect(row(widget, "flat")).to_have_attribute("aria-selected", "true")

    keys.press("Shift+F10")
    item = widget.get_by_role("menuitem", name="Freeze up to here")
    expect(item).to_be_focused()
    expect(told(widget)).to_contain_text("ed.freeze_up_to('flat')")
    expect(told(widget)).to_contain_text("Trainable")
    lab.screenshot("preview-menu")
    keys.press("ArrowDown")
    expect(told(widget)).to_contain_text("ed.trim('flat')")
    expect(told(widget)).to_contain_text("Dropped")
    keys.press("Escape")
    expect(told(widget)).to_have_count(0)
    expect(widget.get_by_role("menu")).to_have_count(0)
    assert shown.python("print(ed.revision, ed.history)") == "0 ()"

    # A name that is taken is told while it is typed.
    row(widget, "flat").focus()
    keys.press("F2")
    keys.press("Control+a")
    keys.type("head")
    field = widget.get_by_role("textbox", name="New name of flat")
    expect(told(widget)).to_contain_text("'head'")
    expect(field).to_have_attribute("aria-invalid", "true")
    keys.type("s")
    expect(told(widget)).to_contain_text("ed.rename('flat', 'heads')")
    expect(field).to_have_attribute("aria-invalid", "false")
    keys.press("Enter")
    expect(row(widget, "heads")).to_be_focused()
    expect(told(widget)).to_have_count(0)


# -- several rows ------------------------------------------------------------------------------------


def test_a_right_click_opens_the_menu_of_a_row(lab: Lab) -> None:
    widget = show(lab).widget
    flat = row(widget, "flat")
    flat.click(button="right", position=FREE)
    menu = widget.get_by_role("menu", name="Actions for flat")
    expect(menu.get_by_role("menuitem", name="Freeze up to here")).to_be_focused()
    expect(flat).to_have_attribute("aria-selected", "true")
    expect(lab.page.locator(".lm-Menu")).to_have_count(0)  # that of the cell
    line, box = flat.bounding_box(), menu.bounding_box()
    assert line is not None and box is not None
    assert abs(box["x"] - line["x"] - FREE["x"]) < 3
    lab.page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(flat).to_be_focused()

    # What is selected stays so, and the menu in the widget.
    pick(widget, "conv")
    pick(widget, "left", "ControlOrMeta")
    row(widget, "left").click(button="right", position={"x": line["width"] - 3, "y": 12})
    box = widget.get_by_role("menu", name="Actions for left").bounding_box()
    assert box is not None and box["x"] + box["width"] <= line["x"] + line["width"]
    widget.get_by_role("menuitem", name="Prune channels …").click()
    expect(lab.page.get_by_role("dialog")).to_contain_text("conv")
    lab.page.keyboard.press("Escape")

    # With Shift the browser's own.
    flat.click(button="right", position=FREE, modifiers=["Shift"])
    expect(widget.get_by_role("menu")).to_have_count(0)


TWICE = """
twice = layers.Dense(64, name="twice")
image = keras.Input((4, 4, 4), name="image")
ed = kerasedit.Editor(keras.Model(image, twice(twice(layers.Flatten(name="flat")(image)))))
"""


def test_ways_that_lead_nowhere_say_so_and_cannot_be_taken(lab: Lab) -> None:
    widget = show(lab, TWICE).widget
    pick(widget, "flat")
    lab.page.keyboard.press("Delete")
    alert = widget.get_by_role("alert").filter(has_text="twice/kernel")
    for name in ("Start afresh what does not fit", "Copy what overlaps"):
        expect(button(alert, name)).to_have_attribute("aria-disabled", "true")
    expect(alert.get_by_text("cannot take an input of shape (None, 4, 4, 64)")).to_have_count(2)


def test_several_layers_are_edited_as_one_step(lab: Lab) -> None:
    shown = show(lab)
    widget = shown.widget
    pick(widget, "hidden")
    pick(widget, "head", "ControlOrMeta")
    expect(widget.get_by_role("group", name="Selection")).to_contain_text("2 selected")

    dialog = palette(widget, "Insert after each", "ReLU")
    expect(dialog).to_contain_text("each of 2 layers")
    apply(dialog)
    expect(row(widget, "re_lu_1")).to_be_visible()
    after = NAMES.replace("hidden", "hidden re_lu") + " re_lu_1"
    assert shown.python("names(); print(len(ed.history))").split("\n") == [after, "1"]

    pick(widget, "left")
    for path in ("re_lu", "drop"):
        pick(widget, path, "ControlOrMeta")
    # One of them cannot go: nothing happens, and it is told why.
    pick(widget, "add", "ControlOrMeta")
    button(widget, "Remove selected").click()
    expect(widget.get_by_role("alert")).to_contain_text("'add'")
    assert shown.python("print(len(ed.history))") == "1"
    pick(widget, "add", "ControlOrMeta")
    button(widget, "Remove selected").hover()
    expect(told(widget)).to_contain_text("'left'")
    lab.screenshot("several")
    button(widget, "Remove selected").click()
    expect(row(widget, "drop")).to_have_count(0)
    assert shown.python("print(len(ed.history), ed.history[-1].to_code())") == (
        "2 ed.remove(['left', 're_lu', 'drop'])"
    )
    button(widget, "Undo").click()
    expect(row(widget, "drop")).to_be_visible()
    expect(row(widget, "left")).to_be_visible()
    assert shown.python("names()") == after


def test_channels_are_pruned_with_what_is_tied_to_them(lab: Lab) -> None:
    shown = show(lab)
    widget, keys = shown.widget, lab.page.keyboard
    row(widget, "left").hover()
    button(widget, "More actions for left").click()
    entries = widget.get_by_role("menuitem").all_text_contents()
    assert {"Insert after …", "Replace …", "Remove"} <= set(entries)
    widget.get_by_role("menuitem", name="Prune channels …").click()
    dialog = widget.get_by_role("dialog", name="Prune channels")
    for text in ("'left'", "'right'", "'add'", "'hidden' (Dense) takes them"):
        expect(dialog).to_contain_text(text)
    slider = dialog.get_by_role("slider", name="Channels that go")
    expect(slider).to_be_focused()
    slider.fill("49")
    keys.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "50 %")
    expect(dialog.get_by_role("status").first).to_have_text("50 % of 4")
    plan = dialog.get_by_role("status", name="Preview")
    expect(plan).to_contain_text("ed.prune_channels('left', fraction=0.5)")
    expect(plan).to_contain_text("Operations for a sample")
    lab.screenshots("prune")
    assert shown.python("print(len(ed.history))") == "0"

    dialog.get_by_role("textbox", name="Each layer keeps a multiple of").fill("0")
    expect(dialog.get_by_role("button", name="Apply")).to_be_disabled()
    dialog.get_by_role("textbox", name="Each layer keeps a multiple of").fill("1")
    dialog.get_by_role("combobox", name="Remove first").select_option("random")
    expect(plan).to_contain_text("criterion='random'")
    dialog.get_by_role("combobox", name="Remove first").select_option("l2")
    dialog.get_by_role("combobox", name="The share is of").select_option("Operations for a sample")
    dialog.get_by_role("slider", name="Operations for a sample that go").fill("10")
    expect(plan).to_contain_text("ed.prune_channels('left', flops=0.9)")
    dialog.get_by_role("combobox", name="The share is of").select_option("Channels")
    dialog.get_by_role("slider", name="Channels that go").fill("50")
    expect(plan).to_contain_text("ed.prune_channels('left', fraction=0.5)")
    apply(dialog)
    expect(dialog).to_have_count(0)
    told = "print([ed.model.get_layer(n).bias.shape[0] for n in ('left', 'right')], ed.verify().ok)"
    assert shown.python(told) == "[2, 2] True"
    button(widget, "Undo").click()
    expect(row(widget, "left")).to_contain_text("4)")

    # What cannot go says why, and Escape leads back.
    row(widget, "head").click(position=FREE)
    keys.press("Shift+F10")
    widget.get_by_role("menuitem", name="Prune channels …").click()
    expect(dialog).to_contain_text("it reaches the output")
    expect(dialog.get_by_role("button", name="Apply")).to_be_disabled()
    keys.press("Escape")
    expect(dialog).to_have_count(0)
    expect(row(widget, "head")).to_be_focused()


def test_several_layers_by_keyboard(lab: Lab) -> None:
    shown = show(lab)
    widget, keys = shown.widget, lab.page.keyboard
    pick(widget, "conv")
    keys.press("Control+ArrowDown")
    expect(row(widget, "pool")).to_be_focused()
    expect(row(widget, "pool")).to_have_attribute("aria-selected", "false")
    keys.press("Control+ArrowDown")
    keys.press("Control+Space")
    expect(row(widget, "left")).to_have_attribute("aria-selected", "true")
    expect(row(widget, "conv")).to_have_attribute("aria-selected", "true")
    button(widget, "Freeze shown").focus()
    keys.press("Enter")
    expect(toggle(widget, "left")).to_have_attribute("aria-checked", "false")
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")

    row(widget, "hidden").focus()
    keys.press("Control+a")
    expect(widget.get_by_role("group", name="Selection")).to_contain_text("11 selected")
    pick(widget, "left")
    keys.press("Control+ArrowUp")
    keys.press("Control+Space")
    keys.press("Control+Space")
    for _ in range(5):
        keys.press("Control+ArrowDown")
    expect(row(widget, "drop")).not_to_be_focused()
    row(widget, "drop").focus()
    keys.press("Control+Space")
    keys.press("Delete")
    expect(row(widget, "left")).to_have_count(0)
    expect(row(widget, "drop")).to_have_count(0)
    keys.press("Control+z")
    expect(row(widget, "left")).to_be_visible()
    expect(row(widget, "drop")).to_be_visible()
    keys.press("Control+y")
    expect(row(widget, "drop")).to_have_count(0)
    assert shown.python("labels()") == """["freeze 'conv', 'left'", "remove 'left', 'drop'"]"""


# -- filter ------------------------------------------------------------------------------------------


def rows(widget: Locator) -> list[str | None]:
    return [found.get_attribute("aria-label") for found in widget.get_by_role("row").all()]


def test_the_filter_knows_words(lab: Lab) -> None:
    shown = show(
        lab, "ed.freeze('conv', 'block/first').insert(layers.ReLU(name='act'), after='flat')"
    )
    widget, keys = shown.widget, lab.page.keyboard
    box = widget.get_by_role("searchbox", name="Filter layers")
    for text, found in {
        "is:frozen": ["conv", "block", "block/first"],
        "type:conv2d": ["conv", "left", "right"],
        "type:conv2d is:trainable": ["left", "right"],
        "is:changed type:ReLU": ["act"],
        "is:nested relu": ["block/relu"],
    }.items():
        box.fill(text)
        expect(messages(widget)).to_contain_text(f"The filter shows {len(found)} of 15 rows")
        assert rows(widget) == found

    # Nobody has to know them.
    box.fill("")
    button(widget, "Filter by").focus()
    keys.press("Enter")
    menu = widget.get_by_role("menu", name="Filter by")
    expect(menu.get_by_role("menuitemcheckbox", name="Trainable")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(box).to_have_value("is:frozen")
    expect(menu.get_by_role("menuitemcheckbox", name="Frozen")).to_have_attribute(
        "aria-checked", "true"
    )
    lab.screenshot("filter-menu")
    menu.get_by_role("menuitemcheckbox", name="Conv2D").click()
    expect(box).to_have_value("is:frozen type:Conv2D")
    assert rows(widget) == ["conv"]
    menu.get_by_role("menuitemcheckbox", name="Frozen").click()
    expect(box).to_have_value("type:Conv2D")
    keys.press("Escape")
    expect(menu).to_have_count(0)
    expect(button(widget, "Filter by")).to_be_focused()
    assert rows(widget) == ["conv", "left", "right"]
    assert shown.python("print(ed.revision, len(ed.history))") == "2 2"


def test_layers_that_were_removed_are_shown_when_asked_for(lab: Lab) -> None:
    shown = show(lab, "ed.remove('block/relu')")
    widget, keys = shown.widget, lab.page.keyboard
    button(widget, "Unfold block").click()
    button(widget, "Filter by").click()
    item = widget.get_by_role("menuitemcheckbox", name="Layers that were removed")
    item.click()
    expect(item).to_have_attribute("aria-checked", "true")
    keys.press("Escape")
    gone = row(widget, "Removed block/relu")
    expect(gone).to_contain_text("relu")
    expect(gone.get_by_role("button")).to_have_count(0)

    # The next one follows at once; the keyboard passes both by.
    button(widget, "Remove drop").click()
    expect(row(widget, "Removed drop")).to_contain_text("removed")
    assert rows(widget)[8:] == [
        "Removed drop",
        *("block", "block/part", "block/first", "Removed block/relu", "head"),
    ]
    lab.page.add_script_tag(path=AXE)
    check(lab, "removed layers are shown")
    lab.screenshots("removed", widget)
    row(widget, "hidden").click(position=FREE)
    keys.press("ArrowDown")
    expect(row(widget, "block")).to_be_focused()
    keys.press("ArrowUp")
    expect(row(widget, "hidden")).to_be_focused()
    keys.press("Control+a")
    expect(widget.get_by_role("group", name="Selection")).to_contain_text("12 selected")
    row(widget, "Removed drop").click(position=FREE)
    expect(widget.get_by_role("group", name="Selection")).to_contain_text("12 selected")

    # A filter picks among them, and those that come back are what they were.
    box = widget.get_by_role("searchbox", name="Filter layers")
    box.fill("drop")
    expect(row(widget, "hidden")).to_have_count(0)
    assert rows(widget) == ["Removed drop"]
    expect(messages(widget)).to_contain_text("The filter shows 0 of 12 rows")
    box.fill("")
    shown.python("ed.undo(2)")
    expect(row(widget, "block/relu")).to_be_visible()
    expect(gone).to_have_count(0)
    expect(row(widget, "Removed drop")).to_have_count(0)


def test_from_the_filter_to_the_list_and_back(lab: Lab) -> None:
    """By keyboard; what is selected stays in sight, and several switch as one."""
    shown = show(lab)
    widget, keys = shown.widget, lab.page.keyboard
    box = widget.get_by_role("searchbox", name="Filter layers")
    box.fill("type:Conv2D")
    expect(row(widget, "pool")).to_have_count(0)
    box.press("ArrowDown")
    expect(row(widget, "conv")).to_be_focused()
    keys.press("Shift+ArrowDown")
    expect(row(widget, "left")).to_be_focused()
    keys.press("Space")
    for path in ("conv", "left"):
        expect(toggle(widget, path)).to_have_attribute("aria-checked", "false")
        expect(toggle(widget, path)).to_have_attribute("aria-busy", "false")
    expect(toggle(widget, "right")).to_have_attribute("aria-checked", "true")
    assert shown.python("labels()") == """["freeze 'conv', 'left'"]"""


def test_a_selected_row_stays_in_sight_when_the_filter_goes(lab: Lab) -> None:
    widget = region(
        lab.run_cell(
            "chain = [layers.Dense(4, name=f'dense{n}') for n in range(300)]\n"
            "kerasedit.Editor(keras.Sequential([keras.Input((4,)), *chain]))",
            timeout=120_000,
        )
    )
    box = widget.get_by_role("searchbox", name="Filter layers")
    box.fill("dense277")
    row(widget, "dense277").click(position=FREE)
    box.fill("")
    expect(row(widget, "dense276")).to_be_visible()
    expect(row(widget, "dense277")).to_be_in_viewport()


def test_details_name_what_a_layer_takes_and_feeds(lab: Lab) -> None:
    shown = show(lab)
    widget = shown.widget
    button(widget, "Details of add").click()
    details = widget.get_by_role("gridcell", name="Details of add", exact=True)
    expect(details).to_contain_text("Takes")
    for path in ("left", "right", "flat"):
        expect(button(details, f"Go to {path}")).to_be_visible()
    button(details, "Go to flat").click()
    expect(row(widget, "flat")).to_be_focused()
