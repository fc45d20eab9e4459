"""One mail over one SMTP connection, by aiosmtplib; the bytes of files are read, encoded and written piece by piece.

aiosmtplib's own `data` takes a whole mail. So DATA is sent as a command, and the mail is written through a StreamWriter on
aiosmtplib's connection, which that is made for: a piece is read when the one before has left the buffer. What is held of a mail
is its text and headers, PIECE_BYTES of a file, the same in base64, and what the transport buffers: 64 KiB and one piece.
"""

import asyncio
import binascii
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, cast

import aiosmtplib
import msgspec

from server.mail_settings import MailSettings
from storage.mail import BASE64_LINE_BYTES, UNANSWERED, Composed, Failure, File, Result

PIECE_BYTES = BASE64_LINE_BYTES * 1024
QUIT_TIMEOUT_S = 5.0
_START_INPUT, _OK = 354, 250
# Authentication and encryption (RFC 4954, 6; RFC 3207, 4): whatever they are refused upon, they are of us, not of a mail.
_OF_US = frozenset({530, 534, 535, 538})
_LINE_CHARACTERS = 76
_DOT = re.compile(rb"^\.", re.MULTILINE)
_BLANKS = re.compile(r"[\s\0-\x1f\x7f]+")

ReadFile = Callable[[File, int, int], Awaitable[bytes | bytearray]]  # bytes of a file: where they begin, and how many


class Refused(Exception):  # noqa: N818 (it says what happened)
    """The server did not take the mail, from anybody or at all; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Envelope(NamedTuple):
    """Who sends a mail, and who is to get it: addresses."""

    sender: str
    recipients: Sequence[str]


def failure_of(error: Exception, stage: str = "") -> Failure:
    """What an exception of a connection means, when it came before the mail was handed over: something that may pass."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        text = f"{error.code} {error.message}"
    elif isinstance(error, TimeoutError) and not str(error):
        text = "timed out"
    else:
        text = str(error) or type(error).__name__
    return Failure(text=_one_line(f"{stage}: {text}" if stage else text))


def _is_permanent(code: int) -> bool:
    return code >= 500 and code not in _OF_US


def _one_line(text: str) -> str:
    """Text of a server on one line, without what a terminal would heed and what no database takes."""
    return _BLANKS.sub(" ", text.encode("utf-8", "replace").decode()).strip()


def tls_context(settings: MailSettings) -> ssl.SSLContext:
    """How the server proves who it is. Raises OSError when `mail.ca_file` cannot be read."""
    return ssl.create_default_context(cafile=settings.ca_file or None)


@contextlib.asynccontextmanager
async def connected(settings: MailSettings, hostname: str, context: ssl.SSLContext | None) -> AsyncIterator["Connection"]:
    """A connection that has said who it is, secured and authenticated as the settings want. Raises Refused.

    Whatever the server refuses here it refuses of us, not of a mail: the failure is never permanent.
    """
    client = aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        username=settings.username or None,
        password=settings.password or None,
        local_hostname=hostname,
        timeout=settings.timeout_seconds,
        use_tls=settings.security == "tls",
        start_tls=settings.security == "starttls",
        tls_context=context if settings.security != "none" else None,
    )
    try:
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Refused(failure_of(error, f"{settings.host}:{settings.port}")) from error
        connection = Connection(client, settings)
        yield connection
        if connection.writing:  # it would take the command for a line of the mail
            return
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=QUIT_TIMEOUT_S)
    finally:
        client.close()


class Connection:
    """A connection on which one mail may be sent. It is `writing` from DATA to the answer, or for ever when there is none."""

    def __init__(self, client: aiosmtplib.SMTP, settings: MailSettings) -> None:
        self._client = client
        self._settings = settings
        self.writing = False
        # Held until the connection is closed: one that is collected closes it.
        self._writer: asyncio.StreamWriter | None = None

    @property
    def max_bytes(self) -> int:
        """How large a mail may be, by the settings and by what the server says (RFC 1870)."""
        announced = self._client.esmtp_extensions.get("size", "")
        limit = int(announced) if announced.isdecimal() else 0
        return min(limit, self._settings.max_message_bytes) if limit else self._settings.max_message_bytes

    async def send(
        self, envelope: Envelope, mail: Composed, read: ReadFile, hand_over: Callable[[], Awaitable[None]]
    ) -> Result:
        """Send a mail; what came of it. `hand_over` is waited for before the line that ends the mail.

        Raises what `read` and `hand_over` do, and then the mail was not handed over.
        """
        refused: dict[str, Failure] = {}
        try:
            await self._begin(envelope, mail.size_bytes)
            accepted = await self._recipients(envelope.recipients, refused)
            if not accepted:
                return Result(refused=refused)
            await self._write(mail, read)
        except Refused as error:
            return Result(refused=refused, failure=error.failure)
        await hand_over()
        failure = await self._end()
        return Result(refused=refused, failure=failure) if failure else Result(delivered=accepted, refused=refused)

    async def _begin(self, envelope: Envelope, size_bytes: int) -> None:
        """MAIL. Raises Refused: permanently, when the server says that it never takes mails from this sender or so large."""
        options = [f"SIZE={size_bytes}"] if self._client.supports_extension("size") else []
        try:
            await self._client.mail(envelope.sender, options=options)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _refused(error, f"MAIL FROM {envelope.sender}") from error

    async def _recipients(self, recipients: Sequence[str], refused: dict[str, Failure]) -> list[str]:
        """RCPT for each: those whom the server takes; the others go to `refused`. Raises Refused when the connection dies."""
        accepted = []
        for address in recipients:
            try:
                await self._client.rcpt(address)
            except aiosmtplib.SMTPRecipientRefused as error:
                # 552 is an old way to say "too many recipients for one mail" (RFC 5321, 4.5.3.1.10).
                refused[address] = msgspec.structs.replace(
                    failure_of(error), permanent=_is_permanent(error.code) and error.code != 552
                )
            except (aiosmtplib.SMTPException, OSError) as error:
                raise _refused(error, f"RCPT TO {address}") from error
            else:
                accepted.append(address)
        return accepted

    async def _write(self, mail: Composed, read: ReadFile) -> None:
        """DATA and the mail, but for the line that ends it. Raises Refused."""
        try:
            answer = await self._client.execute_command(b"DATA")
            if answer.code != _START_INPUT:
                raise Refused(
                    Failure(text=_one_line(f"DATA: {answer.code} {answer.message}"), permanent=_is_permanent(answer.code))
                )
            self.writing = True
            self._writer = writer = _writer(self._client)
            for piece in mail.pieces:
                async for data in _encoded(piece, read):
                    writer.write(data)
                    async with asyncio.timeout(self._settings.timeout_seconds):
                        await writer.drain()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Refused(failure_of(error, "while the mail was sent")) from error

    async def _end(self) -> Failure | None:
        """The line that ends the mail, and the answer to it; None when that is 250."""
        protocol = self._client.protocol
        try:
            if protocol is None:
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            protocol.write(b".\r\n")
        except (aiosmtplib.SMTPException, OSError) as error:  # it was not written: nobody has the mail
            return failure_of(error, "when the mail was ended")
        try:
            answer = await protocol.read_response(timeout=self._settings.answer_timeout_seconds)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Failure(text=f"{UNANSWERED}: {failure_of(error).text}", unanswered=True)
        self.writing = False
        if answer.code == _OK:
            return None
        return Failure(text=_one_line(f"{answer.code} {answer.message}"), permanent=_is_permanent(answer.code))


def _writer(client: aiosmtplib.SMTP) -> asyncio.StreamWriter:
    if client.transport is None or client.protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("Connection lost")
    transport = cast("asyncio.WriteTransport", client.transport)
    return asyncio.StreamWriter(transport, client.protocol, None, asyncio.get_running_loop())


def _refused(error: Exception, stage: str) -> Refused:
    permanent = isinstance(error, aiosmtplib.SMTPResponseException) and _is_permanent(error.code)
    return Refused(msgspec.structs.replace(failure_of(error, stage), permanent=permanent))


async def _encoded(piece: bytes | File, read: ReadFile) -> AsyncIterator[bytes]:
    """A piece of a mail as it goes over the wire: a dot that begins a line doubled (RFC 5321, 4.5.2), a file in base64."""
    if isinstance(piece, bytes):
        yield _DOT.sub(b"..", piece)
        return
    for offset in range(0, piece.size, PIECE_BYTES):
        yield _in_lines(await read(piece, offset, min(PIECE_BYTES, piece.size - offset)))


def _in_lines(data: bytes | bytearray) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    lines = [encoded[start : start + _LINE_CHARACTERS] for start in range(0, len(encoded), _LINE_CHARACTERS)]
    return b"\r\n".join([*lines, b""])
