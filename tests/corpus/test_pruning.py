"""Models of `keras.applications` with fewer channels: some small ones here, all in the slow tier."""

from __future__ import annotations

import gc

import keras
import pytest

from .applications import all_names
from .pruning import check, check_apart, record

# Small, and of different kinds: depthwise and squeezed; residual; raw operations.
SOME = {"EfficientNetB0": (0.5,), "MobileNetV2": (0.1,), "MobileNetV3Small": (0.5, 1.0)}


@pytest.mark.parametrize("name", SOME)
def test_some(name: str) -> None:
    row = check(name, SOME[name], exports=0)
    keras.utils.clear_session()
    gc.collect()
    assert row.parameters > row.left[0]
    assert not row.mixed


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", all_names())
def test_all(name: str) -> None:
    row = check_apart(name)
    record(row)
    assert list(row.left) == sorted(row.left, reverse=True)
