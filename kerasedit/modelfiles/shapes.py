"""What layers put out, where the file does not say: it tells the shape of a tensor only where another
layer takes it, so that of the last layers is reckoned from what goes in.

The formulas are those of Keras's `compute_output_shape`. A layer that is not known here gives None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .layers import Layer, Net, Output, Shape, Tensor, as_text

Config = Mapping[str, Any]
Rule = Callable[[Config, list[Shape]], list[Shape] | None]


def output_shapes(class_name: str, config: Config, inputs: list[Shape]) -> list[Shape] | None:
    """The shapes that a layer puts out for such inputs; None where that is not known."""
    rule = _RULES.get(class_name)
    try:
        return rule(config, inputs) if rule is not None and inputs else None
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError):
        return None  # arguments that Keras would not take


def infer_shapes(net: Net, known: Iterable[Output] = ()) -> list[Output]:
    """Completes what the layers of a model put out; what is known of its results.

    Args:
        net: the model. What its configuration tells already stays.
        known: what those around it know of its results.
    """
    for tensor, told in zip(net.results, known, strict=False):
        net.by_name[tensor.layer].outputs.setdefault(tensor.output, told)
    for layer in net.layers:
        takes = [net.by_name[t.layer].outputs.get(t.output, UNKNOWN) for t in first_inputs(layer)]
        shapes = [shape for shape, _ in takes if shape is not None]
        if len(shapes) < len(takes) or not takes:
            shapes = layer.input_shapes
        dtype = _compute_dtype(layer) or next((dtype for _, dtype in takes), "")
        if layer.net is not None:
            inside = [layer.outputs[number] for number in sorted(layer.outputs)]
            found = infer_shapes(layer.net, inside)
        else:
            made = output_shapes(layer.class_name, layer.config, shapes) or []
            found = [(shape, dtype) for shape in made]
        for number, (shape, kind) in enumerate(found or [(None, dtype)]):
            told = layer.outputs.get(number, UNKNOWN)
            layer.outputs[number] = (shape if told[0] is None else told[0], told[1] or kind)
    return [net.by_name[t.layer].outputs.get(t.output, UNKNOWN) for t in net.results]


UNKNOWN: Output = (None, "")


def first_inputs(layer: Layer) -> list[Tensor]:
    """What the first call of a layer takes."""
    return layer.calls[0] if layer.calls else []


def _compute_dtype(layer: Layer) -> str:
    """The dtype in which a layer reckons, by the name of its policy; `""` where none is told."""
    if layer.kind == "op":
        return ""
    name = as_text(layer.config.get("dtype")).rpartition("_from_")[2]
    return name.removeprefix("mixed_")


def _same(config: Config, inputs: list[Shape]) -> list[Shape]:
    return inputs[:1]


def _dense(config: Config, inputs: list[Shape]) -> list[Shape]:
    return [(*inputs[0][:-1], int(config["units"]))]


def _embedding(config: Config, inputs: list[Shape]) -> list[Shape]:
    return [(*inputs[0], int(config["output_dim"]))]


def _flatten(config: Config, inputs: list[Shape]) -> list[Shape]:
    return [(inputs[0][0], _product(inputs[0][1:]))]


def _reshape(config: Config, inputs: list[Shape]) -> list[Shape]:
    target = [None if n is None else int(n) for n in config["target_shape"]]
    if -1 in target:
        size, rest = _product(inputs[0][1:]), _product(n for n in target if n != -1)
        target[target.index(-1)] = None if size is None or not rest else size // rest
    return [(inputs[0][0], *target)]


def _permute(config: Config, inputs: list[Shape]) -> list[Shape]:
    return [(inputs[0][0], *(inputs[0][int(axis)] for axis in config["dims"]))]


def _repeat(config: Config, inputs: list[Shape]) -> list[Shape]:
    return [(inputs[0][0], int(config["n"]), *inputs[0][1:])]


def _merge(config: Config, inputs: list[Shape]) -> list[Shape]:
    rank = max(map(len, inputs))
    axes = zip(*((1,) * (rank - len(shape)) + shape for shape in inputs), strict=True)
    return [tuple(_broadcast(sizes) for sizes in axes)]


def _broadcast(sizes: tuple[int | None, ...]) -> int | None:
    known = {n for n in sizes if n not in (None, 1)}
    return known.pop() if known else None if None in sizes else 1


def _concatenate(config: Config, inputs: list[Shape]) -> list[Shape]:
    axis = int(config.get("axis", -1)) % len(inputs[0])
    shape = list(inputs[0])
    shape[axis] = _sum(shape[axis] for shape in inputs)
    return [tuple(shape)]


def _attention(config: Config, inputs: list[Shape]) -> list[Shape] | None:
    told = config.get("output_shape")
    if told is None:
        return inputs[:1]
    sizes = told if isinstance(told, list) else [told]
    return [(*inputs[0][:-1], *map(int, sizes))]


def _recurrent(config: Config, inputs: list[Shape]) -> list[Shape]:
    units, class_states = int(config["units"]), 2 if "unit_forget_bias" in config else 1
    batch = inputs[0][0]
    steps = inputs[0][1:2] if config.get("return_sequences") else ()
    states = [(batch, units)] * class_states if config.get("return_state") else []
    return [(batch, *steps, units), *states]


def _bidirectional(config: Config, inputs: list[Shape]) -> list[Shape] | None:
    forward = _inner(config, inputs)
    if forward is None:
        return None
    first, states = forward[0], forward[1:]
    if config.get("merge_mode") == "concat":
        last = first[-1]
        merged = [(*first[:-1], None if last is None else 2 * last)]
    else:
        merged = [first] if config.get("merge_mode") else [first, first]
    return [*merged, *states, *states]


def _time_distributed(config: Config, inputs: list[Shape]) -> list[Shape] | None:
    shape = inputs[0]
    inner = _inner(config, [(shape[0], *shape[2:])])
    return None if inner is None else [(inner[0][0], shape[1], *inner[0][1:])]


def _inner(config: Config, inputs: list[Shape]) -> list[Shape] | None:
    layer = config["layer"]
    return output_shapes(layer["class_name"], layer["config"], inputs)


# -- images, sequences and volumes: one axis or several in space, and one of channels ------------


def _spatial(resize: Callable[[Config, int, int | None], int | None], channels: Any) -> Rule:
    """A rule for a layer that resizes each axis in space."""

    def rule(config: Config, inputs: list[Shape]) -> list[Shape]:
        first, shape = config.get("data_format") == "channels_first", inputs[0]
        space, last = (shape[2:], shape[1]) if first else (shape[1:-1], shape[-1])
        sizes = [resize(config, axis, n) for axis, n in enumerate(space)]
        out = channels(config, last)
        return [(shape[0], out, *sizes) if first else (shape[0], *sizes, out)]

    return rule


def _at(value: Any, axis: int) -> int:
    return int(value[axis]) if isinstance(value, list) else int(value)


def _conv(config: Config, axis: int, n: int | None) -> int | None:
    span = _at(config.get("dilation_rate", 1), axis) * (_at(config["kernel_size"], axis) - 1) + 1
    return _windows(config, n, span, _at(config.get("strides", 1), axis))


def _pool(config: Config, axis: int, n: int | None) -> int | None:
    size = config["pool_size"]
    return _windows(config, n, _at(size, axis), _at(config.get("strides") or size, axis))


def _windows(config: Config, n: int | None, span: int, stride: int) -> int | None:
    if n is None:
        return None
    return (n - span) // stride + 1 if config.get("padding") == "valid" else -(-n // stride)


def _conv_transpose(config: Config, axis: int, n: int | None) -> int | None:
    if n is None or config.get("output_padding") is not None:
        return None
    stride = _at(config.get("strides", 1), axis)
    span = _at(config.get("dilation_rate", 1), axis) * (_at(config["kernel_size"], axis) - 1) + 1
    return n * stride + (max(span - stride, 0) if config.get("padding") == "valid" else 0)


def _zero_padding(config: Config, axis: int, n: int | None) -> int | None:
    return None if n is None else n + _both_ends(config["padding"], axis)


def _cropping(config: Config, axis: int, n: int | None) -> int | None:
    return None if n is None else n - _both_ends(config["cropping"], axis)


def _both_ends(value: list[Any], axis: int) -> int:
    """How much there is at both ends of an axis; of a single axis they stand by themselves."""
    ends = value[axis] if isinstance(value[0], list) else value
    return int(ends[0]) + int(ends[1])


def _upsampling(config: Config, axis: int, n: int | None) -> int | None:
    return None if n is None else n * _at(config["size"], axis)


def _resizing(config: Config, axis: int, n: int | None) -> int | None:
    return int(config[("height", "width")[axis]])


def _filters(config: Config, channels: int | None) -> int:
    return int(config["filters"])


def _multiplied(config: Config, channels: int | None) -> int | None:
    return None if channels is None else channels * int(config.get("depth_multiplier", 1))


def _kept(config: Config, channels: int | None) -> int | None:
    return channels


def _global(config: Config, inputs: list[Shape]) -> list[Shape]:
    first, shape = config.get("data_format") == "channels_first", inputs[0]
    channels, ones = shape[1 if first else -1], (1,) * (len(shape) - 2)
    if not config.get("keepdims"):
        return [(shape[0], channels)]
    return [(shape[0], channels, *ones) if first else (shape[0], *ones, channels)]


def _product(sizes: Any) -> int | None:
    every = list(sizes)
    return None if None in every else math.prod(every)


def _sum(sizes: Any) -> int | None:
    every = list(sizes)
    return None if None in every else sum(every)


# What they put out has the shape of what goes in.
_UNCHANGED = (
    "Activation ActivityRegularization AdditiveAttention AlphaDropout Attention "
    "BatchNormalization Dropout ELU GaussianDropout GaussianNoise GroupNormalization "
    "Identity LayerNormalization LeakyReLU Masking Normalization PReLU RMSNormalization "
    "ReLU Rescaling Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D "
    "UnitNormalization Relu Relu6 Sigmoid Silu Gelu Tanh "
)
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_UNCHANGED.split(), _same),
    **dict.fromkeys(["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"], _merge),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _spatial(_conv, _filters)),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _spatial(_conv, _filters)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _spatial(_conv, _multiplied)),
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
        _spatial(_conv_transpose, _filters),
    ),
    **{
        f"{kind}Pooling{n}D": _spatial(_pool, _kept)
        for kind in ("Average", "Max")
        for n in (1, 2, 3)
    },
    **{f"Global{kind}Pooling{n}D": _global for kind in ("Average", "Max") for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": _spatial(_zero_padding, _kept) for n in (1, 2, 3)},
    **{f"Cropping{n}D": _spatial(_cropping, _kept) for n in (1, 2, 3)},
    **{f"UpSampling{n}D": _spatial(_upsampling, _kept) for n in (1, 2, 3)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    "Bidirectional": _bidirectional,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "MultiHeadAttention": _attention,
    "Permute": _permute,
    "RepeatVector": _repeat,
    "Reshape": _reshape,
    "Resizing": _spatial(_resizing, _kept),
    "TimeDistributed": _time_distributed,
}
