"""Sending from the outbox to a real SMTP server: what arrives, what is tried again, and what is given up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from schemas import Principal, ServiceError
from server.mail import Delivery
from server.mail.attempts import Attempts
from server.mail.leases import Lease
from server.mail_settings import MailSettings
from storage import API_A, Details, Draft, LeaseLost, MailOptions, Options, OutboxEntry, Store, fresh_id
from storage.mail import parse_mailbox
from tests.engines.backing import Backing
from tests.server.mail_server import CERTIFICATE, MailServer
from tests.server.streaming import eventually

CALLER = Principal(kind="session", user_id=fresh_id(), organization_id=fresh_id(), role="member")
CONVERSATION = fresh_id()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
async def store(backing: Backing) -> AsyncIterator[Store]:
    """An open store."""
    async with await opened(backing) as store:
        yield store


async def opened(backing: Backing) -> Store:
    options = Options(mail=MailOptions(domain="example.com"), base_url="https://files.example.com")
    return await backing.open_store(options=options)


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that behaves."""
    with MailServer() as server:
        yield server


def settings(server: MailServer, **changes: Any) -> MailSettings:
    """Settings for a server nearby, and for a test that does not wait long.

    Retries come at once. No limit is so short that a machine which stalls could reach it.
    """
    given = {
        "host": "127.0.0.1", "port": server.port, "security": "none", "sender": "Support <support@example.com>",
        "timeout_seconds": 30.0, "answer_timeout_seconds": 30.0, "retry_seconds": 0.05, "retry_max_seconds": 0.2,
        "lease_seconds": 60.0, "poll_seconds": 0.05,
    }  # fmt: skip
    return msgspec.convert(given | changes, MailSettings)


@contextlib.asynccontextmanager
async def sending(store: Store, mail: MailSettings, grace_s: float = 30.0) -> AsyncIterator[Delivery]:
    """A worker that sends meanwhile."""
    delivery = Delivery(store.outbox, mail, parse_mailbox(mail.sender), "test.example.com")
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.aclose(grace_s)


async def keep(store: Store, name: str, content: bytes) -> str:
    """Upload a file; its id."""
    async with store.attachments.upload(CALLER, name, API_A) as upload:
        await upload.write(content)
        return (await upload.commit(Details())).id


async def post(store: Store, content: str = "<p>Hello</p>", attachments: tuple[str, ...] = (), **changes: Any) -> str:
    """Post a message; its id."""
    given: dict[str, Any] = {"to": [ADA], "cc": [], "subject": "Grüße", **changes}
    draft = Draft(content=content, attachments=attachments, **given)
    return (await store.messages.post(CALLER, CONVERSATION, draft)).message.id


async def until(store: Store, id: str, condition: Callable[[OutboxEntry], object], timeout_s: float = 60.0) -> OutboxEntry:
    """The entry of a message once the condition is true of it."""
    async with asyncio.timeout(timeout_s):
        while True:
            entry = await store.outbox.find(id)
            assert entry is not None
            if condition(entry):
                return entry
            await asyncio.sleep(0.01)


async def ended(store: Store, id: str) -> OutboxEntry:
    """The entry of a message that is not tried any more."""
    return await until(store, id, lambda entry: entry.state != "queued")


def states(entry: OutboxEntry) -> dict[str, str]:
    return {recipient.address: recipient.state for recipient in entry.recipients}


async def test_a_message_arrives_with_its_images_and_files(store: Store, server: MailServer) -> None:
    image, text = await keep(store, "Katze.png", PNG), await keep(store, "Grüße.txt", b"text\r\n.\r\n..\n" * 20_000)
    content = f'<p>.Hällo</p>\n.\n<img src="https://any.example/uploads/{image.upper()}?sig=a&amp;exp=1">'
    async with sending(store, settings(server)):
        id = await post(store, content, (text,), to=["Ada <ada@example.com>"], cc=[BOB])
        assert (await ended(store, id)).state == "sent"
    (mail,) = server.wait_for(1)
    assert (mail.sender, mail.recipients) == ("support@example.com", (ADA, BOB))
    message = mail.message
    assert (message["From"], message["To"], message["Cc"]) == ("Support <support@example.com>", "Ada <ada@example.com>", BOB)
    assert (message["Subject"], message["Message-ID"]) == ("Grüße", f"<{id}@example.com>")
    html = message.get_body(("html",))
    assert html is not None
    assert html.get_content() == f'<p>.Hällo</p>\r\n.\r\n<img src="cid:{image}@example.com">\r\n'
    parts = {part.get_filename(): part for part in message.walk() if part.get_filename()}
    assert parts["Katze.png"]["Content-ID"] == f"<{image}@example.com>"
    assert parts["Katze.png"].get_payload(decode=True) == PNG
    assert parts["Grüße.txt"].get_payload(decode=True) == b"text\r\n.\r\n..\n" * 20_000
    listed = await store.attachments.list(CALLER, CONVERSATION)
    assert {item.id for item in listed} == {image, text}


async def test_a_server_that_is_down_gets_it_when_it_is_back(store: Store) -> None:
    with MailServer() as server:
        server.stop()
        async with sending(store, settings(server)):
            id = await post(store)
            entry = await until(store, id, lambda entry: entry.attempts >= 2 and entry.lease is None)
            assert (entry.state, "onnect" in entry.error) == ("queued", True), entry.error
            server.start()
            entry = await ended(store, id)
            assert (entry.state, entry.unanswered) == ("sent", 0)
        server.wait_for(1)


async def test_what_was_queued_before_is_sent(store: Store, server: MailServer) -> None:
    ids = [await post(store) for _ in range(12)]
    async with sending(store, settings(server, connections=3)):
        assert [(await ended(store, id)).state for id in ids] == ["sent"] * 12
    assert {mail.message["Message-ID"] for mail in server.wait_for(12)} == {f"<{id}@example.com>" for id in ids}
    assert server.most_busy <= 3


async def test_a_refusal_for_now_is_tried_again(store: Store, server: MailServer) -> None:
    server.answers = ["451 later", "452 later still"]
    async with sending(store, settings(server)):
        entry = await ended(store, await post(store))
    assert (entry.state, entry.attempts, entry.unanswered, entry.error) == ("sent", 3, 0, "")
    server.wait_for(1)


@pytest.mark.parametrize("stage", ["sender", "data"])
async def test_a_refusal_for_good_is_given_up(store: Store, server: MailServer, stage: str) -> None:
    if stage == "sender":
        server.sender_answer = "550 who are\tyou"
    else:
        server.answers = ["554 no \x1b[31m spam"]
    async with sending(store, settings(server)):
        entry = await ended(store, await post(store))
    assert (entry.state, entry.attempts, states(entry)) == ("failed", 1, {ADA: "refused"})
    assert ("550 who are you" if stage == "sender" else "554 no [31m spam") in entry.error
    assert server.received == []


async def test_each_recipient_has_an_end_of_its_own(store: Store, server: MailServer) -> None:
    """One takes it, one never will, and one takes it later: nobody gets it twice."""
    eve, dan = "eve@example.com", "dan@example.com"
    server.recipient_answers = {BOB: "550 no such user", eve: "450 greylisted", dan: "552 too many recipients"}
    async with sending(store, settings(server)):
        id = await post(store, to=[ADA, BOB, eve, dan])
        entry = await until(store, id, lambda entry: entry.attempts >= 2)
        assert states(entry) == {ADA: "delivered", BOB: "refused", eve: "waiting", dan: "waiting"}
    server.recipient_answers = {BOB: "550 no such user"}  # between two attempts, not in one
    async with sending(store, settings(server)):
        entry = await ended(store, id)
    assert (entry.state, states(entry)) == ("failed", {ADA: "delivered", BOB: "refused", eve: "delivered", dan: "delivered"})
    assert entry.error == "bob@example.com: 550 no such user"
    first, second = server.wait_for(2)
    assert (first.recipients, second.recipients) == ((ADA,), (eve, dan))
    assert first.message["To"] == second.message["To"] == f"{ADA}, {BOB}, {eve}, {dan}"
    assert first.message["Message-ID"] == second.message["Message-ID"]

    server.recipient_answers = {}
    assert await store.outbox.retry([id]) == [id]
    async with sending(store, settings(server)):
        assert (await ended(store, id)).state == "sent"
    assert server.wait_for(3)[2].recipients == (BOB,)
    assert await store.outbox.retry([id]) == []


async def test_it_is_given_up_after_a_while(store: Store, server: MailServer) -> None:
    server.answers = ["451 later"] * 1000
    id = await post(store)
    async with sending(store, settings(server, give_up_hours=1.0)):
        entry = await until(store, id, lambda entry: entry.attempts >= 3)
        assert entry.state == "queued"
    async with sending(store, settings(server, give_up_hours=0.01 / 3600)):
        entry = await ended(store, id)
    assert (entry.state, entry.attempts > 1) == ("failed", True)
    assert "given up after" in entry.error
    assert "451 later" in entry.error


async def test_a_lost_answer_is_seen_and_the_mail_sent_again(store: Store, server: MailServer) -> None:
    server.answers = ["drop"]
    async with sending(store, settings(server)):
        entry = await ended(store, await post(store))
    assert (entry.state, entry.attempts, entry.unanswered) == ("sent", 2, 1)
    assert server.began == 2
    server.wait_for(1)


async def test_a_lost_answer_holds_the_mail_where_that_is_wished(store: Store, server: MailServer) -> None:
    server.answers = ["drop"]
    async with sending(store, settings(server, resend_unanswered=False)):
        id = await post(store)
        entry = await ended(store, id)
        assert (entry.state, entry.unanswered, states(entry)) == ("unknown", 1, {ADA: "waiting"})
        assert "its answer did not arrive" in entry.error
        assert await store.outbox.retry(None) == [id]
        assert (await ended(store, id)).state == "sent"
    server.wait_for(1)


async def test_a_slow_answer_is_not_waited_for_for_ever(store: Store, server: MailServer) -> None:
    server.pause_s = 1.0
    async with sending(store, settings(server, answer_timeout_seconds=0.2)):
        id = await post(store)
        entry = await until(store, id, lambda entry: entry.unanswered)
        assert "its answer did not arrive: Timed out" in entry.error
        server.pause_s = 0
        assert (await ended(store, id)).state == "sent"


async def test_a_lease_lasts_as_long_as_the_mail_takes(store: Store, server: MailServer) -> None:
    """Two workers, and an answer that does not come before the lease was renewed: it is sent once."""
    server.is_held = True
    mail = settings(server, lease_seconds=7.5)  # renewed after a third of it
    async with sending(store, mail), sending(store, mail):
        id = await post(store)
        await eventually(lambda: server.busy == 1)
        # While somebody has it, it is due when the lease ends.
        taken = await store.outbox.find(id)
        assert taken is not None
        await until(store, id, lambda entry: entry.due_at > taken.due_at)
        server.is_held = False
        entry = await ended(store, id)
    assert (entry.state, entry.attempts) == ("sent", 1)
    assert server.began == 1


async def test_many_workers_send_each_mail_once(backing: Backing, server: MailServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(await opened(backing)) for _ in range(3)]
        for store in stores:
            await stack.enter_async_context(sending(store, settings(server)))
        ids = [await post(stores[number % 3]) for number in range(30)]
        for id in ids:
            assert (await ended(stores[0], id)).attempts == 1
    assert sorted(mail.message["Message-ID"] for mail in server.wait_for(30)) == sorted(f"<{id}@example.com>" for id in ids)


async def test_a_lost_lease_ends_the_attempt_before_the_mail_is_handed_over(store: Store, server: MailServer) -> None:
    """Another worker took the message: this one must not finish the mail, whatever it thinks."""
    id = await post(store)
    (entry,) = await store.outbox.claim("first", 0.0, 1, hold=False)
    (again,) = await store.outbox.claim("second", 60.0, 1, hold=False)
    assert (entry.id, again.id, again.attempts) == (id, id, 2)
    mail = settings(server)
    attempts = Attempts(store.outbox, mail, parse_mailbox(mail.sender), "test.example.com")
    with pytest.raises(ExceptionGroup) as raised:
        await attempts.run(Lease(store.outbox, entry, "first", 60.0))
    assert raised.group_contains(LeaseLost)
    assert server.began == 0
    await attempts.run(Lease(store.outbox, again, "second", 60.0))
    server.wait_for(1)


async def test_stopping_lets_an_attempt_end(store: Store, server: MailServer) -> None:
    server.is_held = True
    async with sending(store, settings(server)) as delivery:
        ids = [await post(store) for _ in range(6)]
        await eventually(lambda: server.busy == 4)
        delivery.stop()
        server.is_held = False
    entries = [await store.outbox.find(id) for id in ids]
    # Which four is open: messages of one millisecond are due at once, and their ids have no order.
    assert sorted((entry.state, entry.attempts) for entry in entries if entry) == [("queued", 0)] * 2 + [("sent", 1)] * 4
    server.wait_for(4)


async def test_stopping_at_once_lets_go_of_what_was_not_handed_over(store: Store) -> None:
    """A server that accepts connections and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        with MailServer() as server:
            mail = settings(server, port=silent.sockets[0].getsockname()[1])
            async with sending(store, mail, grace_s=0.1):
                id = await post(store)
                await until(store, id, lambda entry: entry.lease)
            entry = await until(store, id, lambda entry: entry.lease is None)
            assert (entry.state, entry.attempts) == ("queued", 0)
            async with sending(store, settings(server)):
                assert (await ended(store, id)).state == "sent"


async def test_a_file_that_was_deleted_meanwhile_does_not_go_out(store: Store, server: MailServer) -> None:
    image, kept, gone = [await keep(store, name, PNG) for name in ("a.png", "kept.png", "gone.png")]
    id = await post(store, f'<img src="/uploads/{image}">', (kept, gone))
    for deleted in (image, gone):
        await store.attachments.delete(CALLER, deleted)
    async with sending(store, settings(server)):
        assert (await ended(store, id)).state == "sent"
    message = server.wait_for(1)[0].message
    assert [part.get_filename() for part in message.iter_attachments()] == ["kept.png"]
    html = message.get_body(("html",))
    assert html is not None
    assert f"/uploads/{image}" in html.get_content()


async def test_lost_bytes_keep_the_message_in_the_outbox(store: Store, server: MailServer, backing: Backing) -> None:
    """The mail breaks off in the midst of its DATA; the server must not take it for a whole one."""
    first, second = await keep(store, "a.png", PNG), await keep(store, "b.png", PNG)
    id = await post(store, "x", (first, second))
    backing.lose_bytes(second)
    async with sending(store, settings(server)):
        entry = await until(store, id, lambda entry: entry.attempts >= 2 and entry.error)
    assert (entry.state, entry.unanswered, server.began) == ("queued", 0, 0)


async def test_what_the_server_finds_too_large_goes_as_a_link(store: Store) -> None:
    with MailServer(max_bytes=40_000) as server:
        id = await post(store, "x", (await keep(store, "a.png", PNG),))
        async with sending(store, settings(server)):
            assert (await ended(store, id)).state == "sent"
        message = server.wait_for(1)[0].message
        text = message.get_body(("plain",))
        assert text is not None
        assert list(message.iter_attachments()) == []
        assert "a.png (102 KB): https://files.example.com/" in text.get_content()

        id = await post(store, "x" * 50_000)
        async with sending(store, settings(server)):
            entry = await ended(store, id)
        assert (entry.state, "of 40000 that may be sent" in entry.error) == ("failed", True)


async def test_twenty_five_megabytes_go_in_pieces(store: Store, server: MailServer) -> None:
    content = bytes(range(256)) * 4096 * 4
    ids = tuple([await keep(store, f"{number}.zip", b"PK\x03\x04" + content) for number in range(4)])
    async with sending(store, settings(server, max_message_bytes=30_000_000)):
        assert (await ended(store, await post(store, "x", ids))).state == "sent"
    parts = list(server.wait_for(1)[0].message.iter_attachments())
    assert [part.get_payload(decode=True) == b"PK\x03\x04" + content for part in parts] == [True] * 4


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_secured_and_authenticated(store: Store, security: str) -> None:
    with MailServer(security=security, password="right") as server:
        trusted = {"security": security, "ca_file": str(CERTIFICATE), "username": "support", "password": "right"}
        async with sending(store, settings(server, **trusted)):
            entry = await until(store, await post(store), lambda entry: entry.state != "queued" or entry.error)
        assert (entry.state, entry.error, server.logins) == ("sent", "", 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"password": "wrong"}, "535 ", id="password"),
        pytest.param({"ca_file": ""}, "certificate", id="certificate"),
        pytest.param({"security": "none", "username": "", "password": ""}, "530 ", id="not-secured"),
        pytest.param({"security": "tls"}, "SSL", id="tls-where-there-is-none"),
    ],
)
async def test_what_the_server_refuses_of_us_is_tried_again(store: Store, changes: dict[str, str], says: str) -> None:
    """A wrong password is no fault of a message: when it is mended, the message goes out."""
    right = {"security": "starttls", "ca_file": str(CERTIFICATE), "username": "support", "password": "right"}
    with MailServer(security="starttls", password="right") as server:
        async with sending(store, settings(server, **{**right, **changes})):
            id = await post(store)
            entry = await until(store, id, lambda entry: entry.attempts >= 2 and entry.error)
        assert (entry.state, says in entry.error) == ("queued", True), entry.error
        assert "right" not in entry.error
        async with sending(store, settings(server, **right)):
            assert (await ended(store, id)).state == "sent"


async def test_nothing_is_sent_to_a_server_that_has_no_starttls(store: Store, server: MailServer) -> None:
    async with sending(store, settings(server, security="starttls")):
        entry = await until(store, await post(store), lambda entry: entry.attempts >= 2 and entry.error)
    assert (entry.state, "STARTTLS" in entry.error) == ("queued", True), entry.error
    assert server.began == 0


async def test_a_ca_file_that_is_none_is_told(store: Store, server: MailServer) -> None:
    with pytest.raises(OSError, match="No such file"):
        Delivery(store.outbox, settings(server, security="tls", ca_file="/none.pem"), parse_mailbox("a@b.c"), "x")


async def test_a_text_shows_thousands_of_images_but_not_any_number(store: Store, server: MailServer) -> None:
    image = await keep(store, "a.png", PNG)
    images = [f"<img src=/uploads/{fresh_id()}>" for _ in range(10_000)]
    id = await post(store, "".join([*images[1:], f"<img src=/uploads/{image}>"]))
    async with sending(store, settings(server)):
        assert (await ended(store, id)).state == "sent"
    html = server.wait_for(1)[0].message.get_body(("html",))
    assert html is not None
    assert html.get_content().count("src=cid:") == 1
    with pytest.raises(ServiceError, match="content shows more than 10000 uploads"):
        await post(store, "".join([*images, f"<img src=/uploads/{image}>"]))
