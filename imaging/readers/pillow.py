"""Images that Pillow decodes, with all bits of their samples where Pillow would cut them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageFile

from imaging.color import CMYK, GRAY, LAB, RGB
from imaging.readers.base import (
    EXIF_ORIENTATION,
    HEADER_BYTES,
    STRIP_ROWS,
    OpenImage,
    Rows,
    scale_float,
    stretch,
    to_mask,
    unsupported_depth,
)
from imaging.readers.large import is_large, iter_rows
from imaging.readers.properties import avif_bits, jpeg_2000_bits, read_cicp
from imaging.rejections import corrupt_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PNG_BIT_DEPTH_AT, PNG_COLOR_TYPE_AT = 24, 25  # in a PNG file, after signature 8, chunk head 8, width 4, height 4
PNG_GRAY_ALPHA = 4  # color type

# `max_pixels` is the limit instead. It is checked on the header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class PillowImage(OpenImage):
    """An image that Pillow decodes."""

    def __init__(self, opened: BinaryIO, *formats: str):
        super().__init__()
        self._image = Image.open(opened, formats=formats)
        self.format = formats[0]
        self.frames = getattr(self._image, "n_frames", 1)
        self._read_facts()

    def _read_facts(self) -> None:
        image = self._image
        self.width, self.height = image.size
        self.has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        self.space = image.mode if image.mode in (CMYK, LAB) else GRAY if image.mode in ("1", "L", "LA") else RGB
        if image.mode.startswith(("I", "F")):
            self.bits, self.space = 16 if image.mode.startswith("I;16") else 32, GRAY
        profile = image.info.get("icc_profile")
        self.profile = profile if isinstance(profile, bytes) else b""

    def _read_metadata(self) -> None:
        """Reads EXIF, for which some formats are decoded."""
        exif = self._image.getexif()
        orientation = exif.get(EXIF_ORIENTATION)
        self.orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
        stored = self._image.info.get("exif")
        self.exif = stored if isinstance(stored, bytes) else exif.tobytes() if exif else b""
        xmp = self._image.info.get("xmp")
        self.xmp = xmp if isinstance(xmp, bytes) else b""

    @property
    def upright_size(self) -> tuple[int, int]:
        self._read_metadata()
        return super().upright_size

    def select(self, frame: int) -> None:
        self._image.seek(frame)
        self._read_facts()

    def shrink(self, side: int) -> None:
        self._image.draft(None, (side, side))
        self.width, self.height = self._image.size

    def rows(self) -> Iterator[tuple[int, Rows]]:
        if self.space == RGB and is_large(self._image):
            for top, pixels in iter_rows(self._image):
                if top == 0:
                    self._read_metadata()
                yield top, Rows(pixels, None)
            return
        self._image.load()
        self._read_metadata()
        for top in range(0, self.height, STRIP_ROWS):
            # In strips, so that intermediate copies stay in the cache and take little memory.
            yield top, self._convert(self._image.crop((0, top, self.width, min(top + STRIP_ROWS, self.height))))

    def _convert(self, strip: Image.Image) -> Rows:
        import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

        if strip.mode == "I":
            raise unsupported_depth("grayscale image of 32 bits")
        if strip.mode.startswith("I;16"):
            return Rows(np.asarray(strip).astype(np.uint16)[..., None], None)
        if strip.mode == "F":
            return Rows(scale_float(np.asarray(strip))[..., None], None)
        if self.has_alpha:
            # Directly to RGB, Pillow would warn and guess what is transparent.
            with_alpha = np.asarray(strip.convert("LA" if self.space == GRAY else "RGBA"))
            return Rows(with_alpha[..., :-1], with_alpha[..., -1])
        if strip.mode != self.space:
            strip = strip.convert(self.space)
        samples = np.asarray(strip)
        if self.space == LAB:
            samples = samples ^ np.array([0, 128, 128], np.uint8)  # Pillow gives a and b with a sign
        return Rows(samples if samples.ndim == 3 else samples[..., None], None)


class PngImage(PillowImage):
    """A PNG, of 16 bits if it has them: Pillow would cut them to 8."""

    max_pixels_on_arrival = sys.maxsize  # its EXIF data may come last

    def __init__(self, opened: BinaryIO):
        self._opened = opened
        head = opened.read(PNG_COLOR_TYPE_AT + 1)
        opened.seek(0)
        super().__init__(opened, "PNG")
        self.bits = max(8, head[PNG_BIT_DEPTH_AT])
        if head[PNG_COLOR_TYPE_AT] == PNG_GRAY_ALPHA:  # of 16 bits, Pillow calls it RGBA
            self.space = GRAY
        self._frame = 0

    def select(self, frame: int) -> None:
        self._frame = frame
        super().select(frame)

    def check(self) -> None:
        self._image.load()

    def rows(self) -> Iterator[tuple[int, Rows]]:
        import numpy as np  # noqa: PLC0415

        transparent = self._image.info.get("transparency")
        if self.bits == 8 or self._frame:
            yield from super().rows()
        elif self._image.mode == "I;16":
            for top, rows in super().rows():
                alpha = None if transparent is None else to_mask(rows.samples[..., 0] != transparent)
                yield top, Rows(rows.samples, alpha)
        elif self.space == GRAY:
            self._image = decode_raw(self._reopen(), "RGBA")
            self._read_metadata()
            pairs = np.asarray(self._image).view(">u2").astype(np.uint16)
            yield 0, Rows(pairs[..., :1], pairs[..., 1])
        else:
            self._image, samples = read_16_bits(self._reopen)
            self._read_metadata()
            if samples.shape[-1] == 4:
                yield 0, Rows(samples[..., :3], samples[..., 3])
            else:
                yield 0, Rows(samples, None if transparent is None else to_mask((samples != transparent).any(-1)))

    def _reopen(self) -> ImageFile.ImageFile:
        return open_again(self._opened, "PNG")


class Jpeg2000Image(PillowImage):
    """A JPEG 2000 file or codestream. Color of more than 8 bits comes in 8 from Pillow, gray in all of them."""

    def __init__(self, opened: BinaryIO):
        head = opened.read(HEADER_BYTES)
        opened.seek(0)
        try:
            super().__init__(opened, "JPEG2000")
        except MemoryError as error:  # Pillow reads a box of any length at once
            raise corrupt_image("a box is longer than the file") from error
        self.bits = jpeg_2000_bits(head)

    def _convert(self, strip: Image.Image) -> Rows:
        rows = super()._convert(strip)
        if not strip.mode.startswith("I;16"):
            return rows
        return Rows(stretch(rows.samples >> (16 - self.bits), self.bits), rows.alpha)  # Pillow has its bits on top


class AvifImage(PillowImage):
    """An AVIF. Pillow decodes more than 8 bits to 8, rounded."""

    def __init__(self, opened: BinaryIO):
        from PIL import AvifImagePlugin  # noqa: PLC0415 - only this format needs it

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread takes address space
        head = opened.read(HEADER_BYTES)
        opened.seek(0)
        super().__init__(opened, "AVIF")
        self.bits = avif_bits(head)
        if not self.profile:
            self.profile = read_cicp(head, self.warnings)


def open_again(opened: BinaryIO, format_name: str) -> ImageFile.ImageFile:
    opened.seek(0)
    image = Image.open(opened, formats=[format_name])
    assert isinstance(image, ImageFile.ImageFile)
    return image


def decode_raw(image: ImageFile.ImageFile, raw_mode: str) -> ImageFile.ImageFile:
    """Decodes an image with another interpretation of its stored bytes, one of Pillow's raw modes."""
    image.tile = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]))
        for tile in image.tile
    ]
    image.load()
    return image


def read_16_bits(reopen: Callable[[], ImageFile.ImageFile]) -> tuple[ImageFile.ImageFile, NDArray[np.uint16]]:
    """Returns an opened image and its samples (h, w, channels).

    Pillow keeps one byte of each sample, by its raw mode the upper or the lower one. So the image is decoded twice.
    """
    import numpy as np  # noqa: PLC0415

    image = reopen()
    args = image.tile[0].args
    raw_mode = (args if isinstance(args, str) else str((args or ("",))[0])).replace("RGBa", "RGBA")
    native = "L" if sys.byteorder == "little" else "B"
    order = native if raw_mode.endswith("N") else raw_mode[-1]
    samples = np.asarray(decode_raw(image, raw_mode[:-1] + order)).astype(np.uint16)
    samples *= np.uint16(256)
    samples += np.asarray(decode_raw(reopen(), raw_mode[:-1] + ("B" if order == "L" else "L")))
    return image, samples
