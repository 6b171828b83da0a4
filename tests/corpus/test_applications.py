"""The models of `keras.applications`: the smallest of each family here, all in the slow tier."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import pytest

from .applications import FAMILIES, Row, all_names, check, check_apart, table, write_section

OTHERS = [name for name in all_names() if name not in FAMILIES]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """Collects what was found; when the slow tier saw all models, it is written down."""
    found: list[Row] = []
    yield found
    if {row.name for row in found} == set(all_names()):
        write_section("As they are", table(found))


@pytest.mark.parametrize("name", FAMILIES)
def test_smallest_of_each_family(name: str, rows: list[Row]):
    row = check(name)
    rows.append(row)
    keras.utils.clear_session()
    gc.collect()
    assert not row.faults
    assert row.submodels == row.layers


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", OTHERS)
def test_all_others(name: str, rows: list[Row]):
    row = check_apart(name)  # the large ones need all the memory there is
    rows.append(row)
    assert not row.faults
    assert row.submodels == row.layers
