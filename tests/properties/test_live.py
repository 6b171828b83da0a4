"""Random toggles and interrupts while `fit` runs, against the same training by Keras alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasedit
from tests.unit.test_compiled import OPTIMIZERS
from tests.unit.test_live import Reference, compiled, network, slots, state, train

pytestmark = pytest.mark.tensorflow

STEPS = 7
EXAMPLES = min(1000, settings().max_examples)  # of the profile that is loaded
NAMES = ["a", "bn", "b", "c"]

optimizers = st.sampled_from([name for name in OPTIMIZERS if name not in ("ema", "multi")])
toggles = st.dictionaries(
    st.integers(1, STEPS - 1), st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=6
)


def ask(ed: kerasedit.Editor, layer: str, value: bool) -> Any:
    return lambda _: (ed.unfreeze if value else ed.freeze)(layer)


@settings(max_examples=EXAMPLES // 2)
@given(name=optimizers, asked=toggles)
def test_any_toggles_equal_a_training_compiled_anew(
    name: str, asked: dict[int, tuple[str, bool]]
) -> None:
    make = OPTIMIZERS[name]
    ed = kerasedit.Editor(compiled(make, run_eagerly=True))
    reference = Reference(network(), make, run_eagerly=True)
    reference.steps(asked, STEPS)
    live = train(ed, {step: ask(ed, *what) for step, what in asked.items()}, steps=STEPS)
    assert state(ed.model) == state(reference.model)
    flags = [ed.model.get_layer(n).trainable for n in NAMES]
    assert flags == [reference.model.get_layer(n).trainable for n in NAMES]
    # A file of the model has slots for exactly what trains.
    frozen = [n for n, flag in zip(NAMES, flags, strict=True) if not flag]
    assert not [s for s in slots(ed.model) if any(s.startswith(f"{n}_") for n in frozen)]
    assert all(happened.step in asked for happened in live.log)


@settings(max_examples=EXAMPLES // 4)
@given(
    asked=toggles,
    stop=st.integers(0, STEPS - 1),
    last=st.tuples(st.sampled_from(NAMES), st.booleans()),
)
def test_any_interrupt_leaves_what_goes_on(
    asked: dict[int, tuple[str, bool]], stop: int, last: tuple[str, bool]
) -> None:
    """Asked for in the very batch that is interrupted: it holds, and training goes on to the bit."""
    make = OPTIMIZERS["adam"]
    ed = kerasedit.Editor(compiled(make, run_eagerly=True))
    reference = Reference(network(), make, run_eagerly=True)
    asked = {step: what for step, what in asked.items() if step < stop}
    reference.steps(asked, stop)
    reference.flag(*last)

    def interrupt(_: Any) -> None:
        ask(ed, *last)(None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(ed, {**{s: ask(ed, *w) for s, w in asked.items()}, stop: interrupt}, steps=STEPS)
    assert ed.training() is None
    assert state(ed.model) == state(reference.model)
    assert ed.model.get_layer(last[0]).trainable is last[1]
    train(ed, steps=3)
    reference.steps({}, 3)
    assert state(ed.model) == state(reference.model)
