"""The command line: each command is a few calls of the client, with progress shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from config.logging import configure_logging
from config.settings import settings
from patina.answers import Job, RejectedFile
from patina.client import Client
from patina.errors import LostServiceError, PatinaError, ServiceError
from patina.photo_files import photo_files
from patina.progress import tracking
from patina.service import Service, service
from patina.up import up as run_service

FAILED, INTERRUPTED = 1, 130
LISTED = 20

cli = typer.Typer(
    name="patina",
    help="Learns how real photos lost their quality, and wears clean images down in the same way.",
    epilog="Exit status: 0 done, 1 failed or refused, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()
errors = Console(stderr=True)

Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="PATINA_API",
        help="URL of the service. Unset: the one that `patina up` runs here, or one started for this command alone.",
    ),
]
Photos = Annotated[list[Path], typer.Argument(help="Photos, folders of photos, or archives (.zip, .tar).")]
FromDataset = Annotated[
    str | None, typer.Option("--dataset", help="Dataset whose model is used. Unset: the one trained last.")
]
FromModel = Annotated[str | None, typer.Option("--model", help="One certain model, instead of the dataset's newest.")]


@cli.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Unset: PATINA_PORT.")
    ] = None,
) -> None:
    """Run the service here until Ctrl-C: API, workers, queue and all."""
    configure_logging(settings(), "up")
    run_service(settings(), port)


@cli.command()
def train(
    lr: Photos,
    *,
    hr: Annotated[list[Path], typer.Option("--hr", help="Clean photos, of anything: files, a folder or an archive.")],
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times smaller the real photos are.")] = 4,
    name: Annotated[str | None, typer.Option(help="What to call the dataset. Unset: the folder's name.")] = None,
    preset: Annotated[str | None, typer.Option(help="Recipe of the training. Unset: the best known.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same training.")] = None,
    api: Api = None,
) -> None:
    """Learn from real low-resolution photos LR and clean photos --hr how the real ones lost their quality."""
    photo_files(lr)  # complains before anything is made
    photo_files(hr)
    with _client(api) as (patina, at):
        dataset = patina.create_dataset(name or lr[0].resolve().name, scale)
        try:
            for role, paths, title in (("lr", lr, "Real photos"), ("hr", hr, "Clean photos")):
                with tracking(console, title) as tracker:
                    _show_rejected(patina.upload(dataset.id, role, paths, tracker.count))
            job = patina.train(dataset.id, preset=preset, max_minutes=minutes, max_steps=steps, seed=seed)
        except ServiceError:  # nothing will come of it
            patina.delete_dataset(dataset.id)
            raise
        job = _finish(patina, at, job, "Training")
        console.print(
            f"Trained model {job.model} of dataset {dataset.id} ({dataset.name}). Now, for example:", markup=False
        )
        console.print(f"  patina degrade CLEAN_PHOTOS --dataset {dataset.id}", highlight=False)
        console.print(f"  patina sr REAL_PHOTOS --dataset {dataset.id}", highlight=False)


@cli.command()
def degrade(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    samples: Annotated[int, typer.Option(min=1, help="Degradations drawn for each photo.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Same seed, same photos, same triplets.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the triplets.")] = Path("triplets"),
    api: Api = None,
) -> None:
    """Wear clean photos down in the learned way: each becomes low-resolution image, kernel and noise."""
    photo_files(photos)
    with _client(api) as (patina, at):
        dataset = dataset or _trained_last(patina, model)
        with tracking(console, "Photos") as tracker:
            job = patina.degrade(
                photos, dataset=dataset, model=model, samples=samples, seed=seed, on_progress=tracker.count
            )
        _fetch(patina, _finish(patina, at, job, "Degrading"), out)


@cli.command()
def sr(
    photos: Photos,
    *,
    dataset: FromDataset = None,
    model: FromModel = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the enlarged photos.")] = Path("super-resolved"),
    api: Api = None,
) -> None:
    """Super-resolve photos of the camera that was learned."""
    photo_files(photos)
    with _client(api) as (patina, at):
        if model is None:
            dataset = dataset or _trained_last(patina, None)
        with tracking(console, "Photos") as tracker:
            job = patina.sr(photos, dataset=None if model else dataset, model=model, on_progress=tracker.count)
        _fetch(patina, _finish(patina, at, job, "Super-resolving"), out)


@cli.command()
def jobs(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One job, to follow to its end.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Fetch what it made into this folder.")] = None,
    api: Api = None,
) -> None:
    """List the newest jobs; or follow, cancel or fetch one."""
    if job_id is None and (cancel or out):
        raise typer.BadParameter("--cancel and --out need the ID of a job")
    with _client(api) as (patina, at):
        if job_id is None:
            console.print(_table(list(islice(patina.jobs(), LISTED))))
        elif cancel:
            job = patina.cancel(job_id)
            console.print(f"The {job.kind} job {job.id} is {job.status if not job.unfinished else 'being canceled'}.")
        else:
            job = patina.job(job_id)
            if job.unfinished:
                job = _finish(patina, at, job, job.kind.capitalize())
            console.print(_table([job]))
            if job.error:
                _complain(job.kind, str(job.error.get("message")))
            if out:
                _fetch(patina, job, out)
            if job.status != "succeeded":
                raise typer.Exit(FAILED)


@cli.command()
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 5.5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all that the demo makes.")] = Path("demo-output"),
) -> None:
    """See the whole of it happen on photographs that come with a package, in six minutes."""
    from patina.demo.run import run  # noqa: PLC0415 - its libraries are not needed, or installed, for anything else

    run(console, out.absolute(), minutes)


def main() -> NoReturn:
    try:
        settings()
    except ValidationError as error:
        for wrong in error.errors():
            _complain(f"PATINA_{'_'.join(map(str, wrong['loc'])).upper()}", wrong["msg"])
        sys.exit(FAILED)
    try:
        cli()
    except (PatinaError, OSError) as error:
        _complain("patina", str(error))
    sys.exit(FAILED)


# What the commands share


@contextmanager
def _client(api: str | None) -> Iterator[tuple[Client, Service]]:
    with service(settings().data_dir, api, errors.print) as at, Client(at.url) as patina:
        yield patina, at


def _finish(patina: Client, at: Service, job: Job, title: str) -> Job:
    """Waits with a bar; Ctrl-C ends the waiting, not the job."""
    try:
        with tracking(console, title) as tracker:
            return patina.wait(job, tracker.job)
    except KeyboardInterrupt:
        if at.own:
            errors.print(
                "\nStopping. The job is kept and goes on with the next `patina up`; or now, with:", highlight=False
            )
            errors.print(f"  patina jobs {job.id}", highlight=False)
        else:
            target = f" --api {at.url}" if "PATINA_API" not in os.environ else ""
            errors.print(f"\nThe job goes on. To follow it:  patina jobs {job.id}{target}", highlight=False)
            errors.print(f"To cancel it:  patina jobs {job.id}{target} --cancel", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    except LostServiceError as error:
        raise LostServiceError(f"{error}\nThe job {job.id} is kept: patina jobs {job.id} follows it.") from error


def _fetch(patina: Client, job: Job, folder: Path) -> None:
    fetched: list[str] = []
    with tracking(console, "Fetching") as tracker:

        def count(name: str) -> None:
            fetched.append(name)
            tracker.count(len(fetched))

        lines = patina.download(job.id, folder, count)
    failed = [line for line in lines if line["status"] != "ok"]
    for line in failed:
        _complain(line["source"], line.get("message") or line["status"])
    console.print(f"{len(lines) - len(failed)} of {len(lines)} results are in {folder}", highlight=False)
    if failed:
        raise typer.Exit(FAILED)


def _trained_last(patina: Client, model: str | None) -> str:
    """The dataset of the model, or of the newest one."""
    for found in patina.models():
        if found.dataset and model in (None, found.id):
            return found.dataset
    if model:
        raise PatinaError(f"There is no model {model!r}.")
    raise PatinaError("Nothing has been trained yet. Train first: patina train REAL_PHOTOS --hr CLEAN_PHOTOS")


def _show_rejected(rejected: list[RejectedFile]) -> None:
    for file in rejected:
        _complain(f"not taken: {file.name}", file.message)


def _complain(about: str, message: str) -> None:
    # Not as markup: names of files may hold brackets.
    errors.print(Text.assemble((f"{about}:", "red"), " ", message), soft_wrap=True)


def _table(found: list[Job]) -> Table:
    table = Table(Column("ID", no_wrap=True, min_width=26), "Kind", "Status", "Done", "Made", box=None, pad_edge=False)
    colours = {"succeeded": "green", "failed": "red", "running": "cyan"}
    for job in found:
        colour = colours.get(job.status, "default")
        progress = job.progress
        done = f"{progress.done:,.0f}/{progress.total:,.0f}" if progress.total else f"{progress.done:,.0f}"
        created = job.created.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(job.id, job.kind, f"[{colour}]{job.status}[/]", f"{done} {progress.unit}", created)
    return table
