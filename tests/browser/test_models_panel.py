"""The panel of the Keras models in a kernel, and what can be done from it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests import models

from .lab import WAIT, Jupyter, Lab, NotebookPage, install_jupyterlab, jupyter_server, open_lab
from .test_accessibility import AXE, check
from .widget import button, python, region, row, toggle

BUILD = """
import keras, kerasedit
from keras import layers
model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="hidden"),
                          layers.Dense(2, name="head")], name="toy")
model.get_layer("hidden").trainable = False
model.compile("adam", "mse")
other = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
unbuilt = keras.Sequential([layers.Dense(1)])
ed = kerasedit.Editor(other)
"""
# What a user can see of what was run.
STATE = """
print(sorted(globals()), In, Out, _, __, ___, _i, get_ipython().execution_count,
      [line for *_, line in get_ipython().history_manager.get_range()])
"""


def panel(lab: Lab) -> Locator:
    lab.execute("kerasedit:show-models")
    found = lab.page.get_by_role("region", name="Keras models")
    expect(found).to_be_visible()
    return found


def names(shown: Locator) -> list[str]:
    return shown.get_by_role("row").evaluate_all("rows => rows.map(row => row.ariaLabel)")


def busy(shown: Locator) -> Locator:
    return shown.get_by_role("status", name="Kernel")


def menu(lab: Lab, item: str) -> None:
    """Chooses from JupyterLab's menu that is open."""
    entry(lab, item).click()


def entry(lab: Lab, item: str) -> Locator:
    """What has a name in JupyterLab's menus that are open."""
    return lab.page.locator(".lm-Menu-item", has=lab.page.get_by_text(item, exact=True))


class Questions:
    """What the page asks kernels for the panel."""

    def __init__(self, lab: Lab) -> None:
        self.asked = 0
        self._page = lab.page
        lab.page.on("websocket", lambda socket: socket.on("framesent", self._count))

    def _count(self, frame: str | bytes) -> None:
        sent = frame.encode() if isinstance(frame, str) else frame
        self.asked += b"kerasedit.lab.kernel" in sent

    @contextmanager
    def another(self) -> Iterator[None]:
        """Waits until a kernel was asked once more than before."""
        before = self.asked
        yield
        deadline = time.monotonic() + WAIT / 1000
        while self.asked == before:
            assert time.monotonic() < deadline, "Nothing was asked."
            self._page.wait_for_timeout(50)

    def settled(self) -> int:
        """How many there are when all was asked that the page had put off.

        Its timers run in their order: this one is set later than they were, and is longer.
        """
        self._page.evaluate("() => new Promise(done => setTimeout(done, 1000))")
        return self.asked


def modules(lab: Lab) -> str:
    return python(lab, "import sys; print([m for m in ('keras', 'kerasedit') if m in sys.modules])")


def test_it_follows_the_kernel(lab: Lab) -> None:
    questions = Questions(lab)
    lab.new_notebook()
    shown = panel(lab)
    expect(shown).to_contain_text("Keras is not imported")
    assert questions.asked > 0
    with questions.another():
        assert modules(lab) == "[]"
    assert modules(lab) == "[]", "nothing is imported by a question"
    lab.screenshots("models-panel-empty", shown)

    # Variables come, change and go.
    python(lab, BUILD)
    model = row(shown, "model")
    expect(model).to_contain_text("Sequential")
    expect(model).to_contain_text("23")
    expect(model).to_contain_text("35 % trainable")
    expect(model).to_contain_text("compiled")
    assert names(shown) == ["model", "other", "unbuilt", "ed"]
    expect(row(shown, "unbuilt")).to_contain_text("not built yet")
    python(lab, "model.trainable = False; again = model; del unbuilt")
    expect(model).to_contain_text("frozen")
    expect(row(shown, "again")).to_contain_text("same as model")
    expect(row(shown, "unbuilt")).to_have_count(0)

    # A busy kernel is not asked.
    asked = questions.asked
    lab.run_cell("import time\nfor _ in range(30): time.sleep(0.1)\nmodel = None", wait=False)
    expect(busy(shown)).to_have_text("busy")
    button(shown, "Refresh models").click()
    expect(model).to_be_visible()
    assert questions.asked == asked
    lab.kernel_idle()
    expect(model).to_have_count(0)
    expect(busy(shown)).to_have_text("")
    assert questions.asked <= asked + 2

    # Another notebook has a kernel of its own; the panel itself has none.
    lab.new_notebook("x = 1", name="second.ipynb")
    expect(shown).to_contain_text("Keras is not imported")
    shown.get_by_role("heading").click()
    expect(shown).to_contain_text("second.ipynb")
    lab.open_notebook("test.ipynb")
    expect(row(shown, "other")).to_be_visible()

    # Nobody looks.
    lab.execute("application:toggle-right-area")
    expect(shown).to_be_hidden()
    asked = questions.asked
    python(lab, "del other")
    assert questions.settled() == asked
    panel(lab)
    expect(row(shown, "other")).to_have_count(0)

    lab.restart_kernel()
    expect(shown).to_contain_text("Keras is not imported")
    assert modules(lab) == "[]"
    lab.execute("kernelmenu:shutdown")
    expect(shown).to_contain_text("No kernel runs here yet")
    lab.execute("docmanager:save-all")
    lab.execute("application:close-all")
    expect(shown).to_contain_text("Open a notebook or a console.")


@pytest.fixture(scope="module")
def opened(jupyter: Jupyter, browser: Browser) -> Iterator[tuple[Lab, Locator]]:
    """A notebook with models, and the panel."""
    with open_lab(browser, jupyter) as lab:
        lab.new_notebook(name="models.ipynb")
        lab.run_cell(BUILD, timeout=180_000)
        lab.page.add_script_tag(path=AXE)
        shown = panel(lab)
        expect(row(shown, "model")).to_be_visible()
        yield lab, shown


def test_no_trace_is_left(lab: Lab) -> None:
    """The same cells, without questions between them and with, leave the same behind."""
    questions = Questions(lab)
    lab.new_notebook()
    python(lab, BUILD)
    python(lab, "40 + 2")
    before = python(lab, STATE)
    assert "42" in before and questions.asked == 0

    lab.restart_kernel()
    shown = panel(lab)
    python(lab, BUILD)
    expect(row(shown, "model")).to_be_visible()
    python(lab, "40 + 2")
    lab.execute("docmanager:save")
    cells = lab.page.evaluate("() => JSON.stringify(jupyterapp.shell.currentWidget.model.toJSON())")
    for _ in range(3):
        with questions.another():
            button(shown, "Refresh models").click()
        lab.kernel_idle()
    assert cells == lab.page.evaluate(
        "() => JSON.stringify(jupyterapp.shell.currentWidget.model.toJSON())"
    )
    assert not lab.page.evaluate("() => jupyterapp.shell.currentWidget.context.model.dirty")
    assert python(lab, STATE) == before


def test_a_model_at_a_glance(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    button(shown, "Inspect model").click()
    details = shown.get_by_role("gridcell", name="Details of model")
    for text in ("(None, 4)", "(None, 2)", "2 Dense", "Adam, learning rate 0.001", "mse", "92 B"):
        expect(details).to_contain_text(text)
    expect(row(shown, "model")).to_have_attribute("aria-expanded", "true")
    lab.screenshots("models-panel", shown)
    button(shown, "Inspect model").click()
    expect(details).to_have_count(0)


def test_by_keyboard(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    row(shown, "model").focus()
    press = lab.page.keyboard.press
    press("ArrowDown")
    expect(row(shown, "other")).to_be_focused()
    press("End")
    expect(row(shown, "ed")).to_be_focused()
    press("Home")
    press("Space")
    expect(row(shown, "model")).to_have_attribute("aria-expanded", "true")
    press("ArrowLeft")
    expect(row(shown, "model")).to_have_attribute("aria-expanded", "false")
    press("Shift+F10")
    expect(entry(lab, "Inspect")).to_be_visible()
    press("Escape")
    expect(row(shown, "model")).to_be_focused()
    # A focused row that goes leaves the focus to the one in its place.
    python(lab, "first = keras.Sequential([keras.Input((1,)), layers.Dense(1)])")
    row(shown, "first").focus()
    lab.page.evaluate(
        """() => jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({ code: "del first" }).done"""
    )
    expect(row(shown, "first")).to_have_count(0)
    expect(row(shown, "ed")).to_be_focused()


def test_a_cell_that_edits_it(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    cells = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
    count = cells.count()
    row(shown, "model").click(button="right")
    menu(lab, "Insert a Cell That Edits It")
    expect(cells).to_have_count(count + 1)
    source = lab.page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source"
    )
    # It is gone on with by the keyboard.
    expect(lab.page.locator(".jp-Cell.jp-mod-active")).to_be_in_viewport()
    lab.page.wait_for_function("() => document.activeElement.closest('.jp-Notebook') !== null")
    # The name that the README uses is taken.
    assert source == "import kerasedit\n\ned2 = kerasedit.Editor(model)\ned2"
    expect(lab.output()).to_have_text("")
    lab.execute("notebook:run-cell")
    region(lab.output(-1))
    expect(row(shown, "ed2")).to_contain_text("Editor of a Sequential")


def test_handing_back(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    python(lab, "ed.freeze('**'); taken = 3")
    expect(row(shown, "ed")).to_contain_text("1 edit not handed back")
    expect(row(shown, "other")).not_to_contain_text("not handed back")
    button(shown, "More actions for other").click()
    menu(lab, "Hand Back…")
    dialog = lab.page.get_by_role("dialog")
    field = dialog.get_by_role("textbox")
    expect(field).to_have_value(re.compile("_edited$"))
    field.fill("taken")
    button(dialog, "Hand Back").click()
    expect(dialog).to_contain_text("holds an object of type int")
    button(dialog, "Close").click()
    dialog.get_by_role("textbox").fill("no name")
    button(dialog, "Hand Back").click()
    expect(dialog).to_contain_text("cannot be the name of a variable")
    button(dialog, "Close").click()
    dialog.get_by_role("textbox").fill("model")
    button(dialog, "Hand Back").click()
    expect(dialog).to_contain_text("Replace 'model'?")
    button(dialog, "Keep").click()
    dialog.get_by_role("textbox").fill("frozen")
    button(dialog, "Hand Back").click()
    expect(row(shown, "frozen")).to_contain_text("edited")
    expect(row(shown, "ed").get_by_text("1 edit", exact=True)).to_be_visible()
    expect(row(shown, "ed")).to_contain_text("in frozen")
    assert python(lab, "print(frozen is ed.model, taken, model.name)") == "True 3 toy"


def test_a_widget_hands_back_too(opened: tuple[Lab, Locator]) -> None:
    """That is no cell that is run."""
    lab, shown = opened
    widget = region(lab.run_cell("kerasedit.Editor(model)"))
    widget.get_by_role("textbox", name="Variable name").fill("by_widget")
    button(widget, "Hand back").click()
    expect(row(shown, "by_widget")).to_be_visible()


def test_editing_in_a_tab(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    python(lab, "plain = keras.Sequential([keras.Input((4,)), layers.Dense(1, name='d')])")
    row(shown, "plain").focus()
    lab.page.keyboard.press("Enter")
    tab = lab.page.locator(".lm-DockPanel-widget:visible")
    editor = tab.get_by_role("region", name="Keras model editor").last
    toggle(editor, "d").click()
    # The kernel of the notebook is the tab's too.
    expect(row(shown, "plain")).to_contain_text("1 edit not handed back")
    editor.get_by_role("textbox", name="Variable name").fill("tuned")
    button(editor, "Hand back").click()
    expect(row(shown, "tuned")).to_contain_text("edited")
    expect(row(shown, "plain")).not_to_contain_text("not handed back")
    lab.execute("application:close")
    lab.open_notebook("models.ipynb")


def test_comparing_in_a_tab(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    row(shown, "model").click(button="right")
    menu(lab, "Compare With…")
    dialog = lab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Compare 'model' With")
    dialog.get_by_role("combobox").select_option("other")
    button(dialog, "Ok").click()
    compared = lab.page.get_by_role("region", name="Two Keras models")
    expect(compared).to_contain_text("hidden")
    lab.execute("application:close")
    lab.open_notebook("models.ipynb")


def test_axe_finds_nothing(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    button(shown, "Inspect ed").click()
    expect(shown.get_by_role("gridcell", name="Details of ed")).to_contain_text("Memory")
    check(lab, "the panel")


def test_names_of_variables_are_text(opened: tuple[Lab, Locator]) -> None:
    lab, shown = opened
    python(lab, "other.name = '<img src=x onerror=window.evil=1>'")
    button(shown, "Refresh models").click()
    facts = row(shown, "other").locator(".ke-models-facts")
    expect(facts).to_have_attribute("title", "<img src=x onerror=window.evil=1>")
    assert lab.page.evaluate("window.evil") is None


def test_commands_in_the_palette_menus_and_by_key(lab: Lab) -> None:
    lab.new_notebook()
    lab.page.keyboard.press("Control+Alt+k")
    expect(lab.page.get_by_role("region", name="Keras models")).to_be_visible()
    lab.execute("application:toggle-right-area")
    lab.execute("apputils:activate-command-palette")
    found = lab.page.locator("#modal-command-palette")
    found.get_by_role("textbox").fill("keras model")
    for label in ("Hand Back an Edited Keras Model…", "Inspect a Keras Model…", "Refresh Models"):
        expect(found.get_by_text(label, exact=True)).to_be_visible()
    lab.page.keyboard.press("Escape")
    lab.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    menu(lab, "Keras Models")
    menu(lab, "Inspect a Keras Model…")
    expect(lab.page.get_by_role("dialog")).to_contain_text("No variable of the kernel holds such")


SLOW = """
class Drowsy:
    @property
    def name(self):
        import time
        time.sleep(1)
        return "drowsy"
slow = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
slow.compile("adam", Drowsy())
"""


def test_what_is_told_slowly_is_asked_for_once(lab: Lab) -> None:
    questions = Questions(lab)
    lab.new_notebook()
    python(lab, BUILD + SLOW)
    shown = panel(lab)
    button(shown, "Inspect slow").click()
    expect(shown.get_by_role("gridcell", name="Details of slow")).to_contain_text("drowsy")
    expect(busy(shown)).to_have_text("")
    asked = questions.asked
    assert questions.settled() == asked


def ask_which(lab: Lab, command: str) -> Locator:
    """The question of a command in the menu of the kernel."""
    lab.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    menu(lab, "Keras Models")
    menu(lab, command)
    found = lab.page.get_by_role("dialog")
    expect(found).to_be_visible()
    return found


def test_commands_on_a_busy_kernel(lab: Lab) -> None:
    """Whose models nobody has looked at before."""
    lab.new_notebook()
    python(lab, BUILD + "ed.freeze('**');")  # not shown
    endless = "import time\nwhile True: time.sleep(0.1)"
    lab.run_cell(endless, wait=False)
    lab.page.wait_for_function(
        """() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === "busy" """
    )
    asked = ask_which(lab, "Inspect a Keras Model…")
    expect(asked).to_contain_text("The kernel is busy")
    button(asked, "Ok").click()
    lab.interrupt()
    lab.kernel_idle()
    # Twice, of which the second has to wait for what the first has asked.
    lab.page.evaluate(
        """() => {
            for (const _ of [1, 2]) {
                void jupyterapp.commands.execute("kerasedit:inspect-model", { ask: true });
            }
        }"""
    )
    for _ in range(2):
        expect(asked.get_by_role("combobox")).to_be_visible()
        button(asked, "Cancel").click()

    # What waits for the kernel is told of as long as it does.
    shown = panel(lab)
    expect(row(shown, "ed")).to_contain_text("1 edit not handed back")
    lab.run_cell(endless, wait=False)
    expect(busy(shown)).to_have_text("busy")
    row(shown, "ed").click(button="right")
    menu(lab, "Hand Back…")
    button(asked, "Hand Back").click()
    waiting = lab.page.get_by_text("The model is handed back when it is free")
    expect(waiting).to_be_visible()
    lab.restart_kernel()
    expect(asked).to_contain_text("was restarted")
    button(asked, "Close").click()
    expect(waiting).to_have_count(0)


def test_impatient_clicks(lab: Lab) -> None:
    """A model is opened again once, and it is asked once whether to lose edits."""
    lab.new_notebook()
    python(lab, BUILD)
    shown = panel(lab)
    row(shown, "model").focus()
    lab.page.keyboard.press("Enter")
    tab = lab.page.locator(".ke-tab:visible")
    expect(row(tab, "hidden")).to_be_visible()
    lab.open_notebook("test.ipynb")
    python(lab, "model = keras.models.clone_model(other)")
    row(shown, "model").focus()
    lab.page.keyboard.press("Enter")
    button(tab.get_by_role("alert"), "Open 'model' Again").dblclick()
    expect(row(tab, "hidden")).to_have_count(0)
    toggle(tab, "dense").click()
    expect(row(shown, "model")).to_contain_text("1 edit not handed back")

    for _ in range(2):
        lab.execute("application:close")
    asked = lab.page.get_by_role("dialog")
    button(asked, "Discard Edits").click()
    expect(tab).to_have_count(0)
    button(shown, "Inspect other").click()
    expect(shown.get_by_role("gridcell", name="Details of other")).to_be_visible()


def test_the_quick_start(lab: Lab) -> None:
    copy = lab.jupyter.root / "kerasedit-quickstart.ipynb"
    copy.unlink(missing_ok=True)
    lab.execute("launcher:create")
    card = lab.page.locator(".jp-LauncherCard", has_text="Keras Quick Start")
    card.click()
    expect(lab.page.get_by_role("main").get_by_text("kerasedit").first).to_be_visible()
    expect(card).to_have_count(0)
    notebook = json.loads(copy.read_text("utf-8"))
    assert "import kerasedit" in str(notebook)
    # What was begun is gone on with.
    copy.write_text(json.dumps({**notebook, "cells": notebook["cells"][:1]}), "utf-8")
    lab.execute("kerasedit:open-quick-start")
    assert len(json.loads(copy.read_text("utf-8"))["cells"]) == 1


def setting(lab: Lab, name: str) -> Locator:
    """A field of the settings."""
    lab.execute("settingeditor:open", query="Keras models")
    return lab.page.locator(f'[id="jp-SettingsEditor-kerasedit:settings_{name}"]')


def restore_settings(lab: Lab) -> None:
    expect(setting(lab, "bins")).to_be_visible()
    lab.page.get_by_role("button", name="Restore to Defaults").click()
    expect(lab.page.get_by_role("button", name="Restore to Defaults")).to_have_count(0)


def test_settings_hold_at_once(lab: Lab) -> None:
    bins: list[str] = []
    lab.page.on(
        "request",
        lambda it: bins.append(it.url.split("bins=")[1][:2]) if "histograms" in it.url else None,
    )
    models.cnn().save(lab.jupyter.root / "m.keras")
    lab.execute("docmanager:open", path="m.keras")
    shown = lab.page.get_by_role("region", name="Keras model file")
    expect(shown.get_by_role("img", name="Weights of head:")).to_be_visible()
    assert set(bins) == {"32"}
    conv = row(shown, "head").locator(".ke-type")
    colour = "it => getComputedStyle(it, '::before').backgroundColor"
    usual = conv.evaluate(colour)

    with lab.page.expect_request(re.compile("/histograms.*bins=16")):
        setting(lab, "bins").fill("16")
        setting(lab, "families").select_option("No colours")
        expect(lab.page.locator("body")).to_have_attribute("data-ke-families", "none")
        lab.execute("docmanager:open", path="m.keras")
        expect(row(shown, "head")).to_be_visible()
    assert conv.evaluate(colour) != usual
    restore_settings(lab)
    expect(lab.page.locator("body")).to_have_attribute("data-ke-families", "default")


def test_without_live_updates_it_is_asked_by_hand(lab: Lab) -> None:
    questions = Questions(lab)
    setting(lab, "live").uncheck()
    lab.new_notebook()
    shown = panel(lab)
    expect(shown).to_contain_text("Keras is not imported")
    asked = questions.asked
    python(lab, BUILD)
    assert questions.settled() == asked
    expect(row(shown, "model")).to_have_count(0)
    button(shown, "Refresh models").click()
    expect(row(shown, "model")).to_be_visible()
    restore_settings(lab)
    expect(setting(lab, "live")).to_be_checked()


TRAIN = """
import numpy as np, time
class Slowly(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.02)
ed.model.compile("adam", "mse")
ed.model.fit(np.ones((64, 4)), np.ones((64, 1)), epochs=1000, verbose=0,
             callbacks=[ed.live(), Slowly()])
"""


def test_a_training_that_is_watched_is_a_busy_kernel(lab: Lab) -> None:
    """Though JupyterLab takes it for idle each time that the widget has said something."""
    questions = Questions(lab)
    lab.new_notebook()
    shown = panel(lab)
    lab.run_cell(BUILD, timeout=180_000)
    region(lab.run_cell("ed"))
    expect(row(shown, "model")).to_be_visible()
    lab.run_cell(TRAIN, wait=False)
    expect(busy(shown)).to_have_text("busy")
    asked = questions.asked
    lab.page.wait_for_function(
        """() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === "idle" """
    )
    assert questions.settled() == asked
    expect(busy(shown)).to_have_text("busy")
    lab.execute("docmanager:save")
    lab.layout_kept("notebook:", "kerasedit-models")
    lab.reload()
    shown = lab.page.get_by_role("region", name="Keras models")
    expect(shown).to_contain_text("The kernel is busy")
    lab.interrupt()
    expect(row(shown, "model")).to_be_visible()


def test_a_file_of_the_users_own_is_not_run(lab: Lab) -> None:
    own = lab.jupyter.root / "kerasedit.py"
    own.write_text("open('it-ran', 'w')")
    try:
        lab.new_notebook()
        shown = panel(lab)
        python(lab, "import keras")
        expect(shown).to_contain_text("kerasedit is not installed for this kernel")
    finally:
        own.unlink()
    assert not (lab.jupyter.root / "it-ran").exists()


def test_a_console_and_a_reload(lab: Lab) -> None:
    lab.execute("console:create", kernelPreference={"name": "python3"})
    shown = panel(lab)
    expect(shown).to_contain_text("Keras is not imported")
    lab.page.evaluate(
        """code => jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({ code }).done""",
        BUILD,
    )
    expect(row(shown, "model")).to_be_visible()
    lab.layout_kept("console:", "kerasedit-models")
    lab.reload()
    expect(row(lab.page.get_by_role("region", name="Keras models"), "model")).to_be_visible()


WITHOUT = """
import os, sys
sys.path[:] = [p for p in sys.path if not os.path.isfile(f"{p}/kerasedit/__init__.py")]
"""
ECHO = """
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

class Echo(Kernel):
    implementation, implementation_version, banner = "echo", "1", "echo"
    language_info = {"name": "echo", "mimetype": "text/plain", "file_extension": ".txt"}

    def do_execute(self, code, *args, **options):
        return {"status": "ok", "execution_count": self.execution_count,
                "payload": [], "user_expressions": {}}

IPKernelApp.launch_instance(kernel_class=Echo)
"""


@pytest.mark.slow
def test_other_kernels(jupyter: Jupyter, browser: Browser) -> None:
    """One without kerasedit, and one that speaks another language."""
    for name, file, code in (("without", "sitecustomize", WITHOUT), ("echo", "echo", ECHO)):
        folder = jupyter.home / name
        folder.mkdir()
        (folder / f"{file}.py").write_text(code)
        jupyter.add_kernel(name, {"PYTHONPATH": str(folder)})
    spec = jupyter.home / "data" / "kernels" / "echo" / "kernel.json"
    argv = [sys.executable, "-m", "echo", "-f", "{connection_file}"]
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "argv": argv, "language": "echo"}))
    with open_lab(browser, jupyter) as lab:
        lab.kernel = "without"
        lab.new_notebook()
        shown = panel(lab)
        expect(shown).to_contain_text("Keras is not imported")
        python(lab, "import keras")
        expect(shown).to_contain_text("kerasedit is not installed for this kernel")
        assert python(lab, "import sys; print(hasattr(sys, 'last_value'))") == "False"
    with open_lab(browser, jupyter) as lab:
        questions = Questions(lab)
        lab.kernel = "echo"
        lab.new_notebook(name="echo.ipynb")
        expect(panel(lab)).to_contain_text("This kernel runs echo.")
        assert questions.asked == 0
    for name in ("without", "echo"):
        shutil.rmtree(jupyter.home / "data" / "kernels" / name)


@pytest.mark.slow
def test_the_oldest_jupyterlab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    home, root = tmp_path_factory.mktemp("old-home"), tmp_path_factory.mktemp("old-root")
    with (
        jupyter_server(home, root, install_jupyterlab("4.4")) as server,
        open_lab(browser, server) as lab,
    ):
        lab.new_notebook()
        shown = panel(lab)
        expect(shown).to_contain_text("Keras is not imported")
        python(lab, BUILD)
        expect(row(shown, "model")).to_be_visible()
        row(shown, "model").focus()
        lab.page.keyboard.press("Space")
        expect(shown.get_by_role("gridcell", name="Details of model")).to_contain_text("2 Dense")


@pytest.mark.slow
def test_notebook_7(jupyter: Jupyter, browser: Browser) -> None:
    with open_lab(browser, jupyter, NotebookPage) as lab:
        lab.new_notebook(name="seven.ipynb")
        shown = panel(lab)
        expect(shown).to_contain_text("Keras is not imported")
        python(lab, BUILD)
        expect(row(shown, "model")).to_be_visible()
        row(shown, "model").click(button="right")
        menu(lab, "Insert a Cell That Edits It")
        expect(lab.output(-1)).to_be_attached()
