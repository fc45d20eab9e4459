"""The folder that blobs lie in: where each lies, the threads that touch it, and what its failures mean."""

import contextlib
import errno
import os
from pathlib import Path

from storage.blobs import BlobsUnavailable, check_key
from storage.disk.groups import Groups
from storage.disk.sync import fsync
from storage.threads import Threads, available_cores

# Disk operations at once in a process, at most. Two for each processor keep a disk busy; more only wait for one another, as
# hashing and every system call give the interpreter away and want it back (8 on one core: a fifth fewer uploads, 2026-11).
MAX_WORKER_THREADS = 8
PARTIAL = ".partial"  # the end of a temporary file's name


def failed(error: OSError) -> BlobsUnavailable:
    """What a client is told when the disk fails: 503, which clients retry; the cause goes to the log."""
    where = f"{error.filename}: " if error.filename else ""
    return BlobsUnavailable(
        f"the storage directory fails: {where}{error.strerror}", full=error.errno in {errno.ENOSPC, errno.EDQUOT}
    )


class Folder:
    """A folder of the local disk, and the worker threads for it."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory, for this user alone. Raises OSError when that fails."""
        directory.mkdir(0o700, parents=True, exist_ok=True)
        self.root = str(directory.resolve())
        self._threads = Threads(min(MAX_WORKER_THREADS, 2 * available_cores()), "attachd-disk")
        self.run = self._threads.run
        self.commit = Groups(self._threads).commit
        self._durable: set[str] = set()  # folders for blobs, one for each organization that this process has stored for

    def path(self, key: str) -> str:
        """Where the blob lies. Raises ValueError for a key that could lead out of the directory."""
        check_key(key)
        return f"{self.root}/{key}"

    def make(self, folder: str) -> None:
        """Create a folder for blobs, and its parents, durably. Blocks.

        One that is there already is no proof: who made it may have failed to make it durable, or be about to.
        """
        if folder == self.root:  # gone: an unmounted disk, say, whose mount point must not be filled instead
            raise FileNotFoundError(errno.ENOENT, "the storage directory is gone", self.root)
        parent = os.path.dirname(folder)
        if parent != self.root and (parent not in self._durable or not os.path.exists(parent)):
            self.make(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
        fsync(parent)
        self._durable.add(folder)

    def is_durable(self, folder: str) -> bool:
        """Whether this process knows that the folder will be there after a crash."""
        return folder in self._durable

    def close(self) -> None:
        """Wait for the disk operations under way and end the threads."""
        self._threads.close()
