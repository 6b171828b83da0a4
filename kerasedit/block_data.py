"""Blocks as JSON, and back.

A chain of layers is a list of them, each told as Keras does, with its weights if it brings any.
Whatever else a block is, it is an object: all its layers, those inside a model before the model, and
the calls that say what takes what. `read_block` trusts nothing of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import keras
import numpy as np

from . import _keras
from .arrays import Store, array_data, read_array
from .blocks import Block
from .codegen.literals import layer_code
from .errors import EditError, reason
from .graph.build import LayerState
from .graph.model_graph import (
    Call,
    LayerId,
    LayerSpec,
    Network,
    Ref,
    VariableRef,
    VariableSpec,
    fresh_id,
    iter_refs,
)
from .graph.read import Reader
from .graph.rewrite import is_chain
from .names import check_layer_name
from .palette import check_harmless, palette_classes, read_layer
from .targets import module_of

_MOST = 20_000  # layers in a block, each counted in every place
_DEEPEST = 40  # models in models, lists in lists
_PLAIN = (type(None), bool, int, float, str)

Kind = TypeVar("Kind")

# -- writing -------------------------------------------------------------------------------------


def write_block(block: Block, arrays: Store | None = None) -> Any:
    """The JSON of a block.

    Args:
        block: what to tell.
        arrays: takes up the weights; without it they are inline.

    Raises:
        EditError: a layer holds code, or something else that is no data.
    """
    return _Writer(block, arrays).write()


class _Writer:
    def __init__(self, block: Block, arrays: Store | None) -> None:
        self._block, self._arrays = block, arrays
        self._items: list[dict[str, Any]] = []
        self._numbers: dict[LayerId, int] = {}
        self._tokens: dict[int, int] = {}  # of what layers share, the numbers

    def write(self) -> Any:
        chain = self._chain()
        if chain is not None:
            return [self._layer(spec) for spec in chain]
        data = {"layers": self._items, **self._network(self._block.net)}
        if self._tokens:
            data["shared"] = [self._block.flags.get(token, True) for token in self._tokens]
        return data

    def _chain(self) -> list[LayerSpec] | None:
        """The layers, where each is but called on what the one before puts out."""
        net = self._block.net
        ref = entry = net.input_refs[0]
        found: dict[LayerId, LayerSpec] = {}
        for call in net.calls:
            if call.id == entry.call:
                continue
            spec = self._block.layers[call.layer]
            plain = spec.kind == "layer" and not spec.ties and spec.id not in found
            if not plain or call.args != (ref,) or call.kwargs:
                return None
            found[spec.id] = spec
            ref = Ref(call.id)
        return list(found.values()) if found and net.output_refs == (ref,) else None

    def _number(self, layer_id: LayerId) -> int:
        """The position of a layer in the list of all, where it stands behind those inside it."""
        if layer_id not in self._numbers:
            item = self._item(self._block.layers[layer_id])
            self._numbers[layer_id] = len(self._items)
            self._items.append(item)
        return self._numbers[layer_id]

    def _item(self, spec: LayerSpec) -> dict[str, Any]:
        if spec.kind == "op":
            return self._op(spec)
        if spec.kind == "input":
            entry = spec.id == self._block.net.by_id[self._block.net.input_refs[0].call].layer
            return {"input": None if entry else _config(spec.name, spec.cls, spec.config or {})}
        if spec.net is None:
            return self._layer(spec)
        if spec.prototype is not None:
            return self._own_class(spec, spec.net)
        dtype = (spec.config or {}).get("dtype")
        return {
            "model": "Sequential" if spec.net.chain else "Functional",
            "name": spec.name,
            "trainable": self._block.flags.get(spec.id, True),
            "dtype": keras.dtype_policies.serialize(dtype) if dtype is not None else None,
            **self._network(spec.net),
            "output_names": list(spec.net.output_names),
        }

    def _layer(self, spec: LayerSpec) -> dict[str, Any]:
        cls = spec.cls
        if spec.prototype is not None or spec.problem:
            raise EditError(
                f"The layer '{spec.name}' ({cls.__name__}) holds a Python function, which is no data. "
                "Write a layer class with a get_config() and register it with "
                "keras.saving.register_keras_serializable."
            )
        unknown = [name for name, function in spec.functions.items() if not _is_known(function)]
        if unknown:
            raise EditError(
                f"The function given to '{spec.name}' ({cls.__name__}) for "
                f"{', '.join(map(repr, unknown))} is no data as long as Keras cannot find it by name. "
                "Register it with keras.saving.register_keras_serializable, or give it in "
                "custom_objects=."
            )
        config = _config(spec.name, cls, spec.config or {})
        return {**_class_data(cls), "config": config, **self._state(spec, config)}

    def _own_class(self, spec: LayerSpec, net: Network) -> dict[str, Any]:
        """A model that its own class makes: what is inside is told by where it stands."""
        inside = [{"path": path, **self._state(inner, {})} for path, inner in self._inside(net, "")]
        return {
            **_class_data(spec.cls),
            "config": _config(spec.name, spec.cls, spec.prototype.get_config()),
            "trainable": self._block.flags.get(spec.id, True),
            "inside": inside,
        }

    def _inside(self, net: Network, prefix: str) -> Iterator[tuple[str, LayerSpec]]:
        for layer_id in net.calls_of:
            spec = self._block.layers[layer_id]
            if spec.kind in ("layer", "model"):
                yield prefix + spec.name, spec
            if spec.net is not None:
                yield from self._inside(spec.net, f"{prefix}{spec.name}/")

    def _state(self, spec: LayerSpec, config: Mapping[str, Any]) -> dict[str, Any]:
        """A layer's flag, where its configuration does not tell it, and all the values it brings."""
        data: dict[str, Any] = {}
        flag = self._block.flags.get(spec.id, True)
        if config.get("trainable", True) != flag:
            data["trainable"] = flag
        state = self._block.states.get(spec.id)
        if state is not None and state.values:
            pairs = zip(spec.variables or (), state.values, strict=True)
            data["weights"] = [self._weight(variable, value) for variable, value in pairs]
        if state is not None and state.assets:
            data["assets"] = {
                name: array_data(np.frombuffer(content, np.uint8), self._arrays)
                for name, content in state.assets.items()
            }
        if spec.ties:
            data["ties"] = [[list(place), self._token(token)] for place, token in spec.ties.items()]
        return data

    def _weight(self, variable: VariableSpec, value: Any) -> dict[str, Any]:
        array = keras.ops.convert_to_numpy(value)
        data = {"name": variable.name, **array_data(array, self._arrays)}
        if not variable.weight:
            data["weight"] = False
        if not variable.trainable:
            data["trainable"] = False
        if variable.shared is not None:
            data["shared"] = self._token(variable.shared)
        return data

    def _token(self, token: int) -> int:
        return self._tokens.setdefault(token, len(self._tokens))

    def _op(self, spec: LayerSpec) -> dict[str, Any]:
        name = f"{spec.cls.__module__.rpartition('.')[2]}.{spec.cls.__name__}"
        if _keras.op_classes().get(name) is not spec.cls:
            raise EditError(
                f"The operation '{spec.name}' ({spec.cls.__name__}) is none of Keras's own and cannot "
                "be told as data. Write a layer class for it."
            )
        try:
            config = spec.prototype.get_config()
        except Exception as problem:
            raise EditError(
                f"The operation '{spec.name}' ({spec.cls.__name__}) cannot be told as data: it was "
                "given something that is no plain value. Write a layer class for it."
            ) from problem
        return {"op": name, "name": spec.name, "config": _data(spec.name, spec.cls, config)}

    # -- calls -----------------------------------------------------------------------------------

    def _network(self, net: Network) -> dict[str, Any]:
        position = {call.id: number for number, call in enumerate(net.calls)}

        def value(item: Any) -> Any:
            return self._value(item, position)

        calls = []
        for call in net.calls:
            data: dict[str, Any] = {"layer": self._number(call.layer)}
            try:
                if call.args:
                    data["args"] = [value(item) for item in call.args]
                if call.kwargs:
                    data["kwargs"] = {name: value(item) for name, item in call.kwargs.items()}
            except TypeError as problem:
                name = self._block.layers[call.layer].name
                raise EditError(
                    f"'{name}' is called with {problem}, which cannot be told as data."
                ) from problem
            calls.append(data)
        return {"calls": calls, "inputs": value(net.inputs), "outputs": value(net.outputs)}

    def _value(self, item: Any, position: Mapping[int, int]) -> Any:
        """An argument of a call as JSON; what JSON has no word for is an object with one key."""
        if isinstance(item, np.generic):
            item = item.item()
        if isinstance(item, float) and not math.isfinite(item):
            return {"float": repr(item)}
        if isinstance(item, _PLAIN):
            return item
        if isinstance(item, Ref):
            return {"ref": [position[item.call], item.index]}
        if isinstance(item, VariableRef):
            return {"variable": [self._number(item.layer), item.index]}
        if isinstance(item, slice):
            parts = (item.start, item.stop, item.step)
            return {"slice": [self._value(part, position) for part in parts]}
        if item is Ellipsis:
            return {"ellipsis": True}
        if isinstance(item, np.ndarray):
            return {"array": array_data(item, self._arrays)}
        if isinstance(item, (list, tuple)):
            items = [self._value(inner, position) for inner in item]
            return {"tuple": items} if isinstance(item, tuple) else items
        if isinstance(item, Mapping) and all(isinstance(key, str) for key in item):
            return {"dict": {key: self._value(inner, position) for key, inner in item.items()}}
        if keras.ops.is_tensor(item):
            return {"tensor": array_data(keras.ops.convert_to_numpy(item), self._arrays)}
        raise TypeError(f"a {type(item).__name__}")


def _class_data(cls: type) -> dict[str, Any]:
    """A class as Keras names it."""
    module = module_of(cls)
    registered = None if module == "keras.layers" else keras.saving.get_registered_name(cls)
    return {"class_name": cls.__name__, "module": module, "registered_name": registered}


def _is_known(function: Any) -> bool:
    """Whether Keras finds a function by its name."""
    name = keras.saving.get_registered_name(function)
    return keras.saving.get_registered_object(name) is function


def _config(name: str, cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    return {**_data(name, cls, config), "name": name}


def _data(name: str, cls: type, config: Any) -> Any:
    """A configuration as JSON, as Keras writes it to a file."""
    try:
        found = _without_compiled(keras.saving.serialize_keras_object(config))
        return json.loads(json.dumps(found, allow_nan=False))
    except Exception as problem:
        raise EditError(
            f"The configuration of '{name}' ({cls.__name__}) cannot be told as data: {reason(problem)}"
        ) from problem


def _without_compiled(value: Any) -> Any:
    """What a model inside of a layer was compiled with is no part of the layer."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key != "compile_config"}
        return {key: _without_compiled(item) for key, item in kept.items()}
    if isinstance(value, (list, tuple)):
        return [_without_compiled(item) for item in value]
    return value


# -- reading -------------------------------------------------------------------------------------

_LAYER_KEYS = ("class_name", "module", "registered_name", "config", "build_config")
_STATE_KEYS = ("trainable", "weights", "assets", "ties")
_NET_KEYS = ("calls", "inputs", "outputs")
_WEIGHT_KEYS = (
    "name", "dtype", "shape", "array", "base64", "weight", "trainable", "shared"
)  # fmt: skip
# By position of the layer inside, and the name of a file: it becomes one.
_ASSET = re.compile(r"\d+(\.\d+)*/\w+(\.\w+)*")


def read_block(
    data: Any,
    custom_objects: Mapping[str, Any] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Block:
    """A block from JSON: `[{"class_name": "Dropout", "config": {"rate": 0.25}}]`.

    Args:
        data: what `write_block` gives, or a list of layers alone.
        custom_objects: classes and functions that may be named beside Keras's and registered ones.
        arrays: the store of the weights.

    Raises:
        EditError: it is no such data, names a class outside the palette, or holds anything that
            would have to be run or imported.
    """
    objects = dict(custom_objects or {})
    scope = keras.saving.custom_object_scope(objects)
    with _keras.preserved_random(), _keras.deferred(), scope:
        return _BlockReader(objects, arrays).read(data)


def block_words(data: Any) -> str:
    """The layers of a block's JSON in words, without making them: `Dropout`, `Dense, ReLU`."""
    items = data if isinstance(data, list) else [data]
    if isinstance(data, Mapping) and isinstance(data.get("layers"), list):
        calls, known = data.get("calls"), data["layers"]
        listed = calls if isinstance(calls, list) else []
        numbers = [call.get("layer") for call in listed if isinstance(call, Mapping)]
        items = [known[n] for n in dict.fromkeys(n for n in numbers if _is_place(n, known))]
    names = (_item_name(item) for item in items if isinstance(item, Mapping))
    return ", ".join(name for name in names if name)


def _item_name(item: Mapping[str, Any]) -> str:
    name = item.get("class_name") or item.get("model") or item.get("op") or ""
    return str(name).rpartition(".")[2]


class _BlockReader:
    def __init__(
        self, custom_objects: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None
    ) -> None:
        self._custom_objects, self._arrays = custom_objects, arrays
        self._classes = palette_classes(custom_objects)
        self._reader = Reader()
        self._states: dict[LayerId, LayerState] = {}
        self._tokens: list[int] = []
        self._ids: list[LayerId] = []
        self._places: dict[LayerId, tuple[int, int]] = {}  # layers inside, and how deep

    def read(self, data: Any) -> Block:
        if isinstance(data, Mapping) and "class_name" in data:
            data = [data]
        if isinstance(data, list):
            return self._read_chain(data)
        data = _a(Mapping, data, _WHAT)
        _only(data, ("layers", "shared", *_NET_KEYS), "A block")
        flags = _a(list, data.get("shared", []), _SHARED)
        _require(_is_list(flags, bool), _SHARED)
        self._tokens = [fresh_id() for _ in flags]
        self._reader.flags.update(zip(self._tokens, flags, strict=True))
        items = _a(list, data.get("layers"), _WHAT)
        _require(len(items) <= _MOST, "A block holds too many layers.")
        for item in items:
            self._ids.append(self._item(_a(Mapping, item, _LAYER)))
        net = self._network(data, top=True)
        _require(
            len(net.input_refs) == len(net.output_refs) == 1,
            "A block to put in takes one tensor and gives one.",
        )
        members = {call.layer for call in net.calls if call.args or call.kwargs}
        return self._block(net, self._code(members))

    def _read_chain(self, items: list[Any]) -> Block:
        _require(bool(items), "A block has at least one layer.")
        _require(len(items) <= _MOST, "A block holds too many layers.")
        entry = Call(fresh_id(), self._entry(), outputs=())
        calls, names, ref = [entry], [], Ref(entry.id)
        for item in items:
            layer = self._layer(_a(Mapping, item, _LAYER))
            call = Call(fresh_id(), layer, (ref,))
            calls.append(call)
            names.append(layer_code(self._reader.objects[layer]))
            ref = Ref(call.id)
        net = Network(tuple(calls), [Ref(entry.id)], [ref])
        return self._block(net, names[0] if len(names) == 1 else f"[{', '.join(names)}]")

    def _block(self, net: Network, code: str) -> Block:
        return Block(self._reader.specs, self._reader.flags, net, self._states, code)

    def _code(self, members: Iterable[LayerId]) -> str:
        specs = [self._reader.specs[layer_id] for layer_id in members]
        if len(specs) != 1 or specs[0].kind == "op":
            return "function"
        if specs[0].kind == "model":
            return specs[0].name if specs[0].name.isidentifier() else "model"
        return layer_code(self._reader.objects[specs[0].id])

    # -- layers ----------------------------------------------------------------------------------

    def _item(self, item: Mapping[str, Any]) -> LayerId:
        if "input" in item:
            return self._input(item)
        if "op" in item:
            return self._op(item)
        if "model" in item:
            return self._model(item)
        return self._own_class(item) if "inside" in item else self._layer(item)

    def _entry(self) -> LayerId:
        """What stands for the tensor that the block is put on."""
        return self._add(LayerSpec(fresh_id(), "input", "", keras.layers.InputLayer, variables=()))

    def _add(self, spec: LayerSpec) -> LayerId:
        self._reader.specs[spec.id] = spec
        return spec.id

    def _input(self, item: Mapping[str, Any]) -> LayerId:
        _only(item, ("input",), "An input of a model in a block")
        if item["input"] is None:
            return self._entry()
        config = _a(Mapping, item["input"], "An input of a model is told by its configuration.")
        check_harmless(config)
        live = _made("InputLayer", lambda: keras.layers.InputLayer.from_config(dict(config)))
        return self._reader.layer(live)

    def _op(self, item: Mapping[str, Any]) -> LayerId:
        _only(item, ("op", "name", "config"), "An operation of a block")
        name, config = item["op"], item.get("config", {})
        cls = _keras.op_classes().get(name) if isinstance(name, str) else None
        if cls is None or not isinstance(config, Mapping):
            raise EditError(f"There is no operation {name!r:.80} of Keras.")
        check_harmless(config)
        called = check_layer_name(item.get("name"))
        return self._reader.layer(
            _made(cls.__name__, lambda: _keras.copy_op(cls.from_config(dict(config)), called))
        )

    def _layer(self, item: Mapping[str, Any]) -> LayerId:
        _only(item, (*_LAYER_KEYS, *_STATE_KEYS), "A layer of a block")
        live = read_layer(item, self._classes, self._custom_objects)
        layer_id = self._reader.layer(live)
        self._reader.specs[layer_id] = replace(self._reader.specs[layer_id], variables=None)
        self._give_state(layer_id, item)
        return layer_id

    def _give_state(self, layer_id: LayerId, item: Mapping[str, Any]) -> None:
        """Notes a layer's flag and the values that it brings."""
        flag = item.get("trainable", self._reader.flags[layer_id])
        self._reader.flags[layer_id] = _a(bool, flag, _FLAG)
        weights = _a(list, item.get("weights", []), "'weights' of a layer is a list.")
        assets = _a(Mapping, item.get("assets", {}), "'assets' of a layer is an object.")
        ties = _a(list, item.get("ties", []), "'ties' of a layer is a list.")
        found = [self._weight(_a(Mapping, data, "A weight is an object.")) for data in weights]
        spec = self._reader.specs[layer_id]
        if "weights" in item or assets:
            values, files = tuple(value for _, value in found), self._files(assets)
            self._states[layer_id] = LayerState(values, files)
            spec = replace(spec, variables=tuple(variable for variable, _ in found))
        self._reader.specs[layer_id] = replace(spec, ties=dict(map(self._tie, ties)))

    def _weight(self, data: Mapping[str, Any]) -> tuple[VariableSpec, np.ndarray]:
        _only(data, _WEIGHT_KEYS, "A weight of a block")
        value = read_array(data, self._arrays)
        name = _a(str, data.get("name"), "A weight of a layer has a 'name'.")
        weight, trainable = (
            _a(bool, data.get(key, True), f"'{key}' of a weight is true or false.")
            for key in ("weight", "trainable")
        )
        dtype = keras.backend.standardize_dtype(data["dtype"])
        shared = self._token(data["shared"]) if data.get("shared") is not None else None
        return VariableSpec(name, value.shape, dtype, weight, trainable, shared), value

    def _token(self, number: Any) -> int:
        _require(
            _is_place(number, self._tokens), f"A block shares nothing numbered {number!r:.80}."
        )
        return self._tokens[number]

    def _tie(self, data: Any) -> tuple[tuple[Any, ...], int]:
        fits = isinstance(data, list) and len(data) == 2 and isinstance(data[0], list)
        _require(fits and all(type(part) in (int, str) for part in data[0]), "That is no tie.")
        return tuple(data[0]), self._token(data[1])

    def _files(self, assets: Mapping[str, Any]) -> dict[str, bytes]:
        named = all(map(_ASSET.fullmatch, assets))
        _require(named, "The 'assets' of a layer are files by plain names.")
        return {name: read_array(assets[name], self._arrays).tobytes() for name in assets}

    def _model(self, item: Mapping[str, Any]) -> LayerId:
        keys = ("model", "name", "trainable", "dtype", "output_names", *_NET_KEYS)
        _only(item, keys, "A model in a block")
        net = self._network(item, top=False)
        sequential, functional = _keras.PLAIN_MODELS
        ops = {i for i, spec in self._reader.specs.items() if spec.kind == "op"}
        chain = item["model"] == "Sequential" and is_chain(net, ops)
        _require(
            chain or item["model"] == "Functional",
            "A model in a block is 'Functional', or 'Sequential' where it is a chain of layers.",
        )
        names = item.get("output_names", [])
        _require(
            _is_list(names, str) and len(names) in (0, len(net.output_refs)),
            "'output_names' of a model is a list with a text for each of its outputs.",
        )
        dtype, flag = item.get("dtype"), _a(bool, item.get("trainable", True), _FLAG)
        check_harmless(dtype)
        policy = _made("dtype", lambda: keras.dtype_policies.get(dtype)) if dtype else None
        layer_id = fresh_id()
        self._reader.flags[layer_id] = flag
        spec = LayerSpec(
            layer_id,
            "model",
            check_layer_name(item.get("name")),
            sequential if chain else functional,
            config={"dtype": policy},
            net=replace(
                net,
                chain=chain,
                output_names=tuple(names),
                output_ids=tuple(fresh_id() for _ in names),
            ),
        )
        inner = [self._places.get(i, (1, 1)) for i in net.calls_of]
        size, depth = 1 + sum(n for n, _ in inner), 1 + max(level for _, level in inner)
        _require(size <= _MOST and depth <= _DEEPEST, "The models of a block hold too many layers.")
        self._places[layer_id] = size, depth
        return self._add(spec)

    def _own_class(self, item: Mapping[str, Any]) -> LayerId:
        """A model that its own class makes, which has to be registered or in `custom_objects`."""
        _only(item, (*_LAYER_KEYS, "trainable", "inside"), "A model in a block")
        name = item.get("registered_name")
        inside = _a(list, item["inside"], "'inside' of a model is a list.")
        config = _a(Mapping, item.get("config"), _LAYER)
        cls = keras.saving.get_registered_object(name) if isinstance(name, str) else None
        if not (isinstance(cls, type) and issubclass(cls, keras.Model)):
            raise EditError(
                f"There is no model class {name!r:.80} to put in. It has to be registered with "
                "keras.saving.register_keras_serializable, or given in custom_objects=."
            )
        check_harmless(config)
        live = _made(
            cls.__name__,
            lambda: _keras.with_values_if_needed(lambda: cls.from_config(dict(config))),
        )
        layer_id = self._reader.layer(live)
        self._give_state(layer_id, {"trainable": item.get("trainable", True)})
        known = self._by_path(layer_id, "")
        for part in inside:
            part = _a(Mapping, part, _INSIDE)
            _only(part, ("path", *_STATE_KEYS), "What is inside a model of a block")
            path = _a(str, part.get("path"), _INSIDE)
            _require(path in known, f"There is no {path!r:.80} inside the model {name!r:.80}.")
            self._give_state(known[path], part)
        return layer_id

    def _by_path(self, model: LayerId, prefix: str) -> dict[str, LayerId]:
        found: dict[str, LayerId] = {}
        net = self._reader.specs[model].net
        for layer_id in net.calls_of if net is not None else ():
            path = prefix + self._reader.specs[layer_id].name
            found |= {path: layer_id, **self._by_path(layer_id, path + "/")}
        return found

    # -- calls -----------------------------------------------------------------------------------

    def _network(self, data: Mapping[str, Any], top: bool) -> Network:
        """The calls of a block or of a model in it, each on what earlier ones put out."""
        items = _a(list, data.get("calls"), "'calls' of a block or a model in it is a list.")
        _require(len(items) <= _MOST, "A block holds too many calls.")
        calls: list[Call] = []
        for item in items:
            calls.append(self._call(_a(Mapping, item, "A call is an object."), calls))
        inputs, outputs = (self._value(data.get(key), calls) for key in ("inputs", "outputs"))
        entries = [call.id for call in calls if self._is_input(call)]
        given = [ref.call for ref in iter_refs(inputs)]
        _require(
            sorted(entries) == sorted(given) and any(True for _ in iter_refs(outputs)),
            "'inputs' has each input of a model once, and 'outputs' what it puts out.",
        )
        specs = [self._reader.specs[i] for i in dict.fromkeys(call.layer for call in calls)]
        names = {spec.name for spec in specs}
        _require(
            top or (len(names) == len(specs) and "" not in names),
            "The layers of a model in a block have names, each its own.",
        )
        return Network(tuple(calls), inputs, outputs)

    def _is_input(self, call: Call) -> bool:
        return self._reader.specs[call.layer].kind == "input"

    def _call(self, item: Mapping[str, Any], before: list[Call]) -> Call:
        _only(item, ("layer", "args", "kwargs"), "A call")
        number = item.get("layer")
        _require(_is_place(number, self._ids), f"There is no layer {number!r:.80} to be called.")
        assert number is not None
        args = _a(list, item.get("args", []), "'args' of a call is a list.")
        kwargs = _a(Mapping, item.get("kwargs", {}), "'kwargs' of a call is an object.")
        call = Call(
            fresh_id(),
            self._ids[number],
            tuple(self._value(value, before) for value in args),
            {name: self._value(value, before) for name, value in kwargs.items()},
        )
        fits = not call.args and not call.kwargs if self._is_input(call) else bool(call.refs)
        _require(fits, "A layer is called on tensors, and an input on nothing.")
        return call

    def _value(self, data: Any, calls: list[Call], depth: int = 0) -> Any:
        """An argument of a call."""
        _require(depth <= _DEEPEST, "The arguments of a call are nested too deeply.")
        if isinstance(data, _PLAIN):
            check_harmless(data)
            return data
        if isinstance(data, list):
            return [self._value(item, calls, depth + 1) for item in data]
        _require(isinstance(data, Mapping) and len(data) == 1, "That is no argument of a call.")
        ((tag, given),) = data.items()
        if tag in ("ref", "variable"):
            known = calls if tag == "ref" else self._ids
            fits = _is_list(given, int) and len(given) == 2 and _is_place(given[0], known)
            _require(fits and given[1] >= 0, f"There is no {tag} {given!r:.80} in a block.")
            if tag == "ref":
                return Ref(calls[given[0]].id, given[1])
            return self._variable(self._ids[given[0]], given[1])
        if tag in ("array", "tensor"):
            array = read_array(given, self._arrays)
            return array if tag == "array" else keras.ops.convert_to_tensor(array)
        if tag == "dict":
            given = _a(Mapping, given, "That is no argument of a call.")
            return {key: self._value(item, calls, depth + 1) for key, item in given.items()}
        if tag == "float" and given in ("inf", "-inf", "nan"):
            return float(given)
        if tag == "ellipsis":
            return Ellipsis
        if tag in ("tuple", "slice") and isinstance(given, list):
            items = [self._value(item, calls, depth + 1) for item in given]
            _require(tag == "tuple" or len(items) == 3, "A slice has a start, a stop and a step.")
            return tuple(items) if tag == "tuple" else slice(*items)
        raise EditError(f"{tag!r:.80} is no argument of a call.")

    def _variable(self, layer_id: LayerId, index: int) -> VariableRef:
        known = self._reader.specs[layer_id].variables  # None until the layer is called
        _require(known is None or index < len(known), "A call takes a weight that is not there.")
        return VariableRef(layer_id, index)


_WHAT = "A block is a list of layers, or an object with 'layers', 'calls', 'inputs' and 'outputs'."
_SHARED = "'shared' of a block is a list of true and false."
_LAYER = "A layer of a block is an object with 'class_name' and 'config'."
_FLAG = "'trainable' of a layer is true or false."
_INSIDE = "What is inside a model of a block is told by its 'path' there."


def _a(kind: type[Kind], value: Any, message: str) -> Kind:
    """The value, if it is of that type."""
    if not isinstance(value, kind):
        raise EditError(message)
    return value


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise EditError(message)


def _only(data: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    unknown = [key for key in data if key not in keys]
    if unknown:
        raise EditError(f"{what} has no {unknown[0]!r:.80}.")


def _is_list(value: Any, of: type) -> bool:
    return isinstance(value, list) and all(type(item) is of for item in value)


def _is_place(number: Any, known: list[Any]) -> bool:
    return type(number) is int and 0 <= number < len(known)


def _made(what: str, make: Callable[[], Any]) -> Any:
    """What Keras makes of data, or an error that says what it did not like."""
    try:
        return make()
    except EditError:
        raise
    except Exception as problem:
        raise EditError(
            f"{what} cannot be made with these arguments: {reason(problem)}"
        ) from problem
