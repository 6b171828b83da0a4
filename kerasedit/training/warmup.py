"""A learning rate of their own for variables that have just begun to train.

Under Adam, moments that start at zero at a high iteration count give steps of up to several times the
learning rate; a short warm-up takes that away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from .. import _keras


class WarmUp:
    """Scales the learning rate of variables of an optimizer, from near zero up to one.

    `update_step` is the method of Keras's optimizers that takes the learning rate for one variable.
    A factor of one changes no bit of a step.
    """

    def __init__(self) -> None:
        self._optimizer: Any = None
        self._rising: list[tuple[keras.Variable, int, int]] = []  # factor, first step, steps
        self._factors: dict[int, tuple[Any, keras.Variable]] = {}

    def start(self, optimizer: Any, variables: Iterable[Any], step: int, steps: int) -> None:
        """Lets the rate of variables rise from `step` on, over `steps`."""
        factor = _keras.optimizer_number(optimizer, 1.0 / (steps + 1))
        self._rising.append((factor, step, steps))
        self._optimizer = optimizer
        self._factors.update({id(v): (v, factor) for v in variables})
        _keras.wrap_update_steps(optimizer, dict(self._factors))

    def advance(self, step: int) -> None:
        """Sets the factors for a step to come."""
        for factor, start, steps in self._rising:
            factor.assign(min(1.0, (step - start + 1) / (steps + 1)))
        self._rising = [r for r in self._rising if step < r[1] + r[2]]

    def end(self) -> None:
        """Takes everything away."""
        if self._optimizer is not None:
            _keras.wrap_update_steps(self._optimizer, {})
        self._optimizer = None
        self._rising.clear()
        self._factors.clear()
