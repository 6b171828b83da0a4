"""The two kinds of model files, opened: what they say of the model, and where its weights are."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py

from ..errors import ModelFileError
from .windows import Window

MAX_CONFIG = 32 << 20  # bytes; that of a network of 800 layers takes one
# Of packed weights, which Keras does not write: what they may unpack to.
MAX_UNPACKED = 4 << 30
RATIO = 20
_CHUNK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass
class Contents:
    """An open model file. `hdf5` holds the weights, if there are any that can be read; `note` says
    why not. They lie in the file `window.file`, from `window.start`."""

    format: str
    config: Any
    metadata: dict[str, str]
    compiled: Any
    hdf5: h5py.File | None
    window: Window | None
    note: str = ""


@contextlib.contextmanager
def open_model_file(path: str) -> Iterator[Contents]:
    """Opens a model file.

    Raises:
        ModelFileError: it is missing, no model file, damaged, or would unpack to far more than it is.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_open(path))
        begin = file.read(len(_HDF5_MAGIC))
        size = os.fstat(file.fileno()).st_size
        if begin == _HDF5_MAGIC:
            window = Window(file, 0, size)
            hdf5 = stack.enter_context(_open_hdf5(window))
            yield _old(hdf5, window)
        elif zipfile.is_zipfile(file):
            yield _keras(stack, file, size)
        elif begin.startswith(_ZIP_MAGIC):
            raise ModelFileError(
                "The end of the file is missing, as when a download or a copy breaks off. Get it again."
            )
        else:
            raise ModelFileError(
                "The file is no Keras model: it is neither an archive, as .keras files are, nor HDF5."
                if size
                else "The file is empty."
            )


def _open(path: str) -> BinaryIO:
    try:
        # A pipe would be waited for.
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except OSError as problem:
        raise ModelFileError(f"The file cannot be read: {problem.strerror}.") from problem
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ModelFileError("This is no file.")
    return os.fdopen(handle, "rb")


# -- .keras --------------------------------------------------------------------------------------


def _keras(stack: contextlib.ExitStack, file: BinaryIO, size: int) -> Contents:
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
    except Exception as problem:
        raise ModelFileError(f"The archive is damaged: {problem}") from problem
    members = {info.filename: info for info in archive.infolist()}
    if "config.json" not in members:
        raise ModelFileError("The archive holds no Keras model: there is no config.json in it.")
    config = _json(archive, members["config.json"])
    told = _json(archive, members["metadata.json"]) if "metadata.json" in members else {}
    metadata = {
        name: told[name]
        for name in ("keras_version", "date_saved")
        if isinstance(told, dict) and isinstance(told.get(name), str) and len(told[name]) < 100
    }
    compiled = config.get("compile_config") if isinstance(config, dict) else None
    contents = Contents(".keras", config, metadata, compiled, None, None)
    weights = members.get("model.weights.h5")
    if weights is None:
        contents.note = "The file holds no weights that can be shown."
        return contents
    contents.window = _unpacked(stack, archive, weights, file, size)
    contents.hdf5 = stack.enter_context(_open_hdf5(contents.window))
    return contents


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    if info.file_size > MAX_CONFIG:
        raise ModelFileError(
            f"'{info.filename}' in the archive has {info.file_size >> 20:,} MiB; no model's is so large."
        )
    try:
        _check_method(info)
        with archive.open(info) as member:
            return parse_json(member.read(MAX_CONFIG + 1))
    except ModelFileError:
        raise
    except Exception as problem:
        raise ModelFileError(
            f"'{info.filename}' in the archive cannot be read: {problem}"[:400]
        ) from problem


def _check_method(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 1:
        raise ModelFileError("The archive is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelFileError("The archive is packed in a way that Keras never packs.")


def parse_json(text: str | bytes) -> Any:
    """JSON of a configuration.

    Raises:
        ModelFileError: it is too large, none, or nested without end.
    """
    if len(text) > MAX_CONFIG:
        raise ModelFileError("The configuration is larger than that of any model.")
    try:
        return json.loads(text)
    except RecursionError as problem:
        raise ModelFileError("The configuration is nested without end.") from problem
    except ValueError as problem:
        raise ModelFileError(f"The configuration is damaged: {problem}"[:400]) from problem


def _unpacked(
    stack: contextlib.ExitStack,
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    file: BinaryIO,
    size: int,
) -> Window:
    """Where the weights lie as they are: in the archive, or in a file of their own if packed there."""
    _check_method(info)
    if info.compress_type == zipfile.ZIP_STORED:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) == _LOCAL_HEADER.size:
            magic, name, extra = _LOCAL_HEADER.unpack(header)
            start = info.header_offset + _LOCAL_HEADER.size + name + extra
            if magic == b"PK\x03\x04" and start + info.file_size <= size:
                return Window(file, start, info.file_size)
        raise ModelFileError("The archive is damaged: the weights in it are cut off.")
    limit = min(MAX_UNPACKED, max(RATIO * size, 64 << 20))
    if info.file_size > limit:
        raise ModelFileError(
            f"The file is {size >> 10:,} KiB and its weights would unpack to "
            f"{info.file_size >> 20:,} MiB, which no model's do."
        )
    spill: Any = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    left = info.file_size
    try:
        with archive.open(info) as member:
            while left and (chunk := member.read(min(left, _CHUNK))):
                spill.write(chunk)
                left -= len(chunk)
        spill.flush()
    except Exception as problem:
        raise ModelFileError(f"The weights cannot be unpacked: {problem}") from problem
    return Window(spill, 0, info.file_size - left)


# -- .h5 -----------------------------------------------------------------------------------------


def _open_hdf5(window: Window) -> h5py.File:
    try:
        return h5py.File(window, "r")  # pyright: ignore
    except Exception as problem:
        raise ModelFileError(f"The weights are damaged: {problem}"[:400]) from problem


def _old(hdf5: h5py.File, window: Window) -> Contents:
    config = _attribute(hdf5, "model_config")
    if config is None:
        raise ModelFileError(
            "The file holds no Keras model; it may hold weights alone, or be of another program."
        )
    version = _attribute(hdf5, "keras_version")
    metadata = {} if version is None or len(version) > 100 else {"keras_version": version}
    compiled = _attribute(hdf5, "training_config")
    return Contents(
        ".h5",
        parse_json(config),
        metadata,
        None if compiled is None else parse_json(compiled),
        hdf5,
        window,
    )


def _attribute(hdf5: h5py.File, name: str) -> str | None:
    """An attribute that is text; None where there is none."""
    try:
        value = hdf5.attrs.get(name)
    except Exception as problem:
        raise ModelFileError(f"The file is damaged: '{name}' cannot be read.") from problem
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
