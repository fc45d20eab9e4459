"""What an operator decides about the database."""

import msgspec


class DatabaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds; `server/setting_types.py` says what each is good for.

    SQLite has one writer and waits for nothing but its lock; the others are PostgreSQL's. A search has its own time.
    """

    lock_timeout_s: float = 5.0
    search_s: float = 10.0
    connections: int = 8
    connect_timeout_s: float = 5.0
    pool_timeout_s: float = 5.0
    statement_timeout_s: float = 10.0
    idle_transaction_timeout_s: float = 30.0
