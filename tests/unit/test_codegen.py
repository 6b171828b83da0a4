"""Exported scripts: run, they give the edited model to the bit, and nothing in a name is ever run."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasedit import EditError, Editor, StructureError
from kerasedit.codegen import script as script_module
from kerasedit.codegen.layout import WIDTH, docstring, lay_out
from kerasedit.edits.base import registry
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import ZOO, data, fingerprint, flat, same, scramble, whole
from tests.unit.test_ties import TIED, Block, in_an_op

ROOT = Path(__file__).parents[2]
STYLES = ("kerasedit", "keras")
both = pytest.mark.parametrize("style", STYLES)


def run(code: str, source: keras.Model, **names: Any) -> keras.Model:
    """What the script makes of a model, run in a namespace of its own."""
    namespace: dict[str, Any] = dict(names)
    exec(compile(code, "script", "exec"), namespace)
    return namespace["build"](source)


def predicted(model: keras.Model, x: Any) -> list[np.ndarray]:
    return [np.asarray(array) for array in flat(model.predict(x, verbose=0))]


def named(model: Any, prefix: str = "") -> list[tuple[str, type, bool]]:
    """Every layer by its path, with its class and flag."""
    found = []
    for layer in model.layers:
        if not isinstance(layer, layers.InputLayer):
            found.append((prefix + layer.name, type(layer), layer.trainable))
        if isinstance(layer, keras.Model):
            found += named(layer, f"{prefix}{layer.name}/")
    return sorted(found, key=lambda item: item[0])


def check(ed: Editor, style: str, x: Any) -> str:
    """The script makes the very model; returns it."""
    before = fingerprint(ed.source)
    code = ed.to_code(style)
    assert max(map(len, code.splitlines())) <= WIDTH
    assert style == "kerasedit" or "kerasedit" not in code
    assert code == ed.to_code(style)
    made = run(code, ed.source)
    assert fingerprint(ed.source) == before
    assert made is not ed.model and made is not ed.source
    assert type(made) is type(ed.model) and made.name == ed.model.name
    names = [getattr(model, "output_names", None) for model in (made, ed.model)]
    assert names[0] == names[1]
    assert named(made) == named(ed.model)
    assert made.trainable == ed.model.trainable
    found, wanted = made.predict(x, verbose=0), ed.model.predict(x, verbose=0)
    keras.tree.assert_same_structure(found, wanted)
    assert same(found, wanted)
    return code


def as_trained(model: keras.Model) -> None:
    """Changes the weights as training would."""
    for variable in model.trainable_variables:
        variable.assign(variable + 0.125)


def values(model: keras.Model) -> list[np.ndarray]:
    return [ops.convert_to_numpy(variable) for variable in model.variables]


def body(code: str) -> list[str]:
    """The lines of `build` behind its docstring."""
    return code.split("def build(")[1].split('"""')[2].split("\n\n\n")[0].strip("\n").split("\n")


# -- every model ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("name", sorted(ZOO.keys() - {"subclassed"}))
def test_a_model_as_it_is(name: str, style: str) -> None:
    make, batch = ZOO[name]
    code = check(Editor(make()), style, batch())
    assert "arrays" not in code  # all is in the source


@both
@pytest.mark.parametrize("name", sorted(ZOO.keys() - {"subclassed"}))
def test_a_model_edited_trained_and_frozen(name: str, style: str) -> None:
    make, batch = ZOO[name]
    ed = Editor(make())
    view = next(v for v in ed.layers if v.kind == "layer" and len(v.input_shapes) == 1)
    ed.insert(layers.Identity(name="extra"), after=view.path).freeze(layers.Identity)
    layer = next(v.path for v in ed.layers if v.params and v.kind == "layer")
    ed.reinitialize(layer)
    as_trained(ed.model)
    check(ed, style, batch())


@both
def test_a_subclassed_model(style: str) -> None:
    ed = Editor(models.subclassed()).freeze("first").scale_weights("second", 3.0)
    ed.model(data(3, 4))
    code = ed.to_code(style)
    made = run(code, ed.source)
    assert type(made) is models.Subclassed
    assert same(predicted(made, data(3, 4)), predicted(ed.model, data(3, 4)))
    assert [la.trainable for la in made.layers] == [False, True]


def test_a_functional_subclass_comes_back_as_its_class() -> None:
    make, batch = ZOO["functional_subclass"]
    code = check(Editor(make()), "keras", batch())
    assert 'model = OwnStep(x, b, name="own")' in code
    assert "from tests.models import OwnStep" in code
    ed = Editor(make()).insert(layers.ReLU(name="relu"), after="a")
    assert 'model = keras.Model(x, b, name="own")' in check(ed, "keras", batch())


# -- every edit ----------------------------------------------------------------------------------


def with_head(x: Any) -> Any:
    return ops.softmax(layers.Dense(2)(x) * 2.0)


def residual(x: Any) -> Any:
    return x + layers.Dense(5)(x)


EDITS: dict[str, Callable[[Editor], Any]] = {
    "remove": lambda ed: ed.remove("drop"),
    "insert": lambda ed: ed.insert(layers.Dropout(0.25), after="a"),
    "insert a list": lambda ed: ed.insert(
        [layers.Dense(7), layers.ReLU(), layers.BatchNormalization()],
        before="b",
        on_mismatch="slice",
    ),
    "insert a function": lambda ed: ed.insert(residual, after=["a", "b"]),
    "insert a model": lambda ed: ed.insert(
        keras.Sequential([keras.Input((5,)), layers.Dense(5), models.Scale(2.0)], name="mini"),
        after="a",
    ),
    "insert a frozen layer": lambda ed: ed.insert(layers.Dense(5, trainable=False), after="a"),
    "insert a class of no package": lambda ed: ed.insert(models.Unregistered(3.0), after="a"),
    "append": lambda ed: ed.append(with_head),
    "replace": lambda ed: ed.replace("b", layers.Dense(5, activation="tanh", name="bb")),
    "replace and slice": lambda ed: ed.replace(
        "b", layers.Dense(6), weights="slice", on_mismatch="reinit"
    ),
    "replace by a transplant": lambda ed: ed.replace("b", models.chain().get_layer("b")),
    "replace_between": lambda ed: ed.replace_between(
        "a", "b", keras.Sequential([layers.Dense(5), layers.Dense(5)])
    ),
    "add_branch": lambda ed: ed.add_branch(
        layers.Dense(5), source="a", into="norm", merge=layers.Add()
    ),
    "connect": lambda ed: ed.connect("a", "norm", merge=layers.Concatenate(), on_mismatch="reinit"),
    "disconnect": lambda ed: ed.connect("a", "norm", merge=layers.Add()).disconnect("a", "norm"),
    "duplicate": lambda ed: ed.duplicate("b"),
    "duplicate fresh": lambda ed: ed.duplicate("b", weights=False),
    "move": lambda ed: ed.move("b", after="norm"),
    "rename": lambda ed: ed.rename("b", "other"),
    "configure": lambda ed: ed.configure(
        "[ab]", activation="relu", kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2)
    ),
    "configure a function": lambda ed: ed.configure("a", activation=models.double),
    "configure a policy": lambda ed: ed.configure("a", dtype="mixed_float16"),
    "trim": lambda ed: ed.trim(2),
    "extract": lambda ed: ed.extract("a", "norm"),
    "set_input": lambda ed: ed.set_input((6,), on_mismatch="reinit").set_input(
        (4,), on_mismatch="slice"
    ),
    "add_output": lambda ed: ed.add_output("b", "mid"),
    "remove_output": lambda ed: ed.add_output("b").remove_output("c"),
    "nest": lambda ed: ed.nest("a", "b", "inner").freeze("inner/b"),
    "inline": lambda ed: ed.nest("a", "b", "inner").inline("inner"),
    "set_weights": lambda ed: ed.set_weights("a", [np.ones((4, 5)), np.zeros(5)]),
    "set_weights by name": lambda ed: ed.set_weights("b", {"bias": np.arange(5)}),
    "scale_weights": lambda ed: ed.scale_weights("**", 0.5),
    "map_weights": lambda ed: ed.map_weights("**", np.abs),
    "map_weights by a lambda": lambda ed: ed.map_weights("**", lambda w: w - 1, "kernel"),
    "reinitialize": lambda ed: ed.reinitialize("b"),
    "prune_channels": lambda ed: ed.prune_channels("*", fraction=0.4, criterion="geometric_median"),
    "prune_channels by numbers": lambda ed: ed.prune_channels("b", drop=[0, 3]),
    "grow_channels": lambda ed: ed.grow_channels("*", 7),
    "grow_channels at random": lambda ed: ed.grow_channels("a", 7, init="random").grow_channels(
        "b", 9, noise=0.1
    ),
    "grow_outputs": lambda ed: ed.grow_outputs(3, seed=5),
    "grow_outputs by any seed": lambda ed: ed.grow_outputs(1),
    "fold_batchnorm": lambda ed: ed.fold_batchnorm(),
    "recalibrate_batchnorm": lambda ed: ed.recalibrate_batchnorm(data(9, 4)),
    "quantize": lambda ed: ed.quantize("int8"),
    "quantize by blocks": lambda ed: ed.quantize(
        config=keras.quantizers.Int4QuantizationConfig(block_size=4), filters=["a", "c"]
    ),
    "sparsify": lambda ed: ed.sparsify("**", 0.4),
    "densify": lambda ed: ed.sparsify("**", 0.4).densify("a"),
    "freeze": lambda ed: ed.freeze("a", "norm"),
    "unfreeze": lambda ed: ed.freeze("**").unfreeze(layers.Dense),
    "freeze_up_to": lambda ed: ed.freeze_up_to("b"),
}


def transaction(ed: Editor) -> None:
    with ed.transaction("two 'things'\nat once"):
        ed.remove("drop").insert(layers.Dense(5, name="new"), after="a")


EDITS["transaction"] = transaction


def test_every_edit_is_here() -> None:
    assert {name.split(" ")[0] for name in EDITS} == registry.keys()


@both
@pytest.mark.parametrize("name", EDITS)
def test_an_edit(name: str, style: str) -> None:
    ed = Editor(models.chain())
    EDITS[name](ed)
    check(ed, style, data(3, 4))


@both
@pytest.mark.parametrize("name", [name for name in EDITS if " " not in name])
def test_an_edit_after_the_copy_was_trained(name: str, style: str) -> None:
    ed = Editor(models.chain())
    as_trained(ed.model)
    EDITS[name](ed)
    check(ed, style, data(3, 4))


@both
def test_training_after_the_edits(style: str) -> None:
    ed = Editor(models.chain()).remove("drop").scale_weights("a", 2.0)
    ed.model.compile("adam", "mse")
    ed.model.fit(data(8, 4), data(8, 2), verbose=0)
    check(ed, style, data(3, 4))


@pytest.mark.parametrize(
    "name", ["remove", "replace", "rename", "configure", "scale_weights", "map_weights", "nest"]
)
def test_edits_that_draw_nothing_need_no_arrays(name: str) -> None:
    ed = Editor(models.chain())
    EDITS[name](ed)
    assert "assign(" not in ed.to_code()


def test_only_what_the_edits_do_not_give_comes_along() -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a")
    _ = ed.model
    assert body(ed.to_code()) == [
        "    ed = kerasedit.Editor(source)",
        '    ed.insert(layers.Dense(5, name="new"), after="a")',
        "    model = ed.model",
        "    # Values that the edits alone do not give.",
        '    assign(find(model, "new"), [arrays["new/kernel"], None])',
        "    return model",
    ]


def test_equal_seeds_do_not_hide_what_was_drawn() -> None:
    """The values of the copy are those that the edits made again draw, with the same seeds."""
    ed = (
        Editor(models.chain())
        .insert(layers.Dense(5), after="a")
        .replace_between("b", "c", keras.Sequential([layers.Dense(5), layers.Dense(2)]))
    )
    keras.utils.set_random_seed(7)
    _ = ed.model
    keras.utils.set_random_seed(7)
    code = ed.to_code()
    keras.utils.set_random_seed(8)
    assert same(values(run(code, ed.source)), values(ed.model))


def test_exporting_draws_and_changes_nothing() -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5), after="a")
    model, before = ed.model, [v.copy() for v in values(ed.model)]
    random.seed(3)
    state, revision = random.getstate(), ed.revision
    for style in STYLES:
        ed.to_code(style)
    assert random.getstate() == state
    assert ed.model is model and same(values(model), before)
    assert (ed.revision, len(ed.history)) == (revision, 1)


@both
def test_undone_edits_are_not_there(style: str) -> None:
    ed = Editor(models.chain()).remove("drop").insert(layers.Dense(5, name="gone"), after="a")
    assert "gone" not in check(ed.undo(), style, data(3, 4))
    assert "gone" not in check(ed.reset(), style, data(3, 4))


@both
def test_without_weights_nothing_is_built_to_be_read(style: str) -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a")
    code = ed.to_code(style, weights=False)
    assert "arrays" not in code and not ed._copy.built
    made = run(code, ed.source)
    assert [layer.name for layer in made.layers] == ["a", "new", "drop", "b", "norm", "c"]
    for name in ("a", "b", "norm", "c"):
        assert same(made.get_layer(name).get_weights(), ed.source.get_layer(name).get_weights())


# -- how it reads --------------------------------------------------------------------------------


def test_keras_style_reads_like_keras() -> None:
    make, _ = ZOO["raw_ops"]
    ed = Editor(make()).rename("top", "head").freeze("a")
    add, multiply, relu, item = (view.name for view in ed.layers if view.kind == "op")
    assert body(ed.to_code("keras")) == [
        '    x = keras.Input(shape=(3, 4), name="x")',
        '    a = layers.Dense(4, name="a")(x)',
        f"    {add} = a + x",
        f"    {multiply} = {add} * 2.0",
        f"    {relu} = ops.relu({multiply})",
        f"    {item} = {relu}[:, 0]",
        f'    head = layers.Dense(2, name="head")({item})',
        '    model = keras.Model(x, head, name="raw_ops")',
        "",
        '    assign(find(model, "a"), find(source, "a").variables)',
        '    assign(find(model, "head"), find(source, "top").variables)',
        '    find(model, "a").trainable = False',
        "    return model",
    ]


def test_kerasedit_style_reads_like_the_edits() -> None:
    ed = Editor(models.cnn())
    ed.remove("pool").replace(layers.ReLU, layers.Activation("gelu")).freeze("block[1-2]_*")
    ed.configure("head", kernel_regularizer=keras.regularizers.L2(1e-4))
    assert body(ed.to_code())[:7] == [
        "    ed = kerasedit.Editor(source)",
        '    ed.remove("pool")',
        '    ed.replace(layers.ReLU, layers.Activation("gelu", name="activation"))',
        '    ed.freeze("block[1-2]_*")',
        '    ed.configure("head", kernel_regularizer=keras.regularizers.L2(l2=0.0001))',
        "    return ed.model",
    ]


def test_a_shared_layer_is_made_once() -> None:
    code = check(Editor(models.shared()), "keras", ZOO["shared"][1]())
    assert code.count('layers.Dense(4, activation="tanh", name="tower")') == 1
    assert "tower_1 = tower(left)" in code


def test_scripts_are_what_a_linter_expects(tmp_path: Path) -> None:
    makers = {
        **{name: make for name, (make, _) in ZOO.items()},
        **{n: m for n, (m, _) in ODD.items()},
    }
    for number, make in enumerate(makers.values()):
        ed = Editor(make())
        for style in STYLES:
            tmp_path.joinpath(f"{style}_{number}.py").write_text(ed.to_code(style), "utf-8")
    for name, edit in EDITS.items():
        ed = Editor(models.chain())
        edit(ed)
        file = tmp_path / f"edit_{name.replace(' ', '_')}.py"
        ed.to_code(path=file)
    ruff = Path(sys.executable).with_name("ruff")
    options = ["--isolated", "--no-cache", "--select", "E,F", "--line-length", str(WIDTH)]
    found = subprocess.run([ruff, "check", *options, tmp_path], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_long_lines_are_broken_without_a_change() -> None:
    for statement in (
        f"x = f({', '.join(f'argument_{i}={i}' for i in range(20))})(y)",
        f"x = [{', '.join(str(i) for i in range(200))}]",
        f"x = f(({'a' * 40} + {'b' * 40}), ({'c' * 40},))",
        f"x = {'y' * 40}[{'a' * 40} + {'b' * 40}]",
        f"x = f({'word ' * 60!r}, {{{'key ' * 40!r}: {'[(' * 3} {', '.join('1' * 40)} {')]' * 3}}})",
        f"f(name={chr(92) * 150!r})",
        f"x = {'é☃' * 80!r}",
    ):
        lines = lay_out(statement, 4)
        assert max(map(len, lines)) <= WIDTH
        assert ast.dump(ast.parse("if 1:\n" + "\n".join(lines)).body[0].body[0]) == ast.dump(  # pyright: ignore
            ast.parse(statement).body[0]
        )


# -- names of any kind ---------------------------------------------------------------------------

HOSTILE = [
    "x'); import os; os.system('touch hacked')",
    'x"); import os; os.system("touch hacked")',
    '"""\nimport os\nos.system("touch hacked")\n"""',
    "a\nimport os; os.system('touch hacked')\n#",
    "\\",
    "'\"\\",
    "{0} {x!r} %s",
    "größe ☃ \u202e \u2028 \x00\x1b",
    "\ud800",
    "class",
    "source",
    "model",
    "layers",
    "find",
    "1",
    " ",
    "custom_objects[",
    "long " * 200,
]


@pytest.fixture
def no_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in, where nothing may be run."""

    def refuse(command: str) -> int:
        raise AssertionError(f"a name was run: {command!r}")

    monkeypatch.setattr(os, "system", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@both
@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "\ud800"])
def test_names_are_only_names(name: str, style: str, no_shell: Path) -> None:
    """TensorFlow makes no layer named by half a sign, and runs none of the others: weights tell."""
    y = keras.Input((4,), name="within")
    inner = keras.Model(y, layers.Dense(4, name=name)(y), name=name)
    x = keras.Input((4,), name="x")
    h = layers.Dense(4, name=name + "2")(x)
    ed = Editor(scramble(keras.Model(x, inner(h), name=name)))
    ed.insert(layers.Dense(4, name=name + "3"), after=[f"{name}2"]).freeze(f"{name}/{name}")
    ed.set_weights(f"{name}2", {"kernel": np.eye(4)})
    with ed.transaction(name):
        ed.rename(f"{name}2", name + "4")
    file = no_shell / "edited.py"
    for code in (ed.to_code(style), ed.to_code(style, file)):
        assert max(map(len, code.splitlines())) <= WIDTH
        namespace: dict[str, Any] = {"__file__": str(file)}
        exec(compile(code, "script", "exec"), namespace)
        made = namespace["build"](ed.source)
        assert named(made) == named(ed.model)
        assert same(values(made), values(ed.model))
    assert file.read_text("utf-8") == code
    assert not (no_shell / "hacked").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_docstring_cannot_be_left(name: str) -> None:
    for whole_text in (name, f"a {name}", f"{name}\n\n{name}"):
        found = ast.parse(docstring(whole_text, name)).body
        assert len(found) == 1 and isinstance(found[0], ast.Expr)
        assert isinstance(found[0].value, ast.Constant)


def test_arrays_have_harmless_names(tmp_path: Path) -> None:
    ed = Editor(models.chain()).insert(layers.Dense(5, name="..\\..\\up"), after="a")
    ed.insert(layers.Dense(5, name="..|..|up"), after="a")
    ed.to_code(path=tmp_path / "edited.py")
    keys = np.load(tmp_path / "edited.npz", allow_pickle=False).files
    assert sorted(keys)[:2] == ["______up/kernel", "______up/kernel_1"]


# -- odd models ----------------------------------------------------------------------------------


def shared_across() -> keras.Model:
    """A layer and a model that networks of several levels use."""
    e = layers.Dense(4, name="e")
    y = keras.Input((4,), name="y")
    inner = keras.Model(y, layers.ReLU(name="r")(e(y)), name="inner")
    z = keras.Input((4,), name="z")
    deep = keras.Model(z, inner(e(z)), name="deep")
    x = keras.Input((4,), name="x")
    out = layers.Concatenate(name="cat")([deep(x), inner(x), e(x), inner(e(x))])
    return scramble(keras.Model(x, layers.Dense(2, name="top")(out)))


def nested_structures() -> keras.Model:
    y = keras.Input((4,), name="y")
    a, b = layers.Dense(3, name="a")(y), layers.Dense(2, name="b")(y)
    inner = keras.Model(y, {"a": a, "more": [b]}, name="inner")
    z = keras.Input((4,), name="z")
    single = keras.Model(z, [layers.Dense(3, name="q")(z)], name="single")
    x = keras.Input((4,), name="x")
    given, (only,) = inner(x), flat(single(x))
    both_ = layers.Add(name="sum")([given["a"], only])
    return scramble(keras.Model([x], (both_, [given["more"][0]])))


def many_ops() -> keras.Model:
    x = keras.Input((4, 6), name="x")
    h = layers.Dense(6, name="d")(x)
    t = ops.softmax(ops.einsum("bij,bkj->bik", h, x), axis=-1)
    u = 2.0 ** ((1.0 - -ops.matmul(t, h)) / 3)
    v = ops.concatenate([u @ ops.transpose(h, (0, 2, 1)), t], axis=-1)
    v = ops.squeeze(ops.expand_dims(v, 1), 1)
    v = ops.clip(ops.cast(ops.where(v > 0.5, v, -v), "float32"), -5.0, 5.0)
    v = v - ops.mean(v, axis=[1], keepdims=True)
    first, second = ops.split(v, 2, axis=-1)
    v = ops.reshape(first * second, (-1, 16))[:, None, 2:10:2][..., 0:3]
    v = v * np.arange(3, dtype="float32") + tf.constant([[0.5, -1.5, 1e-8]])
    v = ops.max(ops.pad(v, [[0, 0], [0, 0], [1, 1]]), axis=1)
    top, where = ops.top_k(v, 2)
    w = ops.stack([top, ops.cast(where, "float32")], axis=1)
    w = ops.cast(ops.logical_and(w > 0.1, ops.logical_not(w > 2.0)), "float32")
    w = ops.leaky_relu(ops.gelu(w, approximate=False), 0.3) * np.float32(0.1)
    w = ops.repeat(ops.flip(ops.sqrt(w**2 + 1e-6), axis=1), 2, axis=1)
    w = w * np.linspace(-1, 1, 8).reshape(4, 2)[:, :1]  # too many numbers to stand in a line
    return scramble(keras.Model(x, ops.layer_normalization(ops.cumsum(w, axis=1))))


def numbered_ops() -> keras.Model:
    """Layers with names that Keras would give raw ops."""
    x = keras.Input((4,), name="x")
    a = layers.Dense(4, name="add_1")(x)
    b = a + x
    c = layers.Add(name="add_2")([a, b])
    return scramble(keras.Model(x, layers.Dense(2, name="add_3")(c * c)))


def masks() -> keras.Model:
    tokens = keras.Input((6,), dtype="int32", name="t")
    embed = layers.Embedding(9, 4, mask_zero=True, name="e")
    h = embed(tokens)
    hidden = ops.logical_not(embed.compute_mask(tokens))
    h = layers.LSTM(3, return_sequences=True, name="l")(h, mask=hidden)
    both_ = layers.Bidirectional(layers.GRU(3, name="g"), name="bi")(h, training=False)
    each = layers.TimeDistributed(layers.Dense(2, activation="relu", name="in"), name="each")(h)
    cells = [layers.LSTMCell(3, name="c1"), layers.GRUCell(2, name="c2")]
    last = layers.RNN(cells, name="rnn")(layers.Masking(0.5, name="mask")(each))
    return scramble(keras.Model(tokens, layers.Concatenate(name="cat")([both_, last])))


def attentions() -> keras.Model:
    x = keras.Input((5, 8), name="x")
    y = layers.MultiHeadAttention(2, 4, name="m1")(x, x, use_causal_mask=True)
    z, scores = layers.MultiHeadAttention(2, 4, name="m2")(x, y, return_attention_scores=True)
    grouped = layers.GroupQueryAttention(4, 2, 1, name="grouped")(z, z)
    out = layers.Attention(name="attention", use_scale=True)([grouped, y])
    return scramble(keras.Model(x, [out, scores]))


def mixed_precision() -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return models.nested()
    finally:
        keras.config.set_dtype_policy(before)


def bfloat16() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Dense(5, dtype="bfloat16", name="a")(x)
    return scramble(keras.Model(x, layers.Dense(2, name="b")(h)))


def quantized() -> keras.Model:
    model = models.chain()
    model.quantize("int8")
    return model


def with_lora() -> keras.Model:
    model = models.chain()
    model.get_layer("a").enable_lora(2)
    return scramble(model)


def held_back() -> keras.Model:
    model = models.chain()
    model.get_layer("a").bias.trainable = False
    model.get_layer("b").trainable = False
    return model


def normalized() -> keras.Model:
    x = keras.Input((4,), name="x")
    adapted = layers.Normalization(name="n")
    adapted.adapt(data(50, 4))
    h = layers.Normalization(mean=1.0, variance=2.0, name="given")(adapted(x))
    return scramble(keras.Model(x, layers.Dense(2, name="d")(h)))


def texts() -> keras.Model:
    x = keras.Input((), dtype="string", name="x")
    vectors = layers.TextVectorization(output_sequence_length=4, name="tv", standardize="lower")
    vectors.adapt(["a b c", "b c d", "hello"])
    h = layers.Embedding(12, 3, name="e")(vectors(x))
    return scramble(keras.Model(x, layers.Flatten(name="f")(h)))


def lookup() -> keras.Model:
    x = keras.Input((2,), dtype="string", name="x")
    index = layers.StringLookup(vocabulary=["a", "b", "q'\\\"x"], name="lookup")(x)
    return scramble(keras.Model(x, layers.Embedding(8, 3, name="e")(index)))


def functions() -> keras.Model:
    x = keras.Input((4,), name="x")
    h = layers.Lambda(models.double, name="twice")(x)
    return scramble(keras.Model(x, layers.Dense(2, name="d", activation=models.double)(h)))


def models_of_classes() -> keras.Model:
    """Models of classes of their own inside of a model: one opaque, one functional."""
    x = keras.Input((4,), name="in")
    h = layers.Dense(4, name="widen")(models.subclassed()(x))
    return scramble(keras.Model(x, models.functional_subclass()(h)))


def optional_input() -> keras.Model:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    added = layers.Add(name="sum")([a, b])
    return scramble(keras.Model({"a": a, "b": b}, layers.Dense(2, name="d")(added)))


def fixed_batch() -> keras.Model:
    x = keras.Input(batch_shape=(3, 5, 2), dtype="float16", name="x")
    return scramble(keras.Model(x, layers.Conv1D(3, 2, padding="causal", name="c")(x)))


def deep() -> keras.Model:
    x = h = keras.Input((4,), name="x")
    for number in range(400):
        h = layers.ReLU(name=f"r{number}")(h)
    return keras.Model(x, layers.Dense(2, name="top")(h))


# name: (builder, a batch for it)
ODD: dict[str, tuple[Callable[[], keras.Model], Callable[[], Any]]] = {
    "shared across": (shared_across, lambda: data(3, 4)),
    "nested structures": (nested_structures, lambda: data(3, 4)),
    "many ops": (many_ops, lambda: data(3, 4, 6)),
    "numbered ops": (numbered_ops, lambda: data(3, 4)),
    "variable in an op": (in_an_op, lambda: whole(7, 5, 3)),
    "masks": (masks, lambda: whole(9, 3, 6) * (np.arange(6) < 4)),
    "attentions": (attentions, lambda: data(3, 5, 8)),
    "mixed precision": (mixed_precision, lambda: data(3, 4)),
    "bfloat16": (bfloat16, lambda: data(3, 4)),
    "quantized": (quantized, lambda: data(3, 4)),
    "lora": (with_lora, lambda: data(3, 4)),
    "held back": (held_back, lambda: data(3, 4)),
    "normalized": (normalized, lambda: data(3, 4)),
    "texts": (texts, lambda: tf.constant(["a b", "hello d"])),
    "lookup": (lookup, lambda: tf.constant([["a", "b"], ["c", "a"]])),
    "functions": (functions, lambda: data(3, 4)),
    "models of classes": (models_of_classes, lambda: data(3, 4)),
    "optional input": (optional_input, lambda: {"a": data(3, 4), "b": data(3, 4, seed=2)}),
    "fixed batch": (fixed_batch, lambda: data(3, 5, 2).astype("float16")),
    "deep": (deep, lambda: data(3, 4)),
}
TEXTS = ("texts", "lookup")
odd = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.tensorflow if name in TEXTS else ()) for name in ODD],
)


@both
@odd
def test_an_odd_model(name: str, style: str) -> None:
    make, batch = ODD[name]
    check(Editor(make()), style, batch())


@both
@odd
def test_an_odd_model_edited(name: str, style: str) -> None:
    make, batch = ODD[name]
    ed = Editor(make())
    last = [view.path for view in ed.layers if view.kind == "layer" and view.level == 1][-1]
    ed.insert(layers.Identity(name="extra"), after=last)
    numbers = [w.path for v in ed.layers for w in v.weights if w.dtype in ("float32", "bfloat16")]
    for path in numbers[:1]:
        ed.scale_weights(path, 1.7)
    check(ed, style, batch())


@odd
def test_flags_of_single_variables(name: str) -> None:
    make, _ = ODD[name]
    ed = Editor(make())
    made = run(ed.to_code("keras"), ed.source)
    assert [(tuple(v.shape), v.trainable) for v in made.variables] == [
        (tuple(v.shape), v.trainable) for v in ed.model.variables
    ]


def test_the_flag_of_a_model_and_of_what_is_in_it() -> None:
    make, batch = ZOO["nested"]
    for targets in (["backbone"], ["backbone/inner"], ["**"]):
        for but in ([], ["backbone/inner/dense"], ["backbone"]):
            ed = Editor(make()).freeze(*targets)
            check(ed.unfreeze(*but) if but else ed, "keras", batch())
    source = make()
    source.trainable = False
    source.get_layer("backbone").get_layer("inner").trainable = True
    check(Editor(source), "keras", batch())


@both
@pytest.mark.parametrize("name", TIED)
def test_variables_that_layers_share(name: str, style: str) -> None:
    make, batch, _ = TIED[name]
    ed = Editor(make()).scale_weights("**", 0.5)
    code = ed.to_code(style)
    made = run(code, ed.source)
    assert same(predicted(made, batch()), predicted(ed.model, batch()))
    if style == "keras":
        one = len(made.variables) == len(ed.model.variables)
        assert one is not ("training changes them apart" in code)


def test_a_layer_that_is_only_called_like_another_is_not_shared() -> None:
    """A block with a layer that the model calls too, and one of the same name of its own."""
    x = keras.Input((4,), name="x")
    common = layers.Dense(4, name="d")
    block = Block([common, layers.Dense(4, name="d")], name="block")
    ed = Editor(scramble(keras.Model(x, block(common(x)))))
    made = run(ed.to_code("keras"), ed.source)
    assert same(predicted(made, data(3, 4)), predicted(ed.model, data(3, 4)))


@pytest.mark.tensorflow
@both
def test_a_vocabulary_and_statistics_that_were_put_in(style: str) -> None:
    index = layers.StringLookup(name="index")
    index.adapt(["b", "c", "b"])
    source = keras.Sequential([keras.Input((2,), dtype="string"), layers.Identity(name="same")])
    ed = Editor(source).append([index, layers.Embedding(9, 3, name="embed")])
    check(ed, style, tf.constant([["a", "b"], ["c", "a"]]))


@both
def test_a_block_with_models_ops_and_shared_layers(style: str) -> None:
    tower = models.nested().get_layer("backbone")
    twice = layers.Dense(5, name="twice")

    def block(x: Any) -> Any:
        return twice(tower(layers.Dense(4)(x))) * 0.5 + twice(x)

    ed = Editor(models.chain()).insert(block, after="a").insert(numbered_block, after="b")
    check(ed, style, data(3, 4))


def numbered_block(x: Any) -> Any:
    h = layers.Dense(5, name="add_40")(x)
    return layers.Add(name="add_41")([h + x, x])


# -- classes and functions -----------------------------------------------------------------------


def local_class() -> Any:
    class Power(layers.Layer):
        def __init__(self, exponent: float = 2.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.exponent = exponent

        def call(self, x: Any) -> Any:
            return x**self.exponent

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "exponent": self.exponent}

    return Power


@both
def test_a_class_of_no_module_is_given(style: str) -> None:
    cls = local_class()
    x = keras.Input((4,), name="x")
    y = keras.Input((4,), name="y")
    inner = keras.Model(y, cls(3.0, name="inside")(y), name="inner")
    source = scramble(keras.Model(x, layers.Dense(2, name="d")(inner(cls(name="p")(x)))))
    ed = Editor(source, custom_objects={"Power": cls}).insert(cls(0.5, name="new"), after="d")
    ed.scale_weights("d", -1.0)
    code = ed.to_code(style)
    assert "Power: tests.unit.test_codegen.local_class.<locals>.Power" in code
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    with pytest.raises(KeyError, match="Power"):
        namespace["build"](source)
    made = namespace["build"](source, {"Power": cls})
    assert same(predicted(made, data(3, 4)), predicted(ed.model, data(3, 4)))
    namespace["Power"] = cls  # defined in the script's own file
    assert named(namespace["build"](source)) == named(ed.model)


def test_a_lambda_is_refused_by_name() -> None:
    x = keras.Input((4,), name="x")
    source = keras.Model(x, layers.Lambda(lambda t: t * 2, name="secret")(x))
    ed = Editor(source)
    with pytest.raises(StructureError, match=r"'secret'.*Lambda.*without a name"):
        ed.to_code("keras")
    check(ed, "kerasedit", data(3, 4))  # which takes it from the source
    ed.append(layers.Lambda(lambda t: t + 1, name="other"))
    with pytest.raises(StructureError, match="'other'"):
        ed.to_code()


@both
def test_an_activation_without_a_name_is_refused(style: str) -> None:
    ed = Editor(models.chain()).configure("a", activation=lambda t: t * 2)
    with pytest.raises(StructureError, match=r"'a'|config="):
        ed.to_code(style)


def test_an_opaque_model_that_tells_nothing() -> None:
    model = models.Uncopyable(layers.Dense(3, name="first"), name="own")
    model(data(2, 4))
    ed = Editor(model, in_place=True).scale_weights("first", 2.0).freeze("first")
    with pytest.raises(StructureError, match=r"'own'.*configuration"):
        ed.to_code("keras")
    other = models.Uncopyable(layers.Dense(3, name="first"), name="own")
    other(data(2, 4))
    made = run(ed.to_code(), other)
    assert made is other and not made.get_layer("first").trainable
    assert same(values(made), values(model))


# -- files ---------------------------------------------------------------------------------------


def edited() -> Editor:
    return Editor(models.chain()).insert(layers.Dense(5, name="new"), after="a").freeze("b")


@both
def test_a_script_and_its_arrays(style: str, tmp_path: Path) -> None:
    ed, file = edited(), tmp_path / "edited.py"
    code = ed.to_code(style, path=file)
    assert file.read_text("utf-8") == code and "base64" not in code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edited.npz", "edited.py"]
    namespace = {"__file__": str(file)}
    exec(code, namespace)
    made: Any = namespace["build"](ed.source)  # pyright: ignore
    assert same(values(made), values(ed.model))
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    ed.to_code(style, path=file)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_a_script_without_arrays_stands_alone(tmp_path: Path) -> None:
    Editor(models.chain()).remove("drop").to_code("keras", tmp_path / "edited.py")
    assert [path.name for path in tmp_path.iterdir()] == ["edited.py"]


def test_a_script_knows_its_arrays(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    code = edited().to_code(path=file)
    edited().to_code(path=tmp_path / "other.py")
    os.replace(tmp_path / "other.npz", tmp_path / "edited.npz")
    with pytest.raises(ValueError, match="another script"):
        exec(code, {"__file__": str(file)})


def test_files_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ed = edited()
    with pytest.raises(ModelFileError, match=r"\.py file"):
        ed.to_code(path=tmp_path / "edited.txt")
    with pytest.raises(ModelFileError, match="no place"):
        ed.to_code(path=tmp_path / "nowhere" / "edited.py")
    with pytest.raises(ModelFileError, match="module 'keras'"):
        ed.to_code(path=tmp_path / "keras.py")
    tmp_path.joinpath("mine.npz").write_bytes(b"mine")
    with pytest.raises(ModelFileError, match="already"):
        ed.to_code(path=tmp_path / "mine.py")
    file = tmp_path / "edited.py"
    ed.to_code(path=file)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ModelFileError, match="No space left"):
        ed.freeze("c").to_code(path=file)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def full_disk(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_too_much_for_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_module, "MAX_INLINE", 50)
    with pytest.raises(EditError, match="Pass path="):
        edited().to_code()
    edited().to_code(path=tmp_path / "edited.py")
    edited().to_code(weights=False)


def test_an_unknown_style() -> None:
    with pytest.raises(EditError, match="'kerasedit' or 'keras', not 'torch'"):
        edited().to_code("torch")


@both
def test_a_script_runs_in_a_process_of_its_own(style: str, tmp_path: Path) -> None:
    """Plain Keras does without kerasedit, which cannot be imported there."""
    ed = edited()
    ed.source.save(tmp_path / "source.keras")
    np.save(tmp_path / "x.npy", data(3, 4))
    ed.to_code(style, tmp_path / "edited.py")
    hide = "sys.modules['kerasedit'] = None; " if style == "keras" else ""
    code = (
        f"import sys; {hide}import runpy; sys.argv = ['edited.py', 'source.keras', 'made.keras']\n"
        "runpy.run_path('edited.py', run_name='__main__')\n"
        "import keras, numpy as np; model = keras.saving.load_model('made.keras')\n"
        "np.save('y.npy', model.predict(np.load('x.npy'), verbose=0))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert same(np.load(tmp_path / "y.npy"), predicted(ed.model, data(3, 4)))


# -- the models of Keras -------------------------------------------------------------------------

SLOW = pytest.mark.slow
APPLICATIONS = [
    ("MobileNetV3Small", 32),
    ("EfficientNetB0", 32),
    pytest.param("ConvNeXtTiny", 32, marks=SLOW),
    pytest.param("NASNetMobile", 32, marks=SLOW),
]


@pytest.mark.parametrize(("name", "size"), APPLICATIONS)
def test_an_application(name: str, size: int) -> None:
    make = getattr(keras.applications, name)
    ed = Editor(scramble(make(weights=None, input_shape=(size, size, 3), classes=5)))
    batch = data(2, size, size, 3) * 50
    check(ed, "keras", batch)
    ed.trim(1).append([layers.Dropout(0.3), layers.Dense(3, name="head")]).freeze_up_to(20)
    first = next(v.path for v in ed.layers if v.params and v.kind == "layer" and v.level == 1)
    ed.rename(first, "renamed").reinitialize("renamed")
    check(ed, "keras", batch)
