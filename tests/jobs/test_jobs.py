"""The jobs people come with, each proved on what the edited model puts out.

The notebooks of the same jobs tell them as stories; here each result is compared with layers of the
source, called by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import kerasedit
from kerasedit import Editor, ShapeMismatch
from tests.models import fingerprint, same, scramble

RNG = np.random.default_rng(4)
PICTURES = RNG.normal(size=(3, 8, 8, 3)).astype("float32")


def convnet() -> keras.Sequential:
    """A small trained classifier of pictures."""
    stack = [
        keras.Input((8, 8, 3)),
        layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1"),
        layers.Conv2D(6, 3, padding="same", activation="relu", name="conv2"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Flatten(name="flatten"),
        layers.Dense(12, activation="relu", name="dense1"),
        layers.Dense(12, activation="relu", name="dense2"),
        layers.Dense(4, activation="softmax", name="classes"),
    ]
    model = scramble(keras.Sequential(stack, name="pictures"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def through(x: Any, *steps: Any) -> np.ndarray:
    """What layers make of an array, called one after the other."""
    for layer in steps:
        x = layer(x)
    return ops.convert_to_numpy(x)


def pick(model: keras.Model, names: str) -> list[Any]:
    return [model.get_layer(name) for name in names.split()]


def predict(model: keras.Model, x: Any = PICTURES) -> Any:
    return model.predict(x, verbose=0)


def test_remove_the_last_layers_and_put_on_a_new_head() -> None:
    model = convnet()
    before = fingerprint(model)
    ed = Editor(model).trim(2)
    ed.append([layers.Dense(5, name="new"), layers.Dense(2, name="odd")])
    copy = ed.model
    assert isinstance(copy, keras.Sequential)
    body = pick(copy, "conv1 conv2 pool flatten dense1 new odd")
    assert same(copy(PICTURES), through(PICTURES, *body))
    for name in ("conv1", "conv2", "dense1"):
        assert same(copy.get_layer(name).get_weights(), model.get_layer(name).get_weights())
    assert fingerprint(model) == before


def test_remove_a_middle_dense_and_keep_the_rest() -> None:
    model = convnet()
    copy = Editor(model).remove("dense2").model
    rest = pick(model, "conv1 conv2 pool flatten dense1 classes")
    assert same(copy(PICTURES), through(PICTURES, *rest))
    with pytest.raises(ShapeMismatch, match="dense2/kernel"):
        Editor(model).remove("dense1")


def test_insert_dropout_or_batch_normalization_after_several_layers_at_once() -> None:
    model = convnet()
    ed = Editor(model)
    ed.insert(layers.BatchNormalization(epsilon=0.0), after="conv?", expect=2)
    ed.insert(layers.Dropout(0.5), after=["dense1", "dense2"])
    names = [layer.name for layer in ed.model.layers]
    assert names[:4] == ["conv1", "batch_normalization", "conv2", "batch_normalization_1"]
    assert names[6:10] == ["dense1", "dropout", "dense2", "dropout_1"]
    # Fresh, neither changes a prediction: mean 0, variance 1.
    assert same(predict(ed.model), predict(model))
    assert not same(ed.model(PICTURES, training=True), model(PICTURES, training=True))


def test_put_a_convolution_before_a_flatten() -> None:
    model = convnet()
    ed = Editor(model)
    plan = ed.preview.insert(layers.Conv2D(9, 3, padding="same"), before="flatten")
    assert not plan.ok and "dense1/kernel" in plan.errors[0]
    ed.insert(layers.Conv2D(6, 3, padding="same", name="conv3"), before="flatten")
    front, back = pick(model, "conv1 conv2 pool"), pick(model, "flatten dense1 dense2 classes")
    new = ed.model.get_layer("conv3")
    assert same(ed.model(PICTURES), through(PICTURES, *front, new, *back))


def test_replace_max_pooling_by_average_pooling() -> None:
    model = convnet()
    copy = Editor(model).replace(layers.MaxPooling2D, layers.AveragePooling2D(2), expect=1).model
    front, back = pick(model, "conv1 conv2"), pick(model, "flatten dense1 dense2 classes")
    assert same(copy(PICTURES), through(PICTURES, *front, layers.AveragePooling2D(2), *back))


def test_replace_a_convolution_by_one_with_the_same_filters_and_kernel() -> None:
    model = convnet()
    wanted = layers.Conv2D(6, 3, padding="same", dilation_rate=2, name="conv2")
    copy = Editor(model).replace("conv2", wanted).model
    by_hand = layers.Conv2D(6, 3, padding="same", dilation_rate=2)
    by_hand.build((None, 8, 8, 6))
    by_hand.set_weights(model.get_layer("conv2").get_weights())
    back = pick(model, "pool flatten dense1 dense2 classes")
    assert same(copy(PICTURES), through(PICTURES, *pick(model, "conv1"), by_hand, *back))


def test_swap_an_activation_and_add_l2_in_every_layer() -> None:
    model = convnet()
    ed = Editor(model)
    ed.configure(lambda view: view.config.get("activation") == "relu", activation="gelu")
    ed.configure("**", kernel_regularizer=keras.regularizers.L2(0.01))
    x = PICTURES
    for layer in model.layers:
        if getattr(layer, "activation", None) is keras.activations.relu:
            linear = type(layer).from_config({**layer.get_config(), "activation": "gelu"})
            linear.build(x.shape)
            linear.set_weights(layer.get_weights())
            layer = linear
        x = through(x, layer)
    assert same(ed.model(PICTURES), x)
    penalty = sum(0.01 * np.sum(np.square(w)) for w in model.get_weights() if w.ndim > 1)
    assert len(ed.model.losses) == 5
    assert float(sum(ed.model.losses)) == pytest.approx(penalty, rel=1e-5)


def test_change_the_input_size_of_a_trained_convolutional_model() -> None:
    model = convnet()
    ed = Editor(model)
    with pytest.raises(ShapeMismatch, match="dense1/kernel"):
        ed.set_input((16, 16, 3))
    ed.replace("flatten", layers.GlobalAveragePooling2D(), on_mismatch="reinit")
    ed.set_input((None, None, 3))
    copy = ed.model
    large = RNG.normal(size=(2, 17, 23, 3)).astype("float32")
    assert same(copy(large), through(large, *copy.layers))
    for name in ("conv1", "conv2", "dense2", "classes"):
        assert same(copy.get_layer(name).get_weights(), model.get_layer(name).get_weights())


def test_put_preprocessing_before_the_model() -> None:
    model = convnet()
    copy = Editor(model).insert(layers.Rescaling(1 / 4, name="scale"), after=0).model
    assert same(predict(copy, PICTURES * 4), predict(model))  # powers of two are exact


def test_replace_a_block_of_dense_layers_by_a_small_convolutional_block() -> None:
    def block(tensor: Any) -> Any:
        tensor = layers.Conv2D(8, 3, activation="relu", name="conv3")(tensor)
        return layers.GlobalMaxPooling2D(name="strongest")(tensor)

    model = convnet()
    ed = Editor(model).replace_between("flatten", "dense2", block, on_mismatch="reinit")
    copy = ed.model
    front = pick(model, "conv1 conv2 pool")
    back = pick(copy, "conv3 strongest classes")
    assert same(copy(PICTURES), through(PICTURES, *front, *back))


def test_replace_one_layer_by_two_branches_and_a_merge() -> None:
    def branches(tensor: Any) -> Any:
        near = layers.Conv2D(3, 1, padding="same", name="near")(tensor)
        far = layers.Conv2D(3, 5, padding="same", name="far")(tensor)
        return layers.Concatenate(name="both")([near, far])

    model = convnet()
    copy = Editor(model).replace("conv2", branches).model
    h = through(PICTURES, *pick(model, "conv1"))
    h = ops.concatenate([copy.get_layer(name)(h) for name in ("near", "far")], axis=-1)
    back = pick(model, "pool flatten dense1 dense2 classes")
    assert same(copy(PICTURES), through(h, *back))


def test_scale_one_layers_weights_also_during_a_training_loop() -> None:
    model = convnet()
    ed = Editor(model)
    copy = ed.model
    ed.scale_weights("classes", 0.5)
    assert ed.model is copy
    kernel, bias = model.get_layer("classes").get_weights()
    assert same(copy.get_layer("classes").get_weights(), [kernel * 0.5, bias * 0.5])
    ed.undo()

    # A loop of one's own: what is scaled between two steps is what the next step starts from.
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    targets = np.array([0, 1, 2])

    def step(student: keras.Model) -> None:
        with tf.GradientTape() as tape:
            out = student(PICTURES, training=True)
            loss = keras.losses.sparse_categorical_crossentropy(targets, out)
        slopes = tape.gradient(loss, student.trainable_variables)
        for variable, slope in zip(student.trainable_variables, slopes, strict=True):
            variable.assign_sub(0.1 * slope)

    for number in range(3):
        step(copy)
        step(twin)
        if number == 1:
            ed.scale_weights("dense2", 0.5, weight="kernel")
            inner = twin.get_layer("dense2").kernel
            inner.assign(inner * 0.5)
    assert same(copy.get_weights(), twin.get_weights())


def test_load_an_h5_change_weights_by_layer_name_save_it(tmp_path: Path) -> None:
    model = convnet()
    path = tmp_path / "pictures.h5"
    model.save(path)
    bias = np.arange(4, dtype="float32")
    Editor(path, compile=False).set_weights("classes", {"bias": bias}).save(path)
    loaded = keras.saving.load_model(path, compile=False)
    wanted = [*model.get_weights()[:-1], bias]
    assert same(loaded.get_weights(), wanted)
    model.set_weights(wanted)
    assert same(predict(loaded), predict(model))


def test_freeze_everything_but_the_last_block_of_vgg16() -> None:
    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    ed = Editor(vgg).append([layers.Flatten(), layers.Dense(3, name="classes")])
    ed.freeze("**").unfreeze("block5_*", "classes")
    model = ed.model
    model.compile("sgd", "mse")
    before = {layer.name: layer.get_weights() for layer in model.layers}
    x = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    model.fit(x, np.ones((2, 3)), verbose=0)
    moved = {
        layer.name for layer in model.layers if not same(layer.get_weights(), before[layer.name])
    }
    assert moved == {"block5_conv1", "block5_conv2", "block5_conv3", "classes"}
    assert all(layer.trainable for layer in vgg.layers)


def test_remove_layers_from_efficientnet_from_the_top_down() -> None:
    source = keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=5)
    ed = Editor(source)
    x = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    params = [source.count_params()]
    for last in ("top_activation", "block7a_project_bn", "block5c_add", "block3b_add"):
        ed.trim(last)
        params.append(ed.model.count_params())
        part = keras.Model(source.input, source.get_layer(last).output)
        assert same(predict(ed.model, x), predict(part, x))
    assert params == sorted(params, reverse=True)
    ed.undo(4)
    assert same(predict(ed.model, x), predict(source, x))


def test_add_output_classes_without_losing_the_old_ones() -> None:
    model = convnet()
    ed = Editor(model).configure("classes", activation="linear")
    old = predict(ed.model)
    plan = ed.preview.configure("classes", units=6, on_mismatch="slice")
    assert plan.sliced == ("classes/kernel", "classes/bias")
    ed.configure("classes", units=6, on_mismatch="slice")
    kernel, bias = ed.model.get_layer("classes").get_weights()
    assert same(kernel[:, :4], model.get_layer("classes").get_weights()[0])
    assert same(bias[:4], model.get_layer("classes").get_weights()[1])
    np.testing.assert_allclose(predict(ed.model)[:, :4], old, rtol=1e-5, atol=1e-6)
    ed.model.fit(PICTURES, np.array([0, 4, 5]), verbose=0)  # still compiled
    ed.undo().grow_outputs(2, seed=1)
    assert same(ed.model.get_layer("classes").get_weights()[0][:, :4], kernel[:, :4])
    np.testing.assert_allclose(predict(ed.model)[:, :4], old, rtol=1e-5, atol=1e-6)
    ed.model.fit(PICTURES, np.array([0, 4, 5]), verbose=0)


def test_join_two_models_whose_layer_names_collide() -> None:
    first = convnet()
    stack = [keras.Input((4,)), layers.Dense(3, name="dense1"), layers.Dense(2, name="dense2")]
    second = scramble(keras.Sequential(stack, name="after"))
    ed = Editor(first).append(second)
    wanted = through(PICTURES, *first.layers, *second.layers)
    assert same(ed.model(PICTURES), wanted)
    ed.inline("after")
    assert [v.path for v in ed.layers][-2:] == ["after_dense1", "after_dense2"]
    assert same(ed.model(PICTURES), wanted)
    assert isinstance(ed.model, keras.Sequential)


def test_take_the_middle_of_a_model_out_as_its_own(tmp_path: Path) -> None:
    model = convnet()
    ed = Editor(model).extract("conv2", "dense1")
    middle = pick(model, "conv2 pool flatten dense1")
    maps = through(PICTURES, *pick(model, "conv1"))
    assert ed.model.input_shape == (None, 8, 8, 6)
    assert same(ed.model(maps), through(maps, *middle))
    ed.save(tmp_path / "middle.keras")
    loaded = keras.saving.load_model(tmp_path / "middle.keras")
    assert same(predict(loaded, maps), predict(ed.model, maps))
    with pytest.raises(kerasedit.StructureError, match="No way leads"):
        Editor(model).extract("dense1", "conv2")
