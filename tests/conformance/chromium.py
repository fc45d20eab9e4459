"""A page in a real Chromium without a window, told what to do over the DevTools protocol."""

import contextlib
import itertools
import json
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 120.0
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
)


def find_chromium() -> str | None:
    """The path of a Chromium, if there is one on this machine."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """An empty page of an origin of its own; a context manager that ends the browser."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            site = ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
            stack.callback(site.server_close)
            threading.Thread(target=site.serve_forever, daemon=True).start()
            stack.callback(site.shutdown)
            self.origin = f"http://127.0.0.1:{site.server_port}"
            self._process = self._launch()
            stack.callback(self._end)
            endpoint = self._endpoint()
            with connect(endpoint, max_size=None) as self._socket:
                page = self._page_id()
            address = f"{endpoint.partition('/devtools/')[0]}/devtools/page/{page}"
            self._socket = stack.enter_context(connect(address, max_size=None))
            self._stack = stack.pop_all()
        return self

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._folder / "chromium.log").open("wb") as log:
            return subprocess.Popen(
                [self._program, *_OPTIONS, f"--user-data-dir={self._folder / 'profile'}", self.origin],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _endpoint(self) -> str:
        """Where the browser takes commands, once it does."""
        told = self._folder / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (told.exists() and "\n" in told.read_text()):
            log = (self._folder / "chromium.log").read_text(errors="replace")
            assert self._process.poll() is None, f"Chromium ended:\n{log}"
            assert time.monotonic() < deadline, f"Chromium did not come up:\n{log}"
            time.sleep(0.05)
        port, path = told.read_text().splitlines()[:2]
        return f"ws://127.0.0.1:{port}{path}"

    def _page_id(self) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            for target in self._call("Target.getTargets")["targetInfos"]:
                if target["url"].startswith(self.origin):
                    return str(target["targetId"])
            time.sleep(0.05)
        raise AssertionError("Chromium shows no page")

    def run(self, script: str) -> Any:
        """What the promise that the script gives comes to; raises AssertionError with what it fails with."""
        outcome = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in outcome, outcome
        return outcome["result"].get("value")

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(ANSWER_TIMEOUT_S))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>a page</title>")

    def log_message(self, format: str, *args: Any) -> None:
        pass
