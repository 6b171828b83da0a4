"""The editor's table of layers, in text."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from .graph.model_graph import Entry, LayerId, ModelGraph
from .names import visible
from .views import count_params, weights_under

if TYPE_CHECKING:
    from .editor import Editor


def status(
    source: ModelGraph, graph: ModelGraph, entry: Entry, reweighted: Container[LayerId] = ()
) -> str:
    """How a layer differs from the source: `"added"`, `"changed"` or `""`.

    `reweighted` are the layers whose weights edits changed.
    """
    layer = entry.layer
    spec, stands_for = graph.layers[layer], _stands_for(source, graph, entry)
    if stands_for is None:
        return "added"
    old = source.layers[stands_for]
    if stands_for != layer or old.name != spec.name or layer in reweighted:
        return "changed"
    if old.config is not spec.config and repr(old.config) != repr(spec.config):
        return "changed"
    # A flag means nothing where there is nothing to train.
    flags = source.effective_flags.get(layer), graph.effective_flags.get(layer)
    return "changed" if flags[0] != flags[1] and weights_under(graph, layer) else ""


def _stands_for(source: ModelGraph, graph: ModelGraph, entry: Entry) -> LayerId | None:
    """The layer of the source that this one is, or has become."""
    spec = graph.layers[entry.layer]
    if entry.layer in source.layers:
        return entry.layer
    for origin in spec.origins.values():
        if origin.layer in source.layers and source.layers[origin.layer].name == spec.name:
            return origin.layer
    # One that starts afresh throughout inherits nothing, yet stands where it stood.
    stood = source.by_path.get(entry.path)
    if stood and stood.layer not in graph.paths and source.layers[stood.layer].cls is spec.cls:
        return stood.layer
    return None


def successors(source: ModelGraph, graph: ModelGraph) -> dict[LayerId, str]:
    """For each layer of the source that is left, the path of what it is or has become."""
    found: dict[LayerId, str] = {}
    for entry in graph.entries:
        if (layer := _stands_for(source, graph, entry)) is not None:
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
    for entry, view in zip(graph.entries, editor.layers, strict=True):
        indent = "  " * (view.level - 1)
        trains = "-" if view.kind in ("op", "input") else "yes" if view.trainable else "no"
        rows.append(
            (
                f"{indent}{visible(view.name)} ({view.class_name})",
                str(view.output_shape),
                f"{view.params:,}",
                trains,
                status(source, graph, entry, reweighted),
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
