"""Messages of conversations: what may be posted, and what is kept of it.

A message is durable, queued for sending and has its attachments linked when `post` returns, or nothing of it is there.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from schemas import Code, Principal, Record, ServiceError
from storage import access
from storage.catalog import Database, Linking, Message, MessageTable
from storage.catalog.attachments import Rule
from storage.clock import timestamp
from storage.ids import fresh_id
from storage.mail import Mailbox, Recipient, has_controls, parse_mailbox, uploads_shown
from storage.options import MailOptions

MAX_SUBJECT_CHARACTERS = 500  # RFC 5322 (2.1.1) has 998 to a line, and characters of other scripts take more when encoded
MAX_IMAGES = 10_000  # uploads that one text shows: each is a few microseconds of the one writer
_THREAD_FROM_CHARACTERS = 65_536  # 2 ms: a longer text is looked through in a thread
# What makes an attachment unfit for a message; to who posts it, its list is wrong.
_UNFIT = frozenset({Code.NOT_FOUND, Code.FORBIDDEN, Code.CONFLICT})


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was asked for: HTML, the ids of files, and addresses as people write them."""

    content: str
    attachments: Sequence[str]
    to: Sequence[str]
    cc: Sequence[str]
    subject: str


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was kept, who it goes to, and its files in the order of the draft."""

    message: Message
    recipients: Sequence[Recipient]
    files: Sequence[Record]


class Messages:
    """Messages of all organizations, within the limits of `options`. `on_queued` is called after one was queued."""

    def __init__(self, database: Database, options: MailOptions, on_queued: Callable[[], None]) -> None:
        self._table = MessageTable(database)
        self.options = options
        self._on_queued = on_queued

    async def post(self, principal: Principal, conversation_id: str, draft: Draft) -> Posted:
        """Keep a message, queue it for sending, and link its attachments and the images it shows to the conversation.

        What is listed must be in the conversation already, or the caller's own and in none; an image that is shown and may
        not be linked is sent all the same, if the organization has it. Raises FORBIDDEN for widgets, BAD_REQUEST and
        PAYLOAD_TOO_LARGE, and then nothing was kept or linked.
        """
        access.check_staff(principal, "send messages")
        self._check(draft)
        recipients = _recipients(draft)
        conversation_id = conversation_id.lower()
        listed = list(dict.fromkeys(id.lower() for id in draft.attachments))
        shown = await shown_in(draft.content)
        if len(shown) > MAX_IMAGES:
            raise ServiceError(Code.BAD_REQUEST, f"content shows more than {MAX_IMAGES} uploads")
        now = timestamp()
        message = Message(
            id=(id := fresh_id()),
            organization_id=principal.organization_id,
            conversation_id=conversation_id,
            author_id=principal.user_id,
            message_id=f"{id}@{self.options.domain}",
            subject=draft.subject,
            content=draft.content,
            attachments=listed,
            created_at=now,
        )
        linking = Linking(
            listed=listed,
            must=_must_be_sent(principal, conversation_id),
            shown=[id for id in shown if id not in listed],
            may=_may_be_sent(principal, conversation_id),
        )
        files = await self._table.insert(message, recipients, linking)
        self._on_queued()
        return Posted(message=message, recipients=recipients, files=files)

    def _check(self, draft: Draft) -> None:
        options = self.options
        if len(draft.content.encode(errors="surrogatepass")) > options.max_content_bytes:
            raise ServiceError(Code.PAYLOAD_TOO_LARGE, f"content has more than {options.max_content_bytes} bytes")
        if not draft.content.strip() and not draft.attachments:
            raise ServiceError(Code.BAD_REQUEST, "content is empty and there are no attachments: send one of them")
        if len(draft.attachments) > options.max_attachments:
            raise ServiceError(Code.BAD_REQUEST, f"attachments has more than {options.max_attachments} ids")
        if not draft.to:
            raise ServiceError(Code.BAD_REQUEST, "to is empty: name at least one recipient")
        if len(draft.to) + len(draft.cc) > options.max_recipients:
            raise ServiceError(Code.BAD_REQUEST, f"to and cc have more than {options.max_recipients} recipients together")
        if has_controls(draft.subject) or len(draft.subject) > MAX_SUBJECT_CHARACTERS:
            message = f"subject must be one line of at most {MAX_SUBJECT_CHARACTERS} characters without control characters"
            raise ServiceError(Code.BAD_REQUEST, message)


def _recipients(draft: Draft) -> list[Recipient]:
    """Everybody once, under the first heading that names them. Raises BAD_REQUEST."""
    found: dict[str, Recipient] = {}
    for kind, texts in (("to", draft.to), ("cc", draft.cc)):
        for text in texts:
            mailbox = _mailbox(kind, text)
            recipient = Recipient(kind="to" if kind == "to" else "cc", address=mailbox.address, name=mailbox.name)
            found.setdefault(mailbox.address.lower(), recipient)
    return list(found.values())


def _mailbox(kind: str, text: str) -> Mailbox:
    try:
        return parse_mailbox(text)
    except ValueError as error:
        raise ServiceError(Code.BAD_REQUEST, f"{kind}: {error}") from error


async def shown_in(content: str) -> list[str]:
    """The ids of the uploads that the images of a text show."""
    if len(content) >= _THREAD_FROM_CHARACTERS:
        references = await asyncio.to_thread(uploads_shown, content)
    else:
        references = uploads_shown(content)
    return list(dict.fromkeys(reference.id for reference in references))


def _must_be_sent(principal: Principal, conversation_id: str) -> Rule:
    """The rule for a listed attachment: linked to the conversation, or there already; else BAD_REQUEST."""

    def must(record: Record | None, id: str) -> Record:
        try:
            return access.sendable(principal, record, id, conversation_id)
        except ServiceError as error:
            if error.code in _UNFIT:
                raise ServiceError(Code.BAD_REQUEST, f"attachments: {error.message}") from error
            raise

    return must


def _may_be_sent(principal: Principal, conversation_id: str) -> Rule:
    """The rule for an image that is shown: linked if the caller may, else as it is."""

    def may(record: Record | None, id: str) -> Record:
        if record is None:
            raise access.not_found(id)
        try:
            return access.sendable(principal, record, id, conversation_id)
        except ServiceError:
            return record

    return may
