"""Edits of weights: their values set, scaled, put through a function, or drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import keras
import numpy as np

from ..errors import EditError, ShapeMismatch, StructureError, TargetError
from ..graph.build import call_on, copy_subclass, make_layer
from ..graph.infer import show_shape
from ..graph.model_graph import Entry, LayerId, LayerSpec, Ref, VariableRef, VariableSpec
from ..graph.read import variable_specs
from ..graph.ties import put_in_order
from ..names import listed
from ..targets import Target, is_many, select_weights, target_text
from .base import Edit, NewValues, Workspace, Writer, is_number


@dataclass(frozen=True)
class Place:
    """A weight of a layer: where it stands, its position in `layer.variables`, what it is."""

    entry: Entry
    index: int
    spec: VariableSpec

    @property
    def path(self) -> str:
        return f"{self.entry.path}/{self.spec.name}"


def places(work: Workspace, target: Target, weight: str | None, expect: int | None) -> list[Place]:
    """The weights that a target names, each once; `weight` picks those of one name.

    Raises:
        TargetError: there are none, or the target does not name `expect` layers.
    """
    found: dict[tuple[LayerId, int], Place] = {}
    for entry, index in select_weights(work.graph, target):
        variable = (work.spec(entry.layer).variables or ())[index]
        if weight is None or variable.name == weight or variable.name.endswith("/" + weight):
            found.setdefault((entry.layer, index), Place(entry, index, variable))
    layers = dict.fromkeys(place.entry.path for place in found.values())
    if expect is not None and len(layers) != expect:
        raise TargetError(
            f"{expect} layers were expected and the target names {len(layers)} with weights"
            f"{': ' if layers else ''}{listed(layers)}."
        )
    if not found:
        what = f"a weight '{weight}'" if weight else "weights"
        raise TargetError(f"None of the layers that {target_text(target)} names has {what}.")
    work.report.matched.append((target, tuple(place.path for place in found.values())))
    return list(found.values())


def numeric(work: Workspace, found: list[Place], target: Target) -> list[Place]:
    """The weights among these that can be reckoned with: numbers of floating point.

    Raises:
        EditError: there are none, or the target names a quantized layer alone.
    """
    kept = [p for p in not_quantized(work, found, target) if "float" in p.spec.dtype]
    if not kept:
        kinds = ", ".join(f"'{p.path}' ({p.spec.dtype})" for p in found)
        raise EditError(f"{target_text(target)} names no weights of floating point: {kinds}.")
    return kept


def not_quantized(work: Workspace, found: list[Place], target: Target) -> list[Place]:
    """These weights without those of whole layers of which a quantized one is meant.

    Raises:
        EditError: the target names such a layer alone, or only such.
    """
    quantized = [place for place in found if is_quantized(work, place)]
    packed = {place.entry.layer for place in quantized}
    kept = [place for place in found if place.entry.layer not in packed]
    if quantized and not (kept and is_many(target)):
        raise EditError(
            f"'{quantized[0].path}' is quantized ({quantized[0].spec.dtype}): what its numbers stand "
            "for is told by other weights. Edit the weights before they are quantized, or name those "
            "of the layer that are not."
        )
    return kept


def is_quantized(work: Workspace, place: Place) -> bool:
    """Whether a weight is of Keras's quantization: numbers that a scale beside them goes with."""
    names = {v.name for v in work.spec(place.entry.layer).variables or ()}
    whole = "int" in place.spec.dtype or f"{place.spec.name}_amax_history" in names
    return whole and f"{place.spec.name}_scale" in names


def change_each(
    work: Workspace, found: list[Place], make: Callable[[Place, np.ndarray], Any]
) -> None:
    """Notes new values down: what `make` gives for each weight and its present value."""
    for place in found:

        def value(current: np.ndarray, live: Any, place: Place = place) -> np.ndarray:
            return fitting(make(place, current), place)

        work.values.append(NewValues(place.entry.layer, place.index, place.path, value))


def fitting(value: Any, place: Place) -> np.ndarray:
    """A value in the weight's dtype.

    Raises:
        ShapeMismatch: it has another shape than the weight.
        EditError: it is no array of numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind in "OSUMmc":
        raise EditError(f"The value for '{place.path}' is no array of numbers: {value!r:.80}")
    if array.shape != place.spec.shape:
        raise ShapeMismatch(
            f"The weight '{place.path}' has shape {show_shape(place.spec.shape)}, and the value for it "
            f"{show_shape(array.shape)}. Give one of the weight's shape."
        )
    with np.errstate(all="ignore"):
        found = array.astype(np.dtype(place.spec.dtype))
    if "float" not in place.spec.dtype and not np.array_equal(found, array):
        raise EditError(
            f"The weight '{place.path}' is of dtype {place.spec.dtype}, and the value for it has "
            "numbers that this dtype cannot hold."
        )
    return found


def set_values(
    work: Workspace,
    target: Target,
    found: list[Place],
    arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray],
) -> None:
    """Notes given values down for the weights that a target names.

    Raises:
        TargetError: the name of an array is that of no weight, or of several.
        ShapeMismatch: an array has another shape than its weight, or there are too many or few.
    """
    given = _by_path(target, found, arrays)
    named = [place for place in found if place.path in given]
    change_each(work, named, lambda place, current: given[place.path])
    for place in named:
        fitting(given[place.path], place)  # a preview tells too


def _by_path(target: Target, found: list[Place], arrays: Any) -> dict[str, Any]:
    if isinstance(arrays, Mapping):
        return {_named(target, found, name).path: array for name, array in arrays.items()}
    if len(arrays) != len(found):
        names = ", ".join(f"'{p.path}' {show_shape(p.spec.shape)}" for p in found)
        raise ShapeMismatch(
            f"{target_text(target)} has {len(found)} weights ({names}) and "
            f"{len(arrays)} arrays were given."
        )
    return {place.path: value for place, value in zip(found, arrays, strict=True)}


def _named(target: Target, found: list[Place], name: str) -> Place:
    """The weight of a name or path."""
    named = [place for place in found if name in (place.path, place.spec.name)]
    if len(named) == 1:
        return named[0]
    there = ", ".join(f"'{place.path}'" for place in named or found)
    problem = f"several weights {name!r}" if named else f"no weight {name!r}"
    raise TargetError(f"{target_text(target)} has {problem}. Name one of {there}.")


@dataclass(frozen=True)
class SetWeights(Edit):
    """Gives a layer, or one weight of it, other values."""

    kind: ClassVar[str] = "set_weights"
    target: Target
    arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray] = field(compare=False)
    expect: int | None = None

    def describe(self) -> str:
        return f"set the weights of {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        found = places(work, self.target, None, self.expect)
        set_values(work, self.target, found, self.arrays)


@dataclass(frozen=True)
class ScaleWeights(Edit):
    """Multiplies weights by a number."""

    kind: ClassVar[str] = "scale_weights"
    target: Target
    factor: float
    weight: str | None = None
    expect: int | None = None

    def describe(self) -> str:
        which = f"'{self.weight}'" if self.weight else "the weights"
        return f"scale {which} of {target_text(self.target)} by {self.factor}"

    def apply(self, work: Workspace) -> None:
        if not is_number(self.factor):
            raise EditError(f"A factor is a finite number, not {self.factor!r:.80}.")
        found = places(work, self.target, self.weight, self.expect)
        found = numeric(work, found, self.target)
        change_each(work, found, lambda place, current: current * self.factor)


@dataclass(frozen=True)
class MapWeights(Edit):
    """Puts weights through a function of arrays. As data it is what the function made of them."""

    kind: ClassVar[str] = "map_weights"
    live: ClassVar[tuple[str, ...]] = ("fn",)
    target: Target
    fn: Callable[[np.ndarray], Any] | None = field(default=None, compare=False)
    weight: str | None = None
    expect: int | None = None
    arrays: Mapping[str, np.ndarray] | None = field(default=None, compare=False)

    def describe(self) -> str:
        name = getattr(self.fn, "__name__", "a function")
        return f"map the weights of {target_text(self.target)} by {name}"

    def apply(self, work: Workspace) -> None:
        if self.fn is None and self.arrays is None:
            raise EditError("map_weights needs a function of arrays.")
        if self.fn is not None and not callable(self.fn):
            raise EditError(f"map_weights needs a function of arrays, not {self.fn!r:.80}.")
        found = places(work, self.target, self.weight, self.expect)
        if self.fn is not None:
            change_each(work, numeric(work, found, self.target), self._mapped)
        elif self.arrays is not None:
            set_values(work, self.target, found, self.arrays)

    def _mapped(self, place: Place, current: np.ndarray) -> Any:
        assert self.fn is not None
        try:
            made = self.fn(current.copy())
            return made if made is None else keras.ops.convert_to_numpy(made)
        except Exception as problem:
            raise EditError(f"The function failed on '{place.path}': {problem!r}") from problem

    def recorded(self, values: Mapping[str, np.ndarray]) -> MapWeights:
        return replace(self, arrays=dict(values))

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        if name == "arrays":
            return ""
        if name == "fn":
            return write(name, value)
        return super()._argument(name, value, required, write)


@dataclass(frozen=True)
class Reinitialize(Edit):
    """Draws weights anew from their initializers. As data it has what was drawn, to be repeated."""

    kind: ClassVar[str] = "reinitialize"
    target: Target
    expect: int | None = None
    arrays: Mapping[str, np.ndarray] | None = field(default=None, compare=False)

    def describe(self) -> str:
        return f"reinitialize {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        fresh: dict[LayerId, list[np.ndarray]] = {}

        def drawn(place: Place, live: Any) -> np.ndarray:
            before = self.arrays.get(place.path) if isinstance(self.arrays, Mapping) else None
            if before is not None and before.shape == place.spec.shape:
                return before
            layer = place.entry.layer
            if layer not in fresh:
                fresh[layer] = first_values(work, place.entry, live)
            return fresh[layer][place.index]

        found = places(work, self.target, None, self.expect)
        for place in not_quantized(work, found, self.target):
            work.report.findings.reinitialized.append(place.path)

            def value(current: np.ndarray, live: Any, place: Place = place) -> np.ndarray:
                return fitting(drawn(place, live), place)

            new = NewValues(place.entry.layer, place.index, place.path, value, drawn=True)
            work.values.append(new)

    def recorded(self, values: Mapping[str, np.ndarray]) -> Reinitialize:
        return replace(self, arrays=dict(values))

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        return "" if name == "arrays" else super()._argument(name, value, required, write)


def called_anew(work: Workspace, entry: Entry, spec: LayerSpec, live: Any = None) -> Any:
    """A layer made from its specification, with the variables of one called as that in a place is.

    Args:
        work: has the place.
        entry: the place.
        spec: the layer in it, or one that is to take its place.
        live: the live layer, which tells what shapes it was built for where the wiring is not known.
    """
    of_class = spec.net is not None  # a model with weights of its own, which its class makes
    make = copy_subclass if of_class else make_layer
    layer = make(spec.prototype if of_class else spec, work.custom_objects)
    net = work.graph.net_of(entry.owner)
    if net.opaque and not of_class:
        layer.build_from_config(live.get_build_config() or {})
    elif not layer.built:

        def symbol(leaf: Ref | VariableRef) -> Any:
            if isinstance(leaf, Ref):
                tensor = net.spec(leaf)
                return keras.KerasTensor(tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse)
            variable = (work.spec(leaf.layer).variables or ())[leaf.index]
            return keras.KerasTensor(variable.shape, dtype=variable.dtype)

        call_on(layer, net.calls_of[entry.layer][0], symbol)
    put_in_order(spec, layer)
    return layer


def first_values(work: Workspace, entry: Entry, live: Any) -> list[np.ndarray]:
    """The values that a layer's initializers give, in the order of `layer.variables`.

    Raises:
        StructureError: a fresh layer does not have the variables of this one.
    """
    spec = work.spec(entry.layer)
    layer = called_anew(work, entry, spec, live)
    there = [(v.shape, v.dtype) for v in variable_specs(layer)]
    if there != [(v.shape, v.dtype) for v in spec.variables or ()]:
        raise StructureError(
            f"'{entry.path}' has other variables than a fresh {spec.cls.__name__}, so it cannot be "
            "reinitialized."
        )
    return [keras.ops.convert_to_numpy(variable) for variable in layer.variables]
