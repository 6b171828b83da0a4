"""The pictures of the README, taken anew: copy them from artifacts/screenshots to docs/images."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from .lab import DARK, LIGHT, WAIT, Lab
from .widget import apply, button, palette, region, row, toggle

BUILD = """
import keras, kerasedit
from keras import layers
from sklearn.datasets import load_digits
keras.utils.set_random_seed(1)
images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1) / 16
def conv(x, filters, name):
    x = layers.Conv2D(filters, 3, padding="same", name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_norm")(x))
inputs = keras.Input((8, 8, 16), name="tiles")
x = conv(inputs, 32, "conv1")
x = layers.Add(name="skip")([x, layers.Conv2D(32, 1, name="project")(inputs)])
backbone = keras.Model(inputs, layers.MaxPooling2D(name="pool")(x), name="backbone")
inputs = keras.Input((8, 8, 1), name="digits")
x = backbone(conv(inputs, 16, "stem"))
x = layers.Flatten(name="flatten")(x)
x = layers.Dense(64, activation="relu", name="hidden")(x)
model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="head")(x), name="reader")
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images, labels, epochs=8, verbose=0)
backbone.trainable = False
"""
EDIT = """
ed = kerasedit.Editor(model)
ed.insert(layers.Dropout(0.3), after="hidden")
ed.freeze("stem")
ed
"""


@pytest.mark.slow
def test_pictures_of_the_widget(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1180, "height": 1400})
    lab.new_notebook()
    lab.execute("application:toggle-left-area")
    lab.run_cell(BUILD, timeout=180_000)
    widget = region(lab.run_cell(EDIT))
    button(widget, "Unfold backbone").click()
    expect(toggle(widget, "backbone/conv1")).to_have_attribute("aria-checked", "false")
    expect(row(widget, "dropout")).to_contain_text("added")
    for path in ("stem", "backbone/conv1", "head"):
        expect(widget.get_by_role("img", name=f"Weights of {path}:")).to_be_visible()
    row(widget, "dropout").click(position={"x": 500, "y": 10})
    lab.page.mouse.move(0, 0)
    lab.screenshot("widget-light", widget)
    lab.set_theme(DARK)
    lab.screenshot("widget-dark", widget)
    lab.set_theme(LIGHT)
    button(widget, "Changes").click()
    expect(widget.get_by_role("button", name="Undo to 0", exact=True)).to_be_visible()
    lab.page.mouse.move(0, 0)
    lab.screenshots("widget-changes", widget)
    button(widget, "Changes").click()
    button(widget, "Details of hidden").click()
    expect(widget.get_by_role("img", name="Weights of hidden/kernel:")).to_be_visible()
    lab.page.mouse.move(0, 0)
    lab.screenshots("widget-detail", widget)
    button(widget, "Details of hidden").click()
    dialog = palette(widget, "Insert after flatten", "Dropout", rate="0.5")
    expect(button(dialog, "Apply")).to_be_enabled()
    lab.screenshots("widget-palette", dialog)
    dialog.get_by_role("button", name="Cancel").click()
    row(widget, "stem").hover()
    button(widget, "More actions for stem").click()
    widget.get_by_role("menuitem", name="Prune channels …").click()
    dialog = widget.get_by_role("dialog", name="Prune channels")
    expect(dialog).to_contain_text("'stem_norm' (BatchNormalization) has weights for each")
    expect(dialog.get_by_role("button", name="Apply")).to_be_enabled()
    lab.screenshots("widget-prune", dialog)
    dialog.get_by_role("button", name="Cancel").click()

    # What cannot be done, and a kernel that is gone.
    row(widget, "flatten").click(position={"x": 500, "y": 10})
    lab.page.keyboard.press("Delete")
    expect(widget.get_by_role("alert")).to_contain_text("no longer fit")
    lab.page.mouse.move(0, 0)
    lab.screenshots("widget-refused", widget)
    button(widget, "Close message for flatten").click()
    lab.restart_kernel()
    expect(widget.get_by_role("status", name="Messages")).to_contain_text("not live")
    lab.page.set_viewport_size({"width": 720, "height": 1400})
    lab.screenshots("widget-not-live", widget)


@pytest.mark.slow
def test_pictures_of_a_model_file(lab: Lab) -> None:
    made: dict[str, Any] = {}
    exec(BUILD, made)
    made["model"].save(lab.jupyter.root / "reader.keras")
    lab.page.set_viewport_size({"width": 1400, "height": 760})
    lab.execute("filebrowser:refresh")
    lab.page.locator(".jp-DirListing-item", has_text="reader.keras").dblclick()
    shown = lab.page.get_by_role("region", name="Keras model file")
    button(shown, "Unfold backbone").click()
    button(shown, "Details of backbone/conv1").click()
    expect(shown.get_by_role("img", name="Weights of backbone/conv1/kernel")).to_be_visible()
    expect(shown.get_by_role("img", name="Weights of head:")).to_be_attached()
    lab.page.mouse.move(0, 0)
    lab.screenshots("model-file")

    button(shown, "Edit").click()
    shown = lab.page.get_by_role("region", name="Keras model editor")
    expect(row(shown, "head")).to_be_visible(timeout=WAIT)
    button(shown, "Unfold backbone").click()
    row(shown, "hidden").get_by_text("hidden", exact=True).click()
    dialog = palette(shown, "Insert after hidden", "Dropout", rate="0.25")
    apply(dialog)
    toggle(shown, "stem").click()
    expect(row(shown, "dropout")).to_contain_text("added")
    expect(shown.get_by_role("img", name="Weights of head:")).to_be_attached()
    lab.page.mouse.move(0, 0)
    lab.screenshots("tab-file")


@pytest.mark.slow
def test_pictures_of_a_variable_in_a_tab(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1400, "height": 760})
    lab.new_notebook()
    lab.execute("application:toggle-left-area")
    lab.run_cell(BUILD, timeout=180_000)
    kernel = lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.id"
    )
    lab.execute("kerasedit:edit", kernel=kernel, variable="model", path="test.ipynb")
    shown = lab.page.get_by_role("region", name="Keras model editor")
    button(shown, "Unfold backbone").click()
    toggle(shown, "stem").click()
    expect(toggle(shown, "stem")).not_to_have_attribute("aria-busy", "true")
    lab.page.mouse.move(0, 0)
    lab.screenshots("tab-variable")


@pytest.mark.slow
def test_pictures_of_the_models_panel(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1180, "height": 860})
    lab.new_notebook(BUILD.strip())
    lab.execute("application:toggle-left-area")
    lab.run_all(timeout=180_000)
    lab.run_cell(
        "import kerasedit\n\n"
        "small = keras.Sequential([keras.Input((64,)), layers.Dense(10)])\n"
        "ed = kerasedit.Editor(model).freeze('stem*')\n"
        "ed.hand_back('model2')\n"
        "tuned = kerasedit.Editor(small)\n"
        "tuned.insert(layers.Dropout(0.3), before='dense')"
    )
    lab.execute("notebook:clear-all-cell-outputs")
    lab.execute("kerasedit:show-models")
    shown = lab.page.get_by_role("region", name="Keras models")
    button(shown, "Inspect model").click()
    expect(shown.get_by_role("gridcell", name="Details of model")).to_contain_text("Memory")
    lab.page.mouse.move(0, 0)
    lab.screenshots("models-panel")
