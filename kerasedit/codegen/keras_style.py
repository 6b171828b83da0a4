"""The edited model in plain Keras, with the weights of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..edits.sparsity import is_kept, let_go
from ..graph.model_graph import Call, ModelGraph, Network, fresh_id
from .flags import write_flags
from .layout import told
from .networks import Networks, made_by_class
from .script import Function, Script
from .weights import from_source

if TYPE_CHECKING:
    from ..editor import Editor


def write(editor: Editor, script: Script, weights: bool) -> list[str]:
    """Writes the function `build`; returns the paragraphs of the script's docstring.

    Args:
        editor: has the model.
        script: what is written into.
        weights: whether values come along that the source does not have.

    Raises:
        StructureError: something of the model cannot be written as code.
    """
    graph = editor.graph
    root = graph.layers[graph.root]
    net = root.net
    assert net is not None
    if made_by_class(root):
        net = Network((Call(fresh_id(), root.id),), [], [])
    kept = [spec for spec in graph.layers.values() if is_kept(spec)]
    # What holds zeros is not Keras's.
    networks = Networks(script, {**graph.layers, **{s.id: let_go(s) for s in kept}}, net)
    about = f"The edited model {told(root.name)}, with the weights of the source."
    build = Function("build", ["source"], about)
    code, settings = networks.model(build, root)
    build.add(f"model = {code}")
    for setting in settings:
        build.add(f"model.{setting}")
    build.body[:0] = networks.prelude()
    from_source(build, script, editor, weights)
    write_flags(build, graph, editor.source_layer)
    build.add("return model")
    script.add(build)
    return [
        f"The edited model {told(root.name)} in plain Keras.",
        "`build(source)` makes it and gives it the weights of the model that was edited. It is not "
        "compiled.",
        *(["Zeros of its weights are not held when it is trained."] if kept else []),
        *_of_shared(graph, networks),
    ]


_MOST = 10  # lines of variables in a docstring


def _of_shared(graph: ModelGraph, networks: Networks) -> list[str]:
    """What plain Keras cannot build: variables that layers share which are not inside of each other."""
    names: list[str] = []
    for owners in graph.owners.values():
        layers = {layer for layer, _ in owners}
        apart = [
            told(f"{graph.paths[layer]}/{(graph.layers[layer].variables or ())[index].name}")
            for layer, index in owners
            if layers.isdisjoint(networks.holds.get(layer, ()))
        ]
        names += ["    " + ", ".join(apart)] if len(apart) > 1 else []
    if not names:
        return []
    what = (
        "Variables that are one in the source have equal values here, but each is its own, so that "
        "training changes them apart:\n"
    )
    more = f"\n    and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return [what + "\n".join(names[:_MOST]) + more]
