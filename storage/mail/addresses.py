"""Mail addresses as people write them: `ada@example.com` or `Ada Lovelace <ada@example.com>`. Pure.

Only what every mail server takes is accepted: no quoted or non-ASCII local parts, no address literals, no comments, no groups.
A domain in another script is kept as the name server knows it (IDNA 2008). Nothing that could end a header or a command passes.
"""

import re

import idna
import msgspec

MAX_ADDRESS_CHARACTERS = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets (RFC erratum 1690)
MAX_LOCAL_CHARACTERS = 64  # RFC 5321, 4.5.3.1.1
MAX_NAME_CHARACTERS = 200
_WRITTEN = re.compile(
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<name>[^<>"@,;:\\]*+))[ ]*+<(?P<angle>[^<>]*+)>|(?P<bare>[^<>]*+)"""
)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_CONTROLS = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Mailbox(msgspec.Struct, frozen=True):
    """An address, all of it ASCII, and the name that stands with it, which may be empty."""

    address: str
    name: str = ""

    @property
    def local(self) -> str:
        """What stands before the `@`."""
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """What stands behind the `@`."""
        return self.address.rpartition("@")[2]


def has_controls(text: str) -> bool:
    """Whether the text has characters that no header may have, such as line ends."""
    return _CONTROLS.search(text) is not None


def parse_mailbox(text: str) -> Mailbox:
    """The mailbox that the text names. Raises ValueError, which says what to write instead."""
    written = None if has_controls(text) else _WRITTEN.fullmatch(text.strip(" "))
    if written is None:
        raise _refused(text, "write ada@example.com or Ada Lovelace <ada@example.com>")
    quoted = written["quoted"]
    name = (written["name"] or "").strip(" ") if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if len(name) > MAX_NAME_CHARACTERS:
        raise _refused(text, f"the name has more than {MAX_NAME_CHARACTERS} characters")
    local, at, domain = (written["angle"] or written["bare"] or "").strip(" ").rpartition("@")
    if not at or len(local) > MAX_LOCAL_CHARACTERS or not _LOCAL.fullmatch(local):
        raise _refused(
            text, "what stands before the @ must be letters, digits and !#$%&'*+/=?^_`{|}~- with single dots between"
        )
    address = f"{local}@{_ascii_domain(text, domain)}"
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise _refused(text, f"it has more than {MAX_ADDRESS_CHARACTERS} characters")
    return Mailbox(address, name)


def _ascii_domain(text: str, domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            domain = ""
    if not _DOMAIN.fullmatch(domain):
        raise _refused(text, "what stands behind the @ must be a domain such as example.com")
    return domain.lower()


def _refused(text: str, mend: str) -> ValueError:
    return ValueError(f"{text[:80]!r} is not a mail address: {mend}")
