"""Which image files are accepted, and how their pixels are read."""

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
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
EXIF_ORIENTATION = 0x0112
SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap width and height
TIFF_BITS_PER_SAMPLE, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 258, 322, 323
LARGE_TILE = 2048**2  # pixels; a TIFF's tile is decoded whole, however small the image is
JPEG_SCAN = b"\xff\xda"
MOST_SCANS = 200  # of a JPEG; twenty are many, and for each a decoder goes through the whole image
CHUNK = 2**20
PNG_BIT_DEPTH_AT = 24  # offset of the bit depth in a PNG file: signature 8, chunk head 8, width 4, height 4
STRIP_ROWS = 64
DECODED_ON_ARRIVAL = 24_000_000  # pixels; larger images are decoded only where memory is planned for, by the worker
THUMBNAIL = 256  # longest side in pixels

# The limit is ours (`max_pixels`), checked on the header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class ImageRefusedError(ValueError):
    """An image that is not taken; `code` is stable, the message says what is wrong and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ImageSize:
    width: int
    height: int


def check_image(source: Path | BinaryIO, *, max_pixels: int) -> ImageSize:
    """The size, with its EXIF orientation applied, of an image file that can be used; else `ImageRefusedError`.

    The header is read first. Images of up to 24 megapixels are then decoded, so that a damaged one is refused on
    arrival; larger ones are only checked for completeness where their format allows it.
    """
    with _opened(source) as image:
        width, height = image.size
        pixels = width * height
        if pixels > max_pixels:
            raise _too_large(max_pixels)
        try:
            sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
            if pixels <= DECODED_ON_ARRIVAL:
                image.draft(None, (1, 1))  # a JPEG's bits are all read so, but few pixels are made of them
                image.load()
            elif image.format == "PNG":
                image.verify()
        except MemoryError:
            raise
        except Exception as error:  # a decoder may raise anything on damaged bytes
            raise _corrupt(error) from error
        return ImageSize(height, width) if sideways else ImageSize(width, height)


def read_rgb(source: Path | BinaryIO) -> NDArray[np.uint8]:
    """The pixels of an image file, (height, width, 3) uint8, its EXIF orientation applied.

    Greyscale becomes three equal channels, alpha is dropped, palettes are resolved, and of several frames the first is
    taken. Raises `ImageRefusedError` for what is no such image.
    """
    with _opened(source) as image:
        try:
            # Either would copy the whole image even where there is nothing to do.
            upright = image if image.getexif().get(EXIF_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
            if upright.mode == "P" and "transparency" in upright.info:
                upright = upright.convert("RGBA")  # directly to RGB, Pillow would warn and guess
            return _rgb(upright)
        except MemoryError:
            raise
        except Exception as error:
            raise _corrupt(error) from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """In strips, so that what is copied on the way stays in the cache and takes no memory of the image's size."""
    import numpy as np  # noqa: PLC0415 - the API, which seldom needs it, starts faster without it

    pixels = np.empty((image.height, image.width, 3), np.uint8)
    image.load()
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        pixels[top : top + STRIP_ROWS] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return pixels


def count_pixels(source: Path | BinaryIO) -> int:
    """How many an image file holds by its header. Raises `ImageRefusedError` for what is no image that is taken."""
    with _opened(source) as image:
        return image.width * image.height


def thumbnail(source: Path | BinaryIO) -> bytes:
    """An image file made small, its EXIF orientation applied, as a WebP of at most 256 pixels a side.

    A JPEG is decoded at an eighth of its size or so. What would have to be decoded whole, and is larger than what is
    decoded on arrival, is refused: `ImageRefusedError`.
    """
    with _opened(source) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        if image.width * image.height > DECODED_ON_ARRIVAL:
            raise ImageRefusedError("no_thumbnail", "The image is too large to be made small on request.")
        try:
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
        except MemoryError:
            raise
        except Exception as error:
            raise _corrupt(error) from error
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=80, method=2)
        return buffer.getvalue()


def require_known_start(head: bytes) -> None:
    """Raises `ImageRefusedError` for a file that does not begin as any of the formats does."""
    if not head:
        raise ImageRefusedError("empty_file", "The file is empty.")
    if not head.startswith(STARTS):
        raise _not_an_image()


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[Image.Image]:
    with source.open("rb") if isinstance(source, Path) else source as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which does not concern the pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _open(opened) as image:
            yield image


def _open(opened: BinaryIO) -> Image.Image:
    head = opened.read(PNG_BIT_DEPTH_AT + 1)
    opened.seek(0)
    require_known_start(head)
    try:
        image = Image.open(opened, formats=FORMATS)
        _require_decodable(image, opened)
        bits = _bits(image, head)
    except (ImageRefusedError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(Image.MAX_IMAGE_PIXELS or 0) from error
    except Exception as error:
        raise _not_an_image() from error
    if bits > 8 or image.mode.startswith(("I", "F")):
        raise ImageRefusedError(
            "more_than_8_bits",
            "The image has more than 8 bits a channel; Patina works on 8-bit images. Convert it first, "
            "so that you decide how its range is mapped.",
        )
    return image


def _require_decodable(image: Image.Image, opened: BinaryIO) -> None:
    """Raises `ImageRefusedError` for an image that takes far more time or memory than its size does."""
    if image.format in ("JPEG", "MPO") and _count(opened, JPEG_SCAN) > MOST_SCANS:
        what = f"JPEG has more than {MOST_SCANS} scans"
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and _tile_pixels(image) > max(
        LARGE_TILE, 2 * image.width * image.height
    ):
        what = "TIFF has tiles that are far larger than itself"
    else:
        return
    raise ImageRefusedError("undecodable_image", f"The {what} and would take long to decode. Save it anew.")


def _tile_pixels(image: TiffImagePlugin.TiffImageFile) -> int:
    return int(image.tag_v2.get(TIFF_TILE_WIDTH, 0)) * int(image.tag_v2.get(TIFF_TILE_HEIGHT, 0))


def _bits(image: Image.Image, head: bytes) -> int:
    """A channel's. Pillow cuts 16-bit colour to 8 without a word, so the file itself is asked."""
    if image.format == "PNG":
        return head[PNG_BIT_DEPTH_AT]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(map(int, image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (8,))))  # a number for each channel
    return 8


def _count(opened: BinaryIO, marker: bytes) -> int:
    """How often a marker of two bytes comes in a file, which is left where it was."""
    before, found, last = opened.tell(), 0, b""
    opened.seek(0)
    while chunk := opened.read(CHUNK):
        found += (last + chunk).count(marker)
        last = chunk[-1:]
    opened.seek(before)
    return found


def _too_large(max_pixels: int) -> ImageRefusedError:
    return ImageRefusedError(
        "image_too_large",
        f"The image has more than {max_pixels:,} pixels. Cut it into parts, or raise PATINA_MAX_IMAGE_PIXELS.",
    )


def _not_an_image() -> ImageRefusedError:
    return ImageRefusedError(
        "not_an_image", "The file is not a PNG, JPEG, WebP, TIFF or BMP image; convert it to one of these."
    )


def _corrupt(error: Exception) -> ImageRefusedError:
    return ImageRefusedError(
        "corrupt_image", f"The image is damaged or cut off ({error}); send it again or leave it out."
    )
