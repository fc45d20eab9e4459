"""The files that are uploaded and downloaded: PDF by name and by first bytes, random and so incompressible behind them."""

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path

import msgspec

BOUNDARY = "------------------------benchmark0000"
KIB, MIB = 1 << 10, 1 << 20
SIZES = {"64 KiB": 64 * KIB, "25 MiB": 25 * MIB}
# Enough to keep the server busy all the time, few enough for whole requests to fit into a round.
CONNECTIONS = {"64 KiB": 16, "25 MiB": 4}


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A file to upload."""

    name: str
    data: bytes

    @property
    def content_type(self) -> str:
        """The content type of the form."""
        return f"multipart/form-data; boundary={BOUNDARY}"

    @property
    def sha256(self) -> str:
        """The digest in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def form(self, fields: Mapping[str, str] | None = None) -> bytes:
        """The body of the form, as curl writes it."""
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in (fields or {}).items()
        ]
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{self.name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/pdf\r\n\r\n", self.data, f"\r\n--{BOUNDARY}--\r\n".encode()]
        return b"".join(parts)

    def write_form(self, file: Path) -> tuple[str, ...]:
        """The arguments of load.lua for uploading this."""
        file.write_bytes(self.form())
        return ("upload", str(file), BOUNDARY)


def pdf(name: str, size: int) -> Payload:
    """A file of exactly that many bytes, the same in every run."""
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    return Payload(name=name, data=head + random.Random(name).randbytes(size - len(head)))
