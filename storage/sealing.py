"""Making a blob of what a client wrote to the store itself: joined if it came in parts, copied away from it, then read whole.

Reading costs less than it saves (docs/decisions/0029-direct-uploads.md): the digest of a row is true whatever the store says
of its checksums, and no part of a text goes unseen.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import Final

from schemas import Code, SentPart, ServiceError
from storage.blobs import Blobs
from storage.catalog import DirectUpload
from storage.ids import fresh_id
from storage.incoming import INCOMING, Incoming, PartInfo
from storage.inspection import Inspection, check_digest
from storage.policies import FileType

_PIECE: Final = 1024 * 1024  # bytes read, sniffed and hashed in one go, a millisecond or two


def staging_key(upload: DirectUpload) -> str:
    """Where the client writes."""
    return f"{INCOMING}{upload.organization_id}/{upload.id}"


def part_sizes(size: int, part_bytes: int) -> list[int]:
    """The sizes of the parts of a file, in bytes: all of `part_bytes`, but for the last."""
    return [min(part_bytes, size - start) for start in range(0, size, part_bytes)]


def chosen_parts(sizes: Sequence[int], sent: Sequence[SentPart], there: Sequence[PartInfo]) -> list[PartInfo]:
    """The parts that the client says it has sent, as the store has them, in their order.

    Raises PRECONDITION_FAILED unless all are there, each with its size.
    """
    etags = {part.part_number: part.etag.strip('"') for part in sent}
    kept = {(part.number, part.etag): part.size for part in there}
    chosen = []
    for number, size in enumerate(sizes, 1):
        etag = etags.pop(number, None)
        if etag is None:
            raise _not_ready(f"part {number} of {len(sizes)} is not among the parts: send it, then complete the upload")
        if kept.get((number, etag)) != size:
            raise _not_ready(f"part {number} with the ETag {etag} is not in the store with its {size} bytes: send it again")
        chosen.append(PartInfo(number, etag, size))
    if etags:
        raise _not_ready(f"the upload has {len(sizes)} parts, but {max(etags)} was named")
    return chosen


async def seal(incoming: Incoming, upload: DirectUpload, sent: Sequence[SentPart], type_: FileType) -> str:
    """Copy the file to a fresh key; gives the key.

    Raises PRECONDITION_FAILED when it is not there whole.
    """
    key = staging_key(upload)
    if upload.multipart_id is not None and upload.part_bytes is not None:
        there = await incoming.parts(key, upload.multipart_id)
        if there is not None:
            chosen = chosen_parts(part_sizes(upload.size, upload.part_bytes), sent, there)
            await incoming.join(key, upload.multipart_id, chosen)
    staged = await incoming.staged(key)
    if staged is None:
        raise _not_ready("the file is not in the store yet: send it, then complete the upload")
    if staged.size != upload.size:
        raise _not_ready(f"the file in the store has {staged.size} bytes instead of {upload.size}")
    target = f"attachments/{upload.organization_id}/{fresh_id()}"
    if not await incoming.seal(key, staged, target, type_.content_type):
        raise _not_ready("the file was sent again while the upload was completed: complete it once more")
    return target


async def inspect(blobs: Blobs, upload: DirectUpload, key: str, type_: FileType) -> bytes:
    """Read a sealed file whole, in constant memory; gives its SHA-256, 32 bytes.

    Raises what an upload of those bytes would raise.
    """
    inspection, digest = Inspection(upload.filename, type_), hashlib.sha256()

    def take(piece: bytes | bytearray) -> None:
        inspection.take(piece)
        digest.update(piece)

    with contextlib.closing(blobs.open(key)) as reader:
        reader.expect(0, upload.size)
        for start in range(0, upload.size, _PIECE):
            piece = await reader.read(start, min(_PIECE, upload.size - start))
            await asyncio.to_thread(take, piece)
    inspection.end()
    check_digest(digest.digest(), () if upload.sha256 is None else (upload.sha256,))
    return digest.digest()


def _not_ready(message: str) -> ServiceError:
    return ServiceError(Code.PRECONDITION_FAILED, message)
