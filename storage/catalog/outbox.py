"""The outbox: one row a message, what has become of it and who sends it now.

A row belongs to the process whose token is its `lease`, until `due_at`. Every change of a row that somebody sends asks for that
token, so that one who lost its lease changes nothing any more.
"""

import itertools
from collections.abc import Sequence

import msgspec

from schemas import Timestamp
from storage.catalog.engine import Database, Parameters, Row, Script, Statement, in_turn, one_step, sql
from storage.mail.outcomes import OutboxState, Recipient, Settled, again

_COLUMNS = "id, state, recipients, attempts, unanswered, due_at, lease, handed_over_at, error, created_at, changed_at"
_WAITING = f"SELECT {_COLUMNS} FROM outbox WHERE state = 'queued' AND due_at <= ? ORDER BY due_at, id LIMIT ?"  # noqa: S608 (constant)
_DUE = sql(_WAITING, f"{_WAITING} FOR UPDATE SKIP LOCKED")
_NEXT = sql("SELECT due_at FROM outbox WHERE state = 'queued' ORDER BY due_at, id LIMIT 1")
_CLAIM = sql("UPDATE outbox SET lease = ?, due_at = ?, attempts = attempts + 1, changed_at = ? WHERE id = ?")
_COUNT_UNANSWERED = sql("UPDATE outbox SET handed_over_at = NULL, unanswered = unanswered + 1 WHERE id = ?")
_RENEW = sql("UPDATE outbox SET due_at = ? WHERE id = ? AND lease = ? RETURNING 1", alone=True)
_HAND_OVER = sql(
    "UPDATE outbox SET due_at = ?, handed_over_at = ?, changed_at = ? WHERE id = ? AND lease = ? RETURNING 1", alone=True
)
_FINISH = sql(
    "UPDATE outbox SET state = ?, recipients = ?, unanswered = unanswered + ?, due_at = ?, lease = NULL, handed_over_at = NULL,"
    " error = ?, changed_at = ? WHERE id = ? AND lease = ? RETURNING 1",
    alone=True,
)
_RELEASE = sql(
    "UPDATE outbox SET lease = NULL, due_at = ?, attempts = attempts - 1 WHERE id = ? AND lease = ? RETURNING 1", alone=True
)
_FIND = sql(f"SELECT {_COLUMNS} FROM outbox WHERE id = ?")  # noqa: S608 (constant)
_FIND_TO_CHANGE = sql(_FIND.sqlite, f"{_FIND.sqlite} FOR UPDATE")
_UNSENT = sql(f"SELECT {_COLUMNS} FROM outbox WHERE state <> 'sent' ORDER BY id LIMIT ?")  # noqa: S608 (constant)
_IN_STATE = sql(f"SELECT {_COLUMNS} FROM outbox WHERE state = ? ORDER BY id DESC LIMIT ?")  # noqa: S608 (constant)
# By the index of what is not sent, and never all of an outbox that has been failing for months.
_DEPTHS = sql(
    "SELECT state, COUNT(*), MIN(created_at) FROM"
    " (SELECT state, created_at FROM outbox WHERE state <> 'sent' ORDER BY id LIMIT 10000) AS unsent GROUP BY state"
)
_STOPPED = sql("SELECT id FROM outbox WHERE state IN ('failed', 'unknown') ORDER BY id")
_AGAIN = sql("UPDATE outbox SET state = 'queued', recipients = ?, due_at = ?, changed_at = ? WHERE id = ?")
_NOW = sql("UPDATE outbox SET due_at = ? WHERE id = ?")
_recipients = msgspec.json.Decoder(list[Recipient])


class OutboxEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A row. From `due_at` on it may be taken; since `handed_over_at` an answer is missing, as `unanswered` ones did before."""

    id: str
    state: OutboxState
    recipients: Sequence[Recipient]
    attempts: int
    unanswered: int
    due_at: Timestamp
    lease: str | None
    handed_over_at: Timestamp | None
    error: str
    created_at: Timestamp
    changed_at: Timestamp


class OutboxTable:
    """The outbox of all organizations. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self) -> Timestamp | None:
        """When the next message is due, or was; None when none is queued."""
        rows = await self._database.rows(_NEXT, ())
        return rows[0][0] if rows else None

    async def claim(self, lease: str, now: Timestamp, until: Timestamp, limit: int, *, hold: bool) -> list[OutboxEntry]:
        """Take up to `limit` messages that are due, until that time; gives them as they were, but with this attempt counted.

        One with a `lease` was taken by a process that did not come to an end with it. Unless `hold`, a mail that it had handed
        over is counted as unanswered, and is one like any from here on.
        """

        def script() -> Script[list[OutboxEntry]]:
            rows = yield _DUE, (now, limit)
            entries = [_entry(row) for row in rows]
            for entry in entries:
                yield _CLAIM, (lease, until, now, entry.id)
                if entry.handed_over_at is not None and not hold:
                    yield _COUNT_UNANSWERED, (entry.id,)
            return [msgspec.structs.replace(entry, attempts=entry.attempts + 1) for entry in entries]

        return await self._database.write(script)

    async def renew(self, id: str, lease: str, until: Timestamp) -> bool:
        """Keep a message until that time; False when somebody else may have it."""
        return await self._update(_RENEW, (until, id, lease))

    async def hand_over(self, id: str, lease: str, now: Timestamp, until: Timestamp) -> bool:
        """Note that the server may have the mail from now on, and keep it until that time; False when the lease was lost."""
        return await self._update(_HAND_OVER, (until, now, now, id, lease))

    async def finish(
        self, id: str, lease: str, settled: Settled, now: Timestamp, due_at: Timestamp, *, unanswered: bool
    ) -> bool:
        """Note what an attempt came to, and let go of the message; False when the lease was lost."""
        recipients = msgspec.json.encode(settled.recipients).decode()
        values = (settled.state, recipients, int(unanswered), due_at, settled.error, now, id, lease)
        return await self._update(_FINISH, values)

    async def release(self, id: str, lease: str, now: Timestamp) -> bool:
        """Let go of a message as if it had not been taken; False when the lease was lost."""
        return await self._update(_RELEASE, (now, id, lease))

    async def _update(self, statement: Statement, values: Parameters) -> bool:
        return bool(await self._database.write(one_step(statement, values)))

    async def find(self, id: str) -> OutboxEntry | None:
        """The entry of that message."""
        rows = await self._database.rows(_FIND, (id,))
        return _entry(rows[0]) if rows else None

    async def entries(self, state: OutboxState | None, limit: int) -> list[OutboxEntry]:
        """Up to `limit` entries: of that state, newest first, or all that are not sent, oldest first."""
        statement, values = (_UNSENT, (limit,)) if state is None else (_IN_STATE, (state, limit))
        return [_entry(row) for row in await self._database.rows_of_any_length(statement, values)]

    async def depths(self, within_s: float) -> list[tuple[OutboxState, int, Timestamp]]:
        """Of each state but `sent`: how many entries are in it, and when the oldest was made; of the oldest 10,000.

        Raises TIMEOUT after so many seconds.
        """
        return [(state, count, oldest) for state, count, oldest in await self._database.rows_apart(_DEPTHS, (), within_s)]

    async def retry(self, ids: Sequence[str] | None, now: Timestamp) -> list[str]:
        """Queue what failed or is unknown, and what waits for its next attempt, to be sent now; without ids all of the former.

        Gives the ids of those. What is sent, or being sent, stays as it is.
        """

        def script() -> Script[list[str]]:
            wanted = ids
            if wanted is None:
                rows = yield _STOPPED, ()
                wanted = [id for (id,) in rows]
            queued = yield from in_turn(_retry(id, now) for id in wanted)
            return list(itertools.compress(wanted, queued))

        return await self._database.write(script)


def _retry(id: str, now: Timestamp) -> Script[bool]:
    rows = yield _FIND_TO_CHANGE, (id,)
    entry = _entry(rows[0]) if rows else None
    if entry is None or entry.state == "sent" or entry.lease is not None:
        return False
    if entry.state == "queued":
        yield _NOW, (now, id)
    else:
        yield _AGAIN, (msgspec.json.encode(again(entry.recipients)).decode(), now, now, id)
    return True


def _entry(row: Row) -> OutboxEntry:
    id, state, recipients, attempts, unanswered, due_at, lease, handed_over_at, error, created_at, changed_at = row
    return OutboxEntry(
        id=id,
        state=state,
        recipients=_recipients.decode(recipients),
        attempts=attempts,
        unanswered=unanswered,
        due_at=due_at,
        lease=lease,
        handed_over_at=handed_over_at,
        error=error,
        created_at=created_at,
        changed_at=changed_at,
    )
