"""What one worker holds of one message: the lease, which is renewed while the mail is sent.

A mail is not handed over without the lease: `hand_over` asks for it in the database, right before the line that ends the mail.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from schemas import ServiceError
from storage import LeaseLost, Outbox, OutboxEntry
from storage.mail import Settled

_RENEWALS = 3  # in the time that a lease lasts
_NOTE_AGAIN_S = 0.2  # between attempts to note an outcome while the database does not answer


class Lease:
    """The lease on `entry`, which was claimed with `token`. `handed_over` tells whether the server may have the mail."""

    def __init__(self, outbox: Outbox, entry: OutboxEntry, token: str, lease_s: float) -> None:
        self._outbox = outbox
        self._token = token
        self._lease_s = lease_s
        self.entry = entry
        self.handed_over = False

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renews the lease meanwhile. Cancels the body and raises LeaseLost, in a group, when it is lost."""
        async with asyncio.TaskGroup() as group:
            renewal = group.create_task(self._renew())
            yield
            renewal.cancel()

    async def _renew(self) -> None:
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS)
            try:
                await self._outbox.renew(self.entry, self._token, self._lease_s)
                renewed_at = time.monotonic()
            except ServiceError:  # nobody can take the message either, but the time runs
                if time.monotonic() - renewed_at >= self._lease_s:
                    raise LeaseLost from None

    async def hand_over(self) -> None:
        """Note that the server may have the mail from now on. Raises LeaseLost, SERVICE_UNAVAILABLE: it must not get it."""
        await self._outbox.hand_over(self.entry, self._token, self._lease_s)
        self.handed_over = True

    async def finish(self, settled: Settled, *, unanswered: bool) -> None:
        """Note what the attempt came to and let go of the message, as soon as the database takes it. Raises LeaseLost."""
        while True:
            try:
                await self._outbox.finish(self.entry, self._token, settled, unanswered=unanswered)
            except ServiceError:
                await asyncio.sleep(_NOTE_AGAIN_S)
            else:
                return

    async def release(self) -> None:
        """Let go of a message that was not handed over; if the database does not take it, the lease runs out."""
        with contextlib.suppress(ServiceError):
            await self._outbox.release(self.entry, self._token)
