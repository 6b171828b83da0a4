"""What JupyterLab asks of a kernel, in expressions that leave nothing in the user's namespace.

Importing this imports neither Keras nor numpy: a kernel that has no use for them is not to pay.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

# Which module has the function of that name; it is imported with the first question to it.
_QUESTIONS = {
    "open_variable": "tabs",
    "open_file": "tabs",
    "save_file": "tabs",
    "is_current": "tabs",
    "tell_models": "models",
    "tell_model": "models",
    "hand_back": "models",
    "compare_variables": "comparing",
}


PROBLEM = "application/vnd.kerasedit.problem+json"


class Reply:
    """An answer as IPython hands it to whoever asked: as JSON, not as text that has to be parsed."""

    def __init__(self, told: Any, kind: str = "application/json") -> None:
        self.told, self._kind = told, kind

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {self._kind: self.told}


def answer(question: str, arguments: str = "{}") -> Reply:
    """Answers a question of the JupyterLab extension.

    What goes wrong is told, and not raised: IPython would keep it as the user's latest error, which
    `%debug` looks into.

    Args:
        question: its name.
        arguments: its arguments, as the JSON of an object.
    """
    try:
        module = importlib.import_module(f".{_QUESTIONS[question]}", __package__)
        return Reply(getattr(module, question)(**json.loads(arguments)))
    except Exception as problem:
        return Reply({"type": type(problem).__name__, "message": str(problem)}, PROBLEM)
