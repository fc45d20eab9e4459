"""One running server for all tests of the room."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from tests.engines.backing import backing_of
from tests.rest.live import Client, Server, eventually


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of this room's tests, one for all of them."""
    server = Server(backing_of(tmp_path_factory.mktemp("rest")))
    config = uvicorn.Config(
        server, loop="uvloop", http="httptools", ws="none", lifespan="on", log_config=None, timeout_graceful_shutdown=5
    )
    process = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=process.run, kwargs={"sockets": [listener]})
        thread.start()
        assert eventually(lambda: process.started)
        yield server
        process.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    """A client of the test organization."""
    return Client(server, server.token())
