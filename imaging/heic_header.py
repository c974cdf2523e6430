"""Reads the quantizer of a HEIC from the header of its first slice (ITU-T H.265, 7.3); decodes nothing."""

from __future__ import annotations

import struct
from typing import BinaryIO

from imaging.iso_media import Bits, find_box, find_meta, iter_boxes, list_items, take

BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"MiHE", b"MiHB")
SLICE_BYTES = 200  # of a slice: far more than its header needs
SPS, PPS = 33, 34  # types of NAL units
FIRST_IRAP, LAST_IRAP, IDR = 16, 23, (19, 20)
INTRA_SLICE = 2
INTRA_OFFSET = 3  # 6 · log2(1.4): intra pictures are quantized 1.4 times finer


def read_heic_quality(opened: BinaryIO) -> int | None:
    """Returns the quality of libheif, 0..100, that the quantizer of a HEIC means; None for other files.

    libheif asks x265 for the constant rate factor 50 − quality / 2, whose intra pictures have a QP that is smaller by
    3. Of a photo in tiles, the first counts. Reads from the start. May raise ValueError, IndexError or `struct.error`
    for damaged ones.
    """
    meta = find_meta(opened, BRANDS)
    if meta is None:
        return None
    configurations = _find_configurations(meta)
    for item in list_items(meta):
        if item.number in configurations:
            opened.seek(item.offset)
            qp = _read_qp(opened.read(min(item.length, SLICE_BYTES)), configurations[item.number])
            return min(100, max(0, 100 - 2 * (qp + INTRA_OFFSET)))
    return None


def _find_configurations(meta: bytes) -> dict[int, bytes]:
    """Returns the box `hvcC` of each item that has one (ISO 23008-12)."""
    properties = find_box(meta, b"iprp", 4)
    boxes = list(iter_boxes(find_box(properties, b"ipco")))
    box = find_box(properties, b"ipma")
    version, wide = box[0], box[3] & 1
    count, at = take(box, 4, 4)
    found = {}
    for _ in range(min(count, len(box))):
        item, at = take(box, at, 4 if version else 2)
        associations, at = take(box, at, 1)
        for _ in range(associations):
            index, at = take(box, at, 2 if wide else 1)
            index &= 0x7FFF if wide else 0x7F
            if 1 <= index <= len(boxes) and boxes[index - 1][0] == b"hvcC":
                found[item] = boxes[index - 1][1]
    return found


def _read_qp(sample: bytes, configuration: bytes) -> int:
    """Returns the quantization parameter of the first slice of an item. Raises ValueError for no intra picture."""
    sets = _list_units(configuration)
    length_size = (configuration[21] & 3) + 1
    at = 0
    while at + length_size < len(sample):
        length, at = take(sample, at, length_size)
        kind = sample[at] >> 1 & 63
        if FIRST_IRAP <= kind <= LAST_IRAP:
            slice_header = _Code(sample[at + 2 : at + length])
            return _parse_slice(slice_header, kind, _Sequence(_Code(sets[SPS])), _Picture(_Code(sets[PPS])))
        at += length
    raise ValueError("no intra picture")


def _list_units(configuration: bytes) -> dict[int, bytes]:
    """Returns the first parameter set of each type, without its header, from a box `hvcC` (ISO 14496-15)."""
    found: dict[int, bytes] = {}
    at = 23
    for _ in range(configuration[22]):
        kind, at = configuration[at] & 63, at + 1
        count, at = take(configuration, at, 2)
        for _ in range(count):
            (length,) = struct.unpack_from(">H", configuration, at)
            found.setdefault(kind, configuration[at + 4 : at + 2 + length])
            at += 2 + length
    if SPS not in found or PPS not in found:
        raise ValueError("no parameter sets")
    return found


class _Code(Bits):
    """The bits of a NAL unit, without the bytes that prevent start codes."""

    def __init__(self, data: bytes):
        super().__init__(data.replace(b"\0\0\3", b"\0\0"))

    def read_unsigned(self) -> int:
        """Reads an Exp-Golomb code (9.2)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("no Exp-Golomb code")
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed(self) -> int:
        code = self.read_unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class _Sequence:
    """The parts of a sequence parameter set that say how to read a slice header (7.3.2.2)."""

    def __init__(self, code: _Code):
        code.read(4)
        layers = code.read(3)
        code.read(1)
        _skip_profile(code, layers)
        code.read_unsigned()
        self.chroma = code.read_unsigned()
        self.separate_planes = self.chroma == 3 and code.read(1)
        code.read_unsigned()
        code.read_unsigned()
        if code.read(1):  # conformance window
            for _ in range(4):
                code.read_unsigned()
        code.read_unsigned()  # depths
        code.read_unsigned()
        self.order_bits = code.read_unsigned() + 4
        all_layers = code.read(1)
        for _ in range(layers + 1 if all_layers else 1):
            for _ in range(3):
                code.read_unsigned()
        for _ in range(6):  # sizes of blocks
            code.read_unsigned()
        if code.read(1) and code.read(1):
            _skip_scaling_lists(code)
        code.read(1)  # asymmetric partitions
        self.sample_offsets = code.read(1)


def _skip_profile(code: _Code, layers: int) -> None:
    """Reads profile, tier and level (7.3.3)."""
    code.read(88 + 8)
    present = [(code.read(1), code.read(1)) for _ in range(layers)]
    if layers:
        code.read(2 * (8 - layers))
    for profile, level in present:
        code.read(88 * profile + 8 * level)


def _skip_scaling_lists(code: _Code) -> None:
    """Reads scaling lists (7.3.4)."""
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not code.read(1):
                code.read_unsigned()
                continue
            if size > 1:
                code.read_signed()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                code.read_signed()


class _Picture:
    """The parts of a picture parameter set that say how to read a slice header (7.3.2.3)."""

    def __init__(self, code: _Code):
        code.read_unsigned()
        code.read_unsigned()
        code.read(1)
        self.output_flag, self.extra_bits = code.read(1), code.read(3)
        code.read(2)
        code.read_unsigned()
        code.read_unsigned()
        self.qp = 26 + code.read_signed()


def _parse_slice(code: _Code, kind: int, sequence: _Sequence, picture: _Picture) -> int:
    """Returns the QP of an intra picture's first slice (7.3.6.1)."""
    if not code.read(1):
        raise ValueError("not the first slice")
    code.read(1)
    code.read_unsigned()
    code.read(picture.extra_bits)
    if code.read_unsigned() != INTRA_SLICE:
        raise ValueError("not an intra slice")
    if picture.output_flag:
        code.read(1)
    if sequence.separate_planes:
        code.read(2)
    if kind not in IDR:
        raise ValueError("an intra picture that others may precede")
    if sequence.sample_offsets:
        code.read(1)
        if sequence.chroma and not sequence.separate_planes:
            code.read(1)
    return picture.qp + code.read_signed()
