"""HEIF and HEIC files, by libheif."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from imaging import signatures
from imaging.color import GRAY, RGB
from imaging.readers.base import HEADER_BYTES, OpenImage, Rows, stretch
from imaging.readers.properties import read_cicp
from imaging.rejections import missing_decoder


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
            self.profile = read_cicp(head, self.warnings)

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
            samples = stretch(samples >> (16 - self.bits), self.bits)
        elif self.bits > 8:
            self.bits = 8
        if self.has_alpha:
            yield 0, Rows(samples[..., :-1], samples[..., -1])
        else:
            yield 0, Rows(samples, None)
