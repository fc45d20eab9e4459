"""The routes beside the procedures: the handlers of each API, wired with the settings that are theirs."""

from starlette.routing import Route
from starlette.types import ASGIApp

from rest import (
    OPENAPI_PATH,
    NotFound,
    RateLimits,
    WidgetRules,
    attachment_routes,
    document_route,
    health_routes,
    media_routes,
    message_routes,
    render_media,
    widget_routes,
)
from server.credentials import Authenticator
from server.setting_rules import rate_of, trusted_proxies
from server.settings import Settings
from storage import MEBIBYTE, Store, api_b, api_b_widget

READY_TIMEOUT_S = 5.0  # seconds that /readyz waits for the database and the storage


def rest_routes(settings: Settings, store: Store, authenticator: Authenticator, document: bytes) -> list[Route]:
    """All of them; `document` is what /openapi.json gives."""
    return [
        *attachment_routes(
            store.attachments,
            authenticator.required,
            base_url=settings.server.base_url,
            idle_timeout_s=settings.upload.idle_timeout_seconds,
        ),
        *_media_routes(settings, store, authenticator),
        *message_routes(
            store.messages,
            store.attachments,
            authenticator.required,
            idle_timeout_s=settings.upload.idle_timeout_seconds,
        ),
        *health_routes(store.check, READY_TIMEOUT_S),
        document_route(OPENAPI_PATH, document),
    ]


def unknown_path() -> ASGIApp:
    """What answers where there is no route: in the shape of the API whose prefix the path has."""
    return NotFound({"/api/v1/": render_media, "/uploads/": render_media})


def _media_routes(settings: Settings, store: Store, authenticator: Authenticator) -> list[Route]:
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
            rates=RateLimits(settings.rates.storage_url),
            rules=rules,
            idle_timeout_s=idle_timeout_s,
        ),
    ]
