"""A real JupyterLab in a real Chromium, for tests and for measurements.

`Lab` is a page on JupyterLab, with helpers that wait for what JupyterLab itself says (it is exposed
as `window.jupyterapp`) and never for a number of seconds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from .chromium import NOT_FOUND, find_chromium

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts"
SCREENSHOTS = ARTIFACTS / "screenshots"

# Milliseconds. Generous: a kernel that imports Keras on a busy machine takes a while, and a wait
# ends as soon as what it waits for is there.
WAIT = 60_000
expect.set_options(timeout=30_000)

LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

FLAGS = [
    "--no-sandbox",  # needed as root, as in most containers
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


# --- JupyterLab -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Jupyter:
    """A running server."""

    url: str
    token: str
    root: Path
    home: Path

    def add_kernel(self, name: str, environment: dict[str, str]) -> None:
        """A kernel of this Python with other environment variables, as one to choose."""
        folder = self.home / "data" / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": name, "language": "python", "env": environment}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def remove_kernel(self, name: str) -> None:
        """Takes back what `add_kernel` added."""
        shutil.rmtree(self.home / "data" / "kernels" / name)

    @property
    def status(self) -> str:
        """An address that a server answers which is up."""
        return f"{self.url}/api/status?token={self.token}"

    def request(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            body = response.read()
        return json.loads(body) if body else None

    def shut_down_kernels(self) -> None:
        """Ends all sessions, and what kernels are left then; several sessions may share one."""
        for what in ("sessions", "kernels"):
            for one in self.request("GET", what):
                try:
                    self.request("DELETE", f"{what}/{one['id']}")
                except urllib.error.HTTPError as problem:
                    if problem.code != 404:
                        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own_environment(home: Path, checkout: bool = True) -> dict[str, str]:
    """Nothing of the user's own Jupyter is read or written.

    Args:
        home: an empty folder, or none yet.
        checkout: whether the extension of this checkout is there, whatever is installed.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")
    }
    # A front end that runs in the kernel decides on plots by itself.
    environment.pop("MPLBACKEND", None)
    folders = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "lab-settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "lab-workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    if checkout:
        for link, target in (
            ("data/labextensions/kerasedit", "kerasedit/labextension"),
            ("config/jupyter_server_config.d/kerasedit.json", "js/lab/server/kerasedit.json"),
        ):
            (home / link).parent.mkdir(parents=True)
            (home / link).symlink_to(ROOT / target)
    # No question about news in a corner of the window.
    settings = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    # What is in those folders goes before what is installed.
    environment["JUPYTER_PREFER_ENV_PATH"] = "0"
    return environment | {name: str(folder) for name, folder in folders.items()}


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=20).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    raise RuntimeError(f"The server did not come up (exit status {process.poll()}):\n{tail}")


def install_jupyterlab(version: str) -> Path:
    """The folder of the last release of another version of JupyterLab, such as "4.4"."""
    folder = Path(sys.prefix) / "labs" / version
    if not (folder / "jupyterlab").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--target", str(folder), f"jupyterlab=={version}.*"]
        subprocess.run(command, check=True)
    return folder


@contextmanager
def jupyter_server(
    home: Path,
    root: Path,
    lab: Path | None = None,
    options: Sequence[str] = (),
    base_url: str = "",
    under: Sequence[str] = (),
) -> Iterator[Jupyter]:
    """JupyterLab on the loopback interface, with the Python that runs this as its kernel.

    Args:
        home: an empty folder for its settings.
        root: the folder of its notebooks.
        lab: where to take JupyterLab from; None: the installed one.
        options: more of the command line.
        base_url: what goes before all of the server's paths, such as "/user/ada".
        under: a command that starts the server's own, with other rights for example.
    """
    port = free_port()
    server = Jupyter(f"http://127.0.0.1:{port}{base_url}", secrets.token_hex(16), root, home)
    # Several may run at a time.
    log = ARTIFACTS / f"{'jupyterlab' if lab is None else lab.name}-{port}.log"
    command = [
        *(*under, sys.executable, "-m", "jupyterlab"),
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={base_url}/",
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={server.token}",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        # Nothing is asked of the network.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *options,
    ]
    environment = own_environment(home)
    if lab is not None:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (lab, ROOT)))
        environment["JUPYTERLAB_DIR"] = str(lab / "share" / "jupyter" / "lab")
    with running(command, environment, root, log, server.status):
        yield server


@contextmanager
def running(
    command: list[str], environment: dict[str, str], folder: Path, log: Path, url: str
) -> Iterator[None]:
    """A server's process, from when an address is answered."""
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_up(url, process, log)
            yield
        finally:
            process.terminate()  # kernels end with the server
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# --- Chromium -------------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    path = find_chromium()
    if path is None:
        raise RuntimeError(NOT_FOUND)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


# --- A page on JupyterLab -------------------------------------------------------------------------


class Lab:
    """One browser page on JupyterLab; `page` is playwright's own, for everything else."""

    def __init__(self, page: Page, jupyter: Jupyter) -> None:
        self.page = page
        self.jupyter = jupyter
        self.kernel = "python3"
        # Its own: pages of one workspace write their layouts over each other's.
        self.workspace = secrets.token_hex(4)
        self.console: list[str] = []
        page.on("console", lambda said: self.console.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

    def start(self) -> Lab:
        """Opens JupyterLab, with nothing in it."""
        address = f"{self.jupyter.url}/lab/workspaces/{self.workspace}"
        self.page.goto(f"{address}?token={self.jupyter.token}")
        self._restored()
        # The server remembers the theme that the test before chose.
        if self.page.locator("body").get_attribute("data-jp-theme-name") != LIGHT:
            self.set_theme(LIGHT)
        return self

    def reload(self) -> None:
        """Loads the page anew, as a person does who comes back to it."""
        self.page.reload()
        self._restored()

    def _restored(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=WAIT)
        self.page.evaluate(
            """wait => Promise.race([window.jupyterapp.restored, new Promise((_, late) =>
                setTimeout(() => late(new Error("JupyterLab did not come up")), wait))])""",
            WAIT,
        )
        self._no_splash()

    def _no_splash(self) -> None:
        """The logo that covers the window while JupyterLab starts or changes its theme is gone."""
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def execute(self, command: str, **arguments: Any) -> None:
        """Runs one of JupyterLab's commands and waits for its end."""
        self._finish(self._begin(command, arguments))

    def _begin(self, command: str, arguments: dict[str, Any]) -> str:
        """Starts a command. Its promise leaves a note on the page, so that waiting can time out."""
        token = secrets.token_hex(4)
        self.page.evaluate(
            """([token, command, args]) => {
                const notes = (window.__notes ??= {});
                window.jupyterapp.commands.execute(command, args).then(
                    () => { notes[token] = "done"; },
                    error => { notes[token] = "failed: " + (error?.message ?? error); },
                );
            }""",
            [token, command, arguments],
        )
        return token

    def _finish(self, token: str, timeout: float = WAIT) -> None:
        note = self.page.wait_for_function(
            "token => window.__notes[token]", arg=token, timeout=timeout
        )
        if (text := note.json_value()) != "done":
            raise RuntimeError(f"a JupyterLab command {text}")

    # Notebooks

    def new_notebook(self, *sources: str, name: str = "test.ipynb") -> None:
        """Writes a notebook of these cells into the server's folder and opens it."""
        nbformat.write(
            new_notebook(cells=[new_code_cell(source) for source in sources]),
            self.jupyter.root / name,
        )
        self.open_notebook(name)

    def open_notebook(self, path: str) -> None:
        """Opens a notebook (a path in the server's folder) and waits until its kernel is ready."""
        self.execute("docmanager:open", path=path, factory="Notebook", kernel={"name": self.kernel})
        self._notebook_ready(path)

    def _notebook_ready(self, path: str) -> None:
        self.page.wait_for_function(
            """path => {
                const context = window.jupyterapp.shell.currentWidget?.context;
                return context?.path === path && context.isReady
                    && context.sessionContext.isReady;
            }""",
            arg=path,
            timeout=WAIT,
        )
        self.kernel_idle()

    def kernel_idle(self, timeout: float = WAIT) -> None:
        """Waits until the kernel has nothing to do."""
        self.page.wait_for_function(
            """() => window.jupyterapp.shell.currentWidget
                .context.sessionContext.session?.kernel?.status === "idle" """,
            timeout=timeout,
        )

    def wait_until(self, predicate: str, argument: Any = None) -> None:
        """Waits for a function of the page that answers later; playwright takes a promise for a yes."""
        deadline = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(predicate, argument):
            assert time.monotonic() < deadline, f"It did not come true: {predicate}"
            self.page.wait_for_timeout(100)

    def layout_kept(self, *starts: str) -> None:
        """Waits until JupyterLab has kept its layout, with what is called so or begins so."""
        self.wait_until(
            """async ([workspace, starts]) => {
                const { workspaces } = jupyterapp.serviceManager;
                // There is none before something is kept.
                const { data } = await workspaces.fetch(workspace).catch(() => ({ data: {} }));
                const layout = JSON.stringify(data["layout-restorer:data"] ?? null);
                const names = [...Object.keys(data), "kerasedit-models"];
                const isKept = name => layout.includes(name);
                return starts.every(it => names.some(name => name.startsWith(it) && isKept(name)));
            }""",
            [self.workspace, starts],
        )

    def interrupt(self) -> None:
        """The stop button."""
        self.execute("notebook:interrupt-kernel")

    def cells_done(self) -> None:
        """Waits until no cell runs; while widgets talk, the kernel says in between that it is idle."""
        running = self.page.locator(".jp-InputArea-prompt", has_text="[*]")
        expect(running).to_have_count(0, timeout=WAIT)

    def restart_kernel(self) -> None:
        """Restarts the kernel, without the question whether to."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()"
        )
        self.kernel_idle()

    def use_subshells(self, use: bool) -> None:
        """Whether the messages of widgets shown from now on are handled while a cell runs.

        JupyterLab's own setting. Kernels without subshells let such messages wait for the cell.
        """
        self.page.evaluate(
            """mode => {
                const { session } = window.jupyterapp.shell.currentWidget.context.sessionContext;
                session.kernel.commsOverSubshells = mode;
            }""",
            "perCommTarget" if use else "disabled",
        )

    def add_cell(self, source: str) -> int:
        """Adds a code cell with this source at the end, makes it the active one; its index."""
        return self.page.evaluate(
            """source => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                const model = notebook.model.sharedModel;
                const last = model.cells.length - 1;
                // A new notebook has one empty cell: use it.
                const index = model.cells[last]?.source === "" ? last : last + 1;
                const cell = { cell_type: "code", source };
                if (index === last) model.deleteCell(last);
                model.insertCell(index, cell);
                notebook.activeCellIndex = index;
                return index;
            }""",
            source,
        )

    def run_cell(self, source: str, *, wait: bool = True, timeout: float = WAIT) -> Locator:
        """Adds a code cell with this source at the end, runs it, and returns its output area."""
        index = self.add_cell(source)
        token = self._begin("notebook:run-cell", {})
        if wait:
            self._finish(token, timeout)
            self.kernel_idle(timeout)
        return self.output(index)

    def run_again(self, index: int) -> Locator:
        """Runs a cell that is there already; its output area."""
        self.page.evaluate(
            "index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }",
            index,
        )
        self.execute("notebook:run-cell")
        self.kernel_idle()
        return self.output(index)

    def run_all(self, timeout: float = WAIT) -> None:
        self._finish(self._begin("notebook:run-all-cells", {}), timeout)
        self.kernel_idle(timeout)

    # What is seen

    def output(self, index: int = -1) -> Locator:
        """The output area of a cell, the last one by default."""
        cells = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
        return cells.nth(index).locator(".jp-Cell-outputArea")

    def show_cell(self, index: int) -> Locator:
        """Scrolls to a cell, which a long notebook draws only when it is in view."""
        self.page.evaluate(
            """index => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.activeCellIndex = index;
                return notebook.scrollToItem(index, "start");
            }""",
            index,
        )
        cell = self.page.locator(
            f'.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell[data-windowed-list-index="{index}"]'
        )
        expect(cell).to_be_in_viewport()
        return cell

    def output_text(self, index: int = -1) -> str:
        """The text that a cell printed or showed, as the notebook's model has it (not the page)."""
        outputs = self.page.evaluate(
            """index => window.jupyterapp.shell.currentWidget.content
                .model.sharedModel.cells.at(index).toJSON().outputs""",
            index,
        )
        texts = [
            output.get("text")
            or output.get("data", {}).get("text/plain")
            or "\n".join(output.get("traceback", []))
            for output in outputs
        ]
        text = "\n".join("".join(text) for text in texts if text)
        return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()  # tracebacks are coloured

    def set_theme(self, name: str) -> None:
        """Changes JupyterLab's theme and waits until it is seen."""
        self.execute("apputils:change-theme", theme=name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)
        self._no_splash()

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Takes a picture of the page, or of a part of it, into artifacts/screenshots."""
        path = SCREENSHOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (of or self.page).screenshot(path=path)
        return path

    def screenshots(self, name: str, of: Locator | None = None) -> None:
        """Takes the picture in both themes, and leaves the light one on."""
        for theme, suffix in ((DARK, "dark"), (LIGHT, "light")):
            self.set_theme(theme)
            self.screenshot(f"{name}-{suffix}", of)

    def leave_traces(self, name: str) -> None:
        """A picture of the page, and what its console said, for somebody who looks for a fault."""
        self.screenshot(name).with_suffix(".log").write_text("\n".join(self.console), "utf-8")


class NotebookPage(Lab):
    """A page on Notebook 7, which is JupyterLab's parts around a single notebook."""

    def start(self) -> Lab:
        return self  # there is nothing before a notebook is opened

    def open_notebook(self, path: str) -> None:
        file = self.jupyter.root / path
        notebook = nbformat.read(file, as_version=4)
        notebook.metadata["kernelspec"] = {"name": self.kernel, "display_name": self.kernel}
        nbformat.write(notebook, file)
        self.page.goto(f"{self.jupyter.url}/notebooks/{path}?token={self.jupyter.token}")
        self._restored()
        self._notebook_ready(path)


@contextmanager
def open_lab(browser: Browser, jupyter: Jupyter, kind: type[Lab] = Lab) -> Iterator[Lab]:
    """A page on JupyterLab with no notebook open and no kernel running."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(15_000)
    lab = kind(context.new_page(), jupyter)
    try:
        yield lab.start()
    finally:
        context.close()
        jupyter.shut_down_kernels()
