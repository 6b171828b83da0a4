"""Models whose channels are pruned, and the oracle: what is left puts out what zeros would put out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import Editor
from tests.models import data, out, whole


def distinct(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight values that are all different, so that what is left tells where it was."""
    random = np.random.default_rng(seed)
    single = set(_of_single_channels(model))
    for weight in model.weights:
        if "int" in str(weight.dtype):
            continue
        size = int(np.prod(weight.shape))
        values = _spread(size)
        if len(weight.shape) > 1:  # so that what goes in reaches what comes out
            fan = np.prod(weight.shape[:-2] if id(weight) in single else weight.shape[:-1])
            values *= 2 * (6 / fan) ** 0.5
        elif any(name in weight.path for name in ("variance", "gamma", "scale")):
            values += 1.0
        weight.assign(random.permutation(values).reshape(weight.shape).astype("float32"))
    return model


def _spread(size: int) -> np.ndarray:
    """Numbers about zero no two of which are the same, also when multiplied and rounded to floats."""
    if size < 2**22:
        return (np.arange(size) + 0.37) / size - 0.5
    # So many floats are only where they lie closer: each second one from a number on, of both signs.
    first = np.float32(0.06).view(np.int32)
    values = (first + 2 * np.arange((size + 1) // 2, dtype=np.int32)).view(np.float32)
    return np.concatenate([values, -values])[:size].astype(np.float64)


def _of_single_channels(model: Any) -> list[int]:
    """The kernels that take each channel for itself."""
    found: list[int] = []
    for layer in getattr(model, "layers", ()):
        found += _of_single_channels(layer)
        if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
            found.append(id(layer.kernel))
    return found


def zeroed(source: keras.Model, pruned: keras.Model) -> keras.Model:
    """The source with zeros in the place of all values that the pruned model does not have.

    Where they were is found by the values alone. Whatever a pruned model ties wrongly, as a channel
    of one layer that goes on to what belonged to another one, is something else here.
    """
    model = Editor(source, compile=False).model
    assert [w.name for w in model.weights] == [w.name for w in pruned.weights]
    for weight, left in zip(model.weights, pruned.weights, strict=True):
        before, after = ops.convert_to_numpy(weight), ops.convert_to_numpy(left)
        there = np.isin(before, after)
        assert before[there].tobytes() == after.tobytes(), weight.path
        nothing = 1.0 if "variance" in weight.path else 0.0
        weight.assign(np.where(there, before, nothing).astype(before.dtype))
    return model


def check_pruned(source: keras.Model, pruned: keras.Model, x: Any) -> None:
    """A pruned model puts out what the source puts out with zeros for what is gone."""
    assert pruned.count_params() < source.count_params()
    found, expected = out(pruned, x), out(zeroed(source, pruned), x)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(b).max() > 1e-3  # not all dead
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def costs(plan: Any) -> dict[str, tuple[int, int]]:
    """What there was before and after, as plans count it: by graphs that were made and inferred."""
    assert plan.ok, plan.errors
    return {
        "params": (plan.params_before, plan.params_after),
        "flops": (plan.flops_before, plan.flops_after),
        "size": (plan.bytes_before, plan.bytes_after),
    }


def to(what: str, share: float) -> dict[str, Any]:
    """The argument that says which share of something stays."""
    return {what: share}


# -- models --------------------------------------------------------------------------------------

ZOO: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any]]] = {}


def _model(*shape: int, whole_below: int = 0) -> Callable[[Callable[[Any], Any]], Any]:
    """Enters a model into the zoo: a function of its input tensor, which is of a shape."""

    def enter(build: Callable[[Any], Any]) -> Any:
        def make() -> keras.Model:
            x = keras.Input(shape, name="x", dtype="int32" if whole_below else "float32")
            return distinct(keras.Model(x, build(x), name=build.__name__))

        def batch() -> Any:
            return whole(whole_below, 3, *shape) if whole_below else data(3, *shape)

        ZOO[build.__name__] = make, batch
        return build

    return enter


@_model(4)
def dense(x: Any) -> Any:
    x = layers.Dense(6, activation="tanh", name="a")(x)
    x = layers.Dense(5, activation="relu", name="b")(x)
    return layers.Dense(2, name="top")(x)


@_model(3, 2, 4)
def dense_on_a_grid(x: Any) -> Any:
    x = layers.Dense(6, activation="gelu", name="a")(x)
    x = layers.LeakyReLU()(x)
    x = layers.Dense(5, use_bias=False, name="b")(x)
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(9, 3)
def conv1d(x: Any) -> Any:
    x = layers.Conv1D(6, 3, name="a")(x)
    x = layers.BatchNormalization()(x)
    x = layers.PReLU(shared_axes=[1])(x)
    x = layers.ZeroPadding1D(1)(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.UpSampling1D(2)(x)
    x = layers.Cropping1D(1)(x)
    x = layers.SeparableConv1D(5, 3, depth_multiplier=2, name="b")(x)
    x = layers.AveragePooling1D(2)(x)
    x = layers.DepthwiseConv1D(1, depth_multiplier=2, name="c")(x)
    x = layers.Conv1DTranspose(4, 2, name="d")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return layers.Dense(2, name="top")(x)


@_model(8, 8, 3)
def conv2d(x: Any) -> Any:
    x = layers.Conv2D(6, 3, activation="sigmoid", name="a")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.SpatialDropout2D(0.2)(x)
    x = layers.GaussianNoise(0.1)(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2D(5, 1, strides=1, dilation_rate=2, use_bias=False, name="b")(x)
    x = layers.BatchNormalization(center=False)(x)
    x = layers.ELU()(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.Cropping2D(1)(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, name="c")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 5, 5, 2)
def conv3d(x: Any) -> Any:
    x = layers.Conv3D(4, 2, name="a")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling3D(2)(x)
    x = layers.UpSampling3D(2)(x)
    x = layers.ZeroPadding3D(1)(x)
    x = layers.Cropping3D(1)(x)
    x = layers.Conv3DTranspose(3, 2, name="b")(x)
    x = layers.AveragePooling3D(2)(x)
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(6, 6, 3)
def flattened(x: Any) -> Any:
    x = layers.Conv2D(4, 3, name="a")(x)
    x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(5, activation="silu", name="b")(x)
    x = layers.RepeatVector(3)(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Reshape((15,))(x)
    return layers.Dense(2, name="top")(x)


@_model(4, 4, 3)
def reshaped(x: Any) -> Any:
    x = layers.Conv2D(6, 1, name="a")(x)
    x = layers.Reshape((16, 6))(x)
    x = layers.Dense(4, name="b")(x)
    x = layers.Reshape((4, 4, 4))(x)
    x = layers.Conv2D(5, 2, name="c")(x)
    x = layers.Reshape((-1, 5))(x)
    x = layers.Dense(6, name="d")(x)
    x = layers.Reshape((9, 3, 2))(x)  # d loses two at a time
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(6, 6, 3)
def grouped(x: Any) -> Any:
    x = layers.Conv2D(6, 1, name="a")(x)
    x = layers.Conv2D(8, 2, groups=2, name="b")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(16, 2, groups=8, name="c")(x)  # one channel each
    x = layers.GroupNormalization(groups=-1)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name="top")(x)


@_model(8, 8, 3)
def depthwise(x: Any) -> Any:
    x = layers.Conv2D(5, 1, name="a")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.SeparableConv2D(4, 3, depth_multiplier=3, name="s")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name="top")(x)


@_model(8, 8, 3)
def residual(x: Any) -> Any:
    x = layers.Conv2D(6, 3, padding="same", name="stem")(x)
    for number in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"in{number}")(x)
        y = layers.BatchNormalization(name=f"bn{number}")(y)
        y = layers.ReLU(name=f"relu{number}")(y)
        y = layers.Conv2D(6, 3, padding="same", name=f"out{number}")(y)
        x = layers.Add(name=f"add{number}")([x, y])
    x = layers.Activation("swish")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name="top")(x)


@_model(8, 8, 3)
def inverted_residual(x: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    y = layers.Conv2D(8, 1, activation="swish", name="expand")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="dw")(y)
    y = layers.BatchNormalization(name="bn")(y)
    s = layers.GlobalAveragePooling2D(name="squeeze")(y)
    s = layers.Reshape((1, 1, 8), name="grid")(s)
    s = layers.Conv2D(2, 1, activation="relu", name="reduce")(s)
    s = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(s)
    y = layers.Multiply(name="scale")([y, s])
    y = layers.Conv2D(4, 1, name="project")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name="top")(x)


@_model(8, 8, 3)
def u_net(x: Any) -> Any:
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="down1")(x)
    b = layers.MaxPooling2D(2)(a)
    b = layers.Conv2D(6, 3, padding="same", activation="relu", name="down2")(b)
    c = layers.MaxPooling2D(2)(b)
    c = layers.Conv2D(8, 3, padding="same", activation="relu", name="bottom")(c)
    c = layers.Conv2DTranspose(6, 2, strides=2, name="up2")(c)
    c = layers.Concatenate(name="cat2")([b, c])
    c = layers.Conv2D(6, 3, padding="same", name="join2")(c)
    c = layers.UpSampling2D(2)(c)
    c = layers.Concatenate(name="cat1")([c, a, x])
    c = layers.Conv2D(4, 3, padding="same", name="join1")(c)
    return layers.Conv2D(2, 1, name="top")(c)


@_model(6, 6, 3)
def dense_block(x: Any) -> Any:
    x = layers.Conv2D(4, 1, name="stem")(x)
    for number in range(3):
        y = layers.BatchNormalization(name=f"bn{number}")(x)
        y = layers.Conv2D(3, 3, padding="same", name=f"grow{number}")(y)
        x = layers.Concatenate(name=f"cat{number}")([x, y])
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(6, 6, 3)
def branches(x: Any) -> Any:
    a = layers.Conv2D(3, 1, name="a")(x)
    b = layers.Conv2D(5, 1, name="b")(x)
    both = layers.Concatenate(name="cat")([a, b])
    c = layers.Conv2D(8, 1, name="c")(x)  # tied to a and to b
    x = layers.Average(name="mean")([both, c])
    d = layers.Maximum(name="max")([x, layers.Conv2D(8, 1, name="d")(x)])
    x = layers.Subtract(name="less")([d, both])
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(2, name="top")(x)


@_model(7, 3)
def recurrent(x: Any) -> Any:
    x = layers.SimpleRNN(4, return_sequences=True, name="rnn")(x)
    x = layers.GRU(5, return_sequences=True, name="gru")(x)
    x = layers.GRU(4, reset_after=False, return_sequences=True, name="gru1")(x)
    x = layers.LSTM(6, return_sequences=True, name="lstm")(x)
    x = layers.RNN(layers.LSTMCell(5), return_sequences=True, name="cell")(x)
    x = layers.TimeDistributed(layers.Dense(4, activation="tanh"), name="each")(x)
    x = layers.GRU(5, use_bias=False, name="last")(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 3)
def both_ways(x: Any) -> Any:
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="concat")(x)
    x = layers.Bidirectional(layers.GRU(5, return_sequences=True), merge_mode="sum", name="sum")(x)
    x = layers.Bidirectional(layers.SimpleRNN(3), merge_mode="mul", name="mul")(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 3)
def states(x: Any) -> Any:
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="enc")(x)
    z = layers.LSTM(4, name="dec")(y, initial_state=[h, c])
    g, s = layers.GRU(3, return_state=True, name="gru")(x)
    x = layers.Concatenate()([z, g, s])
    return layers.Dense(2, name="top")(x)


@_model(3, 6, 6, 2)
def frames(x: Any) -> Any:
    x = layers.ConvLSTM2D(4, 2, return_sequences=True, name="a")(x)
    x = layers.ConvLSTM2D(3, 2, name="b")(x)
    x = layers.Flatten()(x)
    return layers.Dense(2, name="top")(x)


@_model(6, whole_below=9)
def words(x: Any) -> Any:
    x = layers.Embedding(9, 6, mask_zero=True, name="embed")(x)
    x = layers.LSTM(4, return_sequences=True, name="lstm")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 4)
def heads(x: Any) -> Any:
    y = layers.Dense(6, name="in")(x)
    a = layers.MultiHeadAttention(4, 3, name="mha")(y, y)
    y = layers.Add()([y, a])
    a = layers.MultiHeadAttention(3, 2, value_dim=4, output_shape=5, name="out5")(y, y)
    q = layers.GroupQueryAttention(2, 4, 2, name="gqa")(a, a)
    a = layers.Add()([a, q])
    k, v = layers.Dense(5, name="k")(a), layers.Dense(4, name="v")(a)
    a = layers.Attention(name="plain")([a, v, k])
    a = layers.EinsumDense("abc,cd->abd", output_shape=(5, 6), bias_axes="d", name="e")(a)
    a = layers.GlobalAveragePooling1D()(a)
    return layers.Dense(2, name="top")(a)


@_model(4)
def shared_layer(x: Any) -> Any:
    tower = layers.Dense(6, activation="tanh", name="tower")
    a, b = layers.Dense(5, name="a")(x), layers.Dense(5, name="b")(x)
    x = layers.Concatenate()([tower(a), tower(b)])
    return layers.Dense(2, name="top")(x)


@_model(6, 6, 3)
def nested(x: Any) -> Any:
    z = keras.Input((6, 6, 4), name="z")
    h = layers.Conv2D(5, 1, name="conv")(z)
    h = layers.BatchNormalization(name="bn")(h)
    block = keras.Model(z, layers.Conv2D(4, 1, name="conv1")(h), name="block")
    x = layers.Conv2D(4, 1, name="stem")(x)
    x = layers.Add(name="add")([x, block(x)])
    x = block(x)
    x = layers.GlobalAveragePooling2D()(x)
    tail = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="relu", name="hidden"), layers.ReLU()],
        name="tail",
    )
    return layers.Dense(2, name="top")(tail(x))


@_model(6, 6, 3)
def raw_operations(x: Any) -> Any:
    a = layers.Conv2D(6, 1, name="a")(x)
    b = layers.Conv2D(6, 1, name="b")(x)
    x = ops.relu(a + b * 0.5) / 2.0
    x = ops.maximum(x, a)
    x = ops.concatenate([x, -b], axis=-1)
    x = ops.transpose(x, (0, 2, 1, 3))[:, 1:]
    x = layers.Conv2D(4, 1, name="c")(x)
    x = ops.reshape(x, (-1, 30, 4))
    x = ops.mean(x, axis=1)
    x = ops.expand_dims(x, 1)
    x = ops.squeeze(x, axis=1)
    return layers.Dense(2, name="top")(x)


@_model(3, 6, 6, 2)
def each_frame(x: Any) -> Any:
    x = layers.TimeDistributed(layers.Conv2D(5, 2, activation="relu"), name="a")(x)
    x = layers.TimeDistributed(layers.BatchNormalization(), name="norm")(x)
    x = layers.TimeDistributed(layers.DepthwiseConv2D(2, depth_multiplier=2), name="dw")(x)
    x = layers.TimeDistributed(layers.MaxPooling2D(2), name="pool")(x)
    x = layers.TimeDistributed(layers.Flatten(), name="flat")(x)
    x = layers.LSTM(4, name="lstm")(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 3)
def stacked_cells(x: Any) -> Any:
    x = layers.Dense(4, name="a")(x)
    cells = [layers.LSTMCell(4), layers.GRUCell(5), layers.LSTMCell(6)]
    x = layers.RNN(cells, return_sequences=True, name="stack")(x)
    x = layers.RNN([layers.SimpleRNNCell(3)], name="single")(x)
    return layers.Dense(2, name="top")(x)


@_model(5, 4)
def raw_products(x: Any) -> Any:
    q, k = layers.Dense(6, name="q")(x), layers.Dense(6, name="k")(x)
    scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))), axis=-1)
    y = ops.matmul(scores, layers.Dense(5, name="v")(x))
    more = ops.einsum("btd,bsd->bts", layers.Dense(4, name="l")(x), layers.Dense(4, name="r")(x))
    y = ops.einsum("bts,bsd->btd", more, y)
    a, b = ops.split(layers.Dense(8, name="gated")(y), 2, axis=-1)
    y = ops.pad(a * ops.sigmoid(b), [[0, 0], [1, 0], [0, 0]])
    c, d, e = ops.split(layers.Dense(7, name="parts")(y), [2, 4], axis=-1)
    y = ops.concatenate([layers.Dense(3, name="c")(c), e, layers.Dense(3, name="d")(d)], axis=-1)
    return layers.Dense(2, name="top")(ops.mean(y, axis=1))


# With JAX, Keras has no attention whose values have a size of their own, and no stack of cells.
_ONLY_TENSORFLOW = ("heads", "stacked_cells")
NAMES = [
    pytest.param(name, marks=pytest.mark.tensorflow if name in _ONLY_TENSORFLOW else ())
    for name in ZOO
]
