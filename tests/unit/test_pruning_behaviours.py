"""What the surgery library for Keras 2 is tested with, one named behaviour each, by outputs.

A layer called "made" loses the first, the last and two neighbouring channels. What is left puts out
what zeros in their place would put out; so it does behind every layer that passes channels on, in
both data formats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor
from tests.models import check_equal, data, give, out, refused, same, scramble, whole
from tests.pruning import check_pruned, distinct

Format = Literal["channels_first", "channels_last"]
FORMATS: tuple[Format, Format] = ("channels_last", "channels_first")
CHANNELS = ([0], [-1], [1, 2])
# The last one is longer than there are channels: with channels first on TensorFlow, Keras adds a
# bias along the last axis where that is as long as there are channels.
SIDES = {1: (12,), 2: (5, 12), 3: (4, 3, 12)}
CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


def check(source: keras.Model, x: Any, targets: Any = "made") -> None:
    """Prunes each of some choices of channels by itself."""
    distinct(source)
    for drop in CHANNELS:
        ed = Editor(source).prune_channels(targets, drop=drop)
        layer = ed.model.get_layer(targets if isinstance(targets, str) else targets[0])
        before = source.get_layer(layer.name)
        assert layer.output.shape != before.output.shape
        check_pruned(source, ed.model, x)


def flat(x: Any, form: Format | None = None) -> Any:
    """To a Dense layer, which tells each position from each other one."""
    x = layers.Flatten(data_format=form)(x) if len(x.shape) > 2 else x
    return layers.Dense(2, name="top")(x)


# -- behind a convolution of 1, 2 or 3 dimensions ------------------------------------------------

Between = Callable[[Format, int], Any]
"""Gives what stands between a convolution and the end, for a data format and the channels' axis."""

BETWEEN: dict[str, tuple[int, Between]] = {
    "flatten 1D": (1, lambda form, axis: layers.Identity()),
    "flatten 2D": (2, lambda form, axis: layers.Identity()),
    "flatten 3D": (3, lambda form, axis: layers.Identity()),
    "conv to conv 1D": (1, lambda form, axis: layers.Conv1D(3, 2, data_format=form)),
    "conv to conv 2D": (2, lambda form, axis: layers.Conv2D(3, 2, data_format=form)),
    "conv to conv 3D": (3, lambda form, axis: layers.Conv3D(3, 2, data_format=form)),
    "max pooling 1D": (1, lambda form, axis: layers.MaxPooling1D(2, data_format=form)),
    "max pooling 2D": (2, lambda form, axis: layers.MaxPooling2D(2, data_format=form)),
    "max pooling 3D": (3, lambda form, axis: layers.MaxPooling3D((2, 1, 2), data_format=form)),
    "average pooling 1D": (1, lambda form, axis: layers.AveragePooling1D(2, data_format=form)),
    "average pooling 2D": (2, lambda form, axis: layers.AveragePooling2D((2, 3), data_format=form)),
    "average pooling 3D": (3, lambda form, axis: layers.AveragePooling3D(2, data_format=form)),
    "global average pooling 1D": (
        1, lambda form, axis: layers.GlobalAveragePooling1D(data_format=form),
    ),
    "global average pooling 2D": (
        2, lambda form, axis: layers.GlobalAveragePooling2D(data_format=form),
    ),
    "global average pooling 3D": (
        3, lambda form, axis: layers.GlobalAveragePooling3D(data_format=form, keepdims=True),
    ),
    "global max pooling 1D": (1, lambda form, axis: layers.GlobalMaxPooling1D(data_format=form)),
    "global max pooling 2D": (
        2, lambda form, axis: layers.GlobalMaxPooling2D(data_format=form, keepdims=True),
    ),
    "global max pooling 3D": (3, lambda form, axis: layers.GlobalMaxPooling3D(data_format=form)),
    "cropping 2D": (2, lambda form, axis: layers.Cropping2D((1, 2), data_format=form)),
    "cropping 3D": (3, lambda form, axis: layers.Cropping3D((1, 0, 1), data_format=form)),
    "zero padding 2D": (2, lambda form, axis: layers.ZeroPadding2D((2, 1), data_format=form)),
    "zero padding 3D": (3, lambda form, axis: layers.ZeroPadding3D((1, 0, 1), data_format=form)),
    "upsampling 2D": (2, lambda form, axis: layers.UpSampling2D((2, 3), data_format=form)),
    "upsampling 3D": (3, lambda form, axis: layers.UpSampling3D((2, 1, 2), data_format=form)),
    "batch normalization": (2, lambda form, axis: layers.BatchNormalization(axis)),
    "Gaussian noise": (2, lambda form, axis: layers.GaussianNoise(0.5)),
    "Gaussian dropout": (2, lambda form, axis: layers.GaussianDropout(0.5)),
    "alpha dropout": (2, lambda form, axis: layers.AlphaDropout(0.5)),
    "dropout": (2, lambda form, axis: layers.Dropout(0.5)),
    "spatial dropout 1D": (1, lambda form, axis: layers.SpatialDropout1D(0.5)),
    "spatial dropout 2D": (2, lambda form, axis: layers.SpatialDropout2D(0.5, data_format=form)),
    "spatial dropout 3D": (3, lambda form, axis: layers.SpatialDropout3D(0.5, data_format=form)),
    "activity regularization": (2, lambda form, axis: layers.ActivityRegularization(0.1)),
    "leaky ReLU": (2, lambda form, axis: layers.LeakyReLU(0.3)),
    "parametric ReLU": (2, lambda form, axis: layers.PReLU()),
    "parametric ReLU of a channel": (
        2, lambda form, axis: layers.PReLU(shared_axes=[n for n in (1, 2, 3) if n != axis % 4]),
    ),
    "exponential LU": (2, lambda form, axis: layers.ELU(0.7)),
    "ReLU": (2, lambda form, axis: layers.ReLU(negative_slope=0.1, threshold=0.2)),
    "activation": (2, lambda form, axis: layers.Activation("softplus")),
    "softmax over positions": (2, lambda form, axis: layers.Softmax(2 if axis == 1 else 1)),
    "depthwise convolution 1D": (
        1, lambda form, axis: layers.DepthwiseConv1D(2, depth_multiplier=2, data_format=form),
    ),
    "depthwise convolution 2D": (
        2, lambda form, axis: layers.DepthwiseConv2D(2, depth_multiplier=2, data_format=form),
    ),
    "separable convolution 1D": (
        1, lambda form, axis: layers.SeparableConv1D(3, 2, depth_multiplier=2, data_format=form),
    ),
    "separable convolution 2D": (
        2, lambda form, axis: layers.SeparableConv2D(3, 2, data_format=form),
    ),
    "transposed convolution 1D": (1, lambda form, axis: layers.Conv1DTranspose(3, 2, data_format=form)),
    "transposed convolution 2D": (2, lambda form, axis: layers.Conv2DTranspose(3, 2, data_format=form)),
    "transposed convolution 3D": (3, lambda form, axis: layers.Conv3DTranspose(3, 2, data_format=form)),
}  # fmt: skip


def convolved(rank: int, form: Format, between: Callable[[Any], Any]) -> tuple[keras.Model, Any]:
    """A convolution and what comes behind it, and a batch for it."""
    side = SIDES[rank]
    shape = (2, *side) if form == "channels_first" else (*side, 2)
    x = keras.Input(shape, name="x")
    h = CONVOLUTIONS[rank](4, 2, data_format=form, name="made")(x)
    return keras.Model(x, flat(between(h), form)), data(2, *shape)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", BETWEEN)
def test_behind_a_convolution(name: str, form: Format) -> None:
    rank, between = BETWEEN[name]
    check(*convolved(rank, form, between(form, 1 if form == "channels_first" else -1)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["separable 1D", "separable 2D", "transposed 1D", "transposed 2D",
                                  "transposed 3D"])  # fmt: skip
def test_convolutions_of_other_kinds(kind: str, form: Format) -> None:
    """They lose channels themselves."""
    which, rank = kind.split()[0], int(kind[-2])
    names = {"separable": f"SeparableConv{rank}D", "transposed": f"Conv{rank}DTranspose"}
    side = SIDES[rank]
    shape = (2, *side) if form == "channels_first" else (*side, 2)
    x = keras.Input(shape, name="x")
    h = getattr(layers, names[which])(4, 2, data_format=form, name="made")(x)
    check(keras.Model(x, flat(h, form)), data(2, *shape))


# -- merges --------------------------------------------------------------------------------------

MERGES: dict[str, Callable[[int], Any]] = {
    "add": lambda axis: layers.Add(),
    "subtract": lambda axis: layers.Subtract(),
    "multiply": lambda axis: layers.Multiply(),
    "average": lambda axis: layers.Average(),
    "maximum": lambda axis: layers.Maximum(),
    "minimum": lambda axis: layers.Minimum(),
    "concatenate": lambda axis: layers.Concatenate(axis),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", MERGES)
def test_merges(name: str, form: Format) -> None:
    """What two convolutions of two inputs make; only a concatenation leaves the other as it is."""
    shape = (2, *SIDES[2]) if form == "channels_first" else (*SIDES[2], 2)
    x, y = keras.Input(shape, name="x"), keras.Input(shape, name="y")
    a = layers.Conv2D(4, 2, data_format=form, name="made")(x)
    b = layers.Conv2D(4, 2, data_format=form, name="other")(y)
    h = MERGES[name](1 if form == "channels_first" else -1)([a, b])
    source = distinct(keras.Model([x, y], flat(h, form)))
    batch = [data(2, *shape), data(2, *shape, seed=3)]
    check(source, batch)
    left = Editor(source).prune_channels("made", drop=[1]).model.get_layer("other").filters
    assert left == (4 if name == "concatenate" else 3)


@pytest.mark.parametrize("normalize", [False, True])
def test_dot(normalize: bool) -> None:
    """It sums up over the channels of both, which go together, or over positions."""
    x = keras.Input((3, 4), name="x")
    a, b = layers.Dense(4, name="made")(x), layers.Dense(4, name="other")(x)
    h = layers.Dot(axes=-1, normalize=normalize)([a, b])
    source = keras.Model(x, flat(h))
    check(source, data(2, 3, 4))
    group = Editor(source).channel_groups("made")[0]
    assert group.makers == ("made", "other")
    assert group.mixed == (("dot",) if normalize else ())
    a = layers.Dense(4, activation="tanh", name="made")(x)
    h = layers.Dot(axes=(1, 1), normalize=normalize)([a, x])
    check(keras.Model(x, flat(h)), data(2, 3, 4))


# -- layers that are no convolutions -------------------------------------------------------------

CHAINS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "dense to dense": (
        (4,), lambda x: layers.Dense(3, name="b")(layers.Dense(5, "relu", name="made")(x)),
    ),
    "dense on rows": ((3, 4), lambda x: layers.Dense(5, name="made")(x)),
    "dense on a grid": ((3, 2, 4), lambda x: layers.Dense(5, name="made")(x)),
    "cropping 1D": ((6, 2), lambda x: layers.Cropping1D(1)(layers.Conv1D(4, 2, name="made")(x))),
    "zero padding 1D": (
        (6, 2), lambda x: layers.ZeroPadding1D(2)(layers.Conv1D(4, 2, name="made")(x)),
    ),
    "upsampling 1D": (
        (6, 2), lambda x: layers.UpSampling1D(3)(layers.Conv1D(4, 2, name="made")(x)),
    ),
    "permute": ((3, 2), lambda x: layers.Permute((2, 1))(layers.Dense(4, name="made")(x))),
    "reshape": ((3, 2), lambda x: layers.Reshape((-1, 3, 4))(layers.Dense(4, name="made")(x))),
    "repeat": ((3,), lambda x: layers.RepeatVector(3)(layers.Dense(4, name="made")(x))),
    "time distributed": (
        (3, 2), lambda x: layers.TimeDistributed(layers.Dense(3, name="in"), name="each")(
            layers.TimeDistributed(layers.Dense(4, "tanh"), name="made")(x)
        ),
    ),
    "simple RNN": (
        (5, 3), lambda x: layers.GRU(3)(layers.SimpleRNN(4, return_sequences=True, name="made")(x)),
    ),
    "GRU": ((5, 3), lambda x: layers.GRU(3)(layers.GRU(4, return_sequences=True, name="made")(x))),
    "GRU reset before": (
        (5, 3), lambda x: layers.GRU(3)(
            layers.GRU(4, return_sequences=True, reset_after=False, name="made")(x)
        ),
    ),
    "LSTM": ((5, 3), lambda x: layers.GRU(3)(layers.LSTM(4, return_sequences=True, name="made")(x))),
    "LSTM, last step": ((5, 3), lambda x: layers.LSTM(4, name="made")(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_layers_of_other_kinds(name: str) -> None:
    shape, chain = CHAINS[name]
    x = keras.Input(shape, name="x")
    check(keras.Model(x, flat(chain(x))), data(2, *shape))


def test_embedding() -> None:
    x = keras.Input((5,), dtype="int32", name="x")
    h = layers.Embedding(9, 4, name="made")(x)
    check(keras.Model(x, flat(layers.Conv1D(3, 2)(h))), whole(9, 3, 5))


@pytest.mark.parametrize(
    "activation", [layers.Softmax(name="soft"), layers.Activation("softmax", name="soft")],
    ids=["layer", "activation"],
)  # fmt: skip
def test_softmax_over_the_channels_stops_them(activation: Any) -> None:
    """The others would be larger without one of them, so that this is no zeroing."""
    x = keras.Input((4,))
    h = activation(layers.Dense(5, name="made")(x))
    source = scramble(keras.Model(x, layers.Dense(2)(h)))
    act = lambda ed: ed.prune_channels("made", drop=[0])  # noqa: E731
    refused(Editor(source), EditError, "channels of 'made' cannot go.*soft", act)


def test_downstream_sharing() -> None:
    """A layer that is called behind two others ties their channels."""
    x = keras.Input((5,), name="x")
    shared = layers.Dense(3, name="shared")
    outputs = [shared(layers.Dense(4, name=name)(x)) for name in ("made", "other")]
    source, batch = keras.Model(x, outputs), data(3, 5)
    check(source, batch)
    ed = Editor(source).prune_channels("made", drop=[0]).prune_channels("other", drop=[0])
    assert [ed.model.get_layer(name).units for name in ("made", "other", "shared")] == [2, 2, 3]
    check_pruned(source, ed.model, batch)


# -- whole layers and branches -------------------------------------------------------------------


def two_branches(long: bool, merge: Any) -> keras.Model:
    x = keras.Input((6, 6, 3), name="x")
    a = layers.Conv2D(2, 3, name="a1")(x)
    a = layers.Conv2D(3, 1, name="a2")(a) if long else a
    b = layers.Conv2D(3, 3, name="b")(x)
    return scramble(keras.Model(x, merge(name="merge")([a, b])))


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_whole_branch_goes(long: bool) -> None:
    """All channels are a branch: it goes with its merge, and pruning says so."""
    source, batch = two_branches(long, layers.Concatenate), data(2, 6, 6, 3)
    all_of_it = lambda ed: ed.prune_channels("a1", drop=[0, 1], outputs=True)  # noqa: E731
    refused(Editor(source), EditError, "all 2 channels of 'a1'.*ed.remove", all_of_it)
    ed = Editor(source).remove("merge", keep="b")
    assert [layer.name for layer in ed.model.layers] == ["x", "b"]
    expected = keras.Model(source.input, source.get_layer("b").output)
    check_equal(ed.model, expected, batch)


def test_a_whole_branch_of_a_sum_goes() -> None:
    """What is left is what zeros in its place would give."""
    source, batch = two_branches(True, layers.Add), data(2, 6, 6, 3)
    ed = Editor(source).remove("merge", keep=1)
    zeros = Editor(source).map_weights("a2", np.zeros_like)
    check_equal(ed.model, zeros.model, batch)


def stack(*names: str, twice: str = "") -> keras.Sequential | keras.Model:
    x = h = keras.Input((3,), name="x")
    shared = {name: layers.Dense(3, activation="tanh", name=name) for name in names}
    for name in (*names, twice) if twice else names:
        h = shared[name](h)
    return scramble(keras.Model(x, h))


def test_a_layer_goes() -> None:
    source = stack("a", "b", "c", "d")
    expected = give(stack("a", "c", "d"), source)
    check_equal(Editor(source).remove("b").model, expected, data(3, 3))


def test_a_layer_goes_wherever_it_is_called() -> None:
    source = stack("a", "b", "c", twice="b")
    check_equal(Editor(source).remove("b").model, give(stack("a", "c"), source), data(3, 3))
    first = give(stack("a", "c", "b"), source)
    check_equal(Editor(source).remove("b", call=0).model, first, data(3, 3))


def test_a_layer_goes_before_one_that_makes_two_outputs() -> None:
    def make(short: bool) -> keras.Model:
        x = keras.Input((5,), name="x")
        h = layers.Dense(3, name="a")(x)
        last = layers.Dense(2, name="d")
        other = layers.Dense(3, name="b")(h)
        return keras.Model(x, [last(h if short else layers.Dense(3, name="c")(h)), last(other)])

    source = scramble(make(False))
    check_equal(Editor(source).remove("c").model, give(make(True), source), data(3, 5))


def test_a_layer_is_replaced() -> None:
    source, new = stack("a", "b", "c"), layers.Dense(3, name="new")
    new.build((None, 3))
    ed = Editor(source).replace("b", new, weights="none")
    assert same(ed.model.get_layer("new").get_weights(), new.get_weights())
    h = new(source.get_layer("a").output)
    check_equal(ed.model, keras.Model(source.input, source.get_layer("c")(h)), data(3, 3))


def test_a_layer_is_inserted() -> None:
    source, new = stack("a", "b", "c"), layers.Dense(3, name="new")
    new.build((None, 3))
    h = source.get_layer("c")(new(source.get_layer("b").output))
    ed = Editor(source).insert(new, before="c")
    check_equal(ed.model, keras.Model(source.input, h), data(3, 3))


def test_a_model_is_rebuilt() -> None:
    """Without an edit: a Sequential, a functional model, and a part of one as a model."""
    source, batch = convolved(2, "channels_last", layers.ReLU())
    chain = keras.Sequential([keras.Input((*SIDES[2], 2)), *scramble(source).layers[1:]])
    part = keras.Model(source.input, source.layers[1].output)
    for model in (source, chain, part):
        copy = Editor(model).model
        assert type(copy) is type(model)
        assert same(out(copy, batch), out(model, batch))
        assert same(copy.get_weights(), model.get_weights())


def test_a_compiled_model_stays_compiled() -> None:
    source = keras.Sequential(
        [
            keras.Input((7,)),
            layers.Dense(6, "relu", name="d6"),
            layers.Dense(5, "relu", name="d5"),
            layers.Dense(3, "softmax"),
        ]
    )
    source.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    check(source, data(3, 7), "d6")
    ed = Editor(source).prune_channels("d5", drop=[0])
    found = ed.model.evaluate(data(3, 7), np.eye(3), verbose=0, return_dict=True)
    assert found.keys() == {"loss", "accuracy"}
    loss = -np.log(out(ed.model, data(3, 7))[0][np.arange(3), np.arange(3)]).mean()
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    assert ops.convert_to_numpy(ed.model.optimizer.iterations) == 0
