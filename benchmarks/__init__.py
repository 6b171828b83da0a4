"""Measurements, most of them against a target. `make bench` runs them.

A module `bench_NAME.py` in this folder has a function `run()` that returns, or yields, `Result`s.
"""

from __future__ import annotations

from typing import NamedTuple


class Result(NamedTuple):
    """One figure. `met` is None where there is no target, only something worth knowing."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None
