"""Writes PNG files row by row, so that an image need not fit in memory."""

from __future__ import annotations

import io
import struct
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from isal import isal_zlib

from imaging.deflate import DEFLATE_LEVEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from imaging.metadata import FileMetadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES, FILTER_SUB = {3: 2, 4: 6}, 1  # by channels, RGB and RGBA; and filter type, of RFC 2083
PERCEPTUAL = b"\0"  # intent of the sRGB chunk
XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"  # uncompressed, without language and translation


class PngWriter:
    """Inside `with`, takes an image's rows from the top; at the end the file is complete.

    ISA-L deflates several times as fast as zlib's fastest level, and better. Of the filters, the difference to the left
    pixel costs least and helps nearly as much as the best filter for each row.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        *,
        channels: int = 3,
        bits: int = 8,
        metadata: FileMetadata | None = None,
    ):
        """`channels` is 3 for RGB or 4 for RGBA; `bits` is 8 or 16. With `metadata`, the file says its colors."""
        self.width, self.missing = width, height
        self._file, self._channels, self._bits = file, channels, bits
        self._compressor = isal_zlib.compressobj(DEFLATE_LEVEL)
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOR_TYPES[channels], 0, 0, 0))
        if metadata is not None:
            self._write_metadata(metadata)

    def __enter__(self) -> PngWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self.missing:
            raise ValueError(f"{self.missing} rows are missing")
        self._chunk(b"IDAT", self._compressor.flush())
        self._chunk(b"IEND", b"")

    def write(self, rows: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        """Writes rows, (n, width, channels). Raises ValueError for another shape or type, and for too many rows."""
        import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

        kind = np.dtype(np.uint8 if self._bits == 8 else np.uint16)
        if rows.shape[1:] != (self.width, self._channels) or rows.dtype != kind or len(rows) > self.missing:
            raise ValueError(
                f"at most {self.missing} rows of {self.width} {self._bits}-bit pixels, not {rows.shape} {rows.dtype}"
            )
        self.missing -= len(rows)
        pixel = self._channels * kind.itemsize  # bytes
        samples = rows if kind.itemsize == 1 else rows.astype(">u2", order="C").view(np.uint8)
        samples = samples.reshape(len(rows), self.width, pixel)
        filtered = np.empty((len(rows), 1 + pixel * self.width), np.uint8)
        filtered[:, 0] = FILTER_SUB
        filtered[:, 1 : 1 + pixel] = samples[:, 0]
        differences = filtered[:, 1 + pixel :].reshape(len(rows), self.width - 1, pixel)
        np.subtract(samples[:, 1:], samples[:, :-1], out=differences)
        if data := self._compressor.compress(filtered):
            self._chunk(b"IDAT", data)

    def _write_metadata(self, metadata: FileMetadata) -> None:
        if metadata.profile:
            self._chunk(b"iCCP", b"ICC profile\0\0" + isal_zlib.compress(metadata.profile, DEFLATE_LEVEL))
        else:
            self._chunk(b"sRGB", PERCEPTUAL)
        if metadata.exif:
            self._chunk(b"eXIf", metadata.exif)
        if metadata.xmp:
            self._chunk(b"iTXt", XMP_KEYWORD + metadata.xmp)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
        self._file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum))


def write_png(pixels: NDArray[np.uint8]) -> bytes:
    """Returns pixels, (height, width, 3) uint8, as a PNG file."""
    height, width, _ = pixels.shape
    buffer = io.BytesIO()
    with PngWriter(buffer, width, height) as png:
        png.write(pixels)
    return buffer.getvalue()
