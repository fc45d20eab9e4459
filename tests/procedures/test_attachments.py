"""The procedures called from Python through their middleware and decoding, with their outputs checked against their types."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from procedures import Context, Procedures, app_router
from schemas import (
    AttachInput,
    Attachment,
    ChangeInput,
    Code,
    Page,
    PageInput,
    Principal,
    RenameInput,
    ServiceError,
    SignedUrl,
    Tracked,
    UploadLimits,
    UrlInput,
    Usage,
)
from storage import API_A, Attachments, Store
from tests.engines.backing import Backing

CONVERSATION = "0190a000-0000-7000-8000-000000000001"
MISSING = "0190a000-0000-7000-8000-0000000000ff"
OWNER = Principal(kind="session", user_id="user-1", organization_id="org-1", role="member")
ADMIN = Principal(kind="session", user_id="user-2", organization_id="org-1", role="admin")


@pytest.fixture
async def store(backing: Backing) -> AsyncIterator[Store]:
    async with await backing.open_store() as opened:
        yield opened


@pytest.fixture(scope="module")
def procedures() -> Procedures:
    return app_router().freeze(check_outputs=True)


async def keep(attachments: Attachments) -> str:
    async with attachments.upload(OWNER, "a.txt", API_A) as upload:
        await upload.write(b"text")
        return (await upload.commit()).id


async def test_the_family_in_one_life(store: Store, procedures: Procedures) -> None:
    member, admin = Context(store.attachments, OWNER), Context(store.attachments, ADMIN)
    id = await keep(store.attachments)
    attached = await procedures.call("attachments.attach", AttachInput(ids=[id], conversation_id=CONVERSATION), ctx=member)
    assert [item.conversation_id for item in attached.items] == [CONVERSATION]
    renamed = await procedures.call("attachments.rename", RenameInput(id=id, filename="b.txt"), ctx=member)
    assert isinstance(renamed, Attachment)
    page = await procedures.call("attachments.page", PageInput(conversation_id=CONVERSATION), ctx=member)
    assert isinstance(page, Page)
    assert [item.filename for item in page.items] == ["b.txt"]
    assert await procedures.call("attachments.usage", ctx=member) == Usage(count=1, bytes=4)
    assert isinstance(await procedures.call("attachments.limits", ctx=member), UploadLimits)
    assert isinstance(await procedures.call("attachments.url", UrlInput(id=id, download=True), ctx=member), SignedUrl)
    found = await procedures.call("attachments.getMany", {"ids": [id, MISSING]}, ctx=member)
    assert (found.items, found.missing) == ([renamed], [MISSING])
    await procedures.call("attachments.delete", {"id": id}, ctx=member)
    assert await procedures.call("attachments.restore", {"id": id}, ctx=admin) == renamed
    changes = await procedures.call("attachments.onChange", {"conversationId": CONVERSATION, "lastEventId": "0"}, ctx=member)
    async with contextlib.aclosing(changes):
        told = [await anext(changes) for _ in range(4)]
    assert [change.data.type for change in told] == ["attached", "renamed", "deleted", "restored"]


async def test_a_subscription_begins_when_it_is_asked_and_ends_when_it_is_closed(store: Store, procedures: Procedures) -> None:
    member = Context(store.attachments, OWNER)
    changes = await procedures.call("attachments.onChange", ChangeInput(conversation_id=CONVERSATION), ctx=member)
    async with contextlib.aclosing(changes):
        ready = await anext(changes)
        assert isinstance(ready, Tracked)
        assert (ready.id, ready.data.type, ready.data.conversation_id) == ("0", "ready", CONVERSATION)
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


@pytest.mark.parametrize(
    ("path", "input"),
    [
        ("attachments.getMany", {"ids": [MISSING]}),
        ("attachments.page", {}),
        ("attachments.limits", None),
        ("attachments.usage", None),
        ("attachments.url", {"id": MISSING}),
        ("attachments.attach", {"ids": [MISSING], "conversationId": CONVERSATION}),
        ("attachments.rename", {"id": MISSING, "filename": "a.txt"}),
        ("attachments.restore", {"id": MISSING}),
        ("attachments.onChange", {"conversationId": CONVERSATION}),
    ],
)
async def test_nobody_is_told_anything(store: Store, procedures: Procedures, path: str, input: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        await procedures.call(path, input, ctx=Context(store.attachments, None))
    assert caught.value.code is Code.UNAUTHORIZED
