"""Rewiring one network: a draft that edits change, and that becomes a network again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .model_graph import Call, CallId, LayerId, Network, Ref, fresh_id, iter_refs, map_refs


class Draft:
    """A network in the making. Calls stay in an order in which data flows."""

    def __init__(self, net: Network) -> None:
        self._net = net
        self.calls: list[Call] = list(net.calls)
        self.inputs = net.inputs
        self.outputs = net.outputs
        self.output_names = net.output_names
        self.output_ids = net.output_ids

    def call(
        self, layer: LayerId, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> Ref:
        """Adds a call right behind the last of what it takes; returns its first output."""
        added = Call(fresh_id(), layer, args, dict(kwargs or {}))
        producers = {ref.call for ref in added.refs}
        position = 0
        for index, call in enumerate(self.calls):
            if call.id in producers:
                position = index + 1
        self.calls.insert(position, added)
        return Ref(added.id)

    def redirect(
        self,
        old: Ref,
        new: Ref,
        *,
        only: Collection[CallId] | None = None,
        keep: Collection[CallId] = (),
    ) -> None:
        """Lets what takes `old` take `new`: all calls and the outputs, or `only` some calls.

        `keep` names calls that go on taking `old`.
        """

        def change(ref: Ref) -> Ref:
            return new if ref == old else ref

        for index, call in enumerate(self.calls):
            if (
                call.id in keep
                or (only is not None and call.id not in only)
                or old not in call.refs
            ):
                continue
            self.calls[index] = replace(
                call,
                args=map_refs(change, call.args),
                kwargs=map_refs(change, call.kwargs),
                stale=True,
            )
        if only is None:
            self.outputs = map_refs(change, self.outputs)

    def put_out(self, outputs: Any, names: Mapping[Ref, str]) -> None:
        """Makes a structure of tensors the outputs; `names` has those of new ones.

        What was an output before keeps its name and identity.
        """
        known: dict[Ref, list[tuple[str, int]]] = {}
        before = zip(iter_refs(self.outputs), self.output_names, self.output_ids, strict=False)
        for ref, name, identity in before:
            known.setdefault(ref, []).append((name, identity))
        found = [
            known[ref].pop(0) if known.get(ref) else (names[ref], fresh_id())
            for ref in iter_refs(outputs)
        ]
        self.outputs = outputs
        self.output_names = tuple(name for name, _ in found)
        self.output_ids = tuple(identity for _, identity in found)

    def discard(self, calls: Iterable[CallId]) -> None:
        """Takes calls out; whatever took their outputs must have been redirected before."""
        gone = set(calls)
        self.calls = [call for call in self.calls if call.id not in gone]

    def splice(
        self,
        block: Network,
        inputs: Sequence[Ref],
        also: Callable[[LayerId], Mapping[str, Any]] = lambda layer: {},
    ) -> list[Ref]:
        """Adds the calls of another network on the given tensors; returns what comes out.

        `also` gives arguments that the calls of a layer get beside their own.
        """
        given: dict[Ref, Ref] = dict(zip(block.input_refs, inputs, strict=True))
        entries = {ref.call for ref in block.input_refs}
        made: dict[CallId, CallId] = {}

        def move(ref: Ref) -> Ref:
            return given[ref] if ref in given else Ref(made[ref.call], ref.index)

        for call in block.calls:
            if call.id in entries:
                continue
            kwargs = {**also(call.layer), **call.kwargs}
            first = self.call(
                call.layer,
                map_refs(move, call.args),
                {name: map_refs(move, value) for name, value in kwargs.items()},
            )
            made[call.id] = first.call
        return [move(ref) for ref in block.output_refs]

    def change(self, call: CallId, **values: Any) -> None:
        """Gives a call other arguments (or another layer); it is inferred anew."""
        self.calls = [replace(c, **values, stale=True) if c.id == call else c for c in self.calls]

    def finish(
        self, *, drop_inputs: bool, ops: Collection[LayerId]
    ) -> tuple[Network, list[LayerId]]:
        """The network, and the layers that nothing needs any more (each named once).

        Inputs that no output depends on any more go only with `drop_inputs`: a nested model's
        callers pass them, and one input always stays. `ops` are what a Sequential cannot hold.
        """
        self.calls = in_data_order(self.calls)
        by_id = {call.id: call for call in self.calls}
        needed = needed_calls(self.calls, self.outputs)
        entries = [ref.call for ref in iter_refs(self.inputs)]
        kept_entries = [entry for entry in entries if entry in needed]
        # An input that never was needed is part of how the model is called.
        needed.update(set(entries) - needed_calls(self._net.calls, self._net.outputs))
        if drop_inputs and kept_entries:
            self.inputs = _without(self.inputs, {e for e in entries if e not in needed})
        else:
            needed.update(entries)
        calls = tuple(call for call in self.calls if call.id in needed)
        alive = {call.layer for call in calls}
        dead = dict.fromkeys(by_id[i].layer for i in by_id if i not in needed)
        net = replace(
            self._net,
            calls=calls,
            inputs=self.inputs,
            outputs=self.outputs,
            output_names=self.output_names,
            output_ids=self.output_ids,
        )
        return replace(net, chain=net.chain and is_chain(net, ops)), [
            i for i in dead if i not in alive
        ]


def in_data_order(calls: Sequence[Call]) -> list[Call]:
    """The calls so that each comes after what it takes, else in the order they are in.

    Raises:
        ValueError: they go round in a circle.
    """
    place = {call.id: index for index, call in enumerate(calls)}
    if all(place[ref.call] < index for index, call in enumerate(calls) for ref in call.refs):
        return list(calls)
    sources = [{ref.call for ref in call.refs} for call in calls]
    takers: dict[CallId, list[int]] = {}
    for index, taken in enumerate(sources):
        for source in taken:
            takers.setdefault(source, []).append(index)
    missing = [len(taken) for taken in sources]
    ready = [index for index, number in enumerate(missing) if not number]
    ordered: list[Call] = []
    while ready:
        call = calls[heapq.heappop(ready)]
        ordered.append(call)
        for index in takers.get(call.id, ()):
            missing[index] -= 1
            if not missing[index]:
                heapq.heappush(ready, index)
    if len(ordered) != len(calls):
        raise ValueError("the calls go round in a circle")
    return ordered


@dataclass(frozen=True)
class Region:
    """The calls between two layers, and the tensors that cross its border.

    `calls` are all calls on a way from a start to a stop, these included, in data order. `enters`
    are the tensors they take from outside, in the order of their first use; `leaves` those of
    theirs that are taken outside, or that the network puts out.
    """

    calls: tuple[Call, ...]
    enters: tuple[Ref, ...]
    leaves: tuple[Ref, ...]


def region(net: Network, starts: Collection[CallId], stops: Collection[CallId]) -> Region:
    """The region of a network between two layers; without calls where no way leads along them."""
    after = downstream(net.calls, starts)
    before = needed_calls(net.calls, [Ref(stop) for stop in stops])
    calls = tuple(call for call in net.calls if call.id in after and call.id in before)
    inside = {call.id for call in calls}
    enters = dict.fromkeys(ref for call in calls for ref in call.refs if ref.call not in inside)
    taken = [ref for call in net.calls if call.id not in inside for ref in call.refs]
    leaves = dict.fromkeys(r for r in (*taken, *net.output_refs) if r.call in inside)
    return Region(calls, tuple(enters), tuple(leaves))


def downstream(calls: Sequence[Call], starts: Collection[CallId]) -> set[CallId]:
    """Calls, and all that depend on them."""
    found = set(starts)
    for call in calls:
        if any(ref.call in found for ref in call.refs):
            found.add(call.id)
    return found


def needed_calls(calls: Sequence[Call], outputs: Any) -> set[CallId]:
    """The calls that outputs depend on."""
    needed = {ref.call for ref in iter_refs(outputs)}
    for call in reversed(calls):
        if call.id in needed:
            needed.update(ref.call for ref in call.refs)
    return needed


def is_chain(net: Network, ops: Collection[LayerId]) -> bool:
    """Whether a Sequential can hold this network: each layer takes the one tensor before it."""
    if len(net.input_refs) != 1 or len(net.output_refs) != 1:
        return False
    if len(net.calls_of) != len(net.calls):
        return False
    before = net.input_refs[0]
    for call in net.calls:
        if call.id == before.call and not call.refs:
            continue
        if call.layer in ops or call.args != (before,) or call.refs != (before,):
            return False
        # A Sequential would forget the arguments; Keras itself notes `training=False` down.
        if any(v is not None and (k, v) != ("training", False) for k, v in call.kwargs.items()):
            return False
        if call.outputs is not None and len(call.outputs) != 1:
            return False
        before = Ref(call.id)
    return net.output_refs[0] == before


def _without(structure: Any, dead: set[CallId]) -> Any:
    """The nested structure without the tensors of dead calls."""
    if isinstance(structure, Ref):
        return structure
    if isinstance(structure, Mapping):
        return {k: _without(v, dead) for k, v in structure.items() if not _is_dead(v, dead)}
    kept = [_without(item, dead) for item in structure if not _is_dead(item, dead)]
    return tuple(kept) if isinstance(structure, tuple) else kept


def _is_dead(item: Any, dead: set[CallId]) -> bool:
    refs = list(iter_refs(item))
    return bool(refs) and all(ref.call in dead for ref in refs)
