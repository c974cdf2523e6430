"""`patina sr` of a video."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config.settings import settings
from patina.cli.app import INTERRUPTED
from patina.cli.output import print_video_warnings, stderr
from patina.cli.session import Session
from patina.client import Model
from patina.client.progress import track_progress
from patina.errors import PatinaError


class FilmCodecName(StrEnum):
    """As `patina.video.encoding.VideoCodec`, which takes long to import."""

    h264 = "h264"
    hevc = "hevc"
    av1 = "av1"
    ffv1 = "ffv1"


FilmCodec = Annotated[
    FilmCodecName | None,
    typer.Option(
        "--codec", help="Of a video. Default: h264; hevc for large frames or more than 8 bits. Lossless: ffv1."
    ),
]
FilmCrf = Annotated[
    int | None,
    typer.Option(
        "--crf", min=0, max=63, help="Of a video; lower is better. Default: 16 for h264, 18 for hevc, 22 for av1."
    ),
]
Progressive = Annotated[
    bool, typer.Option("--progressive", help="Take a video that is marked as interlaced for whole frames.")
]


def refuse_for_videos(options: Mapping[str, object]) -> None:
    """Raises `typer.BadParameter` for options of photos that were given with a video."""
    if given := [name for name, value in options.items() if value is not None]:
        raise typer.BadParameter(f"{', '.join(given)} is for photos; a video has --codec and --crf")


def super_resolve_video(
    session: Session,
    video: Path,
    out: Path | None,
    model: Model,
    codec: FilmCodecName | None,
    crf: int | None,
    *,
    progressive: bool,
) -> None:
    """Writes the film `out`, by default beside the working folder's files as NAME_x4.mkv. Raises `PatinaError`."""
    try:
        from patina.video.encoding import VideoCodec  # noqa: PLC0415 - an extra
        from patina.video.film import FilmSr  # noqa: PLC0415
    except ImportError as error:
        raise PatinaError("Videos need PyAV. Install it with: pip install 'patina[video]'") from error

    target = out or Path(f"{video.stem}_x{model.scale}.mkv")
    if target.resolve() == video.resolve():
        raise PatinaError(f"{target} is the video itself. Name another file with --out.")
    film = FilmSr(
        video,
        target,
        model,
        settings(),
        codec=VideoCodec(codec) if codec else None,
        crf=crf,
        progressive=progressive,
    )
    if film.left_out:
        print_video_warnings(video, [f"{target.suffix} cannot hold: {', '.join(film.left_out)}. They are left out."])
    if film.info.colors.is_hdr:
        print_video_warnings(video, ["The video is HDR (PQ or HLG). It is enlarged as it is, and marked as HDR again."])
    try:
        with track_progress(session.out.console, "Super-resolving") as tracker:
            count = film.run(tracker.show)
    except KeyboardInterrupt:
        stderr.print(f"\nStopped. The same command goes on from {target}.parts.", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    session.out.print(f"{count} frames are in {target}")
    session.out.print_result({"file": str(target.absolute()), "frames": count, "left_out": film.left_out})
