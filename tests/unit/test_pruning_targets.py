"""Pruning to a share of the parameters, of the operations or of the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor, Recipe
from kerasedit.compress.costs import COSTS
from kerasedit.compress.groups import Channels
from kerasedit.edits import PruneChannels
from tests import models
from tests.models import fingerprint, refused, same
from tests.pruning import NAMES, ZOO, check_pruned, costs, distinct, to


def mixed() -> keras.Model:
    """Weights of several dtypes, so that bytes are not parameters."""
    x = keras.Input((4,))
    h = layers.Dense(20, dtype="float64", name="a")(x)
    h = layers.Dense(20, dtype="float16", name="b")(h)
    return distinct(keras.Model(x, layers.Dense(2, name="top")(h)))


# -- what would be left ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_is_known_before_the_cut(name: str) -> None:
    """Of a cut by chance, to the last operation, whatever the layers are."""
    ed = Editor(ZOO[name][0]())
    channels = Channels(ed.graph)
    known = {what: make(channels) for what, make in COSTS.items()}
    cut: Any = {"fraction": 0.4, "criterion": "random", "seed": 1}
    found = costs(ed.preview.prune_channels("**", **cut))
    ed.prune_channels("**", **cut)
    edit = ed.history[-1]
    assert isinstance(edit, PruneChannels)
    gone = edit._gone(channels)
    assert {what: (cost.total, cost.left(gone)) for what, cost in known.items()} == found
    assert all(after < before for before, after in found.values())


# -- as much as is wanted, and hardly more ---------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    ["flops", *(pytest.param(what, marks=pytest.mark.slow) for what in ("params", "size"))],
)
@pytest.mark.parametrize(
    "name",
    [
        "residual",
        "inverted_residual",
        "depthwise",
        "dense",
        "u_net",
        "recurrent",
        "heads",
        "nested",
    ],
)
def test_the_share_is_reached_and_hardly_less_is_left(name: str, what: str) -> None:
    """No fraction that reaches the share too leaves more."""
    make, batch = ZOO[name]
    source = make()
    ed = Editor(source)
    before = fingerprint(source)
    shares: Any = {"layer": 0.4, "global": 0.7}
    for scope, share in shares.items():
        total, left = costs(ed.preview.prune_channels("**", scope=scope, **to(what, share)))[what]
        others = [
            costs(ed.preview.prune_channels("**", scope=scope, fraction=number / 8))[what][1]
            for number in range(8)
        ]
        assert max(n for n in others if n <= share * total) <= left <= share * total
        ed.prune_channels("**", scope=scope, **to(what, share))
        check_pruned(source, ed.model, batch())
        ed.undo()
    assert fingerprint(source) == before


def wide() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(32, 3, name="stem")(x)
    for number in range(4):
        z = layers.Conv2D(48, 1, activation="relu", name=f"expand{number}")(y)
        z = layers.DepthwiseConv2D(3, padding="same", name=f"dw{number}")(z)
        z = layers.BatchNormalization(name=f"bn{number}")(z)
        y = layers.Add(name=f"add{number}")([y, layers.Conv2D(32, 1, name=f"project{number}")(z)])
    y = layers.GlobalAveragePooling2D()(y)
    return distinct(keras.Model(x, layers.Dense(10, name="top")(y)))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("what", COSTS)
def test_layers_with_many_channels_come_near_to_it(what: str, scope: Any) -> None:
    """A channel of the largest group, through its whole chain, is 2 % of the model."""
    ed = Editor(wide())
    for share in (0.2, 0.5, 0.9):
        plan = ed.preview.prune_channels("**", scope=scope, **to(what, share))
        total, left = costs(plan)[what]
        assert share - 0.02 < left / total <= share


def test_a_share_of_one_takes_nothing() -> None:
    ed = Editor(wide())
    for what in COSTS:
        total, left = costs(ed.preview.prune_channels("**", **to(what, 1.0)))[what]
        assert left == total


def test_multiples_hold() -> None:
    ed = Editor(wide()).prune_channels("**", flops=0.5, scope="global", multiple_of=8)
    sizes = [view.layer.filters for view in ed.layers if view.class_name == "Conv2D"]
    assert all(size % 8 == 0 for size in sizes)
    assert min(sizes) < 32


def test_bytes_are_those_of_each_dtype() -> None:
    """Weights of eight bytes count four times those of two."""
    source = mixed()
    ed = Editor(source)
    total, _ = costs(ed.preview.prune_channels("a", size=0.6))["size"]
    assert total == 8 * (4 * 20 + 20) + 2 * (20 * 20 + 20) + 4 * (20 * 2 + 2)
    ed.prune_channels("a", size=0.6)
    left = 8 * 5 * (units := ed.model.get_layer("a").units) + 2 * (units + 1) * 20 + 4 * 42
    assert 0.6 * total - (8 * 5 + 2 * 20) < left <= 0.6 * total


def test_operations_are_not_parameters() -> None:
    """At early places a channel has few parameters and many operations: those go for these."""
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(16, 3, strides=2, name="early")(x)
    y = layers.MaxPooling2D(4)(y)
    y = layers.Conv2D(16, 3, name="late")(y)
    model = distinct(keras.Model(x, layers.Dense(400, name="top")(layers.Flatten()(y))))
    flops, params = Editor(model), Editor(model)
    flops.prune_channels("*", flops=0.5, scope="global")
    params.prune_channels("*", params=0.5, scope="global")
    kept = [[ed.model.get_layer(n).filters for n in ("early", "late")] for ed in (flops, params)]
    assert kept[0] != kept[1]


# -- as data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", COSTS)
def test_as_data_and_as_code(what: str, tmp_path: Path) -> None:
    source = ZOO["residual"][0]()
    ed = Editor(source).prune_channels("**", scope="global", **to(what, 0.6))
    (edit,) = ed.history
    noun = {"params": "parameters", "flops": "operations", "size": "bytes"}[what]
    assert edit.describe() == f"prune channels of '**' to 60% of the {noun}"
    assert edit.to_code() == f"ed.prune_channels('**', {what}=0.6, scope='global')"
    ed.recipe().save(tmp_path / "r.json")
    again = Recipe.load(tmp_path / "r.json").apply(ZOO["residual"][0]())
    assert [e.to_json() for e in again.history] == [edit.to_json()]
    assert same(again.model.get_weights(), ed.model.get_weights())
    space: dict[str, Any] = {}
    exec(ed.to_code(), space)
    assert same(space["build"](source).get_weights(), ed.model.get_weights())
    wider = wide()
    there = ed.recipe().apply(wider)
    total, left = costs(
        Editor(wider).preview.prune_channels("**", scope="global", **to(what, 0.6))
    )[what]
    assert costs(there.preview.freeze("**"))[what] == (left, left)
    assert left <= 0.6 * total


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"flops": 1.5}, "flops is a number from 0 to 1, not 1.5"),
        ({"flops": -0.1}, "flops is a number from 0 to 1"),
        ({"size": "50 %"}, "size is a number from 0 to 1, not '50 %'"),
        ({"size": True}, "size is a number from 0 to 1"),
        ({"size": float("nan")}, "size is a number from 0 to 1"),
        ({"flops": 0}, "at least one has to stay"),
        ({"size": 0.0}, "at least one has to stay"),
        ({"flops": 0.5, "size": 0.5}, "Say in one way .* not with flops and size"),
        ({"params": 0.5, "flops": 0.5}, "not with params and flops"),
        ({"fraction": 0.5, "size": 0.5}, "not with fraction and size"),
        ({}, "params=, flops= or size= with the share"),
        ({"flops": 0.01}, r"Only [\d,]+ of [\d,]+ operations can go .* not 1.0%. Name more"),
        ({"size": 0.01}, r"Only [\d,]+ of [\d,]+ bytes can go"),
        ({"params": 0.01}, r"Only [\d,]+ of [\d,]+ parameters can go"),
    ],
)
def test_bad_input(options: dict[str, Any], match: str) -> None:
    ed = Editor(ZOO["residual"][0]())
    refused(ed, EditError, match, lambda ed: ed.prune_channels("in1", **options))


def test_operations_that_are_not_known() -> None:
    x = keras.Input((4,))
    h = layers.Dense(6, name="a")(models.Scale(name="own")(x))
    ed = Editor(keras.Model(x, layers.Dense(2, name="top")(h)))
    match = "some are not known: those of 'own' .Scale., .* Take params= or size="
    refused(ed, EditError, match, lambda ed: ed.prune_channels("a", flops=0.5))
    x = keras.Input((None, 4))
    ed = Editor(keras.Model(x, layers.Dense(2)(layers.LSTM(6, name="a")(x))))
    refused(ed, EditError, "a size is open", lambda ed: ed.prune_channels("a", flops=0.5))
    ed.set_input((7, 4)).prune_channels("a", flops=0.5)
    assert 1 <= ed.model.get_layer("a").units < 6


def test_what_is_outside_of_the_target_stays() -> None:
    ed = Editor(wide()).prune_channels("expand[01]", flops=0.9)
    left = {view.name: view.layer.filters for view in ed.layers if view.class_name == "Conv2D"}
    assert left["expand0"] < 48
    assert left["expand1"] < 48
    assert {n: size for n, size in left.items() if n not in ("expand0", "expand1")} == {
        "stem": 32, "expand2": 48, "expand3": 48, **{f"project{i}": 32 for i in range(4)}
    }  # fmt: skip


def test_numbers_of_numpy() -> None:
    half: Any = np.float32(0.5)
    ed = Editor(ZOO["dense"][0]()).prune_channels("*", flops=half)
    assert ed.history[0].to_json()["flops"] == 0.5
