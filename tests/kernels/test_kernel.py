"""Messages that reach a kernel while it runs a cell."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from kerasedit.widgets.kernel import Door, keep_replies_on_subshells

from .kernel import Kernel, brief

MAIN = "MainThread"
CONTROL = "jupyter.widget.control"


def states(kernel: Kernel, asked: str) -> list[str]:
    return [
        message["content"]["execution_state"]
        for message in kernel.about(asked)
        if message["msg_type"] == "status"
    ]


def train(kernel: Kernel, code: str = "train()") -> str:
    """Starts a cell and waits until its loop runs."""
    cell = kernel.start(code)
    kernel.printed("training")
    return cell


def is_running(kernel: Kernel, cell: str) -> bool:
    return not any(message["msg_type"] == "execute_reply" for message in kernel.about(cell))


def stop(kernel: Kernel, cell: str, status: str = "ok") -> None:
    kernel.tell("ours", "stop")
    assert kernel.end_of(cell)["content"]["status"] == status


# --- What is let in -------------------------------------------------------------------------------


def test_handled_during_the_cell(kernel: Kernel) -> None:
    cell = train(kernel, "train(); print('after')")
    asked = kernel.tell("ours", "toggle")
    kernel.idle_after(asked)
    assert is_running(kernel, cell)
    last = kernel.tell("ours", "stop")
    assert kernel.end_of(cell)["content"]["status"] == "ok"
    assert kernel.value("log") == [("toggle", "cell", MAIN), ("stop", "cell", MAIN)]
    for message in (asked, last):
        answers = [brief(answer) for answer in kernel.about(message)]
        assert answers == [("status", "busy"), ("comm_msg", None), ("status", "idle")]
    # What the cell prints is its own, and nobody takes the kernel for idle meanwhile.
    assert kernel.printed("after")["parent_header"]["msg_id"] == cell
    assert states(kernel, cell) == ["busy", "busy", "busy", "idle"]


def test_a_page_loaded_during_the_cell_has_its_widgets_back(kernel: Kernel) -> None:
    kernel.run(f"""
        def opened(comm, message):
            ran("opened")
            comm.on_msg(lambda message: (ran("states"), comm.send("all")))
            comm.on_close(lambda message: ran("closed"))
        __import__("comm").get_comm_manager().register_target({CONTROL!r}, opened)
    """)
    cell = train(kernel)
    info = kernel.end_of(kernel.send("kernel_info_request", {}))
    assert info["content"]["implementation"] == "ipython"
    comms = kernel.end_of(kernel.send("comm_info_request", {"target_name": "test"}))
    assert {"ours", "other"} <= set(comms["content"]["comms"])
    page = {"comm_id": "page", "target_name": CONTROL, "data": {}}
    kernel.idle_after(kernel.send("comm_open", page))
    asked = kernel.tell("page", "request states")
    kernel.idle_after(asked)
    assert [brief(answer)[0] for answer in kernel.about(asked)] == ["status", "comm_msg", "status"]
    kernel.idle_after(kernel.send("comm_close", {"comm_id": "page", "data": {}}))
    assert is_running(kernel, cell)
    stop(kernel, cell)
    assert [what for what, when, _ in kernel.value("log") if when] == [
        *("opened", "states", "closed", "stop")
    ]


def test_plots_stay_open(kernel: Kernel) -> None:
    """What happens at the end of cells happens at their end."""
    kernel.run("""
        ends = []
        get_ipython().events.register("post_execute", lambda: ends.append(cell))
    """)
    cell = train(kernel)
    kernel.idle_after(kernel.tell("ours", "toggle"))
    stop(kernel, cell)
    assert "cell" not in kernel.value("ends")


def test_a_failing_handler_ends_nothing(kernel: Kernel) -> None:
    kernel.run("""
        def fail(message):
            data = message["content"]["data"]
            raise {"error": ValueError, "exit": SystemExit}[data]
        bad = create_comm(target_name="test", comm_id="bad")
        bad.on_msg(fail)
        door = Door(lambda: {"ours", "bad"})
    """)
    cell = train(kernel, "train(door.serve)")
    for data in ("error", "exit"):
        asked = kernel.tell("bad", data)
        kernel.idle_after(asked)
        assert states(kernel, asked) == ["busy", "idle"]
    kernel.idle_after(kernel.tell("ours", "toggle"))
    assert is_running(kernel, cell)
    stop(kernel, cell)


def test_all_at_once(kernel: Kernel) -> None:
    """A thousand messages: ours in order during the cell, the others in order after it."""
    cell = train(kernel)
    numbers = random.Random(4)
    ours = [numbers.random() < 0.5 for _ in range(1000)]
    for number, our in enumerate(ours):
        kernel.tell("ours" if our else "other", number)
    stop(kernel, cell)
    kernel.run("pass")  # behind all others
    log = kernel.value("log")
    assert [what for what, when, _ in log if when] == [
        *(number for number, our in enumerate(ours) if our),
        "stop",
    ]
    assert [what for what, when, _ in log if not when] == [
        number for number, our in enumerate(ours) if not our
    ]


def test_sent_before_the_cell_began(kernel: Kernel) -> None:
    """The kernel has taken in some of them when the cell begins; all keep their order."""
    first = kernel.start("print('first'); time.sleep(0.3)")
    kernel.printed("first")
    cell = kernel.start("train()")
    early = [kernel.tell("ours", number) for number in range(5)]
    waiting = kernel.tell("other", "waits")
    for message in early:
        kernel.idle_after(message)
    assert not is_running(kernel, first) and is_running(kernel, cell)
    stop(kernel, cell)
    kernel.idle_after(waiting)
    kernel.run("pass")
    log = [(what, when) for what, when, _ in kernel.value("log")]
    assert log == [*((number, "cell") for number in range(5)), ("stop", "cell"), ("waits", None)]


def test_handled_right_before_the_cell_began(kernel: Kernel) -> None:
    first = kernel.start("print('first'); await asyncio.sleep(0.3)")
    kernel.printed("first")
    for number in range(3):
        kernel.tell("ours", number)
    cell = train(kernel)
    kernel.idle_after(kernel.tell("ours", "toggle"))
    assert not is_running(kernel, first) and is_running(kernel, cell)
    stop(kernel, cell)
    log = [(what, when) for what, when, _ in kernel.value("log")]
    assert log == [(0, None), (1, None), (2, None), ("toggle", "cell"), ("stop", "cell")]


def test_sent_while_the_cell_awaits(kernel: Kernel) -> None:
    cell = train(kernel, "train(until=0); await asyncio.sleep(0.3); train()")
    sent = [kernel.tell("ours", number) for number in range(5)]
    kernel.idle_after(sent[0])
    sent += [kernel.tell("ours", number) for number in range(5, 10)]
    kernel.wait_for(lambda it: it["content"].get("data") == {"heard": 9})
    assert is_running(kernel, cell)
    stop(kernel, cell)
    kernel.run("pass")
    assert [what for what, _, _ in kernel.value("log")] == [*range(10), "stop"]


# --- What is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["pass", "1 / 0", "raise KeyboardInterrupt"])
def test_all_else_is_as_without(kernel: Kernel, ending: str) -> None:
    """The same as when nothing is let in, in order; and what is queued up behind a failed cell is
    given up.
    """
    cell = train(kernel, f"train(); {ending}")
    asked = [
        kernel.start("ran('a')"),
        kernel.tell("other", 1),
        kernel.tell("nobody", 2),
        kernel.start("ran('b'); 1 / 0"),
        kernel.send("is_complete_request", {"code": "1"}),
        kernel.send("comm_open", {"comm_id": "opened", "target_name": "test", "data": {}}),
        kernel.tell("other", 3),
        kernel.send("unknown_request", {}),
        kernel.start("ran('c')"),
    ]
    stop(kernel, cell, "ok" if ending == "pass" else "error")
    for message in asked:
        kernel.idle_after(message)
    kernel.run("pass")
    replies = [
        (asked.index(reply["parent_header"]["msg_id"]), reply["content"]["status"])
        for reply in kernel.heard
        if reply["msg_type"].endswith("_reply") and reply["parent_header"]["msg_id"] in asked
    ]
    log = [what for what, when, _ in kernel.value("log") if not when]
    if ending == "pass":
        assert log == ["a", 1, "b", 3]
        assert replies == [(0, "ok"), (3, "error"), (4, "complete"), (8, "aborted")]
    else:
        assert log == [1, 3]
        assert replies == [(0, "aborted"), (3, "aborted"), (4, "complete"), (8, "aborted")]
    assert all(states(kernel, message) == ["busy", "idle"] for message in asked)


def test_invalid_messages_change_nothing(kernel: Kernel) -> None:
    cell = train(kernel)
    session = kernel.client.session
    good = session.serialize(session.msg("comm_msg", {"comm_id": "ours", "data": "forged"}))
    forged = [good[0], b"0" * len(good[1]), *good[2:]]
    socket = kernel.client.shell_channel.socket
    for frames in (forged, [b"nothing"], [good[0]], good[:3]):
        socket.send_multipart(frames)
    for content in (b"{}", b'{"comm_id": []}', b'{"comm_id": null}', b"[]", b'"ours"', b"null"):
        for kind in ("comm_msg", "comm_open", "comm_close"):
            kernel.send(kind, content)
    kernel.idle_after(kernel.tell("ours", "toggle"))
    assert is_running(kernel, cell)
    stop(kernel, cell)
    kernel.run("pass")
    assert [what for what, _, _ in kernel.value("log")] == ["toggle", "stop"]


def test_interrupt(kernel: Kernel) -> None:
    """The stop button ends the cell at any moment, and no message is lost."""
    sent: list[int] = []
    for trial in range(5):
        kernel.heard.clear()
        cell = train(kernel)
        for _ in range(20 * trial):
            number = len(sent)
            kernel.tell("ours", number)
            kernel.tell("other", number)
            sent.append(number)
        kernel.interrupt()
        reply = kernel.end_of(cell)["content"]
        assert reply["status"] == "error" and reply["ename"] == "KeyboardInterrupt"
        kernel.end_of(kernel.start("pass"))  # comes after them all, to be run or aborted
    log = kernel.value("log")
    served = [what for what, when, _ in log if when]
    waited = [what for what, when, _ in log if not when]
    assert sorted(served + waited) == sorted(sent + sent)
    assert served == sorted(served)
    stop(kernel, train(kernel))


def test_interrupt_while_a_message_is_handled(kernel: Kernel) -> None:
    kernel.run("""
        def slow(message):
            print("handling")
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                pass
            ran("handled")
        comms["ours"].on_msg(slow)
    """)
    cell = train(kernel)
    asked = kernel.tell("ours", "slow")
    assert kernel.printed("handling")["parent_header"]["msg_id"] == asked
    after = kernel.tell("ours", "slow")
    kernel.interrupt()
    assert kernel.end_of(cell)["content"]["ename"] == "KeyboardInterrupt"
    kernel.idle_after(after)
    kernel.run("pass")
    assert [what for what, _, _ in kernel.value("log")] == ["handled", "handled"]


# --- Where the cell runs --------------------------------------------------------------------------

BUTTON = "comms['other'].on_msg(lambda message: train(name='button'))"


def test_training_started_by_a_button(kernel: Kernel) -> None:
    kernel.run(BUTTON)
    click = kernel.tell("other", "click")
    kernel.printed("training")
    asked = kernel.tell("ours", "toggle")
    kernel.idle_after(asked)
    later = kernel.start("ran('later')")
    kernel.tell("ours", "stop")
    kernel.idle_after(click)
    kernel.end_of(later)
    assert states(kernel, click) == ["busy", "busy", "busy", "idle"]
    assert kernel.value("log") == [
        ("toggle", "button", MAIN),
        ("stop", "button", MAIN),
        ("later", None, MAIN),
    ]


def test_training_started_by_a_message_that_is_let_in(kernel: Kernel) -> None:
    kernel.run("""
        receive = comms["ours"]._msg_callback
        comms["ours"].on_msg(lambda message: (comms["ours"].on_msg(receive), train()))
    """)
    asked = kernel.tell("ours", "train")
    kernel.printed("training")
    kernel.idle_after(kernel.tell("ours", "toggle"))
    kernel.tell("ours", "stop")
    kernel.idle_after(asked)
    assert [what for what, _, _ in kernel.value("log")] == ["toggle", "stop"]


def test_training_started_by_a_button_on_a_subshell(kernel: Kernel, subshell: str) -> None:
    kernel.run(BUTTON)
    kernel.run("for comm in comms.values(): keep_replies_on_subshells(comm)")
    click = kernel.tell("other", "click", subshell_id=subshell)
    kernel.printed("training")
    kernel.idle_after(kernel.tell("ours", "toggle", subshell_id=subshell))
    other = kernel.tell("nobody", "waits", subshell_id=subshell)
    kernel.run("ran('free')")
    assert not kernel.about(other)
    kernel.tell("ours", "stop", subshell_id=subshell)
    kernel.idle_after(click)
    kernel.idle_after(other)
    assert kernel.value("log") == [
        ("toggle", "button", "subshell"),
        ("free", "button", MAIN),
        ("stop", "button", "subshell"),
    ]


def test_subshells_handle_what_is_sent_to_them(kernel: Kernel, subshell: str) -> None:
    """Also what is sent after the cell said something on the comm."""
    kernel.run("keep_replies_on_subshells(comms['ours'])")
    cell = train(
        kernel, "train(lambda: 'said' in told or told.add('said') or comms['ours'].send('hello'))"
    )
    kernel.wait_for(lambda it: it["content"].get("data") == "hello")
    for asked in ("toggle", "stop"):
        kernel.idle_after(kernel.tell("ours", asked, subshell_id=subshell))
    kernel.end_of(cell)
    assert kernel.value("log") == [("toggle", "cell", "subshell"), ("stop", "cell", "subshell")]


def test_both_ways_at_once(kernel: Kernel, subshell: str) -> None:
    kernel.run("keep_replies_on_subshells(comms['ours'])")
    cell = train(kernel)
    for number in range(100):
        kernel.tell("ours", number)
        kernel.tell("ours", 1000 + number, subshell_id=subshell)
    kernel.wait_for(lambda it: it["content"].get("data") == {"heard": 99})
    kernel.wait_for(lambda it: it["content"].get("data") == {"heard": 1099})
    assert is_running(kernel, cell)
    stop(kernel, cell)
    log = kernel.value("log")
    assert [what for what, _, thread in log if thread == MAIN] == [*range(100), "stop"]
    assert [what for what, _, thread in log if thread != MAIN] == [*range(1000, 1100)]


def test_another_thread_takes_nothing(kernel: Kernel) -> None:
    cell = train(
        kernel,
        """
        taken = []
        async def amid_a_loop():
            taken.append(door.serve())
        def in_thread():
            taken.append(door.serve())
            asyncio.run(amid_a_loop())
        def serve():
            thread = threading.Thread(target=in_thread)
            thread.start()
            thread.join()
            if len(taken) > 40:
                told.add("end")
        train(serve, until="end")
        """,
    )
    kernel.tell("ours", "toggle")
    kernel.end_of(cell)
    kernel.run("pass")
    assert set(kernel.value("taken")) == {0}
    assert kernel.value("log") == [("toggle", None, MAIN)]


# --- Without a kernel -----------------------------------------------------------------------------


def test_without_a_kernel() -> None:
    def never() -> set[str]:
        raise AssertionError("asked for comms")

    door = Door(never)
    assert door.serve() == 0

    async def amid_a_loop() -> int:
        return door.serve()

    assert asyncio.run(amid_a_loop()) == 0
    served: list[int] = []
    thread = threading.Thread(target=lambda: served.append(door.serve()))
    thread.start()
    thread.join()
    assert served == [0]


@pytest.mark.parametrize("comm", [None, object(), "text"])
def test_comms_that_route_nothing(comm: object) -> None:
    keep_replies_on_subshells(comm)


@pytest.mark.parametrize(
    ("of", "name"),
    [
        ("sys.modules", "ipykernel.kernelbase"),
        ("kernel.shell_handlers", "comm_info_request"),
        ("vars(kernel)", "comm_manager"),
    ],
)
def test_kernels_that_are_not_as_expected(
    kernel: Kernel, tmp_path: Path, of: str, name: str
) -> None:
    """Nothing is done, and messages wait."""
    kernel.run(f"""
        kernel = get_ipython().kernel
        file = __import__("pathlib").Path({str(tmp_path / "end")!r})
        def serve():
            assert door.serve() == 0
            if file.exists():
                told.add("end")
    """)
    cell = train(
        kernel,
        f"""
        missing = {of}.pop({name!r})
        try:
            train(serve, until="end")
        finally:
            {of}[{name!r}] = missing
        """,
    )
    kernel.tell("ours", "toggle")
    time.sleep(0.1)  # so that it is there in time to be taken wrongly
    (tmp_path / "end").touch()
    assert kernel.end_of(cell)["content"]["status"] == "ok"
    kernel.run("pass")
    assert kernel.value("log") == [("toggle", None, MAIN)]
