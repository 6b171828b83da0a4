"""Kernels for tests, started once for each version of ipykernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .kernel import INSTALLED, Kernel, running_kernel

# The oldest taken, the last of 6, the first of 7, and 7 before and after 7.4 sent the messages of a
# comm to where it was last used.
OTHERS = ("6.29.5", "6.31.0", "7.0.1", "7.3.0", "7.4.0")

SET_UP = """
import asyncio, sys, threading, time
from comm import create_comm
from kerasedit.widgets.kernel import Door, keep_replies_on_subshells
"""

START = """
log = []  # what ran: in a cell or not, and on which thread
told = set()
cell = None
comms = {}

def ran(what):
    log.append((what, cell, threading.current_thread().name.split("-")[0]))

def make_comm(name):
    def receive(message):
        data = message["content"]["data"]
        ran(data)
        told.add(data)
        comms[name].send({"heard": data})
    comms[name] = create_comm(target_name="test", comm_id=name)
    comms[name].on_msg(receive)

make_comm("ours")
make_comm("other")
door = Door(lambda: {"ours"})

def train(serve=door.serve, until="stop", name="cell"):
    global cell
    end = time.monotonic() + 50
    cell = name
    print("training")
    try:
        while until not in told:
            serve()
            time.sleep(0.002)
            assert time.monotonic() < end, log
    finally:
        cell = None
"""


@pytest.fixture(
    scope="module",
    params=[INSTALLED, *(pytest.param(version, marks=pytest.mark.slow) for version in OTHERS)],
)
def shared_kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with running_kernel(request.param) as kernel:
        kernel.run(SET_UP)
        yield kernel


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Kernel:
    """A kernel with a comm that is let in during cells, "ours", and one that is not, "other"."""
    shared_kernel.heard.clear()
    shared_kernel.run(START)
    return shared_kernel


@pytest.fixture
def subshell(kernel: Kernel) -> str:
    """A thread of the kernel that handles messages during cells; its id."""
    if int(kernel.value("__import__('ipykernel').version_info[0]")) < 7:
        pytest.skip("ipykernel 6 has no subshells")
    return kernel.new_subshell()
