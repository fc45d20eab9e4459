"""An answer as the tests without a client library read it."""

import json
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """A final response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)
