"""Many at once, attaching, renaming, restoring, usage and limits: the rules, and what happens when two are at it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import Attachment, Code, Principal, ServiceError
from storage import API_A, Attachments, Details, Options, Store, fresh_id, timestamp
from storage.catalog import UpkeepTable
from tests.engines.backing import Backing, fresh_backing
from tests.storage.conftest import PNG, caller, keep

CONVERSATION, OTHER = "0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002"
OWNER, COLLEAGUE, ADMIN = caller(), caller(user_id="user-2"), caller(user_id="user-3", role="admin")
STRANGER, FOREIGN_ADMIN = caller("org-2"), caller("org-2", role="admin")
WHO = {"owner": OWNER, "colleague": COLLEAGUE, "admin": ADMIN, "stranger": STRANGER, "foreign-admin": FOREIGN_ADMIN}


async def code_of(awaitable: Awaitable[object]) -> Code | None:
    try:
        await awaitable
    except ServiceError as error:
        return error.code
    return None


async def loose(attachments: Attachments, name: str = "a.png", who: Principal = OWNER) -> str:
    """An attachment without a conversation."""
    async with attachments.upload(who, name, API_A) as upload:
        await upload.write(PNG if name.endswith("g") else b"text")
        return (await upload.commit()).id


async def test_many_are_given_in_the_order_asked_each_once(store: Store) -> None:
    attachments = store.attachments
    ids = [await keep(attachments) for _ in range(4)]
    foreign, unknown = await keep(attachments, who=STRANGER), fresh_id()
    await attachments.delete(OWNER, ids[3])
    asked = [ids[2], unknown, ids[0].upper(), foreign, ids[2], ids[3]]
    found = await attachments.get_many(OWNER, asked)
    assert [item.id for item in found.items] == [ids[2], ids[0]]
    assert found.items[0] == await attachments.get(OWNER, ids[2])
    assert found.missing == [unknown, foreign, ids[3]]
    seen_by_admin = await attachments.get_many(ADMIN, asked)
    assert [item.id for item in seen_by_admin.items] == [ids[2], ids[0], ids[3]]
    assert isinstance(seen_by_admin.items[2].deleted_at, str)


async def test_attaching_is_all_or_nothing(store: Store, backing: Backing) -> None:
    attachments = store.attachments
    mine = [await loose(attachments) for _ in range(3)]
    theirs, linked, deleted = await loose(attachments, who=COLLEAGUE), await keep(attachments), await loose(attachments)
    await attachments.delete(OWNER, deleted)
    foreign = await loose(attachments, who=STRANGER)
    for wrong, code in (
        (theirs, Code.FORBIDDEN),
        (linked, Code.CONFLICT),
        (deleted, Code.NOT_FOUND),
        (foreign, Code.NOT_FOUND),
        (fresh_id(), Code.NOT_FOUND),
    ):
        with pytest.raises(ServiceError, match=wrong) as caught:
            await attachments.attach(OWNER, [mine[0], mine[1], wrong, mine[2]], CONVERSATION)
        assert caught.value.code is code
        assert await attachments.list(OWNER, CONVERSATION) == []
    assert kinds(backing).count("attached") == 0
    attached = await attachments.attach(OWNER, [mine[2], mine[0], mine[2].upper(), mine[1]], CONVERSATION.upper())
    assert [item.id for item in attached.items] == [mine[2], mine[0], mine[1]]
    listed = await attachments.list(OWNER, CONVERSATION)
    assert sorted(attached.items, key=lambda item: (item.created_at, item.id)) == listed
    assert kinds(backing).count("attached") == 3


def kinds(backing: Backing) -> list[str]:
    return [kind for (kind,) in backing.query("SELECT kind FROM events ORDER BY id")]


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", None),
        ("admin", Code.FORBIDDEN),  # what is not its own stays where its owner wants it
        ("colleague", Code.FORBIDDEN),
        ("stranger", Code.NOT_FOUND),
        ("foreign-admin", Code.NOT_FOUND),
    ],
)
async def test_who_may_attach(store: Store, who: str, expected: Code | None) -> None:
    id = await loose(store.attachments)
    assert await code_of(store.attachments.attach(WHO[who], [id], CONVERSATION)) is expected


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", None),
        ("admin", None),
        ("colleague", Code.FORBIDDEN),
        ("stranger", Code.NOT_FOUND),
        ("foreign-admin", Code.NOT_FOUND),
    ],
)
async def test_who_may_rename(store: Store, who: str, expected: Code | None) -> None:
    id = await keep(store.attachments)
    assert await code_of(store.attachments.rename(WHO[who], id.upper(), "b.png")) is expected


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", Code.FORBIDDEN),
        ("admin", None),
        ("colleague", Code.FORBIDDEN),
        ("stranger", Code.FORBIDDEN),
        ("foreign-admin", Code.NOT_FOUND),
    ],
)
async def test_who_may_restore(store: Store, who: str, expected: Code | None) -> None:
    id = await keep(store.attachments, conversation=CONVERSATION)
    await store.attachments.delete(OWNER, id)
    assert await code_of(store.attachments.restore(WHO[who], id.upper())) is expected


@pytest.mark.parametrize(
    ("name", "filename", "message"),
    [
        ("a.png", "Neuer Name 1.PNG", None),
        ("a.jpg", "a.jpeg", None),
        ("a.png", "a.jpg", r"the file is image/png: its name must end in \.png"),
        ("a.jpg", "a.png", r"the file is image/jpeg: its name must end in \.jpg or \.jpeg"),
        ("a.png", "a.exe", "must end in"),
        ("a.png", "a", "must end in"),
        ("a.txt", "a.csv", "must end in"),
        ("a.png", "../a.png", "slash"),
        ("a.png", "a\u202e.png", "control or text-direction"),
        ("a.png", "", "no name"),
        ("a.png", "x" * 252 + ".png", "exceeds 255 bytes"),
        ("a.png", "x" * 251 + ".png", None),
    ],
)
async def test_names_that_a_file_may_get(store: Store, name: str, filename: str, message: str | None) -> None:
    content = {"png": PNG, "jpg": b"\xff\xd8\xff\xe0", "txt": b"text"}[name.rpartition(".")[2]]
    id = await keep(store.attachments, content, name)
    if message is None:
        assert (await store.attachments.rename(OWNER, id, filename)).filename == filename
        async with await store.attachments.download(OWNER, id) as download:
            assert download.record.filename == filename
    else:
        with pytest.raises(ServiceError, match=message) as caught:
            await store.attachments.rename(OWNER, id, filename)
        assert caught.value.code is Code.BAD_REQUEST
        assert (await store.attachments.get(OWNER, id)).filename == name


async def test_what_is_restored_is_as_it_was(store: Store) -> None:
    id = await keep(store.attachments, conversation=CONVERSATION)
    before = await store.attachments.get(OWNER, id)
    await store.attachments.delete(OWNER, id)
    assert await store.attachments.restore(ADMIN, id) == before
    assert await store.attachments.get(OWNER, id) == before
    async with await store.attachments.download(OWNER, id) as download:
        assert await download.read(0, 8) == PNG
    for wrong in (id, fresh_id()):
        assert await code_of(store.attachments.restore(ADMIN, wrong)) is Code.NOT_FOUND


async def test_what_was_deleted_too_long_ago_stays_deleted(backing: Backing) -> None:
    options = Options(retention_s=0.05)
    async with await backing.open_store(options=options) as store:
        id = await keep(store.attachments)
        await store.attachments.delete(OWNER, id)
        await asyncio.sleep(0.06)
        with pytest.raises(ServiceError, match=r"sweep\.retention_days") as caught:
            await store.attachments.restore(ADMIN, id)
        assert caught.value.code is Code.PRECONDITION_FAILED


async def test_a_sweep_spares_what_was_restored_after_it_had_looked(store: Store, backing: Backing) -> None:
    database = await backing.open_database()
    table = UpkeepTable(database)
    ids = [await keep(store.attachments) for _ in range(2)]
    for id in ids:
        await store.attachments.delete(OWNER, id)
    before = timestamp(4e9)
    found = await table.deleted_before(before, ("", ""), 10)
    await store.attachments.restore(ADMIN, ids[0])
    assert [record.id for record in await table.purge(found, before)] == ids[1:]
    await database.aclose()
    assert (await store.attachments.get(OWNER, ids[0])).id == ids[0]
    assert len(backing.bytes.kept()) == 2


Attempt = Callable[[Attachments, str], Awaitable[object]]
RACES: dict[str, tuple[Attempt, Attempt]] = {
    "attach-twice": (lambda a, one: a.attach(OWNER, [one], CONVERSATION), lambda a, one: a.attach(OWNER, [one], OTHER)),
    "delete-twice": (lambda a, one: a.delete(OWNER, one), lambda a, one: a.delete(ADMIN, one)),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES.keys())
async def test_of_two_at_once_one_wins(store: Store, backing: Backing, race: tuple[Attempt, Attempt]) -> None:
    """Also of two processes: each store has a writer of its own."""
    async with await backing.open_store() as other:
        for _ in range(20):
            id = await loose(store.attachments)
            pairs = zip((store, other), race, strict=True)
            codes = await asyncio.gather(*(code_of(attempt(one.attachments, id)) for one, attempt in pairs))
            assert sorted(code is None for code in codes) == [False, True]


async def test_a_deletion_and_a_change_leave_one_of_two_orders(store: Store, backing: Backing) -> None:
    async with await backing.open_store() as other:
        for _ in range(20):
            id = await loose(store.attachments)
            renamed, deleted, attached = await asyncio.gather(
                code_of(store.attachments.rename(OWNER, id, "b.png")),
                code_of(other.attachments.delete(OWNER, id)),
                code_of(store.attachments.attach(OWNER, [id], CONVERSATION)),
            )
            assert deleted is None
            assert {renamed, attached} <= {None, Code.NOT_FOUND}
            seen = await store.attachments.get(ADMIN, id)
            assert (seen.filename == "b.png", seen.conversation_id == CONVERSATION) == (renamed is None, attached is None)
            told = told_of(backing, id)
            assert told[-1][0] == "deleted"  # nothing is changed behind it
            assert told[-1][1] == seen.conversation_id  # and those who follow the conversation are told


def told_of(backing: Backing, id: str) -> list[tuple[str, str | None]]:
    return backing.query("SELECT kind, conversation_id FROM events WHERE attachment_id = ? ORDER BY id", id)


async def test_usage_of_nothing(store: Store) -> None:
    usage = await store.attachments.usage(OWNER)
    assert (usage.count, usage.bytes) == (0, 0)


OPERATIONS = st.tuples(st.sampled_from(["keep", "delete", "restore", "rename", "sweep"]), st.integers(0, 5), st.integers(0, 1))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=st.lists(OPERATIONS, max_size=15))
def test_usage_counts_what_is_there_whatever_happened(tmp_path: Path, operations: list[tuple[str, int, int]]) -> None:
    with fresh_backing(tmp_path) as backing:
        asyncio.run(operate(backing, operations))


async def operate(backing: Backing, operations: list[tuple[str, int, int]]) -> None:
    kept: list[tuple[str, str]] = []
    async with await backing.open_store() as store:
        for operation, number, organization in operations:
            owner = caller(f"org-{organization}", role="admin")
            id, name = kept[number % len(kept)] if kept else (fresh_id(), "a.png")
            match operation:
                case "keep":
                    kept.append((await keep(store.attachments, PNG + bytes(number), who=owner), owner.organization_id))
                case "delete":
                    await code_of(store.attachments.delete(caller(name, role="admin"), id))
                case "restore":
                    await code_of(store.attachments.restore(caller(name, role="admin"), id))
                case "rename":
                    await code_of(store.attachments.rename(owner, id, "b.png"))
                case _:
                    await store.sweep(grace_s=3600, retention_s=0, unlinked_s=0, dry_run=False)
        for name in ("org-0", "org-1"):
            usage = await store.attachments.usage(caller(name))
            assert (usage.count, usage.bytes) == counted(backing, name)


def counted(backing: Backing, organization: str) -> tuple[int, int]:
    sql = "SELECT count(*), coalesce(sum(size), 0) FROM attachments WHERE organization_id = ? AND deleted_at IS NULL"
    ((count, size),) = backing.query(sql, organization)
    return count, int(size)


async def test_limits_are_those_of_the_policy(store: Store) -> None:
    limits = await store.attachments.limits()
    assert {type_.extension: (type_.content_type, type_.max_bytes) for type_ in limits.types} == {
        extension: (type_.content_type, type_.max_bytes) for extension, type_ in API_A.types.items()
    }
    assert limits.accept.split(",") == [f".{extension}" for extension in API_A.types]
    assert (limits.max_bytes, limits.max_batch_size, limits.max_filename_bytes, limits.max_ids) == (25 * 2**20, 100, 255, 100)


async def test_ids_of_every_api_are_kept_in_lower_case(store: Store) -> None:
    async with store.attachments.upload(OWNER, "a.png", API_A) as upload:
        await upload.write(PNG)
        record = await upload.commit(Details(conversation_id=CONVERSATION.upper(), ticket_id=OTHER.upper()))
    assert (record.conversation_id, record.ticket_id) == (CONVERSATION, OTHER)
    (item,) = await store.attachments.list(OWNER, CONVERSATION)
    assert item == record.item()
    assert isinstance(await store.attachments.get(OWNER, record.id), Attachment)
