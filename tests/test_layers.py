"""The architecture: rooms import downwards only, third-party packages stay where they belong, imports do nothing.

Read from the syntax trees of the files, so that an import inside a function counts too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
# A room may import the rooms listed with it, and no others.
ROOMS = {
    "schemas": set(),
    "storage": {"schemas"},
    "procedures": {"schemas", "storage"},
    "rest": {"schemas", "storage"},
    "server": {"schemas", "storage", "procedures", "rest"},
}
# Third-party packages and modules with effects, and the paths below which alone they may be imported.
FENCES = {
    "starlette": ("rest/", "server/"),
    "uvicorn": ("server/",),
    "uvloop": ("server/",),
    "click": ("server/",),
    "limits": ("rest/rates.py",),
    "sqlite3": ("storage/catalog/",),
    "asyncpg": ("storage/catalog/postgresql/",),
    "sqlalchemy": ("storage/catalog/",),
    "alembic": ("storage/catalog/",),
    "boto3": ("storage/s3/",),
    "botocore": ("storage/s3/",),
    "aiosmtplib": ("server/mail/",),
    "tomllib": ("server/settings.py",),
    "prometheus_client": ("server/metrics/",),
    "opentelemetry": ("server/tracing/",),
}
# The pure cores: bytes and values in, bytes and values out (DESIGN, 1).
PURE = (
    *("server/trpc/", "server/typescript/", "server/openapi/", "storage/mail/"),
    *("rest/operations.py", "rest/multipart.py", "rest/ranges.py"),
)
IMPURE_MODULES = {"asyncio", "anyio", "time", "os", "socket", "threading", "random", "secrets"}
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|BEGIN|PRAGMA)\s", re.ASCII)


class Source(NamedTuple):
    """A file of a room and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.path.split("/", 1)[0]

    def imports(self) -> Iterator[str]:
        """Every imported module, dotted; of `from a import b` both `a` and `a.b`, since `b` may be a module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}: relative import"
                assert node.module is not None
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


SOURCES = [
    Source(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
]
MODULES = {
    source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for source in SOURCES
    # Alembic runs these; nobody imports them.
    if "/migrations/" not in source.path
}


def top(module: str) -> str:
    return module.split(".", 1)[0]


def test_there_are_sources() -> None:
    assert {source.room for source in SOURCES} == set(ROOMS)


def test_the_rooms_form_a_dag() -> None:
    order = list(TopologicalSorter(ROOMS).static_order())
    assert order[0] == "schemas"
    assert order[-1] == "server"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_a_room_imports_the_rooms_below_it_only(source: Source) -> None:
    imported = {top(module) for module in source.imports()} & set(ROOMS)
    assert imported <= ROOMS[source.room] | {source.room}


def test_schemas_import_msgspec_and_the_standard_library_only() -> None:
    imported = {top(module) for source in SOURCES if source.room == "schemas" for module in source.imports()}
    assert imported <= {"schemas", "msgspec"} | sys.stdlib_module_names


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_third_party_packages_stay_behind_their_fences(source: Source) -> None:
    for module in source.imports():
        allowed = FENCES.get(top(module))
        assert allowed is None or source.path.startswith(allowed), f"{source.path} imports {module}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_the_environment_is_read_in_the_settings_only(source: Source) -> None:
    if source.path == "server/settings.py":
        return
    for node in ast.walk(source.tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert name not in {"environ", "environb", "getenv"}, f"{source.path}:{getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_sql_is_written_in_the_catalog_only(source: Source) -> None:
    if source.path.startswith("storage/catalog/"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not SQL.match(node.value), f"{source.path}:{node.lineno}: {node.value!r}"


@pytest.mark.parametrize(
    "source", [source for source in SOURCES if source.path.startswith(PURE)], ids=lambda source: source.path
)
def test_the_pure_cores_do_not_wait_and_do_no_io(source: Source) -> None:
    assert not {top(module) for module in source.imports()} & IMPURE_MODULES
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(source.tree) if isinstance(node, waiting)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path)
def test_a_module_is_short_and_says_what_it_keeps(source: Source) -> None:
    lines = (ROOT / source.path).read_text(encoding="utf-8").count("\n")
    assert lines <= 300, "STYLE 22: 300 lines is the wall"
    assert "/migrations/" in source.path or ast.get_docstring(source.tree), "a module opens with what it keeps (STYLE 34)"


IMPORT_EACH = """
import importlib
import sys

import urllib3  # which boto3 imports, and which tries at once if there is IPv6

EFFECTS = ("socket.", "subprocess.", "sqlite3.", "os.mkdir", "os.remove", "os.rename", "os.fork", "os.system")
effects = []

def watch(event, args):
    # Importing reads files.
    writes = event == "open" and isinstance(args[1], str) and not set(args[1]).isdisjoint("wax+")
    if writes or event.startswith(EFFECTS):
        effects.append((event, repr(args)))

sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not effects, (name, effects)
"""


def test_importing_any_module_does_no_io(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_EACH, *sorted(MODULES)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_serving_imports_nothing_heavy() -> None:
    """They take 5 to 25 MB each that an idle server on a folder does not have (docs/decisions/0012, 0028, 0031)."""
    heavy = "{'alembic', 'sqlalchemy', 'boto3', 'botocore', 'opentelemetry'}"
    check = f"import sys, server.cli, server.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
