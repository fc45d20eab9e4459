"""What `attachments.get` costs without sockets: the ASGI application is called in this process, with the server's extensions.

    python benchmarks/in_process.py [calls]

One core, the fastest and the median of rounds of 2,000 calls, in microseconds each. It is for comparing two versions of what is
on the path of every call, metrics and traces among them: settings come from the environment, as those of the server do.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import uvloop

from rest import WHOLE_ANSWER
from schemas import Principal
from server.app import App
from server.migration import ensure_schema
from server.settings import load_settings
from storage import API_A, Store

CALLS = 60_000
ROUND = 2_000


async def prepared(store: Store) -> tuple[bytes, str]:
    """The cookie of a session, and the id of an attachment that it may see."""
    user, organization = str(uuid.uuid4()), str(uuid.uuid4())
    token = await store.credentials.create_session(user_id=user, organization_id=organization, role="member", ttl_s=3600)
    principal = Principal(kind="session", user_id=user, organization_id=organization, role="member")
    async with store.attachments.upload(principal, "note.txt", API_A, 5) as upload:
        await upload.write(b"hello")
        record = await upload.commit()
    return f"session={token}".encode(), record.id


async def serve(app: App) -> tuple[asyncio.Queue[dict[str, Any]], asyncio.Task[None]]:
    """The application after its start; a message ends it."""
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    started = asyncio.Event()

    async def send(_message: Any) -> None:
        started.set()

    task = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
    await messages.put({"type": "lifespan.startup"})
    await started.wait()
    return messages, task


async def measure(folder: Path, count: int) -> list[float]:
    """Microseconds of a call, a figure for each round."""
    settings = load_settings(
        None, None, {"database.url": f"sqlite:///{folder}/x.db", "upload.directory": str(folder / "blobs")}
    )
    await ensure_schema(settings.database.url)
    app = App(settings, ())
    messages, task = await serve(app)
    store = app._store  # noqa: SLF001 (what the server itself never hands out)
    assert store is not None
    cookie, id = await prepared(store)
    sent: list[bytes] = []

    async def whole(status: int, _headers: bytes, body: bytes) -> None:
        assert status == 200, body
        sent.append(body)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    query = f'input={{"json":{{"id":"{id}"}}}}'.replace('"', "%22").encode()
    headers = [(b"host", b"127.0.0.1:8080"), (b"cookie", cookie), (b"accept", b"*/*"), (b"user-agent", b"bench")]
    figures = []
    for _ in range(count // ROUND):
        sent.clear()
        begun = time.perf_counter()
        for _ in range(ROUND):
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/api/trpc/attachments.get",
                "raw_path": b"/api/trpc/attachments.get",
                "query_string": query,
                "headers": headers,
                "extensions": {WHOLE_ANSWER: whole},
            }
            await app(scope, receive, send)
        figures.append((time.perf_counter() - begun) / ROUND * 1e6)
        assert len(sent) == ROUND
        await asyncio.sleep(0)
    await messages.put({"type": "lifespan.shutdown"})
    await task
    return figures


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(Path(folder), count))
    print(f"{min(figures):.2f} us at best, {statistics.median(figures):.2f} in the median of {len(figures)} rounds")


if __name__ == "__main__":
    main()
