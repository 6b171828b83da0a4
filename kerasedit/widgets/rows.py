"""What the widget draws, made from an editor: rows and totals as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..edits.base import tensors_of
from ..graph.model_graph import Entry, LayerId, ModelGraph
from ..handback import proposed_variable, user_namespace
from ..palette import family_of
from ..summary import removed, statuses, successors
from ..training.monitor import State
from ..views import LayerView, count_bytes, count_params, count_trainable, weights_under

if TYPE_CHECKING:
    from ..editor import Editor


# Of each editor the rows at its latest revision: what several widgets show is made once.
_made: WeakKeyDictionary[Editor, tuple[int, list[dict[str, Any]]]] = WeakKeyDictionary()


def rows_of(editor: Editor) -> list[dict[str, Any]]:
    """A row per layer in data order; see docs/protocol.md. They are not to be changed."""
    with editor.lock:
        revision, rows = _made.get(editor, (-1, []))
        if revision != editor.revision:
            rows = _rows(editor)
            _made[editor] = editor.revision, rows
        return rows


def _rows(editor: Editor) -> list[dict[str, Any]]:
    graph = editor.graph
    marks = statuses(editor.source_graph, graph, editor.reweighted)
    # By place and not by owner: a model that stands in two places has its layers in both.
    index = {
        (entry.path.removesuffix(graph.layers[entry.layer].name), entry.layer): number
        for number, entry in enumerate(graph.entries)
    }
    return [
        {
            "id": identity,
            **_row(graph, entry, view),
            **_edges(graph, entry, index, number),
            "status": mark,
        }
        for number, (identity, entry, view, mark) in enumerate(
            zip(_identities(graph), graph.entries, editor.layers, marks, strict=True)
        )
    ]


def _identities(graph: ModelGraph) -> Iterator[str]:
    """Of each row what it is whatever it is called: the layer's call, behind those of the models
    around it. A layer whose weights start afresh is another one for the graph, its call is not."""
    around: list[str] = []
    for entry in graph.entries:
        call = graph.net_of(entry.owner).calls_of[entry.layer][0]
        around[entry.level - 1 :] = [str(call.id)]
        yield "/".join(around)


def follow_paths(
    paths: Sequence[str], before: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> list[str]:
    """Paths of layers and of weights as they were among the rows `before`, as they are now."""
    if not paths:
        return []
    now = {row["id"]: row["path"] for row in rows}
    moved = {row["path"]: now[row["id"]] for row in before if row["id"] in now}

    def follow(path: str) -> str:
        layer = path
        while layer and layer not in moved:
            layer = layer.rpartition("/")[0]
        return moved.get(layer, "") + path[len(layer) :]

    return [follow(path) for path in paths]


def make_ghosts(editor: Editor) -> list[dict[str, Any]]:
    """What was taken out of the source, each with the row that it would stand behind."""
    source, graph = editor.source_graph, editor.graph
    left, last = successors(source, graph), None
    ghosts = set(removed(source, left))
    told = []
    for entry in source.entries:
        if entry not in ghosts:
            last = left.get(entry.layer, last)
            continue
        spec = source.layers[entry.layer]
        told.append(
            {
                "path": entry.path,
                "name": spec.name,
                "level": entry.level,
                "class_name": spec.cls.__name__,
                "family": family_of(spec.cls, spec.kind),
                "params": count_params(source, entry.layer),
                "parent": left.get(entry.owner),
                "after": last,
            }
        )
    return told


def make_patch(before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[Any]:
    """What makes `rows` out of the rows `before`: `[start, count]` for a run of rows that are the
    same in both, the row itself for one that is not."""
    numbers = {row["path"]: number for number, row in enumerate(before)}
    patch: list[Any] = []
    for row in rows:
        number = numbers.get(row["path"])
        if number is None or before[number] != row:
            patch.append(row)
        elif patch and isinstance(patch[-1], list) and sum(patch[-1]) == number:
            patch[-1][1] += 1
        else:
            patch.append([number, 1])
    return patch


def _row(graph: ModelGraph, entry: Entry, view: LayerView) -> dict[str, Any]:
    spec = graph.layers[entry.layer]
    weights = weights_under(graph, entry.layer)
    flagged = spec.kind in ("layer", "model")
    return {
        "path": view.path,
        "name": view.name,
        "level": view.level,
        "kind": view.kind,
        "class_name": view.class_name,
        "family": family_of(spec.cls, spec.kind),
        "shape": show_shapes(view.output_shape) if view.dtype else "",
        "dtype": view.dtype or "",
        "params": sum(math.prod(w.shape) for _, w in weights),
        "trainable": view.trainable if flagged else None,
        "trainable_params": sum(math.prod(w.shape) for i, w in weights if graph.trains(i, w)),
        "weights": len(weights),
        "marks": _marks(graph, entry),
        "calls": view.calls,
        "title": f"{view.class_name} {view.path}",
    }


def _edges(
    graph: ModelGraph, entry: Entry, index: dict[tuple[str, LayerId], int], number: int
) -> dict[str, Any]:
    """The rows that feed a row, and those inside a model whose outputs are the model's.

    By how many rows they stand above or below, so that an edit changes few rows.
    """
    spec, net = graph.layers[entry.layer], graph.net_of(entry.owner)
    around, inside = entry.path.removesuffix(spec.name), f"{entry.path}/"
    # One row per tensor and in the order that `keep=` counts, so the same row may come twice.
    tensors = dict.fromkeys(t for call in net.calls_of[entry.layer] for t in tensors_of(call))
    edges: dict[str, Any] = {
        "inputs": [number - index[around, net.by_id[ref.call].layer] for ref in tensors]
    }
    if any(ref.index for ref in tensors):
        edges["ports"] = [ref.index for ref in tensors]
    if spec.net is not None and not spec.net.opaque:
        calls = spec.net.by_id
        edges["outputs"] = [
            [index[inside, calls[ref.call].layer] - number, ref.index]
            for ref in spec.net.output_refs
        ]
    return edges


def training_data(state: State) -> dict[str, Any]:
    """Where a training stands, as JSON, which has no NaN: what is no number is told as text."""
    metrics = {
        name: value if math.isfinite(value) else str(value) for name, value in state.metrics.items()
    }
    return {**asdict(state), "metrics": metrics}


def show_shapes(shape: Any) -> str:
    """A shape, or several joined by `; `, as text."""
    several = bool(shape) and isinstance(shape[0], tuple)
    return "; ".join(map(str, shape)) if several else str(shape)


def _marks(graph: ModelGraph, entry: Entry) -> list[str]:
    spec, net = graph.layers[entry.layer], graph.net_of(entry.owner)
    marks = []
    if len(net.calls_of[entry.layer]) > 1:
        marks.append("shared")
    policy = (spec.config or {}).get("dtype")
    if isinstance(policy, dict) and "Quantized" in str(policy.get("class_name")):
        marks.append("quantized")
    if spec.kind == "op":
        marks.append("op")
    if any(net.by_id[ref.call].layer == entry.layer for ref in net.output_refs):
        marks.append("output")
    return marks


def make_info(editor: Editor) -> dict[str, Any]:
    """The bar: totals, what can be undone, the proposed variable name."""
    graph = editor.graph
    root = graph.layers[graph.root]
    params, trainable = count_params(graph, graph.root), count_trainable(graph)
    undo, redo = editor.undo_label, editor.redo_label
    reason = ""
    if graph.net.opaque:
        reason = (
            "A subclassed model: its call is Python code, so only flags and weights can be edited."
        )
    elif editor.in_place:
        reason = "The model itself, not a copy of it: only flags and weights can be edited."
    return {
        "name": root.name,
        "class_name": root.cls.__name__,
        "params": params,
        "trainable": trainable,
        "frozen": params - trainable,
        "bytes": count_bytes(graph),
        "layers": len(graph.entries),
        "done": len(editor.steps),
        "undone": len(editor.undone_steps),
        "can_undo": undo is not None,
        "can_redo": redo is not None,
        "undo_label": undo or "",
        "redo_label": redo or "",
        "editable": not reason,
        "reason": reason,
        "variable": proposed_variable(editor, user_namespace()),
    }
