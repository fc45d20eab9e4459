"""What the process writes to standard error, of requests and of events; for the form of the lines see `log_lines.py`.

The request log is on the path of every request, so `record` only appends to a list. Lines are encoded and written together
a moment later, in pieces of at most PIPE_BUF bytes that end with a line, since the kernel keeps those whole when several
workers write to one pipe. A reader that stalls stalls the server: lines are delayed rather than lost or piled up in memory.
Measured on 2026-11-22: see docs/decisions/0011-request-log.md.
"""

import asyncio
import logging
import logging.config
import os
import select
import time
from collections.abc import Callable
from typing import Final

from schemas import Code, ServiceError
from server.log_lines import EncodeLine, RequestLine, encode_line, log_config

FLUSH_AFTER_S: Final = 0.05
MAX_PENDING_LINES: Final = 1000
# A path that no route knows is a client's text of any length; the log needs enough of it to recognise the client's mistake.
MAX_ROUTE_CHARACTERS: Final = 200
# Guaranteed by POSIX to be at least 512; 4096 on Linux.
PIPE_BUF: Final = select.PIPE_BUF

_STDERR: Final = 2
_logger: Final = logging.getLogger("attachd")
_SERVER_ERROR: Final = 500
_SERVER_ERRORS: Final = frozenset(code.name for code in Code if code.http_status >= _SERVER_ERROR)

# Method, route, status, start and end by `time.perf_counter()`, bytes, request id, error, trace id.
Recorded = tuple[str, str, int, float, float, int, str, str, str]


def write_stderr(data: bytes) -> None:
    """Write all of `data`; a reader that went away must not take the server with it."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_STDERR, view) :]
    except OSError:
        return


class RequestLog:
    """Collects the requests of one event loop and writes them `flush_after_s` later; call `flush` at shutdown.

    `errors_only` leaves out what went well and what was the client's fault.
    """

    def __init__(
        self,
        write: Callable[[bytes], None] = write_stderr,
        *,
        encode: EncodeLine = encode_line,
        errors_only: bool = False,
        flush_after_s: float = FLUSH_AFTER_S,
        max_pending: int = MAX_PENDING_LINES,
    ) -> None:
        self._write = write
        self._encode = encode
        self._errors_only = errors_only
        self._flush_after_s = flush_after_s
        self._max_pending = max_pending
        self._pending: list[Recorded] = []
        self._clock = Clock()

    def record(
        self,
        method: str,
        route: str,
        status: int,
        started: float,
        size_bytes: int,
        request_id: str,
        error: str = "",
        trace_id: str = "",
    ) -> None:
        """Note one answered request; `started` is the `time.perf_counter()` of its beginning. Needs a running loop."""
        pending = self._pending
        pending.append((method, route, status, started, time.perf_counter(), size_bytes, request_id, error, trace_id))
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
        for method, route, status, started, ended, size_bytes, request_id, error, trace_id in pending:
            failed = status >= _SERVER_ERROR or error in _SERVER_ERRORS
            if self._errors_only and not failed:
                continue
            line = RequestLine(
                time=at(ended),
                level="error" if failed else "info",
                method=method,
                route=route[:MAX_ROUTE_CHARACTERS],
                status=status,
                ms=round((ended - started) * 1000, 3),
                bytes=size_bytes,
                request_id=request_id,
                error=error,
                trace_id=trace_id,
            )
            encoded = self._encode(line)
            if len(piece) + len(encoded) >= PIPE_BUF:
                self._write(bytes(piece))
                piece = bytearray()
            piece += encoded
            piece += b"\n"
        if piece:
            self._write(bytes(piece))


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


def configure_logging(level: str = "info", format: str = "json") -> None:
    """Have this process write events in that format, from that level on."""
    logging.config.dictConfig(log_config(level, format))


def log_event(message: str, **fields: str | float | None) -> None:
    """Write an event of the application at level info."""
    _logger.info(message, extra={"fields": fields})


def log_exception(error: BaseException, *, route: str, request_id: str) -> None:
    """Write what somebody must look at, once; the client reads "Internal server error" and the id.

    An outage is no bug: of a database or storage that failed the log has what its driver said, without a traceback.
    """
    fields = {"route": route[:MAX_ROUTE_CHARACTERS], "request_id": request_id}
    if isinstance(error, ServiceError) and error.code is Code.SERVICE_UNAVAILABLE:
        _logger.error("unavailable: %s", error.message, extra={"fields": fields | {"cause": error.cause}})
    else:
        _logger.error("unexpected exception", exc_info=error, extra={"fields": fields})
