"""A body that is the file itself: its headers, fed anything at all, and every name that a client may write."""

import asyncio
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from rest import INTAKE_HEADERS, Exchange, receive_file
from schemas import Code, ServiceError
from storage import Upload

# What encodeURIComponent leaves as it is (ECMA-262, 19.2.6.5) beside letters and digits.
UNESCAPED = "-_.!~*'()"


class Begun(Exception):  # noqa: N818 (that it was begun is no error)
    """The upload was begun, with that name and length: the headers were taken."""

    def __init__(self, filename: str, least_bytes: int | None) -> None:
        super().__init__()
        self.filename = filename
        self.least_bytes = least_bytes


def begin(filename: str, least_bytes: int | None) -> Upload:
    raise Begun(filename, least_bytes)


async def never(*_: Any) -> Any:
    raise AssertionError("the body was read, or answered, before its headers were")


def begun(headers: list[tuple[bytes, bytes]]) -> Begun | ServiceError:
    """With what an upload with these headers is begun, or why it is not."""
    exchange = Exchange({"type": "http", "headers": headers}, never, never, INTAKE_HEADERS)
    try:
        asyncio.run(receive_file(exchange, begin, 1.0))
    except (Begun, ServiceError) as told:
        return told
    raise AssertionError


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_name_comes_through(name: str) -> None:
    taken = begun([(b"x-attachd-filename", quote(name, safe=UNESCAPED).encode()), (b"content-length", b"7")])
    assert isinstance(taken, Begun)
    assert taken.filename == name


@given(st.lists(st.tuples(st.sampled_from(sorted(INTAKE_HEADERS | {b"content-length"})), st.binary(max_size=60)), max_size=4))
def test_any_headers_begin_an_upload_or_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    told = begun([(b"x-attachd-filename", b"a.txt"), (b"content-length", b"7"), *headers])
    if isinstance(told, ServiceError):
        assert told.code in {Code.BAD_REQUEST, Code.UNSUPPORTED_MEDIA_TYPE}
    else:
        assert (told.filename, told.least_bytes) == ("a.txt", 7)
