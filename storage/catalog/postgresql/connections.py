"""One connection to PostgreSQL: what is set on each, and what a failure to make one means to who must mend it.

The time-outs are set by a statement and not at the start-up of the connection, where PgBouncer refuses them.
"""

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import asyncpg

from schemas import Code, ServiceError
from storage.catalog.options import DatabaseOptions

PROGRAM = "attachd"  # what pg_stat_activity shows
SCHEMES = ("postgresql", "postgres")
MIN_VERSION = 14  # the oldest that PostgreSQL itself still keeps up (2026-11)
STATEMENTS_KEPT = 256  # prepared statements of a connection: more than the program has
KEEPALIVE_S = 30  # of silence before TCP asks, and between two times that it asks
KEEPALIVES = 4  # unanswered ones after which the connection is lost

# The planner has no INDEXED BY; these keep it from plans without the index that each statement was written for. A plan that
# cannot do without what is off has it all the same, at a cost that would set off the compiler. Each statement has one plan for
# all parameters: one with a LIMIT would be planned anew for each execution, which takes longer than to execute it (2026-11).
# A statement alone and a migration do not say how they are isolated, and must see what was committed while they waited for a
# lock, whatever the default of the database or the role is.
_SETTINGS = (
    "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),"
    " set_config('idle_in_transaction_session_timeout', $3, false), set_config('enable_seqscan', 'off', false),"
    " set_config('enable_bitmapscan', 'off', false), set_config('enable_sort', 'off', false), set_config('jit', 'off', false),"
    " set_config('plan_cache_mode', 'force_generic_plan', false),"
    " set_config('default_transaction_isolation', 'read committed', false)"
)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:  # generic in the stubs only
    Connection = asyncpg.Connection


async def connect(url: str, options: DatabaseOptions, name: str = PROGRAM) -> Connection:
    """A connection, made within `connect_timeout_s`. Raises ServiceError SERVICE_UNAVAILABLE, for operators."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            connection = await asyncpg.connect(
                url,
                timeout=options.connect_timeout_s,
                command_timeout=options.statement_timeout_s + 1.0,  # the server itself should be the first to give up
                statement_cache_size=STATEMENTS_KEPT,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": name},
            )
            _keep_alive(connection)
            await _prepare(connection, options)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError, OverflowError) as error:
        if connection is not None:
            connection.terminate()
        raise cannot_open(url, error) from error
    except asyncio.CancelledError:
        if connection is not None:
            connection.terminate()
        raise
    return connection


def _keep_alive(connection: Connection) -> None:
    """Have TCP find out that the other machine is gone, also while nothing is asked of it."""
    found = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001 (no public way to it)
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", KEEPALIVE_S), ("TCP_KEEPCNT", KEEPALIVES)):
            if hasattr(socket, option):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _prepare(connection: Connection, options: DatabaseOptions) -> None:
    if connection.get_server_version().major < MIN_VERSION:
        raise ValueError(f"PostgreSQL {MIN_VERSION} or newer is needed, not {connection.get_server_version().major}")
    timeouts = (session_timeout_s(options), options.lock_timeout_s, options.idle_transaction_timeout_s)
    await connection.fetch(_SETTINGS, *(str(max(round(timeout * 1000), 1)) for timeout in timeouts))


def session_timeout_s(options: DatabaseOptions) -> float:
    """After which the server ends a statement: a search has its own time, and others end by `command_timeout`."""
    return max(options.statement_timeout_s, options.search_s)


def cannot_open(url: str, error: Exception) -> ServiceError:
    """The error of a database that cannot be used; for operators, and without the password."""
    return ServiceError(Code.SERVICE_UNAVAILABLE, f"cannot open the database {place_of(url)}: {reason_of(error)}")


def place_of(url: str) -> str:
    """A URL as it may be shown: user, host, port and database."""
    parts = urlsplit(url)
    user = f"{unquote(parts.username)}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2] or "localhost"
    return f"{unquote(parts.path.removeprefix('/')) or unquote(parts.username or '')} of {user}{host}"


def reason_of(error: BaseException) -> str:
    """What is wrong, in one line that says what to mend."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"{error.args[0]}; check user and password in database.url"
        case asyncpg.InvalidCatalogNameError():
            return f"{error.args[0]}; create it, or name another in database.url"
        case asyncpg.InsufficientPrivilegeError():
            return f"{error.args[0]}; grant it to the user of database.url"
        case TimeoutError():
            return "no answer in time (database.connect_timeout_seconds)"
        case ConnectionRefusedError():
            return "connection refused; is PostgreSQL running there?"
        case OSError():
            return error.strerror or str(error)
        case _:
            return " ".join(str(error).split())
