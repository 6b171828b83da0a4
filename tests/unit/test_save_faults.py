"""Saving, stopped at any moment: killed, interrupted, without room, beside another save.

What is killed or has no room is a process of its own: this module, run as a program.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kerasedit import EditError, Editor
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import data, same

ROOT = Path(__file__).parents[2]
BESIDE = ".new-kerasedit-"


def edited() -> Editor:
    """The same edited model in every process."""
    return Editor(models.chain()).remove("drop")


def outputs(file: Path) -> list[np.ndarray]:
    return models.out(keras.saving.load_model(file, compile=False), data(3, 4))


def in_a_process(*arguments: object, before: tuple[str, ...] = ()) -> list[Any]:
    """What this module prints when it is run as a program."""
    done = subprocess.run(
        [*before, sys.executable, "-m", __name__, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("way", ["calls", "sizes"])
def test_killed_at_every_write(tmp_path: Path, name: str, way: str) -> None:
    """Either way of killing leaves the old file or the whole new one, and the next save tidies up.

    `calls` kills in the middle of each write of Python's and before each change of the folder;
    `sizes` has the kernel kill in the middle of a write, also of HDF5's own, once a file has so many
    bytes.
    """
    folder, aside = tmp_path / "models", tmp_path / "aside"
    folder.mkdir()
    aside.mkdir()
    file = folder / name
    old = Editor(models.scramble(models.chain(), 5)).save(file).model
    assert same(outputs(file), models.out(old, data(3, 4)))
    (folder / "notes.txt").write_text("mine")

    deaths = in_a_process("kill", file, way, aside)

    at = [death["at"] for death in deaths]
    content = [death["content"] for death in deaths]
    assert len(deaths) >= 9
    if way == "calls":
        assert at.count("write") == 0 if name == "m.h5" else at.count("write") >= 9
        # In this order, each of them; what comes behind the renaming has the new file.
        steps = [step for step in dict.fromkeys(at) if step != "write"]
        assert steps == ["mkdir", "fsync", "chmod", "replace", "rmdir", "unlink"]
        renamed = at.index("replace") + 1
        assert content == ["old"] * renamed + ["new"] * (len(at) - renamed)
    else:
        assert content == ["old"] * len(deaths)
    wanted = edited()
    for whole in aside.iterdir():  # each of the new files
        assert same(outputs(whole), models.out(wanted.model, data(3, 4)))
    assert len(list(aside.iterdir())) == content.count("new")
    left = {path for death in deaths for path in death["left"]}
    assert left and all(path.startswith(BESIDE) for path in left)
    # At last one was let live.
    assert sorted(os.listdir(folder)) == sorted([name, "notes.txt"])
    assert same(outputs(file), models.out(wanted.model, data(3, 4)))


def kill_at_every_step(file: Path, way: str, aside: str) -> None:
    """Saves to a file in one fork after the other, each killed a step later, until one survives."""
    before = file.read_bytes()
    step = 0
    while True:
        file.write_bytes(before)
        known = set(os.listdir(file.parent))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            ed = edited()
            _ = ed.model
            if way == "calls":
                kill_at_call(step, file.parent, writing)
            else:
                limit_file_size(step * 2048, signal.SIG_DFL)
            ed.save(file)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            at = pipe.read()
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return
        assert os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXFSZ)
        content = "old" if file.read_bytes() == before else "new"
        if content == "new":
            shutil.copy(file, Path(aside, f"{step}{file.suffix}"))
        left = sorted(set(os.listdir(file.parent)) - known)
        print(json.dumps({"at": at, "content": content, "left": left}), flush=True)
        step += 1


def kill_at_call(number: int, folder: Path, report: int) -> None:
    """Lets this process die at the call of that number of those that write to files in a folder."""
    counted = 0

    def is_last() -> bool:
        nonlocal counted
        counted += 1
        return counted > number

    def die(name: str) -> None:
        os.write(report, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def path_of(handle: int) -> str:
        return os.readlink(f"/proc/self/fd/{handle}")

    def deadly(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(place: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
            around = "" if dir_fd is None else path_of(dir_fd)
            path = Path(around, path_of(place) if isinstance(place, int) else place)
            if folder in path.parents and is_last():
                die(name)
            if dir_fd is not None:
                kwargs["dir_fd"] = dir_fd
            return original(place, *args, **kwargs)

        return call

    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            if is_last():
                super().write(content[: len(content) // 2])
                die("write")
            return super().write(content)

    usual = builtins.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        inside = isinstance(file, (str, Path)) and folder in Path(file).parents
        if not inside or not set(mode) & set("wax+"):
            return usual(file, mode, *args, **kwargs)
        raw = Raw(file, mode.replace("b", ""))
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw, 1024)

    builtins.open = opened
    for name in ("mkdir", "fsync", "chmod", "replace", "rmdir", "unlink"):
        setattr(os, name, deadly(name))


def limit_file_size(size: int, action: signal.Handlers) -> None:
    """Files get no larger than so many bytes; `action` is for the signal of who tries."""
    signal.signal(signal.SIGXFSZ, action)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# -- no room -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_no_room_for_the_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    Editor(wide(100)).save(file)
    told = in_a_process("limit", file, 300, 3000)  # what ends near the end, and near the start
    assert told == 2 * [
        {
            "type": "ModelFileError",
            "text": f"The model cannot be saved to '{file}': File too large. What was there is unharmed.",
            "same": True,
            "folder": [name],
            "after": [name],
        }
    ]


# A disk of its own, gone with the process, where the system lets a user mount one.
DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    mount = f"mount -t tmpfs -o size=200k none '{tmp_path}'"
    tried = shutil.which("unshare") and subprocess.run([*DISK, mount], capture_output=True)
    if tried and tried.returncode == 0:
        run = (*DISK, f'{mount} && exec "$0" "$@"')
        told = in_a_process("disk", tmp_path / name, 900, before=run)
        why = "No space left on device"
    else:
        Editor(wide(100)).save(tmp_path / name)
        told = in_a_process("limit", tmp_path / name, 900)
        why = "File too large"
    assert told[0]["text"].endswith(f"{name}': {why}. What was there is unharmed.")
    assert told[0]["type"] == "ModelFileError" and told[0]["same"]
    assert told[0]["folder"] == told[0]["after"] == [name]


def wide(units: int) -> keras.Model:
    model = keras.Sequential([keras.Input((100,)), layers.Dense(units, name="a")], name="wide")
    return models.scramble(model)


def save_without_room(file: Path, sizes: list[int], limited: bool) -> None:
    """Saves models that are too large, each followed by one that is not."""
    if not limited:
        Editor(wide(100)).save(file)
    editors = [Editor(wide(units)) for units in sizes]
    if limited:
        limit_file_size(100_000, signal.SIG_IGN)
    for ed in editors:
        before = file.read_bytes()
        told: dict[str, Any] = {}
        try:
            ed.save(file)
        except EditError as problem:
            told = {"type": type(problem).__name__, "text": str(problem)}
        told["same"] = file.read_bytes() == before
        told["folder"] = os.listdir(file.parent)
        Editor(wide(50)).save(file)
        told["after"] = os.listdir(file.parent)
        print(json.dumps(told), flush=True)


# -- beside other saves --------------------------------------------------------------------------


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.keras"
    ed = edited().save(file)
    before = file.read_bytes()
    ed.remove("b")

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                ed.save(file)
        assert file.read_bytes() == before
        assert os.listdir(tmp_path) == ["m.keras"]
    assert same(outputs(ed.save(file) and file), models.out(ed.model, data(3, 4)))


def test_what_a_living_save_writes_is_left_alone(tmp_path: Path) -> None:
    folder, mine = tmp_path / f"{BESIDE}living", tmp_path / ".new-mine"
    for path in (folder, mine):
        path.mkdir()
        (path / "m.keras").write_text("half")
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    edited().save(tmp_path / "m.keras")
    assert (folder / "m.keras").read_text() == "half"
    os.close(handle)  # as the end of a process does
    edited().save(tmp_path / "m.keras")
    assert sorted(os.listdir(tmp_path)) == [".new-mine", "m.keras"]


def test_two_saves_at_once_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    editors = [edited().remove("b"), edited().remove("a", on_mismatch="reinit")]
    for ed in editors:
        ed.save(file)
    problems: list[Exception] = []

    def save(ed: Editor) -> None:
        try:
            for _ in range(5):
                ed.save(file)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=save, args=(ed,)) for ed in editors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert os.listdir(tmp_path) == ["m.keras"]
    assert any(same(outputs(file), models.out(ed.model, data(3, 4))) for ed in editors)


# -- paths ---------------------------------------------------------------------------------------


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link, far = tmp_path / "m.keras", tmp_path / "far" / "real.keras"
    link.symlink_to(far)
    for _ in range(2):  # where nothing is yet, and where something is
        edited().save(link)
        assert link.is_symlink() and far.is_file()
        assert os.listdir(far.parent) == ["real.keras"]
        assert sorted(os.listdir(tmp_path)) == ["far", "m.keras"]
    assert same(outputs(far), models.out(edited().model, data(3, 4)))


@pytest.mark.parametrize("target", ["gone/m.keras", "m.keras"], ids=["nowhere", "itself"])
def test_a_link_that_leads_nowhere(tmp_path: Path, target: str) -> None:
    link = tmp_path / "m.keras"
    link.symlink_to(tmp_path / target)
    with pytest.raises(ModelFileError, match=r"m\.keras"):
        edited().save(link)
    assert os.listdir(tmp_path) == ["m.keras"] and link.is_symlink()


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "m.keras"
    folder.mkdir()
    with pytest.raises(ModelFileError, match="is a folder"):
        edited().save(folder)
    assert os.listdir(tmp_path) == ["m.keras"] and os.listdir(folder) == []


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "m.keras"
    before = edited().save(file) and file.read_bytes()

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)  # rights do not bind a superuser
    with pytest.raises(ModelFileError, match="Permission denied"):
        edited().save(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("length", [240, 249])
def test_a_name_as_long_as_a_name_can_be(tmp_path: Path, length: int) -> None:
    file = tmp_path / ("n" * length + ".keras")
    edited().save(file)
    assert os.listdir(tmp_path) == [file.name]
    with pytest.raises(ModelFileError, match="File name too long"):
        edited().save(tmp_path / ("n" * 250 + ".keras"))
    assert os.listdir(tmp_path) == [file.name]


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    if what == "kill":
        kill_at_every_step(Path(path), *rest)
    else:
        save_without_room(Path(path), [int(size) for size in rest], limited=what == "limit")
