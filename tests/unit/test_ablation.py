"""Ablation: which layers can go, alone or with others, and what that does to outputs and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import kerasedit
from kerasedit import EditError, Editor, StructureError, Sweep, TargetError
from tests.models import chain, data, dicts, fingerprint, fork, nested, out, scramble, subclassed

X, Y = data(40, 4), data(40, 2, seed=3)


def ablate(model: Any, x: Any = X, y: Any = None, **options: Any) -> Sweep:
    return kerasedit.ablate(model, x, y, verbose=False, **options)


def moved(model: Any, edit: Callable[[Editor], Any], x: Any = X) -> float:
    """How far an edit moves the outputs, reckoned anew."""
    before = np.concatenate([a.ravel() for a in out(model, x)]).astype("float64")
    edited = edit(Editor(model)).model
    after = np.concatenate([a.ravel() for a in out(edited, x)]).astype("float64")
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-4)


def status(found: Sweep) -> dict[str, str]:
    return {r["candidate"]: r["status"] for r in sorted(found, key=lambda r: r["number"])}


def residual() -> keras.Model:
    """A stem, and a block that narrows and widens again beside a way around it."""
    inputs = keras.Input((4,), name="x")
    stem = layers.Dense(6, activation="tanh", name="stem")(inputs)
    h = layers.Dense(3, activation="tanh", name="narrow")(stem)
    h = layers.Dense(3, activation="tanh", name="middle")(h)
    h = layers.Dense(6, name="wide")(h)
    merged = layers.Add(name="add")([stem, h])
    return scramble(keras.Model(inputs, layers.Dense(2, name="head")(merged), name="residual"))


# -- taken out -----------------------------------------------------------------------------------


def test_each_layer_that_can_go_goes_alone() -> None:
    model = chain()
    before = fingerprint(model)

    found = ablate(model)

    assert status(found) == {
        "(unedited)": "done",
        "remove 'a'": "skipped",
        "remove 'drop'": "done",
        "remove 'b'": "done",
        "remove 'norm'": "done",
        "remove 'c'": "skipped",
    }
    assert found.metric == "distance" and found.mode == "min"
    assert found.baseline["distance"] == 0
    assert found.by_layer() == {
        "drop": 0.0,
        "b": near(moved(model, lambda ed: ed.remove("b"))),
        "norm": near(moved(model, lambda ed: ed.remove("norm"))),
    }
    why = {r["candidate"]: r["error"] for r in found}
    assert "'b/kernel' has shape (5, 5)" in why["remove 'a'"]
    assert "would put out (None, 5) instead of (None, 2)" in why["remove 'c'"]
    assert not found.failed and fingerprint(model) == before


def test_layers_of_a_branch_go_with_it_where_they_cannot_go_alone() -> None:
    model = residual()

    found = ablate(model)

    block = moved(model, lambda ed: ed.remove("add", keep="stem"))
    around = moved(model, lambda ed: ed.remove("add", keep="wide"))
    assert found.by_layer() == {
        "middle": near(moved(model, lambda ed: ed.remove("middle"))),
        "narrow": near(block),
        "wide": near(block),
        "add": near(around),
    }
    assert status(found)["remove the branch of 'narrow', 'wide'"] == "done"
    assert status(found)["remove 'add' but for its input 1"] == "done"
    assert status(found)["remove 'stem'"] == status(found)["remove 'head'"] == "skipped"


def test_a_branch_that_does_nothing_matters_nothing() -> None:
    inputs = keras.Input((4,), name="x")
    left = layers.Dense(3, activation="tanh", name="left")(inputs)
    right = layers.Dense(3, activation="tanh", name="right")(inputs)
    right = layers.Rescaling(0.0, name="off")(layers.Dense(3, name="right2")(right))
    both = layers.Add(name="add")([left, right])
    model = scramble(keras.Model(inputs, layers.Dense(2, name="top")(both)))

    found = ablate(model, edits="reinitialize")

    value = found.by_layer()
    assert value["right"] == value["right2"] == 0 < min(value["left"], value["top"])
    removed = ablate(model).by_layer()
    assert removed["right2"] == 0 < removed["off"]


def test_layers_inside_a_nested_model_too() -> None:
    found = ablate(nested())

    value = found.by_layer()
    assert value["backbone/bn"] == pytest.approx(
        moved(nested(), lambda ed: ed.remove("backbone/bn"))
    )
    assert {"backbone/inner", "backbone/conv2", "drop"} < value.keys()


def test_only_the_layers_of_a_target() -> None:
    assert list(ablate(chain(), target=["norm", "b"]).by_layer()) == ["b", "norm"]
    assert list(ablate(chain(), target=layers.Dense, edits="reinitialize").by_layer()) == [*"abc"]
    with pytest.raises(TargetError, match="'q'"):
        ablate(chain(), target="q")


# -- other edits ---------------------------------------------------------------------------------


def test_weights_are_drawn_anew_as_often_as_asked() -> None:
    model = chain()
    found = ablate(model, edits="reinitialize", repeats=3, target=["a", "c"])

    names = [f"reinitialize '{layer}' ({n})" for layer in "ac" for n in (1, 2, 3)]
    assert list(status(found)) == ["(unedited)", *names]
    value = {r["candidate"]: r["distance"] for r in found}
    assert len(set(value.values())) == 7
    assert found.by_layer() == {
        layer: pytest.approx(np.mean([value[n] for n in names if f"'{layer}'" in n]))
        for layer in "ac"
    }
    assert ablate(model, edits="reinitialize", repeats=3, target=["a", "c"]).by_layer() == (
        found.by_layer()
    )
    other = ablate(model, edits="reinitialize", seed=7, target=["a", "c"])
    assert other.by_layer() != found.by_layer()


def test_tied_channels_are_pruned_together() -> None:
    model = residual()

    found = ablate(model, edits="prune", fraction=0.5)

    def pruned(layer: str) -> Any:
        return near(moved(model, lambda ed: ed.prune_channels(layer, fraction=0.5)))

    assert status(found) == {
        "(unedited)": "done",
        "prune 50% of 'stem', 'wide'": "done",
        "prune 50% of 'narrow'": "done",
        "prune 50% of 'middle'": "done",
        "prune 50% of 'head'": "skipped",
    }
    assert found.by_layer() == {
        "stem": pruned("stem"),
        "wide": pruned("stem"),
        "narrow": pruned("narrow"),
        "middle": pruned("middle"),
    }
    assert "output" in next(r["error"] for r in found if r["status"] == "skipped")
    assert ablate(model, edits="prune", target="wide").by_layer().keys() == {"stem", "wide"}


def test_one_channel_of_few_stays() -> None:
    found = ablate(residual(), edits="prune", fraction=0.1)

    skipped = {r["candidate"] for r in found if "too few channels" in r["error"]}
    assert skipped == {"prune 10% of 'narrow'", "prune 10% of 'middle'"}


def test_frozen_layers_are_told_by_fine_tuning() -> None:
    model = chain()
    model.compile(keras.optimizers.SGD(0.1), "mse")

    found = ablate(model, X, Y, edits="freeze", epochs=2, batch_size=8)

    def tuned(*frozen: str) -> float:
        keras.utils.set_random_seed(0)
        copy = Editor(model)
        if frozen:
            copy.freeze(*frozen)
        copy.model.fit(X, Y, epochs=2, batch_size=8, verbose=0)  # pyright: ignore
        return copy.model.evaluate(X, Y, verbose=0)  # pyright: ignore

    value = {r["candidate"]: r["loss"] for r in found}
    assert list(status(found)) == [
        "(unedited)",
        *(f"freeze '{n}'" for n in ("a", "b", "norm", "c")),
    ]
    assert value["(unedited)"] == pytest.approx(tuned(), rel=1e-5)
    assert value["freeze 'c'"] == pytest.approx(tuned("c"), rel=1e-5)
    assert value["freeze 'c'"] > value["(unedited)"]


def test_what_is_removed_can_be_fine_tuned_and_scored_on_other_data() -> None:
    model = chain()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    other = data(20, 4, seed=8), data(20, 2, seed=9)

    plain = ablate(model, X, Y, target="b", validation_data=other)
    tuned = ablate(model, X, Y, target="b", validation_data=other, epochs=1)

    assert plain.baseline["loss"] == pytest.approx(model.evaluate(*other, verbose=0))  # pyright: ignore
    keras.utils.set_random_seed(0)
    copy = Editor(model).model
    copy.fit(X, Y, batch_size=32, verbose=0)  # pyright: ignore
    assert tuned.baseline["loss"] == near(copy.evaluate(*other, verbose=0))  # pyright: ignore
    assert tuned.baseline["loss"] != plain.baseline["loss"]


# -- scores --------------------------------------------------------------------------------------


def mean_gap(y: Any, outputs: Any) -> float:
    return float(np.mean(np.abs(y - np.asarray(outputs))))


METRICS: dict[str, tuple[Any, str, str]] = {
    "compiled": (None, "loss", "min"),
    "a compiled metric": ("mae", "mae", "max"),
    "one of Keras's": ("cosine_similarity", "cosine_similarity", "max"),
    "a metric object": (keras.metrics.MeanAbsoluteError(name="gap"), "gap", "max"),
    "a loss object": (keras.losses.Huber(name="huber_loss"), "huber_loss", "min"),
    "a function": (mean_gap, "mean_gap", "max"),
}


@pytest.mark.parametrize("name", METRICS)
def test_models_are_scored_by_what_is_given(name: str) -> None:
    metric, called, mode = METRICS[name]
    model = chain()
    # Keras tells metrics by the alphabet; the loss counts nevertheless.
    model.compile("sgd", "mse", metrics=["mae", keras.metrics.MeanSquaredError(name="also")])
    outputs = out(model, X)[0]
    expected = {
        "loss": np.mean((Y - outputs) ** 2),
        "cosine_similarity": -np.mean(keras.losses.cosine_similarity(Y, outputs)),
        "huber_loss": np.mean(keras.losses.Huber()(Y, outputs)),
    }.get(called, mean_gap(Y, outputs))

    found = ablate(model, X, Y, metric=metric, target="b")

    assert found.metric == called and found.mode == mode
    assert found.baseline[called] == pytest.approx(float(expected), rel=1e-5)
    change = next(r for r in found if r["number"])[called] - found.baseline[called]
    assert found.by_layer()["b"] == (change if mode == "min" else -change)
    lowest = ablate(model, X, Y, metric=metric, target="b", mode="min")
    assert lowest.by_layer()["b"] == pytest.approx(change, rel=1e-6)


def test_without_y_all_outputs_count() -> None:
    x = {"p": data(6, 3), "q": data(6, 3, seed=2)}

    found = ablate(dicts(), x)

    assert found.by_layer() == {
        "mean": pytest.approx(moved(dicts(), lambda ed: ed.remove("mean", keep=0), x))
    }


def test_inner_layers_of_a_model_of_python_code() -> None:
    found = ablate(subclassed(), edits="reinitialize")

    assert found.by_layer().keys() == {"first", "second"}
    with pytest.raises(StructureError):
        ablate(subclassed(), edits="prune")


# -- bad input -----------------------------------------------------------------------------------


def compiled() -> keras.Model:
    model = chain()
    model.compile("sgd", "mse")
    return model


BAD: dict[str, tuple[Callable[[], keras.Model], Callable[[keras.Model], Any], str]] = {
    "edits": (chain, lambda m: ablate(m, edits="cut"), "'cut'"),
    "no edits": (chain, lambda m: ablate(m, edits=[]), "'remove'"),
    "repeats": (chain, lambda m: ablate(m, repeats=0), "repeats"),
    "epochs": (compiled, lambda m: ablate(m, X, Y, edits="freeze", epochs=0), "epochs"),
    "freeze without y": (compiled, lambda m: ablate(m, edits="freeze"), "needs y"),
    "epochs, not compiled": (chain, lambda m: ablate(m, X, Y, epochs=1), "compiled"),
    "y, not compiled": (chain, lambda m: ablate(m, X, Y), "metric="),
    "a metric without y": (chain, lambda m: ablate(m, metric="mae"), "needs y="),
    "no such metric": (chain, lambda m: ablate(m, X, Y, metric="q"), "no metric 'q'"),
    "shape of x": (chain, lambda m: ablate(m, data(5, 3)), "does not take x="),
    "no samples": (chain, lambda m: ablate(m, data(0, 4)), "at least one"),
    "no arrays": (chain, lambda m: ablate(m, 3.0), "at least one"),
    "shape of y": (
        compiled,
        lambda m: ablate(m, X, data(40, 3)),
        "unedited model cannot be scored",
    ),
    "fewer y": (compiled, lambda m: ablate(m, X, Y[:-1]), "unedited model cannot be scored"),
    "validation": (chain, lambda m: ablate(m, X, Y, validation_data=X), "validation_data"),
    "no layer": (chain, lambda m: ablate(m, target="a"), "No layer can take"),
    "no weights": (chain, lambda m: ablate(m, edits="reinitialize", target="drop"), "No layer"),
    "fraction": (chain, lambda m: ablate(m, edits="prune", fraction=2), "from 0 to 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises(name: str) -> None:
    make, act, words = BAD[name]
    model = make()
    before = fingerprint(model)
    with pytest.raises(EditError, match=words):
        act(model)
    assert fingerprint(model) == before


@pytest.mark.tensorflow
def test_a_dataset_is_refused_with_what_to_do() -> None:
    import tensorflow as tf

    with pytest.raises(EditError, match=r"kerasedit\.sweep"):
        ablate(chain(), tf.data.Dataset.from_tensor_slices(X))


# -- again ---------------------------------------------------------------------------------------


def test_a_file_of_results_knows_the_data(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"

    def lines(x: Any = X, **options: Any) -> int:
        ablate(fork(), x, resume=file, **options)
        return len(file.read_bytes().splitlines())

    first = lines()
    assert lines() == first == 5  # the head, the baseline and b, c, and the branch
    assert lines(X + 1) == first + 4
    assert lines(X + 1, batch_size=8) == first + 8
