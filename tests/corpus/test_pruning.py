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


def check(name: str, folder: Path) -> None:
    size = SIZES.get(name, 32)
    build = getattr(keras.applications, name)
    source = distinct(build(weights=None, input_shape=(size, size, 3), classes=10))
    ed = Editor(source)
    assert any(group.prunable for group in ed.channel_groups())
    ed.prune_channels("**", fraction=0.5)
    assert ed.model.count_params() < 0.5 * source.count_params()
    x = data(2, size, size, 3)
    found = np.asarray(ed.model(x))
    assert np.isfinite(found).all()
    mixed = any(group.mixed for group in ed.channel_groups())
    if not mixed:  # statistics of what is left are others
        np.testing.assert_allclose(found, zeroed(source, ed.model)(x), rtol=1e-3, atol=1e-4)
    ed.model.compile("sgd", "categorical_crossentropy")
    assert np.isfinite(ed.model.train_on_batch(x, np.eye(10)[:2]))
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
