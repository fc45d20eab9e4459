"""Keeping attachments: the rules, the catalog of rows, the bytes. Imports schemas and nothing else of ours."""

from storage.attachments import Attachments, Download
from storage.catalog import KeyInfo, migrate, schema_is_current
from storage.clock import timestamp
from storage.credentials import Credentials
from storage.ids import fresh_id
from storage.options import Options
from storage.policy import API_A, FileType, Policy, api_a
from storage.store import Store, open_store
from storage.sweep import SweepReport
from storage.uploads import BeginUpload, Upload

__all__ = [
    "API_A",
    "Attachments",
    "BeginUpload",
    "Credentials",
    "Download",
    "FileType",
    "KeyInfo",
    "Options",
    "Policy",
    "Store",
    "SweepReport",
    "Upload",
    "api_a",
    "fresh_id",
    "migrate",
    "open_store",
    "schema_is_current",
    "timestamp",
]
