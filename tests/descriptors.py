"""What a process holds open, as Linux tells it in /proc."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc, which this system lacks"
)


def open_descriptors(process: int | None = None) -> dict[int, str]:
    """What each open descriptor of the process leads to, or of this one: a path, `socket:[...]` or the like.

    Those that are closed meanwhile are left out, as is that of the listing itself.
    """
    found = {}
    for descriptor in Path(f"/proc/{process or 'self'}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(descriptor.name)] = str(descriptor.readlink())
    return found


def settled_sockets(process: int, ask: Callable[[], object]) -> int:
    """As `open_sockets`, when the server has noticed who is gone: it has once it has answered a few requests of `ask`."""
    for _ in range(3):
        ask()
    return open_sockets(process)


def open_sockets(process: int) -> int:
    """How many sockets the process has, to clients and to others."""
    return sum(leads_to.startswith("socket:") for leads_to in open_descriptors(process).values())
