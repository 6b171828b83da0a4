"""Model files, read by a process of its own for each question."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelFileError

SECONDS = 60  # by the clock, for one question
MAX_ANSWER = 1 << 25  # bytes: what reads it meanwhile does nothing else
MAX_ROWS = 512  # of one question
MAX_BINS = 1024

_PACKAGES = str(Path(__file__).parents[2])
# One thread reads; no filter comes from elsewhere; no lock is left on a file that others write.
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",
    "HDF5_USE_FILE_LOCKING": "FALSE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": _PACKAGES,
}


def read_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says of itself, without Keras and without reading its weights.

    Returns:
        `rows` and `info` as in docs/protocol.md; `file`, what the file says of itself; and `stamp`,
        which tells this state of the file from later ones.

    Raises:
        ModelFileError: it is missing, damaged, no Keras model, or made to harm.
    """
    return _ask(path, {"ask": "model"})[0]


def read_histograms(
    path: str | os.PathLike[str], rows: Sequence[int], bins: int = 32, stamp: str | None = None
) -> tuple[dict[str, Any], bytes]:
    """A histogram of all weights of each row, and of no others: `{paths, bins, revision}` and the
    buffer of docs/protocol.md.

    Args:
        path: the file.
        rows: numbers of rows, as `read_model` told them.
        bins: how many there are.
        stamp: the state that the numbers are of.

    Raises:
        ModelFileError: as above; or the file has changed.
    """
    if len(rows) > MAX_ROWS:
        raise ModelFileError(f"At most {MAX_ROWS} layers are taken at once.")
    return _ask(path, {"ask": "histograms", "rows": list(rows), "bins": _checked(bins)}, stamp)


def read_detail(
    path: str | os.PathLike[str], row: int, bins: int = 64, stamp: str | None = None
) -> tuple[dict[str, Any], bytes]:
    """The weights of a layer one by one, as in docs/protocol.md; there is no source to compare with.

    Args and raises: as `read_histograms`, for one row.
    """
    return _ask(path, {"ask": "detail", "row": row, "bins": _checked(bins)}, stamp)


def read_arguments(
    path: str | os.PathLike[str], row: int, stamp: str | None = None
) -> dict[str, Any]:
    """The arguments of a layer, as in docs/protocol.md.

    Args and raises: as `read_histograms`, for one row.
    """
    return _ask(path, {"ask": "arguments", "row": row}, stamp)[0]


def _checked(bins: int) -> int:
    if not 1 <= bins <= MAX_BINS:
        raise ModelFileError(f"'bins' must be a whole number from 1 to {MAX_BINS}.")
    return bins


def _ask(
    path: str | os.PathLike[str], question: dict[str, Any], stamp: str | None = None
) -> tuple[dict[str, Any], bytes]:
    asked = {**question, "path": os.path.abspath(path)}
    if stamp is not None:
        asked["stamp"] = stamp
    # Without -P the folder that this was started in could hold a "json.py" of somebody else's.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.worker"],
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    late = threading.Timer(SECONDS, process.kill)
    late.start()
    assert process.stdin is not None and process.stdout is not None
    try:
        # One that has ended already is found out below.
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(json.dumps(asked).encode())
        answer = process.stdout.read(MAX_ANSWER)
        whole = not process.stdout.read(1) and process.wait() == 0
    finally:
        process.kill()
        process.wait()
        late.cancel()
        process.stdout.close()
    if not whole:
        raise ModelFileError(
            "The file is damaged, or larger than any model: reading it had to be given up."
        )
    head, _, buffer = answer.partition(b"\n")
    told = json.loads(head)
    if "error" in told:
        raise ModelFileError(told["error"])
    return told["ok"], buffer
