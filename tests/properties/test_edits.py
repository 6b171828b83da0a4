"""Random edits of random models: what holds after every step."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers, ops

from kerasedit import EditError, Editor
from kerasedit.graph.model_graph import ModelGraph, Ref, map_refs
from tests.models import fingerprint, same, state_of

from .wiring import Drawn, Step, Wiring, draw_model

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


class Story:
    """An editor, the wiring that its model must have after each step, and all the checks."""

    def __init__(self, drawn: Drawn, compiled: bool = False) -> None:
        self.feed = drawn.feed
        if compiled:
            drawn.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
            drawn.model.optimizer.build(drawn.model.trainable_variables)
        self.source = drawn.model
        self.print = fingerprint(drawn.model)
        self.outputs = outputs_of(drawn.model, drawn.feed)
        self.editor = Editor(drawn.model)
        self.done: list[Wiring] = [drawn.wiring]
        self.undone: list[Wiring] = []
        # What each layer and each slot was last seen with: by identity, so that it is the same after
        # any number of rebuilds and of ways back and forth.
        self.latest: dict[int, list[bytes]] = {}
        self.slots: dict[tuple[int, int], bytes] = {}
        self.trained = False
        self.number = 0
        self.check()

    @property
    def wiring(self) -> Wiring:
        return self.done[-1]

    def edit(
        self,
        method: str,
        wiring: Wiring | None,
        *args: Any,
        heirs: dict[str, str] | None = None,
        **options: Any,
    ) -> bool:
        """Previews an edit, makes it, and checks that the two agree. Whether it could be made.

        `heirs` names layers that take over the weights of others: `{new path: old path}`.
        """
        ed = self.editor
        old = self.weights()
        note(f"{method} {args} {options}")
        before, model, paths = state_of(ed), ed.model, {view.path for view in ed.layers}
        plan = getattr(ed.preview, method)(*args, **options)
        assert state_of(ed) == before, "a preview changed something"
        assert ed.model is model
        refusal, result = None, None
        try:
            result = getattr(ed, method)(*args, **options)
        except EditError as problem:
            refusal = str(problem)
        if refusal is not None:
            note(f"  refused: {refusal}")
            assert not plan.ok
            assert plan.errors == (refusal,)
            assert state_of(ed) == before, "a failed edit changed something"
            assert ed.model is model
            self.check()
            return False
        assert result is ed
        assert plan.ok, plan.errors
        now = {view.path for view in ed.layers}
        assert plan.params_after == ed.model.count_params()
        assert plan.params_before == model.count_params()
        assert set(plan.dropped) <= paths - now
        assert all(new in {p.rsplit("/", 1)[-1] for p in now} or new in now
                   for _, new in plan.renamed)  # fmt: skip
        shapes = {view.path: view.output_shape for view in ed.layers}
        for path, _, after in plan.shape_changes:
            assert path not in shapes or shapes[path] == after
        self.check_heirs(old, heirs or {}, plan)
        self.done.append(wiring if wiring is not None else self.wiring)
        self.undone.clear()
        self.check()
        return True

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
            was = old.get(f"{layer}/{name}")
            if path in fresh or was is None:
                continue
            if path in sliced:
                part = tuple(slice(0, min(n)) for n in zip(was.shape, value.shape, strict=True))
                assert same(value[part], was[part]), path
            else:
                assert same(value, was), path

    def check(self) -> None:
        ed, graph = self.editor, self.editor.graph
        assert fingerprint(self.source) == self.print, "the source was touched"
        model = ed.model
        assert model is ed.model
        got = outputs_of(model, self.feed)
        ran, seen = run_graph(ed, self.feed)
        assert same(got, ran), "the model is not what its graph says"
        assert same(got, self.wiring.compute(model, self.feed)), "the edit did something else"
        for view in ed.layers:
            values = seen[view.path]
            shapes = [view.output_shape] if len(values) == 1 else view.output_shape
            assert all(map(fits, shapes, values)), view.path
            assert ed.live_layer(graph.by_path[view.path]).name == view.name
        self.check_weights(graph)
        self.check_flags()
        top = {view.path for view in ed.layers if view.level == 1}
        assert self.wiring.names() | {tensor.name for tensor in model.inputs} == top
        assert len({view.path for view in ed.layers}) == len(ed.layers)

    def check_weights(self, graph: ModelGraph) -> None:
        """Every layer has its latest values: the source's, its first ones, or what training gave."""
        for entry, layer in self.own_layers(graph):
            values = [ops.convert_to_numpy(w).tobytes() for w in layer.weights]
            old = self.editor.source_layer(entry.layer)
            if old is not None and entry.layer not in self.latest:
                self.latest[entry.layer] = [ops.convert_to_numpy(w).tobytes() for w in old.weights]
            assert layer is not old
            assert self.latest.setdefault(entry.layer, values) == values, entry.path
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
        random = np.random.default_rng(seed)
        slots = self.momenta()
        model = self.editor.model
        for weight in model.trainable_weights:
            for variable in [weight, *([slots[id(weight)]] if id(weight) in slots else [])]:
                variable.assign(random.uniform(-0.5, 0.5, variable.shape).astype("float32"))
        self.trained = True
        for entry, layer in self.own_layers(self.editor.graph):
            values = [ops.convert_to_numpy(w).tobytes() for w in layer.weights]
            self.latest[entry.layer] = values
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

    def check_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "m.keras")
            self.editor.save(path)
            loaded = keras.saving.load_model(path)
        model = self.editor.model
        assert same(loaded.get_weights(), model.get_weights())
        assert same(outputs_of(loaded, self.feed), outputs_of(model, self.feed))

    def check_way_back(self) -> None:
        """To the start and back to the end, step by step and at once."""
        ed = self.editor
        end, graph = outputs_of(ed.model, self.feed), ed.graph
        weights, flags = ed.model.get_weights(), [view.trainable for view in ed.layers]
        count = len(self.done) - 1
        if not count:
            return
        ed.undo(count)
        assert ed.graph is ed.source_graph
        if not self.trained:
            assert same(outputs_of(ed.model, self.feed), self.outputs)
            assert same(ed.model.get_weights(), self.source.get_weights())
        assert [v.trainable for v in ed.model.layers] == [v.trainable for v in self.source.layers]
        assert [v.name for v in ed.model.layers] == [v.name for v in self.source.layers]
        ed.redo(count)
        assert ed.graph is graph
        assert same(outputs_of(ed.model, self.feed), end)
        assert same(ed.model.get_weights(), weights)
        assert [view.trainable for view in ed.layers] == flags
        self.check()


# -- random edits --------------------------------------------------------------------------------


def block(draw: Any, story: Story) -> tuple[Any, list[Step]]:
    """Something to put in, and the calls that it adds to a wiring."""
    story.number += 1
    name = f"new{story.number}"
    kind = draw(st.sampled_from(["dense", "relu", "drop", "norm", "two", "function", "built"]))
    units = draw(st.sampled_from([3, 4]))
    if kind == "dense":
        return layers.Dense(units, name=name), [Step(name, ())]
    if kind == "relu":
        return layers.ReLU(name=name), [Step(name, ())]
    if kind == "drop":
        return layers.Dropout(0.5, name=name), [Step(name, ())]
    if kind == "norm":
        return layers.BatchNormalization(name=name), [Step(name, ())]
    if kind == "two":
        pair = [layers.Dense(units, name=name), layers.ReLU(name=name + "b")]
        return pair, [Step(name, ()), Step(name + "b", ())]
    if kind == "built":
        made = layers.Dense(units, activation="tanh", name=name)
        made.build((None, draw(st.sampled_from([3, 4]))))
        return made, [Step(name, ())]
    return (lambda x: layers.ReLU(name=name)(x)), [Step(name, ())]


MISMATCH = st.sampled_from(["error", "reinit", "slice"])
KINDS = (
    ["remove"] * 4
    + ["after"] * 3
    + ["before"] * 2
    + ["between"] * 2
    + ["replace"] * 3
    + ["rename", "freeze", "freeze", "unfreeze", "trim", "transaction"]
    + ["undo", "undo", "redo", "reset", "bad", "inside", "inside", "classes", "train"]
)


def some_edit(draw: Any, story: Story) -> None:
    """One random edit, undo, redo or reset; some of them cannot be made."""
    ed, wiring = story.editor, story.wiring.copy()
    views = ed.layers
    top = [view for view in views if view.level == 1]
    kind = draw(st.sampled_from(KINDS))
    # Inputs too, but seldom: most edits of them are refused.
    inner = [view for view in top if view.kind != "input"]
    view = draw(st.sampled_from(inner if draw(st.integers(0, 5)) else top))
    name = view.path
    mismatch = draw(MISMATCH)
    if kind == "remove":
        takes = (
            len({t for n in wiring.of(name) for t in wiring.steps[n].takes})
            if view.calls == 1
            else 1
        )
        keep = draw(st.integers(0, 1)) if takes > 1 else None
        if view.kind != "input":
            wiring.remove(name, keep or 0)
        story.edit("remove", wiring, name, keep=keep, on_mismatch=mismatch)
    elif kind == "after":
        given_block, steps = block(draw, story)
        wiring.insert_after(name, steps)
        story.edit("insert", wiring, given_block, after=name, on_mismatch=mismatch)
    elif kind == "before":
        given_block, steps = block(draw, story)
        takes = {t for n in wiring.of(name) for t in wiring.steps[n].takes}
        which = draw(st.integers(0, 1)) if len(takes) > 1 and view.calls == 1 else None
        if view.kind != "input":
            wiring.insert_before(name, which or 0, steps)
        story.edit("insert", wiring, given_block, before=name, input=which, on_mismatch=mismatch)
    elif kind == "between":
        given_block, steps = block(draw, story)
        makers = {wiring.steps[t].name for n in wiring.of(name) for t in wiring.steps[n].takes}
        near = sorted(makers) if makers and draw(st.integers(0, 5)) else [v.path for v in top]
        first = draw(st.sampled_from(near))
        wiring.insert_between(first, name, steps)
        story.edit("insert", wiring, given_block, after=first, before=name, on_mismatch=mismatch)
    elif kind == "replace":
        given_block, steps = block(draw, story)
        weights = draw(st.sampled_from(["match", "slice", "none"]))
        if all(len(wiring.steps[n].takes) == 1 for n in wiring.of(name)):
            wiring.replace(name, steps)
            heirs = {steps[0].name: name} if len(steps) == 1 and is_heir(given_block, view) else {}
            story.edit(
                "replace", wiring, name, given_block,
                weights=weights, on_mismatch=mismatch, heirs=heirs,
            )  # fmt: skip
    elif kind == "rename":
        taken = draw(st.booleans())
        new = draw(st.sampled_from(top)).path if taken else f"called{story.number}"
        story.number += 1
        heirs = {new: name}
        wiring.rename(name, new)
        if view.kind == "input":
            story.feed.setdefault(new, story.feed[name])
        story.edit("rename", wiring, name, new, heirs=heirs)
    elif kind in ("freeze", "unfreeze"):
        target = draw(st.sampled_from([v.path for v in views] + ["**"]))
        model = ed.model
        story.edit(kind, None, target)
        assert ed.model is model, "a flag edit builds nothing"
    elif kind == "trim":
        numbers = wiring.of(name)
        net = ed.graph.net
        calls = [c.id for c in net.calls if c.layer == ed.graph.by_path[name].layer]
        # Which of several calls comes last is told by the order of layers, as a user sees it.
        if len(calls) == 1 and view.kind != "input":
            wiring.trim(name, numbers[0])
            story.edit("trim", wiring, name)
    elif kind == "undo" and len(story.done) > 1:
        count = draw(st.integers(1, len(story.done) - 1))
        ed.undo(count)
        for _ in range(count):
            story.undone.append(story.done.pop())
        story.check()
    elif kind == "redo" and story.undone:
        count = draw(st.integers(1, len(story.undone)))
        ed.redo(count)
        for _ in range(count):
            story.done.append(story.undone.pop())
        story.check()
    elif kind == "train":
        story.train(draw(st.integers(0, 3)))
    elif kind == "reset":
        if ed.graph is not ed.source_graph:
            ed.reset()
            story.done.append(story.done[0])
            story.undone.clear()
            story.check()
    elif kind == "classes":
        cls = draw(st.sampled_from([layers.Dropout, layers.ReLU, layers.Dense]))
        if draw(st.booleans()):
            story.edit("freeze", None, cls)
        else:
            inside = [v for v in views if v.level > 1 and v.class_name == cls.__name__]
            for view in [v for v in top if v.class_name == cls.__name__]:
                wiring.remove(view.path, 0)
            if not inside:
                story.edit("remove", wiring, cls, on_mismatch=mismatch)
    elif kind == "transaction":
        given_block, steps = block(draw, story)
        wiring.insert_after(name, steps)
        before = state_of(ed)
        try:
            with ed.transaction("two at once"):
                ed.insert(given_block, after=name, on_mismatch=mismatch)
                ed.freeze("**")
                if draw(st.booleans()):
                    ed.remove("nothing_here")
        except EditError:
            assert state_of(ed) == before
        else:
            story.done.append(wiring)
            story.undone.clear()
        story.check()
    elif kind == "inside":
        inner = [v for v in views if v.level > 1]
        if inner:
            inside_nested(draw, story, draw(st.sampled_from(inner)), mismatch)
    elif kind == "bad":
        bad = draw(st.integers(0, 5))
        if bad == 0:
            assert not story.edit("remove", None, "nothing_here")
        elif bad == 1:
            assert not story.edit("insert", None, layers.Dense(3))
        elif bad == 2:
            assert not story.edit("rename", None, name, "a/b")
        elif bad == 3:
            assert not story.edit("remove", None, name, expect=2)
        elif bad == 4:
            assert not story.edit("freeze", None, 99)
        else:
            assert not story.edit("remove", None, "*", on_mismatch="perhaps")


def is_heir(block: Any, view: Any) -> bool:
    """Whether a block takes over weights: what is built brings its own."""
    return isinstance(block, layers.Dense) and not block.built and view.class_name == "Dense"


def inside_nested(draw: Any, story: Story, view: Any, mismatch: str) -> None:
    """An edit in a nested model: the wiring around it stays."""
    story.number += 1
    name = f"inner{story.number}"
    kind = draw(st.sampled_from(["after", "remove", "rename"]))
    if kind == "after":
        new = layers.Dense(draw(st.sampled_from([3, 4])), name=name)
        story.edit("insert", None, new, after=view.path, on_mismatch=mismatch)
    elif kind == "remove":
        keep = 0 if view.class_name == "Add" else None
        story.edit("remove", None, view.path, keep=keep, on_mismatch=mismatch)
    else:
        heirs = {view.path[: -len(view.name)] + name: view.path}
        story.edit("rename", None, view.path, name, heirs=heirs)


def tell(drawn: Drawn, data: st.DataObject, most: int) -> Story:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        story = Story(drawn, data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(most // 3, most))):
            some_edit(data.draw, story)
        story.check_way_back()
        return story


@pytest.mark.timeout(7200)  # `make test-all` makes 10,000
@given(data=st.data())
def test_random_edits(data: st.DataObject):
    drawn = draw_model(data.draw)
    note(repr(drawn))
    story = tell(drawn, data, 12)
    if data.draw(st.integers(0, 9)) == 0:
        story.check_file()
