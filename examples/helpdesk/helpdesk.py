"""A help desk beside attachd: tickets whose files are attachd's attachments, served by the same process to the same clients.

The tickets are in a SQLite file of their own, which all workers share. Each call opens it in a thread: short, and nobody at a
help desk waits for a microsecond.
"""

import asyncio
import contextlib
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from procedures import Call, MemberContext, Next, Router, Tracked, authenticated, procedure, raises
from schemas import AttachmentItem, Code, Id, ServiceError

POLL_S = 0.2  # how long a change of another worker stays unseen

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY, organization_id TEXT, conversation_id TEXT, subject TEXT, status TEXT
);
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, organization_id TEXT, ticket_id TEXT, status TEXT
);
CREATE TRIGGER IF NOT EXISTS opened AFTER INSERT ON tickets BEGIN
    INSERT INTO changes (organization_id, ticket_id, status) VALUES (new.organization_id, new.id, new.status);
END;
CREATE TRIGGER IF NOT EXISTS moved AFTER UPDATE ON tickets BEGIN
    INSERT INTO changes (organization_id, ticket_id, status) VALUES (new.organization_id, new.id, new.status);
END;
"""

Status = Literal["open", "closed"]
Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="What it is about, in a line")]


class OpenInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new ticket. The files of its conversation are uploaded to attachd."""

    subject: Subject
    conversation_id: Id


class TicketInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which ticket."""

    id: Id


class ListInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which tickets."""

    status: Status = "open"


class ChangesInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where to go on: the client sends the id of the last change that it got."""

    last_event_id: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket."""

    id: str
    conversation_id: str
    subject: str
    status: Status


class TicketWithFiles(Ticket, frozen=True, kw_only=True):
    """A ticket and what was attached to its conversation."""

    files: list[AttachmentItem]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket was opened or closed."""

    ticket_id: str
    status: Status


class Desk:
    """The tickets of all organizations, in a SQLite file that is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def add(self, organization_id: str, input: OpenInput) -> Ticket:
        """Open a ticket."""
        ticket = Ticket(id=str(uuid.uuid4()), conversation_id=input.conversation_id, subject=input.subject, status="open")
        await self._rows(
            "INSERT INTO tickets (id, organization_id, conversation_id, subject, status) VALUES (?, ?, ?, ?, ?)",
            *(ticket.id, organization_id, ticket.conversation_id, ticket.subject, ticket.status),
        )
        return ticket

    async def close(self, organization_id: str, id: str) -> None:
        """Close a ticket; closing it again changes nothing."""
        await self._rows(
            "UPDATE tickets SET status = 'closed' WHERE organization_id = ? AND id = ? AND status = 'open'", organization_id, id
        )

    async def get(self, organization_id: str, id: str) -> Ticket:
        """One ticket. Raises NOT_FOUND."""
        rows = await self._rows(
            "SELECT id, conversation_id, subject, status FROM tickets WHERE organization_id = ? AND id = ?", organization_id, id
        )
        if not rows:
            raise ServiceError(Code.NOT_FOUND, f'ticket "{id}" not found')
        return msgspec.convert(dict(rows[0]), Ticket)

    async def having(self, organization_id: str, status: Status) -> list[Ticket]:
        """The tickets of an organization that have that status, oldest first."""
        rows = await self._rows(
            "SELECT id, conversation_id, subject, status FROM tickets WHERE organization_id = ? AND status = ? ORDER BY rowid",
            *(organization_id, status),
        )
        return msgspec.convert([dict(row) for row in rows], list[Ticket])

    async def changes(self, organization_id: str, after: int) -> list[tuple[int, Change]]:
        """The changes after that number, with their own."""
        rows = await self._rows(
            "SELECT number, ticket_id, status FROM changes WHERE organization_id = ? AND number > ? ORDER BY number",
            *(organization_id, after),
        )
        return [(row["number"], Change(ticket_id=row["ticket_id"], status=row["status"])) for row in rows]

    async def _rows(self, statement: str, *values: str | int) -> list[sqlite3.Row]:
        return await asyncio.to_thread(self._run, statement, values)

    def _run(self, statement: str, values: tuple[str | int, ...]) -> list[sqlite3.Row]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
            connection.row_factory = sqlite3.Row
            connection.executescript(_SCHEMA)
            return connection.execute(statement, values).fetchall()


class DeskContext(MemberContext, frozen=True):
    """What the procedures of the desk are given: attachd's services, the caller, and the desk."""

    desk: Desk


desk = Desk(Path(os.environ.get("HELPDESK_DATABASE", "data/helpdesk.db")))


async def with_desk(call: Call, next: Next) -> Any:
    """Hand the desk to what is inside; stands behind `authenticated`."""
    ctx = cast("MemberContext", call.ctx)
    return await next(call.with_context(DeskContext(ctx.attachments, ctx.principal, desk)))


@raises(Code.FORBIDDEN)
async def admins_only(call: Call, next: Next) -> Any:
    """Let only admins in; stands behind `authenticated`. Raises FORBIDDEN."""
    if cast("MemberContext", call.ctx).principal.role != "admin":
        raise ServiceError(Code.FORBIDDEN, "only an admin may close a ticket")
    return await next(call)


member = procedure.use(authenticated, with_desk)
admin = member.use(admins_only)
helpdesk = Router()


@helpdesk.query(member)
async def tickets(ctx: DeskContext, input: ListInput | None) -> list[Ticket]:
    """The open or the closed tickets, oldest first."""
    return await ctx.desk.having(ctx.principal.organization_id, input.status if input else "open")


@helpdesk.query(member)
@raises(Code.NOT_FOUND)
async def ticket(ctx: DeskContext, input: TicketInput) -> TicketWithFiles:
    """One ticket, with the attachments of its conversation."""
    found = await ctx.desk.get(ctx.principal.organization_id, input.id)
    files = await ctx.attachments.list(ctx.principal, found.conversation_id)
    return TicketWithFiles(**msgspec.structs.asdict(found), files=files)


@helpdesk.mutation(member, name="open")
async def open_(ctx: DeskContext, input: OpenInput) -> Ticket:
    """Open a ticket."""
    return await ctx.desk.add(ctx.principal.organization_id, input)


@helpdesk.mutation(admin)
@raises(Code.NOT_FOUND)
async def close(ctx: DeskContext, input: TicketInput) -> Ticket:
    """Close a ticket; admins may."""
    await ctx.desk.close(ctx.principal.organization_id, input.id)
    return await ctx.desk.get(ctx.principal.organization_id, input.id)


@helpdesk.subscription(member, name="onChange")
async def on_change(ctx: DeskContext, input: ChangesInput | None) -> AsyncIterator[Tracked[Change]]:
    """What happens to tickets, each change once: from the first on, or after `lastEventId`."""
    number = int(input.last_event_id or 0) if input else 0
    while True:
        for number, change in await ctx.desk.changes(ctx.principal.organization_id, number):  # noqa: B020 (goes on from the last)
            yield Tracked(str(number), change)
        await asyncio.sleep(POLL_S)


router = Router()
router.mount("helpdesk", helpdesk)
