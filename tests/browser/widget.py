"""The widget, found by its accessible names."""

from __future__ import annotations

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
