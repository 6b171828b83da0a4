"""What the front end draws of a model file: the rows that `widgets/rows.py` makes of an editor, made
of what the file says. See docs/protocol.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ModelFileError
from ..names import cut, visible
from .classes import HOLD_CODE
from .container import Contents
from .layers import MAX_TEXT, Layer, Model, Net, Tensor
from .shapes import infer_shapes
from .weights import Found, Weight

_FIXED = "A file, not a model in a kernel: it can be looked at, and nothing of it changed."
_OPAQUE = (
    "A model of a class of its own, {}: the file tells which weights it has, and not what is made "
    "of them."
)
MAX_VALUE = 2000  # characters of JSON: what takes more is not for a field of a form
_MAX_LISTED = 100


@dataclass
class Place:
    """A layer where it stands, with what the configuration does not tell of it."""

    path: str
    level: int
    layer: Layer
    trains: bool
    weights: list[Weight]


def find_places(model: Model, found: Found) -> tuple[list[Place], list[dict[str, Any]]]:
    """Every layer in data order, nested ones after their model; and the rows of them as JSON.

    Args:
        model: what the configuration tells.
        found: the weights of each layer, by path.

    Raises:
        ModelFileError: the paths of its layers would take too much room.
    """
    maker = _Maker(found)
    if model.opaque:
        layers = [Layer(p, "layer", "Layer", "custom", {}, True, calls=[[]]) for p in found]
        maker.net(Net(layers, []), "", 1, model.trainable)
    else:
        infer_shapes(model.net)
        maker.net(model.net, "", 1, model.trainable)
    return maker.places, maker.rows


class _Maker:
    def __init__(self, found: Found) -> None:
        self._found = found
        self._text = 0
        self.places: list[Place] = []
        self.rows: list[dict[str, Any]] = []

    def net(self, net: Net, prefix: str, level: int, trains: bool) -> dict[str, int]:
        """Adds the rows of a model's layers; the number of each by name."""
        results = {tensor.layer for tensor in net.results}
        shown = _needed(net)
        numbers: dict[str, int] = {}
        for layer in shown:
            number = numbers[layer.name] = len(self.rows)
            path = prefix + layer.name
            self._text += len(path)
            if self._text > MAX_TEXT:
                raise ModelFileError("The names in the file are longer than any model's.")
            place = Place(path, level, layer, trains and layer.trainable, self._found.get(path, []))
            row = _row(place)
            if layer.name in results:
                row["marks"].append("output")
            self.places.append(place)
            self.rows.append(row)
            if layer.net is not None:
                inside = self.net(layer.net, f"{path}/", level + 1, place.trains)
                row["outputs"] = [
                    [inside[tensor.layer] - number, tensor.output]
                    for tensor in layer.net.results
                    if tensor.layer in inside
                ]
                self._add_up(row, number)
        for layer in shown:
            row, number = self.rows[numbers[layer.name]], numbers[layer.name]
            tensors = [t for t in _takes(layer) if t.layer in numbers]
            row["inputs"] = [number - numbers[tensor.layer] for tensor in tensors]
            if any(tensor.output for tensor in tensors):
                row["ports"] = [tensor.output for tensor in tensors]
        return numbers

    def _add_up(self, row: dict[str, Any], number: int) -> None:
        """A model has the weights of all that is inside it."""
        inside = [r for r in self.rows[number + 1 :] if r["kind"] != "model"]
        for name in ("params", "trainable_params", "weights"):
            row[name] = sum(other[name] for other in inside)


def _row(place: Place) -> dict[str, Any]:
    layer, weights = place.layer, place.weights
    outputs = [layer.outputs[number] for number in sorted(layer.outputs)]
    shapes = [shape for shape, _ in outputs]
    marks = []
    if len(layer.calls) > 1:
        marks.append("shared")
    policy = layer.config.get("dtype")
    if isinstance(policy, Mapping) and "Quantized" in str(policy.get("class_name")):
        marks.append("quantized")
    if layer.kind == "op":
        marks.append("op")
    return {
        "path": place.path,
        "name": layer.name,
        "level": place.level,
        "kind": layer.kind,
        "class_name": layer.class_name,
        "family": layer.family,
        "shape": "" if None in shapes else "; ".join(map(str, shapes)),
        "dtype": outputs[0][1] if outputs else "",
        "params": sum(weight.size for weight in weights),
        "trainable": place.trains if layer.kind in ("layer", "model") else None,
        "trainable_params": sum(w.size for w in weights if place.trains and w.trained),
        "weights": len(weights),
        "marks": marks,
        "calls": max(1, len(layer.calls)),
        "title": f"{layer.class_name} {place.path}",
        "status": "",
    }


def _takes(layer: Layer) -> list[Tensor]:
    """The different tensors that a layer takes, over all its calls."""
    return list(dict.fromkeys(tensor for call in layer.calls for tensor in call))


def _needed(net: Net) -> list[Layer]:
    """The layers of a model without the ops that reckon masks which Keras implies.

    They are saved, for want of a mark that tells them apart from those that a person made. An implied
    mask comes by ops alone from what goes into a layer that makes masks.
    """
    if not any(layer.masks for layer in net.layers):
        return net.layers
    masked = {
        tensor.layer
        for layer in net.layers
        if layer.class_name == "Masking" or layer.config.get("mask_zero") is True
        for tensor in _takes(layer)
    }
    implied: dict[str, bool] = {}

    def is_implied(name: str) -> bool:
        """Whether it is an op of which nothing comes but masks."""
        if name not in implied:
            layer = net.by_name[name]
            implied[name] = False  # while it is looked at
            implied[name] = layer.kind == "op" and all(
                tensor.layer in masked or is_implied(tensor.layer) for tensor in _takes(layer)
            )
        return implied[name]

    used = {tensor.layer for tensor in net.results}
    for layer in reversed(net.layers):
        if layer.kind == "input" or layer.name in used or layer.kind != "op":
            used.update(tensor.layer for tensor in _takes(layer))
            used.update(t.layer for t in layer.masks if not is_implied(t.layer))
    return [layer for layer in net.layers if layer.kind != "op" or layer.name in used]


def make_info(model: Model, places: list[Place], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the bar shows: `info` of docs/protocol.md, for a model that cannot be edited."""
    weights = [(place, weight) for place in places for weight in place.weights]
    params = sum(weight.size for _, weight in weights)
    trainable = sum(weight.size for place, weight in weights if place.trains and weight.trained)
    return {
        "name": model.name,
        "class_name": model.class_name,
        "params": params,
        "trainable": trainable,
        "frozen": params - trainable,
        "bytes": sum(weight.nbytes for _, weight in weights),
        "layers": len(rows),
        "done": 0,
        "undone": 0,
        "can_undo": False,
        "can_redo": False,
        "undo_label": "",
        "redo_label": "",
        "editable": False,
        "reason": _FIXED,
        "variable": "",
    }


def make_metadata(contents: Contents, model: Model, places: list[Place]) -> dict[str, Any]:
    """What the file says of itself: `{format, keras_version, date_saved, compiled, optimizer, loss,
    unsafe, custom, notes}`.

    `unsafe` are the layers that hold code, which is run only where the file is trusted; `custom` are
    the classes that are not Keras's own and have to be registered before the file is loaded.
    """
    compiled = contents.compiled if isinstance(contents.compiled, Mapping) else {}
    custom = [place.layer.class_name for place in places if place.layer.custom]
    notes = [contents.note] if contents.note else []
    if model.opaque:
        custom = [model.class_name]
        notes.append(_OPAQUE.format(cut(model.class_name, 100)))
    return {
        "format": contents.format,
        "keras_version": contents.metadata.get("keras_version"),
        "date_saved": contents.metadata.get("date_saved"),
        "compiled": bool(compiled),
        "optimizer": _named(compiled.get("optimizer", compiled.get("optimizer_config"))),
        "loss": _named(compiled.get("loss")),
        "unsafe": [place.path for place in places if _holds_code(place.layer)][:_MAX_LISTED],
        "custom": list(dict.fromkeys(custom))[:_MAX_LISTED],
        "notes": notes,
    }


def _named(told: Any) -> str | None:
    """An optimizer or a loss by its name; None where there is none, or several."""
    if isinstance(told, Mapping):
        told = told.get("class_name", told.get("config"))
    return cut(visible(told), 100) if isinstance(told, str) and told else None


def _holds_code(layer: Layer) -> bool:
    """Whether loading a layer would run what the file holds."""
    if layer.net is not None:
        return False  # the layers inside tell it themselves
    return layer.class_name in HOLD_CODE or any(
        name in HOLD_CODE or name == "__lambda__" for name in _classes_in(layer.config)
    )


def _classes_in(value: Any) -> Iterator[str]:
    """The classes that a configuration names."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_name"), str):
            yield value["class_name"]
        for item in value.values():
            yield from _classes_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _classes_in(item)


def make_arguments(place: Place) -> dict[str, Any]:
    """The arguments of a layer as the file has them, in the form of the widget's `arguments`."""
    params, left_out = [], []
    for name, value in place.layer.config.items():
        if name in ("name", "trainable"):
            continue
        shown = _shown(value)
        try:
            fits = len(json.dumps(shown, allow_nan=False)) <= MAX_VALUE
        except ValueError:
            fits = False
        if not fits or len(name) > 100:
            left_out.append(cut(name, 100))
            continue
        params.append(
            {
                "name": name,
                "type": _type_of(shown),
                "default": shown,
                "required": False,
                "choices": None,
                "doc": "",
            }
        )
    return {
        "path": place.path,
        "class_name": place.layer.class_name,
        "revision": 0,
        "params": params[:_MAX_LISTED],
        "left_out": left_out[:_MAX_LISTED],
        "fixed": None,
    }


def _shown(value: Any) -> Any:
    """A value of a configuration, shorter: an object of Keras without arguments goes by its name."""
    if isinstance(value, list):
        return list(map(_shown, value))
    if not isinstance(value, Mapping):
        return value
    name, config = value.get("class_name"), value.get("config")
    if name == "DTypePolicy" and isinstance(config, Mapping):
        return config.get("name")
    if isinstance(name, str) and isinstance(config, Mapping):
        told = {key: item for key, item in config.items() if item is not None}
        return {"class_name": name, "config": _shown(told)} if told else name
    return {str(key): _shown(item) for key, item in value.items()}


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    for cls, kind in ((int, "int"), (float, "float"), (str, "str")):
        if isinstance(value, cls):
            return kind
    numbers = isinstance(value, list) and all(n is None or type(n) in (int, float) for n in value)
    return "tuple" if numbers else "json"
