"""Edits on models of the corpus, and what they must give: computed without kerasedit.

`Wires` takes the calls of a model from the JSON that Keras itself writes, and computes them one by
one with the layers of the source. An edit is there a function that is called instead of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

Key = tuple[str, int, int]  # the layer's name, which of its calls, which of the call's outputs


class Wires:
    """The calls of a functional model, as its JSON tells them.

    Attributes:
        layers: the layers and raw ops of the model by name.
        calls: for each call its arguments, with `Key`s in place of tensors.
        outputs: the keys of what the model puts out, flattened.
    """

    def __init__(self, model: Any) -> None:
        config = keras.Model(model.input, model.output).get_config()
        self.layers: dict[str, Any] = {op.name: op for op in model.operations}
        self.calls: dict[tuple[str, int], tuple[list[Any], dict[str, Any]]] = {
            (layer["name"], number): (_keys(node["args"]), _keys(node["kwargs"]))
            for layer in config["layers"]
            for number, node in enumerate(layer["inbound_nodes"] or [{"args": [], "kwargs": {}}])
        }
        self.inputs = [name for name, _, _ in _triples(config["input_layers"])]
        self.outputs: list[Key] = list(_triples(config["output_layers"]))

    def run(
        self,
        x: Any,
        instead: Mapping[str, Callable[..., Any]] | None = None,
        known: Mapping[Key, Any] | None = None,
    ) -> dict[Key, Any]:
        """Every tensor of the model.

        Args:
            x: a batch for each input, in the structure of the model's inputs.
            instead: what is called in place of a layer, by its name.
            known: the tensors of a run without `instead`: what lies upstream is taken from there.
        """
        values: dict[Key, Any] = {}
        other: set[Key] = set()  # what differs from `known`
        instead = instead or {}
        feed = dict(zip(self.inputs, keras.tree.flatten(x), strict=True))
        waiting = list(self.calls)
        while waiting:
            later = []
            for name, number in waiting:
                args, kwargs = self.calls[name, number]
                taken = list(_leaves((args, kwargs)))
                if any(key not in values for key in taken):
                    later.append((name, number))
                    continue
                same = known and name not in instead and not other.intersection(taken)
                if same and known:
                    results = _of(known, name, number)
                else:
                    results = self._call(name, _fill(args, values), _fill(kwargs, values), feed, instead)
                    other.update((name, number, index) for index in range(len(results)))
                values.update({(name, number, i): value for i, value in enumerate(results)})
            assert len(later) < len(waiting), f"nothing leads to {later}"
            waiting = later
        return values

    def _call(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        feed: Mapping[str, Any],
        instead: Mapping[str, Callable[..., Any]],
    ) -> list[Any]:
        if name in feed:
            args = [keras.ops.convert_to_tensor(feed[name])]
            return [instead[name](*args) if name in instead else args[0]]
        call = instead.get(name) or self.layers[name]
        if isinstance(call, keras.Layer):
            # As in `predict`; without it, some layers of Keras take themselves to be in training.
            kwargs = {**kwargs, "training": kwargs.get("training") or False}
        return keras.tree.flatten(call(*args, **kwargs))


def _of(values: Mapping[Key, Any], name: str, number: int) -> list[Any]:
    found = []
    while (name, number, len(found)) in values:
        found.append(values[name, number, len(found)])
    return found


def _keys(item: Any) -> Any:
    """Keras's JSON of arguments, its tensors as keys."""
    if isinstance(item, Mapping):
        if item.get("class_name") == "__keras_tensor__":
            return tuple(item["config"]["keras_history"])
        if "class_name" in item:
            return keras.saving.deserialize_keras_object(item)
        return {name: _keys(value) for name, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_keys(value) for value in item]
    return item


def _is_key(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and isinstance(item[0], str)


def _leaves(item: Any) -> Any:
    if _is_key(item):
        yield item
    elif isinstance(item, Mapping):
        for value in item.values():
            yield from _leaves(value)
    elif isinstance(item, (list, tuple)):
        for value in item:
            yield from _leaves(value)


def _fill(item: Any, values: Mapping[Key, Any]) -> Any:
    if _is_key(item):
        return values[item]
    if isinstance(item, Mapping):
        return {name: _fill(value, values) for name, value in item.items()}
    return [_fill(value, values) for value in item] if isinstance(item, list) else item


def _triples(item: Any) -> Any:
    """The keys in the nested structure of a model's outputs, in the order of `model.outputs`."""
    if isinstance(item, Mapping):
        for name in sorted(item):
            yield from _triples(item[name])
    elif isinstance(item[0], str):
        yield tuple(item)
    else:
        for part in item:
            yield from _triples(part)
