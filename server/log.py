"""What the process writes to standard error: JSON, one object a line, of requests and of events.

A line names methods, route patterns, procedures and ids; never a token, a header, an input or a file name. The request
log is on the path of every request, so `record` only appends to a list. Lines are encoded and written together a moment
later, in pieces of at most PIPE_BUF bytes that end with a line, since the kernel keeps those whole when several workers
write to one pipe. A reader that stalls stalls the server: lines are delayed rather than lost or piled up in memory.
Measured on 2026-11-22: see docs/decisions/0011-request-log.md.
"""

import asyncio
import logging
import logging.config
import os
import select
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

FLUSH_AFTER_S: Final = 0.05
MAX_PENDING_LINES: Final = 1000
# A path that no route knows is a client's text of any length; the log needs enough of it to recognise the client's mistake.
MAX_ROUTE_CHARACTERS: Final = 200
# Guaranteed by POSIX to be at least 512; 4096 on Linux.
PIPE_BUF: Final = select.PIPE_BUF

_STDERR: Final = 2
_encoder: Final = msgspec.json.Encoder()
_logger: Final = logging.getLogger("attachd")


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `ms` runs from its headers to the end of its answer; `bytes` is the size of the answer's body."""

    time: str
    level: str
    method: str
    route: str
    status: int
    ms: float
    bytes: int
    request_id: str


def write_stderr(data: bytes) -> None:
    """Write all of `data`; a reader that went away must not take the server with it."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_STDERR, view) :]
    except OSError:
        return


class RequestLog:
    """Collects the requests of one event loop and writes them `flush_after_s` later; call `flush` at shutdown."""

    def __init__(
        self,
        write: Callable[[bytes], None] = write_stderr,
        *,
        flush_after_s: float = FLUSH_AFTER_S,
        max_pending: int = MAX_PENDING_LINES,
    ) -> None:
        self._write = write
        self._flush_after_s = flush_after_s
        self._max_pending = max_pending
        self._pending: list[tuple[str, str, int, float, float, int, str]] = []
        self._clock = Clock()

    def record(self, method: str, route: str, status: int, started: float, size_bytes: int, request_id: str) -> None:
        """Note one answered request; `started` is the `time.perf_counter()` of its beginning. Needs a running loop."""
        pending = self._pending
        pending.append((method, route, status, started, time.perf_counter(), size_bytes, request_id))
        if len(pending) == 1:
            asyncio.get_running_loop().call_later(self._flush_after_s, self.flush)
        elif len(pending) >= self._max_pending:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._clock.synchronise()
        at = self._clock.text
        piece = bytearray()
        for method, route, status, started, ended, size_bytes, request_id in pending:
            line = RequestLine(
                time=at(ended),
                level="error" if status >= 500 else "info",
                method=method,
                route=route[:MAX_ROUTE_CHARACTERS],
                status=status,
                ms=round((ended - started) * 1000, 3),
                bytes=size_bytes,
                request_id=request_id,
            )
            encoded = encode_line(line)
            if len(piece) + len(encoded) >= PIPE_BUF:
                self._write(bytes(piece))
                piece = bytearray()
            piece += encoded
            piece += b"\n"
        self._write(bytes(piece))


def encode_line(line: RequestLine | dict[str, Any]) -> bytes:
    """One JSON object; lone surrogates, which a client can send in a path, become question marks."""
    try:
        return _encoder.encode(line)
    except UnicodeEncodeError:
        fields = line if isinstance(line, dict) else msgspec.structs.asdict(line)
        return _encoder.encode({key: _printable(value) for key, value in fields.items()})


def _printable(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


class Clock:
    """Turns readings of `time.perf_counter()` into ISO 8601 UTC with milliseconds; formats each second once."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._second = -1
        self._text = ""
        self.synchronise()

    def synchronise(self) -> None:
        """Follow the wall clock, which may have been set since."""
        self._offset_s = time.time() - time.perf_counter()

    def text(self, reading: float) -> str:
        """The time of a reading, such as 2024-01-15T10:30:00.000Z."""
        milliseconds = int((reading + self._offset_s) * 1000)
        second, rest = divmod(milliseconds, 1000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{rest:03d}Z"


class JsonFormatter(logging.Formatter):
    """Formats an event as one JSON line: time, level, logger, message, the event's own fields, and its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its newline."""
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return encode_line(line).decode()


# For `logging.config.dictConfig`, here and in each worker (uvicorn applies it there). The root logger belongs to the
# process; those of libraries stay as they are.
LOG_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"attachd": {"level": "INFO"}},
}


def configure_logging() -> None:
    """Apply LOG_CONFIG to this process."""
    logging.config.dictConfig(LOG_CONFIG)


def log_event(message: str, **fields: str | float | None) -> None:
    """Write an event of the application at level info."""
    _logger.info(message, extra={"fields": fields})


def log_exception(error: BaseException, *, route: str, request_id: str) -> None:
    """Write an unexpected exception with its traceback, once; the client reads "Internal server error" and the id."""
    fields = {"route": route[:MAX_ROUTE_CHARACTERS], "request_id": request_id}
    _logger.error("unexpected exception", exc_info=error, extra={"fields": fields})
