"""Ports for servers that are told which one to listen on, and that listen on it again when they are started again."""

import contextlib
import random
import socket

# Below those that Linux gives out by itself: a port that a server has left for a moment goes to no connection of another test.
_PORTS = range(10_000, 32_768)
_CHANCE = random.SystemRandom()  # no seed of a test makes two processes try the same


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    with contextlib.ExitStack() as opened:
        found: list[int] = []
        while len(found) < count:
            port = _CHANCE.choice(_PORTS)
            with contextlib.suppress(OSError):
                opened.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def free_port() -> int:
    """One of them."""
    (port,) = free_ports(1)
    return port
