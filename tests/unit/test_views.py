"""What `ed.layers`, `summary`, `histograms` and `stats` tell."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor, TargetError
from tests import models
from tests.models import ZOO, same


@pytest.mark.parametrize("name", [n for n in ZOO if n != "subclassed"])
def test_views_agree_with_keras(name: str) -> None:
    model = ZOO[name][0]()
    ed = Editor(model)
    assert not ed._copy.built
    top = [view for view in ed.layers if view.level == 1]
    by_name = {view.name: view for view in top}
    ops = {op.name for op in getattr(model, "operations", model.layers)}
    # Keras computes the mask of `masked` in an op of the graph; a rebuild makes it anew.
    assert ops - {"not_equal"} <= set(by_name)
    for layer in model.layers:
        view = by_name[layer.name]
        assert view.class_name == type(layer).__name__
        assert view.params == layer.count_params()
        assert view.trainable == layer.trainable
        if view.kind == "layer":
            assert view.config == layer.get_config()
            assert [w.shape for w in view.weights] == [tuple(w.shape) for w in layer.weights]
            assert [w.dtype for w in view.weights] == [w.dtype for w in layer.weights]
            assert [w.trainable for w in view.weights] == [w.trainable for w in layer.weights]
            assert same([w.numpy() for w in view.weights], layer.get_weights())
        if len(layer._inbound_nodes) == 1 and not isinstance(layer, keras.Model):
            outputs = keras.tree.flatten(layer.output)
            shapes = [tuple(o.shape) for o in outputs]
            assert view.output_shape == (shapes[0] if len(shapes) == 1 else tuple(shapes))
            assert view.dtype == outputs[0].dtype
    assert sum(v.params for v in top) == model.count_params()
    assert not ed._copy.built  # to look is not to build


def test_kinds_calls_and_inputs() -> None:
    by_path = {v.path: v for v in Editor(models.raw_ops()).layers}
    assert [v.kind for v in by_path.values()] == [
        "input", "layer", "op", "op", "op", "op", "layer",
    ]  # fmt: skip
    assert by_path["add"].input_shapes == ((None, 3, 4), (None, 3, 4))
    assert by_path["get_item"].output_shape == (None, 4)
    by_path = {v.path: v for v in Editor(models.shared()).layers}
    assert by_path["tower"].calls == 3
    assert by_path["cat"].calls == 1
    by_path = {v.path: v for v in Editor(models.nested()).layers}
    assert by_path["backbone/inner"].kind == "model"
    assert by_path["backbone/inner/dense"].level == 3


def test_the_effective_flag() -> None:
    """What training does: Keras asks a layer and the whole model, and no model in between."""
    model = models.nested()
    model.get_layer("backbone").trainable = False
    model.get_layer("backbone").get_layer("conv1").trainable = True
    by_path = {v.path: v for v in Editor(model).layers}
    assert by_path["backbone/conv1"].trainable
    assert not by_path["backbone/inner/dense"].trainable
    assert by_path["head"].trainable
    assert len(model.trainable_weights) == 4
    model.trainable = False
    model.get_layer("head").trainable = True
    assert not any(v.trainable for v in Editor(model).layers)
    assert model.trainable_weights == []


def test_a_view_stays_as_it_is_when_the_editor_goes_on() -> None:
    ed = Editor(models.chain())
    a, drop = ed.layers[1], ed.layers[2]
    ed.freeze("a").rename("a", "z").remove("drop")
    assert (a.name, a.path, a.trainable) == ("a", "a", True)
    assert drop.class_name == "Dropout"
    assert [v.name for v in ed.layers][1:3] == ["z", "b"]


def test_a_views_layer_is_the_copys() -> None:
    model = models.nested()
    ed = Editor(model)
    (view,) = [v for v in ed.layers if v.path == "backbone/inner/dense"]
    layer = view.layer
    assert layer is ed.model.get_layer("backbone").get_layer("inner").get_layer("dense")
    assert layer is not model.get_layer("backbone").get_layer("inner").get_layer("dense")


def test_weights_show_the_latest_values() -> None:
    ed = Editor(models.chain())
    (bias,) = [w for v in ed.layers for w in v.weights if w.path == "a/bias"]
    before = bias.numpy()
    ed.model.get_layer("a").bias.assign(np.arange(5.0))
    assert same(bias.numpy(), np.arange(5, dtype="float32"))
    assert same(np.asarray(ed.layers[1].weights[1]), np.arange(5, dtype="float32"))
    assert same(ed.source.get_layer("a").get_weights()[1], before)


def test_weights_of_an_inserted_layer() -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a")
    (view,) = [v for v in ed.layers if v.name == "new"]
    assert [w.path for w in view.weights] == ["new/kernel", "new/bias"]
    assert same(view.weights[0].numpy(), ed.model.get_layer("new").get_weights()[0])


def test_weight_names_of_wrapped_layers_are_unambiguous() -> None:
    x = keras.Input((4, 3))
    h = layers.Bidirectional(layers.LSTM(2), name="both")(x)
    ed = Editor(keras.Model(x, layers.Dense(2, name="top")(h)))
    names = [w.path for v in ed.layers for w in v.weights]
    assert len(names) == len(set(names)) == 8
    assert [n for n in names if "forward" in n][0].startswith("both/forward")  # noqa: RUF015


def test_histograms_and_stats() -> None:
    model = models.nested()
    ed = Editor(model)
    found = ed.histograms()
    assert list(found) == [w.path for v in ed.layers for w in v.weights]
    assert set(ed.histograms("backbone/inner")) == {
        "backbone/inner/dense/kernel",
        "backbone/inner/dense/bias",
    }
    assert set(ed.histograms("head")) == {"head/kernel", "head/bias"}
    kernel = model.get_layer("head").get_weights()[0]
    one = ed.histogram("head/kernel", bins=7)
    assert one.size == kernel.size
    assert len(one.counts) == 7
    assert one.counts.sum() == kernel.size
    assert (one.min, one.max) == (kernel.min(), kernel.max())
    rows = {row["path"]: row for row in ed.stats("head")}
    row = rows["head/kernel"]
    assert row["shape"] == kernel.shape
    assert row["bytes"] == kernel.nbytes
    assert row["mean"] == pytest.approx(kernel.mean(dtype="float64"))
    assert row["std"] == pytest.approx(kernel.std(dtype="float64"))
    assert dataclasses.is_dataclass(one)


def test_histograms_of_what_is_not_there() -> None:
    ed = Editor(models.chain())
    with pytest.raises(TargetError, match="'kernel', 'bias'"):
        ed.histogram("a/kernle")
    with pytest.raises(TargetError, match="a/kernel, a/bias"):
        ed.histogram("a")
    with pytest.raises(TargetError):
        ed.histograms("nope")


def test_nan_and_inf_are_counted() -> None:
    model = models.chain()
    model.get_layer("a").bias.assign([np.nan, np.inf, -np.inf, 0.0, 1.0])
    found = Editor(model).histogram("a/bias")
    assert (found.nans, found.infs, found.zeros, found.size) == (1, 2, 1, 5)
    assert (found.min, found.max) == (0.0, 1.0)


def test_summary_marks_what_changed(capsys: Any) -> None:
    model = models.chain()
    ed = Editor(model).remove("drop").insert(layers.ReLU(name="new"), after="a").freeze("b")
    ed.summary()
    text = capsys.readouterr().out.strip()
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert lines["new"].endswith("added")
    assert lines["b"].endswith("changed")
    assert not lines["a"].endswith(("added", "changed"))
    assert "Removed: drop" in text
    assert f"{model.count_params():,}" in text


def test_repr() -> None:
    ed = Editor(models.chain()).remove("drop")
    assert repr(ed) == "<Editor of 'chain': 5 layers, 1 edit>"
    assert repr(ed.freeze("a").layers[1]) == "<a (Dense) (None, 5) params=25 frozen>"
