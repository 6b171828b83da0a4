"""What the Changes panel asks the kernel: the history, the differences, the code."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor
from kerasedit.summary import summarize
from kerasedit.widgets.changes import MAX_CODE, MAX_ITEMS, MAX_LABEL, MAX_STEPS
from kerasedit.widgets.messages import answer
from kerasedit.widgets.rows import rows_of


def make_model() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="first"), layers.ReLU(name="relu")], name="inner"
    )
    x = keras.Input((4,), name="x")
    y = layers.Dropout(0.5, name="drop")(inner(x))
    y = layers.Dense(4, name="hidden")(y)
    return keras.Model(x, layers.Dense(2, name="head")(y), name="toy")


@pytest.fixture
def ed() -> Editor:
    return Editor(make_model())


def ask(editor: Editor, **message: Any) -> dict[str, Any]:
    reply, buffers = answer(editor, "alive", {"id": "1", **message})
    assert not buffers
    return reply.get("ok") or reply["error"]


def groups(editor: Editor) -> dict[str, list[tuple[str, str, str | None]]]:
    found = ask(editor, query="diff")["groups"]
    assert all(group["total"] == len(group["items"]) for group in found)
    return {
        group["kind"]: [(i["label"], i["detail"], i["path"]) for i in group["items"]]
        for group in found
    }


def test_the_history_holds_what_was_undone(ed: Editor) -> None:
    assert ask(ed, query="changes") == {
        "revision": 0,
        "done": 0,
        "total": 0,
        "first": 1,
        "steps": [],
    }
    ed.freeze("head").remove("drop").rename("hidden", "features").undo(2)
    told = ask(ed, query="changes")
    assert (told["revision"], told["done"], told["total"], told["first"]) == (4, 1, 3, 1)
    assert told["steps"] == [
        {"label": "freeze 'head'", "code": "ed.freeze('head')"},
        {"label": "remove 'drop'", "code": "ed.remove('drop')"},
        {"label": "rename 'hidden' to 'features'", "code": "ed.rename('hidden', 'features')"},
    ]


def test_steps_are_counted_as_undo_and_redo_count_them(ed: Editor) -> None:
    ed.freeze("head").reset().remove("drop").freeze("hidden")
    told = ask(ed, query="changes")
    assert told["done"] == 2 and told["steps"][0]["label"] == "remove 'drop'"
    ask(ed, revision=ed.revision, action="undo", n=told["done"])
    assert "drop" in ed.find("**") and not ed.history  # where the reset had led
    ed.undo()
    told = ask(ed, query="changes")
    assert told["done"] == 1
    assert [step["code"] for step in told["steps"]] == [
        "ed.freeze('head')",
        "ed.reset()",
        "ed.remove('drop')",
        "ed.freeze('hidden')",
    ]
    ask(ed, revision=ed.revision, action="redo", n=3)
    assert ed.history[-1].to_code() == "ed.freeze('hidden')"


def test_a_transaction_is_one_step(ed: Editor) -> None:
    with ed.transaction("slim"):
        ed.remove("drop").freeze("head")
    (step,) = ask(ed, query="changes")["steps"]
    assert step["label"] == "slim"
    assert step["code"].splitlines() == [
        "with ed.transaction('slim'):",
        "    ed.remove('drop')",
        "    ed.freeze('head')",
    ]


def test_long_histories_and_long_lines_are_cut(ed: Editor) -> None:
    with ed.transaction("long " * 1000):
        for _ in range(MAX_CODE // 10):
            ed.freeze("head")
    for _ in range(2 * MAX_STEPS):
        ed.freeze("head")
    ed.undo(MAX_STEPS - 100)
    told = ask(ed, query="changes")
    assert told["done"] == 1 + MAX_STEPS + 100 and told["total"] == 1 + 2 * MAX_STEPS
    assert told["first"] == 102
    assert len(told["steps"]) == MAX_STEPS + MAX_STEPS - 100

    ed.undo(told["done"] - 1)
    first = ask(ed, query="changes")["steps"][0]
    assert len(first["label"]) == MAX_LABEL and first["label"].endswith("…")
    assert len(first["code"]) == MAX_CODE and first["code"].endswith("…")


def test_differences_by_kind_and_where_they_are(ed: Editor) -> None:
    assert groups(ed) == {}
    ed.remove("drop").insert(layers.ReLU(name="act"), after="hidden")
    ed.replace("inner/relu", layers.ELU(name="elu")).rename("hidden", "features")
    ed.freeze("head").scale_weights("inner/first", 2.0)
    found = groups(ed)
    assert {kind: [path for *_, path in items] for kind, items in found.items()} == {
        "added": ["act"],
        "removed": [None],
        "replaced": ["inner/elu"],
        "renamed": ["features"],
        "rewired": ["features", "head"],
        "weights": ["inner/first"],
        "flags": ["head"],
    }
    assert found["removed"] == [("drop", "Dropout, took inner", None)]
    assert found["weights"][0][0] == "inner/first/kernel"
    assert found["flags"] == [("head", "trains -> frozen", "head")]
    told = ask(ed, query="diff")
    assert told["before"]["trainable"] - told["after"]["trainable"] == 4 * 2 + 2
    assert told["after"]["params"] == ed.model.count_params()


def test_sizes_and_operations_of_both_are_told(ed: Editor) -> None:
    same = ask(ed, query="diff")
    assert {**same["before"], "title": ""} == {**same["after"], "title": ""}
    plan = ed.preview.prune_channels("hidden", fraction=0.5)
    ed.prune_channels("hidden", fraction=0.5)
    told = ask(ed, query="diff")
    assert told["before"] == same["before"]
    for name, before, after in (
        ("params", plan.params_before, plan.params_after),
        ("bytes", plan.bytes_before, plan.bytes_after),
        ("flops", plan.flops_before, plan.flops_after),
    ):
        assert (told["before"][name], told["after"][name]) == (before, after)
        assert after is not None and before is not None and after < before


def test_of_many_differences_some_are_told_and_all_counted() -> None:
    chain = [layers.Dense(1, name=f"d{i}") for i in range(MAX_ITEMS + 5)]
    ed = Editor(keras.Sequential([keras.Input((1,)), *chain])).freeze("**")
    (group,) = ask(ed, query="diff")["groups"]
    assert group["kind"] == "flags" and group["total"] == MAX_ITEMS + 5
    assert [item["path"] for item in group["items"]] == [f"d{i}" for i in range(MAX_ITEMS)]


def test_names_stay_text(ed: Editor) -> None:
    name = "<b>\x1b[31m" + "x" * 1000
    ed.rename("head", name)
    (step,) = ask(ed, query="changes")["steps"]
    assert "\x1b" not in step["label"] and len(step["label"]) == MAX_LABEL
    ((label, detail, path),) = groups(ed)["renamed"]
    assert label == "head" and "\x1b" not in detail and path == name


def test_code_in_both_styles_makes_the_model(ed: Editor) -> None:
    ed.remove("drop").freeze("hidden")
    for style in ("kerasedit", "keras"):
        code = ask(ed, query="code", style=style)["code"]
        space: dict[str, Any] = {}
        exec(code, space)
        built = space["build"](ed.source)
        assert [layer.name for layer in built.layers] == [la.name for la in ed.model.layers]
        x = np.ones((2, 4), "float32")
        np.testing.assert_array_equal(built(x), ed.model(x))
    assert ask(ed, query="code") == ask(ed, query="code", style="kerasedit")
    assert "import kerasedit" not in code


@pytest.mark.parametrize("style", ["", "pickle", None, 3, ["keras"], {"a": 1}, "x" * 10_000])
def test_another_style_of_code_is_refused(ed: Editor, style: Any) -> None:
    refused = ask(ed, query="code", style=style)
    assert refused["type"] == "EditError" and "'style'" in refused["message"]
    assert len(refused["message"]) < 300


def test_several_layers_are_removed_or_followed_as_one_step(ed: Editor) -> None:
    relu = [{"class_name": "ReLU", "config": {}}]
    places = ["hidden", "head"]
    ask(ed, revision=0, edit={"edit": "insert", "block": relu, "after": places})
    assert [view.path for view in ed.layers][-4:] == ["hidden", "re_lu", "head", "re_lu_1"]
    ask(ed, revision=1, edit={"edit": "remove", "target": ["drop", "re_lu", "re_lu_1", "x"]})
    assert [view.path for view in ed.layers if "/" not in view.path] == [
        "x",
        "inner",
        "hidden",
        "head",
    ]
    assert ask(ed, query="changes")["total"] == 2


def test_a_plan_of_flags_tells_what_trains(ed: Editor) -> None:
    edit = {"edit": "freeze", "targets": ["head", "hidden"]}
    plan = ask(ed, revision=0, preview=edit)["plan"]
    total = ed.model.count_params()
    assert (plan["trainable_before"], plan["trainable_after"]) == (total, total - 30)
    assert plan["params_before"] == plan["params_after"] == total
    assert (
        ask(ed, revision=0, preview={"edit": "trim", "target": 99})["plan"]["trainable_after"]
        is None
    )


def test_what_was_removed_is_told_with_its_place(ed: Editor) -> None:
    def told() -> list[tuple[str, str | None, str | None]]:
        rows = ask(ed, query="removed")["rows"]
        return [(row["path"], row["parent"], row["after"]) for row in rows]

    assert told() == []
    ed.rename("inner", "encoder").remove("encoder/relu").remove("drop")
    assert told() == [("inner/relu", "encoder", "encoder/first"), ("drop", None, "encoder/first")]
    (relu, _) = ask(ed, query="removed")["rows"]
    assert (relu["class_name"], relu["level"], relu["params"]) == ("ReLU", 2, 0)

    # What has become another, with old weights or none, is not gone; nor is what was only moved.
    ed.configure("hidden", units=6, on_mismatch="reinit").configure("head", activation="relu")
    assert [path for path, _, _ in told()] == ["inner/relu", "drop"]
    statuses = {row["path"]: row["status"] for row in rows_of(ed)}
    assert statuses["hidden"] == statuses["head"] == "changed"
    ed.rename("hidden", "dense")
    assert {row["path"]: row["status"] for row in rows_of(ed)}["dense"] == "changed"
    assert [path for path, _, _ in told()] == ["inner/relu", "drop"]
    ed.undo()

    # Of a model that is gone, nothing inside is told by itself.
    ed.remove("encoder", on_mismatch="reinit")
    assert told() == [("inner", None, "x"), ("drop", None, "x")]
    ed.replace("head", layers.Dense(3, name="classes"))
    assert [path for path, _, _ in told()] == ["inner", "drop", "head"]
    ed.undo(len(ed.history))
    assert told() == []


def test_rows_tell_what_was_moved() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.ReLU(name="a"), layers.ReLU(name="b")])
    chain = [layers.ReLU(name=f"r{n}") for n in range(5)]
    ed = Editor(keras.Sequential([keras.Input((4,)), inner, *chain]))

    def marks() -> dict[str, str]:
        return {row["path"]: row["status"] for row in rows_of(ed) if row["status"]}

    ed.move("r0", after="r3")
    assert marks() == {"r0": "moved"}
    assert "moved" in summarize(ed) and "moved" in ed.widget()._static_html()
    ed.remove("r1").insert(layers.ReLU(name="new"), after="r2")
    assert marks() == {"r0": "moved", "new": "added"}
    ed.rename("r0", "late")
    assert marks() == {"late": "changed", "new": "added"}
    ed.undo(4)
    assert marks() == {}
    # What moves with the model around it stays where it is in that.
    ed.move("sequential", after="r4")
    assert marks() == {"sequential": "moved"}
    ed.move("sequential/a", after="sequential/b")
    assert set(marks()) in ({"sequential", "sequential/a"}, {"sequential", "sequential/b"})
