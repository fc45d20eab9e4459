"""Which schema a database has, and bringing it to the newest.

Alembic and SQLAlchemy take 25 MB of memory, so nothing that serves imports them: `is_current` asks the database itself,
and `migrate` imports them when it is called, which the `attachd migrate` process does.
"""

import contextlib
import sqlite3
from pathlib import Path

from schemas import Code, ServiceError
from storage.catalog.sqlite import Sqlite, connect

HEAD = "0005"  # the newest file in migrations/versions; a test holds the two together
_VERSION = "SELECT version_num FROM alembic_version"
_HAS_VERSION = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'"
_SCHEME = "sqlite:///"
_MIGRATION_TIMEOUT_S = 60.0  # how long to wait for another process that migrates the same file


def sqlite_path(database_url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names. Raises ServiceError for another URL."""
    path = database_url.removeprefix(_SCHEME)
    if path == database_url or not path:
        raise ServiceError(Code.BAD_REQUEST, f"database.url must be {_SCHEME}PATH, not {database_url!r}")
    return Path(path)


def cannot_open(path: Path, error: sqlite3.Error) -> ServiceError:
    """The error of a database that cannot be used at all; for operators, not for clients."""
    return ServiceError(Code.SERVICE_UNAVAILABLE, f"cannot open the database {path}: {error}")


def open_database(database_url: str, busy_timeout_s: float) -> Sqlite:
    """The open database. Raises ServiceError with what to mend when it cannot be opened or lacks the newest schema."""
    path = sqlite_path(database_url)
    if not schema_is_current(database_url):
        raise ServiceError(Code.SERVICE_UNAVAILABLE, f"the database {path} lacks the newest schema: run `attachd migrate`")
    try:
        return Sqlite(path, busy_timeout_s)
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error


def schema_is_current(database_url: str) -> bool:
    """Whether the database exists with the newest schema. Raises ServiceError when it cannot be opened or is no database."""
    path = sqlite_path(database_url)
    if not path.exists():
        return False
    try:
        with contextlib.closing(connect(path, _MIGRATION_TIMEOUT_S)) as connection:
            versioned = connection.execute(_HAS_VERSION).fetchall()
            return bool(versioned) and connection.execute(_VERSION).fetchall() == [(HEAD,)]
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error


def migrate(database_url: str, revision: str = "head") -> None:
    """Create the database if need be and apply what migrations it lacks up to that one; several may run at once.

    Raises sqlite3.Error or OSError when the file cannot be written.
    """
    import sqlalchemy  # noqa: PLC0415 (25 MB that no serving process needs)
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    path = sqlite_path(database_url)
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: connect(path, _MIGRATION_TIMEOUT_S))
    # The driver must not begin transactions by itself, and two processes that both found an old schema must not both write.
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
