"""Sweeps on real clusters of two worker processes each: the same call, the same results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import keras
import pytest
from keras import layers

import kerasedit
from kerasedit import Sweep
from kerasedit.edits import PruneChannels, Reinitialize, Remove
from tests.models import data, scramble

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def dask() -> Iterator[dict[str, Any]]:
    # Not installed where only `make test` runs.
    import dask.config  # pyright: ignore
    from distributed import Client, LocalCluster  # pyright: ignore

    # The default takes a worker for lost that needs longer than 15 s to import TensorFlow.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,  # pyright: ignore
        ) as cluster,
        Client(cluster),
    ):
        yield {"backend": "dask"}


@contextlib.contextmanager
def ray() -> Iterator[dict[str, Any]]:
    import ray  # pyright: ignore
    from ray.util.joblib import register_ray  # pyright: ignore

    register_ray()
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}  # for the modules of these tests
    ray.init(num_cpus=2, include_dashboard=False, runtime_env=environment)
    try:
        yield {"backend": "ray", "n_jobs": 2}
    finally:
        ray.shutdown()


class Loads(layers.Layer):
    """Notes down in a file when a process makes one: a model is loaded there."""

    def __init__(self, file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file = file

    def call(self, x: Any) -> Any:
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "file": self.file}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loads:
        import sys

        if any("load_model" in frame for frame in _callers(sys)):
            with open(config["file"], "a") as file:
                file.write(f"{os.getpid()}\n")
        return cls(**config)


def _callers(sys: Any) -> Iterator[str]:
    frame = sys._getframe()
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back


def sweep(file: Path) -> Sweep:
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="tanh", name="a")(inputs)
    x = layers.Dense(6, activation="tanh", name="b")(x)
    x = Loads(str(file), name="loads")(x)
    model = scramble(keras.Model(inputs, layers.Dense(2, name="c")(x)))
    model.compile("sgd", "mse")
    x, y = data(500, 4), data(500, 2, seed=2)

    def evaluate(copy: Any) -> dict[str, float]:
        copy.run_eagerly = True
        return {"loss": copy.evaluate(x, y, batch_size=500, verbose=0), "pid": os.getpid()}

    candidates = [
        Remove("b"),
        Remove("a"),  # cannot be
        Remove("loads"),
        PruneChannels("a", fraction=0.5),
        PruneChannels("b", fraction=0.5),
        Reinitialize("a"),
        Reinitialize("c"),
        [Remove("b"), Reinitialize("c")],
    ]
    return kerasedit.sweep(model, candidates, evaluate, verbose=False)


@pytest.mark.parametrize("cluster", [dask, ray], ids=lambda cluster: cluster.__name__)
def test_a_cluster_finds_what_one_process_does(cluster: Any, tmp_path: Path) -> None:
    here = sweep(tmp_path / "here")

    with cluster() as config, joblib.parallel_config(**config):
        there = sweep(tmp_path / "there")

    assert [r["candidate"] for r in there] == [r["candidate"] for r in here]
    for one, other in zip(here, there, strict=True):
        assert one["error"] == other["error"] and one["params"] == other["params"]
        assert one["loss"] is other["loss"] is None or one["loss"] == pytest.approx(
            other["loss"], rel=1e-6
        )
    pids = {int(r["pid"]) for r in there if r["pid"]}
    assert len(pids) == 2 and os.getpid() not in pids
    # The model was opened once by each worker, for eight candidates and the unedited model.
    opened = (tmp_path / "there").read_text().split()
    assert sorted(map(int, opened)) == sorted(pids)
