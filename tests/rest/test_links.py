"""Signed links over a real connection: they need no credential, and serve one file in every way that a download is served."""

import time
from typing import Any

import pytest

from schemas import Principal
from storage.signing import KeyRing
from tests.rest.live import PNG, SIGNING_KEYS, Answer, Client, Server, error

RING = KeyRing(SIGNING_KEYS)
INVALID = "the link's signature is not valid: follow it as it was given, or ask for a new one"


@pytest.fixture(scope="module")
def anybody(server: Server) -> Client:
    """Somebody without a credential."""
    return Client(server, None)


@pytest.fixture(scope="module")
def stored(client: Client) -> Any:
    return client.store("a.png", PNG)


def link(client: Client, id: str, *, download: bool = False) -> str:
    """The path and query of a signed link."""
    principal: Principal = client.principal()
    signed = client.server.run(lambda: client.server.store.attachments.url(principal, id, download=download))
    assert signed.url.startswith("https://files.example/api/attachments/")
    return signed.url.removeprefix("https://files.example")


def test_a_link_gives_the_file_without_a_credential(client: Client, anybody: Client, stored: Any) -> None:
    answer, own = anybody.get(link(client, stored["id"])), client.get(stored["url"])
    assert (answer.status, answer.body) == (200, PNG)
    assert {**answer.headers, "date": ""} == {**own.headers, "date": ""}


def test_ranges_conditions_and_head(client: Client, anybody: Client, stored: Any) -> None:
    path = link(client, stored["id"])
    part = anybody.get(path, "Range: bytes=2-5")
    assert (part.status, part.body) == (206, PNG[2:6])
    head = anybody.request("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PNG)))
    assert anybody.get(path, f"If-None-Match: {head.headers['etag']}").status == 304
    assert anybody.request("POST", path, body=b"").status == 405


def test_the_flag_is_part_of_the_link(client: Client, anybody: Client, stored: Any) -> None:
    shown, saved = anybody.get(link(client, stored["id"])), anybody.get(link(client, stored["id"], download=True))
    assert shown.headers["content-disposition"].startswith("inline")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert_refused(anybody.get(f"{link(client, stored['id'])}&download=1"), 403, "FORBIDDEN", INVALID)


def test_a_link_is_the_file_whatever_else_would_be_preferred(client: Client, anybody: Client, stored: Any) -> None:
    assert anybody.get(link(client, stored["id"]), "Accept: application/json").body == PNG


def assert_refused(answer: Answer, status: int, code: str, message: str) -> None:
    assert (answer.status, answer.json()) == (status, error(code, message))


def test_wrong_and_expired_links_say_so(client: Client, anybody: Client, stored: Any) -> None:
    id, path = stored["id"], link(client, stored["id"])
    assert_refused(anybody.get(path[:-1]), 403, "FORBIDDEN", INVALID)
    assert_refused(anybody.get(f"{path}="), 403, "FORBIDDEN", INVALID)
    twice = "the link has a parameter twice: follow it as it was given"
    assert_refused(anybody.get(f"{path}&sig=x"), 403, "FORBIDDEN", twice)
    expired = RING.sign(f"attachment/{id}", int(time.time()) - 1, download=False)
    message = "the link has expired: ask for a new one"
    assert_refused(anybody.get(f"{stored['url']}?{expired}"), 401, "UNAUTHORIZED", message)
    other = client.store("b.png", PNG)["id"]
    assert_refused(anybody.get(path.replace(id, other)), 403, "FORBIDDEN", INVALID)
    assert anybody.get(stored["url"]).status == 401


def test_a_link_that_is_no_good_any_more_still_serves_those_who_need_none(client: Client, server: Server, stored: Any) -> None:
    expired = RING.sign(f"attachment/{stored['id']}", int(time.time()) - 1, download=False)
    assert client.get(f"{stored['url']}?{expired}").body == PNG
    stranger = Client(server, server.token("0190a000-0000-7000-8000-000000000002"))
    assert stranger.get(f"{stored['url']}?{expired}").status == 404
    assert stranger.get(link(client, stored["id"])).body == PNG  # and a good one serves whoever has it


def test_a_deleted_file_is_gone_at_once(client: Client, anybody: Client) -> None:
    id = client.store("c.png", PNG)["id"]
    path = link(client, id)
    assert anybody.get(path).status == 200
    principal = client.principal()
    client.server.run(lambda: client.server.store.attachments.delete(principal, id))
    assert_refused(anybody.get(path), 404, "NOT_FOUND", f'attachment "{id}" not found')
