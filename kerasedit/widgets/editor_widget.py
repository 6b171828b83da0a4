"""The widget over an editor: its state as traits, its messages to edits."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..editor import Editor, Event
from ..training.monitor import Frame, State, View
from ..training.watch import BINS
from .kernel import keep_replies_on_subshells
from .messages import answer, pack_moments
from .rows import make_info, make_patch, make_rows, training_data

_STATIC = Path(__file__).parent / "static"
# All rows are sent anew where more than one in so many differs from what was sent.
_RESEND = 4


def _asset(name: str) -> Path:
    """A file of the front end.

    Raises:
        ImportError: it was not built.
    """
    path = _STATIC / name
    if not path.exists():
        raise ImportError(
            f"The widget's front end ({path}) is not built. In a clone of the repository run "
            "'make setup', or 'npm install && npm run build' in js/; an installed package has it."
        )
    return path


class EditorWidget(anywidget.AnyWidget):
    """Shows the model of an editor as an editable layer list.

    Every view of one editor stays in step, also with edits made in Python. The state is made anew
    from the editor after each change; nothing is read back from the browser but `selected` and
    `filter`.

    Args:
        editor: an `Editor`, or whatever `Editor` takes.

    Attributes:
        selected: paths of the selected rows; may be set, linked and observed.
        filter: the text of the filter box; may be set, linked and observed.
    """

    _esm = _asset("widget.js")
    _css = _asset("widget.css")

    revision = traitlets.Int().tag(sync=True)
    info = traitlets.Dict().tag(sync=True)
    snapshot = traitlets.List().tag(sync=True)
    patch = traitlets.List().tag(sync=True)
    training = traitlets.Dict().tag(sync=True)
    alive = traitlets.Unicode().tag(sync=True)
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    filter = traitlets.Unicode().tag(sync=True)

    def __init__(self, editor: Any, **options: Any) -> None:
        self.editor = editor if isinstance(editor, Editor) else Editor(editor)
        with self.editor.lock:  # no change is missed between the first state and the subscription
            self._unsubscribe = self.editor.subscribe(self._follow)
            super().__init__(alive=secrets.token_hex(8), **self._state(), **options)
            self.info = self._info()  # the widget has its identity only now
        monitor = self.editor.monitor
        self._view = View(self._show_training, self._show_frame, self._comm_id)
        self._stop_looking = monitor.add(self._view)
        self._show_training(monitor.state)
        keep_replies_on_subshells(self.comm)
        self.on_msg(self._receive)

    def _state(self) -> dict[str, Any]:
        """All rows are sent now and then; in between, what differs from those."""
        with self.editor.lock:
            rows = make_rows(self.editor)
            patch = make_patch(self.snapshot, rows)
            if sum(isinstance(item, dict) for item in patch) > len(rows) / _RESEND:
                self.snapshot, patch = rows, [[0, len(rows)]]
            return {"patch": patch, "info": self._info(), "revision": self.editor.revision}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows that the list shows."""
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
        with self.hold_sync():
            for name, value in self._state().items():
                setattr(self, name, value)
            paths = {row["path"] for row in self.rows}
            self.selected = [path for path in self.selected if path in paths]

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
        self.send(reply, buffers)

    def close(self) -> None:
        """Ends the widget; the editor goes on."""
        self._unsubscribe()
        self._stop_looking()
        super().close()
