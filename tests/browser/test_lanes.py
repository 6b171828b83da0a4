"""The lanes beside the list: what a person sees of the graph, and how they walk along it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .lab import DARK, LIGHT, Lab
from .widget import button, region, row

UNET = """
import os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras, kerasedit
from keras import layers
def conv(x, filters, name):
    return layers.Conv2D(filters, 3, padding="same", name=name)(x)
x = image = keras.Input((32, 32, 3), name="image")
skips = []
for n in range(3):
    x = conv(x, 4 * 2**n, f"down{n}")
    skips.append(x)
    x = layers.MaxPooling2D(name=f"pool{n}")(x)
start = keras.Input((4, 4, 16), name="start")
body = layers.Add(name="skip")([start, conv(conv(start, 16, "first"), 16, "second")])
x = keras.Model(start, body, name="bottom")(x)
for n in (2, 1, 0):
    x = layers.UpSampling2D(name=f"up{n}")(x)
    x = layers.Concatenate(name=f"join{n}")([x, skips[n]])
    x = conv(x, 4 * 2**n, f"mix{n}")
unet = keras.Model(image, conv(x, 1, "mask"), name="unet")
kerasedit.Editor(unet)
"""
SIAMESE = """
start = keras.Input((32, 32, 3), name="photo")
x = conv(start, 8, "conv1")
x = layers.Add(name="skip")([x, conv(layers.ReLU(name="relu")(x), 8, "conv2")])
pooled = layers.GlobalAveragePooling2D(name="pool")(x)
encoder = keras.Model(start, [layers.Dense(16, name="embed")(pooled), pooled], name="encoder")
left, right = keras.Input((32, 32, 3), name="left"), keras.Input((32, 32, 3), name="right")
project = layers.Dense(16, name="project")
(a, pooled_a), (b, pooled_b) = encoder(left), encoder(right)
score = layers.Dense(1, name="score")(keras.ops.abs(project(a) - project(b)))
siamese = keras.Model([left, right], [score, layers.Concatenate(name="pooled")([pooled_a, pooled_b])])
kerasedit.Editor(siamese)
"""
# What is in view of each: its most tangled part.
APPLICATIONS = {
    "NASNetMobile": 60,
    "DenseNet201": 120,
    "InceptionResNetV2": 20,
    "ResNet50": 30,
    "EfficientNetB0": 60,
}


def lanes(widget: Locator, path: str) -> Locator:
    return row(widget, path).locator(".ke-lanes").first


def lit(widget: Locator, path: str) -> Locator:
    return row(widget, path).locator(".ke-line-in, .ke-line-out")


def test_a_person_follows_the_graph_of_a_u_net(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1400, "height": 1400})
    lab.new_notebook()
    widget = region(lab.run_cell(UNET, timeout=120_000))
    grid, keys = widget.get_by_role("treegrid", name="Layers"), lab.page.keyboard
    expect(row(widget, "image")).to_be_visible()
    count = int(grid.get_attribute("aria-rowcount") or 0)
    assert count == 1 + 6 + 1 + 9 + 1
    grid.evaluate("grid => { grid.scrollTop = 90; }")
    expect(grid.locator(".ke-node")).to_have_count(count)

    # In words.
    expect(row(widget, "join0")).to_have_accessible_description("from down0, up0; to mix0")
    expect(row(widget, "image")).to_have_accessible_description("to down0")
    expect(row(widget, "mask")).to_have_accessible_description("from mix0")

    # What feeds a row and what it feeds lights up, under the pointer and with the keyboard.
    expect(grid.locator(".ke-line-in, .ke-line-out")).to_have_count(0)
    row(widget, "join1").hover(position={"x": 300, "y": 10})
    for path, mark in (("down1", "↓ feeds it"), ("up1", "↓ feeds it"), ("mix1", "↑ takes it")):
        expect(row(widget, path)).to_contain_text(mark)
    expect(grid.locator(".ke-lane-mark")).to_have_count(3)
    for path in ("down1", "pool1", "bottom", "join2", "up1"):
        expect(lit(widget, path)).to_have_count(1)  # the long skip passes by
    for path in ("pool0", "up0", "mask"):
        expect(lit(widget, path)).to_have_count(0)
    lab.page.mouse.move(0, 0)
    expect(grid.locator(".ke-lane-mark")).to_have_count(0)

    row(widget, "join1").click(position={"x": 300, "y": 10})
    keys.press("Alt+ArrowUp")
    expect(row(widget, "up1")).to_be_focused()
    expect(row(widget, "join1")).to_contain_text("takes it")
    keys.press("Alt+ArrowDown")
    keys.press("Alt+Shift+ArrowUp")
    expect(row(widget, "down1")).to_be_focused()
    keys.press("Alt+ArrowDown")
    expect(row(widget, "pool1")).to_be_focused()
    keys.press("Alt+ArrowUp")
    keys.press("Alt+Shift+ArrowDown")
    expect(row(widget, "join1")).to_be_focused()

    # A line leads to where it comes from.
    box = lanes(widget, "up1").bounding_box()
    assert box
    lab.page.mouse.move(box["x"] + 9, box["y"] + 5)
    expect(row(widget, "pool0")).to_contain_text("takes it")
    expect(row(widget, "join0")).to_contain_text("takes it")
    lab.page.mouse.down()
    lab.page.mouse.up()
    expect(row(widget, "down0")).to_be_focused()

    # Inside of the nested model the lanes go on; one that passes it by goes past its rows.
    button(widget, "Unfold bottom").click()
    expect(row(widget, "bottom")).to_have_accessible_description("from pool2; to bottom/start")
    expect(row(widget, "up2")).to_have_accessible_description("from bottom/skip; to join2")
    expect(row(widget, "bottom/start")).to_have_accessible_description(
        "from bottom; to bottom/first, bottom/skip"
    )

    # A row that is open is crossed by the lines that pass it.
    button(widget, "Details of bottom/first").click()
    opened = row(widget, "bottom/first")
    expect(opened.locator(".ke-lanes-on")).to_be_visible()
    heights = """row => ["", ".ke-lanes", ".ke-lanes-on"].map(
        part => (part ? row.querySelector(part) : row).getBoundingClientRect().height)"""
    whole, *parts = opened.evaluate(heights)
    assert abs(whole - sum(parts)) < 2
    button(widget, "Details of bottom/first").click()

    # With a filter: what lies between is told as a way that is not shown.
    widget.get_by_role("searchbox", name="Filter layers").fill("join")
    expect(row(widget, "join1")).to_have_accessible_description(
        "from join2 (indirectly); to join0 (indirectly)"
    )
    expect(grid.locator(".ke-indirect")).not_to_have_count(0)
    row(widget, "join1").hover(position={"x": 300, "y": 10})
    expect(row(widget, "join2")).to_contain_text("leads to it")
    expect(row(widget, "join0")).to_contain_text("follows it")


@pytest.mark.slow
def test_pictures_of_graphs(lab: Lab) -> None:
    """Look at them: artifacts/screenshots/lanes-*.png."""
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    lab.new_notebook()
    lab.execute("application:toggle-left-area")

    def take(name: str, widget: Locator, path: str) -> None:
        for theme in (DARK, LIGHT):
            lab.set_theme(theme)
            row(widget, path).hover(position={"x": 400, "y": 10})
            expect(widget.locator(".ke-looking")).to_be_visible()
            lab.screenshot(f"lanes-{name}-{theme.split()[-1].lower()}", widget)
            lab.page.mouse.move(0, 0)

    take("unet", region(lab.run_cell(UNET, timeout=120_000)), "join1")
    widget = region(lab.run_cell(SIAMESE))
    take("siamese", widget, "encoder")
    button(widget, "Unfold encoder").click()
    take("siamese-open", widget, "encoder/skip")
    for name, top in APPLICATIONS.items():
        lab.run_cell(f"model = keras.applications.{name}(weights=None)", timeout=180_000)
        widget = region(lab.run_cell("kerasedit.Editor(model)", timeout=120_000))
        grid = widget.get_by_role("treegrid", name="Layers")
        expect(grid.get_by_role("row").first).to_be_visible()
        grid.evaluate("(grid, top) => { grid.scrollTop = top * 30; }", top)
        shown = grid.locator(f'[role=row][aria-rowindex="{top + 8}"]')
        expect(shown).to_be_visible()
        width = lanes(widget, shown.get_attribute("aria-label") or "").bounding_box()
        assert width and width["width"] < 150, "the names keep their room"
        take(name, widget, shown.get_attribute("aria-label") or "")
