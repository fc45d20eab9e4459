"""The cells of all workers of a server, in memory that they share: whichever is asked, it adds up all of them.

Each worker has a file of a folder mapped into its memory, and holds a lock on it for as long as it lives. One that dies leaves
its numbers behind; the worker that takes its place takes its file over and counts on, so that no counter ever falls. What
tells of the present, the gauges, begins at zero with it, and that of the dead is not added up.
"""

import contextlib
import fcntl
import itertools
import mmap
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from server.metrics.cells import DOUBLE_BYTES, Layout, Numbers, numbers_in, private_cells

# Fingerprint of the layout, process.
_HEADER: Final = struct.Struct("<32sq")
_HEADER_BYTES: Final = 64
_MAX_SLOTS: Final = 1024
_PREFIX: Final = "attachd-metrics-"
_OWNER: Final = "owner"
_NEW_S: Final = 60.0
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (a folder of one's own is made in it)


class Snapshot(NamedTuple):
    """The cells of one worker, by its place among them; `is_alive` says whether process `pid` is."""

    slot: int
    pid: int
    is_alive: bool
    values: list[float]


class Cells(Protocol):
    """The cells of this process, and those of all workers."""

    own: Numbers

    def snapshots(self) -> list[Snapshot]:
        """Those of every worker, this one's among them."""
        ...


class PrivateCells:
    """Those of a process that is the only one."""

    def __init__(self, layout: Layout) -> None:
        self.own = private_cells(layout.size)

    def snapshots(self) -> list[Snapshot]:
        """Its own."""
        return [Snapshot(0, os.getpid(), True, self.own.tolist())]


class SharedCells:
    """Those of a worker, in a file of the folder that all workers of the server are given."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Takes the first place that nobody holds. Raises OSError when there is no memory for it."""
        self._folder = folder
        self._layout = layout
        self._others: dict[int, tuple[int, mmap.mmap]] = {}  # descriptor and contents by slot
        self._slot, self._descriptor = self._take()
        size = _HEADER_BYTES + layout.size * DOUBLE_BYTES
        # All of it now: a page that cannot be had later would be a signal, not an exception.
        os.posix_fallocate(self._descriptor, 0, size)
        memory = mmap.mmap(self._descriptor, size)
        self.own = numbers_in(memoryview(memory)[_HEADER_BYTES:])
        if memory[: len(layout.fingerprint)] != layout.fingerprint:  # new, or of a program that was changed meanwhile
            memory[_HEADER_BYTES:] = bytes(layout.size * DOUBLE_BYTES)
        for gauge in layout.gauges():
            self.own[gauge] = 0.0
        memory[: _HEADER.size] = _HEADER.pack(layout.fingerprint, os.getpid())

    def _take(self) -> tuple[int, int]:
        for slot in range(_MAX_SLOTS):
            descriptor = os.open(self._path(slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot, descriptor
            except BlockingIOError:
                os.close(descriptor)
        raise OSError(f"{_MAX_SLOTS} workers share {self._folder}")

    def _path(self, slot: int) -> Path:
        return self._folder / str(slot)

    def snapshots(self) -> list[Snapshot]:
        """Those of every worker that has the same layout."""
        found = [Snapshot(self._slot, os.getpid(), True, self.own.tolist())]
        for slot in itertools.count():
            if slot != self._slot:
                if not self._is_known(slot):
                    break
                found += self._read(slot)
        return found

    def _is_known(self, slot: int) -> bool:
        """Whether there is a worker at that place, or was."""
        if slot in self._others:
            return True
        try:
            descriptor = os.open(self._path(slot), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        size = _HEADER_BYTES + self._layout.size * DOUBLE_BYTES
        if os.fstat(descriptor).st_size < size:  # it is being made; of another layout
            os.close(descriptor)
            return slot < self._slot
        self._others[slot] = (descriptor, mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
        return True

    def _read(self, slot: int) -> list[Snapshot]:
        if slot not in self._others:
            return []
        descriptor, memory = self._others[slot]
        fingerprint, pid = _HEADER.unpack_from(memory)
        if fingerprint != self._layout.fingerprint:
            return []
        values = numbers_in(memoryview(memory)[_HEADER_BYTES:]).tolist()
        return [Snapshot(slot, pid, _is_locked(descriptor), values)]


def _is_locked(descriptor: int) -> bool:
    """Whether a process holds the file: the kernel lets go of its lock when it ends, however it does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for the workers of a server, in memory where the system has one for that; it goes with the context.

    Those go with it that servers left behind which were killed.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for folder in place.glob(f"{_PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Held until the process ends, however it does; its workers do not inherit it.
        with (folder / _OWNER).open("wb") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield folder


def _is_left(folder: Path) -> bool:
    """Whether it is ours, of a server that is gone; a new one may not have its lock yet."""
    try:
        about = folder.stat()
        if about.st_uid != os.getuid() or time.time() - about.st_mtime < _NEW_S:
            return False
        with (folder / _OWNER).open("rb") as owner:
            return not _is_locked(owner.fileno())
    except FileNotFoundError:  # killed before it had one; or gone just now
        return True
    except OSError:
        return False
