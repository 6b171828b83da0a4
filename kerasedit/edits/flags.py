"""Edits of the `trainable` flags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..errors import TargetError
from ..graph.model_graph import Entry, LayerId, ModelGraph
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace


@dataclass(frozen=True)
class Freeze(Edit):
    """Lets layers keep their weights in training."""

    kind: ClassVar[str] = "freeze"
    targets: tuple[Target, ...]
    expect: int | None = None

    def describe(self) -> str:
        return f"freeze {target_text(self.targets)}"

    def apply(self, work: Workspace) -> None:
        work.graph = with_flags(work.graph, flaggable(work, self.targets, self.expect), False)


@dataclass(frozen=True)
class Unfreeze(Edit):
    """Lets layers train."""

    kind: ClassVar[str] = "unfreeze"
    targets: tuple[Target, ...]
    expect: int | None = None

    def describe(self) -> str:
        return f"unfreeze {target_text(self.targets)}"

    def apply(self, work: Workspace) -> None:
        work.graph = with_flags(work.graph, flaggable(work, self.targets, self.expect), True)


@dataclass(frozen=True)
class FreezeUpTo(Edit):
    """Freezes a layer and all that come before it in data order; the rest stays as it is."""

    kind: ClassVar[str] = "freeze_up_to"
    target: Target
    expect: int | None = None

    def describe(self) -> str:
        return f"freeze up to {target_text(self.target)}"

    def apply(self, work: Workspace) -> None:
        last = work.find_one(self.target, self.expect)
        upto: list[Entry] = []
        for entry in work.graph.entries:
            # The models around the target are not frozen as a whole: only their layers before it.
            if _can_train(work.graph, entry) and not last.path.startswith(entry.path + "/"):
                upto.append(entry)
            if entry == last:
                break
        inside = [e for e in work.graph.entries if e.path.startswith(last.path + "/")]
        work.graph = with_flags(work.graph, [*upto, *inside], False)


def flaggable(
    work: Workspace, targets: tuple[Target, ...], expect: int | None = None
) -> list[Entry]:
    """The layers with a flag that targets name; what has none is passed over in a pattern.

    Raises:
        TargetError: an op or an input was named alone.
    """
    if expect is not None:
        work.find(targets, expect)
    found: list[Entry] = []
    for target in targets:
        for entry in work.find(target):
            if _can_train(work.graph, entry):
                found.append(entry)
            elif not is_many(target):
                kind = work.spec(entry.layer).kind
                raise TargetError(
                    f"'{entry.path}' is an {kind} and has no trainable flag; only layers have one."
                )
    if not found:
        raise TargetError("The targets name no layer that has a trainable flag.")
    return found


def _can_train(graph: ModelGraph, entry: Entry) -> bool:
    return graph.layers[entry.layer].kind in ("layer", "model")


def with_flags(graph: ModelGraph, entries: Iterable[Entry], value: bool) -> ModelGraph:
    """The graph with the flags of layers set, and with them those of all inside nested models.

    Nothing trains in a model that is frozen as a whole. So where a layer in it is let loose, the
    whole model's flag is handed down to its other layers first, and then lifted.
    """
    flags = dict(graph.flags)

    def put(layers: Iterable[LayerId], value: bool) -> None:
        for layer in layers:
            # What a layer shares with others gets the flag that was set last, as in Keras.
            held = graph.held_by(layer)
            inside = [i for model in held & graph.layers.keys() for i in _inside(graph, model)]
            flags.update(dict.fromkeys((layer, *held, *inside), value))

    for entry in entries:
        if value:
            for model in reversed(_models_around(graph, entry)):
                if model == graph.root and not flags.get(model, True):
                    put(_inside(graph, model), False)
                flags[model] = True
        put([entry.layer, *_inside(graph, entry.layer)], value)
    return graph.with_flags(flags)


def _models_around(graph: ModelGraph, entry: Entry) -> list[LayerId]:
    """The models around a place, the innermost first, the root last."""
    found = [entry.owner]
    parts = entry.path.split("/")[:-1]
    for depth in range(len(parts) - 1, 0, -1):
        found.append(graph.by_path["/".join(parts[:depth])].layer)
    if found[-1] != graph.root:
        found.append(graph.root)
    return found


def _inside(graph: ModelGraph, model: LayerId) -> list[LayerId]:
    """Every layer inside a model, at any depth; none in what is no model."""
    found: list[LayerId] = []
    net = graph.layers[model].net
    for layer in net.calls_of if net is not None else ():
        if graph.layers[layer].kind in ("layer", "model"):
            found += [layer, *_inside(graph, layer)]
    return found
