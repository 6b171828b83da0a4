"""`sweep`: candidates tried one after another, or several at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from ..editor import Editor
from ..errors import EditError
from ..training.interrupts import Interrupts
from .candidates import Task, fingerprint, objects_for, tasks_of
from .job import Job
from .journal import Journal
from .parallel import NoWorkers, outcomes
from .progress import Progress
from .results import Mode, Sweep, check_names, gather
from .trial import Outcome


def sweep(
    model_or_editor: Any,
    candidates: Any,
    evaluate: Callable[[Any], float | Mapping[str, float]],
    *,
    metric: str | None = None,
    mode: Mode = "auto",
    n_jobs: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    seed: int | None = 0,
    verbose: bool = True,
) -> Sweep:
    """Tries candidates, each on a copy of its own, and tells which does best.

    A candidate that fails is in the results with the reason, and the others go on. An interrupt ends
    the sweep and gives what was found so far.

    Args:
        model_or_editor: a model, the path of one, or an editor: what it has been edited to is then
            what the candidates start from. It stays as it is.
        candidates: edits (as in `ed.history`, or of `kerasedit.edits`), recipes, lists of edits, or
            functions that take an editor and edit it; in a list, or in a dictionary by names.
        evaluate: takes the edited model, compiled if the model is, and returns a number, or a
            dictionary of numbers. It may train the model.
        metric: of a dictionary, what the results are sorted by; the first if None.
        mode: whether the best of the metric is the highest (`"max"`) or the lowest (`"min"`);
            `"auto"` takes the lowest of what has `loss`, `error` or `distance` in its name.
        n_jobs: how many at a time, as everywhere with joblib: each in a process of its own, -1 for as
            many as there are cores. With 1 all is done in this process. None means 1, or what
            `joblib.parallel_config` says: with that it runs on Dask or Ray.
        resume: a file that results are written to as they come. A later run with it passes over what
            was done, with the same model and the same edits; it knows nothing of `evaluate`.
        seed: what the random generators start with for each candidate, so that none depends on those
            before it; None leaves them alone.
        verbose: whether a line tells how far it is.

    Returns:
        The results, best first, the unedited model among them.

    Raises:
        EditError: something is no candidate, `metric` is not what `evaluate` gives, the model or
            `evaluate` cannot be sent to other processes, or `resume` cannot be written.
    """
    editor = base_of(model_or_editor)
    tasks = tasks_of(candidates, editor, seed)
    return run(
        editor,
        tasks,
        evaluate,
        metric=metric,
        mode=mode,
        n_jobs=n_jobs,
        resume=resume,
        verbose=verbose,
    )


def base_of(model_or_editor: Any) -> Editor:
    """An editor without edits of the model that candidates start from."""
    if isinstance(model_or_editor, Editor):
        given = model_or_editor
        return Editor(given.model, custom_objects=given.custom_objects)
    return Editor(model_or_editor)


def run(
    editor: Editor,
    tasks: Sequence[Task],
    evaluate: Callable[[Any], Any],
    *,
    metric: str | None,
    mode: Mode,
    n_jobs: int | None,
    resume: str | os.PathLike[str] | None,
    verbose: bool,
    depends: Any = (),
    first: Callable[[Outcome], Any] | None = None,
) -> Sweep:
    """Tries tasks, the first of which is the unedited model.

    Args:
        editor: one without edits.
        depends: what else the results depend on, as `fingerprint` takes it.
        first: is told the outcome of the unedited model; an error that it raises ends all.
        evaluate, metric, mode, n_jobs, resume, verbose: as in `sweep`.
    """
    if mode not in get_args(Mode):
        raise EditError(f"mode is 'auto', 'min' or 'max', not {mode!r:.80}.")
    if not callable(evaluate):
        raise EditError(f"evaluate is a function of a model, not {evaluate!r:.80}.")
    job = Job(editor.source, objects_for(editor), evaluate)
    found = {n: Outcome(error=task.problem) for n, task in enumerate(tasks) if task.problem}
    keys: dict[int, str] = {}
    journal: Journal | None = None
    if resume is not None:
        journal = Journal(resume)
        model = fingerprint(editor, depends)
        keys = {number: task.key(model) for number, task in enumerate(tasks)}
        for number, key in keys.items():
            known = journal.get(key)
            if known is not None and number not in found:
                found[number] = known
    waiting = {number: task for number, task in enumerate(tasks) if number not in found}
    progress = Progress(len(tasks), len(found), verbose)
    interrupts = Interrupts()
    checked = stopped = False
    interrupts.begin()
    try:
        for number, outcome in outcomes(job, waiting, n_jobs):
            found[number] = outcome
            if journal is not None:
                journal.add(keys[number], tasks[number].name, outcome)
            progress.step(tasks[number].name, bool(outcome.error))
            if number == 0 and first is not None:
                first(outcome)
            if outcome.values and not checked:
                check_names(outcome.values, metric)
                checked = True
            interrupts.again()
    except KeyboardInterrupt:
        stopped = True
    except NoWorkers as problem:
        if not found:
            raise
        stopped = True
        warnings.warn(f"{problem} What was found so far is in the results.", stacklevel=3)
    finally:
        interrupts.end()
        progress.end(stopped)
    return gather(tasks, found, metric, mode, stopped)
