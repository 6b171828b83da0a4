"""From a Keras model to its graph. The model is only looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

import keras

from .. import _keras, garbage
from ..errors import StructureError, reason
from .model_graph import (
    Call,
    LayerId,
    LayerSpec,
    ModelGraph,
    Network,
    Ref,
    TensorSpec,
    VariableSpec,
    fresh_id,
    map_leaves,
)
from .rewrite import needed_calls
from .ties import find_ties


class Reader:
    """Reads one model; `objects` remembers which live layer each identity was read from.

    With `copied`, every layer will have to be made again, but for what is inside a model of a class
    of its own: that class makes it. What cannot tell its configuration is an error at once then.
    """

    def __init__(self, copied: bool = True) -> None:
        self._copied = copied
        self.specs: dict[LayerId, LayerSpec] = {}
        self.flags: dict[LayerId, bool] = {}
        self.objects: dict[LayerId, Any] = {}
        self._ids: dict[int, LayerId] = {}

    def read(self, model: keras.Model) -> ModelGraph:
        root = self.layer(model)
        self.tie()
        return ModelGraph(root, self.specs, self.flags)

    def tie(self) -> None:
        """Notes what the layers share, when all are read."""
        specs, flags = find_ties(self.specs, self.objects)
        self.specs.update(specs)
        self.flags.update(flags)

    def layer(self, operation: Any) -> LayerId:
        """The identity of a layer or op, read on its first use (layers may be shared)."""
        known = self._ids.get(id(operation))
        if known is not None:
            return known
        layer_id = self._ids[id(operation)] = fresh_id()
        self.objects[layer_id] = operation
        self.specs[layer_id] = self._spec(layer_id, operation)
        if isinstance(operation, keras.Layer):
            self.flags[layer_id] = bool(operation.trainable)
        return layer_id

    def _spec(self, layer_id: LayerId, operation: Any) -> LayerSpec:
        cls, name = type(operation), operation.name
        if not isinstance(operation, keras.Layer):
            return LayerSpec(layer_id, "op", name, cls, variables=(), prototype=operation)
        if isinstance(operation, keras.Model):
            return self._model(layer_id, operation)
        kind = "input" if isinstance(operation, keras.layers.InputLayer) else "layer"
        config, problem = None, ""
        try:
            config = layer_config(operation)
        except StructureError as found:
            if self._copied:
                raise
            problem = str(found)
        return LayerSpec(
            layer_id,
            kind,
            name,
            cls,
            config=config,
            variables=variable_specs(operation) if operation.built else None,
            prototype=prototype_of(operation),
            functions=live_functions(operation, config or {}),
            problem=problem,
        )

    def _model(self, layer_id: LayerId, model: keras.Model) -> LayerSpec:
        functional = _keras.functional_of(model)
        plain = type(model) in _keras.PLAIN_MODELS
        outside, self._copied = self._copied, self._copied and plain
        if functional is not None:
            net = self._network(model, functional)
        elif isinstance(model, keras.Sequential):
            raise StructureError(
                f"The Sequential model '{model.name}' is not built, so its shapes are not known. "
                "Add a keras.Input as its first layer, call model.build(input_shape), or call it "
                "on data once."
            )
        else:
            net = self._opaque(model)
        self._copied = outside
        return LayerSpec(
            layer_id,
            "model",
            model.name,
            type(model),
            config={"dtype": model.dtype_policy},
            variables=None if plain else self._beside_layers(model, net),
            net=net,
            prototype=None if plain else model,
        )

    def _beside_layers(self, model: keras.Model, net: Network) -> tuple[VariableSpec, ...]:
        """The variables of a model of a class of its own; its weights are those of none of its layers."""
        inside = {
            id(v)
            for layer in map(self.objects.__getitem__, net.calls_of)
            if isinstance(layer, keras.Layer)
            for v in layer.variables
        }
        live = _keras.named_variables(model)
        return tuple(
            replace(spec, weight=spec.weight and id(variable) not in inside)
            for spec, (_, variable, _) in zip(variable_specs(model), live, strict=True)
        )

    def _network(self, model: keras.Model, functional: Any) -> Network:
        nodes = _keras.nodes_in_data_order(functional)
        refs: dict[int, Ref] = {}  # id of a KerasTensor -> where it comes from
        numbers = {id(node): fresh_id() for node in nodes}
        for node in nodes:
            for index, tensor in enumerate(node.outputs):
                refs[id(tensor)] = Ref(numbers[id(node)], index)

        def to_ref(leaf: Any) -> Any:
            return refs[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        calls: list[Call] = []
        for node in nodes:
            kwargs = {
                name: value
                for name, value in node.arguments.kwargs.items()
                if not self._is_implied_mask(name, value, node.arguments)
            }
            calls.append(
                Call(
                    numbers[id(node)],
                    self.layer(node.operation),
                    map_leaves(to_ref, node.arguments.args),
                    map_leaves(to_ref, kwargs),
                    tuple(tensor_spec(tensor) for tensor in node.outputs),
                )
            )
        inputs = map_leaves(to_ref, _keras.input_structure(functional))
        outputs = map_leaves(to_ref, _keras.output_structure(functional))
        # Implied masks leave ops behind that nothing needs.
        needed = needed_calls(calls, (inputs, outputs))
        names = tuple(getattr(functional, "output_names", ()))
        return Network(
            tuple(call for call in calls if call.id in needed),
            inputs,
            outputs,
            chain=isinstance(model, keras.Sequential),
            output_names=names,
            output_ids=tuple(fresh_id() for _ in names),
        )

    @staticmethod
    def _is_implied_mask(name: str, value: Any, arguments: Any) -> bool:
        """Masks that Keras filled in are left out: a rebuild fills in those of the edited graph."""
        if not (name == "mask" or name.endswith("_mask")) or value is None:
            return False
        if not isinstance(value, keras.KerasTensor):
            return False
        implied = _keras.implied_mask(arguments)
        return implied is not None and _keras.same_computation(value, implied)

    def _opaque(self, model: keras.Model) -> Network:
        # Keras builds the layers of a loaded subclassed model and leaves its own `built` False.
        if not model.built and not (model.layers and all(la.built for la in model.layers)):
            raise StructureError(
                f"The model '{model.name}' is not built, so its layers and shapes are not known. "
                "Call it on data once, or call model.build(input_shape)."
            )
        calls = [Call(fresh_id(), self.layer(layer), outputs=()) for layer in model.layers]
        return Network(tuple(calls), [], [], opaque=True)


@garbage.put_off()
def read_model(model: keras.Model, copied: bool = True) -> tuple[ModelGraph, dict[LayerId, Any]]:
    """The graph of a built model, and the live layer behind each identity.

    Args:
        model: what is read.
        copied: whether its layers will have to be made again.

    Raises:
        StructureError: the model is not built, or one of its layers cannot tell its configuration.
    """
    reader = Reader(copied)
    return reader.read(model), reader.objects


def tensor_spec(tensor: Any) -> TensorSpec:
    return TensorSpec(
        tuple(tensor.shape),
        keras.backend.standardize_dtype(tensor.dtype),
        bool(getattr(tensor, "sparse", False)),
        bool(getattr(tensor, "ragged", False)),
    )


def variable_specs(layer: Any) -> tuple[VariableSpec, ...]:
    """What the variables of a built layer are, in the order of `layer.variables`."""
    weights = {id(v) for v in layer.weights}
    pinned = {id(v) for v in _keras.pinned_variables(layer)}
    return tuple(
        VariableSpec(
            name,
            tuple(variable.shape),
            keras.backend.standardize_dtype(variable.dtype),
            id(variable) in weights,
            made_to_train and id(variable) not in pinned,
        )
        for name, variable, made_to_train in _keras.named_variables(layer)
    )


def prototype_of(layer: Any) -> Any:
    """The live object where a config would not tell the whole."""
    return layer if isinstance(layer, keras.layers.Lambda) else None


def live_functions(layer: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The functions that a layer of Keras was given, such as a custom activation, by argument.

    Its config only names them, and Keras finds no function that was not registered.
    """
    if not type(layer).__module__.startswith("keras."):
        return {}
    given = {name: getattr(layer, name, None) for name, value in config.items() if value}
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, FunctionType) and not value.__module__.startswith("keras.")
    }


def layer_config(layer: Any) -> dict[str, Any]:
    """`layer.get_config()`, or an error that says what to add."""
    try:
        return layer.get_config()
    except Exception as problem:
        cls = type(layer).__name__
        raise StructureError(
            f"The layer '{layer.name}' of class {cls} cannot tell its configuration, so no copy of "
            f"it can be made. Add a get_config() to {cls} that returns its constructor's arguments "
            "(start from super().get_config()), or work on the model itself with in_place=True. "
            f"Keras said: {reason(problem)}"
        ) from problem
