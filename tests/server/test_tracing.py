"""Traces of a running server, as a collector reads them."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.engines.backing import DATABASE, STORAGE
from tests.rest.live import eventually
from tests.running import ROOT, Attachd, run_attachd
from tests.server.collector import Collector, Span

SERVER, CLIENT, INTERNAL = 2, 3, 1
TRPC = "/api/trpc/{procedure}"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Attachd]:
    """A server whose requests are all traced."""
    with Attachd(
        tmp_path_factory.mktemp("traced"),
        ATTACHD_TRACING_ENDPOINT=collector.url,
        ATTACHD_TRACING_HEADERS="x-key=let-me-in",
        ATTACHD_TRACING_SERVICE_NAME="attachments",
    ) as server:
        yield server


def traceparent() -> tuple[str, dict[str, str]]:
    """A new trace, and the header that carries it."""
    trace = uuid.uuid4().hex
    return trace, {"traceparent": f"00-{trace}-{PARENT}-01"}


def spans_of(collector: Collector, trace: str, count: int) -> list[Span]:
    """The spans of a trace, in the order of their ends, once there are so many."""

    def own(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.trace_id == trace]

    found = own(collector.until(lambda spans: len(own(spans)) >= count))
    assert len(found) == count, [(span.name, span.attributes) for span in found]
    return found


def logged(server: Attachd, **members: str) -> dict[str, object]:
    """The one line of the log that has these members, once it is written."""

    def found() -> list[dict[str, object]]:
        return [line for line in server.lines() if members.items() <= line.items()]

    assert eventually(lambda: bool(found())), members
    (line,) = found()
    return line


def upload(client: httpx.Client, **headers: str) -> str:
    answer = client.post("/api/upload", files={"file": ("secret-name.txt", b"hello")}, headers=headers)
    assert answer.status_code == 200
    id: str = answer.json()["id"]
    return id


def test_a_call_is_a_child_of_its_request_and_has_children(server: Attachd, collector: Collector) -> None:
    with server.client() as client:
        id = upload(client)
        client.get("/api/trpc/attachments.get", params={"input": json.dumps({"id": id})})  # now the session is remembered
        trace, headers = traceparent()
        answer = client.get("/api/trpc/attachments.get", params={"input": json.dumps({"id": id})}, headers=headers)
    statement, call, request = spans_of(collector, trace, 3)
    assert (request.name, request.kind, request.parent_id) == (f"GET {TRPC}", SERVER, PARENT)
    request_id = answer.headers["x-request-id"]
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": TRPC,
        "http.response.status_code": 200,
        "http.response.body.size": len(answer.content),
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "attachd.request_id": request_id,
    }
    assert (call.name, call.kind, call.parent_id) == ("attachments.get", INTERNAL, request.id)
    assert call.attributes == {"rpc.system": "trpc", "rpc.method": "attachments.get", "attachd.procedure.kind": "query"}
    assert (statement.name, statement.kind, statement.parent_id) == ("SELECT attachments", CLIENT, call.id)
    assert statement.attributes["db.system.name"] == DATABASE
    assert statement.attributes["db.query.text"].startswith("SELECT ")
    assert id not in statement.attributes["db.query.text"]
    assert request.seconds >= call.seconds >= statement.seconds > 0
    assert logged(server, request_id=request_id)["trace_id"] == trace


def test_the_calls_of_a_batch_are_side_by_side(server: Attachd, collector: Collector) -> None:
    """A write waits, and those behind it get tasks of their own: each has its request for a parent all the same."""
    with server.client() as client:
        ids = [upload(client) for _ in range(3)]
        trace, headers = traceparent()
        paths = ",".join(["attachments.delete"] * 3)
        inputs = {str(number): {"json": {"id": id}} for number, id in enumerate([*ids[:2], str(uuid.uuid4())])}
        assert client.post(f"/api/trpc/{paths}?batch=1", json=inputs, headers=headers).status_code == 207
    spans = collector.until(lambda spans: any(span.trace_id == trace and span.parent_id == PARENT for span in spans))
    own = [span for span in spans if span.trace_id == trace]
    (request,) = [span for span in own if span.parent_id == PARENT]
    calls = [span for span in own if span.name == "attachments.delete"]
    assert [call.parent_id for call in calls] == [request.id] * 3
    assert [call.attributes.get("error.type") for call in calls].count("NOT_FOUND") == 1
    assert not any(call.is_error for call in calls), "a client's mistake is no error of the server"
    below = [span for span in own if span.kind == CLIENT]
    assert {span.parent_id for span in below} <= {call.id for call in calls} | {request.id}
    assert [span.name for span in below].count("TRANSACTION") == 3


def test_an_upload_and_a_download_have_spans_of_the_storage(server: Attachd, collector: Collector) -> None:
    with server.client() as client:
        trace, headers = traceparent()
        id = upload(client, **headers)
        spans = collector.until(lambda spans: any(span.trace_id == trace and span.parent_id == PARENT for span in spans))
        (written,) = [span for span in spans if span.trace_id == trace and span.name == "storage write"]
        assert written.attributes == {
            "attachd.storage.backend": STORAGE,
            "attachd.blob.size": 5,
            "attachd.blob.outcome": "stored",
        }
        trace, headers = traceparent()
        assert client.get(f"/api/attachments/{id}/download?secret-query", headers=headers).content == b"hello"
        spans = collector.until(lambda spans: any(span.trace_id == trace and span.parent_id == PARENT for span in spans))
        (read,) = [span for span in spans if span.trace_id == trace and span.name == "storage read"]
        (request,) = [span for span in spans if span.trace_id == trace and span.parent_id == PARENT]
        assert (read.parent_id, read.attributes["attachd.blob.size"]) == (request.id, 5)
        assert request.attributes["http.route"] == "/api/attachments/{id}/download"


def test_calls_over_websocket_begin_traces(server: Attachd, collector: Collector) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    with connect(server.base_url.replace("http", "ws") + "/api/trpc", additional_headers=headers, open_timeout=30) as socket:
        socket.send(json.dumps({"id": 1, "method": "query", "params": {"path": "attachments.limits"}}))
        assert "result" in json.loads(socket.recv(30))
    spans = collector.until(lambda spans: any(span.name == "attachments.limits" for span in spans))
    (call,) = [span for span in spans if span.name == "attachments.limits"]
    assert (call.kind, call.parent_id) == (SERVER, "")
    assert logged(server, route="attachments.limits")["trace_id"] == call.trace_id


def test_what_comes_from_clients_is_in_no_span(server: Attachd, collector: Collector) -> None:
    with server.client() as client:
        client.get("/nowhere/secret-path")
        client.get("/api/trpc/secret.procedure")
        trace, headers = traceparent()
        client.get("/healthz", headers={**headers, "tracestate": "vendor=x"})
        client.get("/healthz", headers={"traceparent": "nonsense"})
    spans = collector.until(lambda spans: any(span.trace_id == trace for span in spans))
    assert "GET" in {span.name for span in spans}  # of the path that is none
    everything = b"".join(collector.bodies)
    secrets = ["secret", server.organization_id, *server.users.values(), *server.tokens.values(), server.key]
    assert not [secret for secret in secrets if secret.encode() in everything]
    assert not any(span.events for span in spans)
    assert collector.resource["service.name"] == "attachments"
    assert collector.resource["service.version"]
    assert {headers["x-key"] for headers in collector.headers} == {"let-me-in"}
    assert "let-me-in" not in server.log.read_text()


def test_an_unsampled_request_has_no_span(server: Attachd, collector: Collector) -> None:
    trace = uuid.uuid4().hex
    last, headers = traceparent()
    with server.client() as client:
        answer = client.get("/healthz", headers={"traceparent": f"00-{trace}-{PARENT}-00"})
        client.get("/healthz", headers=headers)
    collector.until(lambda spans: any(span.trace_id == last for span in spans))
    assert not any(span.trace_id == trace for span in collector.spans)
    assert "trace_id" not in logged(server, request_id=answer.headers["x-request-id"])


def test_what_waits_is_sent_at_the_end(tmp_path: Path) -> None:
    with Collector() as collector:
        with Attachd(tmp_path, credentials=False, ATTACHD_TRACING_ENDPOINT=collector.url) as server:
            trace, headers = traceparent()
            httpx.get(f"{server.base_url}/healthz", headers=headers, timeout=30)
        assert any(span.trace_id == trace for span in collector.spans)


@pytest.mark.parametrize("fault", ["gone", "slow", "broken"])
def test_a_collector_that_fails_holds_up_no_request(tmp_path: Path, fault: str) -> None:
    with Collector(status=503 if fault == "broken" else 200, pause_s=30.0 if fault == "slow" else 0.0) as collector:
        url = "http://127.0.0.1:9/v1/traces" if fault == "gone" else collector.url
        with Attachd(tmp_path, ATTACHD_TRACING_ENDPOINT=url) as server, server.client() as client:
            id = upload(client)
            begun = time.monotonic()
            for _ in range(300):
                assert client.get("/api/trpc/attachments.get", params={"input": json.dumps({"id": id})}).status_code == 200
                assert time.monotonic() - begun < 60
            begun = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun < 25  # and not until the one that is slow has answered


def test_without_the_extra_the_start_says_what_to_install(tmp_path: Path) -> None:
    # Python finds this one first, and nothing in it.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "server", "serve", "--port", "0"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "ATTACHD_TRACING_ENDPOINT": "http://127.0.0.1:4318/v1/traces"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == ("Error: tracing.endpoint: the package opentelemetry.sdk is missing; install attachd[otel]\n")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENDPOINT", "collector:4318", "tracing.endpoint must be an http or https URL without a user"),
        ("ENDPOINT", "http://me:secret@collector/v1/traces", "tracing.endpoint must be an http or https URL without a user"),
        ("HEADERS", "secret", "tracing.headers, header 1: write it as name=value"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, name: str, value: str, message: str) -> None:
    done = run_attachd("serve", folder=tmp_path, **{f"ATTACHD_TRACING_{name}": value})
    assert done.returncode == 2
    assert message in done.stderr
    assert "secret" not in done.stderr
