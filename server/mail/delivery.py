"""The worker that empties the outbox: takes what is due and has it sent.

Every worker process has one. They share the outbox by leases: a message is taken for `lease_seconds`, which are renewed while
it is sent; of a process that died, another takes it when they are over. A lease that was lost ends the attempt at once.
"""

import asyncio
import contextlib
import logging
import secrets

from schemas import ServiceError
from server.mail.attempts import Attempts
from server.mail.leases import Lease
from server.mail_settings import MailSettings
from storage import LeaseLost, Outbox
from storage.mail import Mailbox

logger = logging.getLogger("attachd.mail")

_AGAIN_S = 5.0  # after the outbox could not be read


class Delivery:
    """Sends from the outbox until it is told to stop. `hostname` is what this server calls itself."""

    def __init__(self, outbox: Outbox, settings: MailSettings, sender: Mailbox, hostname: str) -> None:
        """Raises OSError when `mail.ca_file` cannot be read."""
        self._outbox = outbox
        self._settings = settings
        self._attempts = Attempts(outbox, settings, sender, hostname)
        self._task: asyncio.Task[None] | None = None
        self._running = 0
        self._stopping = False
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Take and send messages until `stop` is called and the attempts under way have ended.

        When it is cancelled, what was not handed over is let go of, and what was stays for the next process to find.
        """
        self._outbox.on_queued(self._wake.set)
        try:
            async with asyncio.TaskGroup() as attempts:
                while not self._stopping:
                    self._wake.clear()
                    for lease in await self._claim():
                        self._running += 1
                        attempts.create_task(self._attempt(lease))
                    await self._wait()
        finally:
            self._outbox.on_queued(None)

    def start(self) -> None:
        """Run from now on, until `aclose`."""
        self._task = asyncio.create_task(self.run())

    def stop(self) -> None:
        """Take no more messages."""
        self._stopping = True
        self._wake.set()

    async def aclose(self, grace_s: float) -> None:
        """Stop, let the attempts under way end for so many seconds, and end them."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace_s)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _claim(self) -> list[Lease]:
        """What is due, as far as there is somebody to send it."""
        settings, free = self._settings, self._settings.connections - self._running
        token = secrets.token_hex(8)
        try:
            if not free or await self._outbox.due_in_s() != 0:
                return []
            entries = await self._outbox.claim(token, settings.lease_seconds, free, hold=not settings.resend_unanswered)
        except Exception:  # whatever it is, the worker must not end by it
            logger.exception("the outbox could not be read; it is tried again")
            await asyncio.sleep(_AGAIN_S)
            return []
        return [Lease(self._outbox, entry, token, settings.lease_seconds) for entry in entries]

    async def _wait(self) -> None:
        """Until a message is due and there is somebody to send it, or another process may have queued one."""
        wait_s = self._settings.poll_seconds
        if self._running < self._settings.connections:
            with contextlib.suppress(ServiceError):
                due_in_s = await self._outbox.due_in_s()
                wait_s = wait_s if due_in_s is None else min(wait_s, due_in_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()

    async def _attempt(self, lease: Lease) -> None:
        """Send a message and note what came of it. Raises nothing but when it is cancelled."""
        try:
            await self._attempts.run(lease)
        except* LeaseLost:
            logger.warning("the lease of a message was lost: another worker sends it", extra=_fields(lease))
        except* Exception as errors:  # a mistake of ours: the lease runs out, and the message is tried again
            logger.exception("a message could not be sent", exc_info=errors, extra=_fields(lease))
        finally:
            self._running -= 1
            self._wake.set()


def _fields(lease: Lease) -> dict[str, dict[str, str]]:
    return {"fields": {"id": lease.entry.id}}
