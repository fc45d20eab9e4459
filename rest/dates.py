"""HTTP dates (RFC 9110, 5.6.7). Pure."""

import calendar
from datetime import date, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# IMF-fixdate, RFC 850, asctime: a recipient must take all three.
_FORMATS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
_LONGEST = 40  # characters; the longest date there is, `Wednesday, 06-Nov-94 08:49:37 GMT`, has 33


def http_date(timestamp: str) -> bytes:
    """An ISO 8601 UTC timestamp of ours as IMF-fixdate; parts of a second are cut off."""
    return f"{_day(timestamp[:10])} {timestamp[11:19]} GMT".encode()


@lru_cache(maxsize=1024)
def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{_DAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year:04}"


def parse_http_date(value: bytes) -> int | None:
    """Seconds since 1970, or None when `value` is no HTTP date, which a recipient ignores (RFC 9110, 13.1.3)."""
    if len(value) > _LONGEST or not value.isascii():
        return None
    text = value.decode("ascii").strip()
    for pattern in _FORMATS:
        try:
            return calendar.timegm(datetime.strptime(text, pattern).timetuple())  # noqa: DTZ007 - HTTP dates are UTC
        except ValueError:
            continue
    return None
