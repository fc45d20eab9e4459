"""Widgets of API B on a real server: what a visitor may see and send, and how often."""

import contextlib
import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.test_media import PNG, assert_error, bearer, upload
from tests.running import Attachd

UPLOAD = "/api/v1/widget/media/upload"
SESSIONS = "/api/v1/widget/sessions"
CONVERSATION, OTHER = str(uuid.uuid4()).upper(), str(uuid.uuid4())
FILES = {"file": ("a.png", PNG)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server where a session may upload twice, and an address five times, in an hour."""
    folder = tmp_path_factory.mktemp("widget")
    with Attachd(
        folder,
        ATTACHD_WIDGET_RATE_LIMIT="2/hour",
        ATTACHD_WIDGET_ADDRESS_RATE_LIMIT="5/hour",
        ATTACHD_SERVER_TRUSTED_PROXIES="127.0.0.1",
    ) as site:
        yield site


@pytest.fixture(scope="module")
def agent(site: Attachd) -> Iterator[httpx.Client]:
    with site.client() as client:
        yield client


def mint(agent: httpx.Client, conversation: str = CONVERSATION) -> str:
    """The token of a new session."""
    reply = agent.post(SESSIONS, json={"conversation_id": conversation})
    assert reply.status_code == 200, reply.text
    token: str = reply.json()["data"]["token"]
    return token


@contextlib.contextmanager
def visitor(site: Attachd, token: str, address: str = "") -> Iterator[httpx.Client]:
    """A visitor's page, at an address of its own unless one is given."""
    forwarded = {"X-Forwarded-For": address or f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1"}
    with httpx.Client(base_url=site.base_url, headers=bearer(token) | forwarded, timeout=30) as client:
        yield client


def call(client: httpx.Client, procedure: str, input: Any = None) -> Any:
    """The output of a query, or the code of its error."""
    reply = client.get(f"/api/trpc/attachments.{procedure}", params=None if input is None else {"input": json.dumps(input)})
    return outcome(reply)


def change(client: httpx.Client, procedure: str, input: Any) -> Any:
    return outcome(client.post(f"/api/trpc/attachments.{procedure}", json=input))


def outcome(reply: httpx.Response) -> Any:
    body = reply.json()
    return body["result"]["data"]["json"] if reply.is_success else body["error"]["json"]["data"]["code"]


def test_a_session_is_minted_by_agents_and_keys(site: Attachd, agent: httpx.Client) -> None:
    reply = agent.post(SESSIONS, json={"conversation_id": CONVERSATION})
    assert reply.status_code == 200
    data = reply.json()["data"]
    assert reply.json() == {"data": {"token": data["token"], "expires_at": data["expires_at"]}}
    assert data["token"].startswith("attachd_widget_")
    assert data["expires_at"].startswith(time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() + 86_400))[:12])
    with site.client(None) as program:
        assert program.post(SESSIONS, json={"conversation_id": CONVERSATION}, headers=bearer(site.key)).status_code == 200
        message = "a widget session may not make sessions of widgets: send an agent's session or an API key"
        refused = program.post(SESSIONS, json={"conversation_id": OTHER}, headers=bearer(data["token"]))
        assert_error(refused, 403, "PermissionError", message)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"json": {}}, "the body cannot be used: Object missing required field `conversation_id`"),
        ({"json": {"conversation_id": 1}}, "the body cannot be used: Expected `str`, got `int` - at `$.conversation_id`"),
        (
            {"content": b"{", "headers": {"Content-Type": "application/json"}},
            "the body cannot be used: Input data was truncated",
        ),
        ({"data": {"conversation_id": OTHER}}, "send JSON, with Content-Type: application/json"),
        ({}, "send JSON, with Content-Type: application/json"),
    ],
    ids=["no-conversation", "no-uuid", "no-json", "form", "nothing"],
)
def test_sessions_that_cannot_be_made(agent: httpx.Client, request_: dict[str, Any], message: str) -> None:
    assert_error(agent.post(SESSIONS, **request_), 400, "InputError", message)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_largest_body(agent: httpx.Client, extra: int) -> None:
    text = json.dumps({"conversation_id": OTHER}).encode()
    body = text + b" " * (2**20 - len(text) + extra)
    reply = agent.post(SESSIONS, content=body, headers={"Content-Type": "application/json"})
    if extra:
        assert_error(reply, 413, "TooLargeError", "the body exceeds 1048576 bytes (server.max_body_bytes)")
    else:
        assert reply.status_code == 200


def test_an_upload_is_of_the_conversation_and_seen_by_agents(site: Attachd, agent: httpx.Client) -> None:
    with visitor(site, mint(agent)) as page:
        data = page.post(UPLOAD, files={"files": ("Bild.png", PNG)}, data={"inline": "true"}).json()["data"]
        assert list(data) == ["uuid", "filename", "content_type", "size", "url", "inline"]
        assert (data["filename"], data["size"], data["inline"]) == ("Bild.png", len(PNG), True)
        assert page.get(f"/uploads/{data['uuid']}").content == PNG
        assert page.get(f"/api/attachments/{data['uuid']}/download").content == PNG
    listed = call(agent, "list", {"conversationId": CONVERSATION})
    assert [item["id"] for item in listed].count(data["uuid"]) == 1
    assert agent.get(data["url"]).content == PNG


def test_what_a_visitor_sees_and_does_not(site: Attachd, agent: httpx.Client) -> None:
    inside = agent.post("/api/upload", files=FILES, data={"conversationId": CONVERSATION}).json()["id"]
    outside = agent.post("/api/upload", files=FILES, data={"conversationId": OTHER}).json()["id"]
    unlinked = upload(agent)["uuid"]
    with visitor(site, mint(agent)) as page:
        assert inside in [item["id"] for item in call(page, "list", {"conversationId": CONVERSATION.lower()})]
        assert inside in [item["id"] for item in call(page, "page", {"conversationId": CONVERSATION})["items"]]
        assert call(page, "get", {"id": inside})["id"] == inside
        assert call(page, "url", {"id": inside})["url"]
        assert call(page, "list", {"conversationId": OTHER}) == []
        for asked in ({}, {"conversationId": OTHER}):
            assert call(page, "page", asked) == "FORBIDDEN"
        assert call(page, "usage") == "FORBIDDEN"
        assert call(page, "getMany", {"ids": [inside, outside, unlinked]})["missing"] == [outside, unlinked]
        for hidden in (outside, unlinked):
            assert call(page, "get", {"id": hidden}) == "NOT_FOUND"
            assert call(page, "url", {"id": hidden}) == "NOT_FOUND"
            assert change(page, "delete", {"id": hidden}) == "NOT_FOUND"
            assert change(page, "rename", {"id": hidden, "filename": "b.png"}) == "NOT_FOUND"
            assert change(page, "attach", {"ids": [hidden], "conversationId": CONVERSATION}) == "NOT_FOUND"
            assert page.get(f"/uploads/{hidden}").status_code == 404
            assert page.get(f"/api/attachments/{hidden}/download").status_code == 404
        assert change(page, "delete", {"id": inside}) == "FORBIDDEN", "another's"
        assert change(page, "attach", {"ids": [inside], "conversationId": OTHER}) == "FORBIDDEN"
        assert change(page, "restore", {"id": inside}) == "FORBIDDEN"
        own = page.post(UPLOAD, files=FILES).json()["data"]["uuid"]
        assert change(page, "attach", {"ids": [own], "conversationId": OTHER}) == "CONFLICT"
        assert change(page, "delete", {"id": own}) == {"success": True}


def test_what_a_visitor_follows(site: Attachd, agent: httpx.Client) -> None:
    with visitor(site, mint(agent)) as page:
        for conversation, said in ((CONVERSATION, "ready"), (OTHER, "FORBIDDEN")):
            query = {"input": json.dumps({"conversationId": conversation})}
            headers = {"Accept": "text/event-stream"}
            with page.stream("GET", "/api/trpc/attachments.onChange", params=query, headers=headers) as stream:
                assert any(said in line for line in stream.iter_lines()), conversation


def test_a_visitor_uploads_by_its_own_door_alone(site: Attachd, agent: httpx.Client) -> None:
    message = "a widget session may not upload here: send an agent's session or an API key"
    with visitor(site, mint(agent)) as page:
        assert_error(page.post("/api/v1/media", files=FILES), 403, "PermissionError", message)
        refused = page.post("/api/upload", files=FILES)
        assert (refused.status_code, refused.json()) == (403, {"error": {"code": "FORBIDDEN", "message": message}})
        headers = {"Content-Type": "application/octet-stream", "x-attachd-filename": "a.png"}
        assert outcome(page.post("/api/trpc/attachments.upload", content=PNG, headers=headers)) == "FORBIDDEN"


@pytest.mark.parametrize("who", ["nobody", "session", "key", "cookie", "unknown"])
def test_only_a_widget_passes_its_door(site: Attachd, agent: httpx.Client, who: str) -> None:
    headers: dict[str, dict[str, str]] = {
        "nobody": {},
        "session": {"Cookie": f"session={site.tokens['member']}"},
        "key": bearer(site.key),
        "cookie": {"Cookie": f"session={mint(agent)}"},
        "unknown": bearer("attachd_widget_unknown"),
    }
    message = "authentication required: send the token of a widget session as `Authorization: Bearer …`"
    with site.client(None) as client:
        refused = client.post(UPLOAD, files=FILES, headers=headers[who])
    assert_error(refused, 401, "AuthError", message)
    assert refused.headers["www-authenticate"] == 'Bearer realm="api"'


def test_the_rules_of_a_file_are_those_of_media(site: Attachd, agent: httpx.Client) -> None:
    with visitor(site, mint(agent)) as page:
        assert_error(page.post(UPLOAD, files={"file": ("a.png", b"")}), 400, "InputError", "the file is empty")
        too_large = page.post(UPLOAD, files={"file": ("a.bin", bytes(25 * 2**20 + 1))})
        message = "the file exceeds the limit of 26214400 bytes (25 MB) for .bin files"
        assert_error(too_large, 413, "TooLargeError", message)


def assert_limited(reply: httpx.Response) -> None:
    seconds = int(reply.headers["retry-after"])
    assert 3500 < seconds <= 3600
    assert_error(reply, 429, "RateLimitError", f"too many requests: try again in {seconds} seconds")


def test_uploads_of_a_session_are_counted(site: Attachd, agent: httpx.Client) -> None:
    with visitor(site, token := mint(agent)) as page:
        assert [page.post(UPLOAD, files=FILES).status_code for _ in range(2)] == [200, 200]
        assert_limited(page.post(UPLOAD, files=FILES))
    with visitor(site, token) as elsewhere:
        assert_limited(elsewhere.post(UPLOAD, files=FILES))
        assert call(elsewhere, "list", {"conversationId": CONVERSATION}), "reading is not counted"
    with visitor(site, mint(agent)) as another:
        assert another.post(UPLOAD, files=FILES).status_code == 200


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8:7:7::{}"])
def test_uploads_of_an_address_are_counted(site: Attachd, agent: httpx.Client, address: str) -> None:
    replies = []
    for number in range(6):
        with visitor(site, mint(agent), address.format(number)) as page:
            replies.append(page.post(UPLOAD, files=FILES))
    assert [reply.status_code for reply in replies] == [200] * 5 + [429]
    assert_limited(replies[-1])
    with visitor(site, mint(agent), "198.51.100.8") as neighbour:
        assert neighbour.post(UPLOAD, files=FILES).status_code == 200


def test_a_visitor_cannot_say_where_it_is_unless_a_proxy_is_trusted(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Attachd(tmp_path_factory.mktemp("direct"), ATTACHD_WIDGET_ADDRESS_RATE_LIMIT="1/hour") as site, site.client() as agent:
        statuses = []
        for number in range(2):
            with visitor(site, mint(agent), f"198.51.100.{number}") as page:
                statuses.append(page.post(UPLOAD, files=FILES).status_code)
    assert statuses == [200, 429]


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_a_session_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ended")
    with (
        Attachd(folder, ATTACHD_WIDGET_SESSION_SECONDS="60", ATTACHD_AUTH_SESSION_CACHE_SECONDS="0") as site,
        site.client() as agent,
    ):
        with visitor(site, mint(agent)) as page:
            id = page.post(UPLOAD, files=FILES).json()["data"]["uuid"]
            ((created, expires),) = site.backing.query("SELECT created_at, expires_at FROM widget_sessions")
            assert (moment(expires) - moment(created)).total_seconds() == pytest.approx(60, abs=15)
            site.backing.query("UPDATE widget_sessions SET expires_at = ?", created)
            assert page.post(UPLOAD, files=FILES).status_code == 401
            assert page.get(f"/uploads/{id}").status_code == 401
        mint(agent)
        assert site.backing.query("SELECT count(*) FROM widget_sessions") == [(1,)], "the ended one is removed"


def test_a_page_of_an_allowed_origin(tmp_path_factory: pytest.TempPathFactory) -> None:
    page_of = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
    folder = tmp_path_factory.mktemp("origins")
    with (
        Attachd(folder, ATTACHD_SERVER_ALLOWED_ORIGINS="https://shop.example") as site,
        site.client() as agent,
        visitor(site, mint(agent)) as page,
    ):
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = page.options(UPLOAD, headers=page_of | asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        taken = page.post(UPLOAD, files=FILES, headers=page_of)
        assert (taken.status_code, taken.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        assert "retry-after" in taken.headers["access-control-expose-headers"].lower()
        elsewhere = page.post(UPLOAD, files=FILES, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in elsewhere.headers, "its page may not read the answer"
