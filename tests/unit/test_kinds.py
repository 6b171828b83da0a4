"""Every kind of model that Keras can rebuild: copied, edited beside and on each of its layers.

What is put in does nothing, and what replaces a layer is the same again, so that the model must put
out what it did, to the bit; what is cut off is compared with a model made by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, ShapeMismatch, StructureError
from kerasedit.views import count_params, count_trainable
from tests.models import data, fingerprint, functional_subclass, out, rebuilt, same, scramble, whole

pytestmark = pytest.mark.filterwarnings("ignore")

# -- layers and models of classes of their own ---------------------------------------------------


@keras.saving.register_keras_serializable("kinds")
class Cell(layers.Layer):
    """A cell of a recurrent layer."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, x: Any, states: Any) -> Any:
        state = ops.tanh(x @ self.kernel + states[0] @ self.recurrent)
        return state, [state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("kinds")
class Maybe(layers.Layer):
    """Adds a second tensor if there is one."""

    def call(self, a: Any, b: Any = None) -> Any:
        return a if b is None else a + b

    def compute_output_shape(self, a_shape: Any, b_shape: Any = None) -> Any:
        return a_shape


@keras.saving.register_keras_serializable("kinds")
class Pair(layers.Layer):
    """Puts out two tensors, of different kinds."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, x: Any) -> Any:
        return {"same": x, "other": (x @ self.kernel,)}


@keras.saving.register_keras_serializable("kinds")
class AddsLoss(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(ops.abs(x)))
        return x


@keras.saving.register_keras_serializable("kinds")
class Table(layers.Layer):
    """Keeps a plain array, which it writes into files itself."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = np.zeros(4, "float32")

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale + self.table

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["table"] = self.table

    def load_own_variables(self, store: Any) -> None:
        self.scale.assign(store["0"])
        self.table = np.asarray(store["table"])


@keras.saving.register_keras_serializable("kinds")
class Code(keras.Model):
    """Its call is Python code; one weight belongs to none of its layers."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units, activation="tanh", name="dense")
        self.drop = layers.Dropout(0.3, seed=1, name="drop")
        self.scale = self.add_weight(shape=(units,), name="scale")

    def call(self, x: Any, training: Any = None) -> Any:
        return self.drop(self.dense(x), training=training) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("kinds")
class Beside(keras.Model):
    """A functional model that has a weight and a layer beside its graph."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        x = keras.Input((4,), name="beside_in")
        super().__init__(x, layers.Dense(units, name="dense")(x), **kwargs)
        self.units = units
        self.scale = self.add_weight(shape=(2,), name="scale")
        self.extra = layers.Dense(2, name="extra")
        self.extra.build((None, 3))

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "name": self.name}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return cls(**config)


# -- the kinds -----------------------------------------------------------------------------------

Kind = tuple[Callable[[], keras.Model], Callable[[], Any]]
KINDS: dict[str, Kind] = {}


def kind(batch: Callable[[], Any]) -> Callable[[Callable[[], keras.Model]], Callable[..., Any]]:
    """Adds a model, made by a function, to the kinds, with a batch for it."""

    def add(make: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        KINDS[make.__name__.replace("_", " ")] = (make, batch)
        return make

    return add


def tokens() -> Any:
    """Padded sequences of different lengths."""
    return whole(9, 3, 6) * (np.arange(6) < np.array([[2], [6], [4]]))


def token_input(name: str = "tokens") -> Any:
    return keras.Input((6,), dtype="int32", name=name)


def embedded(x: Any) -> Any:
    return layers.Embedding(9, 4, mask_zero=True, name="embed")(x)


def head(x: Any, name: str = "top") -> Any:
    return layers.Dense(2, name=name)(x)


# Masks and recurrent layers.


@kind(tokens)
def masks_through_recurrent_layers() -> keras.Model:
    t = token_input()
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(embedded(t))
    return scramble(keras.Model(t, head(layers.GRU(3, name="gru")(h))))


@kind(tokens)
def states_of_a_bidirectional() -> keras.Model:
    t = token_input()
    found = layers.Bidirectional(layers.LSTM(3, return_state=True), name="both")(embedded(t))
    return scramble(keras.Model(t, layers.Concatenate(name="cat")(found)))


@kind(tokens)
def states_passed_on() -> keras.Model:
    t = token_input()
    s, h, c = layers.LSTM(3, return_state=True, return_sequences=True, name="enc")(embedded(t))
    bridge = layers.Dense(3, name="bridge")(c)
    dec = layers.LSTM(3, return_sequences=True, name="dec")(s, initial_state=[h, bridge])
    return scramble(keras.Model(t, [head(dec), h]))


@kind(lambda: data(2, 5, 4))
def stacked_cells() -> keras.Model:
    x = keras.Input((5, 4), name="x")
    cells = layers.StackedRNNCells([layers.LSTMCell(3), Cell(2)])
    found = layers.RNN(cells, return_state=True, name="rnn")(x)
    return scramble(keras.Model(x, [head(found[0]), found[-1]]))


@kind(lambda: data(2, 5, 4))
def dropout_inside_recurrent_layers() -> keras.Model:
    x = keras.Input((None, 4), name="x")
    h = layers.LSTM(
        3, return_sequences=True, go_backwards=True, dropout=0.2, recurrent_dropout=0.1, name="l"
    )(x)
    return scramble(keras.Model(x, head(h)))


@kind(lambda: data(2, 3, 6, 6, 3))
def convolutional_recurrent() -> keras.Model:
    x = keras.Input((3, 6, 6, 3), name="x")
    h = layers.ConvLSTM2D(2, 3, return_sequences=True, name="conv_lstm")(x)
    h = layers.TimeDistributed(layers.Conv2D(2, 2), name="each")(h)
    return scramble(keras.Model(x, layers.Conv3D(1, 2, name="conv")(h)))


@kind(lambda: [tokens(), tokens()])
def masks_that_merge() -> keras.Model:
    a, b = token_input("a"), token_input("b")
    embed = layers.Embedding(9, 4, mask_zero=True, name="embed")
    h = layers.Add(name="add")([embed(a), embed(b)])
    h = layers.Concatenate(axis=1, name="cat")([h, embed(b)])
    return scramble(keras.Model([a, b], layers.LSTM(3, name="lstm")(h)))


@kind(tokens)
def masks_as_tensors() -> keras.Model:
    t = token_input()
    h = embedded(t)
    h = layers.LSTM(3, return_sequences=True, name="lstm")(h, mask=ops.not_equal(t, 3))
    return scramble(keras.Model(t, layers.GlobalAveragePooling1D(name="mean")(h)))


# Attention.


@kind(lambda: [data(2, 3, 4), data(2, 5, 4), data(2, 3, 5) > 0])
def attention_with_a_mask_and_scores() -> keras.Model:
    q, v = keras.Input((3, 4), name="q"), keras.Input((5, 4), name="v")
    m = keras.Input((3, 5), dtype="bool", name="m")
    mixed, scores = layers.MultiHeadAttention(2, 3, name="mha")(
        q, v, attention_mask=m, return_attention_scores=True
    )
    return scramble(keras.Model([q, v, m], [head(mixed), scores]))


@kind(lambda: [data(2, 3, 4), data(2, 5, 4)])
def attention_by_keywords() -> keras.Model:
    q, v = keras.Input((3, 4), name="q"), keras.Input((5, 4), name="v")
    key, query = layers.Dense(4, name="key")(v), layers.Dense(4, name="query")(q)
    mixed = layers.MultiHeadAttention(2, 3, name="mha")(query=query, value=v, key=key)
    return scramble(keras.Model([q, v], head(mixed)))


@kind(tokens)
def attention_to_itself() -> keras.Model:
    t = token_input()
    h = embedded(t)
    mixed = layers.MultiHeadAttention(2, 3, name="mha")(h, h, use_causal_mask=True)
    h = layers.LayerNormalization(name="norm")(mixed + h)
    return scramble(keras.Model(t, layers.GlobalAveragePooling1D(name="mean")(h)))


@kind(lambda: [data(2, 3, 4), data(2, 5, 4)])
def attention_on_lists() -> keras.Model:
    q, v = keras.Input((3, 4), name="q"), keras.Input((5, 4), name="v")
    a = layers.Attention(use_scale=True, name="att")([q, v])
    b = layers.AdditiveAttention(name="additive")([q, v, layers.Dense(4, name="key")(v)])
    c = layers.Attention(name="self")([q, q])
    d = layers.GroupQueryAttention(4, 4, 2, name="grouped")(q, v)
    return scramble(keras.Model([q, v], layers.Concatenate(name="cat")([a, b, c, d])))


# Raw operations.


@kind(lambda: data(3, 4))
def operations_with_several_outputs() -> keras.Model:
    x = keras.Input((4,), name="x")
    a, b = ops.split(layers.Dense(6, name="dense")(x), 2, axis=-1)
    c = ops.concatenate([a, b * 2.0], axis=-1)
    d = ops.clip(ops.where(c > 0, c, -c), 0.1, 1.0)
    best, places = ops.top_k(ops.squeeze(ops.expand_dims(d[:, 1:5], -1), -1), 2)
    return scramble(keras.Model(x, [head(best), places, ops.sum(d, axis=-1, keepdims=True)]))


@kind(lambda: data(3, 4))
def operations_by_operators_and_keywords() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = 1.0 - layers.Dense(4, name="dense")(x)
    h = abs(-(2.0 / (h**2 + 1.0))) @ np.ones((4, 3), "float32")
    h = ops.stack([h, ops.add(x1=h, x2=h[:, ::-1])], axis=1)
    h = ops.einsum("bij,bkj->bik", h, h)
    return scramble(keras.Model(x, ops.pad(h[..., None], [[0, 0], [1, 1], [0, 0], [0, 0]])))


@kind(lambda: data(2, 4, 4, 3))
def operations_on_images() -> keras.Model:
    x = keras.Input((4, 4, 3), name="x")
    h = ops.image.resize(x, (8, 8))
    h = ops.conv(ops.average_pool(h, 2), np.ones((1, 1, 3, 2), "float32"))
    h = ops.cast(ops.one_hot(ops.argmax(h, axis=-1), 2), "float32")
    h = layers.Conv2D(2, 1, name="filters")(h)
    return scramble(keras.Model(x, ops.softmax(ops.mean(h, axis=(1, 2)))))


@kind(lambda: data(3, 4))
def operations_that_take_functions() -> keras.Model:
    x = keras.Input((4,), name="x")
    return scramble(keras.Model(x, head(ops.vectorized_map(lambda row: row * 2.0, x))))


# Precision, quantization, LoRA.


def precise(policy: str) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            x = keras.Input((4, 4, 3), name="x")
            h = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 2, name="conv")(x))
            h = layers.Dense(3, dtype="float64", name="double")(layers.Flatten(name="flat")(h))
            h = layers.Dense(3, dtype="bfloat16", name="brain")(ops.relu(h))
            return scramble(keras.Model(x, layers.Dense(2, dtype="float32", name="top")(h)))
        finally:
            keras.config.set_dtype_policy(before)

    return make


for _policy in ("mixed_float16", "mixed_bfloat16", "bfloat16"):
    KINDS[_policy] = (precise(_policy), lambda: data(2, 4, 4, 3))


def quantized(mode: str) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        x = keras.Input((8,), name="x")
        h = layers.Dense(8, activation="relu", name="a")(x)
        h = layers.EinsumDense("ab,bc->ac", output_shape=8, bias_axes="c", name="einsum")(h)
        model = scramble(keras.Model(x, head(h)))
        model.get_layer("einsum").quantize(mode)
        model.get_layer("a").quantize(mode)
        return model

    return make


for _mode in ("int8", "int4", "float8"):
    KINDS[f"quantized to {_mode}"] = (quantized(_mode), lambda: data(3, 8))


@kind(tokens)
def quantized_as_a_whole() -> keras.Model:
    t = token_input()
    h = layers.Flatten(name="flat")(layers.Embedding(9, 4, name="embed")(t))
    model = scramble(keras.Model(t, head(h)))
    model.quantize("int8")
    return model


def with_lora(shape: tuple[int, ...], make: Callable[[], Any]) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        x = keras.Input(
            shape, dtype="int32" if len(shape) == 1 and shape[0] == 6 else None, name="x"
        )
        layer = make()
        model = keras.Model(x, head(layer(x)))
        getattr(layer, "layer", layer).enable_lora(2)
        return scramble(model)

    return build


_LORA: dict[str, tuple[tuple[int, ...], Callable[[], Any], Callable[[], Any]]] = {
    "Dense": ((4,), lambda: layers.Dense(4, name="low"), lambda: data(3, 4)),
    "Conv2D": ((4, 4, 3), lambda: layers.Conv2D(4, 2, name="low"), lambda: data(2, 4, 4, 3)),
    "Embedding": ((6,), lambda: layers.Embedding(9, 4, name="low"), tokens),
    "EinsumDense": (
        (3, 4),
        lambda: layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d", name="low"),
        lambda: data(2, 3, 4),
    ),
    "a wrapper": (
        (3, 4),
        lambda: layers.TimeDistributed(layers.Dense(4), name="low"),
        lambda: data(2, 3, 4),
    ),
}
for _name, (_shape, _make, _batch) in _LORA.items():
    KINDS[f"LoRA in {_name}"] = (with_lora(_shape, _make), _batch)


# Seeds and preprocessing.


@kind(lambda: data(2, 8, 8, 3))
def random_layers() -> keras.Model:
    x = keras.Input((8, 8, 3), name="x")
    h = layers.RandomFlip(seed=3, name="flip")(x)
    h = layers.RandomContrast(0.3, name="contrast")(layers.RandomRotation(0.2, name="rotate")(h))
    h = layers.SpatialDropout2D(0.3, name="spatial")(layers.GaussianNoise(0.1, name="noise")(h))
    h = layers.Pipeline([layers.Rescaling(2.0), layers.RandomFlip(seed=1)], name="pipe")(h)
    h = layers.Dropout(0.4, seed=6, name="drop")(layers.Flatten(name="flat")(h))
    return scramble(keras.Model(x, head(h)))


@kind(lambda: ops.convert_to_tensor([["red", "blue"], ["pink", "green"]]))
def lookups() -> keras.Model:
    x = keras.Input((2,), dtype="string", name="words")
    a = layers.StringLookup(vocabulary=["red", "green", "blue"], name="look")(x)
    b = layers.Hashing(5, name="hash")(x)
    a, b = layers.Embedding(9, 3, name="embed_a")(a), layers.Embedding(9, 3, name="embed_b")(b)
    return scramble(keras.Model(x, layers.Add(name="add")([a, b])))


@kind(lambda: ops.convert_to_tensor(["the cat sat", "a dog"]))
def text() -> keras.Model:
    words = layers.TextVectorization(output_mode="tf_idf", name="words")
    words.adapt(["the cat sat on", "the dog"])
    x = keras.Input((), dtype="string", name="text")
    return scramble(keras.Model(x, head(words(x))))


@kind(lambda: data(3, 4))
def adapted() -> keras.Model:
    normal = layers.Normalization(name="normal")
    bins = layers.Discretization(num_bins=4, name="bins")
    normal.adapt(data(50, 4) * 3 + 1)
    bins.adapt(data(50, 4))
    x = keras.Input((4,), name="x")
    coded = layers.CategoryEncoding(5, output_mode="multi_hot", name="code")(bins(x))
    h = layers.Concatenate(name="cat")([normal(x), coded])
    return keras.Model(x, head(h))


@kind(lambda: whole(50, 3, 2))
def counted() -> keras.Model:
    x = keras.Input((2,), dtype="int64", name="x")
    look = layers.IntegerLookup(vocabulary=[3, 7, 9], output_mode="count", name="look")
    return scramble(keras.Model(x, head(look(x))))


@kind(lambda: data(3, 4))
def state_in_an_array() -> keras.Model:
    table = Table(name="table")
    x = keras.Input((4,), name="x")
    model = scramble(keras.Model(x, head(table(x))))
    table.table = np.arange(4, dtype="float32")
    return model


# Inputs and outputs.


@kind(lambda: {"a": data(3, 4), "b": {"c": data(3, 4, seed=2), "d": [data(3, 4, seed=3)]}})
def nested_structures() -> keras.Model:
    inputs = {
        "a": keras.Input((4,), name="a"),
        "b": {"c": keras.Input((4,), name="c"), "d": [keras.Input((4,), name="d")]},
    }
    added = layers.Add(name="add")([inputs["a"], inputs["b"]["c"], inputs["b"]["d"][0]])
    h = layers.Dense(3, name="dense")(added)
    return scramble(keras.Model(inputs, {"o": h, "p": [head(h), {"q": inputs["a"]}]}))


@kind(lambda: [data(3, 4), None])
def optional_input() -> keras.Model:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    return scramble(keras.Model([a, b], head(Maybe(name="maybe")(layers.Dense(4, name="d")(a), b))))


@kind(lambda: data(3, 4))
def outputs_twice_and_inputs_put_out() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(2, name="dense")(x)
    return scramble(keras.Model(x, [x, h, h, x]))


def sparse_batch() -> Any:
    import tensorflow as tf

    return tf.sparse.from_dense(np.eye(3, 4, dtype="float32"))


@kind(sparse_batch)
def sparse_input() -> keras.Model:
    x = keras.Input((4,), sparse=True, name="x")
    return scramble(keras.Model(x, head(layers.Dense(3, name="dense")(x))))


def ragged_batch() -> Any:
    import tensorflow as tf

    return tf.ragged.constant([[1, 2], [3], [4, 5, 6]], dtype="int32")


@kind(ragged_batch)
def ragged_input() -> keras.Model:
    x = keras.Input((None,), ragged=True, dtype="int32", name="x")
    h = layers.Embedding(9, 4, name="embed")(x)
    return scramble(keras.Model(x, layers.Identity(name="same")(h)))


@kind(lambda: data(3, 4))
def several_outputs_of_a_layer() -> keras.Model:
    x = keras.Input((4,), name="x")
    found = Pair(name="pair")(x)
    return scramble(keras.Model(x, [head(found["other"][0]), found["same"]]))


# Models in models, wrappers, losses.


@kind(lambda: data(3, 4))
def called_as_not_training() -> keras.Model:
    y = keras.Input((4,), name="y")
    h = layers.Dropout(0.5, seed=1, name="drop")(layers.BatchNormalization(name="norm")(y))
    base = keras.Model(y, h, name="base")
    x = keras.Input((4,), name="x")
    drop = layers.Dropout(0.5, seed=3, name="outer_drop")
    h = drop(base(x, training=False), training=True)
    return scramble(keras.Model(x, head(drop(h))))


@kind(lambda: data(3, 4))
def wrapped() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.SpectralNormalization(layers.Dense(4, name="inside"), name="spectral")(x)
    z = keras.Input((2,))
    inner = keras.Model(z, layers.Dense(3, name="dense")(z), name="inner")
    h = layers.TimeDistributed(inner, name="each")(layers.Reshape((2, 2), name="shape")(h))
    return scramble(keras.Model(x, head(h)))


@kind(lambda: data(3, 4))
def losses_of_layers() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1", name="dense")(x)
    h = AddsLoss(name="adds")(layers.ActivityRegularization(0.1, name="regular")(h))
    return scramble(keras.Model(x, head(h)))


@kind(lambda: data(3, 4))
def frozen_inside() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Reshape((2, 2), name="shape")(x)
    h = layers.Bidirectional(layers.LSTM(2), name="both")(h)
    model = scramble(keras.Model(x, head(h)))
    model.get_layer("both").forward_layer.trainable = False
    return model


@kind(lambda: data(3, 4))
def model_of_python_code_inside() -> keras.Model:
    x = keras.Input((4,), name="x")
    return scramble(keras.Model(x, head(Code(name="code")(layers.Dense(4, name="first")(x)))))


@kind(lambda: data(3, 4))
def model_with_weights_beside_its_graph() -> keras.Model:
    x = keras.Input((4,), name="x")
    return scramble(keras.Model(x, head(Beside(name="beside")(x))))


KINDS["python code"] = (lambda: _called(Code(name="code")), lambda: data(3, 4))
KINDS["beside its graph"] = (lambda: scramble(Beside(name="beside")), lambda: data(3, 4))
KINDS["functional subclass"] = (functional_subclass, lambda: data(3, 4))


def _called(model: keras.Model) -> keras.Model:
    model(data(2, 4))
    return scramble(model)


# Other backends of Keras have none of these, or not on every device.
ONLY_TENSORFLOW = {"lookups", "operations on images", "ragged input", "sparse input", "text"}


def _names(*, but: str = "") -> list[Any]:
    return [
        pytest.param(name, marks=pytest.mark.tensorflow if name in ONLY_TENSORFLOW else ())
        for name in sorted(KINDS)
        if name != but
    ]


every_kind = pytest.mark.parametrize("name", _names())
editable = pytest.mark.parametrize("name", _names(but="python code"))


# -- every kind ----------------------------------------------------------------------------------


def loadable(model: keras.Model) -> keras.Model | None:
    """The model through a file of Keras; None where Keras cannot."""
    with keras.saving.custom_object_scope({type(model).__name__: type(model)}):
        try:
            return rebuilt(model)
        except (ValueError, TypeError):
            return None


@every_kind
def test_the_copy_is_the_same_to_the_bit_and_trains_alike(name: str, tmp_path: Path) -> None:
    make, batch = KINDS[name]
    source, x = make(), batch()
    before = fingerprint(source)
    ed = Editor(source, custom_objects={type(source).__name__: type(source)})
    copy = ed.model
    assert fingerprint(source) == before
    assert same([v.numpy() for v in copy.variables], [v.numpy() for v in source.variables])
    assert [v.trainable for v in copy.variables] == [v.trainable for v in source.variables]
    assert same(out(copy, x), out(source, x))
    assert same(copy.losses, source.losses)
    plan = ed.preview.freeze("**")
    assert plan.params_before == source.count_params() == copy.count_params()
    assert count_trainable(ed.graph) == sum(int(np.prod(v.shape)) for v in trains(source))
    assert same(out(copy, x, training=True), out(source, x, training=True))
    expected = loadable(source)
    if expected is not None:
        ed.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(
            tmp_path / "m.keras",
            custom_objects={type(source).__name__: type(source)},
            safe_mode=False,
        )
        assert same(out(loaded, x), out(expected, x))
        assert same(loaded.get_weights(), expected.get_weights())


def trains(model: keras.Model) -> list[Any]:
    """The weights that training changes: the state of random layers is none."""
    weights = {id(w) for w in model.weights}
    return [v for v in model.trainable_variables if id(v) in weights]


def inner(ed: Editor, *kinds: str) -> list[Any]:
    """The layers that can be edited: not those inside a model of Python code."""
    opaque = [v.path + "/" for v in ed.layers if isinstance(v.layer, Code)]
    return [
        v for v in ed.layers if v.kind in kinds and not any(v.path.startswith(p) for p in opaque)
    ]


def neutral(view: Any) -> layers.Layer:
    """A layer that hands on what it is given, of whatever dtype."""
    floats = isinstance(view.dtype, str) and "float" in view.dtype
    return layers.Identity(dtype=view.dtype if floats else None)


@editable
def test_edits_beside_each_layer_change_nothing(name: str) -> None:
    make, batch = KINDS[name]
    source, x = make(), batch()
    wanted = out(source, x)
    before = fingerprint(source)
    ed = Editor(source)
    with ed.transaction("around everything"):
        for view in inner(ed, "layer", "model", "op"):
            ed.insert(neutral(view), after=view.path)
        for view in inner(ed, "layer", "model"):
            if type(view.layer) is not layers.Identity:
                ed.insert(neutral(view), before=view.path, input=0)
    assert same(out(ed.model, x), wanted)
    assert ed.model.count_params() == count_params(ed.graph, ed.graph.root)
    if "beside" not in name:  # a model that becomes a plain one loses what it has beside its graph
        assert ed.model.count_params() == source.count_params()
    ed.undo()
    assert same(out(ed.model, x), wanted)
    assert same(ed.model.get_weights(), source.get_weights())
    ed.redo()
    assert same(out(ed.model, x), wanted)
    assert fingerprint(source) == before


# A fresh layer has to be adapted anew, or is told nothing of what its config leaves out.
NOT_BY_CONFIG = (layers.TextVectorization, layers.Normalization, Table)


@editable
def test_layers_replaced_by_their_like_and_renamed(name: str) -> None:
    make, batch = KINDS[name]
    source, x = make(), batch()
    wanted = out(source, x)
    ed = Editor(source)
    with ed.transaction("renewed"):
        for number, view in enumerate(inner(ed, "layer")):
            if not isinstance(view.layer, NOT_BY_CONFIG):
                config = {**view.layer.get_config(), "name": f"fresh_{number}"}
                ed.replace(view.path, type(view.layer).from_config(config))
    assert same(out(ed.model, x), wanted)
    ed.undo()
    with ed.transaction("renamed"):
        for number, view in enumerate(inner(ed, "layer", "model", "op")[::-1]):
            ed.rename(view.path, f"other_{number}")
    assert same(out(ed.model, x), wanted)
    ed.undo()
    assert same(out(ed.model, x), wanted)
    assert same(ed.model.get_weights(), source.get_weights())


@every_kind
def test_flags_of_each_layer(name: str) -> None:
    make, batch = KINDS[name]
    source, x = make(), batch()
    ed = Editor(source)
    _ = ed.model
    before = [v.trainable for v in ed.model.variables]
    for view in [v for v in ed.layers if v.kind in ("layer", "model")]:
        ed.freeze(view.path)
        assert not any(v.trainable for v in view.layer.variables), view.path
        assert not any(w.trainable for v in ed.layers if v.path == view.path for w in v.weights)
        told = count_trainable(ed.graph)
        assert told == sum(int(np.prod(v.shape)) for v in trains(ed.model))
        ed.undo()
    assert [v.trainable for v in ed.model.variables] == before
    assert same(out(ed.model, x), out(source, x))


@editable
def test_trimmed_to_each_layer(name: str) -> None:
    """By hand: the same tensors of the source's graph, put out."""
    make, batch = KINDS[name]
    source, x = make(), batch()
    ed = Editor(source)
    for view in [v for v in inner(ed, "layer") if v.level == 1]:
        with contextlib.suppress(EditError):  # what cannot be trimmed to is refused
            ed.trim(view.path)
        if ed.history:
            tensor = source.get_layer(view.path)._inbound_nodes[-1].outputs[0]
            given = by_name(source, x)
            by_hand = keras.Model({t.name: t for t in source.inputs}, tensor)
            wanted = out(by_hand, given)
            mine = {t.name: given[t.name] for t in ed.model.inputs}
            trimmed = keras.Model({t.name: t for t in ed.model.inputs}, ed.model.outputs)
            assert same(out(trimmed, mine), wanted)
            ed.undo()


def by_name(source: keras.Model, x: Any) -> dict[str, Any]:
    """A batch by the names of the inputs."""
    parts = isinstance(x, (list, dict))
    given = [part for _, part in keras.tree.flatten_with_path(x)] if parts else [x]
    return dict(zip([t.name for t in source.inputs], given, strict=True))


@editable
def test_removing_each_layer_works_or_is_refused(name: str) -> None:
    make, batch = KINDS[name]
    source, x = make(), batch()
    wanted = out(source, x)
    ed = Editor(source)
    for view in inner(ed, "layer", "model", "op"):
        try:
            ed.remove(view.path, keep=0, on_mismatch="reinit")
        except EditError:
            assert ed.history == ()
            continue
        assert view.path not in ed.find("**")
        assert ed.model.count_params() == count_params(ed.graph, ed.graph.root)
        ed.undo()
    assert same(out(ed.model, x), wanted)
    assert same(ed.model.get_weights(), source.get_weights())


# -- what went wrong once ------------------------------------------------------------------------


WRAPPERS: dict[str, Callable[[], Any]] = {
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(4), name="wrap"),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3), name="wrap"),
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Dense(4), name="wrap"),
    "RNN of cells": lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], name="wrap"),
    "RNN of one's own": lambda: layers.RNN(Cell(3), name="wrap"),
    "normalization": lambda: layers.TimeDistributed(layers.BatchNormalization(), name="wrap"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_layers_inside_a_wrapper_are_inferred_anew(name: str) -> None:
    """Its configuration tells for which shape they were built, which is another one now."""
    x = keras.Input((3, 4), name="x")
    start = layers.Identity(name="start")(x)
    source = scramble(keras.Model(x, WRAPPERS[name]()(start)))
    ed = Editor(source)
    with pytest.raises(ShapeMismatch, match=r"'wrap/.*would need"):
        ed.insert(layers.Dense(6, name="wide"), after="start")
    plan = ed.preview.insert(layers.Dense(6, name="wide"), after="start", on_mismatch="slice")
    assert plan.sliced
    assert all(path.startswith("wrap/") for path in plan.sliced)
    ed.insert(layers.Dense(6, name="wide"), after="start", on_mismatch="slice")
    assert ed.model.count_params() == plan.params_after
    old, new = (m.get_layer("wrap").get_weights() for m in (source, ed.model))
    for before, after in zip(old, new, strict=True):
        assert same(after[tuple(map(slice, before.shape))], before)
    assert out(ed.model, data(2, 3, 4))[0].shape[0] == 2
    assert same(ed.undo().model.get_weights(), source.get_weights())


def test_a_stateful_layer_starts_from_zero_in_a_copy() -> None:
    x = keras.Input(batch_shape=(2, 5, 4), name="x")
    rnn = layers.LSTM(3, stateful=True, name="rnn")
    source = scramble(keras.Model(x, head(rnn(x))))
    batch = data(2, 5, 4)
    first, second = out(source, batch), out(source, batch)
    assert not same(first, second)
    ed = Editor(source).insert(layers.Identity(), after="rnn")
    assert same(out(ed.model, batch), first)
    assert same(out(ed.model, batch), second)
    ed.model.get_layer("rnn").reset_states()
    assert same(out(ed.model, batch), first)
    assert same(out(ed.undo().model, batch), first)


def test_what_is_frozen_inside_a_layer_stays_so_and_does_not_count() -> None:
    source = frozen_inside()
    ed = Editor(source)
    trains_now = [v.trainable for v in source.variables]
    ed.freeze("both").unfreeze("both")
    assert [v.trainable for v in ed.model.variables] == trains_now
    ed.freeze("both")
    assert not any(v.trainable for v in ed.model.get_layer("both").variables)
    ed.unfreeze("both").insert(layers.Identity(), after="both")
    assert [v.trainable for v in ed.model.variables] == trains_now
    assert not ed.model.get_layer("both").forward_layer.trainable
    ed.freeze("both").append(layers.Identity())
    _ = ed.model
    ed.unfreeze("both")
    assert [v.trainable for v in ed.model.variables] == trains_now
    told = [w.trainable for view in ed.layers for w in view.weights]
    assert told == [w.trainable for w in ed.model.weights]


def test_lora_inside_a_wrapper_is_frozen_and_let_loose() -> None:
    source = KINDS["LoRA in a wrapper"][0]()
    before = [v.trainable for v in source.variables]
    assert not all(before)
    ed = Editor(source)
    _ = ed.model
    ed.freeze("low")
    ed.unfreeze("low")
    assert [v.trainable for v in ed.model.variables] == before


def test_lora_on_a_quantized_kernel_is_rounded_by_a_file(tmp_path: Path) -> None:
    x = keras.Input((4,), name="x")
    low = layers.Dense(4, name="low")
    source = scramble(keras.Model(x, head(low(x))))
    low.quantize("int8")
    low.enable_lora(2)
    low.lora_kernel_a.assign(data(4, 2))
    low.lora_kernel_b.assign(data(2, 4))
    ed = Editor(source).append(layers.Identity())
    assert same(out(ed.model, data(3, 4)), out(source, data(3, 4)))
    with pytest.raises(EditError, match=r"those of 'low' \(Keras adds LoRA to a quantized kernel"):
        ed.save(tmp_path / "m.keras")


@pytest.mark.parametrize("name", ["code", "beside"])
def test_weights_that_a_model_has_beside_its_layers(name: str) -> None:
    """They are listed with the model, count, freeze with it and keep their values."""
    key = "model of python code inside" if name == "code" else "model with weights beside its graph"
    source, x = KINDS[key][0](), data(3, 4)
    y = out(source, x)[0] + 1.0
    source.compile("adam", "mse")
    source.train_on_batch(x, y)
    ed = Editor(source)
    model = source.get_layer(name)
    paths = [w.path for view in ed.layers if view.path == name for w in view.weights]
    extra = [f"{name}/extra/kernel", f"{name}/extra/bias"] if name == "beside" else []
    assert paths == [f"{name}/scale", *extra]
    ed.insert(layers.Identity(), after=name)
    assert same(ed.model.get_weights(), source.get_weights())
    for one in (source, ed.model):
        one.train_on_batch(x, y)
    assert same(ed.model.get_weights(), source.get_weights()), "the optimizer went on"
    ed.freeze(name)
    assert not any(v.trainable for v in ed.model.get_layer(name).variables)
    ed.append(layers.Identity())
    assert not any(v.trainable for v in ed.model.get_layer(name).variables)
    ed.unfreeze(name)
    ed.set_weights(f"{name}/scale", np.full(model.scale.shape, 2.0, "float32"))
    assert same(ed.model.get_layer(name).scale.numpy(), np.full(model.scale.shape, 2, "float32"))
    ed.reinitialize(name)
    assert not np.all(ed.model.get_layer(name).scale.numpy() == 2)


def test_what_a_model_has_beside_its_graph_comes_back_with_undo() -> None:
    source = Beside(name="beside")
    scramble(source)
    ed = Editor(source)
    ed.model.scale.assign([5.0, 6.0])
    ed.insert(layers.Identity(), after="dense")
    assert type(ed.model) is not Beside
    ed.undo()
    assert type(ed.model) is Beside
    assert same(ed.model.scale.numpy(), np.array([5, 6], "float32"))
    assert same(ed.model.extra.kernel.numpy(), source.extra.kernel.numpy())


def test_a_layer_before_a_model_of_python_code() -> None:
    source, x = KINDS["model of python code inside"][0](), data(3, 4)
    ed = Editor(source).insert(layers.Rescaling(2.0), before="code")
    hidden = source.get_layer("first")(x) * 2.0
    wanted = source.get_layer("top")(source.get_layer("code")(hidden))
    assert same(out(ed.model, x), wanted)
    with pytest.raises(ShapeMismatch, match=r"'code' \(Code\) cannot take an input of shape"):
        ed.insert(layers.Dense(6), before="code")


def test_code_that_a_model_has_inside_goes_into_another_model() -> None:
    code, x = _called(Code(name="code")), data(3, 4)
    first = keras.Input((4,), name="x")
    ed = Editor(keras.Model(first, layers.Identity(name="i")(first))).append(code)
    assert same(out(ed.model, x), out(code, x))
    assert ed.model.count_params() == code.count_params()


# -- what cannot be made again -------------------------------------------------------------------


class NoConfig(layers.Layer):
    def __init__(self, thing: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thing = thing

    def call(self, x: Any) -> Any:
        return x


class WrongConfig(layers.Layer):
    """Does not tell how many units it was made with."""

    def __init__(self, units: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x: Any) -> Any:
        return x @ self.kernel

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class MoreConfig(WrongConfig):
    """Tells of an argument that it does not take."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": "relu"}


class Hides(layers.Layer):
    """Keeps a layer where Keras does not look."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__dict__["hidden"] = layers.Dense(4)

    def call(self, x: Any) -> Any:
        return vars(self)["hidden"](x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def around(layer: Any) -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, head(layer(x)))


def test_no_configuration_says_what_to_add() -> None:
    with pytest.raises(StructureError, match=r"'no' of class NoConfig.*Add a get_config\(\)"):
        _ = Editor(around(NoConfig(object(), name="no"))).model
    Editor(around(NoConfig(object(), name="no")), in_place=True).freeze("no")


@pytest.mark.parametrize("before", [True, False])
def test_a_wrong_configuration_is_found_out(before: bool) -> None:
    source = around(WrongConfig(5, name="wrong"))
    ed = Editor(source)
    with pytest.raises(EditError, match="'wrong'"):
        _ = (ed.insert(layers.Identity(), before="wrong") if before else ed).model
    with pytest.raises(StructureError, match=r"'more' of class MoreConfig cannot be made again"):
        _ = Editor(around(MoreConfig(2, name="more"))).model


def test_layers_that_are_hidden_from_keras() -> None:
    ed = Editor(around(Hides(name="hides")))
    with pytest.raises(StructureError, match=r"'hides' of class Hides.*'hidden'.*self\.hidden = "):
        _ = ed.model
    ed.replace("hides", layers.Dense(4, name="seen"))
    assert ed.model.output_shape == (None, 2)


def test_a_class_that_only_custom_objects_know(tmp_path: Path) -> None:
    class Local(Cell):
        pass

    x = keras.Input((5, 4), name="x")
    source = scramble(keras.Model(x, layers.RNN(Local(3), name="rnn")(x)))
    batch = data(2, 5, 4)
    ed = Editor(source, custom_objects={"Local": Local}).append(layers.Identity())
    assert same(out(ed.model, batch), out(source, batch))
    ed.save(tmp_path / "m.keras")
    with pytest.raises(StructureError, match=r"'rnn'.*custom_objects="):
        _ = Editor(source).append(layers.Identity()).model
