"""The machine: which cores the two sides run on, which tools are there, and what to say of it beside the numbers."""

import contextlib
import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
_INSTALL_WRK = "wrk is missing; install it with `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk` (macOS)"


class MissingToolError(Exception):
    """A tool that a suite cannot do without is not on this machine; the message says how to install it."""


@functools.cache
def cores() -> tuple[int, int] | None:
    """The core of the servers and the core of the load generator; None where processes cannot be pinned."""
    if sys.platform != "linux":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes started inside run on that core only; this process returns to its own cores afterwards."""
    if sys.platform != "linux" or core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wrk() -> str:
    """The path of wrk. Raises MissingToolError."""
    if found := shutil.which("wrk"):
        return found
    raise MissingToolError(_INSTALL_WRK)


def nginx() -> str | None:
    """The path of nginx, which Debian keeps out of the path of ordinary users; None without it."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def node() -> str:
    """The path of Node. Raises MissingToolError."""
    if found := shutil.which("node"):
        return found
    raise MissingToolError("node is missing; install Node 20 (Debian: `apt-get install nodejs npm`) for the peers")


def bun() -> str:
    """The path of Bun, from the npm package that `install_peers` installed."""
    return str(PEERS / "node_modules" / ".bin" / "bun")


def install_peers() -> None:
    """`npm ci` in benchmarks/peers unless the packages are those of the lock. Raises MissingToolError."""
    node()
    stamp, lock = PEERS / "node_modules" / ".installed-lock.json", PEERS / "package-lock.json"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise MissingToolError("npm is missing; install it beside Node (Debian: `apt-get install npm`)")
    print("installing the peers: npm ci in benchmarks/peers", flush=True)
    subprocess.run([npm, "ci", "--loglevel=error"], cwd=PEERS, check=True)
    shutil.copyfile(lock, stamp)


def memory_file_system() -> Path | None:
    """A folder whose files are in memory; None where the system has none."""
    shm = Path("/dev/shm")  # noqa: S108 - scratch folders inside it get random names
    return shm if sys.platform == "linux" and os.access(shm, os.W_OK) else None


def describe() -> dict[str, str]:
    """Processor, memory, system and versions, for the head of a report."""
    versions = {"Python": platform.python_version(), "Node": _version([node(), "--version"])}
    if Path(bun()).exists():
        versions["Bun"] = _version([bun(), "--version"])
    if found := nginx():
        versions["nginx"] = _version([found, "-v"])
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip().removeprefix("nginx version: nginx/").removeprefix("v")


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
