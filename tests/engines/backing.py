"""A database and a place for bytes of a test's own, on the engines that the environment chooses.

`ATTACHD_TEST_DATABASE` (sqlite, postgresql) and `ATTACHD_TEST_STORAGE` (local, s3) do so for a whole run; tests/matrix.py says
which tests run on which. What tests look up beside the program, in the database and among the bytes, they ask here, and get
the same answers on every engine.
"""

import os
from pathlib import Path
from typing import Any

from storage import Store, open_store
from tests.engines.bytes import Bytes, LocalBytes
from tests.engines.databases import OwnDatabase, Row, fresh_sqlite

DATABASES, STORAGES = ("sqlite", "postgresql"), ("local", "s3")
# Where the settings have them by default, below the folder in which attachd runs.
DATABASE_FILE, BLOBS = "data/attachd.db", "data/blobs"


def chosen(variable: str, known: tuple[str, ...]) -> str:
    """The engine that the variable of the environment names; the first without it."""
    name = os.environ.get(variable) or known[0]
    if name not in known:
        raise ValueError(f"{variable} is {name!r}, and must be one of {', '.join(known)}")
    return name


DATABASE, STORAGE = chosen("ATTACHD_TEST_DATABASE", DATABASES), chosen("ATTACHD_TEST_STORAGE", STORAGES)


class Backing:
    """An empty database with the newest schema, and an empty place for bytes.

    `settings` are those of attachd for them, as variables of the environment. On the embedded default all lies below `folder`
    where attachd has it by default, and what is there is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database: OwnDatabase = fresh_sqlite(folder / DATABASE_FILE)
        self.bytes: Bytes = LocalBytes(folder / BLOBS)
        self.settings = {**self.database.settings, **self.bytes.settings}

    @property
    def database_url(self) -> str:
        """What `database.url` is set to."""
        return self.database.url

    async def open_store(self, **options: Any) -> Store:
        """A store on both; `options` as `storage.open_store` has them."""
        return await open_store(database_url=self.database.url, directory=self.folder / BLOBS, **options)

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


_BY_FOLDER: dict[Path, Backing] = {}


def backing_of(folder: Path) -> Backing:
    """The backing of the folder: the same one for whoever runs there later."""
    if folder not in _BY_FOLDER:
        _BY_FOLDER[folder] = Backing(folder)
    return _BY_FOLDER[folder]
