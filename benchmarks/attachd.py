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
_DATABASE, _BLOBS = "attachd.db", "blobs"


class Attachd(msgspec.Struct, frozen=True, kw_only=True):
    """A running attachd and a member's session; `database` and `blobs` are there unless it runs on others."""

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


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a server runs on: by default a fresh SQLite file and a fresh folder of blobs."""

    database_url: str = ""
    server: str = ""  # more lines of [server]
    upload: str = ""  # the lines of [upload]
    organization_id: str = ""  # of the session; by default one that nothing belongs to yet


@contextlib.contextmanager
def running(folder: Path, setting: Setting = Setting()) -> Iterator[Attachd]:  # noqa: B008 (frozen)
    """A server with its files in `folder`, with one worker and without a request log, and a member's session."""
    port = free_port()
    config = migrate(folder, setting, port)
    with Server([*COMMAND, "serve", "--config", str(config)], port=port, log=folder / "attachd.log") as server:
        organization_id = setting.organization_id or str(uuid.uuid4())
        person = ["--user", str(uuid.uuid4()), "--organization", organization_id, "--role", "member"]
        cookie = f"session={run('session', 'create', *person, '--config', str(config))}"
        client = Client(port, {"Cookie": cookie})
        try:
            yield Attachd(server=server, client=client, cookie=cookie, database=folder / _DATABASE, blobs=folder / _BLOBS)
        finally:
            client.close()


def migrate(folder: Path, setting: Setting, port: int = 0) -> Path:
    """Write the settings into `folder`, and bring the database to the newest schema; gives the file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    url = setting.database_url or f"sqlite:///{folder / _DATABASE}"
    upload = setting.upload or f'directory = "{folder / _BLOBS}"\n'
    config.write_text(
        f'[server]\nhost = "{HOST}"\nport = {port}\nworkers = 1\nrequest_log = false\n{setting.server}'
        f'[database]\nurl = "{url}"\n[upload]\n{upload}'
    )
    run("migrate", "--config", str(config))
    return config


def run(*arguments: str) -> str:
    """What the command `attachd` prints. Raises RuntimeError with its error unless it ends with status 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTACHD_")}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=machine.ROOT,
        env=environment | {"PYTHONPATH": str(machine.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"attachd {' '.join(arguments)} ended with status {done.returncode}: {done.stderr}")
    return done.stdout.strip()
