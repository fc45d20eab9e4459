"""The example plugin, run as its reader runs it: `attachd serve --config config.toml` in its folder."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import ROOT, Attachd

CONVERSATION = "0191c2b0-0000-7000-8000-000000000003"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server with the plugin and two workers."""
    folder = tmp_path_factory.mktemp("helpdesk")
    for path in (ROOT / "examples" / "helpdesk").glob("*.*"):
        shutil.copy(path, folder)
    with Attachd(folder, "--config", "config.toml", "--workers", "2") as server:
        yield server


def query(client: httpx.Client, path: str, input: object = None) -> httpx.Response:
    return client.get(f"/api/trpc/{path}", params={} if input is None else {"input": json.dumps(input)})


def mutate(client: httpx.Client, path: str, input: object) -> httpx.Response:
    return client.post(f"/api/trpc/{path}", json=input)


def data(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()["result"]["data"]["json"]


def assert_refused(reply: httpx.Response, status: int, message: str) -> None:
    assert (reply.status_code, reply.json()["error"]["json"]["message"]) == (status, message)


def test_a_ticket_from_opening_to_closing(desk: Attachd) -> None:
    with desk.client() as member, desk.client("admin") as admin:
        opened = data(mutate(member, "helpdesk.open", {"subject": "No sound", "conversationId": CONVERSATION}))
        assert opened["status"] == "open"
        assert opened in data(query(member, "helpdesk.tickets"))
        reply = member.post("/api/upload", files={"file": ("a.txt", b"hello")}, data={"conversationId": CONVERSATION})
        found = data(query(member, "helpdesk.ticket", {"id": opened["id"]}))
        assert found["files"][-1]["id"] == reply.json()["id"]
        refused = mutate(member, "helpdesk.close", {"id": opened["id"]})
        assert_refused(refused, 403, "only an admin may close a ticket")
        assert data(mutate(admin, "helpdesk.close", {"id": opened["id"]})) == {**opened, "status": "closed"}
        assert opened not in data(query(member, "helpdesk.tickets", {"status": "open"}))
        assert {**opened, "status": "closed"} in data(query(member, "helpdesk.tickets", {"status": "closed"}))


def test_tickets_are_of_one_organization(desk: Attachd) -> None:
    with desk.client() as member, desk.client("stranger") as stranger, desk.client(None) as nobody:
        id = data(mutate(member, "helpdesk.open", {"subject": "Mine", "conversationId": CONVERSATION}))["id"]
        assert id not in [ticket["id"] for ticket in data(query(stranger, "helpdesk.tickets"))]
        assert_refused(query(stranger, "helpdesk.ticket", {"id": id}), 404, f'ticket "{id}" not found')
        assert_refused(mutate(stranger, "helpdesk.close", {"id": id}), 404, f'ticket "{id}" not found')
        assert query(nobody, "helpdesk.tickets").status_code == 401


def test_inputs_are_checked(desk: Attachd) -> None:
    with desk.client() as member:
        reply = mutate(member, "helpdesk.open", {"subject": "", "conversationId": CONVERSATION})
        assert_refused(reply, 400, "the input is not valid: Expected `str` of length >= 1 - at `$.subject`")


def changes(client: httpx.Client, count: int, **parameters: str) -> list[tuple[str, Any]]:
    """The first changes of a subscription, with their ids."""
    found = []
    with client.stream("GET", "/api/trpc/helpdesk.onChange", params=parameters) as reply:
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
        lines: list[str] = []
        for line in reply.iter_lines():
            lines.append(line)
            if line.startswith("id: "):  # the last field of a frame
                (data,) = [field.removeprefix("data: ") for field in lines if field.startswith("data: ")]
                found.append((line.removeprefix("id: "), json.loads(data)["json"]))
            if len(found) == count:
                return found
            if not line:
                lines.clear()
    raise AssertionError(f"the stream ended after {found}")


def test_changes_come_as_they_happen_and_go_on_where_a_client_left(desk: Attachd) -> None:
    """Opened and closed by requests that any worker may answer, seen by a subscription on one of them."""
    with desk.client("stranger") as client:  # an organization in which nothing else happens
        opened = [
            data(mutate(client, "helpdesk.open", {"subject": subject, "conversationId": CONVERSATION}))["id"]
            for subject in ("First", "Second")
        ]
        seen = changes(client, 2)
        assert [change for _, change in seen] == [{"ticket_id": id, "status": "open"} for id in opened]
        mutate(client, "helpdesk.close", {"id": opened[0]})
        last_id = seen[-1][0]
        for parameters in ({"lastEventId": last_id}, {"input": json.dumps({"lastEventId": last_id})}):
            assert [change for _, change in changes(client, 1, **parameters)] == [{"ticket_id": opened[0], "status": "closed"}]
    with desk.client(None) as nobody, nobody.stream("GET", "/api/trpc/helpdesk.onChange") as reply:
        assert '"UNAUTHORIZED"' in "".join(reply.iter_text())
