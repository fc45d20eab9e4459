"""JSON texts as JavaScript reads them (ECMA-404 and `JSON.parse`), decoded by msgspec wherever the two agree.

They differ in three things a client may send: a byte order mark, invalid UTF-8 (replaced by U+FFFD, as a Fetch body's `text()`
does), and lone surrogates (which Python's json module takes). Only when msgspec refuses a text is it looked at again for these.
"""

import json
import sys
from typing import Any, Never

import msgspec

from schemas import Code, ServiceError

_decode = msgspec.json.Decoder().decode
_BOM = b"\xef\xbb\xbf"


def read_json(text: bytes) -> Any:
    """The value of a JSON text. Raises BAD_REQUEST for anything that JSON.parse would refuse, or that nests too deeply."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_leniently(text)


def _read_leniently(text: bytes) -> Any:
    try:
        return json.loads(text.removeprefix(_BOM).decode("utf-8", "replace"), parse_constant=_refuse, parse_int=_integer)
    except RecursionError as error:
        raise ServiceError(Code.BAD_REQUEST, "the JSON is nested too deeply") from error
    except ValueError as error:
        raise ServiceError(Code.BAD_REQUEST, f"the input is not valid JSON: {error}") from error


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not a JSON value")


def _integer(digits: str) -> int | float:
    """An integer; past the digits that Python converts (a guard against quadratic time) it is what JavaScript makes of it."""
    return int(digits) if len(digits) < sys.int_info.default_max_str_digits else float(digits)
