"""One candidate tried: the model edited on a copy of its own, and that evaluated."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..editor import Editor
from ..errors import EditError, reason
from ..recipe import matches
from ..replay import ReplayError
from ..views import count_params

if TYPE_CHECKING:
    from .candidates import Task
    from .job import Job


@dataclass(frozen=True)
class Outcome:
    """What came of a candidate.

    Attributes:
        values: what `evaluate` gave, by name; empty where there is an error.
        error: why there are none.
        layers: the layers that the edits named.
        params: number of weight values of the edited model.
        seconds: how long it took to edit and to evaluate.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    layers: tuple[str, ...] = ()
    params: int | None = None
    seconds: float | None = None


# A model is a circle of objects, which goes only when Python searches all there are: half a second with
# TensorFlow. So that waits until there are this many weight values, and each model counts as some.
_MOST_WASTE, _LEAST = 60_000_000, 2_000_000


def run(job: Job, task: Task) -> Outcome:
    """Tries a candidate. Whatever goes wrong with it is told in the outcome."""
    start = time.perf_counter()
    editor: Editor | None = None
    try:
        with seeded(task.seed):
            editor = Editor(job.model, custom_objects={**job.custom_objects, **dict(task.objects)})
            task.recipe.apply(editor)
            values = _numbers(job.evaluate(editor.model))
        layers = task.layers if task.layers is not None else _layers_of(editor)
        params = count_params(editor.graph, editor.graph.root)
    except Exception as problem:
        return Outcome(error=_why(problem), seconds=time.perf_counter() - start)
    finally:
        job.waste += _LEAST + count_params(editor.graph, editor.graph.root) if editor else 0
        editor = None
        if job.waste > _MOST_WASTE:
            gc.collect()
            job.waste = 0
    return Outcome(values, "", layers, params, time.perf_counter() - start)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """All random generators start with a seed; Python's and NumPy's are as before afterwards."""
    if seed is None:
        yield
        return
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _numbers(found: Any) -> dict[str, float]:
    """What `evaluate` gave, by name.

    Raises:
        EditError: it is no number, and no dictionary of numbers.
    """
    named = found if isinstance(found, Mapping) else {"score": found}
    try:
        if not named or not all(isinstance(name, str) for name in named):
            raise TypeError
        return {name: float(value) for name, value in named.items()}
    except (TypeError, ValueError) as problem:
        raise EditError(
            "evaluate has to return a number, or a dictionary of numbers by their names, not "
            f"{found!r:.80}."
        ) from problem


def _layers_of(editor: Editor) -> tuple[str, ...]:
    """The layers of the unedited model that the targets of the edits named."""
    found: dict[str, None] = {}
    for step in editor.steps:
        for path in (path for match in matches(step) for path in match.paths):
            while path and path not in editor.source_graph.by_path:  # of a weight: its layer
                path = path.rpartition("/")[0]
            if path:
                found[path] = None
    return tuple(found)


def _why(problem: Exception) -> str:
    """What went wrong, in words."""
    if isinstance(problem, ReplayError) and len(problem.replay) == 1:
        return problem.replay[0].reason
    if isinstance(problem, EditError):
        return str(problem)
    return f"{type(problem).__name__}: {reason(problem)}"
