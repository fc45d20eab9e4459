"""Migrations: the newest file is the one that is asked for, and many may migrate at once."""

import subprocess
import sys
from pathlib import Path

from storage import migrate, schema_is_current
from storage.catalog import schema

VERSIONS = Path(schema.__file__).with_name("migrations") / "versions"


def test_head_is_the_newest_migration() -> None:
    assert max(path.name for path in VERSIONS.glob("*.py")).startswith(f"{schema.HEAD}_")


def test_migrating_creates_and_then_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/er/a.db"
    assert not schema_is_current(url)
    migrate(url)
    assert schema_is_current(url)
    migrate(url)
    assert schema_is_current(url)


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    code = f"from storage import migrate; migrate({url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert schema_is_current(url)


def test_serving_needs_neither_alembic_nor_sqlalchemy() -> None:
    code = "import sys, storage; assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
