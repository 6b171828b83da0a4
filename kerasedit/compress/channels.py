"""Following channels through a model: which positions of which axes are one and the same channel.

Every axis of a tensor or a weight has a label. An array has an atom for each position; positions of
one atom go or stay together, wherever they are. A text says why nothing of the axis can go. Layers
make labels from labels (see `rules.py`): a convolution makes new atoms, a flattening repeats them, a
merge ties those of one tensor to those of another. In the end, atoms that are tied are one channel.

Neighbours of one atom are a run: what a layer makes of one position, as a depthwise convolution with
a multiplier does. A copy of the channel is a copy of the run, behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..errors import StructureError
from ..graph.model_graph import (
    Call,
    LayerId,
    LayerSpec,
    ModelGraph,
    Place,
    Ref,
    TensorSpec,
    iter_refs,
)

Label = np.ndarray | str
Labels = tuple[Label, ...]
Role = Literal["makes", "has", "takes", "ties", "joins", "passes"]
Count = Callable[[np.ndarray], int]
"""How many positions of an axis are left."""

BATCH = "it is tied to the batch"


class Unknown(Exception):
    """A layer of which it is not known what it does with channels; says why."""


@dataclass(frozen=True)
class Mention:
    """What a layer does with some atoms: makes them, has a weight for each, takes them, or more."""

    layer: LayerId
    role: Role
    atoms: np.ndarray


@dataclass(frozen=True)
class Axis:
    """An axis of a weight: what it is labelled, and what its layer does with it."""

    label: Label
    role: Role


@dataclass(frozen=True)
class Taken:
    """A tensor that a layer has weights for: in which network it is, and the axis of its channels."""

    owner: LayerId
    ref: Ref
    axis: int
    label: np.ndarray


@dataclass(frozen=True)
class Setting:
    """An argument of a layer that counts channels: the axes that it counts, and what it becomes."""

    labels: Labels
    make: Callable[[Count], Any]


class Tracker:
    """What is known of the channels of a graph.

    Args:
        graph: of a model.
        outputs: whether channels that reach an output of the model may go.

    Attributes:
        axes: of each weight (a layer and a position among its variables), its axes.
        makers: the channels that a layer makes, by the layer: what a user numbers them by.
        settings: arguments of layers that count channels, and what they become.
        mentions: which layers have to do with which atoms.
        taken: the tensors that layers with weights for their channels take.
        tensors: the axes of each tensor.
        mixes: atoms that a layer reckons with together, such as those that it normalises over.
        limits: atoms that there cannot be more of, and why.
        ties: pairs of labels whose atoms are the same, position by position.
    """

    def __init__(self, graph: ModelGraph, outputs: bool = False) -> None:
        self.graph = graph
        self.outputs = outputs
        self.axes: dict[tuple[LayerId, int], tuple[Axis, ...]] = {}
        self.makers: dict[LayerId, np.ndarray] = {}
        self.parts: dict[tuple[LayerId, str], np.ndarray] = {}
        self.settings: dict[tuple[LayerId, Place], Setting] = {}
        self.tensors: dict[Ref, Labels] = {}
        self.mentions: list[Mention] = []
        self.mixes: list[tuple[LayerId, np.ndarray]] = []
        self.limits: list[tuple[np.ndarray, str]] = []
        self.taken: list[Taken] = []
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self._size = 0
        self._stops: list[tuple[np.ndarray, str]] = []
        self._sums: list[tuple[LayerId, np.ndarray, str]] = []
        self._ends: list[np.ndarray] = []
        nets = [spec.net for spec in graph.layers.values() if spec.net is not None]
        self._outputs = {call.id: call.outputs or () for net in nets for call in net.calls}
        self._given = {ref for net in nets for call in net.calls for ref in call.variables}

    # -- atoms -----------------------------------------------------------------------------------

    def fresh(self, size: int) -> np.ndarray:
        """New atoms."""
        self._size += size
        return np.arange(self._size - size, self._size)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Makes atoms one, position by position."""
        if a is not b:
            self.ties.append((a.reshape(-1), b.reshape(-1)))

    def beside(self, labels: Sequence[np.ndarray]) -> np.ndarray:
        """Labels one behind the other; a run ends where a label does."""
        found: list[np.ndarray] = []
        for label in labels:
            if found and len(label) and len(found[-1]) and found[-1][-1] == label[0]:
                _, places = np.unique(label, return_inverse=True)
                other = self.fresh(int(places.max()) + 1)[places]
                self.tie(other, label)
                label = other
            found.append(label)
        return np.concatenate(found)

    def tiled(self, label: np.ndarray, times: int) -> np.ndarray:
        """A label several times, one behind the other."""
        meets = len(label) > 0 and label[0] == label[-1]
        return self.beside([label] * times) if meets else np.tile(label, times)

    def stop(self, label: Label, why: str) -> None:
        """Notes that nothing of an axis can go, unless that is known already."""
        if not isinstance(label, str):
            self._stops.append((label, why))

    def stop_within(self, layer: LayerId, label: Label, why: str) -> None:
        """Notes that nothing of an axis can go inside a model, as a layer makes shares of all of it.

        At an output, the shares are of what is left.
        """
        if not isinstance(label, str):
            self._sums.append((layer, label, why))

    def limit(self, label: Label, why: str) -> None:
        """Notes that there cannot be more of an axis."""
        if not isinstance(label, str):
            self.limits.append((label, why))

    def join(self, a: Label, b: Label) -> Label:
        """The label of two axes whose positions belong together."""
        if isinstance(a, str):
            self.stop(b, a)
            return b
        if isinstance(b, str):
            self.stop(a, b)
        elif len(a) != len(b):
            raise Unknown("joins axes of different sizes")
        else:
            self.tie(a, b)
        return a

    def positions(self, label: Label, size: int) -> np.ndarray:
        """A label as atoms, those of a fixed axis being stopped."""
        if not isinstance(label, str):
            return label
        atoms = self.fresh(size)
        self.stop(atoms, label)
        return atoms

    def channels(self) -> tuple[np.ndarray, dict[int, str]]:
        """The channel of every atom (the number of one of its atoms), and why channels have to stay."""
        channel = _united(self._size, self.ties)
        reasons: dict[int, str] = {}
        ends = np.unique(channel[np.concatenate([*self._ends, np.zeros(0, int)])])
        for layer, atoms, why in self._sums:
            if self.outputs and np.isin(channel[atoms], ends).all():
                self.mixes.append((layer, atoms))
            else:
                self._stops.append((atoms, why))
        for atoms, why in self._stops:
            for number in np.unique(channel[atoms]).tolist():
                reasons.setdefault(number, why)
        return channel, reasons

    def stop_layer(self, layer: LayerId, why: str) -> None:
        """Stops all that is known of a layer, and of those inside it."""
        spec = self.graph.layers[layer]
        for index in range(len(spec.variables or ())):
            for axis in self.axes.get((layer, index), ()):
                self.stop(axis.label, why)
        for (owner, _), atoms in self.parts.items():
            if owner == layer:
                self.stop(atoms, why)
        for inner in spec.net.calls_of if spec.net is not None else ():
            self.stop_layer(inner, why)

    # -- networks --------------------------------------------------------------------------------

    def follow(self) -> Tracker:
        """Goes through the whole model."""
        root = self.graph.root
        names = self.graph.net_of(root).output_names
        for index, labels in enumerate(self._network(root, "", None)):
            name = names[index] if index < len(names) else str(index)
            for label in labels:
                if not isinstance(label, str):
                    self._ends.append(label)
                if not self.outputs:
                    self.stop(label, f"it reaches the output '{name}' of the model")
        for ref in self._given:
            for axis in self.axes.get((ref.layer, ref.index), ()):
                self.stop(axis.label, "a call takes the weights themselves")
        return self

    def shape(self, ref: Ref) -> tuple[int | None, ...]:
        """The shape of a tensor."""
        return self._outputs[ref.call][ref.index].shape

    def sets(
        self, layer: LayerId, place: Place, labels: Labels, make: Callable[[Count], Any]
    ) -> None:
        """Notes an argument that counts channels: where it stands in a layer's configuration.

        What it counts at one call of the layer it counts at another one too.
        """
        known = self.settings.setdefault((layer, place), Setting(labels, make))
        if len(known.labels) != len(labels):
            raise Unknown("it is called on tensors of different ranks")
        for before, label in zip(known.labels, labels, strict=True):
            self.join(before, label)

    def _network(self, owner: LayerId, prefix: str, given: Sequence[Labels] | None) -> list[Labels]:
        """The labels of what a network puts out.

        Args:
            given: those of what a nested one is called with.

        Raises:
            StructureError: its wiring is Python code.
        """
        net = self.graph.net_of(owner)
        if net.opaque:
            raise StructureError(
                f"The model '{self.graph.layers[owner].name}' is a subclassed model: its call is "
                "Python code, so it is not known how channels go through it."
            )
        known: dict[Ref, Labels] = {}
        entries = dict(zip(net.input_refs, given or (), strict=False))
        for call in net.calls:
            spec = self.graph.layers[call.layer]
            first = Ref(call.id)
            if first in entries:
                found = [entries[first]]
                self._open(spec, entries[first])
            else:
                found = self._call(owner, call, prefix + spec.name, known)
            known |= {Ref(call.id, i): labels for i, labels in enumerate(found)}
        self.tensors |= known
        return [known[ref] for ref in net.output_refs]

    def _open(self, spec: LayerSpec, labels: Labels) -> None:
        """An input of a nested model takes what is left of the axes that it is given."""
        shape = tuple((spec.config or {}).get("batch_shape") or ())
        if len(shape) != len(labels):
            raise Unknown("it is given a tensor of another rank than it was made for")

        def make(count: Count) -> Any:
            pairs = zip(shape, labels, strict=True)
            return tuple(n if n is None or isinstance(x, str) else count(x) for n, x in pairs)

        self.sets(spec.id, ("batch_shape",), labels, make)

    def _call(
        self, owner: LayerId, call: Call, path: str, known: Mapping[Ref, Labels]
    ) -> list[Labels]:
        from .rules import rule_for  # the rules are written in terms of what is here

        spec = self.graph.layers[call.layer]
        outputs = call.outputs or ()
        if spec.kind == "input":
            why = f"it is tied to '{path}', an input of the model"
            return [(BATCH, *[why] * (len(out.shape) - 1)) for out in outputs]
        view = CallView(self, spec, call, path, known)
        try:
            if spec.net is not None:
                if spec.net.opaque:
                    raise Unknown("its call is Python code")
                found = self._network(spec.id, path + "/", view.labels)
            else:
                rule = rule_for(spec)
                if rule is None:
                    raise Unknown("it is not known what it does with channels")
                found = list(rule(view))
                view.check(found)
        except Unknown as problem:
            return view.stopped(str(problem), outputs)
        except (AssertionError, AttributeError, LookupError, TypeError, ValueError):
            return view.stopped("it is called in a way that is not known", outputs)
        if spec.net is None:
            self.mention(spec.id, view.labels, found)
            self._take(owner, view)
        return found

    def _take(self, owner: LayerId, view: CallView) -> None:
        """Notes the tensors that a layer has weights for."""
        own = [self.axes.get((view.spec.id, i), ()) for i in range(len(view.spec.variables or ()))]
        if any(axis.role == "takes" for axes in own for axis in axes):
            self.taken += [
                Taken(owner, ref, number, label)
                for ref, labels in zip(view.refs, view.labels, strict=True)
                for number, label in enumerate(labels)
                if not isinstance(label, str)
            ]

    def mention(self, layer: LayerId, inputs: Iterable[Labels], outputs: Iterable[Labels]) -> None:
        seen: set[int] = set()
        for labels in (*outputs, *inputs):
            for label in labels:
                if not isinstance(label, str) and id(label) not in seen:
                    seen.add(id(label))
                    self.mentions.append(Mention(layer, "passes", label))


@dataclass
class CallView:
    """A call as a rule sees it: its layer's configuration, what is known of what it takes.

    Attributes:
        refs, labels, shapes: of the tensors that it takes, masks aside.
        inner: of a layer inside a wrapper, where its configuration stands in that of the wrapper.
        under: what the names of its weights begin with.
    """

    tracker: Tracker
    spec: LayerSpec
    call: Call
    path: str
    known: Mapping[Ref, Labels]
    inner: tuple[int | str, ...] = ()
    under: str = ""
    refs: list[Ref] = field(init=False)
    labels: list[Labels] = field(init=False)
    shapes: list[tuple[int | None, ...]] = field(init=False)

    def __post_init__(self) -> None:
        is_mask = {k for k in self.call.kwargs if k == "mask" or k.endswith("_mask")}
        rest = {k: v for k, v in self.call.kwargs.items() if k not in is_mask}
        self.refs = list(iter_refs((self.call.args, rest)))
        self.labels = [self.known[ref] for ref in self.refs]
        self.shapes = [self.tracker.shape(ref) for ref in self.refs]
        for ref in iter_refs([self.call.kwargs[name] for name in is_mask]):
            self.stop_all(self.known[ref], f"'{self.path}' takes it as a mask")

    @property
    def config(self) -> Mapping[str, Any]:
        config: Any = self.spec.config or {}
        for key in self.inner:
            config = config[key]
        return config

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.call.outputs or ()

    def within(self, *keys: int | str, under: str = "") -> CallView:
        """The call as a layer inside the wrapper sees it."""
        found = replace(self, inner=(*self.inner, *keys), under=self.under + under)
        found.labels, found.shapes = self.labels, self.shapes
        return found

    def at_each(self, axis: int) -> CallView:
        """The call as a layer sees it that is called on each position of an axis."""

        def rest(shape: tuple[Any, ...]) -> tuple[Any, ...]:
            return shape[:axis] + shape[axis + 1 :]

        outputs = tuple(replace(out, shape=rest(out.shape)) for out in self.outputs)
        found = replace(self, call=replace(self.call, outputs=outputs))
        found.labels = [rest(labels) for labels in self.labels]
        found.shapes = [rest(shape) for shape in self.shapes]
        return found

    def argument(self, name: str, position: int) -> Any:
        """An argument of the call; None where it is not given."""
        if name in self.call.kwargs:
            return self.call.kwargs[name]
        return self.call.args[position] if position < len(self.call.args) else None

    def labels_of(self, ref: Ref) -> Labels:
        return self.known[ref]

    # -- what a rule says ------------------------------------------------------------------------

    def made(self, size: int, part: str = "") -> np.ndarray:
        """The atoms that the layer makes: the same at each of its calls."""
        key = (self.spec.id, self.under + part)
        if key not in self.tracker.parts:
            self.tracker.parts[key] = self.tracker.fresh(size)
        return self.tracker.parts[key]

    def owns(self, label: Label) -> None:
        """Notes the channels that a user names by the layer, in their order."""
        if not isinstance(label, str):
            self.tracker.makers.setdefault(self.spec.id, label)

    def weight(
        self, name: str, *labels: Label, makes: int | None = None, takes: int | Sequence[int] = ()
    ) -> None:
        """Labels the axes of a weight, where the layer has it.

        Args:
            name: its name, without those of layers around it.
            makes: the axis along which the layer makes channels.
            takes: the axis along which it takes them, summing up, or several.
        """
        index = self._find(name)
        if index is None:
            return
        variable = (self.spec.variables or ())[index]
        if len(labels) != len(variable.shape):
            raise Unknown(f"its weight '{variable.name}' has an unexpected shape")
        key = (self.spec.id, index)
        sums = (takes,) if isinstance(takes, int) else takes
        before = self.tracker.axes.get(key)
        axes: list[Axis] = []
        for number, (label, size) in enumerate(zip(labels, variable.shape, strict=True)):
            if not isinstance(label, str) and len(label) != size:
                raise Unknown(f"its weight '{variable.name}' has an unexpected shape")
            if variable.shared is not None:
                self.tracker.stop(label, f"'{self.path}' shares its weights with another layer")
            at = number - len(labels)
            role: Role = "makes" if at == makes else "takes" if at in sums else "has"
            if before is not None:
                label = self.tracker.join(before[number].label, label)
            axes.append(Axis(label, role))
            if before is None and not isinstance(label, str):
                self.tracker.mentions.append(Mention(self.spec.id, role, label))
        self.tracker.axes[key] = tuple(axes)

    def _find(self, name: str) -> int | None:
        found = [
            index
            for index, variable in enumerate(self.spec.variables or ())
            if variable.name.startswith(self.under) and f"/{variable.name}".endswith(f"/{name}")
        ]
        if len(found) > 1:
            raise Unknown(f"it has several weights '{name}'")
        return found[0] if found else None

    def sets(self, name: str, labels: Labels, make: Callable[[Count], Any]) -> None:
        """Notes an argument of the layer that counts the positions of axes."""
        self.tracker.sets(self.spec.id, (*self.inner, name), labels, make)

    def counts(self, name: str, label: Label) -> None:
        """Notes that an argument is the number of positions of an axis."""
        if not isinstance(label, str):
            self.sets(name, (label,), lambda count: count(label))

    def stop(self, label: Label, why: str) -> None:
        self.tracker.stop(label, why)

    def stop_all(self, labels: Iterable[Label], why: str) -> None:
        for label in labels:
            self.stop(label, why)

    def mention(self, role: Role, label: Label) -> None:
        """Notes what the layer does with channels beside having weights for them."""
        if not isinstance(label, str):
            self.tracker.mentions.append(Mention(self.spec.id, role, label))

    def mixes(self, label: Label) -> None:
        """Notes that the layer reckons with all positions of an axis together."""
        if not isinstance(label, str):
            self.tracker.mixes.append((self.spec.id, label))

    # -- what cannot be followed -----------------------------------------------------------------

    def check(self, found: Sequence[Labels]) -> None:
        """Raises where a rule does not tell all of a layer: then nothing of it is believed."""
        for index, variable in enumerate(self.spec.variables or ()):
            if variable.weight and (self.spec.id, index) not in self.tracker.axes:
                raise Unknown(f"it is not known what its weight '{variable.name}' is for")
        if len(found) != len(self.outputs):
            raise Unknown("it puts out another number of tensors than expected")
        for labels, out in zip(found, self.outputs, strict=True):
            sizes = [None if isinstance(label, str) else len(label) for label in labels]
            if len(labels) != len(out.shape) or any(
                size is not None and size != there
                for size, there in zip(sizes, out.shape, strict=True)
            ):
                raise Unknown("it puts out another shape than expected")

    def stopped(self, why: str, outputs: Sequence[TensorSpec]) -> list[Labels]:
        """Stops everything that a call takes; nothing of what it puts out can go either."""
        text = f"it stops at '{self.path}' ({self.spec.cls.__name__}): {why}"
        for labels in self.labels:
            self.stop_all(labels, text)
        self.tracker.stop_layer(self.spec.id, text)
        self.tracker.mention(self.spec.id, self.labels, ())
        return [(BATCH, *[text] * (len(out.shape) - 1)) for out in outputs]


def _united(size: int, ties: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """For each atom the least of those that ties lead to."""
    least = np.arange(size)
    if not ties:
        return least
    a = np.concatenate([pair[0] for pair in ties])
    b = np.concatenate([pair[1] for pair in ties])
    while True:
        left, right = least[a], least[b]
        apart = left != right
        if not apart.any():
            return least
        low, high = np.minimum(left, right)[apart], np.maximum(left, right)[apart]
        np.minimum.at(least, high, low)
        while True:
            further = least[least]
            if np.array_equal(further, least):
                break
            least = further


# -- labels of tensors that change their shape ---------------------------------------------------


def reshaped(
    view: CallView, labels: Labels, shape: Sequence[int | None], after: Sequence[int | None]
) -> Labels:
    """The labels of a tensor whose positions are arranged anew, in the same order.

    Where an axis is divided, its atoms are tied so that whole rows of the first part can go.
    """
    found: list[Label] = []
    for taken, given in _segments(shape, after):
        old = [labels[i] for i in taken if shape[i] != 1]
        sizes = [shape[i] for i in taken if shape[i] != 1]
        new = [after[i] for i in given]
        large = [number for number, size in enumerate(new) if size != 1]
        fixed = next(
            (x for x in old if isinstance(x, str)), f"it is tied to positions in '{view.path}'"
        )
        result: list[Label] = [fixed] * len(new)
        for i in taken:
            if shape[i] == 1:
                view.tracker.limit(labels[i], f"'{view.path}' takes it for a single one")
        atoms = _merged(view, old, sizes)
        if atoms is not None and large:
            result[large[0]] = _divided(view, atoms, new[large[0]])
        found += result
    return tuple(found)


def _merged(
    view: CallView, labels: Sequence[Label], sizes: Sequence[int | None]
) -> np.ndarray | None:
    """The atoms of axes that become one; None where none of them has any."""
    held = [number for number, label in enumerate(labels) if not isinstance(label, str)]
    if not held:
        return None
    if len(held) > 1:
        raise Unknown("it makes one axis of two that have channels")
    if any(size is None for size in sizes):
        raise Unknown("it makes one axis of some whose size is open")
    label = labels[held[0]]
    assert not isinstance(label, str)
    lengths = [size or 0 for size in sizes]
    before, behind = math.prod(lengths[: held[0]]), math.prod(lengths[held[0] + 1 :])
    return view.tracker.tiled(np.repeat(label, behind), before)


def _divided(view: CallView, atoms: np.ndarray, size: int | None) -> np.ndarray:
    """The atoms of the first of the axes that an axis is divided into; those of a row are tied."""
    if size is None or len(atoms) == size:
        return atoms
    rows = atoms.reshape(size, -1)
    view.tracker.tie(np.repeat(rows[:, 0], rows.shape[1]), rows)
    return rows[:, 0].copy()


def _segments(
    before: Sequence[int | None], after: Sequence[int | None]
) -> Iterator[tuple[list[int], list[int]]]:
    """Which axes of a shape become which of another, as few together as possible.

    Raises:
        Unknown: open sizes do not let it be told.
    """
    i = j = 0
    while i < len(before) or j < len(after):
        taken, given = [], []
        left: list[int | None] = []
        right: list[int | None] = []
        if i < len(before):
            taken.append(i)
            left.append(before[i])
            i += 1
        if j < len(after):
            given.append(j)
            right.append(after[j])
            j += 1
        while not _alike(left, right):
            more, less = _product(left), _product(right)
            if more is None or less is None:
                raise Unknown("it arranges positions anew whose number is open")
            if more < less and i < len(before):
                taken.append(i)
                left.append(before[i])
                i += 1
            elif j < len(after):
                given.append(j)
                right.append(after[j])
                j += 1
            else:
                raise Unknown("it arranges positions in a way that is not known")
        yield taken, given


def _alike(left: Sequence[int | None], right: Sequence[int | None]) -> bool:
    if list(left) == list(right):
        return True
    more, less = _product(left), _product(right)
    return more is not None and more == less


def _product(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None
