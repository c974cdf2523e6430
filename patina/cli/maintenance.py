"""`patina doctor`, `backup` and `restore`: they work on the records and blobs themselves, so only where these are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from config.settings import settings
from patina.cli.app import FAILED, cli, example
from patina.errors import PatinaError

if TYPE_CHECKING:
    from store.store import Store

console = Console(soft_wrap=True, highlight=False, markup=False)  # names of files may hold brackets


@cli.command(epilog=example("patina doctor --deep"))
def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="Do what can be done safely.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every stored file, to see whether it is intact.")
    ] = False,
) -> None:
    """Check the records against the stored files, and say what is wrong and how to mend it."""
    from store.admin.doctor import examine, unreferenced  # noqa: PLC0415 - the other commands need no database

    with _store() as store:
        findings = list(examine(store, deep=deep))
        for finding in findings:
            console.print(f"{finding.message}\n  {finding.remedy}")
            if mend and finding.mend:
                with store.database.write() as session:
                    finding.mend(session)
                console.print("  Done.")
        count, size = unreferenced(store)
        if count:
            console.print(
                f"{count} stored files ({size:,} bytes) belong to no record; the reaper deletes them in time."
            )
    left = [finding for finding in findings if not (mend and finding.mend)]
    if not findings:
        console.print("All is well.")
    elif not mend and any(finding.mend for finding in findings):
        console.print("To mend what can be mended safely: patina doctor --mend")
    if left:
        raise typer.Exit(FAILED)


@cli.command(epilog=example("patina backup /mnt/patina.tar"))
def backup(file: Annotated[Path, typer.Argument(help="A new file, .tar; it should lie on another disk.")]) -> None:
    """Write all that lasts into one file, while the service runs."""
    from store.admin.backup import BackupError, back_up  # noqa: PLC0415

    if file.exists():
        raise PatinaError(f"{file} is there already. Name another file.")
    with _store() as store:
        try:
            copied = back_up(store, file)
        except BackupError as error:
            raise PatinaError(str(error)) from error
    console.print(f"{copied.records} records and {copied.blobs} stored files are in {file}.")
    if copied.missing:
        console.print(
            f"{copied.missing} stored files are lost or damaged, and so not in it; patina doctor --deep says which."
        )
        raise typer.Exit(FAILED)


@cli.command(epilog=example("patina restore /mnt/patina.tar"))
def restore(
    file: Annotated[Path, typer.Argument(help="What `patina backup` wrote.", exists=True, dir_okay=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Replace all records that there are.")] = False,
) -> None:
    """Put everything back as it was in a backup, also while the service runs."""
    from store.admin.backup import BackupError  # noqa: PLC0415
    from store.admin.backup import restore as put_back  # noqa: PLC0415

    with _store() as store:
        try:
            copied = put_back(store, file, replace=replace)
        except BackupError as error:
            raise PatinaError(str(error)) from error
    console.print(f"{copied.records} records and {copied.blobs} stored files are restored.")


def _store() -> AbstractContextManager[Store]:
    from patina.local.local_store import records  # noqa: PLC0415

    return records(settings(), "upkeep")
