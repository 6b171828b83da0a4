"""What an edit would do, found out by shape inference alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .edits.base import Report
from .graph.flops import count_flops
from .graph.infer import show_shape
from .graph.model_graph import ModelGraph
from .names import visible
from .views import count_bytes, count_params, count_trainable


@dataclass(frozen=True)
class Plan:
    """What an edit would do. Nothing was changed, and no weights were allocated to find out.

    Attributes:
        ok: whether the edit can be made.
        errors: why it cannot, in words.
        mismatch: whether only weights no longer fit, so that `on_mismatch=` offers a way.
        warnings: what to know beside.
        shape_changes: `(path, shape before, shape after)` of layers whose output changes.
        reinitialized: weights (`"dense/kernel"`) that would start afresh.
        sliced: weights of which only the overlapping part would be kept.
        dropped: paths of layers that would go because nothing needs them any more.
        renamed: `(old name, new name)`.
        notes: what else is told, such as what a pattern named and was passed over, and why.
        code: the line of Python that makes the edit.
    """

    ok: bool
    description: str
    code: str
    errors: tuple[str, ...] = ()
    mismatch: bool = False
    warnings: tuple[str, ...] = ()
    shape_changes: tuple[tuple[str, Any, Any], ...] = ()
    reinitialized: tuple[str, ...] = ()
    sliced: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    before: ModelGraph | None = field(default=None, repr=False)
    after: ModelGraph | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        """Whether the edit can be made."""
        return self.ok

    @cached_property
    def params_before(self) -> int | None:
        """Number of weight values now."""
        return None if self.before is None else count_params(self.before, self.before.root)

    @cached_property
    def params_after(self) -> int | None:
        """Number of weight values after the edit; None where it cannot be made."""
        return None if self.after is None else count_params(self.after, self.after.root)

    @cached_property
    def trainable_before(self) -> int | None:
        """Number of weight values that train now."""
        return None if self.before is None else count_trainable(self.before)

    @cached_property
    def trainable_after(self) -> int | None:
        """Number of weight values that train after the edit; None where it cannot be made."""
        return None if self.after is None else count_trainable(self.after)

    @cached_property
    def flops_before(self) -> int | None:
        """Operations for one sample now; None where unknown."""
        return None if self.before is None else count_flops(self.before)

    @cached_property
    def flops_after(self) -> int | None:
        """Operations for one sample after the edit; None where unknown."""
        return None if self.after is None else count_flops(self.after)

    @cached_property
    def bytes_before(self) -> int | None:
        """Bytes of all weights now."""
        return None if self.before is None else count_bytes(self.before)

    @cached_property
    def bytes_after(self) -> int | None:
        """Bytes of all weights after the edit; None where it cannot be made."""
        return None if self.after is None else count_bytes(self.after)

    def __str__(self) -> str:
        lines = [self.description[:1].upper() + self.description[1:]]
        lines += [f"  cannot be done: {text}" for text in self.errors]
        lines += [f"  warning: {text}" for text in self.warnings]
        for path, before, after in self.shape_changes:
            lines.append(f"  {path}: {show_shape(before)} becomes {show_shape(after)}")
        for title, names in (
            ("starts afresh", self.reinitialized),
            ("keeps the overlapping part", self.sliced),
            ("goes too", self.dropped),
        ):
            lines += [f"  {title}: {name}" for name in names]
        lines += [f"  is called {new} (not {old})" for old, new in self.renamed]
        lines += [f"  {text}" for text in self.notes]
        if self.before is not None and self.after is not None:
            total = self.params_before or 0, self.params_after or 0
            lines.append(f"  parameters: {total[0]:,} to {total[1]:,} ({total[1] - total[0]:+,})")
            train = self.trainable_before or 0, self.trainable_after or 0
            if train[1] - train[0] != total[1] - total[0]:  # flags changed, not only layers
                lines.append(f"  of these train: {train[0]:,} to {train[1]:,}")
        return "\n".join(map(visible, lines))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def make_plan(
    description: str, code: str, before: ModelGraph, after: ModelGraph, report: Report
) -> Plan:
    """The plan of an edit that can be made."""
    found = report.findings
    return Plan(
        True,
        description,
        code,
        warnings=tuple(report.warnings),
        shape_changes=tuple(found.shape_changes),
        reinitialized=tuple(found.reinitialized),
        sliced=tuple(found.sliced),
        dropped=tuple(report.dropped),
        renamed=tuple(report.renamed),
        notes=tuple(report.notes),
        before=before,
        after=after,
    )
