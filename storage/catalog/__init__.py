"""The catalog: every SQL statement of the program, and the engine that runs them. Nothing else touches a database."""

from storage.catalog.attachments import PATHS_AT_ONCE, AttachmentTable
from storage.catalog.credentials import CredentialTable, KeyInfo
from storage.catalog.schema import migrate, schema_is_current, sqlite_path
from storage.catalog.sqlite import Sqlite

__all__ = [
    "PATHS_AT_ONCE",
    "AttachmentTable",
    "CredentialTable",
    "KeyInfo",
    "Sqlite",
    "migrate",
    "schema_is_current",
    "sqlite_path",
]
