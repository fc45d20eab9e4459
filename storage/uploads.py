r"""One upload: bytes, then row, then reply. Every API and protocol ends in this state machine.

    receiving --write--> receiving --commit--> stored
        \--any failure, or leaving without commit--> aborted (nothing is left)

The bytes are read once: counted, sniffed, hashed and written as they come. The blob is durable under a fresh key before the row
exists, so a crash leaves at most bytes without a row, which `sweep` removes.
"""

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from schemas import Principal, Record
from storage.access import upload_conversation
from storage.blobs import Blobs
from storage.catalog import AttachmentTable
from storage.clock import timestamp
from storage.ids import fresh_id
from storage.inspection import Inspection, check_digest
from storage.policies import FileType

T = TypeVar("T")


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an attachment beside its file; each API fills in what it knows.

    `folder` is where the API that took the file shows it, as `{folder}/{id}/{name}`: its `file_key`. `capability_hash` is the
    SHA-256 of what a public link holds, `scope` whom API C keeps it for. `media` is of API B: unless it comes to be linked to a
    conversation in time, `sweep` removes it.
    """

    conversation_id: str | None = None
    ticket_id: str | None = None
    scope: str | None = None
    inline: bool = False
    folder: str | None = None
    capability_hash: bytes | None = None
    media: bool = False


_NO_DETAILS = Details()


class Upload:
    """A file on its way in. Use it as an async context manager: leaving it without `commit` removes what was written."""

    def __init__(self, table: AttachmentTable, blobs: Blobs, principal: Principal, filename: str, type_: FileType) -> None:
        self._table = table
        self._principal = principal
        self._filename = filename
        self._type = type_
        self._inspection = Inspection(filename, type_)
        self._id = fresh_id()
        self._key = f"attachments/{principal.organization_id}/{self._id}"
        self._blob = blobs.create(self._key)
        self._committed = False

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file. A `bytearray` is copied; other buffers must not change afterwards.

        Raises PAYLOAD_TOO_LARGE / ATTACHMENT_TOO_LARGE past the type's limit, UNSUPPORTED_MEDIA_TYPE /
        INVALID_ATTACHMENT_TYPE when the content does not agree with the name, SERVICE_UNAVAILABLE when it cannot be kept.
        """
        piece = bytes(data) if isinstance(data, bytearray) else data
        self._inspection.take(piece)
        await self._blob.write(piece)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, which runs in a worker thread of the storage and may call `append` there."""
        return await self._blob.run(work)

    def append(self, data: bytes | memoryview) -> None:
        """As `write`, from within `run`, and done with the data when it returns."""
        self._inspection.take(data)
        self._blob.append(data)

    async def commit(self, details: Details = _NO_DETAILS, digests: Collection[bytes] = ()) -> Record:
        """Store the file: its bytes, then its row with the event. Gives the row, which is durable.

        Ids of conversation and ticket are kept in lower case, so that they are found however they are written.
        `digests` are SHA-256 values that the client announced: one must be that of the file (RFC 9530).
        Raises BAD_REQUEST for an empty file or another digest, and as `write` does.
        """
        self._inspection.end()
        sha256 = await self._blob.commit()
        check_digest(sha256, digests)
        record = Record(
            id=self._id,
            organization_id=self._principal.organization_id,
            conversation_id=upload_conversation(self._principal, details.conversation_id),
            ticket_id=None if details.ticket_id is None else details.ticket_id.lower(),
            owner_id=self._principal.user_id,
            filename=self._filename,
            content_type=self._type.content_type,
            size=self._inspection.size,
            sha256=sha256,
            storage_path=self._key,
            created_at=timestamp(),
            deleted_at=None,
            scope=details.scope,
            inline=details.inline,
            file_key=None if details.folder is None else f"{details.folder}/{self._id}/{self._filename}",
        )
        # From here on the row may exist even if this task is cancelled or the database's answer is lost: the bytes stay, and
        # sweep removes them if no row came of it.
        self._committed = True
        await self._table.insert(record, details.capability_hash, media=details.media)
        return record

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was written, unless it was committed."""
        if not self._committed:
            self._blob.abort()


# Makes the Upload of a file name; the number is how many bytes the client says the file has at least, if it does.
BeginUpload = Callable[[str, int | None], Upload]
