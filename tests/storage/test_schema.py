"""Migrations: the newest file is the one that is asked for, many may migrate at once, and rows come along."""

import contextlib
import sqlite3
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from schemas import Attachment, PageInput
from storage import Details, fresh_id, migrate, open_store, schema_is_current
from storage.catalog import schema
from tests.storage.conftest import caller, keep

VERSIONS = Path(schema.__file__).with_name("migrations") / "versions"


def test_head_is_the_newest_migration() -> None:
    assert max(path.name for path in VERSIONS.glob("*.py")).startswith(f"{schema.HEAD}_")


async def test_migrating_creates_and_then_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/er/a.db"
    assert not await schema_is_current(url)
    migrate(url)
    assert await schema_is_current(url)
    migrate(url)
    assert await schema_is_current(url)


async def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    code = f"from storage import migrate; migrate({url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(300) for process in processes] == [0, 0, 0, 0]
    assert await schema_is_current(url)


def test_serving_needs_neither_alembic_nor_sqlalchemy() -> None:
    code = "import sys, storage; assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


CONVERSATION = "0190a000-0000-7000-8000-000000000001"
ROW = (
    "INSERT INTO attachments (id, organization_id, conversation_id, owner_id, filename, content_type, size, sha256,"
    " storage_path, created_at, deleted_at) VALUES (?, ?, ?, 'user-1', ?, 'image/png', ?, x'00', ?, ?, ?)"
)
EVENT = "INSERT INTO events (kind, attachment_id, organization_id, conversation_id, created_at) VALUES ('created', ?, ?, ?, ?)"


def database_of_schema_1(path: Path) -> None:
    """A database as the first release left it, with attachments of two organizations, one of them deleted."""
    spec = spec_from_file_location("first", VERSIONS / "0001_attachments.py")
    assert spec is not None
    assert spec.loader is not None
    first = module_from_spec(spec)
    spec.loader.exec_module(first)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in first._STATEMENTS:  # noqa: SLF001 (there is no other copy of that schema)
            connection.execute(statement)
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        for number, (organization, deleted) in enumerate(
            [("org-1", None), ("org-1", None), ("org-1", "2026"), ("org-2", None)]
        ):
            id, created = f"0190a000-0000-7000-8000-00000000010{number}", f"2026-01-01T00:00:0{number}.000Z"
            connection.execute(ROW, (id, organization, CONVERSATION, f"{number}.png", 10 + number, id, created, deleted))
            connection.execute(EVENT, (id, organization, CONVERSATION, created))


async def test_a_database_of_the_first_schema_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    database_of_schema_1(path)
    url = f"sqlite:///{path}"
    assert not await schema_is_current(url)
    migrate(url)
    assert await schema_is_current(url)
    async with await open_store(database_url=url, directory=tmp_path / "blobs") as store:
        attachments = store.attachments
        assert [item.filename for item in await attachments.list(caller(), CONVERSATION)] == ["0.png", "1.png"]
        assert [item.filename for item in (await attachments.page(caller(), PageInput())).items] == ["1.png", "0.png"]
        usage = await attachments.usage(caller())
        assert (usage.count, usage.bytes) == (2, 21)
        await keep(attachments, conversation=CONVERSATION)
        assert (await attachments.usage(caller())).count == 3
        changes = attachments.changes(caller(), CONVERSATION, "0")
        ids = [(await anext(changes)).id for _ in range(4)]
        assert ids == ["1", "2", "3", "5"]
        await changes.aclose()


def test_migrating_leaves_what_a_fresh_database_has(tmp_path: Path) -> None:
    database_of_schema_1(tmp_path / "old.db")
    for name in ("old", "new"):
        migrate(f"sqlite:///{tmp_path}/{name}.db")
    assert schema_of(tmp_path / "old.db") == schema_of(tmp_path / "new.db")


def schema_of(path: Path) -> set[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE name != 'alembic_version' AND sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in found}


OLD_ROW = (
    "INSERT INTO attachments (id, organization_id, owner_id, filename, content_type, size, sha256, storage_path, created_at)"
    " VALUES (?, 'org-1', 'user-1', 'a.png', 'image/png', 3, ?, 'attachments/org-1/x', '2024-01-15T10:30:00.000Z')"
)


async def test_rows_from_before_the_other_apis_come_along(tmp_path: Path) -> None:
    path, id = tmp_path / "a.db", fresh_id()
    url = f"sqlite:///{path}"
    migrate(url, "0002")
    assert not await schema_is_current(url)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(OLD_ROW, (id, bytes(32)))
    migrate(url)
    async with await open_store(database_url=url, directory=tmp_path / "blobs") as store:
        found = await store.attachments.get(caller(), id)
        assert isinstance(found, Attachment)
        assert (found.filename, found.content_type, found.size) == ("a.png", "image/png", 3)
        record = (await store.attachments.download(caller(), id)).record
        assert (record.scope, record.inline, record.file_key) == (None, False, None)
        newer = await keep(store.attachments)
        page = await store.attachments.page(caller(), PageInput())
        assert [item.id for item in page.items] == [newer, id]
        async with store.attachments.upload(caller(), "b.txt", store.attachments.policy) as upload:
            await upload.write(b"hello")
            details = Details(scope="somebody", inline=True, folder="uploads", capability_hash=b"h" * 32)
            kept = await upload.commit(details)
        again = (await store.attachments.download(caller(), kept.id)).record
        assert again == kept
        assert (again.scope, again.inline, again.file_key) == ("somebody", True, f"uploads/{kept.id}/b.txt")


async def test_names_from_before_the_search_column_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    url = f"sqlite:///{path}"
    migrate(url, "0005")
    names = ["STRASSE.png", "Stra\N{LATIN SMALL LETTER SHARP S}e.png", "other.png"]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for name in names:
            id = fresh_id()
            row = OLD_ROW.replace("'a.png'", "?").replace("'attachments/org-1/x'", "?")
            connection.execute(row, (id, name, bytes(32), f"attachments/org-1/{id}"))
    migrate(url)
    async with await open_store(database_url=url, directory=tmp_path / "blobs") as store:
        page = await store.attachments.page(caller(), PageInput(filename="strasse", sort="filename", order="asc"))
        assert [item.filename for item in page.items] == names[:2]
