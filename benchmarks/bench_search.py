"""A sweep on two workers, against the same one on one: wall-clock seconds, on an idle machine.

Each candidate is trained for a while, as in a search for what can be cut. With two workers both
processes are started anew, each imports TensorFlow and gets the model; the second run finds them up,
as every sweep after the first in a notebook does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks import Result

CANDIDATES, WORKERS = 16, 2

_RUN = f"""
import sys, time
import keras, numpy as np
from keras import layers
import kerasedit
from kerasedit.edits import PruneChannels

keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(256, 16, 16, 3)).astype("float32")
y = np.random.default_rng(1).integers(0, 10, 256)
inputs = keras.Input((16, 16, 3))
h = inputs
for n in range(4):
    h = layers.Conv2D(32, 3, padding="same", use_bias=False, name=f"conv{{n}}")(h)
    h = layers.ReLU()(layers.BatchNormalization()(h))
h = layers.GlobalAveragePooling2D()(h)
model = keras.Model(inputs, layers.Dense(10, name="head")(h))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss)

def evaluate(copy):
    copy.fit(x, y, epochs=2, batch_size=64, verbose=0)
    return copy.evaluate(x, y, verbose=0)

candidates = [
    PruneChannels(f"conv{{n}}", fraction=share) for n in range(4) for share in (0.1, 0.2, 0.3, 0.4)
]
assert len(candidates) == {CANDIDATES}
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    found = kerasedit.sweep(model, candidates, evaluate, n_jobs=int(sys.argv[1]), verbose=False)
    print(time.perf_counter() - start)
    assert not found.failed
"""


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    [one], (cold, warm) = seconds(1, 1), seconds(WORKERS, 2)
    name = f"{CANDIDATES} candidates"
    yield Result(f"{name}, in one process", f"{one:.1f} s")
    yield Result(f"{name}, on {WORKERS} workers that start", f"{cold / one:.2f} × one process")
    value = warm / one
    yield Result(
        f"{name}, on {WORKERS} workers", f"{value:.2f} × one process", "≤ 0.6", value <= 0.6
    )


def seconds(jobs: int, times: int) -> list[float]:
    """How long sweeps take, one after the other, in a process of their own.

    One process has the cores that one of the workers would have: else it would use those of both.
    """
    share = str(max(1, (os.cpu_count() or 1) // WORKERS))
    threads = {"TF_NUM_INTRAOP_THREADS": share, "TF_NUM_INTEROP_THREADS": share}
    command = [sys.executable, "-c", _RUN, str(jobs), str(times)]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **threads}
    )
    return [float(text) for text in found.stdout.split()[-times:]]


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
