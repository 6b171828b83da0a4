"""Training goes on after channels went or came: optimizer slots follow, and the loss does not jump."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

from kerasedit import Editor
from kerasedit._keras import slots_of
from tests.models import data, out, same, scramble
from tests.pruning import ZOO, zeroed

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: optimizers.Adam(1e-2),
    "momentum": lambda: optimizers.SGD(0.02, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.02, momentum=0.9, nesterov=True, clipnorm=1.0),
    "rmsprop": lambda: optimizers.RMSprop(1e-3, momentum=0.9, centered=True),
    "amsgrad": lambda: optimizers.Adam(1e-2, amsgrad=True, global_clipnorm=1.0),
    "adamw": lambda: optimizers.AdamW(1e-2, weight_decay=0.1),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "nadam": lambda: optimizers.Nadam(1e-2),
    "lion": lambda: optimizers.Lion(1e-3),
}


def array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).copy()


def step(model: Any, x: Any, y: Any) -> float:
    """A step of training on a batch; the loss before it."""
    model.reset_metrics()
    return float(np.asarray(model.train_on_batch(x, y)).reshape(-1)[0])


def steps(model: Any, x: Any, y: Any, number: int) -> list[float]:
    return [step(model, x, y) for _ in range(number)]


def trained(name: str, optimizer: str) -> tuple[Any, Any, Any]:
    """A model in the midst of its training, and the batch that it is trained on."""
    make, batch = ZOO[name]
    model, x = make(), batch()
    y = data(len(x), 2, seed=5)
    model.compile(OPTIMIZERS[optimizer](), "mse", run_eagerly=True)
    losses = steps(model, x, y, 4)
    assert losses[-1] < losses[0]
    return model, x, y


def slots(model: Any) -> list[dict[str, np.ndarray]]:
    """Of each weight that trains, its slots by name."""
    found = slots_of(model.optimizer)
    return [
        {name: array(slot) for name, slot in found[id(variable)].items()}
        for variable in model.trainable_variables
    ]


CASES = [
    ("residual", "adam"),
    ("residual", "momentum"),
    pytest.param("inverted_residual", "rmsprop", marks=pytest.mark.slow),
    pytest.param("recurrent", "adam", marks=pytest.mark.slow),
    *(("dense", name) for name in OPTIMIZERS),
]


@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_pruned_it_trains_as_with_zeros(name: str, optimizer: str) -> None:
    """Step by step the loss of a model in which zeros stand for what is gone, and its weights."""
    source, x, y = trained(name, optimizer)
    pruned = Editor(source).prune_channels("**", fraction=0.5).model
    there = [
        np.isin(array(before), array(after))
        for before, after in zip(
            source.trainable_variables, pruned.trainable_variables, strict=True
        )
    ]
    for own, before, after in zip(there, slots(source), slots(pruned), strict=True):
        assert before.keys() == after.keys()
        assert all(same(before[name][own], after[name].reshape(-1)) for name in before)
    assert any(slot.any() for own in slots(pruned) for slot in own.values())

    zeros = Editor(source).model
    zeros.set_weights(zeroed(source, pruned).get_weights())
    held = slots_of(zeros.optimizer)
    for variable, own in zip(zeros.trainable_variables, there, strict=True):
        for slot in held[id(variable)].values():
            slot.assign(array(slot) * own)
    assert array(pruned.optimizer.iterations) == array(zeros.optimizer.iterations) == 4

    before = zeros.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(pruned.evaluate(x, y, verbose=0), before, rtol=1e-5)
    np.testing.assert_allclose(steps(pruned, x, y, 4), steps(zeros, x, y, 4), rtol=1e-4)
    for own, a, b in zip(there, pruned.trainable_variables, zeros.trainable_variables, strict=True):
        np.testing.assert_allclose(array(a).reshape(-1), array(b)[own], rtol=1e-3, atol=1e-5)
        assert not array(b)[~own].any()


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize(
    "name", ["residual", pytest.param("inverted_residual", marks=pytest.mark.slow), "dense"]
)
@pytest.mark.parametrize("init", ["function_preserving", "random"])
def test_grown_it_trains_from_where_it_was(name: str, optimizer: str, init: Any) -> None:
    """The loss is the one that comes next, and goes the way that it would have gone."""
    source, x, y = trained(name, optimizer)
    ed = Editor(source)
    for group in [group for group in ed.channel_groups() if group.prunable]:
        ed.grow_channels(group.path, group.channels + 2, init=init, seed=1)
    grown = ed.model
    assert grown.count_params() > source.count_params()
    for before, after in zip(slots(source), slots(grown), strict=True):
        assert before.keys() == after.keys()
        for key, slot in before.items():
            assert np.isin(slot, after[key]).all()
    wanted = steps(source, x, y, 4)
    found = steps(grown, x, y, 4)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4)
    # What there is more often moves more often, so that not all of the way is the same.
    np.testing.assert_allclose(found, wanted, atol=0.15 * wanted[0])


def test_slots_of_new_classes_start_afresh_and_the_old_ones_go_on() -> None:
    source, x, y = trained("dense", "adam")
    grown = Editor(source).grow_outputs(2).model
    for before, after in zip(slots(source), slots(grown), strict=True):
        for key, slot in before.items():
            there = after[key]
            assert same(there[..., : slot.shape[-1]], slot)
            assert not there[..., slot.shape[-1] :].any()
    more = np.concatenate([y, out(grown, x)[0][:, 2:]], axis=1)  # the new ones are right already
    np.testing.assert_allclose(2 * step(grown, x, more), step(source, x, y), rtol=1e-4)
    np.testing.assert_allclose(2 * step(grown, x, more), step(source, x, y), rtol=0.1)


@pytest.mark.parametrize("optimizer", [optimizers.Adafactor, optimizers.Muon])
def test_optimizers_that_look_at_whole_weights(optimizer: Any) -> None:
    """Slots of another form than the weight cannot be cut; they start afresh, and training goes on."""
    x, y = data(16, 4), data(16, 2)
    model = scramble(
        keras.Sequential(
            [keras.Input((4,)), layers.Dense(6, "relu", name="a"), layers.Dense(2, name="top")]
        )
    )
    model.compile(optimizer(1e-2), "mse", run_eagerly=True)
    steps(model, x, y, 3)
    for edit in (
        lambda ed: ed.prune_channels("a", drop=[1]),
        lambda ed: ed.grow_channels("a", 9),
    ):
        edited = edit(Editor(model)).model
        assert array(edited.optimizer.iterations) == 3
        for variable, own in zip(edited.trainable_variables, slots(edited), strict=True):
            assert all(np.isfinite(slot).all() for slot in own.values()), variable.path
        losses = steps(edited, x, y, 5)
        assert np.isfinite(losses).all() and losses[-1] < losses[0]
