"""The widget's Python side: what it sends, and how it answers, over a real comm-less widget."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import kerasedit
from kerasedit import EditError, Editor
from kerasedit.widgets.editor_widget import EditorWidget
from kerasedit.widgets.parts import WeightHistograms
from kerasedit.widgets.rows import rows_of


def make_model() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="first"), layers.ReLU(name="relu")], name="inner"
    )
    x = keras.Input((8,), name="x")
    shared = layers.Dense(8, name="shared")
    a = shared(x)
    b = shared(inner(x))
    y = layers.Dense(3, name="head")(layers.Add(name="add")([a, b]) * 2.0)
    return keras.Model(x, y, name="toy")


def sendable(content: Any) -> None:
    """What is no JSON, or no UTF-8, never reaches the browser."""
    json.dumps(content, allow_nan=False, ensure_ascii=False).encode()


class Wire:
    """A widget whose answers are collected instead of going to a browser."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.widget = EditorWidget(editor)
        self.sent: list[tuple[Any, Any]] = []
        self.widget.send = lambda content, buffers=None: self.sent.append((content, buffers))  # type: ignore[method-assign]
        self.count = 0

    def ask(self, **message: Any) -> Any:
        self.count += 1
        self.raw({"id": f"m{self.count}", **message})
        content, _ = self.sent[-1]
        assert content["id"] == f"m{self.count}"
        sendable(content)
        return content

    def raw(self, message: Any) -> None:
        before = len(self.sent)
        self.widget._receive(self.widget, message, [])
        assert len(self.sent) == before + 1, "every message gets one answer"
        sendable(self.sent[-1][0])

    def edit(self, **edit: Any) -> Any:
        return self.ask(revision=self.editor.revision, edit=edit)

    def paths(self) -> list[str]:
        return [row["path"] for row in self.widget.rows]


@pytest.fixture
def wire() -> Wire:
    return Wire(Editor(make_model()))


def test_rows_tell_the_model(wire: Wire) -> None:
    rows = {row["path"]: row for row in wire.widget.rows}
    assert wire.paths() == [view.path for view in wire.editor.layers]
    assert rows["inner/first"]["level"] == 2 and rows["inner"]["kind"] == "model"
    assert rows["shared"]["marks"] == ["shared"] and rows["shared"]["calls"] == 2
    assert rows["multiply"]["marks"] == ["op"] and rows["multiply"]["trainable"] is None
    assert rows["head"]["marks"] == ["output"] and rows["head"]["shape"] == "(None, 3)"
    assert rows["head"]["params"] == 8 * 3 + 3 and rows["head"]["weights"] == 2
    assert rows["inner"]["params"] == 8 * 8 + 8
    order = wire.paths()
    above = rows["add"]["inputs"]
    assert [order[order.index("add") - n] for n in above] == ["shared", "shared"]
    assert rows["x"]["trainable"] is None and rows["head"]["trainable"] is True


def test_rows_tell_what_feeds_them_inside_of_models_too() -> None:
    x = keras.Input((4,), name="x")
    low = layers.Dense(4, name="low")(x)
    body = keras.Model(x, [low, layers.Dense(2, name="high")(low), x], name="body")
    # The same model stands in two others; each place is wired within itself.
    twins = []
    for name in ("left", "right"):
        start = keras.Input((4,), name=f"{name}_in")
        out = body(start)
        twins.append(keras.Model(start, [out[1], out[0]], name=name))
    start = keras.Input((4,), name="start")
    (left, _), (_, right) = (twin(start) for twin in twins)
    wire = Wire(Editor(keras.Model(start, layers.Concatenate(name="join")([left, right]))))
    rows, order = {row["path"]: row for row in wire.widget.rows}, wire.paths()

    def feeding(path: str) -> list[tuple[str, int]]:
        row, at = rows[path], order.index(path)
        ports = row.get("ports", [0] * len(row["inputs"]))
        return [(order[at - n], port) for n, port in zip(row["inputs"], ports, strict=True)]

    def made_by(path: str) -> list[tuple[str, int]]:
        at = order.index(path)
        return [(order[at + n], port) for n, port in rows[path]["outputs"]]

    assert feeding("join") == [("left", 0), ("right", 1)]
    assert "ports" not in rows["right"] and "outputs" not in rows["join"]
    for twin in ("left", "right"):
        assert feeding(f"{twin}/body/high") == [(f"{twin}/body/low", 0)]
        assert feeding(f"{twin}/body") == [(f"{twin}/{twin}_in", 0)]
        assert made_by(twin) == [(f"{twin}/body", 1), (f"{twin}/body", 0)]
        inner = [f"{twin}/body/low", f"{twin}/body/high", f"{twin}/body/x"]
        assert made_by(f"{twin}/body") == [(path, 0) for path in inner]


def test_after_an_edit_only_rows_that_differ_are_sent() -> None:
    x = keras.Input((4,), name="x")
    chain = keras.Sequential([x, *(layers.Dense(4, name=f"d{n}") for n in range(100))])
    wire = Wire(Editor(chain))
    editor, sent = wire.editor, []
    wire.widget.observe(lambda change: sent.append(change.name), ["snapshot", "patch"])

    def size() -> int:
        return sum(isinstance(item, dict) for item in wire.widget.patch)

    def differs() -> list[str]:
        fresh = EditorWidget(editor).rows
        return [a["path"] for a, b in zip(wire.widget.rows, fresh, strict=True) if a != b]

    editor.remove("d40")
    assert size() == 0 and not differs()  # what follows has moved up, and is the same
    editor.insert(layers.Dropout(0.5), after="d70")
    editor.freeze("d10")
    assert size() <= 5 and not differs()
    assert "snapshot" not in sent
    editor.freeze("*")
    assert "snapshot" in sent and size() == 0 and not differs()
    editor.undo(4)
    assert not differs() and wire.paths() == [view.path for view in editor.layers]


def test_totals_are_those_of_keras(wire: Wire) -> None:
    wire.editor.freeze("inner")
    model = wire.editor.model
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    info = wire.widget.info
    assert info["params"] == model.count_params()
    assert info["trainable"] == trainable
    assert info["frozen"] == model.count_params() - trainable
    assert info["bytes"] == 4 * model.count_params()
    assert info["layers"] == len(wire.editor.layers) == len(wire.widget.rows)


def test_an_edit_is_applied_answered_and_shown(wire: Wire) -> None:
    answer = wire.edit(
        edit="insert", block=[{"class_name": "Dropout", "config": {"rate": 0.5}}], after="shared"
    )
    assert answer["ok"] == {"revision": 1, "report": []}
    assert "dropout" in wire.paths()
    assert wire.widget.revision == 1
    assert wire.widget.info["done"] == 1 and wire.widget.info["undone"] == 0
    status = {row["path"]: row["status"] for row in wire.widget.rows}
    assert status["dropout"] == "added" and status["head"] == ""


def test_edits_made_in_python_are_shown(wire: Wire) -> None:
    wire.editor.rename("head", "classes").freeze("classes")
    assert "classes" in wire.paths()
    row = next(row for row in wire.widget.rows if row["path"] == "classes")
    assert row["status"] == "changed" and row["trainable"] is False
    assert wire.widget.revision == wire.editor.revision == 2


def test_two_widgets_of_one_editor_stay_in_step(wire: Wire) -> None:
    other = EditorWidget(wire.editor)
    wire.edit(edit="remove", target="multiply")
    assert [row["path"] for row in other.rows] == wire.paths()
    assert "multiply" not in wire.paths()


def test_a_closed_widget_follows_no_more(wire: Wire) -> None:
    wire.widget.close()
    wire.editor.remove("multiply")
    assert wire.widget.revision == 0


def test_selection_forgets_what_is_gone(wire: Wire) -> None:
    wire.widget.selected = ["multiply", "head"]
    wire.editor.remove("multiply")
    assert wire.widget.selected == ["head"]


def test_selection_follows_names(wire: Wire) -> None:
    ed, drawn = wire.editor, WeightHistograms(wire.editor)
    wire.widget.selected = ["inner/first", "head"]
    drawn.paths = ["inner/first/kernel", "inner"]
    ed.rename("inner", "outer").rename("outer/first", "second")
    assert wire.widget.selected == ["outer/second", "head"]
    assert drawn.paths == ["outer/second/kernel", "outer"]
    ed.undo(2)
    assert wire.widget.selected == ["inner/first", "head"]
    assert drawn.paths == ["inner/first/kernel", "inner"]
    # Another layer of the same name is taken for it; one that gets its old name is not.
    ed.replace("head", layers.Dense(3, name="head")).rename("head", "top")
    ed.append(layers.Dense(3, name="head"))
    assert wire.widget.selected == ["inner/first", "top"]


def test_rows_have_an_identity(wire: Wire) -> None:
    before = {row["path"]: row["id"] for row in wire.widget.rows}
    assert len(set(before.values())) == len(before)
    assert before["inner/first"].startswith(f"{before['inner']}/")
    wire.editor.rename("inner", "outer").freeze("head").remove("multiply")
    wire.editor.configure("head", units=5, on_mismatch="reinit")
    after = {row["path"].replace("outer", "inner"): row["id"] for row in wire.widget.rows}
    assert after == {path: before[path] for path in before if path != "multiply"}


def test_undo_and_redo(wire: Wire) -> None:
    wire.edit(edit="remove", target="multiply")
    assert wire.widget.info["can_undo"] and not wire.widget.info["can_redo"]
    assert wire.ask(revision=1, action="undo")["ok"]["revision"] == 2
    assert "multiply" in wire.paths() and wire.widget.info["can_redo"]
    assert wire.ask(revision=2, action="redo")["ok"]["revision"] == 3
    assert "multiply" not in wire.paths()
    assert wire.ask(revision=3, action="redo")["error"]["type"] == "EditError"


def test_an_action_on_an_old_revision_is_not_applied(wire: Wire) -> None:
    wire.editor.freeze("head")
    for message in (
        {"edit": {"edit": "remove", "target": "multiply"}},
        {"preview": {"edit": "remove", "target": "multiply"}},
        {"action": "undo"},
    ):
        for revision in (0, None, "1", 2):
            answer = wire.ask(revision=revision, **message)
            assert answer["error"]["type"] == "StaleRevision"
    assert "multiply" in wire.paths() and len(wire.editor.history) == 1


def test_a_preview_tells_and_changes_nothing(wire: Wire) -> None:
    edit = {"edit": "remove", "target": "add", "keep": 0}
    plan = wire.ask(revision=0, preview=edit)["ok"]["plan"]
    assert plan["ok"] and plan["dropped"] == ["inner"]
    assert plan["params_after"] == plan["params_before"] - 72
    assert plan["code"] == "ed.remove('add', keep=0)"
    plan = wire.ask(revision=0, preview={"edit": "remove", "target": "add"})["ok"]["plan"]
    assert not plan["ok"] and "keep=" in plan["errors"][0]
    assert wire.editor.revision == 0 and wire.editor.history == ()


def test_errors_name_their_class(wire: Wire) -> None:
    def kind(**edit: Any) -> str:
        return wire.edit(**edit)["error"]["type"]

    assert kind(edit="remove", target="hed") == "TargetError"
    assert kind(edit="remove", target="x") == "StructureError"
    assert kind(edit="rename", target="head", name="shared") == "NameTaken"
    dense = [{"class_name": "Dense", "config": {"units": 5}}]
    assert kind(edit="insert", block=dense, before="head") == "ShapeMismatch"
    assert wire.editor.history == ()


def test_histograms_are_binary_and_right(wire: Wire) -> None:
    answer = wire.ask(query="histograms", paths=["head", "relu", "nowhere", "inner"], bins=16)
    assert answer["ok"]["paths"] == ["head", "inner"]
    (buffer,) = wire.sent[-1][1]
    rows = np.frombuffer(buffer, "<f4").reshape(2, 16 + 8)
    head = wire.editor.model.get_layer("head")
    values = np.concatenate([w.numpy().ravel() for w in head.weights])
    counts, _ = np.histogram(values, 16)
    np.testing.assert_array_equal(rows[0, :16], counts)
    low, high, mean, std, zeros, nans, infs, size = rows[0, 16:]
    assert (low, high, size) == (values.min(), values.max(), values.size)
    assert (zeros, nans, infs) == ((values == 0).sum(), 0, 0)
    np.testing.assert_allclose([mean, std], [values.mean(), values.std()], rtol=1e-5)
    assert rows[1, -1] == 72


def test_ping_code_and_palette(wire: Wire) -> None:
    assert wire.ask(query="ping")["ok"] == {"alive": wire.widget.alive, "revision": 0}
    wire.editor.freeze("head")
    assert 'ed.freeze("head")\n    return ed.model\n' in wire.ask(query="code")["ok"]["code"]
    names = {entry["class_name"] for entry in wire.ask(query="palette")["ok"]["layers"]}
    assert {"Dense", "Dropout", "Conv2D", "LSTM"} <= names


def test_save_asks_before_it_replaces(wire: Wire, tmp_path: Any) -> None:
    path = str(tmp_path / "m.keras")
    assert wire.ask(action="save", path=path)["ok"] == {"path": path}
    first = (tmp_path / "m.keras").read_bytes()
    answer = wire.ask(action="save", path=path)
    assert answer["error"] == {
        "type": "NameTaken",
        "message": f"The file '{path}' exists.",
        "hint": "file",
    }
    assert (tmp_path / "m.keras").read_bytes() == first
    wire.editor.remove("multiply")
    assert wire.ask(action="save", path=path, overwrite=True)["ok"]
    loaded = keras.saving.load_model(path)
    x = np.ones((2, 8), "float32")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), wire.editor.model.predict(x, verbose=0)
    )


def test_a_closed_widget_keeps_nothing() -> None:
    editor = Editor(make_model())
    widget = editor.widget()
    kept = [weakref.ref(widget), weakref.ref(editor)]
    widget.close()
    del widget, editor
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_hand_back_without_a_notebook_says_so(wire: Wire) -> None:
    assert "no notebook" in wire.ask(action="hand_back", name="m")["error"]["message"]


def test_hand_back_asks_before_it_replaces(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"old": make_model(), "data": [1, 2]}
    monkeypatch.setattr("kerasedit.handback.user_namespace", lambda: space)
    monkeypatch.setattr("kerasedit.widgets.messages.user_namespace", lambda: space)
    assert wire.ask(action="hand_back", name="old")["error"]["hint"] == "model"
    assert wire.ask(action="hand_back", name="data")["error"]["hint"] == "other"
    assert space["data"] == [1, 2]
    assert wire.ask(action="hand_back", name="new")["ok"] == {"name": "new"}
    assert wire.ask(action="hand_back", name="data", overwrite=True)["ok"] == {"name": "data"}
    assert space["new"] is space["data"] is wire.editor.model
    assert wire.widget.info["variable"] == "data"  # what a view that comes now proposes
    for bad in (3, "", "a b", "class", "x.y", None):
        assert wire.ask(action="hand_back", name=bad)["error"]["type"] == "EditError"


HOSTILE = [
    None,
    3,
    [],
    "text",
    {},
    {"id": "1"},
    {"id": 7.5, "query": "ping"},
    {"id": "1" * 1000, "query": "ping"},
    {"id": "1", "query": "ping", "action": "undo"},
    {"id": "1", "query": "nonsense"},
    {"id": "1", "query": ["ping"]},
    {"id": "1", "action": {"undo": 1}},
    {"id": "1", "revision": 0, "edit": None},
    {"id": "1", "revision": 0, "edit": "remove"},
    {"id": "1", "revision": 0, "edit": {"edit": "remove"}},
    {"id": "1", "revision": 0, "edit": {"edit": "no_such_edit", "target": "head"}},
    {"id": "1", "revision": 0, "edit": {"edit": ["remove"], "target": "head"}},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": "head", "more": 1}},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": None}},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": {"class_name": 3}}},
    {"id": "1", "revision": 0, "edit": {"edit": "rename", "target": "head", "name": ""}},
    {"id": "1", "revision": 0, "edit": {"edit": "rename", "target": "head", "name": "a/b"}},
    {"id": "1", "revision": 0, "edit": {"edit": "freeze", "targets": "head"}},
    {"id": "1", "revision": 0, "edit": {"edit": "freeze", "targets": []}},
    {"id": "1", "revision": 0, "edit": {"edit": "trim", "target": -1}},
    {"id": "1", "revision": 0, "edit": {"edit": "trim", "target": 10**9}},
    {"id": "1", "revision": 0, "edit": {"edit": "transaction", "edits": 3}},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": "[" * 5000}},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": "x" * (1 << 21)}},
    {"id": "1", "revision": 0, "action": "undo", "n": 0},
    {"id": "1", "revision": 0, "action": "undo", "n": "all"},
    {"id": "1", "action": "save", "path": ""},
    {"id": "1", "action": "save", "path": "/no/such/folder/m.keras"},
    {"id": "1", "action": "save", "path": "notes.txt"},
    {"id": "1", "query": "histograms"},
    {"id": "1", "query": "histograms", "paths": [3]},
    {"id": "1", "query": "histograms", "paths": ["nowhere"]},
    {"id": "1", "query": "histograms", "paths": ["head"], "bins": 0},
    {"id": "1", "query": "histograms", "paths": ["head"], "bins": 10**9},
    {"id": "1", "query": "histograms", "paths": ["head"] * 5000},
    {"id": "1", "revision": 0, "edit": {"edit": "remove", "target": {1, 2}}},
]


def test_an_answer_has_the_id_of_its_question(wire: Wire) -> None:
    for number in (1, 0, -3, "1", "a question"):
        wire.raw({"id": number, "revision": wire.editor.revision, "query": "code"})
        assert wire.sent[-1][0].keys() == {"id", "ok"} and wire.sent[-1][0]["id"] == number
    for number in (True, 1.0, 2**60, None, [1]):
        wire.raw({"id": number, "query": "code"})
        assert wire.sent[-1][0]["id"] is None and "error" in wire.sent[-1][0]
    for revision in (None, "0", 0.0, True):
        told = wire.ask(revision=revision, edit={"edit": "freeze", "targets": ["head"]})
        assert "'revision' is a whole number" in told["error"]["message"]


def test_hostile_messages_get_an_error_and_change_nothing(wire: Wire) -> None:
    model, graph = wire.editor.model, wire.editor.graph
    for message in HOSTILE:
        wire.raw(message)
        content, _ = wire.sent[-1]
        assert "error" in content and "ok" not in content, message
        assert len(json.dumps(content)) < 10_000
    assert wire.editor.graph is graph and wire.editor.model is model
    assert wire.editor.history == () and wire.editor.revision == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "revision",
                    "edit",
                    "target",
                    "block",
                    "after",
                    "class_name",
                    "config",
                    "query",
                    "action",
                    "paths",
                    "name",
                    "n",
                    "call",
                    "keep",
                    "targets",
                    "preview",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)

_WIRE: list[Wire] = []


@given(JSON)
def test_no_message_goes_unanswered_or_breaks_the_editor(message: Any) -> None:
    if not _WIRE:
        _WIRE.append(Wire(Editor(make_model())))
    wire = _WIRE[0]
    wire.raw(message)
    content, _ = wire.sent[-1]
    assert ("ok" in content) != ("error" in content)
    if "error" in content:
        assert "unexpected" not in content["error"]["message"], (message, content)


def test_a_subclassed_model_shows_why_its_structure_is_fixed() -> None:
    @keras.saving.register_keras_serializable(package="TestWidget")
    class Odd(keras.Model):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense = layers.Dense(2, name="dense")

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Odd()
    model(np.ones((1, 3), "float32"))
    wire = Wire(kerasedit.Editor(model))
    assert wire.widget.info["editable"] is False and "subclassed" in wire.widget.info["reason"]
    assert wire.edit(edit="freeze", targets=["dense"])["ok"]
    assert wire.edit(edit="remove", target="dense")["error"]["type"] == "StructureError"
    assert wire.editor.model.dense.trainable is False and model.dense.trainable is True


def show_steps(wire: Wire, **changes: Any) -> dict[str, Any]:
    wire.editor.monitor.update(**changes)
    return wire.widget.training


def test_a_training_is_told_but_not_each_of_many_epochs(wire: Wire) -> None:
    told = []
    wire.widget.observe(lambda change: told.append(change["new"]), "training")
    show_steps(wire, running=True, epochs=1000)
    for epoch in range(1000):
        wire.editor.monitor.step(epoch=epoch, total=10 * epoch)
    assert 1 <= len(told) < 500
    # What else changes is told at once, with where training stands then.
    assert show_steps(wire, pending=("head",))["epoch"] == 999
    assert show_steps(wire, tracing=True)["tracing"]
    wire.editor.monitor.alert("NaN")
    assert wire.widget.training["alerts"] == ("NaN",)
    wire.editor.monitor.end(stopped=False)
    assert not wire.widget.training["running"] and wire.widget.training["epoch"] == 999


def test_a_training_is_forgotten_with_its_layers(wire: Wire) -> None:
    other = EditorWidget(wire.editor)
    show_steps(wire, running=True, epochs=3)
    wire.editor.freeze("head")
    wire.editor.monitor.end(stopped=False)
    assert wire.widget.training["epochs"] == 3
    wire.editor.rename("head", "top")
    assert wire.widget.training["epochs"] == other.training["epochs"] == 0
    assert wire.editor.monitor.history.paths == []


def test_a_ping_notices_an_interrupted_fit(wire: Wire) -> None:
    model = wire.editor.model
    model.compile("sgd", "mse")

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(
            np.ones((4, 8)), np.ones((4, 3)), verbose=0, callbacks=[wire.editor.live(), Stop()]
        )
    assert wire.widget.training["running"]
    assert wire.ask(query="ping")["ok"]["revision"] == wire.editor.revision
    assert not wire.widget.training["running"]


def test_half_of_a_surrogate_pair_is_answered_and_goes_nowhere(wire: Wire) -> None:
    half, before = "\ud800", wire.paths()
    for edit in (
        {"edit": "remove", "target": half},
        {"edit": "rename", "target": "head", "name": half},
        {"edit": "configure", "target": "head", "config": {half: 1}},
    ):
        assert "JSON" in wire.edit(**edit)["error"]["message"]
    wire.raw({"id": half, "query": "ping"})
    assert wire.sent[-1][0]["id"] is None
    assert wire.paths() == before
    with pytest.raises(EditError, match="surrogate"):
        wire.editor.rename("head", half)


def test_a_megabyte_is_counted_in_bytes(wire: Wire) -> None:
    wire.ask(query="histograms", paths=["\u00e4" * 400_000], bins=4)
    assert "bytes" in wire.ask(query="ping", more="\u00e4" * 600_000)["error"]["message"]


def test_of_traits_a_browser_sets_only_how_it_looks_at_them(wire: Wire) -> None:
    before = wire.widget.get_state()
    own = {"snapshot": [1], "patch": [1], "info": {}, "revision": 99, "alive": "x", "part": "x"}
    wire.widget.set_state({**own, "training": {}, "_esm": "x", "height": 60, "selected": ["head"]})
    assert wire.widget.get_state() == {**before, "selected": ["head"]}
    wire.widget.set_state({"filter": "x" * (1 << 20)})
    wire.widget.set_state({"filter": "\ud800"})
    assert wire.widget.filter == ""
    assert "ok" in wire.edit(edit="remove", target="head")
    toggles = kerasedit.TrainableToggles(wire.editor)
    trainable = toggles.trainable
    toggles.set_state({"trainable": []})
    assert toggles.trainable == trainable


def test_an_interrupted_edit_is_answered(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(edit: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(wire.editor, "apply", interrupted)
    assert "Interrupted" in wire.edit(edit="remove", target="head")["error"]["message"]
    monkeypatch.undo()
    assert "ok" in wire.edit(edit="rename", target="head", name="top")


def during_fit(wire: Wire, structure: Any, act: Callable[[], Any]) -> Any:
    """What comes of something done at a batch."""
    found: list[Any] = []

    class Act(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            found.append(act())

    model = wire.editor.model
    model.compile("sgd", "mse")
    callbacks = [wire.editor.live(structure=structure), Act()]
    model.fit(np.ones((4, 8)), np.ones((4, 3)), verbose=0, callbacks=callbacks)
    return found[0]


def test_an_edit_that_waits_for_the_end_of_fit_says_so(wire: Wire) -> None:
    wire.editor.freeze("shared")
    edit = {"edit": "rename", "target": "head", "name": "top"}

    def act() -> Any:
        plan = wire.ask(revision=1, preview=edit)["ok"]["plan"]
        assert plan["ok"] and plan["warnings"] == ["It is made when fit has ended."]
        return wire.edit(**edit)

    assert during_fit(wire, "queue", act)["ok"] == {"revision": 1, "waits": True, "report": []}
    assert "top" in wire.paths()
    undo = during_fit(
        wire, "queue", lambda: wire.ask(revision=wire.editor.revision, action="undo", n=1)
    )
    assert undo["ok"]["waits"]
    assert "head" in wire.paths()


def test_what_would_be_refused_is_foreseen(wire: Wire) -> None:
    edit = {"edit": "rename", "target": "head", "name": "top"}

    def act() -> Any:
        plan = wire.ask(revision=0, preview=edit)["ok"]["plan"]
        assert not plan["ok"] and "while fit runs" in plan["errors"][0]
        flags = wire.ask(revision=0, preview={"edit": "freeze", "targets": ["head"]})["ok"]["plan"]
        return flags["ok"]

    assert during_fit(wire, "refuse", act)
    assert wire.ask(revision=0, preview=edit)["ok"]["plan"]["ok"]

    there = Wire(Editor(make_model(), in_place=True))
    assert not there.widget.info["editable"] and "flags and weights" in there.widget.info["reason"]
    plan = there.ask(revision=0, preview=edit)["ok"]["plan"]
    assert not plan["ok"] and "in_place=True" in plan["errors"][0]
    assert "in_place=True" in there.edit(**edit)["error"]["message"]
    assert "ok" in there.edit(edit="freeze", targets=["head"])


def test_an_editor_that_is_closed_closes_its_widgets(wire: Wire) -> None:
    assert not wire.widget.closed
    wire.editor.close()
    assert wire.widget.closed


def test_of_a_long_report_the_first_lines_are_told() -> None:
    inputs = keras.Input((4,))
    stem = layers.Dense(8, name="stem")(inputs)
    heads = [layers.Dense(1, name=f"head{n}")(stem) for n in range(30)]
    wire = Wire(Editor(keras.Model(inputs, heads)))
    edit = {"edit": "configure", "target": "stem", "config": {"units": 5}, "on_mismatch": "reinit"}
    report = wire.edit(**edit)["ok"]["report"]
    assert len(wire.editor.report) >= 30
    assert report[-1] == f"and {len(wire.editor.report) - 9} more" and len(report) == 10


def test_whoever_is_told_of_a_training_may_wait_for_the_editor(wire: Wire) -> None:
    editor, told, go = wire.editor, threading.Event(), threading.Event()

    def hear(change: Any) -> None:
        told.set()
        assert go.wait(60)
        editor.freeze("head")

    wire.widget.observe(hear, "training")
    fit = threading.Thread(target=lambda: editor.monitor.update(running=True, epochs=1))
    fit.start()
    assert told.wait(60)
    wire.widget.unobserve(hear, "training")
    with editor.lock:
        editor.monitor.update(epochs=7)
        go.set()
    fit.join(60)
    assert not fit.is_alive()
    assert wire.widget.training["epochs"] == 7 and not editor.layers[-1].trainable


def test_rows_are_made_once_for_all_widgets(wire: Wire) -> None:
    rows = rows_of(wire.editor)
    assert rows_of(wire.editor) is rows
    wire.editor.rename("head", "top")
    assert rows_of(wire.editor) is not rows and "top" in wire.paths()


def test_a_missing_bundle_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from kerasedit.widgets import base

    monkeypatch.setattr(base, "_STATIC", tmp_path)
    with pytest.raises(ImportError, match="npm run build"):
        base._asset("widget.js")
