"""The body of a tRPC request as the file that a procedure takes (`FileInput`): a form, or the file itself."""

from procedures import FileInput
from rest import Exchange, receive_file, receive_form
from schemas import Code, Record, ServiceError
from server.trpc.requests import FORM_DATA, Inputs, Request
from storage import BeginUpload


class BodyFile(FileInput):
    """The file in a request's body, which is read when the procedure stores it, and not before.

    `media_type` is FORM_DATA or OCTET_STREAM; a form may be `max_file_bytes` long and what a form adds, and a client that sends
    nothing for `idle_timeout_s` is given up.
    """

    def __init__(self, media_type: bytes, exchange: Exchange, max_file_bytes: int, idle_timeout_s: float) -> None:
        self._media_type = media_type
        self._exchange = exchange
        self._max_file_bytes = max_file_bytes
        self._idle_timeout_s = idle_timeout_s
        self._asked = False

    @property
    def unread(self) -> bool:
        """Whether the body was not read to its end."""
        return not self._exchange.complete

    @property
    def body_bytes(self) -> int:
        """How much of the body was read."""
        return self._exchange.body_bytes

    def of(self, _index: int) -> "BodyFile":
        """The input of the request's one call: this."""
        return self

    async def store(self, begin: BeginUpload) -> Record:
        """Read the body into the upload that `begin` makes, and commit it; see `FileInput`."""
        if self._asked:
            raise RuntimeError("a procedure stored its file twice: the body is read only once")
        self._asked = True
        if self._media_type == FORM_DATA:
            return await receive_form(self._exchange, begin, self._max_file_bytes, self._idle_timeout_s)
        return await receive_file(self._exchange, begin, self._idle_timeout_s)


def file_input(request: Request, exchange: Exchange, max_file_bytes: int, idle_timeout_s: float) -> BodyFile | Inputs:
    """The input of a request whose body is a file: that file, or an error for the procedure that takes none and asks."""
    _, procedure = request.calls[0]
    if request.file_type is not None and procedure is not None and procedure.input_type is FileInput:
        return BodyFile(request.file_type, exchange, max_file_bytes, idle_timeout_s)
    return Inputs(ServiceError(Code.BAD_REQUEST, "this procedure takes no file: send its input as application/json"), False, 1)
