"""Edits of the structure: layers taken out, put in, exchanged, renamed, cut off."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import keras

from ..blocks import Block
from ..errors import EditError, StructureError, TargetError
from ..graph.infer import OnMismatch, heritage
from ..graph.model_graph import Call, Entry, LayerId, LayerSpec, Network, Ref, iter_refs, map_refs
from ..graph.rewrite import Draft
from ..names import check_layer_name
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace, choose_input, require_free, tensors_of


@dataclass(frozen=True)
class Remove(Edit):
    """Takes layers out; their consumers take the input of the removed layer."""

    kind: ClassVar[str] = "remove"
    target: Target
    keep: Any = None
    call: int | None = None
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"remove {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        found = _leaving(work, self.target, self.expect, "removed")
        for owner, entries in by_owner(work, found):
            draft = work.draft_of(owner)
            for entry in entries:
                self._remove(work, draft, entry)
            work.adopt(owner, draft)
        work.infer(self.on_mismatch)

    def _remove(self, work: Workspace, draft: Draft, entry: Entry) -> None:
        going = {call.id for call in work.calls(entry, self.call)}
        stand_in: dict[Ref, Ref] = {}
        for call in [call for call in draft.calls if call.id in going]:
            kept = choose_input(work, entry, call, self.keep, "keep")
            # A layer that feeds itself (a shared one called in a row) is skipped over as a whole.
            kept = stand_in.get(kept, kept)
            refuse_other_outputs(work, draft, entry, call)
            stand_in[Ref(call.id)] = kept
            draft.redirect(Ref(call.id), kept)
        draft.discard(going)


def _leaving(work: Workspace, target: Target, expect: int | None, what: str) -> list[Entry]:
    """The layers of a target that can leave.

    Raises:
        StructureError: nothing but inputs was named.
    """
    found = once_each(without_nested(work.find(target, expect)))
    kept = [entry for entry in found if work.spec(entry.layer).kind != "input"]
    if not kept:
        raise StructureError(f"'{found[0].path}' is an input of the model and cannot be {what}.")
    return kept


def by_owner(work: Workspace, found: list[Entry]) -> Iterator[tuple[LayerId, list[Entry]]]:
    """Layers by the network that calls them, which is changed at once for all of its own.

    What has left with a network that came before is passed over.
    """
    owners: dict[LayerId, list[Entry]] = {}
    for entry in found:
        owners.setdefault(entry.owner, []).append(entry)
    for number, (owner, entries) in enumerate(owners.items()):
        if number == 0 or owner == work.graph.root or owner in work.graph.paths:
            yield owner, entries


def without_nested(entries: list[Entry]) -> list[Entry]:
    """What is inside a removed model goes with it."""
    paths = {entry.path for entry in entries}

    def inside(path: str) -> bool:
        parts = path.split("/")
        return any("/".join(parts[:n]) in paths for n in range(1, len(parts)))

    return [entry for entry in entries if not inside(entry.path)]


def refuse_other_outputs(work: Workspace, net: Network | Draft, entry: Entry, call: Call) -> None:
    """Raises where more than the first output of a call is taken."""
    taken = {
        ref: f"'{work.spec(taker.layer).name}'"
        for taker in net.calls
        for ref in taker.refs
        if ref.call == call.id and ref.index
    }
    outputs = [ref for ref in iter_refs(net.outputs) if ref.call == call.id and ref.index]
    taken |= dict.fromkeys(outputs, "the model's outputs")
    for ref, taker in taken.items():
        raise StructureError(
            f"'{entry.path}' has several outputs, and its output {ref.index} goes to {taker}. "
            "Remove or rewire what takes it first."
        )


@dataclass(frozen=True)
class Insert(Edit):
    """Puts a block behind a layer, before a layer, or on the one edge between two."""

    kind: ClassVar[str] = "insert"
    block: Block
    after: Target = None
    before: Target = None
    input: Any = None
    call: int | None = None
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        where = []
        if self.after is not None:
            where.append(f"after {target_text(self.after)}")
        if self.before is not None:
            where.append(f"before {target_text(self.before)}")
        return f"insert {self.block.describe()} {' and '.join(where)}"

    def apply(self, work: Workspace) -> None:
        if self.input is not None and self.before is None:
            raise EditError(
                "input= tells which input of the layer before= is meant: give that, too."
            )
        found = places(work, self.after, self.before, self.call, self.expect)
        for owner, entries in by_owner(work, found):
            draft = work.draft_of(owner)
            added: list[LayerId] = []
            for entry in entries:
                block = work.add_block(self.block, owner, beside=added)
                self._insert(work, draft, block, entry)
                added += block.members
            work.adopt(owner, draft)
        work.infer(self.on_mismatch)

    def _insert(self, work: Workspace, draft: Draft, block: Block, entry: Entry) -> None:
        if self.before is None:
            self._after(work, draft, block, entry)
        elif self.after is None:
            for call in work.calls(entry, self.call):
                source = choose_input(work, entry, call, self.input, "input")
                new = put(draft, block, source)
                draft.redirect(source, new, only=[call.id])
        else:
            self._between(work, draft, block, entry)

    def _after(self, work: Workspace, draft: Draft, block: Block, entry: Entry) -> None:
        for call in work.calls(entry, self.call):
            source = Ref(call.id)
            before = {c.id for c in draft.calls}
            new = put(draft, block, source)
            added = {c.id for c in draft.calls} - before
            draft.redirect(source, new, keep=added)

    def _between(self, work: Workspace, draft: Draft, block: Block, entry: Entry) -> None:
        """On the edge from `after` to `before` (`entry` is the latter)."""
        source = work.find_one(self.after)
        if source.owner != entry.owner:
            raise StructureError(f"'{source.path}' and '{entry.path}' are not in the same model.")
        makers = {call.id for call in work.calls(source)}
        edges = [
            (ref, call)
            for call in work.calls(entry, self.call)
            for ref in tensors_of(call)
            if ref.call in makers
        ]
        if not edges:
            raise StructureError(f"Nothing goes from '{source.path}' to '{entry.path}' directly.")
        for ref, call in edges:
            draft.redirect(ref, put(draft, block, ref), only=[call.id])


def places(
    work: Workspace, after: Target, before: Target, call: int | None, expect: int | None
) -> list[Entry]:
    """The layers at which an insertion is made.

    Raises:
        EditError: neither `after` nor `before` was given.
    """
    if after is None and before is None:
        raise EditError("Say where to insert: after= a layer, before= one, or both for one edge.")
    target = after if before is None else before
    found = (
        work.find(target, expect) if after is None or before is None else [work.find_one(before)]
    )
    found = once_each(found)
    if before is None:
        return found
    kept = [e for e in found if work.spec(e.layer).kind != "input"]
    if not kept:
        raise StructureError(
            f"'{found[0].path}' is an input of the model: nothing can come before it. Insert after it."
        )
    return kept if is_many(target) else found


def once_each(entries: list[Entry]) -> list[Entry]:
    """Each place once: inside a model that several models use, a layer has several paths."""
    found = {(entry.layer, entry.owner): entry for entry in reversed(entries)}
    return list(found.values())[::-1]


def tensor_at(
    work: Workspace, edit_input: Any, entry: Entry, before: bool, call: int | None
) -> Any:
    """The spec of the tensor on which a block at a place is put."""
    work.draft(entry)  # refuses an opaque model
    first = work.calls(entry, call)[0]
    ref = choose_input(work, entry, first, edit_input, "input") if before else Ref(first.id)
    return work.graph.net_of(entry.owner).spec(ref)


def put(draft: Draft, block: Block, source: Ref) -> Ref:
    """Puts a block of the workspace on a tensor; returns what it puts out."""
    if len(block.net.input_refs) != 1 or len(block.net.output_refs) != 1:
        raise StructureError("A block to put in takes one tensor and gives one.")
    return draft.splice(block.net, [source])[0]


@dataclass(frozen=True)
class Append(Edit):
    """Puts a block behind the output of the model."""

    kind: ClassVar[str] = "append"
    block: Block
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"append {self.block.describe()}"

    def apply(self, work: Workspace) -> None:
        root = work.graph.root
        source = single_output(work)
        draft = work.draft_of(root)
        block = work.add_block(self.block, root)
        new = put(draft, block, source)
        draft.outputs = map_refs(lambda ref: new if ref == source else ref, draft.outputs)
        work.adopt(root, draft)
        work.infer(self.on_mismatch)


def single_output(work: Workspace) -> Ref:
    """The model's one output.

    Raises:
        StructureError: it has several.
    """
    net = work.graph.net
    if net.opaque:
        work.draft_of(work.graph.root)  # raises with the reason
    if len(net.output_refs) != 1:
        names = ", ".join(f"'{work.spec(net.by_id[r.call].layer).name}'" for r in net.output_refs)
        raise StructureError(
            f"The model has {len(net.output_refs)} outputs ({names}), so say which: "
            "ed.insert(block, after=...)."
        )
    return net.output_refs[0]


@dataclass(frozen=True)
class Replace(Edit):
    """Puts a block in the place of layers."""

    kind: ClassVar[str] = "replace"
    target: Target
    block: Block
    weights: Literal["match", "slice", "none"] = "match"
    call: int | None = None
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"replace {target_text(self.target)} by {self.block.describe()}"

    def apply(self, work: Workspace) -> None:
        if self.weights not in ("match", "slice", "none"):
            raise EditError(f"weights must be 'match', 'slice' or 'none', not {self.weights!r}.")
        for entry in _leaving(work, self.target, self.expect, "replaced by a layer"):
            if entry.layer in work.graph.net_of(entry.owner).calls_of:
                self._replace(work, entry)  # else it went with what left before it
        work.infer(self.on_mismatch)

    def _replace(self, work: Workspace, entry: Entry) -> None:
        draft = work.draft(entry)
        old = work.spec(entry.layer)
        calls = work.calls(entry, self.call)
        whole = len(calls) == len(work.calls(entry))
        block = work.add_block(
            self.block,
            entry.owner,
            freed=[entry.layer] if whole else [],
            heritage=heritage(old, self.weights),
        )
        net = work.graph.net_of(entry.owner)
        for call in calls:
            if not _may_have_outputs(block):
                refuse_other_outputs(work, net, entry, call)
            current = next(c for c in draft.calls if c.id == call.id)
            new = _in_place(draft, block, old.kind == "op", current)
            draft.redirect(Ref(call.id), new)
            for index in range(1, len(call.outputs or ())):
                draft.redirect(Ref(call.id, index), Ref(new.call, index))
        draft.discard(call.id for call in calls)
        before = len(work.report.dropped)
        work.adopt(entry.owner, draft)
        # The replaced layer itself is no loss that needs telling.
        work.report.dropped[before:] = [p for p in work.report.dropped[before:] if p != entry.path]


def _may_have_outputs(block: Block) -> bool:
    """Whether a block may put out several tensors: a single layer may, as an RNN with its state."""
    return len(block.members) == 1


def _in_place(draft: Draft, block: Block, was_op: bool, call: Call) -> Ref:
    """Calls a block on what a call took."""
    refs, plain = tensors_of(call), _is_plain(block)
    if len(refs) == 1 and (was_op or not plain):
        return put(draft, block, refs[0])
    if not plain:
        raise StructureError(
            f"The layer to replace takes {len(refs)} tensors and the block takes one. Replace it by "
            "a single layer that takes as many."
        )
    if was_op:
        return draft.call(block.members[0], (refs,))
    return _same_arguments(draft, block, call)


def _is_plain(block: Block) -> bool:
    """Whether a block is a single layer called on its tensor alone: it can be called otherwise too."""
    calls = [call for call in block.net.calls if call.layer in block.members]
    return (
        len(calls) == 1
        and calls[0].args == (block.net.input_refs[0],)
        and block.layers[calls[0].layer].kind != "op"
    )


def _same_arguments(draft: Draft, block: Block, call: Call) -> Ref:
    """Calls a single layer as the old one was called, without what its `call` does not know."""
    spec = block.layers[block.members[0]]
    args: tuple[Any, ...] = call.args
    kwargs: Mapping[str, Any] = call.kwargs
    if spec.kind != "op":
        signature = inspect.signature(spec.cls.call).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.values())
        kwargs = {k: v for k, v in kwargs.items() if open_ended or k in signature}
    takes_list = len(args) == 1 and isinstance(args[0], (list, tuple)) and len(args[0]) > 1
    wants_list = is_merge(spec) or issubclass(spec.cls, keras.layers.Attention)
    if takes_list and spec.kind == "layer" and not wants_list:
        unique = list(dict.fromkeys(iter_refs(args)))
        if len(unique) == 1:
            args = (unique[0],)
    return draft.call(spec.id, args, kwargs)


def is_merge(spec: LayerSpec) -> bool:
    """Whether a layer merges a list of tensors, as `Add` and `Concatenate` do."""
    return issubclass(spec.cls, keras.layers.Add.__mro__[1])


@dataclass(frozen=True)
class Rename(Edit):
    """Gives a layer another name."""

    kind: ClassVar[str] = "rename"
    target: Target
    name: str
    expect: int | None = None

    def describe(self) -> str:
        return f"rename {target_text(self.target)} to '{self.name}'"

    def apply(self, work: Workspace) -> None:
        entry = work.find_one(self.target, self.expect)
        name = check_layer_name(self.name)
        spec = work.spec(entry.layer)
        if name == spec.name:
            return
        work.draft(entry)  # refuses an opaque model
        owners = {e.owner for e in work.graph.entries if e.layer == entry.layer}
        for owner in owners:
            require_free(work, owner, name, f"'{entry.path}'")
        work.graph = work.graph.with_layers(replace(spec, name=name))
        for owner in owners:
            draft = work.draft_of(owner)
            net = work.graph.net_of(owner)
            draft.output_names = tuple(
                name if net.by_id[ref.call].layer == entry.layer and old == spec.name else old
                for ref, old in zip(net.output_refs, draft.output_names, strict=False)
            )
            work.adopt(owner, draft)


@dataclass(frozen=True)
class Trim(Edit):
    """Makes a layer the output of the model and drops all past it, or drops the last layers."""

    kind: ClassVar[str] = "trim"
    target: Target
    expect: int | None = None

    def describe(self) -> str:
        if isinstance(self.target, int):
            return f"trim the last {self.target} layers"
        return f"trim to {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        if isinstance(self.target, int) and not isinstance(self.target, bool):
            ref = self._last(work, self.target)
            self._cut(work, work.graph.root, ref)
        else:
            entry = work.find_one(self.target, self.expect)
            if work.spec(entry.layer).kind == "input":
                raise StructureError(f"'{entry.path}' is an input: nothing would be left.")
            while True:
                ref = Ref(work.calls(entry)[-1].id)
                self._cut(work, entry.owner, ref)
                if entry.owner == work.graph.root:
                    break
                # The nested model around it is next: what comes after it goes too.
                entry = next(e for e in work.graph.entries if e.layer == entry.owner)
        work.infer("error")

    def _cut(self, work: Workspace, owner: LayerId, ref: Ref) -> None:
        draft = work.draft_of(owner)
        if len(list(iter_refs(draft.outputs))) == 1:
            # The output stays what it is called, though another layer makes it.
            draft.outputs = map_refs(lambda old: ref, draft.outputs)
        else:
            layer = next(call.layer for call in draft.calls if call.id == ref.call)
            draft.put_out([ref], {ref: work.spec(layer).name})
        work.adopt(owner, draft)

    @staticmethod
    def _last(work: Workspace, count: int) -> Ref:
        """The tensor that is left as the output when the last `count` layers go."""
        net = work.graph.net
        if net.opaque:
            work.draft_of(work.graph.root)  # raises with the reason
        layers = [i for i in net.calls_of if work.spec(i).kind in ("layer", "model")]
        if not 0 < count < len(layers):
            raise TargetError(
                f"trim({count}) cannot be done: the model has {len(layers)} layers, so 1 to "
                f"{len(layers) - 1} can be dropped."
            )
        doomed = set(layers[-count:])
        gone = {call.id for call in net.calls if call.layer in doomed}
        for call in net.calls:  # what follows a dropped layer goes with it
            if any(ref.call in gone for ref in call.refs):
                gone.add(call.id)
        wanted = [ref for call in net.calls if call.id in gone for ref in call.refs]
        wanted += net.output_refs
        border = list(dict.fromkeys(ref for ref in wanted if ref.call not in gone))
        if len(border) != 1:
            names = ", ".join(f"'{work.spec(net.by_id[r.call].layer).name}'" for r in border)
            raise StructureError(
                f"Dropping the last {count} layers cuts {len(border)} branches ({names}). "
                "Name the layer that is to be the output: ed.trim(path)."
            )
        return border[0]
