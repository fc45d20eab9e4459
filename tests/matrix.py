"""Which tests a run has, on the engines that it is for, and in which order.

On SQLite with the local disk, the default, every test runs. Any other combination has those that use a store, and leaves out
the others: they would do the same again. A test that is about one engine itself is marked `only_on`, with the reason.
"""

from collections.abc import Iterable

import pytest

from tests.engines.backing import DATABASE, DATABASES, STORAGE, STORAGES

# What has a store below it: a module that imports of these, for its tests or for a fixture.
_RUNNERS = frozenset(
    {
        "tests.conformance.differential.peers",
        "tests.conformance.launched",
        "tests.engines.backing",
        "tests.running",
        "tests.server.streaming",
    }
)
# What these run has the store that the settings of the test say, the same in every run.
_OWN = frozenset({"BareAttachd", "environment", "run_attachd"})
# Tests that choose their engines themselves, whatever the run is for.
_ONCE = ("tests/deployment/", "tests/engines/", "tests/faults/")
# The fixtures that every test has, and those of tests that are about an engine, whatever the run is for.
_BESIDE = frozenset({"engines", "_drop_backings", "postgresql", "s3"})
# Files whose tests take longest, these first: whichever comes last keeps a worker busy alone.
_SLOWEST_FIRST = (
    "tests/durability/",
    "tests/cluster/",
    "tests/faults/",
    "tests/server/test_serving.py",
    "tests/server/test_cli.py",
    "tests/server/test_commands_beside_a_server.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "only_on(*engines, reason): deselected unless each kind of engine that is named runs here (sqlite, local, …)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that this run is for."""
    _name_each(items)
    is_default = (DATABASES[0], STORAGES[0]) == (DATABASE, STORAGE)
    kept = [item for item in items if _fits(item) and (is_default or uses_store(item))]
    if len(kept) < len(items):
        chosen = set(kept)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = sorted(kept, key=_rank)


def uses_store(item: pytest.Item) -> bool:
    """Whether the test has a database or bytes below it: by what its module imports, or by a fixture."""
    if not isinstance(item, pytest.Function) or item.nodeid.startswith(_ONCE):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs  # noqa: SLF001 (pytest has no other way)
    definitions = [each for name, overriding in fixtures.items() if name not in _BESIDE for each in overriding]
    modules = [vars(item.module), *(definition.func.__globals__ for definition in definitions)]
    named = (item for module in modules for item in module.items())
    return any(getattr(value, "__module__", None) in _RUNNERS for name, value in named if name not in _OWN)


def _fits(item: pytest.Item) -> bool:
    for mark in item.iter_markers("only_on"):
        if not mark.kwargs.get("reason") or not set(mark.args) <= {*DATABASES, *STORAGES}:
            raise pytest.UsageError(f"{item.nodeid}: only_on takes names of engines, and a reason")
        if not set(mark.args) <= {DATABASE, STORAGE}:
            return False
    return True


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop that async tests run on: asyncio, which is what the server runs on."""
    return "asyncio"


def _name_each(items: Iterable[pytest.Item]) -> None:
    """Let each test have an id of its own: pytest-xdist knows tests by their ids, and would leave out a second one."""
    seen: set[str] = set()
    for item in items:
        if "[" in item.name and "[" not in item.nodeid:  # schemathesis (4.32) names its tests, but not their ids
            item._id = item.id.with_params(item.name.partition("[")[2].removesuffix("]"))  # noqa: SLF001 (pytest has no other way)
        if item.nodeid in seen:
            raise pytest.UsageError(f"two tests have the id {item.nodeid}")
        seen.add(item.nodeid)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, name in enumerate(_SLOWEST_FIRST) if item.nodeid.startswith(name)), len(_SLOWEST_FIRST))
