"""`lab` is what a browser test asks for: a page on a fresh JupyterLab.

The server and the browser are shared by the whole folder; kernels and pages are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from .lab import Jupyter, Lab, chromium, jupyter_server


@pytest.fixture(scope="package")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    home, root = tmp_path_factory.mktemp("jupyter-home"), tmp_path_factory.mktemp("notebooks")
    with jupyter_server(home, root) as server:
        yield server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the whole session: while it lives, playwright keeps an event loop on this thread,
    # which other tests need for themselves.
    with chromium() as started:
        yield started


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture
def lab(jupyter: Jupyter, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A page on JupyterLab with no notebook open and no kernel running.

    When the test fails, a picture of the page and what its console said stay in artifacts/.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: console.append(f"uncaught: {error}"))
    helper = Lab(page, jupyter)
    try:
        yield helper.start()
    finally:
        if request.node.stash.get(_failed, False):
            name = "failed-" + re.sub(r"\W+", "-", request.node.name).strip("-")
            path = helper.screenshot(name)
            path.with_suffix(".log").write_text("\n".join(console), encoding="utf-8")
        context.close()
        jupyter.shut_down_kernels()
