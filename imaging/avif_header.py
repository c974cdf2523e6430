"""Reads the quality of an AVIF from the header of its first frame (AV1 specification, 5.5 and 5.9); decodes nothing."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import BinaryIO

MAX_BOXES = 200
MAX_META_BYTES = 2**18
ITEM_BYTES = 400  # of an image: far more than its headers need
SEQUENCE, FRAME, FRAME_HEADER = 1, 6, 3  # types of OBUs
SELECT = 2
MAX_TILE_WIDTH, MAX_TILE_AREA = 4096, 4096 * 2304
# base_q_idx that libavif chooses for the qualities 0, 5, … 95; between them it is linear. 100 is lossless.
INDEX_OF_QUALITY = (255, 249, 236, 228, 216, 208, 196, 184, 172, 160, 148, 136, 120, 108, 92, 76, 60, 48, 32, 16, 0)
QUALITY_STEP = 5


def read_avif_quality(opened: BinaryIO) -> int | None:
    """Returns the quality of libavif, 0..100, that the quantizer of an AVIF means; None for other files.

    Reads from the start. May raise ValueError, IndexError or `struct.error` for damaged ones.
    """
    meta = _find_meta(opened)
    for offset, length in _list_items(meta) if meta else ():
        opened.seek(offset)
        index = _read_quantizer(opened.read(min(length, ITEM_BYTES)))
        if index is not None:
            return _quality(index)
    return None


def _quality(index: int) -> int:
    """Inverts libavif's choice of the quantizer for a quality."""
    for number, (worse, better) in enumerate(pairwise(INDEX_OF_QUALITY)):
        if worse >= index >= better:
            return round(QUALITY_STEP * (number + (worse - index) / (worse - better)))
    return 0


def _find_meta(opened: BinaryIO) -> bytes | None:
    """Returns the content of the box `meta` (ISO 14496-12)."""
    opened.seek(0)
    if opened.read(12)[4:] not in (b"ftypavif", b"ftypavis", b"ftypmif1"):
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


def _list_items(meta: bytes) -> list[tuple[int, int]]:
    """Returns (offset, length) of the first extent of each item in the file, from the box `iloc`."""
    at = 4  # version and flags
    for _ in range(MAX_BOXES):
        size, kind = struct.unpack_from(">I4s", meta, at)
        if kind == b"iloc":
            return _parse_locations(meta[at + 8 : at + size])
        if size < 8:
            break
        at += size
    return []


def _parse_locations(box: bytes) -> list[tuple[int, int]]:
    version, sizes = box[0], struct.unpack_from(">H", box, 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    at = 6
    count, at = _take(box, at, 2 if version < 2 else 4)
    items = []
    for _ in range(min(count, MAX_BOXES)):
        _, at = _take(box, at, 2 if version < 2 else 4)
        method, at = _take(box, at, 2) if version else (0, at)
        _, at = _take(box, at, 2)
        base, at = _take(box, at, base_size)
        extents, at = _take(box, at, 2)
        for number in range(min(extents, MAX_BOXES)):
            _, at = _take(box, at, index_size)
            offset, at = _take(box, at, offset_size)
            length, at = _take(box, at, length_size)
            if number == 0 and method & 15 == 0:
                items.append((base + offset, length))
    return items


def _take(box: bytes, at: int, size: int) -> tuple[int, int]:
    """Returns a number of `size` bytes, and the position behind it."""
    if at + size > len(box):
        raise IndexError(at)
    return int.from_bytes(box[at : at + size], "big"), at + size


def _read_quantizer(data: bytes) -> int | None:
    """Returns base_q_idx, 0..255, of the first frame of a bit stream; None for a lossless one and for none."""
    at, sequence = 0, None
    while at < len(data):
        kind, has_extension, has_size = data[at] >> 3 & 15, data[at] & 4, data[at] & 2
        at += 2 if has_extension else 1
        size = len(data) - at
        if has_size:
            size, at = _read_leb128(data, at)
        if kind == SEQUENCE:
            sequence = _Sequence(_Bits(data[at : at + size]))
        elif kind in (FRAME, FRAME_HEADER) and sequence is not None:
            return _parse_frame(_Bits(data[at:]), sequence) or None
        at += size
    return None


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        value |= (data[at] & 127) << 7 * place
        at += 1
        if data[at - 1] < 128:
            break
    return value, at


class _Bits:
    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + (self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1)
            self._at += 1
        return value


class _Sequence:
    """The parts of a sequence header that say how to read a frame header. Raises ValueError for one of a video."""

    def __init__(self, bits: _Bits):
        bits.read(3)  # profile
        still, self.reduced = bits.read(1), bits.read(1)
        if not still:
            raise ValueError("not a still picture")
        if self.reduced:
            bits.read(5)  # level
        else:
            self._skip_operating_points(bits)
        width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
        self.width, self.height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
        self.has_frame_ids = 0 if self.reduced else bits.read(1)
        if self.has_frame_ids:
            raise ValueError("frame ids in a still picture")
        self.large_blocks = bits.read(1)
        bits.read(2)  # filter intra, intra edge filter
        self.screen_content = self.integer_mv = SELECT
        self.order_hint_bits = 0
        if not self.reduced:
            self._read_tools(bits)
        self.superres = bits.read(1)

    def _skip_operating_points(self, bits: _Bits) -> None:
        if bits.read(1):
            raise ValueError("timing in a still picture")
        bits.read(1)  # initial display delay
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)

    def _read_tools(self, bits: _Bits) -> None:
        bits.read(4)  # tools between frames
        has_order_hint = bits.read(1)
        if has_order_hint:
            bits.read(2)
        self.screen_content = SELECT if bits.read(1) else bits.read(1)
        if self.screen_content:
            self.integer_mv = SELECT if bits.read(1) else bits.read(1)
        if has_order_hint:
            self.order_hint_bits = bits.read(3) + 1


def _parse_frame(bits: _Bits, sequence: _Sequence) -> int:
    override = 0
    # Else it shows another frame, is no key frame, or hidden.
    if not sequence.reduced and (bits.read(1) or bits.read(2) or not bits.read(1)):
        raise ValueError("not a key frame")
    bits.read(1)  # CDF update
    screen_content = bits.read(1) if sequence.screen_content == SELECT else sequence.screen_content
    if screen_content and sequence.integer_mv == SELECT:
        bits.read(1)
    if not sequence.reduced:
        override = bits.read(1)
        bits.read(sequence.order_hint_bits)
    if override:
        raise ValueError("a still picture of another size")
    scaled = sequence.superres and bits.read(1)
    width = sequence.width
    if scaled:
        denominator = bits.read(3) + 9
        width = (width * 8 + denominator // 2) // denominator
    if bits.read(1):  # render size
        bits.read(32)
    if screen_content and not scaled:
        bits.read(1)  # intra block copy
    _skip_tiles(bits, width, sequence)
    return bits.read(8)


def _skip_tiles(bits: _Bits, width: int, sequence: _Sequence) -> None:
    """Reads the division into tiles (5.9.15)."""
    block = 128 if sequence.large_blocks else 64
    columns, rows = -(-width // block), -(-sequence.height // block)
    max_width, max_area = MAX_TILE_WIDTH // block, MAX_TILE_AREA // block**2
    min_log2_columns = _log2(max_width, columns)
    min_log2 = max(min_log2_columns, _log2(max_area, rows * columns))
    if not bits.read(1):
        raise ValueError("tiles of several sizes")
    log2_columns = min_log2_columns
    while log2_columns < _log2(1, min(columns, 64)) and bits.read(1):
        log2_columns += 1
    log2_rows = max(min_log2 - log2_columns, 0)
    while log2_rows < _log2(1, min(rows, 64)) and bits.read(1):
        log2_rows += 1
    if log2_columns or log2_rows:
        bits.read(log2_columns + log2_rows + 2)


def _log2(size: int, target: int) -> int:
    """Returns the smallest number of doublings of `size` to reach the target."""
    count = 0
    while size << count < target:
        count += 1
    return count
