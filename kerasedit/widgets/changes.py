"""What the Changes panel shows: the history, what differs from the source, and the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..differences.result import Compared, Diff, Item, Removed, WeightChange
from ..errors import EditError
from ..graph.flops import count_flops
from ..graph.model_graph import ModelGraph
from ..names import cut, visible
from ..views import count_bytes
from .detail import Reply
from .rows import make_ghosts

if TYPE_CHECKING:
    from ..editor import Editor

MAX_LABEL = 300
MAX_CODE = 2000
# Of a history as long as this, on either side of where it stands, the rest is only counted.
MAX_STEPS = 500
# Of differences of one kind.
MAX_ITEMS = 200

_KINDS = (
    "added",
    "removed",
    "replaced",
    "renamed",
    "reconfigured",
    "rewired",
    "weights",
    "flags",
)


def tell_changes(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The history, undone steps included, and where in it the model stands."""
    with editor.lock:
        steps, done = [*editor.steps, *editor.undone_steps], len(editor.steps)
        first = max(0, done - MAX_STEPS)
        shown = [
            {
                "label": cut_label(step.label),
                "code": cut(step.edit.to_code() if step.edit else "ed.reset()", MAX_CODE),
            }
            for step in steps[first : done + MAX_STEPS]
        ]
        where = {"revision": editor.revision, "done": done, "total": len(steps)}
        return {**where, "first": first + 1, "steps": shown}, []


def tell_diff(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """What differs between the source and the edited model."""
    with editor.lock:
        found = editor.diff()
        groups = [_group(editor, found, kind) for kind in _KINDS if getattr(found, kind)]
        models = {
            "before": _model(found.a, editor.source_graph),
            "after": _model(found.b, editor.graph),
        }
        return {"revision": editor.revision, **models, "groups": groups}, []


def _model(compared: Compared, graph: ModelGraph) -> dict[str, Any]:
    return {**asdict(compared), "bytes": count_bytes(graph), "flops": count_flops(graph)}


def _group(editor: Editor, diff: Diff, kind: str) -> dict[str, Any]:
    items = getattr(diff, kind)
    shown = [
        {
            "label": cut_label(item.label),
            "detail": cut_label(item.detail),
            "path": _row_of(editor, item),
        }
        for item in items[:MAX_ITEMS]
    ]
    return {"kind": kind, "total": len(items), "items": shown}


def _row_of(editor: Editor, item: Item) -> str | None:
    """The path of the row where a difference is; None where no row shows it."""
    if isinstance(item, Removed):
        return None
    path = item.path
    if isinstance(item, WeightChange):
        while path and path not in editor.graph.by_path:
            path = path.rpartition("/")[0]
    return path if path in editor.graph.by_path else None


def tell_removed(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The layers of the source that are gone."""
    with editor.lock:
        return {"revision": editor.revision, "rows": make_ghosts(editor)}, []


def tell_code(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The edits as a script, without arrays."""
    style = message.get("style", "kerasedit")
    if style not in ("kerasedit", "keras"):
        raise EditError(f"'style' must be 'kerasedit' or 'keras', not {style!r:.80}.")
    return {"code": editor.to_code(style, weights=False)}, []


def cut_label(text: str) -> str:
    """Words for a line: not too many, and without control characters."""
    return cut(visible(text), MAX_LABEL)
