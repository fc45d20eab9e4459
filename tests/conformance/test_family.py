"""The procedures beside list, get and delete by the stock @trpc/client 11.25: what each gives, refuses and limits."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas import Code
from storage import API_A
from tests.conformance.node import npm_install
from tests.conformance.test_clients import CLIENTS, MISSING, TIMESTAMP, Client, Link, Reply, Trpc, mutate, query
from tests.engines.backing import STORAGE
from tests.running import Attachd

LINKS = ("httpLink", "httpBatchLink", "wsLink")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture(scope="module")
def node() -> Iterator[Client]:
    npm_install(CLIENTS)
    client = Client("v11")
    yield client
    client.close()


@pytest.fixture(params=LINKS)
def trpc(request: pytest.FixtureRequest, node: Client, attachd: Attachd) -> Trpc:
    return Trpc(node, Link("v11", request.param, {}), attachd)


@pytest.fixture
def conversation() -> str:
    return str(uuid.uuid4())


def keep(site: Attachd, conversation_id: str | None = None, *, filename: str = "a.txt", who: str = "member") -> str:
    """The id of a new attachment, without a conversation unless one is given."""
    content = PNG if filename.endswith("png") else b"a note\n"
    with site.client(who) as client:
        data = {} if conversation_id is None else {"conversationId": conversation_id}
        reply = client.post("/api/upload", data=data, files={"file": (filename, content)})
    assert reply.status_code == 200, reply.text
    id: str = reply.json()["id"]
    return id


def value(reply: Reply) -> Any:
    """The value of the only call, which must have succeeded."""
    (outcome,) = reply.outcomes
    assert "value" in outcome, outcome
    return outcome["value"]["json"]


def assert_refused(reply: Reply, code: Code, path: str, message: str) -> None:
    (outcome,) = reply.outcomes
    assert "error" in outcome, outcome
    error = outcome["error"]
    assert (error["name"], error["shape"]["code"]) == ("TRPCClientError", code.number)
    assert error["data"] == {"code": code.name, "httpStatus": code.http_status, "path": path}
    assert message in error["message"]


def delete(id: str) -> dict[str, Any]:
    return mutate("attachments.delete", {"id": id})


def test_get_many(trpc: Trpc, conversation: str) -> None:
    ids = [keep(trpc.site, conversation) for _ in range(3)]
    foreign = keep(trpc.site, who="stranger")
    trpc(delete(ids[1]))
    call = query("attachments.getMany", {"ids": [ids[2], MISSING, ids[1], foreign, ids[0]]})
    found = value(trpc(call))
    assert [item["id"] for item in found["items"]] == [ids[2], ids[0]]
    assert found["missing"] == [MISSING, ids[1], foreign]
    assert found["items"][0] == value(trpc(query("attachments.get", {"id": ids[2]})))
    assert [item["id"] for item in value(trpc(call, who="admin"))["items"]] == [ids[2], ids[1], ids[0]]


def test_pages_there_and_back(trpc: Trpc, conversation: str) -> None:
    """As tRPC's infinite queries ask: cursor and direction beside the input, undefined for the first page."""
    ids = [keep(trpc.site, conversation, filename=f"{name}.txt") for name in "abcde"]
    asked = {"conversationId": conversation, "limit": 2, "sort": "filename", "order": "asc"}
    first = query("attachments.page", {**asked, "cursor": None, "direction": "forward"}, annotate={"cursor": ["undefined"]})
    pages = [value(trpc(first))]
    while cursor := pages[-1]["nextCursor"]:
        pages.append(value(trpc(query("attachments.page", {**asked, "cursor": cursor, "direction": "forward"}))))
    assert [[item["id"] for item in page["items"]] for page in pages] == [ids[:2], ids[2:4], ids[4:]]
    assert pages[0]["previousCursor"] is None
    back = value(trpc(query("attachments.page", {**asked, "cursor": pages[2]["previousCursor"], "direction": "backward"})))
    assert back["items"] == pages[1]["items"]
    back = value(trpc(query("attachments.page", {**asked, "cursor": back["previousCursor"], "direction": "backward"})))
    assert (back["items"], back["previousCursor"]) == (pages[0]["items"], None)
    (item, *_) = pages[0]["items"]
    assert item == {
        "id": ids[0],
        "conversation_id": conversation,
        "filename": "a.txt",
        "content_type": "text/plain",
        "size": 7,
        "created_at": item["created_at"],
        "owner_id": trpc.site.users["member"],
    }
    assert TIMESTAMP.fullmatch(item["created_at"])


def test_pages_of_the_organization_and_filters(trpc: Trpc, conversation: str) -> None:
    mark = uuid.uuid4().hex
    text = keep(trpc.site, conversation, filename=f"{mark}.txt")
    image = keep(trpc.site, filename=f"{mark}-Ä.png", who="colleague")
    keep(trpc.site, filename=f"{mark}.txt", who="stranger")

    def found(**asked: Any) -> list[str]:
        return [item["id"] for item in value(trpc(query("attachments.page", {"filename": mark.upper(), **asked})))["items"]]

    assert found() == [image, text]
    assert found(order="asc") == [text, image]
    assert found(conversationId=conversation) == [text]
    assert found(contentType="image/*") == [image]
    assert found(contentType="text/plain") == [text]
    assert found(contentType="audio/*") == []
    assert found(ownerId=trpc.site.users["colleague"]) == [image]
    assert found(filename=f"{mark}-ä") == [image]
    newest = value(trpc(query("attachments.page", {"limit": 1})))
    assert [item["id"] for item in newest["items"]] == [image]


def test_a_cursor_is_of_one_order(trpc: Trpc, conversation: str) -> None:
    for _ in range(2):
        keep(trpc.site, conversation)
    page = value(trpc(query("attachments.page", {"conversationId": conversation, "limit": 1})))
    for wrong in ({"cursor": page["nextCursor"], "order": "asc"}, {"cursor": page["nextCursor"], "sort": "size"}):
        reply = trpc(query("attachments.page", {"conversationId": conversation, **wrong}))
        assert_refused(reply, Code.BAD_REQUEST, "attachments.page", "the cursor is of another order")
    reply = trpc(query("attachments.page", {"cursor": "x"}))
    assert_refused(reply, Code.BAD_REQUEST, "attachments.page", "the cursor is none of attachments.page")


def test_attach(trpc: Trpc, conversation: str) -> None:
    ids = [keep(trpc.site) for _ in range(2)]
    attached = value(trpc(mutate("attachments.attach", {"ids": ids, "conversationId": conversation.upper()})))
    listed = value(trpc(query("attachments.list", {"conversationId": conversation})))
    assert sorted(attached["items"], key=lambda item: (item["created_at"], item["id"])) == listed
    assert [item["id"] for item in attached["items"]] == ids


def test_attach_refuses_all_for_one(trpc: Trpc, conversation: str) -> None:
    mine, theirs, linked, foreign = (
        keep(trpc.site),
        keep(trpc.site, who="colleague"),
        keep(trpc.site, conversation),
        keep(trpc.site, who="stranger"),
    )
    for wrong, code in (
        (theirs, Code.FORBIDDEN),
        (linked, Code.CONFLICT),
        (foreign, Code.NOT_FOUND),
        (MISSING, Code.NOT_FOUND),
    ):
        reply = trpc(mutate("attachments.attach", {"ids": [mine, wrong], "conversationId": str(uuid.uuid4())}))
        assert_refused(reply, code, "attachments.attach", wrong)
    assert value(trpc(query("attachments.get", {"id": mine})))["conversation_id"] is None
    reply = trpc(mutate("attachments.attach", {"ids": [mine], "conversationId": conversation}), who="admin")
    assert_refused(reply, Code.FORBIDDEN, "attachments.attach", "only its owner")


def test_rename(trpc: Trpc, conversation: str) -> None:
    id = keep(trpc.site, conversation)
    renamed = value(trpc(mutate("attachments.rename", {"id": id, "filename": "Übersicht 日本.TXT"})))
    assert renamed["filename"] == "Übersicht 日本.TXT"
    assert renamed == value(trpc(query("attachments.get", {"id": id})))
    assert value(trpc(mutate("attachments.rename", {"id": id, "filename": "b.txt"}), who="admin"))["filename"] == "b.txt"


@pytest.mark.parametrize(
    ("who", "filename", "code", "message"),
    [
        ("colleague", "b.txt", Code.FORBIDDEN, "only the owner"),
        ("stranger", "b.txt", Code.NOT_FOUND, "not found"),
        ("member", "b.csv", Code.BAD_REQUEST, "its name must end in .txt"),
        ("member", "b/c.txt", Code.BAD_REQUEST, "slash"),
        ("member", "", Code.BAD_REQUEST, "no name"),
        ("member", "x" * 252 + ".txt", Code.BAD_REQUEST, "exceeds 255 bytes"),
    ],
)
def test_rename_refuses(trpc: Trpc, conversation: str, who: str, filename: str, code: Code, message: str) -> None:
    id = keep(trpc.site, conversation)
    reply = trpc(mutate("attachments.rename", {"id": id, "filename": filename}), who=who)
    assert_refused(reply, code, "attachments.rename", message)


def test_rename_of_a_deleted_attachment(trpc: Trpc, conversation: str) -> None:
    id = keep(trpc.site, conversation)
    trpc(delete(id))
    for who in ("member", "admin"):
        reply = trpc(mutate("attachments.rename", {"id": id, "filename": "b.txt"}), who=who)
        assert_refused(reply, Code.NOT_FOUND, "attachments.rename", id)


def test_restore(trpc: Trpc, conversation: str) -> None:
    id = keep(trpc.site, conversation)
    before = value(trpc(query("attachments.get", {"id": id})))
    trpc(delete(id))
    restore = mutate("attachments.restore", {"id": id})
    assert_refused(trpc(restore), Code.FORBIDDEN, "attachments.restore", "only an admin")
    assert_refused(trpc(restore, who="stranger"), Code.NOT_FOUND, "attachments.restore", id)
    assert value(trpc(restore, who="admin")) == before
    assert_refused(trpc(restore, who="admin"), Code.NOT_FOUND, "attachments.restore", "is not deleted")
    with trpc.site.client() as client:
        assert client.get(f"/api/attachments/{id}/download").content == b"a note\n"


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server that keeps deleted attachments, and its events, for no time."""
    with Attachd(tmp_path_factory.mktemp("forgetful"), ATTACHD_SWEEP_RETENTION_DAYS="0") as site:
        yield site


def test_restore_past_the_retention_time(node: Client, forgetful: Attachd, conversation: str) -> None:
    trpc = Trpc(node, Link("v11", "httpLink", {}), forgetful)
    id = keep(forgetful, conversation)
    trpc(delete(id))
    reply = trpc(mutate("attachments.restore", {"id": id}), who="admin")
    assert_refused(reply, Code.PRECONDITION_FAILED, "attachments.restore", "sweep.retention_days")
    forgetful.run("sweep")
    reply = trpc(mutate("attachments.restore", {"id": id}), who="admin")
    assert_refused(reply, Code.NOT_FOUND, "attachments.restore", id)


def test_changes_before_a_sweep_are_no_longer_kept(node: Client, forgetful: Attachd, conversation: str) -> None:
    trpc = Trpc(node, Link("v11", "wsLink", {}), forgetful)
    keep(forgetful, conversation)
    forgetful.run("sweep")
    for last, message in (("0", "no longer kept"), ("1000000", "is unknown here")):
        call = {**query("attachments.onChange", {"conversationId": conversation, "lastEventId": last}), "type": "subscribe"}
        assert_refused(trpc(call), Code.PRECONDITION_FAILED, "attachments.onChange", message)
    call = {**query("attachments.onChange", {"conversationId": conversation, "lastEventId": "x"}), "type": "subscribe"}
    assert_refused(trpc(call), Code.BAD_REQUEST, "attachments.onChange", "lastEventId")


def test_url(trpc: Trpc) -> None:
    id = keep(trpc.site, filename="a.png")
    signed = value(trpc(query("attachments.url", {"id": id.upper()})))
    assert signed["url"].startswith(f"{trpc.site.base_url}/api/attachments/{id}/download?exp=")
    assert TIMESTAMP.fullmatch(signed["expires_at"])
    shown = httpx.get(signed["url"])
    assert (shown.status_code, shown.content) == (200, PNG)
    assert shown.headers["content-disposition"].startswith("inline")
    saved = httpx.get(value(trpc(query("attachments.url", {"id": id, "download": True}), who="colleague"))["url"])
    assert saved.headers["content-disposition"].startswith("attachment")
    reply = trpc(query("attachments.url", {"id": id}), who="stranger")
    assert_refused(reply, Code.NOT_FOUND, "attachments.url", id.lower())
    trpc(delete(id))
    assert httpx.get(signed["url"]).status_code == 404
    for who in ("member", "admin"):
        assert_refused(trpc(query("attachments.url", {"id": id}), who=who), Code.NOT_FOUND, "attachments.url", id)


def test_limits(trpc: Trpc) -> None:
    limits = value(trpc(query("attachments.limits")))
    assert limits == {
        "types": [
            {"extension": extension, "content_type": type_.content_type, "max_bytes": type_.max_bytes}
            for extension, type_ in API_A.types.items()
        ],
        "accept": ",".join(f".{extension}" for extension in API_A.types),
        "max_bytes": 25 * 2**20,
        "max_filename_bytes": 255,
        "max_batch_size": 100,
        "max_ids": 100,
        "direct": STORAGE == "s3",
    }


def test_usage(trpc: Trpc) -> None:
    before = value(trpc(query("attachments.usage"), who="colleague"))
    id = keep(trpc.site)
    keep(trpc.site, who="stranger")
    assert value(trpc(query("attachments.usage"))) == {"count": before["count"] + 1, "bytes": before["bytes"] + 7}
    trpc(delete(id))
    assert value(trpc(query("attachments.usage"))) == before


ID = {"id": MISSING}
INPUTS: dict[str, tuple[dict[str, Any], bool]] = {
    "getMany-0": (query("attachments.getMany", {"ids": []}), False),
    "getMany-1": (query("attachments.getMany", {"ids": [MISSING]}), True),
    "getMany-100": (query("attachments.getMany", {"ids": [MISSING] * 100}), True),
    "getMany-101": (query("attachments.getMany", {"ids": [MISSING] * 101}), False),
    "getMany-malformed": (query("attachments.getMany", {"ids": [MISSING, "x"]}), False),
    "page-0": (query("attachments.page", {"limit": 0}), False),
    "page-1": (query("attachments.page", {"limit": 1}), True),
    "page-200": (query("attachments.page", {"limit": 200}), True),
    "page-201": (query("attachments.page", {"limit": 201}), False),
    "page-half": (query("attachments.page", {"limit": 1.5}), False),
    "page-without-members": (query("attachments.page", {}), True),
    "page-all-undefined": (
        query("attachments.page", {"limit": None, "cursor": None}, annotate={"limit": ["undefined"], "cursor": ["undefined"]}),
        True,
    ),
    "page-sort": (query("attachments.page", {"sort": "owner_id"}), False),
    "page-order": (query("attachments.page", {"order": "DESC"}), False),
    "page-direction": (query("attachments.page", {"direction": "sideways"}), False),
    "page-type": (query("attachments.page", {"contentType": "image"}), False),
    "page-type-pattern": (query("attachments.page", {"contentType": "*/*"}), False),
    "page-filename-0": (query("attachments.page", {"filename": ""}), False),
    "page-filename-255": (query("attachments.page", {"filename": "x" * 255}), True),
    "page-filename-256": (query("attachments.page", {"filename": "x" * 256}), False),
    "page-cursor-long": (query("attachments.page", {"cursor": "x" * 2049}), False),
    "attach-0": (mutate("attachments.attach", {"ids": [], "conversationId": MISSING}), False),
    "attach-101": (mutate("attachments.attach", {"ids": [MISSING] * 101, "conversationId": MISSING}), False),
    "attach-without-conversation": (mutate("attachments.attach", {"ids": [MISSING]}), False),
    "rename-without-name": (mutate("attachments.rename", ID), False),
    "rename-number": (mutate("attachments.rename", {**ID, "filename": 1}), False),
    "restore-malformed": (mutate("attachments.restore", {"id": "x"}), False),
    "url-malformed": (query("attachments.url", {"id": f"{MISSING}\n"}), False),
    "url-flag": (query("attachments.url", {**ID, "download": "yes"}), False),
    "limits-ignores-input": (query("attachments.limits", {"a": 1}), True),
    "usage-ignores-input": (query("attachments.usage", []), True),
}


@pytest.mark.parametrize(("call", "is_taken"), INPUTS.values(), ids=INPUTS.keys())
def test_the_limits_of_inputs(trpc: Trpc, call: dict[str, Any], is_taken: bool) -> None:
    reply = trpc(call)
    if is_taken:
        value(reply)
    else:
        assert_refused(reply, Code.BAD_REQUEST, call["path"], "the input is not valid")


@pytest.mark.parametrize(
    "call",
    [
        query("attachments.getMany", {"ids": [MISSING]}),
        query("attachments.page", {}),
        query("attachments.url", ID),
        query("attachments.limits"),
        query("attachments.usage"),
        mutate("attachments.attach", {"ids": [MISSING], "conversationId": MISSING}),
        mutate("attachments.rename", {**ID, "filename": "a.txt"}),
        mutate("attachments.restore", ID),
    ],
    ids=lambda call: call["path"],
)
def test_nothing_without_a_credential(trpc: Trpc, call: dict[str, Any]) -> None:
    assert_refused(trpc(call, who=None), Code.UNAUTHORIZED, call["path"], "authentication required")


def test_a_batch_of_the_family(node: Client, attachd: Attachd, conversation: str) -> None:
    trpc = Trpc(node, Link("v11", "httpBatchLink", {}), attachd)
    id = keep(attachd, conversation)
    calls = [
        query("attachments.limits"),
        query("attachments.page", {"conversationId": conversation, "sort": "size"}),
        query("attachments.getMany", {"ids": [id]}),
        query("attachments.url", {"id": MISSING}),
        query("attachments.usage"),
    ]
    reply = trpc(*calls)
    assert ["value" in outcome for outcome in reply.outcomes] == [True, True, True, False, True]
    assert reply.statuses == [207]
