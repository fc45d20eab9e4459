"""Declaring, composing, freezing and calling procedures."""

from typing import Any

import msgspec
import pytest

from procedures import Base, Call, Context, MemberContext, Next, Router, app_router, authenticated, procedure, raises
from schemas import Code, Principal, Reason, ServiceError

ADMIN = Principal(kind="session", user_id="u", organization_id="o", role="admin")


def context(principal: Principal | None = None) -> Context:
    """A context whose services no procedure of this module uses."""
    return Context(None, principal)  # type: ignore[arg-type]


class Name(msgspec.Struct, frozen=True):
    """An input."""

    name: str
    times: int = 1


def greetings() -> Router:
    """A router with a query and a mutation."""
    router = Router()

    @router.query()
    async def hello(ctx: Context, input: Name) -> str:
        """Greets."""
        return f"hello {input.name}" * input.times

    @router.mutation()
    async def nothing(ctx: Context) -> None:
        return None

    return router


async def test_a_procedure_has_the_types_and_the_words_of_its_function() -> None:
    procedures = greetings().freeze()
    hello = procedures.get("hello")
    assert hello is not None
    assert (hello.kind, hello.input_type, hello.output_type, hello.doc) == ("query", Name, str, "Greets.")
    nothing = procedures.get("nothing")
    assert nothing is not None
    assert (nothing.kind, nothing.input_type, nothing.output_type) == ("mutation", None, type(None))
    assert [found.path for found in procedures] == ["hello", "nothing"]
    assert len(procedures) == 2


async def test_the_caller_decodes_the_input_of_a_value_or_of_json() -> None:
    procedures = greetings().freeze()
    assert await procedures.call("hello", Name("you", 2), ctx=context()) == "hello youhello you"
    assert await procedures.call("hello", {"name": "you", "unknown": 1}, ctx=context()) == "hello you"
    assert await procedures.call("nothing", {"ignored": True}, ctx=context()) is None


@pytest.mark.parametrize(
    ("path", "input", "code", "message"),
    [
        pytest.param("missing", None, Code.NOT_FOUND, 'No procedure found on path "missing"', id="unknown"),
        pytest.param("__proto__", None, Code.NOT_FOUND, 'No procedure found on path "__proto__"', id="prototype"),
        pytest.param("hello", None, Code.BAD_REQUEST, "the input is missing", id="no-input"),
        pytest.param("hello", msgspec.UNSET, Code.BAD_REQUEST, "the input is missing", id="undefined-input"),
        pytest.param("hello", {"name": 1}, Code.BAD_REQUEST, "Expected `str`, got `int` - at `$.name`", id="wrong-type"),
        pytest.param("hello", [], Code.BAD_REQUEST, "Expected `object`, got `array`", id="wrong-shape"),
    ],
)
async def test_what_cannot_be_called_says_why(path: str, input: object, code: Code, message: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await greetings().freeze().call(path, input, ctx=context())
    assert caught.value.code is code
    assert message in caught.value.message


async def test_a_procedure_without_input_does_not_look_at_what_was_sent() -> None:
    router = Router()

    @router.query()
    async def explicit(ctx: Context, input: None) -> bool:
        return input is None

    async def fail() -> object:
        raise ServiceError(Code.BAD_REQUEST, "malformed")

    for found in (greetings().freeze().get("nothing"), router.freeze().get("explicit")):
        assert found is not None
        assert await found.run(Call(found.path, found.kind, context(), fail, found.meta)) in {None, True}


async def test_undefined_is_none_to_an_optional_input() -> None:
    router = Router()

    @router.query()
    async def maybe(ctx: Context, input: Name | None) -> bool:
        return input is None

    assert await router.freeze().call("maybe", msgspec.UNSET, ctx=context()) is True
    assert await router.freeze().call("maybe", {"name": "a"}, ctx=context()) is False


async def test_any_input_is_given_as_it_came() -> None:
    router = Router()

    @router.query()
    async def echo(ctx: Context, input: Any) -> Any:
        return input

    assert await router.freeze().call("echo", msgspec.UNSET, ctx=context()) is msgspec.UNSET


def marking(mark: str, seen: list[str]) -> Any:
    """Middleware that notes when it is entered and left."""

    async def mark_it(call: Call, next: Next) -> Any:
        seen.append(f"{mark} in")
        result = await next(call)
        seen.append(f"{mark} out")
        return result

    return mark_it


async def test_middleware_runs_from_the_outside_in_and_before_the_input_is_read() -> None:
    seen: list[str] = []
    base = procedure.use(marking("a", seen)).use(marking("b", seen), marking("c", seen))
    router = Router()

    @router.query(base)
    async def run(ctx: Context, input: Name) -> int:
        seen.append("function")
        return 1

    frozen = router.freeze()
    assert await frozen.call("run", {"name": "a"}, ctx=context()) == 1
    assert seen == ["a in", "b in", "c in", "function", "c out", "b out", "a out"]
    seen.clear()
    with pytest.raises(ServiceError):
        await frozen.call("run", {}, ctx=context())
    assert seen == ["a in", "b in", "c in"]


async def test_middleware_changes_the_context_and_sees_path_kind_and_metadata() -> None:
    seen: list[tuple[str, str, object]] = []

    async def become_admin(call: Call, next: Next) -> Any:
        seen.append((call.path, call.kind, call.meta["scope"]))
        return await next(call.with_context(MemberContext(call.ctx.attachments, ADMIN)))

    router = Router()

    @router.mutation(procedure.with_meta(scope="read", other=1).with_meta(scope="write").use(become_admin))
    async def who(ctx: MemberContext) -> str:
        return ctx.principal.role

    outer = Router()
    outer.mount("inner.deep", router)
    frozen = outer.freeze()
    assert await frozen.call("inner.deep.who", ctx=context()) == "admin"
    assert seen == [("inner.deep.who", "mutation", "write")]
    found = frozen.get("inner.deep.who")
    assert found is not None
    assert dict(found.meta) == {"scope": "write", "other": 1}


async def test_authenticated_lets_only_known_callers_in() -> None:
    router = Router()

    @router.query(Base().use(authenticated))
    async def me(ctx: MemberContext) -> str:
        return ctx.principal.user_id

    assert await router.freeze().call("me", ctx=context(ADMIN)) == "u"
    with pytest.raises(ServiceError) as caught:
        await router.freeze().call("me", ctx=context())
    assert caught.value.code is Code.UNAUTHORIZED


def test_routers_merge_and_mount() -> None:
    own = [found.path for found in app_router().freeze()]
    app = app_router()
    app.merge(greetings())
    app.mount("greetings", greetings())
    paths = [found.path for found in app.freeze()]
    assert "attachments.list" in own
    assert paths == [
        *own,
        *("hello", "nothing", "greetings.hello", "greetings.nothing"),
    ]


async def good(ctx: Context) -> int:
    """A procedure."""
    return 1


async def no_return(ctx: Context):  # type: ignore[no-untyped-def]  # noqa: ANN201 (the point)
    """Lacks its return annotation."""


async def no_input_type(ctx: Context, input) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001 (the point)
    """Lacks its input annotation."""
    return 1


async def odd_parameters(ctx: Context, other: int) -> int:
    """Takes what nobody gives."""
    return 1


async def odd_type(ctx: Context, input: int | Name | dict[str, int]) -> int:
    """Takes what cannot be told apart."""
    return 1


async def odd_output(ctx: Context) -> Name | dict[str, int]:
    """Gives what cannot be told apart."""
    return {}


def not_async(ctx: Context) -> int:
    """Is not async."""
    return 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        pytest.param(no_return, "procedure 'x' lacks the annotation of return", id="no-return"),
        pytest.param(no_input_type, "procedure 'x' lacks the annotation of input", id="no-input"),
        pytest.param(odd_parameters, r"must take \(ctx\) or \(ctx, input\), not \(ctx, other\)", id="parameters"),
        pytest.param(odd_type, "the input type of procedure 'x' cannot be decoded", id="input-type"),
        pytest.param(odd_output, "the output type of procedure 'x' cannot be decoded", id="output-type"),
        pytest.param(not_async, "procedure 'x' is not an async function", id="not-async"),
    ],
)
def test_what_cannot_work_fails_at_start(function: Any, message: str) -> None:
    router = Router()
    router.query(name="x")(function)
    with pytest.raises(TypeError, match=message):
        router.freeze()


@pytest.mark.parametrize("name", ["a-b", "a b", "", "then", "a..b", "1a", "a/b", "a,b", "ä\n"])
def test_a_name_that_no_client_can_write_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="cannot be a procedure's name"):
        Router().query(name=name)(good) if name else Router().mount("", greetings())


def test_a_path_is_declared_once_and_is_not_also_a_router() -> None:
    router = Router()
    router.query(name="x")(good)
    with pytest.raises(TypeError, match="two procedures are declared at 'x'"):
        router.query(name="x")(good)
    inner = Router()
    inner.query(name="y")(good)
    router.mount("x", inner)
    with pytest.raises(TypeError, match=r"'x' is both a procedure and the router of 'x\.y'"):
        router.freeze()


def test_a_procedure_knows_the_errors_of_its_middleware_and_its_own() -> None:
    router = Router()

    @router.query(procedure.use(authenticated))
    @raises(Code.NOT_FOUND, Code.UNAUTHORIZED, Reason.ATTACHMENT_TOO_LARGE)
    async def x(ctx: Context) -> int:
        return 1

    router.query(name="y")(good)
    x_found, y_found = router.freeze()
    assert x_found.errors == (Code.UNAUTHORIZED, Code.NOT_FOUND, Reason.ATTACHMENT_TOO_LARGE)
    assert y_found.errors == ()


def test_every_reason_rides_beside_a_code() -> None:
    assert {reason.code.name for reason in Reason} <= set(Code.__members__)


async def test_outputs_are_checked_in_development() -> None:
    router = Router()

    @router.query()
    async def wrong(ctx: Context) -> int:
        return "1"  # type: ignore[return-value]

    assert await router.freeze().call("wrong", ctx=context()) == "1"
    with pytest.raises(TypeError, match="the output of procedure 'wrong' does not fit its annotation"):
        await router.freeze(check_outputs=True).call("wrong", ctx=context())
