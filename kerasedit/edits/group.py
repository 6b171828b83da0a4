"""Edits made of edits: a transaction, and the way back to the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ..blocks import Block
from ..errors import EditError
from .base import Edit, Workspace, Writer, check, read_edit


@dataclass(frozen=True)
class Transaction(Edit):
    """Several edits as one step: all of them or none."""

    kind: ClassVar[str] = "transaction"
    label: str
    edits: tuple[Edit, ...] = ()

    def describe(self) -> str:
        return self.label

    def apply(self, work: Workspace) -> None:
        for edit in self.edits:
            edit.settled(work).apply(work)

    @classmethod
    def from_json(
        cls,
        data: Mapping[str, Any],
        read_block: Callable[[Any], Block],
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        edits = data.get("edits", [])
        if not isinstance(edits, list) or set(data) - {"edit", "label", "edits"}:
            raise EditError("A transaction has a 'label' and a list of 'edits'.")
        label = check(cls.kind, "label", data.get("label", "edits"))
        return cls(label, tuple(read_edit(edit, read_block, arrays) for edit in edits))

    def to_code(self, write: Writer | None = None) -> str:
        lines = "\n".join(
            f"    {line}" for edit in self.edits for line in edit.to_code(write).split("\n")
        )
        return f"with ed.transaction({self.label!r}):\n{lines or '    pass'}"
