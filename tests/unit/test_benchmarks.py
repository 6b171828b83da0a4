"""Benchmarks that are run by hand still run, and write where they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import quality_pruning
from benchmarks.quality_pruning import AFRESH, WHOLE, Task


@pytest.mark.slow
def test_the_quality_of_pruning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(seeds=1, fractions=(0.3,), epochs=10)
    rows = quality_pruning.measured(task)
    assert [row.name for row in rows] == [WHOLE, *task.criteria, AFRESH]
    assert all(row.after > 0.5 for row in rows)
    assert rows[0].before > max(row.before for row in rows[1:])

    page, original = tmp_path / "page.md", quality_pruning.PAGE.read_text(encoding="utf-8")
    page.write_text(original, encoding="utf-8")
    monkeypatch.setattr(quality_pruning, "PAGE", page)
    for _ in range(2):  # what was written before is replaced
        quality_pruning.write(quality_pruning.table(task, rows))
    written = page.read_text(encoding="utf-8")
    table = re.compile(r"^\| .*\n", re.MULTILINE)
    assert table.sub("", written) == table.sub("", original)
    assert written.count(f"| {AFRESH} |") == 1 and written != original
