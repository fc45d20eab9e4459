"""What `attachd doctor` looks at: everything that a setting names and that can be wrong in the world.

Each check has its time and fails alone. None changes anything but for objects and files of a few bytes, which it removes again.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from rest import MEMORY, RateLimits
from server.machine import examine_machine
from server.mail import reach_mail_server
from server.setting_rules import signing_keys
from server.settings import Settings, setting_keys
from server.stores import database_options, store_options
from server.upload_rules import fallback_of, place_of
from storage import NEWEST, Diagnosis, S3Options, examine_blobs, examine_database, signing_keys_of

TIMEOUT_S = 30.0  # for one check; its own calls give up earlier
_CALL_TIMEOUT_S = 10.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Check(NamedTuple):
    """Something to look at; what it finds is about the setting `name`, or others beside it."""

    name: str
    examine: Callable[[], Awaitable[list[Diagnosis]]]


def checks_of(settings: Settings, config: Path | None) -> list[Check]:
    """What there is to look at with these settings."""
    upload = settings.upload
    found = [
        Check("settings", lambda: _now(examine_settings(settings, config))),
        Check("database.url", lambda: _database(settings)),
        _place("upload.backend", place_of(upload, upload.backend), settings.server.allowed_origins),
    ]
    if (fallback := fallback_of(upload)) is not None:
        found.append(_place("upload.fallback", fallback))
    found += [
        Check("server.base_url", lambda: _base_url(settings)),
        Check("signing.keys", lambda: _signing(settings)),
        Check("mail.host", lambda: _mail(settings)),
        Check("rates.storage_url", lambda: _rates(settings.rates.storage_url)),
        Check("machine", lambda: _now(examine_machine(settings))),
    ]
    return found


def _place(name: str, place: Path | S3Options, origins: Sequence[str] = ()) -> Check:
    if isinstance(place, S3Options):
        read_timeout_s = min(place.read_timeout_s, _CALL_TIMEOUT_S)
        place = msgspec.structs.replace(place, attempts=1, read_timeout_s=read_timeout_s)
    return Check(name, lambda: examine_blobs(place, origins))


async def _now(found: Iterator[Diagnosis]) -> list[Diagnosis]:
    return list(found)


async def examine(check: Check) -> list[Diagnosis]:
    """What is found, within `TIMEOUT_S`, whatever happens."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await check.examine()
    except TimeoutError:
        return [Diagnosis(check.name, "fail", f"no answer within {TIMEOUT_S:g} s", "see whether it can be reached from here")]
    except Exception as error:  # noqa: BLE001 (one check that cannot be made must not hide the others)
        return [Diagnosis(check.name, "fail", f"cannot be looked at: {type(error).__name__}", "please report this")]


def examine_settings(settings: Settings, config: Path | None) -> Iterator[Diagnosis]:
    """Where the settings come from, and who may read the secrets in them."""
    if config is None:
        yield Diagnosis("settings", "ok", "no file is named: defaults and variables of the environment")
        return
    yield Diagnosis("settings", "ok", str(config))
    secrets = [
        key.name for key in setting_keys() if key.is_secret and getattr(getattr(settings, key.section), key.key) != key.default
    ]
    if secrets and config.stat().st_mode & 0o007:
        text = f"{config} is open to every user of this machine, and {', '.join(secrets)} may stand in it"
        yield Diagnosis("settings", "warn", text, f"chmod o-rwx {config}")


async def _database(settings: Settings) -> list[Diagnosis]:
    connections = settings.server.workers * (settings.database.connections + 1)  # one listens for news
    return await examine_database(settings.database.url, database_options(settings.database), connections)


async def _base_url(settings: Settings) -> list[Diagnosis]:
    check, url = "server.base_url", settings.server.base_url
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK:
        if settings.server.host in _LOOPBACK:
            return [Diagnosis(check, "ok", f"{url}: for this machine alone")]
        return [Diagnosis(check, "warn", f"{url}: links lead to the reader's own machine", "write the origin that clients use")]
    found = []
    try:
        await asyncio.get_running_loop().getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        found.append(
            Diagnosis(check, "warn", f"{url}: {host} has no address here: {error.strerror or error}", "mend the name, or DNS")
        )
    if parts.scheme != "https":
        text = f"{url}: cookies, keys and links go over the network for all to read"
        found.append(Diagnosis(check, "warn", text, "end TLS at a proxy in front, and write https://"))
    return found or [Diagnosis(check, "ok", url)]


async def _signing(settings: Settings) -> list[Diagnosis]:
    check = "signing.keys"
    if settings.signing.keys:
        keys = signing_keys(settings.signing.keys)
        return [Diagnosis(check, "ok", f"{len(keys)} in the settings; {keys[0].kid} signs")]
    database = await _database(settings)
    if not any(one.text == NEWEST for one in database):
        return [Diagnosis(check, "ok", "none in the settings: the database keeps them; see database.url")]
    infos = await signing_keys_of(settings.database.url, database_options(settings.database), store_options(settings))
    if not infos:
        return [Diagnosis(check, "ok", "none yet: one is made with the first link and kept in the database")]
    spare = sum(info.state == "spare" for info in infos)
    if spare:
        return [Diagnosis(check, "warn", f"{len(infos)} in the database, {spare} of no more use", "attachd signing rotate")]
    return [Diagnosis(check, "ok", f"{len(infos)} in the database; {infos[0].kid} signs")]


async def _mail(settings: Settings) -> list[Diagnosis]:
    if not settings.mail.host:
        return [Diagnosis("mail.host", "ok", "not set: messages wait in the outbox")]
    place = f"{settings.mail.host}:{settings.mail.port}"
    fault = await reach_mail_server(settings)
    if fault:
        return [Diagnosis("mail.host", "fail", f"{place}: {fault}", "see mail.host, port, security, username and password")]
    return [Diagnosis("mail.host", "ok", f"{place} answers, and accepts who we are")]


async def _rates(storage_url: str) -> list[Diagnosis]:
    check = "rates.storage_url"
    if storage_url == MEMORY:
        return [Diagnosis(check, "ok", "each worker counts by itself")]
    place = urlsplit(storage_url).hostname or "Redis"  # without the password
    rates = RateLimits(storage_url)
    answers = await rates.check()
    await rates.aclose()
    if answers:
        return [Diagnosis(check, "ok", f"{place} answers")]
    return [Diagnosis(check, "fail", f"{place} does not answer: what is counted is refused", "start it, or name another")]
