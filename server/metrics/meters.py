"""What is told of requests, calls and limits: the side of the metrics that the rest of the server sees.

`answered` and `called` are on the path of every call and add to cells in place.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Final

import msgspec

from server.metrics import families as names
from server.metrics.cells import BUCKETS, Counter, Histogram, Layout, Numbers
from server.metrics.families import BOUNDS, families

_FIRST_BOUND: Final = BOUNDS[0]


class RouteMeter:
    """The requests of one route."""

    __slots__ = ("_cells", "_layout", "_received_cell", "_route", "_sent_cell", "_starts")

    def __init__(self, layout: Layout, cells: Numbers, route: str) -> None:
        self._layout = layout
        self._cells = cells
        self._route = route
        self._starts: dict[tuple[str, int], int] = {}
        self._received_cell = layout.start(names.RECEIVED, (route,))
        self._sent_cell = layout.start(names.SENT, (route,))

    def answered(self, method: str, status: int, started: float, sent_bytes: int) -> None:
        """Note an answer; `started` is the `time.perf_counter()` of the beginning of its request."""
        seconds = perf_counter() - started
        start = self._starts.get((method, status))
        if start is None:
            start = self._find(method, status)
        cells = self._cells
        cells[start + bisect_left(BOUNDS, seconds)] += 1.0
        cells[start + BUCKETS] += seconds
        cells[self._sent_cell] += sent_bytes

    def sent(self, size_bytes: int) -> None:
        """Note bytes of the body of an answer whose time means nothing."""
        self._cells[self._sent_cell] += size_bytes

    def received(self, size_bytes: int) -> None:
        """Note bytes of the body of a request."""
        self._cells[self._received_cell] += size_bytes

    def _find(self, method: str, status: int) -> int:
        """The cells of a method and status, remembered for the methods that there are."""
        known = method in names.METHODS
        labels = (method if known else names.OTHER_METHOD, self._route, f"{min(max(status // 100, 2), 5)}xx")
        start = self._layout.start(names.REQUESTS, labels)
        if known:
            self._starts[method, status] = start
        return start


class TrpcMeter(RouteMeter):
    """The requests of the route that procedures are called by."""

    __slots__ = ("_call_starts", "_method_starts")

    def __init__(self, layout: Layout, cells: Numbers, route: str, procedures: Iterable[str]) -> None:
        super().__init__(layout, cells, route)
        self._call_starts = {path: layout.start(names.CALLS, (path,)) for path in procedures}
        self._method_starts = {method: layout.start(names.REQUESTS, (method, route, "2xx")) for method in ("GET", "POST")}

    def called(self, method: str, path: str, started: float, sent_bytes: int) -> None:
        """Note an answer to one call that succeeded: as `answered`, and as the call. It looks at the clock only once."""
        seconds = perf_counter() - started
        bucket = 0 if seconds <= _FIRST_BOUND else bisect_left(BOUNDS, seconds)
        request, call = self._method_starts[method], self._call_starts[path]
        cells = self._cells
        cells[request + bucket] += 1.0
        cells[request + BUCKETS] += seconds
        cells[call + bucket] += 1.0
        cells[call + BUCKETS] += seconds
        cells[self._sent_cell] += sent_bytes


class CallMeter:
    """The calls of procedures, by path."""

    __slots__ = ("_cells", "_failures", "_layout", "_starts")

    def __init__(self, layout: Layout, cells: Numbers, procedures: Iterable[str]) -> None:
        self._layout = layout
        self._cells = cells
        self._starts = {path: layout.start(names.CALLS, (path,)) for path in procedures}

    def called(self, path: str, started: float) -> None:
        """Note a call of a procedure that succeeded; `started` is the `time.perf_counter()` of its beginning."""
        seconds = perf_counter() - started
        start = self._starts[path]
        cells = self._cells
        cells[start + bisect_left(BOUNDS, seconds)] += 1.0
        cells[start + BUCKETS] += seconds

    def failed(self, path: str, code: str) -> None:
        """Note a call that failed with that code; the path is a client's word."""
        known = path if path in self._starts else names.UNKNOWN
        self._cells[self._layout.start(names.CALL_FAILURES, (known, code))] += 1.0


class Meters:
    """All of a process, counted into `cells` of the layout; `trpc` is of the route that procedures are called by."""

    def __init__(
        self, layout: Layout, cells: Numbers, paths: Iterable[str], trpc_route: str, procedures: Sequence[str]
    ) -> None:
        self.layout = layout
        self.cells = cells
        self.calls = CallMeter(layout, cells, procedures)
        self.trpc = TrpcMeter(layout, cells, trpc_route, procedures)
        self._routes = {path: RouteMeter(layout, cells, path) for path in paths}
        self._unmatched = RouteMeter(layout, cells, names.UNMATCHED)

    def route(self, path: str) -> RouteMeter:
        """The meter of a route by its pattern; paths that are none share one."""
        return self._routes.get(path, self._unmatched)

    def counter(self, name: str, *labels: str) -> Counter:
        """The counter or gauge of those labels. Raises KeyError."""
        return Counter(self.cells, self.layout.start(name, labels))

    def histogram(self, name: str, *labels: str) -> Histogram:
        """The histogram of those labels. Raises KeyError."""
        return Histogram(self.cells, self.layout.start(name, labels))

    def refused(self, limit: str) -> None:
        """Note a request that the limit of that setting turned away."""
        self.counter(names.REFUSALS, limit).add()


def layout_of(paths: Iterable[str], procedures: Iterable[str]) -> Layout:
    """Where the series of those routes and procedures are."""
    return Layout(families(tuple(paths), tuple(procedures)))


class SubscriptionMeter:
    """The subscriptions of a transport."""

    def __init__(self, meters: Meters, transport: str) -> None:
        self._meters = meters
        self._transport = transport
        self._open = meters.counter(names.SUBSCRIPTIONS, transport)

    def began(self) -> None:
        """Note one that is open now."""
        self._open.add()

    def ended(self, code: str) -> None:
        """Note the end of one, OK or the code of its error."""
        self._open.add(-1)
        self._meters.counter(names.SUBSCRIPTIONS_ENDED, self._transport, code).add()


class SocketMeters(msgspec.Struct, frozen=True):
    """What is counted of WebSockets: those that are open and those ever opened, the bytes that were sent."""

    connections: Counter
    opened: Counter
    sent: Counter

    @classmethod
    def of(cls, meters: Meters) -> "SocketMeters":
        """Those of a process."""
        return cls(*(meters.counter(name) for name in (names.CONNECTIONS, names.CONNECTIONS_OPENED, names.WEBSOCKET_SENT)))
