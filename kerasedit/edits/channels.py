"""What edits of channels have in common: which layers are meant, and layers made smaller or larger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from ..compress.groups import Channels, Cut
from ..errors import EditError, StructureError, TargetError
from ..graph.model_graph import Entry, LayerId, LayerSpec, Origin, Place
from ..targets import Target, is_many, select, target_text
from .base import Workspace


def check_seed(seed: Any) -> None:
    """Raises an `EditError` unless a value is a seed, or None."""
    if not (seed is None or (isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0)):
        raise EditError(f"seed is a whole number from 0, not {seed!r:.80}.")


def makers_named(
    work: Workspace, channels: Channels, target: Target, held: Mapping[int, str], what: str
) -> list[LayerId]:
    """The layers that a target names with channels of which something can become.

    Args:
        held: why nothing can become of a channel, by its number.
        what: what is to become of them: that they `"go"`, say.

    Raises:
        TargetError: a layer that is named has no channels of its own, or none of many has.
        StructureError: nothing can become of those of one that is named.
    """
    many = is_many(target)
    usable: list[LayerId] = []
    reasons: list[str] = []
    for entry in select(work.graph, target):
        reason = _refusal(work, channels, entry, held, what)
        if not reason:
            usable.append(entry.layer)
        elif not many:
            raise (StructureError if entry.layer in channels.makers else TargetError)(reason)
        else:
            reasons.insert(0 if entry.layer in channels.makers else len(reasons), reason)
    if not usable:
        more = f" {reasons[0]}" if reasons else ""
        raise TargetError(f"{target_text(target)} names no layer whose channels can {what}.{more}")
    return list(dict.fromkeys(usable))


def _refusal(
    work: Workspace, channels: Channels, entry: Entry, held: Mapping[int, str], what: str
) -> str:
    """Why nothing can become of the channels of a layer, if so."""
    numbers = channels.makers.get(entry.layer)
    spec = work.spec(entry.layer)
    if spec.net is not None:
        return f"'{entry.path}' is a model: name the layers inside it, '{entry.path}/**'."
    if numbers is None:
        return (
            f"'{entry.path}' ({spec.cls.__name__}) makes no channels of its own. Name the layer "
            "that makes them; ed.channel_groups() lists those."
        )
    reasons = [held.get(number) for number in np.unique(numbers).tolist()]
    if None in reasons:
        return ""
    return f"The channels of '{entry.path}' cannot {what}: {reasons[0]}."


def resize(work: Workspace, cut: Cut) -> None:
    """Gives layers other numbers of channels; their weights take what they keep."""
    changed: dict[LayerId, dict[Place, Any]] = {}
    for (layer, place), value in cut.settings.items():
        changed.setdefault(layer, {})[place] = value
    specs = [_configured(work.spec(layer), values) for layer, values in changed.items()]
    work.graph = work.graph.with_layers(*specs)
    work.touch(*changed)
    work.infer("error", cut.kept)


def reckon(
    work: Workspace,
    of: Collection[tuple[LayerId, int]],
    make: Callable[[Entry, int, Origin], Callable[..., np.ndarray] | None],
) -> None:
    """Says how the first values of variables are reckoned that come from some others.

    Args:
        of: the variables, as they were, by layer and position.
        make: gives, for a place, a position there and where that comes from, what reckons its value.
    """
    graph = work.graph  # what reckons may hold on to this one, and the next does not lead to it
    changed: dict[LayerId, LayerSpec] = {}
    for entry in graph.entries:
        spec = graph.layers[entry.layer]
        mine = [i for i, origin in spec.origins.items() if (origin.layer, origin.index) in of]
        if mine and spec.id not in changed:
            new = {i: replace(spec.origins[i], make=make(entry, i, spec.origins[i])) for i in mine}
            changed[spec.id] = replace(spec, origins={**spec.origins, **new})
    work.graph = graph.with_layers(*changed.values())


def _configured(spec: LayerSpec, values: Mapping[Place, Any]) -> LayerSpec:
    """A layer with other arguments, also those of a layer inside it."""
    if spec.kind == "op":
        given = {str(name): value for (name,), value in values.items()}
        prototype = type(spec.prototype).from_config({**spec.prototype.get_config(), **given})
        return replace(spec, prototype=prototype)
    config = dict(spec.config or {})
    for place, value in values.items():
        _put(config, place, value)
    return replace(spec, config=config)


def _put(config: Any, place: Place, value: Any) -> None:
    """Sets what stands at a place; what is on the way is copied."""
    key, *rest = place
    if not rest:
        config[key] = value
        return
    config[key] = copy(config[key])
    _put(config[key], tuple(rest), value)
