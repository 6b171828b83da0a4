"""Two models of a kernel side by side in a tab."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from .lab import Lab
from .test_accessibility import AXE, check
from .test_models_panel import menu, panel, restore_settings, setting
from .widget import button, python, row

BUILD = """
import keras, kerasedit
from keras import layers
x = keras.Input((8, 8, 3), name="image")
y = layers.Conv2D(8, 3, padding="same", name="stem")(x)
for n in range(20):
    z = layers.Conv2D(8, 3, padding="same", name=f"conv{n}")(y)
    y = layers.Add(name=f"add{n}")([layers.BatchNormalization(name=f"norm{n}")(z), y])
y = layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="pool")(y))
model = keras.Model(x, y, name="deep")
ed = kerasedit.Editor(model)
"""


def comparison(lab: Lab) -> Locator:
    return lab.page.get_by_role("region", name="Two Keras models")


def line(shown: Locator, name: str) -> Locator:
    return shown.get_by_role("option", name=re.compile(name))


def compare(lab: Lab, first: str, second: str) -> Locator:
    kernel = lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"
    )
    lab.execute("kerasedit:diff", kernel=kernel, first=first, second=second)
    return comparison(lab)


def test_two_models_are_compared_in_step_with_the_kernel(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, BUILD)
    shown = panel(lab)
    row(shown, "model").click(button="right")
    menu(lab, "Compare With…")
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Ok").click()

    tab = comparison(lab)
    differences = tab.get_by_role("status", name="Differences")
    expect(differences).to_have_text("No differences")
    expect(line(tab, "^stem: alike")).to_be_visible()

    # What is edited is seen, and what is alike steps back.
    lab.open_notebook("test.ipynb")
    python(
        lab,
        "ed.rename('head', 'top').configure('top', units=5, on_mismatch='reinit')\n"
        "ed.insert(layers.Dropout(0.1), after='pool').remove('add7', keep=0).freeze('stem')",
    )
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    expect(differences).to_contain_text("differences: Layers")
    expect(line(tab, "^stem: trains -> frozen$")).to_be_visible()
    tab.get_by_role("checkbox", name="Only what differs").check()
    expect(line(tab, "^conv3")).to_have_count(0)
    expect(line(tab, "^add7: only in the first$")).to_be_visible()
    expect(line(tab, "^dropout: only in the second$")).to_be_visible()
    words = tab.get_by_role("status", name="What differs in the line")
    line(tab, "^head, top").click()
    expect(words).to_contain_text("units: 3 -> 5")
    expect(words).to_contain_text("kernel: (8, 3) -> (8, 5), starts afresh")
    lab.screenshots("compare-differences", lab.page.locator("#jp-main-dock-panel"))

    tab.get_by_role("checkbox", name="Only what differs").uncheck()
    button(tab, "Next difference").click()  # from the last to the first
    expect(words).to_contain_text("trains -> frozen")
    button(tab, "Previous difference").click()
    expect(words).to_contain_text("head → top")
    lab.page.keyboard.press("Shift+Tab")
    line(tab, "^head, top").focus()
    lab.page.keyboard.press("ArrowUp")
    expect(words).to_contain_text("Only in the second model")
    lab.page.keyboard.press("Home")
    expect(words).to_contain_text("image")
    lab.page.add_script_tag(path=AXE)
    check(lab, "two models side by side")
    lab.screenshots("compare", lab.page.locator("#jp-main-dock-panel"))

    # While a cell runs it says from when it is.
    lab.open_notebook("test.ipynb")
    lab.run_cell("import time\nfor _ in range(40): time.sleep(0.1)\ned.freeze('conv0')", wait=False)
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    expect(tab).to_contain_text("The kernel is busy")
    expect(line(tab, "^conv0: alike$")).to_be_visible()
    expect(line(tab, "^conv0: trains -> frozen$")).to_be_visible()
    expect(tab).not_to_contain_text("The kernel is busy")

    # The page is loaded anew, a variable goes, the kernel is restarted.
    lab.reload()
    tab = comparison(lab)
    expect(line(tab, "^stem: trains -> frozen$")).to_be_visible()
    lab.open_notebook("test.ipynb")
    python(lab, "del ed")
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    expect(tab).to_contain_text("There is no Keras model 'ed' in the kernel any more")
    expect(line(tab, "^stem")).to_be_visible()
    lab.open_notebook("test.ipynb")
    lab.restart_kernel()
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    expect(tab).to_contain_text("The kernel was restarted")
    lab.reload()
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    expect(lab.page.locator(".ke-compare-tab")).to_contain_text("has no Keras models")


SMALL = """
import keras, kerasedit
from keras import layers
model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="head")])
ed = kerasedit.Editor(model)
"""


def test_what_is_no_cell_is_kept_up_with(lab: Lab) -> None:
    """What others ask of the kernel is soon over, and a model is handed back from the panel."""
    lab.new_notebook()
    python(lab, SMALL + "ed.freeze('head')")
    shown = panel(lab)
    tab = compare(lab, "model", "ed")
    expect(line(tab, "^head: trains -> frozen$")).to_be_visible()
    lab.page.evaluate(
        """() => {
            const { kernels } = jupyterapp.serviceManager;
            const [model] = kernels.running();
            const code = "import time; time.sleep(1)";
            kernels.connectTo({ model }).requestExecute({ code, silent: true });
        }"""
    )
    expect(tab).to_contain_text("The kernel is busy")
    expect(tab).not_to_contain_text("The kernel is busy")

    row(shown, "ed").click(button="right")
    menu(lab, "Hand Back…")
    dialog = lab.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("model")
    button(dialog, "Hand Back").click()
    button(dialog, "Replace").click()
    expect(tab.get_by_role("status", name="Differences")).to_have_text("No differences")


def test_without_live_updates_it_is_read_again_by_hand(lab: Lab) -> None:
    setting(lab, "live").uncheck()
    lab.new_notebook()
    python(lab, SMALL)
    tab = compare(lab, "model", "ed")
    differences = tab.get_by_role("status", name="Differences")
    expect(differences).to_have_text("No differences")
    lab.open_notebook("test.ipynb")
    python(lab, "ed.freeze('head')")
    lab.page.get_by_role("tab", name=re.compile("model ↔ ed")).click()
    button(tab, "Compare again").click()
    expect(line(tab, "^head: trains -> frozen$")).to_be_visible()
    # Gone to from the panel it is read again, too.
    lab.open_notebook("test.ipynb")
    python(lab, "ed.undo()")
    compare(lab, "model", "ed")
    expect(differences).to_have_text("No differences")
    restore_settings(lab)


def test_names_are_text(lab: Lab) -> None:
    lab.new_notebook()
    python(
        lab,
        "import keras\nfrom keras import layers\n"
        "bad = '<img src=x onerror=document.title=1>'\n"
        "def build(units):\n"
        "    return keras.Sequential([keras.Input((2,)), layers.Dense(units, name=bad)])\n"
        "one, two = build(1), build(2)",
    )
    tab = compare(lab, "one", "two")
    expect(line(tab, "units: 1 -> 2")).to_contain_text("<img src=x")
    assert tab.locator("img").count() == 0
