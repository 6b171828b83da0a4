"""What the edited copy puts out, beside the source and beside itself saved and loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import _keras
from .errors import EditError, reason
from .files import save_model
from .graph.build import call_on
from .graph.model_graph import Call, CallId, LayerId, Ref, VariableRef, iter_refs, map_refs
from .probe import Batch, Probe, Side, at_rest, make_probe, run

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
        reason: why it could not be saved, loaded or run.
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
        lines += [
            f"  output '{name}' {_output_text(check)}" for name, check in self.outputs.items()
        ]
        if self.differences:
            first, *more = (f"'{path}'" for path in self.differences)
            lines.append(f"  the first layer to put out something else is {first}")
            if more:
                rest = f" and {len(more) - 4} more" if len(more) > 4 else ""
                lines[-1] += f", then {', '.join(more[:4])}{rest}"
        if self.nans is not None:
            lines.append(f"  the first layer to put out NaN or Inf is '{self.nans}'")
        lines.append(f"  found with {self.samples} samples")
        return "\n".join(lines)

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
    if file.reason:
        return f"saved and loaded: {file.reason}"
    weights = "the same weights" if file.weights else "other weights"
    outputs = (
        "the same outputs to the bit"
        if file.identical
        else f"outputs that differ by up to {file.difference:.3g}"
    )
    return f"saved and loaded, it has {weights} and {outputs}"


def _output_text(check: OutputCheck) -> str:
    if check.difference is None:
        text = check.reason
    elif check.identical:
        text = "is the same to the bit"
    else:
        text = f"differs by up to {check.difference:.3g}"
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


def same_weights(model: keras.Model, loaded: keras.Model) -> bool:
    """Whether two models have the same weights to the bit.

    What layers share can come back from a file as a weight of each.
    """
    here, there = model.get_weights(), loaded.get_weights()
    if len(here) != len(there):
        return list(_by_layer(model)) == list(_by_layer(loaded))
    return all(map(_identical, here, there))


def _by_layer(model: keras.Model) -> Iterator[list[Any]]:
    """The weights of each layer, in whatever order it has them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _by_layer(layer)
        else:
            yield sorted((a.dtype.str, a.shape, a.tobytes()) for a in layer.get_weights())


def _compare(
    source: Side | None, copy: Side, probe: Probe, loaded: keras.Model | str
) -> Verification:
    refused = probe.refused if source else "the editor works on the model itself (in_place=True)."
    after = _Trace(copy, probe.batches)
    before = _Trace(source, probe.source_batches) if source and probe.before is not None else None
    return Verification(
        outputs=_compare_outputs(source, copy, probe, refused),
        differences=tuple(after.differences(before)) if before else (),
        file=_compare_file(copy.model, probe, loaded),
        nans=after.first_nan,
        not_comparable=refused,
        samples=probe.samples,
    )


def _compare_outputs(
    source: Side | None, copy: Side, probe: Probe, refused: str
) -> dict[str, OutputCheck]:
    new = _named(copy, probe.after)
    old = {} if source is None or probe.before is None else _named(source, probe.before)
    # An output that was renamed is the one that comes from the same layer.
    names = {by: name for name, (by, _) in new.items() if name not in old}
    old = {
        name if name in new else names.get(by, name): batches for name, (by, batches) in old.items()
    }
    return {
        name: _compare_output(old.get(name), new[name][1] if name in new else None, refused)
        for name in dict.fromkeys((*new, *old))
    }


def _named(side: Side, batches: list[list[np.ndarray]]) -> dict[str, tuple[Any, Any]]:
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


def _compare_output(before: Any, after: Any, refused: str) -> OutputCheck:
    """Compares what one output was for each batch, in the source (`before`) and the copy."""
    old, new = (None if batches is None else batches[0].shape for batches in (before, after))
    nans = new is not None and not _finite(after) and (old is None or _finite(before))
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
    weights = same_weights(copy, loaded)
    try:
        again = run(loaded, probe.batches)
    except Exception as problem:
        return FileCheck(False, weights, reason=f"what was loaded does not run. {reason(problem)}")
    pairs = [
        pair
        for now, then in zip(probe.after, again, strict=True)
        for pair in zip(now, then, strict=True)
    ]
    if any(now.shape != then.shape for now, then in pairs):
        return FileCheck(False, weights, False, reason="what was loaded puts out other shapes.")
    return FileCheck(
        weights and all(_distance(*pair) <= _rounding(pair[0]) for pair in pairs),
        weights,
        all(_identical(*pair) for pair in pairs),
        max(_distance(*pair) for pair in pairs),
    )


# -- arrays --------------------------------------------------------------------------------------


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    same = a.dtype == b.dtype and a.shape == b.shape
    return same and (np.array_equal(a, b) if a.dtype == object else a.tobytes() == b.tobytes())


def _is_number(array: np.ndarray) -> bool:
    return array.dtype != object and array.dtype.kind not in "SU"


def _finite(arrays: Any) -> bool:
    return all(np.isfinite(a).all() for a in arrays if _is_number(a))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; infinite where only one is a number."""
    if not (_is_number(a) and _is_number(b)):
        return 0.0 if np.array_equal(a, b) else math.inf
    kind = "complex128" if "c" in (a.dtype.kind, b.dtype.kind) else "float64"
    a, b = a.astype(kind), b.astype(kind)
    with np.errstate(all="ignore"):
        gap = np.abs(a - b)
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.max(np.nan_to_num(gap, nan=math.inf, posinf=math.inf), initial=0.0))


def _rounding(array: np.ndarray) -> float:
    """How far two computations of an output may be apart."""
    if not _is_number(array) or array.dtype.kind in "biu":
        return 0.0
    size = np.abs(array.astype("complex128"))
    scale = float(np.max(size, where=np.isfinite(size), initial=1.0))
    return scale * (1e-2 if array.dtype.itemsize <= 2 else 1e-5)


# -- layer by layer ------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What one call of a layer put out: a fingerprint, and whether all of it was finite."""

    path: str
    layer: LayerId
    prints: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    finite: bool = True

    def add(self, array: np.ndarray) -> None:
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        self.prints.update(f"{array.dtype} {array.shape} ".encode() + content)
        self.finite = self.finite and _finite([array])


class _Trace:
    """What the layers of a model put out on the way. Only fingerprints are kept.

    The layers are called one by one as the graph says, nested models layer by layer too; each output
    is let go when nothing needs it any more.
    """

    def __init__(self, side: Side, batches: list[Batch]) -> None:
        self._side = side
        self._seen: dict[tuple[CallId, ...], _Seen] = {}
        graph = side.graph
        if graph.net.opaque:
            return
        for batch in batches:
            with at_rest(side.model):
                entering = _keras.entering(side.model, batch)
                if entering is not None:
                    self._network(graph.root, entering, (), "")

    @property
    def first_nan(self) -> str | None:
        """The path of the first layer that puts out NaN or Inf."""
        return next((seen.path for seen in self._seen.values() if not seen.finite), None)

    def differences(self, other: _Trace) -> list[str]:
        """The paths of layers that `other` has too, and that put out something else there."""
        found: dict[str, None] = {}
        for place, seen in self._seen.items():
            there = other._same_call(place, seen.layer)
            if there is not None and there.prints.digest() != seen.prints.digest():
                found[seen.path] = None
        return list(found)

    def _same_call(self, place: tuple[CallId, ...], layer: LayerId) -> _Seen | None:
        """The call in that place, or the layer's only one: an edit may have made the call anew."""
        found = self._seen.get(place)
        if found is not None and found.layer == layer:
            return found
        calls = [seen for seen in self._seen.values() if seen.layer == layer]
        return calls[0] if len(calls) == 1 else None

    def _network(
        self, owner: LayerId, entering: list[Any], around: tuple[CallId, ...], prefix: str
    ) -> list[Any]:
        """Calls the layers of a network; what the network puts out."""
        graph = self._side.graph
        net = graph.net_of(owner)
        tensors: dict[Ref, Any] = dict(zip(net.input_refs, entering, strict=True))
        waiting = Counter(net.output_refs)
        waiting.update(ref for call in net.calls for ref in call.refs)
        for call in net.calls:
            spec = graph.layers[call.layer]
            if spec.kind != "input":
                outputs = self._call(call, tensors, (*around, call.id), prefix + spec.name)
                found = {Ref(call.id, index): tensor for index, tensor in enumerate(outputs)}
                tensors.update((ref, tensor) for ref, tensor in found.items() if waiting[ref])
            for ref in call.refs:
                waiting[ref] -= 1
                if not waiting[ref]:
                    del tensors[ref]
        return [tensors[ref] for ref in net.output_refs]

    def _call(
        self, call: Call, tensors: Mapping[Ref, Any], place: tuple[CallId, ...], path: str
    ) -> list[Any]:
        """Calls a layer and notes what it puts out, or the layers of a nested model."""
        spec, layer = self._side.graph.layers[call.layer], self._side.layers[call.layer]
        by_itself = len(call.args) == 1 and not any(iter_refs(call.kwargs))
        if spec.net is not None and not spec.net.opaque and by_itself:
            entering = _keras.entering(layer, map_refs(tensors.__getitem__, call.args[0]))
            if entering is not None:
                return self._network(call.layer, entering, place, path + "/")

        def find(leaf: Ref | VariableRef) -> Any:
            if isinstance(leaf, Ref):
                return tensors[leaf]
            return self._side.layers[leaf.layer].variables[leaf.index]

        call = replace(call, kwargs={**call.kwargs, **_keras.in_inference(layer)})
        outputs = keras.tree.flatten(call_on(layer, call, find))
        seen = self._seen.setdefault(place, _Seen(path, call.layer))
        for tensor in outputs:
            if keras.ops.is_tensor(tensor):
                seen.add(keras.ops.convert_to_numpy(tensor))
        return outputs
