"""Those who subscribe hear of every change once, whatever happens to the database between."""

import contextlib
import errno

import pytest

from tests.faults.apis import FORM, mutation, query
from tests.faults.kernel import Kernel
from tests.faults.listener import Listener
from tests.faults.site import Site, refused, unavailable

pytestmark = pytest.mark.only_on("sqlite", "local", reason="these tests choose their engines themselves")


def created(site: Site, conversation: str) -> list[tuple[str, str]]:
    """What is told of three uploads that are acknowledged, and attached to the conversation."""
    ids = [site.upload() for _ in range(3)]
    for id in ids:
        assert mutation(site.session, "attachments.attach", ids=[id], conversationId=conversation).status_code == 200
    return [("attached", id) for id in ids]


def tried(site: Site, conversation: str) -> list[str]:
    """As `created` while reads fail, of which a write needs one now and then: the uploads that are acknowledged."""
    ids = [FORM.id(answer) for answer in [site.send() for _ in range(3)] if answer.is_success or not unavailable(answer)]
    for id in ids:
        answer = mutation(site.session, "attachments.attach", ids=[id], conversationId=conversation)
        assert answer.status_code == 200 or refused(answer)
    return ids


def attached(site: Site, conversation: str, ids: list[str]) -> list[tuple[str, str]]:
    """What is told of those of them that are attached."""
    found = query(site.session, "attachments.list", conversationId=conversation).json()["result"]["data"]["json"]
    return [("attached", id) for id in ids if id in {item["id"] for item in found}]


def test_reads_fail_meanwhile(site: Site, kernel: Kernel) -> None:
    with Listener(site, site.conversation) as listener:
        expected = created(site, site.conversation)
        with kernel.at("read", r"attachd\.db(-wal)?$", errno.EIO) as hits:
            ids = tried(site, site.conversation)
            site.wait_until(lambda: hits)
            failed = len(hits)
            site.wait_until(lambda: len(hits) > failed + 2)
        expected += attached(site, site.conversation, ids)
        expected += created(site, site.conversation)
        site.wait_until(lambda: len(listener.heard) >= len(expected))
    assert listener.heard == expected
    # An outage is two lines, however often it was tried again.
    site.wait_until(lambda: site.logged("the log of events can be read again"))
    assert site.logged("the log of events") == 2


def test_who_comes_while_reads_fail_comes_again(site: Site, kernel: Kernel) -> None:
    """It is told an error after which it tries again, and in the end all that it has not heard."""
    with Listener(site, site.conversation) as first:
        created(site, site.conversation)
        site.wait_until(lambda: len(first.heard) == 3)
    expected = created(site, site.conversation)
    with contextlib.ExitStack() as listening:
        with kernel.at("read", r"attachd\.db(-wal)?$", errno.EIO):
            ids = tried(site, site.conversation)
            second = listening.enter_context(Listener(site, site.conversation, first.last_event_id))
            site.wait_until(lambda: second.errors)
        expected += attached(site, site.conversation, ids)
        site.wait_until(lambda: len(second.heard) >= len(expected))
    assert second.heard == expected
    assert set(second.errors) == {"SERVICE_UNAVAILABLE"}
