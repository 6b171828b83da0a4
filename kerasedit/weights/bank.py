"""Who owns which weights now.

Values live in the latest model. The bank keeps only those of layers that the latest model does not
have and that undo or redo can bring back, and the optimizer's slots of variables that do not train at
present. On TensorFlow a kept value shares its memory with the variable until either changes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import keras

from .. import _keras
from ..graph.build import (
    Built,
    LayerState,
    Overlap,
    capture,
    is_model,
    some_of,
    twin_state,
)
from ..graph.model_graph import LayerId, ModelGraph, Origin

SlotKey = tuple[LayerId, int]
"""A variable by its layer's identity and its position in `layer.variables`."""


class Bank:
    """The values of every layer that the editor knows, keyed by identities that survive edits."""

    def __init__(self, source: Mapping[LayerId, Any], graph: ModelGraph) -> None:
        self._source = source
        self._live: Mapping[LayerId, Any] = _with_values(source)
        self._kept: dict[LayerId, LayerState] = {}
        self._put: dict[SlotKey, Any] = {}  # values that the latest model does not have yet
        self.slots: dict[SlotKey, Mapping[str, Any]] = {}
        # What several layers share is known by its token: it has one value, wherever it was last.
        self._tokens: dict[SlotKey, int] = {}
        self._shared: dict[int, Any] = {}
        self._live_shared: Mapping[int, Any] = {}
        self.learn(graph)
        self._live_shared = _shared_variables(source, graph)

    def learn(self, graph: ModelGraph) -> None:
        """Takes in which variables the layers of a graph share."""
        for token, owners in graph.owners.items():
            self._tokens.update(dict.fromkeys(owners, token))

    def key(self, layer_id: LayerId, index: int) -> SlotKey:
        """What a variable is known by: the same in all layers that share it."""
        token = self._tokens.get((layer_id, index))
        return (layer_id, index) if token is None else (token, 0)

    def deposit(self, states: Mapping[LayerId, LayerState]) -> None:
        """Keeps the values of layers that an edit brought in."""
        self._kept.update(states)

    def live(self, layer_id: LayerId) -> Any | None:
        """The layer of the latest model, or of the source before there is one."""
        return self._live.get(layer_id)

    def put(self, layer_id: LayerId, index: int, value: Any) -> None:
        """Keeps a value for a variable, which it gets by `settle` or in the next model."""
        self._put[self.key(layer_id, index)] = value

    def settle(self) -> None:
        """Gives the variables of the latest model the values that were kept for them."""
        for key in list(self._put):
            if key[0] in self._live_shared:
                self._live_shared[key[0]].assign(self._put.pop(key))
            elif key[0] in self._live:
                _, variable, _ = _keras.named_variables(self._live[key[0]])[key[1]]
                variable.assign(self._put.pop(key))

    def has_heirs(self, graph: ModelGraph, keys: Container[SlotKey]) -> bool:
        """Whether a layer that has no values yet is to start with those of some variables."""
        return any(
            self.key(origin.layer, origin.index) in keys
            for layer_id, spec in graph.layers.items()
            if self._owner(layer_id) is None and layer_id not in self._kept
            for first in (
                *spec.origins.values(),
                *(Origin(spec.twin, i) for i, _ in enumerate(spec.variables or ()) if spec.twin),
            )
            for origin in first.sources
        )

    def value(self, layer_id: LayerId, index: int) -> Any | None:
        """The latest value of a variable; None where there is none yet."""
        key = self.key(layer_id, index)
        if key in self._put:
            return self._put[key]
        layer = self._owner(layer_id)
        if layer is not None:
            return _keras.snapshot(_keras.named_variables(layer)[index][1])
        known = self._known(layer_id)
        return None if known is None else known.values[index]

    def state(self, graph: ModelGraph, layer_id: LayerId) -> LayerState | None:
        """The latest values of a layer; None where it starts fresh."""
        known = self._known(layer_id)
        if known is not None:
            return known
        spec = graph.layers[layer_id]
        if spec.twin is not None:
            state = self.state(graph, spec.twin) if spec.twin in graph.layers else None
            return None if state is None else twin_state(state, spec)
        if not spec.origins:
            return None
        values = tuple(
            self._inherited(graph, spec.origins[i]) if i in spec.origins else None
            for i in range(len(spec.variables or ()))
        )
        return LayerState(values)

    def _owner(self, layer_id: LayerId) -> Any | None:
        """The live layer that has the latest values of an identity, if any has."""
        layer = self._live.get(layer_id)
        if layer is None and layer_id not in self._kept:
            layer = self._source.get(layer_id)
        return layer

    def _known(self, layer_id: LayerId) -> LayerState | None:
        layer = self._owner(layer_id)
        state = capture(layer) if layer is not None else self._kept.get(layer_id)
        if state is None:
            return None
        values = list(state.values)
        for index in range(len(values)):
            key = self.key(layer_id, index)
            if layer is None and key[0] in self._live_shared:
                values[index] = _keras.snapshot(self._live_shared[key[0]])
            elif layer is None and key[0] in self._shared:
                values[index] = self._shared[key[0]]
            values[index] = self._put.get(key, values[index])
        return replace(state, values=tuple(values))

    def _inherited(self, graph: ModelGraph, origin: Origin) -> Any | None:
        """The value that a variable starts with; None where it is not known yet."""
        if origin.make is None:
            return self._taken(graph, origin)
        found = [self._taken(graph, each) for each in origin.sources]
        if any(value is None or isinstance(value, Overlap) for value in found):
            return None
        arrays = map(keras.ops.convert_to_numpy, found)
        return keras.ops.convert_to_tensor(origin.make(*arrays))

    def _taken(self, graph: ModelGraph, origin: Origin) -> Any | None:
        known = self._known(origin.layer)
        spec = graph.layers[origin.layer]
        variable = (spec.variables or ())[origin.index]
        limit = variable.shape
        if known is not None:
            value = known.values[origin.index]
        elif spec.twin is not None and variable.weight:
            value = self._inherited(graph, Origin(spec.twin, origin.index))
        elif origin.index in spec.origins:
            value = self._inherited(graph, spec.origins[origin.index])
        else:
            value = None
        if value is None:
            return None
        if isinstance(value, Overlap):
            value = Overlap(value.value, tuple(map(min, limit, value.limit)))
        elif origin.overlap:
            value = Overlap(value, limit)
        return value if origin.kept is None else some_of(value, origin.kept)

    def variable_keys(self, layers: Mapping[LayerId, Any], graph: ModelGraph) -> dict[int, SlotKey]:
        """The key of every variable of a model's layers, by `id(variable)`.

        In a model of a class of its own, a variable is that of the layer inside, where it is in one.
        """
        keys: dict[int, SlotKey] = {}
        for layer_id, layer in sorted(_with_values(layers).items(), key=lambda i: is_model(i[1])):
            if layer_id not in graph.layers:
                continue
            for index, (_, variable, _) in enumerate(_keras.named_variables(layer)):
                keys.setdefault(id(variable), self.key(layer_id, index))
        return keys

    def slots_for(self, graph: ModelGraph, key: SlotKey) -> Mapping[str, Any] | None:
        """The slots of a variable, or of the one whose value it inherited, or some of it."""
        found = self.slots.get(key)
        if found is not None:
            return found
        spec = graph.layers.get(key[0])
        origin = spec.origins.get(key[1]) if spec is not None else None
        if origin is None or origin.overlap or origin.also:
            return None
        found = self.slots_for(graph, self.key(origin.layer, origin.index))
        if found is None or origin.kept is None:
            return found
        shape = (graph.layers[origin.layer].variables or ())[origin.index].shape
        return {
            name: some_of(slot, origin.kept)
            for name, slot in found.items()
            if tuple(slot.shape) == shape
        }

    def adopt(self, built: Built, graph: ModelGraph, reachable: Iterable[LayerId]) -> None:
        """The layers of a new model own their values now; what history can bring back is kept."""
        wanted = set(reachable)
        live = _with_values(built.layers)
        for layer_id, layer in self._live.items():
            gone = layer_id not in live and layer_id in wanted
            if gone:
                self._kept[layer_id] = capture(layer)
        self._shared.update({t: _keras.snapshot(v) for t, v in self._live_shared.items()})
        self._live = live
        self._live_shared = _shared_variables(built.layers, graph)
        here = {*built.layers, *self._live_shared}
        self._put = {
            key: value
            for key, value in self._put.items()
            if key[0] not in here and key[0] in wanted
        }
        self.forget(wanted)

    def forget(self, reachable: Iterable[LayerId]) -> None:
        """Lets go of what the latest model owns and of what no step of the history needs."""
        wanted = set(reachable)
        self._kept = {
            i: state for i, state in self._kept.items() if i in wanted and i not in self._live
        }
        self._shared = {
            t: value
            for t, value in self._shared.items()
            if t in wanted and t not in self._live_shared
        }
        self.slots = {key: value for key, value in self.slots.items() if key[0] in wanted}


def _with_values(layers: Mapping[LayerId, Any]) -> dict[LayerId, Any]:
    """The layers, without plain models: one of a class of its own, with values, can become such."""
    return {
        i: layer
        for i, layer in layers.items()
        if isinstance(layer, keras.Layer) and type(layer) not in _keras.PLAIN_MODELS
    }


def _shared_variables(layers: Mapping[LayerId, Any], graph: ModelGraph) -> dict[int, Any]:
    """The live variables that layers share, by their tokens."""
    return {
        token: layers[layer_id].variables[index]
        for token, ((layer_id, index), *_) in graph.owners.items()
        if layer_id in layers
    }
