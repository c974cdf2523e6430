"""Opens an image file of any accepted format behind one interface: facts of its header first, then rows of samples."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin

from imaging import color, signatures, tiff_tags
from imaging.color import CMYK, GRAY, LAB, RGB
from imaging.jpeg_structure import JpegStructure, read_structure
from imaging.rejections import (
    ImageRejected,
    ImageWarning,
    LargeImage,
    corrupt_image,
    image_too_large,
    missing_decoder,
    not_an_image,
    raw_file,
    undecodable_image,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.uint8] | NDArray[np.uint16]

EXIF_ORIENTATION = 0x0112
TIFF_SUBFILE_TYPE, TIFF_BITS_PER_SAMPLE, TIFF_PHOTOMETRIC = 254, 258, 262
TIFF_EXTRA_SAMPLES, TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT, TIFF_XMP = 338, 322, 323, 700
WHITE_IS_ZERO, PREMULTIPLIED, SEPARATE_PLANES = 0, 1, 2
# By (photometric interpretation, samples per pixel): the color space, and whether there is alpha.
TIFF_LAYOUTS = {(1, 1): (GRAY, False), (2, 3): (RGB, False), (2, 4): (RGB, True)}
REDUCED_OR_MASK = 1 | 4  # subfile types that are no page
LARGE_TILE = 2048**2  # pixels; a TIFF tile is decoded whole, however small the image is
MANY_SCANS = 30  # of a JPEG; encoders use 10
PNG_BIT_DEPTH_AT, PNG_COLOR_TYPE_AT = 24, 25  # in a PNG file, after signature 8, chunk head 8, width 4, height 4
PNG_GRAY_ALPHA = 4  # color type
HEADER_BYTES = 2**20  # of HEIF, AVIF and JPEG 2000 files, where we look for their properties
JPEG_END = b"\xff\xd9"
LAST_BLOCK = 17  # pixels a side of the last block, which may be incomplete: 16, and one that is interpolated
PROBE = bytes(range(1, 255)) * 16  # continues a JPEG's scan with nonsense
DRAFT_PIXELS = 24_000_000  # a progressive JPEG of more is compared in blocks

# `max_pixels` is the limit instead. It is checked on the header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# 16 bits for each channel of CIELAB, which Pillow does not know. Its samples are read like those of RGB.
for _order in (b"II", b"MM"):
    TiffImagePlugin.OPEN_INFO.setdefault(
        (_order, 8, (1,), 1, (16, 16, 16), ()), ("RGB", f"RGB;16{'L' if _order == b'II' else 'B'}")
    )


class Rows(NamedTuple):
    """Some rows of an image: samples (n, w, channels) in its color space, and alpha (n, w) if it has any."""

    samples: Samples
    alpha: Samples | None


class OpenImage:
    """An image whose header was read. Subclasses decode it.

    `width` and `height` are those of the stored pixels, before `orientation` (EXIF, 1..8) is applied. `bits` is the
    depth of a channel; samples of more than 8 bits are scaled to 16. `space` is one of `imaging.color`.
    """

    format = ""
    width = height = 0
    orientation = 1
    bits = 8
    frames = 1
    space = RGB
    has_alpha = False
    profile = exif = xmp = b""
    max_pixels_on_arrival = 24_000_000  # larger images are decoded later, where memory is planned

    def __init__(self) -> None:
        self.warnings: list[ImageWarning] = []

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Returns (width, height) after its orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    def check(self) -> None:
        """Raises if the pixels are damaged, as far as that can be told without much memory."""
        for _ in self.rows():
            pass

    def rows(self) -> Iterator[tuple[int, Rows]]:
        """Yields all rows, in strips with the number of the first row."""
        raise NotImplementedError

    def select(self, frame: int) -> None:
        """Makes a frame the one that is read, 0 the first."""
        if frame:
            raise EOFError(frame)

    def shrink(self, side: int) -> None:
        """May decode with fewer pixels, at least `side` of them a side, if that is faster."""

    def close(self) -> None:
        """Ends its use of the file."""


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
            return Rows(_scale_float(np.asarray(strip))[..., None], None)
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


STRIP_ROWS = 64


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
                alpha = None if transparent is None else _mask(rows.samples[..., 0] != transparent)
                yield top, Rows(rows.samples, alpha)
        elif self.space == GRAY:
            self._image = _decode(self._reopen(), "RGBA")
            self._read_metadata()
            pairs = np.asarray(self._image).view(">u2").astype(np.uint16)
            yield 0, Rows(pairs[..., :1], pairs[..., 1])
        else:
            self._image, samples = _read_16_bits(self._reopen)
            self._read_metadata()
            if samples.shape[-1] == 4:
                yield 0, Rows(samples[..., :3], samples[..., 3])
            else:
                yield 0, Rows(samples, None if transparent is None else _mask((samples != transparent).any(-1)))

    def _reopen(self) -> ImageFile.ImageFile:
        return _open_again(self._opened, "PNG")


class JpegImage(PillowImage):
    """A JPEG, read as forgivingly as viewers do: its end marker may be missing, and something else may follow it.

    The second image of an MPO is a frame if it has the same size. Otherwise it is a preview.
    """

    def __init__(self, opened: BinaryIO):
        structure = read_structure(opened)
        complete = opened if structure.complete else _complete_jpeg(opened, structure)
        super().__init__(complete, "JPEG", "MPO")
        if self.frames > 1:
            self.frames = self._count_equal_frames()
        if not structure.complete:
            self._warn("missing_end", "The file lacks its end marker, and perhaps a part of its last 16×16 pixels.")
        elif structure.trailing_bytes and self.frames == 1:
            self._warn(
                "trailing_data",
                f"{structure.trailing_bytes:,} bytes follow the image, such as a preview, a gain map or the video of a "
                "motion photo. They are ignored.",
            )
        if structure.scans > MANY_SCANS:
            self._warn("many_scans", f"The JPEG has {structure.scans} scans and is slow to decode. Save it again.")

    def _warn(self, code: str, message: str) -> None:
        self.warnings.append(ImageWarning(code, message))

    def _count_equal_frames(self) -> int:
        size = self._image.size
        for frame in range(1, self.frames):
            try:
                self._image.seek(frame)
                equal = self._image.size == size
            except (OSError, EOFError, ValueError, SyntaxError):
                equal = False
            if not equal:
                self._image.seek(0)
                return frame
        self._image.seek(0)
        return self.frames

    def check(self) -> None:
        self._image.draft(None, (1, 1))  # all bits are read, but few pixels are computed
        self._image.load()


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
                samples = _stretch(rows.samples, self.bits)
                yield top, Rows(65535 - samples if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO else samples, rows.alpha)
            return
        premultiplied = PREMULTIPLIED in tuple(tags.get(TIFF_EXTRA_SAMPLES, ()))
        self._image, samples = _read_16_bits(self._reopen)
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
        image = _open_again(self._opened, "TIFF")
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
        samples = _scale_float(samples) if samples.dtype.kind == "f" else samples.astype(np.uint16)
        yield 0, Rows(samples[..., :3], samples[..., 3] if self.has_alpha else None)

    def close(self) -> None:
        self._file.close()


def _open_tiff(opened: BinaryIO) -> OpenImage:
    if tiff_tags.needs_other_reader(opened):
        return DeepTiffImage(opened)
    return TiffImage(opened)


class Jpeg2000Image(PillowImage):
    """A JPEG 2000 file or codestream. Color of more than 8 bits comes in 8 from Pillow, gray in all of them."""

    def __init__(self, opened: BinaryIO):
        head = opened.read(HEADER_BYTES)
        opened.seek(0)
        super().__init__(opened, "JPEG2000")
        self.bits = _jpeg_2000_bits(head)

    def _convert(self, strip: Image.Image) -> Rows:
        rows = super()._convert(strip)
        if not strip.mode.startswith("I;16"):
            return rows
        return Rows(_stretch(rows.samples >> (16 - self.bits), self.bits), rows.alpha)  # Pillow has its bits on top


class AvifImage(PillowImage):
    """An AVIF. Pillow decodes more than 8 bits to 8, rounded."""

    def __init__(self, opened: BinaryIO):
        from PIL import AvifImagePlugin  # noqa: PLC0415 - only this format needs it

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread takes address space
        head = opened.read(HEADER_BYTES)
        opened.seek(0)
        super().__init__(opened, "AVIF")
        self.bits = _avif_bits(head)
        if not self.profile:
            self.profile = _read_cicp(head, self.warnings)


class HeifImage(OpenImage):
    """A HEIF or HEIC file. Its transformations are applied by its decoder."""

    format = signatures.HEIF

    def __init__(self, opened: BinaryIO):
        super().__init__()
        try:
            import pi_heif  # noqa: PLC0415 - a decoder that only this format needs
        except ImportError as error:
            raise missing_decoder("HEIC", "pi-heif") from error

        pi_heif.options.DECODE_THREADS = 1  # each thread takes address space
        head = opened.read(HEADER_BYTES)
        opened.seek(0)
        self._file = pi_heif.open_heif(opened, convert_hdr_to_8bit=False)
        self._frame = self._file.primary_index
        first = self._file[self._frame]
        same = [number for number, image in enumerate(self._file) if image.size == first.size]
        self._frames = [self._frame, *(number for number in same if number != self._frame)]
        self.frames = len(self._frames)
        self._read_facts()
        if not self.profile:
            self.profile = _read_cicp(head, self.warnings)

    def _read_facts(self) -> None:
        image = self._file[self._frame]
        self.width, self.height = image.size
        self.bits = max(8, int(image.info.get("bit_depth", 8)))
        self.has_alpha = "A" in image.mode
        self.space = RGB if image.mode.startswith("RGB") else GRAY
        self.profile = image.info.get("icc_profile") or b""
        self.exif = image.info.get("exif") or b""
        self.xmp = image.info.get("xmp") or b""

    def select(self, frame: int) -> None:
        self._frame = self._frames[frame]
        self._read_facts()

    def rows(self) -> Iterator[tuple[int, Rows]]:
        import numpy as np  # noqa: PLC0415

        image = self._file[self._frame]
        samples = np.asarray(image)  # 16-bit samples have their bits on top
        if samples.ndim == 2:
            samples = samples[..., None]
        if samples.dtype == np.uint16:
            samples = _stretch(samples >> (16 - self.bits), self.bits)
        elif self.bits > 8:
            self.bits = 8
        if self.has_alpha:
            yield 0, Rows(samples[..., :-1], samples[..., -1])
        else:
            yield 0, Rows(samples, None)


class RawImage(OpenImage):
    """A camera's RAW file, developed by LibRaw: white balance of the camera, brightness as exposed, sRGB."""

    format = signatures.RAW
    max_pixels_on_arrival = 0  # developing takes seconds

    def __init__(self, opened: BinaryIO):
        super().__init__()
        try:
            import rawpy  # noqa: PLC0415 - an extra, and only for this format
        except ImportError as error:
            raise raw_file() from error

        self._rawpy = rawpy
        self._raw = rawpy.imread(opened)
        sizes = self._raw.sizes
        turned = sizes.flip in (5, 6)
        self.width, self.height = (sizes.iheight, sizes.iwidth) if turned else (sizes.iwidth, sizes.iheight)
        self.warnings.append(
            ImageWarning("raw_developed", "A RAW file: developed with the camera's white balance and no corrections.")
        )

    def rows(self) -> Iterator[tuple[int, Rows]]:
        srgb = self._rawpy.ColorSpace.sRGB
        pixels = self._raw.postprocess(
            use_camera_wb=True, no_auto_bright=True, output_color=srgb, gamma=(2.4, 12.92), output_bps=8
        )
        self.height, self.width = pixels.shape[:2]
        yield 0, Rows(pixels, None)

    def close(self) -> None:
        self._raw.close()


READERS: dict[str, Callable[[BinaryIO], OpenImage]] = {
    signatures.PNG: PngImage,
    signatures.JPEG: JpegImage,
    signatures.TIFF: _open_tiff,
    signatures.JPEG_2000: Jpeg2000Image,
    signatures.AVIF: AvifImage,
    signatures.HEIF: HeifImage,
    signatures.RAW: RawImage,
}


def unsupported_depth(what: str) -> ImageRejected:
    return ImageRejected(
        "unsupported_depth", f"The image is a {what}, which cannot be scaled to 8 bits. Convert it to 8 or 16 bits."
    )


def _complete_jpeg(opened: BinaryIO, structure: JpegStructure) -> BinaryIO:
    """Returns the file with an end marker. Raises `ImageRejected` if more is missing than a part of the last block.

    A decoder invents what is missing. Where a scan is complete, it reads nothing of what follows, so two different
    continuations give the same pixels.
    """
    data = opened.read()
    opened.seek(0)
    complete = io.BytesIO(data + JPEG_END)
    try:
        if structure.in_scan and _count_guessed(complete, io.BytesIO(data + PROBE + JPEG_END), structure) == 0:
            complete.seek(0)
            return complete
    except (ImageRejected, MemoryError):
        raise
    except Exception as error:
        raise corrupt_image(error) from error
    raise corrupt_image("it ends before its last pixels")


def _count_guessed(one: BinaryIO, other: BinaryIO, structure: JpegStructure) -> int:
    """Returns the number of pixels, or of blocks of 8 × 8, that differ beyond the last 16 × 16 pixels."""
    import numpy as np  # noqa: PLC0415

    images = [Image.open(file, formats=["JPEG"]) for file in (one, other)]
    width, height = images[0].size
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise image_too_large(Image.MAX_IMAGE_PIXELS)
    if not structure.progressive or width * height > DRAFT_PIXELS:
        for image in images:  # blocks: their mean comes first in a scan, so no gap of a block hides there
            image.draft(None, (1, 1))
    differs = np.asarray(images[0]) != np.asarray(images[1])
    differs = differs.reshape(*differs.shape[:2], -1).any(-1)
    last = -(-LAST_BLOCK * differs.shape[1] // width)
    differs[-last:, -last:] = False
    return int(differs.sum())


def _open_again(opened: BinaryIO, format_name: str) -> ImageFile.ImageFile:
    opened.seek(0)
    image = Image.open(opened, formats=[format_name])
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _decode(image: ImageFile.ImageFile, raw_mode: str) -> ImageFile.ImageFile:
    """Decodes an image with another interpretation of its stored bytes, one of Pillow's raw modes."""
    image.tile = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]))
        for tile in image.tile
    ]
    image.load()
    return image


def _read_16_bits(reopen: Callable[[], ImageFile.ImageFile]) -> tuple[ImageFile.ImageFile, NDArray[np.uint16]]:
    """Returns an opened image and its samples (h, w, channels).

    Pillow keeps one byte of each sample, by its raw mode the upper or the lower one. So the image is decoded twice.
    """
    import numpy as np  # noqa: PLC0415

    image = reopen()
    args = image.tile[0].args
    raw_mode = (args if isinstance(args, str) else str((args or ("",))[0])).replace("RGBa", "RGBA")
    native = "L" if sys.byteorder == "little" else "B"
    order = native if raw_mode.endswith("N") else raw_mode[-1]
    samples = np.asarray(_decode(image, raw_mode[:-1] + order)).astype(np.uint16)
    samples *= np.uint16(256)
    samples += np.asarray(_decode(reopen(), raw_mode[:-1] + ("B" if order == "L" else "L")))
    return image, samples


def _mask(opaque: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Returns 16-bit alpha that is full where a pixel is opaque, else 0."""
    import numpy as np  # noqa: PLC0415

    return np.where(opaque, np.uint16(65535), np.uint16(0))


def _stretch(samples: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Returns samples of 9 to 16 bits on the scale of 16."""
    import numpy as np  # noqa: PLC0415

    if bits >= 16 or bits <= 8:
        return samples.astype(np.uint16)
    full = 2**bits - 1
    return np.asarray((np.minimum(samples, full).astype(np.uint32) * 65535 + full // 2) // full, np.uint16)


def _scale_float(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Returns 0..1 as 0..65535; what is outside is clipped."""
    import numpy as np  # noqa: PLC0415

    return np.asarray((np.clip(np.nan_to_num(values.astype(np.float32)), 0, 1) * 65535).round(), np.uint16)


def _jpeg_2000_bits(head: bytes) -> int:
    """Reads the largest depth of a component from the marker SIZ (ISO 15444-1, A.5.1)."""
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 8
    count = int.from_bytes(head[start + 40 : start + 42])
    depths = head[start + 42 : start + 42 + 3 * count : 3]
    return max((depth & 0x7F) + 1 for depth in depths) if depths else 8


def _avif_bits(head: bytes) -> int:
    """Reads the depth from the boxes av1C (AV1-ISOBMFF, 2.3)."""
    bits, at = 8, head.find(b"av1C")
    while 0 <= at < len(head) - 6:
        flags = head[at + 6]
        bits = max(bits, 12 if flags & 0x20 else 10 if flags & 0x40 else 8)
        at = head.find(b"av1C", at + 4)
    return bits


def _read_cicp(head: bytes, remarks: list[ImageWarning]) -> bytes:
    """Returns a profile for the colors that a box `colr` names by numbers; empty for sRGB."""
    at = head.find(b"colrnclx")
    if at < 0:
        return b""
    primaries = int.from_bytes(head[at + 8 : at + 10])
    if int.from_bytes(head[at + 10 : at + 12]) in (color.PQ, color.HLG):
        remarks.append(
            ImageWarning(
                "hdr_curve", "The image is HDR (PQ or HLG). Its brightness is not mapped to sRGB and looks flat."
            )
        )
    return color.make_profile(primaries)
