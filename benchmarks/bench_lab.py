"""What the JupyterLab extension costs: in a kernel with many variables, and when JupyterLab starts."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks import Result
from tests.browser.lab import ROOT, Jupyter, chromium, jupyter_server

REPEAT = 15


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    yield from listing()
    yield from starting()


# -- the panel -------------------------------------------------------------------------------------


def listing() -> Iterator[Result]:
    import keras

    from kerasedit import Editor
    from kerasedit.lab.models import list_models

    few: dict[str, Any] = {f"x{number}": [number] for number in range(1000)}
    several = {
        "b0": keras.applications.EfficientNetB0(weights=None),
        "b4": keras.applications.EfficientNetB4(weights=None),
        "b7": keras.applications.EfficientNetB7(weights=None),
    }
    ed = Editor(several["b7"])
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    many = {f"m{number}": small for number in range(1000)}
    cases = {
        "1,000 variables, no model": few,
        "1,000 variables, with EfficientNetB0, B4 and B7": {**few, **several},
        "the same, and an editor of B7": {**few, **several, "ed": ed},
        "1,000 variables, each a model": many,
    }
    for name, namespace in cases.items():
        seconds = _median(lambda names=namespace: list_models(names))
        yield Result(
            f"models listed: {name}", f"{1000 * seconds:.1f} ms", "≤ 20 ms", seconds <= 0.02
        )


def _median(act: Callable[[], object]) -> float:
    """Of the second time on: the first imports what it needs."""
    spent = []
    for _ in range(REPEAT + 1):
        start = time.perf_counter()
        act()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


# -- the start -------------------------------------------------------------------------------------


def starting() -> Iterator[Result]:
    """Loads of the page by turns with the extension and without it, everything in the cache."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [
            stack.enter_context(_server(place / name, extension=name == "with"))
            for name in ("without", "with")
        ]
        browser = stack.enter_context(chromium())
        pages = [_Page(browser, server) for server in servers]
        loads = [[page.load() for page in pages] for _ in range(REPEAT + 1)]
    before, after = zip(*loads[1:], strict=True)
    named = (("until it can be used", 0), ("of the page's thread", 1))
    for what, number in named:
        usual = statistics.median(load[number] for load in before)
        yield Result(f"JupyterLab's start without the extension, {what}", f"{1000 * usual:.0f} ms")
    for what, number in named:
        # By pairs: the machine may be slower at one time than at another.
        pairs = zip(before, after, strict=True)
        more = statistics.median(late[number] - early[number] for early, late in pairs)
        yield Result(
            f"what the extension adds {what}", f"{1000 * more:+.0f} ms", "≤ 50 ms", more <= 0.05
        )


def _server(place: Path, extension: bool) -> Any:
    """JupyterLab with the installed extensions, but for this one."""
    extensions = place / "labextensions"
    extensions.mkdir(parents=True)
    for found in (Path(sys.prefix) / "share" / "jupyter" / "labextensions").iterdir():
        if found.name != "kerasedit":
            (extensions / found.name).symlink_to(found)
    if extension:
        (extensions / "kerasedit").symlink_to(ROOT / "kerasedit" / "labextension")
    root = place / "root"
    root.mkdir()
    return jupyter_server(
        place / "home", root, options=[f"--LabApp.labextensions_path={extensions}"]
    )


class _Page:
    def __init__(self, browser: Browser, jupyter: Jupyter) -> None:
        self._page = browser.new_context().new_page()
        self._address = f"{jupyter.url}/lab?reset&token={jupyter.token}"
        self._tools = self._page.context.new_cdp_session(self._page)
        self._tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def load(self) -> tuple[float, float]:
        """Seconds from the request until JupyterLab can be used, and of work on the page's thread."""
        self._page.goto(self._address)
        self._page.wait_for_function("() => window.jupyterapp !== undefined")
        ready = self._page.evaluate(
            "() => window.jupyterapp.restored.then(() => performance.now() / 1000)"
        )
        told = self._tools.send("Performance.getMetrics")["metrics"]
        return ready, next(it["value"] for it in told if it["name"] == "TaskDuration")
