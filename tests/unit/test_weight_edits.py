"""Edits of weights: in place on the latest copy, undone with the values from before, never elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, ShapeMismatch, TargetError
from tests import models
from tests.models import (
    ZOO,
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


def values(model: Any, layer: str) -> list[np.ndarray]:
    return model.get_layer(layer).get_weights()


def times(arrays: list[np.ndarray], factor: float) -> list[np.ndarray]:
    return [array * np.float32(factor) for array in arrays]


def by_hand(model: keras.Model, build: Callable[[], keras.Model], **weights: Any) -> keras.Model:
    """The model again, with other weights for some layers."""
    hand = give(build(), model)
    for name, arrays in weights.items():
        hand.get_layer(name).set_weights(arrays)
    return hand


# -- where they act ------------------------------------------------------------------------------


def test_scaling_acts_in_place_on_the_latest_copy() -> None:
    model, x = models.fork(), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model)
    copy = ed.model
    copy.predict(x, verbose=0)
    assert ed.scale_weights("b", 2.0) is ed
    assert ed.model is copy
    hand = by_hand(model, models.fork, b=times(values(model, "b"), 2.0))
    assert same(copy.predict(x, verbose=0), hand.predict(x, verbose=0))
    assert same(out(models.rebuilt(copy), x), out(hand, x))
    assert fingerprint(model) == before
    ed.undo()
    assert ed.model is copy and same(copy.get_weights(), model.get_weights())
    ed.redo()
    assert ed.model is copy and same(out(copy, x), out(hand, x))


def test_scaling_before_there_is_a_copy() -> None:
    model, x = models.fork(), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model)
    with variables_made() as made:
        ed.scale_weights("b", 2.0).map_weights("c/kernel", np.negative)
        plan = ed.preview.scale_weights("b", 3.0)
    assert not made, "nothing has to be built to scale what the source has"
    assert plan.ok and plan.params_after == plan.params_before
    assert fingerprint(model) == before
    kernel, bias = values(model, "c")
    hand = by_hand(model, models.fork, b=times(values(model, "b"), 2.0), c=[-kernel, bias])
    assert same(out(ed.model, x), out(hand, x))
    ed.undo(2)
    assert same(out(ed.model, x), out(model, x))
    assert fingerprint(model) == before


def test_scaling_after_a_structural_edit_that_nobody_looked_at() -> None:
    model = models.fork()
    ed = Editor(model)
    first = ed.model
    ed.insert(layers.ReLU(), after="a").scale_weights("b", 2.0).scale_weights("b", 2.0)
    assert same(first.get_weights(), model.get_weights()), "a model handed out before keeps its own"
    second = ed.model
    assert second is not first
    assert same(values(second, "b"), times(values(model, "b"), 4.0))
    ed.undo()
    assert ed.model is second and same(values(second, "b"), times(values(model, "b"), 2.0))
    ed.undo(2)
    assert same(values(ed.model, "b"), values(model, "b"))


def test_what_was_kept_for_a_copy_that_was_never_made_is_forgotten() -> None:
    """Undone before anyone looked: later training of the copy there is counts."""
    model = models.fork()
    ed = Editor(model)
    copy = ed.model
    ed.remove("b").scale_weights("c", 2.0).undo(2)
    assert ed.model is copy
    assert same(copy.get_weights(), model.get_weights())
    copy.get_layer("c").set_weights(times(values(model, "c"), 7.0))
    ed.scale_weights("c", 2.0)
    assert same(values(copy, "c"), times(values(model, "c"), 14.0))
    ed.insert(layers.ReLU(), after="a")
    assert same(values(ed.model, "c"), times(values(model, "c"), 14.0))


def test_undo_to_the_copy_there_is_with_a_scaling_in_between() -> None:
    model = models.fork()
    ed = Editor(model)
    copy = ed.model
    ed.scale_weights("c", 2.0).insert(layers.ReLU(), after="a").scale_weights("c", 5.0)
    ed.undo(2)
    assert ed.model is copy
    assert same(values(copy, "c"), times(values(model, "c"), 2.0))
    ed.redo(2)
    assert same(values(ed.model, "c"), times(times(values(model, "c"), 2.0), 5.0))
    assert same(values(copy, "c"), times(values(model, "c"), 2.0))


def test_a_fresh_layer_is_scaled_from_its_first_values() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.Dense(5, name="n"), after="a").scale_weights("n", 0.0)
    n = ed.model.get_layer("n")
    assert not np.any(n.get_weights()[0])
    ed.undo()
    first = n.get_weights()
    assert np.any(first[0])
    ed.redo().undo(2)
    assert same(out(ed.model, x), out(model, x))
    ed.redo()
    assert same(values(ed.model, "n"), first)


def test_a_layer_that_gets_other_weights_gets_them_from_what_was_then() -> None:
    model = models.chain()
    kernel, bias = values(model, "c")
    ed = Editor(model).scale_weights("c", 2.0)
    ed.configure("c", units=3, on_mismatch="slice").scale_weights("c", 10.0)
    new = values(ed.model, "c")
    assert same(
        [new[0][:, :2], new[1][:2]], [kernel * np.float32(2) * 10, bias * np.float32(2) * 10]
    )
    old = Editor(model).replace("c", layers.Dense(2, name="d"))
    assert same(values(old.model, "d"), [kernel, bias])


def test_a_replacement_of_one_call_takes_what_was_there() -> None:
    """The layer that it inherits from stays, and is edited before anyone looked."""
    model = models.shared()
    ed = (
        Editor(model)
        .replace("tower", layers.Dense(4, name="n"), call=0)
        .scale_weights("tower", 3.0)
    )
    assert same(values(ed.model, "n"), values(model, "tower"))
    assert same(values(ed.model, "tower"), times(values(model, "tower"), 3.0))


# -- undo, redo, reset, transactions -------------------------------------------------------------


def test_undo_of_what_was_trained_since_warns() -> None:
    model = models.fork()
    ed = Editor(model)
    copy = ed.model
    ed.scale_weights("b", 2.0)
    copy.get_layer("b").set_weights(times(values(copy, "b"), 1.5))
    copy.get_layer("c").set_weights(times(values(copy, "c"), 1.5))
    with pytest.warns(UserWarning, match="b/kernel, b/bias were trained since"):
        ed.undo()
    assert same(values(copy, "b"), values(model, "b"))
    assert same(values(copy, "c"), times(values(model, "c"), 1.5)), "training is no edit"
    copy.get_layer("b").set_weights(times(values(copy, "b"), 1.5))
    with pytest.warns(UserWarning, match="b/kernel"):
        ed.redo()
    assert same(values(copy, "b"), times(values(model, "b"), 2.0))


def test_reset_and_its_undo() -> None:
    model, x = models.fork(), data(3, 4)
    for looked in (False, True):
        ed = Editor(model)
        _ = ed.model if looked else None
        ed.scale_weights("b", 2.0).scale_weights("b", 3.0).remove("c").set_weights(
            "a/bias", np.ones(5)
        )
        _ = ed.model if looked else None
        wanted = None if not looked else out(ed.model, x)
        ed.reset()
        assert ed.history == ()
        assert same(out(ed.model, x), out(model, x))
        assert same(ed.model.get_weights(), model.get_weights())
        ed.undo()
        assert same(values(ed.model, "b"), times(times(values(model, "b"), 2.0), 3.0))
        assert wanted is None or same(out(ed.model, x), wanted)
        ed.undo(4)
        assert same(out(ed.model, x), out(model, x))


def test_a_transaction_is_taken_back_whole() -> None:
    model, x = models.fork(), data(3, 4)
    for looked in (False, True):
        ed = Editor(model)
        _ = ed.model if looked else None
        before = state_of(ed)
        with pytest.raises(TargetError), ed.transaction("both"):  # noqa: PT012
            ed.scale_weights("b", 2.0).insert(layers.Dense(5, name="n"), after="a")
            ed.scale_weights("n", 3.0).map_weights("b", np.abs).remove("nothing")
        assert state_of(ed) == before
        assert same(out(ed.model, x), out(model, x))
        with ed.transaction("both"):
            ed.scale_weights("b", 2.0).remove("c").scale_weights("b", 2.0)
        assert len(ed.history) == 1
        assert same(values(ed.model, "b"), times(values(model, "b"), 4.0))
        assert same(out(ed.undo().model, x), out(model, x))
        assert same(values(ed.redo().model, "b"), times(values(model, "b"), 4.0))


def test_an_edit_that_fails_half_way_gives_nothing() -> None:
    model = models.fork()
    ed = Editor(model)
    _ = ed.model
    calls = []

    def fails(array: np.ndarray) -> np.ndarray:
        calls.append(array)
        array += 1.0  # one's own copy
        if len(calls) == 3:
            raise RuntimeError("no more")
        return array

    state, weights = state_of(ed), fingerprint(ed.model)
    with pytest.raises(EditError, match=r"failed on 'c/kernel'.*no more"):
        ed.map_weights(["b", "c"], fails)
    assert state_of(ed) == state and fingerprint(ed.model) == weights
    for wrong, kind, match in [
        (lambda w: w[:1], ShapeMismatch, r"'b/kernel' has shape \(5, 5\).*\(1, 5\)"),
        (lambda w: None, EditError, "'b/kernel' is no array of numbers"),
        (lambda w: "text", EditError, "'b/kernel'"),
        (lambda w: w.astype(complex), EditError, "'b/kernel'"),
    ]:
        with pytest.raises(kind, match=match):
            ed.map_weights("b", wrong)
    assert state_of(ed) == state and fingerprint(ed.model) == weights


# -- what they give ------------------------------------------------------------------------------


def test_set_weights_takes_lists_names_and_single_arrays() -> None:
    model = models.chain()
    kernel, bias = (a + 1 for a in values(model, "b"))
    for given in (
        [kernel, bias],
        (kernel.tolist(), bias.tolist()),
        {"kernel": kernel, "bias": bias},
        {"b/kernel": kernel, "b/bias": bias},
        [ops.convert_to_tensor(kernel), keras.Variable(bias)],
    ):
        ed = Editor(model).set_weights("b", given)
        assert same(values(ed.model, "b"), [kernel, bias])
        assert same(weights_of(ed.model, "a", "norm", "c"), weights_of(model, "a", "norm", "c"))
    for given in (bias, bias.tolist(), [bias], {"bias": bias}):
        ed = Editor(model).set_weights("b/bias", given)
        assert same(values(ed.model, "b")[0], values(model, "b")[0])
        assert same(values(ed.model, "b")[1], bias)
    partly = Editor(model).set_weights("b", {"bias": bias})
    assert same(values(partly.model, "b"), [values(model, "b")[0], bias])


def test_set_weights_keeps_no_hold_of_what_was_given() -> None:
    model = models.chain()
    bias = np.ones(5, "float32")
    ed = Editor(model).set_weights("b/bias", bias)
    bias[:] = 9.0
    assert same(values(ed.model, "b")[1], np.ones(5, "float32"))
    assert same(values(ed.undo().redo().model, "b")[1], np.ones(5, "float32"))


@pytest.mark.parametrize("name", [n for n in ZOO if n != "subclassed"])
def test_set_weights_in_the_order_of_get_weights(name: str) -> None:
    """Of every layer and of every nested model."""
    build, batch = ZOO[name]
    model, x = build(), batch()
    other = models.scramble(build(), 5)
    ed = Editor(model)
    for layer in model.layers:
        if layer.weights:
            ed.set_weights(layer, other.get_layer(layer.name).get_weights())
    assert same(out(ed.model, x), out(other, x))
    assert same(ed.model.get_weights(), other.get_weights())


def test_set_weights_by_layer_name_of_an_old_file(tmp_path: Any) -> None:
    """Load an `.h5`, change weights by the layers' names, save it."""
    model, x = models.cnn(), data(2, 8, 8, 3)
    model.save(tmp_path / "m.h5")
    ed = Editor(tmp_path / "m.h5")
    kernel, bias = values(model, "head")
    ed.set_weights("head", [kernel * 0, bias]).scale_weights("block[12]_conv", 0.5, weight="kernel")
    ed.save(tmp_path / "n.h5")
    loaded = keras.saving.load_model(tmp_path / "n.h5", compile=False)
    assert same(out(loaded, x)[0], np.tile(bias, (2, 1)))
    old, new = weights_of(model), weights_of(loaded)
    for name, value in old.items():
        factor = 0.5 if name in ("block1_conv/kernel", "block2_conv/kernel") else 1.0
        if name != "head/kernel":
            assert same(new[name], value * np.float32(factor)), name


def test_which_weights_are_scaled() -> None:
    model = models.chain()
    old = weights_of(model)

    def changed(ed: Editor) -> set[str]:
        new = weights_of(ed.model)
        return {name for name in old if not same(old[name], new[name])}

    assert changed(Editor(model).scale_weights("**", 2.0)) == set(old)
    kernels = {"a/kernel", "b/kernel", "c/kernel"}
    assert changed(Editor(model).scale_weights("**", 2.0, weight="kernel")) == kernels
    assert changed(Editor(model).scale_weights(layers.Dense, 2.0, weight="kernel")) == kernels
    assert changed(Editor(model).scale_weights(["a", "norm"], 2.0, weight="bias")) == {"a/bias"}
    assert changed(Editor(model).scale_weights("*/kernel", 2.0)) == kernels
    assert changed(Editor(model).scale_weights("norm/moving_variance", 2.0)) == {
        "norm/moving_variance"
    }
    assert changed(Editor(model).scale_weights(lambda v: v.name == "c", 2.0)) == {
        "c/kernel",
        "c/bias",
    }
    assert changed(Editor(model).scale_weights("norm", 2.0)) == {
        f"norm/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def test_weights_inside_models_wrappers_and_cells() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).scale_weights("backbone", 2.0)
    backbone, inner = ed.model.get_layer("backbone"), model.get_layer("backbone")
    assert same(backbone.get_weights(), times(inner.get_weights(), 2.0))
    assert same(values(ed.model, "head"), values(model, "head"))
    ed = Editor(model).set_weights("backbone/inner/dense/bias", np.zeros(5))
    dense = ed.model.get_layer("backbone").get_layer("inner").get_layer("dense")
    assert not np.any(dense.get_weights()[1])
    i = keras.Input((3, 4), name="x")
    h = layers.TimeDistributed(layers.Dense(4, name="d"), name="td")(i)
    h = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="bi")(h)
    cells = [layers.GRUCell(2), layers.LSTMCell(3)]
    wrapped = models.scramble(keras.Model(i, layers.RNN(cells, name="rnn")(h)))
    ed = Editor(wrapped).scale_weights("**", 0.0, weight="bias")
    for view in ed.layers:
        for weight in view.weights:
            assert np.any(weight.numpy()) is np.bool_(weight.name.rsplit("/", 1)[-1] != "bias")
    ed = Editor(wrapped).scale_weights("td", 2.0, weight="kernel")
    assert same(
        values(ed.model, "td"), [values(wrapped, "td")[0] * np.float32(2), values(wrapped, "td")[1]]
    )
    assert not same(out(ed.model, data(2, 3, 4)), out(wrapped, data(2, 3, 4)))
    assert x.shape == (3, 4)


def test_map_weights_takes_any_function() -> None:
    model = models.chain()
    kernel, bias = values(model, "b")
    for fn in (
        np.abs,
        lambda w: ops.abs(w),
        lambda w: np.abs(w).astype("float64"),
        lambda w: np.abs(w).tolist(),
    ):
        ed = Editor(model).map_weights("b", fn)
        assert same(values(ed.model, "b"), [abs(kernel), abs(bias)])
    seen: list[np.ndarray] = []
    Editor(model).map_weights("b", lambda w: seen.append(w) or w, weight="kernel")
    assert same(seen, [kernel])
    refused_now = Editor(model)
    state = state_of(refused_now)
    with pytest.raises(EditError, match="function"):
        refused_now.map_weights("b", 3)
    assert state_of(refused_now) == state


def test_a_mapping_is_kept_as_what_it_made() -> None:
    model = models.chain()
    random = np.random.default_rng(3)
    ed = Editor(model).map_weights("b", lambda w: w + random.normal(size=w.shape))
    made = values(ed.model, "b")
    assert same(values(ed.undo().redo().model, "b"), made), "redo asks the function no more"
    edit: Any = ed.history[0]
    assert same(edit.arrays, {"b/kernel": made[0], "b/bias": made[1]})
    data_ = edit.to_json()
    assert "fn" not in data_ and set(data_["arrays"]) == {"b/kernel", "b/bias"}
    from kerasedit.edits import read_edit

    again = Editor(model).apply(read_edit(data_, lambda block: block))
    assert same(values(again.model, "b"), made)


def test_reinitialize_is_what_a_new_layer_starts_with() -> None:
    model = models.chain()
    ed = Editor(model)
    plan = ed.preview.reinitialize("b")
    assert plan.reinitialized == ("b/kernel", "b/bias")
    results = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        ed.preview.reinitialize("b")  # takes no random numbers
        results.append(values(ed.reinitialize("b").model, "b"))
        ed.undo()
    assert same(*results)
    assert not same(results[0][0], values(model, "b")[0])
    assert not np.any(results[0][1])
    assert np.abs(results[0][0]).max() <= np.sqrt(6 / 10)  # Glorot's limit
    assert not same(values(ed.reinitialize("b").model, "b")[0], results[0][0])
    now = values(ed.model, "b")
    assert same(values(ed.undo().redo().model, "b"), now)


def test_reinitialize_kinds_of_layers() -> None:
    model = models.chain()
    norm = values(Editor(model).reinitialize("norm").model, "norm")
    assert same(norm, [np.full(5, v, "float32") for v in (1, 0, 0, 1)])
    only = Editor(model).reinitialize("norm/moving_mean").model.get_layer("norm").get_weights()
    assert not np.any(only[2]) and same(
        [only[0], only[1], only[3]], [values(model, "norm")[i] for i in (0, 1, 3)]
    )
    nested = models.nested()
    ed = Editor(nested).reinitialize("backbone")
    assert not np.any(ed.model.get_layer("backbone").get_layer("conv1").get_weights()[1])
    assert same(values(ed.model, "head"), values(nested, "head"))
    for name in ("masked", "attention", "seq2seq", "shared"):
        build, batch = ZOO[name]
        ed = Editor(build()).reinitialize("**")
        assert not same(out(ed.model, batch()), out(ed.source, batch()))
        kernels = [
            w for la in ed.model.layers for w in la.weights if w.name in ("kernel", "embeddings")
        ]
        assert kernels and all(np.any(ops.convert_to_numpy(w)) for w in kernels)
    constant = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=4), name="d"),
        ]
    )
    models.scramble(constant)
    a, b = (values(Editor(constant).reinitialize("d").model, "d") for _ in range(2))
    assert same(a, b), "a seed of the initializer's own gives the same again"


def test_what_layers_share_is_changed_once() -> None:
    i = keras.Input((3, 4), name="x")
    one = layers.Dense(4, name="one")
    each = layers.TimeDistributed(one, name="each")
    model = models.scramble(keras.Model(i, each(layers.ReLU(name="r")(one(i)))))
    assert len(model.weights) == 2
    before = values(model, "one")
    for target in ("**", ["one", "each"], "one", "each"):
        for looked in (True, False):
            ed = Editor(model)
            _ = ed.model if looked else None
            ed.scale_weights(target, 3.0)
            assert same(values(ed.model, "one"), times(before, 3.0))
            assert ed.model.get_layer("each").layer.kernel is ed.model.get_layer("one").kernel
            ed.scale_weights("each", 2.0).reset()
            assert same(values(ed.model, "one"), before)
            ed.undo()
            assert same(values(ed.model, "each"), times(before, 6.0))
            ed.insert(layers.ReLU(), after="x").scale_weights("one", 2.0).reset()
            assert same(values(ed.model, "each"), before)
            ed.undo(5)
            assert same(values(ed.model, "each"), before)
    assert same(values(model, "one"), before)


# -- kinds of models -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", pytest.param("float64", marks=pytest.mark.tensorflow)]
)
def test_other_precisions(dtype: str) -> None:
    i = keras.Input((4,), dtype=dtype, name="x")
    d = layers.Dense(3, dtype=dtype, name="d")
    model = models.scramble(keras.Model(i, d(i)))
    kernel, bias = values(model, "d")
    ed = Editor(model).scale_weights("d", 2.0)
    got = values(ed.model, "d")
    assert same(got, [(a.astype("float64") * 2).astype(a.dtype) for a in (kernel, bias)])
    ed = Editor(model).set_weights("d/kernel", np.full((4, 3), 0.1))
    assert same(values(ed.model, "d")[0], np.full((4, 3), 0.1).astype(kernel.dtype))
    assert same(values(ed.undo().model, "d"), [kernel, bias])
    ed = Editor(model).map_weights("d", lambda w: w * 0).reinitialize("d/kernel")
    assert np.any(values(ed.model, "d")[0]) and not np.any(values(ed.model, "d")[1])


def test_mixed_precision_and_frozen_layers() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model = models.chain()
    keras.config.set_dtype_policy("float32")
    model.get_layer("b").trainable = False
    ed = Editor(model)
    copy = ed.model
    ed.scale_weights("b", 2.0).freeze("a").scale_weights("a", 3.0).reinitialize("c")
    assert ed.model is copy
    assert same(values(copy, "b"), times(values(model, "b"), 2.0))
    assert same(values(copy, "a"), times(values(model, "a"), 3.0))
    assert not copy.get_layer("b").trainable and not copy.get_layer("a").trainable
    assert {w.dtype for w in copy.get_layer("c").weights} == {"float32"}


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_quantized_layers() -> None:
    model = models.chain()
    model.quantize("int8")
    ed = Editor(model)
    for act in (
        lambda e: e.scale_weights("b", 2.0),
        lambda e: e.scale_weights("b/kernel", 2.0),
        lambda e: e.map_weights("b", np.abs, weight="kernel"),
        lambda e: e.reinitialize("b"),
    ):
        refused(ed, EditError, "'b/kernel' is quantized .int8.", act)
    old = weights_of(model)
    ed.scale_weights("**", 2.0)  # passed over as a whole: half a layer scaled is none
    new = weights_of(ed.model)
    assert {n for n in old if not same(old[n], new[n])} == {n for n in old if n.startswith("norm/")}
    ed.undo().scale_weights("b/bias", 2.0)
    assert same(weights_of(ed.model)["b/bias"], old["b/bias"] * np.float32(2))
    ed.undo().scale_weights("b/kernel_scale", 2.0)
    assert same(weights_of(ed.model)["b/kernel_scale"], old["b/kernel_scale"] * np.float32(2))
    kernel = old["b/kernel"]
    assert same(
        weights_of(ed.set_weights("b/kernel", -(kernel // 2)).model)["b/kernel"], -(kernel // 2)
    )
    for bad in (kernel * 0.5, np.full(kernel.shape, 300)):
        refused(ed, EditError, "'b/kernel' is of dtype int8",
                lambda e, bad=bad: e.set_weights("b/kernel", bad))  # fmt: skip


def test_low_rank_adaptation() -> None:
    model = models.chain()
    model.get_layer("b").enable_lora(2)
    ed = Editor(model).scale_weights("b", 2.0)
    assert same(values(ed.model, "b"), times(values(model, "b"), 2.0))
    fresh = ed.reinitialize("b").model.get_layer("b")
    assert len(fresh.trainable_weights) == 3 and not np.any(fresh.lora_kernel_b)
    assert np.any(fresh.lora_kernel_a)


def test_a_layer_with_variables_that_a_fresh_one_has_not_is_not_reinitialized() -> None:
    grown = layers.Dense(3, name="g")
    model = models.Uncopyable(grown)
    model(data(2, 4))
    grown.quantize("float8")
    ed = Editor(model, in_place=True)
    before = weights_of(model)
    with pytest.raises(EditError, match="'g/kernel' is quantized"):
        ed.reinitialize("g")
    assert same(list(weights_of(model).values()), list(before.values()))


def test_subclassed_models() -> None:
    model, x = models.subclassed(), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model)
    copy = ed.model
    ed.scale_weights("first", 2.0).set_weights("second/bias", np.zeros(2)).map_weights(
        "second/kernel", np.abs
    )
    assert ed.model is copy and fingerprint(model) == before
    hand = models.Subclassed(name="sub")
    hand(x)
    kernel = values(model, "second")[0]
    hand.get_layer("first").set_weights(times(values(model, "first"), 2.0))
    hand.get_layer("second").set_weights([abs(kernel), np.zeros(2)])
    assert same(out(copy, x), out(hand, x))
    keras.utils.set_random_seed(2)
    ed.reinitialize("first")
    assert not np.any(values(copy, "first")[1]) and np.any(values(copy, "first")[0])
    ed.undo(4)
    assert same(out(copy, x), out(model, x))


def test_in_place() -> None:
    model = models.Uncopyable(layers.Dense(3, name="d"))
    x = data(3, 4)
    model(x)
    kernel, bias = model.first.get_weights()
    ed = Editor(model, in_place=True)
    assert ed.model is model
    ed.scale_weights("d", 2.0)
    assert same(model.first.get_weights(), times([kernel, bias], 2.0))
    ed.reinitialize("d/bias").undo()
    assert same(model.first.get_weights(), times([kernel, bias], 2.0))
    ed.reset()
    assert same(model.first.get_weights(), [kernel, bias])
    ed.undo()
    assert same(model.first.get_weights(), times([kernel, bias], 2.0))


def test_a_functional_subclass_keeps_its_class() -> None:
    model, x = models.functional_subclass(), data(3, 4)
    ed = Editor(model).scale_weights("b", 2.0)
    assert type(ed.model) is type(model)
    np.testing.assert_allclose(out(ed.model, x)[0], out(model, x)[0] * 2, rtol=1e-6)


# -- training ------------------------------------------------------------------------------------


@pytest.mark.tensorflow
def test_scaling_between_the_steps_of_a_training_loop_of_ones_own() -> None:
    import tensorflow as tf

    model, x, y = models.fork(), data(8, 4), data(8, 2)
    ed = Editor(model)
    copy = ed.model
    optimizer = keras.optimizers.SGD(0.1)
    variables = copy.trainable_variables

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = ops.mean((copy(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    hand = give(models.fork(), model)
    hand_optimizer = keras.optimizers.SGD(0.1)

    def by_hand_step() -> Any:
        with tf.GradientTape() as tape:
            loss = ops.mean((hand(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, hand.trainable_variables)
        hand_optimizer.apply_gradients(zip(gradients, hand.trainable_variables, strict=True))
        return loss

    for number in range(4):
        a, b = float(step()), float(by_hand_step())
        assert a == pytest.approx(b, rel=1e-5)
        if number == 1:
            ed.scale_weights("b", 0.5)
            hand.get_layer("b").set_weights(times(values(hand, "b"), 0.5))
    assert ed.model is copy
    for got, wanted in zip(copy.get_weights(), hand.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_the_optimizer_goes_on() -> None:
    model = models.fork()
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    x, y = data(8, 4), data(8, 2)
    model.fit(x, y, verbose=0)
    ed = Editor(model)
    copy = ed.model
    slots = [ops.convert_to_numpy(v) for v in copy.optimizer.variables]
    function = copy.train_function
    ed.scale_weights("b", 2.0).reinitialize("c")
    assert same([ops.convert_to_numpy(v) for v in copy.optimizer.variables], slots)
    assert copy.train_function is function
    scaled = values(copy, "b")
    copy.fit(x, y, verbose=0)
    assert not same(values(copy, "b"), scaled)
    assert np.max(abs(values(copy, "b")[0] - scaled[0])) < 0.1  # from the scaled values on
    assert int(copy.optimizer.iterations) == 2


# -- errors --------------------------------------------------------------------------------------

BAD: dict[str, tuple[Callable[[Any], Any], type[EditError], str]] = {
    "no layer": (lambda e: e.scale_weights("q", 2.0), TargetError, "'q'"),
    "no weights": (lambda e: e.scale_weights("add", 2.0), TargetError, "'add' names has weights"),
    "no such weight": (
        lambda e: e.scale_weights("b", 2.0, weight="gamma"), TargetError, "a weight 'gamma'"),
    "no such path": (
        lambda e: e.scale_weights("b/gamma", 2.0), TargetError, "no weight 'gamma'.*'kernel', 'bias'"),
    "no number": (lambda e: e.scale_weights("b", "2"), EditError, "'2'"),
    "a flag": (lambda e: e.scale_weights("b", True), EditError, "True"),
    "not as many": (lambda e: e.scale_weights("[bc]", 2.0, expect=1), TargetError, "b, c"),
    "too many arrays": (
        lambda e: e.set_weights("b", [np.ones((5, 5))] * 3), ShapeMismatch, " 3 arrays"),
    "too few": (lambda e: e.set_weights("b", [np.ones((5, 5))]), ShapeMismatch, "1 arrays"),
    "shape": (
        lambda e: e.set_weights("b", [np.ones((5, 4)), np.ones(5)]), ShapeMismatch,
        r"'b/kernel' has shape \(5, 5\).*\(5, 4\)"),
    "another's name": (
        lambda e: e.set_weights("b", {"gamma": np.ones(5)}), TargetError, "no weight 'gamma'.*b/kernel"),
    "several of the name": (
        lambda e: e.set_weights(["b", "c"], {"bias": np.ones(5)}), TargetError,
        "several weights 'bias'.*'b/bias', 'c/bias'"),
    "text": (lambda e: e.set_weights("b/bias", ["a"] * 5), ShapeMismatch, "5 arrays"),
    "words": (lambda e: e.set_weights("b/bias", np.array(["a"] * 5)), EditError, "no array of numbers"),
    "ragged": (lambda e: e.set_weights("b/kernel", [[[1, 2], [3]]]), EditError, "no array"),
    "nothing": (lambda e: e.set_weights("b", None), EditError, ""),
    "reinitialize nothing": (lambda e: e.reinitialize("add"), TargetError, "has weights"),
    "reinitialize too few": (lambda e: e.reinitialize("[bc]", expect=3), TargetError, "3 layers"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    act, kind, match = BAD[name]
    refused(Editor(models.fork()), kind, match, act)


def test_whole_numbers_are_no_weights_to_scale() -> None:
    class Counts(layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(
                shape=(2,), dtype="int32", initializer="zeros", trainable=False, name="count"
            )

        def call(self, inputs: Any) -> Any:
            return inputs + ops.cast(self.count, "float32")[0]

    i = keras.Input((4,), name="x")
    model = keras.Model(i, Counts(name="n")(i))
    ed = Editor(model)
    refused(ed, EditError, r"'n/count' \(int32\)", lambda e: e.scale_weights("n", 2.0))
    refused(ed, EditError, "int32", lambda e: e.set_weights("n/count", [0.5, 1.0]))
    ed.set_weights("n/count", [3, 4])
    assert same(values(ed.model, "n"), [np.array([3, 4], "int32")])
    assert whole(3, 2).dtype == np.int32


def test_events_tell_that_the_structure_stayed() -> None:
    ed, events = Editor(models.fork()), []
    ed.subscribe(events.append)
    ed.scale_weights("b", 2.0).undo().redo()
    assert [(e.kind, e.structural) for e in events] == [
        ("edit", False),
        ("undo", False),
        ("redo", False),
    ]
    assert ed.histogram("b/kernel").max == pytest.approx(values(ed.model, "b")[0].max())
