"""`Editor.to_code`: a script as a text, or as a file with its arrays beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _keras
from ..errors import EditError, ModelFileError
from ..files import folder_beside, put_in_place
from . import keras_style, kerasedit_style
from .script import Script

if TYPE_CHECKING:
    from ..editor import Editor

STYLES: dict[str, Callable[[Editor, Script, bool], list[str]]] = {
    "kerasedit": kerasedit_style.write,
    "keras": keras_style.write,
}

_OTHERS = {"keras", "kerasedit", "numpy", "tensorflow", "jax", "torch", *sys.stdlib_module_names}

_WITHOUT = (
    "Weights that were drawn at random are drawn anew, and those that were trained are as they were "
    "before: this is without the values that `ed.to_code()` brings along."
)


def to_code(editor: Editor, style: str, path: str | os.PathLike[str] | None, weights: bool) -> str:
    """The script of an editor; see `Editor.to_code`."""
    if style not in STYLES:
        raise EditError(f"style must be {' or '.join(map(repr, STYLES))}, not {style!r:.80}.")
    file = None if path is None else _checked(path)
    script = Script(editor.custom_objects)
    with _keras.deep_enough(len(editor.graph.layers)):
        about = STYLES[style](editor, script, weights)
    if not weights:
        about.append(_WITHOUT)
    text = script.whole(about, beside=file is not None)
    if file is not None:
        _save(script, text, file)
    return text


def _checked(path: str | os.PathLike[str]) -> Path:
    """The file to write (what a link leads to).

    Raises:
        ModelFileError: it is no `.py` file, is called like a module, or in no folder.
    """
    file = Path(path)
    if file.is_symlink():
        file = file.resolve()
    if file.suffix != ".py":
        raise ModelFileError(f"A script is written to a .py file, not to '{file.name}'.")
    if file.stem in _OTHERS:
        raise ModelFileError(
            f"A script called '{file.name}' would be imported in place of the module {file.stem!r}, "
            "which it needs itself. Give it another name."
        )
    if not os.path.isdir(file.parent) or os.path.isdir(file):
        raise ModelFileError(f"'{file}' is no place for a file: it is a folder, or in none.")
    return file


def _save(script: Script, text: str, file: Path) -> None:
    """Writes the files, each the old one or the whole new one whatever happens.

    The script knows its arrays: where only these are new yet, the old one says so.

    Raises:
        ModelFileError: they cannot be written, or the file of arrays there is not the script's.
    """
    beside = file.with_suffix(".npz")
    if script.arrays and beside.exists() and not file.exists():
        raise ModelFileError(
            f"There is a file '{beside}' already, where the arrays of '{file.name}' would go. Give the "
            "script another name."
        )
    try:
        with folder_beside(file) as folder:
            if script.arrays:
                put_in_place(folder, beside, script.npz)
            put_in_place(folder, file, lambda stream: stream.write(text.encode("utf-8")))
    except OSError as problem:
        raise ModelFileError(
            f"'{file}' cannot be written: {problem.strerror or problem}. What was there is unharmed."
        ) from problem
