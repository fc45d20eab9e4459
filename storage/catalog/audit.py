"""The rows as `fsck`, `migrate-storage` and `backup` read them: all, in the order of their keys, which is that of the blobs."""

import json
from typing import NamedTuple, Protocol

from storage.catalog.engine import Parameters, Row, Statement, sql

_TIME_LIMIT_S = 3600.0  # for what reads the whole table
_BY_KEY = sql(
    "SELECT storage_path, id, size, sha256, deleted_at IS NOT NULL FROM attachments"
    " WHERE storage_path > ? AND id <= ? ORDER BY storage_path LIMIT ?"
)
_LAST = sql("SELECT COALESCE(MAX(id), '') FROM attachments")
_KNOWN = sql("SELECT storage_path FROM attachments WHERE storage_path IN (SELECT value FROM json_each(?))")
_TOTALS = sql("SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM attachments")
# One statement, hence one snapshot: uploads meanwhile are in both or in neither.
_USAGE = sql(
    "SELECT organization_id, CAST(SUM(counted) AS BIGINT), CAST(SUM(counted_bytes) AS BIGINT),"
    " CAST(SUM(kept) AS BIGINT), CAST(SUM(kept_bytes) AS BIGINT) FROM ("
    "SELECT organization_id, attachments AS counted, bytes AS counted_bytes, 0 AS kept, 0 AS kept_bytes FROM organization_usage"
    " UNION ALL SELECT organization_id, 0, 0, COUNT(*), SUM(size) FROM attachments WHERE deleted_at IS NULL"
    " GROUP BY organization_id) AS side_by_side GROUP BY organization_id"
    " HAVING SUM(counted) <> SUM(kept) OR SUM(counted_bytes) <> SUM(kept_bytes) ORDER BY organization_id"
)


class KeptRow(NamedTuple):
    """What a row says of its blob; `deleted` ones can still be restored."""

    key: str
    id: str
    size: int
    sha256: bytes
    deleted: bool


class UsageDifference(NamedTuple):
    """What the counters of an organization say, and what its attachments are."""

    organization_id: str
    counted: int
    counted_bytes: int
    kept: int
    kept_bytes: int


class Reading(Protocol):
    """What a database must do to be looked at: one that serves, and a snapshot."""

    async def rows(self, statement: Statement, parameters: Parameters, /) -> list[Row]:
        """All rows of a statement that is known to give few."""
        ...

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None, /) -> list[Row]:
        """All rows of a statement of unknown cost."""
        ...


class AuditTable:
    """The attachments of all organizations, deleted ones included. Raises SERVICE_UNAVAILABLE when the database fails.

    Its `by_key` tells of the rows that there are when it is first called: uploads add rows at the end of their organization,
    and whoever reads the bytes of each would never come to the end of a busy one.
    """

    def __init__(self, database: Reading) -> None:
        self._database = database
        self._last: str | None = None

    async def by_key(self, after: str, limit: int) -> list[KeptRow]:
        """Up to `limit` rows in the order of their keys from behind `after`."""
        if self._last is None:
            ((self._last,),) = await self._database.rows(_LAST, ())
        rows = await self._database.rows(_BY_KEY, (after, self._last, limit))
        return [KeptRow(key, id, size, bytes(sha256), bool(deleted)) for key, id, size, sha256, deleted in rows]

    async def known(self, keys: list[str]) -> set[str]:
        """Which of up to `PATHS_AT_ONCE` keys have a row."""
        return {key for (key,) in await self._database.rows(_KNOWN, (json.dumps(keys),))} if keys else set()

    async def totals(self) -> tuple[int, int]:
        """How many rows there are, and the bytes of their blobs."""
        ((count, size),) = await self._database.rows_apart(_TOTALS, (), _TIME_LIMIT_S)
        return int(count), int(size)

    async def usage_differences(self) -> list[UsageDifference]:
        """The organizations whose counters are wrong."""
        rows = await self._database.rows_apart(_USAGE, (), _TIME_LIMIT_S)
        return [UsageDifference(organization_id, *map(int, numbers)) for organization_id, *numbers in rows]
