"""A real server as a subprocess, for tests that speak to it over its port."""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx

from schemas import Role
from server.settings import load_settings
from server.stores import open_settled
from tests.engines.backing import Backing, backing_of

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
SESSION_S = 86_400.0


def environment(**settings: str) -> dict[str, str]:
    """A clean environment for the command `attachd`, with settings such as ATTACHD_SERVER_PORT."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **settings}


def run_attachd(*arguments: str, folder: Path, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """The finished command `attachd`, run in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=folder,
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Attachd:
    """`attachd serve` on a free port with its data in `folder`; a context manager that stops it.

    `tokens` are of sessions, made when the server starts: `member` and `colleague` (members) and `admin` of one
    organization, `stranger` (admin) of another. `key` is an API key of the first, with the role of a member. `program` is the
    command, and `under` one that starts the server as its last arguments.

    It runs on the folder's `backing`.
    """

    program: Sequence[str] = (sys.executable, "-m", "server")
    under: Sequence[str] = ()
    _is_backed = True

    def __init__(self, folder: Path, *arguments: str, credentials: bool = True, **settings: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.arguments = arguments
        self._backing = backing_of(folder) if self._is_backed else None
        self.settings = {"ATTACHD_SERVER_PORT": "0", **(self._backing.settings if self._backing else {}), **settings}
        self.credentials = credentials
        self.base_url = ""
        self.organization_id, self.other_organization_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.users = {name: str(uuid.uuid4()) for name in ("member", "colleague", "admin", "stranger")}
        self.tokens: dict[str, str] = {}
        self.key = ""

    def start(self) -> Self:
        """Start it and wait until it is ready; the log is in the error if it does not come up."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.under, *self.program, "serve", *self.arguments],
                cwd=self.folder,
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            self._come_up(begin)
            if self.credentials:
                self._create_credentials()
        except BaseException:
            with self.process:
                self.process.kill()
            raise
        return self

    def _come_up(self, begin: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._has_come_up(begin):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"attachd did not come up:\n{self.log.read_text()}")
            time.sleep(0.02)

    def _has_come_up(self, begin: int) -> bool:
        """Whether the log after `begin` tells the address, and /readyz there answers."""
        for line in self._whole_lines(begin):
            if b'"message":"serving"' in line:
                self.base_url = json.loads(line)["url"]
                return self.is_ready()
        return False

    def is_ready(self) -> bool:
        """Whether it says that it can serve."""
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=30).is_success
        except httpx.TransportError:
            return False

    def is_closed(self) -> bool:
        """Whether nobody can connect to it any more: it is about to stop, and finishes what it has begun."""
        url = httpx.URL(self.base_url)
        try:
            socket.create_connection((url.host, url.port or 0), timeout=30).close()
        except ConnectionRefusedError:
            return True
        return False

    @property
    def backing(self) -> Backing:
        """Its database and its place for bytes."""
        assert self._backing is not None
        return self._backing

    def _create_credentials(self) -> None:
        """Beside the server, as the commands do it; a process for each would take half a second each."""
        with ThreadPoolExecutor(1) as pool:  # a test may have an event loop that runs
            pool.submit(asyncio.run, self._create_each()).result(START_TIMEOUT_S)

    async def _create_each(self) -> None:
        async with await open_settled(load_settings(None, self.settings)) as store:
            for name, user in self.users.items():
                organization = self.other_organization_id if name == "stranger" else self.organization_id
                role: Role = "admin" if name in {"admin", "stranger"} else "member"
                self.tokens[name] = await store.credentials.create_session(
                    user_id=user, organization_id=organization, role=role, ttl_s=SESSION_S
                )
            _, self.key = await store.credentials.create_key(organization_id=self.organization_id, role="member", name="test")

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What the command prints, with the settings of the server; it must succeed."""
        done = run_attachd(*arguments, folder=self.folder, stdin=stdin, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, who: str | None = "member") -> httpx.Client:
        """A client with the session cookie of `who`; close it."""
        cookies = {"session": self.tokens[who]} if who else {}
        return httpx.Client(base_url=self.base_url, cookies=cookies, timeout=30)

    def output(self, timeout_s: float = 30.0) -> str:
        """What the server has printed to standard output so far; waits for the first of it."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        assert select.select([descriptor], [], [], timeout_s)[0], "nothing printed"
        return os.read(descriptor, 65_536).decode()

    def lines(self) -> list[dict[str, object]]:
        """The log, decoded: every line of it must be JSON."""
        return [json.loads(line) for line in self._whole_lines()]

    def _whole_lines(self, begin: int = 0) -> list[bytes]:
        """The lines of the log after `begin`. While the server runs, one that is being written is left out."""
        is_over = self.process.poll() is not None
        written = self.log.read_bytes()[begin:]
        return (written if is_over else written[: written.rfind(b"\n") + 1]).splitlines()

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"attachd did not stop:\n{self.log.read_text()}") from None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        with self.process:  # closes its output and waits
            if self.process.poll() is None:
                self.stop()


class BareAttachd(Attachd):
    """As `Attachd`, in an empty folder where it makes what it needs, as on the embedded default."""

    _is_backed = False
