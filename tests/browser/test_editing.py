"""Models edited in tabs of JupyterLab: of files, and of the variables of a notebook."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from playwright.sync_api import Browser, Locator, Route, expect

import kerasedit
from tests import models

from .lab import WAIT, Jupyter, Lab, install_jupyterlab, jupyter_server, open_lab
from .test_accessibility import AXE, check
from .test_model_files import asked, double_click, folder, view
from .widget import button, messages, python, row, toggle

__all__ = ["folder"]  # a fixture


def editor(lab: Lab, tab: str = ".ke-tab") -> Locator:
    """The editor in the tab in front."""
    found = lab.page.locator(f"{tab}:visible").get_by_role("region", name="Keras model editor")
    expect(found).to_be_visible(timeout=WAIT)
    return found


def edit_file(lab: Lab, name: str) -> Locator:
    """Opens a file, and edits it."""
    double_click(lab, name)
    button(view(lab), "Edit").click()
    return editor(lab, ".ke-file")


def remove(shown: Locator, path: str) -> None:
    """Removes a layer by the keyboard, as a tab may be too narrow for the buttons of a row."""
    row(shown, path).get_by_text(path, exact=True).click()
    shown.page.keyboard.press("Delete")
    expect(row(shown, path)).to_have_count(0)


def title(lab: Lab, name: str) -> Locator:
    return lab.page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=name)


def expect_dirty(lab: Lab, name: str, tabs: int = 1) -> None:
    """JupyterLab's mark on the tabs of a file."""
    dirty = lab.page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty", has_text=name)
    expect(dirty).to_have_count(tabs)


def dialog(lab: Lab, text: str) -> Locator:
    found = lab.page.get_by_role("dialog").filter(has_text=text)
    expect(found).to_be_visible()
    return found


def answer(lab: Lab, text: str, choice: str | re.Pattern[str]) -> None:
    """Answers a question of JupyterLab's."""
    asked = dialog(lab, text)
    asked.get_by_role("button", name=choice, exact=True).click()
    expect(asked).to_be_hidden()


def kernels(lab: Lab) -> list[str]:
    return [kernel["id"] for kernel in lab.jupyter.request("GET", "kernels")]


def expect_connections(lab: Lab, number: int) -> None:
    """How many the only kernel has; each page that edits there has two."""
    lab.wait_until(
        """async number => {
            const { kernels } = window.jupyterapp.serviceManager;
            await kernels.refreshRunning();
            const [{ connections }] = kernels.running();
            return connections === number;
        }""",
        number,
    )


def expect_equal(file: Path, expected: keras.Model) -> None:
    """A file, loaded by Keras here, does what a model does."""
    loaded = keras.saving.load_model(file)
    x = models.data(2, *expected.inputs[0].shape[1:])
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected.predict(x, verbose=0))


NO_KERNEL = """async () => {
    const { kernels } = window.jupyterapp.serviceManager;
    await kernels.refreshRunning();
    return [...kernels.running()].length === 0;
}"""


# --- Files ----------------------------------------------------------------------------------------


def test_a_file_is_edited_saved_and_undone_to_clean(lab: Lab, folder: Path) -> None:
    file = folder / "m.keras"
    models.cnn().save(file)
    expected = kerasedit.Editor(file).remove("block2_relu").model
    contents: list[str] = []
    lab.page.on("request", lambda r: contents.append(r.url) if "content=1" in r.url else None)

    shown = edit_file(lab, "m.keras")
    assert len(kernels(lab)) == 1
    expect(button(shown, "Hand back")).to_have_count(0)
    expect_dirty(lab, "m.keras", 0)
    remove(shown, "block2_relu")
    expect_dirty(lab, "m.keras")
    lab.screenshots("tab-file")

    button(shown, "Undo").click()
    expect(row(shown, "block2_relu")).to_be_visible()
    expect_dirty(lab, "m.keras", 0)
    button(shown, "Redo").click()
    expect_dirty(lab, "m.keras")

    before = file.stat().st_ino
    heard = lab.page.evaluate_handle(
        """() => {
            const told = [];
            const { contents } = window.jupyterapp.serviceManager;
            contents.fileChanged.connect((_, { type, newValue }) => told.push([type, newValue.path]));
            return told;
        }"""
    )
    row(shown, "head").click(position={"x": 400, "y": 10})
    lab.page.keyboard.press("Control+s")
    expect_dirty(lab, "m.keras", 0)
    assert file.stat().st_ino != before, "written beside, and renamed"
    lab.wait_until("told => told.length > 0", heard)
    assert heard.json_value() == [["save", "m.keras"]], "the file browser looks anew"
    expect_equal(file, expected)
    expect(row(shown, "block2_relu")).to_have_count(0)
    button(shown, "Undo").click()
    expect_dirty(lab, "m.keras")
    button(shown, "Save").click()
    expect_dirty(lab, "m.keras", 0)
    assert not [url for url in contents if "m.keras" in url], "the content is not fetched"

    title(lab, "m.keras").locator(".lm-TabBar-tabCloseIcon").click()
    expect(title(lab, "m.keras")).to_have_count(0)
    lab.wait_until(NO_KERNEL)


def test_a_file_that_changed_on_disk_is_asked_about(lab: Lab, folder: Path) -> None:
    file = folder / "m.keras"
    models.cnn().save(file)
    shown = edit_file(lab, "m.keras")
    remove(shown, "block2_relu")
    expect_dirty(lab, "m.keras")

    models.nested().save(file)
    theirs = file.read_bytes()
    button(shown, "Save").click()
    dialog(lab, "has changed on disk")
    expect(lab.page.locator("#jp-main-statusbar")).not_to_contain_text("Saving failed")
    answer(lab, "has changed on disk", "Cancel")
    assert file.read_bytes() == theirs
    expect_dirty(lab, "m.keras")

    button(shown, "Save").click()
    answer(lab, "has changed on disk", "Overwrite")
    expect_dirty(lab, "m.keras", 0)
    assert "block2_relu" not in [layer.name for layer in keras.saving.load_model(file).layers]

    remove(shown, "block3_relu")
    expect_dirty(lab, "m.keras")
    file.write_bytes(theirs)
    button(shown, "Save").click()
    answer(lab, "has changed on disk", "Revert")
    expect(row(editor(lab), "backbone")).to_be_visible(timeout=WAIT)
    expect_dirty(lab, "m.keras", 0)
    assert file.read_bytes() == theirs


def test_code_in_a_file_is_asked_about(lab: Lab, folder: Path) -> None:
    keras.Sequential(
        [keras.Input((3,)), layers.Lambda(lambda x: x * 2, name="code"), layers.Dense(2)]
    ).save(folder / "code.keras")
    double_click(lab, "code.keras")
    shown = view(lab)
    button(shown, "Edit").click()
    asked = dialog(lab, "These layers hold code: code.")
    expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
    lab.screenshots("tab-unsafe")
    asked.get_by_role("button", name="Cancel").click()
    expect(button(shown, "Edit")).to_have_attribute("aria-disabled", "false")
    assert kernels(lab) == []
    button(shown, "Edit").click()
    answer(lab, "These layers hold code: code.", "Trust and Load")
    expect(row(editor(lab), "code")).to_be_visible()


def test_a_file_that_keras_cannot_compile_is_asked_about(lab: Lab, folder: Path) -> None:
    """The loss of an `.h5` file is given by name."""
    file, model = folder / "m.h5", models.cnn()
    model.compile("sgd", "mse")
    model.save(file)
    double_click(lab, "m.h5")
    button(view(lab), "Edit").click()
    answer(lab, "Edit without the compiled state?", "Edit Without")
    remove(editor(lab), "block2_relu")
    expect_dirty(lab, "m.h5")
    button(editor(lab), "Save").click()
    expect_dirty(lab, "m.h5", 0)
    expect_equal(file, kerasedit.Editor(model).remove("block2_relu").model)


def test_a_class_that_the_kernel_does_not_know(lab: Lab, folder: Path) -> None:
    keras.Sequential([keras.Input((3,)), models.Scale(name="own")]).save(folder / "own.keras")
    double_click(lab, "own.keras")
    shown = view(lab)
    button(shown, "Edit").click()
    expect(shown.get_by_role("alert")).to_contain_text("custom_objects", timeout=WAIT)
    expect(row(shown, "own")).to_be_visible()
    lab.screenshots("tab-unknown-class")
    button(shown, "Dismiss message").click()
    expect(shown.get_by_role("alert")).to_have_count(0)


def test_a_kernel_without_kerasedit(lab: Lab, folder: Path, tmp_path: Path) -> None:
    """Another one can be chosen."""
    models.cnn().save(folder / "m.keras")
    missing = "raise ModuleNotFoundError(\"No module named 'kerasedit'\")"
    (tmp_path / "kerasedit.py").write_text(missing)
    lab.jupyter.add_kernel("bare", {"PYTHONPATH": str(tmp_path)})
    try:
        lab.page.evaluate(
            """async () => {
                const { kernelspecs } = window.jupyterapp.serviceManager;
                await kernelspecs.refreshSpecs();
                kernelspecs.specs.default = "bare";
            }"""
        )
        double_click(lab, "m.keras")
        shown = view(lab)
        button(shown, "Edit").click()
        alert = shown.get_by_role("alert")
        expect(alert).to_contain_text("in the kernel 'bare' (No module named 'kerasedit')")
        lab.screenshots("tab-bare-kernel")
        button(alert, "Choose another kernel").click()
        asked = dialog(lab, "Kernel to edit with")
        asked.get_by_role("combobox").select_option("Python 3 (ipykernel)")
        asked.get_by_role("button", name="Ok").click()
        expect(row(editor(lab), "head")).to_be_visible()
        assert len(kernels(lab)) == 1
    finally:
        lab.jupyter.remove_kernel("bare")


def test_what_was_edited_is_there_after_a_reload(lab: Lab, folder: Path) -> None:
    """Of two files in two tabs."""
    for name in ("one.keras", "two.keras"):
        models.cnn().save(folder / name)
        shown = edit_file(lab, name)
        remove(shown, "block2_relu")
        expect_dirty(lab, name)
    remove(shown, "block3_relu")
    assert len(kernels(lab)) == 2
    lab.page.wait_for_function("() => location.pathname.includes('two.keras')")
    lab.page.on("dialog", lambda asked: asked.accept())
    lab.reload()
    shown = editor(lab)
    expect(row(shown, "block2_relu")).to_have_count(0)
    expect(row(shown, "block3_relu")).to_have_count(0)
    expect_dirty(lab, "two.keras")
    button(shown, "Undo").click()
    expect(row(shown, "block3_relu")).to_be_visible()
    # JupyterLab brings what its address names to the front once more, some requests later.
    lab.page.wait_for_load_state("networkidle")
    title(lab, "one.keras").click()
    expect(title(lab, "one.keras")).to_have_class(re.compile("lm-mod-current"))
    shown = editor(lab)
    expect(row(shown, "block2_relu")).to_have_count(0)
    expect(row(shown, "block3_relu")).to_be_visible()
    assert len(kernels(lab)) == 2
    button(shown, "Save").click()
    expect_dirty(lab, "one.keras", 0)
    assert len(keras.saving.load_model(folder / "one.keras").layers) == len(models.cnn().layers) - 1


def test_two_pages_on_one_file(lab: Lab, folder: Path) -> None:
    """They see the same edits, and the page that came later ends them for nobody."""
    models.cnn().save(folder / "one.keras")
    first = edit_file(lab, "one.keras")
    remove(first, "block2_relu")
    second = Lab(lab.page.context.new_page(), lab.jupyter)
    second.start()
    double_click(second, "one.keras")
    also = editor(second)
    expect(row(also, "block2_relu")).to_have_count(0)
    remove(also, "block3_relu")
    expect(row(first, "block3_relu")).to_have_count(0)

    # Which of them came first makes no difference.
    lab.page.wait_for_function("() => location.pathname.includes('one.keras')")
    lab.page.on("dialog", lambda asked: asked.accept())
    lab.reload()
    first = editor(lab)
    expect(row(first, "block3_relu")).to_have_count(0)

    second.execute("application:close")
    answer(second, "Save your work", re.compile("^Discard"))
    expect(title(second, "one.keras")).to_have_count(0)
    expect_connections(lab, 2)
    expect_dirty(lab, "one.keras")
    button(first, "Undo").click()
    expect(row(first, "block3_relu")).to_be_visible()
    lab.execute("application:close")
    answer(lab, "Save your work", re.compile("^Discard"))
    lab.wait_until(NO_KERNEL)


def test_a_page_that_gives_up_ends_no_kernel_in_which_another_edits(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "one.keras")
    first = edit_file(lab, "one.keras")
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    double_click(other, "one.keras")
    expect(row(editor(other), "head")).to_be_visible()
    # It loads the file into another tab of the kernel.
    lab.execute("docmanager:reload")
    button(other.page.get_by_role("alert"), "Show the File").click()
    button(view(other), "Edit").click()
    expect(row(editor(other), "head")).to_be_visible()
    remove(first, "block2_relu")
    expect(row(editor(other), "block2_relu")).to_have_count(0)


def test_a_tab_that_is_closed_while_it_looks_for_a_kernel_ends_none(lab: Lab, folder: Path) -> None:
    """Another page has started one meanwhile."""
    models.cnn().save(folder / "one.keras")
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    double_click(other, "one.keras")
    expect(row(view(other), "head")).to_be_visible()
    first = edit_file(lab, "one.keras")

    held: list[Route] = []
    other.page.route("**/api/sessions?*", lambda route: held.append(route))
    button(view(other), "Edit").click()
    while not held:
        other.page.wait_for_timeout(50)
    other.execute("application:close")
    expect(title(other, "one.keras")).to_have_count(0)
    for route in held:
        route.continue_()
    other.page.unroute("**/api/sessions?*")
    # What it asks the server now comes after what it would do to the kernel.
    other.wait_until(
        "async () => { await jupyterapp.serviceManager.sessions.refreshRunning(); return true; }"
    )
    expect_connections(lab, 2)
    remove(first, "block2_relu")
    expect_dirty(lab, "one.keras")


def test_two_pages_that_look_at_a_file_edit_it_in_one_kernel(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "one.keras")
    pages = lab, Lab(lab.page.context.new_page(), lab.jupyter).start()
    for page in pages:
        double_click(page, "one.keras")
        expect(row(view(page), "head")).to_be_visible()
    for page in pages:
        button(view(page), "Edit").click()
        expect(row(editor(page), "head")).to_be_visible()
    assert len(kernels(lab)) == 1
    remove(editor(lab), "block2_relu")
    expect(row(editor(pages[1]), "block2_relu")).to_have_count(0)


def test_a_tab_that_is_closed_before_its_kernel_is_there_leaves_none(
    lab: Lab, folder: Path
) -> None:
    models.cnn().save(folder / "m.keras")
    double_click(lab, "m.keras")
    held: list[Route] = []
    lab.page.route(
        "**/api/sessions?*",
        lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
    )
    button(view(lab), "Edit").click()
    while not held:
        lab.page.wait_for_timeout(50)
    lab.execute("application:close")
    expect(title(lab, "m.keras")).to_have_count(0)
    with lab.page.expect_response(lambda response: response.request.method == "POST"):
        held[0].continue_()
    lab.wait_until(NO_KERNEL)


def test_autosave_leaves_models_alone(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    note = folder / "note.txt"
    note.write_text("")
    lab.page.clock.install()
    remove(edit_file(lab, "m.keras"), "block2_relu")
    expect_dirty(lab, "m.keras")
    lab.execute("docmanager:open", path="note.txt", factory="Editor")
    lab.page.locator(".jp-FileEditor:visible").get_by_role("textbox").click()
    lab.page.keyboard.type("kept")
    expect_dirty(lab, "note.txt")
    urls = asked(lab)
    lab.page.clock.fast_forward("10:00")
    expect_dirty(lab, "note.txt", 0)
    assert note.read_text() == "kept"
    assert not [url for url in urls if "kerasedit" in url], "the model's turn came first"
    expect_dirty(lab, "m.keras")


def test_a_file_is_saved_under_another_name(lab: Lab, folder: Path) -> None:
    file = folder / "m.keras"
    models.cnn().save(file)
    before = file.read_bytes()
    shown = edit_file(lab, "m.keras")
    remove(shown, "block2_relu")
    expect_dirty(lab, "m.keras")
    lab.execute("docmanager:save-as")
    asked = dialog(lab, "Save Model As")
    asked.get_by_role("textbox").fill("other.keras")
    asked.get_by_role("button", name="Save", exact=True).click()
    expect(title(lab, "other.keras")).to_be_visible()
    expect_dirty(lab, "other.keras", 0)
    assert file.read_bytes() == before
    remove(shown, "block3_relu")
    expect_dirty(lab, "other.keras")
    button(shown, "Save").click()
    expect_dirty(lab, "other.keras", 0)
    layers_left = [layer.name for layer in keras.saving.load_model(folder / "other.keras").layers]
    assert not {"block2_relu", "block3_relu"} & set(layers_left)


def test_a_file_that_is_renamed_while_it_is_saved(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    expected = kerasedit.Editor(folder / "m.keras").remove("block2_relu").model
    shown = edit_file(lab, "m.keras")
    remove(shown, "block2_relu")

    # The server says where the file is, and then it is there no longer.
    held: list[Route] = []
    lab.page.route("**/kerasedit/place**", lambda route: held.append(route), times=1)
    lab.page.evaluate("() => { window.saved = jupyterapp.shell.currentWidget.context.save(); }")
    while not held:
        lab.page.wait_for_timeout(50)
    said = held[0].fetch()
    lab.page.evaluate("jupyterapp.serviceManager.contents.rename('m.keras', 'n.keras')")
    expect_dirty(lab, "n.keras")
    held[0].fulfill(response=said)
    dialog(lab, "has changed on disk")
    expect_dirty(lab, "n.keras")
    answer(lab, "has changed on disk", "Overwrite")
    lab.page.evaluate("window.saved")
    expect_dirty(lab, "n.keras", 0)
    expect_equal(folder / "n.keras", expected)


def test_closing_a_dirty_tab_asks(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    shown = edit_file(lab, "m.keras")
    remove(shown, "block2_relu")
    expect_dirty(lab, "m.keras")
    close = title(lab, "m.keras").locator(".lm-TabBar-tabCloseIcon")
    close.click()
    answer(lab, "Save your work", "Cancel")
    expect(shown).to_be_visible()
    close.click()
    answer(lab, "Save your work", "Save")
    expect(title(lab, "m.keras")).to_have_count(0)
    assert "block2_relu" not in [
        layer.name for layer in keras.saving.load_model(folder / "m.keras").layers
    ]


def test_two_views_of_a_file_are_one_document(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    shown = edit_file(lab, "m.keras")
    lab.execute("docmanager:clone")
    views = lab.page.get_by_role("region", name="Keras model editor")
    expect(views).to_have_count(2)
    remove(views.first, "block2_relu")
    expect(row(views.last, "block2_relu")).to_have_count(0)
    expect_dirty(lab, "m.keras", 2)
    assert len(kernels(lab)) == 1
    title(lab, "m.keras").first.locator(".lm-TabBar-tabCloseIcon").click()
    expect(views).to_have_count(1)
    button(shown, "Undo").click()
    expect_dirty(lab, "m.keras", 0)
    # The view that is closed does not hear of it any more.
    lab.execute("docmanager:save")
    assert not [said for said in lab.console if "TypeError" in said]


def test_a_kernel_that_is_shut_down(lab: Lab, folder: Path) -> None:
    """The last state stays to be read; then the file is shown again, and can be edited anew."""
    models.cnn().save(folder / "m.keras")
    shown = edit_file(lab, "m.keras")
    remove(shown, "block2_relu")
    expect_dirty(lab, "m.keras")
    lab.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    alert = lab.page.locator(".ke-tab").get_by_role("alert")
    expect(alert).to_contain_text("what was not saved is gone")
    expect(messages(shown)).to_contain_text("not live")
    expect_dirty(lab, "m.keras", 0)
    button(alert, "Show the File").click()
    expect(row(view(lab), "block2_relu")).to_be_visible()
    button(view(lab), "Edit").click()
    remove(editor(lab), "block2_relu")
    expect_dirty(lab, "m.keras")


def test_axe_finds_nothing(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "m.keras")
    edit_file(lab, "m.keras")
    lab.page.add_script_tag(path=AXE)
    check(lab, "a model file that is edited")
    lab.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    expect(lab.page.locator(".ke-tab").get_by_role("alert")).to_be_visible()
    check(lab, "without its kernel")


@pytest.mark.slow
def test_the_oldest_jupyterlab_edits_too(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, root = tmp_path_factory.mktemp("old-home"), tmp_path_factory.mktemp("models")
    with (
        jupyter_server(home, root, install_jupyterlab("4.4")) as server,
        open_lab(browser, server) as lab,
    ):
        assert lab.page.evaluate("() => window.jupyterapp.version").startswith("4.4.")
        test_a_file_is_edited_saved_and_undone_to_clean(lab, root)


@pytest.mark.slow
def test_notebook_7_edits_too(jupyter: Jupyter, browser: Browser) -> None:
    file = jupyter.root / "m.keras"
    models.cnn().save(file)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{jupyter.url}/tree?token={jupyter.token}")
    with context.expect_page(timeout=WAIT) as opened:
        page.locator(".jp-DirListing-item", has_text="m.keras").dblclick()
    button(opened.value.get_by_role("region", name="Keras model file"), "Edit").click()
    shown = opened.value.get_by_role("region", name="Keras model editor")
    expect(shown).to_be_visible(timeout=WAIT)
    remove(shown, "block2_relu")
    before = file.stat().st_ino
    opened.value.keyboard.press("Control+s")
    opened.value.wait_for_function(
        """() => {
            const { context } = window.jupyterapp.shell.currentWidget;
            return !context.model.dirty;
        }"""
    )
    assert file.stat().st_ino != before
    context.close()
    jupyter.shut_down_kernels()


# --- Variables ------------------------------------------------------------------------------------

SET_UP = """
from tests import models
import kerasedit
model = models.cnn()
"""


def kernel_id(lab: Lab) -> str:
    return lab.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.id"
    )


# How many threads the notebook's kernel has beside its own.
SUBSHELLS = """async () => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    return (await kernel.requestListSubshell({}).done).content.subshell_id.length;
}"""


def edit_variable(lab: Lab, variable: str = "model") -> Locator:
    lab.execute("kerasedit:edit", kernel=kernel_id(lab), variable=variable, path="test.ipynb")
    return editor(lab)


def to_notebook(lab: Lab) -> None:
    """Brings the notebook to the front, beside the editor."""
    lab.execute("docmanager:open", path="test.ipynb", factory="Notebook")
    lab.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.context?.path === 'test.ipynb'"
    )


def test_a_variable_is_edited_beside_the_notebook(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    kernel = kernel_id(lab)
    shown = edit_variable(lab)
    expect(lab.page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(title(lab, "model")).to_be_visible()
    remove(shown, "block2_relu")
    shown.get_by_role("textbox", name="Variable name").fill("smaller")
    button(shown, "Hand back").click()
    expect(messages(shown)).to_contain_text("smaller")
    lab.screenshots("tab-variable")

    to_notebook(lab)
    assert python(lab, "print(len(model.layers) - len(smaller.layers))") == "1"
    # There is one tab for it.
    lab.execute("kerasedit:edit", kernel=kernel, variable="model", path="test.ipynb")
    expect(lab.page.locator(".ke-tab")).to_have_count(1)
    title(lab, "model").locator(".lm-TabBar-tabCloseIcon").click()
    expect(lab.page.locator(".ke-tab")).to_have_count(0)
    to_notebook(lab)
    assert python(lab, "from kerasedit.lab import tabs; print(len(tabs._tabs))") == "0"


def test_an_editor_is_shown_live_while_a_cell_runs(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP + "ed = kerasedit.Editor(model)")
    shown = edit_variable(lab, "ed")
    to_notebook(lab)
    wait = "import time\nwhile ed.layers[-1].trainable: time.sleep(0.05)\nprint('frozen')"
    lab.run_cell(wait, wait=False)
    toggle(shown, "head").click()
    lab.cells_done()
    to_notebook(lab)
    assert lab.output_text() == "frozen"


def test_the_panel_of_models_opens_a_tab(lab: Lab) -> None:
    """And knows of the edits that are made there."""
    lab.new_notebook()
    python(lab, SET_UP)
    lab.execute("kerasedit:show-models")
    panel = lab.page.get_by_role("region", name="Keras models")
    row(panel, "model").focus()
    lab.page.keyboard.press("Enter")
    shown = editor(lab)
    remove(shown, "block2_relu")
    expect(row(panel, "model")).to_contain_text("1 edit not handed back")
    button(shown, "Hand back").click()
    expect(row(panel, "model_edited")).to_be_visible()


def test_a_variables_tab_is_there_after_a_reload(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    shown = edit_variable(lab)
    remove(shown, "block2_relu")
    lab.execute("docmanager:save-all")
    kernel = kernels(lab)[0]
    lab.layout_kept(f"kerasedit-editors:{kernel}:model")
    lab.reload()
    shown = editor(lab)
    expect(row(shown, "block2_relu")).to_have_count(0)
    expect(button(shown, "Undo")).to_have_attribute("aria-disabled", "false")
    to_notebook(lab)
    lab.kernel_idle()
    # That of the earlier page ends with it.
    lab.wait_until(f"async () => await ({SUBSHELLS})() === 1")
    assert python(lab, "from kerasedit.lab import tabs; print(len(tabs._tabs))") == "1"


def test_edits_in_no_variable_are_not_lost_unasked(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    shown = edit_variable(lab)
    dirty = lab.page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty", has_text="model")
    expect(dirty).to_have_count(0)
    remove(shown, "block2_relu")
    expect(dirty).to_have_count(1)
    close = title(lab, "model").locator(".lm-TabBar-tabCloseIcon")
    close.click()
    answer(lab, "Discard the edits?", "Cancel")
    expect(row(shown, "head")).to_be_visible()
    button(shown, "Hand back").click()
    expect(dirty).to_have_count(0)
    remove(shown, "block3_relu")
    expect(dirty).to_have_count(1)
    button(shown, "Undo").click()
    expect(dirty).to_have_count(0)
    button(shown, "Redo").click()
    expect(dirty).to_have_count(1)
    close.click()
    answer(lab, "Discard the edits?", "Discard Edits")
    expect(title(lab, "model")).to_have_count(0)
    # An editor of the user's own goes on without the tab.
    to_notebook(lab)
    python(lab, "ed = kerasedit.Editor(model)")
    remove(edit_variable(lab, "ed"), "block2_relu")
    title(lab, "ed").locator(".lm-TabBar-tabCloseIcon").click()
    expect(title(lab, "ed")).to_have_count(0)
    to_notebook(lab)
    assert python(lab, "print(len(ed.history))") == "1"


def test_a_tab_that_another_page_closes_says_so(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    edit_variable(lab)
    other = Lab(lab.page.context.new_page(), lab.jupyter).start()
    other.open_notebook("test.ipynb")
    expect(row(edit_variable(other), "head")).to_be_visible()
    title(other, "model").locator(".lm-TabBar-tabCloseIcon").click()
    lost = lab.page.locator(".ke-tab").get_by_role("alert")
    expect(lost).to_contain_text("closed in another page")
    lost.get_by_role("button").click()
    expect(row(editor(lab), "head")).to_be_visible()
    expect(lost).to_have_count(0)


def test_a_variable_that_holds_another_model_by_now(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    shown = edit_variable(lab)
    to_notebook(lab)
    python(lab, "other = models.nested()")
    edit_variable(lab, "other")
    left = [title(lab, name).bounding_box() for name in ("model", "other")]
    assert left[0] and left[1] and abs(left[0]["y"] - left[1]["y"]) < 2
    assert len(lab.page.locator("#jp-main-dock-panel .lm-DockPanel-tabBar").all()) == 2
    to_notebook(lab)
    python(lab, "model = models.nested()")
    edit_variable(lab)
    note = lab.page.locator(".ke-tab:visible").get_by_role("alert")
    expect(note).to_contain_text("holds another model by now")
    expect(row(shown, "block1_conv")).to_be_visible()
    note.get_by_role("button", name="Open 'model' Again").click()
    expect(row(editor(lab), "backbone")).to_be_visible()
    expect(note).to_have_count(0)


def test_a_click_into_a_scrolled_tab_is_not_lost(lab: Lab) -> None:
    lab.new_notebook()
    python(
        lab,
        "import keras, kerasedit\n"
        "chain = [keras.layers.Dense(2, name=f'd{n}') for n in range(60)]\n"
        "model = keras.Sequential([keras.Input((2,)), *chain])",
    )
    shown = edit_variable(lab)
    expect(row(shown, "d0")).to_be_visible()
    lab.page.wait_for_function("() => document.activeElement.matches('.ke-tab [role=row]')")
    shown.get_by_role("treegrid").hover()
    lab.page.mouse.wheel(0, 5000)
    expect(row(shown, "d59")).to_be_visible()
    to_notebook(lab)
    toggle(shown, "d55").click()
    expect(toggle(shown, "d55")).not_to_be_checked()
    expect(row(shown, "d59")).to_be_visible()


def test_the_panel_shows_the_kernel_of_the_tab_in_front(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    edit_variable(lab)
    lab.new_notebook("x = 1", name="second.ipynb")
    lab.execute("kerasedit:show-models")
    panel = lab.page.get_by_role("region", name="Keras models")
    expect(panel).to_contain_text("second.ipynb")
    title(lab, "model").click()
    expect(row(panel, "model")).to_be_visible()
    expect(panel).to_contain_text("test.ipynb")


def test_a_kernel_that_is_restarted_before_it_answers(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    lab.run_cell("import time; time.sleep(600)", wait=False)
    lab.execute("kerasedit:edit", kernel=kernel_id(lab), variable="model", path="test.ipynb")
    tab = lab.page.locator(".ke-tab:visible")
    expect(tab).to_contain_text("until nothing else runs in the kernel")
    to_notebook(lab)
    lab.restart_kernel()
    expect(tab.get_by_role("alert")).to_contain_text("was restarted")
    python(lab, SET_UP)
    button(tab, "Open 'model' Again").click()
    expect(row(editor(lab), "head")).to_be_visible()


def test_a_kernel_that_is_restarted(lab: Lab) -> None:
    lab.new_notebook()
    python(lab, SET_UP)
    shown = edit_variable(lab)
    to_notebook(lab)
    lab.restart_kernel()
    lost = lab.page.locator(".ke-tab").get_by_role("alert")
    expect(lost).to_contain_text("was restarted")
    expect(messages(shown)).to_contain_text("not live")
    lab.screenshots("tab-restarted")
    lost.get_by_role("button").click()
    expect(lab.page.locator(".ke-tab").get_by_role("alert")).to_contain_text("no Keras model")
    to_notebook(lab)
    python(lab, SET_UP)
    lab.page.locator(".ke-tab").get_by_role("alert").get_by_role("button").click()
    expect(row(editor(lab), "head")).to_be_visible()
