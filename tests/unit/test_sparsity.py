"""Zeros in kernels: which ones, and that they stay through training, files and further edits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor, Recipe, SparsitySchedule, StructureError, TargetError
from tests import models
from tests.models import data, fingerprint, out, refused, same, scramble, weights_of

pytestmark = pytest.mark.tensorflow


def dense(**options: Any) -> keras.Model:
    x = keras.Input((12,), name="x")
    h = layers.Dense(8, "tanh", name="a", **options)(x)
    h = layers.BatchNormalization(name="norm")(h)
    return scramble(keras.Model(x, layers.Dense(4, name="b")(h), name="dense"))


X, Y = data(32, 12), data(32, 4)


def some_slow(kinds: Iterable[str], *slow: str) -> list[Any]:
    return [pytest.param(k, marks=pytest.mark.slow) if k in slow else k for k in kinds]


def zeros(model: keras.Model, *names: str) -> dict[str, np.ndarray]:
    """Where the kernels of a model are zero."""
    return {
        path: value == 0 for path, value in weights_of(model, *names).items() if "kernel" in path
    }


# -- which ones ----------------------------------------------------------------------------------


def test_the_smallest_are_zero_and_nothing_else_changes() -> None:
    model = dense()
    before, plain = fingerprint(model), weights_of(model)
    ed = Editor(model)
    first = ed.model
    plan = ed.preview.sparsify("**", 0.7)
    assert plan.ok and "zero: 89 of 128 weights (69.5%) of 'a', 'b'" in str(plan)
    assert ed.model is first
    ed.sparsify("**", 0.7)
    expected = {name: value.copy() for name, value in plain.items()}
    for name in ("a/kernel", "b/kernel"):
        size = np.abs(expected[name])
        expected[name][size <= np.sort(size.ravel())[round(0.7 * size.size) - 1]] = 0
    assert all(same(expected[name], value) for name, value in weights_of(ed.model).items())
    assert [int(z.sum()) for z in zeros(ed.model).values()] == [67, 22]
    assert fingerprint(model) == before
    assert "zero: 89 of 128 weights (69.5%) of 'a', 'b'" in ed.report
    held = weights_of(ed.model)
    assert same(weights_of(ed.undo().model), plain)
    assert same(weights_of(ed.redo().model), held)
    assert same(weights_of(ed.sparsify("a", 0.9).model)["b/kernel"], held["b/kernel"])
    assert int(zeros(ed.model)["a/kernel"].sum()) == round(0.9 * 96)


def test_two_of_four() -> None:
    x = keras.Input((6, 6, 8), name="x")
    h = layers.Conv2D(5, 3, name="conv")(x)
    h = layers.Conv2D(8, 1, name="odd")(h)
    h = layers.GlobalAveragePooling2D(name="gap")(h)
    model = scramble(keras.Model(x, layers.Dense(3, name="top")(h)))
    ed = Editor(model).sparsify("**", pattern="2:4")
    found, plain = weights_of(ed.model), weights_of(model)
    for name in ("conv/kernel", "top/kernel"):
        fours = np.moveaxis(found[name], -2, -1).reshape(-1, 4)
        sizes = np.abs(np.moveaxis(plain[name], -2, -1).reshape(-1, 4))
        assert ((fours == 0).sum(1) == 2).all()
        kept = np.sort(np.abs(fours), axis=1)[:, 2:]
        assert same(kept, np.sort(sizes, axis=1)[:, 2:])
    assert same(found["odd/kernel"], plain["odd/kernel"])
    assert "left as it is: 'odd', as it takes 5 channels, which 4 does not divide" in ed.report


KINDS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int]] = {
    "convolution": (lambda: layers.Conv2D(4, 3), (6, 6, 3), 1),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 3), 1),
    "separable": (lambda: layers.SeparableConv1D(4, 3), (6, 3), 2),
    "transposed": (lambda: layers.Conv1DTranspose(4, 3), (6, 3), 1),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (6, 4), bias_axes="d"), (6, 3), 1),
    "recurrent": (lambda: layers.LSTM(4), (6, 3), 2),
    "both ways": (lambda: layers.Bidirectional(layers.GRU(4)), (6, 3), 4),
    "each": (lambda: layers.TimeDistributed(layers.Dense(4)), (6, 3), 1),
}


@pytest.mark.parametrize("kind", some_slow(KINDS, "depthwise", "transposed", "einsum"))
def test_layers_of_all_kinds(kind: str, tmp_path: Path) -> None:
    make, shape, count = KINDS[kind]
    layer = make()
    layer.name = "it"
    x = keras.Input(shape, name="x")
    h = layers.Flatten(name="flat")(layer(x))
    model = scramble(keras.Model(x, layers.Dense(2, name="top")(h)))
    model.compile("adam", "mse")
    ed = Editor(model).sparsify("it", 0.5)
    before = zeros(ed.model, "it")
    assert len([z for z in before.values() if z.any()]) == len(before) or count == 4
    assert sum(int(z.sum()) for z in before.values()) > 0
    kernels = [w for w in ed.model.get_layer("it").weights if w.constraint is not None]
    assert len(kernels) == count
    start = [w.numpy() for w in kernels]
    ed.model.fit(data(4, *shape), data(4, 2), epochs=2, verbose=0)
    for old, now in zip(start, kernels, strict=True):
        assert same(old == 0, now.numpy() == 0) and not same(old, now)
        assert abs((old == 0).mean() - 0.5) < 0.1
    assert ed.verify()


# -- they stay -----------------------------------------------------------------------------------

TRAINING: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "momentum": (lambda: keras.optimizers.SGD(0.1, momentum=0.9), {}),
    "adam": (lambda: keras.optimizers.Adam(0.05), {}),
    "decay": (lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1), {}),
    "eager": (lambda: keras.optimizers.Adam(0.05), {"run_eagerly": True}),
    "several steps": (lambda: keras.optimizers.Adam(0.05), {"steps_per_execution": 2}),
    "compiled": (lambda: keras.optimizers.Adam(0.05), {"jit_compile": True}),
    "summed up": (lambda: keras.optimizers.Adam(0.05, gradient_accumulation_steps=2), {}),
    "scaled": (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05)), {}),
    "clipped": (lambda: keras.optimizers.Adam(0.05, clipnorm=1.0), {}),
}


@pytest.mark.parametrize("kind", some_slow(TRAINING, "several steps", "summed up", "clipped"))
def test_zeros_stay_in_training(kind: str) -> None:
    optimizer, options = TRAINING[kind]
    model = dense()
    model.compile(optimizer(), "mse", **options)
    model.fit(X, Y, batch_size=8, verbose=0)  # so that there is momentum
    ed = Editor(model).sparsify("a", 0.6)
    before, start = zeros(ed.model), weights_of(ed.model)
    assert before["a/kernel"].sum() == 58 and not before["b/kernel"].any()
    ed.model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    after = weights_of(ed.model)
    assert same(after["a/kernel"] == 0, before["a/kernel"])
    moved = after["a/kernel"] != start["a/kernel"]
    assert same(moved, ~before["a/kernel"])  # and all others train
    # Let go, they train.
    ed.densify()
    assert same(weights_of(ed.model), after)
    ed.model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert (weights_of(ed.model)["a/kernel"] == 0).sum() < 5


def test_a_loaded_model_goes_on_holding_them(tmp_path: Path) -> None:
    model = dense(kernel_regularizer=keras.regularizers.L2(0.1))
    model.compile("adam", keras.losses.MeanSquaredError())
    ed = Editor(model).sparsify("a", 0.6)
    for suffix in (".keras", ".h5"):
        file = tmp_path / f"m{suffix}"
        ed.save(file)
        for loaded in (keras.saving.load_model(file), Editor(file).model):
            loaded.compile("adam", "mse")
            assert same(out(loaded, X), out(ed.model, X))
            before = zeros(loaded)
            loaded.fit(X, Y, verbose=0)
            assert same(zeros(loaded), before) and before["a/kernel"].sum() == 58
    ed.densify().save(tmp_path / "plain.keras")
    assert "kerasedit" not in Editor(tmp_path / "plain.keras").source.to_json()


def test_what_the_weights_had_before_goes_on() -> None:
    model = dense(
        kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02),
        kernel_constraint=keras.constraints.MaxNorm(0.8),
    )
    model.compile(keras.optimizers.SGD(0.2), "mse")
    by_hand = keras.models.clone_model(model)
    ed = Editor(model).sparsify("a", 0.25).sparsify("a", 0.5)
    by_hand.set_weights(ed.model.get_weights())
    by_hand.compile(keras.optimizers.SGD(0.2), "mse")
    assert ed.model.evaluate(X, Y, verbose=0) == by_hand.evaluate(X, Y, verbose=0)
    mask = ~zeros(ed.model)["a/kernel"]
    ed.model.fit(X, Y, verbose=0)
    by_hand.fit(X, Y, verbose=0)
    kernel = weights_of(ed.model)["a/kernel"]
    assert same(kernel, np.where(mask, weights_of(by_hand)["a/kernel"], np.float32(0)))
    assert np.linalg.norm(kernel, axis=0).max() <= 0.8 + 1e-5
    layer = ed.densify().model.get_layer("a")
    assert isinstance(layer.kernel_constraint, keras.constraints.MaxNorm)
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L1L2)


def test_through_further_edits() -> None:
    model = models.cnn()
    model.compile("adam", "mse")
    ed = Editor(model).sparsify("**", 0.5)
    ed.prune_channels("block2_conv", drop=[1]).insert(layers.Dropout(0.1), after="gap")
    ed.rename("block3_conv", "third").duplicate("block4_conv")
    before = zeros(ed.model)
    assert before["third/kernel"].shape == (3, 3, 3, 4) and before["block4_conv_1/kernel"].any()
    x = data(4, 8, 8, 3)
    ed.model.fit(x, data(4, 3), epochs=2, verbose=0)
    assert same(zeros(ed.model), before)
    ed.model.fit(x, data(4, 3), callbacks=[ed.live()], verbose=0)
    ed.distiller(loss=keras.distillation.FeatureDistillation("mse")).fit(x, data(4, 3), verbose=0)
    assert same(zeros(ed.model), before)
    assert same(out(ed.freeze("third").model, x), out(ed.model, x))


def test_what_is_done_again(tmp_path: Path) -> None:
    model = dense()
    ed = Editor(model).sparsify("a", 0.25).sparsify("b", pattern="2:4")
    ed.recipe().save(tmp_path / "r.json")
    again = Recipe.load(tmp_path / "r.json").apply(model)
    assert same(out(again.model, X), out(ed.model, X)) and again.history == ed.history
    assert ed.history[1].to_code() == "ed.sparsify('b', pattern='2:4')"
    assert ed.history[0].describe() == "set 25% of the weights of 'a' to zero"
    other = Recipe.load(tmp_path / "r.json").apply(scramble(dense(), seed=5))
    assert int(zeros(other.model)["a/kernel"].sum()) == 24


# -- more and more of them -----------------------------------------------------------------------


def test_a_schedule() -> None:
    model = dense()
    model.compile("adam", "mse")
    ed = Editor(model).sparsify("a", 0.25).sparsify("b", 0.0)
    seen: list[dict[str, np.ndarray]] = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(zeros(ed.model))
    )
    raise_it = SparsitySchedule(0.75, steps=16, begin=2, every=2)
    ed.model.fit(X, Y, batch_size=4, epochs=3, callbacks=[raise_it, look], verbose=0)
    shares = {
        name: [float(step[name].mean()) for step in seen] for name in ("a/kernel", "b/kernel")
    }
    for (name, own), start in zip(shares.items(), (0.25, 0.0), strict=True):
        for step, share in enumerate(own, 1):  # by the paper
            at = min(max(step - step % 2, 2), 18)
            expected = 0.75 + (start - 0.75) * (1 - (at - 2) / 16) ** 3
            size = seen[0][name].size
            assert share == round(max(expected, start) * size) / size, (name, step)
        assert own[-1] == 0.75
    for before, after in itertools.pairwise(seen):
        assert all((after[name] | ~before[name]).all() for name in shares)  # none comes back
    with pytest.raises(EditError, match="No weights of the model are held at zero"):
        model.fit(X, Y, callbacks=[SparsitySchedule(0.5, 10)], verbose=0)
    for match, act in (
        ("from 0 to below 1", lambda: SparsitySchedule(1.0, 10)),
        ("steps is a whole number from 1", lambda: SparsitySchedule(0.5, 0)),
        ("every is a whole number from 1", lambda: SparsitySchedule(0.5, 10, every=0)),
    ):
        with pytest.raises(EditError, match=match):
            act()


# -- what cannot be ------------------------------------------------------------------------------


def test_refusals() -> None:
    ed = Editor(dense())
    cases: list[tuple[type[Exception], str, Callable[[Any], Any]]] = [
        (EditError, "from 0 to below 1, not 1.0", lambda e: e.sparsify("a", 1.0)),
        (EditError, "from 0 to below 1, not -0.1", lambda e: e.sparsify("a", -0.1)),
        (EditError, "from 0 to below 1, not None", lambda e: e.sparsify("a")),
        (EditError, "2 of 4 is a sparsity of 0.5", lambda e: e.sparsify("a", 0.3, pattern="2:4")),
        (EditError, "'magnitude' or '2:4'", lambda e: e.sparsify("a", 0.3, pattern="1:4")),
        (StructureError, "BatchNormalization has no arguments",
         lambda e: e.sparsify("norm", 0.5)),
        (StructureError, "names no layer with weights", lambda e: e.sparsify("x", 0.5)),
        (TargetError, "There is no layer 'c'", lambda e: e.sparsify("c", 0.5)),
    ]  # fmt: skip
    for kind, match, act in cases:
        refused(ed, kind, match, act)
    refused(Editor(models.subclassed()), StructureError, "its call is Python code",
            lambda e: e.sparsify("first", 0.5))  # fmt: skip
    own = dense(kernel_constraint=keras.constraints.NonNeg())
    refused(Editor(own), StructureError, "NonNeg makes zeros", lambda e: e.sparsify("a", 0.5))
    assert Editor(dense()).densify().report == ("no zeros were held",)
    quantized = Editor(dense()).quantize("int8")
    refused(quantized, StructureError, "quantized, perhaps", lambda e: e.sparsify("a", 0.5))


def test_a_loss_that_leaves_them_out_is_told() -> None:
    import tensorflow as tf

    ed = Editor(dense()).sparsify("a", 0.5)
    optimizer = keras.optimizers.SGD(0.1)

    def step(more: float) -> None:
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((ed.model(X) - Y) ** 2)
            loss = loss + sum(ed.model.losses) if more else loss
        weights = ed.model.trainable_variables
        optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)

    before = zeros(ed.model)
    step(1.0)
    assert same(zeros(ed.model), before)
    with pytest.raises(RuntimeError, match=r"Add sum\(model.losses\) to it"):
        step(0.0)


def test_an_average_of_weights_is_warned_of() -> None:
    model = dense()
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    with pytest.warns(UserWarning, match="use_ema"):
        Editor(model).sparsify("a", 0.5)
