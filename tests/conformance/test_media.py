"""API B as its document prints it: uploads of media, what they are served to, and what is refused, on a real server."""

import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from schemas import UUID_PATTERN
from tests.running import Attachd

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MEBIBYTE = 1024 * 1024
CROSS_SITE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def anybody(attachd: Attachd) -> Iterator[httpx.Client]:
    with attachd.client(None) as client:
        yield client


@pytest.fixture(scope="module")
def agent(attachd: Attachd) -> Iterator[httpx.Client]:
    with attachd.client() as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def error(error_type: str, message: str) -> dict[str, object]:
    """The body of an error, whole."""
    return {"status": "error", "message": message, "data": None, "error_type": error_type}


def assert_error(reply: httpx.Response, status: int, error_type: str, message: str) -> None:
    assert (reply.status_code, reply.json()) == (status, error(error_type, message))
    assert reply.headers["content-type"] == "application/json"


def upload(client: httpx.Client, content: bytes = PNG, name: str = "screenshot.png", **fields: str) -> Any:
    """The media of an upload that is taken."""
    reply = client.post("/api/v1/media", files={"file": (name, content)}, data=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def test_an_upload_answers_with_exactly_what_is_documented(attachd: Attachd, agent: httpx.Client) -> None:
    reply = agent.post("/api/v1/media", files={"file": ("screenshot.png", PNG, "image/png")}, data={"inline": "true"})
    assert reply.status_code == 200
    data = reply.json()["data"]
    assert re.fullmatch(UUID_PATTERN, data["uuid"])
    assert reply.json() == {
        "data": {
            "uuid": data["uuid"],
            "filename": "screenshot.png",
            "content_type": "image/png",
            "size": len(PNG),
            "url": data["url"],
            "inline": True,
        }
    }
    assert data["url"].startswith(f"{attachd.base_url}/uploads/{data['uuid']}?sig=")
    query = parse_qs(urlsplit(data["url"]).query, strict_parsing=True)
    assert list(query) == ["sig", "exp", "kid"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", query["sig"][0])


def test_the_link_shows_the_file_to_anybody(agent: httpx.Client, anybody: httpx.Client) -> None:
    media = upload(agent)
    reply = anybody.get(media["url"])
    assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, PNG, "image/png")
    assert reply.headers["content-disposition"] == 'inline; filename="screenshot.png"'
    assert anybody.get(f"/uploads/{media['uuid']}?{'&'.join(urlsplit(media['url']).query.split('&')[:2])}").content == PNG
    saved = anybody.get(f"{media['url']}&download=1")
    assert saved.headers["content-disposition"] == 'attachment; filename="screenshot.png"'


def test_a_session_and_a_key_need_no_link(attachd: Attachd, agent: httpx.Client, anybody: httpx.Client) -> None:
    path = f"/uploads/{upload(agent)['uuid']}"
    assert agent.get(path).content == PNG
    assert anybody.get(path, headers=bearer(attachd.key)).content == PNG


@pytest.mark.parametrize(
    ("sent", "inline"),
    [("true", True), ("false", False), ("True", False), ("1", False), ("on", False), ("true ", False), ("", False)],
)
def test_inline_is_true_for_true_alone(agent: httpx.Client, sent: str, inline: bool) -> None:
    assert upload(agent, inline=sent)["inline"] is inline
    assert upload(agent)["inline"] is False


def test_the_session_of_a_widget_sees_one_conversation(attachd: Attachd, agent: httpx.Client, anybody: httpx.Client) -> None:
    conversation, other = str(uuid.uuid4()), str(uuid.uuid4())
    reply = agent.post("/api/v1/widget/sessions", json={"conversation_id": conversation})
    assert reply.status_code == 200
    assert list(reply.json()["data"]) == ["token", "expires_at"]
    widget = bearer(reply.json()["data"]["token"])
    taken = anybody.post("/api/v1/widget/media/upload", files={"file": ("a.png", PNG)}, headers=widget)
    assert taken.status_code == 200, taken.text
    id = taken.json()["data"]["uuid"]
    assert anybody.get(f"/uploads/{id}", headers=widget).content == PNG
    hidden = agent.post("/api/upload", files={"file": ("b.png", PNG)}, data={"conversationId": other}).json()["id"]
    assert_error(anybody.get(f"/uploads/{hidden}", headers=widget), 404, "NotFoundError", f'attachment "{hidden}" not found')
    refused = anybody.post("/api/v1/widget/media/upload", files={"file": ("a.png", PNG)}, headers=bearer(attachd.key))
    message = "authentication required: send the token of a widget session as `Authorization: Bearer …`"
    assert_error(refused, 401, "AuthError", message)
