"""RAW files of cameras, developed by LibRaw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from imaging import signatures
from imaging.readers.base import OpenImage, Rows
from imaging.rejections import ImageWarning, raw_file


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
