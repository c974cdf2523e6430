"""Commands on jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from config.settings import settings
from patina.cli.app import FAILED, Api, AsJson, cli, example
from patina.cli.output import Output, complain, errors
from patina.cli.session import Session, session
from patina.client.flow import Sync
from patina.client.jobs import Job
from patina.client.progress import tracking
from patina.client.schemas import Event
from patina.export.formats import Form
from patina.local.session import find

LISTED = 20


@cli.command(
    epilog=example("patina jobs", "patina jobs 01jd3vb7c8d9e0f1g2h3j4k5m6 --out triplets"),
)
def jobs(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="One job, to follow to its end.")] = None,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Take it up where it failed or was canceled.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="End a training now and keep what it has learned as a model.")
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Train on where --finish ended it: a new job, which is followed.")
    ] = False,
    show_log: Annotated[
        bool, typer.Option("--log", help="Show all that has happened in it, and what happens until it ends.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Fetch what it made into this folder.")] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest jobs; or follow one, steer it, or fetch what it made."""
    if job_id is None and (cancel or retry or finish or go_on or show_log or out):
        raise typer.BadParameter("all options but --json and --api need the ID of a job")
    if sum([cancel, retry, finish, go_on]) > 1:
        raise typer.BadParameter("--cancel, --retry, --finish and --continue exclude each other")
    if job_id is None:
        _list(api, Output(as_json))
        return
    with session(api, as_json) as here:
        job = here.patina.jobs.get(job_id)
        if cancel:
            job.cancel()
            here.out.say(f"The {job.kind} job {job.id} is {'being canceled' if job.unfinished else job.status}.")
            here.out.result(job)
            return
        job = job.retry() if retry else job.finish() if finish else job.go_on() if go_on else job
        if show_log:
            _show_log(here, job)
            return
        if job.unfinished:
            here.finish(job, job.kind.capitalize())
        here.out.table(_table([job]))
        if job.error:
            complain(job.kind, job.error.message)
        if out:
            here.fetch(job, out)
        else:
            here.out.result(job)
        if job.status != "succeeded":
            raise typer.Exit(FAILED)


@cli.command(
    epilog=example("patina export 01jd3vb7c8d9e0f1g2h3j4k5m6 pairs --as basicsr --validation 0.05"),
)
def export(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A degrade job that has ended.")],
    folder: Annotated[Path, typer.Argument(help="Where to write to.")],
    form: Annotated[
        Form,
        typer.Option(
            "--as",
            help="basicsr: paired folders, also for Real-ESRGAN, traiNNer-redux and neosr; lmdb: BasicSR's; parquet: "
            "for Hugging Face's datasets.",
        ),
    ] = Form.basicsr,
    validation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction of the photos to set apart for validation.")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples in a file of webdataset or parquet.")] = 1000,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Write a job's pairs of clean and worn-down photos in the form that a trainer reads."""
    with session(api, as_json) as here:
        job = here.patina.jobs.get(job_id)
        with tracking(here.out.console, "Writing") as tracker:
            total = job.counts.get("ok")

            def tell(done: int) -> None:
                tracker.count(done, total, "pairs")

            counts = job.export(folder, form, validation=validation, shard_size=shard_size, on_pair=tell)
        sides = ", ".join(f"{count:,} pairs{f' for {side}' if side else ''}" for side, count in counts.items())
        here.out.say(f"{sides} are in {folder}")
        here.out.result(
            {"folder": str(folder), "form": form, "pairs": {side or "all": n for side, n in counts.items()}}
        )


def _list(api: str | None, out: Output) -> None:
    if api is None and find(settings().data_dir) is None:
        from patina.local.local_store import newest_jobs  # noqa: PLC0415 - only where no service runs

        found = newest_jobs(settings(), LISTED)
        errors.print("No service runs, so none of these goes on. To start one: patina up", highlight=False)
    else:
        with session(api, out.as_json) as here:
            found = here.patina.jobs.list(limit=LISTED)
    out.table(_table(found))
    out.result(found)


def _show_log(here: Session, job: Job[Sync]) -> None:
    """Log lines and figures as they come; previews are for eyes, and left out. As JSON, all of it at the end."""
    events: list[Event] = []
    with here.waiting_for(job):
        for event in job.events():
            events.append(event)
            if event.kind != "preview":
                here.out.say(_line(event), wrap=False)
    here.out.result(events)


def _line(event: Event) -> str:
    told = dict(event.data)
    words = [event.time.astimezone().strftime("%H:%M:%S"), told.pop("level", ""), told.pop("message", event.kind)]
    words += [f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in told.items()]
    return " ".join(filter(None, words))


def _table(found: list[Job[Sync]]) -> Table:
    table = Table(Column("ID", no_wrap=True, min_width=26), "Kind", "Status", "Done", "Made", box=None, pad_edge=False)
    colours = {"succeeded": "green", "failed": "red", "running": "cyan"}
    for job in found:
        colour = colours.get(job.status, "default")
        progress = job.progress
        done = f"{progress.done:,.0f}/{progress.total:,.0f}" if progress.total else f"{progress.done:,.0f}"
        created = job.created.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(job.id, job.kind, f"[{colour}]{job.status}[/]", f"{done} {progress.unit}", created)
    return table
