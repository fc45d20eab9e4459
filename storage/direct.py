"""Direct uploads: the file goes from the client to the store, and only what is said of it through this program.

An upload is planned; its client writes below `INCOMING` with URLs that were signed for it; then it is completed:

    joined, if it came in parts -> sealed -> inspected -> row -> reply

Rules:
1. Nothing is believed of bytes that a client can still change. They are copied first, under a key of this attempt alone, and
   the copy is inspected: all of it is read, counted, sniffed and hashed, as if it had come through this program.
2. Attempts may run side by side, in one process or in several. One of them ends the upload, in the transaction that adds the
   row; the others remove their copies and give what that one gave.
3. The attachment has the id of its upload, so that whoever lost an answer asks again and gets it.
4. Only who created an upload may end it; for everybody else it does not exist.
"""

import asyncio
import base64
import contextlib
import math
import time
from collections.abc import Sequence

import msgspec

from schemas import (
    MAX_PARTS,
    Aborted,
    Attachment,
    Code,
    CompleteUploadInput,
    CreateUploadInput,
    FormUpload,
    PartsUpload,
    Principal,
    Record,
    SentPart,
    ServiceError,
    UploadPart,
)
from storage.access import upload_conversation
from storage.blobs import Blobs
from storage.catalog import AttachmentTable, Database, DirectTable, DirectUpload
from storage.clock import timestamp
from storage.forgetting import forget_expired
from storage.ids import fresh_id
from storage.incoming import FormLimits, Incoming, Leftover
from storage.inspection import admit
from storage.options import Options
from storage.policies import MEBIBYTE, FileType, Policy
from storage.sealing import inspect, part_sizes, seal, staging_key

_Attempt = tuple[Principal, str, tuple[SentPart, ...]]


class DirectUploads:
    """The direct uploads of all organizations."""

    def __init__(self, database: Database, blobs: Blobs, policy: Policy, options: Options) -> None:
        self._table = DirectTable(database)
        self._attachments = AttachmentTable(database)
        self._blobs = blobs
        self._policy = policy
        self._expiry_s = options.direct_expiry_s
        self._max_open = options.direct_max_open
        self._attempts: dict[_Attempt, asyncio.Task[Attachment]] = {}

    async def create(self, principal: Principal, asked: CreateUploadInput) -> FormUpload | PartsUpload:
        """Plan an upload and sign for it.

        Raises what a refused upload raises, as far as name and size can tell; PRECONDITION_FAILED where the store is a folder,
        TOO_MANY_REQUESTS when the caller has too many open ones.
        """
        incoming = self._incoming()
        filename, type_ = admit(principal, asked.filename, self._policy, asked.size)
        now = time.time()
        upload = DirectUpload(
            id=fresh_id(),
            organization_id=principal.organization_id,
            owner_id=principal.user_id,
            state="open",
            filename=filename,
            size=asked.size,
            sha256=None if asked.sha256 is None else base64.b64decode(asked.sha256),
            conversation_id=upload_conversation(principal, asked.conversation_id),
            ticket_id=None if asked.ticket_id is None else asked.ticket_id.lower(),
            multipart_id=None,
            part_bytes=None,
            expires_at=timestamp(now + self._expiry_s),
        )
        if await self._table.open(principal.organization_id, principal.user_id, timestamp(now)) >= self._max_open:
            raise self._too_many()
        plan = self._plan_form if asked.size <= incoming.part_bytes else self._plan_parts
        return await plan(incoming, upload, type_)

    async def _plan_form(self, incoming: Incoming, upload: DirectUpload, type_: FileType) -> FormUpload:
        await self._insert(upload)
        limits = FormLimits(upload.size, type_.content_type, upload.sha256)
        form = await incoming.sign_form(staging_key(upload), limits, self._expiry_s)
        return FormUpload(upload_id=upload.id, expires_at=upload.expires_at, url=form.url, fields=form.fields)

    async def _plan_parts(self, incoming: Incoming, upload: DirectUpload, type_: FileType) -> PartsUpload:
        least = math.ceil(upload.size / MAX_PARTS / MEBIBYTE) * MEBIBYTE
        part_bytes = max(incoming.part_bytes, least)
        key = staging_key(upload)
        multipart_id = await incoming.begin_parts(key, type_.content_type)
        try:
            await self._insert(msgspec.structs.replace(upload, multipart_id=multipart_id, part_bytes=part_bytes))
        except ServiceError:
            with contextlib.suppress(ServiceError):  # what stays is removed by sweep
                await incoming.abort_parts(key, multipart_id)
            raise
        sizes = part_sizes(upload.size, part_bytes)
        urls = await incoming.sign_parts(key, multipart_id, sizes, self._expiry_s)
        parts = [
            UploadPart(part_number=n, size=size, url=url) for n, (size, url) in enumerate(zip(sizes, urls, strict=True), 1)
        ]
        return PartsUpload(upload_id=upload.id, expires_at=upload.expires_at, part_size=part_bytes, parts=parts)

    async def _insert(self, upload: DirectUpload) -> None:
        if not await self._table.insert(upload, timestamp(), self._max_open):
            raise self._too_many()

    async def complete(self, principal: Principal, asked: CompleteUploadInput) -> Attachment:
        """Keep the file that was sent, and give its attachment, again and again if need be.

        Raises NOT_FOUND, PRECONDITION_FAILED when the file is not there whole, and what an upload of it would raise: after that
        the upload is over. Whoever asks while the same is under way gets its outcome.
        """
        attempt = (principal, asked.upload_id.lower(), tuple(asked.parts))
        task = self._attempts.get(attempt)
        if task is None:
            task = asyncio.ensure_future(self._complete(*attempt))
            self._attempts[attempt] = task
            task.add_done_callback(lambda done: self._end_attempt(attempt, done))
        return await asyncio.shield(task)

    def _end_attempt(self, attempt: _Attempt, task: asyncio.Task[Attachment]) -> None:
        del self._attempts[attempt]
        if not task.cancelled():
            task.exception()  # whoever waited may have gone: then nobody asks for it

    async def _complete(self, principal: Principal, id: str, sent: Sequence[SentPart]) -> Attachment:
        found = await self._table.find(id)  # first: completed between the two reads, it must not seem to be over
        kept = await self._kept(principal, id)
        if kept is None:
            upload = self._own(principal, found, id)
            if upload.state != "open":
                raise _not_found(id)
            try:
                kept = await self._keep(upload, sent)
            except ServiceError:
                kept = await self._kept(principal, id)  # by another attempt, which removed what this one needed
                if kept is None:
                    raise
        return kept.attachment()

    async def _keep(self, upload: DirectUpload, sent: Sequence[SentPart]) -> Record:
        incoming = self._incoming()
        type_ = self._policy.type_of(upload.filename)
        key = await seal(incoming, upload, sent, type_)
        try:
            sha256 = await inspect(self._blobs, upload, key, type_)
        except ServiceError as error:
            await self._remove([key])
            if error.code is not Code.SERVICE_UNAVAILABLE:
                await self._table.abort(upload.id)
                await self._remove([staging_key(upload)])
            raise
        record = Record(
            id=upload.id,
            organization_id=upload.organization_id,
            conversation_id=upload.conversation_id,
            ticket_id=upload.ticket_id,
            owner_id=upload.owner_id,
            filename=upload.filename,
            content_type=type_.content_type,
            size=upload.size,
            sha256=sha256,
            storage_path=key,
            created_at=timestamp(),
            deleted_at=None,
        )
        # If this fails the row may exist all the same: the bytes stay, and sweep removes them if no row came of it.
        if not await self._table.complete(record):
            await self._remove([key])
            raise _not_found(upload.id)
        await self._remove([staging_key(upload)])
        return record

    async def _remove(self, keys: list[str]) -> None:
        """Remove what nobody needs; what stays is removed by sweep."""
        with contextlib.suppress(ServiceError):
            await self._blobs.delete(keys)

    async def abort(self, principal: Principal, id: str) -> Aborted:
        """Give an upload up and remove what was sent. Raises NOT_FOUND, and CONFLICT when it is complete."""
        id = id.lower()
        upload = self._own(principal, await self._table.find(id), id)
        if not await self._table.abort(id) and await self._attachments.find(id) is not None:
            raise ServiceError(Code.CONFLICT, f'upload "{id}" is complete: delete the attachment of that id instead')
        if upload.multipart_id is not None:
            await self._incoming().abort_parts(staging_key(upload), upload.multipart_id)
        await self._blobs.delete([staging_key(upload)])
        return Aborted(success=True)

    async def forget_expired(self, *, grace_s: float, dry_run: bool) -> list[Leftover]:
        """Remove what nobody completes any more, so many seconds after it expired; see `storage.forgetting`."""
        incoming, before = self._blobs.incoming, time.time() - grace_s
        if incoming is None:
            return []
        return await forget_expired(self._table, self._blobs, incoming, before, dry_run=dry_run)

    async def aclose(self) -> None:
        """Give up what is being completed; its clients ask again."""
        attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)

    def _incoming(self) -> Incoming:
        if self._blobs.incoming is None:
            message = 'this server keeps files in a folder (upload.backend = "local"), which takes no direct uploads'
            raise ServiceError(Code.PRECONDITION_FAILED, f"{message}: use attachments.upload or POST /api/upload")
        return self._blobs.incoming

    def _too_many(self) -> ServiceError:
        message = f"there are {self._max_open} open uploads of yours (upload.direct_max_open): complete or abort some first"
        return ServiceError(Code.TOO_MANY_REQUESTS, message)

    def _own(self, principal: Principal, upload: DirectUpload | None, id: str) -> DirectUpload:
        ours = (principal.organization_id, principal.user_id)
        if upload is None or (upload.organization_id, upload.owner_id) != ours:
            raise _not_found(id)
        return upload

    async def _kept(self, principal: Principal, id: str) -> Record | None:
        """The attachment that the caller's upload of that id became."""
        record = await self._attachments.find(id)
        if record is None or record.deleted_at is not None:
            return None
        ours = (principal.organization_id, principal.user_id)
        return record if (record.organization_id, record.owner_id) == ours else None


def _not_found(id: str) -> ServiceError:
    return ServiceError(Code.NOT_FOUND, f'upload "{id}" not found: it never was, was given up or refused, or has expired')
