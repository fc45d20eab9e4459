"""The catalog: every SQL statement of the program, and the engine that runs them. Nothing else touches a database."""

from storage.catalog.attachments import AttachmentTable
from storage.catalog.credentials import CredentialTable, KeyInfo, WidgetSession
from storage.catalog.engine import Database, Lookup, Parameters, Row, Script, Statement, TellsFailures
from storage.catalog.events import Event, EventTable
from storage.catalog.messages import Linking, Message, MessageTable
from storage.catalog.names import fold
from storage.catalog.options import DatabaseOptions
from storage.catalog.outbox import OutboxEntry, OutboxTable
from storage.catalog.pages import PageQuery, PageTable, Position
from storage.catalog.schema import is_postgresql, migrate, open_database, schema_is_current
from storage.catalog.signing import KeptKey, SigningKeyTable
from storage.catalog.sqlite import Sqlite
from storage.catalog.upkeep import PATHS_AT_ONCE, UpkeepTable

__all__ = [
    "PATHS_AT_ONCE",
    "AttachmentTable",
    "CredentialTable",
    "Database",
    "DatabaseOptions",
    "Event",
    "EventTable",
    "KeptKey",
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
    "Sqlite",
    "Statement",
    "TellsFailures",
    "UpkeepTable",
    "WidgetSession",
    "fold",
    "is_postgresql",
    "migrate",
    "open_database",
    "schema_is_current",
]
