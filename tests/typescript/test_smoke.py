"""attachd-client in Node against a running attachd: every link, uploads with progress and abort, and what it sends."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.node import node_command, node_environment
from tests.running import Attachd
from tests.typescript.package_built import project

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server of their own: they count what it keeps."""
    with Attachd(tmp_path_factory.mktemp("smoke")) as server:
        yield server


def run(site: Attachd, scenario: str, conversation: str | None = None) -> Any:
    """What a scenario of smoke.mjs saw, in a fresh conversation unless one is given."""
    told = {
        "base": site.base_url,
        "key": site.key,
        "session": site.tokens.get("member"),
        "conversation": conversation or str(uuid.uuid4()),
    }
    done = subprocess.run(
        [*node_command(), "smoke.mjs", scenario],
        cwd=project(),
        env=node_environment(),
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def upload(site: Attachd, conversation: str, filename: str = "note.txt") -> None:
    with site.client() as client:
        client.post(
            "/api/upload", files={"file": (filename, b"hello")}, data={"conversationId": conversation}
        ).raise_for_status()


@pytest.mark.parametrize(("scenario", "accepts"), [("batch", None), ("stream", "application/jsonl")])
def test_calls_go_in_one_batch(site: Attachd, scenario: str, accepts: str | None) -> None:
    conversation = str(uuid.uuid4())
    upload(site, conversation)
    seen = run(site, scenario, conversation)
    assert [item["filename"] for item in seen["items"]] == ["note.txt"]
    assert seen["batchSize"] == 100
    assert seen["missing"]["code"] == "NOT_FOUND"
    (request,) = seen["requests"]
    assert request["path"] == "attachments.list,attachments.limits,attachments.get"
    assert request["batch"]
    assert request["headers"]["authorization"] == f"Bearer {site.key}"
    assert request["headers"].get("trpc-accept") == accepts


@pytest.mark.parametrize("scenario", ["sse", "websocket"])
def test_a_subscription_tells_of_an_upload(site: Attachd, scenario: str) -> None:
    seen = run(site, scenario)
    assert [(event["type"], event["filename"]) for event in seen["events"]] == [("ready", None), ("created", "event.txt")]
    assert int(seen["events"][0]["id"]) < int(seen["events"][1]["id"])
    assert seen["stopped"]
    assert [request["path"] for request in seen["requests"]] == ["attachments.upload"], "events do not come by fetch"


def test_an_upload_tells_its_progress(site: Attachd) -> None:
    conversation = str(uuid.uuid4())
    seen = run(site, "uploaded", conversation)
    attachment = seen["attachment"]
    assert (attachment["filename"], attachment["size"]) == ("größe ✓.txt", 5 * MEBIBYTE)
    assert attachment["conversation_id"] == conversation
    steps = [step["loaded"] for step in seen["progress"]]
    assert len(steps) > 10
    assert steps == sorted(steps)
    assert steps[-1] == 5 * MEBIBYTE
    assert {step["total"] for step in seen["progress"]} == {5 * MEBIBYTE}
    (request,) = seen["requests"]
    assert not request["batch"]
    with site.client() as client:
        assert client.get(f"/api/attachments/{attachment['id']}/download").content == b"x" * (5 * MEBIBYTE)


def test_bytes_and_forms_go_through_the_procedure(site: Attachd) -> None:
    seen = run(site, "bodies")
    kept = {name: (seen[name]["filename"], seen[name]["size"]) for name in ("blob", "view", "form", "counted")}
    assert kept == {"blob": ("blob.txt", 4), "view": ("view.txt", 4), "form": ("form.txt", 4), "counted": ("form.txt", 4)}
    assert seen["view"]["conversation_id"] == seen["form"]["conversation_id"] is not None
    assert seen["progress"][-1]["loaded"] > 4, "the form around the file counts"
    assert "total" not in seen["progress"][-1]
    assert seen["nameless"] == "TypeError: an upload needs a name: give a File, or the option `filename`"


def test_an_aborted_upload_leaves_nothing(site: Attachd) -> None:
    seen = run(site, "aborted")
    assert [failure["cause"] for failure in seen["failures"]] == ["AbortError", "AbortError"]
    assert MEBIBYTE < seen["loaded"] < 20 * MEBIBYTE
    assert seen["items"] == []


def test_refusals_are_typed_errors(site: Attachd) -> None:
    failures = run(site, "refused")
    assert "the package `eventsource`" in failures.pop("withoutEventSource")["message"]
    assert {name: (failure["code"], failure["reason"]) for name, failure in failures.items()} == {
        "large": ("PAYLOAD_TOO_LARGE", "ATTACHMENT_TOO_LARGE"),
        "largeAtOnce": ("PAYLOAD_TOO_LARGE", "ATTACHMENT_TOO_LARGE"),
        "type": ("UNSUPPORTED_MEDIA_TYPE", "INVALID_ATTACHMENT_TYPE"),
        "digest": ("BAD_REQUEST", None),
        "anonymous": ("UNAUTHORIZED", None),
        "anonymousEvents": ("UNAUTHORIZED", None),
    }


def test_an_upload_says_all_that_is_known_of_the_file(site: Attachd) -> None:
    conversation = str(uuid.uuid4())
    seen = run(site, "sent", conversation)
    expected = {
        "content-type": "application/octet-stream",
        "content-length": str(MEBIBYTE),  # so that what is too large is refused before it is sent
        "content-digest": "sha-256=:x:",
        "x-attachd-filename": "gr%C3%B6%C3%9Fe%20%E2%9C%93.txt",
        "x-attachd-conversation-id": conversation,
        "x-attachd-ticket-id": "t",
        "authorization": f"Bearer {site.key}",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert "transfer-encoding" not in seen


def test_options_reach_the_links(site: Attachd) -> None:
    seen = run(site, "options")
    assert [request["path"] for request in seen["requests"]] == ["attachments.usage,attachments.usage", "attachments.usage"]
    assert [request["headers"]["x-tenant"] for request in seen["requests"]] == ["a", "a"]
    assert seen["asked"] == 2, "the token is asked for with each request"
    assert seen["seen"] == ["attachments.usage"] * 3


def test_a_page_uploads_with_its_cookie_by_xmlhttprequest(site: Attachd) -> None:
    conversation = str(uuid.uuid4())
    seen = run(site, "browser", conversation)
    assert (seen["attachment"]["filename"], seen["attachment"]["size"]) == ("page.txt", 3 * MEBIBYTE)
    assert seen["progress"][-1] == {"loaded": 3 * MEBIBYTE, "total": 3 * MEBIBYTE}
    assert seen["stopped"]["cause"] == "AbortError"
    assert (seen["refusal"]["code"], seen["refusal"]["reason"]) == ("UNSUPPORTED_MEDIA_TYPE", "INVALID_ATTACHMENT_TYPE")
    with site.client() as client:
        listed = client.get("/api/trpc/attachments.list", params={"input": json.dumps({"conversationId": conversation})})
    assert [item["filename"] for item in listed.json()["result"]["data"]["json"]] == ["page.txt"]


@pytest.fixture(scope="module")
def every_type(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server with the router whose types stand in the golden module; anybody may call it."""
    plugin = "tests.typescript.every_type:router"
    with Attachd(tmp_path_factory.mktemp("types"), credentials=False, ATTACHD_SERVER_PLUGINS=plugin) as server:
        yield server


def test_values_are_what_their_types_say(every_type: Attachd) -> None:
    """Of every feature of types: golden/router.ts says the same."""
    seen = run(every_type, "types")
    assert seen["leaves"] == {
        "anything": "Array",
        "flag": "Boolean",
        "count": "Number",
        "huge": "BigInt",
        "ratio": "Number",
        "slug": "String",
        "raw": "Uint8Array",
        "moment": "Date",
        "day": "String",
        "clock": "String",
        "lasting": "String",
        "price": "Number",
        "key": "String",
        "page": "URL",
        "pattern": "RegExp",
        "failure": "Error",
        "color": "String",
        "level": "Number",
        "fixed": "String",
    }
    assert seen["values"] == [str(2**60), True, [1, 2], 0, 12.5, "/a+/i"]
    records = dict.fromkeys(("by_name", "by_unit", "by_letter", "by_anything"), "Object")
    maps = dict.fromkeys(("by_number", "by_key", "by_either"), "Map")
    expected = {"tags": "Set", "frozen": "Set", **records, **maps}
    assert seen["containers"] == dict.fromkeys(seen["containers"], "Array") | expected
    assert seen["empty"] == "Object", "an empty dict says nothing of its keys"
    assert seen["options"] == {
        "mustBe": "x",
        "mayBeNull": None,
        "pageSize": 50,
        "withColor": "red",
        "listOfNames": [],
        "nullByDefault": None,
        "content-type": "text/plain",
    }
    assert seen["sparse"] == [None, {"always": 1}]
    assert seen["tree"] == [{"name": "root", "children": [{"name": "leaf", "children": []}]}]
    assert seen["nothing"] is None
    assert seen["local"] == "2026-11-22T10:30:00"
    assert seen["animal"] == {"type": "cat", "lives": 2}
    assert seen["arrays"] == [[1, 2], [1, 2, ""]]
    assert seen["dicts"] == [{"accept": "640x480"}, {"width": 4, "height": 480}]
    page = {"items": [{"name": "a", "children": []}], "next_cursor": None}
    assert seen["pages"] == [page, [{"items": ["a"], "next_cursor": "next"}, {"items": [[1], None], "next_cursor": None}]]
    assert seen["items"] == [{"scale": 3}, {"price": 4}, {"title": "five"}]


def test_pieces_come_as_their_types_say(every_type: Attachd) -> None:
    nodes: list[dict[str, object]] = [{"name": name, "children": []} for name in ("first", "second")]
    change = {"id": "1", "data": {"name": "root", "children": []}}
    assert run(every_type, "pieces") == {
        "later": ["now", 7, nodes],
        "counted": [3],
        "ticks": [True],
        "changes": [change],
        "changesOfSocket": [change],
    }
