"""The `kerasedit` command. It holds no rules of its own: everything it does is one call away in
Python.

Exit status: 0, 1 (something failed, the reason is on stderr) or 2 (usage).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from . import __version__
from .names import visible

COPY = "kerasedit-quickstart.ipynb"


class Failure(Exception):
    """Ends the command with exit status 1 and this text on stderr."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not _demo:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        options.run(options)
        sys.stdout.flush()
    except Failure as failure:
        print(f"kerasedit: {visible(str(failure))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kerasedit", description="Edit trained Keras models.")
    parser.add_argument("--version", action="version", version=f"kerasedit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    summary = commands.add_parser("summary", help="print the layers of a saved model")
    summary.add_argument("file", metavar="FILE", help="a .keras or .h5 file")
    summary.set_defaults(run=_summary)

    diff = commands.add_parser("diff", help="tell what differs between two saved models")
    diff.add_argument("a", metavar="A", help="a .keras or .h5 file")
    diff.add_argument("b", metavar="B", help="another one")
    diff.add_argument("--json", action="store_true", help="print JSON")
    diff.set_defaults(run=_diff)

    apply = commands.add_parser(
        "apply",
        help="make the edits of a recipe on a saved model",
        description="Makes the edits of RECIPE on the model IN, says what became of each, and saves "
        "the result to OUT. If one cannot be made, OUT is left as it is.",
    )
    apply.add_argument("recipe", metavar="RECIPE", help="a file that recipe.save() wrote")
    apply.add_argument("source", metavar="IN", help="a .keras or .h5 file")
    apply.add_argument("result", metavar="OUT", help="a .keras or .h5 file to write")
    apply.add_argument(
        "--on-error",
        choices=["stop", "skip"],
        default="stop",
        help="what to do with an edit that cannot be made (default: stop)",
    )
    apply.add_argument(
        "--unsafe",
        action="store_true",
        help="run code that IN holds (a Lambda layer); trust it first",
    )
    apply.add_argument(
        "--no-compile",
        action="store_true",
        help="leave out how IN was compiled, such as a loss that Keras cannot read from an .h5 file",
    )
    apply.set_defaults(run=_apply)

    demo = commands.add_parser(
        "demo",
        help="open the quick start in JupyterLab",
        description=f"Copies the quick start to {COPY} in the current folder, unless it is there "
        "already, and opens it in JupyterLab. Other arguments (--no-browser, --port=...) are "
        "JupyterLab's.",
    )
    demo.set_defaults(run=_demo)
    return parser


def _quiet() -> None:
    """TensorFlow's notes on the machine are no part of the answer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def _summary(options: argparse.Namespace) -> None:
    _quiet()
    from kerasedit import EditError, Editor

    try:
        Editor(options.file, compile=False).summary()  # prints it
    except EditError as error:
        raise Failure(error) from error


def _diff(options: argparse.Namespace) -> None:
    _quiet()
    from kerasedit import EditError, diff

    try:
        found = diff(options.a, options.b)
    except EditError as error:
        raise Failure(error) from error
    print(json.dumps(found.to_json(), indent=2) if options.json else found.text(limit=None))


def _apply(options: argparse.Namespace) -> None:
    _quiet()
    from kerasedit import EditError, Recipe
    from kerasedit.replay import ReplayError

    try:
        editor = Recipe.load(options.recipe).apply(
            options.source,
            on_error=options.on_error,
            safe_mode=not options.unsafe,
            compile=not options.no_compile,
        )
        print(editor.replay)
        editor.save(options.result)
    except ReplayError as error:
        print(error.replay)
        raise Failure(error) from error
    except EditError as error:
        raise Failure(error) from error


def _demo(options: argparse.Namespace) -> None:
    missing = [name for name in ("jupyterlab", "sklearn") if find_spec(name) is None]
    if missing:
        raise Failure(
            f"the quick start needs {' and '.join(missing)}, not installed here. "
            'Install them with: pip install "kerasedit[lab]"'
        )
    copy = Path(COPY)
    if copy.exists():
        print(f"Opening {copy}, which is here already; delete it to get a fresh one.")
    else:
        try:
            shutil.copyfile(quickstart(), copy)
        except OSError as error:
            raise Failure(f"cannot write {copy.absolute()}: {error}") from error
    try:
        # As the server's start page, so that the address it prints leads there too.
        start = f"--LabApp.default_url=/lab/tree/{copy}"
        # JupyterLab refuses root unless told otherwise; in a container there is often nobody else.
        # It listens on this machine only, and asks for a token.
        root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [sys.executable, "-m", "jupyterlab", start, *root, *options.rest]
        status = subprocess.call(command)
    except KeyboardInterrupt:
        return
    if status:
        raise Failure(f"JupyterLab ended with exit status {status}")


def quickstart() -> Path:
    """The quick start: in the installed package; in a checkout (an editable install) beside it."""
    package = Path(__file__).parent
    installed = package / "notebooks" / "quickstart.ipynb"
    return installed if installed.is_file() else package.parent / "notebooks" / "quickstart.ipynb"


if __name__ == "__main__":
    sys.exit(main())
