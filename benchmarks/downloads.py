"""Downloads: attachd, Starlette's `FileResponse`, @fastify/static and nginx with sendfile, from a disk in a warm page cache.

The peers serve a file by its name to anyone; attachd looks up the session and the row and sends its safety headers.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import attachd, machine
from benchmarks.attachd import Attachd
from benchmarks.exchange import Client
from benchmarks.load import Plan, Result, Target, measure, write_paths
from benchmarks.payloads import CONNECTIONS, SIZES, Payload, pdf
from benchmarks.servers import Server, free_port, uvicorn


def measure_downloads(scratch: Path, plan: Plan) -> Iterator[Result]:
    """The results of both sizes, files under `scratch`."""
    files = scratch / "download" / "files"
    files.mkdir(parents=True)
    with attachd.running(scratch / "download" / "attachd") as ours, contextlib.ExitStack() as stack:
        peers = {name: stack.enter_context(server) for name, server in _start_peers(scratch / "download", files).items()}
        for size, size_bytes in SIZES.items():
            payload = pdf(f"{size_bytes}.pdf", size_bytes)
            (files / payload.name).write_bytes(payload.data)
            paths = {"attachd": f"/api/attachments/{ours.upload(payload)}/download"}
            paths |= dict.fromkeys(peers, f"/files/{payload.name}")
            servers = {"attachd": ours.server} | peers
            _check(payload, paths, servers, ours)
            targets = [
                Target(
                    name=name,
                    server=server,
                    script=write_paths(scratch / "download" / f"{server.port}.paths", [paths[name]]),
                    cookie=ours.cookie,
                )
                for name, server in servers.items()
            ]
            yield from measure(f"download {size}", targets, CONNECTIONS[size], plan)


def _start_peers(folder: Path, files: Path) -> dict[str, Server]:
    port = free_port()
    environment = {"UPLOADS": str(files), "DOWNLOADS": str(files)}
    fastify = [machine.node(), str(machine.PEERS / "fastify_files.mjs"), str(port), str(files), str(files)]
    servers = {
        "FileResponse": uvicorn("benchmarks.peers.starlette_files:app", log=folder / "starlette.log", environment=environment),
        "@fastify/static": Server(fastify, port=port, log=folder / "fastify.log"),
    }
    if binary := machine.nginx():
        servers["nginx"] = _nginx(binary, folder, files)
    else:
        print("download: nginx is missing, so its share is not measured (Debian: `apt-get install nginx-light`)", flush=True)
    return servers


def _nginx(binary: str, folder: Path, files: Path) -> Server:
    port = free_port()
    template = (machine.PEERS / "nginx.conf").read_text()
    config = folder / "nginx.conf"
    config.write_text(template.replace("@PORT@", str(port)).replace("@DOWNLOADS@", str(files)))
    return Server([binary, "-p", str(folder), "-c", str(config), "-e", "stderr"], port=port, log=folder / "nginx.log")


def _check(payload: Payload, paths: Mapping[str, str], servers: Mapping[str, Server], ours: Attachd) -> None:
    for name, server in servers.items():
        client = Client(server.port, {"Cookie": ours.cookie})
        if client.get(paths[name]).body != payload.data:
            raise RuntimeError(f"{name} sends something else than {payload.name}")
        client.close()
