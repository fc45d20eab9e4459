"""The document of the API: valid, complete, the same wherever it is asked for, and true of what the server answers."""

import copy
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import jsonschema
import msgspec
import openapi_spec_validator
import pytest

from procedures import Context, Router, Tracked, app_router, authenticated, procedure, raises
from rest import OPERATIONS
from schemas import Code, Reason, ServiceError
from server.openapi import describe, render
from server.openapi.envelopes import TrpcError
from server.settings import Settings, load_settings
from server.trpc.requests import Rules, accepted_methods
from server.trpc.responses import encoder, render_error, render_result
from tests.running import Attachd, run_attachd

PREFIX = "/api/trpc/"
ID = "0191c2b0-0000-7000-8000-000000000003"


def document(router: Router | None = None, **environ: str) -> dict[str, Any]:
    """The document of a router, as a client reads it."""
    described = describe(settings(**environ), (router or app_router()).freeze(), PREFIX, "1.2.3")
    decoded: dict[str, Any] = json.loads(render(described))
    return decoded


def settings(**environ: str) -> Settings:
    return load_settings(None, environ)


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of all operations."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


class Limited(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What may be asked.

    And how.
    """

    page_size: Annotated[int, msgspec.Meta(ge=1, le=100, description="Items a page")] = 50
    word: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+\Z", max_length=8)]
    since: datetime | None = None


class Later(msgspec.Struct, frozen=True):
    """Comes in pieces."""

    now: int
    then: Awaitable[int]
    more: AsyncIterator[int]


def rich_router() -> Router:
    """A router with a procedure of every kind."""
    router = Router()

    @router.query(procedure.use(authenticated))
    @raises(Code.CONFLICT)
    async def limited(ctx: Context, input: Limited) -> list[datetime]:
        """Ask for something.

        At length.
        """
        return []

    @router.query()
    async def optional(ctx: Context, input: Limited | None) -> Later:
        raise NotImplementedError

    @router.mutation()
    async def nothing(ctx: Context) -> None:
        return None

    @router.query()
    async def lines(ctx: Context, input: Limited) -> AsyncIterator[int]:
        yield 1

    @router.subscription()
    async def events(ctx: Context, input: Limited) -> AsyncIterator[Tracked[Limited]]:
        yield Tracked("1", input)

    return router


@pytest.fixture(scope="module")
def rich() -> dict[str, Any]:
    """The document of every kind of procedure."""
    return document(rich_router())


def input_schema(operation: dict[str, Any]) -> Any:
    (parameter,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "input"]
    return parameter["content"]["application/json"]["schema"]


def test_it_is_valid(rich: dict[str, Any]) -> None:
    openapi_spec_validator.validate(rich)
    described = document()
    openapi_spec_validator.validate(described)
    ids = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(ids) == len(set(ids))


def test_it_has_every_procedure_by_every_method_that_it_accepts() -> None:
    for override in ("true", "false"):
        described = document(ATTACHD_SERVER_METHOD_OVERRIDE=override)
        rules = Rules(method_override=override == "true")
        expected = {
            (PREFIX + found.path, method)
            for found in app_router().freeze()
            for method in accepted_methods(found.kind, rules).split(", ")
        }
        assert {(path, method) for path, method, _ in operations(described) if path.startswith(PREFIX)} == expected


def test_operation_ids_are_the_paths_of_procedures(rich: dict[str, Any]) -> None:
    assert rich["paths"][f"{PREFIX}limited"]["get"]["operationId"] == "limited"
    assert rich["paths"][f"{PREFIX}limited"]["post"]["operationId"] == "limited.post"
    assert rich["paths"][f"{PREFIX}nothing"]["post"]["operationId"] == "nothing"
    assert [operation.id for operation in OPERATIONS] == [
        *("upload-file", "download-file", "download-file-head"),
        *("upload-media", "get-media", "get-media-head", "create-widget-session", "upload-widget-media", "send-message"),
        *("get-health", "get-health-head", "get-readiness", "get-readiness-head", "get-metrics", "get-metrics-head"),
        *("files-upload", "files-upload-v1", "files-preview", "files-preview-head"),
        *("files-preview-v1", "files-preview-v1-head", "chat-upload", "chat-upload-redirect", "chat-file", "chat-file-head"),
        *("get-openapi", "get-openapi-head"),
    ]


def test_limits_defaults_and_docstrings_are_in_it(rich: dict[str, Any]) -> None:
    operation = rich["paths"][f"{PREFIX}limited"]["get"]
    assert (operation["summary"], operation["description"]) == ("Ask for something.", "Ask for something.\n\nAt length.")
    bare, wrapped = input_schema(operation)["anyOf"]
    assert bare == wrapped["properties"]["json"] == {"$ref": "#/components/schemas/Limited"}
    limited = rich["components"]["schemas"]["Limited"]
    assert limited["description"] == "What may be asked.\n\nAnd how."
    page_size = {"type": "integer", "minimum": 1, "maximum": 100, "description": "Items a page", "default": 50}
    assert limited["properties"]["pageSize"] == page_size
    assert limited["properties"]["word"] == {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8}
    assert limited["required"] == ["word"]
    assert not re.search(r"\\\\[AZ]", json.dumps(rich))


def test_inputs_are_required_unless_they_may_be_missing(rich: dict[str, Any]) -> None:
    def required(path: str) -> list[bool]:
        return [parameter["required"] for parameter in rich["paths"][PREFIX + path]["get"]["parameters"]]

    assert (required("limited"), required("optional")) == ([True], [False])
    assert rich["paths"][f"{PREFIX}nothing"]["post"]["requestBody"]["required"], "tRPC wants its content type"


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (bytes, b"ab"),
        (Decimal, Decimal("1.5")),
        (set[int], {1, 2}),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC)),
        (float, 1.5),
        (Literal["a", 1], "a"),
        (dict[str, bytes | None], {"a": b"b", "c": None}),
        (tuple[int, ...], (1, 2)),
        (Limited, Limited(word="a", since=datetime(2026, 1, 2, tzinfo=UTC))),
        (None, None),
    ],
)
def test_outputs_fit_their_schemas(type_: Any, value: Any) -> None:
    async def give(ctx: Context) -> Any:
        return value

    give.__annotations__["return"] = type_
    router = Router()
    router.query()(give)
    (found,) = router.freeze()
    described = document(router)
    schema = described["paths"][f"{PREFIX}give"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    written = json.loads(render_result(encoder(found)(value)))
    jsonschema.Draft202012Validator(inline(schema, described)).validate(written)


def test_a_plugins_type_takes_no_name_from_ours() -> None:
    class ListInput(msgspec.Struct, frozen=True):
        word: str

    router = app_router()

    async def other(ctx: Context, input: ListInput) -> int:
        return 1

    other.__annotations__["input"] = ListInput
    router.query()(other)
    described = document(router)
    openapi_spec_validator.validate(described)
    schemas = described["components"]["schemas"]
    assert "conversationId" in schemas["ListInput"]["properties"]
    bare, _ = input_schema(described["paths"][f"{PREFIX}other"]["get"])["anyOf"]
    assert "word" in schemas[bare["$ref"].rpartition("/")[2]]["properties"]


def test_streams_are_documented_as_they_are_called(rich: dict[str, Any]) -> None:
    events = rich["paths"][f"{PREFIX}events"]["get"]
    assert [parameter["name"] for parameter in events["parameters"]] == ["connectionParams", "lastEventId", "input"]
    (content,) = events["responses"]["200"]["content"].items()
    assert content[0] == "text/event-stream"
    assert content[1]["x-item-schema"]["properties"]["json"] == {"$ref": "#/components/schemas/Limited"}
    lines = rich["paths"][f"{PREFIX}lines"]["get"]
    assert [parameter["name"] for parameter in lines["parameters"]] == ["batch", "trpc-accept", "input"]
    assert input_schema(lines)["required"] == ["0"]
    assert list(lines["responses"]["200"]["content"]) == ["application/jsonl"]


def test_security_is_that_of_the_middleware_and_the_settings(rich: dict[str, Any]) -> None:
    credentials: list[dict[str, list[str]]] = [{"session": []}, {"key": []}]
    assert rich["paths"][f"{PREFIX}limited"]["get"]["security"] == credentials
    assert rich["paths"][f"{PREFIX}optional"]["get"]["security"] == []
    described = document(ATTACHD_AUTH_SESSION_COOKIE="other", ATTACHD_SERVER_BASE_URL="https://files.example.com")
    assert described["components"]["securitySchemes"]["session"]["name"] == "other"
    assert described["servers"] == [{"url": "https://files.example.com"}]


def test_errors_are_those_that_are_declared(rich: dict[str, Any]) -> None:
    assert list(rich["paths"][f"{PREFIX}limited"]["get"]["responses"]) == ["200", "400", "401", "409", "500", "503"]
    assert list(rich["paths"][f"{PREFIX}optional"]["get"]["responses"]) == ["200", "400", "500", "503"]
    upload = document()["paths"][f"{PREFIX}attachments.upload"]["post"]["responses"]
    assert upload["415"]["description"] == "UNSUPPORTED_MEDIA_TYPE, INVALID_ATTACHMENT_TYPE."


def test_the_error_types_are_what_is_written() -> None:
    error = ServiceError(Code.PAYLOAD_TOO_LARGE, "too large", reason=Reason.ATTACHMENT_TOO_LARGE)
    for written in (render_error(error, "a.b", "stack"), render_error(error, None)):
        decoded = msgspec.json.decode(written, type=TrpcError)
        assert msgspec.to_builtins(decoded) == msgspec.json.decode(written)


def test_it_is_served_printed_and_cached(attachd: Attachd) -> None:
    with attachd.client(None) as client:
        reply = client.get("/openapi.json")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        head = client.head("/openapi.json")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(reply.content)), b"")
        again = client.get("/openapi.json", headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", reply.headers["etag"])
        assert client.post("/openapi.json").headers["allow"] == "GET, HEAD"
    served = reply.json()
    assert served["servers"] == [{"url": attachd.base_url}]
    printed = json.loads(attachd.run("openapi"))
    assert served | {"servers": []} == printed | {"servers": []}
    assert attachd.key not in reply.text


def test_plugins_are_in_it(tmp_path: Path) -> None:
    lines = ["from procedures import Context, Router", "router = Router()", "@router.query()"]
    text = "\n".join([*lines, "async def hello(ctx: Context) -> str:", '    """Greet."""', '    return ""\n'])
    (tmp_path / "plugin.py").write_text(text, encoding="utf-8")
    done = run_attachd("openapi", folder=tmp_path, ATTACHD_SERVER_PLUGINS="plugin:router")
    described = json.loads(done.stdout)
    assert described["paths"][f"{PREFIX}hello"]["get"]["summary"] == "Greet."
    openapi_spec_validator.validate(described)
    refused = run_attachd("openapi", folder=tmp_path, ATTACHD_SERVER_PLUGINS="plugin:rooter")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_it_has_every_method_of_every_route(attachd: Attachd) -> None:
    """That it has every route, tests/test_docs.py holds."""
    with attachd.client() as client:
        for path in {operation.path for operation in OPERATIONS}:
            allowed = client.put(path.replace("{id}", ID)).headers["allow"].split(", ")
            assert sorted(operation.method for operation in OPERATIONS if operation.path == path) == sorted(allowed)


def inline(schema: Any, described: dict[str, Any]) -> Any:
    """A schema that a validator can resolve by itself."""
    return {**schema, "components": described["components"]} if isinstance(schema, dict) else schema


def assert_documented(described: dict[str, Any], template: str, reply: httpx.Response) -> None:
    """Status, content type, headers and body of the reply are what the document says of its request."""
    operation = described["paths"][template][reply.request.method.lower()]
    answer = operation["responses"][str(reply.status_code)]
    documented = set(answer.get("headers", {}))
    assert "x-request-id" in documented
    known = set(described["components"]["headers"])
    assert set(reply.headers) & known <= documented, "a header that is not documented"
    if not reply.content:
        return
    media_type = reply.headers["content-type"].split(";")[0]
    content = answer["content"].get(media_type) or answer["content"]["*/*"]
    if media_type == "application/json":
        jsonschema.Draft202012Validator(inline(content["schema"], described)).validate(reply.json())


UPLOAD, DOWNLOAD = "/api/upload", "/api/attachments/{id}/download"


@pytest.fixture(scope="module")
def described(attachd: Attachd) -> dict[str, Any]:
    """The document of the running server."""
    found: dict[str, Any] = httpx.get(f"{attachd.base_url}/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def url(attachd: Attachd) -> str:
    """Where a file is that the member uploaded."""
    with attachd.client() as client:
        location: str = client.post(UPLOAD, files={"file": ("note.txt", b"hello")}).json()["url"]
        return location


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Accept": "application/json"}),
        (206, {"Range": "bytes=0-1"}),
        (304, {"If-None-Match": "*"}),
        (412, {"If-Match": '"x"'}),
        (416, {"Range": "bytes=9-"}),
        (401, {"Cookie": "session=x"}),
        (403, {"Cookie": "session=x"}),
    ],
)
def test_downloads_answer_what_is_documented(
    attachd: Attachd, described: dict[str, Any], url: str, status: int, headers: dict[str, str]
) -> None:
    with attachd.client() as client:
        url += "?exp=1&kid=x&sig=x" if status == 403 else ""
        reply = client.get(url, headers=headers)
        assert reply.status_code == status
        assert_documented(described, DOWNLOAD, reply)
        head = client.head(url, headers=headers)
        assert_documented(described, DOWNLOAD, head)


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        pytest.param(200, {"files": {"file": ("a.txt", b"hello")}}, id="kept"),
        pytest.param(400, {"files": {"file": ("", b"hello")}}, id="no-name"),
        pytest.param(401, {"files": {"file": ("a.txt", b"hello")}, "headers": {"Cookie": ""}}, id="nobody"),
        pytest.param(
            403, {"files": {"file": ("a.txt", b"hello")}, "headers": {"Origin": "https://evil.example"}}, id="cross-site"
        ),
        pytest.param(413, {"files": {"file": ("a.png", b"x" * 11_000_000)}}, id="large"),
        pytest.param(415, {"content": b"x"}, id="no-form"),
        pytest.param(415, {"files": {"file": ("a.exe", b"hello")}}, id="type"),
    ],
)
def test_uploads_answer_what_is_documented(
    attachd: Attachd, described: dict[str, Any], status: int, request_: dict[str, Any]
) -> None:
    with attachd.client() as client:
        reply = client.post(UPLOAD, **request_)
        assert reply.status_code == status, reply.text
        assert_documented(described, UPLOAD, reply)


@pytest.mark.parametrize(
    ("status", "path", "method", "request_"),
    [
        pytest.param(200, "attachments.list", "GET", {"params": {"input": f'{{"conversationId":"{ID}"}}'}}, id="query"),
        pytest.param(200, "attachments.list", "POST", {"json": {"json": {"conversationId": ID}}}, id="query-by-post"),
        pytest.param(400, "attachments.list", "GET", {}, id="no-input"),
        pytest.param(401, "attachments.usage", "GET", {"headers": {"Cookie": ""}}, id="nobody"),
        pytest.param(403, "attachments.delete", "POST", {"json": {}, "headers": {"Origin": "https://evil.example"}}, id="site"),
        pytest.param(404, "attachments.get", "GET", {"params": {"input": f'{{"id":"{ID}"}}'}}, id="not-found"),
        pytest.param(404, "attachments.delete", "POST", {"json": {"id": ID}}, id="mutation"),
        pytest.param(413, "attachments.delete", "POST", {"json": "x" * 2_000_000}, id="large"),
        pytest.param(415, "attachments.delete", "POST", {"content": b"{}"}, id="no-json"),
        pytest.param(
            200,
            "attachments.upload",
            "POST",
            {"content": b"hello", "headers": {"X-Attachd-Filename": "a.txt", "Content-Type": "application/octet-stream"}},
            id="file",
        ),
        pytest.param(415, "attachments.upload", "POST", {"files": {"file": ("a.exe", b"hello")}}, id="file-type"),
    ],
)
def test_procedures_answer_what_is_documented(
    attachd: Attachd, described: dict[str, Any], status: int, path: str, method: str, request_: dict[str, Any]
) -> None:
    with attachd.client() as client:
        reply = client.request(method, PREFIX + path, **request_)
        assert reply.status_code == status, reply.text
        assert_documented(described, PREFIX + path, reply)


def test_who_needs_a_credential_is_documented(attachd: Attachd, described: dict[str, Any]) -> None:
    with attachd.client(None) as client:
        for path, method, operation in operations(described):
            file = "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
            body: dict[str, Any] = {"files": {"file": ("a.txt", b"hello")}} if file else {"json": {}}
            reply = client.request(method, path.replace("{id}", ID), **({} if method in {"GET", "HEAD"} else body))
            refused = reply.status_code == 401 or '"code":"UNAUTHORIZED"' in reply.text  # the second of a subscription
            assert refused == bool(operation["security"]), f"{method} {path}"


def test_subscriptions_answer_what_is_documented(attachd: Attachd, described: dict[str, Any]) -> None:
    path = f"{PREFIX}attachments.onChange"
    query = {"input": json.dumps({"conversationId": ID})}
    with attachd.client() as client, client.stream("GET", path, params=query) as reply:
        answer = described["paths"][path]["get"]["responses"][str(reply.status_code)]
        content = answer["content"][reply.headers["content-type"]]
        data = [line.removeprefix("data: ") for line in itertools.islice(reply.iter_lines(), 8) if line.startswith("data: ")]
    # The first frame is tRPC's `connected`, the second the first item.
    item = json.loads(data[1])
    jsonschema.Draft202012Validator(inline(content["x-item-schema"], described)).validate(item)
    assert item["json"]["type"] == "ready"


def test_a_header_or_a_member_that_is_not_documented_would_be_seen(
    attachd: Attachd, described: dict[str, Any], url: str
) -> None:
    with attachd.client() as client:
        reply = client.get(url)
    changed = copy.deepcopy(described)
    del changed["paths"][DOWNLOAD]["get"]["responses"]["200"]["headers"]["etag"]
    with pytest.raises(AssertionError, match="not documented"):
        assert_documented(changed, DOWNLOAD, reply)
