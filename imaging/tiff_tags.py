"""Reads the tags of a TIFF, of all its pages and their sub-images, to distinguish a camera's RAW file from an image.

Most RAW files are TIFFs whose first image is a thumbnail. Reading is bounded, so it is safe on hostile files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_DIRECTORIES = 64
MAX_ENTRIES = 4096  # of a directory; real ones have 60
MAX_VALUES = 16  # of a tag that are read
SHORT, LONG, LONG8, IFD, IFD8 = 3, 4, 16, 13, 18
TYPES = {SHORT: "H", LONG: "I", LONG8: "Q", IFD: "I", IFD8: "Q"}

BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES_PER_PIXEL, PLANES, SUB_DIRECTORIES = 258, 259, 262, 277, 284, 330
SAMPLE_FORMAT = 339
KNOWN = {BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES_PER_PIXEL, PLANES, SUB_DIRECTORIES, SAMPLE_FORMAT}
SEPARATE_PLANES, FLOATING_POINT = 2, 3
CFA_PATTERN, DNG_VERSION = 33422, 50706
RAW_PHOTOMETRIC = {32803, 34892}  # color filter array, linear raw
RAW_COMPRESSION = {32767, 32769, 32770, 32867, 34713, 34892, 65000, 65024, 65535}  # Sony, Samsung, Kodak, Nikon, Pentax


@dataclass(frozen=True)
class _Layout:
    """How a TIFF stores numbers: its byte order, and offsets of four bytes or, in a BigTIFF, eight."""

    order: str
    big: bool

    @property
    def offset_format(self) -> str:
        return f"{self.order}{'Q' if self.big else 'I'}"


def is_raw(opened: BinaryIO) -> bool:
    """Tells whether a TIFF is a camera's RAW file. Leaves the file at its start."""
    try:
        return any(_is_raw_directory(tags) for tags in _iter_directories(opened))
    finally:
        opened.seek(0)


def needs_other_reader(opened: BinaryIO) -> bool:
    """Tells whether the first page of a TIFF is deep and in a layout that Pillow cannot read or reads wrongly."""
    try:
        tags = next(_iter_directories(opened), {})
    finally:
        opened.seek(0)
    bits = max(tags.get(BITS_PER_SAMPLE, (1,)), default=1)
    is_color = tags.get(SAMPLES_PER_PIXEL, (1,))[0:1] > (1,)
    if FLOATING_POINT in tags.get(SAMPLE_FORMAT, ()):
        return is_color or bits != 32
    return is_color and (bits > 16 or (bits == 16 and SEPARATE_PLANES in tags.get(PLANES, ())))


def _is_raw_directory(tags: dict[int, tuple[int, ...]]) -> bool:
    return (
        DNG_VERSION in tags
        or CFA_PATTERN in tags
        or bool(RAW_PHOTOMETRIC.intersection(tags.get(PHOTOMETRIC, ())))
        or bool(RAW_COMPRESSION.intersection(tags.get(COMPRESSION, ())))
    )


def _iter_directories(opened: BinaryIO) -> Iterator[dict[int, tuple[int, ...]]]:
    """Yields the tags of each directory that we know, and stops at damage."""
    opened.seek(0)
    head = opened.read(16)
    layout = _Layout("<" if head.startswith(b"II") else ">", big=b"+" in head[2:4])
    try:
        waiting = [struct.unpack_from(layout.offset_format, head, 8 if layout.big else 4)[0]]
        seen: set[int] = set()
        while waiting and len(seen) < MAX_DIRECTORIES:
            offset = waiting.pop()
            if offset == 0 or offset in seen:
                continue
            seen.add(offset)
            tags, following = _read_directory(opened, layout, offset)
            yield tags
            waiting += [following, *tags.get(SUB_DIRECTORIES, ())]
    except (struct.error, OverflowError):
        return


def _read_directory(opened: BinaryIO, layout: _Layout, offset: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Returns tags with whole numbers, up to 16 of each, and the offset of the next directory."""
    opened.seek(offset)
    count_format, entry_bytes = (f"{layout.order}Q", 20) if layout.big else (f"{layout.order}H", 12)
    (count,) = struct.unpack(count_format, opened.read(struct.calcsize(count_format)))
    count = min(count, MAX_ENTRIES)
    entries = opened.read(count * entry_bytes)
    tail = opened.read(entry_bytes)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(0, len(entries) - entry_bytes + 1, entry_bytes):
        tag, kind = struct.unpack_from(f"{layout.order}HH", entries, at)
        (values,) = struct.unpack_from(layout.offset_format, entries, at + 4)
        if tag in KNOWN and kind in TYPES:
            value_at = at + (12 if layout.big else 8)
            tags[tag] = _read_values(opened, layout, entries[value_at : at + entry_bytes], kind, values)
        elif tag in (CFA_PATTERN, DNG_VERSION):
            tags[tag] = ()
    size = struct.calcsize(layout.offset_format)
    return tags, struct.unpack_from(layout.offset_format, tail)[0] if len(tail) >= size else 0


def _read_values(opened: BinaryIO, layout: _Layout, inline: bytes, kind: int, count: int) -> tuple[int, ...]:
    count = min(count, MAX_VALUES)
    value_format = f"{layout.order}{count}{TYPES[kind]}"
    size = struct.calcsize(value_format)
    if size > len(inline):
        opened.seek(struct.unpack(layout.offset_format, inline)[0])
        inline = opened.read(size)
    return struct.unpack_from(value_format, inline)
