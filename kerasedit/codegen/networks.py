"""Writes networks in plain Keras: one as the body of a function, the models in it as functions."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from .. import _keras
from ..errors import StructureError
from ..graph.build import call_on, make_layer
from ..graph.model_graph import (
    Call,
    LayerId,
    LayerSpec,
    Network,
    Ref,
    VariableRef,
    map_leaves,
)
from ..names import snake_case
from .layout import text, told
from .literals import Code, layer_literal, literal, nested, unnoticed
from .ops import op_code
from .script import Function, Script, Unwritable, identifier

# Keras walks a graph by recursion, and Python stops at 1,000 frames.
_DEEP = 200
# A name with a larger number than this is not one that Keras will come to.
_FAR = 1_000_000


def made_by_class(spec: LayerSpec) -> bool:
    """Whether only its own class knows how a model is made: it is written as one call of it."""
    if spec.net is None or spec.prototype is None:
        return False
    plain = [cls.__init__ for cls in (*_keras.PLAIN_MODELS, keras.Model)]
    return spec.net.opaque or spec.cls.__init__ not in plain


class Networks:
    """Writes a network, and with it all models inside.

    Args:
        script: what the code is for.
        layers: all layers, by identity.
        net: the network.
        flags: the flags that layers are made with; those that are missing are True.
        given: inputs that stand for tensors which are there already.
        assets: the vocabularies of layers that are made with them.

    Attributes:
        shared: the names of what several networks use.
        functions: those that make models, by the model's identity.
        holds: the layers of the networks that a layer is given when it is made.

    Raises:
        StructureError: something in it cannot be written.
    """

    def __init__(
        self,
        script: Script,
        layers: Mapping[LayerId, LayerSpec],
        net: Network,
        flags: Mapping[LayerId, bool] | None = None,
        given: Collection[LayerId] = (),
        assets: Mapping[LayerId, Mapping[str, bytes]] | None = None,
    ) -> None:
        self.script = script
        self._layers = layers
        self._assets = assets or {}
        self._nets = list(self._reachable(net, set()))
        self.holds = self._holdings()
        users = Counter(layer for each in self._nets for layer in self._used_in(each))
        # All that the code imports is known before the first local name is given.
        self._codes = {
            layer: layer_literal(
                layers[layer],
                script,
                (flags or {}).get(layer, True),
                {(layers[i].cls.__name__, layers[i].name): _mark(i) for i in self.holds[layer]},
            )
            for layer in users
            if layer not in given
            and (layers[layer].kind in ("layer", "input") or made_by_class(layers[layer]))
        }
        for each in self._nets:
            self._import_functions(each)
        self.shared: dict[LayerId, str] = {}
        for layer in (i for i, number in users.items() if number > 1):
            taken = {*script.taken, *self.shared.values()}
            self.shared[layer] = identifier(layers[layer].name, taken)
        self.functions: dict[LayerId, Function] = {}
        self._made: dict[LayerId, str] = {}
        self._named: dict[int, list[str]] = {}  # the names of ops that have their own, by network
        self._numbered: dict[int, set[str]] = {}  # the stems of the others' names

    def _reachable(self, net: Network, seen: set[LayerId]) -> Iterator[Network]:
        """A network, and those of the models in it."""
        yield net
        for layer in net.calls_of:
            spec = self._layers[layer]
            if spec.net is not None and not made_by_class(spec) and layer not in seen:
                seen.add(layer)
                yield from self._reachable(spec.net, seen)

    def _holdings(self) -> dict[LayerId, list[LayerId]]:
        """For each layer those of the networks that it has inside."""
        every = dict.fromkeys(layer for net in self._nets for layer in net.calls_of)
        whole = {self._layers[i].ties.get(()): i for i in every if self._layers[i].net is None}
        found: dict[LayerId, list[LayerId]] = {}
        for layer in every:
            spec = self._layers[layer]
            inside = Counter(token for place, token in spec.ties.items() if place)
            # A layer of its own that is called the same could not be told from it.
            found[layer] = [
                whole[token]
                for token, number in inside.items()
                if token in whole and _told_in(spec.config, self._layers[whole[token]]) == number
            ]
        return found

    def _used_in(self, net: Network) -> list[LayerId]:
        """The layers that a network calls, gives to others, or takes the variables of."""
        variables = (ref.layer for call in net.calls for ref in call.variables)
        given = (inner for layer in net.calls_of for inner in self.holds[layer])
        return list(dict.fromkeys((*net.calls_of, *variables, *given)))

    def _import_functions(self, net: Network) -> None:
        for call in net.calls:
            leaves: list[Any] = []
            map_leaves(leaves.append, (call.args, call.kwargs))
            for leaf in filter(inspect.isroutine, leaves):
                self.constant(leaf, self._layers[call.layer])

    # -- functions -------------------------------------------------------------------------------

    def prelude(self) -> list[tuple[int, str]]:
        """What comes first in the outermost function, when it is written: what all need is made."""
        first = Function("", [], "")
        depth = max(map(_depth, self._nets))
        if depth > _DEEP:
            first.add("# Keras walks a deep model by recursion.")
            first.add(f"sys.setrecursionlimit(max(sys.getrecursionlimit(), {1000 + 4 * depth}))")
        taken = self._numbers_of_ops()
        if taken:
            pairs = ", ".join(f"{text(stem)}: {number}" for stem, number in taken.items())
            first.add("# Keras numbers raw ops itself: past the names that layers have here.")
            first.add(f"for stem, number in {{{pairs}}}.items():")
            first.add("while keras.backend.get_uid(stem) <= number:", 1)
            first.add("pass", 2)
        ready: set[LayerId] = set()

        def make(layer: LayerId) -> None:
            if layer not in ready:
                ready.add(layer)
                for inner in self._needed_by(layer):
                    make(inner)
                code = self.made(layer)
                for inner in self.holds.get(layer, ()):
                    make(inner)
                    code = code.replace(_mark(inner), self.shared[inner])
                first.add(f"{self.shared[layer]} = {code}")

        for layer in self.shared:
            make(layer)
        return first.body

    def _numbers_of_ops(self) -> dict[str, int]:
        """The largest numbers in names that raw ops, numbered by Keras, must not get."""
        found: dict[str, int] = {}
        for net in self._nets:
            specs = [self._layers[layer] for layer in net.calls_of]
            names = [s.name for s in specs if s.kind != "op"] + self._named.get(id(net), [])
            for stem in self._numbered.get(id(net), ()):
                numbered = (re.fullmatch(rf"{stem}(?:_(\d+))?", name) for name in names)
                numbers = [int(m[1] or 0) for m in numbered if m and int(m[1] or 0) < _FAR]
                if numbers:
                    found[stem] = max(*numbers, found.get(stem, 0))
        return dict(sorted(found.items()))

    def made(self, layer: LayerId) -> str:
        """Code that makes a layer; of a model, the call of the function that does."""
        spec = self._layers[layer]
        if layer not in self._made:
            if layer in self._assets:
                self._made[layer] = self._with_vocabulary(spec)
            elif spec.net is None:
                self._made[layer] = self._codes[layer]
            elif made_by_class(spec):
                self._made[layer] = self._own_class(spec)
            else:
                self._made[layer] = self._function(spec)
        return self._made[layer]

    def _function(self, spec: LayerSpec) -> str:
        """Adds a function that makes a model; returns the call of it."""
        function = self._new_function(spec)
        function.parameters += [self.shared[layer] for layer in self._needed_by(spec.id)]
        code, settings = self.model(function, spec)
        if settings:
            function.add(f"model = {code}")
            for setting in settings:
                function.add(f"model.{setting}")
        function.add("return model" if settings else f"return {code}")
        return self.add(function)

    def _new_function(self, spec: LayerSpec) -> Function:
        name = self.script.name(f"make_{spec.name}")
        function = Function(name, [], f"The {spec.kind} {told(spec.name)}.")
        self.functions[spec.id] = function
        return function

    def _with_vocabulary(self, spec: LayerSpec) -> str:
        """Adds a function that makes a layer with its vocabulary; returns the call of it."""
        function = self._new_function(spec)
        function.add(f"layer = {self._codes[spec.id]}")
        files = vocabulary(self.script, spec.name, self._assets[spec.id])
        function.add(f"load_assets(layer, {files})")
        function.add("return layer")
        return self.add(function)

    def _own_class(self, spec: LayerSpec) -> str:
        """Code for a model that its class makes; a function where it has to be built, too."""
        code = self._codes[spec.id]
        with keras.saving.custom_object_scope(dict(self.script.given)), unnoticed():
            fresh = _keras.with_values_if_needed(
                lambda: spec.cls.from_config(spec.prototype.get_config())
            )
        if fresh.built:
            return code
        function = self._new_function(spec)
        function.add(f"model = {code}")
        shapes = self.constant(spec.prototype.get_build_config(), spec).text
        function.add(f"model.build_from_config({shapes})")
        function.add("return model")
        return self.add(function)

    def add(self, function: Function) -> str:
        """Adds a function to the script; returns the call of it."""
        if self.script.custom and any("custom_objects" in code for _, code in function.body):
            function.parameters.append("custom_objects")
        self.script.functions.append(function)
        return f"{function.name}({', '.join(function.parameters)})"

    def _needed_by(self, model: LayerId) -> list[LayerId]:
        """What a model's function is given: layers inside of it that other networks use too."""
        spec = self._layers[model]
        if spec.net is None or made_by_class(spec):
            return []
        found: dict[LayerId, None] = {}
        for layer in self._used_in(spec.net):
            found.update(dict.fromkeys([layer] if layer in self.shared else self._needed_by(layer)))
        return list(found)

    def model(self, function: Function, spec: LayerSpec) -> tuple[str, list[str]]:
        """Writes what a model is made of; returns the code that makes it, and what is set then."""
        net = spec.net
        assert net is not None
        if made_by_class(spec):
            return self.made(spec.id), []
        settings = self._settings(spec)
        if net.chain:
            body = _Body(self, function, net, {})
            given = f"[{', '.join(body.layer(call.layer) for call in net.calls)}]"
        else:
            tensors = self.calls(function, net, {})
            given = ", ".join(self.ends(net, tensors))
        plain = {keras.Sequential: "keras.Sequential", _keras.PLAIN_MODELS[1]: "keras.Model"}
        cls = plain.get(spec.cls) or self.script.reference(spec.cls)
        return f"{cls}({given}, name={text(spec.name)})", settings

    @staticmethod
    def ends(net: Network, tensors: Mapping[Ref, str]) -> tuple[str, str]:
        """Code for the inputs and the outputs of a network."""

        def code(structure: Any) -> str:
            return nested(structure, lambda ref: Code(tensors[ref], None)).text

        return code(net.inputs), code(net.outputs)

    def _settings(self, spec: LayerSpec) -> list[str]:
        """What a model is given after it was made."""
        net, found = spec.net, []
        assert net is not None
        policy = (spec.config or {}).get("dtype")
        if policy is not None and policy.name != "float32":
            found.append(f"dtype_policy = {self.constant(policy, spec).text}")
        if net.chain or not net.output_names:
            return found
        makers = [self._layers[net.by_id[ref.call].layer] for ref in net.output_refs]
        if any(
            m.kind == "op" or m.name != n for m, n in zip(makers, net.output_names, strict=True)
        ):
            names = self.constant(list(net.output_names), spec).text
            found.append(f"output_names = {names}")
        return found

    # -- calls -----------------------------------------------------------------------------------

    def calls(self, function: Function, net: Network, given: Mapping[Ref, str]) -> dict[Ref, str]:
        """Writes the calls of a network; returns the names of its tensors.

        Args:
            function: what they are written into.
            net: the network.
            given: tensors that the function has already.
        """
        return _Body(self, function, net, given).write()

    def spec(self, layer: LayerId) -> LayerSpec:
        return self._layers[layer]

    def note_op(self, net: Network, spec: LayerSpec, named: bool) -> None:
        """Notes that an op of a network has its own name, or gets one of Keras."""
        if named:
            self._named.setdefault(id(net), []).append(spec.name)
        else:
            self._numbered.setdefault(id(net), set()).add(snake_case(spec.cls.__name__))

    def constant(self, value: Any, spec: LayerSpec) -> Code:
        """Code for what a call of a layer takes beside tensors.

        Raises:
            StructureError: there is none.
        """
        try:
            return literal(value, self.script)
        except Unwritable as problem:
            raise StructureError(
                f"'{spec.name}' ({spec.cls.__name__}) is called with what cannot be written as "
                f"code: {problem}."
            ) from problem


class _Body:
    """The calls of one network, as statements of a function."""

    def __init__(
        self, networks: Networks, function: Function, net: Network, given: Mapping[Ref, str]
    ) -> None:
        self._all, self._function, self._net = networks, function, net
        self._tensors = dict(given)
        self._symbols: dict[Ref, Any] = {}
        shared = networks.shared
        self._taken = {*networks.script.taken, *shared.values(), *given.values()}
        self._layers: dict[LayerId, str] = {**shared}  # those with names of their own
        self._used = {ref for call in net.calls for ref in call.refs} | set(net.output_refs)
        self._held = {v.layer for call in net.calls for v in call.variables}
        self._held.update(i for layer in net.calls_of for i in networks.holds[layer])

    def write(self) -> dict[Ref, str]:
        for call in self._net.calls:
            if Ref(call.id) not in self._tensors:
                self._call(call)
        return self._tensors

    def _name(self, hint: str) -> str:
        name = identifier(hint, self._taken)
        self._taken.add(name)
        return name

    def _call(self, call: Call) -> None:
        spec = self._all.spec(call.layer)
        if spec.kind == "input":
            shared = self._layers.get(call.layer)
            if shared is not None:
                self._tensors[Ref(call.id)] = shared
            else:
                self._bind(call, spec, self._all.made(call.layer), "one")
            return

        def give(leaf: Any) -> Code:
            return self._leaf(leaf, spec)

        if spec.kind == "op":
            code, named = op_code(spec, call, give, self._all.script)
            self._all.note_op(self._net, spec, named)
        else:
            args = [nested(value, give).text for value in call.args]
            args += [
                f"{name}={nested(value, give).text}"
                for name, value in call.kwargs.items()
                if not is_default(spec.cls, name, value)
            ]
            code = f"{self.layer(call.layer)}({', '.join(args)})"
        self._bind(call, spec, code, self._shape_of(call, spec))

    def layer(self, layer: LayerId) -> str:
        """Code for a layer: one that is called or needed again has a name."""
        spec = self._all.spec(layer)
        if layer not in self._layers:
            made = self._all.made(layer)
            for inner in self._all.holds[layer]:
                made = made.replace(_mark(inner), self.layer(inner))
            if len(self._net.calls_of[layer]) == 1 and layer not in self._held:
                return made
            self._layers[layer] = self._name(spec.name)
            self._function.add(f"{self._layers[layer]} = {made}")
        return self._layers[layer]

    def _leaf(self, leaf: Any, spec: LayerSpec) -> Code:
        """Code for a tensor, variable or constant in the arguments of a call."""
        if isinstance(leaf, Ref):
            return Code(self._tensors[leaf], self._symbol(leaf))
        if isinstance(leaf, VariableRef):
            variable = (self._all.spec(leaf.layer).variables or ())[leaf.index]
            symbol = keras.KerasTensor(variable.shape, dtype=variable.dtype)
            return Code(f"{self._layers[leaf.layer]}.variables[{leaf.index}]", symbol)
        return self._all.constant(leaf, spec)

    def _symbol(self, ref: Ref) -> Any:
        if ref not in self._symbols:
            known = self._net.spec(ref)
            self._symbols[ref] = keras.KerasTensor(
                known.shape, dtype=known.dtype, sparse=known.sparse
            )
        return self._symbols[ref]

    def _bind(self, call: Call, spec: LayerSpec, code: str, shape: str) -> None:
        """Adds a statement that names what a call puts out."""
        refs = [Ref(call.id, index) for index in range(len(call.outputs or ()))]
        names = [self._name(spec.name) if ref in self._used else "_" for ref in refs]
        self._tensors.update(zip(refs, names, strict=True))
        if shape == "one":
            self._function.add(f"{names[0]} = {code}")
            return
        if shape == "nested":
            code = f"keras.tree.flatten({code})"
        left = f"[{names[0]}]" if len(names) == 1 else ", ".join(names)
        self._function.add(f"{left} = {code}")

    def _shape_of(self, call: Call, spec: LayerSpec) -> str:
        """What a call puts out: `"one"` tensor, a `"flat"` list of them, or something `"nested"`."""
        outputs = len(call.outputs or ())
        if spec.net is not None and not spec.net.opaque:
            found = spec.net.outputs
        elif outputs == 1 and spec.cls.__module__.startswith("keras.") and spec.prototype is None:
            return "one"
        else:
            try:
                found = self._put_out(call, spec)
            except Exception:  # that of a custom layer may need what is not at hand
                return "one" if outputs == 1 else "nested"
        if not isinstance(found, (list, tuple, Mapping)):
            return "one"
        leaves = isinstance(found, (list, tuple)) and not any(
            isinstance(item, (list, tuple, Mapping)) for item in found
        )
        return "flat" if leaves and len(found) == outputs else "nested"

    def _put_out(self, call: Call, spec: LayerSpec) -> Any:
        def find(leaf: Ref | VariableRef) -> Any:
            return self._leaf(leaf, spec).value

        def fill(leaf: Any) -> Any:
            return find(leaf) if isinstance(leaf, (Ref, VariableRef)) else leaf

        with unnoticed():
            if spec.net is None:
                return call_on(make_layer(spec, self._all.script.given), call, find)
            kwargs = {name: map_leaves(fill, value) for name, value in call.kwargs.items()}
            return spec.prototype.compute_output_spec(*map_leaves(fill, call.args), **kwargs)


def vocabulary(script: Script, path: str, files: Mapping[str, bytes]) -> str:
    """Code for the files of a layer's vocabulary, as arrays of bytes by their names.

    Raises:
        StructureError: it is that of a layer inside.
    """
    pairs = []
    for name, content in files.items():
        part, _, file = name.partition("/")
        if part != "0":
            raise StructureError(
                f"The layer '{path}' has a vocabulary in a layer inside of it, which cannot be written "
                "as code. Make it with vocabulary=, or save the model instead."
            )
        array = np.frombuffer(content, np.uint8)
        pairs.append(f"{text(file)}: {script.store(f'{path}/{file}', array)}")
    return f"{{{', '.join(pairs)}}}"


def _told_in(config: Any, layer: LayerSpec) -> int:
    """How often a configuration tells of a layer of a class and name."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        named = isinstance(inner, Mapping) and inner.get("name") == layer.name
        same = named and config.get("class_name") == layer.cls.__name__
        return int(same) + sum(_told_in(item, layer) for item in config.values())
    if isinstance(config, (list, tuple)):
        return sum(_told_in(item, layer) for item in config)
    return 0


def _mark(layer: LayerId) -> str:
    """What stands in code for a layer that has no name yet; no text has this sign."""
    return f"\0{layer}\0"


def is_default(cls: Any, name: str, value: Any) -> bool:
    """Whether an argument of a call is what the layer takes without it."""
    parameter = inspect.signature(cls.call).parameters.get(name)
    return (
        parameter is not None
        and (value is None or isinstance(value, bool))
        and (parameter.default is value)
    )


def _depth(net: Network) -> int:
    """The number of calls on the longest way through a network."""
    found: dict[int, int] = {}
    for call in net.calls:
        found[call.id] = 1 + max((found[ref.call] for ref in call.refs), default=0)
    return max(found.values(), default=0)
