"""Rotating the keys of links on a running server: no link breaks before its end, in no worker, also over a restart."""

import base64
import time
from pathlib import Path

import httpx

from storage.signing import KeyRing, SigningKey
from tests.rest.live import eventually
from tests.running import Attachd, run_attachd

CONTENT = b"hello"


def upload(client: httpx.Client) -> str:
    """The link of a new file."""
    url: str = client.post("/api/v1/media", files={"file": ("a.txt", CONTENT)}).json()["data"]["url"]
    return url


def kid_of(url: str) -> str:
    return url.rpartition("kid=")[2]


def statuses(url: str, count: int = 40) -> set[int]:
    """What the link is answered with over many connections, so that every worker is asked."""
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=30) as client:
        return {client.get(url).status_code for _ in range(count)}


def test_two_workers_and_a_restart(tmp_path: Path) -> None:
    site = Attachd(tmp_path, "--workers", "2")
    with site, site.client() as client:
        urls = [upload(client)]
        for _ in range(2):
            kid = site.run("signing", "rotate").strip()
            url = upload(client)
            assert statuses(url) == {200}, "signed by one worker, followed by the other"
            deadline = time.monotonic() + 60
            while kid_of(url) != kid:
                assert time.monotonic() < deadline, "the new key does not sign"
                url = upload(client)
            urls.append(url)
            assert all(statuses(each) == {200} for each in urls)
        listed = [line.split("\t") for line in site.run("signing", "list").splitlines()]
        assert [row[:2] for row in listed] == [
            [kid_of(urls[2]), "signs"],
            [kid_of(urls[1]), "verifies"],
            [kid_of(urls[0]), "verifies"],
        ]
        site.credentials = False
        path = [url.removeprefix(site.base_url) for url in urls]
    with site:
        assert all(statuses(f"{site.base_url}{each}", 5) == {200} for each in path)
        site.run("signing", "remove", kid_of(urls[0]))
        assert eventually(lambda: statuses(f"{site.base_url}{path[0]}") == {401})
        assert statuses(f"{site.base_url}{path[1]}", 5) == {200}


def test_keys_of_the_settings(tmp_path: Path) -> None:
    secrets = {name: base64.b64encode(name.encode() * 32).decode() for name in "abc"}
    site = Attachd(tmp_path, ATTACHD_SIGNING_KEYS=f"a:{secrets['a']}")
    with site, site.client() as client:
        url = upload(client)
        id = url.partition("/uploads/")[2].partition("?")[0]
        path = url.removeprefix(site.base_url)
        expired = KeyRing([SigningKey("a", b"a" * 32)]).sign_upload(f"upload/{id}", int(time.time()) - 1)
        with site.client(None) as anybody:
            reply = anybody.get(f"/uploads/{id}?{expired}")
        assert (reply.status_code, reply.json()["error_type"]) == (401, "AuthError")
        assert reply.json()["message"] == "the link has expired: ask for a new one"
    site.credentials = False
    for keys, status in ((f"b:{secrets['b']},a:{secrets['a']}", 200), (f"c:{secrets['c']}", 401)):
        site.settings["ATTACHD_SIGNING_KEYS"] = keys
        with site, site.client() as client:
            assert kid_of(upload(client)) == keys[0]
            assert statuses(f"{site.base_url}{path}", 1) == {status}
            assert site.run("signing", "list").splitlines()[0] == f"{keys[0]}\tsigns\t-\t-"
            done = run_attachd("signing", "rotate", folder=tmp_path, **site.settings)
            assert (done.returncode, done.stdout) == (1, "")
            assert "signing.keys names the keys" in done.stderr
