"""Random models, grown at random and with their normalizations folded: what came out comes out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from kerasedit import Editor
from kerasedit.compress.groups import Channels
from tests.models import data, out, same
from tests.properties.test_pruning import SIDE, models


@settings(max_examples=settings().max_examples // 4)
@given(models(), st.data())
def test_what_comes_out_stays(model: keras.Model, choice: Any) -> None:
    ed, x = Editor(model), data(2, SIDE, SIDE, 3)
    wanted = out(model, x)
    for number in range(choice.draw(st.integers(1, 3))):
        channels = Channels(ed.graph)
        free = {
            ed.graph.paths[layer]: numbers
            for layer, numbers in channels.makers.items()
            if not channels.bounds.keys() & set(numbers.tolist())
        }
        if not free:
            break
        path = choice.draw(st.sampled_from(sorted(free)))
        _, places = np.unique(free[path], return_counts=True)
        more = choice.draw(st.sampled_from([int(places[0]), len(free[path]), 2 * len(free[path])]))
        init = choice.draw(st.sampled_from(["function_preserving", "random"]))
        ed.grow_channels(path, len(free[path]) + more, init=init, seed=number)
    if any(isinstance(layer, layers.BatchNormalization) for layer in _all(model)):
        with ed.transaction("fold"):
            for view in [v for v in ed.layers if v.class_name == "BatchNormalization"]:
                if ed.preview.fold_batchnorm(view.path).ok:
                    ed.fold_batchnorm(view.path)
    for found, expected in zip(out(ed.model, x), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    if ed.steps:
        ed.undo(len(ed.steps))
    assert same(out(ed.model, x), wanted)


def _all(model: Any) -> list[Any]:
    return [inner for layer in getattr(model, "layers", ()) for inner in (layer, *_all(layer))]
