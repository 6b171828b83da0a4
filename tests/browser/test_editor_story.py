"""The whole way, as a person goes it: a trained model in a notebook, edited in the widget.

Through the accessible names that docs/protocol.md and the contract fix; what the widget does is
checked in the kernel, on weights and predictions.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from .lab import DARK, Lab
from .widget import apply, button, palette, python, region, row

TRAIN = """
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, numpy as np, kerasedit
from keras import layers
from sklearn.datasets import load_digits
keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")
model = keras.Sequential([
    keras.Input((8, 8, 1)),
    layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
    layers.BatchNormalization(name="norm"),
    layers.MaxPooling2D(name="pool"),
    layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
    layers.Flatten(name="flat"),
    layers.Dropout(0.3, name="drop"),
    layers.Dense(32, activation="relu", name="hidden"),
    layers.Dense(10, activation="softmax", name="head"),
], name="digits")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images[:1400], labels[:1400], epochs=4, verbose=0)
before = [w.copy() for w in model.get_weights()]
score = model.evaluate(images[1400:], labels[1400:], verbose=0)[1]
print("trained", score > 0.8)
"""


@pytest.fixture
def trained(lab: Lab) -> Lab:
    lab.new_notebook()
    lab.run_cell(TRAIN, timeout=180_000)
    assert lab.output_text().endswith("trained True")
    return lab


def show_editor(lab: Lab) -> Locator:
    widget = region(lab.run_cell("ed = kerasedit.Editor(model)\ned"))
    expect(row(widget, "conv1")).to_be_visible()
    return widget


def insert_dropout(widget: Locator, after: str, rate: str = "0.25") -> None:
    apply(palette(widget, f"Insert after {after}", "Dropout", rate=rate))


def test_the_whole_story(trained: Lab) -> None:
    lab = trained
    widget = show_editor(lab)

    # The model is seen as it is.
    assert widget.get_by_role("treegrid", name="Layers").get_attribute("aria-rowcount") is not None
    for path in ("conv1", "norm", "pool", "conv2", "flat", "drop", "hidden", "head"):
        expect(row(widget, path)).to_be_visible()
    expect(widget.get_by_role("img", name=re.compile("^Weights of conv1"))).to_be_visible()
    totals = int(python(lab, "print(model.count_params())"))
    expect(widget.get_by_role("status", name="Model totals")).to_contain_text(f"{totals:,}")
    lab.screenshot("story-1-light", widget)

    # A flag is toggled.
    toggle = widget.get_by_role("switch", name="Trainable conv1", exact=True)
    expect(toggle).to_have_attribute("aria-checked", "true")
    toggle.click()
    expect(toggle).to_have_attribute("aria-checked", "false")
    expect(toggle).not_to_have_attribute("aria-busy", "true")
    assert python(
        lab, "print(ed.model.get_layer('conv1').trainable, model.layers[0].trainable)"
    ) == ("False True")

    # A Dropout is inserted, a layer removed, and that undone.
    insert_dropout(widget, "hidden")
    expect(row(widget, "dropout")).to_be_visible()
    button(widget, "Remove norm").click()
    expect(row(widget, "norm")).to_have_count(0)
    button(widget, "Undo").click()
    expect(row(widget, "norm")).to_be_visible()
    expect(row(widget, "dropout")).to_be_visible()
    assert python(lab, "print([v.path for v in ed.layers][1:])") == str(
        ["conv1", "norm", "pool", "conv2", "flat", "drop", "hidden", "dropout", "head"]
    )
    # Dropout does nothing in inference: the copy must give the very same predictions.
    assert (
        python(
            lab,
            "print(np.array_equal(ed.model.predict(images[:64], verbose=0),"
            " model.predict(images[:64], verbose=0)))",
        )
        == "True"
    )

    # An edit made in Python is seen in the widget.
    lab.run_cell('ed.rename("hidden", "features")\nNone')
    expect(row(widget, "features")).to_be_visible()
    expect(row(widget, "hidden")).to_have_count(0)

    # The copy is handed back, fine-tuned and saved.
    name = widget.get_by_role("textbox", name="Variable name")
    name.fill("tuned")
    button(widget, "Hand back").click()
    expect(widget.get_by_role("status", name="Messages")).to_contain_text("tuned")
    assert (
        python(
            lab,
            "frozen = tuned.get_layer('conv1').get_weights()\n"
            "head = tuned.get_layer('head').get_weights()\n"
            "tuned.fit(images[:1400], labels[:1400], epochs=2, verbose=0)\n"
            "same = all(map(np.array_equal, frozen, tuned.get_layer('conv1').get_weights()))\n"
            "moved = not np.array_equal(head[0], tuned.get_layer('head').get_weights()[0])\n"
            "kept = all(map(np.array_equal, before, model.get_weights()))\n"
            "print(same, moved, kept, tuned.evaluate(images[1400:], labels[1400:], verbose=0)[1] > 0.8)",
        )
        == "True True True True"
    )
    button(widget, "Save").click()
    widget.get_by_role("textbox", name="File name").fill("tuned.keras")
    button(widget, "Write file").click()
    expect(widget.get_by_role("status", name="Messages")).to_contain_text("tuned.keras")
    assert (
        python(
            lab,
            "loaded = keras.saving.load_model('tuned.keras')\n"
            "print(np.array_equal(loaded.predict(images[:64], verbose=0),"
            " tuned.predict(images[:64], verbose=0)))",
        )
        == "True"
    )


def test_an_edit_that_cannot_be_made_is_explained_and_changes_nothing(trained: Lab) -> None:
    lab = trained
    widget = show_editor(lab)

    button(widget, "Remove flat").click()

    alert = widget.get_by_role("alert")
    expect(alert).to_contain_text("no longer fit")
    expect(row(widget, "flat")).to_be_visible()
    lab.screenshot("story-error", widget)
    assert python(lab, "print(ed.history, ed.model.get_layer('flat').name)") == "() flat"

    # In the palette the preview says so before, and nothing can be applied.
    button(widget, "Replace conv2").click()
    dialog = lab.page.get_by_role("dialog", name="Replace layer")
    dialog.get_by_role("searchbox", name="Find a layer type").fill("conv1d")
    dialog.get_by_role("option", name="Conv1D", exact=True).click()
    dialog.get_by_label("filters", exact=True).fill("8")
    dialog.get_by_label("kernel_size", exact=True).fill("3")
    expect(dialog).to_contain_text("cannot")
    expect(dialog.get_by_role("button", name="Apply", exact=True)).to_be_disabled()
    lab.screenshot("story-palette-error", widget)
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(dialog).to_be_hidden()
    assert python(lab, "print(ed.history)") == "()"


def test_filter_and_bulk_freeze(trained: Lab) -> None:
    lab = trained
    widget = show_editor(lab)

    widget.get_by_role("searchbox", name="Filter layers").fill("conv*")
    expect(row(widget, "hidden")).to_have_count(0)
    button(widget, "Freeze shown").click()

    for path in ("conv1", "conv2"):
        toggle = widget.get_by_role("switch", name=f"Trainable {path}", exact=True)
        expect(toggle).to_have_attribute("aria-checked", "false")
    assert python(lab, "print([v.path for v in ed.layers if not v.trainable])") == str(
        ["conv1", "conv2"]
    )
    assert python(lab, "print(len(ed.history))") == "1"
    button(widget, "Unfreeze shown").click()
    expect(widget.get_by_role("switch", name="Trainable conv2", exact=True)).to_have_attribute(
        "aria-checked", "true"
    )
    # Without a filter it is the whole model, and its line in Python is as one would write it.
    widget.get_by_role("searchbox", name="Filter layers").fill("")
    button(widget, "Freeze shown").click()
    expect(widget.get_by_role("switch", name="Trainable hidden", exact=True)).to_have_attribute(
        "aria-checked", "false"
    )
    assert python(lab, "print(ed.history[-1].to_code())") == "ed.freeze('**')"


def test_two_views_stay_in_step_and_survive_a_reload(trained: Lab) -> None:
    lab = trained
    first = show_editor(lab)
    second = region(lab.run_cell("ed"))

    button(first, "Remove drop").click()

    expect(row(second, "drop")).to_have_count(0)
    button(second, "Redo")
    button(second, "Undo").click()
    expect(row(first, "drop")).to_be_visible()

    lab.execute("docmanager:save")
    lab.reload()
    lab.open_notebook("test.ipynb")
    again = lab.page.get_by_role("region", name="Keras model editor").first
    expect(row(again, "conv1")).to_be_visible()
    button(again, "Remove drop").click()
    expect(row(again, "drop")).to_have_count(0)
    assert python(lab, "print([v.path for v in ed.layers if v.path == 'drop'])") == "[]"


def test_by_keyboard_alone(trained: Lab) -> None:
    lab = trained
    widget = show_editor(lab)
    keys = lab.page.keyboard

    row(widget, "conv1").focus()
    keys.press("Space")
    toggle = widget.get_by_role("switch", name="Trainable conv1", exact=True)
    expect(toggle).to_have_attribute("aria-checked", "false")
    keys.press("ArrowDown")
    expect(row(widget, "norm")).to_be_focused()
    keys.press("Delete")
    expect(row(widget, "norm")).to_have_count(0)
    expect(row(widget, "pool")).to_be_focused()
    keys.press("Control+z")
    expect(row(widget, "norm")).to_be_visible()
    # Keys stay in the widget: the notebook's own Delete, Space and `x` did nothing to its cells.
    cells = lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.length"
    )
    assert cells == 2


def test_both_themes(trained: Lab) -> None:
    lab = trained
    widget = show_editor(lab)
    lab.run_cell('ed.insert(layers.Dropout(0.2), after="conv1").freeze("conv1", "norm")\nNone')
    expect(row(widget, "dropout")).to_be_visible()
    lab.screenshot("editor-light", widget)
    button(widget, "Insert after conv1").click()
    dialog = lab.page.get_by_role("dialog", name="Insert layer")
    dialog.get_by_role("searchbox", name="Find a layer type").fill("norm")
    dialog.get_by_role("option", name="BatchNormalization", exact=True).click()
    lab.screenshot("palette-light")
    lab.set_theme(DARK)
    lab.screenshot("palette-dark")
    lab.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    lab.screenshot("editor-dark", widget)
