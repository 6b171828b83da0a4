"""Random edits of random models: what holds after every step."""

from __future__ import annotations

import dataclasses
import gc
import re
import runpy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers, ops

from kerasedit import EditError, Editor, Recipe, garbage
from kerasedit.graph.model_graph import ModelGraph, Ref, map_refs
from tests.models import fingerprint, same, state_of

from .wiring import SIDE, Drawn, Step, Wiring, batch_for, draw_model

pytestmark = pytest.mark.filterwarnings("ignore:The structure of `inputs`")


def run_graph(editor: Editor, feed: dict[str, Any]) -> tuple[list[Any], dict[str, list[Any]]]:
    """An interpreter of the editor's graph: its layers called eagerly, one call after the other.

    Returns the outputs, and by path what the first call of each layer put out.
    """
    graph, live = editor.graph, {e.layer: editor.live_layer(e) for e in editor.graph.entries}
    seen: dict[str, list[Any]] = {}

    def network(owner: int, given: list[Any], prefix: str) -> list[Any]:
        net = graph.net_of(owner)
        known: dict[Ref, Any] = dict(zip(net.input_refs, given, strict=True))
        for call in net.calls:
            spec = graph.layers[call.layer]
            path = prefix + spec.name
            if spec.kind == "input":
                results = [known[Ref(call.id)]]
            elif spec.net is not None:
                results = network(call.layer, [known[r] for r in call.refs], path + "/")
            else:
                args = map_refs(known.__getitem__, call.args)
                kwargs = map_refs(known.__getitem__, call.kwargs)
                results = keras.tree.flatten(live[call.layer](*args, **kwargs))
            known.update({Ref(call.id, i): value for i, value in enumerate(results)})
            seen.setdefault(path, results)
        return [known[ref] for ref in net.output_refs]

    first = [
        ops.convert_to_tensor(feed[graph.layers[graph.net.by_id[ref.call].layer].name])
        for ref in graph.net.input_refs
    ]
    return [ops.convert_to_numpy(t) for t in network(graph.root, first, "")], seen


def outputs_of(model: keras.Model, feed: dict[str, Any]) -> list[np.ndarray]:
    given = [feed[tensor.name] for tensor in model.inputs]
    return [ops.convert_to_numpy(t) for t in keras.tree.flatten(model(given))]


def fits(shape: Any, value: Any) -> bool:
    return len(shape) == len(value.shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, value.shape, strict=True)
    )


def arrays(layer: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(weight).copy() for weight in layer.weights]


def plain(text: str) -> str:
    """What Keras said, without the numbers of its tensors."""
    return re.sub(r"keras_tensor_\d+", "", text)


def predicted(model: keras.Model, feed: dict[str, Any]) -> Any:
    """What `predict` gives: compiled, where `outputs_of` calls layer after layer."""
    return model.predict([feed[tensor.name] for tensor in model.inputs], verbose=0)


@dataclass(frozen=True)
class Change:
    """A weight that an edit gave another value: its layer's identity and its number there."""

    layer: int
    number: int
    before: np.ndarray
    after: np.ndarray


@dataclass
class Moment:
    """The wiring after a step, what the step did to weights, and whether it was a reset."""

    wiring: Wiring
    changes: list[Change] = field(default_factory=list)
    reset: bool = False


Result = Wiring | Callable[[Any, set[str]], Wiring]
"""The wiring after an edit; or a function that gives it, of the plan and of the paths that came."""

Heirs = dict[str, str] | Callable[[Any], dict[str, str]]
"""`{new path: old path}`, or a function that gives it, of the plan."""


class Story:
    """An editor, the wiring that its model must have after each step, and all the checks.

    A lazy one does not look after each step: the edits of several are built at once.
    """

    def __init__(self, drawn: Drawn, compiled: bool = False, lazy: bool = False) -> None:
        if compiled:
            drawn.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
            drawn.model.optimizer.build(drawn.model.trainable_variables)
        self.source = drawn.model
        self.print = fingerprint(drawn.model)
        self.outputs = outputs_of(drawn.model, drawn.wiring.feed)
        self.editor = Editor(drawn.model)
        self.done = [Moment(drawn.wiring)]
        self.undone: list[Moment] = []
        # What each layer and each slot was last seen with: by identity, so that it is the same after
        # any number of rebuilds and of ways back and forth.
        self.latest: dict[int, list[np.ndarray]] = {}
        self.slots: dict[tuple[int, int], bytes] = {}
        self.trained = False
        self.number = 0
        self.lazy = lazy
        self.check()

    @property
    def wiring(self) -> Wiring:
        return self.done[-1].wiring

    def name(self, stem: str = "new") -> str:
        self.number += 1
        return f"{stem}{self.number}"

    # -- steps -----------------------------------------------------------------------------------

    def edit(
        self,
        method: str,
        result: Result | None,
        *args: Any,
        heirs: Heirs | None = None,
        look: bool = False,
        **options: Any,
    ) -> Any:
        """Previews an edit, makes it, and checks that the two agree. Its plan, if it could be made.

        `heirs` names layers that take over the weights of others.
        """
        ed = self.editor
        note(f"{method} {args} {options}")
        look = look or not self.lazy
        old = self.weights() if look else {}
        before, paths = state_of(ed), {view.path for view in ed.layers}
        model = ed.model if look else None
        plan = getattr(ed.preview, method)(*args, **options)
        assert state_of(ed) == before, "a preview changed something"
        refusal, result_of = None, None
        try:
            result_of = getattr(ed, method)(*args, **options)
        except EditError as problem:
            refusal = str(problem)
        if refusal is not None:
            note(f"  refused: {refusal}")
            assert not plan.ok
            assert [plain(text) for text in plan.errors] == [plain(refusal)]
            assert state_of(ed) == before, "a failed edit changed something"
            assert model is None or ed.model is model
            self.look()
            return None
        assert result_of is ed
        assert plan.ok, plan.errors
        now = {view.path for view in ed.layers}
        assert all(new in {p.rsplit("/", 1)[-1] for p in now} or new in now
                   for _, new in plan.renamed)  # fmt: skip
        shapes = {view.path: view.output_shape for view in ed.layers}
        for path, _, after in plan.shape_changes:
            assert path not in shapes or shapes[path] == after
        if look:
            assert model is not None
            assert plan.params_after == ed.model.count_params()
            assert plan.params_before == model.count_params()
            self.check_heirs(old, heirs(plan) if callable(heirs) else heirs or {}, plan)
        wiring = result(plan, now - paths) if callable(result) else result
        self.done.append(Moment(wiring if wiring is not None else self.wiring))
        self.undone.clear()
        self.check() if look else self.look()
        return plan

    def change(self, method: str, changes: list[Change] | None, *args: Any, **options: Any) -> None:
        """An edit of weights, which gives them these values; None where only it knows them."""
        ed = self.editor
        note(f"{method} {args} {options}")
        before, copy = state_of(ed), None if self.lazy else ed.model
        plan = getattr(ed.preview, method)(*args, **options)
        assert plan.ok and plan.params_after == plan.params_before
        assert state_of(ed) == before, "a preview changed something"
        graph = ed.graph
        getattr(ed, method)(*args, **options)
        assert ed.graph.structure == graph.structure
        assert copy is None or ed.model is copy, "an edit of weights builds nothing"
        if changes is None:
            _ = ed.model
            changes = [
                Change(entry.layer, number, self.latest[entry.layer][number], value)
                for entry, layer in self.own_layers(ed.graph)
                for number, value in enumerate(arrays(layer))
                if f"{entry.path}/{layer.weights[number].name}" in plan.reinitialized
            ]
            assert len(changes) == len(plan.reinitialized)
        self.done.append(Moment(self.wiring, changes))
        self.undone.clear()
        self.give([(change, change.after) for change in changes])
        self.look()

    def give(self, values: list[tuple[Change, np.ndarray]]) -> None:
        for change, value in values:
            self.latest[change.layer][change.number] = value

    def undo(self, count: int) -> None:
        note(f"undo {count}")
        self.editor.undo(count)
        for _ in range(count):
            moment = self.done.pop()
            self.give([(change, change.before) for change in reversed(moment.changes)])
            self.undone.append(moment)
        self.look()

    def redo(self, count: int) -> None:
        note(f"redo {count}")
        self.editor.redo(count)
        for _ in range(count):
            moment = self.undone.pop()
            self.give([(change, change.after) for change in moment.changes])
            self.done.append(moment)
        self.look()

    def reset(self) -> None:
        note("reset")
        start = max((i for i, m in enumerate(self.done) if m.reset), default=0)
        found: dict[tuple[int, int], Change] = {}
        for change in [c for moment in self.done[start + 1 :] for c in moment.changes]:
            if self.editor.source_layer(change.layer) is not None:
                present = self.latest[change.layer][change.number]
                back = Change(change.layer, change.number, present, change.before)
                found.setdefault((change.layer, change.number), back)
        moved = self.editor.graph is not self.editor.source_graph
        self.editor.reset()
        if moved or found:
            self.done.append(Moment(self.done[0].wiring, list(found.values()), reset=True))
            self.undone.clear()
            self.give([(change, change.after) for change in found.values()])
        self.look()

    # -- checks ----------------------------------------------------------------------------------

    def weights(self) -> dict[str, np.ndarray]:
        return {w.path: w.numpy() for view in self.editor.layers for w in view.weights}

    def check_heirs(self, old: dict[str, np.ndarray], heirs: dict[str, str], plan: Any) -> None:
        """What the plan did not name keeps its values, and what it sliced their common part."""
        fresh, sliced = set(plan.reinitialized), set(plan.sliced)
        for path, value in self.weights().items():
            layer, name = path.rsplit("/", 1)
            for new, before in heirs.items():
                if layer == new or layer.startswith(new + "/"):
                    layer = before + layer[len(new) :]
                    break
            was = old.get(f"{layer}/{name}")
            if path in fresh or was is None:
                continue
            if path in sliced:
                part = tuple(slice(0, min(n)) for n in zip(was.shape, value.shape, strict=True))
                assert same(value[part], was[part]), path
            else:
                assert same(value, was), path

    def look(self) -> None:
        """What a lazy story does not do after each step."""
        if not self.lazy or self.number % 3 == 0:
            self.check()

    def check(self) -> None:
        ed, graph, wiring = self.editor, self.editor.graph, self.wiring
        assert fingerprint(self.source) == self.print, "the source was touched"
        model = ed.model
        assert model is ed.model
        got = outputs_of(model, wiring.feed)
        ran, seen = run_graph(ed, wiring.feed)
        assert same(got, ran), "the model is not what its graph says"
        assert same(got, wiring.compute(model)), "the edit did something else"
        for view in ed.layers:
            values = seen[view.path]
            shapes = [view.output_shape] if len(values) == 1 else view.output_shape
            assert all(map(fits, shapes, values)), view.path
            assert ed.live_layer(graph.by_path[view.path]).name == view.name
        self.check_weights(graph)
        self.check_flags()
        self.check_names(wiring, "", {view.path: view.kind for view in ed.layers})
        assert len({view.path for view in ed.layers}) == len(ed.layers)

    def check_names(self, wiring: Wiring, prefix: str, kinds: dict[str, str]) -> None:
        """The layers are called as they must be; the inputs of nested models as Keras likes."""
        inside = {path.removeprefix(prefix) for path in kinds if path.startswith(prefix)}
        found = {name for name in inside if "/" not in name and kinds[prefix + name] != "input"}
        assert found == {step.name for step in wiring.steps.values() if step.kind != "input"}
        for name, inner in wiring.models.items():
            self.check_names(inner, f"{prefix}{name}/", kinds)

    def check_weights(self, graph: ModelGraph) -> None:
        """Every layer has its latest values: the source's, its first ones, or what training gave."""
        for entry, layer in self.own_layers(graph):
            old = self.editor.source_layer(entry.layer)
            assert layer is not old
            if entry.layer not in self.latest:
                self.latest[entry.layer] = arrays(layer if old is None else old)
            assert same(self.latest[entry.layer], arrays(layer)), entry.path
        slots = self.momenta()
        for entry, layer in self.own_layers(graph):
            for number, weight in enumerate(layer.weights):
                if id(weight) in slots:
                    value = ops.convert_to_numpy(slots[id(weight)]).tobytes()
                    key = entry.layer, number
                    assert self.slots.setdefault(key, value) == value, entry.path
        assert not slots or slots.keys() == {id(w) for w in self.editor.model.trainable_variables}

    def own_layers(self, graph: ModelGraph) -> list[tuple[Any, Any]]:
        """The live layers that are no models, with their places."""
        found = [(entry, self.editor.live_layer(entry)) for entry in graph.entries]
        return [
            (entry, layer)
            for entry, layer in found
            if isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model)
        ]

    def momenta(self) -> dict[int, Any]:
        """The optimizer's slots by the identity of the model's variable."""
        optimizer = getattr(self.editor.model, "optimizer", None)
        if optimizer is None or not self.editor.model.compiled:
            return {}
        return dict(zip(map(id, optimizer._trainable_variables), optimizer.momentums, strict=True))

    def train(self, seed: int) -> None:
        """Other values for all that trains, as a step of training would give."""
        note(f"train {seed}")
        self.check()
        random = np.random.default_rng(seed)
        slots = self.momenta()
        model = self.editor.model
        for weight in model.trainable_weights:
            for variable in [weight, *([slots[id(weight)]] if id(weight) in slots else [])]:
                variable.assign(random.uniform(-0.5, 0.5, variable.shape).astype("float32"))
        self.trained = True
        for entry, layer in self.own_layers(self.editor.graph):
            self.latest[entry.layer] = arrays(layer)
            for number, weight in enumerate(layer.weights):
                if id(weight) in slots:
                    value = ops.convert_to_numpy(slots[id(weight)]).tobytes()
                    self.slots[entry.layer, number] = value
        self.check()

    def check_flags(self) -> None:
        trains = {id(w) for w in self.editor.model.trainable_weights}
        for view in self.editor.layers:
            if view.kind == "layer":
                for weight in view.layer._trainable_variables:
                    assert (id(weight) in trains) is view.trainable, view.path

    def check_end(self, beside: bool) -> None:
        """There and back, saved, and made again: of its recipe and of its scripts.

        With `beside`, the arrays of a script are in a file of their own.
        """
        self.check_way_back()
        with tempfile.TemporaryDirectory() as name:
            self.check_file(Path(name))
            self.check_repeated(Path(name), beside)
        assert fingerprint(self.source) == self.print, "the source was touched"

    def check_file(self, folder: Path) -> None:
        self.editor.save(folder / "m.keras")
        loaded = keras.saving.load_model(folder / "m.keras")
        model, feed = self.editor.model, self.wiring.feed
        assert same(loaded.get_weights(), model.get_weights())
        assert same(outputs_of(loaded, feed), outputs_of(model, feed))

    def check_repeated(self, folder: Path, beside: bool) -> None:
        """The recipe made again, and the scripts of both styles run, give the same model."""
        model, feed = self.editor.model, self.wiring.feed
        self.editor.recipe().save(folder / "edits.json")
        again = Recipe.load(folder / "edits.json").apply(self.source).model
        if self.trained:  # training is no edit
            again.set_weights(model.get_weights())
        repeated = {"recipe": again}
        for style in ("kerasedit", "keras"):
            script = folder / f"{style}_style.py"
            code = self.editor.to_code(style, path=script if beside else None)
            script.write_text(code)
            repeated[style] = runpy.run_path(str(script))["build"](self.source)
        wanted = predicted(model, feed)
        for what, other in repeated.items():
            assert same(predicted(other, feed), wanted), what
            assert same(other.get_weights(), model.get_weights()), what
            assert [v.trainable for v in other.variables] == [v.trainable for v in model.variables]
            assert getattr(other, "output_names", None) == getattr(model, "output_names", None)

    def check_way_back(self) -> None:
        """To the start and back to the end, step by step and at once."""
        ed = self.editor
        self.check()
        end, graph = outputs_of(ed.model, self.wiring.feed), ed.graph
        weights, flags = ed.model.get_weights(), [view.trainable for view in ed.layers]
        count = len(self.done) - 1
        if not count:
            return
        self.undo(count)
        assert ed.graph is ed.source_graph
        self.check()
        if not self.trained:
            assert same(outputs_of(ed.model, self.wiring.feed), self.outputs)
            assert same(ed.model.get_weights(), self.source.get_weights())
        assert [v.trainable for v in ed.model.layers] == [v.trainable for v in self.source.layers]
        assert [v.name for v in ed.model.layers] == [v.name for v in self.source.layers]
        assert type(ed.model) is type(self.source)
        self.redo(count)
        assert ed.graph is graph
        self.check()
        if not self.trained:  # what was trained between edits of weights is no edit
            assert same(outputs_of(ed.model, self.wiring.feed), end)
            assert same(ed.model.get_weights(), weights)
        assert [view.trainable for view in ed.layers] == flags


# -- random edits --------------------------------------------------------------------------------


def block(draw: Any, story: Story) -> tuple[Any, list[Step]]:
    """Something to put in, and the calls that it adds to a wiring."""
    name = story.name()
    kind = draw(st.sampled_from(["dense", "relu", "drop", "norm", "two", "function", "built"]))
    units = draw(st.sampled_from([3, 4]))
    if kind == "dense":
        return layers.Dense(units, name=name), [Step(name)]
    if kind == "relu":
        return layers.ReLU(name=name), [Step(name)]
    if kind == "drop":
        return layers.Dropout(0.5, name=name), [Step(name)]
    if kind == "norm":
        return layers.BatchNormalization(name=name), [Step(name)]
    if kind == "two":
        pair = [layers.Dense(units, name=name), layers.ReLU(name=name + "b")]
        return pair, [Step(name), Step(name + "b")]
    if kind == "built":
        made = layers.Dense(units, activation="tanh", name=name)
        made.build((None, draw(st.sampled_from([3, 4]))))
        return made, [Step(name)]
    return (lambda x: layers.ReLU(name=name)(x)), [Step(name)]


def merge(draw: Any, story: Story) -> tuple[Any, Step]:
    """A layer that merges, and its call."""
    name = story.name("merged")
    cls = draw(st.sampled_from([layers.Add, layers.Concatenate, layers.Subtract]))
    return cls(name=name), Step(name, kind="merge")


def is_heir(block: Any, view: Any) -> bool:
    """Whether a block takes over weights: what is built brings its own."""
    return isinstance(block, layers.Dense) and not block.built and view.class_name == "Dense"


MISMATCH = st.sampled_from(["error", "reinit", "slice"])


class Chapter:
    """What an edit is drawn from: a model of the story, a layer in it, and the wiring to change."""

    def __init__(self, draw: Any, story: Story) -> None:
        self.draw, self.story, self.ed = draw, story, story.editor
        self.wiring = story.wiring.copy()
        self.views = self.ed.layers
        models = [v for v in self.views if v.kind == "model"]
        inside = models and not draw(st.integers(0, 3))
        self.prefix = draw(st.sampled_from(models)).path + "/" if inside else ""
        self.scope = self.wiring.scope(self.prefix)
        self.here = [v for v in self.views if v.path == self.prefix + v.name]
        # Inputs too, but seldom: most edits of them are refused.
        inner = [view for view in self.here if view.kind != "input"]
        self.view = draw(st.sampled_from(inner if draw(st.integers(0, 5)) else self.here))
        self.name, self.path = self.view.name, self.view.path
        self.mismatch = draw(MISMATCH)
        self.order = [v.name for v in self.here]

    # -- drawing ---------------------------------------------------------------------------------

    def other(self, plain: bool = True) -> Any:
        """Another layer of the same model."""
        fitting = [v for v in self.here if not plain or self.scope.is_plain(v.name)]
        return self.draw(st.sampled_from(fitting))

    def takes(self, name: str) -> list[Any]:
        return self.scope.taken(name) if self.scope.of(name) else []

    def edit(self, method: str, *args: Any, result: Any = True, **options: Any) -> Any:
        """The edit, with this chapter's wiring as what must come of it."""
        wiring = self.wiring if result is True else result
        return self.story.edit(method, wiring, *args, **options)

    def once(self, *names: str) -> bool:
        return all(len(self.scope.of(name)) == 1 for name in names)

    # -- the kinds of edits ----------------------------------------------------------------------

    def remove(self) -> None:
        takes = self.takes(self.name) if self.view.calls == 1 else [0]
        keep = self.draw(st.integers(0, 1)) if len(takes) > 1 else None
        if self.view.kind != "input":
            self.scope.remove(self.name, keep or 0)
        self.edit("remove", self.path, keep=keep, on_mismatch=self.mismatch)

    def after(self) -> None:
        given_block, steps = block(self.draw, self.story)
        self.scope.insert_after(self.name, steps)
        self.edit("insert", given_block, after=self.path, on_mismatch=self.mismatch)

    def before(self) -> None:
        given_block, steps = block(self.draw, self.story)
        several = len(self.takes(self.name)) > 1 and self.view.calls == 1
        which = self.draw(st.integers(0, 1)) if several else None
        if self.view.kind != "input":
            self.scope.insert_before(self.name, which or 0, steps)
        self.edit("insert", given_block, before=self.path, input=which, on_mismatch=self.mismatch)

    def between(self) -> None:
        given_block, steps = block(self.draw, self.story)
        near = self.makers(self.name)
        first = self.draw(st.sampled_from(near)) if near else self.other().name
        self.scope.insert_between(first, self.name, steps)
        self.edit(
            "insert", given_block, after=self.prefix + first, before=self.path,
            on_mismatch=self.mismatch,
        )  # fmt: skip

    def makers(self, name: str) -> list[str]:
        """The layers that a layer takes something of; mostly."""
        numbers = {t for n in self.scope.of(name) for t, _ in self.scope.steps[n].takes}
        found = sorted({self.scope.steps[n].name for n in numbers})
        return [name for name in found if self.scope.is_plain(name)]

    def replace(self) -> None:
        given_block, steps = block(self.draw, self.story)
        weights = self.draw(st.sampled_from(["match", "slice", "none"]))
        if any(len(self.scope.steps[n].takes) != 1 for n in self.scope.of(self.name)):
            return
        self.scope.replace(self.name, steps)
        self.scope.sweep()
        alone = len(steps) == 1 and is_heir(given_block, self.view) and weights != "none"
        self.edit(
            "replace", self.path, given_block, weights=weights, on_mismatch=self.mismatch,
            heirs={self.prefix + steps[0].name: self.path} if alone else {},
        )  # fmt: skip

    def rename(self) -> None:
        taken = self.draw(st.booleans())
        new = self.other().name if taken else self.story.name("called")
        self.scope.rename(self.name, new)
        heirs = {self.prefix + new: self.path}
        self.edit("rename", self.path, new, heirs=heirs)

    def flag(self) -> None:
        target = self.draw(st.sampled_from([v.path for v in self.views] + ["**", layers.Dropout]))
        method = self.draw(st.sampled_from(["freeze", "unfreeze"]))
        model = None if self.story.lazy else self.ed.model
        self.edit(method, target)
        assert model is None or self.ed.model is model, "a flag edit builds nothing"

    def trim(self) -> None:
        # Which of several calls comes last is told by the order of layers, as a user sees it.
        if not self.prefix and self.once(self.name) and self.view.kind != "input":
            self.scope.trim(self.name)
            self.edit("trim", self.path)

    def classes(self) -> None:
        cls = self.draw(st.sampled_from([layers.Dropout, layers.ReLU, layers.Dense]))
        named = [v for v in self.views if v.class_name == cls.__name__]
        if all(v.level == 1 for v in named):
            for view in named:
                self.wiring.remove(view.path)
            self.edit("remove", cls, on_mismatch=self.mismatch)

    def connect(self) -> None:
        source = self.other()
        layer, step = merge(self.draw, self.story)
        several = len(self.takes(self.name)) > 1 and self.view.calls == 1
        which = self.draw(st.integers(0, 1)) if several else None
        branch, steps = (None, [])
        if self.draw(st.booleans()):
            branch, steps = block(self.draw, self.story)
        options: dict[str, Any] = {"merge": layer, "input": which, "on_mismatch": self.mismatch}
        if not self.once(source.name):
            return
        wiring = self.wiring if self.takes(self.name) else None
        if wiring is not None:
            tensor = (self.scope.of(source.name)[0], 0)
            self.scope.join(tensor, self.name, which or 0, steps, step)
        if branch is None:
            self.edit("connect", source.path, self.path, result=wiring, **options)
        else:
            options |= {"source": source.path, "into": self.path}
            self.edit("add_branch", branch, result=wiring, **options)

    def disconnect(self) -> None:
        merges = [
            n for n in self.order if self.scope.steps[self.scope.of(n)[0]].kind in ("merge", "op")
        ]
        into = self.draw(st.sampled_from(merges)) if merges else self.name
        near = self.makers(into)
        source = self.draw(st.sampled_from(near)) if near else self.other().name
        numbers = self.scope.of(into)
        made = set(self.scope.of(source))
        kept = [{t for t, _ in self.scope.steps[n].takes} - made for n in numbers]
        if all(kept):
            self.scope.disconnect(source, into)
        self.edit("disconnect", self.prefix + source, self.prefix + into, on_mismatch=self.mismatch)

    def duplicate(self) -> None:
        after = self.draw(st.sampled_from([None, self.other()]))
        weights = self.draw(st.booleans())
        options: dict[str, Any] = {"weights": weights, "on_mismatch": self.mismatch}
        if after is not None:
            options["after"] = after.path
        source = self.ed.graph.by_path[self.path].layer

        def result(plan: Any, came: set[str]) -> Wiring:
            (new,) = [path for path in came if path.count("/") == self.prefix.count("/")]
            self.behind(after or self.view, new)
            if weights and source in self.story.latest and not plan.sliced + plan.reinitialized:
                identity = self.ed.graph.by_path[new].layer
                known = self.story.latest[source]
                self.story.latest[identity] = [value.copy() for value in known]
            return self.wiring

        self.edit("duplicate", self.path, result=result, **options)

    def behind(self, after: Any, new: str) -> None:
        step = self.scope.steps[self.scope.of(self.name)[0]]
        again = dataclasses.replace(step, name=new.rsplit("/", 1)[-1])
        inner = self.scope.models.get(self.name)
        self.scope.put_behind(after.name, again, inner.copy() if inner else None)

    def move(self) -> None:
        elsewhere = [v for v in self.views if v.kind != "model" or "/" not in v.path]
        after = (
            self.draw(st.sampled_from(elsewhere))
            if not self.draw(st.integers(0, 3))
            else self.other()
        )
        there = after.path[: -len(after.name)]
        scope = self.wiring.scope(there)
        if not scope.is_plain(after.name):
            return
        movable = self.once(self.name) and len(self.takes(self.name)) == 1
        inside = f"{after.path}/".startswith(f"{self.path}/")
        if movable and not inside:
            step, inner = self.scope.take_out(self.name)
            scope.put_behind(after.name, step, inner)
        self.edit(
            "move", self.path, after=after.path, on_mismatch=self.mismatch,
            heirs={there + self.name: self.path},
        )  # fmt: skip

    def configure(self) -> None:
        config = self.draw(
            st.sampled_from(
                [{"activation": "sigmoid"}, {"use_bias": False}, {"use_bias": True}, {"units": 3},
                 {"units": 4}, {"rate": 0.25}, {"kernel_regularizer": keras.regularizers.L2(0.1)}]
            )
        )  # fmt: skip
        target = self.draw(st.sampled_from([self.path, self.path, layers.Dense, "**"]))
        plan = self.edit("configure", target, on_mismatch=self.mismatch, **config)
        ((key, value),) = config.items()
        views = {v.path: v for v in self.ed.layers}
        if plan is not None and target == self.path and not isinstance(value, keras.Regularizer):
            assert views[self.path].config[key] == value
        elif plan is not None:
            known = [v.config for v in views.values() if v.kind == "layer" and key in v.config]
            assert known and all(c[key] for c in known if value and target == "**")

    def extract(self) -> None:
        stop = self.other()
        region = self.scope.region(self.name, stop.name, self.order)
        start, end = self.path, stop.path
        if not region.inside:
            self.edit("extract", start, end, result=None)
            return
        if not self.scope.called_once(region.inside) or not self.scope.is_plain(self.name):
            return

        def result(plan: Any, came: set[str]) -> Wiring:
            feed = self.wiring.feed
            names = [tensor.name for tensor in self.ed.model.inputs]
            shapes = [tensor.shape[1:] for tensor in self.ed.model.inputs]
            scope = self.scope
            scope.feed = {n: feed[n] if not self.prefix and n in feed else batch_for(n, s)
                          for n, s in zip(names, shapes, strict=True)}  # fmt: skip
            scope.extract(region, stop.name, names)
            return scope

        inside = [self.scope.steps[n].name for n in region.inside]
        heirs = {name: self.prefix + name for name in inside}
        self.edit("extract", start, end, result=result, heirs=heirs, look=True)

    def nest(self) -> None:
        stop = self.other(plain=False)
        region = self.scope.region(self.name, stop.name)
        if not region.inside:
            self.edit("nest", self.path, stop.path, self.story.name("nest"), result=None)
            return
        inside = {self.scope.steps[n].name for n in region.inside}
        outside = {s.name for n, s in self.scope.steps.items() if n not in region.inside}
        if inside & outside:
            return
        taken = self.draw(st.integers(0, 4)) == 0
        name = self.other().name if taken else self.story.name("nest")
        if self.view.kind != "input":
            self.scope.nest(region, name)
        heirs = {f"{self.prefix}{name}/{part}": self.prefix + part for part in inside}
        self.edit("nest", self.path, stop.path, name, heirs=heirs)

    def inline(self) -> None:
        nested = [v for v in self.here if v.kind == "model"]
        view = self.draw(st.sampled_from(nested)) if nested else self.view

        def names(plan: Any) -> dict[str, str]:
            """What layers inside are called outside."""
            inside = [v.name for v in self.views if v.path == f"{view.path}/{v.name}"]
            new = {old: name.rsplit("/", 1)[-1] for old, name in plan.renamed}
            return {name: new.get(f"{view.path}/{name}", name) for name in inside}

        def result(plan: Any, came: set[str]) -> Wiring:
            self.scope.inline(view.name, names(plan))
            return self.wiring

        def heirs(plan: Any) -> dict[str, str]:
            return {self.prefix + new: f"{view.path}/{old}" for old, new in names(plan).items()}

        self.edit("inline", view.path, result=result, heirs=heirs)

    def add_output(self) -> None:
        if self.prefix or not self.once(self.name) or not self.scope.is_plain(self.name):
            return
        name = self.draw(st.sampled_from([None, self.story.name("out"), self.other().name]))
        tensor = (self.scope.of(self.name)[0], 0)
        if name not in (None, self.name):
            tensor = self.scope.put([Step(name)], tensor)
        self.scope.outputs.append(tensor)
        self.edit("add_output", self.path, name=name)

    def remove_output(self) -> None:
        names = list(self.ed.graph.net.output_names)
        name = self.draw(st.sampled_from(names))
        self.wiring.outputs = [
            t for t, n in zip(self.wiring.outputs, names, strict=True) if n != name
        ]
        if self.wiring.outputs:
            self.wiring.sweep()
        self.edit("remove_output", name)

    def set_input(self) -> None:
        name = self.draw(st.sampled_from(sorted(self.wiring.feed)))
        old = self.wiring.feed[name].shape[1:]
        width = self.draw(st.sampled_from([2, 3, 4, 5]))
        shape = (*old[:-1], width) if len(old) == 1 else (SIDE, SIDE, width)
        self.wiring.feed[name] = batch_for(name, shape)
        self.edit("set_input", shape, input=name, on_mismatch=self.mismatch)

    def replace_between(self) -> None:
        stop = self.other()
        region = self.scope.region(self.name, stop.name, self.order)
        if len(region.enters) > 1:
            layer = layers.Concatenate(name=self.story.name("joined"))
            given_block, steps = layer, [Step(layer.name, kind="merge")]
        else:
            given_block, steps = block(self.draw, self.story)
        args = self.path, stop.path, given_block
        if region.inside and not self.scope.called_once(region.inside):
            return
        if not region.inside or self.view.kind == "input":
            self.edit("replace_between", *args, result=None, on_mismatch=self.mismatch)
            return
        self.scope.replace_between(region, steps)
        self.edit("replace_between", *args, on_mismatch=self.mismatch)

    def weights(self) -> None:
        with_weights = [v for v in self.views if v.weights or (v.kind == "model" and v.params)]
        if not with_weights:
            return
        view = self.draw(st.sampled_from(with_weights))
        inside = [v for v in self.views if f"{v.path}/".startswith(f"{view.path}/") and v.weights]
        graph = self.ed.graph
        if any(graph.by_path[v.path].layer not in self.story.latest for v in inside):
            self.story.check()  # to know what is there
        one = self.draw(st.sampled_from([None, *view.weights])) if view.weights else None
        target = view.path if one is None else one.path
        meant = {
            (graph.by_path[v.path].layer, number): (v.path, weight.name)
            for v in inside
            for number, weight in enumerate(v.weights)
            if one is None or weight.path == one.path
        }
        method = self.draw(st.sampled_from(["scale", "map", "set", "reinitialize"]))
        factor = np.float32(self.draw(st.sampled_from([0.5, -2.0])))
        changes = []
        for layer, number in meant:
            value = self.story.latest[layer][number]
            new = {
                "scale": value * factor,
                "map": np.sort(value, axis=0),
                "set": np.full_like(value, 0.25),
            }
            changes.append(Change(layer, number, value, new.get(method, value)))
        if method == "scale":
            self.story.change("scale_weights", changes, target, float(factor))
        elif method == "map":
            self.story.change("map_weights", changes, target, lambda w: np.sort(w, axis=0))
        elif method == "set":
            self.story.change("set_weights", changes, target, [c.after for c in changes])
        else:
            self.story.change("reinitialize", None, target)

    def bad(self) -> None:
        bad = self.draw(st.integers(0, 7))
        story = self.story
        if bad == 0:
            assert not story.edit("remove", None, "nothing_here")
        elif bad == 1:
            assert not story.edit("insert", None, layers.Dense(3))
        elif bad == 2:
            assert not story.edit("rename", None, self.path, "a/b")
        elif bad == 3:
            assert not story.edit("remove", None, self.path, expect=2)
        elif bad == 4:
            assert not story.edit("freeze", None, 99)
        elif bad == 5:
            assert not story.edit("scale_weights", None, "nothing_here", 2.0)
        elif bad == 6:
            assert not story.edit("configure", None, self.path, nothing_here=1)
        else:
            assert not story.edit("remove", None, "*", on_mismatch="perhaps")

    def transaction(self) -> None:
        given_block, steps = block(self.draw, self.story)
        self.scope.insert_after(self.name, steps)
        story, before = self.story, state_of(self.ed)
        dense = [v for v in self.views if v.class_name == "Dense"]
        changes, scaled = [], ""
        if dense:
            scaled = self.draw(st.sampled_from(dense)).path
            layer = self.ed.graph.by_path[scaled].layer
            if layer not in story.latest:
                story.check()
            changes = [
                Change(layer, n, v, v * np.float32(2)) for n, v in enumerate(story.latest[layer])
            ]
        fails = self.draw(st.booleans())
        note(f"transaction {given_block} after {self.path}, fails {fails}")
        try:
            with self.ed.transaction("several at once"):
                if changes:
                    self.ed.scale_weights(scaled, 2.0)
                self.ed.insert(given_block, after=self.path, on_mismatch=self.mismatch)
                self.ed.freeze("**")
                if fails:
                    self.ed.remove("nothing_here")
        except EditError:
            assert state_of(self.ed) == before
        else:
            story.done.append(Moment(self.wiring, changes))
            story.undone.clear()
            story.give([(change, change.after) for change in changes])
        story.look()


HISTORY = ["undo", "undo", "redo", "reset", "train"]
PLAIN = (
    ["remove"] * 3
    + ["after", "before", "between", "replace"] * 2
    + ["rename", "flag", "flag", "trim", "classes", "transaction", "bad"]
    + ["connect", "disconnect", "duplicate", "move", "configure", "replace_between"] * 2
    + ["nest", "nest", "inline", "inline", "inline", "extract"]
    + ["add_output", "remove_output", "set_input"]
    + ["weights"] * 4
)
# What needs the first and only output of a layer is not drawn for models with several.
ANY_MODEL = (
    "rename",
    "flag",
    "bad",
    "weights",
    "nest",
    "inline",
    "remove_output",
    "set_input",
    "classes",
)


def some_edit(draw: Any, story: Story) -> None:
    """One random edit, undo, redo or reset; some of them cannot be made."""
    kind = draw(st.sampled_from(PLAIN + HISTORY * 2))
    if kind == "undo" and len(story.done) > 1:
        story.undo(draw(st.integers(1, len(story.done) - 1)))
    elif kind == "redo" and story.undone:
        story.redo(draw(st.integers(1, len(story.undone))))
    elif kind == "reset":
        story.reset()
    elif kind == "train":
        story.train(draw(st.integers(0, 3)))
    elif kind in PLAIN:
        chapter = Chapter(draw, story)
        if chapter.scope.is_plain(chapter.name) or kind in ANY_MODEL:
            getattr(chapter, kind)()


def tell(drawn: Drawn, data: st.DataObject, most: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        warnings.filterwarnings("ignore", message="The weights .* were trained since")
        warnings.filterwarnings("ignore", message="Training does not look at")
        warnings.filterwarnings("ignore", message="The copy is not compiled.*no loss for")
        story = Story(drawn, data.draw(st.booleans()), data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(most // 3, most))):
            some_edit(data.draw, story)
        story.check_end(beside=data.draw(st.booleans()))


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """An editor looks for garbage now and then; what earlier tests have left would be looked at too."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    garbage._frozen.theirs = False


@pytest.mark.timeout(14400)  # `make test-all` makes 10,000
@given(data=st.data())
def test_random_edits(data: st.DataObject):
    drawn = draw_model(data.draw)
    note(repr(drawn))
    tell(drawn, data, 12)
