"""The models among the variables of a kernel, as the panel of JupyterLab lists them."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import EditError, Editor
from kerasedit.lab import models as lab
from kerasedit.lab.kernel import PROBLEM, answer
from tests import models


def rows(**variables: Any) -> dict[str, dict[str, Any]]:
    """What is listed of these variables, by their names."""
    told = lab.list_models(variables)
    json.dumps(told, allow_nan=False).encode()
    return {row["variable"]: row for row in told}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The variables of a notebook."""
    variables: dict[str, Any] = {}
    monkeypatch.setattr(lab, "_namespace", lambda: variables)
    monkeypatch.setattr("kerasedit.handback.user_namespace", lambda: variables)
    monkeypatch.setattr("kerasedit.widgets.messages.user_namespace", lambda: variables)
    return variables


# -- what is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        models.chain,
        models.cnn,
        models.shared,
        models.nested,
        models.raw_ops,
        models.attention,
        models.subclassed,
        models.functional_subclass,
        models.sequential_subclass,
    ],
)
def test_a_model_is_told_as_keras_tells_it(make: Any) -> None:
    model = make()
    list(model.layers)[-1].trainable = False
    row = rows(model=model)["model"]
    assert row["params"] == model.count_params()
    assert row["trainable"] == sum(w.value.numpy().size for w in model.trainable_weights)
    assert (row["kind"], row["class_name"], row["name"]) == (
        "model",
        type(model).__name__,
        model.name,
    )
    assert row["compiled"] is model.compiled
    model.compile("adam", "mse")
    model.trainable = False
    row = rows(model=model)["model"]
    assert row["compiled"]
    assert row["trainable"] == 0


def test_variables_in_their_order_and_only_those_that_are_the_users() -> None:
    model, other = models.cnn(), models.chain()
    told = rows(b=model, a=other, again=model, _hidden=model, n=3, **{"a b": model})
    assert list(told) == ["b", "a", "again"]
    assert [row["same_as"] for row in told.values()] == [None, None, "b"]
    assert told["b"]["number"] == told["again"]["number"] != told["a"]["number"]
    assert lab.list_models({5: model}) == []  # type: ignore[dict-item]


def test_a_number_stays_with_its_model() -> None:
    model = models.cnn()
    first = rows(m=model)["m"]["number"]
    assert rows(m=model, n=models.chain())["m"]["number"] == first
    assert rows(m=models.cnn())["m"]["number"] != first


def test_a_number_is_not_given_to_what_comes_to_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, model = models.cnn(), models.cnn()
    monkeypatch.setattr(lab, "_numbers", {id(model): (weakref.ref(gone), -1)})
    assert rows(model=model)["model"]["number"] > 0


def test_what_cannot_be_edited_yet() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    unbuilt, built = Own(), Own()
    built(models.data(1, 3))
    told = rows(seq=keras.Sequential([layers.Dense(2)]), own=unbuilt, built=built, f=models.cnn())
    assert {name: row["structure"] for name, row in told.items()} == {
        "seq": "unbuilt",
        "own": "unbuilt",
        "built": "code",
        "f": "graph",
    }
    assert told["seq"]["params"] is None
    assert told["built"]["params"] == 8


# -- nothing of a variable is run ------------------------------------------------------------------


def test_no_code_of_strange_objects_runs() -> None:
    ran: list[str] = []

    class Strange:
        @property
        def __class__(self) -> Any:  # type: ignore[override]
            ran.append("class")
            return keras.Model

        def __getattr__(self, name: str) -> Any:
            ran.append(name)
            raise RuntimeError(name)

        def __eq__(self, other: object) -> bool:
            ran.append("eq")
            return True

        __hash__ = None  # type: ignore[assignment]

        def __repr__(self) -> str:
            raise RuntimeError("repr")

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            ran.append("instance")
            return True

        def __getattribute__(cls, name: str) -> Any:
            ran.append(name)
            return super().__getattribute__(name)

    class Odd(metaclass=Meta):
        pass

    odd = Odd()
    ran.clear()
    assert list(rows(a=Strange(), b=odd, c=Odd, m=models.cnn())) == ["m"]
    assert ran == []


def test_no_code_of_a_models_own_class_runs() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

        @property
        def weights(self) -> Any:
            raise RuntimeError("asked for")

        trainable_variables = variables = non_trainable_weights = weights

        @property
        def layers(self) -> Any:
            raise RuntimeError("asked for")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("compared")

        __hash__ = None  # type: ignore[assignment]

    own = Own()
    own.built = True
    half = Own.__new__(Own)
    object.__getattribute__(half, "__dict__").clear()
    told = rows(own=own, half=half)
    assert told["own"]["params"] == 0
    assert (told["half"]["params"], told["half"]["structure"]) == (None, "unbuilt")


@pytest.mark.parametrize("name", ["<img src=x>", "\ud800", "x" * 100_000, "\x1b[31m"])
def test_names_are_text_that_can_be_sent(name: str) -> None:
    model = models.cnn()
    model.name = name
    told = rows(model=model)["model"]["name"]
    assert len(told) <= 200
    json.dumps(told, ensure_ascii=False).encode()


def test_so_many_models_are_not_all_told(notebook: dict[str, Any]) -> None:
    model = models.chain()
    notebook.update({f"m{n}": model for n in range(1000)})
    told = lab.tell_models()
    assert (len(told["models"]), told["more"]) == (300, 700)


def test_looking_changes_nothing(notebook: dict[str, Any]) -> None:
    model = notebook["model"] = models.nested()
    notebook["ed"] = Editor(model)
    before, names = models.fingerprint(model), dict(notebook)
    for row in lab.tell_models()["models"]:
        lab.tell_model(row["variable"], row["number"])
    assert models.fingerprint(model) == before
    assert notebook == names
    assert notebook["ed"].made is None, "no copy is built"


# -- editors and what they make --------------------------------------------------------------------


def test_edits_until_they_are_handed_back() -> None:
    model = models.cnn()
    ed = Editor(model)

    def told(**variables: Any) -> tuple[Any, ...]:
        row = rows(model=model, ed=ed, **variables)["ed"]
        return row["edits"], row["unhanded"], row["handed"]

    assert told() == (0, 0, None)
    assert rows(model=model, ed=ed)["model"]["proposed"] is None
    ed.insert(layers.Dropout(0.5), before="head").freeze("block1_conv")
    assert told() == (2, 2, None)
    found = rows(model=model, ed=ed)
    assert found["model"]["unhanded"] == 0, "the editor has a row of its own"
    assert found["model"]["proposed"] == found["ed"]["proposed"] == "model_edited"
    assert (found["ed"]["kind"], found["ed"]["class_name"]) == ("editor", "Functional")
    assert found["ed"]["trainable"] < found["ed"]["params"] == model.count_params()

    copy = ed.model
    found = rows(model=model, ed=ed, edited=copy)
    assert told(edited=copy) == (2, 0, "edited")
    assert told() == (2, 2, None)
    assert [found[name]["copy"] for name in ("model", "edited")] == [False, True]

    ed.unfreeze("block1_conv")  # in the copy, too
    assert told(edited=copy) == (3, 0, "edited")
    ed.remove("dropout").freeze("head")
    assert told(edited=copy) == (5, 2, None)
    ed.undo(5)
    assert told(edited=copy) == (0, 0, None)
    ed.remove("block1_relu")
    assert told(edited=copy) == (1, 1, None)


def test_a_copy_is_known_without_its_editor() -> None:
    copy = Editor(models.cnn()).remove("block1_relu").model
    gc.collect()
    assert rows(edited=copy)["edited"]["copy"]


def test_an_editor_that_only_a_widget_holds() -> None:
    model = models.cnn()
    widget = Editor(model).widget()
    widget.editor.freeze("head")
    assert rows(model=model)["model"]["unhanded"] == 1
    widget.close()
    assert rows(model=model)["model"]["unhanded"] == 0


def test_a_copy_without_edits_is_none_that_was_edited() -> None:
    ed = Editor(models.cnn())
    assert not rows(same=ed.model, ed=ed)["same"]["copy"]


def test_an_editor_of_the_model_itself() -> None:
    ed = Editor(models.subclassed(), in_place=True)
    ed.freeze(ed.layers[0].path)
    told = rows(model=ed.source, ed=ed)
    assert told["ed"]["structure"] == "code"
    assert (told["ed"]["handed"], told["model"]["edits"]) == ("model", 0)


# -- asked about one -------------------------------------------------------------------------------


def ask(question: str, **arguments: Any) -> Any:
    told = answer(question, json.dumps(arguments))._repr_mimebundle_()
    if "application/json" not in told:
        raise EditError(told[PROBLEM]["message"])
    return told["application/json"]


def number(variable: str) -> int:
    return next(
        row["number"] for row in ask("tell_models")["models"] if row["variable"] == variable
    )


@pytest.mark.parametrize("edited", [False, True])
def test_a_model_at_a_glance(notebook: dict[str, Any], edited: bool) -> None:
    model = models.cnn()
    model.compile(keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
    notebook["it"] = Editor(model) if edited else model
    told = ask("tell_model", variable="it", number=number("it"))
    first, last = model.layers[0].name, model.layers[-1].name
    assert told["inputs"] == [[first, str(model.inputs[0].shape), "float32"]]
    assert told["outputs"] == [[last, str(model.outputs[0].shape), "float32"]]
    assert dict(map(tuple, told["layers"]))["Conv2D"] == sum(
        isinstance(layer, layers.Conv2D) for layer in model.layers
    )
    assert told["bytes"] == 4 * model.count_params()
    assert (told["optimizer"], told["dtype"]) == ("Adam", "float32")
    assert told["learning_rate"] == pytest.approx(0.01)
    assert told["loss"] == "mean_squared_error"


def test_an_input_is_told_by_its_layers_name(notebook: dict[str, Any]) -> None:
    notebook["it"] = model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    [told] = ask("tell_model", variable="it", number=number("it"))["inputs"]
    assert told[0].startswith("input_layer") and model.inputs[0].name != told[0]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("mse", "mse"),
        ({"a": "mse", "b": keras.losses.MeanAbsoluteError()}, "mse, mean_absolute_error"),
        (["mse", "mse"], "mse"),
        (lambda y, p: p, "<lambda>"),
    ],
)
def test_a_loss_however_it_was_given(loss: Any, told: str) -> None:
    assert lab._named(loss) == told


def test_a_model_of_python_code_at_a_glance(notebook: dict[str, Any]) -> None:
    notebook["own"] = models.subclassed()
    told = ask("tell_model", variable="own", number=number("own"))
    assert told["layers"]
    assert told["optimizer"] is None


def test_a_variable_that_holds_something_else_by_now(notebook: dict[str, Any]) -> None:
    notebook["m"] = models.cnn()
    asked = number("m")
    notebook["m"] = models.cnn()
    with pytest.raises(EditError, match="holds something else by now"):
        ask("tell_model", variable="m", number=asked)
    ask("tell_models")
    with pytest.raises(EditError, match="holds something else by now"):
        ask("hand_back", variable="m", number=asked, name="x")


def test_handing_back(notebook: dict[str, Any]) -> None:
    model = notebook["model"] = models.cnn()
    ed = notebook["ed"] = Editor(model)
    with pytest.raises(EditError, match="No editor has edits"):
        ask("hand_back", variable="model", number=number("model"), name="model2")
    ed.freeze("head")
    reply = ask("hand_back", variable="model", number=number("model"), name="model2")
    assert reply["ok"] == {"name": "model2"}
    assert notebook["model2"] is ed.model
    again = ask("hand_back", variable="ed", number=number("ed"), name="model2")
    assert again["ok"] == {"name": "model2"}, "it holds the same already"

    ed.remove("block1_relu")
    notebook["taken"] = 3
    for name, hint in (("model2", "model"), ("taken", "other")):
        error = ask("hand_back", variable="ed", number=number("ed"), name=name)["error"]
        assert (error["type"], error["hint"]) == ("NameTaken", hint)
    error = ask("hand_back", variable="ed", number=number("ed"), name="no name")["error"]
    assert "cannot be the name of a variable" in error["message"]
    assert notebook["taken"] == 3
    reply = ask("hand_back", variable="ed", number=number("ed"), name="model", overwrite=True)
    assert reply["ok"] == {"name": "model"}
    ed.unfreeze("head")
    proposed = {row["variable"]: row["proposed"] for row in ask("tell_models")["models"]}
    assert proposed["ed"] == "model", "as in the editor's own view"


# -- without Keras ---------------------------------------------------------------------------------


def test_no_keras_is_imported() -> None:
    check = """
import sys
import weakref
from kerasedit.lab.kernel import PROBLEM, answer
assert answer("tell_models").told == {"models": [], "more": 0}
assert not {"keras", "numpy", "IPython"} & set(sys.modules), sorted(sys.modules)
sys.modules["keras"] = type(sys)("keras")
assert answer("tell_models").told == {"models": [], "more": 0}
sys.modules["keras"].Model = 5
assert answer("tell_models").told == {"models": [], "more": 0}
"""
    subprocess.run([sys.executable, "-c", check], check=True)
