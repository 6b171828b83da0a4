"""What an ablation found, as a column of the list."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from .lab import Lab
from .test_accessibility import AXE, check
from .widget import button, python, region, row

BUILD = """
import keras, kerasedit, numpy as np
from keras import layers
keras.utils.set_random_seed(1)
part = keras.Input((12,), name="part")
block = keras.Model(part, layers.Dense(12, activation="relu", name="first")(part), name="block")
inputs = keras.Input((12,), name="x")
x = layers.Dense(12, activation="relu", name="hidden")(inputs)
x = layers.Add(name="add")([x, layers.Dense(12, name="side")(x)])
x = layers.Dropout(0.5, name="drop")(block(x))
model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x), name="toy")
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
data = np.random.default_rng(0).normal(size=(200, 12)).astype("float32")
labels = data[:, :4].argmax(1)
model.fit(data, labels, epochs=20, verbose=0)
ed = kerasedit.Editor(model)
found = kerasedit.ablate(ed, data, labels, metric="accuracy", edits="reinitialize", verbose=False)
widget = ed.widget()
widget.show_ablation(found)
"""


def score(widget: Locator, path: str) -> Locator:
    return row(widget, path).get_by_role("gridcell", name="accuracy lost")


def test_an_ablation_is_a_column_that_follows_its_layers(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1240, "height": 900})
    lab.new_notebook()
    lab.execute("application:toggle-left-area")
    widget = region(lab.run_cell(BUILD, timeout=180_000))
    told = python(lab, "print(found.by_layer()['hidden'])")
    expect(score(widget, "hidden")).to_have_text(f"+{float(told):.3g}")
    expect(score(widget, "hidden")).to_have_attribute("title", f"accuracy lost: +{float(told):.3g}")
    expect(score(widget, "drop")).to_have_count(0)
    button(widget, "Unfold block").click()
    expect(score(widget, "block/first")).to_be_visible()

    bars = widget.locator(".ke-score-bar > :last-child")
    worst = max(range(bars.count()), key=lambda n: bars.nth(n).evaluate("b => b.offsetWidth"))
    numbers = widget.locator(".ke-score .ke-number").all_inner_texts()
    values = [float(text.replace("\u2212", "-")) for text in numbers]
    assert abs(values[worst]) == max(map(abs, values)) > 0

    lab.page.mouse.move(0, 0)
    lab.page.evaluate("document.activeElement.blur()")
    lab.page.add_script_tag(path=AXE)
    lab.screenshots("widget-ablation", widget)
    check(lab, "ablation")

    widget.get_by_role("searchbox", name="Filter layers").fill("is:ablated")
    expect(row(widget, "drop")).to_have_count(0)
    expect(row(widget, "hidden")).to_be_visible()
    widget.get_by_role("searchbox", name="Filter layers").fill("")

    before = score(widget, "hidden").inner_text()
    python(lab, "ed.rename('hidden', 'wide');")
    expect(score(widget, "wide")).to_have_text(before)
    button(widget, "Remove wide").click()
    expect(row(widget, "wide")).to_have_count(0)
    button(widget, "Undo").click()
    expect(score(widget, "wide")).to_have_text(before)

    # Where there is no room, the columns that tell of the layers themselves stay.
    lab.page.set_viewport_size({"width": 780, "height": 900})
    expect(score(widget, "wide")).to_be_hidden()
    expect(row(widget, "wide").get_by_text("Dense", exact=True)).to_be_visible()
    lab.page.set_viewport_size({"width": 1240, "height": 900})
    expect(score(widget, "wide")).to_be_visible()

    python(lab, "widget.show_ablation(None);")
    expect(score(widget, "wide")).to_have_count(0)
    expect(row(widget, "wide")).to_be_visible()
