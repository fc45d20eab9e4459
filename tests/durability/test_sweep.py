"""`attachd sweep` from the outside: what it removes, what it leaves alone, what it reports, and its exit code."""

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from storage import fresh_id
from tests.running import Attachd, run_attachd

pytestmark = pytest.mark.only_on("sqlite", "local", reason="copies the folder of a stopped server, and makes its files old")

DATABASE, BLOBS = "data/attachd.db", "data/blobs"  # the defaults of the settings
NAMES = ("kept", "deleted", "expired")
EXPIRED = "2020-01-01T00:00:00.000Z"  # a deletion longer ago than the default retention of 30 days
YOUNG_S, OLD_S = 600, 7200  # the default grace is an hour
# Files that no row knows, with the age in seconds of each: 5 bytes.
_ORPHANS = (
    ("attachments/org/{}", OLD_S),
    ("attachments/org/.{}.partial", OLD_S),
    (".check-{}.partial", OLD_S),
    ("attachments/org/{}", YOUNG_S),
    ("attachments/org/.{}.partial", YOUNG_S),
)
ORPHANS = {path.format(fresh_id()): age for path, age in _ORPHANS}
OLD, YOUNG = ({path for path, age in ORPHANS.items() if age == wanted} for wanted in (OLD_S, YOUNG_S))


class Site:
    """The folder of a stopped server, with one attachment of each of `NAMES` and the files of `ORPHANS`."""

    def __init__(self, folder: Path, ids: dict[str, str]) -> None:
        self.folder, self.ids = folder, ids
        self.paths = {name: self.rows[id] for name, id in ids.items()}

    @property
    def files(self) -> set[str]:
        blobs = self.folder / BLOBS
        return {str(path.relative_to(blobs)) for path in blobs.rglob("*") if path.is_file()}

    @property
    def rows(self) -> dict[str, str]:
        """Storage paths by id, those of deleted attachments too."""
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            return dict(database.execute("SELECT id, storage_path FROM attachments").fetchall())

    def sweep(self, *options: str, code: int = 0, settings: Mapping[str, str] = {}) -> tuple[list[str], list[str]]:
        """The lines on standard output and on standard error."""
        done = run_attachd("sweep", *options, folder=self.folder, **settings)
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("seeded")
    with Attachd(folder) as server, server.client() as client:
        uploads = {name: client.post("/api/upload", files={"file": (f"{name}.txt", name.encode())}) for name in NAMES}
        ids = {name: reply.json()["id"] for name, reply in uploads.items()}
        for name in ("deleted", "expired"):
            assert client.post("/api/trpc/attachments.delete", json={"id": ids[name]}).status_code == 200
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("UPDATE attachments SET deleted_at = ? WHERE id = ?", (EXPIRED, ids["expired"]))
    return Site(folder, ids)


@pytest.fixture
def site(seeded: Site, tmp_path: Path) -> Site:
    folder = shutil.copytree(seeded.folder, tmp_path / "site")
    for path, age_s in ORPHANS.items():
        file = folder / BLOBS / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"bytes")
        os.utime(file, (time.time() - age_s,) * 2)
    return Site(folder, seeded.ids)


def report(orphans: set[str], expired: set[str], expired_bytes: int, *, dry_run: bool = False) -> list[str]:
    def verb(do: str) -> str:
        return f"would {do}" if dry_run else {"remove": "removed", "quarantine": "quarantined", "put back": "put back"}[do]

    unfinished = {path for path in orphans if path.endswith(".partial")}
    whole = orphans - unfinished
    return [
        *(f"{verb('remove')} unfinished {path}" for path in sorted(unfinished)),
        *(f"{verb('quarantine')} unclaimed {path}" for path in sorted(whole)),
        *(f"{verb('remove')} deleted {path}" for path in sorted(expired)),
        f"{verb('remove')} {len(unfinished)} unfinished ({5 * len(unfinished)} bytes)",
        f"{verb('quarantine')} {len(whole)} unclaimed ({5 * len(whole)} bytes)",
        f"{verb('remove')} 0 quarantined (0 bytes)",
        f"{verb('put back')} 0 claimed (0 bytes)",
        f"{verb('remove')} {len(expired)} deleted ({expired_bytes} bytes)",
        f"{verb('remove')} 0 unlinked (0 bytes)",
    ]


def quarantined(paths: set[str]) -> set[str]:
    return {f"quarantine/{path}" for path in paths if not path.endswith(".partial")}


def test_dry_run_changes_nothing_and_reports_the_same(site: Site) -> None:
    files, rows, expired = site.files, site.rows, {site.paths["expired"]}
    assert site.sweep("--dry-run") == (report(OLD, expired, len("expired"), dry_run=True), [])
    assert (site.files, site.rows) == (files, rows)
    assert site.sweep() == (report(OLD, expired, len("expired")), [])


def test_sweep_removes_what_nothing_refers_to_and_nothing_else(site: Site) -> None:
    site.sweep()
    assert site.files == YOUNG | {site.paths["kept"], site.paths["deleted"]} | quarantined(OLD)
    assert set(site.rows) == {site.ids["kept"], site.ids["deleted"]}
    assert site.sweep() == (report(set(), set(), 0), []), "the second sweep finds nothing"


def test_for_programs(site: Site) -> None:
    (site.folder / BLOBS / site.paths["kept"]).unlink()
    lines, _ = site.sweep("--json", code=1)
    told = [json.loads(line) for line in lines]
    assert {(line["action"], line["kind"], line.get("key", line.get("attachment"))) for line in told[:-1]} == {
        *(("remove", "unfinished", path) for path in OLD if path.endswith(".partial")),
        *(("quarantine", "unclaimed", path) for path in OLD if not path.endswith(".partial")),
        ("remove", "deleted", site.paths["expired"]),
        ("report", "missing", site.ids["kept"]),
    }
    assert told[-1]["summary"]["unclaimed"] == {"count": 1, "bytes": 5}
    assert told[-1]["summary"]["missing"] == {"count": 1}


def test_what_lies_in_quarantine_goes_later(site: Site) -> None:
    site.sweep()
    assert site.sweep()[0][0] == "removed 0 unfinished (0 bytes)", "it is as old as its time in quarantine, not as its file"
    for path in quarantined(OLD):
        assert (site.folder / BLOBS / path).read_bytes() == b"bytes"
        os.utime(site.folder / BLOBS / path, (time.time() - 8 * 86_400,) * 2)
    assert site.sweep()[0][0] == f"removed quarantined {quarantined(OLD).pop()}"
    assert site.files == YOUNG | {site.paths["kept"], site.paths["deleted"]}


@pytest.mark.parametrize("age_s", [0, 99 * 86_400])
def test_what_a_row_claims_is_put_back_from_quarantine(site: Site, age_s: int) -> None:
    kept = site.folder / BLOBS / site.paths["kept"]
    moved = site.folder / BLOBS / "quarantine" / site.paths["kept"]
    moved.parent.mkdir(parents=True)
    kept.rename(moved)
    os.utime(moved, (time.time() - age_s,) * 2)
    lines, errors = site.sweep(code=0)
    assert (lines.count(f"put back claimed quarantine/{site.paths['kept']}"), errors) == (1, [])
    assert (kept.read_bytes(), moved.exists()) == (b"kept", False)


@pytest.mark.parametrize(
    ("settings", "orphans", "expired"),
    [
        pytest.param({"ATTACHD_SWEEP_GRACE_SECONDS": "0"}, OLD | YOUNG, {"expired"}, id="no-grace"),
        pytest.param({"ATTACHD_SWEEP_GRACE_SECONDS": "86400"}, set(), {"expired"}, id="long-grace"),
        pytest.param({"ATTACHD_SWEEP_RETENTION_DAYS": "0"}, OLD, {"deleted", "expired"}, id="no-retention"),
        pytest.param({"ATTACHD_SWEEP_RETENTION_DAYS": "36500"}, OLD, set(), id="long-retention"),
    ],
)
def test_settings(site: Site, settings: dict[str, str], orphans: set[str], expired: set[str]) -> None:
    files, rows = site.files, set(site.rows)
    site.sweep(settings=settings | {"ATTACHD_SWEEP_QUARANTINE_DAYS": "0"})
    assert site.files == files - orphans - {site.paths[name] for name in expired}
    assert set(site.rows) == rows - {site.ids[name] for name in expired}


def test_rows_without_bytes_are_reported_and_kept(site: Site) -> None:
    for name in ("kept", "deleted"):
        (site.folder / BLOBS / site.paths[name]).unlink()
    for options in (["--dry-run"], []):
        _, errors = site.sweep(*options, code=1)
        assert errors[0] == f"attachment {site.ids['kept']} has lost its bytes"
        assert len(errors) == 2, "the deleted attachment's bytes are missed by nobody"
    assert set(site.rows) == {site.ids["kept"], site.ids["deleted"]}
    assert site.files == YOUNG | quarantined(OLD), "the rest was swept all the same"


def test_upload_under_way_beside_a_sweep(site: Site) -> None:
    """The default grace keeps the bytes of an upload that has not finished, though they look like an orphan's."""
    content = b"x" * 1024 * 1024
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="slow.txt"\r\n\r\n'
    body = head + content + b"\r\n--b--\r\n"
    with Attachd(site.folder) as server:
        cookie = f"session={server.tokens['member']}"
        host, port = server.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(
                f"POST /api/upload HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\n"
                f"connection: close\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
            )
            connection.sendall(body[:-1000])
            deadline = time.monotonic() + 60
            while not (begun := site.files - set(ORPHANS) - set(site.paths.values())):
                assert time.monotonic() < deadline, "no bytes were written"
                time.sleep(0.01)
            site.sweep()
            assert begun <= site.files
            connection.sendall(body[-1000:])
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        (name,) = site.files - YOUNG - set(site.paths.values()) - quarantined(OLD)
        assert (site.folder / BLOBS / name).read_bytes() == content
