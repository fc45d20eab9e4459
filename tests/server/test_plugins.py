"""Plugins: what is named is served beside attachd's own procedures, and what cannot be is one line."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.plugins import load_routers
from server.settings import SettingsError, load_settings
from tests.rest.live import eventually
from tests.running import ROOT, Attachd, environment, run_attachd

IMPORTS = "from procedures import Context, Router, procedure\n\nrouter = Router()\n"
HELLO = f'{IMPORTS}\n@router.query()\nasync def hello(ctx: Context) -> str:\n    """Greet."""\n    return "hello"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, in which plugins are written; what they import is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


def test_routers_are_loaded_in_order(folder: Path) -> None:
    write(folder, "pack/__init__.py", "")
    write(folder, "pack/one.py", HELLO)
    write(folder, "two_of_them.py", HELLO.replace("hello(", "bye(").replace("router", "other"))
    routers = load_routers(["pack.one:router", "two_of_them:other"])
    assert [list(router.declarations) for router in routers] == [["hello"], ["bye"]]
    assert load_routers([]) == []


def test_a_file_does_not_stand_for_an_installed_module(folder: Path) -> None:
    write(folder, "this.py", HELLO)
    write(folder, "calendar.py", HELLO)
    with pytest.raises(SettingsError, match=r"'calendar:router': calendar \(.*/calendar.py\) has no router") as caught:
        load_routers(["calendar:router"])
    assert str(folder) not in str(caught.value)


@pytest.mark.parametrize(
    ("plugin", "text", "error"),
    [
        pytest.param("plugin", "", 'write it as module and name of a router, such as "helpdesk.tickets:router"', id="no-name"),
        pytest.param("a b:router", "", "write it as module and name .*", id="no-module-name"),
        pytest.param(
            "missing.module:router",
            "",
            "there is no module missing; install it, start attachd in the folder that holds it "
            r"\(this is .*\), or put that folder into PYTHONPATH",
            id="no-module",
        ),
        pytest.param("pack.missing:router", "", r"there is no module pack\.missing; install it, .*", id="no-submodule"),
        pytest.param(
            "plugin:router",
            "import requirement_of_it",
            r"importing plugin fails: ModuleNotFoundError: No module named 'requirement_of_it' \(.*/plugin\.py, line 1\)",
            id="lacks-a-module",
        ),
        pytest.param(
            "plugin:router",
            "\n\n1 / 0",
            r"importing plugin fails: ZeroDivisionError: division by zero \(.*/plugin\.py, line 3\)",
            id="raises",
        ),
        pytest.param(
            "plugin:router", "import sys\nsys.exit('bye')", r"importing plugin fails: SystemExit: bye .*", id="leaves"
        ),
        pytest.param(
            "plugin:router", "def", r"importing plugin fails: SyntaxError: invalid syntax \(plugin\.py, line 1\)", id="syntax"
        ),
        pytest.param("plugin:rooter", HELLO, r"plugin \(.*/plugin\.py\) has no rooter; write plugin:router", id="no-router"),
        pytest.param("plugin:router", "", r"plugin \(.*\) has no router; name a procedures\.Router", id="no-routers"),
        pytest.param(
            "plugin:hello",
            HELLO,
            r"plugin \(.*\) has a function as hello, not a Router; write plugin:router",
            id="not-a-router",
        ),
        pytest.param("server:helpdesk", "", r"server \(.*\) has no helpdesk; name a procedures\.Router", id="a-room-of-ours"),
        pytest.param(
            "plugin:router",
            HELLO.replace("query()", "query(name='attachments.list')"),
            r"two procedures are declared at 'attachments\.list'; mend the router",
            id="declared-already",
        ),
        pytest.param(
            "plugin:router",
            HELLO.replace("query()", "query(name='attachments')"),
            r"'attachments' is both a procedure and the router of 'attachments\.list'; mend the router",
            id="hides-a-router",
        ),
        pytest.param(
            "plugin:router",
            HELLO.replace(" -> str", ""),
            "procedure 'hello' lacks the annotation of return; mend the router",
            id="not-frozen",
        ),
        pytest.param(
            "plugin:router",
            HELLO.replace(" -> str", " -> 'Nothing'"),
            "an annotation cannot be read: NameError: name 'Nothing' is not defined; mend the router",
            id="unknown-annotation",
        ),
        pytest.param(
            "plugin:router",
            HELLO.replace("hello(", "then("),
            r"importing plugin fails: TypeError: 'then' in 'then' cannot be a procedure's name.* \(.*\)",
            id="name",
        ),
    ],
)
def test_what_cannot_be_served_is_one_line(folder: Path, plugin: str, text: str, error: str) -> None:
    write(folder, "plugin.py", text)
    write(folder, "pack/__init__.py", "")
    with pytest.raises(SettingsError) as caught:
        load_routers([plugin])
    assert re.fullmatch(f"server.plugins: {plugin!r}: (?:{error})", str(caught.value)), str(caught.value)


def test_the_installed_command_looks_in_the_current_directory(tmp_path: Path) -> None:
    """`python -m server` finds what is there anyway; `attachd` and its workers must too."""
    write(tmp_path, "plugin.py", HELLO)
    command = Path(sys.executable).with_name("attachd")
    settings = environment(ATTACHD_SERVER_PLUGINS="plugin:router", PYTHONPATH="")
    done = subprocess.run([command, "openapi"], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "/api/trpc/hello" in json.loads(done.stdout)["paths"]


def test_the_same_plugin_twice(folder: Path) -> None:
    write(folder, "plugin.py", HELLO)
    with pytest.raises(SettingsError, match="two procedures are declared at 'hello'"):
        load_routers(["plugin:router", "plugin:router"])


def test_plugins_are_named_in_the_file_or_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "config.toml", '[server]\nplugins = ["a:b", "c:d"]')
    assert load_settings(tmp_path / "config.toml", {}).server.plugins == ("a:b", "c:d")
    environ = {"ATTACHD_SERVER_PLUGINS": "e:f, g:h"}
    assert load_settings(tmp_path / "config.toml", environ).server.plugins == ("e:f", "g:h")


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--dev",)], ids=" ".join)
def test_a_plugin_that_cannot_be_served_stops_the_start(tmp_path: Path, options: tuple[str, ...]) -> None:
    write(tmp_path, "plugin.py", "1 / 0")
    done = run_attachd("serve", *options, folder=tmp_path, ATTACHD_SERVER_PORT="0", ATTACHD_SERVER_PLUGINS="plugin:router")
    assert done.returncode == 2
    assert done.stderr == (
        "Error: server.plugins: 'plugin:router': importing plugin fails: "
        f"ZeroDivisionError: division by zero ({tmp_path / 'plugin.py'}, line 1)\n"
    )
    assert done.stdout == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_plugin_is_served_in_every_worker(tmp_path: Path, workers: str) -> None:
    write(tmp_path, "plugin.py", HELLO)
    with Attachd(tmp_path, "--workers", workers, credentials=False, ATTACHD_SERVER_PLUGINS="plugin:router") as server:
        for _ in range(10):  # a connection each
            reply = httpx.get(f"{server.base_url}/api/trpc/hello")
            assert (reply.status_code, reply.json()) == (200, {"result": {"data": {"json": "hello"}}})
        assert server.stop() == 0


def importers(folder: Path) -> set[int]:
    """The processes that imported the plugin of the next test."""
    return {int(path.name[4:]) for path in folder.glob("pid-*")}


def test_a_plugin_that_breaks_later_stops_the_server(tmp_path: Path) -> None:
    """A worker that is replaced imports anew; one that cannot must not be replaced for ever."""
    write(tmp_path, "plugin.py", f"{HELLO}\nimport os, pathlib\npathlib.Path(f'pid-{{os.getpid()}}').touch()")
    # uvicorn never closes the standard input of a worker, of which Python would warn between the lines of the log.
    settings = {"ATTACHD_SERVER_PLUGINS": "plugin:router", "PYTHONWARNINGS": ""}
    with Attachd(tmp_path, "--workers", "2", credentials=False, **settings) as server:
        assert eventually(lambda: len(importers(tmp_path)) == 3, 60)  # the supervisor and two workers
        write(tmp_path, "plugin.py", "1 / 0")
        os.kill((importers(tmp_path) - {server.process.pid}).pop(), signal.SIGKILL)
        assert server.process.wait(60) == 3
        errors = [str(line["traceback"]) for line in server.lines() if "traceback" in line]
        assert ["importing plugin fails: ZeroDivisionError" in error for error in errors] == [True]


def documented() -> tuple[str, str]:
    """The module and the command of docs/plugins.md."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    module = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    (command,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return module, command


def test_the_documented_plugin_runs(tmp_path: Path) -> None:
    module, command = documented()
    write(tmp_path, "notes.py", module)
    setting, *words = command.split()
    assert words == ["attachd", "serve", "--dev"]
    name, _, value = setting.partition("=")
    assert name == "ATTACHD_SERVER_PLUGINS"
    with Attachd(tmp_path, ATTACHD_SERVER_PLUGINS=value) as server, server.client() as client:
        conversation = "0191c2b0-0000-7000-8000-000000000003"
        for filename in ("note.txt", "other.txt"):
            client.post("/api/upload", files={"file": (filename, b"hello")}, data={"conversationId": conversation})
        query = {"input": json.dumps({"conversationId": conversation})}
        assert client.get("/api/trpc/notes.count", params=query).json() == {"result": {"data": {"json": 1}}}


def test_the_documented_error_is_what_is_said(folder: Path) -> None:
    module, _ = documented()
    write(folder, "notes.py", module)
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^Error: (server\.plugins.*)$", text, re.MULTILINE)
    with pytest.raises(SettingsError) as caught:
        load_routers(["notes:rooter"])
    assert str(caught.value).replace(str(folder), "/srv") == line
