"""`recalibrate_batchnorm`: the moving mean and variance are those of what a normalization takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, Recipe, StructureError, TargetError
from tests import models
from tests.models import data, fingerprint, refused, same, scramble

NORM = layers.BatchNormalization


def normalized() -> keras.Model:
    """Normalizations one behind the other, over other axes, one without weights, one in a branch."""
    x = keras.Input((6, 6, 3), name="x")
    y = layers.Conv2D(4, 3, name="conv1")(x)
    y = NORM(name="bn1")(y)
    y = layers.ReLU(name="relu1")(y)
    y = layers.Dropout(0.5, name="drop")(y)
    a = layers.Conv2D(4, 3, padding="same", name="conv2")(y)
    a = NORM(center=False, scale=False, name="bn2")(a)
    b = NORM(axis=1, name="bn3")(y)
    y = layers.Add(name="add")([a, b])
    y = layers.Flatten(name="flat")(y)
    return scramble(keras.Model(x, layers.Dense(2, name="top")(y)))


def check_measured(model: keras.Model, x: np.ndarray, *names: str) -> None:
    """Of each normalization, the mean and variance are those of what it takes of the model in use."""
    for name in names:
        layer = model.get_layer(name)
        taken = keras.Model(model.inputs, layer.input)(x, training=False)
        values = np.moveaxis(ops.convert_to_numpy(taken), layer.axis, -1)
        values = values.reshape(-1, values.shape[-1])
        np.testing.assert_allclose(layer.moving_mean, values.mean(0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, values.var(0), rtol=1e-3, atol=1e-6)


# -- what is measured ------------------------------------------------------------------------------


def test_the_mean_and_variance_are_those_of_the_data() -> None:
    source, x = normalized(), data(20, 6, 6, 3) * 3 + 1
    before = fingerprint(source)
    ed = Editor(source)
    model = ed.model
    ed.recalibrate_batchnorm(x)
    assert ed.model is model  # changed in place
    check_measured(model, x, "bn1", "bn2", "bn3")
    assert fingerprint(source) == before
    for a, b in zip(source.weights, model.weights, strict=True):
        moved = "moving" in a.path
        assert same(a, b) != moved, a.path
    assert model.get_layer("bn1").momentum == 0.99
    assert [w.trainable for w in model.weights] == [w.trainable for w in source.weights]


def test_batches_are_taken_together() -> None:
    """Of the first normalization exactly, however uneven they are; of those behind it, nearly."""
    x = data(50, 6, 6, 3) * np.linspace(0.5, 2, 50)[:, None, None, None]
    x = np.random.default_rng(0).permutation(x).astype("float32")
    whole = Editor(normalized()).recalibrate_batchnorm([x])
    check_measured(whole.model, x, "bn1", "bn2", "bn3")
    for given in ([x[:7], x[7:20], x[20:]], (x[:50], None), [(x[:31], 0), (x[31:], 0)]):
        ed = Editor(normalized()).recalibrate_batchnorm(given)
        check_measured(ed.model, x, "bn1")
        for name in ("bn2", "bn3"):
            assert not same(
                ed.model.get_layer(name).moving_mean, whole.model.get_layer(name).moving_mean
            )
            found, exact = (np.sqrt(e.model.get_layer(name).moving_variance) for e in (ed, whole))
            np.testing.assert_allclose(found, exact, rtol=0.25)


def test_after_channels_went() -> None:
    """Pruned and recalibrated, each normalization puts out what its weights say, on average."""
    source, x = normalized(), data(24, 6, 6, 3)
    ed = Editor(source).prune_channels("conv2", fraction=0.5).recalibrate_batchnorm(x)
    check_measured(ed.model, x, "bn1", "bn2", "bn3")
    assert ed.model.get_layer("bn2").moving_mean.shape == (2,)
    fresh = Editor(source).insert(NORM(name="new"), after="top").recalibrate_batchnorm(x)
    check_measured(fresh.model, x, "bn1", "bn2", "bn3", "new")


def test_frozen_ones_too() -> None:
    source, x = normalized(), data(20, 6, 6, 3)
    source.trainable = False
    ed = Editor(source).recalibrate_batchnorm(x)
    check_measured(ed.model, x, "bn1", "bn2", "bn3")
    assert not ed.model.trainable
    assert not any(layer.trainable for layer in ed.model.layers)


def test_a_shared_one_has_what_all_its_calls_take() -> None:
    a, b = keras.Input((4,)), keras.Input((4,))
    norm = NORM(name="norm")
    model = keras.Model([a, b], layers.Add()([norm(a), norm(b)]))
    x, y = data(20, 4), data(20, 4, seed=2) * 3 + 1
    ed = Editor(model).recalibrate_batchnorm(([x, y], None))
    both = np.concatenate([x, y])
    layer = ed.model.get_layer("norm")
    np.testing.assert_allclose(layer.moving_mean, both.mean(0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, both.var(0), rtol=1e-4)
    named = Editor(keras.Model({"a": a, "b": b}, layers.Add()([norm(a), norm(b)])))
    named.recalibrate_batchnorm({"a": x, "b": y})
    assert same(named.model.get_layer("norm").moving_mean, layer.moving_mean)


def test_inside_models_and_wrappers() -> None:
    z = keras.Input((3,), name="z")
    inner = keras.Model(z, NORM(name="inside")(layers.Dense(4, name="dense")(z)), name="inner")
    x = keras.Input((5, 3))
    y = layers.TimeDistributed(inner, name="model_each")(x)
    y = layers.TimeDistributed(NORM(), name="each")(y)
    y = layers.GlobalAveragePooling1D()(y)
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4), NORM(name="last")], name="block")
    model = scramble(keras.Model(x, block(block(y))))
    batch = data(20, 5, 3)
    ed = Editor(model).recalibrate_batchnorm(batch)
    each = ed.model.get_layer("each").layer
    taken = ops.convert_to_numpy(ed.model.get_layer("model_each")(batch))
    # Keras calls what is inside once for each step, which is a batch of its own.
    np.testing.assert_allclose(each.moving_mean, taken.mean((0, 1)), atol=1e-2)
    np.testing.assert_allclose(each.moving_variance, taken.var((0, 1)), rtol=1e-2)
    inside = ed.model.get_layer("model_each").layer
    taken = ops.convert_to_numpy(inside.get_layer("dense")(batch))
    last = inside.get_layer("inside")
    np.testing.assert_allclose(last.moving_mean, taken.mean((0, 1)), rtol=1e-3, atol=1e-5)
    changed = [
        w.path for w, v in zip(ed.model.weights, model.weights, strict=True) if not same(w, v)
    ]
    assert len(changed) == 6
    assert all("moving" in path for path in changed)


def test_what_is_masked_does_not_count() -> None:
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    model = keras.Model(tokens, layers.LSTM(3)(NORM(name="norm")(x)))
    ids = np.random.default_rng(0).integers(0, 4, (10, 6))
    batches = [ids[:4], ids[4:]]  # with another share of zeros each
    assert len({(batch != 0).mean() for batch in batches}) == 2
    ed = Editor(model).recalibrate_batchnorm(batches)
    rows = ops.convert_to_numpy(model.get_layer("embed").embeddings)[ids[ids != 0]]
    np.testing.assert_allclose(ed.model.get_layer("norm").moving_mean, rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(ed.model.get_layer("norm").moving_variance, rows.var(0), rtol=1e-4)


def test_of_python_code() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.norm = layers.Dense(4), NORM()

        def call(self, x: Any, training: Any = None) -> Any:
            return self.norm(self.dense(x), training=training)

        def get_config(self) -> dict[str, Any]:
            return {}

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Own:
            return cls()

    model, x = Own(), data(20, 3)
    model(x)
    ed = Editor(model).recalibrate_batchnorm(x)
    taken = ops.convert_to_numpy(ed.model.dense(x))
    np.testing.assert_allclose(ed.model.norm.moving_mean, taken.mean(0), rtol=1e-4, atol=1e-5)


# -- as an edit ------------------------------------------------------------------------------------


def test_undo_redo_and_a_plan() -> None:
    source, x = normalized(), data(20, 6, 6, 3)
    ed = Editor(source)
    plan = ed.preview.recalibrate_batchnorm(x)
    assert plan.ok
    assert plan.code == "ed.recalibrate_batchnorm(data)"
    assert plan.params_after == plan.params_before
    assert same(ed.model.get_weights(), source.get_weights())
    ed.recalibrate_batchnorm(x)
    after = ed.model.get_weights()
    assert same(ed.undo().model.get_weights(), source.get_weights())
    assert same(ed.redo().model.get_weights(), after)
    assert ed.history[0].describe() == "recalibrate batch normalizations"


def test_a_recipe_has_what_was_measured(tmp_path: Path) -> None:
    ed = Editor(normalized()).recalibrate_batchnorm(data(20, 6, 6, 3))
    recipe = ed.recipe()
    recipe.save(tmp_path / "r.json")
    assert ed.history[0].to_json({}).keys() == {"edit", "arrays"}
    again = Recipe.load(tmp_path / "r.json").apply(normalized())
    assert same(again.model.get_weights(), ed.model.get_weights())
    with pytest.raises(EditError, match=r"no weight 'bn.*moving_mean'"):
        recipe.apply(models.cnn())


def test_the_latest_weights_count() -> None:
    ed, x = Editor(normalized()), data(20, 6, 6, 3)
    ed.model.compile("sgd", "mse")
    ed.model.fit(x, data(20, 2), verbose=0)
    ed.recalibrate_batchnorm(x)
    check_measured(ed.model, x, "bn1", "bn2", "bn3")


# -- bad input -------------------------------------------------------------------------------------


def test_bad_input() -> None:
    bare = Editor(models.chain()).remove("norm")
    refused(bare, TargetError, "no BatchNormalization", lambda ed: ed.recalibrate_batchnorm(0))
    refused(
        Editor(normalized()), EditError, "needs data", lambda ed: ed.recalibrate_batchnorm(None)
    )


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (data(4, 5), "does not take the data given"),
        ("text", "does not take the data given"),
        ([], "at least one batch"),
        (data(0, 6, 6, 3), "at least one batch"),
        (5, "is what the model takes"),
        ((data(4, 6, 6, 3), data(3, 2)), "as many x as y"),
        (np.full((4, 6, 6, 3), np.nan, "float32"), "'bn1' takes values that are no numbers"),
    ],
    ids=["shape", "text", "none", "empty", "number", "uneven", "nan"],
)
def test_bad_data(given: Any, match: str) -> None:
    """Known only when it is run, as a plan runs nothing; nothing is lost."""
    ed = Editor(normalized())
    before, source = fingerprint(ed.model), fingerprint(ed.source)
    assert ed.preview.recalibrate_batchnorm(given).ok
    with pytest.raises(EditError, match=match):
        ed.recalibrate_batchnorm(given)
    assert (fingerprint(ed.model), fingerprint(ed.source), ed.history) == (before, source, ())


def test_a_model_that_cannot_be_copied() -> None:
    model = models.Uncopyable(keras.Sequential([layers.Dense(3), NORM()]))
    model(data(2, 4))
    before = fingerprint(model)
    ed = Editor(model, in_place=True)
    with pytest.raises(StructureError, match="cannot be copied"):
        ed.recalibrate_batchnorm(data(2, 4))
    assert fingerprint(model) == before
