"""What tabs of JupyterLab ask of a kernel, and the editors that they have there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import modelfiles
from kerasedit.lab.kernel import PROBLEM
from tests import models
from tests.kernels.kernel import Kernel, running_kernel

TAB = "tab-1"

SET_UP = """
import gc, weakref
import keras, kerasedit
from kerasedit import Editor
from kerasedit.lab import tabs
from tests import models
"""


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        kernel.run(SET_UP)
        yield kernel


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Iterator[Kernel]:
    shared_kernel.run("model = models.cnn()")
    shared_kernel.heard.clear()
    yield shared_kernel
    for tab in shared_kernel.value("list(tabs._tabs)"):
        close(shared_kernel, tab)


class Refused(Exception):
    """What the kernel raised: its class and its words."""


def ask(kernel: Kernel, question: str, **arguments: Any) -> Any:
    """Asks as JupyterLab does; see `js/lab/src/ask.ts`."""
    called = f"({json.dumps(question)}, {json.dumps(json.dumps(arguments))})"
    expression = f'__import__("kerasedit.lab.kernel", fromlist=["answer"]).answer{called}'
    asked = kernel.client.execute(
        "",
        silent=True,
        store_history=False,
        allow_stdin=False,
        user_expressions={"kerasedit": expression},
    )
    reply = kernel.end_of(asked)["content"]["user_expressions"]["kerasedit"]
    assert reply["status"] == "ok", reply
    if PROBLEM in reply["data"]:
        raise Refused("{type}: {message}".format(**reply["data"][PROBLEM]))
    return reply["data"]["application/json"]


def told(kernel: Kernel, asked: str) -> list[dict[str, Any]]:
    """What the channels say in answer to a message."""
    kernel.idle_after(asked)
    return [
        message["content"]["data"]
        for message in kernel.about(asked)
        if message["msg_type"] == "comm_msg"
    ]


def send(kernel: Kernel, content: dict[str, Any], tab: str = TAB) -> list[dict[str, Any]]:
    return told(kernel, kernel.tell(tab, {"method": "custom", "content": {"id": "1", **content}}))


def edit(kernel: Kernel, revision: int, tab: str = TAB, **edit: Any) -> dict[str, Any]:
    """Applies an edit; the state that it leads to."""
    *states, answer = send(kernel, {"revision": revision, "edit": edit}, tab)
    assert "ok" in answer["content"], answer
    return {name: value for it in states for name, value in it["state"].items()}


def close(kernel: Kernel, tab: str = TAB) -> None:
    kernel.idle_after(kernel.send("comm_close", {"comm_id": tab, "data": {}}))


def test_importing_imports_no_keras() -> None:
    code = "import sys, kerasedit.lab.kernel\nprint({'keras', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_questions_leave_nothing_behind(kernel: Kernel) -> None:
    state = "(sorted(globals()), get_ipython().execution_count)"
    before = kernel.value(state)
    kernel.heard.clear()
    assert ask(kernel, "open_variable", tab=TAB, variable="model") is None
    kinds = {message["msg_type"] for message in kernel.heard}
    assert kinds <= {"status", "execute_reply", "comm_msg"}
    assert kernel.value(state) == before


def test_a_notebook_never_hears_of_a_tab(kernel: Kernel) -> None:
    """The control comm is asked for all widgets when the page of a notebook is loaded anew."""
    ask(kernel, "open_variable", tab=TAB, variable="model")
    opened = {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}
    message = kernel.client.session.msg("comm_open", opened, metadata={"version": "1.0.0"})
    kernel.client.shell_channel.send(message)
    kernel.idle_after(message["header"]["msg_id"])
    (answer,) = told(kernel, kernel.tell("control", {"method": "request_states"}))
    assert answer["states"] == {}
    assert not [it for it in kernel.heard if it["msg_type"] == "comm_open"]


def test_a_tab_is_told_what_the_front_end_needs(kernel: Kernel) -> None:
    ask(kernel, "open_variable", tab=TAB, variable="model")
    (answer,) = told(kernel, kernel.tell(TAB, {"method": "request_state"}))
    assert answer["method"] == "update"
    assert set(answer["state"]) == {
        *("part", "revision", "info", "snapshot", "patch", "training", "alive", "height"),
        *("selected", "filter", "scores", "dirty"),
    }
    assert answer["state"]["info"]["name"] == kernel.value("model.name")


@pytest.mark.parametrize(
    "data", [{}, "text", {"method": "none"}, {"method": "update", "state": 1}, {"method": "custom"}]
)
def test_a_message_that_makes_no_sense_changes_nothing(kernel: Kernel, data: Any) -> None:
    ask(kernel, "open_variable", tab=TAB, variable="model")
    told(kernel, kernel.tell(TAB, data))
    assert edit(kernel, 0, edit="rename", target="head", name="top")["revision"] == 1


def test_a_variable_is_edited_on_a_copy_and_handed_back(kernel: Kernel) -> None:
    ask(kernel, "open_variable", tab=TAB, variable="model")
    state = edit(kernel, 0, edit="rename", target="head", name="top")
    assert state["info"]["undo_label"] == "rename 'head' to 'top'"
    assert state["dirty"] is True
    *_, answer, after = send(kernel, {"action": "hand_back", "name": "mine"})
    assert answer["content"]["ok"] == {"name": "mine"}
    assert after["state"] == {"dirty": False}
    assert kernel.value("[mine.layers[-1].name, model.layers[-1].name]") == ["top", "head"]


def test_edits_whose_last_variable_goes_would_be_lost(kernel: Kernel) -> None:
    ask(kernel, "open_variable", tab=TAB, variable="model")
    edit(kernel, 0, edit="rename", target="head", name="top")
    send(kernel, {"action": "hand_back", "name": "own"})
    dirty = f"tabs._tabs['{TAB}']._widget.dirty"
    kernel.run("also = own; del own")
    assert kernel.value(dirty) is False
    kernel.run("del also")
    assert kernel.value(dirty) is True
    listeners = "len(get_ipython().events.callbacks['post_run_cell'])"
    before = kernel.value(listeners)
    close(kernel)
    assert kernel.value(listeners) == before - 1


def test_a_tab_that_is_opened_twice_keeps_its_edits(kernel: Kernel) -> None:
    """Two pages may ask for it before one hears that it is there."""
    ask(kernel, "open_variable", tab=TAB, variable="model")
    edit(kernel, 0, edit="rename", target="head", name="top")
    ask(kernel, "open_variable", tab=TAB, variable="model")
    assert kernel.value(f"len(tabs._tabs['{TAB}'].editor.history)") == 1


def test_an_editor_is_shown_itself_and_goes_on_without_the_tab(kernel: Kernel) -> None:
    kernel.run("ed = Editor(model)")
    ask(kernel, "open_variable", tab=TAB, variable="ed")
    edit(kernel, 0, edit="rename", target="head", name="top")
    assert kernel.value("[len(ed.history), len(ed._subscribers)]") == [1, 1]
    close(kernel)
    assert kernel.value("[len(ed.history), len(ed._subscribers)]") == [1, 0]


def test_a_closed_tab_is_gone(kernel: Kernel) -> None:
    ask(kernel, "open_variable", tab=TAB, variable="model")
    kernel.run(f"held = tabs._tabs['{TAB}'].editor; editor = weakref.ref(held)")
    edit(kernel, 0, edit="remove", target="block1_relu")
    close(kernel)
    assert kernel.value("list(tabs._tabs)") == []
    assert kernel.value("held.history") == (), "its copy is freed at once"
    kernel.run("del held; gc.collect()")
    assert kernel.value("editor() is None")


@pytest.mark.parametrize(
    ("variable", "match"), [("gone", "no Keras model 'gone'"), ("gc", "no Keras model 'gc'")]
)
def test_what_is_no_model_is_refused(kernel: Kernel, variable: str, match: str) -> None:
    with pytest.raises(Refused, match=match):
        ask(kernel, "open_variable", tab=TAB, variable=variable)
    assert kernel.value("list(tabs._tabs)") == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model file, and beside the model that is in it."""
    models.cnn().save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_a_file_is_dirty_until_saved_or_undone(kernel: Kernel, file: Path) -> None:
    source = keras.saving.load_model(file)
    ask(kernel, "open_file", tab=TAB, path=str(file))
    assert edit(kernel, 0, edit="remove", target="block1_relu")["dirty"] is True
    assert send(kernel, {"revision": 1, "action": "undo", "n": 1})[0]["state"]["dirty"] is False
    assert send(kernel, {"revision": 2, "action": "redo", "n": 1})[0]["state"]["dirty"] is True
    kernel.heard.clear()
    assert ask(kernel, "save_file", tab=TAB, path=str(file)) == []
    (message,) = [it for it in kernel.heard if it["msg_type"] == "comm_msg"]
    assert message["content"]["data"]["state"] == {"dirty": False}
    assert send(kernel, {"revision": 3, "action": "undo", "n": 1})[0]["state"]["dirty"] is True
    assert "dirty" not in edit(kernel, 4, edit="remove", target="block2_relu"), "it stays so"

    import kerasedit

    expected = kerasedit.Editor(source).remove("block1_relu").model
    x = models.data(2, *source.inputs[0].shape[1:])
    np.testing.assert_array_equal(
        keras.saving.load_model(file).predict(x, verbose=0), expected.predict(x, verbose=0)
    )


def test_a_file_that_changed_is_not_overwritten_unasked(kernel: Kernel, file: Path) -> None:
    ask(kernel, "open_file", tab=TAB, path=str(file))
    edit(kernel, 0, edit="rename", target="head", name="top")
    models.nested().save(file)
    theirs = file.read_bytes()
    with pytest.raises(Refused, match="FileChanged"):
        ask(kernel, "save_file", tab=TAB, path=str(file))
    assert file.read_bytes() == theirs
    ask(kernel, "save_file", tab=TAB, path=str(file), overwrite=True)
    assert keras.saving.load_model(file).layers[-1].name == "top"
    ask(kernel, "save_file", tab=TAB, path=str(file))


def test_a_file_that_changes_while_it_is_saved(kernel: Kernel, file: Path) -> None:
    ask(kernel, "open_file", tab=TAB, path=str(file))
    edit(kernel, 0, edit="rename", target="head", name="top")
    kernel.run(f"""
from kerasedit import files
load_back = files._load_back
def meanwhile(*args):
    open({str(file)!r}, "ab").write(b"theirs")
    return load_back(*args)
files._load_back = meanwhile
""")
    try:
        with pytest.raises(Refused, match="FileChanged"):
            ask(kernel, "save_file", tab=TAB, path=str(file))
    finally:
        kernel.run("files._load_back = load_back")
    assert file.read_bytes().endswith(b"theirs")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    ask(kernel, "save_file", tab=TAB, path=str(file), overwrite=True)
    assert keras.saving.load_model(file).layers[-1].name == "top"


def test_a_file_is_saved_under_another_name(kernel: Kernel, file: Path) -> None:
    """Which is then the one that is edited. What stands there already is not overwritten unasked."""
    before = file.read_bytes()
    ask(kernel, "open_file", tab=TAB, path=str(file))
    edit(kernel, 0, edit="rename", target="head", name="top")
    other = file.with_name("other.keras")
    other.write_text("another's")
    with pytest.raises(Refused, match="FileChanged"):
        ask(kernel, "save_file", tab=TAB, path=str(other))
    other.unlink()
    ask(kernel, "save_file", tab=TAB, path=str(other))
    assert file.read_bytes() == before
    assert keras.saving.load_model(other).layers[-1].name == "top"


def test_a_file_that_cannot_be_written_leaves_the_edits(kernel: Kernel, file: Path) -> None:
    ask(kernel, "open_file", tab=TAB, path=str(file))
    edit(kernel, 0, edit="rename", target="head", name="top")
    with pytest.raises(Refused, match="ModelFileError: There is no folder"):
        ask(kernel, "save_file", tab=TAB, path=str(file.parent / "gone" / "m.keras"))
    (answer,) = told(kernel, kernel.tell(TAB, {"method": "request_state"}))
    assert answer["state"]["dirty"] is True


def test_code_in_a_file_is_run_only_where_it_is_trusted(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "code.keras"
    keras.Sequential(
        [keras.Input((3,)), layers.Lambda(lambda x: x * 2, name="code"), layers.Dense(2)]
    ).save(file)
    with pytest.raises(Refused, match="UnsafeModelError"):
        ask(kernel, "open_file", tab=TAB, path=str(file))
    with pytest.raises(Refused, match="has changed since"):
        ask(kernel, "open_file", tab=TAB, path=str(file), trusted="1-2-3")
    ask(kernel, "open_file", tab=TAB, path=str(file), trusted=modelfiles.read_model(file)["stamp"])
    assert kernel.value("list(tabs._tabs)") == [TAB]


def test_a_file_that_keras_cannot_compile(kernel: Kernel, tmp_path: Path) -> None:
    file, model = tmp_path / "m.h5", models.cnn()
    model.compile("sgd", "mse")
    model.save(file)
    with pytest.raises(Refused, match="CompileUnknown"):
        ask(kernel, "open_file", tab=TAB, path=str(file))
    ask(kernel, "open_file", tab=TAB, path=str(file), compile=False)
    file.write_bytes(b"damaged")
    with pytest.raises(Refused, match="cannot be read"):
        ask(kernel, "open_file", tab="another", path=str(file))


def test_a_file_that_the_kernel_does_not_see(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not see the file"):
        ask(kernel, "open_file", tab=TAB, path=str(tmp_path / "elsewhere.keras"))


def test_a_tab_of_a_kernel_before_cannot_be_saved(kernel: Kernel, file: Path) -> None:
    with pytest.raises(Refused, match="it was restarted"):
        ask(kernel, "save_file", tab="of before", path=str(file))
