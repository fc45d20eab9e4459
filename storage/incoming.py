"""What a place for blobs offers that clients write to themselves.

What they write is not a blob: it lies under a key behind `INCOMING`, which their URLs can still write to after it was looked
at. It becomes one by `seal`: a copy under a key that no URL was ever signed for, made before its bytes are inspected.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol

INCOMING: Final = "incoming/"  # what keys begin with that clients may write to


class Form(NamedTuple):
    """Where a form goes that holds a file, and the fields before the file."""

    url: str
    fields: dict[str, str]


class FormLimits(NamedTuple):
    """What a form must have: exactly so many bytes, that content type, and that SHA-256, 32 bytes, if there is one."""

    size: int
    content_type: str
    sha256: bytes | None


class PartInfo(NamedTuple):
    """A part that the store has: its number from 1 on, its entity tag without quotes, its size in bytes."""

    number: int
    etag: str
    size: int


class Staged(NamedTuple):
    """What lies under a key behind `INCOMING` now; its entity tag as the store writes it, its size in bytes."""

    etag: str
    size: int


class Leftover(NamedTuple):
    """Something behind `INCOMING`: its key, the store's id if it is parts, its size in bytes, when it came, seconds since 1970.

    What parts take is not told: their size is 0.
    """

    key: str
    multipart_id: str | None
    size: int
    modified_at: float


class Incoming(Protocol):
    """Keys here are whole, `INCOMING` included. What waits raises SERVICE_UNAVAILABLE when the place fails."""

    part_bytes: int  # the largest part, and the largest file that a form takes

    async def sign_form(self, key: str, limits: FormLimits, expires_s: int) -> Form:
        """What a client sends the file with, for so many seconds."""
        ...

    async def begin_parts(self, key: str, content_type: str) -> str:
        """Begin an upload in parts; gives the store's id of it."""
        ...

    async def sign_parts(self, key: str, multipart_id: str, sizes: Sequence[int], expires_s: int) -> list[str]:
        """The URL to PUT each part of exactly that size to, for so many seconds."""
        ...

    async def parts(self, key: str, multipart_id: str) -> list[PartInfo] | None:
        """The parts that came; None if the upload was joined or aborted."""
        ...

    async def join(self, key: str, multipart_id: str, parts: Sequence[PartInfo]) -> None:
        """Make one of the parts, in their order. Somebody else may have done so, or aborted: `staged` tells what there is."""

    async def staged(self, key: str) -> Staged | None:
        """What a client has written; None if nothing is there."""
        ...

    async def seal(self, key: str, staged: Staged, target: str, content_type: str) -> bool:
        """Make a blob of it under a fresh key; False, and no blob, if it is gone or no longer the same."""
        ...

    async def abort_parts(self, key: str, multipart_id: str) -> None:
        """Remove the parts that came, and take no more; no error when that was done, or they were joined."""

    def leftovers(self) -> AsyncIterator[list[Leftover]]:
        """All that clients have written and nobody took, and the parts of what was not joined."""
        ...
