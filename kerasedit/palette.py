"""Which layers can be put in, what arguments they take, and how one is made from JSON.

JSON may come from a browser or a recipe that nobody vouches for, so nothing of it is evaluated or
imported: a class is looked up among the palette's, and nested objects (initializers, wrapped layers)
among Keras's own and those that were registered.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import keras

from . import _keras
from .errors import EditError, reason
from .names import snake_case

# They hold code, or read it from a file.
_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}

# Not for the palette: also what stands for something that an editor does otherwise.
_EXCLUDED = {*_CODE, "InputLayer", "Layer", "Wrapper", "Functional", "Sequential", "Model"}

# Modules of what a layer's arguments may hold; the names in them are Keras's public ones.
_MODULES = {
    "keras",
    "keras.layers",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.activations",
    "keras.dtype_policies",
    "keras.quantizers",
}

# What Keras writes for values that JSON has no word for.
_VALUES = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__slice__",
    "__ellipsis__",
}
_FILES = ("vocabulary", "filepath")  # arguments by which a layer can be given a file
_DEEPEST = 40
_LARGEST = 2**63  # a seed, at most

_CHOICES: dict[str, list[Any]] = {
    "padding": ["valid", "same"],
    "data_format": [None, "channels_last", "channels_first"],
    "interpolation": ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"],
}

# What has names among the values of arguments that end so.
_NAMED = {
    "_initializer": keras.initializers,
    "_regularizer": keras.regularizers,
    "_constraint": keras.constraints,
}
_DTYPES = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")

# What every layer takes, named by its class or not.
_INHERITED = {
    "name": "The name of the layer; a free one is chosen if none is given.",
    "dtype": "The dtype of the layer's computations and weights: its name, or that of a policy.",
}

_FAMILIES = {
    "core": "core",
    "convolutional": "conv",
    "pooling": "pool",
    "normalization": "norm",
    "activations": "activation",
    "regularization": "regularization",
    "merging": "merge",
    "reshaping": "reshape",
    "rnn": "rnn",
    "attention": "attention",
    "preprocessing": "preprocessing",
}


def family_of(cls: type, kind: str = "layer") -> str:
    """The family of a layer class, by the part of Keras that it comes from."""
    if kind in ("input", "op", "model"):
        return kind
    parts = cls.__module__.split(".")
    if parts[:3] == ["keras", "src", "layers"] and len(parts) > 3:
        return _FAMILIES.get(parts[3], "core")
    return "custom"


def palette_classes(custom_objects: Mapping[str, Any] | None = None) -> dict[str, type]:
    """Every layer class that can be put in, by name: Keras's own and the registered custom ones."""
    found: dict[str, type] = {}
    for name, cls in vars(keras.layers).items():
        if inspect.isclass(cls) and issubclass(cls, keras.Layer) and name not in _EXCLUDED:
            # Of a class with aliases (`AvgPool2D`) the name is taken that it has itself.
            alias = getattr(keras.layers, cls.__name__, None) is cls and cls.__name__ != name
            if not alias:
                found[name] = cls
    for cls in filter(_is_layer, keras.saving.get_custom_objects().values()):
        full_name = keras.saving.get_registered_name(cls)
        # `keras_hub>RMSNormalization` must not stand where Keras's own layer of that name does.
        short = full_name.rsplit(">", 1)[-1]
        found[full_name if found.get(short, cls) is not cls else short] = cls
    for name, cls in (custom_objects or {}).items():
        if _is_layer(cls):
            found[name.rsplit(">", 1)[-1]] = cls  # given by hand: meant to go first
    return dict(sorted(found.items()))


def _is_layer(cls: Any) -> bool:
    return (
        inspect.isclass(cls) and issubclass(cls, keras.Layer) and not issubclass(cls, keras.Model)
    )


def palette(custom_objects: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The palette as JSON: `{class_name, family, doc, params}` for each class."""
    return [
        {
            "class_name": name,
            "family": family_of(cls),
            "doc": _first_sentence(inspect.getdoc(cls)),
            "params": params_of(cls),
        }
        for name, cls in palette_classes(custom_objects).items()
    ]


def params_of(cls: type) -> list[dict[str, Any]]:
    """The constructor's arguments: `{name, type, default, required, choices, doc}`.

    `choices` are all there are where `type` is `"choice"`; elsewhere they are what one may think of.
    """
    docs = _argument_docs(inspect.getdoc(cls) or "")
    found, passes_on = [], False
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        passes_on |= parameter.kind is parameter.VAR_KEYWORD
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is inspect.Parameter.empty
        default = None if required else _as_json(parameter.default)
        found.append(_param(name, default, required, docs.get(name, "")))
    known = {param["name"] for param in found}
    return found + [
        _param(name, None, False, doc)
        for name, doc in _INHERITED.items()
        if name not in known and (passes_on or name == "name")
    ]


def _param(name: str, default: Any, required: bool, doc: str) -> dict[str, Any]:
    kind, choices = "choice", _choices(name, default, doc)
    if choices is None:
        kind, choices = _type_of(name, default, doc), _suggestions(name, default, doc)
    return {
        "name": name,
        "type": kind,
        "default": default,
        "required": required,
        "choices": choices,
        "doc": doc,
    }


def _choices(name: str, default: Any, doc: str) -> list[Any] | None:
    """All values that an argument takes; None where there are others."""
    if name == "activation" or name.endswith("_activation"):
        return [None, *_public(keras.activations)]
    choices = _CHOICES.get(name)
    if choices is None or (default is not None and default not in choices):
        return None  # `padding` of ZeroPadding2D is another thing
    return [*choices, "causal"] if name == "padding" and '"causal"' in doc else choices


def _suggestions(name: str, default: Any, doc: str) -> list[Any] | None:
    """The values of an argument that have names, where others can be told as JSON."""
    if name == "dtype":
        return [None, *_DTYPES]
    for suffix, module in _NAMED.items():
        if name.endswith(suffix):
            # Without a default Keras chooses, or there is none.
            optional = [None] if default is None else []
            return [*optional, *dict.fromkeys(named_objects(module).values())]
    named = list(dict.fromkeys(re.findall(r'"(\w+)"', doc)))
    return named if default in named and len(named) > 1 else None


@functools.cache
def named_objects(module: Any) -> dict[str, str]:
    """The names of what a module of Keras makes without arguments, by the JSON of it."""
    found: dict[str, str] = {}
    for name in _public(module):
        try:
            made = module.serialize(module.get(name)) if name == name.lower() else None
        except Exception:
            continue  # it takes arguments, which a name alone cannot give
        if made is not None:
            key = json.dumps(made, sort_keys=True)
            # Of several names the one that the class has.
            if key not in found or name == snake_case(made["class_name"]):
                found[key] = name
    return found


def _public(module: Any) -> list[str]:
    hidden = {"get", "serialize", "deserialize"}
    return sorted(
        n
        for n, item in vars(module).items()
        if callable(item) and not n.startswith("_") and n not in hidden
    )


def _type_of(name: str, default: Any, doc: str) -> str:
    if name.endswith(tuple(_NAMED)):
        return "json"  # by name, or told whole
    if isinstance(default, bool):
        return "bool"
    if isinstance(default, int):
        return "int"
    if isinstance(default, float):
        return "float"
    if isinstance(default, str):
        return "str"
    if isinstance(default, list):
        return "json" if any(isinstance(item, list) for item in default) else "tuple"
    start = doc.lower()[:60]
    for word, kind in (
        ("tuple", "tuple"),
        ("list", "tuple"),
        ("int", "int"),
        ("float", "float"),
        ("bool", "bool"),
        ("str", "str"),
        ("number", "float"),
    ):
        if re.search(rf"\b{word}", start):
            return kind
    return "str" if name in _INHERITED else "json"


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def _first_sentence(doc: str | None) -> str:
    text = " ".join((doc or "").split("\n\n")[0].split())
    return text[:300]


def _argument_docs(doc: str) -> dict[str, str]:
    """The `Args:` section of a Keras docstring, by argument."""
    section = re.search(r"^Arg(?:s|uments):\n(.*?)(?=^\S|\Z)", doc, re.S | re.M)
    if section is None:
        return {}
    found: dict[str, str] = {}
    for match in re.finditer(r"^ {2,4}(\w+):(.*?)(?=^ {2,4}\w+:|\Z)", section[1], re.S | re.M):
        found[match[1]] = " ".join(match[2].split())[:400]
    return found


def read_layer(
    item: Any,
    classes: Mapping[str, type],
    custom_objects: Mapping[str, Any] | None = None,
) -> keras.Layer:
    """A layer from its JSON: `{"class_name": "Dropout", "config": {"rate": 0.25}}`.

    Args:
        item: the JSON.
        classes: the classes that are let in, by name.
        custom_objects: classes and functions that the configuration may name.

    Raises:
        EditError: it names another class, or holds anything that would have to be run or imported.
    """
    name, config = item.get("class_name"), item.get("config", {})
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise EditError("A layer of a block is an object with 'class_name' and 'config'.")
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        cls = _class_of(item, name, classes)
        check_harmless(config)
        try:
            # Without a name of its own the automatic one is taken without a number, so that a mere
            # preview does not use up the numbers that Keras counts.
            named = {"name": snake_case(cls.__name__), **_with_nested(config, classes)}
            return _keras.with_values_if_needed(lambda: cls.from_config(dict(named)))
        except EditError:
            raise
        except Exception as problem:
            raise EditError(
                f"{name} cannot be made with these arguments: {reason(problem)}"
            ) from problem


def _class_of(item: Mapping[str, Any], name: str, classes: Mapping[str, type]) -> type:
    """The class of a layer: the registered one that is named, else Keras's own, else by name alone."""
    registered = item.get("registered_name")
    if isinstance(registered, str):
        cls = keras.saving.get_registered_object(registered)
        if cls is not None and cls in classes.values():
            return cls
    own = getattr(keras.layers, name, None) if item.get("module") == "keras.layers" else None
    cls = own if name not in _EXCLUDED and inspect.isclass(own) else classes.get(name)
    if cls is None:
        raise EditError(
            f"There is no layer class {name!r:.80} to put in. One of your own has to be registered "
            "with keras.saving.register_keras_serializable, or given in custom_objects=."
        )
    return cls


def _with_nested(value: Any, classes: Mapping[str, type]) -> Any:
    """Nested layers (of a wrapper) may be told by class and config alone."""
    if isinstance(value, list):
        return [_with_nested(item, classes) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: _with_nested(item, classes) for key, item in value.items()}
    if found.get("class_name") in classes and "module" not in found and "config" in found:
        found = {"module": "keras.layers", "registered_name": None, **found}
    return found


def check_harmless(value: Any, depth: int = 0) -> None:
    """Refuses what deserialization would import or run, and what is beyond all measure.

    What may be named of the user's own is what was registered with Keras, and what the
    `keras.saving.custom_object_scope` in force has.

    Raises:
        EditError: a module outside Keras's own, a serialized function, a file, a nesting without end.
    """
    if depth > _DEEPEST:
        raise EditError("The arguments are nested too deeply.")
    if isinstance(value, Mapping):
        if "class_name" in value:
            _check_named(value)
        for name in _FILES:
            if isinstance(value.get(name), str):
                raise EditError(f"No file is read for '{name}'; a vocabulary is given as a list.")
        for item in value.values():
            check_harmless(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_harmless(item, depth + 1)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise EditError("A number in the arguments is too large.")


def _check_named(value: Mapping[str, Any]) -> None:
    """Refuses an object or function that must not be made of data."""
    name, module = value["class_name"], value.get("module")
    if name == "function":
        if not _is_known_function(value.get("config"), module):
            raise EditError(
                f"The function {value.get('config')!r:.80} cannot be told as data. Register it with "
                "keras.saving.register_keras_serializable, or give it in custom_objects=."
            )
    elif _registered(value.get("registered_name", name)) is not None:
        return  # Keras takes that, whatever else is told
    elif name == "__numpy__":
        _check_array(value.get("config"))
    elif not isinstance(name, str) or name in _CODE or _is_reserved(name):
        raise EditError("Functions and layers that hold code cannot be given as data.")
    elif module is not None and not _is_keras(module, name):
        raise EditError(f"Nothing is taken from the module {module!r:.80}.")


def _check_array(config: Any) -> None:
    """Refuses an array of objects, or of a dtype that Keras would not write."""
    dtype = config.get("dtype") if isinstance(config, Mapping) else None
    try:
        known = isinstance(dtype, str) and keras.backend.standardize_dtype(dtype) == dtype
    except ValueError:
        known = False
    if not known:
        raise EditError(f"There is no dtype {dtype!r:.80} for an array in the arguments.")


def _is_reserved(name: str) -> bool:
    return name.startswith("__") and name not in _VALUES


def _registered(name: Any) -> Any | None:
    return keras.saving.get_registered_object(name) if isinstance(name, str) else None


def _is_known_function(name: Any, module: Any) -> bool:
    """Whether a function was registered, or is one of Keras's that take tensors."""
    if _registered(name) is not None:
        return True
    return module == "keras.activations" and name in _public(keras.activations)


def _is_keras(module: Any, name: str) -> bool:
    """Whether a module has such a class of Keras that is but data: a layer, an initializer, an op."""
    if not isinstance(module, str):
        return False
    if module == "keras.src.models.functional":
        return name == "Functional"
    if module.startswith("keras.src."):
        op = _keras.op_classes().get(f"{module.rpartition('.')[2]}.{name}")
        return op is not None and op.__module__ == module
    if module not in _MODULES:
        return False
    holder = functools.reduce(getattr, module.split(".")[1:], keras)
    return inspect.isclass(getattr(holder, name, None))
