"""Configurations as plain data, and in which keys two of them differ."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import keras
import numpy as np

from ..graph.model_graph import LayerSpec

_OWN = ("name", "trainable")  # told apart: as a renaming and as a flag


@dataclass(frozen=True)
class ConfigChange:
    """A key of a configuration (`"kernel_regularizer.l2"`: inside of one) and its values, as JSON.

    A key that a side does not have is None there.
    """

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        old, new = in_words(self.before), in_words(self.after)
        if old == new:  # functions of one name
            return f"{self.key}: another {new}"
        return f"{self.key}: {old} -> {new}"


def config_of(spec: LayerSpec) -> dict[str, Any]:
    """The configuration of a layer or op as plain data, without its name and flag."""
    if spec.kind == "op":
        config = _op_config(spec.prototype)
    else:
        config = {**(spec.config or {}), **spec.functions}
        if isinstance(spec.prototype, keras.layers.Lambda):
            config["function"] = spec.prototype.function
    return {key: plain(value) for key, value in config.items() if key not in _OWN}


def _op_config(op: Any) -> dict[str, Any]:
    try:
        return op.get_config()
    except Exception:  # an op need not be able to tell
        return {}


def plain(value: Any) -> Any:
    """A value of a configuration as JSON can hold it, the same for a live model and a loaded one.

    A serialized object keeps its class and arguments, a function is told by its name and a digest of
    its code, a dtype policy by its name.
    """
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, keras.DTypePolicy):
        return value.name
    if inspect.isfunction(value):
        return {"function": value.__name__, "code": _digest(value)}
    if hasattr(value, "get_config"):
        return plain({"class_name": type(value).__name__, "config": value.get_config()})
    return getattr(value, "__name__", None) or f"<{type(value).__name__}>"


def _plain_mapping(value: Mapping[Any, Any]) -> Any:
    if not _is_object(value):
        return {str(key): plain(item) for key, item in value.items()}
    name, config = value["class_name"], value["config"]
    if name == "__lambda__":
        code = hashlib.blake2b(repr(config).encode(), digest_size=4).hexdigest()
        return {"function": "<lambda>", "code": code}
    if not isinstance(config, Mapping):  # a function, by its name
        return plain(config)
    if name.endswith("DTypePolicy"):
        return config.get("name") or f"{config.get('mode')}_from_{config.get('source_name')}"
    # A layer in a layer has a name of no consequence.
    left_out = _OWN if "trainable" in config else ()
    inner = {str(key): plain(item) for key, item in config.items() if key not in left_out}
    return {"class_name": name, "config": inner}


def _digest(function: Any) -> str:
    """A few digits that tell code apart, wherever and at which line it was written."""
    digest = hashlib.blake2b(digest_size=4)

    def add(code: CodeType) -> None:
        digest.update(code.co_code + repr(code.co_names).encode())
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                add(constant)
            else:
                digest.update(repr(constant).encode())

    add(function.__code__)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    kept = [*(function.__defaults__ or ()), *cells]
    digest.update(repr([v for v in kept if isinstance(v, (bool, int, float, str))]).encode())
    return digest.hexdigest()


def changes(before: Any, after: Any, key: str = "") -> Iterator[ConfigChange]:
    """Where two plain configurations differ, as deep inside as they are alike around it."""
    if _same(before, after):
        return
    parts = _parts(before, after)
    if parts is None:
        yield ConfigChange(key, before, after)
        return
    old, new = parts
    for name in dict.fromkeys((*old, *new)):
        inner = f"{key}.{name}" if key else name
        yield from changes(old.get(name), new.get(name), inner)


def _same(before: Any, after: Any) -> bool:
    """NaN is NaN, and a list of one is that one: some layers make lists of axes when built."""
    if isinstance(before, list) != isinstance(after, list):
        return (after if isinstance(after, list) else [after]) == (
            before if isinstance(before, list) else [before]
        )
    return before == after or (before != before and after != after)


def _parts(before: Any, after: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """What to look into where two values are of one kind."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return None
    if _is_object(before) and _is_object(after):
        same = before["class_name"] == after["class_name"]
        return (before["config"], after["config"]) if same else None
    whole = any(_is_object(value) or _is_function(value) for value in (before, after))
    return None if whole else (before, after)


def _is_object(value: Mapping[Any, Any]) -> bool:
    """Whether this is an object in Keras's serialized form."""
    return "class_name" in value and "config" in value


def _is_function(value: Mapping[Any, Any]) -> bool:
    """Whether this tells a function, as `plain` does."""
    return value.keys() == {"function", "code"}


def in_words(value: Any) -> str:
    """A plain value of a configuration, short: `tanh`, `L2(l2=0.01)`, `[3, 3]`."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_words, value))}]"
    if not isinstance(value, Mapping):
        return str(value)
    if _is_function(value):
        return str(value["function"])
    whole = _is_object(value)
    items = value["config"] if whole else value
    inside = ", ".join(f"{k}={in_words(v)}" for k, v in items.items() if v is not None)
    return f"{value['class_name']}({inside})" if whole else f"{{{inside}}}"
