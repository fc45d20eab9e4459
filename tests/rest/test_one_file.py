"""The short way through a form: what it reads at all, and that the general way reads the same."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rest.multipart import Event, MultipartReader, PartData
from rest.one_file import read_one_file

HEAD = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
BOUNDARY = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
FILE = b"\x89PNG\r\n\x1a\n--\r\n-- \x00"


def form(head: bytes = HEAD, content: bytes = FILE, end: bytes = b"--\r\n", boundary: bytes = BOUNDARY) -> bytes:
    return b"--%b\r\n%b%b\r\n--%b%b" % (boundary, head, content, boundary, end)


def plain(events: list[Event]) -> list[object]:
    """The events, with contents as bytes."""
    return [bytes(event.data) if isinstance(event, PartData) else event for event in events]


def general(boundary: bytes, data: bytes) -> list[object]:
    reader = MultipartReader(boundary)
    events = reader.feed(data)
    reader.close()
    return plain(events)


@pytest.mark.parametrize("body", [
    form(),
    form(end=b"--"),  # undici
    form(HEAD.lower().replace(b"a.png", b"A.png")),
    form(HEAD.replace(b"a.png", b"my file (1); copy=2.png")),
    form(content=b"x"),
    form(content=b"\r\n"),
    form(content=b"\r\n--"),
    form(content=b"--" + BOUNDARY[:-1]),
    form(boundary=b"b"),
    form(boundary=b"a.*[b]+"),
])  # fmt: skip
def test_the_usual_form_is_read_in_one_go(body: bytes) -> None:
    boundary = body[2 : body.index(b"\r\n")]
    events = read_one_file(boundary, body, 0)
    assert events is not None
    assert plain(events) == general(boundary, body)
    assert plain(MultipartReader(boundary).feed(b"x" + body, start=1)) == plain(events)
    behind_a_head = read_one_file(boundary, b"POST / HTTP/1.1\r\n\r\n" + body, 19)
    assert behind_a_head is not None
    assert plain(behind_a_head) == plain(events)


@pytest.mark.parametrize("body", [
    form(content=b""),
    form()[2:],
    form()[:-4],
    form(end=b"\r\n"),
    form(end=b""),
    form(end=b"-"),
    form(end=b"--\r\nepilogue"),
    b"\r\n" + form(),
    b"preamble\r\n" + form(),
    form(HEAD.replace(b"; filename", b";filename")),
    form(HEAD.replace(b"a.png", b"")),
    form(HEAD.replace(b"a.png", b"a%22.png")),
    form(HEAD.replace(b"a.png", b'a\\".png')),
    form(HEAD.replace(b"a.png", "ä.png".encode())),
    form(HEAD.replace(b"a.png", b"a.png" * 200)),
    form(HEAD.replace(b'; filename="a.png"', b"")),
    form(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Digest: sha-256=:AA==:\r\n\r\n")),
    form(HEAD.replace(b'"a.png"', b"a.png")),
    form() + form(),
    form(content=form()),
    form(content=b"x\r\n--%b--\r\n" % BOUNDARY),
    form(HEAD[:-2], content=b"--%b\r\n%bsecond" % (BOUNDARY, HEAD)),  # a part without content, whose line end is its head's
])  # fmt: skip
def test_all_else_goes_the_general_way(body: bytes) -> None:
    assert read_one_file(BOUNDARY, body, 0) is None


FRAGMENTS = [
    *(b"--b", b"--b--", b"\r\n--b", b"\r\n--b--", b"\r\n--b\r\n", b"\r\n", b"\r", b"\n", b"-", b"--", b" ", b"x", b"\x00"),
    *(HEAD, HEAD[:-2], HEAD[:-4], b'Content-Disposition: form-data; name="a"; filename="b"', b"content-type: ", b"text/plain "),
    *(b'"', b"%22", b"\\", b"; ", b'name="c"', b"CONTENT-TYPE:"),
]


@given(
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=8),
    st.sampled_from([b"", b"--b\r\n", b"--b\r\n" + HEAD]),
)
@example([b"\r\n--b--"], b"--b\r\n" + HEAD[:-2])
@example([b"--b\r\n", HEAD, b"x", b"\r\n--b--"], b"--b\r\n" + HEAD[:-2])
def test_both_ways_read_the_same(pieces: list[bytes], start: bytes) -> None:
    """Else a filter in front of the server, which reads a form as the general way does, would see something else."""
    for body in (start + b"".join(pieces), start + b"".join(pieces) + b"\r\n--b--\r\n"):
        events = read_one_file(b"b", body, 0)
        if events is not None:
            assert plain(events) == general(b"b", body)
