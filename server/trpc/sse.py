"""Subscriptions over server-sent events, writing: the frames of `sseStreamProducer` in @trpc/server 11.25, to the byte. Pure.

A frame has its fields in the order event, data, id, and two empty lines behind them. An EventSource remembers the last id it
was sent and gives it to every later event; so an event without an id clears it, and a frame that no client listens to
(`restore-id`) sets it again, from which a new connection then resumes.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from procedures import Procedure, Tracked
from schemas import ServiceError
from server.trpc import responses

PING = b"event: ping\ndata: \n\n\n"
RETURN = b"event: return\ndata: \n\n\n"
_UNSENDABLE = re.compile(r"[\0\n\r]")  # what would end the field, or make the client ignore it (HTML, 9.2.6)
_REMEMBERED = 16  # frames of a subscription


def connected(reconnect_after_ms: int | None) -> bytes:
    """The first frame; with the time without a byte after which the client shall connect again."""
    options = b"{}" if reconnect_after_ms is None else b'{"reconnectAfterInactivityMs":%d}' % reconnect_after_ms
    return b"event: connected\ndata: " + options + b"\n\n\n"


def serialized_error(error: ServiceError, path: str, stack: str | None = None) -> bytes:
    """The last frame of a stream that failed."""
    return b'event: serialized-error\ndata: {"json":' + responses.render_shape(error, path, stack) + b"}\n\n\n"


def sendable_id(event_id: str | None) -> str | None:
    """The id with which a client came, if it can be written into a frame."""
    return event_id if event_id and not _UNSENDABLE.search(event_id) else None


class Frames:
    """The frames of one subscription's items, which are written once for all its subscribers.

    They share a frame where they share the item: the newest few are remembered with their frames, since a subscriber takes
    several at once when several things happen at once. That needs items that do not change, which are those with an id, since
    they stand for one event, and frozen structs.
    """

    def __init__(self, procedure: Procedure, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode
        self._shares_untracked = _is_frozen(procedure.output_type)
        # By the identity of the item, which is kept alive here: no other item has it meanwhile.
        self._frames: dict[int, tuple[object, bytes]] = {}

    def of(self, item: Any, last_id: str | None) -> tuple[bytes, str | None]:
        """The frames of an item for a client that has seen `last_id`, and the id that it has seen then.

        Raises ValueError for an id that cannot be sent, and what the encoder raises.
        """
        if isinstance(item, Tracked):
            return self._shared(item, self._tracked), item.id
        frame = self._shared(item, self._untracked) if self._shares_untracked else self._untracked(item)
        if last_id is None:
            return frame, None
        return b"%bid: \n\n\nevent: restore-id\ndata: \nid: %b\n\n\n" % (frame[:-2], last_id.encode()), last_id

    def _shared(self, item: Any, write: Callable[[Any], bytes]) -> bytes:
        known = self._frames.get(id(item))
        if known is not None:
            return known[1]
        frame = write(item)
        if len(self._frames) >= _REMEMBERED:
            del self._frames[next(iter(self._frames))]
        self._frames[id(item)] = (item, frame)
        return frame

    def _untracked(self, item: Any) -> bytes:
        return b"data: " + self._encode(item) + b"\n\n\n"

    def _tracked(self, item: Tracked[Any]) -> bytes:
        if not item.id or _UNSENDABLE.search(item.id):
            raise ValueError(f"the id of a tracked item must have characters, but no line end and no NUL: {item.id!r}")
        return b"data: %b\nid: %b\n\n\n" % (self._encode(item.data), item.id.encode())


def _is_frozen(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_.__struct_config__.frozen
