"""What layers share: variables, and whole layers inside of them. In a copy they must be one, too.

Every layer of a copy is made anew and has all of its own at first. So the reader notes what several
layers hold: each such object gets a token, and each of its layers knows at which places the object
is (`LayerSpec.ties`) and which of its variables it is (`VariableSpec.shared`). A built model then gets
one object per token. A layer that an edit gives other weights leaves its ties.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

import keras

from .. import _keras
from ..errors import StructureError
from .model_graph import (
    Call,
    LayerId,
    LayerSpec,
    ModelGraph,
    Network,
    VariableRef,
    VariableSpec,
    fresh_id,
    iter_leaves,
    map_leaves,
)

Layers = Mapping[LayerId, Any]
Holders = Mapping[int, list[LayerId]]
"""The layers that hold a variable, by its `id`."""


# -- reading -------------------------------------------------------------------------------------


def find_ties(
    specs: Mapping[LayerId, LayerSpec], objects: Layers
) -> tuple[dict[LayerId, LayerSpec], dict[int, bool]]:
    """Finds what layers share.

    Args:
        specs: what was read.
        objects: the live layer behind each spec.

    Returns:
        The specs that tell of it, and the flags of the shared variables.

    Raises:
        StructureError: layers share a layer that has no variables yet.
    """
    _check_built(specs, objects)
    holders: dict[int, list[LayerId]] = {}
    for layer_id, spec in specs.items():
        if spec.kind == "layer" and spec.variables is not None:
            for variable in objects[layer_id].variables:
                holders.setdefault(id(variable), []).append(layer_id)
    found = {**specs, **_with_problems(specs, objects, holders)}
    sharing = dict.fromkeys(i for own in holders.values() if len(own) > 1 for i in own)
    parts = {layer_id: _keras.parts(objects[layer_id]) for layer_id in sharing}
    if parts:
        parts |= {i: {(): objects[i]} for i, spec in specs.items() if spec.kind == "model"}
    held = Counter(i for own in parts.values() for i in {id(part) for part in own.values()})
    tokens: dict[int, int] = {}
    flags: dict[int, bool] = {}
    for layer_id in parts:
        spec = found[layer_id]
        variables = list(spec.variables or ())
        known = _keras.named_variables(objects[layer_id]) if variables else ()
        for index, (_, variable, to_train) in enumerate(known):
            owners = holders[id(variable)]
            if len(owners) > 1:
                token = tokens.setdefault(id(variable), fresh_id())
                flags[token] = bool(variable.trainable)
                # Frozen with another of its layers, it is not one that was pinned by hand.
                to_train = to_train and not all(objects[owner].trainable for owner in owners)
                trainable = variables[index].trainable or to_train
                variables[index] = replace(variables[index], shared=token, trainable=trainable)
        ties = {
            place: tokens.setdefault(id(part), fresh_id())
            for place, part in parts[layer_id].items()
            if held[id(part)] > 1
        }
        if ties:
            variables = spec.variables and tuple(variables)
            found[layer_id] = replace(spec, variables=variables, ties=ties)
    for layer_id, spec in specs.items():
        if spec.net is not None:
            found[layer_id] = replace(found[layer_id], net=_refer(spec.net, holders, objects))
    return {i: spec for i, spec in found.items() if spec is not specs[i]}, flags


def _check_built(specs: Mapping[LayerId, LayerSpec], objects: Layers) -> None:
    """Raises where layers share one that is not built: what they share cannot be told yet."""
    seen: dict[int, LayerId] = {}
    for layer_id, spec in specs.items():
        if spec.kind != "layer" or spec.variables is not None:
            continue
        for inner in {id(part): part for part in _keras.parts(objects[layer_id]).values()}.values():
            other = seen.setdefault(id(inner), layer_id)
            if other != layer_id and isinstance(inner, keras.Layer):
                raise StructureError(
                    f"The layers '{specs[other].name}' and '{spec.name}' share the layer "
                    f"'{inner.name}', which is not built yet. Give a function of tensors that calls "
                    "them."
                )


def _refer(net: Network, holders: Holders, objects: Layers) -> Network:
    """The network with the variables that calls take told by the layers they are of."""

    def refer(leaf: Any) -> Any:
        if not isinstance(leaf, keras.Variable) or id(leaf) not in holders:
            return leaf
        owner = holders[id(leaf)][0]
        return VariableRef(owner, [v is leaf for v in objects[owner].variables].index(True))

    if not any(_takes_variable(call) for call in net.calls):
        return net
    return replace(net, calls=tuple(map_call(refer, call) for call in net.calls))


def _takes_variable(call: Call) -> bool:
    return next(iter_leaves(keras.Variable, (call.args, call.kwargs)), None) is not None


def map_call(fn: Any, call: Call) -> Call:
    """A call with `fn` applied to every leaf of its arguments."""
    return replace(call, args=map_leaves(fn, call.args), kwargs=map_leaves(fn, call.kwargs))


def _with_problems(
    specs: Mapping[LayerId, LayerSpec], objects: Layers, holders: Holders
) -> dict[LayerId, LayerSpec]:
    """Layers that cannot be made again, as what they use is not theirs, or not known to be."""
    found: dict[LayerId, LayerSpec] = {}
    for layer_id, spec in specs.items():
        of_keras = spec.cls.__module__.startswith("keras.")
        unseen = _keras.unseen(objects[layer_id]) if spec.kind == "layer" and not of_keras else ()
        if unseen:
            problem = (
                f"The layer '{spec.name}' of class {spec.cls.__name__} holds variables or layers in "
                f"'{unseen[0]}' where Keras does not see them, so neither a copy nor a file has "
                f"their values. Assign them as usual (self.{unseen[0]} = ...) in the constructor or "
                "in build, or work on the model itself with in_place=True."
            )
            found[layer_id] = replace(spec, problem=problem)
    functions: dict[LayerId, list[Any]] = {}
    for layer_id, spec in specs.items():
        own = functions.setdefault(layer_id, [*spec.functions.values()])
        if spec.kind == "op" or isinstance(spec.prototype, keras.layers.Lambda):
            own += vars(spec.prototype).values()
        for call in spec.net.calls if spec.net is not None else ():
            given = iter_leaves(FunctionType, (call.args, call.kwargs))
            functions.setdefault(call.layer, []).extend(given)
    for layer_id, given in functions.items():
        for function in given:
            for used in _used_by(function) if isinstance(function, FunctionType) else ():
                variables = used.variables if isinstance(used, keras.Layer) else [used]
                if any(id(variable) in holders for variable in variables):
                    spec = specs[layer_id]
                    problem = (
                        f"The function of '{spec.name}' ({spec.cls.__name__}) uses '{used.name}' of "
                        "this very model, and in a copy it would go on using that of the source. "
                        "Write a layer that is given it and keeps it in an attribute, or work on "
                        "the model itself with in_place=True."
                    )
                    found[layer_id] = replace(spec, problem=problem)
    return found


def _used_by(function: FunctionType) -> Iterator[Any]:
    """The layers and variables that a function knows beside its arguments."""
    try:
        known = inspect.getclosurevars(function)
    except ValueError:  # a name that has no value yet
        return
    defaults = (function.__defaults__ or (), function.__kwdefaults__ or {})
    values = [dict(known.nonlocals), dict(known.globals), *defaults]
    yield from iter_leaves(keras.Layer, values)
    yield from iter_leaves(keras.Variable, values)


# -- editing -------------------------------------------------------------------------------------


def put_in_order(spec: LayerSpec, layer: Any) -> None:
    """Gives the variables of a fresh layer the order of the spec's.

    What was put into the source's layer after it was built comes last there: another's variable in
    place of its own, or what quantizing added.
    """
    if spec.variables is None:
        return
    places = {token: place for place, token in spec.ties.items()}
    parts = _keras.parts(layer) if places else {}
    known = [parts.get(places[v.shared]) if v.shared in places else None for v in spec.variables]
    rest = {
        name: variable
        for name, variable, _ in _keras.named_variables(layer)
        if not any(variable is part for part in known)
    }
    names = [v.name for v, part in zip(spec.variables, known, strict=True) if part is None]
    if sorted(names) != sorted(rest):
        names = list(rest)  # the names of layers inside may be others
    if names == list(rest) and not places:
        return
    others = (rest[name] for name in names)
    order = [next(others, None) if variable is None else variable for variable in known]
    _keras.sort_variables(layer, [variable for variable in order if variable is not None])


def with_tokens(
    spec: LayerSpec, layer: Any, found: Iterable[VariableSpec]
) -> tuple[VariableSpec, ...]:
    """What was found in a fresh layer of a spec, with the tokens of what it shares."""
    if not spec.ties:
        return tuple(found)
    parts = _keras.parts(layer)
    tokens = {id(parts[place]): token for place, token in spec.ties.items() if place in parts}
    return tuple(
        replace(variable, shared=tokens.get(id(live)))
        for variable, live in zip(found, layer.variables, strict=True)
    )


def leave(
    graph: ModelGraph, renewed: Iterable[LayerId], heirs: Iterable[LayerId]
) -> tuple[ModelGraph, list[str]]:
    """Lets layers that got other weights leave their ties; those renewed alike stay tied.

    Args:
        graph: the edited graph, in which renewed layers still have the tokens of what they were.
        renewed: the layers in question.
        heirs: new layers that inherited weights of others.

    Returns:
        The graph, and what is no longer shared, in words.
    """
    fresh: dict[Any, int] = {}
    flags: dict[int, bool] = {}
    specs: dict[LayerId, LayerSpec] = {}
    for layer_id in renewed:
        spec = graph.layers[layer_id]
        own: dict[int, int] = {}  # the new token by the old one
        for variable in spec.variables or ():
            if variable.shared is not None:
                alike = (variable.shared, variable.shape, variable.dtype)
                own[variable.shared] = fresh.setdefault(alike, fresh_id())
                flags[own[variable.shared]] = graph.lets_train(variable.shared)
        ties = {p: own.get(t) or fresh.setdefault(t, fresh_id()) for p, t in spec.ties.items()}
        variables = tuple(
            replace(v, shared=own[v.shared]) if v.shared is not None else v
            for v in spec.variables or ()
        )
        if ties:
            specs[layer_id] = replace(spec, variables=variables, ties=ties)
    after = graph.with_layers(*specs.values(), flags=flags) if specs else graph
    # Of each variable, the names it has in layers by what it is now: one where it still is shared.
    parties: dict[int, dict[Any, str]] = {}
    for token, owners in graph.owners.items():
        for layer_id, index in owners:
            variable = (after.layers[layer_id].variables or ())[index]
            path = f"{graph.paths[layer_id]}/{variable.name}"
            parties.setdefault(token, {}).setdefault(variable.shared, path)
    for layer_id in heirs:
        spec = graph.layers[layer_id]
        for index, origin in spec.origins.items():
            token = (graph.layers[origin.layer].variables or ())[origin.index].shared
            if token is not None and layer_id in graph.paths:
                path = f"{graph.paths[layer_id]}/{(spec.variables or ())[index].name}"
                parties.setdefault(token, {})[layer_id, index] = path
    return after, [
        f"'{other}' no longer shares its values with '{first}'."
        for first, *others in (list(names.values()) for names in parties.values())
        for other in others
    ]


def follow_variables(graph: ModelGraph, renewed: Mapping[LayerId, LayerId]) -> ModelGraph:
    """Lets calls that take variables of renewed layers take those of the new ones.

    Raises:
        StructureError: the layer is gone.
    """

    def follow(leaf: Any) -> Any:
        if not isinstance(leaf, VariableRef):
            return leaf
        return replace(leaf, layer=renewed.get(leaf.layer, leaf.layer))

    for spec in list(graph.layers.values()):
        if spec.net is None or not spec.net.takes_variables:
            continue
        net = replace(spec.net, calls=tuple(map_call(follow, call) for call in spec.net.calls))
        for call in net.calls:
            for ref in call.variables:
                if ref.layer not in graph.paths:
                    raise StructureError(
                        f"'{graph.layers[call.layer].name}' takes a weight of a layer that would "
                        "go. Replace or remove it first."
                    )
        if renewed:
            graph = graph.with_layers(replace(spec, net=net))
    return graph


# -- building ------------------------------------------------------------------------------------


def tie(graph: ModelGraph, layers: Layers) -> set[int]:
    """Lets the layers of a model that was just built share what they are to share.

    Returns:
        The variables that no layer has any more, by `id`.

    Raises:
        StructureError: a shared variable is not found in a layer's copy.
    """
    tied = {i: layer for i, layer in layers.items() if graph.layers[i].ties}
    before = {id(v) for layer in tied.values() for v in layer.variables}
    parts: dict[LayerId, dict[Any, Any]] = {}
    chosen: dict[int, Any] = {}
    # Keras's files keep a layer that others hold as one where it is a layer of the model, and fail
    # where it is not: then only its variables are one.
    whole = {graph.layers[i].ties[()] for i in tied if () in graph.layers[i].ties}
    for layer_id, layer in tied.items():
        parts[layer_id] = _keras.parts(layer)
        for place, token in graph.layers[layer_id].ties.items():
            if place in parts[layer_id] and (not place or token not in chosen):
                chosen[token] = parts[layer_id][place]
    for layer_id, layer in tied.items():
        ties = graph.layers[layer_id].ties
        swaps = {
            id(own): chosen[ties[place]]
            for place, own in parts[layer_id].items()
            if place in ties and _can_stand_for(chosen[ties[place]], own, ties[place] in whole)
        }
        _keras.swap_parts(layer, swaps)
    _check(graph, layers)
    return before - {id(v) for layer in tied.values() for v in layer.variables}


def _can_stand_for(other: Any, own: Any, whole: bool) -> bool:
    """Whether one object can take the place of another: an edit may have changed only one layer."""
    if isinstance(own, keras.Variable):
        return own.shape == other.shape and own.dtype == other.dtype
    if not isinstance(own, keras.Layer):
        return True
    if not whole or own is other:
        return False
    return _makeup(own) == _makeup(other)


def _makeup(layer: Any) -> Any:
    """What two layers that do the same with the same variables have in common."""
    config = {**layer.get_config(), "name": "", "trainable": True}
    shapes = [tuple(v.shape) for v in layer.variables]
    # A file makes lists of tuples.
    return type(layer), json.dumps(config, sort_keys=True, default=repr), shapes


def _check(graph: ModelGraph, layers: Layers) -> None:
    """Raises where layers that share a variable would each get their own, without a word."""
    for owners in graph.owners.values():
        (first, place), *others = owners
        shared = _variable(layers[first], place)
        for layer_id, index in others:
            if shared is None or _variable(layers[layer_id], index) is not shared:
                name = (graph.layers[layer_id].variables or ())[index].name
                raise StructureError(
                    f"The layers '{graph.paths[first]}' and '{graph.paths[layer_id]}' share the "
                    f"variable '{name}'. In a copy each would have its own, as the layer made from "
                    "its configuration does not hold it where the source's does. Work on the model "
                    "itself with in_place=True."
                )


def _variable(layer: Any, index: int) -> Any | None:
    variables = layer.variables
    return variables[index] if index < len(variables) else None
