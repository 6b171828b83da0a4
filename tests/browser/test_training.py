"""Training seen and changed in the widget while its cell runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from .lab import DARK, LIGHT, WAIT, Lab
from .test_editor_story import TRAIN
from .test_screenshots import BUILD
from .widget import button, messages, python, region, row, toggle

EDITOR = "ed = kerasedit.Editor(model)\ned"
# The kernel of the layer that is frozen by a click, as it is at the first batch after that.
FIT = """
class Note(keras.callbacks.Callback):
    seen = None
    def on_train_batch_begin(self, batch, logs=None):
        layer = self.model.get_layer("conv1")
        if self.seen is None and not layer.trainable:
            self.seen = layer.get_weights()
note = Note()
ed.model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
ed.model.fit(images, labels, batch_size=64, epochs=100_000, verbose=0, callbacks=[ed.live(), note])
"""


@pytest.fixture
def widget(lab: Lab) -> Locator:
    lab.new_notebook()
    lab.run_cell(TRAIN, timeout=180_000)
    return region(lab.run_cell(EDITOR))


def strip(widget: Locator) -> Locator:
    return widget.get_by_role("region", name="Training")


def advances(widget: Locator) -> None:
    """The training is seen to go on."""
    bar = strip(widget).get_by_role("progressbar", name="Training progress")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"Epoch \d+ of 100000, step"))
    expect(bar).not_to_have_attribute("aria-valuetext", bar.get_attribute("aria-valuetext") or "")


def weights(widget: Locator, path: str) -> Locator:
    return widget.get_by_role("img", name=f"Weights of {path}:")


def moves(image: Locator) -> None:
    """The weights are seen to change."""
    expect(image).to_have_attribute("aria-label", re.compile(r"update [\d.e-]+ % a step"))
    expect(image).not_to_have_attribute("aria-label", image.get_attribute("aria-label") or "")


def click(widget: Locator, path: str, value: str) -> None:
    """A click on a switch takes effect while the cell runs."""
    switch = toggle(widget, path)
    switch.click()
    expect(switch).to_have_attribute("aria-checked", value)
    expect(switch).to_have_attribute("aria-busy", "false")
    advances(widget)


def stop(lab: Lab, widget: Locator) -> None:
    """The stop button of the notebook."""
    lab.page.locator('jp-button[data-command="notebook:interrupt-kernel"]').click()
    expect(strip(widget)).to_contain_text("Stopped")
    expect(strip(widget).get_by_role("progressbar")).to_have_count(0)


@pytest.fixture(params=[True, False], ids=["subshell", "queue"])
def subshells(lab: Lab, request: pytest.FixtureRequest) -> Iterator[bool]:
    """With a kernel that handles messages while a cell runs, and with one that lets them wait."""
    yield request.param
    lab.use_subshells(True)


def test_training_is_steered_in_the_widget(lab: Lab, subshells: bool) -> None:
    lab.new_notebook()
    lab.use_subshells(subshells)
    lab.run_cell(TRAIN, timeout=180_000)
    widget = region(lab.run_cell(EDITOR))
    expect(strip(widget)).to_have_count(0)
    lab.run_cell(FIT, wait=False)
    advances(widget)
    moves(weights(widget, "conv1"))
    expect(strip(widget)).to_contain_text("accuracy")
    expect(strip(widget).get_by_role("img", name=re.compile("^Loss"))).to_be_visible()

    # What is frozen holds from the next batch on, and the weights are seen to stand still.
    click(widget, "conv1", "false")
    work = strip(widget).get_by_role("status", name="Changes under way")
    expect(work).to_have_text(re.compile(r"^1 layer changed after step [\d,]+$"))
    expect(weights(widget, "conv1")).to_have_attribute(
        "aria-label", re.compile("update 0 % a step")
    )
    moves(weights(widget, "head"))
    expect(messages(widget)).not_to_contain_text("waiting for the kernel")

    # The page is left and comes back, while the cell runs.
    lab.execute("docmanager:save")
    lab.reload()
    lab.execute("docmanager:open", path="test.ipynb", factory="Notebook")
    lab.page.wait_for_function(
        """() => window.jupyterapp.shell.currentWidget
            ?.context.sessionContext.session?.kernel""",
        timeout=WAIT,
    )
    lab.use_subshells(subshells)
    widget = region(lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook"))
    advances(widget)
    moves(weights(widget, "head"))
    expect(toggle(widget, "conv1")).to_have_attribute("aria-checked", "false")
    click(widget, "hidden", "false")
    click(widget, "hidden", "true")

    stop(lab, widget)
    expect(weights(widget, "head")).not_to_have_attribute("aria-label", re.compile("a step"))
    assert (
        python(
            lab,
            "conv1 = ed.model.get_layer('conv1')\n"
            "kept = all(map(np.array_equal, note.seen, conv1.get_weights()))\n"
            "moved = not np.array_equal(before[0], conv1.get_weights()[0])\n"
            "print(kept, moved, conv1.trainable, ed.model.get_layer('hidden').trainable)",
        )
        == "True True False True"
    )
    assert (
        python(
            lab,
            "head = ed.model.get_layer('head').get_weights()[0]\n"
            "ed.model.fit(images, labels, epochs=2, verbose=0, callbacks=[ed.live()])\n"
            "kept = all(map(np.array_equal, note.seen, conv1.get_weights()))\n"
            "print(kept, np.array_equal(head, ed.model.get_layer('head').get_weights()[0]))",
        )
        == "True False"
    )
    expect(strip(widget)).to_contain_text("Epoch 2 of 2")


def test_a_training_is_looked_back_at(lab: Lab, widget: Locator) -> None:
    lab.run_cell(FIT.replace("100_000", "3"), timeout=120_000)
    training = strip(widget)
    expect(training).to_contain_text("Trained Epoch 3 of 3")
    image = weights(widget, "head")
    expect(image).not_to_have_attribute("aria-label", re.compile("a step"))
    now = image.get_attribute("aria-label") or ""
    slider = training.get_by_role("slider", name="Step of the training")
    total = int(slider.get_attribute("max") or 0)
    assert total == 3 * 29

    slider.fill("0")
    expect(slider).to_have_attribute("aria-valuetext", "step 0")
    expect(image).to_have_attribute("aria-label", re.compile("not changed since fit began"))
    slider.fill(str(total))
    expect(slider).to_have_attribute("aria-valuetext", f"step {total}")
    button(training, "Live").click()
    expect(slider).to_have_attribute("aria-valuetext", f"live, step {total}")
    expect(image).to_have_attribute("aria-label", now)

    # A view that comes when all is over sees how the loss went.
    late = region(lab.run_cell("ed"))
    expect(strip(late).get_by_role("img", name=re.compile("^Loss, the last"))).to_be_visible()

    # What goes wrong is said.
    lab.run_cell("ed.model.fit(images * np.nan, labels, verbose=0, callbacks=[ed.live()])")
    alerts = training.get_by_role("alert")
    found = alerts.filter(has_text=re.compile("NaN or Inf in the weights of 'conv1'.*seen at step"))
    expect(found.first).to_be_visible()

    # The layers of the training are no longer these.
    button(widget, "Remove drop").click()
    expect(row(widget, "drop")).to_have_count(0)
    expect(training).to_have_count(0)


@pytest.mark.slow
def test_pictures_of_a_training(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 1180, "height": 1400})
    lab.new_notebook()
    lab.execute("application:toggle-left-area")
    lab.run_cell(BUILD, timeout=180_000)
    widget = region(lab.run_cell("ed = kerasedit.Editor(model)\ned"))
    button(widget, "Unfold backbone").click()
    lab.run_cell(
        "ed.reinitialize('hidden')\ned.reinitialize('head')\n"
        "ed.model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])\n"
        "ed.model.fit(images, labels, epochs=200, verbose=0, callbacks=[ed.live()])",
        wait=False,
    )
    curve = strip(widget).get_by_role("img", name=re.compile("^Loss, the last [4-9][0-9] values"))
    expect(curve).to_be_visible(timeout=WAIT)
    toggle(widget, "stem").click()
    lab.screenshot("training-pending", widget)
    toggle(widget, "backbone").click()
    expect(toggle(widget, "backbone")).to_have_attribute("aria-busy", "false")
    toggle(widget, "backbone").blur()
    lab.page.mouse.move(0, 0)
    for theme, name in ((DARK, "dark"), (LIGHT, "light")):
        lab.set_theme(theme)
        moves(weights(widget, "backbone/conv1"))
        lab.screenshot(f"training-{name}", widget)
    stop(lab, widget)
    slider = strip(widget).get_by_role("slider")
    slider.fill(str(int(slider.get_attribute("max") or 0) // 2))
    expect(weights(widget, "hidden")).to_have_attribute("aria-label", re.compile("a step"))
    lab.screenshot("trained-light", widget)
