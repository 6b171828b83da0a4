"""What pruning costs in accuracy: each criterion beside chance, on the digits of scikit-learn.

    python -m benchmarks.quality_pruning [--write]

For each seed a small convolutional network is trained, and of copies of it each criterion takes the
same shares of channels. Batch normalizations measure their statistics anew, then all copies are
fine-tuned with the same batches. Beside them stand networks of the same shapes that were trained from the
start, for as many epochs in all. `--write` puts the table into docs/pruning.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from kerasedit import Editor
from kerasedit.compress.scores import CRITERIA

PAGE = Path(__file__).parent.parent / "docs" / "pruning.md"
BEGIN, END = (
    "<!-- Written by benchmarks/quality_pruning.py --write. -->\n",
    "<!-- As far as here. -->\n",
)

BATCH = 64
WHOLE, AFRESH = "nothing pruned", "trained from the start"


@dataclass(frozen=True)
class Task:
    """How much is tried, and how long it is trained."""

    seeds: int = 5
    fractions: Sequence[float] = (0.3, 0.6)
    criteria: Sequence[str] = CRITERIA
    epochs: int = 20
    tuning: int = 2


class Row(NamedTuple):
    """The accuracy of one network, before and after it was fine-tuned."""

    name: str
    fraction: float
    before: float
    after: float


def measured(task: Task) -> list[Row]:
    return [row for seed in range(task.seeds) for row in of_seed(task, seed)]


def of_seed(task: Task, seed: int) -> Iterator[Row]:
    """What came of one trained network."""
    import keras

    x, y, x_test, y_test = pictures(seed)
    keras.utils.set_random_seed(seed)
    trained = network()
    fit(trained, x, y, task.epochs, seed)

    def tuned(name: str, fraction: float, model: Any, epochs: int) -> Row:
        recalibrate(model, x)
        before = accuracy(model, x_test, y_test)
        fit(model, x, y, epochs, seed)
        return Row(name, fraction, before, accuracy(model, x_test, y_test))

    for fraction in task.fractions:
        yield tuned(WHOLE, fraction, Editor(trained).model, task.tuning)
        for criterion in task.criteria:
            given = {"activation": x, "taylor": (x, y)}.get(criterion)
            ed = Editor(trained)
            ed.prune_channels("**", fraction=fraction, criterion=criterion, data=given, seed=seed)
            yield tuned(criterion, fraction, ed.model, task.tuning)
        ed = Editor(trained).prune_channels("**", fraction=fraction).reinitialize("**")
        yield tuned(AFRESH, fraction, ed.model, task.epochs + task.tuning)


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits to train with and as many to test with, divided anew by each seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.5, random_state=seed, stratify=y)
    return x, y, x_test, y_test


def network() -> Any:
    """Three convolutions with batch normalization, one of them beside a skip connection."""
    import keras
    from keras import layers

    def convolved(x: Any, width: int) -> Any:
        h = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(h)

    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(convolved(inputs, 32))
    x = layers.ReLU()(layers.Add()([x, convolved(layers.ReLU()(convolved(x, 32)), 32)]))
    x = layers.MaxPooling2D(2)(x)
    x = layers.ReLU()(convolved(x, 64))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    return model


def fit(model: Any, x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> None:
    import keras

    keras.utils.set_random_seed(seed)
    model.fit(x, y, epochs=epochs, batch_size=BATCH, verbose=0)


def recalibrate(model: Any, x: np.ndarray) -> None:
    for _ in range(3):
        for start in range(0, len(x), BATCH):
            model(x[start : start + BATCH], training=True)


def accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(np.argmax(model(x, training=False), -1) == y))


def table(task: Task, rows: Sequence[Row]) -> str:
    """A line for each criterion: percents, with their standard deviation over the seeds."""
    head = [f"{f:.0%} go: {when}" for f in task.fractions for when in ("at once", "fine-tuned")]
    lines = [f"| | {' | '.join(head)} |", f"| --- |{' ---: |' * len(head)}"]
    for name in (WHOLE, *task.criteria, AFRESH):
        cells = []
        for fraction in task.fractions:
            own = [row for row in rows if (row.name, row.fraction) == (name, fraction)]
            cells.append("" if name == AFRESH else percent([row.before for row in own]))
            cells.append(percent([row.after for row in own]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(values: Sequence[float]) -> str:
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{100 * np.mean(values):.1f} ± {100 * spread:.1f}"


def write(text: str) -> None:
    """Puts the table into its place on the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_pruning")
    parser.add_argument("--write", action="store_true", help="also write docs/pruning.md")
    options = parser.parse_args()
    task = Task()
    found = table(task, measured(task))
    print(found)
    if options.write:
        write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
