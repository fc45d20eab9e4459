"""The vocabulary: values that cross a boundary, and error codes. Imports msgspec and nothing of ours."""

from schemas.attachments import (
    UUID_PATTERN,
    Attachment,
    AttachmentItem,
    Deleted,
    DeleteInput,
    GetInput,
    Id,
    ListInput,
    Record,
    Timestamp,
)
from schemas.errors import ClientDisconnected, Code, Reason, ServiceError
from schemas.principals import Principal, Role

__all__ = [
    "UUID_PATTERN",
    "Attachment",
    "AttachmentItem",
    "ClientDisconnected",
    "Code",
    "DeleteInput",
    "Deleted",
    "GetInput",
    "Id",
    "ListInput",
    "Principal",
    "Reason",
    "Record",
    "Role",
    "ServiceError",
    "Timestamp",
]
