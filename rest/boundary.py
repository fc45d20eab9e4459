"""Which line parts a form's body: the boundary that Content-Type names (RFC 2046, 5.1.1; RFC 7578). Pure."""

import re

from rest.headers import parse_parameters
from schemas import Code, Fault, ServiceError

BOUNDARY_MAX_BYTES = 70  # RFC 2046, 5.1.1
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # bchars, RFC 2046, 5.1.1
# What all browsers and most libraries send: a boundary that needs no quotes.
_USUAL_TYPE = re.compile(rb"multipart/form-data; boundary=([0-9A-Za-z'()+_,./:=?-]{1,%d})" % BOUNDARY_MAX_BYTES)


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a request's Content-Type names.

    Raises UNSUPPORTED_MEDIA_TYPE unless it is multipart/form-data, BAD_REQUEST when the boundary is missing or malformed.
    """
    if usual := _USUAL_TYPE.fullmatch(content_type):
        return usual[1]
    kind = content_type.partition(b";")[0].strip(b" \t").lower()
    if kind != b"multipart/form-data":
        sent = kind[:100].decode("latin-1") or "nothing"
        message = f"send the file as multipart/form-data; Content-Type is {sent}"
        raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, message, fault=Fault.NOT_A_FORM)
    boundary = parse_parameters("Content-Type", content_type)[1].get(b"boundary")
    if not boundary:
        raise ServiceError(Code.BAD_REQUEST, "Content-Type has no boundary: let the client library set this header")
    if len(boundary) > BOUNDARY_MAX_BYTES:
        raise ServiceError(Code.BAD_REQUEST, f"the boundary in Content-Type exceeds {BOUNDARY_MAX_BYTES} characters")
    if not _BOUNDARY.fullmatch(boundary):
        raise ServiceError(Code.BAD_REQUEST, "the boundary in Content-Type has characters that RFC 2046 does not allow")
    return boundary
