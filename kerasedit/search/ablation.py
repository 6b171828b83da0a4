"""`ablate`: which layers matter, by what becomes of the model without each of them.

Taking parts of a network out one by one to see what they do is of Newell (1974) and Meyes et al.,
"Ablation Studies in Artificial Neural Networks" (2019); that layers differ in what happens when they
are drawn anew is of Zhang, Bengio and Singer, "Are All Layers Created Equal?" (2019).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import keras
import numpy as np

from ..editor import Editor
from ..edits import Edit, Freeze, PruneChannels, Reinitialize, Remove
from ..edits.base import tensors_of
from ..errors import EditError, reason
from ..graph.infer import show_shape
from ..graph.model_graph import Entry
from ..names import listed
from ..plan import Plan
from ..recipe import recipe_of
from ..running import at_rest
from ..targets import select
from .candidates import BASELINE, Task
from .results import Mode, Sweep
from .sweeping import base_of, run
from .trial import Outcome

Kind = Literal["remove", "reinitialize", "freeze", "prune"]

DISTANCE = "distance"
_BATCH = 32
_FEW = 20  # batches


def ablate(
    model_or_editor: Any,
    x: Any,
    y: Any = None,
    *,
    edits: Kind | Sequence[Kind] = "remove",
    metric: str | Callable[[Any, Any], Any] | None = None,
    mode: Mode = "auto",
    target: Any = None,
    fraction: float = 0.5,
    criterion: str = "l2",
    repeats: int = 1,
    epochs: int | None = None,
    validation_data: tuple[Any, Any] | None = None,
    batch_size: int = _BATCH,
    n_jobs: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> Sweep:
    """Tries the model without each of its layers, and tells what that does to it.

    Layers that cannot go alone go with those that they are tied to. One that cannot go at all is in
    the results as skipped, with the reason.

    Args:
        model_or_editor: as in `sweep`.
        x: what the model takes: an array, or a list or dictionary of arrays.
        y: what it should put out. Without it the score is how far the outputs move: the L2 norm of
            their difference to those of the unedited model, divided by the norm of the latter.
        edits: what is done to each layer; one of these, or several.
            `"remove"`: it is taken out. Where that leaves shapes that do not fit, its branch is, up to
            the layer that merges it, if the graph has one that the model can do without.
            `"reinitialize"`: its weights are drawn anew.
            `"prune"`: a share of its channels goes, and with them what is tied to these.
            `"freeze"`: it keeps its weights while the others are fine-tuned.
        metric: what is scored: the name of a metric that the model was compiled with, or of one of
            Keras's, or a function of `(y, outputs)` as Keras and scikit-learn have them. If None, all
            that the model was compiled with, of which the loss counts.
        mode: as in `sweep`.
        target: only these layers.
        fraction, criterion: of `"prune"`, as in `prune_channels`.
        repeats: of `"reinitialize"`, how often, each time with other values.
        epochs: how long each candidate, the unedited model included, is fine-tuned on `(x, y)` before
            it is scored; 1 for `"freeze"`, which else does nothing, and 0 for the others.
        validation_data: a tuple `(x, y)` to be scored on instead.
        batch_size: of the fine-tuning and the scoring.
        n_jobs, resume, seed, verbose: as in `sweep`. A file of `resume` also knows the data by its
            values and the metric by its name.

    Returns:
        The results; `by_layer()` has one number for each layer.

    Raises:
        EditError: the model does not take `x`, cannot be scored, or no layer can take the edit.
        TargetError: the target names no layer.
    """
    editor = base_of(model_or_editor)
    kinds: Sequence[Any] = [edits] if isinstance(edits, str) else list(edits)
    unknown = [kind for kind in kinds if kind not in get_args(Kind)]
    if unknown or not kinds:
        raise EditError(
            f"edits is one or several of {', '.join(map(repr, get_args(Kind)))}, not {edits!r:.80}."
        )
    _check_number("repeats", repeats, 1)
    if epochs is None:
        epochs = 1 if "freeze" in kinds else 0
    _check_number("epochs", epochs, 1 if "freeze" in kinds else 0)
    score = _score(editor, x, y, metric, epochs, validation_data, batch_size)
    search = _Search(editor, _entries(editor, target), seed, repeats, fraction, criterion)
    found = [task for kind in kinds for task in search.tasks(kind)]
    if all(task.problem for task in found):
        why = f" {found[0].name}: {found[0].problem}" if found else ""
        raise EditError(f"No layer can take the edit {listed(map(repr, kinds))}.{why}")

    def first(outcome: Outcome) -> None:
        if outcome.error:
            raise EditError(f"The unedited model cannot be scored: {outcome.error}")

    return run(
        editor,
        [Task(BASELINE, layers=(), seed=seed), *found],
        score,
        metric=score.primary,
        mode=mode,
        n_jobs=n_jobs,
        resume=resume,
        verbose=verbose,
        depends=score.data,
        first=first,
    )


def _check_number(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise EditError(f"{name} is a whole number from {least}, not {value!r:.80}.")


def _entries(editor: Editor, target: Any) -> list[Entry]:
    """The layers in question, each once."""
    graph = editor.graph
    found = graph.entries if target is None else select(graph, editor.target_data(target))
    once = {entry.layer: entry for entry in reversed(found)}
    return [entry for entry in found if once[entry.layer] is entry]


# -- candidates ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    """Finds which layers can take an edit, alone or with others."""

    editor: Editor
    entries: Sequence[Entry]
    seed: int
    repeats: int
    fraction: float
    criterion: str

    def tasks(self, kind: Kind) -> list[Task]:
        found = {
            "remove": self._remove,
            "reinitialize": self._reinitialize,
            "freeze": self._freeze,
            "prune": self._prune,
        }[kind]()
        return list(found)

    def _remove(self) -> Iterable[Task]:
        graph = self.editor.graph
        branches: list[tuple[Remove, set[str]]] | None = None
        waiting: dict[Remove, list[str]] = {}
        for entry in self.entries:
            if graph.layers[entry.layer].kind == "input":
                continue
            plan = self.editor.preview.remove(entry.path)
            why = _refusal(plan)
            if not why:
                yield self._task(Remove(entry.path), [entry.path])
                continue
            if branches is None:
                branches = self._branches()
            around = [branch for branch in branches if _holds(branch[1], entry.path)]
            if around:
                smallest = min(around, key=lambda branch: len(branch[1]))
                waiting.setdefault(smallest[0], []).append(entry.path)
            else:
                yield self._skipped(f"remove '{entry.path}'", [entry.path], why)
        for edit, paths in waiting.items():
            name = f"remove the branch of {_names(paths)}"
            if paths == [edit.target]:  # the merge itself can go, and with it a way around
                name = f"remove '{edit.target}' but for its input {edit.keep}"
            yield self._task(edit, paths, name)

    def _branches(self) -> list[tuple[Remove, set[str]]]:
        """What can go with a merge: the edit that does it, and all layers that then are gone."""
        found = []
        graph = self.editor.graph
        for entry in graph.entries:
            call = graph.net_of(entry.owner).calls_of[entry.layer][0]
            number = len(tensors_of(call))
            for keep in range(number) if number > 1 else ():
                plan = self.editor.preview.remove(entry.path, keep=keep)
                if not _refusal(plan):
                    found.append((Remove(entry.path, keep), {entry.path, *plan.dropped}))
        return found

    def _reinitialize(self) -> Iterable[Task]:
        graph = self.editor.graph
        for entry in self.entries:
            spec = graph.layers[entry.layer]
            inside = spec.net is not None and not spec.net.opaque  # its layers are listed
            if inside or not spec.weights:
                continue
            name = f"reinitialize '{entry.path}'"
            plan = self.editor.preview.reinitialize(entry.path)
            if not plan.ok:
                yield self._skipped(name, [entry.path], plan.errors[0])
                continue
            for number in range(self.repeats):
                again = f" ({number + 1})" if self.repeats > 1 else ""
                task = self._task(Reinitialize(entry.path), [entry.path], f"{name}{again}")
                yield replace(task, seed=self.seed + number)

    def _freeze(self) -> Iterable[Task]:
        graph = self.editor.graph
        for entry in self.entries:
            spec = graph.layers[entry.layer]
            inside = spec.net is not None and not spec.net.opaque
            if not inside and any(graph.trains(entry.layer, v) for v in spec.weights):
                yield self._task(Freeze((entry.path,)), [entry.path])

    def _prune(self) -> Iterable[Task]:
        named = {entry.path for entry in self.entries}
        seen: set[str] = set()
        for group in self.editor.channel_groups():
            makers = list(group.makers)
            if group.path in seen or named.isdisjoint(makers):
                continue
            seen.add(group.path)
            edit = PruneChannels(group.path, fraction=self.fraction, criterion=self.criterion)
            plan = self.editor.preview.apply(edit)
            name = f"prune {self.fraction:.0%} of {_names(makers)}"
            if not plan.ok:
                yield self._skipped(name, makers, group.reason or plan.errors[0])
            elif plan.params_after == plan.params_before:
                yield self._skipped(name, makers, "it has too few channels for one to go")
            else:
                yield self._task(edit, makers, name)

    def _task(self, edit: Edit, paths: Sequence[str], name: str = "") -> Task:
        recipe = recipe_of([edit], self.editor)
        return Task(name or edit.describe(), recipe, tuple(paths), self.seed)

    def _skipped(self, name: str, paths: Sequence[str], why: str) -> Task:
        return Task(name, layers=tuple(paths), seed=self.seed, problem=why, skipped=True)


def _refusal(plan: Plan) -> str:
    """Why a model would not be comparable after an edit; empty where it is."""
    if not plan.ok or plan.before is None or plan.after is None:
        return plan.errors[0]
    before, after = (
        [spec.shape for spec in graph.net.output_specs] for graph in (plan.before, plan.after)
    )
    if before == after:
        return ""
    shapes = [listed(map(show_shape, shapes)) for shapes in (before, after)]
    return f"The model would put out {shapes[1]} instead of {shapes[0]}."


def _holds(gone: set[str], path: str) -> bool:
    """Whether a layer is gone, or is inside a model that is."""
    parts = path.split("/")
    return any("/".join(parts[:n]) in gone for n in range(1, len(parts) + 1))


def _names(paths: Sequence[str]) -> str:
    return listed(map(repr, paths), 3)


# -- scoring -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """What an edited model is worth on data: what `sweep` calls with each.

    Attributes:
        x, y: what is scored on; without `y`, `reference` has the outputs of the unedited model.
        train: what is fine-tuned on before, for `epochs`.
        metric: as `ablate` takes it.
    """

    x: Any
    y: Any
    reference: tuple[np.ndarray, ...]
    train: tuple[Any, Any] | None
    epochs: int
    metric: Any
    batch_size: int

    @property
    def primary(self) -> str:
        """The name of the score; the others are beside it."""
        if self.y is None:
            return DISTANCE
        if self.metric is None or isinstance(self.metric, str):
            return self.metric or "loss"
        return getattr(self.metric, "name", None) or getattr(self.metric, "__name__", "score")

    @property
    def data(self) -> list[Any]:
        """What the score depends on beside the model."""
        return [self.x, self.y, self.train, self.epochs, self.primary, self.batch_size]

    def __call__(self, model: keras.Model) -> dict[str, float]:
        if self.train is not None:
            x, y = self.train
            model.fit(x, y, epochs=self.epochs, batch_size=self.batch_size, verbose=0)  # pyright: ignore
        self._get_ready(model)
        if self.y is None:
            return {DISTANCE: distance(self.reference, self.outputs(model))}
        if self.metric is None or (isinstance(self.metric, str) and model.compiled):
            found: dict[str, float] = model.evaluate(
                self.x,
                self.y,
                batch_size=self.batch_size,
                verbose=0,  # pyright: ignore
                return_dict=True,
            )
            if self.metric is None or self.metric in found:
                return found
        outputs = model.predict(self.x, batch_size=self.batch_size, verbose=0)  # pyright: ignore
        return {self.primary: measured(self.metric, self.y, outputs)}

    def outputs(self, model: keras.Model) -> tuple[np.ndarray, ...]:
        """What a model puts out, as a flat list of arrays."""
        self._get_ready(model)
        outputs = model.predict(self.x, batch_size=self.batch_size, verbose=0)  # pyright: ignore
        return tuple(keras.tree.flatten(outputs))

    def _get_ready(self, model: keras.Model) -> None:
        """Each copy is run once: to trace it first would take longer than to run a few batches."""
        model.run_eagerly = len(keras.tree.flatten(self.x)[0]) <= _FEW * self.batch_size


def _score(
    editor: Editor,
    x: Any,
    y: Any,
    metric: Any,
    epochs: int,
    validation_data: tuple[Any, Any] | None,
    batch_size: int,
) -> Score:
    """How candidates are scored, after a look whether the model can be.

    Raises:
        EditError: it does not take the data, or there is nothing to score with.
    """
    x, y = _arrays("x", x), _arrays("y", y)
    train = (x, y) if epochs else None
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise EditError("validation_data is a tuple (x, y).")
        x, y = _arrays("validation_data", validation_data[0]), _arrays("y", validation_data[1])
    model = editor.source
    if (train is not None and train[1] is None) or (epochs and not model.compiled):
        raise EditError("Fine-tuning (epochs=) needs y, and a model that is compiled.")
    if y is None and metric is not None:
        raise EditError("A metric needs y=, which says what the model should put out.")
    if y is not None and metric is None and not model.compiled:
        raise EditError(
            "The model is not compiled, so it has no loss: compile it, or give metric=."
        )
    for each in (x, *([train[0]] if train else [])):
        try:
            with at_rest(model):
                model(keras.tree.map_structure(lambda a: a[:1], each), training=False)
        except Exception as problem:
            raise EditError(
                f"The model does not take x=. Keras said: {reason(problem)}"
            ) from problem
    found = Score(x, y, (), train, epochs, metric, batch_size)
    return replace(found, reference=found.outputs(editor.model)) if y is None else found


def _arrays(name: str, given: Any) -> Any:
    """The data as arrays.

    Raises:
        EditError: it is no arrays, or they have not one number of samples.
    """
    if given is None:
        return None
    if hasattr(given, "element_spec") or isinstance(given, keras.utils.PyDataset):
        raise EditError(
            f"{name}= takes arrays. With a dataset use kerasedit.sweep and an evaluate of your own."
        )
    found = keras.tree.map_structure(np.asarray, given)
    lengths = {len(a) if a.ndim else 0 for a in keras.tree.flatten(found)}
    if len(lengths) != 1 or 0 in lengths:
        raise EditError(f"{name}= has to have as many samples in each array, and at least one.")
    return found


def distance(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """The L2 norm of the difference of outputs, divided by that of the first.

    Raises:
        EditError: the outputs have other shapes.
    """
    shapes = [[array.shape for array in outputs] for outputs in (before, after)]
    if shapes[0] != shapes[1]:
        raise EditError(f"The model puts out {shapes[1]} and not {shapes[0]} as unedited.")
    pairs = [(a.astype("float64"), b.astype("float64")) for a, b in zip(before, after, strict=True)]
    moved = sum(float(np.sum((a - b) ** 2)) for a, b in pairs)
    size = sum(float(np.sum(a**2)) for a, _ in pairs)
    return float(np.sqrt(moved / size)) if size else (0.0 if not moved else float("inf"))


def measured(metric: Any, y: Any, outputs: Any) -> float:
    """A metric of outputs: Keras's by name, a metric or loss object, or a function of both.

    Raises:
        EditError: there is no such metric.
    """
    if isinstance(metric, str):
        try:
            metric = keras.metrics.get(metric)
        except ValueError as problem:
            raise EditError(f"Keras has no metric '{metric}'.") from problem
    if isinstance(metric, keras.metrics.Metric):
        metric = type(metric).from_config(metric.get_config())  # what it has seen is of others
        metric.update_state(y, outputs)
        return float(metric.result())
    return float(np.mean(keras.ops.convert_to_numpy(metric(y, outputs))))
