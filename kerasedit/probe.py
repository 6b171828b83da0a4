"""Batches to try models on: made of what a user gave, or drawn to fit the models' inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from . import _keras
from .errors import EditError, reason
from .graph.infer import show_shape
from .graph.model_graph import LayerId, Ref, TensorSpec, map_leaves, map_refs
from .running import Batch, Run, Side, at_rest, run

SAMPLES = 3
BATCH = 32
OPEN_SIZES = (8, 32, 64, 224)
"""What sizes that a model leaves open are tried with, in this order."""

Arrays = dict[LayerId | str, Any]
"""Arrays by the identity of an input layer, and by its name."""


@dataclass(frozen=True)
class Probe:
    """What a copy and its source put out for the same batches.

    `before` is None where the source was not run, and `refused` then tells why.
    """

    batches: list[Batch]
    after: Run
    before: Run | None
    refused: str = ""

    @property
    def samples(self) -> int:
        return sum(_length(batch) for batch in self.batches)


def make_probe(source: Side | None, copy: Side, inputs: Any = None) -> Probe:
    """Finds batches that both models take, or the copy alone, and runs them.

    Args:
        source: None if only the copy is of interest.
        copy: the edited model.
        inputs: an array, or a list or dict of arrays, as one of the models takes it. Drawn if None,
            with a fixed seed.

    Raises:
        EditError: neither model takes the inputs, or none can be drawn.
    """
    best: Probe | None = None
    problem = ""
    for batches in _candidates(source, copy, inputs):
        try:
            mine = batches(copy)
            after = _run(copy, mine, drawn=inputs is None)
        except EditError:
            raise
        except Exception as error:
            problem = reason(error)
            continue
        if source is None:
            return Probe(mine, after, None)
        try:
            return Probe(mine, after, _run(source, batches(source), drawn=inputs is None))
        except Exception as error:
            best = best or Probe(
                mine, after, None, f"the source does not take this batch. {reason(error)}"
            )
    if best is not None:
        return best
    if inputs is None:
        raise EditError(
            f"No batch could be made that the model takes; pass one as inputs=. {problem}"
        )
    try:
        if source is not None:
            make_probe(None, source, inputs)
            refused = f"the source takes these inputs and the copy does not. {problem}"
            return replace(make_probe(source, copy), before=None, refused=refused)
    except EditError:
        pass
    raise EditError(f"The model does not take these inputs. Keras said: {problem}")


def _run(side: Side, batches: list[Batch], *, drawn: bool) -> Run:
    """Runs a model on batches, of which it is only then sure that it takes them if they were given.

    Convolutions and pooling of too small an image give anything, and no error, when they are run.
    """
    if drawn:
        symbols = keras.tree.map_structure(
            lambda tensor: keras.KerasTensor((None, *tensor.shape[1:]), tensor.dtype), batches[0]
        )
        with at_rest(side.model):
            side.model.compute_output_spec(symbols)
    found = run(side, batches)
    if drawn and found.first_empty is not None:
        raise ValueError(f"Of what the layer '{found.first_empty}' puts out nothing is left.")
    return found


# -- batches -------------------------------------------------------------------------------------


def _candidates(
    source: Side | None, copy: Side, inputs: Any
) -> Iterator[Callable[[Side], list[Batch]]]:
    """Ways to make batches for either model, the best first."""
    if copy.graph.net.opaque:
        if inputs is not None:
            given = keras.tree.map_structure(_array, inputs)
            yield lambda side: _split(given, BATCH)
            return
        for size in OPEN_SIZES:
            drawn = _draw_for_opaque(copy, size)
            yield lambda side, drawn=drawn: _split(drawn, BATCH)
        return
    sides = [side for side in (copy, source) if side is not None]
    arrays = {} if inputs is None else _by_input(sides, inputs)
    tried: set[Any] = set()
    for size in OPEN_SIZES:
        filled = _filled(arrays, sides, size)
        shapes = tuple(np.shape(array) for array in filled.values())
        if shapes not in tried:
            tried.add(shapes)
            yield lambda side, filled=filled: _fed(side, filled)


def _inputs(side: Side) -> list[tuple[LayerId, str, Ref, TensorSpec]]:
    """The input layers of a model whose wiring is known: identity, name, and what they take."""
    net = side.graph.net
    ids = {ref: net.by_id[ref.call].layer for ref in net.input_refs}
    return [(i, side.graph.layers[i].name, ref, net.spec(ref)) for ref, i in ids.items()]


def _fed(side: Side, arrays: Arrays) -> list[Batch]:
    """Arrays in the structure of a model's inputs, in batches of a size that it takes."""
    taken: dict[Ref, Any] = {}
    for layer, name, ref, spec in _inputs(side):
        key = layer if layer in arrays else name
        if key not in arrays:
            raise ValueError(f"Its input '{name}' of shape {show_shape(spec.shape)} is another.")
        taken[ref] = arrays[key]
    fixed = [spec.shape[0] for *_, spec in _inputs(side) if spec.shape and spec.shape[0]]
    return _split(map_refs(taken.__getitem__, side.graph.net.inputs), fixed[0] if fixed else BATCH)


def _split(structure: Any, size: int) -> list[Batch]:
    """Batches of tensors of a structure of arrays; None stands for an input that is left out."""

    def part(start: int) -> Batch:
        return keras.tree.map_structure(
            lambda a: None if a is None else keras.ops.convert_to_tensor(a[start : start + size]),
            structure,
        )

    return [part(start) for start in range(0, _length(structure), size)]


def _length(structure: Any) -> int:
    """The number of samples in a structure of arrays.

    Raises:
        EditError: there are none, or not as many in each array.
    """
    lengths = {len(a) for a in keras.tree.flatten(structure) if a is not None}
    if len(lengths) != 1 or 0 in lengths:
        raise EditError(f"Each input needs the same number of samples, at least 1, not {lengths}.")
    return lengths.pop()


# -- what a user gave ----------------------------------------------------------------------------


def _by_input(sides: list[Side], inputs: Any) -> Arrays:
    """What a user gave, by the input layers of the first model whose inputs it fits.

    Raises:
        EditError: it fits none.
    """
    for side in sides:
        names = [name for _, name, _, _ in _inputs(side)]
        named = isinstance(inputs, Mapping) and inputs.keys() >= set(names)
        given = [inputs[name] for name in names] if named else keras.tree.flatten(inputs)
        if len(given) != len(names):
            continue
        found: Arrays = {}
        if named:  # and what only the other model takes
            both = [name for s in sides for _, name, _, _ in _inputs(s) if name in inputs]
            found.update((name, _array(inputs[name])) for name in both)
        for (layer, name, _, _), item in zip(_inputs(side), given, strict=True):
            found[layer] = found[name] = _array(item)
        return found
    wanted = ", ".join(f"'{name}' {show_shape(s.shape)}" for _, name, _, s in _inputs(sides[0]))
    raise EditError(f"inputs= must be what the model takes: {wanted}.")


def _array(value: Any) -> np.ndarray | None:
    array = None if value is None else np.asarray(value)
    if array is not None and array.ndim == 0:
        raise EditError(
            "inputs= takes an array, or a list or dict of arrays, with the samples along the first "
            f"axis, not {type(value).__name__}."
        )
    return array


# -- what is drawn -------------------------------------------------------------------------------


def _filled(arrays: Arrays, sides: list[Side], size: int) -> Arrays:
    """Arrays for all inputs: those there are, the others drawn.

    The source gets one of its own for an input that the copy no longer has, unless the copy has
    another in its place: what they put out is then not about the same.
    """
    random = np.random.default_rng(0)
    samples = max((len(array) for array in arrays.values() if array is not None), default=SAMPLES)
    arrays = dict(arrays)
    known = {key for layer, name, *_ in _inputs(sides[-1]) for key in (layer, name)}
    foreign = any(not known & {layer, name} for layer, name, *_ in _inputs(sides[0]))
    for side in sides[:1] if foreign else sides:
        for layer, name, _, spec in _inputs(side):
            if layer in arrays or name in arrays:
                continue
            alike = [
                (s, r, t) for s in sides for i, n, r, t in _inputs(s) if layer == i or name == n
            ]
            tables = [n for s, ref, _ in alike for n in _tables(s, s.graph.root, {ref})]
            sizes = _closed([other.shape for _, _, other in alike], size)
            shape = (spec.shape[0] or samples, *sizes)
            arrays[layer] = arrays[name] = _draw(random, shape, spec.dtype, tables, name)
    return arrays


def _closed(shapes: list[Any], size: int) -> tuple[int, ...]:
    """The sizes of a sample of the first shape; open ones as others of its rank have them, or `size`."""
    alike = [shape[1:] for shape in shapes if len(shape) == len(shapes[0])]
    return tuple(
        next((s for s in axis if s is not None), size) for axis in zip(*alike, strict=True)
    )


def _draw(
    random: np.random.Generator, shape: tuple[int, ...], dtype: str, tables: list[int], name: str
) -> np.ndarray:
    """Values that an input can have: whole numbers where a table is looked up by them."""
    if dtype == "string":
        raise EditError(f"The input '{name}' takes texts; pass a batch of them as inputs=.")
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if tables or "int" in dtype:
        high = min(tables, default=256 if dtype == "uint8" else 2)
        return random.integers(0, high, shape).astype(dtype if "int" in dtype else "float32")
    return random.normal(size=shape).astype("float32")


def _draw_for_opaque(side: Side, size: int) -> Any:
    """Values for a model whose call is Python code: of it the shapes of its last inputs are known."""
    shapes = side.model.get_build_config() or {}
    if "input_shape" not in shapes:
        raise EditError(
            f"What the model '{side.model.name}' takes is not known; pass a batch as inputs=."
        )
    random = np.random.default_rng(0)
    tables = list(_tables_in(side.model))
    drawn = keras.tree.map_shape_structure(
        lambda shape: _draw(random, (SAMPLES, *_closed([shape], size)), "float32", tables, ""),
        shapes["input_shape"],
    )
    # JAX does not know the class of dictionaries that Keras keeps the shapes in.
    return map_leaves(lambda array: array, drawn)


def _tables(side: Side, owner: LayerId, refs: set[Ref]) -> Iterator[int]:
    """The sizes of the tables that are looked up by some tensors of a network, as they are.

    `refs` grows by what layers without weights make of them.
    """
    for call in side.graph.net_of(owner).calls:
        if refs.isdisjoint(call.refs):
            continue
        spec = side.graph.layers[call.layer]
        passed = range(len(call.outputs or ()))
        if spec.net is not None and len(call.refs) == len(spec.net.input_refs):
            entries = zip(call.refs, spec.net.input_refs, strict=True)
            inside = {entry for ref, entry in entries if ref in refs}
            yield from _tables(side, call.layer, inside)
            passed = [i for i, ref in enumerate(spec.net.output_refs) if ref in inside]
        elif isinstance(layer := side.layers[call.layer], keras.Layer):
            yield from _tables_in(layer)
            passed = [] if spec.weights else passed
        refs.update(Ref(call.id, index) for index in passed)


def _tables_in(layer: Any) -> Iterator[int]:
    for inner in _keras.all_layers(layer):
        if isinstance(inner, keras.layers.Embedding):
            yield inner.input_dim
        elif isinstance(inner, keras.layers.CategoryEncoding):
            yield inner.num_tokens
