"""JPEG files, read as forgivingly as viewers do."""

from __future__ import annotations

import io
from typing import BinaryIO

from PIL import Image

from imaging.jpeg_structure import JpegStructure, read_structure
from imaging.readers.pillow import PillowImage
from imaging.rejections import ImageRejected, ImageWarning, corrupt_image, image_too_large

MANY_SCANS = 30  # encoders use 10
JPEG_END = b"\xff\xd9"
LAST_BLOCK = 17  # pixels a side of the last block, which may be incomplete: 16, and one that is interpolated
PROBE = bytes(range(1, 255)) * 16  # continues a scan with nonsense
DRAFT_PIXELS = 24_000_000  # a progressive JPEG of more is compared in blocks


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
