"""A form with one file, on its way into the storage as it comes, by the rules of the API that takes it.

The file goes to its `Upload` piece by piece; text fields are held, each a few KiB at most. Fields may stand before or after the
file. What is known to be wrong is refused at once, while the client is still sending.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self

import msgspec

from rest.digests import sha256_of
from rest.multipart import Event, PartBegin, PartData
from schemas import UUID_PATTERN, Code, Fault, Record, ServiceError
from storage import Details, Upload

_UUID = re.compile(UUID_PATTERN)
_AS_IS = frozenset({b"", b"7bit", b"8bit", b"binary"})  # transfer encodings that encode nothing (RFC 2045, 6.2)


class FormRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which fields a form may have, and what is kept of them. Other text fields are ignored.

    `fields` has the text fields: each with its check, which gives the value of the field of that name or raises BAD_REQUEST.
    `details` makes of the values of those that were sent what is kept beside the file.
    """

    file_fields: tuple[str, ...]
    fields: Mapping[str, Callable[[str, bytes], str]]
    details: Callable[[Mapping[str, str]], Details]


def uuid_of(name: str, value: bytes) -> str:
    """The UUID that the field or header of that name gives, as it was sent. Raises BAD_REQUEST."""
    text = value.decode("latin-1")
    if not _UUID.fullmatch(text):
        raise ServiceError(Code.BAD_REQUEST, f"{name} must be a UUID")
    return text


def text_of(name: str, value: bytes) -> str:
    """The text that the field of that name gives. Raises BAD_REQUEST."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ServiceError(Code.BAD_REQUEST, f"{name} must be UTF-8") from None


def _links(fields: Mapping[str, str]) -> Details:
    return Details(conversation_id=fields.get("conversationId"), ticket_id=fields.get("ticketId"))


# The form of API A.
LINKED_FILE = FormRules(file_fields=("file", "files"), fields={"conversationId": uuid_of, "ticketId": uuid_of}, details=_links)


class FileForm:
    """Takes the events of a form. `begin` makes the Upload of a file name; use as an async context manager."""

    def __init__(self, rules: FormRules, begin: Callable[[str], Upload]) -> None:
        self._rules = rules
        self._begin = begin
        self._upload: Upload | None = None
        self._in_file = False
        self._field: str | None = None  # the text field that is being read
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
            self._begin_part(event)
        else:
            self._in_file = False

    @property
    def upload(self) -> Upload | None:
        """The upload whose bytes come now; None outside the file's part."""
        return self._upload if self._in_file else None

    async def commit(self, digests: Collection[bytes]) -> Record:
        """Store the file with its fields. Raises BAD_REQUEST, and what `Upload.commit` raises."""
        if self._upload is None:
            message = f"the form has no file: send it in the field {self._names()}"
            raise ServiceError(Code.BAD_REQUEST, message, fault=Fault.NO_FILE)
        values = {name: self._rules.fields[name](name, value) for name, value in self._fields.items()}
        return await self._upload.commit(self._rules.details(values), digests)

    def _begin_part(self, part: PartBegin) -> None:
        self._in_file = part.filename is not None
        self._field = None
        if part.filename is not None:
            self._begin_file(part, part.filename)
        elif part.name in self._rules.file_fields:
            message = f"the field {part.name} has no file name: send it as a file"
            raise ServiceError(Code.BAD_REQUEST, message, fault=Fault.NO_FILE)
        elif part.name in self._rules.fields:
            if part.name in self._fields:
                raise ServiceError(Code.BAD_REQUEST, f"the form has {part.name} twice")
            self._field = part.name
            self._fields[part.name] = b""

    def _begin_file(self, part: PartBegin, filename: str) -> None:
        if self._upload is not None:
            message = "the form has more than one file: send one a request"
            raise ServiceError(Code.BAD_REQUEST, message, fault=Fault.TOO_MANY_FILES)
        if part.name not in self._rules.file_fields:
            message = f'a file came in the field "{part.name}": send it in {self._names()}'
            raise ServiceError(Code.BAD_REQUEST, message, fault=Fault.NO_FILE)
        if part.headers.get(b"content-transfer-encoding", b"").lower() not in _AS_IS:
            raise ServiceError(
                Code.BAD_REQUEST, "Content-Transfer-Encoding is not supported: send the file's bytes as they are"
            )
        digest = part.headers.get(b"content-digest")
        self.file_digest = None if digest is None else sha256_of("Content-Digest of the file", digest)
        self._upload = self._begin(filename)

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
