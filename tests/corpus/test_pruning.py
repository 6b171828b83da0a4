"""Every model of `keras.applications` with half of its channels: it puts out what zeros would."""

from __future__ import annotations

import gc
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasedit import Editor
from tests.models import data
from tests.pruning import distinct, zeroed

from .applications import SIZES, all_names

# Small, and of different kinds: depthwise and squeezed; residual; raw operations.
SOME = ("EfficientNetB0", "MobileNetV2", "MobileNetV3Small")
OTHERS = [name for name in all_names() if name not in SOME]


def normalised(model: keras.Model, x: np.ndarray) -> keras.Model:
    """Lets batch normalizations fit a batch, so that it reaches the end of a deep model."""
    norms = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum
        for variable in (layer.moving_mean, layer.moving_variance):
            value = keras.ops.convert_to_numpy(variable).copy()
            step = 1e-5 * np.abs(value).max() + 1e-6
            value[np.argsort(value)] += step * np.arange(len(value))  # no two are the same
            variable.assign(value)
    return model


def check(name: str, folder: Path) -> None:
    size = SIZES.get(name, 32)
    build = getattr(keras.applications, name)
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    x = 60 * data(8, size, size, 3) + 128  # some models scale pictures themselves
    source = normalised(distinct(build(input_shape=(size, size, 3), **options)), x)
    ed = Editor(source)
    assert any(group.prunable for group in ed.channel_groups())
    ed.prune_channels("**", fraction=0.5)
    assert ed.model.count_params() < 0.5 * source.count_params()
    found = np.asarray(ed.model(x))
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() > 1e-3 * np.abs(found).max()  # what goes in matters
    mixed = any(group.mixed for group in ed.channel_groups())
    if not mixed:  # statistics of what is left are others
        expected = np.asarray(zeroed(source, ed.model)(x))
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    ed.model.compile(keras.optimizers.SGD(1e-6), "mae")
    assert np.isfinite(ed.model.train_on_batch(x, np.eye(10)[:8]))
    ed.save(folder / "half.keras")
    del ed, source
    keras.utils.clear_session()
    gc.collect()


@pytest.mark.parametrize("name", SOME)
def test_half_of_the_channels(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OTHERS)
def test_half_of_the_channels_of_all_others(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
