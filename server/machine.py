"""How it is with this machine: descriptors, memory and processors against what the settings allow."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from server.settings import Settings
from storage import Diagnosis

_WORKER_BYTES = 150 * 2**20  # 60 MB idle, and what uploads and subscriptions take
_OWN_DESCRIPTORS = 100  # libraries, the database, logs
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def examine_machine(settings: Settings) -> Iterator[Diagnosis]:
    """What is found out by asking the system."""
    yield _descriptors(settings)
    yield from _memory(settings.server.workers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"{settings.server.workers} on {cores} processors"
    if settings.server.workers > 2 * cores:
        yield Diagnosis("server.workers", "warn", text, "take one for each processor that is to serve")
    else:
        yield Diagnosis("server.workers", "ok", text)


def _descriptors(settings: Settings) -> Diagnosis:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # `serve` raises the soft limit to it
    s3 = settings.upload.s3_connections if settings.upload.backend == "s3" else 0
    wanted = (
        _OWN_DESCRIPTORS
        + settings.websocket.max_connections
        + settings.stream.max_subscriptions
        + settings.database.connections
        + s3
    )
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        limit = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
        return Diagnosis("open files", "ok", f"{limit}, for up to {wanted} in a worker")
    text = f"a process may open {hard}, and the settings allow {wanted} connections and files"
    mend = f"LimitNOFILE={wanted} in the service, or lower websocket.max_connections and stream.max_subscriptions"
    return Diagnosis("open files", "fail" if hard < 256 else "warn", text, mend)


def _memory(workers: int) -> Iterator[Diagnosis]:
    meminfo = Path("/proc/meminfo")  # Linux
    if not meminfo.exists():
        return
    lines = (line.split(":") for line in meminfo.read_text().splitlines())
    available = next(int(value.split()[0]) * 1024 for name, value in lines if name == "MemAvailable")
    limits = [int(path.read_text()) for path in _CGROUP_LIMITS if path.exists() and path.read_text().strip().isdigit()]
    usable = min([available, *limits])
    wanted = workers * _WORKER_BYTES
    text = f"{usable / 2**20:.0f} MiB for {workers} worker{'' if workers == 1 else 's'}"
    if usable < wanted:
        yield Diagnosis("memory", "warn", text, f"reckon with {_WORKER_BYTES >> 20} MiB for each, or take fewer workers")
    else:
        yield Diagnosis("memory", "ok", text)
