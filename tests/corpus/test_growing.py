"""Models of `keras.applications` with more channels, more classes and no normalizations."""

from __future__ import annotations

import gc

import keras
import numpy as np
import pytest

from kerasedit import Editor
from kerasedit.compress.groups import Channels

from .applications import all_names
from .pruning import double_precision, make

SOME = ("MobileNetV3Small",)
OTHERS = [name for name in all_names() if name not in SOME]


def check(name: str) -> None:
    source, x = make(name)
    expected = np.asarray(source(x))
    # What the last digits of what goes in become on their way through hundreds of layers.
    rounding = np.abs(np.asarray(source(x.astype(np.float64) * (1 + 1e-15))) - expected).max()
    ed = Editor(source)
    norms = [v for v in ed.layers if v.class_name == "BatchNormalization"]
    if norms:
        ed.fold_batchnorm()
        assert len(norms) > len([v for v in ed.layers if v.class_name == "BatchNormalization"])
    channels = Channels(ed.graph)
    free = [
        (ed.graph.paths[layer], len(numbers))
        for layer, numbers in channels.makers.items()
        if not channels.bounds.keys() & set(numbers.tolist())
    ]
    for number, (path, width) in enumerate((free[0], free[len(free) // 2], free[-1])):
        ed.grow_channels(path, 2 * width, init=("function_preserving", "random")[number % 2])
    ed.grow_outputs(3)
    found = np.asarray(ed.model(x))[:, :10]
    assert found.dtype == np.float64
    tolerance = max(1e-9 * np.abs(expected).max(), 10 * rounding)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    del ed, source
    keras.utils.clear_session()
    gc.collect()


@pytest.mark.parametrize("name", SOME)
def test_some(name: str) -> None:
    with double_precision():
        check(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OTHERS)
def test_the_others(name: str) -> None:
    with double_precision():
        check(name)
