"""Zeros that stay: what is zero before a step of training is zero after it.

No mask is kept anywhere. The weights themselves tell what is zero, so a file holds all there is, and
what cuts or moves weights need not know. Of a weight, a step of Keras first asks the regularizer, for
the loss, and last the constraint: the one sees which values are zero, the other puts them back.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..errors import EditError


@keras.saving.register_keras_serializable("kerasedit")
class SeesZeros(keras.regularizers.Regularizer):
    """Notes which values are zero before a step, and asks for nothing itself.

    Args:
        inner: the regularizer that the weight had before.
    """

    def __init__(self, inner: Any = None) -> None:
        self.inner = keras.regularizers.get(inner)
        self._seen: dict[int, Any] = {}

    def __call__(self, x: Any) -> Any:
        self._seen[id(x)] = keras.ops.not_equal(x, 0)
        return keras.ops.zeros(()) if self.inner is None else self.inner(x)

    def take(self, variable: Any) -> Any | None:
        """Which values of a variable were not zero; None where it was not asked in this step."""
        return self._seen.pop(id(variable), None)

    def get_config(self) -> dict[str, Any]:
        return {"inner": keras.regularizers.serialize(self.inner) if self.inner else None}


@keras.saving.register_keras_serializable("kerasedit")
class KeepsZeros(keras.constraints.Constraint):
    """Puts the zeros back that a step of training has moved; the other half of `SeesZeros`.

    Args:
        inner: the constraint that the weight had before.
    """

    def __init__(self, inner: Any = None) -> None:
        self.inner = keras.constraints.get(inner)

    def __call__(self, w: Any) -> Any:
        sees = getattr(w, "regularizer", None)
        kept = sees.take(w) if isinstance(sees, SeesZeros) else None
        if kept is None:
            raise RuntimeError(
                "What was zero before this step is not known, as its loss left out the model's "
                "regularizers, or as this is JAX. Add sum(model.losses) to it, or let the zeros go with "
                "ed.densify()."
            )
        value = keras.ops.convert_to_tensor(w if self.inner is None else self.inner(w))
        return keras.ops.where(kept, value, keras.ops.zeros_like(value))

    def get_config(self) -> dict[str, Any]:
        return {"inner": keras.constraints.serialize(self.inner) if self.inner else None}


def is_held(variable: Any) -> bool:
    """Whether zeros of a variable stay."""
    constraint = getattr(variable, "constraint", None)
    return isinstance(constraint, KeepsZeros) and isinstance(variable.regularizer, SeesZeros)


def smallest_zeroed(values: np.ndarray, sparsity: float) -> np.ndarray:
    """Values of which the share nearest to zero is zero."""
    count = round(sparsity * values.size)
    found = values.copy()
    order = np.argsort(np.abs(values.ravel().astype("float32")), kind="stable")
    found.ravel()[order[:count]] = 0
    return found


def two_of_four_zeroed(values: np.ndarray) -> np.ndarray:
    """Values of which, of each four in a row of what a layer takes, the two nearest to zero are zero.

    Asit Mishra et al.: Accelerating Sparse Deep Neural Networks, 2021. What a layer takes is the last
    axis but one of a kernel.
    """
    rows = np.moveaxis(values, -2, -1)
    fours = rows.reshape(-1, 4).copy()
    order = np.argsort(np.abs(fours.astype("float32")), axis=1, kind="stable")
    np.put_along_axis(fours, order[:, :2], 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(fours.reshape(rows.shape), -1, -2))


class SparsitySchedule(keras.callbacks.Callback):
    """Raises the share of zeros while `fit` runs: fast at first, and slower the fewer are left.

    Michael Zhu, Suyog Gupta: To prune, or not to prune, 2017. It acts on all weights whose zeros stay,
    so on the layers that `ed.sparsify(target, 0.0)` named; a weight's own share is where it starts.

    Args:
        sparsity: the share of zeros in the end, from 0 to below 1.
        steps: the number of batches until then.
        begin: the batch of this training with which it begins.
        every: between how many batches zeros are added.

    Raises:
        EditError: the arguments are none; in `fit`: no weights of the model are held.
    """

    def __init__(self, sparsity: float, steps: int, *, begin: int = 0, every: int = 10) -> None:
        super().__init__()
        check_sparsity(sparsity)
        for name, value, least in (("steps", steps, 1), ("begin", begin, 0), ("every", every, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise EditError(f"{name} is a whole number from {least}, not {value!r:.80}.")
        self.sparsity, self.steps, self.begin, self.every = sparsity, steps, begin, every
        self._done = self._epoch_began = 0
        self._starts: list[tuple[Any, float]] = []

    def share(self, step: int, start: float) -> float:
        """The share of zeros after a number of batches, of a weight that starts with another one."""
        left = 1.0 - min(max((step - self.begin) / self.steps, 0.0), 1.0)
        return self.sparsity + (start - self.sparsity) * left**3

    def on_train_begin(self, logs: Any = None) -> None:
        assert self.model is not None
        self._done = 0
        self._starts = [
            (variable, float(np.mean(keras.ops.convert_to_numpy(variable) == 0)))
            for variable in self.model.trainable_variables
            if is_held(variable)
        ]
        if not self._starts:
            raise EditError(
                "No weights of the model are held at zero. Name the layers first, with "
                "ed.sparsify(target, 0.0), and train ed.model."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_began = self._done

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Where several batches are one execution, only the last of them is told.
        before, self._done = self._done, self._epoch_began + batch + 1
        if self._done < self.begin or before >= self.begin + self.steps:
            return
        rounds = [(step - self.begin) // self.every for step in (before, self._done)]
        if rounds[0] == rounds[1] and self._done < self.begin + self.steps:
            return
        for variable, start in self._starts:
            share = self.share(self._done, start)
            if share > start:
                values = keras.ops.convert_to_numpy(variable)
                variable.assign(smallest_zeroed(values, share))


def check_sparsity(value: Any) -> None:
    """Raises an `EditError` unless a value is a share of zeros that leaves something."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise EditError(f"sparsity is a number from 0 to below 1, not {value!r:.80}.")
