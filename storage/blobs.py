"""What keeping bytes means, whatever keeps them. A blob is written once under a fresh key, and never changed.

Keys are `/`-separated segments of `[A-Za-z0-9._-]`, made by this program, never by a client.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from schemas import Code, ServiceError
from storage.incoming import Incoming

T = TypeVar("T")

BLOBS_AT_ONCE: Final = 500  # in a batch of `scan`, and what `missing` is asked
QUARANTINE: Final = "quarantine/"  # what the key of a blob begins with that nobody claimed
UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
BLOB_KEY: Final = rf"attachments/[^/]+/{UUID}"
# Segments of these characters, none of which begins with two dots.
_KEY = re.compile(r"(?:(?!\.\.)[A-Za-z0-9._-]+/)*(?!\.\.)[A-Za-z0-9._-]+\Z")


def check_key(key: str) -> None:
    """Raises ValueError for a key that this program does not make, such as one that leads elsewhere."""
    if not _KEY.match(key):
        raise ValueError(f"{key!r} is not the key of a blob")


class BlobsUnavailable(ServiceError):  # noqa: N818 (as the code is called)
    """The place of the blobs fails: 503, which clients retry.

    As text, in the log and on the command line, it is what failed and what an operator may do; clients do not read that.
    """

    def __init__(self, mend: str, *, full: bool = False) -> None:
        why = "the storage is full" if full else "the storage is not available now, try again"
        super().__init__(Code.SERVICE_UNAVAILABLE, why)
        self._mend = mend

    def __str__(self) -> str:
        """What to mend."""
        return self._mend


class BlobInfo(NamedTuple):
    """Something kept: its key, its size in bytes, when it was last written, seconds since 1970, and if it is not yet a blob."""

    key: str
    size: int
    modified_at: float
    unfinished: bool


class BlobWriter(Protocol):
    """A blob on its way in. Exactly one of `commit` and `abort` ends it."""

    async def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes, which must never change afterwards. Raises SERVICE_UNAVAILABLE when they cannot be kept."""

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, which runs in a worker thread after what was written before, and may call `append` there.

        Raises what `work` does, and SERVICE_UNAVAILABLE.
        """
        ...

    def append(self, data: bytes | memoryview) -> None:
        """As `write`, from within `run`: blocks, and is done with the data when it returns."""

    async def commit(self) -> bytes:
        """Make the blob durable and visible; gives its SHA-256, 32 bytes."""

    def abort(self) -> None:
        """Remove what was written; never raises, may end in the background."""


class BlobReader(Protocol):
    """An open blob."""

    def expect(self, start: int, stop: int) -> None:
        """The bytes [start, stop) will be read, one piece behind the other: what is far away may be asked for at once."""

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Exactly those bytes, which must lie inside the blob. Raises SERVICE_UNAVAILABLE when they cannot be read."""

    def close(self) -> None:
        """Let go of it; may be called while a read is under way."""


class Blobs(Protocol):
    """A place for blobs. What waits raises SERVICE_UNAVAILABLE when the place fails."""

    @property
    def incoming(self) -> Incoming | None:
        """What clients may write to themselves; None where they cannot."""
        ...

    def create(self, key: str) -> BlobWriter:
        """Begin to write under a key that was never used."""

    def open(self, key: str) -> BlobReader:
        """A reader of a committed blob. It costs nothing until the first read, which finds a missing blob."""

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs, and unfinished ones by the key that `scan` gave; a missing one is no error."""

    async def quarantine(self, keys: list[str]) -> None:
        """Move blobs to the same key behind `QUARANTINE`, last written now; a missing one is no error."""

    async def release(self, keys: list[str]) -> None:
        """Undo `quarantine(keys)`; a missing one is no error, and a blob that is in its place already stays."""

    def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept, unfinished blobs and those in quarantine too, in batches of at most `BLOBS_AT_ONCE`.

        Always in the same order: with the last key of a scan that was left, it goes on behind that.
        """
        ...

    async def missing(self, keys: Sequence[str]) -> set[str]:
        """Which of up to `BLOBS_AT_ONCE` keys have no blob."""
        ...

    async def size_of(self, key: str) -> int | None:
        """The size of a blob in bytes; None if there is none."""
        ...

    def link(self, key: str, *, content_type: str, disposition: str, expires_s: int | None = None) -> str | None:
        """A URL from which clients get the blob without a credential, with those headers; None where they cannot.

        It holds for so many seconds, or as long as is set. Costs no call.
        """
        ...

    async def check(self) -> None:
        """Write, make durable and remove a small blob. Raises SERVICE_UNAVAILABLE."""

    async def aclose(self) -> None:
        """Finish the calls under way and let go of everything."""
