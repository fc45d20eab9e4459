"""Bodies on their way into the storage: headers of a file, fed anything at all, and a disk that is slower than the client."""

import asyncio
from typing import Any, Self
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest import INTAKE_HEADERS, Exchange, receive_file, receive_form
from schemas import ClientDisconnected, Code, Principal, ServiceError
from storage import API_A, Upload, fresh_id
from tests.rest.live import BOUNDARY, part

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


class SlowDisk:
    """A disk that keeps whoever writes waiting until it is `open`: `Blobs` and their one writer."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.written = 0
        self.aborted = False

    def create(self, _key: str) -> Self:
        return self

    async def write(self, data: bytes | memoryview) -> None:
        await self.open.wait()
        self.written += len(data)

    def abort(self) -> None:
        self.aborted = True


PIECE = b"%PDF-1.7\n".ljust(65_536, b"\0")
HEAD = part(PIECE, "a.pdf")[:-2]


@pytest.mark.anyio
@pytest.mark.parametrize("as_form", [False, True], ids=["file", "form"])
async def test_no_more_is_asked_for_than_the_disk_has_taken(*, as_form: bool) -> None:
    disk, asked, begun = SlowDisk(), 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        begun.set()
        if asked == 5:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": HEAD if as_form and asked == 1 else PIECE, "more_body": True}

    def begin_on_slow_disk(filename: str, _: int | None) -> Upload:
        caller = Principal(kind="key", user_id=fresh_id(), organization_id=fresh_id(), role="member")
        table: Any = None  # is not asked before the file is there
        blobs: Any = disk
        return Upload(table, blobs, caller, filename, API_A.type_of(filename))

    kind = b"multipart/form-data; boundary=" + BOUNDARY.encode()
    headers = [(b"transfer-encoding", b"chunked"), (b"x-attachd-filename", b"a.pdf"), (b"content-type", kind)]
    exchange = Exchange({"type": "http", "headers": headers}, receive, never, INTAKE_HEADERS)
    if as_form:
        reading = asyncio.create_task(receive_form(exchange, begin_on_slow_disk, API_A.max_bytes, 10.0))
    else:
        reading = asyncio.create_task(receive_file(exchange, begin_on_slow_disk, 10.0))
    await begun.wait()
    await asyncio.sleep(0.05)
    assert (asked, disk.written) == (1, 0)
    disk.open.set()
    with pytest.raises(ClientDisconnected):
        await reading
    assert 0 <= 4 * len(PIECE) - disk.written < 100  # a form keeps back what may be the beginning of its boundary
    assert disk.aborted
