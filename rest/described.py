"""What routes of several APIs take and answer alike, as their descriptions say it. Pure."""

from rest.delivery import DELIVERY_HEADERS
from rest.operations import Answer, Content, header_parameters

DIGEST_PARAMETERS = header_parameters("content-digest", "repr-digest")
CONDITIONS = header_parameters(*(name.decode() for name in DELIVERY_HEADERS))
_HEADERS = ("etag", "last-modified", "content-disposition", "accept-ranges")
_BYTES = {"*/*": Content()}
FILE_ANSWERS = {
    200: Answer(doc="The file.", content=_BYTES, headers=(*_HEADERS, "content-digest", "repr-digest")),
    206: Answer(doc="The range of the file.", content=_BYTES, headers=(*_HEADERS, "content-range", "repr-digest")),
    302: Answer(doc="Where the store hands the file out itself, for a while.", headers=("location",)),
    304: Answer(doc="The client has it already.", headers=("etag", "last-modified")),
}
