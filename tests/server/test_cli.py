"""The command, as its user runs it: help, one-line errors, what it makes and what it does not."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import run_attachd
from tests.server.commands import KEY, SESSION


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


def test_a_command_imports_what_it_needs() -> None:
    """What serves takes longer to import than all the rest, and `key create` in a loop would wait for it each time."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "server", "key", "--help"], capture_output=True, text=True, check=True
    )
    imported = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "server.arguments" in imported
    assert not {"server.app", "uvicorn", "prometheus_client"} & imported


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
