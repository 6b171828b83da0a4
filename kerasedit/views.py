"""What a user sees of a layer and of its weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .graph.model_graph import Entry, ModelGraph, VariableSpec

if TYPE_CHECKING:
    from .editor import Editor


class WeightView:
    """A weight of a layer: `path` (`"dense/kernel"`), `name`, `shape`, `dtype`, `trainable`.

    `numpy()` gives a copy of its values, as the latest model has them.
    """

    def __init__(self, editor: Editor, entry: Entry, index: int, spec: VariableSpec) -> None:
        self._editor, self._entry, self.index = editor, entry, index
        self.name = spec.name
        self.path = f"{entry.path}/{spec.name}"
        self.shape = spec.shape
        self.dtype = spec.dtype
        self._spec = spec

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def trainable(self) -> bool:
        """Whether training changes it: it is made to, and its layer trains."""
        return self._editor.graph.trains(self._entry.layer, self._spec)

    def numpy(self) -> np.ndarray:
        """The values; builds `ed.model` where the source does not have them."""
        return self._editor.weight_value(self._entry, self.index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self) -> str:
        return f"<Weight {self.path} {self.shape} {self.dtype}>"


class LayerView:
    """A layer as the editor has it now. It stays as it is when the editor goes on."""

    def __init__(self, editor: Editor, graph: ModelGraph, entry: Entry) -> None:
        self._editor, self._graph, self._entry = editor, graph, entry
        self._spec = graph.layers[entry.layer]
        self._calls = graph.net_of(entry.owner).calls_of[entry.layer]

    @property
    def path(self) -> str:
        """Where it stands: its name, behind those of the nested models around it."""
        return self._entry.path

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def class_name(self) -> str:
        return self._spec.cls.__name__

    @property
    def kind(self) -> str:
        """`"layer"`, `"op"` (a raw operation), `"input"` or `"model"` (a nested one)."""
        return self._spec.kind

    @property
    def level(self) -> int:
        """1 for the model's own layers, 2 inside a nested model, and so on."""
        return self._entry.level

    @property
    def input_shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """The shapes of the tensors that its first call takes."""
        net = self._graph.net_of(self._entry.owner)
        return tuple(net.spec(ref).shape for ref in self._calls[0].refs)

    @property
    def output_shape(self) -> Any:
        """The shape that its first call puts out; a tuple of shapes where there are several."""
        outputs = self._calls[0].outputs or ()
        return outputs[0].shape if len(outputs) == 1 else tuple(spec.shape for spec in outputs)

    @property
    def dtype(self) -> str | None:
        """The dtype of what it puts out; None where that is not known."""
        outputs = self._calls[0].outputs
        return outputs[0].dtype if outputs else None

    @property
    def weights(self) -> tuple[WeightView, ...]:
        """Its weights, those of nested layers excluded where these are listed themselves."""
        return tuple(
            WeightView(self._editor, self._entry, index, spec)
            for index, spec in enumerate(self._spec.variables or ())
            if spec.weight
        )

    @property
    def params(self) -> int:
        """The number of values in its weights; of a nested model, of all inside it."""
        return count_params(self._graph, self._entry.layer)

    @property
    def trainable(self) -> bool:
        """The effective flag: its own, and those of all models around it."""
        return self._graph.effective_flags.get(self._entry.layer, True)

    @property
    def config(self) -> dict[str, Any]:
        """Its constructor's arguments, as `get_config()` tells them."""
        return dict(self._spec.config or {})

    @property
    def calls(self) -> int:
        """How often it is called; more than once for a shared layer."""
        return len(self._calls)

    @property
    def layer(self) -> Any:
        """The live layer of `ed.model`, which is built where it was not yet."""
        return self._editor.live_layer(self._entry)

    def __repr__(self) -> str:
        return (
            f"<{self.path} ({self.class_name}) {self.output_shape} params={self.params}"
            f"{'' if self.trainable else ' frozen'}>"
        )


def count_params(graph: ModelGraph, layer: int) -> int:
    """The number of weight values of a layer, of a nested model all inside it, each layer once."""
    return sum(math.prod(w.shape) for _, w in weights_under(graph, layer))


def count_trainable(graph: ModelGraph) -> int:
    """The number of weight values that training changes."""
    return sum(
        math.prod(weight.shape)
        for layer, weight in weights_under(graph, graph.root)
        if graph.trains(layer, weight)
    )


def weights_under(graph: ModelGraph, layer: int) -> list[tuple[int, VariableSpec]]:
    """Every weight of a layer or inside a model once, with the identity of the layer that has it."""
    found: list[tuple[int, VariableSpec]] = []
    seen: set[int] = set()  # layers, and variables that layers share

    def visit(layer_id: int) -> None:
        if layer_id in seen:
            return
        seen.add(layer_id)
        spec = graph.layers[layer_id]
        found.extend((layer_id, weight) for weight in spec.weights if weight.shared not in seen)
        seen.update(weight.shared for weight in spec.weights if weight.shared is not None)
        for inner in spec.net.calls_of if spec.net is not None else ():
            visit(inner)

    visit(layer)
    return found


_BITS = {"bool": 8, "bfloat16": 16, "int4": 4, "uint4": 4}


def bytes_of(dtype: str, size: int) -> int:
    """Bytes of `size` values of a dtype."""
    bits = _BITS.get(dtype)
    if bits is None:
        digits = "".join(c for c in dtype.split("_")[0] if c.isdigit())
        bits = int(digits[:2] if digits else 0) if not dtype.startswith("float8") else 8
    return size * bits // 8


def count_bytes(graph: ModelGraph) -> int:
    """Bytes of all weights of a model."""
    return layer_bytes(graph, graph.root)


def layer_bytes(graph: ModelGraph, layer: int) -> int:
    """Bytes of the weights of a layer, of a nested model all inside it, each layer once."""
    return sum(bytes_of(w.dtype, math.prod(w.shape)) for _, w in weights_under(graph, layer))
