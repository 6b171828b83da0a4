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
    spec, layer = graph.layers[entry.layer], entry.layer
    if layer not in source.layers:
        heirs = {origin.layer for origin in spec.origins.values()}
        same = any(i in source.layers and source.layers[i].name == spec.name for i in heirs)
        return "changed" if same else "added"
    old = source.layers[layer]
    if old.name != spec.name or layer in reweighted:
        return "changed"
    if old.config is not spec.config and repr(old.config) != repr(spec.config):
        return "changed"
    # A flag means nothing where there is nothing to train.
    flags = source.effective_flags.get(layer), graph.effective_flags.get(layer)
    return "changed" if flags[0] != flags[1] and weights_under(graph, layer) else ""


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
    gone = [path for layer, path in source.paths.items() if layer not in graph.paths]
    total = count_params(graph, graph.root)
    lines.append(f"Total parameters: {total:,} (source: {count_params(source, source.root):,})")
    if gone:
        lines.append(f"Removed: {visible(', '.join(gone))}")
    return "\n".join(lines)
