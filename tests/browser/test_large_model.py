"""A model of 800 layers: all of it can be reached, and nothing of it is ever blank."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .lab import Lab
from .widget import fling, region, row

BUILD = """
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, kerasedit
from keras import layers
nested = keras.Sequential(
    [keras.Input((4,)), layers.Dense(4, name="inner_a"), layers.Dense(4, name="inner_b")],
    name="nested",
)
x = inputs = keras.Input((4,), name="start")
for i in range(400):
    x = layers.ReLU(name=f"relu_{i}")(x)
    x = nested(x) if i == 2 else layers.Dense(4, name=f"dense_{i}")(x)
model = keras.Model(inputs, x, name="large")
kerasedit.Editor(model)
"""
SHOWN = 801  # what is inside the nested model is folded


@pytest.fixture
def widget(lab: Lab) -> Locator:
    lab.new_notebook()
    found = region(lab.run_cell(BUILD, timeout=120_000))
    expect(row(found, "dense_0")).to_be_visible()
    return found


def test_a_large_model(lab: Lab, widget: Locator) -> None:
    keys, wheel = lab.page.keyboard, lab.page.mouse.wheel
    grid = widget.get_by_role("treegrid", name="Layers")
    expect(grid).to_have_attribute("aria-rowcount", str(SHOWN))

    # Only what is near the view is in the page, and yet no part of the view is ever empty.
    assert grid.get_by_role("row").count() < 80
    for step in (120, 450):
        seen = fling(widget, step)
        assert seen.blank == 0, seen
    grid.hover()
    for _ in range(10):
        wheel(0, 2500)
    expect(row(widget, "dense_399")).to_be_in_viewport()
    expect(row(widget, "dense_399")).to_have_attribute("aria-rowindex", str(SHOWN))
    expect(widget.get_by_role("img", name="Weights of dense_399")).to_be_visible()

    # By keyboard.
    row(widget, "dense_399").click()
    keys.press("Home")
    expect(row(widget, "start")).to_be_focused()
    expect(row(widget, "start")).to_be_in_viewport()
    keys.press("PageDown")
    expect(row(widget, "relu_7")).to_be_focused()
    keys.press("End")
    expect(row(widget, "dense_399")).to_be_focused()
    expect(row(widget, "dense_399")).to_be_in_viewport()
    keys.press("PageUp")
    expect(row(widget, "dense_399")).not_to_be_focused()
    keys.press("Home")

    # A nested model, unfolded by mouse and by keyboard.
    nested, inner = row(widget, "nested"), row(widget, "nested/inner_a")
    expect(nested).to_have_attribute("aria-expanded", "false")
    expect(nested).to_have_attribute("aria-level", "1")
    nested.get_by_role("button", name="Unfold nested").click()
    expect(inner).to_have_attribute("aria-level", "2")
    index = int(nested.get_attribute("aria-rowindex") or 0)
    expect(inner).to_have_attribute("aria-rowindex", str(index + 2))
    expect(grid).to_have_attribute("aria-rowcount", str(SHOWN + 3))
    nested.get_by_role("button", name="Fold nested", exact=True).click()
    expect(inner).to_have_count(0)
    nested.get_by_text("nested", exact=True).click()
    keys.press("ArrowRight")
    expect(nested).to_have_attribute("aria-expanded", "true")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    expect(inner).to_be_focused()
    keys.press("ArrowLeft")
    expect(nested).to_be_focused()
    keys.press("ArrowLeft")
    expect(nested).to_have_attribute("aria-expanded", "false")
    expect(grid).to_have_attribute("aria-rowcount", str(SHOWN))

    # The filter looks inside of folded models, too.
    search = widget.get_by_role("searchbox", name="Filter layers")
    search.fill("inner")
    expect(grid).to_have_attribute("aria-rowcount", "2")
    expect(inner).to_have_attribute("aria-rowindex", "1")
    search.fill("dense_39?")
    expect(grid).to_have_attribute("aria-rowcount", "10")
    search.fill("")
    expect(grid).to_have_attribute("aria-rowcount", str(SHOWN))
