"""The user's variables that hold models, by name."""

from __future__ import annotations

from collections.abc import Container

import keras

from ..editor import Editor
from ..errors import EditError
from ..handback import user_namespace
from ..names import cut


def held(variable: str) -> Editor | keras.Model:
    """The model or the editor that a variable holds.

    Raises:
        EditError: it holds neither.
    """
    value = (user_namespace() or {}).get(variable)
    if not isinstance(value, (Editor, keras.Model)):
        raise EditError(f"There is no Keras model '{cut(variable)}' in the kernel any more.")
    return value


def edits_in_none(editor: Editor, held: Container[int]) -> int:
    """How many edits no variable has.

    Args:
        editor: what was edited.
        held: the `id`s of what variables hold.
    """
    count = len(editor.history)
    return min(count, editor.unmade) if id(editor.latest) in held else count
