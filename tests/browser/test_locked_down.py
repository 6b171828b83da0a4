"""Where much is forbidden: below another base URL, under a content-security policy, without a network,
and where files may not be written.

One server has all of it at once.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import pytest
from jupyterlab.commands import get_app_dir
from playwright.sync_api import Browser, Page, expect

import kerasedit
from tests import models

from .lab import Jupyter, Lab, jupyter_server, open_lab
from .test_comparing import comparison, line
from .test_editing import answer, dialog, editor, expect_dirty, expect_equal, remove, title
from .test_model_files import double_click, folder, view
from .test_models_panel import menu, panel
from .widget import button, python, region, row

__all__ = ["folder"]  # a fixture

# JupyterHub's for somebody called `ada lovelace@example.org`.
BASE_URL = "/user/ada%20lovelace@example.org"

# By these root writes whatever the permissions say.
ANYWAY = "-dac_override,-dac_read_search,-fowner"
UNPRIVILEGED = ["setpriv", f"--bounding-set={ANYWAY}"] if os.geteuid() == 0 else []

# Where Jupyter, Keras and Matplotlib write.
JUPYTERS = {"runtime", "ipython", "lab-settings", "lab-workspaces", ".ipynb_checkpoints"}
OTHERS = {*JUPYTERS, ".keras", ".config", ".cache"}

BUILD = """
from tests import models
import kerasedit
model = models.cnn()
ed = kerasedit.Editor(model).freeze("head")
"""


def policy(scripts: str) -> str:
    """The strictest under which JupyterLab itself runs and has nothing to complain of.

    Args:
        scripts: where else scripts may come from.
    """
    # JupyterLab's page takes the token out of the address by a script in the page.
    page = Path(get_app_dir(), "static", "index.html").read_text("utf-8")
    inline = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    ]
    return (
        # It makes code to check its settings by, and puts its styles into the page.
        f"default-src 'none'; script-src 'self' 'unsafe-eval' {' '.join(inline)} {scripts}; "
        "style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )


class Watched(Lab):
    """A page that notes what it asks for, and what the policy forbids."""

    def __init__(self, page: Page, jupyter: Jupyter) -> None:
        super().__init__(page, jupyter)
        self.asked: list[str] = []
        self.forbidden: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.expose_function("noteForbidden", lambda what: self.forbidden.append(what))
        page.add_init_script(
            """document.addEventListener("securitypolicyviolation", e => noteForbidden(
                `${e.effectiveDirective} ${e.blockedURI} ${e.sourceFile}`));"""
        )

    def expect_allowed(self) -> None:
        """Nothing was forbidden, or asked for elsewhere than below the server's base URL."""
        http = f"{self.jupyter.url}/"
        below = http, http.replace("http:", "ws:")
        for start in below:
            assert any(url.startswith(start) for url in self.asked)
        # Blobs are made by the page.
        assert [url for url in self.asked if not url.startswith((*below, "blob:"))] == []
        assert self.forbidden == []


@contextmanager
def strict_server(folders: pytest.TempPathFactory, scripts: str = "") -> Iterator[Jupyter]:
    settings = {"headers": {"Content-Security-Policy": policy(scripts)}}
    with jupyter_server(
        folders.mktemp("locked-home"),
        folders.mktemp("models"),
        options=[f"--ServerApp.tornado_settings={settings}"],
        base_url=BASE_URL,
        under=UNPRIVILEGED,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with strict_server(tmp_path_factory) as server:
        yield server


@pytest.fixture
def lab(locked: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, locked, Watched) as opened:
        yield opened


def test_a_file_is_looked_at_and_edited(lab: Watched, folder: Path) -> None:
    file = folder / "m.keras"
    models.cnn().save(file)
    expected = kerasedit.Editor(file).remove("block2_relu").model
    before = written(lab.jupyter)
    double_click(lab, "m.keras")
    shown = view(lab)
    expect(shown.get_by_role("img", name="Weights of head: mean")).to_be_visible()
    button(shown, "Details of head").click()
    expect(shown.get_by_role("img", name="Weights of head/kernel")).to_be_visible()

    button(shown, "Edit").click()
    remove(editor(lab), "block2_relu")
    expect_dirty(lab, "m.keras")
    button(editor(lab), "Save").click()
    expect_dirty(lab, "m.keras", 0)
    expect_equal(file, expected)
    lab.expect_allowed()
    assert written(lab.jupyter) == before


def written(jupyter: Jupyter) -> set[Path]:
    """What is in the server's folder, the user's home and Jupyter's part of the environment, but for
    what others write there."""
    return {
        path
        for folder in (jupyter.root, jupyter.home, Path(sys.prefix, "share", "jupyter"))
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in OTHERS
    }


def test_models_of_a_kernel_are_listed_compared_and_edited(lab: Watched) -> None:
    lab.new_notebook()
    python(lab, BUILD)
    shown = panel(lab)
    button(shown, "Inspect model").first.click()
    expect(shown.get_by_role("gridcell", name="Details of model")).to_contain_text("Conv2D")
    row(shown, "model").click(button="right")
    menu(lab, "Compare With…")
    answer(lab, "Compare 'model' With", "Ok")
    expect(line(comparison(lab), "^head: trains -> frozen$")).to_be_visible()
    row(shown, "model").focus()
    lab.page.keyboard.press("Enter")
    remove(editor(lab), "block2_relu")
    button(editor(lab), "Hand back").click()
    expect(row(shown, "model_edited")).to_be_visible()
    lab.expect_allowed()

    # In a cell the editor is an anywidget, and those are loaded as blobs.
    lab.open_notebook("test.ipynb")
    expect(lab.run_cell("ed")).to_contain_text("javascript error")
    [forbidden] = lab.forbidden
    assert re.match("script-src-elem blob .*/anywidget/", forbidden)


def test_an_editor_in_a_cell_where_blobs_are_allowed(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        strict_server(tmp_path_factory, "blob:") as server,
        open_lab(browser, server, Watched) as lab,
    ):
        lab.new_notebook()
        shown = region(lab.run_cell(BUILD + "ed"))
        remove(shown, "block2_relu")
        assert isinstance(lab, Watched)
        lab.expect_allowed()


# --- Files that may not be written ----------------------------------------------------------------

TRY = """
for path, mode in ("locked.keras", "r+b"), ("new", "wb"):
    try:
        open(f"shared/{path}", mode)
        print("written")
    except PermissionError:
        print("refused")
"""


@pytest.fixture
def shared(folder: Path) -> Iterator[Path]:
    """A folder that may not be written, with two models, of which one may not either."""
    place = folder / "shared"
    place.mkdir()
    for name, mode in (("locked.keras", 0o444), ("m.keras", 0o644)):
        models.cnn().save(place / name)
        (place / name).chmod(mode)
    place.chmod(0o555)
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


def test_a_file_that_may_not_be_written(lab: Watched, folder: Path, shared: Path) -> None:
    lab.new_notebook()
    assert python(lab, TRY) == "refused\nrefused", "nothing is proved where all may be written"
    before = {path: path.read_bytes() for path in shared.iterdir()}

    # Where JupyterLab sees that it may not be written, and where only its folder may not.
    for name, said in ("locked.keras", "Document is read-only"), ("m.keras", "Permission denied."):
        lab.execute("docmanager:open", path=f"shared/{name}")
        shown = view(lab)
        expect(shown.get_by_role("img", name="Weights of head: mean")).to_be_visible()
        warned = shown.get_by_text("This file may not be written.")
        expect(warned).to_have_count(1 if name == "locked.keras" else 0)
        button(shown, "Edit").click()
        shown = editor(lab, ".ke-file")
        remove(shown, "block2_relu")
        expect_dirty(lab, name)
        button(shown, "Save").click()
        answer(lab, said, re.compile("^(Ok|Close)$"))
        expect_dirty(lab, name)
        expect(row(shown, "block2_relu")).to_have_count(0)
    assert {path: path.read_bytes() for path in shared.iterdir()} == before

    title(lab, "locked.keras").click()
    shown, label = editor(lab, ".ke-file"), lab.page.get_by_text("file is read-only")
    expect(label).to_be_visible()
    lab.execute("docmanager:save-as")
    asked = dialog(lab, "Save Model As")
    asked.get_by_role("textbox").fill("free.keras")
    button(asked, "Save").click()
    expect(title(lab, "free.keras")).to_be_visible()
    expect_dirty(lab, "free.keras", 0)
    expect(label).to_have_count(0)
    remove(shown, "block3_relu")
    expect_dirty(lab, "free.keras")
    button(shown, "Save").click()
    expect_dirty(lab, "free.keras", 0)
    left = {layer.name for layer in keras.saving.load_model(folder / "free.keras").layers}
    assert not {"block2_relu", "block3_relu"} & left
    assert {path: path.read_bytes() for path in shared.iterdir()} == before
    lab.expect_allowed()
