"""`get`, `list` of 20 and a batch of 10 `get`: attachd, @trpc/server on Node and on Bun, and the limit, over one database."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from benchmarks import attachd, machine
from benchmarks.attachd import Attachd
from benchmarks.exchange import Answer, Client
from benchmarks.load import Plan, Result, Target, measure, write_paths
from benchmarks.payloads import pdf
from benchmarks.servers import Server, free_port, uvicorn

CASES = ("get", "list", "batch")
_CONVERSATIONS = 50
_ATTACHMENTS = 20  # in each conversation
_BATCH = 10
CONNECTIONS = 32
_CHECKED = 25  # paths of each case whose answers are compared
_OF_ONE_ANSWER = frozenset({"date", "server", "content-length", "connection", "keep-alive", "x-request-id"})


def measure_calls(cases: Sequence[str], scratch: Path, plan: Plan) -> Iterator[Result]:
    """The results of the chosen cases. Raises RuntimeError when a peer's answer is not attachd's."""
    with attachd.running(scratch / "calls") as ours, contextlib.ExitStack() as stack:
        paths = {case: of for case, of in fill(ours).paths.items() if case in cases}
        servers = {"attachd": ours.server} | _start_peers(ours, paths, stack, scratch)
        for case, of in paths.items():
            check(of, servers, ours)
            script = write_paths(scratch / f"{case}.paths", of)
            targets = [Target(name=name, server=server, script=script, cookie=ours.cookie) for name, server in servers.items()]
            yield from measure(case, targets, CONNECTIONS, plan)


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to ask for: the ids of the attachments, and the paths of every case."""

    ids: list[str]
    paths: dict[str, list[str]]


def fill(ours: Attachd) -> Filled:
    """Upload the rows through the real route; inputs in paths are wrapped as the stock clients send them."""
    conversations = [f"00000000-0000-4000-8000-{number:012x}" for number in range(_CONVERSATIONS)]
    small = pdf("screenshot.pdf", 1024)
    ids = [ours.upload(small, conversation) for conversation in conversations for _ in range(_ATTACHMENTS)]
    batches = [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
    paths = {
        "get": [f"/api/trpc/attachments.get?input={encode(wrap({'id': one}))}" for one in ids],
        "list": [f"/api/trpc/attachments.list?input={encode(wrap({'conversationId': one}))}" for one in conversations],
        "batch": [
            f"/api/trpc/{','.join(['attachments.get'] * _BATCH)}?batch=1&input="
            + encode({str(index): wrap({"id": one}) for index, one in enumerate(batch)})
            for batch in batches
        ],
    }
    return Filled(ids=ids, paths=paths)


def wrap(value: Mapping[str, Any]) -> dict[str, Any]:
    """An input as the stock clients send it, with superjson."""
    return {"json": value}


def encode(value: Mapping[str, Any]) -> str:
    """As encodeURIComponent(JSON.stringify(value))."""
    return quote(json.dumps(value, separators=(",", ":")), safe="!*'()~-_.")


def _start_peers(
    ours: Attachd, paths: Mapping[str, Sequence[str]], stack: contextlib.ExitStack, scratch: Path
) -> dict[str, Server]:
    bun_port = free_port()
    bun = [machine.bun(), str(machine.PEERS / "trpc_bun.mjs"), str(bun_port), str(ours.database)]
    servers = {
        "Node": start_node(ours, stack, scratch / "Node.log"),
        "Bun": stack.enter_context(Server(bun, port=bun_port, log=scratch / "Bun.log")),
    }
    answers = {path.partition("?")[0]: ours.client.get(path) for of in paths.values() for path in of[:1]}
    file = scratch / "answers.json"
    file.write_bytes(
        msgspec.json.encode({path: (_own_headers(answer), answer.body.decode()) for path, answer in answers.items()})
    )
    names = {name.lower() for answer in answers.values() for name, _ in answer.headers}
    flags = [flag for name, flag in (("server", "--no-server-header"), ("date", "--no-date-header")) if name not in names]
    limit = uvicorn(
        "benchmarks.peers.limit:app", log=scratch / "limit.log", environment={"LIMIT_ANSWERS": str(file)}, flags=flags
    )
    servers["limit"] = stack.enter_context(limit)
    return servers


def start_node(ours: Attachd, stack: contextlib.ExitStack, log: Path) -> Server:
    """@trpc/server on Node, on attachd's database; the stack stops it."""
    port = free_port()
    command = [machine.node(), str(machine.PEERS / "trpc_node.mjs"), str(port), str(ours.database)]
    return stack.enter_context(Server(command, port=port, log=log))


def _own_headers(answer: Answer) -> list[tuple[str, str]]:
    """The headers that the application sent: all but those that uvicorn adds by itself."""
    return [(name, value) for name, value in answer.headers if name.lower() not in {"date", "server"}]


def check(paths: Sequence[str], servers: Mapping[str, Server], ours: Attachd) -> None:
    """Every peer gives attachd's JSON for the same path; the limit gives the very bytes and headers of its one answer."""
    for name, server in servers.items():
        client = Client(server.port, {"Cookie": ours.cookie})
        for path in paths[:1] if name == "limit" else paths[:: max(1, len(paths) // _CHECKED)]:
            expected, answer = ours.client.get(path), client.get(path)
            if answer.json() != expected.json():
                raise RuntimeError(
                    f"{name} answers {path[:80]} with {answer.body[:200]!r}, attachd with {expected.body[:200]!r}"
                )
            if name == "limit" and (answer.body, _comparable(answer)) != (expected.body, _comparable(expected)):
                raise RuntimeError(f"the limit's answer differs: {answer.headers} {expected.headers}")
        client.close()


def _comparable(answer: Answer) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in answer.headers if name.lower() not in _OF_ONE_ANSWER)
