"""Train functions, kept for each set of flags: tracing one anew takes seconds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .. import _keras

_MOST = 16  # each holds a traced graph


class TrainFunctions:
    """Those that a model has had, by all that was traced into them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def note(self, model: Any) -> None:
        """Keeps the function that the model has now, for the flags that it has now."""
        if model.train_function is not None:
            self._keep(_keras.training_state(model), model.train_function)

    def choose(self, model: Any) -> bool:
        """Gives the model the function of its present flags; a new one where there has been none.

        Returns:
            Whether it is new, so that the next step takes the time to trace it.
        """
        _keras.acknowledge_flags(model)
        if model.train_function is None:
            return False  # `fit` makes it
        state = _keras.training_state(model)
        found = self._kept.get(state)
        if found is None:
            # Not set to None: a `fit` that is running would call it.
            model.make_train_function(force=True)
            self._keep(state, model.train_function)
            return True
        self._kept.move_to_end(state)
        model.train_function = found
        return False

    def _keep(self, state: tuple[Any, ...], function: Any) -> None:
        self._kept[state] = function
        self._kept.move_to_end(state)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
