"""From two models to what differs between them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any, Literal

import keras

from ..editor import Editor
from ..graph.model_graph import Call, Entry, LayerId, LayerSpec, ModelGraph, Ref
from ..names import is_automatic
from ..views import count_params, count_trainable, weights_under
from .config import ConfigChange, changes, config_of
from .match import Label, Matching, Wiring, class_name, class_of, leaves
from .result import (
    Added,
    Compared,
    Diff,
    FlagChange,
    Item,
    Reconfigured,
    Removed,
    Renamed,
    Replaced,
    Rewired,
    WeightChange,
)
from .sides import Side, side_of, source_side
from .values import digest, file_changes, holds_values, weight_changes

Leaves = list[tuple[Label, Any]]
Comparable = Editor | keras.Model | str | os.PathLike[str]


def diff(
    a: Comparable,
    b: Comparable,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> Diff:
    """What differs between two models.

    Args:
        a, b: each an editor (its edited model), a built Keras model, or the path of a `.keras` or
            `.h5` file. Nothing is built or changed to find out.
        custom_objects, safe_mode: for files, as in `Editor`.

    Raises:
        EditError: one of them is neither.
        ModelFileError: a file cannot be read.
        StructureError: a model is not built.
    """
    with _sides(a, b, custom_objects=custom_objects, safe_mode=safe_mode) as sides:
        return compare(*sides)


def compare(a: Side, b: Side) -> Diff:
    """What differs between two sides."""
    return _Comparison(a, b).diff()


@dataclass(frozen=True)
class Line:
    """A layer of one model beside its like of the other; None where that has none.

    Attributes:
        items: what differs between the two. Of a layer that only one model has, it is told of the
            outermost.
    """

    a: Entry | None
    b: Entry | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class SideBySide:
    """Two models layer by layer, each in its data order.

    A layer that stands elsewhere in the other model has a line of its own on each side.
    """

    a: ModelGraph
    b: ModelGraph
    diff: Diff
    lines: tuple[Line, ...]


def side_by_side(a: Comparable, b: Comparable) -> SideBySide:
    """Two models in step; takes and raises what `diff` does."""
    with _sides(a, b) as (left, right):
        found = _Comparison(left, right)
        told = found.diff()
        return SideBySide(left.graph, right.graph, told, tuple(found.lines(told)))


@contextlib.contextmanager
def _sides(a: Comparable, b: Comparable, **options: Any) -> Iterator[tuple[Side, Side]]:
    """Both as they are now; editors hold still meanwhile."""
    editors = {id(item): item for item in (a, b) if isinstance(item, Editor)}
    with contextlib.ExitStack() as held:
        for _, editor in sorted(editors.items()):  # in one order, so that nobody waits for ever
            held.enter_context(editor.lock)

        def side(this: Comparable, other: Comparable) -> Side:
            if isinstance(other, Editor) and this is other.source:
                return source_side(other)  # whose layers the editor knows by identity
            return side_of(this, **options)

        yield side(a, b), side(b, a)


class _Comparison:
    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b
        self.wiring_a, self.wiring_b = Wiring(a.graph), Wiring(b.graph)
        self.match = Matching(
            self.wiring_a, self.wiring_b, (partial(digest, a), partial(digest, b))
        )
        self.owners_a, self.owners_b = _owners(a), _owners(b)

    def diff(self) -> Diff:
        replaced, renamed, reconfigured, rewired, weights, flags = [], [], [], [], [], []
        for left, right in self._pairs():
            exchanged = self._exchanged(left, right)
            if exchanged:
                replaced.append(self._replaced(left, right))
            else:
                renamed += self._renamed(left, right)
            found, changed = self._inside(left, right)
            if found:
                reconfigured.append(Reconfigured(self._path_b(right.id), tuple(found)))
            weights += changed
            rewired += self._rewired(left, right)
            flags += self._flags(left, right)
        return Diff(
            _compared(self.a),
            _compared(self.b),
            tuple(Added(*one) for one in _alone(self.b, self.wiring_b, self.match.layers_back)),
            tuple(Removed(*one) for one in _alone(self.a, self.wiring_a, self.match.layers)),
            tuple(replaced),
            tuple(renamed),
            tuple(reconfigured),
            tuple(rewired),
            tuple(weights),
            tuple(flags),
        )

    def lines(self, told: Diff) -> Iterator[Line]:
        """The layers of both in step; `told` is what differs."""
        left, right = self.a.graph.entries, self.b.graph.entries
        items = [item for _, group in told.groups for item in group]
        before = _by_layer([i for i in items if isinstance(i, Removed)], left)
        after = _by_layer([i for i in items if not isinstance(i, Removed)], right)
        names = [self.match.layers.get(entry.layer) for entry in left]
        blocks = SequenceMatcher(None, names, [e.layer for e in right], autojunk=False)
        for tag, i, i_end, j, j_end in blocks.get_opcodes():
            if tag == "equal":
                for one, other in zip(left[i:i_end], right[j:j_end], strict=True):
                    yield Line(one, other, after[other.path])
                continue
            yield from (Line(entry, None, before[entry.path]) for entry in left[i:i_end])
            yield from (Line(None, entry, after[entry.path]) for entry in right[j:j_end])

    def _pairs(self) -> Iterator[tuple[LayerSpec, LayerSpec]]:
        """The layers that match, the models themselves first, then in the data order of `b`."""
        for right in self.wiring_b.calls_of:
            left = self.match.layers_back.get(right)
            if left is not None:
                yield self.a.graph.layers[left], self.b.graph.layers[right]

    def _path_b(self, layer: LayerId) -> str:
        return self.b.graph.paths.get(layer, "")

    # -- layers ----------------------------------------------------------------------------------

    def _exchanged(self, a: LayerSpec, b: LayerSpec) -> bool:
        """Whether another layer stands there now, not the same one with changes."""
        if a.net is not None and b.net is not None:
            return False
        if class_of(a) != class_of(b):
            return True
        if a.id == b.id or a.name == b.name:
            return False
        return any(changes(config_of(a), config_of(b)))

    def _replaced(self, a: LayerSpec, b: LayerSpec) -> Replaced:
        return Replaced(self._path_b(b.id), self.a.graph.paths[a.id], class_name(a), class_name(b))

    def _renamed(self, a: LayerSpec, b: LayerSpec) -> Iterator[Renamed]:
        """Another name, or another model around it. Of no consequence are the names of raw ops, and of
        inputs that Keras has named."""
        if b.id == self.b.graph.root or b.kind == "op":
            return
        if b.kind == "input" and all(is_automatic(s.name, s.cls.__name__) for s in (a, b)):
            return
        moved = self.match.layers.get(self.owners_a[a.id]) != self.owners_b[b.id]
        if a.name != b.name or moved:
            yield Renamed(self._path_b(b.id), self.a.graph.paths[a.id])

    # -- configuration and weights ---------------------------------------------------------------

    def _inside(self, a: LayerSpec, b: LayerSpec) -> tuple[list[ConfigChange], list[WeightChange]]:
        """The changes in the configuration and in the weights of a layer."""
        same = class_of(a) == class_of(b)
        models = a.net is not None and b.net is not None
        found = list(changes(config_of(a), config_of(b))) if same or models else []
        if models and not same:
            found.append(ConfigChange("class", class_name(a), class_name(b)))
        if not (holds_values(a) and holds_values(b)):
            return found, []
        states = self.a.state(a.id), self.b.state(b.id)
        if same and states[0] is not None and states[1] is not None:
            found += file_changes(states[0], states[1])
        old, new = list(self.a.weights(a.id)), list(self.b.weights(b.id))
        weights = list(weight_changes(self._path_b(b.id), states, old, new))
        if not same:  # another class may give its weights other shapes and a meaning of their own
            weights = [w for w in weights if w.shape_before == w.shape_after]
        return found, weights

    # -- wiring ----------------------------------------------------------------------------------

    def _rewired(self, a: LayerSpec, b: LayerSpec) -> Iterator[Rewired]:
        if a.kind == "input" or b.kind == "input":
            return
        path = self._path_b(b.id)
        if a.net is not None and b.net is not None and not (a.net.opaque or b.net.opaque):
            yield from self._ports(path, "inputs", a.net.inputs, b.net.inputs)
            yield from self._ports(path, "outputs", a.net.outputs, b.net.outputs)
        for left, right in self._calls(a.id, b.id):
            before = None if left is None else self.wiring_a.takes(left)
            after = None if right is None else self.wiring_b.takes(right)
            if before is None or after is None or not self.match.same_leaves(before, after):
                number = _number(self.wiring_b, right) if right else _number(self.wiring_a, left)
                yield Rewired(path, "call", number, *self._told(before, after))

    def _ports(
        self, path: str, what: Literal["inputs", "outputs"], before: Any, after: Any
    ) -> Iterator[Rewired]:
        """What enters or leaves a model."""
        old, new = list(leaves(before)), list(leaves(after))
        if what == "inputs" and len(old) == len(new) == 1:
            old, new = [((), old[0][1])], [((), new[0][1])]  # a list of one is fed as the one is
        if not self.match.same_leaves(old, new):
            yield Rewired(path, what, None, *self._told(old, new))

    def _told(
        self, before: Leaves | None, after: Leaves | None
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """What is taken on both sides in words, with all keys where only they tell a difference."""
        short, whole = (
            (
                None if before is None else _words(self.wiring_a, before, full),
                None if after is None else _words(self.wiring_b, after, full),
            )
            for full in (False, True)
        )
        return short if short[0] != short[1] or whole[0] == whole[1] else whole

    def _calls(self, a: LayerId, b: LayerId) -> Iterator[tuple[Call | None, Call | None]]:
        """The calls of a layer that match, and those that only one side has."""
        for right in self.wiring_b.calls_of[b]:
            left = self.match.calls_back.get(right.id)
            yield (None if left is None else self.wiring_a.calls[left]), right
        for left in self.wiring_a.calls_of[a]:
            if left.id not in self.match.calls:
                yield left, None

    # -- flags -----------------------------------------------------------------------------------

    def _flags(self, a: LayerSpec, b: LayerSpec) -> Iterator[FlagChange]:
        """A flag means nothing where there is nothing to train; that of a model is its layers'."""
        before = self.a.graph.effective_flags.get(a.id, True)
        after = self.b.graph.effective_flags.get(b.id, True)
        if before != after and any(self.a.weights(a.id)) and any(self.b.weights(b.id)):
            yield FlagChange(self._path_b(b.id), before, after)


def _alone(
    side: Side, wiring: Wiring, known: Mapping[LayerId, LayerId]
) -> Iterator[tuple[str, str, int, tuple[str, ...]]]:
    """The layers without a match; what is inside of one is told with it."""
    told: set[LayerId] = set()
    for entry in side.graph.entries:
        layer = entry.layer
        if layer in known or layer in told or entry.owner not in known:
            continue
        told.add(layer)
        own = [w for owner, w in weights_under(side.graph, layer) if owner not in known]
        params = sum(math.prod(weight.shape) for weight in own)
        takes = _words(wiring, wiring.takes(wiring.calls_of[layer][0]))
        yield entry.path, class_name(side.graph.layers[layer]), params, takes


def _by_layer(items: Sequence[Item], entries: Sequence[Entry]) -> dict[str, tuple[Item, ...]]:
    """For each layer what differs, that of its weights with it."""
    found: dict[str, tuple[Item, ...]] = {entry.path: () for entry in entries}
    for item in items:
        path = item.path
        while path and path not in found:
            path = path.rpartition("/")[0]
        if path:
            found[path] += (item,)
    return found


def _owners(side: Side) -> dict[LayerId, LayerId]:
    """The model in which each layer stands first."""
    return {entry.layer: entry.owner for entry in reversed(side.graph.entries)}


def _compared(side: Side) -> Compared:
    graph = side.graph
    return Compared(
        side.title,
        class_name(graph.layers[graph.root]),
        count_params(graph, graph.root),
        count_trainable(graph),
    )


# -- wiring in words -----------------------------------------------------------------------------


def _words(wiring: Wiring, taken: Leaves, full: bool = False) -> tuple[str, ...]:
    """Tensors by what makes them, constants by their values, both behind the name they go by.

    With `full`, their positions are told too.
    """
    words = []
    for label, leaf in taken:
        name = ".".join(str(part) for part in label if full or isinstance(part, str))
        text = _maker(wiring, leaf) if isinstance(leaf, Ref) else _constant(leaf)
        words.append(f"{name}={text}" if name else text)
    return tuple(words)


def _maker(wiring: Wiring, ref: Ref) -> str:
    """The path of the layer that makes a tensor; which of its outputs and calls, if it has several."""
    graph, call = wiring.graph, wiring.calls[ref.call]
    owner = graph.paths.get(wiring.owner[call.id])
    name = graph.layers[call.layer].name
    path = name if owner is None else f"{owner}/{name}"
    if len(call.outputs or ()) > 1:
        path += f"[{ref.index}]"
    number = _number(wiring, call)
    return path if number is None else f"{path} (call {number})"


def _number(wiring: Wiring, call: Call | None) -> int | None:
    """Which call of its layer in its network this is; None where it is the only one."""
    if call is None:
        return None
    calls = wiring.graph.net_of(wiring.owner[call.id]).calls_of[call.layer]
    return calls.index(call) if len(calls) > 1 else None


def _constant(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array{tuple(value.shape)}"
    if isinstance(value, slice):
        parts = [value.start, value.stop, *([value.step] if value.step is not None else [])]
        return ":".join("" if part is None else str(part) for part in parts)
    return repr(value)
