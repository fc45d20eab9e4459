"""The cells of the metrics: shared by workers, whatever becomes of one of them; and the kinds of failures."""

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from server.metrics import SharedCells, layout_of, shared_folder
from server.metrics.cells import Layout
from server.metrics.failures import database_kind, storage_kind
from server.metrics.families import CONNECTIONS, CONNECTIONS_OPENED, DATABASE_ERRORS, STORAGE_ERRORS
from tests.running import ROOT

LAYOUT = layout_of(["/a"], ["p"])
OPENED, OPEN = LAYOUT.start(CONNECTIONS_OPENED), LAYOUT.start(CONNECTIONS)

HOLD = """
import sys
from pathlib import Path
from server.metrics import SharedCells, layout_of
cells = SharedCells(Path(sys.argv[1]), layout_of(["/a"], ["p"]))
for index in (int(argument) for argument in sys.argv[2:]):
    cells.own[index] += 7
print("ready", flush=True)
sys.stdin.read()
"""


def worker(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that has added 7 to both cells, and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(OPENED), str(OPEN)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_worker_sees_the_others_and_takes_the_place_of_the_dead(tmp_path: Path) -> None:
    own = SharedCells(tmp_path, LAYOUT)
    with worker(tmp_path) as other:
        own.own[OPENED] += 1
        first, second = own.snapshots()
        assert (first.pid, first.is_alive, first.values[OPENED]) == (os.getpid(), True, 1)
        assert (second.pid, second.is_alive, second.values[OPENED], second.values[OPEN]) == (other.pid, True, 7, 7)
        other.kill()
    (dead,) = own.snapshots()[1:]
    assert (dead.is_alive, dead.values[OPENED]) == (False, 7)
    with worker(tmp_path) as next_one:
        (taken,) = own.snapshots()[1:]
        assert (taken.slot, taken.pid, taken.is_alive) == (dead.slot, next_one.pid, True)
        assert (taken.values[OPENED], taken.values[OPEN]) == (14, 7)  # counted on; the present began anew
        next_one.kill()


def test_another_layout_is_not_added_up(tmp_path: Path) -> None:
    own, other = SharedCells(tmp_path, LAYOUT), SharedCells(tmp_path, layout_of(["/a", "/b"], ["p"]))
    assert [snapshot.slot for snapshot in own.snapshots()] == [0]
    assert [snapshot.slot for snapshot in other.snapshots()] == [1]


def test_the_folder_goes_when_the_server_does() -> None:
    with shared_folder() as folder:
        SharedCells(folder, LAYOUT)
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_the_next_server_removes_what_one_left_that_was_killed() -> None:
    with shared_folder() as folder:
        left = Path(tempfile.mkdtemp(prefix="attachd-metrics-", dir=folder.parent))
        (left / "owner").touch()
        (left / "0").touch()
        with shared_folder():
            assert left.exists(), "it may be just about to begin"
        for each in (left, folder):
            os.utime(each, (time.time() - 120,) * 2)
        with shared_folder():
            assert not left.exists()
            assert folder.exists(), "it is in use"


def test_the_layout_is_the_same_in_every_process() -> None:
    assert Layout(LAYOUT.families).fingerprint == LAYOUT.fingerprint
    assert layout_of(["/a"], ["q"]).fingerprint != LAYOUT.fingerprint


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error("SQLITE_BUSY"), "busy"),
        (sqlite_error("SQLITE_BUSY_SNAPSHOT"), "busy"),
        (sqlite_error("SQLITE_FULL"), "full"),
        (sqlite_error("SQLITE_IOERR_WRITE"), "io"),
        (sqlite_error("SQLITE_READONLY_DBMOVED"), "read_only"),
        (sqlite_error("SQLITE_NOTADB"), "corrupt"),
        (sqlite_error("SQLITE_MISUSE"), "other"),
        (asyncpg.exceptions.SerializationError("x"), "busy"),
        (asyncpg.exceptions.TooManyConnectionsError("x"), "full"),
        (asyncpg.exceptions.AdminShutdownError("x"), "connection"),
        (asyncpg.exceptions.QueryCanceledError("x"), "timeout"),
        (asyncpg.exceptions.ReadOnlySQLTransactionError("x"), "read_only"),
        (asyncpg.exceptions.ConnectionDoesNotExistError("x"), "connection"),
        (asyncpg.InterfaceError("connection is closed"), "connection"),
        (asyncpg.exceptions.UndefinedTableError("x"), "other"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection"),
        (TimeoutError(), "timeout"),
        (None, "other"),
    ],
)
def test_failures_of_databases_have_kinds(error: BaseException | None, kind: str) -> None:
    assert database_kind(error) == kind
    assert kind in DATABASE_ERRORS


def s3_error(code: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "x"}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "x"), "full"),
        (OSError(errno.EROFS, "x"), "read_only"),
        (PermissionError(errno.EACCES, "x"), "denied"),
        (OSError(errno.EMFILE, "x"), "descriptors"),
        (FileNotFoundError(errno.ENOENT, "x"), "missing"),
        (OSError(errno.EIO, "x"), "io"),
        (OSError(errno.ENOTTY, "x"), "other"),
        (s3_error("SlowDown"), "throttled"),
        (s3_error("NoSuchKey"), "missing"),
        (s3_error("InternalError"), "io"),
        (s3_error("AccessDenied"), "denied"),
        (s3_error("EntityTooSmall"), "other"),
        (ConnectTimeoutError(endpoint_url="http://127.0.0.1"), "timeout"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1"), "connection"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "connection"),
        (None, "other"),
    ],
)
def test_failures_of_storages_have_kinds(error: BaseException | None, kind: str) -> None:
    assert storage_kind(error) == kind
    assert kind in STORAGE_ERRORS
