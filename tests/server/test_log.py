"""The log: whole JSON lines, nothing secret, bounded, cheap."""

import asyncio
import datetime
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from server.log import MAX_ROUTE_CHARACTERS, PIPE_BUF, Clock, RequestLog
from server.log_lines import JsonFormatter, TextFormatter, encode_text, log_config
from tests.running import Attachd, environment, run_attachd

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
    started = time.perf_counter() - 100
    pieces = run(lambda log: log.record("GET", "attachments.get", 200, started, 321, "r1"), flush_after_s=0.001, wait_s=0.05)
    (line,) = pieces.lines
    assert TIME.fullmatch(line.pop("time"))
    assert 100_000 <= line.pop("ms") < 160_000
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
    before = time.time()
    clock, reading = Clock(), time.perf_counter()
    text = clock.text(reading)
    # A machine that stalls between two readings shifts them.
    assert before - 1 < datetime.datetime.fromisoformat(text).timestamp() < time.time() + 1
    assert clock.text(reading + 1) > text


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

    def spent() -> float:
        started = time.process_time()  # whatever else the machine does
        run(use)
        return (time.process_time() - started) / 10_000

    assert min(spent() for _ in range(3)) < 20e-6  # the rest of this process may have had something to do meanwhile


def test_a_stream_that_ended_with_an_error_says_so() -> None:
    def use(log: RequestLog) -> None:
        log.record("GET", "r", 200, 0.0, 0, "", "SERVICE_UNAVAILABLE")
        log.record("GET", "r", 200, 0.0, 0, "", "UNAUTHORIZED", "0af7")
        log.flush()

    ours, theirs = run(use).lines
    assert (ours["level"], ours["error"]) == ("error", "SERVICE_UNAVAILABLE")
    assert (theirs["level"], theirs["error"], theirs["trace_id"]) == ("info", "UNAUTHORIZED", "0af7")
    assert "trace_id" not in ours


def test_errors_only() -> None:
    def use(log: RequestLog) -> None:
        for status, error in ((200, ""), (404, ""), (503, ""), (200, "INTERNAL_SERVER_ERROR"), (200, "UNAUTHORIZED")):
            log.record("GET", "r", status, 0.0, 0, "", error)
        log.flush()

    assert [line["status"] for line in run(use, errors_only=True).lines] == [503, 200]
    nothing = run(lambda log: log.record("GET", "r", 200, 0.0, 0, ""), errors_only=True, flush_after_s=0.001, wait_s=0.05)
    assert nothing.pieces == []


def test_text_for_a_terminal() -> None:
    def use(log: RequestLog) -> None:
        log.record("GET", "a\n\x1b[31mb\u2028", 404, time.perf_counter(), 7, "r1", "NOT_FOUND", "0af7")
        log.record("GET", "Grüße\ud800", 200, time.perf_counter(), 7, "r2")
        log.flush()

    first, second = b"".join(run(use, encode=encode_text).pieces).decode().splitlines()
    shown = r" INFO  GET a\\n\\x1b\[31mb\\u2028 404 [\d.e-]+ ms 7 B r1 error=NOT_FOUND trace_id=0af7"
    assert re.fullmatch(TIME.pattern + shown, first)
    assert " GET " in second
    assert second.endswith(" 7 B r2")


def text_event(error: BaseException | None = None, **fields: object) -> str:
    record = logging.LogRecord(
        "attachd", logging.WARNING, "", 1, "hello %s", ("you\nthere",), (type(error), error, None) if error else None
    )
    record.fields = fields
    return TextFormatter().format(record)


def test_an_event_as_text() -> None:
    assert re.fullmatch(TIME.pattern + r" WARNING attachd: hello you\\nthere route=a\\x00b n=1", text_event(route="a\0b", n=1))
    assert text_event(ValueError("bad")).endswith("\nValueError: bad")


@pytest.mark.parametrize(
    ("level", "root", "own"),
    [
        ("debug", "WARNING", "DEBUG"),
        ("info", "WARNING", "INFO"),
        ("warning", "WARNING", "WARNING"),
        ("error", "ERROR", "ERROR"),
    ],
)
def test_levels(level: str, root: str, own: str) -> None:
    config = log_config(level, "text")
    assert (config["root"]["level"], config["loggers"]["attachd"]["level"]) == (root, own)
    assert config["formatters"]["line"]["()"] is TextFormatter
    assert log_config()["formatters"]["line"]["()"] is JsonFormatter


def test_a_subscription_that_fails_is_told_in_its_line(tmp_path: Path) -> None:
    with Attachd(tmp_path) as server, server.client() as client:
        query = {"input": json.dumps({"json": {"conversationId": "none"}})}
        answer = client.get("/api/trpc/attachments.onChange", params=query, headers={"accept": "text/event-stream"})
        assert answer.status_code == 200
        assert "BAD_REQUEST" in answer.text
    (line,) = [line for line in server.lines() if line.get("route") == "attachments.onChange"]
    assert (line["status"], line["error"], line["level"]) == (200, "BAD_REQUEST", "info")


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        pytest.param("GET", "/chat/session-1/secret-id/secret-capability/secret-name.png/", "/chat/…", id="link-with-slash"),
        pytest.param("GET", "/chat/session-1/secret-id/secret-capabi", "/chat/…", id="cut-link"),
        pytest.param("GET", "//chat/session-1/secret-id/secret-capability/secret-name.png", "/…", id="doubled-slash"),
        pytest.param("GET", "/secret-name.png", "/…", id="name-alone"),
        pytest.param("GET", "/", "/…", id="root"),
        pytest.param("PUT", "/api/upload", "/api/upload", id="wrong-method-of-a-route"),
        pytest.param("GET", "/healthz", "/healthz", id="route-without-parameters"),
        pytest.param("GET", "/api/trpc/attachd_secret", "unknown", id="no-procedure"),
        pytest.param("GET", "/api/trpc/attachd_secret,attachments.limits?batch=1", "unknown,attachments.limits", id="batch"),
        pytest.param("POST", "/api/trpc/attachd_secret", "trpc", id="request-that-fails-as-a-whole"),
    ],
)
def test_what_is_no_route_and_no_procedure_may_be_a_secret(attachd: Attachd, method: str, path: str, route: str) -> None:
    with attachd.client() as client:
        request_id = client.request(method, path).headers["x-request-id"]
    assert logged(attachd, request_id)["route"] == route
    assert "secret-" not in attachd.log.read_text()
    assert "attachd_secret" not in attachd.log.read_text()


def test_a_stream_of_no_procedure_names_none(attachd: Attachd) -> None:
    query, headers = {"batch": "1", "input": "{}"}, {"trpc-accept": "application/jsonl"}
    with attachd.client() as client:
        answer = client.get("/api/trpc/attachd_secret", params=query, headers=headers)
    assert logged(attachd, answer.headers["x-request-id"])["route"] == "unknown"
    assert "attachd_secret" not in attachd.log.read_text()


def test_calls_over_websocket_of_no_procedure_name_none(tmp_path: Path) -> None:
    with Attachd(tmp_path) as attachd, connect(f"{attachd.base_url.replace('http', 'ws')}/api/trpc") as socket:
        for id, kind in enumerate(("query", "subscription")):
            socket.send(json.dumps({"id": id, "method": kind, "params": {"path": f"attachd_secret{id}"}}))
            assert "NOT_FOUND" in str(socket.recv(30))
    assert [line["route"] for line in attachd.lines() if line.get("method") == "WS"] == ["unknown", "unknown", "trpc"]
    assert "attachd_secret" not in attachd.log.read_text()


def logged(server: Attachd, request_id: str) -> dict[str, Any]:
    """The line of a request, which comes a moment after its answer."""
    deadline = time.monotonic() + 30
    while not (lines := [line for line in server.lines() if line.get("request_id") == request_id]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return lines[0]


def test_a_server_writes_what_the_settings_want(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False) as server:  # whose address is in a line of JSON
        base_url = server.base_url
        assert httpx.get(f"{base_url}/nothing").status_code == 404
    assert [line["status"] for line in server.lines() if line.get("route") == "/…"] == [404]
    server.settings |= {"ATTACHD_LOG_LEVEL": "warning", "ATTACHD_SERVER_PORT": base_url.rsplit(":", 1)[1]}
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "serve"],
        cwd=tmp_path,
        env=environment(**server.settings, ATTACHD_LOG_FORMAT="text"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_ready(base_url)
        assert httpx.get(f"{base_url}/nothing").status_code == 404
    finally:
        process.terminate()
        _, written = process.communicate(timeout=60)
    assert written == ""


@pytest.mark.parametrize(("name", "value"), [("LEVEL", "loud"), ("FORMAT", "xml")])
def test_settings_that_cannot_be(tmp_path: Path, name: str, value: str) -> None:
    done = run_attachd("serve", folder=tmp_path, **{f"ATTACHD_LOG_{name}": value})
    assert done.returncode == 2
    assert f"log.{name.lower()}: unknown '{value}'; write " in done.stderr


def wait_until_ready(base_url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{base_url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
