"""Which layer of one graph is which of another, and which call.

Identities decide where there are any (within an editor), then names, then equal weights, then the
place in the network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..graph.model_graph import Call, CallId, LayerId, LayerSpec, ModelGraph, Network, Ref
from ..names import is_automatic

Label = tuple[int | str, ...]
Print = Callable[[LayerId], Hashable | None]
"""Tells a layer by its class, configuration and weights; None where it has no weights to tell."""

# Pairs of layers to line up in one region: so many unrelated ones take seconds for nothing.
_TOO_MANY = 250_000


def leaves(structure: Any, label: Label = ()) -> Iterator[tuple[Label, Any]]:
    """The tensors and constants in nested arguments, each with the keys that lead to it."""
    if isinstance(structure, Mapping):
        for key in sorted(structure, key=str):
            yield from leaves(structure[key], (*label, key))
    elif isinstance(structure, (list, tuple)):
        for index, item in enumerate(structure):
            yield from leaves(item, (*label, index))
    elif structure is not None:
        yield label, structure


class Wiring:
    """All calls of a graph, those of nested models too, and which model makes them."""

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.calls: dict[CallId, Call] = {}
        self.owner: dict[CallId, LayerId] = {}
        self.calls_of: dict[LayerId, list[Call]] = {graph.root: []}
        self._read(graph.root)

    def _read(self, owner: LayerId) -> None:
        for call in self.graph.net_of(owner).calls:
            self.calls[call.id], self.owner[call.id] = call, owner
            known = call.layer in self.calls_of
            self.calls_of.setdefault(call.layer, []).append(call)
            if not known and self.graph.layers[call.layer].net is not None:
                self._read(call.layer)

    def net(self, layer: LayerId) -> Network | None:
        """The network of a layer that is a model."""
        return self.graph.layers[layer].net

    def takes(self, call: Call) -> list[tuple[Label, Any]]:
        """What a call takes: `Ref`s, and constants that are no defaults, as Keras records some.

        A Sequential gives its layers a tensor and nothing else.
        """
        if self.graph.net_of(self.owner[call.id]).chain:
            return [((0,), ref) for ref in call.refs]
        defaults = _defaults(self.graph.layers[call.layer].cls)
        kwargs = {
            name: value
            for name, value in call.kwargs.items()
            if name not in defaults or not same_constant(value, defaults[name])
        }
        return [*leaves(call.args), *leaves(kwargs)]

    def shapes(self, layer: LayerId) -> tuple[Any, Any]:
        """The shapes that a layer's first call takes and gives."""
        call = self.calls_of[layer][0]
        made = [(self.calls[ref.call].outputs or ())[ref.index] for ref in call.refs]
        return [spec.shape for spec in made], [spec.shape for spec in call.outputs or ()]

    def source(self, ref: Ref) -> Ref:
        """The tensor where it is made, seen through the borders of models with a single call."""
        while True:
            call = self.calls[ref.call]
            net = self.net(call.layer)
            if net is not None and not net.opaque and len(self.calls_of[call.layer]) == 1:
                ref = net.output_refs[ref.index]
                continue
            outer = self._given(call)
            if outer is None:
                return ref
            ref = outer

    def _given(self, call: Call) -> Ref | None:
        """What an input of a nested model is given."""
        owner = self.owner[call.id]
        around = self.calls_of[owner]
        net = self.graph.net_of(owner)
        if len(around) != 1 or Ref(call.id) not in net.input_refs:
            return None
        index = net.input_refs.index(Ref(call.id))
        return around[0].refs[index] if index < len(around[0].refs) else None


class Matching:
    """Which layers and calls of `a` are which of `b`.

    Attributes:
        layers, calls: from identities in `a` to those in `b`.
        layers_back, calls_back: the other way round.
    """

    def __init__(self, a: Wiring, b: Wiring, prints: tuple[Print, Print]) -> None:
        self.a, self.b = a, b
        self._prints = cache(prints[0]), cache(prints[1])
        self.layers: dict[LayerId, LayerId] = {}
        self.layers_back: dict[LayerId, LayerId] = {}
        self.calls: dict[CallId, CallId] = {}
        self.calls_back: dict[CallId, CallId] = {}
        self._pair(a.graph.root, b.graph.root)
        self._by_identity()
        # Each reason is asked only when no stronger one finds any more.
        reasons = (
            self._by_chosen_name,
            self._by_weights,
            self._by_name,
            self._calls_that_take_the_same,
            self._by_place,
            self._by_region,
            self._by_name_of_op,
            self._other_calls,
        )
        asked = 0
        while asked < len(reasons):
            asked = 0 if reasons[asked]() else asked + 1

    # -- looking ---------------------------------------------------------------------------------

    def same_tensor(self, a: Ref, b: Ref) -> bool:
        """Whether a tensor of `a` is that of `b`: an output of the same call.

        One that crosses the border of a nested model is also looked at where it is made, so that
        nothing is another tensor for a model that was unpacked.
        """
        return self._same(a, b) or self._same(self.a.source(a), self.b.source(b))

    def _same(self, a: Ref, b: Ref) -> bool:
        return a.index == b.index and self.calls.get(a.call) == b.call

    def same_leaves(self, a: list[tuple[Label, Any]], b: list[tuple[Label, Any]]) -> bool:
        """Whether nested arguments are the same: labels, tensors and constants."""
        return len(a) == len(b) and all(
            x == y and self._same_leaf(left, right)
            for (x, left), (y, right) in zip(a, b, strict=True)
        )

    def _same_leaf(self, a: Any, b: Any) -> bool:
        if isinstance(a, Ref) and isinstance(b, Ref):
            return self.same_tensor(a, b)
        return not isinstance(a, Ref) and not isinstance(b, Ref) and same_constant(a, b)

    def _same_refs(self, a: Call, b: Call) -> bool:
        return len(a.refs) == len(b.refs) and all(map(self.same_tensor, a.refs, b.refs))

    def _networks(self, wired: bool = True) -> list[tuple[Network, Network]]:
        """The networks of models that match; `wired` leaves out those that are Python code."""
        pairs = [(self.a.net(a), self.b.net(b)) for a, b in self.layers.items()]
        return [
            (a, b)
            for a, b in pairs
            if a is not None and b is not None and not (wired and (a.opaque or b.opaque))
        ]

    def _open(self, a: Network, b: Network) -> tuple[list[LayerId], list[LayerId]]:
        """The layers of two networks that have no match yet."""
        return (
            [layer for layer in a.calls_of if layer not in self.layers],
            [layer for layer in b.calls_of if layer not in self.layers_back],
        )

    def _pair(self, a: LayerId, b: LayerId) -> None:
        self.layers[a], self.layers_back[b] = b, a

    def _pair_calls(self, a: Call, b: Call) -> None:
        self.calls[a.id], self.calls_back[b.id] = b.id, a.id

    # -- reasons ---------------------------------------------------------------------------------

    def _by_identity(self) -> None:
        """Layers that both graphs know, and those that took over weights from one that is gone."""
        for layer in self.b.calls_of:
            if layer in self.a.calls_of and layer not in self.layers:
                self._pair(layer, layer)
        for layer in self.b.calls_of:
            if layer in self.layers_back:
                continue
            for ancestor in _ancestors(self.b.graph, layer):
                if ancestor in self.a.calls_of and ancestor not in self.layers:
                    self._pair(ancestor, layer)
                    break

    def _by_chosen_name(self) -> bool:
        return self._named(lambda spec: spec.kind != "op" and not _automatic(spec))

    def _by_name(self) -> bool:
        return self._named(lambda spec: spec.kind != "op")

    def _by_name_of_op(self) -> bool:
        return self._named(lambda spec: spec.kind == "op")

    def _named(self, meant: Callable[[LayerSpec], bool]) -> bool:
        """Layers of one name in networks that match."""
        found = False
        for net_a, net_b in self._networks(wired=False):
            mine, theirs = self._open(net_a, net_b)
            named = {self.a.graph.layers[layer].name: layer for layer in mine}
            for b in theirs:
                right = self.b.graph.layers[b]
                a = named.get(right.name)
                if a is None:
                    continue
                left = self.a.graph.layers[a]
                if meant(left) and meant(right) and _alike(left, right):
                    self._pair(a, b)
                    found = True
        return found

    def _by_weights(self) -> bool:
        """Layers of the same class, configuration and weights: of one path, or where there is no
        other such layer."""
        classes = [
            {i: class_of(wiring.graph.layers[i]) for i in wiring.calls_of if i not in known}
            for wiring, known in ((self.a, self.layers), (self.b, self.layers_back))
        ]
        common = set(classes[0].values()) & set(classes[1].values())  # no others need be read
        groups: dict[Hashable, tuple[list[LayerId], list[LayerId]]] = {}
        for side in (0, 1):
            for layer, cls in classes[side].items():
                told = self._prints[side](layer) if cls in common else None
                if told is not None:
                    groups.setdefault(told, ([], []))[side].append(layer)
        found = False
        for mine, theirs in groups.values():
            paths = {self.a.graph.paths[layer]: layer for layer in mine}
            pairs = [(paths.get(self.b.graph.paths[layer]), layer) for layer in theirs]
            if not any(a is not None for a, _ in pairs) and len(mine) == len(theirs) == 1:
                pairs = [(mine[0], theirs[0])]
            for a, b in pairs:
                if a is not None:
                    self._pair(a, b)
                    found = True
        return found

    def _calls_that_take_the_same(self) -> bool:
        found = False
        for b in self.b.calls.values():
            a = self._same_call(b) if b.id not in self.calls_back else None
            if a is not None:
                self._pair_calls(a, b)
                found = True
        return found

    def _same_call(self, b: Call) -> Call | None:
        layer = self.layers_back.get(b.layer)
        if layer is None:
            return None
        mine = self.a.calls_of[layer]
        free = [call for call in mine if call.id not in self.calls]
        if len(mine) == len(self.b.calls_of[b.layer]) == 1:
            return free[0]
        for call in free:
            if call.id == b.id:
                return call
        takes = self.b.takes(b)
        return next((c for c in free if self.same_leaves(self.a.takes(c), takes)), None)

    def _other_calls(self) -> bool:
        """The remaining calls of a layer, in order."""
        for a, b in self.layers.items():
            mine = [call for call in self.a.calls_of[a] if call.id not in self.calls]
            theirs = [call for call in self.b.calls_of[b] if call.id not in self.calls_back]
            for left, right in zip(mine, theirs, strict=False):
                self._pair_calls(left, right)
            if mine and theirs:
                return True
        return False

    def _by_place(self) -> bool:
        """Layers of one class that take the same, and from which data goes the same way."""
        found = False
        for net_a, net_b in self._networks():
            for left, right in zip(net_a.input_refs, net_b.input_refs, strict=False):
                a, b = net_a.by_id[left.call].layer, net_b.by_id[right.call].layer
                if a not in self.layers and b not in self.layers_back:
                    self._pair(a, b)
                    self._pair_calls(net_a.by_id[left.call], net_b.by_id[right.call])
                    found = True
            mine, theirs = self._open(net_a, net_b)
            if not mine or not theirs:
                continue
            ends_a, ends_b = self._ends(net_a, self.calls), self._ends(net_b, None)
            for b in theirs:
                fits = [
                    a
                    for a in self._takers(net_a, net_b.calls_of[b][0])
                    if class_of(self.a.graph.layers[a]) == class_of(self.b.graph.layers[b])
                    and self._placed_as(net_a.calls_of[a], net_b.calls_of[b])
                    and _union(ends_a, net_a, a) == _union(ends_b, net_b, b)
                ]
                if not fits:
                    continue
                a = self._likeliest(fits, b, net_a, net_b)
                self._pair(a, b)
                for left, right in zip(net_a.calls_of[a], net_b.calls_of[b], strict=True):
                    self._pair_calls(left, right)
                found = True
        return found

    def _takers(self, net_a: Network, call: Call) -> list[LayerId]:
        """The layers without a match that take what a call takes first."""
        source = self.calls_back.get(call.refs[0].call) if call.refs else None
        takers = [] if source is None else net_a.consumers.get(source, [])
        return [c for c in dict.fromkeys(t.layer for t in takers) if c not in self.layers]

    def _placed_as(self, mine: list[Call], theirs: list[Call]) -> bool:
        return len(mine) == len(theirs) and all(map(self._same_refs, mine, theirs))

    def _likeliest(
        self, fits: list[LayerId], b: LayerId, net_a: Network, net_b: Network
    ) -> LayerId:
        """Of several layers at one place: one of the same configuration, then one with which the
        same is done, then the first."""
        config = self.b.graph.layers[b].config
        alike = [a for a in fits if _equal(self.a.graph.layers[a].config, config)] or fits
        uses = self._uses(net_b, b, None)
        return next((a for a in alike if self._uses(net_a, a, self.calls) == uses), alike[0])

    @staticmethod
    def _uses(
        net: Network, layer: LayerId, to: Mapping[CallId, CallId] | None
    ) -> list[tuple[CallId | None, int]]:
        """Which calls take what a layer puts out, and as which of their tensors."""
        return [
            (taker.id if to is None else to.get(taker.id), index)
            for call in net.calls_of[layer]
            for taker in net.consumers.get(call.id, [])
            for index, ref in enumerate(taker.refs)
            if ref.call == call.id
        ]

    def _ends(
        self, net: Network, to: Mapping[CallId, CallId] | None, *, up: bool = False
    ) -> dict[CallId, frozenset[Any]]:
        """For each call, where data goes (or with `up`, comes from) through calls without a match.

        Told by the calls of `b` that match (`to` leads there from `a`), and the model's outputs.
        """
        known = self.calls_back if to is None else self.calls
        outputs = {ref.call for ref in net.output_refs}
        ends: dict[CallId, frozenset[Any]] = {}
        for call in net.calls if up else reversed(net.calls):
            beside: Iterable[CallId] = (
                [ref.call for ref in call.refs]
                if up
                else [taker.id for taker in net.consumers.get(call.id, [])]
            )
            found: set[Any] = {"output"} if not up and call.id in outputs else set()
            for other in beside:
                if other not in known:
                    found |= ends[other]
                else:
                    found.add(other if to is None else to[other])
            ends[call.id] = frozenset(found)
        return ends

    def _by_region(self) -> bool:
        """Layers between the same borders: lined up by class, and one for one where others stand."""
        found = False
        for net_a, net_b in self._networks():
            mine, theirs = self._open(net_a, net_b)
            if not mine or not theirs:
                continue
            regions: dict[Hashable, tuple[list[LayerId], list[LayerId]]] = {}
            for side, net, layers, to in (
                (0, net_a, mine, self.calls),
                (1, net_b, theirs, None),
            ):
                up, down = self._ends(net, to, up=True), self._ends(net, to)
                for layer in layers:
                    borders = _union(up, net, layer), _union(down, net, layer)
                    regions.setdefault(borders, ([], []))[side].append(layer)
            for region in regions.values():
                for a, b in self._lined_up(*region):
                    self._pair(a, b)
                    found = True
        return found

    def _lined_up(
        self, mine: list[LayerId], theirs: list[LayerId]
    ) -> list[tuple[LayerId, LayerId]]:
        specs = self.a.graph.layers, self.b.graph.layers
        mine = [layer for layer in mine if specs[0][layer].kind != "input"]
        theirs = [layer for layer in theirs if specs[1][layer].kind != "input"]
        if len(mine) * len(theirs) > _TOO_MANY:
            return []
        classes = [class_of(specs[0][i]) for i in mine], [class_of(specs[1][i]) for i in theirs]
        pairs: list[tuple[LayerId, LayerId]] = []
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, *classes, autojunk=False).get_opcodes():
            if kind == "equal" or (kind == "replace" and i2 - i1 == j2 - j1):
                pairs += zip(mine[i1:i2], theirs[j1:j2], strict=True)
            elif kind == "replace":
                pairs += self._of_one_shape(mine[i1:i2], theirs[j1:j2])
        return pairs

    def _of_one_shape(
        self, mine: list[LayerId], theirs: list[LayerId]
    ) -> Iterator[tuple[LayerId, LayerId]]:
        """Of so many for so many others, those that alone take and give tensors of the same shapes."""
        shapes = [self.a.shapes(i) for i in mine], [self.b.shapes(i) for i in theirs]
        for a, found in zip(mine, shapes[0], strict=True):
            if shapes[0].count(found) == shapes[1].count(found) == 1:
                yield a, theirs[shapes[1].index(found)]


def class_of(spec: LayerSpec) -> tuple[str, str]:
    """The module and name of a layer's class, which a cell that was run again may have made twice.

    A plain model is what its network makes of it: a Sequential that is no chain any more is none.
    """
    if spec.net is not None and spec.prototype is None:
        return "keras", "Sequential" if spec.net.chain else "Functional"
    return spec.cls.__module__, spec.cls.__qualname__


def class_name(spec: LayerSpec) -> str:
    """The class of a layer, to be shown."""
    return class_of(spec)[1].rsplit(".", 1)[-1]


def same_constant(a: Any, b: Any) -> bool:
    """Whether two arguments that are no tensors are equal."""
    if hasattr(a, "__array__") or hasattr(b, "__array__"):
        left, right = np.asarray(a), np.asarray(b)
        return left.shape == right.shape and left.tobytes() == right.tobytes()
    return _equal(a, b)


@lru_cache
def _defaults(cls: type) -> dict[str, Any]:
    """The arguments of a class's `call` that have a default."""
    try:
        parameters = inspect.signature(cls.call).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b or (a != a and b != b))
    except Exception:  # what a custom class or an array makes of ==
        return False


def _automatic(spec: LayerSpec) -> bool:
    return is_automatic(spec.name, spec.cls.__name__)


def _alike(a: LayerSpec, b: LayerSpec) -> bool:
    """Inputs go with inputs and raw ops with raw ops, whatever they are called."""
    return all((a.kind == kind) == (b.kind == kind) for kind in ("input", "op"))


def _union(ends: Mapping[CallId, frozenset[Any]], net: Network, layer: LayerId) -> frozenset[Any]:
    return frozenset().union(*(ends[call.id] for call in net.calls_of[layer]))


def _ancestors(graph: ModelGraph, layer: LayerId) -> Iterator[LayerId]:
    """The layers whose weights a layer took over, the nearest first."""
    waiting, seen = [layer], {layer}
    for current in waiting:
        spec = graph.layers.get(current)
        if spec is None:
            continue
        before = [origin.layer for origin in spec.origins.values()]
        for older in before if spec.twin is None else [*before, spec.twin]:
            if older not in seen:
                seen.add(older)
                waiting.append(older)
                yield older
