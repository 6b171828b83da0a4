"""Edits of single layers: doubled, moved elsewhere, given other arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras
import numpy as np

from .. import _keras
from ..arrays import Store
from ..blocks import Block
from ..codegen.literals import config_code
from ..errors import EditError, StructureError, reason
from ..graph.build import make_layer
from ..graph.infer import OnMismatch
from ..graph.model_graph import Call, Entry, LayerId, LayerSpec, Network, Ref, fresh_id, map_refs
from ..graph.read import layer_config, live_functions
from ..graph.rewrite import Draft
from ..names import numbered
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace, Writer, require_free, tensors_of
from .structure import refuse_other_outputs, without_nested


def _single(work: Workspace, target: Target, expect: int | None, what: str) -> tuple[Entry, Call]:
    """A layer with one call on one tensor.

    Raises:
        StructureError: it is an input, shared, or takes several tensors.
    """
    entry = work.find_one(target, expect)
    work.draft(entry)  # refuses an opaque model
    problem = _not_single(work, entry)
    if problem:
        raise StructureError(f"'{entry.path}' {problem} and cannot be {what}.")
    return entry, work.calls(entry)[0]


def _not_single(work: Workspace, entry: Entry) -> str:
    """Why a layer is not one call on one tensor, if so."""
    calls = work.calls(entry)
    takes = len(tensors_of(calls[0]))
    if not takes:
        return "is an input of the model"
    if takes > 1:
        return f"takes {takes} tensors"
    return f"is called {len(calls)} times" if len(calls) > 1 else ""


def _put_behind(work: Workspace, draft: Draft, call: Call, layer: LayerId, after: Entry) -> None:
    """Calls a layer, as another call did, on the output of each call of the one it comes behind."""
    (old,) = tensors_of(call)
    for source in (Ref(behind.id) for behind in work.calls(after)):

        def move(ref: Ref, source: Ref = source) -> Ref:
            return source if ref == old else ref

        kwargs = {name: map_refs(move, value) for name, value in call.kwargs.items()}
        new = draft.call(layer, map_refs(move, call.args), kwargs)
        draft.redirect(source, new, keep=[new.call])


@dataclass(frozen=True)
class Move(Edit):
    """Takes a layer out of its place and puts it, weights and all, behind another one."""

    kind: ClassVar[str] = "move"
    keywords: ClassVar[tuple[str, ...]] = ("after",)
    target: Target
    after: Target
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        return f"move {target_text(self.target)} after {target_text(self.after)}"

    def apply(self, work: Workspace) -> None:
        entry, call = _single(work, self.target, self.expect, "moved")
        after = work.find_one(self.after)
        if after.layer == entry.layer or after.path.startswith(entry.path + "/"):
            raise StructureError(f"'{entry.path}' cannot be moved behind itself.")
        refuse_other_outputs(work, work.graph.net_of(entry.owner), entry, call)
        if entry.owner != after.owner:
            self._leave(work, entry, after)
        draft = work.draft_of(after.owner)
        (before,) = tensors_of(call)
        if entry.owner == after.owner:
            draft.redirect(Ref(call.id), before)
            draft.discard([call.id])
        _put_behind(work, draft, call, entry.layer, after)
        work.adopt(after.owner, draft)
        work.infer(self.on_mismatch)

    @staticmethod
    def _leave(work: Workspace, entry: Entry, after: Entry) -> None:
        """Takes the layer out of one model, on its way to another."""
        require_free(work, after.owner, work.spec(entry.layer).name, f"'{entry.path}'")
        (call,) = work.calls(entry)
        draft = work.draft_of(entry.owner)
        draft.redirect(Ref(call.id), tensors_of(call)[0])
        draft.discard([call.id])
        mark = len(work.report.dropped)
        work.adopt(entry.owner, draft)
        work.report.dropped[mark:] = [p for p in work.report.dropped[mark:] if p != entry.path]


@dataclass(frozen=True)
class Duplicate(Edit):
    """Puts a second layer of the same kind, with weights of its own, behind the first or elsewhere."""

    kind: ClassVar[str] = "duplicate"
    checks: ClassVar[Mapping[str, str]] = {"weights": "flag"}
    target: Target
    after: Target = None
    weights: bool = True
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        where = f" after {target_text(self.after)}" if self.after is not None else ""
        return f"duplicate {target_text(self.target)}{where}"

    def apply(self, work: Workspace) -> None:
        found = without_nested(work.find(self.target, self.expect))
        if is_many(self.target):
            usable = [e for e in found if work.spec(e.layer).kind in ("layer", "model")]
            found = [e for e in usable if not _not_single(work, e)] or found[:1]
        for entry in found:
            self._duplicate(work, entry)
        work.infer(self.on_mismatch)

    def _duplicate(self, work: Workspace, entry: Entry) -> None:
        entry, call = _single(work, entry.path, None, "duplicated")
        after = entry if self.after is None else work.find_one(self.after)
        block = work.add_block(self._block(work, entry, after.owner), after.owner)
        draft = work.draft(after)
        _put_behind(work, draft, call, block.members[0], after)
        work.adopt(after.owner, draft)

    def _block(self, work: Workspace, entry: Entry, owner: LayerId) -> Block:
        """The layer and all inside it as a block, under a free name."""
        layers: dict[LayerId, LayerSpec] = {}
        waiting = [entry.layer]
        while waiting:
            spec = work.spec(waiting.pop())
            if spec.net is not None and spec.net.opaque:
                raise StructureError(
                    f"'{spec.name}' is a subclassed model: its call is Python code, so it cannot be "
                    "duplicated."
                )
            waiting += spec.net.calls_of if spec.net is not None else ()
            layers[spec.id] = self._copy(work, spec)
        own = layers[entry.layer]
        name = numbered(own.name, work.names_in(owner))
        layers[own.id] = replace(own, name=name)
        begin = Call(fresh_id(), fresh_id(), outputs=())
        then = Call(fresh_id(), own.id, (Ref(begin.id),))
        layers[begin.layer] = LayerSpec(begin.layer, "input", "", keras.Layer, variables=())
        flags = {i: work.graph.flags[i] for i in layers if i in work.graph.flags}
        net = Network((begin, then), [Ref(begin.id)], [Ref(then.id)])
        return Block(layers, flags, net, {}, name)

    def _copy(self, work: Workspace, spec: LayerSpec) -> LayerSpec:
        if spec.net is not None and not self.weights:
            # What starts fresh is looked at anew.
            fresh = {i for i in spec.net.calls_of if work.spec(i).kind == "layer"}
            calls = [replace(c, outputs=None) if c.layer in fresh else c for c in spec.net.calls]
            return replace(spec, net=replace(spec.net, calls=tuple(calls)))
        if spec.net is not None or spec.kind != "layer":
            return spec
        if self.weights:
            return replace(spec, origins={}, heritage=None, twin=spec.id)
        return replace(spec, variables=None, origins={}, heritage=None, twin=None)


@dataclass(frozen=True)
class Configure(Edit):
    """Gives layers other constructor arguments; weights stay where their shapes do."""

    kind: ClassVar[str] = "configure"
    target: Target
    config: Mapping[str, Any]
    expect: int | None = None
    on_mismatch: OnMismatch = "error"

    def describe(self) -> str:
        given = ", ".join(f"{name}={config_code(value)}" for name, value in self.config.items())
        return f"configure {target_text(self.target)}: {given}"

    def apply(self, work: Workspace) -> None:
        if not self.config:
            raise EditError("Say what to configure: ed.configure(target, activation='gelu').")
        for name, instead in {"name": "rename", "trainable": "freeze or ed.unfreeze"}.items():
            if name in self.config:
                raise EditError(f"'{name}' is not configured: use ed.{instead}.")
        done: set[LayerId] = set()
        for entry in work.find(self.target, self.expect):
            if entry.layer in done:
                continue
            problem = self._refusal(work, entry)
            if problem is None:
                self._configure(work, entry)
                done.add(entry.layer)
            elif not is_many(self.target):
                raise EditError(problem)
        if not done:
            names = ", ".join(map(repr, self.config))
            raise EditError(f"None of the layers that the target names has the argument {names}.")
        work.infer(self.on_mismatch)

    def _refusal(self, work: Workspace, entry: Entry) -> str | None:
        """Why a layer cannot be given these arguments at all."""
        spec = work.spec(entry.layer)
        if fixed := why_fixed(spec, entry.path):
            return fixed
        known = [*(spec.config or {}), *inspect.signature(spec.cls).parameters]
        unknown = [name for name in self.config if name not in known or name == "kwargs"]
        if not unknown:
            return None
        others = ("name", "trainable", "kwargs", "args")
        usable = dict.fromkeys(name for name in known if name not in others)
        return (
            f"'{entry.path}' ({spec.cls.__name__}) has no argument {', '.join(map(repr, unknown))}. "
            f"It has {', '.join(usable)}."
        )

    def _configure(self, work: Workspace, entry: Entry) -> None:
        spec = work.spec(entry.layer)
        functions = {k: v for k, v in spec.functions.items() if k not in self.config}
        wanted = replace(spec, config={**(spec.config or {}), **self.config}, functions=functions)
        try:
            with _keras.preserved_random(), _keras.deferred():
                layer = make_layer(wanted, work.custom_objects)
        except StructureError as problem:
            given = ", ".join(f"{name}={value!r:.80}" for name, value in self.config.items())
            cause = problem.__cause__ or problem
            raise EditError(
                f"'{entry.path}' ({spec.cls.__name__}) cannot be made with {given}. Keras said: "
                f"{reason(cause)}"
            ) from problem
        config = layer_config(layer)
        functions = {**functions, **live_functions(layer, config)}
        work.graph = work.graph.with_layers(replace(spec, config=config, functions=functions))
        work.touch(entry.layer)

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        if name != "config":
            return super()._argument(name, value, required, write)
        return ", ".join(f"{key}={write(name, given)}" for key, given in value.items())

    def to_json(self, arrays: Store | None = None) -> dict[str, Any]:
        live = [name for name, value in self.config.items() if callable(value)]
        if live:
            raise EditError(
                f"The function given for {', '.join(map(repr, live))} cannot be told as data. "
                "Register it with keras.saving.register_keras_serializable."
            )
        return super().to_json(arrays)


def why_fixed(spec: LayerSpec, path: str) -> str | None:
    """Why a layer has no arguments to change, if so."""
    if spec.kind == "layer" and spec.prototype is None:
        return None
    instead = {
        "input": "Use ed.set_input.",
        "model": f"Name the layers inside it: '{path}/**'.",
    }.get(spec.kind, "Replace it instead.")
    return f"'{path}' ({spec.cls.__name__}) has no configuration to change. {instead}"


def config_value(value: Any) -> Any:
    """An argument as data: objects of Keras serialized, its functions by name.

    A function that Keras cannot name stays what it is.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(config_value(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, keras.DTypePolicy):
        return keras.dtype_policies.serialize(value)
    if inspect.isfunction(value):
        try:
            name = keras.activations.serialize(value)
            return name if keras.activations.get(name) is value else value
        except Exception:
            return value
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value
