"""Super-resolves a film part by part, on a service, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from config.settings import Settings
from imaging.image_files import read_picture
from imaging.png import PngWriter
from imaging.rejections import ImageRejected
from imaging.video.reader import MAX_LOOK, VideoReader
from patina.client import Job, Model
from patina.errors import PatinaError
from patina.schemas import Progress
from patina.video.encoding import Encoding, VideoCodec
from patina.video.joining import check_target, join
from patina.video.parts import Part, PartsFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PART_PIXELS = 400_000_000  # of the results of one part: they are on disk at the same time
MIN_PART, MAX_PART = 8, 240  # frames

OnProgress = Callable[[Progress], None]


@dataclass
class _Frames:
    """The frames of a part before they are encoded: a name for each, the same for frames with the same pixels."""

    number: int
    folder: Path
    stamps: list[int]
    names: list[str]
    job: Job | None = None


class FilmSr:
    """A film that is being super-resolved. Raises `PatinaError` for what cannot be read or written."""

    def __init__(
        self,
        source: Path,
        target: Path,
        model: Model,
        settings: Settings,
        *,
        codec: VideoCodec | None = None,
        crf: int | None = None,
        progressive: bool = False,
    ):
        """`progressive` reads a video that is marked as interlaced as if it were not."""
        self.source, self.target = source, target
        self._model = model
        self._parts = PartsFolder(target)
        self._results: dict[str, Path] = {}  # of the last finished part, by the names of its frames
        self._last_folder: Path | None = None
        self.left_out = check_target(target, source)
        with _naming(source):
            self._reader = VideoReader(source, settings)
        self.info = self._reader.info
        if self.info.interlaced and not progressive:
            self._reader.close()
            raise PatinaError(
                f"{source} is interlaced. Its fields would be mixed. Deinterlace it first; or name --progressive if "
                "it only says so."
            )
        self._encoding = Encoding.choose(self.info, model.scale, codec, crf)
        if self.info.pixel_aspect != (1, 1) and not self._encoding.keeps_pixel_aspect(target.suffix):
            self._reader.close()
            raise PatinaError("The video's pixels are not square, which this codec cannot say. Use --codec hevc.")
        result_pixels = self.info.width * self.info.height * model.scale**2
        self._part_frames = max(MIN_PART, min(MAX_PART, PART_PIXELS // result_pixels))

    def run(self, on_progress: OnProgress) -> int:
        """Writes the film and returns the number of its frames. The same call goes on after an interruption."""
        try:
            with _naming(self.source):
                return self._run(on_progress)
        except av.FFmpegError as error:
            raise PatinaError(f"{self.target} cannot be written: {error}") from error
        finally:
            self._reader.close()

    def _run(self, on_progress: OnProgress) -> int:
        self._parts.require_plan(self._describe())
        parts = self._parts.list_parts()
        show = _Show(on_progress, self.info.frames, sum(len(part.stamps) for part in parts))
        waiting: _Frames | None = None
        for frames in self._iter_parts(parts):
            if len(frames.names) and (frames.folder / "in").exists():
                # The service works on this part while the one before is encoded and the next is decoded.
                depth = "16" if self.info.bits > 8 else None
                frames.job = self._model.sr(frames.folder / "in", format="png", depth=depth)
            if waiting:
                parts.append(self._finish(waiting, show))
            waiting = frames
        if waiting:
            parts.append(self._finish(waiting, show))
        if not parts:
            raise PatinaError(f"{self.source} has no frame that can be decoded.")
        join(self.target, self.source, parts, Fraction(*self.info.time_base), self._encoding)
        self._parts.delete()
        return sum(len(part.stamps) for part in parts)

    def _describe(self) -> dict[str, object]:
        status = self.source.stat()
        codec, crf = self._encoding.codec.value, self._encoding.crf
        source = [str(self.source.resolve()), status.st_size, status.st_mtime_ns]
        return {"source": source, "model": self._model.id, "codec": codec, "crf": crf, "frames": self._part_frames}

    def _iter_parts(self, finished: list[Part]) -> Iterator[_Frames]:
        """Decodes what is not finished, a part at a time."""
        position = self._go_behind(finished[-1].stamps[-1]) if finished else None
        number, names_before = len(finished), set[str]()
        pending = [position] if position is not None else []
        while pending or not self._reader.at_end:
            frames = _Frames(number, self._parts.work_folder(number), [], [])
            for stamp, pixels in self._iter_frames(pending):
                name = f"{hashlib.sha256(pixels.data).hexdigest()[:32]}.png"
                if name not in names_before and name not in frames.names:
                    _write_png(frames.folder / "in" / name, pixels)
                frames.stamps.append(stamp)
                frames.names.append(name)
            if not frames.stamps:
                shutil.rmtree(frames.folder)
                return
            names_before = set(frames.names)
            yield frames
            number, pending = number + 1, []

    def _iter_frames(self, pending: list[int]) -> Iterator[tuple[int, NDArray[np.uint8] | NDArray[np.uint16]]]:
        """Yields (time stamp, pixels) of a part's frames. `pending` are frames that were decoded already."""
        missing = self._part_frames
        for stamp in pending:
            yield stamp, self._reader.take(0)
            missing -= 1
        while missing and (seen := self._reader.look(min(missing, MAX_LOOK), measure=False)):
            for index, frame in enumerate(seen):
                yield frame.stamp, self._reader.take(index)
            missing -= len(seen)

    def _go_behind(self, stamp: int) -> int | None:
        """Decodes the frame after one with this time stamp, and returns its own; None at the end."""
        try:
            self._reader.seek(stamp)
            found = self._reader.skip_to(stamp)
        except ImageRejected:
            found = None
        if found is None or found.stamp != stamp:  # the file's index is wrong
            self._reader.restart()
        following = self._reader.skip_to(stamp + 1)
        return following.stamp if following else None

    def _finish(self, frames: _Frames, show: _Show) -> Part:
        """Waits for a part's results and encodes them."""
        out = frames.folder / "out"
        out.mkdir()
        results: dict[str, Path] = {}
        for name in self._results.keys() & set(frames.names):  # the same pixels as in the part before
            results[name] = out / name
            os.link(self._results[name], results[name])
        if frames.job is not None:
            share = len(frames.stamps) / max(1, len(set(frames.names)) - len(results))
            frames.job.wait(lambda job: show(job.progress.done * share))
            for line in frames.job.download(out):
                if line["status"] != "ok":
                    raise PatinaError(f"A frame of {self.source} failed: {line.get('message') or line['status']}")
                results[line["source"]] = out / line["sr"]
        deep = self.info.bits > 8
        pictures = (read_picture(results[name], deep=deep).rgb for name in frames.names)
        self._encoding.write(self._parts.path(frames.number), pictures)
        if frames.job is not None:
            frames.job.delete_results()  # a film's are larger than most disks
        part = self._parts.finish(frames.number, frames.stamps)
        if self._last_folder:
            shutil.rmtree(self._last_folder)
        self._last_folder = frames.folder
        self._results = results
        show.finished += len(frames.stamps)
        show(0)
        return part


class _Show:
    """Reports progress in frames, with the rate of this run."""

    def __init__(self, on_progress: OnProgress, total: int | None, finished: int):
        self.finished = finished
        self._on_progress, self._total = on_progress, total
        self._before, self._started = finished, time.monotonic()

    def __call__(self, current: float) -> None:
        """Shows `current` frames of the part that is being worked on."""
        done = self.finished + current
        rate = (done - self._before) / max(1e-3, time.monotonic() - self._started)
        left = (self._total - done) / rate if self._total and rate > 0 else None
        eta = max(0.0, left) if left is not None else None
        self._on_progress(Progress(done=done, total=self._total, unit="frames", per_second=rate, eta_seconds=eta))


@contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Raises what a video's decoder refuses as a `PatinaError` that names the file."""
    try:
        yield
    except ImageRejected as error:
        raise PatinaError(f"{source}: {error.message}") from error


def _write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    path.parent.mkdir(exist_ok=True)
    height, width, _ = pixels.shape
    with path.open("wb") as file, PngWriter(file, width, height, bits=8 * pixels.itemsize) as png:
        png.write(pixels)
