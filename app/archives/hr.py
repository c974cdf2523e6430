"""The clean images that a job's low-resolution ones were made of, cut so that the two fit each other exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

from store.png import write_png
from store.store import Store
from store.tables import Item

PNG_RGB = b"\x08\x02"  # in the head of a PNG: 8 bits, three channels
# Chunks that would have the image turned, or taken from several: then it has to be read to know what it shows.
TELLING = (b"eXIf", b"Raw profile type", b"acTL")


@dataclass
class CleanImages:
    """Keeps the last one that it made, for an image's samples follow each other."""

    store: Store
    scale: int
    _last: tuple[str, bytes] = field(default=("", b""), init=False)

    def png(self, item: Item) -> bytes:
        """A PNG of s·h × s·w pixels, where the low-resolution image has h × w."""
        if self._last[0] != item.stem:
            self._last = item.stem, self._make(item.sha256 or "", item.crop)
        return self._last[1]

    def _make(self, sha256: str, crop: list[int] | None) -> bytes:
        """Raises `BlobDamagedError` where it is no longer what the low-resolution one was made of."""
        data = self.store.blobs.read(sha256)
        if not crop and self._fits(data):
            return data
        pixels = self.store.decoders.read_rgb(self.store.blobs.path(sha256))
        if crop:
            top, left, height, width = crop
            pixels = pixels[top : top + height, left : left + width]
        height, width = (side // self.scale * self.scale for side in pixels.shape[:2])
        return write_png(pixels[:height, :width])

    def _fits(self, data: bytes) -> bool:
        """Whether the file is such a PNG already, which saves decoding and encoding it."""
        sides = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return (
            data.startswith(b"\x89PNG")
            and data[24:26] == PNG_RGB
            and not any(side % self.scale for side in sides)
            and not any(chunk in data for chunk in TELLING)
        )
