"""Answers that come piece by piece, JSON lines and server-sent events, in a form that can be compared.

In which order chunks of different calls come is chance, and so are the numbers that JSON lines give to what comes later: both
are taken out. What comes for one value, and every server-sent event, must come in the same order.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.conformance.differential.compare import compare, normal
from tests.conformance.differential.peers import TIMEOUT_S

HEADERS = ("content-type", "cache-control", "x-accel-buffering", "vary", "allow")
# The text of an exception that nobody expects, which tRPC sends to the client and attachd keeps.
UNEXPECTED = "a detail that is nobody's business"
TOLD_OF_UNEXPECTED = "Internal server error"
_END_OF_EVENT = "\n\n\n"


class Streamed(NamedTuple):
    """A streamed answer; `whole` is false if it was left before its end."""

    status: int
    headers: dict[str, str | None]
    text: str
    whole: bool


def ask(port: int, method: str, request: bytes, events: int | None = None) -> Streamed:
    """The answer to the bytes of a request; with `events`, only up to the end of that many server-sent events."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        # It may answer and close before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        body = b""
        while events is None or body.count(_END_OF_EVENT.encode()) < events:
            piece = response.read1()
            if not piece:
                break
            body += piece
        whole = response.isclosed() or response.length == 0
    text = body.decode()
    if events is not None:
        text = "".join(event + _END_OF_EVENT for event in text.split(_END_OF_EVENT)[:events])
    return Streamed(response.status, {name: response.getheader(name) for name in HEADERS}, text, whole)


def differences(reference: Streamed, attachd: Streamed) -> set[str]:
    """Where the two differ: `status 200 -> 400`, `vary None -> accept`, and paths such as `body.1.data.json`."""
    found = set()
    theirs, ours = ({"status": answer.status, **answer.headers, "whole": answer.whole} for answer in (reference, attachd))
    for name in theirs:
        if theirs[name] != ours[name]:
            found.add(f"{name} {theirs[name]} -> {ours[name]}")
    told = reference._replace(text=reference.text.replace(UNEXPECTED, TOLD_OF_UNEXPECTED))
    return found | set(compare(normal(parse(told)), normal(parse(attachd)), "body"))


def parse(answer: Streamed) -> Any:
    """The body by its media type: events, what JSON lines say, or one JSON value."""
    if answer.headers["content-type"] == "text/event-stream":
        return list(read_events(answer.text))
    if not answer.text:
        return None
    *lines, rest = answer.text.split("\n")  # not splitlines(), which splits at what JSON may hold
    return json_lines(lines) if lines and not rest else json.loads(answer.text)


def read_events(text: str) -> Iterator[list[Any]]:
    """The events as they were written: each the list of its lines, [name, value], with `data` read as JSON if it is some."""
    *events, rest = text.split(_END_OF_EVENT)
    assert not rest, f"an event without its end: {rest!r}"
    for event in events:
        lines = [line.partition(": ") for line in event.split("\n")]
        yield [[name, _read_json(value) if name == "data" else value] for name, _, value in lines]


def _read_json(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text


def json_lines(lines: list[str]) -> dict[str, Any]:
    """What the head says, and for each value that comes later, by its path, the list of its chunks.

    A chunk's path is that of its value and its number: what is at `0` gets `0/0.result` for a member of its first chunk.
    """
    head, *chunks = (_read_line(line) for line in lines)
    paths: dict[int, str] = {}
    seen: dict[str, list[Any]] = {}

    def register(definitions: list[Any], path: str) -> list[Any]:
        for key, _, number in definitions:
            paths[number] = f"{path}/{key}"
            assert seen.setdefault(paths[number], []) == []
        return [[key, kind] for key, kind, _ in definitions]

    named = {key: [value, *register(definitions, key)] for key, [value, *definitions] in head["json"].items()}
    for chunk in chunks:
        number, status, rest = chunk["json"]
        path = paths[number]
        if isinstance(rest, list):
            value, *definitions = rest
            rest = [value, *register(definitions, f"{path}/{len(seen[path])}")]
        seen[path].append([status, rest, chunk.get("meta")])
    return {"head": named, "meta": head.get("meta"), "chunks": seen}


def _read_line(line: str) -> Any:
    parsed = json.loads(line)
    assert parsed.keys() <= {"json", "meta"}, line
    return parsed
