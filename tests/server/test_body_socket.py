"""Large bodies that the application reads from the socket: the protocol by itself, and uploads to a real server."""

import asyncio
import hashlib
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rest import BODY_SOCKET, WHOLE_BODY
from server.body_socket import BodyProtocol
from tests.rest.live import BOUNDARY, Answer, form, part, read_answer
from tests.server.test_protocol import serving
from tests.server.uploads import FORM, MAX_FILE_BYTES, OCTETS, Site, name_header, send_steadily

MAX_HELD_BYTES = 131_073  # of a body that nobody asks for: then no more is read
BODY = random.Random(1).randbytes(1_500_000)


async def reply(send: Any, body: bytes) -> None:
    """Answer with that body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def next_words(reader: asyncio.StreamReader) -> list[bytes]:
    """The words of the next answer's body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return (await reader.readexactly(length)).split()


async def read_some(scope: Any, receive: Any, send: Any) -> None:
    """Read the first message, then `x-take` bytes from the socket, then the rest as usual; answer how much came which way."""
    headers = dict(scope["headers"])
    message = await receive()
    taken = [message["body"]]
    source = scope["extensions"][BODY_SOCKET](int(headers[b"content-length"]) - len(message["body"]))
    wanted = int(headers[b"x-take"])
    poured = 0
    if source is not None:
        begun, buffer = source.left, bytearray(65_536)
        while source.left and begun - source.left < wanted:
            count = await asyncio.to_thread(source.read_into, buffer)
            taken.append(bytes(buffer[:count]))
            if not count:
                assert await source.wait(30)
        poured = begun - source.left
        source.close()
    while message["more_body"]:
        message = await receive()
        taken.append(message["body"])
    body = f"{hashlib.sha256(b''.join(taken)).hexdigest()} {poured}".encode()
    await reply(send, body)


@pytest.mark.parametrize("take", [0, 1, 700_000, len(BODY)])
@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_the_socket_and_the_messages_give_each_byte_once(take: int, pieces: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Take: %d\r\nContent-Length: %d\r\n\r\n" % (take, len(BODY))
    size = -(-len(head + BODY) // pieces)

    async def main() -> list[list[bytes]]:
        async with serving(BodyProtocol, read_some) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            # Twice on a connection, the second head in one write with the end of the first body.
            data = (head + BODY) * 2
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                if pieces > 7:
                    await asyncio.sleep(0)
            answers = [await next_words(reader) for _ in range(2)]
            writer.close()
            await writer.wait_closed()
            return answers

    answers = asyncio.run(main())
    assert [digest for digest, _ in answers] == [hashlib.sha256(BODY).hexdigest().encode()] * 2
    # With the socket asked for all, some of it must have come that way: else this tests nothing.
    assert take == 0 or all(int(poured) > 0 for _, poured in answers)


@pytest.mark.parametrize(("size", "pieces", "asks_late", "is_whole"), [
    (1, 1, True, True), (60_000, 1, True, True), (60_000, 3, True, True), (60_000, 3, False, False), (1_000_000, 1, True, False)
])  # fmt: skip
def test_a_body_is_given_whole_if_it_is_there(size: int, pieces: int, asks_late: bool, is_whole: bool) -> None:
    """A body of which more than is held must come is received as usual; what was given whole does not come again."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    data, step = head + BODY[:size], -(-(len(head) + size) // pieces)
    has_asked = asyncio.Event()

    async def take_whole(scope: Any, receive: Any, send: Any) -> None:
        """Ask for the whole body, late when as much is held as ever is; answer what came, whether so, and what comes then."""
        ask = scope["extensions"][WHOLE_BODY]
        while asks_late and len(ask.args[0].body) < min(size, MAX_HELD_BYTES):  # noqa: ASYNC110 (the cycle has no event for it)
            await asyncio.sleep(0)
        whole = ask()
        has_asked.set()
        received = b""
        message = {"more_body": whole is None}
        while message["more_body"]:
            message = await receive()
            received += message["body"]
        again = ask()
        behind = asyncio.create_task(receive())
        await asyncio.sleep(0.05)
        data, start = whole or (b"", 0)
        body = f"{hashlib.sha256(data[start:] + received).hexdigest()} {whole is not None} {again} {behind.done()}".encode()
        await reply(send, body)
        await behind

    async def main() -> list[list[bytes]]:
        async with serving(BodyProtocol, take_whole) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers = []
            for _ in range(2):  # on one connection
                has_asked.clear()
                for start in range(0, len(data), step):
                    writer.write(data[start : start + step])
                    await writer.drain()
                    await (asyncio.sleep(0.02) if asks_late else has_asked.wait())
                answers.append(await next_words(reader))
            writer.close()
            await writer.wait_closed()
            return answers

    expected = [hashlib.sha256(BODY[:size]).hexdigest().encode(), str(is_whole).encode(), b"None", b"False"]
    assert asyncio.run(main()) == [expected] * 2


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer the method, the path and the body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = f"{scope['method']} {scope['path']} ".encode() + body
    await reply(send, answer)


async def tell_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Answer the method and the path, and leave the body."""
    answer = f"{scope['method']} {scope['path']} ".encode()
    await reply(send, answer)


def talk(app: Any, *pieces: bytes) -> bytes:
    """What comes back for the pieces, each in a segment of its own, until the server closes, as the last of them wants it."""

    async def main() -> bytes:
        async with serving(BodyProtocol, app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            try:
                async with asyncio.timeout(30):
                    return await reader.read()
            finally:
                writer.close()

    return asyncio.run(main())


UPGRADE = "Connection: upgrade\r\nUpgrade: h2c\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("app", [tell, tell_at_once])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("cut", ["together", "behind the head", "in the body", "everywhere"])
def test_an_upgrade_that_is_passed_over_ends_where_its_body_ends(app: Any, method: str, cut: str) -> None:
    """The parser takes it to end with its head: what is in the body is no request, and what is behind it is not lost."""
    head = f"{method} /first HTTP/1.1\r\nHost: x\r\n{UPGRADE}Content-Length: {len(HIDDEN)}\r\n\r\n".encode()
    behind = b"POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + LAST
    data = head + HIDDEN + behind
    pieces = {
        "together": [data],
        "behind the head": [head, HIDDEN + behind],
        "in the body": [head + HIDDEN[:9], HIDDEN[9:] + behind],
        "everywhere": [data[start : start + 23] for start in range(0, len(data), 23)],
    }[cut]
    answers = talk(app, *pieces)
    assert b" /hidden" not in answers.replace(HIDDEN, b"")
    assert [answers.count(path) for path in (b" /first ", b" /second ", b" /last ")] == [1, 1, 1]
    if app is tell:
        assert f"{method} /first ".encode() + HIDDEN in answers
        assert b"POST /second abc" in answers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_upgrade_with_a_chunked_body_is_refused(method: str) -> None:
    head = f"{method} /first HTTP/1.1\r\nHost: x\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n".encode()
    answers = talk(tell, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN))
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_many_upgrades_in_one_segment() -> None:
    request = f"GET /again HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode()
    assert talk(tell, request * 700 + LAST).count(b"GET /again ") == 700


def send_slowly(connection: socket.socket, data: bytes, size: int) -> None:
    """Send the data in pieces; a server that has closed meanwhile is no error."""
    try:
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
    except OSError:
        pass


def upload(site: Site, body: bytes, size: int, *headers: str) -> Answer:
    """The answer to a form or a file that comes in pieces, read while it is sent."""
    with site.connect() as connection:
        connection.sendall(site.head(*headers, f"Content-Length: {len(body)}", path=path_for(headers)))
        sender = threading.Thread(target=send_slowly, args=(connection, body, size))
        sender.start()
        answer = read_answer(connection, "POST")
        sender.join()
        return answer


def path_for(headers: tuple[str, ...]) -> str:
    return "/api/trpc/attachments.upload" if OCTETS in headers else "/api/upload"


def pdf(size: int, seed: int = 0) -> bytes:
    return b"%PDF-1.7\n" + random.Random(seed).randbytes(size - 9)


NEAR = b"\r\n--" + BOUNDARY.encode()


@pytest.mark.parametrize(
    ("size", "piece"), [(262_144 * 3 - 1, 61_000), (262_144 * 4, 2_000_000), (1_000_003, 100_000), (MAX_FILE_BYTES, 2_000_000)]
)
def test_large_files_are_kept_byte_for_byte(site: Site, size: int, piece: int) -> None:
    content = pdf(size, seed=size)
    as_form = upload(site, form(part(content, "a.pdf")), piece, FORM).json()["id"]
    as_body = upload(site, content, piece, OCTETS, name_header("a.pdf")).json()["result"]["data"]["json"]["id"]
    for id in (as_form, as_body):
        assert hashlib.sha256(site.download(id)).digest() == hashlib.sha256(content).digest()


def test_what_looks_like_the_boundary_is_content(site: Site) -> None:
    rng = random.Random(2)
    near = [NEAR[: rng.randrange(1, len(NEAR))] + b"x" for _ in range(3000)] + [NEAR + b"x", NEAR + b"-x", NEAR + b"\rx"] * 300
    rng.shuffle(near)
    content = b"%PDF-1.7\n" + b"".join(piece + rng.randbytes(rng.randrange(900)) for piece in near)
    content = content[:MAX_FILE_BYTES]
    answer = upload(site, form(part(content, "a.pdf")), 10_007, FORM)
    assert answer.status == 200, answer
    assert site.download(answer.json()["id"]) == content


def test_fields_behind_a_large_file_count(site: Site) -> None:
    conversation = "0190f000-0000-7000-8000-00000000000a"
    body = form(part(pdf(1_200_000), "a.pdf"), part(conversation.encode(), name="conversationId"), part(b"y" * 4000, name="z"))
    answer = upload(site, body, 50_000, FORM)
    assert answer.status == 200, answer
    assert site.row(answer.json()["id"])["conversation_id"] == conversation


def test_the_connection_goes_on_behind_a_large_file(site: Site) -> None:
    body = form(part(pdf(1_200_000), "a.pdf"))
    head = site.head(FORM, f"Content-Length: {len(body)}", path="/api/upload")
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with site.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=((head + body + health) * 3 + last,))
        sender.start()
        received = b""
        while data := connection.recv(65_536):
            received += data
        sender.join()
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 7, received


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(form(part(b"a" * 1_000_000 + b"\0" + b"a" * 900_000, "a.txt")), 415, id="not text"),
        pytest.param(form(part(pdf(MAX_FILE_BYTES + 1), "a.pdf")), 413, id="one byte too much"),
        pytest.param(form(part(pdf(800_000), "a.pdf"), part(pdf(800_000), "b.pdf")), 400, id="two files"),
        pytest.param(form(part(pdf(1_900_000), "a.pdf"))[:-8] + b"xxxxxxxx", 400, id="no end"),
    ],
)
def test_a_refusal_in_the_middle_reaches_the_client(site: Site, body: bytes, status: int) -> None:
    before = site.state()
    assert upload(site, body, 100_000, FORM).status == status
    site.assert_unchanged(before)


def test_a_client_that_goes_away_leaves_nothing(site: Site) -> None:
    before = site.state()
    body = form(part(pdf(1_900_000), "a.pdf"))
    for cut in (700_000, 1_500_000):
        with site.connect() as connection:
            connection.sendall(site.head(FORM, f"Content-Length: {len(body)}", path="/api/upload") + body[:cut])
            time.sleep(0.1)
    site.assert_unchanged(before)


def test_a_client_that_stops_is_told_so(impatient_site: Site) -> None:
    before = impatient_site.state()
    body = form(part(pdf(1_900_000), "a.pdf"))
    with impatient_site.connect() as connection:
        head = impatient_site.head(FORM, f"Content-Length: {len(body)}", path="/api/upload")
        send_slowly(connection, head + body[:900_000], 900_000)
        assert read_answer(connection, "POST").status == 408
    impatient_site.assert_unchanged(before)


def test_a_slow_client_is_waited_for(tmp_path: Path) -> None:
    """Fewer bytes than wake the server, over more than the idle time."""
    body = form(part(pdf(720_000), "a.pdf"))
    pieces = [body[:700_000], *(body[start : start + 4000] for start in range(700_000, len(body), 4000))]
    assert send_steadily(tmp_path, pieces, FORM, path="/api/upload") == 200


def test_a_client_that_asks_first_is_told_to_go_on(site: Site) -> None:
    body = form(part(pdf(1_200_000), "a.pdf"))
    with site.connect() as connection:
        connection.sendall(site.head(FORM, "Expect: 100-continue", f"Content-Length: {len(body)}", path="/api/upload"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection, "POST").status == 200


def test_many_at_once_do_not_mix(site: Site) -> None:
    contents = [pdf(900_000 + n, seed=n) for n in range(12)]
    answers: list[Answer | None] = [None] * len(contents)

    def send(n: int) -> None:
        answers[n] = upload(site, form(part(contents[n], "a.pdf")), 40_000 + n, FORM)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer, content in zip(answers, contents, strict=True):
        assert answer is not None
        assert answer.status == 200
        assert site.download(answer.json()["id"]) == content


async def read_all(_scope: Any, receive: Any, send: Any) -> None:
    """Answer the digest of the body."""
    digest, message = hashlib.sha256(), {"more_body": True}
    while message["more_body"]:
        message = await receive()
        digest.update(message["body"])
    await reply(send, digest.hexdigest().encode())


@pytest.mark.parametrize("size", [8192, 8193, 8194, 8196, 8197, 20_000])
def test_a_read_that_ends_like_a_head(size: int) -> None:
    """In the middle of a chunked body, whose end only the parser knows."""

    async def main() -> list[bytes]:
        async with serving(BodyProtocol, read_all) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            chunk = bytes(size - 4) + b"\r\n\r\n"
            body = b"start" + chunk + b"end"
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\nstart" % len(body))
            for piece in (chunk, b"end\r\n0\r\n\r\n"):
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.write(piece)
            answer = await next_words(reader)
            writer.close()
            await writer.wait_closed()
            return [answer[0], hashlib.sha256(body).hexdigest().encode()]

    got, sent = asyncio.run(main())
    assert got == sent
