"""What JupyterLab asks of a kernel, in expressions that leave nothing in the user's namespace.

Importing this imports neither Keras nor numpy: a kernel that has no use for them is not to pay.
"""

from __future__ import annotations

import json
from typing import Any

from .models import hand_back, tell_model, tell_models

_QUESTIONS: dict[str, Any] = {
    "models": tell_models,
    "model": tell_model,
    "hand_back": hand_back,
}


class Reply:
    """An answer as IPython hands it to whoever asked: as JSON, not as text that has to be parsed."""

    def __init__(self, told: Any) -> None:
        self.told = told

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"application/json": self.told}


def answer(question: str, arguments: str = "{}") -> Reply:
    """Answers a question of the JupyterLab extension.

    Args:
        question: its name.
        arguments: its arguments, as the JSON of an object.
    """
    return Reply(_QUESTIONS[question](**json.loads(arguments)))
