"""The editing methods: each makes one edit. The editor applies it, the preview plans it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from .blocks import Block, make_block, needs_tensor
from .edits import (
    Append,
    Edit,
    Freeze,
    FreezeUpTo,
    Insert,
    Remove,
    Rename,
    Replace,
    Transaction,
    Trim,
    Unfreeze,
)
from .edits.base import Workspace
from .edits.structure import once_each, places, single_output, tensor_at
from .errors import EditError, TargetError
from .graph.infer import OnMismatch

if TYPE_CHECKING:
    from .editor import Editor

Result = TypeVar("Result")


class EditMethods(ABC, Generic[Result]):
    """Every editing method, in terms of what becomes of the edit that it makes."""

    @property
    @abstractmethod
    def _editor(self) -> Editor:
        """The editor whose model is meant."""

    @abstractmethod
    def _run(self, make: Callable[[], Edit]) -> Result:
        """Takes the edit that `make` returns. `make` raises where the arguments cannot be right."""

    def apply(self, edit: Edit) -> Result:
        """Takes an edit object, as `ed.history` holds them."""

        def make() -> Edit:
            if not isinstance(edit, Edit):
                raise EditError(f"An edit object is needed, not {edit!r:.80}.")
            return edit

        return self._run(make)

    # -- structure -------------------------------------------------------------------------------

    def remove(
        self,
        target: Any,
        *,
        keep: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Takes layers out; their consumers take the layer's input.

        Args:
            target: which layers.
            keep: of a merge layer, which of its inputs stays: a number from 0 or a path.
            call: of a shared layer, which call; without it all are meant.
            expect: how many layers the target has to name.
            on_mismatch: what becomes of a weight whose shape no longer fits: `"error"`,
                `"reinit"` or `"slice"`.

        Raises:
            TargetError: the target names no such layer.
            StructureError: it is an input, or a merge layer without `keep`.
            ShapeMismatch: what follows cannot take what comes now.
        """
        return self._run(
            lambda: Remove(self._data(target), self._optional(keep), call, expect, on_mismatch)
        )

    def insert(
        self,
        block: Any,
        *,
        after: Any = None,
        before: Any = None,
        input: int | str | None = None,
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block into the model.

        Args:
            block: a layer, a list of layers, a model, or a function of tensors. It is copied.
            after: all consumers of this layer, model outputs included, take the block. Of a layer
                with several outputs the first is meant.
            before: only this layer takes the block. With both, only the one edge between them.
            input: before a layer with several inputs, which: a number from 0 or a path.
            call, expect, on_mismatch: as in `remove`.

        Raises:
            TargetError, ShapeMismatch, StructureError: as in `remove`.
            NameTaken: the block has a chosen name that belongs to another layer.
        """

        def make() -> Edit:
            behind, ahead, which = map(self._optional, (after, before, input))
            if not needs_tensor(block):
                return Insert(make_block(block), behind, ahead, which, call, expect, on_mismatch)
            # What is traced is traced for the tensor at each place.
            work = self._workspace()
            edits = []
            for entry in places(work, behind, ahead, call, expect):
                tensor = tensor_at(work, which, entry, before is not None, call)
                made = make_block(block, tensor)
                edits.append(
                    Insert(made, entry.path, None, None, call, None, on_mismatch)
                    if before is None
                    else Insert(made, behind, entry.path, which, call, None, on_mismatch)
                )
            return edits[0] if len(edits) == 1 else Transaction("insert", tuple(edits))

        return self._run(make)

    def append(self, block: Any, *, on_mismatch: OnMismatch = "error") -> Result:
        """Puts a block behind the model's output.

        Raises:
            StructureError: the model has several outputs; use `insert(block, after=...)`.
        """

        def make() -> Edit:
            if not needs_tensor(block):
                return Append(make_block(block), on_mismatch)
            work = self._workspace()
            tensor = work.graph.net.spec(single_output(work))
            return Append(make_block(block, tensor), on_mismatch)

        return self._run(make)

    def replace(
        self,
        target: Any,
        block: Any,
        *,
        weights: Literal["match", "slice", "none"] = "match",
        call: int | None = None,
        expect: int | None = None,
        on_mismatch: OnMismatch = "error",
    ) -> Result:
        """Puts a block in the place of layers.

        Args:
            target: which layers.
            block: a layer, a list of layers, a model, or a function of tensors. It is copied.
            weights: what an unbuilt block keeps of the old weights: `"match"` those of the same
                name and shape, `"slice"` also the overlapping part, `"none"` nothing. What it does
                not keep starts fresh and is listed in the plan.
            call, expect: as in `remove`.
            on_mismatch: as in `remove`; it governs the other layers.

        Raises:
            TargetError, ShapeMismatch, StructureError, NameTaken: as in `insert`.
        """

        def make() -> Edit:
            which = self._data(target)
            if not needs_tensor(block):
                return Replace(which, make_block(block), weights, call, expect, on_mismatch)
            work = self._workspace()
            edits = []
            for entry in once_each(work.find(which, expect)):
                tensor = tensor_at(work, None, entry, True, call)
                made = make_block(block, tensor)
                edits.append(Replace(entry.path, made, weights, call, None, on_mismatch))
            return edits[0] if len(edits) == 1 else Transaction("replace", tuple(edits))

        return self._run(make)

    def rename(self, target: Any, name: str, *, expect: int | None = None) -> Result:
        """Gives a layer another name.

        Raises:
            NameTaken: a layer beside it has the name.
        """
        return self._run(lambda: Rename(self._data(target), name, expect))

    def trim(self, target: Any, *, expect: int | None = None) -> Result:
        """Makes a layer the output and drops all past it.

        Args:
            target: the layer; or a whole number, the count of layers (not ops or inputs) to drop
                from the end.

        Raises:
            StructureError: dropping that many layers would cut several branches.
        """
        return self._run(lambda: Trim(self._data(target), expect))

    # -- flags -----------------------------------------------------------------------------------

    def freeze(self, *targets: Any, expect: int | None = None) -> Result:
        """Lets layers keep their weights in training; of a nested model, all inside it."""
        return self._run(lambda: Freeze(tuple(map(self._data, self._some(targets))), expect))

    def unfreeze(self, *targets: Any, expect: int | None = None) -> Result:
        """Lets layers train; of a nested model, all inside it."""
        return self._run(lambda: Unfreeze(tuple(map(self._data, self._some(targets))), expect))

    def freeze_up_to(self, target: Any, *, expect: int | None = None) -> Result:
        """Freezes a layer and all before it in data order."""
        return self._run(lambda: FreezeUpTo(self._data(target), expect))

    # -- helpers ---------------------------------------------------------------------------------

    def _workspace(self) -> Workspace:
        return self._editor._workspace()

    def _data(self, target: Any) -> Any:
        return self._editor._target(target)

    def _optional(self, target: Any) -> Any:
        return None if target is None else self._data(target)

    @staticmethod
    def _some(targets: tuple[Any, ...]) -> tuple[Any, ...]:
        if not targets:
            raise TargetError("Name the layers to freeze or unfreeze; '**' names all.")
        return targets


__all__ = ["Block", "EditMethods"]
