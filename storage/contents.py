"""What bytes are, whatever their name says: signatures of the types that may be uploaded, and a sniffed type for messages.

The extension is the client's claim and the content must agree with it. Signatures are from the formats' specifications:
PNG (ISO 15948, 5.2), JPEG (T.81, B.1.1.3), GIF89a (17), WebP (RFC 9649), PDF (ISO 32000-1, 7.5.2 and its annex H.3.4.1), ZIP
(APPNOTE 4.3), RAR (technote, 2), compound files (MS-CFB 2.2).
"""

from collections.abc import Callable

import puremagic

HEAD_BYTES = 4096  # how much of the start is looked at
_PDF_HEADER_WITHIN = 1024  # readers accept junk before the header (ISO 32000-1, annex H.3.4.1)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with a first entry; empty archive
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Word and Excel before 2007, and password-protected newer files
_OFFICE_FIRST_ENTRIES = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"word/", b"xl/", b"customXml/", b"mimetype")
# C0 controls that no text file has: all but tab, line feed, vertical tab, form feed, carriage return, and escape.
_NOT_TEXT = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
_JSON_STARTS = frozenset(b'{["-0123456789tfn')

Sniffer = Callable[[bytes], bool]


def is_png(head: bytes) -> bool:
    """PNG signature."""
    return head.startswith(b"\x89PNG\r\n\x1a\n")


def is_jpeg(head: bytes) -> bool:
    """SOI marker and the start of the next."""
    return head.startswith(b"\xff\xd8\xff")


def is_gif(head: bytes) -> bool:
    """GIF87a or GIF89a."""
    return head.startswith((b"GIF87a", b"GIF89a"))


def is_webp(head: bytes) -> bool:
    """RIFF container of form WEBP."""
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def is_pdf(head: bytes) -> bool:
    """`%PDF-` within the first 1024 bytes, unless they are a page: HTML before the header would make it both."""
    return b"%PDF-" in head[:_PDF_HEADER_WITHIN] and not looks_like_html(head)


def is_zip(head: bytes) -> bool:
    """A ZIP archive."""
    return head.startswith(_ZIP)


def is_rar(head: bytes) -> bool:
    """RAR 1.5 to 5."""
    return head.startswith(b"Rar!\x1a\x07")


def is_old_office(head: bytes) -> bool:
    """A compound file, or the RTF that Word also saves as `.doc`."""
    return head.startswith((_COMPOUND, b"{\\rtf"))


def is_new_office(head: bytes) -> bool:
    """A ZIP archive that begins as Office packages do, or a compound file, which protection by a password makes of it."""
    return head.startswith(_COMPOUND) or (is_zip(head) and head[30:62].startswith(_OFFICE_FIRST_ENTRIES))


def is_text(piece: bytes) -> bool:
    """No NUL and no other control that text lacks. True of every piece of a text, so each may be asked as it comes."""
    return len(piece.translate(None, _NOT_TEXT)) == len(piece)


def is_json(head: bytes) -> bool:
    """Text whose first character, after a byte order mark and white space, may begin a JSON text (RFC 8259, 2)."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return is_text(head) and start[:1] != b"" and start[0] in _JSON_STARTS


def looks_like_html(head: bytes) -> bool:
    """Whether a browser might take it for a page (WHATWG MIME Sniffing, 7.1, in short)."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\f").lower()
    return start.startswith(
        (b"<!doctype html", b"<html", b"<script", b"<svg", b"<head", b"<body", b"<iframe", b"<!--", b"<?xml")
    )


def describe(head: bytes) -> str:
    """The likely MIME type of bytes, for a message to a person: never for a decision."""
    if looks_like_html(head):
        return "text/html"
    try:
        guess: str = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        guess = ""
    return guess or ("text/plain" if is_text(head) else "application/octet-stream")
