"""Answers in JSON lines, writing: the head and the chunks of `jsonlStreamProducer` in @trpc/server 11.25, to the byte. Pure.

The head gives every call a promise by number. What a promise or an async iterable comes to is a chunk with its number, a
status and the value; members of the value that are not there yet are named behind it, with numbers of their own. superjson
wraps each line by itself. A call's result is a promise in a promise in a promise: `{result}`, `{data}`, the output; of calls
that are there at once tRPC writes the first of all of them, then the second, then the third, and so do we.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from schemas import ServiceError
from server.trpc import responses
from server.trpc.deferred import discard, is_awaitable, is_iterable, members

_PROMISE, _ITERABLE = 0, 1
_FULFILLED, _REJECTED = 0, 1
_RETURN, _YIELD, _ERROR = 0, 1, 2

_RESULT = b'{"json":[%d,0,[[{"result":0}],["result",0,%d]]]}\n'
_DATA = b'{"json":[%d,0,[[{"data":0}],["data",0,%d]]]}\n'
_BARE = slice(len(b'{"json":'), -1)  # of data that superjson wrapped without annotations
PING = b" "

Encode = Callable[[Any], bytes]


class Output(msgspec.Struct, frozen=True):
    """What a call came to, not written yet. `encode` writes an item of an output that is an async iterator of plain values."""

    value: Any
    encode: Encode | None = None


Settled = bytes | ServiceError | Output  # a call's encoded plain data, its error, or its output


class Deferred(msgspec.Struct, frozen=True):
    """A part of a call's output that is to be waited for, and written with its number."""

    id: int
    call: int
    source: Any
    is_iterable: bool
    encode: Encode | None = None


@functools.lru_cache(maxsize=64)
def head(count: int) -> bytes:
    """The first line of an answer to so many calls."""
    return b'{"json":{%b}}\n' % b",".join([b'"%d":[[0],[null,0,%d]]' % (index, index) for index in range(count)])


@functools.lru_cache(maxsize=64)
def _frame(count: int) -> tuple[bytes, list[bytes]]:
    """What comes before the outputs of so many calls that all succeed at once, and the beginning of each output."""
    lines = [head(count)]
    lines += [_RESULT % (index, count + index) for index in range(count)]
    lines += [_DATA % (count + index, 2 * count + index) for index in range(count)]
    return b"".join(lines), [b'{"json":[%d,0,[[' % (2 * count + index) for index in range(count)]


def whole(data: Sequence[bytes]) -> bytes:
    """The answer to calls whose plain data are all there."""
    before, beginnings = _frame(len(data))
    pieces = [before]
    for beginning, text in zip(beginnings, data, strict=True):
        pieces += (beginning, text[_BARE], b"]]]}\n")
    return b"".join(pieces)


class Lines:
    """The lines of one answer. `shape` gives the error shape of what failed in the call at an index.

    What is not there yet gets a number when it is named in a line; `take` it to wait for it.
    """

    def __init__(self, count: int, shape: Callable[[Exception, int], bytes]) -> None:
        self._next_id = count
        self._shape = shape
        self.deferred: list[Deferred] = []

    def take(self) -> list[Deferred]:
        """What has been named that is not there yet, each once."""
        deferred, self.deferred = self.deferred, []
        return deferred

    def settle(self, calls: Sequence[tuple[int, Settled]]) -> bytes:
        """The lines of calls that came to an end at once: their index, and what they came to."""
        results, data, outputs = [], [], []
        succeeded: list[tuple[int, int, bytes | Output]] = []
        for index, settled in calls:
            if isinstance(settled, ServiceError):
                results.append(b'{"json":[%d,0,[[{"error":%b}]]]}\n' % (index, self._shape(settled, index)))
            else:
                succeeded.append((index, self._id(), settled))
                results.append(_RESULT % (index, succeeded[-1][1]))
        ids = [self._id() for _ in succeeded]
        for (index, result_id, settled), data_id in zip(succeeded, ids, strict=True):
            data.append(_DATA % (result_id, data_id))
            if isinstance(settled, bytes):
                outputs.append(b'{"json":[%d,0,[[%b]]]}\n' % (data_id, settled[_BARE]))
            else:
                outputs.append(self.fulfilled(Deferred(data_id, index, None, False, settled.encode), settled.value))
        return b"".join([*results, *data, *outputs])

    def fulfilled(self, promise: Deferred, value: Any) -> bytes:
        """What a promise came to."""
        try:
            return self._chunk(promise, _FULFILLED, value)
        except Exception as error:  # noqa: BLE001 (a value that cannot be written fails its promise, whatever the exception)
            return self.failed(promise, error)

    def yielded(self, iterable: Deferred, item: Any) -> bytes:
        """An item of an async iterable. Raises what the encoder raises."""
        if iterable.encode is not None:
            return b'{"json":[%d,1,[[%b]]]}\n' % (iterable.id, iterable.encode(item)[_BARE])
        return self._chunk(iterable, _YIELD, item)

    def returned(self, iterable: Deferred) -> bytes:
        """The end of an async iterable."""
        return b'{"json":[%d,%d,[[]]]}\n' % (iterable.id, _RETURN)

    def failed(self, deferred: Deferred, error: Exception) -> bytes:
        """The failure of a promise or an async iterable."""
        status = _ERROR if deferred.is_iterable else _REJECTED
        return b'{"json":[%d,%d,%b]}\n' % (deferred.id, status, self._shape(error, deferred.call))

    def _id(self) -> int:
        id = self._next_id
        self._next_id += 1
        return id

    def _chunk(self, owner: Deferred, status: int, value: Any) -> bytes:
        taken = len(self.deferred)
        try:
            return responses.encode_annotated([owner.id, status, self._encoded(owner, value)]) + b"\n"
        except Exception:
            for lost in self.deferred[taken:]:  # nobody is told of what was named in a line that could not be written
                discard(lost.source)
            del self.deferred[taken:]
            raise

    def _encoded(self, owner: Deferred, value: Any) -> list[Any]:
        """A value, and behind it the definitions of what in it is not there yet."""
        if value is msgspec.UNSET:
            return [[]]
        if (kind := _kind(value)) is not None:
            return [[0], [None, kind, self._defer(owner, value, kind, owner.encode)]]
        present: dict[str, Any] = {}
        definitions: list[list[Any]] = []
        for name, member in members(value) or ():
            kind = _kind(member)
            present[name] = member if kind is None else 0
            if kind is not None:
                definitions.append([name, kind, self._defer(owner, member, kind, None)])
        return [[present], *definitions] if definitions else [[value]]

    def _defer(self, owner: Deferred, source: Any, kind: int, encode: Encode | None) -> int:
        id = self._id()
        self.deferred.append(Deferred(id, owner.call, source, kind == _ITERABLE, encode))
        return id


def _kind(value: object) -> int | None:
    if is_awaitable(value):
        return _PROMISE
    return _ITERABLE if is_iterable(value) else None
