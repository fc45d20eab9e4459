"""Every way to upload a file, and how each API says, in the shape of its document, that it cannot be kept now."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import httpx


class Caller(Protocol):
    """Who uploads: clients of a running server, each with one credential and connections that stay open."""

    session: httpx.Client
    key: httpx.Client
    token: httpx.Client
    widget: httpx.Client


class Api(NamedTuple):
    """A way to upload: sends a file of that name, tells its id from the answer, and what an error says."""

    name: str
    send: Callable[[Caller, str, bytes], httpx.Response]
    id: Callable[[httpx.Response], str]
    message: Callable[[httpx.Response], str]


def _form(client: httpx.Client, path: str, name: str, content: bytes) -> httpx.Response:
    return client.post(path, files={"file": (name, content, "image/png")})


def _octets(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    headers = {"content-type": "application/octet-stream", "x-attachd-filename": name}
    return client.post("/api/trpc/attachments.upload", content=content, headers=headers)


def _rest_message(answer: httpx.Response) -> str:
    """The message of an error of API A; nothing else may be in it."""
    assert list(answer.json()) == ["error"], answer.text
    error = answer.json()["error"]
    assert error == {"code": "SERVICE_UNAVAILABLE", "message": error["message"]}
    return str(error["message"])


def trpc_message(answer: httpx.Response) -> str:
    """The message of an error of tRPC."""
    error = answer.json()["error"]["json"]
    assert error["code"] == -32603
    assert error["data"]["code"] == "SERVICE_UNAVAILABLE"
    assert error["data"]["httpStatus"] == 503
    return str(error["message"])


def _media_message(answer: httpx.Response) -> str:
    error = answer.json()
    assert error == {"status": "error", "message": error["message"], "data": None, "error_type": "GeneralError"}
    return str(error["message"])


def _files_message(answer: httpx.Response) -> str:
    error = answer.json()
    assert error == {"code": "service_unavailable", "message": error["message"], "status": 503}
    return str(error["message"])


def _chat_message(answer: httpx.Response) -> str:
    error = answer.json()
    assert list(error) == ["error"]
    return str(error["error"])


def _member(*names: str) -> Callable[[httpx.Response], str]:
    def find(answer: httpx.Response) -> str:
        value: Any = answer.json()
        for name in names:
            value = value[name]
        return str(value)

    return find


def _chat_id(answer: httpx.Response) -> str:
    return str(answer.json()["url"].split("/")[-3])


FORM = Api("form", lambda who, name, data: _form(who.session, "/api/upload", name, data), _member("id"), _rest_message)
APIS = (
    FORM,
    Api(
        "procedure",
        lambda who, name, data: _octets(who.session, name, data),
        _member("result", "data", "json", "id"),
        trpc_message,
    ),
    Api(
        "procedure-form",
        lambda who, name, data: _form(who.session, "/api/trpc/attachments.upload", name, data),
        _member("result", "data", "json", "id"),
        trpc_message,
    ),
    Api(
        "media",
        lambda who, name, data: _form(who.session, "/api/v1/media", name, data),
        _member("data", "uuid"),
        _media_message,
    ),
    Api(
        "widget",
        lambda who, name, data: _form(who.widget, "/api/v1/widget/media/upload", name, data),
        _member("data", "uuid"),
        _media_message,
    ),
    Api("files", lambda who, name, data: _form(who.key, "/files/upload", name, data), _member("id"), _files_message),
    Api("chat", lambda who, name, data: _form(who.token, "/v1/chat/upload/", name, data), _chat_id, _chat_message),
)


def query(client: httpx.Client, path: str, **input: object) -> httpx.Response:
    """The answer to a query of tRPC."""
    return client.get(f"/api/trpc/{path}", params={"input": json.dumps(input)})


def mutation(client: httpx.Client, path: str, **input: object) -> httpx.Response:
    """The answer to a mutation of tRPC."""
    return client.post(f"/api/trpc/{path}", json=input)
