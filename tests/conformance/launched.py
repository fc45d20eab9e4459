"""The launcher's attachd as a process of its own, with the credentials, rows and procedures that it makes."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines.backing import backing_of
from tests.running import environment

LAUNCHER = Path(__file__).parent / "launcher.py"
STOP_TIMEOUT_S = 40.0
# What asyncio and Python say of work that was begun and that nobody waited for.
_FORGOTTEN = ("never retrieved", "never awaited", "was destroyed", "never closed", "ResourceWarning")


def assert_nothing_forgotten(log: Path) -> None:
    """The log tells of no task, coroutine, generator or descriptor that was left behind."""
    lines = [line for line in log.read_text().splitlines() if any(words in line for words in _FORGOTTEN)]
    assert not lines, "\n".join(lines)


class Launched:
    """A context manager that stops it. `names` are ids and tokens; `site` is all that the launcher says."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log = folder / "attachd.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(LAUNCHER)],
                cwd=folder,
                env=environment(ATTACHD_SERVER_PORT="0", **backing_of(folder).settings, **settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the launcher did not come up:\n{self.log.read_text()}"
        self.site = json.loads(line)
        self.names: dict[str, str] = self.site["names"]
        self.port: int = self.site["port"]
        self.base_url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        self.process.communicate(timeout=STOP_TIMEOUT_S)
        assert_nothing_forgotten(self.log)
