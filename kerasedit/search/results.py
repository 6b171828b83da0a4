"""What a sweep found: a table, best first, to read, to plot and to compute with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from ..errors import EditError
from ..names import cut, shortened, visible
from ..plotting import figure_class
from .candidates import BASELINE, Task
from .trial import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mode = Literal["auto", "min", "max"]
Record = dict[str, Any]

_OWN = ("candidate", "number", "status", "change", "params", "seconds", "layers", "edits", "error")
_NAME, _TEXT, _ROWS, _BARS = 56, 90, 400, 200


@dataclass(frozen=True, repr=False)
class Sweep:
    """What was found of each candidate. `str` is a table; a notebook shows one.

    Attributes:
        records: a dictionary for each candidate, the best first and those without a score last:
            `candidate` (its name), `number` (in the order they were given; 0 is the unedited model),
            `status` (`"done"`, `"failed"`, `"skipped"` or, where the sweep was stopped, `"waiting"`),
            what `evaluate` gave by name, `change` (of the metric, against the unedited model),
            `params`, `seconds`, `layers` (those that it is about), `edits` in words and `error`.
        metric: what `evaluate` gave that they are sorted by; None where nothing was found.
        mode: whether the best of it is the highest (`"max"`) or the lowest (`"min"`).
        stopped: whether an interrupt ended the sweep.
    """

    records: list[Record]
    metric: str | None
    mode: Literal["min", "max"]
    stopped: bool = False

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @property
    def baseline(self) -> Record:
        """The record of the unedited model."""
        return next(record for record in self.records if record["number"] == 0)

    @property
    def failed(self) -> list[Record]:
        """The records of candidates that failed."""
        return [record for record in self.records if record["status"] == "failed"]

    def by_layer(self) -> dict[str, float]:
        """By the path of each layer, how much worse the metric gets by the edits that are about it.

        Above zero: the model is worse for it, so the layer matters. Where several candidates are about
        a layer, their mean. In the order in which candidates were given.
        """
        sign = -1 if self.mode == "max" else 1
        found: dict[str, list[float]] = {}
        for record in sorted(self.records, key=lambda record: record["number"]):
            if record["number"] and record["change"] is not None:
                for path in record["layers"]:
                    found.setdefault(path, []).append(sign * record["change"])
        return {path: sum(changes) / len(changes) for path, changes in found.items()}

    # -- in other forms --------------------------------------------------------------------------

    def to_pandas(self) -> Any:
        """The records as a `pandas.DataFrame`.

        Raises:
            EditError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as problem:
            raise EditError(
                "pandas is not installed. Install it (pip install pandas), or take .records, which "
                "is a list of dictionaries."
            ) from problem
        return pandas.DataFrame(self.records)

    def plot(self, order: Literal["best", "given"] = "best") -> Figure:
        """A matplotlib figure: a bar for each candidate, and a line where the unedited model is.

        Args:
            order: the best first, or as the candidates were given.
        """
        if order not in ("best", "given"):
            raise EditError(f"order is 'best' or 'given', not {order!r:.80}.")
        scored = [(record, self._score(record)) for record in self.records if record["number"]]
        bars = [(record, score) for record, score in scored if score is not None]
        if order == "given":
            bars.sort(key=lambda bar: bar[0]["number"])
        more, bars = len(bars) - _BARS, bars[:_BARS]
        figure = figure_class()(figsize=(8, 0.9 + 0.24 * max(1, len(bars))), layout="constrained")
        if not bars:
            figure.text(0.5, 0.5, "No candidate has a score", ha="center", va="center")
            return figure
        axes = figure.subplots()
        places = range(len(bars))
        axes.barh(places, [score for _, score in bars], color="#0b61a4", height=0.7)
        # Names are not mathematics: "$" and "_" are taken as they are.
        axes.set_yticks(places, [_line(r["candidate"], _NAME) for r, _ in bars], fontsize=7)
        for label in axes.get_yticklabels():
            label.set_parse_math(False)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlabel(str(self.metric), fontsize=8, parse_math=False)
        axes.tick_params(axis="x", labelsize=7)
        reference = self._score(self.baseline)
        if reference is not None:
            axes.axvline(reference, color="#b3261e", lw=1, label="unedited")
            axes.legend(fontsize=7, frameon=False, loc="lower right")
        if more > 0:
            axes.set_title(f"and {more} more", fontsize=7, loc="right")
        return figure

    def _score(self, record: Record) -> float | None:
        value = None if self.metric is None else record.get(self.metric)
        return value if value is not None and math.isfinite(value) else None

    # -- as a table ------------------------------------------------------------------------------

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """The head, and the cells of each row: a name, figures, and a text at the end."""
        metrics = list(dict.fromkeys(k for r in self.records for k in r if k not in _OWN))
        metrics.sort(key=lambda name: name != self.metric)
        head = ["candidate", *metrics[:1], *(["change"] if metrics else []), *metrics[1:]]
        rows = []
        for record in self.records[:_ROWS]:
            cells = [_line(record["candidate"], _NAME)]
            for name in head[1:]:
                cells.append(_figure(record.get(name), name == "change"))
            params = record["params"]
            cells.append("" if params is None else f"{params:,}")
            cells.append("" if record["seconds"] is None else f"{record['seconds']:.1f}")
            status = record["status"]
            cells.append("" if status == "done" else _start(_why(record)))
            rows.append(cells)
        return [*head, "params", "s", ""], rows

    def _note(self) -> str:
        status = [record["status"] for record in self.records if record["number"]]
        words = [
            f"{status.count(name)} {name}"
            for name in ("done", "failed", "skipped", "waiting")
            if name == "done" or name in status
        ]
        best = {"max": "the highest", "min": "the lowest"}[self.mode]
        by = f"; {best} {self.metric} first" if self.metric is not None else ""
        more = len(self.records) - _ROWS
        hidden = f"; {more} rows are not shown, .records has all" if more > 0 else ""
        return visible(f"{', '.join(words)}{by}{hidden}{'; stopped' if self.stopped else ''}")

    def __str__(self) -> str:
        head, rows = self._table()
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        last = len(head) - 1

        def line(cells: Sequence[str]) -> str:
            return "  ".join(
                cell if i == last else cell.rjust(widths[i]) if i else cell.ljust(widths[i])
                for i, cell in enumerate(cells)
            ).rstrip()

        rule = "-" * max(len(line(row)) for row in (head, *rows))
        return "\n".join([line(head), rule, *map(line, rows), self._note()])

    def __repr__(self) -> str:
        return f"<Sweep: {self._note()}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        head, rows = self._table()
        last = len(head) - 1

        def cells(tag: str, row: Sequence[str]) -> str:
            sides = ["left" if i in (0, last) else "right" for i in range(len(row))]
            return "".join(
                f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
                for side, cell in zip(sides, row, strict=True)
            )

        body = "".join(
            f"<tr{' style=font-weight:bold' if row[0] == BASELINE else ''}>{cells('td', row)}</tr>"
            for row in rows
        )
        return (
            f"<div><table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
            f"{escape(self._note())}</div>"
        )


def check_names(values: Mapping[str, float], metric: str | None) -> None:
    """Raises where results of these names cannot be told.

    Raises:
        EditError: the metric is not among them, or one has a name that records use themselves.
    """
    if metric is not None and metric not in values:
        raise EditError(f"evaluate gives no {metric!r:.80} but {', '.join(map(repr, values))}.")
    taken = [name for name in values if name in _OWN]
    if taken:
        raise EditError(
            f"evaluate gives a '{taken[0]}', which the records have for something else. Give it "
            "another name."
        )


def gather(
    tasks: Sequence[Task],
    outcomes: Mapping[int, Outcome],
    metric: str | None,
    mode: Mode,
    stopped: bool,
) -> Sweep:
    """The results of tasks, of which the first is the unedited model."""
    found = [outcomes.get(number) for number in range(len(tasks))]
    there = list(dict.fromkeys(name for outcome in found if outcome for name in outcome.values))
    if metric is None:
        metric = there[0] if there else None
    way = _way(metric) if mode == "auto" else mode
    base = found[0].values.get(metric) if found[0] is not None and metric is not None else None
    records = []
    for number, (task, outcome) in enumerate(zip(tasks, found, strict=True)):
        values = dict(outcome.values) if outcome is not None else {}
        score = values.get(metric) if metric is not None else None
        records.append(
            {
                "candidate": task.name,
                "number": number,
                "status": _status(task, outcome),
                **{name: values.get(name) for name in there},
                "change": None if score is None or base is None else score - base,
                "params": outcome.params if outcome is not None else None,
                "seconds": outcome.seconds if outcome is not None else None,
                "layers": list((outcome and outcome.layers) or task.layers or ()),
                "edits": "; ".join(task.recipe.words()),
                "error": outcome.error if outcome is not None else "",
            }
        )

    def rank(record: Record) -> tuple[int, float]:
        score = record.get(metric) if metric is not None else None
        if score is None or math.isnan(score):
            order = ("done", "waiting", "failed", "skipped")
            return 1 + order.index(record["status"]), 0.0
        return 0, -score if way == "max" else score

    return Sweep(sorted(records, key=rank), metric, way, stopped)


def _way(metric: str | None) -> Literal["min", "max"]:
    low = metric is not None and any(word in metric for word in ("loss", "error", "distance"))
    return "min" if low else "max"


def _status(task: Task, outcome: Outcome | None) -> str:
    if outcome is None:
        return "waiting"
    if not outcome.error:
        return "done"
    return "skipped" if task.skipped else "failed"


def _why(record: Record) -> str:
    return f"{record['status']}: {record['error']}" if record["error"] else record["status"]


def _start(text: str) -> str:
    """The first words of a text in one line."""
    return cut(visible(" ".join(text.split())), _TEXT)


def _figure(value: float | None, signed: bool) -> str:
    if value is None:
        return ""
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def _line(text: str, limit: int) -> str:
    return shortened(visible(text), limit)
