"""What an edit costs: counted, not timed. The benchmarks measure it."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields
from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import EditError, Editor, garbage
from tests import models
from tests.models import data, out, same


@keras.saving.register_keras_serializable("tests")
class Tallied(layers.Dense):
    """Counts how often one is made."""

    made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        type(self).made += 1


def _chain(length: int) -> keras.Model:
    x = inputs = keras.Input((6, 4))
    for number in range(length):
        x = Tallied(4, name=f"d{number}")(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("length", [10, 40])
@pytest.mark.parametrize("place", [0, 5])
def test_only_what_lies_downstream_is_looked_at(length: int, place: int) -> None:
    ed = Editor(_chain(length))
    after = f"d{place}"
    for block, looked_at in (
        (layers.Dropout(0.1), 1),  # the next layer sees that nothing changed for it
        (layers.UpSampling1D(2), length - place - 1),
    ):
        Tallied.made = 0
        assert ed.preview.insert(block, after=after).ok
        assert Tallied.made == looked_at
        ed.insert(block, after=after)
        assert Tallied.made == 2 * looked_at
        ed.undo()
        assert Tallied.made == 2 * looked_at


def test_the_history_keeps_graphs_and_not_what_was_looked_up_in_them() -> None:
    ed = Editor(models.nested())
    ed.insert(layers.ReLU(name="r"), after="drop").freeze("head")
    _ = ed.model, ed.layers
    ed.remove("r").rename("backbone/conv1", "first").set_weights("head/bias", [1.0, 2.0])
    _ = ed.model, ed.layers
    ed.remove("drop")
    _ = ed.model, [repr(view) for view in ed.layers]

    def looked_up(part: Any) -> set[str]:
        return vars(part).keys() - {field.name for field in fields(part)}

    graph = ed.graph
    assert looked_up(graph) and looked_up(graph.net)
    in_use = {id(spec.net) for spec in graph.layers.values()}
    past = [g for step in ed.steps for g in (step.before, step.after) if g is not graph]
    nets = [s.net for g in past for s in g.layers.values() if s.net and id(s.net) not in in_use]
    assert past and nets
    assert not any(map(looked_up, [*past, *nets]))


def test_views_from_before_an_edit_still_tell_what_was() -> None:
    ed = Editor(models.nested())
    before = ed.layers
    told = [(v.path, v.input_shapes, v.params, v.trainable, v.calls) for v in before]
    ed.remove("drop").freeze("head")
    _ = ed.model
    assert [(v.path, v.input_shapes, v.params, v.trainable, v.calls) for v in before] == told


def test_the_search_for_garbage_goes_on_after_edits() -> None:
    x = data(3, 4)
    ed = Editor(models.chain())
    with pytest.raises(EditError):
        ed.insert(layers.Conv2D(2, 3), after="a")
    assert gc.isenabled()
    assert same(out(ed.remove("drop").model, x), out(ed.source, x))
    assert gc.isenabled()
    gc.disable()
    try:
        _ = ed.append(layers.ReLU()).model
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("wide", [False, True])
def test_layers_that_are_alike_are_made_once_to_find_their_shapes(
    monkeypatch: pytest.MonkeyPatch, wide: bool
) -> None:
    x = inputs = keras.Input((6, 4))
    for number in range(9):
        x = layers.Dense(5 if wide and number == 4 else 4, name=f"d{number}")(x)
    ed = Editor(keras.Model(inputs, x))
    made: list[str] = []
    make = layers.Dense.from_config

    def counted(config: Any) -> Any:
        made.append(config["name"])
        return make(config)

    monkeypatch.setattr(layers.Dense, "from_config", counted)
    ed.insert(layers.UpSampling1D(2), after="d0")
    # Another width, and a layer that takes it, are unlike the others.
    assert made == (["d1", "d4", "d5"] if wide else ["d1"])
    assert ed.model.output_shape == (None, 12, 4)
    assert same(ed.model.get_weights(), ed.source.get_weights())
    assert [view.path for view in ed.layers if view.class_name == "Dense"] == [
        f"d{number}" for number in range(9)
    ]


def test_copies_that_were_given_up_do_not_pile_up() -> None:
    ed = Editor(models.chain())
    copies: list[weakref.ref[Any]] = []
    held = ed.append(layers.ReLU(name="held")).model
    gc.collect()
    was = gc.get_threshold()
    gc.set_threshold(0)  # Python itself does not search
    try:
        for number in range(8):
            copies.append(weakref.ref(ed.append(layers.ReLU(name=f"r{number}")).model))
            assert sum(copy() is not None for copy in copies) <= 4
    finally:
        gc.set_threshold(*was)
    assert copies[-1]() is ed.model
    assert held.layers[-1].name == "held"


def test_what_others_froze_stays_frozen_while_garbage_is_put_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "_frozen", garbage._Frozen())
    count, counted = gc.get_freeze_count, []
    gc.freeze()
    try:
        frozen = count()
        monkeypatch.setattr(gc, "get_freeze_count", lambda: counted.append(count()) or counted[0])
        for _ in range(2):
            with garbage.put_off():
                assert not gc.isenabled()
            with garbage.of_new_objects():
                pass
            assert gc.isenabled()
        assert count() >= frozen - 100  # of millions; the frozen ones may die themselves
        assert len(counted) == 1  # it takes long where there are many
    finally:
        gc.unfreeze()
        monkeypatch.undo()
    monkeypatch.setattr(garbage, "_frozen", garbage._Frozen())
    with garbage.of_new_objects(), garbage.put_off():
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
    with garbage.put_off():
        made = [[] for _ in range(10)]
    assert not gc.get_freeze_count()
    assert made in gc.get_objects(generation=2)


def test_an_error_ends_the_putting_off() -> None:
    with pytest.raises(RuntimeError), garbage.put_off():
        raise RuntimeError
    assert gc.isenabled()
