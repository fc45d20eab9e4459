"""From settings to a serving process: schema, a check that everything can be opened, the socket, uvicorn.

All that can fail because of the machine or the settings fails here, before uvicorn starts, as StartError with one line.
"""

import asyncio
import functools
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Never

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from server.app import App, create_app
from server.body_socket import BodyProtocol
from server.descriptors import raise_limit
from server.log import log_event
from server.log_lines import log_config
from server.mail import check_mail
from server.metrics import shared_folder
from server.migration import StartError
from server.plugins import load_routers
from server.settings import Settings, SettingsError, with_port
from server.stores import check_store

# Longer than the 60 s for which nginx keeps an idle connection to its upstream: the proxy closes first, and no request
# meets a connection that is being closed.
KEEP_ALIVE_S = 75
# A worker that does not answer its supervisor for so long is replaced. It answers first when it has imported the program, which
# on a busy machine, and with boto3 and asyncpg, takes longer than uvicorn's 5 s: then none would ever come up.
WORKER_ANSWERS_S = 30
BACKLOG = 2048
_M_ARENA_MAX = -8  # malloc.h of glibc
_KEPT_BYTES = 4 * 1024 * 1024  # freed memory that stays with the process
GC_THRESHOLD = 20_000  # container objects more made than freed, after which the collector looks at the new ones


def listen(settings: Settings) -> tuple[Settings, socket.socket]:
    """The listening socket, and the settings with its port. Raises StartError."""
    host, port = settings.server.host, settings.server.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        # A name that cannot be looked up has a number that only its own text explains; socket's other texts are padded.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise StartError(f"cannot listen on {host} port {port}: {reason}; choose another --host or --port") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have it from the socket that they come by
        # What was given to the kernel is the kernel's to drop: a client that never takes it would keep its connection for ever.
        timeout_ms = int(settings.upload.idle_timeout_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    return with_port(settings, listening.getsockname()[1]), listening


def run(settings: Settings, listening: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight; the exit code of the process."""
    # uvicorn raises the signal again once it has shut down; a stop that was asked for is a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    raise_limit()
    log_event("serving", url=settings.server.base_url, workers=settings.server.workers)
    with listening:
        if settings.server.workers == 1:
            uvicorn.Server(uvicorn_config(settings, functools.partial(_create_app, settings))).run(sockets=[listening])
            return 0
        with shared_folder() as folder:
            config = uvicorn_config(settings, functools.partial(_create_app, settings, folder))
            supervisor = _Supervisor(config, sockets=[listening])
            supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


class _Supervisor(Multiprocess):
    """uvicorn's, which sees at once when a worker dies that owes it an answer."""

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that died or do not answer."""
        # While this process has their end of the pipe, too, it does not end with them: all of WORKER_ANSWERS_S is waited for an
        # answer, and no other worker looked after.
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def serve(settings: Settings) -> int:
    """Check plugins, certificates and store, listen, run. Raises SettingsError for the first two, StartError."""
    _share_freed_memory(settings)
    load_routers(settings.server.plugins)
    check_mail(settings)
    asyncio.run(check_store(settings))
    settings, listening = listen(settings)
    return run(settings, listening)


def uvicorn_config(settings: Settings, create: Callable[[], App]) -> uvicorn.Config:
    """How uvicorn serves the application that `create` makes in each worker process."""
    workers = settings.server.workers
    return uvicorn.Config(
        app=create,
        factory=True,
        interface="asgi3",
        lifespan="on",
        loop="uvloop",
        http=BodyProtocol,
        ws="none",
        workers=workers,
        log_config=log_config(settings.log.level, settings.log.format),
        # Of one worker our own line says all there is to say; a supervisor also tells which worker died.
        log_level="info" if workers > 1 else "warning",
        access_log=False,
        # Links are built from base_url, and the log holds no addresses: nothing needs what a proxy forwards.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.server.shutdown_grace_seconds,
        timeout_worker_healthcheck=WORKER_ANSWERS_S,
        backlog=BACKLOG,
    )


def _create_app(settings: Settings, shared: Path | None = None) -> App:
    """The application of one process.

    A worker stops when its supervisor was killed: nobody else would stop it, and it would keep the port for ever.
    """
    _share_freed_memory(settings)
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_stop_after, args=[supervisor], name="attachd-supervisor", daemon=True).start()
    try:
        app = create_app(settings, load_routers(settings.server.plugins), shared)
    except SettingsError:  # a plugin that was changed since `serve` tried it: trying again would not help
        logging.getLogger("attachd").exception("cannot load the plugins")
        sys.exit(STARTUP_FAILURE)
    # What is there now stays: the collector need not look at it again. And it need not look every 700 objects, which a few
    # requests make and free by themselves.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    # glibc learns from a large block that is freed to keep that much instead of giving it back and asking again: without
    # it every upload of 64 KiB meets 8 page faults, with it none (mallopt(3), M_MMAP_THRESHOLD).
    block = bytearray(_KEPT_BYTES)
    del block
    return app


def _share_freed_memory(settings: Settings) -> None:
    """Have glibc give all threads memory out of one arena when there are many of them; to be called before there are any.

    With one for each thread that speaks to S3, the pieces of files that each freed stayed with it: 50 downloads of 25 MiB at
    once took 133 MiB, and take 26 (2026-11). The interpreter's lock lets one thread at a time ask for memory anyway.
    """
    if settings.upload.backend != "s3":
        return
    import ctypes  # noqa: PLC0415 (needed here only)

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _stop_after(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(_number: int, _frame: FrameType | None) -> Never:
    sys.exit(0)
