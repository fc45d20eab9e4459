"""PostgreSQL and an S3-compatible store, both on the load generator's core: calls beside Node with pg, files beside boto3.

boto3 alone is a process on the servers' core that moves files between its memory and the store: no client, no row, no form.
What passes through attachd goes over two sockets instead of one, and is hashed and sniffed on its way in.
"""

import contextlib
import functools
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks import attachd, machine
from benchmarks.attachd import Attachd, Setting
from benchmarks.calls import CASES, CONNECTIONS, check, fill
from benchmarks.engines import ObjectStore, object_store, postgresql
from benchmarks.exchange import Client
from benchmarks.load import Plan, Result, Sample, Target, measure, write_paths
from benchmarks.memory import Memory, measure_memory
from benchmarks.payloads import CONNECTIONS as FILES_AT_ONCE
from benchmarks.payloads import SIZES, pdf
from benchmarks.repeating import repeat
from benchmarks.servers import Server, free_port

CALLS, FILES = "PostgreSQL", "S3"  # how the names of the cases begin
_SIZE = "25 MiB"
_UPLOADS = ("put_object", "upload_fileobj", "put_object+sha256")
_DOWNLOADS = ("get_object", "download_fileobj")  # attachd hashes nothing on its way out
SECONDS = 6  # of a round: SeaweedFS takes 0.2 s of its core for an upload of 25 MiB
_TIMEOUT_S = 120.0


def measure_cluster_calls(scratch: Path, plan: Plan) -> Iterator[Result]:
    """The results of `get`, `list` and a batch. Raises RuntimeError when Node's answer is not attachd's."""
    with _running(scratch / "cluster-calls") as (ours, _, url):
        filled, port = fill(ours), free_port()
        command = [machine.node(), str(machine.PEERS / "trpc_pg.mjs"), str(port), url]
        with Server(command, port=port, log=scratch / "trpc_pg.log") as node:
            servers = {"attachd": ours.server, "Node + pg": node}
            for case in CASES:
                check(filled.paths[case], servers, ours)
                script = write_paths(scratch / f"cluster-{case}.paths", filled.paths[case])
                targets = [
                    Target(name=name, server=server, script=script, cookie=ours.cookie) for name, server in servers.items()
                ]
                yield from measure(f"{CALLS} {case}", targets, CONNECTIONS, plan)


def measure_cluster_files(scratch: Path, plan: Plan) -> Iterator[Result]:
    """The results of downloads and uploads."""
    with _running(scratch / "cluster-files") as (ours, store, _):
        yield from _files(ours, store, scratch, msgspec.structs.replace(plan, seconds=SECONDS, warm_up_seconds=2))


def measure_cluster_memory(scratch: Path) -> Memory | None:
    """Memory of the server when all bytes pass through it to and from the store."""
    folder = scratch / "cluster-memory"
    with postgresql() as database, object_store(folder / "store") as store:
        return measure_memory(folder, Setting(database_url=database.create_database("bench"), upload=store.settings))


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[tuple[Attachd, ObjectStore, str]]:
    with postgresql() as database, object_store(folder / "store") as store:
        url = database.create_database("bench")
        with attachd.running(folder, Setting(database_url=url, upload=store.settings)) as ours:
            yield ours, store, url


def _files(ours: Attachd, store: ObjectStore, scratch: Path, plan: Plan) -> Iterator[Result]:
    payload = pdf("file.pdf", SIZES[_SIZE])
    file = scratch / payload.name
    file.write_bytes(payload.data)
    store.discard()
    path = f"/api/attachments/{ours.upload(payload)}/download"
    kept = ours.client.get(path).body
    if hashlib.sha256(kept).hexdigest() != payload.sha256:
        raise RuntimeError("what comes back from the store is not what was uploaded")
    (key,) = store.keys()
    form = payload.form()

    def download(client: Client) -> None:
        if (size := client.count(path)) != len(kept):
            raise RuntimeError(f"attachd sent {size} bytes\n{ours.server.state()}")

    def upload(client: Client) -> None:
        answer = client.request("POST", "/api/upload", body=form, headers={"Content-Type": payload.content_type})
        if answer.status != 200:
            raise RuntimeError(f"attachd answered {answer.status}: {answer.body[:300]!r}\n{ours.server.state()}")

    for act, calls in ((download, _DOWNLOADS), (upload, _UPLOADS)):
        name = act.__name__
        discard = store.discard if name == "upload" else None
        targets = [
            Target(name=who, server=ours.server, script=(store.url, str(file), key), cookie=ours.cookie, after_run=discard)
            for who in ("attachd", *calls)
        ]
        load = functools.partial(_load, act)
        yield from measure(f"{FILES} {name} {_SIZE}", targets, FILES_AT_ONCE[_SIZE], plan, load)


def _load(act: Callable[[Client], None], target: Target, connections: int, seconds: int) -> Sample:
    """What clients do with attachd; boto3 alone is its own load, on the servers' core."""
    if target.name != "attachd":
        pair = machine.cores()
        url, file, key = target.script
        numbers = (str(number) for number in (connections, seconds))
        command = [sys.executable, "-m", "benchmarks.peers.boto3_alone", url, target.name, *numbers, file, key]
        with machine.on_core(pair[0] if pair else None):
            done = subprocess.run(command, cwd=machine.ROOT, stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT_S)
        return msgspec.json.decode(done.stdout, type=Sample)

    def work(client: Client, _number: int) -> None:
        act(client)

    clients = [Client(target.server.port, {"Cookie": target.cookie}) for _ in range(connections)]
    used = target.server.processor_seconds()
    found = repeat([functools.partial(work, client) for client in clients], seconds)
    busy = (target.server.processor_seconds() - used) / found.elapsed_s
    for client in clients:
        client.close()
    return Sample(requests_per_s=found.requests_per_s, p99_ms=found.p99_ms, busy=busy)
