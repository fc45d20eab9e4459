"""The rows of messages. A message, its place in the outbox and the linking of its attachments are one transaction."""

from collections.abc import Sequence

import msgspec

from schemas import Record, Timestamp
from storage.catalog.attachments import Rule, change_one, exists, lock
from storage.catalog.engine import Database, Script, in_turn, sql
from storage.mail.outcomes import Recipient

_INSERT = sql(
    "INSERT INTO messages (id, organization_id, conversation_id, author_id, message_id, subject, content, attachments,"
    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_QUEUE = sql(
    "INSERT INTO outbox (id, state, recipients, attempts, unanswered, due_at, error, created_at, changed_at)"
    " VALUES (?, 'queued', ?, 0, 0, ?, '', ?, ?)"
)
_FIND = sql(
    "SELECT id, organization_id, conversation_id, author_id, message_id, subject, content, attachments, created_at"
    " FROM messages WHERE id = ?"
)
_ids = msgspec.json.Decoder(list[str])


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation. `message_id` is its name in mail, `attachments` the ids of the files that go with it."""

    id: str
    organization_id: str
    conversation_id: str
    author_id: str
    message_id: str
    subject: str
    content: str
    attachments: Sequence[str]
    created_at: Timestamp


class Linking(msgspec.Struct, frozen=True, kw_only=True):
    """The attachments of a new message: those `listed` are held to the rule `must`, those `shown`, if they exist, to `may`."""

    listed: Sequence[str]
    must: Rule
    shown: Sequence[str]
    may: Rule


class MessageTable:
    """Messages of all organizations. Raises SERVICE_UNAVAILABLE when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, message: Message, recipients: Sequence[Recipient], linking: Linking) -> list[Record]:
        """Add a message, queue it and link its attachments, all or nothing; gives the listed ones as they became.

        Raises what a rule raises.
        """
        now = message.created_at
        values = (
            *(message.id, message.organization_id, message.conversation_id, message.author_id, message.message_id),
            *(message.subject, message.content, msgspec.json.encode(message.attachments).decode(), now),
        )
        queued = (message.id, msgspec.json.encode(recipients).decode(), now, now, now)

        def script() -> Script[list[Record]]:
            yield _INSERT, values
            yield _QUEUE, queued
            yield from lock([*linking.listed, *linking.shown])
            records = yield from in_turn(change_one("attached", id, linking.must, now) for id in linking.listed)
            for id in linking.shown:
                if (yield from exists(id)):
                    yield from change_one("attached", id, linking.may, now)
            return records

        return await self._database.write(script)

    async def find(self, id: str) -> Message | None:
        """The message of that id."""
        for row in await self._database.rows_of_any_length(_FIND, (id,)):
            id, organization, conversation, author, message_id, subject, content, attachments, created_at = row
            return Message(
                id=id,
                organization_id=organization,
                conversation_id=conversation,
                author_id=author,
                message_id=message_id,
                subject=subject,
                content=content,
                attachments=_ids.decode(attachments),
                created_at=created_at,
            )
        return None
