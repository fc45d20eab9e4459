"""The one service object: every API and every procedure keeps, reads and removes attachments through it.

It alone combines the rules (`access`, `policy`, `filenames`) with the two places things are kept (catalog and blobs).
"""

from types import TracebackType
from typing import Self

from schemas import Attachment, AttachmentItem, Deleted, Principal, Record
from storage import access
from storage.blobs import Blobs
from storage.catalog import AttachmentTable
from storage.clock import timestamp
from storage.filenames import check_filename
from storage.policy import Policy
from storage.uploads import Upload, too_large


class Download:
    """An attachment on its way out. Use it as an async context manager, which lets go of the blob."""

    def __init__(self, record: Record, blobs: Blobs) -> None:
        self.record = record
        self._reader = blobs.open(record.storage_path)

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Exactly those bytes of the file, which must lie inside it. Raises SERVICE_UNAVAILABLE when they cannot be read."""
        return await self._reader.read(offset, length)

    async def __aenter__(self) -> Self:
        """Begin; costs nothing before the first read."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the blob."""
        self._reader.close()


class Attachments:
    """Attachments of all organizations. Every method takes the caller; other organizations' attachments do not exist for it.

    `policy` is what API A lets in, its procedures and its form alike.
    """

    def __init__(self, table: AttachmentTable, blobs: Blobs, policy: Policy) -> None:
        self.policy = policy
        self._table = table
        self._blobs = blobs

    async def list(self, principal: Principal, conversation_id: str) -> list[AttachmentItem]:
        """The attachments of a conversation, ordered by (created_at, id); none for an unknown or foreign conversation."""
        return await self._table.of_conversation(principal.organization_id, conversation_id.lower())

    async def get(self, principal: Principal, id: str) -> Attachment:
        """One attachment; admins also get a deleted one, with `deleted_at`. Raises NOT_FOUND."""
        return access.visible(principal, await self._table.seen(id.lower()), id)

    async def delete(self, principal: Principal, id: str) -> Deleted:
        """Delete softly: gone for everyone at once, the bytes after the retention time. Raises NOT_FOUND, FORBIDDEN."""
        record = access.deletable(principal, await self._table.find(id.lower()), id)
        if not await self._table.mark_deleted(record, timestamp()):
            raise access.not_found(id)  # another deletion was faster
        return Deleted(success=True)

    def upload(self, principal: Principal, filename: str, policy: Policy, declared_size: int | None = None) -> Upload:
        """Begin an upload of a file of that name; `declared_size` is what the client says of its length in bytes, if it does.

        Raises BAD_REQUEST for a bad name, UNSUPPORTED_MEDIA_TYPE / INVALID_ATTACHMENT_TYPE for an extension that the policy
        does not allow, PAYLOAD_TOO_LARGE / ATTACHMENT_TOO_LARGE.
        """
        type_ = policy.type_of(check_filename(filename))
        if declared_size is not None and declared_size > type_.max_bytes:
            raise too_large(filename, type_.max_bytes)
        return Upload(self._table, self._blobs, principal, filename, type_)

    async def download(self, principal: Principal, id: str) -> Download:
        """The file of an attachment. Raises NOT_FOUND, also when it is deleted."""
        return Download(access.present(principal, await self._table.find(id.lower()), id), self._blobs)
