"""A backup of the embedded default in a folder, and putting it back: a snapshot of the database, and the bytes of its rows.

    manifest.json         which database file counts, and its SHA-256; written last
    attachd-TIME.db       the database as it was at one instant; its rows have the SHA-256 of every file
    blobs/attachments/…   the files, as `upload.directory` has them

- The snapshot is taken first, the bytes afterwards: blobs never change, and the bytes of a row outlive it. A row that a sweep
  has removed meanwhile, whose bytes are gone, is taken out of the snapshot too.
- A folder can be used again and again: files that are in it are not copied anew. It holds one whole backup at every moment, the
  earlier one until the manifest of the later one stands. What that does not need is removed at the end.
- Putting back overwrites nothing: the database must not be there, and a file that is there must be the one of the backup. The
  database is put in place last, when every file has been read and compared.
"""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from schemas import Code, ServiceError
from storage.blobs import Blobs
from storage.catalog import NEWEST_SCHEMA, AuditTable, Snapshot, forget_rows, take_snapshot
from storage.clock import timestamp
from storage.disk import DiskBlobs, exclusive, fsync
from storage.fsck import Finding, Fsck, FsckOptions
from storage.fsck import Progress as FsckProgress
from storage.merge import merge, pages
from storage.transfer import Known, Problem, Step, Transfer, TransferOptions

_FORMAT = 1
_MANIFEST = "manifest.json"
_BLOBS = "blobs"
_DATABASE = re.compile(r"attachd-[0-9TZ]+\.db\Z")
# What a run that was stopped leaves, too.
_OURS = re.compile(rf"{_MANIFEST}(?:\.new)?\Z|{_DATABASE.pattern[:-2]}(?:-journal)?\Z|{_BLOBS}\Z|lost\+found\Z")
_READ_BYTES = 1024 * 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: `problems` is how many files it lacks because the store had lost them."""

    format: int
    created_at: str
    schema_revision: str
    database: str
    database_bytes: int
    database_sha256: str
    attachments: int
    bytes: int
    problems: int


def _fault(message: str) -> ServiceError:
    return ServiceError(Code.CONFLICT, message)


class Backup:
    """The backup in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        strange = [path.name for path in self.folder.iterdir() if not _OURS.match(path.name)]
        if strange:
            raise _fault(f"{self.folder} holds something else than a backup ({min(strange)}): name an empty folder")

    async def make(
        self, database: Path, busy_timeout_s: float, known: Known, blobs: Blobs, options: TransferOptions
    ) -> AsyncIterator[Problem | Step]:
        """Bring the backup up to date with the database and `blobs`; it counts when this has ended.

        `known` tells which keys have a row in the database. Raises CONFLICT when another process uses the folder,
        SERVICE_UNAVAILABLE, OSError.
        """
        self._prepare()
        with exclusive(self.folder):
            async for event in self._make(database, busy_timeout_s, known, blobs, options):
                yield event

    async def _make(
        self, database: Path, busy_timeout_s: float, known: Known, blobs: Blobs, options: TransferOptions
    ) -> AsyncIterator[Problem | Step]:
        await self._check_same(known)
        created_at = timestamp()
        path = self.folder / f"attachd-{re.sub('[^0-9TZ]', '', created_at)}.db"
        await asyncio.to_thread(lambda: take_snapshot(database, path, busy_timeout_s))
        gone: list[str] = []
        problems = 0
        target = DiskBlobs(self.folder / _BLOBS)
        snapshot = Snapshot(path)
        try:
            transfer = Transfer(AuditTable(snapshot).by_key, known, blobs, target, options)
            async for event in transfer.run():
                if isinstance(event, Problem):
                    problems += 1
                else:
                    gone += [row.id for row in event.gone]
                yield event
        finally:
            await snapshot.aclose()
            await target.aclose()
        if gone:
            await asyncio.to_thread(lambda: forget_rows(path, gone))
        await self._conclude(path, created_at, problems)
        await self._prune()

    async def _check_same(self, known: Known) -> None:
        """Raises CONFLICT when the folder has the backup of another database, which this one would take the place of.

        An empty one is soon made: by a disk that is not mounted, or in another current directory.
        """
        try:
            manifest = self.manifest()
        except ServiceError:  # there is none yet that counts
            return
        if manifest.attachments == 0:
            return
        snapshot = Snapshot(self.folder / manifest.database)
        try:
            async for rows in pages(AuditTable(snapshot).by_key):
                if await known([row.key for row in rows]):
                    return
        finally:
            await snapshot.aclose()
        message = f"{self.folder} has a backup of {manifest.attachments} attachments, none of which is in this database"
        raise _fault(f"{message}: see --config and the current directory, or name another folder")

    async def _conclude(self, path: Path, created_at: str, problems: int) -> None:
        snapshot = Snapshot(path)
        try:
            await _check_whole(snapshot, path)
            count, size = await AuditTable(snapshot).totals()
            database_bytes, database_sha256 = await asyncio.to_thread(lambda: (path.stat().st_size, _digest(path)))
            manifest = Manifest(
                format=_FORMAT,
                created_at=created_at,
                schema_revision=await snapshot.revision(),
                database=path.name,
                database_bytes=database_bytes,
                database_sha256=database_sha256,
                attachments=count,
                bytes=size,
                problems=problems,
            )
        finally:
            await snapshot.aclose()
        await asyncio.to_thread(
            lambda: _replace(self.folder / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        )

    async def _prune(self) -> None:
        """Remove what the backup does not need: earlier databases, and the blobs that only those knew."""
        manifest = self.manifest()
        for path in self.folder.iterdir():
            if path.name.startswith("attachd-") and path.name != manifest.database:
                path.unlink()
        snapshot, blobs = Snapshot(self.folder / manifest.database), DiskBlobs(self.folder / _BLOBS)
        try:
            async for pairs in merge(AuditTable(snapshot).by_key, blobs.scan()):
                await blobs.delete([pair.key for pair in pairs if pair.row is None])
        finally:
            await snapshot.aclose()
            await blobs.aclose()

    def manifest(self) -> Manifest:
        """What the backup is. Raises CONFLICT when there is none that this program can read, OSError."""
        path = self.folder / _MANIFEST
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except FileNotFoundError as error:
            raise _fault(f"{self.folder} holds no backup that was finished: there is no {_MANIFEST}") from error
        except msgspec.DecodeError as error:
            raise _fault(f"{path} is damaged: {error}") from error
        if manifest.format != _FORMAT or not _DATABASE.match(manifest.database):
            raise _fault(f"{path} is of another version of attachd")
        return manifest

    async def verify(self, parallel: int) -> AsyncIterator[Finding | FsckProgress]:
        """What is wrong with the files of the backup, by reading all of them.

        Raises CONFLICT when its database is damaged, or another process uses the folder; OSError.
        """
        with exclusive(self.folder):
            snapshot, blobs = await self._open()
            try:
                check = Fsck(AuditTable(snapshot), blobs, FsckOptions(grace_s=0, checksums=True, parallel=parallel), _recount)
                async for event in check.run():
                    # Of its rows: more files than they know may be those of a later backup that did not get to its end.
                    if not isinstance(event, Finding) or event.attachment:
                        yield event
            finally:
                await snapshot.aclose()
                await blobs.aclose()

    async def restore(
        self, database: Path, target: Blobs, options: TransferOptions, *, partial: bool
    ) -> AsyncIterator[Problem | Step]:
        """Put the files into `target`, then the database in place, unless there were problems and `partial` is not wanted.

        Raises CONFLICT when the database is there already, or that of the backup is damaged or too new, or another process
        uses the folder; SERVICE_UNAVAILABLE, OSError.
        """
        check_absent(database)
        with exclusive(self.folder):
            snapshot, blobs = await self._open()
            table = AuditTable(snapshot)
            problems = 0
            try:
                async for event in Transfer(table.by_key, table.known, blobs, target, options).run():
                    problems += isinstance(event, Problem)
                    yield event
            finally:
                await snapshot.aclose()
                await blobs.aclose()
            if not problems or partial:
                manifest = self.manifest()
                await asyncio.to_thread(
                    lambda: _put_database(self.folder / manifest.database, manifest.database_sha256, database)
                )

    async def _open(self) -> tuple[Snapshot, DiskBlobs]:
        """The database of the backup, which is whole, and its blobs. Raises CONFLICT, SERVICE_UNAVAILABLE, OSError."""
        manifest = self.manifest()
        path = self.folder / manifest.database
        if manifest.schema_revision > NEWEST_SCHEMA:
            raise _fault(
                f"the backup has the schema {manifest.schema_revision}, newer than {NEWEST_SCHEMA} of this program: "
                "install the newer attachd"
            )
        if not path.exists() or await asyncio.to_thread(lambda: _digest(path)) != manifest.database_sha256:
            raise _fault(f"the backup is damaged: {path} is not the file that {_MANIFEST} tells of")
        if not (self.folder / _BLOBS).is_dir():
            raise _fault(f"the backup is damaged: there is no folder {self.folder / _BLOBS}")
        snapshot = Snapshot(path)
        await _check_whole(snapshot, path)
        return snapshot, DiskBlobs(self.folder / _BLOBS)


def check_absent(database: Path) -> None:
    """Raises CONFLICT when there is a database, or a part of one, which SQLite would take for one of what is put there."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path = database.with_name(database.name + suffix)
        if path.exists():
            raise _fault(f"{path} exists, and nothing is ever written over: move it away, then restore")


async def _check_whole(snapshot: Snapshot, path: Path) -> None:
    if fault := await snapshot.check():
        raise _fault(f"{path} is damaged: {fault}")


async def _recount(_organization_id: str) -> None:
    """Nothing is changed in a backup."""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, or as it was before, whatever happens."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    fsync(str(path.parent))


def _put_database(source: Path, sha256: str, target: Path) -> None:
    """Copy the database to its place, durably and only if it is whole there. Raises CONFLICT, OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as original, os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(original, file, _READ_BYTES)
        file.flush()
        os.fsync(file.fileno())
    if _digest(new) != sha256:
        new.unlink()
        raise _fault(f"the copy of {source} differs from it: the disk of {target} does not keep what it is given")
    check_absent(target)
    os.link(new, target)  # unlike a rename it never replaces a file
    new.unlink()
    fsync(str(target.parent))
