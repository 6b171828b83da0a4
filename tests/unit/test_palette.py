"""The palette: every Keras layer, its arguments, and blocks made from JSON that nobody vouches for."""

from __future__ import annotations

import inspect
import json

import keras
import pytest

from kerasedit import EditError
from kerasedit.block_data import read_block
from kerasedit.palette import palette, palette_classes

ENTRIES = {entry["class_name"]: entry for entry in palette()}


def test_every_layer_class_of_keras_is_there() -> None:
    classes = {
        cls
        for cls in vars(keras.layers).values()
        if inspect.isclass(cls) and issubclass(cls, keras.Layer)
    }
    missing = {cls.__name__ for cls in classes - set(palette_classes().values())}
    # What holds code, reads files, or is an input or a base class.
    assert missing <= {
        "Lambda", "InputLayer", "Layer", "Wrapper", "TFSMLayer", "TorchModuleWrapper", "JaxLayer",
        "FlaxLayer",
    }  # fmt: skip


def test_arguments_come_from_the_signature() -> None:
    params = {param["name"]: param for param in ENTRIES["Conv2D"]["params"]}
    assert params["filters"]["required"] and params["filters"]["type"] == "int"
    assert params["padding"]["choices"] == ["valid", "same"]
    assert params["strides"]["default"] == [1, 1] and params["strides"]["type"] == "tuple"
    assert params["use_bias"]["type"] == "bool" and params["use_bias"]["default"] is True
    assert {"relu", "softmax", None} <= set(params["activation"]["choices"])
    assert "he_normal" in params["kernel_initializer"]["choices"]
    assert "number of filters" in params["filters"]["doc"]
    rate = next(p for p in ENTRIES["Dropout"]["params"] if p["name"] == "rate")
    assert rate["required"] and rate["type"] == "float"


def test_every_choice_is_one_that_keras_takes() -> None:
    for entry in ENTRIES.values():
        for param in entry["params"]:
            for choice in param["choices"] or ():
                if choice is not None and param["name"].endswith("activation"):
                    assert callable(keras.activations.get(choice))
                if choice is not None and param["name"].endswith("initializer"):
                    keras.initializers.get(choice)


def test_the_palette_is_json() -> None:
    assert json.loads(json.dumps(palette(), allow_nan=False)) == palette()


def test_registered_custom_layers_are_offered() -> None:
    @keras.saving.register_keras_serializable(package="Mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    assert palette_classes()["Twice"] is Twice
    block = read_block([{"class_name": "Twice", "config": {}}])
    assert block.describe() == "Twice"


def test_a_registered_layer_does_not_stand_where_keras_s_own_does() -> None:
    @keras.saving.register_keras_serializable(package="Other")
    class RMSNormalization(keras.layers.RMSNormalization):
        pass

    classes = palette_classes()
    assert classes["RMSNormalization"] is keras.layers.RMSNormalization
    assert classes["Other>RMSNormalization"] is RMSNormalization
    assert palette_classes({"RMSNormalization": RMSNormalization})["RMSNormalization"] is (
        RMSNormalization
    )
    names = ["RMSNormalization", "Other>RMSNormalization"]
    block = read_block([{"class_name": name, "config": {}} for name in names])
    assert [block.layers[i].cls for i in block.members] == [classes[name] for name in names]


def test_a_block_is_made_with_its_arguments() -> None:
    block = read_block(
        [
            {"class_name": "Dense", "config": {"units": 7, "activation": "relu", "name": "mine"}},
            {"class_name": "Dropout", "config": {"rate": 0.25}},
        ]
    )
    dense, dropout = (block.layers[i] for i in block.members)
    assert dense.config is not None and dropout.config is not None
    assert dense.name == "mine" and dense.config["units"] == 7
    assert dropout.name == "dropout" and dropout.config["rate"] == 0.25


def test_a_wrapped_layer_is_told_by_class_and_config() -> None:
    block = read_block(
        [
            {
                "class_name": "TimeDistributed",
                "config": {"layer": {"class_name": "Dense", "config": {"units": 3}}},
            }
        ]
    )
    config = block.layers[block.members[0]].config
    assert config is not None and config["layer"]["config"]["units"] == 3


@pytest.mark.parametrize(
    "data",
    [
        3,
        [],
        [3],
        [{}],
        [{"class_name": "Dense"}],
        [{"class_name": "Dense", "config": 3}],
        [{"class_name": "Dense", "config": {"units": -1}}],
        [{"class_name": "Dense", "config": {"units": "many"}}],
        [{"class_name": "Dense", "config": {"units": 3, "nonsense": 1}}],
        [{"class_name": "Dense", "config": {"units": 3}, "surprise": 1}],
        [{"class_name": "NoSuchLayer", "config": {}}],
        [{"class_name": "Lambda", "config": {"function": "x"}}],
        [{"class_name": "TFSMLayer", "config": {"filepath": "/etc"}}],
        [{"class_name": "Sequential", "config": {"layers": []}}],
        [{"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}],
        [{"class_name": "Dense", "config": {}}] * 65,
        [
            {
                "class_name": "Dense",
                "config": {
                    "units": 1,
                    "activation": {
                        "module": "os",
                        "class_name": "function",
                        "config": "system",
                        "registered_name": "function",
                    },
                },
            }
        ],
        [
            {
                "class_name": "TimeDistributed",
                "config": {"layer": {"class_name": "Lambda", "config": {}}},
            }
        ],
        [
            {
                "class_name": "Dense",
                "config": {"units": 1, "activation": {"class_name": "__lambda__", "config": {}}},
            }
        ],
    ],
)
def test_what_is_no_harmless_block_is_refused(data: object) -> None:
    with pytest.raises(EditError):
        read_block(data)


def test_functions_that_keras_knows_are_let_in() -> None:
    @keras.saving.register_keras_serializable(package="Mine")
    def tripled(x):
        return 3 * x

    def read(config: str, module: str, **objects: object):
        given = {"class_name": "function", "module": module, "config": config}
        data = [{"class_name": "Dense", "config": {"units": 1, "activation": given}}]
        block = read_block(data, objects)
        return block.layers[block.members[0]].functions.get("activation")

    assert read("Mine>tripled", "builtins") is tripled
    assert read("mine", "builtins", mine=tripled) is tripled
    assert read("relu", "keras.activations") is None
    with pytest.raises(EditError, match=r"'mine'.*register_keras_serializable"):
        read("mine", "builtins")
    with pytest.raises(EditError, match="'deserialize'"):
        read("deserialize", "keras.activations")


def test_nesting_without_end_is_refused() -> None:
    config: dict = {"units": 1}
    for _ in range(200):
        config = {"layer": config}
    with pytest.raises(EditError, match="nested"):
        read_block([{"class_name": "TimeDistributed", "config": config}])


def test_a_preview_uses_up_no_automatic_name() -> None:
    blocks = [read_block([{"class_name": "Dropout", "config": {"rate": 0.1}}]) for _ in range(3)]
    assert {b.layers[b.members[0]].name for b in blocks} == {"dropout"}
