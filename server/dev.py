"""`attachd serve --dev`: a server to try things on, which `make run` starts.

It listens on loopback only, keeps everything under ./data, and is the only way to get credentials without asking for them:
a demo organization with a member, an admin and an API key, kept in ./data/dev.json (mode 0600) so that every start prints
the same curl lines. What is missing, because a database was removed or the demo attachment deleted, is made again.
"""

import asyncio
import base64
import ipaddress
import json
import os
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

import storage
from schemas import Principal, Record, ServiceError
from server import serving
from server.plugins import load_routers
from server.settings import Settings, SettingsError
from server.stores import open_store

DATA: Final = Path("data")
CREDENTIALS_FILE: Final = DATA / "dev.json"
DEMO_FILE: Final = DATA / "demo.png"
_SESSION_TTL_S: Final = 10 * 365 * 86_400.0
# 16 x 16 pixels of blue.
_PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mOwbvpGEmIY1TCqYfhqAACHB7MQtp/9lwAAAABJRU5ErkJggg=="
)


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """The demo organization: its credentials, and the attachment that the printed lines ask for."""

    organization_id: str
    member_id: str
    admin_id: str
    member_session: str
    admin_session: str
    api_key: str
    conversation_id: str
    attachment_id: str


def dev_options(host: str | None) -> dict[str, object]:
    """The settings that development mode fixes, whatever a file or variable says. Raises SettingsError off loopback."""
    host = host or "127.0.0.1"
    if not _is_loopback(host):
        raise SettingsError(f"--dev listens on loopback only, not on {host}; write --host 127.0.0.1 or leave --dev out")
    return {
        "server.host": host,
        "server.base_url": "",
        "server.development": True,
        "database.url": f"sqlite:///./{DATA}/attachd.db",
        "upload.directory": str(DATA / "blobs"),
    }


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def prepare_demo(store: storage.Store) -> Demo:
    """The demo organization, made on the first start and kept in ./data/dev.json."""
    demo = _read()
    if demo is None or not await _is_known(store, demo):
        demo = await _create(store)
    try:
        await store.attachments.get(_member(demo), demo.attachment_id)
    except ServiceError:
        record = await _upload(store, demo)
        demo = msgspec.structs.replace(demo, attachment_id=record.id)
    _write(demo)
    return demo


def curl_lines(demo: Demo, settings: Settings) -> list[tuple[str, str]]:
    """Commands to paste, in the forms of API A, each under its title."""
    url = settings.server.base_url
    cookie = f'-H "Cookie: {settings.auth.session_cookie}={demo.member_session}"'
    listed = _bare({"conversationId": demo.conversation_id})
    got = _bare({"id": demo.attachment_id})
    body = json.dumps({"json": {"id": demo.attachment_id}}, separators=(",", ":"))
    commands = {
        "Upload": [
            f'curl -X POST "{url}/api/upload"',
            cookie,
            f'-F "file=@{DEMO_FILE.resolve()}"',
            f'-F "conversationId={demo.conversation_id}"',
        ],
        "List": [f'curl -X GET "{url}/api/trpc/attachments.list?input={listed}"', cookie],
        "Get": [f'curl -X GET "{url}/api/trpc/attachments.get?input={got}"', cookie],
        "Download": [
            f'curl -X GET "{url}/api/attachments/{demo.attachment_id}/download"',
            cookie,
            "-o downloaded-file.png",
        ],
        "Delete": [
            f'curl -X POST "{url}/api/trpc/attachments.delete"',
            '-H "Content-Type: application/json"',
            cookie,
            f"-d '{body}'",
        ],
    }
    return [(title, " \\\n  ".join(parts)) for title, parts in commands.items()]


def _bare(value: dict[str, str]) -> str:
    """An input as API A's examples write it into a URL: bare, with the colon as it is."""
    return quote(json.dumps(value, separators=(",", ":")), safe=":")


def serve(settings: Settings) -> int:
    """Make the demo, print its lines, serve. Raises SettingsError for a plugin, StartError."""
    load_routers(settings.server.plugins)
    DATA.mkdir(exist_ok=True)
    demo = asyncio.run(_prepare(settings))
    settings, listening = serving.listen(settings)
    # Connections wait in the socket's queue until the server is up, so the lines work as soon as they are read.
    sys.stdout.write(greeting(demo, settings))
    sys.stdout.flush()
    return serving.run(settings, listening)


async def _prepare(settings: Settings) -> Demo:
    async with await open_store(settings) as store:
        return await prepare_demo(store)


def greeting(demo: Demo, settings: Settings) -> str:
    """What a start prints."""
    lines = [
        f"attachd for development on {settings.server.base_url}; all it keeps is in {DATA.resolve()}.",
        "Paste these into another terminal:",
        *(f"\n# {title}\n{command}" for title, command in curl_lines(demo, settings)),
        f'\n# The admin\'s cookie: -H "Cookie: {settings.auth.session_cookie}={demo.admin_session}"',
        f'# The API key:       -H "Authorization: Bearer {demo.api_key}"\n',
    ]
    return "\n".join(lines)


def _read() -> Demo | None:
    try:
        return msgspec.json.decode(CREDENTIALS_FILE.read_bytes(), type=Demo)
    except (OSError, msgspec.DecodeError):
        return None


def _write(demo: Demo) -> None:
    DEMO_FILE.write_bytes(_PNG)
    descriptor = os.open(CREDENTIALS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(demo)) + b"\n")


async def _is_known(store: storage.Store, demo: Demo) -> bool:
    return (
        await store.credentials.session_principal(demo.member_session) is not None
        and await store.credentials.session_principal(demo.admin_session) is not None
        and await store.credentials.key_principal(demo.api_key) is not None
    )


async def _create(store: storage.Store) -> Demo:
    organization_id, member_id, admin_id = storage.fresh_id(), storage.fresh_id(), storage.fresh_id()
    create = store.credentials.create_session
    _, api_key = await store.credentials.create_key(organization_id=organization_id, role="member", name="demo")
    return Demo(
        organization_id=organization_id,
        member_id=member_id,
        admin_id=admin_id,
        member_session=await create(user_id=member_id, organization_id=organization_id, role="member", ttl_s=_SESSION_TTL_S),
        admin_session=await create(user_id=admin_id, organization_id=organization_id, role="admin", ttl_s=_SESSION_TTL_S),
        api_key=api_key,
        conversation_id=storage.fresh_id(),
        attachment_id=storage.fresh_id(),
    )


async def _upload(store: storage.Store, demo: Demo) -> Record:
    async with store.attachments.upload(_member(demo), DEMO_FILE.name, storage.API_A) as upload:
        await upload.write(_PNG)
        return await upload.commit(storage.Details(conversation_id=demo.conversation_id))


def _member(demo: Demo) -> Principal:
    return Principal(kind="session", user_id=demo.member_id, organization_id=demo.organization_id, role="member")
