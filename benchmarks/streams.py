"""A batch over JSON lines, events to subscribers, queries over WebSocket: attachd and @trpc/server on Node."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import attachd
from benchmarks.attachd import Attachd, Setting
from benchmarks.calls import CONNECTIONS, fill, start_node
from benchmarks.exchange import Client
from benchmarks.load import Plan, Result, Target, measure, write_paths
from benchmarks.servers import Server
from benchmarks.sockets import messages_of, query, subscribe

STREAMS = ("jsonl", "events", "websocket")
SUBSCRIBERS = 100
_SOCKETS = 64  # so that none of them reaches websocket.max_messages_per_second


def measure_streams(cases: Sequence[str], scratch: Path, plan: Plan) -> Iterator[Result]:
    """The results of the chosen cases. Raises RuntimeError when Node's answer is not attachd's."""
    setting = Setting(server='plugins = ["benchmarks.peers.ticks:router"]\n')
    with attachd.running(scratch / "streams", setting) as ours, contextlib.ExitStack() as stack:
        filled = fill(ours)
        servers = {"attachd": ours.server, "Node": start_node(ours, stack, scratch / "streams-node.log")}
        if "jsonl" in cases:
            _check_lines(filled.paths["batch"][0], servers, ours)
            paths = write_paths(scratch / "jsonl.paths", filled.paths["batch"])
            targets = _targets(servers, ours, script=("jsonl", *paths[1:]))
            yield from measure("jsonl", targets, CONNECTIONS, plan)
        if "events" in cases:
            yield from measure("events", _targets(servers, ours, path="/api/trpc/ticks"), SUBSCRIBERS, plan, subscribe)
        if "websocket" in cases:
            messages = scratch / "messages"
            messages.write_bytes(messages_of("attachments.get", [{"id": id} for id in filled.ids]))
            targets = _targets(servers, ours, path="/api/trpc", script=("messages", str(messages)))
            yield from measure("websocket", targets, _SOCKETS, plan, query)


def _targets(servers: Mapping[str, Server], ours: Attachd, *, path: str = "/", script: tuple[str, ...] = ()) -> list[Target]:
    return [Target(name=name, server=server, path=path, script=script, cookie=ours.cookie) for name, server in servers.items()]


def _check_lines(path: str, servers: Mapping[str, Server], ours: Attachd) -> None:
    """Each server answers the batch in the same JSON lines, whatever their order."""
    found = {}
    for name, server in servers.items():
        client = Client(server.port, {"Cookie": ours.cookie, "trpc-accept": "application/jsonl"})
        found[name] = sorted(client.get(path).body.splitlines())
        client.close()
    if len(found["attachd"]) < 10 or found["Node"] != found["attachd"]:
        raise RuntimeError(f"the answers in JSON lines differ: {found}")
