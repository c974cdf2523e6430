"""The commands that submit jobs: `patina train`, `degrade` and `sr`."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imaging.video.containers import is_video
from patina.cli.app import (
    Api,
    AsJson,
    FromDataset,
    FromModel,
    Photos,
    check_picture_name,
    cli,
    format_example,
    require_positive,
)
from patina.cli.film import FilmCodec, FilmCrf, Progressive, refuse_for_videos, super_resolve_video
from patina.cli.output import Output, print_checks, print_left_out, print_rejected, print_warnings
from patina.cli.session import NOTHING_TRAINED, Session, open_session
from patina.cli.video import DEFAULT_VIDEO_FRAMES, VideoFrames, frames_of_videos
from patina.client.photo_files import search_photos
from patina.client.progress import track_progress
from patina.errors import PatinaError, ServiceError
from patina.schemas import Alarm
from store.degrade_options import LrFormat
from store.result_store import ResultStore
from store.scales import Scale
from store.sr_options import Color, Depth, ImageFormat, Metadata


class FrameChoice(StrEnum):
    first = "first"
    all = "all"


class DeepImages(StrEnum):
    refuse = "refuse"
    scale = "scale"


Frames = Annotated[
    FrameChoice | None, typer.Option(help="Take the first image (default) or all of an animation or paged TIFF.")
]
ReadDepth = Annotated[
    DeepImages | None,
    typer.Option("--depth", help="Refuse photos with more than 8 bits per channel (default), or scale them to 8."),
]


JobPriority = Annotated[
    int | None, typer.Option("--priority", min=-10, max=10, help="Jobs of a higher priority start first. Default: 0.")
]


Store = Annotated[
    ResultStore | None,
    typer.Option(
        "--store",
        help="Keep each result as a file (default), or about a thousand samples in one WebDataset tar, and download "
        "these tars.",
    ),
]


class Exclude(StrEnum):
    kernel = "kernel"
    noise = "noise"


@cli.command(
    epilog=format_example("patina train my-real-photos --hr my-clean-photos --minutes 10 --sheet contact-sheet.png")
)
def train(
    lr: Photos,
    *,
    hr: Annotated[
        list[Path], typer.Option("--hr", help="Clean photos, best of similar things: files, folders or archives.")
    ],
    scale: Annotated[
        Scale, typer.Option(help="Size of clean photos relative to real ones. 1: denoise, deblur, remove JPEG.")
    ] = 4,
    name: Annotated[str | None, typer.Option(help="Name of the dataset. Default: the folder's name.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset. Default: the best one.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, max=60 * 24 * 365, callback=require_positive, help="Training time limit.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=10_000_000, help="Training step limit.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same training.")] = None,
    frames: Frames = None,
    depth: ReadDepth = None,
    video_frames: VideoFrames = DEFAULT_VIDEO_FRAMES,
    warm_start: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Start from the networks of this model.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", callback=check_picture_name, help="Draw the model's contact sheet: a .png or .jpg."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Learn a degradation from real low-resolution photos LR and clean photos --hr, without pairs.

    A video counts as some of its frames. Videos need `pip install 'patina[video]'`.
    """
    name = name or lr[0].resolve().name
    with frames_of_videos(Output(as_json).console, video_frames) as videos, ExitStack() as stack:
        lr, hr = videos.replace(lr), videos.replace(hr)
        print_left_out(search_photos(lr).left_out)  # raises before the service creates anything
        print_left_out(search_photos(hr).left_out)
        session = stack.enter_context(open_session(api, as_json))
        dataset = session.patina.datasets.create(name, scale)
        try:
            for role, paths, title in (("lr", lr, "Real photos"), ("hr", hr, "Clean photos")):
                with track_progress(session.out.console, title) as tracker:
                    upload = dataset.upload(role, *paths, frames=frames, depth=depth, progress=tracker.show_count)
                print_rejected(upload.rejected)
                print_warnings(upload.warnings)
            job = dataset.train(preset=preset, max_minutes=minutes, max_steps=steps, seed=seed, warm_start=warm_start)
            print_checks(dataset.checks())
        except ServiceError:  # the dataset would be left without a training
            dataset.delete()
            raise
        session.wait(job, "Training")
        if job.model:
            session.out.print_alarms(_get_alarms(session, job.model))
        if job.model and sheet:
            session.save_sheet(session.patina.models.get(job.model), sheet)
        session.out.print(f"Trained model {job.model} of dataset {dataset.id} ({dataset.name}). Next, for example:")
        session.out.print(f"  patina degrade CLEAN_PHOTOS --dataset {dataset.id}")
        session.out.print(f"  patina sr REAL_PHOTOS --dataset {dataset.id}")
        session.out.print_result(job)


@cli.command(epilog=format_example("patina degrade my-clean-photos --samples 4 --out triplets"))
def degrade(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    samples: Annotated[int, typer.Option(min=1, help="Degradations sampled for each photo.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed and photos give the same triplets.")] = None,
    crop: Annotated[
        int | None, typer.Option(min=32, max=8192, help="First crop photos into squares of this side in pixels.")
    ] = None,
    crop_step: Annotated[
        int | None, typer.Option(min=1, max=8192, help="Pixels between crops. Default: --crop.")
    ] = None,
    min_detail: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=255,
            callback=require_positive,
            help="Skip photos or crops with less detail: mean difference of neighboring pixels, 0 to 255.",
        ),
    ] = None,
    leave_out: Annotated[
        list[Exclude] | None, typer.Option(help="Do not store kernels, or noise. Repeat for both.")
    ] = None,
    lr_format: Annotated[LrFormat | None, typer.Option(help="Lossless format of low-resolution images.")] = None,
    jpeg: Annotated[
        str | None,
        typer.Option(
            metavar="QUALITY",
            help="Add JPEG compression after the learned degradation: 75, or 60-95 for a random quality per sample.",
        ),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction of the photos for the validation set.")
    ] = None,
    frames: Frames = None,
    depth: ReadDepth = None,
    store: Store = None,
    priority: JobPriority = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the triplets.")] = Path("triplets"),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Degrade clean photos with the learned model into triplets: low-resolution image, kernel and noise."""
    left_out = search_photos(photos).left_out
    print_left_out(left_out)
    with open_session(api, as_json) as session:
        source = session.get_dataset(dataset, model)
        with track_progress(session.out.console, "Photos") as tracker:
            job = source.degrade(
                *photos,
                model=model,
                samples=samples,
                seed=seed,
                crop=crop,
                crop_step=crop_step,
                min_detail=min_detail,
                leave_out=leave_out or (),
                lr_format=lr_format,
                jpeg=jpeg,
                validation=validation,
                frames=frames,
                depth=depth,
                store=store,
                priority=priority,
                progress=tracker.show_count,
            )
        print_warnings(job.warnings)
        session.wait(job, "Degrading")
        session.download(job, out, left_out)


@cli.command(epilog=format_example("patina sr my-real-photos --out super-resolved"))
def sr(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    image_format: Annotated[
        ImageFormat | None, typer.Option("--format", help="Format of the results. Default: png.")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Quality of jpeg (default 95), webp (90) or avif (85).")
    ] = None,
    metadata: Annotated[
        Metadata | None, typer.Option(help="Keep the photos' EXIF and XMP (default), or drop them.")
    ] = None,
    color: Annotated[
        Color | None, typer.Option(help="Convert colors to sRGB (default), or keep the photos' profiles.")
    ] = None,
    depth: Annotated[
        Depth | None,
        typer.Option(
            help="Bits per channel: 8, 16, or those of the photos. Default: 8, and photos with more are refused."
        ),
    ] = None,
    frames: Frames = None,
    priority: JobPriority = None,
    codec: FilmCodec = None,
    crf: FilmCrf = None,
    progressive: Progressive = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the photos (default: super-resolved), or file for a video."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Super-resolve photos of the learned camera, or one of its videos.

    A video keeps its sound, subtitles and time stamps. If it was interrupted, the same command goes on. Videos need
    `pip install 'patina[video]'`.
    """
    if any(map(is_video, photos)):
        if len(photos) > 1:
            raise typer.BadParameter("name one video alone")
        given = {"--format": image_format, "--quality": quality, "--metadata": metadata, "--color": color}
        refuse_for_videos({**given, "--depth": depth, "--frames": frames, "--priority": priority})
        with open_session(api, as_json) as session:
            source_model = session.get_model(model or _newest_model(session, dataset))
            super_resolve_video(session, photos[0], out, source_model, codec, crf, progressive=progressive)
        return
    out = out or Path("super-resolved")
    left_out = search_photos(photos).left_out
    print_left_out(left_out)
    with open_session(api, as_json) as session:
        source = session.patina.models.get(model) if model else session.get_dataset(dataset, None)
        with track_progress(session.out.console, "Photos") as tracker:
            job = source.sr(
                *photos,
                format=image_format,
                quality=quality,
                metadata=metadata,
                color=color,
                depth=depth,
                frames=frames,
                priority=priority,
                progress=tracker.show_count,
            )
        print_warnings(job.warnings)
        session.wait(job, "Super-resolving")
        session.download(job, out, left_out)


def _newest_model(session: Session, dataset: str | None) -> str | None:
    """Returns the newest model of a dataset; None without one, for the newest of all."""
    if dataset is None:
        return None
    models = session.patina.datasets.get(dataset).models
    if not models:
        raise PatinaError(NOTHING_TRAINED)
    return models[0]


def _get_alarms(session: Session, model: str) -> list[Alarm]:
    try:
        return session.patina.models.get(model).report().alarms
    except ServiceError as error:
        if error.code == "no_report":
            return []
        raise
