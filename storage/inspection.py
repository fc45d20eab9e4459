"""The bytes of a file, held to what its name and its sender claim. Whichever way a file came, this is done before its row."""

from collections.abc import Collection

from schemas import Code, Principal, Reason, ServiceError
from storage.access import uploader
from storage.contents import HEAD_BYTES, describe, is_text
from storage.filenames import check_filename, extension_of
from storage.policies import FileType, Policy, refused


def too_large(filename: str, max_bytes: int) -> ServiceError:
    """The error of a file over its type's limit; names the limit in bytes and, where it is whole, in MB."""
    megabytes, rest = divmod(max_bytes, 1024 * 1024)
    limit = f"{max_bytes} bytes" if rest or not megabytes else f"{max_bytes} bytes ({megabytes} MB)"
    message = f"the file exceeds the limit of {limit} for .{extension_of(filename)} files"
    return ServiceError(Code.PAYLOAD_TOO_LARGE, message, reason=Reason.ATTACHMENT_TOO_LARGE)


def admit(principal: Principal, filename: str, policy: Policy, declared_size: int | None) -> tuple[str, FileType]:
    """The name that a file may be kept under, and the type that it claims, before any of its bytes came.

    Raises BAD_REQUEST for a bad name, UNSUPPORTED_MEDIA_TYPE / INVALID_ATTACHMENT_TYPE for an extension that the policy
    does not allow, PAYLOAD_TOO_LARGE / ATTACHMENT_TOO_LARGE, FORBIDDEN for a widget where it may not.
    """
    uploader(principal, by_widgets=policy.by_widgets)
    filename = check_filename(policy.name(filename))
    type_ = policy.type_of(filename)
    if declared_size is not None and declared_size > type_.max_bytes:
        raise too_large(filename, type_.max_bytes)
    return filename, type_


def check_digest(sha256: bytes, announced: Collection[bytes]) -> None:
    """Raises BAD_REQUEST unless the digest is among the announced ones, or none was announced."""
    if announced and sha256 not in announced:
        raise ServiceError(Code.BAD_REQUEST, "the bytes do not match their digest: they changed on the way, send them again")


class Inspection:
    """Takes the bytes of a file as they come, and its end. `size` is how many there were so far."""

    def __init__(self, filename: str, type_: FileType) -> None:
        self._filename = filename
        self._type = type_
        self._head = b""
        self._sniffed = False
        self.size = 0

    def take(self, piece: bytes | bytearray | memoryview) -> None:
        """The next bytes.

        Raises PAYLOAD_TOO_LARGE / ATTACHMENT_TOO_LARGE past the type's limit, UNSUPPORTED_MEDIA_TYPE /
        INVALID_ATTACHMENT_TYPE when the content does not agree with the name.
        """
        self.size += len(piece)
        if self.size > self._type.max_bytes:
            raise too_large(self._filename, self._type.max_bytes)
        if not self._sniffed:
            self._head += piece[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._sniff()
        if self._type.text and not is_text(bytes(piece)):
            raise refused(f'"{self._filename}" claims to be text, but holds bytes that no text has (save it as UTF-8)')

    def end(self) -> None:
        """There are no more. Raises BAD_REQUEST for an empty file, and as `take` does."""
        if self.size == 0:
            raise ServiceError(Code.BAD_REQUEST, "the file is empty")
        if not self._sniffed:
            self._sniff()

    def _sniff(self) -> None:
        self._sniffed = True
        if not self._type.agrees(self._head):
            claim = f".{extension_of(self._filename)} ({self._type.content_type})"
            raise refused(f"the content does not agree with {claim}: it looks like {describe(self._head)}")
