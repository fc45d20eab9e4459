"""A real server for the handlers: uvicorn on a free port, the real storage, raw sockets as client."""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from rest import attachment_routes, health_routes, not_found
from schemas import Code, Principal, ServiceError
from storage import Options, SigningKey, Store
from tests.engines.backing import Backing

T = TypeVar("T")

BOUNDARY = "x-boundary-x"
# A client that the machine stalls is no silent one. Tests of silence have a server that waits less.
PATIENT_S = 60.0
IDLE_TIMEOUT_S = 0.5
ORGANIZATION = "0190a000-0000-7000-8000-000000000001"
SIGNING_KEYS = (SigningKey("new", b"n" * 32), SigningKey("old", b"o" * 32))
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\1\2\3" * 16


class Answer(msgspec.Struct, frozen=True):
    """An answer as it came: header names in lower case, several of one name joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body decoded; the answer must say that it is JSON."""
        assert self.headers["content-type"] == "application/json"
        return msgspec.json.decode(self.body)


class Server:
    """A running server and what a test needs to talk to it."""

    def __init__(self, backing: Backing, idle_timeout_s: float = PATIENT_S) -> None:
        self.backing = backing
        self.idle_timeout_s = idle_timeout_s
        self.port = 0
        self._app: Router | None = None
        self._store: Store | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application under test, with a lifespan that opens and closes the store."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            assert self._app is not None
            await self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._loop = asyncio.get_running_loop()
        options = Options(base_url="https://files.example", signing_keys=SIGNING_KEYS)
        self._store = await self.backing.open_store(options=options)
        base_url = "https://files.example/"
        routes = attachment_routes(
            self._store.attachments, self._authenticate, base_url=base_url, idle_timeout_s=self.idle_timeout_s
        )
        self._app = Router([*routes, *health_routes(self._store.check, PATIENT_S)], default=not_found)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._store.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _authenticate(self, scope: Scope) -> Principal:
        headers = dict(scope["headers"])
        if headers.get(b"sec-fetch-site") == b"cross-site":
            raise ServiceError(Code.FORBIDDEN, "cross-site request refused")
        token = headers.get(b"authorization", b"").removeprefix(b"Bearer ").decode()
        principal = await self.store.credentials.key_principal(token)
        if principal is None:
            raise ServiceError(Code.UNAUTHORIZED, "authentication required")
        return principal

    @property
    def store(self) -> Store:
        """The store of the running server."""
        assert self._store is not None
        return self._store

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work()`, run in the server's event loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(timeout=PATIENT_S)

    def token(self, organization: str = ORGANIZATION) -> str:
        """A fresh API key of a member."""
        return self.run(lambda: self.store.credentials.create_key(organization_id=organization, role="member", name="test"))[1]

    def assert_only(self, files: set[str]) -> None:
        """These bytes come to be kept and no other; what was begun is removed in the background."""
        assert eventually(lambda: self.files() == files), self.files() ^ files

    def files(self) -> set[str]:
        """The keys of the bytes that are kept, finished or not."""
        return self.backing.bytes.kept()


class Client:
    """Raw requests to the server, with one credential."""

    def __init__(self, server: Server, token: str | None) -> None:
        self.server = server
        self.token = token
        self._authorization = [] if token is None else [f"Authorization: Bearer {token}"]

    def principal(self) -> Principal:
        """Who the credential stands for."""
        principal = self.server.run(lambda: self.server.store.credentials.key_principal(self.token or ""))
        assert principal is not None
        return principal

    def connect(self) -> socket.socket:
        """A fresh connection."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENT_S)

    def head(self, method: str, path: str, headers: Sequence[str] = ()) -> bytes:
        """The head of a request, without a body's length."""
        lines = [f"{method} {path} HTTP/1.1", "Host: ignored.example", *self._authorization, *headers, "", ""]
        return "\r\n".join(lines).encode()

    def request(self, method: str, path: str, headers: Sequence[str] = (), body: bytes | None = None) -> Answer:
        """The answer to one request on its own connection."""
        length = [] if body is None else [f"Content-Length: {len(body)}"]
        return self.exchange(self.head(method, path, [*headers, *length]) + (body or b""), method)

    def exchange(self, data: bytes, method: str = "GET") -> Answer:
        """The answer to raw bytes."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection, method)

    def get(self, path: str, *headers: str) -> Answer:
        """The answer to a GET."""
        return self.request("GET", path, headers)

    def upload(self, body: bytes, *headers: str, boundary: str = BOUNDARY) -> Answer:
        """The answer to a form."""
        return self.request("POST", "/api/upload", [f"Content-Type: multipart/form-data; boundary={boundary}", *headers], body)

    def form_head(self, *headers: str) -> bytes:
        """The head of an upload."""
        return self.head("POST", "/api/upload", [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", *headers])

    def store(self, name: str, content: bytes) -> Any:
        """Upload a file; gives the JSON answer."""
        answer = self.upload(form(part(content, name)))
        assert answer.status == 200, answer
        return answer.json()


def error(code: str, message: str) -> dict[str, dict[str, str]]:
    """The JSON of an error."""
    return {"error": {"code": code, "message": message}}


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """The next answer on the connection, read whole."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return Answer(response.status, headers, response.read())


def part(content: bytes, filename: str | None = None, *, name: str = "file", headers: bytes = b"") -> bytes:
    """A part of a form, with the boundary before it; `filename` as it shall stand between the quotes."""
    named = f'; filename="{filename}"' if filename is not None else ""
    disposition = f'Content-Disposition: form-data; name="{name}"{named}'.encode()
    return b"--%b\r\n%b\r\n%b\r\n%b\r\n" % (BOUNDARY.encode(), disposition, headers, content)


def form(*parts: bytes) -> bytes:
    """A whole body of these parts."""
    return b"".join(parts) + b"--%b--\r\n" % BOUNDARY.encode()


def eventually(condition: Callable[[], object], timeout_s: float = 30.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
