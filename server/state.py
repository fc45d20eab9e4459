"""What the application gives to the connections of its process: names in the state of ASGI's lifespan.

A connection finds them in its `app_state`; an application that does not set one does without.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

# Callable[[], None]: the process begins to stop. Called before anybody waits for connections to end, and maybe repeatedly.
BEGIN_SHUTDOWN: Final = "attachd.begin_shutdown"
# Upgrades, or None: what takes connections over for WebSocket.
UPGRADES: Final = "attachd.upgrades"
# An ASGI application: answers on connections that there is no room for.
BUSY: Final = "attachd.busy"


class Upgrade(msgspec.Struct, frozen=True):
    """A request to upgrade; `connections` are those that uvicorn waits for, and tells when it begins to stop."""

    transport: asyncio.Transport
    query: bytes
    headers: Mapping[bytes, bytes]
    connections: set[Any]


class Upgrades(Protocol):
    """What takes connections over at some paths, still encoded; at others a request to upgrade is one like any."""

    paths: frozenset[bytes]

    def upgrade(self, upgrade: Upgrade) -> None:
        """Take the connection over, or refuse it and close; nothing else uses it from now on."""
