"""The commands that give the service work: train, degrade, sr."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from patina.cli.app import Api, AsJson, FromDataset, FromModel, Photos, above_zero, cli, example, picture
from patina.cli.output import complain_of
from patina.cli.session import Session, session
from patina.client.photo_files import photo_files
from patina.client.progress import tracking
from patina.client.schemas import Alarm
from patina.errors import ServiceError


class LeftOut(StrEnum):
    kernel = "kernel"
    noise = "noise"


@cli.command(epilog=example("patina train my-real-photos --hr my-clean-photos --minutes 10 --sheet contact-sheet.png"))
def train(
    lr: Photos,
    *,
    hr: Annotated[list[Path], typer.Option("--hr", help="Clean photos, of anything: files, a folder or an archive.")],
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times smaller the real photos are.")] = 4,
    name: Annotated[str | None, typer.Option(help="What to call the dataset. Unset: the folder's name.")] = None,
    preset: Annotated[str | None, typer.Option(help="Recipe of the training. Unset: the best known.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, max=60 * 24 * 365, callback=above_zero, help="Stop after so long.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=10_000_000, help="Stop after so many steps.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same training.")] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", callback=picture, help="Draw the model's contact sheet: a .png or .jpg.")
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Learn from real low-resolution photos LR and clean photos --hr how the real ones lost their quality."""
    photo_files(lr)  # complains before anything is made
    photo_files(hr)
    with session(api, as_json) as here:
        dataset = here.patina.datasets.create(name or lr[0].resolve().name, scale)
        try:
            for role, paths, title in (("lr", lr, "Real photos"), ("hr", hr, "Clean photos")):
                with tracking(here.out.console, title) as tracker:
                    complain_of(dataset.upload(role, *paths, progress=tracker.count).rejected)
            job = dataset.train(preset=preset, max_minutes=minutes, max_steps=steps, seed=seed)
        except ServiceError:  # nothing will come of it
            dataset.delete()
            raise
        here.finish(job, "Training")
        if job.model:
            here.out.alarms(_alarms(here, job.model))
        if job.model and sheet:
            here.draw(here.patina.models.get(job.model), sheet)
        here.out.say(f"Trained model {job.model} of dataset {dataset.id} ({dataset.name}). Now, for example:")
        here.out.say(f"  patina degrade CLEAN_PHOTOS --dataset {dataset.id}")
        here.out.say(f"  patina sr REAL_PHOTOS --dataset {dataset.id}")
        here.out.result(job)


@cli.command(epilog=example("patina degrade my-clean-photos --samples 4 --out triplets"))
def degrade(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    samples: Annotated[int, typer.Option(min=1, help="Degradations drawn for each photo.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same photos, same triplets.")] = None,
    crop: Annotated[
        int | None, typer.Option(min=32, max=8192, help="Cut photos into squares of so many pixels first.")
    ] = None,
    crop_step: Annotated[
        int | None, typer.Option(min=1, max=8192, help="Pixels from square to square. Unset: --crop.")
    ] = None,
    min_detail: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=255,
            callback=above_zero,
            help="Leave out what is flatter: mean difference of neighbouring pixels, of 255.",
        ),
    ] = None,
    leave_out: Annotated[
        list[LeftOut] | None, typer.Option(help="Do not keep kernels, or noise. May be given twice.")
    ] = None,
    lr_format: Annotated[
        Literal["png", "webp"] | None, typer.Option(help="Of low-resolution images; both are lossless.")
    ] = None,
    jpeg: Annotated[
        str | None,
        typer.Option(
            metavar="QUALITY",
            help="Compress once more, after the learned degradation: 75, or 60-95 to draw one for each sample.",
        ),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction of the photos to set apart for validation.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the triplets.")] = Path("triplets"),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Wear clean photos down in the learned way: each becomes low-resolution image, kernel and noise."""
    photo_files(photos)
    with session(api, as_json) as here:
        learned = here.dataset(dataset, model)
        with tracking(here.out.console, "Photos") as tracker:
            job = learned.degrade(
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
                progress=tracker.count,
            )
        here.finish(job, "Degrading")
        here.fetch(job, out)


@cli.command(epilog=example("patina sr my-real-photos --out super-resolved"))
def sr(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the enlarged photos.")] = Path("super-resolved"),
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Super-resolve photos of the camera that was learned."""
    photo_files(photos)
    with session(api, as_json) as here:
        learned = here.patina.models.get(model) if model else here.dataset(dataset, None)
        with tracking(here.out.console, "Photos") as tracker:
            job = learned.sr(*photos, progress=tracker.count)
        here.finish(job, "Super-resolving")
        here.fetch(job, out)


def _alarms(here: Session, model: str) -> list[Alarm]:
    try:
        return here.patina.models.get(model).report().alarms
    except ServiceError as error:
        if error.code == "no_report":
            return []
        raise
