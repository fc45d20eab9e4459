"""Opening the store: the database, the bytes, and the services on them, closed in reverse."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from schemas import ServiceError, SignedUrl
from storage.attachments import Attachments
from storage.backup import Backup
from storage.blobs import Blobs
from storage.catalog import (
    AttachmentTable,
    AuditTable,
    CredentialTable,
    Database,
    DatabaseOptions,
    EventTable,
    SigningKeyTable,
    UpkeepTable,
    open_database,
)
from storage.credentials import Credentials
from storage.fallback import FallbackBlobs
from storage.fsck import Fsck, FsckOptions
from storage.keys import Keys, SigningKeyInfo
from storage.messages import Messages
from storage.options import Options, S3Options
from storage.outbox import Outbox
from storage.places import open_blobs
from storage.policies import API_A, Policy
from storage.sweep import Sweep, SweepAges, SweepReport
from storage.transfer import Problem, Step, Transfer, TransferOptions

CHECK_SHARED_S = 1.0
Place = TypeVar("Place")


def _as_it_is(place: Place) -> Place:
    return place


class Watch(msgspec.Struct, frozen=True):
    """What stands between the services and the places where things are kept, for those who count and trace."""

    database: Callable[[Database], Database] = _as_it_is
    blobs: Callable[[Blobs], Blobs] = _as_it_is


_UNWATCHED = Watch()


class Store:
    """An open store. Close it with `aclose`, or use it as an async context manager."""

    def __init__(self, database: Database, blobs: Blobs, credential_cache_s: float, policy: Policy, options: Options) -> None:
        self._database = database
        self._blobs = blobs
        self._table = AttachmentTable(database)
        self._check: asyncio.Future[None] | None = None
        self._checked_at = 0.0
        self.signing = Keys(SigningKeyTable(database), options)
        self.attachments = Attachments(database, blobs, self.signing, policy, options)
        self.credentials = Credentials(CredentialTable(database), credential_cache_s)
        self.outbox = Outbox(database, blobs, self._mail_link)
        self.messages = Messages(database, options.mail, self.outbox.queued)
        self._link_expiry_s = options.mail.link_expiry_s

    async def _mail_link(self, id: str) -> SignedUrl:
        return await self.attachments.media_url(id, self._link_expiry_s)

    async def check(self) -> None:
        """Touch the database and the storage for real. Raises SERVICE_UNAVAILABLE.

        Whoever asks within `CHECK_SHARED_S` of another gets the same answer: anybody may ask, and asking costs an fsync.
        """
        now = time.monotonic()
        if self._check is None or (self._check.done() and now - self._checked_at >= CHECK_SHARED_S):
            self._checked_at = now
            self._check = asyncio.ensure_future(self._touch())
            self._check.add_done_callback(_look_at)
        await asyncio.shield(self._check)

    async def _touch(self) -> None:
        await self._table.check()
        await self._blobs.check()

    async def sweep(
        self, *, grace_s: float, retention_s: float, unlinked_s: float, dry_run: bool, quarantine_s: float = 0
    ) -> SweepReport:
        """Remove bytes without a row, attachments deleted, media left unlinked and direct uploads expired long ago.

        Times in seconds; without `quarantine_s` bytes that nobody claims are removed at once. See `storage.sweep`.
        """
        ages = SweepAges(grace_s=grace_s, quarantine_s=quarantine_s, retention_s=retention_s, unlinked_s=unlinked_s)
        sweep = Sweep(UpkeepTable(self._database), EventTable(self._database), self._blobs, ages, dry_run=dry_run)
        report = await sweep.run()
        for leftover in await self.attachments.direct.forget_expired(grace_s=grace_s, dry_run=dry_run):
            report.orphans.append(leftover.key)
            report.orphan_bytes += leftover.size
        return report

    def fsck(self, options: FsckOptions) -> Fsck:
        """A look at whether table, bytes and counters agree; see `storage.fsck`."""
        return Fsck(AuditTable(self._database), self._blobs, options, UpkeepTable(self._database).recount)

    def transfer(self, source: Blobs, target: Blobs, options: TransferOptions) -> Transfer:
        """Having the bytes of all attachments in `target` too; see `storage.transfer`."""
        table = AuditTable(self._database)
        return Transfer(table.by_key, table.known, source, target, options)

    async def totals(self) -> tuple[int, int]:
        """How many attachments there are, deleted ones too, and their bytes."""
        return await AuditTable(self._database).totals()

    def backup(
        self, folder: Path, database: Path, busy_timeout_s: float, options: TransferOptions
    ) -> AsyncIterator[Problem | Step]:
        """Bring the backup in that folder up to date with the SQLite file of this store and its bytes; see `storage.backup`."""
        known = AuditTable(self._database).known
        return Backup(folder).make(database, busy_timeout_s, known, self._blobs, options)

    async def aclose(self) -> None:
        """Finish the writes under way and close everything."""
        if self._check is not None:
            self._check.cancel()
        self.attachments.close()
        await self.attachments.direct.aclose()
        await self._blobs.aclose()
        await self._database.aclose()

    async def __aenter__(self) -> Self:
        """The store itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()


def _look_at(check: asyncio.Future[None]) -> None:
    """Take note of how it ended: those who waited may have given up, and nobody else asks."""
    if not check.cancelled():
        check.exception()


async def open_store(  # noqa: PLR0913 (all by name, and all but one have a default)
    *,
    database_url: str,
    directory: Path = Path("data/blobs"),
    bucket: S3Options | None = None,
    fallback: Path | S3Options | None = None,
    database_options: DatabaseOptions | None = None,
    credential_cache_s: float = 10.0,
    policy: Policy = API_A,
    options: Options | None = None,
    watch: Watch = _UNWATCHED,
    create: bool = True,
) -> Store:
    """Open the database, which must have the newest schema, and where the bytes are.

    They are in the folder, which is made if need be and `create` allows it, or in the bucket if one is given; that is not asked
    before it is needed (`Store.check`). While they are moved (`storage.transfer`) the `fallback` has those that are not here.

    `policy` is what uploads of API A are held to; `options` are what operators decide, the defaults without.

    Raises ServiceError SERVICE_UNAVAILABLE with what to mend when either cannot be opened.
    """
    database = await open_database(database_url, database_options or DatabaseOptions())
    try:
        blobs = open_blobs(directory if bucket is None else bucket, create=create or fallback is not None)
        if fallback is not None:
            blobs = FallbackBlobs(blobs, open_blobs(fallback, create=False))
    except ServiceError:
        await database.aclose()
        raise
    return Store(watch.database(database), watch.blobs(blobs), credential_cache_s, policy, options or Options())


async def signing_keys_of(database_url: str, database_options: DatabaseOptions, options: Options) -> list[SigningKeyInfo]:
    """The keys that sign links, without opening more of the store than the database. Raises SERVICE_UNAVAILABLE."""
    database = await open_database(database_url, database_options)
    try:
        return await Keys(SigningKeyTable(database), options).describe()
    finally:
        await database.aclose()
