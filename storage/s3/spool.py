"""The bytes of one upload until the store has them: hashed as they come, kept in a file without a name, cut into parts.

What was sent leaves its place in the file to a later part, so that the file has at most the parts that are under way. Nothing
is flushed: what lives for less than half a minute is never written to a disk.
"""

import hashlib
import io
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import BinaryIO

# urllib3 asks for 16 KiB at a time and sends what it gets: 500 reads and sends for a part of 8 MiB.
_SEND_BYTES = 256 * 1024


class Part(io.RawIOBase):
    """A part as boto3 takes it: a file that can be read more than once. `number` counts from 1, as S3 does."""

    def __init__(self, file: BinaryIO, place: int, number: int, max_bytes: int) -> None:
        super().__init__()
        self._descriptor = file.fileno()
        self._start = place * max_bytes
        self._position = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.place = place
        self.number = number
        self.size = 0
        self.left = max_bytes

    def append(self, data: memoryview) -> None:
        """Take bytes, of which it must have `left` so many."""
        self._md5.update(data)
        offset = self._start + self.size
        self.size += len(data)
        self.left -= len(data)
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            offset, data = offset + written, data[written:]

    @property
    def md5(self) -> bytes:
        """Of the bytes it has."""
        return self._md5.digest()

    def read(self, size: int = -1) -> bytes:
        """The next bytes: more than urllib3 asks for, which sends whatever it gets."""
        wanted = self.size - self._position
        if size >= 0:
            wanted = min(wanted, max(size, _SEND_BYTES))
        data = os.pread(self._descriptor, wanted, self._start + self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """The place where it is."""
        return self._position

    def seekable(self) -> bool:
        """It is."""
        return True


class Spool:
    """Used by one thread at a time, but for `free`. Raises OSError when the folder is full or gone."""

    def __init__(self, folder: Path | None, part_bytes: int) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._hash = hashlib.sha256()
        self.size = 0
        self._file: BinaryIO | None = None
        self._free: deque[int] = deque()
        self._places = 0
        self._count = 0
        self._whole: list[Part] = []
        self._last: Part | None = None

    @property
    def sha256(self) -> bytes:
        """Of all bytes so far."""
        return self._hash.digest()

    def append(self, pieces: list[bytes | memoryview]) -> None:
        """Take bytes."""
        for piece in pieces:
            self._hash.update(piece)
            self.size += len(piece)
            data = memoryview(piece)
            while data:
                part = self._last
                if part is None or not part.left:
                    part = self._next()
                fits = min(len(data), part.left)
                part.append(data[:fits])
                data = data[fits:]

    def _next(self) -> Part:
        """A new last part; the one that was is whole."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 (closed by `close`)
        if self._last is not None:
            self._whole.append(self._last)
        if self._free:
            place = self._free.popleft()
        else:
            place, self._places = self._places, self._places + 1
        self._count += 1
        self._last = Part(self._file, place, self._count, self._part_bytes)
        return self._last

    def whole(self) -> list[Part]:
        """The parts that became whole since this was asked, in order; more bytes follow them."""
        whole, self._whole = self._whole, []
        return whole

    def last(self) -> Part | None:
        """The last part, which has at least a byte; None without any bytes."""
        return self._last

    def free(self, part: Part) -> None:
        """That part is needed no more."""
        self._free.append(part.place)

    def close(self) -> None:
        """Give the disk space back."""
        if self._file is not None:
            self._file.close()
            self._file = None
