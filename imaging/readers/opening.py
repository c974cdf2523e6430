"""Opens an image file of any accepted format with the reader for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from imaging import signatures, tiff_tags
from imaging.readers.base import OpenImage
from imaging.readers.heif import HeifImage
from imaging.readers.jpeg import JpegImage
from imaging.readers.pillow import AvifImage, Jpeg2000Image, PillowImage, PngImage
from imaging.readers.raw import RawImage
from imaging.readers.tiff import open_tiff
from imaging.rejections import ImageRejected, LargeImage, corrupt_image, image_too_large, not_an_image

READERS: dict[str, Callable[[BinaryIO], OpenImage]] = {
    signatures.PNG: PngImage,
    signatures.JPEG: JpegImage,
    signatures.TIFF: open_tiff,
    signatures.JPEG_2000: Jpeg2000Image,
    signatures.AVIF: AvifImage,
    signatures.HEIF: HeifImage,
    signatures.RAW: RawImage,
}


@contextmanager
def open_image(source: Path | BinaryIO) -> Iterator[OpenImage]:
    """Reads the header. Raises `ImageRejected` for what is not accepted, and for damage that raises inside."""
    with source.open("rb") if isinstance(source, Path) else source as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata, which does not affect the pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = _read_header(opened)
        try:
            yield image
        except (ImageRejected, LargeImage, MemoryError):
            raise
        except Exception as error:  # a decoder may raise anything on damaged bytes
            raise corrupt_image(error) from error
        finally:
            image.close()


def _read_header(opened: BinaryIO) -> OpenImage:
    name = signatures.identify(opened.read(signatures.HEAD_BYTES))
    opened.seek(0)
    try:
        if name == signatures.TIFF and tiff_tags.is_raw(opened):
            name = signatures.RAW
        reader = READERS.get(name)
        return reader(opened) if reader else PillowImage(opened, name)
    except (ImageRejected, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise image_too_large(Image.MAX_IMAGE_PIXELS or 0) from error
    except Exception as error:
        raise not_an_image(
            f"The file starts like a {name} image, but is damaged, or of a kind that is not supported. Open it in an "
            "image editor, save it as PNG and send that."
        ) from error
