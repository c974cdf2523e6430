"""Reads the quality of an AVIF from the header of its first frame (AV1 specification, 5.5 and 5.9); decodes nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import BinaryIO

from imaging.iso_media import Bits, find_meta, list_items

BRANDS = (b"avif", b"avis", b"mif1")
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
    meta = find_meta(opened, BRANDS)
    for item in list_items(meta) if meta else ():
        opened.seek(item.offset)
        index = _read_quantizer(opened.read(min(item.length, ITEM_BYTES)))
        if index is not None:
            return _quality(index)
    return None


def _quality(index: int) -> int:
    """Inverts libavif's choice of the quantizer for a quality."""
    for number, (worse, better) in enumerate(pairwise(INDEX_OF_QUALITY)):
        if worse >= index >= better:
            return round(QUALITY_STEP * (number + (worse - index) / (worse - better)))
    return 0


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
            sequence = _Sequence(Bits(data[at : at + size]))
        elif kind in (FRAME, FRAME_HEADER) and sequence is not None:
            return _parse_frame(Bits(data[at:]), sequence) or None
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


class _Sequence:
    """The parts of a sequence header that say how to read a frame header. Raises ValueError for one of a video."""

    def __init__(self, bits: Bits):
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

    def _skip_operating_points(self, bits: Bits) -> None:
        if bits.read(1):
            raise ValueError("timing in a still picture")
        bits.read(1)  # initial display delay
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)

    def _read_tools(self, bits: Bits) -> None:
        bits.read(4)  # tools between frames
        has_order_hint = bits.read(1)
        if has_order_hint:
            bits.read(2)
        self.screen_content = SELECT if bits.read(1) else bits.read(1)
        if self.screen_content:
            self.integer_mv = SELECT if bits.read(1) else bits.read(1)
        if has_order_hint:
            self.order_hint_bits = bits.read(3) + 1


def _parse_frame(bits: Bits, sequence: _Sequence) -> int:
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


def _skip_tiles(bits: Bits, width: int, sequence: _Sequence) -> None:
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
