"""Mails: what the standard library's parser reads of what is written, and what fits into how many bytes."""

import base64
import email
import email.policy
import time
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart

import msgspec
import pytest

from storage.mail import File, Mail, Mailbox, TooLarge, parse_mailbox, plan
from storage.mail.mime import Composed, compose, encoded_size

IDS = [f"8c3d9e1f-0000-7000-8000-00000000000{place}" for place in range(5)]
LINKS = {id: f"https://files.example.com/uploads/{id}?sig=a&exp=1" for id in IDS}
PNG, PDF, TEXT, MAIL, LONG = (
    File(id=id, filename=name, content_type=content_type, size=size)
    for id, name, content_type, size in zip(
        IDS,
        ("Katze 🐈.png", "a.pdf", 'x".txt', "m.eml", "ж" * 125 + ".zip"),
        ("image/png", "application/pdf", "text/plain", "message/rfc822", "application/zip"),
        (1000, 1, 3_000_000, 57, 58),
        strict=True,
    )
)
FILES = {file.id: file for file in (PNG, PDF, TEXT, MAIL, LONG)}
WRITTEN = Mail(
    id="0190a000-0000-7000-8000-000000000001",
    message_id="0190a000@example.com",
    date=datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC),
    sender=Mailbox("support@example.com", 'Süpport, "x"'),
    to=[Mailbox("ada@example.org", "Ada")],
    cc=[],
    subject="Grüße " + "ñ" * 200,
    text="",
    html=f'<p>.dot</p>\n.\n<img src="https://x/uploads/{PNG.id.upper()}?a=1">',
)


def content(file: File) -> bytes:
    return (file.id.encode() * (file.size // 36 + 1))[: file.size]


def sent(composed: Composed) -> bytes:
    """The whole mail."""
    pieces = [piece if isinstance(piece, bytes) else in_lines(content(piece)) for piece in composed.pieces]
    assert sum(map(len, pieces)) == composed.size_bytes
    return b"".join(pieces)


def in_lines(data: bytes) -> bytes:
    lines = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert len(lines) == encoded_size(len(data))
    return lines


def read(data: bytes) -> EmailMessage:
    """The mail as the standard library reads it; nothing in it is defective, and it may go over any server."""
    assert data.isascii()
    assert b"\0" not in data
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == []
        assert not [header for header in part.values() if header.defects]
    return message


def text_of(part: MIMEPart | None) -> str:
    """The text of a part, with the line ends of a text."""
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def types(message: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def test_everything_comes_back() -> None:
    message = read(sent(plan(WRITTEN, IDS, FILES, LINKS, 10**7)))
    assert types(message) == [
        *("multipart/mixed", "multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png"),
        *("application/pdf", "text/plain", "application/octet-stream", "application/zip"),
    ]
    assert message["Subject"] == WRITTEN.subject
    assert message["From"].addresses[0].display_name == WRITTEN.sender.name
    assert (str(message["To"]), message["Cc"]) == ("Ada <ada@example.org>", None)
    assert message["Date"].datetime == WRITTEN.date
    assert message["Message-ID"] == "<0190a000@example.com>"
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert text_of(html) == f'<p>.dot</p>\n.\n<img src="cid:{PNG.id}@example.com">\n'
    assert text_of(text) == ".dot\n\n.\n"
    by_name = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert {name: part.get_content_disposition() for name, part in by_name.items()} == {
        PNG.filename: "inline",
        **{file.filename: "attachment" for file in (PDF, TEXT, MAIL, LONG)},
    }
    assert by_name[PNG.filename]["Content-ID"] == f"<{PNG.id}@example.com>"
    for file in FILES.values():
        assert by_name[file.filename].get_payload(decode=True) == content(file)


@pytest.mark.parametrize(
    ("attached", "html", "expected"),
    [
        ([], "x", "alternative plain html"),
        ([PDF.id], "x", "mixed alternative plain html pdf"),
        ([], WRITTEN.html, "related alternative plain html png"),
        ([PNG.id, PNG.id], WRITTEN.html, "related alternative plain html png"),
        ([PNG.id], "x", "mixed alternative plain html png"),
        ([IDS[0].replace("8", "9")], f"<img src=/uploads/{IDS[0].replace('8', '9')}>", "alternative plain html"),
        ([PDF.id], f"<img src=/uploads/{PDF.id}>", "mixed alternative plain html pdf"),
    ],
)
def test_there_are_no_more_levels_than_needed(attached: list[str], html: str, expected: str) -> None:
    message = read(sent(plan(msgspec.structs.replace(WRITTEN, html=html), attached, FILES, LINKS, 10**7)))
    assert " ".join(name.partition("/")[2] for name in types(message)) == expected


def test_a_mail_is_written_the_same_way_each_time() -> None:
    first, second = (sent(plan(WRITTEN, IDS, FILES, LINKS, 10**7)) for _ in range(2))
    assert first == second


def test_what_does_not_fit_becomes_a_link() -> None:
    whole = plan(WRITTEN, IDS, FILES, LINKS, 10**7).size_bytes
    message = read(sent(plan(WRITTEN, IDS, FILES, LINKS, whole - 1)))
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert [part.get_filename() for part in message.iter_attachments()] == [PDF.filename, MAIL.filename, LONG.filename]
    assert f"{TEXT.filename} (3 MB): {LINKS[TEXT.id]}" in text_of(text)
    assert f'<a href="{LINKS[TEXT.id].replace("&", "&amp;")}">x&quot;.txt (3 MB)</a>' in text_of(html)
    assert f"cid:{PNG.id}" in text_of(html)


def test_an_image_that_does_not_fit_becomes_a_link_in_its_place() -> None:
    large = {PNG.id: msgspec.structs.replace(PNG, size=10**6)}
    message = read(sent(plan(WRITTEN, [PNG.id], large, LINKS, 10**6)))
    assert types(message) == ["multipart/alternative", "text/plain", "text/html"]
    html = message.get_body(("html",))
    assert text_of(html).count(LINKS[PNG.id].replace("&", "&amp;")) == text_of(html).count("<img") == 1


@pytest.mark.parametrize("max_bytes", range(4000, 60_000, 1777))
def test_a_mail_has_never_more_bytes_than_it_may(max_bytes: int) -> None:
    names = ("ж" * 125 + ".zip", "%" * 250 + ".zip", "a" * 250 + ".zip", "b.zip")
    files = {
        id: File(id=id, filename=name, content_type="application/x-" + "y" * 100, size=9000 + 13 * place)
        for place, (id, name) in enumerate(zip(IDS, names, strict=False))
    }
    try:
        composed = plan(WRITTEN, IDS, files, LINKS, max_bytes)
    except TooLarge:
        assert max_bytes < 10_000
    else:
        assert len(sent(composed)) <= max_bytes


def test_a_text_that_is_too_large_is_refused() -> None:
    with pytest.raises(TooLarge, match=r"of 1000 that may be sent"):
        plan(WRITTEN, [], {}, {}, 1000)


@pytest.mark.parametrize("mark", ["=_attachd_file_0", "\r\n=_attachd_file_0\r\n", f"--=_attachd_mixed_{WRITTEN.id}"])
def test_what_people_write_is_no_mark_of_ours(mark: str) -> None:
    name = mark.strip()
    mail = msgspec.structs.replace(WRITTEN, html=f"{mark}\r\n\r\n{mark}\r\n", subject=name, to=[Mailbox("a@b.example", name)])
    files = {PDF.id: msgspec.structs.replace(PDF, filename=name)}
    message = read(sent(plan(mail, [PDF.id], files, LINKS, 10**7)))
    assert types(message) == ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"]
    assert [part.get_filename() for part in message.iter_attachments()] == [name]
    assert message["Subject"] == name


@pytest.mark.parametrize("field", ["subject", "message_id"])
def test_a_line_end_gets_into_no_header(field: str) -> None:
    """It is refused where it comes in; here it would be a bug, and must not become a header."""
    with pytest.raises(ValueError, match=r"."):
        compose(msgspec.structs.replace(WRITTEN, **{field: "x\r\nBcc: eve@example.com"}))


def test_a_long_html_costs_little() -> None:
    mail = msgspec.structs.replace(WRITTEN, html="<p>hello world ä</p>\n" * 100_000)

    def seconds() -> float:
        began = time.process_time()
        plan(mail, IDS, FILES, LINKS, 10**8)
        return time.process_time() - began

    assert any(seconds() < 1 for _ in range(5)), "the machine may be slow at some of them, not at all five"
    html = read(sent(plan(mail, IDS, FILES, LINKS, 10**8))).get_body(("html",))
    assert text_of(html) == mail.html


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("ada@example.com", "ada@example.com", ""),
        (" ada@Example.COM ", "ada@example.com", ""),
        ("<ada@example.com>", "ada@example.com", ""),
        ("Ada Lovelace <ada@example.com>", "ada@example.com", "Ada Lovelace"),
        ('"Lovelace, \\"Ada\\"" <ada@example.com>', "ada@example.com", 'Lovelace, "Ada"'),
        ("Ädä <Ada.B+c@example.com>", "Ada.B+c@example.com", "Ädä"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example", ""),
        ("root@localhost", "root@localhost", ""),
    ],
)
def test_addresses(text: str, address: str, name: str) -> None:
    mailbox = parse_mailbox(text)
    assert (mailbox.address, mailbox.name) == (address, name)
    parsed = read(sent(compose(msgspec.structs.replace(WRITTEN, to=[mailbox]))))["To"].addresses
    assert [(found.addr_spec, found.display_name) for found in parsed] == [(address, name)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "ada", "@example.com", "ada@", "a@b@c", "ada@example..com", "ada@-example.com", "ada@example.com."),
        *("a..b@example.com", "a b@example.com", "<ada@example.com", "ada@example.com>", "Ada ada@example.com", "a@b.c, d@e.f"),
        *("a@b.c\r\nBcc: eve@example.com", "Ada\n <a@b.c>", "Ada\0 <a@b.c>", "Ada\u2028 <a@b.c>", "a@b.c\n", "ädä@example.com"),
        *("x" * 65 + "@example.com", "a@" + "b" * 64 + ".c", "a@" + "b." * 130 + "c", "x" * 201 + " <a@b.c>", "a@[127.0.0.1]"),
        *(".ada@example.com", "group: a@b.c;", '"a b"@example.com', "a@ex\u00adample\u3002\u3002com", "\ud800@example.com"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a mail address: "):
        parse_mailbox(text)
