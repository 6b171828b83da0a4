"""What all candidates need, and how it gets to the workers: once to each.

joblib gives an argument to every task anew. So a job, when pickled, is a few flat arrays, which joblib
lays out as files that all processes of a machine map, which Dask scatters and Ray puts into its
store, each of them once; and a worker opens the job that it was given last only once.

Keras is imported when a job is opened, not before: a worker learns from the job which backend.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EditError, reason

if TYPE_CHECKING:
    import keras

    from .candidates import Task
    from .trial import Outcome


@dataclass
class Job:
    """A model, and what to do with each edited copy of it.

    Attributes:
        model: the unedited model; it is never changed.
        custom_objects: classes and functions that its layers name.
        evaluate: makes numbers of an edited copy.
        waste: how many weight values edited copies had that Python may not have let go of yet.
    """

    model: keras.Model
    custom_objects: Mapping[str, Any]
    evaluate: Callable[[Any], Any]
    waste: int = 0
    _packed: tuple[str, str, tuple[np.ndarray, ...]] | None = field(default=None, repr=False)

    def pack(self) -> tuple[str, str, tuple[np.ndarray, ...]]:
        """The job as data: a digest, the backend and flat arrays; made once.

        Raises:
            EditError: the model cannot be saved, or `evaluate` cannot be pickled.
        """
        if self._packed is None:
            import cloudpickle
            import keras

            parts: list[pickle.PickleBuffer] = []
            content = (_saved(self.model), dict(self.custom_objects), self.evaluate)
            try:
                head = cloudpickle.dumps(content, protocol=5, buffer_callback=parts.append)
            except Exception as problem:
                raise EditError(
                    "evaluate, or a class that the model names, cannot be sent to other processes: "
                    f"{reason(problem)} With n_jobs=1 it need not be."
                ) from problem
            arrays = tuple(np.frombuffer(part, np.uint8) for part in (head, *map(_raw, parts)))
            digest = hashlib.sha256()
            for array in arrays:
                digest.update(array.data)
            self._packed = digest.hexdigest(), keras.backend.backend(), arrays
        return self._packed

    def __reduce__(self) -> Any:
        return receive, self.pack()

    def __sizeof__(self) -> int:
        """By this Dask knows what is worth being sent only once."""
        return sum(array.nbytes for array in self.pack()[2])


@dataclass(frozen=True)
class Unopened:
    """A job that a worker cannot open, and why."""

    reason: str


def work(job: Job | Unopened, number: int, task: Task) -> tuple[int, Outcome | Unopened]:
    """What a worker does with one candidate. An error of a candidate is an outcome."""
    from .trial import run

    return number, (job if isinstance(job, Unopened) else run(job, task))


_lock = threading.Lock()
_latest: dict[str, Job] = {}  # of this process, by digest: the job that it was given last


def receive(digest: str, backend: str, arrays: Sequence[np.ndarray]) -> Job | Unopened:
    """The job of `Job.pack`, in a worker."""
    with _lock:
        if digest not in _latest:
            _latest.clear()
            _set_up(backend)
            try:
                _latest[digest] = _opened(backend, arrays)
            except Exception as problem:
                return Unopened(str(problem) if isinstance(problem, EditError) else reason(problem))
        return _latest[digest]


def _set_up(backend: str) -> None:
    """What has to be said before Keras and TensorFlow are imported."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    # Else the first process on a GPU would take all of its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # joblib tells a worker its share of the cores by this; TensorFlow looks elsewhere.
    share = os.environ.get("OMP_NUM_THREADS")
    if share is not None:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", share)
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", share)


def _opened(backend: str, arrays: Sequence[np.ndarray]) -> Job:
    import keras

    if keras.backend.backend() != backend:
        raise EditError(
            f"The workers run Keras on {keras.backend.backend()}, and this is {backend}. Set "
            f"KERAS_BACKEND={backend} where they are started."
        )
    head, *parts = arrays
    saved, custom_objects, evaluate = pickle.loads(head.data, buffers=parts)
    return Job(_loaded(saved, custom_objects), custom_objects, evaluate)


def _raw(part: pickle.PickleBuffer) -> memoryview:
    return part.raw()


def _saved(model: keras.Model) -> np.ndarray:
    """A model as the bytes of a `.keras` file, optimizer included."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        try:
            model.save(file)
        except Exception as problem:
            raise EditError(
                f"The model cannot be saved, so it cannot be sent to other processes: "
                f"{reason(problem)} With n_jobs=1 it need not be."
            ) from problem
        return np.fromfile(file, np.uint8)


def _loaded(saved: np.ndarray, custom_objects: Mapping[str, Any]) -> keras.Model:
    from ..files import load_model

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        saved.tofile(file)
        # What the process that started this one holds is trusted as it was there.
        return load_model(file, custom_objects=custom_objects, safe_mode=False)
