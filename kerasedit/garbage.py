"""Python's search for garbage, put off while many objects are made at once."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """No search for garbage inside: a model in the making is many objects and no garbage.

    Looking for some takes a fifth of the time that it takes to read a model from a file, and as much
    as building one where the notebook holds others.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
