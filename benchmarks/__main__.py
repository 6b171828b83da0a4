"""Runs every `bench_*.py` beside this file and prints one table.

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

Written by `make bench ARGS=--write`, never by hand.
"""


def names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def table(results: Iterable[Result]) -> str:
    met = {True: "yes", False: "**no**", None: ""}
    lines = ["| name | value | target | met |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {r.name} | {r.value} | {r.target} | {met[r.met]} |" for r in results]
    return "\n".join(lines)


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

    results: list[Result] = []
    for name in options.names or names():
        print(f"running {name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.bench_{name}")
        results += [Result(*row) for row in module.run()]

    print(table(results))
    if options.write:
        PAGE.write_text(f"{INTRODUCTION}\n{machine()}\n\n{table(results)}\n", encoding="utf-8")
    return int(any(result.met is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
