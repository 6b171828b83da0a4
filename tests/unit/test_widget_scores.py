"""The column of what an ablation found: it follows its layers, whatever becomes of them."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import kerasedit
from kerasedit import EditError, Editor, LayerTable, TargetError
from kerasedit.search.results import Sweep
from tests.models import data, whole


@pytest.fixture
def ed() -> Editor:
    z = keras.Input((8,), name="z")
    inner = keras.Model(z, layers.Dense(8, name="first")(z), name="inner")
    x = keras.Input((8,), name="x")
    h = layers.Dense(8, name="a")(x)
    h = layers.Dense(8, name="b")(inner(h))
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="head")(h), name="toy")
    model.compile("sgd", "sparse_categorical_crossentropy")
    return Editor(model)


def values(widget: Any) -> dict[str, float]:
    json.dumps(widget.scores, allow_nan=False)
    return widget.scores.get("values", {})


def test_an_ablation_is_shown_by_layer(ed: Editor) -> None:
    found = kerasedit.ablate(ed, data(12, 8), whole(3, 12), edits="reinitialize", verbose=False)
    widget = ed.widget()
    assert widget.scores == {} and widget.show_ablation(found) is widget
    assert widget.scores == {"label": "loss added", "values": found.by_layer()}
    assert set(values(widget)) >= {"a", "b", "inner/first", "head"}
    page = widget._static_html()
    assert ">loss added</th>" in page and f">{values(widget)['a']:+.3g}</td>" in page
    assert widget.show_ablation(None).scores == {}
    assert "loss added" not in widget._static_html()


@pytest.mark.parametrize(("mode", "what"), [("max", "lost"), ("min", "added")])
def test_above_zero_is_worse_whatever_the_metric(ed: Editor, mode: Any, what: str) -> None:
    shared = {"layers": ["a"], "status": "done"}
    records = [{"number": 0, "change": 0.0, **shared}, {"number": 1, "change": -0.25, **shared}]
    widget = ed.widget().show_ablation(Sweep(records, "score", mode))
    assert widget.scores["label"] == f"score {what}"
    assert values(widget) == {"a": 0.25 if mode == "max" else -0.25}


def test_numbers_stay_with_their_layers(ed: Editor) -> None:
    first, table = ed.widget(), LayerTable(ed)
    for widget in (first, table):
        widget.show_ablation({"a": 1, "b": -0.5, "inner/first": 0.0, "nowhere": 3})
    before = {"a": 1.0, "b": -0.5, "inner/first": 0.0}
    assert values(first) == values(table) == before
    ed.rename("a", "renamed").rename("inner", "block")
    assert values(first) == {"renamed": 1.0, "b": -0.5, "block/first": 0.0}
    ed.configure("b", activation="relu")
    assert values(first)["b"] == -0.5
    ed.remove("b")
    assert values(first) == {"renamed": 1.0, "block/first": 0.0}
    ed.insert(layers.Dense(8, name="b"), after="block")  # another one
    assert "b" not in values(first)
    ed.undo(5)
    assert values(first) == values(table) == before
    ed.remove("b")
    ed.widget().show_ablation({"a": 1})
    table.show_ablation({"a": 2})
    assert values(first) == {"a": 1.0, "inner/first": 0.0} and values(table) == {"a": 2.0}


def test_what_cannot_be_shown(ed: Editor) -> None:
    widget = ed.widget().show_ablation({"a": 1})
    for wrong in (5, "a", [1.0], {"a": "much"}, {"a": True}, {"a": None}, {"a": [1]}):
        with pytest.raises(EditError, match="by the paths of layers"):
            widget.show_ablation(wrong)
    for nothing in ({}, {"nowhere": 1}, {"a": float("nan")}):
        with pytest.raises(TargetError, match="no number for any layer"):
            widget.show_ablation(nothing)
    assert values(widget) == {"a": 1.0}
    numbers: Any = {"a": float("inf"), "b": np.float32(2)}
    assert values(widget.show_ablation(numbers)) == {"b": 2.0}


def test_a_browser_sets_none(ed: Editor) -> None:
    widget = ed.widget().show_ablation({"a": 1})
    widget.set_state({"scores": {"label": "x", "values": {"a": 9}}})
    assert widget.scores == {"label": "Score", "values": {"a": 1.0}}


def test_a_hostile_label_is_made_visible_and_short(ed: Editor) -> None:
    records = [{"number": n, "change": 1.0, "layers": ["a"]} for n in (0, 1)]
    widget = ed.widget().show_ablation(Sweep(records, "\ud800\x1b" * 200, "min"))
    assert len(widget.scores["label"]) <= 60 and widget.scores["label"].isprintable()
    widget.scores["label"].encode()
