"""What counts as the same answer: status, media type, `allow`, `vary`, and the JSON but for moments and free text."""

import re
from collections.abc import Iterator
from typing import Any

from tests.conformance.differential.peers import Answer

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# BAD_REQUEST is also for input that does not fit, told in the validator's words. These are tRPC's own and must be the same.
_FIXED_TEXTS = (
    '"input" needs to be an object when doing a batch call',
    "Batch call exceeds maximum size",
    "Cannot batch subscription calls",
    "Cannot mix procedure types in call: ",
    "Duplicate id ",
    "Invalid URL-encoding in path ",
    "Invalid connection params shape",
    "Malformed TRPCConnectionParamsMessage",
    "Not JSON-parsable query params",
    "Streaming requests must be batched",
    "`id` is required",
    "failed with ",
)
_FREE_TEXT = "(why the input is not good)"


def differences(reference: Answer, attachd: Answer) -> set[str]:
    """Where the two differ: `status 500 -> 415`, and paths of the JSON such as `body.error.json.message`."""
    found = set()
    for name in ("status", "media_type", "allow", "vary"):
        theirs, ours = getattr(reference, name), getattr(attachd, name)
        if theirs != ours:
            found.add(f"{name} {theirs} -> {ours}")
    return found | set(compare(normal(reference.body), normal(attachd.body), "body"))


def compare(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    """The paths below `path` at which two JSON values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from compare(theirs.get(key, ...), ours.get(key, ...), f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            yield from compare(their, our, f"{path}.{index}")
    elif theirs != ours or isinstance(theirs, bool) is not isinstance(ours, bool):
        yield path


def normal(body: Any) -> Any:
    """The JSON with what may differ made the same: the moment of a deletion, the text of a refusal."""
    match body:
        case {"code": -32600 | -32700, "message": str() as message, **rest} if not message.startswith(_FIXED_TEXTS):
            return {"code": body["code"], "message": _FREE_TEXT, **{key: normal(value) for key, value in rest.items()}}
        case dict():
            return {key: _moment(value) if key == "deleted_at" else normal(value) for key, value in body.items()}
        case list():
            return [normal(value) for value in body]
        case _:
            return body


def _moment(value: Any) -> Any:
    return "(a moment)" if isinstance(value, str) and _MOMENT.fullmatch(value) else value
