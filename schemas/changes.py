"""What happens to the attachments of a conversation, as a subscriber sees it."""

from typing import Annotated, Literal

import msgspec

from schemas.attachments import AttachmentItem, Id, Timestamp

ChangeType = Literal["ready", "created", "attached", "renamed", "deleted", "restored"]


class ChangeInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose changes to follow, and from where on."""

    conversation_id: Id
    last_event_id: Annotated[
        str | None, msgspec.Meta(description="The id of the last change that was seen; clients send it when they reconnect.")
    ] = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change, or `ready`: the subscription has begun, and what comes after this is told.

    `attachment` is its state now, which may be newer than the change; null when it is deleted.
    """

    type: ChangeType
    id: str | None
    conversation_id: str
    at: Timestamp
    attachment: AttachmentItem | None
