"""What is done at one server is seen at the other at once."""

import hashlib
import json
import time
import uuid
from typing import Any

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import CACHE_S
from tests.running import Attachd

pytestmark = pytest.mark.only_on("postgresql", "s3", reason="what several machines share")

SLOW_S = 8.0  # what a machine that stalls may add; without the setting a session is remembered for longer
CONTENT = b"%PDF-1.7\n" + bytes(range(256)) * 40_000  # more than one part of S3


@pytest.fixture(params=["one-two", "two-one"])
def pair(request: pytest.FixtureRequest, cluster: Cluster) -> tuple[Attachd, Attachd]:
    """Where something is done, and where it is looked at."""
    return cluster.both if request.param == "one-two" else (cluster.two, cluster.one)


def call(client: httpx.Client, path: str, input: object, *, mutation: bool = False) -> Any:
    """The output of a procedure."""
    url = f"/api/trpc/{path}"
    reply = client.post(url, json=input) if mutation else client.get(url, params={"input": json.dumps(input)})
    assert reply.status_code == 200, reply.text
    return reply.json()["result"]["data"]["json"]


def upload(client: httpx.Client, conversation: str, name: str = "a.pdf", content: bytes = CONTENT) -> dict[str, Any]:
    reply = client.post("/api/upload", files={"file": (name, content)}, data={"conversationId": conversation})
    assert reply.status_code == 200, reply.text
    stored: dict[str, Any] = reply.json()
    return stored


def test_the_life_of_an_attachment(pair: tuple[Attachd, Attachd]) -> None:
    here, there = pair
    conversation = str(uuid.uuid4())
    with here.client() as mine, there.client() as yours, there.client("admin") as admin:
        stored = upload(mine, conversation)
        id = stored["id"]
        assert [item["id"] for item in call(yours, "attachments.list", {"conversationId": conversation})] == [id]
        assert call(yours, "attachments.get", {"id": id}) == call(mine, "attachments.get", {"id": id})
        page = call(yours, "attachments.page", {"conversationId": conversation})
        assert [item["id"] for item in page["items"]] == [id]
        path = f"/api/attachments/{id}/download"
        whole = yours.get(path)
        assert (whole.status_code, hashlib.sha256(whole.content).digest()) == (200, hashlib.sha256(CONTENT).digest())
        part = yours.get(path, headers={"Range": "bytes=9000000-9000009", "If-Range": whole.headers["etag"]})
        assert (part.status_code, part.content) == (206, CONTENT[9_000_000:9_000_010])
        call(yours, "attachments.rename", {"id": id, "filename": "b.pdf"}, mutation=True)
        assert call(mine, "attachments.get", {"id": id})["filename"] == "b.pdf"
        assert call(yours, "attachments.delete", {"id": id}, mutation=True) == {"success": True}
        assert mine.get(path).status_code == 404
        assert call(mine, "attachments.list", {"conversationId": conversation}) == []
        call(admin, "attachments.restore", {"id": id}, mutation=True)
        assert mine.get(path).content == CONTENT


def test_of_two_deletions_at_once_one_succeeds(cluster: Cluster) -> None:
    with cluster.one.client() as mine, cluster.two.client() as yours:
        for _ in range(5):
            id = upload(mine, str(uuid.uuid4()), "a.txt", b"text")["id"]
            statuses = [client.post("/api/trpc/attachments.delete", json={"id": id}).status_code for client in (mine, yours)]
            assert sorted(statuses) == [200, 404]


def test_links_of_one_open_at_the_other_also_with_a_new_key(pair: tuple[Attachd, Attachd]) -> None:
    here, there = pair
    with here.client() as mine, there.client(None) as anybody:
        media = mine.post("/api/v1/media", files={"file": ("a.txt", b"hello")}).json()["data"]
        reply = anybody.get(f"/uploads/{media['uuid']}?{httpx.URL(media['url']).query.decode()}")
        assert (reply.status_code, reply.content) == (200, b"hello")
        kid = here.run("signing", "rotate").strip()
        deadline = time.monotonic() + 60
        while True:
            media = mine.post("/api/v1/media", files={"file": ("a.txt", b"hello")}).json()["data"]
            link = httpx.URL(media["url"])
            assert anybody.get(f"/uploads/{media['uuid']}?{link.query.decode()}").status_code == 200
            if link.params["kid"] == kid:
                break
            assert time.monotonic() < deadline, "the new key does not sign"


def test_a_session_that_was_revoked_ends_everywhere(pair: tuple[Attachd, Attachd]) -> None:
    here, there = pair
    session = ("session", "create", "--user", str(uuid.uuid4()), "--organization", here.organization_id, "--role", "member")
    token = here.run(*session).strip()
    with httpx.Client(base_url=there.base_url, cookies={"session": token}) as client:
        assert client.get("/api/trpc/attachments.usage").status_code == 200
        here.run("session", "revoke", stdin=token)
        revoked = time.monotonic()
        while client.get("/api/trpc/attachments.usage").status_code == 200:
            assert time.monotonic() - revoked < CACHE_S + SLOW_S
        assert client.get("/api/trpc/attachments.usage").status_code == 401


def test_a_key_that_was_revoked_ends_everywhere(pair: tuple[Attachd, Attachd]) -> None:
    here, there = pair
    name = str(uuid.uuid4())
    secret = here.run("key", "create", "--organization", here.organization_id, "--role", "member", "--name", name).strip()
    (line,) = [line for line in there.run("key", "list").splitlines() if name in line]
    with httpx.Client(base_url=there.base_url, headers={"Authorization": f"Bearer {secret}"}) as client:
        assert client.get("/api/trpc/attachments.usage").status_code == 200
        here.run("key", "revoke", line.split("\t")[0])
        revoked = time.monotonic()
        while client.get("/api/trpc/attachments.usage").status_code == 200:
            assert time.monotonic() - revoked < CACHE_S + SLOW_S
        assert client.get("/api/trpc/attachments.usage").status_code == 401
