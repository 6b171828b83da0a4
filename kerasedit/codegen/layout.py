"""Lays generated Python out in lines of at most `WIDTH` columns.

What is generated here is regular: one statement at a time, strings as `text` writes them, no
comments inside. So brackets and commas are all that has to be found to break a line.
"""

from __future__ import annotations

import itertools
import re
import textwrap

from ..names import shortened

WIDTH = 100

_Bracket = tuple[int, int, list[int]]  # where it opens, where it closes, the commas in it


def text(value: str) -> str:
    """A string literal: printable, in double quotes where it can be."""
    shown = repr(value)
    if shown[0] == "'" and '"' not in shown and "\\'" not in shown:
        return f'"{shown[1:-1]}"'
    return shown


def told(name: str) -> str:
    """A name in a docstring, short of its middle where it is long."""
    return text(shortened(name, 50))


def docstring(*paragraphs: str) -> str:
    """A docstring, in lines of its own; what stands in it cannot end it."""
    whole = "\n\n".join("\n".join(map(_wrapped, part.split("\n"))) for part in paragraphs)
    if whole.endswith('"'):
        whole = whole[:-1] + '\\"'
    return f'"""{whole}\n"""' if "\n" in whole else f'"""{whole}"""'


def _wrapped(line: str) -> str:
    """A line of a docstring, in several where it is too long, with no sign that has a meaning."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    safe = plain.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    pad = " " * (len(safe) - len(safe.lstrip()))
    lines = textwrap.wrap(
        safe.strip(),
        WIDTH - 10,  # it may stand in a function, between the quotes
        initial_indent=pad,
        subsequent_indent=pad,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def lay_out(statement: str, indent: int = 0) -> list[str]:
    """The lines of a statement, broken where it is too long."""
    pad = " " * indent
    if len(pad) + len(statement) <= WIDTH:
        return [pad + statement]
    brackets = [b for b in _brackets(statement) if b[1] - b[0] > 1]
    if not brackets:
        return _split_string(statement, indent)
    start, end, commas = max(brackets, key=lambda b: b[1] - b[0])
    cuts = [start, *commas, end]
    items = [statement[a + 1 : b].strip() for a, b in itertools.pairwise(cuts)]
    items = [item for item in items if item]
    lines = lay_out(statement[: start + 1], indent)
    if _may_be_filled(items):
        lines += _filled(items, indent + 4)
    else:
        trailing = bool(commas) or not _is_single(statement, start)
        for number, item in enumerate(items):
            comma = "," if trailing or number < len(items) - 1 else ""
            lines += lay_out(item + comma, indent + 4)
    return lines + lay_out(statement[end:], indent)


def _brackets(statement: str) -> list[_Bracket]:
    """The outermost brackets, with the commas directly in each."""
    found: list[_Bracket] = []
    depth, start, commas, position = 0, 0, [], 0
    while position < len(statement):
        sign = statement[position]
        if sign in "\"'":
            position = _end_of_string(statement, position)
        elif sign in "([{":
            if depth == 0:
                start, commas = position, []
            depth += 1
        elif sign in ")]}" and depth:  # one that nothing opened ends the line before
            depth -= 1
            if depth == 0:
                found.append((start, position, commas))
        elif sign == "," and depth == 1:
            commas.append(position)
        position += 1
    return found


def _end_of_string(statement: str, position: int) -> int:
    """The position of the quote that ends the string which starts here."""
    quote = statement[position]
    position += 1
    while statement[position] != quote:
        position += 2 if statement[position] == "\\" else 1
    return position


def _is_single(statement: str, start: int) -> bool:
    """Whether a comma behind what is in a bracket would change its meaning: a group, a subscript."""
    before = statement[start - 1] if start else " "
    called = before.isalnum() or before in "_)]}\"'"
    return called if statement[start] == "[" else statement[start] == "(" and not called


_SHORT = re.compile(r"[\w.\"'/ +-]{1,24}|\([\w., ]{1,24}\)")


def _may_be_filled(items: list[str]) -> bool:
    """Whether there are many short items, of which several stand in one line."""
    return len(items) > 4 and all(
        _SHORT.fullmatch(item) or (item[0] in "\"'" and len(item) < 50) for item in items
    )


def _filled(items: list[str], indent: int) -> list[str]:
    lines = [" " * indent]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > WIDTH and lines[-1].strip():
            lines.append(" " * indent)
        lines[-1] += ("" if not lines[-1].strip() else " ") + item + ","
    return lines


_PIECE = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)


def _split_string(statement: str, indent: int) -> list[str]:
    """Breaks the longest string of a statement into pieces that Python puts together again."""
    strings = []
    position = 0
    while position < len(statement):
        if statement[position] in "\"'":
            end = _end_of_string(statement, position)
            strings.append((position, end))
            position = end
        position += 1
    if not strings or max(b - a for a, b in strings) < 20:
        return [" " * indent + statement]
    start, end = max(strings, key=lambda pair: pair[1] - pair[0])
    quote, inner = statement[start], " " * (indent + 4)
    pieces = [""]
    for found in _PIECE.findall(statement[start + 1 : end]):
        if len(inner) + len(pieces[-1]) + len(found) + 2 > WIDTH:
            pieces.append("")
        pieces[-1] += found
    return [
        " " * indent + statement[:start] + "(",
        *(f"{inner}{quote}{piece}{quote}" for piece in pieces),
        " " * indent + ")" + statement[end + 1 :],
    ]
