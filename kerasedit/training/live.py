"""The callback that lets a model be edited and watched while `fit` runs."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import keras

from .. import _keras
from ..editor import Editor, Event
from ..edits import Edit, Freeze, FreezeUpTo, Unfreeze
from ..errors import EditError, reason
from ..graph.flags import changed_flags
from ..graph.model_graph import ModelGraph
from ..targets import Target
from ..views import weights_under
from ..widgets.kernel import Door
from .interrupts import Interrupts
from .record import LayerHistory
from .run import Run
from .stages import Schedule, Stage
from .warmup import WarmUp
from .watch import Watch

_RATE = 4.0  # frames a second at most
_SHARE = 0.03  # of the time, at most, that is spent on looking at weights
_VISIT = 0.02  # seconds between two visits of what goes on beside the training
_RECORD = 10.0  # seconds between two looks that are kept when nobody watches


@dataclass(frozen=True)
class Happened:
    """What was done to a model in training.

    Attributes:
        step: the number of batches trained before, since `fit` began.
        epoch: from 0.
        edit: what was done, as an edit: flags by the paths of the layers that it changed.
        why: what asked for it, in words.
        warmup: over how many steps the learning rate of what was unfrozen rises.
    """

    step: int
    epoch: int
    edit: Edit
    why: str
    warmup: int = 0

    def stage(self) -> Stage:
        """The same, to be done at the same step of another training."""
        return Stage(step=self.step, edits=(self.edit,), warmup=self.warmup)


class LiveEdit(keras.callbacks.Callback):
    """Edits a model while it trains: give it to `fit` among the callbacks.

    Flags that `freeze` and `unfreeze` set, here or by the editor, from any thread, hold from the next
    batch on. A frozen layer's weights and its slots in the optimizer stay as they are to the bit, its
    BatchNormalization works in inference mode, and everything else goes on as if the model had been
    built that way. A set of flags that was not there before is traced first, which takes seconds.

    Edits of weights by the editor are made between two batches; edits of the structure are refused.

    On JAX and torch the same holds.

    Args:
        editor: of the model to be trained. Without one, the model given to `fit` is worked on itself.
        schedule: `Stage`s, or the `log` of another training, which is then done again.
        structure: `"refuse"` or `"queue"`: what becomes of edits of the structure while `fit` runs;
            the latter makes them when it has ended.
        rate: frames a second that are sent to a widget, at most.
        history: how many moments of each layer are kept.

    Attributes:
        log: what was done at which step, the oldest first: a list of `Happened`.
        history: the weights of the layers through the training, see `LayerHistory`.

    Raises:
        EditError: the options are none; in `fit`, before it begins: the model is another than the
            editor's, is in training already, or cannot be edited in training.
    """

    def __init__(
        self,
        editor: Editor | None = None,
        *,
        schedule: Iterable[Stage | Happened] = (),
        structure: str = "refuse",
        rate: float = _RATE,
        history: int = 200,
    ) -> None:
        super().__init__()
        if editor is not None and not isinstance(editor, Editor):
            raise EditError(
                f"LiveEdit takes an editor, or nothing: then it learns from fit which model it is for. "
                f"It was given a {type(editor).__name__}."
            )
        if structure not in ("refuse", "queue"):
            raise EditError(f"structure is 'refuse' or 'queue', not {structure!r:.80}.")
        if not rate > 0:
            raise EditError(f"rate is a number of frames a second, not {rate!r:.80}.")
        self._editor = editor
        self._given = editor is not None
        self._stages = [item.stage() if isinstance(item, Happened) else item for item in schedule]
        if not all(isinstance(stage, Stage) for stage in self._stages):
            raise EditError("A schedule is made of kerasedit.Stage.")
        self._queue_structure = structure == "queue"
        self._rate = rate
        self._asked_before: list[Callable[[Editor], Any]] = []
        self.log: list[Happened] = []
        self.history = LayerHistory(history)
        self._most = history
        self._run: Run | None = None

    # -- for any thread --------------------------------------------------------------------------

    @property
    def editor(self) -> Editor:
        """The editor of the model in training.

        Raises:
            EditError: it is known from `fit` on only.
        """
        if self._editor is None:
            raise EditError("The model is not known before fit has begun. Use ed.live() instead.")
        return self._editor

    def freeze(self, *targets: Target) -> None:
        """Lets layers keep their weights from the next batch on. Returns at once."""
        self._ask(lambda editor: editor.freeze(*targets))

    def unfreeze(self, *targets: Target) -> None:
        """Lets layers train from the next batch on. Returns at once."""
        self._ask(lambda editor: editor.unfreeze(*targets))

    def _ask(self, edit: Callable[[Editor], Any]) -> None:
        if self._editor is None:
            self._asked_before.append(edit)
        else:
            edit(self._editor)

    # -- fit begins and ends ---------------------------------------------------------------------

    def set_model(self, model: Any) -> None:
        """Called by `fit` before it traces anything, so before the flags count."""
        super().set_model(model)
        self._trained = model  # `self.model` would fetch all of the state on JAX at each look
        if not self._given and (self._editor is None or self._editor.source is not model):
            self._editor = Editor(model, in_place=True)
        editor = self.editor
        if editor.model is not model:
            raise EditError(
                f"ed.live() goes with ed.model, and the model in training ('{model.name}') is another. "
                "Train ed.model; after an edit of the structure it is a new one."
            )
        optimizer = getattr(model, "optimizer", None)
        if isinstance(optimizer, keras.optimizers.Optimizer) and _keras.uses_average(optimizer):
            raise EditError(
                "An optimizer with use_ema=True pairs weights and averages by position, so flags "
                "cannot change while it works. Train without use_ema, or without this callback; "
                "keras.callbacks.SwapEMAWeights needs it too."
            )
        if any(s.warmup for s in self._stages) and keras.backend.backend() == "jax":
            raise EditError("A warm-up of single layers is not possible on JAX; leave out warmup=.")
        for stage in self._stages:
            for edit in stage.edits:
                plan = editor.preview.apply(edit)
                if not plan.ok:
                    raise EditError(f"The schedule, {stage.when()}: {' '.join(plan.errors)}")
        editor.ready_to_train()

    def on_train_begin(self, logs: Any = None) -> None:
        editor = self.editor
        # What `_clean` takes away is there before it can be asked to: an interrupt can come anywhere.
        self._schedule, self._warmup = Schedule(self._stages), WarmUp()
        self._interrupts = Interrupts()
        self._stop_hearing: Callable[[], object] = lambda: None
        run = Run(_caller(), queue_structure=self._queue_structure, done=self._clean)
        editor.begin_training(run)
        self._run = run
        self.log, self.history = [], LayerHistory(self._most)
        editor.monitor.history = self.history
        self._door = Door(lambda: editor.monitor.comms)
        self._epoch, self._began, self._step, self._done = 0, 0, 0, 0
        self._made: int | None = None  # the optimizer's steps when `fit` began
        self._watch: Watch | None = None
        self._at_most = int(getattr(self._trained, "steps_per_execution", 1) or 1)
        self._next_visit, self._next_look = 0.0, 0.0
        self._flawed: set[str] = set()
        asked, self._asked_before = self._asked_before, []
        for edit in asked:
            edit(editor)
        self._stop_hearing = editor.subscribe(self._hear)
        self._interrupts.begin()
        params = self.params or {}
        editor.monitor.update(
            running=True,
            epoch=0,
            epochs=int(params.get("epochs") or 1),
            step=0,
            steps=params.get("steps"),
            total=0,
            metrics={},
            pending=(),
            changed=0,
            changed_at=0,
            tracing=self._trained.train_function is None,
            stopped=False,
            alerts=(),
        )

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Validation runs on the same thread; clicks are taken in, and hold from the next batch on."""
        if self._run is not None:
            self._interrupts.again()
            self._door.serve()

    def on_train_end(self, logs: Any = None) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self._look(keep=True)
        self._apply(run, now=True)
        run.finished = True
        self.editor.end_training(run)

    def _clean(self) -> None:
        """Takes away what only this training needs, also after one that was interrupted."""
        self._interrupts.end()
        self._warmup.end()
        self._stop_hearing()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Counted in batches: done before this epoch, before the one that comes, and after it.
        self._epoch, self._began, self._step = epoch, self._done, self._done
        self.editor.monitor.step(epoch=epoch, step=0, metrics={})
        self._enter(self._schedule.at_epoch(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._step = self._done
        figures = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        monitor = self.editor.monitor
        monitor.step(step=self._done - self._began, total=self._done, metrics=figures)
        if monitor.state.tracing:
            monitor.update(tracing=False)
        if time.monotonic() >= self._next_look:
            self._look(keep=True)
        self._enter(self._schedule.after_epoch(figures))

    # -- between two batches ---------------------------------------------------------------------

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        run = self._run
        if run is None:
            return
        self._interrupts.again()
        self._step = self._began + batch
        at_once = 1 if self._at_most == 1 else self._at_once(batch)
        self._done = self._step + at_once
        if self._made is None:
            self._made = _keras.steps_made(self._trained.optimizer) - self._step
        # A step may take less than a millisecond: this is done now and then.
        now = time.monotonic()
        if now >= self._next_visit:
            self._visit(batch)
            self._next_visit = now + _VISIT
        if self._schedule.stages:
            self._enter(self._schedule.at_step(self._step, at_once))
        if run.waiting:
            self._apply(run)
        if run.has_work:
            self._work(run)
        self._warmup.advance(self._step)
        if now >= self._next_look:
            self._look()

    def _visit(self, batch: int) -> None:
        """Takes in what was clicked, and says how far training is."""
        self._door.serve()
        monitor = self.editor.monitor
        if monitor.state.tracing and self._step > monitor.state.total:
            monitor.update(tracing=False)
        monitor.step(step=batch, total=self._step)

    def _at_once(self, batch: int) -> int:
        """How many batches the next call of the train function trains."""
        steps = (self.params or {}).get("steps")
        return self._at_most if not steps else max(1, min(self._at_most, steps - batch))

    def _enter(self, stages: list[Stage]) -> None:
        for stage in stages:
            self._why, self._rise = f"schedule: {stage.when()}", stage.warmup
            try:
                for edit in stage.edits:
                    self.editor.apply(edit)
                if self._run is not None:
                    self._apply(self._run, now=True)
            finally:
                self._why, self._rise = "asked for", 0

    _why, _rise = "asked for", 0

    def _apply(self, run: Run, *, now: bool = False) -> None:
        """Gives the model the flags that are due."""
        graph = run.flags(now=now)
        monitor = self.editor.monitor
        if graph is None:
            return
        try:
            before, traced = self.editor.set_flags(graph)
        except Exception as problem:
            monitor.alert(f"The flags could not be changed: {reason(problem)}")
            warnings.warn(f"The flags could not be changed: {problem}", stacklevel=3)
            return
        changed = changed_flags(before, graph)
        for edit, flag in ((Freeze, False), (Unfreeze, True)):
            paths = tuple(path for path, value in changed.items() if value is flag)
            if paths:
                self._note(edit(paths))
        if self._rise:
            self._warm_up(graph, {path for path, flag in changed.items() if flag})
        pending = changed_flags(graph, self.editor.graph) if run.waiting else ()
        news = {"changed": len(changed), "changed_at": self._step} if changed else {}
        monitor.update(pending=tuple(pending), tracing=traced, **news)

    def _warm_up(self, graph: ModelGraph, paths: set[str]) -> None:
        model = self._trained
        fresh = {id(v) for path in paths for v in self.editor.variables_at(path)}
        variables = [v for v in model.trainable_variables if id(v) in fresh]
        if variables and model.optimizer is not None:
            self._warmup.start(model.optimizer, variables, self._step, self._rise)
            self.editor.renew_train_function()

    def _hear(self, event: Event) -> None:
        """Notes the edits of weights; flags are noted when they hold."""
        if event.kind == "edit":
            edit = self.editor.history[-1]
            if not isinstance(edit, (Freeze, Unfreeze, FreezeUpTo)):
                self._note(edit)

    def _note(self, edit: Edit) -> None:
        warmup = self._rise if isinstance(edit, Unfreeze) else 0
        step = self._done if self._is_trained() else self._step
        self.log.append(Happened(step, self._epoch, edit, self._why, warmup))

    def _is_trained(self) -> bool:
        """Whether the batch that has begun was trained already, as other callbacks edit then."""
        made = _keras.steps_made(self._trained.optimizer)
        return self._made is not None and made > self._made + self._step

    def _work(self, run: Run) -> None:
        """Makes the edits of weights that wait, unless somebody holds the editor."""
        if not run.has_work or not self.editor.lock.acquire(timeout=0.1):
            return
        try:
            while (work := run.work()) is not None:
                try:
                    work()
                except EditError as problem:
                    self.editor.monitor.alert(str(problem))
                    warnings.warn(f"An edit asked for during fit failed: {problem}", stacklevel=3)
        finally:
            self.editor.lock.release()

    # -- looking ---------------------------------------------------------------------------------

    def _look(self, *, keep: bool = False) -> None:
        """Looks at the weights: those in view for a frame, and all of them for the history."""
        start = time.monotonic()
        monitor = self.editor.monitor
        watched = monitor.watched
        keep = keep or start >= self._next_record
        if not watched and not keep:
            self._next_look = start + 1 / self._rate
            return
        _keras.sync_state(self._trained)
        monitor.step(step=self._step - self._began, total=self._step)
        first = self._watch is None
        if self._watch is None:
            self._watch = Watch(self._rows(), self._gradients)
        paths = self._watch.paths if keep else watched
        moments = self._watch.look(monitor.state.total, paths)
        if keep:
            self.history.add(moments)
            self._next_record = time.monotonic() + _RECORD
        monitor.step(metrics=self._metrics())
        self._check()
        monitor.show(moments)
        # The first look is the one that is compiled.
        cost = 0.0 if first else time.monotonic() - start
        self._next_look = time.monotonic() + max(1 / self._rate, cost / _SHARE)

    _next_record = 0.0

    def _metrics(self) -> dict[str, float]:
        """The loss and metrics so far in the epoch; there are none before its first batch."""
        if self._step == self._began:
            return {}
        found = self._trained.get_metrics_result()
        return {name: float(value) for name, value in found.items() if _is_number(value)}

    def _check(self) -> None:
        """Raises an alert where weights or metrics are no numbers any more."""
        monitor = self.editor.monitor
        assert self._watch is not None
        total = monitor.state.total
        flawed = [path for path in self._watch.broken(total) if path not in self._flawed]
        if flawed:
            self._flawed.update(flawed)
            more = f" and {len(flawed) - 3} more" if len(flawed) > 3 else ""
            names = ", ".join(f"'{path}'" for path in flawed[:3])
            monitor.alert(f"NaN or Inf in the weights of {names}{more}, seen at step {total}.")
        for name, value in monitor.state.metrics.items():
            if not math.isfinite(value) and name not in self._flawed:
                self._flawed.add(name)
                monitor.alert(f"{name} is {value}, seen at step {total}.")

    def _rows(self) -> dict[str, list[Any]]:
        """The float weights of each layer, of a nested model those of all inside it."""
        editor = self.editor
        graph = editor.graph
        found: dict[str, list[Any]] = {}
        for entry in graph.entries:
            if graph.layers[entry.layer].kind not in ("layer", "model"):
                continue
            weights = [
                variable
                for layer, spec in weights_under(graph, entry.layer)
                for variable in [editor.live_variable(layer, spec)]
                if variable is not None and "float" in variable.dtype
            ]
            if weights:
                found.setdefault(entry.path, weights)
        return found

    def _gradients(self) -> dict[int, Any]:
        optimizer = self._trained.optimizer
        known = isinstance(optimizer, keras.optimizers.Optimizer)
        return _keras.gradient_averages(optimizer) if known else {}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _caller() -> FrameType:
    """The frame that calls the callbacks: that of `fit`, or of a loop of one's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        (__name__, "keras.src.callbacks", "keras.src.utils")
    ):
        frame = frame.f_back
    return frame
