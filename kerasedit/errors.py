"""The errors that kerasedit raises. Each says which layer, which shapes, and what to do."""

from __future__ import annotations

import re


class EditError(ValueError):
    """An edit, a file or a request that cannot be carried out; nothing was changed."""


class TargetError(EditError, LookupError):
    """A target names no layer, or another number of layers than the method needs."""

    def __str__(self) -> str:  # LookupError alone would show the message quoted, as KeyError does
        return str(self.args[0]) if self.args else ""


class ShapeMismatch(EditError):
    """Shapes that no longer fit: an input that a layer cannot take, or a weight of another shape.

    `of_weights` tells the latter, for which `on_mismatch=` offers a way.
    """

    def __init__(self, message: str, *, of_weights: bool = False) -> None:
        super().__init__(message)
        self.of_weights = of_weights


class StructureError(EditError):
    """The structure of the model cannot be edited in this way."""


class NameTaken(EditError):
    """The name belongs to another layer, variable or file."""


class ModelFileError(EditError, OSError):
    """A model file that is missing, unreadable, not a Keras model, or not safe to load."""

    def __str__(self) -> str:  # OSError would render a single argument with its own rules
        return str(self.args[0]) if self.args else ""


class UnsafeModelError(ModelFileError):
    """A model file that holds code, which is only run where the file is trusted."""


def reason(problem: BaseException) -> str:
    """What Keras said, as one sentence: the first paragraph, without the wrapping of its own."""
    text = re.sub(r"\x1b\[\d*m", "", str(problem))
    text = re.split("(?:Exception|Error) encountered:", text)[-1].strip()
    # Keras names the call that failed first, and the reason in the next paragraph.
    text = re.sub(r"^Exception encountered when calling .*?\n\n", "", text).split("\n\n")[0]
    text = " ".join(text.split())[:400] or type(problem).__name__
    return text if text.endswith((".", "!", "?")) else text + "."
