"""How a target names layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor, TargetError
from kerasedit.targets import _compile
from tests import models

# The widget's filter is held to the same.
GLOBS = json.loads((Path(__file__).parents[1] / "globs.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cnn() -> Editor:
    return Editor(models.cnn())


@pytest.fixture(scope="module")
def nested() -> Editor:
    return Editor(models.nested())


def test_layers_stand_in_data_order_nested_ones_after_their_model(nested: Editor) -> None:
    assert [view.path for view in nested.layers] == [
        "x",
        "backbone",
        "backbone/back_in",
        "backbone/conv1",
        "backbone/bn",
        "backbone/inner",
        "backbone/inner/inner_in",
        "backbone/inner/dense",
        "backbone/conv2",
        "drop",
        "head",
    ]


def test_a_path_names_one_layer(nested: Editor) -> None:
    assert nested.find("head") == ["head"]
    assert nested.find("backbone/conv1") == ["backbone/conv1"]
    assert nested.find("backbone/inner/dense") == ["backbone/inner/dense"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("block[1-3]_conv", ["block1_conv", "block2_conv", "block3_conv"]),
        ("block[!1-3]_conv", ["block4_conv"]),
        ("block[24]_relu", ["block2_relu", "block4_relu"]),
        ("block?_bn", ["block1_bn", "block2_bn", "block3_bn", "block4_bn"]),
        ("block1*", ["block1_conv", "block1_bn", "block1_relu"]),
        ("*a*d", ["head"]),
        ("h?ad", ["head"]),
        ("*l", ["pool"]),
    ],
)
def test_globs(cnn: Editor, pattern: str, names: list[str]) -> None:
    assert cnn.find(pattern) == names


@pytest.mark.parametrize("case", GLOBS, ids=lambda case: case["glob"])
def test_globs_fit_whole_paths(case: dict[str, Any]) -> None:
    pattern = _compile(case["glob"])
    assert [path for path in case["fits"] if not pattern.fullmatch(path)] == []
    assert [path for path in case["not"] if pattern.fullmatch(path)] == []


def test_a_star_stays_within_a_level_and_two_cross_them(nested: Editor) -> None:
    assert nested.find("*") == ["x", "backbone", "drop", "head"]
    assert nested.find("backbone/*") == [
        "backbone/back_in",
        "backbone/conv1",
        "backbone/bn",
        "backbone/inner",
        "backbone/conv2",
    ]
    assert nested.find("backbone/**") == [
        p.path for p in nested.layers if p.path.startswith("backbone/")
    ]
    assert nested.find("**") == [view.path for view in nested.layers]
    assert nested.find("**/dense") == ["backbone/inner/dense"]
    assert nested.find("**/head") == ["head"]  # ** may stand for no level at all
    assert nested.find("*/conv?") == ["backbone/conv1", "backbone/conv2"]
    assert nested.find("back?one/conv1") == ["backbone/conv1"]
    with pytest.raises(TargetError):
        nested.find("backbone?conv1")


def test_a_name_that_looks_like_a_pattern_is_that_name() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2), layers.Dense(2)])
    model.layers[0].name, model.layers[1].name = "a[1]", "a1"
    ed = Editor(model)
    assert ed.find("a[1]") == ["a[1]"]


@pytest.mark.parametrize(
    "pattern", ["block(1)*", "a+*", "^head$*", "b.ock1_conv*", "\\d*", "[z-a]*"]
)
def test_signs_of_regular_expressions_mean_themselves(cnn: Editor, pattern: str) -> None:
    with pytest.raises(TargetError):
        cnn.find(pattern)


def test_indexes_from_both_ends(cnn: Editor) -> None:
    paths = [view.path for view in cnn.layers]
    for index in (0, 3, len(paths) - 1, -1, -len(paths)):
        assert cnn.find(index) == [paths[index]]
    for index in (len(paths), -len(paths) - 1, 10**30):
        with pytest.raises(TargetError, match=f"{len(paths)}"):
            cnn.find(index)


def test_indexes_count_nested_layers_too(nested: Editor) -> None:
    assert nested.find(3) == ["backbone/conv1"]


def test_classes_base_classes_too(cnn: Editor, nested: Editor) -> None:
    assert cnn.find(layers.BatchNormalization) == [f"block{i}_bn" for i in (1, 2, 3, 4)]
    assert nested.find(layers.Dense) == [
        "backbone/conv1",
        "backbone/inner/dense",
        "backbone/conv2",
        "head",
    ]
    assert nested.find(keras.Model) == ["backbone", "backbone/inner"]
    with pytest.raises(TargetError, match="Conv3D"):
        cnn.find(layers.Conv3D)


def test_a_class_of_the_same_name_is_another_class(cnn: Editor) -> None:
    class Dense(layers.Layer):
        pass

    with pytest.raises(TargetError):
        cnn.find(Dense)


def test_predicates_see_views(cnn: Editor) -> None:
    assert cnn.find(lambda view: view.params == 4 * 3 * 3 * 4 + 4) == [
        "block2_conv",
        "block3_conv",
        "block4_conv",
    ]
    assert cnn.find(lambda view: view.kind == "input") == ["image"]
    assert cnn.find(lambda view: view.output_shape == (None, 4)) == ["gap"]
    with pytest.raises(TargetError):
        cnn.find(lambda view: False)


def test_layer_objects_of_the_source_and_of_the_copy() -> None:
    model = models.nested()
    ed = Editor(model)
    backbone = model.get_layer("backbone")
    assert ed.find(backbone.get_layer("conv1")) == ["backbone/conv1"]
    assert ed.find(backbone) == ["backbone"]
    assert ed.find(ed.model.get_layer("head")) == ["head"]
    assert ed.find(ed.model.get_layer("backbone").get_layer("inner")) == ["backbone/inner"]
    ed.rename("head", "top").remove("drop")
    assert ed.find(model.get_layer("head")) == ["top"]
    assert ed.find(ed.model.get_layer("top")) == ["top"]
    with pytest.raises(TargetError, match="drop"):
        ed.find(model.get_layer("drop"))
    with pytest.raises(TargetError, match="neither"):
        ed.find(layers.Dense(2))


def test_lists_name_each_layer_once_in_data_order(cnn: Editor) -> None:
    mixed = ["head", 0, "block1_*", layers.GlobalAveragePooling2D, "block1_bn", ["pool"]]
    assert cnn.find(mixed) == [
        "image",
        "block1_conv",
        "block1_bn",
        "block1_relu",
        "pool",
        "gap",
        "head",
    ]
    for empty in ([], (), [[]]):
        with pytest.raises(TargetError):
            cnn.find(empty)
    with pytest.raises(TargetError, match="nothing_here"):
        cnn.find(["head", "nothing_here"])


def test_views_are_targets(cnn: Editor) -> None:
    assert cnn.find(cnn.layers[2]) == ["block1_bn"]


def test_a_raw_op_has_a_name_and_a_shared_layer_one_place() -> None:
    ed = Editor(models.raw_ops())
    kinds = {view.path: view.kind for view in ed.layers}
    assert [kinds[path] for path in ("x", "a", "add", "top")] == ["input", "layer", "op", "layer"]
    assert ed.find("get_item") == ["get_item"]
    assert Editor(models.shared()).find("tower") == ["tower"]


@pytest.mark.parametrize(
    ("wrong", "offered"),
    [("block1_cov", "'block1_conv'"), ("haed", "'head'"), ("Pool", "'pool'"), ("gap_", "'gap'")],
)
def test_unknown_names_offer_the_nearest(cnn: Editor, wrong: str, offered: str) -> None:
    with pytest.raises(TargetError) as caught:
        cnn.find(wrong)
    assert wrong in str(caught.value)
    assert offered in str(caught.value)
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, EditError)
    assert isinstance(caught.value, ValueError)


def test_a_name_from_inside_offers_its_path(nested: Editor) -> None:
    with pytest.raises(TargetError, match="'backbone/conv1'"):
        nested.find("conv1")


@pytest.mark.parametrize(
    "nonsense", [None, True, False, 1.5, object(), b"head", "", " ", "a" * 5000]
)
def test_what_names_no_layer(cnn: Editor, nonsense: object) -> None:
    with pytest.raises(TargetError):
        cnn.find(nonsense)


@pytest.mark.parametrize(
    "edit",
    [
        lambda ed, n: ed.extract("block1_conv", "gap", expect=n),
        lambda ed, n: ed.nest("block1_conv", "block1_bn", "first", expect=n),
        lambda ed, n: ed.replace_between("block1_bn", "block1_relu", layers.ReLU(), expect=n),
        lambda ed, n: ed.add_branch(
            layers.Identity(), source="block1_bn", into="block1_relu", merge=layers.Add(), expect=n
        ),
        lambda ed, n: ed.connect("block1_conv", "block1_relu", merge=layers.Add(), expect=n),
    ],
    ids=["extract", "nest", "replace_between", "add_branch", "connect"],
)
def test_expect_where_one_layer_is_needed(edit: Any) -> None:
    ed = Editor(models.cnn())
    with pytest.raises(TargetError, match="2 layers were expected"):
        edit(ed, 2)
    assert edit(ed, 1).history[0].to_json().keys().isdisjoint({"expect"})


def test_numbers_of_numpy_name_layers(cnn: Editor) -> None:
    ed = Editor(models.cnn())
    assert ed.find(np.int64(1)) == ed.find(1) and ed.find([np.uint8(1)]) == ed.find(1)
    with pytest.raises(TargetError, match="names no layer"):
        ed.find(np.True_)
    numbers: list[Any] = [np.int64(16), np.int64(1)]
    ed.freeze(numbers[1]).set_input((numbers[0], 16, 3)).undo(numbers[1])
    assert ed.history[0].to_json() == {"edit": "freeze", "targets": [1]}


def test_expect(cnn: Editor) -> None:
    ed = Editor(cnn.source)
    before = models.state_of(ed)
    with pytest.raises(TargetError, match=r"block1_relu.*block4_relu"):
        ed.remove("block?_relu", expect=3)
    with pytest.raises(TargetError):
        ed.replace("block?_relu", layers.ReLU(), expect=1)
    with pytest.raises(TargetError):
        ed.insert(layers.Dropout(0.1), after="block?_relu", expect=5)
    assert models.state_of(ed) == before
    assert len(ed.remove("block?_relu", expect=4).layers) == len(cnn.layers) - 4


def test_many_names_are_told_in_short() -> None:
    many = [layers.ReLU(name=f"r{number}") for number in range(50)]
    ed = Editor(keras.Sequential([keras.Input((2,), name="x"), *many]))
    with pytest.raises(TargetError, match=r"the target names 50: r0, .*r7 and 42 more\.$"):
        ed.remove("r*", expect=3)
    with pytest.raises(TargetError, match=r"several: r0, .*r7 and 42 more\.$"):
        ed.rename("r*", "x")
    with pytest.raises(TargetError, match=r"layers are x, r0, .*r6 and 43 more\.$"):
        ed.remove("nothing like it")


def test_methods_of_one_layer_list_the_several_that_a_target_names() -> None:
    ed = Editor(models.cnn())
    before = models.state_of(ed)
    for act in (
        lambda: ed.rename("block?_bn", "x"),
        lambda: ed.trim("block?_bn"),
        lambda: ed.freeze_up_to("block?_bn"),
        lambda: ed.insert(layers.ReLU(), after="block1_bn", before="block?_bn"),
        lambda: ed.insert(layers.ReLU(), after="block?_bn", before="block1_relu"),
    ):
        with pytest.raises(TargetError, match=r"block1_bn, block2_bn, block3_bn, block4_bn"):
            act()
    assert models.state_of(ed) == before


def test_targets_in_the_history_are_data() -> None:
    model = models.chain()
    ed = Editor(model)
    ed.freeze(lambda view: view.params == 12, model.get_layer("a"), layers.BatchNormalization, 3)
    (edit,) = ed.history
    assert edit.targets == (  # pyright: ignore
        ("c",),
        "a",
        {"class_name": "BatchNormalization", "module": "keras.layers"},
        3,
    )
    where = layers.BatchNormalization.__module__
    assert ed.find({"class_name": "BatchNormalization", "module": where}) == ["norm"]
    assert [view.path for view in ed.layers if not view.trainable] == ["a", "b", "norm", "c"]
