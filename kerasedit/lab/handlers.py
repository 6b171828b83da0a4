"""What the Jupyter server answers about model files; see docs/lab.md.

Whoever may read a file through the server's contents may ask about it, and nobody else. The files are
read in processes of their own, off the server's event loop.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.contents.fileio import FileManagerMixin
from jupyter_server.utils import ensure_async, to_os_path, url_path_join
from tornado import web

from ..cli import quickstart
from ..errors import ModelFileError
from ..modelfiles import read_arguments, read_detail, read_histograms, read_model

_MAX_LENGTH = 10_000  # of a question's list of rows, in characters

# A flood of questions waits here, and does not start a flood of processes.
_threads = ThreadPoolExecutor(2, thread_name_prefix="kerasedit-files")

Handlers = list[tuple[str, type[web.RequestHandler]]]


def make_handlers(base_url: str) -> Handlers:
    """The addresses that are answered, below the server's own."""
    asked = {
        "model": ModelHandler,
        "histograms": HistogramsHandler,
        "detail": DetailHandler,
        "arguments": ArgumentsHandler,
        "place": PlaceHandler,
        "quickstart": QuickStartHandler,
    }
    return [(url_path_join(base_url, "kerasedit", name), cls) for name, cls in asked.items()]


class _ContentsHandler(APIHandler):
    """Knows where on the disk the server's contents are."""

    auth_resource = "contents"

    async def _find(self, path: str) -> tuple[dict[str, Any], str]:
        """What is at a path, and where, by the rules of the server's contents: nothing hidden, nothing
        outside."""
        manager = self.contents_manager
        if not isinstance(manager, FileManagerMixin):
            raise web.HTTPError(501, "This server keeps its files where only it can read them.")
        if not manager.allow_hidden and await ensure_async(manager.is_hidden(path)):
            raise web.HTTPError(404, "There is no such file.")
        # It refuses what is not below its root.
        found: Any = await ensure_async(manager.get(path, content=False))
        return found, to_os_path(found["path"], manager.root_dir)


def _answer(ask: Callable[[str], Any], path: str) -> str:
    """What a file says, as JSON."""
    told = ask(path)
    if isinstance(told, tuple):
        told, buffer = told
        told["buffer"] = base64.b64encode(buffer).decode("ascii")
    return json.dumps(told)


class _FileHandler(_ContentsHandler):
    """Answers a question about the file that `path` names, as the server's contents have it."""

    def question(self) -> Callable[[str], Any]:
        """What is to be read of the file, from the request."""
        raise NotImplementedError

    @web.authenticated
    @authorized
    async def get(self) -> None:
        ask = self.question()
        path = await self._place()
        try:
            told = await asyncio.get_running_loop().run_in_executor(_threads, _answer, ask, path)
        except ModelFileError as problem:
            return self._tell(422, str(problem))
        self.finish(told)

    async def _place(self) -> str:
        found, place = await self._find(self.get_query_argument("path"))
        if found["type"] != "file":
            raise web.HTTPError(400, "This is no model file.")
        return place

    def _tell(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish(json.dumps({"message": message, "type": "ModelFileError"}))

    def number(self, name: str, text: str | None = None) -> int:
        """A whole number of the request."""
        text = self.get_query_argument(name) if text is None else text
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise web.HTTPError(400, f"'{name}' must be a whole number.")
        return int(text)

    @property
    def stamp(self) -> str | None:
        """The state of the file that the request is about."""
        return self.get_query_argument("stamp", None)


class ModelHandler(_FileHandler):
    """The layers of a model file, and what it says of itself."""

    def question(self) -> Callable[[str], Any]:
        return read_model


class HistogramsHandler(_FileHandler):
    """A histogram of the weights of each of `rows`."""

    def question(self) -> Callable[[str], Any]:
        text = self.get_query_argument("rows")
        if len(text) > _MAX_LENGTH:
            raise web.HTTPError(400, "'rows' names too many layers.")
        rows = [self.number("rows", part) for part in text.split(",")]
        bins = self.number("bins")
        return functools.partial(read_histograms, rows=rows, bins=bins, stamp=self.stamp)


class DetailHandler(_FileHandler):
    """The weights of a row, one by one."""

    def question(self) -> Callable[[str], Any]:
        row, bins = self.number("row"), self.number("bins")
        return functools.partial(read_detail, row=row, bins=bins, stamp=self.stamp)


class ArgumentsHandler(_FileHandler):
    """The arguments of a row."""

    def question(self) -> Callable[[str], Any]:
        return functools.partial(read_arguments, row=self.number("row"), stamp=self.stamp)


class PlaceHandler(_ContentsHandler):
    """Where a file is, or would be, for a kernel to read and write it there."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        folder, _, name = self.get_query_argument("path").strip("/").rpartition("/")
        if name in ("", ".", "..") or not {os.sep, os.altsep}.isdisjoint(name):
            raise web.HTTPError(400, "This is no name of a file.")
        found, place = await self._find(folder)
        if found["type"] != "directory":
            raise web.HTTPError(400, "Files are in folders.")
        if not self.contents_manager.allow_hidden and name.startswith("."):
            raise web.HTTPError(404, "There is no such file.")
        self.finish(json.dumps({"path": os.path.join(place, name)}))


class QuickStartHandler(APIHandler):
    """The quick start, a notebook."""

    auth_resource = "contents"

    @web.authenticated
    @authorized
    def get(self) -> None:
        self.finish(quickstart().read_text("utf-8"))
