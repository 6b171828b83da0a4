"""Random models, random channels: what is pruned puts out what zeros would put out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from kerasedit import Editor
from kerasedit.compress.costs import COSTS
from kerasedit.compress.groups import Channels
from kerasedit.compress.scores import CRITERIA
from kerasedit.edits import PruneChannels
from tests.models import data, out, same
from tests.properties import families
from tests.pruning import check_pruned, costs, distinct, to

SIDE = 4


@st.composite
def models(draw: Any) -> keras.Model:
    """A model of blocks as people make them: on a picture first, then on a sequence or a vector."""
    x = inputs = keras.Input((SIDE, SIDE, 3))
    earlier: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        block = draw(st.sampled_from(PICTURE))
        x = block(draw, x, earlier)
        earlier.append(x)
    kind = draw(st.sampled_from(["pool", "flatten", "sequence", "rows"]))
    if kind == "pool":
        x = layers.GlobalAveragePooling2D()(x)
    elif kind == "flatten":
        x = layers.Flatten()(x)
    elif kind == "sequence":
        x = layers.Reshape((SIDE * SIDE, x.shape[-1]))(x)
    else:
        x = layers.Permute((2, 1, 3))(x)
        x = layers.Reshape((SIDE, SIDE * x.shape[-1]))(x)
    if len(x.shape) == 3:
        for _ in range(draw(st.integers(1, 3))):
            x = draw(st.sampled_from(SEQUENCE))(draw, x)
        x = draw(st.sampled_from([layers.Flatten, layers.GlobalMaxPooling1D]))()(x)
    if draw(st.booleans()):
        x = layers.Dense(draw(st.integers(2, 6)), activation="tanh")(x)
    return distinct(keras.Model(inputs, layers.Dense(2)(x)), draw(st.integers(0, 99)))


def size(draw: Any) -> int:
    return draw(st.sampled_from([2, 4, 6]))


def plain(draw: Any, x: Any, earlier: list[Any]) -> Any:
    x = layers.Conv2D(size(draw), draw(st.integers(1, 3)), padding="same")(x)
    if draw(st.booleans()):
        x = layers.BatchNormalization()(x)
    return layers.Activation(draw(st.sampled_from(["relu", "sigmoid", "swish"])))(x)


def separable(draw: Any, x: Any, earlier: list[Any]) -> Any:
    return layers.SeparableConv2D(size(draw), 2, padding="same", depth_multiplier=2)(x)


def grouped(draw: Any, x: Any, earlier: list[Any]) -> Any:
    x = layers.Conv2D(draw(st.sampled_from([4, 8])), 1)(x)
    groups = draw(st.sampled_from([2, x.shape[-1]]))
    return layers.Conv2D(8, 3, padding="same", groups=groups)(x)


def residual(draw: Any, x: Any, earlier: list[Any]) -> Any:
    y = layers.Conv2D(size(draw), 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(x.shape[-1], 1)(y)
    return layers.Add()([x, y]) if draw(st.booleans()) else x + y


def inverted(draw: Any, x: Any, earlier: list[Any]) -> Any:
    y = layers.Conv2D(2 * x.shape[-1], 1)(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.integers(1, 2)))(y)
    y = layers.BatchNormalization()(y)
    s = layers.GlobalAveragePooling2D(keepdims=True)(y)
    s = layers.Dense(size(draw), activation="relu")(s)
    y = y * layers.Dense(y.shape[-1], activation="sigmoid")(s)
    y = layers.Conv2D(x.shape[-1], 1)(y)
    return layers.Add()([y, x])


def beside(draw: Any, x: Any, earlier: list[Any]) -> Any:
    """As in DenseNet and U-Net: beside what there was before."""
    y = layers.Conv2D(size(draw), 3, padding="same")(x)
    others = [draw(st.sampled_from(earlier))] if earlier else [x]
    return layers.Concatenate()(draw(st.permutations([y, *others])))


def down_and_up(draw: Any, x: Any, earlier: list[Any]) -> Any:
    y = layers.MaxPooling2D(2)(x)
    y = layers.Conv2D(size(draw), 2, padding="same")(y)
    up = draw(st.sampled_from([layers.UpSampling2D(2), layers.Conv2DTranspose(4, 2, strides=2)]))
    return layers.Concatenate()([up(y), x])


def merged(draw: Any, x: Any, earlier: list[Any]) -> Any:
    """Several branches of one size, some of which are made of parts."""
    width = size(draw)
    a = layers.Conv2D(width, 1)(x)
    half = [layers.Conv2D(width // 2, 1)(x) for _ in range(2)]
    b = layers.Concatenate()(half)
    merge = draw(
        st.sampled_from([layers.Average, layers.Maximum, layers.Multiply, layers.Subtract])
    )
    return merge()([a, b])


def twice(draw: Any, x: Any, earlier: list[Any]) -> Any:
    shared = layers.Conv2D(x.shape[-1], 1, activation="tanh")
    return shared(shared(x))


def inner(draw: Any, x: Any, earlier: list[Any]) -> Any:
    z = keras.Input(x.shape[1:])
    h = residual(draw, plain(draw, z, []), [])
    return keras.Model(z, h)(x)


PICTURE = [
    plain, separable, grouped, residual, inverted, beside, down_and_up, merged, twice, inner
]  # fmt: skip


def recurrent(draw: Any, x: Any) -> Any:
    cls = draw(st.sampled_from([layers.SimpleRNN, layers.GRU, layers.LSTM]))
    layer = cls(draw(st.integers(2, 4)), return_sequences=True)
    if draw(st.booleans()):
        mode = draw(st.sampled_from(["concat", "sum", "mul", "ave"]))
        layer = layers.Bidirectional(layer, merge_mode=mode)
    return layer(x)


def attended(draw: Any, x: Any) -> Any:
    heads = draw(st.integers(2, 3))
    return layers.Add()([x, layers.MultiHeadAttention(heads, 2)(x, x)])


def step_by_step(draw: Any, x: Any) -> Any:
    dense = layers.Dense(draw(st.integers(2, 5)), activation="gelu")
    return layers.TimeDistributed(dense)(x) if draw(st.booleans()) else dense(x)


def convolved(draw: Any, x: Any) -> Any:
    return layers.Conv1D(draw(st.integers(2, 5)), 3, padding="same", activation="elu")(x)


SEQUENCE = [recurrent, attended, step_by_step, convolved]


@settings(max_examples=settings().max_examples // 4)
@given(models(), st.data())
def test_pruning_is_zeroing(model: keras.Model, choice: Any) -> None:
    ed = Editor(model)
    groups = [group for group in ed.channel_groups() if group.prunable and group.channels > 1]
    if not groups:
        return
    some = choice.draw(st.lists(st.sampled_from(groups), min_size=1, max_size=3, unique_by=id))
    for group in some:
        fraction = choice.draw(st.sampled_from([0.2, 0.5, 0.8]))
        seed = choice.draw(st.integers(0, 9))
        ed.prune_channels(group, fraction=fraction, criterion="random", seed=seed)
    if model.count_params() == ed.model.count_params():
        return  # so few that none went
    x = data(2, SIDE, SIDE, 3)
    check_pruned(model, ed.model, x)
    ed.undo(len(some))
    assert same(out(ed.model, x), out(model, x))


def class_of(member: Any) -> str:
    return member.class_name


@pytest.mark.parametrize("family", families.FAMILIES)
@settings(max_examples=max(1, settings().max_examples // 50))
@given(st.data())
def test_pruning_is_zeroing_in_every_family(family: str, choice: Any) -> None:
    """By every criterion: all groups at once, and what a normalization mixes by itself."""
    model = choice.draw(families.models(family))
    x = data(4, *families.FAMILIES[family][0])
    y = out(model, x)[0] + 1.0
    model.compile("sgd", "mse", run_eagerly=True)
    ed = Editor(model)
    for criterion in choice.draw(st.permutations(CRITERIA))[:2]:
        groups = [g for g in ed.channel_groups() if g.prunable and g.channels > 1]
        if criterion == "bn_scale":
            groups = [g for g in groups if "BatchNormalization" in map(class_of, g.members)]
        options = {
            "fraction": choice.draw(st.sampled_from([0.2, 0.5, 0.9])),
            "scope": choice.draw(st.sampled_from(["layer", "global"])),
            "criterion": criterion,
            "data": (x, y) if criterion in ("activation", "taylor") else None,
            "seed": 0 if criterion == "random" else None,
        }
        exact = [g.path for g in groups if not g.mixed]
        if exact:
            ed.prune_channels(exact, **options)
            if ed.model.count_params() < model.count_params():
                check_pruned(model, ed.model, x)
            ed.undo()
        mixed = [g.path for g in groups if g.mixed]
        if mixed:
            ed.prune_channels(mixed, **options)
            assert ed.model.count_params() < model.count_params()
            assert all(np.isfinite(a).all() for a in out(ed.model, x))
            ed.undo()
    assert same(out(ed.model, x), out(model, x))


@settings(max_examples=settings().max_examples // 8)
@given(models(), st.sampled_from(sorted(COSTS)), st.sampled_from(["layer", "global"]), st.data())
def test_a_share_stays_as_was_known_before_the_cut(
    model: keras.Model, what: str, scope: Any, choice: Any
) -> None:
    share = choice.draw(st.sampled_from([0.5, 0.7, 0.9]))
    ed = Editor(model)
    plan = ed.preview.prune_channels("**", scope=scope, **to(what, share))
    if not plan.ok:
        (problem,) = plan.errors
        assert "Name more layers" in problem or "names no layer" in problem
        return
    total, left = costs(plan)[what]
    assert left <= share * total
    ed.prune_channels("**", scope=scope, **to(what, share))
    edit = ed.history[-1]
    assert isinstance(edit, PruneChannels)
    ed.undo()
    channels = Channels(ed.graph)
    cost = COSTS[what](channels)
    assert (cost.total, cost.left(edit._gone(channels))) == (total, left)
