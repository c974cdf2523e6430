"""TIFF files: by Pillow, and by tifffile where Pillow does not know the layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin

from imaging import signatures, tiff_tags
from imaging.color import GRAY, LAB, RGB
from imaging.readers.base import EXIF_ORIENTATION, OpenImage, Rows, scale_float, stretch, unsupported_depth
from imaging.readers.pillow import PillowImage, open_again, read_16_bits
from imaging.rejections import missing_decoder, undecodable_image

TIFF_SUBFILE_TYPE, TIFF_BITS_PER_SAMPLE, TIFF_PHOTOMETRIC = 254, 258, 262
TIFF_EXTRA_SAMPLES, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT, TIFF_XMP = 338, 322, 323, 700
WHITE_IS_ZERO, PREMULTIPLIED, SEPARATE_PLANES = 0, 1, 2
# By (photometric interpretation, samples per pixel): the color space, and whether there is alpha.
TIFF_LAYOUTS = {(1, 1): (GRAY, False), (2, 3): (RGB, False), (2, 4): (RGB, True)}
REDUCED_OR_MASK = 1 | 4  # subfile types that are no page
LARGE_TILE = 2048**2  # pixels; a TIFF tile is decoded whole, however small the image is

# 16 bits for each channel of CIELAB, which Pillow does not know. Its samples are read like those of RGB.
for _order in (b"II", b"MM"):
    TiffImagePlugin.OPEN_INFO.setdefault(
        (_order, 8, (1,), 1, (16, 16, 16), ()), ("RGB", f"RGB;16{'L' if _order == b'II' else 'B'}")
    )


class TiffImage(PillowImage):
    """A TIFF; of several pages those that are no previews or masks. Its 16 bits are kept: Pillow would cut them."""

    def __init__(self, opened: BinaryIO):
        self._opened = opened
        super().__init__(opened, "TIFF")
        self._pages = self._list_pages()
        self.frames = len(self._pages)
        self._page = self._pages[0]
        self._image.seek(self._page)
        self._read_facts()

    def _list_pages(self) -> list[int]:
        assert isinstance(self._image, TiffImagePlugin.TiffImageFile)
        pages = []
        for page in range(self.frames):
            try:
                self._image.seek(page)
                kind = self._image.tag_v2.get(TIFF_SUBFILE_TYPE, 0)
            except (OSError, EOFError, ValueError, SyntaxError, KeyError):
                break
            if not isinstance(kind, int) or not kind & REDUCED_OR_MASK:
                pages.append(page)
        return pages or [0]

    def _read_facts(self) -> None:
        super()._read_facts()
        tags = self._tags(self._image)
        self.bits = max(8, *map(int, tags.get(TIFF_BITS_PER_SAMPLE, (8,))))  # a number for each channel
        tile_pixels = int(tags.get(TIFF_TILE_WIDTH, 0)) * int(tags.get(TIFF_TILE_HEIGHT, 0))
        if tile_pixels > max(LARGE_TILE, 2 * self.pixels):
            raise undecodable_image("TIFF has tiles that are far larger than the image")
        if tags.get(TIFF_PHOTOMETRIC) == 8 and self.bits == 16:
            self.space = LAB
        xmp = tags.get(TIFF_XMP)
        self.xmp = xmp if isinstance(xmp, bytes) else b""

    def _read_metadata(self) -> None:
        xmp = self.xmp
        super()._read_metadata()
        self.xmp = self.xmp or xmp
        self.exif = self._image.getexif().tobytes()

    def select(self, frame: int) -> None:
        self._page = self._pages[frame]
        super().select(self._page)

    def rows(self) -> Iterator[tuple[int, Rows]]:
        if self.bits <= 8 or self._image.mode in ("F", "I"):
            yield from super().rows()
            return
        import numpy as np  # noqa: PLC0415

        tags = self._tags(self._image)
        if self._image.mode.startswith("I;16"):
            for top, rows in super().rows():
                samples = stretch(rows.samples, self.bits)
                yield top, Rows(65535 - samples if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO else samples, rows.alpha)
            return
        premultiplied = PREMULTIPLIED in tuple(tags.get(TIFF_EXTRA_SAMPLES, ()))
        self._image, samples = read_16_bits(self._reopen)
        self._read_metadata()
        if self.space == LAB:  # a and b have a sign
            samples[..., 1:] ^= np.uint16(0x8000)
        if samples.shape[-1] == 4 and self.space == RGB:
            colors, alpha = samples[..., :3], samples[..., 3]
            if premultiplied:
                scale = np.float32(65535) / np.maximum(alpha, 1)[..., None]
                colors = np.minimum(colors * scale + np.float32(0.5), 65535).astype(np.uint16)
            yield 0, Rows(colors, alpha)
        else:
            yield 0, Rows(samples, None)

    def _reopen(self) -> ImageFile.ImageFile:
        image = open_again(self._opened, "TIFF")
        image.seek(self._page)
        return image

    @staticmethod
    def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        return image.tag_v2


class DeepTiffImage(OpenImage):
    """A deep TIFF in a layout that Pillow does not know: floating point, or channels that are stored apart."""

    format = signatures.TIFF

    def __init__(self, opened: BinaryIO):
        super().__init__()
        try:
            import tifffile  # noqa: PLC0415 - an extra, and only for these files
        except ImportError as error:
            raise missing_decoder("a floating-point TIFF, or one with separate channels", "'patina[tiff]'") from error

        self._file = tifffile.TiffFile(opened)
        pages: list[Any] = list(self._file.pages)
        self._pages = [page for page in pages if not int(getattr(page, "subfiletype", 0)) & REDUCED_OR_MASK]
        self.frames = len(self._pages)
        self.select(0)

    def select(self, frame: int) -> None:
        self._page = self._pages[frame]
        self.height, self.width = self._page.imagelength, self._page.imagewidth
        self.bits = int(self._page.bitspersample)
        layout, kind = (int(self._page.photometric), self._page.samplesperpixel), self._page.dtype
        if layout not in TIFF_LAYOUTS or kind is None or not (kind.kind == "f" or kind == "uint16"):
            raise unsupported_depth(f"TIFF of {self.bits} bits per channel in a layout that is not supported")
        self.space, self.has_alpha = TIFF_LAYOUTS[layout]
        self.profile = self._page.iccprofile or b""
        orientation = int(self._page.tags.valueof(EXIF_ORIENTATION, 1))
        self.orientation = orientation if orientation in range(1, 9) else 1

    def rows(self) -> Iterator[tuple[int, Rows]]:
        import numpy as np  # noqa: PLC0415

        samples = self._page.asarray(maxworkers=1)
        if samples.ndim == 2:
            samples = samples[..., None]
        elif int(self._page.planarconfig) == SEPARATE_PLANES:
            samples = np.moveaxis(samples, 0, -1)
        samples = scale_float(samples) if samples.dtype.kind == "f" else samples.astype(np.uint16)
        yield 0, Rows(samples[..., :3], samples[..., 3] if self.has_alpha else None)

    def close(self) -> None:
        self._file.close()


def open_tiff(opened: BinaryIO) -> OpenImage:
    if tiff_tags.needs_other_reader(opened):
        return DeepTiffImage(opened)
    return TiffImage(opened)
