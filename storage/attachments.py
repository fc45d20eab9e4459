"""The one service object: every API and every procedure keeps, reads and removes attachments through it.

It alone combines the rules (`access`, `policy`, `filenames`) with the two places things are kept (catalog and blobs).
"""

import re
import time
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

import msgspec

from schemas import (
    Attached,
    Attachment,
    AttachmentItem,
    Change,
    Code,
    Deleted,
    Found,
    Page,
    PageInput,
    Principal,
    Record,
    ServiceError,
    SignedUrl,
    Tracked,
    UploadLimits,
    Usage,
)
from storage import access
from storage.blobs import Blobs
from storage.capabilities import capability_hash
from storage.catalog import AttachmentTable, Database, EventTable, PageTable
from storage.changes import Changes
from storage.clock import timestamp
from storage.direct import DirectUploads
from storage.filenames import check_filename, extension_of
from storage.inspection import admit
from storage.keys import Keys
from storage.links import Links
from storage.options import Options
from storage.pages import read_page
from storage.policies import Policy, upload_limits
from storage.uploads import Upload

_EVENT_ID = re.compile(r"[0-9]{1,18}", re.ASCII)  # fits the 64 bits of SQLite


class Download:
    """An attachment on its way out. Use it as an async context manager, which lets go of the blob."""

    def __init__(self, record: Record, blobs: Blobs) -> None:
        self.record = record
        self._blobs = blobs
        self._reader = blobs.open(record.storage_path)

    def link(self, disposition: str) -> str | None:
        """A URL that gives the file itself, with its type and that Content-Disposition; None where clients cannot have it."""
        return self._blobs.link(self.record.storage_path, content_type=self.record.content_type, disposition=disposition)

    def expect(self, start: int, stop: int) -> None:
        """The bytes [start, stop) of the file will be read, one piece behind the other."""
        self._reader.expect(start, stop)

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

    def __init__(self, database: Database, blobs: Blobs, keys: Keys, policy: Policy, options: Options) -> None:
        self.policy = policy
        self._table = AttachmentTable(database)
        self._pages = PageTable(database, options.search_s)
        self._blobs = blobs
        self._changes = Changes(EventTable(database), database.on_commit, options.poll_s)
        self.direct = DirectUploads(database, blobs, policy, options)
        self._links = Links(keys, options)
        self._retention_s = options.retention_s
        self._limits = upload_limits(policy, options.max_batch_size, direct=blobs.incoming is not None)

    async def list(self, principal: Principal, conversation_id: str) -> list[AttachmentItem]:
        """The attachments of a conversation, ordered by (created_at, id); none for an unknown or foreign conversation."""
        if not access.sees_conversation(principal, conversation_id.lower()):
            return []
        return await self._table.of_conversation(principal.organization_id, conversation_id.lower())

    async def get(self, principal: Principal, id: str) -> Attachment:
        """One attachment; admins also get a deleted one, with `deleted_at`. Raises NOT_FOUND."""
        return access.visible(principal, await self._table.seen(id.lower()), id)

    async def get_many(self, principal: Principal, ids: Sequence[str]) -> Found:
        """Those attachments in the order of `ids`, each once, and the ids that `get` would not find."""
        asked = {id.lower(): id for id in ids}
        found = await self._table.seen_many(list(asked))
        items, missing = [], []
        for key, id in asked.items():
            try:
                items.append(access.visible(principal, found.get(key), id))
            except ServiceError:
                missing.append(id)
        return Found(items=items, missing=missing)

    async def page(self, principal: Principal, asked: PageInput) -> Page:
        """A page of a conversation or of the caller's organization.

        Raises BAD_REQUEST for a wrong cursor, TIMEOUT, FORBIDDEN for what a widget asks of anything but its conversation.
        """
        conversation_id = None if asked.conversation_id is None else asked.conversation_id.lower()
        if not access.sees_conversation(principal, conversation_id):
            access.check_staff(principal, "see more than its own conversation, which conversationId must name")
        return await read_page(self._pages, principal, asked)

    async def limits(self) -> UploadLimits:
        """What may be uploaded."""
        return self._limits

    async def usage(self, principal: Principal) -> Usage:
        """What the caller's organization keeps. Raises FORBIDDEN for widgets."""
        access.check_staff(principal, "see what the organization keeps")
        return await self._table.usage(principal.organization_id)

    def changes(
        self, principal: Principal, conversation_id: str, last_event_id: str | None
    ) -> AsyncGenerator[Tracked[Change], None]:
        """The changes of a conversation of the caller's organization, without end; see `storage.changes`.

        Raises BAD_REQUEST for an event id that is no number, FORBIDDEN for what a widget asks of another conversation.
        """
        if not access.sees_conversation(principal, conversation_id.lower()):
            access.check_staff(principal, "follow other conversations")
        if last_event_id is not None and not _EVENT_ID.fullmatch(last_event_id):
            raise ServiceError(Code.BAD_REQUEST, "lastEventId must be the id of a change that was received")
        last_id = None if last_event_id is None else int(last_event_id)
        return self._changes.follow(principal.organization_id, conversation_id.lower(), last_id)

    async def delete(self, principal: Principal, id: str) -> Deleted:
        """Delete softly: gone for everyone at once, the bytes after the retention time. Raises NOT_FOUND, FORBIDDEN."""
        now = timestamp()

        def deleted(record: Record | None, id: str) -> Record:
            return msgspec.structs.replace(access.deletable(principal, record, id), deleted_at=now)

        await self._table.change("deleted", [id.lower()], deleted, now)
        return Deleted(success=True)

    async def attach(self, principal: Principal, ids: Sequence[str], conversation_id: str) -> Attached:
        """Link attachments to a conversation, all or none. Raises NOT_FOUND, FORBIDDEN, CONFLICT, naming the id."""

        def attached(record: Record | None, id: str) -> Record:
            return msgspec.structs.replace(access.attachable(principal, record, id), conversation_id=conversation_id.lower())

        unique = list(dict.fromkeys(id.lower() for id in ids))
        changed = await self._table.change("attached", unique, attached, timestamp())
        return Attached(items=[record.item() for record in changed])

    async def rename(self, principal: Principal, id: str, filename: str) -> Attachment:
        """Give an attachment another name of the same type. Raises BAD_REQUEST, NOT_FOUND, FORBIDDEN."""
        check_filename(filename)

        def renamed(record: Record | None, id: str) -> Record:
            found = access.renamable(principal, record, id)
            if extension_of(filename) != extension_of(found.filename):
                self.policy.check_same_type(filename, found.content_type)
            return msgspec.structs.replace(found, filename=filename)

        (record,) = await self._table.change("renamed", [id.lower()], renamed, timestamp())
        return record.attachment()

    async def restore(self, principal: Principal, id: str) -> Attachment:
        """Undo a deletion within the retention time. Raises FORBIDDEN, NOT_FOUND, PRECONDITION_FAILED."""
        now = time.time()
        since = timestamp(now - self._retention_s)

        def restored(record: Record | None, id: str) -> Record:
            return msgspec.structs.replace(access.restorable(principal, record, id, since), deleted_at=None)

        (record,) = await self._table.change("restored", [id.lower()], restored, timestamp(now))
        return record.attachment()

    def upload(self, principal: Principal, filename: str, policy: Policy, declared_size: int | None = None) -> Upload:
        """Begin an upload of a file of that name; `declared_size` is what the client says of its length in bytes, if it does.

        Raises BAD_REQUEST for a bad name, UNSUPPORTED_MEDIA_TYPE / INVALID_ATTACHMENT_TYPE for an extension that the policy
        does not allow, PAYLOAD_TOO_LARGE / ATTACHMENT_TOO_LARGE, FORBIDDEN for a widget where it may not.
        """
        filename, type_ = admit(principal, filename, policy, declared_size)
        return Upload(self._table, self._blobs, principal, filename, type_)

    async def url(self, principal: Principal, id: str, *, download: bool) -> SignedUrl:
        """A link to the file that needs no credential. Raises NOT_FOUND."""
        record = access.linkable(principal, await self._table.find(id.lower()), id)
        return await self._links.url(record.id, download=download)

    async def follow(self, id: str, query: bytes) -> Download:
        """The file that a signed link leads to, by its id and its query.

        Raises FORBIDDEN for a wrong signature, UNAUTHORIZED for an expired one, NOT_FOUND for a deleted file.
        """
        await self._links.verify(id.lower(), query)
        return Download(access.followed(await self._table.find(id.lower()), id), self._blobs)

    def link(self, record: Record, disposition: str) -> str | None:
        """As `Download.link`, of a file that its caller may have."""
        return Download(record, self._blobs).link(disposition)

    async def media_url(self, id: str, expiry_s: int | None = None) -> SignedUrl:
        """The link `/uploads/{id}` to a file, which needs no credential for `expiry_s` seconds at least, or as is set.

        For those who know already that it may be handed out: of a new upload to who sent it, in a mail to its readers.
        """
        return await self._links.media_url(id.lower(), expiry_s)

    async def follow_media(self, id: str, query: bytes) -> Download:
        """As `follow`, for the links of `media_url`."""
        await self._links.verify_media(id.lower(), query)
        return Download(access.followed(await self._table.find(id.lower()), id), self._blobs)

    async def scoped(self, principal: Principal, id: str, scope: str) -> Download:
        """The file of an attachment that is kept for that user of API C, or for nobody in particular. Raises NOT_FOUND."""
        record = access.present(principal, await self._table.find(id.lower()), id)
        return Download(access.kept_for(scope, record), self._blobs)

    async def public(self, id: str, capability: str) -> Download:
        """The file that a public link of API D leads to, by its id and its secret. Raises NOT_FOUND."""
        hashed = capability_hash(capability)
        record = None if hashed is None else await self._table.of_capability(hashed)
        return Download(access.followed(record if record and record.id == id.lower() else None, id), self._blobs)

    def close(self) -> None:
        """End the subscriptions; before the database is closed."""
        self._changes.close()

    async def download(self, principal: Principal, id: str) -> Download:
        """The file of an attachment. Raises NOT_FOUND, also when it is deleted."""
        return Download(access.present(principal, await self._table.find(id.lower()), id), self._blobs)
