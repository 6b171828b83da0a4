"""What the widgets over an editor share: its state as traits, its messages to edits."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anywidget
import traitlets

from ..editor import Editor, Event
from ..errors import EditError
from ..training.monitor import Frame, State, View
from ..training.watch import BINS
from .kernel import keep_replies_on_subshells
from .messages import answer, check_size, pack_moments
from .rows import follow_paths, make_info, make_patch, rows_of, training_data
from .scores import Scores, scores_of
from .static_html import table_html

if TYPE_CHECKING:
    from ..search.results import Sweep

_STATIC = Path(__file__).parent / "static"
# All rows are sent anew where more than one in so many differs from what was sent.
_RESEND = 4


def _asset(name: str) -> str:
    """A file of the front end. By its path anywidget would watch it, and keep every widget for that.

    Raises:
        ImportError: it was not built.
    """
    path = _STATIC / name
    if not path.exists():
        raise ImportError(
            f"The widget's front end ({path}) is not built. In a clone of the repository run "
            "'make setup', or 'npm install && npm run build' in js/; an installed package has it."
        )
    return path.read_text("utf-8")


_open: weakref.WeakSet[Part] = weakref.WeakSet()


def _release_closed() -> None:
    """Lets go of the widgets that a notebook has closed, of which nobody else is told."""
    for part in list(_open):
        if part.closed:
            part.close()


def shown_editors() -> list[Editor]:
    """The editors that have a widget which is not closed."""
    return [part.editor for part in list(_open) if not part.closed]


class Part(anywidget.AnyWidget):
    """A widget that shows an editor, or a part of what there is to see of it.

    Every view of one editor stays in step, also with edits made in Python. The state is made anew
    from the editor after each change; nothing is read back from the browser but how it is viewed.

    Args:
        editor: an `Editor`, or whatever `Editor` takes.
        options: values of traits.

    Attributes:
        editor: the editor; where a model was given, one of its own on that model.
        height: how high what scrolls may get, in pixels; None: as is usual.
    """

    _esm = _asset("widget.js")
    _css = _asset("widget.css")

    part = traitlets.Unicode().tag(sync=True)
    revision = traitlets.Int().tag(sync=True)
    info = traitlets.Dict().tag(sync=True)
    snapshot = traitlets.List().tag(sync=True)
    patch = traitlets.List().tag(sync=True)
    training = traitlets.Dict().tag(sync=True)
    alive = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(None, allow_none=True, min=60).tag(sync=True)

    # What a browser may set; the last is how ipywidgets counts views.
    _VIEWED: ClassVar[tuple[str, ...]] = ("selected", "filter", "paths", "log", "_view_count")

    _ends: tuple[Callable[[], object], ...] = ()

    def __init__(self, editor: Any, **options: Any) -> None:
        self.editor = editor if isinstance(editor, Editor) else Editor(editor)
        self._view = View(self._show_training, self._show_frame, self._comm_id)
        self._unsent: set[str] = set()
        _release_closed()
        with self.editor.lock:  # no change is missed between the first state and the subscription
            self._ends = (self.editor.subscribe(self._follow),)
            self._take_state()
            super().__init__(alive=secrets.token_hex(8), **options)
            self.info = self._info()  # the widget has its identity only now
        _open.add(self)
        monitor = self.editor.monitor
        self._ends = (*self._ends, monitor.add(self._view))
        self._show_training(monitor.state)
        keep_replies_on_subshells(self.comm)
        self.on_msg(self._receive)

    def _take_state(self) -> None:
        with self.editor.lock:
            for name, value in self._state(self._make_rows()).items():
                self.set_trait(name, value)

    def _make_rows(self) -> list[dict[str, Any]]:
        return rows_of(self.editor)

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The traits as the editor is now.

        All rows are sent now and then; in between, what differs from those.
        """
        state = {"info": self._info(), "revision": self.editor.revision}
        patch = make_patch(self.snapshot, rows)
        if sum(isinstance(item, dict) for item in patch) > len(rows) / _RESEND:
            return {**state, "snapshot": rows, "patch": [[0, len(rows)]]}
        return {**state, "patch": patch}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the layers."""
        return [
            row
            for item in self.patch
            for row in (self.snapshot[item[0] : sum(item)] if isinstance(item, list) else [item])
        ]

    def _info(self) -> dict[str, Any]:
        # By its identity the browser finds out whether a kernel still has this widget.
        return {**make_info(self.editor), "model_id": self._comm_id()}

    def _comm_id(self) -> str:
        return self.comm.comm_id if self.comm else ""

    def _follow(self, event: Event) -> None:
        """Every change of the editor becomes one message with what is new."""
        if self.closed or event.kind == "close":
            self.close()
            return
        with self.hold_sync():
            self._take_state()

    def _show_training(self, state: State) -> None:
        self.training = training_data(state)

    def _show_frame(self, frame: Frame) -> None:
        """One message for all that is to be drawn; the next come when the browser has drawn it."""
        header = {
            "training": training_data(frame.state),
            "paths": list(frame.moments),
            "bins": BINS,
        }
        self.send({"frame": header}, [pack_moments(frame.moments)])

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        reply, buffers = answer(self.editor, self.alive, content, self._view)
        if not self._view.unseen and self._unsent:
            unsent, self._unsent = self._unsent, set()
            super().send_state(unsent)
        if self.editor.handed_back not in (None, self.info["variable"]):
            self.info = self._info()
        self.send(reply, buffers)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Of what a browser sets, only how the widget is viewed is taken: all else is the kernel's."""
        viewed = {name: sync_data[name] for name in self._VIEWED if name in sync_data}
        try:
            check_size(viewed)
        except EditError:
            return
        super().set_state(viewed)

    def send_state(self, key: Any = None) -> None:
        """Changes of a widget that is shown nowhere, as those of cells that were run again, wait."""
        if key is None or not self._view.unseen:
            super().send_state(key)
        else:
            self._unsent.update({key} if isinstance(key, str) else key)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """What is displayed: the widget, and a table for where there are no widgets."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self._static_html()}, metadata

    def _static_html(self) -> str:
        return table_html(self.editor, self.info, self.rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.editor!r}>"

    @property
    def closed(self) -> bool:
        """Whether it was closed here, or by a notebook that closes what a cell made."""
        return self.comm is None or getattr(self.comm, "_closed", False)

    def close(self) -> None:
        """Ends the widget; the editor goes on."""
        _open.discard(self)
        for end in self._ends:
            end()
        super().close()


class Listing(Part):
    """A widget with the list of the layers.

    Attributes:
        selected: paths of the selected rows; may be set, linked and observed.
        filter: the text of the filter box; may be set, linked and observed.
        scores: what `show_ablation` shows, `label` and `values` by path; to be observed.
    """

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    filter = traitlets.Unicode().tag(sync=True)
    scores = traitlets.Dict(read_only=True).tag(sync=True)

    _scored: Scores | None = None

    def show_ablation(self, found: Sweep | Mapping[str, float] | None) -> Self:
        """Shows in a column what an ablation has found of each layer.

        The numbers stay with their layers through edits, and are of the model as it was then.

        Args:
            found: what `kerasedit.ablate` or `kerasedit.sweep` gave, of which the numbers of
                `by_layer()` are shown; or a number of your own for each of some layers, by their paths.
                None: the column goes.

        Raises:
            EditError: it is none of these.
            TargetError: none of it is about a layer of this model.
        """
        with self.editor.lock:
            self._scored = None if found is None else scores_of(self.editor, found)
            self.set_trait("scores", self._scores())
        return self

    def _static_html(self) -> str:
        return table_html(self.editor, self.info, self.rows, self.scores)

    def _scores(self) -> dict[str, Any]:
        return {} if self._scored is None else self._scored.told(self.editor.graph)

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        there = {row["path"] for row in rows}
        selected = follow_paths(self.selected, self.rows, rows)
        return {
            **super()._state(rows),
            "selected": [path for path in selected if path in there],
            "scores": self._scores(),
        }
