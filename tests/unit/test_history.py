"""Undo, redo, reset, transactions, subscribers, and what becomes of trained weights."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor, NameTaken, ShapeMismatch, TargetError
from kerasedit.edits import (
    Append,
    Connect,
    Freeze,
    Insert,
    PruneChannels,
    Remove,
    Transaction,
)
from tests import models
from tests.models import data, fingerprint, out, same, state_of, weights_of


def train(model: keras.Model) -> dict[str, np.ndarray]:
    """Changes every weight as training would; returns the new values."""
    for weight in model.weights:
        weight.assign(weight * 1.5 + 0.125)
    return weights_of(model)


def paths(ed: Editor) -> list[str]:
    return [view.path for view in ed.layers]


# -- edits made by hand --------------------------------------------------------------------------


def test_an_edit_takes_what_its_method_takes() -> None:
    by_hand, by_method = Editor(models.cnn()), Editor(models.cnn())
    for edit in (
        Insert(layers.ReLU(name="r"), after=layers.GlobalAveragePooling2D),  # type: ignore[arg-type]
        Insert([layers.ReLU(name="s"), layers.ReLU(name="t")], after="block1_bn"),  # type: ignore[arg-type]
        Freeze("block*_conv"),  # type: ignore[arg-type]
        Freeze((layers.Dense, lambda view: view.class_name == "BatchNormalization")),
        Connect("block1_conv", "block1_relu", layers.Add(name="sum")),  # type: ignore[arg-type]
        PruneChannels("block2_conv", keep=[0, 2]),
        Transaction("two", (Remove("block3_relu"), Append(layers.Softmax(name="soft")))),  # type: ignore[arg-type]
    ):
        by_hand.apply(edit)
    by_method.insert(layers.ReLU(name="r"), after=layers.GlobalAveragePooling2D)
    by_method.insert([layers.ReLU(name="s"), layers.ReLU(name="t")], after="block1_bn").freeze(
        "block*_conv"
    )
    by_method.freeze(layers.Dense, lambda view: view.class_name == "BatchNormalization")
    by_method.connect("block1_conv", "block1_relu", merge=layers.Add(name="sum"))
    by_method.prune_channels("block2_conv", keep=[0, 2])
    with by_method.transaction("two"):
        by_method.remove("block3_relu").append(layers.Softmax(name="soft"))
    assert [e.to_json() for e in by_hand.history] == [e.to_json() for e in by_method.history]

    before = by_hand.history
    for wrong, message in (
        (Append(lambda x: x * 2), "traced by the method"),  # type: ignore[arg-type]
        (Insert(3, after="head"), "Give a layer"),  # type: ignore[arg-type]
        (Freeze(()), "Name the layers"),
        (Remove(3.5), "names no layer"),
    ):
        with pytest.raises(EditError, match=message):
            by_hand.apply(wrong)
    assert by_hand.history == before


# -- undo and redo -------------------------------------------------------------------------------


def test_undo_and_redo_walk_through_every_state() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    steps = [
        lambda: ed.remove("b"),
        lambda: ed.insert(layers.Rescaling(2.0, name="twice"), after="a"),
        lambda: ed.freeze("c"),
        lambda: ed.rename("c", "sea"),
        lambda: ed.append(layers.Softmax(name="p")),
    ]
    seen = [(paths(ed), out(ed.model, x), [v.trainable for v in ed.layers])]
    for step in steps:
        step()
        seen.append((paths(ed), out(ed.model, x), [v.trainable for v in ed.layers]))

    def check(index: int) -> None:
        got = paths(ed), out(ed.model, x), [v.trainable for v in ed.layers]
        assert got[0] == seen[index][0]
        assert same(got[1], seen[index][1])
        assert got[2] == seen[index][2]
        assert len(ed.history) == index

    for index in (4, 3, 2, 1, 0):
        ed.undo()
        check(index)
    for index in (1, 2, 3, 4, 5):
        ed.redo()
        check(index)
    ed.undo(5)
    check(0)
    ed.redo(3)
    check(3)
    ed.undo(2).redo()
    check(2)


def test_a_new_edit_forgets_what_was_undone() -> None:
    ed = Editor(models.chain()).remove("drop").undo()
    assert ed.redo_label == "remove 'drop'"
    ed.freeze("a")
    assert ed.redo_label is None
    with pytest.raises(EditError):
        ed.redo()


@pytest.mark.parametrize("n", [0, -1, 2, True, 1.0, "1", None])
def test_steps_that_are_none(n: Any) -> None:
    ed = Editor(models.chain()).remove("drop")
    before = state_of(ed)
    with pytest.raises(EditError):
        ed.undo(n)
    with pytest.raises(EditError):
        ed.redo(n)
    assert state_of(ed) == before


def test_history_holds_edit_objects_that_can_be_applied() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).remove("drop").insert(models.Scale(2.0, name="s"), after="b").freeze("a")
    assert [type(edit) for edit in ed.history] == [Remove, Insert, Freeze]
    assert ed.history[0].describe() == "remove 'drop'"
    again = Editor(model)
    for edit in ed.history:
        assert again.apply(edit) is again
    assert paths(again) == paths(ed)
    assert same(out(again.model, x), out(ed.model, x))
    with pytest.raises(AttributeError):
        ed.history[0].target = "other"  # pyright: ignore


def test_apply_takes_nothing_but_edits() -> None:
    ed = Editor(models.chain())
    for nonsense in ("remove", None, {"edit": "remove", "target": "drop"}, Remove):
        with pytest.raises(EditError):
            ed.apply(nonsense)  # pyright: ignore
    assert ed.history == ()


def test_methods_return_the_editor() -> None:
    ed = Editor(models.chain())
    assert ed.freeze("a").unfreeze("a").undo().redo().reset() is ed


# -- reset ---------------------------------------------------------------------------------------


def test_reset_goes_back_to_the_source_and_can_be_undone() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).remove("b").freeze("a")
    edited, shown = out(ed.model, x), paths(ed)
    ed.reset()
    assert ed.history == ()
    assert same(out(ed.model, x), out(model, x))
    assert ed.model.get_layer("a").trainable
    ed.undo()
    assert paths(ed) == shown
    assert same(out(ed.model, x), edited)
    assert len(ed.history) == 2
    assert not ed.model.get_layer("a").trainable
    ed.redo()
    assert same(out(ed.model, x), out(model, x))


def test_reset_of_nothing_is_no_step() -> None:
    ed = Editor(models.chain()).reset()
    assert ed.undo_label is None
    assert ed.revision == 0


def test_edits_after_a_reset_start_a_history() -> None:
    ed = Editor(models.chain()).remove("b").reset().freeze("a")
    assert [edit.describe() for edit in ed.history] == ["freeze 'a'"]
    ed.undo().undo()
    assert [edit.describe() for edit in ed.history] == ["remove 'b'"]


# -- the model object ----------------------------------------------------------------------------


def test_the_model_is_one_object_until_the_structure_changes() -> None:
    ed = Editor(models.chain())
    first = ed.model
    assert ed.model is first
    ed.freeze("a").unfreeze("**")
    assert ed.model is first
    ed.remove("drop")
    second = ed.model
    assert second is not first
    assert ed.model is second
    ed.rename("a", "aa")
    assert ed.model is not second


def test_an_edit_and_its_undo_before_anyone_looked_leave_the_object() -> None:
    ed = Editor(models.chain())
    first = ed.model
    ed.remove("drop").undo()
    assert ed.model is first


# -- training is no edit -------------------------------------------------------------------------


def test_trained_values_are_kept_by_later_edits_and_undo() -> None:
    model = models.chain()
    before = fingerprint(model)
    ed = Editor(model)
    trained = train(ed.model)
    ed.remove("drop")
    assert same(weights_of(ed.model), trained)
    ed.undo()
    assert same(weights_of(ed.model), trained)
    trained = train(ed.model)
    ed.freeze("a").undo()
    assert same(weights_of(ed.model), trained)
    ed.reset()
    assert same(weights_of(ed.model), trained)
    assert fingerprint(model) == before


def test_models_handed_out_before_keep_their_weights() -> None:
    ed = Editor(models.chain())
    first = ed.model
    at_first = weights_of(first)
    second = ed.remove("drop").model
    train(second)
    assert same(weights_of(first), at_first)
    at_second = weights_of(second)
    third = ed.insert(layers.ReLU(), after="a").model
    train(third)
    train(first)
    assert same(weights_of(second), at_second)
    ed.undo(2)
    fourth = ed.model
    assert fourth not in (first, second, third)
    assert same(weights_of(fourth), weights_of(third))


def test_a_removed_layer_comes_back_as_it_was_trained() -> None:
    ed = Editor(models.chain())
    trained = train(ed.model)
    ed.remove("b")
    again = train(ed.model)
    ed.undo()
    back = weights_of(ed.model)
    for name in back:
        assert same(back[name], (trained if name.startswith("b/") else again)[name]), name


def test_what_is_kept_for_undo_does_not_follow_the_model_it_was_in() -> None:
    """Real training too: optimizers assign in place."""
    x, y = data(8, 4), data(8, 2)
    ed = Editor(models.fork())
    first = ed.model
    first.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    first.fit(x, y, verbose=0)
    trained = weights_of(first)
    ed.remove("b")
    _ = ed.model
    first.fit(x, y, verbose=0)  # goes on training a model handed out before
    assert not same(weights_of(first), trained)
    ed.undo()
    assert same(weights_of(ed.model), trained)


def test_the_copy_is_the_source_of_one_moment() -> None:
    """What the source learns after the copy was made does not come in with a later undo."""
    model = models.chain()
    at_first = weights_of(model)
    ed = Editor(model).remove("b")
    _ = ed.model
    train(model)
    ed.undo()
    assert same(weights_of(ed.model), at_first)


def test_a_removed_layer_comes_back_through_many_rebuilds() -> None:
    ed = Editor(models.chain())
    trained = train(ed.model)
    ed.remove("b")
    _ = ed.model
    ed.remove("drop")
    _ = ed.model
    ed.insert(layers.ReLU(), after="a")
    _ = ed.model
    ed.undo(3)
    assert same(weights_of(ed.model), trained)


def test_an_inserted_layer_comes_back_as_it_was_trained() -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a")
    trained = train(ed.model)
    ed.undo()
    _ = ed.model
    ed.redo()
    assert same(weights_of(ed.model), trained)


def test_an_inserted_layer_that_was_built_comes_back_the_same() -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a")
    fresh = weights_of(ed.model)
    assert np.any(fresh["new/kernel"])
    ed.undo()
    _ = ed.model
    ed.redo()
    assert same(weights_of(ed.model), fresh)


def test_a_replaced_layer_starts_from_the_trained_values_and_undo_brings_the_old_back() -> None:
    ed = Editor(models.chain())
    trained = train(ed.model)
    ed.replace("b", layers.Dense(5, activation="gelu", name="b"))
    assert same(weights_of(ed.model), trained)
    new = train(ed.model)
    ed.undo()
    assert same(weights_of(ed.model, "b"), {k: v for k, v in trained.items() if k[0] == "b"})
    ed.redo()
    assert same(weights_of(ed.model, "b"), {k: v for k, v in new.items() if k[0] == "b"})


def test_what_slicing_cut_off_comes_back_with_undo() -> None:
    ed = Editor(models.chain())
    trained = train(ed.model)
    ed.remove("a", on_mismatch="slice")
    cut = weights_of(ed.model)
    assert same(cut["b/kernel"], trained["b/kernel"][:4])
    train(ed.model)
    ed.undo()
    assert same(weights_of(ed.model)["b/kernel"], trained["b/kernel"])
    assert same(weights_of(ed.model)["a/kernel"], trained["a/kernel"])


def test_slices_of_slices_nobody_built_in_between() -> None:
    model = models.chain()
    ed = Editor(model)
    ed.replace("a", layers.Dense(3, name="a"), weights="slice", on_mismatch="slice")
    block = layers.Dense(5, name="a", kernel_initializer="zeros", bias_initializer="zeros")
    ed.replace("a", block, weights="slice", on_mismatch="slice")
    kernel, bias = ed.model.get_layer("a").get_weights()
    old_kernel, old_bias = model.get_layer("a").get_weights()
    assert same(kernel[:, :3], old_kernel[:, :3])
    assert same(bias[:3], old_bias[:3])
    assert np.all(kernel[:, 3:] == 0)  # not the values that the first edit had cut off
    assert np.all(bias[3:] == 0)


def test_seeds_are_carried() -> None:
    """The same dropout masks in training mode, and the copy's draws do not move the source's."""
    model, x = models.chain(), data(8, 4)
    first = out(model, x, training=True)
    before = fingerprint(model)
    ed = Editor(model)
    copies = [out(ed.model, x, training=True) for _ in range(2)]
    ed.rename("a", "aa")
    copies.append(out(ed.model, x, training=True))
    assert fingerprint(model) == before
    sources = [out(model, x, training=True) for _ in range(3)]
    # Moving averages go on in both, so the third equals only if all state was carried.
    assert same(copies, sources)
    assert not same(first, sources[0])


# -- transactions --------------------------------------------------------------------------------


def test_a_transaction_is_one_step() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)
    events: list[Any] = []
    ed.subscribe(events.append)
    with ed.transaction("slim down") as inside:
        assert inside is ed
        ed.remove("drop").remove("b").freeze("a")
        assert "b" not in paths(ed)
    assert len(events) == 1
    (edit,) = ed.history
    assert isinstance(edit, Transaction)
    assert edit.describe() == ed.undo_label == "slim down"
    assert len(edit.edits) == 3
    edited = out(ed.model, x)
    ed.undo()
    assert same(out(ed.model, x), out(model, x))
    assert ed.model.get_layer("a").trainable
    ed.redo()
    assert same(out(ed.model, x), edited)
    assert not ed.model.get_layer("a").trainable


def test_a_transaction_that_fails_is_undone_whole() -> None:
    ed = Editor(models.chain()).remove("drop").freeze("c").undo()
    copy, before, weights = ed.model, state_of(ed), weights_of(ed.model)
    events: list[Any] = []
    ed.subscribe(events.append)

    def bad() -> None:
        with ed.transaction("bad"):
            ed.freeze("a").remove("b").rename("c", "cc")
            ed.remove("nothing")

    def worse() -> None:
        with ed.transaction("worse"):
            ed.remove("b")
            raise ZeroDivisionError

    with pytest.raises(TargetError):
        bad()
    assert state_of(ed) == before
    assert events == []
    assert ed.model is copy
    assert copy.get_layer("a").trainable
    assert same(weights_of(ed.model), weights)
    with pytest.raises(ZeroDivisionError):
        worse()
    assert state_of(ed) == before
    assert ed.redo_label == "freeze 'c'"
    ed.redo()


def test_an_error_caught_inside_a_transaction_leaves_the_other_edits() -> None:
    ed = Editor(models.chain())
    with ed.transaction("t"):
        ed.remove("drop")
        with pytest.raises(NameTaken):
            ed.rename("a", "b")
        ed.freeze("a")
    assert len(ed.history[0].edits) == 2  # pyright: ignore
    assert paths(ed) == ["x", "a", "b", "norm", "c"]


def test_an_empty_transaction_is_no_step() -> None:
    ed = Editor(models.chain()).freeze("a").undo()
    with ed.transaction("nothing"):
        pass
    assert ed.history == ()
    assert ed.redo_label == "freeze 'a'"


def test_transactions_do_not_nest_and_hold_no_undo() -> None:
    ed = Editor(models.chain()).freeze("a")
    before = state_of(ed)

    def inside(act: Any) -> None:
        with ed.transaction("outer"):
            ed.remove("drop")
            act()

    for act in (
        lambda: ed.transaction("inner").__enter__(),
        lambda: ed.undo(),
        lambda: ed.redo(),
        lambda: ed.reset(),
    ):
        with pytest.raises(EditError):
            inside(act)
    assert state_of(ed) == before


def test_a_model_looked_at_inside_a_failed_transaction() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)

    def look() -> None:
        with ed.transaction("t"):
            ed.remove("drop").insert(layers.Dense(5), after="b")
            _ = ed.model
            ed.remove("a")

    with pytest.raises(ShapeMismatch):
        look()
    assert same(out(ed.model, x), out(model, x))
    assert ed.history == ()


# -- failed edits --------------------------------------------------------------------------------


def test_a_failed_edit_leaves_everything_as_it_was() -> None:
    ed = Editor(models.fork()).remove("b").freeze("c").undo()
    copy, before, weights = ed.model, state_of(ed), weights_of(ed.model)
    for act in (
        lambda: ed.remove("add"),
        lambda: ed.remove("a"),
        lambda: ed.remove("nope"),
        lambda: ed.remove("x"),
        lambda: ed.insert(layers.Dense(7), after="c"),
        lambda: ed.insert(layers.Dense(5, name="c"), after="a"),
        lambda: ed.insert(layers.Conv2D(3, 3), after="a"),
        lambda: ed.append(layers.Reshape((7,))),
        lambda: ed.replace("c", "not a layer"),
        lambda: ed.replace("c", layers.Dense(5), weights="some"),  # pyright: ignore
        lambda: ed.rename("c", "a"),
        lambda: ed.trim(99),
        lambda: ed.freeze("x"),
        lambda: ed.insert(models.Forgetful(models.Sizes()), after="a"),
        lambda: ed.undo(7),
    ):
        with pytest.raises(EditError):
            act()
        assert state_of(ed) == before
    assert ed.model is copy
    assert same(weights_of(copy), weights)
    assert ed.redo_label == "freeze 'c'"


# -- subscribers ---------------------------------------------------------------------------------


def test_subscribers_hear_of_each_change() -> None:
    ed = Editor(models.chain())
    events: list[Any] = []
    stop = ed.subscribe(events.append)
    ed.freeze("a").remove("drop").undo().redo().reset()
    assert [(e.kind, e.revision, e.structural) for e in events] == [
        ("edit", 1, False),
        ("edit", 2, True),
        ("undo", 3, True),
        ("redo", 4, True),
        ("reset", 5, True),
    ]
    assert ed.revision == 5
    with pytest.raises(TargetError):
        ed.remove("nope")
    assert len(events) == 5
    stop()
    stop()
    ed.freeze("b")
    assert len(events) == 5


def test_a_subscriber_sees_the_new_state() -> None:
    ed = Editor(models.chain())
    seen: list[Any] = []
    ed.subscribe(lambda event: seen.append((event.revision == ed.revision, paths(ed))))
    ed.remove("drop")
    assert seen == [(True, ["x", "a", "b", "norm", "c"])]


def test_a_broken_subscriber_breaks_no_edit() -> None:
    ed = Editor(models.chain())
    heard: list[Any] = []

    def broken(event: Any) -> None:
        raise RuntimeError("broken view")

    ed.subscribe(broken)
    ed.subscribe(heard.append)
    with pytest.warns(UserWarning, match="broken view"):
        ed.remove("drop")
    assert len(heard) == 1
    assert "drop" not in paths(ed)


def test_a_subscriber_may_leave_while_it_is_told() -> None:
    ed = Editor(models.chain())
    heard: list[Any] = []
    stops: list[Any] = []

    def once(event: Any) -> None:
        heard.append(event)
        stops[0]()

    stops.append(ed.subscribe(once))
    ed.subscribe(heard.append)
    ed.freeze("a")
    ed.freeze("b")
    assert len(heard) == 3


# -- close ---------------------------------------------------------------------------------------


def test_close_frees_the_copy_and_leaves_source_and_what_was_handed_out() -> None:
    model, x = models.chain(), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model).remove("drop")
    copy = ed.model
    expected = out(copy, x)
    ed.close()
    assert same(out(copy, x), expected)
    assert fingerprint(model) == before
    assert ed.history == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ed.close()


def test_close_lets_go_of_the_copy() -> None:
    import gc
    import weakref

    ed = Editor(models.chain()).remove("drop")
    copy = weakref.ref(ed.model)
    ed.close()
    gc.collect()
    assert copy() is None
