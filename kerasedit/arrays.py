"""Arrays in JSON: kept in a store beside it (the `.npz` of a recipe), or inline in base64."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, MutableMapping
from typing import Any

import keras
import numpy as np

from .errors import EditError

Store = MutableMapping[str, np.ndarray]


def array_data(array: np.ndarray, store: Store | None) -> dict[str, Any]:
    """The JSON of an array: `{"array": key}` of the store, or without one its bytes inline.

    What NumPy itself does not know (`bfloat16`, `int4`) stands in the store as bytes.
    """
    found = np.ascontiguousarray(array).reshape(np.shape(array))
    data: dict[str, Any] = {"dtype": found.dtype.name, "shape": list(found.shape)}
    if store is None:
        return {**data, "base64": base64.b64encode(found.tobytes()).decode("ascii")}
    key = f"array_{len(store)}"
    plain = found.dtype.kind in "biufc" and found.dtype.isbuiltin == 1
    store[key] = found if plain else np.frombuffer(found.tobytes(), np.uint8)
    return {**data, "array": key}


def read_array(data: Any, store: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """The array of `array_data`.

    Raises:
        EditError: it is no such data, or the store does not have it.
    """
    try:
        dtype, shape = np.dtype(keras.backend.standardize_dtype(data["dtype"])), data["shape"]
        if "base64" in data:
            raw = base64.b64decode(data["base64"], validate=True)
            return _shaped(np.frombuffer(raw, dtype), shape)
        if store is None or data["array"] not in store:
            raise EditError(f"The array {data['array']!r:.80} is not in the file of arrays.")
        found = np.asarray(store[data["array"]])
        return _shaped(found if found.dtype == dtype else np.frombuffer(found, dtype), shape)
    except (KeyError, TypeError, ValueError, binascii.Error) as problem:
        if isinstance(problem, EditError):
            raise
        raise EditError(
            "An array is an object with 'dtype', 'shape' and 'base64' or 'array'."
        ) from problem


def _shaped(flat: np.ndarray, shape: Any) -> np.ndarray:
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or math.prod(sizes) != flat.size:
        raise ValueError("the shape is another one")
    found = flat.reshape(sizes)
    found.flags.writeable = False
    return found
