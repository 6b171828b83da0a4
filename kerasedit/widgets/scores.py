"""What was found of layers, as a column beside them: by an ablation, say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..errors import EditError, TargetError
from ..graph.model_graph import LayerId, ModelGraph
from ..names import shortened, visible

if TYPE_CHECKING:
    from ..editor import Editor
    from ..search.results import Sweep

_LABEL = 60


@dataclass(frozen=True)
class Scores:
    """A number for each of some layers, which it stays with whatever they are called later.

    Attributes:
        label: what the numbers are.
        values: by layer.
    """

    label: str
    values: Mapping[LayerId, float]

    def told(self, graph: ModelGraph) -> dict[str, Any]:
        """The scores of the layers that are left in a model, by their paths there, as JSON."""
        values = {
            entry.path: self.values[entry.layer]
            for entry in graph.entries
            if entry.layer in self.values
        }
        return {"label": self.label, "values": values}


def scores_of(editor: Editor, found: Sweep | Mapping[str, float]) -> Scores:
    """What was found, for the layers of an editor's model as it is now; others are passed over.

    Raises:
        EditError: it is neither a sweep nor numbers by paths.
        TargetError: none of it is about a layer of the model.
    """
    from ..search.results import Sweep  # and joblib: only whoever has swept needs it

    label, by_path = "Score", found
    if isinstance(found, Sweep):
        what = {"max": "lost", "min": "added"}[found.mode]
        label, by_path = f"{found.metric} {what}", found.by_layer()
    if not isinstance(by_path, Mapping) or not all(map(_is_number, by_path.values())):
        raise EditError(
            "Scores are what kerasedit.ablate and kerasedit.sweep give, or a dictionary of numbers by "
            f"the paths of layers, not {found!r:.80}."
        )
    graph = editor.graph
    values = {
        graph.by_path[path].layer: float(value)
        for path, value in by_path.items()
        if path in graph.by_path and math.isfinite(value)
    }
    if not values:
        raise TargetError("There is no number for any layer of this model: nothing to be shown.")
    return Scores(shortened(visible(label), _LABEL), values)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
