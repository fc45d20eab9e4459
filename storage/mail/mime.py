"""From a message to what goes over SMTP: a MIME message in pieces, with places for the files that are read while it is sent.

    multipart/mixed
      multipart/related
        multipart/alternative: text/plain, text/html
        the images that the HTML shows, by Content-ID
      the other files

Levels with one part are left out. The standard library's email package writes everything but the bytes of the files: their
places hold a mark, at which its output is cut. All of it is 7 bit, in short lines that end with CR LF. The same message is
written the same way each time, its Message-ID, its date and its boundaries included: what is sent again after a connection died
can be known as the same. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import msgspec

from storage.mail.addresses import Mailbox

BASE64_LINE_BYTES = 57  # of a file in a line of 76 characters (RFC 2045, 6.8)
# Quoted-printable, which people can read and filters like, is written by Python at 2 MB/s, base64 at 100 (2026-11).
_MAX_QUOTED_BYTES = 65_536
# No line of base64 or quoted-printable holds `=_`: boundaries never occur in what they part, nor marks, which stand behind an
# empty line, where no header is.
_MARK = "=_attachd_file_"
_PLACE = re.compile(rb"(?<=\r\n\r\n)=_attachd_file_([0-9]+)\r\n")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes with a message; with a `content_id` it is an image that the HTML shows as `cid:{content_id}`."""

    id: str
    filename: str
    content_type: str
    size: int
    content_id: str | None = None


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """All that a mail is made of. `id` is the message's UUID, `message_id` its Message-ID without angle brackets."""

    id: str
    message_id: str
    date: datetime
    sender: Mailbox
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox]
    subject: str
    text: str
    html: str
    files: Sequence[File] = ()


class Composed(msgspec.Struct, frozen=True):
    """A mail as it is sent: bytes that begin and end with whole lines, and files in base64 between them."""

    pieces: Sequence[bytes | File]
    size_bytes: int


def encoded_size(size: int) -> int:
    """How many bytes a file of that size is in base64 with its line ends."""
    return (size + 2) // 3 * 4 + 2 * ((size + BASE64_LINE_BYTES - 1) // BASE64_LINE_BYTES)


def compose(mail: Mail) -> Composed:
    """The mail in pieces."""
    shown = [(place, file) for place, file in enumerate(mail.files) if file.content_id is not None]
    others = [(place, file) for place, file in enumerate(mail.files) if file.content_id is None]
    body = _multipart("alternative", mail.id, [_text(mail.text, "plain"), _text(mail.html, "html")])
    if shown:
        body = _multipart("related", mail.id, [body, *_parts(shown)], type="multipart/alternative")
    if others:
        body = _multipart("mixed", mail.id, [body, *_parts(others)])
    for name, value in _headers(mail):
        body[name] = value
    return _cut(body.as_bytes(policy=SMTP), mail.files)


def _headers(mail: Mail) -> Iterable[tuple[str, object]]:
    yield "From", _address(mail.sender)
    yield "To", tuple(map(_address, mail.to))
    if mail.cc:
        yield "Cc", tuple(map(_address, mail.cc))
    if mail.subject:
        yield "Subject", mail.subject
    yield "Date", mail.date
    yield "Message-ID", f"<{mail.message_id}>"
    yield "MIME-Version", "1.0"


def _address(mailbox: Mailbox) -> Address:
    return Address(mailbox.name, mailbox.local, mailbox.domain)


def _multipart(kind: str, id: str, parts: Iterable[EmailMessage], **parameters: str) -> EmailMessage:
    whole = EmailMessage(policy=SMTP)
    whole.add_header("Content-Type", f"multipart/{kind}", boundary=f"=_attachd_{kind}_{id}", **parameters)
    for part in parts:
        whole.attach(part)
    return whole


def _text(text: str, subtype: str) -> EmailMessage:
    part = EmailMessage(policy=SMTP)
    cte = "quoted-printable" if len(text) <= _MAX_QUOTED_BYTES else "base64"
    part.set_content(text, subtype=subtype, charset="utf-8", cte=cte)
    return part


def _parts(files: Iterable[tuple[int, File]]) -> Iterable[EmailMessage]:
    for place, file in files:
        part = EmailMessage(policy=SMTP)
        part["Content-Type"] = _content_type(file.content_type)
        part["Content-Transfer-Encoding"] = "base64"
        part.add_header("Content-Disposition", "attachment" if file.content_id is None else "inline", filename=file.filename)
        if file.content_id is not None:
            part["Content-ID"] = f"<{file.content_id}>"
        part.set_payload(f"{_MARK}{place}\n")
        yield part


def _content_type(content_type: str) -> str:
    """The type of a part in base64, which a message must not be (RFC 2046, 5.2.1)."""
    return "application/octet-stream" if content_type.startswith(("message/", "multipart/")) else content_type


def _cut(written: bytes, files: Sequence[File]) -> Composed:
    first, *rest = _PLACE.split(written)
    pieces: list[bytes | File] = [first]
    size = len(first)
    for place, piece in zip(rest[::2], rest[1::2], strict=True):
        file = files[int(place)]
        pieces += [file, piece]
        size += encoded_size(file.size) + len(piece)
    return Composed(pieces, size)
