"""compose.yaml and the Containerfile, read as the programs read them for whom they are."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]  # its stubs are one more package, for one call

from tests.running import ROOT

_VARIABLE = re.compile(r"\$\{(\w+)(?::(-|\?)([^}]*))?\}")


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """The value with its variables put in (Compose specification, interpolation). Raises KeyError for one that is asked for."""
    if isinstance(value, dict):
        return {name: interpolated(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        return variables.get(name) or text if kind == "-" else variables[name]

    return _VARIABLE.sub(put, value)


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file, with those variables."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    read: dict[str, Any] = interpolated(yaml.safe_load(text), variables)
    return read


class Instruction(NamedTuple):
    """One of a Containerfile: its name, and what follows."""

    name: str
    text: str


def containerfile() -> list[Instruction]:
    """The instructions, comments left out and lines put together."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def last_stage() -> list[Instruction]:
    """Those of the image that is made."""
    found = containerfile()
    begin = max(number for number, instruction in enumerate(found) if instruction.name == "FROM")
    return found[begin:]


def environment_of_image() -> dict[str, str]:
    """What its ENV sets."""
    pairs = [pair for name, text in last_stage() if name == "ENV" for pair in shlex.split(text)]
    return dict(pair.split("=", 1) for pair in pairs)


def health_check() -> list[str]:
    """The command of its HEALTHCHECK."""
    (text,) = [text for name, text in last_stage() if name == "HEALTHCHECK"]
    command: list[str] = json.loads(text.split("CMD", 1)[1])
    return command
