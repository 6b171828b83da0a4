"""Runs every `bench_*.py` beside this file, or those named, and prints a table of each.

    python -m benchmarks [NAME ...] [--write]

The exit status is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import Result

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

Written by `make bench ARGS=--write`, never by hand. Each part is of one run, on a machine as named.
"""


def names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def table(results: Iterable[Result]) -> str:
    met = {True: "yes", False: "**no**", None: ""}
    lines = ["| name | value | target | met |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {r.name} | {r.value} | {r.target} | {met[r.met]} |" for r in results]
    return "\n".join(lines)


def sections(page: str) -> dict[str, str]:
    """The parts of the page by the names of their benchmarks."""
    parts = page.split("\n## ")[1:]
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


def machine() -> str:
    import keras

    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"Keras {keras.__version__} on {keras.backend.backend()}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(names())}")
    parser.add_argument("--write", action="store_true", help="also write docs/benchmarks.md")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names())):
        parser.error(f"no such benchmark: {', '.join(unknown)}")

    found = sections(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    missed = False
    for name in options.names or names():
        print(f"running {name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.bench_{name}")
        results = [Result(*row) for row in module.run()]
        missed |= any(result.met is False for result in results)
        found[name] = f"{machine()}\n\n{table(results)}"
        print(f"## {name}\n\n{found[name]}\n", flush=True)
        if options.write:
            parts = [
                f"## {part}\n\n{found[part]}\n" for part in sorted(found.keys() & set(names()))
            ]
            PAGE.write_text("\n".join([INTRODUCTION, *parts]), encoding="utf-8")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
