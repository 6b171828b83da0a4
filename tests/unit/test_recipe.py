"""Recipes: edits as data, saved, read without trust, and made again elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasedit
from kerasedit import EditError, Editor, Recipe, TargetError
from kerasedit import recipe as recipe_module
from kerasedit.arrays import read_npz
from kerasedit.block_data import read_block
from kerasedit.edits import ScaleWeights, Transaction, read_edit
from kerasedit.edits.base import registry
from kerasedit.replay import ReplayError
from tests import models
from tests.models import data, fingerprint, out, same, scramble, state_of

SCHEMA = json.loads(
    (Path(kerasedit.__file__).parent / "recipe.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@keras.saving.register_keras_serializable("tests_recipe")
def doubled(x: Any) -> Any:
    return x * 2


@keras.saving.register_keras_serializable("tests_recipe")
class Backbone(keras.Model):
    """A functional model of a class of its own."""


def structure(ed: Editor) -> list[Any]:
    """All that tells an edited model from another, but for its values."""
    return [
        (v.path, v.class_name, v.kind, v.trainable, v.output_shape, v.dtype, v.calls, v.params)
        for v in ed.layers
    ]


def as_json(ed: Editor) -> list[Any]:
    with keras.saving.custom_object_scope(dict(ed.custom_objects)):
        return [edit.to_json() for edit in ed.history]


def check_same(ed: Editor, again: Editor, x: Any) -> None:
    """Two editors with the same history, structure and flags, whose models put out the same bits."""
    assert structure(again) == structure(ed)
    assert as_json(again) == as_json(ed)
    models.check_equal(again.model, ed.model, x)
    assert type(again.model) is type(ed.model)
    assert [w.trainable for w in again.model.weights] == [w.trainable for w in ed.model.weights]
    assert again.graph.net.output_names == ed.graph.net.output_names


def through_file(recipe: Recipe, folder: Path, name: str = "edits.json") -> Recipe:
    """The recipe saved and loaded, its JSON valid."""
    recipe.save(folder / name)
    VALIDATOR.validate(json.loads((folder / name).read_text(encoding="utf-8")))
    loaded = Recipe.load(folder / name)
    assert loaded == recipe
    assert str(loaded) == str(recipe)
    return loaded


def again(ed: Editor, model: keras.Model, folder: Path, **options: Any) -> Editor:
    """The edits of an editor made again on a model, by way of a file."""
    before = fingerprint(model)
    found = through_file(ed.recipe(), folder).apply(model, **options)
    assert fingerprint(model) == before
    assert found.replay is not None and found.replay.ok
    assert [row.others for row in found.replay] == [()] * len(ed.history)
    assert found.replay.unused == ()
    return found


# -- every edit ----------------------------------------------------------------------------------

EDITS: dict[str, tuple[str, Callable[[Editor], Any]]] = {
    "add_branch": (
        "fork",
        lambda ed: ed.add_branch(layers.Dense(5), source="a", into="top", merge=layers.Add()),
    ),
    "add_output": ("nested", lambda ed: ed.add_output("backbone/conv1", name="seen")),
    "append": ("chain", lambda ed: ed.append(layers.Dense(3, activation="softmax"))),
    "configure": (
        "cnn",
        lambda ed: ed.configure("block*_conv", kernel_regularizer=keras.regularizers.L2(0.1)),
    ),
    "connect": ("fork", lambda ed: ed.connect("a", "top", merge=layers.Concatenate(),
                                              on_mismatch="slice")),
    "densify": ("cnn", lambda ed: ed.sparsify("**", 0.5).densify("block[12]_conv")),
    "disconnect": ("fork", lambda ed: ed.disconnect("b", "add")),
    "duplicate": ("cnn", lambda ed: ed.duplicate("block2_conv").duplicate("block3_conv",
                                                                          weights=False)),
    "extract": ("cnn", lambda ed: ed.extract("block2_conv", "block4_relu")),
    "fold_batchnorm": ("cnn", lambda ed: ed.fold_batchnorm()),
    "freeze": ("nested", lambda ed: ed.freeze("backbone/*", "head")),
    "freeze_up_to": ("cnn", lambda ed: ed.freeze_up_to("block3_bn")),
    "grow_channels": ("cnn", lambda ed: ed.grow_channels("block1_*", 7).grow_channels(
        "block2_conv", 6, noise=0.1).grow_channels("block3_conv", 5, init="random")),
    "grow_outputs": ("cnn", lambda ed: ed.grow_outputs(2)),
    "inline": ("nested", lambda ed: ed.inline("backbone")),
    "insert": ("cnn", lambda ed: ed.insert(layers.BatchNormalization(), after="block*_conv")),
    "map_weights": ("cnn", lambda ed: ed.map_weights("block?_conv", np.tanh, "kernel")),
    "move": ("cnn", lambda ed: ed.move("block1_relu", after="block2_conv")),
    "nest": ("cnn", lambda ed: ed.nest("block2_conv", "block3_relu", "middle")),
    "prune_channels": (
        "cnn", lambda ed: ed.prune_channels("block[12]_conv", fraction=0.5, criterion="l1"),
    ),
    "quantize": ("chain", lambda ed: ed.quantize("int8", "[ab]")),
    "recalibrate_batchnorm": ("cnn", lambda ed: ed.recalibrate_batchnorm(data(9, 8, 8, 3))),
    "reinitialize": ("cnn", lambda ed: ed.reinitialize("block2_*")),
    "remove": ("fork", lambda ed: ed.remove("add", keep="b")),
    "remove_output": ("dicts", lambda ed: ed.remove_output("low")),
    "rename": ("cnn", lambda ed: ed.rename("head", "Kopf ★")),
    "replace": ("cnn", lambda ed: ed.replace("head", layers.Dense(5), weights="slice")),
    "replace_between": (
        "cnn", lambda ed: ed.replace_between("block2_conv", "block3_relu", layers.Conv2D(4, 1)),
    ),
    "scale_weights": ("cnn", lambda ed: ed.scale_weights("block1_conv/kernel", 0.5)),
    "set_input": ("cnn", lambda ed: ed.set_input((12, 10, 3))),
    "set_weights": ("chain", lambda ed: ed.set_weights("a", {"bias": np.arange(5.0)})),
    "sparsify": ("cnn", lambda ed: ed.sparsify("block[23]_conv", pattern="2:4")),
    "trim": ("cnn", lambda ed: ed.trim("block3_relu")),
    "unfreeze": ("cnn", lambda ed: ed.freeze("*").unfreeze("block4_*")),
}  # fmt: skip


def in_one(ed: Editor) -> None:
    with ed.transaction("a new head"):
        ed.remove("head").append([layers.Dense(9), layers.ReLU()])
        ed.reinitialize("dense").scale_weights("dense", 3.0)
        ed.reinitialize("block1_conv").scale_weights("block1_conv", 2.0)


EDITS["transaction"] = ("cnn", in_one)


def batch_for(ed: Editor) -> Any:
    """A batch that the edited model takes."""
    inputs = ed.model.inputs
    return keras.tree.map_structure(
        lambda tensor: data(*[size or 3 for size in tensor.shape]).astype(tensor.dtype),
        inputs[0] if len(inputs) == 1 else ed.model.input,
    )


def test_there_is_an_example_of_every_edit() -> None:
    assert EDITS.keys() == registry.keys()


@pytest.mark.parametrize("kind", sorted(EDITS))
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_every_edit_is_made_again_to_the_bit(kind: str, tmp_path: Path) -> None:
    name, edit = EDITS[kind]
    model = models.ZOO[name][0]()
    ed = Editor(model)
    edit(ed)
    assert kind in [e.kind for e in ed.history]
    check_same(ed, again(ed, model, tmp_path), batch_for(ed))


def test_the_schema_has_every_edit_with_all_its_fields() -> None:
    VALIDATOR.check_schema(SCHEMA)
    found = SCHEMA["$defs"]["edits"]
    assert found.keys() == registry.keys()
    assert {item["$ref"].rpartition("/")[2] for item in SCHEMA["$defs"]["edit"]["oneOf"]} == set(
        registry
    )
    for kind, cls in registry.items():
        fields = {f.name: f for f in dataclasses.fields(cls) if f.name not in cls.live}
        required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
        assert found[kind]["properties"].keys() == {"edit", *fields}, kind
        assert set(found[kind]["required"]) == {"edit", *required}, kind


# -- blocks of all kinds -------------------------------------------------------------------------


def built(layer: Any, *shape: int) -> Any:
    layer.build((None, *shape))
    for weight in layer.weights:
        values = np.random.default_rng(3).normal(size=weight.shape).astype("float32")
        weight.assign(values)
    return layer


def trained_model(sequential: bool = False) -> keras.Model:
    """Five in, five out, with raw ops and a nested model, partly frozen."""
    if sequential:
        inner = [layers.Dense(5, name="q"), layers.BatchNormalization(), layers.Dropout(0.3)]
        return scramble(keras.Sequential([keras.Input((5,)), *inner], name="inner"))
    x = keras.Input((5,))
    h = layers.Dense(5, name="p")(x)
    h = layers.BatchNormalization(name="bn")(h * 2 + x)
    model = scramble(keras.Model(x, trained_model(sequential=True)(h), name="backbone"))
    model.get_layer("bn").trainable = False
    return model


def frozen_layer() -> Any:
    layer = built(layers.Dense(5), 5)
    layer.trainable = False
    return layer


def shares_a_layer() -> keras.Model:
    dense = layers.Dense(5, name="twice")
    x = keras.Input((5,))
    wrapped = layers.TimeDistributed(dense)(layers.Reshape((1, 5))(dense(x)))
    return scramble(keras.Model(x, layers.Flatten()(wrapped), name="tied"))


def own_class() -> keras.Model:
    x = keras.Input((5,))
    model = scramble(Backbone(x, layers.Dense(5, name="z")(x) + 1, name="mine"))
    model.get_layer("z").trainable = False
    return model


def states_of_an_lstm(x: Any) -> Any:
    _, h, c = layers.LSTM(5, return_state=True)(layers.Reshape((1, 5))(x))
    return layers.Add()([h, c])


def takes_a_weight(x: Any) -> Any:
    table = layers.Embedding(5, 5)
    rows = table(ops.cast(ops.argmax(x, axis=-1), "int32"))
    return ops.matmul(rows, table.embeddings)


def called_twice(x: Any) -> Any:
    dense = layers.Dense(5)
    return dense(dense(x))


def quantized() -> Any:
    layer = built(layers.Dense(5), 5)
    layer.quantize("int8")
    return layer


BLOCKS: dict[str, Callable[[], Any]] = {
    "fresh": lambda: layers.Dense(5),
    "several": lambda: [layers.Dense(5), layers.ReLU(max_value=3.0), layers.Dropout(0.1)],
    "trained": lambda: built(layers.Dense(5), 5),
    "frozen": frozen_layer,
    "fresh and frozen": lambda: layers.Dense(5, trainable=False),
    "functional": trained_model,
    "sequential": lambda: trained_model(sequential=True),
    "not built": lambda: keras.Sequential([layers.Dense(5), layers.ReLU()]),
    "own class": own_class,
    "tied": shares_a_layer,
    "ops": lambda: lambda x: ops.relu(x) * 2.0 + x[:, :1] - np.ones(5, "float32") + ops.ones(5),
    "infinity": lambda: lambda x: ops.where(x > 0, x, -float("inf")),
    "several outputs": lambda: states_of_an_lstm,
    "a weight": lambda: takes_a_weight,
    "called twice": lambda: called_twice,
    "model and ops": lambda: (lambda model: lambda x: model(x) + 1)(trained_model()),
    "wrapper": lambda: [layers.Reshape((1, 5)), layers.Bidirectional(layers.LSTM(2)),
                        layers.Dense(5)],
    "model in a wrapper": lambda: [layers.Reshape((1, 5)), layers.TimeDistributed(trained_model()),
                                   layers.Flatten()],
    "cell": lambda: [layers.Reshape((1, 5)), layers.RNN(layers.GRUCell(5))],
    "registered": lambda: models.Scale(2.0),
    "registered and trained": lambda: built(models.Scale(2.0), 5),
    "registered function": lambda: layers.Dense(5, activation=doubled),
    "statistics": lambda: layers.Normalization(mean=[1.0] * 5, variance=[2.0] * 5),
    "policy": lambda: layers.Dense(5, dtype="mixed_bfloat16"),
    "quantized": quantized,
    "half": lambda: built(layers.Dense(5, dtype="bfloat16"), 5),
}  # fmt: skip


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_of_all_kinds(kind: str, tmp_path: Path) -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).insert(BLOCKS[kind](), after="a")
    found = again(ed, model, tmp_path)
    check_same(ed, found, x)
    assert same(ed.model.get_weights(), found.model.get_weights())
    assert found.recipe() == ed.recipe()


@pytest.mark.parametrize("kind", ["trained", "functional", "sequential", "own class", "tied"])
@pytest.mark.parametrize("inline", [True, False])
def test_the_weights_of_a_block_are_in_its_edit(
    kind: str, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasedit.arrays._FEW", 0)
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).insert(BLOCKS[kind](), after="a")
    store: dict[str, np.ndarray] | None = None if inline else {}
    text = json.dumps(ed.history[0].to_json(store))
    edit = read_edit(json.loads(text), lambda block: read_block(block, None, store), store)
    check_same(ed, Editor(model).apply(edit), x)
    assert store is None or store


def test_a_block_is_put_in_several_places(tmp_path: Path) -> None:
    model = models.cnn()
    ed = Editor(model).insert(built(layers.Conv2D(4, 1), 8, 8, 4), after="block?_conv")
    ed.insert(lambda x: layers.Conv2D(4, 1)(x) + x, after=["block1_relu", "block2_relu"])
    found = again(ed, model, tmp_path)
    check_same(ed, found, data(2, 8, 8, 3))
    assert len(found.recipe().values) == 4


@pytest.mark.tensorflow
def test_a_vocabulary_comes_along(tmp_path: Path) -> None:
    words = keras.Input((2,), dtype="string", name="words")
    table = layers.StringLookup(vocabulary=["a"], name="old")
    model = keras.Model(words, layers.Embedding(9, 3, name="embed")(table(words)))
    lookup = layers.StringLookup(name="new")
    lookup.adapt(np.array(["tree", "house", "tree"]))
    ed = Editor(model).replace("old", lookup)
    found = again(ed, model, tmp_path)
    x = ops.convert_to_tensor([["tree", "a"], ["house", "tree"]])
    assert same(out(found.model, x), out(ed.model, x))
    assert not same(out(found.model, x), out(model, x))


def test_a_class_that_keras_does_not_know(tmp_path: Path) -> None:
    model, x = models.chain(), data(3, 4)
    objects = {"Unregistered": models.Unregistered}
    ed = Editor(model).insert([models.Unregistered(2.0)], after="a")
    recipe = through_file(ed.recipe(), tmp_path)
    assert recipe.words() == ("insert Unregistered after 'a'",)
    with pytest.raises(EditError, match=r"Edit 1 .*'Unregistered'.*custom_objects="):
        recipe.apply(model)
    with pytest.raises(EditError, match="'Unregistered'"):
        list(recipe)
    check_same(ed, recipe.apply(model, custom_objects=objects), x)
    given = Editor(model)
    check_same(ed, recipe.apply(given, custom_objects=objects), x)
    assert [e.describe() for e in recipe.edits(objects)] == list(recipe.words())


def test_a_custom_layer_that_shadows_one_of_keras(tmp_path: Path) -> None:
    class Dense(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    model = models.chain()
    ed = Editor(model, custom_objects={"Dense": Dense}).append([layers.Dense(3), Dense()])
    found = again(ed, model, tmp_path, custom_objects={"Dense": Dense})
    assert [type(layer) for layer in found.model.layers[-2:]] == [layers.Dense, Dense]


# -- what cannot be data -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda ed: ed.append(layers.Lambda(lambda x: x)), "append Lambda.*Python function"),
        (lambda ed: ed.append(layers.Dense(2, activation=models.double)),
         "append Dense.*'activation'.*register_keras_serializable"),
        (lambda ed: ed.configure("a", activation=models.double),
         "configure 'a'.*'activation'.*register_keras_serializable"),
        (lambda ed: ed.append(layers.Rescaling(float("inf"))), "append Rescaling.*told as data"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_told_with_the_edit(edit: Callable[[Editor], Any], message: str) -> None:
    ed = Editor(scramble(keras.Sequential([keras.Input((2, 4)), layers.Dense(2, name="a")])))
    ed.freeze("a")
    edit(ed)
    before = state_of(ed)
    with pytest.raises(EditError, match=rf"Edit 2 \({message}"):
        ed.recipe()
    assert state_of(ed) == before


def test_a_function_in_custom_objects_is_data() -> None:
    model, x, objects = models.chain(), data(3, 4), {"double": models.double}
    ed = Editor(model, custom_objects=objects).append(layers.Dense(2, activation=models.double))
    recipe = ed.recipe()
    with pytest.raises(EditError, match=r"'double'.*custom_objects="):
        recipe.apply(model)
    check_same(ed, recipe.apply(model, custom_objects=objects), x)


# -- recorded values -----------------------------------------------------------------------------


def test_only_what_would_be_drawn_is_recorded() -> None:
    ed = Editor(models.cnn())
    ed.insert(layers.Dropout(0.1), after="gap").freeze("block1_*").remove("block2_bn")
    assert not ed.recipe().values and not ed.recipe().arrays
    ed.replace("block1_conv", layers.Conv2D(4, 3, padding="same", activation="tanh"))
    assert not ed.recipe().values, "all weights were inherited"
    ed.append(trained_with(3, 3))
    assert not ed.recipe().values, "the block brought its weights"
    ed.duplicate("block3_conv")
    assert not ed.recipe().values, "a duplicate starts with the weights of another"
    ed.append(layers.Dense(4, name="mine"))
    assert set(ed.recipe().values) == {"mine/kernel", "mine/bias"}
    ed.duplicate("mine", on_mismatch="reinit")
    assert set(ed.recipe().values) == {"mine/kernel", "mine/bias", "mine_1/kernel", "mine_1/bias"}
    assert not ed.recipe(weights=False).values


def trained_with(inputs: int, units: int) -> Any:
    return built(layers.Dense(units), inputs)


def test_without_weights_new_ones_start_fresh() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).replace("head", layers.Dense(4)).reinitialize("block1_conv")
    ed.map_weights("block2_conv", np.tanh)
    recipe = ed.recipe(weights=False)
    found = recipe.apply(model)
    assert not recipe.values
    for name in ("dense", "block1_conv"):
        here, there = (e.model.get_layer(name).get_weights() for e in (ed, found))
        assert not same(here, there)
    assert same(*(e.model.get_layer("block2_conv").get_weights() for e in (ed, found)))
    assert not same(out(ed.model, x), out(found.model, x))
    assert [e["edit"] for e in as_json(found)] == ["replace", "reinitialize", "map_weights"]
    (first, second) = (ed.recipe().apply(model) for _ in range(2))
    assert same(out(first.model, x), out(second.model, x))


def test_training_is_no_edit_but_new_layers_have_their_latest_values(tmp_path: Path) -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).replace("head", layers.Dense(4, name="new")).freeze("block*", "gap", "pool")
    ed.model.compile("sgd", "mse")
    ed.model.train_on_batch(x, data(2, 4))
    check_same(ed, again(ed, model, tmp_path), x)  # what came from the source did not train
    ed.unfreeze("block4_conv")
    ed.model.train_on_batch(x, data(2, 4))
    found = again(ed, model, tmp_path)
    mine = found.model.get_layer("block4_conv").get_weights()
    assert same(mine, model.get_layer("block4_conv").get_weights())
    assert not same(mine, ed.model.get_layer("block4_conv").get_weights())
    assert same(*(e.model.get_layer("new").get_weights() for e in (ed, found)))


def test_edits_of_weights_follow_what_was_drawn(tmp_path: Path) -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).reinitialize("block1_conv").scale_weights("block1_conv", 3.0)
    ed.reinitialize("block1_conv/kernel").map_weights("block1_conv", np.tanh)
    ed.append(layers.Dense(3, name="new")).scale_weights("new", 2.0).reinitialize("new")
    ed.duplicate("new").remove("new")
    found = again(ed, model, tmp_path)
    check_same(ed, found, x)
    for _ in ed.history:
        ed.undo()
        found.undo()
        assert structure(found) == structure(ed)
    assert same(out(found.model, x), out(model, x))
    found.redo(len(found._undone))
    assert [e.kind for e in found.history][-1] == "remove"


def test_of_a_sliced_weight_only_the_new_part_is_recorded() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).replace("head", layers.Dense(5, name="wide"), weights="slice")
    ed.replace("wide", layers.Dense(7, name="wider"), weights="slice")
    recipe = ed.recipe()
    assert set(recipe.values) == {"wider/kernel", "wider/bias"}
    check_same(ed, recipe.apply(model), x)
    other = scramble(models.cnn(), seed=7)
    kernel = recipe.apply(other).model.get_layer("wider").kernel.numpy()
    assert same(kernel[:, :3], other.get_layer("head").kernel.numpy())
    assert same(kernel[:, 3:], ed.model.get_layer("wider").kernel.numpy()[:, 3:])


def test_values_are_given_whether_or_not_the_model_was_built() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    ed = Editor(model).append(layers.Dense(4, name="new")).freeze("head")
    expected, recipe = out(ed.model, x), ed.recipe()
    assert same(out(recipe.apply(model).model, x), expected)
    ed.scale_weights("new", 0.5)  # needs the values, so that the model is built on the way
    ed.append(layers.ReLU())
    expected, recipe = out(ed.model, x), ed.recipe()
    assert same(out(recipe.apply(model).model, x), expected)
    with models.variables_made() as made:
        again_ = recipe.apply(model)
    assert made, "the model was built on the way"
    with models.variables_made() as made:
        Editor(model).append(layers.Dense(4)).recipe(weights=False).apply(model)
    assert not made, "nothing was built before it is asked for"
    assert same(out(again_.model, x), expected)


# -- another model -------------------------------------------------------------------------------


def test_patterns_stay_patterns(tmp_path: Path) -> None:
    model, other = models.cnn(), scramble(models.cnn(), seed=5)
    ed = Editor(model).freeze("block[12]_*").insert(layers.Dropout(0.2), after="block?_relu")
    ed.remove(layers.MaxPooling2D).configure(lambda view: view.class_name == "ReLU", max_value=2.0)
    ed.replace("head", layers.Dense(6, name="new"))
    recipe = through_file(ed.recipe(), tmp_path)
    kinds = [step.edit for step in recipe.steps]
    assert kinds[0]["targets"] == ["block[12]_*"]
    assert kinds[1]["after"] == "block?_relu"
    assert kinds[2]["target"] == {"class_name": "MaxPooling2D", "module": "keras.layers"}
    assert kinds[3]["target"] == [f"block{i}_relu" for i in (1, 2, 3, 4)]
    assert recipe.steps[1].matched[0].paths == tuple(f"block{i}_relu" for i in (1, 2, 3, 4))
    found = recipe.apply(other)
    assert structure(found) == structure(ed)
    expected = ed.model
    for layer in other.layers:
        if layer.name in [kept.name for kept in expected.layers]:
            expected.get_layer(layer.name).set_weights(layer.get_weights())
    assert same(out(found.model, data(2, 8, 8, 3)), out(expected, data(2, 8, 8, 3)))


def small_cnn() -> keras.Model:
    """As `cnn`, with two blocks and another head."""
    x = inputs = keras.Input((8, 8, 3), name="image")
    for block in (1, 2):
        x = layers.Conv2D(6, 3, padding="same", name=f"block{block}_conv")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    return scramble(keras.Model(inputs, layers.Dense(2, name="head")(x), name="small"))


def edited_cnn() -> Editor:
    ed = Editor(models.cnn()).freeze("block4_*").freeze("block?_conv").remove("block1_bn")
    ed.append(layers.Dense(3, name="new")).rename("head", "old").append(layers.Dense(9, name="top"))
    return ed.insert(layers.Conv2D(4, 1, name="mix"), after="block1_conv")


def test_another_model_stops_at_the_first_that_does_not_fit(tmp_path: Path) -> None:
    recipe = through_file(edited_cnn().recipe(), tmp_path)
    with pytest.raises(ReplayError, match=r"Edit 1 of 7 \(freeze 'block4_\*'\).*No layer") as told:
        recipe.apply(small_cnn())
    assert isinstance(told.value.__cause__, TargetError)
    assert [row.outcome for row in told.value.replay] == ["skipped"]
    given = Editor(small_cnn()).freeze("gap").undo()
    _ = given.model
    before, model = state_of(given)[:4], given.model
    events: list[Any] = []
    given.subscribe(events.append)
    fine = Recipe.from_json({**recipe.to_json(), "steps": recipe.to_json()["steps"][1:]})
    with pytest.raises(ReplayError, match=r"Edit 2 of 6 \(remove 'block1_bn'\)"):
        Recipe.from_json(fine.to_json(), recipe.arrays).apply(given)
    assert state_of(given)[:4] == before, "what was there is there again"
    assert given.model is model and given.replay is None
    assert events[-1].kind == "undo"
    given.redo()
    assert given.history[-1].kind == "freeze", "what was undone can be made again"


def test_another_model_with_what_does_not_fit_skipped(tmp_path: Path) -> None:
    recipe = through_file(edited_cnn().recipe(), tmp_path)
    ed = recipe.apply(small_cnn(), on_error="skip")
    report = ed.replay
    assert report is not None and not report.ok and len(report) == 7
    outcomes = [row.outcome for row in report]
    assert outcomes == ["skipped", "done", "skipped", "done", "done", "done", "failed"]
    assert "block4_*" in report[0].reason and "block1_bn" in report[2].reason
    assert "block2_conv" in report[6].reason or "no longer fit" in report[6].reason
    (other,) = report[1].others
    assert other.before == tuple(f"block{i}_conv" for i in (1, 2, 3, 4))
    assert other.after == ("block1_conv", "block2_conv")
    assert "not 'block3_conv', 'block4_conv'" in str(other)
    assert dict(report.unused).keys() == {"mix/kernel", "mix/bias", "new/kernel"}
    assert "(3, 3)" in dict(report.unused)["new/kernel"]
    steps = [step.edit for step, o in zip(recipe.steps, outcomes, strict=True) if o == "done"]
    assert [edit.to_json(dict(recipe.arrays)) for edit in ed.history] == steps
    kernel = recipe.value("top/kernel")
    assert same(ed.model.get_layer("top").kernel.numpy(), kernel)
    json.dumps(report.to_json(), allow_nan=False)
    text = str(report)
    assert "4 done, 2 skipped, 1 failed" in text and "recorded 'mix/kernel' is not used" in text
    assert out(ed.model, data(2, 8, 8, 3))[0].shape == (2, 9)


def test_a_transaction_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    model = models.cnn()
    ed = Editor(model)
    with ed.transaction("two"):
        ed.freeze("block1_conv").remove("block4_relu")
    recipe = through_file(ed.recipe(), tmp_path)
    found = recipe.apply(small_cnn(), on_error="skip")
    assert found.history == () and found.replay is not None
    assert [row.outcome for row in found.replay] == ["skipped"]
    done = recipe.apply(model)
    assert len(done.history) == 1 and isinstance(done.history[0], Transaction)
    assert done.undo_label == "two"


def test_on_an_editor_with_edits_already() -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    recipe = Editor(model).append(layers.Dense(4, name="new")).freeze("block*").recipe()
    ed = Editor(model).remove("block2_relu").append(layers.Dense(4, name="mine"))
    _ = ed.model
    mine = ed.model.get_layer("mine").get_weights()
    assert recipe.apply(ed) is ed
    assert [e.kind for e in ed.history] == ["remove", "append", "append", "freeze"]
    assert same(ed.model.get_layer("mine").get_weights(), mine)
    assert same(ed.model.get_layer("new").bias.numpy(), recipe.value("new/bias"))
    assert len(ed.recipe()) == 4 and len(recipe) == 2
    before = out(ed.model, x)
    assert same(out(ed.recipe().apply(model).model, x), before)
    taken = Editor(model).append(layers.Dense(4, name="new")).model.layers[-1].get_weights()
    with pytest.raises(ReplayError, match="'new'"):
        recipe.apply(Editor(model).append(layers.Dense(4, name="new")))
    assert not same(taken, mine)


def test_weights_of_layers_that_were_there_before_are_left_alone() -> None:
    model = models.cnn()
    recipe = Editor(model).append(layers.Dense(3, name="dense")).recipe()
    ed = Editor(model).append(layers.Dense(3, name="dense"))
    before = ed.model.get_layer("dense").get_weights()
    recipe.apply(ed)
    assert same(ed.model.get_layer("dense").get_weights(), before)
    assert ed.replay is not None
    assert dict(ed.replay.unused).keys() == {"dense/kernel", "dense/bias"}


def test_in_a_transaction_of_the_editor() -> None:
    model = models.cnn()
    recipe = Editor(model).freeze("block1_*").remove("block2_relu").recipe()
    ed = Editor(model)
    with ed.transaction("all"):
        recipe.apply(ed)
        ed.freeze("head")
    assert len(ed.history) == 1 and len(ed.history[0].edits) == 3  # type: ignore[attr-defined]
    ed.undo()
    assert ed.graph is ed.source_graph


def test_a_file_is_a_model_too(tmp_path: Path) -> None:
    model, x = models.cnn(), data(2, 8, 8, 3)
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    recipe = Editor(model).freeze("block1_*").recipe()
    ed = recipe.apply(tmp_path / "m.keras")
    assert same(out(ed.model, x), out(model, x)) and ed.model.compiled
    assert not recipe.apply(str(tmp_path / "m.keras"), compile=False).model.compiled
    with pytest.raises(EditError, match=r"no\.keras"):
        recipe.apply(tmp_path / "no.keras")
    with pytest.raises(EditError, match="on_error"):
        recipe.apply(model, on_error="perhaps")  # type: ignore[arg-type]


def test_flags_and_weights_of_a_subclassed_model(tmp_path: Path) -> None:
    model, x = models.subclassed(), data(3, 4)
    ed = Editor(model).freeze("first").scale_weights("second", 2.0).reinitialize("first/kernel")
    check_same_opaque(ed, again(ed, model, tmp_path), x)


def check_same_opaque(ed: Editor, found: Editor, x: Any) -> None:
    assert as_json(ed) == as_json(found)
    assert same(out(ed.model, x), out(found.model, x))


# -- looking at a recipe -------------------------------------------------------------------------


def test_a_recipe_reads_well() -> None:
    ed = Editor(models.cnn()).freeze("block[12]_conv").remove("block3_relu")
    ed.append([layers.Dense(4), layers.ReLU()]).remove(layers.MaxPooling2D)
    recipe = ed.recipe()
    assert str(recipe) == (
        "Recipe of 4 edits, 2 weights\n"
        "  1  freeze 'block[12]_conv'\n"
        "       'block[12]_conv' named 'block1_conv', 'block2_conv'\n"
        "  2  remove 'block3_relu'\n"
        "  3  append Dense, ReLU\n"
        "  4  remove every MaxPooling2D\n"
        "       every MaxPooling2D named 'pool'"
    )
    assert repr(recipe) == "<Recipe: 4 edits, 2 weights>"
    assert len(recipe) == 4
    assert [edit.kind for edit in recipe] == ["freeze", "remove", "append", "remove"]
    assert recipe != ed.undo().recipe()
    assert recipe == ed.redo().recipe()
    assert str(Editor(models.cnn()).recipe()) == "Recipe of 0 edits, 0 weights"


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["Köpfe ★ 頭", "<b>bold<b>", "a" * 1000, "tab\tand\x1b[31m", "q'\"\\"]
    x = h = keras.Input((4,))
    for name in names:
        h = layers.Dense(4, name=name)(h)
    model = scramble(keras.Model(x, h))
    ed = Editor(model)
    for name in names:
        ed.insert(layers.Dense(4, name=name + " 2"), after=name).freeze(name)
    found = again(ed, model, tmp_path)
    check_same(ed, found, data(3, 4))
    assert "\x1b" not in str(ed.recipe()) + str(found.replay)
    through_file(ed.recipe(), tmp_path, "édits ★.json")


def test_what_users_type_is_data() -> None:
    ed = Editor(models.cnn())
    half, one = np.float32(0.5), np.int64(1)
    ed.scale_weights("head", half)  # pyright: ignore[reportArgumentType]
    ed.freeze(["block1_conv", ["block2_conv", (0, -1)]])
    ed.remove(np.array(["block4_relu"]).tolist(), expect=one)  # pyright: ignore[reportArgumentType]
    recipe = ed.recipe()
    found = recipe.apply(models.cnn())
    assert [edit.kind for edit in found.history] == [edit.kind for edit in ed.history]
    assert found.history[1].targets == ed.history[1].targets  # type: ignore[attr-defined]
    VALIDATOR.validate(recipe.to_json())


def test_undone_edits_and_those_before_a_reset_are_no_part() -> None:
    ed = Editor(models.cnn()).freeze("head").reset().freeze("gap").remove("pool").undo()
    assert [edit.kind for edit in ed.recipe()] == ["freeze"]
    assert ed.recipe().words() == ("freeze 'gap'",)


# -- files ---------------------------------------------------------------------------------------


def with_weights(seed: int = 0) -> Recipe:
    model = models.cnn()
    keras.utils.set_random_seed(seed)
    return Editor(model).append(layers.Dense(300, name="new")).recipe()


def test_arrays_stand_beside_the_json(tmp_path: Path) -> None:
    file = tmp_path / "edits.json"
    Editor(models.cnn()).freeze("head").recipe().save(file)
    assert [path.name for path in tmp_path.iterdir()] == ["edits.json"]
    recipe = with_weights()
    assert recipe.save(str(file)) is recipe
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edits.json", "edits.npz"]
    assert set(np.load(tmp_path / "edits.npz")) == set(recipe.arrays)
    first = file.read_bytes(), (tmp_path / "edits.npz").read_bytes()
    assert first[0].startswith(b'{\n  "format"') and first[0].endswith(b"}\n")
    Recipe.load(file).save(file)
    assert (file.read_bytes(), (tmp_path / "edits.npz").read_bytes()) == first, "stable"
    with_weights(1).save(file)
    assert read_npz(tmp_path / "edits.npz").keys() == with_weights(1).arrays.keys()
    Editor(models.cnn()).freeze("head").recipe().save(file)
    assert [path.name for path in tmp_path.iterdir()] == ["edits.json"], "no longer needed"


def test_large_arrays(tmp_path: Path) -> None:
    x = keras.Input((1000,))
    model = keras.Model(x, layers.Dense(1000, name="a")(x))
    ed = Editor(model).map_weights("a", lambda w: w + 1).append(layers.Dense(1000))
    check_same(ed, again(ed, model, tmp_path), data(2, 1000))
    assert (tmp_path / "edits.npz").stat().st_size > 8_000_000
    assert (tmp_path / "edits.json").stat().st_size < 10_000


@pytest.mark.parametrize("old", ["arrays", "none", "nothing"])
def test_killed_between_any_two_steps(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is the old recipe or the new one, whole, whenever the process ends."""
    file = tmp_path / "edits.json"
    before = {"arrays": with_weights(1), "none": Editor(models.cnn()).freeze("gap").recipe()}
    after = with_weights(2)
    seen = set()
    for steps in range(8):
        for path in tmp_path.iterdir():
            path.unlink()
        if old in before:
            before[old].save(file)
        left = iter(range(steps))

        def end(*args: Any, left: Any = left, real: Any = os.replace) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(recipe_module.os, "replace", end)
            try:
                after.save(file)
                seen.add("saved")
            except KeyboardInterrupt:
                seen.add("killed")
        if file.exists():
            assert Recipe.load(file) in (before.get(old), after)
        else:
            assert old == "nothing"
        after.save(file)
        assert Recipe.load(file) == after
        assert read_npz(tmp_path / "edits.npz").keys() == after.arrays.keys()
    assert seen == {"saved", "killed"}


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    np.savez(tmp_path / "edits.npz", mine=np.ones(3))
    before = (tmp_path / "edits.npz").read_bytes()
    for recipe in (with_weights(), Editor(models.cnn()).freeze("gap").recipe()):
        with pytest.raises(EditError, match=r"edits\.npz.*no recipe's"):
            recipe.save(tmp_path / "edits.json")
    assert (tmp_path / "edits.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["edits.npz"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in ("folder", "no/edits.json", "edits.npz", ""):
        with pytest.raises(EditError):
            with_weights().save(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "edits.json").symlink_to(tmp_path / "there" / "real.json")
    with_weights().save(tmp_path / "edits.json")
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["real.json", "real.npz"]
    assert Recipe.load(tmp_path / "edits.json") == with_weights()


# -- files that nobody vouches for ---------------------------------------------------------------


def recipe_of(edit: Any, **more: Any) -> dict[str, Any]:
    return {"format": "kerasedit recipe", "version": 1, "steps": [{"edit": edit}], **more}


def layer(class_name: str = "Dense", /, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}


def put(*items: Any) -> dict[str, Any]:
    return {"edit": "append", "block": list(items)}


def graph(items: Any, calls: Any, inputs: Any = None, outputs: Any = None, **more: Any) -> Any:
    block = {
        "layers": items,
        "calls": calls,
        "inputs": [{"ref": [0, 0]}] if inputs is None else inputs,
        "outputs": [{"ref": [1, 0]}] if outputs is None else outputs,
    }
    return {"edit": "append", "block": {**block, **more}}


ENTRY = {"input": None}
ON = {"layer": 1, "args": [{"ref": [0, 0]}]}
WEIGHT = {"name": "kernel", "dtype": "float32", "shape": [1], "base64": "AAAAAA=="}


def op(name: Any, **config: Any) -> dict[str, Any]:
    return {"op": name, "name": "x", "config": config}


def function(name: str, module: str = "builtins", **more: Any) -> dict[str, Any]:
    return {"class_name": "function", "module": module, "config": name, **more}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def inner_model(**changes: Any) -> list[Any]:
    """Layers of a block with a nested model in it, one thing of which is another."""
    config = {"batch_shape": [None, 2], "dtype": "float32", "name": "in"}
    model = {
        "model": "Functional",
        "name": "nested",
        "calls": [{"layer": 1}, {"layer": 2, "args": [{"ref": [0, 0]}]}],
        "inputs": [{"ref": [0, 0]}],
        "outputs": [{"ref": [1, 0]}],
    }
    return [ENTRY, {"input": config}, layer(units=2), {**model, **changes}]


HOSTILE: dict[str, Any] = {
    # code
    "a module": put(layer(units=1, activation=function("system", "os"))),
    "a builtin": put(layer(units=1, activation=function("eval"))),
    "a utility": put(layer(units=1, activation=function("get_file", "keras.utils"))),
    "a function by path": put(layer(units=1, activation=function("utils.get_file", "keras"))),
    "a class by path": put(layer(units=1, kernel_initializer={
        "class_name": "utils.get_file", "module": "keras", "config": {}})),
    "an import": put(layer(units=1, kernel_initializer={
        "class_name": "Popen", "module": "subprocess", "config": {"args": ["id"]}})),
    "a hidden import": put(layer(units=1, kernel_initializer={
        "class_name": "Popen", "module": "keras.src.ops.numpy", "config": {"args": ["id"]}})),
    "a lambda": put(layer(units=1, activation={"class_name": "__lambda__", "config": {
        "value": ["4wAAAA==", None, None]}})),
    "a type": put(layer(units=1, activation={"class_name": "__typespec__", "config": [],
        "spec_name": "Popen", "module": "subprocess", "registered_name": None})),
    "Lambda": put(layer("Lambda", function={"class_name": "__lambda__", "config": {}})),
    "Lambda wrapped": put(layer("TimeDistributed", layer=layer("Lambda"))),
    "Lambda wrapped by module": put(layer("TimeDistributed", layer={
        **layer("Lambda", function="x"), "module": "keras.layers"})),
    "a pickle": put(layer("TimeDistributed", layer={
        **layer("TorchModuleWrapper", module="gASV"), "module": "keras.layers"})),
    "code of jax": put(layer("JaxLayer", call_fn="x")),
    "a custom module": put({**layer("Scale"), "module": "evil", "registered_name": "evil>Scale2",
                            "class_name": "Scale2"}),
    "an op's function": graph([ENTRY, op("core.Map", f=function("system", "os"))], [ON]),
    # files
    "a saved model": put(layer("TFSMLayer", filepath="/tmp/evil")),
    "a saved model wrapped": put(layer("TimeDistributed", layer={
        **layer("TFSMLayer", filepath="/tmp/evil"), "module": "keras.layers"})),
    "a vocabulary": put(layer("StringLookup", vocabulary="/etc/passwd")),
    "a vocabulary deep inside": put(layer("TimeDistributed", layer=layer(
        "TextVectorization", vocabulary="/etc/passwd"))),
    "a vocabulary configured": {"edit": "configure", "target": "head",
                                "config": {"vocabulary": "/etc/passwd"}},
    "a module configured": {"edit": "configure", "target": "head",
                            "config": {"activation": function("system", "os")}},
    "an asset outside": put({**layer("StringLookup"), "weights": [], "assets": {
        "0/../../evil": {"dtype": "uint8", "shape": [1], "base64": "AA=="}}}),
    "an asset at the root": put({**layer("StringLookup"), "weights": [], "assets": {
        "0//etc/evil": {"dtype": "uint8", "shape": [1], "base64": "AA=="}}}),
    # without end or measure
    "deep arguments": put(layer(units=1, kernel_initializer=deep(500))),
    "a deep target": {"edit": "remove", "target": deep(600)},
    "a huge number": put(layer(units=10**400)),
    "huge layers": put(layer(units=2**40), layer(units=2**40)),
    "a huge factor": {"edit": "scale_weights", "target": "head", "factor": 10**400},
    "an infinite factor": {"edit": "scale_weights", "target": "head", "factor": float("inf")},
    "a huge call": {"edit": "remove", "target": "head", "call": 10**400},
    "a huge shape": put({**layer(units=1), "weights": [{**WEIGHT, "shape": [2**62, 2**62]}]}),
    "a negative shape": put({**layer(units=1), "weights": [{**WEIGHT, "shape": [-1]}]}),
    "many layers": put(*[layer(units=1)] * 20_001),
    # wrong types
    "no edit": {},
    "an unknown edit": {"edit": "explode"},
    "an unhashable edit": {"edit": ["remove"]},
    "a list": ["remove"],
    "a field too many": {"edit": "remove", "target": "head", "and": 1},
    "a field too few": {"edit": "remove"},
    "a function": {"edit": "map_weights", "target": "head", "fn": "print"},
    "a target of null": {"edit": "remove", "target": None},
    "a target of truth": {"edit": "remove", "target": True},
    "a class of a number": {"edit": "remove", "target": {"class_name": 3}},
    "a number for a name": {"edit": "rename", "target": "head", "name": 3},
    "a text for a flag": {"edit": "duplicate", "target": "head", "weights": "yes"},
    "a text for a shape": {"edit": "set_input", "shape": "12"},
    "a list for config": {"edit": "configure", "target": "head", "config": []},
    "arrays of nothing": {"edit": "set_weights", "target": "head", "arrays": 3},
    "arrays of numbers": {"edit": "set_weights", "target": "head", "arrays": [1, 2]},
    "an array not there": {"edit": "set_weights", "target": "head", "arrays": [
        {"dtype": "float32", "shape": [1], "array": "array_0"}]},
    "an array of objects": {"edit": "set_weights", "target": "head", "arrays": [
        {"dtype": "object", "shape": [1], "base64": "AAAAAAAAAAA="}]},
    "arrays drawn as a list": {"edit": "reinitialize", "target": "head", "arrays": "x"},
    "no block": {"edit": "append", "block": None},
    "an empty block": {"edit": "append", "block": []},
    "a block of text": {"edit": "append", "block": "Dense"},
    "a block of numbers": put(1, 2),
    "a class that is none": put(layer("NoSuchLayer")),
    "a model as a layer": put(layer("Sequential", layers=[])),
    "an input as a layer": put(layer("InputLayer", shape=[2])),
    "config of null": put({"class_name": "Dense", "config": None}),
    "a name of null": put({"class_name": None, "config": {}}),
    "weights of text": put({**layer(units=1), "weights": "x"}),
    "weights of numbers": put({**layer(units=1), "weights": [1]}),
    "a weight without a name": put({**layer(units=1), "weights": [{**WEIGHT, "name": 3}]}),
    "a weight too many fields": put({**layer(units=1), "weights": [{**WEIGHT, "x": 3}]}),
    "a flag of text": put({**layer(units=1), "trainable": "no"}),
    "ties to nothing": put({**layer(units=1), "ties": [[["kernel"], 7]]}),
    "ties of text": put({**layer(units=1), "ties": ["x"]}),
    "assets of text": put({**layer(units=1), "assets": "x"}),
    "shared text": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON], shared="x"),
    "too few weights": put({**layer(units=2), "weights": [WEIGHT]}),
    "other weights": put({**layer(units=2), "weights": [WEIGHT, WEIGHT]}),
    # calls
    "no calls": graph([ENTRY, layer(units=1)], []),
    "calls of text": graph([ENTRY, layer(units=1)], "x"),
    "no layers": graph([], [{"layer": 0}]),
    "layers of text": graph("x", [{"layer": 0}]),
    "a call of nothing": graph([ENTRY, layer(units=1)], [{"layer": 0}, {"layer": 7}]),
    "a call of true": graph([ENTRY, layer(units=1)], [{"layer": 0}, {"layer": True}]),
    "a call before": graph([ENTRY, layer(units=1)],
                           [{"layer": 0}, {"layer": 1, "args": [{"ref": [1, 0]}]}]),
    "a call later": graph([ENTRY, layer(units=1)],
                          [{"layer": 0}, {"layer": 1, "args": [{"ref": [5, 0]}]}]),
    "a call on nothing": graph([ENTRY, layer(units=1)], [{"layer": 0}, {"layer": 1}]),
    "a call on text": graph([ENTRY, layer(units=1)], [{"layer": 0}, {"layer": 1, "args": "x"}]),
    "another output": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON],
                            outputs=[{"ref": [1, 3]}]),
    "a negative output": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON],
                               outputs=[{"ref": [1, -1]}]),
    "no output": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON], outputs=[]),
    "two outputs": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON],
                         outputs=[{"ref": [1, 0]}, {"ref": [1, 0]}]),
    "two inputs": graph([ENTRY, ENTRY, layer(units=1)],
                        [{"layer": 0}, {"layer": 1}, {"layer": 2, "args": [{"ref": [0, 0]}]}],
                        inputs=[{"ref": [0, 0]}, {"ref": [1, 0]}], outputs=[{"ref": [2, 0]}]),
    "inputs of text": graph([ENTRY, layer(units=1)], [{"layer": 0}, ON], inputs="x"),
    "an op of mine": graph([ENTRY, op("os.system")], [{"layer": 0}, ON]),
    "an op that is a function": graph([ENTRY, op("function.Function")], [{"layer": 0}, ON]),
    "an op of a number": graph([ENTRY, op(3)], [{"layer": 0}, ON]),
    "an op's arguments": graph([ENTRY, op("numpy.Add", wrong=1)], [{"layer": 0}, ON]),
    "a deep argument": graph([ENTRY, layer(units=1)],
                             [{"layer": 0}, {"layer": 1, "args": [{"ref": [0, 0]}, deep(500)]}]),
    "an unknown argument": graph([ENTRY, layer(units=1)],
                                 [{"layer": 0}, {"layer": 1, "args": [{"eval": "1"}]}]),
    "a weight of nothing": graph([ENTRY, op("numpy.Add")], [{"layer": 0}, {
        "layer": 1, "args": [{"ref": [0, 0]}, {"variable": [1, 0]}]}]),
    # models
    "a model of itself": graph(inner_model(calls=[{"layer": 1}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]), [{"layer": 0}, {
            "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model without name": graph(inner_model(name=None), [{"layer": 0}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model of a path": graph(inner_model(name="a/b"), [{"layer": 0}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model of no kind": graph(inner_model(model="Popen"), [{"layer": 0}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model's names": graph(inner_model(output_names=["a", "b"]), [{"layer": 0}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model's policy": graph(inner_model(dtype={"class_name": "Popen", "module": "subprocess",
                                                 "config": {}}), [{"layer": 0}, {
        "layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a model's input": graph([ENTRY, {"input": {"shape": "x"}}, *inner_model()[2:]], [
        {"layer": 0}, {"layer": 3, "args": [{"ref": [0, 0]}]}]),
    "a class of mine": graph([ENTRY, {**layer("Popen"), "registered_name": "Popen",
                                      "inside": []}], [{"layer": 0}, ON]),
    "a layer as a class": graph([ENTRY, {**layer("Scale"), "registered_name": "tests>Scale",
                                         "inside": []}], [{"layer": 0}, ON]),
}  # fmt: skip


@pytest.fixture(scope="module")
def untouched() -> Editor:
    """An editor that no test changes."""
    ed = Editor(models.cnn()).freeze("block1_conv")
    _ = ed.model
    return ed


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_changes_nothing(
    name: str, untouched: Editor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it was run"))
    file = tmp_path / "edits.json"
    file.write_text(json.dumps(recipe_of(HOSTILE[name])))
    ed = untouched
    before, built_copy = state_of(ed), ed.model
    with pytest.raises(EditError):
        Recipe.load(file).apply(ed)
    assert [item for item in state_of(ed) if item != ed.revision] == [
        item for item in before if item != before[4]
    ]
    assert ed.model is built_copy and ed.replay is None


@pytest.mark.tensorflow
def test_a_vocabulary_of_garbage_is_an_error_when_the_model_is_built() -> None:
    files = {"0/vocabulary.txt": {"dtype": "uint8", "shape": [3], "base64": "////"}}
    edit = {"edit": "insert", "block": [{**layer("StringLookup"), "assets": files}], "after": "w"}
    words = keras.Input((2,), dtype="string", name="w")
    model = keras.Model(words, layers.Hashing(3)(words))
    ed = Recipe.from_json(recipe_of(edit)).apply(model)
    with pytest.raises(EditError, match="cannot be built"):
        _ = ed.model


def test_a_class_that_was_registered_is_taken() -> None:
    """So that what is refused above is not refused for another reason."""
    item = {**layer("Scale", start=2.0), "registered_name": "tests>Scale"}
    calls = [{"layer": 0}, {"layer": 3, "args": [{"ref": [0, 0]}]}]
    for edit in (
        put(layer(units=2, activation=function("tests_recipe>doubled"))),
        put(
            layer(units=2, activation="relu"), item, layer("TimeDistributed", layer=layer(units=2))
        ),
        graph([ENTRY, op("nn.Relu")], [{"layer": 0}, ON]),
        {"edit": "append", "block": {**graph(inner_model(), calls)["block"]}},
    ):
        recipe = Recipe.from_json(recipe_of(edit))
        VALIDATOR.validate(recipe.to_json())
        x = keras.Input((2, 2) if "Time" in json.dumps(edit) else (2,))
        model = keras.Model(x, layers.Dense(2)(x))
        assert recipe.apply(model).model.count_params() >= model.count_params()


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "3", "[]", "{}", "{", '{"format": "kerasedit recipe"}',
        '{"format": "kerasedit recipe", "version": 2, "steps": []}',
        '{"format": "kerasedit recipe", "version": 1}',
        '{"format": "kerasedit recipe", "version": 1, "steps": {}}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [3]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{}]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [], "more": 1}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [], "values": []}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [], "values": {"a/b": 3}}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [], "values": {"a/b": {}}}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": {"edit": "remove", '
        '"target": "a"}, "matched": 3}]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": {"edit": "remove", '
        '"target": "a"}, "matched": [{"target": null, "paths": []}]}]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": {"edit": "remove", '
        '"target": "a"}, "matched": [{"target": "a", "paths": [3]}]}]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": {"edit": '
        '"scale_weights", "target": "a", "factor": NaN}}]}',
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": {"edit": '
        '"scale_weights", "target": "a", "factor": 1e999}}]}',
        "[" * 100_000, "9" * 10_000, "\ud800",
        '{"format": "kerasedit recipe", "version": 1, "steps": [{"edit": '
        + '{"edit": "transaction", "label": "", "edits": [' * 3000 + "]}" * 3000 + "}]}",
    ],
)  # fmt: skip
def test_what_is_no_recipe(text: str, tmp_path: Path) -> None:
    file = tmp_path / "edits.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(EditError, match=r"edits\.json"):
        Recipe.load(file)
    with pytest.raises(EditError, match=r"no\.json"):
        Recipe.load(tmp_path / "no.json")
    with pytest.raises(EditError):
        Recipe.load(tmp_path)


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def header(shape: str) -> bytes:
    """A header of an array that has no values."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo it was run",)


def hostile_npz(kind: str, key: str) -> bytes:
    array = np.zeros(300, "float32")
    if kind == "missing":
        return npz()
    if kind == "no zip":
        return b"PK\x05\x06 no zip"
    if kind == "pickle":
        return npz(**{key: npy(np.array([Evil()], dtype=object), pickled=True)})
    if kind == "plain pickle":
        import pickle

        return pickle.dumps(Evil())
    if kind == "huge header":
        return npz(**{key: header("(1000000000000,)")})
    if kind == "many dimensions":
        return npz(**{key: header("(" + "1," * 2000 + ")")})
    if kind == "code in a header":
        return npz(**{key: header("__import__('os').system('echo it was run')")})
    if kind == "another name":
        return npz(**{"../../evil": npy(array), key: npy(array)})
    if kind == "another shape":
        return npz(**{key: npy(np.zeros((3, 3), "float32"))})
    if kind == "cut":
        return npz(**{key: npy(array)})[:-700]
    if kind == "damaged":
        found = bytearray(npz(**{key: npy(array)}))
        found[400] ^= 1
        return bytes(found)
    assert kind == "bomb"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{key}.npy", npy(np.zeros(10_000_000, "float32")))
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["missing", "no zip", "pickle", "plain pickle", "huge header", "many dimensions", "bomb",
     "code in a header", "another name", "another shape", "cut", "damaged", "gone"],
)  # fmt: skip
def test_a_hostile_file_of_arrays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Editor(models.cnn()).append(layers.Dense(300, use_bias=False, name="new")).recipe()
    recipe.save(tmp_path / "edits.json")
    (key,) = recipe.arrays
    beside = tmp_path / "edits.npz"
    if kind == "gone":
        beside.unlink()
    else:
        beside.write_bytes(hostile_npz(kind, key))
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it was run"))
    with pytest.raises(EditError, match="edits"):
        Recipe.load(tmp_path / "edits.json")


def test_an_array_beside_is_the_one_that_is_meant(tmp_path: Path) -> None:
    """The `.npz` of another recipe, with arrays of the very same shapes, is not taken for it."""
    with_weights(1).save(tmp_path / "one.json")
    with_weights(2).save(tmp_path / "two.json")
    os.replace(tmp_path / "two.npz", tmp_path / "one.npz")
    with pytest.raises(EditError, match="is not in the file of arrays"):
        Recipe.load(tmp_path / "one.json")


def test_models_in_models_without_end_are_refused() -> None:
    config = {"batch_shape": [None, 3], "dtype": "float32", "name": "in"}
    items: list[Any] = [ENTRY, {"input": config}, layer("ReLU", name="r")]
    inner = 2
    for level in range(30):  # each level has two models with the level below in both
        pair = []
        for name in ("a", "b"):
            items.append(
                {
                    "model": "Functional",
                    "name": f"{name}{level}",
                    "calls": [{"layer": 1}, {"layer": inner, "args": [{"ref": [0, 0]}]}],
                    "inputs": [{"ref": [0, 0]}],
                    "outputs": [{"ref": [1, 0]}],
                }
            )
            pair.append(len(items) - 1)
        calls = [{"layer": 1}]
        calls += [{"layer": n, "args": [{"ref": [i, 0]}]} for i, n in enumerate(pair)]
        items.append(
            {
                "model": "Functional",
                "name": f"c{level}",
                "calls": calls,
                "inputs": [{"ref": [0, 0]}],
                "outputs": [{"ref": [2, 0]}],
            }
        )
        inner = len(items) - 1
    edit = graph(items, [{"layer": 0}, {"layer": inner, "args": [{"ref": [0, 0]}]}])
    with pytest.raises(EditError, match="too many layers"):
        Recipe.from_json(recipe_of(edit)).apply(models.cnn())


def test_a_model_that_grows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasedit.replay.MOST_LAYERS", 60)
    edits = [{"edit": {"edit": "duplicate", "target": "*"}}] * 40
    recipe = Recipe.from_json({**recipe_of({}), "steps": edits})
    ed = Editor(keras.Sequential([keras.Input((4,)), layers.ReLU(), layers.Dense(4)]))
    with pytest.raises(ReplayError, match="more than 60 layers"):
        recipe.apply(ed)
    assert ed.graph is ed.source_graph and not ed.history


def test_base64_is_read_strictly() -> None:
    good = base64.b64encode(np.ones(1, "float32").tobytes()).decode()
    for text in (good[:-1], good + "*", "é", 3, None):
        edit = {"edit": "set_weights", "target": "head/bias", "arrays": [
            {"dtype": "float32", "shape": [1], "base64": text}]}  # fmt: skip
        with pytest.raises(EditError):
            Recipe.from_json(recipe_of(edit))


def test_one_by_hand(tmp_path: Path) -> None:
    """A recipe needs no more than its edits."""
    file = tmp_path / "edits.json"
    block = [{"class_name": "Dropout", "config": {"rate": 0.25}}]
    file.write_text(
        json.dumps(recipe_of({"edit": "insert", "block": block, "after": "block?_relu"}))
    )
    ed = Recipe.load(file).apply(models.cnn())
    assert len(ed.find(layers.Dropout)) == 4
    assert ed.replay is not None and ed.replay.ok
    VALIDATOR.validate(json.loads(file.read_text()))


def test_an_edit_object_can_be_made_on_another_editor() -> None:
    """What `ed.history` holds of drawn values is made again with the very same."""
    model = models.cnn()
    ed = Editor(model).reinitialize("head")
    again_ = Editor(model).apply(ed.history[0])
    assert same(*(e.model.get_layer("head").get_weights() for e in (ed, again_)))
    ed.reinitialize("head")
    assert not same(*(e.model.get_layer("head").get_weights() for e in (ed, again_)))
    assert ed.history[0].to_code() == "ed.reinitialize('head')"
    with pytest.raises(TargetError):
        Editor(models.fork()).apply(ed.history[0])
    assert ScaleWeights("a", 2.0) in Editor(models.chain()).scale_weights("a", 2.0).recipe().edits()
