"""Videos for tests, written by FFmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from imaging.video.info import ColorTags

SOUND_RATE, SOUND_BLOCK = 44_100, 1024  # samples
# Lossless, so that frames can be compared.
LOSSLESS = {"crf": "0", "preset": "ultrafast"}


def write_video(
    path: Path,
    frames: Sequence[Any],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv444p",
    rate: int = 25,
    stamps: Sequence[int] | None = None,
    pixel_aspect: Fraction | None = None,
    rotation: int | None = None,
    tags: ColorTags | None = None,
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes frames, RGB (h, w, 3) or FFmpeg's. `stamps` are their times, in frames."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, options=LOSSLESS if options is None else options)
        assert isinstance(stream, VideoStream)
        first = frames[0]
        stream.height, stream.width = first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if tags is not None:
            context.colorspace, context.color_primaries, context.color_trc = tags[:3]
            context.color_range = 2 if tags.full_range else 1
        sound_stream = output.add_stream("aac", rate=SOUND_RATE) if sound else None
        for number, pixels in enumerate(frames):
            is_array = isinstance(pixels, np.ndarray)
            frame: av.VideoFrame = av.VideoFrame.from_ndarray(pixels, format="rgb24") if is_array else pixels
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound_stream is not None:
            for start in range(0, SOUND_RATE * len(frames) // rate, SOUND_BLOCK):
                wave = (np.sin(np.arange(start, start + SOUND_BLOCK) * 0.05) * 8000).astype(np.int16)
                block = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
                block.sample_rate, block.pts, block.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                output.mux(sound_stream.encode(block))
            output.mux(sound_stream.encode(None))
    return path


def make_frame(planes: Sequence[NDArray[Any]], pixel_format: str) -> av.VideoFrame:
    """Returns a frame with these samples, luma first."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(samples).view(np.uint8).reshape(plane.height, -1)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    return frame


def read_stamps(path: Path) -> list[float]:
    """Returns the times of all frames, in seconds."""
    with av.open(str(path)) as opened:
        return [float(frame.pts * frame.time_base) for frame in opened.decode(video=0)]  # type: ignore[operator]
