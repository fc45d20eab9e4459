"""The rows of messages. A message, its place in the outbox and the linking of its attachments are one transaction."""

import sqlite3
from collections.abc import Sequence

import msgspec

from schemas import Record, Timestamp
from storage.catalog.attachments import Rule, change_one, exists
from storage.catalog.sqlite import Sqlite
from storage.mail.outcomes import Recipient

_INSERT = (
    "INSERT INTO messages (id, organization_id, conversation_id, author_id, message_id, subject, content, attachments,"
    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_QUEUE = (
    "INSERT INTO outbox (id, state, recipients, attempts, unanswered, due_at, error, created_at, changed_at)"
    " VALUES (?, 'queued', ?, 0, 0, ?, '', ?, ?)"
)
_FIND = (
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

    def __init__(self, database: Sqlite) -> None:
        self._database = database

    async def insert(self, message: Message, recipients: Sequence[Recipient], linking: Linking) -> list[Record]:
        """Add a message, queue it and link its attachments, all or nothing; gives the listed ones as they became.

        Raises what a rule raises.
        """

        def change(connection: sqlite3.Connection) -> list[Record]:
            now = message.created_at
            records = [change_one(connection, "attached", id, linking.must, now) for id in linking.listed]
            for id in linking.shown:
                if exists(connection, id):
                    change_one(connection, "attached", id, linking.may, now)
            values = (
                *(message.id, message.organization_id, message.conversation_id, message.author_id, message.message_id),
                *(message.subject, message.content, msgspec.json.encode(message.attachments).decode(), now),
            )
            connection.execute(_INSERT, values)
            connection.execute(_QUEUE, (message.id, msgspec.json.encode(recipients).decode(), now, now, now))
            return records

        return await self._database.write(change)

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
