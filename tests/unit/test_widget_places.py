"""Where a widget is shown: in several places, on several pages, and nowhere any more."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from kerasedit import Editor
from kerasedit.training import monitor
from kerasedit.training.monitor import Monitor, View
from kerasedit.widgets import base
from kerasedit.widgets.editor_widget import EditorWidget


class Shown:
    """A widget, and what it sends to the browser."""

    def __init__(self, editor: Editor) -> None:
        self.widget = EditorWidget(editor)
        self.sent: list[dict[str, Any]] = []
        self.widget._send = lambda message, buffers=None: self.sent.append(message)  # type: ignore[method-assign]

    def say(self, place: str, **message: Any) -> Any:
        self.widget._receive(self.widget, {"id": "m", "place": place, **message}, [])
        return self.sent[-1]["content"]


@pytest.fixture
def editor() -> Editor:
    return Editor(
        keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    )


@pytest.fixture
def shown(editor: Editor) -> Shown:
    return Shown(editor)


def test_a_widget_that_is_shown_nowhere_sends_nothing_until_it_is_again(shown: Shown) -> None:
    shown.say("one", query="ping")
    shown.say("two", query="ping")
    shown.say("one", action="leave")
    shown.widget.editor.freeze("a")
    assert [message["method"] for message in shown.sent][-1] == "update"

    shown.say("two", action="leave")
    shown.sent.clear()
    shown.widget.editor.freeze("b").rename("b", "head")
    shown.widget.editor.monitor.update(running=True, epochs=3)
    assert shown.sent == []
    # In Python it is in step all the same.
    assert [row["path"] for row in shown.widget.rows][-1] == "head"

    assert shown.say("three", query="ping")["ok"]["revision"] == 3
    update, _answer = shown.sent
    assert update["state"]["revision"] == 3 and update["state"]["training"]["epochs"] == 3
    assert {"info", "revision", "training"} <= set(update["state"]) <= set(shown.widget.keys)
    assert "_esm" not in update["state"]


def test_a_widget_that_was_never_seen_sends_all(shown: Shown) -> None:
    shown.say("unknown", action="leave")
    shown.widget.editor.freeze("a")
    assert [message["method"] for message in shown.sent] == ["custom", "update"]


def test_who_asks_for_the_whole_state_gets_it(shown: Shown) -> None:
    """As a page does that is loaded anew, before it shows anything."""
    shown.say("one", query="ping")
    shown.say("one", action="leave")
    shown.widget.editor.freeze("a")
    shown.widget.send_state()
    assert shown.sent[-1]["state"]["revision"] == 1


@pytest.mark.parametrize("place", [7, None, ["a"], "x" * 101])
def test_a_place_is_a_short_text(shown: Shown, place: Any) -> None:
    assert shown.say(place, query="ping")["error"]["type"] == "EditError"


def test_showing_an_editor_again_makes_no_other_widget(editor: Editor) -> None:
    bundles = [editor._repr_mimebundle_() for _ in range(50)]
    assert len({str(data["application/vnd.jupyter.widget-view+json"]) for data, _ in bundles}) == 1
    assert len(editor._subscribers) == 1


def test_what_a_notebook_closed_is_let_go(editor: Editor) -> None:
    """marimo closes the channel of a widget when the cell that made it is run again."""
    first, second = EditorWidget(editor), EditorWidget(editor)
    other = EditorWidget(Editor(editor.source))
    for widget in (first, other):
        widget.comm.close()
    editor.freeze("a")
    assert first.closed and first.comm is None
    assert second.revision == 1 and len(editor._subscribers) == 1
    assert other.comm is not None
    EditorWidget(editor)
    assert other.comm is None and other not in base._open


def test_each_place_has_its_own_rows_in_view(shown: Shown) -> None:
    view = shown.widget._view
    shown.say("one", query="watch", paths=["a"])
    shown.say("two", query="watch", paths=["b"])
    assert view.paths == {"a", "b"}
    shown.say("two", query="watch", paths=[])
    assert view.paths == {"a"}
    shown.say("two", query="watch", paths=["b"])
    shown.say("one", action="leave")
    assert view.paths == {"b"} and not view.unseen


def test_a_place_that_is_silent_while_others_are_not_counts_as_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now)
    view = View(lambda state: None, lambda frame: None)
    view.hear("closed", ["a"])
    view.hear("open", ["b"])
    now += View.SILENCE + 1
    # It may be that the kernel hears nobody while the cell runs.
    assert view.paths == {"a", "b"}
    view.hear("open")
    assert view.paths == {"b"}
    view.hear("closed")  # it was only in the background
    assert view.paths == {"a", "b"}


def test_places_are_bounded() -> None:
    view = View(lambda state: None, lambda frame: None)
    for number in range(1000):
        view.hear(str(number), [f"layer{number}"])
    assert len(view.paths) == View.MAX_PLACES and "layer999" in view.paths


def test_a_late_page_gets_the_losses_so_far(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now)
    told: Monitor = shown.widget.editor.monitor
    assert shown.say("one", query="losses")["ok"] == {"total": 0, "values": []}
    told.update(running=True, epochs=1)
    for total in range(1, 1000):
        now += 0.1
        told.step(total=total, metrics={"loss": float("nan") if total == 990 else total / 2})
    losses = shown.say("one", query="losses")["ok"]
    assert len(losses["values"]) == 100 and losses["values"][-1] == losses["total"] / 2 > 490
    told.update(running=True, total=0, metrics={})
    assert shown.say("one", query="losses")["ok"]["values"] == []
