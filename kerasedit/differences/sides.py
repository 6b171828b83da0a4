"""The two things that are compared, seen alike: a graph, and the values of its layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from .. import _keras
from ..editor import Editor
from ..errors import EditError
from ..files import load_model
from ..graph.build import LayerState, capture
from ..graph.model_graph import LayerId, ModelGraph, VariableSpec
from ..graph.read import read_model, variable_specs


@dataclass(frozen=True)
class Side:
    """A model that is compared.

    Attributes:
        title: what to call it.
        graph: its picture.
        state: gives the latest values of a layer; None for one that starts fresh.
    """

    title: str
    graph: ModelGraph
    state: Callable[[LayerId], LayerState | None]

    def weights(self, layer: LayerId) -> Iterator[tuple[int, VariableSpec]]:
        """The weights of a layer, with their positions among its variables.

        Of a subclassed model, those that belong to none of its layers. The weights of another model
        are its layers'.
        """
        spec = self.graph.layers[layer]
        if spec.net is None:
            yield from ((i, v) for i, v in enumerate(spec.variables or ()) if v.weight)
        elif spec.net.opaque and spec.prototype is not None:
            model = spec.prototype
            inside = {id(v) for part in model.layers for v in part.variables}
            live = _keras.named_variables(model)
            for index, found in enumerate(variable_specs(model)):
                if found.weight and id(live[index][1]) not in inside:
                    yield index, found


def side_of(
    thing: Any, *, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Side:
    """An editor as it is now, a built model, or the model of a file.

    Raises:
        EditError: it is none of these.
        ModelFileError: the file cannot be read.
        StructureError: the model is not built.
    """
    if isinstance(thing, Editor):
        return Side(f"{thing.source.name} (edited)", thing.graph, thing.layer_state)
    if isinstance(thing, keras.Model):
        return _of_model(thing, thing.name)
    if isinstance(thing, (str, os.PathLike)):
        # What is compiled is not compared, and needs losses and metrics that may not be at hand.
        model = load_model(thing, custom_objects=custom_objects, safe_mode=safe_mode, compile=False)
        return _of_model(model, os.fspath(thing))
    raise EditError(
        f"An editor, a Keras model or the path of one can be compared, not {type(thing).__name__}."
    )


def source_side(editor: Editor) -> Side:
    """The model that an editor was opened on."""

    def state(layer: LayerId) -> LayerState | None:
        live = editor.source_layer(layer)
        return None if live is None else capture(live)

    return Side(editor.source.name, editor.source_graph, state)


def _of_model(model: keras.Model, title: str) -> Side:
    graph, objects = read_model(model, copied=False)
    return Side(title, graph, lambda layer: capture(objects[layer]))
