"""What each API lets in by its document (`apis/`): one table an API. Sizes are in bytes, 1 MB = 1024 * 1024 bytes."""

from collections.abc import Callable, Iterable

import msgspec

from storage.policies.policy import MEBIBYTE, FileType, Policy
from storage.policies.types import CHECKED, KINDS, OTHER, Kind

# What starts a program by being opened, on the systems that people open attachments on: API C takes none of it by default.
EXECUTABLES_AND_SCRIPTS = (
    *("app", "apk", "bat", "cmd", "com", "command", "cpl", "deb", "dll", "dmg", "exe", "gadget", "hta", "inf", "jar"),
    *("js", "jse", "lnk", "msc", "msi", "msp", "pif", "pkg", "ps1", "psm1", "reg", "rpm", "run", "scf", "scr", "sh"),
    *("so", "sys", "vb", "vbe", "vbs", "ws", "wsc", "wsf", "wsh"),
)
_CHAT_TYPES = ("jpg", "jpeg", "png", "gif", "heic", "heif", "pdf", "doc", "docx", "xls", "xlsx")


def _limited(kind: Kind, max_bytes: int) -> FileType:
    return FileType(kind.content_type, max_bytes, kind.agrees, kind.text)


def _types(extensions: Iterable[str], limit: Callable[[str], int]) -> dict[str, FileType]:
    """Those extensions, each with the limit of its content type."""
    return {extension: _limited(KINDS[extension], limit(KINDS[extension].content_type)) for extension in extensions}


def _is_image(content_type: str) -> bool:
    return content_type.startswith("image/")


def api_a(max_file_bytes: int = 25 * MEBIBYTE, max_image_bytes: int = 10 * MEBIBYTE) -> Policy:
    """The policy of API A: images to 10 MB, documents, archives, CSV and JSON to 25 MB."""
    return Policy(types=_types(CHECKED, lambda content_type: max_image_bytes if _is_image(content_type) else max_file_bytes))


def api_b(max_file_bytes: int = 25 * MEBIBYTE) -> Policy:
    """The policy of API B: every type, to 25 MB."""
    return Policy(types=_types(KINDS, lambda _: max_file_bytes), other=_limited(OTHER, max_file_bytes))


def api_b_widget(max_file_bytes: int = 25 * MEBIBYTE) -> Policy:
    """The policy of API B's widget: that of API B, for visitors."""
    return msgspec.structs.replace(api_b(max_file_bytes), by_widgets=True)


def api_c(
    *,
    max_image_bytes: int = 10 * MEBIBYTE,
    max_audio_bytes: int = 50 * MEBIBYTE,
    max_video_bytes: int = 100 * MEBIBYTE,
    max_other_bytes: int = 15 * MEBIBYTE,
    blocked: Iterable[str] = EXECUTABLES_AND_SCRIPTS,
    max_name_characters: int = 200,
) -> Policy:
    """The policy of API C: every type that is not blocked, to the limit of its family; long names are cut."""
    limits = {"image": max_image_bytes, "audio": max_audio_bytes, "video": max_video_bytes}
    return Policy(
        types=_types(KINDS, lambda content_type: limits.get(content_type.partition("/")[0], max_other_bytes)),
        other=_limited(OTHER, max_other_bytes),
        blocked=frozenset(extension.lower().removeprefix(".") for extension in blocked),
        max_name_characters=max_name_characters,
    )


def api_d(max_file_bytes: int = 25 * MEBIBYTE) -> Policy:
    """The policy of API D: pictures, also those of phones, and documents."""
    return Policy(types=_types(_CHAT_TYPES, lambda _: max_file_bytes))


API_A = api_a()
