"""Every model of `keras.applications` with fewer channels: it puts out what zeros would put out.

`python -m tests.corpus.pruning NAME...` prints a row of JSON for each model; without names it checks
all of them, each in a process of its own, and writes `docs/corpus.md`.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerasedit import Editor
from tests.models import data
from tests.pruning import distinct, zeroed

from .applications import FAMILIES, SIZES, run_apart, tell_rows, write_row

SECTION = "Pruned"  # of the page
SHARES = (0.1, 0.5, 1.0)  # of the channels of each group that go; one always stays
ALL = 0.99999
MATTERS = 1e-4  # of the largest value: much more than rounding
ROUNDING = 0.01  # of the largest value: weights by chance make much of it, layer by layer
HEAD = [
    'Pruned by `ed.prune_channels("**", fraction=...)`: a tenth of the channels of every group,',
    "half of them, and all but a single one. Each of the three runs, trains a step, is saved,",
    "loaded and compared; exported and compared, too.",
    "",
    "- *parameters*: before, and what is left of them.",
    "- *zeros*: what comes out is what the source puts out with zeros in the place of the channels",
    "  that are gone, within 0.001 of the largest value; where hundreds of layers let the rounding of",
    "  single precision grow beyond that, in double precision within 1e-9. Where a layer reckons with",
    "  all channels together, as a LayerNormalization does, there is no such model.",
    "- *exported*: the one with half of the channels. Of the smallest of each family the others are",
    "  exported to a SavedModel too.",
    "",
    "| model | parameters | 90 % | 50 % | single channels | zeros | exported | seconds |",
    "| --- | ---: | ---: | ---: | ---: | --- | --- | ---: |",
]
"""What stands above the rows."""


@dataclass(frozen=True)
class PruneRow:
    """What became of one model: its parameters, and those that are left for each share that went.

    `mixed` are the classes of layers that reckon with all channels together, so that what is left
    puts out something else than with zeros; `exported` is to which formats.
    """

    name: str
    parameters: int
    left: tuple[int, ...]
    mixed: tuple[str, ...]
    exported: tuple[str, ...]
    seconds: float


def make(name: str) -> tuple[keras.Model, np.ndarray]:
    """A model whose weights are all different, and a batch that reaches its end."""
    keras.utils.set_random_seed(len(name))
    size = SIZES.get(name, 32)
    build = getattr(keras.applications, name)
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    x = 60 * data(8, size, size, 3) + 128  # some models scale pictures themselves
    made = distinct(build(input_shape=(size, size, 3), **options))
    # A Normalization takes in weights that it is given only when it is made anew.
    return normalised(Editor(made).model, x), x


def normalised(model: keras.Model, x: np.ndarray) -> keras.Model:
    """Lets batch normalizations fit a batch, so that it reaches the end of a deep model."""
    norms = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum
        for variable in (layer.moving_mean, layer.moving_variance):
            value = keras.ops.convert_to_numpy(variable).copy()
            step = 1e-5 * np.abs(value).max() + 1e-6
            value[np.argsort(value)] += step * np.arange(len(value))  # no two are the same
            variable.assign(value)
    return model


def check(name: str, shares: Sequence[float] = SHARES, exports: int | None = None) -> PruneRow:
    """Prunes a model to some shares, each time from the start: it runs, trains a step, saves, loads
    and is exported, and puts out what zeros would put out.

    Args:
        name: of the model.
        shares: of the channels that go.
        exports: 1 exports a SavedModel of half of the channels, 2 also of the others, and LiteRT; the
            smallest of each family has 2 where nothing is said, the others 1.
    """
    exports = 1 + (name in FAMILIES) if exports is None else exports
    start = time.perf_counter()
    source, x = make(name)
    ed = Editor(source)
    left: list[int] = []
    mixed: set[str] = set()
    exported: set[str] = set()
    for share in shares:
        ed.prune_channels("**", fraction=min(share, ALL))
        groups = [group for group in ed.channel_groups() if group.prunable]
        assert groups
        left.append(ed.model.count_params())
        assert left[-1] < source.count_params() * (1 - share) if share < 1 else True
        found = np.asarray(ed.model(x))
        assert np.isfinite(found).all()
        classes = {view.path: view.class_name for view in ed.layers}
        mixed |= {classes[path] for group in groups for path in group.mixed}
        if not mixed:  # statistics of what is left are others
            expected = np.asarray(zeroed(source, ed.model)(x))
            if not is_close(found, expected):
                check_in_double(name, share)
        if share < 1:  # what goes in matters: half of each layer of many leaves little of it
            assert np.ptp(found, axis=0).max() > MATTERS * np.abs(found).max()
        else:
            assert {group.channels for group in groups} == {1}
        with tempfile.TemporaryDirectory() as folder:
            ed.save(Path(folder, "m.keras"))
            if exports > 1 or (exports and share == 0.5):
                exported.add(ed.export(Path(folder, "saved"), tolerance=ROUNDING).format)
            if exports > 1 and share == 0.5:
                exported.add(ed.export(Path(folder, "m.tflite"), tolerance=ROUNDING).format)
        train(ed.model, x)
        ed.undo()
    seconds = time.perf_counter() - start
    return PruneRow(
        name,
        source.count_params(),
        tuple(left),
        tuple(sorted(mixed)),
        tuple(sorted(exported)),
        round(seconds, 1),
    )


def is_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Within a share of the largest value; what depends on the input is looked at by itself, too."""
    apart, told = found - found.mean(axis=0), expected - expected.mean(axis=0)
    return np.allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max()) and (
        np.allclose(apart, told, rtol=0, atol=20 * tolerance * np.abs(told).max())
    )


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Through hundreds of layers with weights by chance the rounding of single precision grows."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def check_in_double(name: str, share: float) -> None:
    with double_precision():
        source, x = make(name)
        ed = Editor(source).prune_channels("**", fraction=min(share, ALL))
        found, expected = np.asarray(ed.model(x)), np.asarray(zeroed(source, ed.model)(x))
    assert found.dtype == np.float64
    assert is_close(found, expected, 1e-9)


def train(model: keras.Model, x: np.ndarray) -> None:
    """A step, after which weights are others and numbers still."""
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.trainable_weights[-4:]]
    model.compile(keras.optimizers.SGD(1e-2, clipnorm=1.0), "mae", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(x, np.eye(10)[:8]))
    after = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights[-4:]]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    assert all(np.isfinite(array).all() for array in after)


def check_apart(name: str) -> PruneRow:
    """`check` in a process of its own."""
    return PruneRow(**run_apart("pruning", name))


def record(row: PruneRow) -> None:
    """Puts the row of a model into the page of the documentation, where those of others stay."""
    numbers = " | ".join(f"{number:,}" for number in (row.parameters, *row.left))
    against = f"not compared ({', '.join(row.mixed)})" if row.mixed else "equal"
    formats = ", ".join(
        {"litert": "LiteRT", "tf_saved_model": "SavedModel"}[f] for f in row.exported
    )
    write_row(SECTION, HEAD, row.name, f"| {numbers} | {against} | {formats} | {row.seconds:.0f} |")


if __name__ == "__main__":
    tell_rows(sys.argv[1:], check, check_apart, record)
