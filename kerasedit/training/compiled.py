"""What `compile` set up, carried from one model to another: settings, and the optimizer's state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .. import _keras

SlotValues = Callable[[Any], Sequence[Any] | None]
"""Gives the values of a model variable's slots; None where it has none yet."""


def read_slots(optimizer: Any) -> tuple[dict[int, list[Any]], list[Any]]:
    """Which variables of a built optimizer belong to which model variable.

    An optimizer of the same configuration is built on the same variables, without values, and
    watched; its variables stand in the same order.

    Returns:
        `{id(model variable): its slots}` and the variables that are no slots (iterations and such).
    """
    if not optimizer.built:
        return {}, []
    twin = copy_optimizer(optimizer)
    with _keras.deferred():
        slots = _keras.record_slots(twin, _keras.optimizer_variables_of(optimizer))
    own, real = twin.variables, optimizer.variables
    if [tuple(v.shape) for v in own] != [tuple(v.shape) for v in real]:
        warnings.warn(
            f"The state of the optimizer {type(optimizer).__name__} is not laid out as one of its "
            "configuration would be, so it starts afresh.",
            stacklevel=2,
        )
        return {}, []
    counterpart = {id(a): b for a, b in zip(own, real, strict=True)}
    found = {key: [counterpart[id(s)] for s in values] for key, values in slots.items()}
    return found, shared_variables(twin, slots, counterpart)


def shared_variables(
    optimizer: Any, slots: Mapping[int, list[Any]], counterpart: Mapping[int, Any] | None = None
) -> list[Any]:
    """The optimizer's variables that belong to no model variable, in order."""
    taken = {id(slot) for values in slots.values() for slot in values}
    rest = [v for v in optimizer.variables if id(v) not in taken]
    return [counterpart[id(v)] for v in rest] if counterpart is not None else rest


def copy_optimizer(optimizer: Any) -> Any:
    """An optimizer of the same class and configuration, not built."""
    return type(optimizer).from_config(optimizer.get_config())


def carry_optimizer(optimizer: Any, trainable: list[Any], slot_values: SlotValues) -> Any:
    """An optimizer for other variables that goes on where the old one was.

    Iterations, learning rate and other shared state are taken over; so are the slots of each
    variable for which `slot_values` has some. What has none starts as Keras starts it.
    """
    fresh = copy_optimizer(optimizer)
    if not optimizer.built:
        return fresh
    _, shared = read_slots(optimizer)
    with _keras.deferred() as pending:
        slots = _keras.record_slots(fresh, trainable)
    for variable in trainable:
        own = slots.get(id(variable), [])
        values = slot_values(variable)
        if values is None or [tuple(v.shape) for v in own] != [tuple(v.shape) for v in values]:
            continue
        for slot, value in zip(own, values, strict=True):
            _keras.give_value(slot, value)
    for variable in pending:
        _keras.initialize(variable)
    rest = shared_variables(fresh, slots)
    if [tuple(v.shape) for v in rest] == [tuple(v.shape) for v in shared]:
        for new, old in zip(rest, shared, strict=True):
            new.assign(old)
    return fresh


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
        settings["loss"] = _map(copy_loss, settings["loss"])
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
        ValueError: it is a list that cannot be matched to the outputs, or none of it is left.
    """
    if isinstance(value, Mapping):
        renamed = dict(zip(old, new, strict=True)) if len(old) == len(new) else {}
        kept = {renamed.get(k, k): v for k, v in value.items()}
        kept = {k: v for k, v in kept.items() if k in new or k not in old}
        if value and not kept:
            raise ValueError(f"nothing of {sorted(value)} belongs to the outputs {list(new)}")
        return kept
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


def copy_loss(loss: Any) -> Any:
    """A loss of one's own where its class can make one; a loss has no state to share."""
    if isinstance(loss, keras.losses.Loss):
        try:
            return type(loss).from_config(loss.get_config())
        except Exception:
            return loss
    return loss


def copy_metric(metric: Any) -> Any:
    """A metric with state of its own.

    Raises:
        ValueError: its class cannot make one; sharing it would count the copy's batches in the
            source's figures.
    """
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except Exception as problem:
        if type(metric) is keras.metrics.MeanMetricWrapper:
            return _keras.copy_wrapped_metric(metric)
        raise ValueError(f"the metric '{metric.name}' cannot be copied: {problem}") from problem
