"""Plans: what an edit would do, told without doing it."""

from __future__ import annotations

import random
from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import Editor, Plan
from tests import models
from tests.models import fingerprint, state_of, variables_made, weights_of


def previews(ed: Editor) -> dict[str, Any]:
    donor = models.chain().get_layer("b")
    dense, lstm = layers.Dense(5, name="new"), layers.LSTM(5)
    seeded = [layers.Dropout(0.5), layers.GaussianNoise(1.0)]
    return {
        "remove": lambda: ed.preview.remove("drop"),
        "insert": lambda: ed.preview.insert(dense, after="a"),
        "seeded": lambda: ed.preview.insert(seeded, after="a"),
        "transplant": lambda: ed.preview.insert(donor, after="a"),
        "append": lambda: ed.preview.append(dense),
        "replace": lambda: ed.preview.replace("b", lstm, on_mismatch="reinit"),
        "slice": lambda: ed.preview.remove("a", on_mismatch="slice"),
        "rename": lambda: ed.preview.rename("a", "z"),
        "trim": lambda: ed.preview.trim(2),
        "freeze": lambda: ed.preview.freeze("**"),
        "unknown": lambda: ed.preview.remove("nope"),
        "mismatch": lambda: ed.preview.remove("a"),
    }


@pytest.mark.parametrize("name", list(previews(Editor(models.chain()))))
def test_a_preview_changes_and_allocates_nothing(name: str) -> None:
    model = models.chain()
    before = fingerprint(model)
    ed = Editor(model).freeze("c").undo()
    make = previews(ed)[name]
    state, numbers = state_of(ed), random.getstate()
    with variables_made() as made:
        plan = make()
        str(plan)
        _ = (plan.params_after, plan.flops_after, plan.bytes_after)
    assert isinstance(plan, Plan)
    assert made == []
    assert not ed._copy.built  # no copy was built either
    assert state_of(ed) == state
    assert fingerprint(model) == before
    assert random.getstate() == numbers


def test_the_watch_on_variables_sees_them() -> None:
    with variables_made() as made:
        models.chain()
    assert len(made) >= 10


def test_a_preview_leaves_random_numbers_alone() -> None:
    ed = Editor(models.chain())
    block = layers.Dense(5, name="new")
    state = random.getstate()
    ed.preview.insert(block, after="a")
    ed.preview.insert(lambda t: layers.Dropout(0.5)(layers.Dense(3)(t)), before="c")
    assert random.getstate() == state


def test_a_preview_after_the_copy_was_built_leaves_it() -> None:
    ed = Editor(models.chain())
    copy, weights = ed.model, weights_of(ed.model)
    for make in previews(ed).values():
        make()
    assert ed.model is copy
    assert models.same(weights_of(copy), weights)


def test_what_is_previewed_is_what_happens() -> None:
    model = models.cnn()
    ed = Editor(model)
    plan = ed.preview.replace(
        "block2_conv", layers.Conv2D(6, 3, padding="same"), on_mismatch="slice"
    )
    ed.replace("block2_conv", layers.Conv2D(6, 3, padding="same"), on_mismatch="slice")
    assert plan.params_before == model.count_params()
    assert plan.params_after == ed.model.count_params()
    assert plan.bytes_after == sum(w.numpy().nbytes for w in ed.model.weights)
    by_name = {layer.name: layer for layer in ed.model.layers}
    for path, before, after in plan.shape_changes:
        assert tuple(model.get_layer(path).output.shape) == before
        assert tuple(by_name[path].output.shape) == after
    assert {path for path, _, _ in plan.shape_changes} == {"block2_bn", "block2_relu"}
    assert plan.reinitialized == ("conv2d/kernel", "conv2d/bias")
    assert plan.sliced == (
        "block2_bn/gamma",
        "block2_bn/beta",
        "block2_bn/moving_mean",
        "block2_bn/moving_variance",
        "block3_conv/kernel",
    )


def test_parameters_and_operations_of_a_known_model() -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(10, name="dense"),
        ]
    )
    plan = Editor(model).preview.remove("conv", on_mismatch="reinit")
    conv = 2 * (8 * 8) * 4 * (3 * 3 * 3)
    dense = 2 * 256 * 10 + 10
    assert plan.params_before == 3 * 3 * 3 * 4 + 256 * 10 + 10
    assert plan.flops_before == conv + dense
    assert plan.params_after == 192 * 10 + 10
    assert plan.flops_after == 2 * 192 * 10 + 10
    assert plan.bytes_after == 4 * (192 * 10 + 10)


def test_operations_that_are_not_known_are_not_guessed() -> None:
    x = keras.Input((None, 3))
    h = layers.Dropout(0.5, name="drop")(x)
    plan = Editor(keras.Model(x, layers.LSTM(4)(h))).preview.remove("drop")
    assert plan.flops_before is None
    assert plan.flops_after is None


def test_bytes_follow_the_dtype() -> None:
    policy = keras.DTypePolicy("float16")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, dtype=policy, name="d"), layers.ReLU()]
    )
    assert Editor(model).preview.remove(-1).bytes_after == 2 * 15


def test_a_plan_that_cannot_be_made_says_why() -> None:
    plan = Editor(models.chain()).preview.remove("a")
    assert not plan.ok and not plan
    assert "'b/kernel' has shape (5, 5)" in plan.errors[0]
    assert plan.params_after is None
    assert plan.bytes_after is None
    assert plan.code == "ed.remove('a')"
    assert "cannot be done" in str(plan)
    plan = Editor(models.chain()).preview.remove("dorp")
    assert "'drop'" in plan.errors[0]


def test_a_plan_in_words() -> None:
    text = str(Editor(models.two_ways()).preview.remove("both", keep=0, on_mismatch="slice"))
    assert text.splitlines() == [
        "Remove 'both'",
        "  keeps the overlapping part: top/kernel",
        "  goes too: right",
        "  goes too: r1",
        "  goes too: r2",
        "  parameters: 97 to 32 (-65)",
    ]


def test_code_of_a_plan_makes_the_edit() -> None:
    ed = Editor(models.chain())
    made: dict[str, Plan] = {
        "ed.remove('drop')": ed.preview.remove("drop"),
        "ed.freeze('a', [1, 'b'])": ed.preview.freeze("a", [1, "b"]),
        "ed.rename('a', 'z')": ed.preview.rename("a", "z"),
        "ed.trim(2)": ed.preview.trim(2),
        "ed.remove('a', on_mismatch='slice')": ed.preview.remove("a", on_mismatch="slice"),
        "ed.insert(layers.Dropout(rate=0.25), after='a')": ed.preview.insert(
            layers.Dropout(0.25), after="a"
        ),
        "ed.freeze(layers.Dense)": ed.preview.freeze(layers.Dense),
    }
    for code, plan in made.items():
        assert plan.code == code
        again = Editor(models.chain())
        exec(code, {"ed": again, "layers": layers})
        assert len(again.history) == 1


def test_every_editing_method_can_be_previewed() -> None:
    ed = Editor(models.chain())
    for name in ("remove", "insert", "append", "replace", "rename", "trim", "freeze", "unfreeze",
                 "freeze_up_to", "apply"):  # fmt: skip
        assert callable(getattr(ed.preview, name))
    plan = ed.preview.apply(Editor(models.chain()).remove("drop").history[0])
    assert plan.ok and plan
    assert ed.history == ()


def test_a_plan_of_flags_tells_what_would_train() -> None:
    ed = Editor(models.chain())
    first = ed.model.get_layer("a").count_params()
    trainable = sum(keras.ops.size(v) for v in ed.model.trainable_variables)
    assert f"{trainable:,} to {trainable - first:,}" in str(ed.preview.freeze("a"))
    assert "train" not in str(ed.preview.rename("a", "z"))


def test_a_compiled_model_is_told_that_its_targets_no_longer_fit() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, name="hidden"), layers.Dense(3, name="head")]
    )
    ed = Editor(model)
    assert not any("targets" in note for note in ed.preview.remove("head").notes)
    model.compile("sgd", "mse")
    ed = Editor(model)
    (note,) = ed.preview.remove("head").notes
    assert note == (
        "output 'head' becomes (None, 8), from (None, 3): the loss that the model was compiled with "
        "needs targets to match"
    )
    ed.remove("head")
    assert ed.report == (note,)
    # Nothing is told of what stays as it is.
    assert ed.preview.freeze("hidden").notes == ()
