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
from patina.answers import Alarm, Job, Model, RejectedFile, Report
from patina.client import Client
from patina.errors import LostServiceError, PatinaError, ServiceError
from patina.photo_files import photo_files
from patina.progress import tracking
from patina.service import Service, service
from patina.up import up as run_service

FAILED, INTERRUPTED = 1, 130
LISTED = 20
NOTHING_TRAINED = "Nothing has been trained yet. Train first: patina train REAL_PHOTOS --hr CLEAN_PHOTOS"

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
        if job.model:
            _show_alarms(_alarms(patina, job.model))
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
def report(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Unset: the one trained last.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for programs.")] = False,
    api: Api = None,
) -> None:
    """Tell how good a trained model is: what it makes, how like the real photos that looks, and what is wrong."""
    with _client(api) as (patina, _):
        model = model or _model_trained_last(patina).id
        if as_json:
            console.print_json(patina.report_json(model))
        else:
            found = patina.report(model)
            console.print(_figures(found))
            _show_alarms(found.alarms)


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
    raise PatinaError(NOTHING_TRAINED)


def _model_trained_last(patina: Client) -> Model:
    for found in patina.models():
        return found
    raise PatinaError(NOTHING_TRAINED)


def _alarms(patina: Client, model: str) -> list[Alarm]:
    try:
        return patina.report(model).alarms
    except ServiceError as error:
        if error.code == "no_report":
            return []
        raise


def _show_alarms(alarms: list[Alarm]) -> None:
    for alarm in alarms:
        colour = "red" if alarm.severity == "alarm" else "yellow"
        console.print(Text.assemble((f"{alarm.severity}:", colour), " ", alarm.message), soft_wrap=True)


def _figures(found: Report) -> Table:
    kernels, noise, colours = found.kernels, found.noise, found.colours
    table = Table("Figure", "Value", "Meaning", box=None, pad_edge=False)
    table.add_row("score", f"{found.score:.2f}", "0 is perfect; lower is better, for models of the same photos")
    if test := found.two_sample:
        told = f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"
        table.add_row("told apart", told, "made photos from real ones, by a small classifier; 50% is perfect")
    for name, width in (("blur, major", kernels.major), ("blur, minor", kernels.minor)):
        spread = f"{width.mean:.2f} ({width.p5:.2f} to {width.p95:.2f})"
        table.add_row(name, spread, "width of kernels in high-resolution pixels, and of nine in ten")
    table.add_row(
        "off centre", f"{kernels.off_centre.mean:.3f}", "distance of kernels from the sampled point, in pixels"
    )
    table.add_row("diversity", f"{kernels.diversity:.2f}", "of kernels; 0: all the same, 1: nothing in common")
    level = noise.level
    table.add_row(
        "noise", f"{level.mean:.1f} ({level.p5:.1f} to {level.p95:.1f})", "in 8-bit levels, and of nine in ten"
    )
    if curve := noise.by_brightness:
        ends = f"{curve[0].level:.1f} to {curve[-1].level:.1f}"
        between = f"{curve[0].brightness:.0f} to {curve[-1].brightness:.0f}"
        table.add_row("", ends, f"from brightness {between}")
    correlation = f"{noise.right:.2f}, {noise.below:.2f}, {noise.red_green:.2f}"
    table.add_row("", correlation, "correlation with the right and lower neighbour, and of red and green")
    shift = f"{colours.red:+.1f}, {colours.green:+.1f}, {colours.blue:+.1f}"
    table.add_row("colour shift", shift, "of red, green and blue, in levels; 0 is perfect")
    return table


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
