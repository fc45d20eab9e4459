"""Two servers as on two machines, and a client that does not mind when one of them is away."""

import contextlib
import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx

from tests.durability.test_kill import kill
from tests.running import STOP_TIMEOUT_S, Attachd, BareAttachd

ATTEMPTS = 200
PAUSE_S = 0.05
# What a proxy tries elsewhere too: nginx's `proxy_next_upstream error timeout http_502 http_503 non_idempotent`.
_AGAIN = frozenset({502, 503})


class Cluster:
    """Two servers on ports of their own, with one database and one place for bytes, and nothing else in common.

    A context manager. Both keep their ports when they are started again.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.one = Attachd(folder / "one", credentials=True, **settings)
        self.two = BareAttachd(folder / "two", credentials=False, **self.one.backing.settings, **settings)
        self.both = (self.one, self.two)

    def __enter__(self) -> Self:
        for server in self.both:
            server.folder.mkdir(parents=True, exist_ok=True)
            server.start()
            server.settings["ATTACHD_SERVER_PORT"] = server.base_url.rpartition(":")[2]
        self.one.credentials = False
        self.two.tokens, self.two.key = self.one.tokens, self.one.key
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            for server in self.both:
                stack.push(server)

    def kill(self, server: Attachd) -> None:
        """SIGKILL."""
        kill(server)

    def restart(self, server: Attachd) -> None:
        """SIGTERM, wait for the end, start."""
        server.process.send_signal(signal.SIGTERM)
        with server.process:
            try:
                assert server.process.wait(STOP_TIMEOUT_S) == 0, server.log.read_text()
            except subprocess.TimeoutExpired:
                kill(server)
                raise
        server.start()

    @contextlib.contextmanager
    def client(self, who: str = "member") -> Iterator[httpx.Client]:
        """A client of both."""
        urls = [server.base_url for server in self.both]
        cookies = {"session": self.one.tokens[who]}
        with httpx.Client(transport=Balanced(urls), base_url=urls[0], cookies=cookies, timeout=30) as client:
            yield client


class Balanced(httpx.BaseTransport):
    """Sends each request to the next server in turn, and to another one when that fails, again and again.

    `failures` counts those attempts. An answer counts when it was read whole.
    """

    def __init__(self, urls: list[str]) -> None:
        self._urls = itertools.cycle([httpx.URL(url) for url in urls])
        self._transport = httpx.HTTPTransport()
        self.failures = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The first whole answer that is no 502 or 503; the last failure when there is none."""
        content = request.read()
        for attempt in itertools.count(1):
            url = next(self._urls)
            copy = httpx.Request(
                request.method,
                request.url.copy_with(host=url.host, port=url.port),
                headers=request.headers,
                content=content,
                extensions=request.extensions,
            )
            try:
                response = self._transport.handle_request(copy)
                response.read()
                if response.status_code not in _AGAIN or attempt == ATTEMPTS:
                    return response
            except httpx.TransportError:
                if attempt == ATTEMPTS:
                    raise
            self.failures += 1
            time.sleep(PAUSE_S if attempt > 1 else 0)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
