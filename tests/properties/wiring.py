"""Random small models and a picture of their wiring that owes nothing to kerasedit.

A `Wiring` knows calls by number, the layer that each calls, and what it takes. It repeats edits in
the plainest way there is, and computes what a model must put out by calling layers one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

from tests.models import scramble

# Sides of pictures and sizes of batches: where Keras lets a raw op broadcast an open batch size
# against a side, it can be computed.
SIDE = 4

Tensor = tuple[int, int]
"""What a call puts out: the call's number, and which of its outputs."""


@dataclass(frozen=True)
class Step:
    """A call: of the layer called `name`, or of a plain function where the model has a raw op."""

    name: str
    takes: tuple[Tensor, ...] = ()
    function: Callable[..., Any] | None = None
    kind: str = "layer"  # or "input", "op", "merge", "model"

    def on(self, *takes: Tensor) -> Step:
        return dataclasses.replace(self, takes=takes)

    def instead(self, old: Tensor, new: Tensor) -> Step:
        return self.on(*(new if taken == old else taken for taken in self.takes))


@dataclass(frozen=True)
class Region:
    """The calls between two layers, what they take from outside, and what of theirs is taken there."""

    inside: list[int]
    enters: list[Tensor]
    leaves: list[Tensor]


@dataclass
class Wiring:
    """The calls of a model by number, what enters and leaves it, and its nested models by name."""

    steps: dict[int, Step] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    models: dict[str, Wiring] = field(default_factory=dict)
    feed: dict[str, np.ndarray] = field(default_factory=dict)  # for the inputs of a whole model
    count: int = 0  # of calls there have been: a number is not used again

    def copy(self) -> Wiring:
        inner = {name: model.copy() for name, model in self.models.items()}
        return Wiring(
            dict(self.steps),
            list(self.inputs),
            list(self.outputs),
            inner,
            dict(self.feed),
            self.count,
        )

    def add(self, step: Step) -> int:
        number, self.count = self.count, self.count + 1
        self.steps[number] = step
        if step.kind == "input":
            self.inputs.append(number)
        return number

    # -- looking ---------------------------------------------------------------------------------

    def scope(self, path: str) -> Wiring:
        """The nested model of a path; the whole one of an empty path."""
        found = self
        for name in filter(None, path.split("/")):
            found = found.models[name]
        return found

    def of(self, name: str) -> list[int]:
        return [number for number, step in self.steps.items() if step.name == name]

    def taken(self, name: str) -> list[Tensor]:
        """The different tensors that the first call of a layer takes."""
        return list(dict.fromkeys(self.steps[self.of(name)[0]].takes))

    def names(self) -> set[str]:
        return {step.name for step in self.steps.values()}

    def is_plain(self, name: str) -> bool:
        """False for a nested model of several inputs or outputs, whose order is Keras's affair."""
        inner = self.models.get(name)
        return inner is None or (len(inner.inputs) == 1 and len(inner.outputs) == 1)

    def called_once(self, numbers: Iterable[int]) -> bool:
        return all(len(self.of(self.steps[n].name)) == 1 for n in numbers)

    def region(self, start: str, stop: str, order: Iterable[str] = ()) -> Region:
        """What is on a way between two layers; `order` has the layers in the order data flows."""
        after, before = set(self.of(start)), set(self.of(stop))
        for _ in self.steps:
            after |= {n for n, s in self.steps.items() if any(t in after for t, _ in s.takes)}
            before |= {t for n in before for t, _ in self.steps[n].takes}
        rank = {name: place for place, name in enumerate(order)}
        inside = sorted(after & before, key=lambda n: rank.get(self.steps[n].name, n))
        enters = [t for n in inside for t in self.steps[n].takes if t[0] not in inside]
        outside = [t for n, s in self.steps.items() if n not in inside for t in s.takes]
        leaves = [t for t in (*outside, *self.outputs) if t[0] in inside]
        return Region(inside, list(dict.fromkeys(enters)), list(dict.fromkeys(leaves)))

    # -- edits -----------------------------------------------------------------------------------

    def reroute(self, old: Tensor, new: Tensor, *, but: Iterable[int] = ()) -> None:
        """All that takes `old` takes `new`."""
        for number, step in self.steps.items():
            if number not in but:
                self.steps[number] = step.instead(old, new)
        self.outputs = [new if taken == old else taken for taken in self.outputs]

    def remove(self, name: str, keep: int = 0) -> None:
        for number in self.of(name):
            self.reroute((number, 0), list(dict.fromkeys(self.steps[number].takes))[keep])
            del self.steps[number]
        self.sweep()

    def put(self, chain: list[Step], *on: Tensor) -> Tensor:
        """A chain of new calls behind tensors; what the last one puts out."""
        for step in chain:
            on = ((self.add(step.on(*on)), 0),)
        return on[0]

    def insert_after(self, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            first = self.count
            self.reroute((number, 0), self.put(chain, (number, 0)), but=[first])

    def insert_before(self, name: str, which: int, chain: list[Step]) -> None:
        for number in self.of(name):
            step = self.steps[number]
            old = list(dict.fromkeys(step.takes))[which]
            self.steps[number] = step.instead(old, self.put(chain, old))

    def insert_between(self, first: str, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            for old in dict.fromkeys(self.steps[number].takes):
                if self.steps[old[0]].name == first:
                    self.steps[number] = self.steps[number].instead(old, self.put(chain, old))

    def replace(self, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            self.reroute((number, 0), self.put(chain, self.steps[number].takes[0]))
            del self.steps[number]

    def rename(self, old: str, new: str) -> None:
        for number in self.of(old):
            self.steps[number] = dataclasses.replace(self.steps[number], name=new)
        for known in (self.models, self.feed):
            if old in known:
                known[new] = known.pop(old)  # type: ignore[index]

    def trim(self, name: str) -> None:
        self.outputs = [(self.of(name)[0], 0)]
        self.sweep()

    def join(self, source: Tensor, name: str, which: int, branch: list[Step], merge: Step) -> None:
        """Merges a tensor, led through a branch, into an input of a layer."""
        added = self.put(branch, source)
        for number in self.of(name):
            step = self.steps[number]
            old = list(dict.fromkeys(step.takes))[which]
            self.steps[number] = step.instead(old, (self.add(merge.on(old, added)), 0))

    def disconnect(self, source: str, into: str) -> None:
        made = self.of(source)
        for number in self.of(into):
            step = self.steps[number]
            left = [t for t in step.takes if t[0] not in made]
            if len(set(left)) > 1:
                self.steps[number] = step.on(*left)
            else:
                self.reroute((number, 0), left[0])
                del self.steps[number]
        self.sweep()

    def take_out(self, name: str) -> tuple[Step, Wiring | None]:
        """A layer with one call, and what is in it, gone from here."""
        (number,) = self.of(name)
        step = self.steps[number]
        self.reroute((number, 0), step.takes[0])
        del self.steps[number]
        return step, self.models.pop(name, None)

    def put_behind(self, name: str, step: Step, inner: Wiring | None) -> None:
        """A layer behind each call of another one; it may take its tensor several times."""
        for number in self.of(name):
            new = self.add(step.on(*[(number, 0)] * len(step.takes)))
            self.reroute((number, 0), (new, 0), but=[new])
        if inner is not None:
            self.models[step.name] = inner

    def replace_between(self, region: Region, chain: list[Step]) -> None:
        new = self.put(chain, *region.enters)
        for old in region.leaves:
            self.reroute(old, new)
        for number in region.inside:
            del self.steps[number]
        self.sweep()

    def nest(self, region: Region, name: str) -> None:
        inner = Wiring()
        known = {
            t: (inner.add(Step(f"in{i}", kind="input")), 0) for i, t in enumerate(region.enters)
        }
        place = {number: inner.count + i for i, number in enumerate(region.inside)}
        inner.count += len(place)

        def moved(tensor: Tensor) -> Tensor:
            return known.get(tensor) or (place[tensor[0]], tensor[1])

        for number in region.inside:
            step = self.steps.pop(number)
            inner.steps[place[number]] = step.on(*map(moved, step.takes))
            if step.name in self.models:
                inner.models[step.name] = self.models[step.name]
        for gone in inner.models:
            self.models.pop(gone)
        number = self.add(Step(name, tuple(region.enters), kind="model"))
        for index, old in enumerate(region.leaves):
            self.reroute(old, (number, index))
        inner.outputs = list(map(moved, region.leaves))
        self.models[name] = inner

    def inline(self, name: str, names: Mapping[str, str]) -> None:
        """`names` has those of layers that are called otherwise outside."""
        inner = self.models.pop(name)
        for number in self.of(name):
            step = self.steps.pop(number)
            known = dict(zip(((n, 0) for n in inner.inputs), step.takes, strict=True))
            for place in _in_order(inner):
                part = inner.steps[place]
                part = dataclasses.replace(part, name=names.get(part.name, part.name))
                new = self.add(part.on(*(known[t] for t in part.takes)))
                for taken in [t for s in inner.steps.values() for t in s.takes] + inner.outputs:
                    if taken[0] == place:
                        known[taken] = (new, taken[1])
            for index, made in enumerate(inner.outputs):
                self.reroute((number, index), known[made])
        self.models.update({names.get(n, n): model for n, model in inner.models.items()})
        self.sweep()

    def extract(self, region: Region, stop: str, names: list[str]) -> None:
        """`names` has those of the inputs that the whole model has then."""
        (end,) = self.of(stop)
        inputs = []
        for old in region.enters:
            if self.steps[old[0]].kind == "input":
                inputs.append(old[0])
                continue
            number = self.add(Step("", kind="input"))
            for inside in region.inside:
                self.steps[inside] = self.steps[inside].instead(old, (number, 0))
            inputs.append(number)
        self.inputs = [*inputs, *(n for n in region.inside if self.steps[n].kind == "input")]
        self.outputs = [(end, 0)]
        for number, name in zip(self.inputs, names, strict=True):
            self.steps[number] = dataclasses.replace(self.steps[number], name=name)
        self.sweep()

    def sweep(self) -> None:
        """Drops calls that no output needs; of a nested model, not its inputs."""
        needed = set() if self.feed else set(self.inputs)
        waiting = [number for number, _ in self.outputs]
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting.extend(t for t, _ in self.steps[number].takes)
        self.steps = {number: step for number, step in self.steps.items() if number in needed}
        self.inputs = [number for number in self.inputs if number in needed]
        self.models = {name: model for name, model in self.models.items() if name in self.names()}

    # -- computing -------------------------------------------------------------------------------

    def run(self, model: keras.Model, given: list[Any]) -> list[Any]:
        """What comes out when the layers of `model` are called one by one."""
        known: dict[Tensor, Any] = {
            (n, 0): value for n, value in zip(self.inputs, given, strict=True)
        }

        def value(tensor: Tensor) -> Any:
            if tensor not in known:
                step = self.steps[tensor[0]]
                taken = [value(t) for t in step.takes]
                if step.function is not None:
                    results = [step.function(*taken)]
                elif step.kind == "model":
                    results = self.models[step.name].run(model.get_layer(step.name), taken)
                else:
                    layer = model.get_layer(step.name)
                    results = [layer(taken if step.kind == "merge" else taken[0])]
                known.update({(tensor[0], i): result for i, result in enumerate(results)})
            return known[tensor]

        return [value(tensor) for tensor in self.outputs]

    def compute(self, model: keras.Model) -> list[np.ndarray]:
        """What a whole model must put out for its feed."""
        given = [ops.convert_to_tensor(self.feed[self.steps[n].name]) for n in self.inputs]
        return [ops.convert_to_numpy(tensor) for tensor in self.run(model, given)]


def _in_order(wiring: Wiring) -> list[int]:
    """The calls of a wiring, inputs aside, each after what it takes."""
    ordered = list(wiring.inputs)
    while len(ordered) < len(wiring.steps):
        ready = [
            n for n, s in wiring.steps.items()
            if n not in ordered and all(t in ordered for t, _ in s.takes)
        ]  # fmt: skip
        assert ready, "the calls go round in a circle"
        ordered += ready
    return ordered[len(wiring.inputs) :]


# -- random models -------------------------------------------------------------------------------


@dataclass
class Drawn:
    """A random model and its wiring, with a batch for each of its inputs."""

    model: keras.Model
    wiring: Wiring

    def __repr__(self) -> str:
        """The calls, for Hypothesis to show what failed."""
        calls = [f"{n}={s.name}{s.takes}" for n, s in self.wiring.steps.items()]
        shapes = {name: batch.shape for name, batch in self.wiring.feed.items()}
        return f"<{', '.join(calls)} -> {self.wiring.outputs}, fed {shapes}>"


VECTOR_OPS: list[Callable[[Any], Any]] = [
    lambda x: x * 2.0,
    lambda x: ops.tanh(x),
    lambda x: x[:, ::-1],
]


def nested_model(draw: Any, width: int, name: str) -> tuple[keras.Model, Wiring]:
    """A model with one or two layers of weights: a chain, a Sequential, with a branch, or with a
    model in it."""
    style = draw(st.sampled_from(["functional", "sequential", "branch", "deep"]))
    units = draw(st.sampled_from([4, 4, 3]))
    wiring = Wiring()
    z = (wiring.add(Step("z", kind="input")), 0)
    d = (wiring.add(Step("d", (z,))), 0)
    wiring.outputs = [d]
    if style == "sequential":
        inside = [layers.Dense(units, activation="tanh", name="d"), layers.ReLU(name="r")]
        wiring.outputs = [(wiring.add(Step("r", (d,))), 0)]
        return keras.Sequential([keras.Input((width,), name="z"), *inside], name=name), wiring
    x = inputs = keras.Input((width,), name="z")
    x = layers.Dense(units, activation="tanh", name="d")(x)
    if style == "branch":
        y = layers.Dense(units, name="e")(inputs)
        twice = y * 2.0
        x = layers.Add(name="sum")([x, twice])
        e = (wiring.add(Step("e", (z,))), 0)
        op = Step(twice._keras_history.operation.name, (e,), VECTOR_OPS[0], "op")
        wiring.outputs = [(wiring.add(Step("sum", (d, (wiring.add(op), 0)), kind="merge")), 0)]
    elif style == "deep":
        inner, wiring.models["deep"] = nested_model(draw, units, "deep")
        x = inner(x)
        wiring.outputs = [(wiring.add(Step("deep", (d,), kind="model")), 0)]
    return keras.Model(inputs, x, name=name), wiring


def batch_for(name: str, shape: Iterable[int | None]) -> np.ndarray:
    """The batch that an input of this name and shape is fed."""
    random = np.random.default_rng(list(name.encode()))
    return random.normal(size=(SIDE, *(size or SIDE for size in shape))).astype("float32")


def draw_model(draw: Any) -> Drawn:
    """Dense and convolution chains, branches, merges, shared layers, nested models, raw ops."""
    keras.utils.clear_session(free_memory=False)
    wiring = Wiring()
    tensors: dict[int, Any] = {}
    inputs = []
    shared: list[tuple[Any, int]] = []  # layers to call again, and the width that they take
    for number in range(draw(st.integers(1, 2))):
        picture = draw(st.integers(0, 3)) == 0
        shape = (SIDE, SIDE, 2) if picture else (draw(st.sampled_from([4, 4, 3])),)
        tensor = keras.Input(shape, name=f"in{number}")
        tensors[wiring.add(Step(f"in{number}", kind="input"))] = tensor
        inputs.append(tensor)
        wiring.feed[f"in{number}"] = batch_for(f"in{number}", shape)

    def call(layer: Any, *takes: int, kind: str = "layer") -> None:
        given = [tensors[t] for t in takes]
        result = layer(given if kind == "merge" else given[0])
        tensors[wiring.add(Step(layer.name, tuple((t, 0) for t in takes), kind=kind))] = result

    def operate(function: Callable[..., Any], *takes: int) -> None:
        result = function(*(tensors[t] for t in takes))
        name = result._keras_history.operation.name
        tensors[wiring.add(Step(name, tuple((t, 0) for t in takes), function, "op"))] = result

    for number in range(draw(st.integers(2, 7))):
        taken = {t for step in wiring.steps.values() for t, _ in step.takes}
        loose = [t for t in tensors if t not in taken]
        # Mostly on with what is loose, so that models are deep and not only wide.
        at = draw(st.sampled_from(loose if draw(st.integers(0, 3)) else list(tensors)))
        shape = tensors[at].shape
        alike = [t for t in tensors if tensors[t].shape == shape and t != at]
        picture = len(shape) == 4
        choices = ["weights", "plain", "norm", "drop", "op"]
        choices += ["flat"] if picture else ["nested", "share"]
        choices += ["merge", "merge", "add"] if alike else []
        choice = draw(st.sampled_from(choices))
        name = f"{choice}{number}"
        if choice == "weights" and picture:
            call(layers.Conv2D(2, 3, padding="same", activation="tanh", name=name), at)
        elif choice == "weights":
            call(layers.Dense(draw(st.sampled_from([4, 4, 3])), name=name), at)
        elif choice == "plain":
            call(layers.ReLU(name=name), at)
        elif choice == "norm":
            call(layers.BatchNormalization(name=name), at)
        elif choice == "drop":
            call(layers.Dropout(0.5, name=name), at)
        elif choice == "flat":
            flat = draw(st.sampled_from([layers.GlobalAveragePooling2D, layers.Flatten]))
            call(flat(name=name), at)
        elif choice == "nested":
            model, wiring.models[name] = nested_model(draw, shape[-1], name)
            call(model, at, kind="model")
            shared.append((model, shape[-1]))
        elif choice == "share":
            known = [layer for layer, width in shared if width == shape[-1]]
            if known:
                layer = draw(st.sampled_from(known))
                call(layer, at, kind="model" if isinstance(layer, keras.Model) else "layer")
            else:
                layer = layers.Dense(shape[-1], activation="tanh", name=name)
                call(layer, at)
                shared.append((layer, shape[-1]))
        elif choice == "merge":
            other = draw(st.sampled_from(alike))
            cls = draw(st.sampled_from([layers.Add, layers.Concatenate, layers.Maximum]))
            call(cls(name=name), at, other, kind="merge")
        elif choice == "add":
            operate(lambda a, b: a + b, at, draw(st.sampled_from(alike)))
        else:
            operate(draw(st.sampled_from(VECTOR_OPS[:2] if picture else VECTOR_OPS)), at)

    taken = {t for step in wiring.steps.values() for t, _ in step.takes}
    ends = [t for t in tensors if t not in taken]
    if draw(st.booleans()):  # something from the middle as well
        ends += [t for t in tensors if t in taken and wiring.steps[t].kind != "input"][:1]
    wiring.outputs = [(t, 0) for t in ends]
    # An input that goes straight to the outputs would leave a model with nothing in it.
    outputs = [tensors[t] for t in ends]
    model = keras.Model(inputs, outputs[0] if len(outputs) == 1 else outputs, name="drawn")
    if _is_chain(wiring) and draw(st.booleans()):
        model = keras.Sequential(model.layers, name="drawn")
    return Drawn(scramble(model), wiring)


def _is_chain(wiring: Wiring) -> bool:
    """Whether a Sequential can be made of the layers."""
    numbers = list(wiring.steps)
    chained = all(
        wiring.steps[n].takes == ((before, 0),) and wiring.steps[n].kind in ("layer", "model")
        for before, n in pairwise(numbers)
    )
    return chained and wiring.called_once(numbers) and wiring.outputs == [(numbers[-1], 0)]
