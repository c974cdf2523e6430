"""Chooses distinct frames of a video, spread over its length and away from cuts, as photos to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from imaging.png import write_png
from imaging.rejections import ImageRejected
from imaging.video.reader import BOTTOM, MAX_LOOK, TOP, SeenFrame, VideoReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Levels = NDArray[np.float32]

DEFAULT_FRAMES = 200
# Levels, between thumbnails. A cut changes nearly all blocks; fast motion and flashes change them less, or all alike.
CUT_DIFFERENCE = 18.0
MIN_DIFFERENCE = 0.5  # of a frame to all that were chosen; noise changes the means of blocks less
DENSE_FACTOR = 4  # a video with fewer frames for each that is wanted is searched without gaps
FEW = 0.1  # of the asked frames: worth a warning
SEEK_SECONDS = 10.0  # what lies closer is reached by decoding, as key frames are seldom closer
FIELDS = {TOP: "top", BOTTOM: "bottom"}

OnFrames = Callable[[int, int], None]
"""Called with the share of the film that was searched, as (slots done, slots)."""


@dataclass
class ExtractedFrames:
    """The files of the chosen frames, and what is remarkable about their video."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def extract_frames(
    video: Path,
    folder: Path,
    settings: Settings,
    *,
    count: int = DEFAULT_FRAMES,
    on_progress: OnFrames = lambda *_: None,
) -> ExtractedFrames:
    """Writes about `count` distinct frames of a video into `folder` as PNG files, named by their time.

    The video is divided into `count` slots. Of a few frames in the middle of each, the sharpest is taken that is not
    next to a cut and differs from all that were taken before. Of interlaced video each field is a file of its own.
    Raises `ImageRejected` if the video cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = ExtractedFrames(folder)
    with VideoReader(video, settings) as reader:
        fields = (TOP, BOTTOM) if reader.info.interlaced else (None,)
        choice = _Choice()
        for window in _iter_windows(reader, count):
            for index in choice.choose(window):
                for of_frame in fields:
                    name = _name(video, reader.info.to_seconds(window.frames[index].stamp), of_frame)
                    _write(folder / name, reader.take(index, of_frame))
                    result.files.append(folder / name)
            on_progress(window.done, window.total)
        result.warnings = _describe(reader, choice.count, count)
    return result


@dataclass(frozen=True)
class _Window:
    """Consecutive frames; at most `picks` are taken. `done` of `total` is the share of the video."""

    frames: list[SeenFrame]
    picks: int
    follows: bool  # directly on the window before, or starts the video
    done: int
    total: int


def _iter_windows(reader: VideoReader, count: int) -> Iterator[_Window]:
    """Yields windows: the middles of slots, or the whole video if it is short or of unknown length.

    Their frames can be taken until the next window is asked for.
    """
    info = reader.info
    frames, seconds = info.frames or 0, info.seconds or 0.0
    if not seconds or frames < DENSE_FACTOR * count:
        picks = round(MAX_LOOK * count / frames) if frames else 1
        done = 0
        while not reader.at_end:
            window = reader.look(MAX_LOOK)
            done += len(window)
            yield _Window(window, max(1, picks), True, done, max(done, frames))
        return
    length = min(MAX_LOOK, frames // count)
    per_second = info.time_base[1] / info.time_base[0]
    first = position = reader.look(1)[0].stamp
    for slot in range(count):
        start = (slot + 0.5) * seconds / count - length / 2 / info.rate
        target = first + round(start * per_second)
        if target - position > SEEK_SECONDS * per_second:
            _try_seek(reader, target)
        if target > position:
            reader.skip_to(target)
        window = reader.look(length)
        if not window:
            return
        position = window[-1].stamp
        yield _Window(window, 1, False, slot + 1, count)


def _try_seek(reader: VideoReader, target: int) -> None:
    try:
        reader.seek(target)
    except ImageRejected as error:
        if error.code != "not_seekable":
            raise


class _Choice:
    """Remembers the frames that were chosen, so that no picture is chosen twice."""

    def __init__(self) -> None:
        self._chosen: list[Levels] = []
        self._last: Levels | None = None  # frame of the window before

    @property
    def count(self) -> int:
        return len(self._chosen)

    def choose(self, window: _Window) -> list[int]:
        """Returns the indices of the sharpest frames that are whole, distinct and not next to a cut."""
        thumbnails = [_to_levels(frame) for frame in window.frames]
        before = self._last if window.follows else None
        self._last = thumbnails[-1] if thumbnails else None
        candidates = self._find_candidates(window, thumbnails, before)
        picked: list[int] = []
        for index in sorted(candidates, key=lambda index: -window.frames[index].sharpness):
            if len(picked) < window.picks and self._is_new(thumbnails[index]):
                picked.append(index)
                self._chosen.append(thumbnails[index])
        return sorted(picked)

    def _find_candidates(self, window: _Window, thumbnails: list[Levels], before: Levels | None) -> list[int]:
        """An encoder spends few bits on the frames around a cut, and editors blend them: they are no candidates."""
        last = len(thumbnails) - 1
        # Behind and before the window there may be a cut.
        unknown = ({last} if window.follows else {0, last}) if last >= 2 else set()
        neighbors = [before, *thumbnails, None]
        candidates = []
        for index, frame in enumerate(window.frames):
            around = [other for other in (neighbors[index], neighbors[index + 2]) if other is not None]
            at_cut = index in unknown or any(_is_cut(thumbnails[index], other) for other in around)
            if not frame.corrupt and not at_cut:
                candidates.append(index)
        return candidates

    def _is_new(self, thumbnail: Levels) -> bool:
        import numpy as np  # noqa: PLC0415

        if not self._chosen:
            return True
        changes = np.stack(self._chosen) - thumbnail
        return bool(_mean_differences(changes).min() >= MIN_DIFFERENCE)


def _to_levels(frame: SeenFrame) -> Levels:
    import numpy as np  # noqa: PLC0415

    return np.frombuffer(frame.thumbnail, np.uint8).astype(np.float32)


def _is_cut(one: Levels, other: Levels) -> bool:
    return bool(_mean_differences((one - other)[None]).item() > CUT_DIFFERENCE)


def _mean_differences(changes: Levels) -> Levels:
    """Returns the mean of each row of changes (n, 256), in levels.

    A change that all blocks share, as of a flash or a fade, does not count.
    """
    import numpy as np  # noqa: PLC0415

    return np.asarray(np.abs(changes - np.median(changes, axis=1, keepdims=True)).mean(1), np.float32)


def _name(video: Path, seconds: float, of_frame: int | None) -> str:
    suffix = f".{FIELDS[of_frame]}" if of_frame is not None else ""
    return f"{video.stem}.{seconds:010.3f}s{suffix}.png"


def _write(path: Path, pixels: NDArray[Any]) -> None:
    if pixels.itemsize == 2:  # training photos have 8 bits
        pixels = ((pixels.astype("uint32") + 128) // 257).astype("uint8")
    path.write_bytes(write_png(pixels))


def _describe(reader: VideoReader, found: int, count: int) -> list[str]:
    info, warnings = reader.info, []
    if found < FEW * count:
        warnings.append(f"The video has only {found} frames that differ: too few to learn from.")
    if info.interlaced:
        size = f"{info.width}×{info.height // 2}"
        warnings.append(f"The video is interlaced: each field is a photo of its own, {size} pixels.")
    if info.pixel_aspect[0] != info.pixel_aspect[1]:
        wide, high = info.pixel_aspect
        warnings.append(f"The video's pixels are not square ({wide}:{high}). Frames keep the stored pixels.")
    if info.colors.is_hdr:
        warnings.append("The video is HDR (PQ or HLG). Its brightness is not mapped to sRGB, so frames are flat.")
    if info.bits > 8:
        warnings.append(f"The video has {info.bits} bits per channel; frames have 8, rounded.")
    if reader.damaged:
        warnings.append(f"{reader.damaged} parts of the video are damaged and were left out.")
    return warnings
