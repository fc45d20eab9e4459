"""The policies of the APIs beside A: types, limits, blocked extensions, names; and the signatures of their types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Code, Reason, ServiceError
from storage import API_A, MEBIBYTE, Policy, api_b, api_c, api_d
from storage.filenames import MAX_NAME_BYTES, check_filename, shorten
from storage.policies import EXECUTABLES_AND_SCRIPTS
from storage.policies.types import KINDS
from storage.signatures import SIGNATURES

B, C, D = api_b(), api_c(), api_d()


def ftyp(*brands: bytes) -> bytes:
    """The first box of an ISO file: its major brand, a version, then the others."""
    body = brands[0] + b"\0\0\2\0" + b"".join(brands[1:])
    return (8 + len(body)).to_bytes(4) + b"ftyp" + body + b"\0\0\0\x08free"


SAMPLES = {
    "heic": [ftyp(b"heic", b"mif1", b"heic"), ftyp(b"mif1", b"heic"), ftyp(b"msf1", b"hevc")],
    "avif": [ftyp(b"avif", b"mif1", b"miaf"), ftyp(b"mif1", b"avif")],
    "bmp": [b"BM6\0\0\0"],
    "tiff": [b"II*\0\x08", b"MM\0*\0"],
    "ico": [b"\0\0\x01\0\x01\0"],
    "psd": [b"8BPS\0\x01"],
    "mp3": [b"ID3\x04\0", b"\xff\xfb\x90\x64", b"\xff\xf3\x40"],
    "aac": [b"\xff\xf1\x50\x80", b"ADIF", b"ID3\x03"],
    "wav": [b"RIFF\x24\0\0\0WAVEfmt ", b"RF64\xff\xff\xff\xffWAVEds64"],
    "flac": [b"fLaC\0\0"],
    "ogg": [b"OggS\0\x02"],
    "amr": [b"#!AMR\n"],
    "aiff": [b"FORM\0\0\0\x2eAIFF"],
    "midi": [b"MThd\0\0\0\x06"],
    "mp4": [ftyp(b"isom", b"iso2", b"avc1", b"mp41"), ftyp(b"mp42"), ftyp(b"M4V "), ftyp(b"3gp4")],
    "mov": [ftyp(b"qt  "), b"\0\0\0\x08wide\0\0", b"\0\0\x10\0moov\0"],
    "webm": [b"\x1aE\xdf\xa3\x9fB\x86"],
    "avi": [b"RIFF\x24\0\0\0AVI LIST"],
    "wmv": [bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\0"],
    "mpeg": [b"\0\0\x01\xba\x44", b"\0\0\x01\xb3\x14", b"\x47\x40\0"],
    "flv": [b"FLV\x01\x05"],
    "7z": [b"7z\xbc\xaf\x27\x1c\0"],
    "gz": [b"\x1f\x8b\x08"],
    "bz2": [b"BZh91AY"],
    "xz": [b"\xfd7zXZ\0\0"],
    "zst": [b"\x28\xb5\x2f\xfd\x24"],
    "ppt": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"],
    "pptx": [b"PK\x03\x04" + bytes(26) + b"ppt/presentation.xml"],
    "odt": [b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/"],
    "rtf": [b"{\\rtf1"],
}


@pytest.mark.parametrize(("extension", "head"), [(extension, head) for extension, heads in SAMPLES.items() for head in heads])
def test_contents_that_agree_with_their_extension(extension: str, head: bytes) -> None:
    assert B.types[extension].agrees(head)
    assert B.types[extension].agrees(head + bytes(5000))


@pytest.mark.parametrize("extension", list(SIGNATURES))
def test_hostile_or_empty_contents_agree_with_no_signature(extension: str) -> None:
    for head in (
        b"",
        b"M",
        b"\xff",
        b"<!DOCTYPE html>",
        b"<svg onload=x>",
        b"\x7fELF\x02\x01\x01",
        b"MZ\x90\0\x03",
        b"#!/bin/sh\n",
    ):
        assert not SIGNATURES[extension](head)


FAMILIES = [{"ppt", "pptx"}, {"pptx", "odt"}, {"mp3", "aac", "flac"}, {"mp4", "mov"}]


@pytest.mark.parametrize("one", list(SAMPLES))
@pytest.mark.parametrize("other", list(SAMPLES))
def test_one_kind_is_not_taken_for_another(one: str, other: str) -> None:
    if one == other or any({one, other} <= family for family in FAMILIES):
        return
    assert not any(SIGNATURES[other](head) for head in SAMPLES[one])


@given(st.binary(max_size=64))
def test_any_bytes_are_judged(head: bytes) -> None:
    for agrees in SIGNATURES.values():
        assert agrees(head) in {True, False}


@pytest.mark.parametrize("policy", [B, C, D], ids="BCD")
def test_the_types_of_api_a_are_the_same_everywhere(policy: Policy) -> None:
    for extension in set(policy.types) & set(API_A.types):
        here, there = policy.types[extension], API_A.types[extension]
        assert (here.content_type, here.agrees, here.text) == (there.content_type, there.agrees, there.text)


def test_signatures_are_of_known_types() -> None:
    assert set(SIGNATURES) <= set(KINDS)


@pytest.mark.parametrize(
    ("name", "content_type", "megabytes"),
    [
        ("a.PNG", "image/png", 10),
        ("a.svg", "image/svg+xml", 10),
        ("a.heic", "image/heic", 10),
        ("a.mp3", "audio/mpeg", 50),
        ("a.m4a", "audio/mp4", 50),
        ("a.mp4", "video/mp4", 100),
        ("a.mov", "video/quicktime", 100),
        ("a.pdf", "application/pdf", 15),
        ("a.html", "text/html", 15),
        ("a.unheard-of", "application/octet-stream", 15),
        ("README", "application/octet-stream", 15),
        ("exe", "application/octet-stream", 15),
    ],
)
def test_types_and_limits_of_api_c(name: str, content_type: str, megabytes: int) -> None:
    found = C.type_of(name)
    assert (found.content_type, found.max_bytes) == (content_type, megabytes * MEBIBYTE)
    assert (B.type_of(name).content_type, B.type_of(name).max_bytes) == (content_type, 25 * MEBIBYTE)


def test_the_largest_file_is_known() -> None:
    assert [policy.max_bytes // MEBIBYTE for policy in (API_A, B, C, D)] == [25, 25, 100, 25]
    assert api_c(max_image_bytes=1, max_audio_bytes=2, max_video_bytes=3, max_other_bytes=4).max_bytes == 4


@pytest.mark.parametrize(
    "name", ["a.exe", "a.EXE", ".exe", "a.png.exe", "a.exe.", "a.exe. . ", "a.exe::$DATA", "a.exe:b.png", "a.SH"]
)
def test_blocked_extensions_of_api_c(name: str) -> None:
    with pytest.raises(ServiceError, match="are not allowed") as caught:
        C.type_of(name)
    assert (caught.value.code, caught.value.reason) == (Code.BAD_REQUEST, None)
    assert B.type_of(name).content_type in {"application/octet-stream", "image/png"}


def test_what_is_blocked_can_be_set() -> None:
    assert api_c(blocked=()).type_of("a.exe").content_type == "application/octet-stream"
    with pytest.raises(ServiceError):
        api_c(blocked=[".PNG"]).type_of("a.png")
    assert not set(EXECUTABLES_AND_SCRIPTS) & set(API_A.types)


@pytest.mark.parametrize(
    ("extension", "content_type"),
    [("jpg", "image/jpeg"), ("heic", "image/heic"), ("heif", "image/heif"), ("xls", "application/vnd.ms-excel")],
)
def test_types_of_api_d(extension: str, content_type: str) -> None:
    assert D.type_of(f"a.{extension}").content_type == content_type


@pytest.mark.parametrize("name", ["a.webp", "a.txt", "a.zip", "a", "a.mp4"])
def test_types_that_api_d_does_not_take(name: str) -> None:
    with pytest.raises(ServiceError) as caught:
        D.type_of(name)
    assert caught.value.reason is Reason.INVALID_ATTACHMENT_TYPE


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("n" * 196 + ".png", "n" * 196 + ".png", id="exactly"),
        pytest.param("n" * 197 + ".png", "n" * 196 + ".png", id="one-more"),
        pytest.param("n" * 300, "n" * 200, id="no-extension"),
        pytest.param("a." + "x" * 300, ("a." + "x" * 300)[:200], id="nothing-but-extension"),
        pytest.param("日" * 150 + ".png", "日" * 83 + ".png", id="bytes"),
        pytest.param("." + "n" * 250, "." + "n" * 199, id="leading-dot"),
    ],
)
def test_long_names_are_cut(name: str, kept: str) -> None:
    assert C.name(name) == kept
    assert check_filename(kept) == kept
    assert API_A.name(name) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 250))
def test_any_name_is_cut_to_the_limit(name: str, limit: int) -> None:
    cut = shorten(name, limit)
    assert len(cut) <= limit
    assert len(cut.encode()) <= MAX_NAME_BYTES
    assert cut == name or len(name) > limit or len(name.encode()) > MAX_NAME_BYTES
