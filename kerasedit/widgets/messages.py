"""Answers to the widget's messages. Nothing here trusts what it is given."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..block_data import read_block
from ..edits import read_edit
from ..errors import EditError, NameTaken, ShapeMismatch, TargetError
from ..handback import user_namespace, with_builtins
from ..palette import palette
from ..plan import Plan
from ..training.monitor import View
from ..training.watch import BINS, Moment
from ..weights.histogram import pack, pooled
from ..weights.looking import weights_at
from .arguments import tell_arguments
from .changes import tell_changes, tell_code, tell_diff, tell_removed
from .detail import Reply, asked_paths, tell_detail
from .pruning import tell_channels

if TYPE_CHECKING:
    from ..editor import Editor

MAX_BYTES = 1 << 20
_SAFE = 2**53 - 1  # of whole numbers, those up to here are a browser's too
MAX_LINES = 9  # of a report, and one that tells how many more there are


class StaleRevision(EditError):
    """The action was made on a state that is no longer the present one."""


class Taken(NameTaken):
    """A name that is taken, with what takes it: the widget asks before it replaces something."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def answer(editor: Editor, alive: str, message: Any, view: View | None = None) -> Reply:
    """The answer to a message: `{id, ok}` or `{id, error}`, and binary buffers.

    An interrupt is answered too: whoever waits for an answer would wait for ever.

    Args:
        editor: what the message is about.
        alive: what the widget was given to know its kernel by.
        message: from the browser; anything.
        view: what the widget shows of a training.
    """
    number = message.get("id") if isinstance(message, Mapping) else None
    if not _is_id(number):
        number = None
    try:
        check_size(message)
        if number is None:
            raise EditError("A message is an object with an 'id', a short text or a whole number.")
        ok, buffers = _dispatch(editor, alive, message, view)
        return {"id": number, "ok": ok}, buffers
    except EditError as problem:
        return {"id": number, "error": _error(problem)}, []
    except Exception as problem:
        # Whatever a message brings about, the browser hears of it and nothing was changed.
        unexpected = EditError(
            f"Something unexpected happened: {type(problem).__name__}: {problem}"
        )
        return {"id": number, "error": _error(unexpected)}, []
    except KeyboardInterrupt:
        # Where the kernel handles messages between cells, the stop button ends one that takes long.
        return {"id": number, "error": _error(EditError("Interrupted; nothing was changed."))}, []


def _is_id(value: Any) -> bool:
    """Whether a value can be sent back to who waits for an answer of that id."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _SAFE
    return isinstance(value, str) and len(value) <= 100 and value.isprintable()


def _error(problem: EditError) -> dict[str, Any]:
    name = "NameTaken" if isinstance(problem, Taken) else type(problem).__name__
    hint = problem.hint if isinstance(problem, Taken) else ""
    if isinstance(problem, ShapeMismatch) and problem.of_weights:
        hint = "on_mismatch"
    return {"type": name, "message": str(problem)[:4000], "hint": hint}


def check_size(message: Any) -> None:
    """Refuses what is no JSON that can be sent on, or too much of it.

    Raises:
        EditError: it is one of these. Half of a surrogate pair is no text that can be sent.
    """
    try:
        size = len(json.dumps(message, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as problem:
        raise EditError("A message must be JSON.") from problem
    if size > MAX_BYTES:
        raise EditError(f"A message may have {MAX_BYTES} bytes; this one has {size}.")


def _dispatch(editor: Editor, alive: str, message: Mapping[str, Any], view: View | None) -> Reply:
    asked = [key for key in ("edit", "preview", "action", "query") if key in message]
    if len(asked) != 1:
        raise EditError("A message has one of 'edit', 'preview', 'action' and 'query'.")
    what = message[asked[0]]
    if view is not None:
        _hear(view, message)
        if what in _WORDS.get(asked[0], ()):
            return {}, []
    if asked[0] == "edit":
        return _edit(editor, message), []
    if asked[0] == "preview":
        return _preview(editor, message), []
    handlers = _ACTIONS if asked[0] == "action" else _QUERIES
    handler = handlers.get(what) if isinstance(what, str) else None
    if handler is None:
        raise EditError(f"There is no {asked[0]} {what!r:.80}.")
    return handler(editor, alive, message)


def _check_revision(editor: Editor, message: Mapping[str, Any]) -> None:
    revision = message.get("revision")
    if not isinstance(revision, int) or isinstance(revision, bool):
        raise StaleRevision("'revision' is a whole number: that of the state which is meant.")
    if revision != editor.revision:
        raise StaleRevision("The model has changed since; look at it as it is now, and try again.")


def _edit(editor: Editor, message: Mapping[str, Any]) -> dict[str, Any]:
    with editor.lock:
        _check_revision(editor, message)
        edit = read_edit(message["edit"], lambda data: read_block(data, editor.custom_objects))
        with editor.gathering():  # a click may be one of several
            return _done(editor, lambda: editor.apply(edit))


def _done(editor: Editor, act: Callable[[], Any]) -> dict[str, Any]:
    """What is told of an action; one that `fit` puts off has changed nothing yet."""
    before = editor.revision
    act()
    if editor.revision == before and editor.training() is not None:
        return {"revision": before, "waits": True, "report": []}
    report = list(editor.report)
    more = len(report) - MAX_LINES
    if more > 0:
        report[MAX_LINES:] = [f"and {more:,} more"]
    return {"revision": editor.revision, "report": report}


def _preview(editor: Editor, message: Mapping[str, Any]) -> dict[str, Any]:
    with editor.lock:
        _check_revision(editor, message)
        edit = read_edit(message["preview"], lambda data: read_block(data, editor.custom_objects))
        return {"plan": plan_data(editor.preview.apply(edit))}


def plan_data(plan: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "ok": plan.ok,
        "text": str(plan),
        "errors": list(plan.errors),
        "mismatch": plan.mismatch,
        "warnings": list(plan.warnings),
        "notes": list(plan.notes),
        "shape_changes": [[path, str(a), str(b)] for path, a, b in plan.shape_changes],
        "reinitialized": list(plan.reinitialized),
        "sliced": list(plan.sliced),
        "dropped": list(plan.dropped),
        "renamed": [list(pair) for pair in plan.renamed],
        "params_before": plan.params_before,
        "params_after": plan.params_after,
        "trainable_before": plan.trainable_before,
        "trainable_after": plan.trainable_after,
        "bytes_before": plan.bytes_before,
        "bytes_after": plan.bytes_after,
        "flops_before": plan.flops_before,
        "flops_after": plan.flops_after,
        "code": plan.code,
    }


def _step(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    with editor.lock:
        _check_revision(editor, message)
        move = editor.undo if message["action"] == "undo" else editor.redo
        n = message.get("n", 1)
        return {**_done(editor, lambda: move(n)), "report": []}, []


def _hand_back(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    name, overwrite = message.get("name"), message.get("overwrite") is True
    if not isinstance(name, str):
        raise EditError("'name' must be the name of a variable.")
    holds = with_builtins(user_namespace() or {}).get(name)
    if holds is not None and holds is not editor.made and not overwrite:
        model = isinstance(holds, keras.Model)
        raise Taken(
            f"The variable '{name}' holds an object of type {type(holds).__name__}.",
            "model" if model else "other",
        )
    editor.hand_back(name, overwrite=overwrite)
    return {"name": name}, []


def _save(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    path = message.get("path")
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise EditError("'path' must be the name of a file.")
    if os.path.exists(path) and message.get("overwrite") is not True:
        raise Taken(f"The file '{path}' exists.", "file")
    editor.save(path)
    return {"path": path}, []


def _hear(view: View, message: Mapping[str, Any]) -> None:
    """Where the message comes from, what of a training is in view there, and what was drawn."""
    place = message.get("place", "")
    if not isinstance(place, str) or len(place) > 100:
        raise EditError("'place' must be a short text.")
    if message.get("action") == "leave":
        view.leave(place)
        return
    view.hear(place, asked_paths(message) if message.get("query") == "watch" else None)
    if message.get("action") == "drawn":
        view.drawn()


def _moments(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The weights as they were at a step of the latest training."""
    step, history = message.get("step"), editor.monitor.history
    if not isinstance(step, int) or isinstance(step, bool):
        raise EditError("'step' must be a whole number.")
    found = {path: history.at(path, step) for path in asked_paths(message) if path in history.paths}
    header = {"paths": list(found), "steps": [m.step for m in found.values()], "bins": BINS}
    return header, [pack_moments(found)]


def _losses(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The losses of the latest training so far, for a page that was not there."""
    losses = editor.monitor.losses
    return {"total": losses[-1][0] if losses else 0, "values": [loss for _, loss in losses]}, []


def pack_moments(moments: Mapping[str, Moment]) -> bytes:
    """The moments of layers, one behind the other."""
    return b"".join(moment.pack().tobytes() for moment in moments.values())


def _histograms(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    paths, bins = asked_paths(message), message.get("bins", 64)
    if not isinstance(bins, int) or isinstance(bins, bool) or not 1 <= bins <= 1024:
        raise EditError("'bins' must be a whole number from 1 to 1024.")
    revision = editor.revision
    parts = {path: part for path in paths if (part := _row_histogram(editor, path, bins))}
    if paths and not parts:
        raise TargetError("None of these layers is there any more.")
    return {"paths": list(parts), "bins": bins, "revision": revision}, [b"".join(parts.values())]


def _row_histogram(editor: Editor, path: str, bins: int) -> bytes:
    """All weights of a row pooled; nothing where there is no such row.

    Strings of a vocabulary and the like are no weights to draw.
    """
    with editor.lock:  # for as long as values are copied, and not while they are counted
        if path not in editor.graph.by_path:
            return b""
        arrays = [weight.numpy() for weight in weights_at(editor, path)]
    numeric = [a for a in arrays if a.dtype.kind not in "OUSc"]
    return np.asarray(pack(pooled(numeric, bins)), "<f4").tobytes()


def _palette(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    return {"layers": _finite(palette(editor.custom_objects))}, []


def _finite(value: Any) -> Any:
    """JSON has no infinity; a default of that is left for Keras to fill in."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _ping(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    editor.training()  # notices a `fit` that was interrupted
    return {"alive": alive, "revision": editor.revision}, []


_WORDS = {"action": ("drawn", "leave"), "query": ("watch",)}
_ACTIONS = {"undo": _step, "redo": _step, "hand_back": _hand_back, "save": _save}
_QUERIES = {
    "histograms": _histograms,
    "moments": _moments,
    "losses": _losses,
    "palette": _palette,
    "detail": tell_detail,
    "arguments": tell_arguments,
    "changes": tell_changes,
    "diff": tell_diff,
    "removed": tell_removed,
    "channels": tell_channels,
    "code": tell_code,
    "ping": _ping,
}
