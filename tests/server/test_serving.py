"""A serving process: the demo and its curl lines, signals, workers, memory."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from server.serving import WORKER_ANSWERS_S
from tests.descriptors import open_sockets, settled_sockets
from tests.rest.live import eventually
from tests.running import Attachd, BareAttachd

CONVERSATION = "0191c2b0-0000-7000-8000-000000000003"


def paste(command: str, folder: Path) -> str:
    """What the printed command answers, run by bash as it stands."""
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def commands(output: str) -> dict[str, str]:
    """The curl commands of the greeting by their titles."""
    return dict(re.findall(r"^# (\w+)\n(curl (?:.*\\\n)*.*)$", output, re.MULTILINE))


def test_the_demo_answers_its_own_curl_lines(tmp_path: Path) -> None:
    server = BareAttachd(tmp_path, "--dev", credentials=False)
    with server:
        output = server.output()
        lines = commands(output)
        assert list(lines) == ["Upload", "List", "Get", "Download", "Delete"]
        uploaded = json.loads(paste(lines["Upload"], tmp_path))
        assert list(uploaded) == ["id", "filename", "content_type", "size", "url"]
        listed = json.loads(paste(lines["List"], tmp_path))["result"]["data"]["json"]
        assert [item["filename"] for item in listed] == ["demo.png", "demo.png"]
        got = json.loads(paste(lines["Get"], tmp_path))["result"]["data"]["json"]
        assert got["id"] == listed[0]["id"]
        paste(lines["Download"], tmp_path)
        assert (tmp_path / "downloaded-file.png").read_bytes() == (tmp_path / "data" / "demo.png").read_bytes()
        assert json.loads(paste(lines["Delete"], tmp_path)) == {"result": {"data": {"json": {"success": True}}}}
        for header in re.findall(r'-H "(Cookie: .*|Authorization: .*)"$', output, re.MULTILINE):
            name, value = header.split(": ", 1)
            reply = httpx.get(f"{server.base_url}/api/attachments/{uploaded['id']}/download", headers={name: value}, timeout=30)
            assert reply.status_code == 200
    assert (tmp_path / "data" / "dev.json").stat().st_mode & 0o777 == 0o600


def test_the_demo_is_the_same_on_the_next_start(tmp_path: Path) -> None:
    server = BareAttachd(tmp_path, "--dev", credentials=False)
    outputs = []
    for _ in range(2):
        with server:
            outputs.append(server.output().replace(server.base_url, ""))
    assert outputs[0] == outputs[1]
    (tmp_path / "data" / "attachd.db").unlink()
    with server:
        lines = commands(server.output())
        assert json.loads(paste(lines["Get"], tmp_path))["result"]["data"]["json"]["filename"] == "demo.png"


def test_the_demo_stays_on_loopback_and_in_its_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    settings = {"ATTACHD_SERVER_HOST": "0.0.0.0", "ATTACHD_UPLOAD_DIRECTORY": str(elsewhere)}
    server = BareAttachd(tmp_path, "--dev", credentials=False, **settings)
    with server:
        assert server.base_url.startswith("http://127.0.0.1:")
    assert not elsewhere.exists()


def test_without_dev_there_is_no_credential(tmp_path: Path) -> None:
    with Attachd(tmp_path, credentials=False) as server:
        assert server.run("key", "list") == ""
    assert not (tmp_path / "data" / "dev.json").exists()


@contextlib.contextmanager
def begun_upload(server: Attachd, content: bytes) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection on which the first half of an upload was sent, which the server has asked for, and the other half."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + content + b"\r\n--x--\r\n"
    head = (
        f"POST /api/upload HTTP/1.1\r\nHost: x\r\nCookie: session={server.tokens['member']}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    url = httpx.URL(server.base_url)
    assert url.port is not None
    half = len(body) // 2
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body[:half])
        yield connection, body[half:]


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes; nothing when it cuts off."""
    with connection.makefile("rb") as file:
        try:
            return file.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_lets_an_upload_in_flight_finish(tmp_path: Path, number: signal.Signals) -> None:
    with Attachd(tmp_path) as server, begun_upload(server, b"x" * 100_000) as (connection, rest):
        server.process.send_signal(number)
        assert eventually(server.is_closed)
        time.sleep(0.3)
        assert server.process.poll() is None
        connection.sendall(rest)
        reply = read_all(connection)
        assert reply.startswith(b"HTTP/1.1 200 "), reply
        assert server.process.wait(30) == 0
        line = server.lines()[-1]
        assert (line["route"], line["status"]) == ("/api/upload", 200)


def test_an_upload_that_outlasts_the_grace_is_cut_off(tmp_path: Path) -> None:
    short = Attachd(tmp_path, ATTACHD_SERVER_SHUTDOWN_GRACE_SECONDS="1")
    with short as server, begun_upload(server, b"x" * 100_000) as (connection, _):
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert 0.5 < time.monotonic() - started < 20  # 30 without the setting
        assert b" 200 " not in read_all(connection)
    assert server.backing.bytes.kept() == set()


def test_two_workers_share_one_database(tmp_path: Path) -> None:
    with Attachd(tmp_path, "--workers", "2") as server:

        def upload(number: int) -> tuple[str, str]:
            """Where the file is then, and what the worker that took it begins its requests' names with."""
            # A connection each, so that both workers get some.
            with server.client() as client:
                files = {"file": (f"{number}.txt", f"{number}".encode())}
                reply = client.post("/api/upload", files=files, data={"conversationId": CONVERSATION})
                assert reply.status_code == 200, reply.text
                return reply.json()["url"], reply.headers["x-request-id"].partition("-")[0]

        locations: list[str] = []
        takers: set[str] = set()
        deadline = time.monotonic() + 60
        with ThreadPoolExecutor(8) as pool:
            while len(takers) < 2:  # the first is ready before the second
                assert time.monotonic() < deadline, "one worker takes all"
                for location, taker in pool.map(upload, range(len(locations), len(locations) + 40)):
                    locations.append(location)
                    takers.add(taker)
        with server.client() as client:
            assert [client.get(location).text for location in locations] == [str(number) for number in range(len(locations))]
            query = {"input": json.dumps({"conversationId": CONVERSATION})}
            listed = client.get("/api/trpc/attachments.list", params=query).json()["result"]["data"]["json"]
            assert len(listed) == len(locations)
        assert server.stop() == 0


def workers(server: Attachd) -> list[int]:
    """The processes that serve, without those that ended."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text(encoding="ascii").split()
    commands = {}
    for child in children:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            commands[int(child)] = Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8")
    return [child for child, command in commands.items() if command and "resource_tracker" not in command]


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_worker_that_dies_is_replaced(tmp_path: Path, *, is_asked: bool) -> None:
    """At once, also if it dies when its supervisor has asked it for a sign of life and waits for that."""
    with Attachd(tmp_path, "--workers", "2") as server:
        assert eventually(lambda: len(workers(server)) == 2)
        worker = workers(server)[0]
        if is_asked:
            os.kill(worker, signal.SIGSTOP)
            time.sleep(2)  # it is asked twice a second
        os.kill(worker, signal.SIGKILL)
        died = eventually(lambda: any("died" in str(line.get("message")) for line in server.lines()), WORKER_ANSWERS_S / 2)
        assert died, server.log.read_text()
        assert eventually(server.is_ready)
        assert server.stop() == 0


@pytest.mark.only_on("sqlite", reason="takes the database away by its name")
def test_a_worker_that_dies_while_the_database_is_away_comes_back_with_it(tmp_path: Path) -> None:
    """The others serve on meanwhile what they can, and are not stopped because one cannot be replaced."""
    with Attachd(tmp_path, "--workers", "2") as server:
        database, aside = tmp_path / "data" / "attachd.db", tmp_path / "data" / "aside"
        database.rename(aside)
        database.mkdir()  # cannot be opened
        assert eventually(lambda: len(workers(server)) == 2)
        killed, kept = workers(server)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: any("is tried again" in str(line.get("message")) for line in server.lines()), 60.0)
        assert kept in workers(server)
        database.rmdir()
        aside.rename(database)
        assert eventually(server.is_ready, 60.0)
        assert server.process.poll() is None
        assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's; counts sockets in /proc")
@pytest.mark.only_on("sqlite", "local", reason="the other engines have sockets, too")
def test_a_client_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    server = Attachd(tmp_path)
    with server, server.client() as client:
        content = b"%PDF-1.7\n" + bytes(20_000_000)
        url = client.post("/api/upload", files={"file": ("a.pdf", content)}).json()["url"]
    server.settings["ATTACHD_UPLOAD_IDLE_TIMEOUT_SECONDS"] = "1"  # in which a client could not upload when the machine stalls
    with server, server.client() as client:
        before = settled_sockets(server.process.pid, lambda: client.get("/healthz"))
        with contextlib.ExitStack() as stalled:
            for _ in range(3):
                connection = stalled.enter_context(socket.socket())
                connection.settimeout(30)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", int(server.base_url.rpartition(":")[2])))
                head = f"GET {url} HTTP/1.1\r\nHost: x\r\nCookie: session={server.tokens['member']}\r\n\r\n"
                connection.sendall(head.encode())
                assert connection.recv(12) == b"HTTP/1.1 200"
            assert eventually(lambda: open_sockets(server.process.pid) <= before)
        assert client.get(url, headers={"range": "bytes=0-8"}).content == content[:9]


def test_idle_memory(tmp_path: Path) -> None:
    """The first start, which also migrates: neither Alembic nor SQLAlchemy may stay in the serving process."""
    with BareAttachd(tmp_path, credentials=False) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        resident = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident[1]) < 64 * 1024
        maps = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
        assert "sqlalchemy" not in maps


def test_the_log_is_json_and_tells_no_secret(tmp_path: Path) -> None:
    with Attachd(tmp_path) as server:
        with server.client() as client:
            client.post("/api/upload", files={"file": ("secret-name.txt", b"secret-content")})
            client.get("/api/trpc/attachments.get", params={"input": '{"id":"secret-input"}'})
            client.get(f"/api/attachments/{CONVERSATION}/download", headers={"Authorization": "Bearer attachd_secret-key"})
        assert server.stop() == 0
        requests = [(line["method"], line["route"], line["status"]) for line in server.lines() if "request_id" in line]
    assert sorted(requests[-3:]) == [
        ("GET", "/api/attachments/{id}/download", 401),
        ("GET", "attachments.get", 400),
        ("POST", "/api/upload", 200),
    ]
    text = server.log.read_text()
    assert "secret" not in text
    assert not any(token in text for token in (*server.tokens.values(), server.key))


def test_the_request_log_can_be_off(tmp_path: Path) -> None:
    with Attachd(tmp_path, ATTACHD_SERVER_REQUEST_LOG="false") as server:
        assert httpx.get(f"{server.base_url}/healthz", timeout=30).status_code == 200
        assert server.stop() == 0
        assert [line["message"] for line in server.lines()] == ["serving"]


class Installed(BareAttachd):
    """Run by the command that is beside the interpreter."""

    program = (str(Path(sys.executable).with_name("attachd")),)


def test_the_installed_command(tmp_path: Path) -> None:
    """It is the same program, and its workers can be spawned from it."""
    with Installed(tmp_path, "--workers", "2", credentials=False) as server:
        assert server.stop() == 0, server.log.read_text()
