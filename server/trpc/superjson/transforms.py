"""One annotated value: what the JSON beside an annotation stands for. The reader bounds what a payload may cost."""

import datetime as dt
import math
import re
import warnings
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from server.trpc.superjson.paths import show
from server.trpc.superjson.values import INVALID_DATE, ErrorDraft, InvalidDate, MapDraft, SetDraft, Url, refusal

# Python converts no more decimal digits than this by default (sys.int_info); hexadecimal ones are held to the same.
_MAX_BIGINT_CHARACTERS: Final = 4300
# Patterns are compiled, never run, but compiling is slow too: ranges without regard to case took 0.3 ms a character
# (Python 3.11, 2026-11). With `PATTERN_COST` the reader's budget allows 1,000 characters a payload.
_MAX_PATTERN_CHARACTERS: Final = 256
PATTERN_COST: Final = 500
_PATTERN_FLAGS: Final = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "g": re.NOFLAG, "u": re.NOFLAG}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# ECMAScript's Date Time String Format (ECMA-262, 21.4.1.32).
_DATE: Final = re.compile(
    r"(?P<year>\d{4}|[+-]\d{6})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d))?)?"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_DECIMAL: Final = re.compile(r"[+-]?\d+", re.ASCII)
_PREFIXED: Final = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", re.ASCII)
_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0": -0.0}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*(?=:)", re.ASCII | re.IGNORECASE)
_SCHEMES_WITH_HOST: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
# The integer typed arrays and their least and greatest members.
_INTEGER_ARRAYS: Final = {
    "Int8Array": (-(2**7), 2**7 - 1),
    "Uint8Array": (0, 2**8 - 1),
    "Uint8ClampedArray": (0, 2**8 - 1),
    "Int16Array": (-(2**15), 2**15 - 1),
    "Uint16Array": (0, 2**16 - 1),
    "Int32Array": (-(2**31), 2**31 - 1),
    "Uint32Array": (0, 2**32 - 1),
}
_FLOAT_ARRAYS: Final = frozenset({"Float32Array", "Float64Array"})


def restore(value: object, annotation: object) -> object:
    """What `value` stands for by `annotation`: a name, or a pair of "typed-array" and the array's name.

    Raises ServiceError for an unknown annotation or a value that it does not fit.
    """
    if isinstance(annotation, str) and annotation in _RESTORERS:
        return _RESTORERS[annotation](value)
    if isinstance(annotation, list) and len(annotation) == 2 and annotation[0] == "typed-array":
        return _restore_array(value, annotation[1])
    raise refusal(f"unknown annotation {show(annotation) if isinstance(annotation, str) else ''}".rstrip())


def _restore_undefined(_: object) -> object:
    return msgspec.UNSET


def _restore_bigint(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _MAX_BIGINT_CHARACTERS:
        if _DECIMAL.fullmatch(value):
            return int(value)
        if _PREFIXED.fullmatch(value):
            return int(value, base=0)
    raise refusal(f"a bigint must be a string of digits, at most {_MAX_BIGINT_CHARACTERS}")


def _restore_number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _NUMBERS:
        return _NUMBERS[value]
    raise refusal("a number must be NaN, Infinity, -Infinity or -0")


def _restore_date(value: object) -> dt.datetime | InvalidDate:
    try:
        if isinstance(value, str) and (match := _DATE.fullmatch(value)):
            return _read_date(match)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _EPOCH + dt.timedelta(milliseconds=math.trunc(value))
    except (ValueError, OverflowError):
        pass
    return INVALID_DATE


def _read_date(match: re.Match[str]) -> dt.datetime:
    """Raises ValueError or OverflowError for a date that does not exist or that Python cannot say."""
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    hour, minute, second = int(match["hour"] or 0), int(match["minute"] or 0), int(match["second"] or 0)
    millisecond = int((match["fraction"] or "0")[:3].ljust(3, "0"))
    if not 1 <= day <= 31 or (hour, minute, second, millisecond) > (24, 0, 0, 0):
        raise ValueError
    # As in JavaScript, the 30th of February is the 1st or 2nd of March, and 24:00 the next midnight.
    midnight = dt.datetime(year, month, 1, tzinfo=dt.UTC) + dt.timedelta(days=day - 1 + hour // 24)
    moment = midnight.replace(hour=hour % 24, minute=minute, second=second, microsecond=millisecond * 1000)
    return moment - _read_offset(match["zone"] or "Z")


def _read_offset(zone: str) -> dt.timedelta:
    if zone == "Z":
        return dt.timedelta()
    offset = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    if int(zone[1:3]) > 23 or int(zone[4:6]) > 59:
        raise ValueError
    return -offset if zone[0] == "-" else offset


def _restore_error(value: object) -> ErrorDraft:
    if not isinstance(value, dict) or not all(isinstance(value.get(key, ""), str) for key in ("name", "message")):
        raise refusal("an Error must be an object with name and message")
    return ErrorDraft(value)


def _restore_set(value: object) -> SetDraft:
    if not isinstance(value, list):
        raise refusal("a set must be an array")
    return SetDraft(value)


def _restore_map(value: object) -> MapDraft:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == 2 for row in value):
        raise refusal("a map must be an array of pairs")
    return MapDraft(value)


def _restore_url(value: object) -> Url:
    text = value.strip() if isinstance(value, str) else ""
    try:
        scheme = _SCHEME.match(text)
        if scheme and (scheme[0].lower() not in _SCHEMES_WITH_HOST or urlsplit(text).hostname):
            return Url(text)
    except ValueError:
        pass
    raise refusal("a URL must be absolute")


def _restore_pattern(value: object) -> re.Pattern[str]:
    if not isinstance(value, str) or not value.startswith("/") or len(value) > _MAX_PATTERN_CHARACTERS:
        raise refusal(f"a regexp must be written /…/, in at most {_MAX_PATTERN_CHARACTERS} characters")
    body, _, letters = value[1:].rpartition("/")
    if not body or not set(letters) <= _PATTERN_FLAGS.keys():
        raise refusal(f"regexp {show(value)} is empty or has a flag other than g, i, m, s, u")
    flags = re.NOFLAG
    for letter in letters:
        flags |= _PATTERN_FLAGS[letter]
    try:
        with warnings.catch_warnings(action="ignore"):
            return re.compile(body, flags)
    # The compiler has more ways to fail than re.error: numbers too large, groups too deep.
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise refusal(f"regexp {show(value)} is not one of Python's") from error


def _restore_array(value: object, name: object) -> bytes | list[int] | list[float]:
    if not isinstance(value, list) or not isinstance(name, str):
        raise refusal("a typed array must be an array of numbers")
    # NaN inside a typed array travels as null, which both sides read as 0.
    members = [0 if member is None else member for member in value]
    if name in _FLOAT_ARRAYS and all(type(member) in {int, float} for member in members):
        return [float(member) for member in members]
    least, greatest = _INTEGER_ARRAYS.get(name, (1, 0))
    if not all(type(member) is int and least <= member <= greatest for member in members) or least > greatest:
        raise refusal(f"not the members of a typed array {show(name)}")
    return bytes(members) if greatest == 255 else members


_RESTORERS: Final[dict[str, Callable[[object], object]]] = {
    "undefined": _restore_undefined,
    "bigint": _restore_bigint,
    "Date": _restore_date,
    "Error": _restore_error,
    "regexp": _restore_pattern,
    "set": _restore_set,
    "map": _restore_map,
    "number": _restore_number,
    "URL": _restore_url,
}
