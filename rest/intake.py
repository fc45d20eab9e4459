"""A file from a request's body into the storage: out of a form, or the body itself. The one way for REST and tRPC.

Nothing is held beyond the piece that came last: it is parsed, counted, hashed and given to the `Upload`, which is waited for
before the next piece is asked for. What the headers tell is checked before the first piece is asked for, so that a client which
waits for `100 Continue` never sends what is refused.
"""

import hashlib
import re
import sys
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from rest.boundary import boundary_of
from rest.digests import sha256_of
from rest.exchanges import Exchange, body_too_large
from rest.forms import LINKED_FILE, FileForm, FormRules, uuid_of
from rest.multipart import DEFAULT_LIMITS, Event, MultipartReader, PartData
from rest.one_file import read_one_file
from rest.pouring import pour
from schemas import Code, Record, ServiceError
from storage import BeginUpload, Details, Upload

# What the headers of a body that is the file itself say, as the fields of a form do.
FILENAME_HEADER = "x-attachd-filename"
CONVERSATION_HEADER = "x-attachd-conversation-id"
TICKET_HEADER = "x-attachd-ticket-id"
_OWN_HEADERS = (FILENAME_HEADER, CONVERSATION_HEADER, TICKET_HEADER)
FORM_HEADERS = frozenset({b"content-type", b"content-encoding", b"content-digest", b"repr-digest"})
INTAKE_HEADERS = FORM_HEADERS | {name.encode() for name in _OWN_HEADERS}  # that the Exchange must have picked

_ENVELOPE_BYTES = DEFAULT_LIMITS.envelope_bytes
_DIGESTS = (("Content-Digest", b"content-digest"), ("Repr-Digest", b"repr-digest"))
# Visible ASCII and blanks, whose percent signs begin escapes; a comma means that the header came twice (RFC 9110, 5.3).
_ENCODED = re.compile(rb"(?:[ !-$&-+\--~]|%[0-9A-Fa-f]{2})*")


Note = Callable[[bytes | memoryview], None]  # takes each piece of a body whose digest was announced


async def receive_form(
    exchange: Exchange, begin: BeginUpload, max_file_bytes: int, idle_timeout_s: float, rules: FormRules = LINKED_FILE
) -> Record:
    """Store the one file of a form with the text fields that the rules name, unless said otherwise those of API A.

    The body may have `max_file_bytes` and what a form adds. Raises UNSUPPORTED_MEDIA_TYPE, BAD_REQUEST, and what
    `Exchange.read`, `begin` and Upload raise.
    """
    _refuse_coding(exchange)
    boundary = boundary_of(exchange.headers.get(b"content-type", b""))
    announced = _announced(exchange)
    max_body_bytes = max_file_bytes + _ENVELOPE_BYTES
    least_bytes = _least_file_bytes(exchange, max_body_bytes)

    def begin_file(filename: str) -> Upload:
        return begin(filename, least_bytes)

    async with FileForm(rules, begin_file) as form:
        digest = hashlib.sha256() if announced else None
        note = None if digest is None else digest.update
        if (whole := exchange.whole(max_body_bytes)) is not None:
            await _take_whole(form, boundary, *whole, note)
            del whole  # not held any longer while the rest is waited for
        else:
            await _take_pieces(form, boundary, exchange, max_body_bytes, idle_timeout_s, note)
        return await form.commit(_expected(announced if digest is None else announced - {digest.digest()}, form.file_digest))


async def _take_whole(form: FileForm, boundary: bytes, data: bytes, start: int, note: Note | None) -> None:
    """Read the form that has come already, `data` from `start` on."""
    if note is not None:
        note(memoryview(data)[start:])
    if (events := read_one_file(boundary, data, start)) is not None:
        for event in events:
            await form.take(event)
        return
    reader = MultipartReader(boundary)
    for event in reader.feed(data, start=start):
        await form.take(event)
    reader.close()


async def _take_pieces(
    form: FileForm, boundary: bytes, exchange: Exchange, max_body_bytes: int, idle_timeout_s: float, note: Note | None
) -> None:
    """Read the form as it comes."""
    reader = MultipartReader(boundary)
    while (data := await exchange.read(max_body_bytes, idle_timeout_s)) is not None:
        if note is not None:
            note(data)
        for event in reader.feed(data):
            await form.take(event)
        if form.upload is not None and note is None:
            for event in await pour(exchange, form.upload, reader.feed, idle_timeout_s):
                await form.take(event)
    reader.close()


async def receive_file(exchange: Exchange, begin: BeginUpload, idle_timeout_s: float) -> Record:
    """Store the body as a file, with the name and the ids that the headers give.

    Its limit is that of the Upload. Raises as `receive_form`.
    """
    _refuse_coding(exchange)
    digests = _expected(_announced(exchange), None)
    filename = _filename(exchange.headers.get(FILENAME_HEADER.encode()))
    details = Details(conversation_id=_uuid(exchange, CONVERSATION_HEADER), ticket_id=_uuid(exchange, TICKET_HEADER))
    async with begin(filename, exchange.declared_bytes()) as upload:
        while (data := await exchange.read(sys.maxsize, idle_timeout_s)) is not None:
            await upload.write(data)
            await pour(exchange, upload, _all, idle_timeout_s)
        return await upload.commit(details, digests)


def _uuid(exchange: Exchange, name: str) -> str | None:
    value = exchange.headers.get(name.encode())
    return None if value is None else uuid_of(name, value)


def _all(buffer: bytearray, count: int) -> list[Event]:
    """A body that is nothing but the file."""
    return [PartData(memoryview(buffer)[:count])]


def _least_file_bytes(exchange: Exchange, max_body_bytes: int) -> int | None:
    """What the file must have at least, by Content-Length. Raises PAYLOAD_TOO_LARGE when no file may have so much."""
    declared = exchange.declared_bytes()
    if declared is None:
        return None
    if declared > max_body_bytes:
        raise body_too_large(max_body_bytes)
    return max(declared - _ENVELOPE_BYTES, 0)


def _refuse_coding(exchange: Exchange) -> None:
    coding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding != b"identity":
        raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not supported: send the body as it is")


def _filename(value: bytes | None) -> str:
    """The name in the header of that value. Raises BAD_REQUEST."""
    encode = "percent-encode the name's UTF-8, as encodeURIComponent does"
    if not value:
        raise ServiceError(Code.BAD_REQUEST, f"the file has no name: send it in the header {FILENAME_HEADER} ({encode})")
    if _ENCODED.fullmatch(value):
        try:
            return unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            pass
    raise ServiceError(Code.BAD_REQUEST, f"the header {FILENAME_HEADER} is malformed: {encode}")


def _announced(exchange: Exchange) -> set[bytes]:
    """The SHA-256 values that the request's headers announce."""
    fields = [sha256_of(field, exchange.headers[name]) for field, name in _DIGESTS if name in exchange.headers]
    return {digest for digest in fields if digest is not None}


def _expected(announced: set[bytes], file_digest: bytes | None) -> set[bytes]:
    """The one SHA-256 that the file must have, if any was announced that is not the form's.

    RFC 9530 (2) lets Content-Digest speak of the request's content, which for a form is the form. Clients that mean the file
    are understood too: they have its digest at hand, not that of a body which their library writes.
    """
    expected = announced if file_digest is None else announced | {file_digest}
    if len(expected) > 1:
        raise ServiceError(Code.BAD_REQUEST, "the digests that came with the file contradict each other")
    return expected
