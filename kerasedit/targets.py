"""How a target names layers: paths, patterns, indexes, classes, predicates, lists of these.

As data a target is a text, a whole number, `{"class_name": ...}` or a list of these; `as_data` turns
what else a user may give (layer objects, classes, predicates) into that.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from numbers import Integral
from typing import Any

from .errors import TargetError
from .graph.model_graph import Entry, LayerId, ModelGraph
from .names import listed

Target = Any  # str | int | {"class_name": str} | sequence of these, once it is data


def as_data(
    target: Any,
    graph: ModelGraph,
    identify: Callable[[Any], LayerId | None],
    view: Callable[[Entry], Any],
) -> Target:
    """A target as data.

    Args:
        target: what the user gave.
        identify: the identity of a live layer object; None if it is no layer of the editor.
        view: the `LayerView` that a predicate is asked about.

    Raises:
        TargetError: it is nothing that can name layers, or a layer object of another model.
    """
    import keras

    if isinstance(target, bool) or target is None:
        raise TargetError(
            f"{target!r} names no layer. Give a path, a pattern, an index or a layer."
        )
    if isinstance(target, str):
        return target
    if isinstance(target, Integral):
        return int(target)  # one of NumPy's is no data
    if isinstance(target, Mapping):
        if not is_pattern(target):
            raise TargetError(f"{target!r:.80} names no layer.")
        return dict(target)
    if isinstance(target, keras.Layer):
        layer_id = identify(target)
        if layer_id is None or layer_id not in graph.paths:
            raise TargetError(
                f"The layer object '{target.name}' belongs neither to the source nor to the copy."
            )
        return graph.paths[layer_id]
    if isinstance(target, type):
        return {"class_name": target.__name__, "module": module_of(target)}
    if isinstance(target, (list, tuple, set, frozenset)):
        return tuple(as_data(item, graph, identify, view) for item in target)
    if hasattr(target, "path") and isinstance(target.path, str):
        return target.path
    if callable(target):
        return tuple(entry.path for entry in graph.entries if target(view(entry)))
    raise TargetError(f"{type(target).__name__} names no layer. Give a path, a pattern or a layer.")


def module_of(cls: type) -> str:
    """The module of a layer's class as data tells it: where Keras's own are is its own affair."""
    import keras

    own = getattr(keras.layers, cls.__name__, None) is cls
    return "keras.layers" if own else cls.__module__


def is_pattern(value: Any) -> bool:
    """Whether a value is a target as data."""
    if isinstance(value, bool):
        return False
    if isinstance(value, (str, int)):
        return True
    if isinstance(value, Mapping):
        return set(value) in ({"class_name"}, {"class_name", "module"}) and all(
            isinstance(v, str) for v in value.values()
        )
    return isinstance(value, (list, tuple)) and all(map(is_pattern, value))


def is_many(target: Target) -> bool:
    """Whether a target may name several layers: then what does not apply is passed over."""
    return not isinstance(target, (str, int)) or (isinstance(target, str) and is_glob(target))


def is_glob(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def select(graph: ModelGraph, target: Target) -> list[Entry]:
    """The layers that a target names, each place once, in data order.

    Raises:
        TargetError: an unknown name (with the nearest ones), an index out of range, a pattern that
            matches nothing.
    """
    found = set(_select(graph, target))
    if len(found) == 1:
        return list(found)
    return [entry for entry in graph.entries if entry in found]


def select_weights(graph: ModelGraph, target: Target) -> list[tuple[Entry, int]]:
    """The weights that a target names: all of the layers it names, those inside a nested model
    included, or one as `"dense/kernel"`. Each is a place and a position in `layer.variables`.

    Raises:
        TargetError: it names neither a layer nor a weight.
    """
    if isinstance(target, (list, tuple)) and target:
        return list(dict.fromkeys(place for t in target for place in select_weights(graph, t)))
    every = [
        (f"{entry.path}/{variable.name}", (entry, index))
        for entry in graph.entries
        for index, variable in enumerate(graph.layers[entry.layer].variables or ())
        if variable.weight
    ]
    if isinstance(target, str) and target not in graph.by_path:
        named = [place for path, place in every if path == target]
        if not named and is_glob(target) and not _matching(graph, target):
            pattern = _compile(target)
            named = [place for path, place in every if pattern.fullmatch(path)]
        if named:
            return named
        layer, _, name = target.rpartition("/")
        if not is_glob(target) and layer in graph.by_path:
            here = [path.removeprefix(f"{layer}/") for path, (e, _) in every if e.path == layer]
            there = ", ".join(f"'{weight}'" for weight in here) or "none"
            raise TargetError(f"The layer '{layer}' has no weight '{name}'. It has {there}.")
    paths = {entry.path for entry in select(graph, target)}
    # A nested model has no weights of its own: what is inside it is meant.
    return [place for _, place in every if not paths.isdisjoint(_and_around(place[0].path))]


def _and_around(path: str) -> list[str]:
    """A path and those of the models around it."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _matching(graph: ModelGraph, pattern: str) -> list[Entry]:
    compiled = _compile(pattern)
    return [entry for entry in graph.entries if compiled.fullmatch(entry.path)]


def _select(graph: ModelGraph, target: Target) -> list[Entry]:
    if isinstance(target, str):
        return _by_name(graph, target)
    if isinstance(target, int):
        return [_by_index(graph, target)]
    if isinstance(target, Mapping):
        found = [e for e in graph.entries if _is_class(graph.layers[e.layer].cls, target)]
        if not found:
            raise TargetError(f"The model has no layer of class {target['class_name']}.")
        return found
    if not target:
        raise TargetError("The target names no layer: the list or predicate is empty.")
    return [entry for item in target for entry in _select(graph, item)]


def _is_class(cls: type, wanted: Mapping[str, str]) -> bool:
    return any(
        base.__name__ == wanted["class_name"]
        and ("module" not in wanted or wanted["module"] in (base.__module__, module_of(base)))
        for base in cls.__mro__
    )


def _by_name(graph: ModelGraph, name: str) -> list[Entry]:
    exact = graph.by_path.get(name)
    if exact is not None:
        return [exact]
    if is_glob(name):
        found = _matching(graph, name)
        if found:
            return found
        raise TargetError(f"No layer matches the pattern '{name}'.")
    raise TargetError(f"There is no layer '{name}'.{_nearest(graph, name)}")


def _nearest(graph: ModelGraph, name: str) -> str:
    paths = list(graph.by_path)
    near = difflib.get_close_matches(name, paths, n=3, cutoff=0.5)
    leaf = name.rsplit("/", 1)[-1]
    near += [p for p in paths if p.rsplit("/", 1)[-1] == leaf and p not in near][:3]
    if near:
        return " Did you mean " + ", ".join(f"'{p}'" for p in near) + "?"
    return f" The model's layers are {listed(paths)}."


def _by_index(graph: ModelGraph, index: int) -> Entry:
    entries = graph.entries
    if not -len(entries) <= index < len(entries):
        raise TargetError(f"There is no layer {index}: the model has {len(entries)}.")
    return entries[index]


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    """A glob over paths: `*` and `?` stay within one level, `**` crosses levels."""
    tokens: list[str] = []  # wildcards, and expressions for what is between them
    position = 0
    while position < len(pattern):
        sign = pattern[position]
        if pattern.startswith("**", position):
            whole = pattern.startswith("**/", position) and pattern[:position][-1:] in ("", "/")
            found = "**/" if whole else "**"
            if tokens[-1:] != [found]:
                tokens += [found]
            position += len(found) - 1
        elif sign == "*":
            tokens.append(sign)
        elif sign == "?":
            tokens.append("[^/]")
        elif sign == "[" and (end := pattern.find("]", position + 2)) > 0:
            body = re.sub(r"([\\\[&|~])", r"\\\1", pattern[position + 1 : end])
            # What is left out has "/" too; a "-" behind that would be a range from it.
            body = "^/" + re.sub("^-", r"\\-", body[1:]) if body[0] == "!" else body
            tokens.append(f"[{body}]")
            position = end
        else:
            tokens.append(re.escape(sign))
        position += 1
    try:
        return re.compile(_expression(tokens), re.DOTALL)
    except re.error as problem:
        raise TargetError(f"'{pattern}' is no pattern: {problem}.") from problem


def _expression(tokens: list[str]) -> str:
    """The regular expression of a glob's tokens, made so that it does not try for ever.

    Where another `**` follows, the first place at which what is between them fits is as good as any.
    """
    crossing = [i for i, token in enumerate(tokens) if token in _LEADS]
    parts = [_in_level(tokens[: crossing[0]] if crossing else tokens, bool(crossing))]
    for start, end in itertools.pairwise([*crossing, len(tokens)]):
        followed = end < len(tokens)
        found = _LEADS[tokens[start]] + _in_level(tokens[start + 1 : end], followed)
        parts.append(f"(?>{found})" if followed else found)
    return "".join(parts)


_LEADS = {"**": ".*?", "**/": "(?:.*?/)??"}


def _in_level(tokens: list[str], followed: bool) -> str:
    """The expression of tokens without `**`. Here the same is true of `*`."""
    stars = [i for i, token in enumerate(tokens) if token == "*"]
    parts = tokens[: stars[0]] if stars else list(tokens)
    for start, end in itertools.pairwise([*stars, len(tokens)]):
        found = "[^/]*?" + "".join(tokens[start + 1 : end])
        parts.append(f"(?>{found})" if followed or end < len(tokens) else found)
    return "".join(parts)


def target_code(target: Target) -> str:
    """Python for a target."""
    if isinstance(target, Mapping):
        ours = target.get("module", "keras.").startswith("keras.")
        return f"layers.{target['class_name']}" if ours else target["class_name"]
    if isinstance(target, (list, tuple)):
        return "[" + ", ".join(target_code(item) for item in target) + "]"
    return repr(target)


def target_text(target: Target) -> str:
    """A target in words."""
    if isinstance(target, Mapping):
        return f"every {target['class_name']}"
    if isinstance(target, (list, tuple)):
        shown = [target_text(item) for item in target[:3]]
        more = len(target) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"'{target}'" if isinstance(target, str) else f"layer {target}"
