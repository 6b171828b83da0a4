"""Binding a model to a variable of the notebook."""

from __future__ import annotations

import builtins
import keyword
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import keras

from .errors import EditError, NameTaken

if TYPE_CHECKING:
    from .editor import Editor


def user_namespace() -> MutableMapping[str, Any] | None:
    """The variables of the notebook, IPython's or marimo's; None where there is none."""
    shell = _ipython()
    return _marimo_globals() if shell is None else shell.user_ns


def _ipython() -> Any | None:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _marimo_globals() -> MutableMapping[str, Any] | None:
    """By way of what marimo has no public name for; None where it is not as expected."""
    try:
        return sys.modules["marimo._runtime.context"].get_context().globals
    except Exception:
        return None


def with_builtins(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What names mean in a notebook: its variables hide what Python itself calls so."""
    return {**vars(builtins), **variables}


def after_cell(fn: Callable[[], Any]) -> None:
    """Calls a function once the cell that runs now has ended, however it ends; not outside IPython."""

    def once() -> None:
        stop()
        fn()

    stop = after_cells(once)


def after_cells(fn: Callable[[], Any]) -> Callable[[], None]:
    """Calls a function whenever a cell has ended, until what this returns is called."""
    shell = _ipython()
    if shell is None:
        return lambda: None

    def call(*_: Any) -> None:
        fn()

    shell.events.register("post_run_cell", call)
    return lambda: shell.events.unregister("post_run_cell", call)


def bind(
    name: str,
    model: Callable[[], keras.Model],
    namespace: MutableMapping[str, Any] | None,
    overwrite: bool,
) -> keras.Model:
    """Binds a model to a name; the model is only made when the name is fit.

    Raises:
        NameTaken: the name holds something else than a Keras model.
        EditError: it is no name for a variable, or there is no notebook.
    """
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise EditError(f"{name!r} cannot be the name of a variable.")
    where = user_namespace() if namespace is None else namespace
    if where is None:
        raise EditError(
            "There is no notebook here to hand the model back to. Use ed.model, or pass "
            "namespace=globals()."
        )
    known = with_builtins(where) if namespace is None else where
    holds = known.get(name)
    if name in known and not isinstance(holds, keras.Model) and not overwrite:
        raise NameTaken(
            f"The variable '{name}' holds something else ({type(holds).__name__}). Choose another "
            "name, or pass overwrite=True."
        )
    made = model()
    where[name] = made
    return made


def proposed_variable(editor: Editor, namespace: Mapping[str, Any] | None) -> str:
    """The variable that got the copy last, or a free one by the name of the source's, or of the model."""
    if editor.handed_back is not None:
        return editor.handed_back
    taken = namespace if namespace is not None else {}
    own = (key for key, value in dict(taken).items() if value is editor.source)
    public = (key for key in own if isinstance(key, str) and not key.startswith("_"))
    name = next(public, editor.graph.layers[editor.graph.root].name)
    stem = "".join(c if c.isalnum() or c == "_" else "_" for c in name).strip("_") or "model"
    if not stem.isidentifier() or keyword.iskeyword(stem):
        stem = f"model_{stem}"
    candidate, number = f"{stem}_edited", 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}_edited_{number}"
    return candidate
