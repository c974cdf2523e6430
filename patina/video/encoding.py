"""Encodes super-resolved frames: one file for each part of a film."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.video.stream import VideoStream

from imaging.video.info import BT709, RGB_MATRIX, ColorTags, VideoInfo
from imaging.video.pixels import from_rgb
from patina.errors import PatinaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PART_FORMAT = "matroska"
LIMITED_RANGE = 1
HEVC_SIDE = 64  # x265 crashes below
H264_PIXELS = 4096 * 2304  # decoders in hardware seldom take more


class VideoCodec(StrEnum):
    h264 = "h264"
    hevc = "hevc"
    av1 = "av1"
    ffv1 = "ffv1"


@dataclass(frozen=True)
class _Encoder:
    """An encoder of FFmpeg and its options. `crf` is a quality at which losses are hard to see."""

    name: str
    crf: int | None
    max_crf: int
    options: dict[str, str]


ENCODERS = {
    VideoCodec.h264: _Encoder("libx264", 16, 51, {"preset": "medium"}),
    VideoCodec.hevc: _Encoder("libx265", 18, 51, {"preset": "medium", "x265-params": "log-level=error"}),
    VideoCodec.av1: _Encoder("libsvtav1", 22, 63, {"preset": "6"}),
    VideoCodec.ffv1: _Encoder("ffv1", None, 0, {"level": "3", "slicecrc": "1"}),
}


@dataclass(frozen=True)
class Encoding:
    """How the frames of a film are encoded. All its parts must be encoded alike."""

    codec: VideoCodec
    crf: int | None
    rate: Fraction
    pixel_aspect: tuple[int, int]
    colors: ColorTags

    @classmethod
    def choose(cls, info: VideoInfo, scale: int, codec: VideoCodec | None, crf: int | None) -> Encoding:
        """Chooses the codec that most players take: H.264, but HEVC for large or deep frames."""
        small = min(info.width, info.height) * scale < HEVC_SIDE
        if codec is None:
            large = info.width * info.height * scale**2 > H264_PIXELS
            codec = VideoCodec.hevc if (large or info.bits > 8) and not small else VideoCodec.h264
        if codec is VideoCodec.hevc and small:
            raise PatinaError(f"The frames are too small for hevc, which needs {HEVC_SIDE} pixels. Use --codec h264.")
        colors = info.colors._replace(full_range=False)
        if colors.matrix == RGB_MATRIX:
            colors = colors._replace(matrix=BT709)
        rate = Fraction(info.rate).limit_denominator(1001)
        default = ENCODERS[codec].crf
        return cls(codec, default if crf is None or default is None else crf, rate, info.pixel_aspect, colors)

    def keeps_pixel_aspect(self, suffix: str) -> bool:
        """Returns whether a film with this suffix says the shape of its pixels: H.264 and HEVC do it themselves."""
        return self.codec in (VideoCodec.h264, VideoCodec.hevc) or (self.codec is VideoCodec.av1 and suffix != ".mkv")

    def write(self, path: Path, frames: Iterable[NDArray[np.uint8] | NDArray[np.uint16]]) -> None:
        """Writes frames (h, w, 3) as a file of its own, with a key frame first. Its rate is constant."""
        encoder = ENCODERS[self.codec]
        options = encoder.options | ({} if self.crf is None else {"crf": str(self.crf)})
        os.environ.setdefault("SVT_LOG", "1")  # errors alone, on standard error
        with av.open(str(path), "w", format=PART_FORMAT) as output:
            stream: VideoStream | None = None
            for number, pixels in enumerate(frames):
                frame = _to_frame(pixels, self)
                if stream is None:
                    added = output.add_stream(encoder.name, rate=self.rate, options=options)
                    assert isinstance(added, VideoStream)
                    stream = added
                    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                    self._tag(stream.codec_context)
                if (frame.width, frame.height) != (stream.width, stream.height):
                    raise PatinaError(
                        "The frames change their size. Cut the video where they do, and enlarge each part."
                    )
                frame.pts, frame.time_base = number, 1 / self.rate
                output.mux(stream.encode(frame))
            if stream is not None:
                output.mux(stream.encode(None))

    def _tag(self, context: av.VideoCodecContext) -> None:
        context.sample_aspect_ratio = Fraction(*self.pixel_aspect)
        context.color_primaries, context.color_trc = self.colors.primaries, self.colors.transfer
        if self.codec is not VideoCodec.ffv1:
            context.colorspace, context.color_range = self.colors.matrix, LIMITED_RANGE


def _to_frame(pixels: NDArray[np.uint8] | NDArray[np.uint16], encoding: Encoding) -> av.VideoFrame:
    if encoding.codec is not VideoCodec.ffv1:
        return from_rgb(pixels, encoding.colors)
    deep = pixels.itemsize == 2
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24")
    return frame.reformat(format="gbrp16le" if deep else "bgr0")
