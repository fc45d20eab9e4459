"""Of what kind a failure of the database or of the storage is, by what its driver raised.

Drivers are told apart by the attributes of their exceptions, so that none is imported here: `sqlite_errorname` is sqlite3's,
`sqlstate` asyncpg's (the class is its first two characters; PostgreSQL, appendix A), `response` botocore's.
"""

import errno
from collections.abc import Mapping
from typing import Any, Final

_ERRNO: Final[Mapping[int | None, str]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read_only",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.ENOENT: "missing",
    errno.EIO: "io",
    errno.ETIMEDOUT: "timeout",
}
_SQLITE: Final = {
    "BUSY": "busy",
    "LOCKED": "busy",
    "FULL": "full",
    "IOERR": "io",
    "CANTOPEN": "io",
    "CORRUPT": "corrupt",
    "NOTADB": "corrupt",
    "READONLY": "read_only",
    "INTERRUPT": "timeout",
}
_SQLSTATE_CLASSES: Final = {
    "08": "connection",
    "25": "read_only",  # 25006, upon a standby
    "40": "busy",  # a conflict of transactions
    "53": "full",  # disk, memory, connections
    "55": "busy",
    "57": "connection",  # the server is stopping, or starting
    "58": "io",
    "XX": "corrupt",
}
_S3: Final = {
    "AccessDenied": "denied",
    "InvalidAccessKeyId": "denied",
    "SignatureDoesNotMatch": "denied",
    "NoSuchKey": "missing",
    "NoSuchBucket": "missing",
    "404": "missing",
    "403": "denied",
    "SlowDown": "throttled",
    "503": "throttled",
    "ServiceUnavailable": "throttled",
    "RequestTimeout": "timeout",
    "InternalError": "io",
    "500": "io",
}


def database_kind(error: BaseException | None) -> str:
    """One of DATABASE_ERRORS."""
    name = getattr(error, "sqlite_errorname", None)
    if isinstance(name, str):
        return _SQLITE.get(name.removeprefix("SQLITE_").partition("_")[0], "other")
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return "timeout" if state == "57014" else _SQLSTATE_CLASSES.get(state[:2], "other")
    if isinstance(error, TimeoutError):
        return "timeout"
    name = type(error).__name__  # InterfaceError is what asyncpg raises of a connection that is gone
    return "connection" if isinstance(error, OSError) or "Connection" in name or name == "InterfaceError" else "other"


def storage_kind(error: BaseException | None) -> str:
    """One of STORAGE_ERRORS."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        return _S3.get(str(response.get("Error", {}).get("Code", "")), "other")
    name = type(error).__name__
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return "timeout"
    if isinstance(error, ConnectionError) or "Connection" in name:
        return "connection"
    return _ERRNO.get(error.errno, "other") if isinstance(error, OSError) else "other"
