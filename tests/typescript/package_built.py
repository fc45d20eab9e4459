"""The npm package as a project gets it: built, and installed beside what it needs."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.conformance.node import find_program, node_environment, npm_install
from tests.running import ROOT

PACKAGE = ROOT / "clients" / "typescript"
PROJECT = ROOT / "tests" / "typescript"


@functools.cache
def project() -> Path:
    """The folder of these tests with its npm packages, and with `attachd-client` as `npm run build` makes it now.

    Several test runs may ask at once: one builds, the others wait.
    """
    npm_install(PACKAGE)
    npm_install(PROJECT)
    installed = PROJECT / "node_modules" / "attachd-client"
    stamp = installed / ".built"
    sources = [PACKAGE / "package-lock.json", PACKAGE / "package.json", PACKAGE / "tsconfig.json", *PACKAGE.glob("src/*")]
    digest = hashlib.sha256(b"".join(source.name.encode() + source.read_bytes() for source in sorted(sources))).hexdigest()
    descriptor = os.open(PACKAGE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            shutil.rmtree(installed, ignore_errors=True)
            _run_npm("run", "build", "--", "--outDir", str(installed / "dist"))
            shutil.copy(PACKAGE / "package.json", installed)
            stamp.write_text(digest)
    finally:
        os.close(descriptor)
    return PROJECT


def _run_npm(*arguments: str) -> None:
    done = subprocess.run(
        [find_program("npm"), *arguments], cwd=PACKAGE, env=node_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
