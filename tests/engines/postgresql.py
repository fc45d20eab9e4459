"""One PostgreSQL server for all tests of a run, and databases of their own for tests."""

import fcntl
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from storage import migrate
from tests.engines.keeping import join, locked
from tests.engines.postgresql_server import PostgresqlServer

MIGRATED = "migrated"


class SharedPostgresql:
    """The server of the run, as one worker sees it: started by the first that asks, stopped after the last."""

    def __init__(self, folder: Path) -> None:
        """`folder` is one that all workers of the run have in common."""
        self._folder = folder
        self._server: PostgresqlServer | None = None
        self._held: TextIO | None = None
        self._migrated = False

    @property
    def server(self) -> PostgresqlServer:
        """The running server; not to be stopped by a test, which starts a `PostgresqlServer` of its own for that."""
        if self._server is None:
            self._held, told = join(self._folder, "postgresql", "tests.engines.postgresql_keeper")
            self._server = PostgresqlServer.running(**told)
        return self._server

    def fresh_database(self) -> str:
        """The URL of a database of its own with the newest schema."""
        self._ensure_migrated()
        return self.server.create_database(f"test_{uuid.uuid4().hex}", MIGRATED)

    def empty_database(self) -> str:
        """The URL of a database of its own without any table."""
        return self.server.create_database(f"test_{uuid.uuid4().hex}")

    def drop_database(self, url: str) -> None:
        """Remove a database that was made here: each takes 8 MB."""
        self.server.drop_database(urlsplit(url).path.removeprefix("/"))

    def _ensure_migrated(self) -> None:
        """The template that fresh databases are copies of: copying takes 60 ms, migrating a second."""
        if self._migrated:
            return
        server = self.server
        with locked(self._folder / "postgresql.migrating", fcntl.LOCK_EX):
            if MIGRATED not in server.databases():
                url = server.create_database("migrating")
                with ThreadPoolExecutor(1) as apart:  # the caller may be on an event loop
                    apart.submit(migrate, url).result()
                server.psql(f"ALTER DATABASE migrating RENAME TO {MIGRATED}")
        self._migrated = True

    def close(self) -> None:
        """Need the server no more."""
        if self._held is not None:
            self._held.close()
