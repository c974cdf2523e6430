"""The commands that submit jobs: `patina train`, `degrade` and `sr`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
from patina.cli.output import print_rejected
from patina.cli.session import Session, open_session
from patina.client.photo_files import find_photo_files
from patina.client.progress import track_progress
from patina.errors import ServiceError
from patina.schemas import Alarm
from store.degrade_options import LrFormat
from store.scales import Scale


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
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", callback=check_picture_name, help="Draw the model's contact sheet: a .png or .jpg."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Learn a degradation from real low-resolution photos LR and clean photos --hr, without pairs."""
    find_photo_files(lr)  # raises before the service creates anything
    find_photo_files(hr)
    with open_session(api, as_json) as session:
        dataset = session.patina.datasets.create(name or lr[0].resolve().name, scale)
        try:
            for role, paths, title in (("lr", lr, "Real photos"), ("hr", hr, "Clean photos")):
                with track_progress(session.out.console, title) as tracker:
                    print_rejected(dataset.upload(role, *paths, progress=tracker.show_count).rejected)
            job = dataset.train(preset=preset, max_minutes=minutes, max_steps=steps, seed=seed)
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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the triplets.")] = Path("triplets"),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Degrade clean photos with the learned model into triplets: low-resolution image, kernel and noise."""
    find_photo_files(photos)
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
                progress=tracker.show_count,
            )
        session.wait(job, "Degrading")
        session.download(job, out)


@cli.command(epilog=format_example("patina sr my-real-photos --out super-resolved"))
def sr(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the super-resolved photos.")] = Path(
        "super-resolved"
    ),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Super-resolve photos of the learned camera."""
    find_photo_files(photos)
    with open_session(api, as_json) as session:
        source = session.patina.models.get(model) if model else session.get_dataset(dataset, None)
        with track_progress(session.out.console, "Photos") as tracker:
            job = source.sr(*photos, progress=tracker.show_count)
        session.wait(job, "Super-resolving")
        session.download(job, out)


def _get_alarms(session: Session, model: str) -> list[Alarm]:
    try:
        return session.patina.models.get(model).report().alarms
    except ServiceError as error:
        if error.code == "no_report":
            return []
        raise
