"""attachd behind nginx and Caddy, with the configuration that docs/operations.md gives."""

import contextlib
import json
import shutil
import ssl
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from tests.deployment.proxies import Caddy, Nginx
from tests.running import Attachd
from tests.server.scraping import scrape_until

pytestmark = pytest.mark.only_on("sqlite", "local", reason="about what stands in front of the process, and not behind it")
MEBIBYTE = 1024 * 1024
FILE = b"0123456789abcde\n" * (30 * MEBIBYTE // 16)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\1\2\3" * 16
AT_ONCE_S = 20.0  # on a machine that stalls; what a proxy holds back comes with the next ping after a minute, or never


@pytest.fixture(scope="module")
def attachd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attachd]:
    """A server that takes the file, trusts the proxy and pings no subscription, so that nothing pushes an event along."""
    with Attachd(
        tmp_path_factory.mktemp("attachd"),
        ATTACHD_UPLOAD_MAX_FILE_SIZE_MB="30",
        ATTACHD_SERVER_TRUSTED_PROXIES="127.0.0.1",
        ATTACHD_STREAM_PING_SECONDS="60",
        ATTACHD_STREAM_JSONL_PING_SECONDS="60",
        ATTACHD_STREAM_RECONNECT_AFTER_INACTIVITY_SECONDS="0",
        ATTACHD_WIDGET_ADDRESS_RATE_LIMIT="2/hour",
        ATTACHD_SERVER_PLUGINS="tests.deployment.slowly:router",
    ) as server:
        yield server


@pytest.fixture(scope="module", params=[Nginx, Caddy], ids=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, attachd: Attachd
) -> Iterator[Nginx | Caddy]:
    """The proxy in front of it."""
    type_: type[Nginx | Caddy] = request.param
    name = type_.__name__.lower()
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    with type_(tmp_path_factory.mktemp(name), attachd.base_url) as running:
        yield running


@pytest.fixture
def client(proxy: Nginx | Caddy, attachd: Attachd) -> Iterator[httpx.Client]:
    """A member, through the proxy."""
    cookies = {"session": attachd.tokens["member"]}
    with httpx.Client(base_url=proxy.url, cookies=cookies, verify=False, timeout=60) as client:  # noqa: S501
        yield client


def form(name: str, *pieces: bytes) -> tuple[dict[str, str], list[bytes]]:
    head = f'--x\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = [head, *pieces, b"\r\n--x--\r\n"]
    return {"content-type": "multipart/form-data; boundary=x", "content-length": str(sum(map(len, body)))}, body


def unfinished_bytes(attachd: Attachd) -> int:
    """The size of the largest file that is being written; the one of another upload may go away meanwhile."""
    sizes = [0]
    for path in (attachd.folder / "data" / "blobs").rglob("*.partial"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


def test_an_upload_goes_on_as_it_comes(client: httpx.Client, proxy: Nginx | Caddy, attachd: Attachd) -> None:
    half = len(FILE) // 2
    headers, (head, first, rest, end) = form("big.txt", FILE[:half], FILE[half:])
    written: list[int] = []

    def body() -> Iterator[bytes]:
        yield head + first
        deadline = time.monotonic() + 60
        while not written or written[-1] < half - MEBIBYTE:  # it is there before the rest is sent
            assert time.monotonic() < deadline, written
            time.sleep(0.02)
            written.append(unfinished_bytes(attachd))
        scrape_until(attachd.base_url, lambda now: now("attachd_uploads_in_flight") == 1)
        assert proxy.kept() == []
        yield rest
        yield end

    answer = client.post("/api/upload", content=body(), headers=headers)
    assert answer.status_code == 200, answer.text
    with client.stream("GET", answer.json()["url"]) as download:
        assert download.headers["content-length"] == str(len(FILE))
        assert b"".join(download.iter_bytes()) == FILE
    assert proxy.kept() == []
    part = client.get(answer.json()["url"], headers={"range": "bytes=16-31"})
    assert (part.status_code, part.content) == (206, FILE[16:32])


def test_an_upload_that_is_too_large_is_told_so(client: httpx.Client) -> None:
    headers, body = form("big.txt", FILE, b"x" * MEBIBYTE)
    answer = client.post("/api/upload", content=iter(body), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "ATTACHMENT_TOO_LARGE"
    del headers["content-length"]
    answer = client.post("/api/upload", content=iter([*body[:1], *[b"x" * MEBIBYTE] * 32, body[-1]]), headers=headers)
    assert answer.status_code == 413


def test_an_event_arrives_at_once(client: httpx.Client, attachd: Attachd) -> None:
    conversation = str(uuid.uuid4())
    query = {"input": json.dumps({"json": {"conversationId": conversation}})}
    with client.stream(
        "GET", "/api/trpc/attachments.onChange", params=query, headers={"accept": "text/event-stream"}
    ) as stream:
        lines = stream.iter_lines()
        while '"ready"' not in next(lines):
            pass
        sent = time.monotonic()
        with attachd.client() as direct:
            answer = direct.post("/api/upload", files={"file": ("a.txt", b"x")}, data={"conversationId": conversation})
        assert answer.status_code == 200
        while answer.json()["id"] not in next(lines):
            pass
        assert time.monotonic() - sent < AT_ONCE_S
        scrape_until(attachd.base_url, lambda now: now("attachd_subscriptions", transport="sse") == 1)
    scrape_until(attachd.base_url, lambda now: now("attachd_subscriptions", transport="sse") == 0)


def test_json_lines_arrive_one_by_one(client: httpx.Client) -> None:
    query, headers = {"batch": "1", "input": "{}"}, {"trpc-accept": "application/jsonl"}
    begun = time.monotonic()
    with client.stream("GET", "/api/trpc/slowly", params=query, headers=headers) as stream:
        assert stream.status_code == 200
        for line in stream.iter_lines():
            if line.endswith("[[1]]]}"):  # the first number, of two
                break
        assert time.monotonic() - begun < AT_ONCE_S


def test_a_query_may_be_long(client: httpx.Client) -> None:
    names = [f"{number:0>300}" for number in range(100)]
    asked = json.dumps({str(index): {"json": {"id": name}} for index, name in enumerate(names)})
    answer = client.get(f"/api/trpc/{','.join(['attachments.get'] * 100)}", params={"batch": "1", "input": asked})
    assert len(str(answer.request.url)) > 30_000
    assert (answer.status_code, len(answer.json())) == (400, 100), answer.text[:200]
    assert {each["error"]["json"]["data"]["code"] for each in answer.json()} == {"BAD_REQUEST"}


def test_a_websocket_is_passed_on(proxy: Nginx | Caddy, attachd: Attachd) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{proxy.url.replace('https', 'wss')}/api/trpc"
    headers = {"authorization": f"Bearer {attachd.key}"}
    with connect(url, ssl=context, additional_headers=headers, open_timeout=60) as socket:
        socket.send(json.dumps({"id": 1, "method": "query", "params": {"path": "attachments.limits"}}))
        assert "result" in json.loads(socket.recv(60))
    scrape_until(attachd.base_url, lambda now: now("attachd_websocket_connections") == 0)


def test_the_address_of_a_client_is_what_the_proxy_saw(client: httpx.Client, proxy: Nginx | Caddy, attachd: Attachd) -> None:
    asked = {"conversation_id": str(uuid.uuid4())}
    token = client.post("/api/v1/widget/sessions", json=asked).json()["data"]["token"]

    def upload(to: httpx.Client, address: str) -> int:
        headers = {"authorization": f"Bearer {token}", "x-forwarded-for": address}
        return to.post("/api/v1/widget/media/upload", files={"file": ("a.png", PNG)}, headers=headers).status_code

    # From an address that is no proxy's, as clients have it.
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=False)
    visitor = httpx.Client(transport=transport, base_url=proxy.url, timeout=60)
    with visitor, attachd.client(None) as direct:  # another proxy of the same address, which says the truth
        assert upload(direct, f"192.0.2.{1 if isinstance(proxy, Nginx) else 2}") == 200
        statuses = [upload(visitor, f"198.51.100.{number}") for number in range(4)]
    assert statuses[-1] == 429, "what a client writes into the header counts for nothing"


def test_the_metrics_are_not_passed_on(client: httpx.Client) -> None:
    assert client.get("/metrics").status_code == 404
