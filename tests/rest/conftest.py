"""The running servers for all tests of the room."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from tests.engines.backing import backing_of
from tests.rest.live import IDLE_TIMEOUT_S, PATIENT_S, Client, Server, eventually


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a free port, in a thread of its own."""
    config = uvicorn.Config(
        server,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=int(PATIENT_S),
    )
    process = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=process.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert eventually(lambda: process.started)
            yield server
        finally:
            process.should_exit = True
            thread.join(timeout=PATIENT_S)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of this room's tests, one for all of them."""
    with running(Server(backing_of(tmp_path_factory.mktemp("rest")))) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    """A client of the test organization."""
    return Client(server, server.token())


@pytest.fixture(scope="session")
def unheard(server: Server, client: Client) -> Iterator[Client]:
    """The same client, of a second server of the same files that soon gives up those who fall silent."""
    with running(Server(server.backing, IDLE_TIMEOUT_S)) as impatient:
        yield Client(impatient, client.token)
