"""`patina doctor`, `backup`, `restore` and `migrate-blobs`.

They open database and blobs, so they run on the service's machine.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from config.settings import settings
from patina.cli.app import FAILED, cli, format_example
from patina.errors import PatinaError

if TYPE_CHECKING:
    from store.store import Store

console = Console(soft_wrap=True, highlight=False, markup=False)  # file names may hold brackets


@cli.command(epilog=format_example("patina doctor --deep"))
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Do the repairs that are safe.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every stored file and check its hash.")] = False,
) -> None:
    """Check the database against the stored files; print each problem and its remedy."""
    from store.admin.doctor import check, count_unreferenced  # noqa: PLC0415 - the other commands need no database

    with _store() as store:
        findings = list(check(store, deep=deep))
        for finding in findings:
            console.print(f"{finding.message}\n  {finding.remedy}")
            if repair and finding.repair:
                with store.database.write() as session:
                    finding.repair(session)
                console.print("  Done.")
        count, size = count_unreferenced(store)
        if count:
            console.print(f"{count} stored files ({size:,} bytes) belong to no record; the reaper will delete them.")
    remaining = [finding for finding in findings if not (repair and finding.repair)]
    if not findings:
        console.print("No problems found.")
    elif not repair and any(finding.repair for finding in findings):
        console.print("To do the safe repairs: patina doctor --repair")
    if remaining:
        raise typer.Exit(FAILED)


@cli.command(epilog=format_example("patina backup /mnt/patina.tar"))
def backup(file: Annotated[Path, typer.Argument(help="A new .tar file, best on another disk.")]) -> None:
    """Back up the database and all stored files into one file, while the service runs."""
    from store.admin.backup import BackupError, create_backup  # noqa: PLC0415

    if file.exists():
        raise PatinaError(f"{file} already exists. Name another file.")
    with _store() as store:
        try:
            stats = create_backup(store, file)
        except BackupError as error:
            raise PatinaError(str(error)) from error
    console.print(f"{stats.records} records and {stats.blobs} stored files are in {file}.")
    if stats.missing:
        console.print(
            f"{stats.missing} stored files are lost or damaged and not in the backup. List them: patina doctor --deep"
        )
        raise typer.Exit(FAILED)


@cli.command(epilog=format_example("patina restore /mnt/patina.tar"))
def restore(
    file: Annotated[Path, typer.Argument(help="A file written by `patina backup`.", exists=True, dir_okay=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Replace all existing records.")] = False,
) -> None:
    """Restore a backup, also while the service runs."""
    from store.admin.backup import BackupError  # noqa: PLC0415
    from store.admin.backup import restore as restore_backup  # noqa: PLC0415

    with _store() as store:
        try:
            stats = restore_backup(store, file, replace=replace)
        except BackupError as error:
            raise PatinaError(str(error)) from error
    console.print(f"{stats.records} records and {stats.blobs} stored files are restored.")


@cli.command(name="migrate-blobs", epilog=format_example("patina migrate-blobs s3://bucket/prefix"))
def migrate_blobs(
    target: Annotated[str, typer.Argument(help="URL of a bucket, or a folder.")],
    switch: Annotated[
        bool, typer.Option("--switch", help="Then make it the place of all stored files. The service must be stopped.")
    ] = False,
) -> None:
    """Copy all stored files into a bucket, or out of it. Run it again to copy what is new."""
    from store.admin import migrate_blobs as migration  # noqa: PLC0415
    from store.deployment import WrongStorageError  # noqa: PLC0415

    with _store() as store:
        if switch and (running := store.leases.count_other_processes()):
            raise PatinaError(str(migration.StillRunningError(running, store.leases.process_seconds)))
        blobs = migration.open_target(target, settings(), store)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Copying")
            try:
                stats = migration.migrate_blobs(
                    store, blobs, lambda done, total: progress.update(task, completed=done, total=total)
                )
            except WrongStorageError as error:
                raise PatinaError(str(error)) from error
        console.print(f"{stats.copied} stored files were copied, {stats.present} were there already.")
        if stats.lost:
            console.print(f"{stats.lost} stored files are lost or damaged. List them: patina doctor --deep")
            raise typer.Exit(FAILED)
        if not switch:
            console.print(f"To use them: stop the service, then patina migrate-blobs {target} --switch")
            return
        try:
            migration.switch_storage(store, blobs)
        except migration.StillRunningError as error:
            raise PatinaError(str(error)) from error
    if "://" in target:
        console.print(f"Set PATINA_BLOBS_URL={target} for all processes, then start them.")
    else:
        console.print(f"Unset PATINA_BLOBS_URL and set PATINA_DATA_DIR={target} for all processes, then start them.")


def _store() -> AbstractContextManager[Store]:
    from patina.local.local_store import open_store  # noqa: PLC0415

    return open_store(settings(), "maintenance")
