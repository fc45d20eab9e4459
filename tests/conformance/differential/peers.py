"""The two servers side by side, attachd and @trpc/server, with the same credentials, rows and procedures."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.conformance.launched import assert_nothing_forgotten
from tests.conformance.node import node_command, npm_install
from tests.engines.backing import backing_of
from tests.running import environment

CONFORMANCE = Path(__file__).parents[1]
# Ample for a loaded machine; an answer takes milliseconds.
TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 40.0


class Answer(NamedTuple):
    """What a server answered; the body is the decoded JSON, or the bytes if they are none."""

    status: int
    media_type: str | None
    allow: str | None
    vary: str | None
    body: Any


class Peers:
    """Both servers; a context manager that stops them. `names` are ids and tokens for requests to be made of.

    `config` is for tRPC's `create`, `settings` are the same for attachd.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None, **settings: str) -> None:
        self.folder = folder
        self.config = config or {}
        self.settings = {"ATTACHD_SERVER_PORT": "0", **backing_of(folder).settings, **settings}

    def __enter__(self) -> Self:
        self._log = (self.folder / "log").open("wb")
        self.attachd = self._start([sys.executable, str(CONFORMANCE / "launcher.py")])
        site = json.loads(self._first_line(self.attachd))
        self.names: dict[str, str] = site["names"]
        reference = npm_install(CONFORMANCE / "reference")
        self.reference = self._start([*node_command(), str(reference / "server.mjs")])
        assert self.reference.stdin is not None
        self.reference.stdin.write(json.dumps({**site, "config": self.config}).encode() + b"\n")
        self.reference.stdin.flush()
        self.ports = {"attachd": site["port"], "@trpc/server": int(self._first_line(self.reference))}
        return self

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(**self.settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def _first_line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{process.args!r} did not come up:\n{(self.folder / 'log').read_text()}"
        return line

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in (self.attachd, self.reference):
            process.terminate()
            process.communicate(timeout=STOP_TIMEOUT_S)
        self._log.close()
        assert_nothing_forgotten(self.folder / "log")

    def ask(self, server: str, method: str, request: bytes) -> Answer:
        """The answer of "attachd" or "@trpc/server" to the bytes of a request."""
        with socket.create_connection(("127.0.0.1", self.ports[server]), TIMEOUT_S) as connection:
            # It may answer and close before it has read everything.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            body = response.read()
        content_type = response.getheader("content-type")
        return Answer(
            status=response.status,
            media_type=content_type and content_type.partition(";")[0].strip().lower(),
            allow=response.getheader("allow"),
            vary=response.getheader("vary"),
            body=_decoded(body),
        )


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
