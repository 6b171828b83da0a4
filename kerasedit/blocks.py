"""What an edit brings in: layers, a model or a function of tensors, taken as a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras

from . import _keras
from .codegen.literals import layer_code
from .errors import EditError, StructureError
from .graph.build import LayerState, capture
from .graph.model_graph import (
    Call,
    LayerId,
    LayerSpec,
    ModelGraph,
    Network,
    Ref,
    TensorSpec,
    VariableRef,
    fresh_id,
    map_leaves,
)
from .graph.read import Reader


@dataclass(frozen=True)
class Block:
    """A piece of a network with the layers in it and the values of those that have weights.

    `net` takes its tensors from calls that stand for whatever the block is put on.
    """

    layers: Mapping[LayerId, LayerSpec]
    flags: Mapping[LayerId, bool]
    net: Network
    states: Mapping[LayerId, LayerState]
    code: str

    def __repr__(self) -> str:  # what the history of an editor shows
        return f"Block({self.code})"

    @cached_property
    def members(self) -> list[LayerId]:
        """The block's own layers (not those inside a model of the block), in data order."""
        entries = {ref.call for ref in self.net.input_refs}
        found = [call.layer for call in self.net.calls if call.id not in entries]
        return list(dict.fromkeys(found))

    def describe(self) -> str:
        """The layers in words: `Dropout`, `Dense, ReLU`."""
        return ", ".join(self.layers[i].cls.__name__ for i in self.members)

    def instance(self) -> Block:
        """The same block with identities of its own, for another place."""
        specs = self.layers.values()
        tokens = {token for spec in specs for token in spec.ties.values()}
        tokens.update(v.shared for spec in specs for v in spec.variables or () if v.shared)
        new = {identity: fresh_id() for identity in (*self.layers, *tokens)}
        calls = {call.id: fresh_id() for spec in self._nets() for call in spec.calls}

        def move(net: Network) -> Network:
            return _renumber(net, calls, new)

        layers = {
            new[i]: replace(
                spec,
                id=new[i],
                net=move(spec.net) if spec.net else None,
                variables=spec.variables
                and tuple(
                    v if v.shared is None else replace(v, shared=new.get(v.shared))
                    for v in spec.variables
                ),
                ties={place: new[token] for place, token in spec.ties.items()},
            )
            for i, spec in self.layers.items()
        }
        return Block(
            layers,
            {new[i]: flag for i, flag in self.flags.items()},
            move(self.net),
            {new[i]: state for i, state in self.states.items()},
            self.code,
        )

    def _nets(self) -> list[Network]:
        return [self.net, *(spec.net for spec in self.layers.values() if spec.net is not None)]


def _renumber(net: Network, calls: dict[int, int], layers: dict[int, int]) -> Network:
    def move(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return Ref(calls[leaf.call], leaf.index)
        return replace(leaf, layer=layers[leaf.layer]) if isinstance(leaf, VariableRef) else leaf

    return replace(
        net,
        calls=tuple(
            Call(
                calls[c.id],
                layers.get(c.layer, c.layer),
                map_leaves(move, c.args),
                map_leaves(move, c.kwargs),
                c.outputs,
            )
            for c in net.calls
        ),
        inputs=map_leaves(move, net.inputs),
        outputs=map_leaves(move, net.outputs),
    )


def make_block(block: Any, on: TensorSpec | None = None) -> Block:
    """A block from a layer, a list of layers, a model, or a function of tensors.

    Args:
        block: what the user gave; it is copied and not changed.
        on: the tensor that the block will be put on. A function is traced on it, and an unbuilt
            Sequential is built for it.

    Raises:
        EditError: it is none of these.
        StructureError: a layer of it cannot be copied.
    """
    if isinstance(block, Block):
        return block
    if isinstance(block, type) and issubclass(block, keras.Layer):
        raise EditError(f"{block.__name__} is a class. Give a layer: layers.{block.__name__}(...).")
    if isinstance(block, keras.Sequential) and not block.built:
        built, fresh = _built_sequential(block, on)
        return _from_layers([built], fresh)
    if isinstance(block, (list, tuple)):
        if not block:
            raise EditError("The list of layers to put in is empty.")
        for item in block:
            if not isinstance(item, keras.Layer):
                raise EditError(f"A list of layers is expected; it holds {item!r}.")
        return _from_layers(list(block))
    if isinstance(block, keras.Layer):
        return _from_layers([block])
    if callable(block):
        return _from_function(block, on)
    raise EditError(
        "Give a layer, a list of layers, a model, or a function of tensors, not "
        f"{type(block).__name__}."
    )


def needs_tensor(block: Any) -> bool:
    """Whether `make_block` has to know the tensor that the block is put on."""
    if isinstance(block, keras.Sequential):
        return not block.built
    return callable(block) and not isinstance(block, (Block, keras.Layer, type))


def _built_sequential(
    block: keras.Sequential, on: TensorSpec | None
) -> tuple[keras.Sequential, list[Any]]:
    """The Sequential built for a tensor, and those of its layers that have no weights to keep."""
    assert on is not None
    if not block.layers:
        raise EditError("The Sequential to put in has no layers.")
    copy = keras.Sequential.from_config(block.get_config())
    copy(keras.KerasTensor(on.shape, dtype=on.dtype))
    fresh: list[Any] = []
    waiting = [(block, copy)]
    while waiting:
        for old, new in zip(*(model.layers for model in waiting.pop()), strict=True):
            _keras.write_assets(new, _vocabularies(old))
            if old.built:
                new.set_weights(old.get_weights())
            elif isinstance(old, keras.Sequential):
                waiting.append((old, new))
            else:
                fresh.append(new)
    return copy, fresh


def _open(reader: Reader, fresh: list[Any]) -> None:
    """Layers made just now have no weights to keep: they may inherit those of what they replace."""
    new = {i for i, layer in reader.objects.items() if any(layer is item for item in fresh)}
    for layer_id, spec in reader.specs.items():
        if spec.net is not None:
            calls = tuple(replace(c, outputs=None) if c.layer in new else c for c in spec.net.calls)
            reader.specs[layer_id] = replace(spec, net=replace(spec.net, calls=calls))
        elif layer_id in new:
            reader.specs[layer_id] = replace(spec, variables=None)


def _from_layers(objects: list[Any], fresh: list[Any] | None = None) -> Block:
    """A chain of layers; each is called on what the one before puts out.

    `fresh` are layers inside that were built only to know their shapes.
    """
    reader = Reader()
    entry = Call(fresh_id(), fresh_id(), outputs=())
    reader.specs[entry.layer] = LayerSpec(
        entry.layer, "input", "", keras.layers.InputLayer, variables=()
    )
    calls = [entry]
    ref = Ref(entry.id)
    for item in objects:
        if isinstance(item, keras.layers.InputLayer):
            raise StructureError("An InputLayer cannot be put into a model; use set_input.")
        layer_id = reader.layer(item)
        call = Call(fresh_id(), layer_id, (ref,))
        calls.append(call)
        ref = Ref(call.id)
    names = [layer_code(item) for item in objects]
    reader.tie()
    _open(reader, fresh or [])
    return Block(
        reader.specs,
        reader.flags,
        Network(tuple(calls), [Ref(entry.id)], [ref]),
        _states(reader),
        names[0] if len(names) == 1 else f"[{', '.join(names)}]",
    )


def _from_function(function: Callable[..., Any], on: TensorSpec | None) -> Block:
    """The graph that a function makes when it is called on a tensor like the one it is put on."""
    assert on is not None
    symbol = keras.Input(batch_shape=on.shape, dtype=on.dtype)
    try:
        with _keras.deferred() as made:
            result = _keras.with_values_if_needed(lambda: function(symbol))
        traced = keras.Model(symbol, result)
        for variable in made:
            _keras.initialize(variable)
    except Exception as problem:
        raise EditError(
            f"The function {getattr(function, '__name__', function)!r} cannot be called on a tensor "
            f"of shape {on.shape}: {problem}"
        ) from problem
    if len(traced.outputs) != 1:
        raise EditError("A function to put in must return one tensor.")
    reader = Reader()
    graph = ModelGraph(reader.layer(traced), reader.specs, reader.flags)
    new = {id(variable) for variable in made}
    layers = [layer for layer in reader.objects.values() if isinstance(layer, keras.Layer)]
    reader.tie()
    _open(reader, [la for la in layers if any(id(v) in new for v in la.variables)])
    root = reader.specs.pop(graph.root)
    reader.objects.pop(graph.root)
    reader.flags.pop(graph.root)
    assert root.net is not None
    return Block(
        reader.specs,
        reader.flags,
        root.net,
        _states(reader),
        getattr(function, "__name__", "function"),
    )


def _states(reader: Reader) -> dict[LayerId, LayerState]:
    found: dict[LayerId, LayerState] = {}
    for layer_id, layer in reader.objects.items():
        spec = reader.specs[layer_id]
        if spec.kind not in ("layer", "model"):
            continue
        if spec.variables is not None:
            found[layer_id] = capture(layer)
        elif spec.net is None and (vocabularies := _vocabularies(layer)):
            found[layer_id] = LayerState(assets=vocabularies)
    return found


def _vocabularies(layer: Any) -> dict[str, bytes]:
    """The files of vocabularies that a layer was adapted to, which does not build it."""
    files = _keras.read_assets(layer)
    return files if any(files.values()) else {}
