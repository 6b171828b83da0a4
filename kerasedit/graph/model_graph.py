"""An immutable picture of a Keras model.

A `ModelGraph` knows layers, their calls and the wiring between them; it knows no weights. Every
layer of every nesting level stands once in `ModelGraph.layers`; a layer that is itself a model has a
`Network`, the calls inside it. An edit makes a new graph that shares all it did not change with the
old one, so undo is going back to the previous object.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

LayerId = int
CallId = int
Kind = Literal["layer", "op", "input", "model"]

_ids = itertools.count(1)


def fresh_id() -> int:
    """An identity that no layer, call or structure of this process has had before."""
    return next(_ids)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What is known of a tensor without computing it. `shape` has None where a size is open."""

    shape: tuple[int | None, ...]
    dtype: str
    sparse: bool = False
    ragged: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """An edge's end: output number `index` (flattened) of a call."""

    call: CallId
    index: int = 0


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """A variable of a layer. `name` is relative to the layer: `kernel`, `forward_lstm/bias`.

    `weight` is False for state that Keras does not count as a weight, such as a dropout's seed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    weight: bool = True
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a variable of a new layer takes its value from: a variable of an earlier layer.

    With `overlap`, only the part that both shapes share is taken and the rest starts fresh.
    """

    layer: LayerId
    index: int
    overlap: bool = False


@dataclass(frozen=True)
class LayerSpec:
    """A layer without its weights: enough to make another of the same kind.

    `prototype` stands in for `config` where a config cannot tell the whole: a raw op (copied as it
    is), a live `Lambda`, or a model of a class of its own. `variables` is None until the layer was
    built or inferred. `origins` maps positions in `variables` to where their first values come
    from; `heritage` is what a replacement may inherit, until inference knows its own weights (None
    for what replaces nothing). `functions` are live arguments that the config can only name.
    """

    id: LayerId
    kind: Kind
    name: str
    cls: type
    config: Mapping[str, Any] | None = None
    variables: tuple[VariableSpec, ...] | None = None
    net: Network | None = None
    prototype: Any = None
    origins: Mapping[int, Origin] = field(default_factory=dict)
    heritage: tuple[Origin, ...] | None = None
    functions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> tuple[VariableSpec, ...]:
        return tuple(v for v in self.variables or () if v.weight)


@dataclass(frozen=True)
class Call:
    """One call of a layer: nested arguments whose tensors are `Ref`s, and its flat outputs.

    `outputs` is None while they have not been inferred; `stale` are those of before a rewiring.
    """

    id: CallId
    layer: LayerId
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[TensorSpec, ...] | None = None
    stale: bool = False

    @cached_property
    def refs(self) -> tuple[Ref, ...]:
        """The tensors that this call takes, in the order of its arguments."""
        return tuple(iter_refs((self.args, self.kwargs)))


@dataclass(frozen=True)
class Network:
    """The calls of a model in the order data flows, and which tensors enter and leave.

    `inputs` and `outputs` are nested structures of `Ref`s as the model was made with. `chain` marks
    a Sequential. `opaque` marks a model whose wiring is Python code: its layers are listed, and
    nothing is known of the edges. `output_names` has a name per flat output.
    """

    calls: tuple[Call, ...]
    inputs: Any
    outputs: Any
    chain: bool = False
    opaque: bool = False
    output_names: tuple[str, ...] = ()

    @cached_property
    def by_id(self) -> dict[CallId, Call]:
        return {call.id: call for call in self.calls}

    @cached_property
    def consumers(self) -> dict[CallId, list[Call]]:
        """Which calls take an output of a call."""
        found: dict[CallId, list[Call]] = {}
        for call in self.calls:
            for source in dict.fromkeys(ref.call for ref in call.refs):
                found.setdefault(source, []).append(call)
        return found

    @cached_property
    def calls_of(self) -> dict[LayerId, list[Call]]:
        """The calls of each layer, in data order."""
        found: dict[LayerId, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.layer, []).append(call)
        return found

    @cached_property
    def output_refs(self) -> tuple[Ref, ...]:
        return tuple(iter_refs(self.outputs))

    @cached_property
    def input_refs(self) -> tuple[Ref, ...]:
        return tuple(iter_refs(self.inputs))

    def spec(self, ref: Ref) -> TensorSpec:
        outputs = self.by_id[ref.call].outputs
        assert outputs is not None, "asked for the shape of a call that was not inferred"
        return outputs[ref.index]

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        return tuple(self.spec(ref) for ref in self.output_refs)


@dataclass(frozen=True)
class Entry:
    """Where a layer stands: its path, and the model (by identity) whose network calls it."""

    path: str
    layer: LayerId
    owner: LayerId
    level: int


@dataclass(frozen=True)
class ModelGraph:
    """A whole model. `structure` is a token that changes with everything but flags."""

    root: LayerId
    layers: Mapping[LayerId, LayerSpec]
    flags: Mapping[LayerId, bool]
    structure: int = field(default_factory=fresh_id)

    # -- looking ---------------------------------------------------------------------------------

    @property
    def net(self) -> Network:
        return self.net_of(self.root)

    def net_of(self, model: LayerId) -> Network:
        net = self.layers[model].net
        assert net is not None, "asked for the network of a layer that is no model"
        return net

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every layer once per place, in data order, nested layers after their model."""
        return tuple(self._walk(self.root, "", 1))

    def _walk(self, owner: LayerId, prefix: str, level: int) -> Iterator[Entry]:
        for layer_id in self.net_of(owner).calls_of:
            spec = self.layers[layer_id]
            path = prefix + spec.name
            yield Entry(path, layer_id, owner, level)
            if spec.net is not None:
                yield from self._walk(layer_id, path + "/", level + 1)

    @cached_property
    def by_path(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.entries}

    @cached_property
    def paths(self) -> dict[LayerId, str]:
        """The first path of each layer."""
        found: dict[LayerId, str] = {}
        for entry in self.entries:
            found.setdefault(entry.layer, entry.path)
        return found

    @cached_property
    def effective_flags(self) -> dict[LayerId, bool]:
        """Whether a layer trains: its own flag and that of the whole model.

        Keras asks no model in between; setting the flag of one sets those of all inside it.
        """
        whole = self.flags.get(self.root, True)
        return {e.layer: whole and self.flags.get(e.layer, True) for e in self.entries}

    # -- changing --------------------------------------------------------------------------------

    def with_layers(
        self, *specs: LayerSpec, flags: Mapping[LayerId, bool] | None = None
    ) -> ModelGraph:
        """Another structure, with these layers added or in place of those of the same identity."""
        return ModelGraph(
            self.root,
            {**self.layers, **{spec.id: spec for spec in specs}},
            {**self.flags, **(flags or {})},
        )

    def with_flags(self, flags: Mapping[LayerId, bool]) -> ModelGraph:
        """The same structure with other flags."""
        return replace(self, flags={**self.flags, **flags})

    def compact(self) -> ModelGraph:
        """The same structure without layers that nothing leads to."""
        needed: set[LayerId] = set()
        waiting = [self.root]
        while waiting:
            layer_id = waiting.pop()
            if layer_id in needed or layer_id not in self.layers:
                continue
            needed.add(layer_id)
            spec = self.layers[layer_id]
            waiting.extend(
                origin.layer for origin in (*spec.origins.values(), *(spec.heritage or ()))
            )
            if spec.net is not None:
                waiting.extend(spec.net.calls_of)
        if len(needed) == len(self.layers):
            return self
        return replace(
            self,
            layers={i: spec for i, spec in self.layers.items() if i in needed},
            flags={i: flag for i, flag in self.flags.items() if i in needed},
        )


def iter_refs(structure: Any) -> Iterator[Ref]:
    """Every `Ref` in a nested structure, in a fixed order (dicts by sorted key, as Keras's tree)."""
    if isinstance(structure, Ref):
        yield structure
    elif isinstance(structure, Mapping):
        for key in _keys(structure):
            yield from iter_refs(structure[key])
    elif isinstance(structure, (list, tuple)):
        for item in structure:
            yield from iter_refs(item)


def map_leaves(fn: Any, structure: Any) -> Any:
    """The structure with `fn` applied to every leaf: what is no list, tuple or dict."""
    if isinstance(structure, Mapping):
        return {key: map_leaves(fn, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        items = [map_leaves(fn, item) for item in structure]
        if isinstance(structure, tuple) and hasattr(structure, "_fields"):
            return type(structure)(*items)
        return type(structure)(items) if type(structure) in (list, tuple) else items
    return fn(structure)


def map_refs(fn: Any, structure: Any) -> Any:
    """The structure with `fn` applied to every `Ref`; other leaves stay."""
    return map_leaves(lambda leaf: fn(leaf) if isinstance(leaf, Ref) else leaf, structure)


def _keys(mapping: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(mapping)
    except TypeError:
        return list(mapping)
