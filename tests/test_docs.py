"""The documentation: complete, and what it tells to type works."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

import click
import pytest
from starlette.routing import Route

from procedures import app_router
from rest import INTAKE_HEADERS
from rest import OPERATIONS as ROUTES
from schemas import Code, Reason
from server.app import App
from server.cli import main
from server.migration import ensure_schema
from server.protocol import MAX_HEAD_BYTES
from server.settings import SettingKey, SettingsError, load_settings, setting_keys
from storage import API_A
from tests.conformance.node import node_command, node_environment, npm_install
from tests.engines.ports import free_port
from tests.running import ROOT, Attachd, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def section(title: str) -> str:
    """The text below a heading of the README."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in `text`, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = [number for number, line in enumerate(text.splitlines()) if line.startswith("|---")]
    assert heads, "no table"
    first = {text.splitlines()[number - 1] for number in heads}
    return [row for row, line in zip(cells, lines, strict=True) if line not in first]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def type_name(key: SettingKey) -> str:
    names = {bool: "boolean", int: "integer", float: "number", tuple: "list"}
    return names.get(type(key.default), "string")


def default_text(key: SettingKey) -> str:
    if isinstance(key.default, Path):
        return json.dumps(f"./{key.default}")
    if isinstance(key.default, float):
        return f"{key.default:g}"
    return json.dumps(key.default)


def test_every_setting_is_in_the_table() -> None:
    table = rows(section("Settings"))
    assert table == [[f"`{key.name}`", type_name(key), f"`{default_text(key)}`", key.doc] for key in setting_keys()]


def test_every_procedure_is_in_the_table() -> None:
    procedures = {f"`{procedure.path}`": procedure for procedure in app_router().freeze()}
    table = {row[0]: row for row in rows(section("Procedures"))}
    assert {path: row[1] for path, row in table.items()} == {path: procedure.kind for path, procedure in procedures.items()}
    for path, row in table.items():
        declared = {error.name for error in procedures[path].errors} - {"UNAUTHORIZED"}  # said once, below the table
        assert set(re.findall(r"[A-Z_]{3,}", row[4])) == declared, f"{path}: declare with @raises what the table says"


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    documented = set(re.findall(r"(/[^\s`]*)`", " ".join(row[0] for row in rows(section("Routes")))))
    served = set(asyncio.run(served_routes(tmp_path)))
    assert documented == {"/api/trpc/{procedure}", *served}
    assert {operation.path for operation in ROUTES} == served, "describe the route in rest/documented.py"


async def served_routes(folder: Path) -> list[str]:
    """The paths of the routes of a started application."""
    settings = load_settings(None, {}, {"database.url": f"sqlite:///{folder}/x.db", "upload.directory": str(folder / "blobs")})
    await ensure_schema(settings.database.url)
    app, messages, started = App(settings, ()), asyncio.Queue[dict[str, Any]](), asyncio.Event()

    async def send(message: Any) -> None:
        started.set()

    task = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
    await messages.put({"type": "lifespan.startup"})
    await asyncio.wait({task, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task.exception()
    routes = [route.path for route in app._rest.routes if isinstance(route, Route)]  # type: ignore[attr-defined]  # noqa: SLF001
    await messages.put({"type": "lifespan.shutdown"})
    await task
    return routes


def test_every_error_is_in_the_table_with_its_number_and_status() -> None:
    names = set()
    for name, number, status, when in rows(section("Errors")):
        names.add(name.strip("`"))
        assert when
        if name == "`RANGE_NOT_SATISFIABLE`":  # HTTP's alone
            assert (number, status) == ("", "416")
            continue
        code = Reason(name.strip("`")).code if name.strip("`") in Reason.__members__ else Code[name.strip("`")]
        assert (int(number), int(status)) == (code.number, code.http_status)
    raised = {
        match
        for room in ("storage", "procedures", "rest", "server")
        for path in (ROOT / room).rglob("*.py")
        for match in re.findall(r"\bCode\.([A-Z_]+)", path.read_text(encoding="utf-8"))
    }
    # Of streams and of a client that went away: neither is an answer that a caller of today can read.
    assert raised - names <= {"PARSE_ERROR", "CLIENT_CLOSED_REQUEST"}


def test_every_type_and_limit_is_in_the_table() -> None:
    text = section("Limits")
    for extension in API_A.types:
        assert re.search(rf"\b{extension}\b", text, re.IGNORECASE), extension
    assert f"{MAX_HEAD_BYTES // 1024} KiB" in text


def commands(group: click.Group, prefix: str = "attachd") -> list[tuple[str, click.Command]]:
    found, context = [], click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = f"{prefix} {name}"
        found += commands(command, path) if isinstance(command, click.Group) else [(path, command)]
    return found


@pytest.mark.parametrize(("path", "command"), commands(main), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_in_a_table(path: str, command: click.Command) -> None:
    documented = " ".join(
        row[0] for title in ("Credentials", "TypeScript", "Durability", "Serving", "Messages") for row in rows(section(title))
    )
    forms = [form for form in re.findall(r"`([^`]*)`", documented) if f"{form} ".startswith(f"{path} ")]
    assert forms, path
    for option in command.params:
        if isinstance(option, click.Option) and "--config" not in option.opts:
            assert any(option.opts[0] in form for form in forms), option.opts[0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists() or target == "docs/performance.md", target


def test_every_parameter_of_a_postgresql_url_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"ATTACHD_DATABASE_URL": "postgresql://db/attachd?channel_binding=require"})
    taken = str(caught.value).split(" may be ", 1)[1].split(", ")
    text = OPERATIONS.split("\n## PostgreSQL\n", 1)[1].split("\n## ", 1)[0]
    (named,) = re.findall(r"Behind the `\?` may stand (.*?), as libpq", text, re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", named)) == taken


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z]+):.*## \w", text, re.MULTILINE))
    for target in re.findall(r"`make ([a-z]+)`", README):
        assert target in targets


def test_the_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "server", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"attachd {project['version']}\n"


def shell(script: str, folder: Path) -> str:
    """What the script prints, run by bash with our command first in PATH; what it started is stopped."""
    script = f"trap 'jobs -p | xargs -r kill; wait' EXIT\nset -e\n{script}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**environment(), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_ten_lines_run(tmp_path: Path) -> None:
    (script,) = blocks(section("Ten lines"), "sh")
    ready, uploaded, listed = re.findall(r"\{.*?\}(?=\{|$)", shell(script.replace("8090", str(free_port())), tmp_path))
    assert json.loads(ready) == {"status": "ok"}
    upload = json.loads(uploaded)
    assert (upload["filename"], upload["size"]) == ("note.txt", 6)
    assert [item["id"] for item in json.loads(listed)["result"]["data"]["json"]] == [upload["id"]]


def test_the_javascript_runs(attachd: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Ten lines"), "js")
    conversation = str(uuid.uuid4())
    with attachd.client() as client:
        client.post("/api/upload", files={"file": ("note.txt", b"hello")}, data={"conversationId": conversation})
    assert javascript(script, attachd, tmp_path, conversationId=conversation) == "[ 'note.txt' ]\n"


def test_the_javascript_that_uploads_runs(attachd: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Files as input"), "js")
    assert javascript(script, attachd, tmp_path) == "Grüße.txt 5\n"


def test_the_curl_line_that_uploads_runs(attachd: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Files as input"), "sh")
    (tmp_path / "note.txt").write_bytes(b"hello\n")
    answer = shell(f"base={attachd.base_url} token={attachd.tokens['member']}\n{script}", tmp_path)
    attachment = json.loads(answer)["result"]["data"]["json"]
    assert (attachment["filename"], attachment["size"]) == ("note.txt", 6)


def test_the_curl_line_that_sends_a_message_runs(attachd: Attachd, tmp_path: Path) -> None:
    (script,) = blocks(section("Messages"), "sh")
    values = f"base={attachd.base_url} token={attachd.tokens['member']} conversation={uuid.uuid4()} image={uuid.uuid4()}"
    assert json.loads(shell(f"{values}\n{script}", tmp_path))["data"]["to"] == ["Ada <ada@example.com>"]


def test_every_header_of_a_file_is_in_the_table() -> None:
    documented = set(re.findall(r"`([a-z-]+)`", " ".join(row[0] for row in rows(section("Files as input")))))
    assert documented == {name.decode() for name in INTAKE_HEADERS - {b"content-type", b"content-encoding"}}


def javascript(script: str, attachd: Attachd, tmp_path: Path, **values: str) -> str:
    """What the script prints, run by Node beside the stock client, as a member."""
    clients = npm_install(ROOT / "tests" / "conformance" / "clients")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "@trpc").symlink_to(clients / "v11" / "node_modules" / "@trpc")
    (tmp_path / "node_modules" / "superjson").symlink_to(clients / "node_modules" / "superjson")
    values = {"base": attachd.base_url, "token": attachd.tokens["member"], **values}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
    (tmp_path / "example.mjs").write_text(constants + script, encoding="utf-8")
    done = subprocess.run(
        [*node_command(), "example.mjs"], cwd=tmp_path, env=node_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_logs_example_is_a_request_line() -> None:
    (line,) = blocks(section("Log"), "json")
    assert json.loads(line)["route"] == "/api/upload"


@pytest.mark.only_on("sqlite", "local", reason="the page tells the commands of the embedded default")
def test_the_commands_of_operations_work(tmp_path: Path) -> None:
    """Those of docs/operations.md, on a server that runs; what they saved serves elsewhere."""
    config = tmp_path / "config.toml"
    config.write_text("")
    (backup,) = re.findall(r"bin/(attachd backup .*)", OPERATIONS)
    doctor, fsck, restore = blocks(OPERATIONS, "sh")
    serve = "attachd serve --config /etc/attachd/config.toml\n"
    assert serve in restore
    lines = f"{doctor}{fsck}{restore}".splitlines()
    assert all("--config" in line for line in lines if line.startswith("attachd "))

    def typed(script: str, folder: Path) -> str:
        script = script.replace("/etc/attachd/config.toml", str(config)).replace("/backup/attachd", f"{tmp_path}/backup")
        return shell(script, folder)

    with Attachd(tmp_path) as server, server.client() as client:
        url = client.post("/api/upload", files={"file": ("note.txt", b"hello")}).json()["url"]
        assert "FAIL" not in typed(doctor, tmp_path)
        assert typed(fsck, tmp_path).count(": all agree\n") == 2
        typed(backup, tmp_path)
    restored = tmp_path / "restored"
    restored.mkdir()
    assert ": all agree\n" in typed(restore.replace(serve, ""), restored)
    with Attachd(restored, credentials=False) as again:
        again.tokens = server.tokens
        with again.client() as client:
            assert client.get(url).content == b"hello"
        assert again.run("sweep", "--dry-run").splitlines()[0] == "would remove 0 unfinished (0 bytes)"
