"""What the live callback costs: against plain `fit`, and beside other ways to watch weights.

python -m benchmarks live
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import Result

# The best of several: what other programs take of the machine is no part of it.
ROUNDS = 9

# In a process of its own: nothing that was traced or allocated before counts.
_SCRIPT = """
import importlib.util, json, sys, tempfile, time
import keras, numpy as np
import kerasedit
from kerasedit.training.monitor import View

what = sys.argv[1]
keras.utils.set_random_seed(1)
x = np.random.default_rng(1).random((1280, 96, 96, 3), dtype="float32")
y = np.arange(len(x)) % 10

def model():
    made = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10)
    made.compile("adam", "sparse_categorical_crossentropy")
    return made

def small():
    made = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256, "relu"),
                             keras.layers.Dense(10, "softmax")])
    made.compile("adam", "sparse_categorical_crossentropy")
    return made

class NumPyHistograms(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        for weight in self.model.weights:
            np.histogram(weight.numpy(), 64)

def watched(editor):
    # Every layer in view, each frame drawn at once.
    def draw(frame):
        view.drawn()
    view = View(lambda state: None, draw)
    editor.monitor.add(view)
    view.hear("page", [v.path for v in editor.layers])

def fit(net, rows, callbacks, epochs=1):
    begin = time.perf_counter()
    net.fit(x[:rows], y[:rows], batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks)
    return time.perf_counter() - begin
"""

_SMALL = (
    _SCRIPT
    + """
x = np.random.default_rng(1).random((32 * 2000, 64), dtype="float32")
y = np.arange(len(x)) % 10
editor = kerasedit.Editor(small()); net = editor.model
fit(net, len(x), []); fit(net, len(x), [editor.live()])
pairs = [(fit(net, len(x), []), fit(net, len(x), [editor.live()])) for _ in range(ROUNDS)]
print(json.dumps([min(times) for times in zip(*pairs)]))
"""
).replace("ROUNDS", str(ROUNDS))

_STREAM = (
    _SCRIPT
    + """
editor = kerasedit.Editor(model()); net = editor.model
ways = {
    "plain": lambda: [],
    "live": lambda: [editor.live()],
    "numpy": lambda: [NumPyHistograms()],
}
if importlib.util.find_spec("tensorboard"):
    ways["tensorboard"] = lambda: [
        keras.callbacks.TensorBoard(tempfile.mkdtemp(), histogram_freq=1)
    ]
watched(editor)
fit(net, 32, []); fit(net, 64, [editor.live()])
found = {}
class Clock(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.ends = []
    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

# In turns, and each several times: the machine is not always equally fast.
for name in [*ways, *["plain", "live"] * ROUNDS]:
    clock, start = Clock(), time.perf_counter()
    fit(net, STEPS * 32, [*ways[name](), clock])
    # What comes once, with the first steps, is told by itself.
    settled = clock.ends[3]
    step = (clock.ends[-1] - settled) / (STEPS - 4)
    found.setdefault(name, []).append((settled - start - 4 * step, step))
print(json.dumps(found))
"""
).replace("ROUNDS", str(ROUNDS)).replace("STEPS", "24")

_FIRST = (
    _SCRIPT
    + """
editor = kerasedit.Editor(model()); net = editor.model
print(json.dumps(fit(net, 32, [editor.live()] if what == "live" else [])))
"""
)

_TOGGLE = (
    _SCRIPT
    + """
import threading
editor = kerasedit.Editor(model()); net = editor.model
names = [v.path for v in editor.layers if v.weights][:20]
took = {"new": [], "seen": []}
traced = []

class Toggle(keras.callbacks.Callback):
    def __init__(self, live):
        super().__init__()
        self.live, self.step = live, 0
    def on_train_batch_begin(self, batch, logs=None):
        self.step += 1
        if 2 <= self.step <= 9:
            for name in names:  # a burst
                (editor.freeze if self.step % 2 == 0 else editor.unfreeze)(name)
            before = net.train_function
            begin = time.perf_counter()
            self.live._apply(self.live._run, now=True)
            took["new" if self.step == 2 else "seen"].append(time.perf_counter() - begin)
            traced.append(net.train_function is not before)

live = editor.live()
net.fit(x[:320], y[:320], batch_size=32, verbose=0, callbacks=[live, Toggle(live)])
print(json.dumps([took, len(set(map(id, editor._copy.functions._kept.values())))]))
"""
)


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    plain, live = _python(_SMALL)
    value = plain / live
    yield Result(
        "a small model, 2,000 steps: steps a second with the callback, no widget",
        f"{value:.3f} × plain fit",
        "≥ 0.99",
        value >= 0.99,
    )
    found = _python(_STREAM)
    plain = _median([step for _, step in found["plain"]])
    for name, text, target in (
        ("live", "all layers streamed, 4 frames a second at most", 0.95),
        ("tensorboard", "TensorBoard(histogram_freq=1), but for its histograms", None),
        ("numpy", "a callback with np.histogram at each batch", None),
    ):
        if name not in found:
            continue  # it is not installed
        value = plain / _median([step for _, step in found[name]])
        yield Result(
            f"MobileNetV2: steps a second with {text}",
            f"{value:.3f} × plain fit",
            f"≥ {target}" if target else "",
            value >= target if target else None,
        )
    once, live = (_median([first for first, _ in found[name]]) for name in ("plain", "live"))
    yield Result("MobileNetV2: what a fit with it takes more, once", f"{live - once:.2f} s")
    first = [(_python(_FIRST, "plain"), _python(_FIRST, "live")) for _ in range(2)]
    value = min(live for _, live in first) / min(plain for plain, _ in first)
    yield Result(
        "MobileNetV2: the first step", f"{value:.2f} × that of plain Keras", "≤ 1", value <= 1
    )
    took, functions = _python(_TOGGLE)
    seen = _median(took["seen"]) * 1000
    yield Result(
        "MobileNetV2: back to flags that were there before", f"{seen:.1f} ms", "≤ 5 ms", seen <= 5
    )
    yield Result(
        "MobileNetV2: train functions after bursts of 20 toggles to 2 sets of flags",
        f"{functions}",
        "2",
        functions == 2,
    )


def _python(script: str, *arguments: str) -> Any:
    command = [sys.executable, "-c", script, *(arguments or ("",))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
