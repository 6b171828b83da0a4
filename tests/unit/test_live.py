"""Editing while `fit` runs: what is toggled holds from the next batch on, and nothing else changes."""

from __future__ import annotations

import _thread
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import kerasedit
import kerasedit.edits
from kerasedit import EditError, LiveEdit, Plateau, Stage, StructureError, top_down

from .test_compiled import OPTIMIZERS, bits

pytestmark = pytest.mark.tensorflow

BATCH = 4
Toggles = Mapping[int, Callable[[Any], Any]]


def data(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """The first batches of always the same data."""
    rng = np.random.default_rng(7)
    x, y = (rng.normal(size=(16 * BATCH, width)).astype("float32") for width in (4, 2))
    return x[: count * BATCH], y[: count * BATCH]


def network(seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((4,), name="in")
    x = layers.Dense(6, activation="tanh", name="a")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    return keras.Model(inputs, layers.Dense(2, name="c")(x), name="net")


def compiled(make: Callable[[], Any] = lambda: "adam", **options: Any) -> keras.Model:
    model = network()
    model.compile(make(), loss="mse", **options)
    return model


class At(keras.callbacks.Callback):
    """Does something after a number of batches since `fit` began, so before the next one."""

    def __init__(self, what: Toggles) -> None:
        super().__init__()
        self.what, self.done = dict(what), 0

    def on_train_begin(self, logs: Any = None) -> None:
        if 0 in self.what:
            self.what.pop(0)(self)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.done in self.what:
            self.what.pop(self.done)(self)


def train(ed: kerasedit.Editor, toggles: Toggles | None = None, steps: int = 8, **options: Any):
    """`fit` with a live callback; `toggles` after so many batches. Returns the callback."""
    live = ed.live(**options)
    x, y = data(steps)
    callbacks = [live, At(toggles or {})]
    ed.model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)
    return live


def state(model: keras.Model) -> list[tuple]:
    return bits(model.get_weights())


def targets(edit: Any) -> Any:
    return edit.targets


def slots(model: keras.Model) -> dict[str, bytes]:
    return {v.name: np.asarray(v).tobytes() for v in model.optimizer.variables}


# -- to the bit ----------------------------------------------------------------------------------


class Reference:
    """The same training by Keras alone: at each toggle compiled anew, the optimizer copied.

    Its optimizer has slots for all variables from the start.
    """

    def __init__(self, model: keras.Model, make: Callable[[], Any], **options: Any) -> None:
        self.model, self.make, self.options = model, make, options
        self.everything = list(model.trainable_variables)
        self.optimizer = make()
        self.optimizer.build(self.everything)
        self.compile()

    def compile(self) -> None:
        values = [np.asarray(v) for v in self.optimizer.variables]
        fresh = self.make()
        fresh.build(self.everything)
        for variable, value in zip(fresh.variables, values, strict=True):
            variable.assign(value)
        self.optimizer = fresh
        self.model.compile(fresh, loss="mse", **self.options)

    def flag(self, name: str, value: bool) -> None:
        self.model.get_layer(name).trainable = value
        self.compile()

    def steps(self, toggles: Mapping[int, tuple[str, bool]], count: int) -> None:
        x, y = data(count)
        for step in range(count):
            if step in toggles:
                self.flag(*toggles[step])
            rows = slice(step * BATCH, (step + 1) * BATCH)
            self.model.train_on_batch(x[rows], y[rows])

    def slots(self) -> dict[str, bytes]:
        return {v.name: np.asarray(v).tobytes() for v in self.optimizer.variables}


EXACT = [name for name in OPTIMIZERS if name not in ("ema", "multi")]


@pytest.mark.parametrize("name", EXACT)
def test_toggles_equal_a_training_compiled_anew(name: str) -> None:
    """Freeze at 2, back at 5; another at 3: as if each part had been compiled that way."""
    make = OPTIMIZERS[name]
    ed = kerasedit.Editor(compiled(make))
    reference = Reference(network(), make)
    asked = {2: ("a", False), 3: ("bn", False), 5: ("a", True), 6: ("bn", True)}
    reference.steps(asked, 8)

    def toggle(layer: str, value: bool) -> Callable[[Any], Any]:
        return lambda _: (ed.unfreeze if value else ed.freeze)(layer)

    train(ed, {step: toggle(*what) for step, what in asked.items()})
    assert state(ed.model) == state(reference.model)
    # All train in the end, so the slots of all are in the optimizer again.
    assert sorted(slots(ed.model).values()) == sorted(reference.slots().values())


def test_an_optimizer_of_several() -> None:
    """MultiOptimizer takes gradients for exactly the variables that it was built with."""
    ed = kerasedit.Editor(compiled(OPTIMIZERS["multi"]))
    seen = {}
    train(
        ed,
        {
            2: lambda _: ed.freeze("a"),
            3: lambda _: seen.update(frozen=bits(ed.model.get_layer("a").get_weights())),
            5: lambda _: seen.update(still=bits(ed.model.get_layer("a").get_weights())),
            6: lambda _: ed.unfreeze("a"),
        },
    )
    assert seen["frozen"] == seen["still"] != bits(ed.model.get_layer("a").get_weights())


@pytest.mark.parametrize("name", ["sgd-momentum", "adam", "loss-scale", "accumulation"])
def test_without_a_toggle_it_is_plain_fit(name: str) -> None:
    ed = kerasedit.Editor(compiled(OPTIMIZERS[name]))
    plain = compiled(OPTIMIZERS[name])
    x, y = data(8)
    plain.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    train(ed)
    assert state(ed.model) == state(plain)
    assert sorted(slots(ed.model).values()) == sorted(slots(plain).values())


def test_frozen_means_frozen() -> None:
    """Weights, moving statistics and moments stay to the bit; the others go on."""
    ed = kerasedit.Editor(compiled(lambda: optimizers.AdamW(0.01, weight_decay=0.1)))
    seen: dict[str, Any] = {}

    def look(key: str) -> Callable[[Any], None]:
        def note(_: Any) -> None:
            model = ed.model
            seen[key] = [bits(model.get_layer(n).get_weights()) for n in ("a", "bn", "b")]

        return note

    train(ed, {2: lambda _: ed.freeze("a", "bn"), 3: look("at 3"), 7: look("at 7")})
    assert seen["at 3"][:2] == seen["at 7"][:2]
    assert seen["at 3"][2] != seen["at 7"][2]
    layer = ed.model.get_layer("bn")
    x = np.random.default_rng(1).normal(size=(8, 6)).astype("float32")
    same = np.asarray(layer(x, training=True)) == np.asarray(layer(x, training=False))
    assert same.all()  # inference mode


def test_moments_wait_for_a_frozen_layer() -> None:
    ed = kerasedit.Editor(compiled())
    seen: dict[str, Any] = {}

    def own() -> dict[str, bytes]:
        return {name: value for name, value in slots(ed.model).items() if name.startswith("a_")}

    train(
        ed,
        {
            2: lambda _: (seen.update(before=own()), ed.freeze("a")),
            4: lambda _: seen.update(frozen=own()),
            6: lambda _: ed.unfreeze("a"),
        },
        steps=6,
    )
    assert seen["before"]
    assert not seen["frozen"]  # set aside, so that a file has what belongs to what trains
    assert own() == seen["before"]


# -- what a training may have --------------------------------------------------------------------


def freeze_midway(ed: kerasedit.Editor, at: int = 3) -> tuple[Toggles, dict[str, Any]]:
    seen: dict[str, Any] = {}
    weights = lambda: bits(ed.model.get_layer("a").get_weights())  # noqa: E731
    return {
        at - 1: lambda _: ed.freeze("a"),
        at: lambda _: seen.update(then=weights()),
        8: lambda _: seen.update(end=weights(), other=bits(ed.model.get_layer("b").get_weights())),
    }, seen


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": True},
        {"run_eagerly": True},
        {"steps_per_execution": 2},
        {"metrics": ["mae"]},
    ],
    ids=lambda o: next(iter(o)),
)
def test_compile_options(options: dict[str, Any]) -> None:
    ed = kerasedit.Editor(compiled(**options))
    before = bits(ed.model.get_layer("a").get_weights())
    first = None

    def note(_: Any) -> None:
        nonlocal first
        first = bits(ed.model.get_layer("a").get_weights())
        ed.freeze("a")

    train(ed, {2: note})
    assert before != first == bits(ed.model.get_layer("a").get_weights())


def test_mixed_precision_and_class_weights() -> None:
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((4,), name="in")
    for name in "ab":
        x = layers.Dense(6, activation="relu", dtype="mixed_float16", name=name)(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", dtype="float32", name="c")(x))
    model.compile("adam", "sparse_categorical_crossentropy", auto_scale_loss=True)
    ed = kerasedit.Editor(model)
    toggles, seen = freeze_midway(ed)
    x, _ = data(8)
    y = np.arange(len(x)) % 2
    ed.model.fit(
        x, y, batch_size=BATCH, class_weight={0: 1.0, 1: 3.0}, verbose=0,
        callbacks=[ed.live(), At(toggles)],
    )  # fmt: skip
    assert seen["then"] == seen["end"]


@pytest.mark.parametrize("source", ["generator", "tf.data", "validation"])
def test_where_batches_come_from(source: str) -> None:
    import tensorflow as tf

    ed = kerasedit.Editor(compiled())
    toggles, seen = freeze_midway(ed)
    x, y = data(8)
    given: dict[str, Any] = {"x": x, "y": y, "batch_size": BATCH}
    if source == "generator":
        pairs = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]
        given = {"x": (pair for pair in pairs), "steps_per_epoch": 8}
    elif source == "tf.data":
        given = {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)}
    else:
        given["validation_data"] = (x, y)
    ed.model.fit(**given, verbose=0, callbacks=[ed.live(), At(toggles)])
    assert seen["then"] == seen["end"]


class OwnStep(keras.Model):
    def train_step(self, batch: Any) -> Any:
        import tensorflow as tf

        x, y = batch
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((self(x, training=True) - y) ** 2)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def test_a_training_step_of_ones_own() -> None:
    x = inputs = keras.Input((4,), name="in")
    for name in "ab":
        x = layers.Dense(6, name=name)(x)
    model = OwnStep(inputs, layers.Dense(2, name="c")(x))
    model.compile("adam")
    ed = kerasedit.Editor(model)
    toggles, seen = freeze_midway(ed)
    train(ed, toggles)
    assert seen["then"] == seen["end"]


def test_several_fits_with_one_callback() -> None:
    ed = kerasedit.Editor(compiled())
    live = ed.live()
    x, y = data(4)
    reference = Reference(network(), lambda: optimizers.Adam())
    for number in range(3):
        ed.model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[live])
        reference.steps({}, 4)
        (ed.freeze, ed.unfreeze)[number % 2]("a")
        reference.flag("a", number % 2 == 1)
    assert state(ed.model) == state(reference.model)


def test_train_functions_are_kept_for_each_set_of_flags() -> None:
    ed = kerasedit.Editor(compiled())
    seen: list[Any] = []

    def toggle(freeze: bool) -> Callable[[Any], Any]:
        return lambda _: (ed.freeze if freeze else ed.unfreeze)("a")

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(ed.model.train_function)

    x, y = data(8)
    toggles = {2: toggle(True), 4: toggle(False), 6: toggle(True)}
    callbacks = [ed.live(), At(toggles), Note()]
    ed.model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=callbacks)
    assert seen[0] is seen[1] is seen[4] is seen[5] is not seen[2]
    assert seen[2] is seen[3] is seen[6] is seen[7]
    ed.unfreeze("a")
    x, y = data(2)
    ed.model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[ed.live(), Note()])
    assert seen[-1] is seen[0]


def test_beside_backup_and_restore(tmp_path: Any) -> None:
    """Stopped in the middle and taken up again by another process: as if it had never stopped."""

    def run(model: keras.Model, epochs: int, stop: int | None = None) -> kerasedit.Editor:
        ed = kerasedit.Editor(model)
        x, y = data(3)

        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                if epoch == stop:
                    raise KeyboardInterrupt

        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        callbacks = [backup, ed.live(), Stop()]
        ed.model.fit(
            x, y, batch_size=BATCH, shuffle=False, epochs=epochs, verbose=0, callbacks=callbacks
        )
        return ed

    with pytest.raises(KeyboardInterrupt):
        run(compiled(), 4, stop=2)
    resumed = run(compiled(), 4)
    plain = compiled()
    x, y = data(3)
    plain.fit(x, y, batch_size=BATCH, shuffle=False, epochs=4, verbose=0)
    assert state(resumed.model) == state(plain)


_MIRRORED = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
import kerasedit
from tests.unit.test_live import compiled, train, bits
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    ed = kerasedit.Editor(compiled())
    model = ed.model
assert model.distribute_strategy.num_replicas_in_sync == 2
seen = []
note = lambda _: seen.append(bits(model.get_layer("a").get_weights()))
freeze, unfreeze = (lambda _: ed.freeze("a")), (lambda _: ed.unfreeze("a"))
live = train(ed, {2: freeze, 3: note, 5: lambda _: (note(_), unfreeze(_)), 6: note, 7: freeze})
assert seen[0] == seen[1] != seen[2], "frozen from 2 to 5"
assert [h.step for h in live.log] == [2, 5, 7]
assert [len(v.value.values) for v in model.trainable_variables] == [2] * len(model.trainable_variables)
assert ed.model is model
print("right")
"""


def test_a_mirrored_strategy() -> None:
    """Two logical devices have to be asked for before TensorFlow starts."""
    command = [sys.executable, "-c", _MIRRORED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip().endswith("right"), done.stderr[-3000:]


def test_ema_is_refused_before_training() -> None:
    ed = kerasedit.Editor(compiled(OPTIMIZERS["ema"]))
    before = state(ed.model)
    with pytest.raises(EditError, match="use_ema"):
        train(ed)
    assert state(ed.model) == before
    assert ed.training() is None


def test_another_model_is_refused() -> None:
    ed = kerasedit.Editor(compiled())
    x, y = data(1)
    with pytest.raises(EditError, match=r"ed\.model"):
        ed.source.fit(x, y, verbose=0, callbacks=[ed.live()])


@pytest.mark.parametrize(
    "options",
    [{"structure": "later"}, {"rate": 0}, {"schedule": ["a"]}],
    ids=lambda o: next(iter(o)),
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(EditError):
        kerasedit.Editor(network()).live(**options)


# -- without an editor ---------------------------------------------------------------------------


def test_a_model_without_an_editor() -> None:
    model = compiled()
    live = LiveEdit()
    live.freeze("a")
    x, y = data(8)
    seen: dict[str, Any] = {}
    weights = lambda: bits(model.get_layer("a").get_weights())  # noqa: E731
    before = weights()
    toggles = {3: lambda _: (seen.update(then=weights()), live.unfreeze("a"))}
    model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[live, At(toggles)])
    assert before == seen["then"] != weights()
    with pytest.raises(kerasedit.TargetError):
        live.freeze("nowhere")


def test_flags_set_by_hand_are_taken_in() -> None:
    ed = kerasedit.Editor(compiled())
    ed.model.get_layer("a").trainable = False
    before = bits(ed.model.get_layer("a").get_weights())
    train(ed)
    assert bits(ed.model.get_layer("a").get_weights()) == before
    assert not ed.layers[1].trainable


# -- other threads -------------------------------------------------------------------------------


def in_thread(work: Callable[[], Any]) -> None:
    """Runs something in a thread and waits for it, as a callback may."""
    problem: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for fit"
    if problem:
        raise problem[0]


def test_a_request_of_another_thread_returns_at_once() -> None:
    ed = kerasedit.Editor(compiled())
    seen: dict[str, Any] = {}

    def ask(_: Any) -> None:
        in_thread(lambda: ed.freeze("a"))
        seen.update(asked=ed.layers[1].trainable, live=ed.model.get_layer("a").trainable)

    train(ed, {2: ask, 3: lambda _: seen.update(later=ed.model.get_layer("a").trainable)})
    assert seen == {"asked": False, "live": True, "later": False}


def test_hammering_threads() -> None:
    """Toggles come from many threads at any time; in the end the last word holds."""
    ed = kerasedit.Editor(compiled(run_eagerly=True))
    names = ["a", "bn", "b", "c"]
    stop = threading.Event()
    failed: list[BaseException] = []

    def hammer(name: str) -> None:
        try:
            while not stop.is_set():
                ed.freeze(name)
                time.sleep(0.002)  # so that some batch sees it
                ed.unfreeze(name)
                time.sleep(0.002)
        except BaseException as problem:
            failed.append(problem)

    threads = [threading.Thread(target=hammer, args=(name,)) for name in names]

    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            for thread in threads:
                thread.start()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 3:
                stop.set()
                for thread in threads:
                    thread.join(20)

    x, y = data(12)
    live = ed.live()
    ed.model.fit(x, y, batch_size=BATCH, epochs=6, verbose=0, callbacks=[live, Stop()])
    assert not failed
    assert not any(thread.is_alive() for thread in threads)
    assert live.log
    assert all(ed.model.get_layer(name).trainable for name in names)
    assert len(ed.model.trainable_variables) == len(ed.model.optimizer.variables) // 2 - 1
    assert all(np.isfinite(w).all() for w in ed.model.get_weights())


def test_clicks_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of clicks is one change of flags; a request from Python ends the waiting."""
    # Steps of a busy machine take their time: what is a burst must not depend on it.
    monkeypatch.setattr("kerasedit.training.run.GATHER", 3.0)
    ed = kerasedit.Editor(compiled(run_eagerly=True))

    def click(name: str) -> Callable[[Any], None]:
        def ask(_: Any) -> None:
            with ed.gathering():
                ed.freeze(name)

        return ask

    live = train(ed, {2: click("a"), 3: click("b"), 4: click("bn"), 6: lambda _: time.sleep(3.1)})
    assert [happened.step for happened in live.log] == [7 - 1]
    assert targets(live.log[0].edit) == ("a", "bn", "b")
    live = train(ed, {2: click("c"), 3: lambda _: ed.unfreeze("a")})
    assert [happened.step for happened in live.log] == [3, 3]


def test_what_waits_is_told() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))
    seen: list[Any] = []

    def click(_: Any) -> None:
        with ed.gathering():
            ed.freeze("a")

    toggles = {
        2: click,
        3: lambda _: seen.append(ed.monitor.state.pending),
        4: lambda _: time.sleep(0.3),
        5: lambda _: seen.append(ed.monitor.state.pending),
    }
    live = train(ed, toggles)
    assert seen == [("a",), ()]
    now = ed.monitor.state
    assert (now.changed, now.changed_at) == (1, live.log[0].step)


# -- weights and structure -----------------------------------------------------------------------


def test_weights_are_changed_between_batches() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))
    ed.freeze("a")
    before = ed.model.get_layer("a").get_weights()[0]
    seen: dict[str, Any] = {}

    def ask(_: Any) -> None:
        in_thread(lambda: ed.scale_weights("a", 0.5, weight="kernel"))
        seen["at once"] = ed.model.get_layer("a").get_weights()[0]

    live = train(ed, {2: ask})
    assert np.array_equal(seen["at once"], before)
    assert np.array_equal(ed.model.get_layer("a").get_weights()[0], before * np.float32(0.5))
    assert [(h.step, type(h.edit).__name__) for h in live.log] == [(2, "ScaleWeights")]
    ed.undo()
    assert np.array_equal(ed.model.get_layer("a").get_weights()[0], before)


def test_every_edit_of_weights_and_its_undo() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True)).freeze("**")
    start = state(ed.model)
    edits = [
        lambda: ed.set_weights("a/kernel", [np.ones((4, 6), "float32")]),
        lambda: ed.map_weights("b", np.negative, weight="kernel"),
        lambda: ed.reinitialize("c"),
    ]
    train(
        ed,
        {
            2: lambda _: [in_thread(edit) for edit in edits],
            5: lambda _: in_thread(lambda: ed.undo(3)),
        },
    )
    assert state(ed.model) == start


def test_the_structure_cannot_change() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))
    model, seen = ed.model, []

    def ask(_: Any) -> None:
        for edit in (lambda: ed.remove("bn"), lambda: ed.undo()):
            with pytest.raises(StructureError, match="while fit runs"):
                edit()
            seen.append(len(ed.history))
        for what in (lambda: ed.verify(), lambda: ed.save("never.keras")):
            with pytest.raises(EditError, match="after fit"):
                what()

    ed.insert(layers.Identity(name="i"), after="a")
    model = ed.model
    train(ed, {2: ask})
    assert seen == [1, 1]
    assert ed.model is model


def test_edits_of_the_structure_can_wait_for_the_end() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))
    model = ed.model
    toggles = {
        2: lambda _: in_thread(lambda: ed.remove("bn")),
        3: lambda _: ed.insert(layers.ReLU(), after="b"),
    }
    train(ed, toggles, structure="queue")
    assert [type(edit).__name__ for edit in ed.history] == ["Remove", "Insert"]
    assert ed.model is not model
    assert ed.model.optimizer.built
    train(ed)


def test_an_edit_that_fails_later_is_told() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))

    def bad(_: Any) -> Any:
        raise ValueError("no such thing")

    before = len(ed.history)
    with pytest.warns(UserWarning, match="no such thing"):
        train(ed, {2: lambda _: in_thread(lambda: ed.map_weights("a", bad))})
    assert len(ed.history) == before
    assert any("no such thing" in text for text in ed.monitor.state.alerts)


def test_what_is_wrong_is_said_at_once() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))

    def ask(_: Any) -> None:
        with pytest.raises(kerasedit.TargetError):
            ed.freeze("nowhere")
        with pytest.raises(kerasedit.TargetError):
            in_thread(lambda: ed.scale_weights("nowhere", 2.0))

    live = train(ed, {2: ask})
    assert live.log == []


# -- interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, 5])
def test_an_interrupt_leaves_all_consistent(step: int) -> None:
    """What was asked for just before holds afterwards, and the next fit runs."""
    ed = kerasedit.Editor(compiled())

    def stop(_: Any) -> None:
        ed.freeze("b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ed, {1: lambda _: ed.freeze("a"), step: stop})
    assert not ed.model.get_layer("b").trainable
    assert ed.training() is None
    ed.insert(layers.Identity(), after="a")  # the structure is free again
    before = bits(ed.model.get_layer("b").get_weights())
    train(ed)
    assert bits(ed.model.get_layer("b").get_weights()) == before
    assert ed.monitor.state.running is False


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What was started in the background of a shell ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupts_at_any_moment() -> None:
    """Real ones, in the middle of steps, of tracing and of toggles, as the stop button sends them."""
    ed = kerasedit.Editor(compiled())
    dice = np.random.default_rng(3)
    for _ in range(12):
        before = ed.model
        live = ed.live()

        class Restless(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                name = ["a", "bn", "b", "c"][dice.integers(4)]
                (ed.freeze if dice.integers(2) else ed.unfreeze)(name)

        stopped = threading.Event()

        def stop(seconds: float = float(dice.uniform(0.02, 1.5)), done: Any = stopped) -> None:
            while not done.wait(seconds):  # one may come where Python must ignore it
                _thread.interrupt_main()
                seconds = 5.0

        stopping = threading.Thread(target=stop)
        stopping.start()
        try:
            # TensorFlow's own C++ code sometimes makes a SystemError of it.
            with pytest.raises((KeyboardInterrupt, SystemError)):
                fit(ed, live, 10**6, more=Restless())
        finally:
            stopped.set()
            stopping.join()
        assert ed.training() is None
        assert ed.model is before
        asked = {view.path: view.trainable for view in ed.layers if view.kind == "layer"}
        assert asked == {name: ed.model.get_layer(name).trainable for name in asked}
        slotted = {v.name for v in ed.model.optimizer.variables}
        frozen = [name for name, flag in asked.items() if not flag]
        assert not [s for s in slotted if any(s.startswith(f"{name}_") for name in frozen)]
        assert all(np.isfinite(w).all() for w in ed.model.get_weights())
        kept = {name: bits(ed.model.get_layer(name).get_weights()) for name in frozen}
        train(ed, steps=2)
        assert kept == {name: bits(ed.model.get_layer(name).get_weights()) for name in frozen}
    ed.undo(len(ed.history))
    assert all(view.trainable for view in ed.layers)


class Deaf:
    """A finalizer in which an interrupt comes: Python prints it and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_ignores_is_heard() -> None:
    ed = kerasedit.Editor(compiled())
    before, steps = signal.getsignal(signal.SIGINT), []

    def act(_: Any) -> None:
        steps.append(len(steps))
        if len(steps) == 3:
            Deaf()

    with pytest.raises(KeyboardInterrupt):
        train(ed, dict.fromkeys(range(6), act))
    assert len(steps) == 3
    assert ed.training() is None and ed.monitor.state.stopped
    assert signal.getsignal(signal.SIGINT) == before
    train(ed)
    assert not ed.monitor.state.stopped


def test_an_interrupt_that_somebody_handles_is_none() -> None:
    """As with a handler that asks `fit` to stop at the next chance."""
    ed, asked = kerasedit.Editor(compiled()), []
    before = signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    try:
        train(ed, {2: lambda _: signal.raise_signal(signal.SIGINT)})
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [True] and not ed.monitor.state.stopped


def test_an_interrupt_while_the_slots_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras calls an optimizer built before it has any."""
    ed = kerasedit.Editor(compiled())
    build = keras.optimizers.Optimizer.build

    def interrupted(self: Any, variables: Any) -> None:
        build(self, variables)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.optimizers.Optimizer, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(ed)
    assert not ed.model.optimizer.built
    train(ed)


def test_a_stopped_cell_is_noticed_when_it_ends() -> None:
    """In a notebook, where the next cell may train the model by its own name."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        ed = kerasedit.Editor(compiled(run_eagerly=True))
        model = ed.model

        def stop(_: Any) -> None:
            ed.freeze("a")
            raise KeyboardInterrupt

        shell.user_ns.update(train=train, ed=ed, stop=stop)
        result = shell.run_cell("train(ed, {2: stop})")
        assert isinstance(result.error_in_exec, KeyboardInterrupt)
        assert ed.monitor.state.running is False
        assert not model.get_layer("a").trainable
        assert not shell.events.callbacks["post_run_cell"]
    finally:
        InteractiveShell.clear_instance()


def test_an_error_in_another_callback() -> None:
    ed = kerasedit.Editor(compiled())

    def fail(_: Any) -> None:
        raise RuntimeError("of somebody else")

    with pytest.raises(RuntimeError):
        train(ed, {2: fail})
    ed.freeze("a")
    assert not ed.model.get_layer("a").trainable
    train(ed)


# -- schedules -----------------------------------------------------------------------------------


def fit(ed: kerasedit.Editor, live: LiveEdit, epochs: int, more: Any = ()) -> None:
    x, y = data(3)
    callbacks = [more, live] if more else [live]
    ed.model.fit(
        x, y, batch_size=BATCH, shuffle=False, epochs=epochs, verbose=0, callbacks=callbacks
    )


def test_stages_by_epoch_and_step() -> None:
    ed = kerasedit.Editor(compiled()).freeze("**")
    live = ed.live(schedule=[Stage("c", epoch=0), Stage(["b", "bn"], epoch=1), Stage("a", step=7)])
    fit(ed, live, 3)
    found = [(h.step, h.epoch, targets(h.edit), h.why) for h in live.log]
    assert found == [
        (0, 0, ("c",), "schedule: epoch 0"),
        (3, 1, ("bn", "b"), "schedule: epoch 1"),
        (7, 2, ("a",), "schedule: step 7"),
    ]
    assert all(view.trainable for view in ed.layers)
    assert [type(edit).__name__ for edit in ed.history] == ["Freeze", *["Unfreeze"] * 3]


def test_a_log_is_done_again_to_the_bit() -> None:
    first = kerasedit.Editor(compiled())
    live = train(first, {2: lambda _: first.freeze("a"), 4: lambda _: first.scale_weights("b", 0.5),
                         5: lambda _: first.unfreeze("a")})  # fmt: skip
    second = kerasedit.Editor(compiled())
    stages = [Stage.from_json(h.stage().to_json()) for h in live.log]
    again = train(second, schedule=stages)
    assert state(second.model) == state(first.model)
    assert [(h.step, h.edit) for h in again.log] == [(h.step, h.edit) for h in live.log]


def test_from_the_top_down() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a", "bn", "b")
    stages = top_down(ed, 2, every=1, start=1)
    assert [targets(stage.edits[0]) for stage in stages] == [("bn", "b"), ("a",)]
    live = ed.live(schedule=stages)
    fit(ed, live, 3)
    assert [(h.step, targets(h.edit)) for h in live.log] == [(3, ("bn", "b")), (6, ("a",))]
    with pytest.raises(EditError, match="nothing to unfreeze"):
        top_down(ed)


def test_a_plateau() -> None:
    """A metric that cannot get better: the stages come one by one, after their patience."""
    ed = kerasedit.Editor(compiled(lambda: optimizers.SGD(0.0))).freeze("a", "b")
    stages = [Stage("b", plateau=Plateau("loss", 2)), Stage("a", plateau=Plateau("loss", 1))]
    live = ed.live(schedule=stages)
    fit(ed, live, 6)
    assert [(h.epoch, targets(h.edit)) for h in live.log] == [(2, ("b",)), (4, ("a",))]
    live = ed.live(schedule=[Stage("a", plateau=Plateau("val_loss"))])
    with pytest.raises(EditError, match="val_loss"):
        fit(ed, live, 1)


def test_a_warm_up_scales_the_first_steps() -> None:
    """Plain SGD: the update of a step is the learning rate times the gradient, so factors show."""
    ed = kerasedit.Editor(compiled(lambda: optimizers.SGD(1e-6))).freeze("a")
    seen: list[np.ndarray] = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            seen.append(ed.model.get_layer("a").get_weights()[1].astype("float64"))

    def moved(warmup: int) -> list[float]:
        seen.clear()
        x = np.ones((4 * 8, 4), "float32")
        y = np.ones((4 * 8, 2), "float32") * 1e4
        live = ed.live(schedule=[Stage("a", step=2, warmup=warmup)])
        ed.model.fit(x, y, batch_size=4, verbose=0, callbacks=[live, Note()])
        ed.freeze("a")
        ed.model.get_layer("a").set_weights([np.zeros((4, 6)), np.zeros(6)])
        return [float(np.abs(b - a).sum()) for a, b in itertools.pairwise(seen)]

    ed.model.get_layer("a").set_weights([np.zeros((4, 6)), np.zeros(6)])
    ed.freeze("bn", "b", "c")
    plain, warm = moved(0), moved(3)
    assert plain[:2] == warm[:2] == [0, 0]
    factors = [w / p for w, p in zip(warm[2:], plain[2:], strict=True)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1], rel=0.05)
    assert "update_step" not in vars(ed.model.optimizer)


def test_a_schedule_is_checked_before_training() -> None:
    ed = kerasedit.Editor(compiled())
    before = state(ed.model)
    with pytest.raises(EditError, match=r"epoch 3.*nowhere"):
        train(ed, schedule=[Stage("a", epoch=0), Stage("nowhere", epoch=3)])
    assert state(ed.model) == before


def test_an_interrupted_warm_up_leaves_no_trace() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a")

    def stop(_: Any) -> None:
        assert "update_step" in vars(ed.model.optimizer)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ed, {4: stop}, schedule=[Stage("a", step=1, warmup=100)])
    assert "update_step" not in vars(ed.model.optimizer)
    train(ed)


def test_short_epochs_are_not_a_flood() -> None:
    """Hundreds of epochs within a second are told a few times."""
    from kerasedit.training.monitor import View

    ed = kerasedit.Editor(compiled())
    told: list[Any] = []
    frames: list[Any] = []
    view = View(told.append, lambda frame: (frames.append(frame), view.drawn()))
    ed.monitor.add(view)
    view.hear(paths=["a", "b"])
    x, y = data(1)
    live = ed.live()
    start = time.monotonic()
    ed.model.fit(x, y, batch_size=BATCH, epochs=150, verbose=0, callbacks=[live])
    seconds = time.monotonic() - start
    assert len(told) + len(frames) < 8 * seconds + 8
    assert told[-1].running is False and told[-1].epoch == 149 and told[-1].total == 150
    assert len(live.history["a"]) < 5 * seconds + 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stage("a"),
        lambda: Stage(epoch=1, edits=[kerasedit.edits.Remove("a")]),
        lambda: Stage("a", epoch=1, step=2),
        lambda: Stage(epoch=1),
        lambda: Stage("a", epoch=-1),
        lambda: Plateau(patience=0),
        lambda: Stage.from_json({"epoch": 1}),
        lambda: Stage.from_json({"epoch": 1, "edits": [{"edit": "append", "block": []}]}),
        lambda: Stage.from_json({"epoch": 1, "edits": "freeze"}),
    ],
)
def test_bad_stages(make: Callable[[], Any]) -> None:
    with pytest.raises(EditError):
        make()


# -- looking -------------------------------------------------------------------------------------


def test_the_history_of_layers() -> None:
    ed = kerasedit.Editor(compiled()).freeze("a")
    live = ed.live()
    fit(ed, live, 4)
    assert live.history.paths == ["a", "bn", "b", "c"]
    kept = live.history["b"]
    assert [m.step for m in kept] == sorted({m.step for m in kept})
    assert kept[-1].step == 12
    assert kept[0].counts.sum() == 6 * 5 + 5
    assert live.history["a"][-1].update == 0 and live.history["a"][-1].changed == 0
    assert kept[-1].update > 0 and kept[-1].changed == 1
    assert kept[-1].gradient > 0
    weights = np.concatenate([w.ravel() for w in ed.model.get_layer("b").get_weights()])
    assert kept[-1].figures[:4] == pytest.approx(
        [weights.min(), weights.max(), weights.mean(), weights.std()], rel=1e-5
    )
    assert live.history.at("b", 5) in kept
    figure = live.history.plot("a", "b")
    assert len(figure.axes) == 4
    png = getattr(figure, "_repr_png_", bytes)()  # a notebook shows it before pyplot is imported
    assert png.startswith(b"\x89PNG")
    assert kept[0].pack().shape == (64 + 11,)


def test_a_picture_of_histograms_has_no_gaps() -> None:
    from kerasedit.training.record import _on_one_range
    from kerasedit.training.watch import Moment

    moment = Moment(0, np.ones(64, "float32"), np.array([-1.0, 1, 0, 1, 0, 0, 0, 64]), 0, 0, 0)
    assert _on_one_range(moment, -1, 1) == pytest.approx(1)
    shown = _on_one_range(moment, -2, 2)
    assert not shown[:20].any() and shown[20:60] == pytest.approx(1) and not shown[60:].any()


def test_views_get_what_they_can_draw() -> None:
    """One that draws nothing gets two frames, and still hears of steps; the other is not held up."""
    from kerasedit.training.monitor import View

    ed = kerasedit.Editor(compiled())
    heard: dict[str, list[Any]] = {"slow": [], "quick": [], "states": []}
    slow = View(heard["states"].append, heard["slow"].append)
    quick = View(lambda state: None, lambda frame: (heard["quick"].append(frame), quick.drawn()))
    for view in (slow, quick):
        ed.monitor.add(view)
        view.hear(paths=["a"])
    rest = {n: lambda _: time.sleep(0.4) for n in range(2, 8)}
    train(ed, rest, rate=20)
    assert len(heard["slow"]) == View.AHEAD < len(heard["quick"])
    assert len({state.total for state in heard["states"]}) > 3
    assert list(heard["quick"][-1].moments) == ["a"]


def test_the_history_is_bounded() -> None:
    from kerasedit.training.record import LayerHistory
    from kerasedit.training.watch import Moment

    history = LayerHistory(10)
    for step in range(1000):
        moment = Moment(step, np.ones(4, "float32"), np.zeros(8), 0.0, 0.0, 0.0)
        history.add({"a": moment})
    steps = [m.step for m in history["a"]]
    assert len(steps) <= 10
    assert steps[0] == 0 and steps[-1] > 700
    assert steps == sorted(set(steps))


def test_nan_is_an_alert_with_the_layer_and_the_step() -> None:
    ed = kerasedit.Editor(compiled(run_eagerly=True))

    def spoil(_: Any) -> None:
        kernel = ed.model.get_layer("b").kernel
        kernel.assign(np.asarray(kernel) * np.nan)

    train(ed, {4: spoil})
    alerts = ed.monitor.state.alerts
    assert any("'b'" in text and "step" in text and "NaN" in text for text in alerts)
    assert any("loss" in text for text in alerts)


def test_samples_of_large_weights() -> None:
    from kerasedit.training.watch import Watch

    rng = np.random.default_rng(3)
    values = rng.normal(2.0, 3.0, size=(300, 400)).astype("float32")
    kernel, bias = keras.Variable(values), keras.Variable(np.zeros(10, "float32"))
    watch = Watch({"layer": [kernel, bias]}, dict)
    moment = watch.look(0, ["layer", "unknown"])["layer"]
    assert moment.counts.sum() == pytest.approx(values.size + 10)
    assert moment.figures[7] == pytest.approx(values.size + 10)
    assert moment.figures[2] == pytest.approx(2.0, abs=0.5)
    assert moment.figures[3] == pytest.approx(3.0, abs=0.3)
    assert moment.figures[4] == pytest.approx(10)
    kernel.assign(values * 1.01)
    moved = watch.look(5, ["layer"])["layer"]
    assert moved.update == pytest.approx(0.01 / 5, rel=0.05)
    assert moved.changed == pytest.approx(1, abs=0.01)
    kernel.assign(np.where(values > 0, np.nan, values))
    assert watch.look(6, ["layer"]) and watch.broken(6) == ["layer"]


def test_many_trainings_draw_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    from kerasedit.training.gather import gatherer

    variable = keras.Variable(np.arange(3.0))
    with caplog.at_level("WARNING", logger="tensorflow"):
        for _ in range(12):
            assert gatherer([variable])().tolist() == [0, 1, 2]
    assert not caplog.records
