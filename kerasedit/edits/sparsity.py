"""The edits that put zeros into weights and hold them there, and that let them go again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from .. import _keras
from ..compress.zeros import (
    KeepsZeros,
    SeesZeros,
    check_sparsity,
    is_held,
    smallest_zeroed,
    two_of_four_zeroed,
)
from ..errors import EditError, StructureError
from ..graph.model_graph import Entry, LayerId, LayerSpec
from ..names import listed
from ..targets import Target, is_many, target_text
from .base import Edit, NewValues, Workspace, by_reason, inside
from .weights import called_anew

Pattern = Literal["magnitude", "2:4"]

# What these are for is no kernel: a zero there saves nothing.
_NOT = ("bias", "beta", "gamma", "activity", "alpha")


@dataclass(frozen=True)
class Sparsify(Edit):
    """Sets the smallest weights of layers to zero, and holds them there in training."""

    kind: ClassVar[str] = "sparsify"
    checks: ClassVar[Mapping[str, str]] = {"sparsity": "share"}
    target: Target
    sparsity: float | None = None
    pattern: Pattern = "magnitude"
    expect: int | None = None

    def describe(self) -> str:
        share = "some" if self.sparsity is None else f"{self.sparsity:.0%}"
        how = "2 of 4" if self.pattern == "2:4" else f"{share} of the"
        return f"set {how} weights of {target_text(self.target)} to zero"

    def apply(self, work: Workspace) -> None:
        self._check()
        found: dict[LayerId, tuple[Entry, LayerSpec, list[int]]] = {}
        entries = with_layers(work, self.target, self.expect)
        for entry in entries:
            if entry.layer in found:
                continue
            spec = work.spec(entry.layer)
            held = replace(spec, config=_changed(spec.config, _hold))
            reason, indexes = self._weights(work, entry, held)
            if not reason:
                found[entry.layer] = entry, held, indexes
            elif spec.weights:
                work.report.passed_over[entry.path] = reason
        self._require(work, entries, found)
        holds = keras.backend.backend() != "jax"
        if holds:
            work.graph = work.graph.with_layers(*(held for _, held, _ in found.values()))
            work.touch(*found)
        total = zeros = 0
        for entry, held, indexes in found.values():
            for index in indexes:
                path = f"{entry.path}/{(held.variables or ())[index].name}"
                now = work.value(entry.layer, index)
                after = self._zeroed(now)
                total, zeros = total + after.size, zeros + int((after == 0).sum())
                make = _constant(self._zeroed)
                work.values.append(NewValues(entry.layer, index, path, make))
        work.infer("error")
        paths = [repr(entry.path) for entry, _, _ in found.values()]
        work.report.notes.append(
            f"zero: {zeros:,} of {total:,} weights ({zeros / total:.1%}) of {listed(paths)}"
        )
        work.report.notes += by_reason("left as it is", work.report.passed_over)
        if not holds:
            work.report.warnings.append(
                "On JAX, a step of training cannot be told what was zero before it: the zeros are not "
                "held."
            )
        if _keras.uses_average((work.settings or {}).get("optimizer")):
            work.report.warnings.append(
                "The optimizer keeps an average of the weights (use_ema) and puts it in their place: it "
                "brings values back where zeros are held."
            )

    def _check(self) -> None:
        if self.pattern not in ("magnitude", "2:4"):
            raise EditError(f"pattern is 'magnitude' or '2:4', not {self.pattern!r:.80}.")
        if self.pattern == "magnitude":
            check_sparsity(self.sparsity)
        elif self.sparsity not in (None, 0.5):
            raise EditError(f"2 of 4 is a sparsity of 0.5, not of {self.sparsity!r:.80}.")

    def _weights(self, work: Workspace, entry: Entry, held: LayerSpec) -> tuple[str, list[int]]:
        """The weights of a layer that zeros are put into, or why there are none."""
        spec = work.spec(entry.layer)
        if work.graph.net_of(entry.owner).opaque:
            return "it is inside a model whose call is Python code", []
        if spec.ties:
            return "others share its weights", []
        if held.config == spec.config and not is_kept(spec):
            return f"{spec.cls.__name__} has no arguments for what holds zeros of a kernel", []
        with _keras.preserved_random(), _keras.deferred():
            fresh = called_anew(work, entry, held)
        if _makes_zeros(held.config):
            return "its constraint NonNeg makes zeros of its own, which would stay", []
        indexes = [i for i, v in enumerate(fresh.variables) if is_held(v) and len(v.shape) > 1]
        if not indexes:
            return "its kernels cannot be held: they are quantized, perhaps", []
        if self.pattern == "2:4":
            plain = (
                keras.layers.Dense,
                keras.layers.Conv1D,
                keras.layers.Conv2D,
                keras.layers.Conv3D,
            )
            if spec.cls not in plain:
                return f"of {spec.cls.__name__} it is not known which axis 2:4 goes along", []
            size = fresh.variables[indexes[0]].shape[-2]
            if size % 4:
                return f"it takes {size} channels, which 4 does not divide", []
        return "", indexes

    def _require(self, work: Workspace, entries: list[Entry], found: Mapping[Any, Any]) -> None:
        missing = list(work.report.passed_over.items())
        if found and (is_many(self.target) or not missing):
            return
        shown = "; ".join(f"'{path}': {reason}" for path, reason in missing[:3])
        raise StructureError(
            f"{target_text(self.target)} names no layer whose weights can be held at zero. {shown}."
            if missing
            else f"{target_text(self.target)} names no layer with weights."
        )

    def _zeroed(self, values: np.ndarray) -> np.ndarray:
        if self.pattern == "2:4":
            return two_of_four_zeroed(values)
        return smallest_zeroed(values, self.sparsity or 0.0)


@dataclass(frozen=True)
class Densify(Edit):
    """Lets zeros go that `Sparsify` holds: they stay zero until they are trained."""

    kind: ClassVar[str] = "densify"
    target: Target = "**"
    expect: int | None = None

    def describe(self) -> str:
        return f"let the zeros of {target_text(self.target)} go"

    def apply(self, work: Workspace) -> None:
        held = {
            entry.layer: work.spec(entry.layer)
            for entry in with_layers(work, self.target, self.expect)
            if is_kept(work.spec(entry.layer))
        }
        if not held:  # as with layers that train already, nothing is to be done
            work.report.notes.append("no zeros were held")
            return
        work.graph = work.graph.with_layers(*map(let_go, held.values()))
        work.touch(*held)
        work.infer("error")


def is_kept(spec: LayerSpec) -> bool:
    """Whether zeros of a layer stay."""
    return _changed(spec.config, _let_go) != spec.config


def let_go(spec: LayerSpec) -> LayerSpec:
    """A layer whose zeros do not stay."""
    return replace(spec, config=_changed(spec.config, _let_go))


def with_layers(work: Workspace, target: Target, expect: int | None) -> list[Entry]:
    """The layers that a target names; of a nested model those inside.

    Raises:
        StructureError: the call of the whole model is Python code.
    """
    found = work.find(target, expect)
    if work.graph.net.opaque:
        work.draft(found[0])
    return inside(work.graph, found)


def _constant(make: Any) -> Any:
    return lambda current, live: make(current)


# -- configurations ------------------------------------------------------------------------------


def _changed(config: Any, change: Any) -> Any:
    """A configuration with what concerns kernels changed, also of layers inside."""
    if isinstance(config, Mapping):
        new = {key: _changed(value, change) for key, value in config.items()}
        for key in config:
            part, _, what = str(key).rpartition("_")
            other = f"{part}_regularizer"
            if what == "constraint" and part not in _NOT and other in config:
                new[key], new[other] = change(config[key], config[other])
        return new
    return [_changed(item, change) for item in config] if type(config) is list else config


def _hold(constraint: Any, regularizer: Any) -> tuple[Any, Any]:
    if _is_ours(constraint):
        return constraint, regularizer
    serialize = keras.saving.serialize_keras_object
    return (
        serialize(KeepsZeros(constraint)),
        serialize(SeesZeros(regularizer)),
    )


def _let_go(constraint: Any, regularizer: Any) -> tuple[Any, Any]:
    if not _is_ours(constraint):
        return constraint, regularizer
    return constraint["config"]["inner"], regularizer["config"]["inner"]


def _is_ours(constraint: Any) -> bool:
    return isinstance(constraint, Mapping) and constraint.get("class_name") == KeepsZeros.__name__


def _makes_zeros(config: Any) -> bool:
    if isinstance(config, Mapping):
        return config.get("class_name") == "NonNeg" or any(map(_makes_zeros, config.values()))
    return isinstance(config, list) and any(map(_makes_zeros, config))
