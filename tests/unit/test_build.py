"""The rebuilt copy: the same as its source in all a user can see, and nothing computed in vain."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest
from keras import layers, ops

import kerasedit
from kerasedit import Editor
from tests.models import ZOO, data, fingerprint, out, rebuilt, same, scramble

PACKAGE = Path(kerasedit.__file__).parent

# -- models in which something is out of the ordinary --------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Holder(layers.Layer):
    """Holds layers, a seed, a variable made from a value and one that no weight is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = [layers.Dense(3, activation="tanh"), layers.Dense(3)]
        self.seed_generator = keras.random.SeedGenerator(4)

    def build(self, shape: Any) -> None:
        for layer in self.inner:
            layer.build(shape)
            shape = (*shape[:-1], 3)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        for layer in self.inner:
            x = layer(x)
        return x * self.scale + self.count


@keras.saving.register_keras_serializable("tests")
class ByValue(layers.Layer):
    """Its variables are made from values, not from initializers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = keras.Variable(2.0, name="start")

    def build(self, shape: Any) -> None:
        self.shift = keras.Variable(np.arange(shape[-1], dtype="float32"), name="shift")

    def call(self, x: Any) -> Any:
        return x * self.start + self.shift


def functional(make: Callable[[Any], Any], shape: tuple[int, ...] = (4,), **options: Any):
    inputs = keras.Input(shape, name="in", **options)
    return scramble(keras.Model(inputs, make(inputs), name="odd"))


def sequential_in_sequential() -> keras.Model:
    inner = keras.Sequential([layers.Dense(3, name="a"), layers.ReLU(name="r")], name="inner")
    return scramble(
        keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="b")], name="outer")
    )


def nested_twice() -> keras.Model:
    """One model called twice, inside another that is called twice."""
    x = keras.Input((4,))
    inner = keras.Model(x, layers.Dense(4, activation="tanh", name="d")(x), name="inner")
    y = keras.Input((4,))
    middle = keras.Model(y, inner(layers.Dense(4, name="m")(inner(y))), name="middle")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return scramble(keras.Model([a, b], middle(a) + middle(b), name="twice"))


def layer_in_two_models() -> keras.Model:
    dense = layers.Dense(4, name="both")
    x = keras.Input((4,))
    inner = keras.Model(x, dense(x), name="inner")
    y = keras.Input((4,))
    return scramble(keras.Model(y, dense(inner(y)), name="outer"))


def outputs_of_all_kinds() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(3, name="h")(x)
    return scramble(keras.Model(x, [h, x, h, {"deep": (h + 1.0,)}], name="kinds"))


def unused_input() -> keras.Model:
    x, y = keras.Input((4,), name="x"), keras.Input((2,), name="y")
    return scramble(keras.Model({"x": x, "y": y}, layers.Dense(3)(x)))


def quantized() -> keras.Model:
    model = functional(lambda x: layers.Dense(2, name="b")(layers.Dense(8, name="a")(x)))
    model.quantize("int8")
    return model


def lora() -> keras.Model:
    model = functional(lambda x: layers.Dense(2, name="b")(layers.Dense(8, name="a")(x)))
    model.get_layer("a").enable_lora(2)
    return model


def adapted() -> keras.Model:
    normal = layers.Normalization(name="normal")
    model = functional(lambda x: layers.Dense(2)(normal(x)))
    normal.adapt(data(50, 4))
    return model


def vocabulary() -> keras.Model:
    lookup = layers.StringLookup(vocabulary=["red", "green", "blue"], name="lookup")
    inputs = keras.Input((2,), dtype="string", name="words")
    return scramble(keras.Model(inputs, layers.Embedding(5, 3)(lookup(inputs)), name="words"))


def words() -> Any:
    import tensorflow as tf

    return tf.constant([["red", "blue"], ["pink", "green"]])


def mixed_policies() -> keras.Model:
    def make(x: Any) -> Any:
        x = layers.Dense(4, dtype="mixed_float16", name="half")(x)
        return layers.Dense(2, dtype="float64", name="double")(x)

    return functional(make)


def around(wrap: Callable[[], Any], shape: tuple[int, ...]) -> Callable[[], keras.Model]:
    return lambda: functional(lambda x: wrap()(x), shape)


CONSTANT = np.arange(4, dtype="float32")
ODD: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any]]] = {
    "sequential in sequential": (sequential_in_sequential, lambda: data(3, 4)),
    "nested twice": (nested_twice, lambda: [data(3, 4), data(3, 4, seed=2)]),
    "layer in two models": (layer_in_two_models, lambda: data(3, 4)),
    "outputs of all kinds": (outputs_of_all_kinds, lambda: data(3, 4)),
    "unused input": (unused_input, lambda: {"x": data(3, 4), "y": data(3, 2)}),
    "quantized": (quantized, lambda: data(3, 4)),
    "lora": (lora, lambda: data(3, 4)),
    "adapted": (adapted, lambda: data(3, 4)),
    "vocabulary": (vocabulary, words),
    "mixed policies": (mixed_policies, lambda: data(3, 4)),
    "holder": (around(lambda: Holder(name="holder"), (4,)), lambda: data(3, 4)),
    "bidirectional": (
        around(lambda: layers.Bidirectional(layers.LSTM(3), name="bi"), (5, 4)),
        lambda: data(2, 5, 4),
    ),
    "rnn of cells": (
        around(lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]), (5, 4)),
        lambda: data(2, 5, 4),
    ),
    "time distributed": (
        around(lambda: layers.TimeDistributed(sequential_in_sequential()), (5, 4)),
        lambda: data(2, 5, 4),
    ),
    "spectral norm": (
        around(lambda: layers.SpectralNormalization(layers.Dense(3)), (4,)),
        lambda: data(3, 4),
    ),
    "seeds": (
        around(lambda: keras.Sequential([layers.GaussianNoise(0.3), layers.Dropout(0.5)]), (4,)),
        lambda: data(3, 4),
    ),
    "augmentation": (
        around(lambda: layers.RandomContrast(0.4, seed=3), (4, 4, 3)),
        lambda: data(2, 4, 4, 3),
    ),
    "constants in ops": (
        lambda: functional(
            lambda x: ops.concatenate([x * CONSTANT, ops.expand_dims(x[:, 1], -1)], axis=-1)
        ),
        lambda: data(3, 4),
    ),
    "ops with several outputs": (
        lambda: functional(lambda x: ops.add(*ops.split(layers.Dense(6)(x), 2, axis=-1))),
        lambda: data(3, 4),
    ),
    "lambda layer": (
        lambda: functional(lambda x: layers.Lambda(lambda t: t * 3.0, name="triple")(x)),
        lambda: data(3, 4),
    ),
    "fixed batch": (
        lambda: scramble(
            keras.Sequential([keras.Input(batch_shape=(2, 4)), layers.Dense(2, name="d")])
        ),
        lambda: data(2, 4),
    ),
    "training=True inside": (
        lambda: functional(lambda x: layers.BatchNormalization(name="bn")(x, training=True)),
        lambda: data(3, 4),
    ),
}
ALL = {**ZOO, **ODD}
every_model = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.tensorflow if n == "vocabulary" else ()) for n in ALL],
)


def made(name: str) -> tuple[keras.Model, Any]:
    build, batch = ALL[name]
    return build(), batch()


def flat_layers(model: Any) -> Iterator[Any]:
    """Every layer at every level, the model's own first."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)


def values(model: keras.Model) -> list[np.ndarray]:
    return [ops.convert_to_numpy(v) for v in model.variables]


# -- the same as the source ----------------------------------------------------------------------


@every_model
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_the_copy_is_the_same_to_the_bit(name: str):
    source, x = made(name)
    for number, layer in enumerate(flat_layers(source)):
        if number % 3 == 1 and not isinstance(layer, keras.Model):
            layer.trainable = False
    before = fingerprint(source)
    wanted = out(source, x)
    copy = Editor(source).model
    assert fingerprint(source) == before
    assert same(values(copy), values(source))
    assert same(out(copy, x), wanted)
    keras.tree.assert_same_structure(copy(x), source(x))

    ours, theirs = list(flat_layers(copy)), list(flat_layers(source))
    assert not {id(a) for a in ours} & {id(b) for b in theirs}
    for tell in (
        lambda layer: layer.name,
        type,
        lambda layer: layer.trainable,
        lambda layer: layer.dtype_policy.get_config(),
        lambda layer: layer.built,
        lambda layer: [(w.name, w.shape, w.dtype, w.trainable) for w in layer.weights],
    ):
        assert [tell(layer) for layer in ours] == [tell(layer) for layer in theirs]
    for kind in ("weights", "trainable_weights", "non_trainable_weights", "variables"):
        assert len(getattr(copy, kind)) == len(getattr(source, kind))
    assert copy.trainable == source.trainable
    assert not {id(v) for v in copy.variables} & {id(v) for v in source.variables}
    assert getattr(copy, "output_names", None) == getattr(source, "output_names", None)
    assert getattr(copy, "input_names", None) == getattr(source, "input_names", None)


@every_model
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_the_copy_is_an_ordinary_model(name: str):
    source, x = made(name)
    copy = Editor(source).model
    with keras.saving.custom_object_scope({type(source).__name__: type(source)}):
        loaded = through_file(copy)
        expected = through_file(source)
    assert (loaded is None) == (expected is None), "what Keras can save, the copy can"
    if loaded is not None and expected is not None:
        assert same(loaded.get_weights(), expected.get_weights())
        assert same(out(loaded, x), out(expected, x))
    if name == "subclassed":
        return
    for layer in copy.layers:
        # A nested model's `output` is of its own graph, and a shared layer's is of its first call,
        # also in the source.
        nodes = len(source.get_layer(layer.name)._inbound_nodes)
        if not isinstance(layer, keras.Model) and nodes == 1:
            keras.Model(copy.inputs, copy.get_layer(layer.name).output)
        # Keras calls the layers of a Sequential of one's own again for each that it adds.
        assert name == "sequential_subclass" or len(layer._inbound_nodes) == nodes


def through_file(model: keras.Model) -> Any | None:
    """The model saved and loaded; None where Keras cannot."""
    try:
        return rebuilt(model)
    except (ValueError, TypeError):
        return None


@every_model
def test_the_copy_and_the_copy_of_the_copy_train_alike(name: str):
    """Random layers go on with the seeds of the source."""
    source, x = made(name)
    first = Editor(source).model
    second = Editor(first).model
    a, b, c = (out(model, x, training=True) for model in (source, first, second))
    assert same(a, b)
    assert same(a, c)


@every_model
def test_copies_do_not_touch_each_other(name: str):
    """Their variables share memory until one of them is written to."""
    source, x = made(name)
    copy = Editor(source).model
    wanted, numbers = values(source), out(source, x)
    for variable in copy.trainable_variables:
        variable.assign(ops.convert_to_tensor(variable) + 1)
    assert same(values(source), wanted)
    assert same(out(source, x), numbers)
    changed = values(copy)
    for variable in source.trainable_variables:
        variable.assign(ops.convert_to_tensor(variable) - 1)
    assert same(values(copy), changed)


def test_a_frozen_layer_is_frozen_inside():
    """Else a normalization in a frozen wrapper would go on counting."""
    wrap = layers.TimeDistributed(layers.BatchNormalization(), name="wrap")
    model = functional(lambda x: layers.Dense(2)(wrap(x)), (5, 4))
    wrap.trainable = False
    copy, x = Editor(model).model, data(3, 5, 4)
    assert not copy.get_layer("wrap").layer.trainable
    before = copy.get_layer("wrap").get_weights()
    assert same(out(copy, x, training=True), out(model, x, training=True))
    assert same(copy.get_layer("wrap").get_weights(), before)


def test_flags_of_layers_inside_a_layer():
    model = functional(lambda x: layers.Dense(2)(Holder(name="holder")(x)))
    model.get_layer("holder").inner[0].trainable = False
    copy = Editor(model).model
    assert not copy.get_layer("holder").inner[0].trainable
    assert len(copy.trainable_weights) == len(model.trainable_weights)


def test_a_layer_let_loose_in_a_frozen_model_trains():
    """Keras asks only the layer and the model that is trained."""
    model = ZOO["nested"][0]()
    backbone = model.get_layer("backbone")
    backbone.trainable = False
    backbone.get_layer("conv2").trainable = True
    ed = Editor(model)
    trains = {view.path for view in ed.layers if view.trainable and view.weights}
    assert trains == {"backbone/conv2", "head"}
    assert len(ed.model.trainable_weights) == len(model.trainable_weights) == 4
    ed.unfreeze("backbone/conv1")
    trains = {view.path for view in ed.layers if view.trainable and view.weights}
    assert trains == {"backbone/conv1", "backbone/conv2", "head"}
    assert len(ed.model.trainable_weights) == 6
    ed.freeze("backbone").insert(layers.Dense(5, name="adapter"), after="backbone/conv1")
    assert len(ed.model.trainable_weights) == 4, "what is put into a frozen model can train"


def test_a_layer_let_loose_in_a_model_frozen_as_a_whole():
    model = ZOO["nested"][0]()
    model.trainable = False
    model.get_layer("head").trainable = True
    ed = Editor(model)
    assert not any(view.trainable for view in ed.layers)
    assert ed.model.trainable_weights == []
    ed.unfreeze("backbone/conv1")
    assert len(ed.model.trainable_weights) == 2, "only what was asked for"


def test_variables_made_from_values():
    model = functional(lambda x: layers.Dense(2)(ByValue(name="by")(x)))
    copy = Editor(model).model
    assert same(values(copy), values(model))
    assert same(out(copy, data(3, 4)), out(model, data(3, 4)))


def test_inserting_a_layer_that_makes_variables_from_values():
    model = functional(lambda x: layers.Dense(2, name="d")(x))
    ed = Editor(model).insert(ByValue(name="by"), before="d")
    x = data(3, 4)
    assert same(out(ed.model, x), out(model, x * 2.0 + np.arange(4, dtype="float32")))


def test_a_trained_source_keeps_its_values_while_the_copy_trains():
    model, x = made("cnn")
    model.compile("sgd", loss="mse")
    y = np.ones((2, *model.output_shape[1:]), "float32")
    model.train_on_batch(x, y)
    ed = Editor(model)
    before = fingerprint(model)
    ed.model.fit(x, y, epochs=2, verbose=0)
    ed.insert(layers.Identity(), after=1)
    ed.model.fit(x, y, epochs=1, verbose=0)
    assert fingerprint(model) == before


# -- nothing in vain -----------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Counted(keras.initializers.Initializer):
    """Counts how often it is run."""

    runs = 0

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        type(self).runs += 1
        return ops.ones(shape, dtype)


def in_earnest(tensor: Any) -> bool:
    """Whether it was computed; in the graph of a symbolic call Keras only traces what would be."""
    try:
        ops.convert_to_numpy(tensor)
    except Exception:
        return False
    return True


@pytest.fixture
def initializer_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all initializers that Keras runs, its own and `Counted`."""
    runs: list[str] = []

    def watch(cls: type) -> None:
        original = cls.__call__

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            value = original(self, *args, **kwargs)
            if in_earnest(value):
                runs.append(type(self).__name__)
            return value

        monkeypatch.setattr(cls, "__call__", call)

    classes = [Counted, keras.initializers.Initializer]
    for cls in classes:
        classes += [sub for sub in cls.__subclasses__() if sub not in classes]
    for cls in classes:
        if "__call__" in vars(cls):
            watch(cls)
    return runs


# `Normalization.build` computes with its two variables at once; `Bidirectional.from_config` builds
# one layer more than it keeps.
@pytest.mark.parametrize("name", sorted(ALL.keys() - {"adapted", "bidirectional"}))
def test_an_unedited_rebuild_runs_no_initializer(name: str, initializer_runs: list[str]):
    source, _ = made(name)
    initializer_runs.clear()
    _ = Editor(source).model
    assert initializer_runs == []


def test_only_new_weights_are_initialised(initializer_runs: list[str]):
    source = ZOO["chain"][0]()
    ed = Editor(source)
    initializer_runs.clear()
    ed.preview.insert(layers.Dense(4, kernel_initializer=Counted()), after=0)
    assert initializer_runs == []
    ed.insert(layers.Dense(4, kernel_initializer=Counted(), use_bias=False, name="new"), after=0)
    assert initializer_runs == []
    _ = ed.model
    assert initializer_runs == ["Counted"]
    ed.rename("new", "newer")
    _ = ed.model
    ed.undo(2)
    _ = ed.model
    ed.redo(2)
    _ = ed.model
    assert initializer_runs == ["Counted"], "a weight that was made once is kept"


def test_flag_edits_build_nothing(initializer_runs: list[str]):
    ed = Editor(ZOO["nested"][0]())
    model = ed.model
    initializer_runs.clear()
    ed.freeze("**").unfreeze("head").undo()
    assert ed.model is model
    assert initializer_runs == []


def rss() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.tensorflow
def test_a_copy_needs_no_second_set_of_weights():
    """Of 128 MiB, none is copied until it changes."""
    source = keras.Sequential([keras.Input((4096,)), *(layers.Dense(4096) for _ in range(2))])
    warm = Editor(keras.Sequential([keras.Input((4,)), layers.Dense(4)]))
    _ = warm.model
    before = rss()
    ed = Editor(source)
    _ = ed.model
    ed.insert(layers.ReLU(), after=0)
    _ = ed.model
    assert rss() - before < 48
    ed.preview.insert(layers.Dense(4096), after=0)
    assert rss() - before < 48


# -- rules of the package ------------------------------------------------------------------------


def test_importing_imports_no_keras():
    code = (
        "import sys, kerasedit; from kerasedit import EditError; dir(kerasedit)\n"
        "print([m for m in ('keras', 'tensorflow', 'numpy', 'ipywidgets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def own_names(tree: ast.AST) -> set[str]:
    """The private names that a module defines: functions, classes, variables, attributes of self."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.update([node.attr] if getattr(node.value, "id", "") in ("self", "cls") else ())
    return {name for name in found if private(name)}


def test_only_one_module_touches_what_keras_keeps_private():
    trees = {path: ast.parse(path.read_text()) for path in sources()}
    door = PACKAGE / "_keras.py"
    assert door in trees
    ours = set().union(*(own_names(tree) for path, tree in trees.items() if path != door))
    ours |= {"_keras", "_fields"}  # the latter is public in namedtuples
    ours |= {"_getframe", "_current_frames", "_exit"}  # documented in Python's `sys` and `os`
    found = []
    ipykernels = PACKAGE / "widgets" / "kernel.py"  # the door to what ipykernel keeps private
    for path, tree in trees.items():
        if path == door:
            continue
        for node in ast.walk(tree):
            name = None
            if isinstance(node, ast.Import):
                if any(alias.name.startswith("keras.src") for alias in node.names):
                    name = "import keras.src"
            elif isinstance(node, ast.ImportFrom):
                if (node.module or "").startswith("keras.src"):
                    name = "from keras.src"
            elif isinstance(node, ast.Attribute):
                if node.attr == "src" and getattr(node.value, "id", "") == "keras":
                    name = "keras.src"
                elif private(node.attr) and node.attr not in ours:
                    name = node.attr
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if node.func.id in ("getattr", "setattr", "hasattr", "delattr"):
                    name = next(
                        (t for t in texts if isinstance(t, str) and private(t) and t not in ours),
                        None,
                    )
            if name and (path != ipykernels or "keras.src" in name):
                found.append(f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}: {name}")
    assert found == []
