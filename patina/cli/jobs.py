"""`patina jobs` and `patina export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from config.settings import settings
from patina.cli.app import FAILED, Api, AsJson, cli, format_example
from patina.cli.output import Output, print_error, stderr
from patina.cli.session import Session, open_session
from patina.client import Job
from patina.client.progress import track_progress
from patina.export.formats import FORMATS, ExportFormat
from patina.local.session import find_service
from patina.schemas import Event

MAX_LISTED = 20


@cli.command(
    epilog=format_example("patina jobs", "patina jobs 01jd3vb7c8d9e0f1g2h3j4k5m6 --out triplets"),
)
def jobs(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="Follow this job to its end.")] = None,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the job.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Retry a failed or canceled job, from where it stopped.")
    ] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Finish a training now and save its model.")] = False,
    resume: Annotated[
        bool, typer.Option("--continue", help="Continue a training ended by --finish, as a new job, and follow it.")
    ] = False,
    show_log: Annotated[bool, typer.Option("--log", help="Print the job's events until it ends.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Download the results into this folder.")] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest jobs; or follow one, control it, or download its results."""
    if job_id is None and (cancel or retry or finish or resume or show_log or out):
        raise typer.BadParameter("all options but --json and --api need the ID of a job")
    if sum([cancel, retry, finish, resume]) > 1:
        raise typer.BadParameter("--cancel, --retry, --finish and --continue exclude each other")
    if job_id is None:
        _list_jobs(api, Output(as_json))
        return
    with open_session(api, as_json) as session:
        job = session.patina.jobs.get(job_id)
        if cancel:
            job.cancel()
            session.out.print(f"The {job.kind} job {job.id} is {'being canceled' if job.unfinished else job.status}.")
            session.out.print_result(job)
            return
        job = job.retry() if retry else job.finish() if finish else job.resume() if resume else job
        if show_log:
            _show_log(session, job)
            return
        if job.unfinished:
            session.wait(job, job.kind.capitalize())
        session.out.print_table(_format_table([job]))
        if job.error:
            print_error(job.kind, job.error.message)
        if out:
            session.download(job, out)
        else:
            session.out.print_result(job)
        if job.status != "succeeded":
            raise typer.Exit(FAILED)


@cli.command(
    epilog=format_example("patina export 01jd3vb7c8d9e0f1g2h3j4k5m6 pairs --as basicsr --validation 0.05"),
)
def export(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="A degrade job that has ended.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    file_format: Annotated[
        ExportFormat,
        typer.Option(
            "--as",
            help="; ".join(f"{name}: {spec.help}" for name, spec in FORMATS.items()) + ".",
        ),
    ] = ExportFormat.basicsr,
    validation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction of the photos for the validation set.")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples per webdataset or parquet file.")] = 1000,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """Export a job's pairs of clean and degraded photos in a format that trainers read."""
    with open_session(api, as_json) as session:
        job = session.patina.jobs.get(job_id)
        with track_progress(session.out.console, "Writing") as tracker:
            total = job.counts.get("ok")

            def count(done: int) -> None:
                tracker.show_count(done, total, "pairs")

            counts = job.export(folder, file_format, validation=validation, shard_size=shard_size, on_pair=count)
        splits = ", ".join(f"{count:,} pairs{f' for {split}' if split else ''}" for split, count in counts.items())
        session.out.print(f"{splits} are in {folder}")
        pairs = {split or "all": count for split, count in counts.items()}
        session.out.print_result({"folder": str(folder), "format": file_format, "pairs": pairs})


def _list_jobs(api: str | None, out: Output) -> None:
    if api is None and find_service(settings().data_dir) is None:
        from patina.local.local_store import list_latest_jobs  # noqa: PLC0415 - only where no service runs

        newest = list_latest_jobs(settings(), MAX_LISTED)
        stderr.print("No service runs, so no job makes progress. To start one: patina up", highlight=False)
    else:
        with open_session(api, out.as_json) as session:
            newest = session.patina.jobs.list(limit=MAX_LISTED)
    out.print_table(_format_table(newest))
    out.print_result(newest)


def _show_log(session: Session, job: Job) -> None:
    """Prints log lines and metrics as they arrive, without previews. With --json, prints all events at the end."""
    events: list[Event] = []
    with session.detach_on_interrupt(job):
        for event in job.events():
            events.append(event)
            if event.kind != "preview":
                session.out.print(_format_event(event), wrap=False)
    session.out.print_result(events)


def _format_event(event: Event) -> str:
    fields = dict(event.data)
    parts = [event.time.astimezone().strftime("%H:%M:%S"), fields.pop("level", ""), fields.pop("message", event.kind)]
    for name, value in fields.items():
        parts.append(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(filter(None, parts))


def _format_table(jobs: list[Job]) -> Table:
    table = Table(
        Column("ID", no_wrap=True, min_width=26), "Kind", "Status", "Done", "Created", box=None, pad_edge=False
    )
    colors = {"succeeded": "green", "failed": "red", "running": "cyan"}
    for job in jobs:
        color = colors.get(job.status, "default")
        progress = job.progress
        done = f"{progress.done:,.0f}/{progress.total:,.0f}" if progress.total else f"{progress.done:,.0f}"
        created = job.created.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(job.id, job.kind, f"[{color}]{job.status}[/]", f"{done} {progress.unit}", created)
    return table
