"""The vocabulary: values that cross a boundary, and error codes. Imports msgspec and nothing of ours."""

from schemas.attachments import (
    MAX_IDS,
    UUID_PATTERN,
    Attached,
    AttachInput,
    Attachment,
    AttachmentItem,
    Deleted,
    DeleteInput,
    Found,
    GetInput,
    GetManyInput,
    Id,
    ListInput,
    Record,
    RenameInput,
    RestoreInput,
    Timestamp,
)
from schemas.changes import Change, ChangeInput, ChangeType
from schemas.errors import ClientDisconnected, Code, Fault, RateLimited, Reason, ServiceError
from schemas.limits import TypeLimit, UploadLimits, Usage
from schemas.links import SignedUrl, UrlInput
from schemas.pages import MAX_PAGE_ITEMS, Direction, Order, Page, PageInput, PageItem, Sort
from schemas.principals import Principal, Role
from schemas.streams import Tracked

__all__ = [
    "MAX_IDS",
    "MAX_PAGE_ITEMS",
    "UUID_PATTERN",
    "AttachInput",
    "Attached",
    "Attachment",
    "AttachmentItem",
    "Change",
    "ChangeInput",
    "ChangeType",
    "ClientDisconnected",
    "Code",
    "DeleteInput",
    "Deleted",
    "Direction",
    "Fault",
    "Found",
    "GetInput",
    "GetManyInput",
    "Id",
    "ListInput",
    "Order",
    "Page",
    "PageInput",
    "PageItem",
    "Principal",
    "RateLimited",
    "Reason",
    "Record",
    "RenameInput",
    "RestoreInput",
    "Role",
    "ServiceError",
    "SignedUrl",
    "Sort",
    "Timestamp",
    "Tracked",
    "TypeLimit",
    "UploadLimits",
    "UrlInput",
    "Usage",
]
