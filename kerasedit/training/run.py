"""One `fit` under way: who runs it, and what others ask of it meanwhile.

Tracing reads flags, and a step reads weights, so both change on the thread of `fit` only, between two
batches. What other threads want waits here; nobody waits for `fit`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..graph.model_graph import ModelGraph

GATHER = 0.25  # seconds for which clicks are gathered: each new set of flags is traced for seconds


class Run:
    """A `fit` that is under way, from its first callback to its end, however it ends.

    Args:
        caller: the frame that runs the batches.
        queue_structure: keep edits of the structure for the end, instead of refusing them.
        done: called when it has ended.

    Attributes:
        finished: whether it came to its end; not so if an interrupt or an error ended it.
    """

    def __init__(
        self, caller: FrameType, *, queue_structure: bool, done: Callable[[], Any]
    ) -> None:
        self.thread = threading.get_ident()
        self.queue_structure = queue_structure
        self.finished = False
        self._done = done
        self._caller: FrameType | None = caller
        self._lock = threading.Lock()
        self._wanted: ModelGraph | None = None
        self._due = 0.0
        self._between: deque[Callable[[], Any]] = deque()
        self._at_end: deque[Callable[[], Any]] = deque()

    def under_way(self) -> bool:
        """Whether `fit` still runs. An error or interrupt ends it without a word to callbacks."""
        frame = sys._current_frames().get(self.thread) if self._caller is not None else None
        while frame is not None:
            if frame is self._caller:
                return True
            frame = frame.f_back
        self._forget_caller()
        return False

    def here(self) -> bool:
        """Whether this is the thread of `fit`, which is between two batches then."""
        return threading.get_ident() == self.thread

    def end(self) -> None:
        """Says that `fit` is over."""
        self._forget_caller()
        self._done()

    def _forget_caller(self) -> None:
        """Of a `fit` that was interrupted, lets go what it held.

        Else its data iterator would live until Python looks for garbage, and TensorFlow may hang for
        seconds if that is while a function is traced.
        """
        caller, self._caller = self._caller, None
        if caller is not None:
            with contextlib.suppress(RuntimeError):  # it still runs, and has come to its end
                caller.clear()

    # -- what is asked for -----------------------------------------------------------------------

    def want(self, graph: ModelGraph, *, gather: bool = False) -> None:
        """Asks for the flags of a graph, in place of what was asked for before.

        Args:
            gather: wait a moment for more to come, as with clicks; else at the next batch.
        """
        with self._lock:
            now = time.monotonic()
            if not gather:
                self._due = now
            elif self._wanted is None:
                self._due = now + GATHER
            self._wanted = graph

    def between(self, work: Callable[[], Any]) -> None:
        """Asks for something to be done between two batches."""
        self._between.append(work)

    def at_end(self, work: Callable[[], Any]) -> None:
        """Asks for something to be done once `fit` is over."""
        self._at_end.append(work)

    # -- on the thread of `fit` ------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether flags are asked for that the model does not have yet."""
        return self._wanted is not None

    def flags(self, *, now: bool = False) -> ModelGraph | None:
        """The graph whose flags are due, taken off; None if there is none."""
        if self._wanted is None:
            return None
        with self._lock:
            if not now and time.monotonic() < self._due:
                return None
            graph, self._wanted = self._wanted, None
            return graph

    @property
    def has_work(self) -> bool:
        """Whether something is to be done between two batches."""
        return bool(self._between)

    def work(self) -> Callable[[], Any] | None:
        """The next thing to be done between two batches, taken off."""
        return self._between.popleft() if self._between else None

    def rest(self) -> list[Callable[[], Any]]:
        """What is to be done once `fit` is over, taken off; what it had no batch left for first."""
        found = [*self._between, *self._at_end]
        self._between.clear()
        self._at_end.clear()
        return found
