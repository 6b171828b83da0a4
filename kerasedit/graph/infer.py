"""Shapes, dtypes and weights of an edited graph, by inference alone: nothing is allocated.

Only what lies downstream of a change is looked at. A layer whose input changed is made anew from its
configuration, without values, and called on symbolic tensors, so Keras's own checks speak. Where its
weights then have other shapes than before, the layer becomes a new one (a new identity) that takes
from the old what `on_mismatch` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras

from .. import _keras, garbage
from ..errors import EditError, ShapeMismatch, StructureError, reason
from .build import call_on, copy_subclass, make_layer
from .model_graph import (
    Call,
    Kept,
    LayerId,
    LayerSpec,
    ModelGraph,
    Network,
    Origin,
    Ref,
    TensorSpec,
    VariableRef,
    VariableSpec,
    fresh_id,
)
from .read import tensor_spec, variable_specs
from .ties import follow_variables, leave, put_in_order, with_tokens

OnMismatch = Literal["error", "reinit", "slice"]
POLICIES: tuple[OnMismatch, ...] = ("error", "reinit", "slice")


@dataclass
class Findings:
    """What inference found out about an edited graph."""

    shape_changes: list[tuple[str, Any, Any]] = field(default_factory=list)
    reinitialized: list[str] = field(default_factory=list)
    sliced: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    untied: list[str] = field(default_factory=list)


def show_shape(shape: Any) -> str:
    return str(tuple(shape))


@garbage.put_off()
def infer(
    graph: ModelGraph,
    *,
    on_mismatch: OnMismatch = "error",
    custom_objects: Mapping[str, Any] | None = None,
    kept: Mapping[tuple[LayerId, int], Kept] | None = None,
) -> tuple[ModelGraph, Findings]:
    """Fills in what the edited calls of a graph put out, and what follows downstream of them.

    Args:
        graph: calls whose `outputs` are None are new, those that are `stale` were rewired.
        on_mismatch: what becomes of a weight whose shape no longer fits.
        custom_objects: classes and functions that layers' configurations name.
        kept: of variables (by layer and position) that get smaller, what stays of their axes.

    Raises:
        ShapeMismatch: a layer cannot take its input, or with `on_mismatch="error"` has a weight that
            no longer fits.
    """
    if on_mismatch not in POLICIES:
        raise EditError(f"on_mismatch must be one of {', '.join(POLICIES)}, not {on_mismatch!r}.")
    run = _Inference(graph, on_mismatch, custom_objects, kept or {})
    with _keras.preserved_random(), _keras.deferred():
        run.network(graph.root, "")
    found = run.result()
    run.check_opened(found)
    return found, run.findings


class _Inference:
    def __init__(
        self,
        graph: ModelGraph,
        on_mismatch: OnMismatch,
        custom_objects: Mapping[str, Any] | None,
        kept: Mapping[tuple[LayerId, int], Kept],
    ) -> None:
        self.graph = graph
        self.kept = kept
        self.on_mismatch = on_mismatch
        self.custom_objects = custom_objects
        self.findings = Findings()
        self.specs: dict[LayerId, LayerSpec] = {}  # layers with something new
        self.renewed: dict[LayerId, LayerId] = {}  # layers that got another identity
        self.adopted: list[LayerId] = []  # layers that an edit brought in
        self.abstract: dict[LayerId, Any] = {}  # fresh layers without values
        # Layers that are alike put out alike: each that was asked, by what it is and takes.
        self.asked: dict[str, tuple[Any, tuple[TensorSpec, ...]]] = {}
        self.visited: dict[LayerId, bool] = {}  # networks done: did their outputs change?
        self.inherited: set[Origin] = set()  # each old weight has one heir
        self.given: set[LayerId] = set()  # nested models that were called already
        self.opened: set[LayerId] = set()  # nested models that got inputs of another shape

    def spec(self, layer_id: LayerId) -> LayerSpec:
        return self.specs.get(layer_id) or self.graph.layers[layer_id]

    # -- networks --------------------------------------------------------------------------------

    def network(self, owner: LayerId, prefix: str) -> bool:
        """Infers a network; returns whether what it puts out changed."""
        if owner in self.visited:
            return self.visited[owner]
        net = self.graph.net_of(owner)
        self.visited[owner] = False
        if net.opaque:
            return False
        known: dict[int, tuple[TensorSpec, ...]] = {}
        changed: set[int] = set()  # calls whose outputs are not what they were
        touched = False
        calls: list[Call] = []
        for call in net.calls:
            spec = self.graph.layers[call.layer]
            path = prefix + spec.name
            inner = spec.net is not None and self.network(call.layer, path + "/")
            stale = (
                call.outputs is None
                or call.stale
                or inner
                or call.layer in self.renewed
                or bool(self.renewed and any(v.layer in self.renewed for v in call.variables))
                or bool(changed and any(ref.call in changed for ref in call.refs))
            )
            outputs = call.outputs
            if stale:
                outputs = self.call(call, path, known, net, prefix)
                if outputs != call.outputs:
                    changed.add(call.id)
                    if call.outputs is not None:
                        self._note_shape_change(path, call.outputs, outputs)
                if call.stale or call.id in changed:
                    call = replace(call, outputs=outputs, stale=False)
                    touched = True
            assert outputs is not None
            known[call.id] = outputs
            calls.append(call)
        if touched:
            before = [net.by_id[ref.call].outputs for ref in net.output_refs]
            self.specs[owner] = replace(self.spec(owner), net=replace(net, calls=tuple(calls)))
            after = [known[ref.call] for ref in net.output_refs]
            self.visited[owner] = before != after
        return self.visited[owner]

    def _note_shape_change(
        self, path: str, before: tuple[TensorSpec, ...], after: tuple[TensorSpec, ...]
    ) -> None:
        old, new = [s.shape for s in before], [s.shape for s in after]
        if old != new:
            single = len(old) == len(new) == 1
            self.findings.shape_changes.append(
                (path, old[0], new[0]) if single else (path, tuple(old), tuple(new))
            )

    # -- calls -----------------------------------------------------------------------------------

    def call(
        self,
        call: Call,
        path: str,
        known: Mapping[int, tuple[TensorSpec, ...]],
        net: Network,
        prefix: str,
    ) -> tuple[TensorSpec, ...]:
        """What a call puts out, its layer being checked against what it now takes."""
        spec = self.spec(call.layer)
        if spec.net is not None:
            return self._nested(call, spec, path, known)
        layer = self.abstract.get(call.layer)
        if layer is not None:
            return self._symbolic(layer, call, path, known)
        question = _question(spec, call, known) if len(net.calls_of[call.layer]) == 1 else None
        if question in self.asked:
            layer, outputs = self.asked[question]
        else:
            layer = make_layer(spec, self.custom_objects)
            first = net.calls_of[call.layer][0]
            if first.id != call.id and all(ref.call in known for ref in first.refs):
                # A shared layer is built by its first call, whatever changed later.
                self._symbolic(layer, first, path, known)
            outputs = self._symbolic(layer, call, path, known)
            if question is not None:
                self.asked[question] = layer, outputs
        self.abstract[call.layer] = layer
        if spec.kind == "layer":
            self._compare_weights(spec, layer, path)
        return outputs

    def _symbolic(
        self, layer: Any, call: Call, path: str, known: Mapping[int, tuple[TensorSpec, ...]]
    ) -> tuple[TensorSpec, ...]:
        if isinstance(layer, keras.layers.InputLayer):
            return (tensor_spec(layer.output),)
        for ref in call.refs:
            if ref.index >= len(known[ref.call]):
                raise StructureError(
                    f"The layer '{path}' takes output {ref.index} of a layer that now has "
                    f"{len(known[ref.call])}."
                )

        def find(leaf: Ref | VariableRef) -> keras.KerasTensor:
            if isinstance(leaf, Ref):
                return _symbol(known[leaf.call][leaf.index])
            variable = self._variable(Origin(self.renewed.get(leaf.layer, leaf.layer), leaf.index))
            return keras.KerasTensor(variable.shape, dtype=variable.dtype)

        try:
            result = _keras.with_values_if_needed(lambda: call_on(layer, call, find))
        except EditError:
            raise
        except Exception as problem:
            taken = ", ".join(show_shape(known[ref.call][ref.index].shape) for ref in call.refs)
            raise ShapeMismatch(
                f"The layer '{path}' ({type(layer).__name__}) cannot take an input of shape "
                f"{taken}. Keras said: {reason(problem)} Change what comes before it, or replace "
                f"or remove '{path}' too."
            ) from problem
        return tuple(tensor_spec(tensor) for tensor in keras.tree.flatten(result))

    def _nested(
        self,
        call: Call,
        spec: LayerSpec,
        path: str,
        known: Mapping[int, tuple[TensorSpec, ...]],
    ) -> tuple[TensorSpec, ...]:
        net = spec.net
        assert net is not None
        if net.opaque:
            if spec.id not in self.abstract:
                self.abstract[spec.id] = copy_subclass(spec.prototype, self.custom_objects)
            return self._symbolic(self.abstract[spec.id], call, path, known)
        given = [known[ref.call][ref.index] for ref in call.refs]
        wanted = [net.spec(ref) for ref in net.input_refs]
        first = spec.id not in self.given
        self.given.add(spec.id)
        if [g.shape for g in given] == [w.shape for w in wanted]:
            return net.output_specs
        if len(given) == len(wanted) and all(map(_fits, given, wanted)):
            return self._with_inputs(net, given, path)
        if first and len(given) == len(wanted) and self._is_open(spec):
            return self._open_to(spec.id, given, path)
        raise _unfit(path, given, wanted)

    def _is_open(self, spec: LayerSpec) -> bool:
        """Whether a nested model can be given inputs of another shape than it was made for."""
        net = spec.net
        assert net is not None
        inner = net.calls_of
        return spec.prototype is None and not net.opaque and not self.abstract.keys() & inner.keys()

    def _open_to(
        self, model: LayerId, given: list[TensorSpec], path: str
    ) -> tuple[TensorSpec, ...]:
        """Gives a nested model the inputs that it now gets, and infers it with these."""
        net = self.spec(model).net
        assert net is not None
        entries = {ref.call: tensor for ref, tensor in zip(net.input_refs, given, strict=True)}
        calls = tuple(replace(c, stale=True) if c.id in entries else c for c in net.calls)
        changed = [replace(self.spec(model), net=replace(net, calls=calls))]
        for call_id, tensor in entries.items():
            spec = self.spec(net.by_id[call_id].layer)
            changed.append(
                replace(spec, config={**(spec.config or {}), "batch_shape": tensor.shape})
            )
        self.opened.add(model)
        self.graph = self.graph.with_layers(*changed)
        for spec in changed:
            self.specs.pop(spec.id, None)
        self.visited.pop(model)
        self.network(model, path + "/")
        net = self.spec(model).net
        assert net is not None
        return net.output_specs

    def _with_inputs(
        self, net: Network, given: list[TensorSpec], path: str
    ) -> tuple[TensorSpec, ...]:
        """What a nested model puts out for an input that is open in its own picture."""
        known: dict[int, tuple[TensorSpec, ...]] = {}
        for ref, spec in zip(net.input_refs, given, strict=True):
            known[ref.call] = (spec,)
        for call in net.calls:
            if call.id in known:
                continue
            inner = self.spec(call.layer)
            if inner.net is not None:
                known[call.id] = self._nested(call, inner, f"{path}/{inner.name}", known)
            else:
                layer = make_layer(inner, self.custom_objects)
                known[call.id] = self._symbolic(layer, call, f"{path}/{inner.name}", known)
        return tuple(known[ref.call][ref.index] for ref in net.output_refs)

    # -- weights ---------------------------------------------------------------------------------

    def _compare_weights(self, spec: LayerSpec, layer: Any, path: str) -> None:
        """Looks whether a layer's weights still have their shapes, and renews it if not."""
        put_in_order(spec, layer)
        found = with_tokens(spec, layer, variable_specs(layer))
        if spec.variables is None:
            self.specs[spec.id] = self._adopt(spec, found, path)
            self.adopted.append(spec.id)
            return
        old = spec.variables
        left = {i: _left(v.shape, self.kept.get((spec.id, i))) for i, v in enumerate(old)}
        as_before = [(v.shape, v.dtype) for v in found] == [(v.shape, v.dtype) for v in old]
        if as_before and all(left[i] == v.shape for i, v in enumerate(old)):
            return
        pairs = _paired(old, found)
        if self.on_mismatch == "error" and any(
            before is not None and left[old.index(before)] != after.shape for before, after in pairs
        ):
            raise ShapeMismatch(self._describe_mismatch(path, pairs), of_weights=True)
        origins: dict[int, Origin] = {}
        for index, (before, after) in enumerate(pairs):
            if before is None:
                if after.weight:
                    self.findings.reinitialized.append(f"{path}/{after.name}")
                continue
            place = old.index(before)
            if left[place] == after.shape:
                origins[index] = Origin(spec.id, place, kept=self.kept.get((spec.id, place)))
            elif self.on_mismatch == "slice" and len(before.shape) == len(after.shape):
                origins[index] = Origin(spec.id, place, overlap=True)
                self.findings.sliced.append(f"{path}/{before.name}")
            else:
                self.findings.reinitialized.append(f"{path}/{before.name}")
        kept = {before.name for before, _ in pairs if before is not None}
        self.findings.lost += [f"{path}/{v.name}" for v in old if v.weight and v.name not in kept]
        new_id = fresh_id()
        self.renewed[spec.id] = new_id
        variables = tuple(
            after if before is None else replace(after, name=before.name, shared=before.shared)
            for before, after in pairs
        )
        self.specs[new_id] = replace(
            spec, id=new_id, variables=variables, origins=origins, twin=None
        )

    def _adopt(self, spec: LayerSpec, found: tuple[VariableSpec, ...], path: str) -> LayerSpec:
        """A new layer's variables are known now; what it inherits is matched by name and shape."""
        origins: dict[int, Origin] = {}
        for index, variable in enumerate(found):
            if not variable.weight or spec.heritage is None:
                continue
            match = self._best(variable, [o for o in spec.heritage if o not in self.inherited])
            if match is None:
                self.findings.reinitialized.append(f"{path}/{variable.name}")
                continue
            self.inherited.add(match)
            same = self._variable(match).shape == variable.shape
            origins[index] = replace(match, overlap=not same)
            if not same:
                self.findings.sliced.append(f"{path}/{variable.name}")
        return replace(spec, variables=found, origins=origins, heritage=None)

    def _variable(self, origin: Origin) -> VariableSpec:
        return (self.spec(origin.layer).variables or ())[origin.index]

    def _best(self, variable: VariableSpec, free: list[Origin]) -> Origin | None:
        """The old weight for a new one: of the same name and shape, else (slice) the same rank."""
        leaf = variable.name.rsplit("/", 1)[-1]
        named = [o for o in free if self._variable(o).name.rsplit("/", 1)[-1] == leaf]
        for origin in named:
            if self._variable(origin).shape == variable.shape:
                return origin
        for origin in named:
            if origin.overlap and len(self._variable(origin).shape) == len(variable.shape):
                return origin
        return None

    def _describe_mismatch(
        self, path: str, pairs: list[tuple[VariableSpec | None, VariableSpec]]
    ) -> str:
        changes = "; ".join(
            f"'{path}/{a.name}' has shape {show_shape(a.shape)} and would need "
            f"{show_shape(b.shape)}"
            for a, b in pairs
            if a is not None and a.shape != b.shape
        )
        return (
            f"The weights of layer '{path}' no longer fit: {changes}. Start them afresh "
            '(on_mismatch="reinit") or copy the part that overlaps (on_mismatch="slice").'
        )

    # -- result ----------------------------------------------------------------------------------

    def check_opened(self, graph: ModelGraph) -> None:
        """Raises where a nested model that got other inputs has calls that go on as before."""
        for owner in dict.fromkeys(e.owner for e in graph.entries) if self.opened else ():
            net = graph.net_of(owner)
            for call in (c for model in self.opened for c in net.calls_of.get(model, ())):
                inner = graph.net_of(call.layer)
                given = [net.spec(ref) for ref in call.refs]
                wanted = [inner.spec(ref) for ref in inner.input_refs]
                if not all(map(_fits, given, wanted)):
                    raise _unfit(graph.paths[call.layer], given, wanted)

    def result(self) -> ModelGraph:
        """The graph with what was found, layers of another identity put in place everywhere."""
        layers = {**self.graph.layers, **self.specs}
        flags = dict(self.graph.flags)
        if self.renewed:
            for old, new in self.renewed.items():
                flags[new] = flags.get(old, True)
            for layer_id, spec in list(layers.items()):
                if spec.net is not None and self.renewed.keys() & spec.net.calls_of.keys():
                    calls = tuple(
                        replace(call, layer=self.renewed.get(call.layer, call.layer))
                        for call in spec.net.calls
                    )
                    layers[layer_id] = replace(spec, net=replace(spec.net, calls=calls))
        graph = ModelGraph(self.graph.root, layers, flags).compact()
        graph, self.findings.untied = leave(graph, self.renewed.values(), self.adopted)
        return follow_variables(graph, self.renewed)


def _left(shape: tuple[int, ...], kept: Kept | None) -> tuple[int, ...]:
    """A shape with what stays of its axes."""
    if kept is None:
        return shape
    return tuple(n if own is None else len(own) for n, own in zip(shape, kept, strict=True))


def _paired(
    old: tuple[VariableSpec, ...], new: tuple[VariableSpec, ...]
) -> list[tuple[VariableSpec | None, VariableSpec]]:
    """Each new variable with the old one that it goes on: by position, else by name."""
    if len(old) == len(new):
        return list(zip(old, new, strict=True))
    # The names of layers inside (a wrapper's) may be others.
    by_name = {v.name: v for v in old}
    return [(by_name.get(v.name), v) for v in new]


def heritage(old: LayerSpec, mode: Literal["match", "slice", "none"]) -> tuple[Origin, ...]:
    """What a replacement of `old` may inherit."""
    if mode == "none":
        return ()
    return tuple(
        Origin(old.id, index, overlap=mode == "slice")
        for index, variable in enumerate(old.variables or ())
        if variable.weight
    )


def _question(
    spec: LayerSpec, call: Call, known: Mapping[int, tuple[TensorSpec, ...]]
) -> str | None:
    """A layer and what it takes, but for its name, as text; None where that is not all of it."""
    of_keras = spec.kind == "layer" and spec.cls.__module__.startswith("keras.")
    if not of_keras or spec.prototype is not None or spec.functions or spec.ties or spec.problem:
        return None

    def taken(leaf: Any) -> Any:
        if not isinstance(leaf, Ref):
            raise TypeError
        tensor = known[leaf.call][leaf.index]
        return [tensor.shape, tensor.dtype, tensor.sparse, tensor.ragged]

    what = [str(spec.cls), {**(spec.config or {}), "name": None}, call.args, call.kwargs]
    try:
        return json.dumps(what, default=taken)
    except (TypeError, ValueError, IndexError):  # no plain data, or an output that is no more
        return None


def _symbol(spec: TensorSpec) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, dtype=spec.dtype, sparse=spec.sparse)


def _fits(given: TensorSpec, wanted: TensorSpec) -> bool:
    return len(given.shape) == len(wanted.shape) and all(
        w is None or g is None or g == w for g, w in zip(given.shape, wanted.shape, strict=True)
    )


def _unfit(path: str, given: list[TensorSpec], wanted: list[TensorSpec]) -> ShapeMismatch:
    return ShapeMismatch(
        f"The nested model '{path}' takes {_shapes(wanted)} and would be given {_shapes(given)}. "
        "Change what comes before it, or replace it too."
    )


def _shapes(specs: list[TensorSpec]) -> str:
    return ", ".join(show_shape(spec.shape) for spec in specs)
