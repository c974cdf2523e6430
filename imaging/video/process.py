"""The process that decodes one video: `python -m imaging.video.process SOCKET MAX_PIXELS SECONDS`.

Started by `imaging.video.reader`. Requests come as `imaging.decoder_serving` describes, each with the video's open
file, and the first is kept.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from imaging.decoder_serving import Answer, limit_process, serve, write_memory_file
from imaging.rejections import ImageRejected
from imaging.video.info import VideoInfo

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from imaging.video.decode import VideoDecoder

# A base for Python and FFmpeg with its threads, and for each pixel some 20 decoded frames of up to 6 bytes.
BASE_BYTES = 2048 * 2**20
BYTES_PER_PIXEL = 128
MAX_PIXELS = 36_000_000  # of a frame: 8192 × 4320
RESULT_BYTES_PER_PIXEL = 6
THUMBNAIL_SIDE = 16
SHARPNESS_STEP = 4  # sharpness is measured in every fourth row


class VideoRequests:
    """Answers the requests for one video. Frames of the last `look` are kept until the next."""

    def __init__(self, max_pixels: int):
        self._max_pixels = max_pixels
        self._decoder: VideoDecoder | None = None
        self._frames: list[av.VideoFrame] = []

    def handle(self, request: dict[str, Any], opened: BinaryIO) -> Answer:
        """Raises `ImageRejected`."""
        if request["command"] == "open":
            return self._open(opened).to_json(), None
        decoder = self._decoder
        assert decoder is not None
        match request["command"]:
            case "seek":
                decoder.seek(request["stamp"])
                return {}, None
            case "restart":
                decoder.restart()
                return {}, None
            case "skip":  # frames before a time stamp
                return self._skip(decoder, request["until"], request["count"]), None
            case "look":
                return self._look(decoder, request["count"], measure=request["measure"]), None
            case "take":
                return self._take(decoder.info, request["index"], request["field"])
        raise ValueError(request["command"])

    def _open(self, opened: BinaryIO) -> VideoInfo:
        try:
            from imaging.video.decode import VideoDecoder  # noqa: PLC0415 - an extra
        except ImportError as error:
            message = "Videos are read by PyAV, which is not installed. Install it with `pip install 'patina[video]'`."
            raise ImageRejected("decoder_missing", message) from error
        self._decoder = VideoDecoder(_IndependentFile(opened.fileno()), max_pixels=min(self._max_pixels, MAX_PIXELS))
        return self._decoder.info

    def _skip(self, decoder: VideoDecoder, until: int, count: int) -> dict[str, Any]:
        """Keeps the first frame that is not before `until` for `take`, as `look` would."""
        self._frames = []
        for _ in range(count):
            frame = decoder.next_frame()
            if frame is None:
                return {"frames": [], "end": True}
            if frame.pts is not None and frame.pts >= until:
                self._frames = [frame]
                return {"frames": [_describe(frame, measure=True)], "end": False}
        return {"frames": [], "end": False}

    def _look(self, decoder: VideoDecoder, count: int, *, measure: bool) -> dict[str, Any]:
        self._frames = []
        while len(self._frames) < count and (frame := decoder.next_frame()) is not None:
            self._frames.append(frame)
        described = [_describe(frame, measure=measure) for frame in self._frames]
        return {"frames": described, "end": len(described) < count, "damaged": decoder.damaged}

    def _take(self, info: VideoInfo, index: int, field: int | None) -> Answer:
        """Answers with the pixels of a frame, or of its top (0) or bottom (1) field."""
        from imaging.video.pixels import split_fields, to_rgb, turn  # noqa: PLC0415

        frame = self._frames[index]
        if field is not None:
            frame = split_fields(frame)[field]
        pixels = turn(to_rgb(frame, info.colors, info.bits), info.rotation)
        return {"shape": pixels.shape, "bytes": pixels.itemsize}, write_memory_file(pixels.data)


class _IndependentFile(io.RawIOBase):
    """Another view of an open file, with a position of its own. All descriptors of a file share theirs."""

    def __init__(self, descriptor: int):
        self._descriptor = os.dup(descriptor)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else max(0, os.fstat(self._descriptor).st_size - self._position)
        data = os.pread(self._descriptor, wanted, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, os.fstat(self._descriptor).st_size)
        if start + offset < 0:
            raise OSError(errno.EINVAL, "before the start of the file")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _describe(frame: av.VideoFrame, *, measure: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"stamp": frame.pts, "interlaced": frame.interlaced_frame, "corrupt": frame.is_corrupt}
    if measure:
        from imaging.video.pixels import luma_of  # noqa: PLC0415

        luma = luma_of(frame)
        fields |= {"thumbnail": _thumbnail(luma).tobytes().hex(), "sharpness": _sharpness(luma)}
    return fields


def _thumbnail(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the mean levels of 16 × 16 blocks."""
    side = THUMBNAIL_SIDE
    height, width = luma.shape[0] // side * side, luma.shape[1] // side * side
    if not height or not width:
        return np.zeros((side, side), np.uint8)
    rows = luma[:height].reshape(side, height // side, -1).mean(1, dtype=np.float32)
    blocks = rows[:, :width].reshape(side, side, width // side).mean(2)
    return np.asarray(blocks.round(), np.uint8)


def _sharpness(luma: NDArray[np.uint8]) -> float:
    """Returns the mean difference of neighbors in a row, in levels."""
    rows = luma[::SHARPNESS_STEP].astype(np.int16)
    return float(np.abs(np.diff(rows, axis=1)).mean()) if rows.shape[1] > 1 else 0.0


def main() -> None:
    descriptor, max_pixels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    pixels = min(max_pixels, MAX_PIXELS)
    limit_process(memory=BASE_BYTES + BYTES_PER_PIXEL * pixels, file_bytes=RESULT_BYTES_PER_PIXEL * pixels)
    requests = VideoRequests(max_pixels)

    def answer(request: dict[str, Any], opened: BinaryIO) -> Answer:
        try:
            return requests.handle(request, opened)
        except (ImageRejected, MemoryError):
            raise
        except Exception as error:  # FFmpeg may raise anything on damaged bytes
            raise ImageRejected("damaged_video", f"The video cannot be decoded ({error}).") from error

    serve(descriptor, seconds, answer)


if __name__ == "__main__":
    main()
