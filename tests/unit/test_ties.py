"""Variables that layers share: they are one in every copy, count once, train once and stay so."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import Editor, ShapeMismatch, StructureError
from kerasedit.views import count_trainable
from tests.models import data, fingerprint, out, rebuilt, same, scramble, weights_of, whole


def put_in(layer: Any, name: str, variable: Any) -> None:
    """Gives a built layer another's variable for its own, as is done by hand."""
    layer._tracker.unlock()
    layer._untrack_variable(getattr(layer, name))
    setattr(layer, name, variable)
    layer._tracker.lock()


@keras.saving.register_keras_serializable("ties")
class Tied(layers.Layer):
    """Puts out scores by the matrix of an embedding that it is given."""

    def __init__(self, embedding: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding

    def build(self, shape: Any) -> None:
        self.shift = self.add_weight(shape=(self.embedding.input_dim,), name="shift")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.shift

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.embedding)
        return {**super().get_config(), "embedding": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        inner = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": inner})


@keras.saving.register_keras_serializable("ties")
class TiedMatrix(Tied):
    """The same, with the matrix taken over as an attribute of its own, in a list."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.held = [self.embedding.embeddings]

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.held[0])) + self.shift


@keras.saving.register_keras_serializable("ties")
class Block(layers.Layer):
    """Calls a list of layers that it is given, which others may hold too."""

    def __init__(self, inner: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape: Any) -> None:
        for layer in self.inner:
            if not layer.built:
                layer.build(shape)

    def call(self, x: Any) -> Any:
        for layer in self.inner:
            x = layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        inner = [keras.saving.serialize_keras_object(layer) for layer in self.inner]
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        inner = [keras.saving.deserialize_keras_object(item) for item in config["inner"]]
        return cls(**{**config, "inner": inner})


# -- models that share variables -----------------------------------------------------------------


def by_hand() -> keras.Model:
    x = keras.Input((4,), name="x")
    a, b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(4, name="b")
    model = keras.Model(x, layers.Dense(2, name="top")(layers.ReLU(name="relu")(b(a(x)))))
    put_in(b, "_kernel", a._kernel)
    return scramble(model)


def beside_a_wrapper() -> keras.Model:
    x = keras.Input((3, 4), name="x")
    d = layers.Dense(4, activation="tanh", name="d")
    h = layers.ReLU(name="relu")(d(x))
    h = layers.TimeDistributed(d, name="each")(h)
    return scramble(keras.Model(x, layers.Dense(2, name="top")(h)))


def in_two_wrappers() -> keras.Model:
    """The layer that both hold is none of the model."""
    left, right = keras.Input((3, 4), name="left"), keras.Input((3, 4), name="right")
    d = layers.Dense(4, activation="tanh", name="d")
    one = layers.TimeDistributed(d, name="one")(left)
    two = layers.TimeDistributed(d, name="two")(right)
    return scramble(keras.Model([left, right], layers.Add(name="add")([one, two])))


def in_blocks() -> keras.Model:
    """Two blocks with a layer in common, which the model calls too, and one that only they have."""
    x = keras.Input((4,), name="x")
    common, pair = layers.Dense(4, name="common"), layers.Dense(4, activation="tanh", name="pair")
    h = common(x)
    h = Block([common, pair], name="first")(h)
    h = layers.ReLU(name="relu")(h)
    h = Block([pair, layers.Dense(4, name="own"), common], name="second")(h)
    return scramble(keras.Model(x, h))


def tied_head(cls: type = Tied) -> keras.Model:
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    embed = layers.Embedding(7, 4, name="embed")
    h = layers.Dense(4, activation="tanh", name="h")(embed(tokens))
    return scramble(keras.Model(tokens, cls(embed, name="head")(h)))


def in_an_op() -> keras.Model:
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    embed = layers.Embedding(7, 4, name="embed")
    h = layers.Dense(4, activation="tanh", name="h")(embed(tokens))
    scores = ops.einsum("btd,vd->btv", h, embed.embeddings)
    return scramble(keras.Model(tokens, layers.Dense(7, name="top")(scores)))


def across_levels() -> keras.Model:
    """A layer inside a nested model and one outside of it."""
    y = keras.Input((4,))
    inside = layers.Dense(4, activation="tanh", name="inside")
    inner = keras.Model(y, inside(y), name="inner")
    x = keras.Input((4,), name="x")
    outside = layers.Dense(4, name="outside")
    model = keras.Model(x, outside(layers.ReLU(name="relu")(inner(x))))
    put_in(outside, "_kernel", inside._kernel)
    return scramble(model)


def sequential_in_a_wrapper() -> keras.Model:
    x = keras.Input((3, 4), name="x")
    both = keras.Sequential([layers.Dense(4, name="d"), layers.ReLU(name="relu")], name="both")
    h = both(x[:, 0])
    every = layers.TimeDistributed(both, name="each")(x)
    return scramble(keras.Model(x, layers.Add(name="add")([layers.RepeatVector(3)(h), every])))


class Opaque(keras.Model):
    """Ties in its constructor what it calls, and is tied once more from outside."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = layers.Dense(4, activation="tanh", name="first")
        self.each = layers.TimeDistributed(self.first, name="each")
        self.last = layers.Dense(4, name="last")

    def call(self, x: Any) -> Any:
        return self.last(self.each(self.first(x)))


def opaque() -> keras.Model:
    model = Opaque()
    model(data(2, 3, 4))
    put_in(model.last, "_kernel", model.first._kernel)
    return scramble(model)


# name: (maker, a batch, the layers that share and what they share)
TIED: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any], list[str]]] = {
    "by hand": (by_hand, lambda: data(5, 4), ["a/kernel", "b/kernel"]),
    "beside a wrapper": (beside_a_wrapper, lambda: data(5, 3, 4), ["d/kernel", "each/d/kernel"]),
    "in two wrappers": (
        in_two_wrappers,
        lambda: [data(5, 3, 4), data(5, 3, 4, seed=2)],
        ["one/d/kernel", "two/d/kernel"],
    ),
    "in blocks": (
        in_blocks,
        lambda: data(5, 4),
        ["common/kernel", "first/common/kernel", "second/common/kernel"],
    ),
    "tied head": (
        tied_head,
        lambda: whole(7, 5, 3),
        ["embed/embeddings", "head/embed/embeddings"],
    ),
    "tied matrix": (
        lambda: tied_head(TiedMatrix),
        lambda: whole(7, 5, 3),
        ["embed/embeddings", "head/embeddings"],
    ),
    "across levels": (across_levels, lambda: data(5, 4), ["inner/inside/kernel", "outside/kernel"]),
    "sequential in a wrapper": (
        sequential_in_a_wrapper,
        lambda: data(5, 3, 4),
        ["both/d/kernel", "each/both/d/kernel"],
    ),
    "opaque": (
        opaque,
        lambda: data(5, 3, 4),
        ["first/kernel", "each/first/kernel", "last/kernel"],
    ),
}
every_tie = pytest.mark.parametrize("name", TIED)
editable = pytest.mark.parametrize("name", sorted(TIED.keys() - {"opaque"}))


def weight(ed: Editor, path: str) -> Any:
    return next(w for view in ed.layers for w in view.weights if w.path == path)


def places(ed: Editor, model: keras.Model) -> list[list[int]]:
    """For each layer with weights, which of the model's variables these are."""
    numbers = {id(v): i for i, v in enumerate(model.variables)}
    found = []
    for view in ed.layers:
        layer: Any = model
        for part in view.path.split("/") if view.kind == "layer" else ():
            layer = layer.get_layer(part)
        if layer is not model:
            found.append([numbers[id(v)] for v in layer.variables])
    return found


# -- the copy ------------------------------------------------------------------------------------


@every_tie
def test_the_copy_shares_what_the_source_shares(name: str) -> None:
    make, batch, shared = TIED[name]
    source, x = make(), batch()
    before = fingerprint(source)
    ed = Editor(source)
    copy = ed.model
    assert fingerprint(source) == before
    assert same(out(copy, x), out(source, x))
    assert places(ed, copy) == places(ed, source)
    for kind in ("variables", "weights", "trainable_variables"):
        assert len(getattr(copy, kind)) == len(getattr(source, kind))
    assert same(copy.get_weights(), source.get_weights())
    assert not {id(v) for v in copy.variables} & {id(v) for v in source.variables}
    assert [w.path for view in ed.layers for w in view.weights if w.path in shared] == shared
    again = Editor(copy)
    assert places(again, again.model) == places(ed, source)


@every_tie
def test_what_is_shared_counts_once(name: str) -> None:
    make, _, _ = TIED[name]
    source = make()
    ed = Editor(source)
    plan = ed.preview.freeze("**")
    assert plan.params_before == plan.params_after == source.count_params()
    assert plan.bytes_after == 4 * source.count_params()
    assert f"Total parameters: {source.count_params():,}" in models_text(ed)


def models_text(ed: Editor) -> str:
    from kerasedit.summary import summarize

    return summarize(ed)


@every_tie
def test_training_the_copy_is_training_the_source(name: str) -> None:
    make, batch, _ = TIED[name]
    source, x = make(), batch()
    y = out(source, x)[0] * 0.5 + 1.0
    source.compile(keras.optimizers.Adam(0.05), "mse")
    source.fit(x, y, epochs=1, verbose=0, shuffle=False)
    ed = Editor(source)
    copy = ed.model
    assert len(copy.optimizer.variables) == len(source.optimizer.variables)
    for model in (source, copy):
        model.fit(x, y, epochs=3, verbose=0, shuffle=False)
    assert same(copy.get_weights(), source.get_weights())
    assert same(out(copy, x), out(source, x))


@editable
def test_after_an_edit_elsewhere_they_still_share(name: str) -> None:
    make, batch, _ = TIED[name]
    source, x = make(), batch()
    source.compile("adam", "mse")
    wanted = places(Editor(source), source)
    y = out(source, x)[0] + 1.0
    source.train_on_batch(x, y)
    ed = Editor(source)
    last = ed.layers[-1].path.split("/")[0]
    ed.insert(layers.Rescaling(1.0, name="new"), after=last)
    assert [p for p in places(ed, ed.model) if p] == [p for p in wanted if p]
    assert same(out(ed.model, x), out(source, x))
    plan = ed.preview.append(layers.Rescaling(1.0)) if not isinstance(x, list) else None
    assert plan is None or plan.params_after == ed.model.count_params()
    for model in (source, ed.model):
        model.train_on_batch(x, y)
    assert same(ed.model.get_weights(), source.get_weights())
    ed.model.train_on_batch(x, y)
    trained = ed.model.get_weights()
    ed.undo()
    assert same(ed.model.get_weights(), trained)
    assert [p for p in places(ed, ed.model) if p] == [p for p in wanted if p]
    ed.redo()
    assert same(ed.model.get_weights(), trained)


@editable
def test_a_saved_copy_predicts_the_same(name: str, tmp_path: Path) -> None:
    make, batch, _ = TIED[name]
    source, x = make(), batch()
    try:
        expected = rebuilt(source)
    except ValueError:  # Keras writes a file of it that it cannot load
        expected = None
    ed = Editor(source)
    told = pytest.warns(UserWarning, match="share weights, and Keras's files do not tell so")
    kept = expected is not None and len(expected.weights) == len(source.weights)
    with quiet() if kept else told:
        ed.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    if expected is not None:
        assert len(loaded.weights) == len(expected.weights), "what Keras's file tells, ours does"
    assert same(out(loaded, x), out(source, x))
    opened = Editor(tmp_path / "m.keras")
    assert places(opened, opened.model) == places(opened, loaded)
    with quiet():  # of what was opened, a file can tell all
        opened.save(tmp_path / "again.keras")
    ed.insert(layers.Rescaling(2.0, name="new"), after=ed.layers[-1].path.split("/")[0])
    ed.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert same(out(loaded, x), out(ed.model, x))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


# -- flags ---------------------------------------------------------------------------------------


FLAGS = [
    "by hand",
    "beside a wrapper",
    "in two wrappers",
    "in blocks",
    "tied head",
    "across levels",
]


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("name", FLAGS)
def test_flags_have_the_effect_they_have_in_keras(name: str, built: bool) -> None:
    """Of a variable that several layers share the flag that was set last holds."""
    make, batch, shared = TIED[name]
    source, x = make(), batch()
    by_hand = make()
    paths = list(dict.fromkeys(p.split("/")[0] for p in shared))
    ed = Editor(source)
    if built:
        _ = ed.model
    first, *_, last = paths
    steps = [(first, False), (last, True), (last, False), (first, True), (first, False)]
    steps += [(last, True), ("**", False), (last, True), ("**", True), (last, False)]
    states = []
    for path, flag in steps:
        (ed.unfreeze if flag else ed.freeze)(path)
        for layer in by_hand.layers if path == "**" else [by_hand.get_layer(path)]:
            type(layer).trainable.fset(layer, flag)  # on TensorFlow, a mere set may be dropped
        if built:
            check_flags(ed, ed.model, by_hand)
        states.append([v.trainable for v in ed.layers])
    check_flags(ed, ed.model, by_hand)
    y = out(by_hand, x)[0] + 1.0
    for model in (ed.model, by_hand):
        model.compile("sgd", "mse")
        model.train_on_batch(x, y)
    assert same(ed.model.get_weights(), by_hand.get_weights())
    for number in range(len(steps) - 1, 0, -1):
        ed.undo()
        assert [v.trainable for v in ed.layers] == states[number - 1]
        check_consistent(ed)
    ed.undo()
    check_flags(ed, ed.model, make())


def check_flags(ed: Editor, model: keras.Model, expected: keras.Model) -> None:
    assert [v.trainable for v in model.variables] == [v.trainable for v in expected.variables]
    assert [v.shape for v in model.trainable_variables] == [
        v.shape for v in expected.trainable_variables
    ]
    ours = [v.trainable for v in ed.layers if v.level == 1 and v.kind in ("layer", "model")]
    assert ours == [
        layer.trainable for layer in expected.layers if not isinstance(layer, layers.InputLayer)
    ]
    check_consistent(ed)


def check_consistent(ed: Editor) -> None:
    """What the editor tells of flags is what its model does."""
    told = [w.trainable for view in ed.layers for w in view.weights]
    live = [v.trainable for view in ed.layers if view.weights for v in view.layer.weights]
    assert told == live
    trains = sum(int(np.prod(v.shape)) for v in ed.model.trainable_variables)
    assert count_trainable(ed.graph) == trains


# -- edits of layers that share ------------------------------------------------------------------


def test_a_layer_that_goes_and_comes_back_has_what_the_other_learned() -> None:
    source, x = by_hand(), data(8, 4)
    source.compile("adam", "mse")
    ed = Editor(source)
    ed.model.train_on_batch(x, data(8, 2))
    ed.remove("a")
    ed.model.train_on_batch(x, data(8, 2))
    kernel = weights_of(ed.model, "b")["b/kernel"]
    ed.undo()
    assert ed.model.get_layer("a").kernel is ed.model.get_layer("b").kernel
    assert same(weights_of(ed.model, "a")["a/kernel"], kernel)
    ed.remove("a").remove("b")
    _ = ed.model
    ed.undo(2)
    assert same(weights_of(ed.model, "b")["b/kernel"], kernel)


@pytest.mark.parametrize("gone", ["a", "b"])
def test_the_optimizer_goes_on_with_what_is_left_of_a_tie(gone: str) -> None:
    source, x, y = by_hand(), data(8, 4), data(8, 2)
    source.compile(keras.optimizers.Adam(0.1), "mse")
    source.fit(x, y, verbose=0)
    ed = Editor(source).remove(gone)
    left = "b" if gone == "a" else "a"

    def momentum(model: Any) -> Any:
        names = [v.path for v in model.trainable_variables]
        place = names.index(model.get_layer(left).kernel.path)
        return model.optimizer._momentums[place].numpy()

    assert np.any(momentum(source))
    assert same(momentum(ed.model), momentum(source))
    ed.model.fit(x, y, verbose=0)
    later = momentum(ed.model)
    ed.undo()
    assert same(momentum(ed.model), later)
    ed.freeze("a")
    _ = ed.model
    ed.unfreeze("b")
    assert same(momentum(ed.model), later)


def test_a_replaced_layer_leaves_its_tie_and_it_is_told() -> None:
    source, x = by_hand(), data(5, 4)
    ed = Editor(source)
    text = "'fresh/kernel' no longer shares its values with 'a/kernel'."
    assert text in ed.preview.replace("b", layers.Dense(4, name="fresh")).warnings
    with pytest.warns(UserWarning, match=text):
        ed.replace("b", layers.Dense(4, name="fresh"))
    assert ed.preview.append(layers.ReLU()).params_after == ed.model.count_params()
    assert ed.model.count_params() == source.count_params() + 16
    assert same(out(ed.model, x), out(source, x)), "what it inherited is what was shared"
    put = weights_of(ed.model, "a")["a/kernel"] + 1.0
    ed.model.get_layer("a").kernel.assign(put)
    assert same(weights_of(ed.model, "fresh")["fresh/kernel"], weights_of(source, "a")["a/kernel"])
    ed.undo()
    assert same(weights_of(ed.model, "b")["b/kernel"], put)


def test_weights_of_another_shape_leave_their_tie() -> None:
    source = by_hand()
    ed = Editor(source)
    with pytest.raises(ShapeMismatch, match="'b/kernel' has shape"):
        ed.insert(layers.Dense(6, name="wide"), after="a")
    assert ed.model.get_layer("a").kernel is ed.model.get_layer("b").kernel
    with pytest.warns(UserWarning, match="'b/kernel' no longer shares its values with 'a/kernel'"):
        ed.insert(layers.Dense(6, name="wide"), after="a", on_mismatch="slice")
    kernels = weights_of(ed.model, "a", "b")
    assert same(kernels["b/kernel"][:4], kernels["a/kernel"])
    assert ed.preview.append(layers.ReLU()).params_after == ed.model.count_params()


@pytest.mark.parametrize("policy", ["reinit", "slice"])
def test_layers_that_get_other_weights_alike_still_share_them(policy: Any) -> None:
    x = keras.Input((3, 4), name="x")
    start = layers.Identity(name="start")(x)
    d = layers.Dense(4, activation="tanh", name="d")
    one = layers.TimeDistributed(d, name="one")(start)
    two = layers.TimeDistributed(d, name="two")(start)
    source = scramble(keras.Model(x, layers.Concatenate(name="cat")([one, two])))
    source.get_layer("one").trainable = False
    ed = Editor(source)
    with quiet():
        ed.insert(layers.Dense(6, name="wide"), after="start", on_mismatch=policy)
        copy = ed.model
    assert copy.get_layer("one").layer.kernel is copy.get_layer("two").layer.kernel
    assert copy.get_layer("one").layer.kernel.shape == (6, 4)
    assert copy.count_params() == ed.preview.append(layers.ReLU()).params_after == 58
    check_consistent(ed)
    assert ed.unfreeze("two").model.get_layer("one").layer.kernel.trainable
    if policy == "slice":
        kept = copy.get_layer("two").layer.kernel.numpy()[:4]
        assert same(kept, source.get_layer("two").layer.kernel.numpy())
    with quiet():
        assert same(ed.undo(2).model.get_weights(), source.get_weights())


def test_a_configured_layer_keeps_its_tie_and_the_other_its_configuration() -> None:
    source, x = beside_a_wrapper(), data(2, 3, 4)
    ed = Editor(source).configure("d", activation="relu")
    copy = ed.model
    assert copy.get_layer("d").kernel is copy.get_layer("each").layer.kernel
    d, top = source.get_layer("d"), source.get_layer("top")
    hidden = ops.relu(ops.matmul(x, d.kernel) + d.bias)
    np.testing.assert_allclose(out(copy, x)[0], top(source.get_layer("each")(hidden)), rtol=1e-6)


@pytest.mark.parametrize("built", [True, False])
def test_setting_the_weight_of_one_sets_it_in_both(built: bool) -> None:
    source, x = by_hand(), data(5, 4)
    values = data(4, 4, seed=7)
    ed = Editor(source)
    if built:
        _ = ed.model
    ed.append(layers.ReLU())
    ed.set_weights("b/kernel", values)
    for layer in "ab":
        assert same(weight(ed, f"{layer}/kernel").numpy(), values)
        assert same(ed.model.get_layer(layer).kernel.numpy(), values)
    ed.scale_weights("a/kernel", 2.0)
    assert same(weight(ed, "b/kernel").numpy(), values * 2)
    ed.undo(2)
    assert same(weight(ed, "a/kernel").numpy(), source.get_layer("a").kernel.numpy())
    assert same(out(ed.model, x), out(layers.ReLU(), source(x)))


def test_a_renamed_layer_keeps_its_ties() -> None:
    for name in ("by hand", "in blocks", "tied head"):
        make, batch, shared = TIED[name]
        source, x = make(), batch()
        ed = Editor(source)
        before = places(ed, ed.model)
        ed.rename(shared[0].split("/")[0], "other")
        assert places(ed, ed.model) == before
        assert same(out(ed.model, x), out(source, x))


def test_a_duplicate_shares_nothing() -> None:
    ed = Editor(by_hand()).duplicate("b")
    copy = ed.model
    assert copy.get_layer("a").kernel is copy.get_layer("b").kernel
    assert copy.get_layer("b_1").kernel is not copy.get_layer("b").kernel
    assert same(copy.get_layer("b_1").get_weights(), copy.get_layer("b").get_weights())
    ed = Editor(across_levels()).duplicate("inner")
    assert ed.model.count_params() == Editor(across_levels()).model.count_params() + 20


# -- what an edit brings in ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["by hand", "beside a wrapper", "in blocks", "tied head"])
def test_a_model_that_is_put_in_keeps_its_ties_and_each_place_has_its_own(name: str) -> None:
    make, batch, _ = TIED[name]
    block, x = make(), batch()
    block.get_layer(index=1).trainable = False
    first = keras.Input(x.shape[1:], dtype=str(x.dtype), name="first")
    outer = keras.Model(first, layers.Identity(name="start")(first), name="outer")
    ed = Editor(outer).insert(block, after="start")
    copy = ed.model
    assert copy.count_params() == block.count_params()
    assert same(out(copy, x), out(block, x))
    assert [v.trainable for v in copy.variables] == [v.trainable for v in block.variables]
    check_consistent(ed)
    again = keras.Input(x.shape[1:], dtype=str(x.dtype))
    both = keras.Model(again, [layers.Identity(name="i")(again), layers.Identity(name="j")(again)])
    two = Editor(both).insert(block, after=["i", "j"])
    assert two.model.count_params() == 2 * block.count_params()
    assert same(out(two.model, x), [*out(block, x), *out(block, x)])


def test_a_function_whose_layers_share() -> None:
    def twice(x: Any) -> Any:
        d = layers.Dense(4, name="d")
        return layers.TimeDistributed(d, name="each")(d(x))

    x = keras.Input((3, 4))
    source = keras.Model(x, layers.Identity(name="i")(x))
    ed = Editor(source)
    assert ed.preview.append(twice).params_after == 20
    ed.append(twice)
    assert ed.model.count_params() == 20
    assert ed.model.get_layer("each").layer is ed.model.get_layer("d")


def test_layers_that_share_one_that_is_not_built() -> None:
    d = layers.Dense(4, name="d")
    x = keras.Input((3, 4))
    ed = Editor(keras.Model(x, layers.Identity(name="i")(x)))
    with pytest.raises(StructureError, match=r"'d' and 'each' share the layer 'd'.*not built"):
        ed.append([d, layers.TimeDistributed(d, name="each")])


# -- variables in calls --------------------------------------------------------------------------


def variable_of(model: Any, op: str) -> Any:
    (node,) = (
        model.get_layer(op)._inbound_nodes
        if op in [la.name for la in model.layers]
        else (next(o for o in model.operations if o.name == op)._inbound_nodes)
    )
    return next(a for a in keras.tree.flatten(node.arguments.args) if isinstance(a, keras.Variable))


def test_a_variable_in_an_op_is_that_of_the_copy() -> None:
    source, x = in_an_op(), whole(7, 5, 3)
    source.compile("sgd", "mse")
    y = out(source, x)[0] + 1.0
    ed = Editor(source)
    assert variable_of(ed.model, "einsum") is ed.model.get_layer("embed").embeddings
    assert same(out(ed.model, x), out(source, x))
    ed.insert(layers.Rescaling(1.0, name="new"), after="h")
    assert variable_of(ed.model, "einsum") is ed.model.get_layer("embed").embeddings
    before = fingerprint(source)
    ed.model.train_on_batch(x, y)
    assert fingerprint(source) == before
    source.train_on_batch(x, y)
    assert same(ed.model.get_weights(), source.get_weights())


def test_a_layer_whose_variable_an_op_takes_cannot_go() -> None:
    source = in_an_op()
    ed = Editor(source)
    plan = ed.preview.remove("embed", on_mismatch="reinit")
    assert not plan.ok
    with pytest.raises(StructureError, match="'einsum' takes a weight of a layer that would go"):
        ed.replace("embed", layers.Embedding(7, 4, name="other"))
    ed.replace("einsum", layers.Dense(7, name="scores"))
    ed.replace("embed", layers.Embedding(7, 4, name="other"))
    assert ed.model.output_shape == (None, 3, 7)


def test_an_op_takes_the_variable_of_a_layer_that_was_renewed() -> None:
    ed = Editor(in_an_op())
    ed.configure("embed", input_dim=9, on_mismatch="slice")
    assert variable_of(ed.model, "einsum").shape == (9, 4)
    assert variable_of(ed.model, "einsum") is ed.model.get_layer("embed").embeddings
    assert ed.model.get_layer("top").kernel.shape == (9, 7)
    assert ed.undo().model.get_layer("top").kernel.shape == (7, 7)


def test_a_model_with_a_variable_in_an_op_is_put_in_twice() -> None:
    block, x = in_an_op(), whole(7, 5, 3)
    first = keras.Input((3,), dtype="int32")
    both = keras.Model(first, [layers.Identity(name="i")(first), layers.Identity(name="j")(first)])
    two = Editor(both).insert(block, after=["i", "j"])
    assert two.model.count_params() == 2 * block.count_params()
    assert same(out(two.model, x), [*out(block, x), *out(block, x)])
    nested = [la for la in two.model.layers if isinstance(la, keras.Model)]
    for model in nested:
        assert variable_of(model, "einsum") is model.get_layer("embed").embeddings


# -- what cannot be found ------------------------------------------------------------------------


def test_a_function_that_uses_a_layer_of_the_model() -> None:
    """In a copy it would go on using the source's, trained or not."""
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    embed = layers.Embedding(7, 4, name="embed")
    h = layers.Dense(4, name="h")(embed(tokens))
    scores = layers.Lambda(lambda t: ops.matmul(t, ops.transpose(embed.embeddings)), name="scores")
    source = keras.Model(tokens, layers.Dense(2, name="top")(scores(h)))
    ed = Editor(source)
    text = r"'scores' \(Lambda\) uses 'embed' of this very model.*in_place=True"
    with pytest.raises(StructureError, match=text):
        _ = ed.model
    Editor(source, in_place=True).freeze("embed")
    ed.replace("scores", layers.Dense(7, name="own"))
    assert ed.model.output_shape == (None, 3, 2)


class Looks(layers.Layer):
    """Finds what it uses by itself."""

    used: Any = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.used is not None:
            self.mine = self.used

    def call(self, x: Any) -> Any:
        return self.mine(x)


def test_a_layer_that_its_configuration_does_not_tell_of_another() -> None:
    Looks.used = layers.Dense(4, name="used")
    x = keras.Input((4,))
    source = keras.Model(x, Looks(name="looks")(Looks.used(x)))
    Looks.used = None
    ed = Editor(source)
    with pytest.raises(StructureError, match=r"'looks' of class Looks.*get_config\(\).*'mine'"):
        _ = ed.model


@keras.saving.register_keras_serializable("ties")
class Elsewhere(layers.Layer):
    """Is given a variable that its copy has no attribute for."""

    def build(self, shape: Any) -> None:
        self.own = self.add_weight(shape=(shape[-1],), name="own")

    def call(self, x: Any) -> Any:
        return x * getattr(self, "other", self.own)


def test_a_shared_variable_without_a_place_in_the_copy() -> None:
    x = keras.Input((4,))
    one, two = Elsewhere(name="one"), Elsewhere(name="two")
    source = keras.Model(x, two(one(x)))
    two._tracker.unlock()
    two._untrack_variable(two.own)
    del two.own
    two.other = one.own
    ed = Editor(source)
    with pytest.raises(StructureError, match=r"'one' and 'two' share the variable 'own'.*in_place"):
        _ = ed.model
    Editor(source, in_place=True).freeze("one")
