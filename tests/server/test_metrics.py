"""`/metrics`: what a running server tells Prometheus, and whom it tells."""

import json
import os
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.engines.backing import DATABASE, STORAGE
from tests.engines.postgresql_server import PostgresqlServer
from tests.rest.live import eventually
from tests.running import Attachd, run_attachd
from tests.server.scraping import OPENMETRICS, Metrics, scrape, scrape_until

TRPC = "/api/trpc/{procedure}"
DOWNLOAD = "/api/attachments/{id}/download"
REQUESTS = "attachd_http_requests_total"
CALLS = "attachd_calls_total"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server of this module alone, so that nobody else is counted."""
    with Attachd(
        tmp_path_factory.mktemp("metrics"), ATTACHD_FILES_RATE_LIMIT="1/hour", ATTACHD_WEBSOCKET_MAX_CONNECTIONS="1"
    ) as server:
        yield server


def upload(client: httpx.Client, conversation: str | None = None, data: bytes = b"hello") -> str:
    fields = {} if conversation is None else {"conversationId": conversation}
    answer = client.post("/api/upload", files={"file": ("secret-name.txt", data)}, data=fields)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


def get(client: httpx.Client, id: str) -> httpx.Response:
    return client.get("/api/trpc/attachments.get", params={"input": json.dumps({"json": {"id": id}})})


def test_requests_and_calls_are_counted(server: Attachd) -> None:
    with server.client() as client:
        id = upload(client)
        before = scrape(server.base_url)
        for _ in range(3):
            assert get(client, id).status_code == 200
        size = len(get(client, str(uuid.uuid4())).content)
        client.get("/api/trpc/no.such", params={"input": "{}"})
        batch = json.dumps({"0": {"json": {"id": id}}, "1": {"json": {"id": str(uuid.uuid4())}}, "2": {"json": {"id": id}}})
        assert (
            client.get(
                "/api/trpc/attachments.get,attachments.get,attachments.get", params={"batch": "1", "input": batch}
            ).status_code
            == 207
        )
    after = scrape_until(server.base_url, lambda now: now(REQUESTS, route=TRPC) == before(REQUESTS, route=TRPC) + 6)

    def rise(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert rise(REQUESTS, route=TRPC, method="GET", status="2xx") == 4  # 207, too
    assert rise(REQUESTS, route=TRPC, method="GET", status="4xx") == 2
    assert rise(CALLS, procedure="attachments.get", code="OK") == 5
    assert rise(CALLS, procedure="attachments.get", code="NOT_FOUND") == 2
    assert rise(CALLS, procedure="unknown", code="NOT_FOUND") == 1
    assert rise("attachd_call_duration_seconds_count", procedure="attachments.get") == 5
    assert 0 < rise("attachd_call_duration_seconds_sum", procedure="attachments.get") < 60
    assert rise("attachd_http_request_duration_seconds_bucket", route=TRPC, le="+Inf") == 6
    assert rise("attachd_http_request_duration_seconds_bucket", route=TRPC, le="60") == 6
    assert rise("attachd_http_sent_bytes_total", route=TRPC) > 4 * size


def test_files_are_counted(server: Attachd) -> None:
    before = scrape(server.base_url)
    with server.client() as client:
        data = b"some text\n" * 100_000
        id = upload(client, data=data)
        assert client.get(f"/api/attachments/{id}/download").content == data
        assert client.post("/api/upload", files={"file": ("a.txt", data + b"\0" * 1000)}).status_code == 415
        form = client.build_request("POST", "/api/trpc/attachments.upload", files={"file": ("b.txt", data)})
        assert client.send(form).status_code == 200

    def is_noted(now: Metrics) -> bool:
        last = now(REQUESTS, route=TRPC) == before(REQUESTS, route=TRPC) + 1
        return last and now("attachd_uploads_ended_total", outcome="aborted") == 1 and not now("attachd_uploads_in_flight")

    after = scrape_until(server.base_url, is_noted)

    def rise(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert rise("attachd_uploads_ended_total", outcome="stored") == 2
    assert rise("attachd_storage_written_bytes_total") == 2 * len(data)
    assert rise("attachd_storage_read_bytes_total") == len(data)
    assert rise("attachd_http_sent_bytes_total", route=DOWNLOAD) == len(data)
    assert 2 * len(data) < rise("attachd_http_received_bytes_total", route="/api/upload") < 2 * len(data) + 4_000
    assert len(data) < rise("attachd_http_received_bytes_total", route=TRPC) < len(data) + 2_000
    assert rise("attachd_storage_operation_duration_seconds_count", operation="write") == 2
    assert rise("attachd_database_operation_duration_seconds_count", operation="write") >= 2
    assert rise(REQUESTS, route="/api/upload", method="POST", status="4xx") == 1
    assert rise(REQUESTS, route=DOWNLOAD, method="GET", status="2xx") == 1
    assert after("attachd_uploads_in_flight") == after("attachd_downloads_in_flight") == 0


def test_what_is_under_way_is_shown_and_then_not(server: Attachd) -> None:
    conversation = str(uuid.uuid4())
    query = {"input": json.dumps({"json": {"conversationId": conversation}})}
    begun = b"--x\r\ncontent-disposition: form-data; name=file; filename=a.txt\r\n\r\n" + b"text\n" * 60_000

    def body() -> Iterator[bytes]:
        yield begun
        shown = scrape_until(server.base_url, lambda now: now("attachd_uploads_in_flight") == 1)
        assert shown("attachd_uploads_ended_total", outcome="stored") >= 0
        yield b"\r\n--x--\r\n"

    with server.client() as client:
        answer = client.post("/api/upload", content=body(), headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code == 200, answer.text
        with client.stream(
            "GET", "/api/trpc/attachments.onChange", params=query, headers={"accept": "text/event-stream"}
        ) as stream:
            pieces = stream.iter_raw()
            next(pieces)
            scrape_until(server.base_url, lambda now: now("attachd_subscriptions", transport="sse") == 1)
    after = scrape_until(server.base_url, lambda now: now("attachd_subscriptions_ended_total", transport="sse") == 1)
    assert after("attachd_subscriptions", transport="sse") == 0
    assert after("attachd_uploads_in_flight") == 0
    assert after("attachd_subscriptions_ended_total", transport="sse", code="OK") == 1
    assert after("attachd_http_sent_bytes_total", route=TRPC) > 0


def test_websockets_are_counted(server: Attachd) -> None:
    url = server.base_url.replace("http", "ws") + "/api/trpc"
    before = scrape(server.base_url)
    headers = {"authorization": f"Bearer {server.key}"}
    with connect(url, additional_headers=headers) as socket:
        call = {"id": 1, "method": "query", "params": {"path": "attachments.limits"}}
        socket.send(json.dumps(call))
        assert "result" in json.loads(socket.recv(30))
        params = {"path": "attachments.onChange", "input": {"json": {"conversationId": str(uuid.uuid4())}}}
        socket.send(json.dumps({"id": 2, "method": "subscription", "params": params}))
        assert json.loads(socket.recv(30))["result"]["type"] == "started"
        shown = scrape_until(server.base_url, lambda now: now("attachd_subscriptions", transport="websocket") == 1)
        assert shown("attachd_websocket_connections") == 1
        assert shown(CALLS, procedure="attachments.limits", code="OK") == before(CALLS, procedure="attachments.limits") + 1
        socket.send(json.dumps({**call, "id": 3, "params": {"path": "no.such"}}))
        told = [json.loads(socket.recv(30)) for _ in range(2)]  # `ready` of the subscription, and the answer
        assert [message["result"]["type"] for message in told if message["id"] == 2] == ["data"]
        assert ["error" in message for message in told if message["id"] == 3] == [True]
        with pytest.raises(Exception, match="503"):
            connect(url, additional_headers=headers)

    def is_over(now: Metrics) -> bool:
        ended = now("attachd_subscriptions_ended_total", transport="websocket") == 1
        return ended and now("attachd_websocket_connections") == 0

    after = scrape_until(server.base_url, is_over)
    assert after("attachd_subscriptions", transport="websocket") == 0
    assert after("attachd_subscriptions_ended_total", transport="websocket", code="OK") == 1
    assert after("attachd_websocket_connections_opened_total") == 1
    assert after("attachd_websocket_sent_bytes_total") > 0
    assert after("attachd_limit_refusals_total", limit="websocket.max_connections") == 1


def test_limits_of_requests_are_counted(server: Attachd) -> None:
    headers = {"authorization": f"Bearer {server.key}"}
    statuses = [
        httpx.post(f"{server.base_url}/files/upload", headers=headers, files={"file": ("a.txt", b"x")}).status_code
        for _ in "ab"
    ]
    assert statuses[1] == 429
    after = scrape_until(server.base_url, lambda now: now("attachd_limit_refusals_total", limit="files.rate_limit") > 0)
    assert after("attachd_limit_refusals_total", limit="files.rate_limit") == 1


def test_the_outbox_and_the_process_are_shown(server: Attachd) -> None:
    assert scrape(server.base_url)("attachd_outbox_messages") == 0
    with server.client() as client:
        body = {"content": "<p>Hello</p>", "to": ["ada@example.com"], "attachments": []}
        assert client.post(f"/api/v1/conversations/{uuid.uuid4()}/messages", json=body).status_code == 200
    found = scrape_until(server.base_url, lambda now: now("attachd_outbox_messages", state="queued") == 1)
    assert 0 <= found("attachd_outbox_oldest_age_seconds", state="queued") < 60
    assert found("attachd_build_info", database=DATABASE, storage=STORAGE) == 1
    assert found("process_resident_memory_bytes", worker="0") > 10_000_000
    assert found("process_open_fds", worker="0") > 3
    assert found("attachd_workers") == 1


def test_clients_cannot_make_series_and_no_series_tells_of_them(server: Attachd) -> None:
    with server.client() as client:
        client.request("PUT", "/pot/0")
        client.get("/api/trpc/no.such")
        client.get("/healthz")
        before = scrape_until(server.base_url, lambda now: now(REQUESTS, route="/healthz") > 0)
        for number in range(50):
            client.request("PUT", f"/pot/{number}")
            client.get(f"/api/trpc/no.such{number}")
            client.get(f"/uploads/{uuid.uuid4()}")
    after = scrape_until(server.base_url, lambda now: now(REQUESTS, route="unmatched", method="other") >= 51)
    new = {name for name, _ in after.series.keys() - before.series.keys()}
    assert all(dict(own).get("route") == "/uploads/{uuid}" for _, own in after.series.keys() - before.series.keys()), new
    for secret in (*server.users.values(), server.organization_id, "secret-name", server.key, *server.tokens.values()):
        assert secret not in after.text


def test_openmetrics_for_those_who_ask(server: Attachd) -> None:
    prometheus = f"{OPENMETRICS},application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = httpx.get(f"{server.base_url}/metrics", headers={"accept": prometheus})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert Metrics(answer.text, is_openmetrics=True)(REQUESTS, route=TRPC) > 0
    plain = httpx.get(f"{server.base_url}/metrics", headers={"accept": "application/openmetrics-text; version=nonsense"})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert httpx.head(f"{server.base_url}/metrics").headers["content-length"] != "0"
    assert httpx.post(f"{server.base_url}/metrics").status_code == 405


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"]
)
def test_a_proxy_on_this_machine_is_nobody(server: Attachd, header: str) -> None:
    answer = httpx.get(f"{server.base_url}/metrics", headers={header: "127.0.0.1"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "FORBIDDEN"


def test_proxies_that_are_trusted_tell_whom_they_stand_for(tmp_path: Path) -> None:
    with Attachd(
        tmp_path,
        credentials=False,
        ATTACHD_SERVER_TRUSTED_PROXIES="127.0.0.1",
        ATTACHD_METRICS_ALLOWED_ADDRESSES="10.1.0.0/16",
    ) as server:

        def status(**headers: str) -> int:
            return httpx.get(f"{server.base_url}/metrics", headers=headers).status_code

        assert status() == 403
        assert status(**{"x-forwarded-for": "10.1.2.3"}) == 200
        assert status(**{"x-forwarded-for": "10.1.2.3, 192.0.2.1"}) == 403
        assert status(**{"x-forwarded-for": "10.2.0.1"}) == 403
        assert status(via="1.1 proxy") == 403


def test_a_token_is_asked_for_wherever_one_comes_from(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False, ATTACHD_METRICS_TOKEN="let-me-in") as server:
        refused = httpx.get(f"{server.base_url}/metrics")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
        assert httpx.get(f"{server.base_url}/metrics", headers={"authorization": "Bearer let-me"}).status_code == 401
        allowed = {"authorization": "Bearer let-me-in", "x-forwarded-for": "192.0.2.1"}
        assert httpx.get(f"{server.base_url}/metrics", headers=allowed).status_code == 200
        assert "let-me-in" not in server.log.read_text()


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False, ATTACHD_METRICS_ENABLED="false") as server:
        assert httpx.get(f"{server.base_url}/metrics").status_code == 404


def failures_told(server: Attachd) -> list[dict[str, object]]:
    """The log's lines that tell a cause."""
    return [line for line in server.lines() if line.get("cause")]


@pytest.mark.only_on("sqlite", "local", reason="a file that is locked and a folder that is gone")
def test_failures_are_counted_by_kind(tmp_path: Path) -> None:
    with Attachd(tmp_path, ATTACHD_DATABASE_BUSY_TIMEOUT_SECONDS="0.1") as server, server.client() as client:
        before = scrape(server.base_url)
        assert before("attachd_database_errors_total", kind="busy") == 0  # it is there, to be seen rising
        with closing(sqlite3.connect(tmp_path / "data" / "attachd.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            assert client.post("/api/upload", files={"file": ("a.txt", b"x")}).status_code == 503
            database.execute("ROLLBACK")
        shutil.rmtree(tmp_path / "data" / "blobs")
        assert client.post("/api/upload", files={"file": ("a.txt", b"x")}).status_code == 503
        after = scrape_until(server.base_url, lambda now: now(REQUESTS, route="/api/upload", status="5xx") == 2)
        assert after("attachd_database_errors_total", kind="busy") == 1
        assert after("attachd_storage_errors_total", operation="write", kind="missing") == 1
        assert eventually(lambda: len(failures_told(server)) == 2)
        failures = failures_told(server)
        assert [str(line["cause"]).partition(":")[0] for line in failures] == ["OperationalError", "FileNotFoundError"]
        assert all(line["request_id"] and "traceback" not in line for line in failures)


class Alone(Attachd):
    """A server on what its settings say, whatever the run is for."""

    _is_backed = False


@pytest.mark.only_on("sqlite", "local", reason="it starts a PostgreSQL of its own, and stops it")
def test_metrics_are_there_while_the_database_is_not(tmp_path: Path) -> None:
    with PostgresqlServer() as database:
        settings = {
            "ATTACHD_DATABASE_URL": database.create_database("outage"),
            "ATTACHD_DATABASE_CONNECT_TIMEOUT_SECONDS": "1",
            "ATTACHD_DATABASE_POOL_TIMEOUT_SECONDS": "1",
            "ATTACHD_AUTH_SESSION_CACHE_SECONDS": "60",
        }
        assert run_attachd("migrate", folder=tmp_path, **settings).returncode == 0
        with Alone(tmp_path, credentials=True, **settings) as server, server.client() as client:
            id = upload(client)
            assert get(client, id).status_code == 200
            before = scrape(server.base_url)
            assert before("attachd_database_operation_duration_seconds_count", operation="read") > 0
            assert before("attachd_database_errors_total") == 0
            database.stop(signal.SIGQUIT)
            assert get(client, id).status_code == 503
            begun = time.monotonic()
            after = scrape_until(server.base_url, lambda now: now(REQUESTS, route=TRPC, status="5xx") >= 1)
            assert time.monotonic() - begun < 25
            assert after(CALLS, code="SERVICE_UNAVAILABLE") >= 1, after.text
            assert after("attachd_database_errors_total", kind="connection") >= 1, after.text
            assert eventually(lambda: any(line["level"] == "error" for line in failures_told(server)))
            assert any(line["request_id"] for line in failures_told(server) if line["level"] == "error")


def test_every_worker_tells_of_all_and_the_dead_are_not_forgotten(tmp_path: Path) -> None:
    with Attachd(tmp_path, "--workers", "2") as server:
        with server.client() as client:
            id = upload(client)

        def burst(_number: int) -> None:
            with server.client() as client:
                assert get(client, id).status_code == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(burst, range(60)))

        def is_whole(now: Metrics) -> bool:
            return now(CALLS, procedure="attachments.get", code="OK") == 60

        scrapes = [scrape_until(server.base_url, is_whole) for _ in range(5)]  # of whichever worker takes the connection
        found = scrapes[-1]
        assert found("attachd_workers") == 2
        memory = {dict(own)["worker"] for name, own in found.series if name == "process_resident_memory_bytes"}
        assert memory == {"0", "1"}
        victim = _workers(server)[0]
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while victim in (workers := _workers(server)) or len(workers) < 2:  # uvicorn replaces it
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = scrape_until(server.base_url, lambda now: now("attachd_workers") == 2)
        assert is_whole(found)


def _workers(server: Attachd) -> list[int]:
    """The processes of the workers: children of the server that have its socket; not multiprocessing's own helper."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((task / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == server.process.pid and b"spawn_main" in (task / "cmdline").read_bytes():
                found.append(int(task.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)
