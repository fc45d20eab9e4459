"""The stock @trpc/client, versions 11.25 and 10.45, in Node against the real server: every scenario over every link."""

import json
import re
import select
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conformance.launched import Launched
from tests.conformance.node import node_command, npm_install
from tests.running import Attachd

CLIENTS = Path(__file__).parent / "clients"
# Ample for a loaded machine; a healthy answer takes milliseconds.
ANSWER_TIMEOUT_S = 30.0
UNDEFINED = {"json": None, "meta": {"values": ["undefined"]}}
MISSING = "01900000-0000-7000-8000-000000000000"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MAX_BATCH_SIZE = 100


class Link(NamedTuple):
    """A terminating link as an application configures it: the client's major version, the link, its options."""

    version: str
    name: str
    options: dict[str, str]

    @property
    def batches(self) -> bool:
        return self.name in {"httpBatchLink", "httpBatchStreamLink"}

    @property
    def has_requests(self) -> bool:
        """Whether calls are requests, which over a WebSocket they are not."""
        return self.name != "wsLink"


POST = {"methodOverride": "POST"}
# Not version 10's unstable_httpBatchStreamLink: what it reads, @trpc/server 11 no longer writes either.
LINKS = {
    "v11-httpLink": Link("v11", "httpLink", {}),
    "v11-httpLink-override": Link("v11", "httpLink", POST),
    "v11-httpBatchLink": Link("v11", "httpBatchLink", {}),
    "v11-httpBatchLink-override": Link("v11", "httpBatchLink", POST),
    "v11-httpBatchStreamLink": Link("v11", "httpBatchStreamLink", {}),
    "v11-httpBatchStreamLink-override": Link("v11", "httpBatchStreamLink", POST),
    "v11-wsLink": Link("v11", "wsLink", {}),
    "v10-httpLink": Link("v10", "httpLink", {}),
    "v10-httpBatchLink": Link("v10", "httpBatchLink", {}),
    "v10-wsLink": Link("v10", "wsLink", {}),
}


class Client:
    """One Node process of one client version; a command is a JSON line, its result another (clients/driver.mjs)."""

    def __init__(self, version: str) -> None:
        self.process = subprocess.Popen(
            [*node_command(), CLIENTS / version / "client.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], ANSWER_TIMEOUT_S)[0], f"no answer to {command}"
        result: dict[str, Any] = json.loads(self.process.stdout.readline())
        return result

    def close(self) -> None:
        self.process.communicate(timeout=ANSWER_TIMEOUT_S)


class Reply(NamedTuple):
    """What the calls of one command came to, and the HTTP requests they cost."""

    outcomes: list[dict[str, Any]]
    requests: list[dict[str, Any]]

    @property
    def values(self) -> list[Any]:
        return [outcome["value"]["json"] for outcome in self.outcomes]

    @property
    def statuses(self) -> list[int]:
        return sorted(request["status"] for request in self.requests)


class Trpc:
    """Calls by one link, as one of the site's people."""

    def __init__(self, client: Client, link: Link, site: Attachd) -> None:
        self.client, self.link, self.site = client, link, site

    def __call__(self, *calls: dict[str, Any], who: str | None = "member") -> Reply:
        headers = {"cookie": f"session={self.site.tokens[who]}"} if who else {}
        return self.run(self.site.base_url, headers, *calls)

    def run(self, base_url: str, headers: dict[str, str], *calls: dict[str, Any]) -> Reply:
        """The calls at a server with those headers."""
        command = {"link": self.link.name, "options": self.link.options, "url": f"{base_url}/api/trpc"}
        return Reply(**self.client.run({**command, "headers": headers, "calls": calls}))

    def statuses(self, *, each: list[int], batch: list[int]) -> list[int]:
        """Those of the requests that calls cost: one `each`, a `batch`, or always 200 for one whose answer is streamed."""
        match self.link.name:
            case "wsLink":
                return []
            case "httpBatchStreamLink":
                return [200] * len(batch)
            case "httpBatchLink":
                return batch
            case _:
                return each


def query(path: str, input: Any = None, *, annotate: dict[str, Any] | None = None, abort: str | None = None) -> dict[str, Any]:
    """A query; `input` None is undefined, `annotate` names superjson's types by the member's path."""
    wrapped = None if input is None else {"json": input, **({"meta": {"values": annotate}} if annotate else {})}
    return {"type": "query", "path": path, "input": wrapped, "abort": abort}


def mutate(path: str, input: Any = None, **options: Any) -> dict[str, Any]:
    """A mutation; otherwise as `query`."""
    return {**query(path, input, **options), "type": "mutate"}


def subscribe(path: str, input: Any = None) -> dict[str, Any]:
    """A subscription to its end, whose value is the list of its items; otherwise as `query`."""
    return {**query(path, input), "type": "subscribe"}


def get(id: str) -> dict[str, Any]:
    return query("attachments.get", {"id": id})


def delete(id: str) -> dict[str, Any]:
    return mutate("attachments.delete", {"id": id})


def list_(conversation_id: str) -> dict[str, Any]:
    return query("attachments.list", {"conversationId": conversation_id})


def assert_error(outcome: dict[str, Any], code: str, path: str, *, message: str | None = None) -> None:
    """The outcome is the TRPCClientError of `code`, every member as @trpc/client documents it."""
    number, status = ERRORS[code]
    error = outcome["error"]
    assert error["name"] == "TRPCClientError"
    assert error["data"] == {"code": code, "httpStatus": status, "path": path}
    assert error["shape"] == {"message": error["message"], "code": number, "data": error["data"]}
    assert error["message"]
    assert message is None or error["message"] == message


ERRORS = {
    "BAD_REQUEST": (-32600, 400),
    "UNAUTHORIZED": (-32001, 401),
    "FORBIDDEN": (-32003, 403),
    "NOT_FOUND": (-32004, 404),
    "METHOD_NOT_SUPPORTED": (-32005, 405),
}


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, Client]]:
    npm_install(CLIENTS)
    processes = {version: Client(version) for version in ("v10", "v11")}
    yield processes
    for process in processes.values():
        process.close()


@pytest.fixture(params=list(LINKS.values()), ids=list(LINKS))
def trpc(request: pytest.FixtureRequest, clients: dict[str, Client], attachd: Attachd) -> Trpc:
    link: Link = request.param
    return Trpc(clients[link.version], link, attachd)


@pytest.fixture
def conversation() -> str:
    return str(uuid.uuid4())


def upload(site: Attachd, conversation_id: str, *, who: str = "member", filename: str = "note.txt") -> dict[str, Any]:
    """The answer to an upload over REST into the conversation."""
    with site.client(who) as client:
        reply = client.post("/api/upload", data={"conversationId": conversation_id}, files={"file": (filename, b"a note\n")})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_list(trpc: Trpc, conversation: str) -> None:
    uploads = [upload(trpc.site, conversation, filename=f"{name}.txt") for name in "abc"]
    upload(trpc.site, str(uuid.uuid4()))
    reply = trpc(list_(conversation))
    items = reply.values[0]
    known = {
        uploaded["id"]: {"conversation_id": conversation, "size": 7}
        | {name: uploaded[name] for name in ("id", "filename", "content_type")}
        for uploaded in uploads
    }
    assert items == [known[item["id"]] | {"created_at": item["created_at"]} for item in items]
    assert len(items) == 3
    assert all(TIMESTAMP.fullmatch(item["created_at"]) for item in items)
    assert items == sorted(items, key=lambda item: (item["created_at"], item["id"]))
    assert "meta" not in reply.outcomes[0]["value"], "times are strings, not Date"
    assert reply.statuses == trpc.statuses(each=[200], batch=[200])
    assert {request["method"] for request in reply.requests} <= {"POST" if trpc.link.options else "GET"}


def test_list_of_an_unknown_conversation_is_empty(trpc: Trpc, conversation: str) -> None:
    assert trpc(list_(conversation)).values == [[]]


def test_list_shows_nothing_of_another_organization(trpc: Trpc, conversation: str) -> None:
    upload(trpc.site, conversation)
    assert trpc(list_(conversation), who="stranger").values == [[]]


def test_get(trpc: Trpc, conversation: str) -> None:
    uploaded = upload(trpc.site, conversation)
    item = trpc(list_(conversation)).values[0][0]
    (attachment,) = trpc(get(uploaded["id"])).values
    assert attachment == {
        **item,
        "organization_id": trpc.site.organization_id,
        "storage_path": f"attachments/{trpc.site.organization_id}/{item['id']}",
    }


@pytest.mark.parametrize(
    ("call", "who", "code"),
    [
        pytest.param(get(MISSING), "member", "NOT_FOUND", id="get-missing"),
        pytest.param(get("not-a-uuid"), "member", "BAD_REQUEST", id="get-malformed-id"),
        pytest.param(get(f"{{{MISSING}}}"), "member", "BAD_REQUEST", id="get-id-in-braces"),
        pytest.param(get(MISSING + "\n"), "member", "BAD_REQUEST", id="get-id-newline"),
        pytest.param(query("attachments.get"), "member", "BAD_REQUEST", id="get-undefined"),
        pytest.param(query("attachments.get", {}), "member", "BAD_REQUEST", id="get-without-id"),
        pytest.param(query("attachments.get", [MISSING]), "member", "BAD_REQUEST", id="get-array"),
        pytest.param(
            query("attachments.get", {"id": "2024-01-15T10:30:00.000Z"}, annotate={"id": ["Date"]}),
            "member",
            "BAD_REQUEST",
            id="get-date-as-id",
        ),
        pytest.param(list_("nowhere"), "member", "BAD_REQUEST", id="list-malformed-id"),
        pytest.param(query("attachments.list", {"id": MISSING}), "member", "BAD_REQUEST", id="list-wrong-member"),
        pytest.param(delete(MISSING), "member", "NOT_FOUND", id="delete-missing"),
        pytest.param(delete("1"), "member", "BAD_REQUEST", id="delete-malformed-id"),
        pytest.param(get(MISSING), None, "UNAUTHORIZED", id="get-no-session"),
        pytest.param(get("not-a-uuid"), None, "UNAUTHORIZED", id="malformed-id-no-session"),
        pytest.param(list_(MISSING), None, "UNAUTHORIZED", id="list-no-session"),
        pytest.param(delete(MISSING), None, "UNAUTHORIZED", id="delete-no-session"),
        pytest.param(query("attachments.nope", {}), "member", "NOT_FOUND", id="unknown-query"),
        pytest.param(mutate("nope"), "member", "NOT_FOUND", id="unknown-mutation"),
        pytest.param(query("attachments.nope"), None, "NOT_FOUND", id="unknown-no-session"),
        pytest.param(query("attachments.constructor"), "member", "NOT_FOUND", id="constructor"),
        pytest.param(query("__proto__.get"), "member", "NOT_FOUND", id="proto"),
    ],
)
def test_error(trpc: Trpc, call: dict[str, Any], who: str | None, code: str) -> None:
    reply = trpc(call, who=who)
    assert_error(reply.outcomes[0], code, call["path"])
    assert reply.statuses == trpc.statuses(each=[ERRORS[code][1]], batch=[ERRORS[code][1]])


def test_unknown_procedure_says_so(trpc: Trpc) -> None:
    what = "procedure found" if trpc.link.has_requests else '"query"-procedure'
    message = f'No {what} on path "attachments.nope"'
    assert_error(trpc(query("attachments.nope")).outcomes[0], "NOT_FOUND", "attachments.nope", message=message)


def test_another_organizations_attachment_reads_as_missing(trpc: Trpc, conversation: str) -> None:
    mine = upload(trpc.site, conversation)["id"]
    missing = trpc(get(MISSING), delete(MISSING), who="stranger").outcomes
    for outcome, reference in zip(trpc(get(mine), delete(mine), who="stranger").outcomes, missing, strict=True):
        message = reference["error"]["message"].replace(MISSING, mine)
        assert_error(outcome, "NOT_FOUND", reference["error"]["data"]["path"], message=message)
    assert trpc(get(mine)).values[0]["id"] == mine


@pytest.mark.parametrize("who", ["member", "admin"])
def test_delete_by_owner_or_admin(trpc: Trpc, conversation: str, who: str) -> None:
    mine = upload(trpc.site, conversation)["id"]
    reply = trpc(delete(mine), who=who)
    assert reply.values == [{"success": True}]
    assert reply.statuses == trpc.statuses(each=[200], batch=[200])
    assert {request["method"] for request in reply.requests} <= {"POST"}
    assert trpc(list_(conversation)).values == [[]]
    assert_error(trpc(get(mine)).outcomes[0], "NOT_FOUND", "attachments.get")
    assert_error(trpc(delete(mine), who=who).outcomes[0], "NOT_FOUND", "attachments.delete")


def test_delete_by_another_member_is_forbidden(trpc: Trpc, conversation: str) -> None:
    mine = upload(trpc.site, conversation)["id"]
    reply = trpc(delete(mine), who="colleague")
    assert_error(reply.outcomes[0], "FORBIDDEN", "attachments.delete")
    assert reply.statuses == trpc.statuses(each=[403], batch=[403])
    assert trpc(get(mine), who="colleague").values[0]["id"] == mine


def test_mixed_batch(trpc: Trpc, conversation: str) -> None:
    mine = upload(trpc.site, conversation)["id"]
    reply = trpc(list_(conversation), get(MISSING), get(mine), query("attachments.nope"), get("x"))
    listed, missing, found, unknown, malformed = reply.outcomes
    assert [item["id"] for item in listed["value"]["json"]] == [mine] == [found["value"]["json"]["id"]]
    assert_error(missing, "NOT_FOUND", "attachments.get")
    assert_error(unknown, "NOT_FOUND", "attachments.nope")
    assert_error(malformed, "BAD_REQUEST", "attachments.get")
    assert reply.statuses == trpc.statuses(each=[200, 200, 400, 404, 404], batch=[207])


def test_batch_of_mutations(trpc: Trpc, conversation: str) -> None:
    mine, other, theirs = (upload(trpc.site, conversation, who=who)["id"] for who in ("member", "member", "colleague"))
    reply = trpc(delete(mine), delete(theirs), delete(MISSING), delete(other))
    assert [outcome.get("value") for outcome in reply.outcomes] == [
        {"json": {"success": True}},
        None,
        None,
        {"json": {"success": True}},
    ]
    assert_error(reply.outcomes[1], "FORBIDDEN", "attachments.delete")
    assert_error(reply.outcomes[2], "NOT_FOUND", "attachments.delete")
    assert reply.statuses == trpc.statuses(each=[200, 200, 403, 404], batch=[207])
    assert [item["id"] for item in trpc(list_(conversation)).values[0]] == [theirs]


def test_batch_of_equal_outcomes_has_their_status(trpc: Trpc) -> None:
    calls = [get(MISSING), get(MISSING)]
    assert trpc(*calls).statuses == trpc.statuses(each=[404, 404], batch=[404])
    assert trpc(*calls, who=None).statuses == trpc.statuses(each=[401, 401], batch=[401])


def test_queries_and_mutations_in_one_tick(trpc: Trpc, conversation: str) -> None:
    mine, theirs = (upload(trpc.site, conversation, who=who)["id"] for who in ("member", "colleague"))
    reply = trpc(get(theirs), delete(mine), get(theirs), delete(theirs))
    assert [reply.outcomes[i]["value"]["json"]["id"] for i in (0, 2)] == [theirs, theirs]
    assert reply.outcomes[1]["value"]["json"] == {"success": True}
    assert_error(reply.outcomes[3], "FORBIDDEN", "attachments.delete")
    assert reply.statuses == trpc.statuses(each=[200, 200, 200, 403], batch=[200, 207])


def test_large_batch(trpc: Trpc, conversation: str) -> None:
    mine = upload(trpc.site, conversation)["id"]
    reply = trpc(*[get(mine)] * MAX_BATCH_SIZE)
    assert {value["id"] for value in reply.values} == {mine}
    assert reply.statuses == trpc.statuses(each=[200] * MAX_BATCH_SIZE, batch=[200])


def test_batch_past_the_limit_fails_every_call(trpc: Trpc) -> None:
    reply = trpc(*[get(MISSING)] * (MAX_BATCH_SIZE + 1))
    if not trpc.link.batches and trpc.link.has_requests:
        assert set(reply.statuses) == {404}
        return
    assert reply.statuses == ([400] if trpc.link.has_requests else [])
    for outcome in reply.outcomes:
        assert outcome["error"]["message"] == "Batch call exceeds maximum size"
        assert outcome["error"]["data"] == {"code": "BAD_REQUEST", "httpStatus": 400}


@pytest.mark.parametrize(
    ("extra", "annotate"),
    [
        pytest.param({"since": "2024-01-15T10:30:00.000Z"}, {"since": ["Date"]}, id="date"),
        pytest.param({"since": None}, {"since": ["undefined"]}, id="undefined"),
        pytest.param({"note": None}, None, id="null"),
        pytest.param(
            {"size": "NaN", "ids": [1], "big": "1"}, {"size": ["number"], "ids": ["set"], "big": ["bigint"]}, id="rich"
        ),
    ],
)
def test_unknown_members_of_every_type_are_stripped(trpc: Trpc, conversation: str, extra: Any, annotate: Any) -> None:
    mine = upload(trpc.site, conversation)["id"]
    reply = trpc(query("attachments.list", {"conversationId": conversation, **extra}, annotate=annotate))
    assert [item["id"] for item in reply.values[0]] == [mine]
    assert trpc(mutate("attachments.delete", {"id": mine, **extra}, annotate=annotate)).values == [{"success": True}]


def test_abort(trpc: Trpc, conversation: str) -> None:
    assert_aborted(trpc, conversation, "called")


OVER_HTTP = {name: link for name, link in LINKS.items() if link.has_requests}


@pytest.mark.parametrize("trpc", OVER_HTTP.values(), ids=OVER_HTTP, indirect=True)
def test_abort_of_a_request_that_is_being_answered(trpc: Trpc, conversation: str) -> None:
    assert_aborted(trpc, conversation, "answered")


def assert_aborted(trpc: Trpc, conversation: str, moment: str) -> None:
    error = trpc({**list_(conversation), "abort": moment}).outcomes[0]["error"]
    assert error["name"] == "TRPCClientError"
    assert "abort" in error["message"].lower()
    assert "data" not in error
    assert trpc(list_(conversation)).values == [[]], "the connection pool and the server go on"


OVER_WEBSOCKET = {name: link for name, link in LINKS.items() if not link.has_requests}


@pytest.mark.parametrize("trpc", OVER_WEBSOCKET.values(), ids=OVER_WEBSOCKET, indirect=True)
def test_subscriptions_over_a_websocket(trpc: Trpc, launched: Launched) -> None:
    """By each version of the client; what more there is to subscriptions, version 11 shows in test_lasting.py."""
    calls = [subscribe("sub.count", {"to": 3}), subscribe("sub.tracked", {"lastEventId": "2"}), subscribe("sub.fails")]
    reply = trpc.run(launched.base_url, {"cookie": f"session={launched.names['member']}"}, *calls)
    counted, tracked, failed = reply.outcomes
    assert counted["value"]["json"] == [0, 1, 2]
    assert tracked["value"] == {
        "json": [{"id": "3", "data": {"index": 3, "when": "2024-01-15T10:30:00.000Z"}}],
        "meta": {"values": {"0.data.when": ["Date"]}, "v": 1},
    }
    assert failed["error"]["data"] == {"code": "CONFLICT", "httpStatus": 409, "path": "sub.fails"}
