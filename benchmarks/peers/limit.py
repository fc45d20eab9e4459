"""The limit: a bare ASGI application that sends attachd's own answers without working for them.

`LIMIT_ANSWERS` names a JSON file {path: [[[name, value], …], body]} that benchmarks/calls.py recorded from attachd.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

Message = dict[str, Any]


def _load(path: Path) -> dict[str, tuple[Message, Message]]:
    recorded = msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[list[tuple[str, str]], str]])
    return {
        path: (
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            },
            {"type": "http.response.body", "body": body.encode()},
        )
        for path, (headers, body) in recorded.items()
    }


_ANSWERS = _load(Path(os.environ["LIMIT_ANSWERS"]))


async def app(scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
    """Answer with the recorded messages of the path."""
    start, body = _ANSWERS[scope["path"]]
    await send(start)
    await send(body)
