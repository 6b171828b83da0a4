"""Models that are allowed and that nobody makes: names, depths and sharing out of the ordinary."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor
from kerasedit.errors import ModelFileError
from kerasedit.names import visible
from tests import models
from tests.models import data, fingerprint, give, out, same, scramble, state_of

# -- names ---------------------------------------------------------------------------------------

NAMES = {
    "emoji": "🧠 → 🚀",
    "right to left": "שלום עולם",
    "combining": "e\u0301\u0323cole",
    "invisible": "a\u200b\u2066b",
    "markup": "<script>alert('x')<\\script>",
    "entities": '<b onclick="x">&amp;',
    "quotes": "it's \"quoted\" `x` \\ '''",
    "glob": "a[1]*",
    "globs": "**?[!a-z]",
    "spaces": "  two  spaces ",
    "lines": "a\n\tb\r",
    "dots": "..",
    "numbers": "12",
    "format": "%s{0}{name}",
    "keyword": "for",
    "long": "n" * 1000,
}


def odd(name: str, *more: str) -> keras.Model:
    """A branch, of layers that all have odd names; `more` leaves layers out or puts them in."""
    x = keras.Input((4,), name=f"{name}x")
    h = layers.Dense(5, "relu" if "relu" in more else "tanh", name=name)(x)
    if "inserted" in more:
        h = layers.Rescaling(2.0, name=f"{name}!")(h)
    if "dropped" not in more:
        h = layers.Dropout(0.5, name=f"{name}drop")(h)
    y = keras.Input((5,), name=f"{name}y")
    inner = layers.Dense(5, "tanh", name=name)(y)
    if "inside" in more:
        inner = layers.ReLU(name=f"{name}relu")(inner)
    h = layers.Add(name=f"{name}+")([h, keras.Model(y, inner, name=f"{name}m")(h)])
    if "trimmed" not in more:
        h = layers.Dense(2, name=f"{name}top")(h)
    return scramble(keras.Model(x, h, name=name))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    model, x = odd(name), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model)
    inner = f"{name}m/{name}"
    for path in (name, inner, f"{name}drop"):
        assert ed.find(path) == [path]
    edits: list[tuple[Callable[[], Any], tuple[str, ...]]] = [
        (lambda: ed.remove(f"{name}drop"), ("dropped",)),
        (lambda: ed.insert(layers.Rescaling(2.0, name=f"{name}!"), after=name), ("inserted",)),
        (lambda: ed.replace(name, layers.Dense(5, "relu", name=name)), ("relu",)),
        (lambda: ed.insert(layers.ReLU(name=f"{name}relu"), after=inner), ("inside",)),
        (lambda: ed.trim(f"{name}+"), ("trimmed",)),
    ]
    changes: tuple[str, ...] = ()
    for edit, change in edits:
        edit()
        changes += change
        assert same(out(ed.model, x), out(give(odd(name, *changes), model), x))
        ast.parse(ed.history[-1].to_code())
    ed.rename(name, f"{name}2").freeze(inner).rename(f"{name}2", name)
    frozen = [view.path for view in ed.layers if view.weights and not view.trainable]
    assert frozen == [inner]
    assert not ed.model.get_layer(f"{name}m").get_layer(name).trainable
    for text in (str(ed.preview.remove(name)), repr(ed), repr(ed.layers[1]), str(ed.verify())):
        assert name in text or visible(name) in text  # what is printed has no control characters
    assert ed.verify() and json.dumps(ed.verify().to_json())

    for suffix in (".keras", ".h5"):
        file = tmp_path / f"m{suffix}"
        ed.save(file)
        again = Editor(file)
        assert same(out(again.model, x), out(ed.model, x))
        assert same(again.model.get_weights(), ed.model.get_weights())
        assert sorted(v.path for v in again.layers) == sorted(v.path for v in ed.layers)
    done = len(ed.history)
    assert same(out(ed.undo(done).model, x), out(model, x))
    assert same(out(ed.redo(done).model, x), out(again.model, x))
    assert fingerprint(model) == before


def test_a_name_that_is_a_pattern_means_its_layer_first() -> None:
    x = h = keras.Input((4,), name="x")
    for name in ("a[12]*", "a1", "a2b", "b1"):
        h = layers.Dense(4, name=name)(h)
    ed = Editor(keras.Model(x, h))
    assert ed.find("a[12]*") == ["a[12]*"]
    assert ed.find("a[12]?") == ["a2b"]
    assert ed.remove("a[12]*").find("a[12]*") == ["a1", "a2b"]


# What Keras itself cannot write: HDF5's own limits, and names that it keeps for itself.
UNSAVED = {
    "zero": ("a\0b", (".keras", ".h5")),
    "endless": ("n" * 70_000, (".h5",)),
    "here": (".", (".h5",)),
    "reserved": ("top_level_model_weights", (".h5",)),
}


@pytest.mark.parametrize(("name", "refused"), UNSAVED.values(), ids=UNSAVED)
def test_names_that_a_file_cannot_hold(tmp_path: Path, name: str, refused: tuple[str, ...]) -> None:
    x, model = data(3, 4), models.fork()
    for suffix in (".keras", ".h5"):
        file = tmp_path / f"m{suffix}"
        ed = Editor(model).save(file)
        content = file.read_bytes()
        ed.rename("b", name)
        copy, state = ed.model, state_of(ed)
        if suffix in refused:
            with pytest.raises(
                ModelFileError, match=r"cannot be saved.*What was there is unharmed"
            ):
                ed.save(file)
            assert file.read_bytes() == content
        else:
            ed.save(file)
            assert Editor(file).find(name) == [name]
        assert ed.model is copy and state_of(ed) == state
        assert same(out(ed.model, x), out(model, x))
    assert sorted(os.listdir(tmp_path)) == ["m.h5", "m.keras"]
    found = Editor(model).rename("b", name).verify()
    assert bool(found) == (".keras" not in refused)
    assert found.outputs["top"].identical


# -- depth ---------------------------------------------------------------------------------------


def deep(count: int) -> keras.Model:
    """A chain of Dense layers that each pass on what they get."""
    limit = sys.getrecursionlimit()
    x = h = keras.Input((4,), name="x")
    for number in range(count):
        h = layers.Dense(4, kernel_initializer="identity", name=f"d{number}")(h)
    sys.setrecursionlimit(limit + 10 * count)  # Keras itself needs it to make such a model
    try:
        return keras.Model(x, h, name="deep")
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("count", [1000, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_chain_of_thousands_of_layers(tmp_path: Path, count: int) -> None:
    limit = sys.getrecursionlimit()
    model, x = deep(count), data(2, 4)
    model.get_layer("d7").bias.assign([1.0, 2.0, 3.0, 4.0])
    ed = Editor(model)
    ed.remove(f"d{count // 2}").insert(layers.Rescaling(2.0, name="twice"), after=f"d{count - 1}")
    ed.replace("d3", layers.Dense(4, "relu", name="d3")).rename("d5", "five")
    ed.freeze("d1?").remove("d2?")
    expected = (x.clip(min=0) + np.array([1, 2, 3, 4])) * 2
    assert same(out(ed.model, x), expected.astype("float32"))

    file = tmp_path / "m.keras"
    ed.save(file, verify=x)
    again = Editor(file)
    assert [v.path for v in again.layers] == [v.path for v in ed.layers]
    loaded = again.source
    assert not loaded.get_layer("d15").trainable and loaded.get_layer("five").trainable
    assert same(out(loaded, x), out(ed.model, x))

    ed.undo(len(ed.history))
    assert same(out(ed.model, x), out(model, x))
    assert sys.getrecursionlimit() == limit


def test_models_in_models_in_models(tmp_path: Path) -> None:
    h = layers.Dense(4, "tanh", name="core")
    for level in range(25):
        x = keras.Input((4,), name="x")
        h = keras.Model(x, h(x), name=f"m{level}")
    model, x = scramble(h), data(3, 4)
    path = "/".join(f"m{level}" for level in reversed(range(24))) + "/core"
    ed = Editor(model)
    assert ed.find("**/core") == [path]
    ed.insert(layers.Rescaling(2.0), after=path)
    assert same(out(ed.model, x), out(model, x)[0] * 2)
    assert Editor(ed.save(tmp_path / "m.keras") and tmp_path / "m.keras").find(path) == [path]
    assert same(out(Editor(tmp_path / "m.keras").model, x), out(ed.model, x))
    found = ed.verify()
    assert found and found.first_difference is None and not found.outputs["m23"].identical


# -- sharing -------------------------------------------------------------------------------------


def around(name: str, *inner: Callable[[Any], Any]) -> keras.Model:
    x = h = keras.Input((4,), name=f"{name}_in")
    for layer in inner:
        h = layer(h)
    return keras.Model(x, h, name=name)


def spiral(*changes: str, then: Callable[[Any], Any] = lambda t: t) -> keras.Model:
    """Two models that share a layer, in a third that has it too; all used again beside and after.

    `then` is what follows the shared layer wherever it stands.
    """
    dense = layers.Dense(4, None if "linear" in changes else "tanh", name="a")

    def a(tensor: Any) -> Any:
        return then(tensor if "gone" in changes else dense(tensor))

    one = around("one", a, *([] if "shorter" in changes else [layers.Dense(4, name="d1")]))
    two = around("two", layers.Dense(4, name="d2"), a)
    x = keras.Input((4,), name="third_in")
    added = layers.Add(name="add")([one(x), two(one(x)), a(x)])
    third = keras.Model(x, added, name="third")
    x = keras.Input((4,), name="x")
    h = third(x if "once" in changes else third(x))
    h = layers.Add(name="sum")([h, one(h), a(h)])
    if "trimmed" not in changes:
        h = layers.Dense(2, name="top")(h)
    return scramble(keras.Model(x, h, name="spiral"))


SHARED: dict[str, tuple[Callable[[Editor], Any], Callable[[], keras.Model]]] = {
    "nothing": (lambda ed: ed.freeze("a"), spiral),
    "rename": (lambda ed: ed.rename("third/one/a", "b").rename("one", "uno"), spiral),
    "remove inside": (lambda ed: ed.remove("third/one/d1"), lambda: spiral("shorter")),
    "remove everywhere": (lambda ed: ed.remove("**/a"), lambda: spiral("gone")),
    "remove a call": (lambda ed: ed.remove("third", call=0), lambda: spiral("once")),
    "insert everywhere": (
        lambda ed: ed.insert(layers.Rescaling(3.0), after="**/a"),
        lambda: spiral(then=lambda t: layers.Rescaling(3.0)(t)),
    ),
    "configure": (lambda ed: ed.configure("one/a", activation=None), lambda: spiral("linear")),
    "trim": (lambda ed: ed.trim("sum"), lambda: spiral("trimmed")),
}


@pytest.mark.parametrize("edit", SHARED)
def test_layers_and_models_shared_in_a_spiral(tmp_path: Path, edit: str) -> None:
    model, x = spiral(), data(3, 4)
    before = fingerprint(model)
    ed = Editor(model)
    act, by_hand = SHARED[edit]
    act(ed)
    assert same(out(ed.model, x), out(give(by_hand(), model), x))
    assert fingerprint(model) == before
    found = ed.verify()
    assert found.outputs and not found.not_comparable and found.nans is None
    assert bool(found.first_difference) == (edit not in ("nothing", "rename", "trim"))
    done = len(ed.history)
    after = out(ed.model, x)
    assert same(out(ed.undo(done).model, x), out(model, x))
    assert same(out(ed.redo(done).model, x), after)


def test_sharing_that_keras_does_not_save_loses_nothing(tmp_path: Path) -> None:
    """A layer that is inside of two models, or inside and outside of one."""
    model = spiral()
    model.save(tmp_path / "naive.keras")
    with pytest.raises(ValueError, match="not connected"):
        keras.saving.load_model(tmp_path / "naive.keras")
    os.unlink(tmp_path / "naive.keras")
    Editor(models.chain()).save(tmp_path / "m.keras").save(tmp_path / "m.h5")
    files = {name: (tmp_path / name).read_bytes() for name in ("m.keras", "m.h5")}
    ed = Editor(model).remove("third/one/d1")
    copy, state = ed.model, state_of(ed)
    with pytest.raises(ModelFileError, match=r"cannot load back what it saved as 'm\.keras'"):
        ed.save(tmp_path / "m.keras")
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == files
    assert ed.model is copy and state_of(ed) == state
    found = ed.verify()
    assert not found and "inside and outside of a nested model" in found.file.reason


def test_sharing_that_a_file_does_not_tell_is_told(tmp_path: Path) -> None:
    """An `.h5` file gives each place weights of its own, of the same values."""
    dense = layers.Dense(4, name="a")
    x = keras.Input((4,), name="x")
    h = layers.Add(name="sum")([around("one", dense)(x), dense(x)])
    ed = Editor(scramble(keras.Model(x, h)))
    with pytest.warns(UserWarning, match="share weights"):
        ed.save(tmp_path / "m.h5")
    batch = data(3, 4)
    loaded = keras.saving.load_model(tmp_path / "m.h5")
    assert same(out(loaded, batch), out(ed.model, batch))
    assert (len(loaded.weights), len(ed.model.weights)) == (4, 2)


@pytest.mark.parametrize("calls", ["in a row", "side by side", "in another"])
def test_nested_models_called_several_times(tmp_path: Path, calls: str) -> None:
    def make(*more: Callable[[Any], Any]) -> keras.Model:
        inner = around("inner", layers.Dense(4, "tanh", name="a"), *more)
        x = keras.Input((4,), name="x")
        if calls == "in a row":
            h = inner(inner(inner(x)))
        elif calls == "side by side":
            h = layers.Add(name="sum")([inner(x), inner(layers.Rescaling(2.0, name="r")(x))])
        else:
            h = around("outer", inner, layers.Dense(4, name="d"), inner)(x)
        return scramble(keras.Model(x, layers.Dense(2, name="top")(h), name="m"))

    model, x = make(), data(3, 4)
    ed = Editor(model).insert(layers.Rescaling(3.0, name="by"), after="**/a")
    assert same(out(ed.model, x), out(give(make(layers.Rescaling(3.0)), model), x))
    assert ed.verify()
    file = tmp_path / "m.keras"
    again = Editor(ed.save(file) and file)
    assert [v.path for v in again.layers] == [v.path for v in ed.layers]
    assert same(out(again.model, x), out(ed.model, x))
    assert len(again.model.weights) == len(model.weights)
    assert same(out(again.remove("**/by").model, x), out(model, x))
    assert same(out(ed.undo().model, x), out(model, x))
