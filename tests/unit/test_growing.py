"""More channels and more classes: what came out before comes out still."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, Recipe, StructureError, TargetError
from kerasedit.compress.groups import Channels
from kerasedit.edits import GrowChannels, GrowOutputs
from tests import models
from tests.models import data, fingerprint, out, refused, same, scramble
from tests.pages import check_page
from tests.pruning import NAMES, ZOO, distinct


def close(found: Any, wanted: Any, tolerance: float = 2e-5) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def array(variable: Any) -> np.ndarray:
    return ops.convert_to_numpy(variable)


# -- every kind of layer -------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["function_preserving", "random"])
@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out_stays(name: str, init: Any) -> None:
    """Of models of all kinds, with every group grown by some channels and then by many."""
    make, batch = ZOO[name]
    source, x = make(), batch()
    before, wanted = fingerprint(source), out(source, x)
    ed = Editor(source)
    channels = Channels(ed.graph)
    paths = [
        ed.graph.paths[group.makers[0]]
        for group in channels.groups
        if not channels.bounds.keys() & set(group.numbers.tolist())
    ]
    assert paths
    for number, path in enumerate(paths):
        size, step = size_of(ed, path)
        ed.grow_channels(path, size + step, init=init, seed=number)
    for path in paths if init == "function_preserving" else ():
        ed.grow_channels(path, 3 * size_of(ed, path)[0])
    close(out(ed.model, x), wanted)
    assert ed.model.count_params() > source.count_params()
    ed.undo(len(ed.history))
    assert same(out(ed.model, x), wanted)
    assert fingerprint(source) == before


def size_of(ed: Editor, path: str) -> tuple[int, int]:
    """How many channels a layer has, and how many of these are its first one."""
    numbers = Channels(ed.graph).makers[ed.graph.by_path[path].layer]
    return len(numbers), int((numbers == numbers[0]).sum())


def test_copies_and_what_takes_them() -> None:
    source = ZOO["dense"][0]()
    ed = Editor(source).grow_channels("a", 9)
    of = [0, 0, 1, 1, 2, 2, 3, 4, 5]
    kernel, bias = source.get_layer("a").get_weights()
    assert same(ed.model.get_layer("a").get_weights(), [kernel[:, of], bias[of]])
    kernel, bias = source.get_layer("b").get_weights()
    parts = np.array([2, 2, 2, 2, 2, 2, 1, 1, 1], "float32")[:, None]
    assert same(ed.model.get_layer("b").get_weights(), [kernel[of] / parts, bias])
    assert ed.model.get_layer("a").units == 9


def test_new_ones_at_random() -> None:
    """From the initializers of the layers, and nothing takes them yet."""
    x = keras.Input((4, 4, 3))
    h = layers.Conv2D(4, 1, kernel_initializer="ones", bias_initializer="zeros", name="a")(x)
    h = layers.Flatten()(layers.BatchNormalization(name="norm")(h))
    source = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    ed = Editor(source).grow_channels("a", 6, init="random")
    of, new = [0, 2, 4, 5], [1, 3]  # behind those that they would be copies of
    for name in ("a", "norm"):
        there = zip(
            source.get_layer(name).get_weights(),
            ed.model.get_layer(name).get_weights(),
            strict=True,
        )
        assert all(same(a, b[..., of]) for a, b in there)
    assert (array(ed.model.get_layer("a").kernel)[..., new] == 1).all()
    assert not array(ed.model.get_layer("a").bias)[new].any()
    numbers = [w[new].tolist() for w in ed.model.get_layer("norm").get_weights()]
    assert numbers == [[1, 1], [0, 0], [0, 0], [1, 1]]
    kernel = array(ed.model.get_layer("top").kernel).reshape(16, 6, 2)
    assert not kernel[:, new].any()
    assert same(kernel[:, of], array(source.get_layer("top").kernel).reshape(16, 4, 2))


def test_noise_makes_copies_differ() -> None:
    source, x = ZOO["dense"][0](), data(3, 4)
    ed = Editor(source).grow_channels("a", 12, noise=0.01)
    kernel = array(ed.model.get_layer("a").kernel)
    before = array(source.get_layer("a").kernel)
    assert same(kernel[:, ::2], before)
    apart = np.abs(kernel[:, 1::2] - before)
    assert apart.min() > 0
    assert apart.max() < 0.05 * before.std()
    assert not same(out(ed.model, x), out(source, x))
    close(out(ed.model, x), out(source, x), 0.02)
    edit = ed.history[0]
    assert isinstance(edit, GrowChannels)
    assert same(Editor(source).apply(edit).model.get_weights(), ed.model.get_weights())
    assert edit.to_code() == f"ed.grow_channels('a', 12, noise=0.01, seed={edit.seed})"
    assert not same(Editor(source).grow_channels("a", 12, noise=0.01).model.get_weights(),
                    ed.model.get_weights())  # fmt: skip


def test_single_channels() -> None:
    """Where layers have a single channel or unit, copies stand where the layers look for them."""

    def grown(of: Any, *shape: int) -> None:
        x = keras.Input(shape)
        source = distinct(keras.Model(x, layers.Dense(2, name="top")(of(x))))
        ed, batch = Editor(source).grow_channels("a", 3), data(2, *shape)
        close(out(ed.model, batch), out(source, batch))

    grown(lambda x: layers.LSTM(1, name="a")(x), 5, 3)
    grown(lambda x: layers.GRU(1, name="a")(layers.Dense(1)(x)), 5, 3)
    one = layers.Dense(1, activation="tanh", name="a")
    grown(lambda x: layers.Concatenate()([one(x), one(-x), one(x)]), 3)

    def by_groups(x: Any) -> Any:
        x = layers.Conv2D(4, 1, groups=2, name="b")(layers.Conv2D(4, 1, name="a")(x))
        x = layers.Conv2D(2, 1, groups=2, name="c")(x)  # one of each group
        return layers.Flatten()(x)

    x = keras.Input((2, 2, 3))
    source = distinct(keras.Model(x, layers.Dense(2, name="top")(by_groups(x))))
    batch = data(2, 2, 2, 3)
    for name, to in (("a", 6), ("b", 8), ("c", 6)):
        ed = Editor(source).grow_channels(name, to)
        close(out(ed.model, batch), out(source, batch))


def test_layers_that_are_tied_grow_together() -> None:
    ed = Editor(ZOO["residual"][0]()).grow_channels(["stem", "out1"], 9)
    assert [ed.model.get_layer(name).filters for name in ("stem", "out1", "out2")] == [9, 9, 9]
    ed = Editor(ZOO["branches"][0]()).grow_channels("a", 4)
    assert [ed.model.get_layer(name).filters for name in "abcd"] == [4, 5, 9, 9]


def test_what_is_named_by_a_pattern() -> None:
    """Layers whose channels cannot be more are passed over."""
    source, x = ZOO["dense"][0](), data(3, 4)
    ed = Editor(source).grow_channels("*", 8)
    assert [ed.model.get_layer(name).units for name in ("a", "b", "top")] == [8, 8, 2]
    close(out(ed.model, x), out(source, x))
    group = ed.channel_groups("b")[0]
    assert ed.grow_channels(group, 10).model.get_layer("b").units == 10
    ed.grow_channels("*", 9)  # b has more
    assert [ed.model.get_layer(name).units for name in ("a", "b", "top")] == [9, 10, 2]
    assert ed.report == ("'b' has 10 channels as it is.",)
    same_as_before = ed.model
    assert ed.grow_channels("b", 10).model is same_as_before


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_other_dtypes(dtype: str) -> None:
    x = keras.Input((4,))
    h = layers.Dense(6, dtype=dtype, name="a")(x)
    source = scramble(keras.Model(x, layers.Dense(2, dtype=dtype, name="top")(h)))
    ed = Editor(source).grow_channels("a", 12)
    assert ed.model.get_layer("a").kernel.dtype == source.get_layer("a").kernel.dtype
    found, wanted = (out(m, data(3, 4))[0].astype("float32") for m in (ed.model, source))
    np.testing.assert_allclose(found, wanted, atol=0.02)


# -- what cannot grow ----------------------------------------------------------------------------


def model_with(middle: Any, *shape: int) -> keras.Model:
    x = keras.Input(shape)
    h = middle(layers.Dense(6, name="a")(x))
    return scramble(keras.Model(x, layers.Dense(2, name="top")(h)))


@pytest.mark.parametrize(
    ("middle", "shape", "match"),
    [
        (layers.LayerNormalization(name="n"), (4,), "'n' reckons with all of them together"),
        (layers.UnitNormalization(name="n"), (4,), "'n' reckons with all of them together"),
        (layers.GroupNormalization(2, name="n"), (3, 4), "'n' reckons with all of them"),
        (layers.Softmax(name="s"), (4,), "'s' makes all channels sum up to 1"),
        (models.Scale(name="own"), (4,), "'own' .Scale.: it is not known what it does"),
        (lambda h: layers.Flatten()(layers.Reshape((3, 2))(h)), (4,), "they stand in another order"),
        (lambda h: layers.Attention(name="at")([h, h]), (3, 4), "'at' multiplies it with another"),
        (lambda h: layers.AdditiveAttention(use_scale=False, name="at")([h, h]), (3, 4),
         "'at' sums it up without weights"),
        (lambda h: layers.Flatten(name="f")(layers.Conv1D(1, 1, name="a1")(h)), (3, 4), ""),
    ],
)  # fmt: skip
def test_what_cannot_grow(middle: Any, shape: tuple[int, ...], match: str) -> None:
    ed = Editor(model_with(middle, *shape))
    if match:
        for init in ("function_preserving", "random"):
            refused(
                ed, StructureError, f"channels of 'a' cannot grow: .*{match}",
                lambda ed, init=init: ed.grow_channels("a", 8, init=init),
            )  # fmt: skip
    else:
        match = "channels of 'a1' cannot grow: 'f' takes it for a single one"
        refused(ed, StructureError, match, lambda ed: ed.grow_channels("a1", 2))


@pytest.mark.parametrize(
    ("target", "to", "options", "error", "match"),
    [
        ("a", 5, {}, EditError, "'a' has 6 channels and cannot grow to 5.*prune_channels"),
        ("a", 0, {}, EditError, "to is a whole number from 1 to 1,000,000, not 0"),
        ("a", 10**7, {}, EditError, "whole number from 1 to 1,000,000"),
        ("a", 7.5, {}, EditError, "whole number"),
        ("a", True, {}, EditError, "whole number"),
        ("a", 8, {"init": "zeros"}, EditError, "'function_preserving' or 'random', not 'zeros'"),
        ("a", 8, {"noise": -1}, EditError, "noise is a number from 0"),
        ("a", 8, {"noise": float("nan")}, EditError, "noise is a number from 0"),
        ("a", 8, {"noise": 0.1, "init": "random"}, EditError, "noise= is for copies"),
        ("a", 8, {"noise": 0.1, "seed": -1}, EditError, "seed is a whole number from 0"),
        ("a", 8, {"expect": 2}, TargetError, "2 layers were expected"),
        ("top", 8, {}, StructureError, "'top' cannot grow: it reaches the output 'top'"),
        ("x", 8, {}, TargetError, "makes no channels of its own"),
        ("to*", 8, {}, TargetError, "no layer whose channels can grow.*'top'"),
    ],
)
def test_bad_input(target: Any, to: Any, options: dict[str, Any], error: Any, match: str) -> None:
    refused(
        Editor(ZOO["dense"][0]()), error, match, lambda ed: ed.grow_channels(target, to, **options)
    )


def test_steps() -> None:
    """A layer of which several channels are tied to each other cannot have any number of them."""
    ed = Editor(ZOO["grouped"][0]())
    match = "'b' has 8 channels .* grows in steps of 2, and not to 11"
    refused(ed, EditError, match, lambda ed: ed.grow_channels("b", 11))
    refused(
        Editor(ZOO["both_ways"][0]()), EditError, "steps of 2",
        lambda ed: ed.grow_channels("concat", 9),
    )  # fmt: skip


# -- classes -------------------------------------------------------------------------------------


def classifier(activation: str = "softmax", rank: int = 0) -> keras.Model:
    x = keras.Input((*[6] * rank, 4))
    if rank:
        convolution = [layers.Conv1D, layers.Conv2D, layers.Conv3D][rank - 1]
        head = convolution(3, 2, activation=activation, name="head")
    else:
        head = layers.Dense(3, activation=activation, name="head")
    h = layers.Dense(5, activation="relu", name="a")(x)
    return scramble(keras.Model(x, head(h), name="classifier"))


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_old_classes_stay_to_the_bit(activation: str, rank: int) -> None:
    source = classifier(activation, rank)
    x = data(2, *[6] * rank, 4)
    ed = Editor(source).grow_outputs(2)
    assert same([w[..., :3] for w in ed.model.get_layer("head").get_weights()],
                source.get_layer("head").get_weights())  # fmt: skip
    assert ed.model.output_shape == (*source.output_shape[:-1], 5)
    found, wanted = out(ed.model, x)[0], out(source, x)[0]
    if activation == "softmax":  # what the old ones have, they share as before
        old = found[..., :3]
        np.testing.assert_allclose(old / old.sum(-1, keepdims=True), wanted, rtol=1e-5)
        assert (old < wanted).all()
    else:
        np.testing.assert_allclose(found[..., :3], wanted, rtol=1e-6)
    logits = (Editor(m).configure("head", activation="linear") for m in (ed.model, source))
    found, wanted = (out(ed.model, x)[0] for ed in logits)
    assert same(found[..., :3], wanted)


def test_new_classes_are_drawn_by_the_initializers() -> None:
    x = keras.Input((400,))
    head = layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(2.0, 0.1),
                        bias_initializer="ones", name="head")  # fmt: skip
    source = scramble(keras.Model(x, head(x)))
    ed = Editor(source).grow_outputs(4, seed=3)
    new = array(ed.model.get_layer("head").kernel)[:, 3:]
    assert 1.97 < new.mean() < 2.03
    assert 0.09 < new.std() < 0.11
    assert array(ed.model.get_layer("head").bias)[3:].tolist() == [1, 1, 1, 1]
    again = Editor(source).grow_outputs(4, seed=3).model.get_weights()
    assert same(again, ed.model.get_weights())
    assert not same(Editor(source).grow_outputs(4, seed=4).model.get_weights(), again)
    drawn = Editor(source).grow_outputs(4)
    edit = drawn.history[0]
    assert isinstance(edit, GrowOutputs)
    assert edit.seed is not None
    assert same(Editor(source).apply(edit).model.get_weights(), drawn.model.get_weights())


def test_layers_behind_the_head() -> None:
    """Activations, also as layers and operations, a nested model, and a Sequential."""
    z = keras.Input((5,))
    h = layers.Dropout(0.5)(layers.Dense(3, name="head")(z))
    inner = keras.Model(z, layers.Activation("sigmoid")(h), name="inner")
    x = keras.Input((4,))
    h = ops.softmax(inner(layers.Dense(5)(x)))
    source = scramble(keras.Model(x, h))
    ed = Editor(source).grow_outputs(1)
    assert ed.model.output_shape == (None, 4)
    assert ed.model.get_layer("inner").get_layer("head").units == 4
    stack = [keras.Input((6, 6, 3)), layers.GlobalAveragePooling2D(keepdims=True)]
    stack += [layers.Conv2D(4, 1), layers.Reshape((4,)), layers.Softmax()]
    assert Editor(keras.Sequential(stack)).grow_outputs(2).model.output_shape == (None, 6)
    stack[3:] = [layers.Flatten()]
    assert Editor(keras.Sequential(stack)).grow_outputs(2).model.output_shape == (None, 6)
    stack[1:] = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    assert Editor(keras.Sequential(stack)).grow_outputs(2).model.output_shape == (None, 6)
    spread = keras.Sequential([*stack[:2], layers.Flatten(name="flat")])
    match = "at the end of the model; here is 'flat' .Flatten."
    refused(Editor(spread), StructureError, match, lambda ed: ed.grow_outputs(2))
    chain = models.chain()
    ed = Editor(chain).append(layers.Softmax()).grow_outputs(3)
    assert type(ed.model) is keras.Sequential
    assert ed.model.output_shape == (None, 5)


def several() -> keras.Model:
    x = keras.Input((4,))
    one, two = layers.Dense(3, name="one")(x), layers.Dense(2, name="two")(x)
    return scramble(keras.Model(x, {"left": one, "right": two}))


def headed(head: Any, *shape: int, behind: Any = None) -> keras.Model:
    x = keras.Input(shape)
    h = head(layers.Dense(4, activation="relu", name="a")(x))
    return scramble(keras.Model(x, h if behind is None else behind(h)))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.Dense(3, name="inside"), (5, 4)),
        (lambda: layers.Dense(3, use_bias=False, activation="sigmoid", name="inside"), (5, 2, 4)),
        (lambda: layers.Conv1D(3, 2, name="inside"), (5, 6, 4)),
    ],
    ids=["dense", "sigmoid", "convolution"],
)
def test_a_head_for_each_step(make: Any, shape: tuple[int, ...]) -> None:
    source, x = headed(layers.TimeDistributed(make(), name="head"), *shape), data(2, *shape)
    ed = Editor(source).grow_outputs(2, seed=1)
    plan = Editor(source).preview.grow_outputs(2, seed=1)
    assert plan.params_after == ed.model.count_params()
    head = ed.model.get_layer("head")
    assert ed.model.output_shape == (*source.output_shape[:-1], 5)
    before = source.get_layer("head").get_weights()
    assert same([w[..., :3] for w in head.get_weights()], before)
    assert np.abs(head.get_weights()[0][..., 3:]).min() > 0
    np.testing.assert_allclose(out(ed.model, x)[0][..., :3], out(source, x)[0], rtol=1e-5)
    again = Recipe.from_json(ed.recipe().to_json()).apply(source)
    assert same(again.model.get_weights(), ed.model.get_weights())


def test_behind_a_head_for_each_step() -> None:
    each = layers.TimeDistributed
    source = headed(layers.Dense(3, name="head"), 5, 4, behind=each(layers.Softmax()))
    assert Editor(source).grow_outputs(2).model.output_shape == (None, 5, 5)
    source = headed(
        layers.Dense(3, name="head"), 5, 4, behind=each(layers.UnitNormalization(), name="u")
    )
    match = "here is 'u' .TimeDistributed.. .* ed.replace"
    refused(Editor(source), StructureError, match, lambda ed: ed.grow_outputs(2))


@pytest.mark.parametrize("rank", [0, 2])
def test_a_head_with_lora(rank: int) -> None:
    """The small kernels go on: of the classes that are new, nothing has been learned by them."""
    source = classifier("linear", rank)
    head = source.get_layer("head")
    head.enable_lora(2)
    head.lora_kernel_b.assign(data(*head.lora_kernel_b.shape))
    x = data(2, *[6] * rank, 4)
    ed = Editor(source).grow_outputs(2)
    grown = ed.model.get_layer("head")
    assert same(grown.lora_kernel_a, head.lora_kernel_a)
    assert same(array(grown.lora_kernel_b)[..., :3], array(head.lora_kernel_b))
    assert not array(grown.lora_kernel_b)[..., 3:].any()
    assert same(array(grown.bias)[:3], array(head.bias))
    assert [w.path.split("/")[-1] for w in grown.trainable_weights] == [
        w.path.split("/")[-1] for w in head.trainable_weights
    ]
    np.testing.assert_allclose(out(ed.model, x)[0][..., :3], out(source, x)[0], rtol=1e-5)
    ed.model.compile("sgd", "mse")
    ed.model.fit(x, out(ed.model, x)[0] + 1, verbose=0)
    assert ed.verify()


def test_heads_that_cannot_get_classes() -> None:
    grouped = headed(layers.Conv1D(4, 2, groups=2, name="head"), 6, 4)
    match = "'head' is a grouped convolution, .* Put another head in its place with ed.replace"
    ed = Editor(grouped)
    refused(ed, StructureError, match, lambda ed: ed.grow_outputs(1))
    ed.replace("head", layers.Conv1D(4, 2, name="head")).grow_outputs(1)  # as it says
    assert ed.model.output_shape == (None, 5, 5)
    each = headed(layers.TimeDistributed(layers.Conv1D(4, 2, groups=2), name="head"), 5, 6, 4)
    refused(Editor(each), StructureError, match, lambda ed: ed.grow_outputs(1))


@pytest.mark.tensorflow
def test_a_quantized_head_cannot_get_classes() -> None:
    ed = Editor(headed(layers.Dense(3, name="head"), 4)).quantize("int8", target="head")
    match = "'head' has the weights kernel_scale, .* before ed.quantize"
    refused(ed, StructureError, match, lambda ed: ed.grow_outputs(1))
    assert ed.undo().grow_outputs(1).quantize("int8").model.output_shape == (None, 4)


def test_which_output() -> None:
    for output in ("right", 1, "two"):
        ed = Editor(several()).grow_outputs(2, output)
        assert {k: t.shape[-1] for k, t in ed.model.output.items()} == {"left": 3, "right": 4}
    ask = "which output gets classes, with output=. There are 0: 'left', 1: 'right'"
    refused(Editor(several()), StructureError, ask, lambda ed: ed.grow_outputs(2))
    refused(Editor(several()), StructureError, ask, lambda ed: ed.grow_outputs(2, 2))
    no = "no layer 'middle'"
    refused(Editor(several()), TargetError, no, lambda ed: ed.grow_outputs(2, "middle"))


def elsewhere_too() -> keras.Model:
    x = keras.Input((4,))
    head = layers.Dense(3, name="head")(x)
    return scramble(keras.Model(x, [layers.Softmax()(head), layers.Dense(2)(head)]))


def called_twice() -> keras.Model:
    x, y = keras.Input((4,)), keras.Input((4,))
    head = layers.Dense(3, name="head")
    return scramble(keras.Model([x, y], [head(x), head(y)]))


def no_head() -> keras.Model:
    return model_with(layers.BatchNormalization(), 4).layers and scramble(
        keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.BatchNormalization(name="n")])
    )


def by_groups() -> keras.Model:
    stack = [keras.Input((4, 4)), layers.Conv1D(4, 1, groups=2, name="head")]
    return scramble(keras.Sequential(stack))


@pytest.mark.parametrize(
    ("make", "output", "match"),
    [
        (elsewhere_too, 0, "What 'head' makes goes to 'dense' too"),
        (called_twice, 0, "'head' is called 2 times"),
        (no_head, None, "at the end of the model; here is 'n' .BatchNormalization."),
        (by_groups, None, "'head' is a grouped convolution"),
    ],
)
def test_where_no_classes_can_be_added(make: Any, output: Any, match: str) -> None:
    refused(Editor(make()), StructureError, match, lambda ed: ed.grow_outputs(1, output))


@pytest.mark.parametrize("n", [0, -1, 1.5, True, 10**7])
def test_numbers_of_classes(n: Any) -> None:
    match = "n is a whole number from 1"
    refused(Editor(classifier()), EditError, match, lambda ed: ed.grow_outputs(n))
    with pytest.raises(EditError, match="seed is"):
        Editor(classifier()).grow_outputs(1, seed=-1)


# -- what follows --------------------------------------------------------------------------------


def slots(model: Any) -> dict[str, np.ndarray]:
    return {v.path.split("/")[-1]: array(v) for v in model.optimizer.variables}


def test_optimizer_slots_follow() -> None:
    source = ZOO["dense"][0]()
    source.compile("adam", "mse")
    source.fit(data(8, 4), data(8, 2), verbose=0)
    before, of = slots(source), [0, 0, 1, 1, 2, 3, 4, 5]
    found = slots(Editor(source).grow_channels("a", 8).model)
    assert before["a_kernel_momentum"].any()
    assert found["iteration"] == before["iteration"] == 1
    assert same(found["a_kernel_velocity"], before["a_kernel_velocity"][:, of])
    assert same(found["b_kernel_momentum"], before["b_kernel_momentum"][of])
    assert same(found["b_bias_velocity"], before["b_bias_velocity"])
    found = slots(Editor(source).grow_outputs(2).model)
    assert same(found["top_kernel_momentum"][:, :2], before["top_kernel_momentum"])
    assert not found["top_kernel_momentum"][:, 2:].any()


def test_training_goes_on() -> None:
    """From the loss where it was, and without a jump."""
    source = ZOO["residual"][0]()
    x, y = data(16, 8, 8, 3), data(16, 2)
    source.compile(keras.optimizers.Adam(1e-3), "mse")
    source.fit(x, y, epochs=3, verbose=0)
    ed = Editor(source).grow_channels("in*", 7).grow_channels("stem", 9, init="random")
    losses = ed.model.fit(x, y, epochs=3, batch_size=16, verbose=0).history["loss"]
    np.testing.assert_allclose(losses[0], source.evaluate(x, y, verbose=0), rtol=0.2)
    assert losses[-1] < losses[0]
    assert array(ed.model.get_layer("out1").kernel)[..., -1].any()


def test_what_was_trained_grows() -> None:
    """Also what was trained between the edit and the next look at the model."""
    ed = Editor(ZOO["dense"][0]())
    handed_out = ed.model
    ed.grow_channels("a", 9).grow_outputs(2)
    handed_out.get_layer("b").kernel.assign(data(6, 5))
    x = data(3, 4)
    close([out(ed.model, x)[0][:, :2]], out(handed_out, x))


def test_growing_twice_and_pruning_before_the_model_is_built() -> None:
    source, x = ZOO["u_net"][0](), data(3, 8, 8, 3)
    ed = Editor(source).grow_channels("down1", 5).grow_channels("down1", 11)
    ed.grow_channels("down2", 8, init="random").prune_channels("down2", keep=[0, 2, 4, 5, 6, 7])
    close(out(ed.model, x), out(source, x))


def test_what_an_edit_put_in_grows() -> None:
    """Its first values are drawn then; what is known only in part is kept."""
    source, x = ZOO["dense"][0](), data(3, 4)
    ed = Editor(source).configure("a", units=8, on_mismatch="slice")
    ed.insert(layers.Dense(8, name="new"), after="a").grow_channels("a", 10)
    ed.grow_channels("new", 9)
    kernel = array(ed.model.get_layer("a").kernel)
    assert same(kernel[:, [0, 2, 4, 5, 6, 7]], array(source.get_layer("a").kernel))
    assert out(ed.model, x)[0].shape == (3, 2)


def test_undo_and_redo_give_the_same_bits() -> None:
    source, x = classifier(), data(3, 4)
    ed = Editor(source).grow_channels("a", 9, noise=0.1).grow_outputs(3)
    after = out(ed.model, x)
    assert same(out(ed.undo(2).model, x), out(source, x))
    assert same(out(ed.redo(2).model, x), after)
    assert same(out(ed.reset().model, x), out(source, x))


def test_a_plan_changes_nothing() -> None:
    source = ZOO["residual"][0]()
    ed = Editor(source)
    plan = ed.preview.grow_channels("**", 8)
    assert plan.ok and plan.code == "ed.grow_channels('**', 8)"
    assert not ed.history
    assert ed.grow_channels("**", 8).model.count_params() == plan.params_after
    plan = ed.preview.grow_outputs(2, seed=1)
    assert plan.ok and plan.code == "ed.grow_outputs(2, seed=1)"
    assert plan.shape_changes == (("top", (None, 2), (None, 4)),)


def test_a_recipe_grows_the_weights_of_the_model_that_it_is_for() -> None:
    ed = Editor(classifier()).grow_channels("a", 9, init="random").grow_outputs(2)
    recipe = ed.recipe()
    assert not recipe.values
    other, x = scramble(classifier(), seed=9), data(3, 4)
    again = Recipe.from_json(recipe.to_json()).apply(other)
    logits = [Editor(m).configure("head", activation="linear") for m in (again.model, other)]
    found, wanted = (out(ed.model, x)[0] for ed in logits)
    close([found[:, :3]], [wanted])


def test_the_documentation_shows_what_is_printed() -> None:
    assert check_page("growing.md") == 1
