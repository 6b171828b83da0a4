"""Every model of `keras.applications`, rebuilt without an edit and compared with its source.

`python -m tests.corpus.applications NAME...` prints a row of JSON for each model; without names it
checks all of them, each in a process of its own, and writes `docs/corpus.md`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "corpus.md"

# The smallest of each family; the others differ in depth and width only.
FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)
# The smallest picture that a model takes, where that is not 32 by 32.
SIZES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}


@dataclass(frozen=True)
class Row:
    """What was found out about one model; every check that failed is in words in `faults`."""

    name: str
    layers: int
    ops: int
    parameters: int
    faults: tuple[str, ...]
    submodels: int
    seconds: float


def all_names() -> list[str]:
    """The functions of `keras.applications`."""
    import keras

    found = vars(keras.applications).items()
    return sorted(name for name, value in found if name[0].isupper() and callable(value))


def make(name: str) -> Any:
    """A model with weights that no initializer gives, some layers frozen, compiled."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(11)
    size = SIZES.get(name, 32)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            continue  # what it computes from its variables, it keeps
        for variable in layer.variables:
            shape = variable.shape
            if "float" in variable.dtype and len(shape) < 2:  # biases and scales are 0 and 1 else
                noise = rng.uniform(-0.05, 0.05, shape).astype("float32")
                variable.assign(keras.ops.convert_to_numpy(variable) + noise)
    for layer in model.layers[::3]:
        layer.trainable = False
    model.compile(keras.optimizers.SGD(0.3), loss="categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(5)
    return model


def check(name: str) -> Row:
    """Rebuilds a model and compares all that a user can see of it, to the bit."""
    import keras
    import numpy as np

    import kerasedit

    faults: list[str] = []

    def same(what: str, a: Any, b: Any) -> None:
        if a != b:
            faults.append(what)

    def same_bits(what: str, a: Any, b: Any) -> None:
        a, b = np.asarray(a), np.asarray(b)
        same(what, (a.dtype, a.shape, a.tobytes()), (b.dtype, b.shape, b.tobytes()))

    source = make(name)
    x = np.random.default_rng(1).uniform(0, 255, (2, *source.input_shape[1:])).astype("float32")
    wanted = source.predict(x, verbose=0)
    same("finite", bool(np.isfinite(wanted).all()), True)

    start = time.perf_counter()
    copy = kerasedit.Editor(source).model
    seconds = time.perf_counter() - start

    same_bits("predict", copy.predict(x, verbose=0), wanted)
    same("model name", copy.name, source.name)
    same("class", type(copy), type(source))
    for what, tell in {
        "names": lambda layer: layer.name,
        "classes": type,
        "flags": lambda layer: layer.trainable,
        "dtypes": lambda layer: layer.dtype_policy.get_config(),
        "configs": lambda layer: repr(layer.get_config()),
    }.items():
        same(what, [tell(layer) for layer in copy.layers], [tell(layer) for layer in source.layers])
    ops = {id(layer) for layer in source.layers}
    names = [op.name for op in source.operations if id(op) not in ops]
    ops = {id(layer) for layer in copy.layers}
    same("op names", [op.name for op in copy.operations if id(op) not in ops], names)
    for kind in ("weights", "trainable_weights", "non_trainable_weights", "variables"):
        ours, theirs = getattr(copy, kind), getattr(source, kind)
        same(f"{kind}: names", [_name(v) for v in ours], [_name(v) for v in theirs])
        same(f"{kind}: dtypes", [v.dtype for v in ours], [v.dtype for v in theirs])
        if len(ours) != len(theirs):
            faults.append(f"{kind}: number")
    for a, b in zip(copy.variables, source.variables, strict=True):
        same_bits(f"weight {b.path}", a, b)
    if {id(v) for v in copy.variables} & {id(v) for v in source.variables}:
        faults.append("a variable is shared with the source")

    same("compile", copy.get_compile_config(), source.get_compile_config())
    same("iterations", int(copy.optimizer.iterations), 5)
    same("optimizer shared", copy.optimizer is source.optimizer, False)

    # Every layer of the copy can be made an output; all their values are the source's.
    submodels = 0
    for layer in copy.layers:
        part = keras.Model(copy.inputs, copy.get_layer(layer.name).output)
        submodels += part.layers[-1] is not None
    inside = [keras.Model(m.inputs, [op.output for op in m.operations]) for m in (copy, source)]
    ours, theirs = (model(x, training=False) for model in inside)
    for operation, a, b in zip(source.operations, ours, theirs, strict=True):
        same_bits(f"output of {operation.name}", a, b)
    del ours, theirs, inside

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        copy.save(path)
        loaded = keras.saving.load_model(path)
    same_bits("predict of the loaded file", loaded.predict(x, verbose=0), wanted)
    same("loaded: number of weights", len(loaded.weights), len(source.weights))
    for a, b in zip(loaded.weights, source.weights, strict=True):
        same_bits(f"loaded weight {b.path}", a, b)
    # Keras's files keep no flags of inputs and of nested models as such.
    for a, b in zip(loaded.layers, source.layers, strict=True):
        if not isinstance(b, (keras.layers.InputLayer, keras.Model)):
            same(f"loaded flag of {b.name}", a.trainable, b.trainable)

    # Nothing of the source changed.
    same_bits("predict of the source afterwards", source.predict(x, verbose=0), wanted)
    return Row(
        name,
        len(source.layers),
        len(source.operations) - len(source.layers),
        source.count_params(),
        tuple(faults),
        submodels,
        round(seconds, 2),
    )


def _name(variable: Any) -> str:
    """The layer's and the variable's name.

    What stands before them in the path tells where a layer was built; a variable or seed without a
    name of its own gets a running number from Keras.
    """
    path = "/".join(variable.path.split("/")[-2:])
    return re.sub(r"(variable|seed_generator)_\d+", r"\1", path)


def run_apart(module: str, name: str) -> dict[str, Any]:
    """The row of a model, found out in a process of its own, which gives its memory back."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.corpus.{module}", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(f"{name} failed:\n{done.stderr[-4000:]}")
    row = json.loads(done.stdout.splitlines()[-1])
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def check_apart(name: str) -> Row:
    """`check` in a process of its own."""
    return Row(**run_apart("applications", name))


def read_sections() -> dict[str, str]:
    """The sections of the page of the documentation by title."""
    _, *sections = re.split(r"^## ", TABLE.read_text() if TABLE.exists() else "", flags=re.M)
    return dict(section.split("\n", 1) for section in sections)


def write_section(title: str, lines: list[str]) -> None:
    """Puts a section into the page of the documentation, in place of the one of that title."""
    import keras

    found = read_sections()
    found[title] = "\n" + "\n".join(lines)
    head = [
        "# Corpus",
        "",
        "Every model of `keras.applications`, made with random weights for the smallest picture",
        "that it takes, some of its layers frozen, compiled. Written by `make test-all`",
        f"(`tests/corpus`, Keras {keras.__version__}, {keras.backend.backend()} on the CPU).",
        "",
    ]
    page = "\n".join(head)
    for name in sorted(found):
        page += f"\n## {name}\n{found[name].rstrip()}\n"
    TABLE.write_text(page)


def write_row(title: str, head: list[str], name: str, told: str) -> None:
    """Puts the row of a model into a section of the page, where those of others stay."""
    known = dict(re.findall(r"^\| (\w+) (\|.*)$", read_sections().get(title, ""), re.M))
    known[name] = told
    names = all_names()
    rows = [f"| {name} {known[name]}" for name in names if name in known]
    left = [name for name in names if name not in known]
    not_run = textwrap.wrap(f"Not run: {', '.join(left)}.", 98) if left else []
    write_section(title, [*head, *rows, "", *not_run])


def tell_rows(
    names: list[str],
    check: Callable[[str], Any],
    apart: Callable[[str], Any],
    record: Callable[[Any], None],
) -> None:
    """Prints the rows of some models, or checks each of all apart and records it."""
    if names:
        for name in names:
            print(json.dumps(asdict(check(name))))
        return
    for name in all_names():
        row = apart(name)
        print(row, flush=True)
        record(row)


def table(rows: list[Row]) -> list[str]:
    """The rows as a section of the documentation."""
    lines = [
        "Rebuilt by `Editor(model).model` without an edit and compared with its source.",
        "",
        "- *predict*: the copy's `predict` equals the source's to the bit. So do names, classes,",
        "  configurations, flags, dtypes, the order and values of all weights, and what `compile`",
        "  set up.",
        "- *sub-models*: for how many layers `keras.Model(m.inputs, m.get_layer(n).output)` could",
        "  be made of the copy; what each layer and op puts out equals the source's to the bit.",
        "- *save/load*: the saved and loaded copy has the same weights and predicts the same bits.",
        "- *seconds*: what the rebuild took (two CPU cores).",
        "",
        "| model | layers | raw ops | parameters | predict | sub-models | save/load | seconds |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- | ---: |",
    ]
    for row in sorted(rows, key=lambda row: row.name):
        loading = [fault for fault in row.faults if "load" in fault]
        other = [fault for fault in row.faults if fault not in loading]
        lines.append(
            f"| {row.name} | {row.layers} | {row.ops} | {row.parameters:,} | "
            f"{_verdict(other, 'identical')} | {row.submodels} of {row.layers} | "
            f"{_verdict(loading, 'identical')} | {row.seconds:.2f} |"
        )
    return lines


def _verdict(faults: list[str], good: str) -> str:
    return f"**differs**: {faults[0]}" if faults else good


def main(names: list[str]) -> None:
    if names:
        for name in names:
            print(json.dumps(asdict(check(name))))
        return
    rows = []
    for name in all_names():
        start = time.perf_counter()
        rows.append(check_apart(name))
        print(round(time.perf_counter() - start), rows[-1], flush=True)
    write_section("As they are", table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
