"""Model files read without Keras, against what Keras loads of them."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from kerasedit import Editor, modelfiles
from kerasedit.errors import ModelFileError
from kerasedit.modelfiles import process, worker
from kerasedit.modelfiles.classes import FAMILIES
from kerasedit.modelfiles.container import Contents
from kerasedit.modelfiles.shapes import output_shapes
from kerasedit.palette import family_of, palette_classes
from kerasedit.weights.histogram import pack, pooled
from kerasedit.widgets.rows import make_info, rows_of
from tests import models

OBJECTS = {
    "OwnStep": models.OwnStep,
    "OwnSequential": models.OwnSequential,
    "Subclassed": models.Subclassed,
}
# Keras itself loads no `.h5` file of a subclassed model, nor of a graph with raw ops.
ONLY_NEW = {"raw_ops", "masked", "subclassed", "mobilenet"}


def parts() -> keras.Model:
    """A chain with layers that are made of layers, and mixed precision."""
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.Flatten(),
            layers.Dense(2, dtype="mixed_float16"),
        ]
    )


def custom() -> keras.Model:
    """A layer of a class of its own."""
    x = keras.Input((5,), name="x")
    return keras.Model(x, layers.Dense(2, name="top")(models.Scale(name="scale")(x)), name="custom")


def frozen() -> keras.Model:
    """Frozen: a layer outside, and a model inside."""
    model = models.nested()
    model.get_layer("backbone").trainable = False
    model.get_layer("head").trainable = False
    return model


MODELS: dict[str, Callable[[], keras.Model]] = {
    **{name: maker for name, (maker, _) in models.ZOO.items() if name != "subclassed"},
    "custom": custom,
    "parts": parts,
    "frozen": frozen,
    "mobilenet": lambda: keras.applications.MobileNetV3Small((32, 32, 3), weights=None),
    "resnet": lambda: keras.applications.ResNet50V2(
        include_top=False, input_shape=(32, 32, 3), weights=None
    ),
}


def ask(file: Path, what: str = "model", **more: Any) -> Any:
    """What is answered in the process that reads; most tests spare themselves its start."""
    told, buffer = worker.answer({"ask": what, "path": str(file), **more})
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    return told if what in ("model", "arguments") else (told, buffer)


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows; of a layer with several calls the order of these is left open.

    Rows of a file need not be followed through edits.
    """
    same = {"id": None}
    return [
        {**row, **same, "inputs": sorted(row["inputs"]), "outputs": row.get("outputs")}
        for row in rows
    ]


LARGE = ("mobilenet", "resnet")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        pytest.param(name, suffix, marks=pytest.mark.slow if name in LARGE else ())
        for suffix in (".keras", ".h5")
        for name in MODELS
        if suffix == ".keras" or name not in ONLY_NEW  # what Keras saves and does not load
    ],
)
def test_rows_are_those_of_the_loaded_model(name: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"m{suffix}"
    MODELS[name]().save(file)
    loaded: Any = keras.saving.load_model(file, custom_objects=OBJECTS, compile=False)
    editor = Editor(loaded, in_place=True)
    found = ask(file)
    assert comparable(found["rows"]) == comparable(rows_of(editor))
    wanted = make_info(editor)
    same = ("name", "class_name", "params", "trainable", "frozen", "bytes", "layers", "editable")
    assert {key: found["info"][key] for key in same} == {key: wanted[key] for key in same}
    assert found["info"].keys() == wanted.keys()
    assert found["file"]["format"] == suffix
    assert found["file"]["keras_version"] == keras.__version__


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["attention", "nested", "parts", "masked"])
def test_weights_and_histograms_are_those_of_the_model(
    name: str, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"m{suffix}"
    model = MODELS[name]()
    model.save(file)
    editor = Editor(model, in_place=True)
    told = ask(file)
    numbers = {row["path"]: n for n, row in enumerate(told["rows"]) if row["weights"]}
    assert numbers
    header, buffer = ask(
        file, "histograms", rows=list(numbers.values()), bins=32, stamp=told["stamp"]
    )
    assert header["paths"] == list(numbers)
    drawn = np.frombuffer(buffer, "<f4").reshape(len(numbers), 40)
    for place, path in enumerate(numbers):
        under = [
            weight
            for view in editor.layers
            if view.path == path or view.path.startswith(f"{path}/")
            for weight in view.weights
        ]
        expected = pack(pooled([weight.numpy() for weight in under], 32))
        np.testing.assert_allclose(drawn[place], expected, rtol=1e-5)
        assert (drawn[place][:32] == expected[:32]).all()
        own = [w for view in editor.layers if view.path == path for w in view.weights]
        detail, counts = ask(file, "detail", row=numbers[path], bins=16)
        assert [(w["name"], tuple(w["shape"]), w["dtype"]) for w in detail["weights"]] == [
            (w.name, w.shape, w.dtype) for w in own
        ]
        assert [w["trainable"] for w in detail["weights"]] == [w.trainable for w in own]
        assert [w["figures"]["max"] for w in detail["weights"]] == [w.numpy().max() for w in own]
        assert len(counts) == 4 * 16 * len(own)


def test_bfloat16_and_vocabularies(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype="bfloat16", name="d")])
    model.get_layer("d").set_weights([np.full((3, 2), 1.5), np.array([np.nan, 2.0])])
    model.save(file)
    detail, _ = ask(file, "detail", row=1, bins=64)
    kernel, bias = detail["weights"]
    assert (kernel["dtype"], kernel["figures"]["mean"]) == ("bfloat16", 1.5)
    assert (bias["figures"]["nans"], bias["first_bad"]) == (1, [0])


def test_filters_that_do_nothing_are_pointed_out(tmp_path: Path) -> None:
    file, model = tmp_path / "m.keras", models.cnn()
    kernel, bias = model.get_layer("block1_conv").get_weights()
    kernel[..., 2] = 0
    model.get_layer("block1_conv").set_weights([kernel, bias])
    model.save(file)
    detail, _ = ask(file, "detail", row=1, bins=8)
    assert [w["notes"] for w in detail["weights"]] == [
        ["1 of 4 filters has nothing but zeros: 2."],
        [],
    ]


def test_a_model_of_a_class_of_its_own_shows_the_weights_that_the_file_has(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    models.subclassed().save(file)
    told = ask(file)
    assert [(row["path"], row["params"]) for row in told["rows"]] == [("first", 15), ("second", 8)]
    assert "Subclassed" in told["file"]["notes"][0]
    assert told["file"]["custom"] == ["Subclassed"]


def test_metadata(tmp_path: Path) -> None:
    plain, unsafe = tmp_path / "plain.keras", tmp_path / "unsafe.keras"
    model = models.chain()
    model.compile("adam", loss="mse")
    model.save(plain)
    told = ask(plain)["file"]
    assert (told["compiled"], told["optimizer"], told["loss"]) == (True, "Adam", "mse")
    assert told["date_saved"].startswith("20")
    assert (told["unsafe"], told["custom"], told["notes"]) == ([], [], [])

    inner = keras.Sequential(
        [keras.Input((3,)), layers.Lambda(lambda x: x * 2, name="code", output_shape=(3,))],
        name="inner",
    )
    keras.Sequential([keras.Input((3,)), models.Scale(), inner], name="outer").save(unsafe)
    told = ask(unsafe)["file"]
    assert (told["unsafe"], told["custom"], told["compiled"]) == (["inner/code"], ["Scale"], False)
    with pytest.raises(ValueError, match="unsafe"):
        keras.saving.load_model(unsafe)


def test_arguments_are_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    models.cnn().save(file)
    told = ask(file, "arguments", row=1)
    values = {param["name"]: (param["type"], param["default"]) for param in told["params"]}
    assert told["class_name"] == "Conv2D"
    assert values["filters"] == ("int", 4)
    assert values["kernel_size"] == ("tuple", [3, 3])
    assert values["padding"] == ("str", "same")
    assert values["use_bias"] == ("bool", True)
    assert values["dtype"] == ("str", "float32")
    assert values["kernel_initializer"] == ("str", "GlorotUniform")


def test_a_file_of_keras_2(tmp_path: Path) -> None:
    """Calls are lists of `[name, call, output, arguments]`, and names of weights end in `:0`."""

    def layer(name: str, class_name: str, nodes: list[Any], **config: Any) -> dict[str, Any]:
        config = {"name": name, "trainable": True, "dtype": "float32", **config}
        return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": nodes}

    config = {
        "class_name": "Functional",
        "config": {
            "name": "old",
            "trainable": True,
            "layers": [
                layer("x", "InputLayer", [], batch_input_shape=[None, 4]),
                layer("a", "Dense", [[["x", 0, 0, {}]]], units=3),
                layer("b", "Dense", [[["x", 0, 0, {}]]], units=3),
                layer("sum", "Add", [[["a", 0, 0, {}], ["b", 0, 0, {}]]]),
            ],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["sum", 0, 0]],
        },
    }
    file = tmp_path / "old.h5"
    with h5py.File(file, "w") as out:
        out.attrs["model_config"] = json.dumps(config)
        out.attrs["keras_version"] = "2.15.0"
        for name in "ab":
            group = out.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0", f"{name}/bias:0"], "S")
            group[f"{name}/kernel:0"] = np.ones((4, 3), "f4")
            group[f"{name}/bias:0"] = np.ones(3, "f4")
    told = ask(file)
    rows = [(row["path"], row["shape"], row["params"], row["inputs"]) for row in told["rows"]]
    assert rows == [
        ("x", "(None, 4)", 0, []),
        ("a", "(None, 3)", 15, [1]),
        ("b", "(None, 3)", 15, [2]),
        ("sum", "(None, 3)", 0, [2, 1]),
    ]
    assert told["rows"][3]["marks"] == ["output"]
    assert ask(file, "detail", row=1, bins=64)[0]["weights"][0]["name"] == "kernel"


def test_packed_weights_are_unpacked_once(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.keras", tmp_path / "packed.keras"
    models.cnn().save(plain)
    repack(plain, packed, compression=zipfile.ZIP_DEFLATED)
    assert ask(packed)["rows"] == ask(plain)["rows"]
    numbers = [1, 2]
    drawn = [ask(file, "histograms", rows=numbers, bins=8)[1] for file in (plain, packed)]
    assert drawn[0] == drawn[1]


def test_a_file_without_weights_shows_its_layers(tmp_path: Path) -> None:
    plain, bare = tmp_path / "plain.keras", tmp_path / "bare.keras"
    models.cnn().save(plain)
    repack(plain, bare, drop="model.weights.h5")
    told = ask(bare)
    assert [row["path"] for row in told["rows"]][:2] == ["image", "block1_conv"]
    assert told["rows"][1]["shape"] == "(None, 8, 8, 4)"
    assert told["file"]["notes"] == ["The file holds no weights that can be shown."]


def test_values_are_read_only_for_the_rows_asked_for(tmp_path: Path) -> None:
    """Of a large file the layers are told from its index; a histogram maps what it counts."""
    file = tmp_path / "m.keras"
    model = keras.Sequential([keras.Input((2000,)), layers.Dense(2000), layers.Dense(2000)])
    model.save(file)
    assert file.stat().st_size > 30 << 20

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = bytes_read()
    assert [row["params"] for row in ask(file)["rows"]] == [0, 4_002_000, 4_002_000]
    ask(file, "histograms", rows=[1], bins=8)
    assert bytes_read() - before < 1 << 20


def test_what_changed_since_is_told(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    models.chain().save(file)
    stamp = ask(file)["stamp"]
    ask(file, "histograms", rows=[1], bins=8, stamp=stamp)
    models.fork().save(file)
    with pytest.raises(ModelFileError, match="changed since"):
        ask(file, "histograms", rows=[1], bins=8, stamp=stamp)


def test_a_process_of_its_own_answers_the_same(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    models.chain().save(file)
    told = modelfiles.read_model(file)
    assert told == ask(file)
    stamp = told["stamp"]
    assert modelfiles.read_histograms(file, [1, 3], 8, stamp) == ask(
        file, "histograms", rows=[1, 3], bins=8
    )
    assert modelfiles.read_detail(file, 1, 8, stamp) == ask(file, "detail", row=1, bins=8)
    assert modelfiles.read_arguments(file, 1, stamp) == ask(file, "arguments", row=1)
    for row in (-1, 6):
        with pytest.raises(ModelFileError, match="no such layer"):
            modelfiles.read_arguments(file, row)
    with pytest.raises(ModelFileError, match="whole number from 1"):
        modelfiles.read_detail(file, 1, 0)
    with pytest.raises(ModelFileError, match="At most 512"):
        modelfiles.read_histograms(file, [1] * 513)


def test_reading_imports_no_keras(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    models.chain().save(file)
    code = (
        "import sys\nfrom kerasedit import modelfiles\nfrom kerasedit.modelfiles import worker\n"
        f"worker.answer({{'ask': 'model', 'path': {str(file)!r}}})\n"
        "print([m for m in ('keras', 'tensorflow', 'jax', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_families_are_those_of_keras() -> None:
    expected = {
        name: family_of(cls)
        for name, cls in palette_classes().items()
        if cls.__module__.startswith("keras.")
    }
    missing = {name: family for name, family in expected.items() if FAMILIES.get(name) != family}
    assert missing == {}


IMAGE, WIDE, TEXT = (2, 9, 11, 6), (2, 7, 6), (2, 5)
LAYERS = [
    (layers.Dense(3), WIDE),
    (layers.Embedding(9, 4), TEXT),
    (layers.Flatten(), IMAGE),
    (layers.Reshape((-1, 6)), IMAGE),
    (layers.Reshape((6, 99)), IMAGE),
    (layers.Permute((2, 1)), WIDE),
    (layers.RepeatVector(4), TEXT),
    (layers.Conv1D(4, 3, strides=2), WIDE),
    (layers.Conv1D(4, 3, padding="causal", dilation_rate=2), WIDE),
    (layers.Conv2D(4, 3, strides=(2, 1), padding="same"), IMAGE),
    (layers.Conv2D(4, (2, 3), dilation_rate=2), IMAGE),
    (layers.Conv2D(4, 3, data_format="channels_first"), (2, 6, 9, 11)),
    (layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    (layers.SeparableConv2D(5, 3), IMAGE),
    (layers.Conv2DTranspose(4, 3, strides=2, padding="same"), IMAGE),
    (layers.Conv2DTranspose(4, 3, strides=2), IMAGE),
    (layers.Conv2DTranspose(4, 2, strides=3), IMAGE),
    (layers.MaxPooling2D(2), IMAGE),
    (layers.AveragePooling2D(3, strides=2, padding="same"), IMAGE),
    (layers.MaxPooling1D(2), WIDE),
    (layers.GlobalAveragePooling2D(), IMAGE),
    (layers.GlobalMaxPooling2D(keepdims=True), IMAGE),
    (layers.GlobalAveragePooling1D(data_format="channels_first"), WIDE),
    (layers.ZeroPadding2D(((1, 2), (0, 3))), IMAGE),
    (layers.ZeroPadding1D((1, 2)), WIDE),
    (layers.Cropping2D(1), IMAGE),
    (layers.Cropping1D(1), WIDE),
    (layers.UpSampling2D((2, 3)), IMAGE),
    (layers.UpSampling1D(2), WIDE),
    (layers.Resizing(4, 5), IMAGE),
    (layers.LSTM(4), WIDE),
    (layers.LSTM(4, return_sequences=True, return_state=True), WIDE),
    (layers.GRU(4, return_state=True), WIDE),
    (layers.Bidirectional(layers.LSTM(4)), WIDE),
    (layers.Bidirectional(layers.GRU(4, return_state=True), merge_mode="sum"), WIDE),
    (layers.TimeDistributed(layers.Conv1D(3, 2)), IMAGE),
    (layers.BatchNormalization(), IMAGE),
    (layers.Add(), [IMAGE, (2, 1, 1, 6)]),
    (layers.Concatenate(), [WIDE, WIDE]),
    (layers.Concatenate(axis=1), [WIDE, WIDE]),
]


def describe(value: Any) -> str:
    return value.name if isinstance(value, keras.Layer) else ""


@pytest.mark.parametrize(("layer", "given"), LAYERS, ids=describe)
def test_shapes_are_those_that_keras_reckons(layer: keras.Layer, given: Any) -> None:
    several = isinstance(given, list)
    inputs = [keras.Input(shape[1:], shape[0]) for shape in (given if several else [given])]
    expected = [tuple(t.shape) for t in keras.tree.flatten(layer(inputs if several else inputs[0]))]
    config = keras.saving.serialize_keras_object(layer)
    found = output_shapes(
        type(layer).__name__,
        json.loads(json.dumps(config["config"])),
        [tuple(t.shape) for t in inputs],
    )
    assert found == expected


# -- hostile and damaged files -------------------------------------------------------------------


def repack(
    source: Path, target: Path, compression: int = 0, drop: str = "", **members: Any
) -> None:
    """The archive again, with other compression or members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            name = info.filename
            if name != drop:
                new.writestr(name, members.pop(name.replace(".", "_"), None) or old.read(name))
        for name, data in members.items():
            new.writestr(name, data)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("good")
    files = {suffix: folder / f"m{suffix}" for suffix in (".keras", ".h5")}
    for file in files.values():
        models.nested().save(file)
    return files


def config_of(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("config.json"))


def refuses(file: Path, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        ask(file)


def with_config(good: dict[str, Path], target: Path, config: Any) -> Path:
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    repack(good[".keras"], target, config_json=text)
    return target


def test_what_is_no_model_file_is_told(tmp_path: Path) -> None:
    refuses(tmp_path / "gone.keras", "cannot be read: No such file")
    refuses(tmp_path, "Is a directory|no file")
    file = tmp_path / "m.keras"
    file.write_bytes(b"")
    refuses(file, "is empty")
    file.write_bytes(b"text, and much of it" * 100)
    refuses(file, "neither an archive")
    file.write_bytes(b"PK\x03\x04" + bytes(1000))
    refuses(file, "end of the file is missing")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    refuses(file, "no config.json")
    with h5py.File(file, "w") as out:
        out["a"] = np.ones(3)
    refuses(file, "may hold weights alone")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.keras")
    refuses(tmp_path / "m.keras", "This is no file")


def nest(config: dict[str, Any], times: int) -> Any:
    for number in range(times):
        config = {
            "class_name": "Functional",
            "config": {"name": f"m{number}", "layers": [config], "output_layers": []},
        }
    return config


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no JSON": (lambda c: "{", "damaged"),
    "no object": (lambda c: [1, 2], "tells of none"),
    "no text": (lambda c: b"\xff\xfe\x00", "damaged"),
    "no model": (lambda c: c["config"]["layers"][-1], "Dense, which is no Keras model"),
    "brackets": (lambda c: "[" * 5_000_000, "nested without end"),
    "objects": (lambda c: '{"a":' * 100_000, "nested without end"),
    "a long number": (lambda c: '{"config": ' + "9" * 100_000 + "}", "damaged"),
    "models in models": (lambda c: nest(c, 60), "nests more than"),
    "two of a name": (
        lambda c: {**c, "config": {**c["config"], "layers": c["config"]["layers"] * 2}},
        "one and the same name",
    ),
    "a layer that is none": (
        lambda c: {**c, "config": {**c["config"], "layers": [None]}},
        "no configuration",
    ),
    "a name that is none": (
        lambda c: {
            **c,
            "config": {"layers": [{"class_name": "A", "config": {"name": 7}}], "output_layers": []},
        },
        "no name",
    ),
    "a name without end": (
        lambda c: json.loads(json.dumps(c).replace('"head"', json.dumps("h" * 20_000))),
        "name of more than",
    ),
    "an output from nowhere": (
        lambda c: json.loads(json.dumps(c).replace('["head", 0, 0]', '["gone", 0, 0]')),
        "puts out what no layer makes",
    ),
    "a tensor from nowhere": (
        lambda c: json.loads(json.dumps(c).replace('["drop", 0, 0]', '["gone", 0, 0]')),
        "what no layer makes",
    ),
    "a tensor that is none": (
        lambda c: json.loads(json.dumps(c).replace('["drop", 0, 0]', '["drop", -1, 1e400]')),
        "comes from nowhere",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_configurations_are_refused(
    name: str, good: dict[str, Path], tmp_path: Path
) -> None:
    make, match = HOSTILE[name]
    refuses(with_config(good, tmp_path / "m.keras", make(config_of(good[".keras"]))), match)


def test_layers_without_end_are_refused(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they are."""
    file = with_config(good, tmp_path / "m.keras", nest(config_of(good[".keras"]), 1))
    count = len(ask(file)["rows"]) + 1  # with the model itself
    monkeypatch.setattr("kerasedit.modelfiles.layers.MAX_LAYERS", count)
    ask(file)
    monkeypatch.setattr("kerasedit.modelfiles.layers.MAX_LAYERS", count - 1)
    refuses(file, f"more than {count - 1} layers")


def test_odd_values_are_taken_for_nothing(good: dict[str, Path], tmp_path: Path) -> None:
    """NaN, huge and wrong shapes, markup and half of a surrogate pair."""
    config = config_of(good[".keras"])
    drop, head = config["config"]["layers"][-2:]
    drop["config"] |= {"rate": math.nan, "trainable": "maybe", "dtype": [1]}
    drop["name"] = drop["config"]["name"] = head_input = "<img src=x onerror=alert(1)>\ud800"
    tensor = head["inbound_nodes"][0]["args"][0]["config"]
    tensor |= {"shape": [None, 10**30, math.inf], "dtype": 3}
    tensor["keras_history"][0] = head_input
    head["config"]["units"] = -math.inf
    told = ask(with_config(good, tmp_path / "m.keras", config))
    rows = {row["path"]: row for row in told["rows"]}
    assert (rows[head_input]["shape"], rows["head"]["shape"]) == ("(None, 5)", "")
    number = list(rows).index(head_input)
    assert "rate" in ask(tmp_path / "m.keras", "arguments", row=number)["left_out"]


def test_archives_that_unpack_to_much_more_are_refused(
    good: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "m.keras"
    repack(good[".keras"], file, zipfile.ZIP_DEFLATED, config_json=b" " * (33 << 20))
    refuses(file, "no model's is so large")
    repack(good[".keras"], file, zipfile.ZIP_DEFLATED, model_weights_h5=b"\0" * (65 << 20))
    refuses(file, "would unpack to 65 MiB")
    repack(good[".keras"], file, zipfile.ZIP_LZMA)
    refuses(file, "in a way that Keras never packs")


def test_a_size_that_is_a_lie_is_found_out(good: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(good[".keras"].read_bytes())
    at = data.rfind(b"PK\x01\x02")  # the weights come last in the directory
    struct.pack_into("<II", data, at + 20, 1 << 31, 1 << 31)
    (tmp_path / "m.keras").write_bytes(data)
    refuses(tmp_path / "m.keras", "cut off")


def test_paths_in_an_archive_lead_nowhere(good: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    evil: dict[str, Any] = {"../../evil.txt": b"evil", "/etc/evil": b"evil"}
    repack(good[".keras"], file, **evil)
    before = sorted(tmp_path.rglob("*"))
    assert ask(file)["rows"] == ask(good[".keras"])["rows"]
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "evil.txt").exists()


def evil(change: Callable[[h5py.Group, Path], None], good: dict[str, Path], folder: Path) -> Path:
    """A sound `.h5` file but for one group."""
    file = folder / "evil.h5"
    file.write_bytes(good[".h5"].read_bytes())
    with h5py.File(file, "r+") as out:
        group: Any = out["model_weights/head/head"]
        change(group, folder)
    return file


def external_link(group: h5py.Group, folder: Path) -> None:
    del group["kernel"]
    group["kernel"] = h5py.ExternalLink(str(folder / "secret.h5"), "/secret")


def soft_link(group: h5py.Group, folder: Path) -> None:
    del group["kernel"]
    group["kernel"] = h5py.SoftLink("/model_weights")


def external_storage(group: h5py.Group, folder: Path) -> None:
    del group["kernel"]
    group.create_dataset("kernel", (4, 2), "f4", external=[(str(folder / "secret.h5"), 0, 32)])


def virtual_dataset(group: h5py.Group, folder: Path) -> None:
    del group["kernel"]
    layout = h5py.VirtualLayout((5, 2), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "secret", (5, 2))
    group.create_virtual_dataset("kernel", layout)


def huge(group: h5py.Group, folder: Path) -> None:
    del group["kernel"]
    group.create_dataset("kernel", (1 << 40, 1 << 20), "f4", chunks=(1 << 10, 1))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (external_link, "refers to other files"),
        (soft_link, "refers to other files"),
        (external_storage, "weights in other files"),
        (virtual_dataset, "weights in other files"),
        (huge, "more than the file has"),
    ],
    ids=["external link", "soft link", "external storage", "virtual dataset", "huge"],
)
def test_nothing_outside_of_the_file_is_read(
    change: Any, match: str, good: dict[str, Path], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["secret"] = np.ones((5, 2), "f4")
    refuses(evil(change, good, tmp_path), match)


def test_a_group_that_holds_itself_ends(good: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    with zipfile.ZipFile(good[".keras"]) as archive:
        weights = tmp_path / "w.h5"
        weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as out:
        head: Any = out["layers/dense"]
        head["again"] = head
    repack(good[".keras"], file, model_weights_h5=weights.read_bytes())
    refuses(file, "nested without end")


# -- what ends the process that reads ------------------------------------------------------------

_HARM = {
    "memory": "x = bytearray(1 << 34)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "silence": "import os; os._exit(1)",
}


@pytest.mark.parametrize("harm", _HARM)
def test_whatever_reading_does_only_the_question_fails(
    harm: str, good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of what HDF5 would do with a file made for it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "def look(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('.keras'):\n"
        f"        {_HARM[harm]}\n"
        "sys.addaudithook(look)\n"
    )
    packages = f"{tmp_path}:{process._PACKAGES}"
    monkeypatch.setitem(process._ENVIRONMENT, "PYTHONPATH", packages)
    with pytest.raises(ModelFileError, match="is damaged"):
        modelfiles.read_model(good[".keras"])


def test_what_takes_too_long_is_given_up(
    good: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SECONDS", 0)
    with pytest.raises(ModelFileError, match="had to be given up"):
        modelfiles.read_model(good[".keras"])


_MUTATE = """
import random, re, signal, sys
from pathlib import Path
from kerasedit.errors import ModelFileError
from kerasedit.modelfiles import process, worker

source, target, seed = Path(sys.argv[1]).read_bytes(), sys.argv[2], int(sys.argv[3])
worker.limit(seconds=3600)
for number in range(seed, seed + int(sys.argv[4])):
    dice, data = random.Random(number), bytearray(source)
    for _ in range(dice.choice((1, 2, 8, 64))):
        at = dice.randrange(len(data))
        kind = dice.randrange(5)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at : at + 8] = dice.randbytes(8)
        elif kind == 2:
            data[at : at + 4] = dice.choice((b"\\xff" * 4, b"\\0" * 4, b"\\xff\\xff\\xff\\x7f"))
        elif kind == 3:
            other = dice.randrange(len(data))
            data[at : at + 64] = data[other : other + 64]
        else:
            del data[at : at + dice.randrange(1, 2000)]
        if len(data) < 100:
            break
    Path(target).write_bytes(data)
    print(number, flush=True)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2)
    try:
        told, _ = worker.answer({"ask": "model", "path": target})
        rows = [n for n, row in enumerate(told["rows"]) if row["weights"]][:20]
        worker.answer({"ask": "histograms", "path": target, "rows": rows, "bins": 8})
        for row in rows[:3]:
            worker.answer({"ask": "detail", "path": target, "row": row, "bins": 8})
    except ModelFileError:
        pass
status = Path("/proc/self/status").read_text()
print("peak", int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) >> 10)
"""


def mutate(source: Path, folder: Path, seed: int, times: int) -> tuple[list[int], int]:
    """Reads mutants of a file; the numbers of those that ended the process, and its most MiB."""
    ended, peak, last = [], 0, seed + times
    while seed < last:
        arguments = [
            str(source),
            str(folder / f"mutant{source.suffix}"),
            str(seed),
            str(last - seed),
        ]
        run = subprocess.run(
            [sys.executable, "-c", _MUTATE, *arguments],
            env={**os.environ, **process._ENVIRONMENT},
            stdout=subprocess.PIPE,
            timeout=600,
        )
        lines = run.stdout.decode().split("\n")
        if lines[-2].startswith("peak"):
            peak = max(peak, int(lines[-2].split()[1]))
            break
        assert run.returncode < 0, "only HDF5 ends the process, by a signal"
        ended.append(int(lines[-2]))
        seed = ended[-1] + 1
    return ended, peak


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "times", [60, pytest.param(5000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_mutants_are_read_or_refused(
    suffix: str, times: int, good: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing but a `ModelFileError` comes out of Python, and memory stays bounded. A few make HDF5
    crash, or look for ever: what becomes of those the tests above tell."""
    ended, peak = mutate(good[suffix], tmp_path, 0, times)
    assert peak < 300
    assert len(ended) <= times // 50


# -- configurations in which something is not as Keras writes it -----------------------------------

ODD: list[Any] = [None, True, -1, 0, 3, 10**20, math.nan, math.inf, 0.5, "", "x", "a/b", "\udc80"]
ODD += [[], {}, [[]], [None], ["x", 0, 0], {"class_name": "Dense"}, {"config": {}}, ["x"] * 50]


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON value: what holds it, and by which key."""
    if isinstance(value, (dict, list)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        return [(value, key) for key in keys] + [p for key in keys for p in places_in(value[key])]
    return []


CONFIGS = {
    name: json.loads(json.dumps(keras.saving.serialize_keras_object(MODELS[name]())))
    for name in ("nested", "raw_ops", "masked", "parts")
}


@given(st.sampled_from(sorted(CONFIGS)), st.integers(0, 2**32))
def test_odd_configurations_are_told_or_refused(name: str, seed: int) -> None:
    config, dice = copy.deepcopy(CONFIGS[name]), random.Random(seed)
    for _ in range(dice.randint(1, 3)):
        holder, key = dice.choice(places_in(config))
        if dice.random() < 0.7:
            holder[key] = copy.deepcopy(dice.choice(ODD))
        else:
            del holder[key]
    contents = Contents(".keras", config, {}, config, None, None)
    try:
        file = worker.Opened(contents)
    except ModelFileError:
        return
    told = [worker.tell_model(file, {})[0]]
    told += [worker.tell_arguments(file, {"row": row})[0] for row in range(len(file.rows))]
    json.dumps(told, allow_nan=False)
    for number, row in enumerate(told[0]["rows"]):
        assert all(0 <= number - above < len(file.rows) for above in row["inputs"])
        assert all(0 <= number + below < len(file.rows) for below, _ in row.get("outputs", []))
