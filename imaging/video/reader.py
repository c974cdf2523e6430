"""Reads a video through a decoder process, so that a bad file can neither crash nor stall this one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from config.settings import Settings
from imaging.decoder_child import DecoderChild, DecoderCrashed, map_file
from imaging.rejections import ImageRejected
from imaging.video.info import VideoInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROGRAM = "imaging.video.process"
MAX_LOOK = 16  # frames that are decoded for one request
TOP, BOTTOM = 0, 1  # fields


@dataclass(frozen=True)
class SeenFrame:
    """A decoded frame. `stamp` is its time in the video's time base, `thumbnail` its 16 × 16 mean levels."""

    stamp: int
    interlaced: bool
    corrupt: bool
    thumbnail: bytes = b""
    sharpness: float = 0.0  # mean difference of neighbors, in levels


class VideoReader:
    """An open video. `look` decodes frames and keeps them; `take` returns the pixels of one of them.

    Methods raise `ImageRejected` for what cannot be read.
    """

    def __init__(self, path: Path, settings: Settings):
        self._file = path.open("rb")
        self._child = DecoderChild(PROGRAM, settings)
        try:
            fields, _ = self._request("open")
            self.info = VideoInfo.from_json(fields)
        except BaseException as error:
            self.close()
            if isinstance(error, (KeyError, TypeError, ValueError)) and not isinstance(error, ImageRejected):
                raise _undecodable() from error
            raise
        self.at_end = False
        self.damaged = 0  # packets that could not be decoded so far

    def look(self, count: int, *, measure: bool = True) -> list[SeenFrame]:
        """Decodes the next frames, at most MAX_LOOK, and sets `at_end` if there are no more.

        `measure` gets their thumbnails and sharpness.
        """
        answer, _ = self._request("look", count=min(count, MAX_LOOK), measure=measure)
        self.damaged = int(answer.get("damaged", 0))
        return self._parse(answer)

    def skip_to(self, stamp: int) -> SeenFrame | None:
        """Decodes up to the first frame at a time stamp or later, and keeps that one; None at the end."""
        while not self.at_end:
            answer, _ = self._request("skip", until=stamp, count=MAX_LOOK)
            if frames := self._parse(answer):
                return frames[0]
        return None

    def take(self, index: int, field: int | None = None) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Returns the pixels of a frame of the last `look`, or of its top or bottom field, (h, w, 3) in RGB.

        They are uint8, or uint16 over the full scale if the video has more than 8 bits.
        """
        import numpy as np  # noqa: PLC0415

        answer, descriptor = self._request("take", index=index, field=field)
        try:
            height, width, channels = map(int, answer["shape"])
            kind = np.dtype(np.uint16 if int(answer["bytes"]) == 2 else np.uint8)
        except (KeyError, TypeError, ValueError) as error:
            raise _undecodable() from error
        if channels != 3 or min(height, width) < 1:
            raise _undecodable()
        with map_file(descriptor, height * width * 3 * kind.itemsize) as mapped:
            return np.frombuffer(mapped, kind).reshape(height, width, 3)

    def seek(self, stamp: int) -> None:
        """Continues at the last key frame before a time stamp. Raises `ImageRejected` (`not_seekable`)."""
        self._request("seek", stamp=stamp)
        self.at_end = False

    def restart(self) -> None:
        self._request("restart")
        self.at_end = False

    def close(self) -> None:
        self._child.stop()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parse(self, answer: dict[str, Any]) -> list[SeenFrame]:
        try:
            self.at_end = bool(answer["end"])
            return [
                SeenFrame(
                    int(frame["stamp"]),
                    bool(frame["interlaced"]),
                    bool(frame["corrupt"]),
                    bytes.fromhex(frame.get("thumbnail", "")),
                    float(frame.get("sharpness", 0)),
                )
                for frame in answer["frames"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise _undecodable() from error

    def _request(self, command: str, **options: Any) -> tuple[dict[str, Any], int]:
        try:
            answer, descriptor = self._child.request({"command": command, **options}, self._file.fileno())
        except DecoderCrashed as error:
            raise _undecodable() from error
        if "code" in answer:
            raise ImageRejected(str(answer["code"]), str(answer["message"]))
        return answer, descriptor


def _undecodable() -> ImageRejected:
    return ImageRejected(
        "undecodable_video", "The video crashes its decoder, or decoding it takes too long or too much memory."
    )
