"""The procedures of API A with good and bad credentials, and every error code."""

from schemas import Code
from tests.conformance.differential.cases import Case, get, post, with_headers, wrap

MISSING = "01900000-0000-7000-8000-000000000000"
G, L, D = "attachments.get", "attachments.list", "attachments.delete"


def item(id: str) -> str:
    return wrap({"id": id})


def conversation(id: str) -> str:
    return wrap({"conversationId": id})


def remove(name: str, who: str = "member") -> Case:
    return post(D, item(f"~{name}~"), who=who)


CASES: dict[str, Case] = {
    "list": get(L, conversation("~talk~")),
    "list-post": post(L, conversation("~talk~")),
    "list-upper-case-id": get(L, conversation("01900000-0000-7000-8000-00000000ABCD")),
    "list-empty": get(L, conversation("~silence~")),
    "list-unknown": get(L, conversation(MISSING)),
    "list-as-stranger": get(L, conversation("~talk~"), who="stranger"),
    "list-as-key": get(L, conversation("~talk~"), who="key"),
    "list-unwrapped": get(L, '{"conversationId":"~talk~"}'),
    "list-snake-case": get(L, wrap({"conversation_id": "~talk~"})),
    "list-null": get(L, wrap({"conversationId": None})),
    "list-missing-input": get(L),
    "get": get(G, item("~first~")),
    "get-unlinked": get(G, item("~unlinked~")),
    "get-unwrapped": get(G, '{"id":"~first~"}'),
    "get-unwrapped-post": post(G, '{"id":"~first~"}'),
    "get-missing": get(G, item(MISSING)),
    "get-foreign": get(G, item("~foreign~")),
    "get-deleted": get(G, item("~gone~")),
    "get-deleted-as-admin": get(G, item("~gone~"), who="admin"),
    "get-deleted-as-stranger": get(G, item("~gone~"), who="stranger"),
    "get-with-unknown-member": get(G, wrap({"id": "~first~", "more": 1})),
    "get-id-braces": get(G, item("{01900000-0000-7000-8000-000000000000}")),
    "get-id-urn": get(G, item(f"urn:uuid:{MISSING}")),
    "get-id-without-hyphens": get(G, item("01900000000070008000000000000000")),
    "get-id-newline": get(G, item(f"{MISSING}\n")),
    "get-id-space": get(G, item(f" {MISSING}")),
    "get-id-nil": get(G, item("00000000-0000-0000-0000-000000000000")),
    "get-id-other-digits": get(G, item("\u06601900000-0000-7000-8000-000000000000")),
    "get-id-upper-case": get(G, item("01900000-0000-7000-8000-00000000ABCD")),
    "get-id-empty": get(G, item("")),
    "get-id-number": get(G, wrap({"id": 1})),
    "get-id-array": get(G, wrap({"id": ["~first~"]})),
    "get-array": get(G, wrap([])),
    "get-string": get(G, wrap("~first~")),
    "get-missing-input": get(G),
    "get-missing-input-post": post(G, ""),
    "get-malformed": get(G, "{"),
    "delete": remove("spare-1"),
    "delete-unwrapped": post(D, '{"id":"~spare-2~"}'),
    "delete-as-admin": remove("spare-3", who="admin"),
    "delete-of-colleague": remove("second"),
    "delete-as-key": remove("spare-4", who="key"),
    "delete-deleted": remove("gone"),
    "delete-deleted-as-admin": remove("gone", who="admin"),
    "delete-foreign": remove("foreign"),
    "delete-missing": post(D, item(MISSING)),
    "delete-invalid": post(D, item("x")),
    "delete-empty-body": post(D, ""),
    "delete-malformed": post(D, "{"),
    "delete-by-query": get(D, item("~first~")),
    "delete-input-in-query": post(D, "", query="input=%7B%22json%22:%7B%22id%22:%22~first~%22%7D%7D"),
    "anonymous-get": get(G, item("~first~"), who=None),
    "anonymous-malformed": post(D, "{", who=None),
    "anonymous-invalid": get(G, wrap({}), who=None),
    "anonymous-wrong-method": get(D, item("~first~"), who=None),
    "anonymous-unknown": get("attachments.nothing", who=None),
    "wrong-cookie": with_headers(get(G, item("~first~"), who=None), cookie="session=wrong"),
    "other-cookie": with_headers(get(G, item("~first~"), who=None), cookie="other=~member~"),
    "second-cookie": with_headers(get(G, item("~first~"), who=None), cookie="a=b; session=~member~; c=d"),
    "cookie-without-space": with_headers(get(G, item("~first~"), who=None), cookie="a=b;session=~member~"),
    "empty-cookie": with_headers(get(G, item("~first~"), who=None), cookie=""),
    "key": get(G, item("~first~"), who="key"),
    "key-lower-case-scheme": with_headers(get(G, item("~first~"), who=None), authorization="bearer ~key~"),
    "key-wrong": with_headers(get(G, item("~first~"), who=None), authorization="Bearer wrong"),
    "key-wrong-beside-cookie": with_headers(get(G, item("~first~")), authorization="Bearer wrong"),
    "key-is-no-session": with_headers(get(G, item("~first~"), who=None), cookie="session=~key~"),
    "session-is-no-key": with_headers(get(G, item("~first~"), who=None), authorization="Bearer ~member~"),
    "other-scheme": with_headers(get(G, item("~first~"), who=None), authorization="Basic ~key~"),
    **{f"fail-{code.name}": get(f"fail.{code.name}") for code in Code},
    "fail-crash": get("fail.crash"),
    "fail-by-post": post("fail.CONFLICT", ""),
}

# Requests whose answers depend on the one before.
SEQUENCES: dict[str, list[Case]] = {
    "delete-twice": [remove("spare-5"), remove("spare-5")],
    "delete-then-get": [get(G, item("~spare-6~")), remove("spare-6"), get(G, item("~spare-6~"))],
    "delete-then-get-as-admin": [remove("spare-7"), get(G, item("~spare-7~"), who="admin")],
}

# Batches whose calls run at once, and of which one wins.
RACES: dict[str, Case] = {
    "delete-one-twice-in-a-batch": post(f"{D},{D}", f'{{"0":{item("~spare-8~")},"1":{item("~spare-8~")}}}', query="batch=1"),
}
