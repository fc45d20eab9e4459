"""Which schema a database has, and bringing it to the newest.

A SQLite file belongs to one machine and is migrated by whatever opens it. A PostgreSQL database may serve others at that
moment, so an operator says when: nothing but `attachd migrate` changes its schema.

Alembic and SQLAlchemy take 25 MB of memory, so nothing that serves imports them: `schema_is_current` asks the database itself,
and `migrate` imports them when it is called, which the `attachd migrate` process does.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from schemas import Code, ServiceError
from storage.catalog.engine import Database
from storage.catalog.options import DatabaseOptions
from storage.catalog.sqlite import Sqlite, connect

HEAD = "0009"  # the newest file in migrations/versions; a test holds the two together
_VERSION = "SELECT version_num FROM alembic_version"
_HAS_VERSION = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'"
_SCHEME = "sqlite:///"
_POSTGRESQL = ("postgresql", "postgres")
_MIGRATION_TIMEOUT_S = 60.0  # how long to wait for another process that migrates the same file


def is_postgresql(database_url: str) -> bool:
    """Whether that is the URL of a PostgreSQL database, whose schema only `attachd migrate` changes."""
    return database_url.partition("://")[0].lower() in _POSTGRESQL  # not by urlsplit: its errors quote passwords


def sqlite_path(database_url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names. Raises ServiceError for another URL."""
    path = database_url.removeprefix(_SCHEME)
    if path == database_url or not path:
        raise ServiceError(Code.BAD_REQUEST, f"database.url must be {_SCHEME}PATH or postgresql://…")
    return Path(path)


def cannot_open(path: Path, error: sqlite3.Error) -> ServiceError:
    """The error of a database that cannot be used at all; for operators, not for clients."""
    return ServiceError(Code.SERVICE_UNAVAILABLE, f"cannot open the database {path}: {error}")


async def open_database(database_url: str, options: DatabaseOptions) -> Database:
    """The open database. Raises ServiceError with what to mend when it cannot be opened or lacks the newest schema."""
    if not await schema_is_current(database_url):
        raise ServiceError(Code.SERVICE_UNAVAILABLE, "the database lacks the newest schema: run `attachd migrate`")
    if is_postgresql(database_url):
        from storage.catalog.postgresql.engine import Postgresql  # noqa: PLC0415

        return Postgresql(database_url, options)
    path = sqlite_path(database_url)
    try:
        return Sqlite(path, options.lock_timeout_s)
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error


async def schema_is_current(database_url: str, *, wait_s: float = 0.0) -> bool:
    """Whether the database exists with the newest schema.

    Waits so long for a PostgreSQL server that does not answer yet. Raises ServiceError when the database cannot be opened, is
    none, or has a newer schema than this program knows.
    """
    if is_postgresql(database_url):
        from storage.catalog.postgresql.schema import read_revision  # noqa: PLC0415 (8 MB that SQLite does not need)

        revision = await read_revision(database_url, wait_s=wait_s)
    else:
        revision = _sqlite_revision(sqlite_path(database_url))
    if revision is not None and revision > HEAD:
        message = f"the database has the schema {revision}, newer than {HEAD} of this program: install the newer attachd"
        raise ServiceError(Code.SERVICE_UNAVAILABLE, message)
    return revision == HEAD


def _sqlite_revision(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with contextlib.closing(connect(path, _MIGRATION_TIMEOUT_S)) as connection:
            versioned = connection.execute(_HAS_VERSION).fetchall()
            found: list[tuple[str]] = connection.execute(_VERSION).fetchall() if versioned else []
            return found[0][0] if found else None
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error


def migrate(database_url: str, revision: str = "head") -> None:
    """Create the tables if need be and apply what migrations are lacking up to that one; several processes may do so at once.

    A SQLite file is created, a PostgreSQL database must exist. Must not be called on an event loop. Raises sqlite3.Error or
    OSError when a file cannot be written, and ServiceError when PostgreSQL refuses.
    """
    from alembic import command  # noqa: PLC0415 (25 MB that no serving process needs)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))

    def upgrade(connection: Any) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    if is_postgresql(database_url):
        from storage.catalog.postgresql.schema import migrate as migrate_postgresql  # noqa: PLC0415

        asyncio.run(migrate_postgresql(database_url, upgrade))
    else:
        _migrate_sqlite(sqlite_path(database_url), upgrade)


def _migrate_sqlite(path: Path, upgrade: Any) -> None:
    import sqlalchemy  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(0o600)  # as the files of attachments; SQLite gives the files beside it the same permissions
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: connect(path, _MIGRATION_TIMEOUT_S))
    # The driver must not begin transactions by itself, and two processes that both found an old schema must not both write.
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
