"""What each API lets in: one table an API, over one table of types."""

from storage.policies.apis import API_A, EXECUTABLES_AND_SCRIPTS, api_a, api_b, api_b_widget, api_c, api_d
from storage.policies.policy import MEBIBYTE, FileType, Policy, refused, upload_limits

__all__ = [
    "API_A",
    "EXECUTABLES_AND_SCRIPTS",
    "MEBIBYTE",
    "FileType",
    "Policy",
    "api_a",
    "api_b",
    "api_b_widget",
    "api_c",
    "api_d",
    "refused",
    "upload_limits",
]
