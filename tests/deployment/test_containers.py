"""The Containerfile and compose.yaml, as far as they can be tried without an engine that runs containers.

The parts of compose.yaml are run as processes of this machine, with its commands and its variables: PostgreSQL, SeaweedFS, the
migration, attachd. Only addresses and folders are others.
"""

import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from server.setting_types import setting_keys
from server.settings import Settings, load_settings
from tests.deployment.composed import compose, containerfile, environment_of_image, health_check, last_stage
from tests.engines.ports import free_port
from tests.engines.postgresql import SharedPostgresql
from tests.engines.seaweedfs import WEED
from tests.rest.live import eventually
from tests.running import ROOT, Attachd, run_attachd

pytestmark = pytest.mark.only_on("sqlite", "local", reason="it starts what compose.yaml names, whatever the run is for")
SECRETS = {"POSTGRES_PASSWORD": "db-word", "S3_SECRET_KEY": "s3-word", "ATTACHD_METRICS_TOKEN": "metrics-word"}
START_TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    """compose.yaml with secrets."""
    return compose(SECRETS)


def settings_of(service: dict[str, Any]) -> Settings:
    """The settings of a service, checked: the image's variables, and its own over them."""
    return load_settings(None, {**environment_of_image(), **service["environment"]})


def test_attachd_takes_its_settings(composed: dict[str, Any]) -> None:
    for name in ("attachd", "migrate"):
        settings = settings_of(composed["services"][name])
        assert settings.server.base_url == "http://localhost:8080"
        assert settings.database.url == "postgresql://attachd:db-word@database:5432/attachd"
        assert (settings.upload.backend, settings.upload.s3_endpoint_url) == ("s3", "http://store:8333")
        assert settings.metrics.token == "metrics-word"
    known = {key.variable for key in setting_keys()}
    assert {name for name in environment_of_image() if name.startswith("ATTACHD_")} <= known


def test_no_secret_is_written_down_and_each_is_asked_for(composed: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(SECRETS)
    for name in SECRETS:
        with pytest.raises(KeyError, match=name):
            compose({other: value for other, value in SECRETS.items() if other != name})
        assert name in text.split("\nname:", 1)[0], "it is explained at the top"
    own = compose({name: f"<{name}>" for name in SECRETS})["services"]["attachd"]["environment"]
    secrets = {key.variable for key in setting_keys() if key.is_secret} - {"ATTACHD_UPLOAD_S3_ACCESS_KEY"}  # a name
    assert all("<" in value for name, value in own.items() if name in secrets)


def test_the_commands_of_operations_are_for_services_that_there_are(composed: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = re.findall(r"docker compose (?:run --rm|exec -T) (\w+) (\w+)", text)
    assert named == [("attachd", "session"), ("attachd", "sweep"), ("database", "pg_dump")]
    assert {service for service, _ in named} <= composed["services"].keys()
    database = composed["services"]["database"]["environment"]
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == ("attachd", "attachd")


def test_services_wait_for_what_they_need_and_fit_each_other(composed: dict[str, Any]) -> None:
    services = composed["services"]
    assert services["attachd"]["depends_on"] == {
        "database": {"condition": "service_healthy"},
        "store": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }
    for service in services.values():
        waited = {name for name, how in service.get("depends_on", {}).items() if how["condition"] == "service_healthy"}
        assert all("healthcheck" in services[name] for name in waited)
        assert set(service["networks"]) <= {*composed["networks"], "default"}
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in composed["volumes"]
    assert composed["networks"]["inside"]["internal"]
    assert [name for name, service in services.items() if "ports" in service] == ["attachd"]
    database, store = services["database"]["environment"], services["store"]["environment"]
    url = urlsplit(settings_of(services["attachd"]).database.url)
    assert (url.username, url.password) == (database["POSTGRES_USER"], database["POSTGRES_PASSWORD"])
    upload = settings_of(services["attachd"]).upload
    assert (upload.s3_access_key, upload.s3_secret_key) == (store["AWS_ACCESS_KEY_ID"], store["AWS_SECRET_ACCESS_KEY"])
    grace = int(services["attachd"]["stop_grace_period"].removesuffix("s"))
    assert grace > settings_of(services["attachd"]).server.shutdown_grace_seconds


def test_the_image_runs_without_rights_and_writes_where_it_may(composed: dict[str, Any]) -> None:
    stage = last_stage()
    (user,) = [text for name, text in stage if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "by number: `runAsNonRoot` cannot look names up"
    (folder,) = [text for name, text in stage if name == "WORKDIR"]
    assert f'["{folder}"]' in [text for name, text in stage if name == "VOLUME"]
    for name in ("attachd", "migrate"):
        service = composed["services"][name]
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 (the container's own)
        assert service["cap_drop"] == ["ALL"]
    assert composed["services"]["attachd"]["volumes"] == [f"attachd:{folder}"]
    assert settings_of(composed["services"]["attachd"]).upload.s3_spool_directory == folder, "the other is memory"
    port = environment_of_image()["ATTACHD_SERVER_PORT"]
    assert [text for name, text in stage if name == "EXPOSE"] == [port]
    assert composed["services"]["attachd"]["ports"] == [f"8080:{port}"]


def test_the_image_has_all_rooms_at_pinned_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = [text.split()[:-1] for name, text in containerfile() if name == "COPY" and "--from" not in text]
    sources = {source for line in copied for source in line}
    rooms = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert rooms < sources
    assert all((ROOT / source).exists() for source in sources)
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources
    assert (ROOT / ".dockerignore").read_bytes() == (ROOT / ".containerignore").read_bytes()
    installs = [text for name, text in containerfile() if name == "RUN" and "pip install" in text]
    assert all("--requirement requirements.lock" in text or "--constraint requirements-dev.lock" in text for text in installs)
    (extras,) = [text.split("=")[1].split(",") for name, text in containerfile() if name == "ARG" and "EXTRAS=" in text]
    pinned = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    for extra in extras:
        for requirement in project["project"]["optional-dependencies"][extra]:
            package = re.split(r"[\[>=]", requirement)[0]
            assert f"\n{package}==" in pinned, requirement


def test_the_health_check_tells_whether_it_answers(tmp_path: Path) -> None:
    command = [sys.executable, *health_check()[1:]]

    def run(port: str) -> int:
        environment = {"ATTACHD_SERVER_PORT": port}
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120).returncode

    with Attachd(tmp_path, credentials=False) as server:
        port = server.base_url.rsplit(":", 1)[1]
        assert eventually(lambda: run(port) == 0)  # it waits for some seconds only, and the machine may stall for longer
    assert run(str(free_port())) == 1


@pytest.fixture
def store(composed: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """The endpoint of the store, run by the command of compose.yaml; once it is healthy by its own check."""
    service = composed["services"]["store"]
    replaced = {"-dir=/data": f"-dir={tmp_path}/store", "-ip=store": "-ip=127.0.0.1", "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1"}
    port = free_port()
    replaced["-s3.port=8333"] = f"-s3.port={port}"
    assert replaced.keys() <= set(service["command"])
    (tmp_path / "store").mkdir()
    others = [f"-{part}.port={free_port()}" for part in ("master", "volume", "filer")]
    # Those that it would make of the ports above by adding 10,000.
    others += [f"-{part}.port.grpc={free_port()}" for part in ("master", "volume", "filer", "s3")]
    others += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (tmp_path / "store.log").open("wb") as log:
        process = subprocess.Popen(
            [WEED, *(replaced.get(word, word) for word in service["command"]), *others],
            env=service["environment"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    check = service["healthcheck"]["test"][1].rsplit(" ", 1)[1].replace("8333", str(port))
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(check):
            assert process.poll() is None, (tmp_path / "store.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (tmp_path / "store.log").read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


class Composed(Attachd):
    """attachd with the settings of compose.yaml alone."""

    _is_backed = False


def test_what_is_composed_works(composed: dict[str, Any], postgresql: SharedPostgresql, store: str, tmp_path: Path) -> None:
    port = free_port()
    service = compose({**SECRETS, "ATTACHD_BASE_URL": f"http://127.0.0.1:{port}"})["services"]["attachd"]
    settings = {
        **service["environment"],
        "ATTACHD_DATABASE_URL": postgresql.empty_database(),
        "ATTACHD_UPLOAD_S3_ENDPOINT_URL": store,
        "ATTACHD_UPLOAD_S3_SPOOL_DIRECTORY": str(tmp_path),
        "ATTACHD_SERVER_PORT": str(port),
    }
    (tmp_path / "run").mkdir()
    early = run_attachd("serve", folder=tmp_path / "run", **settings)
    assert early.returncode == 1
    assert "attachd migrate" in early.stderr, "it does not serve before the migration"
    migrated = run_attachd(*composed["services"]["migrate"]["command"], folder=tmp_path / "run", **settings)
    assert migrated.returncode == 0, migrated.stderr
    with Composed(tmp_path / "run", **settings) as server:
        with server.client() as client:
            uploaded = client.post("/api/upload", files={"file": ("a.txt", b"hello")})
            assert uploaded.status_code == 200, uploaded.text
            path = uploaded.json()["url"]
            downloaded = client.get(path)
            assert (downloaded.status_code, downloaded.content) == (200, b"hello"), "through attachd, not by a redirect"
        token = {"authorization": f"Bearer {service['environment']['ATTACHD_METRICS_TOKEN']}"}
        metrics = httpx.get(f"{server.base_url}/metrics", headers=token, timeout=60)
        assert 'attachd_build_info{database="postgresql"' in metrics.text
        assert list((tmp_path / "run").iterdir()) == [server.log], "nothing is written beside the log, which is no file there"
    log = server.log.read_text()
    assert not [secret for secret in SECRETS.values() if secret in log]
