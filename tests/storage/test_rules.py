"""The rules that need no store: names, contents, the policy, ids and times."""

import contextlib
import re
import sys
import time
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import UUID_PATTERN, Code, Reason, ServiceError
from storage import API_A, api_a, fresh_id, timestamp
from storage.contents import describe, is_text
from storage.filenames import MAX_NAME_BYTES, check_filename, extension_of

PNG = b"\x89PNG\r\n\x1a\n"
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ZIP = b"PK\x03\x04" + bytes(22) + b"\x13\x00\x00\x00"


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "Bericht März.pdf",
        "日本語.txt",
        'quo"te.txt',
        "a b.c.d",
        ".hidden",
        "x" * MAX_NAME_BYTES,
        "e\u0301.txt",
        "👩‍👩‍👧.png",
    ],
)
def test_names_that_are_kept_as_they_are(name: str) -> None:
    assert check_filename(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("", "has no name", id="empty"),
        pytest.param("  ", "has no name", id="blank"),
        pytest.param(".", "has no name", id="dot"),
        pytest.param("..", "has no name", id="dots"),
        pytest.param("../../x", "slash or backslash", id="path"),
        pytest.param("/etc/passwd", "slash or backslash", id="absolute"),
        pytest.param("a\\b", "slash or backslash", id="backslash"),
        pytest.param("a\0b", "control or text-direction", id="nul"),
        pytest.param("a\nb", "control or text-direction", id="newline"),
        pytest.param("a\x7fb", "control or text-direction", id="delete"),
        pytest.param("a\u202egpj.exe", "control or text-direction", id="right-to-left-override"),
        pytest.param("a\u2028b", "control or text-direction", id="line-separator"),
        pytest.param("a\ud800b", "control or text-direction", id="lone-surrogate"),
        pytest.param("x" * 1000, "exceeds 255 bytes", id="1000-characters"),
        pytest.param("ä" * 128, "exceeds 255 bytes", id="bytes-not-characters"),
    ],
)
def test_names_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        check_filename(name)
    assert caught.value.code is Code.BAD_REQUEST


@given(st.text())
def test_any_name_is_kept_or_refused(name: str) -> None:
    with contextlib.suppress(ServiceError):
        assert check_filename(name) == name


@pytest.mark.parametrize(
    ("name", "extension"), [("a.PNG", "png"), ("a.tar.gz", "gz"), ("a", ""), (".png", ""), ("a.", ""), ("a.p ng", "p ng")]
)
def test_extensions(name: str, extension: str) -> None:
    assert extension_of(name) == extension


SAMPLES = {
    "png": [PNG],
    "jpg": [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\xff\xd8\xff\xe1"],
    "gif": [b"GIF87a", b"GIF89a"],
    "webp": [b"RIFF\x24\0\0\0WEBPVP8 "],
    "pdf": [b"%PDF-1.7", b"junk before\n%PDF-1.4"],
    "doc": [COMPOUND, b"{\\rtf1"],
    "xls": [COMPOUND],
    "docx": [ZIP + b"[Content_Types].xml", ZIP + b"word/document.xml", ZIP + b"_rels/.rels", COMPOUND],
    "xlsx": [ZIP + b"xl/workbook.xml", COMPOUND],
    "zip": [ZIP + b"anything", b"PK\x05\x06" + bytes(18)],
    "rar": [b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"],
    "txt": [b"words", "wörter\r\n\t\x1b[0m".encode(), "wörter".encode("latin-1")],
    "csv": [b"a;b\r\n1;2\r\n", b"\xef\xbb\xbfa,b"],
    "json": [b'{"a":1}', b" \n[1]", b"null", b"-1", b'\xef\xbb\xbf"x"'],
}


@pytest.mark.parametrize(("extension", "head"), [(extension, head) for extension, heads in SAMPLES.items() for head in heads])
def test_contents_that_agree_with_their_extension(extension: str, head: bytes) -> None:
    assert API_A.types[extension].agrees(head)


HOSTILE = {
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "executable": b"\x7fELF\x02\x01\x01" + bytes(9),
    "windows-executable": b"MZ\x90\0\x03\0\0\0",
    "nothing-known": b"\0\x01\x02\x03",
}


@pytest.mark.parametrize("extension", list(SAMPLES))
@pytest.mark.parametrize("hostile", list(HOSTILE))
def test_hostile_contents_agree_with_nothing_but_text(extension: str, hostile: str) -> None:
    is_harmless_text = extension in {"txt", "csv"} and hostile in {"html", "svg"}  # sent as text/plain or text/csv, nosniff
    assert API_A.types[extension].agrees(HOSTILE[hostile]) is is_harmless_text


@pytest.mark.parametrize("one", list(SAMPLES))
@pytest.mark.parametrize("other", [extension for extension in SAMPLES if extension not in {"txt", "csv"}])  # anything readable
def test_one_kind_is_not_taken_for_another(one: str, other: str) -> None:
    families = [{"doc", "xls", "docx", "xlsx"}, {"zip", "docx", "xlsx"}, {"json", "doc"}]  # {"a":1} and {\\rtf begin alike
    if one == other or any({one, other} <= family for family in families):
        return
    assert not any(API_A.types[other].agrees(head) for head in SAMPLES[one])


def test_a_page_before_a_pdf_header_is_a_page() -> None:
    assert not API_A.types["pdf"].agrees(b"<html><script>alert(1)</script>%PDF-1.4")


@given(st.binary(max_size=64))
def test_any_bytes_are_described(head: bytes) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9.+-]+/[\w.+ ;=-]+", describe(head))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_controls_is_text_in_every_piece(text: str) -> None:
    encoded = text.encode()
    assert all(is_text(encoded[start : start + 3]) for start in range(0, len(encoded), 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("a.exe", 'extension ".exe" is not allowed; allowed are png, jpg', id="extension"),
        pytest.param("a", "a file name without extension is not allowed", id="none"),
        pytest.param("a.svg", 'extension ".svg"', id="svg"),
    ],
)
def test_extensions_that_are_not_allowed(name: str, message: str) -> None:
    with pytest.raises(ServiceError, match=re.escape(message)) as caught:
        API_A.type_of(name)
    assert (caught.value.code, caught.value.reason) == (Code.UNSUPPORTED_MEDIA_TYPE, Reason.INVALID_ATTACHMENT_TYPE)


def test_limits_are_those_that_were_set() -> None:
    policy = api_a(max_file_bytes=30, max_image_bytes=20)
    assert {policy.type_of(f"a.{extension}").max_bytes for extension in ("png", "jpeg", "gif", "webp")} == {20}
    assert {policy.type_of(f"a.{extension}").max_bytes for extension in ("pdf", "zip", "csv", "docx")} == {30}
    assert policy.max_bytes == 30


def test_ids_are_version_7_in_order_of_time_and_never_equal() -> None:
    begun = time.time_ns()
    ids = [fresh_id() for _ in range(2000)]
    ended = time.time_ns()
    assert len(set(ids)) == 2000
    assert all(
        re.match(UUID_PATTERN, id) and uuid.UUID(id).version == 7 and uuid.UUID(id).variant == uuid.RFC_4122 for id in ids
    )
    assert [id[:13] for id in ids] == sorted(id[:13] for id in ids)
    assert begun // 10**6 <= int(ids[0].replace("-", "")[:12], 16) <= ended // 10**6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1705314600, "2024-01-15T10:30:00.000Z"), (1705314600.0075, "2024-01-15T10:30:00.007Z")],
)
def test_times(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text


def test_now_has_three_decimals() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp())


def test_refused_characters_are_those_of_unicode() -> None:
    def is_refused(character: str) -> bool:
        with contextlib.suppress(ServiceError):
            check_filename(f"a{character}b")
            return False
        return True

    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    controls = {one for one in characters if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}}
    overriding = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # bidirectional classes (UAX #9)
    directions = {one for one in characters if unicodedata.bidirectional(one) in overriding}
    assert {one for one in characters if is_refused(one)} == controls | directions | {"/", "\\"}
