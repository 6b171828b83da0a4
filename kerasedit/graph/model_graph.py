"""An immutable picture of a Keras model.

A `ModelGraph` knows layers, their calls and the wiring between them; it knows no weights. Every
layer of every nesting level stands once in `ModelGraph.layers`; a layer that is itself a model has a
`Network`, the calls inside it. An edit makes a new graph that shares all it did not change with the
old one, so undo is going back to the previous object.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

LayerId = int
CallId = int
Place = tuple[int | str, ...]
Kind = Literal["layer", "op", "input", "model"]
Kept = tuple[tuple[int, ...] | None, ...]

Leaf = TypeVar("Leaf")

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
class VariableRef:
    """A layer's variable in the arguments of a call: `ops.einsum("btd,vd->btv", x, e.embeddings)`."""

    layer: LayerId
    index: int


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """A variable of a layer. `name` is relative to the layer: `kernel`, `forward_lstm/bias`.

    `weight` is False for state that Keras does not count as a weight, such as a dropout's seed.
    `shared` is a token that the variable has in all layers that it is in, where these are several.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    weight: bool = True
    trainable: bool = True
    shared: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a variable of a new layer takes its value from: a variable of an earlier layer.

    With `overlap`, only the part that both shapes share is taken and the rest starts fresh. `kept`
    has the positions that are taken of each axis, one several times perhaps and -1 for a new one
    (zeros); None for all of it. `make` reckons the value from that, and from the variables of `also`.
    """

    layer: LayerId
    index: int
    overlap: bool = False
    kept: Kept | None = None
    make: Callable[..., np.ndarray] | None = None
    also: tuple[Origin, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the value is taken over as it is."""
        return not self.overlap and self.kept is None and self.make is None

    @property
    def sources(self) -> tuple[Origin, ...]:
        """This one and those that the value is reckoned from beside it."""
        return (self, *self.also)


@dataclass(frozen=True)
class LayerSpec:
    """A layer without its weights: enough to make another of the same kind.

    `prototype` stands in for `config` where a config cannot tell the whole: a raw op (copied as it
    is), a live `Lambda`, or a model of a class of its own. `variables` is None until the layer was
    built or inferred. `origins` maps positions in `variables` to where their first values come
    from; `heritage` is what a replacement may inherit, until inference knows its own weights (None
    for what replaces nothing). `twin` is the layer that a duplicate starts equal to. `functions` are
    live arguments that the config can only name. `ties` are the places in the layer of what other
    layers hold too, each with the token that it has there (see `ties.py`). `problem` says why a
    layer cannot be made again: inside a model that its own class makes, nothing has to.
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
    twin: LayerId | None = None
    functions: Mapping[str, Any] = field(default_factory=dict)
    ties: Mapping[Place, int] = field(default_factory=dict)
    problem: str = ""

    @cached_property
    def shared(self) -> tuple[tuple[int, int], ...]:
        """The positions and tokens of the variables that other layers have too."""
        variables = enumerate(self.variables or ())
        return tuple((i, v.shared) for i, v in variables if v.shared is not None)

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

    @cached_property
    def variables(self) -> tuple[VariableRef, ...]:
        """The variables of layers that this call takes."""
        return tuple(iter_leaves(VariableRef, (self.args, self.kwargs)))


@dataclass(frozen=True)
class Network:
    """The calls of a model in the order data flows, and which tensors enter and leave.

    `inputs` and `outputs` are nested structures of `Ref`s as the model was made with. `chain` marks
    a Sequential. `opaque` marks a model whose wiring is Python code: its layers are listed, and
    nothing is known of the edges. `output_names` has a name per flat output, and `output_ids` an
    identity that stays when it is renamed or another layer becomes it: its loss goes by that.
    """

    calls: tuple[Call, ...]
    inputs: Any
    outputs: Any
    chain: bool = False
    opaque: bool = False
    output_names: tuple[str, ...] = ()
    output_ids: tuple[int, ...] = ()

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
    def takes_variables(self) -> bool:
        """Whether a call takes a variable of a layer."""
        return any(call.variables for call in self.calls)

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


class Entry(NamedTuple):
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

    @cached_property
    def owners(self) -> dict[int, list[tuple[LayerId, int]]]:
        """The layers in which each shared variable is, with its position among their variables."""
        found: dict[int, list[tuple[LayerId, int]]] = {}
        for layer_id in self.paths:
            for index, token in self.layers[layer_id].shared:
                found.setdefault(token, []).append((layer_id, index))
        return found

    def held_by(self, layer: LayerId) -> set[int]:
        """What a layer shares with others: variables by their tokens, and layers it has inside."""
        spec = self.layers[layer]
        found = {v.shared for v in spec.variables or () if v.shared is not None}
        if spec.ties:
            inside = set(spec.ties.values())
            found.update(i for i in self.paths if self.layers[i].ties.get(()) in inside)
        return found - {layer}

    def lets_train(self, token: int) -> bool:
        """The flag of a shared variable: it has one of its own, set with that of any of its layers."""
        flag = self.flags.get(token)
        if flag is None:
            return all(self.flags.get(layer, True) for layer, _ in self.owners[token])
        return flag

    def trains(self, layer: LayerId, variable: VariableSpec) -> bool:
        """Whether training changes a variable of a layer."""
        if variable.shared is None:
            flag = self.effective_flags.get(layer, True)
        else:
            flag = self.flags.get(self.root, True) and self.lets_train(variable.shared)
        return variable.trainable and flag

    @property
    def identities(self) -> set[int]:
        """All that values are kept for: the layers, and the variables that layers share."""
        return {*self.layers, *(token for s in self.layers.values() for _, token in s.shared)}

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
                origin.layer
                for first in (*spec.origins.values(), *(spec.heritage or ()))
                for origin in first.sources
            )
            if spec.twin is not None:
                waiting.append(spec.twin)
            if spec.net is not None:
                waiting.extend(call.layer for call in spec.net.calls)
        if len(needed) == len(self.layers):
            return self
        layers = {i: spec for i, spec in self.layers.items() if i in needed}
        needed.update(
            v.shared for spec in layers.values() for v in spec.variables or () if v.shared
        )
        return replace(
            self, layers=layers, flags={i: f for i, f in self.flags.items() if i in needed}
        )

    def rest(self, current: ModelGraph) -> None:
        """Lets go of what was looked up, for a graph that the history keeps; it is found again.

        Args:
            current: the graph in use, whose networks keep what they looked up.
        """
        in_use = {id(spec.net) for spec in current.layers.values() if spec.net is not None}
        nets = [spec.net for spec in self.layers.values() if spec.net is not None]
        for part in (self, *(net for net in nets if id(net) not in in_use)):
            for name in vars(part).keys() - {f.name for f in fields(part)}:
                vars(part).pop(name, None)  # another thread may have done so


def iter_refs(structure: Any) -> Iterator[Ref]:
    """Every `Ref` in a nested structure, in a fixed order (dicts by sorted key, as Keras's tree)."""
    return iter_leaves(Ref, structure)


def iter_leaves(cls: type[Leaf], structure: Any) -> Iterator[Leaf]:
    """Every leaf of a class in a nested structure, in the same order."""
    if isinstance(structure, cls):
        yield structure
    elif isinstance(structure, Mapping):
        for key in _keys(structure):
            yield from iter_leaves(cls, structure[key])
    elif isinstance(structure, (list, tuple)):
        for item in structure:
            yield from iter_leaves(cls, item)


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
