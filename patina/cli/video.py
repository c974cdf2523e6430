"""What commands do with videos among their arguments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from config.settings import settings
from imaging.rejections import ImageRejected
from imaging.video.containers import is_video
from patina.cli.output import print_video_warnings
from patina.client.progress import track_progress
from patina.errors import PatinaError

VideoFrames = Annotated[int, typer.Option(min=1, max=10_000, help="Distinct frames to take of each video.")]
DEFAULT_VIDEO_FRAMES = 200


class FramesOfVideos:
    """Folders with frames in place of the videos among some paths. `originals` has the video of each folder."""

    def __init__(self, folder: Path, console: Console, count: int) -> None:
        self._folder = folder
        self._console = console
        self._count = count
        self.originals: dict[Path, Path] = {}

    def replace(self, paths: Sequence[Path]) -> list[Path]:
        """Returns the paths with each video replaced by a folder of its frames. Raises `PatinaError`."""
        return [self._extract(path) if is_video(path) else path for path in paths]

    def restore(self, path: Path) -> Path:
        """Returns a frame's path with its video in place of the folder: `film.mkv/film.000001.250s.png`."""
        video = self.originals.get(path.parent)
        return video / path.name if video else path

    def _extract(self, video: Path) -> Path:
        from patina.video.sampling import extract_frames  # noqa: PLC0415 - numpy takes long to import

        folder = self._folder / str(len(self.originals)) / video.name
        self.originals[folder] = video
        with track_progress(self._console, f"Frames of {video.name}") as tracker:

            def show(done: int, total: int) -> None:
                tracker.show_count(done, total, "positions")

            try:
                result = extract_frames(video, folder, settings(), count=self._count, on_progress=show)
            except ImageRejected as error:
                raise PatinaError(f"{video}: {error.message}") from error
        print_video_warnings(video, result.warnings)
        if not result.files:
            raise PatinaError(f"{video}: none of its frames can be used.")
        return folder


@contextmanager
def frames_of_videos(console: Console, count: int) -> Iterator[FramesOfVideos]:
    """Yields what replaces videos by their frames, which are in a temporary folder until the end of `with`."""
    with tempfile.TemporaryDirectory(prefix="patina-frames-") as folder:
        yield FramesOfVideos(Path(folder), console, count)
