"""`trainable` flags: which layers they hold for, and that training obeys them."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor, TargetError
from tests import models
from tests.models import data, fingerprint, same


def trains(ed: Editor) -> list[str]:
    return [v.path for v in ed.layers if v.trainable and v.kind in ("layer", "model")]


def frozen(ed: Editor) -> list[str]:
    return [v.path for v in ed.layers if not v.trainable and v.kind in ("layer", "model")]


def live(ed: Editor) -> list[str]:
    """Paths of the built copy's variables that Keras would train."""
    paths = {id(v): v.path for v in ed.model.variables}
    return sorted(paths[id(v)] for v in ed.model.trainable_variables)


def changed_by_a_step(model: keras.Model, x: Any) -> set[str]:
    """The weights of a model's own layers that one step of training changes."""
    before = models.weights_of(model)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse", run_eagerly=True)
    y = [np.ones_like(o) for o in models.out(model, x)]
    model.fit(x, y if len(y) > 1 else y[0], epochs=1, verbose=0)
    after = models.weights_of(model)
    return {name for name in before if not same(before[name], after[name])}


def test_flags_act_on_the_built_copy_in_place_and_never_on_the_source() -> None:
    model = models.chain()
    before = fingerprint(model)
    ed = Editor(model)
    copy = ed.model
    ed.freeze("a").freeze(layers.BatchNormalization)
    assert ed.model is copy
    assert not copy.get_layer("a").trainable
    assert [v.path for v in copy.trainable_variables] == [
        v.path for la in (copy.get_layer("b"), copy.get_layer("c")) for v in la.weights
    ]
    ed.unfreeze("a")
    assert ed.model is copy
    assert copy.get_layer("a").trainable
    assert fingerprint(model) == before


def test_frozen_before_and_after_the_copy_is_built_is_the_same() -> None:
    early = Editor(models.nested()).freeze("backbone/conv1", "drop")
    late = Editor(models.nested())
    _ = late.model
    late.freeze("backbone/conv1", "drop")
    assert live(early) == live(late)
    assert frozen(early) == frozen(late) == ["backbone/conv1", "drop"]


def test_training_obeys_flags_set_before_and_after() -> None:
    x = data(6, 4)
    ed = Editor(models.fork()).freeze("b")
    others = {f"{n}/{w}" for n in ("a", "c", "top") for w in ("kernel", "bias")}
    assert changed_by_a_step(ed.model, x) == others
    ed.unfreeze("b").freeze("a", "c", "top")
    assert changed_by_a_step(ed.model, x) == {"b/kernel", "b/bias"}


@pytest.mark.parametrize("where", ["b", "**"])
def test_what_was_frozen_when_the_copy_was_built_trains_once_let_loose(where: str) -> None:
    """A `tf.Variable` that gets its value while frozen would be watched by no tape, ever."""
    model, x = models.fork(), data(6, 4)
    model.trainable = False
    ed = Editor(model)
    assert ed.model.trainable_variables == []
    ed.unfreeze(where)
    wanted = {f"{n}/{w}" for n in ("a", "b", "c", "top") for w in ("kernel", "bias")}
    if where == "b":
        wanted = {"b/kernel", "b/bias"}
    assert changed_by_a_step(ed.model, x) == wanted
    ed.insert(layers.ReLU(), after="add")
    assert changed_by_a_step(ed.model, x) == wanted


def test_a_flag_changes_what_fit_does_without_compiling_again() -> None:
    """Keras: freeze then `fit` still trains, unfreeze then `fit` does not."""
    model = models.fork()
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    x, y = data(6, 4), data(6, 2)
    ed = Editor(model)
    copy = ed.model
    copy.fit(x, y, verbose=0)
    ed.freeze("a")
    before = models.weights_of(copy)
    copy.fit(x, y, verbose=0)
    after = models.weights_of(copy)
    assert same(before["a/kernel"], after["a/kernel"])
    assert not same(before["b/kernel"], after["b/kernel"])
    ed.unfreeze("a")
    copy.fit(x, y, verbose=0)
    assert not same(after["a/kernel"], models.weights_of(copy)["a/kernel"])


def test_a_frozen_batch_normalization_runs_in_inference_mode() -> None:
    model, x = models.chain(), data(6, 4)
    ed = Editor(model).remove("drop").freeze("norm")
    moving = ed.model.get_layer("norm").moving_mean.numpy()
    got = models.out(ed.model, x, training=True)
    assert same(got, models.out(ed.model, x))
    assert same(moving, ed.model.get_layer("norm").moving_mean.numpy())
    ed.unfreeze("norm")
    assert not same(models.out(ed.model, x, training=True), got)


def test_freezing_a_nested_model_holds_for_all_inside() -> None:
    model = models.nested()
    ed = Editor(model).freeze("backbone")
    inside = [v.path for v in ed.layers if v.path.startswith("backbone/") and v.kind != "input"]
    assert frozen(ed) == ["backbone", *inside]
    assert live(ed) == sorted(v.path for v in ed.model.get_layer("head").weights)
    assert changed_by_a_step(ed.model, data(6, 4)) == {"head/kernel", "head/bias"}


@pytest.mark.parametrize("build_first", [False, True])
def test_one_layer_inside_a_frozen_model_can_be_let_loose(build_first: bool) -> None:
    model = models.nested()
    model.get_layer("backbone").trainable = False
    ed = Editor(model)
    if build_first:
        _ = ed.model
    ed.unfreeze("backbone/conv2")
    assert trains(ed) == ["backbone", "backbone/conv2", "drop", "head"]
    backbone = ed.model.get_layer("backbone")
    expected = [*backbone.get_layer("conv2").weights, *ed.model.get_layer("head").weights]
    assert live(ed) == sorted(v.path for v in expected)
    assert not model.get_layer("backbone").trainable
    assert not model.get_layer("backbone").get_layer("conv2").trainable


def test_one_layer_two_levels_down_can_be_let_loose() -> None:
    model = models.nested()
    model.trainable = False
    ed = Editor(model)
    assert trains(ed) == []
    ed.unfreeze("backbone/inner/dense")
    assert trains(ed) == ["backbone", "backbone/inner", "backbone/inner/dense"]
    inner = ed.model.get_layer("backbone").get_layer("inner")
    assert live(ed) == sorted(v.path for v in inner.weights)
    assert ed.undo().layers[1].trainable is False
    assert live(ed) == []


def test_unfreezing_a_model_lets_all_inside_loose() -> None:
    model = models.nested()
    model.get_layer("backbone").get_layer("inner").trainable = False
    model.get_layer("backbone").trainable = False
    ed = Editor(model).unfreeze("backbone")
    assert frozen(ed) == []
    assert len(live(ed)) == len(model.weights) - 2  # all but the moving averages


def test_freeze_up_to_is_inclusive_in_data_order() -> None:
    ed = Editor(models.cnn()).freeze_up_to("block2_bn")
    assert frozen(ed) == [
        "block1_conv",
        "block1_bn",
        "block1_relu",
        "block2_conv",
        "block2_bn",
    ]
    ed.freeze_up_to("block1_conv")  # what was frozen stays so
    assert len(frozen(ed)) == 5


def test_freeze_up_to_inside_a_nested_model_leaves_the_rest_of_it() -> None:
    ed = Editor(models.nested()).freeze_up_to("backbone/bn")
    assert frozen(ed) == ["backbone/conv1", "backbone/bn"]
    ed.freeze_up_to("backbone")
    inside = [v.path for v in ed.layers if v.path.startswith("backbone/") and v.kind != "input"]
    assert frozen(ed) == ["backbone", *inside]


def test_freeze_up_to_an_op_is_a_place_too() -> None:
    assert frozen(Editor(models.raw_ops()).freeze_up_to("multiply")) == ["a"]


def test_patterns_pass_over_what_has_no_flag_and_names_do_not() -> None:
    ed = Editor(models.raw_ops()).freeze("*")
    assert frozen(ed) == ["a", "top"]
    for path in ("x", "add"):
        with pytest.raises(TargetError, match=f"'{path}'"):
            ed.freeze(path)
        with pytest.raises(TargetError, match=f"'{path}'"):
            ed.unfreeze("a", path)
    with pytest.raises(TargetError):
        ed.freeze("[x]*")
    with pytest.raises(TargetError):
        ed.freeze()
    assert frozen(ed) == ["a", "top"]
    assert len(ed.history) == 1


def test_an_index_names_one_thing() -> None:
    ed = Editor(models.raw_ops())
    with pytest.raises(TargetError):
        ed.freeze(0)


def test_flags_survive_structural_edits_and_undo() -> None:
    ed = Editor(models.cnn()).freeze("block[12]_*").remove("block3_bn")
    assert len(frozen(ed)) == 6
    assert not ed.model.get_layer("block1_conv").trainable
    ed.undo(2)
    assert frozen(ed) == []
    assert ed.model.get_layer("block1_conv").trainable
    ed.redo(2)
    assert len(frozen(ed)) == 6
    assert len(ed.model.trainable_variables) == 8


def test_undo_of_a_flag_acts_in_place() -> None:
    ed = Editor(models.chain())
    copy = ed.model
    ed.freeze("a").undo()
    assert ed.model is copy
    assert copy.get_layer("a").trainable
    ed.redo()
    assert ed.model is copy
    assert not copy.get_layer("a").trainable


def test_flags_of_a_shared_layer_are_one() -> None:
    ed = Editor(models.shared()).freeze("tower")
    assert live(ed) == []


def test_a_replacement_keeps_no_flag_of_its_own_but_the_given_one() -> None:
    block = layers.Dense(5, name="b")
    block.trainable = False
    ed = Editor(models.chain()).replace("b", block)
    assert frozen(ed) == ["b"]
    assert not ed.model.get_layer("b").trainable
    assert block.trainable is False
    assert not block.built


def test_a_frozen_layer_that_is_reshaped_stays_frozen() -> None:
    ed = Editor(models.chain()).freeze("b").remove("a", on_mismatch="slice")
    assert frozen(ed) == ["b"]
    assert not ed.model.get_layer("b").trainable


def test_lora_keeps_the_kernel_back() -> None:
    """Enabling LoRA freezes the kernel alone; setting `trainable` would let it loose."""
    model = models.chain()
    model.get_layer("b").enable_lora(2)
    rng = np.random.default_rng(5)
    for v in model.get_layer("b").variables:
        if "lora" in v.path:
            v.assign(rng.normal(size=v.shape))
    before, x = fingerprint(model), data(3, 4)
    ed = Editor(model)
    assert same(models.out(ed.model, x), models.out(model, x))

    def names() -> list[str]:
        return [v.name for v in ed.model.get_layer("b").trainable_variables]

    expected = [v.name for v in model.get_layer("b").trainable_variables]
    assert names() == expected
    assert "kernel" not in expected
    ed.freeze("b")
    assert names() == []
    ed.unfreeze("b")
    assert names() == expected
    ed.remove("drop")
    assert names() == expected
    assert same(models.out(ed.model, x), models.out(model, x))
    ed.freeze("b").undo(2)
    assert names() == expected
    assert fingerprint(model) == before


def test_a_subclassed_model_can_be_frozen_whole_and_in_part() -> None:
    model, x = models.subclassed(), data(6, 4)
    before = fingerprint(model)
    ed = Editor(model).freeze("first")
    assert [v.path for v in ed.model.trainable_variables] == [
        v.path for v in ed.model.get_layer("second").weights
    ]
    assert changed_by_a_step(ed.model, x) == {"second/kernel", "second/bias"}
    ed.unfreeze("**")
    assert changed_by_a_step(ed.model, x) == {
        f"{n}/{w}" for n in ("first", "second") for w in ("kernel", "bias")
    }
    assert fingerprint(model) == before


def test_a_preview_of_a_flag_changes_nothing() -> None:
    ed = Editor(models.chain())
    copy, before = ed.model, models.state_of(ed)
    plan = ed.preview.freeze("a")
    assert plan.ok
    assert plan.params_after == plan.params_before
    assert plan.shape_changes == ()
    assert models.state_of(ed) == before
    assert copy.get_layer("a").trainable


def test_flags_set_by_hand_are_not_lost_without_a_word() -> None:
    ed = Editor(models.chain()).freeze("b")
    ed.model.get_layer("a").trainable = False
    ed.remove("drop")
    with pytest.warns(UserWarning, match="'a' were set on ed.model by hand"):
        copy = ed.model
    assert copy.get_layer("a").trainable and not copy.get_layer("b").trainable
    ed.rename("a", "first").unfreeze("b")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ed.model.get_layer("first").trainable
