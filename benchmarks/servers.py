"""Server processes: each on the servers' core, on a free port, with its output in a log file, stopped by its own id."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import machine

HOST = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server process; leaving the context stops it."""

    def __init__(self, command: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.port = port
        self._log = log
        pair = machine.cores()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ATTACHD_")}
        with machine.on_core(pair[0] if pair else None), log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=machine.ROOT,
                env=inherited | {"NODE_ENV": "production", "PYTHONPATH": str(machine.ROOT)} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def state(self) -> str:
        """What to say when it does not do as it should: whether it still runs, and the end of its log."""
        code = self._process.poll()
        running = "it still runs" if code is None else f"it has ended with status {code}"
        return f"{self._process.args!r}: {running}\n{self._log.read_text(errors='replace')[-2000:]}"

    def processor_seconds(self) -> float:
        """How long the process has run on a core since it started, all its threads together; 0 where the system hides it."""
        if sys.platform != "linux":
            return 0.0
        # proc(5): the name in parentheses may hold spaces; utime and stime are the 12th and 13th field behind it.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        """Waits until the port takes connections. Raises RuntimeError, with the end of the log, when it does not."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        state = self.state()
        self.stop()
        raise RuntimeError(f"a server did not start: {state}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask the process to end; kill it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def uvicorn(app: str, *, log: Path, environment: Mapping[str, str], flags: Sequence[str] = ()) -> Server:
    """A Python peer on uvicorn, with the loop and the HTTP parser that attachd runs on, and no access log."""
    port = free_port()
    common = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--lifespan", "off", "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port), *common, *flags]
    return Server(command, port=port, log=log, environment=environment)
