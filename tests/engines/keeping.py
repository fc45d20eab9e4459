"""One server for all tests of a run, in whichever workers they are.

Workers of pytest-xdist are processes, and any of them may be the first to need the server, or the last. So a process beside
them, the keeper, runs it. Each worker holds a shared lock on a file for as long as it lives; the keeper waits for that lock
alone, and stops the server when it gets it: also when the workers were killed.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import pytest

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 120.0
_PR_SET_PDEATHSIG = 1


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of the run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def join(folder: Path, name: str, module: str) -> tuple[TextIO, dict[str, Any]]:
    """Be a user of the server of that name, which the keeper `module` runs; started if nobody has yet.

    Gives what to close when it is needed no more, and what the keeper told of it.
    """
    users, place, log = (folder / f"{name}.{end}" for end in ("users", "json", "log"))
    with locked(folder / f"{name}.start", fcntl.LOCK_EX):
        held = locked(users, fcntl.LOCK_SH)
        if not place.exists():
            _start(module, users, place, log)
        return held, json.loads(place.read_text())


def _start(module: str, users: Path, place: Path, log: Path) -> None:
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", module, str(users), str(place)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl+C is for the tests; the keeper ends after them
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not place.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{module} did not come up:\n{log.read_text()[-5000:]}")
        time.sleep(0.02)
    keeper.returncode = 0  # it outlives this process: no warning of one that was not waited for


def keep(users: Path, place: Path, told: Mapping[str, object]) -> None:
    """In the keeper, whose server runs: tell the users of it, and return when there are none any more.

    Whoever comes afterwards starts a keeper of its own.
    """
    unfinished = place.with_suffix(".new")
    unfinished.write_text(json.dumps(told))
    unfinished.rename(place)
    try:
        held = locked(users, fcntl.LOCK_EX)
    finally:
        place.unlink()
    held.close()


def dies_with_its_parent() -> Callable[[], object] | None:
    """What `preexec_fn` of a server must do so that a SIGKILL of its starter takes it along; Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def locked(path: Path, how: int) -> TextIO:
    """The file, open, with that lock on it, which ends when it is closed."""
    file = path.open("a")
    fcntl.flock(file, how)
    return file
