"""A real SMTP server for tests, aiosmtpd in a thread of its own, that can be told to misbehave."""

import asyncio
import email
import email.policy
import ssl
import sys
import threading
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.rest.live import eventually

TIMEOUT_S = 30.0
CERTIFICATE = Path(__file__).with_name("mail_server.pem")  # of 127.0.0.1, signed by itself, with its key; for a hundred years


class Received(msgspec.Struct, frozen=True):
    """A mail that was acknowledged: who sent it to whom, its bytes, and the number of the connection."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    connection: int

    @property
    def message(self) -> EmailMessage:
        """As the standard library reads it."""
        message = email.message_from_bytes(self.data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message


class MailServer:
    """Listens on a free port of 127.0.0.1; a context manager. `received` are the mails that it acknowledged, as they came.

    `recipient_answers` has what RCPT answers by address, `answers` what whole mails are answered, one after the other, then
    250; "drop" closes the connection instead. `began` counts the mails that came whole, acknowledged or not. `pause_s` is how
    long a whole mail waits for its answer, and none is answered while `is_held`; `busy` counts those that wait. With a
    `password`, whoever has another is refused.
    """

    def __init__(self, *, max_bytes: int = 2**26, security: str = "none", password: str = "") -> None:
        tls = None
        if security != "none":
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(CERTIFICATE)
        self.recipient_answers: dict[str, str] = {}
        self.sender_answer = ""
        self.answers: list[str] = []
        self.pause_s = 0.0
        self.is_held = False
        self.received: list[Received] = []
        self.began = 0
        self.connections = 0
        self.logins = 0
        self.busy = self.most_busy = 0
        self.port = 0
        self._options: dict[str, Any] = {"data_size_limit": max_bytes, "hostname": "mail.test"}
        self._options |= {"tls_context": tls, "require_starttls": True} if security == "starttls" else {}
        self._tls = tls if security == "tls" else None
        if password:
            # Of a connection that began with TLS aiosmtpd does not know that it did.
            required = security == "starttls"
            self._options |= {"authenticator": self._authenticate, "auth_required": required, "auth_require_tls": required}
        self._password = password
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None

    def _authenticate(self, _server: object, _session: object, _envelope: object, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins += 1
        return AuthResult(success=data.password.decode() == self._password, handled=False)

    def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(TIMEOUT_S)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> SMTP:
        self.connections += 1
        return SMTP(_Handler(self, self.connections), loop=self._loop, enable_SMTPUTF8=False, **self._options)

    def stop(self) -> None:
        """Listen no more and drop the connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(2 * TIMEOUT_S)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        async with asyncio.timeout(TIMEOUT_S):
            if sys.version_info >= (3, 12):  # it waits for the connections, too
                await self._server.wait_closed()
            else:
                while self._server._active_count:  # type: ignore[attr-defined]  # noqa: ASYNC110, SLF001 (there is no other way)
                    await asyncio.sleep(0.01)

    def wait_for(self, count: int, timeout_s: float = TIMEOUT_S) -> list[Received]:
        """So many acknowledged mails, no more and no fewer."""
        assert eventually(lambda: len(self.received) >= count, timeout_s), self.received
        assert len(self.received) == count
        return self.received

    def mail_of(self, message_id: str) -> Received:
        """The mail with that Message-ID, once it was acknowledged; there must be one alone."""
        assert eventually(lambda: self._with_id(message_id)), self.received
        (mail,) = self._with_id(message_id)
        return mail

    def _with_id(self, message_id: str) -> list[Received]:
        return [mail for mail in self.received if message_id.encode() in mail.data[: mail.data.find(b"\r\n\r\n")]]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-server")
        self._thread.start()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()
        self._loop.close()


class _Handler:
    def __init__(self, server: MailServer, connection: int) -> None:
        self._server = server
        self._connection = connection

    async def handle_MAIL(  # noqa: N802 (aiosmtpd's name)
        self, _smtp: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._server.sender_answer:
            return self._server.sender_answer
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, _smtp: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self._server.recipient_answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, smtp: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        server = self._server
        server.began += 1
        server.busy += 1
        server.most_busy = max(server.most_busy, server.busy)
        answer = server.answers.pop(0) if server.answers else "250 OK"
        await asyncio.sleep(server.pause_s)
        while server.is_held:  # noqa: ASYNC110 (it is set in another thread)
            await asyncio.sleep(0.01)
        server.busy -= 1
        if answer == "drop":
            assert isinstance(smtp.transport, asyncio.Transport)
            smtp.transport.abort()
            return "421 dropped"
        if answer.startswith("250"):
            assert envelope.mail_from is not None
            assert isinstance(envelope.original_content, bytes)
            mail = Received(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.original_content, self._connection)
            server.received.append(mail)
        return answer
