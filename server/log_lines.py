"""How the lines of the log are written: JSON, one object a line, or text for a person at a terminal. Pure.

A line names methods, route patterns, procedures and ids; never a token, a header, an input or a file name. In text, what may be
a client's has its control characters escaped: nothing that a client sends ends a line or moves a cursor.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

_encoder: Final = msgspec.json.Encoder()


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request. `ms` runs from its headers to the end of its answer; `bytes` is the size of the answer's body.

    `error` is the code of the error that a stream ended with, since its status was sent before. `trace_id` is there when the
    request is traced.
    """

    time: str
    level: str
    method: str
    route: str
    status: int
    ms: float
    bytes: int
    request_id: str
    error: str = ""
    trace_id: str = ""


EncodeLine = Callable[[RequestLine], bytes]


def encode_line(line: RequestLine | dict[str, Any]) -> bytes:
    """One JSON object; lone surrogates, which a client can send in a path, become question marks."""
    try:
        return _encoder.encode(line)
    except UnicodeEncodeError:
        fields = line if isinstance(line, dict) else msgspec.structs.asdict(line)
        return _encoder.encode({key: _encodable(value) for key, value in fields.items()})


def encode_text(line: RequestLine) -> bytes:
    """The same for a person."""
    text = (
        f"{line.time} {line.level.upper():5} {_shown(line.method)} {_shown(line.route)} {line.status}"
        f" {line.ms:g} ms {line.bytes} B {line.request_id}"
    )
    ending = f" error={line.error}" if line.error else ""
    trace = f" trace_id={line.trace_id}" if line.trace_id else ""
    return f"{text}{ending}{trace}".encode(errors="replace")


def _encodable(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _shown(value: object) -> str:
    """The value in a line of text: printable characters only."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """Formats an event as one JSON line: time, level, logger, message, the event's own fields, and its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its newline."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return encode_line(line).decode()


class TextFormatter(logging.Formatter):
    """Formats an event for a person: one line, and its traceback in lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines without their last newline."""
        fields = getattr(record, "fields", {})
        told = "".join(f" {name}={_shown(value)}" for name, value in fields.items())
        line = f"{_time(record)} {record.levelname:5} {record.name}: {_shown(record.getMessage())}{told}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{line}{trace}".encode(errors="replace").decode()


def log_config(level: str = "info", format: str = "json") -> dict[str, Any]:
    """For `logging.config.dictConfig`, here and in each worker (uvicorn applies it there).

    The root logger belongs to the process; those of libraries stay as they are.
    """
    formatter = TextFormatter if format == "text" else JsonFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING" if level in {"debug", "info"} else level.upper()},
        "loggers": {"attachd": {"level": level.upper()}},
    }
