"""Bad input: each gets a clear error of its class, and everything is as before."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

import kerasedit
from kerasedit import (
    EditError,
    Editor,
    NameTaken,
    ShapeMismatch,
    StructureError,
    TargetError,
)
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import data, fingerprint, out, same, state_of

BAD: dict[str, tuple[Any, type[EditError], str]] = {
    # unknown names, several matches
    "unknown": (lambda ed: ed.remove("adb"), TargetError, "'add'"),
    "unknown index": (lambda ed: ed.remove(77), TargetError, "77"),
    "unknown in a list": (lambda ed: ed.freeze("a", "q"), TargetError, "'q'"),
    "unknown class": (lambda ed: ed.remove(layers.LSTM), TargetError, "LSTM"),
    "no match": (lambda ed: ed.remove("zz*"), TargetError, r"zz\*"),
    "unknown after": (lambda ed: ed.insert(layers.ReLU(), after="aa"), TargetError, "'aa'"),
    "unknown before": (lambda ed: ed.insert(layers.ReLU(), before="aa"), TargetError, "'aa'"),
    "several": (lambda ed: ed.rename("[abc]", "d"), TargetError, "a, b, c"),
    "not as many": (lambda ed: ed.remove("[bc]", expect=1), TargetError, "b, c"),
    "no such call": (lambda ed: ed.remove("b", call=1), TargetError, "1 calls?"),
    # structure
    "the input": (lambda ed: ed.remove("x"), StructureError, "'x'"),
    "a merge": (lambda ed: ed.remove("add"), StructureError, "keep="),
    "everything": (lambda ed: ed.remove("**", keep=0), EditError, ""),
    "a class": (lambda ed: ed.append(layers.Dense), EditError, r"layers\.Dense\(\.\.\.\)"),
    "nowhere": (lambda ed: ed.insert(layers.ReLU()), EditError, "after="),
    "no edge": (
        lambda ed: ed.insert(layers.ReLU(), after="b", before="top"),
        StructureError,
        "Nothing goes from 'b' to 'top'",
    ),
    "which input": (lambda ed: ed.insert(layers.ReLU(), before="add"), StructureError, "input="),
    "an input of none": (
        lambda ed: ed.insert(layers.ReLU(), after="b", input=0), EditError, "give that, too",
    ),
    "no factor": (lambda ed: ed.scale_weights("b", float("nan")), EditError, "finite number"),
    # shapes
    "weights": (
        lambda ed: ed.insert(layers.Dense(9), before="b"),
        ShapeMismatch,
        r"'b/kernel' has shape \(5, 5\) and would need \(9, 5\).*on_mismatch",
    ),
    "sizes": (
        lambda ed: ed.append(layers.Reshape((7,), name="r")), ShapeMismatch, "'r'.*(?i:total size)",
    ),
    "rank": (
        lambda ed: ed.insert(layers.Conv2D(2, 2, name="r"), after="a"), ShapeMismatch, r"\(None, 5\)",
    ),
    "policy": (lambda ed: ed.remove("a", on_mismatch="guess"), EditError, "'guess'"),
    "weights mode": (
        lambda ed: ed.replace("b", layers.Dense(5), weights="all"), EditError, "'all'",
    ),
    # names
    "taken": (lambda ed: ed.append(layers.ReLU(name="top")), NameTaken, "'top'"),
    "taken by rename": (lambda ed: ed.rename("b", "c"), NameTaken, "'c'"),
    "no name": (lambda ed: ed.rename("b", ""), EditError, "name"),
    "a path as a name": (lambda ed: ed.rename("b", "b/c"), EditError, "'/'"),
    # layers that cannot be copied
    "no get_config": (
        lambda ed: ed.append(models.Forgetful(models.Sizes(), name="f")),
        StructureError,
        "Forgetful.*get_config",
    ),
    # history
    "undo too far": (lambda ed: ed.undo(99), EditError, "99"),
    "redo nothing": (lambda ed: ed.redo(99), EditError, "99"),
    "a flag on an op": (lambda ed: ed.freeze("x"), TargetError, "'x'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def edited() -> Editor:
    ed = Editor(models.fork()).rename("b", "b2").rename("b2", "b").freeze("c").undo()
    _ = ed.model
    return ed


@pytest.mark.parametrize("name", BAD)
def test_bad_input(edited: Editor, name: str) -> None:
    act, kind, message = BAD[name]
    source, state, copy = fingerprint(edited.source), state_of(edited), edited.model
    weights = fingerprint(copy)
    with pytest.raises(kind, match=message) as caught:
        act(edited)
    assert isinstance(caught.value, ValueError)
    assert state_of(edited) == state
    assert edited.model is copy
    assert fingerprint(copy) == weights
    assert fingerprint(edited.source) == source
    if name not in ("undo too far", "redo nothing"):
        plan = act(edited.preview)
        assert not plan.ok
        assert str(caught.value) in plan.errors
        assert state_of(edited) == state


def test_the_classes_of_errors() -> None:
    assert issubclass(EditError, ValueError)
    for kind in (TargetError, ShapeMismatch, StructureError, NameTaken, ModelFileError):
        assert issubclass(kind, EditError)
    assert issubclass(TargetError, LookupError)
    assert str(TargetError("plain")) == "plain"
    assert {
        e.__name__ for e in (EditError, TargetError, ShapeMismatch, StructureError, NameTaken)
    } <= {*kerasedit.__all__}


# -- models that cannot be edited ----------------------------------------------------------------


def test_an_unbuilt_sequential() -> None:
    model = keras.Sequential([layers.Dense(3)])
    with pytest.raises(StructureError, match=r"not built.*keras\.Input"):
        Editor(model)
    assert not model.built


def test_an_unbuilt_subclassed_model() -> None:
    model = models.Subclassed(name="sub")
    with pytest.raises(StructureError, match=r"'sub' is not built.*build"):
        Editor(model)
    assert not model.first.built


def test_a_subclassed_model_is_looked_at_and_not_restructured() -> None:
    model, x = models.subclassed(), data(2, 4)
    before = fingerprint(model)
    ed = Editor(model)
    assert [view.path for view in ed.layers] == ["first", "second"]
    assert set(ed.histograms()) == {
        f"{n}/{w}" for n in ("first", "second") for w in ("kernel", "bias")
    }
    state = state_of(ed)
    for act in (
        lambda: ed.remove("first"),
        lambda: ed.insert(layers.ReLU(), after="first"),
        lambda: ed.insert(lambda t: t * 2, after="first"),
        lambda: ed.append(layers.ReLU()),
        lambda: ed.replace("second", layers.Dense(2)),
        lambda: ed.rename("first", "one"),
        lambda: ed.trim("first"),
        lambda: ed.trim(1),
    ):
        with pytest.raises(StructureError, match=r"'sub'.*subclassed"):
            act()
        assert state_of(ed) == state
    assert same(out(ed.model, x), out(model, x))
    assert fingerprint(model) == before


def test_a_subclassed_model_inside_another_is_left_whole() -> None:
    sub = models.subclassed()
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.ReLU(name="r")(sub(layers.Dense(4, name="d")(x))))
    batch = data(2, 4)
    ed = Editor(model)
    assert same(out(ed.model, batch), out(model, batch))
    with pytest.raises(StructureError, match="'sub'"):
        ed.remove("sub/first")
    ed.freeze("sub/first").remove("r")
    hand = keras.Model(x, model.get_layer("r").input)
    assert same(out(ed.model, batch), out(hand, batch))
    assert not ed.model.get_layer("sub").first.trainable
    assert sub.first.trainable


def test_a_model_that_cannot_be_copied_needs_in_place() -> None:
    model = models.Uncopyable(layers.Dense(3, name="first"), name="odd")
    x = data(2, 4)
    model(x)
    with pytest.raises(StructureError, match="in_place=True"):
        _ = Editor(model).model
    ed = Editor(model, in_place=True)
    assert ed.model is model
    ed.freeze("first")
    assert not model.first.trainable  # it is the model itself
    ed.undo()
    assert model.first.trainable
    with pytest.raises(StructureError, match="'odd'"):
        ed.remove("first")


def test_in_place_works_on_the_model_itself_and_not_on_its_structure() -> None:
    model = models.chain()
    ed = Editor(model, in_place=True).freeze("a")
    assert ed.model is model
    assert not model.get_layer("a").trainable
    state = state_of(ed)
    for act in (
        lambda: ed.remove("drop"),
        lambda: ed.append(layers.ReLU()),
        lambda: ed.rename("a", "z"),
    ):
        with pytest.raises(StructureError, match="in_place"):
            act()
        assert state_of(ed) == state
    assert ed.model is model
    assert [la.name for la in model.layers] == ["a", "drop", "b", "norm", "c"]


def test_a_layer_without_a_config_says_what_to_add() -> None:
    x = keras.Input((4,))
    model = keras.Model(x, layers.ReLU(name="r")(models.Forgetful(models.Sizes(), name="mine")(x)))
    with pytest.raises(StructureError, match=r"'mine' of class Forgetful.*get_config.*in_place"):
        _ = Editor(model).remove("r").model
    ed = Editor(model, in_place=True).freeze("mine")
    assert not model.get_layer("mine").trainable
    assert ed.layers[1].config == {}


class OfForgetful(keras.Model):
    """A functional model whose own config tells what a layer of it cannot tell."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        sizes = models.Sizes()
        sizes.units = units
        x = keras.Input((4,))
        h = layers.Dropout(0.5, name="drop")(models.Forgetful(sizes, name="mine")(x))
        super().__init__(x, layers.Dense(2, name="top")(h), **kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "name": self.name}


def test_a_layer_without_a_config_is_left_to_the_class_around_it() -> None:
    """What the class makes can be looked at and frozen; only its structure cannot be edited."""
    part = models.scramble(OfForgetful(name="part"))
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, layers.ReLU(name="r")(part(x))))
    batch = data(3, 4)
    ed = Editor(model).freeze("part/mine").remove("r")
    assert same(out(ed.model, batch), out(part, batch))
    copy = ed.model.get_layer("part")
    assert type(copy) is OfForgetful
    assert not copy.get_layer("mine").trainable
    state = state_of(ed)
    for target in ("part/drop", "part/top"):
        with pytest.raises(StructureError, match=r"'mine' of class Forgetful.*get_config"):
            ed.remove(target)
        assert state_of(ed) == state
    ed.remove("part/mine", on_mismatch="slice")  # nothing is in the way then
    assert ed.model.get_layer("part").get_layer("top").kernel.shape == (4, 2)
    bare = Editor(keras.Model(x, layers.ReLU()(x))).append(part)  # and as a block
    assert same(out(bare.model, batch), out(part, keras.ops.relu(batch)))


def test_a_layer_whose_config_lacks_an_argument() -> None:
    class Lacking(layers.Layer):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units

        def call(self, inputs: Any) -> Any:
            return inputs

        def get_config(self) -> dict[str, Any]:
            return super().get_config()

    x = keras.Input((4,))
    model = keras.Model(x, layers.ReLU(name="r")(Lacking(3, name="mine")(x)))
    ed = Editor(model)
    state = state_of(ed)
    with pytest.raises(StructureError, match=r"'mine' of class Lacking.*every argument"):
        _ = ed.model
    assert state_of(ed) == state
