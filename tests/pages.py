"""Pages of the documentation, with what they show run and compared."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[1] / "docs"


def check_page(name: str) -> int:
    """Runs the Python of a page from top to bottom; returns how many outputs it shows, all true."""
    text = (PAGES / name).read_text(encoding="utf-8")
    space: dict[str, Any] = {}
    printed, checked = "", 0
    for language, block in re.findall(r"```(python|text)\n(.*?)```", text, re.S):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(block, space)
            printed = output.getvalue()
        else:
            assert printed == block
            checked += 1
    return checked
