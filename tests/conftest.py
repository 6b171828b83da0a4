"""What every test stands on: quiet, seeded, on the CPU."""

from __future__ import annotations

import os
import sys

# Before anything imports TensorFlow. Tests must give the same figures with and without a GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
# A test that forgets to choose must not try to open a window.
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from hypothesis import HealthCheck, settings

# Building models takes longer than Hypothesis expects of an example, and the first one imports and
# traces: time limits would only make tests fail on a busy machine.
_common = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("ci", max_examples=100, **_common)
settings.register_profile("all", max_examples=10_000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    """The same seeds and the same automatic names ("dense", "dense_1") whatever ran before.

    `clear_session` also undoes a dtype policy that a test left behind. Without the garbage
    collection it costs microseconds, and models that are still held stay good. Tests that never
    import Keras do not pay for it.
    """
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(20)
