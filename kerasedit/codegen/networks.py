"""Writes networks in plain Keras: one as the body of a function, the models in it as functions."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import keras

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
    iter_leaves,
    map_leaves,
)
from ..names import snake_case
from .layout import text
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

    Raises:
        StructureError: something in it cannot be written.
    """

    def __init__(
        self,
        script: Script,
        layers: Mapping[LayerId, LayerSpec],
        net: Network,
        flags: Mapping[LayerId, bool] | None = None,
    ) -> None:
        self.script = script
        self._layers = layers
        self._nets = list(self._reachable(net, set()))
        users = Counter(layer for each in self._nets for layer in _used_in(each))
        # All that the code imports is known before the first local name is given.
        self._codes = {
            layer: layer_literal(layers[layer], script, (flags or {}).get(layer, True))
            for layer in users
            if layers[layer].kind in ("layer", "input") or made_by_class(layers[layer])
        }
        for each in self._nets:
            self._import_functions(each)
        self.shared: dict[LayerId, str] = {}
        for layer in (i for i, number in users.items() if number > 1):
            taken = {*script.taken, *self.shared.values()}
            self.shared[layer] = identifier(layers[layer].name, taken)
        self._made: dict[LayerId, str] = {}
        self._named: dict[int, list[str]] = {}  # ops of a network that have their own names

    def _reachable(self, net: Network, seen: set[LayerId]) -> Iterator[Network]:
        """A network, and those of the models in it."""
        yield net
        for layer in net.calls_of:
            spec = self._layers[layer]
            if spec.net is not None and not made_by_class(spec) and layer not in seen:
                seen.add(layer)
                yield from self._reachable(spec.net, seen)

    def _import_functions(self, net: Network) -> None:
        for call in net.calls:
            for leaf in iter_leaves(object, (call.args, dict(call.kwargs))):
                if inspect.isroutine(leaf):
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
                first.add(f"{self.shared[layer]} = {self.made(layer)}")

        for layer in self.shared:
            make(layer)
        return first.body

    def _numbers_of_ops(self) -> dict[str, int]:
        """The largest numbers in names that raw ops, numbered by Keras, must not get."""
        found: dict[str, int] = {}
        for net in self._nets:
            specs = [self._layers[layer] for layer in net.calls_of]
            names = [s.name for s in specs if s.kind != "op"] + self._named.get(id(net), [])
            for stem in {snake_case(s.cls.__name__) for s in specs if s.kind == "op"}:
                numbered = (re.fullmatch(rf"{stem}(?:_(\d+))?", name) for name in names)
                numbers = [int(m[1] or 0) for m in numbered if m and int(m[1] or 0) < _FAR]
                if numbers:
                    found[stem] = max(*numbers, found.get(stem, 0))
        return dict(sorted(found.items()))

    def made(self, layer: LayerId) -> str:
        """Code that makes a layer; of a model, the call of the function that does."""
        spec = self._layers[layer]
        if layer not in self._made:
            if spec.net is None:
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
        return self._added(function)

    def _new_function(self, spec: LayerSpec) -> Function:
        name = self.script.name(f"make_{spec.name}")
        return Function(name, [], f"The model {text(spec.name)}.")

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
        return self._added(function)

    def _added(self, function: Function) -> str:
        if any("custom_objects" in code for _, code in function.body):
            function.parameters.append("custom_objects")
        self.script.functions.append(function)
        return f"{function.name}({', '.join(function.parameters)})"

    def _needed_by(self, model: LayerId) -> list[LayerId]:
        """What a model's function is given: layers inside of it that other networks use too."""
        spec = self._layers[model]
        if spec.net is None or made_by_class(spec):
            return []
        found: dict[LayerId, None] = {}
        for layer in _used_in(spec.net):
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
            items = [self.shared.get(c.layer) or self.made(c.layer) for c in net.calls]
            given = f"[{', '.join(items)}]"
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
        if any(m.kind == "op" or m.name != n for m, n in zip(makers, net.output_names, strict=True)):
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

    def note_name(self, net: Network, name: str) -> None:
        """Notes that an op of a network has this name."""
        self._named.setdefault(id(net), []).append(name)

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
            if named:
                self._all.note_name(self._net, spec.name)
        else:
            args = [nested(value, give).text for value in call.args]
            args += [
                f"{name}={nested(value, give).text}"
                for name, value in call.kwargs.items()
                if not _is_default(spec.cls, name, value)
            ]
            code = f"{self._callee(call.layer, spec)}({', '.join(args)})"
        self._bind(call, spec, code, self._shape_of(call, spec))

    def _callee(self, layer: LayerId, spec: LayerSpec) -> str:
        """Code for the layer that is called: one that is called or needed again has a name."""
        if layer not in self._layers:
            made = self._all.made(layer)
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


def _used_in(net: Network) -> list[LayerId]:
    """The layers that a network calls, or takes the variables of."""
    variables = (ref.layer for call in net.calls for ref in call.variables)
    return list(dict.fromkeys((*net.calls_of, *variables)))


def _is_default(cls: Any, name: str, value: Any) -> bool:
    """Whether an argument of a call is what the layer takes without it."""
    parameter = inspect.signature(cls.call).parameters.get(name)
    return parameter is not None and (value is None or isinstance(value, bool)) and (
        parameter.default is value
    )


def _depth(net: Network) -> int:
    """The number of calls on the longest way through a network."""
    found: dict[int, int] = {}
    for call in net.calls:
        found[call.id] = 1 + max((found[ref.call] for ref in call.refs), default=0)
    return max(found.values(), default=0)
