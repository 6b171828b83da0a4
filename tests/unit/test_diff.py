"""What differs between two models: found, told in words, and nothing else told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers, ops

import kerasedit
from kerasedit import Diff, EditError, Editor, StructureError, diff
from kerasedit.differences.distance import distance
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import ZOO, data, fingerprint, scramble
from tests.pages import check_page

OBJECTS = {cls.__name__: cls for cls in (models.Subclassed, models.OwnStep, models.OwnSequential)}


def fresh(make: Callable[[], keras.Model]) -> keras.Model:
    """A model with the automatic names of a new session."""
    keras.utils.clear_session(free_memory=False)
    return make()


def saved(model: keras.Model, folder: Path, name: str = "model.keras") -> Path:
    path = folder / name
    model.save(path)
    return path


def lines(found: Any) -> list[str]:
    """A group of differences in words."""
    return [str(item) for item in found]


def paths(found: Any) -> list[str]:
    return [item.path for item in found]


class TestNothing:
    @pytest.mark.parametrize("name", ZOO)
    def test_a_model_and_itself(self, name: str, tmp_path: Path) -> None:
        model = ZOO[name][0]()
        before = fingerprint(model)
        ed = Editor(model)
        built = ed._copy.built  # an opaque model is copied at once
        for other in (model, ed, fresh(ZOO[name][0])):
            found = diff(model, other)
            assert str(found) == "No differences.", str(found)
            assert found.empty and not found
        assert not ed.diff()
        assert ed._copy.built == built  # nothing is built to find out
        assert fingerprint(model) == before
        assert not diff(model, ed.model)
        assert not diff(saved(model, tmp_path), model, custom_objects=OBJECTS, safe_mode=False)

    def test_two_files(self, tmp_path: Path) -> None:
        model = models.cnn()
        first, second = saved(model, tmp_path), saved(model, tmp_path, "other.h5")
        assert not diff(first, str(second))

    def test_after_undo(self) -> None:
        ed = Editor(models.fork())
        ed.remove("b", on_mismatch="reinit").rename("c", "other").freeze("top")
        ed.model.get_layer("top")
        assert ed.diff()
        ed.undo(3)
        assert not ed.diff()
        ed.redo(3)
        assert ed.diff()

    def test_what_is_undone_after_training_is_the_training(self) -> None:
        ed = Editor(models.fork())
        ed.insert(layers.Dropout(0.1, name="drop"), after="b")
        layer = ed.model.get_layer("top")
        layer.bias.assign(layer.bias + 1)
        ed.undo()
        found = ed.diff()
        assert paths(found.weights) == ["top/bias"]
        assert lines(found.weights) == lines(diff(ed.source, ed.model).weights)
        assert not (found.added or found.removed or found.rewired)


class TestLayers:
    def test_added_and_removed(self) -> None:
        ed = Editor(models.chain())
        ed.insert(layers.Dense(5, name="extra"), after="norm").remove("drop")
        found = ed.diff()
        assert lines(found.added) == ["+ extra  Dense, takes norm, 30 parameters"]
        assert lines(found.removed) == ["- drop  Dropout, took a"]
        assert found.added[0].params == 30
        assert not ed._copy.built
        # Only what takes another tensor is rewired, not all that follows.
        assert lines(found.rewired) == ["~ b  takes a; was drop", "~ c  takes extra; was norm"]
        assert (found.a.params, found.b.params) == (87, 117)
        assert not (found.replaced or found.renamed or found.weights or found.flags)

    def test_replaced_by_another_class_at_the_same_place(self) -> None:
        ed = Editor(models.cnn())
        ed.replace("pool", layers.AveragePooling2D(2, name="average"))
        found = ed.diff()
        assert lines(found.replaced) == ["~ pool  MaxPooling2D -> average (AveragePooling2D)"]
        assert not (found.added or found.removed or found.rewired or found.reconfigured)

    def test_replaced_beside_an_inserted_one(self) -> None:
        ed = Editor(models.cnn())
        ed.replace("pool", layers.AveragePooling2D(2, name="average"))
        ed.insert(layers.Dropout(0.5, name="drop"), after="average")
        for found in (ed.diff(), diff(ed.source, ed.model)):
            assert lines(found.replaced) == ["~ pool  MaxPooling2D -> average (AveragePooling2D)"]
            assert lines(found.added) == ["+ drop  Dropout, takes average"]
            assert lines(found.rewired) == ["~ gap  takes drop; was pool"]

    def test_replaced_under_the_same_name(self) -> None:
        ed = Editor(models.chain())
        ed.replace("b", layers.PReLU(name="b"))
        found = ed.diff()
        assert lines(found.replaced) == ["~ b  Dense -> PReLU"]
        assert found.replaced[0].before == found.replaced[0].path == "b"

    def test_replaced_by_the_same_class_with_other_arguments(self) -> None:
        ed = Editor(models.chain())
        ed.replace("b", layers.Dense(5, activation="gelu", name="new"))
        found = ed.diff()
        assert lines(found.replaced) == ["~ b  Dense -> new (Dense)"]
        assert lines(found.reconfigured) == ["~ new  activation: relu -> gelu"]
        assert not found.weights  # it took them over
        assert not found.rewired

    def test_renamed(self) -> None:
        ed = Editor(models.fork())
        ed.rename("a", "first").rename("top", "head")
        found = ed.diff()
        assert lines(found.renamed) == ["~ a  is now first", "~ top  is now head"]
        assert sum(len(items) for _, items in found.groups) == 2  # no rewiring, no outputs

    def test_names_that_change_places(self) -> None:
        """Within an editor a layer is known by itself, whatever it is called."""
        ed = Editor(models.fork())
        ed.rename("b", "x1").rename("c", "b").rename("x1", "c")
        found = ed.diff()
        assert lines(found.renamed) == ["~ b  is now c", "~ c  is now b"]
        assert not (found.weights or found.rewired or found.reconfigured)

    def test_a_duplicate_is_added(self) -> None:
        ed = Editor(models.fork())
        ed.duplicate("b")
        found = ed.diff()
        assert lines(found.added) == ["+ b_1  Dense, takes b, 30 parameters"]
        assert lines(found.rewired) == ["~ add  takes b_1, c; was b, c"]


class TestTwoModels:
    def test_equal_weights_tell_a_renamed_layer(self, tmp_path: Path) -> None:
        first = models.fork()
        ed = Editor(first)
        ed.rename("b", "left")
        files = saved(first, tmp_path), saved(ed.model, tmp_path, "b.keras")
        found = diff(*files)
        assert lines(found.renamed) == ["~ b  is now left"]
        assert found.a.title == str(files[0])
        assert sum(len(items) for _, items in found.groups) == 1

    def test_place_tells_a_renamed_layer_with_other_weights(self) -> None:
        ed = Editor(models.fork())
        ed.rename("b", "left")
        scramble(ed.model, seed=5)
        found = diff(ed.source, ed.model)
        assert lines(found.renamed) == ["~ b  is now left"]
        assert "left/kernel" in paths(found.weights)
        assert not (found.added or found.removed or found.rewired)

    def test_equal_layers_under_other_names_are_told_by_their_place(self) -> None:
        """Weights cannot tell them apart: what is done with them can."""

        def make(first: str, second: str, units: int) -> keras.Model:
            x = keras.Input((4,), name="x")
            branches = [layers.Dense(3, "relu", name=n)(x) for n in (first, second)]
            y = layers.Concatenate(name="cat")(branches)
            model = keras.Model(x, layers.Dense(units, name="top")(y))
            model.get_layer(second).set_weights(model.get_layer(first).get_weights())
            return model

        a, b = make("p", "q", 2), make("s", "t", 2)
        for layer, other in (("s", "p"), ("t", "q"), ("top", "top")):
            b.get_layer(layer).set_weights(a.get_layer(other).get_weights())
        found = diff(a, b)
        assert lines(found.renamed) == ["~ p  is now s", "~ q  is now t"]
        assert sum(len(items) for _, items in found.groups) == 2

    def test_a_path_with_another_class_is_replaced(self) -> None:
        def make(layer: Any) -> keras.Model:
            return keras.Sequential([keras.Input((4,), name="x"), layer, layers.Dense(2, name="c")])

        a = make(layers.Dense(4, name="mid"))
        b = make(layers.Dropout(0.5, name="mid"))
        b.get_layer("c").set_weights(a.get_layer("c").get_weights())
        found = diff(a, b)
        assert lines(found.replaced) == ["~ mid  Dense -> Dropout"]
        assert not found.weights

    def test_automatic_names_of_the_same_session(self) -> None:
        """Keras counts on: the second model of a session has other names, and the same places."""

        def make(rate: float) -> keras.Model:
            x = keras.Input((4,), name="x")
            y = layers.Dense(4)(x)
            y = layers.Dropout(rate)(layers.Dense(4)(y) + y)
            return keras.Model(x, layers.Dense(2)(y))

        a, b = scramble(make(0.1)), scramble(make(0.2), seed=9)
        found = diff(a, b)
        assert lines(found.renamed) == [
            "~ dense  is now dense_3",
            "~ dense_1  is now dense_4",
            "~ dense_2  is now dense_5",
        ]
        assert lines(found.replaced) == ["~ dropout  Dropout -> dropout_1 (Dropout)"]
        assert lines(found.reconfigured) == ["~ dropout_1  rate: 0.1 -> 0.2"]
        assert not (found.added or found.removed or found.rewired)
        assert len(found.weights) == 6

    def test_automatic_names_that_moved_on(self) -> None:
        """A layer put in before others shifts their numbers; their weights say which they are."""

        def make(*sizes: int) -> keras.Model:
            x = y = keras.Input((4,), name="x")
            for size in sizes:
                y = layers.Dense(size)(y)
            return scramble(keras.Model(x, y))

        a, b = fresh(lambda: make(4, 3)), fresh(lambda: make(4, 4, 3))
        b.layers[1].set_weights(a.layers[1].get_weights())
        b.layers[3].set_weights(a.layers[2].get_weights())
        found = diff(a, b)
        assert lines(found.renamed) == ["~ dense_1  is now dense_2"]
        assert lines(found.added) == ["+ dense_1  Dense, takes dense, 20 parameters"]
        assert lines(found.rewired) == ["~ dense_2  takes dense_1; was dense"]
        assert not found.weights

    def test_unrelated_models(self) -> None:
        found = diff(models.cnn(), models.attention())
        assert found and found.removed and found.added
        assert json.dumps(found.to_json(), allow_nan=False)
        assert str(found).startswith("cnn -> attention\n")

    def test_the_other_way_round(self) -> None:
        ed = Editor(models.chain())
        ed.remove("drop").freeze("a").set_weights("b/bias", np.ones(5))
        there, back = ed.diff(), diff(ed, ed.source)
        assert lines(back.added) == ["+ drop  Dropout, takes a"]
        assert paths(there.removed) == paths(back.added)
        assert [(f.before, f.after) for f in back.flags] == [(False, True)]
        assert there.weights[0].max_abs == back.weights[0].max_abs
        assert (there.a.params, there.b.params) == (back.b.params, back.a.params)


class TestConfiguration:
    def test_keys_old_and_new(self) -> None:
        ed = Editor(models.fork())
        ed.configure("b", activation="tanh", kernel_regularizer=keras.regularizers.L2(0.25))
        (found,) = ed.diff().reconfigured
        assert (
            str(found) == "~ b  activation: relu -> tanh, kernel_regularizer: None -> L2(l2=0.25)"
        )
        first, second = found.changes
        assert (first.key, first.before, first.after) == ("activation", "relu", "tanh")
        assert second.before is None
        assert second.after == {"class_name": "L2", "config": {"l2": 0.25}}

    def test_inside_of_an_argument(self) -> None:
        def make(rate: float, units: int) -> keras.Model:
            dense = layers.Dense(units, kernel_regularizer=keras.regularizers.L2(rate))
            return keras.Sequential([keras.Input((3, 4)), layers.TimeDistributed(dense, name="t")])

        found = diff(make(0.25, 2), make(0.5, 2))
        # The layer inside is called `dense` in one and `dense_1` in the other.
        assert lines(found.reconfigured) == ["~ t  layer.kernel_regularizer.l2: 0.25 -> 0.5"]

    def test_weights_that_come_and_go(self) -> None:
        ed = Editor(models.fork())
        ed.configure("b", use_bias=False)
        found = ed.diff()
        assert lines(found.reconfigured) == ["~ b  use_bias: True -> False"]
        assert lines(found.weights) == ["~ b/bias  gone, was (5,) float32"]
        back = diff(ed, ed.source)
        assert lines(back.weights) == ["~ b/bias  new, (5,) float32"]

    def test_dtype_policy(self) -> None:
        a, b = models.chain(), models.chain()
        b.get_layer("drop").dtype_policy = keras.DTypePolicy("mixed_float16")
        found = diff(a, b)
        assert lines(found.reconfigured) == ["~ drop  dtype: float32 -> mixed_float16"]

    def test_input_shape(self) -> None:
        ed = Editor(models.cnn())
        ed.set_input(shape=(16, 16, 3))
        found = ed.diff()
        assert lines(found.reconfigured) == [
            "~ image  batch_shape: [None, 8, 8, 3] -> [None, 16, 16, 3]"
        ]
        assert not (found.weights or found.rewired)

    def test_functions(self) -> None:
        def make(activation: Any, mapping: Any) -> keras.Model:
            x = keras.Input((4,), name="x")
            y = layers.Dense(3, activation=activation, name="d")(x)
            return scramble(keras.Model(x, layers.Lambda(mapping, name="f")(y)))

        def other(x: Any) -> Any:
            return x * 3

        other.__name__ = "double"
        a = make(models.double, lambda x: x + 1)
        same = make(models.double, lambda x: x + 1)
        assert not diff(a, same)
        found = diff(a, make(other, lambda x: x + 2))
        assert lines(found.reconfigured) == [
            "~ d  activation: another double",
            "~ f  function: another <lambda>",
        ]
        found = diff(a, make("relu", lambda x: x + 1))
        assert lines(found.reconfigured) == ["~ d  activation: double -> relu"]

    def test_vocabularies(self) -> None:
        def make(*words: str) -> keras.Model:
            lookup = layers.StringLookup(name="lookup")
            lookup.adapt(list(words))
            tokens = keras.Input((2,), dtype="string", name="tokens")
            return keras.Model(tokens, lookup(tokens))

        assert not diff(make("a", "b"), make("a", "b"))
        found = diff(make("a", "b"), make("a", "b", "c"))
        assert lines(found.reconfigured) == [
            "~ lookup  vocabulary_size: 3 -> 4, vocabulary.txt: 3 lines -> 4 lines"
        ]
        found = diff(make("a", "b"), make("a", "c"))
        assert lines(found.reconfigured) == [
            "~ lookup  vocabulary.txt: 3 lines -> 3 lines, other ones"
        ]

    def test_class_of_a_model(self) -> None:
        ed = Editor(models.chain())
        ed.add_branch(
            layers.Dense(5, name="side"), source="a", into="c", merge=layers.Add(name="s")
        )
        found = ed.diff()
        assert "~ (the model)  class: Sequential -> Functional" in lines(found.reconfigured)
        assert paths(found.added) == ["side", "s"]


class TestWiring:
    def test_calls_of_a_shared_layer(self) -> None:
        ed = Editor(models.shared())
        ed.remove("tower", call=1)
        found = ed.diff()
        assert lines(found.rewired) == [
            "~ tower  call 1 on tower (call 0) is gone",
            "~ cat  takes tower (call 0), tower (call 1); was tower (call 1), tower (call 2)",
        ]
        assert lines(diff(ed, ed.source).rewired)[0] == "~ tower  call 1 on tower (call 0) is new"

    def test_one_call_of_a_shared_layer(self) -> None:
        ed = Editor(models.shared())
        ed.insert(layers.Dropout(0.1, name="drop"), before="tower", call=1)
        (found,) = ed.diff().rewired
        assert (found.path, found.call) == ("tower", 1)
        assert (found.before, found.after) == (("tower (call 0)",), ("drop",))
        assert lines(diff(ed.source, ed.model).rewired) == [str(found)]

    def test_keyword_arguments(self) -> None:
        ed = Editor(models.attention())
        ed.remove("k")
        assert lines(ed.diff().rewired) == ["~ mha  takes q, key=v, value=v; was q, key=k, value=v"]

    def test_several_outputs_of_a_layer(self) -> None:
        def make(swapped: bool) -> keras.Model:
            x = keras.Input((5, 3), name="x")
            _, h, c = layers.LSTM(4, return_state=True, name="enc")(x)
            first = [c, h] if swapped else [h, c]
            return scramble(keras.Model(x, layers.Concatenate(name="cat")(first)))

        assert lines(diff(make(False), make(True)).rewired) == [
            "~ cat  takes enc[2], enc[1]; was enc[1], enc[2]"
        ]

    def test_raw_ops(self) -> None:
        def make(factor: float, index: int) -> keras.Model:
            x = keras.Input((3, 4), name="x")
            y = (layers.Dense(4, name="a")(x) + x) * factor
            return scramble(keras.Model(x, ops.relu(y)[:, index]))

        # Their names differ ("add", "add_1"), and are of no consequence.
        assert not diff(make(2.0, 0), make(2.0, 0))
        found = diff(make(2.0, 0), make(3.0, 1))
        assert [(item.before, item.after) for item in found.rewired] == [
            (("add_2", "2.0"), ("add_3", "3.0")),
            (("relu_2", ":", "0"), ("relu_3", ":", "1")),
        ]
        assert not (found.renamed or found.added or found.removed)

    def test_an_op_with_other_arguments(self) -> None:
        def make(axis: int) -> keras.Model:
            x = keras.Input((3, 4), name="x")
            return keras.Model(x, ops.sum(x, axis=axis))

        assert [str(r).split("  ")[1] for r in diff(make(1), make(2)).reconfigured] == [
            "axis: 1 -> 2"
        ]

    def test_outputs(self) -> None:
        ed = Editor(models.dicts())
        ed.insert(layers.Dropout(0.1, name="drop"), after="low")
        found = ed.diff()
        (ports,) = found.rewired
        assert (ports.path, ports.what) == ("", "outputs")
        assert ports.before == ("low=low", "more.high=high", "more.trunk=trunk")
        assert ports.after == ("low=drop", "more.high=high", "more.trunk=trunk")
        assert str(ports).startswith("~ (the model)  puts out low=drop, ")

    def test_more_and_fewer_outputs(self) -> None:
        ed = Editor(models.seq2seq())
        ed.remove_output("mean")
        found = ed.diff()
        assert lines(found.rewired) == ["~ (the model)  puts out top; was top, mean"]
        assert paths(found.removed) == ["mean"]

    def test_inputs(self) -> None:
        ed = Editor(models.two_ways())
        ed.remove("both", keep="l1", on_mismatch="slice")
        found = ed.diff()
        assert "~ (the model)  has the inputs left; was left, right" in lines(found.rewired)
        assert "right" in paths(found.removed)

    def test_one_output_and_a_list_of_one(self) -> None:
        x = keras.Input((4,), name="x")
        y = layers.Dense(2, name="d")(x)
        (found,) = diff(keras.Model(x, y), keras.Model(x, [y])).rewired
        assert str(found) == "~ (the model)  puts out 0=d; was d"

    def test_another_layer_of_the_same_name(self) -> None:
        ed = Editor(models.fork())
        ed.remove("b", on_mismatch="reinit").rename("c", "b")
        found = ed.diff()
        assert lines(found.removed) == ["- b  Dense, took a, 30 parameters"]
        assert lines(found.renamed) == ["~ c  is now b"]
        assert lines(found.rewired) == ["~ add  takes a, b; was b, c"]
        ed = Editor(models.chain())
        ed.insert(layers.Dropout(0.3, name="more"), after="drop")
        ed.rename("drop", "first").rename("more", "drop")
        assert lines(ed.diff().rewired) == ["~ b  takes drop; was another of that name"]

    def test_a_sequential_passes_a_tensor_and_nothing_else(self) -> None:
        ed = Editor(models.chain())
        ed.replace("drop", layers.Dense(5, name="five"))  # was called with `training=False`
        assert not diff(ed, ed.model)
        ed.insert(layers.LayerNormalization(), after="five")  # makes a list of its axis when built
        assert not diff(ed, ed.model)


class TestNested:
    def test_inside_at_any_depth(self) -> None:
        ed = Editor(models.nested())
        ed.insert(layers.Dropout(0.5, name="drop"), before="backbone/inner/dense")
        ed.freeze("backbone/conv1").configure("backbone/conv2", activation="relu")
        for found in (ed.diff(), diff(ed.source, ed.model)):
            assert lines(found.added) == [
                "+ backbone/inner/drop  Dropout, takes backbone/inner/inner_in"
            ]
            assert lines(found.rewired) == [
                "~ backbone/inner/dense  takes backbone/inner/drop; was backbone/inner/inner_in"
            ]
            assert lines(found.flags) == ["~ backbone/conv1  trains -> frozen"]
            assert lines(found.reconfigured) == ["~ backbone/conv2  activation: linear -> relu"]

    def test_what_a_nested_model_puts_out(self) -> None:
        ed = Editor(models.nested())
        ed.insert(layers.Dropout(0.5, name="last"), after="backbone/conv2")
        assert lines(ed.diff().rewired) == [
            "~ backbone  puts out backbone/last; was backbone/conv2"
        ]

    def test_a_model_is_one_layer_that_goes(self) -> None:
        ed = Editor(models.nested())
        ed.remove("backbone/inner")
        found = ed.diff()
        assert lines(found.removed) == [
            "- backbone/inner  Functional, took backbone/bn, 30 parameters"
        ]

    def test_a_renamed_model(self, tmp_path: Path) -> None:
        ed = Editor(models.nested())
        ed.rename("backbone", "spine")
        for found in (ed.diff(), diff(ed.source, saved(ed.model, tmp_path))):
            assert lines(found.renamed) == ["~ backbone  is now spine"]
            assert sum(len(items) for _, items in found.groups) == 1

    def test_unpacking_moves_layers_and_rewires_nothing(self) -> None:
        ed = Editor(models.nested())
        ed.inline("backbone")
        for found in (ed.diff(), diff(ed.source, ed.model)):
            assert lines(found.removed) == ["- backbone  Functional, took x"]  # its weights stay
            assert lines(found.renamed) == [
                "~ backbone/conv1  is now conv1",
                "~ backbone/bn  is now bn",
                "~ backbone/inner  is now inner",
                "~ backbone/conv2  is now conv2",
            ]
            assert sum(len(items) for _, items in found.groups) == 5

    def test_packing_moves_layers_and_rewires_nothing(self) -> None:
        ed = Editor(models.cnn())
        ed.nest("block1_conv", "block1_relu", "stem")
        found = ed.diff()
        assert lines(found.added) == ["+ stem  Functional, takes image"]
        assert paths(found.renamed) == ["stem/block1_conv", "stem/block1_bn", "stem/block1_relu"]
        assert sum(len(items) for _, items in found.groups) == 4

    def test_a_model_that_is_used_twice_is_told_once(self) -> None:
        z = keras.Input((4,), name="z")
        tower = keras.Model(z, layers.Dense(4, name="d")(z), name="tower")
        x = keras.Input((4,), name="x")
        model = scramble(keras.Model(x, tower(tower(x))))
        ed = Editor(model)
        ed.freeze("tower/d").configure("tower/d", activation="relu")
        found = ed.diff()
        assert lines(found.flags) == ["~ tower/d  trains -> frozen"]
        assert lines(found.reconfigured) == ["~ tower/d  activation: linear -> relu"]
        assert not found.rewired


class TestWeights:
    def test_how_far_after_training(self) -> None:
        ed = Editor(models.fork())
        before = {w.path: w.numpy().copy() for view in ed.layers for w in view.weights}
        ed.freeze("a")
        ed.model.compile("adam", "mse")
        ed.model.fit(data(32, 4), data(32, 2, seed=3), epochs=2, verbose=0)
        found = ed.diff()
        assert paths(found.weights) == [
            f"{layer}/{name}" for layer in "bc" for name in ("kernel", "bias")
        ] + ["top/kernel", "top/bias"]
        for item in found.weights:
            old, layer = before[item.path], ed.model.get_layer(item.path.split("/")[0])
            new = np.asarray(getattr(layer, item.path.split("/")[1]))
            step = new.astype("float64") - old
            assert item.relative == pytest.approx(np.linalg.norm(step) / np.linalg.norm(old))
            assert item.max_abs == pytest.approx(np.abs(step).max())
            assert item.changed == pytest.approx(np.mean(new != old))
            assert item.shape_before == item.shape_after == old.shape
            assert item.dtype_before == "float32" and not item.fresh
        assert lines(found.flags) == ["~ a  trains -> frozen"]
        assert (found.a.trainable, found.b.trainable) == (97, 72)
        assert lines(diff(ed.source, ed.model).weights) == lines(found.weights)

    def test_in_words(self) -> None:
        ed = Editor(models.fork())
        ed.scale_weights("a/kernel", 1.5).set_weights("b/bias", np.zeros(5))
        kernel = np.abs(ed.source.get_layer("a").get_weights()[0])
        assert lines(ed.diff().weights)[0] == (
            f"~ a/kernel  differs by 50 %, in all values, at most {kernel.max() / 2:.3g}"
        )
        assert lines(ed.diff().weights)[1].startswith("~ b/bias  differs by 100 %, in all values")
        back = diff(ed, ed.source).weights[1]
        assert back.relative is None  # there is no share of nothing
        assert str(back).startswith("~ b/bias  all values differ, at most 0.")

    def test_another_shape(self) -> None:
        ed = Editor(models.chain())
        ed.replace("a", layers.Dense(3, name="a"), weights="slice", on_mismatch="reinit")
        found = ed.diff()
        assert lines(found.weights) == [
            "~ a/kernel  (4, 5) -> (4, 3)",
            "~ a/bias  (5,) -> (3,)",
            "~ b/kernel  (5, 5) -> (3, 5), starts afresh",
        ]
        assert lines(found.reconfigured) == ["~ a  units: 5 -> 3, activation: tanh -> linear"]
        assert not ed._copy.built
        _ = ed.model
        assert lines(ed.diff().weights)[2] == "~ b/kernel  (5, 5) -> (3, 5)"

    def test_what_starts_afresh_has_no_values_yet(self) -> None:
        ed = Editor(models.chain())
        ed.replace("a", layers.Dense(5, "tanh", name="a"), weights="none")
        found = ed.diff()
        assert lines(found.weights) == ["~ a/kernel  starts afresh", "~ a/bias  starts afresh"]
        assert found.weights[0].fresh and found.weights[0].relative is None
        assert not diff(ed, ed)
        _ = ed.model
        assert ed.diff().weights[0].relative is not None

    def test_another_class_that_took_weights_over(self) -> None:
        class Other(layers.Dense):
            pass

        ed = Editor(models.chain(), custom_objects={"Other": Other})
        ed.replace("a", Other(5, "tanh", name="other"))
        found = ed.diff()
        assert lines(found.replaced) == ["~ a  Dense -> other (Other)"]
        assert not found.weights
        ed.scale_weights("other/kernel", 2.0)
        assert paths(ed.diff().weights) == ["other/kernel"]

    def test_dtypes_of_a_model(self) -> None:
        a, b = models.chain(), models.chain()
        b.get_layer("a").quantize("int8")
        found = diff(a, b)
        by_path = {item.path: item for item in found.weights}
        assert by_path["a/kernel"].dtype_after == "int8"
        assert str(by_path["a/kernel"]).startswith("~ a/kernel  float32 -> int8, differs by ")
        assert by_path["a/kernel_scale"].shape_before is None
        assert lines(found.reconfigured)[0].startswith("~ a  dtype: float32 -> int8_from_float32")

    def test_mixed_dtypes_in_a_layer(self) -> None:
        class Mixed(layers.Layer):
            def build(self, shape: Any) -> None:
                for dtype in ("bool", "int32", "uint8", "bfloat16", "float16"):
                    self.add_weight(shape=(2,), dtype=dtype, initializer="zeros", name=dtype)

            def call(self, x: Any) -> Any:
                return x

        def make() -> keras.Model:
            return keras.Sequential([keras.Input((3,), name="x"), Mixed(name="m")])

        a, b = make(), make()
        assert not diff(a, b)
        for weight in b.weights:
            weight.assign(ops.cast([0, 1], weight.dtype))
        found = diff(a, b)
        assert len(found.weights) == 5
        assert {(w.relative, w.max_abs, w.changed) for w in found.weights} == {(None, 1.0, 0.5)}

    def test_state_that_is_no_weight_is_not_compared(self) -> None:
        a, b = models.chain(), models.chain()
        before = str(diff(a, b))
        b(data(2, 4), training=True)  # draws from the dropout's seed, moves the averages
        assert before == "No differences."
        assert set(paths(diff(a, b).weights)) == {"norm/moving_mean", "norm/moving_variance"}


class TestDistance:
    @pytest.mark.parametrize(
        "dtype",
        ["float16", "float32", "float64", "int8", "uint8", "int64", "bool", "complex64"],
    )
    def test_numpy_agrees(self, dtype: str) -> None:
        random = np.random.default_rng(0)
        a = (random.normal(size=(7, 5)) * 3 + 4).astype(dtype)
        b = a.copy()
        b[2:4] = 0
        found = distance(a, b)
        wide = "complex128" if dtype.startswith("complex") else "float64"
        step = b.astype(wide) - a.astype(wide)
        assert found is not None and found.relative is not None
        assert found.relative == pytest.approx(
            np.linalg.norm(step) / np.linalg.norm(a.astype(wide))
        )
        assert found.max_abs == pytest.approx(np.abs(step).max())
        assert found.changed == np.mean(a != b)
        assert found.nonfinite == 0
        assert distance(a, a.copy()) is None

    @pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4])
    def test_dtypes_that_numpy_does_not_have(self, dtype: Any) -> None:
        a, b = np.array([1, 2, 0], dtype), np.array([1, 2, 1], dtype)
        found = distance(a, b)
        assert found is not None
        assert (found.max_abs, found.changed) == (1.0, pytest.approx(1 / 3))
        assert distance(a, a.astype("float32")) is None

    def test_more_than_one_chunk(self) -> None:
        a = np.ones(600_001, "float32")
        b = a.copy()
        b[-1] = 3
        found = distance(a, b)
        assert found is not None
        assert found.changed == 1 / 600_001
        assert found.max_abs == 2
        assert found.relative == pytest.approx(2 / np.sqrt(600_001))

    def test_not_a_number(self) -> None:
        a = np.array([1.0, np.nan, np.inf, -np.inf, 2.0, np.nan], "float32")
        assert distance(a, a.copy()) is None
        assert distance(a, a.astype("float64")) is None
        b = np.array([1.0, np.nan, -np.inf, -np.inf, 2.5, 3.0], "float32")
        found = distance(a, b)
        assert found is not None
        assert found.changed == 0.5
        assert found.nonfinite == 2
        assert found.max_abs == 0.5
        assert found.relative == pytest.approx(0.5 / np.sqrt(5))

    def test_zeros_of_both_signs_are_equal(self) -> None:
        assert distance(np.array([0.0]), np.array([-0.0])) is None

    def test_large_whole_numbers(self) -> None:
        found = distance(np.array([2**62]), np.array([2**62 + 1]))
        assert found is not None and found.changed == 1

    def test_texts(self) -> None:
        found = distance(np.array(["a", "b"], object), np.array(["a", "c"], object))
        assert found is not None
        assert (found.relative, found.max_abs, found.changed) == (None, None, 0.5)

    def test_nothing(self) -> None:
        assert distance(np.zeros((0, 3)), np.zeros((0, 3))) is None

    def test_overflow_is_no_number_in_json(self) -> None:
        ed = Editor(models.chain())
        model = ed.model
        model.get_layer("a").bias.assign(np.full(5, np.inf))
        found = ed.diff()
        assert found.weights[0].nonfinite == 5
        assert "5 of them NaN or infinite" in str(found)
        assert json.loads(json.dumps(found.to_json(), allow_nan=False))


class TestFlags:
    def test_only_where_something_trains(self) -> None:
        ed = Editor(models.chain())
        ed.freeze("*")
        found = ed.diff()
        assert lines(found.flags) == [
            f"~ {name}  trains -> frozen" for name in ("a", "b", "norm", "c")
        ]
        assert found.b.trainable == 0

    def test_of_the_whole_model(self) -> None:
        model = models.nested()
        other = models.nested()
        other.trainable = False
        found = diff(model, other)
        assert {item.path for item in found.flags} == {
            "backbone/conv1",
            "backbone/bn",
            "backbone/inner/dense",
            "backbone/conv2",
            "head",
        }


class TestSubclassed:
    def test_layers_weights_and_flags(self) -> None:
        ed = Editor(models.subclassed())
        ed.freeze("first")
        ed.model.second.kernel.assign(ed.model.second.kernel * 1.5)
        found = ed.diff()
        assert lines(found.flags) == ["~ first  trains -> frozen"]
        assert paths(found.weights) == ["second/kernel"]
        assert found.weights[0].relative == pytest.approx(0.5)
        assert sum(len(items) for _, items in found.groups) == 2

    def test_weights_of_its_own(self) -> None:
        class Own(keras.Model):
            def build(self, shape: Any) -> None:
                self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
                self.dense = layers.Dense(2, name="dense")
                self.dense.build(shape)

            def call(self, x: Any) -> Any:
                return self.dense(x * self.scale)

        a, b = Own(), Own()
        for model in (a, b):
            model(data(2, 4))
        b.dense.set_weights(a.dense.get_weights())
        assert not diff(a, b)
        b.scale.assign([1, 1, 1, 3])
        found = diff(a, b)
        assert lines(found.weights) == ["~ scale  differs by 100 %, in 25 % of values, at most 2"]

    def test_one_that_no_copy_can_be_made_of(self) -> None:
        model = models.Uncopyable(layers.Dense(2, name="only"))
        model(data(2, 4))
        ed = Editor(model, in_place=True)
        ed.freeze("only")
        assert lines(ed.diff().flags) == ["~ only  trains -> frozen"]

    def test_against_a_functional_one(self) -> None:
        found = diff(models.subclassed(), models.chain())
        assert "~ (the model)  class: Subclassed -> Sequential" in lines(found.reconfigured)
        assert found.added and found.removed


SAME_BOTH_WAYS: dict[str, Callable[[Editor], Any]] = {
    "remove": lambda ed: ed.remove("block2_relu"),
    "insert": lambda ed: ed.insert(layers.Dropout(0.1), after=["block1_bn", "block3_bn"]),
    "replace": lambda ed: ed.replace("block*_relu", layers.LeakyReLU()),
    "configure": lambda ed: ed.configure("block*_conv", kernel_regularizer="l2"),
    "rename": lambda ed: ed.rename("head", "top"),
    "trim": lambda ed: ed.trim("gap"),
    "freeze": lambda ed: ed.freeze("block1*"),
    "append": lambda ed: ed.append(layers.Softmax()),
    "slice": lambda ed: ed.replace(
        "block2_conv", layers.Conv2D(6, 3, padding="same", name="wide"), on_mismatch="slice"
    ),
    "head": lambda ed: ed.remove("head").append(layers.Dense(7, name="seven")),
}


@pytest.mark.parametrize("name", SAME_BOTH_WAYS)
def test_an_editor_and_two_files_tell_the_same(name: str, tmp_path: Path) -> None:
    """With identities or without: the same differences are found."""
    ed = Editor(models.cnn())
    SAME_BOTH_WAYS[name](ed)
    before = saved(ed.source, tmp_path, "a.keras")
    after = saved(ed.model, tmp_path, "b.keras")
    assert lines_of(diff(before, after)) == lines_of(ed.diff())
    assert not diff(ed, after)


def lines_of(found: Diff) -> list[str]:
    return [str(item) for _, items in found.groups for item in items]


def test_an_application_and_its_edited_copy(tmp_path: Path) -> None:
    model = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(32, 32, 3), classes=10, name="mobile"
    )
    ed = Editor(model)
    ed.remove("dropout")
    ed.replace("flatten", layers.Reshape((10,), name="flat"))
    ed.insert(layers.GaussianNoise(0.1, name="noise"), after="conv_bn")
    ed.freeze("expanded_conv_1_*")
    found = ed.diff()
    assert lines(found.added) == ["+ noise  GaussianNoise, takes conv_bn"]
    assert lines(found.removed) == ["- dropout  Dropout, took activation_18"]
    assert lines(found.replaced) == ["~ flatten  Flatten -> flat (Reshape)"]
    assert lines(found.rewired) == [
        "~ activation  takes noise; was conv_bn",
        "~ logits  takes activation_18; was dropout",
    ]
    assert {item.path.rsplit("_", 1)[0] for item in found.flags} >= {"expanded_conv_1_expand"}
    assert all(item.path.startswith("expanded_conv_1_") for item in found.flags)
    assert not (found.weights or found.reconfigured or found.renamed)
    assert not ed._copy.built
    # From files, where only names and weights tell layers, and nothing tells the ops.
    files = saved(model, tmp_path, "a.keras"), saved(ed.model, tmp_path, "b.keras")
    assert lines_of(diff(*files)) == lines_of(found)


class TestShown:
    def test_text(self) -> None:
        ed = Editor(models.fork())
        ed.insert(layers.Dropout(0.5, name="drop"), after="b").remove("c", on_mismatch="reinit")
        ed.configure("b", activation="tanh").freeze("a").scale_weights("top/bias", 2.0)
        expected = """\
fork -> fork (edited)

Layers
  + drop  Dropout, takes b
  - c     Dense, took a, 30 parameters

Configuration
  ~ b  activation: relu -> tanh

Wiring
  ~ add  takes drop, a; was b, c

Weights
  ~ top/bias  differs by 100 %, in all values, at most {}

Flags
  ~ a  trains -> frozen

Parameters: 97 -> 67 (-30); 97 -> 42 (-55) train"""
        largest = np.abs(ed.source.get_layer("top").bias.numpy()).max()
        assert str(ed.diff()) == expected.format(f"{largest:.3g}")

    def test_short(self) -> None:
        ed = Editor(models.cnn())
        ed.freeze("*")
        found = ed.diff()
        assert "\n  and 2 more, all in .text(limit=None)\n" not in found.text(limit=None)
        assert "\n  and 6 more, all in .text(limit=None)\n" in found.text(limit=3)
        assert len(found.text(limit=3).splitlines()) == 9
        assert found.text(limit=None).count("trains -> frozen") == 9
        assert repr(found) == "<Diff: 9 flags>"
        assert repr(Editor(models.cnn()).diff()) == "<Diff: no differences>"

    def test_in_a_notebook(self) -> None:
        found = Editor(models.chain()).remove("drop").diff()

        class Printer:
            said = ""

            def text(self, text: str) -> None:
                self.said += text

        printer = Printer()
        found._repr_pretty_(printer, False)
        assert printer.said == str(found)
        html = found._repr_html_()
        for part in ("drop", "Dropout, took a", "takes a; was drop", "Parameters: 87"):
            assert part in html
        assert "<script" not in html and "<style" not in html
        assert Editor(models.chain()).diff()._repr_html_() == "<div>No differences.</div>"

    def test_hostile_names(self) -> None:
        names = [
            "<img src=x onerror=alert(1)>",
            "\x1b[2J\x1b[31m\nred",
            "\u202egnp.exe",
            '" onmouseover="alert(1)',
            "x" * 1000,
        ]
        ed = Editor(models.chain())
        for name in names:
            ed.insert(layers.Dropout(0.1, name=name), after="a")
        found = ed.diff()
        assert set(paths(found.added)) == set(names)
        html = found._repr_html_()
        tags = set(re.findall(r"<(\w+)", html))
        assert tags == {"div", "b", "details", "summary", "table", "tr", "td"}
        assert not re.search(r"<[^>]*(onerror|onmouseover)", html)
        for shown in (html, str(found)):
            assert "\x1b" not in shown and "\u202e" not in shown
            assert "\\x1b[2J\\x1b[31m\\nred" in shown
        assert max(map(len, str(found).splitlines())) < 220
        assert json.loads(json.dumps(found.to_json()))["added"][0]["path"] in names

    def test_json(self) -> None:
        ed = Editor(models.fork())
        ed.insert(layers.Dropout(0.5, name="drop"), after="b").rename("c", "other")
        ed.configure("b", activation="tanh").freeze("a").set_weights("top/bias", np.zeros(2))
        ed.replace("add", layers.Maximum(name="most"))
        found = ed.diff()
        told = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert told["format"] == "kerasedit.diff" and told["version"] == 1
        assert told["a"] == {
            "title": "fork",
            "class_name": "Functional",
            "params": 97,
            "trainable": 97,
        }
        assert told["added"] == [
            {"path": "drop", "class_name": "Dropout", "params": 0, "takes": ["b"]}
        ]
        assert told["removed"] == []
        assert told["replaced"] == [
            {
                "path": "most",
                "before": "add",
                "class_before": "Add",
                "class_after": "Maximum",
            }
        ]
        assert told["renamed"] == [{"path": "other", "before": "c"}]
        assert told["reconfigured"] == [
            {
                "path": "b",
                "changes": [{"key": "activation", "before": "relu", "after": "tanh"}],
            }
        ]
        assert told["rewired"] == [
            {
                "path": "most",
                "what": "call",
                "call": None,
                "before": ["b", "c"],
                "after": ["drop", "other"],
            }
        ]
        assert told["flags"] == [{"path": "a", "before": True, "after": False}]
        (weight,) = told["weights"]
        assert weight["path"] == "top/bias"
        assert weight["shape_before"] == [2] and weight["relative"] == 1.0


class TestRefused:
    def test_what_is_no_model(self) -> None:
        with pytest.raises(EditError, match="not int"):
            diff(models.chain(), 3)  # pyright: ignore[reportArgumentType]

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match=r"no\.keras"):
            diff(models.chain(), tmp_path / "no.keras")

    def test_a_file_with_code(self, tmp_path: Path) -> None:
        x = keras.Input((2,))
        model = keras.Model(x, layers.Lambda(lambda t: t * 2)(x))
        path = saved(model, tmp_path)
        with pytest.raises(ModelFileError, match="safe_mode=False"):
            diff(path, model)
        assert not diff(path, model, safe_mode=False)

    def test_a_model_that_is_not_built(self) -> None:
        with pytest.raises(StructureError, match="not built"):
            diff(models.chain(), keras.Sequential([layers.Dense(2)]))


def test_it_is_public() -> None:
    assert kerasedit.diff is diff and kerasedit.Diff is Diff
    assert isinstance(Editor(models.chain()).diff(), Diff)


@pytest.mark.tensorflow  # whose random numbers they are
def test_the_documentation_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_page("diff.md") >= 3
