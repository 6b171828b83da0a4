"""The edit that measures anew what batch normalizations take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from .. import _keras
from ..compress.moments import moments
from ..errors import EditError, TargetError
from .base import Edit, NewValues, Workspace, Writer
from .weights import Place, SetWeights, fitting, places, set_values

_KEPT = ("moving_mean", "moving_variance")
_NONE = "The model has no BatchNormalization."


@dataclass(frozen=True)
class RecalibrateBatchnorm(Edit):
    """Gives batch normalizations the mean and variance of what they take on data.

    As data it is what was measured: `data` is no part of it.
    """

    kind: ClassVar[str] = "recalibrate_batchnorm"
    live: ClassVar[tuple[str, ...]] = ("data",)
    data: Any = field(default=None, compare=False)
    arrays: Mapping[str, np.ndarray] | None = field(default=None, compare=False)

    def describe(self) -> str:
        return "recalibrate batch normalizations"

    def apply(self, work: Workspace) -> None:
        try:
            found = [place for name in _KEPT for place in places(work, "**", name, None)]
        except TargetError:
            raise TargetError(_NONE) from None
        if self.arrays is not None:
            set_values(work, "**", found, self.arrays)
            return
        if self.data is None:
            raise EditError("recalibrate_batchnorm needs data: what the model takes.")
        measured: dict[tuple[int, int], np.ndarray] = {}

        for place in found:

            def value(current: np.ndarray, live: Any, place: Place = place) -> np.ndarray:
                if not measured:
                    measured.update(self._measured(work, found))
                return fitting(measured.get((place.entry.layer, place.index), current), place)

            work.values.append(NewValues(place.entry.layer, place.index, place.path, value))

    def _measured(self, work: Workspace, found: list[Place]) -> dict[tuple[int, int], np.ndarray]:
        """New values by layer and position; a variable that no normalization keeps has none."""
        work.need_values(work.graph.paths)
        built = work.model(work.graph)
        values = moments(built.model, self.data)
        if not values:
            raise TargetError(_NONE)
        new: dict[tuple[int, int], np.ndarray] = {}
        for place in found:
            layer = place.entry.layer
            variable = _keras.named_variables(built.layers[layer])[place.index][1]
            if id(variable) in values:
                new[layer, place.index] = values[id(variable)]
        return new

    def recorded(self, values: Mapping[str, np.ndarray]) -> RecalibrateBatchnorm:
        return replace(self, data=None, arrays=dict(values))

    def explicit(self) -> Edit:
        """An edit that gives the same values and needs no data."""
        return self if self.arrays is None else SetWeights("**", self.arrays)

    def _argument(self, name: str, value: Any, required: bool, write: Writer) -> str:
        return "data" if self.data is None or name == "data" else ""
