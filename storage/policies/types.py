"""Every type that is known by its extension: the content type that is kept, and what the content must be.

A table of ours: Python's `mimetypes` reads files of the machine, so that the same upload would be of another type elsewhere.
Content types are those of IANA's registry, or what browsers use where it has none.
"""

from typing import NamedTuple

from storage import contents
from storage.contents import Sniffer
from storage.signatures import SIGNATURES, is_anything

OCTET_STREAM = "application/octet-stream"
_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"


class Kind(NamedTuple):
    """A content type, what the start of the content must be, and whether every later piece must be text."""

    content_type: str
    agrees: Sniffer
    text: bool = False


# The types of API A, which are the same in every API.
CHECKED = {
    "png": Kind("image/png", contents.is_png),
    "jpg": Kind("image/jpeg", contents.is_jpeg),
    "jpeg": Kind("image/jpeg", contents.is_jpeg),
    "gif": Kind("image/gif", contents.is_gif),
    "webp": Kind("image/webp", contents.is_webp),
    "pdf": Kind("application/pdf", contents.is_pdf),
    "doc": Kind("application/msword", contents.is_old_office),
    "docx": Kind(f"{_OOXML}.wordprocessingml.document", contents.is_new_office),
    "xls": Kind("application/vnd.ms-excel", contents.is_old_office),
    "xlsx": Kind(f"{_OOXML}.spreadsheetml.sheet", contents.is_new_office),
    "txt": Kind("text/plain", contents.is_text, text=True),
    "zip": Kind("application/zip", contents.is_zip),
    "rar": Kind("application/vnd.rar", contents.is_rar),
    "csv": Kind("text/csv", contents.is_text, text=True),
    "json": Kind("application/json", contents.is_json, text=True),
}
_CONTENT_TYPES = {
    "image/avif": "avif",
    "image/bmp": "bmp dib",
    "image/heic": "heic",
    "image/heif": "heif hif",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.microsoft.icon": "ico",
    "audio/3gpp": "3ga",
    "audio/aac": "aac",
    "audio/aiff": "aif aiff aifc",
    "audio/amr": "amr",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3 mpga",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/x-matroska": "mka",
    "audio/x-ms-wma": "wma",
    "video/3gpp": "3gp",
    "video/3gpp2": "3g2",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv",
    "video/x-ms-asf": "asf",
    "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
    "text/calendar": "ics",
    "text/css": "css",
    "text/html": "html htm",
    "text/javascript": "js mjs",
    "text/markdown": "md markdown mdx",
    "text/plain": "log text",
    "text/tab-separated-values": "tsv",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "application/epub+zip": "epub",
    "application/gzip": "gz tgz",
    "application/jsonl": "jsonl ndjson",
    "application/postscript": "ps eps ai",
    "application/rtf": "rtf",
    "application/toml": "toml",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.ms-outlook": "msg",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": "pptm",
    "application/vnd.ms-word.document.macroenabled.12": "docm",
    f"{_ODF}.presentation": "odp",
    f"{_ODF}.spreadsheet": "ods",
    f"{_ODF}.text": "odt",
    f"{_OOXML}.presentationml.presentation": "pptx",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-subrip": "srt",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/xhtml+xml": "xhtml",
    "application/xml": "xml xsl xslt",
    "application/yaml": "yaml yml",
    "application/zstd": "zst",
    "message/rfc822": "eml",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
}
KINDS = CHECKED | {
    extension: Kind(content_type, SIGNATURES.get(extension, is_anything))
    for content_type, extensions in _CONTENT_TYPES.items()
    for extension in extensions.split()
}
OTHER = Kind(OCTET_STREAM, is_anything)
