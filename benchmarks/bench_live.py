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

# Runs of each kind, in turns: the machine is not always equally fast.
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

class Clock(keras.callbacks.Callback):
    # From the end of one batch to that of the last, and what of it went by in another callback.
    def __init__(self, live, settled, last):
        super().__init__()
        self.settled, self.last, self.spent, self.share = settled, last, 0.0, 0.0
        for name in [name for name in vars(type(live)) if name.startswith("on_")] if live else ():
            setattr(live, name, self.timed(getattr(live, name)))
    def timed(self, act):
        def call(*args, **kwargs):
            begin = time.perf_counter()
            act(*args, **kwargs)
            self.spent += time.perf_counter() - begin
        return call
    def on_train_batch_end(self, batch, logs=None):
        if batch == self.settled:
            self.begin, self.before = time.perf_counter(), self.spent
        elif batch == self.last:
            self.took = time.perf_counter() - self.begin
            self.share = (self.spent - self.before) / self.took

def measure(net, steps, settled, callback):
    clock, start = Clock(callback, settled, steps - 1), time.perf_counter()
    fit(net, steps * 32, ([callback] if callback else []) + [clock])
    step = clock.took / (steps - 1 - settled)
    # What comes once, with the first steps, is told by itself.
    return {"step": step, "share": clock.share, "once": clock.begin - start - (settled + 1) * step}
"""

_SMALL = (
    _SCRIPT
    + """
x = np.random.default_rng(1).random((32 * 2000, 64), dtype="float32")
y = np.arange(len(x)) % 10
editor = kerasedit.Editor(small()); net = editor.model
ways = {"plain": lambda: None, "live": editor.live}
fit(net, len(x), []); fit(net, len(x), [editor.live()])
found = {}
for name in ["plain", "live"] * ROUNDS:
    found.setdefault(name, []).append(measure(net, 2000, 100, ways[name]()))
print(json.dumps(found))
"""
).replace("ROUNDS", str(ROUNDS))

_STREAM = (
    _SCRIPT
    + """
editor = kerasedit.Editor(model()); net = editor.model
ways = {"plain": lambda: None, "live": editor.live, "numpy": NumPyHistograms}
if importlib.util.find_spec("tensorboard"):
    ways["tensorboard"] = lambda: keras.callbacks.TensorBoard(tempfile.mkdtemp(), histogram_freq=1)
watched(editor)
fit(net, 32, []); fit(net, 64, [editor.live()])
found = {}
for name in ["numpy", "tensorboard", *["plain", "live"] * ROUNDS]:
    if name in ways:
        found.setdefault(name, []).append(measure(net, 24, 3, ways[name]()))
print(json.dumps(found))
"""
).replace("ROUNDS", str(ROUNDS))

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
    found = _python(_SMALL)
    yield from _rates("a small model, 2,000 steps, no widget", found, 0.99)
    found = _python(_STREAM)
    yield from _rates("MobileNetV2, all layers streamed, 4 frames a second at most", found, 0.95)
    for name, text in (
        ("tensorboard", "TensorBoard(histogram_freq=1), but for its histograms"),
        ("numpy", "a callback with np.histogram at each batch"),
    ):
        if name in found:  # it is installed
            value = 1 - _of(found[name], "share")
            yield Result(f"MobileNetV2, {text}: share of the time left to steps", f"{value:.3f}")
    more = _of(found["live"], "once") - _of(found["plain"], "once")
    yield Result("MobileNetV2: what a fit with it takes more, once", f"{more:.2f} s")
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


def _rates(what: str, found: dict[str, list[dict[str, float]]], target: float) -> Iterator[Result]:
    """The share is of one and the same run; two runs differ by more than what the callback takes."""
    value = 1 - _of(found["live"], "share")
    text = f"{what}: share of the time left to steps"
    yield Result(text, f"{value:.3f}", f"≥ {target}", value >= target)
    ratio = _of(found["plain"], "step") / _of(found["live"], "step")
    yield Result(f"{what}: steps a second, median of runs in turns", f"{ratio:.3f} × plain fit")


def _of(rounds: list[dict[str, float]], name: str) -> float:
    return _median([one[name] for one in rounds])


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
