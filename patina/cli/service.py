"""`patina up` and `patina demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from config.settings import settings
from patina.cli.app import cli, example
from patina.cli.output import Output


@cli.command(epilog=example("patina up --port 0"))
def up(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Unset: PATINA_PORT.")
    ] = None,
) -> None:
    """Run the service here until Ctrl-C: API, workers, queue and all."""
    # What the supervisor needs would be a third of every other command's start.
    from config.logging import configure_logging  # noqa: PLC0415
    from patina.local.up import up as run_service  # noqa: PLC0415

    configure_logging(settings(), "up")
    run_service(settings(), port)


@cli.command(epilog=example("patina demo --minutes 2 --out what-it-made"))
def demo(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 5.5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all that the demo makes.")] = Path("demo-output"),
) -> None:
    """See the whole of it happen on photographs that come with a package, in six minutes."""
    from patina.demo.run import run  # noqa: PLC0415 - its libraries are not needed, or installed, for anything else

    run(Output().console, out.absolute(), minutes)
