"""The layers that a model's configuration tells of. Whatever does not look as Keras writes it is
passed over or refused, never guessed at.

A file of Keras 2 tells the wiring too, though no shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from ..errors import ModelFileError
from .classes import FAMILIES, HOLD_CODE

Shape = tuple[int | None, ...]
Output = tuple[Shape | None, str]  # shape and dtype; None and "" where they are not known
Kind = Literal["layer", "op", "input", "model"]

MAX_LAYERS = 100_000
MAX_DEPTH = 50  # of models in models
MAX_NAME = 10_000
MAX_TEXT = 1 << 25  # of all paths together
MAX_NODES = 1_000_000
_LARGEST = 2**53  # a size that every reader of JSON understands


@dataclass(frozen=True)
class Tensor:
    """A tensor by the call that makes it: the layer's name, the number of the call and the output."""

    layer: str
    call: int = 0
    output: int = 0


@dataclass
class Layer:
    """A layer, op, input or nested model as the configuration tells it.

    `calls` has, for each call, the tensors that it takes, and apart from these the masks. `outputs`
    has what is known of what the first call puts out: shape and dtype by number.
    """

    name: str
    kind: Kind
    class_name: str
    family: str
    config: Mapping[str, Any]
    trainable: bool
    calls: list[list[Tensor]] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    input_shapes: list[Shape] = field(default_factory=list)
    outputs: dict[int, Output] = field(default_factory=dict)
    net: Net | None = None
    custom: bool = False


@dataclass
class Net:
    """The layers of a model in data order; `results` are the tensors that leave it."""

    layers: list[Layer]
    results: list[Tensor]
    chain: bool = False

    def __post_init__(self) -> None:
        self.by_name = {layer.name: layer for layer in self.layers}
        if len(self.by_name) < len(self.layers):
            raise ModelFileError(
                "The file is damaged: two of its layers have one and the same name."
            )


@dataclass
class Model:
    """The outermost model. `opaque` is one of a class of its own, of which no layers are told."""

    name: str
    class_name: str
    net: Net
    trainable: bool
    opaque: bool = False


def read_layers(config: Any) -> Model:
    """The model that a configuration tells of.

    Raises:
        ModelFileError: it tells of no model, of too many layers, or of models nested without end.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("config"), Mapping):
        raise ModelFileError("The file holds no Keras model: its configuration tells of none.")
    outer = _Reader().layer(config, 0, outermost=True)
    opaque = outer.net is None
    if opaque and outer.family not in ("model", "custom"):
        raise ModelFileError(f"The file holds a {outer.class_name}, which is no Keras model.")
    net = outer.net or Net([], [])
    return Model(outer.name, outer.class_name, net, outer.trainable, opaque)


class _Reader:
    """Reads layers, and counts them over all models."""

    def __init__(self) -> None:
        self._layers = self._nodes = 0

    def layer(self, told: Any, depth: int, outermost: bool = False) -> Layer:
        self._layers += 1
        if self._layers > MAX_LAYERS:
            raise ModelFileError(f"The file tells of more than {MAX_LAYERS:,} layers.")
        if depth > MAX_DEPTH:
            raise ModelFileError(f"The file nests more than {MAX_DEPTH} models in one another.")
        if not isinstance(told, Mapping) or not isinstance(told.get("config"), Mapping):
            raise ModelFileError("The file is damaged: a layer in it has no configuration.")
        config: Mapping[str, Any] = told["config"]
        name = config.get("name", told.get("name"))
        class_name = told.get("class_name")
        if not isinstance(class_name, str) or not class_name:
            raise ModelFileError("The file is damaged: a layer in it has no class.")
        if outermost and not isinstance(name, str):
            name = "model"
        if not isinstance(name, str) or not name:
            raise ModelFileError("The file is damaged: a layer in it has no name.")
        if max(len(name), len(class_name)) > MAX_NAME:
            raise ModelFileError(f"The file has a name of more than {MAX_NAME:,} characters.")
        kind, family, custom = _kind_of(told, config, class_name)
        layer = Layer(
            name,
            kind,
            class_name.rpartition(">")[2] or class_name,
            family,
            config,
            config.get("trainable", True) is not False,
            custom=custom,
        )
        if kind == "model" and isinstance(config.get("layers"), list):
            layer.net = self._net(config, depth)
        if kind == "input":
            shape = as_shape(config.get("batch_shape", config.get("batch_input_shape")))
            layer.outputs[0] = shape, as_text(config.get("dtype"))
        build = told.get("build_config")
        if isinstance(build, Mapping):
            layer.input_shapes = _shapes_in(build.get("input_shape", build.get("shapes_dict")))
        return layer

    def _net(self, config: Mapping[str, Any], depth: int) -> Net:
        told = config["layers"]
        layers = [self.layer(item, depth + 1) for item in told]
        if "output_layers" not in config:
            return _chain(layers, config)
        net = Net(layers, list(self._references(config["output_layers"])))
        if not {tensor.layer for tensor in net.results} <= {*net.by_name}:
            raise ModelFileError("The file is damaged: a model puts out what no layer makes.")
        shapes: dict[Tensor, Output] = {}
        for layer, item in zip(layers, told, strict=True):
            self._read_calls(layer, item.get("inbound_nodes"), net, shapes)
        for tensor, known in shapes.items():
            net.by_name[tensor.layer].outputs.setdefault(tensor.output, known)
        return net

    def _read_calls(self, layer: Layer, nodes: Any, net: Net, shapes: dict[Tensor, Output]) -> None:
        """Notes what the calls of a layer take, and what is told of those tensors."""
        for node in nodes if isinstance(nodes, list) else []:
            takes: dict[Tensor, None] = {}
            legacy = not isinstance(node, Mapping)
            parts = (
                [("", node)] if legacy else [("", node.get("args")), *_items(node.get("kwargs"))]
            )
            for name, value in parts:
                found = self._references(value) if legacy else self._tensors(value, shapes)
                for tensor in found:
                    if tensor.layer not in net.by_name:
                        raise ModelFileError(
                            f"The file is damaged: '{layer.name[:80]}' takes what no layer makes."
                        )
                    if name == "mask" or name.endswith("_mask"):
                        layer.masks.append(tensor)
                    else:
                        takes[tensor] = None
            if not layer.calls:
                # Of the first call, as Keras was told to build it: with the shapes in this order.
                layer.input_shapes = [
                    shape for t in takes if (shape := shapes.get(t, (None, ""))[0]) is not None
                ] or layer.input_shapes
            layer.calls.append(list(takes))
        layer.calls = layer.calls or [[]]

    def _tensors(self, value: Any, shapes: dict[Tensor, Output]) -> Iterator[Tensor]:
        """The tensors in the arguments of a call, in the order that Keras flattens them."""
        self._count()
        if isinstance(value, list):
            for item in value:
                yield from self._tensors(item, shapes)
        elif isinstance(value, Mapping):
            inside = value.get("config")
            if value.get("class_name") == "__keras_tensor__" and isinstance(inside, Mapping):
                history = inside.get("keras_history")
                tensor = _reference(history) if isinstance(history, list) else None
                if tensor is None:
                    raise ModelFileError("The file is damaged: a tensor in it comes from nowhere.")
                shapes.setdefault(
                    tensor, (as_shape(inside.get("shape")), as_text(inside.get("dtype")))
                )
                yield tensor
            else:
                for _, item in _items(value):
                    yield from self._tensors(item, shapes)

    def _references(self, value: Any) -> Iterator[Tensor]:
        """The `[name, call, output]` in a nested structure, as Keras 2 tells all calls."""
        self._count()
        if isinstance(value, list):
            tensor = _reference(value)
            if tensor is not None:
                yield tensor
                value = value[3:]
            for item in value:
                yield from self._references(item)
        elif isinstance(value, Mapping):
            for _, item in _items(value):
                yield from self._references(item)

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ModelFileError(f"The file tells of more than {MAX_NODES:,} arguments of layers.")


def _kind_of(
    told: Mapping[str, Any], config: Mapping[str, Any], class_name: str
) -> tuple[Kind, str, bool]:
    """What a layer is, its family, and whether it is of a class that Keras does not have."""
    module = as_text(told.get("module"))
    own = module.startswith("keras.") or module == "keras"
    if isinstance(config.get("layers"), list) and (
        "output_layers" in config or class_name == "Sequential" or "build_input_shape" in config
    ):
        return "model", "model", module != "" and not own
    if class_name in ("Functional", "Model", "Sequential"):
        return "model", "model", False
    if class_name == "InputLayer":
        return "input", "input", False
    # Older files tell no modules; all layers have these arguments, and ops have neither.
    if module.startswith("keras.src.ops.") or (
        not module and not {"trainable", "dtype"} & {*config}
    ):
        return "op", "op", False
    known = FAMILIES.get(class_name)
    if known is None or (module and not own):
        return "layer", "custom", True
    return "layer", "custom" if class_name in HOLD_CODE - {"Lambda"} else known, False


def _chain(layers: list[Layer], config: Mapping[str, Any]) -> Net:
    """The layers of a Sequential: each takes what the one before it makes."""
    for before, layer in pairwise(layers):
        if len(layer.input_shapes) == 1:
            before.outputs.setdefault(0, (layer.input_shapes[0], ""))
        layer.calls = [[Tensor(before.name)]]
    for first in layers[:1]:
        first.calls = [[]]
        shape = as_shape(config.get("build_input_shape", first.config.get("batch_input_shape")))
        if first.kind != "input" and not first.input_shapes and shape is not None:
            first.input_shapes = [shape]
    return Net(layers, [Tensor(layers[-1].name)] if layers else [], chain=True)


def _reference(value: list[Any]) -> Tensor | None:
    if len(value) < 3 or not isinstance(value[0], str):
        return None
    if not all(type(number) is int and 0 <= number < _LARGEST for number in value[1:3]):
        return None
    return Tensor(value[0], value[1], value[2])


def _items(value: Any) -> list[tuple[str, Any]]:
    return sorted(value.items()) if isinstance(value, Mapping) else []


def as_shape(value: Any) -> Shape | None:
    """A shape as JSON has it; None where it is none."""
    if not isinstance(value, list) or len(value) > 32:
        return None
    if not all(n is None or (type(n) is int and 0 <= n <= _LARGEST) for n in value):
        return None
    return tuple(value)


def as_text(value: Any) -> str:
    """A short text such as a dtype; `""` for what is none. A policy is told by its name."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        value = value["config"].get("name")
    return value if isinstance(value, str) and len(value) <= 200 else ""


def _shapes_in(value: Any) -> list[Shape]:
    """The shapes that a layer was built for, in a list or by argument."""
    shape = as_shape(value)
    if shape is not None:
        return [shape]
    several = value.values() if isinstance(value, Mapping) else value
    if not isinstance(several, list) and not isinstance(value, Mapping):
        return []
    return [shape for item in several for shape in [as_shape(item)] if shape is not None]
