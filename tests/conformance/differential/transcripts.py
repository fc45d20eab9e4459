"""Conversations over a WebSocket, in a form that can be compared.

In which order the answers to different calls come is chance and is taken out; those to one id must come in the same order.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conformance.differential.cases import fill
from tests.conformance.differential.compare import compare, normal
from tests.conformance.differential.peers import TIMEOUT_S
from tests.conformance.differential.streams import TOLD_OF_UNEXPECTED, UNEXPECTED

# What else would come comes within this time of the last answer that is waited for.
QUIET_S = 0.05


class Script(NamedTuple):
    """What a client does: texts and bytes are sent, after a number it goes on when so many more messages have come.

    `query` is that of the URL; `~name~` stands for a token, as in `cases`. After what `ends` the server closes the connection.
    """

    steps: tuple[str | bytes | int, ...]
    who: str | None = "member"
    query: str = ""
    ends: bool = False


class Transcript(NamedTuple):
    """What the server said, by the JSON of the answered id, and the code it closed the connection with, if it did."""

    answers: dict[str, list[Any]]
    close_code: int | None


def differences(reference: Transcript, attachd: Transcript) -> set[str]:
    """Where the two differ: `close_code 1005 -> 1000`, and paths such as `answers.1.2.result.data.json`, an id first."""
    found = set(compare(_told(reference.answers), normal(attachd.answers), "answers"))
    if reference.close_code != attachd.close_code:
        found.add(f"close_code {reference.close_code} -> {attachd.close_code}")
    return found


def _told(answers: dict[str, list[Any]]) -> Any:
    return normal(json.loads(json.dumps(answers).replace(UNEXPECTED, TOLD_OF_UNEXPECTED)))


def converse(port: int, script: Script, names: Mapping[str, str]) -> Transcript:
    """The server's side of the conversation."""
    headers = {} if script.who is None else {"Cookie": f"session={names[script.who]}"}
    query = f"?{script.query}" if script.query else ""
    received: list[str | bytes] = []
    with connect(f"ws://127.0.0.1:{port}/api/trpc{query}", additional_headers=headers, open_timeout=TIMEOUT_S) as socket:
        with contextlib.suppress(ConnectionClosed):
            for step in script.steps:
                if isinstance(step, int):
                    received += [socket.recv(TIMEOUT_S) for _ in range(step)]
                else:
                    _send(socket, step, names)
        _drain(socket, received, TIMEOUT_S if script.ends else QUIET_S)
        close_code = socket.close_code
    return Transcript(_by_id(received), close_code)


def _send(socket: ClientConnection, step: str | bytes, names: Mapping[str, str]) -> None:
    filled = fill(step.encode() if isinstance(step, str) else step, names)
    socket.send(filled.decode() if isinstance(step, str) else filled)


def _drain(socket: ClientConnection, received: list[str | bytes], timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        while True:
            received.append(socket.recv(timeout_s))


def _by_id(received: list[str | bytes]) -> dict[str, list[Any]]:
    answers: dict[str, list[Any]] = {}
    for message in received:
        if message == "PONG":
            answers.setdefault("PONG", []).append(message)
        else:
            assert isinstance(message, str), f"a binary message: {message!r}"
            decoded = json.loads(message)
            answers.setdefault(json.dumps(decoded.pop("id")), []).append(decoded)
    return answers
