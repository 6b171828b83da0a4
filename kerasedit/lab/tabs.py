"""The editors that tabs of JupyterLab show: one for each tab, until the tab is closed.

A tab's widget talks over a comm that only the page of the tab knows. One of ipywidgets' own would be
taken in by the notebook's widget manager, and saved with the notebook.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import anywidget
import comm
import traitlets

from ..editor import Editor
from ..errors import EditError, ModelFileError, UnsafeModelError
from ..files import load_model
from ..handback import after_cells, user_namespace
from ..modelfiles.worker import stamp_of
from ..widgets.editor_widget import EditorWidget
from .variables import edits_in_none, held

TARGET = "kerasedit"

_tabs: dict[str, Tab] = {}


class FileChanged(EditError):
    """The file to be overwritten is not as it was when it was read or saved last."""


class CompileUnknown(ModelFileError):
    """The model can be loaded, but not as it was compiled."""


class Tab:
    """An editor that a tab shows.

    Args:
        name: the tab's, by which its pages find it.
        editor: what it shows.
        keeps: whether the editor is the user's, and goes on without the tab.
        stamp: the state of the file that is edited; None where it is no file.
    """

    def __init__(
        self, name: str, editor: Editor, keeps: bool = False, stamp: str | None = None
    ) -> None:
        self.editor, self.stamp = editor, stamp
        self._keeps = keeps
        self._saved = editor.steps
        channel = comm.create_comm(target_name=TARGET, comm_id=name, primary=False)
        comm.get_comm_manager().register_comm(channel)
        channel.send()  # ipywidgets takes a comm that was never spoken on for one without a kernel
        channel.on_close(lambda _: self._close_all())
        self._name, self._channel = name, channel
        self._widget = TabWidget(self, channel)
        # What a cell does to variables may let go of the last that had the edits.
        self._look_no_more = after_cells(self.tell_dirty)
        _tabs[name] = self

    @property
    def dirty(self) -> bool:
        """Whether edits would be lost with the tab: those of the user's own editor never are."""
        if self._keeps:
            return False
        if self.stamp is None:
            held = {id(value) for value in dict(user_namespace() or {}).values()}
            return edits_in_none(self.editor, held) > 0
        steps = self.editor.steps
        return len(steps) != len(self._saved) or any(
            step is not saved for step, saved in zip(steps, self._saved, strict=True)
        )

    def save(self, path: str, overwrite: bool) -> None:
        """Saves the model to a file, which is then the one that is edited.

        Args:
            path: of the file.
            overwrite: also where the file is another than was read or saved last.

        Raises:
            FileChanged: it is another.
            ModelFileError: it cannot be written; what was there is unharmed.
        """

        def look() -> None:
            if not overwrite and os.path.exists(path) and stamp_of(path) != self.stamp:
                raise FileChanged(f"'{path}' has changed since it was opened or saved.")

        look()
        with self.editor.lock:
            self.editor.save(path, last=look)
            self._saved = self.editor.steps
            self.stamp = stamp_of(path)
            self.tell_dirty()

    def tell_dirty(self) -> None:
        """Says anew whether anything would be lost."""
        self._widget.dirty = self.dirty

    def _close_all(self) -> None:
        """A page has ended the tab, which others may have, too."""
        self._channel.publish_msg("comm_close")
        self.close()

    def close(self) -> None:
        """Ends the tab, on whichever page it is."""
        if _tabs.get(self._name) is self:
            del _tabs[self._name]
        self._look_no_more()
        self._widget.close()
        if not self._keeps:
            self.editor.close()


class TabWidget(EditorWidget):
    """An editor's widget that no notebook knows of."""

    _esm = _css = ""  # the page has the front end

    dirty = traitlets.Bool().tag(sync=True)

    def __init__(self, tab: Tab, channel: Any) -> None:
        self._tab = tab
        # How a notebook shows it is nobody's business here.
        known = anywidget.AnyWidget.class_traits(sync=True)
        keys = [name for name in self.class_traits(sync=True) if name not in known]
        super().__init__(tab.editor, comm=channel, keys=keys)

    @traitlets.observe("comm")
    def _comm_changed(self, change: Any) -> None:
        # In place of ipywidgets' own, by which it would be among all widgets, that every page of a
        # notebook asks for.
        if change["new"] is not None:
            change["new"].on_msg(self._hear)

    def _hear(self, message: Any) -> None:
        told = message["content"]["data"]
        if told["method"] == "custom":
            self._receive(self, told["content"], [])
        elif told["method"] == "update":
            self.set_state(told["state"])
        elif told["method"] == "request_state":
            self.send_state()

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**super()._state(rows), "dirty": self._tab.dirty}

    def _receive(self, _widget: Any, content: Any, _buffers: Any) -> None:
        super()._receive(_widget, content, _buffers)
        if isinstance(content, dict) and content.get("action") == "hand_back":
            self._tab.tell_dirty()


def tell_dirty(editor: Editor) -> None:
    """Says anew of the tabs of an editor whether anything would be lost."""
    for tab in _tabs.values():
        if tab.editor is editor:
            tab.tell_dirty()


def is_current(tab: str, variable: str) -> bool:
    """Whether a tab shows what a variable holds, or was made of it."""
    opened = _tabs.get(tab)
    value = (user_namespace() or {}).get(variable)
    if opened is None or value is None:
        return True
    editor = opened.editor
    return any(value is its for its in (editor, editor.source, editor.latest))


def open_variable(tab: str, variable: str) -> None:
    """Opens an editor on a copy of the model that a variable holds, or the editor that it holds.

    Raises:
        EditError: it holds neither.
    """
    if tab in _tabs:
        return  # another page has asked for it meanwhile
    model = held(variable)
    if isinstance(model, Editor):
        Tab(tab, model, keeps=True)
    else:
        Tab(tab, Editor(model))


def open_file(tab: str, path: str, trusted: str | None = None, compile: bool = True) -> None:
    """Opens an editor on a model file.

    Args:
        tab: the tab's name.
        path: of the file.
        trusted: the state of it in which the code that it holds may be run.
        compile: whether the model is to be compiled as it was.

    Raises:
        UnsafeModelError: it holds code, and is not trusted.
        CompileUnknown: Keras cannot compile it as it was.
        ModelFileError: it cannot be loaded, or not be seen from here.
    """
    if not os.path.exists(path):
        raise ModelFileError(
            "The kernel does not see the file: it runs on another machine, or with other folders."
        )
    stamp = stamp_of(path)
    if trusted not in (None, stamp):
        raise ModelFileError("The file has changed since; look at it as it is now, and try again.")
    safe_mode = trusted is None
    try:
        editor = Editor(path, safe_mode=safe_mode, compile=compile)
    except UnsafeModelError:
        raise
    except ModelFileError as problem:
        # Keras does not find losses again that an `.h5` file has by name.
        if not compile or path.endswith(".keras"):
            raise
        load_model(path, safe_mode=safe_mode, compile=False)
        raise CompileUnknown("Keras cannot read how the model was compiled.") from problem
    Tab(tab, editor, stamp=stamp)


def save_file(tab: str, path: str, overwrite: bool = False) -> list[str]:
    """Saves what a tab edits.

    Args:
        tab: the tab's name.
        path: of the file.
        overwrite: also where the file is another than was read or saved last.

    Returns:
        What to know of it, in lines.

    Raises:
        EditError: the kernel has nothing of the tab.
        FileChanged, ModelFileError: as in `Tab.save`.
    """
    opened = _tabs.get(tab)
    if opened is None:
        raise EditError("The kernel has nothing of this tab: it was restarted.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        opened.save(path, overwrite)
    return [str(warning.message) for warning in caught]
