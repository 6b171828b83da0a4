"""What `compile` set up, carried from one model to another: settings, and the optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from .. import _keras
from ..graph.model_graph import Network, Ref

SlotValues = Callable[[Any], Mapping[str, Any] | None]
"""Gives the values of a model variable's slots by their names; None where it has none yet."""


def shared_variables(optimizer: Any) -> list[Any]:
    """The optimizer's variables that belong to no model variable, such as the iterations."""
    taken = {id(slot) for own in _keras.slots_of(optimizer).values() for slot in own.values()}
    return [variable for variable in optimizer.variables if id(variable) not in taken]


def carry_optimizer(optimizer: Any, trainable: list[Any], slot_values: SlotValues) -> Any:
    """An optimizer for other variables that goes on where the old one was.

    Iterations, learning rate and other shared state are taken over; so are the slots of each
    variable for which `slot_values` has some. What has none starts as Keras starts it.
    """
    fresh = _keras.copy_optimizer(optimizer)
    if not optimizer.built:
        return fresh
    fresh.build(trainable)
    slots = _keras.slots_of(fresh)
    for variable in trainable:
        own, values = slots.get(id(variable), {}), slot_values(variable) or {}
        if _shapes(own) == _shapes(values):
            for name, slot in own.items():
                slot.assign(values[name])
    rest, shared = shared_variables(fresh), shared_variables(optimizer)
    if [v.shape for v in rest] == [v.shape for v in shared]:
        for new, old in zip(rest, shared, strict=True):
            new.assign(_keras.snapshot(old))
    return fresh


def _shapes(slots: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(slot.shape) for name, slot in slots.items()}


def carry_compile(
    old: keras.Model,
    new: keras.Model,
    slot_values: SlotValues,
    networks: tuple[Network, Network],
    known: PerOutput,
) -> str | None:
    """Compiles a model as another one is, and lets its optimizer go on.

    Args:
        old: the model whose settings are carried.
        new: the model that gets them.
        slot_values: the values of a new variable's slots.
        networks: those of both.
        known: the settings for each output there has been; what `old` has is added.

    Returns:
        A warning where something could not be carried, else None. The model may be compiled.
    """
    settings = _keras.compile_settings(old)
    if settings is None:
        return None
    try:
        warning = _fit_outputs(settings, *networks, known, new)
        for key in ("metrics", "weighted_metrics"):
            settings[key] = _map(copy_metric, settings[key])
        optimizer = settings["optimizer"]
        if optimizer is not None:
            settings["optimizer"] = carry_optimizer(
                optimizer, list(new.trainable_variables), slot_values
            )
        new.compile(**settings)
    except Exception as problem:
        return f"The copy is not compiled; call ed.model.compile(...). The reason: {problem}"
    return warning


PerOutput = dict[str, dict[int, Any]]
"""Settings for single outputs: by the argument of `compile`, then by the output's identity."""

_PER_OUTPUT = ("loss", "loss_weights", "metrics", "weighted_metrics")


def _fit_outputs(
    settings: dict[str, Any], old: Network, new: Network, known: PerOutput, model: keras.Model
) -> str | None:
    """Turns the settings for the outputs of one network into those for the outputs of another.

    Settings by the names of outputs become those by their order where a file would not keep the names.

    Args:
        model: that of the new network.

    Returns:
        A warning where an output came that has no loss.

    Raises:
        ValueError: no output has a loss.
    """
    for key in _PER_OUTPUT:
        given = by_output(key, settings.get(key), old)
        known.setdefault(key, {}).update(zip(old.output_ids, given, strict=False))
    names = [name or str(number) for number, name in enumerate(new.output_names)]
    same = (old.output_ids, old.output_names) == (new.output_ids, new.output_names)
    loss = settings.get("loss")
    if not new.output_ids or (same and (_names_last(model) or not _by_name(settings, new))):
        return None
    one_for_all = len(old.output_ids) > 1 and not keras.tree.is_nested(loss)
    if one_for_all and known["loss"].keys().isdisjoint(new.output_ids):
        for key in _PER_OUTPUT:
            settings[key] = None if keras.tree.is_nested(settings.get(key)) else settings.get(key)
        return None
    for key in _PER_OUTPUT:
        each = [known[key].get(identity) for identity in new.output_ids]
        settings[key] = _together(key, each, new.outputs)
    if loss is None:
        return None
    lossless = [
        name
        for name, identity in zip(names, new.output_ids, strict=True)
        if known["loss"].get(identity) is None
    ]
    if len(lossless) == len(names):
        raise ValueError(f"there is no loss for the outputs {names}")
    came = [n for n, i in zip(names, new.output_ids, strict=True) if i not in known["loss"]]
    if not came:
        return None
    keyed = isinstance(new.outputs, Mapping) and (
        settings.get("metrics") or settings.get("weighted_metrics")
    )
    return (
        f"Training does not look at {', '.join(map(repr, came))}: there is no loss for it. `fit` "
        "takes targets for the other outputs alone"
        + (", where with metrics Keras wants the key all the same, with None" if keyed else "")
        + ". Call ed.model.compile(...) to give it one."
    )


def _by_name(settings: Mapping[str, Any], net: Network) -> bool:
    """Whether settings are told by the names of outputs, and not by keys that these have."""
    named = any(isinstance(settings.get(key), Mapping) for key in _PER_OUTPUT)
    return named and not isinstance(net.outputs, Mapping)


def _names_last(model: keras.Model) -> bool:
    """Whether outputs are called as in a file, where Keras names them by the layers that make them."""
    names = getattr(model, "output_names", None)  # a Sequential has none
    return names is None or list(names) == list(map(_keras.producer, model.outputs))


def _together(key: str, each: list[Any], outputs: Any) -> Any:
    """An argument of `compile` from what it is for each output."""
    if all(value is None for value in each):
        return None
    if len(each) == 1:
        return each[0]
    if len(outputs) == len(each) and key.endswith("metrics"):
        # Here Keras takes an output in a dictionary or list of its own for that itself.
        return (
            dict(zip(sorted(outputs), each, strict=True)) if isinstance(outputs, Mapping) else each
        )
    return keras.tree.pack_sequence_as(outputs, each)


def by_output(key: str, value: Any, net: Network) -> list[Any]:
    """An argument of `compile` for each of a network's outputs; None where there is nothing for it."""
    count = len(net.output_refs)
    if count == 1:
        leaves = [leaf for leaf in keras.tree.flatten(value) if leaf is not None]
        if not leaves:
            return [None]
        return [leaves if key.endswith("metrics") else leaves[0]]
    if isinstance(value, Mapping) and not isinstance(net.outputs, Mapping):
        return [value.get(name) for name in net.output_names]
    return list(_spread(value, net.outputs))


def _spread(value: Any, structure: Any) -> Iterator[Any]:
    if isinstance(structure, Ref):
        yield value
        return
    keys = sorted(structure) if isinstance(structure, Mapping) else range(len(structure))
    if isinstance(value, (list, tuple)) and len(value) == len(keys):
        value = dict(zip(keys, value, strict=True))
    apart = isinstance(value, Mapping)
    for key in keys:
        yield from _spread(value.get(key) if apart else value, structure[key])


def _map(fn: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _map(fn, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(fn, v) for v in value]
    return fn(value)


def copy_metric(metric: Any) -> Any:
    """A metric with state of its own.

    Raises:
        ValueError: its class cannot make one; sharing it would count the copy's batches in the
            source's figures.
    """
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        if isinstance(metric, keras.metrics.MeanMetricWrapper):
            return _keras.copy_wrapped_metric(metric)
        return type(metric).from_config(metric.get_config())
    except Exception as problem:
        raise ValueError(f"the metric '{metric.name}' cannot be copied: {problem}") from problem
