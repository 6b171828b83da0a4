"""Attempts to get a wrong model, or a half-made edit, without an error."""

from __future__ import annotations

import json
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasedit import EditError, Editor, cli, diff, files
from kerasedit.block_data import read_block
from kerasedit.edits import read_edit
from kerasedit.errors import ModelFileError
from kerasedit.targets import _compile
from tests.models import data, out, same, weights_of


class Scaled(layers.Layer):
    """A layer that is called with an argument of its own."""

    def call(self, x: Any, by: float = 1.0) -> Any:
        return x * by


def chain() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")], name="chain"
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def train(model: keras.Model, steps: int = 2) -> None:
    for _ in range(steps):
        model.train_on_batch(data(8, 4), data(8, 2))


# -- wrong models --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["insert", "append"])
def test_arguments_of_a_call_are_not_lost_in_a_sequential(method: str) -> None:
    model, x = chain(), data(3, 4)
    ed = Editor(model)
    if method == "insert":
        ed.insert(lambda t: Scaled(name="s")(t, by=10.0), after="b")
    else:
        ed.append(lambda t: Scaled(name="s")(t, by=10.0))
    np.testing.assert_allclose(out(ed.model, x)[0], out(model, x)[0] * 10.0, rtol=1e-6)
    assert type(Editor(model).append(lambda t: Scaled()(t)).model) is keras.Sequential


def test_a_nested_model_in_two_models_is_edited_once() -> None:
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(4, name="d")(inner_in), name="inner")

    def around(name: str) -> keras.Model:
        x = keras.Input((4,))
        return keras.Model(x, inner(x), name=name)

    x = keras.Input((4,))
    model = keras.Model(x, layers.Add(name="sum")([around("one")(x), around("two")(x)]))
    batch = data(3, 4)
    places: list[dict[str, Any]] = [
        {"after": "**/d"},
        {"before": "**/d"},
        {"after": ["one/inner/d", "two/inner/d"]},
    ]
    for place in places:
        for block in (layers.Rescaling(2.0), lambda t: t * 2.0):
            ed = Editor(model).insert(block, **place)
            np.testing.assert_allclose(
                out(ed.model, batch)[0], out(model, batch)[0] * 2.0, rtol=1e-5
            )
    ed = Editor(model).replace("**/d", lambda t: layers.Dense(4, use_bias=False)(t))
    assert ed.model.count_params() == 16


def test_what_is_held_back_inside_a_layer_stays_so() -> None:
    x = keras.Input((3, 4))
    attention, both = (
        layers.MultiHeadAttention(2, 2, name="mha"),
        layers.Bidirectional(layers.LSTM(2)),
    )
    dense = layers.Dense(2, name="out")
    model = keras.Model(x, dense(both(attention(x, x))))
    attention._query_dense.trainable = False
    both.forward_layer.trainable = False
    dense.bias.trainable = False
    model.compile("sgd", "mse")
    ed = Editor(model).insert(layers.Identity(), after="mha")
    for edit in (lambda: None, lambda: ed.freeze("out"), lambda: ed.rename("mha", "attention")):
        edit()
        _ = ed.model
    ed.unfreeze("out")
    copy = ed.model
    assert [v.shape for v in copy.trainable_variables] == [
        v.shape for v in model.trainable_variables
    ]
    assert not copy.get_layer("attention")._query_dense.trainable
    for one in (model, copy):
        one.train_on_batch(data(8, 3, 4), data(8, 2))
    assert same(copy.get_weights(), model.get_weights())


def test_what_is_excluded_from_weight_decay_stays_so() -> None:
    for by_name in (True, False):
        model = chain()
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        if by_name:
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        else:
            optimizer.exclude_from_weight_decay(var_list=[model.get_layer("a").kernel])
        model.compile(optimizer, "mse")
        train(model)
        ed = Editor(model).append(layers.Identity())
        _ = ed.model
        ed.freeze("b").unfreeze("b").append(layers.Identity())
        for one in (model, ed.model):
            train(one)
        assert same(ed.model.get_weights(), model.get_weights())


def test_an_input_that_nothing_needs_stays() -> None:
    used, unused = keras.Input((3,), name="used"), keras.Input((2,), name="unused")
    model = keras.Model([used, unused], layers.Dense(1, name="d")(used))
    x = [data(4, 3), data(4, 2)]
    ed = Editor(model).insert(layers.Identity(), after="d")
    assert ed.report == ()
    assert same(out(ed.model, x), out(model, x))


class OwnStep(keras.Model):
    def train_step(self, data: Any) -> Any:
        return {"loss": ops.zeros(())}


def test_losing_a_class_of_ones_own_is_told() -> None:
    x = keras.Input((4,))
    model = OwnStep(x, layers.Dense(1, name="d")(x), name="own")
    ed = Editor(model)
    assert "OwnStep" in ed.preview.append(layers.ReLU()).warnings[0]
    with pytest.warns(
        UserWarning, match="'own' becomes a plain model.*OwnStep.*train_step"
    ) as told:
        ed.append(layers.ReLU())
    assert len(told) == 1
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ed.append(layers.ReLU())


@pytest.mark.parametrize(
    "block",
    [
        lambda: lambda t: layers.Dense(4, name="new")(t),
        lambda: keras.Sequential([layers.Dense(4, name="new")]),
        lambda: keras.Sequential([keras.Sequential([layers.Dense(4, name="new")])]),
    ],
)
def test_a_block_built_only_to_know_its_shapes_inherits_like_a_layer(block: Callable) -> None:
    model = chain()
    kernel = model.get_layer("a").kernel.numpy()
    ed = Editor(model)
    assert ed.preview.replace("a", block()).reinitialized == ()
    assert any(np.array_equal(w, kernel) for w in ed.replace("a", block()).model.get_weights())
    ed = Editor(model)
    fresh = ed.preview.replace("a", block(), weights="none").reinitialized
    assert [name.split("/")[-2:] for name in fresh] == [["new", "kernel"], ["new", "bias"]]
    ed.replace("a", block(), weights="none")
    assert not any(np.array_equal(w, kernel) for w in ed.model.get_weights())


def test_a_sequential_that_is_not_built_brings_the_weights_it_has() -> None:
    trained = layers.Dense(4)
    trained.build((None, 4))
    block = keras.Sequential([layers.ReLU(), trained])
    ed = Editor(chain()).insert(block, after="a")
    assert same(ed.model.get_layer(block.name).get_weights(), trained.get_weights())
    ed = Editor(chain()).insert(lambda t: trained(t), after="a")
    assert same(ed.model.layers[1].get_weights(), trained.get_weights())


def test_losses_by_the_keys_of_outputs_that_went_are_told() -> None:
    x = keras.Input((4,))
    h = layers.Dense(4, name="h")(x)
    model = keras.Model(x, {"y": layers.Dense(2, name="a")(h), "b": layers.Dense(2, name="c")(h)})
    model.compile("sgd", {"y": "mse", "b": "mae"})
    ed = Editor(model).trim("h")
    with pytest.warns(UserWarning, match=r"not compiled.*no loss for the outputs") as told:
        assert not ed.model.compiled
    assert told[0].filename == __file__
    ed.undo()
    batch, y = data(8, 4), {"y": data(8, 2), "b": data(8, 2)}
    assert same(ed.model.train_on_batch(batch, y), model.train_on_batch(batch, y))


# -- half-made edits -----------------------------------------------------------------------------


def interrupted(act: Callable[[], Any], step: int) -> bool:
    """Whether `act` was interrupted, at the step given (in lines of kerasedit)."""
    seen = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal seen
        if "kerasedit" not in frame.f_code.co_filename or "tests" in frame.f_code.co_filename:
            return None
        seen += 1
        if seen == step:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def check_whole(ed: Editor, steps: int) -> None:
    """The editor, its history and its copy agree on whether layer `a` is frozen."""
    frozen = len(ed.history) == steps
    flags = {view.path: view.trainable for view in ed.layers}
    assert flags["a"] is not frozen
    assert ed.model.get_layer("a").trainable is not frozen
    assert ed.model.get_layer("a").kernel.trainable is not frozen


@pytest.mark.parametrize("what", ["freeze", "undo"])
def test_an_interrupt_leaves_flags_and_history_together(what: str) -> None:
    model = chain()
    train(model)
    for step in range(1, 20_000, 23):
        ed = Editor(model)
        _ = ed.model
        if what == "undo":
            ed.freeze("a")
        went_on = not interrupted(ed.undo if what == "undo" else lambda e=ed: e.freeze("a"), step)
        check_whole(ed, 1)
        if went_on:
            return
    pytest.fail("the edit has more lines than expected")


def test_an_interrupted_rebuild_loses_nothing() -> None:
    model = chain()
    train(model)
    ed = Editor(model).freeze("a")
    train(ed.model)
    for step in range(1, 12000, 97):
        before, steps = weights_of(ed.model), int(ed.model.optimizer.iterations)
        ed.append(layers.Identity())
        went_on = not interrupted(lambda: ed.model, step)
        copy = ed.model
        assert same(weights_of(copy), before)
        assert int(copy.optimizer.iterations) == steps
        ed.unfreeze("a")  # its slots were kept aside
        assert all(np.any(v.numpy()) for v in ed.model.optimizer.variables)
        ed.freeze("a")
        if went_on:
            return
        ed.undo(3)
    pytest.fail("a rebuild has more lines than expected")


class Odd(keras.metrics.Metric):
    def __init__(self, argument: Any, **options: Any) -> None:
        super().__init__(**options)

    def update_state(self, *args: Any, **options: Any) -> None: ...
    def result(self) -> Any:
        return ops.zeros(())


def test_a_warning_made_an_error_comes_when_all_is_done() -> None:
    model = chain()
    model.compile("sgd", "mse", metrics=[Odd(1, name="odd")])
    ed = Editor(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match="not compiled"):
            _ = ed.model
        assert same(weights_of(ed.model), weights_of(model))


# -- recipes and files ---------------------------------------------------------------------------


def test_a_target_nested_without_end() -> None:
    target: Any = "a"
    for _ in range(5000):
        target = [target]
    with pytest.raises(EditError, match="too deeply"):
        read_edit({"edit": "remove", "target": target}, read_block)


def test_a_pattern_that_could_match_in_many_ways() -> None:
    ed = Editor(keras.Sequential([keras.Input((2,)), layers.Dense(1, name="a" * 3000)]))
    start = time.monotonic()
    for pattern in ("*a", "**a", "**/", "**/a**", "**a*a", "**a/**/a", "a?**", "**[a-c]*[!b]"):
        with pytest.raises(EditError, match="matches"):
            ed.find(pattern * 20 + "b")
    assert time.monotonic() - start < 10
    assert ed.find("*a*a*") == ed.find("**a" * 20 + "**") == ["a" * 3000]


def named(pattern: str, path: str, before: str = "/") -> bool:
    """Whether a pattern names a path, found by trying everything; `before` is the sign before it."""
    if not pattern:
        return not path
    ends = range(len(path) + 1)
    if pattern.startswith("**/") and before == "/":
        return any(named(pattern[3:], path[n:]) for n in ends if n == 0 or path[n - 1] == "/")
    if pattern.startswith("**"):
        return any(named(pattern[2:], path[n:], "*") for n in ends)
    if pattern.startswith("*"):
        return any(named(pattern[1:], path[n:], "*") for n in ends if "/" not in path[:n])
    fits = path[:1] == pattern[0] or (pattern[0] == "?" and path[:1] not in ("", "/"))
    return fits and named(pattern[1:], path[1:], pattern[0])


def test_a_pattern_that_does_not_try_for_ever_misses_nothing() -> None:
    random = np.random.default_rng(4)
    paths = ["".join(random.choice(list("aab/"), n)) for n in range(12) for _ in range(20)]
    pieces, met = ["a", "b", "a*", "*b", "**", "?", "/", "/**/", "/**"], 0
    for _ in range(200):
        pattern = "".join(random.choice(pieces, random.integers(1, 7)))
        compiled = _compile(pattern)
        for path in paths:
            wanted = named(pattern, path)
            assert bool(compiled.fullmatch(path)) is wanted, (pattern, path)
            met += wanted
    assert met > 300


def test_a_file_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain().save(tmp_path / "small.keras")
    with (
        zipfile.ZipFile(tmp_path / "small.keras") as small,
        zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in small.namelist():
            bomb.writestr(name, small.read(name) + b" " * 2_000_000 * (name == "config.json"))
    assert Editor(tmp_path / "bomb.keras").find("*") == Editor(tmp_path / "small.keras").find("*")
    monkeypatch.setattr(files, "_ALWAYS", 1000)
    assert Editor(tmp_path / "small.keras").layers
    for opened in (Editor, lambda path: diff(path, chain())):
        with pytest.raises(ModelFileError, match="unpack"):
            opened(tmp_path / "bomb.keras")


HOSTILE = "a\x1b[31mred\nkerasedit: all is well\u202e"


@pytest.mark.parametrize("command", ["summary", "diff", "apply", "bad"])
def test_no_name_controls_the_terminal(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, recipe = tmp_path / "model.keras", tmp_path / "edits.json"
    keras.Sequential([keras.Input((4,)), layers.Dense(2, name=HOSTILE)], name=HOSTILE).save(file)
    target = {"bad": HOSTILE + "2", "apply": HOSTILE}.get(command, "d")
    step = {"edit": {"edit": "rename", "target": target, "name": HOSTILE + "3"}}
    recipe.write_text(json.dumps({"format": "kerasedit recipe", "version": 1, "steps": [step]}))
    chain().save(tmp_path / "chain.keras")
    arguments = {
        "summary": ["summary", str(file)],
        "diff": ["diff", str(file), str(tmp_path / "chain.keras")],
    }.get(command, ["apply", str(recipe), str(file), str(tmp_path / "out.keras")])
    assert cli.main(arguments) == (command == "bad")
    shown = capsys.readouterr()
    for line in (shown.out + shown.err).splitlines():
        assert line.isprintable()
        assert not line.startswith("kerasedit: all")
    assert r"\x1b[31mred\n" in shown.out
    ed = Editor(file).freeze("*")
    for told in (ed.summary, lambda: print(ed.preview.rename(0, "x")), lambda: print(ed.verify())):
        told()
        assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_saving_what_never_trained_says_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        Editor(chain()).append(layers.ReLU()).save(tmp_path / "model.keras")


def test_saving_through_a_link_writes_what_it_points_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target.keras", tmp_path / "latest.keras"
    ed = Editor(chain())
    ed.save(target)
    link.symlink_to(target)
    ed.append(layers.ReLU(name="end")).save(link)
    assert link.is_symlink()
    assert keras.saving.load_model(target).layers[-1].name == "end"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.keras", "target.keras"]


@pytest.mark.parametrize("name", ["n" * 300 + ".keras", "\0.keras", "x.KERAS", "folder.keras"])
def test_names_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(EditError):
        Editor(chain()).save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.keras"]


# -- what is shown -------------------------------------------------------------------------------


def test_code_names_a_class_of_ones_own_without_keras() -> None:
    x = keras.Input((4,))
    ed = Editor(keras.Model(x, layers.Dropout(0.1)(Scaled()(x))))
    assert ed.preview.remove(Scaled).code == "ed.remove(Scaled)"
    assert ed.preview.remove(layers.Dropout).code == "ed.remove(layers.Dropout)"


def test_history_and_plans_are_short_to_look_at() -> None:
    ed = Editor(chain()).insert(layers.Dropout(0.5), after="a")
    assert "Block(layers.Dropout(rate=0.5))" in repr(ed.history)
    assert len(repr(ed.history)) < 300
    assert len(repr(ed.preview.remove("b"))) < 600
