"""The user's variables that hold models, by name."""

from __future__ import annotations

import keras

from ..editor import Editor
from ..errors import EditError
from ..handback import user_namespace
from ..names import cut

_LONGEST = 200  # characters of a name


def held(variable: str) -> Editor | keras.Model:
    """The model or the editor that a variable holds.

    Raises:
        EditError: it holds neither.
    """
    value = (user_namespace() or {}).get(variable)
    if not isinstance(value, (Editor, keras.Model)):
        raise EditError(
            f"There is no Keras model '{cut(variable, _LONGEST)}' in the kernel any more."
        )
    return value
