"""Reads boxes of ISO media files (ISO 14496-12), such as AVIF and HEIC, in pure Python and with bounds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_BOXES = 200
MAX_META_BYTES = 2**18


class Item(NamedTuple):
    """An item of the file, such as an image or a tile of one: its number, and its first extent."""

    number: int
    offset: int
    length: int


def find_meta(opened: BinaryIO, brands: tuple[bytes, ...]) -> bytes | None:
    """Returns the content of the box `meta` of a file with one of these main brands."""
    opened.seek(0)
    head = opened.read(12)
    if head[4:8] != b"ftyp" or head[8:] not in brands:
        return None
    opened.seek(0)
    for _ in range(MAX_BOXES):
        head = opened.read(8)
        if len(head) < 8:
            return None
        size, kind = struct.unpack(">I4s", head)
        if kind == b"meta":
            return opened.read(min(size - 8, MAX_META_BYTES))
        if size < 8:
            return None
        opened.seek(size - 8, 1)
    return None


def iter_boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind and the content of each box in the data. The first box of a `meta` starts at 4."""
    at = start
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8:
            return
        yield kind, data[at + 8 : at + size]
        at += size


def find_box(data: bytes, kind: bytes, start: int = 0) -> bytes:
    """Returns the content of the first box of this kind; empty without one."""
    return next((content for found, content in iter_boxes(data, start) if found == kind), b"")


def list_items(meta: bytes) -> list[Item]:
    """Returns the items that lie in the file itself, from the box `iloc`. Raises IndexError for a damaged one."""
    box = find_box(meta, b"iloc", 4)
    if not box:
        return []
    version, sizes = box[0], struct.unpack_from(">H", box, 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    count, at = take(box, 6, 2 if version < 2 else 4)
    items = []
    for _ in range(min(count, MAX_BOXES)):
        item, at = take(box, at, 2 if version < 2 else 4)
        method, at = take(box, at, 2) if version else (0, at)
        _, at = take(box, at, 2)
        base, at = take(box, at, base_size)
        extents, at = take(box, at, 2)
        for number in range(min(extents, MAX_BOXES)):
            _, at = take(box, at, index_size)
            offset, at = take(box, at, offset_size)
            length, at = take(box, at, length_size)
            if number == 0 and method & 15 == 0:
                items.append(Item(item, base + offset, length))
    return items


def take(box: bytes, at: int, size: int) -> tuple[int, int]:
    """Returns a number of `size` bytes, and the position behind it. Raises IndexError at the end."""
    if at + size > len(box):
        raise IndexError(at)
    return int.from_bytes(box[at : at + size], "big"), at + size


class Bits:
    """Reads bits, the most significant first. Raises IndexError at the end."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + (self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1)
            self._at += 1
        return value
