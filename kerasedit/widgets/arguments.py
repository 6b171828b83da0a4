"""What the widget's form shows of the arguments of one layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from ..edits.layers import why_fixed
from ..palette import named_objects, params_of
from .detail import Reply, asked_path

if TYPE_CHECKING:
    from ..editor import Editor

# Characters of JSON: what takes more (a vocabulary, say) is not for a field of a form.
MAX_VALUE = 2000

_MODULES = {
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
    "keras.constraints": keras.constraints,
}
# They have edits of their own.
_NOT_HERE = ("name", "trainable")


def tell_arguments(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The arguments of a layer as the palette has them; as default the values that they have now."""
    with editor.lock:
        path = asked_path(editor, message)
        spec = editor.graph.layers[editor.graph.by_path[path].layer]
        reply: dict[str, Any] = {
            "path": path,
            "class_name": spec.cls.__name__,
            "revision": editor.revision,
        }
        if fixed := why_fixed(spec, path):
            return {**reply, "params": [], "left_out": [], "fixed": fixed}, []
        params = {param["name"]: param for param in params_of(spec.cls)}
        config = spec.config or {}
    found, left_out = [], []
    for name in dict.fromkeys([*params, *config]):
        if name in _NOT_HERE:
            continue
        param = params.get(name, _UNKNOWN)
        value = shown_value(config[name]) if name in config else param["default"]
        if _fits_a_field(value):
            found.append(_with_value(name, param, value))
        else:
            left_out.append(name)
    return {**reply, "params": found, "left_out": left_out, "fixed": None}, []


_UNKNOWN = {"type": "json", "default": None, "choices": None, "doc": ""}


def shown_value(value: Any) -> Any:
    """A value of a configuration as a person would type it.

    Keras's own objects with default arguments go by their names, others of them by class and
    arguments alone.
    """
    if isinstance(value, (list, tuple)):
        return list(map(shown_value, value))
    if not isinstance(value, Mapping):
        return value
    module, config = value.get("module"), value.get("config")
    if module == "keras" and value.get("class_name") == "DTypePolicy" and isinstance(config, dict):
        return config.get("name")
    if module not in _MODULES or value.get("registered_name") is not None:
        # What a layer inside was built for is no argument.
        return {key: item for key, item in value.items() if key != "build_config"}
    try:
        name = named_objects(_MODULES[module]).get(json.dumps(value, sort_keys=True))
    except (TypeError, ValueError):
        return value
    return name or {"class_name": value.get("class_name"), "config": config}


def _fits_a_field(value: Any) -> bool:
    try:
        return len(json.dumps(value, allow_nan=False)) <= MAX_VALUE
    except (TypeError, ValueError, RecursionError):
        return False


def _with_value(name: str, param: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """An argument as it is now. It need not be given, and keeps its value where it can be typed."""
    fits = _FITS[param["type"]](value) if param["type"] in _FITS else value in param["choices"]
    numbers = isinstance(value, list) and all(map(_is_number, value))
    kind = param["type"] if fits else "tuple" if numbers else "json"
    return {**param, "name": name, "type": kind, "default": value, "required": False}


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


_FITS = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: _is_number(value) and not isinstance(value, float),
    "float": _is_number,
    "str": lambda value: value is None or isinstance(value, str),
    "tuple": lambda v: _is_number(v) or (isinstance(v, list) and all(map(_is_number, v))),
    "json": lambda value: True,
}
