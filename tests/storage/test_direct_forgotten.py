"""Direct uploads that nobody completes: what stays of them, until when, and what removes it."""

import os

from schemas import Code, CompleteUploadInput, FormUpload, PartsUpload
from storage import Store
from tests.storage.direct_site import ME, PART, Site, plan, read
from tests.storage.sending import form_answer, part_answer, send
from tests.storage.test_direct import LARGE, SMALL, refusal

HOURS_AGO = -7200.0  # a grace time that lets what expires in an hour be old now


async def forget(store: Store, grace_s: float = HOURS_AGO, *, dry_run: bool = False) -> list[str]:
    leftovers = await store.attachments.direct.forget_expired(grace_s=grace_s, dry_run=dry_run)
    return sorted(leftover.key for leftover in leftovers)


def key(planned: FormUpload | PartsUpload) -> str:
    return f"incoming/{ME.organization_id}/{planned.upload_id}"


async def test_expired_uploads_are_forgotten_with_all_that_was_sent(on_s3: Store, site: Site) -> None:
    """In three states: nothing sent, a form, a part of two."""
    plans = [await plan(on_s3, size) for size in (1, len(SMALL), len(LARGE))]
    asked = send(plans[1], SMALL)
    assert part_answer(plans[2], 1, LARGE[:PART]).is_success
    keys = sorted(map(key, plans[1:]))
    assert await forget(on_s3, 0.0) == []
    assert await forget(on_s3, dry_run=True) == keys
    assert (site.keys(), site.unfinished()) == ([key(plans[1])], [key(plans[2])])
    assert await forget(on_s3) == keys
    assert site.is_empty()
    assert await forget(on_s3) == []
    assert (await refusal(on_s3, asked)).code is Code.NOT_FOUND
    assert part_answer(plans[2], 2, LARGE[PART:]).status_code == 404


async def test_what_is_sent_after_an_upload_is_over_goes_too(on_s3: Store, site: Site) -> None:
    completed, aborted = await plan(on_s3, len(SMALL)), await plan(on_s3, len(SMALL))
    attachment = await on_s3.attachments.direct.complete(ME, send(completed, SMALL))
    await on_s3.attachments.direct.abort(ME, aborted.upload_id)
    for planned in (completed, aborted):
        assert form_answer(planned, os.urandom(len(SMALL))).is_success
    assert len(site.keys()) == 3
    assert await forget(on_s3) == sorted([key(completed), key(aborted)])
    assert site.keys() == [attachment.storage_path]
    assert await read(on_s3, attachment.id) == SMALL
    assert await on_s3.attachments.direct.complete(ME, CompleteUploadInput(upload_id=attachment.id)) == attachment


async def test_what_no_upload_is_known_of_goes_after_the_grace_time(on_s3: Store, site: Site) -> None:
    """As after a restored database: the row is gone, or not there yet."""
    form, parts = await plan(on_s3, len(SMALL)), await plan(on_s3, len(LARGE))
    await forget(on_s3)
    site.put(key(form), SMALL)
    site.begin_parts(key(parts))
    assert await forget(on_s3, 3600.0) == []
    assert await forget(on_s3, dry_run=True) == sorted([key(form), key(parts)])
    assert (len(site.keys()), len(site.unfinished())) == (1, 1)
    assert await forget(on_s3) == sorted([key(form), key(parts)])
    assert site.is_empty()


async def test_a_sweep_forgets_them(on_s3: Store, site: Site) -> None:
    """And leaves alone what is still under way, however old it is."""
    old, fresh = await plan(on_s3, len(SMALL)), await plan(on_s3, len(SMALL))
    send(old, SMALL)
    asked = send(fresh, SMALL)
    report = await on_s3.sweep(grace_s=0, quarantine_s=0, retention_s=0, unlinked_s=0, dry_run=False)
    assert report.orphans == []
    assert (await on_s3.attachments.direct.complete(ME, asked)).size == len(SMALL)
    report = await on_s3.sweep(grace_s=HOURS_AGO, quarantine_s=0, retention_s=0, unlinked_s=0, dry_run=False)
    assert (report.orphans, report.orphan_bytes) == ([key(old)], len(SMALL))
