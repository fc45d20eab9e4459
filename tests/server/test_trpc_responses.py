"""Writing tRPC answers: the pure core."""

import datetime
import json
from typing import Any

import msgspec
import pytest

from procedures import Context, Router
from schemas import Code, Reason, ServiceError
from server.trpc import responses


def error(code: Code, message: str = "m", reason: Reason | None = None) -> ServiceError:
    return ServiceError(code, message, reason=reason)


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_every_code_has_its_number_and_status(code: Code) -> None:
    shape = json.loads(responses.render_error(error(code), "a.b"))
    assert shape == {
        "error": {
            "json": {
                "message": "m",
                "code": code.number,
                "data": {"code": code.name, "httpStatus": code.http_status, "path": "a.b"},
            }
        }
    }


@pytest.mark.parametrize(
    ("path", "stack", "reason", "expected"),
    [
        pytest.param(None, None, None, {}, id="request-level-has-no-path"),
        pytest.param("", None, None, {"path": ""}, id="an-empty-path-is-a-path"),
        pytest.param("p", "at line 1", None, {"path": "p", "stack": "at line 1"}, id="stack"),
        pytest.param("p", None, Reason.ATTACHMENT_TOO_LARGE, {"path": "p", "reason": "ATTACHMENT_TOO_LARGE"}, id="reason"),
        pytest.param("\ud800", None, None, {"path": "?"}, id="lone-surrogate"),
    ],
)
def test_the_data_of_an_error(path: str | None, stack: str | None, reason: Reason | None, expected: dict[str, str]) -> None:
    body = responses.render_error(error(Code.BAD_REQUEST, reason=reason), path, stack)
    assert json.loads(body)["error"]["json"]["data"] == {"code": "BAD_REQUEST", "httpStatus": 400, **expected}


def test_an_unexpected_exception_tells_the_client_nothing() -> None:
    shape = json.loads(responses.render_error(responses.internal(ValueError("secret")), "p"))["error"]["json"]
    assert (shape["message"], shape["code"]) == ("Internal server error", -32603)
    assert "secret" not in json.dumps(shape)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        pytest.param([b"", b""], 200, id="all-fine"),
        pytest.param([error(Code.NOT_FOUND), error(Code.NOT_FOUND)], 404, id="all-the-same"),
        pytest.param([b"", error(Code.NOT_FOUND)], 207, id="mixed"),
        pytest.param([error(Code.BAD_REQUEST), error(Code.PARSE_ERROR)], 400, id="codes-differ-status-does-not"),
        pytest.param([error(Code.UNAUTHORIZED)], 401, id="one"),
    ],
)
def test_the_status_of_a_batch(outcomes: list[responses.Outcome], status: int) -> None:
    assert responses.status_of(outcomes) == status


def test_envelopes() -> None:
    assert responses.render_result(b'{"json":1}') == b'{"result":{"data":{"json":1}}}'
    assert responses.render_batch([b"1"]) == b"[1]"
    assert responses.render_batch([b"1", b"2"]) == b"[1,2]"


class Plain(msgspec.Struct):
    """Needs no annotations."""

    name: str
    note: str | msgspec.UnsetType = msgspec.UNSET


def encoded(type_: Any, value: object) -> object:
    """What the encoder of a procedure with that output type makes of the value."""
    router = Router()

    async def give(ctx: Context) -> Any: ...

    give.__annotations__["return"] = type_
    router.query()(give)
    found = router.freeze().get("give")
    assert found is not None
    return json.loads(responses.encoder(found)(value))


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        pytest.param(Plain, Plain("a"), {"json": {"name": "a"}}, id="plain"),
        pytest.param(list[Plain], [Plain("a", "b")], {"json": [{"name": "a", "note": "b"}]}, id="list"),
        pytest.param(type(None), None, {"json": None}, id="null"),
        pytest.param(
            datetime.datetime,
            datetime.datetime(2024, 1, 15, 10, 30, tzinfo=datetime.UTC),
            {"json": "2024-01-15T10:30:00.000Z", "meta": {"values": ["Date"], "v": 1}},
            id="date",
        ),
        pytest.param(Any, msgspec.UNSET, {"json": None, "meta": {"values": ["undefined"], "v": 1}}, id="undefined"),
        pytest.param(Plain, Plain("a\ud800"), {"json": {"name": "a\ud800"}}, id="lone-surrogate-plain"),
        pytest.param(
            dict[str, Any],
            {"\udc00": {1}},
            {"json": {"\udc00": [1]}, "meta": {"values": {"\udc00": ["set"]}, "v": 1}},
            id="lone-surrogate-annotated",
        ),
    ],
)
def test_results_are_superjson(type_: Any, value: object, expected: object) -> None:
    assert encoded(type_, value) == expected
