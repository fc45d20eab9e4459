"""Whether a download shall be answered with a link instead of the bytes (API A: `Accept: application/json`). Pure."""

import re

_ITEM = re.compile(rb"([^;,]*)((?:;[^,]*)?)(?:,|\Z)")
_WEIGHT = re.compile(rb";[ \t]*q[ \t]*=[ \t]*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*(?:;|\Z)", re.IGNORECASE)
_MAX_ITEMS = 32  # media ranges that are read; browsers send up to eight


def prefers_json(accept: bytes | None) -> bool:
    """Whether JSON is what the client would rather have.

    It must be named, and weigh more than `*/*`: the bytes are the default, and clients such as axios send
    `application/json, text/plain, */*` with everything, downloads too. Source: RFC 9110, 12.5.1.
    """
    if accept is None or b"json" not in accept.lower():
        return False
    weights = {b"application/json": 0.0, b"*/*": 0.0}
    for kind, parameters in _ITEM.findall(accept)[:_MAX_ITEMS]:
        name = kind.strip(b" \t").lower()
        if name in weights:
            weights[name] = max(weights[name], _weight(parameters))
    return weights[b"application/json"] > weights[b"*/*"]


def _weight(parameters: bytes) -> float:
    match = _WEIGHT.search(parameters)
    return 1.0 if match is None else float(match[1])
