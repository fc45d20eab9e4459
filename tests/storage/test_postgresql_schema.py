"""The schema of a PostgreSQL database: who brings it up to date, who refuses, and what a person reads then."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import ServiceError
from storage import open_store, schema_is_current
from storage.catalog import schema
from tests.engines.keeping import ROOT
from tests.engines.postgresql import SharedPostgresql
from tests.engines.postgresql_server import PostgresqlServer
from tests.running import run_attachd

MIGRATE = "import sys; from storage import migrate; migrate(sys.argv[1], sys.argv[2])"
NEEDED = "the database lacks the newest schema: run `attachd migrate`"


@pytest.fixture
def url(postgresql: SharedPostgresql) -> Iterator[str]:
    """An empty database."""
    url = postgresql.empty_database()
    yield url
    postgresql.drop_database(url)


def migrating(url: str, revision: str = "head") -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", MIGRATE, url, revision], cwd=ROOT)


async def test_several_processes_may_migrate_at_once(url: str, postgresql: SharedPostgresql, tmp_path: Path) -> None:
    assert not await schema_is_current(url)
    assert [process.wait(300) for process in [migrating(url) for _ in range(4)]] == [0, 0, 0, 0]
    assert await schema_is_current(url)
    async with await open_store(database_url=url, directory=tmp_path) as store:
        await store.check()


async def test_several_processes_may_migrate_at_once_whatever_the_isolation_of_the_database_is(
    url: str, postgresql: SharedPostgresql
) -> None:
    isolate(url, postgresql)
    assert [process.wait(300) for process in [migrating(url) for _ in range(4)]] == [0, 0, 0, 0]
    assert await schema_is_current(url)


def isolate(url: str, postgresql: SharedPostgresql) -> None:
    """Have transactions see what there was when they began, unless they say otherwise."""
    name = url.rpartition("/")[2]
    postgresql.server.psql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'", name)


async def test_an_old_schema_is_refused_until_it_was_migrated(url: str, tmp_path: Path) -> None:
    assert migrating(url, "0003").wait(300) == 0
    settings = {"ATTACHD_DATABASE_URL": url, "ATTACHD_SERVER_PORT": "0"}
    for command in (["serve"], ["key", "list"], ["sweep", "--dry-run"]):
        done = run_attachd(*command, folder=tmp_path, **settings)
        assert (done.returncode, done.stderr) == (1, f"Error: {NEEDED}\n")
    with pytest.raises(ServiceError, match="run `attachd migrate`"):
        await open_store(database_url=url, directory=tmp_path)
    done = run_attachd("migrate", folder=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (0, "The database was brought to the newest schema.\n")
    done = run_attachd("migrate", folder=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (0, "The database has the newest schema already.\n")
    (tmp_path / "data" / "blobs").mkdir(parents=True)  # as serving does, but no command
    assert run_attachd("key", "list", folder=tmp_path, **settings).returncode == 0


def test_a_newer_schema_is_refused(url: str, postgresql: SharedPostgresql, tmp_path: Path) -> None:
    assert migrating(url).wait(300) == 0
    postgresql.server.psql("UPDATE alembic_version SET version_num = '9999'", url.rpartition("/")[2])
    for command in ("serve", "migrate"):
        done = run_attachd(command, folder=tmp_path, ATTACHD_DATABASE_URL=url)
        message = f"the database has the schema 9999, newer than {schema.HEAD} of this program: install the newer attachd"
        assert (done.returncode, done.stderr) == (1, f"Error: {message}\n")


def test_all_text_is_compared_as_bytes(postgresql: SharedPostgresql) -> None:
    """Orders, pages and cursors are those of SQLite, whatever the database's own collation is."""
    url = postgresql.fresh_database()
    columns = postgresql.server.psql(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text'",
        url.rpartition("/")[2],
    ).splitlines()
    assert len(columns) > 40
    assert [column for column in columns if not column.endswith("|C")] == []
    postgresql.drop_database(url)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"password": "s3cret"},
            'password authentication failed for user "attachd"; check user and password in database.url',
            id="wrong-password",
        ),
        pytest.param(
            {"user": "nobody", "password": "s3cret"},
            'password authentication failed for user "nobody"; check user and password in database.url',
            id="unknown-user",
        ),
        pytest.param({"port": 1}, "connection refused; is PostgreSQL running there?", id="not-there"),
    ],
)
def test_a_database_that_cannot_be_opened(
    postgresql: SharedPostgresql, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    url = postgresql.server.url("postgres", **change)  # type: ignore[arg-type]  # of the table above
    done = run_attachd("serve", folder=tmp_path, ATTACHD_DATABASE_URL=url)
    place = f"postgres of {change.get('user', PostgresqlServer.user)}@127.0.0.1:{change.get('port', postgresql.server.port)}"
    assert (done.returncode, done.stderr) == (1, f"Error: cannot open the database {place}: {reason}\n")


def test_a_database_that_is_not_there(postgresql: SharedPostgresql, tmp_path: Path) -> None:
    done = run_attachd("migrate", folder=tmp_path, ATTACHD_DATABASE_URL=postgresql.server.url("missing"))
    place = f"missing of attachd@127.0.0.1:{postgresql.server.port}"
    reason = 'database "missing" does not exist; create it, or name another in database.url'
    assert (done.returncode, done.stderr) == (1, f"Error: cannot open the database {place}: {reason}\n")


def test_a_user_who_may_not_make_tables(url: str, postgresql: SharedPostgresql, tmp_path: Path) -> None:
    postgresql.server.psql("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 's3cret'")
    theirs = postgresql.server.url(url.rpartition("/")[2], user="reader", password="s3cret")
    done = run_attachd("migrate", folder=tmp_path, ATTACHD_DATABASE_URL=theirs)
    assert done.returncode == 1
    assert "s3cret" not in done.stderr
    assert done.stderr.startswith("Error: cannot bring the database to the newest schema: cannot migrate the database ")
    assert done.stderr.endswith(": permission denied for schema public; grant it to the user of database.url\n")


def test_migrating_waits_for_a_server_that_starts(tmp_path: Path) -> None:
    with PostgresqlServer() as server:
        url = server.create_database("late")
        server.stop()
        process = subprocess.Popen([sys.executable, "-c", MIGRATE, url, "head"], cwd=ROOT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        server.start()
        assert process.wait(300) == 0
        assert "alembic_version" in server.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", "late")
