"""The types as the compiler sees them: correct uses pass, and each wrong one fails for the reason that it is there for.

One run of `tsc` for all: strict, exact optional properties, and every declaration that is read is checked, those of others too.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conformance.node import node_command, node_environment
from tests.running import ROOT, run_attachd
from tests.typescript.package_built import PACKAGE, project

README = (PACKAGE / "README.md").read_text(encoding="utf-8")
HELPDESK = ROOT / "examples" / "helpdesk"
PLUGIN_USE = """\
import { createAttachdClient } from "attachd-client";
import type { AppRouter, Outputs } from "./router.js";
const client = createAttachdClient<AppRouter>({ url: "/api/trpc" });
export const tickets: Promise<Outputs["helpdesk"]["tickets"]> = client.helpdesk.tickets.query({ status: "open" });
export const files: Promise<string[]> = client.helpdesk.ticket.query({ id: "" }).then((one) => one.files.map(({ id }) => id));
export const changes = client.helpdesk.onChange.subscribe(undefined, { onData: ({ id, data }) => [id, data.ticket_id] });
export const ours: Promise<number> = client.attachments.usage.query().then(({ bytes }) => bytes);
"""
LEAST = 25  # of each, by the issue
_DIRECTIVE = re.compile(r"// @ts-expect-error (\d+): \S")
_ERROR = re.compile(r"^(.*)\((\d+),\d+\): error TS(\d+): (.*)$", re.MULTILINE)


class Failure(NamedTuple):
    """An error of the compiler."""

    file: str
    line: int
    code: str
    message: str


class Compiled(NamedTuple):
    """What `tsc` said; `bare` is the file of the wrong uses without the directives that expect their errors."""

    failures: list[Failure]
    bare: str


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """All uses, and the wrong ones once more without their directives, in one run."""
    folder = tmp_path_factory.mktemp("types")
    here = project()
    bare = folder / "bare.ts"
    lines = (here / "uses" / "wrong.ts").read_text(encoding="utf-8").splitlines()
    bare.write_text("\n".join("//" if _DIRECTIVE.match(line) else line for line in lines), encoding="utf-8")
    (example,) = re.findall(r"^```ts\n(import .*?)^```", README, re.MULTILINE | re.DOTALL)
    names = "declare const apiKey: string, conversationId: string, file: File;\n"
    (folder / "readme.ts").write_text(names + example, encoding="utf-8")
    done = run_attachd(
        "types", "--output", str(folder / "router.ts"), folder=HELPDESK, ATTACHD_SERVER_PLUGINS="helpdesk:router"
    )
    assert done.returncode == 0, done.stderr
    (folder / "plugin.ts").write_text(PLUGIN_USE, encoding="utf-8")
    (folder / "node_modules").symlink_to(here / "node_modules")
    (folder / "package.json").write_text('{ "type": "module" }')
    settings = json.loads((here / "tsconfig.json").read_text(encoding="utf-8"))
    settings["files"] = [
        str(bare),
        str(folder / "readme.ts"),
        str(folder / "plugin.ts"),
        *(str(here / file) for file in settings["files"]),
    ]
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [*node_command(), str(here / "node_modules" / "typescript" / "bin" / "tsc"), "--pretty", "false", "-p", str(folder)],
        cwd=folder,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    failures = [Failure(Path(file).name, int(line), code, text) for file, line, code, text in _ERROR.findall(done.stdout)]
    assert failures or done.returncode == 0, done.stdout + done.stderr
    return Compiled(failures, bare.name)


def lines_of(file: str) -> list[str]:
    return (project() / "uses" / file).read_text(encoding="utf-8").splitlines()


def statements_below(lines: list[str], comment: str) -> list[str]:
    """The lines right below the comments that begin like this."""
    return [lines[number + 1] for number, line in enumerate(lines) if line.startswith(comment)]


@pytest.mark.parametrize("file", ["correct.ts", "every_type.ts"])
def test_correct_uses_compile(compiled: Compiled, file: str) -> None:
    assert [failure for failure in compiled.failures if failure.file == file] == []
    uses = statements_below(lines_of(file), "// ok: ")
    assert len(uses) >= (LEAST if file == "correct.ts" else 20)
    assert [use for use in uses if not re.match(r"(export )?(const|async|function) ", use)] == []
    assert len(set(uses)) == len(uses)


def test_the_modules_themselves_compile(compiled: Compiled) -> None:
    """The golden module, that of the package, one with a plugin, the example of the README, and whatever these import."""
    assert [failure for failure in compiled.failures if failure.file != compiled.bare] == []


def test_each_wrong_use_fails_for_its_reason(compiled: Compiled) -> None:
    lines = lines_of("wrong.ts")
    expected = {number + 2: match[1] for number, line in enumerate(lines) if (match := _DIRECTIVE.match(line))}
    assert len(expected) == sum("@ts-expect-error" in line for line in lines)
    assert len(expected) >= LEAST
    failed = {failure.line: failure.code for failure in compiled.failures if failure.file == compiled.bare}
    assert failed == expected
    uses = statements_below(lines, "// @ts-expect-error")
    assert [use for use in uses if not use.endswith(";")] == [], "a statement is one line"
    assert len(set(uses)) == len(uses)


def test_every_option_is_in_the_readme() -> None:
    source = (PACKAGE / "src" / "client.ts").read_text(encoding="utf-8")
    options = source.split("export interface AttachdClientOptions {\n", 1)[1].split("\n}\n", 1)[0]
    names = re.findall(r"^  (\w+)\??: ", options, re.MULTILINE)
    cells = [row.split(" | ", 1)[0] for row in README.splitlines() if row.startswith("| `")]
    assert sorted(names) == sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))


def test_nothing_of_a_server_is_imported_at_run_time() -> None:
    modules = sorted((project() / "node_modules" / "attachd-client" / "dist").glob("*.js"))
    assert [module.name for module in modules] == ["client.js", "index.js", "router.js", "transport.js", "upload.js"]
    imported = {name for module in modules for name in re.findall(r'from "([^.][^"]*)"', module.read_text(encoding="utf-8"))}
    assert imported == {"@trpc/client", "superjson"}
