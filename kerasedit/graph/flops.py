"""Floating point operations of a graph, for one sample: a multiplication and an addition are two.

Counted as in Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
Inference" (2017), appendix A.1: weighted layers by their multiply-adds, everything else by one
operation for each value put out. Biases count one addition for each value.
"""

from __future__ import annotations

import math

import keras

from .model_graph import Call, LayerId, LayerSpec, ModelGraph, Network, Ref

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_FREE = (
    keras.layers.InputLayer,
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Dropout,
    keras.layers.Identity,
    keras.layers.Concatenate,
    keras.layers.ZeroPadding2D,
    keras.layers.Embedding,
)


def count_flops(graph: ModelGraph) -> int | None:
    """The operations of one sample through the model; None where a size or a layer is not known."""
    return _network(graph, graph.root)


def _network(graph: ModelGraph, owner: LayerId) -> int | None:
    net = graph.net_of(owner)
    if net.opaque:
        return None
    total = 0
    for call in net.calls:
        spec = graph.layers[call.layer]
        count = _network(graph, call.layer) if spec.net is not None else _call(net, call, spec)
        if count is None:
            return None
        total += count
    return total


def _call(net: Network, call: Call, spec: LayerSpec) -> int | None:
    if issubclass(spec.cls, _FREE):
        return 0
    outputs = [_size(out.shape) for out in call.outputs or ()]
    if any(size is None for size in outputs):
        return None
    values = sum(size for size in outputs if size is not None)
    kernels = [w for w in spec.weights if w.name.endswith("kernel")]
    biases = [w for w in spec.weights if w.name == "bias"]
    added = values if biases else 0
    config = spec.config or {}
    if issubclass(spec.cls, keras.layers.Dense) and len(kernels) == 1:
        return 2 * values * kernels[0].shape[0] + added
    if issubclass(spec.cls, _CONVOLUTIONS) and len(kernels) == 1:
        kernel = math.prod(kernels[0].shape)
        # A transposed convolution applies its kernel at every place of its input.
        transposed = "Transpose" in spec.cls.__name__
        shape = net.spec(call.refs[0] if transposed else Ref(call.id)).shape
        first = config.get("data_format") == "channels_first"
        places = _size((None, *(shape[2:] if first else shape[1:-1])))
        return None if places is None else 2 * places * kernel + added
    if kernels:
        return None  # recurrent, attention and custom layers: not known, so not guessed
    return values


def _size(shape: tuple[int | None, ...]) -> int | None:
    sizes = shape[1:]
    if any(size is None for size in sizes):
        return None
    return math.prod(size for size in sizes if size is not None)
