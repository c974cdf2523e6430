"""Decodes a video by FFmpeg. Only decoder processes call it for files that come from others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from imaging.rejections import ImageRejected, image_too_large
from imaging.video.containers import HEAD_BYTES, find_container
from imaging.video.info import ColorTags, VideoInfo, complete_tags

THREADS = 4  # of FFmpeg's decoder
PROBED_FRAMES = 8  # that say whether the video is interlaced
PROGRESSIVE_ORDERS = (0, 1)  # unknown, progressive
FULL_RANGE = 2
MAX_DAMAGED = 1000  # packets in a row that cannot be decoded


class VideoDecoder:
    """A video whose frames are read in order, from any time on. Raises `ImageRejected` for what cannot be read."""

    def __init__(self, opened: IO[bytes] | io.RawIOBase, *, max_pixels: int):
        container = find_container(opened.read(HEAD_BYTES))
        if container is None:
            raise not_a_video()
        self._opened, self._format = opened, container
        self._max_pixels = max_pixels
        self._iterator: Iterator[av.VideoFrame] | None = None
        self._last_stamp: int | None = None
        self.damaged = 0  # packets that could not be decoded
        self._open()
        self.info = self._probe()
        self.restart()

    def next_frame(self) -> av.VideoFrame | None:
        """Returns the next frame, with a time stamp; None at the end."""
        if self._iterator is None:
            self._iterator = self._decode()
        frame = next(self._iterator, None)
        if frame is not None:
            if frame.width * frame.height > self._max_pixels:
                raise image_too_large(self._max_pixels)
            frame.pts = self._stamp_of(frame)
            self._last_stamp = frame.pts
        return frame

    def restart(self) -> None:
        """Continues at the first frame, also in files without an index."""
        self._container.close()
        self._open()

    def seek(self, stamp: int) -> None:
        """Continues at the last key frame before a time stamp, as far as the file's index says."""
        try:
            self._container.seek(stamp, stream=self._stream)
        except (av.FFmpegError, OSError) as error:
            raise ImageRejected("not_seekable", f"The video has no index to start elsewhere ({error}).") from error
        self._iterator, self._last_stamp = None, None

    def close(self) -> None:
        self._container.close()

    def _open(self) -> None:
        self._opened.seek(0)
        try:
            # The format is named, so that no other reader of FFmpeg, such as those of playlists, sees the file.
            self._container: InputContainer = av.open(self._opened, "r", format=self._format)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise damaged_video(error) from error
        streams = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not streams:
            raise ImageRejected("no_frames", "The file has sound, but no pictures.")
        if streams[0].codec_context is None:
            raise ImageRejected("unknown_codec", "The video has a codec that is not known. Convert it to H.264.")
        self._stream: VideoStream = streams[0]
        self._stream.thread_type = "AUTO"
        self._stream.thread_count = THREADS
        if self._stream.width * self._stream.height > self._max_pixels:
            raise image_too_large(self._max_pixels)
        self._iterator, self._last_stamp = None, None

    def _decode(self) -> Iterator[av.VideoFrame]:
        in_a_row = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except (av.FFmpegError, ValueError):
                    self.damaged, in_a_row = self.damaged + 1, in_a_row + 1
                    if in_a_row > MAX_DAMAGED:
                        return
                    continue
                in_a_row = 0 if frames else in_a_row
                yield from frames
        except (av.FFmpegError, OSError):  # the file ends in the middle
            self.damaged += 1

    def _stamp_of(self, frame: av.VideoFrame) -> int:
        """Returns the frame's time stamp, in the stream's time base; one frame after the last where it has none."""
        if frame.pts is not None and (self._last_stamp is None or frame.pts > self._last_stamp):
            return frame.pts
        base, rate = _time_base(self._stream), _rate(self._stream)
        step = max(1, round(1 / (rate * base)))
        return 0 if self._last_stamp is None else self._last_stamp + step

    def _probe(self) -> VideoInfo:
        stream = self._stream
        first: av.VideoFrame | None = None
        flags: list[bool] = []
        while len(flags) < PROBED_FRAMES and (frame := self.next_frame()) is not None:
            first = first or frame
            flags.append(frame.interlaced_frame)
        if first is None:
            raise damaged_video("no frame can be decoded")
        rotation = round(first.rotation / 90) * 90 % 360
        aspect = stream.sample_aspect_ratio or Fraction(1)
        turned = rotation in (90, 270)
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        if turned and aspect > 0:
            aspect = 1 / aspect
        base, rate = _time_base(stream), _rate(stream)
        seconds = _seconds(stream, self._container)
        frames = stream.frames or (round(seconds * rate) if seconds else None)
        interlaced = any(flags) or stream.codec_context.field_order not in PROGRESSIVE_ORDERS
        return VideoInfo(
            container=self._format,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            rotation=rotation,
            pixel_aspect=(aspect.numerator, aspect.denominator) if aspect > 0 else (1, 1),
            bits=_bits(first),
            rate=float(rate),
            time_base=(base.numerator, base.denominator),
            seconds=seconds,
            frames=frames,
            interlaced=interlaced,
            colors=_read_tags(first),
        )


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _rate(stream: VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return rate if rate and rate > 0 else Fraction(25)


def _seconds(stream: VideoStream, container: InputContainer) -> float | None:
    if stream.duration and stream.duration > 0:
        return float(stream.duration * _time_base(stream))
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _bits(frame: av.VideoFrame) -> int:
    return max((component.bits for component in frame.format.components), default=8)


def _read_tags(frame: av.VideoFrame) -> ColorTags:
    full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
    tags = ColorTags(int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc), full)
    if frame.format.is_rgb:
        return ColorTags(0, tags.primaries, tags.transfer, True)
    return complete_tags(tags, frame.width, frame.height)


def not_a_video() -> ImageRejected:
    return ImageRejected("not_a_video", "The file is not an MP4, MOV, MKV, WebM or AVI video.")


def damaged_video(error: Exception | str) -> ImageRejected:
    return ImageRejected("damaged_video", f"The video is damaged, cut off, or of an unknown kind ({error}).")
