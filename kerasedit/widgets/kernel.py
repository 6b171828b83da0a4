"""Messages that reach the kernel while it runs a cell.

All that is known here of ipykernel's inside, of 6.29 to 7.4. Where anything is not as expected
nothing is done, and messages wait for the end of the cell, as they do without all this.

A kernel takes in its messages one by one, on an event loop in the thread that also runs the cells.
During a cell they wait in a socket: with ipykernel 6 in that of the shell channel, from 7.0 on in
one from the thread of that channel to the thread of the cell. There it may have more such threads,
"subshells", and a front end may ask that the messages of widgets go to one that runs no cells.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

# What a page asks that is loaded during a cell, to have its widgets back.
_QUESTIONS = ("kernel_info_request", "comm_info_request")
_CONTROL = "jupyter.widget.control"

_COMM_MESSAGES = ("comm_open", "comm_msg", "comm_close")


class Door:
    """Lets in the messages of some comms, such as those of widgets, while a cell runs.

    Without a kernel, or with one that is not as expected, it does nothing.

    Args:
        comms: gives the ids of these comms.
    """

    def __init__(self, comms: Callable[[], Collection[str]]) -> None:
        self._comms = comms
        self._shell: _Shell | None = None
        self._loop_has_run = True

    def serve(self) -> int:
        """Handles the messages that came for these comms; all others run after the cell, in order.

        To be called time and again by what the cell runs, on its thread; takes microseconds when
        nothing came. What a page asks that is loaded during the cell is answered too. An interrupt
        (the stop button) is raised when all that came is handled.

        Returns:
            How many messages were handled.
        """
        shell = self._here()
        if shell is None:
            return 0
        comms = self._comms()
        handled = 0
        with _interrupts_held():
            if self._loop_has_run:
                for message in shell.lined_up(comms):
                    shell.skip(message)
                    shell.handle(message)
                    handled += 1
                self._loop_has_run = False
                shell.loop.call_soon(setattr, self, "_loop_has_run", True)
            while (frames := shell.take()) is not None:
                message = shell.read(frames, comms)
                if message is None:
                    shell.hand_back(frames)
                else:
                    shell.handle(message)
                    handled += 1
            if handled:
                shell.tell_busy()
        return handled

    def _here(self) -> _Shell | None:
        """The shell whose cell runs on this thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        if self._shell is None or self._shell.loop is not loop:
            self._shell = _find_shell(loop)
            self._loop_has_run = True
        return self._shell


@dataclass(frozen=True)
class _Message:
    senders: list[bytes]
    whole: dict[str, Any]

    @property
    def id(self) -> str:
        return self.whole["header"]["msg_id"]


@dataclass(frozen=True)
class _Shell:
    """What runs the cells of one thread."""

    kernel: Any
    loop: asyncio.AbstractEventLoop
    stream: Any
    """Where messages come in."""
    replies: Any
    """Where answers go, a stream or a socket."""

    def take(self) -> list[Any] | None:
        """The frames of the next message.

        Once there is one, all must be taken: the loop hears only of those that come later.
        """
        import zmq

        try:
            return self.stream.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return None

    def hand_back(self, frames: list[Any]) -> None:
        """The kernel lines it up behind the cell, as if it had taken it itself."""
        self.stream._run_callback(self.stream._recv_callback, frames)

    def lined_up(self, comms: Collection[str]) -> list[_Message]:
        """What the loop took in already before the cell began, or while it awaited something."""
        found: dict[str, _Message] = {}
        try:
            if self.kernel.session.auth is None:
                return []
            skipped = getattr(self.kernel.should_handle, "handled", ())
            for frames in self._taken_in():
                # By its signature a message that the kernel has handled is refused.
                message = self.read(frames, comms)
                if message and message.id not in skipped:
                    found[message.id] = message
            return sorted(found.values(), key=lambda message: message.whole["header"]["date"])
        except Exception:  # not as expected
            return []

    def _taken_in(self) -> Iterator[Any]:
        # With ipykernel 6 they are in a queue; after that there is a task for each.
        for _, _, arguments in getattr(getattr(self.kernel, "msg_queue", None), "_queue", ()):
            yield from arguments
        for task in asyncio.all_tasks(self.loop):
            coroutine: Any = task.get_coro()
            held = inspect.getcoroutinelocals(coroutine)
            yield held.get("msg")
            yield from held.get("args", ())

    def skip(self, message: _Message) -> None:
        """The kernel will not handle this when it comes to it."""
        if not isinstance(self.kernel.should_handle, _Skipping):
            self.kernel.should_handle = _Skipping(self.kernel.should_handle)
        self.kernel.should_handle.handled.add(message.id)

    def read(self, frames: Any, comms: Collection[str]) -> _Message | None:
        """A message that is let in; nothing if it has to wait for the end of the cell."""
        session = self.kernel.session
        try:
            senders, parts = session.feed_identities(frames, copy=False)
            # With its content a message is accepted once only, and the kernel may yet read this.
            whole = session.deserialize(parts, content=False, copy=False)
            whole["content"] = session.unpack(whole["content"])
            if self._lets_in(whole["header"]["msg_type"], whole["content"], comms):
                return _Message(senders, whole)
        except Exception:  # the kernel will say what is wrong with it
            pass
        return None

    def _lets_in(self, kind: str, content: dict[str, Any], comms: Collection[str]) -> bool:
        if kind == "comm_open":
            return content["target_name"] == _CONTROL
        if kind in ("comm_msg", "comm_close"):
            return content["comm_id"] in comms or self._target(content["comm_id"]) == _CONTROL
        return kind in _QUESTIONS

    def _target(self, comm_id: str) -> str | None:
        return getattr(self.kernel.comm_manager.comms.get(comm_id), "target_name", None)

    def handle(self, message: _Message) -> None:
        """Handles a message amid the cell, whose output stays its own."""
        import zmq

        kernel = self.kernel
        cell, cell_senders = kernel.get_parent("shell"), kernel._parent_ident["shell"]
        kernel.set_parent(message.senders, message.whole, channel="shell")
        kernel._publish_status("busy", "shell")
        try:
            self._act(message)
        except BaseException:  # interrupts are held, and nothing else in it may end the cell
            kernel.log.error("Exception in message handler:", exc_info=True)
        kernel._publish_status("idle", "shell")
        if self.replies is self.stream:
            self.stream.flush(zmq.POLLOUT)
        kernel.set_parent(cell_senders, cell, channel="shell")

    def _act(self, message: _Message) -> None:
        kind, content = message.whole["header"]["msg_type"], message.whole["content"]
        if kind == "comm_msg":
            comm = self.kernel.comm_manager.comms.get(content["comm_id"])
            # Not by way of the kernel, for which a cell ends here: it shows and closes open plots.
            if callback := getattr(comm, "_msg_callback", None):
                callback(message.whole)
            return
        outcome = self.kernel.shell_handlers[kind](self.replies, message.senders, message.whole)
        if inspect.iscoroutine(outcome):
            _finish(outcome)

    def tell_busy(self) -> None:
        """The cell still runs, also for those who heard last of an idle kernel."""
        self.kernel._publish_status("busy", "shell")


class _Skipping:
    """A kernel's `should_handle` that says no to what was handled already."""

    def __init__(self, should_handle: Callable[..., Any]) -> None:
        self.handled: set[str] = set()
        self._should_handle = should_handle

    def __call__(self, stream: Any, message: dict[str, Any], senders: list[bytes]) -> Any:
        if message["header"]["msg_id"] in self.handled:
            self.handled.remove(message["header"]["msg_id"])
            return False
        return self._should_handle(stream, message, senders)


def _find_shell(loop: asyncio.AbstractEventLoop) -> _Shell | None:
    """The shell whose messages come in on the event loop of this thread."""
    ipykernel = sys.modules.get("ipykernel.kernelbase")
    try:
        if ipykernel is None or not ipykernel.Kernel.initialized():
            return None
        kernel = ipykernel.Kernel.instance()
        channel = getattr(kernel, "shell_channel_thread", None)
        if channel is None:
            stream = replies = kernel.shell_stream
        else:
            shell = channel.manager.subshell_id_from_thread_id(threading.get_ident())
            stream = channel.manager.get_shell_channel_to_subshell_pair(shell).to_stream
            replies = channel.manager.get_subshell_to_shell_channel_socket(shell)
        needed = (
            *(stream.socket.recv_multipart, stream.flush),
            *(stream._run_callback, stream._recv_callback),
            *(kernel.set_parent, kernel.get_parent, kernel._publish_status, kernel.log.error),
            kernel.should_handle,
            *(kernel.session.feed_identities, kernel.session.deserialize, kernel.session.unpack),
            *(kernel.shell_handlers[kind] for kind in (*_QUESTIONS, *_COMM_MESSAGES)),
            kernel.comm_manager.comms.get,
        )
        as_expected = (
            stream.io_loop.asyncio_loop is loop
            and all(map(callable, needed))
            and "shell" in kernel._parent_ident
        )
    except Exception:  # another kernel, or a thread that runs no cells
        return None
    return _Shell(kernel, loop, stream, replies) if as_expected else None


def _finish(handler: Coroutine[Any, Any, Any]) -> None:
    """Runs a handler that never waits, though it could."""
    try:
        handler.send(None)
    except StopIteration:
        return
    handler.close()
    raise RuntimeError("The handler did not finish at once.")


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """An interrupt acts at the end: amid it a message would be lost."""
    act = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(act):
        yield
        return
    held: list[Any] = []
    signal.signal(signal.SIGINT, lambda *signal_and_frame: held.append(signal_and_frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, act)
        if held:
            act(*held[0])


def keep_replies_on_subshells(comm: Any) -> None:
    """The messages of a comm go to the subshell that the front end names.

    From 7.4 on ipykernel sends them to the shell that last sent on the comm instead: during a cell
    that is most often the busy one.
    """
    if callable(getattr(comm, "_reply_subshell_for", None)):
        comm._reply_subshell_for = lambda _data, named: named
