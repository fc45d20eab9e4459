"""The body of multipart/form-data as events (RFC 7578). Pure: bytes in, events out.

Rules:
1. `python_multipart`'s push parser finds the parts; what it finds is counted here, because past its own `max_size` it drops
   bytes in silence. Every count has a limit in `Limits`.
2. The text before the first boundary is skipped here, not by the parser, whose way depends on how the bytes were cut.
3. The bytes of a part are passed on as slices of what came in, never copied.
4. Any bytes give events or a `ServiceError`, the same however they are cut into chunks; only the text after the last boundary
   is counted from the next chunk on, for the parser does not tell where it begins. After an error the reader is spent.
5. `filename*` is ignored (RFC 7578, 4.2): filters in front of us read `filename` only.
"""

import logging
import re
import sys

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from rest.headers import parse_parameters
from schemas import Code, ServiceError

_BOUNDARY_MAX_BYTES = 70  # RFC 2046, 5.1.1
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # bchars, RFC 2046, 5.1.1
# The parser warns on each malformed body; the error that follows says the same, to the client that is at fault.
_SILENT = logging.Logger("rest.multipart", logging.CRITICAL)  # noqa: LOG001 - a logger outside the tree, so that no setting brings it back
# What browsers (WHATWG HTML, 4.10.21.8) and curl since 7.81 put for what would end a quoted name; nothing else is decoded.
_PERCENT = re.compile("%(?:22|0d|0a)", re.IGNORECASE)
_PERCENT_DECODED = {"%22": '"', "%0d": "\r", "%0a": "\n"}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much there may be of everything but the file, whose size is the storage's affair. Sizes are in bytes.

    Far above what forms of attachments hold (three parts with two or three headers), far below what costs us memory.
    """

    parts: int = 20
    headers: int = 8  # of one part; python_multipart's default
    header_bytes: int = 8 * 1024  # of one part, names and values; nginx's and Apache's limit for one field
    name_bytes: int = 256  # of a field's name
    field_bytes: int = 4 * 1024  # of a field's value; ours are UUIDs
    preamble_bytes: int = 1024  # before the first boundary; no known client sends any
    epilogue_bytes: int = 4 * 1024  # in chunks after the one that ended the form; no known client sends more than CRLF

    @property
    def envelope_bytes(self) -> int:
        """At most this much of a body is not the file: what it may exceed the largest file by."""
        a_part = (
            self.header_bytes
            + self.headers * len(b":   \r\n")
            + self.field_bytes
            + len(b"\r\n\r\n\r\n--\r\n")
            + _BOUNDARY_MAX_BYTES
        )
        return self.preamble_bytes + self.parts * a_part + self.epilogue_bytes


DEFAULT_LIMITS = Limits()


class PartBegin(msgspec.Struct, frozen=True, gc=False):
    """A part begins: the field's name, the file's name if it is a file, and all headers by name in lower case."""

    name: str
    filename: str | None
    headers: dict[bytes, bytes]


class PartData(msgspec.Struct, frozen=True, gc=False):
    """The next bytes of the part: a slice of the chunk that was fed."""

    data: bytes | memoryview


class PartEnd(msgspec.Struct, frozen=True):
    """The part is complete."""


Event = PartBegin | PartData | PartEnd
_PART_END = PartEnd()


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a request's Content-Type names.

    Raises UNSUPPORTED_MEDIA_TYPE unless it is multipart/form-data, BAD_REQUEST when the boundary is missing or malformed.
    """
    kind = content_type.partition(b";")[0].strip(b" \t").lower()
    if kind != b"multipart/form-data":
        sent = kind[:100].decode("latin-1") or "nothing"
        raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, f"send the file as multipart/form-data; Content-Type is {sent}")
    boundary = parse_parameters("Content-Type", content_type)[1].get(b"boundary")
    if not boundary:
        raise ServiceError(Code.BAD_REQUEST, "Content-Type has no boundary: let the client library set this header")
    if len(boundary) > _BOUNDARY_MAX_BYTES:
        raise ServiceError(Code.BAD_REQUEST, f"the boundary in Content-Type exceeds {_BOUNDARY_MAX_BYTES} characters")
    if not _BOUNDARY.fullmatch(boundary):
        raise ServiceError(Code.BAD_REQUEST, "the boundary in Content-Type has characters that RFC 2046 does not allow")
    return boundary


class MultipartReader:
    """Turns a body, fed in chunks of any size, into events."""

    def __init__(self, boundary: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._limits = limits
        self._events: list[Event] = []
        self._preamble: bytes | None = b""  # None once the first boundary was found
        self._ended = False
        self._parts = 0
        self._epilogue_bytes = 0
        self._header_name = self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = self._header_bytes = 0
        self._is_file = False
        self._field_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_begin": self._on_header_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            # Counted here, over the whole part. The parser's own count is kept for what it skips before a value.
            max_header_count=sys.maxsize,
            max_header_size=limits.header_bytes,
        )
        self._parser.logger = _SILENT

    def feed(self, data: bytes) -> list[Event]:
        """What the next bytes complete. Raises BAD_REQUEST."""
        if self._ended:
            self._epilogue_bytes += len(data)
            self._check("the text after the last boundary", self._epilogue_bytes, self._limits.epilogue_bytes)
            return []
        if self._preamble is not None:
            data = self._skip_preamble(self._preamble + data if self._preamble else data)
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise ServiceError(
                Code.BAD_REQUEST,
                "the body is malformed: a boundary is not followed by a line end, or a part's header is not `name: value` "
                f"of at most {self._limits.header_bytes} bytes",
            ) from error
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """The body has ended. Raises BAD_REQUEST unless its last boundary was seen."""
        self._parser.callbacks = {}  # bound methods of self: without them, no cycle waits for the collector
        if self._preamble is not None:
            raise self._no_boundary()
        if not self._ended:
            raise ServiceError(Code.BAD_REQUEST, "the body ended before its closing boundary: it was cut off, send it again")

    def _skip_preamble(self, data: bytes) -> bytes:
        """`data` from its first boundary on; empty while there is none."""
        window = self._limits.preamble_bytes + len(self._delimiter)
        start = -2 if data.startswith(self._delimiter[2:]) else data.find(self._delimiter, 0, window)
        if start != -1:
            self._preamble = None
            return data[start + 2 :]
        if len(data) >= window:
            raise self._no_boundary()
        self._preamble = data
        return b""

    def _no_boundary(self) -> ServiceError:
        boundary = self._delimiter[4:].decode("ascii")
        return ServiceError(
            Code.BAD_REQUEST, f'the body does not begin with the boundary that Content-Type names, "{boundary}"'
        )

    def _check(self, what: str, count: int, limit: int) -> None:
        if count > limit:
            raise ServiceError(Code.BAD_REQUEST, f"{what} exceeds {limit} bytes")

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise ServiceError(Code.BAD_REQUEST, f"the form has more than {self._limits.parts} parts")
        self._headers = {}
        self._header_count = self._header_bytes = self._field_bytes = 0

    def _on_header_begin(self) -> None:
        self._header_count += 1
        if self._header_count > self._limits.headers:
            raise ServiceError(Code.BAD_REQUEST, f"a part has more than {self._limits.headers} headers")
        self._header_name = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        self._check("the header section of a part", self._header_bytes, self._limits.header_bytes)

    def _on_header_end(self) -> None:
        name, value = self._header_name.lower(), self._header_value.strip(b" \t")
        self._headers[name] = b"%b, %b" % (self._headers[name], value) if name in self._headers else value

    def _on_headers_finished(self) -> None:
        begin = _begin(self._headers, self._limits)
        self._is_file = begin.filename is not None
        self._events.append(begin)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._field_bytes += end - start
            self._check("the value of a form field", self._field_bytes, self._limits.field_bytes)
        whole = start == 0 and end == len(data)
        self._events.append(PartData(data if whole else memoryview(data)[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(_PART_END)

    def _on_end(self) -> None:
        self._ended = True


def _begin(headers: dict[bytes, bytes], limits: Limits) -> PartBegin:
    """The event of a part with these headers. Raises BAD_REQUEST when they name no field."""
    kind, parameters = parse_parameters("Content-Disposition of a part", headers.get(b"content-disposition", b""))
    name = parameters.get(b"name")
    if kind != b"form-data" or name is None:
        raise ServiceError(Code.BAD_REQUEST, "a part lacks the header `Content-Disposition: form-data; name=…`")
    if len(name) > limits.name_bytes:
        raise ServiceError(Code.BAD_REQUEST, f"a field name exceeds {limits.name_bytes} bytes")
    filename = parameters.get(b"filename")
    return PartBegin(_text(name), None if filename is None else _text(filename), headers)


def _text(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise ServiceError(Code.BAD_REQUEST, "field and file names must be UTF-8") from None
    return _PERCENT.sub(lambda match: _PERCENT_DECODED[match[0].lower()], text) if "%" in text else text
