"""Where the values of the settings come from: the only module that reads the environment or TOML.

A value is the default, unless the TOML file names it, unless the variable `ATTACHD_<SECTION>_<KEY>` does, unless an
option of the command line does. Whatever is unknown, of the wrong type, out of range or impossible together stops the
start with one line that names the key and what to write instead; nothing is ignored and nothing is guessed.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from server.setting_rules import checked, origin_of
from server.setting_types import DEVELOPMENT, SettingKey, Settings, SettingsError, setting_keys

__all__ = [
    "CONFIG_VARIABLE",
    "SettingKey",
    "Settings",
    "SettingsError",
    "config_file",
    "load_settings",
    "setting_keys",
    "with_port",
]

CONFIG_VARIABLE = "ATTACHD_CONFIG"
ENVIRONMENT_PREFIX = "ATTACHD_"
# What Kubernetes tells each pod of a Service named `attachd` or `attachd-…` (service links), as Docker's links did.
SERVICE_LINK = re.compile(r"ATTACHD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)", re.ASCII)
_SERVICE_ADDRESSES = ("tcp://", "udp://", "sctp://")


def load_settings(
    config: Path | None = None, environ: Mapping[str, str] | None = None, options: Mapping[str, object] | None = None
) -> Settings:
    """The settings of the file, the environment and the command line, the last one first.

    `config` is the TOML file; without it the variable ATTACHD_CONFIG names one, or there is none. `environ` is the
    environment of the process unless given. `options` maps names such as `server.port` to values of their own type.
    Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    config = config_file(config, environ)
    keys = {key.name: key for key in setting_keys()}
    chosen: dict[str, dict[str, Any]] = {}
    for source in (_file_values(config, keys) if config else (), _environ_values(environ, keys)):
        for key, value in source:
            chosen.setdefault(key.section, {})[key.key] = value
    for name, value in (options or {}).items():
        key = DEVELOPMENT if name == DEVELOPMENT.name else keys[name]
        chosen.setdefault(key.section, {})[key.key] = _convert(key, value, name, strict=True)
    sections = {field.name: field.type(**chosen.get(field.name, {})) for field in msgspec.structs.fields(Settings)}
    return checked(Settings(**sections))


def config_file(config: Path | None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The TOML file: the one that is named, or else the one that ATTACHD_CONFIG names, if any."""
    environ = os.environ if environ is None else environ
    return Path(environ[CONFIG_VARIABLE]) if config is None and environ.get(CONFIG_VARIABLE) else config


def with_port(settings: Settings, port: int) -> Settings:
    """The settings of a server that asked for any free port and got `port`."""
    server = settings.server
    base_url = origin_of(server.host, port) if server.base_url == origin_of(server.host, server.port) else server.base_url
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(server, port=port, base_url=base_url))


def _file_values(path: Path, keys: Mapping[str, SettingKey]) -> Iterator[tuple[SettingKey, Any]]:
    try:
        with path.open("rb") as file:
            sections = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    for section, values in sections.items():
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {section} stands outside a section; write it below one, such as [server]")
        for key, value in values.items():
            name = f"{section}.{key}"
            if name not in keys:
                raise SettingsError(f"{path}: unknown setting {name}{_meant(name, keys)}")
            yield keys[name], _convert(keys[name], value, f"{path}: {name}", strict=True)


def _environ_values(environ: Mapping[str, str], keys: Mapping[str, SettingKey]) -> Iterator[tuple[SettingKey, Any]]:
    variables = {key.variable: key for key in keys.values()}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE or _is_service_link(variable, text):
            continue
        if variable not in variables:
            raise SettingsError(f"unknown environment variable {variable}{_meant(variable, [*variables, CONFIG_VARIABLE])}")
        key = variables[variable]
        value = [item.strip() for item in text.split(",") if item.strip()] if _is_list(key) else text
        yield key, _convert(key, value, variable, strict=False)


def _is_service_link(variable: str, text: str) -> bool:
    # ATTACHD_SERVER_PORT is a setting, or the address of a Service named `attachd-server`, which no port is.
    return SERVICE_LINK.fullmatch(variable) is not None or (variable.endswith("_PORT") and text.startswith(_SERVICE_ADDRESSES))


def _meant(name: str, known: Iterable[str]) -> str:
    # 0.8: names of one section alone are not alike.
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"; did you mean {close[0]}?" if close else "; the README lists all of them"


def _is_list(key: SettingKey) -> bool:
    return isinstance(key.default, tuple)


def _convert(key: SettingKey, value: object, source: str, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, key.type, strict=strict, dec_hook=lambda to, text: to(text))
    except (msgspec.ValidationError, TypeError) as error:
        if key.is_secret:
            raise SettingsError(f"{source} must be {_expected(key)}") from None
        raise SettingsError(f"{source} must be {_expected(key)}, not {value!r}") from error


def _expected(key: SettingKey) -> str:
    limits = key.limits
    match key.default:
        case bool():
            return "true or false"
        case tuple():
            return "a list of strings"
        case int() | float():
            above = f"above {limits.gt}" if limits.ge is None else f"from {limits.ge}"
            return f"a {'whole ' if isinstance(key.default, int) else ''}number {above} to {limits.le}"
        case _:
            return "a string" if limits.pattern is None else "a token of letters, digits and -_.~"
