"""A database and a place for bytes of a test's own, on the engines that the environment chooses.

`ATTACHD_TEST_DATABASE` (sqlite, postgresql) and `ATTACHD_TEST_STORAGE` (local, s3) do so for a whole run; tests/matrix.py says
which tests run on which. What tests look up beside the program, in the database and among the bytes, they ask here, and get
the same answers on every engine.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.settings import load_settings
from server.upload_rules import s3_options
from storage import Store, open_store
from storage.catalog import Database, DatabaseOptions, open_database
from tests.engines.bytes import Bytes, LocalBytes, S3Bytes
from tests.engines.databases import OwnDatabase, PostgresqlDatabase, Row, fresh_sqlite
from tests.engines.postgresql import SharedPostgresql
from tests.engines.s3 import SharedS3

DATABASES, STORAGES = ("sqlite", "postgresql"), ("local", "s3")
# Nothing of a test's own store ends before its time on a machine that is busy with other tests.
PATIENT = DatabaseOptions(
    lock_timeout_s=60,
    search_s=60,
    connect_timeout_s=60,
    pool_timeout_s=60,
    statement_timeout_s=60,
    idle_transaction_timeout_s=60,
)
# Where the settings have them by default, below the folder in which attachd runs.
DATABASE_FILE, BLOBS = "data/attachd.db", "data/blobs"


def chosen(variable: str, known: tuple[str, ...]) -> str:
    """The engine that the variable of the environment names; the first without it."""
    name = os.environ.get(variable) or known[0]
    if name not in known:
        raise ValueError(f"{variable} is {name!r}, and must be one of {', '.join(known)}")
    return name


DATABASE, STORAGE = chosen("ATTACHD_TEST_DATABASE", DATABASES), chosen("ATTACHD_TEST_STORAGE", STORAGES)


class Engines:
    """The servers of a run that its tests share, each started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        """`folder` is one that all workers of the run have in common."""
        self.postgresql = SharedPostgresql(folder)
        self.s3 = SharedS3(folder)

    def close(self) -> None:
        """Need them no more."""
        self.postgresql.close()
        self.s3.close()


class Backing:
    """An empty database with the newest schema, and an empty place for bytes.

    `settings` are those of attachd for them, as variables of the environment. On the embedded default all lies below `folder`
    where attachd has it by default, and what is there is kept.
    """

    def __init__(self, folder: Path, engines: Engines) -> None:
        self.folder = folder
        self._engines = engines
        self.database: OwnDatabase
        self.bytes: Bytes
        if DATABASE == "postgresql":
            self.database = PostgresqlDatabase(engines.postgresql.fresh_database())
        else:
            self.database = fresh_sqlite(folder / DATABASE_FILE)
        if STORAGE == "s3":
            self.bytes = S3Bytes(engines.s3.client(), engines.s3.fresh_prefix())
        else:
            self.bytes = LocalBytes(folder / BLOBS)
        self.settings = {**self.database.settings, **self.bytes.settings}

    def drop(self) -> None:
        """Remove what would stay until the end of the run: a database of PostgreSQL takes 8 MB."""
        if isinstance(self.database, PostgresqlDatabase):
            self._engines.postgresql.drop_database(self.database.url)

    @property
    def database_url(self) -> str:
        """What `database.url` is set to."""
        return self.database.url

    async def open_store(self, **options: Any) -> Store:
        """A store on both; `options` as `storage.open_store` has them."""
        bucket = s3_options(load_settings(None, self.settings).upload)
        return await open_store(
            database_url=self.database.url,
            directory=self.folder / BLOBS,
            bucket=bucket,
            **{"database_options": PATIENT, **options},
        )

    async def open_database(self) -> Database:
        """The database as the tables have it."""
        return await open_database(self.database.url, PATIENT)

    def query(self, sql: str, *parameters: Any) -> list[Row]:
        """The rows that a statement gives, committed; `?` stands for parameters on every engine."""
        return self.database.query(sql, *parameters)

    def key_of(self, id: str) -> str:
        """The key of an attachment's bytes."""
        ((key,),) = self.query("SELECT storage_path FROM attachments WHERE id = ?", id)
        return str(key)

    def lose_bytes(self, id: str) -> None:
        """Remove the bytes of an attachment behind the program's back."""
        self.bytes.remove(self.key_of(id))


class Backings:
    """The backings of a process, by their folders."""

    def __init__(self) -> None:
        self.engines: Engines | None = None  # a fixture of tests/conftest.py sets them
        self._by_folder: dict[Path, Backing] = {}

    def of(self, folder: Path) -> Backing:
        """The backing of the folder: the same one for whoever runs there later."""
        assert self.engines is not None
        if folder not in self._by_folder:
            self._by_folder[folder] = Backing(folder, self.engines)
        return self._by_folder[folder]

    def drop_below(self, folder: Path) -> None:
        """Drop those of the folder and of all in it."""
        for each in [each for each in self._by_folder if each.is_relative_to(folder)]:
            self._by_folder.pop(each).drop()


backings = Backings()
backing_of = backings.of


@contextlib.contextmanager
def fresh_backing(folder: Path) -> Iterator[Backing]:
    """One in a fresh folder below that, for a part of a test."""
    own = folder / uuid.uuid4().hex
    yield backing_of(own)
    backings.drop_below(own)
