"""The ground that the other browser tests stand on: cells run, widgets render, themes change."""

from __future__ import annotations

from playwright.sync_api import expect

from .lab import DARK, Lab

WIDGET = """
import anywidget

class Hello(anywidget.AnyWidget):
    _esm = "export default { render({ el }) { el.textContent = 'hello from a widget'; } }"

Hello()
"""


def test_a_cell_runs(lab: Lab) -> None:
    lab.new_notebook()

    lab.run_cell("print(1 + 1)")

    assert lab.output_text() == "2"


def test_a_saved_notebook_runs_from_top_to_bottom(lab: Lab) -> None:
    lab.new_notebook("a = 20", "a + 1")

    lab.run_all()

    assert lab.output_text() == "21"


def test_a_widget_renders_in_both_themes(lab: Lab) -> None:
    lab.new_notebook()

    output = lab.run_cell(WIDGET)

    expect(output.get_by_text("hello from a widget")).to_be_visible()
    lab.screenshot("lab-fixture-light")
    lab.set_theme(DARK)
    expect(output.get_by_text("hello from a widget")).to_be_visible()
    lab.screenshot("lab-fixture-dark")


def test_the_theme_of_another_test_is_gone(lab: Lab) -> None:
    expect(lab.page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
