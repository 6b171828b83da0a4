"""Model files: read with care, written beside and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import keras

from . import _keras
from .errors import EditError, ModelFileError, UnsafeModelError, reason
from .opening import open_model

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

SUFFIXES = (".keras", ".h5", ".hdf5")


def load_model(
    path: str | os.PathLike[str],
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    compile: bool = True,
) -> keras.Model:
    """A Keras model from a `.keras` or `.h5` file.

    Raises:
        UnsafeModelError: the file needs unsafe loading.
        ModelFileError: it is missing, truncated, no Keras model, or would unpack to far more than it
            is.
    """
    file = Path(path)
    if not os.path.exists(file):
        raise ModelFileError(f"There is no file '{file}'.")
    if file.suffix.lower() not in SUFFIXES:
        raise ModelFileError(f"'{file}' is no model file: {', '.join(SUFFIXES)} are read.")
    _refuse_bomb(file)
    try:
        with _keras.deep_enough(_count_layers(file)):
            model = open_model(
                file, custom_objects=custom_objects or {}, safe_mode=safe_mode, compile=compile
            )
    except Exception as problem:
        text = " ".join(str(problem).split())
        if (safe_mode and "safe_mode" in text) or "unsafe" in text.lower():
            raise UnsafeModelError(
                f"'{file}' holds code (a Lambda layer), which is not run unless you trust the file: "
                "pass safe_mode=False if you do."
            ) from problem
        hint = ""
        if compile and file.suffix.lower() != ".keras":
            hint = ", or compile=False (--no-compile in a shell) where a loss was given by name"
        raise ModelFileError(
            f"'{file}' cannot be read as a Keras model; it may be damaged, or need custom_objects="
            f"{hint}. Keras said: {reason(problem)}"
        ) from problem
    if not isinstance(model, keras.Model):
        raise ModelFileError(f"'{file}' holds a {type(model).__name__}, not a Keras model.")
    return model


_ALWAYS = 1 << 30  # bytes that a file may unpack to, however small it is
_RATIO = 20  # Keras itself packs nothing


def _refuse_bomb(file: Path) -> None:
    """Raises where a small archive would fill the memory; what is no archive, Keras will tell."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except Exception:
        return
    if size > max(_ALWAYS, _RATIO * file.stat().st_size):
        raise ModelFileError(
            f"'{file}' is {file.stat().st_size >> 10:,} KiB and would unpack to {size >> 20:,} MiB, "
            "which no model does. If you trust it, unpack it, and pack it without compression."
        )


def _count_layers(file: Path) -> int:
    """The number of layers that a file tells of, or more; 0 where it is no sound model file."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                config = archive.read("config.json").decode()
        else:
            with h5py.File(file) as old:
                config = str(old.attrs["model_config"])
        json.loads(config)  # fails, with the usual limit of recursion, for what is nested endlessly
    except Exception:
        return 0
    return config.count('"class_name"')


def save_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    check: Callable[[keras.Model], None],
    *,
    custom_objects: Mapping[str, Any] | None = None,
) -> Path:
    """Saves a model so that the file at `path` is the old one or the whole new one, never a part.

    It is written in a folder beside, loaded back by Keras, given to `check`, and renamed.

    Raises:
        ModelFileError: it cannot be written or read back; the old file is as it was.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:  # Keras does not know them in capitals
        raise ModelFileError(f"A model is saved to {' or '.join(SUFFIXES)}, not to '{file.name}'.")
    if not os.path.isdir(file.parent):  # False, not an error, for what cannot be a path
        raise ModelFileError(f"There is no folder '{file.parent}'.")
    if os.path.isdir(file):
        raise ModelFileError(f"'{file}' is a folder; a model is saved to a file.")
    try:
        if file.is_symlink():  # a link stays one; what it points to is written
            file = file.resolve()
        with folder_beside(file) as beside, _keras.deep_enough(len(_keras.all_layers(model))):
            new = beside / file.name
            model.save(new)
            check(_load_back(new, custom_objects))
            replace_file(new, file)
    except EditError:
        raise
    except Exception as problem:
        raise ModelFileError(
            f"The model cannot be saved to '{file}': {_why(problem)} What was there is unharmed."
        ) from problem
    return file


def _why(problem: Exception) -> str:
    """Why nothing could be written, as a sentence: HDF5 tells it among much else."""
    said = re.search(r"error message = '([^']+)'", str(problem))
    if said is not None:
        return f"{said[1]}."
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror}."
    return reason(problem)


def _load_back(file: Path, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    """A model just saved, as Keras itself loads it.

    What was made in this process is trusted as it was before. Without its compiled state: an `.h5`
    file with a loss given by name is one that Keras 3.15 loads only so.
    """
    try:
        return keras.saving.load_model(
            file, custom_objects=dict(custom_objects or {}), safe_mode=False, compile=False
        )
    except Exception as problem:
        said = reason(problem).replace(str(file), file.name)
        raise ModelFileError(
            f"Keras cannot load back what it saved as '{file.name}', so that was not kept. Classes and "
            "functions that are not registered have to be in custom_objects=; a layer that is both "
            f"inside and outside of a nested model is one that Keras does not save. It said: {said}"
        ) from problem


_BESIDE = ".new-kerasedit-"


@contextlib.contextmanager
def folder_beside(file: Path) -> Iterator[Path]:
    """A folder for what will become `file`, gone afterwards with all that is still in it.

    It is locked, which ends with the process: one that nobody holds was left by a save that was
    killed, and goes after the next that succeeds.
    """
    beside = Path(tempfile.mkdtemp(prefix=_BESIDE, dir=file.parent))
    lock = _lock(beside)
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    for left in file.parent.glob(f"{_BESIDE}*"):
        lock = _lock(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def put_in_place(folder: Path, file: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Writes a file in the folder beside, and puts it in place of the old one."""
    new = folder / file.name
    with open(new, "wb") as stream:
        write(stream)
    replace_file(new, file)


def replace_file(new: Path, file: Path) -> None:
    """Puts what was written beside in place of the old file, whose permissions it gets."""
    with open(new, "rb+") as written:
        os.fsync(written.fileno())
    if file.exists():
        os.chmod(new, file.stat().st_mode)
    os.replace(new, file)


def _lock(folder: Path) -> int | None:
    """Locks a folder until the handle is closed or the process ends; None where that cannot be."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
