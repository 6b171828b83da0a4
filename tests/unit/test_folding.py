"""Batch normalizations folded into the layers beside them: `predict` gives what it gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import Editor, Recipe, StructureError, TargetError
from tests import models
from tests.models import data, fingerprint, out, refused, same, scramble
from tests.unit.test_ties import put_in


def model_of(*shape: int, of: Callable[[Any], Any]) -> keras.Model:
    x = keras.Input(shape)
    return scramble(keras.Model(x, of(x)))


def chain(*steps: Any) -> Callable[[Any], Any]:
    def of(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return of


def norm(name: str = "norm", **options: Any) -> Any:
    return layers.BatchNormalization(name=name, **options)


def check_folded(source: keras.Model, x: Any, left: int = 0, **options: Any) -> Editor:
    """All that can be folded is, and the outputs stay."""
    before, wanted = fingerprint(source), out(source, x)
    ed = Editor(source).fold_batchnorm(**options)
    kinds = [view.class_name for view in ed.layers]
    assert kinds.count("BatchNormalization") == left
    for a, b in zip(out(ed.model, x), wanted, strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    assert fingerprint(source) == before
    return ed


LAYERS: dict[str, tuple[tuple[int, ...], Any]] = {
    "dense": ((4,), lambda **o: layers.Dense(3, **o)),
    "dense on a grid": ((3, 2, 4), lambda **o: layers.Dense(3, **o)),
    "conv1d": ((7, 4), lambda **o: layers.Conv1D(3, 3, padding="causal", **o)),
    "conv2d": ((6, 6, 4), lambda **o: layers.Conv2D(6, 3, strides=2, padding="same", **o)),
    "grouped": ((6, 6, 4), lambda **o: layers.Conv2D(6, 3, groups=2, **o)),
    "conv3d": ((4, 4, 4, 2), lambda **o: layers.Conv3D(3, 2, **o)),
    "conv1d transposed": ((5, 4), lambda **o: layers.Conv1DTranspose(3, 2, strides=2, **o)),
    "conv2d transposed": ((4, 4, 4), lambda **o: layers.Conv2DTranspose(3, 3, **o)),
    "conv3d transposed": ((3, 3, 3, 2), lambda **o: layers.Conv3DTranspose(3, 2, **o)),
    "depthwise1d": ((7, 3), lambda **o: layers.DepthwiseConv1D(3, depth_multiplier=2, **o)),
    "depthwise2d": ((6, 6, 3), lambda **o: layers.DepthwiseConv2D(3, depth_multiplier=2, **o)),
    "separable1d": ((7, 3), lambda **o: layers.SeparableConv1D(4, 3, depth_multiplier=2, **o)),
    "separable2d": ((6, 6, 3), lambda **o: layers.SeparableConv2D(4, 3, **o)),
}
FORMS: list[dict[str, Any]] = [
    {"center": True, "scale": True}, {"center": False, "scale": True},
    {"center": True, "scale": False}, {"center": False, "scale": False, "epsilon": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_into_the_layer_before(name: str) -> None:
    """With and without a bias there, and with and without what a normalization learns."""
    shape, make = LAYERS[name]
    for number, form in enumerate(FORMS):
        layer = make(use_bias=number % 2 == 1, name="layer")
        source = model_of(*shape, of=chain(layer, norm(**form), layers.ReLU(name="relu")))
        ed = check_folded(source, data(2, *shape))
        assert ed.find("**") == [ed.layers[0].path, "layer", "relu"]
        assert ed.model.get_layer("layer").use_bias


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("shape", "make"),
    [
        ((4,), lambda **o: layers.Dense(3, **o)),
        ((7, 4), lambda **o: layers.Conv1D(3, 3, **o)),
        ((6, 6, 4), lambda **o: layers.Conv2D(6, 3, groups=2, strides=2, **o)),
        ((4, 4, 4, 2), lambda **o: layers.Conv3D(3, 2, activation="tanh", **o)),
    ],
)
def test_into_the_layer_behind(shape: tuple[int, ...], make: Any, form: dict[str, Any]) -> None:
    """Where an activation is before it; the layer behind may have one."""
    layer = make(use_bias=form["center"], name="layer")
    first = layers.Activation("tanh", name="tanh")
    source = model_of(*shape, of=chain(first, norm(**form), layer))
    ed = check_folded(source, data(2, *shape))
    assert ed.report == ("'norm' goes into 'layer'.",)


def test_padding_keeps_it_where_it_is() -> None:
    layer = layers.Conv2D(3, 3, padding="same", name="layer")
    source = model_of(6, 6, 2, of=chain(layers.ReLU(name="relu"), norm(), layer))
    match = "'relu' before it .ReLU. cannot do its work.*'layer' behind it pads with zeros"
    refused(Editor(source), StructureError, match, lambda ed: ed.fold_batchnorm())


def test_several_beside_each_other() -> None:
    """Behind one another, with activations between that do nothing, and at the end of the model."""
    steps = [
        layers.Dense(5, name="a"), norm("n1"), norm("n2"), layers.Activation("linear", name="lin"),
        layers.Identity(name="same"), norm("n3"), layers.ReLU(name="relu"), norm("n4"), norm("n5"),
        layers.Dense(4, name="b"), norm("n6"),
    ]  # fmt: skip
    source = model_of(3, of=chain(*steps))
    ed = check_folded(source, data(4, 3))
    assert ed.find("**")[1:] == ["a", "lin", "same", "relu", "b"]
    assert ed.model.output_names == source.output_names


def test_all_of_a_network_with_branches() -> None:
    def of(x: Any) -> Any:
        x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(x)
        x = norm("n0")(x)
        y = layers.Conv2D(4, 3, padding="same", name="in")(x)
        y = layers.ReLU()(norm("n1")(y))
        y = norm("n2")(layers.DepthwiseConv2D(3, padding="same", name="dw")(y))
        x = norm("n3")(layers.Add(name="add")([x, y]))  # behind an Add, before two layers
        return layers.Concatenate()([layers.Conv2D(2, 1)(x), layers.Conv2D(3, 1)(x)])

    source = model_of(6, 6, 3, of=of)
    ed = check_folded(source, data(2, 6, 6, 3), left=1)
    assert ed.find(layers.BatchNormalization) == ["n3"]
    assert ed.report[-1].startswith("'n3' is not folded: 'add' before it (Add) cannot do its work")
    assert "what it makes goes to no single layer" in ed.report[-1]
    plan = Editor(source).preview.fold_batchnorm()
    assert plan.ok
    assert plan.notes == ed.report
    assert plan.params_after == ed.model.count_params()
    assert "'n0' goes into 'stem'." in str(plan)


def test_a_sequential_stays_one() -> None:
    source = scramble(
        keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                layers.Conv2D(4, 3, use_bias=False, name="a"),
                norm("n1"),
                layers.ReLU(),
                layers.Flatten(),
                layers.Dense(5, name="b"),
                norm("n2"),
            ]
        )
    )
    ed = check_folded(source, data(2, 6, 6, 3))
    assert type(ed.model) is keras.Sequential


def test_inside_nested_models() -> None:
    """Also in one that is called twice."""
    z = keras.Input((4,), name="z")
    inner = keras.Model(z, norm()(layers.Dense(4, name="dense")(z)), name="inner")
    tail = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="d"), norm("n")], name="tail")
    source = model_of(4, of=lambda x: tail(layers.Add()([x, inner(inner(x))])))
    ed = check_folded(source, data(3, 4))
    assert "'inner/norm' goes into 'inner/dense'." in ed.report
    assert ed.find("tail/**") == ["tail/d"] or "tail/d" in ed.find("tail/**")


def test_only_what_is_named() -> None:
    steps = [layers.Dense(5, name="a"), norm("n1"), layers.Dense(5, name="b"), norm("n2")]
    source = model_of(3, of=chain(*steps))
    check_folded(source, data(2, 3), left=1, target="n2")
    check_folded(source, data(2, 3), target="n*", expect=2)
    check_folded(source, data(2, 3), target=layers.BatchNormalization)


def test_channels_first() -> None:
    """The weights are as for channels that come last."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares with what the processor has on TensorFlow")
    x = keras.Input((3, 6, 6))
    h = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    model = scramble(keras.Model(x, norm(axis=1)(h)))
    last = keras.Input((6, 6, 3))
    twin = keras.Model(last, norm()(layers.Conv2D(4, 3, name="a")(last)))
    twin.set_weights(model.get_weights())
    found, wanted = (Editor(m).fold_batchnorm().model.get_weights() for m in (model, twin))
    assert same(found, wanted)


def test_of_another_axis() -> None:
    source = model_of(4, 3, of=chain(layers.Dense(4, name="a"), norm(axis=1)))
    match = "'a' before it has its channels on another axis"
    refused(Editor(source), StructureError, match, lambda ed: ed.fold_batchnorm())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_mixed_precision(policy: str) -> None:
    x = keras.Input((6, 6, 3))
    h = layers.Conv2D(4, 3, use_bias=False, name="a", dtype=policy)(x)
    h = norm(dtype=policy)(h)
    source = scramble(keras.Model(x, layers.ReLU(dtype=policy)(h)))
    ed = Editor(source).fold_batchnorm()
    kernel = ed.model.get_layer("a").kernel
    assert kernel.dtype == source.get_layer("a").kernel.dtype
    batch = data(2, 6, 6, 3)
    found, wanted = (out(m, batch)[0].astype("float32") for m in (ed.model, source))
    np.testing.assert_allclose(found, wanted, atol=0.03 if policy != "mixed_float16" else 0.005)


def shared_layer(x: Any) -> Any:
    dense = layers.Dense(4, name="dense")
    return dense(norm()(dense(x)))


def shared_norm(x: Any) -> Any:
    one = norm()
    return one(layers.Dense(4)(one(layers.Dense(4)(x))))


def elsewhere_too(x: Any) -> Any:
    h = layers.Dense(4, name="dense")(x)
    return layers.Add()([h, norm()(h)])


def of_the_batch(x: Any) -> Any:
    return norm()(layers.Dense(4)(x), training=True)


def weights_taken(x: Any) -> Any:
    dense = layers.Dense(4, name="dense")
    h = layers.ReLU()(norm()(dense(x)))
    return ops.matmul(h, dense.kernel)


@pytest.mark.parametrize(
    ("of", "match"),
    [
        (shared_layer, "'dense' before it is called 2 times, and 'dense' behind it is called 2"),
        (shared_norm, "'norm' is not folded: it is called 2 times"),
        (elsewhere_too, "what 'dense' before it makes goes elsewhere too"),
        (of_the_batch, "it uses the statistics of the batch"),
        (weights_taken, "'dense' before it has weights that a call takes"),
        (chain(layers.Dense(4, activation="relu", name="d"), norm()), "'d' before it has an act"),
        (chain(norm()), "(InputLayer) cannot do its work"),
        (chain(layers.Dense(4, dtype="mixed_float16", name="d"), norm(dtype="float32")),
         "'d' before it computes in float16, and it in float32"),
    ],
)  # fmt: skip
def test_what_cannot_be_folded(of: Any, match: str) -> None:
    ed = Editor(model_of(4, of=of))
    pattern = match.replace("(", r"\(").replace(")", r"\)")
    refused(ed, StructureError, pattern, lambda ed: ed.fold_batchnorm("norm"))
    refused(ed, StructureError, pattern, lambda ed: ed.fold_batchnorm())


def test_an_output_before_it() -> None:
    x = keras.Input((4,))
    h = layers.Dense(4, name="dense")(x)
    source = scramble(keras.Model(x, [h, norm()(h)]))
    refused(Editor(source), StructureError, "elsewhere too", lambda ed: ed.fold_batchnorm())


def test_what_is_quantized_tuned_or_shared_stays() -> None:
    def built() -> keras.Model:
        return model_of(4, of=chain(layers.Dense(4, name="d"), norm(), layers.ReLU()))

    source = built()
    source.get_layer("d").quantize("int8")
    match = "'d' before it has weights of another kind"
    refused(Editor(source), StructureError, match, lambda ed: ed.fold_batchnorm())
    source = built()
    source.get_layer("d").enable_lora(2)
    refused(Editor(source), StructureError, match, lambda ed: ed.fold_batchnorm())
    x = keras.Input((4,))
    one, two = layers.Dense(4, name="one"), layers.Dense(4, name="two")
    h = one(x)
    two.build((None, 4))
    put_in(two, "_kernel", one.kernel)
    source = keras.Model(x, layers.ReLU()(norm()(two(h))))
    match = "'two' before it shares its weights"
    refused(Editor(source), StructureError, match, lambda ed: ed.fold_batchnorm())


def test_bad_input() -> None:
    ed = Editor(model_of(4, of=chain(layers.Dense(4, name="d"), norm())))
    no = "names no BatchNormalization, but 'd' .Dense."
    refused(ed, TargetError, no, lambda ed: ed.fold_batchnorm("d"))
    refused(ed, TargetError, "2 layers were expected", lambda ed: ed.fold_batchnorm("n*", expect=2))
    bare = Editor(model_of(4, of=chain(layers.Dense(4))))
    refused(bare, TargetError, "has no BatchNormalization", lambda ed: ed.fold_batchnorm())
    with pytest.raises(StructureError, match="the call of its model is Python code"):
        Editor(OfPython.made()).fold_batchnorm()


@keras.saving.register_keras_serializable()
class OfPython(keras.Model):
    """A normalization behind a layer, wired in Python."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.norm = layers.Dense(4), norm()

    def call(self, x: Any) -> Any:
        return self.norm(self.dense(x))

    @classmethod
    def made(cls) -> keras.Model:
        model = cls()
        model(data(2, 4))
        return model


# -- what follows --------------------------------------------------------------------------------


def test_undo_and_redo_give_the_same_bits() -> None:
    source = models.cnn()
    x = data(2, 8, 8, 3)
    ed = Editor(source).fold_batchnorm()
    after = out(ed.model, x)
    assert same(out(ed.undo().model, x), out(source, x))
    assert same(out(ed.redo().model, x), after)
    assert same(out(ed.reset().model, x), out(source, x))


def test_what_was_trained_is_folded() -> None:
    """Also what was trained between the edit and the next look at the model."""
    source, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(source)
    ed.model.get_layer("block2_bn").gamma.assign([1.0, 2.0, 3.0, 4.0])
    handed_out = ed.model
    ed.fold_batchnorm()
    handed_out.get_layer("block1_bn").beta.assign([1.0, -2.0, 3.0, 4.0])
    np.testing.assert_allclose(out(ed.model, x)[0], out(handed_out, x)[0], rtol=1e-5, atol=1e-5)


def test_what_an_edit_put_in_is_folded() -> None:
    """Its first values are drawn then, and the layer before it keeps its own."""
    source, x = models.fork(), data(3, 4)
    ed = Editor(source).insert(layers.BatchNormalization(name="new"), after="top")
    ed.fold_batchnorm("new")
    wanted = out(source, x)[0] / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(out(ed.model, x)[0], wanted, rtol=1e-5, atol=1e-6)


def test_other_edits_go_on_from_it() -> None:
    source, x = models.cnn(), data(2, 8, 8, 3)
    ed = (
        Editor(source)
        .fold_batchnorm()
        .grow_channels("block2_conv", 6)
        .prune_channels("block3_conv", drop=[1])
    )
    first = Editor(source).grow_channels("block2_conv", 6).prune_channels("block3_conv", drop=[1])
    wanted = out(first.fold_batchnorm().model, x)
    np.testing.assert_allclose(out(ed.model, x)[0], wanted[0], rtol=1e-5, atol=1e-5)


def test_it_is_compiled_and_trains() -> None:
    source = models.cnn()
    source.compile("adam", "mse")
    source.fit(data(4, 8, 8, 3), data(4, 3), verbose=0)
    ed = Editor(source).fold_batchnorm().freeze("block1_conv")
    slots = {v.path.split("/")[-1]: ops.convert_to_numpy(v) for v in ed.model.optimizer.variables}
    assert slots["iteration"] == 1
    assert not slots["block2_conv_kernel_momentum"].any()  # it was of another kernel
    assert slots["head_kernel_momentum"].any()
    kernel = ops.convert_to_numpy(ed.model.get_layer("block2_conv").kernel)
    frozen = ops.convert_to_numpy(ed.model.get_layer("block1_conv").kernel)
    ed.model.fit(data(4, 8, 8, 3), data(4, 3), verbose=0)
    assert not same(kernel, ed.model.get_layer("block2_conv").kernel)
    assert same(frozen, ed.model.get_layer("block1_conv").kernel)


def test_flags_stay() -> None:
    ed = Editor(models.cnn()).freeze("block2_conv").fold_batchnorm()
    assert not ed.model.get_layer("block2_conv").trainable
    assert ed.model.get_layer("block1_conv").trainable


def test_a_recipe_folds_the_weights_of_the_model_that_it_is_for() -> None:
    ed = Editor(models.cnn()).fold_batchnorm()
    recipe = ed.recipe()
    assert not recipe.values
    other = scramble(models.cnn(), seed=7)
    again = Recipe.from_json(recipe.to_json()).apply(other)
    x = data(2, 8, 8, 3)
    np.testing.assert_allclose(out(again.model, x)[0], out(other, x)[0], rtol=1e-5, atol=1e-5)


def test_what_is_compared_and_shown() -> None:
    ed = Editor(models.cnn()).fold_batchnorm()
    told = str(ed.diff())
    assert "block1_bn" in told
    assert set(ed.histograms("block1_conv")) == {"block1_conv/kernel", "block1_conv/bias"}
    assert ed.verify()
