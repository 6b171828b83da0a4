"""A line that tells how far a sweep is."""

from __future__ import annotations

import time

from ..names import visible


class Progress:
    """Writes one line over and over, as Keras's progress bars do.

    Args:
        total: how many candidates there are.
        done: how many of them were found done.
        shown: whether to write at all.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self._total, self._before, self._shown = total, done, shown
        self._done, self._failed, self._width = done, 0, 0
        self._start = time.monotonic()
        self._write(f"{done} of {total} done")

    def step(self, name: str, failed: bool) -> None:
        """One more candidate has ended."""
        self._done += 1
        self._failed += failed
        self._write(f"{self._counts()}, {self._left()}; last: {name}")

    def end(self, stopped: bool) -> None:
        """The last state of the line."""
        seconds = time.monotonic() - self._start
        self._write(f"{self._counts()} in {_time(seconds)}{', then stopped' if stopped else ''}")
        if self._shown:
            print(flush=True)

    def _counts(self) -> str:
        failed = f", {self._failed} of them failed" if self._failed else ""
        return f"{self._done} of {self._total} done{failed}"

    def _left(self) -> str:
        each = (time.monotonic() - self._start) / (self._done - self._before)
        return f"{_time(each * (self._total - self._done))} left"

    def _write(self, text: str) -> None:
        if self._shown:
            text = visible(text)[:100]
            print(f"\r{text:<{self._width}}", end="", flush=True)
            self._width = len(text)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
