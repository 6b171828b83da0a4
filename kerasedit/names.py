"""Names of layers: which are Keras's automatic ones, and which are free."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from .errors import EditError, NameTaken


def snake_case(class_name: str) -> str:
    """The automatic name of a class, as Keras makes it: `Conv2D` gives `conv2d`."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def is_automatic(name: str, class_name: str) -> bool:
    """Whether Keras would give this name by itself: the class in snake case, maybe numbered."""
    return re.fullmatch(re.escape(snake_case(class_name)) + r"(_\d+)?", name) is not None


def free_name(name: str, class_name: str, taken: Container[str]) -> str:
    """The name for a new layer: its own, or the next free number where Keras chose it.

    Raises:
        NameTaken: a name that someone chose belongs to another layer.
    """
    if name not in taken:
        return name
    if not is_automatic(name, class_name):
        raise NameTaken(
            f"The name '{name}' belongs to another layer here. Give the new {class_name} another "
            "name, or none at all to get a free one."
        )
    stem, number = snake_case(class_name), 1
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def numbered(name: str, taken: Container[str]) -> str:
    """A name after another one that is free: `conv`, `conv_1`, `conv_2`."""
    stem, number = re.sub(r"_\d+$", "", name), 1
    candidate = name
    while candidate in taken:
        candidate = f"{stem}_{number}"
        number += 1
    return candidate


def shortened(path: str, limit: int) -> str:
    """`path` without its middle where it is too long: what tells it apart is at its ends."""
    if len(path) <= limit:
        return path
    head = (limit - 1) // 3
    return f"{path[:head]}…{path[head + 1 - limit :]}"


def cut(text: str, limit: int = 200) -> str:
    """The begin of a text that is too long, by default for a name."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in a sentence, the first few where they are many."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def visible(text: str) -> str:
    """`text` with control characters told, so that none reaches a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def check_layer_name(name: object) -> str:
    """A name that Keras accepts for a layer.

    Raises:
        EditError: it is empty, no text, has a slash (which separates the levels of a path), or half
            of a surrogate pair (which no file and no message can hold).
    """
    if not isinstance(name, str) or not name.strip():
        raise EditError(f"A layer's name must be a text that is not empty, not {name!r}.")
    if "/" in name:
        raise EditError(f"A layer's name cannot have a '/', which separates levels: {name!r}.")
    if any("\ud800" <= sign <= "\udfff" for sign in name):
        raise EditError(f"A layer's name cannot have half of a surrogate pair: {name!r}.")
    return name
