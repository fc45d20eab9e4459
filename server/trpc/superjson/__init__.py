"""superjson 2.2.6, the transformer of the wire: annotations beside a JSON value say what JSON cannot.

Pure: decoded JSON in, Python values out, and back. What a client may send is hostile, so `deserialize` gives a value
or raises ServiceError(BAD_REQUEST), in time and memory in proportion to what was sent; `serialize` writes what we made.

What is what: Date - aware datetime in UTC; undefined - msgspec.UNSET, dropped where it is an object's member; bigint -
int; set - set; map - dict; NaN, ±Infinity, -0 - float; URL - Url; regexp - re.Pattern; Error - ErrorValue;
Uint8Array - bytes, other typed arrays - list of numbers.

Where we leave superjson, on purpose (tests/server/test_superjson.py holds each):
- input that is not an object with a "json" member is taken as it stands; superjson would see undefined;
- an annotation that points at nothing, or at a value of the wrong kind, is refused; superjson mostly ignores it;
- members of sets and keys of maps must be hashable, and 1, 1.0 and true are one of them, as in Python;
- dates are those of ECMAScript's ISO format within the years 1 to 9999, without an offset UTC; others are INVALID_DATE;
- a registered class, symbol or custom type is refused: we register none;
- patterns: `g` and `u` say nothing about a Python pattern and are dropped, other flags than i, m, s are refused.
"""

from server.trpc.superjson.plain import is_plain
from server.trpc.superjson.reader import deserialize
from server.trpc.superjson.values import INVALID_DATE, ErrorValue, InvalidDate, Url
from server.trpc.superjson.writer import serialize

__all__ = ["INVALID_DATE", "ErrorValue", "InvalidDate", "Url", "deserialize", "is_plain", "serialize"]
