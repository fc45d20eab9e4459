"""The pure core: every form is fed whole, byte by byte and with bytes after its end, and gives the same events."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from rest.boundary import boundary_of
from rest.multipart import DEFAULT_LIMITS, Limits, MultipartReader, PartBegin, PartData, PartEnd
from schemas import Code, ServiceError

Part = tuple[str, str | None, bytes]  # field name, file name, content
NAME = b'Content-Disposition: form-data; name="a"\r\n'


def read(chunks: Iterable[bytes], boundary: bytes = b"b", limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """The parts that the chunks hold, every one of them complete."""
    reader = MultipartReader(boundary, limits)
    parts: list[Part] = []
    is_open = False
    for event in (event for chunk in chunks for event in reader.feed(chunk)):
        if isinstance(event, PartBegin):
            assert not is_open
            is_open = True
            parts.append((event.name, event.filename, b""))
        elif isinstance(event, PartData):
            name, filename, content = parts.pop()
            assert is_open
            assert len(event.data) > 0
            parts.append((name, filename, content + event.data))
        else:
            assert isinstance(event, PartEnd)
            assert is_open
            is_open = False
    reader.close()
    assert not is_open
    return parts


def outcome(chunks: Iterable[bytes], boundary: bytes = b"b", limits: Limits = DEFAULT_LIMITS) -> list[Part] | Code:
    """The parts, or the code of the error."""
    try:
        return read(chunks, boundary, limits)
    except ServiceError as error:
        return error.code


def every_way(body: bytes, boundary: bytes = b"b", limits: Limits = DEFAULT_LIMITS) -> list[Part] | Code:
    """The outcome of a body, which is the same however it comes."""
    whole = outcome([body], boundary, limits)
    assert outcome([body[i : i + 1] for i in range(len(body))], boundary, limits) == whole
    assert outcome([body, b""], boundary, limits) == whole
    assert outcome([body, b"\r\nafter the end"], boundary, limits) == whole or not isinstance(whole, list)
    return whole


def message_of(body: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """The message of the error that the body gives."""
    with pytest.raises(ServiceError) as caught:
        read([body], limits=limits)
    assert caught.value.code is Code.BAD_REQUEST
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        pytest.param(b"--b--", [], id="no part"),
        pytest.param(b"--b--\r\n", [], id="no part, line end"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx\r\n--b--", [("a", None, b"x")], id="one field"),
        pytest.param(b"--b\r\n" + NAME + b"\r\n\r\n--b--", [("a", None, b"")], id="empty field"),
        pytest.param(b"\r\n--b\r\n" + NAME + b"\r\nx\r\n--b--", [("a", None, b"x")], id="line end before"),
        pytest.param(b"pre - amble\r\n--b\r\n" + NAME + b"\r\nx\r\n--b--", [("a", None, b"x")], id="preamble"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx\r\n--b-- epilogue\r\n--b\r\n", [("a", None, b"x")], id="epilogue"),
        pytest.param(
            b"--b\r\n" + NAME + b"\r\n1\r\n--b\r\n" + NAME + b"\r\n2\r\n--b--", [("a", None, b"1"), ("a", None, b"2")], id="two"
        ),
        pytest.param(
            b"--b\r\n" + NAME + b"\r\nx\r\n--b \t\r\n" + NAME + b"\r\ny\r\n--b--",
            [("a", None, b"x"), ("a", None, b"y")],
            id="padding",
        ),
        pytest.param(
            b"--b\r\n" + NAME + b"\r\n\r\n--bx\r\n-\r--b\n\r\n--b--", [("a", None, b"\r\n--bx\r\n-\r--b\n")], id="near misses"
        ),
        pytest.param(
            b"--b\r\n" + NAME + b"\r\n\r\n--b-\r\n--b\r\r\n--b--", [("a", None, b"\r\n--b-\r\n--b\r")], id="nearer misses"
        ),
        pytest.param(b"x--b\r\n" + NAME + b"\r\nx\r\n--b--", [], id="boundary within a line is preamble"),
        pytest.param(b"--b\r\nX:\r\ncONTENT-dISPOSITION:FORM-DATA;NAME=a\r\n\r\nx\r\n--b--", [("a", None, b"x")], id="case"),
    ],
)
def test_reads_forms(body: bytes, parts: list[Part]) -> None:
    assert every_way(body) == parts


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        pytest.param('filename="a.png"', "a.png", id="plain"),
        pytest.param("filename=a.png", "a.png", id="bare"),
        pytest.param('filename=""', "", id="empty"),
        pytest.param("filename*=UTF-8''b.png", None, id="extended alone"),
        pytest.param("filename*=UTF-8''b.exe; filename=a.png", "a.png", id="extended first"),
        pytest.param("filename=a.png; filename*=UTF-8''b.exe", "a.png", id="extended last"),
        pytest.param(r'filename="a \"b\".png"', 'a "b".png', id="curl quotes"),
        pytest.param(r'filename="a\\b.png"', r"a\b.png", id="curl backslash"),
        pytest.param(r'filename="C:\x\a.png"', r"C:\x\a.png", id="browser backslash"),
        pytest.param('filename="a %22b%22%0D%0a.png"', 'a "b"\r\n.png', id="browser quotes"),
        pytest.param('filename="100%25 %41.png"', "100%25 %41.png", id="other percent stays"),
        pytest.param('filename="ä€𝄞.png"', "ä€𝄞.png", id="UTF-8"),
        pytest.param('filename="a;b=c.png"; x=y', "a;b=c.png", id="semicolon"),
        pytest.param(' FileName = "a.png" ;', "a.png", id="blanks"),
        pytest.param('filename="a\0b.png"', "a\0b.png", id="NUL is for the storage to refuse"),
    ],
)
def test_reads_file_names(parameters: str, filename: str | None) -> None:
    disposition = f"Content-Disposition: form-data; name=file; {parameters}".encode()
    assert every_way(b"--b\r\n" + disposition + b"\r\n\r\nx\r\n--b--") == [("file", filename, b"x")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"--", id="cut in the boundary"),
        pytest.param(b"--c\r\n" + NAME + b"\r\nx\r\n--c--", id="another boundary"),
        pytest.param(b"--bx", id="longer boundary"),
        pytest.param(b"--b-x", id="half an end"),
        pytest.param(b"--b\rx", id="no line feed"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx", id="not closed"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx\r\n--b", id="cut in the end"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx\r\n--b-", id="cut after a hyphen"),
        pytest.param(b"--b\r\n" + NAME, id="cut in the headers"),
        pytest.param(b"--b\r\n\r\nx\r\n--b--", id="no headers"),
        pytest.param(b"--b\r\nX: y\r\n\r\nx\r\n--b--", id="no disposition"),
        pytest.param(b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--", id="another disposition"),
        pytest.param(b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", id="no name"),
        pytest.param(b"--b\r\n" + NAME + NAME + b"\r\nx\r\n--b--", id="two dispositions"),
        pytest.param(b"--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nx\r\n--b--", id="two names"),
        pytest.param(b'--b\r\nContent-Disposition: form-data; name="a\r\n\r\nx\r\n--b--', id="open quote"),
        pytest.param(b'--b\r\nContent-Disposition: form-data; name="a\\"\r\n\r\nx\r\n--b--', id="quote escaped at the end"),
        pytest.param(b"--b\r\nContent-Disposition: form-data; name=a b\r\n\r\nx\r\n--b--", id="blank in a bare name"),
        pytest.param(b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--b--", id="not UTF-8"),
        pytest.param(b"--b\r\nContent Disposition: form-data; name=a\r\n\r\nx\r\n--b--", id="blank in a header name"),
        pytest.param(b"--b\r\n: x\r\n\r\nx\r\n--b--", id="no header name"),
        pytest.param(b"--b\r\n" + NAME[:-1] + b"X: y\r\n\r\nx\r\n--b--", id="header without line feed"),
        pytest.param(b"--b\r\n" + NAME + b"\rx\r\n--b--", id="headers' end without line feed"),
        pytest.param(b"--b\r\n" + NAME + b"\r\nx\r\n--b \rx", id="padding without line feed"),
        pytest.param(b"\r\n" * 600 + b"--b\r\n" + NAME + b"\r\nx\r\n--b--", id="preamble too long"),
    ],
)
def test_refuses_malformed_forms(body: bytes) -> None:
    assert every_way(body) is Code.BAD_REQUEST


LIMITS = Limits(parts=2, headers=2, header_bytes=70, name_bytes=5, field_bytes=10, preamble_bytes=20)
FIELD = b"--b\r\n" + NAME + b"\r\n"


@pytest.mark.parametrize(
    ("fits", "exceeds", "message"),
    [
        pytest.param(
            (FIELD + b"\r\n") * 2 + b"--b--",
            (FIELD + b"\r\n") * 3 + b"--b--",
            "the form has more than 2 parts",
            id="parts",
        ),
        pytest.param(
            b"--b\r\nX:y\r\n" + NAME + b"\r\n\r\n--b--",
            b"--b\r\nX:y\r\n" + NAME + b"Z:y\r\n\r\n\r\n--b--",
            "a part has more than 2 headers",
            id="headers",
        ),
        pytest.param(
            b"--b\r\nX: " + b"y" * 31 + b"\r\n" + NAME + b"\r\n\r\n--b--",
            b"--b\r\nX: " + b"y" * 32 + b"\r\n" + NAME + b"\r\n\r\n--b--",
            "the header section of a part exceeds 70 bytes",
            id="header bytes",
        ),
        pytest.param(
            b"--b\r\nContent-Disposition: form-data; name=" + b"n" * 5 + b"\r\n\r\n\r\n--b--",
            b"--b\r\nContent-Disposition: form-data; name=" + b"n" * 6 + b"\r\n\r\n\r\n--b--",
            "a field name exceeds 5 bytes",
            id="name",
        ),
        pytest.param(
            FIELD + b"v" * 10 + b"\r\n--b--",
            FIELD + b"v" * 11 + b"\r\n--b--",
            "the value of a form field exceeds 10 bytes",
            id="field",
        ),
        pytest.param(
            b"p" * 20 + b"\r\n" + FIELD + b"\r\n--b--",
            b"p" * 21 + b"\r\n" + FIELD + b"\r\n--b--",
            'the body does not begin with the boundary that Content-Type names, "b"',
            id="preamble",
        ),
    ],
)
def test_names_the_limit(fits: bytes, exceeds: bytes, message: str) -> None:
    assert isinstance(every_way(fits, limits=LIMITS), list)
    assert every_way(exceeds, limits=LIMITS) is Code.BAD_REQUEST
    assert message_of(exceeds, LIMITS) == message


def test_one_header_line_over_the_limit_is_refused_while_it_comes() -> None:
    for line in (b"X" * 71, b"X:" + b" " * 71, b"X: " + b"y" * 71):
        reader = MultipartReader(b"b", LIMITS)
        with pytest.raises(ServiceError) as caught:
            reader.feed(b"--b\r\n" + line)
        assert "at most 70 bytes" in caught.value.message


def test_a_file_has_no_limit_here() -> None:
    head = b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\n"
    assert every_way(head + b"v" * 50 + b"\r\n--b--", limits=LIMITS) == [("a", "x", b"v" * 50)]


def test_counts_the_epilogue() -> None:
    body = FIELD + b"\r\n--b--"
    limits = Limits(epilogue_bytes=30)
    assert outcome([body, b"e" * 15, b"e" * 15], limits=limits) == [("a", None, b"")]
    assert outcome([body, b"e" * 15, b"e" * 16], limits=limits) is Code.BAD_REQUEST


def test_passes_the_bytes_on_uncopied() -> None:
    reader = MultipartReader(b"b")
    chunk = b"--b\r\nContent-Disposition: form-data; name=a; filename=x\r\n\r\n0123456789"
    _, data = reader.feed(chunk)
    assert isinstance(data, PartData)
    assert isinstance(data.data, memoryview)
    assert data.data.obj is chunk
    whole = b"9876543210"
    (data,) = reader.feed(whole)
    assert isinstance(data, PartData)
    assert data.data is whole


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        pytest.param(b"multipart/form-data; boundary=x", b"x", id="bare"),
        pytest.param(b'Multipart/Form-Data;charset=utf-8;BOUNDARY="a b"', b"a b", id="quoted"),
        pytest.param(
            b"multipart/form-data; boundary=----WebKitFormBoundaryAbC123", b"----WebKitFormBoundaryAbC123", id="WebKit"
        ),
        pytest.param(b"multipart/form-data; boundary=a/b=?:'(),.+", b"a/b=?:'(),.+", id="bare, though it needs quotes"),
        pytest.param(b"multipart/form-data; boundary=" + b"x" * 70, b"x" * 70, id="70 characters"),
    ],
)
def test_finds_the_boundary(content_type: bytes, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "code", "message"),
    [
        pytest.param(b"", Code.UNSUPPORTED_MEDIA_TYPE, "Content-Type is nothing", id="no content type"),
        pytest.param(b"application/x-www-form-urlencoded", Code.UNSUPPORTED_MEDIA_TYPE, "urlencoded", id="urlencoded"),
        pytest.param(b"multipart/mixed; boundary=x", Code.UNSUPPORTED_MEDIA_TYPE, "multipart/mixed", id="mixed"),
        pytest.param(b"\xff\xfe", Code.UNSUPPORTED_MEDIA_TYPE, "ÿþ", id="not ASCII"),
        pytest.param(b"multipart/form-data", Code.BAD_REQUEST, "has no boundary", id="no boundary"),
        pytest.param(b"multipart/form-data; boundary=", Code.BAD_REQUEST, "is malformed", id="empty bare boundary"),
        pytest.param(b'multipart/form-data; boundary=""', Code.BAD_REQUEST, "has no boundary", id="empty quoted boundary"),
        pytest.param(
            b"multipart/form-data; boundary=" + b"x" * 71, Code.BAD_REQUEST, "exceeds 70 characters", id="71 characters"
        ),
        pytest.param(b'multipart/form-data; boundary="x "', Code.BAD_REQUEST, "RFC 2046", id="ends in a blank"),
        pytest.param(b'multipart/form-data; boundary="\xff"', Code.BAD_REQUEST, "RFC 2046", id="not ASCII boundary"),
        pytest.param(b'multipart/form-data; boundary="a\\"b"', Code.BAD_REQUEST, "RFC 2046", id="quote in the boundary"),
        pytest.param(b"multipart/form-data; boundary=a; boundary=b", Code.BAD_REQUEST, "twice: boundary", id="two boundaries"),
        pytest.param(b'multipart/form-data; boundary="x', Code.BAD_REQUEST, "is malformed", id="open quote"),
        pytest.param(
            b"multipart/form-data; boundary=x, multipart/form-data; boundary=x", Code.BAD_REQUEST, "", id="sent twice"
        ),
    ],
)
def test_refuses_other_content_types(content_type: bytes, code: Code, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        boundary_of(content_type)
    assert caught.value.code is code
    assert message in caught.value.message


# Bytes that look like forms: pieces of the grammar, in any order.
PIECES = st.sampled_from(
    [
        b"--b",
        b"\r\n",
        b"\r",
        b"\n",
        b"-",
        b"--",
        b" ",
        b":",
        NAME,
        b"Content-Disposition: form-data; name=f; filename=x\r\n",
        b"x",
        b"\0",
    ]
)


@given(st.binary(max_size=60) | st.lists(PIECES, max_size=30).map(b"".join))
@example(b"\r\n-\r\n--b--")
@example(b"--b--" + b"\0" * 31)
@example(FIELD + b"\r\n--b\r\r\n--b--")
def test_any_bytes_give_events_or_an_error(body: bytes) -> None:
    every_way(body)
    every_way(body, limits=LIMITS)


@given(st.lists(st.binary(max_size=20) | st.lists(PIECES, max_size=10).map(b"".join), max_size=3), st.integers(1, 40))
def test_gives_back_what_was_written(contents: list[bytes], size: int) -> None:
    # Longer than the pieces' boundary, so that no content holds it by chance.
    parts = [
        b"--boundary\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n%b\r\n" % content for content in contents
    ]
    body = b"".join(parts) + b"--boundary--\r\n"
    written: list[Part] = [("f", "x", content) for content in contents]
    assert every_way(body, b"boundary") == written
    assert read((body[i : i + size] for i in range(0, len(body), size)), b"boundary") == written


def read_by_another(body: bytes, boundary: bytes) -> list[bytes]:
    """The contents of the parts, as python-multipart reads them."""
    contents: list[bytes] = []

    def on_part_data(data: bytes, start: int, end: int) -> None:
        contents[-1] += data[start:end]

    parser = MultipartParser(boundary, {"on_part_begin": lambda: contents.append(b""), "on_part_data": on_part_data})
    parser.write(body)
    parser.finalize()
    return contents


@given(st.lists(st.binary(max_size=200) | st.lists(PIECES, max_size=20).map(b"".join), max_size=4))
def test_reads_as_another_reader_does(contents: list[bytes]) -> None:
    head = b"Content-Disposition: form-data; name=f; filename=x\r\n\r\n"
    body = b"".join(b"--boundary\r\n%b%b\r\n" % (head, content) for content in contents) + b"--boundary--"
    parts = every_way(body, b"boundary")
    assert isinstance(parts, list)
    assert [content for _, _, content in parts] == read_by_another(body, b"boundary")
