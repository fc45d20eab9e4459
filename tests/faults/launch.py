"""Runs a command whose chosen system calls are asked about: `launch.py SOCKET NUMBERS COMMAND…`.

A seccomp filter makes the kernel stop at each of these calls and ask whoever has the filter's listener (seccomp_unotify(2),
from Linux 5.5). The listener goes through the socket; then the command takes the place of this process. Nothing of the program
under test knows of it, and it needs no privilege.
"""

import array
import ctypes
import os
import platform
import socket
import struct
import sys

# linux/audit.h, and the number of seccomp(2) there.
ARCHITECTURES = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _FLAG_NEW_LISTENER = 1, 8
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4


def _program(architecture: int, numbers: list[int]) -> list[bytes]:
    """The filter, in BPF: code, jump if true, jump if false, constant."""

    def instruction(code: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, constant)

    return [
        instruction(_LOAD, _ARCHITECTURE_OFFSET),
        instruction(_JUMP_EQUAL, architecture, if_true=1),
        instruction(_RETURN, _ALLOW),
        instruction(_LOAD, _NUMBER_OFFSET),
        *(instruction(_JUMP_EQUAL, number, if_true=len(numbers) - place) for place, number in enumerate(numbers)),
        instruction(_RETURN, _ALLOW),
        instruction(_RETURN, _ASK),
    ]


def listen(numbers: list[int]) -> int:
    """The listener of a filter for this process and all that it becomes or starts. Raises OSError."""
    architecture, seccomp = ARCHITECTURES[platform.machine()]
    program = _program(architecture, numbers)
    code = ctypes.create_string_buffer(b"".join(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener: int = libc.syscall(seccomp, _SET_MODE_FILTER, _FLAG_NEW_LISTENER, described)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener


def main() -> None:
    """Hand the listener over and run the command."""
    _, path, numbers, *command = sys.argv
    listener = listen([int(number) for number in numbers.split(",")])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        connection.recv(1)  # somebody listens
    os.close(listener)
    os.execv(command[0], command)  # noqa: S606 (a fixed command of the tests)


if __name__ == "__main__":
    main()
