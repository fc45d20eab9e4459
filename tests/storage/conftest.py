"""A real store in a temporary folder, and callers of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import Principal, Role
from storage import API_A, Attachments, Details, Store, fresh_id, migrate
from tests.engines.backing import BLOBS, Backing
from tests.engines.s3 import SharedS3
from tests.storage.direct_site import Site

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with the newest schema, to copy: migrating takes longer than a test."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(backing: Backing) -> str:
    """A database of the test's own."""
    return backing.database_url


@pytest.fixture
def directory(backing: Backing) -> Path:
    """A folder for bytes of the test's own."""
    return backing.folder / BLOBS


@pytest.fixture
async def store(backing: Backing) -> AsyncIterator[Store]:
    """An open store."""
    async with await backing.open_store() as opened:
        yield opened


def caller(organization_id: str = "org-1", user_id: str = "user-1", role: Role = "member") -> Principal:
    """Somebody who asks."""
    return Principal(kind="session", user_id=user_id, organization_id=organization_id, role=role)


async def keep(
    attachments: Attachments,
    content: bytes = PNG + b"x",
    name: str = "a.png",
    who: Principal | None = None,
    conversation: str = "",
) -> str:
    """Upload a file whole; gives its id."""
    async with attachments.upload(who or caller(), name, API_A) as upload:
        await upload.write(content)
        return (await upload.commit(Details(conversation_id=conversation or fresh_id()))).id


def files(directory: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def site(s3: SharedS3, database_url: str) -> Site:
    """A part of the bucket of the test's own, and a database."""
    return Site(s3, database_url)


@pytest.fixture
async def on_s3(site: Site) -> AsyncIterator[Store]:
    """An open store on it."""
    async with await site.open() as opened:
        yield opened
