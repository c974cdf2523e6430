"""Writes the clean images of a job's low-resolution ones, cropped so that the two match exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imaging.png import write_png
from store.db.tables import Item
from store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PNG_RGB = b"\x08\x02"  # bit depth and color type in a PNG's header: 8 bits, RGB
# Chunks that rotate the image or animate it: such a file must be decoded first.
ORIENTATION_CHUNKS = (b"eXIf", b"Raw profile type", b"acTL")


@dataclass
class HrImageWriter:
    """Caches its last PNG, because an image's samples are consecutive, and its last decoded image, for the crops."""

    store: Store
    scale: int
    _last: tuple[str, bytes] = field(default=("", b""), init=False)
    _decoded: tuple[str, NDArray[np.uint8]] | None = field(default=None, init=False)

    def write(self, item: Item) -> bytes:
        """Returns a PNG of s·h × s·w pixels for a low-resolution image of h × w. Raises `BlobCorrupt`."""
        if self._last[0] != item.output_name:
            self._last = item.output_name, self._write(item.sha256 or "", item.crop)
        return self._last[1]

    def _write(self, sha256: str, crop: list[int] | None) -> bytes:
        if crop:
            top, left, height, width = crop
            pixels = self._decode(sha256)[top : top + height, left : left + width]
        elif self._matches(data := self.store.blobs.read(sha256)):
            return data
        else:
            pixels = self.store.decoders.read_rgb(self.store.blobs.verified_path(sha256))
        height, width = (side // self.scale * self.scale for side in pixels.shape[:2])
        return write_png(pixels[:height, :width])

    def _decode(self, sha256: str) -> NDArray[np.uint8]:
        if self._decoded is None or self._decoded[0] != sha256:
            self._decoded = sha256, self.store.decoders.read_rgb(self.store.blobs.verified_path(sha256))
        return self._decoded[1]

    def _matches(self, data: bytes) -> bool:
        """Tells whether the file is already the PNG to write, which saves decoding and encoding it."""
        sides = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return (
            data.startswith(b"\x89PNG")
            and data[24:26] == PNG_RGB
            and not any(side % self.scale for side in sides)
            and not any(chunk in data for chunk in ORIENTATION_CHUNKS)
        )
