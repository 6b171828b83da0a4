"""Channel groups: channels that the same layers make, and all layers that follow when some of them go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import EditError
from ..graph.model_graph import Kept, LayerId, ModelGraph, Place
from ..names import listed, visible
from .channels import Label, Role, Tracker

_WORDS: dict[Role, str] = {
    "makes": "makes them",
    "has": "has weights for each",
    "takes": "takes them",
    "ties": "ties them to those that it merges them with",
    "joins": "puts them beside others",
    "passes": "passes them on",
}
_RANK = {role: number for number, role in enumerate(_WORDS)}


@dataclass(frozen=True)
class Member:
    """A layer in the chain of a group: its path, its class and what it does with the channels."""

    path: str
    class_name: str
    role: Role

    def __str__(self) -> str:
        return f"'{self.path}' ({self.class_name}) {_WORDS[self.role]}"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that go or stay together in all of the layers that have to do with them.

    `str` tells the chain in words. As a target it stands for the first layer that makes them.

    Attributes:
        channels: how many there are.
        members: the layers of the chain in data order, and what each does.
        reason: why they cannot go; empty where they can.
        mixed: paths of layers that reckon with all of them together, as a normalisation does: of the
            channels that stay, these make something else than before.
    """

    channels: int
    members: tuple[Member, ...]
    reason: str = ""
    mixed: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of all layers in the chain."""
        return tuple(member.path for member in self.members)

    @property
    def makers(self) -> tuple[str, ...]:
        """The paths of the layers that make the channels."""
        return tuple(member.path for member in self.members if member.role == "makes")

    @property
    def path(self) -> str:
        """The path of the first layer that makes the channels."""
        return self.makers[0]

    @property
    def prunable(self) -> bool:
        """Whether channels of the group can go."""
        return not self.reason

    def __str__(self) -> str:
        what = f"{self.channels} channel{'' if self.channels == 1 else 's'}"
        lines = [f"{what} of {listed(map(repr, self.makers), 4)}"]
        lines += [f"  {member}" for member in self.members]
        lines += [f"  '{path}' reckons with all of them together" for path in self.mixed]
        lines += [f"  cannot go: {self.reason}"] if self.reason else []
        return "\n".join(map(visible, lines))

    def __repr__(self) -> str:
        state = "" if self.prunable else ", cannot go"
        return f"<ChannelGroup: {self.channels} of {listed(self.makers, 4)}{state}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True)
class Group:
    """A group by numbers: its channels, in the order in which its first layer makes them."""

    numbers: np.ndarray
    makers: tuple[LayerId, ...]
    reason: str


@dataclass(frozen=True)
class Cut:
    """What is left of a model without some channels.

    Attributes:
        kept: of each weight that gets smaller, what stays of its axes.
        settings: the arguments of layers that become others.
    """

    kept: Mapping[tuple[LayerId, int], Kept] = field(default_factory=dict)
    settings: Mapping[tuple[LayerId, Place], Any] = field(default_factory=dict)


class Channels:
    """All channels of a graph. A channel has a number, and each atom has that of its channel.

    Raises:
        StructureError: the model's wiring is Python code.
    """

    def __init__(self, graph: ModelGraph, outputs: bool = False) -> None:
        self.graph = graph
        self.tracker = Tracker(graph, outputs).follow()
        self.number, self.reasons = self.tracker.channels()
        self.makers = {layer: self.number[a] for layer, a in self.tracker.makers.items()}

    # -- groups ----------------------------------------------------------------------------------

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The groups: channels of the same makers that may go, or cannot for the same reason."""
        signs = self._signs()
        seen = np.zeros(len(self.number), bool)
        found: list[Group] = []
        for numbers in self.makers.values():
            _, first = np.unique(numbers, return_index=True)
            new = numbers[np.sort(first)]
            new = new[~seen[new]]
            seen[new] = True
            _, start = np.unique(signs[new], return_index=True)
            for sign in signs[new][np.sort(start)]:
                members = new[signs[new] == sign]
                one = int(members[0])
                makers = [i for i, n in self._made_by(one)]
                found.append(Group(members, tuple(makers), self.reasons.get(one, "")))
        return tuple(found)

    def _signs(self) -> np.ndarray:
        """A number for each channel that tells by which layers it is made, and why it has to stay."""
        random = np.random.default_rng(0)
        signs = np.zeros(len(self.number), np.uint64)
        for numbers in self.makers.values():
            signs[np.unique(numbers)] += random.integers(2**63, dtype=np.uint64)
        tokens: dict[str, np.uint64] = {}
        for number, why in self.reasons.items():
            if why not in tokens:
                tokens[why] = random.integers(2**63, dtype=np.uint64)
            signs[number] += tokens[why]
        return signs

    def _made_by(self, number: int) -> list[tuple[LayerId, np.ndarray]]:
        return [(i, numbers) for i, numbers in self.makers.items() if number in self._sets[i]]

    @cached_property
    def _sets(self) -> dict[LayerId, frozenset[int]]:
        return {layer: frozenset(numbers.tolist()) for layer, numbers in self.makers.items()}

    def described(self) -> tuple[ChannelGroup, ...]:
        """The groups as they are shown."""
        place = np.full(len(self.number), -1)
        for index, group in enumerate(self.groups):
            place[group.numbers] = index
        roles: list[dict[LayerId, Role]] = [{} for _ in self.groups]
        for mention in self.tracker.mentions:
            for index in self._places(place, mention.atoms):
                before = roles[index].get(mention.layer, "passes")
                roles[index][mention.layer] = min(before, mention.role, key=_RANK.__getitem__)
        mixed: list[dict[str, None]] = [{} for _ in self.groups]
        paths = self.graph.paths
        for layer, atoms in self.tracker.mixes:
            for index in self._places(place, atoms):
                mixed[index][paths[layer]] = None
        order = {layer: index for index, layer in enumerate(paths)}
        found = []
        for group, own, mixes in zip(self.groups, roles, mixed, strict=True):
            # A grouped convolution makes what it takes; what names channels is a maker.
            own |= dict.fromkeys(group.makers, "makes")
            members = tuple(
                Member(paths[i], self.graph.layers[i].cls.__name__, own[i])
                for i in sorted(own, key=order.__getitem__)
                if i in order
            )
            found.append(ChannelGroup(len(group.numbers), members, group.reason, tuple(mixes)))
        return tuple(found)

    def _places(self, place: np.ndarray, atoms: np.ndarray) -> list[int]:
        found = np.unique(place[self.number[atoms]]).tolist()
        return [index for index in found if index >= 0]

    # -- growing ---------------------------------------------------------------------------------

    @cached_property
    def bounds(self) -> dict[int, str]:
        """Of which channels there cannot be more, and why."""
        found = dict(self.reasons)

        def note(numbers: np.ndarray, why: str) -> None:
            for number in np.unique(numbers).tolist():
                found.setdefault(number, why)

        for layer, atoms in self.tracker.mixes:
            path = self.graph.paths.get(layer)
            note(self.number[atoms], f"'{path}' reckons with all of them together")
        for atoms, why in self.tracker.limits:
            note(self.number[atoms], why)
        for a, b in self.tracker.ties:
            # A copy is a run behind a run: where a run is none elsewhere, it would come between.
            uneven = (a[1:] == a[:-1]) != (b[1:] == b[:-1])
            note(self.number[a[1:][uneven]], "they stand in another order where they are tied")
        return found

    # -- cutting ---------------------------------------------------------------------------------

    def cut(self, gone: np.ndarray) -> Cut:
        """What is left without some channels.

        Args:
            gone: for each number whether the channel goes.

        Raises:
            EditError: nothing would be left of an axis.
        """
        return self.resized(np.where(gone, 0, 1))

    def resized(self, times: np.ndarray, new: bool = False) -> Cut:
        """What a model becomes where channels go, or are there several times.

        Args:
            times: for each number how often the channel is there then.
            new: whether channels of their own stand in the places of copies.

        Raises:
            EditError: nothing would be left of an axis.
        """
        kept: dict[tuple[LayerId, int], Kept] = {}
        for (layer, index), axes in self.tracker.axes.items():
            stays = [self._staying(axis.label, times, new) for axis in axes]
            if any(x is not None for x in stays):
                if () in stays:
                    raise EditError(
                        f"Nothing would be left of '{self.graph.paths[layer]}': at least one of its "
                        "channels has to stay. To take the whole layer out there is ed.remove."
                    )
                kept[layer, index] = tuple(stays)
        settings = {
            place: setting.make(lambda atoms: int(times[self.number[atoms]].sum()))
            for place, setting in self.tracker.settings.items()
            if any(self._changes(label, times) for label in self._counted(place))
        }
        return Cut(kept, settings)

    def _counted(self, place: tuple[LayerId, Place]) -> Iterable[Label]:
        """What an argument depends on: the axes that it counts, and those that its layer takes."""
        layer, _ = place
        yield from self.tracker.settings[place].labels
        for index in range(len(self.graph.layers[layer].variables or ())):
            yield from (axis.label for axis in self.tracker.axes.get((layer, index), ()))

    def _changes(self, label: Label, times: np.ndarray) -> bool:
        return not isinstance(label, str) and bool((times[self.number[label]] != 1).any())

    def _staying(self, label: Label, times: np.ndarray, new: bool) -> tuple[int, ...] | None:
        """The positions of an axis that are there then, copies behind theirs; None: as they are."""
        if isinstance(label, str):
            return None
        own = times[self.number[label]]
        if (own == 1).all():
            return None
        if (own < 2).all():
            return tuple(np.flatnonzero(own).tolist())
        found: list[int] = []
        starts = np.flatnonzero(np.append(True, label[1:] != label[:-1])).tolist()
        for start, stop in zip(starts, [*starts[1:], len(label)], strict=True):
            run, number = list(range(start, stop)), int(own[start])
            copy = [-1] * len(run) if new else run
            found += run * min(number, 1) + copy * (number - 1)
        return tuple(found)

    def empties(self, gone: np.ndarray) -> list[np.ndarray]:
        """The channels of each axis of a weight of which nothing would be left."""
        return [
            self.number[axis.label]
            for axes in self.tracker.axes.values()
            for axis in axes
            if not isinstance(axis.label, str) and gone[self.number[axis.label]].all()
        ]
