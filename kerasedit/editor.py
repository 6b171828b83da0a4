"""The editor: a source model, the graph of its edited copy, the history, and who owns the weights."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from . import _keras
from .edits import Edit, Quantize, Transaction
from .edits.base import NewValues, Report, Workspace
from .errors import EditError, ShapeMismatch, StructureError
from .files import load_model, save_model
from .graph.build import Built, LayerState, Overlap, build_model
from .graph.flags import changed_flags
from .graph.model_graph import Entry, LayerId, ModelGraph, VariableSpec
from .graph.read import read_model
from .handback import after_cell, bind
from .methods import EditMethods
from .names import listed
from .plan import Plan, make_plan
from .rebuilt import RebuiltCopy
from .running import Side
from .targets import as_data, select
from .training.monitor import Monitor
from .training.run import Run
from .verify import Verification, verify_copy, verify_loaded
from .views import LayerView
from .weights.bank import SlotKey
from .weights.loaded import other_weights

if TYPE_CHECKING:
    from .compress.distilling import Distiller
    from .compress.groups import ChannelGroup
    from .compress.quantized import Quantization
    from .differences import Diff
    from .exporting import Export
    from .recipe import Recipe
    from .replay import Replay
    from .training.live import LiveEdit


@dataclass(frozen=True)
class Event:
    """What subscribers are told: `kind` is `"edit"`, `"undo"`, `"redo"`, `"reset"`, `"model"` or
    `"close"`, after which they are told no more.

    `revision` grows by one with each; `structural` is False where only flags changed.
    """

    kind: str
    revision: int
    structural: bool


@dataclass(frozen=True)
class ValueChange:
    """A variable that an edit gave another value; `drawn` tells that it is a random one."""

    layer: LayerId
    index: int
    path: str
    before: Any
    after: Any
    drawn: bool = False


@dataclass(frozen=True)
class _Step:
    """An entry of the history: the edit (None for a reset) and the graphs around it.

    `matched` has, for each single edit, its targets and the paths that these named. `brought` are
    the layers that came with weights of their own.
    """

    edit: Edit | None
    before: ModelGraph
    after: ModelGraph
    lines: tuple[str, ...] = ()
    values: tuple[ValueChange, ...] = ()
    matched: tuple[tuple[tuple[Any, tuple[str, ...]], ...], ...] = ()
    brought: frozenset[LayerId] = frozenset()

    @property
    def label(self) -> str:
        return self.edit.describe() if self.edit is not None else "reset"


class Editor(EditMethods["Editor"]):
    """Edits a Keras model on a rebuilt copy.

    Every editing method returns the editor, so calls chain. An edit that raises changes nothing.

    Args:
        model_or_path: a built Sequential, functional or subclassed `keras.Model`, or the path of a
            `.keras` or `.h5` file.
        custom_objects: classes and functions that the model's layers name, as in Keras.
        safe_mode: for files: refuse what would run code on loading.
        in_place: work on the model itself, as for a subclassed one that cannot be copied. Only flags
            and weights can be edited then, and that changes the model given.
        compile: whether the copy is compiled as the source is.

    Attributes:
        preview: the editing methods again, each returning a `Plan` and changing nothing.
        lock: held while the editor changes; hold it for several looks at one state.
        replay: what the last `Recipe.apply` on this editor did, edit by edit; None before one.

    Raises:
        EditError: what is given is no model or path.
        StructureError: the model is not built, or cannot be copied.
    """

    def __init__(
        self,
        model_or_path: keras.Model | str | os.PathLike[str],
        *,
        custom_objects: Mapping[str, Any] | None = None,
        safe_mode: bool = True,
        in_place: bool = False,
        compile: bool = True,
    ) -> None:
        if isinstance(model_or_path, (str, os.PathLike)):
            model = load_model(
                model_or_path, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
            )
        elif isinstance(model_or_path, keras.Model):
            model = model_or_path
        else:
            raise EditError(
                f"A Keras model or the path of one is needed, not {type(model_or_path).__name__}."
            )
        self.lock = threading.RLock()
        self._custom_objects = dict(custom_objects or {})
        self._in_place = in_place
        self._source = model
        graph, objects = read_model(model, copied=not in_place)
        self._source_graph = self._graph = graph
        self._source_objects = objects
        self._copy = self._new_copy(compile)
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._transaction: list[Edit] | None = None
        # What edits gave weights since an operation began that is done whole or not at all.
        self._journal: list[tuple[ValueChange, Any]] = []
        self._depth = 0
        self._revision = 0
        self._subscribers: list[Callable[[Event], Any]] = []
        self._shown: Any = None
        self._gathering = False
        self._monitor = Monitor()
        self.replay: Replay | None = None
        self.handed_back: str | None = None  # the variable that has `model`, as it was then
        self.preview = Preview(self)
        if graph.net.opaque:
            _ = self.model  # whether such a model can be copied is only known by doing it

    def _new_copy(self, compile: bool) -> RebuiltCopy:
        return RebuiltCopy(
            self.source,
            self._source_graph,
            self._source_objects,
            self._custom_objects,
            compile=compile,
            in_place=self._in_place,
        )

    # -- looking ---------------------------------------------------------------------------------

    @property
    def graph(self) -> ModelGraph:
        """The immutable picture of the edited model."""
        return self._graph

    @property
    def source(self) -> keras.Model:
        """The model given; it is never changed (but with `in_place`)."""
        return self._source

    @property
    def source_graph(self) -> ModelGraph:
        """The immutable picture of the source."""
        return self._source_graph

    def source_layer(self, layer: LayerId) -> Any | None:
        """The source's live layer of an identity; None for one that an edit brought in."""
        return self._source_objects.get(layer)

    @property
    def custom_objects(self) -> Mapping[str, Any]:
        """The classes and functions that were given for the model's layers."""
        return self._custom_objects

    @property
    def revision(self) -> int:
        """Grows by one with every change."""
        return self._revision

    @property
    def layers(self) -> tuple[LayerView, ...]:
        """The layers in the order data flows, nested ones after their model."""
        graph = self._graph
        return tuple(LayerView(self, graph, entry) for entry in graph.entries)

    def find(self, target: Any) -> list[str]:
        """The paths that a target names.

        Raises:
            TargetError: it names none; the nearest names are offered.
        """
        return [entry.path for entry in select(self._graph, self.target_data(target))]

    @property
    def history(self) -> tuple[Edit, ...]:
        """The edits so far, the oldest first; those undone or before a reset are not in it."""
        return tuple(step.edit for step in self.steps if step.edit is not None)

    @property
    def steps(self) -> tuple[_Step, ...]:
        """The steps of the history since the last reset."""
        start = 0
        for index, step in enumerate(self._done):
            if step.edit is None:
                start = index + 1
        return tuple(self._done[start:])

    @property
    def undone_steps(self) -> tuple[_Step, ...]:
        """The steps that `redo` would make again, the next one first."""
        return tuple(reversed(self._undone))

    @property
    def reweighted(self) -> frozenset[LayerId]:
        """The layers whose weights an edit of the history changed."""
        return frozenset(change.layer for step in self.steps for change in step.values)

    @property
    def undo_label(self) -> str | None:
        """What `undo` would take back, in words; None where there is nothing."""
        return self._done[-1].label if self._done else None

    @property
    def redo_label(self) -> str | None:
        """What `redo` would make again, in words; None where there is nothing."""
        return self._undone[-1].label if self._undone else None

    @property
    def report(self) -> tuple[str, ...]:
        """What the last edit did beside what it was asked for, in lines."""
        return self._done[-1].lines if self._done else ()

    @property
    def in_place(self) -> bool:
        """Whether the editor works on the source itself."""
        return self._in_place

    def channel_groups(self, target: Any = None) -> list[ChannelGroup]:
        """Which channels of which layers are tied together, so that they go or stay together.

        Args:
            target: only the groups that one of these layers has to do with, those that it makes
                first; without it all.

        Raises:
            StructureError: the model's call is Python code.
        """
        from .compress.groups import Channels

        with self.lock:
            graph = self._graph
            found = Channels(graph).described()
            if target is None:
                return list(found)
            named = select(graph, self.target_data(target))
            paths = {graph.paths[entry.layer] for entry in named}
            inside = tuple(f"{entry.path}/" for entry in named if graph.layers[entry.layer].net)

            def has(layers: tuple[str, ...]) -> bool:
                return any(path in paths or path.startswith(inside) for path in layers)

            # Those that the layers make come before those that they take.
            return sorted((g for g in found if has(g.layers)), key=lambda g: not has(g.makers))

    def quantization(self, inputs: Any = None) -> Quantization:
        """What `ed.quantize` did last: to which layers, to the size, and to the outputs.

        Args:
            inputs: what the model takes; drawn if None.

        Raises:
            EditError: nothing was quantized, or only in a transaction with other edits.
        """
        from .compress.quantized import quantization_of

        with self.lock:
            self._not_in_training("looked at")
            for step in reversed(self.steps):
                if isinstance(step.edit, Quantize):
                    work = replace(self._workspace(), graph=step.before)
                    return quantization_of(step.edit, work, step.after, self._make, inputs)
            raise EditError("No step of the history is one of ed.quantize.")

    # -- editing ---------------------------------------------------------------------------------

    @property
    def _editor(self) -> Editor:
        return self

    def _run(self, make: Callable[[], Edit]) -> Editor:
        with self.lock:
            self.training()
            self._take(make())
            return self

    def _take(self, edit: Edit) -> None:
        if not isinstance(edit, Transaction):
            self._take_one(edit)
        elif self._transaction is None:
            with self.transaction(edit.label):
                for part in edit.edits:
                    self._take(part)
        else:
            with self._all_or_nothing():
                for part in edit.edits:
                    self._take(part)

    def _take_one(self, edit: Edit) -> None:
        work = self._workspace()
        edit = edit.settled(work)
        edit.apply(work)
        work.tell_outputs(self._graph)
        structural = self._is_structural(work)
        if self._waits(
            edit.describe(), structural, bool(work.values), lambda: self._run(lambda: edit)
        ):
            return
        if work.values:
            _keras.sync_state(self._copy.latest)
        values = self._new_values(work)
        self._copy.deposit(work.states)
        edit = edit.recorded({v.path: keras.ops.convert_to_numpy(v.after) for v in values})
        lines, matched = report_lines(work.report), (tuple(work.report.matched),)
        brought = frozenset(work.states)
        self._push(_Step(edit, self._graph, work.graph, lines, values, matched, brought))
        for text in work.report.warnings:
            warnings.warn(text, stacklevel=5)

    def _is_structural(self, work: Workspace) -> bool:
        """Whether what was edited is the structure.

        Raises:
            StructureError: and it must not be, as the editor works on the model itself.
        """
        if work.graph.structure == self._graph.structure:
            return False
        if self._in_place:
            raise StructureError(
                "The editor works on the model itself (in_place=True), so only flags and weights "
                "can be edited. Open it without in_place=True to edit the structure of a copy."
            )
        return True

    def _new_values(self, work: Workspace) -> tuple[ValueChange, ...]:
        """The values that an edit gives weights; nothing is written yet."""
        news: dict[SlotKey, NewValues] = {}
        for new in work.values:  # a variable that layers share is changed once
            news.setdefault(self._copy.key(self._graph, new.layer, new.index), new)
        if news and self._copy.has_heirs(self._graph, news):
            _ = self.model  # what is to start with the values from before gets them now
        found: list[ValueChange] = []
        for new in news.values():
            before = self._present(new.layer, new.index)
            after = new.make(keras.ops.convert_to_numpy(before), self._copy.live(new.layer))
            found.append(ValueChange(new.layer, new.index, new.path, before, after, new.drawn))
        return tuple(found)

    def _present(self, layer: LayerId, index: int) -> Any:
        """A variable's latest value; `ed.model` is built where only it can know that."""
        value = self._copy.tensor(layer, index)
        if value is None:
            _ = self.model
            value = self._copy.tensor(layer, index)
        return value

    def _plan(self, make: Callable[[], Edit]) -> Plan:
        with self.lock:
            self.training()
            edit: Edit | None = None
            work = self._workspace()
            try:
                with _keras.preserved_random():
                    edit = make()
                    edit = edit.settled(work)
                    edit.apply(work)
                work.tell_outputs(self._graph)
                structural = self._is_structural(work)
                if structural and self._run_before(edit.describe(), structural, False):
                    work.report.warnings.append("It is made when fit has ended.")
            except EditError as problem:
                description = edit.describe() if edit else "this edit"
                code = edit.to_code() if edit else ""
                return Plan(
                    False,
                    description,
                    code,
                    errors=(str(problem),),
                    mismatch=isinstance(problem, ShapeMismatch) and problem.of_weights,
                    before=self._graph,
                )
            return make_plan(edit.describe(), edit.to_code(), self._graph, work.graph, work.report)

    def _workspace(self) -> Workspace:
        settings = _keras.compile_settings(self._copy.latest)
        given = self._custom_objects
        return Workspace(
            self._graph,
            given,
            look=self._look,
            draw=self._draw,
            make=self._make,
            settings=settings,
        )

    def _make(self, graph: ModelGraph) -> Built:
        """A model of its own, with the latest values that layers of a graph have."""
        _keras.sync_state(self._copy.latest)
        return build_model(
            graph, lambda layer: self._copy.state(graph, layer), self._custom_objects
        )

    def _look(self, graph: ModelGraph, layer: LayerId, index: int) -> np.ndarray:
        """The latest value of a variable of a graph, which may be one in the making."""
        value = self._copy.tensor(layer, index)
        if value is None:
            state = self._copy.state(graph, layer)
            value = None if state is None else state.values[index]
        if value is None or isinstance(value, Overlap):
            if layer not in self._graph.paths:
                path = graph.paths[layer]
                raise EditError(f"The weights of '{path}' are drawn when the edits are made.")
            value = self._present(layer, index)
        return keras.ops.convert_to_numpy(value)

    def _draw(self, graph: ModelGraph, layer: LayerId) -> None:
        """Lets a layer have values, by building `ed.model`; those that are only planned have none."""
        state = self._copy.state(graph, layer)
        if (state is None or not state.known) and layer in self._graph.paths:
            _ = self.model

    def _push(self, step: _Step) -> None:
        with self._all_or_nothing():
            self._make_again(step)
            self._done.append(step)
            self._undone.clear()
            if self._transaction is not None and step.edit is not None:
                self._transaction.append(step.edit)
        if self._transaction is None:
            self._announce("edit" if step.edit else "reset", step)

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Takes back all that was done inside, if an error or an interrupt leaves it."""
        graph, done, undone = self._graph, list(self._done), list(self._undone)
        edits, mark = list(self._transaction or ()), len(self._journal)
        self._depth += 1
        try:
            yield
        except BaseException:
            self._move(graph)
            for change, value in reversed(self._journal[mark:]):
                self._copy.give(graph, change.layer, change.index, value)
            del self._journal[mark:]
            self._done[:], self._undone[:] = done, undone
            if self._transaction is not None:
                self._transaction[:] = edits
            raise
        finally:
            self._depth -= 1
            if not self._depth:
                self._journal.clear()

    def _move(self, graph: ModelGraph) -> None:
        """Makes another graph the current one. Flags act on the built copy at once."""
        before, self._graph = self._graph, graph
        self._copy.follow(graph, gather=self._gathering)
        if self._copy.run is not None and self._copy.run.under_way():
            # Known before the edit is, so that no view takes it for done.
            self._monitor.update(pending=tuple(changed_flags(self._copy.graph, graph)))
        before.rest(graph)

    def _give(self, values: list[tuple[ValueChange, Any]]) -> None:
        """Gives weights other values, on the built copy at once."""
        for change, value in values:
            self._journal.append((change, self._present(change.layer, change.index)))
            self._copy.give(self._graph, change.layer, change.index, value)

    def _take_back(self, step: _Step) -> list[str]:
        """Undoes a step; returns the paths of weights that were trained since it was made."""
        trained = self._changed_since([(change, change.after) for change in step.values])
        self._give([(change, change.before) for change in reversed(step.values)])
        self._move(step.before)
        return trained

    def _make_again(self, step: _Step) -> list[str]:
        """Redoes a step; returns the paths of weights that were trained since it was undone."""
        self._move(step.after)
        trained = self._changed_since([(change, change.before) for change in step.values])
        self._give([(change, change.after) for change in step.values])
        return trained

    def _changed_since(self, values: list[tuple[ValueChange, Any]]) -> list[str]:
        return [
            change.path
            for change, value in values
            if not _same_bits(self._present(change.layer, change.index), value)
        ]

    def undo(self, n: int = 1) -> Editor:
        """Takes back the last `n` steps. Training is no edit: what was trained stays trained.

        An edit of weights is taken back by giving them the values from before it, with a warning
        where they were trained since.

        Raises:
            EditError: there are fewer steps.
        """
        with self.lock:
            self.training()
            self._check_steps(n, len(self._done), "undo")
            steps = self._done[: -n - 1 : -1]
            if self._step_waits("undo", steps, lambda: self.undo(n)):
                return self
            with self._all_or_nothing():
                trained = [path for step in steps for path in self._take_back(step)]
                del self._done[-n:]
                self._undone.extend(steps)
            self._announce("undo", *steps)
            _warn_of_trained(trained)
            return self

    def redo(self, n: int = 1) -> Editor:
        """Makes the last `n` undone steps again.

        Raises:
            EditError: there are fewer.
        """
        with self.lock:
            self.training()
            self._check_steps(n, len(self._undone), "redo")
            steps = self._undone[: -n - 1 : -1]
            if self._step_waits("redo", steps, lambda: self.redo(n)):
                return self
            with self._all_or_nothing():
                trained = [path for step in steps for path in self._make_again(step)]
                del self._undone[-n:]
                self._done.extend(steps)
            self._announce("redo", *steps)
            _warn_of_trained(trained)
            return self

    def _check_steps(self, n: int, there: int, what: str) -> None:
        if self._transaction is not None:
            raise EditError(f"{what} cannot be used inside a transaction.")
        if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
            raise EditError(f"{what} takes a number of steps from 1, not {n!r}.")
        if n > there:
            raise EditError(
                f"There {'is 1 step' if there == 1 else f'are {there} steps'} to {what}, not {n}."
            )

    def reset(self) -> Editor:
        """Goes back to the source's structure and flags, and to the values from before edits of weights.

        This can be undone.
        """
        with self.lock:
            if self._transaction is not None:
                raise EditError("reset cannot be used inside a transaction.")
            self.training()
            values = self._values_from_before()
            if self._graph is not self._source_graph or values:
                step = _Step(None, self._graph, self._source_graph, values=values)
                if not self._step_waits("reset", [step], self.reset):
                    self._push(step)
            return self

    def _values_from_before(self) -> tuple[ValueChange, ...]:
        """What brings the values of the source's layers back that edits changed."""
        found: dict[SlotKey, ValueChange] = {}
        for change in (change for step in self.steps for change in step.values):
            key = self._copy.key(self._source_graph, change.layer, change.index)
            if key not in found and change.layer in self._source_graph.layers:
                present = self._present(change.layer, change.index)
                found[key] = replace(change, before=present, after=change.before, drawn=False)
        return tuple(found.values())

    @contextlib.contextmanager
    def transaction(self, label: str) -> Iterator[Editor]:
        """Several edits as one step: all of them, or none if an error leaves the block.

        Raises:
            EditError: a transaction is open already.
        """
        with self.lock:
            if self._transaction is not None:
                raise EditError("A transaction is open already.")
            self.training()
            before, mark = self._graph, len(self._done)
            self._transaction = []
            try:
                with self._all_or_nothing():
                    yield self
            except BaseException:
                self._transaction = None
                raise
            edits, self._transaction = tuple(self._transaction), None
            parts = self._done[mark:]
            del self._done[mark:]
            if edits:
                step = _Step(
                    Transaction(label, edits),
                    before,
                    self._graph,
                    tuple(line for part in parts for line in part.lines),
                    tuple(change for part in parts for change in part.values),
                    tuple(matched for part in parts for matched in part.matched),
                    frozenset().union(*(part.brought for part in parts)),
                )
                self._done.append(step)
                self._announce("edit", step)

    @contextlib.contextmanager
    def attempt(self) -> Iterator[Editor]:
        """Takes back the edits made inside, if an error leaves the block; each is a step of its own."""
        with self.lock:
            start = reached = self._graph
            try:
                with self._all_or_nothing():
                    try:
                        yield self
                    finally:
                        reached = self._graph
            except BaseException:
                if reached is not start:
                    self._announce("undo", _Step(None, reached, start))
                raise

    # -- training --------------------------------------------------------------------------------

    def live(self, **options: Any) -> LiveEdit:
        """A callback for `ed.model.fit`: what is frozen and unfrozen meanwhile holds from the next
        batch on.

        Args:
            options: those of `LiveEdit`.
        """
        from .training.live import LiveEdit

        return LiveEdit(self, **options)

    def distiller(
        self,
        *,
        loss: Any = None,
        weights: Any = None,
        temperature: float = 3.0,
        student_loss_weight: float = 0.5,
    ) -> Distiller:
        """Keras's own `Distiller`, with the source as the teacher and `ed.model` as the student.

        `ed.distiller().fit(x, y)` trains `ed.model` itself, with its own optimizer, by its own loss and
        by what the source puts out. The source is not touched. After an edit of the structure, make
        another distiller.

        Args:
            loss: a `keras.distillation.DistillationLoss`, or a list of them. If None, outputs that are
                classes are compared by their logits (or the logarithms of their probabilities) at a
                temperature, others by the mean square of their difference.
            weights: of the losses, where several are given.
            temperature: more lets the student learn more of classes that are not the likeliest.
            student_loss_weight: the share of the student's own loss, from 0 to 1.

        Raises:
            EditError: `ed.model` is not compiled, is the source itself (`in_place=True`), or puts out
                something else than the source.
        """
        from .compress.distilling import make_distiller

        with self.lock:
            self._not_in_training("taught")
            source, copy = self._sides()
            if source is None:
                raise EditError(
                    "The editor works on the model itself (in_place=True), which cannot be its own "
                    "teacher. Open it without in_place=True."
                )
            return make_distiller(
                source,
                copy,
                self._custom_objects,
                loss=loss,
                weights=weights,
                temperature=temperature,
                student_loss_weight=student_loss_weight,
            )

    @property
    def monitor(self) -> Monitor:
        """What is known of the training that a live callback tells of."""
        return self._monitor

    def training(self) -> Run | None:
        """The `fit` with a live callback that is under way; None where there is none.

        What one that was interrupted left to do is done.
        """
        run = self._copy.run
        if run is None or run.under_way():
            return run
        self.end_training(run)
        return None

    def begin_training(self, run: Run) -> None:
        """Lets edits wait for a `fit`.

        Raises:
            EditError: the model is in training already.
        """
        with self.lock:
            if self.training() is not None:
                raise EditError("ed.model is in training already; one fit at a time can be edited.")
            self._copy.run = run
            self._copy.functions.note(self._copy.latest)
        after_cell(lambda: self._settle(run))

    def _settle(self, run: Run) -> None:
        """After the cell of a `fit`: one that was interrupted says nothing itself.

        The iterators that it leaves to the garbage go now. TensorFlow waits for their threads, which
        was seen to take half a minute in the midst of the next `fit`.
        """
        self.training()
        if not run.finished:
            gc.collect()

    def end_training(self, run: Run) -> None:
        """Does what waited for the end of a `fit`."""
        with self.lock:
            if self._copy.run is not run:
                return
            run.end()
            # Whatever was asked for, and wherever an interrupt came: this is what holds.
            self._copy.set_flags(self._graph)
            self._copy.ready_optimizer()
            self._copy.run = None
            self._monitor.end(stopped=not run.finished)
            for work in run.rest():
                try:
                    work()
                except EditError as problem:
                    warnings.warn(
                        f"An edit that waited for fit to end was not made: {problem}", stacklevel=3
                    )

    def ready_to_train(self) -> None:
        """Takes in flags set by hand on `ed.model`, and gives its optimizer slots for what trains."""
        with self.lock:
            by_hand = self._copy.flags_set_by_hand()
            for value, method in ((False, self.freeze), (True, self.unfreeze)):
                paths = [path for path, flag in by_hand.items() if flag is value]
                if paths:
                    method(*paths)
            self._copy.ready_optimizer()

    def set_flags(self, graph: ModelGraph) -> tuple[ModelGraph, bool]:
        """On the thread of `fit`, between batches: the flags of a graph for the model in training.

        Nothing is locked, so that `fit` never waits for whoever holds the lock.

        Returns:
            The graph with the flags from before, and whether the next step has to be traced.
        """
        before = self._copy.graph
        return before, self._copy.set_flags(graph)

    def renew_train_function(self) -> None:
        """On the thread of `fit`: the next step is traced as optimizer and flags are now."""
        self._copy.functions.choose(self._copy.latest)

    def live_variable(self, layer: LayerId, spec: VariableSpec) -> Any | None:
        """The variable of `ed.model` that a specification stands for."""
        live = self._copy.live(layer)
        index = (self._graph.layers[layer].variables or ()).index(spec)
        return None if live is None else _keras.named_variables(live)[index][1]

    def variables_at(self, path: str) -> list[Any]:
        """The variables of the layer of `ed.model` at a path."""
        live = self._copy.live(self._graph.by_path[path].layer)
        return [] if live is None else list(live.variables)

    @property
    def applied_graph(self) -> ModelGraph:
        """The graph with the flags that `ed.model` has: in training, those of the last batch."""
        return self._copy.graph if self._copy.run is not None else self._graph

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Flags that are set inside may wait a moment for more, where a `fit` is under way."""
        with self.lock:
            before, self._gathering = self._gathering, True
            try:
                yield
            finally:
                self._gathering = before

    def _waits(self, what: str, structural: bool, weights: bool, again: Callable[[], Any]) -> bool:
        """Puts off, while `fit` runs, what must not be done in the middle of a step."""
        run = self._run_before(what, structural, weights)
        if run is None:
            return False
        (run.at_end if structural else run.between)(again)
        return True

    def _run_before(self, what: str, structural: bool, weights: bool) -> Run | None:
        """The `fit` that an edit waits for, if it has to.

        Raises:
            StructureError: the structure cannot change during `fit`.
            EditError: a transaction would be torn apart.
        """
        run = self._copy.run
        if run is None or not (structural or (weights and not run.here())):
            return None
        if self._transaction is not None and (run.queue_structure or not structural):
            raise EditError(
                f"{what}: while fit runs, edits of weights and structure are made one by one, "
                "not in a transaction."
            )
        if structural and not run.queue_structure:
            raise StructureError(
                f"{what}: the structure cannot change while fit runs. Make this edit after it, or "
                "train with ed.live(structure='queue'), which makes it when fit has ended."
            )
        return run

    def _step_waits(self, what: str, steps: list[_Step], again: Callable[[], Any]) -> bool:
        structural = any(s.before.structure != s.after.structure for s in steps)
        return self._waits(what, structural, any(s.values for s in steps), again)

    def _not_in_training(self, what: str) -> None:
        if self.training() is not None:
            raise EditError(
                f"The model cannot be {what} while fit changes it. Do it after fit; to save it in "
                "between there is keras.callbacks.ModelCheckpoint."
            )

    # -- recipes ---------------------------------------------------------------------------------

    def recipe(self, weights: bool = True) -> Recipe:
        """The edits as data, to be saved and made again on another model.

        Args:
            weights: whether weights that making the edits again would draw anew are part of it, so
                that on the same model it gives the same to the bit. Training is no edit: weights of
                the source that were trained are not.

        Raises:
            EditError: an edit holds what is no data, such as a function that Keras does not know.
        """
        from .recipe import make_recipe

        with self.lock:
            return make_recipe(self, weights)

    def learn_objects(self, custom_objects: Mapping[str, Any]) -> None:
        """Makes classes and functions known that layers to come may name."""
        self._custom_objects.update(custom_objects)

    def start_with(self, layer: LayerId, values: Mapping[int, tuple[Any, Any]]) -> None:
        """Gives weights of a layer that an edit brought in their first values. This is no edit.

        Args:
            layer: its identity.
            values: by position in `layer.variables`, the value, and the shape of the leading part
                that is known without it (None: nothing) and stays as it is.
        """
        with self.lock:
            self._copy.start_with(self._graph, layer, values)

    # -- the copy --------------------------------------------------------------------------------

    @property
    def model(self) -> keras.Model:
        """The rebuilt copy, a model of its own.

        It is built on first use, and again only after the structure changed; until then it is the
        same object, on which flag and weight edits act in place.

        Raises:
            StructureError: a layer cannot be made again from its configuration.
        """
        with self.lock:
            run = self.training()
            if run is not None and run.here():
                _keras.sync_state(self._copy.latest)
            return self._copy.model(self._graph, self._reachable)

    @property
    def made(self) -> keras.Model | None:
        """`ed.model` if it is there; None where asking for it would build it."""
        there = self._copy.built and self._copy.graph.structure == self._graph.structure
        return self._copy.latest if there else None

    @property
    def latest(self) -> keras.Model | None:
        """The copy that was built last, which may be of before some edits; None while there is none."""
        return self._copy.latest if self._copy.built else None

    @property
    def unmade(self) -> int:
        """How many edits the copy that was built last does not have."""
        if self.made is not None:
            return 0
        there = self._copy.graph.structure
        steps = reversed(self.steps) if self._copy.built else ()
        since = (n for n, step in enumerate(steps) if step.after.structure == there)
        return next(since, len(self.steps)) or 1

    def _reachable(self) -> set[LayerId]:
        """Every layer that the present graph or a step of the history has or inherits from.

        With them, by their tokens, the variables that layers share.
        """
        steps = (*self._done, *self._undone)
        graphs = {id(g): g for step in steps for g in (step.before, step.after)}
        return self._graph.identities.union(*(graph.identities for graph in graphs.values()))

    def live_layer(self, entry: Entry) -> Any:
        """The layer of `ed.model` at a place."""
        with self.lock:
            _ = self.model
            return self._copy.layer(entry.layer)

    def weight_value(self, entry: Entry, index: int) -> np.ndarray:
        """A variable's latest values, by its position in `layer.variables`.

        `ed.model` is built where only it can know them: a fresh layer has none before.
        """
        with self.lock:
            return keras.ops.convert_to_numpy(self._present(entry.layer, index))

    def known_value(self, entry: Entry, index: int) -> Any | None:
        """A variable's latest value, by its position; None where only `ed.model` would know it."""
        with self.lock:
            return self._copy.tensor(entry.layer, index)

    def layer_state(self, layer: LayerId) -> LayerState | None:
        """The latest values of a layer, without building `ed.model`; None where it starts fresh."""
        with self.lock:
            return self._copy.state(self._graph, layer)

    def close(self) -> None:
        """Frees the copy and the history. The source and models handed out stay."""
        with self.lock:
            self._done.clear()
            self._undone.clear()
            self._graph = self._source_graph
            self._copy = self._new_copy(self._copy.compile)
            self._announce("close")
            self._subscribers.clear()

    # -- handing out -----------------------------------------------------------------------------

    def hand_back(
        self,
        name: str,
        namespace: MutableMapping[str, Any] | None = None,
        overwrite: bool = False,
        verify: Any = False,
    ) -> keras.Model:
        """Binds `ed.model` to a variable of the notebook and returns it.

        Flag and weight edits act on the handed-back model too, until the next structural edit.

        Args:
            name: the variable.
            namespace: where to bind it; IPython's user namespace if None.
            overwrite: replace what is no Keras model.
            verify: bind it only if it is sound: True, or the inputs to find that out with.

        Raises:
            NameTaken: the name holds something else than a Keras model.
            EditError: it is no name for a variable, there is no notebook, or the copy is not sound.
        """

        def sound() -> keras.Model:
            if verify is not False:
                _require(self.verify(None if verify is True else verify))
            return self.model

        with self.lock:
            model = bind(name, sound, namespace, overwrite)
            self.handed_back = name
            return model

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        verify: Any = False,
        last: Callable[[], object] = lambda: None,
    ) -> Editor:
        """Saves `ed.model`: written beside, loaded back, compared to the bit, then renamed.

        Args:
            path: a `.keras` or `.h5` file.
            verify: save it only if it is sound: True, or the inputs to find that out with.
            last: called just before an old file is replaced, which stays if this raises an
                `EditError`.

        Raises:
            EditError: it cannot be saved so that it loads back the same, or is not sound; an old
                file survives.
        """
        with self.lock:
            self._not_in_training("saved")
            source, copy = self._sides()

            def check(loaded: keras.Model) -> None:
                other = other_weights(copy.model, loaded)
                if other:
                    raise EditError(f"The saved file, loaded back, has other weights: {other}.")
                apart = len(loaded.weights) > len(copy.model.weights)
                nets = (spec.net for spec in self._graph.layers.values())
                if apart or any(net is not None and net.takes_variables for net in nets):
                    warnings.warn(
                        "Layers of the model share weights, and Keras's files do not tell so: in the "
                        "loaded model each has values of its own.",
                        stacklevel=4,
                    )
                if verify is not False:
                    inputs = None if verify is True else verify
                    _require(verify_loaded(source, copy, loaded, inputs))
                last()

            save_model(copy.model, path, check, custom_objects=self._custom_objects)
            return self

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        inputs: Any = None,
        tolerance: float | None = 1e-4,
        **options: Any,
    ) -> Export:
        """Writes `ed.model` for what runs it without Keras: by Keras's own `model.export`.

        It is written beside, opened by what runs it, run on a batch and compared with the model, then
        renamed.

        Args:
            path: a `.tflite` (LiteRT) or `.onnx` file, or the folder of a SavedModel.
            format: `"tf_saved_model"`, `"litert"` or `"onnx"`; by the path's ending if None.
            inputs: what the model takes, to compare with; drawn if None.
            tolerance: how far an output may be off, as a share of its largest value; None keeps the
                file in any case.
            options: of `model.export`, such as `opset_version=` or `optimizations=`.

        Returns:
            What was written and how near its outputs are, told in words by `str`.

        Raises:
            ModelFileError: it cannot be written or opened, or what the format needs is not installed;
                what was there survives.
            EditError: the format is not known, or what was written puts out something else.
        """
        from .exporting import export_model

        with self.lock:
            self._not_in_training("exported")
            _, copy = self._sides()
            return export_model(copy, path, format, inputs, tolerance, options)

    def to_code(
        self,
        style: str = "kerasedit",
        path: str | os.PathLike[str] | None = None,
        *,
        weights: bool = True,
    ) -> str:
        """A script with a function `build(source)` that returns the edited model.

        Its weights are those of `ed.model` now: what the source does not have, as what was drawn at
        random or trained since, comes with the script.

        Args:
            style: `"kerasedit"` repeats the edits, `"keras"` builds the model with Keras alone.
            path: a `.py` file to write it to, its arrays in an `.npz` beside; without it they stand
                in the text.
            weights: without it, what the source does not have is drawn anew: short, to be read.

        Raises:
            StructureError: something of the model cannot be written as code, such as a lambda.
            EditError: the arrays are too large to stand in a text.
            ModelFileError: the files cannot be written.
        """
        from .codegen.export import to_code

        with self.lock:
            return to_code(self, style, path, weights)

    def verify(self, inputs: Any = None) -> Verification:
        """Runs a batch through the source, the copy, and the copy saved and loaded.

        Nothing changes: no weight, no state of a layer, no seed.

        Args:
            inputs: what either model takes; drawn to fit the copy if None.

        Returns:
            What was found: true if the copy is sound, and told in words by `str`.

        Raises:
            EditError: neither model takes the inputs, or none can be drawn.
        """
        with self.lock:
            self._not_in_training("verified")
            return verify_copy(*self._sides(), inputs, custom_objects=self._custom_objects)

    def _sides(self) -> tuple[Side | None, Side]:
        """The source and the copy; no source where the copy is the source itself."""
        copy = Side(self.model, self._graph, self._copy.layers)
        if self._in_place:
            return None, copy
        return Side(self.source, self._source_graph, self._source_objects), copy

    def summary(self) -> None:
        """Prints a table of the layers like Keras's, with what changed marked."""
        from .summary import summarize

        print(summarize(self))

    def diff(self) -> Diff:
        """What differs between the source and the edited model, which is not built to find out.

        With `in_place` both are one model: only its flags are known from before.
        """
        from .differences import compare
        from .differences.sides import side_of, source_side

        with self.lock:
            return compare(source_side(self), side_of(self))

    # -- subscribers -----------------------------------------------------------------------------

    def subscribe(self, fn: Callable[[Event], Any]) -> Callable[[], None]:
        """Calls `fn(event)` after each change. Returns a function that ends this."""
        self._subscribers.append(fn)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(fn)

        return unsubscribe

    def _announce(self, kind: str, *steps: _Step) -> None:
        self._revision += 1
        structural = any(s.before.structure != s.after.structure for s in steps)
        if structural:
            self._monitor.forget()
        event = Event(kind, self._revision, structural)
        for fn in list(self._subscribers):
            try:
                fn(event)
            except Exception as problem:  # a broken view must not break an edit
                warnings.warn(f"A subscriber of the editor failed: {problem!r}", stacklevel=3)

    # -- targets ---------------------------------------------------------------------------------

    def target_data(self, target: Any) -> Any:
        """A target as data: layer objects, classes and predicates as what stands for them."""
        graph = self._graph
        return as_data(
            target, graph, self._copy.identify, lambda entry: LayerView(self, graph, entry)
        )

    # -- weights looked at -----------------------------------------------------------------------

    def histogram(self, target: str, bins: int = 64) -> Any:
        """The histogram of one weight (`"dense/kernel"`), as the latest model has it.

        Raises:
            TargetError: the target names no single weight.
        """
        from .weights.looking import histogram_of

        return histogram_of(self, target, bins)

    def histograms(self, target: Any = None, bins: int = 64) -> dict[str, Any]:
        """`{path of weight: Histogram}` of all layers, or of those a target names."""
        from .weights.looking import histograms_of

        return histograms_of(self, target, bins)

    def stats(self, target: Any = None) -> list[dict[str, Any]]:
        """A row per weight: path, shape, dtype, bytes, and the figures of its histogram."""
        from .weights.looking import stats_of

        return stats_of(self, target)

    def plot_histograms(self, target: Any = None, compare: bool = True) -> Any:
        """A matplotlib `Figure` of the weights' histograms, with the source's behind them."""
        from .weights.looking import plot_of

        return plot_of(self, target, compare)

    # -- widget ----------------------------------------------------------------------------------

    def widget(self) -> Any:
        """A new widget of this editor, with a filter and selection of its own."""
        from .widgets.editor_widget import EditorWidget

        return EditorWidget(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Displaying the editor shows one and the same widget, however often a cell is run."""
        if self._shown is None or self._shown.closed:
            self._shown = self.widget()
        return self._shown._repr_mimebundle_(**kwargs)

    def _display_(self) -> Any:
        """What marimo displays: it closes the widgets that a cell shows when that is run again."""
        return self.widget()

    def __repr__(self) -> str:
        edits = len(self.history)
        return (
            f"<Editor of '{self.source.name}': {len(self._graph.entries)} layers, "
            f"{edits} edit{'' if edits == 1 else 's'}>"
        )


class Preview(EditMethods[Plan]):
    """The editing methods of an editor, each returning a `Plan` and changing nothing.

    What an edit would raise is in `plan.errors`.
    """

    def __init__(self, editor: Editor) -> None:
        self.__editor = editor

    @property
    def _editor(self) -> Editor:
        return self.__editor

    def _run(self, make: Callable[[], Edit]) -> Plan:
        return self.__editor._plan(make)


def report_lines(report: Report) -> tuple[str, ...]:
    """What an edit did beside what it was asked for, in lines."""
    found = report.findings
    lines = []
    if report.dropped:
        lines += [f"dropped {listed(map(repr, report.dropped))}, which nothing needs any more"]
    lines += [f"'{old}' is taken here: it is called '{new}'" for old, new in report.renamed]
    lines += [f"'{name}' starts afresh" for name in found.reinitialized]
    lines += [f"'{name}' keeps the overlapping part" for name in found.sliced]
    return tuple(lines + report.notes + report.warnings)


def _same_bits(a: Any, b: Any) -> bool:
    left, right = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def _warn_of_trained(paths: list[str]) -> None:
    if paths:
        warnings.warn(
            f"The weights {listed(paths, 5)} were trained since; they have the values from "
            "before that again.",
            stacklevel=3,
        )


def _require(found: Verification) -> None:
    """Raises unless a copy was found to be sound."""
    if not found:
        raise EditError(str(found))
