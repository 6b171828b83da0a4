"""Edits of what leads where: skip connections, branches, the model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras

from ..blocks import Block, make_block, needs_tensor
from ..errors import EditError, NameTaken, StructureError, TargetError
from ..graph.infer import OnMismatch
from ..graph.model_graph import (
    Call,
    CallId,
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
from ..names import check_layer_name, numbered
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
    _check_merge(merge)
    origin, taker = work.find_one(source), work.find_one(into)
    if origin.owner != taker.owner:
        raise StructureError(
            f"'{origin.path}' and '{taker.path}' are not in the same model. Inline the nested one "
            "first (ed.inline), or connect layers of one model."
        )
    draft = work.draft(taker)
    net = work.graph.net_of(taker.owner)
    takers = work.calls(taker, call)
    added = Ref(work.calls(origin)[-1].id)
    if added.call in downstream(net.calls, [taking.id for taking in takers]):
        raise StructureError(
            f"'{origin.path}' depends on '{taker.path}', so connecting it there would make a circle."
        )
    present = [choose_input(work, taker, taking, which, "input") for taking in takers]
    branch = work.add_block(block, taker.owner) if block is not None else None
    if branch is not None:
        added = put(draft, branch, added)
    merged = work.add_block(merge, taker.owner, beside=branch.members if branch else ())
    for taking, first in zip(takers, present, strict=True):
        joined = draft.call(merged.members[0], ([first, added],))
        draft.redirect(first, joined, only=[taking.id])
    work.adopt(taker.owner, draft)


def make_merge(merge: Any) -> Block:
    """The block of a layer that merges tensors.

    Raises:
        EditError: it is nothing of the kind.
    """
    if needs_tensor(merge):
        raise EditError(_MERGE)
    block = make_block(merge)
    _check_merge(block)
    return block


_MERGE = "merge= takes one layer that merges tensors, such as layers.Add()."


def _check_merge(block: Block) -> None:
    if len(block.members) != 1 or block.layers[block.members[0]].kind != "layer":
        raise EditError(_MERGE)


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
        makers = {call.id for call in work.calls(source)}
        draft = work.draft(into)
        for call in self._takers(work, source, into, makers):
            self._cut(work, draft, into.owner, call.id, makers)
        work.adopt(into.owner, draft)
        work.infer(self.on_mismatch)

    @staticmethod
    def _takers(
        work: Workspace, source: Entry, into: Entry, makers: Collection[CallId]
    ) -> list[Call]:
        """The calls that are meant: of `into` itself, else of merge layers that it takes."""
        net = work.graph.net_of(into.owner)
        calls = work.calls(into)
        for _ in range(2):
            found = [c for c in calls if any(ref.call in makers for ref in tensors_of(c))]
            if found:
                return found
            before = {ref.call: net.by_id[ref.call] for c in calls for ref in tensors_of(c)}
            calls = [c for c in before.values() if is_merge(work.spec(c.layer))]
        raise StructureError(f"Nothing goes from '{source.path}' to '{into.path}' directly.")

    @staticmethod
    def _cut(
        work: Workspace, draft: Draft, owner: LayerId, taker: CallId, makers: Collection[CallId]
    ) -> None:
        """Takes from a call what some calls make. In the draft it may be another call by now."""
        call = next(c for c in draft.calls if c.id == taker)
        spec = work.spec(call.layer)
        merges = is_merge(spec) or spec.kind == "op"
        rest = [ref for ref in tensors_of(call) if ref.call not in makers]
        if not rest:
            raise StructureError(
                f"'{spec.name}' takes nothing else, so it cannot be disconnected: remove it, or "
                "connect something else first."
            )
        if len(rest) == 1 and merges:
            entry = next(e for e in work.graph.entries if (e.layer, e.owner) == (call.layer, owner))
            refuse_other_outputs(work, work.graph.net_of(owner), entry, call)
            draft.redirect(Ref(call.id), rest[0])
            draft.discard([call.id])
        elif merges and len(call.args) == 1 and isinstance(call.args[0], (list, tuple)):
            draft.change(call.id, args=([ref for ref in call.args[0] if ref in rest],))
        else:
            raise StructureError(
                f"'{spec.name}' ({spec.cls.__name__}) needs each of its {len(tensors_of(call))} "
                "tensors. Only a connection into a merge layer can be taken away."
            )


@dataclass(frozen=True)
class SetInput(Edit):
    """Gives an input of the model another shape or dtype."""

    kind: ClassVar[str] = "set_input"
    shape: tuple[int | None, ...] | None = None
    dtype: str | None = None
    input: Target = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        given = [str(self.shape)] if self.shape is not None else []
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
            config["dtype"] = dtype_name(self.dtype)
        work.graph = work.graph.with_layers(replace(spec, config=config))
        work.touch(entry.layer)
        work.infer(self.on_mismatch)

    def _input(self, work: Workspace) -> Entry:
        graph = work.graph
        work.draft_of(graph.root)  # refuses an opaque model
        places = {entry.layer: entry for entry in reversed(graph.entries) if entry.level == 1}
        inputs = [places[graph.net.by_id[ref.call].layer] for ref in graph.net.input_refs]
        listing = ", ".join(f"{i}: '{entry.path}'" for i, entry in enumerate(inputs))
        if self.input is None:
            if len(inputs) != 1:
                raise StructureError(
                    f"The model has {len(inputs)} inputs. Say which with input=, a number or a "
                    f"name: {listing}."
                )
            return inputs[0]
        if isinstance(self.input, int):
            entry = inputs[self.input] if 0 <= self.input < len(inputs) else None
        else:
            entry = work.find_one(self.input)
        if entry is None or entry not in inputs:
            raise TargetError(f"input={self.input!r} names no input of the model: {listing}.")
        return entry


def dtype_name(dtype: Any) -> str:
    """The name of a dtype, which may be given as NumPy's or the backend's.

    Raises:
        EditError: Keras knows no such dtype.
    """
    try:
        return keras.backend.standardize_dtype(dtype)
    except (TypeError, ValueError) as problem:
        raise EditError(f"{dtype!r:.80} is no dtype that Keras knows.") from problem


def input_layer(work: Workspace, tensor: TensorSpec, taken: set[str]) -> Call:
    """The call of a new input for a tensor like the given one; its name is added to `taken`."""
    name = numbered("input_layer", taken)
    taken.add(name)
    layer = keras.layers.InputLayer(
        batch_shape=tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse, name=name
    )
    spec = LayerSpec(
        fresh_id(), "input", name, type(layer), config=layer.get_config(), variables=()
    )
    work.graph = work.graph.with_layers(spec, flags={spec.id: True})
    return Call(fresh_id(), spec.id, outputs=(tensor,))


@dataclass(frozen=True)
class AddOutput(Edit):
    """Makes the output of a layer one of the model's outputs too."""

    kind: ClassVar[str] = "add_output"
    target: Target
    name: str | None = None
    call: int | None = None
    expect: int | None = None

    def describe(self) -> str:
        named = f" as '{self.name}'" if self.name else ""
        return f"add the output {target_text(self.target)}{named}"

    def apply(self, work: Workspace) -> None:
        entry = work.find_one(self.target, self.expect)
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
            block = work.add_block(make_block(keras.layers.Identity(name=name)), root)
            ref = put(draft, block, ref)
        draft.put_out(_with(draft.outputs, name, ref), {ref: name})
        work.adopt(root, draft)


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
        keys = draft.outputs if isinstance(draft.outputs, Mapping) else ()
        draft.put_out(_with(draft.outputs, numbered(name, keys), ref), {ref: name})
        work.adopt(model, draft)
    after = list(iter_refs(draft.outputs))
    owners = dict.fromkeys(e.owner for e in work.graph.entries if e.layer == model)
    for owner in owners:
        _renumber(work, owner, model, {before.index(r): after.index(r) for r in before}, after)
    return Ref(work.calls(place)[-1].id, after.index(ref))


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
    expect: int | None = None

    def describe(self) -> str:
        return f"remove the output {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        root = work.graph.root
        draft = work.draft_of(root)
        doomed = output_places(work, self.target, self.expect)
        refs = list(iter_refs(draft.outputs))
        if len(doomed) == len(refs):
            names = ", ".join(f"'{name}'" for name in output_keys(work.graph.net))
            raise StructureError(
                f"The model puts out {names} alone, and one output has to stay. Add another first."
            )
        left = [i for i in range(len(refs)) if i not in doomed]
        draft.output_names = tuple(draft.output_names[i] for i in left)
        draft.output_ids = tuple(draft.output_ids[i] for i in left)
        draft.outputs = _without(draft.outputs, doomed)
        work.adopt(root, draft)
        work.infer("error")


def output_places(work: Workspace, target: Target, expect: int | None = None) -> set[int]:
    """The numbers of the model's outputs that are meant: by name or key, else by layer.

    Raises:
        TargetError: there is no such output.
    """
    net = work.graph.net
    keys = output_keys(net)
    if isinstance(target, str) and expect in (None, 1):
        named = {i for i, key in enumerate(keys) if f"{key}/".startswith(f"{target}/")}
        if named:
            return named
    layers = [net.by_id[ref.call].layer for ref in net.output_refs]
    entry = work.find_one(target, expect)
    found = {i for i, layer in enumerate(layers) if layer == entry.layer}
    if not found or entry.owner != work.graph.root:
        names = dict.fromkeys((*keys, *(work.spec(layer).name for layer in layers)))
        shown = ", ".join(f"'{name}'" for name in names)
        raise TargetError(f"'{entry.path}' is no output of the model. Its outputs are {shown}.")
    return found


def output_keys(net: Network) -> tuple[str, ...]:
    """What the flat outputs are called: by their keys (`more/high` in nested ones), else by name."""

    def keys(structure: Any, path: str) -> Iterator[str]:
        if isinstance(structure, Ref):
            yield path
            return
        inside = structure if isinstance(structure, Mapping) else dict(enumerate(structure))
        for key in sorted(inside):
            yield from keys(inside[key], f"{path}/{key}" if path else str(key))

    return tuple(keys(net.outputs, "")) if isinstance(net.outputs, Mapping) else net.output_names


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
