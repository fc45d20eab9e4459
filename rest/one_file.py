"""The form that nearly all clients send, read in one go: one file and nothing else, all of it there. Pure.

The general way is `rest.multipart`, for what is not exactly of this form. Both give the same of a form that both can read.
"""

import re

from rest.multipart import PART_END, Event, PartBegin, PartData

# The head of the part as browsers, curl and the usual libraries write it. What would have to be decoded is left to the general
# way: backslashes, percent signs, anything but ASCII. The numbers are far below its limits.
_HEAD = re.compile(
    rb'(?i:content-disposition): (form-data; name="([ !#$&-\[\]-~]{1,64}+)"; filename="([ !#$&-\[\]-~]{1,512}+)")\r\n'
    rb"(?i:content-type): ([!#$&-~][ -~]{0,254}+)\r\n\r\n"
)
_ENDS = (b"--\r\n", b"--")  # behind the last delimiter


def read_one_file(boundary: bytes, data: bytes, start: int) -> list[Event] | None:
    """The events of the form that `data` is from `start` on; None if it must be read the general way."""
    first = b"--%b\r\n" % boundary
    if not data.startswith(first, start):
        return None
    head = _HEAD.match(data, start + len(first))
    if head is None:
        return None
    content = head.end()
    end = data.find(b"\r\n--" + boundary, content - 2)  # a part without content may end with the line end of its head
    if end <= content or data[end + len(first) :] not in _ENDS:
        return None
    disposition, name, filename, content_type = head.groups()
    headers = {b"content-disposition": disposition, b"content-type": content_type.rstrip(b" ")}
    begin = PartBegin(name.decode("ascii"), filename.decode("ascii"), headers)
    return [begin, PartData(memoryview(data)[content:end]), PART_END]
