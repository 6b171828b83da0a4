"""Edits on the models of `keras.applications`: the smallest of each family here, all in the slow tier."""

from __future__ import annotations

import gc

import keras
import pytest

from .applications import FAMILIES, all_names
from .edits import check_edits, check_edits_apart, record


@pytest.mark.parametrize("name", FAMILIES)
def test_edits_one_on_the_other(name: str):
    row = check_edits(name, each=False)
    keras.utils.clear_session()
    gc.collect()
    assert not row.faults
    assert len(row.removed) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", all_names())
def test_every_edit_by_itself(name: str):
    row = check_edits_apart(name)
    record(row)
    assert not row.faults
