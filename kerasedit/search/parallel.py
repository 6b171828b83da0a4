"""Tasks on joblib's workers, one result after another, also where a worker dies."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import joblib

from ..errors import EditError, reason
from .candidates import Task
from .job import Job, Unopened, work
from .trial import Outcome

_PATIENCE = 90.0  # seconds for a cluster to start a worker in the place of one that died
_AHEAD = 2  # tasks for each worker at a time, where results come in heaps only


def outcomes(
    job: Job, tasks: Mapping[int, Task], n_jobs: int | None
) -> Iterator[tuple[int, Outcome]]:
    """Tries tasks, and yields the number and the outcome of each as it ends.

    When a worker dies, joblib gives up all that was under way and does not tell whose fault it was.
    Those that may be to blame, as many as there are workers, are then tried again one by one, so
    that what dies again dies alone.

    Raises:
        EditError: the workers cannot open the job.
        NoWorkers: no worker answers.
    """
    waiting = dict(tasks)
    width = joblib.effective_n_jobs(n_jobs)
    if width > 1:
        job.pack()  # here what cannot be sent is told best
    suspects = 0
    while waiting:
        if suspects:
            _wait_for_workers(n_jobs)
        with _Workers(n_jobs) as workers:
            try:
                while waiting:
                    most = 1 if suspects else workers.most
                    batch = dict(itertools.islice(waiting.items(), most))
                    for number, outcome in workers.run(job, batch):
                        if isinstance(outcome, Unopened):
                            raise _NotOpened(
                                f"A worker cannot open the model or evaluate: {outcome.reason}"
                            )
                        del waiting[number]
                        yield number, outcome
                    suspects = max(0, suspects - 1)
            except _NotOpened:
                raise
            except Exception as problem:
                if suspects or len(waiting) == 1:
                    number = next(iter(waiting))
                    del waiting[number]
                    yield number, Outcome(error=_died(problem))
                    suspects = max(0, suspects - 1)
                else:
                    suspects = width


def _wait_for_workers(n_jobs: int | None) -> None:
    """Waits until there are several: where there is one, joblib would do its work in this process.

    Raises:
        NoWorkers: that takes too long.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        problem: Exception | None = None
        try:
            if joblib.effective_n_jobs(n_jobs) > 1:
                return
        except Exception as error:
            problem = error
        if time.monotonic() > end:
            why = "" if problem is None else f" {_said(problem)}"
            raise NoWorkers(f"Workers died, and no others took their place.{why}")
        time.sleep(1)


class NoWorkers(EditError):
    """There are no workers any more."""


class _NotOpened(EditError):
    pass


class _Workers:
    """Workers of the backend that is configured, up from one batch of tasks to the next."""

    def __init__(self, n_jobs: int | None) -> None:
        options: dict[str, Any] = {"n_jobs": n_jobs, "batch_size": 1, "pre_dispatch": "n_jobs"}
        try:
            self._parallel = joblib.Parallel(**options, return_as="generator_unordered")
            self.most: int | None = None
        except ValueError:  # this backend, as Ray's, tells of results when all are there
            self._parallel = joblib.Parallel(**options)
            self.most = _AHEAD * joblib.effective_n_jobs(n_jobs)

    def __enter__(self) -> _Workers:
        self._parallel.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._parallel.__exit__(*problem)

    def run(self, job: Job, tasks: Mapping[int, Task]) -> Iterator[tuple[int, Any]]:
        """Yields the number of each task and what came of it."""
        yield from self._parallel(
            joblib.delayed(work)(job, number, task) for number, task in tasks.items()
        )


def _died(problem: Exception) -> str:
    return (
        f"The process that tried it ended at once, as when it runs out of memory. {_said(problem)}"
    )


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {reason(problem)}"
