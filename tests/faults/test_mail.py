"""The outbox: a message that was kept is sent, once, whatever happens to the database on the way."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.engines.postgresql_server import PostgresqlServer
from tests.faults.conftest import of_database
from tests.faults.database_proxy import DatabaseProxy
from tests.faults.site import SETTINGS, Site, paths, running
from tests.running import BareAttachd
from tests.server.mail_server import MailServer

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")

PAUSE_S = 0.5  # between a whole mail and its answer
Fault = Callable[[DatabaseProxy], AbstractContextManager[Any]]
FAULTS: list[tuple[str, Fault]] = [
    ("down", DatabaseProxy.down),
    ("silent", DatabaseProxy.silent),
    ("finish-cut", lambda proxy: proxy.at("UPDATE outbox SET state", "cut-before")),
    ("finish-answer-cut", lambda proxy: proxy.at("UPDATE outbox SET state", "cut-after", times=1)),
]


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    """Takes mails, slowly."""
    with MailServer() as server:
        server.pause_s = PAUSE_S
        yield server


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, database: PostgresqlServer, database_proxy: DatabaseProxy, mail: MailServer
) -> Iterator[Site]:
    """A running server that sends mails."""
    folder = tmp_path_factory.mktemp("mail")
    settings, direct = of_database(database, database_proxy)
    sending = {
        "ATTACHD_MAIL_HOST": "127.0.0.1",
        "ATTACHD_MAIL_PORT": str(mail.port),
        "ATTACHD_MAIL_SECURITY": "none",
        "ATTACHD_MAIL_SENDER": "support@example.com",
        "ATTACHD_MAIL_RETRY_SECONDS": "0.2",
        "ATTACHD_MAIL_POLL_SECONDS": "0.2",
    }
    with running(BareAttachd(folder, **SETTINGS, **paths(folder) | settings | sending), **direct) as site:
        yield site


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS])
def test_between_the_mail_and_its_note(site: Site, database_proxy: DatabaseProxy, mail: MailServer, fault: Fault) -> None:
    """The server has the mail; that it has must be noted before anybody would send it again."""
    before, began = len(mail.received), mail.began
    image = site.recover()
    message = {"content": "<p>Hello</p>", "to": ["ada@example.com"], "attachments": [image]}
    answer = site.session.post(f"/api/v1/conversations/{site.conversation}/messages", json=message)
    assert answer.status_code == 200, answer.text
    site.wait_until(lambda: mail.began > began)
    with fault(database_proxy):
        time.sleep(PAUSE_S + 1)
    site.wait_until(lambda: site.beside.unsent() == 0)
    assert len(mail.received) == before + 1
    site.settle()
