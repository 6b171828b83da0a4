"""Arrays in JSON: kept in a store beside it (the `.npz` of a recipe), or inline in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import zipfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from .errors import EditError

Store = MutableMapping[str, np.ndarray]

_FEW = 256  # bytes that are no trouble in JSON
_CHUNK = 1 << 20  # bytes that are compared at a time


def array_data(array: np.ndarray, store: Store | None) -> dict[str, Any]:
    """The JSON of an array: `{"array": key}` of the store, or its bytes inline.

    They are inline without a store, and where they are few. The key is made of what the array
    holds, so that equal ones are kept once, and JSON never takes another array for the one it
    means. What NumPy itself does not know (`bfloat16`, `int4`) stands in the store as bytes.
    """
    native = np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    found = np.ascontiguousarray(native).reshape(native.shape)
    data: dict[str, Any] = {"dtype": found.dtype.name, "shape": list(found.shape)}
    if store is None or found.nbytes <= _FEW:
        return {**data, "base64": base64.b64encode(found.tobytes()).decode("ascii")}
    plain = found.dtype.kind in "biufc" and found.dtype.isbuiltin == 1
    kept = found if plain else np.frombuffer(found.tobytes(), np.uint8)
    digest = hashlib.sha256(f"{data['dtype']} {data['shape']} ".encode())
    digest.update(kept.reshape(-1).view(np.uint8).data)
    key = f"array_{digest.hexdigest()[:24]}"
    store[key] = kept
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


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same bit by bit: a NaN is like itself, and 0 is not -0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == object:
        return np.array_equal(a, b)
    left, right = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    chunks = (slice(start, start + _CHUNK) for start in range(0, left.size, _CHUNK))
    return all(np.array_equal(left[chunk], right[chunk]) for chunk in chunks)


def _shaped(flat: np.ndarray, shape: Any) -> np.ndarray:
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or math.prod(sizes) != flat.size:
        raise ValueError("the shape is another one")
    found = flat.reshape(sizes)
    found.flags.writeable = False
    return found


# -- the file beside the JSON --------------------------------------------------------------------

_KEY = re.compile(r"array_[0-9a-f]{24}")


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a store as `numpy.savez` does. Not compressed: what is random gets no smaller."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, arrays[key], allow_pickle=False)


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The store of a file that nobody vouches for: no more is read than the file has bytes.

    Raises:
        EditError: it is missing, damaged, compressed, or holds anything but arrays of numbers.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > file.stat().st_size:
                raise ValueError("it says that it holds more than it has room for")
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member)
                for member in members
            }
    except FileNotFoundError as problem:
        raise EditError(f"The file of arrays '{file}' is missing.") from problem
    except Exception as problem:
        raise EditError(f"'{file}' is no file of arrays, or damaged: {problem}.") from problem


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if not _KEY.fullmatch(member.filename.removesuffix(".npy")):
        raise ValueError(f"it holds {member.filename!r:.80}, which is no array of a recipe")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("it is compressed")
    with archive.open(member) as stream:
        # `np.load` would make room for whatever the header says.
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"an array has the format {version}")
        shape, transposed, dtype = np.lib.format.read_array_header_1_0(stream)
        data = stream.read()
    if dtype.kind not in "biufc" or transposed:
        raise ValueError("it holds something else than plain arrays of numbers")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def is_store(file: Path) -> bool:
    """Whether a file is one of arrays that `write_npz` wrote."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:
        return False
    return bool(names) and all(_KEY.fullmatch(name.removesuffix(".npy")) for name in names)
