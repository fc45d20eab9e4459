"""What clients write to the store themselves, with a meter around the calls that take it over: their times and failures."""

from collections.abc import Awaitable, Sequence
from typing import Final, Protocol, TypeVar

from storage import Incoming, PartInfo, Staged

T = TypeVar("T")

_OTHER: Final = "other"


class Meter(Protocol):
    """What notes how calls to the storage went."""

    async def timed(self, operation: str, work: Awaitable[T]) -> T:
        """What `work` gives; notes how long it took, or that it failed."""
        ...


class MeteredIncoming:
    """See `Incoming`."""

    def __init__(self, incoming: Incoming, meter: Meter) -> None:
        self._incoming = incoming
        self._meter = meter
        self.part_bytes = incoming.part_bytes
        self.sign_form = incoming.sign_form
        self.sign_parts = incoming.sign_parts
        self.leftovers = incoming.leftovers

    async def begin_parts(self, key: str, content_type: str) -> str:
        """Begin an upload in parts."""
        return await self._meter.timed(_OTHER, self._incoming.begin_parts(key, content_type))

    async def parts(self, key: str, multipart_id: str) -> list[PartInfo] | None:
        """The parts that came."""
        return await self._meter.timed(_OTHER, self._incoming.parts(key, multipart_id))

    async def join(self, key: str, multipart_id: str, parts: Sequence[PartInfo]) -> None:
        """Make one of the parts."""
        await self._meter.timed(_OTHER, self._incoming.join(key, multipart_id, parts))

    async def staged(self, key: str) -> Staged | None:
        """What a client has written."""
        return await self._meter.timed(_OTHER, self._incoming.staged(key))

    async def seal(self, key: str, staged: Staged, target: str, content_type: str) -> bool:
        """Make a blob of it."""
        return await self._meter.timed(_OTHER, self._incoming.seal(key, staged, target, content_type))

    async def abort_parts(self, key: str, multipart_id: str) -> None:
        """Remove the parts that came."""
        await self._meter.timed(_OTHER, self._incoming.abort_parts(key, multipart_id))
