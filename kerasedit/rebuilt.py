"""The rebuilt copy: the live model of a graph, with the values, flags and optimizer it goes on with."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Container, Mapping
from typing import Any

import keras

from . import _keras, garbage
from .graph.build import Built, LayerState, Overlap, build_model, overlaid
from .graph.flags import set_flag, settle_flags
from .graph.model_graph import LayerId, ModelGraph
from .training.compiled import PerOutput, carry_compile
from .training.functions import TrainFunctions
from .training.run import Run
from .weights.bank import Bank, SlotKey

Objects = Mapping[LayerId, Any]

_MOST_ARRANGEMENTS = 64  # of an optimizer's slots, each a few lists


class RebuiltCopy:
    """Builds the model of a graph when it is asked for, and keeps it until the structure changes.

    Args:
        source: the model that the first copy takes its values and compiled state from.
        graph, objects: the source's graph, and the live layer behind each identity in it.
        custom_objects: classes and functions that layers' configurations name.
        compile: whether the copy is compiled as the source is.
        in_place: the source itself is the model; it is never rebuilt.

    Attributes:
        built: whether there is a copy yet.
    """

    def __init__(
        self,
        source: keras.Model,
        graph: ModelGraph,
        objects: Objects,
        custom_objects: Mapping[str, Any],
        *,
        compile: bool,
        in_place: bool,
    ) -> None:
        self._source, self._objects = source, objects
        self._custom_objects = custom_objects
        self.compile = compile
        self._bank = Bank(objects, graph)
        # The latest model and the graph that it was built for: the source until there is a copy.
        self._latest = Built(source, objects)
        self._graph = graph
        self.built = in_place
        self._given_up = garbage.GivenUp()
        # What was compiled when the settings could not be carried on: undo may need them again.
        self._compiled_last: tuple[keras.Model, ModelGraph] | None = None
        self._optimizer = getattr(source, "optimizer", None)
        self.functions = TrainFunctions()
        # Slots of what does not train at present, by `id(variable)`, and how many updates there had
        # been; train functions hold the slots themselves.
        self._aside: dict[int, tuple[Mapping[str, Any], Any]] = {}
        self._arrangements: dict[tuple[int, ...], _keras.Arrangement] = {}
        self.run: Run | None = None  # the `fit` that is under way, if one says so
        # Losses and metrics of outputs that undo can bring back.
        self._per_output: PerOutput = {}

    def model(self, graph: ModelGraph, reachable: Callable[[], set[LayerId]]) -> keras.Model:
        """The model of a graph: the one there is, unless the structure is another.

        Args:
            graph: what is wanted.
            reachable: tells which layers undo and redo can bring back.
        """
        if not self.built or self._graph.structure != graph.structure:
            self._rebuild(graph, reachable())
        return self._latest.model

    @property
    def latest(self) -> keras.Model:
        """The model that was asked for last."""
        return self._latest.model

    @property
    def graph(self) -> ModelGraph:
        """The graph that the model asked for last was built for, with the flags that it has."""
        return self._graph

    @property
    def layers(self) -> Objects:
        """The live layers of the model that was asked for last, by identity."""
        return self._latest.layers

    def layer(self, layer_id: LayerId) -> Any:
        """The live layer of an identity in the model that was asked for last."""
        return self._latest.layers[layer_id]

    def identify(self, layer: Any) -> LayerId | None:
        """The identity of a live layer of the copy or of the source."""
        for objects in (self._latest.layers, self._objects):
            for layer_id, live in objects.items():
                if live is layer:
                    return layer_id
        return None

    def live(self, layer_id: LayerId) -> Any | None:
        """The live layer of the latest model, or of the source before there is one."""
        return self._bank.live(layer_id)

    def tensor(self, layer_id: LayerId, index: int) -> Any | None:
        """A variable's latest value, which does not change; None where it is not known yet."""
        return self._bank.value(layer_id, index)

    def state(self, graph: ModelGraph, layer_id: LayerId) -> LayerState | None:
        """The latest values of a layer of `graph`; None where it starts fresh."""
        return self._bank.state(graph, layer_id)

    def give(self, graph: ModelGraph, layer_id: LayerId, index: int, value: Any) -> None:
        """Gives a variable another value: in the model where it is that of `graph`, else later."""
        self._bank.learn(graph)
        self._bank.put(layer_id, index, value)
        if self.built and self._graph.structure == graph.structure:
            self._bank.settle()

    def key(self, graph: ModelGraph, layer_id: LayerId, index: int) -> SlotKey:
        """What a variable of `graph` is known by: the same in all layers that share it."""
        self._bank.learn(graph)
        return self._bank.key(layer_id, index)

    def has_heirs(self, graph: ModelGraph, keys: Container[SlotKey]) -> bool:
        """Whether the next model has a layer that starts with the values of some variables."""
        return self._bank.has_heirs(graph, keys)

    def deposit(self, states: Mapping[LayerId, LayerState]) -> None:
        """Keeps the values of layers that an edit brought in."""
        self._bank.deposit(states)

    def start_with(
        self, graph: ModelGraph, layer_id: LayerId, values: Mapping[int, tuple[Any, Any]]
    ) -> None:
        """Gives variables of a new layer first values, but for a leading part of a known shape."""
        live = self._bank.live(layer_id) is not None
        state = self._bank.state(graph, layer_id)
        variables = graph.layers[layer_id].variables or ()
        known: list[Any] = [None] * len(variables) if state is None else [*state.values]
        for index, (value, limit) in values.items():
            whole = value
            if limit is not None:
                part = known[index]
                whole = overlaid(value, part if isinstance(part, Overlap) else Overlap(part, limit))
            known[index] = whole
            if live:
                self.give(graph, layer_id, index, whole)
        if not live:
            assets = state.assets if state is not None else {}
            self._bank.deposit({layer_id: LayerState(tuple(known), assets)})

    # -- structure -------------------------------------------------------------------------------

    def _rebuild(self, graph: ModelGraph, reachable: set[LayerId]) -> None:
        self._bank.learn(graph)
        built = build_model(
            graph, lambda layer: self._bank.state(graph, layer), self._custom_objects
        )
        for layer_id, layer in built.layers.items():
            old = self._bank.live(layer_id) or self._objects.get(layer_id)
            if old is not None and isinstance(layer, keras.Layer):
                _keras.carry_holds(old, layer)
        settle_flags(graph, built.layers)
        _keras.mark_copy(built.model)
        # A copy that was left uncompiled may have been compiled since.
        carried = self._carry_compile(built, graph) if self.compile or self.built else (None, None)
        by_hand = self.flags_set_by_hand()
        problem, compiled_last = carried
        before = self._graph
        given_up = weakref.ref(self._latest.model) if self.built else None
        # All or nothing: an interrupt before this leaves what there was, one in it leaves the whole.
        try:
            self._adopt(built, graph, reachable, compiled_last)
        except BaseException:
            self._adopt(built, graph, reachable, compiled_last)
            raise
        if before is not graph:
            before.rest(graph)
        if given_up is not None:
            self._given_up.add(given_up)
        if problem:
            warnings.warn(problem, stacklevel=4)
        if by_hand:
            warnings.warn(
                f"The flags of {', '.join(map(repr, by_hand))} were set on ed.model by hand; the new "
                "copy has those that the editor knows. Use ed.freeze and ed.unfreeze.",
                stacklevel=4,
            )

    def _adopt(
        self,
        built: Built,
        graph: ModelGraph,
        reachable: set[LayerId],
        compiled_last: tuple[keras.Model, ModelGraph] | None,
    ) -> None:
        """Makes a model the latest one. Doing it again after an interrupt does the rest."""
        self._bank.adopt(built, graph, reachable)
        self._latest, self._graph, self.built = built, graph, True
        self._compiled_last = compiled_last
        self.functions = TrainFunctions()
        self._aside.clear()
        self._arrangements.clear()
        if built.model.compiled:
            self._optimizer = built.model.optimizer

    def flags_set_by_hand(self) -> dict[str, bool]:
        """The layers of the latest copy whose flags are no longer those that it was built with."""
        return {
            self._graph.paths[layer_id]: layer.trainable
            for layer_id, layer in (self._latest.layers.items() if self.built else ())
            if layer_id in self._graph.paths
            and isinstance(layer, keras.Layer)
            and layer.trainable != self._graph.flags.get(layer_id, layer.trainable)
        }

    def _carry_compile(
        self, built: Built, graph: ModelGraph
    ) -> tuple[str | None, tuple[keras.Model, ModelGraph] | None]:
        """Compiles a new model; a warning and what was compiled last, where that cannot be done."""
        self._stash_slots()
        old_model, old_graph = self._latest.model, self._graph
        if not old_model.compiled and self._compiled_last is not None:
            old_model, old_graph = self._compiled_last
        problem = carry_compile(
            old_model,
            built.model,
            self._slot_values(built.layers, graph),
            (old_graph.net, graph.net),
            self._per_output,
        )
        if built.model.compiled and built.model.optimizer is not None:
            pairs = [
                (old, new)
                for layer_id, layer in self._latest.layers.items()
                if layer_id in built.layers and isinstance(layer, keras.Layer)
                for (_, old, _), (_, new, _) in zip(
                    _keras.named_variables(layer),
                    _keras.named_variables(built.layers[layer_id]),
                    strict=False,
                )
            ]
            _keras.move_exclusions(built.model.optimizer, pairs)
        failed = problem is not None and not built.model.compiled
        return problem, ((old_model, old_graph) if failed else None)

    # -- flags -----------------------------------------------------------------------------------

    def follow(self, graph: ModelGraph, *, gather: bool = False) -> None:
        """Acts on the model in place where only flags differ: at once, or in `fit` at the next batch.

        Args:
            graph: what is wanted.
            gather: whether, in `fit`, more may be waited for.
        """
        if not self.built or self._graph.structure != graph.structure:
            return
        if self.run is not None and self.run.under_way():
            self.run.want(graph, gather=gather)
            return
        self._bank.settle()
        self.set_flags(graph)

    def set_flags(self, graph: ModelGraph) -> bool:
        """Gives the model the flags of a graph; the optimizer and the train function follow.

        Returns:
            Whether the next step of training has to be traced.
        """
        present = {*self._latest.layers, *graph.owners}
        changed = [
            identity
            for identity, flag in graph.flags.items()
            if self._graph.flags.get(identity) != flag and identity in present
        ]
        before = self._graph
        _keras.sync_state(self._latest.model)
        try:
            self._set_flags(changed, graph)
            self._graph = graph
            return bool(changed) and self._latest.model.compiled and self._refit_optimizer()
        except BaseException:  # an interrupt
            self._set_flags(changed, before)
            self._graph = before
            raise

    def _set_flags(self, identities: list[int], graph: ModelGraph) -> None:
        layers = self._latest.layers
        for layer_id in identities:
            if layer_id in layers:  # and no variable that layers share
                set_flag(graph, layers, layer_id)
        settle_flags(graph, layers)

    def ready_optimizer(self) -> None:
        """Slots for exactly what trains, before training; the first step is then traced once."""
        model = self._latest.model
        optimizer = model.optimizer
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            return
        if not optimizer.built:
            _keras.build_optimizer(optimizer, list(model.trainable_variables))
        elif _keras.slotted(optimizer) != tuple(map(id, model.trainable_variables)):
            self._refit_optimizer()

    def _refit_optimizer(self) -> bool:
        """After flags changed: slots for exactly what trains, none of what is known lost.

        Keras itself would go on training a frozen layer, and not train an unfrozen one.
        """
        model = self._latest.model
        optimizer = model.optimizer
        if isinstance(optimizer, keras.optimizers.Optimizer) and optimizer.built:
            self._know_optimizer(optimizer)
            before = _keras.slots_of(optimizer)
            try:
                self._arrange_slots(optimizer, list(model.trainable_variables))
            except Exception as problem:
                text = "The optimizer cannot follow; call ed.model.compile(...). The reason: "
                warnings.warn(f"{text}{problem}", stacklevel=7)
            else:
                present = _keras.slots_of(optimizer)
                updates = _keras.updates_made(optimizer)
                for variable_id in before.keys() - present.keys():
                    self._aside[variable_id] = before[variable_id], updates
                for variable_id in present:
                    self._aside.pop(variable_id, None)
        return self.functions.choose(model)

    def _arrange_slots(self, optimizer: Any, variables: list[Any]) -> None:
        """Gives an optimizer the slots of variables; quickly where it had just these before."""
        key = tuple(map(id, variables))
        known = self._arrangements.get(key)
        # Sums of gradients may have to start anew.
        if known is not None and not _keras.accumulates(optimizer):
            known.restore()
            return
        if len(self._arrangements) > _MOST_ARRANGEMENTS:
            self._arrangements.clear()
        before = _keras.slotted(optimizer)
        aside = self._put_aside(_keras.updates_made(optimizer))
        self._arrangements[before], self._arrangements[key] = _keras.refit_slots(
            optimizer, variables, aside
        )

    def _put_aside(self, updates: Any) -> Callable[[Any], Mapping[str, Any] | None]:
        """Finds the slots of a variable that comes back.

        Gradients that were summed up for an update that the others have made since are dropped.
        """
        kept = self._slot_values(self._latest.layers, self._graph)

        def aside(variable: Any) -> Mapping[str, Any] | None:
            if id(variable) not in self._aside:
                return kept(variable)
            own, then = self._aside[id(variable)]
            if then == updates:
                return own
            return {name: slot for name, slot in own.items() if name != _keras.ACCUMULATED}

        return aside

    # -- the optimizer's slots -------------------------------------------------------------------

    def _stash_slots(self) -> None:
        """Takes the slots of the latest model's optimizer into the bank, under lasting keys."""
        model = self._latest.model
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not model.compiled:
            return
        self._know_optimizer(optimizer)
        keys = self._bank.variable_keys(self._latest.layers, self._graph)
        aside = {variable_id: own for variable_id, (own, _) in self._aside.items()}
        for variable_id, own in {**aside, **_keras.slots_of(optimizer)}.items():
            if variable_id in keys:
                self._bank.slots[keys[variable_id]] = {
                    name: _keras.snapshot(slot) for name, slot in own.items()
                }

    def _know_optimizer(self, optimizer: Any) -> None:
        """What an optimizer left is not for one that the model was compiled anew with."""
        if optimizer is not self._optimizer:
            self._bank.slots.clear()
            self._per_output.clear()
            self._aside.clear()
            self._arrangements.clear()
            self._optimizer = optimizer

    def _slot_values(
        self, layers: Objects, graph: ModelGraph
    ) -> Callable[[Any], Mapping[str, Any] | None]:
        """Finds the kept slots of a variable of a model's layers."""
        keys = self._bank.variable_keys(layers, graph)

        def slots(variable: Any) -> Mapping[str, Any] | None:
            key = keys.get(id(variable))
            return None if key is None else self._bank.slots_for(graph, key)

        return slots
