"""A layer looked at closely, and given other arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from .lab import DARK, LIGHT, Jupyter, Lab, open_lab
from .widget import button, palette, python, region, row

BUILD = """
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, numpy as np, kerasedit
from keras import layers
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((8, 8, 1)),
    layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1",
                  kernel_regularizer=keras.regularizers.L2(0.02)),
    layers.BatchNormalization(name="norm"),
    layers.MaxPooling2D(name="pool"),
    layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
    layers.GlobalAveragePooling2D(name="mean"),
    layers.Dropout(0.3, name="drop"),
    layers.Dense(10, activation="softmax", name="head"),
], name="digits")
kernel, bias = model.get_layer("conv1").get_weights()
kernel[..., 3] = kernel[..., 7] = 0
bias[2], bias[5] = np.nan, np.inf
model.get_layer("conv1").set_weights([kernel, bias])
images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
None
"""


@pytest.fixture(scope="module")
def made(jupyter: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, jupyter) as lab:
        lab.new_notebook()
        lab.run_cell(BUILD, timeout=180_000)
        yield lab


@pytest.fixture
def widget(made: Lab) -> Locator:
    made.execute("notebook:clear-all-cell-outputs")
    shown = region(made.run_cell("ed = kerasedit.Editor(model)\ned"))
    expect(row(shown, "conv1")).to_be_visible()
    return shown


def open_detail(widget: Locator, path: str) -> Locator:
    button(widget, f"Details of {path}").click()
    return widget.get_by_role("gridcell", name=f"Details of {path}", exact=True)


def histogram(detail: Locator, path: str) -> Locator:
    return detail.get_by_role("img", name=f"Weights of {path}: ")


def drawn(detail: Locator, path: str) -> str | None:
    return histogram(detail, path).locator("path.ke-plot-now").get_attribute("d")


def test_the_weights_of_a_layer_one_by_one(made: Lab, widget: Locator) -> None:
    detail = open_detail(widget, "conv1")

    kernel = detail.get_by_role("region", name="Weight conv1/kernel", exact=True)
    figures = kernel.get_by_role("table", name="Figures of conv1/kernel")
    wanted = python(
        made, "k = model.get_layer('conv1').get_weights()[0]; print(f'{k.std():.3g} {k.max():.3g}')"
    )
    std, most = wanted.split()
    expect(figures.get_by_role("row", name="std")).to_contain_text(std)
    expect(figures.get_by_role("row", name="zeros")).to_contain_text("18 (12.5 %)")
    expect(kernel).to_contain_text("2 of 16 filters have nothing but zeros: 3, 7.")
    expect(kernel).to_contain_text("As in the source")
    index = python(made, "print(list(map(int, np.unravel_index(k.argmax(), k.shape))))")
    expect(kernel.get_by_role("paragraph").filter(has_text="Largest")).to_contain_text(
        f"{most} {index}"
    )

    # NaN and Inf are loud, and where the first of them is.
    bias = detail.get_by_role("region", name="Weight conv1/bias", exact=True)
    expect(bias).to_contain_text("1 NaN and 1 Inf among 16 values, the first at [2]")

    linear = drawn(detail, "conv1/kernel")
    detail.get_by_role("checkbox", name="Log scale").check()
    expect(histogram(detail, "conv1/kernel").locator("path.ke-plot-now")).not_to_have_attribute(
        "d", str(linear)
    )
    expect(kernel).to_contain_text(", log")

    button(detail, "Copy path of conv1/kernel").click()
    expect(widget.get_by_role("status", name="Messages")).to_contain_text("Copied conv1/kernel")
    for theme, name in ((LIGHT, "light"), (DARK, "dark")):
        made.set_theme(theme)
        made.screenshot(f"detail-{name}", widget)
    made.set_theme(LIGHT)


def test_the_source_lies_over_what_was_changed(made: Lab, widget: Locator) -> None:
    detail = open_detail(widget, "conv2")
    expect(histogram(detail, "conv2/kernel").locator("path.ke-plot-then")).to_have_count(0)

    made.run_cell("ed.scale_weights('conv2/kernel', 0.5)\nNone")

    plot = histogram(detail, "conv2/kernel")
    expect(plot.locator("path.ke-plot-then")).to_be_visible()
    expect(plot).to_have_attribute("aria-label", re.compile("In the source conv2.kernel: mean"))
    figures = detail.get_by_role("table", name="Figures of conv2/kernel")
    half, whole = python(
        made,
        "k = model.get_layer('conv2').get_weights()[0]; print(f'{k.max() / 2:.3g} {k.max():.3g}')",
    ).split()
    cells = figures.get_by_role("row", name="max").get_by_role("cell")
    assert cells.all_inner_texts() == [half, whole]
    expect(detail.get_by_role("region", name="Weight conv2/bias")).to_contain_text(
        "As in the source"
    )
    made.screenshot("detail-source", widget)
    made.run_cell("ed.undo()\nNone")
    expect(plot.locator("path.ke-plot-then")).to_have_count(0)


def test_arguments_are_changed_once_the_kernel_says_how(made: Lab, widget: Locator) -> None:
    detail = open_detail(widget, "conv1")
    filters = detail.get_by_label("filters", exact=True)
    expect(filters).to_have_value("16")
    expect(detail.get_by_label("padding", exact=True)).to_have_value("same")
    apply = button(detail, "Apply changes to conv1")
    expect(apply).to_have_count(0)

    # What is no number never leaves the browser; what Keras refuses is told in its words.
    filters.fill("many")
    expect(detail).to_contain_text("A whole number, please.")
    expect(apply).to_have_attribute("aria-disabled", "true")
    filters.fill("-3")
    expect(detail.get_by_role("status", name="Preview")).to_contain_text("cannot be made")
    expect(apply).to_have_attribute("aria-disabled", "true")

    filters.fill("8")
    preview = detail.get_by_role("status", name="Preview")
    expect(preview).to_contain_text("no longer fit")
    expect(apply).to_have_attribute("aria-disabled", "true")
    detail.get_by_label("Weights that no longer fit").select_option("copy what overlaps")
    expect(preview).to_contain_text("Copied in part")
    expect(preview).to_contain_text("ed.configure('conv1', filters=8, on_mismatch='slice')")
    made.screenshot("detail-arguments", widget)
    apply.click()

    expect(row(widget, "conv1")).to_contain_text("(None, 8, 8, 8)")
    expect(apply).to_have_count(0)
    expect(filters).to_have_value("8")
    expect(detail).to_contain_text("source (3, 3, 1, 16)")
    assert python(
        made,
        "k, old = (m.get_layer('conv1').get_weights()[0] for m in (ed.model, model))\n"
        "print(k.shape, np.array_equal(k, old[..., :8]), ed.model.predict(images, verbose=0).shape)",
    ) == "(3, 3, 1, 8) True (4, 10)"  # fmt: skip


def test_values_that_have_names_and_values_that_are_written_out(made: Lab, widget: Locator) -> None:
    detail = open_detail(widget, "conv1")
    detail.get_by_text("More arguments").click()
    regularizer = detail.get_by_label("kernel_regularizer", exact=True)
    expect(regularizer).to_have_value('{"class_name":"L2","config":{"l2":0.02}}')
    expect(detail.get_by_label("kernel_initializer", exact=True)).to_have_value("glorot_uniform")

    detail.get_by_label("kernel_initializer", exact=True).select_option("he_normal")
    regularizer.select_option("other …")
    expect(regularizer).to_be_focused()
    regularizer.fill('{"class_name": "L1", "config": {"l1": 0.5}}')
    detail.get_by_label("activation", exact=True).select_option("gelu")
    detail.get_by_label("activation", exact=True).focus()
    # What an argument is for is said to eyes and to screen readers.
    expect(detail.locator(".ke-told")).to_contain_text("activation Activation function.")
    expect(regularizer).to_have_accessible_description(re.compile("regularizer", re.I))
    button(detail, "Apply changes to conv1").click()

    expect(button(detail, "Apply changes to conv1")).to_have_count(0)
    assert python(
        made,
        "layer = ed.model.get_layer('conv1')\n"
        "print(layer.activation.__name__, float(layer.kernel_regularizer.l1),"
        " type(layer.kernel_initializer).__name__,"
        " np.array_equal(layer.get_weights()[0], model.get_layer('conv1').get_weights()[0]))",
    ) == "gelu 0.5 HeNormal True"  # fmt: skip


def test_by_keyboard_alone(made: Lab, widget: Locator) -> None:
    keys = made.page.keyboard
    row(widget, "drop").focus()
    keys.press("Enter")
    detail = widget.get_by_role("gridcell", name="Details of drop", exact=True)
    rate = detail.get_by_label("rate", exact=True)
    expect(rate).to_have_value("0.3")
    for _ in range(20):
        if rate.evaluate("field => field.matches(':focus')"):
            break
        keys.press("Tab")
    expect(rate).to_be_focused()
    keys.press("Control+a")
    keys.type("0.25")
    expect(detail.get_by_role("status", name="Preview")).to_contain_text("rate=0.25")
    keys.press("Enter")
    expect(button(detail, "Apply changes to drop")).to_have_count(0)
    expect(rate).to_have_value("0.25")
    assert python(made, "print(ed.model.get_layer('drop').rate)") == "0.25"

    # Apply goes with what it was for.
    rate.fill("0.5")
    apply = button(detail, "Apply changes to drop")
    expect(apply).to_be_enabled()
    apply.focus()
    keys.press("Enter")
    expect(apply).to_have_count(0)
    assert detail.evaluate("cell => cell.contains(document.activeElement)")

    rate.focus()
    keys.press("Escape")
    expect(detail).to_have_count(0)
    expect(row(widget, "drop")).to_be_focused()


def test_a_replacement_starts_from_the_old_arguments(made: Lab, widget: Locator) -> None:
    dialog = palette(widget, "Replace conv2", "SeparableConv2D")
    expect(dialog.get_by_label("filters", exact=True)).to_have_value("32")
    expect(dialog.get_by_label("kernel_size", exact=True)).to_have_value("3")
    expect(dialog.get_by_label("padding", exact=True)).to_have_value("same")
    expect(dialog).to_contain_text(
        "Taken over from Conv2D: filters, kernel_size, padding, activation"
    )
    apply = button(dialog, "Apply")
    expect(apply).to_be_enabled()
    made.screenshot("palette-replace")
    apply.click()
    expect(dialog).to_be_hidden()
    assert python(
        made,
        "layer = ed.model.layers[3]\n"
        "print(type(layer).__name__, layer.filters, layer.kernel_size, layer.activation.__name__,"
        " ed.model.predict(images, verbose=0).shape)",
    ) == "SeparableConv2D 32 (3, 3) relu (4, 10)"  # fmt: skip


def test_two_views_on_a_page_and_a_narrow_one(made: Lab, widget: Locator) -> None:
    narrow = region(made.run_cell("import ipywidgets\nipywidgets.VBox([ed.widget()],"
                                  " layout={'width': '340px'})"))  # fmt: skip
    for view in (widget, narrow):
        rate = open_detail(view, "drop").get_by_label("rate", exact=True)
        rate.fill("0.5")
        # A label is that of its own view's field.
        open_detail(view, "drop")
    open_detail(narrow, "conv1")
    expect(histogram(narrow, "conv1/kernel")).to_be_visible()
    box, inside = (
        part.evaluate("e => [e.scrollWidth, e.clientWidth]")
        for part in (narrow, narrow.locator(".ke-detail"))
    )
    assert box[0] <= box[1] and inside[0] <= inside[1]
    made.screenshot("detail-narrow", narrow)


def test_weights_are_followed_while_they_are_trained(made: Lab) -> None:
    made.execute("notebook:clear-all-cell-outputs")
    shown = region(
        made.run_cell(
            "line = keras.Sequential([keras.Input((4,)), layers.Dense(8, name='wide'),"
            " layers.Dense(1, name='out')])\n"
            "ed = kerasedit.Editor(line)\n"
            "ed.model.compile('sgd', 'mse')\n"
            "ed"
        )
    )
    detail = open_detail(shown, "wide")
    expect(detail.get_by_role("region", name="Weight wide/kernel")).to_contain_text(
        "As in the source"
    )
    made.run_cell(
        "x = np.random.default_rng(0).normal(size=(64, 4))\n"
        "ed.model.fit(x, x.sum(1), epochs=100_000, verbose=0, callbacks=[ed.live()])",
        wait=False,
    )

    plot = histogram(detail, "wide/kernel")
    expect(plot.locator("path.ke-plot-then")).to_be_visible()
    expect(plot).not_to_have_attribute("aria-label", plot.get_attribute("aria-label") or "")

    made.interrupt()
    made.cells_done()
    most = python(made, "print(f'{ed.model.get_layer(\"wide\").get_weights()[0].max():.3g}')")
    figures = detail.get_by_role("table", name="Figures of wide/kernel")
    expect(figures.get_by_role("row", name="max").get_by_role("cell").first).to_have_text(most)
