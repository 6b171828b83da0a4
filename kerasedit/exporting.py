"""A model written for what runs it without Keras, and compared there with itself."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .errors import EditError, ModelFileError, reason
from .files import folder_beside, replace_file
from .names import visible
from .probe import Probe, make_probe
from .running import Batch, Side, at_rest, is_number
from .verify import OutputCheck, compare_output, named_outputs, output_text

Runner = Callable[[Batch], list[np.ndarray]]
"""Gives what an exported model puts out for a batch, flat."""


@dataclass(frozen=True)
class Export:
    """What `ed.export` wrote; `str` tells it in words.

    Attributes:
        path: the file, or the folder of a SavedModel.
        format: `"tf_saved_model"`, `"litert"` or `"onnx"`.
        bytes: its size.
        outputs: by name, each output of what was written beside the same of the model.
        samples: how many samples they were found with.
    """

    path: Path
    format: str
    bytes: int
    outputs: Mapping[str, OutputCheck]
    samples: int

    def __str__(self) -> str:
        lines = [
            f"Exported to '{self.path}' ({self.format}, {self.bytes:,} bytes).",
            *(f"  output '{name}' {output_text(check)}" for name, check in self.outputs.items()),
            f"  found with {self.samples} samples",
        ]
        return "\n".join(map(visible, lines))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True)
class Format:
    """A format: what its files end with, how to open one, and what has to be installed for it.

    `extra` is the one of kerasedit's extras that brings what is needed.
    """

    suffix: str
    open: Callable[[Path, keras.Model], Runner]
    needs: tuple[str, ...]
    extra: str = ""


def export_model(
    copy: Side,
    path: str | os.PathLike[str],
    format: str | None,
    inputs: Any,
    tolerance: float | None,
    options: Mapping[str, Any],
) -> Export:
    """Exports a model so that at `path` is what was there before, or the whole new one.

    It is written beside, opened by what runs such files, compared, and renamed.

    Raises:
        ModelFileError: it cannot be written or opened again, or what it needs is not installed.
        EditError: the format is not known, or what was written puts out something else.
    """
    file = Path(path)
    file = file.resolve() if file.is_symlink() else file
    format = _format_of(file, format)
    made = FORMATS[format]
    _require(format, made)
    _check_place(file, made)
    probe = make_probe(None, copy, inputs)
    try:
        with folder_beside(file) as beside, warnings.catch_warnings():
            # TensorFlow tells that its interpreter will move, Keras tells of NumPy's names.
            warnings.simplefilter("ignore")
            with at_rest(copy.model):  # to ONNX, Keras exports only what was called
                copy.model(probe.batches[0], training=False)
            new = beside / file.name
            copy.model.export(new, format=format, verbose=False, **options)
            checks = _compare(copy, probe, made.open(new, copy.model))
            _require_near(checks, copy, probe, format, tolerance)
            size = _size(new)
            _put_in_place(new, file, beside)
    except EditError:
        raise
    except Exception as problem:
        raise ModelFileError(
            f"The model cannot be exported to '{file}' ({format}). What was there is unharmed. The "
            f"reason: {reason(problem)}"
        ) from problem
    return Export(file, format, size, checks, probe.samples)


# -- what may be written where -------------------------------------------------------------------


def _format_of(file: Path, format: str | None) -> str:
    if format is None:
        found = [name for name, known in FORMATS.items() if known.suffix == file.suffix]
        if not found:
            endings = ", ".join(f"'{f.suffix}' ({n})" for n, f in FORMATS.items() if f.suffix)
            raise EditError(
                f"What '{file.name}' is to be cannot be told from its ending. Known are {endings}; a "
                'path without one is the folder of a SavedModel. Or say it with format="onnx", say.'
            )
        return found[0]
    if format not in FORMATS:
        raise EditError(
            f"format is one of {', '.join(map(repr, FORMATS))}, not {format!r:.80}. For others of "
            "Keras's there is ed.model.export(path, format=...)."
        )
    suffix = FORMATS[format].suffix
    if suffix and file.suffix != suffix:
        raise EditError(f"A file of the format {format!r} ends with '{suffix}', not '{file.name}'.")
    return format


def _require(format: str, made: Format) -> None:
    """Raises where something that the format needs is not installed."""
    missing = [name for name in made.needs if importlib.util.find_spec(name) is None]
    if missing:
        what = f'"kerasedit[{made.extra}]"' if made.extra else " ".join(missing)
        raise ModelFileError(
            f"Exporting to {format!r} needs {' and '.join(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} not installed: pip install {what}"
        )


def _check_place(file: Path, made: Format) -> None:
    if not os.path.isdir(file.parent) or not file.name:
        raise ModelFileError(f"There is no folder '{file.parent}'.")
    if made.suffix and os.path.isdir(file):
        raise ModelFileError(f"'{file}' is a folder; a model of this format is a file.")
    if not made.suffix and file.exists() and not (file / "saved_model.pb").exists():
        raise ModelFileError(f"'{file}' is there already, and is no SavedModel.")


def _put_in_place(new: Path, file: Path, beside: Path) -> None:
    """Puts what was written beside in place of what is there."""
    if new.is_file():
        replace_file(new, file)
        return
    if not file.exists():
        os.replace(new, file)
        return
    # A folder that holds something cannot be replaced at once.
    old = beside / "old"
    os.replace(file, old)
    try:
        os.replace(new, file)
    except BaseException:
        os.replace(old, file)
        raise


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(file.stat().st_size for file in files)


# -- what was written ----------------------------------------------------------------------------


def _compare(copy: Side, probe: Probe, runner: Runner) -> dict[str, OutputCheck]:
    found = [runner(batch) for batch in probe.batches]
    names = named_outputs(copy, probe.after.outputs)
    if any(len(outputs) != len(names) for outputs in found):
        raise EditError(
            f"What was written has {len(found[0])} outputs and the model has {len(names)}."
        )
    each = zip(*found, strict=True)
    return {
        name: compare_output(mine, theirs, "")
        for (name, (_, mine)), theirs in zip(names.items(), each, strict=True)
    }


def _require_near(
    checks: Mapping[str, OutputCheck],
    copy: Side,
    probe: Probe,
    format: str,
    tolerance: float | None,
) -> None:
    """Raises where what was written puts out something else than the model does."""
    if tolerance is None:
        return
    names = named_outputs(copy, probe.after.outputs)
    for name, check in checks.items():
        arrays = [np.abs(array) for array in names[name][1] if is_number(array)]
        scale = max((float(np.max(array, initial=0.0)) for array in arrays), default=0.0)
        if check.difference is None or not check.difference <= tolerance * scale:
            raise EditError(
                f"What was written as {format!r} puts out something else than the model: the output "
                f"'{name}' {output_text(check)}, where its largest value is {scale:.3g}. It was not "
                "kept. With tolerance=, a share of the largest value, it is allowed more; with "
                "tolerance=None anything is kept."
            )


def _saved_model(path: Path, model: keras.Model) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(batch: Batch) -> list[np.ndarray]:
        given = keras.tree.map_structure(keras.ops.convert_to_numpy, batch)
        return [np.asarray(tensor) for tensor in keras.tree.flatten(loaded.serve(given))]

    return run


def _litert(path: Path, model: keras.Model) -> Runner:
    """Samples are run one by one: a converted model is made for that."""
    runner = _interpreter(path).get_signature_runner()
    inputs = list(runner.get_input_details())
    outputs = _in_order(list(runner.get_output_details()))

    def run(batch: Batch) -> list[np.ndarray]:
        arrays = _by_name(batch, model, inputs)
        count = len(next(iter(arrays.values())))
        rows = [
            runner(**{name: array[i : i + 1] for name, array in arrays.items()})
            for i in range(count)
        ]
        return [np.concatenate([row[name] for row in rows]) for name in outputs]

    return run


def _interpreter(path: Path) -> Any:
    """TensorFlow's own knows all its operations; without one, that of LiteRT."""
    import tensorflow as tf

    own = getattr(getattr(tf, "lite", None), "Interpreter", None)
    if own is None:
        _require("litert", Format("", _litert, ("ai_edge_litert",), "litert"))
        own = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    return own(model_path=str(path))


def _onnx(path: Path, model: keras.Model) -> Runner:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]

    def run(batch: Batch) -> list[np.ndarray]:
        return [np.asarray(a) for a in session.run(None, _by_name(batch, model, inputs))]

    return run


def _by_name(batch: Batch, model: keras.Model, names: list[str]) -> dict[str, np.ndarray]:
    """The tensors of a batch by the names that a file has for the inputs.

    Raises:
        EditError: which is which cannot be told.
    """
    arrays = [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(batch)]
    own = [tensor.name for tensor in model.inputs or ()]
    if len(names) == len(arrays) == 1:
        return {names[0]: arrays[0]}
    if sorted(names) != sorted(own):
        raise EditError(
            f"What was written calls its inputs {names}, and the model {own}, so that it cannot be "
            "compared. Rename the inputs: letters, digits and _ are kept."
        )
    return dict(zip(own, arrays, strict=True))


def _in_order(names: list[str]) -> list[str]:
    """Names of outputs as Keras flattens these: `output_10` behind `output_2`, keys sorted."""
    return sorted(names, key=lambda name: (len(name), name) if name[:7] == "output_" else (0, name))


FORMATS: dict[str, Format] = {
    "tf_saved_model": Format("", _saved_model, ("tensorflow",)),
    "litert": Format(".tflite", _litert, ("tensorflow",)),
    "onnx": Format(".onnx", _onnx, ("tf2onnx", "onnx", "onnxruntime"), "onnx"),
}
