"""What an edit is, and the workspace in which edits change a graph."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from .._keras import PLAIN_MODELS, deferred, preserved_random
from ..arrays import Store, array_data, read_array
from ..block_data import write_block
from ..blocks import Block
from ..codegen.literals import config_code
from ..errors import EditError, NameTaken, StructureError, TargetError
from ..graph.build import Built, LayerState, make_layer
from ..graph.infer import Findings, OnMismatch, infer
from ..graph.model_graph import (
    Call,
    Entry,
    Kept,
    LayerId,
    LayerSpec,
    ModelGraph,
    Origin,
    Ref,
    iter_refs,
)
from ..graph.rewrite import Draft
from ..names import free_name, listed
from ..palette import check_harmless
from ..targets import Target, is_pattern, select, target_code

registry: dict[str, type[Edit]] = {}

Writer = Callable[[str, Any], str]


@dataclass
class Report:
    """What an edit did beside what it was asked for.

    `notes` are for who looks, none is a warning. `passed_over` are layers by their paths that a
    pattern names and that the edit is not for, with the reason.
    """

    dropped: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    matched: list[tuple[Target, tuple[str, ...]]] = field(default_factory=list)


@dataclass(frozen=True)
class NewValues:
    """New values for a variable: `make` gives them from the present ones and the live layer.

    `drawn` tells that they are random, so that making the edit again gives others.
    """

    layer: LayerId
    index: int
    path: str
    make: Callable[[np.ndarray, Any], np.ndarray]
    drawn: bool = False


@dataclass
class Workspace:
    """A graph in the making. An edit changes it here; the editor adopts it whole or not at all.

    `look` tells the latest value of a variable, `draw` lets a layer have such values where it has none
    yet, `make` makes a model with them, and `settings` are what the model was compiled with: for edits
    that depend on them.
    """

    graph: ModelGraph
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    states: dict[LayerId, LayerState] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    values: list[NewValues] = field(default_factory=list)
    look: Callable[[ModelGraph, LayerId, int], np.ndarray] | None = None
    draw: Callable[[ModelGraph, LayerId], None] | None = None
    make: Callable[[ModelGraph], Built] | None = None
    settings: Mapping[str, Any] | None = None

    def value(self, layer: LayerId, index: int) -> np.ndarray:
        """The latest value of a layer's variable.

        Raises:
            EditError: there is none yet, as the layer is made only by edits that are planned.
        """
        assert self.look is not None
        return self.look(self.graph, layer, index)

    def need_values(self, layers: Iterable[LayerId]) -> None:
        """Lets layers that would draw values later draw them now, as others are reckoned from these."""
        assert self.draw is not None
        for layer in dict.fromkeys(layers):
            self.draw(self.graph, layer)

    def model(self, graph: ModelGraph) -> Built:
        """A model of its own for a graph of these layers, with their latest values, to try out."""
        assert self.make is not None
        return self.make(graph)

    # -- naming layers ---------------------------------------------------------------------------

    def find(self, target: Target, expect: int | None = None) -> list[Entry]:
        """The layers that a target names, at least one.

        Raises:
            TargetError: it names none, or not `expect` ones.
        """
        found = select(self.graph, target)
        if expect is not None and len(found) != expect:
            names = listed(entry.path for entry in found)
            raise TargetError(
                f"{expect} layers were expected and the target names {len(found)}: {names}."
            )
        self.report.matched.append((target, tuple(entry.path for entry in found)))
        return found

    def find_one(self, target: Target, expect: int | None = None) -> Entry:
        """The single layer that a target names.

        Raises:
            TargetError: it names none or several, or `expect` is another number.
        """
        found = self.find(target, expect)
        if len(found) > 1:
            names = listed(entry.path for entry in found)
            raise TargetError(f"One layer is needed here and the target names several: {names}.")
        return found[0]

    def spec(self, layer: LayerId) -> LayerSpec:
        return self.graph.layers[layer]

    def calls(self, entry: Entry, call: int | None = None) -> list[Call]:
        """The calls of a layer in its place, or the one of that number."""
        calls = self.graph.net_of(entry.owner).calls_of[entry.layer]
        if call is None:
            return calls
        if not 0 <= call < len(calls):
            raise TargetError(
                f"The layer '{entry.path}' has {len(calls)} calls, numbered from 0; there is no "
                f"call {call}."
            )
        return [calls[call]]

    # -- changing --------------------------------------------------------------------------------

    def draft(self, entry: Entry) -> Draft:
        """A draft of the network that calls a layer.

        Raises:
            StructureError: the network is Python code.
        """
        return self.draft_of(entry.owner)

    def draft_of(self, owner: LayerId) -> Draft:
        for model in self._around(owner):
            if self.graph.net_of(model).opaque:
                spec = self.spec(model)
                raise StructureError(
                    f"The model '{spec.name}' is a subclassed model: its call is Python code, so its "
                    "structure cannot be edited. Its flags and weights can."
                )
        return Draft(self.graph.net_of(owner))

    def adopt(self, owner: LayerId, draft: Draft) -> None:
        """Puts a draft in place of a network; what nothing needs any more is dropped and reported.

        Raises:
            StructureError: nothing would be left.
        """
        ops = {i for i, spec in self.graph.layers.items() if spec.kind == "op"}
        net, dead = draft.finish(drop_inputs=owner == self.graph.root, ops=ops)
        if not any(call.refs for call in net.calls):
            raise StructureError(
                f"Nothing would be left of the model '{self.spec(owner).name}': keep at least one "
                "layer beside its input."
            )
        for spec in map(self.spec, self._around(owner)):
            if spec.cls not in PLAIN_MODELS:
                self.report.warnings.append(
                    f"'{spec.name}' becomes a plain model: what {spec.cls.__name__} does of its own, "
                    "such as in train_step, is not in the copy."
                )
        paths = self.graph.paths
        self.report.dropped.extend(paths[i] for i in dead if i in paths)
        others = net.outputs != self.graph.net_of(owner).outputs

        def changed(spec: LayerSpec) -> LayerSpec:
            if spec.id == owner:
                return replace(spec, net=net)
            # What calls the model is inferred anew where another layer makes its outputs.
            return _with_stale(spec, owner) if others else spec

        models = [_plain(changed(self.spec(model))) for model in self._around(owner)]
        made_by_class = [m.id for m in models if self.spec(m.id).prototype is not None]
        self.graph = self.graph.with_layers(*models)
        for model in made_by_class:
            self._require_makeable(model)

    def _require_makeable(self, model: LayerId) -> None:
        """Raises where a model that its class made so far has a layer that cannot be made by itself.

        Those of Keras itself can.
        """
        for spec in map(self.spec, self.graph.net_of(model).calls_of):
            if spec.net is None and not spec.cls.__module__.startswith("keras."):
                with preserved_random(), deferred():
                    make_layer(spec, self.custom_objects)

    def touch(self, *layers: LayerId) -> None:
        """Lets every call of some layers be inferred anew, as these themselves are others now."""
        for owner in dict.fromkeys(e.owner for e in self.graph.entries if e.layer in layers):
            draft = self.draft_of(owner)
            draft.calls = [
                replace(call, stale=True) if call.layer in layers else call for call in draft.calls
            ]
            self.adopt(owner, draft)

    def swap(self, others: Mapping[LayerId, LayerSpec]) -> None:
        """Puts layers of identities of their own, called as those were, in the places of layers."""
        flags = {spec.id: self.graph.flags.get(old, True) for old, spec in others.items()}
        self.graph = self.graph.with_layers(*others.values(), flags=flags)
        for owner in dict.fromkeys(e.owner for e in self.graph.entries if e.layer in others):
            draft = self.draft_of(owner)
            draft.calls = [
                replace(call, layer=others[call.layer].id) if call.layer in others else call
                for call in draft.calls
            ]
            self.adopt(owner, draft)

    def names_in(self, owner: LayerId) -> set[str]:
        """The names of the layers that a model calls."""
        return {self.spec(layer).name for layer in self.graph.net_of(owner).calls_of}

    def prefix(self, entry: Entry) -> str:
        """The path of the model around a layer, with a slash behind it, or nothing for the root."""
        return entry.path[: len(entry.path) - len(self.spec(entry.layer).name)]

    def _around(self, owner: LayerId) -> list[LayerId]:
        """The models that hold a network: itself, and all around it."""
        found = {owner}
        grew = True
        while grew:
            grew = False
            for layer_id, spec in self.graph.layers.items():
                if layer_id not in found and spec.net and found & spec.net.calls_of.keys():
                    found.add(layer_id)
                    grew = True
        return [layer_id for layer_id in self.graph.layers if layer_id in found]

    def add_block(
        self,
        block: Block,
        owner: LayerId,
        *,
        freed: Iterable[LayerId] = (),
        beside: Iterable[LayerId] = (),
        heritage: tuple[Origin, ...] | None = None,
    ) -> Block:
        """Takes a copy of a block into the graph, its layers named so that nothing collides.

        Args:
            owner: the model whose network the block is for.
            freed: layers that leave with this edit, so that their names are free.
            beside: other layers that come with this edit, so that their names are not.
            heritage: the weights that the block's layers may inherit; None where they replace nothing.

        Raises:
            NameTaken: a chosen name belongs to another layer.
        """
        block = block.instance()
        leaving = set(freed)
        remaining = [i for i in self.graph.net_of(owner).calls_of if i not in leaving]
        taken = {self.spec(i).name for i in (*remaining, *beside)}
        specs = {
            i: spec if i in block.states or spec.net else replace(spec, heritage=heritage)
            for i, spec in block.layers.items()
        }
        for layer_id in block.members:
            spec = specs[layer_id]
            name = free_name(spec.name, spec.cls.__name__, taken)
            if name != spec.name:
                self.report.renamed.append((spec.name, name))
            taken.add(name)
            specs[layer_id] = replace(spec, name=name)
        self.graph = self.graph.with_layers(*specs.values(), flags=block.flags)
        self.states.update(block.states)
        return replace(block, layers=specs)

    def infer(
        self, on_mismatch: OnMismatch, kept: Mapping[tuple[LayerId, int], Kept] | None = None
    ) -> None:
        """Infers what follows from the changes, and adds what was found to the report.

        Args:
            on_mismatch: what becomes of weights that no longer fit.
            kept: of variables (by layer and position) that get smaller, what stays of their axes.
        """
        self.graph, found = infer(
            self.graph, on_mismatch=on_mismatch, custom_objects=self.custom_objects, kept=kept
        )
        mine = self.report.findings
        mine.shape_changes += found.shape_changes
        mine.reinitialized += found.reinitialized
        mine.sliced += found.sliced
        self.report.dropped += found.lost
        self.report.warnings += found.untied

    def tell_outputs(self, before: ModelGraph) -> None:
        """Notes which outputs no longer fit the targets that a compiled model was trained on."""
        if not (self.settings and self.settings.get("loss")):
            return
        old, new = before.net_of(before.root), self.graph.net_of(self.graph.root)
        if len(old.output_refs) != len(new.output_refs):
            return  # the wiring of losses is told by what changes it
        for name, was, now in zip(new.output_names, old.output_refs, new.output_refs, strict=False):
            shapes = old.spec(was).shape, new.spec(now).shape
            if shapes[0] != shapes[1]:
                self.report.notes.append(
                    f"output '{name}' becomes {shapes[1]}, from {shapes[0]}: the loss that the model "
                    "was compiled with needs targets to match"
                )


def _with_stale(spec: LayerSpec, layer: LayerId) -> LayerSpec:
    """A model in which every call of a layer is to be inferred anew."""
    assert spec.net is not None
    calls = [replace(c, stale=True) if c.layer == layer else c for c in spec.net.calls]
    return replace(spec, net=replace(spec.net, calls=tuple(calls)))


def _plain(spec: LayerSpec) -> LayerSpec:
    """An edited model of a plain class: a subclass's own config would tell the old structure."""
    sequential, functional = PLAIN_MODELS
    chain = spec.net is not None and spec.net.chain
    cls = sequential if chain else functional
    return replace(spec, prototype=None, variables=None, cls=cls)


@dataclass(frozen=True)
class Edit:
    """An edit is data: what a method makes, a recipe stores, the widget sends, the history holds.

    Subclasses are frozen dataclasses with a `kind`, the name of the method and of the JSON.
    """

    kind: ClassVar[str]
    checks: ClassVar[Mapping[str, str]] = {}  # fields that are checked otherwise than by their name
    keywords: ClassVar[tuple[str, ...]] = ()  # fields without a default that go by their name
    live: ClassVar[tuple[str, ...]] = ()  # fields that hold no data

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            registry[cls.kind] = cls

    def settled(self, work: Workspace) -> Edit:
        """The edit with all that depends on the weights as they are now; `apply` asks for none."""
        return self

    def apply(self, work: Workspace) -> None:
        """Changes the workspace's graph; raises an `EditError` where that cannot be done."""
        raise NotImplementedError

    def describe(self) -> str:
        """The edit in a few words."""
        raise NotImplementedError

    def recorded(self, values: Mapping[str, np.ndarray]) -> Edit:
        """The edit as the history holds it, once it is known which values it gave weights."""
        return self

    def to_json(self, arrays: Store | None = None) -> dict[str, Any]:
        """The edit as JSON; fields that have their default are left out.

        Args:
            arrays: takes up the arrays of the edit; without it they are inline.
        """
        data: dict[str, Any] = {"edit": self.kind}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            has_default = item.default is not dataclasses.MISSING
            if item.name not in self.live and not (has_default and value == item.default):
                data[item.name] = _to_data(value, arrays)
        return data

    @classmethod
    def from_json(
        cls,
        data: Mapping[str, Any],
        read_block: Callable[[Any], Block],
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """The edit that a JSON object tells.

        Args:
            data: the object, `edit` included.
            read_block: makes a block of the JSON of layers; who calls decides what it lets in.
            arrays: the arrays that the object refers to by name.

        Raises:
            EditError: a field is missing, unknown or of the wrong type.
        """
        fields = {item.name: item for item in dataclasses.fields(cls)}
        given = {name: value for name, value in data.items() if name != "edit"}
        unknown = sorted(given.keys() - fields.keys())
        if unknown:
            raise EditError(f"The edit '{cls.kind}' has no {', '.join(map(repr, unknown))}.")
        for name in cls.live:
            if name in given:
                raise EditError(f"In the edit '{cls.kind}', {name!r} cannot be given as data.")
        for name, item in fields.items():
            if name not in given and item.default is dataclasses.MISSING:
                raise EditError(f"The edit '{cls.kind}' needs {name!r}.")
        values = {}
        for name, value in given.items():
            if name in BLOCKS:
                values[name] = read_block(value)
            elif name == "arrays":
                values[name] = _read_arrays(value, arrays)
            else:
                values[name] = check(cls.kind, name, value, cls.checks.get(name))
        return cls(**values)

    def to_code(self, write: Writer | None = None) -> str:
        """The call of the editor's method that makes this edit.

        Args:
            write: gives the code of a field's value by the field's name; in short without it.
        """
        arguments = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            required = item.default is dataclasses.MISSING
            other = value is not None if item.name in self.live else value != item.default
            if required or other:
                arguments.append(self._argument(item.name, value, required, write or _to_code))
        return f"ed.{self.kind}({', '.join(filter(None, arguments))})"

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        """An argument in Python; nothing where the method has none of this name."""
        text = write(name, value)
        return text if required and name not in self.keywords else f"{name}={text}"


def read_edit(
    data: Any,
    read_block: Callable[[Any], Block],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Edit:
    """The edit that a JSON object tells, of whatever class.

    Raises:
        EditError: it is no object, or names no edit.
    """
    if not isinstance(data, Mapping):
        raise EditError(f"An edit is a JSON object, not {type(data).__name__}.")
    cls = registry.get(data["edit"]) if isinstance(data.get("edit"), str) else None
    if cls is None:
        raise EditError(
            f"There is no edit {data.get('edit')!r}. Known are: {', '.join(sorted(registry))}."
        )
    return cls.from_json(data, read_block, arrays)


def targets_of(edit: Edit) -> list[Target]:
    """The targets that a single edit names layers by, as they were given."""
    values = [getattr(edit, name, None) for name in TARGETS]
    return [value for value in (*values, *getattr(edit, "targets", ())) if value is not None]


BLOCKS = ("block", "merge")
TARGETS = ("target", "after", "before", "keep", "input", "start", "stop", "source", "into")
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{
        name: (lambda v: is_pattern(v), "a path, a pattern, an index or a list of them")
        for name in TARGETS
    },
    "targets": (
        lambda v: isinstance(v, (list, tuple)) and all(map(is_pattern, v)),
        "a list of targets",
    ),
    "name": (lambda v: isinstance(v, str), "a text"),
    "dtype": (lambda v: isinstance(v, str), "a text"),
    "shape": (lambda v: is_shape(v), "a list of whole numbers and nulls"),
    "config": (lambda v: isinstance(v, Mapping), "an object"),
    "factor": (lambda v: is_number(v), "a number"),
    "weight": (lambda v: v is None or isinstance(v, str), "a text"),
    "flag": (lambda v: isinstance(v, bool), "true or false"),
    "outputs": (lambda v: isinstance(v, bool), "true or false"),
    "call": (lambda v: v is None or _is_int(v), "a whole number"),
    "expect": (lambda v: v is None or _is_int(v), "a whole number"),
    "label": (lambda v: isinstance(v, str), "a text"),
    "channels": (lambda v: _is_channels(v), "a list of whole numbers, or an object of such lists"),
    "share": (lambda v: v is None or is_number(v), "a number"),
    "criterion": (
        lambda v: isinstance(v, str) or _are(is_number, v),
        "a text or a list of numbers",
    ),
    "filters": (
        lambda v: v is None or isinstance(v, str) or _are(lambda item: isinstance(item, str), v),
        "a text or a list of texts",
    ),
    "pattern": (lambda v: v in ("magnitude", "2:4"), "'magnitude' or '2:4'"),
    "multiple_of": (lambda v: _is_int(v), "a whole number"),
    "scope": (lambda v: v in ("layer", "global"), "'layer' or 'global'"),
    "seed": (lambda v: v is None or _is_int(v), "a whole number"),
    "size": (lambda v: _is_int(v), "a whole number"),
    "init": (lambda v: v in ("function_preserving", "random"), "'function_preserving' or 'random'"),
    "noise": (lambda v: is_number(v), "a number"),
    "output": (lambda v: v is None or isinstance(v, str) or _is_int(v), "a text or a whole number"),
    "kept": (lambda v: v is None or _is_kept(v), "an object of the channels that stay"),
    "weights": (lambda v: v in ("match", "slice", "none"), "'match', 'slice' or 'none'"),
    "on_mismatch": (lambda v: v in ("error", "reinit", "slice"), "'error', 'reinit' or 'slice'"),
}


def check(kind: str, name: str, value: Any, rule: str | None = None) -> Any:
    """A field's value from JSON, checked by the rule of that name; lists become tuples.

    Raises:
        EditError: it is of the wrong type.
    """
    good, wanted = _CHECKS[rule or name]
    try:
        fits = good(value)
    except RecursionError as problem:
        raise EditError(f"In the edit '{kind}', {name!r} is nested too deeply.") from problem
    if not fits:
        raise EditError(f"In the edit '{kind}', {name!r} must be {wanted}, not {value!r:.80}.")
    if (rule or name) == "config":
        check_harmless(value)
    return _as_tuples(value)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def is_shape(value: Any) -> bool:
    """Whether a value is a shape: sizes from 1, None where open."""
    return isinstance(value, (list, tuple)) and all(
        size is None or (_is_int(size) and size > 0) for size in value
    )


def is_number(value: Any) -> bool:
    """Whether a value is a number that JSON has: neither infinite nor NaN."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _are(good: Callable[[Any], bool], values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(map(good, values))


def _is_channels(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _are(_is_int, own) for key, own in value.items())
    return value is None or _are(_is_int, value)


def _is_kept(value: Any) -> bool:
    """Whether a value has, by path, of how many channels which ones stay."""
    return isinstance(value, Mapping) and all(
        isinstance(path, str)
        and isinstance(own, Mapping)
        and set(own) == {"of", "keep"}
        and _is_int(own["of"])
        and _are(lambda i: _is_int(i) and 0 <= i < own["of"], own["keep"])  # noqa: B023
        for path, own in value.items()
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _to_data(value: Any, arrays: Store | None) -> Any:
    if isinstance(value, Block):
        return write_block(value, arrays)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [_to_data(item, arrays) for item in value]
    if isinstance(value, np.ndarray):
        return array_data(value, arrays)
    if isinstance(value, Mapping):
        return {key: _to_data(item, arrays) for key, item in value.items()}
    return value.to_json(arrays) if isinstance(value, Edit) else value


def _read_arrays(value: Any, arrays: Mapping[str, np.ndarray] | None) -> Any:
    if isinstance(value, list):
        return [read_array(item, arrays) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: read_array(item, arrays) for key, item in value.items()}
    raise EditError("'arrays' is a list of arrays, or an object of arrays by the names of weights.")


def _to_code(name: str, value: Any) -> str:
    if isinstance(value, Block):
        return value.code
    if name in TARGETS:
        return target_code(value)
    if name == "arrays":
        return "arrays"
    if name == "targets":
        return ", ".join(target_code(item) for item in value)
    if name == "config":
        return str(config_code(value))
    return getattr(value, "__name__", "function") if name == "fn" else repr(value)


def tensors_of(call: Call) -> list[Ref]:
    """The different tensors that a call takes, masks aside."""
    kwargs = {k: v for k, v in call.kwargs.items() if not (k == "mask" or k.endswith("_mask"))}
    return list(dict.fromkeys(iter_refs((call.args, kwargs))))


def choose_input(work: Workspace, entry: Entry, call: Call, which: Any, argument: str) -> Ref:
    """Which of a call's input tensors is meant: by number, by path of what makes it, or the only one.

    Raises:
        StructureError: it has several and none was chosen, or has none at all.
        TargetError: the choice names none of them.
    """
    refs = tensors_of(call)
    net = work.graph.net_of(entry.owner)
    prefix = work.prefix(entry)
    makers = [prefix + work.spec(net.by_id[ref.call].layer).name for ref in refs]
    listing = ", ".join(f"{i}: '{maker}'" for i, maker in enumerate(makers))
    if not refs:
        raise StructureError(f"'{entry.path}' is an input of the model and takes nothing.")
    if which is None:
        if len(refs) > 1:
            raise StructureError(
                f"'{entry.path}' ({work.spec(entry.layer).cls.__name__}) takes {len(refs)} "
                f"tensors. Say which with {argument}=, a number or a path: {listing}."
            )
        return refs[0]
    if _is_int(which):
        if not 0 <= which < len(refs):
            raise TargetError(f"'{entry.path}' has no input {which}. It takes {listing}.")
        return refs[which]
    chosen = [
        ref
        for ref, maker in zip(refs, makers, strict=True)
        if maker == which or maker == f"{prefix}{which}"
    ]
    if len(chosen) != 1:
        raise TargetError(
            f"{argument}={which!r} names no single input of '{entry.path}': {listing}."
        )
    return chosen[0]


def inside(graph: ModelGraph, found: Iterable[Entry]) -> list[Entry]:
    """The layers among some that are no models, and those inside of the models among them."""
    own = list(found)
    paths = {entry.path for entry in own}
    models = tuple(f"{e.path}/" for e in own if graph.layers[e.layer].net is not None)
    return [
        entry
        for entry in graph.entries
        if (entry.path in paths or entry.path.startswith(models))
        and graph.layers[entry.layer].kind == "layer"
    ]


def by_reason(what: str, passed_over: Mapping[str, str]) -> list[str]:
    """Layers that an edit is not for, in lines: those of one reason together."""
    paths: dict[str, list[str]] = {}
    for path, why in passed_over.items():
        paths.setdefault(why, []).append(path)
    return [f"{what}: {listed(map(repr, own))}, as {why}" for why, own in paths.items()]


def require_free(work: Workspace, owner: LayerId, name: str, what: str) -> None:
    """Raises `NameTaken` where a layer of the model has the name already."""
    if name in work.names_in(owner):
        raise NameTaken(f"{what} cannot be called '{name}': another layer beside it has that name.")
