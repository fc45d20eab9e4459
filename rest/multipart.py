"""The body of multipart/form-data as events (RFC 7578). Pure: bytes in, events out.

Rules:
1. The bytes of a part are passed on as slices of what came in, never copied; what is not yet decided, a few bytes at the end of
   a chunk, waits for the next.
2. Any bytes give events or a `ServiceError`, the same however they are cut into chunks. After an error the reader is spent.
3. A boundary is a line: `--boundary`, then `--` or blanks and a line end (RFC 2046, 5.1.1). Anything else after it makes it
   content; line ends are CRLF, never a bare CR or LF.
4. Every count has a limit in `Limits`.
5. `filename*` is ignored (RFC 7578, 4.2): filters in front of us read `filename` only.
"""

import re
from collections.abc import Callable

import msgspec

from rest.boundary import BOUNDARY_MAX_BYTES
from rest.headers import parse_parameters
from schemas import Code, ServiceError

_BLANKS_MAX_BYTES = 64  # after a boundary; no known client sends any
# What follows a boundary: the end of the form, or the end of the line.
_AFTER_BOUNDARY = re.compile(rb"--|[ \t]{0,%d}\r\n" % _BLANKS_MAX_BYTES)
_BEGINS_AFTER_BOUNDARY = re.compile(rb"-?|[ \t]{0,%d}\r?" % _BLANKS_MAX_BYTES)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([^\r\n]*+)\r\n")  # a token, a colon, the value
_HEADER_FRAME = len(b": \r\n")
# What browsers (WHATWG HTML, 4.10.21.8) and curl since 7.81 put for what would end a quoted name; nothing else is decoded.
_PERCENT = re.compile("%(?:22|0d|0a)", re.IGNORECASE)
_PERCENT_DECODED = {"%22": '"', "%0d": "\r", "%0a": "\n"}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much there may be of everything but the file, whose size is the storage's affair. Sizes are in bytes.

    Far above what forms of attachments hold (three parts with two or three headers), far below what costs us memory.
    """

    parts: int = 20
    headers: int = 8  # of one part
    header_bytes: int = 8 * 1024  # of one part, names and values; nginx's and Apache's limit for one field
    name_bytes: int = 256  # of a field's name
    field_bytes: int = 4 * 1024  # of a field's value; ours are UUIDs
    preamble_bytes: int = 1024  # before the first boundary; no known client sends any
    epilogue_bytes: int = 4 * 1024  # after the last boundary; no known client sends more than CRLF

    @property
    def envelope_bytes(self) -> int:
        """At most this much of a body is not the file: what it may exceed the largest file by."""
        a_part = (
            self.header_bytes
            + self.headers * _HEADER_FRAME
            + self.field_bytes
            + len(b"\r\n\r\n\r\n--\r\n")
            + BOUNDARY_MAX_BYTES
            + _BLANKS_MAX_BYTES
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


Buffer = bytes | bytearray
Event = PartBegin | PartData | PartEnd
PART_END = PartEnd()


class MultipartReader:
    """Turns a body, fed in chunks of any size, into events."""

    def __init__(self, boundary: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._limits = limits
        self._events: list[Event] = []
        self._held = b""  # the end of what came, which the next bytes decide
        self._step: Callable[[Buffer, int, int], int] = self._preamble
        self._ended = False
        self._parts = 0
        self._epilogue_bytes = 0
        self._is_file = False
        self._field_bytes = 0

    def feed(self, data: Buffer, end: int | None = None, *, start: int = 0) -> list[Event]:
        """What the next bytes complete: those of `data` from `start` on, up to `end` or all. Raises BAD_REQUEST.

        The events hold slices of `data`: use them before it changes.
        """
        if self._held:
            data, self._held = self._held + data[start:end], b""
            start, end = 0, None
        if end is None:
            end = len(data)
        position = start
        while position < end:
            position = self._step(data, position, end)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """The body has ended. Raises BAD_REQUEST unless its last boundary was seen."""
        begun = self._step != self._preamble
        del self._step  # a bound method of self: without it, no cycle waits for the collector
        if not begun:
            raise self._no_boundary()
        if not self._ended:
            raise ServiceError(Code.BAD_REQUEST, "the body ended before its closing boundary: it was cut off, send it again")

    # Each step takes bytes from `position` on and gives the position behind them; what it cannot decide it holds.

    def _preamble(self, data: Buffer, position: int, end: int) -> int:
        """What stands before the first boundary, and that boundary."""
        delimiter = self._delimiter
        if data.startswith(delimiter[2:], position, end):
            after = position + len(delimiter) - 2
        else:
            window_bytes = self._limits.preamble_bytes + len(delimiter)
            found = data.find(delimiter, position, min(end, position + window_bytes))
            if found == -1:
                if end - position >= window_bytes:
                    raise self._no_boundary()
                return self._hold(data, position, end)
            after = found + len(delimiter)
        if match := _AFTER_BOUNDARY.match(data, after, end):
            self._end_boundary(match)
            return match.end()
        if _BEGINS_AFTER_BOUNDARY.fullmatch(data, after, end):
            return self._hold(data, position, end)
        raise _malformed(self._limits)

    def _headers(self, data: Buffer, position: int, end: int) -> int:
        """The headers of a part, up to the empty line."""
        # The empty line may be the first.
        found = position if data[position : position + 2] == b"\r\n" else data.find(b"\r\n\r\n", position, end) + 2
        if found == 1:
            limits = self._limits
            line = data[max(data.rfind(b"\r\n", position, end) + 2, position) : end].removesuffix(b"\r")
            whole_bytes = limits.header_bytes + limits.headers * _HEADER_FRAME + len(b"\r\n")
            if end - position > whole_bytes or len(line) > limits.header_bytes:
                raise _malformed(limits)
            return self._hold(data, position, end)
        begin = _begin(self._read_headers(bytes(data[position:found])), self._limits)
        self._is_file = begin.filename is not None
        self._events.append(begin)
        return self._first_data(data, found, end)

    def _read_headers(self, block: bytes) -> dict[bytes, bytes]:
        """The headers by name in lower case; those of one name are joined with a comma."""
        limits = self._limits
        headers: dict[bytes, bytes] = {}
        position = count = size = 0
        while position < len(block):
            match = _HEADER.match(block, position)
            if match is None or len(match[0]) - len(b"\r\n") > limits.header_bytes:
                raise _malformed(limits)
            position = match.end()
            size += len(match[0]) - _HEADER_FRAME
            count += 1
            _check("the header section of a part", size, limits.header_bytes)
            if count > limits.headers:
                raise ServiceError(Code.BAD_REQUEST, f"a part has more than {limits.headers} headers")
            name, value = match[1].lower(), match[2].strip(b" \t")
            headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value
        return headers

    def _first_data(self, data: Buffer, position: int, end: int) -> int:
        """As `_data`, from the end of the empty line on, which also begins the delimiter of a part without content."""
        self._step = self._first_data
        return self._content(data, position + 2, end, position)

    def _data(self, data: Buffer, position: int, end: int) -> int:
        """The content of a part, and the boundary behind it."""
        return self._content(data, position, end, position)

    def _content(self, data: Buffer, position: int, end: int, search: int) -> int:
        """As `_data`; a boundary may begin at `search` already."""
        delimiter = self._delimiter
        while (found := data.find(delimiter, search, end)) != -1:
            search = found + len(delimiter)
            if match := _AFTER_BOUNDARY.match(data, search, end):
                self._pass_on(data, position, found)
                self._events.append(PART_END)
                self._end_boundary(match)
                return match.end()
            if _BEGINS_AFTER_BOUNDARY.fullmatch(data, search, end):
                break
        else:
            found = data.rfind(b"\r", max(search, end - len(delimiter) + 1), end)
            if found == -1 or not delimiter.startswith(data[found:end]):
                found = end
        if found >= position:
            self._step = self._data
            self._pass_on(data, position, found)
        return self._hold(data, found, end)

    def _pass_on(self, data: Buffer, start: int, end: int) -> None:
        if start >= end:
            return
        if not self._is_file:
            self._field_bytes += end - start
            _check("the value of a form field", self._field_bytes, self._limits.field_bytes)
        if type(data) is bytes and end - start == len(data):
            self._events.append(PartData(data))
        else:
            self._events.append(PartData(memoryview(data)[start:end]))

    def _end_boundary(self, match: re.Match[bytes]) -> None:
        if match[0] == b"--":
            self._ended = True
            self._step = self._epilogue
            return
        self._parts += 1
        if self._parts > self._limits.parts:
            raise ServiceError(Code.BAD_REQUEST, f"the form has more than {self._limits.parts} parts")
        self._field_bytes = 0
        self._step = self._headers

    def _epilogue(self, _data: Buffer, position: int, end: int) -> int:
        self._epilogue_bytes += end - position
        _check("the text after the last boundary", self._epilogue_bytes, self._limits.epilogue_bytes)
        return end

    def _hold(self, data: Buffer, position: int, end: int) -> int:
        self._held = bytes(data[position:end])
        return end

    def _no_boundary(self) -> ServiceError:
        boundary = self._delimiter[4:].decode("ascii")
        return ServiceError(
            Code.BAD_REQUEST, f'the body does not begin with the boundary that Content-Type names, "{boundary}"'
        )


def _check(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise ServiceError(Code.BAD_REQUEST, f"{what} exceeds {limit} bytes")


def _malformed(limits: Limits) -> ServiceError:
    return ServiceError(
        Code.BAD_REQUEST,
        "the body is malformed: a boundary is not followed by a line end, or a part's header is not `name: value` "
        f"of at most {limits.header_bytes} bytes",
    )


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
