"""The unit that docs/operations.md gives, as systemd reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server.settings import load_settings
from tests.deployment.proxies import example, replaced

pytestmark = pytest.mark.only_on("sqlite", "local", reason="about what starts the process, and not what is behind it")


def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    unit = tmp_path / "attachd.service"
    # It looks whether there is such a program.
    unit.write_text(replaced(example("ini"), {"/opt/attachd/.venv/bin/attachd": "/bin/true"}), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_the_unit_outlasts_its_database_and_the_requests_in_flight() -> None:
    values = dict(re.findall(r"^(\w+)=(.*)$", example("ini"), re.MULTILINE))
    assert values["StartLimitIntervalSec"] == "0", "else it stays down after some tries"
    assert values["RestartPreventExitStatus"] == "2", "the exit code of settings that cannot be used"
    assert int(values["TimeoutStopSec"]) > load_settings(None, {}).server.shutdown_grace_seconds
    assert values["User"] == "attachd", "a lasting one, that commands and cron can be"
