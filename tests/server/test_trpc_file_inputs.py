"""Procedures of other people that take files: what they do with the body, or leave undone, does not hurt the connection."""

import logging
from pathlib import Path

import pytest

from procedures import Context, FileInput, Router
from schemas import Code, Principal, ServiceError
from storage import Upload, fresh_id
from tests.rest.live import PNG
from tests.server.streaming import Live, serving

OCTETS = "Content-Type: application/octet-stream"
SOMEBODY = Principal(kind="key", user_id=fresh_id(), organization_id=fresh_id(), role="member")
router = Router()


@router.mutation()
async def ignore(ctx: Context, input: FileInput) -> str:
    """Does not read the file."""
    return "ignored"


@router.mutation()
async def refuse(ctx: Context, input: FileInput) -> str:
    """Refuses the file unread."""
    raise ServiceError(Code.CONFLICT, "not now")


@router.mutation()
async def without(ctx: Context) -> str:
    """Takes no input at all."""
    return "nothing taken"


@router.mutation()
async def twice(ctx: Context, input: FileInput) -> str:
    """Reads the file twice, which is a mistake of its author."""

    def begin(filename: str, least_bytes: int | None) -> Upload:
        return ctx.attachments.upload(SOMEBODY, filename, ctx.attachments.policy, least_bytes)

    await input.store(begin)
    await input.store(begin)
    return "stored"


async def call(live: Live, path: str) -> tuple[int, str | None, object]:
    """Status, `connection` and data or error message of a file that is sent to that procedure."""
    answer = await live.request("POST", path, OCTETS, "X-Attachd-Filename: a.png", body=PNG)
    body = await answer.json()
    data = body["result"]["data"]["json"] if "result" in body else body["error"]["json"]["message"]
    return answer.status, answer.headers.get("connection"), data


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "status", "said"), [("ignore", 200, "ignored"), ("refuse", 409, "not now"), ("without", 200, "nothing taken")]
)
async def test_a_file_that_is_not_read_ends_the_connection(tmp_path: Path, path: str, status: int, said: str) -> None:
    async with serving(tmp_path, router) as live:
        assert await call(live, path) == (status, "close", said)


@pytest.mark.anyio
async def test_a_file_that_is_read_twice_is_a_mistake_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path, router) as live:
        with caplog.at_level(logging.ERROR):
            assert await call(live, "twice") == (500, None, "Internal server error")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a procedure stored its file twice: the body is read only once"
