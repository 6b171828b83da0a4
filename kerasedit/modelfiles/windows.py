"""A part of a file, read as if it were a file: what an archive holds unpacked is read where it is."""

from __future__ import annotations

import io
import os
from typing import BinaryIO


class Window(io.RawIOBase):
    """The bytes of an open file from `start`, `size` of them. What is not read is not fetched."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self.file, self.start, self.size = file, start, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # pyright: ignore
        wanted = min(len(buffer), max(0, self.size - self._at))
        self.file.seek(self.start + self._at)
        count = self.file.readinto(memoryview(buffer)[:wanted])  # pyright: ignore
        self._at += count
        return count
