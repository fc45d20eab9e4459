"""The command, as its user runs it: help, one-line errors, the life of sessions and keys, sweeping."""

import re
import socket
from pathlib import Path

import pytest

from tests.rest.live import eventually
from tests.running import Attachd, run_attachd

USER, ORGANIZATION = "0191c2b0-0000-7000-8000-000000000001", "0191C2B0-0000-7000-8000-000000000002"
SESSION = ("session", "create", "--user", USER, "--organization", ORGANIZATION, "--role", "member")
KEY = ("key", "create", "--organization", ORGANIZATION, "--role", "admin", "--name", "billing robot")


def assert_fails(folder: Path, *arguments: str, code: int, error: str, stdin: str = "", **settings: str) -> None:
    """The command exits with `code`, prints nothing, and says `error`, a pattern, in its one last line."""
    done = run_attachd(*arguments, folder=folder, stdin=stdin, **settings)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("Usage: ", "Try ")) and line]
    assert len(lines) == 1, done.stderr
    assert re.fullmatch(f"Error: {error}", lines[0]), lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("serve",),
        ("migrate",),
        ("session",),
        ("session", "create"),
        ("session", "revoke"),
        ("key",),
        ("key", "create"),
        ("key", "list"),
        ("key", "revoke"),
        ("sweep",),
    ],
    ids=" ".join,
)
def test_help(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_attachd(*arguments, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    assert list(tmp_path.iterdir()) == []


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"attachd \d+\.\d+\.\d+\n", run_attachd("--version", folder=tmp_path).stdout)


@pytest.mark.parametrize(
    ("arguments", "settings", "error"),
    [
        pytest.param(
            ("serve", "--port", "x"), {}, r"Invalid value for '--port': 'x' is not a valid integer\.", id="option-type"
        ),
        pytest.param(
            ("serve", "--port", "99999"), {}, "server.port must be a whole number from 0 to 65535, not 99999", id="port"
        ),
        pytest.param(
            ("serve", "--workers", "0"), {}, "server.workers must be a whole number from 1 to 256, not 0", id="workers"
        ),
        pytest.param(
            (*KEY[:-1], "a\tb\nc"),
            {},
            "--name must be printable, without tabs and line ends: it is a column of `key list`",
            id="name-of-two-columns",
        ),
        pytest.param(("serve", "--config", "no.toml"), {}, "no.toml: No such file or directory", id="no-file"),
        pytest.param(
            ("serve", "--dev", "--host", "0.0.0.0"),
            {},
            "--dev listens on loopback only, not on 0.0.0.0; write --host 127.0.0.1 or leave --dev out",
            id="dev-off-loopback",
        ),
        pytest.param(
            ("serve",),
            {"ATTACHD_SERVER_PROT": "1"},
            r"unknown environment variable ATTACHD_SERVER_PROT; did you mean ATTACHD_SERVER_PORT\?",
            id="variable",
        ),
        pytest.param(("migrate",), {"ATTACHD_DATABASE_URL": "x"}, "database.url must be sqlite:/// and .*", id="url"),
        pytest.param(
            ("sweep",),
            {"ATTACHD_UPLOAD_BACKEND": "s3"},
            'upload.s3_bucket must name a bucket when upload.backend is "s3", or the bytes are moved from or to it',
            id="s3",
        ),
        pytest.param((*SESSION, "--ttl", "1w"), {}, "Invalid value for '--ttl': '1w' is not a duration such as .*", id="ttl"),
        pytest.param(
            (*SESSION, "--ttl", "0s"), {}, "Invalid value for '--ttl': '0s' is not a duration such as .*", id="no-ttl"
        ),
        pytest.param((*SESSION, "--user", "{x}"), {}, "Invalid value for '--user': '{x}' is not a UUID such as .*", id="uuid"),
        pytest.param((*SESSION, "--role", "owner"), {}, "Invalid value for '--role': 'owner' is not one of .*", id="role"),
        pytest.param(("session", "revoke"), {}, "write the session's token to standard input", id="no-token"),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, arguments: tuple[str, ...], settings: dict[str, str], error: str) -> None:
    assert_fails(tmp_path, *arguments, code=2, error=error, **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --host or --port"
        assert_fails(tmp_path, "serve", "--port", str(port), code=1, error=error)


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    assert_fails(tmp_path, "serve", "--host", "192.0.2.1", code=1, error="cannot listen on 192.0.2.1 port 8080: Cannot .*")


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    error = "cannot use the storage directory taken: .*"
    assert_fails(tmp_path, "serve", code=1, error=error, ATTACHD_UPLOAD_DIRECTORY="taken")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_cannot_be_made(tmp_path: Path, command: str) -> None:
    (tmp_path / "taken").write_bytes(b"")
    error = "cannot bring the database to the newest schema: .*"
    assert_fails(tmp_path, command, code=1, error=error, ATTACHD_DATABASE_URL="sqlite:///taken/attachd.db")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(["sweep"], 1, id="sweep"),
        pytest.param(["backup", "copy"], 1, id="backup"),
        pytest.param(["fsck"], 3, id="fsck"),
        pytest.param(["key", "list"], 1, id="key-list"),
        pytest.param(["signing", "rotate"], 1, id="signing-rotate"),
    ],
)
def test_an_empty_store_is_not_made_where_one_is_expected(tmp_path: Path, command: list[str], code: int) -> None:
    """It would agree with everything: with a disk that is not mounted, and a current directory that is not the server's."""
    error = "there is no database data/attachd.db: see --config, the current directory, and what is mounted"
    assert_fails(tmp_path, *command, code=code, error=error)
    assert list(tmp_path.iterdir()) == []
    run_attachd("migrate", folder=tmp_path)
    assert_fails(tmp_path, *command, code=code, error="there is no storage directory data/blobs")
    assert not (tmp_path / "data" / "blobs").exists()


@pytest.mark.parametrize("command", ["serve", "migrate", "sweep"])
def test_a_database_that_is_none(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_bytes(b"not a database" * 100)
    assert_fails(tmp_path, command, code=1, error=".*file is not a database", ATTACHD_DATABASE_URL="sqlite:///file")


def test_migrate(tmp_path: Path) -> None:
    first, second = run_attachd("migrate", folder=tmp_path), run_attachd("migrate", folder=tmp_path)
    assert first.stdout == "The database was brought to the newest schema.\n"
    assert second.stdout == "The database has the newest schema already.\n"
    assert (tmp_path / "data" / "attachd.db").exists()


def test_a_folder_with_the_name_of_a_room_is_not_run(tmp_path: Path) -> None:
    """The current directory is data: a `storage` in it must not stand for ours when the schema is brought up to date."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("raise SystemExit('run')", encoding="utf-8")
    config = tmp_path / "config.toml"
    config.write_text(f"[database]\nurl = 'sqlite:///{tmp_path}/x.db'", encoding="utf-8")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert run_attachd("migrate", "--config", str(config), folder=folder).returncode == 0


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
