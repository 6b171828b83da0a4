"""What a comparison finds: small records, each of which says in words what it holds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .config import ConfigChange

VERSION = 1


class Item:
    """A difference. `mark` is `+`, `-` or `~`, `path` where it is, `detail` what it is, in words."""

    mark: ClassVar[str] = "~"
    path: str

    @property
    def detail(self) -> str:
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The path, or words for the model itself."""
        return self.path or "(the model)"

    def __str__(self) -> str:
        return f"{self.mark} {self.label}  {self.detail}"


@dataclass(frozen=True)
class Added(Item):
    """A layer that only the second model has; of a nested model, all inside it comes with it.

    Attributes:
        params: how many weight values came with it.
        takes: what its first call takes, in words.
    """

    mark: ClassVar[str] = "+"
    path: str
    class_name: str
    params: int
    takes: tuple[str, ...]

    @property
    def detail(self) -> str:
        words = [self.class_name]
        if self.takes:
            words.append(f"{self._verb} {', '.join(self.takes)}")
        if self.params:
            words.append(f"{self.params:,} parameters")
        return ", ".join(words)

    _verb: ClassVar[str] = "takes"


@dataclass(frozen=True)
class Removed(Added):
    """A layer that only the first model has; of a nested model, all inside it went with it."""

    mark: ClassVar[str] = "-"
    _verb: ClassVar[str] = "took"


@dataclass(frozen=True)
class Replaced(Item):
    """Another layer at the place of one: of another class, or of another name and configuration.

    Attributes:
        path, before: where it is, and where the old one was.
        class_before, class_after: what they are.
    """

    path: str
    before: str
    class_before: str
    class_after: str

    @property
    def label(self) -> str:
        return self.before

    @property
    def detail(self) -> str:
        new = self.class_after if self.path == self.before else f"{self.path} ({self.class_after})"
        return f"{self.class_before} -> {new}"


@dataclass(frozen=True)
class Renamed(Item):
    """The same layer under another name, or in another model (then only the path is another)."""

    path: str
    before: str

    @property
    def label(self) -> str:
        return self.before

    @property
    def detail(self) -> str:
        return f"is now {self.path}"


@dataclass(frozen=True)
class Reconfigured(Item):
    """A layer with another configuration; of a nested model, of another class."""

    path: str
    changes: tuple[ConfigChange, ...]

    @property
    def detail(self) -> str:
        return ", ".join(map(str, self.changes))


@dataclass(frozen=True)
class Rewired(Item):
    """A call that takes other tensors, or a model with other inputs or outputs.

    Attributes:
        path: the layer, or the model (`""` for the whole).
        what: `"call"`, `"inputs"` or `"outputs"`.
        call: which call of a layer that is called several times, counted from 0; else None.
        before, after: what is taken, in words; None where a side has no such call.
    """

    path: str
    what: Literal["call", "inputs", "outputs"]
    call: int | None
    before: tuple[str, ...] | None
    after: tuple[str, ...] | None

    @property
    def detail(self) -> str:
        verb = {"call": "takes", "inputs": "has the inputs", "outputs": "puts out"}[self.what]
        call = "a call" if self.call is None else f"call {self.call}"
        if self.before is None:
            return f"{call} on {_listed(self.after)} is new"
        if self.after is None:
            return f"{call} on {_listed(self.before)} is gone"
        verb = verb if self.call is None else f"{call} {verb}"
        if self.before == self.after:
            return f"{verb} {_listed(self.after)}; was another of that name"
        return f"{verb} {_listed(self.after)}; was {_listed(self.before)}"


def _listed(names: tuple[str, ...] | None) -> str:
    return ", ".join(names or ()) or "nothing"


@dataclass(frozen=True)
class WeightChange(Item):
    """A weight with another shape, dtype or values.

    Attributes:
        path: `"dense/kernel"`, by the second model's names.
        shape_before, shape_after, dtype_before, dtype_after: None where a side has no such weight.
        fresh: whether it starts afresh, so that there are no values yet to compare.
        relative: `||b - a|| / ||a||`; None where shapes differ, `a` is zero or holds no numbers.
        max_abs: the largest difference of two values.
        changed: the share of values that differ, 0 to 1.
        nonfinite: how many of those are NaN or infinite; the distances leave them out.
    """

    path: str
    shape_before: tuple[int, ...] | None
    shape_after: tuple[int, ...] | None
    dtype_before: str | None
    dtype_after: str | None
    fresh: bool = False
    relative: float | None = None
    max_abs: float | None = None
    changed: float | None = None
    nonfinite: int = 0

    @property
    def detail(self) -> str:
        if self.shape_before is None:
            return f"new, {self.shape_after} {self.dtype_after}"
        if self.shape_after is None:
            return f"gone, was {self.shape_before} {self.dtype_before}"
        words = []
        if self.shape_before != self.shape_after:
            words.append(f"{self.shape_before} -> {self.shape_after}")
        if self.dtype_before != self.dtype_after:
            words.append(f"{self.dtype_before} -> {self.dtype_after}")
        if self.fresh:
            words.append("starts afresh")
        if self.changed:
            words.append(self._distance())
        return ", ".join(words)

    def _distance(self) -> str:
        assert self.changed is not None
        share = f"{100 * self.changed:.3g} % of values"
        if self.changed > 0.999:
            share = "all values" if self.changed == 1 else "nearly all values"
        words = [f"{share} differ"]
        if self.relative is not None:
            words = [f"differs by {100 * self.relative:.3g} %", f"in {share}"]
        if self.max_abs is not None:
            words.append(f"at most {self.max_abs:.3g}")
        if self.nonfinite:
            words.append(f"{self.nonfinite:,} of them NaN or infinite")
        return ", ".join(words)


@dataclass(frozen=True)
class FlagChange(Item):
    """A layer with weights that trains in one model and not in the other."""

    path: str
    before: bool
    after: bool

    @property
    def detail(self) -> str:
        return f"{_trains(self.before)} -> {_trains(self.after)}"


def _trains(flag: bool) -> str:
    return "trains" if flag else "frozen"


@dataclass(frozen=True)
class Compared:
    """One of the models: what it is called, its class, and the number of its weight values."""

    title: str
    class_name: str
    params: int
    trainable: int


@dataclass(frozen=True, repr=False)
class Diff:
    """What differs between two models, `a` and `b`. True where anything does.

    Printed it is a text for the terminal; a notebook shows it as a table.

    Attributes:
        a, b: the two models.
        added, removed: layers that only one of them has.
        replaced: layers in whose place another one stands.
        renamed: layers under another name or in another model.
        reconfigured: layers with other arguments, old and new, key by key.
        rewired: calls that take other tensors, and models with other inputs or outputs.
        weights: weights of layers that both have, with how far they are apart.
        flags: layers with weights that train in only one of them.
    """

    a: Compared
    b: Compared
    added: tuple[Added, ...] = ()
    removed: tuple[Removed, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    reconfigured: tuple[Reconfigured, ...] = ()
    rewired: tuple[Rewired, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    flags: tuple[FlagChange, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not any(items for _, items in self.groups)

    def __bool__(self) -> bool:
        return not self.empty

    @property
    def groups(self) -> tuple[tuple[str, tuple[Item, ...]], ...]:
        """The differences under their headings, in the order in which they are shown."""
        return (
            ("Layers", (*self.added, *self.removed, *self.replaced, *self.renamed)),
            ("Configuration", self.reconfigured),
            ("Wiring", self.rewired),
            ("Weights", self.weights),
            ("Flags", self.flags),
        )

    def text(self, limit: int | None = 20) -> str:
        """The differences in lines, at most `limit` under each heading (None: all)."""
        from .show import to_text

        return to_text(self, limit)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain lists, numbers and texts. JSON has no NaN: it is None there."""
        return {"format": "kerasedit.diff", "version": VERSION, **_plain(dataclasses.asdict(self))}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        found = [f"{len(getattr(self, n))} {n}" for n in _FOUND if getattr(self, n)]
        return f"<Diff: {', '.join(found) or 'no differences'}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        from .show import to_html

        return to_html(self)


_FOUND = tuple(item.name for item in dataclasses.fields(Diff) if item.name not in ("a", "b"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
