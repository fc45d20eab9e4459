"""Load that wrk cannot make: subscribers of server-sent events, and queries over WebSockets, from raw sockets in this process.

This process is on the load generator's core. It looks for nothing in what it reads but the ends of frames, so that it keeps up
with servers that make them.
"""

import os
import select
import socket
import statistics
import struct
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.load import Sample, Target
from benchmarks.servers import HOST

_FRAME = b'data: {"json"'  # how the data of an event begins: not a ping, nor the first frame
_READ_BYTES = 262_144
_PAUSE_S = 0.001  # a subscriber reads that often: what comes meanwhile is read at once


def subscribe(target: Target, connections: int, seconds: int) -> Sample:
    """Events a second that all subscribers together received of the subscription at `target.path`."""
    subscribers = [_subscriber(target) for _ in range(connections)]
    tails = [b""] * connections
    before, begun = target.server.processor_seconds(), time.perf_counter()
    count, deadline = 0, begun + seconds
    while time.perf_counter() < deadline:
        for index, subscriber in enumerate(subscribers):
            try:
                data = subscriber.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                raise RuntimeError(f"{target.name} ended a subscription\n{target.server.state()}")
            data = tails[index] + data
            count += data.count(_FRAME)
            tails[index] = data[-len(_FRAME) + 1 :]
        time.sleep(_PAUSE_S)
    elapsed = time.perf_counter() - begun
    used = target.server.processor_seconds() - before
    for subscriber in subscribers:
        subscriber.close()
    if not count:
        raise RuntimeError(f"{target.name} sent no events\n{target.server.state()}")
    return Sample(requests_per_s=count / elapsed, p99_ms=0.0, busy=used / elapsed)


def _subscriber(target: Target) -> socket.socket:
    connection = socket.create_connection((HOST, target.server.port), timeout=10)
    connection.sendall(
        f"GET {target.path} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\nCookie: {target.cookie}\r\n\r\n".encode()
    )
    head = b""
    while b"event: connected" not in head:
        data = connection.recv(4096)
        if not data:
            raise RuntimeError(f"{target.name} refused a subscription: {head!r}")
        head += data
    connection.setblocking(False)
    return connection


class _Talk:
    """One WebSocket with one call at a time; `received` takes what came and counts the answers in it."""

    def __init__(self, target: Target, messages: Sequence[bytes], index: int) -> None:
        self.socket = _open(target)
        self._messages = messages
        self._next = index
        self._buffer = b""
        self._sent_at = 0.0
        self.latencies: list[float] = []

    def ask(self) -> None:
        """Send the next message."""
        self._next = (self._next + 1) % len(self._messages)
        self._sent_at = time.perf_counter()
        self.socket.send(self._messages[self._next])

    def receive(self) -> bool:
        """Read, and whether the answer is complete. Raises RuntimeError for an error, or the end of the connection."""
        data = self.socket.recv(_READ_BYTES)
        self._buffer += data
        if not data or b'"error"' in self._buffer or self._buffer[:1] == b"\x88":
            raise RuntimeError(f"an answer over WebSocket is wrong: {self._buffer[:300]!r}")
        head = 2
        if len(self._buffer) < 4:
            return False
        length = self._buffer[1]
        if length == 126:
            (length,), head = struct.unpack_from("!H", self._buffer, 2), 4
        if len(self._buffer) < head + length:
            return False
        self._buffer = self._buffer[head + length :]
        self.latencies.append(time.perf_counter() - self._sent_at)
        return True


def query(target: Target, connections: int, seconds: int) -> Sample:
    """Queries a second over WebSockets, one at a time on each; the messages stand in the file `target.script[1]`."""
    messages = [_frame(line) for line in Path(target.script[1]).read_bytes().splitlines()]
    talks = [_Talk(target, messages, index) for index in range(connections)]
    by_descriptor = {talk.socket.fileno(): talk for talk in talks}
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    before, begun = target.server.processor_seconds(), time.perf_counter()
    for talk in talks:
        talk.ask()
    deadline = begun + seconds
    while time.perf_counter() < deadline:
        for descriptor, _ in poll.poll(1000):
            talk = by_descriptor[descriptor]
            if talk.receive():
                talk.ask()
    elapsed = time.perf_counter() - begun
    used = target.server.processor_seconds() - before
    for talk in talks:
        talk.socket.close()
    latencies = [latency for talk in talks for latency in talk.latencies]
    p99_s = statistics.quantiles(latencies, n=100)[98]
    return Sample(requests_per_s=len(latencies) / elapsed, p99_ms=p99_s * 1000, busy=used / elapsed)


def _open(target: Target) -> socket.socket:
    connection = socket.create_connection((HOST, target.server.port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {target.path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Cookie: {target.cookie}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(4096)
        head += data
        if not data or not head.startswith(b"HTTP/1.1 101"[: len(head)]):
            raise RuntimeError(f"{target.name} refused a WebSocket: {head!r}")
    return connection


def _frame(message: bytes) -> bytes:
    """A text frame of a client (RFC 6455, 5.2), masked with zeros: the server unmasks it all the same."""
    length = len(message)
    size = struct.pack("!B", 0x80 | length) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
    return b"\x81" + size + bytes(4) + message


def messages_of(path: str, inputs: Sequence[object]) -> bytes:
    """A line for each query of that procedure, as `wsLink` sends it."""
    return b"\n".join(
        msgspec.json.encode({"id": number, "method": "query", "params": {"path": path, "input": {"json": value}}})
        for number, value in enumerate(inputs, 1)
    )
