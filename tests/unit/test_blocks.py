"""What is put in: copied with its weights, named without collisions, the object given untouched."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor, NameTaken, StructureError
from tests import models
from tests.models import check_equal, data, fingerprint, give, out, same, weights_of

# -- names ---------------------------------------------------------------------------------------


def named(*names: str) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *(layers.Dense(3, name=name) for name in names)])


def test_an_automatic_name_that_is_free_stays() -> None:
    ed = Editor(named("a")).insert(layers.Dense(3, name="dense_7"), after="a")
    assert ed.find("dense_7") == ["dense_7"]


@pytest.mark.parametrize(
    ("taken", "given", "becomes"),
    [
        (("dense",), "dense", "dense_1"),
        (("dense", "dense_1"), "dense", "dense_2"),
        (("dense_4",), "dense_4", "dense_1"),
        (("dense_1",), "dense_1", "dense_2"),
    ],
)
def test_an_automatic_name_that_is_taken_becomes_the_next_free_one(
    taken: tuple[str, ...], given: str, becomes: str
) -> None:
    block = layers.Dense(3, name=given)
    ed = Editor(named(*taken))
    plan = ed.preview.insert(block, after=taken[0])
    assert plan.renamed == ((given, becomes),)
    ed.insert(block, after=taken[0])
    assert ed.find(becomes) == [becomes]
    assert ed.model.get_layer(becomes).units == 3
    assert block.name == given
    assert f"'{given}' is taken here: it is called '{becomes}'" in ed.report


def test_a_chosen_name_that_is_taken_is_refused() -> None:
    ed = Editor(named("dense", "mine"))
    before = models.state_of(ed)
    for block in (
        layers.ReLU(name="mine"),
        layers.ReLU(name="dense"),
        [layers.Dense(3, name="mine")],
    ):
        with pytest.raises(NameTaken, match=r"'(mine|dense)'"):
            ed.insert(block, after="dense")
        with pytest.raises(NameTaken):
            ed.append(block)
    assert models.state_of(ed) == before
    assert not ed.preview.append(layers.ReLU(name="mine")).ok


def test_a_replacement_may_take_the_name_that_it_frees() -> None:
    ed = Editor(named("mine", "other")).replace("mine", layers.ReLU(name="mine"))
    assert [view.class_name for view in ed.layers] == ["InputLayer", "ReLU", "Dense"]
    with pytest.raises(NameTaken):
        ed.replace("mine", layers.ReLU(name="other"))


def test_names_inside_nested_models_are_their_own() -> None:
    ed = Editor(models.nested()).insert(layers.ReLU(name="head"), after="backbone/conv1")
    assert ed.find("backbone/head") == ["backbone/head"]
    assert len(ed.find("**/head")) == 2


def test_two_layers_of_one_list_get_two_names() -> None:
    block = [layers.ReLU(name="re_lu"), layers.ReLU(name="re_lu")]
    ed = Editor(named("a")).insert(block, after="a")
    assert [view.path for view in ed.layers][2:] == ["re_lu", "re_lu_1"]
    with pytest.raises(NameTaken):
        ed.append([layers.ReLU(name="twin"), layers.ReLU(name="twin")])


# -- the object given ----------------------------------------------------------------------------


def test_an_unbuilt_layer_stays_unbuilt() -> None:
    block = layers.Dense(5)
    ed = Editor(models.chain()).insert(block, after="a").append(block)
    _ = ed.model
    assert not block.built
    assert block.weights == []
    assert block._inbound_nodes == []
    assert len([v for v in ed.layers if v.class_name == "Dense"]) == 5
    one, two = ed.model.get_layer("dense"), ed.model.get_layer("dense_1")
    assert not same(one.get_weights()[0], two.get_weights()[0])


def test_a_transplanted_layer_keeps_its_weights_and_the_donor_its_own() -> None:
    donor = models.scramble(models.fork(), 7)
    model, x = models.chain(), data(3, 4)
    ed = Editor(model)
    donor.get_layer("b").name = "grafted"
    before = fingerprint(donor)
    ed.insert(donor.get_layer("grafted"), after="a")
    kernel = donor.get_layer("grafted").get_weights()[0]
    assert same(weights_of(ed.model, "grafted")["grafted/kernel"], kernel)
    graft = layers.Dense(5, activation="relu", name="grafted")
    hand = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="tanh", name="a"),
            graft,
            layers.Dense(5, activation="relu", name="b"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="c"),
        ]
    )
    give(hand, model)
    graft.set_weights(donor.get_layer("grafted").get_weights())
    check_equal(ed.model, hand, x)
    for weight in ed.model.get_layer("grafted").weights:
        weight.assign(weight + 1.0)
    assert fingerprint(donor) == before
    assert ed.model.get_layer("grafted") is not donor.get_layer("grafted")


def test_what_the_donor_learns_later_does_not_come_along() -> None:
    donor = models.fork()
    ed = Editor(named("a")).append(layers.Dense(4, name="four"))
    donor.get_layer("a").name = "graft"
    kernel = donor.get_layer("graft").get_weights()[0]
    ed.append(donor.get_layer("graft"))
    models.scramble(donor, 99)
    assert same(ed.model.get_layer("graft").get_weights()[0], kernel)


def test_a_transplanted_chain_and_its_flags() -> None:
    donor = models.cnn()
    donor.get_layer("block2_conv").trainable = False
    block = [donor.get_layer(f"block2_{kind}") for kind in ("conv", "bn", "relu")]
    model = keras.Sequential([keras.Input((8, 8, 4), name="x"), layers.Flatten(name="flat")])
    ed = Editor(model).insert(block, after="x")
    x = data(2, 8, 8, 4)
    h = x
    for layer in block:
        h = layer(h)
    assert same(out(ed.model, x), layers.Flatten()(h))
    assert not ed.model.get_layer("block2_conv").trainable
    assert ed.model.get_layer("block2_bn").trainable


def test_a_transplanted_model() -> None:
    donor = models.nested()
    before = fingerprint(donor)
    model, x = named("dense_a"), data(2, 3)
    ed = Editor(model).insert([layers.Dense(4, name="to4"), donor], after="dense_a")
    assert "nested/backbone/inner/dense" in [view.path for view in ed.layers]
    to4 = ed.model.get_layer("to4")
    h = to4(model.layers[0](x))
    assert same(out(ed.model, x), donor(h))
    assert same(ed.model.get_layer("nested").get_weights(), donor.get_weights())
    assert fingerprint(donor) == before
    # It can be edited like any nested model.
    ed.remove("nested/backbone/bn")
    assert "nested/backbone/bn" not in [view.path for view in ed.layers]
    _ = ed.model
    assert fingerprint(donor) == before


def test_a_transplant_into_a_shape_that_does_not_fit() -> None:
    from kerasedit import ShapeMismatch

    donor = models.fork()
    donor.get_layer("b").name = "graft"
    ed = Editor(named("a"))
    with pytest.raises(ShapeMismatch, match=r"'graft/kernel' has shape \(5, 5\).*\(3, 5\)"):
        ed.append(donor.get_layer("graft"))
    ed.append(donor.get_layer("graft"), on_mismatch="slice")
    kernel = ed.model.get_layer("graft").get_weights()[0]
    assert same(kernel, donor.get_layer("graft").get_weights()[0][:3])


def test_a_transplant_replaces_with_its_own_weights() -> None:
    donor = models.chain()
    models.scramble(donor, 3)
    ed = Editor(models.chain())
    plan = ed.preview.replace("b", donor.get_layer("b"))
    assert plan.reinitialized == ()
    ed.replace("b", donor.get_layer("b"))
    assert same(ed.model.get_layer("b").get_weights(), donor.get_layer("b").get_weights())


def test_a_layer_of_the_model_itself_can_be_put_in_again() -> None:
    model = models.chain()
    ed = Editor(model)
    with pytest.raises(NameTaken):
        ed.insert(model.get_layer("b"), after="b")
    ed.rename("b", "b1").insert(model.get_layer("b"), after="b1")
    first, second = ed.model.get_layer("b1"), ed.model.get_layer("b")
    assert same(first.get_weights(), second.get_weights())
    assert first.kernel is not second.kernel


# -- functions, models, sequentials --------------------------------------------------------------


def test_a_function_of_tensors() -> None:
    model, x = models.chain(), data(3, 4)

    def squeeze(t: Any) -> Any:
        s = layers.Dense(2, activation="relu", name="down")(t)
        return t * layers.Dense(t.shape[-1], activation="sigmoid", name="up")(s) + 0.5

    ed = Editor(model).insert(squeeze, after="a")
    inputs = keras.Input((4,))
    h = squeeze(layers.Dense(5, activation="tanh", name="a")(inputs))
    h = layers.Dense(5, activation="relu", name="b")(h)
    h = layers.Dense(2, name="c")(layers.BatchNormalization(name="norm")(h))
    hand = give(keras.Model(inputs, h), model)
    for name in ("down", "up"):
        hand.get_layer(name).set_weights(ed.model.get_layer(name).get_weights())
    check_equal(ed.model, hand, x)
    assert same(weights_of(ed.model, "a", "b", "norm", "c"), weights_of(model))


def test_a_function_is_traced_for_each_place() -> None:
    def gate(t: Any) -> Any:
        return t * layers.Dense(t.shape[-1], activation="sigmoid")(t)

    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(6, name="b")]
    )
    ed = Editor(model).insert(gate, after=["a", "b"])
    assert len(ed.history) == 1
    assert [v.output_shape[-1] for v in ed.layers if v.class_name == "Dense"] == [3, 3, 6, 6]
    h = model.layers[0](data(2, 4))
    gates = [v.name for v in ed.layers if v.class_name == "Dense" and v.name not in "ab"]
    h = h * ed.model.get_layer(gates[0])(h)
    h = model.layers[1](h)
    h = h * ed.model.get_layer(gates[1])(h)
    assert same(out(ed.model, data(2, 4)), h)


def test_a_function_before_takes_that_edges_tensor() -> None:
    model, x = models.two_ways(), [data(3, 3), data(3, 4)]
    ed = Editor(model).insert(lambda t: t * 3.0, before="both", input="r2")
    hand = Editor(model).insert(layers.Rescaling(3.0), before="both", input=1).model
    assert same(out(ed.model, x), out(hand, x))


def test_a_function_takes_all_outputs_of_a_new_layer() -> None:
    def states(x: Any) -> Any:
        _, h, c = layers.LSTM(5, return_state=True, name="lstm")(layers.Reshape((1, 5))(x))
        return layers.Add(name="sum")([h, c])

    model = models.chain()
    ed = Editor(model).insert(states, after="a")
    h, c = ed.model.get_layer("lstm").output[1:]
    seen = keras.Model(ed.model.inputs, [h, c, ed.model.get_layer("sum").output])
    h, c, total = out(seen, data(3, 4))
    assert same(total, h + c) and not same(h, c)


def test_a_function_that_replaces_and_appends() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).replace("drop", lambda t: t + 1.0).append(lambda t: t * 2.0)
    h = model.get_layer("a")(x) + 1.0
    for name in ("b", "norm", "c"):
        h = model.get_layer(name)(h)
    assert same(out(ed.model, x), [np.asarray(h) * np.float32(2.0)])


def test_an_unbuilt_sequential_is_built_for_its_place() -> None:
    block = keras.Sequential([layers.Dense(5, name="p"), layers.ReLU(name="q")], name="block")
    ed = Editor(models.chain()).insert(block, after="a")
    assert not block.built
    assert ed.find("block/*")[-2:] == ["block/p", "block/q"]
    assert ed.model.get_layer("block").get_layer("p").kernel.shape == (5, 5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("alone", [True, False])
def test_what_a_layer_was_adapted_to_comes_along(alone: bool) -> None:
    """Adapting a layer to words does not build it."""
    words = keras.Input((2,), dtype="string", name="words")
    model = keras.Model(words, layers.StringLookup(vocabulary=["a"], name="old")(words))
    lookup = layers.StringLookup(name="new")
    lookup.adapt(np.array(["tree", "house", "tree"]))
    x = keras.ops.convert_to_tensor([["tree", "a"], ["house", "tree"]])
    ed = Editor(model).replace("old", lookup if alone else keras.Sequential([lookup]))
    assert same(out(ed.model, x), [lookup(x)])


def test_a_model_as_a_block_keeps_its_weights() -> None:
    y = keras.Input((5,))
    block = models.scramble(
        keras.Model(y, layers.Add()([y, layers.Dense(5, name="p")(y)]), name="residual"), 4
    )
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).insert(block, before="b")
    h = block(model.get_layer("a")(x))
    for name in ("b", "norm", "c"):
        h = model.get_layer(name)(h)
    assert same(out(ed.model, x), [np.asarray(h)])


# -- what is no block ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        3,
        "dense",
        [],
        [layers.ReLU(), "x"],
        layers.Dense,
        {"class_name": "Dense"},
        keras.Sequential(),
        lambda: None,
        lambda t: None,
        lambda t: [t, t * 2],
        lambda t: layers.Reshape((999,))(t),
        np.zeros(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_block(nonsense: Any) -> None:
    ed = Editor(models.chain())
    before = models.state_of(ed)
    with pytest.raises(EditError):
        ed.insert(nonsense, after="a")
    with pytest.raises(EditError):
        ed.append(nonsense)
    with pytest.raises(EditError):
        ed.replace("drop", nonsense)
    assert models.state_of(ed) == before


def test_an_input_is_no_block() -> None:
    with pytest.raises(StructureError, match="InputLayer"):
        Editor(models.chain()).insert(layers.InputLayer((3,)), after="a")


def test_a_model_of_two_inputs_is_no_block() -> None:
    with pytest.raises(EditError):
        Editor(models.chain()).insert(models.two_ways(), after="a")


def test_a_merge_layer_alone_cannot_be_inserted() -> None:
    with pytest.raises(EditError, match="add"):
        Editor(models.chain()).insert(layers.Add(), after="a")
