"""Model files: read with care, written beside and renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from .errors import EditError, ModelFileError
from .opening import open_model

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
        ModelFileError: the file is missing, truncated, no Keras model, or needs unsafe loading.
    """
    file = Path(path)
    if not file.exists():
        raise ModelFileError(f"There is no file '{file}'.")
    if file.suffix.lower() not in SUFFIXES:
        raise ModelFileError(f"'{file}' is no model file: {', '.join(SUFFIXES)} are read.")
    try:
        model = open_model(
            file, custom_objects=custom_objects or {}, safe_mode=safe_mode, compile=compile
        )
    except Exception as problem:
        text = " ".join(str(problem).split())
        if (safe_mode and "safe_mode" in text) or "unsafe" in text.lower():
            raise ModelFileError(
                f"'{file}' holds code (a Lambda layer), which is not run unless you trust the file: "
                "pass safe_mode=False if you do."
            ) from problem
        raise ModelFileError(
            f"'{file}' cannot be read as a Keras model; it may be damaged, or need custom_objects=. "
            f"Keras said: {text[:400]}"
        ) from problem
    if not isinstance(model, keras.Model):
        raise ModelFileError(f"'{file}' holds a {type(model).__name__}, not a Keras model.")
    return model


def save_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    check: Callable[[keras.Model], None],
    *,
    custom_objects: Mapping[str, Any] | None = None,
) -> Path:
    """Saves a model so that the file at `path` is the old one or the whole new one, never a part.

    It is written beside, loaded back, given to `check`, and renamed.

    Raises:
        ModelFileError: it cannot be written or read back; the old file is as it was.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:  # Keras does not know them in capitals
        raise ModelFileError(f"A model is saved to {' or '.join(SUFFIXES)}, not to '{file.name}'.")
    if not file.parent.is_dir():
        raise ModelFileError(f"There is no folder '{file.parent}'.")
    try:
        if file.is_symlink():  # a link stays one; what it points to is written
            file = file.resolve()
        # The name ends as the file's does: Keras chooses the format by it.
        handle, beside = tempfile.mkstemp(prefix=".new-", suffix=file.suffix, dir=file.parent)
        os.close(handle)
    except (OSError, ValueError) as problem:
        raise ModelFileError(f"Nothing can be written to '{file.parent}': {problem}.") from problem
    try:
        model.save(beside)
        with open(beside, "rb+") as written:
            os.fsync(written.fileno())
        # What was made in this process is trusted as it was before. Without its compiled state: an
        # `.h5` file with a loss given by name is one that Keras 3.15 loads only so.
        check(load_model(beside, custom_objects=custom_objects, safe_mode=False, compile=False))
        _copy_mode(file, beside)
        os.replace(beside, file)
    except ModelFileError as problem:
        said = str(problem).replace(beside, str(file))
        raise ModelFileError(f"What was saved does not load back: {said}") from problem
    except EditError:
        raise
    except OSError as problem:
        raise ModelFileError(
            f"'{file}' cannot be written: {problem.strerror or problem}. What was there is unharmed."
        ) from problem
    except Exception as problem:
        raise ModelFileError(
            f"The model cannot be saved to '{file}': {problem} What was there is unharmed."
        ) from problem
    finally:
        Path(beside).unlink(missing_ok=True)
    return file


def _copy_mode(old: Path, new: str) -> None:
    """`mkstemp` makes private files; a saved model has the rights that `open` would give it."""
    if old.exists():
        os.chmod(new, old.stat().st_mode)
    else:
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(new, 0o666 & ~mask)
