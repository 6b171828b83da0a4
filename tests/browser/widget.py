"""The widget, found by its accessible names."""

from __future__ import annotations

from typing import NamedTuple

from playwright.sync_api import Locator, expect

from .lab import Lab


def region(output: Locator) -> Locator:
    """The widget that an output area shows."""
    found = output.get_by_role("region", name="Keras model editor")
    expect(found).to_be_visible()
    return found


def row(widget: Locator, path: str) -> Locator:
    return widget.get_by_role("row", name=path, exact=True)


def button(widget: Locator, name: str) -> Locator:
    return widget.get_by_role("button", name=name, exact=True)


def toggle(widget: Locator, path: str) -> Locator:
    return widget.get_by_role("switch", name=f"Trainable {path}", exact=True)


def messages(widget: Locator) -> Locator:
    return widget.get_by_role("status", name="Messages")


def palette(widget: Locator, action: str, class_name: str, **arguments: str) -> Locator:
    """Opens the palette with a row's button, chooses a type and fills in its arguments."""
    button(widget, action).click()
    title = "Replace layer" if action.startswith("Replace") else "Insert layer"
    dialog = widget.page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    dialog.get_by_role("searchbox", name="Find a layer type").fill(class_name)
    dialog.get_by_role("option", name=class_name, exact=True).click()
    for name, value in arguments.items():
        dialog.get_by_label(name, exact=True).fill(value)
    return dialog


def apply(dialog: Locator) -> None:
    """Applies what the palette holds, once the preview says that it can be."""
    done = button(dialog, "Apply")
    expect(done).to_be_enabled()
    done.click()
    expect(dialog).to_be_hidden()


def python(lab: Lab, source: str) -> str:
    """What a cell prints; the widget lives in the kernel that answers."""
    lab.run_cell(source, timeout=120_000)
    return lab.output_text()


class Fling(NamedTuple):
    """What was seen while the list was scrolled."""

    frames: int
    blank: int  # frames in which a part of the list had no row
    seconds: float


# What a frame shows is looked at in a task of its own right behind the frame's callbacks: that is
# after the scroll, and before anything could make up for it.
_FLING = """async (grid, step) => {
    const covered = () => {
        const box = grid.getBoundingClientRect();
        const rows = [...grid.querySelectorAll("[role=row]")].map(row => row.getBoundingClientRect());
        rows.sort((a, b) => a.top - b.top);
        let bottom = box.top + grid.clientTop;
        for (const row of rows) if (row.top <= bottom + 1) bottom = Math.max(bottom, row.bottom);
        return bottom >= box.top + grid.clientTop + grid.clientHeight - 1;
    };
    const frame = look => new Promise(done => requestAnimationFrame(() => {
        look();
        const after = new MessageChannel();
        after.port1.onmessage = done;
        after.port2.postMessage(null);
    }));
    let frames = 0, blank = 0;
    const end = grid.scrollHeight - grid.clientHeight;
    const start = performance.now();
    for (const by of [step, -step]) {
        while (by > 0 ? grid.scrollTop < end - 1 : grid.scrollTop > 0) {
            await frame(() => { grid.scrollTop += by; });
            frames += 1;
            if (!covered()) blank += 1;
        }
    }
    return [frames, blank, (performance.now() - start) / 1000];
}"""


def fling(widget: Locator, step: int) -> Fling:
    """Scrolls the list to its end and back, so many pixels a frame."""
    grid = widget.get_by_role("treegrid", name="Layers")
    return Fling(*grid.evaluate(_FLING, step))
