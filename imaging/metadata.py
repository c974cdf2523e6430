"""Metadata of results: what a source's file says, without what the result makes wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageCms

EXIF_PREFIX = b"Exif\0\0"
MAX_EXIF_BYTES = 2**20  # a parser takes a moment for each entry
EXIF_IFD, PIXEL_WIDTH, PIXEL_HEIGHT, ORIENTATION = 0x8769, 0xA002, 0xA003, 0x0112
# Tags of a TIFF file's first directory that describe how its own pixels, thumbnails and profiles are stored.
OF_THE_FILE = {
    *range(254, 260), 262, 263, 266, 273, 277, 278, 279, 280, 281, 284, 292, 293, 297, 317, 320, *range(322, 326), 330,
    338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532, 700, 33723, 34377, 34675, 37724,
}  # fmt: skip
XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")
XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)
DATE_AT = slice(24, 36)  # of an ICC profile's creation


@dataclass(frozen=True)
class FileMetadata:
    """What is stored beside the pixels. Each is empty if there is none."""

    profile: bytes = b""  # ICC
    exif: bytes = b""  # without the prefix that JPEG files need
    xmp: bytes = b""


def clean_exif(exif: bytes, width: int, height: int) -> bytes:
    """Returns EXIF for a result of this size in pixels: without orientation and thumbnail. Empty if it is damaged."""
    exif = exif.removeprefix(EXIF_PREFIX)
    if not exif or len(exif) > MAX_EXIF_BYTES:
        return b""
    try:
        entries = Image.Exif()
        entries.load(exif)
        for tag in [tag for tag in entries if tag in OF_THE_FILE or tag == ORIENTATION]:
            del entries[tag]
        details = entries.get_ifd(EXIF_IFD)
        for tag, side in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if tag in details:
                details[tag] = side
        return entries.tobytes().removeprefix(EXIF_PREFIX) if len(entries) else b""
    except Exception:  # a parser may raise anything on damaged bytes; the picture is worth more than its EXIF
        return b""


def clean_xmp(xmp: bytes) -> bytes:
    """Returns XMP whose orientation is upright, without thumbnails."""
    return XMP_THUMBNAILS.sub(b"", XMP_ORIENTATION.sub(rb"\g<1>1", xmp))


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Returns the ICC profile of sRGB, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[DATE_AT] = bytes(12)
    return bytes(profile)
