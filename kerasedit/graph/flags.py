"""The `trainable` flags of a graph, set on the live layers of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _keras
from .model_graph import LayerId, ModelGraph


def set_flag(graph: ModelGraph, layers: Mapping[LayerId, Any], layer_id: LayerId) -> None:
    """Gives a live layer the flag that it has in a graph.

    The layers of a model have flags of their own; what else is in it has the model's.
    """
    layer, flag = layers[layer_id], graph.flags.get(layer_id, True)
    net = graph.layers[layer_id].net
    if net is None:
        _keras.set_layer_flag(layer, flag)
    else:
        _keras.set_own_flag(layer, flag, {id(layers[inner]) for inner in net.calls_of})


def settle_flags(graph: ModelGraph, layers: Mapping[LayerId, Any]) -> None:
    """Gives what layers share the flag that the graph has for it: each of them set its own."""
    for layer_id, layer in layers.items():
        shared = () in graph.layers[layer_id].ties
        if shared and layer.trainable != graph.flags.get(layer_id, True):
            set_flag(graph, layers, layer_id)
    for token, ((layer_id, index), *_) in graph.owners.items():
        to_train = (graph.layers[layer_id].variables or ())[index].trainable
        layers[layer_id].variables[index].trainable = to_train and graph.lets_train(token)


def changed_flags(before: ModelGraph, after: ModelGraph) -> dict[str, bool]:
    """The layers that train in one of two graphs of one structure only, and whether in the latter."""
    old, new = before.effective_flags, after.effective_flags
    return {
        entry.path: new[entry.layer]
        for entry in after.entries
        if after.layers[entry.layer].kind == "layer" and new[entry.layer] != old.get(entry.layer)
    }
