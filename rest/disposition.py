"""How a browser shall treat a file, and under which name (RFC 6266). Pure.

Rules:
1. Inline only for types that a browser shows without running anything in our origin: raster images, audio, video, PDF. SVG and
   HTML are programs. tusd keeps a list like it, `mimeInlineBrowserWhitelist`.
2. `filename` is plain ASCII that no recipient reads in another way; where that is not the name, `filename*` gives the name in
   UTF-8, which wins wherever it is understood.
3. Names were checked on their way in, but no name makes a header of ours unsafe, whichever way it came: controls,
   text-direction controls, separators of paths and lone surrogates become `_`.
"""

import re
import unicodedata
from urllib.parse import quote

_INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"})
_INLINE_KINDS = ("audio/", "video/")
# Without `"` and `\`, which are escaped in two ways, and `%`, which browsers decode.
_PLAIN = re.compile(r"[A-Za-z0-9 !#$&'()+,.;=@\[\]^_`{}~-]+")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&'()+,.;=@\[\]^_`{}~-]")
# Categories Cc, Cs, Zl and Zp; slash and backslash; the marks, embeddings, overrides and isolates of UAX #9.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029/\\\\\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ATTR_CHARS = "!#$&+^`|"  # attr-char of RFC 8187 beyond what quote() never escapes
_NAMELESS = "file"


def content_disposition(filename: str, content_type: str, *, attachment: bool) -> bytes:
    """The Content-Disposition of a file; `attachment` saves it even if its type may be shown."""
    shown = not attachment and (content_type in _INLINE or content_type.startswith(_INLINE_KINDS))
    kind = "inline" if shown else "attachment"
    if _PLAIN.fullmatch(filename):
        return f'{kind}; filename="{filename}"'.encode("ascii")
    safe = _UNSAFE.sub("_", filename) or _NAMELESS
    return f"{kind}; filename=\"{_ascii(safe)}\"; filename*=UTF-8''{quote(safe, safe=_ATTR_CHARS)}".encode("ascii")


def _ascii(name: str) -> str:
    """The name in ASCII: letters without their accents, `_` for everything else."""
    return _NOT_PLAIN.sub("_", re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", name)))
