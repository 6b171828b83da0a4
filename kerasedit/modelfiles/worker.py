"""The process in which a model file is read: one question, one answer, and it ends.

HDF5's library can be made to crash or to fill the memory by a file that is damaged on purpose; that
ends this process and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ModelFileError
from ..weights.extremes import extremes
from ..weights.histogram import histogram, pack, pooled
from ..weights.idle import idle_channels_of
from ..weights.telling import ends_data, figures_data
from .container import MAX_UNPACKED, Contents, open_model_file
from .layers import Model, read_layers
from .rows import Place, find_places, make_arguments, make_info, make_metadata
from .weights import Weight, find_weights, read_values

try:
    import resource
except ImportError:  # not on Windows
    resource = None

# What a question may take: of memory beside the file itself, which is mapped, and of the processor.
MEMORY = 1 << 30
SECONDS = 20
MAX_WEIGHTS = 64  # of one layer, that are told one by one

Answer = tuple[dict[str, Any], bytes]


class Opened:
    """A model file with all that was found in it."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.model: Model = read_layers(contents.config)
        found = find_weights(contents, self.model)
        self.places, self.rows = find_places(self.model, found)

    def place(self, number: int) -> Place:
        """The layer of a row."""
        if not 0 <= number < len(self.places):
            raise ModelFileError("There is no such layer in the file.")
        return self.places[number]

    def weights(self, number: int) -> list[Weight]:
        """The weights of a row; of a model those of all layers inside it."""
        place = self.place(number)
        if place.layer.net is None:
            return place.weights
        inside = f"{place.path}/"
        return [w for other in self.places if other.path.startswith(inside) for w in other.weights]


def tell_model(file: Opened, asked: Mapping[str, Any]) -> Answer:
    told = {
        "rows": file.rows,
        "info": make_info(file.model, file.places, file.rows),
        "file": make_metadata(file.contents, file.model, file.places),
    }
    return told, b""


def tell_histograms(file: Opened, asked: Mapping[str, Any]) -> Answer:
    rows, bins = asked["rows"], asked["bins"]
    parts = [_pooled(file, file.weights(number), bins) for number in rows]
    told = {"paths": [file.place(number).path for number in rows], "bins": bins, "revision": 0}
    return told, b"".join(parts)


def _pooled(file: Opened, weights: list[Weight], bins: int) -> bytes:
    arrays = (read_values(file.contents, w) for w in weights if w.dtype is not None)
    return np.asarray(pack(pooled(arrays, bins)), "<f4").tobytes()


def tell_detail(file: Opened, asked: Mapping[str, Any]) -> Answer:
    place, bins = file.place(asked["row"]), asked["bins"]
    told = [_weight(file, place, weight, bins) for weight in place.weights[:MAX_WEIGHTS]]
    return {
        "path": place.path,
        "revision": 0,
        "bins": bins,
        "compared": False,
        "weights": [weight for weight, _ in told],
        "more": max(0, len(place.weights) - MAX_WEIGHTS),
    }, b"".join(counts for _, counts in told)


def _weight(file: Opened, place: Place, weight: Weight, bins: int) -> tuple[dict[str, Any], bytes]:
    told: dict[str, Any] = {
        "path": f"{place.path}/{weight.name}",
        "name": weight.name,
        "shape": list(weight.shape),
        "dtype": str(weight.dtype or "string"),
        "trainable": place.trains and weight.trained,
        "bytes": weight.nbytes,
        "source": "none",
        "figures": None,
        "before": None,
    }
    if weight.dtype is None:
        return told, b""
    values = read_values(file.contents, weight)
    drawn = histogram(values, bins)
    classes = () if place.layer.custom else (place.layer.class_name,)
    told |= {
        **ends_data(extremes(values)),
        "figures": figures_data(drawn),
        "edges": drawn.edges[[0, -1]].tolist(),
        "notes": idle_channels_of(classes, weight.name, values),
    }
    return told, drawn.counts.astype("<f4").tobytes()


def tell_arguments(file: Opened, asked: Mapping[str, Any]) -> Answer:
    return make_arguments(file.place(asked["row"])), b""


_QUESTIONS: dict[str, Callable[[Opened, Mapping[str, Any]], Answer]] = {
    "model": tell_model,
    "histograms": tell_histograms,
    "detail": tell_detail,
    "arguments": tell_arguments,
}


def stamp_of(path: str) -> str:
    """Tells one state of a file from another."""
    try:
        told = os.stat(path)
    except OSError as problem:
        raise ModelFileError(f"The file cannot be read: {problem.strerror}.") from problem
    return f"{told.st_mtime_ns}-{told.st_size}-{told.st_ino}"


def answer(asked: Mapping[str, Any]) -> Answer:
    """The answer to a question about a file.

    Raises:
        ModelFileError: whatever is wrong with it.
    """
    try:
        stamp = stamp_of(asked["path"])
        if asked.get("stamp", stamp) != stamp:
            raise ModelFileError("The file has changed since it was opened; open it again.")
        with open_model_file(asked["path"]) as contents:
            told, buffer = _QUESTIONS[asked["ask"]](Opened(contents), asked)
        return {**told, "stamp": stamp}, buffer
    except ModelFileError:
        raise
    except MemoryError as problem:
        raise ModelFileError(
            "The file is damaged: it takes more memory than a model may."
        ) from problem
    except RecursionError as problem:
        raise ModelFileError("The file is damaged: it is nested without end.") from problem
    except Exception as problem:
        said = " ".join(str(problem).split())[:300]
        raise ModelFileError(f"The file is damaged: {type(problem).__name__}: {said}") from problem


def limit(seconds: int = SECONDS) -> None:
    """From here on this process can take no more than a question may."""
    if resource is None:
        return
    for name, most in (
        ("RLIMIT_DATA", MEMORY),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", MAX_UNPACKED),
        ("RLIMIT_CORE", 0),
    ):
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    limit()
    try:
        told, buffer = answer(asked)
        head = {"ok": told}
    except ModelFileError as problem:
        head, buffer = {"error": str(problem)}, b""
    # Half of a surrogate pair is no text that can be sent but as this.
    line = json.dumps(head, separators=(",", ":"), allow_nan=False).encode("ascii")
    sys.stdout.buffer.write(line + b"\n" + buffer)
    sys.stdout.flush()
    os._exit(0)  # what HDF5 still holds of a damaged file is not to be tidied up


if __name__ == "__main__":
    main()
