"""Verifying: what it finds, what it does not disturb, and what it cannot look at."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasedit
from kerasedit import EditError, Editor, NameTaken, Verification
from kerasedit.running import Side, run
from tests import models
from tests.models import Scale, data, fingerprint, out, same, scramble, state_of, whole

OBJECTS = {cls.__name__: cls for cls in (models.Subclassed, models.OwnStep, models.OwnSequential)}


def editor(model: keras.Model) -> Editor:
    return Editor(model, custom_objects=OBJECTS)


def names_and_batches() -> list[Any]:
    return [pytest.param(make, batch, id=name) for name, (make, batch) in models.ZOO.items()]


# -- nothing to be found -------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "batch"), names_and_batches())
def test_an_untouched_copy_is_sound(make: Callable, batch: Callable) -> None:
    ed = editor(make())
    for inputs in (None, batch()):
        found = ed.verify(inputs)
        assert found and found.ok is True
        assert found.outputs and all(check.identical for check in found.outputs.values())
        assert {check.difference for check in found.outputs.values()} == {0.0}
        assert (found.first_difference, found.nans, found.not_comparable) == (None, None, "")
        assert found.file.ok and found.file.weights and found.file.identical
    assert found.samples == len(
        batch() if isinstance(batch(), np.ndarray) else models.flat(batch())[0]
    )


@pytest.mark.parametrize(("make", "batch"), names_and_batches())
def test_running_layer_by_layer_is_calling_the_model(make: Callable, batch: Callable) -> None:
    model, x = make(), batch()
    found = run(Side.of(model), [keras.tree.map_structure(ops.convert_to_tensor, x)])
    assert same(found.outputs[0], out(model, x))


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("name", ["chain", "nested", "seq2seq", "subclassed"])
def test_verifying_disturbs_nothing(name: str, built: bool) -> None:
    model = models.ZOO[name][0]()
    if name != "subclassed":
        model.compile("adam", "mse")
    ed = editor(model)
    if built:
        fingerprint(ed.model)
    before, state = fingerprint(model), state_of(ed)
    _ = ed.model
    copy = fingerprint(ed.model)
    keras.random.normal((1,))  # makes Keras's own generator
    global_state = keras.src.backend.common.global_state  # pyright: ignore
    generator = global_state.get_global_attribute("global_seed_generator")
    drawn = random.getstate(), np.random.get_state()[1].tobytes(), out_of(generator.state)  # pyright: ignore
    assert ed.verify()
    assert ed.verify(models.ZOO[name][1]())
    assert (random.getstate(), np.random.get_state()[1].tobytes(), out_of(generator.state)) == drawn  # pyright: ignore
    assert fingerprint(model) == before and fingerprint(ed.model) == copy
    assert state_of(ed) == state


def out_of(variable: Any) -> bytes:
    return ops.convert_to_numpy(variable).tobytes()


# -- where outputs first differ ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["dicts", "two_ways", "shared", "nested", "raw_ops", "attention", "masked", "seq2seq", "cnn"],
)
def test_the_first_layer_that_differs_is_the_one_that_was_changed(name: str) -> None:
    ed = editor(models.ZOO[name][0]())
    changed = 0
    for view in ed.layers:
        if view.kind != "layer" or not view.weights:
            continue
        old = view.layer.get_weights()
        view.layer.set_weights([w + np.asarray(0.5, w.dtype) for w in old])
        found = ed.verify()
        view.layer.set_weights(old)
        assert found.first_difference == view.path == found.differences[0]
        assert f"first layer to put out something else is '{view.path}'" in str(found)
        assert found.ok  # what training or an edit changed is no fault
        changed += 1
    assert changed
    assert ed.verify().first_difference is None


def test_a_shared_layer_of_which_a_call_went() -> None:
    """The calls that are left are told apart from the one that is gone."""
    ed = Editor(models.shared()).remove("tower", call=2)
    assert ed.verify().differences == ("cat",)
    ed = Editor(models.shared()).remove("tower", call=0)
    # The third call gets another input; the second is as it was.
    found = ed.verify()
    assert found.differences == ("tower", "cat")
    assert not found.outputs["cat"].identical


def test_inside_a_nested_model_that_is_shared() -> None:
    y = keras.Input((4,), name="y")
    inner = keras.Model(y, layers.Dense(4, "tanh", name="d")(y), name="inner")
    x = keras.Input((4,), name="x")
    h = inner(layers.Dense(4, name="a")(inner(x)))
    model = scramble(keras.Model(x, h, name="twice"))
    ed = Editor(model).insert(layers.Rescaling(2.0), after="a")
    assert ed.verify().differences == ("inner/d",)  # its second call
    assert Editor(model).insert(layers.Rescaling(2.0), after="inner/d").verify().differences == (
        "a",
        "inner/d",
    )


def test_layers_that_moved_into_or_out_of_a_nested_model_stay_known() -> None:
    ed = Editor(models.nested()).inline("backbone").verify()
    assert ed.first_difference is None and ed.outputs["head"].identical
    ed = Editor(models.fork()).nest("b", "b", "box")
    ed.model.get_layer("box").get_layer("b").bias.assign_add(np.ones(5))
    assert ed.verify().differences == ("box/b", "add", "top")


def test_an_inserted_layer_and_what_follows() -> None:
    found = Editor(models.fork()).insert(layers.Rescaling(3.0), after="b").verify()
    assert found and found.differences == ("add", "top")
    check = found.outputs["top"]
    assert check.comparable and not check.identical and check.difference
    assert check.before == check.after == (3, 2)
    last = Editor(models.fork()).insert(layers.Rescaling(3.0), after="top").verify()
    assert last.first_difference is None and not last.outputs["top"].identical
    assert "no layer that the edits left as it was puts out something else" in str(last)


def test_the_difference_of_an_output() -> None:
    model, x = models.fork(), data(5, 4)
    ed = Editor(model).insert(layers.Rescaling(3.0), after="top")
    expected = np.abs(out(ed.model, x)[0].astype("float64") - out(model, x)[0]).max()
    assert ed.verify(x).outputs["top"].difference == expected


# -- outputs that cannot be compared -------------------------------------------------------------


def test_outputs_of_other_shapes_names_and_numbers() -> None:
    found = Editor(models.fork()).trim("add").verify()
    assert found and not found.outputs["top"].comparable
    assert (found.outputs["top"].before, found.outputs["top"].after) == ((3, 2), (3, 5))
    assert "output 'top' has shape (3, 5) and had (3, 2)" in str(found)
    found = Editor(models.fork()).rename("top", "last").verify()
    assert list(found.outputs) == ["last"] and found.outputs["last"].identical
    found = Editor(models.fork()).add_output("add", name="more").verify()
    assert found.outputs["top"].identical and found.outputs["more"].before is None
    assert "output 'more' is new" in str(found)
    found = Editor(models.dicts()).remove_output("low").verify()
    assert found.outputs["more/high"].identical and found.outputs["low"].after is None
    assert "output 'low' is gone" in str(found)


def test_an_input_of_another_shape() -> None:
    x = keras.Input((8, 8, 3), name="x")
    h = layers.Conv2D(4, 3, name="conv")(x)
    model = scramble(keras.Model(x, layers.GlobalMaxPooling2D(name="gap")(h)))
    ed = Editor(model).set_input((16, 16, 3))
    found = ed.verify()
    assert found and found.file.identical
    assert found.not_comparable and "(None, 8, 8, 3)" in found.not_comparable
    assert "not compared with the source: the source does not take this batch" in str(found)
    assert found.outputs["gap"].before is None and not found.differences
    # What the source takes is no help for the copy, which gets a batch of its own.
    found = ed.verify(data(5, 8, 8, 3))
    assert found and found.samples == 3
    assert "the source takes these inputs and the copy does not" in found.not_comparable
    assert ed.verify(data(5, 16, 16, 3)).samples == 5
    with pytest.raises(EditError, match="does not take these inputs"):
        ed.verify(data(5, 4, 4, 3))
    # Open to all sizes, it can be given what the source takes.
    found = Editor(model).set_input((None, None, 3)).verify()
    assert found.outputs["gap"].identical and found.outputs["gap"].comparable


def test_an_input_that_is_gone() -> None:
    ed = Editor(models.two_ways()).trim("l1")
    left, right = data(40, 3), data(40, 4)
    for inputs in ([left, right], {"left": left, "right": right}, left, {"left": left}, None):
        found = ed.verify(inputs)
        assert found and not found.not_comparable and not found.differences
        assert found.samples == (3 if inputs is None else 40)


def test_the_model_itself_has_no_source() -> None:
    found = Editor(models.chain(), in_place=True).freeze("a").verify()
    assert found and "in_place=True" in found.not_comparable
    assert found.outputs["c"].before is None and found.file.identical


# -- NaN -----------------------------------------------------------------------------------------


def test_where_nan_first_appears() -> None:
    ed = Editor(models.nested())
    ed.model.get_layer("backbone").get_layer("bn").gamma.assign(np.full(5, np.nan))
    found = ed.verify()
    assert not found and not found.ok and found.file.ok
    assert found.nans == "backbone/bn" == found.first_difference
    assert found.outputs["head"].nans and found.outputs["head"].difference == np.inf
    assert str(found).startswith("The copy is not sound.")
    assert "first layer to put out NaN or Inf is 'backbone/bn'" in str(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_the_source_does_too_is_no_fault(value: float) -> None:
    model = models.chain()
    model.get_layer("c").bias.assign([value, 0.0])
    found = Editor(model).verify()
    assert found and found.nans == "c" and not found.outputs["c"].nans
    assert found.outputs["c"].identical and found.outputs["c"].difference == 0.0


# -- the file ------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tests")
class Forgets(layers.Layer):
    """Saves another factor than it has."""

    def __init__(self, by: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def call(self, x: Any) -> Any:
        return x * self.by

    def get_config(self) -> dict[str, Any]:
        saving = self.by == 3.0
        return {**super().get_config(), "by": 1.0 if saving else self.by}


def test_a_file_that_gives_back_another_model(tmp_path: Path) -> None:
    ed = Editor(models.chain()).append(Forgets(2.0, name="by"))
    assert ed.verify()
    ed.model.get_layer("by").by = 3.0
    found = ed.verify()
    assert not found and found.file.weights and found.file.identical is False
    assert found.file.difference and "outputs that differ by up to" in str(found)
    # Comparing weights alone does not see it.
    ed.save(tmp_path / "m.keras")
    before = (tmp_path / "m.keras").read_bytes()
    state, copy = state_of(ed), ed.model
    with pytest.raises(EditError, match="not sound"):
        ed.save(tmp_path / "m.keras", verify=True)
    with pytest.raises(EditError, match="not sound"):
        ed.save(tmp_path / "new.h5", verify=data(3, 4))
    space: dict[str, Any] = {}
    with pytest.raises(EditError, match="not sound"):
        ed.hand_back("m", space, verify=True)
    assert (tmp_path / "m.keras").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.keras"]
    assert space == {} and state_of(ed) == state and ed.model is copy


@keras.saving.register_keras_serializable("tests")
class Unread(Scale):
    """Reads no weights."""

    def load_own_variables(self, store: Any) -> None:
        pass


@keras.saving.register_keras_serializable("tests")
class Fails(layers.Layer):
    """Runs where it was made, and not where it was loaded."""

    def __init__(self, made: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.made = made

    def call(self, x: Any) -> Any:
        if not self.made and not isinstance(x, keras.KerasTensor):
            raise ValueError("not here")
        return x

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "made": False}


def test_a_file_that_loses_weights_or_does_not_run() -> None:
    ed = Editor(models.fork()).insert(Unread(3.0, name="unread"), after="b")
    ed.model.get_layer("unread").factor.assign(np.full(5, 4.0))
    found = ed.verify()
    assert not found and found.file.weights is False and found.file.difference
    assert "has other weights (those of 'unread')" in str(found)
    layer = Fails(name="fails")
    x = keras.Input((4,), name="x")
    ed = Editor(keras.Model(x, layer(x)))
    ed.model.get_layer("fails").made = True
    found = ed.verify()
    assert not found and found.file.identical is None and found.outputs["fails"].after == (3, 4)
    assert "what was loaded does not run. not here" in str(found).replace("Exception: ", "")


def test_outputs_that_are_single_numbers() -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, [ops.mean(layers.Dense(3, name="d")(x)), ops.max(x) > 0.5])
    ed = Editor(model).insert(layers.Rescaling(2.0, name="by"), after="d")
    first, second = ed.verify().outputs.values()
    assert first.before == () and first.difference and second.identical


def test_a_copy_that_cannot_be_saved_is_told_not_raised() -> None:
    class Local(Scale):
        pass

    x = keras.Input((4,))
    model = keras.Model(x, Local(name="s")(x))
    found = Editor(model).verify()
    assert not found and found.file.weights is None and found.outputs["s"].identical
    assert "custom_objects=" in found.file.reason and os.sep not in found.file.reason
    assert Editor(model, custom_objects={"Local": Local}).verify()


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_sound_copy_is_saved_and_handed_back(tmp_path: Path, name: str) -> None:
    ed = Editor(models.fork()).insert(layers.Dense(5, name="new"), after="b")
    for verify in (True, data(2, 4), {"x": data(2, 4)}):
        assert ed.save(tmp_path / name, verify=verify) is ed
        space: dict[str, Any] = {}
        assert ed.hand_back("m", space, verify=verify) is ed.model is space["m"]
    loaded = keras.saving.load_model(tmp_path / name)
    assert same(out(loaded, data(3, 4)), out(ed.model, data(3, 4)))
    assert os.listdir(tmp_path) == [name]


def test_a_bad_name_is_refused_before_anything_is_run() -> None:
    ed = Editor(models.chain())
    with pytest.raises(NameTaken):
        ed.hand_back("m", {"m": 3}, verify=True)
    assert not ed._copy.built


def test_inputs_that_do_not_fit_save_nothing(tmp_path: Path) -> None:
    with pytest.raises(EditError, match="does not take these inputs"):
        Editor(models.chain()).save(tmp_path / "m.keras", verify=data(2, 5))
    assert os.listdir(tmp_path) == []


# -- states, seeds and modes ---------------------------------------------------------------------


def test_states_of_recurrent_layers_are_neither_used_nor_changed() -> None:
    x = keras.Input(batch_shape=(2, 3, 4), name="x")
    h = layers.GRU(3, stateful=True, return_sequences=True, name="gru")(x)
    h = layers.Bidirectional(layers.LSTM(2, stateful=True), name="both")(h)
    model = scramble(keras.Model(x, layers.Dense(2, name="top")(h)))
    ed = Editor(model).freeze("gru")
    gru = [m.get_layer("gru").states for m in (model, ed.model)]
    both = [m.get_layer("both").forward_layer.states for m in (model, ed.model)]
    states = models.flat([gru, both])
    for number, state in enumerate(states):  # as after other batches
        state.assign(np.full(state.shape, number + 0.5))
    before = [out_of(state) for state in states]
    found = ed.verify()
    assert found and found.samples == 2 and found.outputs["top"].identical
    assert ed.verify(data(6, 3, 4)).samples == 6  # in three batches
    assert [out_of(state) for state in states] == before


@keras.saving.register_keras_serializable("tests")
class Noisy(layers.Layer):
    """Trains by default, and holds a layer that is told so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)
        self.drop = layers.Dropout(0.5)

    def call(self, x: Any, training: bool = True) -> Any:
        noise = keras.random.normal(ops.shape(x), seed=self.seeds) if training else 0.0
        return self.drop(x) + noise


def test_everything_runs_in_inference() -> None:
    x = keras.Input((4,), name="x")
    h = layers.Dropout(0.5, name="mc")(layers.Dense(4, name="a")(x), training=True)
    h = layers.BatchNormalization(name="norm")(Noisy(name="noisy")(h))
    model = scramble(keras.Model(x, h))
    found = Editor(model).verify()
    assert found and found.first_difference is None and found.outputs["norm"].identical
    # Noise that is made in inference too is drawn from the same seeds.
    seeds = keras.random.SeedGenerator(5)
    noise = layers.Lambda(
        lambda t: t + keras.random.normal((3, 4), seed=seeds), output_shape=(4,), name="noise"
    )
    state = out_of(seeds.state)
    found = Editor(keras.Model(x, noise(x))).verify()
    assert out_of(seeds.state) == state and found.outputs["noise"].identical


def test_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = models.nested()
    keras.config.set_dtype_policy("float32")
    ed = Editor(model).insert(layers.ReLU(), after="head")
    found = ed.verify()
    assert found and found.file.identical
    x = data(3, 4)
    assert same(run(Side.of(model), [x]).outputs[0], out(model, x))
    ed.model.get_layer("backbone").get_layer("conv2").kernel.assign(np.full((5, 5), np.nan))
    assert not ed.verify() and ed.verify().nans == "backbone/conv2"


# -- batches -------------------------------------------------------------------------------------


def embedding(*before: Any, dtype: str = "int32") -> keras.Model:
    x = keras.Input((6,), dtype=dtype, name="tokens")
    h = x
    for layer in before:
        h = layer(h)
    h = layers.Embedding(3, 4, mask_zero=True, name="e")(h)
    return scramble(keras.Model(x, layers.GlobalAveragePooling1D(name="mean")(h)))


def in_a_model() -> keras.Model:
    y = keras.Input((6,), dtype="int32")
    return keras.Model(y, layers.Reshape((6,))(y), name="pass")


@pytest.mark.parametrize(
    "make",
    [
        embedding,
        lambda: embedding(dtype="float32"),
        lambda: embedding(dtype="int64"),
        lambda: embedding(layers.Reshape((3, 2)), layers.Flatten()),
        lambda: embedding(in_a_model()),
        lambda: embedding(lambda t: ops.maximum(t, 0) + 0),
        lambda: keras.Sequential([keras.Input((6,)), embedding()]),
        lambda: keras.Sequential([keras.Input((6,)), layers.CategoryEncoding(2)]),
        lambda: keras.Sequential(
            [keras.Input((5, 6)), layers.TimeDistributed(layers.Embedding(3, 2))]
        ),
    ],
    ids=["int", "float", "long", "reshaped", "model", "ops", "nested", "category", "distributed"],
)
def test_whole_numbers_are_small_enough_for_the_tables(make: Callable) -> None:
    assert Editor(make()).verify()


def test_a_table_in_either_model_limits_what_is_drawn() -> None:
    x = keras.Input((6,), dtype="uint8", name="x")
    model = keras.Model(x, layers.Flatten(name="f")(ops.cast(x, "float32")))
    ed = Editor(model).replace("f", layers.Embedding(2, 3, name="f"))
    assert ed.verify()
    assert Editor(ed.model).replace("f", layers.Flatten(name="f")).verify().not_comparable == ""


def test_open_sizes_are_found() -> None:
    x = keras.Input((None, None, 3), name="x")
    h = x
    for _ in range(4):
        h = layers.MaxPooling2D(2)(layers.Conv2D(2, 3)(h))
    model = scramble(keras.Model(x, layers.Flatten()(layers.GlobalMaxPooling2D()(h))))
    seen: list[Any] = []
    watched = layers.Lambda(lambda t: (seen.append(t.shape), t)[1], name="watch")
    found = Editor(model).insert(watched, before=1).verify()
    # With 8 or 32 nothing would be left to pool over.
    assert found.nans is None and (3, 64, 64, 3) in {tuple(shape) for shape in seen}
    with pytest.raises(EditError, match=r"No batch could be made .* inputs="):
        Editor(model).insert(layers.Cropping2D(110), before=1).verify()
    tokens = keras.Input((None, 2), name="tokens")
    rest = layers.Lambda(lambda t: t[:, 20:], output_shape=(None, 2), name="rest")(tokens)
    ed = Editor(keras.Model(tokens, layers.GlobalAveragePooling1D(name="mean")(rest)))
    assert ed.verify().nans is None  # of 8 nothing would be left; the mean of nothing is NaN
    ed.replace("rest", layers.Lambda(lambda t: t[:, 500:], output_shape=(None, 2), name="rest"))
    with pytest.raises(EditError, match="'rest' puts out nothing is left"):
        ed.verify()


def test_what_is_drawn_for_other_kinds_of_inputs() -> None:
    a = keras.Input((4,), dtype="bool", name="a")
    b = keras.Input((4,), dtype="uint8", name="b")
    c = keras.Input((4,), dtype="float16", name="c", optional=True)
    d = keras.Input((4,), sparse=True, name="d")
    h = layers.Dense(4, name="dense")(d)
    model = keras.Model([a, b, c, d], ops.where(a, ops.cast(b, "float32"), c + h))
    ed = Editor(model)
    assert ed.verify()
    given = [np.ones((2, 4), bool), np.ones((2, 4)), np.ones((2, 4)), np.ones((2, 4))]
    assert ed.verify(given).samples == 2


@pytest.mark.tensorflow
def test_texts_have_to_be_given() -> None:
    words = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot", name="look")
    x = keras.Input((1,), dtype="string", name="text")
    model = scramble(keras.Model(x, layers.Dense(2, name="d")(words(x))))
    ed = Editor(model).append(layers.ReLU())
    with pytest.raises(EditError, match=r"'text' takes texts.*inputs="):
        ed.verify()
    found = ed.verify(np.array([["a"], ["z"]]))
    assert found and found.samples == 2
    assert ed.verify(ops.convert_to_tensor([["a"], ["z"]]))
    # Texts that come out are compared, too.
    out_texts = keras.Model(x, layers.Lambda(lambda t: t, name="same", output_shape=(1,))(x))
    found = Editor(out_texts).verify(np.array([["a"], ["é"]]))
    assert found.outputs["same"].identical


def test_many_samples_go_in_batches() -> None:
    x = keras.Input((1,), name="x")
    model = keras.Model(x, layers.Dense(1, name="top", kernel_initializer="ones")(x))
    ed = Editor(model).append(layers.ReLU(name="relu"))
    batch = np.ones((70, 1), "float32")
    batch[69] = -4.0  # only the last of the three batches tells
    found = ed.verify(batch)
    assert found.samples == 70 and found.outputs["top"].difference == 4.0
    assert ed.verify(batch[:69]).outputs["top"].identical


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ([], "what the model takes: 'left' .None, 3., 'right' .None, 4."),
        ([data(2, 3)], "what the model takes"),
        ([data(2, 3)] * 3, "what the model takes"),
        ({"left": data(2, 3)}, "what the model takes"),
        ([data(2, 3), data(3, 4)], "same number of samples"),
        ([data(0, 3), data(0, 4)], "same number of samples"),
        ([data(2, 4), data(2, 3)], "does not take these inputs"),
    ],
)
def test_inputs_that_cannot_be_used(inputs: Any, match: str) -> None:
    ed = Editor(models.two_ways())
    with pytest.raises(EditError, match=match):
        ed.verify(inputs)


@pytest.mark.parametrize("inputs", [3.0, "text", object(), [1.0], np.float32(2)])
def test_inputs_that_are_no_arrays(inputs: Any) -> None:
    with pytest.raises(EditError, match="takes an array, or a list or dict of arrays"):
        Editor(models.chain()).verify(inputs)
    with pytest.raises(EditError, match="takes an array, or a list or dict of arrays"):
        editor(models.subclassed()).verify(inputs)


# -- models whose call is Python code ------------------------------------------------------------


class Talks(keras.Model):
    """Looks up a small table, and puts out a dictionary."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.table = layers.Embedding(4, 3)
        self.top = layers.Dense(2)

    def build(self, shapes: Any) -> None:
        self.table.build(shapes["a"])
        self.top.build((None, 3))

    def call(self, inputs: Any) -> Any:
        return {"mean": self.top(ops.mean(self.table(inputs["a"]) + self.table(inputs["b"]), 1))}


def test_of_a_subclassed_model_only_outputs_are_known() -> None:
    model = Talks(name="talks")
    model({"a": whole(4, 2, 5), "b": whole(4, 2, 5)})
    ed = Editor(model, custom_objects={"Talks": Talks})
    found = ed.verify()
    assert found and found.samples == 3 and found.first_difference is None
    ed.model.table.set_weights([np.full((4, 3), np.nan)])  # pyright: ignore
    found = ed.verify({"a": whole(4, 7, 5), "b": whole(4, 7, 5)})
    assert not found and found.samples == 7
    assert (found.first_difference, found.nans) == (None, None)
    assert [check.nans for check in found.outputs.values()] == [True]


@keras.saving.register_keras_serializable("tests")
class Doubles(keras.Model):
    """Functional, with a `call` of its own around the graph."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return 2 * super().call(inputs, training=training, mask=mask)  # pyright: ignore


def test_a_call_around_the_graph_is_respected() -> None:
    y = keras.Input((4,), name="y")
    inner = Doubles(y, layers.Dense(4, name="d")(y), name="inner")
    x = keras.Input((4,), name="x")
    model = scramble(keras.Model(x, layers.Dense(2, name="top")(inner(x))))
    batch = data(3, 4)
    for one in (model, inner):
        assert same(run(Side.of(one), [batch]).outputs[0], out(one, batch))
    found = run(Side.of(model), [batch])
    assert [seen.path for seen in found.seen.values()] == ["inner", "top"]


# -- the result ----------------------------------------------------------------------------------


def test_the_result_as_text_and_data() -> None:
    assert kerasedit.Verification is Verification
    found = Editor(models.fork()).insert(layers.Rescaling(3.0), after="b").verify()
    assert str(found).splitlines() == [
        "The copy is sound.",
        "  saved and loaded, it has the same weights and the same outputs to the bit",
        f"  output 'top' differs by up to {found.outputs['top'].difference:.3g}",
        "  the first layer to put out something else is 'add', then 'top'",
        "  found with 3 samples",
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.samples = 4  # pyright: ignore
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["ok"] is True and plain["first_difference"] == "add"
    assert plain["differences"] == ["add", "top"] and plain["file"]["identical"] is True
    assert plain["outputs"]["top"]["before"] == [3, 2]
    shown: list[str] = []
    found._repr_pretty_(type("Printer", (), {"text": lambda _, text: shown.append(text)})(), False)
    assert shown == [str(found)]
    ed = Editor(models.fork())
    ed.model.get_layer("a").bias.assign(np.full(5, np.nan))
    data_ = ed.verify().to_json()
    assert json.loads(json.dumps(data_, allow_nan=False))["outputs"]["top"]["difference"] == "inf"
    assert len(ed.verify().differences) == 5 and str(ed.verify()).count("'") < 20


def test_a_long_list_of_differences_is_cut_in_the_text() -> None:
    ed = Editor(models.cnn())
    ed.model.get_layer("block1_conv").bias.assign_add(np.ones(4))
    found = ed.verify()
    assert len(found.differences) == 15
    assert "'block1_conv', then 'block1_bn'" in str(found) and " and 10 more" in str(found)


def test_what_layers_put_out_is_let_go() -> None:
    alive: list[Any] = []
    most = 0

    def watch(tensor: Any) -> Any:
        nonlocal most
        made = tensor * 1.0
        alive.append(weakref.ref(made))
        most = max(most, sum(ref() is not None for ref in alive))
        return made

    x = h = keras.Input((4,))
    for number in range(30):
        h = layers.Lambda(watch, name=f"l{number}")(h)
    model = keras.Model(x, h)
    alive.clear()
    most = 0
    model(data(2, 4))
    assert most == 30  # so does Keras
    alive.clear()
    most = 0
    run(Side.of(model), [data(2, 4)])
    assert len(alive) == 30 and most <= 3
