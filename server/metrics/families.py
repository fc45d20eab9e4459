"""What is measured: every family with its labels, and every series that it may have.

All values of all labels are known at start, so a client cannot make a series: a path that is no route counts as `unmatched`, a
method that HTTP clients of ours do not use as `other`, a procedure that there is none of as `unknown`. No label tells of an
organization, a user or a file.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from schemas import Code

# Upper bounds of the buckets of every histogram, in seconds: from a look-up by key to a large file over a slow line.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
OTHER_METHOD: Final = "other"
UNMATCHED: Final = "unmatched"
UNKNOWN: Final = "unknown"
OK: Final = "OK"
# 499 is a client that went away; the log has the same number.
CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")

CODES: Final = tuple(code.name for code in Code)
DATABASE_ERRORS: Final = ("busy", "connection", "corrupt", "full", "io", "read_only", "timeout", "other")
DATABASE_OPERATIONS: Final = ("read", "scan", "write")
STORAGE_ERRORS: Final = (
    "connection",
    "denied",
    "descriptors",
    "full",
    "io",
    "missing",
    "read_only",
    "throttled",
    "timeout",
    "other",
)
STORAGE_OPERATIONS: Final = ("write", "read", "delete", "other")
# The settings whose limits turn callers away; those of the APIs count requests in a time.
LIMITS: Final = (
    *("files.rate_limit", "widget.rate_limit", "widget.address_rate_limit"),
    *("stream.max_subscriptions", "websocket.max_connections", "websocket.max_messages_per_second"),
    "websocket.max_subscriptions",
)
TRANSPORTS: Final = ("sse", "websocket")

REQUESTS: Final = "attachd_http_request_duration_seconds"
RECEIVED: Final = "attachd_http_received_bytes"
SENT: Final = "attachd_http_sent_bytes"
CALLS: Final = "attachd_call_duration_seconds"
CALL_FAILURES: Final = "attachd_call_failures"
SUBSCRIPTIONS: Final = "attachd_subscriptions"
SUBSCRIPTIONS_ENDED: Final = "attachd_subscriptions_ended"
CONNECTIONS: Final = "attachd_websocket_connections"
CONNECTIONS_OPENED: Final = "attachd_websocket_connections_opened"
WEBSOCKET_SENT: Final = "attachd_websocket_sent_bytes"
UPLOADS: Final = "attachd_uploads_in_flight"
UPLOADS_ENDED: Final = "attachd_uploads_ended"
DOWNLOADS: Final = "attachd_downloads_in_flight"
WRITTEN: Final = "attachd_storage_written_bytes"
READ: Final = "attachd_storage_read_bytes"
STORAGE_TIME: Final = "attachd_storage_operation_duration_seconds"
STORAGE_FAILURES: Final = "attachd_storage_errors"
DATABASE_FAILURES: Final = "attachd_database_errors"
DATABASE_TIME: Final = "attachd_database_operation_duration_seconds"
REFUSALS: Final = "attachd_limit_refusals"


class Family(msgspec.Struct, frozen=True):
    """A metric. Its `series` are the values of its labels; counters have their name without `_total`.

    Those with `zeros` are shown before anything happened, so that the first of it is seen as a rise.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    doc: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)
    zeros: bool = False


def families(paths: Iterable[str], procedures: Iterable[str]) -> tuple[Family, ...]:
    """All of them, for the routes and procedures that there are."""
    routes = (*paths, UNMATCHED)
    known = tuple(procedures)
    return (
        Family(
            REQUESTS,
            "histogram",
            "From the headers of a request to the end of its answer, except that of subscriptions.",
            ("method", "route", "status"),
            _product((*METHODS, OTHER_METHOD), routes, CLASSES),
        ),
        _counter(RECEIVED, "Bytes of the bodies of requests.", ("route",), _product(routes)),
        _counter(SENT, "Bytes of the bodies of answers.", ("route",), _product(routes)),
        Family(CALLS, "histogram", "Time that a call took which succeeded.", ("procedure",), _product(known)),
        _counter(CALL_FAILURES, "Calls that failed.", ("procedure", "code"), _product((*known, UNKNOWN), CODES)),
        _gauge(SUBSCRIPTIONS, "Open subscriptions.", ("transport",), _product(TRANSPORTS)),
        _counter(SUBSCRIPTIONS_ENDED, "Subscriptions that ended.", ("transport", "code"), _product(TRANSPORTS, (OK, *CODES))),
        _gauge(CONNECTIONS, "Open WebSockets."),
        _counter(CONNECTIONS_OPENED, "WebSockets that were opened."),
        _counter(WEBSOCKET_SENT, "Bytes of the answers to calls and of the items of subscriptions over WebSocket."),
        *_storage(),
        Family(
            DATABASE_TIME,
            "histogram",
            "Time that an operation of the database took. A scan is a read that no index makes short.",
            ("operation",),
            _product(DATABASE_OPERATIONS),
        ),
        _counter(DATABASE_FAILURES, "Failures of the database.", ("kind",), _product(DATABASE_ERRORS), zeros=True),
        _counter(REFUSALS, "Requests that a limit turned away.", ("limit",), _product(LIMITS), zeros=True),
    )


def _storage() -> Iterable[Family]:
    return (
        _gauge(UPLOADS, "Files on their way in."),
        _counter(UPLOADS_ENDED, "Files that came in, or did not.", ("outcome",), _product(("stored", "aborted")), zeros=True),
        _gauge(DOWNLOADS, "Files on their way out: to clients, and into mails."),
        _counter(WRITTEN, "Bytes of files that were stored."),
        _counter(READ, "Bytes of files that were read."),
        Family(
            STORAGE_TIME,
            "histogram",
            "Time that an operation of the storage took: of a write its last step, which makes it durable.",
            ("operation",),
            _product(STORAGE_OPERATIONS),
        ),
        _counter(
            STORAGE_FAILURES,
            "Failures of the storage.",
            ("operation", "kind"),
            _product(STORAGE_OPERATIONS, STORAGE_ERRORS),
            zeros=True,
        ),
    )


def _product(*values: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(itertools.product(*values))


def _counter(
    name: str,
    doc: str,
    labels: tuple[str, ...] = (),
    series: tuple[tuple[str, ...], ...] = ((),),
    *,
    zeros: bool = False,
) -> Family:
    return Family(name, "counter", doc, labels, series, zeros or not labels)


def _gauge(name: str, doc: str, labels: tuple[str, ...] = (), series: tuple[tuple[str, ...], ...] = ((),)) -> Family:
    return Family(name, "gauge", doc, labels, series, True)
