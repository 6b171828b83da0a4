"""What is known of a training, told to whoever shows it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from .record import LayerHistory
from .watch import Moment

_SELDOM = 0.3  # seconds between two messages of steps alone
_LOSSES = 100
_LOSS_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        running: whether `fit` is under way.
        epoch, epochs: the number of the epoch from 0, and how many there will be.
        step, steps: the number of batches done in the epoch, and how many it has (None: not known).
        total: the number of batches done since `fit` began.
        metrics: the loss and metrics, so far in this epoch.
        pending: the layers whose flags were asked for and hold from a batch to come.
        changed, changed_at: how many layers' flags changed last, and after how many batches in all.
        tracing: whether the step under way is traced first, which takes its time.
        stopped: whether an interrupt or an error ended it.
        alerts: what went wrong, in words, the latest last.
    """

    running: bool = False
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int | None = None
    total: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    changed: int = 0
    changed_at: int = 0
    tracing: bool = False
    stopped: bool = False
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """What a view is to draw at once: where training stands, and the layers it shows."""

    state: State
    moments: dict[str, Moment]


class View:
    """Somebody who looks on. Both functions are called on any thread, one at a time.

    What it shows may be seen in several places at once, each with other layers in view.

    Args:
        show_state: told of each change, and a few times a second of the steps that go by.
        show_frame: told of a new frame; only after `drawn` said that those before were drawn.
        comm: gives the id of the comm whose messages it needs while the kernel runs `fit`.
    """

    AHEAD = 2  # frames on their way at most
    PATIENCE = 5.0  # seconds after which one counts as lost, as when a page is left
    SILENCE = 20.0  # seconds by which a place may lag behind others before it counts as left
    MAX_PLACES = 64

    def __init__(
        self,
        show_state: Callable[[State], Any],
        show_frame: Callable[[Frame], Any],
        comm: Callable[[], str] = str,
    ) -> None:
        self.show_state, self.show_frame, self.comm = show_state, show_frame, comm
        self.told = 0.0  # when it heard last, in seconds of the monotonic clock
        self.unseen = False  # whether it was left at the last place where it was seen
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._credit = self.AHEAD
        self._sent = 0.0  # the last frame

    @property
    def paths(self) -> frozenset[str]:
        """The layers that are in view anywhere."""
        with self._lock:
            heard = max((place.heard for place in self._places.values()), default=0.0)
            # A page that is closed does not say so.
            there = [p.paths for p in self._places.values() if heard - p.heard < self.SILENCE]
            return frozenset().union(*there)

    def hear(self, place: str = "", paths: Collection[str] | None = None) -> None:
        """Somebody is at a place. Those who say which layers are in view there get frames anew."""
        with self._lock:
            known = self._places.pop(place, _Place())
            if paths is not None:
                known.paths, self._credit = frozenset(paths), self.AHEAD
            known.heard = time.monotonic()
            self._places[place] = known
            if len(self._places) > self.MAX_PLACES:
                del self._places[next(iter(self._places))]
            self.unseen = False

    def drawn(self) -> None:
        """A frame was drawn."""
        with self._lock:
            self._credit = min(self.AHEAD, self._credit + 1)

    def leave(self, place: str) -> None:
        """It is no longer seen at a place."""
        with self._lock:
            if self._places.pop(place, None) is not None:
                self.unseen = not self._places

    def take_credit(self) -> bool:
        """Whether a frame may be sent, which counts as sent then."""
        paths = self.paths
        with self._lock:
            now = time.monotonic()
            if not paths or not (self._credit or now - self._sent > self.PATIENCE):
                return False
            self._credit, self._sent = max(0, self._credit - 1), now
            return True


@dataclass
class _Place:
    paths: frozenset[str] = frozenset()
    heard: float = 0.0


class Monitor:
    """The state of a training and those who look on.

    Attributes:
        history: the weights through the latest training.
    """

    def __init__(self) -> None:
        self._state = State()
        self._views: list[View] = []
        self._lock = threading.Lock()
        self._untold: set[View] = set()
        self._telling = threading.Lock()
        self._losses: deque[tuple[int, float]] = deque(maxlen=_LOSSES)
        self._loss_noted = 0.0
        self.history = LayerHistory()

    @property
    def comms(self) -> set[str]:
        """The comms of those who look on."""
        return {comm for view in list(self._views) if (comm := view.comm())}

    @property
    def state(self) -> State:
        return self._state

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Of the latest training the last losses, and the batches that were done by then."""
        with self._lock:
            return list(self._losses)

    def add(self, view: View) -> Callable[[], None]:
        """Lets somebody look on. Returns a function that ends this."""
        self._views.append(view)

        def remove() -> None:
            with contextlib.suppress(ValueError):
                self._views.remove(view)
            self._untold.discard(view)

        return remove

    @property
    def watched(self) -> frozenset[str]:
        """The layers that somebody looks at."""
        return frozenset().union(*(view.paths for view in list(self._views)))

    def update(self, **changes: Any) -> None:
        """Takes in and tells what changed."""
        with self._lock:
            self._take(changes)
            self._untold.update(self._views)
        self._tell_views()

    def step(self, **changes: Any) -> None:
        """Takes in that steps went by. It is told with a frame, or where none comes now and then."""
        now = time.monotonic()
        with self._lock:
            self._take(changes)
            self._untold.update(view for view in self._views if now - view.told > _SELDOM)
        self._tell_views()

    def _tell_views(self) -> None:
        """Tells the state; what is told last is what holds.

        Nobody waits for a thread that tells, since what hears of it may wait for the editor's lock:
        that thread tells what came meanwhile too.
        """
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    view = self._untold.pop()
                    view.told = time.monotonic()
                    _tell(view.show_state, self._state)
            finally:
                self._telling.release()

    def _take(self, changes: dict[str, Any]) -> None:
        self._state = replace(self._state, **changes)
        total, loss, now = self._state.total, self._state.metrics.get("loss"), time.monotonic()
        last = self._losses[-1][0] if self._losses else 0
        if total < last:  # another training
            self._losses.clear()
        elif total > last and loss is not None and now - self._loss_noted > _LOSS_EVERY:
            if math.isfinite(loss):
                self._losses.append((total, loss))
            self._loss_noted = now

    def alert(self, text: str) -> None:
        """Says that something went wrong, once."""
        if text not in self._state.alerts:
            self.update(alerts=(*self._state.alerts[-9:], text))

    def show(self, moments: dict[str, Moment]) -> None:
        """A frame for each view that has drawn what it got."""
        for view in list(self._views):
            if view.take_credit():
                view.told, paths = time.monotonic(), view.paths
                shown = {path: m for path, m in moments.items() if path in paths}
                _tell(view.show_frame, Frame(self._state, shown))

    def forget(self) -> None:
        """The layers are no longer those of the latest training. One under way goes on."""
        if not self._state.running and self._state != State():
            self.history = LayerHistory()
            self.update(**vars(State()))

    def end(self, *, stopped: bool) -> None:
        """Training is over."""
        if self._state.running:
            self.update(running=False, pending=(), tracing=False, stopped=stopped)


def _tell(show: Callable[[Any], Any], what: Any) -> None:
    """A view that fails must not end a training."""
    try:
        show(what)
    except Exception as problem:
        warnings.warn(f"A view of the training failed: {problem!r}", stacklevel=4)
