"""Layers doubled, moved and given other arguments: against models written by hand, to the bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, NameTaken, ShapeMismatch, StructureError, TargetError
from tests import models
from tests.models import (
    ZOO,
    check_equal,
    data,
    fingerprint,
    give,
    out,
    refused,
    same,
    state_of,
    variables_made,
    weights_of,
    whole,
)


def paths(ed: Editor) -> list[str]:
    return [view.path for view in ed.layers]


def dense(name: str, units: int = 5, **options: Any) -> layers.Dense:
    return layers.Dense(units, name=name, **options)


def through(x: Any, *parts: Any) -> Any:
    for part in parts:
        x = part(x)
    return x


# -- duplicate -----------------------------------------------------------------------------------


def test_duplicate_comes_behind_with_the_same_weights() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.duplicate("b")
    b = model.get_layer("b")
    assert plan.ok and plan.params_after == model.count_params() + b.count_params()
    assert not plan.reinitialized and not plan.renamed
    ed.duplicate("b")
    assert paths(ed) == ["x", "a", "drop", "b", "b_1", "norm", "c"]
    assert type(ed.model) is keras.Sequential
    a, norm, c = (model.get_layer(n) for n in ("a", "norm", "c"))
    assert same(out(ed.model, x), through(x, a, b, b, norm, c))
    # They are two: what is done to one is not done to the other.
    ed.scale_weights("b", 0.0)
    assert same(ed.model.get_layer("b_1").get_weights(), b.get_weights())
    assert not np.any(ed.model.get_layer("b").get_weights()[0])
    check_equal(ed.undo(2).model, model, x)


def test_duplicate_elsewhere() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).duplicate("b", after="c").duplicate("b", after="b_1")
    a, b, c, top = (model.get_layer(n) for n in ("a", "b", "c", "top"))
    h = a(x)
    assert same(out(ed.model, x), top(b(h) + b(b(c(h)))))
    assert paths(ed) == ["x", "a", "b", "c", "b_1", "b_2", "add", "top"]


def test_duplicate_with_fresh_weights() -> None:
    model = models.chain()
    ed = Editor(model)
    assert ed.preview.duplicate("b", weights=False).params_after == model.count_params() + 30
    ed.duplicate("b", weights=False)
    old, new = (ed.model.get_layer(n).get_weights() for n in ("b", "b_1"))
    assert same(old, model.get_layer("b").get_weights())
    assert not same(new[0], old[0]) and not np.any(new[1])
    assert [w.path for w in ed.layers[4].weights] == ["b_1/kernel", "b_1/bias"]


@pytest.mark.parametrize("weights", [True, False])
def test_duplicate_a_nested_model(weights: bool) -> None:
    y = keras.Input((5,), name="y")
    inner = keras.Sequential([keras.Input((5,)), dense("s", 5)], name="inner")
    shared = dense("p", activation="tanh")
    h = shared(layers.BatchNormalization(name="bn")(shared(y)))
    block = keras.Model(y, layers.Add(name="sum")([inner(h), h * 2.0]), name="block")
    x = keras.Input((5,), name="x")
    model = models.scramble(keras.Model(x, dense("top", 2)(block(x))))
    ed = Editor(model)
    plan = ed.preview.duplicate("block", weights=weights)
    assert plan.params_after == model.count_params() + block.count_params()
    ed.duplicate("block", weights=weights)
    copy, batch = ed.model, data(3, 5)
    assert plan.params_after == copy.count_params()
    second = copy.get_layer("block_1")
    inside = [p.split("/", 1)[1] for p in paths(ed) if p.startswith("block/")]
    assert inside == [p.split("/", 1)[1] for p in paths(ed) if p.startswith("block_1/")]
    assert {w.path for v in ed.layers for w in v.weights} >= {
        "block_1/p/kernel",
        "block_1/inner/s/bias",
    }
    assert len(second.weights) == len(block.weights)
    assert same(copy.get_layer("block").get_weights(), block.get_weights())
    assert same(second.get_weights(), block.get_weights()) is weights
    wanted = through(batch, block, block if weights else second, model.get_layer("top"))
    assert same(out(copy, batch), wanted)
    assert not {id(v) for v in second.variables} & {
        id(v) for v in copy.get_layer("block").variables
    }
    assert same(out(models.rebuilt(copy), batch), wanted)


def test_duplicate_inside_and_between_models() -> None:
    model, x = models.nested(), data(3, 4)
    b = model.get_layer("backbone")
    conv1, bn, inner, conv2 = (b.get_layer(n) for n in ("conv1", "bn", "inner", "conv2"))
    ed = Editor(model).duplicate("backbone/bn")
    assert same(out(ed.model, x), through(x, conv1, bn, bn, inner, conv2, model.get_layer("head")))
    assert "backbone/bn_1" in paths(ed)
    ed = Editor(model).duplicate("backbone/conv2", after="drop")
    assert paths(ed)[-2:] == ["conv2", "head"]
    assert same(out(ed.model, x), through(x, b, conv2, model.get_layer("head")))
    ed = Editor(model).duplicate("backbone/conv2", after="backbone/inner/dense")
    assert same(
        out(ed.model, x), through(x, conv1, bn, inner, conv2, conv2, model.get_layer("head"))
    )


def test_duplicate_behind_a_shared_layer_is_behind_each_call() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    tower = model.get_layer("tower")
    ed = Editor(model).insert(layers.Rescaling(2.0, name="twice"), before="cat", input=0)
    ed.duplicate("twice", after="tower")
    third = tower(tower(x[0]) * 2.0) * 2.0
    wanted = layers.Concatenate()([third * 2.0, tower(x[1]) * 2.0])
    assert same(out(ed.model, x), wanted)
    assert {v.path: v.calls for v in ed.layers}["twice_1"] == 3


@pytest.mark.tensorflow
def test_duplicate_preprocessing_with_a_vocabulary() -> None:
    x = keras.Input((3,), dtype="string", name="x")
    look = layers.StringLookup(vocabulary=["a", "b"], name="look")
    back = layers.StringLookup(vocabulary=["a", "b"], invert=True, name="back")
    model = keras.Model(x, layers.Identity(name="i")(back(look(x))))
    batch = ops.convert_to_tensor([["a", "b", "z"]])
    ed = Editor(model).duplicate("look", after="back")
    assert ed.model.get_layer("look_1").get_vocabulary() == look.get_vocabulary()
    assert same(out(ed.model, batch), look(batch))
    norm = layers.Normalization(name="norm")
    norm.adapt(data(50, 4) * 3 + 1)
    i = keras.Input((4,), name="x")
    model, batch = keras.Model(i, norm(i)), data(3, 4)
    assert same(out(Editor(model).duplicate("norm").model, batch), norm(norm(batch)))


def test_a_duplicated_dropout_draws_other_numbers() -> None:
    i = keras.Input((400,), name="x")
    model = keras.Model(i, layers.Dropout(0.5, name="d")(i))
    ed = Editor(model).duplicate("d")
    kept = np.mean(out(ed.model, np.ones((4, 400), "float32"), training=True)[0] != 0)
    assert 0.15 < kept < 0.35  # 0.5 where both drop the same


def test_duplicate_of_a_layer_that_nobody_built_yet() -> None:
    ed = Editor(models.fork()).insert(dense("n"), after="a").duplicate("n").duplicate("n_1")
    n = [ed.model.get_layer(name).get_weights() for name in ("n", "n_1", "n_2")]
    assert same(n[0], n[1]) and same(n[0], n[2]) and np.any(n[0][0])


def test_a_duplicate_has_the_values_of_its_moment() -> None:
    """What is done to the first one later is not done to the second, whoever looks when."""
    model = models.fork()
    old = model.get_layer("b").get_weights()
    ed = Editor(model).duplicate("b").scale_weights("b", 3.0)
    assert same(ed.model.get_layer("b_1").get_weights(), old)
    ed = Editor(model).scale_weights("b", 3.0).duplicate("b").scale_weights("b", 0.0)
    assert same(ed.model.get_layer("b_1").get_weights(), [w * np.float32(3) for w in old])
    again = ed.undo(3).redo(3).model
    assert same(again.get_layer("b_1").get_weights(), [w * np.float32(3) for w in old])
    assert not np.any(again.get_layer("b").get_weights()[0])


def test_duplicate_several_passes_over_what_cannot_be() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).duplicate("[bc]")
    assert paths(ed) == ["x", "a", "b", "b_1", "c", "c_1", "add", "top"]
    a, b, c, top = (model.get_layer(n) for n in ("a", "b", "c", "top"))
    h = a(x)
    assert same(out(ed.model, x), top(b(b(h)) + c(c(h))))
    assert len(ed.history) == 1
    every = Editor(model).duplicate("*", on_mismatch="slice")
    assert "add_1" not in paths(every) and "top_1" in paths(every)
    assert Editor(model).duplicate(layers.Dense, expect=4, on_mismatch="slice").history
    refused(ed, StructureError, "'add' takes 2 tensors", lambda e: e.duplicate(["add"]))


def test_duplicate_of_a_layer_with_keywords_and_states() -> None:
    model, x = models.attention(), ZOO["attention"][1]()
    i = keras.Input((3, 4), name="i")
    own = layers.MultiHeadAttention(2, 2, name="own")
    model = models.scramble(keras.Model(i, own(i, i, use_causal_mask=True)))
    batch = x[0]
    once = own(batch, batch, use_causal_mask=True)
    wanted = own(once, once, use_causal_mask=True)
    ed = Editor(model).duplicate("own")
    np.testing.assert_allclose(out(ed.model, batch)[0], wanted, rtol=1e-5, atol=1e-6)
    masked, tokens = models.masked(), ZOO["masked"][1]()
    ed = Editor(masked).duplicate("lstm1", on_mismatch="slice")
    t = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True, name="embed")(t)
    for name in ("lstm1", "lstm1_1"):
        h = layers.LSTM(5, return_sequences=True, name=name)(h)
    hand = keras.Model(t, dense("top", 2)(layers.GRU(3, name="gru")(h)))
    check_equal(ed.model, give(hand, ed.model), tokens)


BAD_DUPLICATES: dict[str, tuple[Callable[[Any], Any], type[EditError], str]] = {
    "an input": (lambda e: e.duplicate("x"), StructureError, "'x' is an input"),
    "a merge": (lambda e: e.duplicate("add"), StructureError, "'add' takes 2 tensors"),
    "unknown": (lambda e: e.duplicate("q"), TargetError, "'q'"),
    "after several": (lambda e: e.duplicate("b", after="[bc]"), TargetError, "b, c"),
    "not as many": (lambda e: e.duplicate("[bc]", expect=1), TargetError, "b, c"),
    "shapes": (lambda e: e.duplicate("a"), ShapeMismatch, r"'a_1/kernel' has shape \(4, 5\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DUPLICATES)
def test_layers_that_cannot_be_duplicated(name: str) -> None:
    act, kind, match = BAD_DUPLICATES[name]
    refused(Editor(models.fork()), kind, match, act)


def test_shared_layers_are_not_duplicated() -> None:
    refused(Editor(models.shared()), StructureError, "'tower' is called 3 times",
            lambda e: e.duplicate("tower"))  # fmt: skip
    i = keras.Input((4,), name="x0")
    opaque = Editor(keras.Model(i, models.subclassed()(i)))
    refused(opaque, StructureError, "'sub' is a subclassed model", lambda e: e.duplicate("sub"))


# -- move ----------------------------------------------------------------------------------------


def test_move_in_a_chain() -> None:
    model, x = models.chain(), data(3, 4)
    a, b, norm, c = (model.get_layer(n) for n in ("a", "b", "norm", "c"))
    ed = Editor(model)
    plan = ed.preview.move("b", after="norm")
    assert plan.ok and not plan.dropped and plan.params_after == model.count_params()
    ed.move("b", after="norm")
    assert type(ed.model) is keras.Sequential
    assert paths(ed) == ["x", "a", "drop", "norm", "b", "c"]
    assert same(out(ed.model, x), through(x, a, norm, b, c))
    ed.move("b", after="a")
    assert paths(ed) == ["x", "a", "b", "drop", "norm", "c"]
    assert same(out(ed.model, x), out(model, x))
    same_place = Editor(model).move("b", after="drop")
    assert paths(same_place) == paths(Editor(model))
    assert same(out(same_place.model, x), out(model, x))


def test_move_to_the_end_and_to_the_front() -> None:
    model, x = models.chain(), data(3, 4)
    a, b, c = (model.get_layer(n) for n in ("a", "b", "c"))
    ed = Editor(model).move("norm", after="c", on_mismatch="slice")
    assert same(out(ed.model, x), through(x, a, b, c, ed.model.get_layer("norm")))
    ed = Editor(model).move("drop", after="x")
    assert paths(ed) == ["x", "drop", "a", "b", "norm", "c"]
    assert same(out(ed.model, x), out(model, x))


def test_move_between_branches() -> None:
    model, x = models.fork(), data(3, 4)
    a, b, c, top = (model.get_layer(n) for n in ("a", "b", "c", "top"))
    ed = Editor(model).move("b", after="c")
    h = a(x)
    assert same(out(ed.model, x), top(layers.Add()([h, b(c(h))])))
    ed = Editor(model).move("b", after="a")  # behind `a` for all that takes it
    h = b(a(x))
    assert same(out(ed.model, x), top(layers.Add()([h, c(h)])))
    ed = Editor(model).move("c", after="top", on_mismatch="reinit")
    h = a(x)
    assert same(out(ed.model, x), ed.model.get_layer("c")(top(layers.Add()([b(h), h]))))


def test_move_out_of_and_into_nested_models() -> None:
    model, x = models.nested(), data(3, 4)
    b, head = model.get_layer("backbone"), model.get_layer("head")
    conv1, bn, inner, conv2 = (b.get_layer(n) for n in ("conv1", "bn", "inner", "conv2"))
    ed = Editor(model).move("backbone/bn", after="drop")
    assert same(out(ed.model, x), through(x, conv1, inner, conv2, bn, head))
    assert "bn" in paths(ed) and "backbone/bn" not in paths(ed)
    ed.move("bn", after="backbone/inner/dense")
    assert "backbone/inner/bn" in paths(ed)
    assert same(out(ed.model, x), through(x, conv1, inner, bn, conv2, head))
    ed.move("drop", after="backbone/conv1").move("backbone/inner", after="backbone")
    assert same(out(ed.model, x), through(x, conv1, conv2, inner, bn, head))
    assert same(
        sorted(w.sum() for w in ed.model.get_weights()),
        sorted(w.sum() for w in model.get_weights()),
    )
    check_equal(ed.undo(4).model, model, x)


def test_move_behind_a_shared_layer() -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    tower, k = dense("tower", 4, activation="tanh"), dense("k", 4, activation="relu")
    h = layers.Subtract(name="sub")([tower(left), tower(right)])
    model = models.scramble(keras.Model([left, right], k(h)))
    ed = Editor(model).move("k", after="tower")
    x = [data(3, 4), data(3, 4, seed=2)]
    wanted = layers.Subtract()([k(tower(x[0])), k(tower(x[1]))])
    assert same(out(ed.model, x), wanted)


def test_move_a_raw_op_and_an_output() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    (relu,) = [p for p in paths(Editor(model)) if p.startswith("relu")]
    ed = Editor(model).move(relu, after="a")
    a, top = model.get_layer("a"), model.get_layer("top")
    assert same(out(ed.model, x), top(((ops.relu(a(x)) + x) * 2.0)[:, 0]))
    dicts, batch = models.dicts(), ZOO["dicts"][1]()
    ed = Editor(dicts).move("trunk", after="low", on_mismatch="slice")
    got = ed.model(batch)
    mean = dicts.get_layer("mean")([batch["p"], batch["q"]])
    assert same(got["more"]["trunk"], mean)
    assert same(got["low"], through(mean, ed.model.get_layer("low"), ed.model.get_layer("trunk")))


def test_move_keeps_masks_going() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).move("drop", after="lstm1")
    t = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True, name="embed")(t)
    h = layers.Dropout(0.2)(layers.LSTM(5, return_sequences=True, name="lstm1")(h))
    hand = keras.Model(t, dense("top", 2)(layers.GRU(3, name="gru")(h)))
    check_equal(ed.model, give(hand, model), x)


BAD_MOVES: dict[str, tuple[str, Callable[[Any], Any], type[EditError], str]] = {
    "an input": ("fork", lambda e: e.move("x", after="a"), StructureError, "'x' is an input"),
    "a merge": ("fork", lambda e: e.move("add", after="a"), StructureError, "'add' takes 2"),
    "itself": ("fork", lambda e: e.move("b", after="b"), StructureError, "behind itself"),
    "into itself": (
        "nested", lambda e: e.move("backbone", after="backbone/bn"), StructureError, "behind itself"),
    "shared": ("shared", lambda e: e.move("tower", after="left"), StructureError, "called 3 times"),
    "states": ("seq2seq", lambda e: e.move("enc", after="target"), StructureError, "several outputs"),
    "several": ("fork", lambda e: e.move("[bc]", after="a"), TargetError, "b, c"),
    "shapes": ("fork", lambda e: e.move("a", after="b"), ShapeMismatch, "kernel"),
    "nothing left": (
        "nested", lambda e: e.move("backbone/inner/dense", after="drop"), StructureError, "Nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MOVES)
def test_layers_that_cannot_be_moved(name: str) -> None:
    build, act, kind, match = BAD_MOVES[name]
    refused(Editor(ZOO[build][0]()), kind, match, act)


def test_a_layer_is_not_moved_to_where_its_name_is_taken() -> None:
    ed = Editor(models.nested()).rename("head", "bn")
    refused(ed, NameTaken, "'bn'", lambda e: e.move("backbone/bn", after="drop"))


# -- configure -----------------------------------------------------------------------------------


def test_configure_an_activation() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    assert not ed.preview.configure("b", activation="gelu").shape_changes
    ed.configure("b", activation="gelu")
    a, c, top = (model.get_layer(n) for n in ("a", "c", "top"))
    b = dense("b", activation="gelu")
    b.build((None, 5))
    b.set_weights(model.get_layer("b").get_weights())
    h = a(x)
    assert same(out(ed.model, x), top(b(h) + c(h)))
    assert same(weights_of(ed.model), weights_of(model))
    assert models.rebuilt(ed.model).get_layer("b").activation is keras.activations.gelu
    check_equal(ed.undo().model, model, x)
    assert Editor(model).configure("b", activation="relu").model.get_layer("b").units == 5


def test_configure_takes_what_the_constructor_takes() -> None:
    model = models.fork()
    for given in (
        keras.activations.elu,
        "elu",
        layers.ELU(),
        None,
    ):
        ed = Editor(model).configure("b", activation=given)
        again = models.rebuilt(ed.model).get_layer("b")
        value = np.asarray(again.activation(ops.convert_to_tensor([-1.0])))
        assert value == pytest.approx(-1.0 if given is None else np.expm1(-1.0))
    ed = Editor(model).configure("b", kernel_regularizer=keras.regularizers.L2(0.5))
    assert len(ed.model.losses) == 1 and not model.losses
    kernel = model.get_layer("b").get_weights()[0]
    assert float(ed.model.losses[0]) == pytest.approx(0.5 * float(np.sum(kernel**2)))


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("function", [models.double, lambda t: t * 2], ids=["named", "lambda"])
def test_configure_a_function_of_ones_own(function: Any) -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).configure("top", activation=function)
    assert ed.model.get_layer("top").activation is function
    assert same(out(ed.model, x), out(model, x)[0] * 2)
    ed.insert(layers.ReLU(), after="top").configure("top", use_bias=False)
    assert ed.model.get_layer("top").activation is function
    ed.configure("top", activation="linear")
    assert ed.model.get_layer("top").activation is keras.activations.linear


def test_configure_every_activation_of_a_pretrained_model() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).configure(layers.Conv2D, activation="tanh", expect=4)
    h = x
    for layer in model.layers[1:]:
        h = layer(h)
        h = ops.tanh(h) if isinstance(layer, layers.Conv2D) else h
    assert same(out(ed.model, x), h)
    everywhere = Editor(model).configure("**", kernel_regularizer=keras.regularizers.L2(1e-3))
    assert len(everywhere.model.losses) == 5  # four convolutions and the head
    assert len(everywhere.history) == 1
    assert same(out(everywhere.model, x), out(model, x))


def test_configure_bias_away_and_back() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.configure("top", use_bias=False)
    assert plan.ok and plan.dropped == ("top/bias",)
    assert plan.params_after == model.count_params() - 2
    ed.configure("top", use_bias=False)
    kernel, bias = model.get_layer("top").get_weights()
    assert same(ed.model.get_layer("top").get_weights(), [kernel])
    plan = ed.preview.configure("top", use_bias=True)
    assert plan.reinitialized == ("top/bias",)
    ed.configure("top", use_bias=True)
    assert same(ed.model.get_layer("top").get_weights(), [kernel, np.zeros_like(bias)])
    check_equal(ed.undo(2).model, model, x)


def test_configure_the_number_of_units() -> None:
    model = models.fork()
    ed = Editor(model)
    refused(
        ed,
        ShapeMismatch,
        r"'top/kernel' has shape \(5, 2\) and would need \(5, 3\)",
        lambda e: e.configure("top", units=3),
    )
    plan = ed.preview.configure("top", units=3, on_mismatch="slice")
    assert plan.sliced == ("top/kernel", "top/bias")
    assert plan.shape_changes == (("top", (None, 2), (None, 3)),)
    ed.configure("top", units=3, on_mismatch="slice")
    old, new = model.get_layer("top").get_weights(), ed.model.get_layer("top").get_weights()
    assert same([new[0][:, :2], new[1][:2]], old)
    plan = ed.preview.configure("top", units=7, on_mismatch="reinit")
    assert plan.reinitialized == ("top/kernel", "top/bias")
    refused(ed, ShapeMismatch, "'add'", lambda e: e.configure("b", units=3, on_mismatch="slice"))


def test_configure_the_shape_of_what_follows() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model)
    plan = ed.preview.configure("pool", pool_size=4, strides=4)
    assert ("pool", (None, 4, 4, 4), (None, 2, 2, 4)) in plan.shape_changes
    ed.configure("pool", pool_size=4, strides=4)
    h = x
    for layer in model.layers[1:]:
        h = layers.MaxPooling2D(4)(h) if layer.name == "pool" else layer(h)
    assert same(out(ed.model, x), h)
    ed.configure("block1_conv", padding="valid")
    assert ed.model.get_layer("block1_conv").output.shape == (None, 6, 6, 4)
    assert same(weights_of(ed.model), weights_of(model))


def test_configure_inside_nested_models_and_of_shared_layers() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).configure("backbone/inner/dense", activation="linear")
    b, head = model.get_layer("backbone"), model.get_layer("head")
    d = b.get_layer("inner").get_layer("dense")
    kernel, bias = d.get_weights()
    linear = dense("l")
    linear.build((None, 5))
    linear.set_weights([kernel, bias])
    conv1, bn, conv2 = (b.get_layer(n) for n in ("conv1", "bn", "conv2"))
    assert same(out(ed.model, x), through(x, conv1, bn, linear, conv2, head))
    every = Editor(model).configure("backbone/**", activation="linear")
    inside = every.model.get_layer("backbone")
    assert inside.get_layer("conv1").activation is keras.activations.linear
    assert inside.get_layer("inner").get_layer("dense").activation is keras.activations.linear
    shared, batch = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    ed = Editor(shared).configure("tower", activation="relu")
    t = dense("tower", 4, activation="relu")
    t.build((None, 4))
    t.set_weights(shared.get_layer("tower").get_weights())
    wanted = layers.Concatenate()([t(t(batch[0])), t(batch[1])])
    assert same(out(ed.model, batch), wanted)
    assert len(ed.model.weights) == 2


def test_configure_an_embedding_an_rnn_and_a_wrapper() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).configure("embed", mask_zero=False).configure("gru", go_backwards=True)
    t = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, name="embed")(t)
    h = layers.LSTM(5, return_sequences=True, name="lstm1")(h)
    h = layers.GRU(3, go_backwards=True, name="gru")(h)
    check_equal(ed.model, give(keras.Model(t, dense("top", 2)(h)), model), x)
    ed = Editor(model)
    refused(ed, ShapeMismatch, "'gru'", lambda e: e.configure("lstm1", return_sequences=False))


def test_configure_precision() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).configure("b", dtype="mixed_float16")
    assert ed.model.get_layer("b").dtype_policy.name == "mixed_float16"
    assert same(weights_of(ed.model), weights_of(model))
    h = model.get_layer("a")(x)
    hand = dense("b", activation="relu", dtype="mixed_float16")
    hand.build((None, 5))
    hand.set_weights(model.get_layer("b").get_weights())
    assert same(out(ed.model, x), through(h, hand, model.get_layer("norm"), model.get_layer("c")))
    for dtype in ("float16", "bfloat16"):
        for policy in (dtype, keras.DTypePolicy(dtype)):
            ed = Editor(model).configure("b", dtype=policy)
            kernel = ed.model.get_layer("b").kernel
            assert kernel.dtype == dtype
            old = ops.cast(model.get_layer("b").kernel, dtype)
            assert same(ops.convert_to_numpy(kernel), ops.convert_to_numpy(old))
            assert np.all(np.isfinite(out(ed.model, x)[0]))


def test_configure_low_rank_adaptation() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.configure("b", lora_rank=2)
    assert len(plan.reinitialized) == 2
    ed.configure("b", lora_rank=2)
    assert same(out(ed.model, x), out(model, x))
    layer = ed.model.get_layer("b")
    assert layer.lora_enabled and len(layer.trainable_weights) == 3
    assert same(ops.convert_to_numpy(layer._kernel), model.get_layer("b").get_weights()[0])


BAD_CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"activatoin": "relu"}, r"'b' \(Dense\) has no argument 'activatoin'.*activation"),
    "no activation": ({"activation": "nope"}, "'b'.*activation='nope'.*Keras said.*nope"),
    "no number": ({"units": -3}, "units=-3"),
    "a name": ({"name": "new"}, "rename"),
    "a flag": ({"trainable": False}, "freeze"),
    "nothing": ({}, "Say what"),
    "keywords": ({"kwargs": 1}, "no argument 'kwargs'"),
    "policy": ({"units": 5, "on_mismatch": "no"}, "'no'"),
    "expect": ({"units": 5, "expect": 2}, "2 layers"),
}


@pytest.mark.parametrize("name", BAD_CONFIGURATIONS)
def test_configurations_that_cannot_be(name: str) -> None:
    config, match = BAD_CONFIGURATIONS[name]
    refused(Editor(models.fork()), EditError, match, lambda e: e.configure("b", **config))


def test_what_has_no_configuration() -> None:
    ed = Editor(models.nested())
    refused(ed, EditError, "'x'.*set_input", lambda e: e.configure("x", sparse=True))
    refused(
        ed, EditError, r"'backbone'.*'backbone/\*\*'", lambda e: e.configure("backbone", units=3)
    )
    refused(
        ed, EditError, "None of the layers.*'units'", lambda e: e.configure(layers.Dropout, units=3)
    )
    ops_ed = Editor(models.raw_ops())
    refused(ops_ed, EditError, "'multiply'.*Replace", lambda e: e.configure("multiply", x=1))
    i = keras.Input((3,), name="x")
    lam = Editor(keras.Model(i, layers.Lambda(lambda t: t, name="l")(i)))
    refused(lam, EditError, "'l'.*Replace", lambda e: e.configure("l", function=models.double))
    sub = Editor(models.subclassed())
    refused(sub, StructureError, "subclassed", lambda e: e.configure("first", activation="relu"))


def test_configure_a_custom_layer() -> None:
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, models.Scale(2.0, name="s")(x)))
    ed = Editor(model).configure("s", start=5.0)
    assert ed.model.get_layer("s").start == 5.0
    assert same(out(ed.model, data(3, 4)), out(model, data(3, 4)))
    fresh = ed.reinitialize("s").model.get_layer("s").get_weights()
    assert same(fresh, [np.full(4, 5.0, "float32")])


@pytest.mark.parametrize(
    "target",
    ["b", 2, lambda model, ed: model.get_layer("b"), lambda model, ed: ed.model.get_layer("b"),
     lambda model, ed: lambda view: view.name == "b", ["b"], [2, "b"], "[b]", "**/b"],
    ids=lambda t: str(t) if not callable(t) else "live",
)  # fmt: skip
def test_all_ways_to_name_a_layer(target: Any) -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    named = target(model, ed) if callable(target) else target
    ed.scale_weights(named, 2.0, expect=1)
    assert same(out(ed.model, x), out(_scaled(model), x))
    assert ed.undo().duplicate(named, expect=1).find("b_1") == ["b_1"]
    ed.undo().configure(named, activation="linear", expect=1)
    before = state_of(ed)
    with pytest.raises(TargetError):
        ed.configure(named, activation="relu", expect=2)
    assert state_of(ed) == before
    assert ed.model.get_layer("b").activation is keras.activations.linear


def _scaled(model: keras.Model) -> keras.Model:
    hand = give(models.fork(), model)
    layer = hand.get_layer("b")
    layer.set_weights([w * np.float32(2) for w in layer.get_weights()])
    return hand


# -- what compile set up -------------------------------------------------------------------------


def test_slots_and_flags_survive() -> None:
    model = models.chain()
    model.get_layer("b").trainable = False
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse", run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    for number, slot in enumerate(model.optimizer.momentums):
        slot.assign(np.random.default_rng(number).normal(size=slot.shape))

    def slots(found: keras.Model) -> dict[str, bytes]:
        pairs = zip(found.trainable_variables, found.optimizer.momentums, strict=True)
        return {v.path: ops.convert_to_numpy(m).tobytes() for v, m in pairs}

    known = slots(model)
    ed = Editor(model).configure("a", activation="relu").move("drop", after="norm")
    ed.configure("b", kernel_regularizer="l2").move("b", after="norm")
    assert slots(ed.model) == known
    assert {v.path for v in ed.layers if not v.trainable} >= {"b"}
    ed.duplicate("b").duplicate("norm")
    assert {v.path for v in ed.layers if v.kind == "layer" and not v.trainable} == {"b", "b_1"}
    assert known.items() <= slots(ed.model).items()
    ed.model.fit(data(8, 4), data(8, 2), verbose=0)
    assert same(ed.model.get_layer("b_1").get_weights(), model.get_layer("b").get_weights())


def test_whole_numbers_are_moved_too() -> None:
    i = keras.Input((3,), dtype="int32", name="x")
    h = layers.Embedding(9, 4, name="embed")(i)
    model = models.scramble(keras.Model(i, layers.Flatten(name="flat")(layers.ReLU(name="r")(h))))
    ed = Editor(model).move("r", after="flat")
    check_equal(ed.model, model, whole(9, 2, 3))


# -- previews ------------------------------------------------------------------------------------

PREVIEWS: dict[str, Callable[[Any], Any]] = {
    "connect": lambda e: e.connect("a", "top", merge=layers.Add()),
    "add_branch": lambda e: e.add_branch(
        layers.Dense(5), source="a", into="top", merge=layers.Concatenate(), on_mismatch="slice"),
    "disconnect": lambda e: e.disconnect("b", "add"),
    "replace_between": lambda e: e.replace_between("b", "b", [layers.Dense(9), layers.Dense(5)]),
    "duplicate": lambda e: e.duplicate("[bc]", weights=False),
    "move": lambda e: e.move("b", after="add"),
    "configure": lambda e: e.configure("**", kernel_regularizer="l2"),
    "configure units": lambda e: e.configure("top", units=9, on_mismatch="reinit"),
    "extract": lambda e: e.extract("b", "top"),
    "set_input": lambda e: e.set_input((9,), on_mismatch="slice"),
    "add_output": lambda e: e.add_output("b", name="feat"),
    "remove_output": lambda e: e.remove_output("top"),
    "nest": lambda e: e.nest("a", "add", "core"),
    "inline": lambda e: e.inline("inner"),
    "set_weights": lambda e: e.set_weights("b/bias", np.ones(5)),
    "scale_weights": lambda e: e.scale_weights("**", 2.0),
    "map_weights": lambda e: e.map_weights("b", np.abs),
    "reinitialize": lambda e: e.reinitialize("**"),
}  # fmt: skip


@pytest.fixture(scope="module")
def previewed() -> Editor:
    ed = Editor(models.fork()).nest("c", "c", "inner").add_output("a")
    _ = ed.model
    return ed


@pytest.mark.parametrize("name", PREVIEWS)
def test_previews_make_and_change_nothing(previewed: Editor, name: str) -> None:
    ed, copy = previewed, previewed.model
    state, weights, drawn = state_of(ed), fingerprint(copy), random.getstate()
    with variables_made() as made:
        plan = PREVIEWS[name](ed.preview)
    assert plan.ok, plan.errors
    assert not made
    assert state_of(ed) == state and ed.model is copy and fingerprint(copy) == weights
    if "layers." not in plan.code:  # making a layer to give draws a seed
        assert random.getstate() == drawn
    # What the plan tells is what the edit does.
    PREVIEWS[name](ed)
    try:
        assert plan.params_after == ed.model.count_params()
        assert plan.bytes_after == sum(v.nbytes for v in ed.model.get_weights())
        found = {view.path: view.output_shape for view in ed.layers}
        assert all(found.get(path, after) == after for path, _, after in plan.shape_changes)
        assert not set(plan.dropped) & set(found)
        assert plan.code == ed.history[-1].to_code()
        assert ed.history[-1].describe() == plan.description
    finally:
        ed.undo()
    assert state_of(ed)[0] == state[0]
