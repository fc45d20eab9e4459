"""Uploads with SHA-256 on both sides: attachd, Fastify with @fastify/multipart, Starlette's `request.form()` and a copy.

Peers parse, hash and write a file; attachd also looks the session up, sniffs the content, commits a row and an event, and
makes both durable before it answers. On a memory file system that is a comparison of processor cost; there Fastify is measured
a second time with a row in better-sqlite3. On a disk the fsyncs decide, so there the peers are measured a second time with
an fsync of the file.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import attachd, machine
from benchmarks.attachd import Attachd
from benchmarks.exchange import Client
from benchmarks.load import Plan, Result, Target, measure
from benchmarks.payloads import CONNECTIONS, SIZES, Payload, pdf
from benchmarks.servers import Server, free_port, uvicorn

_TOUCHED_MIB = 4096  # what the fastest server writes in 6 s of warming up


def measure_uploads(case: str, scratch: Path, plan: Plan, *, fsync: bool) -> Iterator[Result]:
    """The results of both sizes, files under `scratch`; with `fsync` also those of peers that make files durable."""
    folders = {name: scratch / case / name for name in _names(fsync=fsync)}
    for folder in folders.values():
        folder.mkdir(parents=True)
    if not fsync:
        _touch_memory(scratch / case)
    with attachd.running(scratch / case / "attachd") as ours, contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(_start(name, folder)) for name, folder in folders.items()}
        servers = {"attachd": ours.server} | peers
        after = {"attachd": ours.discard_blobs} | {name: _emptying(folder) for name, folder in folders.items()}
        for size, size_bytes in SIZES.items():
            payload = pdf("file.pdf", size_bytes)
            _check(payload, ours, peers, folders)
            script = payload.write_form(scratch / case / "form")
            targets = [
                Target(name=name, server=of, path="/api/upload", script=script, cookie=ours.cookie, after_run=after[name])
                for name, of in servers.items()
            ]
            yield from measure(f"{case} {size}", targets, CONNECTIONS[size], plan)


def _touch_memory(folder: Path) -> None:
    """Have the machine give the memory that files in memory will take: a virtual one does so at the first touch, which is slow
    and would be put down to the server that comes first.
    """
    file = folder / "touched"
    with file.open("wb") as writer:
        for _ in range(_TOUCHED_MIB):
            writer.write(bytes(1 << 20))
    file.unlink()


def _names(*, fsync: bool) -> list[str]:
    return ["Fastify", "Starlette", *(("Fastify + fsync", "Starlette + fsync") if fsync else ("Fastify + row",))]


def _start(name: str, folder: Path) -> Server:
    kind, _, extra = name.partition(" + ")
    log = folder.with_suffix(".log")
    if kind == "Fastify":
        port = free_port()
        command = [machine.node(), str(machine.PEERS / "fastify_files.mjs"), str(port), str(folder), str(folder), extra]
        return Server(command, port=port, log=log)
    # Starlette spools the parts above 1 MiB to a temporary file: on the same file system, for the same cost.
    environment = {"UPLOADS": str(folder), "DOWNLOADS": str(folder), "FSYNC": extra, "TMPDIR": str(folder)}
    return uvicorn("benchmarks.peers.starlette_files:app", log=log, environment=environment)


def _emptying(folder: Path) -> Callable[[], None]:
    def empty() -> None:
        for file in folder.iterdir():
            file.unlink(missing_ok=True)

    return empty


def _check(payload: Payload, ours: Attachd, peers: Mapping[str, Server], folders: Mapping[str, Path]) -> None:
    """An upload to each is answered with its size and kept byte for byte."""
    kept = ours.client.get(f"/api/attachments/{ours.upload(payload)}/download").body
    _expect("attachd", [hashlib.sha256(kept).hexdigest(), str(len(kept))], payload)
    for name, server in peers.items():
        _emptying(folders[name])()  # of what was under way when the load before ended
        client = Client(server.port, {"Content-Type": payload.content_type})
        answer = client.request("POST", "/api/upload", body=payload.form())
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"{name} answered the upload with {answer.status}: {answer.body[:200]!r}")
        (file,) = folders[name].iterdir()
        _expect(name, [hashlib.sha256(file.read_bytes()).hexdigest(), str(answer.json()["size"])], payload)
        _expect(name, [answer.json()["sha256"], str(file.stat().st_size)], payload)
        file.unlink()


def _expect(name: str, found: Sequence[str], payload: Payload) -> None:
    if list(found) != [payload.sha256, str(len(payload.data))]:
        raise RuntimeError(f"{name} kept something else than {payload.name}: {found}")
