"""Traps of Keras and of older tools: what goes wrong there still does, and here it does not.

Where it is cheap a test shows the naive way too, so that a test whose trap Keras has closed tells.
Compile state and optimizers have tests of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import Editor, ShapeMismatch, StructureError
from tests import models
from tests.models import check_equal, data, fingerprint, give, out, same, weights_of

# -- Keras ---------------------------------------------------------------------------------------


def test_popping_layers_does_nothing_and_remove_does() -> None:
    model, x = models.chain(), data(3, 4)
    before = out(model, x)
    model.layers.pop()
    assert same(out(model, x), before)
    functional = models.fork()
    functional.layers.pop()
    assert len(functional.layers) == 6
    assert Editor(model).remove("c").model.output_shape == (None, 5)


def test_assigning_an_activation_is_kept_out_of_predict_and_replace_is_not() -> None:
    model, x = models.chain(), data(3, 4)
    before = model.predict(x, verbose=0)
    model.get_layer("c").activation = keras.activations.relu
    assert same(model.predict(x, verbose=0), before)  # the trap: still the old one
    model.get_layer("c").activation = keras.activations.linear
    ed = Editor(model)
    ed.model.predict(x, verbose=0)
    ed.replace("c", layers.Dense(2, activation="relu", name="c"))
    assert np.all(ed.model.predict(x, verbose=0) == np.maximum(before, 0))


def test_assigning_units_makes_a_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    model = models.chain()
    model.get_layer("c").units = 9
    model.save(tmp_path / "naive.keras")
    with pytest.raises(Exception):  # noqa: B017, PT011
        keras.saving.load_model(tmp_path / "naive.keras")
    ed = Editor(models.chain()).replace("c", layers.Dense(9, name="c"), weights="slice")
    ed.save(tmp_path / "ours.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert loaded.output_shape == (None, 9)
    assert same(loaded.get_layer("c").get_weights()[0][:, :2], weights_of(ed.source)["c/kernel"])


def test_reused_layers_are_disconnected_and_rebuilt_ones_are_not() -> None:
    model = models.fork()
    naive = keras.models.clone_model(models.fork(), clone_function=lambda layer: layer)
    with pytest.raises(ValueError, match=r"not connected|used 2 times"):
        keras.Model(naive.inputs, naive.get_layer("b").output)
    ours = Editor(model).remove("c").model
    keras.Model(ours.inputs, ours.get_layer("b").output)


def test_clone_model_loses_weights_and_the_copy_does_not() -> None:
    model = models.fork()
    naive = keras.models.clone_model(model)
    assert not same(naive.get_weights(), model.get_weights())
    assert same(Editor(model).model.get_weights(), model.get_weights())


def test_a_functional_subclass_stays_one() -> None:
    model = models.functional_subclass()
    assert type(Editor(model).model) is type(model)


def test_raw_ops_are_listed_and_edited() -> None:
    model = models.raw_ops()
    assert "add" not in [layer.name for layer in model.layers]
    ed = Editor(model)
    assert [v.path for v in ed.layers if v.kind == "op"] == ["add", "multiply", "relu", "get_item"]
    assert ed.remove("relu").find("multiply") == ["multiply"]


def test_normalization_keeps_the_shape_of_its_weights() -> None:
    """A clone's come back as (1,) where they were scalars, or without their values."""
    norm = layers.Normalization(axis=None, name="norm")
    norm.adapt(data(50, 3) * 3 + 1)
    x = keras.Input((3,))
    model = models.scramble(keras.Model(x, layers.Dense(2, name="d")(norm(x))))
    norm.adapt(data(50, 3) * 3 + 1)
    per_feature = layers.Normalization(name="each")
    per_feature.adapt(data(50, 3) * [1, 2, 3])
    model = keras.Model(x, model(per_feature(x)))
    batch = data(4, 3)
    for edit in (lambda ed: ed, lambda ed: ed.append(layers.Rescaling(1.0))):
        ed = edit(Editor(model))
        assert [w.shape for w in ed.model.weights] == [w.shape for w in model.weights]
        assert same(ed.model.predict(batch, verbose=0), model.predict(batch, verbose=0))
    again = models.rebuilt(ed.model)
    assert same(again.predict(batch, verbose=0), model.predict(batch, verbose=0))


def test_equal_names_in_two_models_can_be_joined() -> None:
    one, two = models.chain(), models.scramble(models.chain(), 5)
    two_in = keras.Sequential([keras.Input((2,)), layers.Dense(4, name="to4"), two], name="two")
    ed = Editor(one).append(two_in)
    assert len(ed.find("**/a")) == 2
    x = data(3, 4)
    assert same(out(ed.model, x), out(two_in, one(x)))


def test_a_part_that_ends_inside_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    inner = model.get_layer("backbone").get_layer("conv1")
    with pytest.raises(ValueError, match="not connected"):
        keras.Model(model.inputs, inner.output)
    ours = Editor(model).trim("backbone/conv1").model
    assert same(out(ours, x), [np.asarray(inner(x))])


def test_inputs_keep_their_names() -> None:
    model = keras.Sequential([keras.Input((3,), name="input_layer"), layers.Dense(2)])
    assert [t.name for t in Editor(model).append(layers.ReLU()).model.inputs] == ["input_layer"]
    two = models.two_ways()
    ours = Editor(two).append(layers.ReLU()).model
    assert [t.name for t in ours.inputs] == ["left", "right"]
    assert [layer.name for layer in ours.layers[:1]] == [two.layers[0].name]


def test_a_sequential_that_was_never_called_or_was_built_late() -> None:
    late = keras.Sequential([layers.Dense(3, name="a"), layers.Dense(2, name="b")], name="late")
    late.build((None, 4))
    models.scramble(late)
    called = keras.Sequential([layers.Dense(3, name="a"), layers.Dense(2, name="b")], name="called")
    called(data(2, 4))
    x = data(3, 4)
    for model in (late, called, models.chain()):
        ed = Editor(model).append(layers.ReLU())
        assert same(out(ed.model, x), layers.ReLU()(model(x)))


def test_weight_paths_do_not_depend_on_how_a_sequential_was_made() -> None:
    fresh = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="a")])
    built = layers.Dense(2, name="a")
    built.build((None, 3))
    used = keras.Sequential([keras.Input((3,)), built])
    assert fresh.weights[0].path != used.weights[0].path
    paths = [[w.path for v in Editor(m).layers for w in v.weights] for m in (fresh, used)]
    assert paths[0] == paths[1] == ["a/kernel", "a/bias"]


# -- kinds of layers -----------------------------------------------------------------------------


@pytest.mark.tensorflow
def test_vocabularies_are_kept() -> None:
    words = layers.TextVectorization(output_sequence_length=3, name="words")
    words.adapt(["the cat sat", "the dog sat down"])
    text = keras.Input((), dtype="string", name="text")
    h = layers.Embedding(words.vocabulary_size(), 2, name="embed")(words(text))
    model = models.scramble(keras.Model(text, layers.Dense(2, name="top")(h)))
    x = ops.convert_to_tensor(["the dog", "cat unknown down"])
    ed = Editor(model)
    assert same(out(ed.model, x), out(model, x))
    ed.insert(layers.Rescaling(2.0), after="embed")
    assert ed.model.get_layer("words").get_vocabulary() == words.get_vocabulary()
    hand = give(
        keras.Model(text, layers.Dense(2, name="top")(model.get_layer("embed").output * 2.0)), model
    )
    assert same(out(ed.model, x), out(hand, x))
    assert same(out(models.rebuilt(ed.model), x), out(ed.model, x))


@pytest.mark.tensorflow
def test_lookups_are_kept() -> None:
    x = keras.Input((1,), dtype="string")
    h = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot", name="look")(x)
    model = models.scramble(keras.Model(x, layers.Dense(2, name="d")(h)))
    batch = ops.convert_to_tensor([["a"], ["b"], ["z"]])
    ed = Editor(model).append(layers.ReLU())
    assert same(out(ed.model, batch), layers.ReLU()(model(batch)))


def test_mixed_precision_stays() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model = models.chain()
    keras.config.set_dtype_policy("float32")
    x = data(3, 4)
    ed = Editor(model).remove("drop")
    assert ed.model.get_layer("a").dtype_policy.name == "mixed_float16"
    assert ed.model.dtype_policy.name == "mixed_float16"
    assert [w.dtype for w in ed.model.weights] == [w.dtype for w in model.weights]
    assert out(ed.model, x)[0].dtype == np.float16
    assert same(out(ed.model, x), out(model, x))
    ed.append(layers.Dense(2, dtype="float32", name="full"))
    assert out(ed.model, x)[0].dtype == np.float32


def test_a_live_lambda_is_copied_as_it_is() -> None:
    factor = 3.0
    x = keras.Input((4,), name="x")
    h = layers.Lambda(lambda t, by: t * factor + by, arguments={"by": 1.0}, name="mine")(x)
    model = models.scramble(keras.Model(x, layers.Dense(2, name="d")(h)))
    ed = Editor(model).append(layers.ReLU())
    batch = data(2, 4)
    assert same(out(ed.model, batch), layers.ReLU()(model(batch)))
    assert ed.model.get_layer("mine").function is model.get_layer("mine").function


@pytest.mark.parametrize("function", [models.double, lambda t: t * 3], ids=["named", "lambda"])
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_custom_activations_of_a_live_model(function: Any) -> None:
    """Keras can only make them again where they were registered."""
    x = keras.Input((4,), name="x")
    h = layers.Dense(3, activation=function, name="d")(x)
    h = layers.Reshape((1, 3), name="r")(layers.Activation(function, name="act")(h))
    model = models.scramble(keras.Model(x, layers.GRU(2, activation=function, name="gru")(h)))
    ed = Editor(model).append(layers.ReLU())
    batch = data(2, 4)
    assert same(out(ed.model, batch), layers.ReLU()(model(batch)))
    ed.insert(layers.Dense(3, activation=function, name="more"), after="d")
    assert ed.model.get_layer("more").activation is function


@pytest.mark.parametrize("cls", [models.Scale, models.Unregistered])
def test_custom_layers(cls: type) -> None:
    x = keras.Input((4,), name="x")
    h = cls(2.0, name="scale")(layers.Dense(3, name="d")(x))
    model = models.scramble(keras.Model(x, h))
    ed = Editor(model).append(cls(0.5, name="half"))
    batch = data(2, 4)
    assert same(out(ed.model, batch), out(model, batch)[0] * np.float32(0.5))
    assert same(weights_of(ed.model, "scale"), weights_of(model, "scale"))


def test_classes_that_are_known_by_custom_objects_alone() -> None:
    class Local(models.Scale):
        pass

    x = keras.Input((3, 4), name="x")
    model = keras.Model(x, layers.TimeDistributed(Local(name="in"), name="td")(x))
    models.scramble(model)
    batch = data(2, 3, 4)
    ed = Editor(model, custom_objects={"Local": Local}).append(layers.ReLU())
    assert same(out(ed.model, batch), layers.ReLU()(model(batch)))
    with pytest.raises(StructureError, match=r"'td'.*custom_objects"):
        _ = Editor(model).append(layers.ReLU()).model


# -- keras-surgeon -------------------------------------------------------------------------------


def test_differing_sides_of_an_add_are_an_error() -> None:
    with pytest.raises(ShapeMismatch, match="'add'"):
        Editor(models.fork()).replace("b", layers.Dense(4, name="b"), weights="slice")


def test_insert_before_one_of_two_consumers() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.ReLU(), before="b")
    a = model.get_layer("a")(x)
    b, c = model.get_layer("b")(layers.ReLU()(a)), model.get_layer("c")(a)
    assert same(out(ed.model, x), model.get_layer("top")(b + c))


KINDS: dict[str, tuple[tuple[int, ...], Any]] = {
    "dense on 3D": ((3, 4), lambda: layers.Dense(5)),
    "dense on 4D": ((3, 2, 4), lambda: layers.Dense(5)),
    "grouped": ((6, 6, 4), lambda: layers.Conv2D(4, 3, groups=2)),
    "reshape": ((6, 4), lambda: layers.Reshape((4, 6))),
    "layer normalization": ((4,), lambda: layers.LayerNormalization()),
    "group normalization": ((6, 4), lambda: layers.GroupNormalization(2)),
    "depthwise": ((6, 6, 4), lambda: layers.DepthwiseConv2D(3)),
    "separable": ((6, 6, 4), lambda: layers.SeparableConv2D(4, 3)),
    "transposed": ((6, 6, 4), lambda: layers.Conv2DTranspose(4, 3, strides=2)),
    "prelu": ((4,), lambda: layers.PReLU()),
    "softmax": ((4,), lambda: layers.Softmax()),
    "time distributed": ((3, 4), lambda: layers.TimeDistributed(layers.Dense(4))),
    "bidirectional": ((3, 4), lambda: layers.Bidirectional(layers.LSTM(2, return_sequences=True))),
    "rnn of cells": (
        (3, 4),
        lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
    ),
    "spectral": ((4,), lambda: layers.SpectralNormalization(layers.Dense(3))),
    "random": ((6, 6, 3), lambda: layers.RandomFlip()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_layers_that_older_tools_crash_on(kind: str) -> None:
    shape, make = KINDS[kind]
    x = keras.Input(shape, name="x")
    h = layers.Rescaling(0.5, name="first")(x)
    h = layers.Flatten(name="flat")(make()(h))
    model = models.scramble(keras.Model(x, layers.Dense(2, name="top")(h)))
    before = fingerprint(model)
    batch = data(2, *shape)
    ed = Editor(model).replace("first", layers.Rescaling(2.0, name="second"))
    _ = ed.model
    (layer,) = [la for la in model.layers if la.name not in ("x", "first", "flat", "top")]
    assert fingerprint(model) == before
    hand_h = layer.__class__.from_config(layer.get_config())(layers.Rescaling(2.0)(x))
    hand = give(keras.Model(x, layers.Dense(2, name="top")(layers.Flatten()(hand_h))), model)
    check_equal(ed.model, hand, batch)
    assert [w.shape for w in ed.model.weights] == [w.shape for w in model.weights]


def test_embedding_and_a_recurrent_layer_with_states() -> None:
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    e = layers.Embedding(7, 3, name="embed")(tokens)
    h, s = layers.GRU(3, return_state=True, name="gru")(e)
    model = models.scramble(keras.Model(tokens, layers.Concatenate(name="cat")([h, s])))
    x = models.whole(7, 2, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0), after="embed")
    e = layers.Embedding(7, 3, name="embed")(tokens) * 2.0
    hand = keras.Model(
        tokens, layers.Concatenate()(layers.GRU(3, return_state=True, name="gru")(e))
    )
    check_equal(ed.model, give(hand, model), x)


def test_replace_transfers_weights() -> None:
    model = models.cnn()
    ed = Editor(model).replace("head", layers.Dense(3, activation="softmax", name="head"))
    assert same(weights_of(ed.model, "head"), weights_of(model, "head"))


def test_merge_layers_can_be_edited() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).replace("add", layers.Maximum(name="max"))
    b, c = (model.get_layer(n)(model.get_layer("a")(x)) for n in "bc")
    assert same(out(ed.model, x), model.get_layer("top")(ops.maximum(b, c)))
