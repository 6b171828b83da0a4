"""The widgets as fragments of a page, for where there are no widgets: a notebook on the web.

No scripts, no styles but their own, in the colours of the page. Names are taken for hostile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..names import listed, shortened, visible
from ..weights.histogram import Histogram, pooled

if TYPE_CHECKING:
    from ..editor import Editor

MOST_ROWS = 300
_BINS = 24
_HEIGHT = 16
# Of a large layer so many values are looked at, in runs of neighbours: whole runs, so that all
# channels come up.
_SAMPLE, _RUN = 4096, 64
_LABEL = 120  # characters of a name that a cell has room for

_LEFT = "text-align:left"
_RIGHT = "text-align:right"
_COLUMNS = ("Layer", "Type", "Output shape", "Parameters", "Trainable", "Weights")


def table_html(
    editor: Editor,
    info: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any] | None = None,
) -> str:
    """The rows of a layer list as a table, with a small histogram of each layer's weights.

    Nothing is built for it, and of large weights only samples are looked at.

    Args:
        editor: whose weights are drawn.
        info, rows: its totals and layers, as the widget has them.
        scores: what was found of layers, as the widget has it; a column where there is any.
    """
    shown = rows[:MOST_ROWS]
    with editor.lock:
        weights = [_weights(editor, row) for row in shown]
    heads = [(_RIGHT if name == "Parameters" else _LEFT, name) for name in _COLUMNS]
    lines = [_line(row, drawn) for row, (drawn, _) in zip(shown, weights, strict=True)]
    if scores:
        heads.append((_RIGHT, _text(scores["label"])))
        for line, row in zip(lines, shown, strict=True):
            value = scores["values"].get(row["path"])
            line.append((_RIGHT, "" if value is None else f"{value:+.3g}"))
    notes = []
    if len(rows) > len(shown):
        notes.append(f"And {len(rows) - len(shown):,} more.")
    if any(sampled for _, sampled in weights):
        notes.append(f"The histograms are sampled: some {_SAMPLE:,} values of a large layer.")
    return (
        f"<div><b>{_text(info['name'])}</b> {info['params']:,} parameters, "
        f"{info['trainable']:,} of them trainable"
        f"<table><thead>{_tr('th', heads)}</thead>"
        f"<tbody>{''.join(_tr('td', line) for line in lines)}</tbody></table>"
        f"{' '.join(notes)}</div>"
    )


def steps_html(steps: Sequence[str], done: int) -> str:
    """The latest steps of a history as a list, the last of which has the number `done`."""
    if not steps:
        return "<div>No edits yet.</div>"
    items = "".join(f"<li>{_text(step)}</li>" for step in steps)
    return f'<ol start="{done - len(steps) + 1}">{items}</ol>'


_Cell = tuple[str, str]  # its style, and what is in it


def _tr(tag: str, cells: Sequence[_Cell]) -> str:
    held = (
        f'<{tag} style="{style}">{text}</{tag}>' if text else f"<{tag}></{tag}>"
        for style, text in cells
    )
    return f"<tr>{''.join(held)}</tr>"


def _line(row: Mapping[str, Any], drawn: str) -> list[_Cell]:
    flag = {True: "yes", False: "frozen", None: ""}[row["trainable"] if row["weights"] else None]
    marks = ", ".join(filter(None, [row["status"], *row["marks"]]))
    name = _text(row["name"]) + (f" <small>({marks})</small>" if marks else "")
    params = f"{row['params']:,}" if row["params"] else ""
    indent = f";padding-left:{(row['level'] - 1) * 16}px" if row["level"] > 1 else ""
    return [
        (_LEFT + indent, name),
        (_LEFT, _text(row["class_name"])),
        (_LEFT, _text(row["shape"])),
        (_RIGHT, params),
        (_LEFT, flag),
        (_LEFT, drawn),
    ]


def _weights(editor: Editor, row: Mapping[str, Any]) -> tuple[str, bool]:
    """A picture of the weights of a row's own, and whether only samples of them were looked at."""
    entry = editor.graph.by_path.get(row["path"]) if row["weights"] else None
    if entry is None:
        return "", False
    variables = editor.graph.layers[entry.layer].variables or ()
    weights = [(index, spec) for index, spec in enumerate(variables) if spec.weight]
    # Of each its share, so that a small bias does not count for as much as a large kernel.
    share = min(1.0, _SAMPLE / max(1, sum(math.prod(spec.shape) for _, spec in weights)))
    arrays = [
        _sample(value, math.prod(spec.shape), share)
        for index, spec in weights
        if (value := editor.known_value(entry, index)) is not None
    ]
    drawn = [array for array in arrays if array.dtype.kind not in "OUSc"]
    return (_picture(pooled(drawn, _BINS)) if drawn else ""), bool(drawn) and share < 1


def _sample(value: Any, size: int, share: float) -> np.ndarray:
    """The values of a tensor, or of a share of them evenly spaced runs."""
    runs = max(1, round(size * share / _RUN))
    length = size // runs
    if share == 1 or length <= _RUN:
        return keras.ops.convert_to_numpy(value)
    flat = keras.ops.reshape(value, (-1,))
    return keras.ops.convert_to_numpy(
        keras.ops.reshape(flat[: length * runs], (runs, length))[:, :_RUN]
    )


def _picture(found: Histogram) -> str:
    top = int(found.counts.max(initial=0))
    figures = f"mean {found.mean:.3g}, std {found.std:.3g}"
    bad = listed(f"{n:,} {name}" for name, n in (("NaN", found.nans), ("Inf", found.infs)) if n)
    words = figures + (f", {bad}" if bad else "")
    steps = "".join(
        f"V{_HEIGHT - max(1, round(n * _HEIGHT / top)) if n else _HEIGHT}H{x}"
        for x, n in enumerate(found.counts.tolist(), 1)
    )
    bars = f'<path d="M0 {_HEIGHT}{steps}V{_HEIGHT}Z" fill="currentColor" fill-opacity=".6"/>'
    return (
        f'<svg role="img" aria-label="{words}" width="72" height="{_HEIGHT}" '
        f'viewBox="0 0 {_BINS} {_HEIGHT}" preserveAspectRatio="none"><title>{words}</title>'
        f"{bars if top else ''}</svg>{f' <b>{bad}</b>' if bad else ''}"
    )


def _text(text: str) -> str:
    return escape(visible(shortened(text, _LABEL)))
