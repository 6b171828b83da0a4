"""What axe-core finds in every state of the widget, in each of JupyterLab's themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from .lab import DARK, LIGHT, Jupyter, Lab, open_lab
from .widget import button, palette, region, row, toggle

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"
CONTRAST = "JupyterLab Dark High Contrast"

BUILD = """
import keras, kerasedit, numpy as np
from keras import layers
keras.utils.set_random_seed(1)
inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same", name="conv"),
                          layers.ReLU(name="relu")], name="inner")
x = keras.Input((8, 8, 4), name="x")
y = layers.Add(name="skip")([inner(x), layers.Conv2D(4, 1, name="side")(x)]) * 2.0
y = layers.Flatten(name="flat")(y)
y = layers.Dense(6, name="\u05e9\u05db\u05d1\u05d4 dense " + "long " * 30)(y)
model = keras.Model(x, layers.Dense(3, name="head")(y), name="toy")
weights = model.get_layer("head").get_weights()
weights[0][0, 0] = np.nan
model.get_layer("head").set_weights(weights)
model.compile("adam", "mse")
ed = kerasedit.Editor(model)
ed.insert(layers.Dropout(0.5), after="flat").freeze("side")
ed
"""


@pytest.fixture(scope="module")
def shown(jupyter: Jupyter, browser: Browser) -> Iterator[tuple[Lab, Locator]]:
    with open_lab(browser, jupyter) as lab:
        lab.new_notebook()
        widget = region(lab.run_cell(BUILD, timeout=180_000))
        lab.page.add_script_tag(path=AXE)
        yield lab, widget


def faults(lab: Lab, where: str) -> list[str]:
    """What is wrong there, a line each."""
    found: list[dict[str, Any]] = lab.page.evaluate(
        """async where => {
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
            // A page of a host has its own landmarks and headings.
            const rules = Object.fromEntries(
                ["region", "heading-order", "landmark-unique"].map(rule => [rule, { enabled: false }])
            );
            // Motion is over before colours are looked at.
            await Promise.all(document.getAnimations().map(a => a.finished.catch(() => {})));
            const { violations } = await axe.run(where, { runOnly: tags, rules });
            return violations;
        }""",
        where,
    )
    return [
        f"{fault['id']}: {node['html'][:200]} {node['failureSummary']}"
        for fault in found
        for node in fault["nodes"]
    ]


def check(lab: Lab, state: str) -> None:
    for theme in (DARK, CONTRAST, LIGHT):
        lab.set_theme(theme)
        assert faults(lab, ".ke-root") == [], f"{state}, {theme}"


def test_the_list(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    button(widget, "Unfold inner").click()
    row(widget, "flat").click()
    row(widget, "head").click(modifiers=["Shift"])
    check(lab, "list")


def test_a_filter_that_finds_nothing(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    box = widget.get_by_role("searchbox", name="Filter layers")
    box.fill("nothing of that name")
    expect(
        widget.get_by_text("No layer matches the filter: all of its words have to fit.")
    ).to_be_visible()
    check(lab, "nothing found")
    box.fill("")


def test_details(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    for path, argument in (("head", "units"), ("dropout", "rate")):
        button(widget, f"Details of {path}").click()
        name = f"Details of {path}"
        detail = row(widget, path).get_by_role("gridcell", name=name, exact=True)
        detail.get_by_text("More arguments").click()
        check(lab, f"details of {path}")
        detail.get_by_label(argument, exact=True).fill("0.75")
        expect(button(detail, f"Apply changes to {path}")).to_be_visible()
        check(lab, f"other arguments for {path}")
        button(widget, f"Details of {path}").click()


def test_the_panels_of_the_bar(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    for name in ("Changes", "Code", "Save"):
        button(widget, name).click()
        expect(button(widget, name)).to_have_attribute("aria-expanded", "true")
        check(lab, name)
        button(widget, name).click()


def test_the_changes(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    button(widget, "Changes").click()
    for tab, text in (("History", "ed.insert"), ("Differences", "Added"), ("Script", "def build")):
        widget.get_by_role("tab", name=tab).click()
        expect(widget.get_by_role("tabpanel", name=tab)).to_contain_text(text)
        check(lab, tab)
    button(widget, "Close code").click()


def test_the_words_of_the_filter(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    button(widget, "Filter by").click()
    widget.get_by_role("menuitemcheckbox", name="Frozen").click()
    check(lab, "filter menu")
    lab.page.keyboard.press("Escape")
    widget.get_by_role("searchbox", name="Filter layers").fill("")


def test_what_an_edit_would_do(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    told = widget.get_by_role("tooltip")
    for theme in (DARK, CONTRAST, LIGHT):
        lab.set_theme(theme)
        for path in ("dropout", "flat", "head"):
            row(widget, path).hover()
            button(widget, f"Remove {path}").hover()
            expect(told).to_be_visible()
            assert faults(lab, ".ke-root") == [], f"removal of {path}, {theme}"
            lab.page.keyboard.press("Escape")
            expect(told).to_have_count(0)


def test_the_palette(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    dialog = palette(widget, "Insert after flat", "Dense", units="256")
    expect(button(dialog, "Apply")).to_be_enabled()
    check(lab, "palette")
    button(dialog, "Cancel").click()


def test_a_menu_and_a_refusal(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    button(widget, "More actions for flat").click()
    expect(widget.get_by_role("menu")).to_be_visible()
    check(lab, "menu")
    lab.page.keyboard.press("Escape")
    button(widget, "Remove flat").click()
    expect(widget.get_by_role("alert")).to_be_visible()
    check(lab, "refusal")
    button(widget, "Close message for flat").click()


def test_a_new_name(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    row(widget, "flat").focus()
    lab.page.keyboard.press("F2")
    field = widget.get_by_role("textbox", name="New name of flat")
    field.fill("head")
    expect(field).to_have_attribute("aria-invalid", "true")
    check(lab, "a name that is taken")
    lab.page.keyboard.press("Escape")


def test_without_motion_in_colours_of_the_system(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    lab.page.emulate_media(reduced_motion="reduce", forced_colors="active")
    try:
        # As long as the kernel has not answered.
        toggle(widget, "head").evaluate("it => it.setAttribute('aria-busy', 'true')")
        moving = widget.evaluate(
            """root => [root, ...root.querySelectorAll("*")].flatMap(element =>
                [null, "::before", "::after"].filter(part => {
                    const { animationName, transitionDuration } = getComputedStyle(element, part);
                    return animationName !== "none" || transitionDuration !== "0s";
                }).map(part => element.className + (part ?? "")))"""
        )
        assert moving == []
        toggle(widget, "head").evaluate("it => it.setAttribute('aria-busy', 'false')")
        look = """it => {
            const [track, knob] = [getComputedStyle(it), getComputedStyle(it, "::before")];
            return [track.backgroundColor, knob.backgroundColor, knob.insetInlineStart];
        }"""
        looks = {path: toggle(widget, path).evaluate(look) for path in ("side", "head")}
        assert all(track != knob for track, knob, _ in looks.values())
        assert all(off != on for off, on in zip(looks["side"], looks["head"], strict=True))
        # What is drawn has the system's colours too, whatever those of the page are.
        drawn = []
        for theme in (DARK, LIGHT):
            lab.set_theme(theme)
            drawn += widget.evaluate(
                """root => [getComputedStyle(root).backgroundColor,
                    getComputedStyle(root.querySelector(".ke-histogram path")).fill]"""
            )
        ground, bars, *others = drawn
        assert ground != bars
        assert others == [ground, bars]
        assert faults(lab, ".ke-root") == []
        lab.screenshot("forced-colors", widget)
    finally:
        lab.page.emulate_media(reduced_motion="no-preference", forced_colors="none")


def test_a_training_that_went_wrong(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    lab.run_cell(
        "ed.model.compile('adam', 'mse')\n"
        "x, y = np.ones((4, 8, 8, 4)), np.ones((4, 3))\n"
        "ed.model.fit(x, y, verbose=0, callbacks=[ed.live()])",
        timeout=120_000,
    )
    training = widget.get_by_role("region", name="Training")
    expect(training.get_by_role("alert").first).to_contain_text("NaN")
    check(lab, "alert of a training")


def test_a_kernel_that_is_gone(shown: tuple[Lab, Locator]) -> None:
    lab, widget = shown
    lab.restart_kernel()
    expect(button(widget, "Undo")).to_have_attribute("aria-disabled", "true")
    check(lab, "no kernel")
