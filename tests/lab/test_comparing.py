"""Two models of a kernel in step."""

from __future__ import annotations

import json
from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import EditError, Editor
from kerasedit.lab import comparing, variables
from tests import models


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    held: dict[str, Any] = {}
    monkeypatch.setattr(variables, "user_namespace", lambda: held)
    return held


def compared(first: str = "a", second: str = "b") -> dict[str, Any]:
    return json.loads(json.dumps(comparing.compare_variables(first, second)))


def paths(told: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    return [(a and a["path"], b and b["path"]) for a, b, _ in told["lines"]]


def test_what_is_alike_stands_side_by_side(namespace: dict[str, Any]) -> None:
    namespace.update(a=models.nested(), b=models.nested())
    namespace["b"].set_weights(namespace["a"].get_weights())
    told = compared()
    assert told["found"] == [] and told["whole"] == []
    names = [view.path for view in Editor(namespace["a"]).layers]
    assert paths(told) == [(name, name) for name in names]
    assert all(words == [] for *_, words in told["lines"])


def test_every_layer_of_both_is_told_once_in_order(namespace: dict[str, Any]) -> None:
    namespace["a"] = models.nested()
    ed = namespace["b"] = Editor(namespace["a"])
    inside = next(view.path for view in ed.layers if view.level == 2 and view.kind == "layer")
    ed.rename("head", "top").configure("top", units=7, on_mismatch="reinit")
    ed.insert(layers.Dropout(0.1, name="new"), before="top").freeze(inside)
    told = compared()
    for side, views in enumerate((Editor(namespace["a"]).layers, ed.layers)):
        assert [p[side] for p in paths(told) if p[side]] == [view.path for view in views]
    words = {(a and a["path"], b and b["path"]): w for a, b, w in told["lines"]}
    assert words[inside, inside] == ["trains -> frozen"]
    assert len(words[None, "new"]) == 1
    assert any("units" in text for text in words["head", "top"])
    assert any(text.startswith("kernel: ") for text in words["head", "top"])
    # Nothing is lost on the way from the comparison to the lines.
    total = sum(len(w) for *_, w in told["lines"]) + len(told["whole"])
    assert total == sum(number for _, number in told["found"])


def test_what_differs_of_the_models_as_a_whole(namespace: dict[str, Any]) -> None:
    x = keras.Input((4,), name="x")
    one, two = (layers.Dense(2, name=name)(x) for name in ("one", "two"))
    namespace.update(a=keras.Model(x, [one, two]), b=keras.Model(x, [two, one]))
    assert compared()["whole"] == ["puts out two, one; was one, two"]


def test_an_editor_knows_its_source_by_more_than_names(namespace: dict[str, Any]) -> None:
    chain = [keras.Input((4,)), *(layers.Dense(4, name=name) for name in "abc")]
    model = namespace["a"] = keras.Sequential(chain)
    ed = namespace["b"] = Editor(model)
    ed.rename("a", "other").rename("b", "a").rename("other", "b")
    told = compared()
    assert ("a", "b") in paths(told) and ("b", "a") in paths(told)
    assert told["found"] == [["Layers", 2]], "names were exchanged, and nothing else"


def test_what_stands_elsewhere_has_a_line_on_each_side(namespace: dict[str, Any]) -> None:
    chain = [keras.Input((4,)), *(layers.ReLU(name=f"r{n}") for n in range(5))]
    namespace["a"] = keras.Sequential(chain)
    namespace["b"] = Editor(namespace["a"]).move("r0", after="r3")
    found = paths(compared())
    assert ("r0", None) in found and (None, "r0") in found
    assert ("r4", "r4") in found


@pytest.mark.parametrize("value", [None, 3, "model", [1]])
def test_what_is_no_model_is_refused(namespace: dict[str, Any], value: Any) -> None:
    namespace.update(a=models.nested(), b=value)
    with pytest.raises(EditError, match="no Keras model 'b'"):
        compared()
