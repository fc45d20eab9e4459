"""How many files and sockets the process may have open, and what is done when they run short.

A connection that the kernel cannot give a descriptor to is one that nobody can answer: it is dropped, or waits. So before it
comes to that, new connections are answered 503 and closed, and what is left serves the requests of those that are open.
"""

import contextlib
import resource
from typing import Final

# Descriptors that are kept for files, and for the connections of the server itself. Of a low limit a quarter.
KEPT: Final = 256


def raise_limit() -> None:
    """Take as many as the process may: the lower limit is there for programs that use select(2), and this one does not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # systems whose highest value is none that may be set
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_short(descriptor: int) -> bool:
    """Whether the process runs out of descriptors, by a new one: the kernel gives the lowest number that is free."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit != resource.RLIM_INFINITY and descriptor >= limit - min(KEPT, limit // 4)
