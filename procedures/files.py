"""A file as the input of a procedure, which streams past without being held."""

from typing import Protocol, runtime_checkable

from schemas import Record
from storage import BeginUpload


@runtime_checkable
class FileInput(Protocol):
    """The body of a request, `application/octet-stream` or a form; annotate a mutation's input with it.

    TypeScript clients give a `File`, `Blob`, `Uint8Array` or `FormData`.
    """

    async def store(self, begin: BeginUpload) -> Record:
        """Read the body to its end into the upload that `begin` makes, and commit it.

        Raises BAD_REQUEST for a malformed form or a missing name, TIMEOUT, ClientDisconnected, and what Upload raises.
        """
        ...
