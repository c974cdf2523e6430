"""`patina check`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from config.settings import settings
from patina.cli.app import FAILED, AsJson, cli, format_example
from patina.cli.output import Output
from patina.cli.video import DEFAULT_VIDEO_FRAMES, VideoFrames, frames_of_videos
from patina.client.progress import track_progress
from store.scales import Scale

if TYPE_CHECKING:
    from patina.photo_report import PhotoReport, RoleReport

ROLE_NAMES = {"lr": "Real photos", "hr": "Clean photos"}
LEFT_OUT_STYLE, WARNING_STYLE = "red", "yellow"


@cli.command(epilog=format_example("patina check my-real-photos --hr my-clean-photos"))
def check(
    lr: Annotated[list[Path] | None, typer.Argument(help="Real photos: files or folders.")] = None,
    *,
    hr: Annotated[list[Path] | None, typer.Option("--hr", help="Clean photos: files or folders.")] = None,
    scale: Annotated[Scale, typer.Option(help="Scale factor of the training to come.")] = 4,
    video_frames: VideoFrames = DEFAULT_VIDEO_FRAMES,
    as_json: AsJson = False,
) -> None:
    """Check photos before a training: what is usable, what is wrong, and what is left out. Needs no service.

    A video counts as some of its frames. Videos need `pip install 'patina[video]'`.

    Exit status 1: a file cannot be used, or a training would leave a photo out.
    """
    # These take longer to import than most commands run.
    from imaging.decoder_pool import DecoderPool  # noqa: PLC0415
    from patina.photo_report import check_folders  # noqa: PLC0415

    if not lr and not hr:
        raise typer.BadParameter("name a folder of real photos, or of clean ones with --hr")
    out, decoders = Output(as_json), DecoderPool(settings())
    try:
        with frames_of_videos(out.console, video_frames) as videos:
            paths = {"lr": videos.replace(lr or []), "hr": videos.replace(hr or [])}
            with track_progress(out.console, "Photos") as tracker:
                report = check_folders(paths, scale, decoders, tracker.show_count)
            report.rename(videos.restore)
    finally:
        decoders.close()
    out.print_table(_summarize(report))
    for of_role in report.roles.values():
        _print_photos(out, of_role)
    for mixture in report.mixtures:
        out.print(Text.assemble(("warning:", WARNING_STYLE), f" {mixture.message}"))
    if report.is_clean:
        out.print("A training uses all photos.")
    out.print_result(report.to_json())
    if not report.is_clean:
        raise typer.Exit(FAILED)


def _summarize(report: PhotoReport) -> Table:
    from patina.photo_report import format_sizes  # noqa: PLC0415

    table = Table(
        "",
        *(Column(name, justify="right") for name in ("Files", "Usable", "Left out", "Rejected")),
        "Sizes",
        "Formats",
        "JPEG qualities",
        "Findings",
        box=None,
        pad_edge=False,
    )
    for role, of_role in report.roles.items():
        photos = of_role.photos
        formats = Counter(file.format_name for file in photos).most_common()
        qualities = sorted(file.photo.quality for file in photos if file.photo.quality is not None)
        table.add_row(
            ROLE_NAMES[role],
            str(len(photos) + len(of_role.unusable)),
            str(len(photos) - len(of_role.left_out)),
            str(len(of_role.left_out)),
            str(len(of_role.unusable)),
            format_sizes(file.size for file in photos),
            ", ".join(f"{count} {name}" for name, count in formats),
            f"{qualities[0]} to {qualities[-1]}" if qualities else "",
            ", ".join(f"{count} {code}" for code, count in of_role.count_findings().most_common()),
        )
    return table


def _print_photos(out: Output, of_role: RoleReport) -> None:
    """Prints every photo with findings, every file that cannot be used, and what else is in the folders."""
    for file in of_role.photos:
        if not file.photo.findings:
            continue
        is_left_out = file.photo.key in of_role.left_out
        kind, style = ("left out:", LEFT_OUT_STYLE) if is_left_out else ("warning:", WARNING_STYLE)
        for finding in file.photo.findings:
            out.print(Text.assemble((kind, style), f" {file.path}: {finding.message}"), wrap=False)
    for unusable in of_role.unusable:
        out.print(Text.assemble(("rejected:", LEFT_OUT_STYLE), f" {unusable.path}: {unusable.message}"), wrap=False)
    for other in of_role.not_photos:
        out.print(Text.assemble(("no photo:", WARNING_STYLE), f" {other.path}: {other.reason}"), wrap=False)
