r"""Faults at chosen system calls of a real process: an error, a stall, or SIGKILL right before the call.

    with kernel.at("fsync", r"\.partial$", errno.EIO) as hits:
        …                       # what the server does now fails there
    assert hits

Calls are chosen by their name and by the path of the file they are about, so that a test says "the sync of an upload's file"
and not "the seventh fsync of thread 4". Everything else goes on in the real kernel.
"""

import array
import contextlib
import fcntl
import os
import platform
import re
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

_LAUNCH: Final = Path(__file__).with_name("launch.py")
# The numbers of each call by architecture, and which of its arguments names the file: a descriptor, or where a path is.
_X86_64: Final = {
    "open": {257: ("path", 1)},
    "read": {17: ("fd", 0), 327: ("fd", 0)},
    "write": {1: ("fd", 0), 18: ("fd", 0), 20: ("fd", 0)},
    "fsync": {74: ("fd", 0), 75: ("fd", 0)},
    "close": {3: ("fd", 0)},
    "rename": {82: ("path", 0)},
    "mkdir": {83: ("path", 0)},
    "unlink": {87: ("path", 0)},
}
_AARCH64: Final = {
    "open": {56: ("path", 1)},
    "read": {67: ("fd", 0), 286: ("fd", 0)},
    "write": {64: ("fd", 0), 66: ("fd", 0), 68: ("fd", 0)},
    "fsync": {82: ("fd", 0), 83: ("fd", 0)},
    "close": {57: ("fd", 0)},
    "rename": {38: ("path", 1), 276: ("path", 1)},
    "mkdir": {34: ("path", 1)},
    "unlink": {35: ("path", 1)},
}
_CALLS: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}
Call = Literal["open", "read", "write", "fsync", "close", "rename", "mkdir", "unlink"]
Fault = int | Literal["kill", "stall"]  # an errno, or what is done

_NOTIFICATION: Final = struct.Struct("QIIiIQ6Q")  # struct seccomp_notif
_RESPONSE: Final = struct.Struct("QqiI")  # struct seccomp_notif_resp
_RECEIVE: Final = (3 << 30) | (_NOTIFICATION.size << 16) | (ord("!") << 8) | 0
_SEND: Final = (3 << 30) | (_RESPONSE.size << 16) | (ord("!") << 8) | 1
_CONTINUE: Final = 1
_LONGEST_PATH: Final = 4096


class _Rule:
    """A fault, where it is, and the paths at which it was met."""

    def __init__(self, call: Call, pattern: str, fault: Fault, after: int, times: int | None) -> None:
        self.call = call
        self.pattern = re.compile(pattern)
        self.fault = fault
        self.spared = after
        self.left = times
        self.hits: list[str] = []
        self.held: list[tuple[int, int]] = []  # listener and id of the calls that are stalled

    def matches(self, call: str, path: str) -> bool:
        if call != self.call or self.left == 0 or not self.pattern.search(path):
            return False
        if self.spared:
            self.spared -= 1
            return False
        self.left = None if self.left is None else self.left - 1
        self.hits.append(path)
        return True


class _Asked(NamedTuple):
    """A call that the kernel asks about."""

    id: int
    thread: int
    call: str
    path: str


class Kernel:
    """Stands between processes and the kernel; a context manager. `under` is what a command is to be started with."""

    def __init__(self) -> None:
        self._names = {
            number: (call, *what) for call, ways in _CALLS[platform.machine()].items() for number, what in ways.items()
        }
        self._folder = tempfile.TemporaryDirectory()
        path = f"{self._folder.name}/socket"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self.under = [sys.executable, str(_LAUNCH), path, ",".join(map(str, self._names))]
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._serve, name="kernel-faults")

    @contextlib.contextmanager
    def at(self, call: Call, pattern: str, fault: Fault, *, after: int = 0, times: int | None = None) -> Iterator[list[str]]:
        """Meanwhile the fault is met at every such call, or at `times` of them, on a path in which the pattern is found.

        The first `after` calls are spared. Gives the paths at which it was. Calls that stall go on at the end.
        """
        rule = _Rule(call, pattern, fault, after, times)
        with self._lock:
            self._rules.append(rule)
        try:
            yield rule.hits
        finally:
            with self._lock:
                self._rules.remove(rule)
                held, rule.held = rule.held, []
            for listener, id in held:
                _answer(listener, id, 0)

    def _serve(self) -> None:
        poll = select.poll()
        for descriptor in (self._stop, self._socket.fileno()):
            poll.register(descriptor, select.POLLIN)
        listeners: set[int] = set()
        while True:
            for descriptor, events in poll.poll():
                if descriptor == self._stop:
                    for listener in listeners:
                        os.close(listener)
                    return
                if descriptor == self._socket.fileno():
                    listeners.add(listener := self._accept())
                    poll.register(listener, select.POLLIN)
                elif events & select.POLLIN:
                    self._decide(descriptor)
                elif events & (select.POLLHUP | select.POLLERR):  # all processes of the filter have ended
                    poll.unregister(descriptor)
                    listeners.discard(descriptor)
                    os.close(descriptor)

    def _accept(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(struct.calcsize("i")))
            descriptors = array.array("i")
            descriptors.frombytes(ancillary[0][2])
            connection.send(b"l")
        return descriptors[0]

    def _decide(self, listener: int) -> None:
        asked = self._receive(listener)
        if asked is None:
            return
        with self._lock:
            rule = next((rule for rule in self._rules if rule.matches(asked.call, asked.path)), None)
            if rule is not None and rule.fault == "stall":
                rule.held.append((listener, asked.id))
                return
        if rule is None:
            _answer(listener, asked.id, 0)
        elif isinstance(rule.fault, int):
            _answer(listener, asked.id, rule.fault)
        else:
            os.kill(asked.thread, signal.SIGKILL)  # the call is never made

    def _receive(self, listener: int) -> _Asked | None:
        notification = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notification)
        except OSError:  # it was killed meanwhile
            return None
        id, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(notification)
        call, kind, place = self._names[number]
        path = _file(thread, arguments[place]) if kind == "fd" else _text(thread, arguments[place])
        return _Asked(id, thread, call, path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join(60)
        assert not self._thread.is_alive()
        os.close(self._stop)
        self._socket.close()
        self._folder.cleanup()


def _answer(listener: int, id: int, error: int) -> None:
    """Let a call fail with that error, or with 0 go on; whoever made it may have been killed meanwhile."""
    response = _RESPONSE.pack(id, 0, -error, 0 if error else _CONTINUE)
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _SEND, response)


def _file(thread: int, descriptor: int) -> str:
    """The path of an open file; empty if it is none, or gone."""
    try:
        return str(Path(f"/proc/{thread}/fd/{descriptor & 0xFFFFFFFF}").readlink())
    except OSError:
        return ""


def _text(thread: int, address: int) -> str:
    """The string at that address of a process."""
    try:
        with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return os.fsdecode(memory.read(_LONGEST_PATH).split(b"\0", 1)[0])
    except OSError:
        return ""
