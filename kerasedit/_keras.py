"""The only module that touches what Keras keeps private, each use with its reason.

Checked on Keras 3.15.1 with TensorFlow 2.21. Where Keras has a public way, the rest of
kerasedit uses that.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import random
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import keras
import numpy as np
from keras.src.backend import AutocastScope
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional
from keras.src.ops.function import Function
from keras.src.saving import saving_lib
from keras.src.utils.tracking import DotNotTrackScope

from .errors import EditError
from .graph.model_graph import map_leaves
from .modelfiles.windows import Window

# What `keras.Model(inputs, outputs)` gives is of a class that is not exported.
PLAIN_MODELS = (keras.Sequential, Functional)

Made = TypeVar("Made")


# -- the graph of a model ------------------------------------------------------------------------


def functional_of(model: Any) -> Any | None:
    """The Functional that holds the graph of a model; None where there is none.

    A Sequential keeps its graph in `_functional`, made when it is built.
    """
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


def nodes_in_data_order(functional: Any) -> list[Any]:
    """The nodes (calls) of a graph as `model.layers` orders layers: by depth, then by traversal.

    `_nodes_by_depth` is private; `get_config()` would tell the same in serialized form only.
    """
    position = {id(op): i for i, op in enumerate(functional.operations)}
    ordered: list[Any] = []
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        nodes = functional._nodes_by_depth[depth]
        ordered.extend(sorted(nodes, key=lambda node: position[id(node.operation)]))
    return ordered


def input_structure(functional: Any) -> Any:
    """The nested structure of input tensors that the model was made with."""
    return functional._inputs_struct


def output_structure(functional: Any) -> Any:
    """The nested structure of output tensors that the model was made with."""
    return functional._outputs_struct


def producer(tensor: Any) -> str:
    """The name of the layer that a symbolic tensor comes from. Its own is often a number's."""
    return tensor._keras_history.operation.name


def implied_mask(arguments: Any) -> Any | None:
    """The mask that Keras itself would pass for the first tensor of a call.

    Keras writes the masks it fills in into the recorded arguments, where they cannot be told from
    those that a user passed; `_keras_mask` is where it takes them from.
    """
    for argument in keras.tree.flatten(arguments.args):
        if isinstance(argument, keras.KerasTensor):
            return getattr(argument, "_keras_mask", None)
    return None


def same_computation(a: Any, b: Any) -> bool:
    """Whether two symbolic tensors come from equal raw ops over the same tensors.

    After loading, an implied mask and the recorded one are two calls of the same computation.
    """
    if a is b:
        return True
    if not (isinstance(a, keras.KerasTensor) and isinstance(b, keras.KerasTensor)):
        return a == b if not isinstance(a, type(b)) or not hasattr(a, "__array__") else False
    op_a, node_a, index_a = a._keras_history
    op_b, node_b, index_b = b._keras_history
    if type(op_a) is not type(op_b) or index_a != index_b or isinstance(op_a, keras.Layer):
        return False
    left = keras.tree.flatten(_arguments(op_a, node_a))
    right = keras.tree.flatten(_arguments(op_b, node_b))
    return len(left) == len(right) and all(map(same_computation, left, right))


def _arguments(op: Any, node_index: int) -> Any:
    node = op._inbound_nodes[node_index]
    return (node.arguments.args, node.arguments.kwargs)


def copy_op(op: Any, name: str) -> Any:
    """A raw op of its own: all attributes of `op`, none of its calls.

    Ops are stateless but not all can be made from a config; the node lists tie them to a graph.
    """
    fresh = copy.copy(op)
    fresh._inbound_nodes = []
    fresh._outbound_nodes = []
    fresh.name = name
    return fresh


@functools.cache
def op_classes() -> dict[str, type]:
    """Keras's raw ops by the names that data has for them: `"numpy.Add"`, `"nn.Relu"`.

    `keras.ops` exports functions only; they make objects of these classes.
    """
    found: dict[str, type] = {}
    waiting: list[type] = [keras.Operation]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            package, _, module = cls.__module__.rpartition(".")
            if package.startswith("keras.src.") and not issubclass(cls, (keras.Layer, Function)):
                found[f"{module}.{cls.__name__}"] = cls
    return found


def same_op(a: Any, b: Any) -> bool:
    """Whether two raw ops compute the same: one class, and all attributes but names and calls."""
    books = ("name", "_inbound_nodes", "_outbound_nodes", "_auto_config", "_lock")
    left, right = ({k: v for k, v in vars(op).items() if k not in books} for op in (a, b))
    return type(a) is type(b) and left.keys() == right.keys() and _alike(left, right)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, keras.KerasTensor) or isinstance(b, keras.KerasTensor):
        return a is b
    if hasattr(a, "__array__") and hasattr(b, "__array__"):
        left, right = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        return left.dtype == right.dtype and np.array_equal(left, right)
    return type(a) is type(b) and (a is b or a == b)


def made_as(tensor: Any, op: Any, args: Any, kwargs: Any) -> bool:
    """Whether a symbolic tensor was made by an op like another, called with these arguments."""
    found, number, _ = tensor._keras_history
    made, given = _arguments(found, number)
    kept = {name: value for name, value in kwargs.items() if value is not None}
    there = {name: value for name, value in given.items() if value is not None}
    return same_op(found, op) and _alike(list(made), list(args)) and _alike(there, kept)


def lambda_arguments(layer: Any) -> dict[str, Any]:
    """What a Lambda was given: its config would hold marshalled bytecode.

    The output shape that was given to the constructor has no public accessor.
    """
    return {
        "function": layer.function,
        "output_shape": layer._output_shape,
        "mask": layer.mask,
        "arguments": layer.arguments,
    }


def copy_lambda(layer: Any, name: str) -> Any:
    """A Lambda with the very function of another."""
    fresh = keras.layers.Lambda(**lambda_arguments(layer), name=name, dtype=layer.dtype_policy)
    fresh.trainable = layer.trainable
    return fresh


def layers_inside(layer: Any) -> list[Any]:
    """The layers right inside a layer or model."""
    return list(layer._layers)


def own_weights(layer: Any) -> list[Any]:
    """The weights of a layer itself, without those of layers inside."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def all_layers(layer: Any) -> list[Any]:
    """A layer and all inside it. `model.layers` lists neither those of wrappers nor itself."""
    return layer._flatten_layers()


def entering(model: Any, given: Any) -> list[Any] | None:
    """The tensors that enter the graph of a model called with `given`, checked and made by Keras.

    None for a model that does not run a graph: of a class with a `call` of its own.
    """
    functional = functional_of(model)
    if functional is None or type(model).call not in (keras.Sequential.call, Functional.call):
        return None
    model._assert_input_compatibility(given)
    return functional._standardize_inputs(given)


@contextlib.contextmanager
def as_called(model: Any) -> Iterator[None]:
    """What holds for the raw ops of a model's graph while it is called: its mixed precision."""
    mixed = model.compute_dtype != model.variable_dtype
    with AutocastScope(model.compute_dtype) if mixed else contextlib.nullcontext():
        yield


# -- models as they are ---------------------------------------------------------------------------


def own_attributes(thing: Any) -> dict[str, Any]:
    """What an object holds itself; no property and no hook of its class is asked for it."""
    return object.__getattribute__(thing, "__dict__")


def sizes(model: Any) -> Iterator[tuple[int, str, bool]]:
    """Of each of `model.weights` how many values it has, its dtype, and whether it trains.

    In one walk and by no code of the model's class. What Keras has for it walks once for each
    question, and runs properties that a subclass may have of its own.
    """
    whole = own_attributes(model)["_trainable"]
    seen = {id(model)}
    waiting = [model]
    while waiting:
        held = own_attributes(waiting.pop())
        for weight in (*held["_trainable_variables"], *held["_non_trainable_variables"]):
            if id(weight) not in seen:
                seen.add(id(weight))
                own = own_attributes(weight)
                yield math.prod(own["_shape"]), own["_dtype"], whole and own["_trainable"]
        for layer in held["_layers"]:
            if id(layer) not in seen:
                seen.add(id(layer))
                waiting.append(layer)


def mark_copy(model: Any) -> None:
    """Notes on a model that an editor made it."""
    own_attributes(model)["_kerasedit_copy"] = True


def is_copy(model: Any) -> bool:
    """Whether an editor made a model."""
    return "_kerasedit_copy" in own_attributes(model)


# -- variables -----------------------------------------------------------------------------------


def named_variables(layer: Any) -> list[tuple[str, Any, bool]]:
    """`(name, variable, made to train)` for all variables, in the order of `layer.variables`.

    `variable.path` depends on how and where a layer was built, so the names are made by walking the
    tracked sublayers (`_layers`, `_seed_generators` and the stores of variables have no public
    accessor). The store of trainable variables is what a layer made to train, whatever its flag.
    """
    names: dict[int, str] = {}
    made_to_train: set[int] = set()
    taken: set[str] = set()

    def visit(node: Any, prefix: str) -> None:
        made_to_train.update(id(v) for v in node._trainable_variables)
        own = [*node._trainable_variables, *node._non_trainable_variables]
        own += [generator.state for generator in node._seed_generators]
        for variable in own:
            if id(variable) not in names:
                names[id(variable)] = unique(prefix + variable.name, taken)
        for child in node._layers:
            visit(child, f"{prefix}{child.name}/")

    visit(layer, "")
    return [
        (names.get(id(v)) or unique(v.name, taken), v, id(v) in made_to_train)
        for v in layer.variables
    ]


def unique(name: str, taken: set[str]) -> str:
    """`name`, with the next free number where it is taken; the result is added to `taken`."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def parts(layer: Any) -> dict[tuple[int | str, ...], Any]:
    """The variables, seed generators and layers inside a layer by where they are, itself included.

    A layer inside is found by its numbers in `_layers`, a variable by the attribute that holds it, as
    one that was put in by hand stands elsewhere in the store of its layer than the one before it.
    """
    found: dict[tuple[int | str, ...], Any] = {(): layer}

    def hold(value: Any, place: tuple[int | str, ...]) -> None:
        if isinstance(value, (keras.Variable, keras.random.SeedGenerator)):
            found[place] = value
        elif isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                hold(item, (*place, number))
        elif isinstance(value, Mapping):
            for key, item in value.items():
                hold(item, (*place, str(key)))

    def visit(node: Any, place: tuple[int | str, ...]) -> None:
        for name, value in _attributes(node).items():
            hold(value, (*place, name))
        for number, child in enumerate(node._layers):
            # The graph of a model holds its layers where they cannot be replaced.
            if not isinstance(node, keras.Model):
                found[*place, number] = child
            visit(child, (*place, number))

    visit(layer, ())
    return found


def _attributes(node: Any) -> dict[str, Any]:
    """What a layer was given as attributes, without the books that Keras and TensorFlow keep."""
    books = {id(store) for _, store in node._tracker.config.values()}
    # torch keeps the layers inside apart.
    given = {**vars(node), **vars(node).get("_modules", {})}
    return {
        name: value
        for name, value in given.items()
        if id(value) not in books and not name.startswith(("_self_", "_kerasedit", "_modules"))
    }


def unseen(layer: Any) -> list[str]:
    """The attributes of a layer and of those inside that hold variables or layers it does not track."""
    nodes = _with_inner(layer)
    seen = {id(part) for part in (*nodes, *layer.variables)}
    found: list[str] = []
    for node in nodes:
        # A model has its graph in attributes of all kinds.
        for name, value in () if isinstance(node, keras.Model) else _attributes(node).items():
            leaves: list[Any] = []
            map_leaves(leaves.append, value)
            held = [leaf for leaf in leaves if isinstance(leaf, (keras.Variable, keras.Layer))]
            # The state of a stateful RNN is none that is kept.
            is_state = name == "states" and isinstance(node, keras.layers.RNN)
            if any(id(part) not in seen for part in held) and not is_state:
                found.append(name)
    return found


def swap_parts(layer: Any, others: Mapping[int, Any]) -> None:
    """Puts other objects, by `id` of what they replace, in place of some in a layer and all inside.

    Keras's stores of variables and layers (`_tracker`) are locked once a layer is built.
    """
    for node in _with_inner(layer):
        for name, (_, store) in node._tracker.config.items():
            if any(id(item) in others for item in store):
                items = [others.get(id(item), item) for item in store]
                store[:] = {id(item): item for item in items}.values()
                node._tracker.stored_ids[name] = {id(item) for item in store}
        for name, value in _attributes(node).items():
            leaves: list[Any] = []
            map_leaves(leaves.append, value)
            if any(id(leaf) in others for leaf in leaves):
                setattr(node, name, map_leaves(lambda leaf: others.get(id(leaf), leaf), value))


def sort_variables(layer: Any, order: Iterable[Any]) -> None:
    """Lets the variables of a layer, and of each layer inside, come in an order."""
    rank = {id(variable): number for number, variable in enumerate(order)}
    for node in _with_inner(layer):
        for store in (node._trainable_variables, node._non_trainable_variables):
            store.sort(key=lambda variable: rank.get(id(variable), len(rank)))


def _with_inner(layer: Any) -> list[Any]:
    """A layer and all inside it, each once."""
    return list({id(node): node for node in layer._flatten_layers()}.values())


_PENDING = "uninitialized_variables"
_SCOPE = "stateless_scope"


@contextlib.contextmanager
def deferred() -> Iterator[list[Any]]:
    """Variables made inside have a shape and no value; yields the list that collects them.

    `keras.StatelessScope(initialize_variables=False)` is the public part. Keras keeps the waiting
    variables in a list of its own that the next scope to close would initialise, so it is set aside.
    """
    before = global_state.get_global_attribute(_PENDING)
    around = global_state.get_global_attribute(_SCOPE)
    pending: list[Any] = []
    global_state.set_global_attribute(_PENDING, pending)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield pending
    finally:
        # An interrupt may come just before the scope closes itself.
        global_state.set_global_attribute(_SCOPE, around)
        global_state.set_global_attribute(_PENDING, before if before is not None else [])


class Assignments(keras.StatelessScope):
    """Keeps what is assigned to variables inside of it, with the variables; they stay as they are."""

    def __init__(self) -> None:
        super().__init__(initialize_variables=False)
        self._variables: dict[int, Any] = {}

    def add_update(self, update: tuple[Any, Any]) -> None:
        self._variables[id(update[0])] = update[0]
        super().add_update(update)

    def carry_out(self) -> None:
        """Makes the assignments, outside of the scope."""
        for variable in self._variables.values():
            give_value(variable, self.get_current_value(variable))


@contextlib.contextmanager
def deep_enough(layers: int) -> Iterator[None]:
    """Keras walks a graph by recursion, one frame a layer: room for a chain of so many layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 1000 + 4 * layers))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def with_values_if_needed(make: Callable[[], Made]) -> Made:
    """Calls `make` inside `deferred`; once more outside of it for what cannot do without values.

    A layer that makes a variable of an array, rather than of a shape and an initializer, is refused
    inside of a stateless scope, and the scope in force can only be set aside under its private name.
    """
    try:
        return make()
    except (TypeError, ValueError) as problem:  # `from_config` makes a TypeError of everything
        scope = global_state.get_global_attribute(_SCOPE)
        if scope is None or "stateless scope" not in str(problem):
            raise
        global_state.set_global_attribute(_SCOPE, None)
        try:
            return make()
        finally:
            global_state.set_global_attribute(_SCOPE, scope)


def has_value(variable: Any) -> bool:
    """False for a variable made under `deferred` that has not been given a value."""
    return variable._value is not None


def give_value(variable: Any, value: Any) -> None:
    """The first value of a deferred variable, without a copy where the backend can share memory.

    `assign` needs a variable that has a value. TensorFlow copies a shared buffer when one of its
    owners is written to; on other backends the value was copied when it was taken.
    """
    if has_value(variable):
        variable.assign(value)
    else:
        if keras.backend.standardize_dtype(value.dtype) != variable.dtype:
            value = keras.ops.cast(value, variable.dtype)
        variable._initialize(value)
        variable._initializer = None


def initialize(variable: Any) -> None:
    """Runs the initializer of a deferred variable."""
    if not has_value(variable):
        variable._deferred_initialize()


@contextlib.contextmanager
def as_made(layers: Iterable[Any]) -> Iterator[None]:
    """Lets frozen variables get their first values as ones that train.

    A `tf.Variable` is for life what `trainable` was at that moment: TensorFlow's tape never watches
    one that was frozen then, so that it would not train once it is let loose.
    """
    frozen = [
        variable
        for layer in layers
        if isinstance(layer, keras.Layer)
        for _, variable, made_to_train in named_variables(layer)
        if made_to_train and not variable.trainable
    ]
    for variable in frozen:
        variable.trainable = True
    try:
        yield
    finally:
        for variable in frozen:
            variable.trainable = False


def snapshot(variable: Any) -> Any:
    """The present value, which later training does not change. On TensorFlow it is no copy.

    Raises:
        EditError: a `fit` on JAX has the value in its hands.
    """
    if keras.backend.backend() == "tensorflow":
        # `keras.ops.convert_to_tensor` gives back the very variable, which follows later training.
        return variable.value.value()
    if not has_value(variable) and variable._initializer is None:
        raise EditError(
            "While fit runs on JAX, other threads can read weights between epochs only."
        )
    # torch writes into the tensor, and a compiled step of JAX takes over the arrays it is given.
    return keras.ops.copy(keras.ops.stop_gradient(variable.value))


@contextlib.contextmanager
def preserved_random() -> Iterator[None]:
    """Making a layer draws seeds from Python's generator; a look should not change later draws."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


# -- flags ---------------------------------------------------------------------------------------


def set_own_flag(model: Any, value: bool, apart: Collection[int]) -> None:
    """The flag of a model itself, and of what it holds but for layers `apart`, by `id`.

    The public setter would overwrite the flags of these too.
    """
    model._trainable = value
    for variable in model._trainable_variables:
        variable.trainable = value
    for layer in model._layers:
        if id(layer) not in apart:
            set_layer_flag(layer, value)


def pinned_variables(layer: Any) -> list[Any]:
    """Variables that were made to train and are held back although their layer trains.

    Enabling LoRA does this to the kernel, and freezing a layer inside to all of that layer's.
    """
    if not layer.trainable:
        return []
    return [
        v for _, v, made_to_train in named_variables(layer) if made_to_train and not v.trainable
    ]


def _held(layer: Any) -> tuple[Collection[Any], Collection[Any]]:
    """What is held back in a layer while it trains: variables, and layers inside.

    The setter of `trainable` would let them loose. Of a frozen layer, what was held back before.
    """
    if not layer.trainable:
        return vars(layer).get("_kerasedit_held", ((), ()))
    return pinned_variables(layer), [node for node in _with_inner(layer) if not node.trainable]


def _hold(layer: Any, variables: Collection[Any], inner: Collection[Any]) -> None:
    if layer.trainable:
        for node in inner:
            type(node).trainable.fset(node, False)
        for variable in variables:
            variable.trainable = False
    else:
        # Not set as an attribute: a built layer refuses to be given a variable of one inside.
        vars(layer)["_kerasedit_held"] = (tuple(variables), tuple(inner))


def carry_holds(old: Any, new: Any) -> None:
    """What is held back inside a layer that itself trains: layers inside (`_layers`) and variables.

    A configuration does not tell it: the copy of a block with a frozen part would train as a whole.
    """
    if isinstance(new, keras.Model):
        return
    held = {id(part) for parts in _held(old) for part in parts}
    pairs = list(zip(named_variables(old), named_variables(new), strict=False))
    variables = [fresh for (_, v, _), (_, fresh, _) in pairs if id(v) in held]
    inner: list[Any] = []
    waiting = [(old, new)]
    while waiting:
        for a, b in zip(*(node._layers for node in waiting.pop()), strict=False):
            if id(a) in held and type(a) is type(b):
                inner.append(b)
            elif old.trainable and new.trainable and b.trainable != a.trainable:
                type(b).trainable.fset(b, a.trainable)
            waiting.append((a, b))
    _hold(new, variables, inner)


def set_layer_flag(layer: Any, value: bool) -> None:
    """`layer.trainable = value`, except that what was held back by hand stays so."""
    held = _held(layer)
    # TensorFlow's tracking drops a set to the same value; layers inside may still differ.
    type(layer).trainable.fset(layer, value)
    _hold(layer, *held)


# -- compiled state ------------------------------------------------------------------------------


def compile_settings(model: Any) -> dict[str, Any] | None:
    """The arguments that `compile` was given, as live objects; None if it was not called.

    `get_compile_config()` is public but serializes, which loses functions that Keras cannot name.
    """
    if not model.compiled or not hasattr(model, "_compile_config"):
        return None
    settings = dict(model._compile_config.config)
    settings["optimizer"] = model.optimizer
    # Where scaling was wanted, the optimizer does it by now.
    settings["auto_scale_loss"] = False
    return settings


def copy_wrapped_metric(metric: Any) -> Any:
    """A metric around the same function, which may be one that Keras cannot name.

    The configurations of some of Keras's own (`CosineSimilarity`) leave out arguments.
    """
    if type(metric) is keras.metrics.MeanMetricWrapper:
        return keras.metrics.MeanMetricWrapper(
            metric._fn, name=metric.name, dtype=metric.dtype, **metric._fn_kwargs
        )
    fresh = type(metric).from_config(metric.get_config())
    fresh._fn, fresh._fn_kwargs = metric._fn, dict(metric._fn_kwargs)
    return fresh


def training_state(model: Any) -> tuple[Any, ...]:
    """All that a train function holds of a model once it is traced: flags, slots, settings.

    Keras makes another `_compile_config` at each `compile`.
    """
    optimizer = model.optimizer
    known = isinstance(optimizer, keras.optimizers.Optimizer)
    own, parts = (optimizer.variables, _parts(optimizer)) if known else ((), ())
    return (
        tuple(layer.trainable for layer in model._flatten_layers()),
        tuple(variable.trainable for variable in model.variables),
        Identical((optimizer, *own)),
        Identical((model._compile_config, *(vars(p).get("update_step") for p in parts))),
        model.run_eagerly,
        model.jit_compile,
    )


class Identical:
    """Objects that are kept, and equal only to the very same ones."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = tuple(objects)
        self._ids = tuple(map(id, self._objects))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identical) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)


def acknowledge_flags(model: Any) -> None:
    """Keras 3.15 keeps the flags of the last `compile` to warn when they changed; nothing is amiss."""
    if hasattr(model, "_compiled_trainable_state"):
        model._compiled_trainable_state = {
            layer: layer.trainable for layer in model._flatten_layers()
        }


def slots_of(optimizer: Any) -> dict[int, dict[str, Any]]:
    """The variables of an optimizer that belong to model variables: `{id(variable): {name: slot}}`."""
    found: dict[int, dict[str, Any]] = {}
    for part in _parts(optimizer):
        for owner, name, slot, _ in _slots(part):
            found.setdefault(id(owner), {})[name] = slot
    return found


ACCUMULATED = "_accumulated_gradients"  # the name of slots that sum up gradients for an update


def updates_made(optimizer: Any) -> tuple[int, ...]:
    """How often an optimizer changed weights: with accumulation not at each batch."""
    return tuple(_number(part.iterations) for part in _parts(optimizer))


def steps_made(optimizer: Any) -> int:
    """How many batches an optimizer was given; one that wraps another leaves the counting to it."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return 0
    return max(_number(part._iterations) for part in _parts(optimizer))


def _number(variable: Any) -> int:
    """The value of a counter, also of one that several devices have."""
    return int(keras.ops.convert_to_numpy(variable))


def sync_state(model: Any) -> None:
    """Writes to the variables what a `fit` on JAX has in its hands; elsewhere they are up to date."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _slots(part: Any) -> Iterator[tuple[Any, str, Any, Callable[[Any], None]]]:
    """`(model variable, name, slot, put another in its place)` for each slot of a single optimizer.

    Keras's optimizers hold slots in lists with a place for each model variable, and find them by
    position. The slots themselves are only named after the variable, whose name others may share.
    """
    owners = part._trainable_variables
    for name, held in list(vars(part).items()):
        if name in ("_variables", "_trainable_variables"):
            continue
        if not isinstance(held, list) or len(held) != len(owners):
            continue
        for number, (owner, slot) in enumerate(zip(owners, held, strict=True)):
            if isinstance(slot, keras.Variable):
                yield owner, name, slot, functools.partial(held.__setitem__, number)


def build_optimizer(optimizer: Any, variables: list[Any]) -> None:
    """Makes an optimizer's slots, as its first step would; all of them or, if that fails, none."""
    before = Arrangement.now(optimizer)
    try:
        with _strategy(optimizer):
            optimizer.build(variables)
    except BaseException:  # Keras calls it built before it has slots
        before.restore()
        raise


def slotted(optimizer: Any) -> tuple[int, ...]:
    """The `id`s of the model variables that a built optimizer has slots for, in their order."""
    return tuple(map(id, optimizer._trainable_variables))


def accumulates(optimizer: Any) -> bool:
    """Whether an optimizer sums up gradients of several batches for an update."""
    return any(part.gradient_accumulation_steps for part in _parts(optimizer))


def _strategy(optimizer: Any) -> contextlib.AbstractContextManager[Any]:
    """The scope in which TensorFlow makes variables for all devices that an optimizer works on."""
    strategy = getattr(optimizer, "_distribution_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


@dataclass(frozen=True)
class _Arranged:
    """How the slots of a single optimizer are kept: the attributes that `build` sets, its own
    variables, and the places of model variables."""

    part: Any
    attributes: dict[str, Any]
    variables: list[Any]
    places: dict[int, Any]


class Arrangement:
    """Which slots an optimizer has, to be put back later; what else was changed meanwhile stays."""

    def __init__(self, parts: list[_Arranged]) -> None:
        self.parts = parts

    @classmethod
    def now(cls, optimizer: Any) -> Arrangement:
        """The present one, with all attributes of the optimizer."""
        return cls(
            [
                _Arranged(
                    part,
                    dict(vars(part)),
                    _store(part),
                    dict(part._trainable_variables_indices),
                )
                for part in _parts(optimizer)
            ]
        )

    def only(self, names: list[set[str]]) -> Arrangement:
        """The same with fewer attributes of each part."""
        return Arrangement(
            [
                replace(had, attributes={n: v for n, v in had.attributes.items() if n in own})
                for had, own in zip(self.parts, names, strict=True)
            ]
        )

    def restore(self) -> None:
        """Puts the slots back."""
        for had in self.parts:
            vars(had.part).update(had.attributes)
            _keep(had.part, had.variables)
            vars(had.part)["_trainable_variables_indices"] = dict(had.places)


def refit_slots(
    optimizer: Any, variables: list[Any], aside: Callable[[Any], Mapping[str, Any] | None]
) -> tuple[Arrangement, Arrangement]:
    """Slots for exactly these variables, in their order, in a built optimizer.

    Each slot that there is stays the same object, and so does what belongs to no variable, so what
    was traced with them goes on. Keras has no way to add slots; `build` makes all of them anew.

    Args:
        optimizer: it is changed in place, or not at all if this fails.
        variables: the model variables that train.
        aside: gives the slots, or their values, of a variable that has none in the optimizer;
            None where it starts as Keras starts it.

    Returns:
        The slots as they were, and as they are.
    """
    known = slots_of(optimizer)
    before = Arrangement.now(optimizer)
    try:
        for had in before.parts:
            _keep(had.part, [])
            vars(had.part)["_trainable_variables_indices"] = {}
            vars(had.part)["built"] = False
            # A part that gets no variable is not built anew.
            vars(had.part)["_trainable_variables"] = []
        with _strategy(optimizer):
            optimizer.build(variables)
            slots = {id(slot) for own in known.values() for slot in own.values()}
            for had in before.parts:
                _restore(had, slots, known, aside)
    except BaseException:
        before.restore()
        raise
    after = Arrangement.now(optimizer)
    # The store of variables and the table of places are told apart from the attributes.
    told = {"_variables", "_trainable_variables_indices"}
    changed = [
        {"built"} | {n for n, v in new.attributes.items() if v is not had.attributes.get(n)} - told
        for had, new in zip(before.parts, after.parts, strict=True)
    ]
    return before.only(changed), after.only(changed)


def _restore(
    before: _Arranged,
    slots: set[int],
    known: Mapping[int, Mapping[str, Any]],
    aside: Callable[[Any], Mapping[str, Any] | None],
) -> None:
    """Puts what a single optimizer had back in the places of what `build` made instead."""
    part = before.part
    instead: dict[int, Any] = {}
    for name, value in list(vars(part).items()):
        had = before.attributes.get(name)
        if isinstance(value, keras.Variable) and isinstance(had, keras.Variable):
            instead[id(value)] = vars(part)[name] = had
    for owner, name, slot, put in _slots(part):
        there = (known.get(id(owner)) or aside(owner) or {}).get(name)
        if there is None or tuple(there.shape) != tuple(slot.shape):
            if name == "_model_variables_moving_average" and _number(part.iterations) > 0:
                # Keras itself makes its zero right only before the first step.
                slot.assign(snapshot(owner))
            continue
        if isinstance(there, keras.Variable):
            put(there)
            instead[id(slot)] = there
        else:
            slot.assign(there)
    made = [instead.get(id(variable), variable) for variable in _store(part)]
    again = {id(variable) for variable in made}
    rest = [v for v in before.variables if id(v) not in again and id(v) not in slots]
    _keep(part, rest + made)


def _store(part: Any) -> list[Any]:
    """The list of an optimizer's own variables; a wrapped one has further ones of its own."""
    return part._tracker.config["variables"][1]


def _keep(part: Any, variables: list[Any]) -> None:
    """Another list, new or had before: TensorFlow saves no list that something was replaced in."""
    with DotNotTrackScope():
        part._variables = variables
    is_variable, _ = part._tracker.config["variables"]
    part._tracker.config["variables"] = (is_variable, part._variables)
    part._tracker.stored_ids["variables"] = {id(variable) for variable in variables}


def optimizer_number(optimizer: Any, value: float) -> keras.Variable:
    """A number that steps of an optimizer read and do not change."""
    with _strategy(optimizer):
        return keras.Variable(value, dtype="float32", trainable=False)


def wrap_update_steps(optimizer: Any, factors: Mapping[int, tuple[Any, keras.Variable]]) -> None:
    """Multiplies the learning rate of variables, given by `id` with a factor each.

    `update_step` is public; set on the object and past Keras's tracking, as the factors are no
    variables of the optimizer. Without factors the optimizer is as it was.
    """
    for part in _parts(optimizer):
        vars(part).pop("update_step", None)
        if not factors:
            continue
        by_key = {part._var_key(variable): factor for variable, factor in factors.values()}
        plain = part.update_step

        def update_step(
            gradient: Any,
            variable: Any,
            learning_rate: Any,
            part: Any = part,
            plain: Any = plain,
            by_key: Mapping[Any, keras.Variable] = by_key,
        ) -> Any:
            factor = by_key.get(part._var_key(variable))
            if factor is not None:
                rate = keras.ops.convert_to_tensor(learning_rate)
                learning_rate = rate * keras.ops.cast(factor, rate.dtype)
            return plain(gradient, variable, learning_rate)

        vars(part)["update_step"] = update_step


def gradient_averages(optimizer: Any) -> dict[int, Any]:
    """The slots that hold a moving average of a variable's gradients, by `id(variable)`."""
    kinds = ("Adam", "AdamW", "Nadam", "Adamax", "Lamb", "Lion")
    names = ("_momentums", "_m")
    found: dict[int, Any] = {}
    for part in _parts(optimizer):
        if type(part).__name__ in kinds and part.built:
            found.update({id(o): slot for o, name, slot, _ in _slots(part) if name in names})
    return found


def uses_average(optimizer: Any) -> bool:
    """Whether an optimizer keeps a moving average of the weights (`use_ema`)."""
    return any(getattr(part, "use_ema", False) for part in _parts(optimizer))


def _parts(optimizer: Any) -> list[Any]:
    """An optimizer and those that it wraps."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer, *([inner] if inner else getattr(optimizer, "optimizers", ()))]


def copy_optimizer(optimizer: Any) -> Any:
    """An optimizer of the same class and configuration, not built.

    What `exclude_from_weight_decay` was told is in no configuration.
    """
    fresh = _copy_by_config(optimizer)
    for old, new in zip(_parts(optimizer), _parts(fresh), strict=False):
        for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
            if hasattr(old, name):
                setattr(new, name, copy.copy(getattr(old, name)))
    return fresh


def move_exclusions(optimizer: Any, variables: Iterable[tuple[Any, Any]]) -> None:
    """Excludes from weight decay, of pairs of variables, the new where the old one was excluded."""
    pairs = list(variables)
    for part in _parts(optimizer):
        held = getattr(part, "_exclude_from_weight_decay", ())
        if held:
            part._exclude_from_weight_decay = {
                part._var_key(new) for old, new in pairs if part._var_key(old) in held
            }


def _copy_by_config(optimizer: Any) -> Any:
    """A schedule or function of the learning rate has no state and is shared.

    Keras can only make those again that it knows. `optimizer.learning_rate` is public and gives its
    present value.
    """
    rate = getattr(optimizer, "_learning_rate", None)
    if rate is None or isinstance(rate, keras.Variable):
        return type(optimizer).from_config(optimizer.get_config())
    # `get_config` would serialize the rate; `copy.copy` would go through a file.
    shell = object.__new__(type(optimizer))
    shell.__dict__.update(vars(optimizer), _learning_rate=None)
    return type(optimizer)(**{**shell.get_config(), "learning_rate": rate})


# -- model files ---------------------------------------------------------------------------------


@contextlib.contextmanager
def known_attributes() -> Iterator[None]:
    """Lets Keras find the list of a layer's own attributes, which loading asks for at each layer.

    `get_attr_skipset` keeps it under one name and looks for it under another (Keras 3.12 to 3.15),
    and so makes a layer to list its attributes again each time: a quarter of the cost of loading.
    """
    name = "saving_attr_skiplist_Layer"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, saving_lib.get_attr_skipset("Layer"))
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)


def model_in(file: Path, custom_objects: Mapping[str, Any], safe_mode: bool) -> Any:
    """The model that a `.keras` file tells of, not compiled; its state is loaded by `load_state`.

    `keras.saving.load_model` loads that too, by a copy of all of it in memory.
    """
    with zipfile.ZipFile(file) as archive:
        config = archive.read("config.json")
    return saving_lib._model_from_config(
        config, dict(custom_objects), compile=False, safe_mode=safe_mode
    )


def load_state(model: Any, file: Path, *, leave: Iterable[Any] = ()) -> None:
    """Loads the state that a `.keras` file has for a model and what hangs on it.

    `model.load_weights` does it too and takes minutes for some GB, as it reads inside of the archive.

    Args:
        leave: layers that have theirs.

    Raises:
        ValueError: something of it cannot be loaded.
    """
    failed: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(file))
        weights = _weights_in(archive, file)
        stack.callback(weights.close)
        assets = None
        if any(name.startswith("assets/") for name in archive.namelist()):
            assets = saving_lib.DiskIOStore("assets", archive=archive, mode="r")
            stack.callback(assets.close)
        saving_lib._load_state(
            model,
            weights_store=weights,
            assets_store=assets,
            inner_path="",
            visited_saveables={id(layer) for layer in leave},
            failed_saveables=set(),
            error_msgs=failed,
        )
    if failed:
        raise ValueError(f"{len(failed)} objects could not be loaded")


def _weights_in(archive: zipfile.ZipFile, file: Path) -> Any:
    """Keras's store of the weights in a `.keras` file, read where they are."""
    name = "model.weights.h5"
    member = _Member(archive.getinfo(name), file)
    # All that the store asks of an archive is to open the file inside.
    return saving_lib.H5IOStore(name, SimpleNamespace(open=lambda *_: member))


class _Member(Window):
    """A file in an archive, not compressed, at its place there.

    Python's own way back in such a file is to read it again from its start.
    """

    def __init__(self, info: zipfile.ZipInfo, file: Path) -> None:
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"'{info.filename}' is compressed")
        stream = open(file, "rb")  # noqa: SIM115, closed with this one
        stream.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", stream.read(4))
        super().__init__(stream, info.header_offset + 30 + name + extra, info.file_size)

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self.size - self.tell()))
        if super().readinto(buffer) != wanted:
            raise EOFError(f"'{self.file.name}' is shorter than it was")
        return wanted

    def close(self) -> None:
        self.file.close()
        super().close()


# -- files of preprocessing layers ---------------------------------------------------------------


def _owners_of_assets(layer: Any) -> list[tuple[str, Any]]:
    """The sublayers that save more than variables, with their positions as names.

    Those are vocabularies, and what a class of its own puts into `save_own_variables`.
    """
    found: list[tuple[str, Any]] = []

    def visit(node: Any, path: str) -> None:
        cls = type(node)
        of_its_own = cls.save_own_variables is not keras.Layer.save_own_variables and node.built
        if hasattr(node, "save_assets") or (of_its_own and not cls.__module__.startswith("keras.")):
            found.append((path, node))
        if not hasattr(node, "save_assets") and not isinstance(node, keras.Model):
            for number, child in enumerate(node._layers):
                visit(child, f"{path}.{number}")

    visit(layer, "0")
    return found


_OWN, _ARRAY = "own-", ".npy"


def _own_state(layer: Any) -> dict[str, Any]:
    """What a layer itself writes into a file of weights."""
    state: dict[str, Any] = {}
    try:
        layer.save_own_variables(state)
    except AttributeError:  # a TextVectorization that was never adapted has nothing to save
        return {}
    return {name: keras.ops.convert_to_numpy(value) for name, value in state.items()}


def read_assets(layer: Any) -> dict[str, bytes]:
    """What a layer saves beside its variables as files, by position of the sublayer and name."""
    files: dict[str, bytes] = {}
    for position, owner in _owners_of_assets(layer):
        with tempfile.TemporaryDirectory() as folder:
            if hasattr(owner, "save_assets"):
                owner.save_assets(folder)
            for name, value in _own_state(owner).items():
                np.save(Path(folder, f"{_OWN}{name}{_ARRAY}"), value)
            for file in sorted(Path(folder).iterdir()):
                files[f"{position}/{file.name}"] = file.read_bytes()
    return files


def write_assets(layer: Any, files: Mapping[str, bytes]) -> None:
    """Gives a fresh layer the files of `read_assets`, and what it derives from its variables."""
    for position, owner in _owners_of_assets(layer):
        own = {
            n.split("/", 1)[1]: data for n, data in files.items() if n.startswith(f"{position}/")
        }
        if not own:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name, data in own.items():
                Path(folder, name).write_bytes(data)
            state = {
                name.removeprefix(_OWN).removesuffix(_ARRAY): np.load(Path(folder, name))
                for name in own
                if name.startswith(_OWN)
            }
            if state:
                owner.load_own_variables(state)
            if hasattr(owner, "load_assets"):
                owner.load_assets(folder)
    # Normalization computes tensors from its variables once; Keras's loading calls this too.
    visit = [layer]
    while visit:
        node = visit.pop()
        visit.extend(node._layers)
        if isinstance(node, keras.layers.Normalization):
            node.finalize_state()
