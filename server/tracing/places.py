"""The spans of the database and of the storage. A file is one span from its first bytes to its end, not one for each piece."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from opentelemetry.trace import Span, SpanKind

from server.tracing.tracer import Tracing, is_traced, note_failure
from storage import (
    BlobInfo,
    BlobReader,
    Blobs,
    BlobWriter,
    Database,
    Lookup,
    Parameters,
    Row,
    Script,
    Statement,
)

T = TypeVar("T")

# The verb and the first table of a statement: its name in low cardinality (semantic conventions for databases).
_VERB: Final = re.compile(r"\s*(\w+)", re.ASCII)
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)", re.ASCII)


class TracedDatabase:
    """A database as it is, in spans; see `Database`. Work of no request has none."""

    def __init__(self, database: Database, tracing: Tracing, system: str) -> None:
        self._database = database
        self._tracing = tracing
        self._system = system
        self.on_commit = database.on_commit
        self.aclose = database.aclose

    async def rows(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """Few rows, by an index."""
        if not is_traced():
            return await self._database.rows(statement, parameters)
        with self._tracing.current(*self._of(statement)):
            return await self._database.rows(statement, parameters)

    async def row(self, lookup: Lookup, key: str | bytes) -> Row | None:
        """The row of a key."""
        if not is_traced():
            return await self._database.row(lookup, key)
        with self._tracing.current(*self._of(lookup.statement)):
            return await self._database.row(lookup, key)

    async def rows_of_any_length(self, statement: Statement, parameters: Parameters) -> list[Row]:
        """Rows by an index."""
        if not is_traced():
            return await self._database.rows_of_any_length(statement, parameters)
        with self._tracing.current(*self._of(statement)):
            return await self._database.rows_of_any_length(statement, parameters)

    async def rows_apart(self, statement: Statement, parameters: Parameters, within_s: float | None = None) -> list[Row]:
        """Rows of a statement of unknown cost."""
        if not is_traced():
            return await self._database.rows_apart(statement, parameters, within_s)
        with self._tracing.current(*self._of(statement)):
            return await self._database.rows_apart(statement, parameters, within_s)

    async def write(self, script: Callable[[], Script[T]]) -> T:
        """What the script returns."""
        if not is_traced():
            return await self._database.write(script)
        attributes = {"db.system.name": self._system, "db.operation.name": "TRANSACTION"}
        with self._tracing.current("TRANSACTION", SpanKind.CLIENT, attributes):
            return await self._database.write(script)

    def _of(self, statement: Statement) -> tuple[str, SpanKind, dict[str, str]]:
        """Name, kind and attributes of a statement's span."""
        text = statement.postgresql if self._system == "postgresql" else statement.sqlite
        verb, table = _VERB.match(text), _TABLE.search(text)
        operation = verb[1].upper() if verb else "SELECT"
        summary = f"{operation} {table[1]}" if table else operation
        attributes = {
            "db.system.name": self._system,
            "db.operation.name": operation,
            "db.query.summary": summary,
            "db.query.text": text,
        }
        return summary, SpanKind.CLIENT, attributes


class TracedBlobs:
    """A place for blobs as it is, in spans; see `Blobs`."""

    def __init__(self, blobs: Blobs, tracing: Tracing, backend: str) -> None:
        self._blobs = blobs
        self._tracing = tracing
        self._attributes = {"attachd.storage.backend": backend}
        self.incoming = blobs.incoming
        self.link = blobs.link
        self.aclose = blobs.aclose
        self.delete = blobs.delete
        self.quarantine = blobs.quarantine
        self.release = blobs.release
        self.missing = blobs.missing
        self.size_of = blobs.size_of
        self.check = blobs.check

    def create(self, key: str) -> BlobWriter:
        """Begin to write."""
        return _TracedWriter(self._blobs.create(key), self._begin)

    def open(self, key: str) -> BlobReader:
        """A reader."""
        return _TracedReader(self._blobs.open(key), self._begin)

    def scan(self, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """All that is kept."""
        return self._blobs.scan(after)

    def _begin(self, name: str) -> Span | None:
        return self._tracing.begin(name, SpanKind.CLIENT, self._attributes) if is_traced() else None


Begin = Callable[[str], Span | None]


class _Whole:
    """The one span of a file, from its first bytes on."""

    __slots__ = ("_begin", "_name", "_span", "size")

    def __init__(self, name: str, begin: Begin) -> None:
        self._name = name
        self._begin: Begin | None = begin
        self._span: Span | None = None
        self.size = 0

    def begin(self) -> None:
        """The first time: begin."""
        if self._begin is not None:
            self._span = self._begin(self._name)
            self._begin = None

    def end(self, error: BaseException | None = None, **attributes: str) -> None:
        """End, if it has begun and not ended."""
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attribute("attachd.blob.size", self.size)
        for name, value in attributes.items():
            span.set_attribute(f"attachd.blob.{name}", value)
        if error is not None:
            note_failure(span, error)
        span.end()


class _TracedWriter:
    __slots__ = ("_whole", "_writer")

    def __init__(self, writer: BlobWriter, begin: Begin) -> None:
        self._writer = writer
        self._whole = _Whole("storage write", begin)

    async def write(self, data: bytes | memoryview) -> None:
        self._whole.begin()
        self._whole.size += len(data)
        await self._writer.write(data)

    async def run(self, work: Callable[[], T]) -> T:
        self._whole.begin()
        return await self._writer.run(work)

    def append(self, data: bytes | memoryview) -> None:
        self._whole.size += len(data)
        self._writer.append(data)

    async def commit(self) -> bytes:
        try:
            digest = await self._writer.commit()
        except BaseException as error:
            self._whole.end(error)
            raise
        self._whole.end(outcome="stored")
        return digest

    def abort(self) -> None:
        self._whole.end(outcome="aborted")
        self._writer.abort()


class _TracedReader:
    __slots__ = ("_reader", "_whole")

    def __init__(self, reader: BlobReader, begin: Begin) -> None:
        self._reader = reader
        self._whole = _Whole("storage read", begin)

    def expect(self, start: int, stop: int) -> None:
        self._reader.expect(start, stop)

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        self._whole.begin()
        try:
            data = await self._reader.read(offset, length)
        except BaseException as error:
            self._whole.end(error)
            raise
        self._whole.size += len(data)
        return data

    def close(self) -> None:
        self._whole.end()
        self._reader.close()
