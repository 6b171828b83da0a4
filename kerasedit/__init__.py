"""kerasedit: edit trained Keras models on a rebuilt copy that keeps their weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import EditError, NameTaken, ShapeMismatch, StructureError, TargetError

if TYPE_CHECKING:
    from .compress.zeros import SparsitySchedule
    from .differences import Diff, diff
    from .editor import Editor
    from .plan import Plan
    from .recipe import Recipe
    from .search.ablation import ablate
    from .search.results import Sweep
    from .search.sweeping import sweep
    from .training.live import LiveEdit
    from .training.stages import Plateau, Stage, top_down
    from .verify import Verification
    from .views import LayerView
    from .weights.histogram import Histogram, histogram
    from .widgets.editor_widget import EditorWidget
    from .widgets.parts import EditHistory, LayerTable, TrainableToggles, WeightHistograms

__version__ = "0.1.0"

# Resolved on first use: importing kerasedit imports no Keras.
_PLACES = {
    "Diff": ".differences",
    "EditHistory": ".widgets.parts",
    "Editor": ".editor",
    "EditorWidget": ".widgets.editor_widget",
    "Histogram": ".weights.histogram",
    "LayerTable": ".widgets.parts",
    "LayerView": ".views",
    "LiveEdit": ".training.live",
    "Plan": ".plan",
    "Plateau": ".training.stages",
    "Recipe": ".recipe",
    "SparsitySchedule": ".compress.zeros",
    "Stage": ".training.stages",
    "Sweep": ".search.results",
    "TrainableToggles": ".widgets.parts",
    "diff": ".differences",
    "Verification": ".verify",
    "WeightHistograms": ".widgets.parts",
    "ablate": ".search.ablation",
    "histogram": ".weights.histogram",
    "sweep": ".search.sweeping",
    "top_down": ".training.stages",
}


def edit(model_or_path: Any, **options: Any) -> Editor:
    """`Editor(model_or_path, **options)`."""
    from .editor import Editor

    return Editor(model_or_path, **options)


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'kerasedit' has no attribute {name!r}")
    return getattr(importlib.import_module(place, __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Diff",
    "EditError",
    "EditHistory",
    "Editor",
    "EditorWidget",
    "Histogram",
    "LayerTable",
    "LayerView",
    "LiveEdit",
    "NameTaken",
    "Plan",
    "Plateau",
    "Recipe",
    "ShapeMismatch",
    "SparsitySchedule",
    "Stage",
    "StructureError",
    "Sweep",
    "TargetError",
    "TrainableToggles",
    "Verification",
    "WeightHistograms",
    "ablate",
    "diff",
    "edit",
    "histogram",
    "sweep",
    "top_down",
]
