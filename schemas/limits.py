"""What may be uploaded and what is kept."""

from typing import Annotated

import msgspec


class TypeLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One allowed extension, without its dot, and the largest file of it in bytes."""

    extension: str
    content_type: str
    max_bytes: int


class UploadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload form needs to know before it sends."""

    types: list[TypeLimit]
    accept: Annotated[str, msgspec.Meta(description="For the `accept` attribute of a file input.")]
    max_bytes: Annotated[int, msgspec.Meta(description="The largest file of any type.")]
    max_filename_bytes: Annotated[int, msgspec.Meta(description="Bytes of a file name in UTF-8.")]
    max_batch_size: Annotated[int, msgspec.Meta(description="Calls in a batch.")]
    direct: Annotated[bool, msgspec.Meta(description="Whether createUpload takes files on their way to the store itself.")]
    max_ids: Annotated[int, msgspec.Meta(description="Ids in one call of getMany or attach.")]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an organization keeps, without what is deleted."""

    count: int
    bytes: int
