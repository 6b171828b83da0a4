"""The editor's table of layers, in text."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from .graph.model_graph import Call, Entry, LayerId, ModelGraph
from .names import visible
from .views import count_params, weights_under

if TYPE_CHECKING:
    from .editor import Editor


def statuses(
    source: ModelGraph, graph: ModelGraph, reweighted: Container[LayerId] = ()
) -> list[str]:
    """How each layer, in data order, differs from the source: `"added"`, `"changed"`, `"moved"` or
    `""`.

    `reweighted` are the layers whose weights edits changed.
    """
    stands_for = _stand_for(source, graph)
    moved = _moved(source, graph, stands_for)

    def status(entry: Entry, layer: LayerId | None) -> str:
        if layer is None:
            return "added"
        if _is_changed(source, graph, entry.layer, layer, reweighted):
            return "changed"
        return "moved" if entry in moved else ""

    return [status(*pair) for pair in zip(graph.entries, stands_for, strict=True)]


def _is_changed(
    source: ModelGraph,
    graph: ModelGraph,
    layer: LayerId,
    stands_for: LayerId,
    reweighted: Container[LayerId],
) -> bool:
    spec, old = graph.layers[layer], source.layers[stands_for]
    if stands_for != layer or old.name != spec.name or layer in reweighted:
        return True
    if old.config is not spec.config and repr(old.config) != repr(spec.config):
        return True
    # A flag means nothing where there is nothing to train.
    flags = source.effective_flags.get(layer), graph.effective_flags.get(layer)
    return flags[0] != flags[1] and bool(weights_under(graph, layer))


def _moved(
    source: ModelGraph, graph: ModelGraph, stands_for: Sequence[LayerId | None]
) -> set[Entry]:
    """The layers of the source that stand elsewhere among those that are left, or in another model."""
    before: dict[LayerId, list[LayerId]] = {}
    for entry in source.entries:
        before.setdefault(entry.owner, []).append(entry.layer)
    after: dict[LayerId, list[tuple[LayerId, Entry]]] = {}
    for entry, layer in zip(graph.entries, stands_for, strict=True):
        if layer is not None:
            after.setdefault(entry.owner, []).append((layer, entry))
    moved: set[Entry] = set()
    for owner, here in after.items():
        layers, there = [layer for layer, _ in here], set(dict(here))
        left = [layer for layer in before.get(owner, ()) if layer in there]
        if layers != left:
            blocks = SequenceMatcher(None, left, layers, autojunk=False).get_matching_blocks()
            stayed = {i for block in blocks for i in range(block.b, block.b + block.size)}
            moved |= {entry for i, (_, entry) in enumerate(here) if i not in stayed}
    return moved


def _stand_for(source: ModelGraph, graph: ModelGraph) -> list[LayerId | None]:
    """For each layer in data order the one of the source that it is, or has become."""
    fresh = {entry.layer for entry in graph.entries if entry.layer not in source.layers}
    called = _called_before(source, graph, fresh) if fresh else {}
    return [_stands_for(source, graph, entry, called.get(entry.layer)) for entry in graph.entries]


def _called_before(
    source: ModelGraph, graph: ModelGraph, fresh: Container[LayerId]
) -> dict[LayerId, LayerId]:
    """For layers that are not of the source, which layer of it a call of theirs was of."""
    before = {call.id: call.layer for call in _calls(source)}
    calls = (call for call in _calls(graph) if call.layer in fresh and call.id in before)
    return {call.layer: before[call.id] for call in calls}


def _calls(graph: ModelGraph) -> Iterator[Call]:
    for layer in graph.layers.values():
        if layer.net is not None:
            yield from layer.net.calls


def _stands_for(
    source: ModelGraph, graph: ModelGraph, entry: Entry, called_before: LayerId | None
) -> LayerId | None:
    spec = graph.layers[entry.layer]
    if entry.layer in source.layers:
        return entry.layer
    for origin in spec.origins.values():
        if origin.layer in source.layers and source.layers[origin.layer].name == spec.name:
            return origin.layer
    # One that starts afresh throughout inherits nothing, yet stands where it stood.
    stood = source.by_path.get(entry.path)
    for layer in (stood and stood.layer, called_before):
        if layer and layer not in graph.paths and source.layers[layer].cls is spec.cls:
            return layer
    return None


def successors(source: ModelGraph, graph: ModelGraph) -> dict[LayerId, str]:
    """For each layer of the source that is left, the path of what it is or has become."""
    found: dict[LayerId, str] = {}
    for entry, layer in zip(graph.entries, _stand_for(source, graph), strict=True):
        if layer is not None:
            found.setdefault(layer, entry.path)
    return found


def removed(source: ModelGraph, left: Container[LayerId]) -> list[Entry]:
    """The layers of the source that are not left, without those inside of them."""
    gone = [entry for entry in source.entries if entry.layer not in left]
    owners = {entry.layer for entry in gone}
    return [entry for entry in gone if entry.owner not in owners]


def summarize(editor: Editor) -> str:
    """A table: layer, output shape, parameters, whether it trains, and how it differs."""
    graph, source, reweighted = editor.graph, editor.source_graph, editor.reweighted
    rows = [("Layer (type)", "Output shape", "Param #", "Trains", "")]
    marks = statuses(source, graph, reweighted)
    for view, mark in zip(editor.layers, marks, strict=True):
        indent = "  " * (view.level - 1)
        trains = "-" if view.kind in ("op", "input") else "yes" if view.trainable else "no"
        rows.append(
            (
                f"{indent}{visible(view.name)} ({view.class_name})",
                str(view.output_shape),
                f"{view.params:,}",
                trains,
                mark,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(
            cell.rjust(width) if i == 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    gone = [entry.path for entry in removed(source, successors(source, graph))]
    total = count_params(graph, graph.root)
    lines.append(f"Total parameters: {total:,} (source: {count_params(source, source.root):,})")
    if gone:
        lines.append(f"Removed: {visible(', '.join(gone))}")
    return "\n".join(lines)
