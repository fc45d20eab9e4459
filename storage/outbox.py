"""Sending messages, as far as the store has a part in it: who sends what, from what, and what has become of it.

The states and their changes are in `storage.mail.outcomes`. Several processes may send from one outbox: what one has taken is
its own for the time of a lease, which it renews while it sends, and which ends by itself when the process does.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from schemas import Attachment, SignedUrl, Timestamp
from storage.blobs import BlobReader, Blobs
from storage.catalog import AttachmentTable, Database, Message, MessageTable, OutboxEntry, OutboxTable
from storage.clock import timestamp
from storage.mail import File, Mail, Mailbox, OutboxState, Settled
from storage.messages import shown_in

Link = Callable[[str], Awaitable[SignedUrl]]


class LeaseLost(Exception):  # noqa: N818 (it says what happened)
    """Somebody else may be sending the message: whoever finds out must not go on."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail is made of: what `storage.mail.plan` takes, and where the bytes of the files are."""

    mail: Mail
    attached: Sequence[str]
    files: Mapping[str, File]
    links: Mapping[str, str]
    paths: Mapping[str, str]


class OutboxDepth(msgspec.Struct, frozen=True):
    """How many messages are in a state, and when the oldest of them was made, in seconds since 1970."""

    state: OutboxState
    count: int
    oldest_at: float


class Outbox:
    """The outbox of all organizations. Raises SERVICE_UNAVAILABLE when the database fails.

    `link` gives the signed link of an attachment for the readers of a mail.
    """

    def __init__(self, database: Database, blobs: Blobs, link: Link) -> None:
        self._table = OutboxTable(database)
        self._messages = MessageTable(database)
        self._attachments = AttachmentTable(database)
        self._blobs = blobs
        self._link = link
        self._listener: Callable[[], None] | None = None

    def on_queued(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` after this process has queued a message, or nothing any more."""
        self._listener = listener

    def queued(self) -> None:
        """A message was queued."""
        if self._listener is not None:
            self._listener()

    async def due_in_s(self) -> float | None:
        """Seconds until the next message is due, 0 if one is; None when none is queued."""
        due_at = await self._table.next_due()
        return None if due_at is None else max(_seconds(due_at) - time.time(), 0.0)

    async def claim(self, lease: str, lease_s: float, limit: int, *, hold: bool) -> list[OutboxEntry]:
        """Take up to `limit` messages that are due, for so many seconds; see `OutboxTable.claim`."""
        now = time.time()
        return await self._table.claim(lease, timestamp(now), timestamp(now + lease_s), limit, hold=hold)

    async def renew(self, entry: OutboxEntry, lease: str, lease_s: float) -> None:
        """Keep a message for so many seconds from now. Raises LeaseLost."""
        if not await self._table.renew(entry.id, lease, timestamp(time.time() + lease_s)):
            raise LeaseLost

    async def hand_over(self, entry: OutboxEntry, lease: str, lease_s: float) -> None:
        """Note that the server may have the mail from now on. Raises LeaseLost, and then it must not get it."""
        now = time.time()
        if not await self._table.hand_over(entry.id, lease, timestamp(now), timestamp(now + lease_s)):
            raise LeaseLost

    async def finish(self, entry: OutboxEntry, lease: str, settled: Settled, *, unanswered: bool) -> None:
        """Note what an attempt came to. Raises LeaseLost."""
        now = time.time()
        due_at = timestamp(now + (settled.delay_s or 0.0))
        if not await self._table.finish(entry.id, lease, settled, timestamp(now), due_at, unanswered=unanswered):
            raise LeaseLost

    async def release(self, entry: OutboxEntry, lease: str) -> None:
        """Let go of a message that was not handed over: it is due at once, for whoever comes next."""
        await self._table.release(entry.id, lease, timestamp())

    async def outgoing(self, entry: OutboxEntry, sender: Mailbox) -> Outgoing:
        """What the mail of an entry is made of: the message, the files that are still there, and links to them."""
        message = await self._messages.find(entry.id)
        if message is None:
            raise LookupError(f"the outbox has an entry without a message: {entry.id}")
        found = await self._attachments.seen_many([*message.attachments, *await shown_in(message.content)])
        there = {id: attachment for id, attachment in found.items() if _may_go(message, attachment)}
        mail = Mail(
            id=message.id,
            message_id=message.message_id,
            date=datetime.fromisoformat(message.created_at),
            sender=sender,
            to=[Mailbox(to.address, to.name) for to in entry.recipients if to.kind == "to"],
            cc=[Mailbox(cc.address, cc.name) for cc in entry.recipients if cc.kind == "cc"],
            subject=message.subject,
            text="",
            html=message.content,
        )
        return Outgoing(
            mail=mail,
            attached=message.attachments,
            files={id: _file(attachment) for id, attachment in there.items()},
            links={id: (await self._link(id)).url for id in there},
            paths={id: attachment.storage_path for id, attachment in there.items()},
        )

    def open(self, path: str) -> BlobReader:
        """The bytes of a file; close it."""
        return self._blobs.open(path)

    async def find(self, id: str) -> OutboxEntry | None:
        """The entry of that message."""
        return await self._table.find(id)

    async def entries(self, state: OutboxState | None, limit: int) -> list[OutboxEntry]:
        """Up to `limit` entries: of that state, newest first, or all that are not sent, oldest first."""
        return await self._table.entries(state, limit)

    async def depths(self, within_s: float) -> list[OutboxDepth]:
        """Of each state but `sent`, if there are such. Counts 10,000 at most. Raises TIMEOUT after so many seconds."""
        return [OutboxDepth(state, count, _seconds(oldest)) for state, count, oldest in await self._table.depths(within_s)]

    async def retry(self, ids: Sequence[str] | None) -> list[str]:
        """Have these sent now, or without ids all that failed or are unknown; gives the ids of those that will be."""
        return await self._table.retry(ids, timestamp())


def _may_go(message: Message, attachment: Attachment) -> bool:
    return attachment.organization_id == message.organization_id and not attachment.deleted_at


def _file(attachment: Attachment) -> File:
    return File(id=attachment.id, filename=attachment.filename, content_type=attachment.content_type, size=attachment.size)


def _seconds(time_: Timestamp) -> float:
    return datetime.fromisoformat(time_).timestamp()
