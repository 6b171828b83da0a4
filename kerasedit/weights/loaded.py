"""A model's weights beside those that come back from its file."""

from __future__ import annotations

from typing import Any

import keras

from .. import _keras


def other_weights(model: keras.Model, loaded: keras.Model) -> str:
    """How the weights of a model that was saved and loaded differ, to the bit; nothing if not.

    Keras writes what layers share with each of them, and what LoRA trained as part of its kernel.
    """
    waiting, seen = [(model, loaded)], set()
    while waiting:
        ours, theirs = waiting.pop()
        if (id(ours), id(theirs)) in seen:
            continue
        seen.add((id(ours), id(theirs)))
        if _contents(ours) != _contents(theirs):
            merged = _has_lora(ours) and getattr(ours, "quantization_mode", None)
            why = " (Keras adds LoRA to a quantized kernel in a file, which rounds it)"
            return f"those of '{ours.name}'{why if merged else ''}"
        inside = _keras.layers_inside(ours), _keras.layers_inside(theirs)
        if len(inside[0]) != len(inside[1]):
            return f"'{ours.name}' has {len(inside[1])} layers instead of {len(inside[0])}"
        waiting += zip(*inside, strict=True)
    return ""


def _contents(layer: Any) -> list[Any]:
    """A layer's own weights, in whatever order it has them."""
    arrays = [keras.ops.convert_to_numpy(weight) for weight in _own_weights(layer)]
    return sorted((str(a.dtype), a.shape, a.tobytes()) for a in arrays)


def _has_lora(layer: Any) -> bool:
    return bool(getattr(layer, "lora_enabled", False))


def _own_weights(layer: Any) -> list[Any]:
    own = _keras.own_weights(layer)
    if not _has_lora(layer):
        return own
    name = "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
    apart = (name, f"lora_{name}_a", f"lora_{name}_b")
    return [getattr(layer, name), *(weight for weight in own if weight.name not in apart)]
