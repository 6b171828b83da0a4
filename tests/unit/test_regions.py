"""Whole regions exchanged, taken out alone, nested and unpacked: against models written by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, NameTaken, ShapeMismatch, StructureError, TargetError
from tests import models
from tests.models import ZOO, check_equal, data, give, out, refused, same
from tests.unit.test_traps import KINDS


def paths(ed: Editor) -> list[str]:
    return [view.path for view in ed.layers]


def dense(name: str, units: int = 5, **options: Any) -> layers.Dense:
    return layers.Dense(units, name=name, **options)


# -- replace_between -----------------------------------------------------------------------------


def test_replace_between_in_a_chain() -> None:
    """A block of Dense layers becomes a small convolutional one; the Sequential stays one."""
    model, x = models.chain(), data(3, 4)
    block = [
        layers.Reshape((4, 1), name="r"),
        layers.Conv1D(2, 2, name="conv"),
        layers.Flatten(name="flat"),
        dense("back"),
    ]
    ed = Editor(model)
    plan = ed.preview.replace_between("a", "b", block)
    assert plan.ok and not plan.dropped and not plan.reinitialized and not plan.shape_changes
    ed.replace_between("a", "b", block)
    assert plan.params_after == ed.model.count_params()
    assert type(ed.model) is keras.Sequential
    assert paths(ed) == ["x", "r", "conv", "flat", "back", "norm", "c"]
    hand = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Reshape((4, 1)),
            layers.Conv1D(2, 2, name="conv"),
            layers.Flatten(),
            dense("back"),
            layers.BatchNormalization(name="norm"),
            dense("c", 2),
        ]
    )
    check_equal(ed.model, give(give(hand, ed.model), model), x)
    check_equal(ed.undo().model, model, x)


def test_replace_between_takes_all_branches_along() -> None:
    model, x = models.fork(), data(3, 4)
    new = models.scramble(keras.Sequential([keras.Input((5,)), dense("n")]))
    ed = Editor(model).replace_between("a", "add", new.get_layer("n"), on_mismatch="reinit")
    assert paths(ed) == ["x", "n", "top"]
    with pytest.raises(StructureError):
        Editor(model).replace_between("b", "c", layers.ReLU())
    inner = Editor(model).replace_between("b", "b", layers.ReLU(name="r"))
    a, c, top = (model.get_layer(n) for n in ("a", "c", "top"))
    h = a(x)
    assert same(out(inner.model, x), top(layers.Add()([ops.relu(h), c(h)])))


def test_replace_between_frees_the_names() -> None:
    model, x = models.fork(), data(3, 4)
    new = models.scramble(keras.Sequential([keras.Input((4,)), dense("b", 3), dense("a")]), 9)
    ed = Editor(model).replace_between("a", "add", [new.get_layer("b"), new.get_layer("a")])
    assert paths(ed) == ["x", "b", "a", "top"]
    assert same(out(ed.model, x), model.get_layer("top")(new(x)))
    refused(ed, NameTaken, "'top'", lambda e: e.replace_between("b", "a", dense("top")))


def test_replace_between_of_several_entering_tensors() -> None:
    model, x = models.two_ways(), [data(3, 3), data(3, 4)]
    l1, r1, r2, top = (model.get_layer(n) for n in ("l1", "r1", "r2", "top"))
    ed = Editor(model)
    refused(
        ed,
        ShapeMismatch,
        r"'top/kernel' has shape \(10, 2\) and would need \(5, 2\)",
        lambda e: e.replace_between("both", "both", layers.Average(name="mean")),
    )
    ed.replace_between("both", "both", layers.Average(name="mean"), on_mismatch="slice")
    kernel, bias = top.get_weights()
    assert same(ed.model.get_layer("top").get_weights(), [kernel[:5], bias])
    mean = layers.Average()([l1(x[0]), r2(r1(x[1]))])
    assert same(out(ed.model, x), ed.model.get_layer("top")(mean))


def test_replace_between_with_a_model_of_several_inputs() -> None:
    model, x = models.two_ways(), [data(3, 3), data(3, 4)]
    p, q = keras.Input((5,), name="p"), keras.Input((5,), name="q")
    merge = keras.Model([p, q], layers.Concatenate()([dense("d")(q), p * 2.0]), name="merge")
    models.scramble(merge, 4)
    ed = Editor(model).replace_between("both", "both", merge)
    l1, r1, r2, top = (model.get_layer(n) for n in ("l1", "r1", "r2", "top"))
    wanted = top(merge([l1(x[0]), r2(r1(x[1]))]))
    assert same(out(ed.model, x), wanted)
    # The order is that in which the region takes them.
    ed = Editor(model).replace_between(
        "r2", "both", layers.Subtract(name="minus"), on_mismatch="slice"
    )
    difference = layers.Subtract()([r1(x[1]), l1(x[0])])
    assert same(out(ed.model, x), ed.model.get_layer("top")(difference))


def test_replace_between_by_a_function() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).replace_between("a", "add", lambda t: layers.Concatenate()([t, t[:, :1]]))
    top = model.get_layer("top")
    assert same(out(ed.model, x), top(np.concatenate([x, x[:, :1]], -1)))
    refused(
        Editor(models.two_ways()),
        StructureError,
        "2 tensors enter",
        lambda e: e.replace_between("both", "top", lambda t: t),
    )


def test_replace_between_inside_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).replace_between("backbone/bn", "backbone/inner", layers.ReLU(name="r"))
    assert [p for p in paths(ed) if p.startswith("backbone/")] == [
        "backbone/back_in",
        "backbone/conv1",
        "backbone/r",
        "backbone/conv2",
    ]
    b = model.get_layer("backbone")
    wanted = model.get_layer("head")(b.get_layer("conv2")(ops.relu(b.get_layer("conv1")(x))))
    assert same(out(ed.model, x), wanted)


def test_replace_between_keeps_masks_and_raw_ops_going() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).replace_between(
        "drop", "lstm1", layers.Identity(name="same"), on_mismatch="slice"
    )
    tokens = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    h = layers.Identity()(h)
    hand = give(keras.Model(tokens, dense("top", 2)(layers.GRU(3, name="gru")(h))), ed.model)
    check_equal(ed.model, hand, x)
    ops_model, batch = models.raw_ops(), data(3, 3, 4)
    ed = Editor(ops_model).replace_between("multiply", "relu", layers.Activation("tanh"))
    a, top = ops_model.get_layer("a"), ops_model.get_layer("top")
    assert same(out(ed.model, batch), top(ops.tanh(a(batch) + batch)[:, 0]))


REGIONS: dict[str, tuple[Callable[[Any], Any], type[EditError], str]] = {
    "no way": (lambda e: e.replace_between("b", "c", layers.ReLU()), StructureError, "No way leads"),
    "backwards": (lambda e: e.replace_between("top", "a", layers.ReLU()), StructureError, "comes first"),
    "feeds others": (
        lambda e: e.replace_between("a", "b", layers.ReLU()), StructureError, "'a' in the region.*'c'"),
    "an input": (lambda e: e.replace_between("x", "a", layers.ReLU()), StructureError, "'x' is an input"),
    "unknown": (lambda e: e.replace_between("a", "q", layers.ReLU()), TargetError, "'q'"),
    "several": (lambda e: e.replace_between("a", "[bc]", layers.ReLU()), TargetError, "b, c"),
    "shapes": (lambda e: e.replace_between("a", "add", layers.ReLU()), ShapeMismatch, "'top/kernel'"),
    "two for a chain": (
        lambda e: e.replace_between("add", "top", [layers.ReLU(), layers.Dense(2)]),
        StructureError, "2 tensors enter.*single layer"),
    "a class": (lambda e: e.replace_between("a", "add", layers.ReLU), EditError, "is a class"),
    "nothing": (lambda e: e.replace_between("a", "add", []), EditError, "empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", REGIONS)
def test_regions_that_cannot_be_replaced(name: str) -> None:
    act, kind, match = REGIONS[name]
    refused(Editor(models.fork()), kind, match, act)


def test_a_region_that_ends_in_several_calls() -> None:
    refused(
        Editor(models.shared()),
        StructureError,
        "2 calls of 'tower'",
        lambda e: e.replace_between("tower", "tower", layers.Add()),
    )
    inner = models.nested()
    refused(
        Editor(inner),
        StructureError,
        "not in the same model",
        lambda e: e.replace_between("backbone/conv1", "head", layers.ReLU()),
    )


def test_what_a_layer_with_states_puts_out_beside() -> None:
    ed = Editor(models.seq2seq())
    refused(
        ed,
        StructureError,
        "'enc' in the region.*also feeds 'dec'",
        lambda e: e.replace_between("enc", "enc", layers.ReLU()),
    )


# -- extract -------------------------------------------------------------------------------------


def test_extract_the_middle_of_a_chain() -> None:
    model, x = models.chain(), data(3, 5)
    ed = Editor(model)
    plan = ed.preview.extract("drop", "norm")
    assert plan.dropped == ("x", "a", "c")
    assert plan.params_after == sum(model.get_layer(n).count_params() for n in ("b", "norm"))
    ed.extract("drop", "norm")
    assert type(ed.model) is keras.Sequential
    assert ed.model.input_shape == (None, 5)
    b, norm = model.get_layer("b"), model.get_layer("norm")
    assert same(out(ed.model, x), norm(b(x)))
    assert paths(ed) == ["input_layer", "drop", "b", "norm"]
    check_equal(ed.undo().model, model, data(3, 4))


def test_extract_of_a_region_with_several_ways_in() -> None:
    model = models.fork()
    x, y = data(3, 5), data(3, 5, seed=4)
    ed = Editor(model).extract("add", "top")
    assert [t.name for t in ed.model.inputs] == ["input_layer", "input_layer_1"]
    assert paths(ed) == ["input_layer", "input_layer_1", "add", "top"]
    assert same(out(ed.model, [x, y]), model.get_layer("top")(x + y))
    assert same(out(models.rebuilt(ed.model), [x, y]), out(ed.model, [x, y]))


def test_extract_keeps_inputs_that_enter() -> None:
    model, x = models.two_ways(), [data(3, 3), data(3, 4)]
    ed = Editor(model).extract("r1", "top")
    h = data(3, 5)
    r1, r2, both, top = (model.get_layer(n) for n in ("r1", "r2", "both", "top"))
    assert [t.name for t in ed.model.inputs] == ["right", "input_layer"]
    assert same(out(ed.model, [x[1], h]), top(both([h, r2(r1(x[1]))])))
    ed = Editor(model).extract("right", "r2")
    assert same(out(ed.model, x[1]), r2(r1(x[1])))
    assert [t.name for t in ed.model.inputs] == ["right"]


def test_extract_a_name_that_an_input_has_already() -> None:
    i = keras.Input((4,), name="input_layer")
    h = dense("h", 4)(i)
    model = models.scramble(keras.Model(i, layers.Subtract(name="sub")([dense("k", 4)(h), i])))
    ed = Editor(model).extract("k", "sub")
    assert [t.name for t in ed.model.inputs] == ["input_layer_1", "input_layer"]
    x, y = data(3, 4), data(3, 4, seed=5)
    assert same(out(ed.model, [x, y]), layers.Subtract()([model.get_layer("k")(x), y]))


def test_extract_inside_a_nested_model() -> None:
    model = models.nested()
    backbone = model.get_layer("backbone")
    h = data(3, 5)
    bn, inner, conv2 = (backbone.get_layer(n) for n in ("bn", "inner", "conv2"))
    ed = Editor(model)
    assert "head" in ed.preview.extract("backbone/bn", "backbone/conv2").dropped
    ed.extract("backbone/bn", "backbone/conv2")
    assert paths(ed) == ["input_layer", "bn", "inner", "inner/inner_in", "inner/dense", "conv2"]
    assert same(out(ed.model, h), conv2(inner(bn(h))))
    assert ed.model.name == "nested"
    ed.extract("inner/dense", "inner/dense")
    assert same(out(ed.model, h), inner(h))
    assert paths(ed) == ["inner_in", "dense"]
    check_equal(ed.undo(2).model, model, data(3, 4))


def test_extract_a_whole_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).extract("backbone", "backbone")
    assert same(out(ed.model, x), model.get_layer("backbone")(x))
    ed = Editor(model).extract("backbone/back_in", "backbone/conv2")
    assert same(out(ed.model, x), model.get_layer("backbone")(x))
    assert [t.name for t in ed.model.inputs] == ["back_in"]


def test_extract_a_nested_sequential_from_a_functional_model() -> None:
    inner = keras.Sequential([keras.Input((4,)), dense("p", 3), dense("q", 2)], name="inner")
    i = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(i, layers.ReLU(name="r")(inner(i))))
    ed, x = Editor(model).extract("inner/p", "inner/q"), data(3, 4)
    assert type(ed.model) is keras.Sequential
    assert same(out(ed.model, x), inner(x))


def test_extract_what_several_tensors_leave() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    ed = Editor(model).extract("source", "enc")
    assert same(out(ed.model, x[0]), model.get_layer("enc")(x[0]))
    assert len(ed.model.outputs) == 3
    ed = Editor(model).extract("dec", "top")
    h, c = data(2, 4), data(2, 4, seed=4)
    wanted = model.get_layer("top")(model.get_layer("dec")(x[1], initial_state=[h, c]))
    assert [t.name for t in ed.model.inputs] == ["target", "input_layer", "input_layer_1"]
    assert same(out(ed.model, [x[1], h, c]), wanted)


def test_extract_keeps_dtypes_masks_and_ops() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).extract("embed", "gru")
    assert [t.dtype for t in ed.model.inputs] == ["int32"]
    part = keras.Model(model.input, model.get_layer("gru").output)
    assert same(out(ed.model, x), out(part, x))
    ops_model = models.raw_ops()
    ed = Editor(ops_model).extract("add", "get_item")
    p, q = data(3, 3, 4), data(3, 3, 4, seed=3)
    assert [t.name for t in ed.model.inputs] == ["input_layer", "x"]
    assert same(out(ed.model, [p, q]), ops.relu((p + q) * 2.0)[:, 0])


def test_extract_that_cannot_be() -> None:
    ed = Editor(models.fork())
    refused(ed, StructureError, "No way leads", lambda e: e.extract("b", "c"))
    refused(ed, StructureError, "No way leads", lambda e: e.extract("top", "a"))
    refused(ed, TargetError, "'q'", lambda e: e.extract("q", "c"))
    refused(ed, StructureError, "Nothing would be left", lambda e: e.extract("x", "x"))
    nested = Editor(models.nested())
    refused(nested, StructureError, "same model", lambda e: e.extract("backbone/bn", "head"))


def test_extract_of_a_single_layer() -> None:
    model, x = models.fork(), data(3, 5)
    assert same(out(Editor(model).extract("b", "b").model, x), model.get_layer("b")(x))


# -- nest ----------------------------------------------------------------------------------------


def test_nest_in_a_chain_makes_a_sequential() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.nest("drop", "norm", "core")
    assert plan.ok and not plan.dropped and not plan.renamed and not plan.shape_changes
    assert plan.params_after == model.count_params()
    ed.nest("drop", "norm", "core")
    assert type(ed.model) is type(ed.model.get_layer("core")) is keras.Sequential
    assert paths(ed) == [
        "x",
        "a",
        "core",
        "core/input_layer",
        "core/drop",
        "core/b",
        "core/norm",
        "c",
    ]
    check_equal(ed.model, model, x)
    assert same(ed.model.get_weights(), model.get_weights())
    check_equal(ed.undo().model, model, x)


def test_nest_with_several_entering_and_leaving_tensors() -> None:
    i, j = keras.Input((4,), name="i"), keras.Input((4,), name="j")
    a, b = dense("a", 4)(i), dense("b", 4)(j)
    c = layers.Add(name="c")([a, b])
    d, e = dense("d", 4)(c), dense("e", 4)(c)
    f = layers.Add(name="f")([d, e, i])
    outputs = [dense("g", 2)(layers.Concatenate(name="h")([f, d])), c]
    model = models.scramble(keras.Model([i, j], outputs))
    x = [data(3, 4), data(3, 4, seed=6)]
    ed = Editor(model).nest("c", "f", "core")
    core = ed.model.get_layer("core")
    assert len(core.inputs) == 3 and len(core.outputs) == 3
    check_equal(ed.model, model, x)
    assert ed.model.output_names == ["g", "c"]
    assert same(out(models.rebuilt(ed.model), x), out(model, x))
    ed.inline("core")
    check_equal(ed.model, model, x)
    assert sorted(paths(ed)) == sorted(paths(Editor(model)))


def test_nest_inside_a_nested_model_and_names() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).nest("backbone/conv1", "backbone/bn", "conv1")
    assert "backbone/conv1/conv1" in paths(ed)
    check_equal(ed.model, model, x)
    assert ed.find("backbone/conv1/bn") == ["backbone/conv1/bn"]
    ed.freeze("backbone/conv1")
    frozen = {v.path for v in ed.layers if not v.trainable}
    assert {"backbone/conv1", "backbone/conv1/conv1", "backbone/conv1/bn"} <= frozen
    refused(ed, NameTaken, "'drop'", lambda e: e.nest("backbone", "backbone", "drop"))
    refused(ed, NameTaken, "'conv2'", lambda e: e.nest("backbone/inner", "backbone/inner", "conv2"))


def test_nest_of_one_layer_and_of_all() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).nest("b", "b", "b")
    check_equal(ed.model, model, x)
    assert "b/b" in paths(ed)
    ed = Editor(model).nest("a", "top", "all")
    check_equal(ed.model, model, x)
    assert [p for p in paths(ed) if "/" not in p] == ["x", "all"]


def test_nest_shared_layers() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    ed = Editor(model).nest("tower", "cat", "core")
    check_equal(ed.model, model, x)
    assert len(ed.model.weights) == 2
    ed.inline("core")
    check_equal(ed.model, model, x)
    # A layer that is also called outside of the region is in both, as one.
    i = keras.Input((4,), name="i")
    d = dense("d", 4)
    twice = models.scramble(keras.Model(i, d(layers.ReLU(name="r")(dense("k", 4)(d(i))))))
    ed = Editor(twice).nest("k", "r", "core")
    check_equal(ed.model, twice, data(3, 4))


def test_nest_masks_keyword_tensors_states_and_ops() -> None:
    for name, start, stop in [
        ("masked", "embed", "lstm1"),
        ("masked", "drop", "gru"),
        ("masked", "lstm1", "lstm1"),
        ("attention", "k", "mha"),
        ("attention", "mha", "norm"),
        ("seq2seq", "enc", "dec"),
        ("seq2seq", "dec", "top"),
        ("raw_ops", "add", "get_item"),
        ("raw_ops", "a", "relu"),
        ("dicts", "mean", "trunk"),
        ("dicts", "trunk", "high"),
    ]:
        keras.utils.clear_session(free_memory=False)  # raw ops have automatic names
        build, batch = ZOO[name]
        model, x = build(), batch()
        ed = Editor(model).nest(start, stop, "core")
        check_equal(ed.model, model, x)
        assert same(out(models.rebuilt(ed.model), x), out(model, x))
        ed.inline("core")
        check_equal(ed.model, model, x)
        assert sorted(paths(ed)) == sorted(paths(Editor(model))), (name, start, stop)
        assert ed.undo(2).graph is ed.source_graph


def test_nest_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model = models.chain()
    keras.config.set_dtype_policy("float32")
    ed = Editor(model).nest("a", "b", "core")
    assert ed.model.get_layer("core").dtype_policy.name == "mixed_float16"
    assert ed.model.get_layer("core").get_layer("a").dtype_policy.name == "mixed_float16"
    check_equal(ed.model, model, data(3, 4))
    check_equal(ed.inline("core").model, model, data(3, 4))


def test_nest_that_cannot_be() -> None:
    ed = Editor(models.fork())
    refused(ed, StructureError, "'x' is an input", lambda e: e.nest("x", "a", "core"))
    refused(ed, StructureError, "No way leads", lambda e: e.nest("c", "b", "core"))
    refused(
        ed, NameTaken, "The nested model cannot be called 'top'", lambda e: e.nest("b", "b", "top")
    )
    refused(ed, EditError, "'/'", lambda e: e.nest("b", "b", "a/b"))
    refused(ed, EditError, "name", lambda e: e.nest("b", "b", ""))


# -- inline --------------------------------------------------------------------------------------


def test_inline_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.inline("backbone")
    assert plan.ok and not plan.dropped and not plan.renamed
    assert plan.params_after == model.count_params()
    ed.inline("backbone")
    assert paths(ed) == [
        "x",
        "conv1",
        "bn",
        "inner",
        "inner/inner_in",
        "inner/dense",
        "conv2",
        "drop",
        "head",
    ]
    check_equal(ed.model, model, x)
    ed.inline("inner")
    assert paths(ed) == ["x", "conv1", "bn", "dense", "conv2", "drop", "head"]
    check_equal(ed.model, model, x)
    assert same(ed.model.get_weights(), model.get_weights())
    inside = Editor(model).inline("backbone/inner")
    assert "backbone/dense" in paths(inside)
    check_equal(inside.model, model, x)
    check_equal(ed.undo(2).model, model, x)


def test_inline_in_a_sequential_stays_one() -> None:
    inner = keras.Sequential(
        [keras.Input((4,)), dense("p", 3), layers.Dropout(0.5, name="q")], name="inner"
    )
    model = models.scramble(keras.Sequential([keras.Input((4,)), inner, dense("top", 2)]))
    ed = Editor(model).inline("inner")
    assert type(ed.model) is keras.Sequential
    check_equal(ed.model, model, data(3, 4))
    # The dropout still works in training.
    assert not same(out(ed.model, data(9, 4), training=True), out(ed.model, data(9, 4)))


def test_inline_renames_what_collides() -> None:
    z = keras.Input((4,), name="z")
    h = layers.Dropout(0.1)(dense("top", 4)(z))
    h = dense("inner", 4)(dense("own", 4)(layers.Dense(4)(h)))
    inner = keras.Model(z, h, name="inner")
    i = keras.Input((4,), name="x")
    h = layers.Dropout(0.1, name=inner.layers[2].name)(inner(i))
    model = models.scramble(
        keras.Model(i, dense("top", 2)(layers.Dense(4, name=inner.layers[3].name)(h)))
    )
    ed = Editor(model)
    plan = ed.preview.inline("inner")
    ed.inline("inner")
    check_equal(ed.model, model, data(3, 4))
    names = [p for p in paths(ed) if p != "x"]
    assert len(set(names)) == len(names) == 8
    assert {"inner_top", "inner", "own", "top"} <= set(names)
    assert ("inner/top", "inner_top") in plan.renamed
    assert {new for _, new in plan.renamed} <= set(names)


def test_inline_a_model_that_is_called_twice() -> None:
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, layers.Add(name="sum")([dense("d", 4)(z), z]), name="inner")
    i = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(i, inner(inner(i))))
    ed = Editor(model).inline("inner")
    check_equal(ed.model, model, data(3, 4))
    assert len(ed.model.weights) == 2
    assert {v.path: v.calls for v in ed.layers} == {"x": 1, "d": 2, "sum": 2}


def test_inline_of_several_inputs_and_outputs() -> None:
    p, q = keras.Input((4,), name="p"), keras.Input((4,), name="q")
    h = layers.Subtract(name="sub")([dense("d", 4)(p), q])
    for inputs, outputs in [
        ([q, p], [h, q]),
        ({"one": p, "two": q}, {"z": h, "a": layers.ReLU(name="r")(h)}),
    ]:
        inner = keras.Model(inputs, outputs, name="inner")
        i, j = keras.Input((4,), name="i"), keras.Input((4,), name="j")
        given = {"one": i, "two": j} if isinstance(inputs, dict) else [i, j]
        got = keras.tree.flatten(inner(given))
        model = models.scramble(keras.Model([i, j], [layers.Concatenate(name="cat")(got), got[0]]))
        x = [data(3, 4), data(3, 4, seed=3)]
        ed = Editor(model).inline("inner")
        check_equal(ed.model, model, x)
        assert "inner" not in paths(ed)


def test_inline_the_last_model_keeps_names_of_outputs() -> None:
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, dense("d", 4)(z), name="inner")
    i = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(i, inner(layers.ReLU(name="r")(i))))
    model.compile("sgd", loss={"inner": "mse"}, run_eagerly=True)
    x, y = data(8, 4), data(8, 4, seed=3)
    wanted = model.evaluate(x, y, verbose=0)
    ed = Editor(model).inline("inner")
    assert ed.model.output_names == ["inner"]
    assert ed.model.evaluate(x, y, verbose=0) == wanted


def test_inline_a_layer_that_is_also_outside() -> None:
    tied = dense("tied", 4)
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, layers.ReLU(name="r")(tied(z)), name="inner")
    i = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(i, tied(inner(i))))
    ed = Editor(model).inline("inner")
    check_equal(ed.model, model, data(3, 4))
    assert paths(ed) == ["x", "tied", "r"] and len(ed.model.weights) == 2


def test_inline_passes_training_on() -> None:
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, layers.Dropout(0.5, seed=3, name="d")(dense("k", 4)(z)), name="inner")
    i = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(i, layers.ReLU(name="r")(inner(i, training=True))))
    ed = Editor(model).inline("inner")
    keras.utils.set_random_seed(4)
    wanted = [out(model, data(8, 4)) for _ in range(2)]
    got = [out(ed.model, data(8, 4)) for _ in range(2)]
    assert same(got, wanted)


def test_inline_a_subclass_says_what_it_loses() -> None:
    inner = models.functional_subclass()
    i = keras.Input((4,), name="x0")
    model = keras.Model(i, layers.ReLU(name="r")(inner(i)))
    with pytest.warns(UserWarning, match="OwnStep"):
        ed = Editor(model).inline("own")
    check_equal(ed.model, model, data(3, 4))


def test_inline_that_cannot_be() -> None:
    ed = Editor(models.nested())
    refused(ed, StructureError, r"'head' \(Dense\) is no nested model", lambda e: e.inline("head"))
    refused(ed, TargetError, "backbone, backbone/inner", lambda e: e.inline(keras.Model))
    refused(ed, TargetError, "'bone'", lambda e: e.inline("bone"))
    sub = models.subclassed()
    i = keras.Input((4,), name="x")
    opaque = Editor(keras.Model(i, layers.ReLU()(sub(i))))
    refused(opaque, StructureError, "'sub' is a subclassed model", lambda e: e.inline("sub"))


def test_inline_a_model_that_makes_something_else_of_what_it_is_given() -> None:
    """Keras casts what a model is given to the dtype of its inputs, and adds or drops a last 1."""
    for inner_shape, inner_dtype, shape, match in [
        ((4,), "float16", (4,), r"\(None, 4\) float32.*\(None, 4\) float16"),
        ((4, 1), "float32", (4,), r"\(None, 4\) float32.*\(None, 4, 1\) float32"),
    ]:
        z = keras.Input(inner_shape, dtype=inner_dtype, name="z")
        inner = keras.Model(z, layers.Dense(2, name="d")(z), name="inner")
        i = keras.Input(shape, name="x")
        ed = Editor(keras.Model(i, layers.ReLU()(inner(i))))
        refused(ed, StructureError, f"'inner' is given {match}", lambda e: e.inline("inner"))


def test_inline_a_model_called_with_a_mask() -> None:
    z = keras.Input((5, 3), name="z")
    inner = keras.Model(z, layers.LSTM(2, name="lstm")(z), name="inner")
    i, m = keras.Input((5, 3), name="x"), keras.Input((5,), dtype="bool", name="m")
    model = keras.Model([i, m], layers.ReLU()(inner(i, mask=m)))
    refused(
        Editor(model), StructureError, "'inner' is called with more", lambda e: e.inline("inner")
    )


@pytest.mark.parametrize("name", [n for n in ZOO if n not in ("subclassed", "chain", "cnn")])
def test_a_model_put_into_another_and_unpacked_is_what_it_was(name: str) -> None:
    """Everything that a model can hold survives the way into a nested model and out again."""
    build, batch = ZOO[name]
    model, x = build(), batch()
    given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), given
    )
    outer = keras.Model(inputs, model(inputs), name="outer")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*plain model|What Own")
        ed = Editor(outer).inline(model.name)
    assert same(out(ed.model, x), out(model, x))
    keras.tree.assert_same_structure(ed.model(x), model(x))
    first, second = ({v.path for v in e.layers if v.kind != "input"} for e in (ed, Editor(model)))
    assert first == second
    assert same(out(models.rebuilt(ed.model), x), out(model, x))


# -- what compile set up -------------------------------------------------------------------------


def trained(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse", run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    for number, slot in enumerate(model.optimizer.momentums):
        slot.assign(np.random.default_rng(number).normal(size=slot.shape))
    return model


def slots(model: keras.Model) -> dict[bytes, bytes]:
    """The momenta by the (random) values of their variables."""
    pairs = zip(model.trainable_variables, model.optimizer.momentums, strict=True)
    return {ops.convert_to_numpy(v).tobytes(): ops.convert_to_numpy(m).tobytes() for v, m in pairs}


REGION_EDITS: dict[str, tuple[str, Callable[[Editor], Any], int]] = {
    "nest": ("fork", lambda e: e.nest("a", "add", "core"), 8),
    "inline": ("nested", lambda e: e.inline("backbone").inline("inner"), 10),
    "extract": ("fork", lambda e: e.extract("b", "top"), 4),
    "extract inside": ("nested", lambda e: e.extract("backbone/bn", "backbone/conv2"), 6),
    "replace between": ("fork", lambda e: e.replace_between("b", "b", layers.ReLU()), 6),
}


@pytest.mark.parametrize("name", REGION_EDITS)
def test_losses_and_slots_survive(name: str) -> None:
    kind, edit, count = REGION_EDITS[name]
    model = trained(ZOO[kind][0]())
    known = slots(model)
    ed = Editor(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        edit(ed)
        copy = ed.model
    assert copy.compiled and copy.loss == "mse"
    found = slots(copy)
    assert len(found) == count
    assert found.items() <= known.items()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again = ed.undo(len(ed.history)).model
    assert slots(again) == known


def test_extract_of_another_end_of_several_leaves_it_uncompiled() -> None:
    model = models.seq2seq()
    model.compile("sgd", loss=["mse", "mae"])
    ed = Editor(model).extract("source", "enc")
    with pytest.warns(UserWarning, match="no loss"):
        assert not ed.model.compiled
    assert ed.undo().model.compiled
    kept = Editor(model).extract("dec", "top").model
    assert kept.compiled and kept.loss == "mse"


# -- traps ---------------------------------------------------------------------------------------


def test_models_with_colliding_names_are_joined_anywhere() -> None:
    """Keras itself raises where two layers of one model have the same name."""
    model, x = models.fork(), data(3, 4)
    other = models.scramble(models.fork(), 7)
    to4 = models.scramble(keras.Sequential([keras.Input((2,)), dense("to4", 4)], name="to"))
    ed = Editor(model).append([to4, other]).rename("fork", "second")
    wanted = other(to4(model(x)))
    assert same(out(ed.model, x), wanted)
    ed.inline("second")
    assert same(out(ed.model, x), wanted)
    assert {"a", "b", "c", "top", "second_a", "second_top"} <= set(paths(ed))
    assert same(out(models.rebuilt(ed.model), x), wanted)
    refused(ed, NameTaken, "'a'", lambda e: e.append(dense("a")))


def test_opaque_models_are_refused() -> None:
    ed = Editor(models.subclassed())
    for act in (
        lambda e: e.replace_between("first", "second", layers.ReLU()),
        lambda e: e.extract("first", "second"),
        lambda e: e.nest("first", "second", "core"),
    ):
        refused(ed, StructureError, "'sub' is a subclassed model", act)


@pytest.mark.tensorflow
def test_regions_of_text_are_vocabularies_too() -> None:
    words = layers.TextVectorization(output_sequence_length=3, name="words")
    words.adapt(["the cat sat", "the dog sat down"])
    text = keras.Input((), dtype="string", name="text")
    h = layers.Embedding(words.vocabulary_size(), 2, name="embed")(words(text))
    model = models.scramble(keras.Model(text, dense("top", 2)(h)))
    x = ops.convert_to_tensor(["the dog", "cat unknown down"])
    for stop in ("words", "embed"):
        ed = Editor(model).nest("words", stop, "core")
        assert same(out(ed.model, x), out(model, x))
        assert (
            ed.model.get_layer("core").get_layer("words").get_vocabulary() == words.get_vocabulary()
        )
        assert same(out(ed.inline("core").model, x), out(model, x))
    part = Editor(model).extract("embed", "top").model
    assert part.inputs[0].dtype == "int64"
    assert same(out(part, words(x)), out(model, x))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_layers_go_into_a_model_and_out_again(kind: str) -> None:
    """All that older tools crash on."""
    shape, make = KINDS[kind]
    x = keras.Input(shape, name="x")
    layer = make()
    h = layers.Flatten(name="flat")(layer(layers.Rescaling(0.5, name="first")(x)))
    model, batch = models.scramble(keras.Model(x, dense("top", 2)(h))), data(2, *shape)
    ed = Editor(model).nest(layer.name, "flat", "core")
    check_equal(ed.model, model, batch)
    assert same(out(models.rebuilt(ed.model), batch), out(model, batch))
    ed.extract("core", "core").inline("core")
    part = keras.Model(model.get_layer("first").output, model.get_layer("flat").output)
    assert same(out(ed.model, batch), out(part, batch))
    assert paths(ed)[1:] == [layer.name, "flat"]
    check_equal(ed.undo(3).move("first", after=layer.name).undo().model, model, batch)
    with_weights = [w for w in layer.weights if "float" in w.dtype]
    ed.duplicate("first", after=layer.name)
    scaled = ed.scale_weights(layer.name, 2.0).model if with_weights else ed.model
    for old, new in zip(layer.weights, scaled.get_layer(layer.name).weights, strict=True):
        factor = np.float32(2.0) if "float" in old.dtype else 1
        assert same(ops.convert_to_numpy(new), ops.convert_to_numpy(old) * factor)
