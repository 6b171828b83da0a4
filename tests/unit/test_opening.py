"""Model files opened without initial values, against what `keras.saving.load_model` gives."""

from __future__ import annotations

import gc
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import Editor
from kerasedit.opening import open_model, without_initial_values
from tests import models
from tests.models import ZOO, data, same

CLASSES = (models.Subclassed, models.OwnStep, models.OwnSequential)
OPTIONS: dict[str, Any] = {
    "custom_objects": {cls.__name__: cls for cls in CLASSES},
    "safe_mode": True,
    "compile": True,
}
Case = tuple[Callable[[], keras.Model], Callable[[], Any]]


@keras.saving.register_keras_serializable("tests")
class Counted(keras.initializers.Initializer):
    """Counts how often it runs."""

    runs = 0

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        type(self).runs += 1
        return ops.ones(shape, dtype)


@keras.saving.register_keras_serializable("tests")
class Normed(layers.Layer):
    """Assigns in `build` what it computes of a weight, and keeps something that no file has."""

    def build(self, shape: Any) -> None:
        self.direction = self.add_weight(shape=(shape[-1],), initializer="ones", name="direction")
        self.length = self.add_weight(shape=(), initializer="zeros", name="length")
        self.length.assign(ops.sum(self.direction.value) + 1.0)
        self.unsaved = self.add_weight(shape=(), initializer="zeros", trainable=False, name="own")
        self.unsaved.assign(ops.convert_to_tensor(7.0))
        self.untouched = self.add_weight(shape=(3,), initializer="ones", name="untouched")

    def call(self, inputs: Any) -> Any:
        return inputs * self.direction * self.length + self.unsaved

    def save_own_variables(self, store: Any) -> None:
        store["direction"] = ops.convert_to_numpy(self.direction)
        store["length"] = ops.convert_to_numpy(self.length)

    def load_own_variables(self, store: Any) -> None:
        self.direction.assign(store["direction"])
        self.length.assign(store["length"])


def _normed() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="d"), Normed(name="n")])
    model.get_layer("n").unsaved.assign(11.0)
    model.get_layer("n").length.assign(2.0)
    return model


def _frozen() -> keras.Model:
    model = models.nested()
    model.get_layer("backbone").get_layer("bn").trainable = False
    model.get_layer("head").trainable = False
    return model


def _lora() -> keras.Model:
    model = models.chain()
    model.get_layer("b").enable_lora(2)
    return models.scramble(model)


def _quantized() -> keras.Model:
    model = models.chain()
    model.get_layer("a").quantize("int8")
    return model


def _mixed() -> keras.Model:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return models.chain()
    finally:
        keras.config.set_dtype_policy("float32")


def _words() -> keras.Model:
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"], name="lookup")
    texts = keras.Input((4,), dtype="string", name="texts")
    vectors = layers.Embedding(9, 3, name="embed")(lookup(texts))
    numbers = keras.Input((2,), name="numbers")
    normed = layers.Normalization(name="norm")
    normed.adapt(data(20, 2) * 3 + 5)
    flat = layers.Concatenate()([layers.Flatten()(vectors), normed(numbers)])
    return keras.Model([texts, numbers], layers.Dense(2, name="top")(flat), name="words")


def _words_batch() -> Any:
    words = np.array([["a", "c", "zz", "b"], ["b", "b", "a", ""]])
    return [ops.convert_to_tensor(words), ops.convert_to_tensor(data(2, 2))]


def _stateful() -> keras.Model:
    """Its state is in variables made of arrays."""
    x = keras.Input(batch_shape=(2, 3, 4))
    return models.scramble(keras.Model(x, layers.LSTM(3, stateful=True, name="lstm")(x)))


def _compiled_inside() -> keras.Model:
    inner = models.chain()
    inner.compile("adam", "mse")
    x = keras.Input((4,))
    return keras.Model(x, inner(x), name="outer")


def _application(name: str) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        make_model = getattr(keras.applications, name)
        return models.scramble(make_model(weights=None, input_shape=(32, 32, 3), classes=3))

    return make


ODD: dict[str, Case] = {
    "normed": (_normed, lambda: data(3, 4)),
    "frozen": (_frozen, lambda: data(3, 4)),
    "lora": (_lora, lambda: data(3, 4)),
    "quantized": (_quantized, lambda: data(3, 4)),
    "mixed": (_mixed, lambda: data(3, 4)),
    "words": (_words, _words_batch),
}
SMALL, LARGE = ("MobileNetV3Small", "EfficientNetB0"), ("ConvNeXtTiny", "NASNetMobile")
APPLICATIONS: dict[str, Case] = {
    name: (_application(name), lambda: data(2, 32, 32, 3)) for name in (*SMALL, *LARGE)
}
CASES = {**ZOO, **ODD}
LEFT_TO_KERAS: dict[str, Case] = {
    "stateful": (_stateful, lambda: data(2, 3, 4)),
    "compiled_inside": (_compiled_inside, lambda: data(3, 4)),
}


def _variable(variable: Any) -> tuple[Any, ...]:
    live = getattr(variable.value, "trainable", None)  # of a `tf.Variable`, it is for life
    value = ops.convert_to_numpy(variable)
    path = re.sub(r"seed_generator(_\d+)?", "seed_generator", variable.path)
    return (path, variable.dtype, variable.trainable, live, value.shape, value.tobytes())


def _state(model: Any) -> dict[str, Any]:
    """All that two loadings of a file must have in common."""
    optimizer = getattr(model, "optimizer", None)
    compiled = model.get_compile_config() if model.compiled else None
    flags: list[Any] = []

    def visit(layer: Any) -> None:
        flags.append(
            (layer.name, type(layer), layer.trainable, layer.built, str(layer.dtype_policy))
        )
        for inner in getattr(layer, "layers", ()):
            visit(inner)

    visit(model)
    return {
        "config": json.dumps(model.get_config(), default=str),
        "variables": [_variable(v) for v in model.variables],
        "weights": [v.path for v in model.weights],
        "trainable": [v.path for v in model.trainable_variables],
        "flags": flags,
        "compiled": json.dumps(compiled, default=str),
        "optimizer": [_variable(v) for v in optimizer.variables] if optimizer else None,
        "metrics": [_variable(v) for metric in model.metrics for v in metric.variables],
    }


def _steps(model: Any) -> int:
    return int(ops.convert_to_numpy(model.optimizer.iterations))


def _train(model: Any, x: Any) -> None:
    """One step, with the same numbers for every model of the same structure."""
    seed = iter(range(100))
    y = keras.tree.map_structure(lambda t: data(*t.shape, seed=next(seed)), model(x))
    model.fit(x, y, epochs=1, shuffle=False, verbose=0)


def _loadings(
    path: Path, ours: Callable[..., Any], **options: Any
) -> tuple[keras.Model, keras.Model]:
    """A file opened by us and by Keras, from the same state of the random generators."""
    options = {**OPTIONS, **options}
    found = []
    for load in (ours, keras.saving.load_model):
        keras.utils.clear_session(free_memory=False)  # automatic names start anew
        keras.utils.set_random_seed(3)
        found.append(load(path, **options))
    return found[0], found[1]


def _check_equal(opened: Any, loaded: Any, x: Any) -> None:
    left, right = _state(opened), _state(loaded)
    for what in left:
        assert left[what] == right[what], what
    assert same(opened.predict(x, verbose=0), loaded.predict(x, verbose=0))
    if opened.compiled and opened.optimizer is not None:
        for model in (opened, loaded):
            _train(model, x)
        assert _state(opened) == _state(loaded)


def _only_tensorflow(name: str) -> Any:
    return pytest.mark.tensorflow if name == "words" else ()


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(n, marks=_only_tensorflow(n)) for n in CASES),
        *SMALL,
        *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE),
    ],
)
def test_opened_as_keras_loads(name: str, tmp_path: Path) -> None:
    make, batch = {**CASES, **APPLICATIONS}[name]
    make().save(tmp_path / "m.keras")
    opened, loaded = _loadings(tmp_path / "m.keras", without_initial_values)
    _check_equal(opened, loaded, batch())
    for model in (opened, loaded):  # and what it is from then on
        model.compile(keras.optimizers.SGD(name="sgd"), "mse", run_eagerly=True)
        _train(model, batch())
    assert _state(opened) == _state(loaded)


# Keras cannot load a subclassed model, or raw ops of its own making, from such a file.
@pytest.mark.parametrize("name", [n for n in ZOO if n not in ("subclassed", "masked", "raw_ops")])
def test_old_files_opened_as_keras_loads(name: str, tmp_path: Path) -> None:
    make, batch = ZOO[name]
    make().save(tmp_path / "m.h5")
    _check_equal(*_loadings(tmp_path / "m.h5", without_initial_values), batch())


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "averaging": lambda: keras.optimizers.SGD(0.01, 0.9, use_ema=True, clipnorm=1.0),
    "gathering": lambda: keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
    "nadam": lambda: keras.optimizers.Nadam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    ),
    "scaling": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adafactor(), initial_scale=64.0
    ),
}


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *(pytest.param(n, "adam", marks=_only_tensorflow(n)) for n in CASES),
        *(("frozen", o) for o in OPTIMIZERS),
    ],
)
def test_compiled_state_opened_as_keras_loads(name: str, optimizer: str, tmp_path: Path) -> None:
    make, batch = CASES[name]
    model = make()
    metrics = None if name in ("dicts", "seq2seq") else ["mae"]
    model.compile(OPTIMIZERS[optimizer](), "mse", metrics=metrics, run_eagerly=True)
    _train(model, batch())
    _train(model, batch())
    path = tmp_path / "m.keras"
    model.save(path)
    opened, loaded = _loadings(path, without_initial_values)
    # Keras 3.15 does not load the state of an optimizer that it wrapped itself to scale the loss.
    trained = 0 if name == "mixed" else _steps(model)
    assert _steps(opened) == trained
    _check_equal(opened, loaded, batch())
    _check_equal(*_loadings(path, without_initial_values, compile=False), batch())


@pytest.mark.parametrize("name", LEFT_TO_KERAS)
def test_what_cannot_be_made_without_values_is_left_to_keras(name: str, tmp_path: Path) -> None:
    make, batch = LEFT_TO_KERAS[name]
    make().save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="stateless scope"):
        without_initial_values(tmp_path / "m.keras", **OPTIONS)
    _check_equal(*_loadings(tmp_path / "m.keras", open_model), batch())


def test_an_old_file_with_compiled_state_is_left_to_keras(tmp_path: Path) -> None:
    model = models.cnn()
    model.compile("adam", keras.losses.MeanSquaredError())
    _train(model, data(2, 8, 8, 3))
    model.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="compiled"):
        without_initial_values(tmp_path / "m.h5", **OPTIONS)
    opened, loaded = _loadings(tmp_path / "m.h5", open_model)
    assert _steps(opened) == 1
    assert _state(opened) == _state(loaded)
    uncompiled = without_initial_values(tmp_path / "m.h5", **{**OPTIONS, "compile": False})
    assert not uncompiled.compiled


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_no_initializer_runs(suffix: str, tmp_path: Path) -> None:
    x = keras.Input((4,))
    h = layers.Dense(5, kernel_initializer=Counted(), bias_initializer=Counted(), name="a")(x)
    model = keras.Model(x, layers.Dense(2, kernel_initializer=Counted(), name="b")(h))
    path = tmp_path / f"m.{suffix}"
    model.save(path)
    Counted.runs = 0
    keras.saving.load_model(path, compile=False)
    assert Counted.runs == 3
    Counted.runs = 0
    ed = Editor(path)
    assert [view.path for view in ed.layers][1:] == ["a", "b"]
    assert same(ed.model.get_weights(), model.get_weights())
    assert same(ed.source.get_weights(), model.get_weights())
    assert Counted.runs == 0


def test_what_the_file_leaves_open_starts_as_the_layer_says(tmp_path: Path) -> None:
    _normed().save(tmp_path / "m.keras")
    layer = without_initial_values(tmp_path / "m.keras", **OPTIONS).get_layer("n")
    assert float(layer.length.value) == 2.0  # of the file, over what `build` computed
    assert float(layer.unsaved.value) == 7.0  # of `build`
    assert layer.untouched.numpy().tolist() == [1, 1, 1]  # of the initializer


def test_opening_leaves_nothing_behind(tmp_path: Path) -> None:
    models.chain().save(tmp_path / "m.keras")
    (tmp_path / "bad.keras").write_bytes((tmp_path / "m.keras").read_bytes()[:900])
    for name in ("m.keras", "bad.keras"):
        try:
            without_initial_values(tmp_path / name, **OPTIONS)
        except Exception:
            assert name == "bad.keras"
        assert gc.isenabled()
        dense = layers.Dense(2)
        dense.build((None, 3))  # with values at once
        assert dense.kernel.numpy().shape == (3, 2)
        dense.bias.assign([1.0, 2.0])
        assert dense.bias.numpy().tolist() == [1, 2]


def test_opening_goes_on_where_collecting_was_switched_off(tmp_path: Path) -> None:
    models.chain().save(tmp_path / "m.keras")
    gc.disable()
    try:
        without_initial_values(tmp_path / "m.keras", **OPTIONS)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_file_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = keras.Input((300,))
    model = keras.Model(x, layers.Dense(400, name="d")(x))
    path = tmp_path / "m.keras"
    model.save(path)
    (tmp_path / "late.keras").write_bytes(b"#!" + b" " * 98 + path.read_bytes())
    whole: list[str] = []
    read = zipfile.ZipFile.open

    def watched(self: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        whole.append(getattr(name, "filename", name))
        return read(self, name, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    for file in ("m.keras", "late.keras"):
        opened = without_initial_values(tmp_path / file, **OPTIONS)
        assert same(opened.get_weights(), model.get_weights())
    assert "config.json" in whole
    assert "model.weights.h5" not in whole


def test_a_compressed_file_is_left_to_keras(tmp_path: Path) -> None:
    models.chain().save(tmp_path / "m.keras")
    path = tmp_path / "small.keras"
    with (
        zipfile.ZipFile(tmp_path / "m.keras") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="compressed"):
        without_initial_values(path, **OPTIONS)
    _check_equal(*_loadings(path, open_model), data(3, 4))
