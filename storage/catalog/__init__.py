"""The catalog: every SQL statement of the program, and the engine that runs them. Nothing else touches a database."""

from storage.catalog.attachments import AttachmentTable
from storage.catalog.audit import AuditTable, KeptRow, UsageDifference
from storage.catalog.credentials import CredentialTable, KeyInfo, WidgetSession
from storage.catalog.direct import DirectTable, DirectUpload
from storage.catalog.engine import Database, Lookup, Parameters, Row, Script, Statement, TellsFailures
from storage.catalog.events import Event, EventTable
from storage.catalog.messages import Linking, Message, MessageTable
from storage.catalog.names import fold
from storage.catalog.options import DatabaseOptions
from storage.catalog.outbox import OutboxEntry, OutboxTable
from storage.catalog.pages import PageQuery, PageTable, Position
from storage.catalog.schema import HEAD as NEWEST_SCHEMA
from storage.catalog.schema import is_postgresql, migrate, open_database, schema_is_current, sqlite_path
from storage.catalog.signing import KeptKey, SigningKeyTable
from storage.catalog.snapshots import Snapshot, forget_rows, take_snapshot
from storage.catalog.sqlite import Sqlite
from storage.catalog.upkeep import PATHS_AT_ONCE, UpkeepTable

__all__ = [
    "NEWEST_SCHEMA",
    "PATHS_AT_ONCE",
    "AttachmentTable",
    "AuditTable",
    "CredentialTable",
    "Database",
    "DatabaseOptions",
    "DirectTable",
    "DirectUpload",
    "Event",
    "EventTable",
    "KeptKey",
    "KeptRow",
    "KeyInfo",
    "Linking",
    "Lookup",
    "Message",
    "MessageTable",
    "OutboxEntry",
    "OutboxTable",
    "PageQuery",
    "PageTable",
    "Parameters",
    "Position",
    "Row",
    "Script",
    "SigningKeyTable",
    "Snapshot",
    "Sqlite",
    "Statement",
    "TellsFailures",
    "UpkeepTable",
    "UsageDifference",
    "WidgetSession",
    "fold",
    "forget_rows",
    "is_postgresql",
    "migrate",
    "open_database",
    "schema_is_current",
    "sqlite_path",
    "take_snapshot",
]
