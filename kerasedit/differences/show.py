"""How a `Diff` reads: in a terminal, and in a notebook.

Names are taken for hostile: no control character reaches the terminal, no markup the page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..names import shortened, visible

if TYPE_CHECKING:
    from .result import Diff

_LABEL = 40  # characters of a path that a line has room for
_DETAIL = 160
# Of middling lightness, to be read on white and on black.
_COLOURS = {"+": "#2da44e", "-": "#e5534b", "~": "#bf8700"}


def to_text(diff: Diff, limit: int | None) -> str:
    """The lines that `print` shows."""
    if diff.empty:
        return "No differences."
    lines = [f"{_line(diff.a.title, _DETAIL)} -> {_line(diff.b.title, _DETAIL)}"]
    for heading, items in diff.groups:
        if not items:
            continue
        shown = items if limit is None else items[:limit]
        labels = [_line(item.label, _LABEL) for item in shown]
        width = max(map(len, labels), default=0)
        lines += ["", heading]
        for item, label in zip(shown, labels, strict=True):
            lines.append(f"  {item.mark} {label.ljust(width)}  {_line(item.detail, _DETAIL)}")
        if len(items) > len(shown):
            lines.append(f"  and {len(items) - len(shown):,} more, all in .text(limit=None)")
    return "\n".join([*lines, "", _totals(diff)])


def to_html(diff: Diff) -> str:
    """A static page fragment: no scripts, no styles but its own, in the colours of the page."""
    if diff.empty:
        return "<div>No differences.</div>"
    parts = [f"<div><b>{_html(diff.a.title)}</b> → <b>{_html(diff.b.title)}</b></div>"]
    for heading, items in diff.groups:
        if not items:
            continue
        rows = "".join(
            f'<tr style="background:none"><td style="{_CELL};color:{_COLOURS[item.mark]}">'
            f'<b>{item.mark}</b></td><td style="{_CELL};font-family:monospace">'
            f'{_html(item.label)}</td><td style="{_CELL}">{_html(item.detail)}</td></tr>'
            for item in items
        )
        parts.append(
            f"<details{' open' if len(items) <= _OPEN else ''}><summary>{heading} "
            f'({len(items):,})</summary><table style="{_TABLE}">{rows}</table></details>'
        )
    return f"{''.join(parts)}<div>{_html(_totals(diff))}</div>"


_OPEN = 50  # rows that are shown without a click
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0;overflow-wrap:anywhere"
_TABLE = "margin:2px 0 8px 14px;border-collapse:collapse"


def _totals(diff: Diff) -> str:
    a, b = diff.a, diff.b
    return f"Parameters: {_count(a.params, b.params)}; {_count(a.trainable, b.trainable)} train"


def _count(before: int, after: int) -> str:
    if before == after:
        return f"{after:,}"
    return f"{before:,} -> {after:,} ({after - before:+,})"


def _line(text: str, limit: int) -> str:
    """One line without control characters, its middle left out where it is too long."""
    return shortened(visible(text), limit)


def _html(text: str) -> str:
    return escape(visible(text))
