"""What settings must keep together beyond the type and the range of each.

An error never repeats a value that may hold a password.
"""

import importlib.util
import re
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from rest import MEMORY, REDIS_SCHEMES, Network, Rate, parse_networks, parse_rate
from server.mail_settings import SECURITY, MailSettings
from server.observing_settings import FORMATS, LEVELS, LogSettings, MetricsSettings, TracingSettings
from server.setting_types import Settings, SettingsError
from server.upload_rules import check_upload
from storage import SigningKey, parse_key
from storage.mail import Mailbox, parse_mailbox

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_WILDCARD_HOSTS = ("", "0.0.0.0", "::")  # noqa: S104 (compared with, never bound by default)

_PART = r"[^@/?#:\[\]\s\x7f-\U0010ffff]*"
_HOST = rf"(?:\[[0-9a-fA-F:.%]+\]|{_PART})(?::[0-9]{{1,5}})?"
_POSTGRESQL_URL = re.compile(
    rf"postgres(?:ql)?://(?:{_PART}(?::{_PART})?@)?{_HOST}(?:,{_HOST})*/[^@/?#\s]+(?:\?(?P<query>[^#\s]*))?", re.ASCII
)
_POSTGRESQL_PARAMETERS = {
    *("host", "port", "user", "password", "passfile", "service", "target_session_attrs", "krbsrvname", "gsslib", "options"),
    *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def checked(settings: Settings) -> Settings:
    """The settings with origins in the form that browsers send; raises SettingsError on what cannot work together."""
    server = settings.server
    _check_database_url(settings.database.url)
    try:
        check_upload(settings.upload)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    stream = settings.stream
    if stream.ping_seconds == 0 < stream.reconnect_after_inactivity_seconds:
        raise SettingsError(
            "stream.ping_seconds is 0, so that clients of quiet subscriptions would connect again every "
            f"{stream.reconnect_after_inactivity_seconds:g} s; raise stream.ping_seconds above 0, or set "
            "stream.reconnect_after_inactivity_seconds = 0"
        )
    if 0 < stream.reconnect_after_inactivity_seconds < stream.ping_seconds:  # tRPC refuses to start with such as well
        raise SettingsError(
            f"stream.ping_seconds ({stream.ping_seconds:g}) is more than stream.reconnect_after_inactivity_seconds "
            f"({stream.reconnect_after_inactivity_seconds:g}), so that clients would connect again and again; lower the first"
        )
    signing_keys(settings.signing.keys)
    if settings.files.rate_limit:
        rate_of("files.rate_limit", settings.files.rate_limit)
    for name, rate in (("rate_limit", settings.widget.rate_limit), ("address_rate_limit", settings.widget.address_rate_limit)):
        rate_of(f"widget.{name}", rate)
    trusted_proxies(server.trusted_proxies)
    _check_rates(settings.rates.storage_url)
    _check_mail(settings.mail)
    _check_log(settings.log)
    metrics_networks(settings.metrics)
    _check_tracing(settings.tracing)
    if not server.base_url and server.host in _WILDCARD_HOSTS:
        raise SettingsError(
            f"server.base_url is needed when server.host is {server.host!r}; write the origin that clients use, "
            'such as "https://files.example.com"'
        )
    base_url = _origin("server.base_url", server.base_url) if server.base_url else origin_of(server.host, server.port)
    allowed = tuple(_origin("server.allowed_origins", origin) for origin in server.allowed_origins)
    server = msgspec.structs.replace(server, base_url=base_url, allowed_origins=allowed)
    return msgspec.structs.replace(settings, server=server)


def signing_keys(texts: Sequence[str]) -> tuple[SigningKey, ...]:
    """The keys that sign links. Raises SettingsError, which names a key by its id or place and never shows the secret."""
    keys: dict[str, SigningKey] = {}
    for place, text in enumerate(texts, 1):
        try:
            key = parse_key(text)
        except ValueError as error:
            raise SettingsError(f"signing.keys, key {place}: {error}") from None
        if key.kid in keys:
            raise SettingsError(f"signing.keys has two keys with the id {key.kid}; give each its own")
        keys[key.kid] = key
    return tuple(keys.values())


def rate_of(name: str, text: str) -> Rate:
    """The rate of the setting of that name. Raises SettingsError."""
    try:
        return parse_rate(text)
    except ValueError:
        raise SettingsError(
            f'{name} must be a number and a time, such as "10/minute" or "100 per 2 hours", not {text!r}'
        ) from None


def trusted_proxies(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of `server.trusted_proxies`. Raises SettingsError."""
    try:
        return parse_networks(texts)
    except ValueError as error:
        raise SettingsError(f'server.trusted_proxies: {error}; write such as "10.0.0.0/8" or "127.0.0.1"') from None


def _check_rates(url: str) -> None:
    scheme = url.partition("://")[0]
    if url != MEMORY and scheme not in REDIS_SCHEMES:
        raise SettingsError(
            f'rates.storage_url must be "{MEMORY}" or begin with {", ".join(f"{one}://" for one in REDIS_SCHEMES)}'
        )
    if url != MEMORY and importlib.util.find_spec("redis") is None:
        raise SettingsError("rates.storage_url: the package redis is missing; install attachd[redis]")


def _check_mail(mail: MailSettings) -> None:
    if mail.security not in SECURITY:
        raise SettingsError(f'mail.security: unknown {mail.security!r}; write "starttls", "tls" or "none"')
    if bool(mail.username) != bool(mail.password):
        raise SettingsError("mail.username and mail.password are needed together, or neither")
    if mail.username and mail.security == "none" and mail.host not in _LOOPBACK_HOSTS:
        raise SettingsError('mail.security = "none" would send mail.password for all to read; write "starttls" or "tls"')
    if mail.host and not mail.sender:
        raise SettingsError("mail.sender is needed with mail.host: write the address that mails come from")
    if mail.sender:
        mail_sender(mail)


def _check_log(log: LogSettings) -> None:
    for name, value, known in (("level", log.level, LEVELS), ("format", log.format, FORMATS)):
        if value not in known:
            raise SettingsError(f"log.{name}: unknown {value!r}; write {', '.join(known[:-1])} or {known[-1]}")


def metrics_networks(metrics: MetricsSettings) -> tuple[Network, ...]:
    """The networks of `metrics.allowed_addresses`. Raises SettingsError, also for a token that no header can hold."""
    if not re.fullmatch(r"[!-~]*", metrics.token):
        raise SettingsError("metrics.token must be visible ASCII without blanks, such as `openssl rand -hex 32` prints")
    try:
        return parse_networks(metrics.allowed_addresses)
    except ValueError as error:
        raise SettingsError(f'metrics.allowed_addresses: {error}; write such as "10.0.0.0/8" or "127.0.0.1"') from None


def tracing_headers(texts: Sequence[str]) -> dict[str, str]:
    """The headers of `tracing.headers`. Raises SettingsError, which shows none of them."""
    headers = {}
    for place, text in enumerate(texts, 1):
        name, separator, value = text.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z0-9-]+", name.strip()) or not value.isprintable():
            raise SettingsError(f"tracing.headers, header {place}: write it as name=value")
        headers[name.strip()] = value.strip()
    return headers


def _check_tracing(tracing: TracingSettings) -> None:
    tracing_headers(tracing.headers)
    if not tracing.endpoint:
        return
    try:
        parts = urlsplit(tracing.endpoint)
    except ValueError as error:
        raise SettingsError(f"tracing.endpoint: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise SettingsError(
            'tracing.endpoint must be an http or https URL without a user, such as "http://127.0.0.1:4318/v1/traces"'
        )
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        if not _is_installed(package):
            raise SettingsError(f"tracing.endpoint: the package {package} is missing; install attachd[otel]")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # nor what it is in
        return False


def mail_sender(mail: MailSettings) -> Mailbox:
    """Who mails come from. Raises SettingsError."""
    try:
        return parse_mailbox(mail.sender)
    except ValueError as error:
        raise SettingsError(f"mail.sender: {error}") from None


def _check_database_url(url: str) -> None:
    scheme, separator, path = url.partition(":///")
    if re.match(r"postgres(ql)?(\+\w+)?:", url):
        _check_postgresql_url(url)
        return
    if scheme != "sqlite" or not separator or not path or path.startswith(":memory:"):
        raise SettingsError(
            "database.url must be sqlite:/// and the path of a file, such as sqlite:///./data/attachd.db, "
            "or postgresql://user:password@host:port/database"
        )


def _check_postgresql_url(url: str) -> None:
    """What is wrong is said without the URL, any part of which may be one of a password that was not quoted."""
    found = _POSTGRESQL_URL.fullmatch(url)
    if found is None:
        raise SettingsError(
            "database.url must be postgresql://user:password@host:port/database, "
            "with special characters of its parts as % and two digits"
        )
    try:
        query = parse_qs(found["query"], strict_parsing=True) if found["query"] else {}
    except ValueError:
        raise SettingsError("database.url: what follows the ? must be name=value, joined by &") from None
    if not query.keys() <= _POSTGRESQL_PARAMETERS:
        raise SettingsError(f"database.url: what follows the ? may be {', '.join(sorted(_POSTGRESQL_PARAMETERS))}")
    if not set(query.get("sslmode", ())) <= set(_SSL_MODES):
        raise SettingsError(f"database.url: sslmode must be one of {', '.join(_SSL_MODES)}")


def _origin(name: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not parts.hostname
        or text.lower() != f"{parts.scheme}://{parts.netloc}".lower()
        or not re.fullmatch(r"[\w.\-:\[\]]+", parts.netloc, re.ASCII)
    ):
        raise SettingsError(
            f'{name} must be written as scheme, host and port without a path, such as "https://files.example.com"'
        )
    return origin_of(parts.hostname, port, parts.scheme)


def origin_of(host: str, port: int | None, scheme: str = "http") -> str:
    """The origin as browsers write it: lower case, IPv6 in brackets, no port where it is the scheme's own."""
    name = f"[{host}]" if ":" in host else host.lower()
    return f"{scheme}://{name}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{name}:{port}"
