"""Signatures of audio, video, pictures and archives beyond API A's types: what their files begin with.

Only formats whose beginning their specification fixes are here; a file of any other is taken as its name says, for it is never
shown by a browser. ISO files (MP4, QuickTime, HEIF) begin with a box of type `ftyp` that lists their brands (ISO 14496-12, 4.3;
ISO 23008-12, 10.2); Matroska and WebM with EBML (RFC 8794, 8.1); MP3 with ID3v2 or the sync of a frame (ISO 11172-3, 2.4.1.3).
puremagic is not asked: its table takes many a fragment for a type, and knows HEIC and MP4 by some of their brands only.
"""

from storage.contents import Sniffer, is_new_office, is_zip

_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"msf1"})  # of any codec
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})  # of files from before `ftyp`
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_BRAND_BYTES = 4
_MPEG_STARTS = (b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\x47")  # pack, sequence; packets of a transport stream


def starts(*signatures: bytes) -> Sniffer:
    """Whether bytes begin with one of the signatures."""
    return lambda head: head.startswith(signatures)


def is_anything(_head: bytes) -> bool:
    """Nothing is asked of the content."""
    return True


def riff(form: bytes) -> Sniffer:
    """A RIFF container of that form."""
    return lambda head: head.startswith((b"RIFF", b"RF64")) and head[8:12] == form


def _brands(head: bytes) -> frozenset[bytes]:
    """The brands of an ISO file; none if it is no such file."""
    if head[4:8] != b"ftyp":
        return frozenset()
    box = head[8 : min(int.from_bytes(head[:4]), len(head))]
    listed = [box[place : place + _BRAND_BYTES] for place in range(0, len(box), _BRAND_BYTES)]
    return frozenset(brand for place, brand in enumerate(listed) if place != 1)  # the second is a version


def is_heif(head: bytes) -> bool:
    """A picture as phones take it: HEVC in HEIF, or HEIF that does not say what is in it."""
    brands = _brands(head)
    return not brands.isdisjoint(_HEVC_BRANDS) or (not brands.isdisjoint(_HEIF_BRANDS) and brands.isdisjoint(_AVIF_BRANDS))


def is_avif(head: bytes) -> bool:
    """AV1 in HEIF."""
    return not _brands(head).isdisjoint(_AVIF_BRANDS)


def is_iso_media(head: bytes) -> bool:
    """MP4 and its kin: an ISO file that is no picture."""
    brands = _brands(head)
    return bool(brands) and brands.isdisjoint(_HEVC_BRANDS | _HEIF_BRANDS | _AVIF_BRANDS)


def is_quicktime(head: bytes) -> bool:
    """QuickTime, also from before it had brands."""
    return is_iso_media(head) or head[4:8] in _QUICKTIME_BOXES


def is_mp3(head: bytes) -> bool:
    """ID3v2, or the header of an MPEG audio frame, whose layer is not the reserved one."""
    return head.startswith(b"ID3") or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 != 0)


def is_aac(head: bytes) -> bool:
    """AAC in ADTS frames, perhaps behind ID3v2, or as ADIF."""
    return head.startswith((b"ID3", b"ADIF")) or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0)


def is_office_package(head: bytes) -> bool:
    """Any ZIP package, or the compound file that protection by a password makes of it."""
    return is_zip(head) or is_new_office(head)


is_matroska = starts(b"\x1aE\xdf\xa3")
is_ogg = starts(b"OggS")
is_asf = starts(_ASF)
is_mpeg = starts(*_MPEG_STARTS)
is_tiff = starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# By extension.
SIGNATURES: dict[str, Sniffer] = {
    **dict.fromkeys(("heic", "heif", "hif"), is_heif),
    **dict.fromkeys(("avif",), is_avif),
    **dict.fromkeys(("bmp", "dib"), starts(b"BM")),
    **dict.fromkeys(("tif", "tiff"), is_tiff),
    **dict.fromkeys(("ico",), starts(b"\0\0\x01\0")),
    **dict.fromkeys(("psd",), starts(b"8BPS")),
    **dict.fromkeys(("mp3",), is_mp3),
    **dict.fromkeys(("aac",), is_aac),
    **dict.fromkeys(("wav",), riff(b"WAVE")),
    **dict.fromkeys(("flac",), starts(b"fLaC", b"ID3")),
    **dict.fromkeys(("ogg", "oga", "opus", "ogv"), is_ogg),
    **dict.fromkeys(("amr",), starts(b"#!AMR")),
    **dict.fromkeys(("aif", "aiff", "aifc"), starts(b"FORM")),
    **dict.fromkeys(("mid", "midi"), starts(b"MThd")),
    **dict.fromkeys(("m4a", "mp4", "m4v", "3gp", "3g2"), is_iso_media),
    **dict.fromkeys(("mov", "qt"), is_quicktime),
    **dict.fromkeys(("webm", "mkv", "mka", "weba"), is_matroska),
    **dict.fromkeys(("avi",), riff(b"AVI ")),
    **dict.fromkeys(("wma", "wmv", "asf"), is_asf),
    **dict.fromkeys(("mpg", "mpeg"), is_mpeg),
    **dict.fromkeys(("flv",), starts(b"FLV")),
    **dict.fromkeys(("7z",), starts(b"7z\xbc\xaf\x27\x1c")),
    **dict.fromkeys(("gz", "tgz"), starts(b"\x1f\x8b")),
    **dict.fromkeys(("bz2",), starts(b"BZh")),
    **dict.fromkeys(("xz",), starts(b"\xfd7zXZ\0")),
    **dict.fromkeys(("zst",), starts(b"\x28\xb5\x2f\xfd")),
    **dict.fromkeys(("ppt", "msg"), starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    **dict.fromkeys(("pptx", "docm", "xlsm", "pptm"), is_office_package),
    **dict.fromkeys(("odt", "ods", "odp", "epub"), is_zip),
    **dict.fromkeys(("rtf",), starts(b"{\\rtf")),
}
