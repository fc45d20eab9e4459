"""The procedures as clients call them while the database fails, on whichever it is."""

from collections.abc import Callable

import httpx

from tests.faults.apis import mutation, query
from tests.faults.site import OTHER, Site

MUTATIONS: dict[str, Callable[[Site, str], httpx.Response]] = {
    "delete": lambda site, one: mutation(site.session, "attachments.delete", id=one),
    "attach": lambda site, one: mutation(site.session, "attachments.attach", ids=[one], conversationId=site.conversation),
    "rename": lambda site, one: mutation(site.session, "attachments.rename", id=one, filename=OTHER),
}
QUERIES: dict[str, Callable[[Site, str], httpx.Response]] = {
    "get": lambda site, one: query(site.session, "attachments.get", id=one),
    "getMany": lambda site, one: query(site.session, "attachments.getMany", ids=[one]),
    "list": lambda site, _: query(site.session, "attachments.list", conversationId=site.conversation),
    "page": lambda site, _: query(site.session, "attachments.page", limit=5),
    "usage": lambda site, _: query(site.session, "attachments.usage"),
}
