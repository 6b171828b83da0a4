"""From a graph to a Keras model of its own, with fresh layers and no initializer run in vain."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from .. import _keras, garbage
from ..errors import EditError, StructureError, reason
from .flags import set_flag
from .model_graph import (
    Call,
    Kept,
    LayerId,
    LayerSpec,
    ModelGraph,
    Network,
    Ref,
    VariableRef,
    map_leaves,
)
from .read import read_model
from .ties import put_in_order, tie


@dataclass(frozen=True)
class Overlap:
    """A value of which only the leading part within `limit` is meant."""

    value: Any
    limit: tuple[int, ...]


@dataclass(frozen=True)
class LayerState:
    """The values of a layer: one per variable (None: start fresh), and its files (vocabularies)."""

    values: tuple[Any, ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether all values are there, none to be drawn yet."""
        return not any(value is None or isinstance(value, Overlap) for value in self.values)


Supply = Callable[[LayerId], LayerState | None]


@dataclass(frozen=True)
class Built:
    """A model and the live layer behind each identity of its graph."""

    model: keras.Model
    layers: Mapping[LayerId, Any]


def make_layer(spec: LayerSpec, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A fresh layer or op with the spec's name and configuration, and no weights of the old one.

    Raises:
        StructureError: the class cannot be made from its own configuration.
    """
    if spec.problem:
        raise StructureError(spec.problem)
    if spec.kind == "op":
        return _keras.copy_op(spec.prototype, spec.name)
    if isinstance(spec.prototype, keras.layers.Lambda):
        return _keras.copy_lambda(spec.prototype, spec.name)
    assert spec.config is not None
    of_keras = spec.cls.__module__.startswith("keras.")
    whole = not of_keras and not issubclass(spec.cls, keras.layers.Wrapper)
    config = copy.deepcopy(spec.config) if whole else _to_be_built(spec.config)
    config = {**config, **spec.functions, "name": spec.name}
    try:
        with keras.saving.custom_object_scope(dict(custom_objects or {})):
            return _keras.with_values_if_needed(lambda: spec.cls.from_config(config))
    except Exception as problem:
        cls = spec.cls.__name__
        raise StructureError(
            f"The layer '{spec.name}' of class {cls} cannot be made again from its own "
            f"configuration. {cls}.from_config(layer.get_config()) has to work: check that "
            "get_config() returns every argument of the constructor, and give functions and classes "
            f"that Keras cannot find in custom_objects=. Keras said: {reason(problem)}"
        ) from problem


def _to_be_built(config: Any) -> Any:
    """A copy of a configuration, without the shapes that layers inside were built for.

    A wrapper builds what it holds for what it takes itself, which an edit may have changed.
    """
    if isinstance(config, Mapping):
        built = "class_name" in config and "config" in config
        return {
            key: _to_be_built(value)
            for key, value in config.items()
            if not (built and key == "build_config")
        }
    return [_to_be_built(item) for item in config] if type(config) is list else config


class Builder:
    """Builds one graph. Layers are made once per identity, so shared layers stay shared."""

    def __init__(self, graph: ModelGraph, custom_objects: Mapping[str, Any] | None = None) -> None:
        self.graph = graph
        self.custom_objects = custom_objects
        self.layers: dict[LayerId, Any] = {}
        self.dropped: set[int] = set()  # variables that gave way to shared ones, by `id`
        self._given: list[Any] = []  # variables in the arguments of calls

    def build(self) -> keras.Model:
        model = self._layer(self.graph.root)
        self._set_flags()
        for layer_id, layer in self.layers.items():
            if self.graph.layers[layer_id].kind == "layer":
                put_in_order(self.graph.layers[layer_id], layer)
        self.dropped = tie(self.graph, self.layers)
        for variable in self._given:
            if id(variable) in self.dropped:
                raise StructureError(
                    f"A call takes the variable '{variable.path}', which several layers share. Such "
                    "a model cannot be copied. Work on the model itself with in_place=True."
                )
        return model

    def _layer(self, layer_id: LayerId) -> Any:
        made = self.layers.get(layer_id)
        if made is None:
            spec = self.graph.layers[layer_id]
            made = self._model(spec) if spec.net is not None else self._plain(spec)
            self.layers[layer_id] = made
        return made

    def _plain(self, spec: LayerSpec) -> Any:
        return make_layer(spec, self.custom_objects)

    def _model(self, spec: LayerSpec) -> keras.Model:
        net = spec.net
        assert net is not None
        if spec.prototype is not None:
            model = self._subclass(spec)
        elif net.chain:
            model = keras.Sequential(
                [self._layer(call.layer) for call in net.calls], name=spec.name
            )
        else:
            tensors = self._call_all(net)
            model = keras.Model(
                map_leaves(tensors.__getitem__, net.inputs),
                map_leaves(tensors.__getitem__, net.outputs),
                name=spec.name,
            )
            if net.output_names and list(net.output_names) != list(model.output_names):
                model.output_names = list(net.output_names)
        policy = (spec.config or {}).get("dtype")
        if policy is not None and policy != model.dtype_policy:
            model.dtype_policy = policy
        return model

    def _call_all(self, net: Network) -> dict[Ref, Any]:
        tensors: dict[Ref, Any] = {}

        def find(leaf: Ref | VariableRef) -> Any:
            return tensors[leaf] if isinstance(leaf, Ref) else self._variable(leaf)

        for call in net.calls:
            layer = self._layer(call.layer)
            if isinstance(layer, keras.layers.InputLayer):
                output = layer.output
            else:
                output = self._call(layer, call, find)
            for index, tensor in enumerate(keras.tree.flatten(output)):
                tensors[Ref(call.id, index)] = tensor
        return tensors

    def _call(self, layer: Any, call: Call, find: Callable[[Ref | VariableRef], Any]) -> Any:
        try:
            return _keras.with_values_if_needed(partial(call_on, layer, call, find))
        except EditError:
            raise
        except Exception as problem:
            cls = type(layer).__name__
            raise StructureError(
                f"The layer '{layer.name}' of class {cls}, made again from its own configuration, "
                f"cannot be called as in the source. {cls}.get_config() has to tell every argument "
                f"of the constructor. Keras said: {reason(problem)}"
            ) from problem

    def _variable(self, ref: VariableRef) -> Any:
        layer = self.layers.get(ref.layer)
        if layer is None or not layer.built:
            raise StructureError(
                f"A call takes a variable of '{self.graph.layers[ref.layer].name}' before that layer "
                "is called. Call the layer first."
            )
        variable = layer.variables[ref.index]
        self._given.append(variable)
        return variable

    def _subclass(self, spec: LayerSpec) -> keras.Model:
        """A model of a class of its own whose structure was not edited, made by its own class."""
        model = copy_subclass(spec.prototype, self.custom_objects)
        graph, objects = read_model(model)
        old_net, new_net = spec.net, graph.net
        assert old_net is not None
        self._match(self.graph, old_net, graph, new_net, objects, spec.name)
        return model

    def _match(
        self,
        old_graph: ModelGraph,
        old: Network,
        new_graph: ModelGraph,
        new: Network,
        objects: Mapping[LayerId, Any],
        name: str,
    ) -> None:
        """Ties the layers of a model that its class made to the identities of the graph."""
        if len(old.calls) != len(new.calls):
            raise _unfaithful(name)
        for a, b in zip(old.calls, new.calls, strict=True):
            left, right = old_graph.layers[a.layer], new_graph.layers[b.layer]
            if left.cls is not right.cls:
                raise _unfaithful(name)
            self.layers[a.layer] = objects[b.layer]
            if left.net is not None and right.net is not None:
                self._match(old_graph, left.net, new_graph, right.net, objects, name)

    def _set_flags(self) -> None:
        for layer_id, layer in self.layers.items():
            flag = self.graph.flags.get(layer_id)
            # A frozen layer made from its configuration is not frozen inside, as the source's is.
            if flag is not None and not (flag and layer.trainable):
                set_flag(self.graph, self.layers, layer_id)


def _unfaithful(name: str) -> StructureError:
    return StructureError(
        f"The model '{name}' made from its own configuration has another structure than the one "
        "given, so it cannot be copied. Give its class a get_config() that tells the whole, or work "
        "on the model itself with in_place=True."
    )


def copy_subclass(model: keras.Model, custom_objects: Mapping[str, Any] | None) -> keras.Model:
    """A model of the same class, built, weights fresh.

    Raises:
        StructureError: the class cannot be made from its own configuration.
    """
    objects = {type(model).__name__: type(model), **(custom_objects or {})}

    def make() -> keras.Model:
        made = type(model).from_config(model.get_config())
        if not made.built:
            made.build_from_config(model.get_build_config())
            made.built = True
        return made

    try:
        with keras.saving.custom_object_scope(objects):
            # A class may compile itself: the optimizer makes a variable of a number.
            fresh = _keras.with_values_if_needed(make)
    except Exception as problem:
        raise StructureError(
            f"The model '{model.name}' of class {type(model).__name__} cannot be copied: its class "
            "cannot be made from its own configuration. Add get_config() and from_config() to it, "
            f"or work on the model itself with in_place=True. Keras said: {reason(problem)}"
        ) from problem
    if fresh.name != model.name:
        fresh.name = model.name
    return fresh


def call_on(layer: Any, call: Call, find: Callable[[Ref | VariableRef], Any]) -> Any:
    """Calls a layer as the graph says; `find` gives the tensor or variable that is meant."""

    def fill(leaf: Any) -> Any:
        return find(leaf) if isinstance(leaf, (Ref, VariableRef)) else leaf

    args = map_leaves(fill, call.args)
    kwargs = {name: map_leaves(fill, value) for name, value in call.kwargs.items()}
    return layer(*args, **kwargs)


@garbage.put_off()
def build_model(
    graph: ModelGraph, supply: Supply, custom_objects: Mapping[str, Any] | None = None
) -> Built:
    """A Keras model of its own for a graph.

    Args:
        graph: what to build; every call inferred.
        supply: gives the state of a layer, None where it starts fresh.
        custom_objects: classes and functions that layers' configurations name.

    Raises:
        StructureError: a layer cannot be made again.
        EditError: a layer refuses to be called as the graph says, or its values.
    """
    builder = Builder(graph, custom_objects)
    try:
        with _keras.deferred() as pending, _keras.deep_enough(len(graph.layers)):
            model = builder.build()
        _fill(builder, pending, supply)
    except EditError:
        raise
    except Exception as problem:
        raise EditError(f"The edited model cannot be built. Keras said: {problem}") from problem
    return Built(model, builder.layers)


def _fill(builder: Builder, pending: list[Any], supply: Supply) -> None:
    """Gives the layers of a model that was built their first values."""
    graph = builder.graph
    with _keras.as_made(builder.layers.values()):
        twins: list[LayerId] = []
        done: set[int] = set()  # variables that have their values
        # Of a model's own variables, most are its layers'.
        for layer_id, layer in sorted(builder.layers.items(), key=lambda item: is_model(item[1])):
            spec = graph.layers[layer_id]
            if isinstance(layer, keras.Layer) and (spec.net is None or spec.variables):
                state = supply(layer_id)
                if state is not None:
                    restore(layer, state, spec, done)
                    done.update(id(variable) for variable in layer.variables)
                elif spec.twin in builder.layers:
                    twins.append(layer_id)
        for variable in pending:
            if id(variable) not in builder.dropped:
                _keras.initialize(variable)
        for layer_id in twins:  # of layers that got their first values just now
            twin = layer_id
            while (earlier := graph.layers[twin].twin) in builder.layers:
                twin = earlier
            spec = graph.layers[layer_id]
            restore(builder.layers[layer_id], twin_state(capture(builder.layers[twin]), spec), spec)


def capture(layer: Any) -> LayerState:
    """The present state of a layer."""
    if not isinstance(layer, keras.Layer):
        return LayerState()
    values = tuple(_keras.snapshot(v) for _, v, _ in _keras.named_variables(layer))
    return LayerState(values, _keras.read_assets(layer))


def twin_state(state: LayerState, spec: LayerSpec) -> LayerState:
    """What a layer starts with that starts equal to another one: all but the state of its seeds."""
    values = zip(state.values, spec.variables or (), strict=True)
    return replace(state, values=tuple(value if v.weight else None for value, v in values))


def is_model(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


def restore(
    layer: Any, state: LayerState, spec: LayerSpec, done: Collection[int] = frozenset()
) -> None:
    """Gives a fresh layer the values of a state; what the state leaves open is initialised.

    `done` are variables that another layer of theirs gave their values, by `id`.
    """
    variables = [v for _, v, _ in _keras.named_variables(layer)] if state.values else []
    if len(variables) != len(state.values):
        raise StructureError(
            f"The layer '{spec.name}' made from its own configuration has {len(variables)} "
            f"variables where the source has {len(state.values)}, so its weights cannot be kept."
        )
    for variable, value in zip(variables, state.values, strict=True):
        if id(variable) in done:
            continue
        if value is None:
            _keras.initialize(variable)
        elif isinstance(value, Overlap):
            _keras.initialize(variable)
            variable.assign(overlaid(variable, value))
        elif tuple(value.shape) != tuple(variable.shape):
            raise StructureError(
                f"The variable '{variable.name}' of layer '{spec.name}' has shape "
                f"{tuple(variable.shape)} in the copy and {tuple(value.shape)} in the source."
            )
        else:
            _keras.give_value(variable, value)
    _keras.write_assets(layer, state.assets)


def overlaid(value: Any, part: Overlap) -> np.ndarray:
    """A value with the leading part of another one in it."""
    whole = keras.ops.convert_to_numpy(value).copy()
    old = keras.ops.convert_to_numpy(part.value)
    region = tuple(
        slice(0, min(sizes)) for sizes in zip(whole.shape, old.shape, part.limit, strict=True)
    )
    whole[region] = old[region].astype(whole.dtype)
    return whole


def some_of(value: Any, kept: Kept) -> Any:
    """What is taken of a value; of one of which only a leading part is meant, of that part."""
    if isinstance(value, Overlap):
        known = tuple(map(min, value.limit, value.value.shape))
        part = tuple(
            own if own is None else tuple(i for i in own if i < n)
            for own, n in zip(kept, known, strict=True)
        )
        limit = tuple(
            n if own is None else sum(i < n for i in own)
            for own, n in zip(kept, value.limit, strict=True)
        )
        return Overlap(some_of(value.value, part), limit)
    array = keras.ops.convert_to_numpy(value)
    for axis, own in enumerate(kept):
        if own is not None:
            array = np.take(array, own, axis)
            array[(slice(None),) * axis + (np.asarray(own, int) < 0,)] = 0
    return keras.ops.convert_to_tensor(array)
