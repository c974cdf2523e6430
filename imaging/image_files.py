"""Accepted image files: what they are, and their pixels.

The functions decode in this process. For untrusted files `imaging.decoder_pool` calls them in processes of their own.
Those with a parameter `large` raise `LargeImage` for an image of more pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from imaging.color import LAB, ColorConverter, round_to_8_bits
from imaging.image_info import ImageCheck, ImageSize, Picture, Rectangle
from imaging.readers.base import STRIP_ROWS, OpenImage
from imaging.readers.opening import open_image
from imaging.rejections import ImageRejected, LargeImage, image_too_large, mostly_transparent
from imaging.transparency import find_opaque

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL = 256  # longest side in pixels
MAX_THUMBNAIL_PIXELS = 24_000_000  # that are decoded for it
# EXIF orientations: whether the stored rows are columns, start at the bottom (or as columns, at the right), and whether
# each row runs from right to left (or from bottom to top).
ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}

Allocate = Callable[[tuple[int, ...], str], "NDArray[Any]"]
"""Returns a new array with a shape and a type."""


def check_image(source: Path | BinaryIO, *, max_pixels: int, large: int | None = None) -> ImageCheck:
    """Returns what is known of an image. Raises `ImageRejected` if it cannot be used.

    Reads the header first. Then it decodes images of up to 24 megapixels, every PNG, and all with transparency, so that
    a damaged one is rejected on arrival.
    """
    with open_image(source) as image:
        if image.pixels > max_pixels:
            raise image_too_large(max_pixels)
        _require_small(image, large)
        width, height = image.upright_size
        opaque: Rectangle | None = (0, 0, height, width)
        if image.has_alpha:
            alpha = _decode(image, keep_color=True).alpha
            opaque = opaque if alpha is None else find_opaque(alpha)
        elif image.pixels <= image.max_pixels_on_arrival:
            image.check()
        remarks = [*image.warnings, *ColorConverter(image.space, image.profile).warnings]
        return ImageCheck(ImageSize(width, height), opaque, image.bits, image.frames, tuple(remarks))


def read_rgb(
    source: Path | BinaryIO, *, allocate: Allocate | None = None, large: int | None = None
) -> NDArray[np.uint8]:
    """Returns the opaque part of an image, (height, width, 3) uint8, in sRGB, after its EXIF orientation.

    Color profiles are applied, more than 8 bits are scaled, and of several frames the first counts. Raises
    `ImageRejected`, also if less than a quarter of the image is opaque.
    """
    with open_image(source) as image:
        _require_small(image, large)
        picture = _decode(image, allocate=allocate)
        if picture.alpha is None:
            return picture.rgb  # type: ignore[return-value] # not `deep`
        if (opaque := find_opaque(picture.alpha)) is None:
            raise mostly_transparent()
        top, left, height, width = opaque
        return picture.rgb[top : top + height, left : left + width]  # type: ignore[return-value] # not `deep`


def read_picture(
    source: Path | BinaryIO, *, deep: bool = False, keep_color: bool = False, large: int | None = None
) -> Picture:
    """Returns a whole image, after its EXIF orientation. Raises `ImageRejected`.

    `deep` returns 16 bits per channel if the image has more than 8. `keep_color` leaves the pixels of an RGB image in
    its color profile; all others are converted to sRGB.
    """
    with open_image(source) as image:
        _require_small(image, large)
        return _decode(image, deep=deep, keep_color=keep_color)


def read_frames(
    source: Path | BinaryIO, start: int, save: Callable[[bytes], bool], *, max_pixels: int, large: int | None = None
) -> None:
    """Calls `save` with frames of an image as PNG files in sRGB, with 8 bits per channel, from frame `start` on.

    Stops when `save` returns False. Raises `ImageRejected`.
    """
    with open_image(source) as image:
        for number in range(start, image.frames):
            image.select(number)
            if image.pixels > max_pixels:
                raise image_too_large(max_pixels)
            _require_small(image, large)
            if not save(_to_png(_decode(image))):
                break


def count_pixels(source: Path | BinaryIO) -> int:
    """Returns the number of pixels by the header. Raises `ImageRejected`."""
    with open_image(source) as image:
        return image.pixels


def thumbnail(source: Path | BinaryIO) -> bytes:
    """Returns the image in sRGB, after its EXIF orientation, as a WebP file of at most 256 pixels a side.

    A JPEG is decoded at about an eighth of its size. Raises `ImageRejected`, also for an image of more than 24
    megapixels that would have to be decoded whole.
    """
    with open_image(source) as image:
        image.shrink(THUMBNAIL)
        if image.pixels > MAX_THUMBNAIL_PIXELS:
            raise ImageRejected("no_thumbnail", "The image is too large for a thumbnail.")
        small = _to_pillow(_decode(image))
        small.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=80, method=2)
        return buffer.getvalue()


def _require_small(image: OpenImage, large: int | None) -> None:
    if large is not None and image.pixels > large:
        raise LargeImage


def _decode(
    image: OpenImage, *, deep: bool = False, keep_color: bool = False, allocate: Allocate | None = None
) -> Picture:
    """Decodes an open image. Rows are converted in strips and written to their upright place at once."""
    import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

    allocate = allocate or np.empty
    converter = ColorConverter(image.space, image.profile, keep=keep_color)
    rgb = alpha = None
    stored_rgb = stored_alpha = None
    for top, samples, alpha_rows in _iter_strips(image):
        to_8_bits = samples.dtype == np.uint16 and not deep
        if rgb is None:
            width, height = image.upright_size
            kind = "uint8" if to_8_bits else samples.dtype.name
            rgb = allocate((height, width, 3), kind)
            stored_rgb = _as_stored(rgb, image.orientation)
            if alpha_rows is not None:
                alpha = allocate((height, width), kind)
                stored_alpha = _as_stored(alpha, image.orientation)
        assert stored_rgb is not None
        rows = slice(top, top + len(samples))
        # Of CIELAB after the conversion: a step there in 8 bits is up to ten of sRGB.
        is_rounded_first = to_8_bits and converter.space != LAB
        colors = converter.to_rgb(round_to_8_bits(samples) if is_rounded_first else samples)
        stored_rgb[rows] = round_to_8_bits(colors) if colors.dtype != stored_rgb.dtype else colors
        if alpha_rows is not None and stored_alpha is not None:
            stored_alpha[rows] = round_to_8_bits(alpha_rows) if to_8_bits else alpha_rows
    assert rgb is not None
    return Picture(rgb, alpha, converter.kept, image.exif, image.xmp)


def _iter_strips(image: OpenImage) -> Iterator[tuple[int, NDArray[Any], NDArray[Any] | None]]:
    """Yields rows in strips that take little memory when they are converted."""
    for top, (samples, alpha) in image.rows():
        for start in range(0, len(samples), STRIP_ROWS):
            rows = slice(start, start + STRIP_ROWS)
            yield top + start, samples[rows], None if alpha is None else alpha[rows]


def _as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Returns a view of upright pixels in the order of a file with this EXIF orientation."""
    rows_are_columns, from_bottom, from_right = ORIENTATIONS.get(orientation, (False, False, False))
    stored = upright.swapaxes(0, 1) if rows_are_columns else upright
    return stored[:: -1 if from_bottom else 1, :: -1 if from_right else 1]


def _to_pillow(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    return image


def _to_png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    _to_pillow(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
