"""`attachd doctor`: what it finds right and wrong in the world, with what to mend, in time and without a secret."""

import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage import Diagnosis
from storage.diagnosis import clock, file_system, is_remote, space
from tests.engines.postgresql import SharedPostgresql
from tests.engines.postgresql_server import PostgresqlServer
from tests.engines.s3 import SharedS3
from tests.engines.seaweedfs import ACCESS_KEY, SECRET_KEY
from tests.running import environment, run_attachd
from tests.server.mail_server import CERTIFICATE, MailServer

ID = "0191c2b0-0000-7000-8000-000000000001"
MAIL = {"ATTACHD_MAIL_HOST": "127.0.0.1", "ATTACHD_MAIL_SENDER": "a@example.com", "ATTACHD_MAIL_SECURITY": "none"}
SECRETS = ("s3cr3t", SECRET_KEY)


def examined(folder: Path, *options: str, **settings: str) -> tuple[int, list[Diagnosis]]:
    """The exit code, and what was found."""
    done = run_attachd("doctor", "--json", *options, folder=folder, **settings)
    assert done.stderr == ""
    assert not any(secret in done.stdout for secret in SECRETS)
    return done.returncode, [Diagnosis(**json.loads(line)) for line in done.stdout.splitlines()]


def of(found: list[Diagnosis], check: str, health: str) -> list[str]:
    """The texts about a setting, with what to mend."""
    return [f"{one.text} | {one.mend}" for one in found if (one.check, one.health) == (check, health)]


def unhealthy(found: list[Diagnosis]) -> dict[str, str]:
    return {one.check: one.health for one in found if one.health != "ok"}


def test_a_fresh_machine(tmp_path: Path) -> None:
    code, found = examined(tmp_path)
    assert (code, unhealthy(found)) == (0, {"database.url": "warn", "upload.directory": "warn"})
    assert list(tmp_path.iterdir()) == [], "nothing is made"


def make_store(folder: Path) -> None:
    """The database and the folder of the bytes, as attachd makes them."""
    key = run_attachd("key", "create", "--organization", ID, "--role", "member", "--name", "a", folder=folder)
    assert key.returncode == 0


def test_whoever_reads_no_further_ends_it_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        command = [sys.executable, "-m", "server", "doctor"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), stdout=output, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_machine_that_serves(tmp_path: Path) -> None:
    make_store(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    code, found = examined(tmp_path)
    assert (code, unhealthy(found)) == (0, {})
    checks = ("settings", "database.url", "upload.directory", "server.base_url", "signing.keys", "mail.host", "memory")
    assert {*checks, "rates.storage_url", "open files", "server.workers"} == {one.check for one in found}
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.name.endswith(("-wal", "-shm"))) == before
    lines = run_attachd("doctor", folder=tmp_path).stdout.splitlines()
    assert all(line.startswith("ok   ") for line in lines)
    assert len(lines) == len(found)


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    done = run_attachd("doctor", folder=tmp_path, ATTACHD_SERVER_PORT="x")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAIL settings  ")
    assert done.stdout.endswith(" — mend: then run `attachd doctor` again\n")


def test_a_file_of_settings_for_all_to_read(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        "[mail]\nhost='127.0.0.1'\nport=1\nsender='a@example.com'\nusername='u'\npassword='s3cr3t'\n[server]\nport=1\n"
    )
    for mode, health in ((0o644, "warn"), (0o600, "ok")):
        config.chmod(mode)
        _, found = examined(tmp_path, "--config", str(config))
        assert [one.health for one in found if one.check == "settings"][-1] == health


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"no database" * 100, "file is not a database | restore a backup", id="none"),
        pytest.param(b"", "there is no schema yet | `attachd serve` brings it up to date, or `attachd migrate`", id="empty"),
    ],
)
def test_a_database_that_is_none(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.db").write_bytes(content)
    code, found = examined(tmp_path, ATTACHD_DATABASE_URL="sqlite:///x.db")
    assert code == (1 if content else 0)
    assert any(text in one for one in of(found, "database.url", "fail") + of(found, "database.url", "warn"))
    assert (tmp_path / "x.db").read_bytes() == content


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    run_attachd("migrate", folder=tmp_path)
    with closing(sqlite3.connect(tmp_path / "data" / "attachd.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    code, found = examined(tmp_path)
    assert code == 1
    (text,) = of(found, "database.url", "fail")
    assert text.startswith("the schema is 9999, newer than ")


def test_a_database_that_somebody_holds(tmp_path: Path) -> None:
    run_attachd("migrate", folder=tmp_path)
    with closing(sqlite3.connect(tmp_path / "data" / "attachd.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        code, found = examined(tmp_path, ATTACHD_DATABASE_BUSY_TIMEOUT_SECONDS="0.2")
    assert code == 1
    assert "database is locked" in of(found, "database.url", "fail")[0]


def test_a_folder_that_is_a_file_or_open_to_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, found = examined(tmp_path, ATTACHD_UPLOAD_DIRECTORY="file")
    assert (code, of(found, "upload.directory", "fail")) == (1, ["file is not a folder | name a folder of its own"])
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    code, found = examined(tmp_path, ATTACHD_UPLOAD_DIRECTORY="open")
    assert code == 0
    assert of(found, "upload.directory", "warn") == ["open is open to every user of this machine (mode 755) | chmod o-rwx open"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """/proc takes no files, not even from root."""
    code, found = examined(tmp_path, ATTACHD_UPLOAD_DIRECTORY="/proc/self")
    assert code == 1
    assert of(found, "upload.directory", "fail")[0].startswith("/proc/self cannot be written: ")


@pytest.mark.parametrize(
    ("settings", "health", "text"),
    [
        pytest.param({"BASE_URL": "http://files.invalid"}, "warn", "for all to read", id="no-tls"),
        pytest.param({"BASE_URL": "https://files.invalid"}, "warn", "files.invalid has no address here", id="no-address"),
        pytest.param(
            {"BASE_URL": "http://localhost", "HOST": "0.0.0.0"}, "warn", "links lead to the reader's own", id="loopback"
        ),
        pytest.param({"BASE_URL": "https://192.0.2.1"}, "ok", "https://192.0.2.1", id="fine"),
    ],
)
def test_where_links_lead(tmp_path: Path, settings: dict[str, str], health: str, text: str) -> None:
    _, found = examined(tmp_path, **{f"ATTACHD_SERVER_{key}": value for key, value in settings.items()})
    assert any(text in one for one in of(found, "server.base_url", health))


def test_signing_keys(tmp_path: Path) -> None:
    secret = "s3cr3t" + "A" * 37 + "="
    _, found = examined(tmp_path, ATTACHD_SIGNING_KEYS=f"2026b:{secret},2026a:{'B' * 43}=")
    assert of(found, "signing.keys", "ok") == ["2 in the settings; 2026b signs | "]
    make_store(tmp_path)
    kid = run_attachd("signing", "rotate", folder=tmp_path).stdout.strip()
    _, found = examined(tmp_path)
    assert of(found, "signing.keys", "ok") == [f"1 in the database; {kid} signs | "]


def test_mail(tmp_path: Path) -> None:
    with MailServer(security="starttls", password="s3cr3t") as server:
        secure = {"SECURITY": "starttls", "CA_FILE": str(CERTIFICATE), "USERNAME": "a@example.com", "PORT": str(server.port)}
        settings = {**MAIL, **{f"ATTACHD_MAIL_{key}": value for key, value in secure.items()}}
        _, found = examined(tmp_path, **settings, ATTACHD_MAIL_PASSWORD="s3cr3t")
        assert of(found, "mail.host", "ok") == [f"127.0.0.1:{server.port} answers, and accepts who we are | "]
        code, found = examined(tmp_path, **settings, ATTACHD_MAIL_PASSWORD="wrong")
        assert code == 1
        assert "535" in of(found, "mail.host", "fail")[0]
        assert server.received == []
    code, found = examined(tmp_path, **MAIL, ATTACHD_MAIL_PORT="1")
    assert code == 1
    assert "127.0.0.1" in of(found, "mail.host", "fail")[0]


def test_redis_that_does_not_answer(tmp_path: Path) -> None:
    code, found = examined(tmp_path, ATTACHD_RATES_STORAGE_URL="redis://:s3cr3t@127.0.0.1:1/0")
    assert code == 1
    assert of(found, "rates.storage_url", "fail") == [
        "127.0.0.1 does not answer: what is counted is refused | start it, or name another"
    ]


def test_a_bucket(tmp_path: Path, s3: SharedS3) -> None:
    settings = s3.fresh_prefix()
    code, found = examined(tmp_path, **settings, ATTACHD_UPLOAD_S3_PUBLIC_ENDPOINT_URL=s3.url)
    assert code == 0
    texts = " ".join(of(found, "upload.s3_bucket", "ok"))
    names = ("PutObject", "GetObject", "DeleteObject", "UploadPart", "AbortMultipartUpload", "ListBucketMultipartUploads")
    assert [name for name in names if f"{name} works" not in texts] == []
    assert "direct uploads can be taken over" in texts
    assert of(found, "upload.s3_endpoint_url", "ok")[0].startswith("the clock of this machine and the store's differ by ")
    assert of(found, "upload.s3_public_endpoint_url", "ok") == [f"{s3.url} answers | "]
    bucket = settings["ATTACHD_UPLOAD_S3_BUCKET"]
    prefix = settings["ATTACHD_UPLOAD_S3_PREFIX"]
    assert s3.client().list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 0
    assert s3.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", []) == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"BUCKET": "nowhere"}, 'there is no bucket "nowhere"', id="bucket"),
        pytest.param({"ACCESS_KEY": "nobody"}, "does not accept these credentials", id="key"),
        pytest.param({"SECRET_KEY": "s3cr3t"}, "does not accept these credentials", id="secret"),
        pytest.param({"ENDPOINT_URL": "http://127.0.0.1:1"}, "cannot be reached", id="endpoint"),
    ],
)
def test_a_bucket_that_cannot_be_used(tmp_path: Path, s3: SharedS3, settings: dict[str, str], text: str) -> None:
    environ = s3.fresh_prefix() | {f"ATTACHD_UPLOAD_S3_{key}": value for key, value in settings.items()}
    code, found = examined(tmp_path, **environ)
    assert code == 1
    assert text in of(found, "upload.s3_bucket", "fail")[0]
    assert ACCESS_KEY not in str(found)


def test_where_clients_are_sent_that_cannot_be_reached(tmp_path: Path, s3: SharedS3) -> None:
    code, found = examined(tmp_path, **s3.fresh_prefix(), ATTACHD_UPLOAD_S3_PUBLIC_ENDPOINT_URL="http://127.0.0.1:1")
    assert code == 0
    assert of(found, "upload.s3_public_endpoint_url", "warn")[0].startswith("http://127.0.0.1:1 cannot be reached from here: ")


def test_pages_that_may_send_files_to_the_bucket(tmp_path: Path, s3: SharedS3) -> None:
    settings = s3.fresh_prefix() | {"ATTACHD_UPLOAD_S3_BUCKET": (bucket := f"pages-{secrets.token_hex(4)}")}
    s3.client().create_bucket(Bucket=bucket)
    rule: Any = {"AllowedOrigins": ["https://app.example.com"], "AllowedMethods": ["POST", "PUT"], "AllowedHeaders": ["*"]}
    s3.client().put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    origins = "https://app.example.com,https://other.example.com"
    _, found = examined(tmp_path, **settings, ATTACHD_SERVER_ALLOWED_ORIGINS=origins)
    assert "pages of https://app.example.com may send files to it | " in of(found, "upload.s3_bucket", "ok")
    (told,) = [text for text in of(found, "upload.s3_bucket", "warn") if "CORS" in text]
    assert told.startswith("pages of https://other.example.com cannot send files to it themselves: ")


def test_both_places_while_bytes_are_moved(tmp_path: Path, s3: SharedS3) -> None:
    _, found = examined(tmp_path, **s3.fresh_prefix(), ATTACHD_UPLOAD_FALLBACK="local")
    assert {"upload.s3_bucket", "upload.directory"} <= {one.check for one in found}


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresqlServer]:
    with PostgresqlServer(durable=True) as server:
        yield server


def test_postgresql(tmp_path: Path, durable: PostgresqlServer) -> None:
    settings = {"ATTACHD_DATABASE_URL": durable.create_database("healthy")}
    code, found = examined(tmp_path, **settings)
    assert (code, of(found, "database.url", "fail")) == (1, ["there is no schema yet | attachd migrate"])
    run_attachd("migrate", folder=tmp_path, **settings)
    code, found = examined(tmp_path, **settings)
    assert (code, [one for one in found if one.check.startswith("database.") and one.health != "ok"]) == (0, [])
    assert any("the clock of this machine and PostgreSQL's differ by" in one for one in of(found, "database.url", "ok"))
    code, found = examined(tmp_path, **settings, ATTACHD_SERVER_WORKERS="200")
    assert code == 1
    assert "raise max_connections" in of(found, "database.connections", "fail")[0]


def test_postgresql_that_promises_nothing(tmp_path: Path, postgresql: SharedPostgresql) -> None:
    code, found = examined(tmp_path, ATTACHD_DATABASE_URL=postgresql.fresh_database())
    assert code == 1
    assert "fsync is off: what was acknowledged is lost when its machine fails" in of(found, "database.url", "fail")[0]


def test_postgresql_that_cannot_be_reached(tmp_path: Path, durable: PostgresqlServer) -> None:
    url = durable.create_database("guarded")
    for broken, text in (
        (url.replace(f":{durable.port}", ":1"), "refused"),
        ("postgresql://attachd:s3cr3t@127.0.0.1:" + url.rpartition(":")[2], "password"),
        (url.replace("guarded", "nowhere"), "nowhere"),
    ):
        code, found = examined(tmp_path, ATTACHD_DATABASE_URL=broken)
        assert code == 1
        assert text in of(found, "database.url", "fail")[0]
        assert {"upload.directory", "memory"} <= {one.check for one in found}, "the others are looked at all the same"


def test_what_never_answers_is_given_up(tmp_path: Path) -> None:
    """A server that takes connections and is silent: database, bucket and mail, side by side."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {
            **MAIL,
            "ATTACHD_MAIL_PORT": str(port),
            "ATTACHD_MAIL_TIMEOUT_SECONDS": "1",
            "ATTACHD_DATABASE_URL": f"postgresql://u:s3cr3t@127.0.0.1:{port}/x",
            "ATTACHD_DATABASE_CONNECT_TIMEOUT_SECONDS": "1",
            "ATTACHD_UPLOAD_BACKEND": "s3",
            "ATTACHD_UPLOAD_S3_BUCKET": "files",
            "ATTACHD_UPLOAD_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "ATTACHD_UPLOAD_S3_ACCESS_KEY": "x",
            "ATTACHD_UPLOAD_S3_SECRET_KEY": "s3cr3t",
            "ATTACHD_UPLOAD_S3_READ_TIMEOUT_SECONDS": "1",
        }
        code, found = examined(tmp_path, **settings)  # which has a limit of its own
    assert code == 1
    assert unhealthy(found) == {"database.url": "fail", "upload.s3_bucket": "fail", "mail.host": "fail"}


def test_few_descriptors(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 200 && exec {sys.executable} -m server doctor --json"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = [Diagnosis(**json.loads(line)) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert of(found, "open files", "fail")[0].startswith("a process may open 200, ")


@pytest.mark.parametrize(
    ("skew_s", "health"), [(0.1, "ok"), (-4, "ok"), (6, "warn"), (-59, "warn"), (61, "fail"), (-1e6, "fail")]
)
def test_clocks(skew_s: float, health: str) -> None:
    assert clock("database.url", skew_s, "PostgreSQL's").health == health


@pytest.mark.parametrize(("free", "health"), [(2**39, "ok"), (2**40 * 0.04, "warn"), (2**40 * 0.009, "fail"), (0, "fail")])
def test_room(free: float, health: str) -> None:
    found = space("upload.directory", free, 2**40, "bytes", 2**30)
    assert (found.health, bool(found.mend)) == (health, health != "ok")


def test_what_kind_of_file_system_it_is(tmp_path: Path) -> None:
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path) not in ("", "proc")
    assert is_remote("nfs4")
    assert not is_remote("ext4")
    assert os.path.ismount("/proc")
