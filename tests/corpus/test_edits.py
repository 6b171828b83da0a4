"""Edits on the models of `keras.applications`: the smallest of each family here, all in the slow tier."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import pytest

from .applications import FAMILIES, all_names, write_section
from .edits import EditRow, check_edits, check_edits_apart, table


@pytest.fixture(scope="module")
def rows() -> Iterator[list[EditRow]]:
    """Collects what was found; when the slow tier saw all models, it is written down."""
    found: list[EditRow] = []
    yield found
    if {row.name for row in found} == set(all_names()):
        write_section("Edited", table(found))


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
def test_every_edit_by_itself(name: str, rows: list[EditRow]):
    row = check_edits_apart(name)
    rows.append(row)
    assert not row.faults
