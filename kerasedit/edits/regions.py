"""Edits of a whole region of a model: exchanged, taken out alone, made a nested model or unpacked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .._keras import PLAIN_MODELS
from ..blocks import Block
from ..errors import StructureError
from ..graph.infer import OnMismatch, show_shape
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
from ..graph.rewrite import Draft, Region, is_chain, region
from ..names import check_layer_name, is_automatic, numbered
from ..targets import Target, target_text
from .base import Edit, Workspace, require_free
from .structure import put
from .wiring import input_layer


def find_region(work: Workspace, start: Target, stop: Target) -> tuple[Entry, Entry, Region]:
    """The first and the last layer of a region, and what is between them.

    Raises:
        StructureError: they are in different models, or no way leads from one to the other.
    """
    first, last = work.find_one(start), work.find_one(stop)
    if first.owner != last.owner:
        raise StructureError(f"'{first.path}' and '{last.path}' are not in the same model.")
    work.draft(first)  # refuses an opaque model
    found = region(
        work.graph.net_of(first.owner),
        [call.id for call in work.calls(first)],
        [call.id for call in work.calls(last)],
    )
    if not found.calls:
        raise StructureError(
            f"No way leads from '{first.path}' to '{last.path}': give the layer first that comes "
            "first in the data's order."
        )
    return first, last, found


def entering(work: Workspace, start: Target, stop: Target) -> TensorSpec:
    """The one tensor that enters a region.

    Raises:
        StructureError: several do.
    """
    first, last, found = find_region(work, start, stop)
    check_region(work, first, last, found)
    if len(found.enters) != 1:
        raise StructureError(
            f"{len(found.enters)} tensors enter the region from '{first.path}' to '{last.path}', and "
            "a function to put in takes one."
        )
    return work.graph.net_of(first.owner).spec(found.enters[0])


def refuse_inputs(work: Workspace, first: Entry, what: str) -> None:
    """Raises where a region begins with an input of the model."""
    if work.spec(first.layer).kind == "input":
        raise StructureError(
            f"'{first.path}' is an input of the model and cannot be {what}. Start behind it."
        )


@dataclass(frozen=True)
class ReplaceBetween(Edit):
    """Puts a block in the place of all layers from one to another, both included."""

    kind: ClassVar[str] = "replace_between"
    start: Target
    stop: Target
    block: Block
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        between = f"{target_text(self.start)} to {target_text(self.stop)}"
        return f"replace {between} by {self.block.describe()}"

    def apply(self, work: Workspace) -> None:
        first, last, found = find_region(work, self.start, self.stop)
        check_region(work, first, last, found)
        draft = work.draft(first)
        inside = {call.id for call in found.calls}
        outside = {call.layer for call in draft.calls if call.id not in inside}
        freed = [call.layer for call in found.calls if call.layer not in outside]
        block = work.add_block(self.block, first.owner, freed=freed)
        new = self._put(draft, block, found.enters)
        for leaving in found.leaves:
            draft.redirect(leaving, new)
        draft.discard(inside)
        work.adopt(first.owner, draft)
        work.infer(self.on_mismatch)

    @staticmethod
    def _put(draft: Draft, block: Block, enters: tuple[Ref, ...]) -> Ref:
        if len(enters) == 1:
            return put(draft, block, enters[0])
        if len(block.members) != 1:
            raise StructureError(
                f"{len(enters)} tensors enter the region, so the block must be a single layer or a "
                "model that takes a list of them."
            )
        return draft.call(block.members[0], (list(enters),))


def check_region(work: Workspace, first: Entry, last: Entry, found: Region) -> None:
    """Raises where a region cannot become a block: only its last layer's output may leave it."""
    refuse_inputs(work, first, "replaced by a layer")
    net = work.graph.net_of(first.owner)
    ends = {call.id for call in work.calls(last)}
    inside = {call.id for call in found.calls}
    for ref in found.leaves:
        if ref.call in ends and ref.index == 0:
            continue
        inner = work.spec(net.by_id[ref.call].layer).name
        takers = [work.spec(c.layer).name for c in net.consumers.get(ref.call, ())
                  if c.id not in inside]  # fmt: skip
        taker = f"'{takers[0]}'" if takers else "the model's outputs"
        raise StructureError(
            f"'{inner}' in the region from '{first.path}' to '{last.path}' also feeds {taker}. Choose "
            "a region that only its last layer leaves, or disconnect that first."
        )
    if len(found.leaves) > 1:
        raise StructureError(
            f"The region from '{first.path}' to '{last.path}' ends in {len(found.leaves)} calls of "
            f"'{last.path}', and a block has one output. Choose a region with a single end."
        )


@dataclass(frozen=True)
class Extract(Edit):
    """Leaves only the part from one layer to another, both included, as the whole model."""

    kind: ClassVar[str] = "extract"
    start: Target
    stop: Target

    def describe(self) -> str:
        return f"extract {target_text(self.start)} to {target_text(self.stop)}"

    def apply(self, work: Workspace) -> None:
        first, last, found = find_region(work, self.start, self.stop)
        before, root = work.graph.paths, work.graph.root
        known = work.graph.net.output_ids
        if first.owner != root:  # the nested model's network becomes the whole
            spec = work.spec(root)
            inner = work.graph.net_of(first.owner)
            work.graph = work.graph.with_layers(replace(spec, net=inner))
        draft = work.draft_of(root)
        net = work.graph.net
        inputs: list[Ref] = []
        inside = {call.id for call in found.calls}
        makers = [net.by_id[ref.call] for ref in found.enters]
        taken = {work.spec(call.layer).name for call in (*found.calls, *makers)}
        for ref in found.enters:
            if work.spec(net.by_id[ref.call].layer).kind == "input":
                inputs.append(ref)
                continue
            call = input_layer(work, net.spec(ref), taken)
            draft.calls.insert(len(inputs), call)
            draft.redirect(ref, Ref(call.id), only=inside)
            inputs.append(Ref(call.id))
        inputs += [Ref(c.id) for c in found.calls if work.spec(c.layer).kind == "input"]
        draft.inputs = inputs[0] if len(inputs) == 1 else inputs
        self._put_out(work, draft, last, found, known)
        mark = len(work.report.dropped)
        work.adopt(root, draft)
        # Told by where the layers stood before.
        work.graph = work.graph.compact()
        work.report.dropped[mark:] = [p for i, p in before.items() if i not in work.graph.layers]
        work.infer("error")

    @staticmethod
    def _put_out(
        work: Workspace, draft: Draft, last: Entry, found: Region, known: tuple[int, ...]
    ) -> None:
        """Makes all that leaves the last layer the outputs; `known` are the identities of before."""
        end = work.graph.net.calls_of[last.layer][-1].id
        leaves = sorted((r for r in found.leaves if r.call == end), key=lambda ref: ref.index)
        outputs = leaves or [Ref(end)]
        name = work.spec(last.layer).name
        draft.put_out(outputs[0] if len(outputs) == 1 else outputs, dict.fromkeys(outputs, name))
        if len(known) == len(outputs) == 1:
            draft.output_ids = known  # the one output, as in `trim`


@dataclass(frozen=True)
class Inline(Edit):
    """Unpacks a nested model: its layers become those of the model around it."""

    kind: ClassVar[str] = "inline"
    target: Target
    expect: int | None = None

    def describe(self) -> str:
        return f"inline {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        entry = work.find_one(self.target, self.expect)
        spec = work.spec(entry.layer)
        if spec.net is None:
            raise StructureError(
                f"'{entry.path}' ({spec.cls.__name__}) is no nested model, so there is nothing to "
                "unpack."
            )
        work.draft_of(entry.layer)  # refuses an opaque model
        if spec.cls not in PLAIN_MODELS:
            work.report.warnings.append(
                f"What {spec.cls.__name__} does of its own is not in the copy, where '{entry.path}' "
                "is unpacked."
            )
        self._free_names(work, entry, spec.net)
        draft = work.draft(entry)
        for call in work.calls(entry):
            self._unpack(work, draft, entry, call)
        draft.discard(call.id for call in work.calls(entry))
        mark = len(work.report.dropped)
        work.adopt(entry.owner, draft)
        del work.report.dropped[mark:]  # the model itself, which is no loss
        work.infer("error")

    @staticmethod
    def _free_names(work: Workspace, entry: Entry, net: Network) -> None:
        """Renames layers of the nested model whose names are taken around it."""
        owner = work.graph.net_of(entry.owner)
        taken = {work.spec(i).name for i in owner.calls_of if i != entry.layer}
        shared = set(owner.calls_of)
        for layer in net.calls_of:
            spec = work.spec(layer)
            if spec.kind == "input" or layer in shared:
                continue
            name = spec.name
            if name in taken and not is_automatic(name, spec.cls.__name__):
                name = f"{work.spec(entry.layer).name}_{name}"
            name = numbered(name, taken)
            taken.add(name)
            if name != spec.name:
                work.report.renamed.append((f"{entry.path}/{spec.name}", work.prefix(entry) + name))
                work.graph = work.graph.with_layers(replace(spec, name=name))

    @staticmethod
    def _unpack(work: Workspace, draft: Draft, entry: Entry, call: Call) -> None:
        net, around = work.graph.net_of(entry.layer), work.graph.net_of(entry.owner)
        current = next(c for c in draft.calls if c.id == call.id)
        given = list(iter_refs(current.args)) or list(iter_refs(current.kwargs.get("inputs")))
        if len(given) != len(net.input_refs) or len(given) != len(current.refs):
            raise StructureError(
                f"'{entry.path}' is called with more than its inputs (a mask, perhaps), which its "
                "layers would not get. It cannot be unpacked."
            )
        for ref, wanted in zip(call.refs, map(net.spec, net.input_refs), strict=True):
            found = around.spec(ref)
            if found.dtype != wanted.dtype or len(found.shape) != len(wanted.shape):
                raise StructureError(
                    f"'{entry.path}' is given {show_shape(found.shape)} {found.dtype} and itself "
                    f"makes {show_shape(wanted.shape)} {wanted.dtype} of it. It cannot be unpacked."
                )
        training = current.kwargs.get("training")

        def also(layer: LayerId) -> Mapping[str, Any]:
            spec = work.spec(layer)
            takes = spec.net is not None or (
                spec.kind == "layer" and "training" in inspect.signature(spec.cls.call).parameters
            )
            return {"training": training} if takes and training is not None else {}

        for index, new in enumerate(draft.splice(net, given, also)):
            draft.redirect(Ref(call.id, index), new)


@dataclass(frozen=True)
class Nest(Edit):
    """Makes all layers from one to another a nested model."""

    kind: ClassVar[str] = "nest"
    start: Target
    stop: Target
    name: str

    def describe(self) -> str:
        between = f"{target_text(self.start)} to {target_text(self.stop)}"
        return f"nest {between} as '{self.name}'"

    def apply(self, work: Workspace) -> None:
        first, _, found = find_region(work, self.start, self.stop)
        refuse_inputs(work, first, "nested")
        name = check_layer_name(self.name)
        inside = {call.id for call in found.calls}
        draft = work.draft(first)
        outside = {call.layer for call in draft.calls if call.id not in inside}
        if any(work.spec(layer).name == name for layer in outside):
            require_free(work, first.owner, name, "The nested model")
        model = self._model(work, first.owner, found, name)
        enters = list(found.enters)
        nested = draft.call(model, (enters[0] if len(enters) == 1 else enters,))
        for index, leaving in enumerate(found.leaves):
            draft.redirect(leaving, Ref(nested.call, index), keep=inside)
        draft.discard(inside)
        mark = len(work.report.dropped)
        work.adopt(first.owner, draft)
        del work.report.dropped[mark:]  # the layers are in the nested model now
        work.infer("error")

    @staticmethod
    def _model(work: Workspace, owner: LayerId, found: Region, name: str) -> LayerId:
        """A model of the region's calls, taken into the graph."""
        around = work.graph.net_of(owner)
        taken = {work.spec(call.layer).name for call in found.calls}
        entries = [input_layer(work, around.spec(ref), taken) for ref in found.enters]
        new = {ref: Ref(call.id) for ref, call in zip(found.enters, entries, strict=True)}

        def inner(ref: Ref) -> Ref:
            return new.get(ref, ref)

        calls = [
            replace(c, args=map_refs(inner, c.args), kwargs=map_refs(inner, c.kwargs))
            for c in found.calls
        ]
        by_id: dict[CallId, Call] = {call.id: call for call in calls}
        inputs = [Ref(call.id) for call in entries]
        leaves = list(found.leaves)
        net = Network(
            (*entries, *calls),
            inputs[0] if len(inputs) == 1 else inputs,
            leaves[0] if len(leaves) == 1 else leaves,
            output_names=tuple(work.spec(by_id[ref.call].layer).name for ref in leaves),
            output_ids=tuple(fresh_id() for _ in leaves),
        )
        ops = {i for i, spec in work.graph.layers.items() if spec.kind == "op"}
        net = replace(net, chain=around.chain and is_chain(net, ops))
        sequential, functional = PLAIN_MODELS
        spec = LayerSpec(
            fresh_id(),
            "model",
            name,
            sequential if net.chain else functional,
            config=work.spec(owner).config,
            net=net,
        )
        work.graph = work.graph.with_layers(spec, flags={spec.id: True})
        return spec.id
