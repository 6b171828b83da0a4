"""The operations of a model: against TensorFlow's profiler, and against what is reckoned by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers, ops

from kerasedit import Editor
from kerasedit.graph.flops import Shapes, Unknown, count_flops, operations
from tests import models


def counted(model: keras.Model) -> int | None:
    return count_flops(Editor(model).graph)


def of(layer: Any, *shape: int | None) -> int | None:
    """The operations of a model of one layer, which is called on the same tensor as often as given."""
    x = keras.Input(shape)
    return counted(keras.Model(x, layer(x)))


def why(model: keras.Model) -> str:
    """Why the operations of a model are not known."""
    assert counted(model) is None
    with pytest.raises(Unknown) as found:
        operations(Shapes(Editor(model).graph))
    return str(found.value)


# -- against TensorFlow's profiler -----------------------------------------------------------------


def profiled(model: keras.Model) -> int:
    """The operations that TensorFlow counts; it knows nothing of activations and of grouped kernels."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (  # pyright: ignore
        convert_variables_to_constants_v2,
    )

    (x,) = model.inputs
    spec = tf.TensorSpec((1, *x.shape[1:]), x.dtype)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    profiler = tf.compat.v1.profiler
    options = {**profiler.ProfileOptionBuilder.float_operation(), "output": "none"}
    graph = convert_variables_to_constants_v2(function).graph
    return profiler.profile(graph=graph, options=options).total_float_ops


def convolutions() -> keras.Model:
    x = keras.Input((24, 24, 3))
    y = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    y = layers.DepthwiseConv2D(3, depth_multiplier=2)(y)
    y = layers.Conv2D(6, 2, use_bias=False)(y)
    y = layers.SeparableConv2D(10, 3, depth_multiplier=3)(y)
    y = layers.ZeroPadding2D(1)(y)
    y = layers.MaxPooling2D(3, strides=2)(y)
    a = layers.Conv2D(6, 3, padding="same")(y)
    b = layers.Conv2D(6, 1)(layers.Dropout(0.5)(y))
    y = layers.Concatenate()([layers.Add()([a, b]), layers.Multiply()([a, b])])
    y = layers.Conv2DTranspose(4, 2, strides=2, padding="same")(y)
    y = layers.AveragePooling2D(2)(y)
    y = layers.Flatten()(y)
    y = layers.Dense(7)(y)
    return keras.Model(x, layers.Dense(2, use_bias=False)(y))


def grid() -> keras.Model:
    """Weights on more axes than one, and raw operations."""
    x = keras.Input((6, 5, 4))
    y = layers.Dense(7)(x)
    y = ops.mean(y, axis=1)
    y = ops.matmul(y, ops.transpose(y, (0, 2, 1)))
    y = layers.Reshape((25,))(y) * 0.5
    return keras.Model(x, layers.Dense(3)(y - layers.Dense(25)(y)))


@pytest.mark.tensorflow
@pytest.mark.parametrize("make", [convolutions, grid], ids=lambda make: make.__name__)
def test_as_tensorflow_counts(make: Callable[[], keras.Model]) -> None:
    model = make()
    assert counted(model) == profiled(model)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("cell", "activations"),
    [
        (lambda: layers.SimpleRNN(4, unroll=True), 4),
        (lambda: layers.GRU(4, unroll=True), 12),
        (lambda: layers.GRU(4, reset_after=False, unroll=True, return_sequences=True), 12),
        (lambda: layers.LSTM(5, unroll=True), 25),
        (lambda: layers.LSTM(5, unroll=True, use_bias=False), 25),
        (lambda: layers.Bidirectional(layers.LSTM(5, unroll=True)), 50),
    ],
    ids=["simple", "gru", "gru_before", "lstm", "lstm_without_bias", "both_ways"],
)
def test_recurrent_layers_as_tensorflow_counts(cell: Callable[[], Any], activations: int) -> None:
    """Unrolled, all that a step does is in the graph; of sigmoid and tanh TensorFlow counts nothing."""
    x = keras.Input((7, 3))
    model = keras.Model(x, cell()(x))
    assert counted(model) == profiled(model) + 7 * activations


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "Xception"])
def test_applications_as_tensorflow_counts(name: str) -> None:
    """What it counts once for each channel, in normalizations, and not at all, activations, is little."""
    model = getattr(keras.applications, name)(weights=None)
    assert counted(model) == pytest.approx(profiled(model), rel=0.01)


# -- by hand ---------------------------------------------------------------------------------------

LSTM = 2 * (3 * 20 + 5 * 20) + 20 + 13 * 5  # a step of 5 units on 3 values
GRU = 2 * (3 * 12 + 4 * 12) + 2 * 12 + 11 * 4
SIMPLE = 2 * (3 * 4 + 4 * 4) + 4 + 2 * 4


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: layers.Dense(5, activation="relu"), (3, 4), 2 * 15 * 4 + 15 + 15),
        (lambda: layers.Dense(5, use_bias=False), (4,), 2 * 5 * 4),
        (lambda: layers.Conv1D(6, 3, groups=2), (9, 4), 2 * (7 * 6) * (3 * 2) + 7 * 6),
        (
            lambda: layers.Conv2D(6, 3, strides=2, padding="same", data_format="channels_first"),
            (4, 9, 9),
            2 * (25 * 6) * (9 * 4) + 25 * 6,
        ),
        (lambda: layers.Conv3D(2, 2, dilation_rate=2), (5, 5, 5, 3), 2 * 27 * 2 * 24 + 27 * 2),
        (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4), 2 * (7 * 8) * 3 + 7 * 8),
        (
            lambda: layers.SeparableConv1D(6, 3, depth_multiplier=2),
            (9, 4),
            2 * (7 * 8) * 3 + 2 * (7 * 6) * 8 + 7 * 6,
        ),
        (
            lambda: layers.SeparableConv2D(6, (3, 2), use_bias=False),
            (9, 8, 4),
            2 * (7 * 7 * 4) * 6 + 2 * (7 * 7 * 6) * 4,
        ),
        (lambda: layers.Conv1DTranspose(6, 4, strides=3), (5, 2), 2 * 5 * 4 * 2 * 6 + 16 * 6),
        (lambda: layers.SimpleRNN(4), (7, 3), 7 * SIMPLE),
        (lambda: layers.GRU(4, return_sequences=True), (7, 3), 7 * GRU),
        (lambda: layers.LSTM(5, return_state=True), (7, 3), 7 * LSTM),
        (lambda: layers.RNN(layers.LSTMCell(5)), (7, 3), 7 * LSTM),
        (
            lambda: layers.RNN([layers.LSTMCell(5), layers.SimpleRNNCell(2)]),
            (7, 3),
            7 * (LSTM + 2 * (5 * 2 + 2 * 2) + 2 + 2 * 2),
        ),
        (lambda: layers.Bidirectional(layers.LSTM(5)), (7, 3), 2 * 7 * LSTM),
        (
            lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum"),
            (7, 3),
            2 * 7 * GRU + 7 * 4,
        ),
        (
            lambda: layers.ConvLSTM2D(4, 2, return_sequences=True),
            (3, 6, 6, 2),
            3 * 25 * (2 * (4 * 2 * 16 + 4 * 4 * 16) + 16 + 13 * 4),
        ),
        (
            lambda: layers.ConvLSTM1D(4, 3, padding="same", data_format="channels_first"),
            (3, 2, 6),
            3 * 6 * (2 * (3 * 2 * 16 + 3 * 4 * 16) + 16 + 13 * 4),
        ),
        (lambda: layers.TimeDistributed(layers.Dense(5)), (7, 2, 4), 7 * (2 * 10 * 4 + 10)),
        (
            lambda: layers.TimeDistributed(layers.Conv2D(5, 2, activation="relu")),
            (3, 6, 6, 2),
            3 * 25 * (2 * 5 * 8 + 5 + 5),
        ),
        (lambda: layers.TimeDistributed(layers.LSTM(5)), (2, 7, 3), 2 * 7 * LSTM),
        (
            lambda: layers.SpectralNormalization(layers.Conv1D(6, 3)),
            (9, 4),
            2 * (7 * 6) * 12 + 7 * 6,
        ),
        (
            lambda: layers.EinsumDense("abc,cde->abde", output_shape=(5, 2, 3), bias_axes="e"),
            (5, 4),
            2 * (5 * 2 * 3) * 4 + 5 * 2 * 3,
        ),
        (lambda: layers.EinsumDense("...x,xy->...y", output_shape=6), (5, 4), 2 * (5 * 6) * 4),
        (lambda: layers.EinsumDense("abc,c->abc", output_shape=(5, 4)), (5, 4), 5 * 4),
        (lambda: layers.BatchNormalization(), (5, 4), 2 * 20),
        (lambda: layers.LayerNormalization(), (5, 4), 7 * 20),
        (lambda: layers.GroupNormalization(2, center=False), (5, 4), 6 * 20),
        (lambda: layers.RMSNormalization(), (5, 4), 4 * 20),
        (lambda: layers.UnitNormalization(), (5, 4), 3 * 20),
        (lambda: layers.PReLU(), (5, 4), 20),
        (lambda: layers.ReLU(), (5, 4), 20),
        (lambda: layers.Activation("linear"), (5, 4), 0),
        (lambda: layers.Rescaling(2.0, 1.0), (5, 4), 2 * 20),
        (lambda: layers.MaxPooling2D((3, 2)), (9, 8, 4), 3 * 4 * 4 * 6),
        (lambda: layers.AveragePooling1D(2, strides=1), (5, 4), 4 * 4 * 2),
        (lambda: layers.GlobalAveragePooling2D(), (9, 8, 4), 9 * 8 * 4),
        (lambda: layers.UpSampling1D(2), (5, 4), 40),
        (lambda: layers.Cropping1D(1), (5, 4), 0),
        (lambda: layers.GaussianNoise(0.5), (5, 4), 0),
    ],
)
def test_a_layer(make: Callable[[], Any], shape: tuple[int, ...], expected: int) -> None:
    assert of(make(), *shape) == expected


def test_embeddings() -> None:
    tokens = keras.Input((6,), dtype="int32")
    assert counted(keras.Model(tokens, layers.Embedding(9, 4)(tokens))) == 0
    both = layers.ReversibleEmbedding(9, 4)
    model = keras.Model(tokens, both(both(tokens), reverse=True))
    assert counted(model) == 2 * (6 * 9) * 4


def test_weights_of_lora() -> None:
    """The kernel is reckoned anew: a product of two small ones, scaled and added."""
    x = keras.Input((3, 4))
    dense, conv = layers.Dense(5), layers.Conv1D(6, 2)
    model = keras.Model(x, conv(dense(x)))
    before = counted(model)
    assert before == 2 * 15 * 4 + 15 + 2 * (2 * 6) * 10 + 2 * 6
    dense.enable_lora(2)
    conv.enable_lora(3)
    assert counted(model) == before + (2 * 4 * 2 * 5 + 2 * 20) + (2 * 10 * 3 * 6 + 2 * 60)


@pytest.mark.tensorflow
def test_quantized_weights_multiply_as_before() -> None:
    x = keras.Input((8,))
    model = keras.Model(x, layers.Dense(6)(x))
    before = counted(model)
    model.quantize("int4")  # two of them are in a byte
    assert counted(model) == before == 2 * 6 * 8 + 6


# Of 5 queries, 7 keys and values: 2 heads of size 3, values of size 4, put out as 6.
HEADS = {
    "project": 2 * (5 * 6 * 2 * 3 + 7 * 9 * 2 * 3 + 7 * 8 * 2 * 4) + 5 * 6 + 7 * 6 + 7 * 8,
    "scale": 5 * 2 * 3,
    "pairs": 2 * 5 * 7 * (2 * 3 + 1 + 2 * 4),
    "out": 2 * 5 * 2 * 4 * 6 + 5 * 6,
}


def attending(layer: Any, **options: Any) -> int | None:
    query, key, value = keras.Input((5, 6)), keras.Input((7, 9)), keras.Input((7, 8))
    return counted(keras.Model([query, key, value], layer(query, key=key, value=value, **options)))


def test_attention_of_many_heads() -> None:
    assert attending(layers.MultiHeadAttention(2, 3, value_dim=4)) == sum(HEADS.values())
    no_bias = sum(HEADS.values()) - (5 * 6 + 7 * 6 + 7 * 8 + 5 * 6)
    assert attending(layers.MultiHeadAttention(2, 3, value_dim=4, use_bias=False)) == no_bias
    x = keras.Input((5, 4, 6))
    along = layers.MultiHeadAttention(2, 3, attention_axes=(2,), use_bias=False)
    project, pairs = 4 * 2 * (20 * 6 * 6), 2 * 20 * 4 * (2 * 3 + 1 + 2 * 3)
    assert counted(keras.Model(x, along(x, x))) == project + 20 * 6 + pairs


def test_attention_of_grouped_queries() -> None:
    x = keras.Input((5, 6))
    layer = layers.GroupQueryAttention(2, 4, 2, use_bias=False)  # 4 heads of queries, 2 of the rest
    project = 2 * 5 * 6 * (4 * 2 + 2 * 2 + 2 * 2) + 2 * 5 * (4 * 2) * 6
    assert counted(keras.Model(x, layer(x, x))) == project + 5 * 8 + 4 * 25 * (4 + 1 + 4)


@pytest.mark.parametrize(
    ("make", "score"),
    [
        (lambda: layers.Attention(), 2 * 6),
        (lambda: layers.Attention(use_scale=True), 2 * 6 + 1),
        (lambda: layers.Attention(score_mode="concat"), 3 * 6 + 1),
        (lambda: layers.AdditiveAttention(use_scale=False), 3 * 6),
        (lambda: layers.AdditiveAttention(), 4 * 6),
    ],
    ids=["dot", "scaled", "concat", "additive", "additive_scaled"],
)
def test_attention_of_one_head(make: Callable[[], Any], score: int) -> None:
    query, value, key = keras.Input((5, 6)), keras.Input((7, 8)), keras.Input((7, 6))
    model = keras.Model([query, value, key], make()([query, value, key]))
    assert counted(model) == 35 * (score + 1 + 2 * 8)


def test_merging() -> None:
    a, b, c = keras.Input((5, 4)), keras.Input((5, 4)), keras.Input((5, 4))
    for layer, expected in (
        (layers.Add(), 2 * 20),
        (layers.Maximum(), 2 * 20),
        (layers.Average(), 3 * 20),
        (layers.Concatenate(), 0),
    ):
        assert counted(keras.Model([a, b, c], layer([a, b, c]))) == expected
    assert counted(keras.Model([a, b], layers.Dot(axes=(1, 1))([a, b]))) == 2 * 16 * 5


def test_raw_operations() -> None:
    x, y = keras.Input((5, 4)), keras.Input((4, 3))
    for made, expected in (
        (x @ y, 2 * 15 * 4),
        (ops.einsum("bij,bjk->bik", x, y), 2 * 15 * 4),
        (ops.einsum("bij->bi", x), 5 * 4),
        (ops.tensordot(x, y, axes=[[2], [1]]), None),  # of all samples with all others
        (ops.dot(x, ops.ones((4, 2))), 2 * 10 * 4),
        (ops.matmul(x, ops.ones((4, 2))), 2 * 10 * 4),
        (ops.relu(x) + 1.0, 2 * 20),
        (ops.sum(x, axis=1), 20),
        (ops.var(x, axis=-1), 3 * 20),
        (ops.softmax(x), 20),
        (ops.concatenate([x, x], axis=1)[:, 1:], 0),
        (ops.reshape(x, (-1, 20)), 0),
        (ops.max_pool(x, 2), 2 * 2 * 4),
        (ops.conv(x, ops.ones((2, 4, 3))), 2 * (4 * 3) * 8),
    ):
        assert counted(keras.Model([x, y], made)) == expected
    variable = layers.Embedding(9, 4, name="tied")
    tokens = keras.Input((6,), dtype="int32")
    made = ops.einsum("btd,vd->btv", variable(tokens), variable.embeddings)
    assert counted(keras.Model(tokens, made)) == 2 * (6 * 9) * 4


def test_a_batch_of_a_fixed_size_counts_one_sample() -> None:
    x = keras.Input(batch_shape=(8, 5, 4))
    y = ops.relu(layers.Dense(3)(x))
    assert counted(keras.Model(x, y)) == 2 * 15 * 4 + 15 + 15


def test_each_call_counts() -> None:
    x = keras.Input((4,))
    dense = layers.Dense(4)
    assert counted(keras.Model(x, dense(dense(dense(x))))) == 3 * (2 * 4 * 4 + 4)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.ReLU()])
    assert counted(keras.Model(x, inner(inner(x)))) == 2 * (2 * 4 * 4 + 4 + 4)


# -- what is not known -----------------------------------------------------------------------------


class Same(layers.Dense):
    pass


class Other(layers.Dense):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=training) * 2


def test_a_class_that_leaves_the_call_alone_counts_as_its_base() -> None:
    assert of(Same(5), 4) == 2 * 5 * 4 + 5
    assert of(Other(5), 4) is None


@pytest.mark.parametrize(
    ("make", "shape", "text"),
    [
        (
            lambda: models.Scale(name="scale"),
            (4,),
            "those of 'scale' .Scale., as what its call does",
        ),
        (lambda: layers.Lambda(lambda x: x, name="f"), (4,), "those of 'f' .Lambda."),
        (lambda: layers.Dense(3), (None, 4), "a size is open"),
        (lambda: layers.LSTM(3), (None, 4), "a size is open"),
        (lambda: layers.Conv2D(3, 2), (None, None, 4), "a size is open"),
        (lambda: layers.TimeDistributed(models.Scale()), (3, 4), "what its .*Scale does"),
        (lambda: lambda x: ops.reshape(x, (-1, 4)), (3, 4), "positions into the batch"),
        (lambda: lambda x: ops.einsum("bi,bi,bi->b", x, x, x), (4,), "the order of its products"),
        (lambda: lambda x: ops.qr(x)[0], (4, 4), "what it does"),
    ],
    ids=["own", "lambda", "open", "steps", "image", "inside", "rows", "three", "algebra"],
)
def test_what_is_not_known_says_why(make: Callable[[], Any], shape: Any, text: str) -> None:
    x = keras.Input(shape)
    assert re.search(text, why(keras.Model(x, make()(x))))


def test_what_is_not_known_of_models() -> None:
    assert "is Python code" in why(models.subclassed())
    any_size = keras.Input((None, None, 3))
    inner = keras.Model(any_size, layers.Conv2D(2, 1)(any_size), name="inner")
    x = keras.Input((4, 4, 3))
    assert "'inner' is called on other shapes" in why(keras.Model(x, inner(x)))
