"""Structural edits, each against a model written by hand with the same weights, to the bit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, NameTaken, ShapeMismatch, StructureError, TargetError
from tests import models
from tests.models import ZOO, check_equal, data, fingerprint, give, out, same

# -- unedited ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_an_unedited_copy_is_the_same_to_the_bit(name: str) -> None:
    build, batch = ZOO[name]
    model, x = build(), batch()
    before = fingerprint(model)
    ed = Editor(model)
    copy = ed.model
    assert fingerprint(model) == before
    assert copy is not model
    assert copy is ed.model
    assert type(copy) is type(model)
    assert copy.name == model.name
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert same(copy.get_weights(), model.get_weights())
    assert [la.name for la in copy.layers] == [la.name for la in model.layers]
    expected, got = model.predict(x, verbose=0), copy.predict(x, verbose=0)
    keras.tree.assert_same_structure(expected, got)
    assert same(expected, got)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}


def test_the_two_share_no_memory() -> None:
    model = models.chain()
    ed = Editor(model)
    before, source = models.weights_of(ed.model), models.weights_of(model)
    for weight in model.weights:
        weight.assign(weight + 1.0)
    assert same(models.weights_of(ed.model), before)
    changed = models.weights_of(model)
    for weight in ed.model.weights:
        weight.assign(weight * 3.0)
    assert same(models.weights_of(model), changed)
    assert not same(changed, source)


# -- remove --------------------------------------------------------------------------------------


def test_remove_from_a_chain_stays_a_sequential() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).remove("b").remove("drop")
    hand = keras.Sequential(
        [
            keras.Input((4,), name="x"),
            layers.Dense(5, activation="tanh", name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="c"),
        ]
    )
    check_equal(ed.model, give(hand, model), x)
    assert type(ed.model) is keras.Sequential
    assert [la.name for la in ed.model.layers] == ["a", "norm", "c"]


def test_remove_several_at_once_is_one_step() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).remove(["block[23]_bn", layers.ReLU])
    h = inputs = keras.Input((8, 8, 3))
    for block in (1, 2, 3, 4):
        h = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv")(h)
        if block in (1, 4):
            h = layers.BatchNormalization(name=f"block{block}_bn")(h)
    h = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(h))
    hand = give(keras.Model(inputs, layers.Dense(3, name="head")(h)), model)
    check_equal(ed.model, hand, x)
    assert len(ed.history) == 1
    assert len(ed.undo().layers) == len(Editor(model).layers)


def _fork(model: keras.Model, merge: Any) -> keras.Model:
    inputs = keras.Input((4,))
    a = layers.Dense(5, activation="tanh", name="a")(inputs)
    b = layers.Dense(5, activation="relu", name="b")
    c = layers.Dense(5, activation="sigmoid", name="c")
    h = merge(a, b, c)
    return give(keras.Model(inputs, layers.Dense(2, name="top")(h)), model)


def test_remove_one_of_two_branches_rewires_only_it() -> None:
    model, x = models.fork(), data(3, 4)
    hand = _fork(model, lambda a, b, c: layers.Add()([a, c(a)]))
    check_equal(Editor(model).remove("b").model, hand, x)


@pytest.mark.parametrize(("keep", "branch"), [(0, "b"), ("b", "b"), (1, "c"), ("c", "c")])
def test_remove_a_merge_keeps_the_chosen_input(keep: Any, branch: str) -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.remove("add", keep=keep)
    gone = "c" if branch == "b" else "b"
    assert plan.dropped == (gone,)
    ed.remove("add", keep=keep)
    hand = _fork(model, lambda a, b, c: b(a) if branch == "b" else c(a))
    check_equal(ed.model, hand, x)
    assert gone not in [view.path for view in ed.layers]
    assert f"dropped '{gone}'" in ed.report[0]


def test_remove_a_merge_drops_the_dead_branch_and_its_input() -> None:
    model = models.two_ways()
    ed = Editor(model)
    plan = ed.preview.remove("both", keep="l1", on_mismatch="slice")
    assert sorted(plan.dropped) == ["r1", "r2", "right"]
    assert plan.sliced == ("top/kernel",)
    ed.remove("both", keep="l1", on_mismatch="slice")
    left = keras.Input((3,), name="left")
    h = layers.Dense(5, activation="tanh", name="l1")(left)
    hand = give(keras.Model(left, h := layers.Dense(2, name="top2")(h)), model)
    kernel, bias = model.get_layer("top").get_weights()
    hand.get_layer("top2").set_weights([kernel[:5], bias])
    assert [i.name for i in ed.model.inputs] == ["left"]
    x = data(3, 3)
    assert same(out(ed.model, [x]), out(hand, x))


def test_remove_of_a_merge_says_which_inputs_there_are() -> None:
    ed = Editor(models.fork())
    with pytest.raises(StructureError, match=r"keep=.*0: 'b', 1: 'c'"):
        ed.remove("add")
    for keep in (2, -1, "a", "nope"):
        with pytest.raises(TargetError, match=r"0: 'b', 1: 'c'"):
            ed.remove("add", keep=keep)
    assert ed.history == ()


def test_remove_a_raw_op() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).remove("add", keep="a").remove("multiply")
    inputs = keras.Input((3, 4))
    t = ops.relu(layers.Dense(4, name="a")(inputs))[:, 0]
    hand = give(keras.Model(inputs, layers.Dense(2, name="top")(t)), model)
    check_equal(ed.model, hand, x)


def test_remove_calls_of_a_shared_layer() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]

    def hand(wire: Any) -> keras.Model:
        left, right = keras.Input((4,)), keras.Input((4,))
        tower = layers.Dense(4, activation="tanh", name="tower")
        return give(
            keras.Model([left, right], layers.Concatenate()(wire(tower, left, right))), model
        )

    assert sorted(map(str, _tower_calls(model))) == ["left", "own", "right"]
    wires = {
        "left": lambda t, a, b: [t(a), t(b)],
        "right": lambda t, a, b: [t(t(a)), b],
        "own": lambda t, a, b: [t(a), t(b)],
    }
    for call, source in enumerate(_tower_calls(model)):
        check_equal(Editor(model).remove("tower", call=call).model, hand(wires[source]), x)
    check_equal(Editor(model).remove("tower").model, hand(lambda t, a, b: [a, b]), x)
    with pytest.raises(TargetError, match="3 calls"):
        Editor(model).remove("tower", call=3)


def _tower_calls(model: keras.Model) -> list[str]:
    """What the calls of `shared()`'s tower take, in data order."""
    net = (graph := Editor(model).graph).net
    (tower,) = [i for i, spec in graph.layers.items() if spec.name == "tower"]
    names = [graph.layers[net.by_id[c.refs[0].call].layer].name for c in net.calls_of[tower]]
    return ["own" if name == "tower" else name for name in names]


def test_remove_inside_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).remove("backbone/bn").remove("backbone/inner")
    y = keras.Input((4,))
    h = layers.Dense(5, activation="tanh", name="conv1")(y)
    backbone = keras.Model(y, layers.Dense(5, name="conv2")(h), name="backbone")
    i = keras.Input((4,))
    hand = give(keras.Model(i, layers.Dense(2, name="head")(backbone(i))), model)
    check_equal(ed.model, hand, x)
    assert ed.model.get_layer("backbone").get_layer("conv1").units == 5
    assert "backbone/inner/dense" not in [view.path for view in ed.layers]


def test_remove_a_whole_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).remove("backbone", on_mismatch="reinit")
    i = keras.Input((4,))
    hand = keras.Model(i, layers.Dense(2, name="head")(i))
    hand.get_layer("head").set_weights(ed.model.get_layer("head").get_weights())
    check_equal(ed.model, hand, x)
    bias = model.get_layer("head").get_weights()[1]
    assert same(ed.model.get_layer("head").get_weights()[1], bias)


def test_another_last_layer_inside_a_nested_model_changes_what_follows() -> None:
    """Its shape was known before, and is none of the nested model so far."""
    z = keras.Input((4,), name="z")
    h = layers.Dense(4, name="same")(layers.Dense(3, name="small")(z))
    inner = keras.Model(z, h, name="inner")
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, layers.Dense(2, name="top")(inner(x))))
    ed = Editor(model)
    models.refused(ed, ShapeMismatch, "'top/kernel'", lambda e: e.remove("inner/same"))
    plan = ed.preview.remove("inner/same", on_mismatch="slice")
    assert plan.sliced == ("top/kernel",)
    assert plan.shape_changes == (("inner", (None, 4), (None, 3)),)
    ed.remove("inner/same", on_mismatch="slice")
    batch = data(3, 4)
    assert same(out(ed.model, batch), ed.model.get_layer("top")(inner.get_layer("small")(batch)))


def test_remove_keeps_masks_going() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).remove("drop")
    tokens = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    h = layers.LSTM(5, return_sequences=True, name="lstm1")(h)
    hand = keras.Model(tokens, layers.Dense(2, name="top")(layers.GRU(3, name="gru")(h)))
    check_equal(ed.model, give(hand, model), x)
    # The comparison can fail: without the mask the outputs are others.
    h = layers.Embedding(9, 4, name="embed")(tokens)
    h = layers.LSTM(5, return_sequences=True, name="lstm1")(h)
    bare = keras.Model(tokens, layers.Dense(2, name="top")(layers.GRU(3, name="gru")(h)))
    assert not same(out(ed.model, x), out(give(bare, model), x))


def test_remove_what_is_an_output_keeps_its_place_and_key() -> None:
    model, x = models.dicts(), ZOO["dicts"][1]()
    ed = Editor(model).remove("high")
    got, old = ed.model(x), model(x)
    assert set(got) == {"low", "more"}
    assert same(got["low"], old["low"])
    assert same(got["more"]["high"], old["more"]["trunk"])
    assert same(got["more"]["trunk"], old["more"]["trunk"])


def test_a_layer_with_states_that_others_take_cannot_be_removed() -> None:
    ed = Editor(models.seq2seq())
    with pytest.raises(StructureError, match=r"'enc' has several outputs.*'dec'"):
        ed.remove("enc")
    assert ed.history == ()


def test_a_layer_with_states_that_nobody_takes_can() -> None:
    inputs = keras.Input((5, 3))
    h, _, _ = layers.LSTM(3, return_sequences=True, return_state=True, name="enc")(inputs)
    model = models.scramble(keras.Model(inputs, layers.Dense(2, name="top")(h)))
    i = keras.Input((5, 3))
    hand = give(keras.Model(i, layers.Dense(2, name="top")(i)), model)
    check_equal(Editor(model).remove("enc").model, hand, data(2, 5, 3))


# -- insert --------------------------------------------------------------------------------------


def test_insert_after_takes_all_consumers() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.Activation(models.double, name="twice"), after="a")
    hand = _fork(model, lambda a, b, c: layers.Add()([b(a * 2), c(a * 2)]))
    check_equal(ed.model, hand, x)


def test_insert_after_takes_the_models_outputs_too() -> None:
    model, x = models.dicts(), ZOO["dicts"][1]()
    ed = Editor(model).insert(layers.Rescaling(2.0, name="twice"), after="trunk")
    trunk = model.get_layer("trunk")(model.get_layer("mean")([x["p"], x["q"]])) * 2.0
    got = ed.model(x)
    assert same(got["more"]["trunk"], trunk)
    assert same(got["low"], model.get_layer("low")(trunk))
    assert same(got["more"]["high"], model.get_layer("high")(trunk))


def test_insert_before_takes_only_that_edge() -> None:
    """keras-surgeon reroutes `c` too."""
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0, name="twice"), before="b")
    hand = _fork(model, lambda a, b, c: layers.Add()([b(a * 2.0), c(a)]))
    check_equal(ed.model, hand, x)
    wrong = _fork(model, lambda a, b, c: layers.Add()([b(a * 2.0), c(a * 2.0)]))
    assert not same(out(ed.model, x), out(wrong, x))


def test_insert_on_one_edge() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0, name="twice"), after="c", before="add")
    hand = _fork(model, lambda a, b, c: layers.Add()([b(a), c(a) * 2.0]))
    check_equal(ed.model, hand, x)
    with pytest.raises(StructureError, match=r"Nothing goes from 'a' to 'top'"):
        ed.insert(layers.Rescaling(2.0), after="a", before="top")


@pytest.mark.parametrize(("which", "branch"), [(0, "b"), ("b", "b"), (1, "c"), ("c", "c")])
def test_insert_before_one_input_of_a_merge(which: Any, branch: str) -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0), before="add", input=which)
    hand = _fork(
        model,
        lambda a, b, c: layers.Add()([b(a) * 2.0, c(a)] if branch == "b" else [b(a), c(a) * 2.0]),
    )
    check_equal(ed.model, hand, x)


def test_insert_before_a_merge_asks_which() -> None:
    ed = Editor(models.fork())
    with pytest.raises(StructureError, match=r"input=.*0: 'b', 1: 'c'"):
        ed.insert(layers.Rescaling(2.0), before="add")
    with pytest.raises(TargetError):
        ed.insert(layers.Rescaling(2.0), before="add", input=2)


def test_insert_before_a_tensor_in_a_keyword_argument() -> None:
    model, x = models.attention(), ZOO["attention"][1]()
    for which, change in {0: "q", 1: "k", 2: "v", "q": "q", "v": "v", "k": "k"}.items():
        ed = Editor(model).insert(layers.Rescaling(2.0), before="mha", input=which)
        q, v = keras.Input((3, 4)), keras.Input((5, 4))
        k = layers.Dense(4, name="k")(v)
        t = {"q": q, "v": v, "k": k}
        t[change] = t[change] * 2.0
        m = layers.MultiHeadAttention(2, 3, name="mha")(t["q"], value=t["v"], key=t["k"])
        h = layers.LayerNormalization(name="norm")(layers.Add()([q, m]))
        hand = give(keras.Model([q, v], layers.Dense(2, name="top")(h)), model)
        check_equal(ed.model, hand, x)


def test_insert_before_an_initial_state() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    ed = Editor(model).insert(layers.Rescaling(0.5), before="dec", input=1)
    source, target = keras.Input((5, 3)), keras.Input((4, 3))
    all_, h, c = layers.LSTM(4, return_state=True, return_sequences=True, name="enc")(source)
    dec = layers.LSTM(4, return_sequences=True, name="dec")(target, initial_state=[h * 0.5, c])
    outputs = [layers.Dense(2, name="top")(dec), layers.GlobalAveragePooling1D(name="mean")(all_)]
    check_equal(ed.model, give(keras.Model([source, target], outputs), model), x)


def test_insert_after_a_layer_of_several_outputs_takes_the_first() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    ed = Editor(model).insert(layers.Rescaling(0.5), after="enc")
    got, old = out(ed.model, x), out(model, x)
    assert same(got[0], old[0])  # through the states alone
    assert not same(got[1], old[1])
    np.testing.assert_allclose(got[1], old[1] / 2, rtol=1e-6)


def test_insert_at_the_input_of_a_chain() -> None:
    model, x = models.chain(), data(3, 4)
    places: list[dict[str, Any]] = [
        {"after": "x"},
        {"before": "a"},
        {"after": 0},
        {"after": "x", "before": "a"},
    ]
    for where in places:
        ed = Editor(model).insert(layers.Rescaling(0.5, name="half"), **where)
        assert same(out(ed.model, x), out(model, x * np.float32(0.5)))
        assert ed.model.layers[0].name == "half"
        assert type(ed.model) is keras.Sequential


def test_insert_among_raw_ops() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0), after="add")
    ed.insert(layers.Rescaling(3.0), before="add", input="x")
    inputs = keras.Input((3, 4))
    t = (layers.Dense(4, name="a")(inputs) + inputs * 3.0) * 2.0
    t = ops.relu(t * 2.0)[:, 0]
    check_equal(ed.model, give(keras.Model(inputs, layers.Dense(2, name="top")(t)), model), x)


def test_insert_keeps_masks_going() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).insert(layers.Rescaling(2.0), after="embed")
    tokens = keras.Input((6,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    h = layers.Dropout(0.2)(layers.Rescaling(2.0)(h))
    h = layers.LSTM(5, return_sequences=True, name="lstm1")(h)
    hand = keras.Model(tokens, layers.Dense(2, name="top")(layers.GRU(3, name="gru")(h)))
    check_equal(ed.model, give(hand, model), x)


def test_a_mask_passed_by_hand_stays() -> None:
    x, mask = keras.Input((4, 3), name="x"), keras.Input((4,), dtype="bool", name="mask")
    h = layers.Dense(3, name="d")(x)
    h = layers.LSTM(2, name="lstm")(h, mask=mask)
    model = models.scramble(keras.Model([x, mask], layers.Dense(2, name="top")(h)))
    batch = [data(2, 4, 3), np.array([[True, True, False, False], [True, False, True, False]])]
    ed = Editor(model).insert(layers.Rescaling(2.0), before="lstm")
    i, m = keras.Input((4, 3)), keras.Input((4,), dtype="bool")
    h = layers.LSTM(2, name="lstm")(layers.Dense(3, name="d")(i) * 2.0, mask=m)
    hand = give(keras.Model([i, m], layers.Dense(2, name="top")(h)), model)
    check_equal(ed.model, hand, batch)
    assert not same(out(ed.model, batch), out(ed.model, [batch[0], ~batch[1]]))


def test_insert_on_one_call_of_a_shared_layer() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    for call, source in enumerate(_tower_calls(model)):
        ed = Editor(model).insert(layers.Rescaling(2.0), before="tower", call=call)
        left, right = keras.Input((4,)), keras.Input((4,))
        t = layers.Dense(4, activation="tanh", name="tower")
        first = t(left * 2.0) if source == "left" else t(left)
        second = t(right * 2.0) if source == "right" else t(right)
        third = t(first * 2.0) if source == "own" else t(first)
        hand = give(keras.Model([left, right], layers.Concatenate()([third, second])), model)
        check_equal(ed.model, hand, x)


def test_insert_inside_nested_models() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).insert(layers.Rescaling(2.0), after="backbone/inner/dense")
    ed.insert(layers.Rescaling(3.0), before="backbone/conv1")
    z = keras.Input((5,))
    inner = keras.Model(z, layers.Dense(5, activation="relu", name="dense")(z) * 2.0, name="inner")
    y = keras.Input((4,))
    h = layers.Dense(5, activation="tanh", name="conv1")(y * 3.0)
    h = inner(layers.BatchNormalization(name="bn")(h))
    backbone = keras.Model(y, layers.Dense(5, name="conv2")(h), name="backbone")
    i = keras.Input((4,))
    h = layers.Dropout(0.3, name="drop")(backbone(i))
    check_equal(ed.model, give(keras.Model(i, layers.Dense(2, name="head")(h)), model), x)


def test_insert_at_several_places_makes_a_layer_at_each() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).insert(models.Scale(2.0), after="block[13]_relu")
    names = [view.path for view in ed.layers if view.class_name == "Scale"]
    assert names == ["scale", "scale_1"]
    h = i = keras.Input((8, 8, 3))
    for block in (1, 2, 3, 4):
        h = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv")(h)
        h = layers.ReLU()(layers.BatchNormalization(name=f"block{block}_bn")(h))
        h = h * 2.0 if block in (1, 3) else h
    h = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(h))
    check_equal(ed.model, give(keras.Model(i, layers.Dense(3, name="head")(h)), model), x)
    one, two = (ed.model.get_layer(name).factor for name in names)
    assert one is not two


def test_insert_needs_a_place() -> None:
    with pytest.raises(EditError, match="where to insert"):
        Editor(models.chain()).insert(layers.ReLU())


# -- append --------------------------------------------------------------------------------------


def test_append() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).append([layers.Softmax(name="p"), layers.Rescaling(2.0, name="r")])
    check_equal(
        ed.model, keras.Sequential([*model.layers, layers.Softmax(), layers.Rescaling(2.0)]), x
    )
    assert type(ed.model) is keras.Sequential


def test_append_takes_the_output_and_not_other_consumers() -> None:
    inputs = keras.Input((4,), name="x")
    a = layers.Dense(4, name="a")(inputs)
    model = models.scramble(keras.Model(inputs, a))
    ed = Editor(model).append(layers.ReLU(name="r"))
    assert ed.model.output_names == model.output_names == ["a"]
    hand = keras.Model(inputs, layers.ReLU()(a))
    check_equal(ed.model, hand, data(3, 4))


def test_append_to_several_outputs_asks_which() -> None:
    ed = Editor(models.dicts())
    with pytest.raises(StructureError, match=r"3 outputs.*insert\(block, after=\.\.\.\)"):
        ed.append(layers.ReLU())


def test_dict_keys_stay_when_a_new_layer_becomes_the_output() -> None:
    model, x = models.dicts(), ZOO["dicts"][1]()
    ed = Editor(model).insert(layers.Softmax(), after="low")
    got = ed.model(x)
    assert same(got["low"], layers.Softmax()(model(x)["low"]))
    assert same(got["more"], model(x)["more"])


# -- replace -------------------------------------------------------------------------------------


def test_replace_with_a_layer_without_weights() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).replace("pool", layers.AveragePooling2D(2))
    h = i = keras.Input((8, 8, 3))
    for block in (1, 2, 3, 4):
        h = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv")(h)
        h = layers.ReLU()(layers.BatchNormalization(name=f"block{block}_bn")(h))
    h = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(h))
    check_equal(ed.model, give(keras.Model(i, layers.Dense(3, name="head")(h)), model), x)
    assert "average_pooling2d" in [view.path for view in ed.layers]


def test_replace_match_keeps_weights_of_equal_shape() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).replace("b", layers.Dense(5, activation="gelu", name="b"))
    hand = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="tanh", name="a"),
            layers.Dense(5, activation="gelu", name="b"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="c"),
        ]
    )
    check_equal(ed.model, give(hand, model), x)
    assert type(ed.model) is keras.Sequential


def test_replace_match_lists_what_starts_fresh() -> None:
    model = models.chain()
    ed = Editor(model)
    block = layers.Dense(3, name="c", bias_initializer="ones")
    plan = ed.preview.replace("c", block)
    assert plan.ok
    assert plan.reinitialized == ("c/kernel", "c/bias")
    assert plan.sliced == ()
    ed.replace("c", block)
    kernel, bias = ed.model.get_layer("c").get_weights()
    assert kernel.shape == (5, 3)
    assert np.all(bias == 1.0)
    assert np.any(kernel != 0)
    old = models.weights_of(model, "a", "b", "norm")
    assert same(models.weights_of(ed.model, "a", "b", "norm"), old)


def test_replace_match_keeps_each_weight_by_itself() -> None:
    """A wider kernel starts fresh; the bias has its old shape and stays."""
    model = models.cnn()
    block = layers.Conv2D(4, 5, padding="same", name="block2_conv")
    plan = Editor(model).preview.replace("block2_conv", block)
    assert plan.reinitialized == ("block2_conv/kernel",)
    ed = Editor(model).replace("block2_conv", block)
    kernel, bias = ed.model.get_layer("block2_conv").get_weights()
    assert kernel.shape == (5, 5, 4, 4)
    assert same(bias, model.get_layer("block2_conv").get_weights()[1])


def test_replace_slice_keeps_what_overlaps() -> None:
    model = models.chain()
    ed = Editor(model)
    block = layers.Dense(
        7, name="b", kernel_initializer=keras.initializers.Constant(9.0), bias_initializer="ones"
    )
    plan = ed.preview.replace("b", block, weights="slice", on_mismatch="slice")
    assert plan.sliced == (
        "b/kernel",
        "b/bias",
        "norm/gamma",
        "norm/beta",
        "norm/moving_mean",
        "norm/moving_variance",
        "c/kernel",
    )
    assert plan.reinitialized == ()
    ed.replace("b", block, weights="slice", on_mismatch="slice")
    new, old = ed.model.get_layer, model.get_layer
    kernel, bias = new("b").get_weights()
    assert same(kernel[:, :5], old("b").get_weights()[0])
    assert np.all(kernel[:, 5:] == 9.0)
    assert same(bias[:5], old("b").get_weights()[1])
    assert np.all(bias[5:] == 1.0)
    for got, was, fresh in zip(
        new("norm").get_weights(), old("norm").get_weights(), (1.0, 0.0, 0.0, 1.0), strict=True
    ):
        assert same(got[:5], was)
        assert np.all(got[5:] == fresh)
    assert same(new("c").get_weights()[0][:5], old("c").get_weights()[0])
    assert same(new("c").get_weights()[1], old("c").get_weights()[1])
    # A narrower layer keeps the leading part.
    ed = Editor(model).replace("b", layers.Dense(3, name="b"), weights="slice", on_mismatch="slice")
    assert same(ed.model.get_layer("b").get_weights()[0], old("b").get_weights()[0][:, :3])
    assert same(
        ed.model.get_layer("norm").get_weights(), [w[:3] for w in old("norm").get_weights()]
    )
    assert same(ed.model.get_layer("c").get_weights()[0], old("c").get_weights()[0][:3])


def test_replace_none_keeps_nothing() -> None:
    model = models.chain()
    block = layers.Dense(5, name="b", kernel_initializer="zeros", bias_initializer="ones")
    plan = Editor(model).preview.replace("b", block, weights="none")
    assert plan.reinitialized == ("b/kernel", "b/bias")
    ed = Editor(model).replace("b", block, weights="none")
    kernel, bias = ed.model.get_layer("b").get_weights()
    assert np.all(kernel == 0.0)
    assert np.all(bias == 1.0)


def test_replace_a_merge_by_another() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).replace("add", layers.Multiply())
    check_equal(ed.model, _fork(model, lambda a, b, c: layers.Multiply()([b(a), c(a)])), x)
    ed = Editor(model).replace("add", layers.Concatenate(), on_mismatch="slice")
    kernel = ed.model.get_layer("top").get_weights()[0]
    assert same(kernel[:5], model.get_layer("top").get_weights()[0])
    assert kernel.shape == (10, 2)


def test_replace_a_raw_op_by_a_layer_and_a_layer_by_a_chain() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).replace("add", layers.Multiply()).replace("relu", layers.Activation("tanh"))
    ed.replace("top", [layers.Rescaling(2.0), layers.Rescaling(0.25)])
    i = keras.Input((3, 4))
    t = ops.tanh((layers.Dense(4, name="a")(i) * i) * 2.0)[:, 0]
    hand = give(keras.Model(i, (t * 2.0) * 0.25), model)
    check_equal(ed.model, hand, x)


def test_replace_keeps_keyword_arguments_and_states() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    enc = layers.LSTM(4, return_state=True, return_sequences=True, activation="relu", name="enc")
    ed = (
        Editor(model)
        .replace("enc", enc)
        .replace("dec", layers.LSTM(4, return_sequences=True, go_backwards=True, name="dec"))
    )
    source, target = keras.Input((5, 3)), keras.Input((4, 3))
    all_, h, c = layers.LSTM(
        4, return_state=True, return_sequences=True, activation="relu", name="enc"
    )(source)
    dec = layers.LSTM(4, return_sequences=True, go_backwards=True, name="dec")(
        target, initial_state=[h, c]
    )
    outputs = [layers.Dense(2, name="top")(dec), layers.GlobalAveragePooling1D()(all_)]
    check_equal(ed.model, give(keras.Model([source, target], outputs), model), x)


def test_replace_one_call_of_a_shared_layer_keeps_the_others() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    ed = Editor(model).replace("tower", layers.Rescaling(2.0), call=0)
    left, right = keras.Input((4,)), keras.Input((4,))
    t = layers.Dense(4, activation="tanh", name="tower")
    if _tower_calls(model)[0] == "left":
        third, second = t(left * 2.0), t(right)
    else:
        third, second = t(t(left)), right * 2.0
    hand = give(keras.Model([left, right], layers.Concatenate()([third, second])), model)
    check_equal(ed.model, hand, x)


def test_replace_a_shared_layer_everywhere_stays_shared() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    ed = Editor(model).replace("tower", layers.Dense(4, activation="sigmoid", name="tower"))
    left, right = keras.Input((4,)), keras.Input((4,))
    t = layers.Dense(4, activation="sigmoid", name="tower")
    hand = give(keras.Model([left, right], layers.Concatenate()([t(t(left)), t(right)])), model)
    check_equal(ed.model, hand, x)
    assert len(ed.model.weights) == 2


def test_replace_several() -> None:
    model = models.cnn()
    ed = Editor(model).replace(layers.ReLU, layers.LeakyReLU(negative_slope=0.5))
    names = [view.name for view in ed.layers if view.class_name == "LeakyReLU"]
    assert names == ["leaky_re_lu", "leaky_re_lu_1", "leaky_re_lu_2", "leaky_re_lu_3"]
    h = i = keras.Input((8, 8, 3))
    for block in (1, 2, 3, 4):
        h = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv")(h)
        h = layers.BatchNormalization(name=f"block{block}_bn")(h)
        h = layers.LeakyReLU(negative_slope=0.5)(h)
    h = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(h))
    hand = give(keras.Model(i, layers.Dense(3, name="head")(h)), model)
    check_equal(ed.model, hand, data(2, 8, 8, 3))


# -- trim ----------------------------------------------------------------------------------------


def test_trim_to_a_layer() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    assert sorted(ed.preview.trim("b").dropped) == ["add", "c", "top"]
    ed.trim("b")
    check_equal(ed.model, keras.Model(model.inputs, model.get_layer("b").output), [x])


def test_trim_by_count_counts_layers() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).trim(2)
    assert [la.name for la in ed.model.layers] == ["a", "drop", "b"]
    assert type(ed.model) is keras.Sequential
    check_equal(ed.model, keras.Sequential(model.layers[:3]), x)
    raw = models.raw_ops()
    ed = Editor(raw).trim(1)  # `top`, and no op before it
    check_equal(ed.model, keras.Model(raw.input, raw.get_layer("top").input), data(3, 3, 4))


@pytest.mark.parametrize("count", [0, -1, 5, 6, 100])
def test_trim_of_too_much(count: int) -> None:
    ed = Editor(models.chain())
    with pytest.raises(TargetError):
        ed.trim(count)
    assert ed.history == ()


def test_trim_of_several_branches_asks_for_a_name() -> None:
    with pytest.raises(StructureError, match="branches"):
        Editor(models.fork()).trim(2)


def test_trim_to_a_layer_inside_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).trim("backbone/bn")
    backbone = model.get_layer("backbone")
    check_equal(ed.model, keras.Model(backbone.inputs, backbone.get_layer("bn").output), x)
    assert [view.path for view in ed.layers] == [
        "x",
        "backbone",
        "backbone/back_in",
        "backbone/conv1",
        "backbone/bn",
    ]


def test_trim_to_an_op() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).trim("multiply")
    a = model.get_layer("a")
    hand = keras.Model(model.input, (a.output + model.input) * 2.0)
    check_equal(ed.model, hand, x)


def test_trim_one_of_several_outputs() -> None:
    model, x = models.two_ways(), [data(3, 3), data(3, 4)]
    ed = Editor(model).trim("r1")
    assert [i.name for i in ed.model.inputs] == ["right"]
    hand = keras.Model(model.inputs[1], model.get_layer("r1").output)
    assert same(out(ed.model, [x[1]]), out(hand, x[1]))


# -- rename --------------------------------------------------------------------------------------


def test_rename() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).rename("b", "bee").rename("top", "head")
    check_equal(ed.model, model, x)
    assert [la.name for la in ed.model.layers] == ["x", "a", "bee", "c", "add", "head"]
    assert ed.model.output_names == ["head"]
    assert [la.name for la in model.layers] == ["x", "a", "b", "c", "add", "top"]
    with pytest.raises(NameTaken, match="'c'"):
        ed.rename("bee", "c")
    assert ed.report == ()
    ed.remove("bee").rename("c", "bee")  # a freed name can be taken
    assert [la.name for la in ed.model.layers] == ["x", "a", "bee", "add", "head"]


def test_rename_inside_is_free_to_use_an_outer_name() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).rename("backbone/conv1", "head").rename("backbone", "spine")
    check_equal(ed.model, model, x)
    assert ed.find("spine/head") == ["spine/head"]
    assert ed.model.get_layer("spine").get_layer("head").units == 5


@pytest.mark.parametrize("name", ["", "  ", "a/b", None, 3])
def test_names_that_are_none(name: Any) -> None:
    ed = Editor(models.chain())
    with pytest.raises(EditError):
        ed.rename("a", name)
    assert ed.history == ()


# -- shapes that no longer fit -------------------------------------------------------------------


def test_on_mismatch_error_names_weight_and_shapes() -> None:
    ed = Editor(models.chain())
    before = models.state_of(ed)
    with pytest.raises(ShapeMismatch, match=r"'b/kernel' has shape \(5, 5\).*\(4, 5\)"):
        ed.remove("a")
    assert models.state_of(ed) == before
    with pytest.raises(EditError, match="on_mismatch"):
        ed.remove("a", on_mismatch="ignore")  # pyright: ignore


def test_on_mismatch_reinit_builds_afresh_what_the_plan_names() -> None:
    model = models.chain()
    ed = Editor(model)
    plan = ed.preview.remove("a", on_mismatch="reinit")
    assert plan.reinitialized == ("b/kernel",)
    assert plan.sliced == ()
    ed.remove("a", on_mismatch="reinit")
    old, new = models.weights_of(model), models.weights_of(ed.model)
    assert new["b/kernel"].shape == (4, 5)
    for name, value in new.items():
        if name != "b/kernel":
            assert same(value, old[name]), name


def test_on_mismatch_slice_keeps_what_overlaps() -> None:
    model = models.chain()
    ed = Editor(model).remove("a", on_mismatch="slice")
    old, new = models.weights_of(model), models.weights_of(ed.model)
    assert same(new["b/kernel"], old["b/kernel"][:4])
    for name, value in new.items():
        if name != "b/kernel":
            assert same(value, old[name]), name


def test_on_mismatch_goes_on_downstream_and_no_further() -> None:
    model = models.two_ways()
    ed = Editor(model)
    plan = ed.preview.insert(layers.Dense(7, name="wide"), before="r1", on_mismatch="slice")
    assert plan.sliced == ("r1/kernel",)
    assert plan.shape_changes == ()
    ed.insert(layers.Dense(7, name="wide"), before="r1", on_mismatch="slice")
    old, new = models.weights_of(model), models.weights_of(ed.model)
    assert same(new["r1/kernel"][:4], old["r1/kernel"])
    for name in set(old) - {"r1/kernel"}:
        assert same(new[name], old[name]), name


def test_a_layer_that_cannot_take_the_shape_at_all() -> None:
    ed = Editor(models.cnn())
    before = models.state_of(ed)
    with pytest.raises(ShapeMismatch, match=r"'block2_conv'.*\(None, 4\)"):
        ed.insert(layers.GlobalAveragePooling2D(), after="block1_relu")
    with pytest.raises(ShapeMismatch, match="'add'"):
        Editor(models.fork()).replace("b", layers.Dense(7), on_mismatch="reinit")
    assert models.state_of(ed) == before


def test_a_nested_model_that_is_given_another_shape() -> None:
    ed = Editor(models.nested())
    with pytest.raises(
        ShapeMismatch, match=r"'backbone/conv1/kernel' has shape \(4, 5\).*\(6, 5\)"
    ):
        ed.insert(layers.Dense(6), after="x")
    old = ed.model.get_layer("backbone").get_layer("conv1").get_weights()
    ed.insert(layers.Dense(6), after="x", on_mismatch="slice")
    new = ed.model.get_layer("backbone").get_layer("conv1").get_weights()
    assert same(new[0][:4], old[0]) and same(new[1], old[1])
    assert ed.model.get_layer("backbone").input_shape == (None, 6)


def test_a_shape_that_changes_inside_a_nested_model_changes_what_follows() -> None:
    model = models.nested()
    ed = Editor(model)
    plan = ed.preview.replace("backbone/conv2", layers.Dense(7), on_mismatch="slice")
    assert ("backbone", (None, 5), (None, 7)) in plan.shape_changes
    assert ("drop", (None, 5), (None, 7)) in plan.shape_changes
    assert plan.sliced == ("head/kernel",)
    ed.replace("backbone/conv2", layers.Dense(7), on_mismatch="slice")
    kernel, bias = ed.model.get_layer("head").get_weights()
    assert same(kernel[:5], model.get_layer("head").get_weights()[0])
    assert same(bias, model.get_layer("head").get_weights()[1])
    assert ed.model.output_shape == (None, 2)


# -- what is left --------------------------------------------------------------------------------


def test_inputs_cannot_be_removed_or_replaced() -> None:
    ed = Editor(models.chain())
    with pytest.raises(StructureError, match="'x' is an input"):
        ed.remove("x")
    with pytest.raises(StructureError, match="'x' is an input"):
        ed.replace("x", layers.ReLU())
    with pytest.raises(StructureError, match="'x' is an input"):
        ed.insert(layers.ReLU(), before="x")
    with pytest.raises(StructureError, match="'x' is an input"):
        ed.trim("x")
    assert ed.history == ()


def test_a_pattern_passes_over_inputs() -> None:
    model = models.chain()
    ed = Editor(model).remove("[xd]*")  # the input, and the dropout
    assert [view.path for view in ed.layers] == ["x", "a", "b", "norm", "c"]
    models.refused(ed, StructureError, "'x' is an input", lambda e: e.remove("x*"))


def test_something_must_be_left() -> None:
    model = keras.Sequential([keras.Input((3,), name="x"), layers.Dense(3, name="only")])
    ed = Editor(model)
    with pytest.raises(StructureError, match="at least one"):
        ed.remove("only")
    with pytest.raises(StructureError):
        ed.remove("**")
    assert [view.path for view in ed.layers] == ["x", "only"]


# -- the handed-out model is an ordinary one -----------------------------------------------------


def _edits() -> dict[str, Any]:
    return {
        "chain": lambda ed: ed.remove("drop").insert(models.Scale(), after="a"),
        "fork": lambda ed: ed.insert(layers.Dense(5), before="b").remove("c"),
        "dicts": lambda ed: ed.insert(layers.ReLU(), after="trunk"),
        "shared": lambda ed: ed.insert(layers.ReLU(), after="tower"),
        "nested": lambda ed: ed.remove("backbone/bn"),
        "raw_ops": lambda ed: ed.insert(layers.ReLU(), after="add"),
        "attention": lambda ed: ed.insert(layers.ReLU(), after="k"),
        "masked": lambda ed: ed.remove("drop"),
        "seq2seq": lambda ed: ed.insert(layers.ReLU(), after="dec"),
        "functional_subclass": lambda ed: ed.remove("drop"),
        "sequential_subclass": lambda ed: ed.remove("drop"),
    }


@pytest.mark.parametrize("name", list(_edits()))
def test_an_edited_model_is_an_ordinary_one(name: str) -> None:
    build, batch = ZOO[name]
    model, x = build(), batch()
    before = fingerprint(model)
    ed = Editor(model)
    _edits()[name](ed)
    copy = ed.model
    # Its layers' outputs belong to its own graph.
    for layer in copy.layers:
        if len(layer._inbound_nodes) == 1 and not isinstance(
            layer, (layers.InputLayer, keras.Model)
        ):
            part = keras.Model(copy.inputs, layer.output)
            assert all(np.all(np.isfinite(o)) for o in out(part, flat_inputs(copy, x)))
    again = models.rebuilt(copy)
    assert same(again.predict(x, verbose=0), copy.predict(x, verbose=0))
    clone = keras.models.clone_model(copy)
    clone.set_weights(copy.get_weights())
    assert same(out(clone, x), out(copy, x))
    assert fingerprint(model) == before


def flat_inputs(model: keras.Model, x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [x[tensor.name] for tensor in model.inputs]
    return models.flat(x)


def test_each_layers_output_is_what_the_source_puts_out_there() -> None:
    model, x = models.fork(), data(3, 4)
    copy = Editor(model).insert(layers.Rescaling(2.0), after="add").model
    for name in ("a", "b", "c", "add"):
        ours = keras.Model(copy.inputs, copy.get_layer(name).output)
        theirs = keras.Model(model.inputs, model.get_layer(name).output)
        assert same(out(ours, [x]), out(theirs, [x]))


# -- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["functional_subclass", "sequential_subclass"])
def test_a_subclass_keeps_its_class_until_a_structural_edit(name: str) -> None:
    build, batch = ZOO[name]
    model, x = build(), batch()
    ed = Editor(model).freeze("a")
    assert type(ed.model) is type(model)
    assert same(ed.model.twice(x), model.twice(x))  # pyright: ignore
    ed.remove("drop")
    plain = keras.Sequential if name == "sequential_subclass" else type(keras.Model(*_io()))
    assert type(ed.model) is plain
    assert same(out(ed.model, x), out(model, x))
    ed.undo()
    assert type(ed.model) is type(model)
    assert same(ed.model.twice(x), model.twice(x))  # pyright: ignore


def _io() -> tuple[Any, Any]:
    i = keras.Input((1,))
    return i, layers.ReLU()(i)


def test_a_sequential_that_is_no_chain_any_more() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).insert(lambda t: t + layers.Rescaling(0.5, name="half")(t), after="a")
    assert not isinstance(ed.model, keras.Sequential)
    h = model.layers[0](x)
    h = h + h * 0.5
    for layer in model.layers[1:]:
        h = layer(h)
    assert same(out(ed.model, x), [np.asarray(h)])
    assert type(ed.undo().model) is keras.Sequential


def test_shared_weights_stay_shared() -> None:
    model = models.shared()
    ed = Editor(model).insert(layers.ReLU(), after="cat")
    assert len(ed.model.weights) == 2
    assert ed.model.count_params() == model.count_params()


def test_a_layer_shared_between_levels_stays_shared() -> None:
    tied = layers.Dense(4, name="tied")
    y = keras.Input((4,))
    inner = keras.Model(y, tied(y), name="inner")
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, layers.ReLU(name="r")(tied(inner(x)))))
    ed = Editor(model).insert(layers.Rescaling(2.0), after="inner")
    assert len(ed.model.weights) == 2
    batch = data(2, 4)
    check_equal(ed.model, keras.Model(x, layers.ReLU()(tied(inner(x) * 2.0))), batch)
    assert ed.model.get_layer("tied") is ed.model.get_layer("inner").get_layer("tied")
