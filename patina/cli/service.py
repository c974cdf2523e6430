"""`patina up` and `patina demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from config.settings import settings
from patina.cli.app import cli, format_example
from patina.cli.output import Output


@cli.command(epilog=format_example("patina up --port 0"))
def up(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Default: PATINA_PORT.")
    ] = None,
) -> None:
    """Run the service with its API, workers and queue until Ctrl-C."""
    # These imports would add a third to the start time of every other command.
    from config.logging import configure_logging  # noqa: PLC0415
    from patina.local.up import run_service  # noqa: PLC0415

    configure_logging(settings(), "up")
    run_service(settings(), port)


@cli.command(epilog=format_example("patina demo --minutes 2 --out what-it-made"))
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time in minutes.")] = 5.5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the demo's files.")] = Path("demo-output"),
) -> None:
    """Run everything on sample photographs in six minutes, scored against a simulated camera's ground truth."""
    from patina.demo.run import run  # noqa: PLC0415 - only the demo needs its libraries

    run(Output().console, out.absolute(), minutes)
