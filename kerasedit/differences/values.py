"""What layers hold, weight by weight: how two that match differ, and a digest to find a match by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator
from typing import Any

import keras
import numpy as np

from ..graph.build import LayerState, Overlap
from ..graph.model_graph import LayerId, LayerSpec, VariableSpec
from .config import ConfigChange, config_of
from .distance import distance
from .match import class_of
from .result import WeightChange
from .sides import Side

Weight = tuple[int, VariableSpec]


def holds_values(spec: LayerSpec) -> bool:
    """Whether a layer has a state of its own: an op and a model of layers have none."""
    return spec.kind == "layer" or (spec.net is not None and spec.net.opaque)


def weight_changes(
    path: str,
    states: tuple[LayerState | None, LayerState | None],
    old: list[Weight],
    new: list[Weight],
) -> Iterator[WeightChange]:
    """How the weights of a layer differ, those that do.

    Args:
        path: the layer.
        states: its values on both sides; None where it starts fresh.
        old, new: its weights on both sides.
    """
    for a, b in _paired(old, new):
        before, after = a and a[1], b and b[1]
        named = after or before
        assert named is not None
        where = f"{path}/{named.name}" if path else named.name
        shapes = before and before.shape, after and after.shape
        dtypes = before and before.dtype, after and after.dtype
        if a is None or b is None:
            yield WeightChange(where, *shapes, *dtypes)
            continue
        known = _known(states[0], a), _known(states[1], b)
        if shapes[0] != shapes[1]:
            yield WeightChange(where, *shapes, *dtypes, fresh=known[1] is None)
            continue
        left, right = map(_array, known)
        if left is None or right is None:
            if left is not right:
                yield WeightChange(where, *shapes, *dtypes, fresh=True)
            continue
        far = distance(left, right)
        if far is not None:
            yield WeightChange(where, *shapes, *dtypes, False, **vars(far))
        elif dtypes[0] != dtypes[1]:
            yield WeightChange(where, *shapes, *dtypes, changed=0.0)


def _paired(old: list[Weight], new: list[Weight]) -> list[tuple[Weight | None, Weight | None]]:
    """Weights of one name; then, in order, those in whose name only a layer inside has another."""
    left = list(old)

    def take(part: int, wanted: Weight) -> Weight | None:
        for weight in left:
            if weight[1].name.split("/")[part:] == wanted[1].name.split("/")[part:]:
                left.remove(weight)
                return weight
        return None

    named = [take(0, weight) for weight in new]
    found = [before or take(-1, weight) for before, weight in zip(named, new, strict=True)]
    return [*zip(found, new, strict=True), *((weight, None) for weight in left)]


def _known(state: LayerState | None, weight: Weight) -> Any:
    """A weight as a state holds it; None where it starts afresh."""
    values = () if state is None else state.values
    return values[weight[0]] if weight[0] < len(values) else None


def _array(value: Any) -> np.ndarray | None:
    """The values; None where they are not known before the model is built."""
    if value is None or isinstance(value, Overlap):
        return None
    return keras.ops.convert_to_numpy(value)


def file_changes(before: LayerState, after: LayerState) -> Iterator[ConfigChange]:
    """The files of preprocessing layers, such as vocabularies, that differ."""
    for name in dict.fromkeys((*before.assets, *after.assets)):
        old, new = before.assets.get(name, b""), after.assets.get(name, b"")
        if old != new:
            lines = [f"{len(content.splitlines()):,} lines" for content in (old, new)]
            if lines[0] == lines[1]:
                lines[1] += ", other ones"
            yield ConfigChange(name.rsplit("/", 1)[-1], *lines)


def digest(side: Side, layer: LayerId) -> Hashable | None:
    """Tells a layer by its class, configuration and weights, a model by all layers inside it.

    None where there are no weights, or no values of them yet.
    """
    spec = side.graph.layers[layer]
    if spec.net is not None and not spec.net.opaque:
        inside = tuple(digest(side, inner) for inner in spec.net.calls_of)
        return (*class_of(spec), inside) if any(inside) else None
    weights = list(side.weights(layer)) if spec.kind == "layer" else []
    state = side.state(layer) if weights else None
    if state is None:
        return None
    found = hashlib.blake2b(digest_size=16)
    for weight in weights:
        values = _array(_known(state, weight))
        if values is None:
            return None
        found.update(repr((values.shape, values.dtype)).encode())
        found.update(
            values.tobytes() if values.dtype.kind != "O" else repr(values.tolist()).encode()
        )
    config = json.dumps(config_of(spec), sort_keys=True)
    return *class_of(spec), config, found.digest()
