"""Questions to a kernel as the panel asks them: what they leave there is nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.kernel import Kernel, running_kernel

CALL = '__import__("kerasedit.lab.kernel", fromlist=["answer"]).answer("tell_models", "{}")'


def guarded() -> str:
    """The panel's question, put together of the very pieces that it is made of."""
    source = (Path(__file__).parents[2] / "js" / "lab" / "src" / "ask.ts").read_text("utf-8")
    pieces = dict(re.findall(r"const (hasKeras|found|hasOurs) = `(.*)`;", source))
    (whole,) = re.findall(r"evaluate<T>\(kernel, `(.*)`\);", source)
    for name in ("hasOurs", "found", "hasKeras"):
        whole = whole.replace(f"${{{name}}}", pieces[name])
    return whole.replace("${call(question, {})}", CALL)


GUARDED = guarded()

# Everything that a user could see of what was run.
STATE = """(
    sorted(globals()), list(In), dict(Out), _, __, ___, _i, _ii, _iii, _oh,
    get_ipython().execution_count,
    list(get_ipython().history_manager.get_range(raw=False)),
    get_ipython().history_manager.input_hist_raw,
    get_ipython().last_execution_succeeded,
)"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as started:
        yield started


def ask(kernel: Kernel, expression: str) -> tuple[dict[str, Any], list[str]]:
    """The answer, and the kinds of what else was heard."""
    asked = kernel.client.execute(
        "", silent=True, store_history=False, user_expressions={"it": expression}, allow_stdin=False
    )
    reply = kernel.end_of(asked)["content"]
    kinds = [m["msg_type"] for m in kernel.about(asked) if not m["msg_type"].endswith("_reply")]
    return reply["user_expressions"]["it"], kinds


def test_a_kernel_that_has_not_imported_keras(kernel: Kernel) -> None:
    modules = kernel.value("len(__import__('sys').modules)")
    told, kinds = ask(kernel, GUARDED)
    assert told["data"] == {"text/plain": "None"}
    assert kinds == ["status", "status"]
    assert (
        kernel.value("[m for m in ('keras', 'kerasedit') if m in __import__('sys').modules]") == []
    )
    assert kernel.value("len(__import__('sys').modules)") == modules


def test_no_trace_is_left(kernel: Kernel) -> None:
    kernel.run("import keras\nmodel = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])")
    kernel.run("40 + 2")
    before = kernel.value(STATE)
    for _ in range(3):
        told, kinds = ask(kernel, GUARDED)
        assert [row["variable"] for row in told["data"]["application/json"]["models"]] == ["model"]
        assert kinds == ["status", "status"]
    assert kernel.value(STATE) == before
    cell = kernel.start("_")
    shown = kernel.wait_for(
        lambda it: it["msg_type"] == "execute_result" and it["parent_header"]["msg_id"] == cell
    )
    assert shown["content"]["data"]["text/plain"] == "42"


def test_what_goes_wrong_is_not_the_users_latest_error(kernel: Kernel) -> None:
    told, kinds = ask(kernel, CALL.replace('"tell_models"', '"no such question"'))
    assert told["status"] == "ok"
    assert told["data"]["application/vnd.kerasedit.problem+json"]["type"] == "KeyError"
    assert kinds == ["status", "status"]
    assert not kernel.value("hasattr(__import__('sys'), 'last_value')")


def test_a_kernel_without_kerasedit(kernel: Kernel) -> None:
    told, _ = ask(kernel, GUARDED.replace("kerasedit", "keras_no_edit"))
    assert told["data"] == {"text/plain": "False"}
    assert not kernel.value("hasattr(__import__('sys'), 'last_value')")
