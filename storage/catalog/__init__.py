"""The catalog: every SQL statement of the program, and the engine that runs them. Nothing else touches a database."""

from storage.catalog.attachments import PATHS_AT_ONCE, AttachmentTable
from storage.catalog.credentials import CredentialTable, KeyInfo
from storage.catalog.schema import migrate, open_database, schema_is_current
from storage.catalog.sqlite import Sqlite

__all__ = [
    "PATHS_AT_ONCE",
    "AttachmentTable",
    "CredentialTable",
    "KeyInfo",
    "Sqlite",
    "migrate",
    "open_database",
    "schema_is_current",
]
