"""Python code for values: what stands in a configuration, layers and the objects in them.

Code that is to be run is exact: the objects that its arguments make have the configuration that is
wanted, or the whole configuration is written down instead. The short form (`layer_code`) is for the
eye.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from .. import _keras
from ..errors import StructureError, reason
from ..graph.build import make_layer
from ..graph.model_graph import LayerSpec
from ..names import is_automatic
from .layout import text
from .script import Script, Unwritable, found_in


@dataclass(frozen=True)
class Code:
    """Python code, and the value that it gives."""

    text: str
    value: Any


# -- values --------------------------------------------------------------------------------------


def literal(value: Any, script: Script) -> Code:
    """Code for a value of a configuration or of a call's arguments.

    Raises:
        Unwritable: there is none.
    """
    plain = _plain(value)
    if plain is not None:
        return Code(plain, value)
    if _is_object(value):
        return _object(value, script)
    if isinstance(value, (Mapping, list, tuple)):
        return nested(value, lambda leaf: literal(leaf, script), _is_object)
    if isinstance(value, slice):
        parts = [literal(part, script).text for part in (value.start, value.stop, value.step)]
        return Code(f"slice({', '.join(parts)})", value)
    if isinstance(value, np.generic):
        script.use("np")
        return Code(f"np.{value.dtype.name}({literal(value.item(), script).text})", value)
    if isinstance(value, keras.DTypePolicy):
        return _policy(keras.dtype_policies.serialize(value), script)
    if isinstance(value, type) or inspect.isroutine(value) or isinstance(value, np.ufunc):
        return Code(script.reference(value), value)
    if _is_array(value):
        array = keras.ops.convert_to_numpy(value)
        return Code(script.array("constant", array), array)
    if hasattr(value, "get_config"):
        return _object(keras.saving.serialize_keras_object(value), script)
    raise Unwritable(f"{value!r:.80}, a {type(value).__name__}, has no Python code")


def _plain(value: Any) -> str | None:
    if value is None or type(value) in (bool, int):
        return repr(value)
    if type(value) is str:
        return text(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    return "..." if value is Ellipsis else None


def _is_object(value: Any) -> bool:
    """Whether this is an object in Keras's serialized form."""
    return isinstance(value, Mapping) and "class_name" in value and "config" in value


def nested(
    value: Any, give: Callable[[Any], Code], is_leaf: Callable[[Any], bool] = lambda value: False
) -> Code:
    """Code for nested lists, tuples and dictionaries, with `give` for what is in them.

    Args:
        value: what is nested.
        give: the code of a leaf.
        is_leaf: tells leaves that are dictionaries themselves.

    Raises:
        Unwritable: a tuple has a class of its own, or a key is no plain value.
    """
    if is_leaf(value):
        return give(value)
    if isinstance(value, Mapping):
        pairs = [(_key(key), nested(item, give, is_leaf)) for key, item in value.items()]
        shown = ", ".join(f"{key}: {item.text}" for key, item in pairs)
        return Code(
            f"{{{shown}}}", dict(zip(value, (item.value for _, item in pairs), strict=True))
        )
    if not isinstance(value, (list, tuple)):
        return give(value)
    items = [nested(item, give, is_leaf) for item in value]
    shown = ", ".join(item.text for item in items)
    if isinstance(value, list):
        return Code(f"[{shown}]", [item.value for item in items])
    if type(value) is not tuple:
        raise Unwritable(f"a {type(value).__name__} is no plain tuple")
    return Code(f"({shown},)" if len(items) == 1 else f"({shown})", tuple(i.value for i in items))


def _key(key: Any) -> str:
    plain = _plain(key)
    if plain is None:
        raise Unwritable(f"{key!r:.80} is no plain key")
    return plain


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array__")


def data_literal(value: Any, script: Script) -> str:
    """Code for a configuration as it is: objects in it stay in Keras's serialized form."""
    return nested(value, lambda leaf: literal(leaf, script)).text


# -- objects -------------------------------------------------------------------------------------


def construct(
    wanted: Any,
    config: Mapping[str, Any],
    script: Script,
    functions: Mapping[str, Any] | None = None,
) -> Code | None:
    """A constructor call that makes an object like another; None where none does.

    Args:
        wanted: the object, made of the configuration.
        config: the configuration.
        script: what the code is for.
        functions: live functions for arguments that the configuration can only name.

    Raises:
        Unwritable: the class itself cannot be named.
    """
    cls = type(wanted)
    called, aim = script.reference(cls), comparable(wanted.get_config())
    given = {**config, **(functions or {})}
    codes: dict[str, Code] = {}
    for name, value in given.items():
        try:
            codes[name] = _argument(name, value, script)
        except Unwritable:
            continue
    parameters = _parameters(cls)
    demanded = [n for n, p in parameters.items() if p.default is p.empty and n in codes]
    try:
        defaults = _default_config(cls, config)
    except Exception:
        defaults = {}
    changed = [
        name
        for name in codes
        if name in (functions or {})
        or name not in defaults
        or comparable(defaults[name]) != comparable(config[name])
        or name in _SETTINGS
    ]
    rest = [name for name in codes if name not in (*demanded, "name")]
    order = [*demanded, *rest, *(["name"] if "name" in codes else [])]
    for names in ({*changed, *demanded, "name"}, set(codes)):
        used = [name for name in order if name in names]
        try:
            made = _make(cls, {name: codes[name].value for name in used})
            found = made.get_config()
        except Exception:
            continue
        if comparable(found) == aim:
            bare = _bare(parameters, used)
            shown = [
                codes[name].text if name in bare else f"{name}={codes[name].text}"
                for name in used
                if codes[name].text != text(_SETTINGS.get(name, ""))
            ]
            return Code(f"{called}({', '.join(shown)})", made)
    return None


# What follows from settings of the user's Keras is told unless it is what Keras comes with.
_SETTINGS = {"dtype": "float32", "data_format": "channels_last"}


def _bare(parameters: Mapping[str, inspect.Parameter], used: list[str]) -> list[str]:
    """The arguments that need no name: those that the class demands, as far as they come first."""
    found: list[str] = []
    for name, parameter in zip(used, parameters.values(), strict=False):
        demanded = parameter.default is parameter.empty
        if name != parameter.name or not demanded or parameter.kind != _POSITIONAL:
            break
        found.append(name)
    return found


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _argument(name: str, value: Any, script: Script) -> Code:
    if name == "dtype" and isinstance(value, Mapping):
        return _policy(value, script)
    return literal(value, script)


def _policy(data: Mapping[str, Any], script: Script) -> Code:
    """A dtype policy: by its name where that tells it all."""
    config = data.get("config") or {}
    name = config.get("name") or f"{config.get('mode')}_from_{config.get('source_name')}"
    try:
        told = keras.dtype_policies.serialize(keras.dtype_policies.get(name))
    except ValueError:
        return _object(data, script)
    return Code(text(name), name) if told == data else _object(data, script)


def _object(data: Mapping[str, Any], script: Script) -> Code:
    """An object in Keras's serialized form: as a constructor call, else put together by Keras."""
    name, config = data["class_name"], data["config"]
    if name == "__lambda__":
        raise Unwritable("a lambda is Python code without a name")
    bare = {key: value for key, value in data.items() if key not in _OF_LIVE}
    try:
        with keras.saving.custom_object_scope(dict(script.given)), unnoticed():
            value = keras.saving.deserialize_keras_object(copy.deepcopy(bare))
    except Exception as problem:
        raise Unwritable(f"{name!r} is not known to Keras") from problem
    if name.startswith("__") or not hasattr(value, "get_config"):
        return literal(value, script)
    if isinstance(config, Mapping) and (name, config.get("name")) in script.held:
        return Code(script.held[name, config["name"]], value)
    with unnoticed():
        made = construct(value, config, script)
    if made is not None:
        return made
    return Code(deserialized(bare, script), value)


def deserialized(data: Mapping[str, Any], script: Script) -> str:
    """Code that lets Keras put an object together from its serialized form."""
    shown = data_literal(data, script)
    objects = _custom_in(data, script)
    shown += f", custom_objects={objects}" if objects else ""
    return f"keras.saving.deserialize_keras_object({shown})"


_OF_LIVE = ("build_config", "compile_config")  # what a serialized object tells beside its arguments


def _custom_in(data: Any, script: Script) -> str:
    """The objects that are not Keras's in a configuration, as a dictionary by their names."""
    found: dict[str, str] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Mapping):
            name, module = value.get("registered_name"), value.get("module")
            if isinstance(name, str) and not str(module).startswith("keras"):
                known = keras.saving.get_registered_object(name, script.given)
                known = known or found_in(module, value.get("class_name"))
                if known is not None:
                    found[name] = script.reference(known)
            for item in value.values():
                visit(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)

    visit(data)
    pairs = ", ".join(f"{text(name)}: {code}" for name, code in found.items())
    return f"{{{pairs}}}" if pairs else ""


def unnoticed() -> contextlib.ExitStack:
    """Objects made inside have no values, and no random number is drawn for them."""
    stack = contextlib.ExitStack()
    stack.enter_context(_keras.preserved_random())
    stack.enter_context(_keras.deferred())
    return stack


def _make(cls: type, arguments: Mapping[str, Any]) -> Any:
    return _keras.with_values_if_needed(lambda: cls(**arguments))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The arguments of a constructor."""
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def comparable(value: Any) -> Any:
    """A value of a configuration so that it equals that of an equal object, built or not."""
    if isinstance(value, keras.DTypePolicy):
        value = keras.dtype_policies.serialize(value)
    if isinstance(value, Mapping):
        if _is_object(value):
            config = comparable(value["config"])
            return [value["class_name"], config if isinstance(config, (str, dict)) else {}]
        return {str(key): comparable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if _is_array(value):
        array = keras.ops.convert_to_numpy(value)
        return [array.dtype.name, array.tolist()]
    if isinstance(value, float):
        return repr(value)
    if hasattr(value, "get_config") and not isinstance(value, type):
        return [type(value).__name__, comparable(value.get_config())]
    return value


# -- layers --------------------------------------------------------------------------------------


def layer_literal(
    spec: LayerSpec,
    script: Script,
    trainable: bool = True,
    held: Mapping[tuple[str, str], str] | None = None,
) -> str:
    """Code that makes a layer of a spec, without its weights.

    Args:
        spec: of a layer or an input, or of a model that its own class makes.
        script: what the code is for.
        trainable: the flag that it is made with.
        held: layers that it is given, by class and name, and the code for them.

    Raises:
        StructureError: it holds something that no code stands for.
    """
    try:
        if spec.kind == "input":
            return _input(spec, script)
        if isinstance(spec.prototype, keras.layers.Lambda):
            return _lambda(spec, script, trainable)
        script.held = held or {}
        return _layer(spec, script, trainable)
    except Unwritable as problem:
        raise StructureError(
            f"The layer '{spec.name}' ({spec.cls.__name__}) cannot be written as code: {problem}. "
            "Use a function or class that a module has under its name, or replace the layer."
        ) from problem
    finally:
        script.held = {}


def _layer(spec: LayerSpec, script: Script, trainable: bool) -> str:
    config = {**(spec.config or {})} if spec.net is None else _config_of(spec.prototype)
    config["name"] = spec.name
    if "trainable" in config:
        config["trainable"] = trainable
    with unnoticed():
        wanted = make_layer(replace(spec, config=config), script.given)
        made = construct(wanted, config, script, spec.functions)
        if made is not None:
            return made.text
        if spec.functions:
            given = ", ".join(spec.functions)
            raise Unwritable(f"it does not take what was given for {given} in its constructor")
        data = keras.saving.serialize_keras_object(wanted)
    return deserialized({k: v for k, v in data.items() if k not in _OF_LIVE}, script)


def _config_of(model: Any) -> dict[str, Any]:
    try:
        return {**model.get_config()}
    except Exception as problem:
        raise Unwritable(
            f"its class does not tell its configuration. {reason(problem)}"
        ) from problem


def _lambda(spec: LayerSpec, script: Script, trainable: bool) -> str:
    given = _keras.lambda_arguments(spec.prototype)
    shown = [literal(given.pop("function"), script).text]
    shown += [f"{k}={literal(v, script).text}" for k, v in given.items() if v not in (None, {})]
    policy = _argument("dtype", (spec.config or {})["dtype"], script).text
    shown += [f"dtype={policy}"] if policy != text(_SETTINGS["dtype"]) else []
    shown += [] if trainable else ["trainable=False"]
    script.use("layers")
    return f"layers.Lambda({', '.join([*shown, f'name={text(spec.name)}'])})"


def _input(spec: LayerSpec, script: Script) -> str:
    config = dict(spec.config or {})
    batch, *shape = config.pop("batch_shape")
    whole = tuple(shape) if batch is None else (batch, *shape)
    shown = [f"{'shape' if batch is None else 'batch_shape'}={literal(whole, script).text}"]
    if config.pop("dtype") != _SETTINGS["dtype"]:
        shown.append(f"dtype={literal((spec.config or {})['dtype'], script).text}")
    shown += [f"{key}=True" for key in ("sparse", "ragged", "optional") if config.get(key)]
    return f"keras.Input({', '.join([*shown, f'name={text(spec.name)}'])})"


# -- the short form ------------------------------------------------------------------------------


def layer_code(layer: Any) -> str:
    """The constructor call of a layer in short, with the arguments that differ from their defaults."""
    cls = type(layer)
    if isinstance(layer, keras.Model):
        return layer.name if layer.name.isidentifier() else "model"
    try:
        config = layer.get_config()
        defaults = _default_config(cls, config)
    except Exception:
        return f"{cls.__name__}(...)"
    shown = []
    for name, value in config.items():
        if name in ("name", "dtype", "trainable") or defaults.get(name, _MISSING) == value:
            continue
        code = config_code(value)
        if code is not None:
            shown.append(f"{name}={code}")
    if not is_automatic(layer.name, cls.__name__):
        shown.append(f"name={layer.name!r}")
    module = "layers." if getattr(keras.layers, cls.__name__, None) is cls else ""
    return f"{module}{cls.__name__}({', '.join(shown)})"


_MISSING = object()


def _default_config(cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of an object made with only the arguments that its class demands."""
    demanded = {
        name: config[name]
        for name, parameter in _parameters(cls).items()
        if parameter.default is parameter.empty and name in config
    }
    named = {"name": "default"} if issubclass(cls, keras.Layer) else {}
    arguments = {**copy.deepcopy(demanded), **named}
    with unnoticed():
        try:
            made = cls.from_config(arguments)
        except Exception:  # some need all of a configuration
            made = cls(**arguments)
    return {key: value for key, value in made.get_config().items() if key not in demanded}


def config_code(value: Any) -> str | None:
    """Short Python code for a value of a configuration; None where it has none."""
    if callable(value):
        return getattr(value, "__name__", None)
    if isinstance(value, Mapping):
        if "class_name" not in value:
            return repr(dict(value))
        inner = value.get("config")
        if isinstance(inner, str):  # a function by its registered name
            return repr(inner)
        if not isinstance(inner, Mapping):  # whatever somebody typed
            inner = {}
        given = {k: v for k, v in inner.items() if v is not None and k not in ("name", "dtype")}
        arguments = ", ".join(f"{k}={config_code(v)}" for k, v in given.items())
        module = str(value.get("module") or _module_of(value["class_name"]))
        name = f"keras.{module.removeprefix('keras.')}.{value['class_name']}"
        return f"{name}({arguments})" if module else None
    return repr(value)


def _module_of(class_name: Any) -> str:
    """The module of Keras that has a class told by its name alone, as a person may."""
    modules = (keras.initializers, keras.regularizers, keras.constraints, keras.layers)
    found = [m for m in modules if isinstance(class_name, str) and hasattr(m, class_name)]
    return found[0].__name__.rpartition(".")[2] if found else ""
