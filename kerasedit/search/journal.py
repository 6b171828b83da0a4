"""What a sweep has found so far, in a file that a later run goes on with."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from pathlib import Path
from typing import Any

from ..errors import EditError
from .trial import Outcome

FORMAT = "kerasedit sweep"
VERSION = 1


class Journal:
    """A file of JSON lines: a head, then an outcome in each, by the key of its task.

    Lines are only ever added, each written out before the next candidate ends; of a run that was
    killed at most the last line is torn, and that is passed over.

    Raises:
        EditError: the file cannot be written, or is no journal.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = Path(path)
        self._found = self._read()
        self._lost = False
        try:
            with open(self._file, "ab+") as stream:
                if not stream.tell():
                    stream.write(_line({"format": FORMAT, "version": VERSION}))
                else:
                    stream.seek(-1, os.SEEK_END)
                    if stream.read() != b"\n":
                        stream.write(b"\n")
        except OSError as problem:
            raise EditError(
                f"'{self._file}' cannot be written: {problem.strerror or problem}."
            ) from problem

    def get(self, key: str) -> Outcome | None:
        """The outcome of a task that was done; None where it was not, or failed."""
        return self._found.get(key)

    def add(self, key: str, name: str, outcome: Outcome) -> None:
        """Writes an outcome down. Where that fails there is a warning, once: the sweep goes on."""
        if self._lost:
            return
        try:
            with open(self._file, "ab") as stream:
                data = {"key": key, "candidate": name, **dataclasses.asdict(outcome)}
                stream.write(_line(data))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as problem:
            self._lost = True
            warnings.warn(
                f"'{self._file}' cannot be written any more ({problem.strerror or problem}): what is "
                "found from now on is only in the results.",
                stacklevel=2,
            )

    def _read(self) -> dict[str, Outcome]:
        if not self._file.exists():
            return {}
        try:
            head, *lines = self._file.read_bytes().split(b"\n")
        except OSError as problem:
            raise EditError(f"'{self._file}' cannot be read: {problem.strerror}.") from problem
        if not head and not any(lines):
            return {}
        first = _data(head)
        if first.get("format") != FORMAT:
            raise EditError(
                f"'{self._file}' is a file, but not one of a sweep's. Give resume= another name."
            )
        if first.get("version") != VERSION:
            raise EditError(f"'{self._file}' was written by another version of kerasedit.")
        found = {}
        for data in map(_data, lines):
            if isinstance(data.get("key"), str) and data.get("values") and not data.get("error"):
                found[data["key"]] = Outcome(
                    data["values"],
                    layers=tuple(data.get("layers", ())),
                    params=data.get("params"),
                    seconds=data.get("seconds"),
                )
        return found


def _line(data: Any) -> bytes:
    return json.dumps(data).encode() + b"\n"


def _data(line: bytes) -> dict[str, Any]:
    """The object in a line; an empty one where there is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
