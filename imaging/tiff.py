"""Writes TIFF files strip by strip, so that an image need not fit in memory."""

from __future__ import annotations

import struct
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from isal import isal_zlib
from PIL import Image, TiffImagePlugin

from imaging.deflate import DEFLATE_LEVEL
from imaging.metadata import FileMetadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 2**32 - 2**20  # offsets have 32 bits; the last megabyte is for the directory
STRIP_BYTES = 2**20
DEFLATE, RGB, HORIZONTAL, UNASSOCIATED_ALPHA = 8, 2, 2, 2
STRIP_OFFSETS = 273
SHORT, LONG, UNDEFINED, BYTE = 3, 4, 7, 1


class TiffTooLarge(ValueError):
    """The file would have more than 4 GiB."""


class TiffWriter:
    """Inside `with`, takes an image's rows from the top; at the end the file is complete."""

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
        """`channels` is 3 for RGB or 4 for RGBA; `bits` is 8 or 16."""
        self.width, self.height, self.missing = width, height, height
        self._file, self._channels, self._bits, self._metadata = file, channels, bits, metadata or FileMetadata()
        self._strips: list[tuple[int, int]] = []  # (offset, bytes)
        self._rows = max(1, STRIP_BYTES // (width * channels * bits // 8))
        self._pending: list[NDArray[Any]] = []
        self._offset = file.write(struct.pack("<2sHI", b"II", 42, 0))

    def __enter__(self) -> TiffWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def write(self, rows: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        """Writes rows, (n, width, channels). Raises `TiffTooLarge`."""
        import numpy as np  # noqa: PLC0415

        if (
            rows.shape[1:] != (self.width, self._channels)
            or rows.itemsize * 8 != self._bits
            or len(rows) > self.missing
        ):
            raise ValueError(f"at most {self.missing} rows of {self.width} pixels, not {rows.shape} {rows.dtype}")
        self.missing -= len(rows)
        self._pending.append(rows)
        if sum(map(len, self._pending)) >= self._rows or not self.missing:
            pending = np.concatenate(self._pending)
            whole = len(pending) if not self.missing else len(pending) // self._rows * self._rows
            for top in range(0, whole, self._rows):
                self._write_strip(pending[top : min(top + self._rows, whole)])
            self._pending = [pending[whole:]] if whole < len(pending) else []

    def _write_strip(self, rows: NDArray[Any]) -> None:
        import numpy as np  # noqa: PLC0415

        differences = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
        differences = np.concatenate([differences[:, :1], np.diff(differences, axis=1)], axis=1)
        data = isal_zlib.compress(differences.tobytes(), DEFLATE_LEVEL)
        if self._offset + len(data) > MAX_BYTES:
            raise TiffTooLarge
        self._strips.append((self._offset, len(data)))
        self._offset += self._file.write(data)

    def _finish(self) -> None:
        if self.missing:
            raise ValueError(f"{self.missing} rows are missing")
        if self._offset % 2:
            self._offset += self._file.write(b"\0")
        directory = self._create_directory()
        self._file.write(self._set_offsets(directory.tobytes(self._offset)))
        self._file.seek(4)
        self._file.write(struct.pack("<I", self._offset))

    def _set_offsets(self, directory: bytes) -> bytes:
        """Returns the directory's bytes with the offsets of the strips, which Pillow takes to follow the directory."""
        data = bytearray(directory)
        offsets = struct.pack(f"<{len(self._strips)}I", *(offset for offset, _ in self._strips))
        (count,) = struct.unpack_from("<H", data)
        for entry in range(2, 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from("<HHII", data, entry)
            if tag == STRIP_OFFSETS:
                start = entry + 8 if len(self._strips) == 1 else value - self._offset
                data[start : start + len(offsets)] = offsets
        return bytes(data)

    def _create_directory(self) -> TiffImagePlugin.ImageFileDirectory_v2:
        directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
        if self._metadata.exif:
            entries = Image.Exif()
            entries.load(self._metadata.exif)
            for tag, value in entries.items():
                sub = entries.get_ifd(tag) if tag in (0x8769, 0x8825) else None
                directory[tag] = sub or value
        values: dict[int, tuple[int, Any]] = {
            256: (LONG, self.width),
            257: (LONG, self.height),
            258: (SHORT, (self._bits,) * self._channels),
            259: (SHORT, DEFLATE),
            262: (SHORT, RGB),
            STRIP_OFFSETS: (LONG, tuple(offset for offset, _ in self._strips)),
            277: (SHORT, self._channels),
            278: (LONG, self._rows),
            279: (LONG, tuple(size for _, size in self._strips)),
            284: (SHORT, 1),
            317: (SHORT, HORIZONTAL),
        }
        if self._channels == 4:
            values[338] = (SHORT, UNASSOCIATED_ALPHA)
        if self._metadata.xmp:
            values[700] = (BYTE, self._metadata.xmp)
        if self._metadata.profile:
            values[34675] = (UNDEFINED, self._metadata.profile)
        for tag, (kind, value) in values.items():
            directory.tagtype[tag] = kind
            directory[tag] = value
        return directory
