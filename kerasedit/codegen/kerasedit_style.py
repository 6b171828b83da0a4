"""The edits of an editor, as calls of its methods, one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from .. import _keras
from ..blocks import Block, make_block
from ..edits import (
    Edit,
    MapWeights,
    PruneChannels,
    RecalibrateBatchnorm,
    Reinitialize,
    SetWeights,
    Transaction,
)
from ..edits.base import Workspace
from ..edits.layers import config_value
from ..edits.weights import first_values
from ..errors import EditError, StructureError
from ..graph.build import LayerState, build_model, capture, make_layer, restore
from ..graph.infer import infer
from ..graph.model_graph import LayerId, LayerSpec, ModelGraph, Network, Ref
from .layout import text, told
from .literals import Code, comparable, data_literal, literal, nested
from .networks import Networks, is_default
from .script import Function, Script, Unwritable, found_in, is_importable
from .weights import Unit, brought_along, units

if TYPE_CHECKING:
    from ..editor import Editor


def write(editor: Editor, script: Script, weights: bool) -> list[str]:
    """Writes the function `build`; returns the paragraphs of the script's docstring.

    Args:
        editor: has the edits.
        script: what is written into.
        weights: whether values come along that the edits alone do not give.

    Raises:
        StructureError: something that was put in cannot be written as code.
    """
    script.use("kerasedit")
    name = told(editor.source.name)
    build = Function("build", ["source"], f"The model {name} with the edits made on it.")
    options = ["source"]
    if editor.custom_objects:
        pairs = [f"{text(k)}: {_reference(v, script)}" for k, v in editor.custom_objects.items()]
        options.append(f"custom_objects={{{', '.join(pairs)}}}")
    options += ["in_place=True"] if editor.in_place else []
    build.add(f"ed = kerasedit.Editor({', '.join(options)})")
    writer = _Writer(editor, script, weights)
    for edit in editor.history:
        writer.write(edit, build)
    before = len(build.body)
    if weights:
        brought_along(build, script, editor, Repeated(editor, writer.repeated).state)
    if len(build.body) > before:
        build.body.insert(before, (0, "model = ed.model"))
        build.add("return model")
    else:
        build.add("return ed.model")
    script.add(build)
    own = "the model itself is edited" if editor.in_place else "the source stays as it is"
    return [
        f"Edits of the model {name}, made with kerasedit.",
        f"`build(source)` makes them on a source model and returns the edited one; {own}. "
        "It is compiled if the source is.",
    ]


def _reference(thing: Any, script: Script) -> str:
    try:
        return script.reference(thing)
    except Unwritable as problem:
        raise StructureError(
            f"The custom objects cannot be written as code: {problem}."
        ) from problem


class _Writer:
    """Writes edits; with `weights`, `repeated` are the edits that the code makes when it is run."""

    def __init__(self, editor: Editor, script: Script, weights: bool) -> None:
        self._given = editor.custom_objects
        self._script, self._weights = script, weights
        self._fresh: dict[int, Block] = {}  # what the code of a block gives, by its `id`
        self.repeated: list[Edit] = []

    def write(self, edit: Edit, function: Function, indent: int = 0) -> None:
        """Adds the lines of an edit to a function."""
        if isinstance(edit, Transaction):
            function.add(f"with ed.transaction({text(edit.label)}):", indent)
            for part in edit.edits:
                self.write(part, function, indent + 1)
            if not edit.edits:
                function.add("pass", indent + 1)
            return
        if isinstance(edit, MapWeights) and not (edit.fn and is_importable(edit.fn)):
            edit = SetWeights(edit.target, edit.arrays or {}, edit.expect)  # what it made of them
        if isinstance(edit, (PruneChannels, RecalibrateBatchnorm)):
            edit = edit.explicit()  # by weights or data as they were then, which may not be there
        if isinstance(edit, Reinitialize):
            edit = replace(edit, arrays=None)  # it will be another draw
        function.add(edit.to_code(self._code), indent)
        blocks = {
            item.name: self._fresh[id(getattr(edit, item.name))]
            for item in dataclasses.fields(edit)
            if isinstance(getattr(edit, item.name), Block)
        }
        self.repeated.append(replace(edit, **blocks))

    def _code(self, name: str, value: Any) -> str:
        """Code for a field of an edit.

        Raises:
            StructureError: there is none.
        """
        try:
            if isinstance(value, Block):
                return self._block(value)
            if name == "config":
                return self._argument(value)
            if name == "arrays":
                return self._arrays(value)
            if name == "targets":
                return ", ".join(map(self._value, value))
            return self._value(value)
        except Unwritable as problem:
            raise StructureError(
                f"An edit's {name}= cannot be written as code: {problem}."
            ) from problem

    def _value(self, value: Any) -> str:
        """Code for a target, a number or a text."""

        def leaf(value: Any) -> Code:
            cls = _layer_class(value) if isinstance(value, Mapping) else None
            return literal(value if cls is None else cls, self._script)

        return nested(value, leaf, lambda value: isinstance(value, Mapping)).text

    def _argument(self, value: Any) -> str:
        """Code for an argument of `configure`, which is data."""
        code = literal(value, self._script)
        if comparable(config_value(code.value)) == comparable(value):
            return code.text
        return data_literal(value, self._script)

    def _arrays(self, arrays: Any) -> str:
        if isinstance(arrays, Mapping):
            pairs = [
                f"{text(k)}: {self._script.array(k, np.asarray(v))}" for k, v in arrays.items()
            ]
            return f"{{{', '.join(pairs)}}}"
        items = [self._script.array("set_weights", np.asarray(array)) for array in arrays]
        return f"[{', '.join(items)}]"

    # -- blocks ----------------------------------------------------------------------------------

    def _block(self, block: Block) -> str:
        """Code for what is put in: a layer, a list, a function that makes a model, or of tensors."""
        self._fresh[id(block)] = fresh = _without_values(block)
        layers = self._inferred(fresh)
        entries = {block.net.by_id[ref.call].layer for ref in block.net.input_refs}
        flags = {i: flag for i, flag in block.flags.items() if layers[i].kind == "layer"}
        net = layers[_ROOT].net
        assert net is not None
        assets = {i: state.assets for i, state in fresh.states.items()}
        networks = Networks(self._script, layers, net, flags, entries, assets)
        if networks.shared or not _is_list(net, layers):
            return self._function(block, net, networks)
        items = [networks.made(layer) for layer in block.members]
        for function in networks.functions.values():
            function.body[:0] = networks.prelude()
        if self._weights and any(layers[i].net is not None for i in block.members):
            made = [self._live(layers[i], layers, fresh) for i in block.members]
            self._fresh[id(block)] = make_block(made)
        return items[0] if len(items) == 1 else f"[{', '.join(items)}]"

    def _function(self, block: Block, net: Network, networks: Networks) -> str:
        """Code for a function of tensors."""
        about = f"What is put in: {block.describe()}."
        function = Function(self._script.name("block"), ["x"], about)
        tensors = networks.calls(function, net, {net.input_refs[0]: "x"})
        function.body[:0] = networks.prelude()
        function.add(f"return {tensors[net.output_refs[0]]}")
        called = networks.add(function)
        bare = len(function.parameters) == 1
        return function.name if bare else f"lambda x: {called}"

    def _inferred(self, block: Block) -> dict[LayerId, LayerSpec]:
        """The layers of a block with what its calls put out, and its network as one more."""
        functional = _keras.PLAIN_MODELS[1]
        root = LayerSpec(_ROOT, "model", "block", functional, config={}, net=block.net)
        layers = {**block.layers, _ROOT: root}
        entries = [block.net.by_id[ref.call] for ref in block.net.input_refs]
        for layer in [*block.members, *([_ROOT] if all(e.outputs for e in entries) else [])]:
            net = layers[layer].net
            if net is not None and not net.opaque:
                graph, _ = infer(ModelGraph(layer, layers, block.flags), custom_objects=self._given)
                layers |= graph.layers
        return layers

    def _live(self, spec: LayerSpec, layers: Mapping[LayerId, LayerSpec], block: Block) -> Any:
        """A layer or model of a block as the code makes it, with values of its own."""
        with _other_draws():
            if spec.net is not None:
                graph = ModelGraph(spec.id, layers, block.flags)
                return build_model(graph, block.states.get, self._given).model
            layer = make_layer(spec, self._given)
            layer.trainable = block.flags.get(spec.id, True)
            if spec.id in block.states:
                restore(layer, block.states[spec.id], spec)
            return layer


_ROOT: LayerId = 0  # of a block's own network: identities begin with 1


def _without_values(block: Block) -> Block:
    """A block as code makes it: no layer has values or variables yet, but for vocabularies."""

    def opened(net: Network) -> Network:
        calls = (
            replace(c, outputs=None) if block.layers[c.layer].kind == "layer" else c
            for c in net.calls
        )
        return net if net.opaque else replace(net, calls=tuple(calls))

    layers = {
        layer: replace(spec, variables=None, ties={}, origins={}, heritage=None, twin=None)
        if spec.kind == "layer"
        else replace(spec, net=opened(spec.net))
        if spec.net is not None
        else spec
        for layer, spec in block.layers.items()
    }
    states = {i: LayerState(assets=s.assets) for i, s in block.states.items() if s.assets}
    return Block(layers, block.flags, opened(block.net), states, block.code)


def _is_list(net: Network, layers: Mapping[LayerId, LayerSpec]) -> bool:
    """Whether a network is a chain of layers and models, each called on one tensor alone."""
    before = net.input_refs[0]
    entries = {ref.call for ref in net.input_refs}
    for call in net.calls:
        if call.id in entries:
            continue
        spec = layers[call.layer]
        plain = all(is_default(spec.cls, name, value) for name, value in call.kwargs.items())
        if spec.kind == "op" or call.args != (before,) or not plain:
            return False
        before = Ref(call.id)
    return len(net.calls_of) == len(net.calls) and net.output_refs == (before,)


def _layer_class(target: Mapping[str, Any]) -> type | None:
    """The class that a target names; None where it is nowhere to be found."""
    name, module = target["class_name"], target.get("module")
    public = getattr(keras.layers, name, None)
    if isinstance(public, type) and module in (None, public.__module__):
        return public
    cls = found_in(module, name)
    return cls if isinstance(cls, type) and module != "__main__" else None


@contextlib.contextmanager
def _other_draws() -> Iterator[None]:
    """What is drawn inside at random is not what the model drew, whatever seeds the user sets."""
    with _keras.preserved_random():
        random.seed()
        yield


# -- repeating -----------------------------------------------------------------------------------


class Repeated:
    """What the edits give when they are made again on the source, as far as it has to be known.

    Args:
        editor: has the source and the history.
        edits: the edits as the code makes them.
    """

    def __init__(self, editor: Editor, edits: list[Edit]) -> None:
        self._editor, self._edits = editor, edits
        self._touched = {c.layer for step in editor.steps for c in step.values}

    def state(self, unit: Unit) -> LayerState | None:
        """The values that a layer has then; None where they are not known."""
        if self._editor.in_place:
            return None  # what the script is given was not kept
        if self._is_left_alone(unit.layer):
            return capture(self._editor.source_layer(unit.layer))
        known = self._units.get(unit.path)
        return None if known is None else self._with_fresh(known)

    def _is_left_alone(self, layer: LayerId) -> bool:
        spec = self._editor.graph.layers[layer]
        shares = any(variable.shared is not None for variable in spec.variables or ())
        inside = spec.net is not None and not self._touched.isdisjoint(spec.net.calls_of)
        known = self._editor.source_layer(layer) is not None
        return known and not (shares or inside or layer in self._touched)

    @cached_property
    def _again(self) -> Editor:
        """An editor with the edits made once more.

        Raises:
            EditError: the result is another model.
        """
        source = self._editor.source
        given = self._editor.custom_objects
        with warnings.catch_warnings(), _other_draws():
            warnings.simplefilter("ignore")
            again = type(self._editor)(source, custom_objects=given, compile=False)
            for edit in self._edits:
                again.apply(edit)
        paths = [
            [(entry.path, graph.layers[entry.layer].cls) for entry in graph.entries]
            for graph in (again.graph, self._editor.graph)
        ]
        if paths[0] != paths[1]:
            raise EditError("The edits made again on the source give another model than this one.")
        return again

    @cached_property
    def _units(self) -> dict[str, Unit]:
        with _other_draws():
            return {unit.path: unit for unit in units(self._again, build=False)}

    def _with_fresh(self, unit: Unit) -> LayerState:
        """The values of a layer, with first ones for those that have none."""
        values = list(unit.state.values)
        if any(value is None for value in values):
            graph = self._again.graph
            entry = graph.by_path[unit.path]
            work = Workspace(graph, self._editor.custom_objects)
            try:
                with _other_draws():
                    first = first_values(work, entry, None)
            except StructureError:  # a quantized layer has no initializers for what it has
                return unit.state
            values = [
                first[index] if value is None else value for index, value in enumerate(values)
            ]
        return replace(unit.state, values=tuple(values))
