"""Random small models and a picture of their wiring that owes nothing to kerasedit.

A `Wiring` knows calls by number, the layer that each calls, and what it takes. It repeats edits in
the plainest way there is, and computes what a model must put out by calling layers one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

from tests.models import scramble

# Sides of pictures and sizes of batches: where Keras lets a raw op broadcast an open batch size
# against a side, it can be computed.
SIDE = 4


@dataclass(frozen=True)
class Step:
    """A call: of the layer called `name`, or of a plain function where the model has a raw op."""

    name: str
    takes: tuple[int, ...]
    function: Callable[..., Any] | None = None
    kind: str = "layer"  # or "input", "op", "merge", "model"


@dataclass
class Wiring:
    """The calls of a model by number, in an order in which data flows, and its outputs."""

    steps: dict[int, Step] = field(default_factory=dict)
    outputs: list[int] = field(default_factory=list)

    def copy(self) -> Wiring:
        return Wiring(dict(self.steps), list(self.outputs))

    def add(self, step: Step) -> int:
        number = max(self.steps, default=-1) + 1
        self.steps[number] = step
        return number

    def of(self, name: str) -> list[int]:
        return [number for number, step in self.steps.items() if step.name == name]

    def names(self) -> set[str]:
        return {step.name for step in self.steps.values()}

    # -- edits -----------------------------------------------------------------------------------

    def reroute(self, old: int, new: int, *, but: int | None = None) -> None:
        """All that takes `old` takes `new`."""
        for number, step in self.steps.items():
            if number != but:
                takes = tuple(new if t == old else t for t in step.takes)
                self.steps[number] = dataclasses.replace(step, takes=takes)
        self.outputs = [new if t == old else t for t in self.outputs]

    def remove(self, name: str, keep: int) -> None:
        for number in self.of(name):
            takes = list(dict.fromkeys(self.steps[number].takes))
            self.reroute(number, takes[keep])
            del self.steps[number]
        self.sweep()

    def put(self, chain: list[Step], on: int) -> int:
        """A chain of new calls behind a call; the last one's number."""
        for step in chain:
            on = self.add(dataclasses.replace(step, takes=(on,)))
        return on

    def insert_after(self, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            before = set(self.steps)
            last = self.put(chain, number)
            first = min(set(self.steps) - before)
            self.reroute(number, last, but=first)

    def insert_before(self, name: str, which: int, chain: list[Step]) -> None:
        for number in self.of(name):
            takes = list(dict.fromkeys(self.steps[number].takes))
            old = takes[which]
            new = self.put(chain, old)
            step = self.steps[number]
            takes = tuple(new if t == old else t for t in step.takes)
            self.steps[number] = dataclasses.replace(step, takes=takes)

    def insert_between(self, first: str, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            for old in dict.fromkeys(self.steps[number].takes):
                if self.steps[old].name == first:
                    new = self.put(chain, old)
                    step = self.steps[number]
                    takes = tuple(new if t == old else t for t in step.takes)
                    self.steps[number] = dataclasses.replace(step, takes=takes)

    def replace(self, name: str, chain: list[Step]) -> None:
        for number in self.of(name):
            last = self.put(chain, self.steps[number].takes[0])
            self.reroute(number, last)
            del self.steps[number]

    def rename(self, old: str, new: str) -> None:
        for number in self.of(old):
            self.steps[number] = dataclasses.replace(self.steps[number], name=new)

    def trim(self, name: str, last: int) -> None:
        """`last` tells which of its calls comes last in data order."""
        self.outputs = [last]
        self.sweep()

    def sweep(self) -> None:
        """Drops calls that no output needs; inputs too, but the last one stays."""
        needed: set[int] = set()
        waiting = list(self.outputs)
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting.extend(self.steps[number].takes)
        self.steps = {number: step for number, step in self.steps.items() if number in needed}

    # -- computing -------------------------------------------------------------------------------

    def compute(self, model: keras.Model, feed: dict[str, Any]) -> list[np.ndarray]:
        """What comes out when the layers of `model` are called one by one."""
        known: dict[int, Any] = {}

        def value(number: int) -> Any:
            if number not in known:
                step = self.steps[number]
                taken = [value(t) for t in step.takes]
                if step.kind == "input":
                    known[number] = ops.convert_to_tensor(feed[step.name])
                elif step.function is not None:
                    known[number] = step.function(*taken)
                else:
                    layer = model.get_layer(step.name)
                    known[number] = layer(taken if step.kind == "merge" else taken[0])
            return known[number]

        return [ops.convert_to_numpy(value(number)) for number in self.outputs]


# -- random models -------------------------------------------------------------------------------


@dataclass
class Drawn:
    """A random model, its wiring and a batch for each of its inputs."""

    model: keras.Model
    wiring: Wiring
    feed: dict[str, np.ndarray]

    def __repr__(self) -> str:
        """The calls, for Hypothesis to show what failed."""
        calls = [f"{n}={s.name}{s.takes}" for n, s in self.wiring.steps.items()]
        shapes = {name: batch.shape for name, batch in self.feed.items()}
        return f"<{', '.join(calls)} -> {self.wiring.outputs}, fed {shapes}>"


VECTOR_OPS: list[tuple[str, Callable[[Any], Any]]] = [
    ("twice", lambda x: x * 2.0),
    ("tanh", lambda x: ops.tanh(x)),
    ("back", lambda x: x[:, ::-1]),
]


def nested_model(draw: Any, width: int, name: str) -> keras.Model:
    """A model with one or two layers of weights: a chain, a Sequential, or with a branch."""
    style = draw(st.sampled_from(["functional", "sequential", "branch"]))
    units = draw(st.sampled_from([4, 4, 3]))
    if style == "sequential":
        inside = [layers.Dense(units, activation="tanh", name="d"), layers.ReLU(name="r")]
        return keras.Sequential([keras.Input((width,)), *inside], name=name)
    x = inputs = keras.Input((width,), name="z")
    x = layers.Dense(units, activation="tanh", name="d")(x)
    if style == "branch":
        y = layers.Dense(units, name="e")(inputs)
        x = layers.Add(name="sum")([x, y * 2.0])
    return keras.Model(inputs, x, name=name)


def draw_model(draw: Any) -> Drawn:
    """Dense and convolution chains, branches, merges, shared layers, nested models, raw ops."""
    keras.utils.clear_session(free_memory=False)
    wiring = Wiring()
    tensors: dict[int, Any] = {}
    feed: dict[str, np.ndarray] = {}
    inputs = []
    shared: list[tuple[Any, int]] = []  # layers to call again, and the width that they take
    for number in range(draw(st.integers(1, 2))):
        picture = draw(st.integers(0, 3)) == 0
        shape = (SIDE, SIDE, 2) if picture else (draw(st.sampled_from([4, 4, 3])),)
        tensor = keras.Input(shape, name=f"in{number}")
        place = wiring.add(Step(f"in{number}", (), kind="input"))
        tensors[place] = tensor
        inputs.append(tensor)
        random = np.random.default_rng(number)
        feed[f"in{number}"] = random.normal(size=(SIDE, *shape)).astype("float32")

    def call(layer: Any, *takes: int, kind: str = "layer") -> None:
        given = [tensors[t] for t in takes]
        result = layer(given if kind == "merge" else given[0])
        tensors[wiring.add(Step(layer.name, takes, kind=kind))] = result

    for number in range(draw(st.integers(2, 7))):
        loose = [t for t in tensors if not any(t in s.takes for s in wiring.steps.values())]
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
            model = nested_model(draw, shape[-1], name)
            call(model, at, kind="model")
            shared.append((model, shape[-1]))
        elif choice == "share":
            known = [layer for layer, width in shared if width == shape[-1]]
            if known:
                call(draw(st.sampled_from(known)), at)
            else:
                layer = layers.Dense(shape[-1], activation="tanh", name=name)
                call(layer, at)
                shared.append((layer, shape[-1]))
        elif choice == "merge":
            other = draw(st.sampled_from(alike))
            cls = draw(st.sampled_from([layers.Add, layers.Concatenate, layers.Maximum]))
            call(cls(name=name), at, other, kind="merge")
        elif choice == "add":
            other = draw(st.sampled_from(alike))
            tensors[wiring.add(Step("", (at, other), lambda a, b: a + b, "op"))] = (
                tensors[at] + tensors[other]
            )
        else:
            _, function = draw(st.sampled_from(VECTOR_OPS[:2] if picture else VECTOR_OPS))
            tensors[wiring.add(Step("", (at,), function, "op"))] = function(tensors[at])

    taken = {t for step in wiring.steps.values() for t in step.takes}
    wiring.outputs = [t for t in tensors if t not in taken]
    if draw(st.booleans()):  # something from the middle as well
        middle = [t for t in tensors if t in taken and wiring.steps[t].kind != "input"]
        wiring.outputs += middle[:1]
    # An input that goes straight to the outputs would leave a model with nothing in it.
    outputs = [tensors[t] for t in wiring.outputs]
    model = keras.Model(inputs, outputs[0] if len(outputs) == 1 else outputs, name="drawn")
    scramble(model)
    _name_ops(wiring, tensors)
    return Drawn(model, wiring, feed)


def _name_ops(wiring: Wiring, tensors: dict[int, Any]) -> None:
    """Raw ops got their names from Keras."""
    for number, step in wiring.steps.items():
        if step.kind == "op":
            operation = tensors[number]._keras_history.operation
            wiring.steps[number] = dataclasses.replace(step, name=operation.name)
