"""What the widget shows of channels, and the edit that it makes."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import Editor
from kerasedit.widgets.messages import answer


@pytest.fixture
def ed() -> Editor:
    x = keras.Input((8, 8, 3), name="x")
    y = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    z = layers.Conv2D(8, 3, padding="same", name="side")(y)
    y = layers.Add(name="add")([y, z])
    y = layers.LayerNormalization(name="norm")(y)
    y = layers.GlobalAveragePooling2D(name="pool")(y)
    return Editor(keras.Model(x, layers.Dense(2, name="head")(y), name="toy"))


def ask(editor: Editor, **message: Any) -> Any:
    reply, _ = answer(editor, "alive", {"id": "1", **message})
    return reply.get("ok") or reply["error"]


def test_groups_are_told_with_all_that_is_tied(ed: Editor) -> None:
    told = ask(ed, query="channels", paths=["stem"])
    assert told["revision"] == 0 and told["total"] == 1
    (group,) = told["groups"]
    assert group["channels"] == 8 and group["makers"] == ["stem", "side"]
    assert group["reason"] == "" and group["mixed"] == ["norm"] and group["more"] == 0
    assert group["chain"][0] == "'stem' (Conv2D) makes them"
    assert "'head' (Dense) takes them" in group["chain"]
    # Asked about both, the one group is told once.
    assert ask(ed, query="channels", paths=["stem", "side"])["groups"] == [group]

    (head,) = ask(ed, query="channels", paths=["head"])["groups"]
    assert "reaches the output" in head["reason"]
    assert ask(ed, query="channels", paths=["pool"])["groups"] == []


@pytest.mark.parametrize("paths", [None, [], [1], ["nowhere"], ["x"] * 600, "stem"])
def test_other_paths_are_refused(ed: Editor, paths: Any) -> None:
    assert "message" in ask(ed, query="channels", paths=paths)


def test_a_plan_tells_sizes_and_operations(ed: Editor) -> None:
    edit = {"edit": "prune_channels", "target": ["stem"], "fraction": 0.5, "criterion": "l1"}
    plan = ask(ed, revision=0, preview=edit)["plan"]
    assert plan["ok"] and plan["bytes_before"] == 4 * plan["params_before"]
    assert plan["bytes_after"] == 4 * plan["params_after"] < plan["bytes_before"]
    assert plan["flops_after"] < plan["flops_before"]
    assert ask(ed, revision=0, edit=edit)["revision"] == 1
    assert ed.model.count_params() == plan["params_after"]
    assert [w.shape for w in ed.model.get_layer("side").weights] == [(3, 3, 4, 4), (4,)]


@pytest.mark.parametrize("what", ["params", "flops", "size"])
def test_a_share_that_stays_of_the_whole_model(ed: Editor, what: str) -> None:
    edit = {"edit": "prune_channels", "target": ["stem"], what: 0.75, "scope": "global"}
    plan = ask(ed, revision=0, preview=edit)["plan"]
    name = {"params": "params", "flops": "flops", "size": "bytes"}[what]
    assert plan["ok"] and plan[f"{name}_after"] <= 0.75 * plan[f"{name}_before"]
    plan = ask(ed, revision=0, preview={**edit, what: 0.01})["plan"]
    assert not plan["ok"] and "Name more layers" in plan["errors"][0]
    assert "must be a number" in str(ask(ed, revision=0, preview={**edit, what: "all"}))


def test_what_is_told_of_a_large_model_is_cut() -> None:
    chain = [layers.Dense(4, name=f"d{n}") for n in range(40)]
    ed = Editor(keras.Sequential([keras.Input((4,)), *chain]))
    told = ask(ed, query="channels", paths=[f"d{n}" for n in range(40)])
    assert told["total"] == 40 and len(told["groups"]) == 20
