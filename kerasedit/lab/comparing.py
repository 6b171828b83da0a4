"""Two models of a kernel in step, for a tab of JupyterLab; see docs/lab.md."""

from __future__ import annotations

from typing import Any

from ..differences.compare import Line, side_by_side
from ..differences.result import Item
from ..graph.model_graph import Entry, ModelGraph
from ..names import cut
from ..palette import family_of
from ..views import count_params, count_trainable
from ..widgets.rows import show_shapes
from .variables import held

_WORDS = 1000  # characters of what differs


def compare_variables(first: str, second: str) -> dict[str, Any]:
    """What differs between the models, or editors, that two variables hold.

    Returns:
        `{models, lines, whole, found}`; see docs/lab.md.

    Raises:
        EditError: a variable holds neither.
    """
    told = side_by_side(held(first), held(second))
    items = [item for _, group in told.diff.groups for item in group]
    return {
        "models": [_model(told.a), _model(told.b)],
        "lines": [
            [
                _layer(told.a, line.a),
                _layer(told.b, line.b),
                [_words(item, line) for item in line.items],
            ]
            for line in told.lines
        ],
        "whole": [cut(item.detail, _WORDS) for item in items if not item.path],
        "found": [[heading, len(group)] for heading, group in told.diff.groups if group],
    }


def _words(item: Item, line: Line) -> str:
    """What differs in a layer; of a weight, which."""
    inside = item.path.removeprefix(f"{line.b.path}/") if line.b else item.path
    name = f"{inside}: " if line.b and inside != item.path else ""
    return cut(name + item.detail, _WORDS)


def _model(graph: ModelGraph) -> dict[str, Any]:
    spec = graph.layers[graph.root]
    return {
        "name": cut(spec.name),
        "class_name": cut(spec.cls.__name__),
        "params": count_params(graph, graph.root),
        "trainable": count_trainable(graph),
    }


def _layer(graph: ModelGraph, entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    spec = graph.layers[entry.layer]
    outputs = graph.net_of(entry.owner).calls_of[entry.layer][0].outputs or ()
    shapes = tuple(output.shape for output in outputs)
    return {
        "path": cut(entry.path),
        "name": cut(spec.name),
        "level": entry.level,
        "class_name": cut(spec.cls.__name__),
        "family": family_of(spec.cls, spec.kind),
        "shape": show_shapes(shapes[0] if len(shapes) == 1 else shapes),
        "params": count_params(graph, entry.layer),
    }
