"""Direct uploads: a file goes from the client to the store itself; the server says where to, checks it, and keeps its row."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from schemas.attachments import Id, Timestamp

MAX_PARTS = 1000  # of an upload, so that the store lists all of them in one answer (S3: ListParts)
_BASE64_OF_32_BYTES = r"\A[A-Za-z0-9+/]{43}=\Z"


class CreateUploadInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What will be sent."""

    filename: str
    size: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1, description="Bytes of the file, exactly.")]
    sha256: Annotated[
        Annotated[str, msgspec.Meta(pattern=_BASE64_OF_32_BYTES)] | None,
        msgspec.Meta(description="The SHA-256 that the file must have, in base64."),
    ] = None
    conversation_id: Id | None = None
    ticket_id: Id | None = None


class FormUpload(msgspec.Struct, frozen=True, kw_only=True, tag_field="method", tag="POST"):
    """The file goes in one form (multipart/form-data): all `fields` as they are, then the file in the field `file`."""

    upload_id: str
    expires_at: Timestamp
    url: str
    fields: dict[str, str]


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """Where one part of a file goes; it has exactly `size` bytes."""

    part_number: int
    size: int
    url: str


class PartsUpload(msgspec.Struct, frozen=True, kw_only=True, tag_field="method", tag="PUT"):
    """The file goes in parts, in any order and side by side: part n begins at byte (n - 1) * `part_size`."""

    upload_id: str
    expires_at: Timestamp
    part_size: int
    parts: Sequence[UploadPart]


class SentPart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part that was sent, and the `ETag` that the store answered it with."""

    part_number: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]
    etag: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class CompleteUploadInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which upload is complete; one in parts with all its parts, any other without."""

    upload_id: Id
    parts: Annotated[list[SentPart], msgspec.Meta(max_length=MAX_PARTS)] = []


class AbortUploadInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which upload to give up."""

    upload_id: Id


class Aborted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an upload that was given up."""

    success: bool
