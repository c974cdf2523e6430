"""Reads the quality of a lossy WebP from its header (RFC 6386, sections 7, 9 and 19.2), without decoding it."""

from __future__ import annotations

import struct
from typing import BinaryIO

MAX_CHUNKS = 100
HEADER_BYTES = 400  # of a key frame: far more than the quantizers need
START_CODE = b"\x9d\x01\x2a"
SEGMENTS, MAX_INDEX = 4, 127


def read_webp_quality(opened: BinaryIO) -> int | None:
    """Returns the encoder's quality, 0..100, of a lossy WebP; None for other files. Reads from the start."""
    opened.seek(0)
    riff, _, kind = struct.unpack("<4sI4s", opened.read(12))
    if (riff, kind) != (b"RIFF", b"WEBP"):
        return None
    for _ in range(MAX_CHUNKS):
        name, size = struct.unpack("<4sI", opened.read(8))
        if name == b"VP8 ":
            return _quality(_mean_index(opened.read(HEADER_BYTES)))
        opened.seek(size + size % 2, 1)
    return None


def _mean_index(frame: bytes) -> float:
    """Returns the mean quantizer index, 0..127, of a key frame's segments. Raises ValueError for another frame."""
    if frame[0] & 1 or frame[3:6] != START_CODE:
        raise ValueError("not a key frame")
    bits = _BoolDecoder(frame[10:])
    bits.read(2)  # color space and clamping
    indices: list[int] = []
    is_absolute = 0
    if bits.read(1):  # segments
        updates_map, updates_data = bits.read(1), bits.read(1)
        if updates_data:
            is_absolute = bits.read(1)
            indices = [bits.read_signed(7) for _ in range(SEGMENTS)]
            for _ in range(SEGMENTS):
                bits.read_signed(6)  # loop filter
        if updates_map:
            for _ in range(3):
                if bits.read(1):
                    bits.read(8)
    bits.read(1 + 6 + 3)  # loop filter
    if bits.read(1) and bits.read(1):  # its deltas
        for _ in range(8):
            bits.read_signed(6)
    bits.read(2)  # partitions
    base = bits.read(7)
    if not indices:
        return base
    return sum(index if is_absolute else base + index for index in indices) / SEGMENTS


def _quality(index: float) -> int:
    """Inverts libwebp's choice of the quantizer for a quality: index = 127 · (1 − x^(1/3)), x linear in two pieces."""
    linear = (1 - min(max(index / MAX_INDEX, 0), 1)) ** 3
    return round(100 * (1.5 * linear if linear < 0.5 else (linear + 1) / 2))


class _BoolDecoder:
    """Decodes bits that are as likely 0 as 1."""

    def __init__(self, data: bytes):
        self._data, self._position = data, 2
        self._value, self._range, self._shifted = int.from_bytes(data[:2], "big"), 255, 0

    def read(self, count: int) -> int:
        """Returns the next bits as a number, the most significant first."""
        result = 0
        for _ in range(count):
            result = 2 * result + self._read_bit()
        return result

    def read_signed(self, count: int) -> int:
        """Returns 0, or a number with its sign, if a flag says that there is one."""
        if not self._read_bit():
            return 0
        magnitude = self.read(count)
        return -magnitude if self._read_bit() else magnitude

    def _read_bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        is_one = self._value >= split << 8
        if is_one:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= self._data[self._position]
                self._position += 1
        return int(is_one)
