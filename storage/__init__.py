"""Keeping attachments: the rules, the catalog of rows, the bytes. Imports schemas and nothing else of ours."""

from storage.attachments import Attachments, Download
from storage.backup import Backup
from storage.blobs import BlobInfo, BlobReader, Blobs, BlobWriter
from storage.capabilities import capability_hash, fresh_capability
from storage.catalog import (
    Database,
    DatabaseOptions,
    KeyInfo,
    Lookup,
    OutboxEntry,
    Parameters,
    Row,
    Script,
    Statement,
    TellsFailures,
    is_postgresql,
    migrate,
    schema_is_current,
    sqlite_path,
)
from storage.catalog.diagnosis import NEWEST, examine_database
from storage.clock import timestamp
from storage.credentials import Credentials, is_widget_token
from storage.diagnosis import Diagnosis
from storage.disk import exclusive
from storage.filenames import extension_of
from storage.fsck import Finding, FindingKind, Fsck, FsckOptions, Progress
from storage.ids import fresh_id
from storage.incoming import Incoming, PartInfo, Staged
from storage.keys import SigningKeyInfo
from storage.links import DOWNLOAD_PATH, MEDIA_PATH
from storage.messages import Draft, Messages, Posted
from storage.options import MailOptions, Options, S3Options
from storage.outbox import LeaseLost, Outbox, OutboxDepth, Outgoing
from storage.places import examine_blobs, open_blobs
from storage.policies import (
    API_A,
    EXECUTABLES_AND_SCRIPTS,
    MEBIBYTE,
    FileType,
    Policy,
    api_a,
    api_b,
    api_b_widget,
    api_c,
    api_d,
)
from storage.signing import SigningKey, is_signed, parse_key
from storage.store import Store, Watch, open_store, signing_keys_of
from storage.sweep import SweepReport
from storage.transfer import Problem, Step, Transfer, TransferOptions
from storage.uploads import BeginUpload, Details, Upload

__all__ = [
    "API_A",
    "DOWNLOAD_PATH",
    "EXECUTABLES_AND_SCRIPTS",
    "MEBIBYTE",
    "MEDIA_PATH",
    "NEWEST",
    "Attachments",
    "Backup",
    "BeginUpload",
    "BlobInfo",
    "BlobReader",
    "BlobWriter",
    "Blobs",
    "Credentials",
    "Database",
    "DatabaseOptions",
    "Details",
    "Diagnosis",
    "Download",
    "Draft",
    "FileType",
    "Finding",
    "FindingKind",
    "Fsck",
    "FsckOptions",
    "Incoming",
    "KeyInfo",
    "LeaseLost",
    "Lookup",
    "MailOptions",
    "Messages",
    "Options",
    "Outbox",
    "OutboxDepth",
    "OutboxEntry",
    "Outgoing",
    "Parameters",
    "PartInfo",
    "Policy",
    "Posted",
    "Problem",
    "Progress",
    "Row",
    "S3Options",
    "Script",
    "SigningKey",
    "SigningKeyInfo",
    "Staged",
    "Statement",
    "Step",
    "Store",
    "SweepReport",
    "TellsFailures",
    "Transfer",
    "TransferOptions",
    "Upload",
    "Watch",
    "api_a",
    "api_b",
    "api_b_widget",
    "api_c",
    "api_d",
    "capability_hash",
    "examine_blobs",
    "examine_database",
    "exclusive",
    "extension_of",
    "fresh_capability",
    "fresh_id",
    "is_postgresql",
    "is_signed",
    "is_widget_token",
    "migrate",
    "open_blobs",
    "open_store",
    "parse_key",
    "schema_is_current",
    "signing_keys_of",
    "sqlite_path",
    "timestamp",
]
