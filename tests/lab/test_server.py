"""The server's answers about model files, of a real Jupyter server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kerasedit import modelfiles
from tests import models
from tests.browser.lab import free_port, own_environment

TOKEN, BASE = "secret", "/user/ada/"


class Server:
    """A running server, and its folder."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, root

    def get(self, what: str, token: str | None = TOKEN, **query: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        headers = {} if token is None else {"Authorization": f"token {token}"}
        address = f"{self.url}{BASE}{what}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(address, headers=headers)
            ) as response:
                assert response.headers["Content-Type"] == "application/json"
                return response.status, json.load(response)
        except urllib.error.HTTPError as problem:
            with problem:
                body = problem.read()
            return problem.code, json.loads(body) if body.startswith(b"{") else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    root = folder / "root"
    for place in ("sub", ".hidden"):
        (root / place).mkdir(parents=True)
    for file in ("m.keras", "sub/old.h5", ".hidden/m.keras", ".m.keras", "../outside.keras"):
        models.nested().save(root / file)
    (root / "text.keras").write_text("no model")
    environment = own_environment(folder / "home")
    url = f"http://127.0.0.1:{(port := free_port())}"
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.base_url={BASE}"]
    command += [f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={TOKEN}"]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        found = Server(url, root)
        deadline = time.monotonic() + 60
        while True:
            try:
                found.get("api/status")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.mark.parametrize("path", ["m.keras", "sub/old.h5", "/m.keras"])
def test_a_file_is_told_as_it_is(server: Server, path: str) -> None:
    status, told = server.get("kerasedit/model", path=path)
    assert status == 200
    assert told == modelfiles.read_model(server.root / path.strip("/"))


def test_weights_are_told_for_the_rows_asked_for(server: Server) -> None:
    file = server.root / "m.keras"
    stamp = server.get("kerasedit/model", path="m.keras")[1]["stamp"]
    query = {"path": "m.keras", "stamp": stamp}
    status, told = server.get("kerasedit/histograms", **query, rows="1,3", bins=8)
    expected, buffer = modelfiles.read_histograms(file, [1, 3], 8)
    assert (status, base64.b64decode(told.pop("buffer")), told) == (200, buffer, expected)
    status, told = server.get("kerasedit/detail", **query, row=3, bins=8)
    expected, buffer = modelfiles.read_detail(file, 3, 8)
    assert (status, base64.b64decode(told.pop("buffer")), told) == (200, buffer, expected)
    status, told = server.get("kerasedit/arguments", **query, row=3)
    assert (status, told) == (200, modelfiles.read_arguments(file, 3))


OUTSIDE = [
    pytest.param("../outside.keras", id="up"),
    pytest.param("sub/../../outside.keras", id="down and up"),
    pytest.param("/../outside.keras", id="from the root"),
    pytest.param(".hidden/m.keras", id="hidden folder"),
    pytest.param(".m.keras", id="hidden"),
    pytest.param("C:/x.keras", id="drive"),
    pytest.param(b"\xed\xb2\x80", id="surrogate"),
]


@pytest.mark.parametrize(
    "path",
    [
        *OUTSIDE,
        pytest.param("..%2foutside.keras", id="quoted"),
        pytest.param("gone.keras", id="gone"),
        pytest.param("a\0b", id="zero"),
    ],
)
def test_nothing_outside_and_nothing_hidden_is_told(server: Server, path: Any) -> None:
    assert (server.root.parent / "outside.keras").exists()
    for what in ("model", "histograms", "detail", "arguments"):
        status, told = server.get(f"kerasedit/{what}", path=path, rows="0", row=0, bins=8)
        assert status in (400, 404)
        assert told is None or "rows" not in told


@pytest.mark.parametrize("path", ["m.keras", "/sub/old.h5", "sub/new.keras", "a%2fnew.keras"])
def test_a_kernel_is_told_where_a_file_is(server: Server, path: str) -> None:
    """Or would be, where it is to be made."""
    told = server.get("kerasedit/place", path=path)
    assert told == (200, {"path": str(server.root / path.strip("/"))})


@pytest.mark.parametrize(
    "path", [*OUTSIDE, "", "..", "sub/..", "sub/.", "gone/m.keras", "m.keras/n.keras"]
)
def test_no_kernel_is_told_of_what_is_outside(server: Server, path: Any) -> None:
    status, told = server.get("kerasedit/place", path=path)
    assert status in (400, 404)
    assert told is None or "path" not in told


def test_a_folder_and_a_text_are_no_model_files(server: Server) -> None:
    assert server.get("kerasedit/model", path="sub")[0] == 400
    status, told = server.get("kerasedit/model", path="text.keras")
    assert (status, told["type"]) == (422, "ModelFileError")
    assert "neither an archive" in told["message"]


@pytest.mark.parametrize("token", [None, "wrong"])
def test_nobody_else_is_answered(server: Server, token: str | None) -> None:
    for what in ("model", "histograms", "detail", "arguments", "place"):
        assert server.get(f"kerasedit/{what}", token, path="m.keras")[0] == 403


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("model", {}),
        ("histograms", {"rows": "1;2", "bins": 8}),
        ("histograms", {"rows": "1," * 6000 + "1", "bins": 8}),
        ("histograms", {"rows": "-1", "bins": 8}),
        ("histograms", {"rows": "1", "bins": "9" * 30}),
        ("histograms", {"rows": "1"}),
        ("detail", {"row": "³", "bins": 8}),
        ("arguments", {"row": "NaN"}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    server: Server, what: str, query: dict[str, Any]
) -> None:
    path = {"path": "m.keras"} if query else {}
    assert server.get(f"kerasedit/{what}", **path, **query)[0] == 400


@pytest.mark.parametrize(
    ("what", "query", "message"),
    [
        ("histograms", {"rows": "99", "bins": 8}, "no such layer"),
        ("histograms", {"rows": "1", "bins": 0}, "whole number from 1"),
        ("histograms", {"rows": ",".join(["1"] * 600), "bins": 8}, "At most 512"),
        ("detail", {"row": 1, "bins": 8, "stamp": "other"}, "has changed since"),
    ],
)
def test_what_the_file_does_not_have_is_told(
    server: Server, what: str, query: dict[str, Any], message: str
) -> None:
    status, told = server.get(f"kerasedit/{what}", path="m.keras", **query)
    assert status == 422 and message in told["message"]


def test_the_server_has_not_imported_keras(server: Server) -> None:
    code = (
        "import sys\nimport kerasedit.lab.handlers\n"
        "print([m for m in ('keras', 'tensorflow', 'h5py', 'numpy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
