"""The clean images that a job's low-resolution ones were made of, cut so that the two fit each other exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imaging.png import write_png
from store.db.tables import Item
from store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PNG_RGB = b"\x08\x02"  # in the head of a PNG: 8 bits, three channels
# Chunks that would have the image turned, or taken from several: then it has to be read to know what it shows.
TELLING = (b"eXIf", b"Raw profile type", b"acTL")


@dataclass
class HrImageWriter:
    """Keeps the last one that it made, for an image's samples follow each other, and the last image that it cut, for so
    do its squares."""

    store: Store
    scale: int
    _last: tuple[str, bytes] = field(default=("", b""), init=False)
    _whole: tuple[str, NDArray[np.uint8]] | None = field(default=None, init=False)

    def png(self, item: Item) -> bytes:
        """A PNG of s·h × s·w pixels, where the low-resolution image has h × w."""
        if self._last[0] != item.stem:
            self._last = item.stem, self._make(item.sha256 or "", item.crop)
        return self._last[1]

    def _make(self, sha256: str, crop: list[int] | None) -> bytes:
        """Raises `BlobDamagedError` where it is no longer what the low-resolution one was made of."""
        if crop:
            top, left, height, width = crop
            pixels = self._cut_from(sha256)[top : top + height, left : left + width]
        elif self._fits(data := self.store.blobs.read(sha256)):
            return data
        else:
            pixels = self.store.decoders.read_rgb(self.store.blobs.path(sha256))
        height, width = (side // self.scale * self.scale for side in pixels.shape[:2])
        return write_png(pixels[:height, :width])

    def _cut_from(self, sha256: str) -> NDArray[np.uint8]:
        if self._whole is None or self._whole[0] != sha256:
            self._whole = sha256, self.store.decoders.read_rgb(self.store.blobs.verified(sha256))
        return self._whole[1]

    def _fits(self, data: bytes) -> bool:
        """Whether the file is such a PNG already, which saves decoding and encoding it."""
        sides = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return (
            data.startswith(b"\x89PNG")
            and data[24:26] == PNG_RGB
            and not any(side % self.scale for side in sides)
            and not any(chunk in data for chunk in TELLING)
        )
