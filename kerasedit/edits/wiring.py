"""Edits of what leads where: skip connections, branches, the model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras

from ..blocks import Block
from ..errors import EditError, NameTaken, StructureError, TargetError
from ..graph.infer import OnMismatch, show_shape
from ..graph.model_graph import (
    Call,
    Entry,
    LayerId,
    LayerSpec,
    Network,
    Ref,
    TensorSpec,
    fresh_id,
    iter_refs,
    map_refs,
)
from ..graph.rewrite import Draft, downstream
from ..names import check_layer_name, free_name
from ..targets import Target, target_text
from .base import Edit, Workspace, choose_input, is_shape, tensors_of
from .structure import is_merge, put, refuse_other_outputs


@dataclass(frozen=True)
class Connect(Edit):
    """Lets a layer take, beside what it took, the output of another one: both merged by a layer."""

    kind: ClassVar[str] = "connect"
    keywords: ClassVar[tuple[str, ...]] = ("merge",)
    source: Target
    into: Target
    merge: Block
    input: Any = None
    call: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"connect {target_text(self.source)} into {target_text(self.into)}"

    def apply(self, work: Workspace) -> None:
        join(work, self.source, self.into, None, self.merge, self.input, self.call)
        work.infer(self.on_mismatch)


@dataclass(frozen=True)
class AddBranch(Edit):
    """Puts a block on a second way from one layer to another, merged with the first by a layer."""

    kind: ClassVar[str] = "add_branch"
    keywords: ClassVar[tuple[str, ...]] = ("source", "into", "merge")
    block: Block
    source: Target
    into: Target
    merge: Block
    input: Any = None
    call: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        way = f"from {target_text(self.source)} into {target_text(self.into)}"
        return f"add the branch {self.block.describe()} {way}"

    def apply(self, work: Workspace) -> None:
        join(work, self.source, self.into, self.block, self.merge, self.input, self.call)
        work.infer(self.on_mismatch)


def join(
    work: Workspace,
    source: Target,
    into: Target,
    block: Block | None,
    merge: Block,
    which: Any,
    call: int | None,
) -> None:
    """Merges the output of a layer, led through a block, into an input of another layer.

    Raises:
        StructureError: they are in different models, it would make a circle, or `merge` is no layer
            that merges a list of tensors.
    """
    origin, taker = work.find_one(source), work.find_one(into)
    if origin.owner != taker.owner:
        raise StructureError(
            f"'{origin.path}' and '{taker.path}' are not in the same model. Inline the nested one "
            "first (ed.inline), or connect layers of one model."
        )
    if len(merge.members) != 1 or merge.layers[merge.members[0]].kind != "layer":
        raise StructureError("merge= takes one layer that merges tensors, such as layers.Add().")
    draft = work.draft(taker)
    net = work.graph.net_of(taker.owner)
    from_call = work.calls(origin)[-1]
    for target in work.calls(taker, call):
        if from_call.id in downstream(net.calls, [target.id]):
            raise StructureError(
                f"'{origin.path}' depends on '{taker.path}', so connecting it there would make a "
                "circle."
            )
        present = choose_input(work, taker, target, which, "input")
        added = Ref(from_call.id)
        if block is not None:
            added = put(draft, work.add_block(block, taker.owner), added)
        merged = work.add_block(merge, taker.owner)
        joined = draft.call(merged.members[0], ([present, added],))
        draft.redirect(present, joined, only=[target.id])
        work.adopt(taker.owner, draft)
        draft = work.draft(taker)


def leaving(work: Workspace, source: Target) -> TensorSpec:
    """The tensor with which a branch begins."""
    entry = work.find_one(source)
    work.draft(entry)  # refuses an opaque model
    return work.graph.net_of(entry.owner).spec(Ref(work.calls(entry)[-1].id))


@dataclass(frozen=True)
class Disconnect(Edit):
    """Takes away the connection from one layer into another that has others.

    A merge layer that is left with one tensor goes too. Where `into` takes a merge layer, as after
    `connect`, it is that one which loses the connection.
    """

    kind: ClassVar[str] = "disconnect"
    source: Target
    into: Target
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"disconnect {target_text(self.source)} from {target_text(self.into)}"

    def apply(self, work: Workspace) -> None:
        source, into = work.find_one(self.source), work.find_one(self.into)
        if source.owner != into.owner:
            raise StructureError(f"'{source.path}' and '{into.path}' are not in the same model.")
        for ref, call in self._edges(work, source, into):
            self._cut(work, into.owner, ref, call)
        work.infer(self.on_mismatch)

    def _edges(self, work: Workspace, source: Entry, into: Entry) -> list[tuple[Ref, Call]]:
        """The edges that are meant: into `into` itself, else into merge layers that it takes."""
        net = work.graph.net_of(into.owner)
        makers = {call.id for call in work.calls(source)}
        takers = work.calls(into)
        for _ in range(2):
            edges = [(r, c) for c in takers for r in tensors_of(c) if r.call in makers]
            if edges:
                return edges
            before = [net.by_id[ref.call] for call in takers for ref in tensors_of(call)]
            takers = [c for c in before if is_merge(work.spec(c.layer))]
        raise StructureError(f"Nothing goes from '{source.path}' to '{into.path}' directly.")

    @staticmethod
    def _cut(work: Workspace, owner: LayerId, ref: Ref, call: Call) -> None:
        draft = work.draft_of(owner)
        spec = work.spec(call.layer)
        rest = [other for other in tensors_of(call) if other != ref]
        listed = len(call.args) == 1 and isinstance(call.args[0], (list, tuple))
        if not rest:
            raise StructureError(
                f"'{spec.name}' takes nothing else, so it cannot be disconnected: remove it, or "
                "connect something else first."
            )
        if len(rest) == 1 and (is_merge(spec) or spec.kind == "op"):
            entry = next(e for e in work.graph.entries if (e.layer, e.owner) == (call.layer, owner))
            refuse_other_outputs(work, work.graph.net_of(owner), entry, call)
            draft.redirect(Ref(call.id), rest[0])
            draft.discard([call.id])
        elif listed and is_merge(spec):
            kept = [item for item in call.args[0] if item != ref]
            draft.change(call.id, args=(kept,))
        else:
            raise StructureError(
                f"'{spec.name}' ({spec.cls.__name__}) needs each of its {len(rest) + 1} tensors. "
                "Only a connection into a merge layer can be taken away."
            )
        work.adopt(owner, draft)


@dataclass(frozen=True)
class SetInput(Edit):
    """Gives an input of the model another shape or dtype."""

    kind: ClassVar[str] = "set_input"
    shape: tuple[int | None, ...] | None = None
    dtype: str | None = None
    input: Target = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        given = [show_shape(self.shape)] if self.shape is not None else []
        given += [self.dtype] if self.dtype else []
        which = f" of {target_text(self.input)}" if self.input is not None else ""
        return f"set the input{which} to {' '.join(given)}"

    def apply(self, work: Workspace) -> None:
        if self.shape is None and self.dtype is None:
            raise EditError("Say what the input is to be: shape=, dtype= or both.")
        if self.shape is not None and not is_shape(self.shape):
            raise EditError(
                f"A shape is a tuple of whole numbers from 1 and None, without the batch, not "
                f"{self.shape!r:.80}."
            )
        entry = self._input(work)
        spec = work.spec(entry.layer)
        assert spec.config is not None
        config = dict(spec.config)
        batch = config.get("batch_shape") or config["shape"]
        if self.shape is not None:
            config["batch_shape"] = (batch[0], *self.shape)
        if self.dtype is not None:
            config["dtype"] = _dtype(self.dtype)
        work.graph = work.graph.with_layers(replace(spec, config=config))
        work.touch(entry.layer)
        work.infer(self.on_mismatch)

    def _input(self, work: Workspace) -> Entry:
        graph = work.graph
        work.draft_of(graph.root)  # refuses an opaque model
        inputs = [e for e in graph.entries if e.level == 1 and work.spec(e.layer).kind == "input"]
        names = ", ".join(f"'{entry.path}'" for entry in inputs)
        if self.input is None:
            if len(inputs) != 1:
                raise StructureError(
                    f"The model has {len(inputs)} inputs ({names}). Say which with input=."
                )
            return inputs[0]
        if isinstance(self.input, int) and 0 <= self.input < len(inputs):
            order = [work.graph.net.by_id[ref.call].layer for ref in work.graph.net.input_refs]
            return next(e for e in inputs if e.layer == order[self.input])
        entry = None if isinstance(self.input, int) else work.find_one(self.input)
        if entry not in inputs:
            raise TargetError(f"input={self.input!r} names no input of the model: {names}.")
        return entry


def _dtype(name: str) -> str:
    try:
        return keras.backend.standardize_dtype(name)
    except ValueError as problem:
        raise EditError(f"'{name}' is no dtype that Keras knows.") from problem


def input_layer(work: Workspace, owner: LayerId, tensor: TensorSpec) -> tuple[LayerSpec, Call]:
    """A new input for a tensor like the given one, and its call."""
    name = free_name("input_layer", "InputLayer", work.names_in(owner))
    layer = keras.layers.InputLayer(
        batch_shape=tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse, name=name
    )
    spec = LayerSpec(
        fresh_id(), "input", name, type(layer), config=layer.get_config(), variables=()
    )
    work.graph = work.graph.with_layers(spec, flags={spec.id: True})
    return spec, Call(fresh_id(), spec.id, outputs=(tensor,))


@dataclass(frozen=True)
class AddOutput(Edit):
    """Makes the output of a layer one of the model's outputs too."""

    kind: ClassVar[str] = "add_output"
    target: Target
    name: str | None = None
    call: int | None = None

    def describe(self) -> str:
        named = f" as '{self.name}'" if self.name else ""
        return f"add the output {target_text(self.target)}{named}"

    def apply(self, work: Workspace) -> None:
        entry = work.find_one(self.target)
        work.draft(entry)  # refuses an opaque model
        ref = Ref(work.calls(entry, self.call)[-1].id)
        name = work.spec(entry.layer).name
        while entry.owner != work.graph.root:
            parent = _place_of(work, entry)
            ref = _expose(work, entry.owner, parent, ref)
            entry = parent
        self._add(work, ref, name)
        work.infer("error")

    def _add(self, work: Workspace, ref: Ref, layer_name: str) -> None:
        root = work.graph.root
        draft = work.draft_of(root)
        if ref in iter_refs(draft.outputs):
            raise StructureError(f"'{layer_name}' is an output of the model already.")
        name = check_layer_name(self.name) if self.name is not None else layer_name
        keyed = isinstance(draft.outputs, Mapping)
        if name in (draft.outputs if keyed else draft.output_names):
            raise NameTaken(f"The model has an output '{name}' already. Pass another name=.")
        if name != layer_name and not keyed:
            # The outputs of a list are called as their layers are, in a file above all.
            block = work.add_block(_identity(name), root)
            ref = put(draft, block, ref)
        draft.outputs = _with(draft.outputs, name, ref)
        order = [r for r in iter_refs(draft.outputs) if r != ref]
        names = dict(zip(order, draft.output_names, strict=False))
        names[ref] = name
        draft.output_names = tuple(names.get(r, name) for r in iter_refs(draft.outputs))
        work.adopt(root, draft)


def _identity(name: str) -> Block:
    from ..blocks import make_block

    return make_block(keras.layers.Identity(name=name))


def _with(outputs: Any, name: str, ref: Ref) -> Any:
    """The structure of outputs with one more."""
    if isinstance(outputs, Mapping):
        return {**outputs, name: ref}
    if isinstance(outputs, (list, tuple)):
        return type(outputs)([*outputs, ref]) if type(outputs) in (list, tuple) else [*outputs, ref]
    return [outputs, ref]


def _place_of(work: Workspace, entry: Entry) -> Entry:
    """Where the model around a layer stands."""
    return work.graph.by_path[work.prefix(entry)[:-1]]


def _expose(work: Workspace, model: LayerId, place: Entry, ref: Ref) -> Ref:
    """Lets a nested model put out one more tensor; returns it as the model around sees it."""
    draft = work.draft_of(model)
    before = list(iter_refs(draft.outputs))
    if ref not in before:
        name = work.spec(next(c.layer for c in draft.calls if c.id == ref.call)).name
        draft.outputs = _with(draft.outputs, _free_key(draft.outputs, name), ref)
        draft.output_names = (*draft.output_names, name)
        work.adopt(model, draft)
    after = list(iter_refs(draft.outputs))
    owners = dict.fromkeys(e.owner for e in work.graph.entries if e.layer == model)
    for owner in owners:
        _renumber(work, owner, model, {before.index(r): after.index(r) for r in before}, after)
    return Ref(work.calls(place)[-1].id, after.index(ref))


def _free_key(outputs: Any, name: str) -> str:
    taken = outputs if isinstance(outputs, Mapping) else ()
    return free_name(name, name, taken)


def _renumber(
    work: Workspace, owner: LayerId, model: LayerId, moved: dict[int, int], outputs: list[Ref]
) -> None:
    """Lets what takes the outputs of a nested model take them at their new numbers."""
    net, inner = work.graph.net_of(owner), work.graph.net_of(model)
    calls = {call.id for call in net.calls_of[model]}

    def move(ref: Ref) -> Ref:
        return Ref(ref.call, moved[ref.index]) if ref.call in calls else ref

    draft: Draft = work.draft_of(owner)
    specs = tuple(inner.spec(ref) for ref in outputs)
    draft.calls = [
        replace(
            call,
            args=map_refs(move, call.args),
            kwargs=map_refs(move, call.kwargs),
            outputs=specs if call.id in calls else call.outputs,
            stale=call.stale or call.id in calls,
        )
        for call in draft.calls
    ]
    draft.outputs = map_refs(move, draft.outputs)
    work.adopt(owner, draft)


@dataclass(frozen=True)
class RemoveOutput(Edit):
    """Takes away one of the model's outputs, and what only it needed."""

    kind: ClassVar[str] = "remove_output"
    target: Target

    def describe(self) -> str:
        return f"remove the output {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        root = work.graph.root
        draft = work.draft_of(root)
        doomed = self._places(work, work.graph.net)
        refs = list(iter_refs(draft.outputs))
        if len(doomed) == len(refs):
            raise StructureError("The last output cannot be removed.")
        draft.output_names = tuple(
            name for i, name in enumerate(draft.output_names) if i not in doomed
        )
        draft.outputs = _without(draft.outputs, doomed)
        work.adopt(root, draft)
        work.infer("error")

    def _places(self, work: Workspace, net: Network) -> set[int]:
        """The numbers of the outputs that are meant: by name or key, by layer, or by number."""
        names = output_names(net)
        if isinstance(self.target, str) and self.target in names:
            return {names.index(self.target)}
        layers = [work.spec(net.by_id[ref.call].layer).name for ref in net.output_refs]
        entry = work.find_one(self.target)
        found = {
            i
            for i, ref in enumerate(net.output_refs)
            if net.by_id[ref.call].layer == entry.layer and entry.owner == work.graph.root
        }
        if not found:
            shown = ", ".join(f"'{name}'" for name in dict.fromkeys((*names, *layers)))
            raise TargetError(f"'{entry.path}' is no output of the model. Its outputs are {shown}.")
        return found


def output_names(net: Network) -> tuple[str, ...]:
    """What losses and metrics call the outputs: of a dictionary, by its keys."""
    if isinstance(net.outputs, Mapping):
        return tuple(sorted(net.outputs))
    return net.output_names


def _without(outputs: Any, doomed: set[int]) -> Any:
    """The structure of outputs without those of some numbers; a list of one is that one."""
    numbers = iter(range(len(list(iter_refs(outputs)))))

    def prune(item: Any) -> Any:
        if isinstance(item, Ref):
            return None if next(numbers) in doomed else item
        if isinstance(item, Mapping):
            kept = {key: prune(item[key]) for key in sorted(item)}
            return {key: value for key, value in kept.items() if value is not None} or None
        kept_items = [found for found in map(prune, item) if found is not None]
        return (tuple(kept_items) if isinstance(item, tuple) else kept_items) or None

    left = prune(outputs)
    single = isinstance(left, (list, tuple)) and len(left) == 1
    return left[0] if single else left
