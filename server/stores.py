"""The store of the settings: the same for what serves and for the commands beside it."""

import storage
from schemas import ServiceError
from server.database_settings import DatabaseSettings
from server.mail import mail_options
from server.migration import StartError, ensure_schema
from server.setting_rules import signing_keys
from server.settings import Settings
from server.upload_rules import fallback_of, s3_options
from storage import MEBIBYTE, DatabaseOptions, Options, Store, Watch, api_a

_DAY_S = 86_400.0


async def open_store(settings: Settings, *, create: bool = True) -> Store:
    """The store of the settings, with its schema brought up to date and both its parts touched. Raises StartError.

    Without `create` its files must be there. An empty store agrees with everything: none must come of a disk that is not
    mounted, or of another current directory.
    """
    url = settings.database.url
    try:
        if not storage.is_postgresql(url):  # others may be serving from it: `attachd migrate` is asked for
            if not create and not (path := storage.sqlite_path(url)).exists():
                raise StartError(f"there is no database {path}: see --config, the current directory, and what is mounted")
            await ensure_schema(url)
        store = await open_settled(settings, create=create)
    except ServiceError as error:
        raise StartError(error.message) from error
    try:
        await store.check()
    except ServiceError as error:
        await store.aclose()
        raise StartError(str(error)) from error
    return store


async def check_store(settings: Settings) -> None:
    """Open the store and close it again. Raises StartError."""
    async with await open_store(settings):
        pass


async def open_settled(settings: Settings, watch: Watch | None = None, *, create: bool = True) -> Store:
    """The open store, whose database must have the newest schema, and its folder be there unless `create` allows to make it.

    Raises SERVICE_UNAVAILABLE.
    """
    return await storage.open_store(
        database_url=settings.database.url,
        directory=settings.upload.directory,
        bucket=s3_options(settings.upload),
        fallback=fallback_of(settings.upload),
        database_options=database_options(settings.database),
        credential_cache_s=settings.auth.session_cache_seconds,
        policy=api_a(settings.upload.max_file_size_mb * MEBIBYTE, settings.upload.max_image_size_mb * MEBIBYTE),
        options=store_options(settings),
        watch=watch or Watch(),
        create=create,
    )


def database_options(database: DatabaseSettings) -> DatabaseOptions:
    """How the engine of the database is used."""
    return DatabaseOptions(
        lock_timeout_s=database.busy_timeout_seconds,
        search_s=database.search_seconds,
        connections=database.connections,
        connect_timeout_s=database.connect_timeout_seconds,
        pool_timeout_s=database.pool_timeout_seconds,
        statement_timeout_s=database.statement_timeout_seconds,
        idle_transaction_timeout_s=database.idle_transaction_timeout_seconds,
    )


def store_options(settings: Settings) -> Options:
    """What an operator decides about the store."""
    return Options(
        search_s=settings.database.search_seconds,
        poll_s=settings.events.poll_seconds,
        retention_s=settings.sweep.retention_days * _DAY_S,
        max_batch_size=settings.server.max_batch_size,
        direct_expiry_s=settings.upload.direct_expiry_seconds,
        direct_max_open=settings.upload.direct_max_open,
        base_url=settings.server.base_url,
        signing_keys=signing_keys(settings.signing.keys),
        url_expiry_s=settings.signing.url_expiry_seconds,
        url_window_s=settings.signing.url_window_seconds,
        mail=mail_options(settings),
    )
