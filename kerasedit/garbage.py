"""Python's search for garbage: put off while many objects are made at once, not too long after."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from typing import Any


class _Frozen:
    """Whether objects are frozen, and by whom: what somebody else froze must stay so.

    Python counts them one by one, of which there may be millions: what was found once is believed.
    """

    ours = False
    theirs = False

    def __bool__(self) -> bool:
        if not (self.ours or self.theirs):
            self.theirs = gc.get_freeze_count() > 0
        return self.ours or self.theirs


_frozen = _Frozen()


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """No search for garbage inside: a model in the making is many objects and no garbage.

    Looking for some takes a fifth of the time that it takes to read a model from a file, and as much
    as building one where the notebook holds others.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            if not _frozen:
                # What was made counts as old, or the next object made would have all of it searched.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@contextlib.contextmanager
def of_new_objects() -> Iterator[None]:
    """A search for garbage inside looks at what is made inside alone.

    Keras searches once for each weight that it quantizes: all objects of a notebook, a third of a
    second each time.
    """
    if _frozen:
        yield
        return
    gc.freeze()
    _frozen.ours = True
    try:
        yield
    finally:
        _frozen.ours = False
        gc.unfreeze()


class GivenUp:
    """Models that gave way to others, one after another.

    A model's parts refer to each other, so it goes only when Python searches all objects, and that
    it does seldom: a dozen models would wait, each with what it was trained to.
    """

    _MOST = 3

    def __init__(self) -> None:
        self._waiting: list[weakref.ref[Any]] = []

    def add(self, model: weakref.ref[Any]) -> None:
        """Searches once there are a few; those that somebody still holds are let be."""
        self._waiting = [ref for ref in (*self._waiting, model) if ref() is not None]
        if len(self._waiting) >= self._MOST and gc.isenabled():
            self._waiting.clear()
            gc.collect()
