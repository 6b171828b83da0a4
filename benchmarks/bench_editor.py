"""The editor on EfficientNetB7, against what a user would write without it.

CPU seconds of this process, so that another program on the machine changes little. The reference is
`clone_model` and `set_weights(get_weights())`; re-calling the same layers on new inputs is measured
beside it, though what comes out of that is broken (trap 4).
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import Result

UNIT = "× the clone"


def cpu(work: Callable[[], Any], repeat: int = 1) -> float:
    """The least CPU seconds of a few runs."""
    best = float("inf")
    for _ in range(repeat):
        gc.collect()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    import keras
    from keras import layers

    import kerasedit

    model = keras.applications.EfficientNetB7(weights=None)

    def clone() -> None:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())

    def recall() -> None:
        keras.models.clone_model(model, clone_function=lambda layer: layer)

    # The first clone of a process pays for what TensorFlow sets up once, so the best of two.
    reference = cpu(clone, 2)
    yield Result("B7: clone_model + set_weights", f"{reference:.2f} s of CPU")
    yield Result("B7: re-calling the same layers", f"{cpu(recall) / reference:.3f} {UNIT}")

    def ratio(name: str, seconds: float, target: float) -> Result:
        value = seconds / reference
        return Result(f"B7: {name}", f"{value:.4f} {UNIT}", f"≤ {target}", value <= target)

    yield ratio("open the editor and list the layers", cpu(lambda: listed(model), 3), 0.15)
    editor = kerasedit.Editor(model)
    dropout = layers.Dropout(0.2)
    stem = layers.Conv2D(64, 5, strides=2, padding="valid", use_bias=False)
    yield ratio(
        "preview of an insertion",
        cpu(lambda: editor.preview.insert(dropout, after="top_conv"), 5),
        0.02,
    )
    # Another image size after the stem: the shapes of all 800 layers have to be found anew.
    everything = cpu(lambda: editor.preview.replace("stem_conv", stem), 3) / reference
    yield Result("B7: preview of an edit that changes every shape", f"{everything:.4f} {UNIT}")
    editor.insert(dropout, after="top_conv")
    yield ratio("ed.model after an edit", cpu(lambda: editor.model), 0.4)

    def back_and_forth() -> None:
        editor.undo()
        editor.redo()

    yield ratio("undo and redo", cpu(back_and_forth, 5), 0.02)
    yield memory()


def listed(model: Any) -> list[str]:
    import kerasedit

    return [repr(view) for view in kerasedit.Editor(model).layers]


_MEMORY = """
import resource, sys
import keras, kerasedit
from keras import layers
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
start = resident()
model = keras.applications.EfficientNetB7(weights=None)
weights = sum(v.numpy().nbytes for v in model.weights)
before = resident()
open("/proc/self/clear_refs", "w").write("5")
editor = kerasedit.Editor(model)
editor.insert(layers.Dropout(0.2), after="top_conv")
copy = editor.model
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
print((peak - start) / (before - start + weights))
"""


def memory() -> Result:
    """Peak memory of source, edit and rebuild, over source + one copy of the weights."""
    command = [sys.executable, "-c", _MEMORY]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    value = float(found.stdout.split()[-1])
    name = "B7: peak memory of edit and rebuild"
    return Result(name, f"{value:.2f} × source and one copy", "≤ 1.1", value <= 1.1)


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
