"""A real kernel, of any version of ipykernel, and what its front end hears of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

INSTALLED = "installed"
_CACHE = Path(sys.prefix) / "kernels"
WAIT = 30.0

Message = dict[str, Any]


def install(version: str) -> list[Path]:
    """The folders to put before the installed packages, so that this version is used."""
    if version == INSTALLED:
        return []
    folder = _CACHE / version
    if not (folder / "ipykernel").is_dir():
        # Only itself: everything it needs is installed with the present version.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), f"ipykernel=={version}"], check=True)
    return [folder]


class Kernel:
    """A running kernel. What it says is kept in `heard`, from all channels, as it comes."""

    def __init__(self, client: BlockingKernelClient, manager: KernelManager) -> None:
        self.client = client
        self.manager = manager
        self.heard: list[Message] = []

    # Asking

    def start(self, code: str) -> str:
        """Starts a cell; the id of the message."""
        return self.client.execute(code)

    def run(self, code: str) -> None:
        """Runs a cell to its end."""
        reply = self.end_of(self.start(code))["content"]
        assert reply["status"] == "ok", reply

    def value(self, expression: str) -> Any:
        """A value of the kernel's, as literals have it."""
        asked = self.client.execute("", user_expressions={"it": f"repr({expression})"}, silent=True)
        answer = self.end_of(asked)["content"]["user_expressions"]["it"]
        assert answer["status"] == "ok", answer
        return ast.literal_eval(ast.literal_eval(answer["data"]["text/plain"]))

    def send(self, kind: str, content: Message | bytes, **header: Any) -> str:
        """Sends a message on the shell channel, as a front end does; its id."""
        message = self.client.session.msg(kind, content)
        message["header"].update(header)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def tell(self, comm: str, data: Any, **header: Any) -> str:
        """Sends a message to a comm; its id."""
        return self.send("comm_msg", {"comm_id": comm, "data": data}, **header)

    def new_subshell(self) -> str:
        """Makes a thread that handles messages during cells; its id."""
        asked = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(asked)
        return self.reply_to(asked["header"]["msg_id"])["content"]["subshell_id"]

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    # Hearing

    def wait_for(self, what: Callable[[Message], bool]) -> Message:
        """The first message of that sort, heard already or not."""
        end = time.monotonic() + WAIT
        seen = 0
        while True:
            for message in self.heard[seen:]:
                if what(message):
                    return message
            seen = len(self.heard)
            assert time.monotonic() < end, f"not heard; heard {[brief(m) for m in self.heard]}"
            self._listen()

    def _listen(self) -> None:
        channels = (
            self.client.iopub_channel,
            self.client.shell_channel,
            self.client.control_channel,
        )
        for channel in channels:
            try:
                while True:
                    self.heard.append(channel.get_msg(timeout=0))
            except Empty:
                pass
        time.sleep(0.002)

    def about(self, asked: str) -> list[Message]:
        """What was heard in answer to a message."""
        return [
            message for message in self.heard if message["parent_header"].get("msg_id") == asked
        ]

    def reply_to(self, asked: str) -> Message:
        return self.wait_for(
            lambda it: (
                it["parent_header"].get("msg_id") == asked and it["msg_type"].endswith("_reply")
            )
        )

    def idle_after(self, asked: str) -> Message:
        return self.wait_for(
            lambda it: (
                it["parent_header"].get("msg_id") == asked
                and it["content"].get("execution_state") == "idle"
            )
        )

    def end_of(self, asked: str) -> Message:
        """The reply to a message that is handled wholly."""
        self.idle_after(asked)
        return self.reply_to(asked)

    def printed(self, text: str) -> Message:
        return self.wait_for(
            lambda it: it["msg_type"] == "stream" and text in it["content"]["text"]
        )


def brief(message: Message) -> tuple[Any, ...]:
    """What a failed test shows of a message."""
    content = message["content"]
    told = (content.get(key) for key in ("execution_state", "text", "evalue"))
    return message["msg_type"], next(filter(None, told), None)


@contextmanager
def running_kernel(version: str = INSTALLED) -> Iterator[Kernel]:
    """A kernel of this version of ipykernel."""
    folders = [*install(version), Path(__file__).parents[2]]
    path = os.pathsep.join(map(str, folders))
    manager = KernelManager()
    manager.start_kernel(env=os.environ | {"PYTHONPATH": path})
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=WAIT)
        yield Kernel(client, manager)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
