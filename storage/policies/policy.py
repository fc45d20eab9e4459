"""What an API lets in, as the upload path reads it: which extensions, as which type, up to which size."""

import re
from collections.abc import Mapping

import msgspec

from schemas import MAX_IDS, Code, Reason, ServiceError, TypeLimit, UploadLimits
from storage.contents import Sniffer
from storage.filenames import MAX_NAME_BYTES, extension_of, shorten

MEBIBYTE = 1024 * 1024
# Windows drops blanks and dots at the end of a name, and opens what stands before the colon of a stream's name.
_DROPPED = re.compile(r"[ .]*(?::.*)?\Z", re.DOTALL)


class FileType(msgspec.Struct, frozen=True):
    """One allowed extension: the content type we keep, the limit in bytes, and what the start of the content must be.

    `text` also requires of every later piece that it be text.
    """

    content_type: str
    max_bytes: int
    agrees: Sniffer
    text: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The types that an API lets in, by extension; `other` is what every extension is that is not among them, if it may be.

    Names with a `blocked` extension are refused, whatever else is said of them; those of more than `max_name_characters` are
    cut, or kept as they are without it. `by_widgets` lets visitors upload, where their requests are counted.
    """

    types: Mapping[str, FileType]
    other: FileType | None = None
    blocked: frozenset[str] = frozenset()
    max_name_characters: int | None = None
    by_widgets: bool = False

    @property
    def max_bytes(self) -> int:
        """The largest limit of all types."""
        all_types = self.types.values() if self.other is None else (*self.types.values(), self.other)
        return max(type_.max_bytes for type_ in all_types)

    def name(self, filename: str) -> str:
        """The name that a file of that name is kept under."""
        return filename if self.max_name_characters is None else shorten(filename, self.max_name_characters)

    def type_of(self, filename: str) -> FileType:
        """The type that the name claims. Raises INVALID_ATTACHMENT_TYPE, and BAD_REQUEST when its extension is blocked."""
        extension = extension_of(filename)
        found = self.types.get(extension, self.other)
        if found is None:
            claimed = f'extension ".{extension}"' if extension else "a file name without extension"
            raise refused(f"{claimed} is not allowed; allowed are {', '.join(self.types)}")
        if self.blocked:
            self._check_blocked(filename)
        return found

    def _check_blocked(self, filename: str) -> None:
        """Looks at what a machine would take for the extension, of `.exe`, `a.exe.` and `a.exe:b` too."""
        _, dot, extension = _DROPPED.sub("", filename).lower().rpartition(".")
        if dot and extension in self.blocked:
            raise ServiceError(Code.BAD_REQUEST, f'files with the extension ".{extension}" are not allowed')

    def check_same_type(self, filename: str, content_type: str) -> None:
        """Raises BAD_REQUEST unless the name claims that content type."""
        found = self.types.get(extension_of(filename))
        if found is None or found.content_type != content_type:
            fitting = [f".{extension}" for extension, type_ in self.types.items() if type_.content_type == content_type]
            message = f"the file is {content_type}: its name must end in {' or '.join(fitting) or 'what it ends in now'}"
            raise ServiceError(Code.BAD_REQUEST, message)


def upload_limits(policy: Policy, max_batch_size: int, *, direct: bool) -> UploadLimits:
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
        direct=direct,
        max_ids=MAX_IDS,
    )


def refused(message: str) -> ServiceError:
    """The error of a type that is not allowed."""
    return ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, message, reason=Reason.INVALID_ATTACHMENT_TYPE)
