"""SIGKILL while mails are sent: none is lost, and none whose acknowledgement was noted is sent again."""

import collections
import contextlib
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.durability.test_kill import kill
from tests.rest.live import eventually
from tests.running import Attachd
from tests.server.mail_server import MailServer

PATH = f"/api/v1/conversations/{uuid.uuid4()}/messages"
LEASE = "1"  # the shortest


@contextlib.contextmanager
def sender(folder: Path, server: MailServer, workers: int = 1, **settings: str) -> Iterator[Attachd]:
    """A server that sends mails, and does not wait long; with a member's session, and no other credential."""
    given = {"HOST": "127.0.0.1", "PORT": str(server.port), "SECURITY": "none", "SENDER": "support@example.com"}
    given |= {"LEASE_SECONDS": LEASE, "POLL_SECONDS": "0.05", "RETRY_SECONDS": "0.1", "RETRY_MAX_SECONDS": "0.5"} | settings
    attachd = Attachd(folder, "--workers", str(workers), credentials=False)
    attachd.settings |= {f"ATTACHD_MAIL_{name}": value for name, value in given.items()}
    with attachd:
        user = ("--user", attachd.users["member"], "--organization", attachd.organization_id, "--role", "member")
        attachd.tokens["member"] = attachd.run("session", "create", *user).strip()
        yield attachd


def post(client: httpx.Client) -> str:
    """The Message-ID of a new message."""
    reply = client.post(PATH, json={"content": "<p>Hello</p>", "to": ["ada@example.com"]})
    assert reply.status_code == 200, reply.text
    return f"<{reply.json()['data']['message_id']}>"


def entries(attachd: Attachd) -> dict[str, tuple[str, int]]:
    """State and lost answers by Message-ID."""
    rows = attachd.backing.query("SELECT message_id, state, unanswered FROM outbox JOIN messages USING (id)")
    return {f"<{message_id}>": (state, unanswered) for message_id, state, unanswered in rows}


def killed_after_handing_over(attachd: Attachd, server: MailServer) -> str:
    """The Message-ID of a mail whose whole text the server had, and had not answered, when attachd was killed."""
    server.answers, server.pause_s = ["drop"], 60.0  # until long after it was killed
    with attachd.client() as client:
        message_id = post(client)
    assert eventually(lambda: server.began == 1)
    kill(attachd)
    server.pause_s = 0
    attachd.start()
    return message_id


def test_a_mail_without_an_answer_is_sent_again_and_this_is_seen(tmp_path: Path) -> None:
    with MailServer() as server, sender(tmp_path, server) as attachd:
        message_id = killed_after_handing_over(attachd, server)
        assert [mail.message["Message-ID"] for mail in server.wait_for(1)] == [message_id]
        assert eventually(lambda: entries(attachd)[message_id] == ("sent", 1)), entries(attachd)
        assert [line.get("message") for line in attachd.lines()].count("mail unanswered") == 1


def test_a_mail_without_an_answer_stays_where_that_is_wished(tmp_path: Path) -> None:
    with MailServer() as server, sender(tmp_path, server, RESEND_UNANSWERED="false") as attachd:
        message_id = killed_after_handing_over(attachd, server)
        assert eventually(lambda: entries(attachd)[message_id] == ("unknown", 1)), entries(attachd)
        (line,) = attachd.run("outbox", "list", "--state", "unknown").splitlines()
        id, state, *_, error = line.split("\t")
        assert (state, error.endswith("the process that sent it ended")) == ("unknown?", True)
        assert server.began == 1
        assert attachd.run("outbox", "retry", id) == f"queued {id}\n"
        server.wait_for(1)


def test_a_stop_waits_for_the_answer(tmp_path: Path) -> None:
    with MailServer() as server, sender(tmp_path, server, LEASE_SECONDS="60") as attachd:
        server.pause_s = 0.5
        with attachd.client() as client:
            message_id = post(client)
        assert eventually(lambda: server.began == 1)
        assert attachd.stop() == 0
        assert entries(attachd) == {message_id: ("sent", 0)}
        server.wait_for(1)


@pytest.mark.parametrize(
    "workers",
    [1, pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="/proc names the workers"))],
)
def test_killed_again_and_again(tmp_path: Path, workers: int) -> None:
    """A mail comes twice only if its answer was not noted, and then that can be seen."""
    seed = os.environ.get("ATTACHD_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"ATTACHD_TEST_SEED={seed}")  # noqa: T201 (pytest shows it when the test fails)
    chance = random.Random(seed)
    posted: list[str] = []
    with MailServer() as server, sender(tmp_path, server, workers) as attachd:
        server.pause_s = 0.02
        for _ in range(2):
            with attachd.client() as client:
                posted += [post(client) for _ in range(15)]
            time.sleep(chance.uniform(0, 0.15))
            kill(attachd)
            time.sleep(2 * server.pause_s)  # for what the server still acknowledges
            noted = {message_id for message_id, (state, _) in entries(attachd).items() if state == "sent"}
            before = received(server)
            attachd.start()
            time.sleep(0.2)
            assert {id: count for id, count in received(server).items() if id in noted} == {id: before[id] for id in noted}
        assert eventually(lambda: {state for state, _ in entries(attachd).values()} == {"sent"}, 60), entries(attachd)
        counts, unanswered = received(server), {id: lost for id, (_, lost) in entries(attachd).items()}
    assert counts.keys() == set(posted), "lost"
    assert all(counts[id] <= 1 + unanswered[id] for id in posted), "sent twice, and it cannot be seen"


def received(server: MailServer) -> collections.Counter[str]:
    """How often each mail was acknowledged."""
    return collections.Counter(str(mail.message["Message-ID"]) for mail in list(server.received))
