"""What can be set: sections, keys, units, defaults and limits. The README's table is tested against it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.api_settings import ChatSettings, FilesSettings
from server.database_settings import DatabaseSettings
from server.mail_settings import MailSettings
from server.observing_settings import LogSettings, MetricsSettings, TracingSettings
from server.upload_settings import UploadSettings

# RFC 6265, 4.1.1: the name of a cookie is a token of RFC 9110.
_COOKIE_NAME = r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z"


class SettingsError(Exception):
    """A setting that cannot be used; the text is one line that names it and says what to write instead."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[server]`: the process and its HTTP side."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8080
    base_url: Annotated[
        str,
        Meta(description="Origin that clients use, such as `https://files.example.com`; by default that of `host` and `port`."),
    ] = ""
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that serve, on one database and one folder.")] = 1
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of other sites whose pages may call this server with the user's cookie (CORS)."),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses or networks of proxies whose `X-Forwarded-For` is believed; it is not read without any."),
    ] = ()
    request_log: Annotated[bool, Meta(description="Write one JSON line a request to standard error.")] = True
    shutdown_grace_seconds: Annotated[
        int, Meta(ge=0, le=3600, description="Seconds that requests in flight get to finish after SIGTERM.")
    ] = 30
    max_body_bytes: Annotated[int, Meta(ge=1024, le=2**30, description="Bytes of a procedure's request body.")] = 1_048_576
    max_batch_size: Annotated[int, Meta(ge=1, le=10_000, description="Calls in a batch.")] = 100
    method_override: Annotated[bool, Meta(description="Let queries be sent by POST (`methodOverride` of the client).")] = True
    plugins: Annotated[
        tuple[str, ...],
        Meta(description="Routers of procedures to serve beside attachd's own, such as `helpdesk.tickets:router`."),
    ] = ()
    development: bool = False


class WebSocketSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[websocket]`: what one WebSocket may ask of the server, and how many there may be."""

    max_connections: Annotated[int, Meta(ge=1, le=1_000_000, description="Open WebSockets in each worker process.")] = 2000
    max_message_bytes: Annotated[
        int,
        Meta(ge=1024, le=2**28, description="Bytes of a message; as many may stay allocated for each open WebSocket, doubled."),
    ] = 262_144
    max_messages_per_second: Annotated[
        int,
        Meta(ge=1, le=10_000_000, description="Messages and calls in a second that a WebSocket may send before it is closed."),
    ] = 1000
    max_subscriptions: Annotated[int, Meta(ge=1, le=100_000, description="Subscriptions at once in a WebSocket.")] = 1000
    max_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Queries and mutations at once in a WebSocket before no more of it is read for a while.",
        ),
    ] = 100
    connection_params_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds to wait for the `connectionParams` that a client announced.")
    ] = 10.0
    ping_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds of quiet after which a client is pinged; 0 for never.")
    ] = 30.0
    text_pings: Annotated[
        bool,
        Meta(description="Ping with tRPC's text `PING`, which clients before version 11 cannot read, instead of a frame."),
    ] = False
    pong_wait_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds after a ping within which a client must send something.")
    ] = 5.0
    reconnect_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds that clients get to connect elsewhere when the server stops.")
    ] = 1.0


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[auth]`: how a caller is recognised."""

    session_cookie: Annotated[
        str, Meta(pattern=_COOKIE_NAME, description="Name of the cookie that holds a session's token.")
    ] = "session"
    session_cache_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds within which a revoked session or key stops working.")
    ] = 10.0


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[stream]`: subscriptions over server-sent events, and streams of JSON lines."""

    ping_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds without an event after which a subscription is pinged; 0: never.")
    ] = 2.0
    reconnect_after_inactivity_seconds: Annotated[
        float,
        Meta(ge=0, le=3600, description="Seconds without a byte after which a subscription's client connects again; 0: never."),
    ] = 5.0
    max_duration_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=604_800,
            description="Seconds after which a subscription's client must connect, and prove itself, again; 0: never.",
        ),
    ] = 300.0
    max_subscriptions: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Subscriptions over server-sent events in a process.")
    ] = 5000
    jsonl_ping_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds without a line after which a stream of JSON lines is pinged; 0: never.")
    ] = 10.0


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[sweep]`: what `attachd sweep` removes."""

    grace_seconds: Annotated[
        float, Meta(ge=0, le=31_536_000, description="Age in seconds at which bytes without a row are taken away.")
    ] = 3600.0
    quarantine_days: Annotated[
        float,
        Meta(ge=0, le=36_500, description="Days for which such bytes are kept in quarantine first, if they are whole; 0: not."),
    ] = 7.0
    retention_days: Annotated[
        float, Meta(ge=0, le=36_500, description="Days for which the bytes of a deleted attachment are kept.")
    ] = 30.0
    unlinked_days: Annotated[
        float, Meta(ge=0, le=36_500, description="Days after which media that belong to no conversation are removed.")
    ] = 7.0


class SigningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[signing]`: links that need no credential."""

    keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Keys `id:base64secret`; the first signs, all verify. Without any, the database keeps one.",
            extra={"secret": True},
        ),
    ] = ()
    url_expiry_seconds: Annotated[
        int, Meta(ge=1, le=31_536_000, description="Seconds for which a signed link holds at least.")
    ] = 86_400
    url_window_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="Seconds within which a link stays the same; it holds for up to so much longer.")
    ] = 3_600


class WidgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[widget]`: visitors who upload into one conversation."""

    session_seconds: Annotated[float, Meta(gt=0, le=31_536_000, description="Seconds for which a widget's session lasts.")] = (
        86_400.0
    )
    rate_limit: Annotated[str, Meta(description="Uploads of a widget's session.")] = "10/minute"
    address_rate_limit: Annotated[
        str, Meta(description="Uploads of widgets from an address, or an IPv6 network of 64 bits.")
    ] = "60/minute"


class RateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[rates]`: where requests are counted."""

    storage_url: Annotated[
        str,
        Meta(
            description="`memory://`: in each worker by itself; or the URL of a Redis that all share, with the extra `redis`.",
            extra={"secret": True},
        ),
    ] = "memory://"


class EventSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[events]`: telling subscribers of changes."""

    poll_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Seconds after which subscribers hear of changes that another process made.")
    ] = 0.25


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked; made by `load_settings`."""

    server: ServerSettings = ServerSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    database: DatabaseSettings = DatabaseSettings()
    upload: UploadSettings = UploadSettings()
    auth: AuthSettings = AuthSettings()
    stream: StreamSettings = StreamSettings()
    sweep: SweepSettings = SweepSettings()
    events: EventSettings = EventSettings()
    signing: SigningSettings = SigningSettings()
    widget: WidgetSettings = WidgetSettings()
    rates: RateSettings = RateSettings()
    mail: MailSettings = MailSettings()
    files: FilesSettings = FilesSettings()
    chat: ChatSettings = ChatSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()


class SettingKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the file: what a table of the settings shows."""

    section: str
    key: str
    type: Any
    default: Any
    limits: Meta
    doc: str

    @property
    def name(self) -> str:
        """The key with its section, as errors name it."""
        return f"{self.section}.{self.key}"

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown."""
        return bool((self.limits.extra or {}).get("secret"))

    @property
    def variable(self) -> str:
        """The environment variable that overrides the file."""
        return f"ATTACHD_{self.section}_{self.key}".upper()


# Only `serve --dev` sets it: no file and no variable can open the development mode of a real server.
DEVELOPMENT = SettingKey(section="server", key="development", type=bool, default=False, limits=Meta(), doc="")


def setting_keys() -> list[SettingKey]:
    """Every key that the file and the environment may set, in the order of the file."""
    return [
        SettingKey(
            section=section.name,
            key=field.name,
            type=field.type,
            default=field.default,
            limits=(limits := next(note for note in field.type.__metadata__ if isinstance(note, Meta))),
            doc=limits.description or "",
        )
        for section in msgspec.structs.fields(Settings)
        for field in msgspec.structs.fields(section.type)
        if field.name != DEVELOPMENT.key
    ]
