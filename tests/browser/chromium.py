"""Finds an installed Chromium for the browser tests; run as a script, installs one if it must.

Playwright would download a browser build of its own. One that is installed already does as well,
and comes with the system's security updates.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

NOT_FOUND = """\
The browser tests need Chromium and found none. Do one of these:
  - install it:        apt-get install chromium   (or your system's way)
  - let playwright:    .venv/bin/playwright install chromium
  - point to one:      export KERASEDIT_CHROMIUM=/path/to/chromium
"""


def find_chromium() -> str | None:
    """The path of a Chromium: `KERASEDIT_CHROMIUM`, else one on PATH, else playwright's own."""
    if named := os.environ.get("KERASEDIT_CHROMIUM"):
        return shutil.which(named)
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return _of_playwright()


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def _install() -> None:
    """Tries the system's package where that is possible, then playwright's download."""
    commands: list[list[str]] = []
    if shutil.which("apt-get") and os.geteuid() == 0:
        commands.append(["apt-get", "update"])
        # Without a font package headless Chromium draws no text.
        commands.append(["apt-get", "install", "-y", "--no-install-recommends"])
        commands[-1] += ["chromium", "fonts-dejavu-core", "fonts-liberation"]
    commands.append([sys.executable, "-m", "playwright", "install", "chromium"])
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in commands:
        print("+", *command, flush=True)
        # A failed step is no reason to stop: the next may help, and the caller looks again.
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        if find_chromium():
            return


def main() -> int:
    if not find_chromium() and "KERASEDIT_CHROMIUM" not in os.environ:
        _install()
    path = find_chromium()
    if path is None:
        print(NOT_FOUND, file=sys.stderr)
        return 1
    print("Chromium:", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
