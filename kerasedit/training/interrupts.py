"""Interrupts that get lost.

What a signal handler raises is printed and forgotten where Python runs finalizers, of which
TensorFlow has some at each epoch: of 400 interrupts of a plain `fit` 21 went by unheard.
"""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupts:
    """Remembers that an interrupt came, so that it can be raised again where it is heard."""

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None

    def begin(self) -> None:
        """From here on interrupts of this thread are remembered; only the main thread has them."""
        before = signal.getsignal(signal.SIGINT)
        left = getattr(before, "__self__", None)
        if isinstance(left, Interrupts):  # of a training whose end another thread has noticed
            before = left._before
        if threading.current_thread() is threading.main_thread() and callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._note)

    def end(self) -> None:
        """Interrupts are again what they were, unless somebody has changed that since."""
        there = threading.current_thread() is threading.main_thread()
        if there and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._before)

    def again(self) -> None:
        """Raises one that was lost.

        Raises:
            KeyboardInterrupt: one came, and was not heard.
        """
        if self.came:
            self.came = False
            raise KeyboardInterrupt

    def _note(self, *signal_and_frame: Any) -> None:
        try:
            self._before(*signal_and_frame)
        except KeyboardInterrupt:
            self.came = True
            raise
