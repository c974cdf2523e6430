"""Accepted image formats, and how their pixels are read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageOps, TiffImagePlugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
EXIF_ORIENTATION = 0x0112
ROTATED_90 = {5, 6, 7, 8}  # EXIF orientations that swap width and height
TIFF_BITS_PER_SAMPLE, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 258, 322, 323
LARGE_TILE = 2048**2  # pixels; a TIFF tile is decoded whole, however small the image is
JPEG_SCAN = b"\xff\xda"
MAX_SCANS = 200  # of a JPEG; 20 are many, and a decoder passes over the whole image for each
CHUNK = 2**20  # bytes
PNG_BIT_DEPTH_AT = 24  # offset of the bit depth in a PNG file: signature 8, chunk head 8, width 4, height 4
STRIP_ROWS = 64
MAX_PIXELS_ON_ARRIVAL = 24_000_000  # the worker, which plans its memory, decodes larger images
THUMBNAIL = 256  # longest side in pixels

# `max_pixels` is the limit instead. It is checked on the header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class ImageRejected(ValueError):
    """The image is not accepted. `code` is stable; the message says what is wrong and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ImageSize:
    """Pixels."""

    width: int
    height: int


def check_image(source: Path | BinaryIO, *, max_pixels: int) -> ImageSize:
    """Returns the size of an image, after its EXIF orientation. Raises `ImageRejected` if the image cannot be used.

    Reads the header first. Then it decodes images of up to 24 megapixels, so that a damaged one is rejected on arrival.
    Of larger ones it only checks that they are complete, if their format allows that.
    """
    with _open(source) as image:
        width, height = image.size
        pixels = width * height
        if pixels > max_pixels:
            raise _too_large_error(max_pixels)
        try:
            rotated = image.getexif().get(EXIF_ORIENTATION) in ROTATED_90
            if pixels <= MAX_PIXELS_ON_ARRIVAL:
                image.draft(None, (1, 1))  # all bits of a JPEG are read, but few pixels are computed
                image.load()
            elif image.format == "PNG":
                image.verify()
        except MemoryError:
            raise
        except Exception as error:  # a decoder may raise anything on damaged bytes
            raise _corrupt_error(error) from error
        return ImageSize(height, width) if rotated else ImageSize(width, height)


def read_rgb(source: Path | BinaryIO) -> NDArray[np.uint8]:
    """Returns the pixels of an image, (height, width, 3) uint8, after its EXIF orientation.

    Grayscale becomes three equal channels, alpha is dropped, palettes are resolved, and of several frames the first
    counts. Raises `ImageRejected`.
    """
    with _open(source) as image:
        try:
            # Each of these would copy the whole image even if there is nothing to do.
            upright = image if image.getexif().get(EXIF_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
            if upright.mode == "P" and "transparency" in upright.info:
                upright = upright.convert("RGBA")  # Pillow would warn and guess if it converted to RGB directly
            return _to_rgb(upright)
        except MemoryError:
            raise
        except Exception as error:
            raise _corrupt_error(error) from error


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Converts in strips, so that intermediate copies stay in the cache and take little memory."""
    import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

    pixels = np.empty((image.height, image.width, 3), np.uint8)
    image.load()
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        pixels[top : top + STRIP_ROWS] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return pixels


def count_pixels(source: Path | BinaryIO) -> int:
    """Returns the number of pixels by the header. Raises `ImageRejected`."""
    with _open(source) as image:
        return image.width * image.height


def thumbnail(source: Path | BinaryIO) -> bytes:
    """Returns the image, after its EXIF orientation, as a WebP file of at most 256 pixels a side.

    A JPEG is decoded at about an eighth of its size. Raises `ImageRejected`, also for an image of more than 24
    megapixels that would have to be decoded whole.
    """
    with _open(source) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        if image.width * image.height > MAX_PIXELS_ON_ARRIVAL:
            raise ImageRejected("no_thumbnail", "The image is too large for a thumbnail.")
        try:
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
        except MemoryError:
            raise
        except Exception as error:
            raise _corrupt_error(error) from error
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=80, method=2)
        return buffer.getvalue()


def check_magic(head: bytes) -> None:
    """Raises `ImageRejected` unless these first bytes of a file are those of an accepted format."""
    if not head:
        raise ImageRejected("empty_file", "The file is empty.")
    if not head.startswith(MAGIC):
        raise _not_an_image_error()


@contextmanager
def _open(source: Path | BinaryIO) -> Iterator[Image.Image]:
    with source.open("rb") if isinstance(source, Path) else source as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata, which does not affect the pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _read_header(opened) as image:
            yield image


def _read_header(opened: BinaryIO) -> Image.Image:
    head = opened.read(PNG_BIT_DEPTH_AT + 1)
    opened.seek(0)
    check_magic(head)
    try:
        image = Image.open(opened, formats=FORMATS)
        _check_decoding_cost(image, opened)
        bits = _bits_per_channel(image, head)
    except (ImageRejected, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large_error(Image.MAX_IMAGE_PIXELS or 0) from error
    except Exception as error:
        raise _not_an_image_error() from error
    if bits > 8 or image.mode.startswith(("I", "F")):
        raise ImageRejected(
            "more_than_8_bits",
            "The image has more than 8 bits per channel, and Patina works on 8-bit images. Convert it first: only you "
            "know how to map its range.",
        )
    return image


def _check_decoding_cost(image: Image.Image, opened: BinaryIO) -> None:
    """Raises `ImageRejected` for an image that takes far more time or memory than its size suggests."""
    if image.format in ("JPEG", "MPO") and _count(opened, JPEG_SCAN) > MAX_SCANS:
        reason = f"JPEG has more than {MAX_SCANS} scans"
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and _tile_pixels(image) > max(
        LARGE_TILE, 2 * image.width * image.height
    ):
        reason = "TIFF has tiles that are far larger than the image"
    else:
        return
    raise ImageRejected(
        "undecodable_image", f"The {reason} and would take long to decode. Open it, save it again and send that."
    )


def _tile_pixels(image: TiffImagePlugin.TiffImageFile) -> int:
    return int(image.tag_v2.get(TIFF_TILE_WIDTH, 0)) * int(image.tag_v2.get(TIFF_TILE_HEIGHT, 0))


def _bits_per_channel(image: Image.Image, head: bytes) -> int:
    """Reads it from the file, because Pillow silently reduces 16-bit color to 8."""
    if image.format == "PNG":
        return head[PNG_BIT_DEPTH_AT]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(map(int, image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (8,))))  # a number for each channel
    return 8


def _count(opened: BinaryIO, marker: bytes) -> int:
    """Counts a marker of two bytes in a file, whose position it restores."""
    before, count, last = opened.tell(), 0, b""
    opened.seek(0)
    while chunk := opened.read(CHUNK):
        count += (last + chunk).count(marker)
        last = chunk[-1:]
    opened.seek(before)
    return count


def _too_large_error(max_pixels: int) -> ImageRejected:
    return ImageRejected(
        "image_too_large",
        f"The image has more than {max_pixels:,} pixels. Cut it into parts, or raise PATINA_MAX_IMAGE_PIXELS.",
    )


def _not_an_image_error() -> ImageRejected:
    return ImageRejected("not_an_image", "The file is not a PNG, JPEG, WebP, TIFF or BMP image. Convert it to one.")


def _corrupt_error(error: Exception) -> ImageRejected:
    return ImageRejected("corrupt_image", f"The image is damaged or cut off ({error}). Send it again or leave it out.")
