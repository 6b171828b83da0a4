"""Histograms, with all their figures, of VGG16's weights against `np.histogram` alone.

python -m benchmarks histogram
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import perf_counter

# One core against one core: before anything imports TensorFlow.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np

from benchmarks import Result
from kerasedit.weights.histogram import histogram

BINS = 64
ROUNDS = 5
TARGET = 0.4


def run() -> Iterator[Result]:
    import keras

    model = keras.applications.VGG16(weights=None)
    # As after training: none of the zeros that biases start from, tails instead of a hard end.
    rng = np.random.default_rng(0)
    trained = [rng.normal(0.0, 0.02, weight.shape).astype("float32") for weight in model.weights]
    initial = [np.asarray(weight) for weight in model.weights]
    for name, arrays in (("initial", initial), ("normal", trained)):
        numpy_time = our_time = float("inf")
        for _ in range(ROUNDS):  # interleaved: both see the same disturbances
            numpy_time = min(numpy_time, _seconds(lambda a: np.histogram(a, BINS), arrays))
            our_time = min(our_time, _seconds(lambda a: histogram(a, BINS), arrays))
        ratio = our_time / numpy_time
        yield Result(
            f"histograms of VGG16, {name} weights ({our_time:.2f} s)",
            f"{ratio:.2f} × np.histogram",
            f"≤ {TARGET}",
            ratio <= TARGET,
        )


def _seconds(function: Callable[[np.ndarray], object], arrays: list[np.ndarray]) -> float:
    start = perf_counter()
    for array in arrays:
        function(array)
    return perf_counter() - start


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
