"""A recipe: the edits of an editor as data, to be made again on another model.

It is JSON (`recipe.schema.json` tells its form), with an `.npz` of its arrays beside it if it has any.
Whoever wrote it, nothing of it is trusted: see `block_data` and `arrays`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from .arrays import Store, array_data, is_store, read_array, read_npz, write_npz
from .block_data import block_words, read_block
from .blocks import Block
from .edits import Edit, Reinitialize, Transaction, read_edit
from .edits.base import check, targets_of
from .errors import EditError, reason
from .files import SUFFIXES, folder_beside, put_in_place
from .graph.model_graph import LayerId, ModelGraph
from .names import listed, shortened, visible
from .targets import Target, is_glob, target_text

if TYPE_CHECKING:
    from .editor import Editor, _Step

FORMAT = "kerasedit recipe"
VERSION = 1
_MOST = 10_000  # edits
_SHOWN = 6  # paths in a line

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Matched:
    """A target as it was written, and the paths that it named."""

    target: Target
    paths: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"target": self.target, "paths": list(self.paths)}


@dataclass(frozen=True)
class RecipeStep:
    """One edit as JSON, and what its targets named where it was made."""

    edit: Mapping[str, Any]
    matched: tuple[Matched, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"edit": self.edit, "matched": [item.to_json() for item in self.matched]}


@dataclass(frozen=True, repr=False)
class Recipe:
    """Edits as data. It is made by `ed.recipe()` and `Recipe.load(path)`.

    Its length is the number of edits, iterating gives them as edit objects, and `str` tells them in
    words.

    Attributes:
        steps: the edits as JSON, targets as they were written, each with what it matched.
        values: by weight path in the edited model, the JSON of values of weights that would else be
            drawn at random.
        arrays: the arrays that both name.
    """

    steps: tuple[RecipeStep, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict, compare=False)

    # -- looking ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits())

    def edits(self, custom_objects: Mapping[str, Any] | None = None) -> tuple[Edit, ...]:
        """The edits as objects, as `ed.apply` takes them.

        Args:
            custom_objects: classes and functions that their layers name and Keras does not know.

        Raises:
            EditError: one names a class or function that is not known, or is not sound.
        """
        objects = dict(custom_objects or {})
        with keras.saving.custom_object_scope(objects):
            return self._read(lambda data: read_block(data, objects, self.arrays))

    def words(self) -> tuple[str, ...]:
        """Each edit in words. No layer is made for it, so this needs no custom objects."""
        return tuple(_line(edit.describe()) for edit in self._read(_Told))

    def _read(self, block: Callable[[Any], Any]) -> tuple[Edit, ...]:
        found: list[Edit] = []
        for number, step in enumerate(self.steps, 1):
            try:
                found.append(read_edit(step.edit, block, self.arrays))
            except Exception as problem:
                why = str(problem) if isinstance(problem, EditError) else reason(problem)
                raise EditError(f"Edit {number} of the recipe cannot be read: {why}") from problem
        return tuple(found)

    def __str__(self) -> str:
        width = len(str(len(self)))
        lines = [f"Recipe of {_count(len(self), 'edit')}, {_count(len(self.values), 'weight')}"]
        for number, (text, step) in enumerate(zip(self.words(), self.steps, strict=True), 1):
            lines.append(f"  {number:>{width}}  {text}")
            lines += [
                f"  {'':>{width}}    {_line(target_text(m.target))} named {_paths(m.paths)}"
                for m in step.matched
                if _is_open(m.target)
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Recipe: {_count(len(self), 'edit')}, {_count(len(self.values), 'weight')}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    # -- as JSON ---------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON; `recipe.arrays` has the arrays that it names."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "steps": [step.to_json() for step in self.steps],
            "values": dict(self.values),
        }

    @classmethod
    def from_json(cls, data: Any, arrays: Arrays | None = None) -> Recipe:
        """The recipe of `to_json`.

        Args:
            data: the JSON.
            arrays: the arrays that it names; without, it has them inline.

        Raises:
            EditError: it is no recipe, of a later version, or not sound.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise EditError(f"That is no recipe: a recipe has the format '{FORMAT}'.")
        if data.get("version") != VERSION:
            raise EditError(
                f"The recipe has the version {data.get('version')!r:.80} and this kerasedit knows "
                f"version {VERSION}. A later kerasedit may have written it."
            )
        _only(data, ("format", "version", "steps", "values"), "A recipe")
        steps, values = data.get("steps"), data.get("values", {})
        if not isinstance(steps, list) or len(steps) > _MOST or not isinstance(values, Mapping):
            raise EditError("A recipe has a list of 'steps' and an object of 'values'.")
        recipe = cls(tuple(map(_read_step, steps)), dict(values), dict(arrays or {}))
        recipe.words()  # reads all but the blocks, which wait for custom objects
        for path in values:
            recipe.value(path)
        return recipe

    def value(self, path: str) -> np.ndarray:
        """The values of a weight in `values`."""
        return read_array(self.values[path], self.arrays)

    # -- files -----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Recipe:
        """Writes the JSON to `path`, and the arrays to an `.npz` of the same name beside it.

        What is there is the old recipe or the whole new one, whatever happens in between.

        Raises:
            EditError: it cannot be written, or the `.npz` there is no recipe's.
        """
        file, beside = _places(path)
        if os.path.isdir(file) or not os.path.isdir(file.parent):
            raise EditError(f"'{file}' is no place for a file: it is a folder, or in none.")
        if beside.exists() and not is_store(beside):
            raise EditError(
                f"There is a file '{beside}' that is no recipe's, where the arrays of this one would "
                "go. Give the recipe another name."
            )
        text = json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        needed = set(_keys(self.to_json()))
        arrays = {key: self.arrays[key] for key in self.arrays if key in needed}
        try:
            with folder_beside(file) as folder:
                # Until the JSON is the new one, the old one has to find what it names.
                both = {**_arrays_of(file, beside), **arrays}
                if both:
                    put_in_place(folder, beside, lambda stream: write_npz(stream, both))
                put_in_place(folder, file, lambda stream: stream.write(text.encode()))
                if both.keys() != arrays.keys() and arrays:
                    put_in_place(folder, beside, lambda stream: write_npz(stream, arrays))
                elif not arrays:
                    beside.unlink(missing_ok=True)
        except OSError as problem:
            raise EditError(
                f"'{file}' cannot be written: {problem.strerror or problem}. What was there is "
                "unharmed."
            ) from problem
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """The recipe of a file. Nothing in it is run or imported.

        Raises:
            EditError: there is no such file, or it is no sound recipe.
        """
        file, beside = _places(path)
        data = _read_file(file)
        arrays = read_npz(beside) if next(_keys(data), None) is not None else {}
        try:
            return cls.from_json(data, arrays)
        except EditError as problem:
            raise EditError(f"'{file}' cannot be read as a recipe: {problem}") from problem

    # -- again -----------------------------------------------------------------------------------

    def apply(
        self,
        model: Any,
        *,
        on_error: Literal["stop", "skip"] = "stop",
        custom_objects: Mapping[str, Any] | None = None,
        safe_mode: bool = True,
        compile: bool = True,
    ) -> Editor:
        """Makes the edits again on another model.

        The editor's `replay` then tells, edit by edit, what was done, and where targets named other
        layers than they did. Weights that the edits draw at random get the recorded values, where
        the edited model has such a weight of the same shape.

        Args:
            model: a model, the path of one, or an editor, which goes on from where it is.
            on_error: what to do with an edit that cannot be made: `"stop"` raises and leaves an
                editor as it was, `"skip"` goes on with the next.
            custom_objects: classes and functions that layers of the recipe or model name.
            safe_mode, compile: as in `Editor`.

        Raises:
            ReplayError: with `"stop"`, an edit cannot be made; its `replay` has the report, and its
                `__cause__` is what the edit raised.
            EditError: the model cannot be opened, or the recipe is not sound.
        """
        from .editor import Editor
        from .replay import replay

        if on_error not in ("stop", "skip"):
            raise EditError(f"on_error is 'stop' or 'skip', not {on_error!r:.80}.")
        if isinstance(model, Editor):
            model.learn_objects(custom_objects or {})
            editor = model
        else:
            editor = Editor(
                model, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
            )
        return replay(self, editor, skip=on_error == "skip")


# -- making one ----------------------------------------------------------------------------------


def make_recipe(editor: Editor, weights: bool) -> Recipe:
    """The recipe of an editor's history.

    Raises:
        EditError: an edit cannot be told as data.
    """
    arrays: dict[str, np.ndarray] = {}
    steps: list[RecipeStep] = []
    with keras.saving.custom_object_scope(dict(editor.custom_objects)):
        for step in editor.steps:
            if step.edit is None:
                continue
            edit = step.edit if weights else _without_draws(step.edit)
            try:
                steps.append(RecipeStep(_as_data(edit, editor, arrays), matches(step)))
            except EditError as problem:
                raise EditError(
                    f"Edit {len(steps) + 1} ({edit.describe()}) cannot be part of a recipe: {problem}"
                ) from problem
    values = _drawn_values(editor, arrays) if weights else {}
    return Recipe(tuple(steps), values, arrays)


def recipe_of(edits: Iterable[Edit], editor: Editor) -> Recipe:
    """The recipe of edits that are yet to be made on the model of an editor.

    Raises:
        EditError: an edit cannot be told as data.
    """
    arrays: dict[str, np.ndarray] = {}
    with keras.saving.custom_object_scope(dict(editor.custom_objects)):
        steps = tuple(RecipeStep(_as_data(edit, editor, arrays)) for edit in edits)
    return Recipe(steps, arrays=arrays)


def _as_data(edit: Edit, editor: Editor, arrays: Store) -> dict[str, Any]:
    """An edit as JSON that can be read again."""
    try:
        data = json.loads(json.dumps(edit.to_json(arrays), allow_nan=False, sort_keys=True))
    except (TypeError, ValueError) as problem:
        if isinstance(problem, EditError):
            raise
        raise EditError(f"it holds something that is no data. {reason(problem)}") from problem
    objects = {**editor.custom_objects, **classes_of(edit)}
    read_edit(data, lambda block: read_block(block, objects, arrays), arrays)
    return data


def classes_of(edit: Edit) -> dict[str, type]:
    """The classes of the layers that an edit brings in: who repeats it will have to have them."""
    values = [getattr(edit, item.name) for item in fields(edit)]
    found = {
        keras.saving.get_registered_name(spec.cls): spec.cls
        for value in values
        if isinstance(value, Block)
        for spec in value.layers.values()
        if not spec.cls.__module__.startswith("keras.")
    }
    for part in edit.edits if isinstance(edit, Transaction) else ():
        found |= classes_of(part)
    return found


def _without_draws(edit: Edit) -> Edit:
    if isinstance(edit, Transaction):
        return replace(edit, edits=tuple(map(_without_draws, edit.edits)))
    return replace(edit, arrays=None) if isinstance(edit, Reinitialize) else edit


def matches(step: _Step) -> tuple[Matched, ...]:
    """What the targets of a step's edit named, each as it was written."""
    edits = step.edit.edits if isinstance(step.edit, Transaction) else [step.edit]
    found: list[Matched] = []
    for edit, named in zip(edits, step.matched, strict=True):
        own = targets_of(edit) if edit is not None else []
        seen: list[Target] = []  # a layer may be looked for twice
        for target, paths in named:
            if target in own and target not in seen:
                seen.append(target)
                found.append(Matched(_as_lists(target), paths))
    return tuple(found)


def _as_lists(target: Target) -> Target:
    return [_as_lists(item) for item in target] if isinstance(target, (list, tuple)) else target


def _drawn_values(editor: Editor, arrays: Store) -> dict[str, Any]:
    """The latest values of all weights that do not follow from the source and the edits."""
    graph, known = editor.graph, {*editor.source_graph.layers}
    for step in editor.steps:
        known |= step.brought
    found: dict[str, Any] = {}
    for entry in graph.entries:
        for index, variable in enumerate(graph.layers[entry.layer].variables or ()):
            path = f"{entry.path}/{variable.name}"
            first = graph.paths[entry.layer] == entry.path and variable.weight
            if first and settled(graph, known, entry.layer, index) != variable.shape:
                found[path] = array_data(editor.weight_value(entry, index), arrays)
    return found


def settled(
    graph: ModelGraph, known: set[LayerId], layer: LayerId, index: int
) -> tuple[int, ...] | None:
    """The leading part of a variable that follows from those of `known` layers; None: nothing."""
    spec = graph.layers[layer]
    shape = (spec.variables or ())[index].shape
    if layer in known:
        return shape
    if spec.twin is not None:
        return settled(graph, known, spec.twin, index)
    origin = spec.origins.get(index)
    if origin is None:
        return None
    if origin.make is not None:  # from whole values
        given = [(o, (graph.layers[o.layer].variables or ())[o.index]) for o in origin.sources]
        whole = all(settled(graph, known, o.layer, o.index) == v.shape for o, v in given)
        return shape if whole else None
    part = settled(graph, known, origin.layer, origin.index)
    if part is not None and origin.kept is not None:
        pairs = zip(part, origin.kept, strict=True)
        part = tuple(n if own is None else sum(i < n for i in own) for n, own in pairs)
    return tuple(map(min, part, shape)) if part is not None and origin.overlap else part


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Told:
    """A block known by its data alone."""

    data: Any

    def describe(self) -> str:
        return block_words(self.data) or "a block"


def _read_step(data: Any) -> RecipeStep:
    if not isinstance(data, Mapping) or not isinstance(data.get("edit"), Mapping):
        raise EditError("A step of a recipe is an object with an 'edit'.")
    _only(data, ("edit", "matched"), "A step of a recipe")
    matched = data.get("matched", [])
    if not isinstance(matched, list):
        raise EditError("'matched' of a step is a list.")
    return RecipeStep(dict(data["edit"]), tuple(map(_read_matched, matched)))


def _read_matched(data: Any) -> Matched:
    paths = data.get("paths") if isinstance(data, Mapping) else None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise EditError("What a target matched is an object with a 'target' and a list of 'paths'.")
    _only(data, ("target", "paths"), "What a target matched")
    check("matched", "target", data.get("target"))
    return Matched(data["target"], tuple(paths))


def _only(data: Mapping[str, Any], keys: tuple[str, ...], what: str) -> None:
    unknown = [key for key in data if key not in keys]
    if unknown:
        raise EditError(f"{what} has no {unknown[0]!r:.80}.")


def _keys(data: Any) -> Iterator[str]:
    """The keys of all arrays that JSON names."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("array"), str):
                yield value["array"]
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


# -- files ---------------------------------------------------------------------------------------


def _places(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file of a recipe's JSON (what a link leads to), and that of its arrays."""
    file = Path(path)
    if file.is_symlink():
        file = file.resolve()
    if file.suffix in (".npz", ".py", *SUFFIXES) or not file.name:
        raise EditError(
            f"A recipe is a JSON file, and '{file}' is none. Name it 'edits.json', say."
        )
    return file, file.with_suffix(".npz")


def _read_file(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError as problem:
        raise EditError(f"There is no file '{file}'.") from problem
    except Exception as problem:
        raise EditError(f"'{file}' is no recipe: {reason(problem)}") from problem


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _arrays_of(file: Path, beside: Path) -> Arrays:
    """The arrays that the recipe in a file names; none where there is no sound one."""
    try:
        needed = set(_keys(_read_file(file)))
        return {key: array for key, array in read_npz(beside).items() if key in needed}
    except EditError:
        return {}


# -- in words ------------------------------------------------------------------------------------


def _is_open(target: Target) -> bool:
    """Whether a target does not say by itself what it names."""
    if isinstance(target, (list, tuple)):
        return any(map(_is_open, target))
    return not isinstance(target, str) or is_glob(target)


def _line(text: str) -> str:
    return shortened(visible(text), 160)


def _paths(paths: tuple[str, ...]) -> str:
    return listed((f"'{_line(path)}'" for path in paths), _SHOWN) or "nothing"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
