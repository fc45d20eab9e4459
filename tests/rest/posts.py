"""Files API and chat API from the outside: keys of several roles, and answers that must be exact."""

from typing import Any

import httpx

from tests.running import Attachd

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\1\2\3" * 16
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(64)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomavc1" + bytes(64)


def api_key(server: Attachd, role: str, organization_id: str = "") -> str:
    """A fresh API key of that role."""
    organization = organization_id or server.organization_id
    return server.run("key", "create", "--organization", organization, "--role", role, "--name", "test").strip()


def client(server: Attachd, authorization: str | None) -> httpx.Client:
    """A client with that header; close it."""
    headers = {} if authorization is None else {"Authorization": authorization}
    return httpx.Client(base_url=server.base_url, headers=headers, timeout=60)


def procedure(server: Attachd, path: str, who: str = "member", **input: object) -> Any:
    """What a query of API A gives."""
    with server.client(who) as caller:
        answer = caller.get(f"/api/trpc/{path}", params={"input": httpx.Response(200, json=input).text})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]["data"]["json"]


def raw_form(*parts: bytes) -> dict[str, Any]:
    """What httpx shall send of a form that it would not write itself."""
    body = b"".join(b"--b\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


def raw_file(disposition: bytes, content: bytes = b"hello") -> bytes:
    """A part of such a form, with what follows `form-data` in its disposition."""
    return b"Content-Disposition: form-data%b\r\n\r\n%b" % (disposition, content)
