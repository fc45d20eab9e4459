"""The file of a large form on its way from the socket to the storage, in a worker thread of the storage.

The thread reads what the socket has into a buffer of its own, finds the boundary, hashes and writes; then the event loop waits
for more. So a large file costs no object and no hop a piece, and memory does not grow with the number of uploads, only with
that of the threads. A server that offers no socket (TLS, another protocol) is read from as usual.
"""

import threading
from collections.abc import Callable

from rest.exchanges import BodySocket, Exchange, silent
from rest.multipart import Event, PartData
from storage import Upload

Feed = Callable[[bytearray, int], list[Event]]

LEAST_BYTES = 512 * 1024  # below that, what is left has mostly come already
_BUFFER_BYTES = 1024 * 1024  # a thread's own; with less, more time goes into the calls around reading and writing
_READS_A_HOP = 16  # 16 MiB: then other uploads have their turn


class _Buffers(threading.local):
    """One buffer a thread."""

    def __init__(self) -> None:
        self.buffer = bytearray(_BUFFER_BYTES)


_buffers = _Buffers()


async def pour(exchange: Exchange, upload: Upload, feed: Feed, idle_timeout_s: float) -> list[Event]:
    """Read what is left of the body from the socket into the upload, up to the file's end, if it is much and the server can.

    `feed` makes events of what was read; those from the file's end on are given back, none if the body ends with the file.
    Raises TIMEOUT, ClientDisconnected, and what `feed` and Upload raise.
    """
    source = exchange.body_socket(LEAST_BYTES)
    if source is None:
        return []
    begun = source.left
    try:
        while source.left:
            left = source.left
            if rest := await upload.run(lambda: _pour(source, upload, feed)):
                return rest
            if source.left == left and not await source.wait(idle_timeout_s):
                raise silent(idle_timeout_s)
        return []
    finally:
        exchange.body_bytes += begun - source.left
        source.close()


def _pour(source: BodySocket, upload: Upload, feed: Feed) -> list[Event]:
    """What one hop does: read what there is; gives the events from the file's end on, none while it goes on."""
    buffer = _buffers.buffer
    for _ in range(_READS_A_HOP):
        count = source.read_into(buffer)
        if count == 0:
            break
        events = feed(buffer, count)
        for index, event in enumerate(events):
            if type(event) is not PartData:
                return [_kept(later) for later in events[index:]]
            upload.append(event.data)
    return []


def _kept(event: Event) -> Event:
    """The event without the buffer, which the thread reads into again."""
    return PartData(bytes(event.data)) if type(event) is PartData else event
