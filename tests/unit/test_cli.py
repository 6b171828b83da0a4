"""The command line: what it prints, and the statuses that scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from keras import layers

from kerasedit import Editor, __version__, cli


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been started."""
    commands: list[list[str]] = []

    def call(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(cli.subprocess, "call", call)
    return commands


class TestDemo:
    def test_opens_a_copy_of_the_quick_start(
        self, in_folder: Path, launched: list[list[str]]
    ) -> None:
        assert cli.main(["demo"]) == 0

        copy = in_folder / cli.COPY
        assert len(nbformat.read(copy, as_version=4).cells) > 10
        [command] = launched
        assert command[:3] == [sys.executable, "-m", "jupyterlab"]
        assert command[3].endswith(f"/lab/tree/{cli.COPY}")

    def test_never_overwrites_a_copy(
        self, in_folder: Path, launched: list[list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (in_folder / cli.COPY).write_text("mine")

        assert cli.main(["demo"]) == 0

        assert (in_folder / cli.COPY).read_text() == "mine"
        assert "here already" in capsys.readouterr().out
        assert len(launched) == 1

    def test_passes_other_arguments_to_jupyterlab(
        self, in_folder: Path, launched: list[list[str]]
    ) -> None:
        cli.main(["demo", "--no-browser", "--port=9999"])

        assert launched[0][-2:] == ["--no-browser", "--port=9999"]

    def test_says_how_to_install_jupyterlab(
        self,
        in_folder: Path,
        launched: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(cli, "find_spec", lambda name: None)

        assert cli.main(["demo"]) == 1

        assert 'pip install "kerasedit[lab]"' in capsys.readouterr().err
        assert launched == []
        assert list(in_folder.iterdir()) == []

    def test_fails_when_jupyterlab_does(
        self,
        in_folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(cli.subprocess, "call", lambda command: 3)

        assert cli.main(["demo"]) == 1
        assert "exit status 3" in capsys.readouterr().err


class TestSummary:
    def test_lists_the_layers_of_a_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "model.keras"
        keras.Sequential([keras.Input((4,)), layers.Dense(3, name="hidden")]).save(path)

        assert cli.main(["summary", str(path)]) == 0

        output = capsys.readouterr().out
        assert output.count("hidden") == 1

    def test_a_missing_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["summary", str(tmp_path / "no.keras")]) == 1
        assert "no.keras" in capsys.readouterr().err

    @pytest.mark.parametrize("suffix", [".keras", ".h5", ".txt"])
    def test_a_file_that_is_no_model(
        self, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"this is no model")

        assert cli.main(["summary", str(path)]) == 1

        captured = capsys.readouterr()
        assert captured.err.startswith("kerasedit: ")
        assert path.name in captured.err
        assert captured.out == ""


class TestDiff:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[str, str]:
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="hidden")])
        model.save(tmp_path / "a.keras")
        model.get_layer("hidden").bias.assign([0.0, 0.0, 2.0])
        model.save(tmp_path / "b.h5")
        return str(tmp_path / "a.keras"), str(tmp_path / "b.h5")

    def test_tells_what_differs(
        self, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["diff", *files]) == 0

        output = capsys.readouterr().out
        assert output.startswith(f"{files[0]} -> {files[1]}\n")
        assert "~ hidden/bias" in output

    def test_nothing_differs(
        self, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["diff", files[0], files[0]]) == 0
        assert capsys.readouterr().out == "No differences.\n"

    def test_json(self, files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["diff", "--json", *files]) == 0

        told = json.loads(capsys.readouterr().out)
        assert told["version"] == 1
        [weight] = told["weights"]
        assert (weight["path"], weight["max_abs"]) == ("hidden/bias", 2.0)

    def test_all_of_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = keras.Sequential([keras.Input((2,)), *[layers.Dense(2) for _ in range(30)]])
        for name in ("a.keras", "b.keras"):
            model.save(tmp_path / name)
            model.set_weights([weight + 1 for weight in model.get_weights()])

        assert cli.main(["diff", str(tmp_path / "a.keras"), str(tmp_path / "b.keras")]) == 0

        assert capsys.readouterr().out.count("~ dense") == 60

    def test_a_file_that_is_missing(
        self, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["diff", files[0], "no.keras"]) == 1

        captured = capsys.readouterr()
        assert captured.err.startswith("kerasedit: ") and "no.keras" in captured.err
        assert captured.out == ""


class TestApply:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        """A recipe, a model that it was made on, and a place for the result."""
        model = keras.Sequential(
            [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")]
        )
        model.save(tmp_path / "in.keras")
        editor = Editor(model).freeze("a").append(layers.Dense(5, name="new"))
        editor.recipe().save(tmp_path / "edits.json")
        editor.save(tmp_path / "expected.keras")
        return [str(tmp_path / name) for name in ("edits.json", "in.keras", "out.keras")]

    def test_makes_the_edits_and_saves(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["apply", *files]) == 0

        output = capsys.readouterr().out
        assert "1  done     freeze 'a'\n" in output and output.endswith("2 done\n")
        made, expected = (
            keras.saving.load_model(Path(files[2]).with_name(name))
            for name in ("out.keras", "expected.keras")
        )
        x = np.ones((3, 4), "float32")
        assert np.array_equal(made.predict(x, verbose=0), expected.predict(x, verbose=0))
        assert [layer.trainable for layer in made.layers] == [False, True, True]

    def test_an_edit_that_cannot_be_made(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        keras.Sequential([keras.Input((4,)), layers.Dense(3, name="z")]).save(files[1])
        Path(files[2]).write_text("mine")

        assert cli.main(["apply", *files]) == 1

        captured = capsys.readouterr()
        assert captured.err.startswith("kerasedit: Edit 1 of 2 (freeze 'a') cannot be made")
        assert "1  skipped  freeze 'a'" in captured.out
        assert Path(files[2]).read_text() == "mine"

        assert cli.main(["apply", *files, "--on-error", "skip"]) == 0

        assert "1 done, 1 skipped" in capsys.readouterr().out
        assert [layer.name for layer in keras.saving.load_model(files[2]).layers] == ["z", "new"]

    @pytest.mark.parametrize("broken", [0, 1])
    def test_a_file_that_cannot_be_read(
        self, broken: int, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path(files[broken]).write_text("this is nothing")

        assert cli.main(["apply", *files]) == 1

        captured = capsys.readouterr()
        assert captured.err.startswith("kerasedit: ") and Path(files[broken]).name in captured.err
        assert captured.out == ""
        assert not Path(files[2]).exists()

    def test_a_model_that_holds_code(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        inputs = keras.Input((4,))
        doubled = layers.Lambda(lambda x: x * 2)(layers.Dense(4, name="a")(inputs))
        keras.Model(inputs, doubled).save(files[1])

        assert cli.main(["apply", *files]) == 1
        assert "code" in capsys.readouterr().err
        assert cli.main(["apply", *files, "--unsafe"]) == 0

    def test_an_old_file_whose_compiled_state_keras_cannot_read(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = keras.saving.load_model(files[1])
        model.compile("sgd", "mse")
        files[1] = files[1].replace(".keras", ".h5")
        model.save(files[1])

        assert cli.main(["summary", files[1]]) == 0
        assert cli.main(["apply", *files]) == 1
        assert "compile=False" in capsys.readouterr().err
        assert cli.main(["apply", *files, "--no-compile"]) == 0
        assert not keras.saving.load_model(files[2]).compiled

    def test_files_in_the_wrong_order(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        recipe, source, result = files
        assert cli.main(["apply", source, recipe, result]) == 1
        assert "A recipe is a JSON file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["summary"],
        ["summary", "a", "--wrong"],
        ["diff", "a"],
        ["apply", "a", "b"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)

    assert exit_.value.code == 2
    assert "usage: kerasedit" in capsys.readouterr().err


def test_help_needs_no_keras() -> None:
    """Starting TensorFlow takes seconds; a command that does not need it does not wait for it."""
    code = (
        "import sys, kerasedit.cli\n"
        "try: kerasedit.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('keras' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "kerasedit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kerasedit", __version__]
