"""How often channels are something else than zero on data, where they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from .._keras import PLAIN_MODELS
from ..errors import EditError, reason
from ..graph.build import Built
from ..graph.model_graph import LayerId, ModelGraph, Network, Ref
from .channels import Taken
from .gradients import batches
from .groups import Channels
from .scores import Part


def activity(channels: Channels, build: Callable[[ModelGraph], Built], data: Any) -> Iterator[Part]:
    """For each tensor that is taken, its channels and in which share of the places they are not zero.

    Args:
        channels: of the model.
        build: makes a model of a graph, with the values that there are.
        data: inputs, a tuple `(x, y)`, or batches of this form.

    Raises:
        EditError: the model does not take the data, or there is none.
    """
    graph, order = _watched(channels.graph, channels.tracker.taken)
    if not order:
        return
    model = build(graph).model
    sums: list[np.ndarray] = []
    count = 0
    for x, _ in batches(data):
        try:
            found = keras.tree.flatten(model(x, training=False))
        except Exception as problem:
            raise EditError(
                f"The model does not take the data given. Keras said: {reason(problem)}"
            ) from problem
        shares = [_share(tensor, taken.axis) for tensor, taken in zip(found, order, strict=True)]
        sums = [a + b for a, b in zip(sums, shares, strict=True)] if sums else shares
        count += len(found[0])
    if not count:
        raise EditError("criterion='activation' needs data= with at least one batch.")
    for taken, total in zip(order, sums, strict=True):
        own, inverse, times = np.unique(
            channels.number[taken.label], return_inverse=True, return_counts=True
        )
        yield own, np.bincount(inverse, total, len(own)) / times / count


def _share(tensor: Any, axis: int) -> np.ndarray:
    """In which share of its places each channel is not zero, times the size of the batch."""
    values = np.moveaxis(keras.ops.convert_to_numpy(tensor), axis, 0)
    return (values != 0).reshape(len(values), -1).mean(axis=1) * tensor.shape[0]


def _watched(graph: ModelGraph, taken: list[Taken]) -> tuple[ModelGraph, list[Taken]]:
    """A graph that puts out the tensors that are taken, those inside nested models too."""
    by_owner: dict[LayerId, list[Taken]] = {}
    for item in taken:
        by_owner.setdefault(item.owner, []).append(item)
    nets: dict[LayerId, Network] = {}
    inside: dict[LayerId, list[Taken]] = {}

    def watch(owner: LayerId) -> list[Taken]:
        """What a network puts out beside what it did."""
        if owner in inside:
            return inside[owner]
        net = graph.net_of(owner)
        found = list(by_owner.get(owner, ()))
        refs = [item.ref for item in found]
        for call in net.calls:
            spec = graph.layers[call.layer]
            if spec.net is not None and not spec.net.opaque:
                inner = watch(spec.id)
                before = len(spec.net.output_refs)
                refs += [Ref(call.id, before + number) for number in range(len(inner))]
                found += inner
        own = [] if owner == graph.root else list(net.output_refs)
        names: dict[str, Any] = {"output_names": (), "output_ids": ()}
        nets[owner] = replace(net, outputs=[*own, *refs], chain=False, **names)
        inside[owner] = found
        return found

    order = watch(graph.root)
    specs = [
        replace(graph.layers[i], net=net, prototype=None, variables=None, cls=PLAIN_MODELS[1])
        for i, net in nets.items()
        if inside[i]
    ]
    return graph.with_layers(*specs), order
