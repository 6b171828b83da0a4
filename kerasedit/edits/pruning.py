"""The edit that takes channels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..compress.activity import activity
from ..compress.choosing import by_cost, by_fraction
from ..compress.costs import COSTS, NOUNS
from ..compress.gradients import gradients
from ..compress.groups import Channels, Group
from ..compress.scores import (
    CRITERIA,
    at_random,
    by_gradients,
    by_weights,
    given,
    together,
)
from ..errors import EditError, StructureError, TargetError
from ..graph.model_graph import LayerId
from ..names import listed
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace, Writer
from .channels import check_seed, makers_named, resize

Scope = Literal["layer", "global"]
Indexes = Sequence[int] | Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class PruneChannels(Edit):
    """Takes channels out of layers, and out of all that these are tied to.

    `kept` is what came of the rest where the edit was made: by path, how many channels a layer had
    and which of them stayed. On a model with the same layers it holds; on another one the channels
    are chosen anew. `data` is no part of the edit as data.
    """

    kind: ClassVar[str] = "prune_channels"
    live: ClassVar[tuple[str, ...]] = ("data",)
    checks: ClassVar[Mapping[str, str]] = {
        "drop": "channels",
        "keep": "channels",
        **dict.fromkeys(("fraction", *COSTS), "share"),
    }
    target: Target
    drop: Indexes | None = None
    keep: Indexes | None = None
    fraction: float | None = None
    params: float | None = None
    flops: float | None = None
    size: float | None = None
    criterion: str | tuple[float, ...] = "l2"
    multiple_of: int = 1
    scope: Scope = "layer"
    seed: int | None = None
    expect: int | None = None
    outputs: bool = False
    data: Any = field(default=None, compare=False)
    kept: Mapping[str, Mapping[str, Any]] | None = field(default=None, compare=False)

    def describe(self) -> str:
        where = target_text(self.target)
        if _is_number(self.fraction):
            return f"prune {self.fraction:.0%} of the channels of {where}"
        for name, noun in NOUNS.items():
            if _is_number(share := getattr(self, name)):
                return f"prune channels of {where} to {share:.0%} of the {noun}"
        return f"prune channels of {where}"

    # -- choosing --------------------------------------------------------------------------------

    def settled(self, work: Workspace) -> PruneChannels:
        """The edit with the channels that stay, by the weights as they are now."""
        self._check()
        channels = Channels(work.graph, self.outputs)
        if self.kept is not None and self._fits(channels):
            return self
        gone = self._chosen(work, channels)
        paths = work.graph.paths
        kept = {
            paths[layer]: {"of": len(numbers), "keep": np.flatnonzero(~gone[numbers]).tolist()}
            for layer, numbers in channels.makers.items()
            if gone[numbers].any()
        }
        return replace(self, kept=kept, data=None)

    def _check(self) -> None:
        shares = ("fraction", *COSTS)
        ways = [n for n in ("drop", "keep", *shares) if getattr(self, n) is not None]
        if len(ways) != 1:
            raise EditError(
                "Say in one way which channels go: drop= or keep= with their numbers, fraction= with "
                "the share that goes, or params=, flops= or size= with the share of parameters, "
                "operations or bytes that stays"
                f"{', not with ' + ' and '.join(ways) if ways else ''}."
            )
        for name in shares:
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value <= 1):
                raise EditError(f"{name} is a number from 0 to 1, not {value!r:.80}.")
        if self.fraction == 1 or 0 in [getattr(self, name) for name in COSTS]:
            raise EditError("That would take out all channels: at least one has to stay.")
        if not isinstance(self.criterion, (tuple, list)) and self.criterion not in CRITERIA:
            raise EditError(
                f"criterion is one of {', '.join(map(repr, CRITERIA))}, or a list of scores, not "
                f"{self.criterion!r:.80}."
            )
        whole = isinstance(self.multiple_of, int) and not isinstance(self.multiple_of, bool)
        if not whole or self.multiple_of < 1:
            raise EditError(f"multiple_of is a whole number from 1, not {self.multiple_of!r:.80}.")
        check_seed(self.seed)
        if self.scope not in ("layer", "global"):
            raise EditError(f"scope is 'layer' or 'global', not {self.scope!r:.80}.")

    def _fits(self, channels: Channels) -> bool:
        """Whether the channels that stayed are those of this model too."""
        graph = channels.graph
        for path, own in (self.kept or {}).items():
            entry = graph.by_path.get(path)
            numbers = None if entry is None else channels.makers.get(entry.layer)
            if numbers is None or len(numbers) != own["of"]:
                return False
        return True

    def _chosen(self, work: Workspace, channels: Channels) -> np.ndarray:
        layers = makers_named(work, channels, self.target, channels.reasons, "go")
        if self.drop is not None or self.keep is not None:
            return self._numbered(channels, layers)
        named = np.zeros(len(channels.number), bool)
        for layer in layers:
            named[channels.makers[layer]] = True
        groups = [
            replace(group, numbers=own)
            for group in channels.groups
            if not group.reason and len(own := group.numbers[named[group.numbers]])
        ]
        values = self._scores(work, channels, layers)
        groups = self._with_scores(channels, groups, values)

        def choose(fraction: float) -> np.ndarray:
            together = self.scope == "global"
            return by_fraction(channels, groups, values, fraction, self.multiple_of, together)

        for name, cost in COSTS.items():
            if (share := getattr(self, name)) is not None:
                return by_cost(channels, groups, values, cost(channels), share, choose)
        assert self.fraction is not None
        return choose(self.fraction)

    def _numbered(self, channels: Channels, layers: list[LayerId]) -> np.ndarray:
        """The channels that go by the numbers that were given."""
        gone = np.zeros(len(channels.number), bool)
        stays = np.zeros(len(channels.number), bool)
        paths = channels.graph.paths
        given_ = self.drop if self.drop is not None else self.keep
        assert given_ is not None
        for layer in layers:
            path = paths[layer]
            indexes = given_.get(path) if isinstance(given_, Mapping) else given_
            if indexes is None:
                raise TargetError(f"It is not said which channels of '{path}' go.")
            numbers = channels.makers[layer]
            chosen = _chosen_of(path, indexes, len(numbers))
            goes = chosen if self.drop is not None else ~chosen
            gone[numbers[goes]] = True
            stays[numbers[~goes]] = True
            if goes.all():
                raise EditError(
                    f"That would take out all {len(numbers)} channels of '{path}': at least one has to "
                    "stay. To take the whole layer out there is ed.remove."
                )
            for number in numbers[goes].tolist():
                if number in channels.reasons:
                    position = int(np.flatnonzero(numbers == number)[0])
                    raise StructureError(
                        f"Channel {position} of '{path}' cannot go: {channels.reasons[number]}."
                    )
        unknown = set(given_) - {paths[i] for i in layers} if isinstance(given_, Mapping) else set()
        if unknown:
            raise TargetError(
                f"{listed(map(repr, sorted(unknown)))}: no such layer is named by the target."
            )
        if self.keep is not None and (gone & stays).any():
            gone &= ~stays  # what one of the layers keeps stays in all
        return gone

    def _scores(self, work: Workspace, channels: Channels, layers: list[LayerId]) -> np.ndarray:
        if isinstance(self.criterion, (tuple, list)):
            if len(layers) > 1:
                raise TargetError(
                    f"Scores are given for one layer and the target names {len(layers)}: "
                    f"{listed(work.graph.paths[i] for i in layers)}."
                )
            return given(channels, layers[0], self.criterion)
        if self.criterion == "random":
            return at_random(channels, self.seed)
        if self.criterion not in ("activation", "taylor"):
            return by_weights(channels, self.criterion, work.value)
        if self.data is None:
            raise EditError(
                f"criterion={self.criterion!r} needs data=, a tuple (x, y) or batches of that form."
            )
        if self.criterion == "activation":
            return together(channels, activity(channels, work.model, self.data))
        found = gradients(work.model(work.graph), work.settings, self.data)
        return by_gradients(channels, work.value, found)

    def _with_scores(
        self, channels: Channels, groups: Sequence[Group], values: np.ndarray
    ) -> list[Group]:
        """The groups that have scores; those that are named alone have to."""
        usable = [group for group in groups if not np.isnan(values[group.numbers]).any()]
        if usable and (is_many(self.target) or len(usable) == len(groups)):
            return usable
        path = channels.graph.paths[groups[0].makers[0]]
        raise EditError(
            f"The channels of '{path}' have no scores by criterion={self.criterion!r:.40}: no such "
            "weights belong to them. Take another criterion, 'l2' perhaps."
        )

    # -- cutting ---------------------------------------------------------------------------------

    def apply(self, work: Workspace) -> None:
        if self.kept is None:
            self.settled(work).apply(work)
            return
        work.find(self.target, self.expect)
        channels = Channels(work.graph, self.outputs)
        gone = self._gone(channels)
        if not gone.any():
            return
        resize(work, channels.cut(gone))

    def _gone(self, channels: Channels) -> np.ndarray:
        gone = np.zeros(len(channels.number), bool)
        for path, own in (self.kept or {}).items():
            numbers = channels.makers[channels.graph.by_path[path].layer]
            gone[np.delete(numbers, own["keep"])] = True
        stopped = [n for n in np.flatnonzero(gone).tolist() if n in channels.reasons]
        if stopped:
            raise StructureError(f"The channels cannot go: {channels.reasons[stopped[0]]}.")
        return gone

    def explicit(self) -> PruneChannels:
        """The same edit with the channels that stay by their numbers: it needs no weights."""
        if not self.kept:
            return self
        keep = {path: list(own["keep"]) for path, own in self.kept.items()}
        return PruneChannels(tuple(keep), keep=keep, outputs=self.outputs, kept=self.kept)

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        if name in ("data", "kept"):
            return ""
        if name == "criterion" and value in ("activation", "taylor"):
            return f"criterion={value!r}, data=data"
        if name in ("drop", "keep") and isinstance(value, Mapping):
            pairs = [f"{path!r}: {list(indexes)!r}" for path, indexes in value.items()]
            return f"{name}={{{', '.join(pairs)}}}"
        if name in ("drop", "keep", "criterion") and not isinstance(value, str):
            return f"{name}={list(value)!r}"
        return super()._argument(name, value, required, write)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _chosen_of(path: str, indexes: Sequence[int], count: int) -> np.ndarray:
    """Which of a layer's channels are named; negative numbers count from the end.

    Raises:
        EditError: there is no such channel.
    """
    chosen = np.zeros(count, bool)
    for index in indexes:
        if not isinstance(index, int) or isinstance(index, bool) or not -count <= index < count:
            raise EditError(
                f"'{path}' has {count} channels, numbered from 0 to {count - 1}; there is no channel "
                f"{index!r:.40}."
            )
        chosen[index] = True
    return chosen
