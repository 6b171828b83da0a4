"""Live editing on every backend: what JAX, which keeps the state in its own hands, needs too."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers

import kerasedit
from kerasedit import EditError, Stage

from .test_compiled import OPTIMIZERS, bits
from .test_live import compiled, state, train


def own(ed: kerasedit.Editor, name: str) -> list[tuple]:
    """The weights of a layer; asking the editor for its model fetches them from JAX."""
    return bits(ed.model.get_layer(name).get_weights())


@pytest.mark.parametrize("name", ["sgd-momentum", "adam", "loss-scale", "accumulation", "multi"])
def test_frozen_means_frozen_and_the_others_train(name: str) -> None:
    ed = kerasedit.Editor(compiled(OPTIMIZERS[name]))
    seen: dict[int, tuple[Any, Any]] = {}

    def look(step: int, then: Any = None) -> Any:
        def note(_: Any) -> None:
            seen[step] = own(ed, "a"), own(ed, "b")
            if then is not None:
                then("a")

        return note

    toggles = {2: look(2, ed.freeze), 5: look(5, ed.unfreeze), 8: look(8)}
    live = train(ed, toggles)
    assert seen[2][0] == seen[5][0] != seen[8][0]
    assert seen[2][1] != seen[5][1] != seen[8][1]
    assert [happened.step for happened in live.log] == [2, 5]


def test_a_stretch_of_frozen_steps_equals_a_model_built_frozen() -> None:
    """Frozen from the first batch on: to the bit as compiled that way."""
    ed = kerasedit.Editor(compiled(lambda: optimizers.Adam(0.01)))
    train(ed, {0: lambda _: ed.freeze("a", "bn")})
    plain = compiled(lambda: optimizers.Adam(0.01))
    plain.get_layer("a").trainable = plain.get_layer("bn").trainable = False
    plain.compile(optimizers.Adam(0.01), loss="mse")
    other = kerasedit.Editor(plain)
    train(other)
    assert state(ed.model) == state(other.model)


def test_weights_are_edited_between_batches_and_from_other_threads() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a")
    before = ed.model.get_layer("a").get_weights()[0]

    def ask(_: Any) -> None:
        thread = threading.Thread(target=lambda: ed.scale_weights("a", 0.5, weight="kernel"))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    toggles = {2: ask, 5: lambda _: ed.scale_weights("a", 4.0, weight="kernel")}
    live = train(ed, toggles)
    assert np.array_equal(ed.model.get_layer("a").get_weights()[0], before * np.float32(2))
    assert [happened.step for happened in live.log] == [2, 5]


def test_a_schedule_and_the_history() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a")
    frozen = own(ed, "a")
    live = train(ed, schedule=[Stage("a", step=6)])
    assert own(ed, "a") != frozen
    assert live.history["b"][-1].update > 0
    assert [(h.step, h.why) for h in live.log] == [(6, "schedule: step 6")]


def test_an_interrupt() -> None:
    ed = kerasedit.Editor(compiled())

    def stop(_: Any) -> None:
        ed.freeze("b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ed, {1: lambda _: ed.freeze("a"), 4: stop})
    assert not ed.model.get_layer("b").trainable
    frozen = own(ed, "a"), own(ed, "b")
    train(ed)
    assert (own(ed, "a"), own(ed, "b")) == frozen


def test_a_warm_up_is_refused_where_it_would_do_nothing() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a")
    schedule = [Stage("a", epoch=0, warmup=3)]
    if keras.backend.backend() == "jax":
        with pytest.raises(EditError, match="warm-up"):
            train(ed, schedule=schedule)
    else:
        assert train(ed, schedule=schedule).log[0].warmup == 3


def test_another_thread_reads_the_weights_or_hears_why_not() -> None:
    ed = kerasedit.Editor(compiled())
    found: list[Any] = []

    def read() -> None:
        try:
            found.append(ed.histogram("b/kernel").size)
        except EditError as problem:
            found.append(str(problem))

    def ask(_: Any) -> None:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(20)

    train(ed, {2: ask})
    read()
    on_jax = keras.backend.backend() == "jax"
    assert ("between epochs" in found[0]) if on_jax else (found[0] == 30)
    assert found[1] == 30


def test_what_was_compiled_for_a_set_of_flags_is_kept() -> None:
    ed = kerasedit.Editor(compiled())
    seen: list[Any] = []

    def note(then: Any) -> Any:
        return lambda _: (seen.append(ed.model.train_function), then("a"))

    train(ed, {2: note(ed.freeze), 4: note(ed.unfreeze), 6: note(ed.freeze), 8: note(ed.unfreeze)})
    assert seen[0] is seen[2] is not seen[1] is seen[3]
