"""How a loss on data depends on weights: its gradients, batch by batch, whatever the backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from .. import _keras
from ..errors import EditError, reason
from ..graph.build import Built
from ..graph.model_graph import LayerId
from .scores import Value

_BATCH = 32


def gradients(built: Built, settings: Mapping[str, Any] | None, data: Any) -> Iterator[Value]:
    """The gradients of each batch, of all variables that can train, frozen ones too.

    Keras alone tells gradients on every backend only to an optimizer: the average that Adam keeps,
    with nothing of the past in it, is the last gradient. Its learning rate is 0.

    Args:
        built: a model that nobody else uses.
        settings: what a model of its kind was compiled with.
        data: a tuple `(x, y)`, or batches of this form.

    Raises:
        EditError: there is no loss, or the model cannot be trained on the data.
    """
    if settings is None or settings.get("loss") is None:
        raise EditError(
            "criterion='taylor' looks at the gradient of the loss and the model has none: compile it."
        )
    model = built.model
    for layer in _keras.all_layers(model):
        layer.trainable = True
    optimizer = keras.optimizers.Adam(0.0, beta_1=0.0)
    model.compile(optimizer, settings["loss"], loss_weights=settings.get("loss_weights"))
    for x, y in batches(data):
        try:
            model.train_on_batch(x, y)
        except Exception as problem:
            raise EditError(
                f"The model cannot be trained on the data given. Keras said: {reason(problem)}"
            ) from problem
        slots = _keras.gradient_averages(optimizer)

        def value(layer: LayerId, index: int, slots: Mapping[int, Any] = slots) -> np.ndarray:
            variable = _keras.named_variables(built.layers[layer])[index][1]
            return keras.ops.convert_to_numpy(slots.get(id(variable), np.zeros(variable.shape)))

        yield value


def batches(data: Any) -> Iterator[tuple[Any, Any]]:
    """Data as batches; where there is no `y`, it is None.

    Raises:
        EditError: it is of no such form.
    """
    if isinstance(data, tuple) and len(data) == 2:
        arrays = [array for array in keras.tree.flatten(data) if array is not None]
        sizes = {len(array) for array in arrays}
        if len(sizes) != 1:
            raise EditError("data=(x, y) needs as many x as y.")
        for start in range(0, sizes.pop(), _BATCH):
            yield _part(data[0], start), _part(data[1], start)
        return
    try:
        for x, y, *_ in data:
            yield x, y
    except TypeError as problem:
        raise EditError(
            "data= is a tuple (x, y) of arrays, or goes through batches of that form."
        ) from problem


def _part(arrays: Any, start: int) -> Any:
    if arrays is None:
        return None
    return keras.tree.map_structure(lambda array: array[start : start + _BATCH], arrays)
