"""Model files looked into without Keras: from the question to the rows, with the process that reads."""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
from h5py import h5d, h5p, h5s, h5t

from benchmarks import Result
from kerasedit import modelfiles

REPEAT = 5
UNITS, LAYERS = 8192, 8  # 2 GB


def large(folder: Path, layers: int = LAYERS) -> Path:
    """A chain of dense layers as Keras saves it, with weights that nobody has written."""
    inputs = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, UNITS]}}
    dense = [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"name": f"d{n}", "units": UNITS, "dtype": "float32"},
        }
        for n in range(layers)
    ]
    config = {"class_name": "Sequential", "config": {"name": "large", "layers": [inputs, *dense]}}
    weights, file = folder / "weights.h5", folder / "large.keras"
    with h5py.File(weights, "w") as out:
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(h5d.FILL_TIME_NEVER)
        space = h5s.create_simple((UNITS, UNITS))
        for n in range(layers):
            group = out.create_group(f"layers/dense_{n}/vars" if n else "layers/dense/vars")
            h5d.create(group.id, b"0", h5t.IEEE_F32LE, space, plist)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return file


def seconds(file: Path) -> float:
    """The least time that a question took."""
    times = []
    for _ in range(REPEAT):
        start = time.perf_counter()
        modelfiles.read_model(file)
        times.append(time.perf_counter() - start)
    return min(times)


def run() -> Iterator[Result]:
    import keras

    with tempfile.TemporaryDirectory() as folder:
        took = seconds(large(Path(folder)))
        yield Result("structure of a .keras file of 2 GB", f"{took:.2f} s", "≤ 1 s", took <= 1)
    with tempfile.TemporaryDirectory() as folder:
        model = keras.applications.EfficientNetB7(weights=None)
        for suffix in (".keras", ".h5"):
            file = Path(folder, f"b7{suffix}")
            model.save(file)
            took = seconds(file)
            yield Result(f"B7: structure of the {suffix} file", f"{took:.2f} s", "≤ 1 s", took <= 1)
