"""attachd itself, started as its users start it: a settings file, `attachd serve`, `attachd session create`."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.exchange import Client
from benchmarks.payloads import Payload
from benchmarks.servers import HOST, Server, free_port

COMMAND = (sys.executable, "-m", "server")


class Attachd(msgspec.Struct, frozen=True, kw_only=True):
    """A running attachd and a member's session."""

    server: Server
    client: Client
    cookie: str
    database: Path
    blobs: Path

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.port

    def upload(self, payload: Payload, conversation_id: str | None = None) -> str:
        """Upload and give the attachment's id. Raises RuntimeError unless the answer is 200."""
        form = payload.form({"conversationId": conversation_id} if conversation_id else {})
        headers = {"Content-Type": payload.content_type}
        answer = self.client.request("POST", "/api/upload", body=form, headers=headers)
        if answer.status != 200:
            raise RuntimeError(f"the upload answered {answer.status}: {answer.body[:300]!r}")
        found: str = answer.json()["id"]
        return found

    def discard_blobs(self) -> None:
        """Remove the bytes of all attachments, so that rounds of uploads do not fill the disk; the rows stay."""
        for file in self.blobs.rglob("*"):
            if file.is_file():
                file.unlink(missing_ok=True)


@contextlib.contextmanager
def running(folder: Path, *, server_settings: str = "") -> Iterator[Attachd]:
    """A server on a fresh database and a fresh folder of blobs in `folder`, with one worker and without a request log.

    `server_settings` are more lines of `[server]`.
    """
    folder.mkdir(parents=True)
    config, database, blobs = folder / "config.toml", folder / "attachd.db", folder / "blobs"
    port = free_port()
    config.write_text(
        f'[server]\nhost = "{HOST}"\nport = {port}\nworkers = 1\nrequest_log = false\n{server_settings}'
        f'[database]\nurl = "sqlite:///{database}"\n[upload]\ndirectory = "{blobs}"\n'
    )
    with Server([*COMMAND, "serve", "--config", str(config)], port=port, log=folder / "attachd.log") as server:
        cookie = f"session={_create_session(config)}"
        client = Client(port, {"Cookie": cookie})
        try:
            yield Attachd(server=server, client=client, cookie=cookie, database=database, blobs=blobs)
        finally:
            client.close()


def _create_session(config: Path) -> str:
    person = ["--user", str(uuid.uuid4()), "--organization", str(uuid.uuid4()), "--role", "member"]
    command = [*COMMAND, "session", "create", *person, "--config", str(config)]
    environment = os.environ | {"PYTHONPATH": str(machine.ROOT)}
    done = subprocess.run(command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
