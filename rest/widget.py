"""API B's widget: visitors of a conversation who upload before, or without, being anybody (`apis/B-media.txt`).

An agent's session or an API key makes a session of a widget for one conversation, and hands its token to the page with the
widget. The page sends it as `Authorization: Bearer`, never as a cookie: widgets are embedded by pages of other sites, which
browsers send no cookies of ours from, and what is not sent unasked cannot be forged.
"""

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.addresses import Network, limited_address
from rest.attachments import Authenticate
from rest.bodies import BODY_HEADERS, receive_json
from rest.exchanges import Exchange, answer
from rest.headers import pick
from rest.media import MediaUploadHandler, render_media
from rest.rates import Rate, RateLimits
from rest.replies import json_reply, method_not_allowed
from schemas import Id, Principal, Timestamp
from storage import Attachments, Credentials, Policy

SESSIONS_PATH = "/api/v1/widget/sessions"
WIDGET_UPLOAD_PATH = "/api/v1/widget/media/upload"
_FORWARDED = frozenset({b"x-forwarded-for"})


class WidgetSessionInput(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversation the widget is for."""

    conversation_id: Id


class WidgetSession(msgspec.Struct, frozen=True, kw_only=True):
    """A new session of a widget: its token, shown here only, and when it ends."""

    token: str
    expires_at: Timestamp


class WidgetSessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of making a session."""

    data: WidgetSession


class WidgetRules(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decides about widgets. Rates are of uploads, by each session and by each address.

    `trusted_proxies` are those whose word of the client's address counts; `max_body_bytes` is of the JSON that makes a session.
    """

    session_s: float
    session_rate: Rate
    address_rate: Rate
    trusted_proxies: tuple[Network, ...] = ()
    max_body_bytes: int


class SessionHandler:
    """`POST /api/v1/widget/sessions`: a session of a widget, for agents and programs."""

    def __init__(self, credentials: Credentials, authenticate: Authenticate, rules: WidgetRules, idle_timeout_s: float) -> None:
        self._credentials = credentials
        self._authenticate = authenticate
        self._rules = rules
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, BODY_HEADERS), render_media)

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] != "POST":
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"POST", render_media))
            return
        principal = await self._authenticate(exchange.scope)
        rules = self._rules
        asked = await receive_json(exchange, WidgetSessionInput, rules.max_body_bytes, self._idle_timeout_s)
        token, ends = await self._credentials.create_widget_session(principal, asked.conversation_id, rules.session_s)
        await exchange.reply(json_reply(200, WidgetSessionAnswer(data=WidgetSession(token=token, expires_at=ends))))


def counted(authenticate: Authenticate, rates: RateLimits, rules: WidgetRules) -> Authenticate:
    """As `authenticate`, which gives widgets, with each request counted: one too many raises TOO_MANY_REQUESTS."""

    async def authenticate_and_count(scope: Scope) -> Principal:
        principal = await authenticate(scope)
        await rates.hit("widget.rate_limit", rules.session_rate, principal.user_id)
        forwarded = pick(scope["headers"], _FORWARDED).get(b"x-forwarded-for")
        address = limited_address(scope["client"][0] if scope.get("client") else None, forwarded, rules.trusted_proxies)
        await rates.hit("widget.address_rate_limit", rules.address_rate, address)
        return principal

    return authenticate_and_count


def widget_routes(
    attachments: Attachments,
    credentials: Credentials,
    *,
    authenticate: Authenticate,
    authenticate_widget: Authenticate,
    policy: Policy,
    rates: RateLimits,
    rules: WidgetRules,
    idle_timeout_s: float,
) -> list[Route]:
    """The routes of widgets: `authenticate` gives agents and programs, `authenticate_widget` gives widgets."""
    upload = MediaUploadHandler(attachments, policy, counted(authenticate_widget, rates, rules), idle_timeout_s)
    return [
        Route(SESSIONS_PATH, SessionHandler(credentials, authenticate, rules, idle_timeout_s)),
        Route(WIDGET_UPLOAD_PATH, upload),
    ]
