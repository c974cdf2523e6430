"""The command on datasets."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from patina.cli.app import Api, AsJson, cli, example
from patina.cli.session import session
from patina.client.datasets import Dataset
from patina.client.flow import Sync

LISTED = 20


@cli.command(epilog=example("patina datasets", "patina datasets 01jd3v9k5m8q2x7c4n6b1z0w5e --delete"))
def datasets(
    dataset_id: Annotated[str | None, typer.Argument(metavar="ID", help="One dataset, with its photos' names.")] = None,
    *,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it with its photos, models and jobs, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without a question.")] = False,
    share: Annotated[
        bool | None,
        typer.Option("--share/--no-share", help="Let every token see and use it, or its owner's alone."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
) -> None:
    """List the newest datasets; or show, share or delete one."""
    if dataset_id is None and (delete or share is not None):
        raise typer.BadParameter("--delete and --share need the ID of a dataset")
    with session(api, as_json) as here:
        if dataset_id is None:
            found = here.patina.datasets.list(limit=LISTED)
            here.out.table(_table(found))
            here.out.result(found)
            return
        dataset = here.patina.datasets.get(dataset_id)
        if delete:
            what = f"“{dataset.name}” with its {sum(dataset.images.values()):,} photos, its models and its jobs"
            if not yes:
                typer.confirm(f"Delete {what}? This cannot be undone.", abort=True, err=True)
            dataset.delete()
            here.out.say(f"Deleted {what}.")
            here.out.result(dataset)
            return
        if share is not None:
            dataset.share(share)
        photos = dataset.photos()
        here.out.table(_table([dataset]))
        here.out.say(f"Models: {', '.join(dataset.models) or 'none yet'}")
        for photo in photos:
            here.out.say(f"{photo.role}  {photo.width:>5} × {photo.height:<5}  {photo.name}")
        here.out.result({**dataset.model_dump(mode="json"), "photos": photos})


def _table(found: list[Dataset[Sync]]) -> Table:
    table = Table(
        Column("ID", no_wrap=True, min_width=26),
        "Name",
        *(Column(name, justify="right") for name in ("Scale", "Real", "Clean", "Models")),
        "Made",
        box=None,
        pad_edge=False,
    )
    for dataset in found:
        made = dataset.created.astimezone().strftime("%Y-%m-%d")
        counts = (dataset.images.get("lr", 0), dataset.images.get("hr", 0), len(dataset.models))
        table.add_row(dataset.id, Text(dataset.name), str(dataset.scale), *(f"{count:,}" for count in counts), made)
    return table
