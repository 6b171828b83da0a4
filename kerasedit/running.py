"""Running a model layer by layer, so that it can be told what each layer puts out."""

from __future__ import annotations

import contextlib
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from . import _keras
from .graph.build import call_on
from .graph.model_graph import (
    Call,
    CallId,
    LayerId,
    ModelGraph,
    Ref,
    VariableRef,
    iter_refs,
    map_refs,
)
from .graph.read import read_model

Batch = Any
"""What a model is called with: tensors in the structure of its inputs."""

Place = tuple[CallId, ...]
"""A call, behind those of the nested models around it."""


@dataclass(frozen=True)
class Side:
    """A model with its graph, and the live layer behind each identity in it."""

    model: keras.Model
    graph: ModelGraph
    layers: Mapping[LayerId, Any]

    @classmethod
    def of(cls, model: keras.Model) -> Side:
        """A model that no editor knows."""
        return cls(model, *read_model(model, copied=False))


@dataclass
class Seen:
    """What one call of a layer put out: a fingerprint, and whether all was finite or any empty."""

    path: str
    layer: LayerId
    fingerprint: int = 0
    finite: bool = True
    empty: bool = False

    def add(self, array: np.ndarray) -> None:
        content = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
        kind = f"{array.dtype} {array.shape}".encode()
        self.fingerprint = zlib.crc32(content, zlib.crc32(kind, self.fingerprint))
        self.finite = self.finite and is_finite(array)
        self.empty = self.empty or not array.size


@dataclass
class Run:
    """What a model put out for batches, flat, and what its layers put out on the way.

    Of a model whose call is Python code nothing is known but what it puts out.
    """

    outputs: list[list[np.ndarray]] = field(default_factory=list)
    seen: dict[Place, Seen] = field(default_factory=dict)

    @property
    def first_nan(self) -> str | None:
        """The path of the first layer that put out NaN or Inf."""
        return next((seen.path for seen in self.seen.values() if not seen.finite), None)

    @property
    def first_empty(self) -> str | None:
        """The path of the first layer that put out something without any values."""
        return next((seen.path for seen in self.seen.values() if seen.empty), None)

    def differences(self, other: Run) -> list[str]:
        """The paths of layers that `other` has too, and that put out something else there."""
        found: dict[str, None] = {}
        for place, seen in self.seen.items():
            there = other._same_call(place, seen.layer)
            if there is not None and there.fingerprint != seen.fingerprint:
                found[seen.path] = None
        return list(found)

    def _same_call(self, place: Place, layer: LayerId) -> Seen | None:
        """The call in that place, or the layer's only one: an edit may have made the call anew."""
        found = self.seen.get(place)
        if found is not None and found.layer == layer:
            return found
        calls = [seen for seen in self.seen.values() if seen.layer == layer]
        return calls[0] if len(calls) == 1 else None


def run(side: Side, batches: list[Batch]) -> Run:
    """Runs a model in inference. Nothing in it changes.

    The layers are called one by one, those of nested models too, and what they put out is let go
    when nothing needs it any more: this takes far less memory than to call the model.
    """
    found = Run()
    for batch in batches:
        with at_rest(side.model):
            outputs = _Walk(side, found.seen).model(side.graph.root, batch, (), "")
            if outputs is None:
                outputs = keras.tree.flatten(side.model(batch, training=False))
            found.outputs.append([keras.ops.convert_to_numpy(tensor) for tensor in outputs])
    return found


@contextlib.contextmanager
def at_rest(model: keras.Model) -> Iterator[None]:
    """A model can be called inside and stays as it is: its states, seeds and losses too.

    Stateful layers start afresh inside, as those of a model that was loaded do.
    """
    with (
        keras.StatelessScope(collect_losses=True),
        _keras.preserved_random(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the user's own calls of the model tell them
        for layer in _keras.all_layers(model):
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
                layer.reset_state()
        yield


def is_number(array: np.ndarray) -> bool:
    return array.dtype != object and array.dtype.kind not in "SU"


def is_finite(array: np.ndarray) -> bool:
    return not is_number(array) or bool(np.isfinite(array).all())


class _Walk:
    """One pass through a model, noting in `seen` what each call of a layer puts out."""

    def __init__(self, side: Side, seen: dict[Place, Seen]) -> None:
        self._side = side
        self._seen = seen

    def model(self, owner: LayerId, given: Any, around: Place, prefix: str) -> list[Any] | None:
        """What a model puts out; None where it has no graph that could be gone through."""
        graph, model = self._side.graph, self._side.layers[owner]
        net = graph.net_of(owner)
        entering = None if net.opaque else _keras.entering(model, given)
        if entering is None:
            return None
        tensors: dict[Ref, Any] = dict(zip(net.input_refs, entering, strict=True))
        waiting = Counter((*net.output_refs, *(ref for call in net.calls for ref in call.refs)))
        with _keras.as_called(model):
            for call in net.calls:
                spec = graph.layers[call.layer]
                if spec.kind != "input":
                    outputs = self._call(call, tensors, (*around, call.id), prefix + spec.name)
                    for index, tensor in enumerate(outputs):
                        if waiting[Ref(call.id, index)]:
                            tensors[Ref(call.id, index)] = tensor
                for ref in call.refs:
                    waiting[ref] -= 1
                    if not waiting[ref]:
                        del tensors[ref]
        return [tensors[ref] for ref in net.output_refs]

    def _call(self, call: Call, tensors: Mapping[Ref, Any], place: Place, path: str) -> list[Any]:
        spec, layer = self._side.graph.layers[call.layer], self._side.layers[call.layer]
        if spec.net is not None and len(call.args) == 1 and not any(iter_refs(call.kwargs)):
            given = map_refs(tensors.__getitem__, call.args[0])
            outputs = self.model(call.layer, given, place, path + "/")
            if outputs is not None:
                return outputs
        if isinstance(layer, keras.Layer):  # whatever it was called with when the model was made
            call = replace(call, kwargs={**call.kwargs, "training": False})

        def find(leaf: Ref | VariableRef) -> Any:
            if isinstance(leaf, Ref):
                return tensors[leaf]
            return self._side.layers[leaf.layer].variables[leaf.index]

        outputs = keras.tree.flatten(call_on(layer, call, find))
        seen = self._seen.setdefault(place, Seen(path, call.layer))
        for tensor in outputs:
            if keras.ops.is_tensor(tensor):
                seen.add(keras.ops.convert_to_numpy(tensor))
        return outputs
