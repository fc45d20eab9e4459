"""A subscriber of a conversation that connects again after whatever ends its stream, as the stock client does."""

import contextlib
import json
import threading
import time
from typing import Any, Self

import httpx

from tests.faults.site import Site

AGAIN_S = 0.05  # between two connections


class Listener:
    """Hears what changes in a conversation until the end; a context manager.

    `heard` has kind and attachment of every change, in their order, `errors` the errors that ended streams, each with its code.
    """

    def __init__(self, site: Site, conversation: str, last_event_id: str | None = None) -> None:
        self._client = site.client("session")
        self._input: dict[str, Any] = {"conversationId": conversation}
        self.last_event_id = last_event_id
        self.heard: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self.connections = 0
        self.begun = threading.Event()
        self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="listener")

    def _run(self) -> None:
        try:
            while not self._ended:
                with contextlib.suppress(httpx.TransportError):
                    self._listen()
                time.sleep(AGAIN_S)
        except BaseException as error:  # noqa: BLE001 (raised at the end)
            self._failure = error

    def _listen(self) -> None:
        resumed = {} if self.last_event_id is None else {"lastEventId": self.last_event_id}
        params = {"input": json.dumps(self._input | resumed)}
        accepted = {"accept": "text/event-stream"}
        with self._client.stream("GET", "/api/trpc/attachments.onChange", params=params, headers=accepted) as answer:
            assert answer.status_code in {200, 503}, answer.status_code
            self.connections += answer.status_code == 200
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                if self._ended:
                    return
                if line:
                    name, _, value = line.partition(":")
                    event[name] = value.strip()
                elif event:
                    self._take(event)
                    event = {}

    def _take(self, event: dict[str, str]) -> None:
        if event.get("event") == "serialized-error":
            data = json.loads(event["data"])["json"]["data"]
            assert data["httpStatus"] == 503, "an error after which the stock client does not connect again"
            self.errors.append(data["code"])
        elif "event" not in event and "id" in event:
            change = json.loads(event["data"])["json"]
            self.last_event_id = event["id"]
            if change["type"] == "ready":
                self.begun.set()
            else:
                self.heard.append((change["type"], change["id"]))

    def __enter__(self) -> Self:
        self._thread.start()
        if self.last_event_id is None:
            assert self.begun.wait(60), self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(90)
        assert not self._thread.is_alive()
        self._client.close()
        if self._failure is not None:
            raise self._failure
