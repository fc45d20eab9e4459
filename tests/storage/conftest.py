"""A real store in a temporary folder, and callers of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from schemas import Principal, Role
from storage import API_A, Attachments, Details, Store, fresh_id, migrate
from tests.engines.backing import BLOBS, Backing
from tests.engines.s3 import SharedS3
from tests.storage.direct_site import Site

T = TypeVar("T")
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


async def comes_to(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], within_s: float = 60.0) -> T:
    """What `ask` gives, asked again until that holds; the assertion shows what it gave at last."""
    end = asyncio.get_running_loop().time() + within_s
    while not holds(found := await ask()):
        assert asyncio.get_running_loop().time() < end, found
        await asyncio.sleep(0.01)
    return found


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
