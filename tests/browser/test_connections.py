"""Pages whose connection to the kernel is cut for a while, with another page on the same kernel: what was
said meanwhile the server keeps for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import models

from .lab import WAIT, Jupyter, Lab, open_lab
from .test_editing import (
    SET_UP,
    edit_file,
    edit_variable,
    editor,
    expect_connections,
    expect_dirty,
    remove,
    title,
)
from .test_model_files import double_click, folder, view
from .test_models_panel import busy, panel
from .widget import button, python, row

__all__ = ["folder"]  # a fixture

# Sockets that can be cut, and then not be made anew.
SOCKETS = """
    const made = new Set();
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
        constructor(url, ...more) {
            super(window.isCut ? "ws://127.0.0.1:1/" : url, ...more);
            made.add(this);
        }
    };
    window.cut = () => {
        window.isCut = true;
        for (const socket of made) socket.close();
        made.clear();
    };
"""


class Breakable(Lab):
    """A page whose connections can be cut."""

    def start(self) -> Lab:
        self.page.add_init_script(SOCKETS)
        return super().start()

    @contextmanager
    def cut(self) -> Iterator[None]:
        self.page.evaluate("cut()")
        yield
        self.page.evaluate("() => { window.isCut = false; }")


@pytest.fixture
def lab(jupyter: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, jupyter, Breakable) as opened:
        yield opened


# How many connections to kernels the page has, or tries to have again.
CONNECTIONS = "() => jupyterapp.serviceManager.kernels._kernelConnections.size"


def test_a_tab_takes_up_what_it_missed(lab: Breakable, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    first = edit_file(lab, "m.keras")
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    double_click(other, "m.keras")
    second = editor(other)
    with lab.cut():
        remove(second, "block2_relu")
        button(second, "Save").click()
        expect_dirty(other, "m.keras", 0)
        expect(row(first, "block2_relu")).to_be_visible()
    expect(row(first, "block2_relu")).to_have_count(0, timeout=WAIT)
    remove(first, "block3_relu")
    expect(row(second, "block3_relu")).to_have_count(0)


def test_the_panel_asks_again(lab: Breakable) -> None:
    lab.new_notebook()
    shown = panel(lab)
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    other.open_notebook("test.ipynb")
    python(
        lab,
        "import keras, time\nfrom kerasedit.lab import models\n"
        "def slowly(tell=models.tell_models):\n    time.sleep(2)\n    return tell()\n"
        "models.tell_models = slowly\n"
        "first = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])",
    )
    expect(row(shown, "first")).to_be_visible()
    expect(busy(shown)).to_have_text("")
    python(other, "second = first")
    expect(busy(shown)).to_have_text("busy")
    with lab.cut():
        python(other, "1")
    expect(row(shown, "second")).to_be_visible(timeout=WAIT)


def test_a_tab_that_is_closed_while_the_connection_is_cut_leaves_no_other(lab: Breakable) -> None:
    lab.new_notebook()
    python(
        lab,
        SET_UP + "import threading\nfrom kerasedit.lab import tabs\n"
        "gate = threading.Event()\n"
        "def late(tab, close=tabs.Tab.close):\n    close(tab)\n    gate.wait()\n"
        "tabs.Tab.close = late",
    )
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    other.open_notebook("test.ipynb")
    before = lab.page.evaluate(CONNECTIONS)
    edit_variable(lab)
    assert lab.page.evaluate(CONNECTIONS) == before + 1
    title(lab, "model").locator(".lm-TabBar-tabCloseIcon").click()
    wait = "import time\nwhile tabs._tabs: time.sleep(0.05)\nprint('closed')"
    assert python(other, wait) == "closed"
    with lab.cut():
        python(other, "gate.set()")
    lab.wait_until(f"before => ({CONNECTIONS})() === before", before)


def test_a_tab_that_cannot_be_joined_leaves_no_connection(lab: Breakable, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    edit_file(other, "m.keras")
    # Who asks for the model waits until the kernel is restarted.
    other.page.evaluate(
        """() => {
            const code = "from threading import Event; from kerasedit.lab import tabs; "
                + "tabs.TabWidget.send_state = lambda *_: open('asked', 'w') and Event().wait()";
            const { session } = window.jupyterapp.shell.currentWidget.context.sessionContext;
            return session.kernel.requestExecute({ code }).done;
        }"""
    )
    double_click(lab, "m.keras")
    expect(view(lab)).to_contain_text("Looking for what was edited")
    expect_connections(other, 4)
    while not (folder / "asked").exists():
        lab.page.wait_for_timeout(50)
    other.page.evaluate("jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()")
    expect(view(lab).get_by_role("alert")).to_contain_text("was restarted")
    assert lab.page.evaluate(CONNECTIONS) == 1
