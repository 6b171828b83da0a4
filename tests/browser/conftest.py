"""`lab` is what a browser test asks for: a page on a fresh JupyterLab.

The server and the browser are shared by the whole folder; kernels and pages are not.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from .lab import Jupyter, Lab, chromium, jupyter_server, open_lab


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


@pytest.fixture
def lab(jupyter: Jupyter, browser: Browser) -> Iterator[Lab]:
    with open_lab(browser, jupyter) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """Of a test that fails, a picture of the page and what its console said stay in artifacts/."""
    report = yield
    used = getattr(item, "funcargs", {}).get("lab")
    if report.failed and report.when != "teardown" and isinstance(used, Lab):
        used.leave_traces("failed-" + re.sub(r"\W+", "-", item.name).strip("-"))
    return report
