"""API B: `POST /api/v1/conversations/{uuid}/messages`, messages with their attachments (`apis/B-media.txt`)."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.attachments import Authenticate
from rest.bodies import BODY_HEADERS, receive_json
from rest.exchanges import Exchange, answer
from rest.media import Media, media_of, render_media, url_of
from rest.replies import Reply, json_reply, method_not_allowed
from schemas import UUID_PATTERN, Code, Id, ServiceError, Timestamp
from storage import Attachments, Draft, Messages, Posted

MESSAGES_PATH = "/api/v1/conversations/{uuid}/messages"
# In JSON a byte of a text may be written in up to three (`\u00e4` for two, `\"` for one), its control characters in six; and
# something for the rest of the message.
_BODY_BYTES_A_BYTE = 3
_BODY_BYTES = 262_144


class MessageInput(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send."""

    content: Annotated[str, msgspec.Meta(description="HTML; images of uploads are sent with it.")]
    attachments: Annotated[list[Id] | None, msgspec.Meta(description="Uploads to send with it.")] = None
    to: Annotated[list[str], msgspec.Meta(description="Mail addresses, such as `Ada <ada@example.com>`.")]
    cc: list[str] | None = None
    subject: str | None = None


class KeptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is kept; it is `queued` for sending."""

    uuid: str
    conversation_uuid: str
    status: Literal["queued"] = "queued"
    message_id: Annotated[str, msgspec.Meta(description="Its Message-ID in mail.")]
    subject: str
    content: str
    to: list[str]
    cc: list[str]
    attachments: list[Media]
    created_at: Timestamp


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of posting a message."""

    data: KeptMessage


class MessagesHandler:
    """`POST /api/v1/conversations/{uuid}/messages`: keep a message, link its attachments, queue its mail."""

    def __init__(
        self,
        messages: Messages,
        attachments: Attachments,
        authenticate: Authenticate,
        idle_timeout_s: float,
    ) -> None:
        self._messages = messages
        self._attachments = attachments
        self._authenticate = authenticate
        self._max_body_bytes = messages.options.max_content_bytes * _BODY_BYTES_A_BYTE + _BODY_BYTES
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, BODY_HEADERS), render_media)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", render_media))
            return
        principal = await self._authenticate(exchange.scope)
        conversation_id = exchange.scope["path_params"]["uuid"]
        if not re.match(UUID_PATTERN, conversation_id):
            raise ServiceError(Code.BAD_REQUEST, "the conversation must be named by its UUID")
        asked = await receive_json(exchange, MessageInput, self._max_body_bytes, self._idle_timeout_s, "mail.max_content_bytes")
        posted = await self._messages.post(principal, conversation_id, _draft(asked))
        urls = await asyncio.gather(*[url_of(self._attachments, file) for file in posted.files])
        await exchange.reply(_posted(posted, urls))


def message_routes(
    messages: Messages, attachments: Attachments, authenticate: Authenticate, *, idle_timeout_s: float
) -> list[Route]:
    """The route of messages. A client that sends nothing for `idle_timeout_s` is left."""
    return [Route(MESSAGES_PATH, MessagesHandler(messages, attachments, authenticate, idle_timeout_s))]


def _draft(asked: MessageInput) -> Draft:
    return Draft(
        content=asked.content,
        attachments=asked.attachments or [],
        to=asked.to,
        cc=asked.cc or [],
        subject=(asked.subject or "").strip(),
    )


def _posted(posted: Posted, urls: Sequence[str]) -> Reply:
    message = posted.message
    kept = KeptMessage(
        uuid=message.id,
        conversation_uuid=message.conversation_id,
        message_id=message.message_id,
        subject=message.subject,
        content=message.content,
        to=[recipient.written for recipient in posted.recipients if recipient.kind == "to"],
        cc=[recipient.written for recipient in posted.recipients if recipient.kind == "cc"],
        attachments=[media_of(file, url) for file, url in zip(posted.files, urls, strict=True)],
        created_at=message.created_at,
    )
    return json_reply(200, MessageAnswer(data=kept))
