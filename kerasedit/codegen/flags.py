"""The lines that set the flags of a model, as plain Keras sets them: of a model with all inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from .. import _keras
from ..graph.model_graph import LayerId, ModelGraph
from .layout import text
from .networks import made_by_class
from .script import Function
from .weights import found


def write_flags(
    function: Function, graph: ModelGraph, source_layer: Callable[[LayerId], Any]
) -> None:
    """Writes what makes the flags of a new model those of a graph.

    Args:
        function: what it is written into, which has the model as `model`.
        graph: has the flags.
        source_layer: the live layer of an identity, which may hold single variables back.
    """
    lines = list(_flags(graph))
    for flag, some in groupby(lines, lambda line: line[1]):
        paths = [path for path, _ in some]
        if len(paths) == 1:
            function.add(f"{found('model', paths[0])}.trainable = {flag}")
        else:
            function.add(f"for path in [{', '.join(map(text, paths))}]:")
            function.add(f"find(model, path).trainable = {flag}", 1)
    for layer, path in graph.paths.items():
        live = source_layer(layer)
        if graph.layers[layer].kind != "layer" or live is None or not graph.flags.get(layer, True):
            continue
        pinned = {id(variable) for variable in _keras.pinned_variables(live)}
        for index, variable in enumerate(live.variables):
            if id(variable) in pinned:
                function.add(f"{found('model', path)}.variables[{index}].trainable = False")


def _flags(graph: ModelGraph) -> Iterator[tuple[str, bool]]:
    """The flags to set, by path, each model before what is inside it."""
    now: dict[LayerId, bool | None] = {}
    for layer in _models_first(graph):
        spec = graph.layers[layer]
        wanted = graph.flags.get(layer, True)
        if now.get(layer, True) is not wanted:
            yield graph.paths.get(layer, ""), wanted
            now.update(dict.fromkeys(_inside(graph, layer), wanted))
        elif made_by_class(spec) and not _all_train(spec.prototype):
            # Its class may freeze what it makes, and did not have to.
            now.update(dict.fromkeys(_inside(graph, layer), None))


def _all_train(model: Any) -> bool:
    return all(layer.trainable for layer in _keras.all_layers(model))


def _children(graph: ModelGraph, layer: LayerId) -> list[LayerId]:
    net = graph.layers[layer].net
    inner = net.calls_of if net is not None else ()
    return [i for i in inner if graph.layers[i].kind in ("layer", "model")]


def _inside(graph: ModelGraph, layer: LayerId) -> Iterator[LayerId]:
    for child in _children(graph, layer):
        yield child
        yield from _inside(graph, child)


def _models_first(graph: ModelGraph) -> list[LayerId]:
    """All layers, each after every model that it is in."""
    ordered: list[LayerId] = []
    seen: set[LayerId] = set()

    def visit(layer: LayerId) -> None:
        if layer not in seen:
            seen.add(layer)
            for child in reversed(_children(graph, layer)):
                visit(child)
            ordered.append(layer)

    visit(graph.root)
    return ordered[::-1]
