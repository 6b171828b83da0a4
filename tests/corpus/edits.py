"""Every model of `keras.applications` takes edits: what comes out is computed without kerasedit.

`python -m tests.corpus.edits NAME...` prints a row of JSON for each model, every edit by itself;
without names it checks all of them, each in a process of its own, and writes `docs/corpus.md`.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import kerasedit
from tests.models import fingerprint, out, same, scramble

from .applications import make, run_apart, tell_rows, write_row
from .wires import Wires, at_rest

SECTION = "Edited"  # of the page
MERGES = (layers.Add, layers.Concatenate, layers.Multiply)
ACTIVATIONS = (layers.Activation, layers.ReLU)
HEAD = [
    "Edited by one editor; what the copy puts out is compared with the source's own layers,",
    "called one by one along its `get_config()`, in which the same edit was made by hand.",
    "",
    "- *removed*: the kinds of layers and raw ops of which one was taken out. *sliced*: only with",
    "  weights of other layers cut to fit. *refused*: of those tried, none can go; each was refused",
    "  with the name of the layer that stands against it, and the model really cannot be computed.",
    "- *edits*: with these, a Dropout and a BatchNormalization after random layers, a layer on one",
    "  input of a merge, every activation replaced, another head, one half frozen: after each, the",
    "  outputs equal to the bit, weights of untouched layers too; saved and loaded; and taken back,",
    "  after which `predict` gives the source's bits.",
    "",
    "| model | removed | sliced | refused | edits | outputs |",
    "| --- | --- | --- | --- | ---: | --- |",
]
"""What stands above the rows."""


@dataclass(frozen=True)
class EditRow:
    """What was found out about one model; every check that failed is in words in `faults`.

    `removed`, `sliced` and `refused` are kinds of layers, by what became of taking one out: it went,
    it went with weights cut to fit, or there is no way.
    """

    name: str
    removed: tuple[str, ...]
    sliced: tuple[str, ...]
    refused: tuple[str, ...]
    edits: int
    faults: tuple[str, ...]
    seconds: float


class Trial:
    """An editor of a model, and the wires that its copy must be equal to.

    With `each`, every edit is made alone, compared and taken back; else they come one on the other,
    and `compare` is what compares.
    """

    def __init__(self, name: str, each: bool) -> None:
        self.name, self.each = name, each
        self.source = make(name)
        self.x = np.random.default_rng(1).uniform(0, 255, (2, *self.source.input_shape[1:]))
        self.x = self.x.astype("float32")
        self.print = hash(tuple(fingerprint(self.source)))
        self.original = Wires(self.source)
        self.known = self.original.run(self.x)
        self.wires = self.original.copy()
        self.editor = kerasedit.Editor(self.source)
        self.edits = 0
        self.faults: list[str] = []

    def check(self, what: str, good: bool) -> None:
        if not good:
            self.faults.append(what)

    def names(self, *classes: type) -> list[str]:
        """The layers of some classes that are still there, in data order."""
        there = {view.path for view in self.editor.layers}
        return [
            la.name for la in self.source.layers if isinstance(la, classes) and la.name in there
        ]

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """An edit that must be possible, together with what it does to the wires."""
        yield
        self.edits += 1
        if self.each:
            self.compare(what)
            self.take_back()

    def take_back(self) -> None:
        self.editor.undo(len(self.editor.history))
        self.wires = self.original.copy()

    def compare(self, what: str) -> None:
        """The copy puts out what the wires do, and layers that were left alone keep their weights."""
        copy = self.editor.model
        self.check(
            f"{what}: outputs", same(out(copy, self.x), self.wires.put_out(self.x, self.known))
        )
        for layer in copy.layers:
            if layer.name in self.wires.layers and layer.name not in self.wires.instead:
                kept = same(layer.get_weights(), self.wires.layers[layer.name].get_weights())
                self.check(f"{what}: weights of {layer.name}", kept)

    # -- the edits -------------------------------------------------------------------------------

    def remove_kinds(self) -> dict[str, list[str]]:
        """Takes out one layer of each class; what became of each, by class."""
        found: dict[str, list[str]] = {"removed": [], "sliced": [], "refused": []}
        stuck: dict[str, list[str]] = {}
        for kind, names in self._kinds().items():
            # Those on a branch that went with a merge are no longer there.
            there = [name for name in names if name in self.editor.graph.by_path]
            gone = next((name for name in there if self._remove(name)), None)
            if gone is not None:
                found["removed"].append(kind)
            elif there:
                stuck[kind] = there
        if not self.each:
            self.compare("remove one of each kind")
            self.take_back()
        for kind, names in list(stuck.items())[: None if self.each else 1]:
            cut = any(self._slice(name) for name in names)
            found["sliced" if cut else "refused"].append(kind)
        return found

    def _kinds(self) -> dict[str, list[str]]:
        """The layers and ops to try for each class: those that leave shapes as they are first."""
        kinds: dict[str, list[Any]] = {}
        for operation in self.source.operations:
            if not isinstance(operation, layers.InputLayer):
                label = type(operation).__name__
                kind = label if isinstance(operation, keras.Layer) else f"op {label}"
                kinds.setdefault(kind, []).append(operation)
        chosen = {}
        for kind, there in kinds.items():
            plain = [op for op in there if _keeps_shape(op)] or there
            candidates = [plain[len(plain) // 2], there[0], there[-1]]
            names = list(dict.fromkeys(op.name for op in candidates))
            chosen[kind] = names if self.each else names[:1]
        return chosen

    def _remove(self, name: str) -> bool:
        """Removes a layer where no weight has to change for it; whether that is possible."""
        after = self.wires.copy()
        after.remove(name)
        before = self.editor.graph
        try:
            self.editor.remove(name, keep=self._keep(name))
        except kerasedit.EditError as problem:
            self._check_refusal(name, problem, before, after)
            return False
        with self.step(f"remove {name}"):
            self.wires = after
        return True

    def _keep(self, name: str) -> int | None:
        return 0 if len(self.wires.takes(name)) > 1 else None

    def _check_refusal(
        self, name: str, problem: kerasedit.EditError, before: Any, after: Wires
    ) -> None:
        """A refusal names a layer, changed nothing, and is right: the model cannot be computed."""
        self.check(f"refused {name}: changed", self.editor.graph is before)
        named = any(f"'{view.path}'" in str(problem) for view in self.editor.layers)
        self.check(f"refused {name}: names no layer: {problem}", named)
        if "size would be zero or negative" in str(problem):
            return  # a picture smaller than a kernel: TensorFlow itself computes something
        try:
            after.run(self.x, self.known)
        except Exception:
            return
        self.faults.append(f"refused {name}, which can be removed: {problem}")

    def _slice(self, name: str) -> bool:
        """Removes a layer with weights of others cut to fit; whether that is possible."""
        keep = self._keep(name)
        plan = self.editor.preview.remove(name, keep=keep, on_mismatch="slice")
        if not plan.ok:
            return False
        self.editor.remove(name, keep=keep, on_mismatch="slice")
        self.edits += 1
        copy = self.editor.model
        self.wires.remove(name)
        cut = {path.rsplit("/", 1)[0] for path in (*plan.sliced, *plan.reinitialized)}
        for other in cut:
            ours = copy.get_layer(other)
            self.wires.instead[other] = at_rest(ours)
            theirs = self.source.get_layer(other)
            for weight, old in zip(ours.get_weights(), theirs.get_weights(), strict=True):
                part = tuple(slice(0, min(n)) for n in zip(weight.shape, old.shape, strict=True))
                self.check(f"slice {other}", same(weight[part], old[part]))
        self.compare(f"remove {name} with slice")
        self.take_back()
        return True

    def insert(self) -> None:
        """New layers behind random ones, and on one input of a merge."""
        pick = random.Random(self.name)
        others = self.names(*MERGES, *ACTIVATIONS)
        places = [name for name in self.names(layers.Layer)[:-1] if name not in others]
        first, second = pick.sample(places, 2)
        dropout = layers.Dropout(0.5, name="new_dropout")
        with self.step(f"insert a Dropout after {first}"):
            self.editor.insert(dropout, after=first)
            self.wires.then(first, dropout)
        norm = layers.BatchNormalization(name="new_norm")
        norm.build(self.source.get_layer(second).output.shape)
        scramble(norm)
        with self.step(f"insert a BatchNormalization after {second}"):
            self.editor.insert(norm, after=second)
            self.wires.then(second, norm)
        merges = self.names(*MERGES)
        if not merges:
            return
        merge = pick.choice(merges)
        call = self.wires.layer(merge)
        half = layers.Rescaling(0.5, name="half")
        with self.step(f"insert a Rescaling before {merge}"):
            self.editor.insert(half, before=merge, input=1)
            self.wires.instead[merge] = lambda xs: call([xs[0], half(xs[1]), *xs[2:]])

    def replace_activations(self) -> None:
        """Another function in place of every activation: of the layers, and of the arguments."""
        names = self.names(*ACTIVATIONS)
        if names:
            with self.step("replace every activation"):
                self.editor.replace(names, layers.Activation("tanh"))
                for name in names:
                    self.wires.instead[name] = at_rest(keras.ops.tanh)
        active = [
            name
            for name in self.names(layers.Conv2D, layers.Dense)
            if self.source.get_layer(name).activation is not keras.activations.linear
            and name not in self.wires.instead
        ]
        if not active:
            return
        with self.step("configure every activation"):
            self.editor.configure(active, activation="softsign")
            for name in active:
                old = self.source.get_layer(name)
                new = type(old).from_config({**old.get_config(), "activation": "softsign"})
                new.build(old.input.shape)
                new.set_weights(old.get_weights())
                self.wires.instead[name] = at_rest(new)

    def change_head(self) -> None:
        """Another last layer, with weights of its own."""
        last = self.source.layers[-1].name
        before = self.wires.takes(last)
        features = self.source.get_layer(last).input.shape
        head = layers.Dense(4, activation="softmax", name="new_head")
        head.build(features)
        scramble(head)
        with self.step("another head by trim and append"):
            self.editor.trim(1).append(head)
            self.wires.outputs = before
            self.wires.then(before[0][0], head)
        if self.each:
            with self.step("another head by replace"):
                self.editor.replace(last, head)
                self.wires.instead[last] = at_rest(head)

    def freeze_half(self) -> None:
        """Freezes the first half; exactly the rest trains."""
        # Where activations were replaced, the new ones have names that old ones had.
        new = {name for name in self.names(*ACTIVATIONS) if name in self.wires.instead}
        half = [name for name in self.names(layers.Layer) if name not in new]
        half = half[: len(half) // 2]
        self.editor.freeze(half)
        self.edits += 1
        copy = self.editor.model
        old = {la.name: la.trainable for la in self.source.layers if la.name not in new}
        wanted = set()
        for layer in copy.layers:
            trains = old.get(layer.name, True) and layer.name not in half
            self.check(f"flag of {layer.name}", layer.trainable is trains)
            if trains and not isinstance(layer, layers.Normalization):
                wanted |= {id(w) for w in layer.weights if not w.name.startswith("moving_")}
        self.check("what trains", {id(w) for w in copy.trainable_weights} == wanted)
        views = {view.path: view.trainable for view in self.editor.layers}
        self.check("views", all(views[la.name] is la.trainable for la in copy.layers))
        self.compare("freeze a half")

    def save(self) -> None:
        """The saved and loaded copy is the copy."""
        copy = self.editor.model
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            self.editor.save(path)
            loaded = keras.saving.load_model(path)
        self.check("saved: weights", same(loaded.get_weights(), copy.get_weights()))
        self.check("saved: outputs", same(out(loaded, self.x), out(copy, self.x)))
        self.check("saved: flags", _flags(loaded) == _flags(copy))

    def back_to_the_start(self) -> None:
        """Undo gives a copy that predicts the same bits; the source is what it was."""
        self.take_back()
        copy = self.editor.model
        if self.each:
            wanted = self.source.predict(self.x, verbose=0)
            self.check("predict after undo", same(copy.predict(self.x, verbose=0), wanted))
        self.check("outputs after undo", same(out(copy, self.x), out(self.source, self.x)))
        self.check("source", hash(tuple(fingerprint(self.source))) == self.print)


def _keeps_shape(operation: Any) -> bool:
    given = keras.tree.flatten(operation.input)
    return len(given) == 1 and given[0].shape == operation.output.shape


def _flags(model: Any) -> dict[str, bool]:
    """Keras's files keep no flags of inputs and of nested models as such."""
    passive = (layers.InputLayer, keras.Model)
    return {la.name: la.trainable for la in model.layers if not isinstance(la, passive)}


def check_edits(name: str, each: bool) -> EditRow:
    """Edits a model of `keras.applications`: with `each`, every edit by itself."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A smaller head is told of: the loss was made for the old one.
        warnings.simplefilter("ignore")
        trial = Trial(name, each)
        kinds = trial.remove_kinds()
        trial.insert()
        trial.replace_activations()
        trial.change_head()
        trial.freeze_half()
        trial.save()
        trial.back_to_the_start()
    return EditRow(
        name,
        removed=tuple(kinds["removed"]),
        sliced=tuple(kinds["sliced"]),
        refused=tuple(kinds["refused"]),
        edits=trial.edits,
        faults=tuple(trial.faults),
        seconds=round(time.perf_counter() - start, 1),
    )


def check_edits_apart(name: str) -> EditRow:
    """Every edit by itself, in a process of its own."""
    return EditRow(**run_apart("edits", name))


def record(row: EditRow) -> None:
    """Puts the row of a model into the page of the documentation, where those of others stay."""
    kinds = " | ".join(", ".join(k) or "none" for k in (row.removed, row.sliced, row.refused))
    verdict = f"**differ**: {row.faults[0]}" if row.faults else "identical"
    write_row(SECTION, HEAD, row.name, f"| {kinds} | {row.edits} | {verdict} |")


if __name__ == "__main__":
    tell_rows(sys.argv[1:], lambda name: check_edits(name, each=True), check_edits_apart, record)
