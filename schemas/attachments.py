"""The attachment as clients see it (API A).

Member names are those of the wire; times are ISO 8601 UTC with exactly three decimals and `Z`.
"""

from typing import Annotated

import msgspec

# Exactly 8-4-4-4-12 hexadecimal: uuid.UUID() and msgspec's UUID also take braces, `urn:` and no hyphens. `\Z`, because
# `$` lets a final newline through.
UUID_PATTERN = r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"

Id = Annotated[str, msgspec.Meta(pattern=UUID_PATTERN, description="UUID")]
Timestamp = Annotated[str, msgspec.Meta(description="ISO 8601 UTC with milliseconds, such as 2024-01-15T10:30:00.000Z")]


MAX_IDS = 100  # attachments named in one call
IdList = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_IDS)]


class ListInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which conversation to list."""

    conversation_id: Id


class GetInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which attachment to get."""

    id: Id


class DeleteInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which attachment to delete."""

    id: Id


class GetManyInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which attachments to get."""

    ids: IdList


class AttachInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which attachments to link to which conversation."""

    ids: IdList
    conversation_id: Id


class RenameInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which attachment gets which file name."""

    id: Id
    filename: str


class RestoreInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which deleted attachment to restore."""

    id: Id


class AttachmentItem(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment in a list: exactly the six documented members."""

    id: str
    conversation_id: str | None
    filename: str
    content_type: str
    size: int
    created_at: Timestamp


class Attachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attachment; `deleted_at` is present only when it is set, which only admins get to see."""

    id: str
    conversation_id: str | None
    organization_id: str
    filename: str
    content_type: str
    size: int
    storage_path: str
    created_at: Timestamp
    deleted_at: Timestamp | msgspec.UnsetType = msgspec.UNSET


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The attachments that there are, in the order of the ids that were asked for, and the ids without one."""

    items: list[Attachment]
    missing: list[str]


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """The attachments that were linked, in the order of their ids in the call."""

    items: list[AttachmentItem]


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a deletion."""

    success: bool


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The attachment as the catalog keeps it: what the rules and the download need beside what clients see.

    `sha256` is the digest of the bytes, 32 bytes; `storage_path` is the key of the blob, `file_key` the one that an API shows.
    `scope` is whom API C keeps it for, None for what other APIs took; `inline` is what API B was told: shown in a text.
    """

    id: str
    organization_id: str
    conversation_id: str | None
    ticket_id: str | None
    owner_id: str
    filename: str
    content_type: str
    size: int
    sha256: bytes
    storage_path: str
    created_at: Timestamp
    deleted_at: Timestamp | None
    scope: str | None = None
    inline: bool = False
    file_key: str | None = None

    def attachment(self) -> Attachment:
        """As clients see it."""
        return Attachment(
            id=self.id,
            conversation_id=self.conversation_id,
            organization_id=self.organization_id,
            filename=self.filename,
            content_type=self.content_type,
            size=self.size,
            storage_path=self.storage_path,
            created_at=self.created_at,
            deleted_at=msgspec.UNSET if self.deleted_at is None else self.deleted_at,
        )

    def item(self) -> AttachmentItem:
        """As clients see it in a list."""
        return AttachmentItem(
            id=self.id,
            conversation_id=self.conversation_id,
            filename=self.filename,
            content_type=self.content_type,
            size=self.size,
            created_at=self.created_at,
        )
