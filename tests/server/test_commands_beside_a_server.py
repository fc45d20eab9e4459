"""Commands that a running server sees the effect of: the life of sessions and keys, sweeping."""

import re
from pathlib import Path

from tests.rest.live import eventually
from tests.running import Attachd, run_attachd
from tests.server.commands import KEY, ORGANIZATION, SESSION, USER


def test_life_of_a_session(tmp_path: Path) -> None:
    with Attachd(tmp_path, ATTACHD_AUTH_SESSION_CACHE_SECONDS="0") as server, server.client() as client:
        query = {"input": '{"conversationId":"0191c2b0-0000-7000-8000-000000000003"}'}
        assert client.get("/api/trpc/attachments.list", params=query).json() == {"result": {"data": {"json": []}}}
        server.run("session", "revoke", stdin=f"{server.tokens['member']}\n")
        assert client.get("/api/trpc/attachments.list", params=query).status_code == 401
        again = run_attachd("session", "revoke", folder=tmp_path, stdin=server.tokens["member"], **server.settings)
        assert (again.returncode, again.stderr) == (1, "Error: no session has that token\n")


def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    """A short one soon; one of ten minutes is there still when it has ended."""
    with Attachd(tmp_path, ATTACHD_AUTH_SESSION_CACHE_SECONDS="0") as server:
        server.tokens |= {name: server.run(*SESSION, "--ttl", ttl).strip() for name, ttl in (("long", "10m"), ("short", "1s"))}
        with server.client("long") as long, server.client("short") as short:
            path = f"/api/attachments/{USER}/download"
            assert eventually(lambda: short.get(path).status_code == 401, 20)
            assert long.get(path).status_code == 404


def test_life_of_a_key(tmp_path: Path) -> None:
    with Attachd(tmp_path, ATTACHD_AUTH_SESSION_CACHE_SECONDS="0") as server, server.client(None) as client:
        done = run_attachd(*KEY, folder=tmp_path, **server.settings)
        secret = done.stdout.removesuffix("\n")
        assert re.fullmatch(r"attachd_[A-Za-z0-9_-]{43}", secret)
        key_id = done.stderr.removeprefix("created key ").strip()
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get(f"/api/attachments/{USER}/download", headers=headers).status_code == 404
        listed = [line.split("\t") for line in server.run("key", "list").splitlines()]
        assert [line[0] for line in listed][-1] == key_id
        assert listed[-1][2:] == ["-", "admin", ORGANIZATION.lower(), "billing robot"]
        server.run("key", "revoke", key_id)
        assert client.get(f"/api/attachments/{USER}/download", headers=headers).status_code == 401
        assert server.run("key", "list").splitlines()[-1].split("\t")[2] != "-"
        again = run_attachd("key", "revoke", key_id, folder=tmp_path, **server.settings)
        assert (again.returncode, again.stderr) == (1, f"Error: there is no key {key_id}, or it was revoked before\n")


def test_sweep(tmp_path: Path) -> None:
    server = Attachd(
        tmp_path, ATTACHD_SWEEP_GRACE_SECONDS="0", ATTACHD_SWEEP_RETENTION_DAYS="0", ATTACHD_SWEEP_QUARANTINE_DAYS="0"
    )
    with server, server.client() as client:
        kept, deleted, lost = (
            client.post("/api/upload", files={"file": (f"{name}.txt", name.encode())}).json()["id"]
            for name in ("kept", "deleted", "lost")
        )
        assert client.post("/api/trpc/attachments.delete", json={"id": deleted}).is_success
        backing = server.backing
        keys = {id: backing.key_of(id) for id in (kept, deleted, lost)}
        orphan = keys[kept].replace(kept, "0191c2b0-0000-7000-8000-00000000000a")
        backing.bytes.write(orphan, b"orphan")
        report = [
            f"remove unfinished {orphan}",
            f"remove deleted {keys[deleted]}",
            "remove 1 unfinished (6 bytes)",
            "quarantine 0 unclaimed (0 bytes)",
            "remove 0 quarantined (0 bytes)",
            "put back 0 claimed (0 bytes)",
            "remove 1 deleted (7 bytes)",
            "remove 0 unlinked (0 bytes)",
        ]
        assert server.run("sweep", "--dry-run").splitlines() == [f"would {line}" for line in report]
        assert orphan in backing.bytes.kept()
        past = [line.replace("remove", "removed").replace("quarantine ", "quarantined ") for line in report]
        assert server.run("sweep").splitlines() == past
        assert backing.bytes.kept() == {keys[kept], keys[lost]}
        backing.lose_bytes(lost)
        done = run_attachd("sweep", folder=tmp_path, **server.settings)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"attachment {lost} has lost its bytes",
            "Error: 1 attachments have no bytes; restore them from a backup",
        ]
        assert client.get(f"/api/attachments/{kept}/download").text == "kept"
