"""The engine on PostgreSQL. Imported only when the settings name such a database: asyncpg takes 8 MB of memory."""
