"""The editor's widget, reached while a cell runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import OTHERS
from .kernel import INSTALLED, Kernel, running_kernel

SET_UP = """
import time, threading
import keras
from kerasedit import Editor
from kerasedit.widgets.editor_widget import EditorWidget
from kerasedit.widgets.kernel import Door

ed = Editor(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")]))
widget = EditorWidget(ed)
door = Door(lambda: {widget.model_id})
threads = []
ed.subscribe(lambda event: threads.append(threading.current_thread().name.split("-")[0]))

def train():
    end = time.monotonic() + 50
    print("training")
    while ed.layers[-1].trainable:
        door.serve()
        widget.send({"step": 1})
        time.sleep(0.01)
        assert time.monotonic() < end
"""


@pytest.fixture(params=[INSTALLED, *(pytest.param(it, marks=pytest.mark.slow) for it in OTHERS)])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with running_kernel(request.param) as kernel:
        kernel.run(SET_UP)
        yield kernel


def test_freezing_ends_the_cell(kernel: Kernel) -> None:
    """By both ways: through the callback of the training, and on a subshell where there are any."""
    comm = kernel.value("widget.model_id")
    major = int(kernel.value("__import__('ipykernel').version_info[0]"))
    ways = [{}] if major < 7 else [{}, {"subshell_id": kernel.new_subshell()}]
    for way in ways:
        kernel.run("ed.unfreeze('head'); threads.clear()")
        kernel.heard.clear()
        edit = {"edit": "freeze", "targets": ["head"]}
        message = {"id": "m1", "revision": kernel.value("ed.revision"), "edit": edit}
        cell = kernel.start("train()")
        kernel.wait_for(lambda it: it["content"].get("data", {}).get("content") == {"step": 1})
        asked = kernel.tell(comm, {"method": "custom", "content": message}, **way)
        reply = kernel.end_of(cell)["content"]
        assert reply["status"] == "ok", reply
        answers = [it for it in kernel.about(asked) if it["msg_type"] == "comm_msg"]
        assert "ok" in answers[-1]["content"]["data"]["content"]
        assert kernel.value("threads") == ["subshell" if way else "MainThread"]
