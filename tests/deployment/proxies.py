"""The proxies of docs/operations.md as they stand there, in front of a real server."""

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx

from tests.engines.ports import free_port
from tests.running import ROOT
from tests.server.mail_server import CERTIFICATE

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
START_TIMEOUT_S = 60.0

# Around the example: what a distribution's own /etc/nginx/nginx.conf has, in a folder of the test.
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{example}
}}
"""
CADDY = """
{{
	admin off
	auto_https off
	storage file_system {folder}/storage
}}
{example}
"""


def example(language: str) -> str:
    """The one block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    return str(found)


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """The text with each replacement made, once."""
    for old, new in replacements.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Proxy:
    """One of them, with the addresses and the certificate of the test; a context manager that stops it."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.upstream = upstream.removeprefix("http://")
        self.port = 0
        self.url = ""

    def command(self) -> list[str]:
        """Writes the configuration; how to run it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        for _ in range(3):  # somebody else may take the free port first
            self.port = free_port()
            self.url = f"https://127.0.0.1:{self.port}"
            self.log = (self.folder / "log").open("ab")
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            if self._comes_up():
                return self
            self.__exit__()
        raise AssertionError((self.folder / "log").read_text())

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/healthz", verify=False).is_success:  # noqa: S501 (the test's own certificate)
                    return True
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Nginx(Proxy):
    """nginx."""

    def command(self) -> list[str]:
        text = replaced(
            example("nginx"),
            {
                "server 127.0.0.1:8080;": f"server {self.upstream};",
                "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
                "/etc/ssl/files.example.com.pem": str(CERTIFICATE),
                "/etc/ssl/files.example.com.key": str(CERTIFICATE),
            },
        )
        path = self.folder / "nginx.conf"
        path.write_text(NGINX.format(folder=self.folder, example=text), encoding="utf-8")
        return ["nginx", "-c", str(path), "-p", str(self.folder), "-e", str(self.folder / "error.log")]

    def kept(self) -> list[Path]:
        """What it has written of bodies to its disk."""
        return [path for name in ("bodies", "answers") for path in (self.folder / name).rglob("*") if path.is_file()]


class Caddy(Proxy):
    """Caddy."""

    def command(self) -> list[str]:
        text = replaced(
            example("caddyfile"),
            {
                "files.example.com {": f"https://127.0.0.1:{self.port} {{\n\ttls {CERTIFICATE} {CERTIFICATE}",
                "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {self.upstream}",
            },
        )
        path = self.folder / "Caddyfile"
        path.write_text(CADDY.format(folder=self.folder, example=text), encoding="utf-8")
        return ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"]

    def kept(self) -> list[Path]:
        """What it has written to its disk."""
        return [path for path in (self.folder / "storage").rglob("*") if path.is_file()]
