"""schemathesis calls every operation of the document with inputs that fit it, and with inputs that do not, on a real server.

What comes back must be what the document says: status, content type, headers, body. What fits is taken, what does not is
refused, and nothing ends in a 5xx. The requests are the same on every run, but for the ids in them.
"""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

from procedures import app_router
from server.openapi import describe
from server.settings import load_settings
from tests.running import Attachd

EXAMPLES = 15  # of each operation, beside those of each limit in its schema
# What these take follows rules that no schema can say: names and contents of files, cursors of an earlier page, conditions.
PARTICULAR = {
    *("upload-file", "attachments.upload", "attachments.rename", "attachments.page", "attachments.page.post"),
    *("download-file", "download-file-head", "upload-media", "get-media", "get-media-head"),
    *("attachments.createUpload", "attachments.completeUpload"),  # only of a server whose files are in a bucket
    "send-message",  # mail addresses
    "upload-widget-media",  # takes another credential than the others
    *("files-upload", "files-upload-v1", "files-preview", "files-preview-head", "files-preview-v1", "files-preview-v1-head"),
    *("chat-upload", "chat-upload-redirect", "chat-file", "chat-file-head"),
}
# Parameters and headers that say nothing are ignored, as HTTP wants it; and whatever a form's field has is text.
LENIENT = {
    *("download-file", "download-file-head", "get-media", "get-media-head", "files-upload", "files-upload-v1"),
    *("files-preview", "files-preview-head", "files-preview-v1", "files-preview-v1-head", "chat-file", "chat-file-head"),
}


def schema() -> Any:
    """The document of a server with the default settings, for inputs without superjson's annotations.

    Whether these fit depends on the value that they annotate; tests/server/test_superjson_refused.py has some. Subscriptions
    are left out: their answers do not end.
    """
    document = describe(load_settings(None, {}), app_router().freeze(), "/api/trpc/", "1.2.3")
    drop_annotations(document)
    for path, methods in document["paths"].items():
        finite = {name: value for name, value in methods.items() if "text/event-stream" not in str(value["responses"])}
        document["paths"][path] = finite
    generation = {"with-security-parameters": False, "deterministic": True}
    return schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict({"generation": generation}))


def drop_annotations(node: Any) -> None:
    """Remove the members `meta` that stand beside a `json`."""
    if isinstance(node, list):
        for item in node:
            drop_annotations(item)
    elif isinstance(node, dict):
        if "json" in node:
            node.pop("meta", None)
        for item in node.values():
            drop_annotations(item)


def with_id(value: Any, id: str) -> Any:
    """The generated value with the id of an attachment that there is in place of every id."""
    if isinstance(value, str):
        return re.sub(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", id, value)
    if isinstance(value, dict):
        return {key: with_id(item, id) for key, item in value.items()}
    return [with_id(item, id) for item in value] if isinstance(value, list) else value


# Of the routes that take an API key alone.
SCHEMES = {"/files/": "Bearer", "/v1/files/": "Bearer", "/v1/chat/": "Token"}


@pytest.fixture(scope="module")
def admin_key(attachd: Attachd) -> str:
    """An API key of an admin."""
    organization = ("--organization", attachd.organization_id)
    return attachd.run("key", "create", *organization, "--role", "admin", "--name", "fuzzing").strip()


@pytest.fixture
def id(attachd: Attachd) -> str:
    """A new attachment; an operation may delete it."""
    with attachd.client("admin") as client:
        uploaded: str = client.post("/api/upload", files={"file": ("note.txt", b"hello")}).json()["id"]
        return uploaded


@schema().parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_operation_answers_what_is_documented(case: Any, attachd: Attachd, id: str, admin_key: str) -> None:
    excluded = []
    if case.operation.path.startswith("/api/trpc/"):
        # tRPC looks at the content type before the method: 415 to a request without a body.
        excluded.append(unsupported_method)
    operation_id = case.operation.definition.raw["operationId"]
    if operation_id in PARTICULAR:
        excluded.append(positive_data_acceptance)
    if operation_id in LENIENT:
        excluded.append(negative_data_rejection)
    for part in ("path_parameters", "query", "body"):
        sent = getattr(case, part)
        if (changed := with_id(sent, id)) != sent:
            setattr(case, part, changed)
    cookies = {"session": attachd.tokens["admin"]}
    scheme = next((scheme for prefix, scheme in SCHEMES.items() if case.operation.path.startswith(prefix)), None)
    headers = {} if scheme is None else {"Authorization": f"{scheme} {admin_key}"}
    case.call_and_validate(base_url=attachd.base_url, cookies=cookies, headers=headers, excluded_checks=excluded)
