"""Staged unfreezing as data: what is to happen when in a training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..edits import (
    Edit,
    Freeze,
    FreezeUpTo,
    MapWeights,
    Reinitialize,
    ScaleWeights,
    SetWeights,
    Unfreeze,
    read_edit,
)
from ..errors import EditError
from ..targets import Target

if TYPE_CHECKING:
    from ..editor import Editor

_EDITS = (Freeze, FreezeUpTo, Unfreeze, MapWeights, Reinitialize, ScaleWeights, SetWeights)


@dataclass(frozen=True)
class Plateau:
    """When a metric has not become better for some epochs since the stage before.

    Attributes:
        monitor: the metric, as `fit` reports it: `"val_loss"`.
        patience: for so many epochs.
        min_delta: what counts as better.
        mode: `"min"` or `"max"`: which way is better; by the metric's name if None.
    """

    monitor: str = "val_loss"
    patience: int = 2
    min_delta: float = 0.0
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.patience < 1 or self.min_delta < 0 or self.mode not in (None, "min", "max"):
            raise EditError(
                "A plateau has a patience from 1, a min_delta from 0, and the mode 'min' or 'max'."
            )

    def better(self, value: float, best: float) -> bool:
        """Whether a value is better than the best so far."""
        up = self.mode == "max" or (self.mode is None and "acc" in self.monitor)
        return value > best + self.min_delta if up else value < best - self.min_delta


@dataclass(frozen=True, init=False)
class Stage:
    """What is to happen at some time of a training.

    Args:
        unfreeze, freeze: the layers.
        epoch: at the beginning of this epoch, from 0 as in `initial_epoch`.
        step: before this batch since `fit` began, from 0.
        plateau: once a metric gets no better.
        warmup: over so many steps the learning rate of what is newly unfrozen rises to the full one.
        edits: edits of flags and weights to make instead.

    Raises:
        EditError: not exactly one time is given, nothing that is to happen, or something else than
            edits of flags and weights.
    """

    edits: tuple[Edit, ...]
    epoch: int | None
    step: int | None
    plateau: Plateau | None
    warmup: int

    def __init__(
        self,
        unfreeze: Target | Sequence[Target] = (),
        *,
        freeze: Target | Sequence[Target] = (),
        epoch: int | None = None,
        step: int | None = None,
        plateau: Plateau | None = None,
        warmup: int = 0,
        edits: Iterable[Edit] = (),
    ) -> None:
        if sum(when is not None for when in (epoch, step, plateau)) != 1:
            raise EditError("A stage has one time: epoch=, step= or plateau=.")
        found: list[Edit] = [Freeze(_several(freeze))] if _several(freeze) else []
        found += [Unfreeze(_several(unfreeze))] if _several(unfreeze) else []
        found += edits
        if not found:
            raise EditError("A stage has something to unfreeze or freeze.")
        if not all(isinstance(edit, _EDITS) for edit in found):
            raise EditError("A stage changes flags and weights, not the structure.")
        if warmup < 0 or (epoch or 0) < 0 or (step or 0) < 0:
            raise EditError("Epochs, steps and the warm-up of a stage count from 0.")
        for name, value in (
            ("edits", tuple(found)),
            ("epoch", epoch),
            ("step", step),
            ("plateau", plateau),
            ("warmup", warmup),
        ):
            object.__setattr__(self, name, value)

    def when(self) -> str:
        """The time in words."""
        if self.plateau is not None:
            return f"{self.plateau.monitor} no better for {self.plateau.patience} epochs"
        return f"epoch {self.epoch}" if self.epoch is not None else f"step {self.step}"

    def to_json(self) -> dict[str, Any]:
        """The stage as JSON."""
        arrays: dict[str, Any] = {}
        data: dict[str, Any] = {"edits": [edit.to_json(arrays) for edit in self.edits]}
        if arrays:
            raise EditError("A stage that sets weights to arrays is no JSON.")
        if self.plateau is not None:
            data["plateau"] = vars(self.plateau)
        for name in ("epoch", "step"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return {**data, "warmup": self.warmup}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stage:
        """The stage of JSON.

        Raises:
            EditError: it is none.
        """
        try:
            plateau = data.get("plateau")
            return cls(
                edits=[read_edit(item, _no_block) for item in data["edits"]],
                epoch=data.get("epoch"),
                step=data.get("step"),
                plateau=None if plateau is None else Plateau(**plateau),
                warmup=data.get("warmup", 0),
            )
        except (TypeError, KeyError, AttributeError) as problem:
            raise EditError(f"This is no stage of a training: {data!r:.80}.") from problem


def _no_block(data: Any) -> Any:
    raise EditError("A stage changes flags and weights, not the structure.")


def _several(targets: Any) -> tuple[Any, ...]:
    return tuple(targets) if isinstance(targets, (list, tuple)) else (targets,)


def top_down(
    editor: Editor,
    parts: int = 4,
    *,
    every: int = 1,
    start: int = 1,
    warmup: int = 0,
) -> list[Stage]:
    """Stages that unfreeze what is frozen from the output to the input, in equal parts.

    The way of Howard and Ruder (2018), "Universal Language Model Fine-tuning for Text
    Classification": the layers next to the output are the least general, so they come first.

    Args:
        editor: of the model; the layers that are frozen now are meant.
        parts: the number of stages.
        every: epochs between two.
        start: the epoch of the first.
        warmup: steps over which what is unfrozen comes up to its learning rate.

    Raises:
        EditError: no layer with weights is frozen.
    """
    frozen = [
        view.path
        for view in editor.layers
        if view.kind == "layer" and view.weights and not view.trainable
    ]
    if not frozen:
        raise EditError(
            "No layer with weights is frozen, so there is nothing to unfreeze in stages."
        )
    size = math.ceil(len(frozen) / max(1, parts))
    groups = [frozen[max(0, end - size) : end] for end in range(len(frozen), 0, -size)]
    return [
        Stage(group, epoch=start + number * every, warmup=warmup)
        for number, group in enumerate(groups)
    ]


class Schedule:
    """The stages of a training that are still to come."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages = list(stages)
        self._best: dict[str, float] = {}
        self._waited: dict[str, int] = {}

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self._stages)

    def at_epoch(self, epoch: int) -> list[Stage]:
        """The stages that an epoch begins with, taken off. Those of epochs that were left out too."""
        return self._take(lambda s: s.epoch is not None and s.epoch <= epoch)

    def at_step(self, step: int, executed: int = 1) -> list[Stage]:
        """The stages due before a batch, taken off; `executed` batches are trained at once."""
        return self._take(lambda s: s.step is not None and s.step < step + executed)

    def after_epoch(self, logs: Mapping[str, Any]) -> list[Stage]:
        """The first of the stages that wait for a plateau, taken off, if its metric is on one."""
        waiting = next((s for s in self._stages if s.plateau is not None), None)
        if waiting is None or waiting.plateau is None:
            return []
        name = waiting.plateau.monitor
        if name not in logs:
            raise EditError(
                f"The schedule waits for {name!r}, which fit does not report; it has "
                f"{', '.join(sorted(logs)) or 'nothing'}."
            )
        value = float(logs[name])
        if name not in self._best or waiting.plateau.better(value, self._best[name]):
            self._best[name], self._waited[name] = value, 0
            return []
        self._waited[name] += 1
        if self._waited[name] < waiting.plateau.patience:
            return []
        self._best.clear()
        return self._take(lambda s: s is waiting)

    def _take(self, due: Any) -> list[Stage]:
        found = [stage for stage in self._stages if due(stage)]
        self._stages = [stage for stage in self._stages if stage not in found]
        return found
