"""What the copy carries of a compiled model: settings, metrics, the optimizer and its state."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics, optimizers

import kerasedit

EAGER = {"run_eagerly": True}  # a tenth of the time where tracing is not what is tested


def data(n: int = 24, width: int = 4, classes: int = 2):
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, width)).astype("float32"), rng.normal(size=(n, classes)).astype(
        "float32"
    )


def chain(*, seed: int = 3, dropout: bool = False) -> keras.Model:
    """Dense layers around an activation that does nothing, so that it can go without a trace."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((4,), name="in")
    x = layers.Dense(6, activation="tanh", name="a")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Activation("linear", name="nothing")(x)
    if dropout:
        x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    return keras.Model(inputs, layers.Dense(2, name="c")(x), name="chain")


def two_heads() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,), name="in")
    x = layers.Dense(6, activation="tanh", name="a")(inputs)
    return keras.Model(
        inputs, [layers.Dense(2, name="left")(x), layers.Dense(2, name="right")(x)], name="heads"
    )


def steps(model: keras.Model, count: int, start: int = 0) -> None:
    """`count` batches, the same ones for every model."""
    x, y = data(96)
    for step in range(start, start + count):
        rows = slice(step % 12 * 8, step % 12 * 8 + 8)
        model.train_on_batch(x[rows], y[rows])


def bits(arrays) -> list[tuple]:
    return [(a.dtype, a.shape, a.tobytes()) for a in map(np.asarray, arrays)]


def state(model: keras.Model) -> list[tuple]:
    """Every bit that training changes."""
    values = [keras.ops.convert_to_numpy(v) for v in model.variables]
    values += [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    return bits(values)


def slots_of(model: keras.Model, *names: str) -> dict[str, bytes]:
    """The optimizer's variables that belong to layers, by their own names."""
    found = {}
    for variable in model.optimizer.variables:
        if any(variable.name.startswith(f"{name}_") for name in names):
            found[variable.name] = keras.ops.convert_to_numpy(variable).tobytes()
    assert found
    return found


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05),
    "sgd-momentum": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adam-amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.02),
    "nadam": lambda: optimizers.Nadam(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adamax": lambda: optimizers.Adamax(0.01),
    "adafactor": lambda: optimizers.Adafactor(0.05),
    "ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.001),
    "lion": lambda: optimizers.Lion(0.003),
    "lamb": lambda: optimizers.Lamb(0.01),
    "loss-scale": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=2
    ),
    "schedule": lambda: optimizers.Adam(
        optimizers.schedules.CosineDecay(0.05, decay_steps=6, warmup_steps=2, warmup_target=0.1)
    ),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "clipnorm": lambda: optimizers.SGD(0.05, momentum=0.9, clipnorm=0.1),
    "global-clipnorm": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
}
if hasattr(optimizers, "Muon"):
    OPTIMIZERS["muon"] = lambda: optimizers.Muon(0.01)
if hasattr(optimizers, "ScheduleFreeAdamW"):
    OPTIMIZERS["schedule-free"] = lambda: optimizers.ScheduleFreeAdamW(0.01)
if hasattr(optimizers, "MultiOptimizer"):
    OPTIMIZERS["multi"] = lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.05, momentum=0.9), {"a/.*": optimizers.Adam(0.01)})
    )

every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def trained(make, count: int = 3, **options) -> keras.Model:
    model = chain()
    model.compile(make(), loss="mse", **options)
    steps(model, count)
    return model


def test_every_keras_optimizer_is_tried():
    tried = {type(make()).__name__ for make in OPTIMIZERS.values()}
    known = {
        name
        for name, cls in vars(optimizers).items()
        if isinstance(cls, type) and issubclass(cls, optimizers.Optimizer)
    }
    assert known - {"Optimizer"} <= tried


# -- the optimizer goes on where it was ----------------------------------------------------------


@every_optimizer
@pytest.mark.filterwarnings("error::UserWarning")
def test_unedited_copy_trains_to_the_same_bits(make):
    source = trained(make, **EAGER)
    copy = kerasedit.Editor(source).model
    assert state(copy) == state(source)
    before = state(source)
    steps(copy, 4, start=3)
    after = state(copy)
    assert state(source) == before, "training the copy changed the source"
    steps(source, 4, start=3)
    assert state(source) == after
    assert state(copy) == after, "training the source changed the copy"


@every_optimizer
@pytest.mark.filterwarnings("error::UserWarning")
def test_edits_that_compute_nothing_train_to_the_same_bits(make):
    """Where only layers that do nothing come and go, slots and all must be as if nothing had."""
    source = trained(make, **EAGER)
    ed = kerasedit.Editor(source)
    ed.remove("nothing").insert(layers.Activation("linear", name="idle"), after="a")
    _ = ed.model
    ed.insert(layers.Identity(name="more"), before="c").rename("idle", "lazy")
    ed.freeze("a", "bn").unfreeze("**")
    copy = ed.model
    steps(copy, 4, start=3)
    steps(source, 4, start=3)
    assert state(copy) == state(source)


@every_optimizer
@pytest.mark.filterwarnings("error::UserWarning")
def test_freeze_and_unfreeze_of_a_built_copy_keep_the_slots(make):
    source = trained(make, **EAGER)
    ed = kerasedit.Editor(source)
    copy = ed.model
    ed.freeze("a")
    ed.freeze("c", "bn")
    ed.unfreeze("bn")
    assert ed.model is copy
    ed.undo(3)
    assert ed.model is copy
    assert state(copy) == state(source)
    ed.redo(2).unfreeze("**")
    steps(copy, 4, start=3)
    steps(source, 4, start=3)
    assert state(copy) == state(source)


@every_optimizer
@pytest.mark.filterwarnings("error::UserWarning")
def test_training_while_frozen(make):
    source = trained(make, **EAGER)
    ed = kerasedit.Editor(source)
    copy = ed.model
    ed.freeze("b")
    frozen = bits(copy.get_layer("b").get_weights())
    others = bits(copy.get_layer("a").get_weights()), bits(copy.get_layer("c").get_weights())
    steps(copy, 4, start=3)
    assert bits(copy.get_layer("b").get_weights()) == frozen
    now = bits(copy.get_layer("a").get_weights()), bits(copy.get_layer("c").get_weights())
    assert others[0] != now[0]
    assert others[1] != now[1]
    ed.unfreeze("b")
    steps(copy, 4, start=7)
    assert bits(copy.get_layer("b").get_weights()) != frozen


@every_optimizer
@pytest.mark.filterwarnings("error::UserWarning")
def test_new_layers_train_from_a_clean_start(make):
    """A layer that an edit brings in trains as if it had been there from the first step."""
    source = trained(make, **EAGER)
    ed = kerasedit.Editor(source)
    ed.insert(layers.Dense(6, name="new"), after="bn")
    ed.replace("a", layers.Dense(6, name="first"), weights="none")
    copy = ed.model
    before = bits(copy.get_layer("new").get_weights())
    steps(copy, 4, start=3)
    assert bits(copy.get_layer("new").get_weights()) != before
    assert all(np.isfinite(w).all() for w in copy.get_weights())


NAMED = ["sgd-momentum", "adam", "adafactor", "lamb", "muon", "loss-scale", "accumulation", "ema"]


@pytest.mark.parametrize("name", [n for n in NAMED if n in OPTIMIZERS])
def test_slots_of_surviving_layers_after_layers_left_and_came(name):
    source = trained(OPTIMIZERS[name], **EAGER)
    wanted = slots_of(source, "bn", "b", "c")
    iterations = int(source.optimizer.iterations)
    ed = kerasedit.Editor(source)
    ed.replace("a", layers.Dense(6, name="wide"), weights="none")
    ed.insert(layers.Dense(5, name="new"), after="b")
    assert slots_of(ed.model, "bn", "b", "c") == wanted
    assert int(ed.model.optimizer.iterations) == iterations
    ed.undo(2)
    assert slots_of(ed.model, "a", "bn", "b", "c") == slots_of(source, "a", "bn", "b", "c")


def test_a_new_average_is_no_part_of_the_model():
    """On JAX, a compiled step takes over every array that it is given, each of them once."""
    source = chain()
    source.get_layer("b").trainable = False
    source.compile(OPTIMIZERS["ema"](), loss="mse")
    steps(source, 1)
    ed = kerasedit.Editor(source)
    copy = ed.model
    ed.unfreeze("b")
    before = bits(copy.get_layer("b").get_weights())
    steps(copy, 2, start=1)
    assert bits(copy.get_layer("b").get_weights()) != before


def test_slots_of_a_frozen_layer_wait_through_training_and_rebuilds():
    source = trained(OPTIMIZERS["adam"], **EAGER)
    ed = kerasedit.Editor(source)
    waiting = slots_of(ed.model, "b")
    ed.freeze("b")
    steps(ed.model, 2, start=3)
    ed.remove("nothing")
    steps(ed.model, 2, start=5)
    ed.unfreeze("b")
    assert slots_of(ed.model, "b") == waiting
    assert slots_of(ed.model, "a") != slots_of(source, "a")
    assert int(ed.model.optimizer.iterations) == 7


def test_slots_come_back_with_a_layer_that_undo_brings_back():
    ed = kerasedit.Editor(trained(OPTIMIZERS["adam"], **EAGER))
    steps(ed.model, 1, start=3)
    wanted, weights = slots_of(ed.model, "b"), bits(ed.model.get_layer("b").get_weights())
    ed.replace("b", layers.Dense(5, name="other"), weights="none")
    steps(ed.model, 1, start=4)
    ed.undo()
    assert slots_of(ed.model, "b") == wanted
    assert bits(ed.model.get_layer("b").get_weights()) == weights


def test_a_replacement_of_equal_shape_takes_over_the_slots():
    """It takes over the weights, and their momentum belongs to them."""
    source = trained(OPTIMIZERS["adam"], **EAGER)
    ed = kerasedit.Editor(source).replace("b", layers.Dense(5, activation="relu", name="b2"))
    assert list(slots_of(ed.model, "b2").values()) == list(slots_of(source, "b").values())


def test_the_copy_of_a_trained_copy_goes_on_from_there():
    ed = kerasedit.Editor(trained(OPTIMIZERS["adam"], **EAGER))
    steps(ed.model, 3, start=3)
    before = state(ed.model)
    ed.remove("nothing")
    assert state(ed.model) == before
    assert int(ed.model.optimizer.iterations) == 6


def test_a_learning_rate_set_by_hand_is_kept():
    source = trained(OPTIMIZERS["adam"], **EAGER)
    source.optimizer.learning_rate = 0.123
    ed = kerasedit.Editor(source)
    assert float(ed.model.optimizer.learning_rate) == float(source.optimizer.learning_rate)
    ed.model.optimizer.learning_rate = 0.5
    ed.freeze("a")
    assert float(ed.model.optimizer.learning_rate) == 0.5
    ed.remove("nothing")
    assert float(ed.model.optimizer.learning_rate) == 0.5
    assert float(source.optimizer.learning_rate) == pytest.approx(0.123)


def test_a_compiled_model_that_never_trained():
    source = chain()
    source.compile(optimizers.Adam(0.01), loss="mse")
    ed = kerasedit.Editor(source)
    copy = ed.model
    ed.freeze("b")
    before = bits(copy.get_layer("b").get_weights())
    steps(copy, 2)
    assert bits(copy.get_layer("b").get_weights()) == before
    ed.unfreeze("b")
    steps(copy, 2, start=2)
    assert bits(copy.get_layer("b").get_weights()) != before
    assert not source.optimizer.built


def test_a_new_compile_by_the_user_starts_afresh_also_for_what_was_frozen():
    """Momentum of the first optimizer, far larger than its steps, would be wrong in the second."""
    ed = kerasedit.Editor(trained(OPTIMIZERS["adam"], **EAGER)).freeze("b")
    steps(ed.model, 1, start=3)
    ed.model.compile(optimizers.Adam(0.001), loss="mse", **EAGER)
    steps(ed.model, 1, start=4)
    ed.unfreeze("b")
    assert not any(np.frombuffer(v, "float32").any() for v in slots_of(ed.model, "b").values())
    assert int(ed.model.optimizer.iterations) == 1


class Halving(optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras does not know by name."""

    def __call__(self, step):
        return 0.1 * 0.5 ** keras.ops.cast(step, "float32")


@pytest.mark.parametrize("rate", [Halving(), lambda: 0.05], ids=["schedule", "function"])
@pytest.mark.filterwarnings("error::UserWarning")
def test_learning_rates_that_keras_cannot_name(rate):
    source = trained(lambda: optimizers.Adam(rate), **EAGER)
    ed = kerasedit.Editor(source)
    _ = ed.model
    ed.freeze("a").unfreeze("a").remove("nothing")
    steps(ed.model, 3, start=3)
    steps(source, 3, start=3)
    assert state(ed.model) == state(source)


class NoConfig(optimizers.SGD):
    def __init__(self, secret):
        super().__init__(0.05, momentum=0.9)


@pytest.mark.tensorflow
def test_an_optimizer_that_cannot_be_copied():
    source = trained(lambda: NoConfig("x"), **EAGER)
    ed = kerasedit.Editor(source)
    with pytest.warns(UserWarning, match=r"not compiled"):
        assert not ed.model.compiled
    ed.model.compile(NoConfig("y"), loss="mse", **EAGER)
    steps(ed.model, 1)
    optimizer = ed.model.optimizer
    ed.freeze("b")
    assert ed.model.optimizer is optimizer  # flags need no copy of it
    frozen = bits(ed.model.get_layer("b").get_weights())
    assert not ed.model.get_layer("b").trainable
    steps(ed.model, 1, start=1)
    assert bits(ed.model.get_layer("b").get_weights()) == frozen


# -- flags and traced functions ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.filterwarnings("error::UserWarning")
def test_the_next_fit_honours_flags_in_graph_mode(name):
    source = trained(OPTIMIZERS[name])
    ed = kerasedit.Editor(source)
    copy = ed.model
    x, y = data()

    def fit_changes() -> set[str]:
        before = {layer.name: bits(layer.get_weights()) for layer in copy.layers}
        copy.predict(x, verbose=0)
        copy.fit(x, y, epochs=1, batch_size=8, verbose=0)
        after = {layer.name: bits(layer.get_weights()) for layer in copy.layers}
        return {name for name, weights in before.items() if weights != after[name]}

    assert fit_changes() == {"a", "bn", "b", "c"}
    ed.freeze("a", "bn")
    assert fit_changes() == {"b", "c"}
    ed.freeze("b").unfreeze("bn")
    assert fit_changes() == {"bn", "c"}
    ed.unfreeze("**")
    assert fit_changes() == {"a", "bn", "b", "c"}
    ed.undo()
    assert fit_changes() == {"bn", "c"}
    assert ed.model is copy


def test_unedited_copy_fits_to_the_same_bits_in_graph_mode():
    source = chain()
    source.compile("adam", loss="mse", metrics=["mae"], steps_per_execution=2)
    x, y = data()
    source.fit(x, y, epochs=1, batch_size=8, shuffle=False, verbose=0)
    copy = kerasedit.Editor(source).model
    a = source.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0).history
    b = copy.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0).history
    assert a == b
    assert state(copy) == state(source)


def test_dropout_goes_on_with_the_same_random_numbers():
    source = chain(dropout=True)
    source.compile("adam", loss="mse", **EAGER)
    steps(source, 2)
    copy = kerasedit.Editor(source).model
    steps(copy, 3, start=2)
    steps(source, 3, start=2)
    assert state(copy) == state(source)


def test_metrics_go_on_over_a_flag_edit():
    source = trained(OPTIMIZERS["adam"], metrics=["mae"], **EAGER)
    ed = kerasedit.Editor(source)
    copy = ed.model
    x, y = data()
    copy.train_on_batch(x, y)
    kept = copy.metrics
    ed.freeze("a")
    assert copy.metrics == kept


# -- settings ------------------------------------------------------------------------------------


def mean_gap(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


class Counter(keras.metrics.Metric):
    """A custom metric with state."""

    def __init__(self, step=1, name="counter", **kwargs):
        super().__init__(name=name, **kwargs)
        self.step = step
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(self.step)

    def result(self):
        return keras.ops.convert_to_tensor(self.total)

    def get_config(self):
        return {**super().get_config(), "step": self.step}


class Unmakeable(Counter):
    def get_config(self):
        raise NotImplementedError("no config")


METRICS = {
    "names": lambda: ["mae", "mse"],
    "function": lambda: [mean_gap],
    "lambda": lambda: [lambda a, b: keras.ops.mean(keras.ops.square(a - b) * 3, axis=-1)],
    "object": lambda: [metrics.MeanAbsoluteError(name="gap"), metrics.RootMeanSquaredError()],
    "custom": lambda: [Counter(step=2)],
    "wrapped-lambda": lambda: [
        metrics.MeanMetricWrapper(lambda a, b: keras.ops.abs(a - b), name="wrapped")
    ],
}


@pytest.mark.parametrize("make", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("error::UserWarning")
def test_metrics_are_the_same_and_not_shared(make, weighted):
    source = chain()
    key = "weighted_metrics" if weighted else "metrics"
    source.compile("sgd", loss="mse", **{key: make()}, **EAGER)
    x, y = data()
    weight = np.linspace(0, 2, len(x)).astype("float32")
    wanted = source.evaluate(x, y, sample_weight=weight, return_dict=True, verbose=0)
    counts = [bits(map(keras.ops.convert_to_numpy, m.variables)) for m in source.metrics]
    ed = kerasedit.Editor(source)
    assert ed.model.evaluate(x, y, sample_weight=weight, return_dict=True, verbose=0) == wanted
    ed.model.fit(x, y, verbose=0)
    assert [bits(map(keras.ops.convert_to_numpy, m.variables)) for m in source.metrics] == counts
    assert not {id(m) for m in source.metrics} & {id(m) for m in ed.model.metrics}


def test_a_metric_whose_configuration_leaves_arguments_out():
    source = chain()
    source.compile("sgd", metrics=[metrics.CosineSimilarity(axis=0)], loss="mse", **EAGER)
    wanted = source.evaluate(*data(), verbose=0)
    assert kerasedit.Editor(source).model.evaluate(*data(), verbose=0) == wanted


LOSSES = {
    "name": lambda: "mse",
    "object": lambda: losses.Huber(0.3),
    "function": lambda: mean_gap,
    "lambda": lambda: lambda a, b: keras.ops.mean(keras.ops.square(a - b), axis=-1) * 2,
    "cosine": lambda: losses.CosineSimilarity(axis=0, dtype="float16"),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.filterwarnings("error::UserWarning")
def test_losses(make):
    source = chain()
    source.compile("sgd", loss=make(), **EAGER)
    x, y = data()
    ed = kerasedit.Editor(source)
    wanted = source.evaluate(x, y, verbose=0)
    assert ed.model.evaluate(x, y, verbose=0) == wanted
    ed.remove("nothing")
    assert ed.model.evaluate(x, y, verbose=0) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {"steps_per_execution": 3},
        {"jit_compile": True},
        {"jit_compile": False},
        {"jit_compile": "auto"},
    ],
    ids=repr,
)
def test_settings_of_execution(options):
    source = chain()
    source.compile("sgd", loss="mse", **options)
    copy = kerasedit.Editor(source).remove("nothing").model
    for name in ("run_eagerly", "steps_per_execution", "jit_compile"):
        assert getattr(copy, name) == getattr(source, name)


def test_optimizer_settings_are_equal():
    for name, make in OPTIMIZERS.items():
        source = chain()
        source.compile(make(), loss="mse")
        copy = kerasedit.Editor(source).model
        assert type(copy.optimizer) is type(source.optimizer), name
        assert copy.optimizer is not source.optimizer
        assert copy.optimizer.get_config() == source.optimizer.get_config(), name


@pytest.mark.parametrize("scaled", [True, False])
def test_auto_scale_loss(scaled):
    keras.config.set_dtype_policy("mixed_float16")
    source = chain()
    source.compile("adam", loss="mse", auto_scale_loss=scaled, **EAGER)
    assert isinstance(source.optimizer, optimizers.LossScaleOptimizer) is scaled
    ed = kerasedit.Editor(source)
    assert type(ed.model.optimizer) is type(source.optimizer)
    steps(ed.model, 1)
    steps(source, 1)
    assert state(ed.model) == state(source)
    ed.freeze("a")
    ed.remove("nothing")
    assert type(ed.model.optimizer) is type(source.optimizer)


def test_compile_false_leaves_the_copy_uncompiled():
    source = trained(OPTIMIZERS["adam"], **EAGER)
    ed = kerasedit.Editor(source, compile=False)
    assert not ed.model.compiled
    ed.freeze("a").remove("nothing")
    assert not ed.model.compiled
    assert source.compiled


def test_a_copy_compiled_by_the_user_keeps_the_users_settings():
    ed = kerasedit.Editor(trained(OPTIMIZERS["adam"], **EAGER))
    ed.model.compile(optimizers.SGD(0.3), loss="mae", **EAGER)
    ed.remove("nothing")
    assert isinstance(ed.model.optimizer, optimizers.SGD)
    assert ed.model.loss == "mae"


def test_an_uncompiled_model_gives_an_uncompiled_copy():
    ed = kerasedit.Editor(chain())
    assert not ed.model.compiled
    ed.freeze("a")
    assert not ed.model.compiled
    ed.model.compile("sgd", loss="mse")
    before = bits(ed.model.get_layer("a").get_weights())
    steps(ed.model, 1)
    assert bits(ed.model.get_layer("a").get_weights()) == before


def test_a_metric_that_cannot_be_copied_is_said_and_not_shared():
    source = chain()
    source.compile("sgd", loss="mse", metrics=[Unmakeable()])
    ed = kerasedit.Editor(source)
    with pytest.warns(UserWarning, match="counter"):
        copy = ed.model
    assert not copy.compiled


# -- several outputs -----------------------------------------------------------------------------

SEVERAL = {
    "one for all": lambda: {"loss": "mse"},
    "lists": lambda: {
        "loss": ["mse", "mae"],
        "loss_weights": [0.3, 0.5],
        "metrics": [["mae"], ["mse", "mae"]],
    },
    "dicts": lambda: {
        "loss": {"left": "mse", "right": losses.Huber()},
        "loss_weights": {"left": 0.3, "right": 0.7},
        "metrics": {"left": ["mae"], "right": [Counter(), "mse"]},
        "weighted_metrics": {"left": [metrics.MeanSquaredError(name="heavy")]},
    },
    "one loss only": lambda: {"loss": {"left": "mse", "right": None}},
    "metrics elsewhere": lambda: {"loss": "mse", "metrics": {"right": ["mae"]}},
}
every_setting = pytest.mark.parametrize("make", SEVERAL.values(), ids=SEVERAL)


def several(model: keras.Model) -> dict[str, float]:
    x, y = data()
    targets = [y] * len(model.outputs)
    weight = np.linspace(0, 2, len(x)).astype("float32")
    found = model.evaluate(x, targets, sample_weight=[weight] * len(targets),
                           return_dict=True, verbose=0)  # fmt: skip
    return found


@every_setting
@pytest.mark.filterwarnings("error::UserWarning", "ignore:Gradients do not exist")
def test_settings_per_output(make):
    source = two_heads()
    source.compile("adam", **make(), **EAGER)
    x, y = data()
    source.train_on_batch(x, [y, y])
    wanted = several(source)
    ed = kerasedit.Editor(source)
    assert several(ed.model) == wanted
    ed.model.train_on_batch(x, [y, y])
    source.train_on_batch(x, [y, y])
    assert state(ed.model) == state(source)


@every_setting
@pytest.mark.filterwarnings("error::UserWarning", "ignore:Gradients do not exist")
def test_a_renamed_output_takes_its_loss_and_metrics_along(make):
    source = two_heads()
    source.compile("adam", **make(), **EAGER)
    wanted = several(source)
    ed = kerasedit.Editor(source).rename("left", "west")
    assert ed.model.output_names == ["west", "right"]
    assert {k.replace("west", "left"): v for k, v in several(ed.model).items()} == wanted


@pytest.mark.parametrize("name", ["one for all", "lists", "dicts"])
@pytest.mark.filterwarnings("error::UserWarning")
def test_an_output_keeps_name_and_loss_when_another_layer_becomes_it(name, tmp_path):
    source = two_heads()
    source.compile("adam", **SEVERAL[name](), **EAGER)
    wanted = several(source)
    ed = kerasedit.Editor(source).insert(layers.Activation("linear", name="end"), after="left")
    assert ed.model.output_names == ["left", "right"]
    assert several(ed.model) == wanted
    # A file keeps no names of outputs, and what it says of losses has to fit all the same.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a metric of the test's own
        ed.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras", {"Counter": Counter})
    assert loaded.output_names == ["end", "right"]
    assert several(loaded)["loss"] == wanted["loss"]
    assert ed.remove("end").model.output_names == ["left", "right"]


@every_setting
@pytest.mark.filterwarnings("error::UserWarning", "ignore:Gradients do not exist")
def test_trimming_to_one_output_keeps_what_belongs_to_it(make):
    source = two_heads()
    options = make()
    source.compile("adam", **options, **EAGER)
    x, y = data()
    source.train_on_batch(x, [y, y])
    copy = kerasedit.Editor(source).trim("left").model
    assert copy.output_names == ["left"]
    share = 0.3 if "loss_weights" in options else 1.0
    wanted = share * np.mean((copy.predict(x, verbose=0) - y) ** 2)
    assert copy.evaluate(x, y, return_dict=True, verbose=0)["loss"] == pytest.approx(wanted)
    assert slots_of(copy, "a", "left") == slots_of(source, "a", "left")


@every_setting
def test_trimming_away_what_the_losses_are_for_warns_and_leaves_it_uncompiled(make):
    source = two_heads()
    options = make()
    source.compile("adam", **options, **EAGER)
    ed = kerasedit.Editor(source).trim("a")
    if options["loss"] == "mse":
        assert ed.model.compiled
        return
    with pytest.warns(UserWarning, match="not compiled"):
        copy = ed.model
    assert not copy.compiled
    assert copy.output_shape in ((None, 6), [(None, 6)])
    ed.undo()
    assert ed.model.compiled, "undo brings the outputs back, and with them what compile set up"


def test_trimming_to_the_output_without_a_loss_warns():
    source = two_heads()
    source.compile("adam", loss={"left": "mse", "right": None}, **EAGER)
    ed = kerasedit.Editor(source).trim("right")
    with pytest.warns(UserWarning, match="not compiled"):
        assert not ed.model.compiled


@pytest.mark.parametrize("keyed", [True, False], ids=["keys", "names"])
def test_targets_as_the_warning_of_an_output_without_a_loss_tells(keyed):
    inputs = keras.Input((4,), name="in")
    hidden = layers.Dense(2, name="h")(inputs)
    heads = {name: layers.Dense(2, name=name)(hidden) for name in ("p", "q")}
    source = keras.Model(inputs, heads if keyed else list(heads.values()))
    source.compile("adam", loss={"p": "mse", "q": "mae"}, metrics={"q": ["mse"]}, **EAGER)
    ed = kerasedit.Editor(source).add_output("h", "extra")
    with pytest.warns(UserWarning, match="with None" if keyed else "other outputs alone. Call"):
        copy = ed.model
    x, y = data()
    copy.fit(x, {"p": y, "q": y, "extra": None} if keyed else [y, y], verbose=0)


def test_a_model_with_named_outputs():
    keras.utils.set_random_seed(1)
    inputs = {"x": keras.Input((4,), name="x")}
    hidden = layers.Dense(3, name="h")(inputs["x"])
    outputs = {"p": layers.Dense(2, name="one")(hidden), "q": layers.Dense(2, name="two")(hidden)}
    source = keras.Model(inputs, outputs)
    source.compile("adam", loss={"p": "mse", "q": "mae"}, metrics={"q": ["mse"]}, **EAGER)
    x, y = data()
    source.train_on_batch({"x": x}, {"p": y, "q": y})
    ed = (
        kerasedit.Editor(source)
        .rename("one", "uno")
        .insert(layers.Activation("linear"), after="two")
    )
    assert sorted(ed.model.output) == ["p", "q"]
    a = source.train_on_batch({"x": x}, {"p": y, "q": y}, return_dict=True)
    b = ed.model.train_on_batch({"x": x}, {"p": y, "q": y}, return_dict=True)
    assert a == b
    # The layers stand in another order now.
    assert sorted(state(ed.model), key=repr) == sorted(state(source), key=repr)
