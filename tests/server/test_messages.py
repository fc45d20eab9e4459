"""API B's messages over HTTP: what is kept, what is linked, what is refused; and that the mail arrives."""

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rest.live import eventually
from tests.running import Attachd, run_attachd
from tests.server.mail_server import MailServer
from tests.server.test_openapi import assert_documented

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\1\2\3" * 16


@pytest.fixture(scope="module")
def mail_server() -> Iterator[MailServer]:
    """A mail server."""
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory, mail_server: MailServer) -> Iterator[Attachd]:
    """A server that sends mails, with limits that a test can reach."""
    with Attachd(
        tmp_path_factory.mktemp("sender"),
        ATTACHD_MAIL_HOST="127.0.0.1",
        ATTACHD_MAIL_PORT=str(mail_server.port),
        ATTACHD_MAIL_SECURITY="none",
        ATTACHD_MAIL_SENDER="Support <support@example.com>",
        ATTACHD_MAIL_MAX_CONTENT_BYTES="2000",
        ATTACHD_MAIL_MAX_MESSAGE_BYTES="50000000",
        ATTACHD_MAIL_MAX_RECIPIENTS="3",
        ATTACHD_MAIL_MAX_ATTACHMENTS="3",
    ) as attachd:
        yield attachd


@pytest.fixture
def client(sender: Attachd) -> Iterator[httpx.Client]:
    """A member."""
    with sender.client() as client:
        yield client


def upload(client: httpx.Client, name: str = "a.png", inline: str = "false") -> str:
    reply = client.post("/api/v1/media", files={"file": (name, PNG)}, data={"inline": inline})
    assert reply.status_code == 200, reply.text
    id: str = reply.json()["data"]["uuid"]
    return id


def path(conversation: str) -> str:
    return f"/api/v1/conversations/{conversation}/messages"


def message(**changes: Any) -> dict[str, Any]:
    return {"content": "<p>Hello</p>", "attachments": [], "to": ["ada@example.com"], **changes}


def listed(client: httpx.Client, conversation: str) -> set[str]:
    """The attachments of a conversation."""
    query = {"input": json.dumps({"conversationId": conversation})}
    items = client.get("/api/trpc/attachments.list", params=query).json()["result"]["data"]["json"]
    return {item["id"] for item in items}


def rows(attachd: Attachd, table: str) -> int:
    ((count,),) = attachd.backing.query(f"SELECT count(*) FROM {table}")  # noqa: S608 (a name of ours)
    return int(count)


def in_outbox(sender: Attachd, id: str, *options: str) -> list[str]:
    """The columns of a message in `outbox list`, once it is listed: what came of a mail is noted after the answer to it."""
    found: list[list[str]] = []

    def is_listed() -> bool:
        rows = [line.split("\t") for line in sender.run("outbox", "list", *options).splitlines()]
        found[:] = [row for row in rows if row[0] == id]
        return bool(found)

    assert eventually(is_listed), options
    return found[0]


def test_a_message_is_answered_linked_and_sent(sender: Attachd, client: httpx.Client, mail_server: MailServer) -> None:
    conversation = str(uuid.uuid4())
    image, file = upload(client, "Katze.png", "true"), upload(client, "b.png")
    content = f'<img src="{sender.base_url}/uploads/{image.upper()}?sig=x&amp;exp=1">'
    asked = message(content=content, attachments=[file.upper(), file], to=["Ada <ada@Example.com>"], cc=["bob@example.com"])
    reply = client.post(path(conversation.upper()), json=asked | {"subject": " Grüße ", "unknown": 1})
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    (attachment,) = data.pop("attachments")
    assert {key: value for key, value in data.items() if key not in ("uuid", "created_at")} == {
        "conversation_uuid": conversation,
        "status": "queued",
        "message_id": f"{data['uuid']}@example.com",
        "subject": "Grüße",
        "content": content,
        "to": ["Ada <ada@example.com>"],
        "cc": ["bob@example.com"],
    }
    assert (attachment["uuid"], attachment["filename"], attachment["inline"]) == (file, "b.png", False)
    assert httpx.get(attachment["url"]).content == PNG
    assert listed(client, conversation) == {image, file}
    mail = mail_server.mail_of(f"<{data['uuid']}@example.com>")
    assert mail.recipients == ("ada@example.com", "bob@example.com")
    html = mail.message.get_body(("html",))
    assert html is not None
    assert f"cid:{image}@example.com" in html.get_content()
    sent = in_outbox(sender, data["uuid"], "--state", "sent")
    assert (sent[0], sent[1], sent[3], sent[4], sent[6]) == (data["uuid"], "sent", "1", "2/2", "-")


def test_linking_is_told_to_subscribers(sender: Attachd, client: httpx.Client) -> None:
    conversation, file = str(uuid.uuid4()), upload(client)
    query = {"input": json.dumps({"conversationId": conversation, "lastEventId": "0"})}
    assert client.post(path(conversation), json=message(attachments=[file])).status_code == 200
    with client.stream("GET", "/api/trpc/attachments.onChange", params=query) as reply:
        changes = (json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: {"))
        change = next(item["json"] for item in changes if "json" in item)
    assert (change["type"], change["id"], change["conversation_id"]) == ("attached", file, conversation)


def test_attachments_of_the_conversation_may_be_sent_again_and_by_others(sender: Attachd, client: httpx.Client) -> None:
    conversation, file = str(uuid.uuid4()), upload(client)
    assert client.post(path(conversation), json=message(attachments=[file])).status_code == 200
    assert client.post(path(conversation), json=message(attachments=[file])).status_code == 200
    with sender.client("colleague") as colleague:
        assert colleague.post(path(conversation), json=message(attachments=[file])).status_code == 200


@pytest.mark.parametrize("what", ["missing", "deleted", "elsewhere", "colleague", "stranger"])
def test_what_may_not_be_attached_is_refused_and_nothing_is_kept(sender: Attachd, client: httpx.Client, what: str) -> None:
    conversation, good = str(uuid.uuid4()), upload(client)
    bad = str(uuid.uuid4())
    if what in {"colleague", "stranger"}:
        with sender.client(what) as other:
            bad = upload(other)
    elif what != "missing":
        bad = upload(client)
    if what == "deleted":
        client.post("/api/trpc/attachments.delete", json={"id": bad})
    elif what == "elsewhere":
        assert client.post(path(str(uuid.uuid4())), json=message(attachments=[bad])).status_code == 200
    before = rows(sender, "messages"), rows(sender, "outbox"), rows(sender, "events")
    reply = client.post(path(conversation), json=message(attachments=[good, bad]))
    assert (reply.status_code, reply.json()["error_type"], reply.json()["data"]) == (400, "InputError", None)
    assert bad in reply.json()["message"]
    assert (rows(sender, "messages"), rows(sender, "outbox"), rows(sender, "events")) == before
    assert listed(client, conversation) == set()


def test_an_image_that_may_not_be_linked_is_sent_all_the_same(
    sender: Attachd, client: httpx.Client, mail_server: MailServer
) -> None:
    """A colleague's image of the same organization; a stranger's stays as it was written."""
    with sender.client("colleague") as colleague, sender.client("stranger") as stranger:
        theirs, foreign = upload(colleague), upload(stranger)
    conversation = str(uuid.uuid4())
    content = f"<img src=/uploads/{theirs}><img src=/uploads/{foreign}><img src=/uploads/{uuid.uuid4()}>"
    reply = client.post(path(conversation), json=message(content=content))
    assert reply.status_code == 200
    assert listed(client, conversation) == set()
    html = mail_server.mail_of(f"<{reply.json()['data']['message_id']}>").message.get_body(("html",))
    assert html is not None
    assert f"<img src=cid:{theirs}@example.com><img src=/uploads/{foreign}>" in html.get_content()


@pytest.mark.parametrize(
    ("status", "error_type", "changes", "says"),
    [
        pytest.param(400, "InputError", {"to": []}, "to is empty", id="nobody"),
        pytest.param(400, "InputError", {"to": None}, "to", id="null"),
        pytest.param(400, "InputError", {"to": ["a@b.c", "d@e.f"], "cc": ["g@h.i", "j@k.l"]}, "more than 3", id="many"),
        pytest.param(400, "InputError", {"to": ["ada"]}, "'ada' is not a mail address", id="address"),
        pytest.param(400, "InputError", {"cc": ["a@b.c\r\nBcc: eve@example.com"]}, "cc: ", id="injection"),
        pytest.param(400, "InputError", {"to": ["Ada\nX: y <a@b.c>"]}, "to: ", id="injection-by-name"),
        pytest.param(400, "InputError", {"subject": "a\r\nBcc: eve@example.com"}, "subject", id="injection-by-subject"),
        pytest.param(400, "InputError", {"subject": "a" * 501}, "500 characters", id="subject"),
        pytest.param(400, "InputError", {"attachments": ["x"]}, "attachments", id="no-uuid"),
        pytest.param(400, "InputError", {"attachments": [str(uuid.uuid4()) for _ in range(4)]}, "more than 3", id="files"),
        pytest.param(400, "InputError", {"content": " "}, "content is empty", id="nothing"),
        pytest.param(400, "InputError", {"content": 5}, "content", id="no-text"),
        pytest.param(413, "TooLargeError", {"content": "ä" * 1001}, "2000 bytes", id="content"),
        pytest.param(413, "TooLargeError", {"content": "x" * 1_000_000}, "mail.max_content_bytes", id="body"),
    ],
)
def test_what_cannot_be_used_is_refused(
    sender: Attachd, client: httpx.Client, status: int, error_type: str, changes: dict[str, Any], says: str
) -> None:
    before = rows(sender, "messages")
    reply = client.post(path(str(uuid.uuid4())), json=message(**changes))
    assert (reply.status_code, reply.json()["error_type"]) == (status, error_type)
    assert says in reply.json()["message"]
    assert rows(sender, "messages") == before


@pytest.mark.parametrize(
    ("status", "error_type", "request_"),
    [
        (401, "AuthError", {"json": message(), "headers": {"Cookie": ""}}),
        (403, "PermissionError", {"json": message(), "headers": {"Origin": "https://evil.example"}}),
        (400, "InputError", {"content": json.dumps(message()), "headers": {"Content-Type": "text/plain"}}),
        (400, "InputError", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (400, "InputError", {"content": b'{"content":"\\ud800"}', "headers": {"Content-Type": "application/json"}}),
    ],
)
def test_requests_that_are_refused(client: httpx.Client, status: int, error_type: str, request_: dict[str, Any]) -> None:
    reply = client.post(path(str(uuid.uuid4())), **request_)
    assert (reply.status_code, reply.json()["error_type"]) == (status, error_type)


def test_other_methods_and_names(sender: Attachd, client: httpx.Client) -> None:
    assert client.get(path(str(uuid.uuid4()))).headers["allow"] == "POST"
    assert client.post(path("x"), json=message()).json()["error_type"] == "InputError"
    headers = {"Authorization": f"Bearer {sender.key}"}
    assert httpx.post(sender.base_url + path(str(uuid.uuid4())), json=message(), headers=headers).status_code == 200
    session = client.post("/api/v1/widget/sessions", json={"conversation_id": str(uuid.uuid4())}).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {session}"}
    reply = httpx.post(sender.base_url + path(str(uuid.uuid4())), json=message(), headers=headers)
    assert reply.status_code in {401, 403}


def test_without_a_mail_server_messages_wait(attachd: Attachd, tmp_path: Path) -> None:
    with attachd.client() as client:
        id = client.post(path(str(uuid.uuid4())), json=message(to=["x@y.example"])).json()["data"]["uuid"]
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in attachd.run("outbox", "list").splitlines()}
    assert (lines[id][0], lines[id][2], lines[id][3]) == ("queued", "0", "0/1")
    assert attachd.run("outbox", "list", "--state", "failed") == ""


def most_memory(process: int) -> int:
    """The most memory that the process has used since `forget_memory`, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory")
def test_a_large_file_takes_little_memory(sender: Attachd, client: httpx.Client, mail_server: MailServer) -> None:
    """24 MiB, 33 MB in the mail, which must not be in memory at any time."""
    content = b"PK\x03\x04" + b"\0" * (24 * 2**20)
    file = client.post("/api/v1/media", files={"file": ("a.zip", content)}).json()["data"]["uuid"]
    Path(f"/proc/{sender.process.pid}/clear_refs").write_text("5", encoding="ascii")  # forget the upload
    memory = most_memory(sender.process.pid)
    reply = client.post(path(str(uuid.uuid4())), json=message(attachments=[file]))
    assert reply.status_code == 200
    mail = mail_server.mail_of(f"<{reply.json()['data']['message_id']}>")
    assert most_memory(sender.process.pid) - memory < 8 * 2**20
    (part,) = mail.message.iter_attachments()
    assert part.get_payload(decode=True) == content


def logged(sender: Attachd, id: str) -> list[dict[str, object]]:
    """The log's lines of a message."""
    return [line for line in sender.lines() if line.get("id") == id]


def test_what_failed_is_listed_and_sent_again(sender: Attachd, client: httpx.Client, mail_server: MailServer) -> None:
    mail_server.recipient_answers = {"bob@example.com": "550 no such user"}
    id = client.post(path(str(uuid.uuid4())), json=message(to=["bob@example.com"])).json()["data"]["uuid"]
    columns = in_outbox(sender, id, "--state", "failed")
    assert (columns[0], columns[1], columns[3], columns[4]) == (id, "failed", "1", "0/1")
    assert columns[6] == "bob@example.com: 550 no such user"
    mail_server.recipient_answers = {}
    assert in_outbox(sender, id) == columns
    assert sender.run("outbox", "retry", "--all") == f"queued {id}\n"
    mail_server.mail_of(f"<{id}@example.com>")
    refused = run_attachd("outbox", "retry", id, folder=sender.folder, **sender.settings)
    assert (refused.returncode, f"being sent now: {id}" in refused.stderr) == (1, True)
    assert eventually(lambda: id not in sender.run("outbox", "list"))  # without a state it has what is not sent
    assert run_attachd("outbox", "retry", folder=sender.folder, **sender.settings).returncode == 2
    assert eventually(lambda: len(logged(sender, id)) == 2)  # a line comes after what it tells
    lines = logged(sender, id)
    assert [line["message"] for line in lines] == ["mail failed", "mail sent"]
    assert "bob" not in str({**lines[1]})


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (200, {"json": message()}),
        (400, {"json": {}}),
        (401, {"json": message(), "headers": {"Cookie": ""}}),
        (403, {"json": message(), "headers": {"Origin": "https://evil.example"}}),
        (413, {"json": message(content="x" * 3000)}),
    ],
)
def test_messages_answer_what_is_documented(
    sender: Attachd, client: httpx.Client, status: int, request_: dict[str, Any]
) -> None:
    described = httpx.get(f"{sender.base_url}/openapi.json").json()
    reply = client.post(path(str(uuid.uuid4())), **request_)
    assert reply.status_code == status
    assert_documented(described, path("{uuid}"), reply)


@pytest.mark.parametrize(("file", "says"), [("none.pem", "No such file"), ("empty.pem", "")])
def test_certificates_that_cannot_be_used_stop_the_start(tmp_path: Path, file: str, says: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing", encoding="ascii")
    given = {"ATTACHD_MAIL_HOST": "x", "ATTACHD_MAIL_SENDER": "a@b.c", "ATTACHD_MAIL_CA_FILE": file}
    done = run_attachd("serve", folder=tmp_path, ATTACHD_SERVER_PORT="0", **given)
    assert (done.returncode, f"mail.ca_file: {file}: {says}" in done.stderr, done.stderr.count("\n")) == (2, True, 1), (
        done.stderr
    )
