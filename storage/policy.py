"""What each API lets in: which extensions, as which type, up to which size. One table an API; the upload path reads it."""

from collections.abc import Mapping

import msgspec

from schemas import MAX_IDS, Code, Reason, ServiceError, TypeLimit, UploadLimits
from storage import contents
from storage.contents import Sniffer
from storage.filenames import MAX_NAME_BYTES, extension_of

MEBIBYTE = 1024 * 1024


class FileType(msgspec.Struct, frozen=True):
    """One allowed extension: the content type we keep, the limit in bytes, and what the start of the content must be.

    `text` also requires of every later piece that it be text.
    """

    content_type: str
    max_bytes: int
    agrees: Sniffer
    text: bool = False


class Policy(msgspec.Struct, frozen=True):
    """The types that an API lets in, by extension."""

    types: Mapping[str, FileType]

    @property
    def max_bytes(self) -> int:
        """The largest limit of all types."""
        return max(type_.max_bytes for type_ in self.types.values())

    def type_of(self, filename: str) -> FileType:
        """The type that the name claims. Raises INVALID_ATTACHMENT_TYPE."""
        extension = extension_of(filename)
        found = self.types.get(extension)
        if found is None:
            claimed = f'extension ".{extension}"' if extension else "a file name without extension"
            raise refused(f"{claimed} is not allowed; allowed are {', '.join(self.types)}")
        return found

    def check_same_type(self, filename: str, content_type: str) -> None:
        """Raises BAD_REQUEST unless the name claims that content type."""
        found = self.types.get(extension_of(filename))
        if found is None or found.content_type != content_type:
            fitting = [f".{extension}" for extension, type_ in self.types.items() if type_.content_type == content_type]
            message = f"the file is {content_type}: its name must end in {' or '.join(fitting) or 'what it ends in now'}"
            raise ServiceError(Code.BAD_REQUEST, message)


def upload_limits(policy: Policy, max_batch_size: int) -> UploadLimits:
    """What clients are told of the policy."""
    types = [
        TypeLimit(extension=extension, content_type=type_.content_type, max_bytes=type_.max_bytes)
        for extension, type_ in policy.types.items()
    ]
    return UploadLimits(
        types=types,
        accept=",".join(f".{type_.extension}" for type_ in types),
        max_bytes=policy.max_bytes,
        max_filename_bytes=MAX_NAME_BYTES,
        max_batch_size=max_batch_size,
        max_ids=MAX_IDS,
    )


def refused(message: str) -> ServiceError:
    """The error of a type that is not allowed."""
    return ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, message, reason=Reason.INVALID_ATTACHMENT_TYPE)


def api_a(max_file_bytes: int = 25 * MEBIBYTE, max_image_bytes: int = 10 * MEBIBYTE) -> Policy:
    """The policy of API A: images to 10 MB, documents, archives, CSV and JSON to 25 MB (1 MB = 1024 * 1024 bytes)."""
    ooxml = "application/vnd.openxmlformats-officedocument"
    return Policy(
        {
            "png": FileType("image/png", max_image_bytes, contents.is_png),
            "jpg": FileType("image/jpeg", max_image_bytes, contents.is_jpeg),
            "jpeg": FileType("image/jpeg", max_image_bytes, contents.is_jpeg),
            "gif": FileType("image/gif", max_image_bytes, contents.is_gif),
            "webp": FileType("image/webp", max_image_bytes, contents.is_webp),
            "pdf": FileType("application/pdf", max_file_bytes, contents.is_pdf),
            "doc": FileType("application/msword", max_file_bytes, contents.is_old_office),
            "docx": FileType(f"{ooxml}.wordprocessingml.document", max_file_bytes, contents.is_new_office),
            "xls": FileType("application/vnd.ms-excel", max_file_bytes, contents.is_old_office),
            "xlsx": FileType(f"{ooxml}.spreadsheetml.sheet", max_file_bytes, contents.is_new_office),
            "txt": FileType("text/plain", max_file_bytes, contents.is_text, text=True),
            "zip": FileType("application/zip", max_file_bytes, contents.is_zip),
            "rar": FileType("application/vnd.rar", max_file_bytes, contents.is_rar),
            "csv": FileType("text/csv", max_file_bytes, contents.is_text, text=True),
            "json": FileType("application/json", max_file_bytes, contents.is_json, text=True),
        }
    )


API_A = api_a()
