"""Models that are large, and layers that are unusual."""

from __future__ import annotations

import sys

import keras
import numpy as np
from keras import layers

from kerasedit import Editor


class OfArrays(layers.Layer):
    """Makes its variables of values, which Keras refuses where nothing is to be allocated."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.factor = keras.Variable(np.arange(3, dtype="float32"), name="factor")

    def build(self, shape: object) -> None:
        self.shift = keras.Variable(np.ones(3, "float32"), name="shift")

    def call(self, x):
        return x * self.factor + self.shift

    def compute_output_shape(self, shape):
        return shape


def test_a_chain_of_a_thousand_layers() -> None:
    limit = sys.getrecursionlimit()
    x = inputs = keras.Input((4,))
    for number in range(1000):
        x = layers.Dense(4, name=f"d{number}", kernel_initializer="identity")(x)
    sys.setrecursionlimit(10_000)  # Keras itself needs it to make such a model
    try:
        model = keras.Model(inputs, x)
    finally:
        sys.setrecursionlimit(limit)
    ed = Editor(model).remove("d500").insert(layers.Rescaling(2.0), after="d999")

    copy = ed.model

    assert len(copy.layers) == 1001
    data = np.array([[1.0, -2.0, 3.0, 0.5]], "float32")
    for layer in copy.layers[1:]:  # layer by layer: tracing so deep a graph takes Keras minutes
        data = np.asarray(layer(data))
    np.testing.assert_array_equal(data, [[2.0, -4.0, 6.0, 1.0]])
    assert sys.getrecursionlimit() == limit


def test_a_layer_that_makes_variables_of_arrays() -> None:
    inputs = keras.Input((3,))
    outputs = layers.Dense(2)(OfArrays(name="odd")(layers.Dense(3, name="d")(inputs)))
    model = keras.Model(inputs, outputs)
    model.get_layer("odd").factor.assign([5.0, 6.0, 7.0])
    data = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ed = Editor(model)

    same = ed.model.predict(data, verbose=0)
    ed.insert(layers.ReLU(), after="d").insert(OfArrays(), after="odd")

    np.testing.assert_array_equal(same, model.predict(data, verbose=0))
    np.testing.assert_array_equal(ed.model.get_layer("odd").factor, [5, 6, 7])
    np.testing.assert_array_equal(ed.model.get_layer("of_arrays").factor, [0, 1, 2])
