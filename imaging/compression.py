"""Reads from a file's header how its pixels were compressed, without decoding it.

In pure Python and bounded, so it is safe on hostile files and needs neither numpy nor Pillow.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imaging.avif_header import read_avif_quality
from imaging.heic_header import read_heic_quality
from imaging.webp_header import read_webp_quality

MAX_SEGMENTS = 2_000  # before the first scan; files of cameras have 30 at most
MAX_STEP = 1023  # a larger quantization step removes every coefficient, too
MAX_FILL_BYTES = 1_000  # before a marker
END, SCAN, TABLES, APP0, APP1, APP14 = 0xD9, 0xDA, 0xDB, 0xE0, 0xE1, 0xEE
FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended and progressive, with Huffman or arithmetic coding
PROGRESSIVE = {0xC2, 0xCA}
STANDALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
ORIENTATION_TAG, SHORT = 0x0112, 3
ROTATED_90 = {5, 6, 7, 8}  # EXIF orientations that swap width and height
RGB_IDS = (ord("R"), ord("G"), ord("B"))
# Place in rows of each step of a file: they come diagonal by diagonal, up and down (ITU-T T.81, figure 5).
ZIGZAG = tuple(sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8)))


@dataclass(frozen=True)
class FileCompression:
    """The lossy compression of a photo's file, before its EXIF orientation is applied. Stored with the photo as JSON.

    Of JPEG, `tables` are the quantization steps of each component, 64 each in rows: one for a gray photo, else luma and
    two of chroma. `sampling` is the number of pixels (across, down) for each chroma sample: (2, 2) is 4:2:0. Of other
    codecs, `quality` is that of Pillow's or pillow-heif's encoder, 0..100, and there are no tables.
    """

    codec: str
    tables: tuple[tuple[int, ...], ...] = ()
    sampling: tuple[int, int] = (1, 1)
    progressive: bool = False
    orientation: int = 1  # EXIF's, 1..8
    color: str = "ycbcr"  # or gray, rgb
    quality: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "codec": self.codec,
            "tables": [list(table) for table in self.tables],
            "sampling": list(self.sampling),
            "progressive": self.progressive,
            "orientation": self.orientation,
            "color": self.color,
            "quality": self.quality,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FileCompression:
        across, down = values["sampling"]
        tables = tuple(tuple(table) for table in values["tables"])
        return cls(**{**values, "tables": tables, "sampling": (across, down)})


def read_compression(path: Path) -> FileCompression | None:
    """Returns what a file's header says about its lossy compression; None if it says nothing, or is damaged."""
    with path.open("rb") as opened:
        try:
            start = opened.read(2)
            if start == b"RI":
                quality = read_webp_quality(opened)
                return None if quality is None else FileCompression("webp", sampling=(2, 2), quality=quality)
            if start == b"\0\0":
                quality = read_avif_quality(opened)
                codec = "avif"
                if quality is None:
                    codec, quality = "heic", read_heic_quality(opened)
                return None if quality is None else FileCompression(codec, sampling=(2, 2), quality=quality)
            return _read_jpeg(opened) if start == b"\xff\xd8" else None
        except (struct.error, IndexError, ValueError):
            return None


def _read_jpeg(opened: BinaryIO) -> FileCompression | None:
    """Reads markers up to the first scan, from the position after the first."""
    tables: dict[int, tuple[int, ...]] = {}
    frame: tuple[int, bytes] | None = None
    exif = xmp = transform = None
    is_jfif = False
    for _ in range(MAX_SEGMENTS):
        marker = _next_marker(opened)
        if marker in STANDALONE:
            continue
        if marker in (None, END):
            return None
        (length,) = struct.unpack(">H", opened.read(2))
        if marker not in (TABLES, APP0, APP1, APP14, SCAN, *FRAMES):
            opened.seek(max(length - 2, 0), 1)
            continue
        segment = opened.read(max(length - 2, 0))
        if marker == TABLES:
            tables |= _parse_tables(segment)
        elif marker == APP1 and segment.startswith(EXIF) and exif is None:
            exif = _parse_orientation(segment[len(EXIF) :])
        elif marker == APP1 and segment.startswith(XMP):
            found = XMP_ORIENTATION.search(segment)
            xmp = int(found[1]) if found else xmp
        elif marker == APP0:
            is_jfif = is_jfif or segment.startswith(b"JFIF")
        elif marker == APP14 and segment.startswith(b"Adobe"):
            transform = segment[11]
        elif marker in FRAMES:
            frame = marker, segment
        elif marker == SCAN:
            # As libjpeg does: JFIF files are YCbCr, even if they say more.
            return _describe(*frame, tables, exif or xmp or 1, 1 if is_jfif else transform) if frame else None
    return None


def _next_marker(opened: BinaryIO) -> int | None:
    """Returns the second byte of the next marker, None at the end. More of 0xFF may come before it."""
    if opened.read(1) != b"\xff":
        return None
    for _ in range(MAX_FILL_BYTES):
        if (byte := opened.read(1)) != b"\xff":
            return byte[0] if byte else None
    return None


def _parse_tables(segment: bytes) -> dict[int, tuple[int, ...]]:
    tables, position = dict[int, tuple[int, ...]](), 0
    while position < len(segment):
        wide, number = segment[position] >> 4, segment[position] & 15
        steps = struct.unpack_from(">64H" if wide else ">64B", segment, position + 1)
        rows = [1] * 64
        for index, step in zip(ZIGZAG, steps, strict=True):
            rows[index] = min(max(step, 1), MAX_STEP)
        tables[number] = tuple(rows)
        position += 1 + (128 if wide else 64)
    return tables


def _describe(
    marker: int, segment: bytes, tables: dict[int, tuple[int, ...]], orientation: int, transform: int | None
) -> FileCompression | None:
    count = segment[5]
    components = [(segment[6 + 3 * n], segment[7 + 3 * n], segment[8 + 3 * n]) for n in range(count)]
    if count not in (1, 3) or any(table not in tables for _, _, table in components):
        return None  # CMYK, or damaged
    is_rgb = transform == 0 or (transform is None and tuple(name for name, _, _ in components) == RGB_IDS)
    across, down = ([factors >> 4 for _, factors, _ in components], [factors & 15 for _, factors, _ in components])
    if not all(across + down):
        return None
    return FileCompression(
        codec="jpeg",
        tables=tuple(tables[table] for _, _, table in components),
        sampling=(across[0] // across[-1] or 1, down[0] // down[-1] or 1) if count == 3 else (1, 1),
        progressive=marker in PROGRESSIVE,
        orientation=orientation,
        color="gray" if count == 1 else "rgb" if is_rgb else "ycbcr",
    )


def _parse_orientation(tiff: bytes) -> int | None:
    """Returns the orientation in EXIF metadata, 1..8, None if it is not there or is damaged."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == ORIENTATION_TAG and kind == SHORT:
                return value if 1 <= value <= 8 else None
    except (KeyError, struct.error):
        pass
    return None
