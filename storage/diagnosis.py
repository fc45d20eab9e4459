"""What `attachd doctor` finds out about one thing that a setting names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Health: TypeAlias = Literal["ok", "warn", "fail"]

MAX_SKEW_S = 5.0  # between clocks; links and leases allow for a minute, S3 for 15
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "9p", "afs", "fuse.sshfs", "fuse.s3fs"}
)
_UNESCAPED = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}  # proc(5)


class Diagnosis(NamedTuple):
    """How it is with what the setting `check` names, and what to do about it. Nothing in it is secret."""

    check: str
    health: Health
    text: str
    mend: str = ""


def clock(check: str, skew_s: float, whose: str) -> Diagnosis:
    """How far this machine's clock is ahead of another."""
    text = f"the clock of this machine and {whose} differ by {abs(skew_s):.1f} s"
    if abs(skew_s) <= MAX_SKEW_S:
        return Diagnosis(check, "ok", text)
    return Diagnosis(check, "warn" if abs(skew_s) < 60 else "fail", text, "set both by NTP")


def space(check: str, free: float, total: float, what: str, least: float) -> Diagnosis:
    """How much is left of something: below a hundredth or `least` the end is near."""
    text = f"{_amount(free, what)} of {_amount(total, what)} free"
    if not total or (free >= total / 20 and free >= least):
        return Diagnosis(check, "ok", text)
    bad = free < total / 100 or free < least / 10
    return Diagnosis(check, "fail" if bad else "warn", text, "make room, or move it to a larger file system")


def _amount(number: float, what: str) -> str:
    return f"{number / 2**30:.1f} GiB" if what == "bytes" else f"{int(number)} {what}"


def file_system(path: Path) -> str:
    """What kind of file system the path is on, such as `ext4`; "" where that cannot be known. Blocks."""
    mounts = Path("/proc/self/mounts")  # Linux
    if not mounts.exists():
        return ""
    target = path.resolve()
    found = [(len(point.parts), kind) for point, kind in _mounts(mounts.read_text()) if target.is_relative_to(point)]
    return max(found, key=lambda mount: mount[0])[1] if found else ""


def _mounts(text: str) -> Iterator[tuple[Path, str]]:
    for line in text.splitlines():
        _, point, kind, *_ = line.split(" ")
        for escaped, character in _UNESCAPED.items():
            point = point.replace(escaped, character)
        yield Path(point), kind


def is_remote(kind: str) -> bool:
    """Whether such a file system is on another machine."""
    return kind in _REMOTE
