"""`patina datasets`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from patina.cli.app import Api, AsJson, cli, format_example
from patina.cli.session import open_session
from patina.client import Dataset

MAX_LISTED = 20


@cli.command(epilog=format_example("patina datasets", "patina datasets 01jd3v9k5m8q2x7c4n6b1z0w5e --delete"))
def datasets(
    dataset_id: Annotated[str | None, typer.Argument(metavar="ID", help="Show this dataset and its photos.")] = None,
    *,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it with its photos, models and jobs. Asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    share: Annotated[
        bool | None,
        typer.Option("--share/--no-share", help="Let every token see and use it, or only its owner's."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest datasets; or show, share or delete one."""
    if dataset_id is None and (delete or share is not None):
        raise typer.BadParameter("--delete and --share need the ID of a dataset")
    with open_session(api, as_json) as session:
        if dataset_id is None:
            newest = session.patina.datasets.list(limit=MAX_LISTED)
            session.out.print_table(_format_table(newest))
            session.out.print_result(newest)
            return
        dataset = session.patina.datasets.get(dataset_id)
        if delete:
            description = f"“{dataset.name}” with its {sum(dataset.images.values()):,} photos, its models and its jobs"
            if not yes:
                typer.confirm(f"Delete {description}? This cannot be undone.", abort=True, err=True)
            dataset.delete()
            session.out.print(f"Deleted {description}.")
            session.out.print_result(dataset)
            return
        if share is not None:
            dataset.share(share)
        photos = dataset.photos()
        session.out.print_table(_format_table([dataset]))
        session.out.print(f"Models: {', '.join(dataset.models) or 'none yet'}")
        for photo in photos:
            session.out.print(f"{photo.role}  {photo.width:>5} × {photo.height:<5}  {photo.name}")
        session.out.print_result({**dataset.model_dump(mode="json"), "photos": photos})


def _format_table(datasets: list[Dataset]) -> Table:
    table = Table(
        Column("ID", no_wrap=True, min_width=26),
        "Name",
        *(Column(name, justify="right") for name in ("Scale", "Real", "Clean", "Models")),
        "Created",
        box=None,
        pad_edge=False,
    )
    for dataset in datasets:
        created = dataset.created.astimezone().strftime("%Y-%m-%d")
        counts = (dataset.images.get("lr", 0), dataset.images.get("hr", 0), len(dataset.models))
        table.add_row(dataset.id, Text(dataset.name), str(dataset.scale), *(f"{count:,}" for count in counts), created)
    return table
