"""The calls of a model as Keras's own JSON tells them, rewired and computed without kerasedit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

Key = tuple[str, int, int]  # the layer's name, which of its calls, which of the call's outputs
Values = dict[Key, Any]


class Wires:
    """The calls of a functional model, computed one by one with the model's own layers.

    An edit is made on it in the plainest way: on the JSON, or as a function that is called where
    the model calls a layer.

    Attributes:
        layers: the layers and raw ops of the model by name.
        calls: the arguments of each call, with `Key`s in place of tensors.
        outputs: the keys of what the model puts out, flattened.
        instead: what is called in place of a layer, by its name.
    """

    def __init__(self, model: Any) -> None:
        config = keras.Model(model.input, model.output).get_config()
        self.layers: dict[str, Any] = {op.name: op for op in model.operations}
        self.calls: dict[tuple[str, int], Any] = {
            (layer["name"], number): _keys([node["args"], node["kwargs"]])
            for layer in config["layers"]
            for number, node in enumerate(layer["inbound_nodes"] or [{"args": [], "kwargs": {}}])
        }
        self.inputs = [name for name, _, _ in _triples(config["input_layers"])]
        self.outputs: list[Key] = list(_triples(config["output_layers"]))
        self.instead: dict[str, Callable[..., Any]] = {}
        self._before = self.calls

    def copy(self) -> Wires:
        """The same wires, for edits of their own."""
        twin = object.__new__(Wires)
        twin.__dict__.update(vars(self), calls=dict(self.calls), instead=dict(self.instead))
        return twin

    # -- edits -----------------------------------------------------------------------------------

    def takes(self, name: str) -> list[Key]:
        """The different tensors that the first call of a layer takes."""
        return list(dict.fromkeys(_leaves(self.calls[name, 0])))

    def remove(self, name: str, keep: int = 0) -> None:
        """Lets what takes the layer's output take one of its inputs."""
        old, new = (name, 0, 0), self.takes(name)[keep]
        for call, arguments in self.calls.items():
            if old in _leaves(arguments):
                self.calls[call] = _swap(arguments, old, new)
        self.outputs = [new if key == old else key for key in self.outputs]
        del self.calls[name, 0]

    def then(self, name: str, layer: Any) -> None:
        """Calls another layer on what a layer puts out."""
        first, second = self.instead.get(name) or self.layer(name), at_rest(layer)
        self.instead[name] = lambda *args, **kwargs: second(first(*args, **kwargs))

    def layer(self, name: str) -> Callable[..., Any]:
        """What the model calls under a name."""
        return at_rest(self.layers[name])

    # -- computing -------------------------------------------------------------------------------

    def run(self, x: Any, known: Values | None = None) -> Values:
        """Every tensor that the outputs depend on.

        Args:
            x: a batch for each input, in the structure of the model's inputs.
            known: the tensors before any edit: what lies upstream of all edits is taken from there.
        """
        feed = dict(zip(self.inputs, keras.tree.flatten(x), strict=True))
        values: Values = {}
        other: set[Key] = set()  # what differs from `known`
        waiting = self._needed()
        while waiting:
            later = []
            for name, number in waiting:
                arguments = self.calls[name, number]
                taken = list(_leaves(arguments))
                if any(key not in values for key in taken):
                    later.append((name, number))
                    continue
                same = arguments is self._before.get((name, number)) and name not in self.instead
                if known and same and not other.intersection(taken):
                    results = list(_outputs_of(known, name, number))
                else:
                    args, kwargs = _fill(arguments, values)
                    if name in feed:
                        args = [keras.ops.convert_to_tensor(feed[name])]
                    default = (lambda t: t) if name in feed else self.layer(name)
                    results = keras.tree.flatten(self.instead.get(name, default)(*args, **kwargs))
                    other.update((name, number, index) for index in range(len(results)))
                values.update({(name, number, i): value for i, value in enumerate(results)})
            assert len(later) < len(waiting), f"nothing leads to {later}"
            waiting = later
        return values

    def put_out(self, x: Any, known: Values | None = None) -> list[Any]:
        """What the model must put out, as a flat list of arrays."""
        values = self.run(x, known)
        return [keras.ops.convert_to_numpy(values[key]) for key in self.outputs]

    def _needed(self) -> list[tuple[str, int]]:
        """The calls that the outputs depend on, in the order of the JSON."""
        needed: set[tuple[str, int]] = set()
        waiting = [key[:2] for key in self.outputs]
        while waiting:
            call = waiting.pop()
            if call not in needed:
                needed.add(call)
                waiting.extend(key[:2] for key in _leaves(self.calls[call]))
        return [call for call in self.calls if call in needed]


def at_rest(operation: Any) -> Callable[..., Any]:
    """Calls a layer or op as `predict` does.

    Without the flag, some layers of Keras take themselves to be in training.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Layer):
            kwargs["training"] = kwargs.get("training") or False
        return operation(*args, **kwargs)

    return call


def _outputs_of(values: Values, name: str, number: int) -> Iterator[Any]:
    index = 0
    while (name, number, index) in values:
        yield values[name, number, index]
        index += 1


# -- Keras's JSON --------------------------------------------------------------------------------


def _keys(item: Any) -> Any:
    """The JSON of arguments, its tensors as keys."""
    if isinstance(item, Mapping):
        if item.get("class_name") == "__keras_tensor__":
            return tuple(item["config"]["keras_history"])
        if "class_name" in item:
            return keras.saving.deserialize_keras_object(item)
        return {name: _keys(value) for name, value in item.items()}
    return [_keys(value) for value in item] if isinstance(item, (list, tuple)) else item


def _is_key(item: Any) -> bool:
    return isinstance(item, tuple)


def _map(function: Callable[[Key], Any], item: Any) -> Any:
    if _is_key(item):
        return function(item)
    if isinstance(item, Mapping):
        return {name: _map(function, value) for name, value in item.items()}
    return [_map(function, value) for value in item] if isinstance(item, list) else item


def _leaves(item: Any) -> Iterator[Key]:
    if _is_key(item):
        yield item
    elif isinstance(item, (Mapping, list)):
        for value in item.values() if isinstance(item, Mapping) else item:
            yield from _leaves(value)


def _fill(item: Any, values: Values) -> Any:
    return _map(values.__getitem__, item)


def _swap(item: Any, old: Key, new: Key) -> Any:
    return _map(lambda key: new if key == old else key, item)


def _triples(item: Any) -> Iterator[Key]:
    """The keys in the structure of a model's inputs or outputs, in the order of `tree.flatten`."""
    if isinstance(item, Mapping):
        for name in sorted(item):
            yield from _triples(item[name])
    elif isinstance(item[0], str):
        yield tuple(item)
    else:
        for part in item:
            yield from _triples(part)
