"""Random models of the families that people make: strategies by name, and the shape of a sample.

None of their layers reckons with all channels together but the normalizations of a transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers

from tests.pruning import distinct

SIDE = 8
PICTURE = (SIDE, SIDE, 3)
SEQUENCE = (6, 4)
Build = Callable[[Any, Any], Any]  # of what draws, and of the input
FAMILIES: dict[str, tuple[tuple[int, ...], Build]] = {}


def _family(*shape: int) -> Callable[[Build], Build]:
    def enter(build: Build) -> Build:
        FAMILIES[build.__name__] = shape, build
        return build

    return enter


@st.composite
def models(draw: Any, family: str) -> keras.Model:
    """A model of a family that puts out two numbers, its weights all different."""
    shape, build = FAMILIES[family]
    x = keras.Input(shape, name="x")
    top = layers.Dense(2, name="top")(build(draw, x))
    return distinct(keras.Model(x, top, name=family), draw(st.integers(0, 99)))


def _number(draw: Any, low: int, high: int) -> int:
    return draw(st.integers(low, high))


def _conv(draw: Any, x: Any, filters: int, size: int = 3, strides: int = 1) -> Any:
    """A convolution, often with a normalization, and an activation that keeps zeros."""
    norm = draw(st.booleans())
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=not norm)(x)
    x = layers.BatchNormalization()(x) if norm else x
    return layers.Activation(draw(st.sampled_from(["relu", "swish", "tanh", "leaky_relu"])))(x)


def _pooled(draw: Any, x: Any) -> Any:
    pools = [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten]
    return draw(st.sampled_from(pools))()(x)


@_family(*PICTURE)
def residual(draw: Any, x: Any) -> Any:
    """As ResNet: blocks around which a sum leads, some with a convolution on the way."""
    x = _conv(draw, x, _number(draw, 3, 6))
    for _ in range(_number(draw, 1, 3)):
        strides = draw(st.sampled_from([1, 1, 2]))
        width = x.shape[-1] if strides == 1 and draw(st.booleans()) else _number(draw, 3, 7)
        y = _conv(draw, x, _number(draw, 2, 5), strides=strides)
        y = layers.Conv2D(width, 3, padding="same")(y)
        if strides > 1 or width != x.shape[-1]:
            x = layers.Conv2D(width, 1, strides=strides)(x)
        x = layers.Add()([x, y]) if draw(st.booleans()) else x + y
        x = layers.ReLU()(x)
    return _pooled(draw, x)


@_family(*PICTURE)
def dense(draw: Any, x: Any) -> Any:
    """As DenseNet: each layer takes what all before it made, a transition halves it."""
    x = _conv(draw, x, _number(draw, 2, 5))
    for block in range(_number(draw, 1, 2)):
        if block:
            x = layers.Conv2D(max(2, x.shape[-1] // 2), 1)(layers.BatchNormalization()(x))
            x = layers.AveragePooling2D(2)(x)
        for _ in range(_number(draw, 1, 3)):
            y = layers.Activation("relu")(layers.BatchNormalization()(x))
            y = _conv(draw, y, _number(draw, 3, 6), 1) if draw(st.booleans()) else y
            y = layers.Conv2D(_number(draw, 2, 4), 3, padding="same")(y)
            x = layers.Concatenate()(draw(st.permutations([x, y])))
    return _pooled(draw, layers.BatchNormalization()(x))


@_family(*PICTURE)
def inverted_residual(draw: Any, x: Any) -> Any:
    """As MobileNet and EfficientNet: wide inside, each channel for itself there, weighed by all."""
    x = _conv(draw, x, _number(draw, 2, 4))
    for _ in range(_number(draw, 1, 3)):
        y = _conv(draw, x, 2 * x.shape[-1], 1)
        times, strides = _number(draw, 1, 2), draw(st.sampled_from([1, 1, 2]))
        depthwise = layers.DepthwiseConv2D(
            3, padding="same", strides=strides, depth_multiplier=times
        )
        y = layers.BatchNormalization()(depthwise(y))
        if draw(st.booleans()):
            s = layers.GlobalAveragePooling2D(keepdims=draw(st.booleans()))(y)
            s = layers.Reshape((1, 1, y.shape[-1]))(s) if len(s.shape) == 2 else s
            s = layers.Conv2D(_number(draw, 1, 3), 1, activation="relu")(s)
            s = layers.Conv2D(y.shape[-1], 1, activation="sigmoid")(s)
            y = layers.Multiply()([y, s])
        stays = strides == 1 and draw(st.booleans())
        y = layers.Conv2D(x.shape[-1] if stays else _number(draw, 2, 5), 1)(y)
        x = layers.Add()([x, y]) if stays else y
    return _pooled(draw, x)


@_family(*PICTURE)
def u_net(draw: Any, x: Any) -> Any:
    """Down and up again, beside what there was on the way."""
    ways = []
    for _ in range(_number(draw, 1, 2)):
        x = _conv(draw, x, _number(draw, 2, 5))
        ways.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _conv(draw, x, _number(draw, 3, 6))
    for way in reversed(ways):
        kind = draw(st.sampled_from(["transposed", "nearest", "bilinear"]))
        if kind == "transposed":
            x = layers.Conv2DTranspose(_number(draw, 2, 5), 2, strides=2)(x)
        else:
            x = layers.UpSampling2D(2, interpolation=kind)(x)
        x = layers.Concatenate()(draw(st.permutations([x, way])))
        x = _conv(draw, x, _number(draw, 2, 5))
    return x


@_family(*PICTURE)
def multi_branch(draw: Any, x: Any) -> Any:
    """As Inception: several ways side by side, put together or merged."""

    def branch(x: Any, width: int) -> Any:
        kind = draw(st.sampled_from(["point", "deep", "pooled", "separable", "grouped", "parts"]))
        if kind == "deep":
            x = _conv(draw, x, _number(draw, 2, 4), 1)
        elif kind == "pooled":
            x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
        elif kind == "separable":
            return layers.SeparableConv2D(width, 3, padding="same", depth_multiplier=2)(x)
        elif kind == "grouped" and width % 2 == 0:
            x = layers.Conv2D(4, 1)(x)
            return layers.Conv2D(width, 3, padding="same", groups=2)(x)
        elif kind == "parts" and width > 2:
            parts = [layers.Conv2D(n, 1)(x) for n in (1, width - 1)]
            return layers.Concatenate()(parts)
        return layers.Conv2D(width, draw(st.sampled_from([1, 3])), padding="same")(x)

    for _ in range(_number(draw, 1, 2)):
        number = _number(draw, 2, 4)
        merges = [layers.Average, layers.Maximum, layers.Minimum, layers.Multiply, layers.Add]
        merge = draw(st.sampled_from([layers.Concatenate, layers.Concatenate, *merges]))
        width = _number(draw, 2, 6)
        widths = [_number(draw, 2, 4) for _ in range(number)]
        widths = widths if merge is layers.Concatenate else [width] * number
        x = layers.Activation("relu")(merge()([branch(x, n) for n in widths]))
    return _pooled(draw, x)


@_family(*SEQUENCE)
def recurrent(draw: Any, x: Any) -> Any:
    """Recurrent layers of all kinds, some both ways, with what is done at each step between them."""
    kinds = [layers.SimpleRNN, layers.GRU, layers.LSTM]
    for _ in range(_number(draw, 1, 3)):
        cls, units = draw(st.sampled_from(kinds)), _number(draw, 2, 5)
        layer = cls(units, return_sequences=True)
        how = draw(st.sampled_from(["one way", "both ways", "states", "dense", "convolution"]))
        if how == "both ways":
            modes = ["concat", "sum", "mul", "ave"]
            x = layers.Bidirectional(layer, merge_mode=draw(st.sampled_from(modes)))(x)
        elif how == "states":
            x, *states = cls(units, return_sequences=True, return_state=True)(x)
            x = layer(x, initial_state=states)
        else:
            x = layer(x)
        if how == "dense":
            x = layers.TimeDistributed(layers.Dense(_number(draw, 2, 5), "tanh"))(x)
        elif how == "convolution":
            x = layers.Conv1D(_number(draw, 2, 5), 3, padding="same", activation="relu")(x)
    last = draw(st.sampled_from([*kinds, layers.GlobalAveragePooling1D]))
    return last(3)(x) if last in kinds else last()(x)


@_family(*SEQUENCE)
def transformer(draw: Any, x: Any) -> Any:
    """Attention and two Dense layers, each with a normalization before it and a sum around it."""
    x = layers.Dense(_number(draw, 3, 6))(x)
    norms = [layers.LayerNormalization, layers.RMSNormalization, layers.Identity]
    norm = draw(st.sampled_from(norms))
    for _ in range(_number(draw, 1, 2)):
        y, heads = norm()(x), _number(draw, 2, 4)
        kind = draw(st.sampled_from(["heads", "groups", "products"]))
        if kind == "heads":
            y = layers.MultiHeadAttention(heads, _number(draw, 1, 3))(y, y)
        elif kind == "groups":
            y = layers.GroupQueryAttention(2, 2 * heads, heads)(y, y)
        else:
            q, k, v = (layers.Dense(n)(y) for n in (4, 4, x.shape[-1]))
            y = layers.Attention()([q, v, k])
        x = layers.Add()([x, y])
        y = layers.Dense(_number(draw, 4, 8), activation="gelu")(norm()(x))
        x = layers.Add()([x, layers.Dense(x.shape[-1])(y)])
    return layers.GlobalAveragePooling1D()(x)
