"""`/healthz`: the process answers. `/readyz`: so do the database and the storage. Neither needs a credential."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rest.exchanges import Exchange, answer
from rest.replies import json_reply, method_not_allowed
from schemas import Code, ServiceError

Check = Callable[[], Awaitable[None]]

HEALTH_PATH = "/healthz"
READINESS_PATH = "/readyz"
_NOTHING: frozenset[bytes] = frozenset()


class Health(msgspec.Struct, frozen=True):
    """The answer of both."""

    status: Literal["ok"] = "ok"


_OK = json_reply(200, Health())


class HealthHandler:
    """GET and HEAD: 200 when `check` passes within `timeout_s`, else 503; why not stands in the log."""

    def __init__(self, check: Check, timeout_s: float) -> None:
        self._check = check
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await answer(self._handle, Exchange(scope, receive, send, _NOTHING))

    async def _handle(self, exchange: Exchange) -> None:
        if exchange.scope["method"] not in {"GET", "HEAD"}:
            await exchange.reply(method_not_allowed(exchange.scope["method"], b"GET, HEAD"))
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._check()
        except TimeoutError as error:
            message = f"the database and the storage did not answer within {self._timeout_s:g} seconds"
            raise ServiceError(Code.SERVICE_UNAVAILABLE, message) from error
        await exchange.reply(_OK)


def health_routes(check: Check, timeout_s: float) -> list[Route]:
    """The routes of liveness and readiness; `check` raises SERVICE_UNAVAILABLE when the process cannot serve."""
    return [Route(HEALTH_PATH, HealthHandler(_alive, timeout_s)), Route(READINESS_PATH, HealthHandler(check, timeout_s))]


async def _alive() -> None:
    """Nothing to check: the answer is the proof."""
