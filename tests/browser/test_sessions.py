"""What happens to a widget in a session of hours: kernels die, cells run again, pages come and go.

Not here, as they are part of other stories: clicks while the kernel is busy, a restarted kernel
(test_editor_actions), a page that is loaded anew (test_editor_story), also in the middle of a
training (test_training).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from .lab import Jupyter, Lab, open_lab
from .test_accessibility import AXE, check
from .test_editor_actions import BUILD, NAMES
from .widget import apply, button, messages, palette, python, region, row, toggle

SAVE_STATE = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"

LONG = """
deep = keras.Sequential(
    [keras.Input((4,)), *(layers.Dense(4, name=f"d{n}") for n in range(40))], name="deep"
)
deep.compile("adam", "mse")
ed = kerasedit.Editor(deep)
ed
"""
REPLACE = """
def replace(old, new):
    ed.replace(old, layers.Conv2D(4, 3, padding="same", name=new))
"""
FIT = """
x = np.ones((64, 4), "float32")
ed.model.fit(x, x, epochs=100_000, verbose=0, callbacks=[ed.live()])
"""


@pytest.fixture(scope="module")
def opened(jupyter: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, jupyter) as opened:
        opened.new_notebook(name="sessions.ipynb")
        yield opened


@pytest.fixture
def shared(opened: Lab) -> Lab:
    """One page and one kernel for all tests that leave them as they are."""
    opened.page.keyboard.press("Escape")  # a dialog that a failed test left open
    opened.open_notebook("sessions.ipynb")
    return opened


@pytest.fixture
def widget(shared: Lab) -> Locator:
    shown = region(shared.run_cell(BUILD, timeout=120_000))
    expect(row(shown, "conv")).to_be_visible()
    return shown


def frozen(lab: Lab) -> str:
    return python(lab, "print(*(v.path for v in ed.layers if v.trainable is False))")


def confirmed(widget: Locator, path: str, value: str) -> None:
    expect(toggle(widget, path)).to_have_attribute("aria-checked", value)
    expect(toggle(widget, path)).to_have_attribute("aria-busy", "false")


# --- The kernel -----------------------------------------------------------------------------------


def test_how_much_waits_for_a_busy_kernel_is_told(shared: Lab, widget: Locator) -> None:
    shared.use_subshells(False)
    try:
        shared.run_cell("time.sleep(5)", wait=False)
        for path in ("conv", "left", "right"):
            toggle(widget, path).click()
        expect(messages(widget)).to_contain_text("waiting for the kernel: 3 changes to make")
        shared.screenshots("session-waiting", widget)
        for path in ("conv", "left", "right"):
            confirmed(widget, path, "false")
        expect(messages(widget)).not_to_contain_text("waiting")
        assert frozen(shared) == "conv left right"
    finally:
        shared.use_subshells(True)


def test_a_model_that_changes_under_ones_hands(shared: Lab, widget: Locator) -> None:
    """What is open for a row that somebody took out is closed, and that is said."""
    button(widget, "Details of conv").click()
    expect(widget.get_by_role("gridcell", name="Details of conv", exact=True)).to_be_visible()
    shared.run_cell(f"{REPLACE}replace('conv', 'first')")
    expect(row(widget, "first")).to_be_visible()
    expect(messages(widget)).to_contain_text("'conv' is gone: what was open for it is closed.")
    expect(widget.locator(".ke-detail")).to_have_count(0)

    button(widget, "Details of first").click()
    shared.run_cell("time.sleep(3); replace('left', 'west')", wait=False)
    button(widget, "Replace left").click()
    dialog = shared.page.get_by_role("dialog", name="Replace layer")
    expect(dialog).to_be_visible()
    expect(dialog).to_be_hidden()
    expect(messages(widget)).to_contain_text("'left' is gone")
    expect(row(widget, "west")).to_be_focused()
    # What else is open stays.
    expect(widget.get_by_role("gridcell", name="Details of first", exact=True)).to_be_visible()

    shared.cells_done()
    shared.run_cell("time.sleep(3); replace('right', 'east')", wait=False)
    button(widget, "More actions for right").click()
    expect(widget.get_by_role("menu")).to_be_visible()
    expect(row(widget, "east")).to_be_focused()
    expect(widget.get_by_role("menu")).to_have_count(0)
    shared.cells_done()


# --- Cells and views ------------------------------------------------------------------------------


def test_a_cell_that_is_run_again(shared: Lab, widget: Locator) -> None:
    index = shared.add_cell("ed")
    for _ in range(9):
        region(shared.run_again(index))
    shown = region(shared.run_again(index))
    toggle(shown, "conv").click()
    confirmed(shown, "conv", "false")
    confirmed(widget, "conv", "false")
    assert python(shared, "print(len(ed._subscribers))") == "1"

    # Widgets of which there are more than one: those that are no longer shown are sent nothing.
    index = shared.add_cell("ed.widget()")
    for _ in range(9):
        region(shared.run_again(index))
    shown = region(shared.run_again(index))
    button(shown, "Undo").click()
    confirmed(shown, "conv", "true")
    confirmed(widget, "conv", "true")
    assert (
        python(
            shared,
            "from kerasedit.widgets import base\n"
            "own = [part for part in base._open if part.editor is ed]\n"
            "print(len(own), sum(bool(part._unsent) for part in own))",
        )
        == "11 9"
    )
    # One that comes back into sight knows what it missed.
    shared.run_cell("missed = next(part for part in own if part._unsent)\ned.freeze('left')")
    shown = region(shared.run_cell("missed"))
    confirmed(shown, "left", "false")
    toggle(shown, "left").click()
    confirmed(widget, "left", "true")


def test_an_output_in_a_view_of_its_own(shared: Lab, widget: Locator) -> None:
    shared.execute("notebook:create-output-view")
    view = region(shared.page.locator(".jp-LinkedOutputView"))
    button(view, "Remove hidden").click()
    expect(view.get_by_role("alert")).to_contain_text("head")
    expect(widget.get_by_role("alert")).to_have_count(0)
    toggle(view, "conv").click()
    confirmed(view, "conv", "false")
    shared.screenshot("session-output-view")

    tab = shared.page.locator(".lm-TabBar-tab", has_text="Output View")
    tab.locator(".lm-TabBar-tabCloseIcon").click()
    expect(view).to_have_count(0)
    shared.open_notebook("sessions.ipynb")
    confirmed(widget, "conv", "false")
    assert frozen(shared) == "conv"
    button(widget, "Undo").click()
    confirmed(widget, "conv", "true")


def test_several_editors_at_once(shared: Lab, widget: Locator) -> None:
    shown = region(
        shared.run_cell("others = [kerasedit.Editor(model) for _ in range(5)]\nothers[0]")
    )
    output = shared.run_cell(
        "import ipywidgets\nipywidgets.VBox([other.widget() for other in others])"
    )
    regions = output.get_by_role("region", name="Keras model editor")
    expect(regions).to_have_count(5)
    for number in range(5):
        expect(row(regions.nth(number), "conv")).to_be_visible()
        image = regions.nth(number).get_by_role("img", name="Weights of conv:")
        expect(image).to_be_visible()
    toggle(regions.nth(0), "conv").click()
    toggle(regions.nth(3), "hidden").click()
    confirmed(regions.nth(0), "conv", "false")
    confirmed(regions.nth(3), "hidden", "false")
    confirmed(shown, "conv", "false")
    confirmed(regions.nth(1), "conv", "true")
    confirmed(widget, "conv", "true")
    flags = "print([[v.path for v in o.layers if v.trainable is False] for o in others])"
    assert python(shared, flags) == "[['conv'], [], [], ['hidden'], []]"


def test_a_narrow_column_and_a_scrolled_output(shared: Lab, widget: Locator) -> None:
    shared.run_cell("narrow = ed.widget()\nnarrow.layout.width = '320px'")
    narrow = region(shared.run_cell("narrow"))
    box = narrow.bounding_box()
    assert box is not None and box["width"] <= 320
    for part in ("", "header", "[role=status]"):
        found = narrow.locator(part) if part else narrow
        wide = found.evaluate_all(
            "all => all.filter(it => it.scrollWidth > it.clientWidth + 1).length"
        )
        assert wide == 0, part or "the whole"
    toggle(narrow, "conv").click()
    confirmed(narrow, "conv", "false")
    # The buttons of a row unfold when the pointer is at its end, not where it is to be clicked on.
    expect(button(narrow, "Insert after hidden")).to_be_hidden()
    button(narrow, "More actions for hidden").hover()
    apply(palette(narrow, "Insert after hidden", "Dropout", rate="0.5"))
    expect(row(narrow, "dropout")).to_be_visible()
    shared.screenshots("session-narrow", narrow)

    shared.execute("notebook:enable-output-scrolling")
    output = shared.output()
    assert output.evaluate("it => it.closest('.jp-mod-outputsScrolled') !== null")
    row(narrow, "head").click()
    expect(row(narrow, "head")).to_be_in_viewport()
    button(narrow, "More actions for head").click()
    expect(narrow.get_by_role("menu")).to_be_in_viewport()
    shared.page.keyboard.press("Escape")
    shared.page.keyboard.press("ArrowUp")
    expect(row(narrow, "dropout")).to_be_focused()
    expect(row(narrow, "dropout")).to_be_in_viewport()
    shared.page.keyboard.press("Delete")
    expect(row(narrow, "dropout")).to_have_count(0)


def test_an_alert_of_a_training_is_dismissed(shared: Lab, widget: Locator) -> None:
    shared.run_cell(
        "ed.model.compile('adam', 'mse')\n"
        "ed.model.fit(image * np.nan, np.ones((4, 10)), verbose=0, callbacks=[ed.live()])"
    )
    training = widget.get_by_role("region", name="Training")
    alerts = training.get_by_role("alert")
    expect(alerts.first).to_contain_text("NaN")
    shared.screenshots("session-alert", widget)
    # Whether the loss is NaN too depends on how the processor compares NaN in a maximum.
    for _ in range(alerts.count()):
        left = alerts.count() - 1
        training.get_by_role("button", name=re.compile("^Dismiss: ")).first.click()
        expect(alerts).to_have_count(left)
    expect(alerts).to_have_count(0)
    expect(training).to_contain_text("Trained")


# --- Kernels and pages of their own, whose end ends the shared kernel too --------------------------


def test_a_kernel_that_dies(lab: Lab) -> None:
    lab.new_notebook(name="dies.ipynb")
    widget = region(lab.run_cell(BUILD, timeout=120_000))
    toggle(widget, "conv").click()
    confirmed(widget, "conv", "false")

    lab.run_cell("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", wait=False)
    dialog = lab.page.get_by_role("dialog").filter(has_text="appears to have died")
    dialog.get_by_role("button", name="Ok").click(timeout=60_000)
    lab.kernel_idle()

    row(widget, "pool").hover()
    expect(messages(widget)).to_contain_text("not live")
    expect(toggle(widget, "conv")).to_have_attribute("aria-checked", "false")
    for path in NAMES.split():
        expect(row(widget, path)).to_be_visible()
    expect(button(widget, "Hand back")).to_be_disabled()

    # Run again, the cell shows a widget that lives.
    again = region(lab.run_again(0))
    toggle(again, "conv").click()
    confirmed(again, "conv", "false")
    assert frozen(lab) == "conv"


def test_two_pages_on_one_kernel_each_see_their_rows_train(lab: Lab) -> None:
    path = "pages.ipynb"
    lab.new_notebook(name=path)
    lab.run_cell(BUILD, timeout=120_000)
    one = region(lab.run_cell(LONG))
    expect(row(one, "d0")).to_be_visible()
    lab.execute("docmanager:save")
    # It goes with the context: Chromium can lose the closing of a single page.
    second = Lab(lab.page.context.new_page(), lab.jupyter)
    second.start()
    second.open_notebook(path)
    two = region(second.show_cell(1))
    row(two, "d0").click()
    second.page.keyboard.press("End")
    expect(row(two, "d39")).to_be_focused()

    toggle(one, "d0").click()
    confirmed(one, "d0", "false")
    toggle(two, "d39").click()
    confirmed(two, "d39", "false")
    confirmed(one, "d1", "true")

    lab.run_cell(FIT, wait=False)
    for widget, path in ((one, "d1"), (two, "d38"), (one, "d2"), (two, "d37")):
        image = widget.get_by_role("img", name=f"Weights of {path}:")
        expect(image).to_have_attribute("aria-label", re.compile(r"update [\d.e-]+ % a step"))
        seen = image.get_attribute("aria-label") or ""
        expect(image).not_to_have_attribute("aria-label", seen)
    expect(two.get_by_role("region", name="Training")).to_contain_text("Training")
    lab.interrupt()
    lab.cells_done()
    expect(two.get_by_role("region", name="Training")).to_contain_text("Stopped")


def test_a_notebook_that_is_opened_when_its_kernel_is_gone(lab: Lab) -> None:
    """With JupyterLab's own setting the state of widgets is saved with the notebook."""
    path = "saved.ipynb"
    lab.new_notebook(name=path)
    widget = region(lab.run_cell(BUILD, timeout=120_000))
    toggle(widget, "conv").click()
    confirmed(widget, "conv", "false")
    expect(widget.get_by_role("img", name="Weights of conv:")).to_be_visible()
    lab.execute(SAVE_STATE)
    try:
        lab.execute("docmanager:save")
        lab.jupyter.shut_down_kernels()
        lab.reload()
        lab.execute("docmanager:open", path=path, factory="Notebook")
        again = region(lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"))
        expect(messages(again)).to_contain_text("not live")
        for name in NAMES.split():
            expect(row(again, name)).to_be_visible()
        expect(toggle(again, "conv")).to_have_attribute("aria-checked", "false")
        expect(button(again, "Hand back")).to_be_disabled()
        again.get_by_role("searchbox", name="Filter layers").fill("conv")
        expect(row(again, "pool")).to_have_count(0)
        lab.screenshot("session-saved", again)
        lab.page.add_script_tag(path=AXE)
        check(lab, "no kernel since the page was opened")
    finally:
        lab.execute(SAVE_STATE)
