"""What can be set of the database. A module of its own for length; `server/setting_types.py` says what settings are."""

from typing import Annotated

import msgspec
from msgspec import Meta


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[database]`: where the rows are."""

    url: Annotated[
        str,
        Meta(
            description="`sqlite:///` and the path of the file, or `postgresql://user:password@host:port/database`.",
            extra={"secret": True},
        ),
    ] = "sqlite:///./data/attachd.db"
    busy_timeout_seconds: Annotated[
        float, Meta(ge=0, le=300, description="Seconds that a write waits for another process's write.")
    ] = 5.0
    search_seconds: Annotated[
        float, Meta(gt=0, le=300, description="Seconds that a page may take which no index serves, such as a search in names.")
    ] = 10.0
    connections: Annotated[
        int, Meta(ge=2, le=1000, description="Connections to PostgreSQL of each process, beside one that hears of changes.")
    ] = 8
    connect_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="Seconds that connecting to PostgreSQL may take.")
    ] = 5.0
    pool_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="Seconds that a statement waits for a free connection to PostgreSQL.")
    ] = 5.0
    statement_timeout_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds that PostgreSQL may take for a statement.")
    ] = 10.0
    idle_transaction_timeout_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="Seconds after which PostgreSQL undoes the transaction of a process that stopped."),
    ] = 30.0
