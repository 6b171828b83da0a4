"""Channel groups and channel pruning: pruning is zeroing, on outputs, for every kind of layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, Recipe, StructureError, TargetError
from tests import models
from tests.models import data, fingerprint, out, refused, same, scramble
from tests.pruning import NAMES, ZOO, check_pruned, distinct
from tests.unit.test_ties import put_in


def groups_of(model: keras.Model) -> list[tuple[str, ...]]:
    """The makers of the groups that can go."""
    found = Editor(model).channel_groups()
    return [tuple(sorted(group.makers)) for group in found if group.prunable]


# -- the oracle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_pruning_is_zeroing(name: str) -> None:
    """Each group by itself, and all of them at once."""
    make, batch = ZOO[name]
    source, x = make(), batch()
    before = fingerprint(source)
    ed = Editor(source)
    groups = [group for group in ed.channel_groups() if group.prunable and group.channels > 1]
    assert groups
    for group in groups:
        ed.prune_channels(group, fraction=0.5)
        check_pruned(source, ed.model, x)
        ed.undo()
    ed.prune_channels("**", fraction=0.5, criterion="random", seed=3)
    check_pruned(source, ed.model, x)
    ed.undo()
    assert same(out(ed.model, x), out(source, x))
    assert fingerprint(source) == before


@pytest.mark.parametrize("name", NAMES)
def test_to_single_channels(name: str) -> None:
    make, batch = ZOO[name]
    source = make()
    ed = Editor(source).prune_channels("**", fraction=0.999)
    check_pruned(source, ed.model, batch())
    if name not in ("grouped", "reshaped", "raw_products"):  # one of each group, of a row, a part
        assert all(g.channels == 1 for g in ed.channel_groups() if g.prunable)


@pytest.mark.parametrize("name", [name for name in models.ZOO if name != "subclassed"])
@pytest.mark.filterwarnings("ignore:.*becomes a plain model")
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_models_of_all_kinds(name: str) -> None:
    """With several inputs and outputs, dictionaries, states, masks and classes of their own."""
    make, batch = models.ZOO[name]
    source = distinct(make())
    ed = Editor(source)
    if name in ("dicts", "raw_ops", "seq2seq", "shared"):  # all is tied to inputs and outputs
        refused(ed, TargetError, "cannot go", lambda ed: ed.prune_channels("**", fraction=0.5))
        return
    ed.prune_channels("**", fraction=0.5)
    if not any(group.mixed for group in ed.channel_groups()):
        check_pruned(source, ed.model, batch())
    assert all(np.isfinite(a).all() for a in out(ed.model, batch()))


def test_channels_first() -> None:
    """Where the processor has no convolutions of this kind, the layers around them are pruned."""
    x = keras.Input((3, 4, 4))
    h = layers.Permute((2, 3, 1))(x)
    h = layers.Dense(6, name="a")(h)
    h = layers.Permute((3, 1, 2))(h)
    h = layers.BatchNormalization(axis=1, name="norm")(h)
    h = layers.UpSampling2D(2, data_format="channels_first")(h)
    h = layers.ZeroPadding2D(1, data_format="channels_first")(h)
    h = layers.Flatten(data_format="channels_first")(h)
    source = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    ed = Editor(source).prune_channels("a", drop=[1, 4])
    check_pruned(source, ed.model, data(2, 3, 4, 4))
    x = keras.Input((3, 8, 8))
    h = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    h = layers.DepthwiseConv2D(3, data_format="channels_first", name="dw")(h)
    h = layers.MaxPooling2D(2, data_format="channels_first")(h)
    h = layers.GlobalAveragePooling2D(data_format="channels_first")(h)
    model = keras.Model(x, layers.Dense(2, name="top")(h))
    ed = Editor(model).prune_channels("dw", keep=[0, 2])
    assert [w.shape for w in ed.model.weights] == [
        (3, 3, 3, 2), (2,), (3, 3, 2, 1), (2,), (2, 2), (2,)
    ]  # fmt: skip


# -- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "makers"),
    [
        ("residual", [("stem", "out1", "out2"), ("in1",), ("in2",)]),
        ("inverted_residual", [("stem", "project"), ("expand", "dw", "excite"), ("reduce",)]),
        ("branches", [("a", "c", "d"), ("b", "c", "d")]),
        ("dense_block", [("stem",), ("grow0",), ("grow1",), ("grow2",)]),
        ("u_net", [("down1",), ("down2",), ("bottom",), ("up2",), ("join2",), ("join1",)]),
        ("grouped", [("a",), ("b", "c")]),
        ("shared_layer", [("a", "b"), ("tower",)]),
        ("nested", [("stem", "block/conv1"), ("block/conv",), ("tail/hidden",)]),
        ("raw_operations", [("a", "b"), ("c",)]),
        ("states", [("enc", "dec"), ("gru",)]),
        ("both_ways", [("concat",), ("sum",), ("mul",)]),
        ("dense", [("a",), ("b",)]),
        ("each_frame", [("a", "dw"), ("lstm",)]),
        ("stacked_cells", [("a",), ("stack",), ("single",)]),
        ("raw_products", [("q", "k"), ("v",), ("l", "r"), ("gated",), ("parts",), ("c",), ("d",)]),
    ],
)
def test_which_layers_are_tied(name: str, makers: list[tuple[str, ...]]) -> None:
    assert sorted(groups_of(ZOO[name][0]())) == sorted(tuple(sorted(own)) for own in makers)


def test_a_group_tells_its_chain_in_words() -> None:
    ed = Editor(ZOO["residual"][0]())
    group = ed.channel_groups("in1")[0]
    assert str(group).split("\n") == [
        "4 channels of 'in1'",
        "  'in1' (Conv2D) makes them",
        "  'bn1' (BatchNormalization) has weights for each",
        "  'relu1' (ReLU) passes them on",
        "  'out1' (Conv2D) takes them",
    ]
    assert group.layers == ("in1", "bn1", "relu1", "out1")
    assert (group.channels, group.prunable, group.reason, group.path) == (4, True, "", "in1")
    tied = next(g for g in ed.channel_groups("add1"))
    assert "'add1' (Add) ties them to those that it merges them with" in str(tied)
    top = ed.channel_groups("top")[0]
    assert not top.prunable
    assert "reaches the output 'top' of the model" in str(top)


def test_a_layer_that_is_not_known_stops_the_group() -> None:
    x = keras.Input((4,))
    h = layers.Dense(5, name="a")(x)
    h = models.Scale(name="own")(h)
    h = layers.Dense(5, name="b")(h)
    h = layers.Softmax(name="soft")(h)
    h = layers.Dense(5, activation="softmax", name="c")(h)
    model = scramble(keras.Model(x, layers.Dense(2, name="top")(h)))
    reasons = {group.path: group.reason for group in Editor(model).channel_groups()}
    assert "'own' (Scale): it is not known" in reasons["a"]
    assert "'soft' makes all channels sum up to 1" in reasons["b"]
    assert "softmax of 'c'" in reasons["c"]


def test_what_is_quantized_tuned_or_shared_stays() -> None:
    def reasons(change: Any) -> dict[str, str]:
        model = ZOO["dense"][0]()
        change(model)
        return {group.path: group.reason for group in Editor(model).channel_groups()}

    found = reasons(lambda model: model.get_layer("a").enable_lora(2))
    assert "its weight 'lora_kernel_a' is for" in found["a"]
    assert found["b"] == ""
    found = reasons(lambda model: model.get_layer("a").quantize("int8"))
    assert "its weight 'kernel_scale' is for" in found["a"]

    x = keras.Input((4,))
    one, two = layers.Dense(4, name="one"), layers.Dense(4, name="two")
    h = one(x)
    two.build((None, 4))
    put_in(two, "_kernel", one.kernel)
    h = layers.Dense(2, name="top")(two(h))
    groups = Editor(keras.Model(x, h)).channel_groups()
    assert "shares its weights" in next(g.reason for g in groups if g.path == "one")

    tokens = keras.Input((3,), dtype="int32")
    embed = layers.Embedding(7, 4, name="embed")
    h = layers.Dense(4, name="mix")(embed(tokens))
    model = keras.Model(tokens, ops.einsum("btd,vd->btv", h, embed.embeddings))
    groups = {group.path: group.reason for group in Editor(model).channel_groups()}
    assert "takes the weights themselves" in groups["embed"]
    assert "stops at 'einsum'" in groups["mix"]


def test_a_subclassed_model_has_no_groups_that_can_be_known() -> None:
    with pytest.raises(StructureError, match="Python code"):
        Editor(models.subclassed()).channel_groups()


def test_normalisations_reckon_with_what_is_left() -> None:
    """Over the channels, so that pruning is not zeroing: the statistics are of those that stay."""
    x = keras.Input((3, 4))
    h = layers.Dense(6, name="a")(x)
    h = layers.LayerNormalization(name="norm")(h)
    model = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    ed = Editor(model)
    (group,) = [g for g in ed.channel_groups() if g.prunable]
    assert group.mixed == ("norm",)
    pruned = ed.prune_channels("a", keep=[0, 2, 5]).model
    batch, keep = data(2, 3, 4), [0, 2, 5]
    kernel, bias = model.get_layer("a").get_weights()
    gamma, beta = model.get_layer("norm").get_weights()
    weight, last = model.get_layer("top").get_weights()
    hidden = batch @ kernel[:, keep] + bias[keep]
    mean, variance = hidden.mean(-1, keepdims=True), hidden.var(-1, keepdims=True)
    hidden = (hidden - mean) / np.sqrt(variance + 1e-3) * gamma[keep] + beta[keep]
    np.testing.assert_allclose(out(pruned, batch)[0], hidden @ weight[keep] + last, atol=1e-5)


def test_group_normalisation_keeps_its_groups() -> None:
    x = keras.Input((4, 4, 3))
    h = layers.Conv2D(8, 1, name="a")(x)
    h = layers.GroupNormalization(2, name="norm")(h)
    h = layers.GlobalAveragePooling2D()(h)
    model = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    ed = Editor(model).prune_channels("a", drop=[1])
    kept = ed.model.get_layer("a").get_weights()[1]
    assert np.array_equal(kept, model.get_layer("a").get_weights()[1][[0, 2, 3, 4, 6, 7]])
    assert ed.model.get_layer("norm").groups == 2
    assert out(ed.model, data(2, 4, 4, 3))[0].shape == (2, 2)


# -- which channels ------------------------------------------------------------------------------


def weights_left(ed: Editor, name: str) -> np.ndarray:
    """Which channels of a Dense layer are left, by its bias."""
    before = ed.source.get_layer(name).get_weights()[1]
    return np.flatnonzero(np.isin(before, ed.model.get_layer(name).get_weights()[1]))


def test_by_their_numbers() -> None:
    model = ZOO["dense"][0]()
    assert weights_left(Editor(model).prune_channels("a", drop=[0, -1]), "a").tolist() == [
        1,
        2,
        3,
        4,
    ]
    assert weights_left(Editor(model).prune_channels("a", keep=range(2)), "a").tolist() == [0, 1]
    assert weights_left(Editor(model).prune_channels("a", drop=3), "a").tolist() == [0, 1, 2, 4, 5]
    ed = Editor(model).prune_channels(["a", "b"], drop={"a": [1], "b": np.array([0, 2])})
    assert weights_left(ed, "a").tolist() == [0, 2, 3, 4, 5]
    assert weights_left(ed, "b").tolist() == [1, 3, 4]


def scored(criterion: Any, **options: Any) -> list[int]:
    """Which of four channels go first, by two at a time."""
    x = keras.Input((2,))
    h = layers.Dense(4, name="a")(x)
    h = layers.BatchNormalization(name="norm")(h)
    model = keras.Model(x, layers.Dense(2, name="top")(h))
    model.get_layer("a").set_weights(
        [np.array([[3.0, 2.0, 2.1, 0.0], [0.0, 2.0, 1.9, 3.5]]), np.arange(4.0)]
    )
    model.get_layer("norm").gamma.assign([0.3, -0.5, 0.1, 0.4])
    ed = Editor(model).prune_channels("a", fraction=0.5, criterion=criterion, **options)
    return weights_left(ed, "a").tolist()


def test_the_criteria() -> None:
    assert scored("l1") == [1, 2]  # 3, 4, 4, 3.5
    assert scored("l2") == [0, 3]  # 3, 2.83, 2.83, 3.5
    assert scored("bn_scale") == [1, 3]
    assert scored("geometric_median") == [0, 3]  # 1 and 2 are near to each other and in the middle
    assert scored([5.0, 1.0, 7.0, 2.0]) == [0, 2]
    assert scored("random", seed=1) == scored("random", seed=np.int64(1))
    assert len({tuple(scored("random", seed=seed)) for seed in range(8)}) > 1


def test_by_the_gradient_of_the_loss() -> None:
    """The channels whose values times gradients are smallest, by hand for a linear model."""
    x = keras.Input((3,))
    h = layers.Dense(4, use_bias=False, name="a")(x)
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="top")(h))
    distinct(model)
    model.get_layer("top").kernel.assign([[1.0], [0.01], [0.5], [-0.02]])
    model.get_layer("a").trainable = False  # that does not matter
    model.compile("sgd", "mse")
    inputs, wanted = data(40, 3), data(40, 1, seed=7)
    ed = Editor(model).prune_channels("a", fraction=0.5, criterion="taylor", data=(inputs, wanted))
    kernel, last = model.get_layer("a").get_weights()[0], model.get_layer("top").get_weights()[0]
    importance = np.zeros(4)
    for part in (slice(0, 32), slice(32, 40)):
        error = 2 * (inputs[part] @ kernel @ last - wanted[part]) / len(inputs[part])
        importance += ((inputs[part].T @ error @ last.T) * kernel).sum(axis=0) ** 2
    kept = np.sort(np.argsort(importance)[2:])
    assert np.array_equal(ed.model.get_layer("a").get_weights()[0], kernel[:, kept])
    batches = [(inputs[:32], wanted[:32]), (inputs[32:], wanted[32:])]
    again = Editor(model).prune_channels("a", fraction=0.5, criterion="taylor", data=batches)
    assert again.history[0].to_json() == ed.history[0].to_json()
    assert "data" not in ed.history[0].to_json()
    assert ed.history[0].to_code().endswith("criterion='taylor', data=data)")


def test_by_the_gradient_of_what_is_taken() -> None:
    """Behind a normalization, which takes out the scale of weights before it; of two layers the sum."""
    x = keras.Input((3,))
    h = layers.Dense(6, use_bias=False, name="a")(x)
    h = layers.BatchNormalization(name="bn")(h)
    one = layers.Dense(1, use_bias=False, name="one")(h)
    two = layers.Dense(1, use_bias=False, name="two")(h)
    model = scramble(keras.Model(x, layers.Add()([one, two])))
    model.compile("sgd", "mse")
    inputs, wanted = data(32, 3), data(32, 1, seed=7)
    raw = inputs @ model.get_layer("a").get_weights()[0]
    gamma, beta = model.get_layer("bn").get_weights()[:2]
    h = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + model.get_layer("bn").epsilon) * gamma + beta
    last = model.get_layer("one").get_weights()[0] + model.get_layer("two").get_weights()[0]
    importance = ((h @ last - wanted) * h * last.T).sum(axis=0) ** 2
    ed = Editor(model).prune_channels("a", fraction=0.5, criterion="taylor", data=(inputs, wanted))
    kept = np.sort(np.argsort(importance)[3:]).tolist()
    assert ed.history[0].to_json()["kept"]["a"]["keep"] == kept != [3, 4, 5]


def test_by_the_gradient_of_what_nothing_takes() -> None:
    """Channels that only an output has: by the weights that make them."""
    x = keras.Input((3,))
    model = distinct(keras.Model(x, layers.Dense(4, use_bias=False, name="a")(x)))
    model.compile("sgd", "mse")
    inputs, wanted = data(32, 3), data(32, 4, seed=7)
    kernel = model.get_layer("a").get_weights()[0]
    importance = ((inputs.T @ (inputs @ kernel - wanted)) * kernel).sum(axis=0) ** 2
    ed = Editor(model).prune_channels(
        "a", fraction=0.5, criterion="taylor", data=(inputs, wanted), outputs=True
    )
    kept = np.sort(np.argsort(importance)[2:]).tolist()
    assert ed.history[0].to_json()["kept"]["a"]["keep"] == kept


def test_by_how_often_channels_are_zero() -> None:
    """Also inside nested models, and where a Flatten laid them out."""
    z = keras.Input((4, 4, 3), name="z")
    h = layers.Conv2D(4, 1, activation="relu", name="inner")(z)
    h = layers.Conv2D(3, 1, name="back")(h)
    block = keras.Model(z, h, name="block")
    x = keras.Input((4, 4, 3), name="x")
    h = layers.Conv2D(5, 1, activation="relu", name="outer")(block(x))
    h = layers.Flatten()(h)
    model = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    model.get_layer("outer").bias.assign([0.2, 9.0, -9.0, 0.0, -0.2])
    block.get_layer("inner").bias.assign([0.1, -9.0, 9.0, -0.1])
    batch = data(40, 4, 4, 3)
    ed = Editor(model).prune_channels("**", fraction=0.5, criterion="activation", data=batch)
    inner = keras.Model(block.inputs, block.get_layer("inner").output)(batch)
    outer = keras.Model(model.inputs, model.get_layer("outer").output)(batch)
    for layer, path, values in (
        (ed.model.get_layer("outer"), "outer", outer),
        (ed.model.get_layer("block").get_layer("inner"), "block/inner", inner),
    ):
        share = (np.asarray(values) != 0).mean((0, 1, 2))
        number = layer.filters
        best = np.sort(np.argsort(share)[-number:]).tolist()
        assert ed.history[0].to_json()["kept"][path]["keep"] == best
    check_pruned(model, ed.model, batch)


def test_gradients_need_data_and_a_loss() -> None:
    model = ZOO["dense"][0]()
    batch = data(4, 4), data(4, 2)

    def prune(given: Any) -> Any:
        return lambda ed: ed.prune_channels("a", fraction=0.5, criterion="taylor", data=given)

    refused(Editor(model), EditError, "the model has none: compile it", prune(batch))
    model.compile("sgd", "mse")
    refused(Editor(model), EditError, "needs data=", prune(None))
    refused(Editor(model), EditError, "at least one batch", prune([]))
    refused(Editor(model), EditError, "as many x as y", prune((batch[0], batch[1][:2])))
    refused(
        Editor(model), EditError, "cannot be trained on the data", prune((data(4, 9), batch[1]))
    )
    refused(Editor(model), EditError, "cannot be trained on the data", prune(batch[0]))
    refused(Editor(model), EditError, r"a tuple \(x, y\)", prune(5))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (None, "criterion='activation' needs data="),
        (data(4, 9), "The model does not take the data given. Keras said"),
        (data(4, 2, 4, 4), "The model does not take the data given"),
        ([data(4, 4), data(4, 9)], "a tuple|does not take"),
        ([(data(4, 4), None), (data(4, 9), None)], "The model does not take the data given"),
        ([], "needs data= with at least one batch"),
        (5, "a tuple"),
    ],
)
def test_activations_need_data_that_the_model_takes(given: Any, match: str) -> None:
    refused(
        Editor(ZOO["dense"][0]()), EditError, match,
        lambda ed: ed.prune_channels("a", fraction=0.5, criterion="activation", data=given),
    )  # fmt: skip


def test_a_share_of_each_group_or_of_all() -> None:
    x = keras.Input((4,))
    h = layers.Dense(10, name="a")(x)
    h = layers.Dense(10, name="b")(h)
    model = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    kernel, bias = model.get_layer("a").get_weights()
    kernel[:, 5:] *= 0.001  # of "a", half count far less than any of "b"
    model.get_layer("a").set_weights([kernel, bias])
    each = Editor(model).prune_channels("*", fraction=0.3)
    assert [each.model.get_layer(n).units for n in "ab"] == [7, 7]
    both = Editor(model).prune_channels("*", fraction=0.25, scope="global")
    assert [both.model.get_layer(n).units for n in "ab"] == [5, 10]


def test_multiples() -> None:
    make, batch = ZOO["conv2d"]
    source = make()
    ed = Editor(source).prune_channels("*", fraction=0.5, multiple_of=4)
    assert [ed.model.get_layer(n).filters for n in "abc"] == [4, 4, 4]
    check_pruned(source, ed.model, batch())
    ed = Editor(ZOO["grouped"][0]()).prune_channels("b", fraction=0.7, multiple_of=4)
    assert ed.model.get_layer("b").filters == 4


def test_no_layer_is_left_without_channels() -> None:
    """All channels of a branch come first: one stays."""
    first = [0, 0, 0, 1, 9, 9, 9, 9]
    ed = Editor(ZOO["branches"][0]())
    ed.prune_channels("c", fraction=0.5, criterion=first, scope="global")
    assert [ed.model.get_layer(n).filters for n in "abc"] == [1, 4, 5]


# -- what follows --------------------------------------------------------------------------------


def test_the_layers_know_their_new_sizes_and_save_and_load(tmp_path: Path) -> None:
    make, batch = ZOO["inverted_residual"]
    ed = Editor(make()).prune_channels("expand", drop=[0, 3, 4])
    assert ed.model.get_layer("expand").filters == 5
    assert ed.model.get_layer("grid").target_shape == (1, 1, 5)
    assert ed.model.get_layer("excite").filters == 5
    ed.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert same(out(loaded, batch()), out(ed.model, batch()))
    assert ed.verify()


def test_optimizer_slots_follow() -> None:
    source = ZOO["dense"][0]()
    source.compile("adam", "mse")
    source.fit(data(8, 4), data(8, 2), verbose=0)
    ed = Editor(source).prune_channels("a", keep=[1, 4, 5])
    slots = {v.path.split("/")[-1]: ops.convert_to_numpy(v) for v in ed.model.optimizer.variables}
    before = {v.path.split("/")[-1]: ops.convert_to_numpy(v) for v in source.optimizer.variables}
    assert before["iteration"] == slots["iteration"] > 0
    assert before["a_kernel_momentum"].any()
    assert np.array_equal(slots["a_kernel_momentum"], before["a_kernel_momentum"][:, [1, 4, 5]])
    assert np.array_equal(slots["a_kernel_velocity"], before["a_kernel_velocity"][:, [1, 4, 5]])
    assert np.array_equal(slots["b_kernel_momentum"], before["b_kernel_momentum"][[1, 4, 5]])
    assert np.array_equal(slots["b_bias_velocity"], before["b_bias_velocity"])
    kernel = ed.model.get_layer("a").get_weights()[0]
    ed.model.fit(data(8, 4), data(8, 2), verbose=0)
    assert not np.array_equal(kernel, ed.model.get_layer("a").get_weights()[0])


def test_after_training_the_trained_values_are_pruned() -> None:
    ed = Editor(ZOO["dense"][0]())
    ed.model.get_layer("a").kernel.assign(data(4, 6))
    ed.prune_channels("a", keep=[0, 2])
    assert np.array_equal(ed.model.get_layer("a").get_weights()[0], data(4, 6)[:, [0, 2]])


def test_pruning_twice_before_the_model_is_built() -> None:
    make, batch = ZOO["residual"]
    source = make()
    ed = Editor(source).prune_channels("stem", drop=[0, 2]).prune_channels("stem", drop=[1])
    left = ops.convert_to_numpy(ed.model.get_layer("stem").bias)
    assert np.array_equal(left, ops.convert_to_numpy(source.get_layer("stem").bias)[[1, 4, 5]])
    check_pruned(source, ed.model, batch())


def test_undo_and_redo_give_the_same_bits() -> None:
    make, batch = ZOO["u_net"]
    source, x = make(), batch()
    ed = Editor(source).prune_channels("**", fraction=0.4)
    after = out(ed.model, x)
    assert same(out(ed.undo().model, x), out(source, x))
    assert same(out(ed.redo().model, x), after)
    assert same(out(ed.reset().model, x), out(source, x))


def test_other_edits_go_on_from_it() -> None:
    ed = Editor(ZOO["residual"][0]())
    ed.prune_channels("in1", fraction=0.5).insert(
        layers.BatchNormalization(name="new"), after="in1"
    )
    ed.prune_channels("in1", drop=[0])
    assert ed.model.get_layer("new").gamma.shape == (1,)
    assert out(ed.model, data(2, 8, 8, 3))[0].shape == (2, 2)


def test_the_difference_is_told() -> None:
    ed = Editor(ZOO["residual"][0]()).prune_channels("in1", drop=[0])
    told = str(ed.diff())
    assert "filters" in told
    assert "in1" in told
    assert "bn1" in told
    assert "stem" not in told


def test_noise_of_a_given_shape_stops_a_group() -> None:
    x = keras.Input((3, 4))
    h = layers.Dense(6, name="a")(x)
    h = layers.Dropout(0.5, noise_shape=(None, 1, 6), name="drop")(h)
    h = layers.Dense(6, name="b")(h)
    h = layers.Dropout(0.5, noise_shape=(None, 3, 1))(h)
    groups = Editor(keras.Model(x, layers.Dense(2, name="top")(h))).channel_groups()
    assert [(g.path, g.prunable) for g in groups] == [("a", False), ("b", True), ("top", False)]


def test_a_plan_changes_nothing() -> None:
    source = ZOO["residual"][0]()
    ed = Editor(source)
    plan = ed.preview.prune_channels("**", fraction=0.5)
    assert plan.ok
    assert plan.code == "ed.prune_channels('**', fraction=0.5)"
    assert plan.params_before == source.count_params()
    assert plan.params_after is not None
    assert plan.params_after < source.count_params()
    assert not ed.history
    ed.prune_channels("**", fraction=0.5)
    assert ed.model.count_params() == plan.params_after


# -- as data -------------------------------------------------------------------------------------


def test_a_recipe_has_the_channels_that_stayed(tmp_path: Path) -> None:
    make, _ = ZOO["residual"]
    ed = Editor(make())
    ed.model.get_layer("in1").kernel.assign(data(3, 3, 6, 4))  # chosen by weights of its own
    ed.prune_channels("**", fraction=0.5)
    ed.recipe().save(tmp_path / "r.json")
    again = Recipe.load(tmp_path / "r.json").apply(make())
    assert [e.to_json() for e in again.history] == [e.to_json() for e in ed.history]
    for name in ("stem", "out1", "in2"):
        assert same(again.model.get_layer(name).bias, ed.model.get_layer(name).bias)


def test_a_recipe_on_a_wider_model_chooses_anew() -> None:
    ed = Editor(ZOO["dense"][0]()).prune_channels("*", fraction=0.5)
    x = keras.Input((4,))
    h = layers.Dense(20, name="a")(x)
    h = layers.Dense(12, name="b")(h)
    wider = distinct(keras.Model(x, layers.Dense(2, name="top")(h)))
    again = ed.recipe().apply(wider)
    assert [again.model.get_layer(n).units for n in "ab"] == [10, 6]
    check_pruned(wider, again.model, data(3, 4))


# -- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_outputs_are_cut_when_asked(activation: str) -> None:
    """Of a softmax there, the classes that are left share what all had."""
    x = keras.Input((4,))
    h = layers.Dense(6, activation="relu", name="a")(x)
    source = distinct(keras.Model(x, layers.Dense(5, activation=activation, name="top")(h)))
    refused(
        Editor(source), StructureError, "it reaches the output 'top'",
        lambda ed: ed.prune_channels("top", drop=[1]),
    )  # fmt: skip
    batch, keep = data(3, 4), [0, 2, 4]
    ed = Editor(source).prune_channels("top", drop=[1, 3], outputs=True)
    assert ed.model.output_shape == (None, 3)
    wanted = out(source, batch)[0][:, keep]
    if activation == "softmax":
        wanted = wanted / wanted.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(out(ed.model, batch)[0], wanted, rtol=1e-5)
    again = Recipe.from_json(ed.recipe().to_json()).apply(source)
    assert same(again.model.get_weights(), ed.model.get_weights())
    ed = Editor(source).prune_channels("*", fraction=0.5, outputs=True)
    assert ed.model.output_shape == (None, 2) or ed.model.output_shape == (None, 3)


def test_a_softmax_inside_stays_whole() -> None:
    """Also where outputs are cut, and what it makes does not reach one."""
    x = keras.Input((4,))
    h = layers.Dense(6, activation="softmax", name="a")(x)
    h = layers.Softmax()(layers.Dense(6, name="b")(h))
    h = ops.softmax(layers.Dense(5, name="top")(h))
    ed = Editor(distinct(keras.Model(x, h)))
    for name in "ab":
        with pytest.raises(StructureError, match=r"softmax of 'a'|makes all channels sum up to 1"):
            ed.prune_channels(name, drop=[0], outputs=True)
    assert ed.prune_channels("top", keep=[0, 3], outputs=True).model.output_shape == (None, 2)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "error", "match"),
    [
        ("a", {"drop": range(6)}, EditError, "all 6 channels of 'a'.*ed.remove"),
        ("a", {"keep": []}, EditError, "all 6 channels"),
        ("a", {"drop": [6]}, EditError, "numbered from 0 to 5; there is no channel 6"),
        ("a", {"drop": [0.5]}, EditError, "by their numbers"),
        ("a", {"drop": [True]}, EditError, "by their numbers"),
        ("a", {"fraction": 1.5}, EditError, "from 0 to 1, not 1.5"),
        ("a", {"fraction": -0.1}, EditError, "from 0 to 1"),
        ("a", {"fraction": float("nan")}, EditError, "from 0 to 1"),
        ("a", {"fraction": 1.0}, EditError, "at least one has to stay"),
        ("a", {}, EditError, "Say in one way"),
        ("a", {"fraction": 0.5, "drop": [1]}, EditError, "not with drop and fraction"),
        ("a", {"fraction": 0.5, "criterion": "l3"}, EditError, "criterion is one of 'l1'"),
        ("a", {"fraction": 0.5, "criterion": [1.0, 2.0]}, EditError, "6 channels and 2 scores"),
        ("*", {"fraction": 0.5, "criterion": [1.0] * 6}, TargetError, "for one layer"),
        ("a", {"fraction": 0.5, "criterion": "bn_scale"}, EditError, "no scores by"),
        ("a", {"fraction": 0.5, "multiple_of": 0}, EditError, "multiple_of"),
        ("a", {"fraction": 0.5, "scope": "all"}, EditError, "'layer' or 'global'"),
        ("a", {"fraction": 0.5, "criterion": "random", "seed": -1}, EditError, "seed is"),
        ("a", {"drop": {"b": [0]}}, TargetError, "not said which channels of 'a'"),
        ("a", {"drop": {"a": [0], "b": [0]}}, TargetError, "'b': no such layer"),
        ("top", {"fraction": 0.5}, StructureError, "'top' cannot go: it reaches the output 'top'"),
        ("x", {"fraction": 0.5}, TargetError, "'x' .InputLayer. makes no channels"),
        (layers.Dropout, {"fraction": 0.5}, TargetError, "no layer of class Dropout"),
        ("to*", {"fraction": 0.5}, TargetError, "no layer whose channels can go.*'top'"),
        ("nothing", {"fraction": 0.5}, TargetError, "no layer 'nothing'"),
        ("a", {"fraction": 0.5, "expect": 2}, TargetError, "2 layers were expected"),
    ],
)
def test_bad_input(target: Any, options: dict[str, Any], error: Any, match: str) -> None:
    refused(
        Editor(ZOO["dense"][0]()), error, match, lambda ed: ed.prune_channels(target, **options)
    )


def test_a_pattern_passes_over_what_cannot_go() -> None:
    ed = Editor(ZOO["dense"][0]()).prune_channels(layers.Dense, fraction=0.5)
    assert [ed.model.get_layer(n).units for n in ("a", "b", "top")] == [3, 2, 2]
