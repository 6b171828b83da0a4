"""Finding channel groups and pruning EfficientNets, against what a copy of the model costs.

The reference is `clone_model` and `set_weights` of the same model, in CPU seconds of this process. How
much faster the pruned model predicts is measured by the clock, both models in turn.

    python -m benchmarks shrink
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks import Result
from benchmarks.bench_editor import UNIT, cpu
from kerasedit import Editor

HALF: dict[str, Any] = {"fraction": 0.5, "scope": "global"}
BATCH = 32


def run() -> Iterator[Result]:
    """Yields the rows of the table."""
    import keras

    yield from pruning(keras.applications.EfficientNetB0(weights=None))
    yield groups(keras.applications.EfficientNetB7(weights=None))


def clone(model: Any) -> None:
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())


def prune(model: Any) -> Editor:
    return Editor(model).prune_channels("**", **HALF)


def pruning(model: Any) -> Iterator[Result]:
    """From a model to its pruned copy, and what that has gained."""
    # The first clone of a process pays for what TensorFlow sets up once, so the best of some.
    reference = cpu(lambda: clone(model), 3)
    value = cpu(lambda: prune(model).model, 3) / reference
    yield Result("B0: clone_model + set_weights", f"{reference:.2f} s of CPU")
    name = "B0: half of the channels pruned, by scores of all layers"
    yield Result(name, f"{value:.2f} {UNIT}", "≤ 2", value <= 2)
    plan = Editor(model).preview.prune_channels("**", **HALF)
    assert plan.params_before and plan.params_after and plan.flops_before and plan.flops_after
    params = plan.params_after / plan.params_before
    flops = plan.flops_after / plan.flops_before
    yield Result(
        "B0 pruned: what is left", f"{params:.0%} of the parameters, {flops:.0%} of the FLOPs"
    )
    before, after = predicting(model, prune(model).model)
    yield Result(
        f"B0 pruned: predict of {BATCH} images",
        f"{after:.2f} s instead of {before:.2f} s, {before / after:.1f} times as fast",
    )


def predicting(*models: Any) -> list[float]:
    """The least seconds in which each model predicts a batch."""
    import numpy as np

    best = [float("inf")] * len(models)
    x = np.random.default_rng(0).random((BATCH, *models[0].input_shape[1:]), "float32")
    for _ in range(6):  # the first compiles
        for number, model in enumerate(models):
            start = time.perf_counter()
            model.predict(x, batch_size=BATCH, verbose=0)
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def groups(model: Any) -> Result:
    """How long it takes to find which channels of B7 are tied, from an editor that was just opened."""
    reference = cpu(lambda: clone(model), 2)
    value = cpu(lambda: Editor(model).channel_groups(), 3) / reference
    return Result("B7: channel groups found", f"{value:.3f} {UNIT}", "≤ 0.1", value <= 0.1)


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(run()))
