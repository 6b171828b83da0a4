"""Small models that tests edit, and what tests compare: outputs, weights and fingerprints.

Every builder gives a built model whose weights are all random: biases, scales and moving averages
too, so that a weight that got lost changes the outputs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

# -- comparing -----------------------------------------------------------------------------------


def scramble(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight random values: moving variances and the like stay positive."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" in str(weight.dtype):
            continue
        values = random.uniform(0.2, 0.9, size=weight.shape)
        if "variance" not in weight.path:
            values -= 0.5
        weight.assign(values.astype("float32"))
    return model


def data(*shape: int, seed: int = 1) -> np.ndarray:
    """A batch of random numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def whole(high: int, *shape: int, seed: int = 1) -> np.ndarray:
    """A batch of random whole numbers below `high`."""
    return np.random.default_rng(seed).integers(0, high, size=shape).astype("int32")


def out(model: Any, x: Any, training: bool = False) -> list[np.ndarray]:
    """What a model puts out, as a flat list of arrays."""
    return [np.asarray(ops.convert_to_numpy(t)) for t in flat(model(x, training=training))]


def flat(structure: Any) -> list[Any]:
    return keras.tree.flatten(structure)


def same(a: Any, b: Any) -> bool:
    """Whether two structures of arrays are equal to the bit."""
    left, right = [np.asarray(i) for i in flat(a)], [np.asarray(i) for i in flat(b)]
    return len(left) == len(right) and all(
        i.dtype == j.dtype and i.shape == j.shape and i.tobytes() == j.tobytes()
        for i, j in zip(left, right, strict=True)
    )


def check_equal(model: Any, expected: Any, x: Any) -> None:
    """Two models put out the same to the bit, in the same structure."""
    keras.tree.assert_same_structure(model(x), expected(x))
    assert same(out(model, x), out(expected, x))


def weights_of(model: Any, *names: str) -> dict[str, np.ndarray]:
    """Copies of the weights by `layer/weight` of a model's (or of some of its) layers."""
    return {
        f"{layer.name}/{weight.name}": ops.convert_to_numpy(weight).copy()
        for layer in model.layers
        if not names or layer.name in names
        for weight in layer.weights
    }


def give(model: keras.Model, source: Any, **names: str) -> keras.Model:
    """Copies weights from the layers of another model: of the same name, or `new="old"`.

    A layer without counterpart in `source` keeps its own.
    """
    there = {layer.name: layer for layer in source.layers}
    for layer in model.layers:
        old = there.get(names.get(layer.name, layer.name))
        if old is None or not layer.weights:
            continue
        if isinstance(layer, keras.Model):
            give(layer, old)
        else:
            layer.set_weights(old.get_weights())
    return model


def fingerprint(model: keras.Model) -> list[Any]:
    """All that an editor must leave alone in a model that it was given."""
    optimizer = getattr(model, "optimizer", None)
    found: list[Any] = [type(model), model.name, model.trainable, id(optimizer)]
    if optimizer is not None:
        found += [(v.path, ops.convert_to_numpy(v).tobytes()) for v in optimizer.variables]

    def visit(layer: Any) -> None:
        found.append((id(layer), layer.name, layer.trainable, layer.built))
        found.append((len(layer._inbound_nodes), len(layer._outbound_nodes)))
        for inner in getattr(layer, "layers", ()):
            visit(inner)

    visit(model)
    for op in getattr(model, "operations", ()):
        found.append((id(op), op.name, len(op._inbound_nodes), len(op._outbound_nodes)))
    for variable in model.variables:
        value = ops.convert_to_numpy(variable)
        found.append((id(variable), variable.path, variable.trainable, value.tobytes()))
    found += [id(v) for v in model.trainable_variables]
    return found


def state_of(editor: Any) -> list[Any]:
    """What of an editor a failed edit must leave as it was."""
    return [
        id(editor.graph),
        editor.history,
        editor.undo_label,
        editor.redo_label,
        editor.revision,
        [(view.path, view.trainable) for view in editor.layers],
    ]


def refused(editor: Any, kind: type[Exception], match: str, act: Callable[[Any], Any]) -> None:
    """`act(editor)` raises and its preview says the same; nothing changes."""
    source, state, copy = fingerprint(editor.source), state_of(editor), editor.model
    weights = fingerprint(copy)
    plan = act(editor.preview)
    assert not plan.ok
    with pytest.raises(kind, match=match) as caught:
        act(editor)
    numbered = re.compile(r"keras_tensor_\d+")  # in what Keras said
    assert [numbered.sub("", text) for text in plan.errors] == [numbered.sub("", str(caught.value))]
    assert state_of(editor) == state
    assert editor.model is copy
    assert fingerprint(copy) == weights
    assert fingerprint(editor.source) == source


@contextlib.contextmanager
def variables_made() -> Iterator[list[Any]]:
    """Collects the Keras variables that get a value inside."""
    from keras.src.backend.common.variables import Variable

    backend_variable = keras.Variable
    made: list[Any] = []
    originals: dict[str, Any] = {}

    def watch(name: str) -> Callable[..., Any]:
        original = originals[name] = getattr(backend_variable, name)

        def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
            made.append(self)
            return original(self, *args, **kwargs)

        return watched

    assert issubclass(backend_variable, Variable)
    for name in ("_initialize", "_initialize_with_initializer"):
        setattr(backend_variable, name, watch(name))
    try:
        yield made
    finally:
        for name, original in originals.items():
            setattr(backend_variable, name, original)


def rebuilt(model: keras.Model) -> keras.Model:
    """The model through a file and back, as a user would check it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.keras")
        model.save(path)
        return keras.saving.load_model(path, safe_mode=False)


# -- plain shapes of models ----------------------------------------------------------------------


def chain() -> keras.Sequential:
    """Sequential: dense a (4 to 5), dropout, dense b (5 to 5), batch normalization, dense c (2)."""
    return scramble(
        keras.Sequential(
            [
                keras.Input((4,), name="x"),
                layers.Dense(5, activation="tanh", name="a"),
                layers.Dropout(0.5, name="drop"),
                layers.Dense(5, activation="relu", name="b"),
                layers.BatchNormalization(name="norm"),
                layers.Dense(2, name="c"),
            ],
            name="chain",
        )
    )


def cnn() -> keras.Model:
    """A functional chain of blocks, named as the applications of Keras name theirs."""
    x = inputs = keras.Input((8, 8, 3), name="image")
    for block in (1, 2, 3, 4):
        x = layers.Conv2D(4, 3, padding="same", use_bias=True, name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    outputs = layers.Dense(3, name="head")(x)
    return scramble(keras.Model(inputs, outputs, name="cnn"))


def fork() -> keras.Model:
    """`a` feeds `b` and `c`, which `add` merges; `top` puts out."""
    inputs = keras.Input((4,), name="x")
    a = layers.Dense(5, activation="tanh", name="a")(inputs)
    b = layers.Dense(5, activation="relu", name="b")(a)
    c = layers.Dense(5, activation="sigmoid", name="c")(a)
    merged = layers.Add(name="add")([b, c])
    return scramble(keras.Model(inputs, layers.Dense(2, name="top")(merged), name="fork"))


def two_ways() -> keras.Model:
    """Two inputs, each with its branch, concatenated."""
    left, right = keras.Input((3,), name="left"), keras.Input((4,), name="right")
    l1 = layers.Dense(5, activation="tanh", name="l1")(left)
    r1 = layers.Dense(5, activation="tanh", name="r1")(right)
    r2 = layers.Dense(5, activation="tanh", name="r2")(r1)
    both = layers.Concatenate(name="both")([l1, r2])
    return scramble(keras.Model([left, right], layers.Dense(2, name="top")(both), name="two_ways"))


def dicts() -> keras.Model:
    """A dict of inputs and a nested dict of outputs."""
    inputs = {"p": keras.Input((3,), name="p"), "q": keras.Input((3,), name="q")}
    trunk = layers.Dense(4, activation="tanh", name="trunk")(
        layers.Average(name="mean")([inputs["p"], inputs["q"]])
    )
    low = layers.Dense(2, name="low")(trunk)
    high = layers.Dense(3, activation="softmax", name="high")(trunk)
    return scramble(
        keras.Model(inputs, {"low": low, "more": {"high": high, "trunk": trunk}}, name="dicts")
    )


def shared() -> keras.Model:
    """One Dense called on two inputs, and a third time on its own output."""
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    tower = layers.Dense(4, activation="tanh", name="tower")
    first, second = tower(left), tower(right)
    third = tower(first)
    outputs = layers.Concatenate(name="cat")([third, second])
    return scramble(keras.Model([left, right], outputs, name="shared"))


def nested() -> keras.Model:
    """A backbone, itself holding a model, with a head; the inner layers are named as outer ones."""
    z = keras.Input((5,), name="inner_in")
    inner = keras.Model(z, layers.Dense(5, activation="relu", name="dense")(z), name="inner")
    y = keras.Input((4,), name="back_in")
    h = layers.Dense(5, activation="tanh", name="conv1")(y)
    h = layers.BatchNormalization(name="bn")(h)
    h = inner(h)
    backbone = keras.Model(y, layers.Dense(5, name="conv2")(h), name="backbone")
    x = keras.Input((4,), name="x")
    h = backbone(x)
    h = layers.Dropout(0.3, name="drop")(h)
    return scramble(keras.Model(x, layers.Dense(2, name="head")(h), name="nested"))


def raw_ops() -> keras.Model:
    """Raw operations between layers: `x + y`, `x * 2.0`, `ops.relu`, `t[:, 0]`."""
    inputs = keras.Input((3, 4), name="x")
    a = layers.Dense(4, name="a")(inputs)
    t = a + inputs
    t = t * 2.0
    t = ops.relu(t)
    t = t[:, 0]
    return scramble(keras.Model(inputs, layers.Dense(2, name="top")(t), name="raw_ops"))


def attention() -> keras.Model:
    """Tensors in keyword arguments."""
    q, v = keras.Input((3, 4), name="q"), keras.Input((5, 4), name="v")
    k = layers.Dense(4, name="k")(v)
    mixed = layers.MultiHeadAttention(2, 3, name="mha")(q, value=v, key=k)
    added = layers.Add(name="add")([q, mixed])
    normed = layers.LayerNormalization(name="norm")(added)
    return scramble(keras.Model([q, v], layers.Dense(2, name="top")(normed), name="attention"))


def masked() -> keras.Model:
    """An Embedding whose mask goes through a Dropout to two recurrent layers."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 4, mask_zero=True, name="embed")(tokens)
    x = layers.Dropout(0.2, name="drop")(x)
    x = layers.LSTM(5, return_sequences=True, name="lstm1")(x)
    x = layers.GRU(3, name="gru")(x)
    return scramble(keras.Model(tokens, layers.Dense(2, name="top")(x), name="masked"))


def seq2seq() -> keras.Model:
    """An encoder's states start a decoder: `return_state` and `initial_state`."""
    source, target = keras.Input((5, 3), name="source"), keras.Input((4, 3), name="target")
    whole_, h, c = layers.LSTM(4, return_state=True, return_sequences=True, name="enc")(source)
    dec = layers.LSTM(4, return_sequences=True, name="dec")(target, initial_state=[h, c])
    mean = layers.GlobalAveragePooling1D(name="mean")(whole_)
    return scramble(
        keras.Model([source, target], [layers.Dense(2, name="top")(dec), mean], name="seq2seq")
    )


# -- classes of their own ------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Scale(layers.Layer):
    """Multiplies by a weight."""

    def __init__(self, start: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.start),
            name="factor",
        )

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


class Unregistered(Scale):
    """The same, known to Keras by nothing but its module and name."""


class Sizes:
    """An argument that Keras cannot write down by itself."""

    units = 3


class Forgetful(layers.Layer):
    """Takes an argument that it has no `get_config` for."""

    def __init__(self, sizes: Sizes, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(sizes.units)

    def build(self, input_shape: Any) -> None:
        self.dense.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


class Subclassed(keras.Model):
    """Its `call` is Python code; it can be made from its config."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.first = layers.Dense(units, activation="tanh", name="first")
        self.second = layers.Dense(2, name="second")

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Uncopyable(keras.Model):
    """Its constructor needs what no config tells."""

    def __init__(self, first: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = first

    def call(self, inputs: Any) -> Any:
        return self.first(inputs)

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError


class OwnStep(keras.Model):
    """A functional model with a class of its own."""

    def train_step(self, *args: Any) -> Any:
        return super().train_step(*args)  # pyright: ignore

    def twice(self, x: Any) -> Any:
        return self(x) * 2


class OwnSequential(keras.Sequential):
    """A Sequential with a class of its own."""

    def twice(self, x: Any) -> Any:
        return self(x) * 2


def subclassed() -> keras.Model:
    model = Subclassed(name="sub")
    model(data(2, 4))
    return scramble(model)


def functional_subclass() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(3, activation="tanh", name="a")(x)
    h = layers.Dropout(0.1, name="drop")(h)
    return scramble(OwnStep(x, layers.Dense(2, name="b")(h), name="own"))


def sequential_subclass() -> keras.Model:
    return scramble(
        OwnSequential(
            [
                keras.Input((4,)),
                layers.Dense(3, activation="tanh", name="a"),
                layers.Dropout(0.1, name="drop"),
                layers.Dense(2, name="b"),
            ],
            name="own",
        )
    )


def double(x: Any) -> Any:
    return x * 2


# name: (builder, a batch for it)
ZOO: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any]]] = {
    "chain": (chain, lambda: data(3, 4)),
    "cnn": (cnn, lambda: data(2, 8, 8, 3)),
    "fork": (fork, lambda: data(3, 4)),
    "two_ways": (two_ways, lambda: [data(3, 3), data(3, 4)]),
    "dicts": (dicts, lambda: {"p": data(3, 3), "q": data(3, 3, seed=2)}),
    "shared": (shared, lambda: [data(3, 4), data(3, 4, seed=2)]),
    "nested": (nested, lambda: data(3, 4)),
    "raw_ops": (raw_ops, lambda: data(3, 3, 4)),
    "attention": (attention, lambda: [data(2, 3, 4), data(2, 5, 4)]),
    "masked": (masked, lambda: whole(9, 3, 6) * (np.arange(6) < 4)),
    "seq2seq": (seq2seq, lambda: [data(2, 5, 3), data(2, 4, 3)]),
    "subclassed": (subclassed, lambda: data(3, 4)),
    "functional_subclass": (functional_subclass, lambda: data(3, 4)),
    "sequential_subclass": (sequential_subclass, lambda: data(3, 4)),
}
