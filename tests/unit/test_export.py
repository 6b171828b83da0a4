"""Exporting: what is written runs without Keras, puts out the same, and replaces all or nothing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasedit import EditError, Editor, exporting
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import data, fingerprint, out, same, scramble

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
]


def many() -> keras.Model:
    """A dictionary of inputs, and so many outputs that their numbers have two digits."""
    x = {"b": keras.Input((3,), name="b"), "a": keras.Input((4,), name="a")}
    h = layers.Concatenate(name="cat")([x["a"], x["b"]])
    return scramble(keras.Model(x, [layers.Dense(2, name=f"out{i}")(h) for i in range(11)]))


def named() -> keras.Model:
    x = keras.Input((4,), name="x")
    return scramble(
        keras.Model(x, {key: layers.Dense(2, name=f"to_{key}")(x) for key in ("low", "high")})
    )


def open_sizes() -> keras.Model:
    x = keras.Input((None, None, 3), name="x")
    h = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    return scramble(keras.Model(x, layers.GlobalAveragePooling2D(name="gap")(h)))


KINDS: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any]]] = {
    **{name: models.ZOO[name] for name in ("chain", "cnn", "nested", "two_ways", "attention")},
    "recurrent": (models.masked, models.ZOO["masked"][1]),
    "many outputs": (many, lambda: {"a": data(3, 4), "b": data(3, 3)}),
    "named outputs": (named, lambda: data(3, 4)),
    "open sizes": (open_sizes, lambda: data(2, 9, 8, 3)),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow) if kind in ("chain", "nested", "cnn") else kind
        for kind in KINDS
    ],
)
def test_saved_models(kind: str, tmp_path: Path) -> None:
    make, batch = KINDS[kind]
    ed = Editor(make())
    place = tmp_path / "saved"
    found = ed.export(place)
    assert found.format == "tf_saved_model" and found.path == place
    loaded = tf.saved_model.load(str(place))
    there = keras.tree.flatten(loaded.serve(batch()))
    expected = out(ed.model, batch())
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(there, expected, strict=True))
    assert found.bytes == sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
    assert list(found.outputs) == list(ed.verify().outputs)


@pytest.mark.parametrize(
    "kind", sorted(KINDS.keys() - {"chain", "nested", "attention", "recurrent"})
)
def test_litert(kind: str, tmp_path: Path) -> None:
    make, batch = KINDS[kind]
    ed = Editor(make())
    place = tmp_path / "m.tflite"
    found = ed.export(place, inputs=batch())
    assert all(check.difference is not None and check.difference < 1e-5
               for check in found.outputs.values())  # fmt: skip
    assert found.format == "litert" and found.bytes == place.stat().st_size
    assert len(found.outputs) == len(out(ed.model, batch()))
    assert os.listdir(tmp_path) == ["m.tflite"]


def test_litert_runs_alone(tmp_path: Path) -> None:
    """Without the editor's own comparison: the numbers of an interpreter are those of the model."""
    model = models.cnn()
    ed = Editor(model).prune_channels("**", fraction=0.5).remove("block4_relu")
    ed.export(tmp_path / "m.tflite")
    run = tf.lite.Interpreter(str(tmp_path / "m.tflite"))
    run.allocate_tensors()
    image = data(1, 8, 8, 3)
    run.set_tensor(run.get_input_details()[0]["index"], image)
    run.invoke()
    there = run.get_tensor(run.get_output_details()[0]["index"])
    assert np.allclose(there, out(ed.model, image)[0], atol=1e-5)
    assert (tmp_path / "m.tflite").stat().st_size < 20_000


def test_the_model_stays_as_it_is(tmp_path: Path) -> None:
    model = models.chain()
    model.compile("adam", "mse")
    x, y = data(8, 4), data(8, 2)
    model.fit(x, y, verbose=0)
    ed = Editor(model).freeze("a")
    ed.model.fit(x, y, verbose=0)
    source, copy = fingerprint(model), fingerprint(ed.model)
    ed.export(tmp_path / "m.tflite")
    ed.export(tmp_path / "saved")
    assert fingerprint(model) == source and fingerprint(ed.model) == copy
    before = ed.model.get_layer("b").kernel.numpy()
    ed.model.fit(x, y, verbose=0)
    assert not same(before, ed.model.get_layer("b").kernel)
    assert ed.verify()


def test_quantized(tmp_path: Path) -> None:
    ed = Editor(models.chain())
    plain = ed.export(tmp_path / "plain.tflite")
    ed.quantize("int8")
    assert ed.export(tmp_path / "saved").outputs
    # The converter's own way: weights of 8 bits, which only that file has.
    wide = [layers.Dense(100), layers.Dense(100)]
    ed.undo().insert(wide, before="c", on_mismatch="reinit")
    whole = ed.export(tmp_path / "whole.tflite")
    small = ed.export(
        tmp_path / "small.tflite", optimizations=[tf.lite.Optimize.DEFAULT], tolerance=0.05
    )
    assert plain.bytes < small.bytes < 0.6 * whole.bytes
    (check,) = small.outputs.values()
    assert check.difference and check.difference > 1e-5


def test_what_the_converter_needs_can_be_said(tmp_path: Path) -> None:
    """A loop over an open batch needs operations of TensorFlow that its interpreter has not."""
    ed, place = Editor(models.masked()), tmp_path / "m.tflite"
    with pytest.raises(ModelFileError, match="Select TensorFlow op"):
        ed.export(place)
    one = [keras.InputSpec(dtype="int32", shape=(1, 6), name="tokens")]
    assert ed.export(place, input_signature=one).outputs


def test_it_is_told(tmp_path: Path) -> None:
    found = Editor(models.two_ways()).export(tmp_path / "m.tflite")
    text = str(found)
    assert text.startswith(
        f"Exported to '{tmp_path / 'm.tflite'}' (litert, {found.bytes:,} bytes)."
    )
    assert "output 'top' differs by up to" in text or "output 'top' is the same to the bit" in text
    assert "found with 3 samples" in text


# -- nothing is lost -----------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class OnlyEager(layers.Layer):
    """Does something else in a graph than when it is called: what no exporter can tell."""

    def call(self, x: Any) -> Any:
        return x * (2.0 if tf.executing_eagerly() else 3.0)


@keras.saving.register_keras_serializable("tests")
class Moody(layers.Layer):
    """Can be called, and can be exported only as long as it likes."""

    sulks = False

    def call(self, x: Any) -> Any:
        if self.sulks and not tf.executing_eagerly():
            raise NotImplementedError("not today")
        return x


@pytest.mark.parametrize("name", ["m.tflite", "saved"])
def test_what_was_there_survives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / name
    ed = Editor(models.chain())
    ed.export(place)

    def content() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in sorted(tmp_path.rglob("*")) if f.is_file()}

    before = content()
    ed.insert(OnlyEager(), after="a")
    with pytest.raises(EditError, match="puts out something else than the model: the output 'c'"):
        ed.export(place)
    assert content() == before
    ed.undo().insert(Moody(), after="a")
    _ = ed.model
    monkeypatch.setattr(Moody, "sulks", True)
    with pytest.raises(ModelFileError, match="not today") as caught:
        ed.export(place)
    assert "What was there is unharmed" in str(caught.value)
    assert content() == before
    ed.undo().insert(OnlyEager(), after="a")
    far = ed.export(place, tolerance=None)  # whoever wants it all the same
    assert far.outputs["c"].difference and content() != before
    assert sorted(os.listdir(tmp_path)) == [name]


def test_an_old_folder_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move into place fails between its two halves."""
    place = tmp_path / "saved"
    ed = Editor(models.chain())
    ed.export(place)
    before = (place / "saved_model.pb").read_bytes()
    move = os.replace

    def fails(src: Any, dst: Any) -> None:
        if Path(dst) == place and Path(src).name == "saved":
            raise OSError("no room")
        move(src, dst)

    monkeypatch.setattr(exporting.os, "replace", fails)
    with pytest.raises(ModelFileError, match="no room"):
        ed.remove("drop").export(place)
    assert (place / "saved_model.pb").read_bytes() == before
    assert os.listdir(tmp_path) == ["saved"]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ed = Editor(models.chain())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    (tmp_path / "folder.tflite").mkdir()
    bad: list[tuple[type[Exception], str, str, dict[str, Any]]] = [
        (EditError, "cannot be told from its ending", "m.bin", {}),
        (EditError, "format is one of 'tf_saved_model', 'litert', 'onnx'", "m", {"format": "x"}),
        (EditError, r"ends with '\.tflite', not 'm'", "m", {"format": "litert"}),
        (ModelFileError, "is there already, and is no SavedModel", "own", {}),
        (ModelFileError, "is a folder", "folder.tflite", {}),
        (ModelFileError, "There is no folder", "no/where/m.tflite", {}),
        (EditError, "does not take these inputs", "m.tflite", {"inputs": data(3, 5)}),
        (ModelFileError, "Unknown converter attribute", "m.tflite", {"nonsense": 1}),
    ]
    for kind, match, path, options in bad:
        with pytest.raises(kind, match=match):
            ed.export(tmp_path / path, **options)
    nested = Editor(models.dicts())
    with pytest.raises(ModelFileError, match="cannot be exported"):  # TensorFlow's own limit
        nested.export(tmp_path / "saved")
    lacking = replace(exporting.FORMATS["onnx"], needs=("no_such_module", "onnx_of_none"))
    monkeypatch.setitem(exporting.FORMATS, "onnx", lacking)
    with pytest.raises(ModelFileError, match=r"no_such_module and onnx_of_none, which are not "
                                             r'installed: pip install "kerasedit\[onnx\]"'):  # fmt: skip
        ed.export(tmp_path / "m.onnx")
    assert sorted(os.listdir(tmp_path)) == ["folder.tflite", "own"]


# -- ONNX: `make test-all` installs what it needs ------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"named outputs"}))
@pytest.mark.filterwarnings("ignore")
def test_onnx(kind: str, tmp_path: Path) -> None:
    onnxruntime = importlib.import_module("onnxruntime")

    make, batch = KINDS[kind]
    ed = Editor(make())
    place = tmp_path / "m.onnx"
    found = ed.export(place, inputs=batch())
    assert found.format == "onnx" and os.listdir(tmp_path) == ["m.onnx"]
    session = onnxruntime.InferenceSession(str(place))
    given = keras.tree.flatten(batch())
    names = [item.name for item in session.get_inputs()]
    there = session.run(None, dict(zip(names, given, strict=True)))
    assert all(
        np.allclose(a, b, atol=1e-5) for a, b in zip(there, out(ed.model, batch()), strict=True)
    )
