"""The parts that stand alone, and what stands in for widgets where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import ipywidgets
import keras
import nbformat
import numpy as np
import pytest
import traitlets
from keras import layers
from nbclient import NotebookClient
from nbconvert import HTMLExporter

import kerasedit
from kerasedit import (
    EditError,
    EditHistory,
    Editor,
    LayerTable,
    StructureError,
    TargetError,
    TrainableToggles,
    WeightHistograms,
)
from kerasedit.widgets.static_html import MOST_ROWS

PARTS = (LayerTable, TrainableToggles, WeightHistograms, EditHistory)
HOSTILE = "<img src=x onerror=alert(1)>"


def make_model() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="first"), layers.ReLU(name="relu")], name="inner"
    )
    x = keras.Input((8,), name="x")
    y = layers.Dense(8, name="hidden")(inner(x))
    y = layers.Dropout(0.5, name="drop")(y)
    return keras.Model(x, layers.Dense(3, name="head")(y * 2.0), name="toy")


@pytest.fixture
def model() -> keras.Model:
    return make_model()


@pytest.fixture
def editor(model: keras.Model) -> Editor:
    return Editor(model)


def paths(part: Any) -> list[str]:
    return [row["path"] for row in part.rows]


def html(widget: Any) -> str:
    data, _ = widget._repr_mimebundle_()
    return data["text/html"]


def _mean(layer: Any) -> float:
    return float(np.concatenate([weight.ravel() for weight in layer.get_weights()]).mean())


def table(widget: Any) -> list[list[str]]:
    """The texts of the cells. That it parses also tells that nothing in it is open or unescaped."""
    root = ElementTree.fromstring(html(widget))
    return [["".join(cell.itertext()) for cell in line] for line in root.iter("tr")]


# -- made from anything ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_an_editor_share_it(part: Any, editor: Editor) -> None:
    shown = part(editor)
    assert shown.editor is editor
    editor.freeze("hidden")
    assert shown.revision == editor.revision == 1
    assert (
        shown.part
        == {
            LayerTable: "layers",
            TrainableToggles: "toggles",
            WeightHistograms: "histograms",
            EditHistory: "history",
        }[part]
    )


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_model_or_a_file_have_an_editor_of_their_own(
    part: Any, model: keras.Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "toy.keras")
    for given in (model, tmp_path / "toy.keras", str(tmp_path / "toy.keras")):
        shown = part(given)
        shown.editor.freeze("hidden")
        assert shown.editor.model.get_layer("hidden").trainable is False
    assert model.get_layer("hidden").trainable is True


@pytest.mark.parametrize("part", PARTS[:3])
def test_parts_of_a_layer_act_on_it(part: Any, model: keras.Model) -> None:
    layer = model.get_layer("hidden")
    data = np.ones((2, 8), "float32")
    before = model.predict(data, verbose=0)

    shown = part(layer)

    assert paths(shown) == ["hidden"]
    assert shown.rows[0]["weights"] == 2 and shown.rows[0]["params"] == 8 * 8 + 8
    shown.editor.freeze("hidden")
    assert layer.trainable is False and layer.trainable_weights == []
    shown.editor.unfreeze("hidden")
    assert layer.trainable is True
    layer.kernel.assign(layer.kernel * 0.0 + 3.0)
    assert shown.editor.histogram("hidden/kernel").mean == 3.0
    # Its model has it as before.
    assert layer.output is model.get_layer("drop").input
    assert not np.array_equal(model.predict(data, verbose=0), before)


def test_parts_of_a_nested_model_have_its_rows(model: keras.Model) -> None:
    assert paths(LayerTable(model.get_layer("inner")))[-2:] == ["first", "relu"]


def test_parts_of_a_subclassed_model_and_of_layers_with_layers_inside() -> None:
    class Sub(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(4, name="dense")
            self.inner = make_model()

        def call(self, x: Any) -> Any:
            return self.dense(self.inner(x))

    sub = Sub()
    sub(np.ones((1, 8)))
    shown = TrainableToggles(Editor(sub, in_place=True))
    assert {"dense", "toy", "toy/hidden", "toy/inner/first"} <= set(shown.trainable)
    assert next(line for line in table(shown) if line[0] == "dense")[2] == "", "not known"

    both = layers.Bidirectional(layers.LSTM(4), name="both")
    both.build((None, 3, 2))
    drawn = WeightHistograms(both, "both/backward_lstm/lstm_cell/bias")
    assert paths(drawn) == ["both"]
    assert drawn.paths == ["both/backward_lstm/lstm_cell/bias"]
    assert "mean" in table(drawn)[1][5]


def test_what_is_none_of_these_is_refused() -> None:
    with pytest.raises(StructureError, match=r"'fresh' is not built.*Call it on data once"):
        WeightHistograms(layers.Dense(3, name="fresh"))
    with pytest.raises(EditError, match="A Keras model or the path of one is needed, not int"):
        LayerTable(3)
    with pytest.raises(EditError, match=r"nowhere\.keras"):
        EditHistory("nowhere.keras")


# -- each part ---------------------------------------------------------------------------------------


def test_a_layer_table_tells_what_is_selected(editor: Editor) -> None:
    shown = LayerTable(editor, filter="type:Dense", selected=["head"], height=200)
    assert (shown.filter, shown.selected, shown.value) == ("type:Dense", ["head"], ["head"])
    assert LayerTable(shown.editor, value=["head"]).selected == ["head"]
    assert shown.height == 200
    heard: list[Any] = []
    shown.observe(lambda change: heard.append(change.new), "value")
    shown.selected = ["hidden", "drop"]
    assert heard == [["hidden", "drop"]]
    editor.remove("drop")
    assert shown.selected == shown.value == ["hidden"]
    shown.value = ["head"]
    assert shown.selected == ["head"]
    with pytest.raises(traitlets.TraitError):
        shown.height = 3


def test_toggles_tell_what_trains(model: keras.Model, editor: Editor) -> None:
    shown = TrainableToggles(editor)
    assert shown.trainable == ["inner", "inner/first", "hidden", "head"]
    heard: list[Any] = []
    shown.observe(lambda change: heard.append(change.new), "trainable")
    editor.freeze("inner")
    assert heard == [["hidden", "head"]]
    editor.undo()
    assert heard[-1] == ["inner", "inner/first", "hidden", "head"]
    with pytest.raises(traitlets.TraitError):
        shown.trainable = []
    trains = {layer.name for layer in model.layers if layer.trainable_weights}
    assert trains == {path for path in shown.trainable if "/" not in path}


def test_histograms_are_of_what_a_target_names(model: keras.Model, editor: Editor) -> None:
    def named(target: Any) -> list[str]:
        return WeightHistograms(editor, target).paths

    assert WeightHistograms(editor).paths == []
    assert named("h*") == ["hidden", "head"]
    assert named("inner") == ["inner/first"]
    assert named(["head/bias", "hidden"]) == ["head/bias", "hidden"]
    assert named(["head/bias", "head/kernel"]) == ["head"]
    assert named(layers.Dense) == ["inner/first", "hidden", "head"]
    assert named(model.get_layer("head")) == named(editor.model.get_layer("head")) == ["head"]
    with pytest.raises(TargetError, match="'hidden'"):
        named("hiden")


def test_histograms_forget_what_is_gone(editor: Editor) -> None:
    shown = WeightHistograms(editor, ["hidden/kernel", "head"], bins=16, log=True)
    assert (shown.bins, shown.log) == (16, True)
    editor.freeze("head")
    assert shown.paths == ["hidden/kernel", "head"]
    editor.remove("hidden")
    assert shown.paths == ["head"]
    for wrong in ({"bins": 0}, {"bins": 5000}, {"log": "yes"}):
        with pytest.raises(traitlets.TraitError):
            WeightHistograms(editor, **wrong)


def test_a_history_tells_its_steps(editor: Editor) -> None:
    shown = EditHistory(editor)
    assert (shown.done, shown.undone, shown.steps, shown.rows) == (0, 0, [], [])
    editor.remove("drop").freeze("hidden").rename("head", "classes").undo()
    assert (shown.done, shown.undone) == (2, 1)
    assert shown.steps == [edit.describe() for edit in editor.history]
    with pytest.raises(traitlets.TraitError):
        shown.done = 5


def test_of_a_long_history_the_latest_steps_are_told(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EditHistory, "LATEST", 3)
    shown = EditHistory(editor)
    for n in range(5):
        editor.rename("head" if n == 0 else f"head_{n - 1}", f"head_{n}")
    assert shown.done == 5
    assert shown.steps == [edit.describe() for edit in editor.history[2:]]
    assert ElementTree.fromstring(html(shown)).get("start") == "3"


@pytest.mark.parametrize("part", PARTS)
def test_parts_answer_as_the_editor_does(part: Any, editor: Editor) -> None:
    shown, sent = part(editor), []
    shown.send = lambda content, buffers=None: sent.append(content)
    shown._receive(shown, {"id": "1", "query": "ping"}, [])
    shown._receive(shown, {"id": "2", "revision": 0, "action": "no such"}, [])
    assert sent[0]["ok"] == {"alive": shown.alive, "revision": 0}
    assert sent[1]["error"]["type"] == "EditError" and editor.revision == 0
    json.dumps(sent)


def test_parts_compose(editor: Editor) -> None:
    listed, drawn = LayerTable(editor), WeightHistograms(editor)
    other, label = TrainableToggles(editor), ipywidgets.Label()
    traitlets.link((listed, "selected"), (drawn, "paths"))
    traitlets.dlink((other, "trainable"), (label, "value"), ", ".join)
    ipywidgets.jslink((listed, "filter"), (other, "filter"))
    box = ipywidgets.HBox([listed, ipywidgets.VBox([drawn, other, label])])
    assert box.children[0] is listed

    listed.selected = ["hidden", "head"]
    assert drawn.paths == ["hidden", "head"]
    editor.remove("hidden")
    assert drawn.paths == listed.selected == ["head"]
    assert label.value == "inner, inner/first, head"

    seen: list[Any] = []
    ipywidgets.interactive_output(lambda layers: seen.append(layers), {"layers": listed})
    listed.selected = ["inner"]
    assert seen == [["head"], ["inner"]]


def test_a_closed_part_follows_no_more(editor: Editor) -> None:
    shown = TrainableToggles(editor)
    shown.close()
    editor.freeze("hidden")
    assert shown.revision == 0 and "hidden" in shown.trainable


def test_parts_are_told_by_what_they_show(editor: Editor) -> None:
    assert repr(EditHistory(editor)) == "<EditHistory of <Editor of 'toy': 9 layers, 0 edits>>"
    data, _ = editor._repr_mimebundle_()
    assert data["text/plain"] == "<EditorWidget of <Editor of 'toy': 9 layers, 0 edits>>"
    assert "application/vnd.jupyter.widget-view+json" in data


# -- where there are no widgets ------------------------------------------------------------------------


def test_a_table_stands_in(editor: Editor) -> None:
    editor.freeze("hidden").insert(layers.Dense(8, name="new"), after="drop")

    heads, *lines = table(editor)

    assert heads == ["Layer", "Type", "Output shape", "Parameters", "Trainable", "Weights"]
    by_name = {line[0].split(" (")[0]: line for line in lines}
    assert list(by_name) == [view.name for view in editor.layers]
    assert by_name["hidden"][1:5] == ["Dense", "(None, 8)", "72", "frozen"]
    assert by_name["hidden"][0] == "hidden (changed)"
    assert by_name["head"][:5] == ["head (output)", "Dense", "(None, 3)", "27", "yes"]
    assert by_name["drop"][3:] == ["", "", ""]
    assert by_name["x"][4] == ""
    head = next(view for view in editor.layers if view.path == "head")
    values = np.concatenate([weight.numpy().ravel() for weight in head.weights])
    assert by_name["head"][5] == f"mean {values.mean():.3g}, std {values.std():.3g}"
    assert by_name["new"][5] == "", "fresh weights are nowhere yet"
    _ = editor.model
    assert all(line[5] for line in table(editor) if line[0].startswith("new"))
    assert "text-align:left;padding-left:16px" in html(editor)
    assert f"<b>toy</b> {editor.model.count_params():,} parameters" in html(editor)


def test_pictures_are_histograms(editor: Editor) -> None:
    kernel = np.linspace(0, 1, 24, dtype="float32")
    editor.set_weights("head", [np.resize(kernel, (8, 3)), np.zeros(3, "float32")])
    root = ElementTree.fromstring(html(WeightHistograms(editor, "head/kernel")))
    (svg,) = root.iter("svg")
    assert svg.get("role") == "img" and svg.get("aria-label", "").startswith("mean 0.444, std")
    (path,) = svg.iter("path")
    steps = path.get("d", "").removeprefix("M0 16V").removesuffix("V16Z").split("V")
    assert [int(step.split("H")[1]) for step in steps] == list(range(1, 25))
    # Of 24 values one is in each bin, and with the zeros of the bias four in the first.
    assert [16 - int(step.split("H")[0]) for step in steps] == [16] + [4] * 23


def test_names_are_text() -> None:
    x = keras.Input((4,))
    y = layers.Dense(2, name=HOSTILE)(x)
    hostile = Editor(keras.Model(x, y, name="<script>alert(2)<script>"))
    hostile.rename(HOSTILE, HOSTILE + '" onload="alert(3)\u202e\n')
    for widget in (hostile, *(part(hostile) for part in PARTS)):
        text = html(widget)
        assert "<img" not in text and "<script" not in text and 'onload="' not in text
        assert "\u202e" not in text and ElementTree.fromstring(text) is not None
    assert HOSTILE in table(hostile)[2][0]


def test_large_models_are_cut_and_large_weights_sampled() -> None:
    many = [layers.Activation("relu", name=f"a{n}") for n in range(MOST_ROWS + 8)]
    model = keras.Sequential([keras.Input((100,)), layers.Dense(100, name="large"), *many])
    kernel = np.tile(np.arange(100, dtype="float32"), (100, 1))
    model.get_layer("large").set_weights([kernel, np.full(100, 49.5, "float32")])

    text = html(Editor(model))

    assert len(list(ElementTree.fromstring(text).iter("tr"))) == MOST_ROWS + 1
    assert "And 10 more." in text and "The histograms are sampled" in text
    told = table(Editor(model))[2][5]
    mean, std = (float(part.split()[1]) for part in told.split(", "))
    assert mean == pytest.approx(49.5, abs=2) and std == pytest.approx(kernel.std(), abs=3)


def test_of_large_layers_each_weight_has_its_share() -> None:
    model = keras.Sequential([keras.Input((64,)), layers.Dense(4096, name="wide")])
    kernel = np.random.default_rng(0).normal(0, 1, (64, 4096)).astype("float32")
    model.layers[0].set_weights([kernel, np.zeros(4096, "float32")])
    told = table(Editor(model))[2][5]
    assert float(told.split("std ")[1]) == pytest.approx(1, abs=0.05)


def test_small_weights_are_not_sampled(editor: Editor) -> None:
    assert "sampled" not in html(editor) and "more" not in html(editor)


def test_bad_values_are_told(editor: Editor) -> None:
    kernel = editor.model.get_layer("hidden").kernel
    kernel.assign(np.where(np.eye(8) > 0, np.nan, np.inf).astype("float32"))
    told = next(line for line in table(editor) if line[0] == "hidden")
    assert told[5].endswith("8 NaN, 56 Inf")


def test_nothing_is_built_for_a_table(editor: Editor) -> None:
    editor.insert(layers.Dense(8), after="drop").scale_weights("head", 2.0)
    built = editor._copy.built
    told = next(line[5] for line in table(editor) if line[0].startswith("head"))
    assert editor._copy.built == built
    assert told.split(",")[0] == f"mean {2 * _mean(editor.source.get_layer('head')):.3g}"


def test_values_that_are_no_numbers_are_passed_over() -> None:
    words = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3, name="words")
    x = keras.Input((), dtype="string")
    y = layers.Dense(2)(layers.Dropout(0.5)(layers.Embedding(5, 3)(words(x))))
    lines = table(Editor(keras.Model(x, y)))
    assert [line[5] != "" for line in lines[1:]] == [False, False, True, False, True]


def test_weight_histograms_leave_a_table_of_what_they_show(editor: Editor) -> None:
    def names(**options: Any) -> list[str]:
        return [line[0].split(" (")[0] for line in table(WeightHistograms(editor, **options))[1:]]

    assert names() == ["inner", "first", "hidden", "head"]
    assert names(target="hidden/bias") == ["hidden"]
    assert names(paths=["inner"]) == ["inner", "first"]


def test_a_notebook_on_the_web_shows_the_table(tmp_path: Path) -> None:
    cells = [
        "import keras, kerasedit\n"
        f"x = keras.Input((4,), name='x')\ny = keras.layers.Dense(2, name='{HOSTILE}')(x)\n"
        "kerasedit.Editor(keras.Model(x, y, name='toy'))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=False).execute(
        cwd=str(tmp_path)
    )

    page, _ = HTMLExporter().from_notebook_node(notebook)

    assert "<b>toy</b> 10 parameters" in page and "</svg>" in page
    assert (
        "&lt;img src=x onerror=alert(1)&gt;" in page and HOSTILE not in page.split("<b>toy</b>")[1]
    )
    assert "widget-view+json" not in page.split("<b>toy</b>")[1]


def test_parts_are_exported() -> None:
    for part in PARTS:
        assert getattr(kerasedit, part.__name__) is part and part.__name__ in kerasedit.__all__
