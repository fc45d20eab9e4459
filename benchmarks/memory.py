"""Resident memory of attachd: idle, and its peak over 50 uploads of 25 MiB at once and 50 downloads at once.

Linux only: the kernel keeps the peak (VmHWM) and starts it anew on request (clear_refs).
"""

import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks import attachd, machine
from benchmarks.attachd import Attachd, Setting
from benchmarks.flood import UPLOADS
from benchmarks.payloads import SIZES, pdf

_SIZE = "25 MiB"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory of the server process in MiB."""

    idle: float
    upload_peak: float
    download_peak: float


def measure_memory(folder: Path, setting: Setting) -> Memory | None:
    """The figures of one run, files in `folder`; None, said in a sentence, where the system does not keep them."""
    if sys.platform != "linux":
        print("memory: measured on Linux only, which keeps the peak of a process in /proc", flush=True)
        return None
    with attachd.running(folder, setting) as ours:
        ours.client.get("/readyz")
        idle = _status(ours, "VmRSS")
        payload = pdf("file.pdf", SIZES[_SIZE])
        form = folder / "form"
        form.write_bytes(payload.form())
        print(f"memory: idle {idle:.1f} MiB; {UPLOADS} uploads of {_SIZE} at once", flush=True)
        _forget_peak(ours)
        ids = _flood(ours, "upload", str(form)).split()
        upload_peak = _status(ours, "VmHWM")
        print(f"memory: peak {upload_peak:.1f} MiB; {len(ids)} downloads at once", flush=True)
        _forget_peak(ours)
        _flood(ours, "download", payload.sha256, *ids)
        return Memory(idle=idle, upload_peak=upload_peak, download_peak=_status(ours, "VmHWM"))


def _flood(ours: Attachd, *arguments: str) -> str:
    pair = machine.cores()
    command = [sys.executable, "-m", "benchmarks.flood", str(ours.port), ours.cookie, *arguments]
    with machine.on_core(pair[1] if pair else None):
        return subprocess.run(command, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def _status(ours: Attachd, field: str) -> float:
    for line in Path(f"/proc/{ours.server.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"the kernel does not say {field}")


def _forget_peak(ours: Attachd) -> None:
    Path(f"/proc/{ours.server.pid}/clear_refs").write_text("5")
