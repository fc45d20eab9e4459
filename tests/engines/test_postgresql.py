"""The server that the tests on PostgreSQL share: databases of their own, and nothing left behind."""

import subprocess
import sys
import time
from pathlib import Path

import asyncpg

from tests.engines.keeping import ROOT
from tests.engines.postgresql import SharedPostgresql
from tests.engines.postgresql_server import PostgresqlServer

WORKER = """
import sys, time
from pathlib import Path
from tests.engines.postgresql import SharedPostgresql
shared = SharedPostgresql(Path(sys.argv[1]))
print(shared.server.folder, flush=True)
sys.stdin.read()
"""


async def test_databases_are_of_their_own_and_migrated(postgresql: SharedPostgresql) -> None:
    first, second = postgresql.fresh_database(), postgresql.fresh_database()
    connection = await asyncpg.connect(first)
    await connection.execute("INSERT INTO organization_usage VALUES ('org-1', 1, 1)")
    await connection.close()
    connection = await asyncpg.connect(second)
    assert await connection.fetchval("SELECT count(*) FROM organization_usage") == 0
    assert not await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user")
    await connection.close()
    for url in (first, second):
        postgresql.drop_database(url)
        assert url.rpartition("/")[2] not in postgresql.server.databases()


def test_the_server_is_shared_and_stops_after_the_last_worker_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {worker.stdout.readline().strip() for worker in workers if worker.stdout is not None}
    assert len(folders) == 1
    folder = Path(folders.pop())
    with workers[0]:
        workers[0].kill()
    time.sleep(0.5)
    assert (folder / "data" / "postmaster.pid").exists()
    with workers[1]:
        workers[1].kill()
    deadline = time.monotonic() + 120
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()


def test_a_server_stops_and_starts_again_on_its_port() -> None:
    with PostgresqlServer() as server:
        url = server.create_database("mine")
        server.stop()
        server.start()
        assert server.url("mine") == url
        assert server.psql("SHOW fsync") == "on"
        folder = server.folder
    assert not folder.exists()
