"""Thousands of mutated messages to the widget: each is answered, none runs code or breaks the editor."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor
from kerasedit.widgets.editor_widget import EditorWidget

# What Python reports when something is evaluated, unpickled or started. Not "compile": what runs is
# "exec" too, and `inspect` parses texts of its own.
FORBIDDEN = (
    "exec",
    "marshal.",
    "pickle.",
    "code.__new__",
    "function.__new__",
    "ctypes.",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "os.putenv",
    "os.remove",
    "os.rename",
    "shutil.",
    "subprocess.",
    "socket.",
    "urllib.",
)
_seen: list[str] = []
_watched: set[int] = set()


def _hear(event: str, arguments: Any) -> None:
    if threading.get_ident() in _watched and event.startswith(FORBIDDEN):
        _seen.append(f"{event} {arguments!r:.200}")


@contextmanager
def nothing_runs() -> Iterator[None]:
    """What this thread does inside evaluates nothing, and starts nothing.

    Python never forgets an audit hook; this one does nothing outside.
    """
    if not hasattr(sys, "_kerasedit_hook"):
        sys.addaudithook(_hear)
        sys._kerasedit_hook = True  # type: ignore[attr-defined]
    _seen.clear()
    _watched.add(threading.get_ident())
    try:
        yield
    finally:
        _watched.discard(threading.get_ident())
    assert not _seen


def make_model() -> keras.Model:
    x = keras.Input((6, 6, 3), name="x")
    y = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    y = layers.Add(name="add")([y, layers.Conv2D(4, 1, name="side")(x)])
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.ReLU(name="relu")], name="inner")
    y = layers.Flatten(name="flat")(inner(y))
    return keras.Model(x, layers.Dense(3, name="head")(y), name="toy")


def message_kinds() -> list[dict[str, Any]]:
    """One good message of each kind."""
    dropout = {"class_name": "Dropout", "config": {"rate": 0.5}}
    dense = {"class_name": "Dense", "config": {"units": 5, "activation": "relu"}}
    conv = {
        "class_name": "Conv2D",
        "config": {
            "filters": 4,
            "kernel_size": [3, 3],
            "padding": "same",
            "kernel_initializer": {"class_name": "HeNormal", "config": {"seed": 1}},
        },
    }
    edits: list[dict[str, Any]] = [
        {"edit": "remove", "target": "add", "keep": 0},
        {"edit": "remove", "target": "inner", "on_mismatch": "reinit"},
        {"edit": "insert", "block": [dropout], "after": "flat"},
        {"edit": "insert", "block": [conv], "before": "inner"},
        {"edit": "replace", "target": "head", "block": [dense], "weights": "slice"},
        {"edit": "replace", "target": "conv", "block": [conv], "weights": "match"},
        {"edit": "rename", "target": "head", "name": "other"},
        {"edit": "duplicate", "target": "inner"},
        {"edit": "freeze", "targets": ["conv", "inner/*"]},
        {"edit": "unfreeze", "targets": ["**"]},
        {"edit": "freeze_up_to", "target": "flat"},
        {"edit": "trim", "target": "flat"},
        {"edit": "configure", "target": "conv", "config": {"strides": 2}, "on_mismatch": "slice"},
        {"edit": "configure", "target": "side", "config": conv["config"], "on_mismatch": "reinit"},
        {"edit": "scale_weights", "target": "head", "factor": 0.5},
        {"edit": "transaction", "label": "two", "edits": [{"edit": "remove", "target": "flat"}]},
    ]
    return [
        *({"edit": edit} for edit in edits),
        *({"preview": edit} for edit in edits),
        {"action": "undo", "n": 1},
        {"action": "redo", "n": 1},
        {"action": "save", "path": "no/such/folder/m.keras", "overwrite": False},
        {"action": "hand_back", "name": "model2", "overwrite": False},
        {"query": "histograms", "paths": ["conv", "head"], "bins": 32, "log": False},
        {"query": "moments", "paths": ["conv"], "step": 3},
        {"query": "watch", "paths": ["conv"]},
        {"action": "drawn"},
        {"query": "detail", "path": "conv", "bins": 32},
        {"query": "arguments", "path": "inner/relu"},
        {"query": "palette"},
        {"query": "removed"},
        {"query": "code"},
        {"query": "ping"},
    ]


RUNS = "__import__('os').system('touch ran')"
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1.5,
    "",
    "<img src=x onerror=alert(1)>",
    "\u202e\u0000\ud800",
    "x" * 5000,
    "[" * 300,
    "**/**/**",
    "../../../etc/passwd",
    RUNS,
    "lambda x: " + RUNS,
    [],
    [[[[[[]]]]]],
    {},
    {"a": {"b": {"c": {}}}},
    {"class_name": "__lambda__", "config": {"value": RUNS}},
    {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}},
    {"class_name": "Lambda", "config": {"function": "lambda x: " + RUNS}},
    {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"},
    {"class_name": "system", "module": "os", "config": {}, "registered_name": None},
    {"class_name": "Popen", "module": "subprocess", "config": {"args": "touch ran"}},
    {"class_name": "TFSMLayer", "config": {"filepath": "/tmp/evil"}},
    {"class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
    {"class_name": "Functional", "config": {"layers": [], "input_layers": []}},
    {"class_name": "VQGAN", "config": {}},
    {"module": "builtins", "class_name": "eval", "config": RUNS},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a message that can be replaced."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def mutate(rng: random.Random, message: dict[str, Any], values: list[Any]) -> Any:
    """Replaces, removes or adds something somewhere."""
    message = copied(message)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        where = list(places(message))
        if not where:
            break
        *parents, last = rng.choice(where)
        holder = message
        for key in parents:
            holder = holder[key]
        what = rng.random()
        if what < 0.75:
            holder[last] = copied(rng.choice(values))
        elif what < 0.85:
            del holder[last]
        elif isinstance(holder, dict):
            holder[rng.choice(("id", "edit", "target", "call", "name", "expect", "x" * 300))] = (
                copied(rng.choice(values))
            )
        else:
            holder.append(copied(rng.choice(values)))
    return message


def storm(seed: int, count: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of so many messages were carried out."""
    monkeypatch.chdir(tmp_path)
    source = make_model()
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    wanted = np.asarray(source(x))
    editor = Editor(source)
    widget = EditorWidget(editor)
    sent: list[Any] = []
    widget.send = lambda content, buffers=None: sent.append(content)  # type: ignore[method-assign]
    rng = random.Random(seed)
    kinds = message_kinds()
    values = HOSTILE + [edit["edit"] for edit in kinds if isinstance(edit.get("edit"), dict)]
    # What is imported on first use is compiled then, too.
    for number, message in enumerate(kinds):
        widget._receive(widget, {"id": f"warm{number}", "revision": editor.revision, **message}, [])
        if editor.history:
            editor.undo()
    done = 0
    with nothing_runs():
        for number in range(count):
            before, graph, history = editor.revision, editor.graph, editor.history
            message = {"id": f"m{number}", "revision": before, **rng.choice(kinds)}
            message = mutate(rng, message, values)
            sent.clear()
            widget._receive(widget, message, [])
            assert len(sent) == 1, message
            (answer,) = sent
            assert ("ok" in answer) != ("error" in answer), message
            told = json.dumps(answer, allow_nan=False)
            # Other packages may have registered any number of layers that the palette lists.
            assert len(told) < 500_000 or answer["ok"].keys() == {"layers"}
            if "error" in answer:
                assert not answer["error"]["message"].startswith("Something unexpected"), (
                    message,
                    answer,
                )
                assert editor.graph is graph and editor.history == history, message
                assert editor.revision == before, message
            done += "ok" in answer
            if len(editor.history) > 8:
                editor.undo(len(editor.history))
    editor.undo(len(editor.steps)) if editor.steps else None
    assert not (tmp_path / "ran").exists() and not list(tmp_path.iterdir())
    assert np.array_equal(np.asarray(editor.model(x)), wanted)
    assert np.array_equal(np.asarray(source(x)), wanted)
    return done


def test_thousands_of_mutated_messages(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = storm(1, 3000, tmp_path, monkeypatch)
    assert 300 < done < 2700, "the storm has to have both"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_more(seed: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storm(seed, 5000, tmp_path, monkeypatch)


def test_the_watch_sees_what_it_is_for() -> None:
    for wrong in ("eval('1')", "__import__('pickle').loads(b'\\x80\\x04cbuiltins\\nlen\\n.')"):
        code = compile(wrong, "wrong", "eval")
        with pytest.raises(AssertionError), nothing_runs():
            eval(code)
