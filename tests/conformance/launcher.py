"""attachd with credentials, rows and procedures that only the conformance tests call.

Run as a program: settings come from the environment, one JSON line on standard output says what there is (`Site`).
"""

import asyncio
import datetime as dt
import functools
import sys
from collections.abc import Awaitable, Callable

import msgspec
import uvicorn

from procedures import Context, Router
from schemas import Code, Principal, Role, ServiceError
from server.app import create_app
from server.serving import listen, uvicorn_config
from server.settings import Settings, load_settings
from server.stores import open_store
from storage import API_A, Details, Store, fresh_id
from tests.conformance.streaming import stream
from tests.conformance.subscriptions import open_, sub

# Who there is: the organization, the role. `key` is the name of the only API key.
PEOPLE: dict[str, tuple[str, Role]] = {
    "member": ("ours", "member"),
    "colleague": ("ours", "member"),
    "admin": ("ours", "admin"),
    "stranger": ("theirs", "admin"),
}
KEY = "key"
# Attachments by name: whose they are and in which conversation. `spare-*` are there to be deleted, each in one test.
ATTACHMENTS = {
    "first": ("member", "talk"),
    "second": ("colleague", "talk"),
    "unlinked": ("member", None),
    "foreign": ("stranger", "talk"),
    "gone": ("member", "talk"),
    **{f"spare-{number}": ("member", None) for number in range(12)},
}
CONVERSATIONS = ("talk", "silence")


class Site(msgspec.Struct):
    """What a test needs to know: principals by token, rows as API A shows them with their owner, ids by name."""

    port: int
    sessions: dict[str, Principal]
    keys: dict[str, Principal]
    rows: list[dict[str, object]]
    names: dict[str, str]


class Typed(msgspec.Struct, omit_defaults=True):
    when: dt.datetime
    big: int
    tags: set[str]
    counts: dict[int, str]
    note: str | msgspec.UnsetType = msgspec.UNSET


def echo_router() -> Router:
    """`echo.*` gives back its input; `fail.CODE` fails with that code, `fail.crash` with what nobody expects."""
    router = Router()

    @router.query(name="echo.query")
    async def query(_: Context, input: object) -> object:
        return input

    @router.mutation(name="echo.mutation")
    async def mutation(_: Context, input: object) -> object:
        return input

    @router.query(name="echo.typed")
    async def typed(_: Context, input: Typed) -> Typed:
        return input

    @router.query(name="echo.nothing")
    async def nothing(_: Context) -> str:
        return "nothing"

    @router.query(name="fail.crash")
    async def crash(_: Context) -> str:
        raise RuntimeError("a detail that is nobody's business")

    for code in Code:
        router.query(name=f"fail.{code.name}")(_failing(code))
    return router


def streams_router() -> Router:
    """`stream.*`, `sub.*` and `open.*`."""
    router = Router()
    for prefix, other in (("stream", stream), ("sub", sub), ("open", open_)):
        router.mount(prefix, other)
    return router


def _failing(code: Code) -> Callable[[Context], Awaitable[str]]:
    async def fail(_: Context) -> str:
        raise ServiceError(code, f"failed with {code.name}")

    return fail


async def furnish(store: Store, port: int) -> Site:
    """Create the credentials and the attachments."""
    organizations = {"ours": fresh_id(), "theirs": fresh_id()}
    names = {name: fresh_id() for name in CONVERSATIONS}
    site = Site(port, {}, {}, [], names)
    people: dict[str, Principal] = {}
    for name, (organization, role) in PEOPLE.items():
        person = Principal(kind="session", user_id=fresh_id(), organization_id=organizations[organization], role=role)
        token = await store.credentials.create_session(
            user_id=person.user_id, organization_id=person.organization_id, role=role, ttl_s=3600
        )
        people[name], site.sessions[token], names[name] = person, person, token
    info, secret = await store.credentials.create_key(organization_id=organizations["ours"], role="member", name=KEY)
    site.keys[secret] = Principal(kind="key", user_id=info.id, organization_id=info.organization_id, role="member")
    names[KEY] = secret
    for name, (owner, conversation) in ATTACHMENTS.items():
        row = await attach(store, people[owner], name, names[conversation] if conversation else None)
        names[name] = str(row["id"])
        site.rows.append(row)
    deleted = await store.attachments.delete(people["member"], names["gone"])
    assert deleted.success
    shown = await store.attachments.get(people["admin"], names["gone"])
    site.rows = [{**row, **({"deleted_at": shown.deleted_at} if row["id"] == shown.id else {})} for row in site.rows]
    return site


async def attach(store: Store, owner: Principal, name: str, conversation_id: str | None) -> dict[str, object]:
    """The row of a new attachment, as its owner sees it, and with its owner."""
    async with store.attachments.upload(owner, f"{name}.txt", API_A) as upload:
        await upload.write(b"the file " + name.encode())
        record = await upload.commit(Details(conversation_id=conversation_id))
    row: dict[str, object] = msgspec.to_builtins(await store.attachments.get(owner, record.id))
    return {**row, "owner_id": record.owner_id}


async def prepare(settings: Settings, port: int) -> Site:
    async with await open_store(settings) as store:
        return await furnish(store, port)


def main() -> None:
    settings, listening = listen(load_settings())
    site = asyncio.run(prepare(settings, settings.server.port))
    config = uvicorn_config(settings, functools.partial(create_app, settings, [echo_router(), streams_router()]))
    sys.stdout.write(msgspec.json.encode(site).decode() + "\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
