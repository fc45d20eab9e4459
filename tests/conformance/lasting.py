"""The driver clients/v11/streams.mjs from Python: subscriptions and streamed calls of the stock client, many at a time."""

import itertools
import json
import queue
import subprocess
import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx

from tests.conformance.launched import Launched
from tests.conformance.node import node_command, npm_install
from tests.running import ROOT

CLIENTS = ROOT / "tests" / "conformance" / "clients"
# Ample for a loaded machine, and for a client that connects again.
EVENT_TIMEOUT_S = 60.0
CLOSED_WITHIN_S = 30.0

Event = dict[str, Any]


class Lasting:
    """One Node process; a context manager that ends it."""

    def __enter__(self) -> Self:
        npm_install(CLIENTS)
        self._process = subprocess.Popen(
            [*node_command(), CLIENTS / "v11" / "streams.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ids = itertools.count()
        self._queues: dict[int, queue.SimpleQueue[Event]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._queues[event.pop("id")].put(event)

    def send(self, command: dict[str, Any]) -> None:
        """Give the process a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def start(self, **command: Any) -> "Running":
        """Start what the command says under a new id."""
        id = next(self._ids)
        events = self._queues[id] = queue.SimpleQueue()
        self.send({"id": id, **command})
        return Running(self, id, events)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate(timeout=EVENT_TIMEOUT_S)
        self._reader.join(EVENT_TIMEOUT_S)


class Running:
    """A subscription or a call under way."""

    def __init__(self, lasting: Lasting, id: int, events: "queue.SimpleQueue[Event]") -> None:
        self._lasting, self._id, self._events = lasting, id, events
        self.states: list[str] = []

    def next(self, timeout_s: float = EVENT_TIMEOUT_S) -> Event:
        """The next event; those of the connection's state go into `states`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing came in {timeout_s} s; states: {self.states}") from None
            if event["event"] != "state":
                return event
            self.states.append(event["state"])

    def data(self, timeout_s: float = EVENT_TIMEOUT_S) -> Any:
        """The value of the next event, which must be of data; `started` of a new connection is skipped."""
        while (event := self.next(timeout_s))["event"] == "started":
            pass
        assert event["event"] in ("data", "item"), event
        return event["value"]["json"]

    def rest(self) -> list[str]:
        """The events that came without being read; waits for none."""
        return [self._events.get()["event"] for _ in range(self._events.qsize())]

    def stop(self) -> None:
        """Unsubscribe."""
        self._lasting.send({"id": self._id, "op": "stop"})

    def abort(self) -> None:
        """Abort the signal that the call was given."""
        self._lasting.send({"id": self._id, "op": "abort"})


class Client:
    """Starts subscriptions and calls over one link."""

    def __init__(self, lasting: Lasting, site: Launched, link: str) -> None:
        self.lasting, self.site, self.link = lasting, site, link

    def start(
        self, op: str, path: str, input: Any = None, *, who: str | None = "member", params: Any = None, **more: Any
    ) -> Running:
        """Start an `op` of the driver as one of the site's people, or with connection parameters."""
        wrapped = None if input is None else {"json": input}
        headers = {"cookie": f"session={self.site.names[who]}"} if who else {}
        options = {"link": self.link, "url": f"{self.site.base_url}/api/trpc", "headers": headers, "params": params}
        return self.lasting.start(op=op, path=path, input=wrapped, **options, **more)

    def subscribe(self, path: str, input: Any = None, **more: Any) -> Running:
        return self.start("subscribe", path, input, **more)

    def query(self, path: str, input: Any = None, **more: Any) -> Running:
        return self.start("call", path, input, type="query", **more)

    def mutate(self, path: str, input: Any = None, **more: Any) -> Running:
        return self.start("call", path, input, type="mutate", **more)

    def held(self) -> dict[str, int]:
        """What the server's process holds, as `open.held` tells."""
        reply = httpx.get(f"{self.site.base_url}/api/trpc/open.held", timeout=EVENT_TIMEOUT_S)
        held: dict[str, int] = reply.json()["result"]["data"]["json"]
        return held

    def until_closed(self) -> None:
        """Wait until no generator of `open.*` is open any more."""
        deadline = time.monotonic() + CLOSED_WITHIN_S
        while self.held()["generators"]:
            assert time.monotonic() < deadline, "a generator that nobody listens to is still open"
            time.sleep(0.02)


def assert_error(event: Event, code: str, status: int, path: str, message: str) -> None:
    error = event["error"]
    assert event["event"] == "error"
    assert error["name"] == "TRPCClientError"
    assert error["message"] == message
    assert error["data"] == {"code": code, "httpStatus": status, "path": path}
