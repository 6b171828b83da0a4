"""Distillation: the source teaches the copy, stays as it is, and the copy is what was trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from kerasedit import EditError, Editor
from tests import models
from tests.models import data, fingerprint, out, same, scramble, weights_of, whole


def classifier(last: str | None = "softmax", loss: Any = "sparse_categorical_crossentropy") -> Any:
    x = keras.Input((6,), name="x")
    h = layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.1), name="a")(x)
    model = scramble(keras.Model(x, layers.Dense(3, last, name="top")(h)))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


X, Y = data(16, 6), whole(3, 16)


def divergence(teacher: np.ndarray, student: np.ndarray, temperature: float) -> float:
    """By Hinton et al.: T² times the divergence of the softmax at temperature T, of logits."""
    p, q = (np.exp(logits.astype("f8") / temperature) for logits in (teacher, student))
    p, q = (e / e.sum(-1, keepdims=True) for e in (p, q))
    return float(temperature**2 * (p * np.log(p / q)).sum(-1).mean())


@pytest.mark.parametrize("last", ["softmax", "logits", "layer", "op"])
def test_the_loss_is_that_of_the_paper(last: str) -> None:
    """Whether the model puts out probabilities or logits."""
    if last in ("softmax", "layer"):
        model = classifier()
    else:
        model = classifier(
            None, keras.losses.SparseCategoricalCrossentropy(from_logits=last != "op")
        )
    ed = Editor(model)
    if last == "layer":
        model = ed.configure("top", activation="linear").append(layers.Softmax()).model
        ed = Editor(model)
    if last == "op":
        model = ed.append(lambda x: keras.ops.softmax(x)).model
        ed = Editor(model)
    ed.scale_weights("a", -0.5)
    found = ed.distiller(temperature=2.5, student_loss_weight=0.25).evaluate(
        X, Y, verbose=0, return_dict=True
    )
    teacher, student = out(model, X)[0], out(ed.model, X)[0]
    if last != "logits":
        teacher, student = np.log(teacher), np.log(student)
    expected = divergence(teacher, student, 2.5)
    assert found["distillation_loss"] == pytest.approx(expected, rel=1e-4) and expected > 0.01
    own = ed.model.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["student_loss"] == pytest.approx(own["loss"], rel=1e-5)
    assert found["accuracy"] == own["accuracy"]
    total = 0.25 * own["loss"] + 0.75 * expected
    assert found["loss"] == pytest.approx(total, rel=1e-4)


def test_the_copy_is_trained_and_the_source_is_not() -> None:
    model = classifier()
    model.fit(X, Y, verbose=0)
    before = fingerprint(model)
    ed = Editor(model).freeze("a").scale_weights("top", -1.0)
    student, optimizer = ed.model, ed.model.optimizer
    start = weights_of(student)
    steps = int(optimizer.iterations)
    teacher = ed.distiller()
    assert teacher.student is student and fingerprint(model) == before
    teacher.student_loss_weight = 0.1
    history = teacher.fit(X, Y, epochs=5, batch_size=8, verbose=0).history
    assert fingerprint(model) == before
    assert ed.model is student and student.optimizer is optimizer
    assert history["distillation_loss"][-1] < 0.7 * history["distillation_loss"][0]
    moved = {name for name, value in weights_of(student).items() if not same(value, start[name])}
    assert moved == {"top/kernel", "top/bias"}
    assert int(optimizer.iterations) == steps + 10
    # What was taught is in what comes after: files, edits, further training.
    assert ed.verify(X)
    taught = weights_of(student)
    assert same(weights_of(ed.rename("top", "end").model)["end/kernel"], taught["top/kernel"])
    ed.model.fit(X, Y, verbose=0)
    assert int(ed.model.optimizer.iterations) == steps + 11  # a batch holds all


def test_flags_hold_from_the_next_fit_on() -> None:
    ed = Editor(classifier())
    teacher = ed.distiller()
    for act, trains in ((lambda: None, True), (lambda: ed.freeze("a"), False),
                        (lambda: ed.unfreeze("a"), True)):  # fmt: skip
        act()
        before = weights_of(ed.model)
        teacher.fit(X, Y, verbose=0)
        after = weights_of(ed.model)
        assert same(before["a/kernel"], after["a/kernel"]) == (not trains)
        assert not same(before["top/kernel"], after["top/kernel"])


def test_weights_of_samples_and_outputs_count() -> None:
    model = models.dicts()
    losses = {"low": "mse", "more": {"high": "categorical_crossentropy", "trunk": "mse"}}
    weights = {"low": 1.0, "more": {"high": 3.0, "trunk": 0.5}}
    model.compile("sgd", losses, loss_weights=weights)
    ed = Editor(model).scale_weights("trunk", 0.3)
    x = {"p": data(8, 3), "q": data(8, 3, seed=2)}
    y = keras.tree.map_structure(lambda t: np.abs(np.asarray(t)) * 0.7, model(x))
    found = ed.distiller(temperature=2.0).evaluate(x, y, verbose=0, return_dict=True)
    own = ed.model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["student_loss"] == pytest.approx(own["loss"], rel=1e-5)
    (low, high, trunk), (low2, high2, trunk2) = out(model, x), out(ed.model, x)
    expected = (
        divergence(np.log(high), np.log(high2), 2.0)
        + ((low - low2) ** 2).mean()
        + ((trunk - trunk2) ** 2).mean()
    )
    assert found["distillation_loss"] == pytest.approx(float(expected), rel=1e-4)
    before = weights_of(ed.model)
    ed.distiller().fit(x, y, verbose=0)
    assert all(not same(before[name], w) for name, w in weights_of(ed.model).items())

    ed = Editor(classifier())
    heavy = np.where(Y == 0, 5.0, 0.1)
    teacher = ed.distiller()
    own = ed.model.evaluate(X, Y, sample_weight=heavy, verbose=0, return_dict=True)
    found = teacher.evaluate(X, Y, sample_weight=heavy, verbose=0, return_dict=True)
    assert found["student_loss"] == pytest.approx(own["loss"], rel=1e-5)
    plain = teacher.evaluate(X, Y, verbose=0, return_dict=True)
    assert plain["student_loss"] != pytest.approx(own["loss"], rel=1e-2)


def test_without_labels_it_is_only_taught() -> None:
    ed = Editor(classifier()).scale_weights("top", -1.0)
    own = float(sum(ed.model.losses))
    found = ed.distiller().fit(X, epochs=8, verbose=0).history
    assert found["student_loss"][0] == pytest.approx(own, rel=1e-5)  # what regularizes
    assert found["distillation_loss"][-1] < 0.7 * found["distillation_loss"][0]


def test_features_in_between() -> None:
    ed = Editor(classifier()).scale_weights("a", 0.1)
    near = keras.distillation.FeatureDistillation(
        "mse", teacher_layer_name="a", student_layer_name="a"
    )
    teacher = ed.distiller(loss=[near], student_loss_weight=0.0)
    first, second = (
        out(keras.Model(model.inputs, model.get_layer("a").output), X)[0]
        for model in (ed.source, ed.model)
    )
    gap = np.mean((first - second) ** 2)
    found = teacher.fit(X, Y, epochs=10, verbose=0).history["distillation_loss"]
    assert found[0] == pytest.approx(float(gap), rel=1e-4) and found[-1] < 0.8 * found[0]


def test_a_model_of_a_class_of_its_own() -> None:
    model = models.subclassed()
    model.compile("sgd", "mse")
    ed = Editor(model).scale_weights("first", 0.5)
    with pytest.raises(EditError, match="is not known, as its call is Python code"):
        ed.distiller()
    before = fingerprint(model)
    teacher = ed.distiller(loss=keras.distillation.FeatureDistillation("mse"))
    x, y = data(8, 4), out(model, data(8, 4))[0]
    found = teacher.fit(x, y, epochs=4, verbose=0).history["distillation_loss"]
    assert found[-1] < found[0] and fingerprint(model) == before


def test_refusals() -> None:
    model = classifier()
    for match, act in (
        ("call ed.model.compile", lambda: Editor(model, compile=False).distiller()),
        ("cannot be its own teacher", lambda: Editor(model, in_place=True).distiller()),
        ("are not of one kind", lambda: Editor(model).trim("a").distiller()),
        ("temperature must be positive", lambda: Editor(model).distiller(temperature=-1.0)),
        ("between 0.0 and 1.0", lambda: Editor(model).distiller(student_loss_weight=2.0)),
        ("shapes are incompatible",
         lambda: Editor(model).replace("top", layers.Dense(4, "softmax")).distiller()),
    ):  # fmt: skip
        with pytest.raises(EditError, match=match):
            act()
    ed = Editor(model)
    teacher = ed.distiller()
    with pytest.raises(EditError, match=r"the model in training .'distiller'. is another"):
        teacher.fit(X, Y, callbacks=[ed.live()], verbose=0)
    assert ed.training() is None and ed.verify(X)


def test_what_keras_alone_makes_of_it() -> None:
    """The reasons why not just Keras's classes are taken, as of Keras 3.15."""
    teacher, student = data(4, 3), data(4, 3, seed=2)
    named = keras.distillation.LogitsDistillation(2.0).compute_loss(teacher, student)
    right = keras.distillation.LogitsDistillation(2.0, keras.losses.KLDivergence())
    expected = divergence(teacher, student, 2.0)
    assert float(right.compute_loss(teacher, student)) == pytest.approx(expected, rel=1e-4)
    assert float(named) != pytest.approx(expected, rel=0.1)
    model = classifier()
    keras.distillation.Distiller(keras.models.clone_model(model), model, right)
    one = keras.models.clone_model(model)
    keras.distillation.Distiller(one, model, right)
    assert not one.trainable  # the teacher is frozen


def test_a_pruned_digits_model_learns_from_its_source() -> None:
    digits = load_digits()
    x, y = (digits.images / 16).astype("float32")[..., None], digits.target
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(24, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(48, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="top"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:1200], y[:1200], epochs=4, verbose=0)
    before = fingerprint(model)
    ed = Editor(model).prune_channels("**", fraction=0.75)
    _, pruned = ed.model.evaluate(x[1200:], y[1200:], verbose=0)
    ed.distiller(temperature=4.0).fit(x[:1200], y[:1200], epochs=3, verbose=0)
    _, taught = ed.model.evaluate(x[1200:], y[1200:], verbose=0)
    assert taught > 0.8 > pruned + 0.1
    assert fingerprint(model) == before
