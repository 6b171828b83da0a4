"""Edits that make layers larger: more channels inside a model, more classes at its head."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from keras import layers

from .._keras import preserved_random
from ..compress.groups import Channels, Cut
from ..errors import EditError, StructureError
from ..graph.model_graph import (
    Call,
    Entry,
    Kept,
    LayerId,
    LayerSpec,
    ModelGraph,
    Origin,
    Place,
    Ref,
    VariableSpec,
)
from ..targets import Target, is_many, target_text
from .base import Edit, Workspace, tensors_of
from .channels import check_seed, makers_named, reckon, resize
from .weights import first_values
from .wiring import output_keys, output_places

Init = Literal["function_preserving", "random"]
_MOST = 1_000_000  # channels of a layer


def _check_size(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise EditError(f"{name} is a whole number from 1 to {_MOST:,}, not {value!r:.80}.")


def _any_seed() -> int:
    return int(np.random.default_rng().integers(2**31))


@dataclass(frozen=True)
class GrowChannels(Edit):
    """Gives layers more channels, and all that these are tied to, without a change of what comes out.

    Chen, Goodfellow and Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (2016): new
    channels are copies, and what takes them has their weights divided by the number of copies.
    """

    kind: ClassVar[str] = "grow_channels"
    checks: ClassVar[Mapping[str, str]] = {"to": "size"}
    target: Target
    to: int
    init: Init = "function_preserving"
    noise: float = 0.0
    seed: int | None = None
    expect: int | None = None

    def describe(self) -> str:
        return f"grow {target_text(self.target)} to {self.to} channels"

    def settled(self, work: Workspace) -> GrowChannels:
        """The edit with the seed of what it draws."""
        self._check()
        draws = self.init == "random" or self.noise > 0
        return replace(self, seed=_any_seed()) if draws and self.seed is None else self

    def _check(self) -> None:
        _check_size("to", self.to)
        check_seed(self.seed)
        if self.init not in ("function_preserving", "random"):
            raise EditError(f"init is 'function_preserving' or 'random', not {self.init!r:.80}.")
        if not isinstance(self.noise, (int, float)) or not 0 <= self.noise < np.inf:
            raise EditError(f"noise is a number from 0, not {self.noise!r:.80}.")
        if self.noise and self.init == "random":
            raise EditError("noise= is for copies; with init='random' there are none.")

    def apply(self, work: Workspace) -> None:
        self._check()
        work.find(self.target, self.expect)
        channels = Channels(work.graph)
        times = np.ones(len(channels.number), int)
        for layer in makers_named(work, channels, self.target, channels.bounds, "grow"):
            self._add(work, channels, layer, times)
        if (times == 1).all():
            return
        cut = channels.resized(times, new=self.init == "random")
        work.need_values(layer for layer, _ in cut.kept)
        axes = channels.tracker.axes
        resize(work, cut)
        graph, given = work.graph, work.custom_objects

        def make(entry: Entry, index: int, origin: Origin) -> Callable[..., np.ndarray]:
            roles = [axis.role for axis in axes[origin.layer, origin.index]]
            takes = tuple(n for n, role in enumerate(roles) if role == "takes")
            seed, kept = self.seed or 0, origin.kept or ()
            if self.init == "random":
                draw = partial(_drawn, graph, entry, given, index, seed)
                return partial(_with_new, kept=kept, takes=takes, draw=draw)
            # Each layer has noise of its own, whatever else the model has.
            seeds = (seed, *entry.path.encode(), index)
            makes = tuple(n for n, role in enumerate(roles) if role == "makes" and self.noise)
            noise = partial(_noise, axes=makes, share=self.noise, seeds=seeds)
            return partial(_shared_out, kept=kept, takes=takes, noise=noise)

        reckon(work, cut.kept.keys(), make)

    def _add(self, work: Workspace, channels: Channels, layer: LayerId, times: np.ndarray) -> None:
        """Lets channels of a layer be there more often, in turn, until it has as many as it should.

        Raises:
            EditError: it has more, or it cannot have just as many.
        """
        numbers, path = channels.makers[layer], channels.graph.paths[layer]
        own, places = np.unique(
            numbers[[n not in channels.bounds for n in numbers.tolist()]], return_counts=True
        )
        present = int(times[numbers].sum())
        wanted = self.to - present
        if wanted < 0 and is_many(self.target):
            work.report.notes.append(f"'{path}' has {present} channels as it is.")
            return
        if wanted < 0:
            raise EditError(
                f"'{path}' has {present} channels and cannot grow to {self.to}. To take channels out "
                "there is ed.prune_channels."
            )
        rounds, rest = divmod(wanted, int(places.sum()))
        times[own] += rounds
        for number, size in zip(own.tolist(), places.tolist(), strict=True):
            if size <= rest:
                times[number] += 1
                rest -= size
        if rest:
            step = int(np.gcd.reduce(places))
            raise EditError(
                f"'{path}' has {present} channels that are tied to each other {step} at a time: it "
                f"grows in steps of {step}, and not to {self.to}."
            )


def _shared_out(
    value: np.ndarray,
    kept: Kept,
    takes: Sequence[int],
    noise: Callable[[np.ndarray, Kept], np.ndarray],
) -> np.ndarray:
    """Values of which there are copies: what takes copies takes a part of each.

    Args:
        value: the values with their copies.
        kept: the positions that they are from.
        takes: the axes along which channels are taken, summing up.
        noise: by how much copies differ.
    """
    result = value.astype(np.float64)
    for axis in takes:
        own = kept[axis]
        if own is not None:
            result /= _along(axis, value.ndim, np.bincount(own)[list(own)])
    return (result + noise(result, kept)).astype(value.dtype)


def _noise(
    value: np.ndarray, kept: Kept, axes: Sequence[int], share: float, seeds: Sequence[int]
) -> np.ndarray:
    """What makes copies along some axes differ: a share of the spread of the values."""
    found = np.zeros(value.shape)
    for axis in axes:
        own = kept[axis]
        if own is not None:
            copy = np.ones(len(own), bool)
            copy[np.unique(own, return_index=True)[1]] = False
            some = np.random.default_rng([*seeds, axis]).normal(size=value.shape)
            found += share * value.std() * some * _along(axis, value.ndim, copy)
    return found


def _with_new(
    value: np.ndarray,
    kept: Kept,
    takes: Sequence[int],
    draw: Callable[[], np.ndarray],
) -> np.ndarray:
    """Values with first ones for new channels, which nothing takes yet."""
    result, fresh = value, draw()
    for axis, own in enumerate(kept):
        if own is not None and axis not in takes:
            new = _along(axis, value.ndim, np.asarray(own) < 0)
            result = np.where(new, fresh, result)
    return result.astype(value.dtype)


def _along(axis: int, rank: int, values: np.ndarray) -> np.ndarray:
    """A vector as an array of a rank, along one of its axes."""
    return values.reshape([-1 if number == axis else 1 for number in range(rank)])


def _drawn(
    graph: ModelGraph, entry: Entry, given: Mapping[str, Any], index: int, seed: int
) -> np.ndarray:
    """The first values that a layer's own initializers give a variable, by a seed."""
    with preserved_random():
        random.seed(f"{seed} {entry.path} {index}")
        return first_values(Workspace(graph, given), entry, None)[index]


# -- classes -------------------------------------------------------------------------------------

_HEADS: dict[type, str] = {
    layers.Dense: "units",
    layers.Conv1D: "filters",
    layers.Conv2D: "filters",
    layers.Conv3D: "filters",
}
_BEHIND = (
    layers.Activation,
    layers.ActivityRegularization,
    layers.Dropout,
    layers.ELU,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.Identity,
    layers.LeakyReLU,
    layers.ReLU,
    layers.Softmax,
)
_OPS_BEHIND = ("Cast", "Identity", "LogSoftmax", "Relu", "Sigmoid", "Softmax", "Tanh")


@dataclass(frozen=True)
class GrowOutputs(Edit):
    """Adds classes to an output: further units of the layer that makes it, behind the old ones."""

    kind: ClassVar[str] = "grow_outputs"
    checks: ClassVar[Mapping[str, str]] = {"n": "size"}
    n: int
    output: str | int | None = None
    seed: int | None = None

    def describe(self) -> str:
        where = f" to the output '{self.output}'" if self.output is not None else ""
        return f"add {self.n} class{'' if self.n == 1 else 'es'}{where}"

    def settled(self, work: Workspace) -> GrowOutputs:
        """The edit with the seed of what it draws."""
        self._check()
        return replace(self, seed=_any_seed()) if self.seed is None else self

    def _check(self) -> None:
        _check_size("n", self.n)
        check_seed(self.seed)

    def apply(self, work: Workspace) -> None:
        self._check()
        head, reshapes = self._head(work)
        spec = work.spec(head.layer)
        place = _counting_classes(spec)
        assert place is not None
        before = _config_of(spec, place)[place[-1]]
        own = (*range(before), *[-1] * self.n)
        kept = {
            (head.layer, index): (*[None] * (len(variable.shape) - 1), own)
            for index, variable in enumerate(spec.variables or ())
            if _last_name(variable) in _OF_CLASSES
        }
        work.need_values([head.layer])
        after = before + self.n
        settings: dict[tuple[LayerId, Place], Any] = {(head.layer, place): after}
        settings |= {(layer, ("target_shape",)): (after,) for layer in reshapes}
        resize(work, Cut(kept, settings))
        graph, given, seed = work.graph, work.custom_objects, self.seed or 0

        def make(entry: Entry, index: int, origin: Origin) -> Callable[..., np.ndarray]:
            draw = partial(_drawn, graph, entry, given, index, seed)
            return partial(_with_new, kept=origin.kept or (), takes=(), draw=draw)

        reckon(work, kept.keys(), make)
        number = f"{self.n} new unit{'' if self.n == 1 else 's'}"
        work.report.notes.append(f"'{head.path}' draws {number} from its initializers.")

    def _head(self, work: Workspace) -> tuple[Entry, list[LayerId]]:
        """The layer that makes the output, behind which each class goes on by itself.

        Returns:
            It, and what is behind it that names the number of classes.

        Raises:
            StructureError: there is none, or what it makes is taken elsewhere too.
        """
        work.draft_of(work.graph.root)  # refuses an opaque model
        ref, owner, prefix = self._output(work), work.graph.root, ""
        after: Call | None = None
        reshapes: list[LayerId] = []
        while True:
            net = work.graph.net_of(owner)
            call = net.by_id[ref.call]
            spec = work.spec(call.layer)
            entry = Entry(prefix + spec.name, spec.id, owner, 0)
            others = [
                c for c in net.consumers.get(call.id, ()) if after is None or c.id != after.id
            ]
            if others:
                taker = work.spec(others[0].layer).name
                raise StructureError(
                    f"What '{entry.path}' makes goes to '{prefix}{taker}' too, so it cannot get more "
                    "classes."
                )
            if len(net.calls_of[spec.id]) > 1:
                raise StructureError(
                    f"'{entry.path}' is called {len(net.calls_of[spec.id])} times, so it cannot get "
                    "more classes for one output."
                )
            if spec.net is not None and not spec.net.opaque:
                ref, owner, prefix = spec.net.output_refs[ref.index], spec.id, entry.path + "/"
                after = None
                continue
            if _counting_classes(spec) is not None:
                return self._usable(work, entry), reshapes
            taken = tensors_of(call)
            by_itself = _called(spec) in _BEHIND or (
                spec.kind == "op" and spec.cls.__name__ in _OPS_BEHIND
            )
            if spec.cls in (layers.Flatten, layers.Reshape):
                sizes = [size for size in net.spec(taken[0]).shape[1:] if size != 1]
                by_itself = sizes == list(net.spec(Ref(call.id)).shape[1:])
                reshapes += [spec.id] if spec.cls is layers.Reshape else []
            if not by_itself or len(taken) != 1:
                raise StructureError(
                    f"Classes are added to a Dense layer or a convolution at the end of the model; "
                    f"here is '{entry.path}' ({spec.cls.__name__}). Name the output with output= if "
                    "there are several, or use ed.replace."
                )
            after, ref = call, taken[0]

    def _output(self, work: Workspace) -> Ref:
        """The output that is meant.

        Raises:
            StructureError: there are several and none is named, or several are.
            TargetError: there is no such output.
        """
        net = work.graph.net
        refs = net.output_refs
        if self.output is None:
            numbers = set(range(len(refs)))
        elif isinstance(self.output, int) and not isinstance(self.output, bool):
            numbers = {self.output} & set(range(len(refs)))
        else:
            numbers = output_places(work, self.output)
        if len(numbers) != 1:
            names = ", ".join(f"{i}: '{key}'" for i, key in enumerate(output_keys(net)))
            raise StructureError(f"Say which output gets classes, with output=. There are {names}.")
        return refs[numbers.pop()]

    @staticmethod
    def _usable(work: Workspace, head: Entry) -> Entry:
        """Raises where a layer's classes are more than a column in each of its weights."""
        spec = work.spec(head.layer)
        place = _counting_classes(spec)
        names = {_last_name(variable) for variable in spec.weights}
        instead = "Put another head in its place with ed.replace"
        if any(variable.shared is not None for variable in spec.weights):
            why = "shares its weights with another layer"
        elif unknown := names - {*_OF_CLASSES, *_OF_ALL}:
            why = f"has the weights {', '.join(sorted(unknown))}"
            if any(name.endswith("_scale") for name in unknown):
                instead = "Let it get them before ed.quantize"
        elif place is not None and _config_of(spec, place).get("groups", 1) != 1:
            why = "is a grouped convolution, in which each class belongs to a group by its number"
            instead += ", a convolution of one group perhaps"
        else:
            return head
        raise StructureError(f"'{head.path}' {why}, so it cannot get more classes. {instead}.")


_OF_CLASSES = ("kernel", "bias", "lora_kernel_b")  # the last axis is that of the classes
_OF_ALL = ("lora_kernel_a",)


def _last_name(variable: VariableSpec) -> str:
    return variable.name.rpartition("/")[2]


def _called(spec: LayerSpec) -> type | None:
    """The class of a layer, or of that of Keras which a wrapper calls for each step."""
    if spec.cls is not layers.TimeDistributed:
        return spec.cls
    inner = (spec.config or {})["layer"]
    of_keras = str(inner.get("module")).startswith("keras.")
    return getattr(layers, inner["class_name"], None) if of_keras else None


def _counting_classes(spec: LayerSpec) -> Place | None:
    """Where a layer's configuration has the number of classes; None where it makes none."""
    argument = _HEADS.get(_called(spec) or object)
    if argument is None:
        return None
    return (argument,) if spec.cls in _HEADS else ("layer", "config", argument)


def _config_of(spec: LayerSpec, place: Place) -> Any:
    """The configuration that a place is in."""
    config: Any = spec.config or {}
    for key in place[:-1]:
        config = config[key]
    return config
