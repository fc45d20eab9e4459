"""A blob on its way out: the body of one GET, kept open between reads that follow each other, and read ahead of them."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError

from storage.s3.answers import etag_of
from storage.s3.client import Bucket
from storage.s3.errors import WrongAnswerError

if TYPE_CHECKING:
    from botocore.response import StreamingBody


class _Ahead(NamedTuple):
    """A read that nobody asked for yet."""

    offset: int
    length: int
    data: asyncio.Future[bytes]


class S3Reader:
    """See `BlobReader`. One read at a time."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._where = bucket.where(key)
        self._stop = 0  # of what is expected to be read
        self._body: StreamingBody | None = None
        self._position = 0  # of the body, in the blob
        self._left = 0  # in the body
        self._etag = ""
        self._ahead: _Ahead | None = None
        self._work: asyncio.Future[bytes] | None = None
        self._closed = False

    def expect(self, start: int, stop: int) -> None:  # noqa: ARG002 (where it begins is told by the first read)
        """One GET will do for these bytes."""
        self._stop = stop

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly those bytes; those behind them are asked for at once, if they are expected."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (ahead.offset, ahead.length) == (offset, length):
            data = await self._bucket.wait(ahead.data)
        else:
            if ahead is not None:
                await self._bucket.wait(ahead.data)
            data = await self._bucket.wait(self._begin(offset, length))
        behind = offset + length
        if behind < self._stop and not self._closed:
            length = min(length, self._stop - behind)
            self._ahead = _Ahead(behind, length, self._begin(behind, length))
        return data

    def _begin(self, offset: int, length: int) -> asyncio.Future[bytes]:
        self._work = self._bucket.begin(self._read_in_thread, offset, length)
        return self._work

    def _read_in_thread(self, offset: int, length: int) -> bytes:
        """Those bytes; a body that ends too early is gone on with by another GET, which has attempts of its own."""
        data = b""
        failures = 0
        while len(data) < length:
            body = self._body_at(offset + len(data), length - len(data))
            try:
                data += self._more(body, length - len(data))
            except (BotoCoreError, OSError):
                self._let_go()
                failures += 1
                if failures == self._bucket.options.attempts:
                    raise
        return data

    def _body_at(self, offset: int, length: int) -> "StreamingBody":
        """The body that goes on there."""
        if self._body is not None and self._position == offset and self._left:
            return self._body
        self._let_go()
        return self._open(offset, max(self._stop, offset + length))

    def _more(self, body: "StreamingBody", length: int) -> bytes:
        data: bytes = body.read(min(length, self._left))
        if not data:
            raise ConnectionResetError("the body ended before its length")
        self._position += len(data)
        self._left -= len(data)
        return data

    def _open(self, start: int, stop: int) -> "StreamingBody":
        """The body of a GET of [start, stop), which must be as long as that, and of the same object as one before."""
        answer = self._bucket.client.get_object(**self._where, Range=f"bytes={start}-{stop - 1}")
        place, etag = answer.get("ContentRange", "").partition("/")[0], etag_of(answer)
        if place != f"bytes {start}-{stop - 1}" or answer["ContentLength"] != stop - start or self._etag not in ("", etag):
            answer["Body"].close()
            message = f"{place or 'all'}, {answer['ContentLength']} bytes, ETag {etag} instead of [{start}, {stop})"
            raise WrongAnswerError(what="range", key=self._where["Key"], answer=message)
        self._body, self._position, self._left, self._etag = answer["Body"], start, stop - start, etag
        return self._body

    def _let_go(self) -> None:
        """Close the body: the connection is used again if it was read to its end."""
        if self._body is not None:
            with contextlib.suppress(OSError):
                self._body.close()
            self._body = None

    def close(self) -> None:
        """Close the body once no worker thread reads it."""
        self._closed = True
        if self._work is not None and not self._work.done():
            self._work.add_done_callback(lambda _: self._let_go())
        else:
            self._let_go()
