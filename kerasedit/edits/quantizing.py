"""The edit that quantizes layers, as Keras's own `quantize` does it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras

from .. import _keras, garbage
from ..errors import EditError, StructureError, TargetError, reason
from ..graph.build import Built, capture
from ..graph.model_graph import Entry, LayerId, LayerSpec, ModelGraph, Origin, fresh_id
from ..graph.read import layer_config, live_functions, variable_specs
from ..names import listed
from ..targets import Target, is_many, target_text
from ..views import count_bytes
from .base import Edit, Workspace, by_reason, inside
from .weights import called_anew

MODES = ("int8", "int4", "float8")


@dataclass(frozen=True)
class Quantize(Edit):
    """Quantizes the weights of layers, in a mode of Keras's.

    `filters` are regular expressions, one of which is to be found in the name of a layer (or of one
    inside it). `config` is a serialized `keras.quantizers.QuantizationConfig`.
    """

    kind: ClassVar[str] = "quantize"
    checks: ClassVar[Mapping[str, str]] = {"mode": "name"}
    mode: str
    config: Mapping[str, Any] | None = None
    filters: str | tuple[str, ...] | None = None
    target: Target = "**"
    expect: int | None = None

    def describe(self) -> str:
        where = "" if self.target == "**" else f" {target_text(self.target)}"
        named = self.filters or ()
        only = " or ".join(map(repr, (named,) if isinstance(named, str) else named))
        return f"quantize{where} to {self.mode}" + (f", names with {only}" if only else "")

    # -- doing it --------------------------------------------------------------------------------

    def apply(self, work: Workspace) -> None:
        self._check()
        before = work.graph
        entries = self.entries(work)
        for entry in entries:
            work.value(entry.layer, 0)  # of a fresh layer, what it is drawn as is quantized
        built = work.model(work.graph)
        refusals = {entry.layer: self._refusal(work, entry, built) for entry in entries}
        leaves = {
            id(leaf)
            for entry in entries
            if not refusals[entry.layer]
            for leaf in self._leaves(built.layers[entry.layer])
        }
        self._quantize(built.model, leaves)
        found: dict[LayerId, LayerSpec] = {}
        for entry in entries:
            if refusals[entry.layer] or entry.layer in found:
                continue
            spec = _quantized(work.spec(entry.layer), built.layers[entry.layer])
            if spec is None:
                refusals[entry.layer] = _no_mode(self.mode, built.layers[entry.layer])
            elif not _comes_back(work, entry, spec):
                refusals[entry.layer] = (
                    f"a {spec.cls.__name__} made from its configuration is not quantized, so that it "
                    "could not be copied or loaded"
                )
            else:
                found[entry.layer] = spec
        self._require(entries, refusals, found)
        work.swap(found)
        work.infer("error")
        for layer, spec in found.items():
            work.states[spec.id] = capture(built.layers[layer])
        paths = [before.paths[layer] for layer in found]
        told = {before.paths[i]: why for i, why in refusals.items() if why}
        work.report.passed_over |= told
        work.report.notes += [
            f"quantized to {self.mode}: {listed(map(repr, paths))}",
            # What filters= leaves out was not meant.
            *by_reason("not quantized", {p: why for p, why in told.items() if why != _OTHER_NAME}),
            f"bytes of all weights: {count_bytes(before):,} to {count_bytes(work.graph):,}",
        ]

    def _check(self) -> None:
        if self.mode in ("gptq", "awq"):
            raise EditError(
                f"{self.mode} is calibrated layer by layer on the very model that is quantized, so it is "
                "no edit of a copy. Do it last: ed.model.quantize(config=...)."
            )
        if self.mode not in MODES:
            raise EditError(
                f"The mode is one of {', '.join(map(repr, MODES))}, not {self.mode!r:.80}."
            )
        named = self.filters
        for text in (named,) if isinstance(named, str) else named or ():
            try:
                re.compile(text)
            except re.error as problem:
                raise EditError(f"{text!r:.80} is no regular expression: {problem}.") from problem

    def entries(self, work: Workspace) -> list[Entry]:
        """The layers with weights that are named, those inside of a nested model that is named too.

        Raises:
            StructureError: the call of the whole model is Python code.
            TargetError: there are none.
        """
        found = work.find(self.target, self.expect)
        if work.graph.net.opaque:
            work.draft(found[0])
        named = with_weights(work.graph, found)
        if not named:
            raise TargetError(f"{target_text(self.target)} names no layer with weights.")
        return named

    def _leaves(self, layer: Any) -> list[Any]:
        """What Keras looks at one by one in a layer: those inside that hold no others."""
        names = (self.filters,) if isinstance(self.filters, str) else self.filters
        return [
            leaf
            for leaf in _keras.all_layers(layer)
            if not _keras.layers_inside(leaf)
            and leaf.weights
            and (names is None or any(re.search(text, leaf.name) for text in names))
        ]

    def _refusal(self, work: Workspace, entry: Entry, built: Built) -> str:
        """Why a layer with weights is not quantized, as far as that is known before."""
        spec, live = work.spec(entry.layer), built.layers[entry.layer]
        leaves = self._leaves(live)
        if work.graph.net_of(entry.owner).opaque:
            return "it is inside a model whose call is Python code"
        if not leaves:
            return _OTHER_NAME
        if any(leaf.quantization_mode is not None for leaf in leaves):
            return "it is quantized already"
        if spec.ties or any(
            ref.layer == spec.id
            for net in (s.net for s in work.graph.layers.values() if s.net is not None)
            for call in net.calls
            for ref in call.variables
        ):
            return "others share its weights"
        if isinstance(live, keras.layers.TimeDistributed):
            return "TimeDistributed calls the layer inside past its quantization (Keras 3.15)"
        return "" if any(map(_can_be, leaves)) else _no_mode(self.mode, live)

    def _quantize(self, model: keras.Model, leaves: set[int]) -> None:
        config = None if self.config is None else read_config(self.config)
        try:
            with warnings.catch_warnings(), garbage.of_new_objects():
                # Keras warns of every layer that it has no such mode for; the report tells.
                warnings.filterwarnings("ignore", message="Layer .* does not have a `quantize`")
                warnings.filterwarnings("ignore", message=".*quantization mode")
                model.quantize(self.mode, config=config, filters=lambda la: id(la) in leaves)
        except Exception as problem:
            raise EditError(
                f"Keras cannot quantize the model to {self.mode}. It said: {reason(problem)}"
            ) from problem

    def _require(
        self, entries: list[Entry], refusals: Mapping[LayerId, str], found: Mapping[LayerId, Any]
    ) -> None:
        """Raises where nothing was quantized, or not the one layer that is named."""
        alone = not is_many(self.target) and len({e.layer for e in entries}) == 1
        if found and not (alone and any(refusals.values())):
            return
        shown = [
            f"'{entry.path}': {refusals[entry.layer]}" for entry in entries if refusals[entry.layer]
        ]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        raise StructureError(
            f"Nothing can be quantized to {self.mode} there. {'; '.join(shown[:3])}{more}."
        )


def with_weights(graph: ModelGraph, found: list[Entry]) -> list[Entry]:
    """Of layers those with weights; of a nested model those inside."""
    return [entry for entry in inside(graph, found) if graph.layers[entry.layer].weights]


def read_config(config: Any) -> Any:
    """A configuration of quantization from what Keras serialized.

    Raises:
        EditError: it is none.
    """
    try:
        made = keras.saving.deserialize_keras_object(dict(config))
    except Exception as problem:
        raise EditError(f"config= cannot be read: {reason(problem)}") from problem
    if not isinstance(made, keras.quantizers.QuantizationConfig):
        raise EditError(
            f"config= is a keras.quantizers.QuantizationConfig, not a {type(made).__name__}."
        )
    return made


_OTHER_NAME = "its name is none that filters= lets in"


def _can_be(leaf: Any) -> bool:
    """Whether the class of a layer itself says how it is quantized; of subclasses Keras takes none."""
    return "quantize" in vars(type(leaf))


def _no_mode(mode: str, layer: Any) -> str:
    classes = dict.fromkeys(
        type(leaf).__name__ for leaf in _keras.all_layers(layer) if not _keras.layers_inside(leaf)
    )
    return f"Keras has no {mode} for {' and '.join(classes)}"


def _quantized(spec: LayerSpec, live: Any) -> LayerSpec | None:
    """What a layer is now; None where it is as it was. What it goes on with keeps its slots."""
    variables = variable_specs(live)
    before = list(spec.variables or ())
    if [(v.name, v.shape, v.dtype) for v in variables] == [
        (v.name, v.shape, v.dtype) for v in before
    ]:
        return None
    kept = {(v.name, v.shape, v.dtype): index for index, v in enumerate(before)}
    origins = {
        index: Origin(spec.id, kept[v.name, v.shape, v.dtype])
        for index, v in enumerate(variables)
        if (v.name, v.shape, v.dtype) in kept
    }
    config = layer_config(live)
    return replace(
        spec,
        id=fresh_id(),
        config=config,
        functions=live_functions(live, config),
        variables=variables,
        origins=origins,
        heritage=None,
        twin=None,
    )


def _comes_back(work: Workspace, entry: Entry, spec: LayerSpec) -> bool:
    """Whether the layer made from its configuration is quantized too."""
    with _keras.preserved_random(), _keras.deferred():
        fresh = called_anew(work, entry, spec)
    there = [(v.shape, v.dtype) for v in variable_specs(fresh)]
    return there == [(v.shape, v.dtype) for v in spec.variables or ()]
