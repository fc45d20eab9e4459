"""A form with one file, on its way into the storage as it comes.

The file goes to its `Upload` piece by piece; text fields are held, each a few KiB at most. Fields may stand before or after the
file. What is known to be wrong is refused at once, while the client is still sending.
"""

import re
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

import msgspec

from rest.digests import sha256_of
from rest.multipart import Event, PartBegin, PartData
from schemas import UUID_PATTERN, Code, Record, ServiceError
from storage import Upload

_UUID = re.compile(UUID_PATTERN)
_AS_IS = frozenset({b"", b"7bit", b"8bit", b"binary"})  # transfer encodings that encode nothing (RFC 2045, 6.2)


class FormRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which fields a form may have: names of the file's field and of the UUID fields. Other text fields are ignored."""

    file_fields: tuple[str, ...]
    uuid_fields: tuple[str, ...]


def uuid_of(name: str, value: bytes | None) -> str | None:
    """The UUID that the field or header of that name gives, as it was sent; None if it was not sent. Raises BAD_REQUEST."""
    if value is None:
        return None
    text = value.decode("latin-1")
    if not _UUID.fullmatch(text):
        raise ServiceError(Code.BAD_REQUEST, f"{name} must be a UUID")
    return text


class FileForm:
    """Takes the events of a form. `begin` makes the Upload of a file name; use as an async context manager."""

    def __init__(self, rules: FormRules, begin: Callable[[str], Upload]) -> None:
        self._rules = rules
        self._begin = begin
        self._upload: Upload | None = None
        self._in_file = False
        self._field: str | None = None  # the UUID field that is being read
        self._fields: dict[str, bytes] = {}
        self.file_digest: bytes | None = None  # that the file's part announced

    async def take(self, event: Event) -> None:
        """Take the next event. Raises BAD_REQUEST, and what `Upload.write` raises."""
        if type(event) is PartData:
            if self._in_file and self._upload is not None:
                await self._upload.write(event.data)
            elif self._field is not None:
                self._fields[self._field] += event.data
        elif type(event) is PartBegin:
            await self._begin_part(event)
        else:
            self._in_file = False

    @property
    def upload(self) -> Upload | None:
        """The upload whose bytes come now; None outside the file's part."""
        return self._upload if self._in_file else None

    def field(self, name: str) -> str | None:
        """The UUID in that field; None if it was not sent. Raises BAD_REQUEST."""
        return uuid_of(name, self._fields.get(name))

    async def commit(self, digests: Collection[bytes]) -> Record:
        """Store the file with its fields. Raises BAD_REQUEST, and what `Upload.commit` raises."""
        if self._upload is None:
            raise ServiceError(Code.BAD_REQUEST, f"the form has no file: send it in the field {self._names()}")
        conversation, ticket = (self.field(name) for name in self._rules.uuid_fields)
        return await self._upload.commit(conversation_id=conversation, ticket_id=ticket, digests=digests)

    async def _begin_part(self, part: PartBegin) -> None:
        self._in_file = part.filename is not None
        self._field = None
        if part.filename is not None:
            await self._begin_file(part, part.filename)
        elif part.name in self._rules.file_fields:
            raise ServiceError(Code.BAD_REQUEST, f"the field {part.name} has no file name: send it as a file")
        elif part.name in self._rules.uuid_fields:
            if part.name in self._fields:
                raise ServiceError(Code.BAD_REQUEST, f"the form has {part.name} twice")
            self._field = part.name
            self._fields[part.name] = b""

    async def _begin_file(self, part: PartBegin, filename: str) -> None:
        if part.name not in self._rules.file_fields:
            raise ServiceError(Code.BAD_REQUEST, f'a file came in the field "{part.name}": send it in {self._names()}')
        if self._upload is not None:
            raise ServiceError(Code.BAD_REQUEST, "the form has more than one file: send one a request")
        if part.headers.get(b"content-transfer-encoding", b"").lower() not in _AS_IS:
            raise ServiceError(
                Code.BAD_REQUEST, "Content-Transfer-Encoding is not supported: send the file's bytes as they are"
            )
        digest = part.headers.get(b"content-digest")
        self.file_digest = None if digest is None else sha256_of("Content-Digest of the file", digest)
        self._upload = await self._begin(filename).__aenter__()

    def _names(self) -> str:
        return " or ".join(f'"{name}"' for name in self._rules.file_fields)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file; what was not committed is removed."""
        if self._upload is not None:
            await self._upload.__aexit__(kind, error, trace)
