"""The log: whole JSON lines, nothing secret, bounded, cheap."""

import asyncio
import datetime
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from server.log import MAX_ROUTE_CHARACTERS, PIPE_BUF, Clock, RequestLog
from server.log_lines import JsonFormatter

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Pieces:
    """Collects what is written, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, data: bytes) -> None:
        self.pieces.append(data)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.pieces).splitlines()]


def run(use: Callable[[RequestLog], None], *, wait_s: float = 0.0, **options: Any) -> Pieces:
    """What is written when `use` records on a running loop, `wait_s` later, before any flush at shutdown."""
    pieces = Pieces()

    async def main() -> None:
        use(RequestLog(pieces, **options))
        await asyncio.sleep(wait_s)

    asyncio.run(main())
    return pieces


def test_a_line() -> None:
    started = time.perf_counter()
    pieces = run(lambda log: log.record("GET", "attachments.get", 200, started, 321, "r1"), flush_after_s=0.001, wait_s=0.05)
    (line,) = pieces.lines
    assert TIME.fullmatch(line.pop("time"))
    assert 0 <= line.pop("ms") < 1000
    assert line == {
        "level": "info",
        "method": "GET",
        "route": "attachments.get",
        "status": 200,
        "bytes": 321,
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("status", "level"),
    [(200, "info"), (404, "info"), (499, "info"), (500, "error"), (503, "error")],
)
def test_level_follows_the_status(status: int, level: str) -> None:
    def use(log: RequestLog) -> None:
        log.record("GET", "r", status, 0.0, 0, "")
        log.flush()

    assert run(use).lines[0]["level"] == level


def test_lines_wait_for_each_other_and_then_come_in_order() -> None:
    def use(log: RequestLog) -> None:
        for number in range(3):
            log.record("GET", "r", 200, 0.0, number, "")

    assert run(use, flush_after_s=60).pieces == []
    pieces = run(use, flush_after_s=0.001, wait_s=0.05)
    assert [line["bytes"] for line in pieces.lines] == [0, 1, 2]
    assert len(pieces.pieces) == 1


def test_no_more_than_max_pending_lines_wait() -> None:
    def use(log: RequestLog) -> None:
        for number in range(25):
            log.record("GET", "r", 200, 0.0, number, "")

    assert [line["bytes"] for line in run(use, flush_after_s=60, max_pending=10).lines] == list(range(20))


def test_pieces_hold_whole_lines_and_fit_a_pipe() -> None:
    """The kernel keeps writes of up to PIPE_BUF whole, so the lines of several workers do not mix."""

    def use(log: RequestLog) -> None:
        for number in range(500):
            log.record("GET", "r" * (number % 150), 200, 0.0, number, "")
        log.flush()

    pieces = run(use).pieces
    assert len(pieces) > 10
    assert all(len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in pieces)


@pytest.mark.parametrize(
    ("route", "logged"),
    [
        pytest.param('a"\n\x00\u2028', 'a"\n\x00\u2028', id="escaped"),
        pytest.param("x" * 5000, "x" * MAX_ROUTE_CHARACTERS, id="cut"),
        pytest.param("\U0001f600" * 5000, "\U0001f600" * MAX_ROUTE_CHARACTERS, id="cut-wide"),
        pytest.param("a\ud800b", "a?b", id="lone-surrogate"),
    ],
)
def test_a_route_is_a_clients_text(route: str, logged: str) -> None:
    def use(log: RequestLog) -> None:
        log.record("GET", route, 404, 0.0, 0, "")
        log.flush()

    pieces = run(use)
    assert pieces.lines[0]["route"] == logged
    assert pieces.pieces[0].count(b"\n") == 1


def test_clock_agrees_with_the_wall() -> None:
    clock = Clock()
    text = clock.text(time.perf_counter())
    assert abs(datetime.datetime.fromisoformat(text).timestamp() - time.time()) < 1
    assert clock.text(time.perf_counter() + 1) > text


def test_flushing_nothing_writes_nothing() -> None:
    assert run(RequestLog.flush).pieces == []


def event(error: BaseException | None = None, **fields: object) -> dict[str, Any]:
    record = logging.LogRecord(
        "attachd", logging.ERROR, "", 1, "hello %s", ("you",), (type(error), error, None) if error else None
    )
    record.fields = fields
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_an_event_is_a_line_with_its_fields() -> None:
    line = event(route="attachments.get", request_id="r1")
    assert TIME.fullmatch(line.pop("time"))
    assert line == {
        "level": "error",
        "logger": "attachd",
        "message": "hello you",
        "route": "attachments.get",
        "request_id": "r1",
    }


def test_an_event_has_its_traceback() -> None:
    assert event(ValueError("bad"))["traceback"] == "ValueError: bad"


def test_recording_costs_little() -> None:
    """The budget is 2 us a request with its share of encoding and writing (1.6 us, 2026-11); ten times that is a mistake."""

    def use(log: RequestLog) -> None:
        for _ in range(10_000):
            log.record("GET", "attachments.get", 200, 0.0, 400, "0191c2b0-0000-7000-8000-000000000000")
        log.flush()

    started = time.perf_counter()
    run(use)
    assert (time.perf_counter() - started) / 10_000 < 20e-6
