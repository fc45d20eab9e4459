"""What each API lets in: which extensions, as which type, up to which size. One table an API; the upload path reads it."""

from collections.abc import Mapping

import msgspec

from schemas import Code, Reason, ServiceError
from storage import contents
from storage.contents import Sniffer
from storage.filenames import extension_of

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
