"""Skip connections, branches, inputs and outputs, each against a model written by hand, to the bit."""

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
from tests.models import ZOO, check_equal, data, fingerprint, give, out, refused, same


def paths(ed: Editor) -> list[str]:
    return [view.path for view in ed.layers]


def dense(name: str, units: int = 5, **options: Any) -> layers.Dense:
    return layers.Dense(units, name=name, **options)


def fork_by_hand(model: keras.Model, wire: Callable[..., Any]) -> keras.Model:
    """The layers of `models.fork()` wired otherwise: `wire(x, a, b, c, top)` gives the output."""
    x = keras.Input((4,), name="x")
    named = [
        dense("a", activation="tanh"),
        dense("b", activation="relu"),
        dense("c", activation="sigmoid"),
        dense("top", 2),
    ]
    return give(keras.Model(x, wire(x, *named)), model)


# -- connect -------------------------------------------------------------------------------------


def test_connect_merges_into_the_one_input() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.connect("a", "top", merge=layers.Add(name="skip"))
    assert plan.ok and not plan.shape_changes and not plan.dropped and not plan.reinitialized
    assert plan.params_before == plan.params_after == model.count_params()
    assert ed.connect("a", "top", merge=layers.Add(name="skip")) is ed

    def wire(x: Any, a: Any, b: Any, c: Any, top: Any) -> Any:
        a = a(x)
        return top(layers.Add()([layers.Add()([b(a), c(a)]), a]))

    check_equal(ed.model, fork_by_hand(model, wire), x)
    assert paths(ed) == ["x", "a", "b", "c", "add", "skip", "top"]
    check_equal(ed.undo().model, model, x)
    check_equal(ed.redo().model, fork_by_hand(model, wire), x)


def test_connect_puts_what_was_there_first() -> None:
    """`Subtract` tells the order."""
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    for source, into in (("a", "b"), ("x", "a")):
        ed.connect(source, into, merge=layers.Subtract(name="subtract"))

    def wire(x: Any, a: Any, b: Any, c: Any, top: Any) -> Any:
        a = a(layers.Subtract()([x, x]))
        return top(layers.Add()([b(layers.Subtract()([a, a])), c(a)]))

    check_equal(ed.model, fork_by_hand(model, wire), x)
    assert [v.path for v in ed.layers if v.class_name == "Subtract"] == ["subtract_1", "subtract"]


def test_connect_into_one_input_of_a_merge() -> None:
    model, x = models.fork(), data(3, 4)
    for which, branch in {0: "b", 1: "c", "b": "b", "c": "c"}.items():
        ed = Editor(model).connect("a", "add", merge=layers.Multiply(name="m"), input=which)

        def wire(x: Any, a: Any, b: Any, c: Any, top: Any, branch: str = branch) -> Any:
            a = a(x)
            two = {"b": b(a), "c": c(a)}
            two[branch] = layers.Multiply()([two[branch], a])
            return top(layers.Add()([two["b"], two["c"]]))

        check_equal(ed.model, fork_by_hand(model, wire), x)
    ed = Editor(model).connect("a", "add", merge=layers.Multiply(name="m"), input="c")
    refused(
        ed,
        StructureError,
        r"input=.*0: 'b', 1: 'm'",
        lambda e: e.connect("a", "add", merge=layers.Add()),
    )


def test_connect_by_concatenation_changes_what_follows() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    refused(
        ed,
        ShapeMismatch,
        r"'top/kernel' has shape \(5, 2\) and would need \(10, 2\)",
        lambda e: e.connect("a", "top", merge=layers.Concatenate(name="cat")),
    )
    plan = ed.preview.connect("a", "top", merge=layers.Concatenate(name="cat"), on_mismatch="slice")
    assert plan.sliced == ("top/kernel",)
    assert plan.params_after == model.count_params() + 10
    ed.connect("a", "top", merge=layers.Concatenate(name="cat"), on_mismatch="slice")
    old, new = model.get_layer("top").get_weights(), ed.model.get_layer("top").get_weights()
    assert same(new[0][:5], old[0]) and same(new[1], old[1])
    mid = keras.Model(model.input, [model.get_layer("add").output, model.get_layer("a").output])
    both = np.concatenate(out(mid, x), -1)
    assert same(out(ed.model, x), ed.model.get_layer("top")(both))


def test_connect_from_an_input_and_from_an_op() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).connect("x", "relu", merge=layers.Add(name="s1"))
    ed.connect("multiply", "get_item", merge=layers.Add(name="s2"))
    i = keras.Input((3, 4))
    t = (dense("a", 4)(i) + i) * 2.0
    u = ops.relu(layers.Add()([t, i]))
    hand = give(keras.Model(i, dense("top", 2)(layers.Add()([u, t])[:, 0])), model)
    check_equal(ed.model, hand, x)


def test_connect_into_a_raw_op() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    ed = Editor(model).connect("x", "add", input="a", merge=layers.Average())
    i = keras.Input((3, 4))
    t = layers.Average()([dense("a", 4)(i), i]) + i
    hand = give(keras.Model(i, dense("top", 2)(ops.relu(t * 2.0)[:, 0])), model)
    check_equal(ed.model, hand, x)


def test_connect_into_a_shared_layer_merges_at_each_call_or_at_one() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]

    def hand(wire: Callable[..., Any]) -> keras.Model:
        left, right = keras.Input((4,)), keras.Input((4,))
        tower = dense("tower", 4, activation="tanh")
        outputs = layers.Concatenate()(wire(tower, left, right, layers.Add()))
        return give(keras.Model([left, right], outputs), model)

    ed = Editor(model).connect("right", "tower", merge=layers.Add(name="both"))

    def everywhere(t: Any, a: Any, b: Any, add: Any) -> list[Any]:
        first, second = t(add([a, b])), t(add([b, b]))
        return [t(add([first, b])), second]

    check_equal(ed.model, hand(everywhere), x)
    assert paths(ed).count("both") == 1
    taken = _sources(model)
    wires: dict[str, Any] = {
        "left": lambda t, a, b, add: [t(t(add([a, b]))), t(b)],
        "right": lambda t, a, b, add: [t(t(a)), t(add([b, b]))],
        "own": lambda t, a, b, add: [t(add([t(a), b])), t(b)],
    }
    for call, source in enumerate(taken):
        ed = Editor(model).connect("right", "tower", merge=layers.Add(), call=call)
        check_equal(ed.model, hand(wires[source]), x)


def _sources(model: keras.Model) -> list[str]:
    """What the calls of `shared()`'s tower take, in data order."""
    net = (graph := Editor(model).graph).net
    (tower,) = [i for i, spec in graph.layers.items() if spec.name == "tower"]
    names = [graph.layers[net.by_id[c.refs[0].call].layer].name for c in net.calls_of[tower]]
    return ["own" if name == "tower" else name for name in names]


def test_connect_inside_a_nested_model() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).connect("backbone/conv1", "backbone/conv2", merge=layers.Add(name="s"))
    y = keras.Input((4,))
    h1 = dense("conv1", activation="tanh")(y)
    h = layers.BatchNormalization(name="bn")(h1)
    z = keras.Input((5,))
    h = keras.Model(z, dense("dense", activation="relu")(z), name="inner")(h)
    backbone = keras.Model(y, dense("conv2")(layers.Add()([h, h1])), name="backbone")
    i = keras.Input((4,))
    hand = give(keras.Model(i, dense("head", 2)(backbone(i))), model)
    check_equal(ed.model, hand, x)
    deep = Editor(model)
    refused(
        deep,
        StructureError,
        "same model.*inline",
        lambda e: e.connect("backbone/conv1", "head", merge=layers.Add()),
    )
    refused(
        deep,
        StructureError,
        "same model",
        lambda e: e.connect("backbone/conv1", "backbone/inner/dense", merge=layers.Add()),
    )


def test_connect_in_a_sequential_makes_it_functional_and_undo_brings_it_back() -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).connect("a", "c", merge=layers.Add(name="skip"))
    assert not isinstance(ed.model, keras.Sequential)
    a, b, norm, c = (model.get_layer(n) for n in ("a", "b", "norm", "c"))
    h = a(x)
    assert same(out(ed.model, x), c(layers.Add()([norm(b(h)), h])))
    assert type(ed.undo().model) is keras.Sequential


def test_connect_keeps_masks_going() -> None:
    model, x = models.masked(), ZOO["masked"][1]()
    ed = Editor(model).connect("embed", "lstm1", merge=layers.Add(name="s"))
    tokens = keras.Input((6,), dtype="int32")
    e = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    h = layers.Add()([layers.Dropout(0.2)(e), e])
    h = layers.LSTM(5, return_sequences=True, name="lstm1")(h)
    hand = give(keras.Model(tokens, dense("top", 2)(layers.GRU(3, name="gru")(h))), model)
    check_equal(ed.model, hand, x)


def test_connect_into_a_keyword_argument() -> None:
    model, x = models.attention(), ZOO["attention"][1]()
    ed = Editor(model).connect("v", "mha", input="k", merge=layers.Add(name="s"))
    q, v = keras.Input((3, 4)), keras.Input((5, 4))
    k = layers.Add()([dense("k", 4)(v), v])
    m = layers.MultiHeadAttention(2, 3, name="mha")(q, value=v, key=k)
    h = layers.LayerNormalization(name="norm")(layers.Add()([q, m]))
    check_equal(ed.model, give(keras.Model([q, v], dense("top", 2)(h)), model), x)


def test_connect_from_a_layer_with_several_outputs_takes_the_first() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    ed = Editor(model).connect("enc", "mean", merge=layers.Add())
    got, old = out(ed.model, x), out(model, x)
    assert same(got[0], old[0])
    np.testing.assert_allclose(got[1], old[1] * 2, rtol=1e-6)


def test_connect_of_a_trained_merge_layer_keeps_its_weights() -> None:
    """A merge layer may be one's own."""

    class Weighted(layers.Layer):
        def build(self, shapes: Any) -> None:
            self.share = self.add_weight(shape=(), name="share", initializer="zeros")

        def call(self, inputs: Any) -> Any:
            return inputs[0] + self.share * inputs[1]

        def compute_output_shape(self, shapes: Any) -> Any:
            return shapes[0]

    model, x = models.fork(), data(3, 4)
    merge = Weighted(name="weighted")
    merge.build([(None, 5), (None, 5)])
    merge.share.assign(0.25)
    ed = Editor(model).connect("a", "top", merge=merge)
    a, add, top = (model.get_layer(n) for n in ("a", "add", "top"))
    mid = keras.Model(model.input, [add.output, a.output])
    assert same(out(ed.model, x), top(merge(mid(x))))
    assert len(ed.model.weights) == len(model.weights) + 1
    merge.share.assign(9.0)
    assert float(ed.model.get_layer("weighted").share) == 0.25


def test_a_functional_subclass_becomes_plain_with_a_warning() -> None:
    model, x = models.functional_subclass(), data(3, 4)
    with pytest.warns(UserWarning, match="'own' becomes a plain model"):
        ed = Editor(model).connect("a", "b", merge=layers.Multiply())
    a, b = model.get_layer("a"), model.get_layer("b")
    assert same(out(ed.model, x), b(layers.Multiply()([a(x), a(x)])))
    assert type(ed.undo().model) is type(model)


BAD_CONNECTIONS: dict[str, tuple[Callable[[Any], Any], type[EditError], str]] = {
    "a circle": (
        lambda e: e.connect("top", "b", merge=layers.Add()),
        StructureError,
        "'top' dep.*'b'",
    ),
    "itself": (lambda e: e.connect("b", "b", merge=layers.Add()), StructureError, "circle"),
    "unknown": (lambda e: e.connect("aa", "b", merge=layers.Add()), TargetError, "'a'"),
    "several": (lambda e: e.connect("[bc]", "top", merge=layers.Add()), TargetError, "b, c"),
    "several into": (lambda e: e.connect("a", "[bc]", merge=layers.Add()), TargetError, "b, c"),
    "an input": (lambda e: e.connect("a", "x", merge=layers.Add()), StructureError, "circle"),
    "no such call": (
        lambda e: e.connect("a", "b", merge=layers.Add(), call=2),
        TargetError,
        "call 2",
    ),
    "no such input": (
        lambda e: e.connect("a", "b", merge=layers.Add(), input=1),
        TargetError,
        "input 1",
    ),
    "shapes": (
        lambda e: e.connect("x", "top", merge=layers.Add(name="s")),
        ShapeMismatch,
        r"'s'.*\(None, 5\), \(None, 4\)",
    ),
    "no merge": (
        lambda e: e.connect("a", "top", merge=layers.Dense(3, name="d")),
        ShapeMismatch,
        "'d'",
    ),
    "a function": (lambda e: e.connect("a", "top", merge=lambda t: t), EditError, r"layers\.Add"),
    "layers": (
        lambda e: e.connect("a", "top", merge=[layers.Add(), layers.ReLU()]),
        EditError,
        r"layers\.Add",
    ),
    "a model": (lambda e: e.connect("a", "top", merge=models.chain()), EditError, r"layers\.Add"),
    "an unbuilt model": (
        lambda e: e.connect("a", "top", merge=keras.Sequential([layers.Add()])),
        EditError,
        r"layers\.Add",
    ),
    "a class": (
        lambda e: e.connect("a", "top", merge=layers.Add),
        EditError,
        r"layers\.Add\(\.\.\.\)",
    ),
    "a name": (lambda e: e.connect("a", "top", merge=layers.Add(name="b")), NameTaken, "'b'"),
    "policy": (
        lambda e: e.connect("a", "b", merge=layers.Add(), on_mismatch="no"),
        EditError,
        "'no'",
    ),
}


@pytest.mark.parametrize("name", BAD_CONNECTIONS)
def test_connections_that_cannot_be(name: str) -> None:
    act, kind, match = BAD_CONNECTIONS[name]
    refused(Editor(models.fork()), kind, match, act)


def test_an_input_is_connected_to_nothing() -> None:
    ed = Editor(models.two_ways())
    refused(
        ed,
        StructureError,
        "'left' is an input",
        lambda e: e.connect("right", "left", merge=layers.Add()),
    )


# -- branches ------------------------------------------------------------------------------------


def test_add_branch() -> None:
    model, x = models.fork(), data(3, 4)
    new = models.scramble(keras.Sequential([keras.Input((5,)), dense("n1", 3), dense("n2", 5)]))
    block = [new.get_layer("n1"), layers.ReLU(name="r"), new.get_layer("n2")]
    ed = Editor(model).add_branch(block, source="a", into="top", merge=layers.Add(name="joined"))

    def wire(x: Any, a: Any, b: Any, c: Any, top: Any) -> Any:
        a = a(x)
        branch = dense("n2", 5)(layers.ReLU()(dense("n1", 3)(a)))
        return top(layers.Add()([layers.Add()([b(a), c(a)]), branch]))

    hand = give(fork_by_hand(model, wire), new)
    check_equal(ed.model, hand, x)
    assert paths(ed) == ["x", "a", "n1", "r", "n2", "b", "c", "add", "joined", "top"]


def test_add_branch_of_a_function_and_of_a_model() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    ed.add_branch(lambda t: layers.ReLU()(t * 2.0), source="a", into="b", merge=layers.Add())
    inner = models.scramble(keras.Sequential([keras.Input((5,)), dense("d", 5)], name="inner"))
    ed.add_branch(inner, source="b", into="add", input="c", merge=layers.Multiply())

    def wire(x: Any, a: Any, b: Any, c: Any, top: Any) -> Any:
        a = a(x)
        b = b(layers.Add()([a, ops.relu(a * 2.0)]))
        return top(layers.Add()([b, layers.Multiply()([c(a), inner(b)])]))

    check_equal(ed.model, fork_by_hand(model, wire), x)
    assert "inner/d" in paths(ed)


def test_branch_and_merge_of_one_class_get_names_of_their_own() -> None:
    model = models.fork()
    ed = Editor(model).add_branch(
        layers.Activation("tanh"), source="a", into="top", merge=layers.Add()
    )
    ed.add_branch(layers.Reshape((5,)), source="a", into="top", merge=layers.Add())
    assert [p for p in paths(ed) if p.startswith("add")] == ["add", "add_1", "add_2"]
    same_name = [layers.ReLU(name="same"), layers.Add(name="same")]
    refused(
        ed,
        NameTaken,
        "'same'",
        lambda e: e.add_branch(same_name[0], source="a", into="top", merge=same_name[1]),
    )


def test_add_branch_at_a_shared_layer_is_one_branch() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    branch = models.scramble(keras.Sequential([keras.Input((4,)), dense("n", 4)])).layers[0]
    ed = Editor(model).add_branch(branch, source="right", into="tower", merge=layers.Add(name="m"))
    left, right = keras.Input((4,)), keras.Input((4,))
    tower, n = dense("tower", 4, activation="tanh"), dense("n", 4)
    side = n(right)
    first, second = (tower(layers.Add()([t, side])) for t in (left, right))
    third = tower(layers.Add()([first, side]))
    hand = keras.Model([left, right], layers.Concatenate()([third, second]))
    give(hand, model).get_layer("n").set_weights(branch.get_weights())
    check_equal(ed.model, hand, x)


def test_add_branch_that_cannot_be() -> None:
    ed = Editor(models.fork())
    refused(
        ed,
        StructureError,
        "circle",
        lambda e: e.add_branch(layers.ReLU(), source="top", into="a", merge=layers.Add()),
    )
    refused(
        ed,
        ShapeMismatch,
        r"'m'.*\(None, 5\), \(None, 3\)",
        lambda e: e.add_branch(layers.Dense(3), source="a", into="top", merge=layers.Add(name="m")),
    )
    refused(
        ed,
        EditError,
        "cannot be called",
        lambda e: e.add_branch(lambda t: t @ 3, source="a", into="top", merge=layers.Add()),
    )
    refused(
        ed,
        EditError,
        r"layers\.Add",
        lambda e: e.add_branch(layers.ReLU(), source="a", into="top", merge=lambda t: t),
    )


# -- disconnect ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "left"), [("b", "c"), ("c", "b")])
def test_disconnect_leaves_a_merge_of_one_out(gone: str, left: str) -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.disconnect(gone, "add")
    assert plan.dropped == (gone,)
    assert plan.params_after == model.count_params() - model.get_layer(gone).count_params()
    ed.disconnect(gone, "add")
    hand = fork_by_hand(model, lambda x, a, b, c, top: top({"b": b, "c": c}[left](a(x))))
    check_equal(ed.model, hand, x)
    assert paths(ed) == ["x", "a", left, "top"]
    check_equal(ed.undo().model, model, x)


def test_disconnect_is_the_reverse_of_connect() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model).connect("a", "top", merge=layers.Add()).disconnect("a", "top")
    check_equal(ed.model, model, x)
    assert paths(ed) == paths(Editor(model))
    chain = Editor(models.chain()).connect("a", "c", merge=layers.Add()).disconnect("a", "c")
    assert same(out(chain.model, x), out(chain.source, x))


def test_disconnect_one_of_three() -> None:
    x = keras.Input((4,), name="x")
    three = [dense(n, 3)(x) for n in "pqr"]
    model = models.scramble(keras.Model(x, dense("d", 2)(layers.Concatenate(name="cat")(three))))
    ed, batch = Editor(model), data(2, 4)
    refused(
        ed,
        ShapeMismatch,
        r"'d/kernel' has shape \(9, 2\) and would need \(6, 2\)",
        lambda e: e.disconnect("q", "cat"),
    )
    plan = ed.preview.disconnect("q", "cat", on_mismatch="slice")
    assert plan.sliced == ("d/kernel",) and plan.dropped == ("q",)
    assert plan.shape_changes == (("cat", (None, 9), (None, 6)),)
    ed.disconnect("q", "cat", on_mismatch="slice")
    p, r = (model.get_layer(n)(batch) for n in "pr")
    kernel, bias = model.get_layer("d").get_weights()
    assert same(ed.model.get_layer("d").get_weights(), [kernel[:6], bias])
    assert same(out(ed.model, batch), ed.model.get_layer("d")(ops.concatenate([p, r], -1)))
    ed.disconnect("p", "cat", on_mismatch="slice")
    assert paths(ed) == ["x", "r", "d"]


def test_disconnect_a_raw_op() -> None:
    model, x = models.raw_ops(), data(3, 3, 4)
    i = keras.Input((3, 4))
    for source, t in (("x", lambda i, a: a(i)), ("a", lambda i, a: i)):
        ed = Editor(model).disconnect(source, "add")
        hand = keras.Model(i, dense("top", 2)(ops.relu(t(i, dense("a", 4)) * 2.0)[:, 0]))
        check_equal(ed.model, give(hand, model), x)


def test_disconnect_of_a_raw_concatenation() -> None:
    x = keras.Input((4,), name="x")
    three = [dense(n, 3)(x) for n in "pqr"]
    model = models.scramble(keras.Model(x, ops.concatenate(three, -1)))
    batch = data(2, 4)
    (op,) = [view.path for view in Editor(model).layers if view.kind == "op"]
    ed = Editor(model).disconnect("q", op)
    assert same(out(ed.model, batch), np.delete(out(model, batch)[0], [3, 4, 5], -1))
    assert same(out(ed.disconnect("p", op).model, batch), out(model, batch)[0][:, 6:])


def test_disconnect_all_calls_of_a_shared_source() -> None:
    left, right, x = keras.Input((4,)), keras.Input((4,)), keras.Input((3,), name="x")
    tower, other = dense("tower", 3), dense("other", 3)
    merged = layers.Add(name="add")([tower(left), other(x), tower(right)])
    model = models.scramble(keras.Model([left, right, x], merged))
    ed = Editor(model)
    assert sorted(ed.preview.disconnect("tower", "add").dropped) == sorted(
        ["tower", left._keras_history.operation.name, right._keras_history.operation.name]
    )
    ed.disconnect("tower", "add")
    batch = data(2, 3)
    assert same(out(ed.model, [batch]), model.get_layer("other")(batch))


def test_disconnect_from_a_merge_that_is_called_twice() -> None:
    x = keras.Input((4,), name="x")
    a, b, add = dense("a", 3)(x), dense("b", 3)(x), layers.Add(name="add")
    model = models.scramble(keras.Model(x, add([add([a, b]), a])))
    batch = data(2, 4)
    assert same(out(Editor(model).disconnect("a", "add").model, batch), model.get_layer("b")(batch))
    twice = Editor(model).disconnect("b", "add").model
    h = model.get_layer("a")(batch)
    assert same(out(twice, batch), h + h)


def test_disconnect_inside_a_nested_model() -> None:
    y = keras.Input((4,))
    block = keras.Model(y, layers.Add(name="add")([dense("d", 4)(y), y]), name="block")
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, dense("top", 2)(block(block(x)))))
    ed, batch = Editor(model), data(3, 4)
    refused(
        ed,
        StructureError,
        "Nothing would be left of the model 'block'",
        lambda e: e.disconnect("block/d", "block/add"),
    )
    d = block.get_layer("d")
    ed.disconnect("block/" + block.layers[0].name, "block/add")
    assert same(out(ed.model, batch), model.get_layer("top")(d(d(batch))))


NOT_CONNECTED: dict[str, tuple[Callable[[Any], Any], type[EditError], str]] = {
    "no edge": (
        lambda e: e.disconnect("a", "add"),
        StructureError,
        "Nothing goes from 'a' to 'add'",
    ),
    "one tensor": (lambda e: e.disconnect("a", "b"), StructureError, "'b' takes nothing else"),
    "backwards": (lambda e: e.disconnect("add", "b"), StructureError, "Nothing goes"),
    "unknown": (lambda e: e.disconnect("a", "q"), TargetError, "'q'"),
    "several": (lambda e: e.disconnect("[bc]", "add"), TargetError, "b, c"),
}


@pytest.mark.parametrize("name", NOT_CONNECTED)
def test_connections_that_cannot_be_taken_away(name: str) -> None:
    act, kind, match = NOT_CONNECTED[name]
    refused(Editor(models.fork()), kind, match, act)


def test_what_needs_all_its_tensors_keeps_them() -> None:
    ed = Editor(models.attention())
    refused(
        ed,
        StructureError,
        r"'mha' \(MultiHeadAttention\) needs each of its 3",
        lambda e: e.disconnect("k", "mha"),
    )
    twice = Editor(models.fork()).connect("a", "b", merge=layers.Add(name="twice"))
    refused(twice, StructureError, "'twice' takes nothing else", lambda e: e.disconnect("a", "b"))


# -- set_input -----------------------------------------------------------------------------------


def pictures(pool: layers.Layer, *, normalized: bool = False) -> keras.Sequential:
    found = [keras.Input((8, 8, 3), name="image")]
    if normalized:
        found.append(layers.Rescaling(1 / 255, name="scale"))
    found += [layers.Conv2D(4, 3, name="conv"), pool, dense("head", 2)]
    return models.scramble(keras.Sequential(found, name="pictures"))


def test_set_input_of_a_convolutional_model() -> None:
    model = pictures(layers.GlobalAveragePooling2D(name="gap"))
    ed = Editor(model)
    plan = ed.preview.set_input((12, 10, 3))
    assert plan.ok and not plan.reinitialized and not plan.sliced
    assert ("conv", (None, 6, 6, 4), (None, 10, 8, 4)) in plan.shape_changes
    assert plan.params_after == model.count_params()
    ed.set_input((12, 10, 3))
    assert type(ed.model) is keras.Sequential
    assert ed.model.input_shape == (None, 12, 10, 3)
    assert ed.model.inputs[0].name == "image"
    assert same(ed.model.get_weights(), model.get_weights())
    x = data(2, 12, 10, 3)
    h = x
    for layer in model.layers:
        h = layer(h)
    assert same(out(ed.model, x), h)
    assert same(out(ed.undo().model, data(2, 8, 8, 3)), out(model, data(2, 8, 8, 3)))
    assert ed.set_input((None, None, 3)).model.input_shape == (None, None, None, 3)
    assert same(out(ed.model, x), h)


def test_set_input_before_a_flatten_changes_weights() -> None:
    model = pictures(layers.Flatten(name="flat"))
    ed = Editor(model)
    refused(
        ed,
        ShapeMismatch,
        r"'head/kernel' has shape \(144, 2\) and would need \(256, 2\)",
        lambda e: e.set_input((10, 10, 3)),
    )
    assert ed.preview.set_input((10, 10, 3)).mismatch
    plan = ed.preview.set_input((10, 10, 3), on_mismatch="reinit")
    assert plan.reinitialized == ("head/kernel",)
    ed.set_input((10, 10, 3), on_mismatch="reinit")
    assert ed.model.output_shape == (None, 2)
    old, new = models.weights_of(model), models.weights_of(ed.model)
    for name in ("conv/kernel", "conv/bias", "head/bias"):
        assert same(old[name], new[name])


def test_set_input_that_a_layer_cannot_take() -> None:
    ed = Editor(pictures(layers.GlobalAveragePooling2D()))
    refused(
        ed,
        ShapeMismatch,
        r"'conv/kernel' has shape \(3, 3, 3, 4\) and would need \(3, 3, 1, 4\)",
        lambda e: e.set_input((8, 8, 1)),
    )
    refused(ed, ShapeMismatch, r"'conv'.*\(None, 8\)", lambda e: e.set_input((8,)))
    refused(ed, ShapeMismatch, "'conv'", lambda e: e.set_input((2, 2, 3)))


def test_set_input_goes_into_nested_models() -> None:
    inner = pictures(layers.GlobalAveragePooling2D(name="gap"))
    x = keras.Input((8, 8, 3), name="x")
    deep = keras.Sequential([keras.Input((8, 8, 3)), inner], name="deep")
    model = models.scramble(keras.Model(x, dense("top", 2)(deep(x))))
    ed = Editor(model).set_input((9, 11, 3))
    batch = data(2, 9, 11, 3)
    h = batch
    for layer in (*inner.layers, model.get_layer("top")):
        h = layer(h)
    assert same(out(ed.model, batch), h)
    assert ed.model.get_layer("deep").get_layer("pictures").input_shape == (None, 9, 11, 3)
    assert same(ed.model.get_weights(), model.get_weights())


def test_set_input_of_a_nested_model_that_is_called_twice_is_refused() -> None:
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, layers.ReLU(name="r")(z), name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model([a, b], [inner(a), inner(b)])
    ed = Editor(model)
    refused(ed, ShapeMismatch, "'inner'", lambda e: e.set_input((6,), input="a"))


def test_set_input_of_one_of_several() -> None:
    model = models.two_ways()
    for which in (1, "right"):
        ed = Editor(model)
        plan = ed.preview.set_input((6,), input=which, on_mismatch="slice")
        assert plan.sliced == ("r1/kernel",)
        ed.set_input((6,), input=which, on_mismatch="slice")
        assert [t.shape for t in ed.model.inputs] == [(None, 3), (None, 6)]
        kernel, bias = model.get_layer("r1").get_weights()
        new = ed.model.get_layer("r1").get_weights()
        assert same([new[0][:4], new[1]], [kernel, bias])
    ed = Editor(model)
    refused(
        ed, StructureError, r"2 inputs.*input=.*0: 'left', 1: 'right'", lambda e: e.set_input((6,))
    )
    for bad in (2, -1, "both", "l1"):
        refused(ed, TargetError, "", lambda e, bad=bad: e.set_input((6,), input=bad))


def test_set_input_counts_in_the_order_of_the_models_inputs() -> None:
    b, a = keras.Input((3,), name="b"), keras.Input((4,), name="a")
    model = keras.Model([b, a], layers.Concatenate()([layers.ReLU()(a), b]))
    assert Editor(model).set_input((7,), input=0).model.inputs[0].shape == (None, 7)
    named = keras.Model({"two": b, "one": a}, layers.Concatenate()([a, b]))
    ed = Editor(named).set_input((7,), input=0)
    assert ed.model.input["one"].shape == (None, 7)


def test_set_input_dtype() -> None:
    model = pictures(layers.GlobalAveragePooling2D(), normalized=True)
    for dtype in ("uint8", np.uint8, np.dtype("uint8")):
        ed = Editor(model).set_input(dtype=dtype)
        assert ed.model.inputs[0].dtype == "uint8"
        assert ed.model.input_shape == (None, 8, 8, 3)
        assert ed.history[0].to_json()["dtype"] == "uint8"
    x = models.whole(255, 2, 8, 8, 3).astype("uint8")
    h = ops.convert_to_tensor(x)
    for layer in model.layers:
        h = layer(h)
    assert same(out(ed.model, x), h)
    both = Editor(model).set_input((5, 5, 3), "float16").model.inputs[0]
    assert (both.shape, both.dtype) == ((None, 5, 5, 3), "float16")


def test_set_input_keeps_a_fixed_batch() -> None:
    x = keras.Input(batch_shape=(2, 4), name="x")
    model = keras.Model(x, layers.ReLU()(x))
    assert Editor(model).set_input((6,)).model.inputs[0].shape == (2, 6)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"shape": (0,)},
        {"shape": (-1, 3)},
        {"shape": "8"},
        {"shape": 8},
        {"shape": (2.5,)},
        {"dtype": "float33"},
        {"dtype": object()},
    ],
)
def test_inputs_that_are_none(given: dict[str, Any]) -> None:
    refused(Editor(models.chain()), EditError, "", lambda e: e.set_input(**given))


def test_a_sequential_with_another_input_is_saved_and_loaded() -> None:
    model = pictures(layers.GlobalAveragePooling2D())
    again = models.rebuilt(Editor(model).set_input((12, 12, 3)).model)
    assert again.input_shape == (None, 12, 12, 3)


# -- add_output ----------------------------------------------------------------------------------


def test_add_output_to_a_single_one() -> None:
    model, x = models.fork(), data(3, 4)
    ed = Editor(model)
    plan = ed.preview.add_output("b")
    assert plan.ok and not plan.shape_changes and plan.params_after == model.count_params()
    ed.add_output("b")
    hand = keras.Model(model.input, [model.output, model.get_layer("b").output])
    check_equal(ed.model, hand, x)
    assert ed.model.output_names == ["top", "b"]
    ed.add_output("a", name="features")
    assert ed.model.output_names == ["top", "b", "features"]
    assert same(out(ed.model, x)[2], model.get_layer("a")(x))
    assert models.rebuilt(ed.model).output_names == ["top", "b", "features"]
    check_equal(ed.undo(2).model, model, x)


def test_add_output_to_a_dictionary() -> None:
    model, x = models.dicts(), ZOO["dicts"][1]()
    ed = Editor(model).add_output("mean", name="average").add_output("p")
    got, old = ed.model(x), model(x)
    assert sorted(got) == ["average", "low", "more", "p"]
    assert same([got["low"], got["more"]], [old["low"], old["more"]])
    assert same(got["average"], model.get_layer("mean")([x["p"], x["q"]]))
    assert same(got["p"], x["p"])
    refused(ed, NameTaken, "'low'", lambda e: e.add_output("q", name="low"))


def test_add_output_in_front_of_the_others_moves_no_names() -> None:
    x = keras.Input((4,), name="x")
    h = dense("h", 3)(x)
    model = keras.Model(x, {"m": dense("one", 2)(h), "z": dense("two", 2)(h)})
    ed = Editor(model).add_output("h", name="a")
    batch = data(2, 4)
    got, old = ed.model(batch), model(batch)
    assert same([got["m"], got["z"]], [old["m"], old["z"]])
    assert ed.graph.net.output_names == ("a", "one", "two")
    assert sorted(ed.remove_output("m").model(batch)) == ["a", "z"]


def test_add_output_from_inside_nested_models() -> None:
    model, x = models.nested(), data(3, 4)
    ed = Editor(model).add_output("backbone/inner/dense", name="deep").add_output("backbone/conv1")
    backbone = model.get_layer("backbone")
    conv1 = backbone.get_layer("conv1")(x)
    deep = backbone.get_layer("inner")(backbone.get_layer("bn")(conv1))
    got = out(ed.model, x)
    assert same(got, [out(model, x)[0], deep, conv1])
    assert len(ed.model.get_layer("backbone").outputs) == 3
    assert ed.remove("drop").remove_output("deep").find("backbone/conv1")
    assert same(out(ed.model, x), [got[0], got[2]])
    check_equal(ed.undo(4).model, model, x)


def test_add_output_from_inside_a_nested_sequential() -> None:
    inner = keras.Sequential([keras.Input((4,)), dense("p", 3), dense("q", 2)], name="inner")
    model = models.scramble(keras.Sequential([keras.Input((4,)), inner, dense("top", 2)]))
    ed, x = Editor(model).add_output("inner/p"), data(3, 4)
    p = inner.get_layer("p")(x)
    assert same(out(ed.model, x), [out(model, x)[0], p])
    assert {v.path: v.class_name for v in ed.layers}["inner"] == "Functional"
    assert type(ed.undo().model.get_layer("inner")) is keras.Sequential


def test_add_output_from_inside_a_model_with_a_dictionary() -> None:
    y = keras.Input((4,))
    h = dense("h", 3)(y)
    inner = keras.Model(y, {"m": dense("one", 2)(h), "z": dense("two", 2)(h)}, name="inner")
    x = keras.Input((4,), name="x")
    both = inner(x)
    model = models.scramble(keras.Model(x, layers.Subtract(name="sub")([both["m"], both["z"]])))
    ed, batch = Editor(model).add_output("inner/h"), data(3, 4)
    assert same(out(ed.model, batch), [out(model, batch)[0], inner.get_layer("h")(batch)])
    renamed = Editor(model).rename("inner/h", "n").add_output("inner/n", name="between")
    assert same(out(renamed.model, batch), out(ed.model, batch))


def test_add_output_of_a_nested_model_that_is_called_twice() -> None:
    z = keras.Input((4,), name="z")
    h = dense("h", 4)(z)
    inner = keras.Model(z, dense("k", 4)(h), name="inner")
    x = keras.Input((4,), name="x")
    model = models.scramble(keras.Model(x, inner(inner(x))))
    ed, batch = Editor(model).add_output("inner/h"), data(3, 4)
    last = inner.get_layer("h")(inner(batch))
    assert same(out(ed.model, batch), [out(model, batch)[0], last])


def test_add_output_of_a_shared_layer() -> None:
    model, x = models.shared(), [data(3, 4), data(3, 4, seed=2)]
    tower = model.get_layer("tower")
    values = {"left": tower(x[0]), "right": tower(x[1]), "own": tower(tower(x[0]))}
    for call, source in enumerate(_sources(model)):
        ed = Editor(model).add_output("tower", name="t", call=call)
        assert same(out(ed.model, x)[1], values[source])
    last = Editor(model).add_output("tower").model
    assert same(out(last, x)[1], values[_sources(model)[-1]])


def test_outputs_that_cannot_be_added() -> None:
    ed = Editor(models.two_ways())
    refused(ed, StructureError, "'top' is an output", lambda e: e.add_output("top"))
    refused(ed, NameTaken, "'top'", lambda e: e.add_output("l1", name="top"))
    refused(ed, NameTaken, "'r1'", lambda e: e.add_output("l1", name="r1"))
    refused(ed, EditError, "'/'", lambda e: e.add_output("l1", name="a/b"))
    refused(ed, TargetError, "r1, l1, r2", lambda e: e.add_output("[lr][12]"))
    refused(ed, TargetError, "call 1", lambda e: e.add_output("l1", call=1))
    refused(ed, TargetError, "2 layers", lambda e: e.add_output("l1", expect=2))


# -- remove_output -------------------------------------------------------------------------------


def test_remove_output_takes_what_only_it_needed() -> None:
    model, x = models.seq2seq(), ZOO["seq2seq"][1]()
    ed = Editor(model)
    plan = ed.preview.remove_output("top")
    assert sorted(plan.dropped) == ["dec", "target", "top"]
    ed.remove_output("top")
    assert same(out(ed.model, [x[0]]), out(model, x)[1])
    assert [t.name for t in ed.model.inputs] == ["source"]
    assert ed.model.output_shape == (None, 4)
    check_equal(ed.undo().model, model, x)


def test_remove_output_of_a_dictionary_by_key_and_by_layer() -> None:
    model, x = models.dicts(), ZOO["dicts"][1]()
    old = model(x)
    for target in ("more/high", "high"):
        ed = Editor(model).remove_output(target)
        assert same(ed.model(x), {"low": old["low"], "more": {"trunk": old["more"]["trunk"]}})
        assert "high" not in paths(ed)
    for target in ("more/trunk", "trunk"):
        ed = Editor(model).remove_output(target)
        assert same(ed.model(x), {"low": old["low"], "more": {"high": old["more"]["high"]}})
    ed = Editor(model).remove_output("more")
    assert ed.model(x).keys() == {"low"}
    assert same(ed.model(x)["low"], old["low"])
    assert paths(ed) == ["p", "q", "mean", "trunk", "low"]
    refused(ed, StructureError, "'low' alone", lambda e: e.remove_output("low"))


def test_the_same_tensor_under_two_keys() -> None:
    x = keras.Input((4,), name="x")
    h = dense("h", 3)(x)
    model, batch = keras.Model(x, {"a": h, "b": h, "c": dense("k", 2)(h)}), data(2, 4)
    assert sorted(Editor(model).remove_output("a").model(batch)) == ["b", "c"]
    assert sorted(Editor(model).remove_output("h").model(batch)) == ["c"]


def test_remove_output_of_a_nested_list() -> None:
    x = keras.Input((4,), name="x")
    a, b, c = (dense(n, 2)(x) for n in "abc")
    model, batch = models.scramble(keras.Model(x, [a, (b, c)])), data(2, 4)
    old = model(batch)
    ed = Editor(model).remove_output("b")
    keras.tree.assert_same_structure(ed.model(batch), [0, (0,)])
    assert same(ed.model(batch), [old[0], old[1][1]])
    assert same(ed.remove_output("a").model(batch), old[1][1])


def test_outputs_that_cannot_be_removed() -> None:
    ed = Editor(models.fork())
    refused(ed, StructureError, "'top' alone", lambda e: e.remove_output("top"))
    refused(ed, TargetError, "'b' is no output.*'top'", lambda e: e.remove_output("b"))
    refused(ed, TargetError, "'q'", lambda e: e.remove_output("q"))
    refused(ed, TargetError, "2 layers", lambda e: e.remove_output("top", expect=2))
    two = Editor(models.nested()).add_output("backbone/conv2", name="feat")
    refused(
        two,
        TargetError,
        "'backbone/conv2' is no output",
        lambda e: e.remove_output("backbone/conv2"),
    )


# -- what compile set up -------------------------------------------------------------------------


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    options = {"loss": "mse", **options}
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=True, **options)
    model.optimizer.build(model.trainable_variables)
    return model


def quiet(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return make()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": ["mse"]},
        {"loss": {"top": "mse"}},
        {"loss": keras.losses.MeanSquaredError()},
        {"metrics": ["mae", "mse"]},
        {"metrics": {"top": ["mae", "mse"]}},
        {"loss_weights": [0.5], "loss": ["mse"]},
    ],
)
def test_an_added_output_has_no_loss_and_the_old_one_keeps_its_own(options: Any) -> None:
    model, x, y = compiled(models.fork(), **options), data(8, 4), data(8, 2, seed=5)
    wanted = model.evaluate(x, y, return_dict=True, verbose=0)
    ed = Editor(model).add_output("a", name="feat")
    with pytest.warns(UserWarning, match="'feat'.*no loss"):
        copy = ed.model
    found = copy.evaluate(x, y, return_dict=True, verbose=0)
    assert {k.removeprefix("top_"): v for k, v in found.items()} == wanted
    # Targets for both are good too; that of the new one is not looked at.
    assert copy.evaluate(x, [y, data(8, 5)], return_dict=True, verbose=0) == found
    copy.fit(x, y, epochs=1, verbose=0)
    model.fit(x, y, epochs=1, verbose=0)
    keras.utils.set_random_seed(1)
    trained = quiet(lambda: ed.remove_output("feat").model)
    assert trained.compiled
    assert quiet(lambda: ed.undo().redo().undo(2).model).evaluate(
        x, y, return_dict=True, verbose=0
    ) == trained.evaluate(x, y, return_dict=True, verbose=0)


def test_a_third_output() -> None:
    x = keras.Input((4,), name="x")
    h = dense("h", 3)(x)
    for options in (
        {"loss": "mse"},
        {"loss": ["mse", "mae"], "metrics": [["mae"], None], "loss_weights": [0.5, 2.0]},
        {"loss": {"one": "mse", "two": "mae"}, "metrics": {"one": ["mae"]}},
    ):
        heads = [dense("one", 2)(h), dense("two", 2)(h)]
        model = compiled(models.scramble(keras.Model(x, heads)), **options)
        batch, y = data(8, 4), [data(8, 2), data(8, 2, seed=4)]
        wanted = model.evaluate(batch, y, return_dict=True, verbose=0)
        ed = Editor(model).add_output("h")
        with pytest.warns(UserWarning, match="'h'"):
            copy = ed.model
        assert copy.evaluate(batch, y, return_dict=True, verbose=0) == wanted
        # The other way round: what is left keeps its loss, and undo brings the rest back.
        left = quiet(lambda ed=ed: ed.remove_output("one").remove_output("h").model)
        share = 2.0 if "loss_weights" in options else 1.0
        kind = "mse" if options["loss"] == "mse" else "mae"
        error = left.predict(batch, verbose=0) - y[1]
        value = np.mean(error**2) if kind == "mse" else np.mean(abs(error))
        assert left.evaluate(batch, y[1], return_dict=True, verbose=0)["loss"] == pytest.approx(
            share * value
        )
        again = quiet(lambda ed=ed: ed.undo(3).model)
        assert again.evaluate(batch, y, return_dict=True, verbose=0) == wanted


def test_outputs_renamed_added_and_removed_before_anyone_looks() -> None:
    x = keras.Input((4,), name="x")
    h = dense("h", 3)(x)
    heads = [dense("one", 2)(h), dense("two", 2)(h)]
    model = compiled(
        models.scramble(keras.Model(x, heads)),
        loss={"one": "mse", "two": "mae"},
        metrics={"two": ["mse"]},
    )
    batch, y = data(8, 4), [data(8, 2), data(8, 2, seed=4)]
    wanted = model.evaluate(batch, y, return_dict=True, verbose=0)
    ed = Editor(model).rename("two", "deux").add_output("h").remove_output("one")
    with pytest.warns(UserWarning, match="'h'"):
        copy = ed.model
    found = copy.evaluate(batch, y[1], return_dict=True, verbose=0)
    assert found == {"loss": pytest.approx(wanted["two_loss"]), "deux_mse": wanted["two_mse"]}


def test_outputs_of_a_dictionary_keep_their_losses() -> None:
    x = keras.Input((4,), name="x")
    h = dense("h", 3)(x)
    heads = {"m": dense("one", 2)(h), "z": dense("two", 2)(h)}
    model = compiled(models.scramble(keras.Model(x, heads)), loss={"m": "mse", "z": "mae"})
    batch, y = data(8, 4), {"m": data(8, 2), "z": data(8, 2, seed=4)}
    wanted = model.evaluate(batch, y, return_dict=True, verbose=0)
    ed = Editor(model).add_output("h", name="a")
    with pytest.warns(UserWarning, match="'h'|'a'"):
        copy = ed.model
    assert copy.evaluate(batch, y, return_dict=True, verbose=0) == wanted
    left = quiet(lambda: ed.remove_output("m").model)
    found = left.evaluate(batch, {"z": y["z"]}, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(wanted["z_loss"])


def test_nested_outputs_keep_their_losses() -> None:
    model = compiled(
        models.dicts(),
        loss={"low": "mse", "more": {"high": "mae", "trunk": None}},
        metrics={"low": ["mae"], "more": {"high": None, "trunk": None}},
    )
    x = {"p": data(8, 3), "q": data(8, 3, seed=2)}
    y = {"low": data(8, 2), "more": {"high": data(8, 3), "trunk": data(8, 4)}}
    wanted = model.evaluate(x, y, return_dict=True, verbose=0)
    ed = Editor(model).remove_output("trunk")
    left = quiet(lambda: ed.model)
    y["more"].pop("trunk")
    assert left.evaluate(x, y, return_dict=True, verbose=0) == wanted


def test_a_loss_that_the_user_gave_the_new_output_is_kept() -> None:
    model, x, y = compiled(models.fork()), data(8, 4), data(8, 2)
    ed = Editor(model).add_output("a", name="feat")
    with pytest.warns(UserWarning, match="'feat'"):
        copy = ed.model
    copy.compile("sgd", loss=["mse", "mae"], run_eagerly=True)
    wanted = copy.evaluate(x, [y, data(8, 5)], return_dict=True, verbose=0)
    ed.insert(layers.Identity(), after="b")
    assert (
        quiet(lambda: ed.model).evaluate(x, [y, data(8, 5)], return_dict=True, verbose=0) == wanted
    )
    ed.remove_output("top")
    assert quiet(lambda: ed.model).evaluate(x, data(8, 5), return_dict=True, verbose=0)[
        "loss"
    ] == pytest.approx(wanted["feat_loss"])


def test_removing_the_output_with_the_only_loss_says_so() -> None:
    model = compiled(models.fork())
    ed = Editor(model).add_output("a", name="feat").remove_output("top")
    with pytest.warns(UserWarning, match="no loss for the outputs.*'feat'"):
        assert not ed.model.compiled
    assert quiet(lambda: ed.undo(2).model).compiled


def test_slots_survive_rewiring() -> None:
    model = compiled(models.fork())
    for slot in model.optimizer.momentums:
        slot.assign(np.random.default_rng(3).normal(size=slot.shape))
    ed = Editor(model).connect("a", "top", merge=layers.Add(name="s"))
    by_name = dict(
        zip([v.path for v in model.trainable_variables], model.optimizer.momentums, strict=True)
    )
    copy = ed.model
    for variable, slot in zip(copy.trainable_variables, copy.optimizer.momentums, strict=True):
        assert same(ops.convert_to_numpy(slot), ops.convert_to_numpy(by_name[variable.path]))
    ed.disconnect("b", "add")
    copy = ed.model
    assert len(copy.optimizer.momentums) == 6
    for variable, slot in zip(copy.trainable_variables, copy.optimizer.momentums, strict=True):
        assert same(ops.convert_to_numpy(slot), ops.convert_to_numpy(by_name[variable.path]))


# -- everywhere ----------------------------------------------------------------------------------

SOMEWHERE: dict[str, Callable[[Any], Any]] = {
    "chain": lambda e: e.connect("a", "norm", merge=layers.Multiply()).add_output("b"),
    "cnn": lambda e: e.add_branch(
        layers.Conv2D(4, 3, padding="same"),
        source="block1_relu",
        into="block3_conv",
        merge=layers.Add(),
    ).set_input((10, 10, 3)),
    "two_ways": lambda e: e.connect("l1", "r2", merge=layers.Average()).add_output("r1"),
    "dicts": lambda e: e.connect("mean", "low", merge=layers.Concatenate(), on_mismatch="slice"),
    "shared": lambda e: e.connect("left", "tower", merge=layers.Average()).add_output("tower"),
    "nested": lambda e: e.connect(
        "backbone/conv1", "backbone/conv2", merge=layers.Add()
    ).add_output("backbone/inner/dense"),
    "raw_ops": lambda e: e.disconnect("x", "add").connect("x", "relu", merge=layers.Maximum()),
    "attention": lambda e: e.connect("k", "mha", input="v", merge=layers.Multiply()),
    "masked": lambda e: e.connect("embed", "lstm1", merge=layers.Add()).add_output("lstm1"),
    "seq2seq": lambda e: e.connect(
        "target", "top", merge=layers.Concatenate(), on_mismatch="reinit"
    ),
}


@pytest.mark.parametrize("name", SOMEWHERE)
def test_edited_models_are_ordinary_ones(name: str) -> None:
    build, batch = ZOO[name]
    model, x = build(), batch()
    before = fingerprint(model)
    x = data(2, 10, 10, 3) if name == "cnn" else x
    ed = Editor(model)
    SOMEWHERE[name](ed)
    ed.model.predict(x, verbose=0)
    assert same(out(models.rebuilt(ed.model), x), out(ed.model, x))
    assert fingerprint(model) == before
    ed.undo(len(ed.history))
    assert same(out(ed.model, batch()), out(model, batch()))
    assert type(ed.model) is type(model)


def test_opaque_models_are_refused() -> None:
    ed = Editor(models.subclassed())
    for act in (
        lambda e: e.connect("first", "second", merge=layers.Add()),
        lambda e: e.add_branch(layers.ReLU(), source="first", into="second", merge=layers.Add()),
        lambda e: e.disconnect("first", "second"),
        lambda e: e.add_output("first"),
        lambda e: e.remove_output("second"),
        lambda e: e.set_input((3,)),
    ):
        refused(ed, StructureError, "'sub' is a subclassed model", act)
