"""Model files in JupyterLab: a double click shows the layers, without a kernel."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import pytest
from keras import layers
from playwright.sync_api import Browser, Locator, Route, expect

from benchmarks.bench_files import large
from tests import models

from .lab import Jupyter, Lab, install_jupyterlab, jupyter_server, open_lab
from .test_accessibility import AXE, check
from .widget import button, row


@pytest.fixture
def folder(lab: Lab) -> Path:
    """The server's folder, with nothing in it."""
    for file in lab.jupyter.root.iterdir():
        if file.suffix in (".keras", ".h5"):
            file.unlink()
    return lab.jupyter.root


def double_click(lab: Lab, name: str) -> None:
    """Opens a file as a person does, in the file browser."""
    lab.execute("filebrowser:refresh")
    lab.page.locator(".jp-DirListing-item", has_text=name).dblclick()


def view(lab: Lab) -> Locator:
    """What the tab in front shows of a model file."""
    found = lab.page.locator(".ke-file:visible").get_by_role("region", name="Keras model file")
    expect(found).to_be_visible()
    return found


def asked(lab: Lab) -> list[str]:
    """The addresses of the server that are asked from now on, without what is asked of them."""
    found: list[str] = []
    lab.page.on("request", lambda request: found.append(request.url.split("?")[0]))
    return found


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_double_click_shows_the_layers(lab: Lab, folder: Path, suffix: str) -> None:
    models.nested().save(folder / f"nested{suffix}")
    urls, contents = asked(lab), []
    lab.page.on("request", lambda r: contents.append(r.url) if "content=1" in r.url else None)

    double_click(lab, f"nested{suffix}")

    shown = view(lab)
    expect(row(shown, "head")).to_contain_text("(None, 2)")
    expect(shown.get_by_role("status", name="Model totals")).to_contain_text("Parameters 117")
    expect(shown).to_contain_text(f"Keras {keras.__version__}")
    expect(shown.get_by_role("img", name="Weights of head: mean")).to_be_visible()
    assert lab.jupyter.request("GET", "kernels") == []
    assert not [url for url in contents if "nested" in url], "the content is not fetched"
    assert any(url.endswith("/kerasedit/model") for url in urls)

    button(shown, "Unfold backbone").click()
    button(shown, "Details of backbone/conv1").click()
    weights = shown.get_by_role("gridcell", name="Details of backbone/conv1")
    expect(weights.get_by_role("img", name="Weights of backbone/conv1/kernel")).to_be_visible()
    expect(weights.get_by_label("units")).to_have_value("5")
    expect(weights.get_by_label("units")).to_be_disabled()
    expect(shown.get_by_role("switch")).to_have_count(0)
    lab.screenshots(f"model-file{suffix.replace('.', '-')}")


def test_the_tab_is_there_again_after_a_reload(lab: Lab, folder: Path) -> None:
    models.cnn().save(folder / "cnn.keras")
    double_click(lab, "cnn.keras")
    expect(row(view(lab), "head")).to_be_visible()
    lab.page.wait_for_function("() => location.pathname.includes('cnn.keras')")
    lab.reload()
    expect(row(view(lab), "head")).to_be_visible()


def test_a_file_that_is_none_says_so_and_may_be_mended(lab: Lab, folder: Path) -> None:
    file = folder / "broken.keras"
    file.write_bytes(b"no model at all")
    double_click(lab, "broken.keras")
    alert = lab.page.locator(".ke-file").get_by_role("alert")
    expect(alert).to_contain_text("neither an archive")
    lab.screenshot("model-file-broken")
    models.cnn().save(file)
    alert.get_by_role("button", name="Try again").click()
    expect(row(view(lab), "head")).to_be_visible()
    file.write_bytes(file.read_bytes()[:-3000])
    button(view(lab), "Reload file").click()
    expect(alert).to_contain_text("The end of the file is missing")
    assert lab.jupyter.request("GET", "status"), "the server is unharmed"


def test_a_huge_file_is_shown_as_any_other(lab: Lab, folder: Path) -> None:
    large(folder, layers=2)
    double_click(lab, "large.keras")
    shown = view(lab)
    expect(shown.get_by_role("status", name="Model totals")).to_contain_text("512 MiB")
    expect(shown.get_by_role("img", name="Weights of d0:")).to_be_visible()


def test_what_a_file_holds_is_text_and_code_is_told_of(lab: Lab, folder: Path) -> None:
    """Markup in names, and a Lambda."""
    file, evil = folder / "m.keras", "<img src=x onerror='window.evil=1'>"
    keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(2, name="named"),
            layers.Lambda(lambda x: x * 2, name="code"),
        ],
        name="m",
    ).save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["name"] = evil
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    double_click(lab, "m.keras")
    shown = view(lab)
    expect(row(shown, evil)).to_be_visible()
    expect(shown).to_contain_text("runs code that is in the file")
    assert lab.page.evaluate("window.evil") is None


def test_axe_finds_nothing(lab: Lab, folder: Path) -> None:
    models.nested().save(folder / "m.keras")
    double_click(lab, "m.keras")
    shown = view(lab)
    button(shown, "Details of head").click()
    expect(shown.get_by_role("img", name="Weights of head/kernel")).to_be_visible()
    lab.page.add_script_tag(path=AXE)
    check(lab, "a model file")


@pytest.mark.slow
def test_the_oldest_jupyterlab_opens_model_files(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, root = tmp_path_factory.mktemp("old-home"), tmp_path_factory.mktemp("models")
    models.nested().save(root / "m.keras")
    with (
        jupyter_server(home, root, install_jupyterlab("4.4")) as server,
        open_lab(browser, server) as lab,
    ):
        assert lab.page.evaluate("() => window.jupyterapp.version").startswith("4.4.")
        double_click(lab, "m.keras")
        expect(row(view(lab), "head")).to_be_visible()


@pytest.mark.slow
def test_notebook_7_opens_model_files_too(jupyter: Jupyter, browser: Browser) -> None:
    models.cnn().save(jupyter.root / "m.keras")
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{jupyter.url}/tree?token={jupyter.token}")
    with context.expect_page(timeout=60_000) as opened:
        page.locator(".jp-DirListing-item", has_text="m.keras").dblclick()
    shown = opened.value.get_by_role("region", name="Keras model file")
    expect(row(shown, "head")).to_be_visible()
    context.close()


def test_a_file_that_changed_is_read_again(lab: Lab, folder: Path) -> None:
    file = folder / "m.keras"
    models.cnn().save(file)
    double_click(lab, "m.keras")
    shown = view(lab)
    expect(row(shown, "block1_conv")).to_be_visible()
    models.nested().save(file)
    button(shown, "Details of block1_conv").click()
    expect(shown.get_by_text("has changed since").first).to_be_visible()
    button(shown, "Reload file").click()
    expect(row(view(lab), "backbone")).to_be_visible()


def test_an_answer_that_comes_late_is_passed_over(lab: Lab, folder: Path) -> None:
    file = folder / "m.keras"
    held: list[Route] = []
    models.cnn().save(file)
    double_click(lab, "m.keras")
    expect(row(view(lab), "block1_conv")).to_be_visible()
    lab.page.route("**/kerasedit/model?*", lambda route: held.append(route))
    for number in (1, 2):
        button(view(lab), "Reload file").click()
        while len(held) < number:
            lab.page.wait_for_timeout(50)
    first, second = held
    as_it_was = first.fetch()
    models.nested().save(file)
    second.fulfill(response=second.fetch())
    expect(row(view(lab), "backbone")).to_be_visible()
    with lab.page.expect_response("**/kerasedit/model?*"):
        first.fulfill(response=as_it_was)
    # What is asked after it is answered after it.
    button(view(lab), "Details of head").click()
    expect(view(lab).get_by_role("img", name="Weights of head/kernel")).to_be_visible()
    expect(row(view(lab), "backbone")).to_be_visible()
