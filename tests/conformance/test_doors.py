"""One store behind four APIs: what came by any door is served by every way in that may, and refused by each that may not.

The tables below are the whole of it: doors, callers, ways. Sources: `apis/README.md`, DESIGN 4.
"""

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from storage.signing import KeyRing, SigningKey
from tests.running import Attachd

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
CONVERSATION, OTHER_CONVERSATION = str(uuid.uuid4()), str(uuid.uuid4())
USER, OTHER_USER = "user-7", "user-8"
SECRET = b"s" * 32
RING = KeyRing([SigningKey("k", SECRET)])
FORGED = KeyRing([SigningKey("k", b"f" * 32)])
FILES = {"file": ("a.png", PNG)}
HOUR_S = 3600


class World:
    """A server, and the headers that its callers send."""

    def __init__(self, folder: Path) -> None:
        self.site = Attachd(
            folder,
            ATTACHD_SIGNING_KEYS=f"k:{base64.b64encode(SECRET).decode()}",
            ATTACHD_AUTH_SESSION_CACHE_SECONDS="0",
            ATTACHD_WIDGET_RATE_LIMIT="1000/hour",
            ATTACHD_WIDGET_ADDRESS_RATE_LIMIT="1000/hour",
        )

    def open(self) -> None:
        """Create the credentials that Attachd does not."""
        site = self.site
        self.http = httpx.Client(base_url=site.base_url, timeout=30)
        self.headers = {who: {"Cookie": f"session={token}"} for who, token in site.tokens.items()}
        self.headers |= {
            "key": bearer(site.key),
            "store": bearer(self._key("store", site.organization_id)),
            "foreign key": bearer(self._key("admin", site.other_organization_id)),
            "revoked key": bearer(self._revoked()),
            "expired session": {"Cookie": f"session={self._expired()}"},
            "widget": bearer(self._widget(CONVERSATION)),
            "other widget": bearer(self._widget(OTHER_CONVERSATION)),
            "nobody": {},
        }

    def _key(self, role: str, organization: str) -> str:
        return self.site.run("key", "create", "--organization", organization, "--role", role, "--name", "doors").strip()

    def _revoked(self) -> str:
        secret = self.site.run(
            "key", "create", "--organization", self.site.organization_id, "--role", "admin", "--name", "gone"
        ).strip()
        (id,) = [line.split("\t")[0] for line in self.site.run("key", "list").splitlines() if line.endswith("\tgone")]
        self.site.run("key", "revoke", id)
        return secret

    def _expired(self) -> str:
        user, organization = self.site.users["admin"], self.site.organization_id
        token = self.site.run(
            "session", "create", "--user", user, "--organization", organization, "--role", "admin", "--ttl", "1s"
        )
        time.sleep(1)
        return token.strip()

    def _widget(self, conversation: str) -> str:
        made = self.http.post("/api/v1/widget/sessions", json={"conversation_id": conversation}, headers=self.headers["member"])
        token: str = made.json()["data"]["token"]
        return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class File(NamedTuple):
    """What came by a door: its id, its conversation, whom it is kept for, and the link that never expires, if it has them."""

    id: str
    conversation: str | None = None
    scope: str | None = None
    public: str | None = None


def by_upload(world: World) -> File:
    """API A's form."""
    reply = world.http.post("/api/upload", files=FILES, data={"conversationId": CONVERSATION}, headers=world.headers["member"])
    return File(reply.json()["id"], CONVERSATION)


def by_procedure(world: World) -> File:
    """API A's procedure."""
    said = {
        "Content-Type": "application/octet-stream",
        "x-attachd-filename": "a.png",
        "x-attachd-conversation-id": CONVERSATION,
    }
    reply = world.http.post("/api/trpc/attachments.upload", content=PNG, headers=world.headers["member"] | said)
    return File(reply.json()["result"]["data"]["json"]["id"], CONVERSATION)


def by_media(world: World) -> File:
    """API B."""
    reply = world.http.post("/api/v1/media", files=FILES, headers=world.headers["member"])
    return File(reply.json()["data"]["uuid"])


def by_widget(world: World) -> File:
    """API B's widget."""
    reply = world.http.post("/api/v1/widget/media/upload", files=FILES, headers=world.headers["widget"])
    return File(reply.json()["data"]["uuid"], CONVERSATION)


def by_files(world: World) -> File:
    """API C."""
    reply = world.http.post("/files/upload", files=FILES, data={"user": USER}, headers=world.headers["key"])
    return File(reply.json()["id"], scope=USER)


def by_chat(world: World) -> File:
    """API D, whose answer has no id: it is the newest."""
    token = world.headers["store"]["Authorization"].replace("Bearer", "Token")
    reply = world.http.post("/v1/chat/upload/", files=FILES, data={"session_id": "s-1"}, headers={"Authorization": token})
    public = reply.json()["url"].removeprefix(world.site.base_url)
    newest = ask(world, "page", {"limit": 1}, "admin").json()["result"]["data"]["json"]["items"][0]["id"]
    return File(newest, public=public)


DOORS: Mapping[str, Callable[[World], File]] = {
    "/api/upload": by_upload,
    "attachments.upload": by_procedure,
    "/api/v1/media": by_media,
    "widget": by_widget,
    "/files/upload": by_files,
    "/v1/chat/upload/": by_chat,
}


def ask(world: World, procedure: str, input: Any, who: str) -> httpx.Response:
    return world.http.get(f"/api/trpc/attachments.{procedure}", params={"input": json.dumps(input)}, headers=world.headers[who])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("doors"))
    with world.site:
        world.open()
        yield world
        world.http.close()


@pytest.fixture(scope="module", params=DOORS)
def file(world: World, request: pytest.FixtureRequest) -> File:
    """A file of each door."""
    return DOORS[request.param](world)


OWN, FOREIGN, UNKNOWN = 200, 404, 401
# What each caller is to the organization that all files are of.
CALLERS = {
    **dict.fromkeys(("member", "colleague", "admin", "key", "store"), OWN),
    **dict.fromkeys(("stranger", "foreign key", "other widget"), FOREIGN),
    **dict.fromkeys(("revoked key", "expired session", "nobody"), UNKNOWN),
    "widget": OWN,  # of what is in its conversation
}
KEYS = {"key", "store", "foreign key"}


def expected(who: str, file: File) -> int:
    return FOREIGN if who == "widget" and file.conversation != CONVERSATION else CALLERS[who]


@pytest.mark.parametrize("who", CALLERS)
def test_get(world: World, file: File, who: str) -> None:
    reply = ask(world, "get", {"id": file.id}, who)
    assert reply.status_code == expected(who, file)
    if reply.is_success:
        seen = reply.json()["result"]["data"]["json"]
        assert (seen["id"], seen["filename"], seen["size"]) == (file.id, "a.png", len(PNG))
        assert (seen["content_type"], seen["conversation_id"]) == ("image/png", file.conversation)


@pytest.mark.parametrize("who", CALLERS)
def test_lists(world: World, file: File, who: str) -> None:
    reply = ask(world, "list", {"conversationId": CONVERSATION}, who)
    if CALLERS[who] == UNKNOWN:
        assert reply.status_code == UNKNOWN
    else:
        listed = [item["id"] for item in reply.json()["result"]["data"]["json"]]
        assert listed.count(file.id) == (expected(who, file) == OWN and file.conversation == CONVERSATION)
    whole = ask(world, "page", {"limit": 200}, who)
    if "widget" in who:
        assert whole.status_code == 403
    elif whole.is_success:
        assert [item["id"] for item in whole.json()["result"]["data"]["json"]["items"]].count(file.id) == (CALLERS[who] == OWN)


@pytest.mark.parametrize("path", ["/api/attachments/{}/download", "/uploads/{}"])
@pytest.mark.parametrize("who", CALLERS)
def test_downloads_by_a_credential(world: World, file: File, who: str, path: str) -> None:
    reply = world.http.get(path.format(file.id), headers=world.headers[who])
    assert reply.status_code == expected(who, file)
    assert (reply.content == PNG) is (reply.status_code == OWN)


@pytest.mark.parametrize("user", [USER, OTHER_USER, ""])
@pytest.mark.parametrize("who", CALLERS)
def test_previews(world: World, file: File, who: str, user: str) -> None:
    reply = world.http.get(f"/files/{file.id}/preview", params={"user": user}, headers=world.headers[who])
    status = CALLERS[who] if who in KEYS else UNKNOWN
    if status == OWN and file.scope not in (None, user):
        status = FOREIGN
    assert reply.status_code == status
    assert (reply.content == PNG) is (status == OWN)


def in_an_hour() -> int:
    return int(time.time()) + HOUR_S


def link(ring: KeyRing, id: str, expires_at: int, *, of: str = "") -> str:
    """A link of API A to the file, signed as one to `of`."""
    query = ring.sign(f"attachment/{of or id}", expires_at, download=False)
    return f"/api/attachments/{id}/download?{query}"


def media_link(ring: KeyRing, id: str, expires_at: int, *, of: str = "") -> str:
    """A link of API B to the file, signed as one to `of`."""
    return f"/uploads/{id}?{ring.sign_upload(f'upload/{of or id}', expires_at)}"


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("make", [link, media_link])
def test_a_signed_link_is_good_for_everybody(world: World, file: File, who: str, make: Callable[..., str]) -> None:
    reply = world.http.get(make(RING, file.id, in_an_hour()), headers=world.headers[who])
    assert (reply.status_code, reply.content) == (200, PNG)


@pytest.mark.parametrize(("make", "wrong"), [(link, 403), (media_link, 401)])
def test_a_link_that_is_no_good(world: World, file: File, make: Callable[..., str], wrong: int) -> None:
    other = by_upload(world)
    good = make(RING, file.id, in_an_hour())
    links = {
        make(RING, file.id, int(time.time()) - 1): 401,  # expired by a second
        make(FORGED, file.id, in_an_hour()): wrong,  # of another key
        make(RING, file.id, in_an_hour(), of=other.id): wrong,  # another file's
        good.replace("sig=", "sig=A"): wrong,
        f"{good}&exp=1": wrong,
        good.replace("kid=k", "kid=other"): wrong,
        link(RING, file.id, in_an_hour()).replace(f"/api/attachments/{file.id}/download", f"/uploads/{file.id}"): 401,
        media_link(RING, file.id, in_an_hour()).replace(f"/uploads/{file.id}", f"/api/attachments/{file.id}/download"): 403,
    }
    for url, status in links.items():
        assert world.http.get(url).status_code == status, url
        assert world.http.get(url, headers=world.headers["colleague"]).content == PNG, "who needs no link"
        assert world.http.get(url, headers=world.headers["stranger"]).status_code == 404


@pytest.mark.parametrize("who", CALLERS)
def test_a_public_link_is_good_for_everybody(world: World, who: str) -> None:
    one, other = by_chat(world), by_chat(world)
    assert one.public is not None
    assert other.public is not None
    headers = world.headers[who]
    assert world.http.get(one.public, headers=headers).content == PNG
    _, chat, folder, id, capability, name = one.public.split("/")
    theirs = other.public.split("/")[4]
    for secret in (theirs, capability[:-1], f"{capability}A", capability.swapcase(), id):
        assert world.http.get(f"/{chat}/{folder}/{id}/{secret}/{name}", headers=headers).status_code == 404


@pytest.mark.parametrize("door", DOORS)
def test_what_is_deleted_is_gone_for_everybody_at_once(world: World, door: str) -> None:
    file = DOORS[door](world)
    links = [
        link(RING, file.id, in_an_hour()),
        media_link(RING, file.id, in_an_hour()),
        *([file.public] if file.public else []),
    ]
    assert all(world.http.get(url).content == PNG for url in links)
    body = {"id": file.id}
    for who, status in (("stranger", 404), ("other widget", 404), ("nobody", 401), ("colleague", 403)):
        refused = world.http.post("/api/trpc/attachments.delete", json=body, headers=world.headers[who])
        assert refused.status_code == status, who
    assert world.http.post("/api/trpc/attachments.delete", json=body, headers=world.headers["admin"]).status_code == 200
    for who, known in CALLERS.items():
        headers = world.headers[who]
        gone = UNKNOWN if known == UNKNOWN else FOREIGN
        for path in (f"/api/attachments/{file.id}/download", f"/uploads/{file.id}"):
            assert world.http.get(path, headers=headers).status_code == gone, who
        preview = world.http.get(f"/files/{file.id}/preview", params={"user": USER}, headers=headers)
        assert preview.status_code == (FOREIGN if who in KEYS else UNKNOWN), who
        assert [world.http.get(url, headers=headers).status_code for url in links] == [404] * len(links), who
        listed = ask(world, "list", {"conversationId": CONVERSATION}, who)
        assert file.id not in listed.text
