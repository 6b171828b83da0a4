"""Ten minutes of training with a restless user: toggles, reloads and stops, and all stays right."""

from __future__ import annotations

import random
import re
import time

import pytest
from playwright.sync_api import Locator, expect

from .lab import Lab
from .test_editor_story import TRAIN
from .widget import button, python, region, toggle

MINUTES = 10
NAMES = ["conv1", "norm", "conv2", "hidden", "head"]

# Between two batches, what the model has must be what its flags say: frozen weights do not move.
FIT = """
class Check(keras.callbacks.Callback):
    wrong, frozen = [], {}
    def on_train_batch_begin(self, batch, logs=None):
        for name in NAMES:
            layer = ed.model.get_layer(name)
            if layer.trainable:
                self.frozen.pop(name, None)
                continue
            weights = [w.tobytes() for w in layer.get_weights()]
            if self.frozen.setdefault(name, weights) != weights:
                self.wrong.append((name, batch))
check = globals().get("check") or Check()
ed.model.fit(images, labels, batch_size=64, epochs=100_000, verbose=0, callbacks=[ed.live(), check])
"""


def the_widget(lab: Lab) -> Locator:
    return region(lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"))


def advances(widget: Locator) -> None:
    bar = widget.get_by_role("progressbar", name="Training progress")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"Epoch \d+"), timeout=60_000)
    expect(bar).not_to_have_attribute("aria-valuetext", bar.get_attribute("aria-valuetext") or "")


def stop(lab: Lab, widget: Locator) -> None:
    """Stops the cell. A page that was loaded meanwhile shows no sign at the cell that runs."""
    lab.interrupt()
    expect(widget.get_by_role("region", name="Training")).to_contain_text("Stopped")
    lab.cells_done()
    # A cell that comes while an interrupt ends the one before is let fall by the kernel.
    for _ in range(5):
        if python(lab, "print('here')") == "here":
            return
    raise AssertionError("the kernel runs no cell")


@pytest.mark.slow
@pytest.mark.timeout(60 * (MINUTES + 10))
def test_ten_minutes(lab: Lab) -> None:
    dice = random.Random(4)
    lab.new_notebook()
    lab.run_cell(TRAIN, timeout=180_000)
    region(lab.run_cell(f"NAMES = {NAMES}\ned = kerasedit.Editor(model)\ned"))
    lab.run_cell(FIT, wait=False)
    widget = the_widget(lab)
    advances(widget)
    asked = dict.fromkeys(NAMES, True)
    done = {"toggle": 0, "undo": 0, "reload": 0, "stop": 0}
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        what = dice.choices(["toggle", "undo", "reload", "stop"], [20, 3, 1, 1])[0]
        if what == "undo" and not done["toggle"]:
            continue
        done[what] += 1
        if what == "toggle":
            name = dice.choice(NAMES)
            asked[name] = not asked[name]
            toggle(widget, name).click()
        elif what == "undo":
            button(widget, "Undo").click()
            button(widget, "Redo").click()
        elif what == "reload":
            lab.execute("docmanager:save")
            lab.reload()
            lab.execute("docmanager:open", path="test.ipynb", factory="Notebook")
            widget = the_widget(lab)
        else:
            stop(lab, widget)
            flags = f"[ed.model.get_layer(n).trainable for n in {NAMES}]"
            assert python(lab, f"print({flags}, check.wrong)") == f"{list(asked.values())} []"
            lab.run_cell(FIT, wait=False)
        for name, value in asked.items():
            expect(toggle(widget, name)).to_have_attribute("aria-checked", str(value).lower())
            expect(toggle(widget, name)).to_have_attribute("aria-busy", "false")
        if any(asked.values()):
            advances(widget)
    stop(lab, widget)
    assert python(lab, "print(check.wrong, len(ed.history) > 0)") == "[] True"
    assert done["toggle"] > 36 and done["reload"] and done["stop"], done
    print(done)
