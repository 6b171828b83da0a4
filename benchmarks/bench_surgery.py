"""Opening files, chains of edits, edits of long chains, and memory over many rebuilds.

python -m benchmarks surgery
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import Result
from benchmarks.bench_editor import UNIT, cpu
from kerasedit import Editor

LENGTHS = (10, 100, 1000, 5000)
EDITS = 200


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    import keras

    model = keras.applications.EfficientNetB7(weights=None)
    yield from opening(model)
    yield ten_edits(model)
    del model
    yield from chains()
    yield memory()


# -- files ---------------------------------------------------------------------------------------

# In a process of its own, as in a notebook: what TensorFlow sets up on first use counts for both.
_OPEN = """
import sys, time
import keras, kerasedit
def theirs(path):
    return keras.models.load_model(path)
def ours(path):
    editor = kerasedit.Editor(path)
    return [repr(view) for view in editor.layers], editor.model
work = {"keras": theirs, "kerasedit": ours}[sys.argv[1]]
wall, cpu = time.perf_counter(), time.process_time()
made = work(sys.argv[2])
print(time.process_time() - cpu, time.perf_counter() - wall)
"""


def opening(model: Any, repeat: int = 3) -> Iterator[Result]:
    """B7 from a file, listed and built, against what only loads it."""
    with tempfile.TemporaryDirectory() as folder:
        plain, old, compiled = (Path(folder, n) for n in ("b7.keras", "b7.h5", "compiled.keras"))
        model.save(plain)
        model.save(old)
        model.compile("adam", "categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
        model.save(compiled)
        for file, name, target in (
            (plain, "a file", 0.6),
            (old, "an .h5 file", None),
            (compiled, "a file with Adam's state", None),
        ):
            seconds: dict[str, tuple[float, ...]] = {}
            for _ in range(repeat):  # in turn: both see the same disturbances
                for who in ("keras", "kerasedit"):
                    found = map(float, _python(_OPEN, who, str(file)).split()[-2:])
                    seconds[who] = tuple(map(min, found, seconds.get(who, (1e9, 1e9))))
            (cpu_theirs, wall_theirs), (cpu_ours, wall_ours) = seconds.values()
            yield Result(
                f"B7: load_model of {name}", f"{cpu_theirs:.2f} s of CPU ({wall_theirs:.2f} s)"
            )
            value = cpu_ours / cpu_theirs
            yield Result(
                f"B7: Editor of {name}, listed and built",
                f"{value:.2f} × load_model ({wall_ours / wall_theirs:.2f} of the time)",
                f"≤ {target}" if target else "",
                value <= target if target else None,
            )


def _python(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# -- edits ---------------------------------------------------------------------------------------


def ten_edits(model: Any) -> Result:
    """From the model to the edited copy: an editor, ten edits and one rebuild."""
    import keras
    from keras import layers

    def clone() -> None:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())

    def edit() -> None:
        editor = Editor(model)
        editor.remove("top_dropout")
        editor.insert(layers.Dropout(0.2), after="block?a_expand_activation")
        editor.replace("top_activation", layers.Activation("relu"))
        editor.configure("block7*_bn", momentum=0.9)
        editor.replace("predictions", layers.Dense(10))
        editor.append(layers.Softmax())
        editor.rename("avg_pool", "features")
        editor.insert(layers.BatchNormalization(), after="features")
        editor.freeze_up_to("block6a_expand_conv")
        editor.set_input((380, 380, 3))  # the shapes of all 800 layers are found anew
        assert len(editor.history) == 10
        _ = editor.model

    value = cpu(edit, 3) / cpu(clone, 3)
    return Result("B7: ten edits and one rebuild", f"{value:.3f} {UNIT}", "≤ 0.6", value <= 0.6)


def chains() -> Iterator[Result]:
    """Edits of Dense chains at both ends: what lies downstream counts, not the whole."""
    for length in LENGTHS:
        editor = Editor(_chain(length))
        _ = editor.layers
        near_end = {name: _edit(editor, block, length - 3) for name, block in _blocks().items()}
        near_start = {name: _edit(editor, block, 1) for name, block in _blocks().items()}
        for name, seconds in near_end.items():
            ratio = seconds / near_start[name]
            # Near the end of a short chain lies about as much as near its start.
            target = 0.1 if name == "changes" and length >= 1000 else None
            yield Result(
                f"{length} layers: an edit that {name} shapes, near the end and near the start",
                f"{seconds * 1000:.0f} ms, {near_start[name] * 1000:.0f} ms",
                f"≤ {target} of it" if target else "",
                ratio <= target if target else None,
            )


def _chain(length: int) -> Any:
    import keras
    from keras import layers

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 10 * length)  # Keras itself needs it to make such a model
    try:
        x = inputs = keras.Input((8, 4))
        for number in range(length):
            # Each of its own: equal layers are inferred once.
            own = keras.initializers.Constant(number)
            x = layers.Dense(4, name=f"d{number}", kernel_initializer=own)(x)
        return keras.Model(inputs, x)
    finally:
        sys.setrecursionlimit(limit)


def _blocks() -> dict[str, Callable[[], Any]]:
    """Layers to put in. The second lengthens the sequence for all that comes behind."""
    from keras import layers

    return {"keeps": lambda: layers.Dropout(0.1), "changes": lambda: layers.UpSampling1D(2)}


def _edit(editor: Editor, block: Callable[[], Any], place: int) -> float:
    """The least seconds of an insertion behind a layer, taken back each time."""
    best = float("inf")
    for _ in range(3):
        best = min(best, cpu(lambda: editor.insert(block(), after=f"d{place}")))
        editor.undo()
    return best


# -- memory --------------------------------------------------------------------------------------

_MEMORY = f"""
import gc, resource
import keras, kerasedit
from keras import layers
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
model = keras.applications.EfficientNetB0(weights=None)
editor = kerasedit.Editor(model)
places = [view.path for view in editor.layers if view.class_name == "Activation"]
copy = editor.insert(layers.Dropout(0.2), after=places[-1]).model
first = resident()
for number in range({EDITS} // 2):
    copy = editor.insert(layers.Dropout(0.2, name="more"), after=places[number % len(places)]).model
    copy = editor.remove("more").model
print(resident() / first)
"""


def memory() -> Result:
    """Resident memory after many edits, each with a rebuild, over that after the first."""
    value = float(_python(_MEMORY).split()[-1])
    name = f"B0: memory after {EDITS} edits and rebuilds"
    return Result(name, f"{value:.3f} × after the first", "≤ 1.1", value <= 1.1)


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
