"""Candidates: what a user gave, as recipes, each known by what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from .. import _keras
from ..editor import Editor
from ..edits import Edit, Transaction
from ..errors import EditError
from ..graph.model_graph import ModelGraph, map_refs
from ..recipe import Recipe, classes_of, recipe_of
from .trial import seeded

BASELINE = "(unedited)"


@dataclass(frozen=True)
class Task:
    """A candidate ready to be tried.

    Attributes:
        name: what it is called in the results.
        recipe: its edits as data.
        layers: the layers that it stands for; None: those that its targets name.
        seed: what random generators start with; None: as they are.
        objects: classes of layers that its edits bring in.
        problem: why it cannot be tried at all, if so.
        skipped: whether that is no failure.
    """

    name: str
    recipe: Recipe = field(default_factory=lambda: Recipe(()))
    layers: tuple[str, ...] | None = None
    seed: int | None = None
    objects: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    skipped: bool = False

    def key(self, model: str) -> str:
        """What it is known by, with the fingerprint of the model it is tried on."""
        edits = [step.edit for step in self.recipe.steps]
        data = [model, edits, dict(self.recipe.values), self.seed]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


# -- from what a user gave -----------------------------------------------------------------------


def tasks_of(candidates: Any, editor: Editor, seed: int | None) -> list[Task]:
    """The baseline, and a task for each candidate.

    Args:
        candidates: an edit, a recipe, a function that edits an editor, a list of edits; a dictionary
            of these by names, or a list of them.
        editor: one of the unedited model, which stays as it is.
        seed: of all tasks.

    Raises:
        EditError: something is no candidate, or there is none.
    """
    found = [Task(BASELINE, layers=(), seed=seed)]
    for name, candidate in _named(candidates):
        _check(name, candidate)
        try:
            with seeded(seed):
                recipe, objects = _recipe(candidate, editor)
        except Exception as problem:  # of a function of the user's
            text = str(problem) if isinstance(problem, EditError) else repr(problem)
            found.append(Task(name or _words(candidate), seed=seed, problem=text))
        else:
            name = name or "; ".join(recipe.words()) or "no edits"
            found.append(Task(name, recipe, seed=seed, objects=objects))
    if len(found) == 1:
        raise EditError("There are no candidates to try.")
    return _apart(found)


def _named(candidates: Any) -> list[tuple[str, Any]]:
    """Each candidate with its name, or none."""
    if isinstance(candidates, Mapping):
        wrong = [name for name in candidates if not isinstance(name, str) or name == BASELINE]
        if wrong:
            raise EditError(f"{wrong[0]!r:.80} cannot be the name of a candidate.")
        return list(candidates.items())
    if isinstance(candidates, (Edit, Recipe)) or _is_function(candidates):
        return [("", candidates)]
    if isinstance(candidates, str) or not isinstance(candidates, Iterable):
        raise EditError(
            "Candidates are edits, recipes, lists of edits or functions that edit an editor, in a "
            f"list or in a dictionary by names, not {type(candidates).__name__}."
        )
    return [("", candidate) for candidate in candidates]


def _check(name: str, candidate: Any) -> None:
    parts = candidate if isinstance(candidate, (list, tuple)) else [candidate]
    for part in parts:
        single = part is candidate and (isinstance(part, Recipe) or _is_function(part))
        if not (isinstance(part, Edit) or single):
            where = f"The candidate '{name}'" if name else "A candidate"
            raise EditError(
                f"{where} is an edit, a recipe, a list of edits or a function that edits an editor, "
                f"not {part!r:.80}."
            )


def _is_function(candidate: Any) -> bool:
    """Whether a candidate is a function of an editor; models and classes can be called, too."""
    return callable(candidate) and not isinstance(candidate, (keras.Layer, type))


def _recipe(candidate: Any, editor: Editor) -> tuple[Recipe, dict[str, Any]]:
    """A candidate's edits as data, and the classes of layers that they bring in.

    What is no data yet, as the channels that go by what they do to the loss, is settled on an editor of
    its own first.
    """
    if isinstance(candidate, Recipe):
        return candidate, {}
    if callable(candidate) or any(map(_is_live, _edits(candidate))):
        trial = Editor(editor.source, custom_objects=editor.custom_objects)
        if callable(candidate):
            candidate(trial)
        else:
            for edit in _edits(candidate):
                trial.apply(edit)
        return trial.recipe(weights=False), _all_classes(trial.history)
    edits = _edits(candidate)
    return recipe_of(edits, editor), _all_classes(edits)


def _edits(candidate: Any) -> list[Edit]:
    return [candidate] if isinstance(candidate, Edit) else list(candidate)


def _is_live(edit: Edit) -> bool:
    """Whether an edit holds what is no data."""
    if isinstance(edit, Transaction):
        return any(map(_is_live, edit.edits))
    return any(getattr(edit, name) is not None for name in edit.live)


def _all_classes(edits: Iterable[Edit]) -> dict[str, Any]:
    return {name: cls for edit in edits for name, cls in classes_of(edit).items()}


def _words(candidate: Any) -> str:
    """What a candidate without a name is called where it has no recipe."""
    if callable(candidate):
        return getattr(candidate, "__name__", "a function")
    return "; ".join(edit.describe() for edit in _edits(candidate))


def _apart(tasks: list[Task]) -> list[Task]:
    """The tasks with a number behind names that come again."""
    seen: dict[str, int] = {}
    found = []
    for task in tasks:
        count = seen[task.name] = seen.get(task.name, 0) + 1
        found.append(task if count == 1 else replace(task, name=f"{task.name} ({count})"))
    return found


# -- the model -----------------------------------------------------------------------------------


def objects_for(editor: Editor) -> dict[str, Any]:
    """The classes and functions that a model names and that another process may not know.

    Keras finds what is in a module that can be imported; what a notebook defines has to be sent.
    """
    specs = editor.graph.layers.values()
    settings = keras.tree.flatten(list((_keras.compile_settings(editor.source) or {}).values()))
    things = [spec.cls for spec in specs if not spec.cls.__module__.startswith("keras.")]
    things += [
        thing
        for thing in (*settings, *map(type, settings))
        if _is_local(thing) and hasattr(thing, "__name__")
    ]
    found = {keras.saving.get_registered_name(thing): thing for thing in things}
    named = json.dumps([spec.config for spec in specs], default=repr)
    for name, thing in keras.saving.get_custom_objects().items():
        if _is_local(thing) and json.dumps(name) in named:
            found[name] = thing
    return {**found, **editor.custom_objects}


def _is_local(thing: Any) -> bool:
    home, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    return home == "__main__" or "<locals>" in name


def fingerprint(editor: Editor, *more: Any) -> str:
    """What a model is known by: its layers, their wiring, and every bit of its weights.

    Args:
        editor: an editor without edits.
        more: what else results depend on; arrays, numbers, texts, in lists and dictionaries.
    """
    found = hashlib.sha256()

    def add(thing: Any) -> None:
        if isinstance(thing, np.ndarray) and thing.dtype != object:
            found.update(f"{thing.dtype} {thing.shape} ".encode())
            found.update(np.ascontiguousarray(thing).reshape(-1).view(np.uint8).data)
        else:
            found.update(f"{thing!r} ".encode())

    graph = editor.graph
    for entry in graph.entries:
        spec = graph.layers[entry.layer]
        config = json.dumps(spec.config, default=lambda thing: type(thing).__name__, sort_keys=True)
        add([entry.path, spec.cls.__name__, graph.effective_flags[entry.layer], config])
        for index, variable in enumerate(spec.variables or ()):
            if variable.weight:
                add([variable.name, variable.trainable])
                add(editor.weight_value(entry, index))
    for thing in (*_wiring(graph), *keras.tree.flatten(more)):
        add(thing)
    return found.hexdigest()


def _wiring(graph: ModelGraph) -> Iterable[Any]:
    """What each call takes, told by the names of layers."""
    for layer in (graph.root, *graph.paths):
        net = graph.layers[layer].net
        if net is None:
            continue
        place = {call.id: number for number, call in enumerate(net.calls)}

        def told(ref: Any, place: Mapping[int, int] = place) -> tuple[int, int]:
            return place[ref.call], ref.index

        for call in net.calls:
            wires = map_refs(told, (call.args, dict(call.kwargs)))
            yield [graph.layers[call.layer].name, wires]
        yield [map_refs(told, net.inputs), map_refs(told, net.outputs)]
