"""Raw requests as table rows. `~name~` stands for an id or a token of the running site, anywhere in a request."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

_NAME = re.compile(rb"~([a-z0-9-]+)~")
JSON = "application/json"


class Case(NamedTuple):
    """One request; `headers` are in order and complete but for `host`, `connection` and `content-length`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None

    def render(self, names: Mapping[str, str]) -> bytes:
        """The bytes of the request at a site with those names."""
        body = None if self.body is None else fill(self.body, names)
        head = [f"{self.method} {self.target} HTTP/1.1", "host: localhost", "connection: close"]
        head += [f"{name}: {value}" for name, value in self.headers]
        given = {name.lower() for name, _ in self.headers}
        if body is not None and not given & {"content-length", "transfer-encoding"}:
            head.append(f"content-length: {len(body)}")
        return fill("\r\n".join([*head, "", ""]).encode("latin-1"), names) + (body or b"")


def fill(text: bytes, names: Mapping[str, str]) -> bytes:
    """The text with each `~name~` replaced."""
    return _NAME.sub(lambda match: names[match[1].decode()].encode() if match[1].decode() in names else match[0], text)


def wrap(value: Any, values: Any = None, equalities: Any = None, *, v: Any = 1) -> str:
    """The JSON text of an input as superjson sends it."""
    meta = {"values": values, "referentialEqualities": equalities, "v": v}
    meta = {name: member for name, member in meta.items() if member is not None}
    return json.dumps({"json": value, **({"meta": meta} if values is not None or equalities is not None else {})})


def batch(*texts: str | None) -> str:
    """The JSON text of a batch's inputs; None for a call without one."""
    return "{" + ",".join(f'"{index}":{text}' for index, text in enumerate(texts) if text is not None) + "}"


def get(path: str, text: str | None = None, *, who: str | None = "member", query: str = "", method: str = "GET") -> Case:
    """A request without body; `text` is its input, `query` goes before it as it stands."""
    parameters = [query] if query else []
    if text is not None:
        parameters.append(f"input={quote(text, safe='~')}")
    target = f"/api/trpc/{path}" + ("?" + "&".join(parameters) if parameters else "")
    return Case(method, target, _credentials(who), None)


def post(
    path: str,
    body: str | bytes | None,
    *,
    who: str | None = "member",
    query: str = "",
    content_type: str | None = JSON,
    method: str = "POST",
) -> Case:
    """A request with a body, which may be empty; None sends no length either."""
    headers = _credentials(who) + ((("content-type", content_type),) if content_type is not None else ())
    target = f"/api/trpc/{path}" + (f"?{query}" if query else "")
    return Case(method, target, headers, body.encode() if isinstance(body, str) else body)


def with_headers(case: Case, **headers: str) -> Case:
    """The case with more headers; an underscore in a name stands for a hyphen."""
    return case._replace(headers=(*case.headers, *((name.replace("_", "-"), value) for name, value in headers.items())))


def _credentials(who: str | None) -> tuple[tuple[str, str], ...]:
    if who is None:
        return ()
    return (("authorization", "Bearer ~key~"),) if who == "key" else (("cookie", f"session=~{who}~"),)
