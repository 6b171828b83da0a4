"""What the detail of a row asks the kernel: a layer's weights one by one, and its arguments."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers

from kerasedit import Editor
from kerasedit.arrays import same_bits
from kerasedit.weights.extremes import extremes
from kerasedit.weights.idle import idle_channels
from kerasedit.widgets.arguments import MAX_VALUE, tell_arguments
from kerasedit.widgets.detail import MAX_WEIGHTS
from kerasedit.widgets.messages import answer


def make_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    inner = keras.Sequential(
        [keras.Input((6, 6, 8)), layers.DepthwiseConv2D(3, name="depth")], name="inner"
    )
    x = keras.Input((8, 8, 2), name="x")
    y = layers.Conv2D(8, 3, name="conv", activation="relu")(x)
    y = layers.BatchNormalization(name="norm")(y) * 2.0
    y = layers.Flatten(name="flat")(inner(y))
    return keras.Model(x, layers.Dense(3, name="head")(y), name="toy")


@pytest.fixture
def ed() -> Editor:
    return Editor(make_model())


def ask(editor: Editor, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
    reply, buffers = answer(editor, "alive", {"id": "1", **message})
    json.dumps(reply, allow_nan=False)
    return reply.get("ok") or reply["error"], buffers


def detail(editor: Editor, path: str, bins: int = 16) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The weights as told, and the counts, a row for each histogram."""
    told, (buffer,) = ask(editor, query="detail", path=path, bins=bins)
    assert told["path"] == path and told["bins"] == bins and told["more"] == 0
    assert told["revision"] == editor.revision
    return told["weights"], np.frombuffer(buffer, "<f4").reshape(-1, bins)


def arguments(editor: Editor, path: str) -> dict[str, Any]:
    told, buffers = ask(editor, query="arguments", path=path)
    assert not buffers
    return told


def give(layer: Any, *weights: Any) -> None:
    layer.set_weights([np.asarray(w, "float32") for w in weights])


# -- weights -----------------------------------------------------------------------------------------


def test_figures_and_counts_are_numpy_s(ed: Editor) -> None:
    weights, counts = detail(ed, "conv")
    layer = ed.source.get_layer("conv")
    assert [w["path"] for w in weights] == ["conv/kernel", "conv/bias"]
    for weight, row, variable in zip(weights, counts, layer.weights, strict=True):
        values = variable.numpy()
        np.testing.assert_array_equal(row, np.histogram(values, 16)[0])
        edges = np.histogram_bin_edges(values, 16)
        assert weight["edges"] == [float(edges[0]), float(edges[-1])]
        figures = weight["figures"]
        assert (figures["min"], figures["max"]) == (values.min(), values.max())
        np.testing.assert_allclose(
            [figures["mean"], figures["std"]], [values.mean(), values.std()], rtol=1e-5, atol=1e-8
        )
        assert figures["zeros"] == (values == 0).sum() and figures["size"] == values.size
        assert weight["shape"] == list(values.shape) and weight["bytes"] == values.nbytes
        assert weight["trainable"] and weight["dtype"] == "float32"
        assert weight["source"] == "same" and weight["before"] is None
    kernel = layer.weights[0].numpy()
    for told, order in (("smallest", 1), ("largest", -1)):
        wanted = np.sort(kernel.ravel() * order)[:5] * order
        assert [value for value, _ in weights[0][told]] == wanted.tolist()
        assert all(kernel[tuple(index)] == value for value, index in weights[0][told])


def test_what_the_source_has_lies_on_the_same_bins(ed: Editor) -> None:
    old = ed.source.get_layer("conv").get_weights()
    new = np.random.default_rng(0).normal(size=old[0].shape).astype("float32") * 3
    ed.set_weights("conv", [new, old[1]])
    ed.freeze("conv")
    (kernel, bias), counts = detail(ed, "conv")
    assert kernel["source"] == "other" and bias["source"] == "same"
    assert not kernel["trainable"] and not bias["trainable"]
    limits = min(new.min(), old[0].min()), max(new.max(), old[0].max())
    assert kernel["edges"] == [float(x) for x in limits]
    np.testing.assert_array_equal(counts[0], np.histogram(new, 16, limits)[0])
    np.testing.assert_array_equal(counts[1], np.histogram(old[0], 16, limits)[0])
    assert len(counts) == 3
    np.testing.assert_allclose(kernel["before"]["std"], old[0].std(), rtol=1e-5)
    assert kernel["before"]["shape"] == list(old[0].shape)


def test_weights_that_came_from_the_source_in_another_shape(ed: Editor) -> None:
    ed.configure("conv", filters=4, on_mismatch="slice").configure(
        "conv", filters=2, on_mismatch="slice"
    )
    (kernel, _), _ = detail(ed, "conv")
    assert kernel["shape"] == [3, 3, 2, 2] and kernel["before"]["shape"] == [3, 3, 2, 8]
    ed.replace("head", layers.Dense(7, name="head"))
    assert detail(ed, "head")[0][0]["source"] == "none"
    ed.insert(layers.Dense(3, name="fresh"), after="head")
    weights, counts = detail(ed, "fresh")
    assert [w["source"] for w in weights] == ["none", "none"] and len(counts) == 2


def test_in_place_there_is_nothing_to_compare_with() -> None:
    ed = Editor(make_model(), in_place=True)
    assert ask(ed, query="detail", path="conv")[0]["compared"] is False


def test_nan_and_inf_are_counted_and_found(ed: Editor) -> None:
    layer = ed.source.get_layer("conv")
    kernel, bias = layer.get_weights()
    kernel[1, 2, 0, 3] = np.nan
    kernel[2, 2, 1, 7] = -np.inf
    give(layer, kernel, bias + np.nan)
    (told, nothing), counts = detail(ed, "conv")
    assert (told["figures"]["nans"], told["figures"]["infs"]) == (1, 1)
    assert told["first_bad"] == [1, 2, 0, 3]
    finite = kernel[np.isfinite(kernel)]
    assert told["smallest"][0][0] == finite.min() and told["largest"][0][0] == finite.max()
    np.testing.assert_array_equal(counts[0], np.histogram(finite, 16)[0])
    assert nothing["figures"]["nans"] == 8 and nothing["figures"]["mean"] is None
    assert nothing["first_bad"] == [0] and nothing["largest"] == [] and not counts[1].any()
    # Where the one side has nothing finite, the other's range is drawn.
    ed.set_weights("conv", [np.full_like(kernel, np.nan), bias])
    (told, bias_told), counts = detail(ed, "conv")
    assert told["edges"] == [float(finite.min()), float(finite.max())]
    assert bias_told["before"]["mean"] is None and len(counts) == 4


def test_nested_models_ops_and_weights_that_are_no_numbers(ed: Editor) -> None:
    assert ask(ed, query="detail", path="inner")[0]["weights"] == []
    assert ask(ed, query="detail", path="flat")[0]["weights"] == []
    assert [w["path"] for w in detail(ed, "inner/depth")[0]] == [
        "inner/depth/kernel",
        "inner/depth/bias",
    ]
    x = keras.Input((1,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b"], name="words")
    ids = keras.Model(x, layers.Embedding(4, 2, name="embed")(lookup(x)))
    for path in ("words", "embed"):
        told, _ = ask(Editor(ids), query="detail", path=path)
        assert told["path"] == path


def test_integers_and_small_floats() -> None:
    layer = layers.Dense(4, name="d", dtype="bfloat16")
    model = keras.Sequential([keras.Input((5,)), layer])
    ed = Editor(model)
    (kernel, _), counts = detail(ed, "d")
    values = layer.get_weights()[0].astype("float32")
    np.testing.assert_array_equal(counts[0], np.histogram(values, 16)[0])
    assert kernel["largest"][0][0] == values.max() and kernel["bytes"] == 2 * values.size
    model.quantize("int8")
    weights, _ = detail(Editor(model), "d")
    assert {w["dtype"] for w in weights} >= {"int8"}
    assert all(w["figures"]["size"] for w in weights)


def test_no_more_weights_than_a_person_looks_through() -> None:
    @keras.saving.register_keras_serializable(package="TestDetail")
    class Many(layers.Layer):
        def build(self, shape: Any) -> None:
            for n in range(MAX_WEIGHTS + 5):
                self.add_weight(shape=(2,), name=f"w{n}")

        def call(self, x: Any) -> Any:
            return x

    ed = Editor(keras.Sequential([keras.Input((2,)), Many(name="many"), layers.Dense(1)]))
    told, _ = ask(ed, query="detail", path="many")
    assert len(told["weights"]) == MAX_WEIGHTS and told["more"] == 5


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.float16, np.uint32]),
        hnp.array_shapes(min_side=0, max_side=7),
    )
)
def test_extremes_are_those_of_a_sort(array: np.ndarray) -> None:
    found = extremes(array, 4)
    finite = np.isfinite(array)
    places = np.argwhere(finite)
    values = array[finite].astype(np.float64)
    for got, order in ((found.smallest, values), (found.largest, -values)):
        best = np.argsort(order, kind="stable")[:4]
        assert [value for value, _ in got] == values[best].tolist()
        assert [index for _, index in got] == [tuple(place) for place in places[best].tolist()]
    bad = np.argwhere(~finite)
    assert found.first_bad == (tuple(bad[0].tolist()) if len(bad) else None)


def test_extremes_of_arrays_of_many_chunks() -> None:
    for array in (
        np.arange(1_000_000, dtype=np.float32),  # each chunk beats those before
        np.arange(1_000_000, 0, -1, dtype=np.float32),
        np.zeros(1_000_000, np.float32),
    ):
        found = extremes(array.reshape(1000, 1000), 3)
        order = np.argsort(array, kind="stable")[:3], np.argsort(-array, kind="stable")[:3]
        for got, best in zip((found.smallest, found.largest), order, strict=True):
            assert got == tuple((array[i], (i // 1000, i % 1000)) for i in best)


def test_same_bits_tells_what_looks_alike() -> None:
    a = np.array([1.0, np.nan, 0.0], np.float32)
    assert same_bits(a, a.copy()) and same_bits(a[::-1], a[::-1].copy())
    assert not same_bits(a, np.array([1.0, np.nan, -0.0], np.float32))
    assert not same_bits(a, a.astype(np.float64)) and not same_bits(a, a[None])
    big = np.zeros(1_000_000, np.float32)
    other = big.copy()
    other[-1] = 1
    assert same_bits(big, big.copy()) and not same_bits(big, other)
    words = np.array(["a", "b"], object)
    assert same_bits(words, words.copy()) and not same_bits(words, words[::-1])


# -- channels that do nothing ------------------------------------------------------------------------


def plant(values: np.ndarray, axis: int, channel: int, value: float) -> None:
    np.moveaxis(values, axis, 0)[channel] = value


@pytest.mark.parametrize(
    ("layer", "shape", "name", "axis", "noun"),
    [
        (layers.Conv2D(6, 3), (8, 8, 2), "kernel", -1, "filter"),
        (layers.Conv1D(6, 3), (8, 2), "kernel", -1, "filter"),
        (layers.Conv2DTranspose(6, 3), (8, 8, 2), "kernel", -2, "filter"),
        (layers.SeparableConv2D(6, 3), (8, 8, 2), "pointwise_kernel", -1, "filter"),
        (layers.Dense(6), (5,), "kernel", -1, "unit"),
        (layers.Embedding(6, 4), (3,), "embeddings", 0, "row"),
    ],
)
def test_idle_channels_are_told(
    layer: Any, shape: tuple[int, ...], name: str, axis: int, noun: str
) -> None:
    layer(keras.Input(shape, dtype="int32" if noun == "row" else None))
    values = next(w for w in layer.weights if w.name == name).numpy()
    assert values.shape[axis] == 6
    assert idle_channels(type(layer), name, values) == []
    plant(values, axis, 1, 0)
    plant(values, axis, 4, 0)
    plant(values, axis, 2, 0.5)
    assert idle_channels(type(layer), name, values) == [
        f"2 of 6 {noun}s have nothing but zeros: 1, 4.",
        f"1 of 6 {noun}s has one and the same value throughout: 2.",
    ]
    plant(values, axis, 1, np.nan)
    assert idle_channels(type(layer), name, values)[0].startswith("1 of 6")


def test_channels_of_depthwise_kernels_are_those_that_come_out() -> None:
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    layer(keras.Input((8, 8, 3)))
    (kernel,) = layer.get_weights()
    kernel[:, :, 2, 1] = 0
    give(layer, kernel)
    assert idle_channels(type(layer), "kernel", kernel) == [
        "1 of 6 channels has nothing but zeros: 5."
    ]
    assert not np.any(layer(np.ones((1, 8, 8, 3), "float32"))[..., 5])


def test_many_idle_channels_and_large_tables() -> None:
    values = np.random.default_rng(0).normal(size=(3000, 300)).astype(np.float32)
    values[:, 100:200] = 0
    assert idle_channels(layers.Dense, "kernel", values) == [
        "100 of 300 units have nothing but zeros: 100, 101, 102, 103, 104, 105, 106, 107 "
        "and 92 more."
    ]
    assert idle_channels(layers.Embedding, "embeddings", values.T)[0].startswith("100 of 300 rows")


def test_a_scale_of_nearly_zero() -> None:
    gamma = np.array([1, 1e-4, -0.5, 0], np.float32)
    assert idle_channels(layers.BatchNormalization, "gamma", gamma) == [
        "2 of 4 channels have a gamma within 0.001 of zero: 1, 3."
    ]
    assert idle_channels(layers.BatchNormalization, "beta", gamma) == []


def test_nothing_is_said_of_what_is_not_known() -> None:
    class Odd(layers.Layer):
        pass

    zeros = np.zeros((3, 4), np.float32)
    assert idle_channels(Odd, "kernel", zeros) == []
    assert idle_channels(layers.Dense, "bias", zeros[0]) == []
    assert idle_channels(layers.Dense, "kernel", zeros[:0]) == []
    # One value alone is always the same as itself.
    assert idle_channels(layers.Dense, "kernel", np.ones((1, 4), np.float32)) == []


# -- arguments ---------------------------------------------------------------------------------------


def test_arguments_are_told_with_their_present_values(ed: Editor) -> None:
    ed.configure("conv", kernel_regularizer=keras.regularizers.L2(0.25), activation="gelu")
    told = arguments(ed, "conv")
    params = {param["name"]: param for param in told["params"]}
    assert told["class_name"] == "Conv2D" and told["fixed"] is None and told["left_out"] == []
    values = {name: param["default"] for name, param in params.items()}
    assert values["filters"] == 8 and values["kernel_size"] == [3, 3]
    assert values["padding"] == "valid" and values["activation"] == "gelu"
    assert (
        values["kernel_initializer"] == "glorot_uniform" and values["bias_initializer"] == "zeros"
    )
    assert values["kernel_regularizer"] == {"class_name": "L2", "config": {"l2": 0.25}}
    assert values["bias_regularizer"] is None and values["dtype"] == "float32"
    assert not {"name", "trainable"} & params.keys()
    assert not any(param["required"] for param in told["params"])
    assert "number of filters" in params["filters"]["doc"]
    assert {"l1", "l2", None} <= set(params["bias_regularizer"]["choices"])
    assert {"mixed_float16", "float32"} <= set(params["dtype"]["choices"])


CASES = [
    layers.Conv2D(4, 3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.1)),
    layers.Conv2D(4, 3, kernel_regularizer="l2", bias_constraint="non_neg", dtype="float64"),
    layers.Conv2D(4, 3, activation=layers.LeakyReLU(negative_slope=0.2)),
    layers.ZeroPadding2D(((1, 0), (2, 3))),
    layers.BatchNormalization(axis=1, momentum=0.5),
    layers.LayerNormalization(axis=[1, 2]),
    layers.Dropout(0.5, seed=3),
    layers.Resizing(4, 5, interpolation="nearest"),
    layers.ReLU(max_value=6),
    layers.TimeDistributed(layers.Dense(3)),
    layers.Conv2D(4, 3, dtype=keras.DTypePolicy("mixed_float16")),
]


def config_of(ed: Editor, path: str) -> dict[str, Any]:
    config = json.loads(json.dumps(ed.graph.layers[ed.graph.by_path[path].layer].config))
    if isinstance(config.get("layer"), dict):
        config["layer"].pop("build_config", None)  # it is built for what it takes, each time
    return config


@pytest.mark.parametrize("layer", CASES, ids=lambda layer: layer.name)
def test_every_value_that_is_told_can_be_given_back(layer: Any) -> None:
    """As a person would who types each argument anew as it stands there."""
    x = keras.Input((6, 6, 2))
    ed = Editor(keras.Model(x, layers.Flatten()(layer(x))))
    before = config_of(ed, layer.name)
    for param in arguments(ed, layer.name)["params"]:
        value = json.loads(json.dumps(param["default"]))
        edit = {
            "edit": "configure",
            "target": layer.name,
            "config": {param["name"]: value},
            "on_mismatch": "error",
        }
        told, _ = ask(ed, revision=ed.revision, edit=edit)
        assert "revision" in told, (param, told)
        assert config_of(ed, layer.name) == before, param
    assert ed.graph.by_path[layer.name].layer in ed.source_graph.layers


def test_a_typed_initializer_gives_code_that_names_it(ed: Editor) -> None:
    config = {"kernel_initializer": {"class_name": "RandomNormal", "config": {"stddev": 0.5}}}
    edit = {"edit": "configure", "target": "conv", "config": config}
    plan = ask(ed, revision=0, preview=edit)[0]["plan"]
    wanted = "kernel_initializer=keras.initializers.RandomNormal(stddev=0.5)"
    assert plan["ok"] and plan["code"] == f"ed.configure('conv', {wanted})"
    ask(ed, revision=0, edit=edit)
    assert ed.model.get_layer("conv").kernel_initializer.stddev == 0.5


def test_arguments_of_custom_layers() -> None:
    @keras.saving.register_keras_serializable(package="TestDetail")
    class Scale(layers.Layer):
        """Scales.

        Args:
            by: float, how much.
        """

        def __init__(self, by: float = 2.0, words: Any = (), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.by, self.words = by, words

        def call(self, x: Any) -> Any:
            return x * self.by

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "by": self.by, "words": self.words}

    model = keras.Sequential(
        [keras.Input((2,)), Scale(3.0, words=["w" * 100] * 50, name="s"), layers.Dense(1)]
    )
    ed = Editor(model)
    told = arguments(ed, "s")
    params = {param["name"]: param for param in told["params"]}
    assert params["by"]["default"] == 3.0 and params["by"]["type"] == "float"
    assert params["by"]["doc"] == "float, how much." and "dtype" in params
    assert told["left_out"] == ["words"]
    assert len(json.dumps(told)) < 20 * MAX_VALUE
    done, _ = ask(ed, revision=0, edit={"edit": "configure", "target": "s", "config": {"by": 0.5}})
    assert done["revision"] == 1 and ed.model.get_layer("s").by == 0.5


@pytest.mark.parametrize("path", ["x", "multiply", "inner"])
def test_what_has_no_arguments_says_so(ed: Editor, path: str) -> None:
    told = arguments(ed, path)
    assert told["params"] == [] and f"'{path}'" in told["fixed"]
    with pytest.raises(Exception, match="no configuration to change"):
        ed.configure(path, units=3)


# -- what a browser may send -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"query": "detail"},
        {"query": "detail", "path": 3},
        {"query": "detail", "path": ["conv"]},
        {"query": "detail", "path": "nowhere"},
        {"query": "detail", "path": "conv/kernel"},
        {"query": "detail", "path": "*"},
        {"query": "detail", "path": "x" * 100_000},
        {"query": "detail", "path": "conv", "bins": 0},
        {"query": "detail", "path": "conv", "bins": 10**9},
        {"query": "detail", "path": "conv", "bins": "64"},
        {"query": "detail", "path": "conv", "bins": True},
        {"query": "arguments"},
        {"query": "arguments", "path": None},
        {"query": "arguments", "path": {"conv": 1}},
        {"query": "arguments", "path": "nowhere"},
    ],
)
def test_other_messages_are_refused(ed: Editor, message: dict[str, Any]) -> None:
    graph = ed.graph
    told, buffers = ask(ed, **message)
    assert "unexpected" not in told["message"] and len(told["message"]) < 1000
    assert buffers == [] and ed.graph is graph and ed.revision == 0


@pytest.mark.parametrize(
    "config",
    [
        {"activation": {"module": "os", "class_name": "function", "config": "system"}},
        {"kernel_initializer": {"module": "builtins", "class_name": "eval", "config": {}}},
        {"kernel_initializer": {"class_name": "__lambda__", "config": {"value": "x"}}},
        {"kernel_initializer": {"class_name": "Lambda", "config": {}}},
        {
            "kernel_initializer": {
                "class_name": "HeNormal",
                "config": {
                    "seed": {
                        "class_name": "__numpy__",
                        "config": {"value": [None], "dtype": "object"},
                    }
                },
            }
        },
        {"filters": "many"},
        {"filters": 10**30},
        {"nonsense": 1},
        {"name": "other"},
        {"trainable": False},
        {},
    ],
)
def test_arguments_that_are_no_data_are_refused(ed: Editor, config: dict[str, Any]) -> None:
    graph = ed.graph
    told, _ = ask(ed, revision=0, edit={"edit": "configure", "target": "conv", "config": config})
    assert told["type"].endswith(("Error", "Mismatch")) and "unexpected" not in told["message"]
    assert ed.graph is graph and ed.history == ()


def test_the_kernel_asks_no_widget(ed: Editor) -> None:
    assert tell_arguments(ed, "", {"path": "head"})[0]["class_name"] == "Dense"
