"""One attempt to send one message, from its files to what is noted of it.

After the server's answer the outcome is noted before anything else is done, and until the database takes it.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Mapping
from datetime import datetime

from schemas import ServiceError
from server.log import log_event
from server.mail.leases import Lease
from server.mail.smtp import Connection, Envelope, Refused, connected, tls_context
from server.mail_settings import MailSettings
from storage import Outbox
from storage.blobs import BlobReader
from storage.mail import UNANSWERED, Failure, File, Mailbox, Result, Retry, TooLarge, plan, settle


class Attempts:
    """Sends messages of an outbox by the settings."""

    def __init__(self, outbox: Outbox, settings: MailSettings, sender: Mailbox, hostname: str) -> None:
        """Raises OSError when `mail.ca_file` cannot be read."""
        self._outbox = outbox
        self._settings = settings
        self._sender = sender
        self._hostname = hostname
        self._context: ssl.SSLContext | None = None if settings.security == "none" else tls_context(settings)
        self._retry = Retry(
            first_s=settings.retry_seconds, max_s=settings.retry_max_seconds, give_up_s=settings.give_up_hours * 3600
        )

    async def run(self, lease: Lease) -> None:
        """Send a message and note what came of it. Raises LeaseLost, in a group or not.

        When it is cancelled, what was not handed over is let go of, and what was stays for the next process to find.
        """
        entry = lease.entry
        if entry.handed_over_at is not None:
            log_event("mail unanswered", id=entry.id, since=entry.handed_over_at)
            if not self._settings.resend_unanswered:
                failure = Failure(text=f"{UNANSWERED}: the process that sent it ended", unanswered=True)
                await self._note(lease, Result(failure=failure))
                return
        try:
            await self._send(lease)
        except asyncio.CancelledError:
            if not lease.handed_over:
                await lease.release()
            raise

    async def _send(self, lease: Lease) -> None:
        try:
            async with connected(self._settings, self._hostname, self._context) as connection:
                async with lease.kept():
                    result = await self._over(connection, lease)
                await self._note(lease, result)
        except Refused as error:
            await self._note(lease, Result(failure=error.failure))

    async def _over(self, connection: Connection, lease: Lease) -> Result:
        entry = lease.entry
        outgoing = await self._outbox.outgoing(entry, self._sender)
        waiting = [recipient.address for recipient in entry.recipients if recipient.state == "waiting"]
        envelope = Envelope(self._sender.address, waiting)
        files = _Files(self._outbox, outgoing.paths)
        try:
            planned = (outgoing.mail, outgoing.attached, outgoing.files, outgoing.links, connection.max_bytes)
            mail = await asyncio.to_thread(plan, *planned)
            return await connection.send(envelope, mail, files.read, lease.hand_over)
        except TooLarge as error:
            return Result(failure=Failure(text=str(error), permanent=True))
        except ServiceError as error:  # the database or the storage: the mail was not handed over
            return Result(failure=Failure(text=error.message))
        finally:
            files.close()

    async def _note(self, lease: Lease, result: Result) -> None:
        entry = lease.entry
        settled = settle(
            entry.recipients,
            result,
            self._retry,
            attempts=entry.attempts,
            age_s=time.time() - datetime.fromisoformat(entry.created_at).timestamp(),
            chance=random.random(),  # noqa: S311 (it need not be hard to guess)
            hold=not self._settings.resend_unanswered,
        )
        await lease.finish(settled, unanswered=result.failure is not None and result.failure.unanswered)
        delivered = sum(recipient.state == "delivered" for recipient in settled.recipients)
        log_event(
            f"mail {settled.state}",
            id=entry.id,
            attempts=entry.attempts,
            delivered=delivered,
            recipients=len(settled.recipients),
            retry_s=settled.delay_s and round(settled.delay_s, 3),
            error=settled.error or None,
        )


class _Files:
    """The files of a mail, of which one at a time is open."""

    def __init__(self, outbox: Outbox, paths: Mapping[str, str]) -> None:
        self._outbox = outbox
        self._paths = paths
        self._id = ""
        self._reader: BlobReader | None = None

    async def read(self, file: File, offset: int, length: int) -> bytes | bytearray:
        """Those bytes of a file. Raises SERVICE_UNAVAILABLE."""
        if self._reader is None or self._id != file.id:
            self.close()
            self._reader, self._id = self._outbox.open(self._paths[file.id]), file.id
            self._reader.expect(offset, file.size)
        return await self._reader.read(offset, length)

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
