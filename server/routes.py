"""The routes beside the procedures: the handlers of each API, wired with the settings that are theirs."""

from starlette.routing import Route

from rest import (
    CHAT_PREFIXES,
    FILES_PREFIXES,
    OPENAPI_PATH,
    ChatOptions,
    FilesOptions,
    MetricsReaders,
    RateLimits,
    Reply,
    Shapes,
    WidgetRules,
    attachment_routes,
    chat_error,
    chat_routes,
    document_route,
    error_headers,
    files_error,
    files_routes,
    health_routes,
    media_routes,
    message_routes,
    metrics_route,
    render_media,
    widget_routes,
)
from schemas import ServiceError
from server.credentials import Authenticator
from server.metrics import MetricsReport
from server.setting_rules import metrics_networks, rate_of, trusted_proxies
from server.settings import Settings
from server.trpc import responses
from storage import MEBIBYTE, Store, api_b, api_b_widget, api_c, api_d

READY_TIMEOUT_S = 5.0  # seconds that /readyz waits for the database and the storage


def rest_routes(
    settings: Settings,
    store: Store,
    authenticator: Authenticator,
    rates: RateLimits,
    document: bytes,
    report: MetricsReport,
) -> list[Route]:
    """All of them; `document` is what /openapi.json gives, `report` what /metrics does."""
    return [
        *attachment_routes(
            store.attachments,
            authenticator.required,
            base_url=settings.server.base_url,
            idle_timeout_s=settings.upload.idle_timeout_seconds,
        ),
        *_media_routes(settings, store, authenticator, rates),
        *message_routes(
            store.messages,
            store.attachments,
            authenticator.required,
            idle_timeout_s=settings.upload.idle_timeout_seconds,
        ),
        *files_routes(store.attachments, authenticator.bearer, rates, _files_options(settings)),
        *chat_routes(store.attachments, authenticator.token, _chat_options(settings)),
        *health_routes(store.check, READY_TIMEOUT_S),
        document_route(OPENAPI_PATH, document),
        *([metrics_route(report.read, _metrics_readers(settings))] if settings.metrics.enabled else []),
    ]


def _metrics_readers(settings: Settings) -> MetricsReaders:
    return MetricsReaders(
        token=settings.metrics.token,
        networks=metrics_networks(settings.metrics),
        trusted_proxies=trusted_proxies(settings.server.trusted_proxies),
    )


def shapes(procedures_prefix: str) -> Shapes:
    """How each API tells of errors, the procedures among them."""
    return Shapes(
        {
            **dict.fromkeys(("/api/v1/", "/uploads/"), render_media),
            **dict.fromkeys(FILES_PREFIXES, files_error),
            **dict.fromkeys(CHAT_PREFIXES, chat_error),
            procedures_prefix: _procedures_error,
        }
    )


def _procedures_error(error: ServiceError) -> Reply:
    headers = [(b"content-type", b"application/json"), *error_headers(error)]
    return Reply(error.code.http_status, headers, responses.render_error(error, None))


def _files_options(settings: Settings) -> FilesOptions:
    files = settings.files
    return FilesOptions(
        policy=api_c(
            max_image_bytes=files.max_image_size_mb * MEBIBYTE,
            max_audio_bytes=files.max_audio_size_mb * MEBIBYTE,
            max_video_bytes=files.max_video_size_mb * MEBIBYTE,
            max_other_bytes=files.max_other_size_mb * MEBIBYTE,
            blocked=files.blocked_extensions,
            max_name_characters=files.max_name_characters,
        ),
        rate=rate_of("files.rate_limit", files.rate_limit) if files.rate_limit else None,
        max_user_characters=files.max_user_characters,
        idle_timeout_s=settings.upload.idle_timeout_seconds,
    )


def _chat_options(settings: Settings) -> ChatOptions:
    return ChatOptions(
        policy=api_d(settings.chat.max_file_size_mb * MEBIBYTE),
        base_url=settings.server.base_url,
        idle_timeout_s=settings.upload.idle_timeout_seconds,
    )


def _media_routes(settings: Settings, store: Store, authenticator: Authenticator, rates: RateLimits) -> list[Route]:
    idle_timeout_s = settings.upload.idle_timeout_seconds
    max_file_bytes = settings.upload.max_file_size_mb * MEBIBYTE
    widget = settings.widget
    rules = WidgetRules(
        session_s=widget.session_seconds,
        session_rate=rate_of("widget.rate_limit", widget.rate_limit),
        address_rate=rate_of("widget.address_rate_limit", widget.address_rate_limit),
        trusted_proxies=trusted_proxies(settings.server.trusted_proxies),
        max_body_bytes=settings.server.max_body_bytes,
    )
    return [
        *media_routes(store.attachments, authenticator.required, api_b(max_file_bytes), idle_timeout_s=idle_timeout_s),
        *widget_routes(
            store.attachments,
            store.credentials,
            authenticate=authenticator.required,
            authenticate_widget=authenticator.widget,
            policy=api_b_widget(max_file_bytes),
            rates=rates,
            rules=rules,
            idle_timeout_s=idle_timeout_s,
        ),
    ]
