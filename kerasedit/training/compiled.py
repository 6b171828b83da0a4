"""What `compile` set up, carried from one model to another: settings, and the optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .. import _keras

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
            new.assign(old)
    return fresh


def _shapes(slots: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(slot.shape) for name, slot in slots.items()}


def carry_compile(
    old: keras.Model,
    new: keras.Model,
    slot_values: SlotValues,
    output_names: tuple[Sequence[str], Sequence[str]],
) -> str | None:
    """Compiles a model as another one is, and lets its optimizer go on.

    Args:
        old: the model whose settings are carried.
        new: the model that gets them.
        slot_values: the values of a new variable's slots.
        output_names: the names of the outputs of both.

    Returns:
        A warning where something could not be carried, else None.
    """
    settings = _keras.compile_settings(old)
    if settings is None:
        return None
    try:
        for key in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            settings[key] = _for_outputs(settings.get(key), *output_names)
        loss = settings["loss"]
        if isinstance(loss, Mapping) and not any(loss.values()):
            raise ValueError(f"there is no loss for the outputs {list(output_names[1])}")
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
    return None


def _for_outputs(value: Any, old: Sequence[str], new: Sequence[str]) -> Any:
    """A setting per output, for other outputs: renamed ones remapped, those that went left out.

    Raises:
        ValueError: it is a list that cannot be matched to the outputs.
    """
    if isinstance(value, Mapping):
        renamed = dict(zip(old, new, strict=True)) if len(old) == len(new) else {}
        kept = {renamed.get(k, k): v for k, v in value.items()}
        return {k: v for k, v in kept.items() if k in new or k not in old}
    if isinstance(value, (list, tuple)) and len(old) != len(new) and len(value) == len(old) > 1:
        places = [old.index(name) for name in new if name in old]
        if len(places) != len(new):
            raise ValueError(f"the outputs {list(new)} are not among {list(old)}")
        kept_items = [value[i] for i in places]
        return kept_items[0] if len(kept_items) == 1 else kept_items
    return value


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
