"""What the edited copy puts out, beside the source and beside itself saved and loaded."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import _keras
from .errors import EditError, reason
from .files import save_model
from .names import visible
from .probe import Probe, make_probe
from .running import Side, is_finite, is_number, run
from .weights.loaded import other_weights

Shape = tuple[int, ...]


# -- what is found -------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutputCheck:
    """One output of the copy beside the source's output of the same name.

    Attributes:
        before, after: its shapes for the probe batch; None where the model has no such output.
        identical: whether dtype, shape and all values are the same to the bit.
        difference: the largest absolute difference; None where the two cannot be compared.
        nans: whether it has NaN or Inf where the source's has none.
        reason: why they cannot be compared.
    """

    before: Shape | None
    after: Shape | None
    identical: bool = False
    difference: float | None = None
    nans: bool = False
    reason: str = ""

    @property
    def comparable(self) -> bool:
        return self.difference is not None


@dataclass(frozen=True)
class FileCheck:
    """The copy beside itself saved and loaded.

    Attributes:
        ok: the weights are the same to the bit, and the outputs but for rounding.
        weights, identical: whether the weights, and the outputs, are the same to the bit; None
            where that could not be found out.
        difference: the largest absolute difference of an output.
        reason: why it could not be saved, loaded or run, or which weights are others.
    """

    ok: bool
    weights: bool | None = None
    identical: bool | None = None
    difference: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verification:
    """What `Editor.verify` found. It is true where `ok` is; `str` tells it in words.

    Attributes:
        outputs: of each output, by name, how it is beside the source's.
        differences: the layers of both models that put out something else than in the source, in
            the order data flows.
        file: how the copy is when saved and loaded.
        nans: the layer of the copy that first puts out NaN or Inf; None where none does.
        not_comparable: why the source could not be run beside the copy.
        samples: how many samples the probe batch had.
    """

    outputs: Mapping[str, OutputCheck]
    differences: tuple[str, ...]
    file: FileCheck
    nans: str | None
    not_comparable: str
    samples: int

    @property
    def ok(self) -> bool:
        """The copy survives its file, and has no NaN or Inf where the source has none.

        Outputs that changed are no failure: that is what edits are for.
        """
        return self.file.ok and not any(check.nans for check in self.outputs.values())

    @property
    def first_difference(self) -> str | None:
        """The first layer, in the order data flows, that puts out something else."""
        return self.differences[0] if self.differences else None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = ["The copy is sound." if self.ok else "The copy is not sound."]
        lines.append(f"  {_file_text(self.file)}")
        if self.not_comparable:
            lines.append(f"  not compared with the source: {self.not_comparable}")
        lines += [f"  output '{name}' {output_text(check)}" for name, check in self.outputs.items()]
        if self.differences:
            first, *more = (f"'{path}'" for path in self.differences)
            lines.append(f"  the first layer to put out something else is {first}")
            if more:
                rest = f" and {len(more) - 4} more" if len(more) > 4 else ""
                lines[-1] += f", then {', '.join(more[:4])}{rest}"
        elif any(check.difference for check in self.outputs.values()):
            lines.append("  no layer that the edits left as it was puts out something else")
        if self.nans is not None:
            lines.append(f"  the first layer to put out NaN or Inf is '{self.nans}'")
        lines.append(f"  found with {self.samples} samples")
        return "\n".join(map(visible, lines))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON; a difference that is no finite number becomes a text."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: plain(item) for name, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            return str(value) if isinstance(value, float) and not math.isfinite(value) else value

        data = {"ok": self.ok, "first_difference": self.first_difference}
        return plain({**data, **dataclasses.asdict(self)})


def _file_text(file: FileCheck) -> str:
    if file.identical is None:
        return f"saved and loaded: {file.reason}"
    weights = "the same weights" if file.weights else f"other weights ({file.reason})"
    outputs = (
        "the same outputs to the bit"
        if file.identical
        else f"outputs that differ by up to {file.difference:.3g}"
    )
    return f"saved and loaded, it has {weights} and {outputs}"


def output_text(check: OutputCheck) -> str:
    """What was found of an output, as the end of a sentence."""
    if check.difference is None:
        text = check.reason
    elif check.identical:
        text = "is the same to the bit"
    elif math.isfinite(check.difference):
        text = f"differs by up to {check.difference:.3g}"
    else:
        text = "differs"
    return f"{text}, and has NaN or Inf" if check.nans else text


# -- the check -----------------------------------------------------------------------------------


def verify_copy(
    source: Side | None,
    copy: Side,
    inputs: Any = None,
    *,
    custom_objects: Mapping[str, Any] | None = None,
) -> Verification:
    """Compares a copy with its source, and with itself saved to a temporary file and loaded.

    Args:
        source: None where the editor works on the model itself.
        copy: the edited model.
        inputs: what either model takes; a probe batch is drawn if None.
        custom_objects: classes and functions that layers' configurations name.

    Raises:
        EditError: neither model takes the inputs, or none can be drawn.
    """
    probe = make_probe(source, copy, inputs)
    loaded: list[keras.Model] = []
    problem = ""
    with tempfile.TemporaryDirectory() as folder, _keras.preserved_random():
        path = Path(folder, "copy.keras")
        try:
            save_model(copy.model, path, loaded.append, custom_objects=custom_objects)
        except EditError as error:
            problem = str(error).replace(f"'{path}'", "the file")
    return _compare(source, copy, probe, loaded[0] if loaded else problem)


def verify_loaded(
    source: Side | None, copy: Side, loaded: keras.Model, inputs: Any = None
) -> Verification:
    """The same for a copy that was saved already, and loaded from its file."""
    return _compare(source, copy, make_probe(source, copy, inputs), loaded)


def _compare(
    source: Side | None, copy: Side, probe: Probe, loaded: keras.Model | str
) -> Verification:
    refused = probe.refused if source else "the editor works on the model itself (in_place=True)."
    return Verification(
        outputs=compare_outputs(source, copy, probe, refused),
        differences=tuple(probe.after.differences(probe.before)) if probe.before else (),
        file=_compare_file(copy.model, probe, loaded),
        nans=probe.after.first_nan,
        not_comparable=refused,
        samples=probe.samples,
    )


def compare_outputs(
    source: Side | None, copy: Side, probe: Probe, refused: str
) -> dict[str, OutputCheck]:
    """Every output of the copy, by name, beside the source's."""
    new = named_outputs(copy, probe.after.outputs)
    old = (
        {}
        if source is None or probe.before is None
        else named_outputs(source, probe.before.outputs)
    )
    # An output that was renamed is the one that comes from the same layer.
    names = {by: name for name, (by, _) in new.items() if name not in old}
    old = {
        name if name in new else names.get(by, name): batches for name, (by, batches) in old.items()
    }
    return {
        name: compare_output(old.get(name), new[name][1] if name in new else None, refused)
        for name in dict.fromkeys((*new, *old))
    }


def named_outputs(side: Side, batches: list[list[np.ndarray]]) -> dict[str, tuple[Any, Any]]:
    """For each output by name: which layer it comes from, and what it was for each batch.

    The name is the key in a dictionary, the model's own name for it, or a number.
    """
    net = side.graph.net
    count = len(batches[0])
    names = [f"output_{number}" for number in range(count)]
    makers: list[Any] = names
    if len(net.output_refs) == count:
        makers = [(net.by_id[ref.call].layer, ref.index) for ref in net.output_refs]
    if isinstance(net.outputs, Mapping):
        paths = keras.tree.flatten_with_path(net.outputs)
        names = ["/".join(map(str, path)) for path, _ in paths]
    elif len(net.output_names) == count:
        names = list(net.output_names)
    each = list(zip(*batches, strict=True))
    return {name: (by, each[i]) for i, (name, by) in enumerate(zip(names, makers, strict=True))}


def compare_output(before: Any, after: Any, refused: str) -> OutputCheck:
    """Compares what one output was for each batch, in the source (`before`) and the copy."""
    old, new = (None if batches is None else batches[0].shape for batches in (before, after))
    nans = (
        new is not None
        and not all(map(is_finite, after))
        and (old is None or all(map(is_finite, before)))
    )
    if new is None:
        why = "is gone"
    elif old is None:
        why = "was not compared" if refused else "is new"
    elif old != new:
        why = f"has shape {new} and had {old}"
    else:
        identical = all(map(_identical, before, after))
        return OutputCheck(old, new, identical, max(map(_distance, before, after)), nans)
    return OutputCheck(old, new, nans=nans, reason=why)


def _compare_file(copy: keras.Model, probe: Probe, loaded: keras.Model | str) -> FileCheck:
    if isinstance(loaded, str):
        return FileCheck(False, reason=loaded)
    other = other_weights(copy, loaded)
    try:
        again = run(Side.of(loaded), probe.batches)
    except Exception as problem:
        return FileCheck(
            False, not other, reason=f"what was loaded does not run. {reason(problem)}"
        )
    pairs = [
        pair
        for now, then in zip(probe.after.outputs, again.outputs, strict=True)
        for pair in zip(now, then, strict=True)
    ]
    if any(now.shape != then.shape for now, then in pairs):
        return FileCheck(False, not other, reason="what was loaded puts out other shapes.")
    return FileCheck(
        not other and all(_distance(*pair) <= _rounding(pair[0]) for pair in pairs),
        not other,
        all(_identical(*pair) for pair in pairs),
        max(_distance(*pair) for pair in pairs),
        reason=other,
    )


# -- arrays --------------------------------------------------------------------------------------


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    same = a.dtype == b.dtype and a.shape == b.shape
    return same and (np.array_equal(a, b) if a.dtype == object else a.tobytes() == b.tobytes())


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; infinite where only one is a number."""
    if not (is_number(a) and is_number(b)):
        return 0.0 if np.array_equal(a, b) else math.inf
    kind = "complex128" if "c" in (a.dtype.kind, b.dtype.kind) else "float64"
    a, b = a.astype(kind), b.astype(kind)
    with np.errstate(all="ignore"):
        gap = np.asarray(np.abs(a - b))
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.max(np.nan_to_num(gap, nan=math.inf, posinf=math.inf), initial=0.0))


def _rounding(array: np.ndarray) -> float:
    """How far two computations of an output may be apart."""
    if not is_number(array) or array.dtype.kind in "biu":
        return 0.0
    size = np.abs(array.astype("complex128"))
    scale = float(np.max(size, where=np.isfinite(size), initial=1.0))
    return scale * (1e-2 if array.dtype.itemsize <= 2 else 1e-5)
