"""A stored file on its way to a client: which answer its request gets, and the bytes.

What a user uploaded is hostile when it comes back: it is never sniffed, never runs, is not embedded by other sites, and is
shown only if its type is on the short list of `rest/disposition.py`. No byte is read for HEAD, 304, 412 and 416.
"""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from rest.conditions import CONDITIONAL, Outcome, evaluate, range_applies
from rest.dates import http_date
from rest.digests import digest_field
from rest.disposition import content_disposition
from rest.exchanges import Exchange
from rest.ranges import Range, RangeNotSatisfiable, parse_range
from rest.replies import Headers, RangeRefused, Reply
from schemas import Code, Record, ServiceError
from storage import Download

logger = logging.getLogger("attachd.rest")

CHUNK_BYTES = (
    256 * 1024
)  # read and sent at once; two are held for each download. Half of it made large files a fifth slower (2026-11)
DELIVERY_HEADERS = CONDITIONAL | {b"range"}  # the request's headers that matter here

# The bytes of an attachment never change, but who may read them does: a cache asks every time, and gets 304.
_CACHING: Headers = [(b"cache-control", b"private, no-cache"), (b"vary", b"accept")]
_CONSTANT: Headers = [
    (b"accept-ranges", b"bytes"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    *_CACHING,
]
# Other sites may show what a link gives to everyone, and nothing that a cookie of ours opens.
_OWN_SITE = (b"cross-origin-resource-policy", b"same-site")
_ANY_SITE = (b"cross-origin-resource-policy", b"cross-origin")


class Plan(msgspec.Struct, frozen=True):
    """An answer: status and headers, and which bytes [start, stop) of the file are its body."""

    status: int
    headers: Headers
    start: int = 0
    stop: int = 0


def plan(method: str, request: Mapping[bytes, bytes], record: Record, *, attachment: bool, public: bool = False) -> Plan:
    """What a GET or HEAD of the file gets: 200, 206 or 304. Source: RFC 9110, 13-15.

    `attachment` saves what a browser would show; what is `public` may be shown by the pages of every site.
    Raises PRECONDITION_FAILED and RangeRefused.
    """
    etag = b'"%b"' % record.sha256.hex().encode()
    modified = http_date(record.created_at)
    match evaluate(request, etag, modified):
        case Outcome.NOT_MODIFIED:
            return Plan(304, [(b"etag", etag), (b"last-modified", modified), *_CACHING])
        case Outcome.FAILED:
            message = f"the file is not the one that was asked for; its ETag is {etag.decode()}"
            raise ServiceError(Code.PRECONDITION_FAILED, message)
    part = None
    if method == "GET" and b"range" in request and range_applies(request, etag, modified):
        try:
            part = parse_range(request[b"range"], record.size)
        except RangeNotSatisfiable:
            raise RangeRefused(record.size) from None
    headers = [
        (b"content-type", record.content_type.encode()),  # text without a charset: nobody knows it, and it is saved, not shown
        (b"content-disposition", _disposition(record, attachment=attachment)),
        (b"etag", etag),
        (b"last-modified", modified),
        *_CONSTANT,
        _ANY_SITE if public else _OWN_SITE,
        *_extent(record, part),
    ]
    if method == "HEAD":
        return Plan(200, headers)
    return Plan(200, headers, 0, record.size) if part is None else Plan(206, headers, part.start, part.stop)


def _extent(record: Record, part: Range | None) -> Headers:
    """Length, place and digests: Repr-Digest is of the whole file, Content-Digest of what is sent (RFC 9530)."""
    digest = digest_field(record.sha256)
    if part is None:
        return [(b"content-length", b"%d" % record.size), (b"content-digest", digest), (b"repr-digest", digest)]
    return [
        (b"content-length", b"%d" % (part.stop - part.start)),
        (b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, record.size)),
        (b"repr-digest", digest),
    ]


async def serve(
    exchange: Exchange, download: Download, send_timeout_s: float, *, attachment: bool = False, public: bool = False
) -> None:
    """Answer a GET or HEAD with the file; `?download=1` saves what a browser would show. Raises as `plan`.

    Where the store hands the bytes out itself, their place is the answer to a GET that they would be the answer to.
    """
    saved = attachment or b"download=1" in exchange.scope["query_string"].split(b"&")
    planned = plan(exchange.scope["method"], exchange.headers, download.record, attachment=saved, public=public)
    # A client sends these along, and there is no such tag at the store.
    tagged = b"if-match" in exchange.headers or b"if-range" in exchange.headers
    if planned.stop and not tagged and (url := download.link(_disposition(download.record, attachment=saved).decode())):
        await exchange.reply(_redirect(url, public=public))
    else:
        await deliver(exchange, download, planned, send_timeout_s)


def _redirect(url: str, *, public: bool) -> Reply:
    """302, which no cache keeps: who may read the file changes, and the URL expires.

    What keeps the file from being sniffed and from running cannot go along: the type and the disposition in the URL must do.
    """
    headers = [(b"location", url.encode("ascii")), (b"cache-control", b"no-store"), _ANY_SITE if public else _OWN_SITE]
    return Reply(302, headers, b"")


def _disposition(record: Record, *, attachment: bool) -> bytes:
    return content_disposition(record.filename, record.content_type, attachment=attachment)


async def deliver(exchange: Exchange, download: Download, plan: Plan, send_timeout_s: float) -> None:
    """Send the answer. A client that takes nothing for `send_timeout_s` is left.

    The first bytes are read before the answer starts, so that a file which cannot be read is an honest 503.
    """
    length = plan.stop - plan.start
    download.expect(plan.start, plan.stop)
    first = await download.read(plan.start, min(length, CHUNK_BYTES)) if length else b""
    await exchange.start(plan.status, plan.headers)
    if length <= CHUNK_BYTES:
        await exchange.send(first, more=False)
    else:
        await _stream(exchange, download, plan, first, send_timeout_s)


async def _stream(exchange: Exchange, download: Download, plan: Plan, data: bytes | bytearray, send_timeout_s: float) -> None:
    """Send the chunks, `data` first, until the client goes away: uvicorn drops what is sent then, it does not raise."""
    offset = plan.start + len(data)
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(exchange.disconnected())
        try:
            while offset < plan.stop and not gone.done():
                async with asyncio.timeout(send_timeout_s):
                    await exchange.send(data, more=True)
                data = b""  # not held while the next is read
                data = await download.read(offset, min(plan.stop - offset, CHUNK_BYTES))
                offset += len(data)
            if not gone.done():
                async with asyncio.timeout(send_timeout_s):
                    await exchange.send(data, more=False)
        except TimeoutError:
            logger.info("attachment %s: the client took nothing for %g seconds", download.record.id, send_timeout_s)
        finally:
            gone.cancel()
