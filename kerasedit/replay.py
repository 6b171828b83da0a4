"""Making the edits of a recipe again, and the report of what became of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from .edits import Edit
from .errors import EditError, TargetError, reason
from .names import listed, shortened, visible
from .recipe import Matched, Recipe, matches, settled
from .targets import Target, target_text

if TYPE_CHECKING:
    from .editor import Editor

# Nobody vouches for a recipe: what it may make of a model.
MOST_LAYERS = 100_000
MOST_VALUES = 2**31

Outcome = Literal["done", "skipped", "failed"]


class ReplayError(EditError):
    """An edit of a recipe that cannot be made; `replay` is the report up to it."""

    def __init__(self, message: str, replay: Replay) -> None:
        super().__init__(message)
        self.replay = replay


@dataclass(frozen=True)
class OtherMatch:
    """A target that named other layers than where the recipe was made."""

    target: Target
    before: tuple[str, ...]
    after: tuple[str, ...]

    def __str__(self) -> str:
        gone = [path for path in self.before if path not in self.after]
        new = [path for path in self.after if path not in self.before]
        words = [f"also {_listed(new)}"] if new else []
        words += [f"not {_listed(gone)}"] if gone else []
        return f"{target_text(self.target)} named here {', '.join(words) or 'the same, reordered'}"


@dataclass(frozen=True)
class Row:
    """What became of one edit.

    Attributes:
        number: which of the recipe's, from 1.
        edit: the edit in words.
        outcome: `"done"`, `"skipped"` (its targets name nothing here) or `"failed"`.
        reason: why it was not done.
        others: where its targets named other layers than they did.
        notes: what it did beside what it was asked for.
    """

    number: int
    edit: str
    outcome: Outcome
    reason: str = ""
    others: tuple[OtherMatch, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain lists, numbers and texts."""
        others = [
            {"target": o.target, "before": list(o.before), "after": list(o.after)}
            for o in self.others
        ]
        return {**vars(self), "others": others, "notes": list(self.notes)}


@dataclass(frozen=True, repr=False)
class Replay(Sequence[Row]):
    """What became of each edit of a recipe, as a sequence of rows; `str` is a table.

    Attributes:
        rows: one for each edit, in order.
        unused: recorded weights that found no place in the edited model, each with the reason.
    """

    rows: tuple[Row, ...]
    unused: tuple[tuple[str, str], ...] = ()

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def ok(self) -> bool:
        """Whether every edit was done."""
        return all(row.outcome == "done" for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The report as plain lists, numbers and texts."""
        unused = [{"weight": path, "reason": why} for path, why in self.unused]
        return {"edits": [row.to_json() for row in self.rows], "unused": unused}

    def __str__(self) -> str:
        width = len(str(len(self.rows)))
        lines: list[str] = []
        for row in self.rows:
            lines.append(f"{row.number:>{width}}  {row.outcome:<7}  {_line(row.edit)}")
            more = [row.reason] if row.reason else [*map(str, row.others), *row.notes]
            lines += [f"{'':>{width}}             {_line(text)}" for text in more]
        lines += [f"recorded '{_line(path)}' is not used: {why}" for path, why in self.unused]
        return "\n".join([*lines, self._total()])

    def _total(self) -> str:
        outcomes = [row.outcome for row in self.rows]
        counts = {name: outcomes.count(name) for name in ("done", "skipped", "failed")}
        return ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "done")

    def __repr__(self) -> str:
        return f"<Replay: {self._total()}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def replay(recipe: Recipe, editor: Editor, *, skip: bool) -> Editor:
    """Makes the edits of a recipe on an editor.

    Args:
        recipe: the edits.
        editor: where they are made; its `replay` is the report afterwards.
        skip: go on where an edit cannot be made; else the editor is left as it was.

    Raises:
        ReplayError: an edit cannot be made, and that is not to be skipped.
        EditError: the recipe is not sound.
    """
    rows: list[Row] = []
    with editor.lock:
        edits = recipe.edits(editor.custom_objects)
        known = set(editor.graph.layers)
        with editor.attempt():
            for number, edit in enumerate(edits, 1):
                row, problem = _row(editor, edit, number, recipe)
                rows.append(row)
                if row.outcome != "done" and not skip:
                    raise ReplayError(
                        f"Edit {number} of {len(edits)} ({row.edit}) cannot be made: {row.reason}",
                        Replay(tuple(rows)),
                    ) from problem
            unused = _give_values(recipe, editor, known)
        editor.replay = Replay(tuple(rows), unused)
    return editor


def _row(editor: Editor, edit: Edit, number: int, recipe: Recipe) -> tuple[Row, Exception | None]:
    """Makes one edit, and tells what became of it, and why it could not be made."""
    words, before = edit.describe(), len(editor.steps)
    try:
        with editor.attempt():
            editor.apply(edit)
            _check(editor)
    except Exception as problem:
        why = str(problem) if isinstance(problem, EditError) else reason(problem)
        skipped = isinstance(problem, TargetError)
        return Row(number, words, "skipped" if skipped else "failed", why), problem
    steps = editor.steps[before:]
    others = _others(recipe.steps[number - 1].matched, [m for s in steps for m in matches(s)])
    notes = tuple(line for s in steps for line in s.lines)
    return Row(number, words, "done", "", others, notes), None


def _check(editor: Editor) -> None:
    """Raises where a recipe makes of a model what nothing can be made of."""
    graph, net = editor.graph, editor.graph.net
    if any(ref.index >= len(net.by_id[ref.call].outputs or ()) for ref in net.output_refs):
        raise EditError("The model would put out an output that its last layer does not have.")
    if len(graph.entries) > MOST_LAYERS:
        raise EditError(f"The model would have more than {MOST_LAYERS:,} layers.")
    new = sum(
        math.prod(variable.shape)
        for layer in graph.paths.keys() - editor.source_graph.layers.keys()
        for variable in graph.layers[layer].variables or ()
    )
    if new > MOST_VALUES:
        raise EditError(
            f"New layers would have {new:,} weight values, which is beyond all measure."
        )


def _others(before: Sequence[Matched], after: Sequence[Matched]) -> tuple[OtherMatch, ...]:
    """Where the same targets, in the same order, named other layers."""
    found: list[OtherMatch] = []
    waiting = list(after)
    for old in before:
        new = next((m for m in waiting if m.target == old.target), None)
        if new is None:
            continue
        waiting.remove(new)
        if new.paths != old.paths:
            found.append(OtherMatch(old.target, old.paths, new.paths))
    return tuple(found)


def _give_values(recipe: Recipe, editor: Editor, known: set[int]) -> tuple[tuple[str, str], ...]:
    """Gives new weights the values that the recipe has for them; returns what is not used, and why.

    `known` are the layers from before: they have values already.
    """
    graph = editor.graph
    settled_layers = known.union(*(step.brought for step in editor.steps))
    places = {
        f"{entry.path}/{variable.name}": (entry.layer, index, variable)
        for entry in graph.entries
        for index, variable in enumerate(graph.layers[entry.layer].variables or ())
    }
    unused: list[tuple[str, str]] = []
    given: dict[int, dict[int, tuple[np.ndarray, Any]]] = {}
    for path in recipe.values:
        value = recipe.value(path)
        if path not in places:
            unused.append((path, "the model has no such weight"))
            continue
        layer, index, variable = places[path]
        part = settled(graph, settled_layers, layer, index)
        if part == variable.shape:
            unused.append((path, "the weight there is the model's own"))
        elif value.shape != variable.shape:
            unused.append((path, f"it has shape {value.shape}, and {variable.shape} here"))
        elif ("float" in variable.dtype) != ("float" in value.dtype.name):
            unused.append((path, f"it is {value.dtype.name}, and {variable.dtype} here"))
        else:
            fitting = value.astype(np.dtype(variable.dtype))
            given.setdefault(layer, {})[index] = (fitting, part)
    for layer, values in given.items():
        editor.start_with(layer, values)
    return tuple(unused)


def _line(text: str) -> str:
    return shortened(visible(text), 200)


def _listed(paths: list[str]) -> str:
    return listed((f"'{path}'" for path in paths), 5)
