"""Which values a script finds in the source, which it brings along, and the lines that assign them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from .. import _keras
from ..arrays import same_bits
from ..errors import StructureError
from ..graph.build import LayerState, Overlap, call_on, capture, make_layer
from ..graph.model_graph import LayerId, LayerSpec, ModelGraph, Ref, VariableRef, VariableSpec
from ..graph.ties import put_in_order
from .layout import text
from .literals import unnoticed
from .networks import made_by_class, vocabulary
from .script import Function, Script

if TYPE_CHECKING:
    from ..editor import Editor


@dataclass(frozen=True)
class Unit:
    """A layer with values of its own, or a model that only its class can make.

    `names` are those of its variables, in the order of `state.values`. The path of the whole model
    is empty.
    """

    layer: LayerId
    path: str
    names: tuple[str, ...]
    state: LayerState

    def array(self, index: int) -> np.ndarray:
        return keras.ops.convert_to_numpy(self.state.values[index])

    def hint(self, index: int) -> str:
        """What to call the array of a variable."""
        return "/".join(filter(None, (self.path, self.names[index])))


def found(model: str, path: str) -> str:
    """Code for the layer of a model at a path."""
    return f"find({model}, {text(path)})" if path else model


def units(editor: Editor, build: bool = True) -> list[Unit]:
    """The layers of the edited model with their latest values.

    Args:
        editor: has the model.
        build: builds it where only it can know them, as those of a fresh layer; without that these
            are None.
    """
    graph = editor.graph
    places = list(_places(graph))
    states = {layer: _state(editor, layer) for layer, _ in places}
    own_class = [spec for spec in graph.layers.values() if made_by_class(spec)]
    _check_own(own_class, graph)
    if own_class or (build and not all(map(is_known, states.values()))):
        _ = editor.model
        states = {layer: _state(editor, layer) for layer, _ in places}
    result = []
    for layer, path in places:
        spec = graph.layers[layer]
        names = [v.name for v in spec.variables or ()]
        state = states[layer] or LayerState((None,) * len(names))
        if spec.net is not None:
            live = editor.live_layer(graph.by_path[path]) if path else editor.model
            names = [name for name, _, _ in _keras.named_variables(live)]
        if state.values or state.assets:
            result.append(Unit(layer, path, tuple(names), state))
    return result


def _places(graph: ModelGraph) -> Iterator[tuple[LayerId, str]]:
    """What holds values in a graph, each once, with its path."""
    if made_by_class(graph.layers[graph.root]) and not _has_ties(graph, graph.root):
        yield graph.root, ""
        return
    seen: set[LayerId] = set()
    inside: list[str] = []  # models whose layers are theirs to make
    for entry in graph.entries:
        spec = graph.layers[entry.layer]
        if entry.layer in seen or any(entry.path.startswith(path) for path in inside):
            continue
        seen.add(entry.layer)
        if made_by_class(spec) and not _has_ties(graph, entry.layer):
            inside.append(entry.path + "/")
            yield entry.layer, entry.path
        elif spec.kind == "layer":
            yield entry.layer, entry.path


def _has_ties(graph: ModelGraph, model: LayerId) -> bool:
    """Whether layers of a model share variables, so that it has fewer than its class makes."""
    inner = [graph.layers[layer] for layer in graph.net_of(model).calls_of]
    return any(spec.ties or (spec.net is not None and _has_ties(graph, spec.id)) for spec in inner)


def _check_own(models: list[LayerSpec], graph: ModelGraph) -> None:
    """Raises where variables would be missed: of a model with ties, only its layers are looked at."""
    for spec in models:
        if not _has_ties(graph, spec.id):
            continue
        model = spec.prototype
        inside = {id(v) for layer in model.layers for v in layer.variables}
        if any(id(v) not in inside for v in model.variables):
            raise StructureError(
                f"The model '{spec.name}' ({spec.cls.__name__}) has variables of its own beside layers "
                "that share theirs, which cannot be written as code. Save the model instead."
            )


def _state(editor: Editor, layer: LayerId) -> LayerState | None:
    state = editor.layer_state(layer)
    return LayerState() if state is None and editor.graph.layers[layer].variables == () else state


def is_known(state: LayerState | None) -> bool:
    """Whether all values of a layer are there, none to be drawn yet."""
    return state is not None and state.known


# -- from the source -----------------------------------------------------------------------------


class Source:
    """The source of an editor, in which values of the edited model are looked for.

    Without `weights`, a variable has its place there whatever became of its value.
    """

    def __init__(self, editor: Editor, weights: bool = True) -> None:
        self._editor = editor
        self._weights = weights
        self._states: dict[LayerId, LayerState] = {}
        # Worked on itself, it is no longer what the script will be given.
        self._gone = editor.in_place and weights

    def path(self, layer: LayerId) -> str:
        """The path of one of its layers; empty for itself."""
        return self._editor.source_graph.paths.get(layer, "")

    def state(self, layer: LayerId) -> LayerState:
        """The values of one of its layers."""
        if layer not in self._states:
            self._states[layer] = capture(self._editor.source_layer(layer))
        return self._states[layer]

    def place(self, unit: Unit, index: int) -> tuple[LayerId, int] | None:
        """Where the source has the value of a variable: a layer, and a position among its variables."""
        origin = None if self._gone else self.origin(unit.layer, index)
        if origin is None:
            return None
        if not self._weights:
            return origin
        values = self.state(origin[0]).values
        known = origin[1] < len(values)
        same = known and same_bits(keras.ops.convert_to_numpy(values[origin[1]]), unit.array(index))
        return origin if same else None

    def origin(self, layer: LayerId, index: int) -> tuple[LayerId, int] | None:
        """The variable of the source from which a variable was taken over whole."""
        while self._editor.source_layer(layer) is None:
            spec = self._editor.graph.layers.get(layer)
            if spec is None:
                return None
            origin = spec.origins.get(index)
            if spec.twin is not None:
                layer = spec.twin
            elif origin is not None and origin.whole:
                layer, index = origin.layer, origin.index
            else:
                return None
        return layer, index

    def has_assets(self, unit: Unit) -> LayerId | None:
        """The layer of the source with the same vocabulary."""
        origin = None if self._gone else self.origin(unit.layer, 0)
        if origin is None:
            return None
        same = not self._weights or self.state(origin[0]).assets == unit.state.assets
        return origin[0] if same else None


def from_source(function: Function, script: Script, editor: Editor, weights: bool) -> None:
    """Writes the lines that give every layer of `model` its values, from the source if it has them.

    Without `weights`, what the source does not have is left as it is drawn.
    """
    source = Source(editor, weights)
    alike: list[str] = []
    moved: dict[str, str] = {}
    others: list[str] = []
    for unit in units(editor, build=weights):
        order = _order(editor, unit, script)
        places = [source.place(unit, index) for index in order]
        whole = _whole(source, places)
        there = None if whole is None else source.path(whole)
        here = found("model", unit.path)
        if there is not None and unit.path and there:
            if there == unit.path:
                alike.append(unit.path)
            else:
                moved[unit.path] = there
        elif there is not None:
            others.append(f"assign({here}, {found('source', there)}.variables)")
        elif weights or any(places):
            codes = [
                f"{found('source', source.path(place[0]))}.variables[{place[1]}]"
                if place is not None
                else script.values(unit.hint(index), unit.array(index))
                if weights
                else "None"
                for index, place in zip(order, places, strict=True)
            ]
            others += [f"assign({here}, [{', '.join(codes)}])"] if codes else []
        same = source.has_assets(unit) if unit.state.assets else None
        if same is not None:
            others.append(f"copy_assets({here}, {found('source', source.path(same))})")
        elif unit.state.assets and weights:
            others.append(_assets(unit, script))
    if alike or moved or others:
        function.add("")
    if len(alike) > 1:
        function.add(f"for path in [{', '.join(map(text, alike))}]:")
        function.add("assign(find(model, path), find(source, path).variables)", 1)
    elif alike:
        moved = {alike[0]: alike[0], **moved}
    if len(moved) > 3:
        pairs = ", ".join(f"{text(path)}: {text(there)}" for path, there in moved.items())
        function.add(f"for path, there in {{{pairs}}}.items():")
        function.add("assign(find(model, path), find(source, there).variables)", 1)
    else:
        others[:0] = [
            f"assign({found('model', path)}, {found('source', there)}.variables)"
            for path, there in moved.items()
        ]
    for line in others:
        function.add(line)


def _whole(source: Source, places: Sequence[tuple[LayerId, int] | None]) -> LayerId | None:
    """The layer of the source of which all variables are taken, each in its place."""
    if not places or places[0] is None:
        return None
    layer = places[0][0]
    every = [(layer, index) for index in range(len(source.state(layer).values))]
    return layer if list(places) == every else None


def _order(editor: Editor, unit: Unit, script: Script) -> list[int]:
    """The positions of a layer's variables in the order in which a layer made anew has them.

    One into which variables of others were put has them last.
    """
    graph = editor.graph
    spec = graph.layers[unit.layer]
    natural = list(range(len(unit.state.values)))
    if not spec.ties or spec.kind != "layer":
        return natural
    entry = next(e for e in graph.entries if e.layer == unit.layer)
    net = graph.net_of(entry.owner)

    def symbol(leaf: Any) -> Any:
        known = net.spec(leaf) if isinstance(leaf, Ref) else _variable(graph, leaf)
        return keras.KerasTensor(known.shape, dtype=known.dtype)

    with unnoticed():
        fresh = make_layer(spec, script.given)
        if net.opaque:
            fresh.build_from_config(editor.live_layer(entry).get_build_config() or {})
        elif not fresh.built:
            call_on(fresh, net.calls_of[unit.layer][0], symbol)
        before = list(fresh.variables)
        put_in_order(spec, fresh)
    after = [id(variable) for variable in fresh.variables]
    return [after.index(id(variable)) for variable in before]


def _variable(graph: ModelGraph, ref: VariableRef) -> VariableSpec:
    return (graph.layers[ref.layer].variables or ())[ref.index]


# -- brought along -------------------------------------------------------------------------------


def brought_along(
    function: Function,
    script: Script,
    editor: Editor,
    expected: Callable[[Unit], LayerState | None],
) -> None:
    """Writes the lines that give a model what it does not have as expected.

    Args:
        function: what they are written into.
        script: what takes up the arrays.
        editor: the model with its values.
        expected: the values that a layer has without these lines; None where it is not known.
    """
    lines = []
    for unit in units(editor):
        there = expected(unit)
        values = there.values if there is not None else ()
        codes = [
            "None"
            if _is(values, index, unit)
            else script.values(unit.hint(index), unit.array(index))
            for index in range(len(unit.state.values))
        ]
        if any(code != "None" for code in codes):
            lines.append(f"assign({found('model', unit.path)}, [{', '.join(codes)}])")
        if unit.state.assets and (there is None or there.assets != unit.state.assets):
            lines.append(_assets(unit, script))
    if lines:
        function.add("# Values that the edits alone do not give.")
    for line in lines:
        function.add(line)


def _is(values: Sequence[Any], index: int, unit: Unit) -> bool:
    if index >= len(values) or values[index] is None or isinstance(values[index], Overlap):
        return False
    return same_bits(keras.ops.convert_to_numpy(values[index]), unit.array(index))


def _assets(unit: Unit, script: Script) -> str:
    """Code that gives a layer its vocabulary."""
    files = vocabulary(script, unit.path, unit.state.assets)
    return f"load_assets({found('model', unit.path)}, {files})"
